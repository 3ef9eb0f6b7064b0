"""What one client that reads nothing costs the server, and its neighbours."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from statistics import quantiles

from benchmarks.discovery.parts import Check, Table
from benchmarks.execution.timing import ratio
from benchmarks.serving.client import (
    SECONDS,
    Peer,
    closed,
    handshake,
    opened,
    request,
    users,
)
from benchmarks.serving.servers import OURS, Server, running
from benchmarks.serving.subjects import Flood

NEIGHBOURS = 10
ASKS = 100  # of each
PAUSE = 0.005  # seconds between two
SLOW = 4  # clients that read nothing, to tell what one costs
RECEIVE_BUFFER = 4_096  # bytes; what the system keeps for them is not the server's
FULL = 1.0  # seconds in which a server has sent, and kept, what it can
P99 = 98  # of the 99 cuts
MOST_MEMORY = 1.0  # MiB
MOST_P99 = 2.0  # x what it is without

ALONE, BESIDE = "p99 without, ms", "p99 beside one that reads nothing, ms"
COST = "one that reads nothing, MiB"


def slow_consumer(runs: int) -> Iterator[Table]:
    """Measure neighbours with and without a client that asks for much and reads none.

    Yields:
        The table.
    """
    rows: dict[str, list[float]] = {ALONE: [], BESIDE: [], COST: []}
    for _ in range(runs):
        with running(OURS) as server:
            asyncio.run(_beside(server, rows))
        with running(OURS) as server:
            rows[COST].append(asyncio.run(_cost(server)))
    checks = [
        Check("memory of one, at its most", max(rows[COST]), MOST_MEMORY, "MiB"),
        Check("neighbours' p99", ratio(rows, BESIDE, ALONE), MOST_P99, "x without"),
    ]
    yield Table("a slow consumer", "", rows, checks)


async def _beside(server: Server, rows: dict[str, list[float]]) -> None:
    peers = await opened(server.port, users(NEIGHBOURS))
    await _asked(peers)
    rows[ALONE].append(await _asked(peers))
    asking = asyncio.create_task(_asked(peers))
    await asyncio.sleep(10 * PAUSE)
    with _deaf(server, "deaf"):  # its first flood is measured too
        rows[BESIDE].append(await asking)
    await closed(peers)


async def _cost(server: Server) -> float:
    peers = await opened(server.port, users(NEIGHBOURS))
    await _asked(peers)
    before = server.memory()
    clients = [_deaf(server, f"deaf-{number}") for number in range(SLOW)]
    most, until = before, time.monotonic() + FULL
    while time.monotonic() < until:
        await asyncio.sleep(FULL / 50)
        most = max(most, server.memory())
    for client in clients:
        client.close()
    await closed(peers)
    return (most - before) / 1024 / SLOW


async def _asked(peers: Sequence[Peer]) -> float:
    """Let all ask, at their own pace; return the milliseconds, p99."""
    times: list[float] = []

    async def ask(peer: Peer) -> None:
        for _ in range(ASKS):
            started = time.perf_counter()
            await peer.run()
            times.append(time.perf_counter() - started)
            await asyncio.sleep(PAUSE)

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*map(ask, peers))
    return quantiles(times, n=100)[P99] * 1e3


def _deaf(server: Server, user: str) -> socket.socket:
    """Connect, ask for a flood, and read nothing of it."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    one.settimeout(SECONDS)
    one.connect(("127.0.0.1", server.port))
    one.sendall(handshake(user))
    one.recv(RECEIVE_BUFFER)
    one.sendall(request(Flood.name))
    return one
