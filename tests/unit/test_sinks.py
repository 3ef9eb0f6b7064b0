"""Sinks that never block whoever tells them, and what they do when they are full."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from toolkit import Toolkit, UserContext, tool
from toolkit.events import EventType, ToolEvent
from toolkit.settings import Settings
from toolkit.sinks import BackgroundSink, QueueSink

WAIT = 5.0

EXECUTING = EventType.TOOL_EXECUTING
COMPLETED = EventType.TOOL_COMPLETED
PART = EventType.TOOL_PART
PROGRESS = EventType.TOOL_PROGRESS


def event(call_id: str = "c", kind: EventType = COMPLETED) -> ToolEvent:
    """Make an event of one call."""
    return ToolEvent(
        type=kind,
        call_id=call_id,
        tool="t",
        user_id="u",
        session_id="s",
        thread_id="h",
        run_id="r",
    )


async def read(sink: QueueSink) -> list[str]:
    """Read a sink to its end; return the calls told of."""
    async with asyncio.timeout(WAIT):
        return [one.call_id async for one in sink]


async def waiting_on(sink: QueueSink) -> asyncio.Task[ToolEvent | None]:
    """Start to read an empty sink; return the task once it waits."""
    reader = asyncio.create_task(sink.get())
    await asyncio.sleep(0)
    assert sink._waiter is not None
    return reader


# --- QueueSink ---------------------------------------------------------------------


async def test_events_come_in_order_and_end_when_it_is_closed() -> None:
    """What is queued when the sink is closed is still read, and then it ends."""
    sink = QueueSink()
    for call_id in "abc":
        sink(event(call_id, PART if call_id == "b" else COMPLETED))
    assert sink.statistics() == {"queued": 3, "dropped": 0}
    sink.close()
    sink(event("late"))
    assert await read(sink) == ["a", "b", "c"]
    assert await sink.get() is None
    assert (sink.dropped, sink.is_closed) == (1, True)


async def test_a_waiting_consumer_is_woken_from_any_thread() -> None:
    """An event told in another thread wakes the loop that waits for it."""
    sink = QueueSink()
    reader = await waiting_on(sink)
    teller = threading.Thread(target=sink, args=(event("other thread"),))
    teller.start()
    teller.join(WAIT)
    async with asyncio.timeout(WAIT):
        got = await reader
    assert got is not None
    assert got.call_id == "other thread"


async def test_closing_wakes_a_consumer_that_waits_for_nothing() -> None:
    """A connection that ends does not leave its reader behind."""
    sink = QueueSink()
    reader = await waiting_on(sink)
    sink.close()
    async with asyncio.timeout(WAIT):
        assert await reader is None


async def test_a_full_queue_drops_parts_and_progress_first() -> None:
    """The oldest part or progress goes before any other event, then the oldest."""
    sink = QueueSink(max_events=3)
    told = [
        event("first", EXECUTING),
        event("part", PART),
        event("progress", PROGRESS),
        event("second", EXECUTING),
        event("third", COMPLETED),
        event("no room", PART),
        event("fourth", COMPLETED),
    ]
    for one in told:
        sink(one)
    sink.close()
    assert sink.dropped == 4
    assert await read(sink) == ["second", "third", "fourth"]


async def test_a_queue_is_bounded_however_many_threads_tell() -> None:
    """No more than the bound is kept, and what is not kept is counted."""
    sink, start = QueueSink(max_events=10), threading.Barrier(4)

    def tell() -> None:
        start.wait(WAIT)
        for _ in range(200):
            sink(event())

    tellers = [threading.Thread(target=tell) for _ in range(4)]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join(WAIT)
    sink.close()
    assert (len(sink), sink.dropped) == (10, 790)
    assert len(await read(sink)) == 10


async def test_a_second_reader_of_one_queue_is_refused() -> None:
    """Two tasks would take events from one another; the second is told so."""
    sink = QueueSink()
    reader = await waiting_on(sink)
    with pytest.raises(RuntimeError, match="another task reads this sink"):
        await sink.get()
    sink.close()
    async with asyncio.timeout(WAIT):
        assert await reader is None


async def test_a_reader_that_gave_up_loses_no_event() -> None:
    """After a read that was cancelled, also at its wake-up, the next one gets it."""
    faults: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    sink = QueueSink()
    await cancelled(await waiting_on(sink))
    reader = await waiting_on(sink)
    sink(event("told before"))
    await cancelled(reader)
    async with asyncio.timeout(WAIT):
        got = await sink.get()
    assert got is not None
    assert got.call_id == "told before"
    assert faults == []


async def cancelled(task: asyncio.Task[ToolEvent | None]) -> None:
    """Cancel a task, and wait until it has ended."""
    task.cancel()
    await asyncio.wait({task}, timeout=WAIT)
    assert task.cancelled()


def test_telling_a_queue_whose_loop_has_ended_raises_nothing() -> None:
    """A reader's loop may be closed under it; the call that tells goes on (B24)."""
    sink = QueueSink()
    reading = sink.get()

    async def begin() -> None:
        reading.send(None)

    asyncio.run(begin())
    assert sink._waiter is not None
    sink(event())
    reading.close()
    assert len(sink) == 1


# --- BackgroundSink ----------------------------------------------------------------


class Gate:
    """A sink that blocks until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.told: list[str] = []

    def __call__(self, event: ToolEvent) -> None:
        self.entered.set()
        assert self.open.wait(WAIT)
        self.told.append(event.call_id)


@contextmanager
def gated(max_events: int = 100) -> Iterator[tuple[Gate, BackgroundSink]]:
    """Make a background sink over a closed gate; open it and close in the end."""
    gate = Gate()
    with BackgroundSink(gate, max_events) as sink:
        try:
            yield gate, sink
        finally:
            gate.open.set()


def test_a_blocked_sink_blocks_nobody_and_is_bounded() -> None:
    """However long the sink takes, telling returns; what has no room is counted."""
    with gated(max_events=3) as (gate, sink):
        sink(event("0"))
        assert gate.entered.wait(WAIT)
        for number in range(1, 6):
            sink(event(str(number)))
        counts = {"delivered": 0, "failed": 0, "dropped": 2, "queued": 3}
        assert sink.statistics() == counts
        gate.open.set()
        assert sink.flush(WAIT)
        assert gate.told == ["0", "1", "2", "3"]
        counts = {"delivered": 4, "failed": 0, "dropped": 2, "queued": 0}
        assert sink.statistics() == counts


def test_flush_waits_no_longer_than_it_may() -> None:
    """A sink that hangs does not hang who waits for it."""
    with gated() as (gate, sink):
        sink(event())
        started = time.monotonic()
        assert not sink.flush(timeout=0)
        assert time.monotonic() - started < WAIT / 2
        gate.open.set()
        assert sink.flush(WAIT)


def test_close_tells_what_is_queued_and_no_more() -> None:
    """All that was told before is delivered, nothing that is told after (B24)."""
    with gated() as (gate, sink):
        for call_id in "abc":
            sink(event(call_id))
        assert not sink.close(timeout=0)
        sink(event("late"))
        gate.open.set()
        assert sink.close(WAIT)
        assert sink.flush(timeout=0)
        assert sink.is_closed
        assert gate.told == ["a", "b", "c"]
        assert sink.statistics()["dropped"] == 1


def test_a_raising_sink_goes_on_and_is_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Failures are counted, logged at most once a minute, and stop nothing (B24)."""
    told = []

    def failing(event: ToolEvent) -> None:
        if event.call_id != "good":
            raise SystemExit(event.call_id)
        told.append(event.call_id)

    with caplog.at_level(logging.ERROR), BackgroundSink(failing) as sink:
        for call_id in ("x", "y", "z", "good"):
            sink(event(call_id))
        assert sink.flush(WAIT)
    assert told == ["good"]
    assert (sink.statistics()["failed"], sink.statistics()["delivered"]) == (3, 1)
    assert len(caplog.records) == 1
    assert "(0 failures before it not logged)" in caplog.text
    assert "SystemExit: x" in caplog.text


def test_a_later_log_line_says_how_many_failed_before_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was not logged is at least counted in the next line that is."""
    failed = threading.Event()

    def failing(event: ToolEvent) -> None:
        failed.set()
        raise ValueError(event.call_id)

    with caplog.at_level(logging.ERROR), BackgroundSink(failing) as sink:
        for call_id in "ab":
            sink(event(call_id))
        assert sink.flush(WAIT)
        sink._work._log_next = 0.0  # as if a minute had passed
        sink(event("c"))
        assert sink.flush(WAIT)
    assert len(caplog.records) == 2
    assert "(1 failures before it not logged)" in caplog.text


def test_a_forgotten_sink_warns_and_its_thread_ends() -> None:
    """A sink that is dropped without closing says so, and leaves no thread behind."""
    forgotten = [BackgroundSink(lambda _: None)]
    ended = forgotten[0]._work.ended
    with pytest.warns(ResourceWarning, match="was never closed"):
        forgotten.clear()
    assert ended.wait(WAIT)


def test_events_of_one_teller_stay_in_order_beside_others() -> None:
    """Four threads tell at once; each one's events come in its own order."""
    told: list[str] = []
    start = threading.Barrier(4)

    def tell(who: str) -> None:
        start.wait(WAIT)
        for number in range(100):
            sink(event(f"{who}{number:03}"))

    with BackgroundSink(lambda one: told.append(one.call_id)) as sink:
        tellers = [threading.Thread(target=tell, args=(who,)) for who in "abcd"]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join(WAIT)
        assert sink.flush(WAIT)
    assert len(told) == 400
    for who in "abcd":
        mine = [one for one in told if one.startswith(who)]
        assert mine == sorted(mine)


def best_microseconds(action: Callable[[], object], rounds: int = 200) -> float:
    """Return the time of one action, in its best round of a hundred."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(100):
            action()
        best = min(best, time.perf_counter() - started)
    return best * 1e4


def test_telling_a_busy_sink_costs_about_an_append() -> None:
    """A sink that is slow adds next to nothing to the call that tells it."""
    one = event()
    with gated(max_events=30_000) as (gate, sink):
        sink(one)
        assert gate.entered.wait(WAIT)
        assert best_microseconds(lambda: sink(one)) < 5


# --- on a real toolkit -------------------------------------------------------------


async def test_real_calls_reach_a_queue_and_a_background_sink() -> None:
    """Both are sinks like any other, for one connection and for the process."""

    @tool
    def hello(name: str) -> str:
        """Greet."""
        return f"hello {name}"

    kept: list[ToolEvent] = []
    connection = QueueSink()
    user = UserContext(user_id="ann")
    nothing = Settings(allow=frozenset())
    with (
        BackgroundSink(kept.append) as background,
        Toolkit(nothing, objects=[hello], sinks=[background]) as kit,
    ):
        async with kit.user(user, sinks=[connection]) as ann:
            result = await ann.execute("hello", {"name": "Bob"})
        connection.close()
        here = [one async for one in connection]
    assert [one.type for one in here] == [EXECUTING, COMPLETED]
    assert kept == here
    assert {one.call_id for one in here} == {result.call_id}
