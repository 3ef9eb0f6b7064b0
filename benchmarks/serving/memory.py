"""What connections take of memory, while they are there and after they have gone.

All figures are of what the server's process has resident, read from the system; each
run has a server of its own. Before the first figure some connections come and go: what
a first connection makes for all is nobody's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from statistics import median

from benchmarks.discovery.parts import Check, Table
from benchmarks.serving.client import (
    EVENTS,
    SECONDS,
    LostError,
    Peer,
    closed,
    opened,
    users,
)
from benchmarks.serving.servers import FLOOR, OURS, Server, running

WARM_UP = 50  # connections
MANY = 1_000  # connections
AT_ONCE = 100  # of them, where they come and go
CYCLES = 4  # of so many connections; the growth in the second is judged
CALM = 0.5  # seconds after which a server has cleaned up

MOST_IDLE = 64.0  # KiB
MOST_GROWTH = 1.0  # KiB a connection
MOST_SOAK = 1.02  # x the memory after a tenth of the time

SOAK_PEERS = 20
SOAK_RUNS = 50  # of each connection, then another one is opened
SOAK_PAUSE = 0.04  # seconds between two runs of a connection, on average
SOAK_LOOKS = 60  # at the memory
SOAK_START = 6  # looks, after which it may grow no more

Part = Callable[[Server], Awaitable[dict[str, float]]]


def idle(runs: int) -> Iterator[Table]:
    """Measure idle connections, each of a user of its own with a hundred tools.

    Yields:
        The table.
    """
    rows = {**_measured(FLOOR, _idle, runs), **_measured(OURS, _idle, runs)}
    title = f"one that has asked nothing, {OURS}"
    used = f"one that has had an answer, {OURS}"
    checks = [
        Check(title, median(rows[title]), MOST_IDLE, "KiB"),
        Check(used, median(rows[used]), MOST_IDLE, "KiB"),
    ]
    yield Table(f"{MANY:,} idle connections, 100 tools each", "KiB each", rows, checks)


async def _idle(server: Server) -> dict[str, float]:
    await _cycle(server, WARM_UP)
    before = server.memory()
    async with _connected(server, MANY) as peers:
        await asyncio.sleep(CALM)
        unused = server.memory()
        for some in range(0, MANY, AT_ONCE):
            await _ask_all(peers[some : some + AT_ONCE])
        used = server.memory()
    return {
        f"one that has asked nothing, {server.name}": (unused - before) / MANY,
        f"one that has had an answer, {server.name}": (used - before) / MANY,
    }


def together(runs: int) -> Iterator[Table]:
    """Connect a thousand users at once, who all ask at once.

    Yields:
        The table.
    """
    rows = {**_measured(FLOOR, _together, runs), **_measured(OURS, _together, runs)}
    served = f"served, {OURS}"
    checks = [
        Check(served, min(rows[served]), MANY, "of 1,000 in the worst run", True),  # noqa: FBT003 - the least
    ]
    yield Table(f"{MANY:,} connections at once", "(s, or count)", rows, checks)


async def _together(server: Server) -> dict[str, float]:
    await _cycle(server, WARM_UP)
    started = time.perf_counter()
    async with _connected(server, MANY) as peers:
        connected = time.perf_counter() - started
        await _ask_all(peers)
        answered = time.perf_counter() - started
        served = sum(peer.ended == 1 and peer.events == EVENTS for peer in peers)
    return {
        f"served, {server.name}": served,
        f"seconds until all are connected, {server.name}": connected,
        f"seconds until all are answered, {server.name}": answered,
    }


def cycles(runs: int) -> Iterator[Table]:
    """Let a thousand connections come, ask and go, again and again.

    Yields:
        The table.
    """
    rows = {**_measured(FLOOR, _cycles, runs), **_measured(OURS, _cycles, runs)}
    second = f"cycle 2, {OURS}"
    checks = [Check(second, median(rows[second]), MOST_GROWTH, "KiB a connection")]
    title = f"growth by {MANY:,} connects, runs and closes"
    yield Table(title, "KiB each", rows, checks)


async def _cycles(server: Server) -> dict[str, float]:
    sizes = [server.memory()]
    for _ in range(CYCLES):
        await _cycle(server, MANY)
        sizes.append(server.memory())
    return {
        f"cycle {number}, {server.name}": (after - before) / MANY
        for number, (before, after) in enumerate(pairwise(sizes), 1)
    }


def soak(minutes: float) -> Iterator[Table]:
    """Serve a steady load, and look at the memory from time to time.

    Args:
        minutes: How long; a tenth of it is the start, after which it may not grow.

    Yields:
        The table.
    """
    with running(OURS) as server:
        curve = asyncio.run(_soaked(server, minutes * 60))
    start, end = curve[SOAK_START], curve[-1]
    rows = {
        f"after {number / SOAK_LOOKS * minutes:5.1f} minutes": [size / 1024]
        for number, size in enumerate(curve)
        if number % SOAK_START == 0
    }
    checks = [Check("the end beside a tenth", end / start, MOST_SOAK, "x")]
    yield Table(f"soak of {minutes:g} minutes", "MiB", rows, checks)


async def _soaked(server: Server, seconds: float) -> list[int]:
    """Return the KiB at the beginning, and after each of equal parts of the time."""
    until = time.monotonic() + seconds
    load = [
        asyncio.create_task(_steadily(server, user, until))
        for user in users(SOAK_PEERS)
    ]
    curve = [server.memory()]
    for left in range(SOAK_LOOKS - 1, -1, -1):
        await asyncio.sleep(until - seconds / SOAK_LOOKS * left - time.monotonic())
        curve.append(server.memory())
    counts = await asyncio.gather(*load)
    print(f"  runs answered in {seconds:g} s of soak: {sum(counts):,}")
    return curve


async def _steadily(server: Server, user: str, until: float) -> int:
    """Connect, ask some times and go, until the time is over; return how often."""
    pick, count = random.Random(user), 0  # noqa: S311 - moments, the same each time
    while time.monotonic() < until:
        [peer] = await opened(server.port, [user])
        for _ in range(SOAK_RUNS):
            await asyncio.sleep(pick.uniform(0.0, 2 * SOAK_PAUSE))
            await _ask_all([peer])
            count += 1
            if time.monotonic() >= until:
                break
        await closed([peer])
    return count


# --- parts of these ------------------------------------------------------------------


def _measured(name: str, part: Part, runs: int) -> dict[str, list[float]]:
    """Run a part so often, each time with a server of its own; return all figures."""
    rows: dict[str, list[float]] = {}
    for _ in range(runs):
        with running(name) as server:
            for title, value in asyncio.run(_awaited(part, server)).items():
                rows.setdefault(title, []).append(value)
    return rows


async def _awaited(part: Part, server: Server) -> dict[str, float]:
    return await part(server)


@asynccontextmanager
async def _connected(server: Server, count: int) -> AsyncIterator[list[Peer]]:
    """Lend so many connections.

    Yields:
        The connections.
    """
    peers = await opened(server.port, users(count))
    yield peers
    await closed(peers)


async def _ask_all(peers: Sequence[Peer]) -> None:
    """Let all ask at once, and wait for every answer."""
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(peer.run() for peer in peers))
    failed = [peer.error for peer in peers if peer.error is not None]
    if failed:
        raise LostError(failed)


async def _cycle(server: Server, count: int) -> None:
    """Let so many users connect, ask and go, some at a time; wait for the clean-up."""
    line = asyncio.Semaphore(AT_ONCE)

    async def come_and_go(user: str) -> None:
        async with line:
            peers = await opened(server.port, [user])
            await _ask_all(peers)
            await closed(peers)

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*map(come_and_go, users(count)))
    await asyncio.sleep(CALM)
