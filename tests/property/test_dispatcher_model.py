"""Dispatcher and registry against a model: anything may happen in any order."""

import asyncio
import gc
import weakref
from collections import Counter
from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from toolkit import Settings, ToolError, Toolkit, UserContext, tool
from toolkit.events import EventType, ToolEvent
from toolkit.results import ToolResult
from toolkit.system import UserToolSystem
from toolkit.testing import make_user

USERS = st.sampled_from(["ann", "bob", "cyd"])
MADE: "weakref.WeakSet[Sum]" = weakref.WeakSet()


class Sum:
    """Adds up what its user gives it."""

    name = "sum"

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.total = 0
        MADE.add(self)

    async def execute(self, number: int) -> list[Any]:
        self.total += number
        return [self.owner, self.total]


class Door:
    """Waits until its user's door is opened."""

    name = "door"
    opened: "dict[str, asyncio.Event]"

    async def execute(self, user: UserContext) -> str:
        await Door.opened[user.user_id].wait()
        return user.user_id


@tool
def plain(fails: bool) -> str:  # noqa: FBT001 - an argument of a tool
    """Run in a thread."""
    if fails:
        raise ToolError("as asked")
    return "plain"


class Calls(RuleBasedStateMachine):
    """Users open, call, cancel, wait and close; the operator refreshes."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.kit = Toolkit(Settings(allow=frozenset()), objects=[Sum, Door, plain])
        self.systems: dict[str, UserToolSystem] = {}
        self.events: dict[str, list[ToolEvent]] = {}
        self.totals: Counter[str] = Counter()
        self.waiting: dict[str, list[asyncio.Task[ToolResult]]] = {}
        Door.opened = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 10))

    async def turns(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    @rule(user=USERS)
    def open(self, user: str) -> None:
        if user in self.systems:
            return
        event("open")
        self.events.setdefault(user, [])
        sinks = [self.events[user].append]
        self.systems[user] = self.kit.user(make_user(user), sinks=sinks)
        self.totals[user] = 0
        self.waiting[user] = []
        Door.opened[user] = asyncio.Event()

    @rule(user=USERS, number=st.integers(-9, 9), key=st.booleans())
    def add(self, user: str, number: int, key: bool) -> None:  # noqa: FBT001 - drawn
        if user not in self.systems:
            return
        event("add")
        options: dict[str, Any] = {"idempotency_key": f"{number}"} if key else {}
        dispatcher = self.systems[user].dispatcher
        before = dispatcher.statistics()["calls"]
        arguments = {"number": number}
        result = self.run(dispatcher.execute("sum", arguments, **options))
        if dispatcher.statistics()["calls"] > before:  # its key was new
            self.totals[user] += number
            assert result.unwrap() == [user, self.totals[user]]
        else:
            assert key
            assert result.unwrap()[0] == user

    @rule(user=USERS, fails=st.booleans())
    def call_plain(self, user: str, fails: bool) -> None:  # noqa: FBT001 - drawn
        if user not in self.systems:
            return
        event("thread")
        result = self.run(self.systems[user].execute("plain", {"fails": fails}))
        assert result.ok is not fails

    @rule(user=USERS)
    def refuse(self, user: str) -> None:
        if user not in self.systems:
            return
        event("refused")
        told = len(self.events[user])
        assert not self.run(self.systems[user].execute("sum", {"number": "x"})).ok
        assert not self.run(self.systems[user].execute("nothing")).ok
        assert len(self.events[user]) == told

    @rule(user=USERS)
    def wait(self, user: str) -> None:
        if user not in self.systems:
            return
        event("wait")
        call = self.systems[user].execute("door")
        self.waiting[user].append(self.loop.create_task(call))
        self.run(self.turns())

    @rule(user=USERS)
    def pass_deadline(self, user: str) -> None:
        if user not in self.systems or Door.opened[user].is_set():
            return
        event("deadline")
        result = self.run(self.systems[user].execute("door", timeout=0.002))
        assert result.error is not None
        assert result.error.code == "tool_timeout"

    @rule(user=USERS)
    def cancel(self, user: str) -> None:
        system = self.systems.get(user)
        running = () if system is None else system.dispatcher.running()
        if system is None or not running:
            return
        event("cancel by id")
        assert system.dispatcher.cancel(running[0].call_id)
        self.run(self.turns())

    @rule(user=USERS)
    def cancel_caller(self, user: str) -> None:
        for task in self.waiting.get(user, []):
            if not task.done():
                event("cancel caller")
                task.cancel()
                self.run(self.turns())
                assert task.cancelled()
                return

    @rule(user=USERS)
    def open_door(self, user: str) -> None:
        if user in self.systems:
            event("finish")
            Door.opened[user].set()
            self.run(self.turns())

    @rule(user=USERS, gently=st.booleans())
    def close(self, user: str, gently: bool) -> None:  # noqa: FBT001 - drawn
        if user not in self.systems:
            return
        event("close")
        system = self.systems.pop(user)
        if gently:
            self.run(system.aclose())
        else:
            system.close()
        self.run(self.turns())
        assert all(task.done() for task in self.waiting.pop(user))
        assert system.dispatcher.statistics()["running"] == 0

    @rule()
    def refresh(self) -> None:
        event("refresh")
        self.kit.refresh()

    @invariant()
    def everybody_has_their_own(self) -> None:
        if not hasattr(self, "kit"):
            return
        for user, told in self.events.items():
            assert {one.user_id for one in told} <= {user}
            started = Counter(
                one.call_id for one in told if one.type is EventType.TOOL_EXECUTING
            )
            ended = Counter(
                one.call_id for one in told if one.type is EventType.TOOL_COMPLETED
            )
            running = set()
            if user in self.systems:
                calls = self.systems[user].dispatcher.running()
                running = {one.call_id for one in calls}
            assert set(started.values()) | set(ended.values()) <= {1}
            assert set(started) - set(ended) == running
        counts = self.kit.factory.statistics()
        assert counts["open_systems"] == len(self.systems)

    def teardown(self) -> None:
        if not hasattr(self, "kit"):
            return
        for user in tuple(self.systems):
            self.close(user=user, gently=True)
        self.everybody_has_their_own()
        self.kit.close()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        gc.collect()
        assert len(MADE) == 0


class TestCalls(Calls.TestCase):  # type: ignore[valid-type,misc]  # Hypothesis's
    """Every started call completes once; nothing leaks; no event crosses (S13, B26)."""

    settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
