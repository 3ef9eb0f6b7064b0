"""One call: find → authorize → validate → limit → run → serialize.

The dispatcher is the only code that runs tools and the only emitter of tool events.
What it does for a call that can go straight through is in `execute`, in one piece: it
is what most calls need, and each function called there would be a tenth of its cost.
Every other call takes the same steps in `_whole_way`.
"""

import asyncio
import time
from collections.abc import Mapping
from contextvars import copy_context
from types import FrameType
from typing import Any, Final

from toolkit.callflow import CallFlow
from toolkit.catalog import ListedTool
from toolkit.errors import RegistryClosedError, ToolCancelledError, ToolResultError
from toolkit.events import Sink
from toolkit.executors.call_task import CallTask
from toolkit.executors.inline import is_key_press
from toolkit.executors.watchdog import Step
from toolkit.loops import call_soon
from toolkit.plans import Call, Plan
from toolkit.results import OpenResult, ToolCall, ToolResult, cut, failure
from toolkit.running import is_awaited
from toolkit.signature import Arguments

__all__ = ["ToolCall", "ToolResult", "UnifiedToolDispatcher"]

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {}
_TEXTS: Final = (bytes, str, bytearray)
_AFTERWARDS: Final = frozenset({"value", "error", "odd"})  # set once the tool has run
_WAITS: Final = "it waits for something, though its code has nothing to wait for"


class UnifiedToolDispatcher(CallFlow):
    """Runs one user's calls. Belongs to one user tool system and ends with it.

    Args:
        registry: This user's tools.
        user_context: Who calls.
        policy: Who may see and call what.
        settings: Deadlines, limits and what is redacted.
        executors: What runs the tools.
        rules: The operator's rules of calls; by default as in `settings`.
        share: What the user has of this process; by default a share of its own.
        sinks: Told every event; must not block.
        authorizers: Asked before each call; they can only deny.
        catalog: All tools there are; consulted only to explain a refusal to a user who
            may have it explained.
        secrets: The user's secrets, for the tools they call.
        tracer: Told each call that starts and ends, if it is on by now.
    """

    async def execute(  # noqa: C901, PLR0911, PLR0912, PLR0915 - see the module's docstring
        self,
        name: str,
        arguments: Arguments = _NO_ARGUMENTS,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the call's own deadline
        idempotency_key: str | None = None,
        on_event: Sink | None = None,
    ) -> ToolResult:
        """Run one call and return its outcome; never raises what a tool raises.

        A call that is unknown, denied, not valid, not approved or over a limit never
        starts. One that starts has exactly one ``tool_executing`` and exactly one
        ``tool_completed``, whatever happens. It is answered at its deadline: the
        smallest of the operator's, the tool's and `timeout`. The time that a person
        takes to approve it does not count.

        Args:
            name: The tool's listed or qualified name.
            arguments: JSON text or bytes, or a mapping.
            timeout: Seconds the caller allows.
            idempotency_key: The same for each repetition of one call. Where a call
                came with it before in this system and started, its result is returned,
                once there is one, and nothing runs.
            on_event: Told the events of this call, beside the other sinks.

        Returns:
            The result; its `error` is one of the `ToolCallError` or `RegistryError`
            kinds.

        Raises:
            asyncio.CancelledError: The caller was cancelled; so is the tool.
            KeyboardInterrupt: The user interrupts.
        """
        started = time.monotonic()
        plan = self._plans.get(name) if type(name) is str else None
        if (
            plan is None
            or not plan.is_ready
            or idempotency_key is not None
            or timeout is not None
        ):
            return await self._whole_way(
                name, arguments, started, timeout, idempotency_key, on_event
            )
        call_id = f"{self._prefix}{next(self._numbers)}"
        try:
            if isinstance(arguments, _TEXTS):
                checked = plan.check_json(arguments)
            else:
                checked = plan.check_python(arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - validators are the plugin's code
            return self._refused(plan.refusal(name, error), name, call_id, started)
        if not plan.is_quick or not self._gate.is_open:
            return await self._taken(
                self._call(plan, name, call_id, started, checked, None, on_event)
            )
        self._calls += 1
        sinks = self._sinks if on_event is None else (*self._sinks, on_event)
        if sinks:
            self._teller.executing(sinks, plan, call_id, name, checked)
        if self._is_closed:  # by a sink just now, or in another thread
            closed = RegistryClosedError(self.registry.name)
            return self._failed_at_once(plan, closed, name, call_id, started, sinks)
        if plan.injected is not None:
            checked.update(plan.injected)
        try:
            coroutine = plan.call(**checked)
        except BaseException as error:  # noqa: BLE001 - an instance put it in the place
            return self._failed_at_once(plan, error, name, call_id, started, sinks)
        if plan.is_direct:
            try:
                copy_context().run(coroutine.send, None)
            except StopIteration as stop:
                value = stop.value
            except BaseException as error:  # noqa: BLE001 - a tool must not take others down
                return self._failed_at_once(plan, error, name, call_id, started, sinks)
            else:
                odd = RuntimeError(_WAITS)
                return self._failed_at_once(plan, odd, name, call_id, started, sinks)
        else:
            loop = asyncio.get_running_loop()
            left = self._runner.left_behind
            task = CallTask(coroutine, loop, copy_context(), left, (name, call_id))
            if not task.start():
                return await self._suspended(plan, task, name, call_id, started, sinks)
            raised = task.error
            if raised is not None:
                return self._failed_at_once(plan, raised, name, call_id, started, sinks)
            value = task.value
        if type(value) is plan.scalar:
            data = plan.write(value)
        elif type(value) not in plan.inert and is_awaited(value):
            return await self._go_on(plan, value, name, call_id, started, sinks)
        else:
            try:
                data = plan.dump(name, value)
            except ToolResultError as error:
                return self._unwritten(error, name, call_id, started, sinks)
        result: Any = OpenResult()  # as `success` does, without another call
        result.ok = True
        result.value = value
        result.error = None
        result.call_id = call_id
        result.tool = name
        if len(data) > self._max_bytes:
            result.truncated = True
            result.json_bytes = cut(data, self._max_bytes)
        else:
            result.truncated = False
            result.json_bytes = data
        result.seconds = seconds = time.monotonic() - started
        result.__class__ = ToolResult
        if sinks:
            self._teller.completed(sinks, call_id, name, result, seconds)
        return result  # type: ignore[no-any-return]  # it is one since its class says so

    async def _suspended(
        self,
        plan: Plan,
        task: CallTask,
        name: str,
        call_id: str,
        started: float,
        sinks: tuple[Sink, ...],
    ) -> ToolResult:
        """Go on with a call that waits for something: now it counts, and can end."""
        part = self._inline.here()
        self._gate.count_in()
        call = Call(plan, name, call_id, started, None, sinks)
        call.places.append(self._gate)
        call.state, call.was_started = "running", True
        call.is_told = bool(call.sinks)
        call.give_up = task.stop
        call.allow(plan.seconds, started)
        part.deadlines.watch(call)
        self._running[call_id] = call
        if self._is_closed:  # before it could be seen there
            call.stop(ToolCancelledError(name))
        result: ToolResult | None = None
        try:
            value = await task
            if type(value) not in plan.inert:
                value = await self._runner.awaited(call, value)
            result = call.succeeded(value, plan.dump(name, value), self._max_bytes)
        except BaseException as raised:  # noqa: BLE001 - a tool must not take others down
            result = self._failed_call(call, self._runner.fault(call, task, raised))
        finally:
            part.deadlines.drop(call)
            self._end(call, result)
        return result

    # --- looking at calls, and ending them -------------------------------------------

    def may_call(self, listed: ListedTool) -> bool:
        """Tell whether the access policy lets this user see and call a tool."""
        return self._admission.may_call(listed)

    def running(self) -> tuple[ToolCall, ...]:
        """Return the calls that have not ended, the oldest first."""
        self._end_closed()
        return tuple(
            ToolCall(
                call_id=call.call_id,
                tool=call.name,
                state=call.state,
                seconds=call.seconds,
                deadline=call.deadline,
            )
            for call in self._running.copy().values()
        )

    def cancel(self, call_id: str, why: str = "it was cancelled by its id") -> bool:
        """Give up one call; can be called anywhere.

        It is answered with a `ToolCancelledError`, at the next turn of its loop.

        Returns:
            Whether there is such a call that has not ended.
        """
        call = self._running.get(call_id)
        if call is None:
            return False
        self._questions.pop(call_id, None)  # nobody can answer any more
        self._stop(call, ToolCancelledError(call.name, why))
        return True

    def approve(self, call_id: str) -> bool:
        """Let a call go on that waits for approval; can be called anywhere.

        Returns:
            Whether it goes on, to be authorized again and run: each is answered once,
            and one that has expired or was given up is not there any more.
        """
        return self._answer(call_id, None)

    def deny(self, call_id: str, reason: str = "") -> bool:
        """Refuse a call that waits for approval; can be called anywhere.

        It is answered with an `ApprovalDeniedError`.

        Returns:
            Whether there was such a call: each is answered once.
        """
        return self._answer(call_id, str(reason))

    def statistics(self) -> dict[str, int]:
        """Return counts: calls started, failed among them, those that have not ended.

        A call that never waits for anything has ended when anybody can ask.
        """
        self._end_closed()
        return {
            "calls": self._calls,
            "failed": self._failed,
            "running": len(self._running),
        }

    def close(self) -> None:
        """Take no more calls and give up the running ones; can be called anywhere."""
        self._is_closed = True
        self._plans = {}
        self._questions.clear()  # nobody can answer any more
        for call in self._running.copy().values():
            self._stop(call, ToolCancelledError(call.name))
        self._end_closed()
        for waiter in self._loading.copy():
            call_soon(waiter.get_loop(), waiter.cancel)

    async def aclose(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - bounds the wait, not the work
        """Close, and wait up to `timeout` seconds until the async tools have ended."""
        here = asyncio.get_running_loop()
        ends = set[asyncio.Future[Any]]()
        for call in self._running.copy().values():
            if call.loop is here:
                call.ended = call.ended or here.create_future()
                ends.add(call.ended)
        self.close()
        until = time.monotonic() + timeout
        if ends:
            await asyncio.wait(ends, timeout=timeout)
        left = {one for one in self._runner.left.copy() if one.get_loop() is here}
        if left:
            await asyncio.wait(left, timeout=max(0.0, until - time.monotonic()))

    def _answer(self, call_id: str, reason: str | None) -> bool:
        question = self._questions.pop(call_id, None)
        return question is not None and question.answer(reason)

    def _failed_at_once(
        self,
        plan: Plan,
        error: BaseException,
        name: str,
        call_id: str,
        started: float,
        sinks: tuple[Sink, ...],
    ) -> ToolResult:
        """Answer for a tool that failed before it waited for anything."""
        self._failed += 1
        result = None
        try:
            if is_key_press(error):
                raise error
            told = self._failures.of(plan, name, call_id, error)
            result = failure(told, name, call_id, time.monotonic() - started)
        finally:
            seconds = time.monotonic() - started
            self._teller.completed(sinks, call_id, name, result, seconds)
        return result

    def _unwritten(
        self,
        error: ToolResultError,
        name: str,
        call_id: str,
        started: float,
        sinks: tuple[Sink, ...],
    ) -> ToolResult:
        """Answer for a tool whose value, which it had at once, is no JSON."""
        self._failed += 1
        result = self._refused(error, name, call_id, started)
        self._teller.completed(sinks, call_id, name, result, result.seconds)
        return result


def which_tool(frame: FrameType) -> Step | None:
    """Tell the watchdog which tool runs straight through in a frame of `execute`."""
    known = frame.f_locals
    if "coroutine" not in known or not _AFTERWARDS.isdisjoint(known):
        return None  # not yet, or no more: it is a sink, say, that takes the time
    plan: Plan = known["plan"]
    return (plan.listed.name, known["call_id"], 0) if plan.is_direct else None
