"""How many events a second, and how soon the first one comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from statistics import median, quantiles

from benchmarks.discovery.parts import Check, Table
from benchmarks.execution.timing import ratio
from benchmarks.serving.client import (
    EVENTS,
    SECONDS,
    LostError,
    Peer,
    closed,
    first_event,
    opened,
    users,
)
from benchmarks.serving.servers import FLOOR, OURS, Server, running

PEERS = 50  # connections that ask again as soon as they have an answer
RUNS = 1_000  # of all of them, in one block
BLOCKS = 4  # in a run, of each server, by turns
CONNECTS = 250  # in a run, to each server, by turns
LEAST_EVENTS = 0.4  # of the floor
MOST_P50, MOST_P99 = 2.0, 3.0  # x the floor
P99 = 98  # of the 99 cuts

Figures = dict[str, list[float]]


def _titles(text: str) -> tuple[str, str]:
    return f"{text}, {FLOOR}", f"{text}, {OURS}"


WALL = _titles("events a second")
CPU = _titles("events a second of the server's processor")
MEDIAN, SLOW = _titles("first event, p50"), _titles("first event, p99")
CONNECT_CPU = _titles("a connection, on the server's processor")


def events(runs: int) -> Iterator[Table]:
    """Measure how many events a server sends that has all it can do.

    Yields:
        The table.
    """
    rows: Figures = {title: [] for title in (*CPU, *WALL)}
    with running(FLOOR) as floor, running(OURS) as ours:
        asyncio.run(_events((floor, ours), runs, rows))
    share = ratio(rows, CPU[1], CPU[0])
    checks = [
        Check(
            "of the floor, by processor time", share, LEAST_EVENTS, "x", is_least=True
        ),
        Check(
            "of the floor, by the clock",
            ratio(rows, WALL[1], WALL[0]),
            0.0,
            "x",
            is_judged=False,
        ),
    ]
    yield Table(
        "events with a real tool, all five of each run", "a second", rows, checks
    )


async def _events(servers: Sequence[Server], runs: int, rows: Figures) -> None:
    loads = [(one, await opened(one.port, users(PEERS))) for one in servers]
    for _, peers in loads:
        await _block(peers, RUNS)
    for _ in range(runs):
        wall, cpu = [0.0, 0.0], [0.0, 0.0]
        for _ in range(BLOCKS):
            for number, (server, peers) in enumerate(loads):
                used = server.cpu_seconds()
                wall[number] += await _block(peers, RUNS)
                cpu[number] += server.cpu_seconds() - used
        total = BLOCKS * RUNS * EVENTS
        for number in range(len(loads)):
            rows[WALL[number]].append(total / wall[number])
            rows[CPU[number]].append(total / cpu[number])
    for _, peers in loads:
        await closed(peers)


async def _block(peers: Sequence[Peer], runs: int) -> float:
    """Let all ask until there were so many runs; return the seconds."""
    done = asyncio.get_running_loop().create_future()
    left, open_runs = runs - len(peers), len(peers)

    def again(peer: Peer) -> None:
        nonlocal left, open_runs
        if left > 0:
            left -= 1
            peer.begin(again)
            return
        open_runs -= 1
        if not open_runs:
            done.set_result(None)

    before = sum(peer.events for peer in peers)
    started = time.perf_counter()
    for peer in peers:
        peer.begin(again)
    async with asyncio.timeout(SECONDS):
        await done
    seconds = time.perf_counter() - started
    came = sum(peer.events for peer in peers) - before
    if came != runs * EVENTS:
        text = f"{came} events of {runs} runs: {[one.error for one in peers]}"
        raise LostError(text)
    return seconds


def connecting(runs: int) -> Iterator[Table]:
    """Measure how soon the first event of a new connection comes.

    Yields:
        The table.
    """
    titles = (*MEDIAN, *SLOW, *CONNECT_CPU)
    rows: Figures = {title: [] for title in titles}
    with running(FLOOR) as floor, running(OURS) as ours:
        servers = (floor, ours)
        _connect(servers)
        for _ in range(runs):
            for number, (times, cpu) in enumerate(_connect(servers)):
                rows[MEDIAN[number]].append(median(times) * 1e3)
                rows[SLOW[number]].append(quantiles(times, n=100)[P99] * 1e3)
                rows[CONNECT_CPU[number]].append(cpu * 1e3)
    checks = [
        Check("p50, times the floor", ratio(rows, *MEDIAN[::-1]), MOST_P50, "x"),
        Check("p99, times the floor", ratio(rows, *SLOW[::-1]), MOST_P99, "x"),
        Check(
            "processor time of a connection, times the floor",
            ratio(rows, *CONNECT_CPU[::-1]),
            0.0,
            "x",
            is_judged=False,
        ),
    ]
    yield Table("connect, authenticate, ask: the first event", "ms", rows, checks)


def _connect(servers: Sequence[Server]) -> list[tuple[list[float], float]]:
    """Connect to each by turns; return the seconds, and processor seconds of each."""
    times: list[list[float]] = [[] for _ in servers]
    before = [one.cpu_seconds() for one in servers]
    for name in users(CONNECTS):
        for seconds, server in zip(times, servers, strict=True):
            seconds.append(first_event(server.port, name))
    spent = [one.cpu_seconds() - was for one, was in zip(servers, before, strict=True)]
    return [(one, cpu / CONNECTS) for one, cpu in zip(times, spent, strict=True)]
