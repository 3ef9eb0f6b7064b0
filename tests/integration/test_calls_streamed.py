"""Parts and progress: told in order, as copies, while the call runs and no longer."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.sample_tools import until
from toolkit import Settings, ToolContext, ToolEvent, ToolResult, tool
from toolkit.context import REDACTED
from toolkit.events import EventType
from toolkit.testing import RecordingSink, make_user, tool_system

WAIT = 10  # seconds; a bound, never reached when all is well
SECRET = 'the "canary"\nof é\'ann'


@tool
def spell(word: str, context: ToolContext) -> Iterator[str]:
    """Spell a word in a thread."""
    for place, letter in enumerate(word):
        context.progress(place / len(word), f"at {place}")
        yield letter


@tool
async def spell_later(word: str, context: ToolContext) -> AsyncIterator[str]:
    """Spell a word on the loop."""
    for place, letter in enumerate(word):
        context.progress(place / len(word), f"at {place}")
        yield letter


@tool
async def steps(word: str, context: ToolContext) -> str:
    """Say how far it is, and no parts."""
    for place in range(len(word)):
        context.progress(place / len(word), f"at {place}")
        await asyncio.sleep(0)
    return word


@tool
async def steps_at_once(word: str, context: ToolContext) -> str:
    """The same without a wait."""
    for place in range(len(word)):
        context.progress(place / len(word), f"at {place}")
    return word


@tool
def steps_in_a_thread(word: str, context: ToolContext) -> str:
    """The same in a thread."""
    for place in range(len(word)):
        context.progress(place / len(word), f"at {place}")
    return word


ALL = (spell, spell_later, steps, steps_at_once, steps_in_a_thread)


def said(event: ToolEvent) -> Any:
    if event.type is EventType.TOOL_PROGRESS:
        return event.data["message"]
    return event.data if event.type is EventType.TOOL_PART else str(event.type)


@pytest.mark.parametrize("to", ["everybody", "the caller"])
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
async def test_parts_and_progress_come_between_start_and_end(one: Any, to: str) -> None:
    """In the order in which the tool said them, each under the call's id, whoever
    listens (B26).
    """
    sink = RecordingSink()
    options = {"on_event": sink} if to == "the caller" else {}
    with tool_system(*ALL, sinks=[sink] if not options else []) as system:
        for _ in range(2):
            sink.events.clear()
            result = await system.execute(one.name, {"word": "abc"}, **options)
            streams = one.name.startswith("spell")
            assert result.value == (["a", "b", "c"] if streams else "abc")
            between: list[str] = []
            for place, letter in enumerate("abc"):
                between += [f"at {place}", letter] if streams else [f"at {place}"]
            told = [said(event) for event in sink.events]
            assert told == ["tool_executing", *between, "tool_completed"]
            assert {event.call_id for event in sink.events} == {result.call_id}
            assert {event.tool for event in sink.events} == {one.name}
    fractions = [
        event.data["fraction"]
        for event in sink.events
        if event.type is EventType.TOOL_PROGRESS
    ]
    assert fractions == [0.0, 1 / 3, 2 / 3]


async def test_first_part_is_told_before_the_second_is_made() -> None:
    """Who listens need not wait for the end (B52)."""
    go_on = asyncio.Event()
    sink = RecordingSink()

    @tool
    async def slow() -> AsyncIterator[int]:
        yield 1
        await go_on.wait()
        yield 2

    with tool_system(slow, sinks=[sink]) as system:
        call = asyncio.create_task(system.execute("slow"))
        await until(lambda: sink.types() == ["tool_executing", "tool_part"])
        assert not call.done()
        go_on.set()
        assert (await asyncio.wait_for(call, WAIT)).value == [1, 2]


async def test_part_of_a_thread_is_told_before_the_thread_ends() -> None:
    """A part crosses to the loop on its own, not with the result (B52)."""
    go_on = threading.Event()
    sink = RecordingSink()

    @tool
    def slow() -> Iterator[int]:
        yield 1
        assert go_on.wait(WAIT)
        yield 2

    with tool_system(slow, sinks=[sink]) as system:
        call = asyncio.create_task(system.execute("slow"))
        await until(lambda: sink.types() == ["tool_executing", "tool_part"])
        assert not call.done()
        go_on.set()
        assert (await asyncio.wait_for(call, WAIT)).value == [1, 2]


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
async def test_parts_are_copies_that_the_tool_cannot_change(
    is_async: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Each event shows what was so when the part was told (B22)."""
    sink = RecordingSink()

    @tool(name="grow")
    def grow() -> Iterator[list[int]]:
        grown: list[int] = []
        for number in range(3):
            grown.append(number)
            yield grown

    @tool(name="grow")
    async def grow_later() -> AsyncIterator[list[int]]:
        for one in grow.execute():
            yield one

    with tool_system(grow_later if is_async else grow, sinks=[sink]) as system:
        assert (await system.execute("grow")).ok
    parts = [one.data for one in sink.events if one.type is EventType.TOOL_PART]
    assert parts == [[0], [0, 1], [0, 1, 2]]


async def test_secrets_are_blanked_out_of_parts_and_progress() -> None:
    """However deep, and however JSON would write them; the result has them (B62)."""
    sink = RecordingSink()

    @tool
    async def leak(context: ToolContext) -> AsyncIterator[Any]:
        secret = context.secrets["key"]
        context.progress(None, f"got {secret}")
        yield {"deep": [secret], secret: f"<{secret}>"}

    secrets = {"key": SECRET}
    with tool_system(leak, sinks=[sink], secrets=secrets) as system:
        result = await system.execute("leak")
    assert SECRET in result.value[0]
    progress, part = sink.events[1].data, sink.events[2].data
    assert progress == {"fraction": None, "message": f"got {REDACTED}"}
    assert part == {"deep": [REDACTED], REDACTED: f"<{REDACTED}>"}
    assert not any(SECRET in repr(one) + one.to_json() for one in sink.events)


async def test_part_that_is_no_json_is_told_as_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Telling disturbs nothing; the result says what is the matter (B24, B28)."""
    sink = RecordingSink()

    @tool
    async def odd() -> AsyncIterator[str]:
        yield "good"
        yield "\ud800"

    with tool_system(odd, sinks=[sink]) as system:
        await system.execute("odd")
    parts = [one.data for one in sink.events if one.type is EventType.TOOL_PART]
    assert parts == ["good", None]
    assert sink.types()[-1] == "tool_completed"
    assert "cannot be shown" in caplog.text


async def test_failure_after_some_parts_ends_the_call_once() -> None:
    """What was told stays told; the end says that it failed (B23, B26)."""
    sink = RecordingSink()

    @tool
    def half() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with tool_system(half, sinks=[sink]) as system:
        assert not (await system.execute("half")).ok
    assert sink.types() == ["tool_executing", "tool_part", "tool_completed"]
    assert sink.events[-1].error_code == "tool_failed"


async def test_nothing_is_told_after_the_end_of_a_call() -> None:
    """A tool that keeps its context, and a thread that runs on, speak to nobody
    (B26, B34).
    """
    sink = RecordingSink()
    kept: list[ToolContext] = []
    started, release, ended = (threading.Event() for _ in range(3))

    @tool
    async def keeps(context: ToolContext) -> None:
        kept.append(context)

    @tool
    def late(context: ToolContext) -> Iterator[int]:
        kept.append(context)
        yield 1
        started.set()
        release.wait(WAIT)
        context.progress(1.0, "late")
        ended.set()
        yield 2

    with tool_system(keeps, late, sinks=[sink]) as system:
        await system.execute("keeps")
        running = asyncio.create_task(system.execute("late"))
        await until(started.is_set)
        assert system.dispatcher.cancel(system.dispatcher.running()[0].call_id)
        assert not (await asyncio.wait_for(running, WAIT)).ok
        told = list(sink.events)
        release.set()
        await until(ended.is_set)
        for context in kept:
            context.progress(0.5, "long after")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sink.events == told
    assert sink.types()[-1] == "tool_completed"


async def test_endless_stream_is_closed_at_its_deadline() -> None:
    """On the loop and in a thread: the tool's own clean-up runs (B30)."""
    closed: list[str] = []

    @tool
    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("loop")

    @tool
    def endless_thread() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("thread")

    with tool_system(endless, endless_thread) as system:
        for name in ("endless", "endless_thread"):
            call = system.execute(name, timeout=0.03)
            result = await asyncio.wait_for(call, WAIT)
            assert result.error is not None
            assert result.error.code == "tool_timeout"
        await until(lambda: sorted(closed) == ["loop", "thread"])


async def test_callers_sink_hears_of_its_own_call_only() -> None:
    """Two calls at once of one user, each with its own listener (B32)."""
    everything, mine, other = RecordingSink(), RecordingSink(), RecordingSink()

    async def both(call: Callable[..., Any]) -> list[ToolResult]:
        calls = (
            call("spell_later", {"word": "abc"}, on_event=mine),
            call("steps", {"word": "xyz"}, on_event=other),
            call("spell", {"word": "none"}),
        )
        return await asyncio.wait_for(asyncio.gather(*calls), WAIT)

    with tool_system(*ALL, sinks=[everything]) as system:
        results = await both(system.execute)
    assert all(one.ok for one in results)
    for sink, result in ((mine, results[0]), (other, results[1])):
        assert {one.call_id for one in sink.events} == {result.call_id}
        same = [one for one in everything.events if one.call_id == result.call_id]
        assert sink.events == same
    assert {one.call_id for one in everything.events} == {
        one.call_id for one in results
    }


async def test_listener_that_fails_disturbs_no_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of its failures is logged, and the parts go on (B24)."""

    def broken(event: ToolEvent) -> None:
        raise ConnectionError(event.type)

    with tool_system(*ALL) as system:
        for name in ("spell", "spell_later"):
            call = system.execute(name, {"word": "ab"}, on_event=broken)
            assert (await call).value == ["a", "b"]
    assert caplog.text.count("event sink") == 2 * 6


async def test_progress_without_a_listener_is_nothing() -> None:
    """Neither does it fail, nor does anybody make an event of it (B24)."""
    with tool_system(*ALL) as system:
        for one in ALL:
            assert (await system.execute(one.name, {"word": "ab"})).ok


async def test_another_user_hears_nothing_of_a_stream() -> None:
    """What is said in one user's call is told to their sinks alone (B32)."""
    hers, his = RecordingSink(), RecordingSink()
    settings = Settings()
    with (
        tool_system(*ALL, user=make_user("ann"), sinks=[hers], settings=settings) as a,
        tool_system(*ALL, user=make_user("bob"), sinks=[his], settings=settings) as b,
    ):
        calls = [one.execute("spell_later", {"word": "abc"}) for one in (a, b)]
        await asyncio.wait_for(asyncio.gather(*calls), WAIT)
    assert {one.user_id for one in hers.events} == {"ann"}
    assert {one.user_id for one in his.events} == {"bob"}
    assert len(hers.events) == len(his.events) == 8
