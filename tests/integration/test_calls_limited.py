"""Limits of calls, through whole systems: who runs, who waits, who is refused."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, takewhile
from typing import Any

import pytest

from tests.sample_tools import shout
from tests.steered import Clock, interrupted, virtual_time
from toolkit import Settings, ToolError, Toolkit, UserContext, tool
from toolkit.errors import CallLimitError, ToolCancelledError, ToolConstructionError
from toolkit.results import ToolResult
from toolkit.system import UserToolSystem
from toolkit.testing import RecordingSink, make_user

WAIT = 5  # seconds; a bound, never reached when all is well
Timed = tuple[Clock, asyncio.AbstractEventLoop]


@pytest.fixture
def timed() -> Iterator[Timed]:
    with virtual_time(asyncio.SelectorEventLoop) as made:
        yield made


class Doors:
    """Calls that wait inside until each is let out; who is inside, in order."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.waiters: dict[str, asyncio.Future[None]] = {}
        doors = self

        @tool
        async def door(user: UserContext, label: str) -> str:
            """Wait until let out."""
            doors.inside.append(f"{user.user_id}{label}")
            doors.waiters[doors.inside[-1]] = asyncio.Future()
            await doors.waiters[doors.inside[-1]]
            return label

        self.tool = door

    async def open(self, name: str) -> None:
        self.waiters[name].set_result(None)
        await turns()


@tool
async def note(text: str = "") -> str:
    """Say it at once, or fail."""
    if text == "fail":
        raise ToolError("as asked")
    return text


async def turns(number: int = 8) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def kit_of(*tools: object, **settings: Any) -> Toolkit:
    return Toolkit(Settings(allow=frozenset(), **settings), objects=tools)


async def begun(system: UserToolSystem, label: str) -> "asyncio.Task[ToolResult]":
    """Begin a call of the door, and let it come as far as it can."""
    task = asyncio.ensure_future(system.execute("door", {"label": label}))
    await turns()
    return task


async def all_ok(calls: "list[asyncio.Task[ToolResult]]") -> bool:
    results = await asyncio.wait_for(asyncio.gather(*calls), WAIT)
    return all(result.ok for result in results)


def limit_error(result: ToolResult) -> CallLimitError:
    assert type(result.error) is CallLimitError
    return result.error


async def test_user_has_so_many_calls_at_once_in_all_their_systems() -> None:
    """Further ones wait in the order they came; another user's do not wait (B53)."""
    doors = Doors()
    with kit_of(doors.tool, max_concurrent_calls=2, max_queued_calls=2) as kit:
        async with (
            kit.user(make_user("ann")) as first,
            kit.user(make_user("ann")) as second,
            kit.user(make_user("bob")) as bob,
        ):
            calls = [
                await begun(system, str(number))
                for number, system in enumerate([first, second, second, first, bob])
            ]
            assert doors.inside == ["ann0", "ann1", "bob4"]
            error = limit_error(await second.execute("door", {"label": "5"}))
            assert (error.used, error.limit, error.retry_after) == (2, 2, None)
            assert error.what == "calls of this user at once"
            assert str(error).endswith("Wait for one to finish.")
            await doors.open("ann1")
            assert doors.inside[3:] == ["ann2"]
            await doors.open("ann0")
            assert doors.inside[4:] == ["ann3"]
            for name in ("ann2", "ann3", "bob4"):
                await doors.open(name)
            results = await asyncio.wait_for(asyncio.gather(*calls), WAIT)
            assert [one.value for one in results] == list("01234")
        assert kit.factory.statistics()["users"] == 0


async def test_tool_is_called_so_often_at_once_in_turn_between_users() -> None:
    """One user's queue does not hold up another's only call (B53)."""
    doors = Doors()
    limits = {"door": {"concurrent": 1}}
    with kit_of(doors.tool, tool_limits=limits) as kit:
        async with kit.user(make_user("ann")) as ann, kit.user(make_user("bob")) as bob:
            calls = [await begun(ann, str(number)) for number in range(4)]
            calls.append(await begun(bob, "0"))
            order = ["ann0", "ann1", "bob0", "ann2", "ann3"]
            for place, name in enumerate(order):
                assert doors.inside == order[: place + 1]
                await doors.open(name)
            assert await all_ok(calls)


async def test_tool_is_called_so_often_at_once_by_one_user() -> None:
    """The limit is each user's own, over all their systems, also after a refresh."""
    doors = Doors()
    limits = {"door": {"concurrent_per_user": 1}}
    with kit_of(doors.tool, tool_limits=limits, max_queued_calls=1) as kit:
        async with kit.user(make_user("ann")) as ann, kit.user(make_user("bob")) as bob:
            calls = [await begun(one, "0") for one in (ann, bob)]
            assert doors.inside == ["ann0", "bob0"]
            kit.refresh()
            async with kit.user(make_user("ann")) as newer:
                calls.append(await begun(newer, "1"))
                assert len(doors.inside) == 2
                refused = limit_error(await newer.execute("door", {"label": "2"}))
                assert "door' by this user at once" in refused.what
                await doors.open("ann0")
                assert doors.inside[2:] == ["ann1"]
                for name in ("ann1", "bob0"):
                    await doors.open(name)
                assert await all_ok(calls)


@pytest.mark.parametrize(
    "settings",
    [
        {"calls_per_minute": 2},
        {"tool_limits": {"note": {"per_minute_per_user": 2}}},
    ],
    ids=["user", "tool by user"],
)
def test_users_call_over_the_rate_waits_for_its_minute(
    timed: Timed, settings: dict[str, Any]
) -> None:
    """It starts when the first is a minute old; failed calls have started too, and
    another user's minute is their own.
    """
    clock, loop = timed

    async def main() -> None:
        with kit_of(note, **settings, default_timeout=None) as kit:
            async with (
                kit.user(make_user("ann")) as ann,
                kit.user(make_user("bob")) as bob,
            ):
                assert not (await ann.execute("note", {"text": "fail"})).ok
                clock.now += 10
                assert (await ann.execute("note")).ok
                refused = await ann.execute("note", timeout=30)
                error = limit_error(refused)
                assert (error.used, error.limit) == (2, 2)
                assert error.retry_after == pytest.approx(50)
                assert error.what.endswith("in the last minute")
                assert (await bob.execute("note")).ok
                assert clock.now == 1010
                assert (await ann.execute("note")).ok
                assert clock.now == pytest.approx(1060, abs=0.01)
                assert (await ann.execute("note")).ok
                assert clock.now == pytest.approx(1070, abs=0.01)

    loop.run_until_complete(main())


def test_tools_rate_is_for_all_users_together(timed: Timed) -> None:
    """Who waits comes in in turn between users, one at each minute."""
    clock, loop = timed
    started: list[tuple[str, int]] = []

    async def main() -> None:
        limits = {"note": {"per_minute": 1}}
        with kit_of(note, tool_limits=limits, default_timeout=None) as kit:
            async with (
                kit.user(make_user("ann")) as ann,
                kit.user(make_user("bob")) as bob,
            ):

                async def call(system: UserToolSystem) -> None:
                    assert (await system.execute("note")).ok
                    minutes = round((clock.now - 1000) / 60)
                    started.append((system.user_context.user_id, minutes))

                await asyncio.gather(*map(call, (ann, ann, ann, bob)))

    loop.run_until_complete(main())
    assert started == [("ann", 0), ("ann", 1), ("bob", 2), ("ann", 3)]


def test_call_that_a_tools_limit_refuses_does_not_count_to_the_users_rate(
    timed: Timed,
) -> None:
    """It never started, so it uses nothing up."""
    clock, loop = timed

    async def main() -> None:
        limits = {"note": {"per_minute": 1}}
        settings = {"calls_per_minute": 3, "tool_limits": limits}
        with kit_of(note, shout, **settings) as kit:
            async with kit.user(make_user("ann")) as ann:
                assert (await ann.execute("note")).ok
                for _ in range(5):
                    refused = limit_error(await ann.execute("note"))
                    assert refused.what == "calls of 'tests.note' in the last minute"
                for _ in range(2):
                    assert (await ann.execute("shout", {"text": "a"})).ok
                own = limit_error(await ann.execute("shout", {"text": "a"}))
                assert own.what == "calls of this user in the last minute"
                assert clock.now == 1000

    loop.run_until_complete(main())


@pytest.mark.parametrize("how", ["caller", "id", "close"])
async def test_call_given_up_in_line_leaves_its_turn_to_others(how: str) -> None:
    """By its caller, by its id, or with its system: nothing of it is counted (B30)."""
    doors = Doors()
    with kit_of(doors.tool, tool_limits={"door": {"concurrent": 1}}) as kit:
        ann, bob = kit.user(make_user("ann")), kit.user(make_user("bob"))
        running = await begun(bob, "0")
        given_up = await begun(ann, "0")
        waiting = await begun(bob, "1")
        if how == "caller":
            given_up.cancel()
            await asyncio.wait([given_up], timeout=WAIT)
            assert given_up.cancelled()
        elif how == "id":
            (call,) = ann.dispatcher.running()
            assert call.state == "waiting"
            assert ann.dispatcher.cancel(call.call_id)
        else:
            ann.close()
        if how != "caller":
            result = await asyncio.wait_for(given_up, WAIT)
            assert type(result.error) is ToolCancelledError
        await doors.open("bob0")
        assert doors.inside == ["bob0", "bob1"]
        await doors.open("bob1")
        assert await all_ok([running, waiting])
        for system in (ann, bob):
            await system.aclose()
        kit.user(make_user("cyd")).close()  # whoever comes clears away who has gone
        assert kit.factory.statistics()["users"] == 0
        assert not kit.factory.shares._left


async def test_call_in_line_does_not_run_a_tool_that_is_removed_meanwhile() -> None:
    """Used before or not, it is the user's no more when its turn comes (B26)."""
    doors = Doors()
    events = RecordingSink()
    with kit_of(doors.tool, note, shout, max_concurrent_calls=1) as kit:
        async with kit.user(make_user("ann"), sinks=[events]) as ann:
            assert (await ann.execute("note")).ok
            running = await begun(ann, "0")
            waiting = [
                asyncio.ensure_future(ann.execute(name, {"text": "a"}))
                for name in ("note", "shout")
            ]
            await turns()
            for name in ("note", "shout"):
                assert ann.registry.remove(name)
            await doors.open("ann0")
            results = await asyncio.wait_for(asyncio.gather(*waiting), WAIT)
            kinds = {type(result.error) for result in results}
            assert kinds == {ToolConstructionError}
            for result in results:
                types = ["tool_executing", "tool_completed"]
                assert events.types(result.call_id) == types
            assert await all_ok([running])


class Crowd:
    """Counts who is inside, in any thread."""

    def __init__(self) -> None:
        self.inside: list[int] = []
        self.most = 0

    def come_in(self) -> None:
        self.inside.append(1)
        self.most = max(self.most, len(self.inside))


@pytest.mark.parametrize("name", ["by_turns", "in_threads"])
async def test_calls_of_two_loops_keep_to_one_limit_and_all_run(name: str) -> None:
    """Loops in two threads, sync and async tools: one limit for a user and a tool
    (B53).
    """
    crowd, each, start = Crowd(), 40, threading.Barrier(2)

    @tool
    async def by_turns() -> None:
        """Be inside for a turn of the loop."""
        crowd.come_in()
        await asyncio.sleep(0)
        crowd.inside.pop()

    @tool
    def in_threads() -> None:
        """Be inside in a worker thread."""
        crowd.come_in()
        crowd.inside.pop()

    limits = {name: {"concurrent": 1}}
    settings = {"tool_limits": limits, "max_queued_calls": 1000}
    with kit_of(by_turns, in_threads, **settings) as kit:

        async def visit(user_id: str) -> int:
            start.wait(WAIT)
            async with kit.user(make_user(user_id)) as system:
                calls = (system.execute(name) for _ in range(each))
                results = await asyncio.wait_for(asyncio.gather(*calls), 2 * WAIT)
            return sum(result.ok for result in results)

        with ThreadPoolExecutor(2) as pool:
            counted = pool.map(lambda one: asyncio.run(visit(one)), ("ann", "bob"))
            assert list(counted) == [each, each]
        assert crowd.most == 1
        assert kit.factory.statistics()["users"] == 0


async def test_user_gets_another_share_only_once_nothing_counts_to_theirs() -> None:
    """Before whichever line of closing they open another system, either it shares the
    old one's limits, or the old one takes no more calls (B53).
    """

    def try_one(kit: Toolkit, at: int) -> bool:
        old = kit.user(make_user("ann"))
        share, dispatcher = old._share, old.dispatcher
        newer: list[UserToolSystem] = []

        def open_another() -> None:
            newer.append(kit.user(make_user("ann")))
            assert newer[0]._share is share or dispatcher._is_closed

        codes = {UserToolSystem._retire.__code__}
        came = interrupted(old.close, open_another, within=codes, at=at)
        for system in newer:
            system.close()
        assert kit.factory.statistics()["users"] == 0
        return came

    with kit_of(note) as kit:
        lines = takewhile(partial(try_one, kit), count())
        assert sum(1 for _ in lines) > 5
