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
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from importlib import import_module
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

_TRACE_LENGTH: Final = 16_384  # of a traceback's text; its end says most
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, prctl(2)

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
        logging.getLogger("toolkit").addHandler(_ToParent(self.say))

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
        frame = pack(head, body)
        with self._saying:
            self._channel.sendall(frame)

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
        one = _Call(self.say, self._tools[head["identity"], head["method"]], head)
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
            answer = _fault(error), b""
        one.is_over = True
        self.say(*answer)


class _Call:
    """One call as the worker runs it; holds the user's objects, and goes with them."""

    def __init__(
        self, say: Callable[..., None], tool: CompiledTool, head: Head
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
            secrets=Secrets(head["secrets"]) if head["secrets"] else NO_SECRETS,
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
            self._say({"is": "start", "synonyms": synonyms}, _shown(signature, checked))
        return None

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
            if not close_now(instance):
                in_loop(close_later([instance]))

    async def run_async(self) -> Any:  # noqa: ANN401 - as `_answer`
        """Run an async tool."""
        instance = self.tool.instantiate(self._context.user)
        try:
            return self._answer(await self._settle(self._invoke(instance)))
        finally:
            if not close_now(instance):
                await close_later([instance])

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
            self._say({"is": "part"}, written[1:-1])  # a list of one, without brackets
        return value

    def _report(self, kind: str, said: object) -> None:
        """Send what the tool says of its progress, as long as its call runs."""
        if not self.is_over:
            self._say({"is": kind}, to_json(said, inf_nan_mode="null"))

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
    """Lets the parent log what is logged here: it knows which values to blank out."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record as text."""
        text = self.format(record)[-_TRACE_LENGTH:]
        with suppress(OSError):
            self._say({"is": "log", "level": record.levelno, "text": text})


# --- what went wrong ----------------------------------------------------------------


def _fault(error: BaseException) -> Head:
    """Say what a call failed of, so that the parent can raise the same."""
    kind = type(error)  # isinstance would ask the plugin
    if issubclass(kind, ToolError):
        with suppress(BaseException):  # its text is the plugin's code
            return {"is": "error", "kind": "told", "text": str(error)}
    if issubclass(kind, MissingSecretError):
        return {"is": "error", "kind": "secret", "secret": str(error.args[0])}
    if issubclass(kind, MemoryError) or isinstance(error.__cause__, MemoryError):
        return {"is": "error", "kind": "memory", "trace": _trace(error)}
    if isinstance(error, ToolConstructionError | ToolResultError):
        what = "construction" if isinstance(error, ToolConstructionError) else "result"
        trace = _trace(error)
        return {"is": "error", "kind": what, "detail": error.detail, "trace": trace}
    name = kind_of_error(error)
    return {"is": "error", "kind": "raised", "type": name, "trace": _trace(error)}


def _why(error: BaseException) -> str:
    if isinstance(error, InvalidToolError):
        return f"it is no tool any more [{error.reason}]"
    if isinstance(error, MemoryError):
        return "importing it needed more memory than it may have"
    return f"importing it raised {kind_of_error(error)}"


def _trace(error: BaseException) -> str:
    """Return the traceback as text, whatever the exception does."""
    try:
        return "".join(traceback.format_exception(error))[-_TRACE_LENGTH:]
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise in __str__
        return f"{kind_of_error(error)} (its traceback cannot be shown)"


def _shown(signature: Signature, checked: Mapping[str, Any]) -> bytes:
    """Write checked arguments for who looks at events; what cannot be is left out."""
    with suppress(ValueError):  # a plugin's objects may raise
        return signature.arguments_json(checked)
    return b"{}"


if __name__ == "__main__":
    sys.exit("started by toolkit.executors.children only")
