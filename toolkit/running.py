"""An admitted call runs, in the executor that was chosen for its tool."""

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from types import CoroutineType
from typing import Any, Literal

from toolkit.context import Secrets, ToolContext, UserContext
from toolkit.errors import (
    ToolConstructionError,
    ToolkitError,
    ToolNotFoundError,
)
from toolkit.executors import Delivery, Executor, Job, OnStart, Written
from toolkit.executors.call_task import CallTask
from toolkit.executors.inline import InlineExecutor, collect, is_key_press
from toolkit.failures import Failures
from toolkit.loops import call_here_or_soon
from toolkit.plans import Call
from toolkit.telling import Teller
from toolkit.tool_registry import ToolRegistry
from toolkit.tracebacks import is_error


class Runner:
    """Runs one user's admitted calls. Belongs to their dispatcher.

    Args:
        registry: The user's tools.
        user: Who calls.
        secrets: The user's.
        inline: Runs what is awaited.
        failures: Says what callers see of errors.
        teller: Tells what comes meanwhile.

    Attributes:
        left: The loop's tasks in which async tools go on that were given up.
    """

    __slots__ = (
        "_failures",
        "_inline",
        "_registry",
        "_secrets",
        "_teller",
        "_user",
        "left",
    )

    def __init__(
        self,
        *,
        registry: ToolRegistry,
        user: UserContext,
        secrets: Secrets,
        inline: InlineExecutor,
        failures: Failures,
        teller: Teller,
    ) -> None:
        """Take over the parts."""
        self._registry = registry
        self._user = user
        self._secrets = secrets
        self._inline = inline
        self._failures = failures
        self._teller = teller
        self.left: set[asyncio.Task[Any]] = set()

    def value(self, call: Call) -> Coroutine[Any, Any, Any]:
        """Return what runs the tool once, and returns its value, when it is awaited.

        Raises:
            ToolkitError: The caller's error, whatever the tool raised.
            asyncio.CancelledError: The caller was cancelled.
        """
        return self._on_loop(call) if call.plan.is_inline else self._by_job(call)

    async def _by_job(self, call: Call) -> Any:  # noqa: ANN401 - whatever the tool returns
        executor = call.plan.executor
        value = await self._in_executor(call, executor, self._job(call))
        if type(value) is Written or type(value) in call.plan.inert:
            return value
        return await self.awaited(call, value)

    async def awaited(self, call: Call, value: Any) -> Any:  # noqa: ANN401 - whatever the tool returned
        """Await what a tool returned, if that is to be awaited.

        So does an async function behind a plain decorator, or one that returns another.

        Raises:
            ToolkitError: The caller's error, whatever it raised.
            asyncio.CancelledError: The caller was cancelled.
        """
        while type(value) not in call.plan.inert and is_awaited(value):
            job = self._job(call, invoke=_returning(value))
            value = await self._in_executor(call, self._inline, job)
        call.plan.learn(type(value))
        return value

    def instance(self, call: Call) -> object:
        """Return this user's instance of the tool, made now at its first use.

        Raises:
            ToolConstructionError: It cannot be made, or was removed meanwhile.
            RegistryClosedError: The registry is closed.
        """
        try:
            return self._registry.instance(call.plan.listed)
        except ToolNotFoundError:
            detail = "it was removed while it was called"
            origin = call.plan.listed.tool.origin
            name = call.plan.listed.name
            raise ToolConstructionError(name, origin, detail) from None

    # --- in this process --------------------------------------------------------------

    async def _on_loop(self, call: Call) -> Any:  # noqa: ANN401 - whatever the tool returns
        part = self._inline.here()
        given = call.context
        context = contextvars.copy_context() if given is None else given
        label = (call.name, call.call_id)
        task = CallTask(self._answer(call), part.loop, context, self.left_behind, label)
        call.give_up = task.stop
        part.deadlines.watch(call)
        try:
            value = await task
            if type(value) in call.plan.inert:
                return value
            return await self.awaited(call, value)
        except BaseException as raised:  # noqa: BLE001 - a tool must not take others down
            error = self.fault(call, task, raised)
        finally:
            call.give_up = None
            part.deadlines.drop(call)
        raise error

    def fault(self, call: Call, task: CallTask, raised: BaseException) -> ToolkitError:
        """Return the caller's error for what came of a task.

        Raises:
            BaseException: It is not the tool's, but the caller's own: cancelled while
                it waited, or interrupted by a key press.
        """
        if task.is_abandoned:
            raise raised
        if task.is_stopped or raised is task.error:
            if is_key_press(raised):
                raise raised
            return self._error(call, raised)
        if is_error(raised, ToolkitError):  # made here, from what came later
            return raised
        raise raised

    def left_behind(self, goes_on: asyncio.Task[Any]) -> None:
        """Keep the loop's task in which a tool goes on that was given up."""
        self._inline.here().keep(goes_on)
        self.left.add(goes_on)
        goes_on.add_done_callback(self.left.discard)

    async def _answer(self, call: Call) -> Any:  # noqa: ANN401 - whatever the tool returns
        answer = self._invoke(call)
        if type(answer) is CoroutineType:
            return await answer
        if type(answer) in call.plan.inert:
            return answer
        if is_awaited(answer) or isinstance(answer, Iterator):
            return await collect(answer, self._emit(call))
        return answer

    def _invoke(self, call: Call) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Call the tool's method; makes the instance if this is the first call."""
        tool = call.plan.listed.tool
        instance = self.instance(call)
        arguments: Any = call.arguments
        method, positional, named = tool.bind(
            instance, dict(arguments), self.context(call)
        )
        return method(*positional, **named)

    def context(self, call: Call) -> ToolContext:
        """Return what the tool may know of this call."""
        return ToolContext(
            user=self._user,
            call_id=call.call_id,
            tool_name=call.name,
            deadline=call.deadline,
            secrets=self._secrets,
            report=self._emit(call),
        )

    # --- in an executor ---------------------------------------------------------------

    def _job(self, call: Call, *, invoke: Callable[[], Any] | None = None) -> Job:
        plan = call.plan
        repeatable = plan.definition.idempotent is True
        delivery: Delivery = "at_least_once" if repeatable else "at_most_once"
        is_async = plan.signature is not None and plan.signature.is_async
        return Job(
            call_id=call.call_id,
            name=call.name,
            user=self._user,
            tool=plan.listed.tool,
            arguments=call.arguments,
            invoke=invoke or (lambda: self._invoke(call)),
            deadline=call.deadline,
            is_async=is_async and invoke is None,
            context=call.context,
            secrets=self._secrets or None,
            delivery=delivery,
            emit=self._emit(call),
            on_start=self._on_start(call),
            on_end=call.job_ended,
        )

    async def _in_executor(self, call: Call, executor: Executor, job: Job) -> Any:  # noqa: ANN401 - whatever the tool returns
        deadlines = self._inline.here().deadlines
        outer = asyncio.current_task()
        before = 0 if outer is None else outer.cancelling()
        call.jobs += 1  # it keeps its place until the tool's own code has ended
        try:
            future = executor.submit(job)
        except Exception as raised:
            call.jobs -= 1
            raise self._error(call, raised) from raised
        call.give_up = future.cancel
        deadlines.watch(call)
        try:
            return await future
        except BaseException as raised:
            is_closed = is_error(raised, GeneratorExit)  # with its loop
            if is_closed or (outer is not None and outer.cancelling() > before):
                raise
            error = self._error(call, raised)
        finally:
            call.give_up = None
            deadlines.drop(call)
        raise error

    def _error(self, call: Call, error: BaseException) -> ToolkitError:
        """Return why a call has no value: it was given up, or this was raised."""
        if call.stop_error is not None:
            return call.stop_error
        return self._failures.of(call.plan, call.name, call.call_id, error)

    # --- meanwhile --------------------------------------------------------------------

    def _emit(
        self, call: Call
    ) -> Callable[[Literal["part", "progress"], Any], None] | None:
        """Return what takes parts and progress, from any thread; None if none listens.

        What comes after the call's end is dropped.
        """
        if not call.sinks:
            return None
        loop, teller = call.loop, self._teller

        def tell(kind: Literal["part", "progress"], said: object) -> None:
            if call.state == "running":
                teller.meanwhile(call, kind, said)

        def emit(kind: Literal["part", "progress"], said: object) -> None:
            call_here_or_soon(loop, tell, kind, teller.copy(said))

        return emit

    def _on_start(self, call: Call) -> OnStart | None:
        if not (call.plan.is_elsewhere and call.sinks):
            return None

        def tell(arguments: bytes, synonyms: tuple[frozenset[str], ...]) -> None:
            if not call.is_told:
                call.is_told = True
                plan = call.plan
                plan.blanks = replace(plan.blanks, synonyms=synonyms)
                self._teller.executing(
                    call.sinks, plan, call.call_id, call.name, bytes(arguments)
                )

        return tell


def _returning(value: object) -> Callable[[], object]:
    return lambda: value


def is_awaited(value: object) -> bool:
    """Tell whether a value is to be awaited, or is an async stream.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    try:
        return inspect.isawaitable(value) or isinstance(value, AsyncIterator)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - both ask the value for its class
        return False
