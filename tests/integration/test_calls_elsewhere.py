"""One system called from several loops in several threads, some of which close."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import pytest

from tests.sample_tools import until
from toolkit import Settings, ToolContext, ToolResult, tool
from toolkit.system import UserToolSystem
from toolkit.testing import RecordingSink, tool_system

WAIT: Final = 10  # seconds; a bound, never reached when all is well
LOOPS: Final = 4
ROUNDS: Final = 25


@tool
async def at_once(number: int) -> int:
    """Answer without a wait."""
    return number


@tool
async def later(number: int) -> int:
    """Answer after some turns of whatever loop this is."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[int] = loop.create_future()
    loop.call_soon(waiter.set_result, number)
    async with asyncio.timeout(WAIT):
        return await waiter


@tool
def in_a_thread(number: int) -> int:
    """Answer from a worker thread."""
    return number


@tool
def parts(number: int, context: ToolContext) -> Iterator[int]:
    """Stream from a worker thread."""
    context.progress(0.5, "half")
    yield number


@tool
async def parts_later(number: int) -> AsyncIterator[int]:
    """Stream from the loop."""
    yield number


ALL: Final = (at_once, later, in_a_thread, parts, parts_later)


def in_threads(works: list[Callable[[], Any]]) -> list[Any]:
    """Run each in a thread of its own, all at the same time, to their ends."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        start.wait(WAIT)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(run, work) for work in works]
        return [one.result(3 * WAIT) for one in futures]


def in_loops(make: Callable[[int], Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run one coroutine in each of several loops, each in a thread of its own."""

    def run(place: int) -> Any:
        return asyncio.run(make(place))

    return in_threads([partial(run, place) for place in range(LOOPS)])


def check_nothing_runs(system: UserToolSystem) -> None:
    """Find no call and no place taken, now or soon."""
    executors = system._factory.executors
    gate = system.dispatcher._gate

    async def wait() -> None:
        await until(lambda: system.dispatcher.running() == ())
        await until(lambda: gate.statistics() == {"running": 0, "queued": 0})
        await until(lambda: executors.threads.statistics()["late"] == 0)
        await until(lambda: executors.inline.statistics()["late"] == 0)

    asyncio.run(wait())


@pytest.mark.parametrize("most", [1, 64], ids=["one at a time", "many at once"])
def test_calls_of_several_loops_are_answered_each_in_its_own(most: int) -> None:
    """Every kind of tool, at the same time, with or without waiting in line: each has
    its own value and one end (B26, B53, S57).
    """
    sink = RecordingSink()
    settings = Settings(max_concurrent_calls=most, max_queued_calls=1000)

    with tool_system(*ALL, sinks=[sink], settings=settings) as system:

        async def calls(place: int) -> list[ToolResult]:
            results = []
            for number in range(ROUNDS):
                given = {"number": place * 1000 + number}
                some = [system.execute(one.name, given) for one in ALL]
                results += await asyncio.wait_for(asyncio.gather(*some), WAIT)
            return results

        answers = in_loops(calls)
        for place, results in enumerate(answers):
            values = [one.unwrap() for one in results]
            for number in range(ROUNDS):
                is_ = place * 1000 + number
                mine = values[number * len(ALL) : (number + 1) * len(ALL)]
                assert mine == [is_, is_, is_, [is_], [is_]]
        check_nothing_runs(system)
    total = LOOPS * ROUNDS * len(ALL)
    assert system.dispatcher.statistics() == {"calls": total, "failed": 0, "running": 0}
    ends = Counter(one.call_id for one in sink.events if one.type == "tool_completed")
    starts = Counter(one.call_id for one in sink.events if one.type == "tool_executing")
    assert len(ends) == total
    assert set(ends.values()) == {1}
    assert starts == ends


def test_calls_of_several_loops_are_cancelled_from_any_thread() -> None:
    """Each caller is told in its own loop, once, whoever gave it up (B26, B50)."""
    started = threading.Semaphore(0)

    @tool
    async def waits() -> None:
        started.release()
        await asyncio.Event().wait()

    @tool
    def blocks() -> None:
        started.release()
        assert opened.wait(WAIT)

    opened = threading.Event()
    sink = RecordingSink()
    with tool_system(waits, blocks, sinks=[sink]) as system:

        async def calls(_: int) -> list[ToolResult]:
            some = [system.execute(name) for name in ("waits", "blocks")]
            return await asyncio.wait_for(asyncio.gather(*some), WAIT)

        def cancel() -> None:
            for _ in range(2 * LOOPS):
                assert started.acquire(timeout=WAIT)
            for call in system.dispatcher.running():
                assert system.dispatcher.cancel(call.call_id)

        works = [lambda: asyncio.run(calls(0))] * LOOPS
        *answers, _ = in_threads([*works, cancel])
        codes = [one.error.code for results in answers for one in results]
        assert codes == ["cancelled"] * (2 * LOOPS)
        opened.set()
        check_nothing_runs(system)
    assert Counter(sink.types()) == {
        "tool_executing": 2 * LOOPS,
        "tool_completed": 2 * LOOPS,
    }


def test_closing_a_system_ends_the_calls_of_all_loops() -> None:
    """Wherever it is closed (B50, S12)."""
    started = threading.Semaphore(0)

    @tool
    async def waits() -> None:
        started.release()
        await asyncio.Event().wait()

    with tool_system(waits) as system:

        async def calls() -> ToolResult:
            return await asyncio.wait_for(system.execute("waits"), WAIT)

        async def close() -> None:
            await system.aclose()

        def close_when_all_run() -> None:
            for _ in range(LOOPS):
                assert started.acquire(timeout=WAIT)
            asyncio.run(close())

        works: list[Callable[[], Any]] = [lambda: asyncio.run(calls())] * LOOPS
        *answers, _ = in_threads([*works, close_when_all_run])
        assert [one.error.code for one in answers] == ["cancelled"] * LOOPS
        check_nothing_runs(system)


# --- loops that close ----------------------------------------------------------------


def close_while_running(
    system: UserToolSystem, names: list[str], is_begun: Callable[[], bool]
) -> None:
    """Begin calls on a loop that is closed, with no regard for them."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # tasks are destroyed on purpose

    async def begin() -> set[asyncio.Task[ToolResult]]:
        tasks = {asyncio.create_task(system.execute(name)) for name in names}
        await until(is_begun)
        return tasks

    tasks = loop.run_until_complete(begin())
    loop.close()
    del tasks
    gc.collect()


def lasting(seen: list[str], opened: threading.Event) -> tuple[object, object]:
    """Make tools of both kinds that do not end by themselves."""

    @tool
    async def waits() -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    @tool
    def blocks() -> None:
        seen.append("begun")
        assert opened.wait(WAIT)
        seen.append("ended")

    return waits, blocks


@pytest.mark.parametrize("is_waiting", [False, True], ids=["running", "and waiting"])
def test_loop_that_closes_with_calls_running_gives_their_places_back(
    is_waiting: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What ran on it is ended and told once; others go on at once (B26, B36, B50)."""
    sink, opened = RecordingSink(), threading.Event()
    seen: list[str] = []
    tools = (*lasting(seen, opened), at_once)
    settings = Settings(max_concurrent_calls=2)
    with tool_system(*tools, sinks=[sink], settings=settings) as system:
        names = ["waits", "blocks", *["at_once"] * (3 * is_waiting)]
        close_while_running(system, names, lambda: seen == ["begun"] * 2)

        async def go_on() -> ToolResult:
            call = system.execute("at_once", {"number": 7})
            return await asyncio.wait_for(call, WAIT)

        assert asyncio.run(go_on()).value == 7
        assert system.dispatcher.running() == ()
        told = [one for one in sink.events if one.tool in ("waits", "blocks")]
        ended = Counter(one.type for one in told)
        assert ended == {"tool_executing": 2, "tool_completed": 2}
        assert {one.error_code for one in told} == {"", "cancelled"}
        gc.collect()
        assert seen == ["begun", "begun", "ended"]
        opened.set()
        check_nothing_runs(system)
        gc.collect()
        assert seen == ["begun", "begun", "ended", "ended"]
        assert [one for one in sink.events if one.tool in ("waits", "blocks")] == told


def test_loop_that_is_run_to_its_end_takes_its_calls_along() -> None:
    """As `asyncio.run` does it: each task is cancelled, and its call with it (B50)."""
    sink = RecordingSink()
    seen: list[str] = []

    @tool
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("ended")

    with tool_system(waits, sinks=[sink]) as system:

        async def begin() -> asyncio.Task[ToolResult]:
            task = asyncio.create_task(system.execute("waits"))
            await until(lambda: bool(system.dispatcher.running()))
            return task

        assert asyncio.run(begin()).cancelled()
        assert seen == ["ended"]
        assert sink.types() == ["tool_executing", "tool_completed"]
        check_nothing_runs(system)


def test_system_can_be_closed_after_a_loop_of_its_calls() -> None:
    """What is left of that loop holds nobody up (B30, B41)."""
    opened = threading.Event()
    seen: list[str] = []

    @tool
    def blocks() -> None:
        seen.append("begun")
        assert opened.wait(WAIT)

    with tool_system(blocks) as system:
        kept: list[Any] = []
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            kept.append(asyncio.ensure_future(system.execute("blocks")))
            await until(lambda: bool(seen))

        loop.run_until_complete(begin())
        loop.close()  # somebody still holds its task

        async def close() -> None:
            async with asyncio.timeout(WAIT):
                await system.aclose()

        asyncio.run(close())
        assert system.is_closed
        loop.set_exception_handler(lambda *_: None)  # its task is destroyed on purpose
        kept.clear()
        gc.collect()
        opened.set()
        check_nothing_runs(system)
