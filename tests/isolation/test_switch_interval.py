"""Threads that are switched at every microsecond: no race, no instance twice."""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sample_tools import Echo
from toolkit import Settings, ToolContext, Toolkit, UserContext
from toolkit.events import ToolEvent
from toolkit.system import UserToolSystem
from toolkit.testing import make_user

THREADS = 8
ROUNDS = 40
WAIT = 20  # seconds; a bound, never reached when all is well


class Tally:
    """Counts the calls of one system; knows who made it, and is counted itself."""

    name = "tally"
    made: "list[str]"

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.count = 0
        type(self).made.append(user.session_id)

    async def execute(self, context: ToolContext) -> list[Any]:
        before = self.count
        self.count = before + 1
        return [self.owner, context.user.user_id, context.secrets["token"], before]


class Waiting(Tally):
    """The same, over a turn of the loop."""

    name = "waiting"

    async def execute(self, context: ToolContext) -> list[Any]:
        self.count += 1
        before = self.count
        await asyncio.sleep(0)
        return [self.owner, context.user.user_id, context.secrets["token"], before]


class Threaded(Tally):
    """The same, in a thread of the pool."""

    name = "threaded"

    def execute(self, context: ToolContext) -> list[Any]:  # type: ignore[override]  # a tool of another kind
        return [self.owner, context.user.user_id, context.secrets["token"], 0]


TOOLS = (Tally, Waiting, Threaded)
SETTINGS = Settings(
    allow=frozenset(),  # no installed distribution
    max_concurrent_calls=3,
    max_queued_calls=1000,
    tool_limits={"waiting": {"concurrent": 2}},  # type: ignore[dict-item]  # as a file says it
)


@pytest.fixture
def kit() -> Iterator[Toolkit]:
    for tool in TOOLS:
        tool.made = []
    with Toolkit(SETTINGS, objects=TOOLS) as made:
        yield made


@pytest.fixture
def _eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], object]) -> list[Any]:
    """Do the work in all threads at once; return what each came to."""
    start = threading.Barrier(THREADS)

    def one(number: int) -> object:
        start.wait(WAIT)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS), timeout=WAIT))


async def use(system: UserToolSystem, who: str) -> None:
    """Call each tool several times at once; each answer is this user's."""
    names = [tool.name for tool in TOOLS for _ in range(3)]
    calls = (system.execute(name) for name in names)
    results = await asyncio.wait_for(asyncio.gather(*calls), WAIT)
    for result in results:
        assert result.unwrap()[:3] == [who, who, f"secret of {who}"]
    counts = sorted(one.value[3] for one in results if one.tool == "tally")
    assert counts == [0, 1, 2]
    refused = await system.execute("absent")
    assert refused.error is not None
    assert refused.error.code == "tool_not_found"


async def visits(kit: Toolkit, who: str, told: list[ToolEvent]) -> None:
    """Open a system, use and close it, again and again."""
    secrets = {"token": f"secret of {who}"}
    for number in range(ROUNDS):
        user = make_user(who)
        own = [type(f"Own{who}", (Echo,), {"name": "own"})] if number % 4 == 0 else None
        system = kit.user(user, sinks=[told.append], secrets=secrets, tool_classes=own)
        async with system:
            await use(system, who)
            if own:
                assert (await system.execute("own", {"text": who})).value == who
            system.registry.register("extra", Echo())
            assert (await system.execute("extra", {"text": who})).value == who
        assert system.is_closed
        assert system.dispatcher.statistics()["running"] == 0


@pytest.mark.usefixtures("_eager_switching")
def test_threads_that_open_use_and_close_while_the_catalog_changes(
    kit: Toolkit,
) -> None:
    """Six users in threads of their own, two threads that refresh and roll back: all
    results are right, each system made one instance of each tool, and nothing is left
    (S3, S13, S25, S57, B15).
    """
    told: list[list[ToolEvent]] = [[] for _ in range(THREADS)]

    def work(number: int) -> None:
        if number < THREADS - 2:
            asyncio.run(visits(kit, f"user{number}", told[number]))
            return
        for turn in range(ROUNDS):
            kit.refresh()
            if turn % 3 == 2:
                kit.rollback()

    in_threads(work)
    for tool in TOOLS:
        made = Counter(tool.made)
        assert len(made) == (THREADS - 2) * ROUNDS
        assert set(made.values()) == {1}
    for number, events in enumerate(told[: THREADS - 2]):
        assert {one.user_id for one in events} == {f"user{number}"}
        kinds = Counter(str(one.type) for one in events)
        calls = {one.call_id for one in events}
        assert kinds == dict.fromkeys(("tool_executing", "tool_completed"), len(calls))
    counts = kit.factory.statistics()
    assert (counts["open_systems"], counts["users"]) == (0, 0)
    assert kit.metrics()["toolkit_catalog_refreshes_total"] == 2 * ROUNDS


@pytest.mark.usefixtures("_eager_switching")
def test_threads_that_share_a_system_share_its_instances(kit: Toolkit) -> None:
    """Eight loops use one user's system at once: one instance of each tool, and every
    call answered (S13, S57, B15, B56).
    """
    secrets = {"token": "secret of ann"}
    for _ in range(ROUNDS):
        system = kit.user(make_user("ann"), secrets=secrets)

        def work(_number: int, system: UserToolSystem = system) -> int:
            async def calls() -> int:
                names = [tool.name for tool in TOOLS]
                called = (system.execute(name) for name in names * 2)
                results = await asyncio.wait_for(asyncio.gather(*called), WAIT)
                return sum(result.unwrap()[0] == "ann" for result in results)

            return asyncio.run(calls())

        assert in_threads(work) == [2 * len(TOOLS)] * THREADS
        assert system.dispatcher.statistics()["calls"] == 2 * len(TOOLS) * THREADS
        system.close()
    for tool in TOOLS:
        assert Counter(Counter(tool.made).values()) == {1: ROUNDS}
    assert kit.factory.statistics()["users"] == 0


@pytest.mark.usefixtures("_eager_switching")
def test_threads_that_open_systems_of_one_user_share_one_limit(kit: Toolkit) -> None:
    """However they come and go, the share is one while any is open (B53, B56)."""
    seen: list[set[int]] = [set() for _ in range(THREADS)]
    keeper = kit.user(make_user("ann"))

    def work(number: int) -> None:
        for _ in range(10 * ROUNDS):
            with kit.user(make_user("ann")) as system:
                seen[number].add(id(system.dispatcher._gate))

    in_threads(work)
    assert set().union(*seen) == {id(keeper.dispatcher._gate)}
    assert kit.factory.registry_count("ann") == 1
    keeper.close()
    assert kit.factory.statistics()["users"] == 0
