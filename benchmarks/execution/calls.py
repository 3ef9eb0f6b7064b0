"""Calls in this process: async ones against floor D, sync ones against floor S.

Floor S is the least that a sync tool can cost when it must not block the event loop:
the plain function handed to one idle thread by a `queue.SimpleQueue`, and its answer
handed back by `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from statistics import median
from typing import Any

from benchmarks.discovery.parts import Check, Table
from benchmarks.execution.subjects import (
    DATA,
    TOTAL,
    Order,
    Place,
    Suspending,
    SyncOrder,
    floor,
    once,
)
from benchmarks.execution.timing import (
    Call,
    Case,
    awaited,
    by_turns,
    gathered,
    least_ratio,
    ratio,
)
from toolkit import Settings, ToolEvent, Toolkit, UserContext, UserToolSystem

TOGETHER = 100

D = "floor D: validate, call, write"
D_SUSPENDING = "D, the tool suspends"
D_TOGETHER = "D, the tool suspends, 100 at once"
NO_TOOL = "asyncio.sleep(0) alone, 100 at once"
ASYNC = "async call"
SUSPENDING = "async call, the tool suspends"
SUSPENDING_TOGETHER = "async call, the tool suspends, 100 at once"
WITH_SINK = "async call, one sink that keeps events"
WITH_READER = "async call, one sink that reads events"
S = "floor S: one idle thread"
SYNC = "sync call"
TO_THREAD = "asyncio.to_thread"

MOST = {ASYNC: 1.5, SUSPENDING: 3.0, WITH_SINK: 2.5}  # x D
MOST_SYNC, MOST_TO_THREAD = 1.5, 0.5


def toolkit_of(objects: Sequence[object], **settings: Any) -> Toolkit:  # noqa: ANN401 - any setting
    """Return a toolkit over these tools and no others."""
    quiet = Settings(allow=frozenset(), cache=False, **settings)
    return Toolkit(quiet, objects=objects)


@contextmanager
def user_of(
    objects: Sequence[object],
    *sinks: Callable[[ToolEvent], None],
    **settings: Any,  # noqa: ANN401 - any setting
) -> Iterator[UserToolSystem]:
    """Lend one user's system over these tools and no others.

    Yields:
        The system.
    """
    with (
        toolkit_of(objects, **settings) as kit,
        kit.user(UserContext(user_id="ann"), sinks=sinks) as system,
    ):
        yield system


async def checked(call: Call) -> None:
    """See that a call does what it should.

    Raises:
        SystemExit: It does not.
    """
    result: Any = await call()
    if not result.ok or f'"total":{TOTAL}' not in result.value_json():
        raise SystemExit(f"a call has failed: {result}")


def short(floor: str) -> str:
    """Return what a ratio to a row calls it: D, S, floor, or its title."""
    return floor.partition(":")[0].removeprefix("floor ")


def against(
    rows: Mapping[str, Sequence[float]], title: str, floor: str, limit: float
) -> Check:
    """Compare a row with its floor."""
    text = f"{title} (of the minima: {least_ratio(rows, title, floor):.2f})"
    return Check(text, ratio(rows, title, floor), limit, f"x {short(floor)}")


def shown(rows: Mapping[str, Sequence[float]], title: str, floor: str) -> Check:
    """Compare a row with another, for the reader alone."""
    value = ratio(rows, title, floor)
    return Check(title, value, 0.0, f"x {short(floor)}", is_judged=False)


# --- async ---------------------------------------------------------------------------


def asynchronous(runs: int) -> Iterator[Table]:
    """Measure async calls with all checks and the default deadline.

    Yields:
        The table.
    """
    rows = asyncio.run(_asynchronous(runs))
    added = [
        (one - without) / bare
        for one, without, bare in zip(
            rows[SUSPENDING_TOGETHER], rows[NO_TOOL], rows[D], strict=True
        )
    ]
    checks = [
        against(rows, ASYNC, D, MOST[ASYNC]),
        against(rows, SUSPENDING, D, MOST[SUSPENDING]),
        Check(
            f"{SUSPENDING_TOGETHER}, less {NO_TOOL}",
            median(added),
            MOST[SUSPENDING],
            "x D",
        ),
        against(rows, WITH_SINK, D, MOST[WITH_SINK]),
        shown(rows, SUSPENDING_TOGETHER, D),
        shown(rows, D_TOGETHER, D),
        shown(rows, SUSPENDING_TOGETHER, D_TOGETHER),
        shown(rows, SUSPENDING, D_SUSPENDING),
        shown(rows, WITH_READER, D),
    ]
    yield Table("async calls", "us", rows, checks)


async def _asynchronous(runs: int) -> dict[str, list[float]]:
    kept: deque[ToolEvent] = deque(maxlen=1)
    read: deque[object] = deque(maxlen=1)

    def reader(event: ToolEvent) -> None:
        read.append((event.type, event.call_id, event.arguments, event.timestamp))

    tools = [Order, Suspending]
    with (
        user_of(tools, max_concurrent_calls=TOGETHER) as bare,
        user_of(tools, kept.append) as told,
        user_of(tools, reader) as reading,
    ):
        call = partial(bare.execute, "order", DATA)
        suspending = partial(bare.execute, "suspending", DATA)
        with_sink = partial(told.execute, "order", DATA)
        with_reader = partial(reading.execute, "order", DATA)
        for one in (call, suspending, with_sink, with_reader):
            await checked(one)
        cases = [
            Case(D, floor(Order())),
            Case(ASYNC, awaited(call)),
            Case(WITH_SINK, awaited(with_sink)),
            Case(WITH_READER, awaited(with_reader)),
            Case(D_SUSPENDING, floor(Suspending())),
            Case(SUSPENDING, awaited(suspending)),
            _together(NO_TOOL, partial(asyncio.sleep, 0)),
            _together(D_TOGETHER, partial(once, Suspending())),
            _together(SUSPENDING_TOGETHER, suspending),
        ]
        return await by_turns(cases, runs)


def _together(title: str, call: Call) -> Case:
    return Case(title, gathered(call, TOGETHER), count=2, each=TOGETHER)


# --- sync ----------------------------------------------------------------------------


class IdleThread:
    """Floor S: one thread that waits for a function, and hands its answer back."""

    def __init__(self, function: Callable[..., object]) -> None:
        """Start the thread."""
        self._function = function
        self._waiting: SimpleQueue[_Given | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    async def call(self, *arguments: object) -> object:
        """Run the function there."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._waiting.put((loop, future, arguments))
        return await future

    def close(self) -> None:
        """End the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (given := self._waiting.get()) is not None:
            loop, future, arguments = given
            value = self._function(*arguments)
            loop.call_soon_threadsafe(future.set_result, value)


_Given = tuple[asyncio.AbstractEventLoop, asyncio.Future[object], tuple[object, ...]]


def synchronous(runs: int) -> Iterator[Table]:
    """Measure sync calls through the pool that users share.

    Yields:
        The table.
    """
    rows = asyncio.run(_synchronous(runs))
    checks = [
        against(rows, SYNC, S, MOST_SYNC),
        against(rows, SYNC, TO_THREAD, MOST_TO_THREAD),
        shown(rows, TO_THREAD, S),
    ]
    yield Table("sync calls", "us", rows, checks)


async def _synchronous(runs: int) -> dict[str, list[float]]:
    function = SyncOrder().execute
    arguments = (3, "tea", [1.5, 2.25, 4.0], Place(city="Ulm", code=89073))
    idle = IdleThread(function)
    try:
        with user_of([SyncOrder]) as system:
            call = partial(system.execute, "sync_order", DATA)
            await checked(call)
            cases = [
                Case(S, awaited(partial(idle.call, *arguments))),
                Case(SYNC, awaited(call)),
                Case(
                    TO_THREAD, awaited(partial(asyncio.to_thread, function, *arguments))
                ),
            ]
            return await by_turns([replace(one, count=100) for one in cases], runs)
    finally:
        idle.close()
