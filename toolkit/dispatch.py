"""One call: find → authorize → validate → limit → run → serialize.

The dispatcher is the only code that runs tools and the only emitter of tool events.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast
from uuid import uuid4

from pydantic_core import to_json

from toolkit.catalog import Authorizer, ListedTool, ToolCatalog
from toolkit.context import ToolContext, UserContext
from toolkit.errors import (
    CallLimitError,
    InvalidArgumentsError,
    RegistryClosedError,
    ToolAccessError,
    ToolCancelledError,
    ToolConstructionError,
    ToolError,
    ToolExecutionError,
    ToolkitError,
    ToolNotFoundError,
    ToolTimeoutError,
    ToolUnavailableError,
    kind_of_error,
)
from toolkit.events import EventType, Sink, ToolEvent, deliver, redact
from toolkit.executors import Executor, Invoke
from toolkit.executors.loading import watch
from toolkit.policy import AccessPolicy
from toolkit.settings import Settings
from toolkit.signature import Arguments
from toolkit.tool_registry import ToolRegistry, near_names

logger = logging.getLogger(__name__)

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {}

_TOLD: Final = (ToolError, ToolConstructionError, RegistryClosedError)
"""The errors of a running call whose text is meant for its caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One admitted call. Immutable; lives until its result is made."""

    listed: ListedTool
    arguments: dict[str, Any] = field(repr=False)
    context: ToolContext
    seconds_allowed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The outcome of one call: a value, or an error. Immutable.

    Attributes:
        ok: Whether the tool finished and its value could be written as JSON.
        value: What the tool returned; None after an error.
        error: What went wrong, with ``code`` and ``message``; None when `ok`.
        call_id: The call; the same as on its events.
        tool: The name the caller used.
        seconds: How long it took, all steps together.
        truncated: Whether the JSON was cut to the operator's size limit.
    """

    ok: bool
    value: Any = None
    error: ToolkitError | None = None
    call_id: str
    tool: str
    seconds: float
    truncated: bool = False
    json_bytes: bytes = field(default=b"null", repr=False)

    def value_json(self) -> str:
        """Return the value as JSON text; ``null`` after an error.

        A truncated result is a JSON string that holds the beginning of the full text.
        """
        return self.json_bytes.decode()

    def unwrap(self) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Return the value.

        Raises:
            ToolkitError: The error of this call, when there is one.
        """
        if self.error is not None:
            # Without the frames of an earlier unwrap: not longer each time.
            raise self.error.with_traceback(None)
        return self.value


class UnifiedToolDispatcher:
    """Runs one user's calls. Belongs to one user tool system and ends with it.

    Args:
        registry: This user's tools.
        user_context: Who calls.
        policy: Who may see and call what.
        settings: Deadlines, limits and what is redacted.
        inline: Runs async tools.
        threads: Runs sync tools.
        sinks: Told every event; must not block.
        authorizers: Asked before each call; they can only deny.
        catalog: All tools there are; consulted only to explain a refusal to a user who
            may have it explained.
    """

    def __init__(  # noqa: PLR0913 - the parts of one call, all named
        self,
        registry: ToolRegistry,
        *,
        user_context: UserContext,
        policy: AccessPolicy,
        settings: Settings,
        inline: Executor,
        threads: Executor,
        sinks: Iterable[Sink] = (),
        authorizers: Iterable[Authorizer] = (),
        catalog: ToolCatalog | None = None,
    ) -> None:
        """Take over the parts; nothing is started."""
        self.registry = registry
        self.user_context = user_context
        self._policy = policy
        self._scopes = policy.scopes_of(user_context)
        self._settings = settings
        self._inline = inline
        self._threads = threads
        self._sinks = tuple(sinks)
        self._authorizers = tuple(authorizers)
        self._catalog = catalog or ToolCatalog()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._places: dict[object, asyncio.AbstractEventLoop | None] = {}
        self._is_closed = False
        self._counts = {"calls": 0, "failed": 0}

    async def execute(
        self,
        name: str,
        arguments: Arguments = _NO_ARGUMENTS,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the call's own deadline
    ) -> ToolResult:
        """Run one call and return its outcome; never raises what a tool raises.

        A call that is unknown, denied, not valid or over the limit never starts and has
        no event. One that starts has exactly one ``tool_executing`` and exactly one
        ``tool_completed``, whatever happens. It is answered at its deadline: the
        smallest of the operator's, the tool's and `timeout`.

        Args:
            name: The tool's listed or qualified name.
            arguments: JSON text or bytes, or a mapping.
            timeout: Seconds the caller allows.

        Returns:
            The result; its `error` is one of the `ToolCallError` or `RegistryError`
            kinds.

        Raises:
            asyncio.CancelledError: The caller was cancelled; so is the tool.
        """
        started = time.perf_counter()
        call_id = uuid4().hex
        try:
            listed = self._permitted(name, timeout)
            if not listed.tool.is_loaded:
                await self._load(name, listed, timeout)
            spent = time.perf_counter() - started
            call = self._admit(name, listed, arguments, timeout, call_id, spent)
        except ToolkitError as error:
            return self._failure(name, call_id, started, error)
        return await self._run(call, started)

    def may_call(self, listed: ListedTool) -> bool:
        """Tell whether the access policy lets this user see and call a tool."""
        return not self._policy.refusal(self._scopes, listed)

    def statistics(self) -> dict[str, int]:
        """Return counts: calls started, failed among them, running now."""
        return {**self._counts, "running": len(self._waiting)}

    def close(self) -> None:
        """Take no more calls and give up the running ones; can be called anywhere."""
        self._is_closed = True
        for future in tuple(self._waiting):
            with suppress(RuntimeError):  # its loop has ended, and the call with it
                future.get_loop().call_soon_threadsafe(future.cancel)

    async def aclose(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - bounds the wait, not the work
        """Close, and wait up to `timeout` seconds until the async tools have ended."""
        here = asyncio.get_running_loop()
        running = {one for one in tuple(self._waiting) if one.get_loop() is here}
        self.close()
        if running:
            await asyncio.wait(running, timeout=timeout)

    def _places_taken(self) -> int:
        """Count the calls that run, and the threads that a late call still keeps.

        An async call whose loop was closed under it does not count.
        """
        for place, loop in tuple(self._places.items()):
            if loop is not None and loop.is_closed():
                self._places.pop(place, None)
        return len(self._places)

    # --- before it starts ----------------------------------------------------------

    def _permitted(self, name: str, timeout: float | None) -> ListedTool:
        """Find and authorize."""
        if self._is_closed:
            raise RegistryClosedError(self.registry.name)
        if timeout is not None and not isinstance(cast("object", timeout), int | float):
            raise InvalidArgumentsError(name, [("timeout", "give seconds, or nothing")])
        listed = self._find(name)
        self._authorize(name, listed)
        return listed

    async def _load(
        self,
        name: str,
        listed: ListedTool,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
    ) -> None:
        """Let a tool that is known from before be imported, in a thread of its own.

        Its code may say something else than what it was listed with; so it is
        authorized once more, by what the code says.

        Raises:
            ToolCancelledError: The dispatcher is closed meanwhile.
            ToolTimeoutError: The deadline passes meanwhile.
            ToolUnavailableError: It cannot be imported any more.
        """
        loading = listed.tool.begin_loading()
        waiter = watch(loading)
        self._waiting.add(waiter)
        allowed = self._seconds_allowed(listed, timeout)
        try:
            await asyncio.wait({waiter}, timeout=allowed)
        finally:
            self._waiting.discard(waiter)
            waiter.cancel()
        if self._is_closed:
            raise ToolCancelledError(name)
        if not loading.done():
            raise ToolTimeoutError(name, allowed or 0.0)
        error = loading.exception()
        if error is not None:  # an error of this call's own: others wait for it too
            detail = getattr(error, "detail", f"it raised {kind_of_error(error)}")
            raise ToolUnavailableError(name, listed.tool.origin, detail) from error
        self._authorize(name, listed)

    def _admit(
        self,
        name: str,
        listed: ListedTool,
        arguments: Arguments,
        timeout: float | None,
        call_id: str,
        spent: float,
    ) -> ToolCall:
        """Validate and limit; nothing has run when this raises."""
        checked = listed.tool.signature.validate(name, arguments)
        limit = self._settings.max_concurrent_calls
        running = self._places_taken()
        if running >= limit:
            raise CallLimitError(running, limit)
        allowed = self._seconds_allowed(listed, timeout)
        context = ToolContext(
            user=self.user_context,
            call_id=call_id,
            tool_name=name,
            deadline=None if allowed is None else time.monotonic() + allowed - spent,
        )
        return ToolCall(
            listed=listed, arguments=checked, context=context, seconds_allowed=allowed
        )

    def _find(self, name: str) -> ListedTool:
        try:
            return self.registry.find(name)
        except ToolNotFoundError:
            hidden = self._catalog.view.find(name)
            if hidden is not None:  # there is one, and this user does not have it
                self._authorize(name, hidden)
            raise self._not_found(name) from None
        except (ToolkitError, KeyboardInterrupt):
            raise
        except BaseException as error:
            logger.exception("the factory of tool %r failed", name)
            raise ToolExecutionError(name, kind_of_error(error)) from error

    def _authorize(self, name: str, listed: ListedTool) -> None:
        refusal = self._policy.refusal(self._scopes, listed)
        if not refusal and self._is_denied_by_hook(listed):
            refusal = "a hook of this deployment denies it"
        if not refusal:
            return
        if self._policy.may_explain(self.user_context):
            raise ToolAccessError(name, refusal)
        raise self._not_found(name)

    def _not_found(self, name: str) -> ToolNotFoundError:
        """Answer for an unknown and for a denied tool alike."""
        open_to_user = [str(t.name) for t in self.registry.tools() if self.may_call(t)]
        return ToolNotFoundError(name, near_names(name, open_to_user))

    def _is_denied_by_hook(self, listed: ListedTool) -> bool:
        for authorizer in self._authorizers:
            try:
                answer: object = authorizer(self.user_context, listed.current)
            except Exception:
                logger.exception("authorize hook failed; %r is denied", listed.name)
                return True
            if answer is not None and answer is not True:
                if answer is not False:
                    text = "authorize hook answered %s for %r, which denies"
                    logger.error(text, type(answer).__name__, listed.name)
                return True
        return False

    def _seconds_allowed(
        self, listed: ListedTool, timeout: float | None
    ) -> float | None:
        limits = (self._settings.default_timeout, listed.current.timeout, timeout)
        return min((limit for limit in limits if limit is not None), default=None)

    # --- running -------------------------------------------------------------------

    async def _run(self, call: ToolCall, started: float) -> ToolResult:
        self._counts["calls"] += 1
        result: ToolResult | None = None
        try:
            self._tell(call, EventType.TOOL_EXECUTING)
            result = await self._outcome(call, started)
        finally:  # also when the caller is cancelled: what started is completed
            self._complete(call, started, result)
        return result

    async def _outcome(self, call: ToolCall, started: float) -> ToolResult:
        name = call.context.tool_name
        try:
            value = await self._value(call)
            data = call.listed.tool.signature.dump(name, value)
        except ToolkitError as error:
            return self._failure(name, call.context.call_id, started, error)
        limit = self._settings.max_result_bytes
        return ToolResult(
            ok=True,
            value=value,
            call_id=call.context.call_id,
            tool=name,
            seconds=time.perf_counter() - started,
            truncated=len(data) > limit,
            json_bytes=data if len(data) <= limit else _cut(data, limit),
        )

    async def _value(self, call: ToolCall) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Run the tool; everything it raises comes out as one of our errors."""
        is_async = call.listed.tool.signature.kind in ("async", "async_generator")
        executor = self._inline if is_async else self._threads
        value = await self._settled(call, executor, lambda: self._invoke(call))
        while inspect.isawaitable(value) or isinstance(value, AsyncIterator):
            # an async function behind a plain decorator, or one that returned another
            value = await self._settled(call, self._inline, partial(_same, value))
        return value

    def _invoke(self, call: ToolCall) -> Any:  # noqa: ANN401 - whatever the tool returns
        tool = call.listed.tool
        try:
            instance = self.registry.instance(call.listed)
        except ToolNotFoundError:
            detail = "it was removed while it was called"
            name = call.listed.name
            raise ToolConstructionError(name, tool.origin, detail) from None
        arguments = dict(call.arguments)
        method, positional, named = tool.bind(instance, arguments, call.context)
        return method(*positional, **named)

    async def _settled(self, call: ToolCall, executor: Executor, invoke: Invoke) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Wait for the tool until the deadline; give it up when that passes."""
        place, is_inline = object(), executor is self._inline
        give_up_place = partial(self._places.pop, place, None)
        self._places[place] = asyncio.get_running_loop() if is_inline else None
        try:  # a thread keeps the place until the tool ends, also after the answer
            future = executor.submit(invoke, None if is_inline else give_up_place)
        except RuntimeError as error:  # the executor was closed by whoever owns it
            give_up_place()
            raise self._hide(call, error) from error
        self._waiting.add(future)
        try:
            await asyncio.wait({future}, timeout=call.context.time_left())
        finally:  # also when the caller is cancelled
            self._waiting.discard(future)
            if is_inline:
                give_up_place()
            in_time = future.done()
            future.cancel()
        if not in_time:
            seconds = call.seconds_allowed or 0.0
            raise ToolTimeoutError(call.context.tool_name, seconds)
        return self._outcome_of(future, call)

    def _outcome_of(self, future: asyncio.Future[Any], call: ToolCall) -> Any:  # noqa: ANN401 - whatever the tool returns
        try:
            return future.result()
        except _TOLD:
            raise
        except asyncio.CancelledError as error:
            if self._is_closed:
                raise ToolCancelledError(call.context.tool_name) from None
            raise self._hide(call, error) from error
        except BaseException as error:  # a tool must not take others down
            raise self._hide(call, error) from error

    def _hide(self, call: ToolCall, error: BaseException) -> ToolExecutionError:
        """Log what the tool raised; the caller learns its kind, not its text."""
        name, call_id = call.context.tool_name, call.context.call_id
        logger.error("tool %r failed in call %s", name, call_id, exc_info=error)
        return ToolExecutionError(name, kind_of_error(error), call_id)

    # --- afterwards ----------------------------------------------------------------

    def _failure(
        self, name: str, call_id: str, started: float, error: ToolkitError
    ) -> ToolResult:
        _drop_frames(error)
        return ToolResult(
            ok=False,
            error=error,
            call_id=call_id,
            tool=name,
            seconds=time.perf_counter() - started,
        )

    def _complete(
        self, call: ToolCall, started: float, result: ToolResult | None
    ) -> None:
        ok = result is not None and result.ok
        self._counts["failed"] += not ok
        code = ToolCancelledError.code  # no result: the caller was cancelled
        if result is not None:
            code = "" if result.error is None else result.error.code
        self._tell(
            call,
            EventType.TOOL_COMPLETED,
            ok=ok,
            error_code=code,
            seconds=time.perf_counter() - started,
            truncated=result is not None and result.truncated,
        )

    def _tell(self, call: ToolCall, kind: EventType, **facts: Any) -> None:  # noqa: ANN401 - the event's own fields
        if not self._sinks:
            return
        if kind is EventType.TOOL_EXECUTING:
            facts["arguments"] = self._shown(call)
        user = call.context.user
        event = ToolEvent(
            type=kind,
            call_id=call.context.call_id,
            tool=call.context.tool_name,
            user_id=user.user_id,
            session_id=user.session_id,
            thread_id=user.thread_id,
            run_id=user.run_id,
            **facts,
        )
        deliver(event, self._sinks)

    def _shown(self, call: ToolCall) -> dict[str, Any] | None:
        """Return the arguments as events show them; None when they cannot be shown."""
        try:
            shown: dict[str, Any] = redact(call.arguments, self._settings.redact_fields)
        except Exception:
            logger.exception(
                "arguments of call %s cannot be shown", call.context.call_id
            )
            return None
        return shown


def _same(value: Any) -> Any:  # noqa: ANN401 - what a tool returned and is still to run
    return value


def _drop_frames(error: BaseException) -> None:
    """Drop the tracebacks of an error and its causes: frames keep instances alive."""
    linked: BaseException | None = error
    seen: set[int] = set()
    while linked is not None and id(linked) not in seen:
        seen.add(id(linked))
        linked.__traceback__ = None
        linked.__context__ = linked.__cause__
        linked = linked.__cause__


def _cut(data: bytes, limit: int) -> bytes:
    """Return a JSON string of at most about `limit` bytes of the text."""
    return to_json(data[:limit].decode(errors="ignore"))
