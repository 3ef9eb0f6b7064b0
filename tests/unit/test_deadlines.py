"""Deadlines: each tells once, in order, and dropping one is always in time."""

import asyncio
import math
import time
from collections.abc import Callable

import pytest

from tests.sample_tools import until
from toolkit.executors.deadlines import SOON, Deadlines

WAIT = 5  # seconds; a bound, never reached when all is well


class One:
    """Something with a deadline."""

    def __init__(
        self,
        log: list["One"],
        deadline: float | None,
        then: Callable[[], object] = list,
    ) -> None:
        self.deadline = deadline
        self.timer: asyncio.TimerHandle | None = None
        self._log = log
        self._then = then

    def expire(self) -> None:
        self._log.append(self)
        self._then()


@pytest.fixture
async def deadlines() -> Deadlines:
    return Deadlines(asyncio.get_running_loop())


def ahead(seconds: float) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize("seconds", [-1e9, -1.0, 0.0, SOON, 2 * SOON, 5 * SOON])
async def test_deadline_tells_once_and_not_before_its_time(
    deadlines: Deadlines, seconds: float
) -> None:
    """Also when it has passed before anybody watched it (B30, B31)."""
    log: list[One] = []
    one = One(log, ahead(seconds))
    deadlines.watch(one)
    assert log == []  # never within `watch`: its caller is not ready for that
    await until(lambda: log == [one])
    assert time.monotonic() >= (one.deadline or 0.0) - 0.001  # the clock's own grain
    await until_all_is_over()
    assert log == [one]


async def until_all_is_over() -> None:
    """Let as much time pass as a deadline that is new would take."""
    log: list[One] = []
    last = One(log, ahead(4 * SOON))
    Deadlines(asyncio.get_running_loop()).watch(last)
    await until(lambda: log == [last])


async def test_nothing_is_told_without_a_deadline(deadlines: Deadlines) -> None:
    """None means never, and so does a number that never comes (B30)."""
    log: list[One] = []
    ones = [One(log, None), One(log, math.inf)]
    for one in ones:
        deadlines.watch(one)
    await until_all_is_over()
    assert log == []
    assert [one.timer for one in ones] == [None, None]
    for one in ones:
        deadlines.drop(one)


async def test_deadlines_tell_in_their_order_not_in_that_of_watching(
    deadlines: Deadlines,
) -> None:
    """Whether they came before or after the one look at what is new (B31)."""
    log: list[One] = []
    start = ahead(0)
    given = [6.0, 1.0, 9.0, 3.0, 0.5, 4.0, 2.0, 8.0]
    ones = [One(log, start + SOON * one) for one in given]
    for one in ones:
        deadlines.watch(one)
    await until(lambda: len(log) == len(ones))
    assert [one.deadline for one in log] == sorted(one.deadline or 0.0 for one in ones)


async def test_loop_that_was_blocked_makes_up_for_it_in_order(
    deadlines: Deadlines,
) -> None:
    """All have passed when it looks again; the first to pass is told first (B31)."""
    log: list[One] = []
    start = ahead(0)
    ones = [One(log, start + SOON * one) for one in (6.0, 4.0, 3.0, 5.0)]
    for one in ones:
        deadlines.watch(one)
    while time.monotonic() < start + 7 * SOON:  # a tool blocks the loop
        pass
    await until(lambda: len(log) == len(ones))
    assert [one.deadline for one in log] == sorted(one.deadline or 0.0 for one in ones)


async def test_many_with_the_same_deadline_are_all_told_once(
    deadlines: Deadlines,
) -> None:
    """None hides another, and each is its own (B31)."""
    for seconds in (0.0, 3 * SOON):
        log: list[One] = []
        when = ahead(seconds)
        ones = [One(log, when) for _ in range(500)]
        for one in ones:
            deadlines.watch(one)
        await until(lambda log=log: len(log) == 500)  # type: ignore[misc]  # a default binds it
        assert set(log) == set(ones)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, SOON, 3 * SOON])
async def test_what_is_dropped_is_never_told(
    deadlines: Deadlines, seconds: float
) -> None:
    """At once or while its timer runs; dropping again does nothing (B31)."""
    log: list[One] = []
    at_once, later = One(log, ahead(seconds)), One(log, ahead(10 * SOON))
    for one in (at_once, later):
        deadlines.watch(one)
    deadlines.drop(at_once)
    deadlines.drop(at_once)
    await until(lambda: later.timer is not None)
    deadlines.drop(later)
    assert later.timer is None
    deadlines.drop(later)
    await until_all_is_over()
    assert log == []


async def test_one_can_be_dropped_by_another_that_fires_with_it(
    deadlines: Deadlines,
) -> None:
    """Both timers have run off, and the second is still in time to go (B31)."""
    log: list[One] = []
    when = ahead(0)
    ones: list[One] = []

    def drop_all() -> None:
        for one in ones:
            deadlines.drop(one)

    for _ in range(3):
        ones.append(One(log, when, drop_all))
        deadlines.watch(ones[-1])
    while time.monotonic() < when + SOON:  # so that the loop finds all timers run off
        pass
    await until(lambda: bool(log))
    await until_all_is_over()
    assert len(log) == 1


async def test_one_that_fails_keeps_no_other_from_being_told(
    deadlines: Deadlines,
) -> None:
    """The loop is told of it, and goes on (B36)."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(context["exception"])
    )
    log: list[One] = []
    error = ValueError("why")

    def fail() -> None:
        raise error

    deadlines.watch(One(log, ahead(0), fail))
    deadlines.watch(One(log, ahead(0)))
    await until(lambda: len(log) == 2)
    assert told == [error]


async def test_what_is_watched_anew_has_one_timer(deadlines: Deadlines) -> None:
    """A call waits for several things under one deadline, or a new one (B31)."""
    log: list[One] = []
    one = One(log, ahead(0))
    deadlines.watch(one)
    one.deadline = ahead(3 * SOON)
    deadlines.watch(one)
    await until(lambda: one.timer is not None)
    deadlines.watch(one)
    await until(lambda: log == [one])
    await until_all_is_over()
    assert log == [one]


async def test_watching_while_one_is_told_is_possible(deadlines: Deadlines) -> None:
    """What comes of a deadline may have one itself."""
    log: list[One] = []
    second = One(log, ahead(0))
    deadlines.watch(One(log, ahead(0), lambda: deadlines.watch(second)))
    await until(lambda: second in log)
    assert len(log) == 2


def test_loop_that_closes_with_some_watched_tells_nothing() -> None:
    """Dropping them afterwards does no harm (B41)."""
    log: list[One] = []
    ones = [One(log, ahead(1000)), One(log, ahead(1000))]

    async def main() -> Deadlines:
        deadlines = Deadlines(asyncio.get_running_loop())
        deadlines.watch(ones[0])
        await until(lambda: ones[0].timer is not None)
        deadlines.watch(ones[1])
        return deadlines

    deadlines = asyncio.run(main())
    for one in ones:
        deadlines.drop(one)
    assert log == []
    assert [one.timer for one in ones] == [None, None]


async def test_calls_that_end_soon_cost_no_timer(deadlines: Deadlines) -> None:
    """What is dropped before the look has only been in a dictionary (B31)."""
    log: list[One] = []
    for _ in range(100):
        one = One(log, ahead(30))
        deadlines.watch(one)
        assert one.timer is None
        deadlines.drop(one)
    await until_all_is_over()
    assert log == []
