"""Calls that are given up: from everywhere, of every kind, each ended exactly once."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.distributions import Site, importable
from tests.sample_tools import Echo, catalog_of, until
from toolkit import Settings, ToolContext, ToolResult, tool
from toolkit.catalog import ToolCatalog, ToolView
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.deferred import DeferredTool
from toolkit.factory import UserContextToolFactory
from toolkit.origin import Origin
from toolkit.system import UserToolSystem
from toolkit.testing import RecordingSink, make_user, tool_system

WAIT: Final = 10  # seconds; a bound, never reached when all is well
PATIENCE: Final = 30  # the same for processes

FAR: Final = """
import threading
from toolkit import ToolContext

class Waits:
    name = "waits"
    def execute(self, context: ToolContext) -> None:
        context.progress(None, "started")
        threading.Event().wait()

class Warms:
    name = "warms"
    def execute(self) -> str:
        return "warm"
"""


class Gates:
    """What the tools of a test wait for, and what they did."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.started = threading.Event()
        self.ended: list[str] = []

    def open(self) -> None:
        self.opened.set()


def sync_tool(gates: Gates) -> object:
    @tool(name="waits")
    def waits() -> str:
        gates.started.set()
        assert gates.opened.wait(WAIT)
        gates.ended.append("ended")
        return "value"

    return waits


def async_tool(gates: Gates) -> object:
    @tool(name="waits")
    async def waits(context: ToolContext) -> str:
        try:
            gates.started.set()
            await asyncio.Event().wait()
        finally:
            gates.ended.append("ended")
        return "value"

    return waits


def busy_tool(gates: Gates) -> object:
    @tool(name="waits")
    async def waits(context: ToolContext) -> str:
        try:
            gates.started.set()
            while True:  # noqa: ASYNC110 - it is never to be at a future
                await asyncio.sleep(0)
        finally:
            gates.ended.append("ended")

    return waits


def slow_to_end_tool(gates: Gates) -> object:
    @tool(name="waits")
    async def waits() -> str:
        gates.started.set()
        while not gates.opened.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.to_thread(gates.opened.wait, WAIT)
        gates.ended.append("ended")
        return "value"

    return waits


def generator_tool(gates: Gates) -> object:
    @tool(name="waits")
    def waits() -> Iterator[int]:
        try:
            yield 1
            gates.started.set()
            assert gates.opened.wait(WAIT)
            yield 2
        finally:
            gates.ended.append("ended")

    return waits


def async_generator_tool(gates: Gates) -> object:
    @tool(name="waits")
    async def waits() -> AsyncIterator[int]:
        try:
            yield 1
            gates.started.set()
            await asyncio.Event().wait()
            yield 2
        finally:
            gates.ended.append("ended")

    return waits


def awaiting_tool(gates: Gates) -> object:
    @tool(name="waits")
    async def waits() -> Any:
        async def more() -> None:
            try:
                gates.started.set()
                await asyncio.Event().wait()
            finally:
                gates.ended.append("ended")

        return more()

    return waits


Make = Callable[[Gates], object]
KINDS: list[Make] = [
    *(sync_tool, async_tool, busy_tool, slow_to_end_tool),
    *(generator_tool, async_generator_tool, awaiting_tool),
]
WAYS: Final = ("caller", "id", "other thread", "close", "aclose", "deadline")


@pytest.fixture
def gates() -> Iterator[Gates]:
    made = Gates()
    yield made
    made.open()


async def begun(system: UserToolSystem, gates: Gates) -> str:
    """Wait until the only call is at its tool's gate; return its id."""
    await until(gates.started.is_set)
    (call,) = system.dispatcher.running()
    return call.call_id


async def give_up(
    way: str, system: UserToolSystem, call: asyncio.Task[ToolResult], call_id: str
) -> None:
    cancel = system.dispatcher.cancel
    if way == "caller":
        call.cancel()
    elif way == "id":
        assert cancel(call_id)
        assert cancel(call_id)  # it has not ended yet
    elif way == "other thread":
        await asyncio.to_thread(cancel, call_id)
    elif way == "close":
        system.close()
    elif way == "aclose":
        asyncio.ensure_future(system.aclose()).add_done_callback(
            lambda closing: closing.result()
        )


async def outcome(way: str, call: asyncio.Task[ToolResult]) -> str:
    """Return the code that the caller was told."""
    if way == "caller":
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, PATIENCE)
        return "cancelled"
    error = (await asyncio.wait_for(call, PATIENCE)).error
    return "" if error is None else error.code


def check_told(sink: RecordingSink, call_id: str, code: str) -> None:
    """Find one start and one end of the call, and nothing after it."""
    types = sink.types(call_id)
    assert types == sink.types()
    assert types[0] == "tool_executing"
    assert types.count("tool_executing") == 1
    assert types.count("tool_completed") == 1
    last = sink.events[-1]
    assert (str(last.type), last.ok, last.error_code) == ("tool_completed", False, code)


@pytest.mark.parametrize("is_first", [True, False], ids=["first call", "later call"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", KINDS, ids=lambda one: one.__name__)
async def test_call_that_is_given_up_ends_once_and_leaves_nothing(
    make: Make,
    way: str,
    is_first: bool,  # noqa: FBT001 - a parameter of the test
    gates: Gates,
) -> None:
    """Its caller is told, its end is told once, and what runs on is counted until it
    has ended (B26, B30, B50).
    """
    sink = RecordingSink()
    settings = Settings(max_concurrent_calls=1, default_timeout=None)
    with tool_system(make(gates), sinks=[sink], settings=settings) as system:
        executors = system._factory.executors
        if not is_first:
            await earlier_call(system, sink, gates)
        timeout = 0.05 if way == "deadline" else None
        call = asyncio.create_task(system.execute("waits", timeout=timeout))
        call_id = await begun(system, gates)
        await give_up(way, system, call, call_id)
        code = await outcome(way, call)
        assert code == ("tool_timeout" if way == "deadline" else "cancelled")
        check_told(sink, call_id, code)
        assert system.dispatcher.running() == ()
        assert not system.dispatcher.cancel(call_id)
        gates.open()
        await until(lambda: gates.ended == ["ended"])
        await until(lambda: executors.threads.statistics()["late"] == 0)
        await until(lambda: executors.inline.statistics()["late"] == 0)
        check_told(sink, call_id, code)
        counts = system.dispatcher.statistics()
        assert counts == {"calls": 2 - is_first, "failed": 2 - is_first, "running": 0}
        if way not in ("close", "aclose"):  # the only place is free again
            gate = system.dispatcher._gate
            await until(lambda: gate.statistics() == {"running": 0, "queued": 0})


async def earlier_call(
    system: UserToolSystem, sink: RecordingSink, gates: Gates
) -> None:
    """Let one call be given up, so that the next one takes the short way."""
    call = asyncio.create_task(system.execute("waits"))
    assert system.dispatcher.cancel(await begun(system, gates))
    assert await outcome("id", call) == "cancelled"
    gates.open()
    await until(lambda: gates.ended == ["ended"])
    gate = system.dispatcher._gate
    await until(lambda: gate.statistics()["running"] == 0)
    gates.opened.clear()
    gates.started.clear()
    gates.ended.clear()
    sink.events.clear()


@pytest.mark.parametrize("make", [sync_tool, async_tool, async_generator_tool])
@pytest.mark.parametrize("first", WAYS[:4])
@pytest.mark.parametrize("second", WAYS[:4])
async def test_call_that_is_given_up_twice_at_once_ends_once(
    make: Make, first: str, second: str, gates: Gates
) -> None:
    """Whoever is first gives the reason; there is one end (B26)."""
    sink = RecordingSink()
    with tool_system(make(gates), sinks=[sink]) as system:
        call = asyncio.create_task(system.execute("waits"))
        call_id = await begun(system, gates)
        await give_up(first, system, call, call_id)
        if system.dispatcher.running():
            await give_up(second, system, call, call_id)
        done, _ = await asyncio.wait({call}, timeout=WAIT)
        assert done == {call}
        assert call.cancelled() or call.result().error is not None
        check_told(sink, call_id, "cancelled")
        gates.open()
        await until(lambda: gates.ended == ["ended"])


async def test_cancelling_as_the_tool_ends_gives_one_end() -> None:
    """In whatever order both come to the loop, there is one answer and one end that
    agree (B23, B26).
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[str] = loop.create_future()

    @tool(name="waits")
    async def waits() -> str:
        return await waiter

    sink = RecordingSink()
    with tool_system(waits, sinks=[sink]) as system:
        for turns in range(-4, 5):
            waiter = loop.create_future()
            sink.events.clear()
            call = asyncio.create_task(system.execute("waits"))
            await until(lambda: bool(system.dispatcher.running()))
            call_id = system.dispatcher.running()[0].call_id
            await both(turns, waiter, lambda: system.dispatcher.cancel(call_id))  # noqa: B023 - awaited here
            result = await asyncio.wait_for(call, WAIT)
            assert sink.types() == ["tool_executing", "tool_completed"]
            assert sink.events[-1].ok is result.ok
            assert result.error is None or result.error.code == "cancelled"
            assert system.dispatcher.running() == ()


async def both(
    turns: int, waiter: asyncio.Future[str], cancel: Callable[[], bool]
) -> None:
    """End what the tool waits for, and cancel; so many turns of the loop apart."""
    if turns >= 0:
        waiter.set_result("value")
    else:
        cancel()
    for _ in range(abs(turns)):
        await asyncio.sleep(0)
    if turns >= 0:
        cancel()
    elif not waiter.done():
        waiter.set_result("value")


async def test_tool_that_cancels_its_task_cancels_no_caller() -> None:
    """It never waits, yet it has a task of its own: at the first call, and at those
    that need nothing but to be run (B30, B35).
    """

    @tool
    async def gives_up() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("enough")
        return "said"

    caller = asyncio.current_task()
    assert caller is not None
    with tool_system(gives_up) as system:
        for _ in range(3):
            result = await system.execute("gives_up")
            assert result.error is not None
            assert result.error.code == "tool_failed"
            assert caller.cancelling() == 0
    await asyncio.sleep(0)  # here a cancelled caller would learn of it


async def test_endless_stream_on_the_loop_by_choice_ends_at_its_deadline() -> None:
    """A plain one gives way at each part, and its clean-up runs (B30, B52)."""
    closed: list[str] = []

    @tool
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("closed")

    settings = Settings(executors={"endless": "inline"})
    with tool_system(endless, settings=settings) as system:
        for count in (1, 2):
            call = system.execute("endless", timeout=0.02)
            result = await asyncio.wait_for(call, WAIT)
            assert result.error is not None
            assert result.error.code == "tool_timeout"
            await until(lambda count=count: len(closed) == count)  # type: ignore[misc]  # a default binds it


async def test_tool_is_told_of_its_deadline_before_its_first_wait_ends() -> None:
    """A deadline that has passed already ends the call where it first waits (B30,
    B31).
    """
    sink = RecordingSink()

    @tool
    async def waits() -> None:
        await asyncio.Event().wait()

    with tool_system(waits, sinks=[sink]) as system:
        for timeout in (0, -1, 1e-9):
            result = await asyncio.wait_for(
                system.execute("waits", timeout=timeout), WAIT
            )
            assert result.error is not None
            assert result.error.code == "tool_timeout"
            check_told(sink, result.call_id, "tool_timeout")
            sink.events.clear()


async def test_deadline_that_is_no_number_is_refused() -> None:
    """Nobody can tell when it passes (B31)."""
    with tool_system(Echo) as system:
        given: list[Any] = [float("nan"), "1", object()]
        for timeout in given:
            result = await system.execute("echo", {"text": "x"}, timeout=timeout)
            assert result.error is not None
            assert result.error.code == "invalid_arguments"
        result = await system.execute("echo", {"text": "x"}, timeout=float("inf"))
        assert result.value == "x"


# --- in processes --------------------------------------------------------------------


needs_processes = pytest.mark.skipif(
    os.name != "posix", reason="process groups and signals are POSIX"
)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[ToolCatalog]:
    """A catalog of tools that another process can import."""
    site = Site(tmp_path / "site")
    with importable(site.folder):
        site.write({"far_cancelled.py": FAR})
        module = importlib.import_module("far_cancelled")
        yield catalog_of(module.Waits, module.Warms, distribution="far")


@contextmanager
def far_system(catalog: ToolCatalog, sink: RecordingSink) -> Iterator[UserToolSystem]:
    settings = Settings(executors={"far": "process"}, default_timeout=None)
    factory = UserContextToolFactory(catalog, settings=settings, sinks=[sink])
    try:
        with factory.create_user_tool_system(make_user()) as system:
            yield system
    finally:
        factory.close()


@needs_processes
@pytest.mark.parametrize("way", WAYS)
async def test_call_in_a_process_that_is_given_up_ends_once_and_is_killed(
    way: str, far: ToolCatalog
) -> None:
    """Its process is gone soon after its caller was told, and the next call has a
    fresh one (B26, B30, B50).
    """
    sink = RecordingSink()
    with far_system(far, sink) as system:
        process = system._factory.executors.named("process")
        assert (await asyncio.wait_for(system.execute("warms"), PATIENCE)).ok
        sink.events.clear()
        timeout = 0.3 if way == "deadline" else None
        call = asyncio.create_task(system.execute("waits", timeout=timeout))
        await until(lambda: "tool_progress" in sink.types())
        call_id = sink.events[0].call_id
        await give_up(way, system, call, call_id)
        code = await outcome(way, call)
        assert code == ("tool_timeout" if way == "deadline" else "cancelled")
        check_told(sink, call_id, code)
        await until(lambda: process.statistics()["killed"] == 1)
        await until(lambda: process.statistics()["busy"] == 0)
        assert system.dispatcher.running() == ()
        if way not in ("close", "aclose"):
            assert (await asyncio.wait_for(system.execute("warms"), PATIENCE)).ok
            assert process.statistics()["started"] == 2


# --- before a call starts ------------------------------------------------------------


class Asks:
    """Loads a tool; may be asked first, and takes its time to answer."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.answer = threading.Event()

    def __call__(self) -> CompiledTool:
        raise AssertionError("nothing is imported in this process")

    def objection(self) -> str:
        self.reached.set()
        assert self.answer.wait(WAIT)
        return ""


@pytest.fixture
def asks() -> Iterator[Asks]:
    made = Asks()
    yield made
    made.answer.set()


@contextmanager
def asking_system(asks: Asks, sink: RecordingSink) -> Iterator[UserToolSystem]:
    """A system with a tool that runs elsewhere, and whose package is met first."""
    known = compile_tool(Echo).definition
    listed = DeferredTool(
        known, Origin("far", "1.0"), "execute", asks, identity="m:Echo"
    )
    catalog = ToolCatalog(view=ToolView([listed]))
    settings = Settings(executors={"echo": "process"})
    factory = UserContextToolFactory(catalog, settings=settings, sinks=[sink])
    try:
        with factory.create_user_tool_system(make_user()) as system:
            yield system
    finally:
        factory.close()


@pytest.mark.parametrize("way", ["close", "aclose", "deadline", "caller"])
async def test_call_given_up_while_its_package_is_looked_at_never_starts(
    way: str, asks: Asks
) -> None:
    """Neither then, nor when the answer comes: it is told at once (B26, B30)."""
    sink = RecordingSink()
    with asking_system(asks, sink) as system:
        executors = system._factory.executors
        timeout = 0.05 if way == "deadline" else None
        call = asyncio.create_task(
            system.execute("echo", {"text": "x"}, timeout=timeout)
        )
        await until(asks.reached.is_set)
        await give_up(way, system, call, "")
        code = await outcome(way, call)
        assert code == ("tool_timeout" if way == "deadline" else "cancelled")
        asks.answer.set()
        await asyncio.to_thread(int)
        assert sink.events == []
        assert "process" not in executors.statistics()
        assert system.dispatcher.statistics()["calls"] == 0


async def test_failure_to_look_at_a_package_is_the_callers_error(asks: Asks) -> None:
    """It is answered like any other reason not to import it (B26)."""

    class Breaks(Asks):
        def objection(self) -> str:
            raise OSError("no such file")

    with asking_system(Breaks(), RecordingSink()) as system:
        result = await system.execute("echo", {"text": "x"})
        assert result.error is not None
        assert result.error.code == "tool_unavailable"
        assert "OSError" in str(result.error)
