"""Dispatcher and registry against a model: anything may happen in any order."""

import asyncio
import gc
import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.steered import BOUND, virtual_time
from toolkit import Settings, ToolError, Toolkit, UserContext
from toolkit.errors import DuplicateKeyError, NoEarlierCatalogError
from toolkit.events import ToolEvent
from toolkit.results import ToolResult
from toolkit.system import UserToolSystem
from toolkit.testing import make_user

USERS = ("ann", "bob")
AT_ONCE, IN_LINE = 2, 1  # calls of one user
DEFAULT, APPROVAL = 30.0, 40.0  # seconds
TICK = 1 / 1024  # seconds between two calls: no two deadlines are the same, none passes
SETTINGS: dict[str, Any] = {
    "allow": frozenset(),
    "max_concurrent_calls": AT_ONCE,
    "max_queued_calls": IN_LINE,
    "default_timeout": DEFAULT,
    "approval_timeout": APPROVAL,
    "approve_tools": frozenset({"guarded"}),
}

D = TypeVar("D")


# --- the tools ------------------------------------------------------------------------


class Sum:
    """Counts its user's calls, at once."""

    name = "sum"
    made: ClassVar["weakref.WeakSet[Sum]"] = weakref.WeakSet()
    waiting: ClassVar[dict[str, "asyncio.Future[None]"]] = {}
    blocked: ClassVar[dict[str, threading.Event]] = {}

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.calls = 0
        Sum.made.add(self)

    async def execute(self, label: str) -> str:
        self.calls += 1
        return f"{self.owner} {label} {self.calls}"


class Later(Sum):
    """The same, over a turn of the loop."""

    name = "later"

    async def execute(self, label: str) -> str:
        self.calls += 1
        calls = self.calls
        await asyncio.sleep(0)
        return f"{self.owner} {label} {calls}"


class Guarded(Sum):
    """The same, once it is approved."""

    name = "guarded"


class Plain(Sum):
    """The same, in a thread."""

    name = "plain"

    def execute(self, label: str) -> str:  # type: ignore[override]  # a tool of another kind
        self.calls += 1
        return f"{self.owner} {label} {self.calls}"


class Fails(Sum):
    """Fails at once."""

    name = "fails"

    async def execute(self, label: str) -> str:
        raise ToolError(label)


class Hangs(Sum):
    """Waits until it is let go."""

    name = "hangs"

    async def execute(self, label: str) -> str:
        self.calls += 1
        calls = self.calls
        Sum.waiting[label] = asyncio.get_running_loop().create_future()
        await Sum.waiting[label]
        return f"{self.owner} {label} {calls}"


class Streams(Hangs):
    """The same, between two parts."""

    name = "streams"

    async def execute(self, label: str) -> AsyncIterator[str]:  # type: ignore[override]  # a tool of another kind
        self.calls += 1
        yield self.owner
        Sum.waiting[label] = asyncio.get_running_loop().create_future()
        await Sum.waiting[label]
        yield label


class Blocks(Sum):
    """The same, in a thread: it cannot be stopped, and keeps its place."""

    name = "blocks"

    def execute(self, label: str) -> str:  # type: ignore[override]  # a tool of another kind
        self.calls += 1
        calls = self.calls
        freed = Sum.blocked[label] = threading.Event()
        assert freed.wait(4 * BOUND)  # as long as one run of the machine
        return f"{self.owner} {label} {calls}"


CATALOG = (Sum, Later, Guarded, Plain, Fails, Hangs, Streams, Blocks)
NAMES = frozenset(one.name for one in CATALOG)
HANGING = frozenset({"hangs", "streams", "blocks"})


# --- the model ------------------------------------------------------------------------


@dataclass(eq=False)
class Call:
    """One call, and what is to become of it.

    `stage` is follows (another with its key), approval, line, running, or done.
    """

    user: "User"
    tool: str
    label: str
    task: "asyncio.Task[ToolResult]"
    told: list[ToolEvent]
    allowed: float
    deadline: float | None
    leader: "Call | None" = None
    key: str | None = None
    stage: str = "follows"
    code: str = ""
    value: Any = None
    is_started: bool = False
    is_abandoned: bool = False


class Told(list[ToolEvent]):
    """What a sink was told; weakly referable."""


@dataclass(eq=False)
class User:
    """What one user has: a system with its tools, and places that calls take."""

    name: str
    counts: Counter[str]
    system: UserToolSystem | None = None
    told: Told = field(default_factory=Told)
    tools: set[str] = field(default_factory=set)
    uses: Counter[str] = field(default_factory=Counter)
    keys: dict[str, Call] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)  # not done, in order
    line: list[Call] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # threads whose call was given up
    started: int = 0
    failed: int = 0
    openings: int = 0

    def at(self, *stages: str) -> list[Call]:
        return [call for call in self.calls if call.stage in stages]

    def admit(self, call: Call, now: float) -> None:
        """Let a call in that is found and checked."""
        if call.tool == "guarded":
            call.stage, call.deadline = "approval", now + APPROVAL
        else:
            self.limit(call)

    def limit(self, call: Call) -> None:
        if not self.line and self.has_place():
            self.start(call)
        elif len(self.line) < IN_LINE:
            call.stage = "line"
            self.line.append(call)
        else:
            self.end(call, "call_limit")

    def has_place(self) -> bool:
        return len(self.at("running")) + len(self.late) < AT_ONCE

    def start(self, call: Call) -> None:
        call.stage, call.is_started = "running", True
        self.started += 1
        if call.tool not in self.tools:  # it was removed while the call waited
            self.end(call, "tool_construction_failed")
        elif call.tool == "fails":
            self.end(call, "tool_error")
        else:
            self.uses[call.tool] += 1
            call.value = f"{self.name} {call.label} {self.uses[call.tool]}"
            if call.tool == "streams":
                call.value = [self.name, call.label]
            if call.tool not in HANGING:
                self.end(call)

    def end(self, call: Call, code: str = "", *, is_abandoned: bool = False) -> None:
        """Answer a call, and let the next in line have its place."""
        is_late = call.stage == "running" and call.tool == "blocks" and code != ""
        if is_late:
            self.late.append(call.label)
        call.stage, call.code, call.is_abandoned = "done", code, is_abandoned
        self.counts["ended: " + ("abandoned" if is_abandoned else code or "well")] += 1
        self.failed += call.is_started and bool(code)
        for waiting in (self.calls, self.line):
            if call in waiting:
                waiting.remove(call)
        if call.key is not None and call.leader is None and not call.is_started:
            self.keys.pop(call.key, None)
        for one in self.at("follows"):
            if one.leader is call:
                one.value = call.value
                self.end(one, code)
        self.go_on()

    def go_on(self) -> None:
        while self.line and self.has_place():
            self.start(self.line.pop(0))


ANY_TOOLS = st.lists(
    st.sampled_from(sorted({*NAMES, "extra", "absent", "unfit"})),
    min_size=1,
    max_size=3,
)
WAITING_TOOLS = st.lists(
    st.sampled_from(["guarded", *sorted(HANGING)]), min_size=1, max_size=4
)
TIMEOUTS = st.sampled_from([None, 5.0])
KEYS = st.sampled_from([None, None, "one"])


# --- the machine ----------------------------------------------------------------------


class Calls(RuleBasedStateMachine):
    """Users open, call, wait, give up, register and close; the operator refreshes."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.clock, self.loop = self.stack.enter_context(
            virtual_time(asyncio.SelectorEventLoop)
        )
        self.clock.is_held = True
        self.counts: Counter[str] = Counter()
        self.is_denied = False
        self.earlier: list[bool] = []
        self.kit = self.stack.enter_context(
            Toolkit(Settings(**SETTINGS), objects=CATALOG)
        )
        self.users = {name: User(name, self.counts) for name in USERS}
        self.watched: list[weakref.ref[Any]] = []
        self.numbers = 0
        Sum.waiting.clear()
        Sum.blocked.clear()
        for user in self.users.values():
            self.let_in(user)

    def let_in(self, user: User) -> None:
        user.told = Told()
        sinks = [user.told.append]
        user.system = self.kit.user(make_user(user.name), sinks=sinks)
        user.tools = set(NAMES - {"later"} if self.is_denied else NAMES)
        user.uses, user.keys = Counter(), {}
        user.started = user.failed = 0
        user.openings += 1
        parts = (user.system, user.system.registry, user.system.dispatcher, user.told)
        self.watched += [weakref.ref(one) for one in parts]

    # --- what the model is compared with ----------------------------------------------

    def settle(self, *ended: Call) -> None:
        """Let everything happen that is to happen now; then nothing else has."""
        self.loop.run_until_complete(self.settled(ended))
        for call in ended:
            if call.stage == "done":
                self.check_ended(call)
        for user in self.users.values():
            assert user.system is None or self.is_as_expected(user)
            assert not any(call.task.done() for call in user.calls)
            if user.system is not None:
                assert user.system.dispatcher.statistics() == {
                    "calls": user.started,
                    "failed": user.failed,
                    "running": len(user.calls) - len(user.at("follows")),
                }
        counts = self.kit.factory.statistics()
        assert counts["open_systems"] == len(self.opened())

    async def settled(self, ended: "tuple[Call, ...]") -> None:
        until = time.perf_counter() + BOUND
        await turns()
        while not (
            all(call.task.done() for call in ended if call.stage == "done")
            and all(map(self.is_as_expected, self.opened()))
            and self.threads_are_as_expected()
        ):
            assert time.perf_counter() < until, "what is to happen does not"
            await asyncio.sleep(0)
        await turns()

    def is_as_expected(self, user: User) -> bool:
        assert user.system is not None
        states = [(one.tool, one.state) for one in user.system.dispatcher.running()]
        stages = [
            (call.tool, "waiting" if call.stage == "line" else call.stage)
            for call in user.calls
            if call.stage != "follows"
        ]
        hanging = [one.label for one in user.at("running")]
        return states == stages and set(hanging) <= {*Sum.waiting, *Sum.blocked}

    def threads_are_as_expected(self) -> bool:
        counts = self.kit.factory.executors.threads.statistics()
        blocked = sum(not one.is_set() for one in Sum.blocked.values())
        return counts["threads"] - counts["idle"] == blocked and not counts["queued"]

    def check_ended(self, call: Call) -> None:
        """Check what became of a call, and that its events say the same, once."""
        assert call.task.cancelled() == call.is_abandoned
        if not call.is_abandoned:
            result = call.task.result()
            code = "" if result.error is None else result.error.code
            assert (code, result.value) == (call.code, None if code else call.value)
        if call.leader is not None:
            return
        told = call.user.told
        started = [
            one
            for one in told
            if one.type == "tool_executing"
            and (one.arguments or {})["label"] == call.label
        ]
        assert len(started) == call.is_started
        for first in started:
            events = [one for one in told if one.call_id == first.call_id]
            assert [one for one in call.told if one not in events] == []
            completed = [one for one in events if one.type == "tool_completed"]
            assert [(one.ok, one.error_code) for one in completed] == [
                (not call.code, call.code)
            ]
            assert completed == events[-1:]

    def opened(self) -> list[User]:
        return [user for user in self.users.values() if user.system is not None]

    def calls(self, *stages: str) -> list[Call]:
        return [call for user in self.opened() for call in user.at(*stages)]

    # --- what users do ----------------------------------------------------------------

    @precondition(lambda self: len(self.opened()) < len(USERS))
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        closed = [one for one in self.users.values() if one.system is None]
        self.let_in(drawn(data, closed))
        self.counts["open"] += 1
        self.settle()

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), tools=ANY_TOOLS, timeout=TIMEOUTS, key=KEYS)
    def call(
        self,
        data: st.DataObject,
        tools: list[str],
        timeout: float | None,
        key: str | None,
    ) -> None:
        user = drawn(data, self.opened())
        for tool in tools:
            self.one_call(data, user, tool, timeout, key)

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), tools=WAITING_TOOLS, timeout=TIMEOUTS, key=KEYS)
    def call_what_waits(
        self,
        data: st.DataObject,
        tools: list[str],
        timeout: float | None,
        key: str | None,
    ) -> None:
        user = drawn(data, self.opened())
        for tool in tools:
            self.one_call(data, user, tool, timeout, key)

    def one_call(
        self,
        data: st.DataObject,
        user: User,
        tool: str,
        timeout: float | None,
        key: str | None,
    ) -> None:
        assert user.system is not None
        self.clock.now += TICK
        self.numbers += 1
        label = f"{user.name}-{user.openings}-{key or self.numbers}"
        arguments: Any = {"label": [] if tool == "unfit" else label}
        if data.draw(st.booleans()):
            arguments = json.dumps(arguments)
        told: list[ToolEvent] = []
        options: dict[str, Any] = {"timeout": timeout, "idempotency_key": key}
        if data.draw(st.booleans()):
            options["on_event"] = told.append
        name = "sum" if tool == "unfit" else tool
        task = self.loop.create_task(user.system.execute(name, arguments, **options))
        allowed = min(DEFAULT, timeout or DEFAULT)
        deadline = self.clock.now + allowed
        call = Call(user, name, label, task, told, allowed, deadline, key=key)
        user.calls.append(call)
        self.counts[f"call: {tool}"] += 1
        if name not in user.tools:
            self.refuse(call, "tool_not_found")
        elif tool == "unfit":
            self.refuse(call, "invalid_arguments")
        elif key is None:
            user.admit(call, self.clock.now)
        else:
            self.once(call, key, timeout)
        self.settle(call)

    def refuse(self, call: Call, code: str) -> None:
        call.key, call.label = None, ""  # another's
        call.user.end(call, code)

    def once(self, call: Call, key: str, timeout: float | None) -> None:
        """Expect a call with a key to run unless one came with it before."""
        leader = call.user.keys.get(key)
        if leader is None:
            call.user.keys[key] = call
            call.user.admit(call, self.clock.now)
        elif leader.tool != call.tool:
            self.refuse(call, "idempotency_key_reused")
        else:
            self.counts["joined"] += 1
            call.leader, call.value = leader, leader.value
            call.deadline = None if timeout is None else self.clock.now + timeout
            if leader.stage == "done":
                call.user.end(call, leader.code)

    @precondition(lambda self: self.hanging())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        label = data.draw(st.sampled_from(self.hanging()))
        self.counts["release"] += 1
        user = self.users[label.partition("-")[0]]
        calls = [one for one in user.at("running") if one.label == label]
        followers = [one for one in user.at("follows") if one.leader in calls]
        if label in Sum.blocked:
            Sum.blocked[label].set()
        else:
            Sum.waiting[label].set_result(None)
        if label in user.late:
            user.late.remove(label)
            user.go_on()
        for call in calls:
            user.end(call)
        self.settle(*calls, *followers)

    def hanging(self) -> list[str]:
        late = [label for user in self.users.values() for label in user.late]
        return [call.label for call in self.calls("running")] + late

    @precondition(lambda self: self.calls("approval", "line", "running"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        call, call_id = self.draw_call(data, "approval", "line", "running")
        assert call.user.system is not None
        assert call.user.system.dispatcher.cancel(call_id)
        self.counts[f"cancel by id: {call.stage}"] += 1
        self.give_up(call, "cancelled")

    def draw_call(self, data: st.DataObject, *stages: str) -> tuple[Call, str]:
        """Return a call at one of these stages, and its id."""
        call = drawn(data, self.calls(*stages))
        assert call.user.system is not None
        own = [one for one in call.user.calls if one.stage != "follows"]
        running = call.user.system.dispatcher.running()
        return call, running[own.index(call)].call_id

    def give_up(self, call: Call, code: str, *, is_abandoned: bool = False) -> None:
        followers = [one for one in call.user.at("follows") if one.leader is call]
        call.user.end(call, code, is_abandoned=is_abandoned)
        self.settle(call, *followers)

    @precondition(lambda self: self.calls("approval", "line", "running", "follows"))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        call = drawn(data, self.calls("approval", "line", "running", "follows"))
        call.task.cancel()
        self.counts[f"caller cancelled: {call.stage}"] += 1
        self.give_up(call, "cancelled", is_abandoned=True)

    @precondition(lambda self: self.calls("approval"))
    @rule(data=st.data(), is_approved=st.booleans())
    def answer(self, data: st.DataObject, is_approved: bool) -> None:  # noqa: FBT001 - drawn
        call, call_id = self.draw_call(data, "approval")
        assert call.user.system is not None
        dispatcher = call.user.system.dispatcher
        self.clock.now += TICK
        self.counts["approve" if is_approved else "deny"] += 1
        if not is_approved:
            assert dispatcher.deny(call_id)
            self.give_up(call, "approval_denied")
            return
        assert dispatcher.approve(call_id)
        followers = [one for one in call.user.at("follows") if one.leader is call]
        call.deadline = self.clock.now + call.allowed
        call.user.limit(call)
        self.settle(call, *followers)

    @rule(seconds=st.sampled_from([1.0, 6.0, 33.0]))
    def pass_time(self, seconds: float) -> None:
        target = self.clock.now + seconds
        self.counts["time passes"] += 1
        while True:
            stages = ("approval", "line", "running", "follows")
            due = [
                one for one in self.calls(*stages) if (one.deadline or 9e9) <= target
            ]
            if not due:
                break
            call = min(due, key=lambda one: one.deadline or 0.0)
            self.clock.now = call.deadline or 0.0
            codes = {"approval": "approval_expired", "line": "call_limit"}
            self.counts[f"deadline: {call.stage}"] += 1
            self.give_up(call, codes.get(call.stage, "tool_timeout"))
        self.clock.now = target
        self.settle()

    @precondition(lambda self: self.opened())
    @rule(data=st.data(), tool=st.sampled_from([None, "extra", "guarded", "hangs"]))
    def change_tools(self, data: st.DataObject, tool: str | None) -> None:
        user = drawn(data, self.opened())
        assert user.system is not None
        registry = user.system.registry
        self.counts["register" if tool is None else "remove"] += 1
        if tool is not None:
            assert registry.remove(tool) is (tool in user.tools)
            user.tools.discard(tool)
        elif "extra" in user.tools:
            with pytest.raises(DuplicateKeyError):
                registry.register("extra", Sum(user.system.user_context))
        else:
            registry.register("extra", Sum(user.system.user_context))
            user.tools.add("extra")
            user.uses["extra"] = 0
        self.settle()

    @precondition(
        lambda self: self.opened() and self.numbers > 4 * self.counts["close"]
    )
    @rule(data=st.data(), gently=st.booleans())
    def close(self, data: st.DataObject, gently: bool) -> None:  # noqa: FBT001 - drawn
        user = drawn(data, self.opened())
        self.let_out(user, gently=gently)
        self.counts["close"] += 1

    def let_out(self, user: User, *, gently: bool) -> None:
        system = user.system
        assert system is not None
        user.line.clear()  # nobody gets the place of another
        given_up = [*user.calls]
        for call in given_up:
            if call.stage != "done":
                self.counts[f"closed: {call.stage}"] += 1
                user.end(call, "cancelled")
        if gently:
            self.loop.run_until_complete(system.aclose())
        else:
            system.close()
        user.system = None
        self.settle(*given_up)
        assert system.dispatcher.statistics()["running"] == 0
        others = set(USERS) - {user.name}
        for one in user.told:
            assert one.user_id == user.name
            assert not any(other in one.to_json() for other in others)
        after = self.loop.run_until_complete(system.execute("sum", {"label": "a"}))
        assert after.error is not None
        assert after.error.code == "registry_closed"

    # --- what the operator does -------------------------------------------------------

    @precondition(lambda self: self.counts["refresh"] + self.counts["roll back"] < 4)
    @rule(is_denied=st.sampled_from([False, True, None]))
    def change_catalog(self, is_denied: bool | None) -> None:  # noqa: FBT001 - drawn
        """Refresh, without one of the tools or with it; or roll back."""
        self.counts["roll back" if is_denied is None else "refresh"] += 1
        if is_denied is not None:
            denied = frozenset({"later"}) if is_denied else frozenset[str]()
            self.kit.refresh(Settings(**SETTINGS, deny_tools=denied))
            self.earlier = [*self.earlier, self.is_denied][-3:]
            self.is_denied = is_denied
        elif self.earlier:
            self.kit.rollback()
            self.is_denied = self.earlier.pop()
        else:
            with pytest.raises(NoEarlierCatalogError):
                self.kit.rollback()
        self.settle()

    def let_all_out(self) -> None:
        for user in self.opened():
            self.let_out(user, gently=True)
        for freed in Sum.blocked.values():
            freed.set()
        self.settle()
        self.users.clear()

    def is_all_gone(self) -> bool:
        gc.collect()
        return not Sum.made and not any(one() for one in self.watched)

    def teardown(self) -> None:
        if not hasattr(self, "users"):
            return
        with self.stack:
            self.let_all_out()
            for what, number in self.counts.items():
                event(what, payload=bucket(number))
            until = time.perf_counter() + BOUND
            while (
                not self.is_all_gone()
            ):  # a thread may hold its last call for a moment
                assert time.perf_counter() < until, "something is left of a system"


def drawn(data: st.DataObject, those: list[D]) -> D:
    """Choose one; failures are easier to read with its place alone."""
    return those[data.draw(st.integers(0, len(those) - 1))]


def bucket(number: int) -> str:
    """Return how many there were in one run, roughly, for the statistics."""
    return "1" if number == 1 else "2 to 4" if number < 5 else "5 or more"


async def turns() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class TestCalls(Calls.TestCase):  # type: ignore[valid-type,misc]  # Hypothesis's
    """Every started call completes once; nothing leaks; no event crosses (S13, B26)."""

    settings = settings(max_examples=35, stateful_step_count=40, deadline=None)
