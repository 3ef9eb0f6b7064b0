"""The steps of a call that may have to wait, from its name to its result.

`toolkit.dispatch` goes through the same steps in one piece for calls that need not
wait, which are most.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from math import isnan
from typing import Any

from pydantic_core import to_json

from toolkit.admission import Admission
from toolkit.catalog import Authorizer, ListedTool, ToolCatalog
from toolkit.context import NO_SECRETS, Secrets, UserContext
from toolkit.errors import (
    ApprovalDeniedError,
    ApprovalExpiredError,
    InvalidArgumentsError,
    RegistryClosedError,
    ToolCancelledError,
    ToolkitError,
    ToolResultError,
    ToolTimeoutError,
    ToolUnavailableError,
    kind_of_error,
)
from toolkit.events import Sink
from toolkit.executors import Written
from toolkit.executors.choice import Executors
from toolkit.executors.loading import watch
from toolkit.failures import Failures
from toolkit.limits import Gate, UserShare, shortest
from toolkit.loops import call_soon
from toolkit.plans import Call, CallRules, Plan, Planner
from toolkit.policy import AccessPolicy
from toolkit.questions import Question
from toolkit.repeats import Repeats, may_repeat, pause_before, plain_dict
from toolkit.results import ToolResult, failure
from toolkit.running import Runner
from toolkit.settings import Settings
from toolkit.signature import Arguments
from toolkit.telling import Teller
from toolkit.tool_registry import ToolRegistry
from toolkit.tracing import CallTracer, StartedCall

logger = logging.getLogger("toolkit.dispatch")


class CallFlow:
    """One user's calls on their way. The part of a dispatcher that is not public.

    Takes the arguments that `toolkit.dispatch.UnifiedToolDispatcher` explains.
    """

    def __init__(  # noqa: PLR0913 - the parts of one call, all named
        self,
        registry: ToolRegistry,
        *,
        user_context: UserContext,
        policy: AccessPolicy,
        settings: Settings,
        executors: Executors,
        rules: CallRules | None = None,
        share: UserShare | None = None,
        sinks: Iterable[Sink] = (),
        authorizers: Iterable[Authorizer] = (),
        catalog: ToolCatalog | None = None,
        secrets: Secrets = NO_SECRETS,
        tracer: CallTracer | None = None,
    ) -> None:
        """Take over the parts; nothing is started."""
        self.registry = registry
        self.user_context = user_context
        self._settings = settings
        self._max_bytes = settings.max_result_bytes
        self._tracer = tracer if tracer is not None and tracer.is_on else None
        self._inline = executors.inline
        self._share = share or UserShare(user_context.user_id)
        self._admission = Admission(
            registry,
            user=user_context,
            policy=policy,
            authorizers=authorizers,
            catalog=catalog or ToolCatalog(),
        )
        self._planner = Planner(
            user=user_context,
            settings=settings,
            executors=executors,
            rules=rules or CallRules(settings),
            share=self._share,
            secrets=secrets,
            is_guarded=bool(self._admission.authorizers),
            is_traced=self._tracer is not None,
        )
        self._teller = Teller(user_context, sinks, secrets)
        self._sinks = self._teller.sinks
        self._failures = Failures(secrets, show=settings.show_tool_errors)
        self._runner = Runner(
            registry=registry,
            user=user_context,
            secrets=secrets,
            inline=executors.inline,
            failures=self._failures,
            teller=self._teller,
        )
        self._gate = self._share.gate(settings)
        self._plans: dict[str, Plan] = {}
        self._running: dict[str, Call] = {}
        self._loading: set[asyncio.Future[Any]] = set()
        self._questions: dict[str, Question] = {}
        self._repeats = Repeats()
        self._prefix = f"{executors.unique_name()}-"
        self._numbers = count(1)
        self._is_closed = False
        self._calls = self._failed = 0
        registry.tell_changes(self._forget_plans)

    async def _whole_way(
        self,
        name: str,
        arguments: Arguments,
        started: float,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
        key: str | None,
        on_event: Sink | None,
    ) -> ToolResult:
        call_id = f"{self._prefix}{next(self._numbers)}"
        try:
            plan = await self._planned(name, timeout, started)
            checked = self._checked(plan, name, arguments)
        except ToolkitError as error:
            return self._refused(error, name, call_id, started)
        call = self._call(plan, name, call_id, started, checked, timeout, on_event)
        if key is not None:
            return await self._once(call, key, arguments, timeout)
        return await self._taken(call)

    def _call(  # noqa: PLR0913, PLR0917 - the facts of a call
        self,
        plan: Plan,
        name: str,
        call_id: str,
        started: float,
        checked: Any,  # noqa: ANN401 - as the executor takes them
        timeout: float | None,
        on_event: Sink | None,
    ) -> Call:
        sinks = self._sinks if on_event is None else (*self._sinks, on_event)
        call = Call(plan, name, call_id, started, checked, sinks)
        call.allow(plan.allowed(timeout), started)
        return call

    async def _planned(
        self,
        name: str,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
        started: float,
    ) -> Plan:
        """Find and authorize; import the code of a tool that is known from before."""
        if self._is_closed:
            raise RegistryClosedError(self.registry.name)
        if timeout is not None and not _is_number(timeout):
            raise InvalidArgumentsError(name, [("timeout", "give seconds, or nothing")])
        plans = self._plans  # another dict, as soon as a name means something else
        plan = plans.get(name) if type(name) is str else None
        if plan is not None and not self._admission.authorizers:
            return plan
        listed = self._admission.find(name)
        if plan is None or plan.listed is not listed:
            if not (listed.tool.is_loaded or self._planner.is_elsewhere(listed)):
                await self._load(name, listed, timeout, started)
            elif not listed.tool.is_loaded:
                await self._check_elsewhere(name, listed, timeout, started)
            plan = self._planner.plan(listed)
            if type(name) is str:
                plans[name] = plan
        return plan

    def _checked(self, plan: Plan, name: str, arguments: Arguments) -> Any:  # noqa: ANN401 - as the executor takes them
        """Return checked arguments; as JSON where they are checked elsewhere."""
        if plan.signature is not None:
            return plan.signature.validate(name, arguments)
        if isinstance(arguments, str | bytes | bytearray):
            text = arguments.encode() if isinstance(arguments, str) else arguments
            return bytes(text)
        try:
            return to_json(arguments, fallback=plain_dict)
        except ValueError as error:
            fault = f"they cannot be written as JSON ({kind_of_error(error)})"
            raise InvalidArgumentsError(name, [("", fault)]) from None

    async def _check_elsewhere(
        self,
        name: str,
        listed: ListedTool,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
        started: float,
    ) -> None:
        """Make sure that another process may import a tool now; reads files.

        Raises:
            ToolCancelledError: The dispatcher is closed meanwhile.
            ToolTimeoutError: The deadline passes meanwhile.
            ToolUnavailableError: It may not, or nobody can tell.
        """
        ask = getattr(listed.tool, "objection", None)
        if ask is None:
            return
        asking = asyncio.ensure_future(asyncio.to_thread(ask))
        await self._before(asking, name, listed, timeout, started)
        error = asking.exception()
        detail = asking.result() if error is None else _raised(error)
        if detail:
            raise ToolUnavailableError(name, listed.tool.origin, detail) from error

    async def _load(
        self,
        name: str,
        listed: ListedTool,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
        started: float,
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
        await self._before(watch(loading), name, listed, timeout, started)
        error = loading.exception()
        if error is not None:  # an error of this call's own: others wait for it too
            detail = getattr(error, "detail", _raised(error))
            raise ToolUnavailableError(name, listed.tool.origin, detail) from error
        self._admission.authorize(name, listed)

    async def _before(
        self,
        waiter: asyncio.Future[Any],
        name: str,
        listed: ListedTool,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
        started: float,
    ) -> None:
        """Wait for what a call needs before it can be taken."""
        self._loading.add(waiter)
        default = self._settings.default_timeout
        allowed = shortest(default, listed.current.timeout, timeout)
        left = None if allowed is None else started + allowed - time.monotonic()
        try:
            done, _ = await asyncio.wait({waiter}, timeout=left)
        finally:
            self._loading.discard(waiter)
            waiter.cancel()
        if self._is_closed:
            raise ToolCancelledError(name)
        if not done:
            raise ToolTimeoutError(name, allowed or 0.0)

    async def _once(
        self,
        call: Call,
        key: str,
        arguments: Arguments,
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
    ) -> ToolResult:
        """Run a call that came with a key, unless it came before."""
        try:
            earlier = self._repeats.find(key, call.name, arguments)
        except ToolkitError as error:
            return self._failed_call(call, error)
        if earlier is not None:
            return await self._joined(call, earlier, timeout)
        result = None
        try:
            result = await self._taken(call)
        finally:
            told = result
            if told is None:  # its caller was cancelled; whoever repeats it is told
                gone = ToolCancelledError(call.name, "its first caller was cancelled")
                told = self._failed_call(call, gone)
            self._repeats.settle(key, told, is_kept=call.was_started)
        return result

    async def _joined(
        self,
        call: Call,
        earlier: Future[ToolResult],
        timeout: float | None,  # noqa: ASYNC109 - part of the call's own deadline
    ) -> ToolResult:
        """Wait for an earlier call's result for as long as this one's caller allows.

        That call keeps to all the other deadlines itself.
        """
        if not earlier.done():
            waiter = watch(earlier)
            left = None
            if timeout is not None:
                left = call.started + timeout - time.monotonic()
            try:
                await asyncio.wait({waiter}, timeout=left)
            finally:
                waiter.cancel()
        if earlier.done():
            return earlier.result()
        return self._failed_call(call, ToolTimeoutError(call.name, timeout or 0.0))

    async def _taken(self, call: Call) -> ToolResult:
        """Limit and run; from here on the call can be cancelled by its id."""
        plan, teller = call.plan, self._teller
        result: ToolResult | None = None
        self._running[call.call_id] = call
        try:
            if self._is_closed:  # in another thread, before it could be seen there
                raise RegistryClosedError(self.registry.name)
            if plan.needs_approval or plan.gates or not self._gate.try_enter():
                await self._let_in(call)
            else:
                call.places.append(self._gate)
            self._calls += 1
            call.state, call.was_started = "running", True
            if self._tracer is not None:
                self._begin_trace(call, self._tracer)
            if call.sinks and not plan.is_elsewhere:
                call.is_told = True
                teller.executing(
                    call.sinks, plan, call.call_id, call.name, call.arguments
                )
            if self._settings.retries:
                value = await self._repeated(call)
            else:
                value = await self._runner.value(call)
            result = self._success(call, value)
        except ToolkitError as error:
            result = self._failed_call(call, error)
        finally:  # also when the caller is cancelled: what started is completed
            self._end(call, result)
        return result

    async def _let_in(self, call: Call) -> None:
        """Wait for a person where one is asked, and for the call's turn."""
        plan = call.plan
        if plan.needs_approval:
            await self._approved(call)
            call.allow(call.allowed, time.monotonic())
            self._admission.authorize(call.name, plan.listed)  # it may be later now
        for gate in (self._gate, *plan.gates):
            if call.stop_error is not None:  # while it was let in here, or approved
                raise call.stop_error
            if not gate.try_enter():
                await self._wait_at(gate, call)
            call.places.append(gate)
        if call.stop_error is not None:
            raise call.stop_error

    async def _wait_at(self, gate: Gate, call: Call) -> None:
        self._end_closed()  # they may be in the way
        entering = call.loop.create_task(
            gate.enter(self.user_context.user_id, call.deadline)
        )
        call.give_up = entering.cancel
        try:
            await asyncio.wait({entering})
        except BaseException:
            entering.add_done_callback(gate.leave_again)
            entering.cancel()
            raise
        finally:
            call.give_up = None
        if entering.cancelled():
            raise call.stop_error or ToolCancelledError(call.name)
        entering.result()

    async def _approved(self, call: Call) -> None:
        """Wait until somebody approves the call."""
        waiter: asyncio.Future[str | None] = call.loop.create_future()
        seconds = self._settings.approval_timeout
        call.deadline = time.monotonic() + seconds
        call.state, call.give_up = "approval", waiter.cancel
        self._questions[call.call_id] = Question(waiter)
        self._teller.approval_required(call)
        error: ToolkitError | None = ToolCancelledError(call.name)
        try:
            await asyncio.wait({waiter}, timeout=seconds)
            # Whoever takes the question away settles it, be it in the last moment.
            if not waiter.done() and not self._questions.pop(call.call_id, None):
                await asyncio.wait({waiter})
            if not waiter.done():
                error = ApprovalExpiredError(call.name, seconds)
            elif waiter.cancelled():
                error = call.stop_error or error
            else:
                reason = waiter.result()
                error = None
                if reason is not None:
                    error = ApprovalDeniedError(call.name, reason)
        finally:
            call.state, call.give_up = "waiting", None
            self._questions.pop(call.call_id, None)
            self._teller.approval_settled(call, error)
        if error is not None:
            raise error

    # --- running ----------------------------------------------------------------------

    def _success(self, call: Call, value: Any) -> ToolResult:  # noqa: ANN401 - whatever the tool returned
        """Write the value down; raises where it cannot be written."""
        plan = call.plan
        if type(value) is Written:
            data, value = value.json_bytes, self._read(call, value)
        else:
            data = plan.dump(call.name, value)
            if not plan.is_learned:
                with suppress(Exception):  # it was removed meanwhile, or is odd
                    self._planner.learn(plan, self._runner.instance(call))
        return call.succeeded(value, data, self._max_bytes)

    def _read(self, call: Call, written: Written) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return written.value()
        except ValueError:  # a worker's code may send what it likes
            raise ToolResultError(call.name, "what came is no JSON") from None

    async def _repeated(self, call: Call) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Run the tool, again where that is allowed and may help."""
        said = call.plan.definition
        is_repeatable = said.idempotent is True and not said.streaming
        attempts = 1 + (self._settings.retries if is_repeatable else 0)
        for attempt in range(1, attempts + 1):
            try:
                return await self._runner.value(call)
            except ToolkitError as error:
                pause = pause_before(attempt, self._settings.retry_delay)
                is_last = attempt == attempts or call.stop_error is not None
                if is_last or not may_repeat(error) or not call.has_time(pause):
                    raise
                logger.warning("call %s failed; it is tried again", call.call_id)
                await self._rest(call, pause)
        raise AssertionError  # the last attempt returns or raises

    async def _rest(self, call: Call, seconds: float) -> None:
        """Wait before another attempt; raises where the call is given up meanwhile."""
        waiter: asyncio.Future[None] = call.loop.create_future()
        call.give_up = waiter.cancel
        try:
            await asyncio.wait({waiter}, timeout=seconds)
        finally:
            call.give_up = None
        if call.stop_error is not None:
            raise call.stop_error

    async def _go_on(
        self,
        plan: Plan,
        value: Any,  # noqa: ANN401 - whatever the tool returned
        name: str,
        call_id: str,
        started: float,
        sinks: tuple[Sink, ...],
    ) -> ToolResult:
        """End a direct call whose tool returned something that is to be awaited."""
        call = Call(plan, name, call_id, started, {}, sinks)
        call.allow(plan.seconds, started)
        call.state, call.was_started = "running", True
        call.is_told = bool(call.sinks)  # that it executes, they were told already
        self._running[call_id] = call
        result = None
        try:
            value = await self._runner.awaited(call, value)
            result = call.succeeded(value, plan.dump(name, value), self._max_bytes)
        except ToolkitError as error:
            result = self._failed_call(call, error)
        finally:
            self._end(call, result)
        return result

    # --- afterwards -------------------------------------------------------------------

    def _refused(
        self, error: ToolkitError, name: str, call_id: str, started: float
    ) -> ToolResult:
        """Return the result of a call for which nothing has to be ended."""
        seconds = time.monotonic() - started
        return failure(self._failures.clean(error), name, call_id, seconds)

    def _failed_call(self, call: Call, error: ToolkitError) -> ToolResult:
        """Return the result of a call that has no value."""
        return call.failed(self._failures.clean(error))

    def _end(self, call: Call, result: ToolResult | None) -> None:
        """Complete a call that was taken, and give its places back; once only."""
        if self._running.pop(call.call_id, None) is not None:
            if call.was_started:
                self._complete(call, result)
            call.end()

    def _end_closed(self) -> None:
        """End the calls of loops that were closed with no regard for them."""
        lost = [one for one in self._running.copy().values() if one.loop.is_closed()]
        for call in lost:
            call.ended = call.give_up = None  # who waits there waits no more
            self._end(call, None)
        if lost:
            self._inline.forget_closed_loops()

    def _complete(self, call: Call, result: ToolResult | None) -> None:
        self._failed += result is None or not result.ok
        call.state = "ended"  # what it says from now on is not told
        if call.is_told:
            sinks, seconds = call.sinks, call.seconds
            self._teller.completed(sinks, call.call_id, call.name, result, seconds)
        if call.end_trace is not None:
            call.end_trace(result)

    def _begin_trace(self, call: Call, tracer: CallTracer) -> None:
        call.context = contextvars.copy_context()
        started = StartedCall(
            call_id=call.call_id,
            name=call.name,
            definition=call.plan.definition,
            user=self.user_context,
            arguments=partial(self._teller.shown, call),
        )
        call.end_trace = call.context.run(tracer.begin, started)

    def _stop(self, call: Call, error: ToolkitError) -> None:
        call_soon(call.loop, call.stop, error)

    def _forget_plans(self) -> None:
        self._plans = {}


def _is_number(seconds: object) -> bool:
    with suppress(OverflowError):  # an int may be larger than any float
        return isinstance(seconds, int | float) and not isnan(seconds)
    return False


def _raised(error: BaseException) -> str:
    return f"it raised {kind_of_error(error)}"
