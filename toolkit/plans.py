"""What one user's calls of one tool need, worked out at the first of them."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from types import GeneratorType
from typing import Any, Final

from toolkit.catalog import ListedTool
from toolkit.context import Secrets, UserContext
from toolkit.errors import (
    InvalidArgumentsError,
    ToolkitError,
    ToolTimeoutError,
    ToolUnavailableError,
)
from toolkit.events import Blanks, Sink
from toolkit.executors import Executor
from toolkit.executors.choice import ExecutorChoice, Executors
from toolkit.limits import Gate, ToolLimits, UserShare, shortest
from toolkit.loops import release
from toolkit.naming import comparable
from toolkit.results import ToolResult, failure, success
from toolkit.settings import Settings
from toolkit.signature import Signature, faults_of
from toolkit.suspending import may_suspend
from toolkit.tools import ToolDefinition

PLAIN: Final = frozenset(
    {bool, bytes, dict, float, int, list, set, str, tuple, type(None)}
)
"""Types of values that are surely not awaited."""

MAX_INERT: Final = 64
"""Types of results that a plan keeps in mind."""


class Plan:
    """One tool as one user calls it. Belongs to that user's dispatcher.

    Made anew whenever the registry changes, so nothing in it is ever out of date.

    Attributes:
        listed: The tool, under its names for this user.
        definition: What its code says, or what it was listed as until that is imported.
        executor: What runs it.
        is_inline: Whether that is the event loop.
        is_elsewhere: Whether that is another process.
        seconds: The smaller of the operator's and the tool's deadline; None: neither.
        gates: What its calls have to pass, beside the gate of all of the user's calls.
        needs_approval: Whether a person is asked first.
        is_ready: Whether a call needs no more than its arguments checked before it is
            taken: nothing is asked at each call, and no name is reserved.
        is_quick: Whether it may be run as soon as it passes the user's gate: it is a
            coroutine of the loop, and there is an instance to call.
        is_learned: Whether it is known if there is such an instance.
        is_direct: Whether a call can be run at once, step by step, without waiting for
            anything: nothing guards it, and its code has nothing to wait for.
        call: The user's own bound method, of a coroutine function that takes nothing
            but arguments and the user; None until there is an instance.
        check_json, check_python: The validators of its arguments.
        dump: Writes its results as JSON.
        scalar: The type of results that `write` writes without further ado.
        write: Their serializer.
        injected: The user, by name of each parameter that takes one.
        blanks: What is blanked out of its arguments in events.
        inert: Types of results that are known not to be awaited.
    """

    __slots__ = (
        "blanks",
        "call",
        "check_json",
        "check_python",
        "definition",
        "dump",
        "executor",
        "gates",
        "inert",
        "injected",
        "is_direct",
        "is_elsewhere",
        "is_inline",
        "is_learned",
        "is_quick",
        "is_ready",
        "listed",
        "needs_approval",
        "scalar",
        "seconds",
        "signature",
        "write",
    )

    blanks: Blanks
    call: Callable[..., Any]  # None until there is an instance
    check_json: Callable[[Any], dict[str, Any]]
    check_python: Callable[[Any], dict[str, Any]]
    definition: ToolDefinition
    dump: Callable[[str, object], bytes]
    executor: Executor
    gates: tuple[Gate, ...]
    inert: frozenset[type]
    injected: Mapping[str, UserContext] | None
    is_direct: bool
    is_elsewhere: bool
    is_inline: bool
    is_learned: bool
    is_quick: bool
    is_ready: bool
    listed: ListedTool
    needs_approval: bool
    scalar: type | None
    seconds: float | None
    signature: Signature | None
    write: Callable[[Any], bytes]

    def refusal(self, name: str, error: BaseException) -> InvalidArgumentsError:
        """Return what a validator raised as an error for the caller."""
        words = (
            frozenset[str]()
            if self.signature is None
            else self.signature.contents.words
        )
        return InvalidArgumentsError(name, faults_of(error, words))

    def learn(self, kind: type) -> None:
        """Keep in mind that results of this type are not awaited."""
        is_new = kind not in self.inert and len(self.inert) < MAX_INERT
        if is_new and kind is not GeneratorType:  # some of these are
            self.inert |= {kind}

    def allowed(self, timeout: float | None) -> float | None:
        """Return the seconds a call may take: the smallest limit there is."""
        return shortest(self.seconds, timeout)


class CallRules:
    """What the operator decided of calls, read once. Process-wide; no user's object.

    Attributes:
        choice: Which executor runs which tool.
        approved: Names of tools that wait for approval, in comparable form.
        limits: The limits of single tools.

    Args:
        settings: What the operator decided.
        limits: Limits that calls count towards already, for the same settings of them.
    """

    __slots__ = ("approved", "choice", "limits")

    def __init__(self, settings: Settings, *, limits: ToolLimits | None = None) -> None:
        """Read the settings."""
        self.choice = ExecutorChoice(settings)
        self.approved = frozenset(map(comparable, settings.approve_tools))
        self.limits = limits or ToolLimits(settings)


class Planner:
    """Makes one user's plans. Belongs to their dispatcher.

    Args:
        user: Who calls.
        settings: What the operator decided.
        executors: What runs tools.
        rules: The operator's rules of calls.
        share: What the user has of this process.
        secrets: The user's.
        is_guarded: Whether somebody is asked before each call.
        is_traced: Whether somebody is told that each begins and ends, beside the sinks.
    """

    __slots__ = (
        "_executors",
        "_is_guarded",
        "_is_watched",
        "_rules",
        "_secrets",
        "_settings",
        "_share",
        "_user",
    )

    def __init__(  # noqa: PLR0913 - the parts, all named
        self,
        *,
        user: UserContext,
        settings: Settings,
        executors: Executors,
        rules: CallRules,
        share: UserShare,
        secrets: Secrets,
        is_guarded: bool,
        is_traced: bool,
    ) -> None:
        """Take over the parts."""
        self._user = user
        self._settings = settings
        self._executors = executors
        self._rules = rules
        self._share = share
        self._secrets = secrets
        self._is_guarded = is_guarded
        self._is_watched = (
            is_guarded
            or is_traced
            or settings.calls_per_minute is not None
            or settings.retries > 0
        )

    def is_elsewhere(self, listed: ListedTool) -> bool:
        """Tell whether a tool runs in another process, and is not imported in this."""
        return self._rules.choice.is_elsewhere(listed)

    def plan(self, listed: ListedTool) -> Plan:
        """Work out what the calls of a tool need; its code is imported, or elsewhere.

        Raises:
            ToolUnavailableError: What the operator chose to run it cannot be had.
        """
        plan = Plan()
        plan.listed = listed
        plan.definition = definition = listed.current
        plan.is_elsewhere = self._rules.choice.is_elsewhere(listed)
        plan.signature = None if plan.is_elsewhere else listed.tool.signature
        plan.executor = self._executor(listed, plan.signature)
        plan.is_inline = plan.executor is self._executors.inline
        plan.seconds = shortest(self._settings.default_timeout, definition.timeout)
        plan.gates = self._rules.limits.gates_of(listed, self._share)
        plan.needs_approval = self._needs_approval(listed, definition)
        synonyms = () if plan.signature is None else plan.signature.contents.synonyms
        secrets = self._secrets or None
        plan.blanks = Blanks(self._settings.redact_fields, synonyms, secrets)
        plan.call = None  # type: ignore[assignment]  # until there is an instance
        plan.injected = None
        plan.inert = PLAIN
        plan.is_direct = plan.is_quick = plan.is_learned = False
        plan.is_ready = plan.signature is not None and not plan.signature.reserved
        plan.is_ready = plan.is_ready and not self._is_guarded
        if plan.signature is not None:
            plan.check_json = plan.signature.validator.validate_json
            plan.check_python = plan.signature.validator.validate_python
            plan.dump = plan.signature.dump
            plan.scalar = plan.signature.scalar
            plan.write = plan.signature.serializer.to_json
        return plan

    def learn(self, plan: Plan, instance: object) -> None:
        """Take note of the user's instance, once there is one."""
        plan.is_learned = True
        signature = plan.signature
        if signature is None or not plan.is_inline or signature.kind != "async":
            return
        if signature.positional or signature.takes_context:
            return
        call = getattr(instance, plan.listed.tool.method)
        if not iscoroutinefunction(call):  # the instance has put something else there
            return
        if signature.takes_user:
            plan.injected = dict.fromkeys(signature.takes_user, self._user)
        plan.call = call
        is_free = not (self._is_watched or plan.gates or plan.needs_approval)
        plan.is_quick = is_free and not signature.reserved
        # an instance may have put another function in the place of its class's
        plan.is_direct = plan.is_quick and not may_suspend(plan.call)

    def _executor(self, listed: ListedTool, signature: Signature | None) -> Executor:
        chosen = self._rules.choice.of(listed)
        if chosen is None:
            is_async = signature is not None and signature.is_async
            chosen = "inline" if is_async else "threads"
        try:
            return self._executors.named(chosen)
        except (
            ToolkitError,
            RuntimeError,
        ) as error:  # none can be made, or it is closed
            raise ToolUnavailableError(
                listed.name, listed.tool.origin, str(error)
            ) from error

    def _needs_approval(self, listed: ListedTool, definition: ToolDefinition) -> bool:
        if self._rules.approved and listed.known_names() & self._rules.approved:
            return True
        return self._settings.approve_destructive and definition.destructive is True


class Call:
    """One call on its way, from the moment it is admitted. Belongs to its dispatcher.

    Changed on its loop only, but for its places, which any thread may give back.

    Attributes:
        plan: Of its tool.
        name: The name the caller used.
        call_id: Its id.
        arguments: Checked; what the caller gave where it runs elsewhere.
        started: When it came, in `time.monotonic` seconds.
        allowed: The seconds it may take; None: any number.
        deadline: When it is answered; None: never.
        timer: The loop's, once it lasts.
        state: See `toolkit.results.ToolCall`; ``ended`` in the end.
        stop_error: Why it was given up; None if it was not.
        give_up: Ends the wait for what goes on now; None while nothing does.
        sinks: Who is told its events.
        is_told: Whether they were told that it executes.
        was_started: Whether it has passed all its gates.
        loop: The loop it runs on.
        context: In which its tool runs.
        jobs: How many of its jobs have not ended.
        places: The gates it has passed and not left.
        end_trace: Ends its trace; None without one.
        ended: Done when it is; None while nobody waits for that.
    """

    # Set on the class: a call needs few of these, and making it has to be cheap.
    allowed: float | None = None
    context: contextvars.Context | None = None
    deadline: float | None = None
    end_trace: Callable[[ToolResult | None], None] | None = None
    ended: asyncio.Future[None] | None = None
    give_up: Callable[[], object] | None = None
    is_told = False
    jobs = 0
    state = "waiting"
    stop_error: ToolkitError | None = None
    timer: asyncio.TimerHandle | None = None
    was_started = False

    def __init__(
        self,
        plan: Plan,
        name: str,
        call_id: str,
        started: float,
        arguments: Any,  # noqa: ANN401 - as the executor takes them
        sinks: tuple[Sink, ...],
    ) -> None:
        """Take the facts down; nothing runs."""
        self.plan = plan
        self.name = name
        self.call_id = call_id
        self.started = started
        self.arguments = arguments
        self.sinks = sinks
        self.loop = asyncio.get_running_loop()
        self.places: list[Gate] = []

    @property
    def seconds(self) -> float:
        """How long ago it came."""
        return time.monotonic() - self.started

    def succeeded(self, value: Any, data: bytes, max_bytes: int) -> ToolResult:  # noqa: ANN401 - whatever the tool returned
        """Return its result, with the value as JSON, cut to a number of bytes."""
        return success(value, data, max_bytes, self.call_id, self.name, self.seconds)

    def failed(self, error: ToolkitError) -> ToolResult:
        """Return its result, with an error."""
        return failure(error, self.name, self.call_id, self.seconds)

    def allow(self, seconds: float | None, since: float) -> None:
        """Set the deadline: so many seconds after a time; None: no deadline."""
        self.allowed = seconds
        self.deadline = None if seconds is None else since + seconds

    def has_time(self, seconds: float) -> bool:
        """Tell whether its deadline is more than so many seconds away."""
        return self.deadline is None or time.monotonic() + seconds < self.deadline

    def expire(self) -> None:
        """Give it up at its deadline."""
        self.timer = None
        self.stop(ToolTimeoutError(self.name, self.allowed or 0.0))

    def stop(self, error: ToolkitError) -> None:
        """Give it up, on its loop; the first reason counts."""
        if self.stop_error is None and self.state != "ended":
            self.stop_error = error
            if self.give_up is not None:
                self.give_up()

    def job_ended(self) -> None:
        """Take note that a job has ended; in any thread."""
        self.jobs -= 1
        if self.state == "ended" and not self.jobs:
            self.leave()

    def end(self) -> None:
        """Take note that it is answered. Its places are kept while a job runs on."""
        self.state = "ended"
        if not self.jobs:
            self.leave()
        if self.ended is not None:
            release(self.ended)

    def leave(self) -> None:
        """Give back all places; in any thread, also twice."""
        while self.places:
            try:
                gate = self.places.pop()
            except IndexError:  # another thread was quicker
                return
            gate.leave(was_started=self.was_started)
