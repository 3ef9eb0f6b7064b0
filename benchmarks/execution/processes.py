"""Calls in another process, warm, with a small payload.

The bare call is what no executor can do without: one frame to a child over a socket
pair, and one back. A frame is as the toolkit's: two lengths, a head in JSON, a body.
The child does nothing but send back what came; the parent waits for it on the event
loop, as it must. A blocking parent is shown beside, for what the loop itself takes.

What others take for a warm call is measured where they are installed, see
`contenders.py`; the bare call is measured there too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

from benchmarks.discovery.parts import Table
from benchmarks.execution.calls import against, checked, shown, toolkit_of
from benchmarks.execution.subjects import DATA, Order
from benchmarks.execution.timing import Call, Case, awaited, by_turns
from toolkit import UserContext

LENGTHS = struct.Struct("!II")
HEAD = b'{"is":"call","id":"b75fe2b1d04e0a11-1-1","name":"order"}'
FRAME = LENGTHS.pack(len(HEAD), len(DATA)) + HEAD + DATA
ENOUGH = 65_536
MOST = 2.0  # x the bare call

BARE = "bare call: a frame there and back"
BLOCKING = "the same, a blocking parent"
OURS = "process call, warm worker"

ECHO = """\
import socket, struct, sys
with socket.socket(fileno=int(sys.argv[1])) as end:
    while frame := end.recv(65536):
        while len(frame) < 8 + sum(struct.unpack("!II", frame[:8])):
            frame += end.recv(65536)
        end.sendall(frame)
"""


@contextmanager
def echo_child() -> Iterator[socket.socket]:
    """Lend this process's end of a socket pair; a child sends back what comes.

    Yields:
        The socket, which blocks.
    """
    here, there = socket.socketpair()
    with here:
        with there:
            child = subprocess.Popen(  # noqa: S603 - fixed
                [sys.executable, "-I", "-c", ECHO, str(there.fileno())],
                pass_fds=[there.fileno()],
            )
        try:
            yield here
        finally:
            here.close()
            child.wait()


async def bare_call(end: socket.socket) -> bytes:
    """Send a frame and read one, on the event loop."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(end, FRAME)
    frame = await loop.sock_recv(end, ENOUGH)
    while _is_part(frame):
        frame += await loop.sock_recv(end, ENOUGH)
    return frame[LENGTHS.size + len(HEAD) :]


async def blocking_call(end: socket.socket) -> bytes:
    """Send a frame and read one, and let the event loop wait."""
    end.sendall(FRAME)
    frame = end.recv(ENOUGH)
    while _is_part(frame):
        frame += end.recv(ENOUGH)
    return frame[LENGTHS.size + len(HEAD) :]


def _is_part(frame: bytes) -> bool:
    if len(frame) < LENGTHS.size:
        return True
    head, body = map(int, LENGTHS.unpack_from(frame))
    return len(frame) < LENGTHS.size + head + body


@asynccontextmanager
async def bare_calls() -> AsyncIterator[list[Case]]:
    """Lend the two bare calls, each with a child of its own.

    Yields:
        A case for each.
    """
    with echo_child() as end, echo_child() as blocking:
        end.setblocking(False)  # noqa: FBT003 - the standard library's own
        yield [
            Case(BARE, awaited(lambda: bare_call(end)), count=50),
            Case(BLOCKING, awaited(lambda: blocking_call(blocking)), count=50),
        ]


def echo(data: bytes) -> bytes:
    """Give back what came; run in the workers of other libraries."""
    return data


@asynccontextmanager
async def toolkit_calls() -> AsyncIterator[Call]:
    """Lend the toolkit's call of a tool in a worker process, once it is warm.

    Yields:
        The call.
    """
    with toolkit_of([Order], executors={"order": "process"}) as kit:
        async with kit.user(UserContext(user_id="ann")) as system:
            call = partial(system.execute, "order", DATA)
            await checked(call)
            yield call


def elsewhere(runs: int) -> Iterator[Table]:
    """Measure a call in a process of its own, beside the bare call.

    Yields:
        The table.
    """
    yield asyncio.run(_elsewhere(runs))


async def _elsewhere(runs: int) -> Table:
    async with AsyncExitStack() as stack:
        cases = await stack.enter_async_context(bare_calls())
        call = await stack.enter_async_context(toolkit_calls())
        cases.append(Case(OURS, awaited(call), count=50))
        rows = await by_turns(cases, runs)
    checks = [against(rows, OURS, BARE, MOST), shown(rows, BLOCKING, BARE)]
    return Table("process calls", "us", rows, checks)
