"""Timing by turns: floor and subject alternate, so that noise hits both alike.

What is compared is measured in one process. A run is made of short blocks; in each
block every case has its turn, and another one is the first. A ratio is that of one run,
and the median of all runs' ratios is judged: a slow minute of the machine makes both
numbers larger, and not their ratio.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

BLOCKS = 10  # turns that each case has in a run
PAUSE = 0.02  # seconds at most between two calls of a neighbour

Loop = Callable[[int], Awaitable[int]]
"""Does something so many times; returns the nanoseconds it took."""

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Case:
    """One thing that is measured. Immutable.

    Attributes:
        title: What the table calls it.
        loop: Does it.
        count: How often in one block.
        each: How many of what is counted are done each time.
    """

    title: str
    loop: Loop
    count: int = 200
    each: int = 1


def awaited(call: Call) -> Loop:
    """Return a loop that awaits a call, one after the other."""

    async def loop(times: int) -> int:
        started = perf_counter_ns()
        for _ in range(times):
            await call()
        return perf_counter_ns() - started

    return loop


def gathered(call: Call, together: int) -> Loop:
    """Return a loop that awaits so many calls at once, again and again."""

    async def loop(times: int) -> int:
        started = perf_counter_ns()
        for _ in range(times):
            await asyncio.gather(*[call() for _ in range(together)])
        return perf_counter_ns() - started

    return loop


def plain(call: Callable[[], object]) -> Loop:
    """Return a loop over a plain function."""

    async def loop(times: int) -> int:
        started = perf_counter_ns()
        for _ in range(times):
            call()
        return perf_counter_ns() - started

    return loop


@contextmanager
def steady() -> Iterator[None]:
    """Keep what is there already out of the collector's way; it stays on for the rest.

    Yields:
        Nothing.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def by_turns(
    cases: Sequence[Case], runs: int, blocks: int = BLOCKS
) -> dict[str, list[float]]:
    """Measure all cases by turns, after a warm-up of each.

    Returns:
        The microseconds that each took in each run, by title.
    """
    rows: dict[str, list[float]] = {case.title: [] for case in cases}
    for case in cases:
        await case.loop(case.count)
    with steady():
        for _ in range(runs):
            for title, spent in (await _one_run(cases, blocks)).items():
                rows[title].append(spent)
    return rows


async def _one_run(cases: Sequence[Case], blocks: int) -> dict[str, float]:
    spent = dict.fromkeys((case.title for case in cases), 0)
    for block in range(blocks):
        first = block % len(cases)
        for case in (*cases[first:], *cases[:first]):
            spent[case.title] += await case.loop(case.count)
    return {
        case.title: spent[case.title] / (blocks * case.count * case.each) / 1e3
        for case in cases
    }


def ratio(rows: Mapping[str, Sequence[float]], title: str, floor: str) -> float:
    """Return the median of the ratios of all runs."""
    pairs = zip(rows[title], rows[floor], strict=True)
    return median(one / other for one, other in pairs)


def least_ratio(rows: Mapping[str, Sequence[float]], title: str, floor: str) -> float:
    """Return the ratio of the two minima."""
    return min(rows[title]) / min(rows[floor])


async def waits_under_load(block: Call, instant: Call, calls: int) -> list[float]:
    """Start so many blocking calls, and time another user's at random moments.

    One that waits does not put off the next, or a long wait would hide itself.

    Returns:
        The milliseconds that each of the other user's calls took.
    """
    pick = random.Random(calls)  # noqa: S311 - moments, the same each time

    async def timed() -> float:
        started = perf_counter_ns()
        await instant()
        return (perf_counter_ns() - started) / 1e6

    await instant()
    load = [asyncio.ensure_future(block()) for _ in range(calls)]
    others = []
    while not all(one.done() for one in load):
        await asyncio.sleep(pick.uniform(0, PAUSE))
        others.append(asyncio.ensure_future(timed()))
    await asyncio.gather(*load)
    return await asyncio.gather(*others)
