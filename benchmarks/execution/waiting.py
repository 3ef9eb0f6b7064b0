"""Who waits for whom: a blocking user's neighbour, and a call past its deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.discovery.parts import Check, Table
from benchmarks.execution.calls import toolkit_of
from benchmarks.execution.subjects import Block, Instant, Late
from benchmarks.execution.timing import waits_under_load
from toolkit import ToolResult, UserContext

BLOCKING = 200
MOST_WAIT = 20.0  # ms
MOST_LATE = 210.0  # ms

MIDDLE = "neighbour's call, median of a run"
WORST = "neighbour's call, slowest of a run"
ALONE = "the same call, nobody blocks"
BARE_MIDDLE = "asyncio.to_thread, median of the run"
BARE_WORST = "asyncio.to_thread, slowest of the run"
ANSWERED = "sync tool that sleeps 1.5 s, deadline 0.2 s"


def neighbour(runs: int) -> Iterator[Table]:
    """Measure an instant sync call while another user has 200 that block 0.1 s each.

    Yields:
        The table.
    """
    rows = asyncio.run(_neighbour(runs))
    checks = [
        Check(MIDDLE, median(rows[MIDDLE]), MOST_WAIT, "ms"),
        Check(
            f"{WORST} (of all runs: {max(rows[WORST]):.1f})",
            median(rows[WORST]),
            MOST_WAIT,
            "ms",
        ),
    ]
    yield Table("a neighbour under 200 blocking calls of 0.1 s", "ms", rows, checks)


async def _neighbour(runs: int) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = {MIDDLE: [], WORST: [], ALONE: []}
    with (
        toolkit_of([Block, Instant], max_concurrent_calls=BLOCKING) as kit,
        kit.user(UserContext(user_id="ann")) as blocks,
        kit.user(UserContext(user_id="bob")) as system,
    ):

        async def block() -> object:
            return _good(await blocks.execute("block"))

        async def instant() -> object:
            return _good(await system.execute("instant"))

        for _ in range(runs):
            waits = await waits_under_load(block, instant, BLOCKING)
            rows[MIDDLE].append(median(waits))
            rows[WORST].append(max(waits))
            started = time.perf_counter()
            await instant()
            rows[ALONE].append((time.perf_counter() - started) * 1e3)
    # once: it takes seconds, and says always the same
    waits = await waits_under_load(
        lambda: asyncio.to_thread(time.sleep, 0.1),
        lambda: asyncio.to_thread(Instant().execute),
        BLOCKING,
    )
    return rows | {BARE_MIDDLE: [median(waits)], BARE_WORST: [max(waits)]}


def _good(result: ToolResult) -> ToolResult:
    if not result.ok:
        raise SystemExit(f"a call has failed: {result.error}")
    return result


def deadline(runs: int) -> Iterator[Table]:
    """Measure when a sync call is answered that does not keep its deadline.

    Yields:
        The table.
    """
    rows = {ANSWERED: asyncio.run(_deadline(runs))}
    title = f"{ANSWERED} (slowest: {max(rows[ANSWERED]):.1f})"
    checks = [Check(title, median(rows[ANSWERED]), MOST_LATE, "ms")]
    yield Table("a deadline", "ms", rows, checks)


async def _deadline(runs: int) -> list[float]:
    taken = []
    with (
        toolkit_of([Late]) as kit,
        kit.user(UserContext(user_id="ann")) as system,
    ):
        for _ in range(runs + 1):  # the first starts a thread
            started = time.perf_counter()
            result = await system.execute("late")
            taken.append((time.perf_counter() - started) * 1e3)
            if result.ok:
                raise SystemExit("a call past its deadline was answered as if in time")
        del taken[0]
    return taken
