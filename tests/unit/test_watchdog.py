"""The watchdog names who blocks a loop: once for each call, and nobody else."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest

from tests.sample_tools import until
from toolkit import tool
from toolkit.executors.watchdog import MAX_NAMES, Watchdog
from toolkit.testing import tool_system

pytestmark = pytest.mark.integration  # it looks every 50 ms

WAIT = 5  # seconds; a bound, never reached when all is well


Step = tuple[str, str, int]


def work(step: Step, gate: threading.Event) -> tuple[Step, bool]:
    """Do what a tool does in one step: run until somebody opens the gate."""
    return step, gate.wait(WAIT)


def who(frame: FrameType) -> Step | None:
    step: Step = frame.f_locals["step"]
    return None if step[0] == "nobody" else step


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    one = Watchdog({work.__code__: who})
    yield one
    one.close()


class LoopThread:
    """A loop in a thread of its own that does what it is told."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.loop = asyncio.new_event_loop()
        self.gate = threading.Event()

    def watch(self, watchdog: Watchdog) -> None:
        self.pool.submit(watchdog.watch, self.loop).result(WAIT)

    def step(self, name: str, call_id: str = "c1", step: int = 1) -> None:
        """Begin a step that lasts until `let_go`."""
        self.gate = threading.Event()
        self.pool.submit(self._run, (name, call_id, step), self.gate)

    def let_go(self) -> None:
        self.gate.set()
        self.pool.submit(int).result(WAIT)

    def close(self) -> None:
        self.gate.set()
        self.pool.shutdown()
        self.loop.close()

    def _run(self, step: Step, gate: threading.Event) -> None:
        self.loop.call_soon(work, step, gate)
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    one = LoopThread()
    yield one
    one.close()


async def looked(watchdog: Watchdog, times: int = 3) -> None:
    """Wait until it has looked so often that it has told what there is to tell."""
    count = 0

    def count_look(_: FrameType) -> None:
        nonlocal count
        count += 1

    async def idle(stop: threading.Event) -> None:
        await asyncio.to_thread(marker, stop)

    def marker(stop: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        watchdog.watch(loop)
        assert stop.wait(WAIT)
        loop.close()

    watchdog.add(marker.__code__, count_look)
    stop = threading.Event()
    waiting = asyncio.create_task(idle(stop))
    await until(lambda: count >= times)
    stop.set()
    await waiting


async def test_tool_that_blocks_a_loop_is_named_with_where_it_is(
    watchdog: Watchdog, thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which tool, for how long, what to do and the place (B52)."""
    thread.watch(watchdog)
    thread.step("slow")
    await until(lambda: watchdog.blocks() == {"slow": 1})
    await until(lambda: len(caplog.records) == 1)
    text = caplog.text
    assert "tool 'slow' blocks the event loop for more than 50 ms" in text
    assert "choose threads for it (setting executors)" in text
    assert "return step, gate.wait(WAIT)" in text


@pytest.mark.integration
async def test_call_that_blocks_on_and_on_is_named_once(
    watchdog: Watchdog, thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    """However long a step lasts, and in however many steps it blocks (B52)."""
    thread.watch(watchdog)
    for step in (1, 2):
        thread.step("slow", step=step)
        await until(lambda: watchdog.blocks() == {"slow": 1})
        await looked(watchdog)
        thread.let_go()
    assert watchdog.blocks() == {"slow": 1}
    assert len(caplog.records) == 1
    thread.step("slow", "c2")
    await until(lambda: watchdog.blocks() == {"slow": 2})


@pytest.mark.integration
async def test_loop_that_is_busy_with_many_short_steps_is_no_alarm(
    watchdog: Watchdog, thread: LoopThread
) -> None:
    """Neither is one with other code, or one that waits (B52)."""
    thread.watch(watchdog)
    stop = threading.Event()

    def many() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            opened = threading.Event()
            opened.set()
            work(("quick", f"c{number}", 1), opened)
            work(("steps", "c0", number), opened)

    busy = thread.pool.submit(many)
    await looked(watchdog, 6)
    stop.set()
    busy.result(WAIT)
    thread.step("nobody")
    await looked(watchdog)
    assert watchdog.blocks() == {}


async def test_tool_that_blocks_a_thread_without_a_loop_is_no_alarm(
    watchdog: Watchdog, thread: LoopThread
) -> None:
    """Tools may block worker threads; those are not watched (B52)."""
    thread.step("slow")
    await looked(watchdog)
    assert watchdog.blocks() == {}


async def test_loop_is_watched_on_when_another_of_its_thread_closes(
    watchdog: Watchdog, thread: LoopThread
) -> None:
    """A thread may run several loops, one after another (B52)."""
    thread.watch(watchdog)
    other = asyncio.new_event_loop()
    thread.pool.submit(watchdog.watch, other).result(WAIT)
    other.close()
    await looked(watchdog)
    thread.step("slow")
    await until(lambda: watchdog.blocks() == {"slow": 1})


async def test_thread_of_the_watchdog_ends_with_the_loops_and_comes_back(
    watchdog: Watchdog, thread: LoopThread
) -> None:
    """It does not watch nothing, and it does not miss the next loop (B34, B52)."""

    def watchers() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "toolkit-watchdog"}

    before = watchers()
    other = asyncio.new_event_loop()
    watchdog.watch(other)
    (mine,) = watchers() - before
    other.close()
    await until(lambda: not mine.is_alive())
    thread.watch(watchdog)
    thread.step("slow")
    await until(lambda: watchdog.blocks() == {"slow": 1})
    thread.let_go()
    (mine,) = watchers() - before
    watchdog.close()
    await until(lambda: not mine.is_alive())
    thread.watch(watchdog)  # it is closed: nobody looks any more
    assert watchers() <= before


async def test_watchdog_that_is_dropped_leaves_no_thread(thread: LoopThread) -> None:
    """Its thread keeps neither it nor a loop alive (B41)."""
    one = Watchdog({work.__code__: who})
    thread.watch(one)
    dropped = weakref.ref(one)
    del one

    def is_gone() -> bool:
        gc.collect()
        return dropped() is None

    await until(is_gone)


async def test_failure_to_look_is_logged_and_looking_goes_on(
    watchdog: Watchdog, thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    """A frame that cannot be read hides no tool for ever (B36)."""
    failures: list[str] = []

    def fail_once(frame: FrameType) -> Step | None:
        if not failures:
            failures.append("failed")
            raise ValueError("why")
        return who(frame)

    watchdog.add(work.__code__, fail_once)
    thread.watch(watchdog)
    thread.step("slow")
    await until(lambda: watchdog.blocks() == {"slow": 1})
    assert "the watchdog could not look" in caplog.text


async def test_names_that_are_counted_are_bounded(
    watchdog: Watchdog, thread: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    """Those beyond are still logged (B47)."""
    thread.watch(watchdog)
    seen: dict[int, Step] = {}
    for number in range(MAX_NAMES + 1):
        thread.step(f"slow{number}", f"c{number}")
        told = len(caplog.records)
        async with asyncio.timeout(WAIT):
            while len(caplog.records) == told:
                seen = watchdog.look(seen) or {}
                await asyncio.sleep(0)
        thread.let_go()
    assert len(watchdog.blocks()) == MAX_NAMES


# --- with real calls -----------------------------------------------------------------


class Named(logging.Handler):
    """Told what the watchdog logs, from its thread."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "tool 'slow'" not in text:  # an earlier test's watchdog may still be telling
            self.texts.append(text)
            self.told.set()


@pytest.fixture
def named() -> Iterator[Named]:
    handler = Named()
    log = logging.getLogger("toolkit.executors.watchdog")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.mark.parametrize("way", ["at once", "first step", "later step"])
async def test_real_tool_that_blocks_is_named_in_each_way_a_call_can_run(
    named: Named, way: str
) -> None:
    """At the first call, and at the second, which goes straight through (B52)."""

    @tool(name="blocks")
    async def blocks_at_once() -> bool:
        return named.told.wait(WAIT)

    @tool(name="blocks")
    async def blocks_in_a_step() -> bool:
        if way == "later step":
            await asyncio.sleep(0)
        is_told = named.told.wait(WAIT)
        await asyncio.sleep(0)
        return is_told

    one = blocks_at_once if way == "at once" else blocks_in_a_step
    with tool_system(one) as system:
        for count in (1, 2):
            named.told.clear()
            assert (await system.execute("blocks")).value is True
            assert len(named.texts) == count
            assert "tool 'blocks' blocks the event loop" in named.texts[-1]


@tool
async def innocent() -> str:
    """Do nothing that takes time."""
    return "done"


@tool
async def suspended() -> str:
    """Wait while somebody else blocks the loop."""
    await asyncio.sleep(0)
    return "done"


@pytest.mark.integration
def test_sink_that_blocks_the_loop_is_not_blamed_on_the_tool(named: Named) -> None:
    """Only what runs in the tool's own code is the tool's (B24, B52)."""
    looks = threading.Event()

    def slow(_: object) -> None:
        assert not named.told.wait(0.12)
        looks.set()

    async def main() -> None:
        with tool_system(innocent) as system:
            assert (await system.execute("innocent")).ok
        with tool_system(innocent, sinks=[slow]) as system:
            for _ in range(2):
                assert (await system.execute("innocent")).ok

    asyncio.run(main())
    assert looks.is_set()
    assert named.texts == []


@pytest.mark.integration
def test_tool_that_waits_is_not_blamed_for_who_blocks_meanwhile(named: Named) -> None:
    """It is on no thread's stack (B52)."""

    async def main() -> None:
        with tool_system(suspended) as system:
            for _ in range(2):
                call = asyncio.create_task(system.execute("suspended"))
                await asyncio.sleep(0)
                assert not named.told.wait(0.12)  # the loop is blocked by its owner
                assert (await asyncio.wait_for(call, WAIT)).ok

    asyncio.run(main())
    assert named.texts == []


async def test_look_keeps_nothing_alive_of_what_it_saw(
    watchdog: Watchdog, thread: LoopThread
) -> None:
    """What ran at that moment is freed when it ends, without the collector (S50)."""
    thread.watch(watchdog)

    def look() -> "weakref.ref[LoopThread]":
        seen = LoopThread()
        watchdog.look({})
        seen.close()
        return weakref.ref(seen)

    gc.collect()
    gc.disable()
    try:
        assert look()() is None
    finally:
        gc.enable()
