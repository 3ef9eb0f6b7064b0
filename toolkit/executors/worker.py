"""A worker process: imports the tools of one distribution, and runs one call at a time.

Started by `toolkit.executors.children`. It keeps classes and compiled validators, never
a user's object: each call makes an instance of its own, which is closed before the call
is answered. What a package itself keeps in its modules stays there, as anywhere.
"""

import asyncio
import contextvars
import gc
import inspect
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import partial, reduce
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

from pydantic_core import to_json

from toolkit.cleanup import close_later, close_now
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.context import NO_SECRETS, Secrets, ToolContext, UserContext, _freeze
from toolkit.contract import ToolContract
from toolkit.errors import (
    InvalidArgumentsError,
    InvalidToolError,
    MissingSecretError,
    ToolConstructionError,
    ToolError,
    ToolResultError,
    kind_of_error,
)
from toolkit.executors.frames import MAX_BODY_BYTES, FrameReader, pack
from toolkit.guards import pydantic_ready
from toolkit.origin import Origin
from toolkit.signature import Signature
from toolkit.tracebacks import cause_of, is_error, log_error, trace_of

logger = logging.getLogger(__name__)

_TRACE_LENGTH: Final = 16_384  # of a traceback's text; its end says most
_TEXT_LENGTH: Final = 1 << 20  # of any text in a frame's head
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, prctl(2)

_WITH_DETAIL: Final = MappingProxyType(
    {"construction": ToolConstructionError, "result": ToolResultError}
)

_write = partial(to_json, serialize_unknown=True, inf_nan_mode="null", by_alias=True)

T = TypeVar("T")
Head = Mapping[str, Any]


def main(descriptor: int, orders: Head) -> NoReturn:
    """Serve the parent at the other end of a socket until it closes that.

    Ends the process without any clean-up, and with it all of its group: no exit handler
    of a package runs, and no thread or child process of one is waited for.

    Args:
        descriptor: The socket.
        orders: What the process was told before it could import anything.
    """
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - the function takes no name
    parent = orders["parent"]
    if parent:
        _die_with(parent)
    with suppress(OSError, EOFError):
        Worker(socket.socket(fileno=descriptor), orders["left_out"]).serve()
    _end()


def _die_with(parent: int) -> None:
    """Let the kernel end this process when the one that started it is gone."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - takes 10 ms, and is not on every platform

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it has gone meanwhile
        _end()


def _end() -> NoReturn:
    with suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


class Worker:
    """Does what its parent asks for. One for a process; in its main thread."""

    def __init__(self, channel: socket.socket, left_out: list[str] | None) -> None:
        """Take the connected socket, and which plugins of pydantic must not load."""
        self._channel = channel
        self._left_out = None if left_out is None else frozenset(left_out)
        self._saying = threading.Lock()  # a tool may tell its progress in any thread
        self._tools: dict[tuple[str, str], CompiledTool] = {}
        self._loop = _Loop()
        self._me = os.getpid()
        self._secrets = NO_SECRETS  # of who calls just now
        handler = _ToParent(self.say, self._scrub)
        logging.getLogger("toolkit").addHandler(handler)

    def serve(self) -> None:
        """Answer frame after frame.

        Raises:
            EOFError: The parent has closed the channel.
            OSError: The parent is gone.
            ValueError: The parent sends something else than frames.
        """
        self.say({"is": "ready"})
        reader = FrameReader()
        while data := self._channel.recv(1 << 16):
            for head, body in reader.feed(data):
                if head["is"] == "load":
                    self._load(head)
                else:
                    self._call(head, body)
        raise EOFError

    def say(self, head: Head, body: bytes = b"") -> None:
        """Send one frame; safe between threads.

        Raises:
            OSError: The parent is gone.
            ValueError: It is too long.
        """
        if os.getpid() != self._me:  # a tool has forked, and its child came back here
            os._exit(0)
        texts = {key: _fit(one) for key, one in head.items() if type(one) is str}
        frame = pack({**head, **texts}, body)
        with self._saying:
            self._channel.sendall(frame)

    def _scrub(self, text: str) -> str:
        return self._secrets.scrub(text)

    # --- loading --------------------------------------------------------------------

    def _load(self, head: Head) -> None:
        """Import and compile a tool, and tell what its code declares."""
        identity, method = head["identity"], head["method"]
        origin = Origin(*head["origin"])
        try:
            with pydantic_ready(self._left_out):
                module, _, path = identity.partition(":")
                found = reduce(getattr, path.split("."), import_module(module))
                contract = ToolContract(method=method)
                tool = compile_tool(found, contract=contract, origin=origin)
        except BaseException as error:  # noqa: BLE001 - whatever a package raises
            self.say({"is": "unloadable", "why": _why(error), "trace": _trace(error)})
            return
        self._tools[identity, method] = tool
        gc.freeze()  # what is imported stays; looking through it again takes time
        scopes = sorted(tool.definition.required_scopes)
        self.say({"is": "loaded", "name": tool.name, "scopes": scopes})

    # --- calling --------------------------------------------------------------------

    def _call(self, head: Head, body: bytes) -> None:
        """Run one call and answer it with exactly one result or error."""
        if head["secrets"]:
            self._secrets = Secrets(head["secrets"])
        tool = self._tools[head["identity"], head["method"]]
        one = _Call(self.say, tool, head, self._secrets)
        try:
            answer = one.begin(body)
            if answer is None:
                signature = one.tool.signature
                if signature.is_async:
                    answer = self._loop.run(one.run_async())
                else:
                    fresh = contextvars.copy_context()
                    answer = fresh.run(one.run, self._loop.run)
        except BaseException as error:  # noqa: BLE001 - whatever a tool raises
            answer = _fault(error, self._secrets), b""
        one.is_over = True
        one.say(*answer)
        self._secrets = NO_SECRETS


class _Call:
    """One call as the worker runs it; holds the user's objects, and goes with them."""

    def __init__(
        self,
        say: Callable[..., None],
        tool: CompiledTool,
        head: Head,
        secrets: Secrets,
    ) -> None:
        self.tool = tool
        self.is_over = False
        self._say = say
        self._head = head
        self._name: str = head["name"]
        self._arguments: dict[str, Any] = {}
        left = head["left"]
        self._context = ToolContext(
            user=_user(head["user"]),
            call_id=head["call_id"],
            tool_name=self._name,
            deadline=None if left is None else time.monotonic() + left,
            secrets=secrets,
            report=self._report if head["emit"] else None,
        )

    def begin(self, body: bytes) -> tuple[Head, bytes] | None:
        """Check the arguments; return the answer when they do not fit."""
        signature = self.tool.signature
        try:
            checked = signature.validate(self._name, body)
        except InvalidArgumentsError as error:
            return {"is": "error", "kind": "arguments", "faults": error.faults}, b""
        self._arguments = checked
        if self._head["start"]:
            synonyms = [sorted(one) for one in signature.contents.synonyms]
            self.say({"is": "start", "synonyms": synonyms}, _shown(signature, checked))
        return None

    def say(self, head: Head, body: bytes = b"") -> None:
        """Send a frame of this call; what it leaves behind may speak in the next.

        Raises:
            OSError: The parent is gone.
            ValueError: It is too long.
        """
        self._say({**head, "call": self._head["call_id"]}, body)

    def run(self, in_loop: "Callable[[Coroutine[Any, Any, Any]], Any]") -> Any:  # noqa: ANN401 - as `_answer`
        """Run a sync tool; what it returns may still need a loop."""
        instance = self.tool.instantiate(self._context.user)
        try:
            value = self._invoke(instance)
            if isinstance(value, Iterator):
                value = [self._part(one) for one in value]
            if inspect.isawaitable(value) or isinstance(value, AsyncIterator):
                value = in_loop(self._settle(value))
            return self._answer(value)
        finally:
            secrets = self._context.secrets
            if not close_now(instance, secrets):
                in_loop(close_later([instance], secrets))

    async def run_async(self) -> Any:  # noqa: ANN401 - as `_answer`
        """Run an async tool."""
        instance = self.tool.instantiate(self._context.user)
        try:
            return self._answer(await self._settle(self._invoke(instance)))
        finally:
            secrets = self._context.secrets
            if not close_now(instance, secrets):
                await close_later([instance], secrets)

    def _invoke(self, instance: object) -> Any:  # noqa: ANN401 - whatever a tool returns
        arguments = dict(self._arguments)
        method, positional, named = self.tool.bind(instance, arguments, self._context)
        return method(*positional, **named)

    async def _settle(self, value: Any) -> Any:  # noqa: ANN401 - whatever a tool returns
        """Await what is awaitable, gather what streams, until it is a value."""
        while True:
            if inspect.isawaitable(value):
                value = await value
            elif isinstance(value, AsyncIterator):
                value = await self._gather(value)
            else:
                return value

    async def _gather(self, stream: AsyncIterator[Any]) -> list[Any]:
        try:
            return [self._part(one) async for one in stream]
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    def _part(self, value: T) -> T:
        """Send one part of a stream to who listens, and return it."""
        if self._head["emit"]:
            written = self.tool.signature.dump(self._name, [value])
            self.say({"is": "part"}, written[1:-1])  # a list of one, without brackets
        return value

    def _report(self, kind: str, said: object) -> None:
        """Send what the tool says of its progress, as long as its call runs."""
        if self.is_over:
            return
        try:
            self.say({"is": kind}, _write(said))
        except Exception as error:  # noqa: BLE001 - writing it is the tool's code
            text = "the progress of a call cannot be shown"
            log_error(logger, self._context.secrets, error, text)

    def _answer(self, value: object) -> tuple[Head, bytes]:
        written = self.tool.signature.dump(self._name, value)
        if len(written) > MAX_BODY_BYTES:
            detail = f"it is longer than {MAX_BODY_BYTES >> 20} MiB"
            raise ToolResultError(self._name, detail)
        return {"is": "result"}, written


def _user(values: Head) -> UserContext:
    """Make the context that the parent has checked; checking takes time again."""
    made = object.__new__(UserContext)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    for name in ("roles", "scopes"):
        object.__setattr__(made, name, frozenset(values[name]))
    object.__setattr__(made, "metadata", _freeze(values["metadata"]))
    return made


class _Loop:
    """The event loop of a worker; replaced when a call leaves tasks in it."""

    def __init__(self) -> None:
        self._kept: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end; what else the tool has started there is cancelled."""
        loop = self._kept
        if loop is None:
            loop = self._kept = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        task = loop.create_task(work, context=contextvars.copy_context())
        try:
            loop.run_until_complete(asyncio.wait({task}))
            return task.result()
        finally:
            if asyncio.all_tasks(loop):
                self._drop(loop)

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._kept = None
        left = asyncio.all_tasks(loop)
        for one in left:
            one.cancel()
        with suppress(BaseException):  # it did not end well, and ends now
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class _ToParent(logging.Handler):
    """Lets the parent log what is logged here."""

    def __init__(self, say: Callable[..., None], scrub: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._scrub = scrub

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record as text, blanked out first, so that no secret is cut."""
        text = self._scrub(self.format(record))[-_TRACE_LENGTH:]
        with suppress(OSError):
            self._say({"is": "log", "level": record.levelno, "text": text})


# --- what went wrong ----------------------------------------------------------------


def _fault(error: BaseException, secrets: Secrets) -> Head:
    """Say what a call failed of, so that the parent can raise the same."""
    said: dict[str, str] = {}
    with suppress(BaseException):  # its fields and texts are the plugin's code
        said = {key: str.__str__(text) for key, text in _said(error).items()}
    fault: dict[str, object] = {"is": "error", "kind": "raised"}
    if said:
        fault |= {key: secrets.scrub(text) for key, text in said.items()}
        fault["kind"] = said["kind"]
    elif is_error(error, MemoryError):
        fault["kind"] = "memory"
    else:
        fault["type"] = secrets.scrub(kind_of_error(error))
    if fault["kind"] not in ("told", "secret"):
        fault["trace"] = _trace(error, secrets)
    return fault


def _said(error: Any) -> dict[str, str]:  # noqa: ANN401 - whatever was raised
    """Return what the parent needs for one of our own errors; nothing for others."""
    if is_error(error, ToolError):
        return {"kind": "told", "text": str(error), "code": error.code}
    if is_error(error, MissingSecretError):
        return {"kind": "secret", "secret": str(error.args[0])}
    if is_error(cause_of(error), MemoryError):
        return {"kind": "memory"}
    for name, kind in _WITH_DETAIL.items():
        if issubclass(type(error), kind):
            return {"kind": name, "detail": str(error.detail)}
    return {}


def _fit(text: str) -> str:
    """Return a text that fits into a frame; what is no UTF-8 is written out."""
    return text[:_TEXT_LENGTH].encode(errors="backslashreplace").decode()


def _why(error: BaseException) -> str:
    if is_error(error, InvalidToolError):
        return f"it is no tool any more [{error.reason}]"
    if is_error(error, MemoryError):
        return "importing it needed more memory than it may have"
    return f"importing it raised {kind_of_error(error)}"


def _trace(error: BaseException, secrets: Secrets = NO_SECRETS) -> str:
    """Return the end of a traceback, blanked out first, so that no secret is cut."""
    return secrets.scrub(trace_of(error))[-_TRACE_LENGTH:]


def _shown(signature: Signature, checked: Mapping[str, Any]) -> bytes:
    """Write checked arguments for who looks at events; what cannot be is left out."""
    with suppress(ValueError):  # a plugin's objects may raise
        return signature.arguments_json(checked)
    return b"{}"


if __name__ == "__main__":
    sys.exit("started by toolkit.executors.children only")
