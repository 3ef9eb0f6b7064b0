"""Reaching an event loop from its own thread, from another, and after its end."""

import asyncio

from toolkit.loops import call_here_or_soon, call_soon, release, running_loop

WAIT = 5  # seconds; a bound, never reached when all is well


async def test_running_loop_is_that_of_this_thread_only() -> None:
    """A worker thread has none."""
    assert running_loop() is asyncio.get_running_loop()
    assert await asyncio.to_thread(running_loop) is None


async def test_function_is_called_at_the_loops_next_turn() -> None:
    """From any thread; here it does not run before others had theirs."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[str]()
    assert call_soon(loop, told.put_nowait, "from here")
    assert told.empty()
    assert await asyncio.to_thread(call_soon, loop, told.put_nowait, "from there")
    first = await asyncio.wait_for(told.get(), WAIT)
    second = await asyncio.wait_for(told.get(), WAIT)
    assert [first, second] == ["from here", "from there"]


def test_function_for_a_loop_that_has_ended_is_dropped() -> None:
    """Say so, and raise nothing: who waited there is gone as well."""
    loop = asyncio.new_event_loop()
    loop.close()
    told: list[str] = []
    assert not call_soon(loop, told.append, "x")
    assert not call_here_or_soon(loop, told.append, "x")
    assert told == []


async def test_function_of_the_loop_here_is_called_at_once() -> None:
    """Not a turn later; from another thread, soon."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[str]()
    assert call_here_or_soon(loop, told.put_nowait, "now")
    assert told.get_nowait() == "now"
    await asyncio.to_thread(call_here_or_soon, loop, told.put_nowait, "soon")
    assert await asyncio.wait_for(told.get(), WAIT) == "soon"


async def test_waiter_that_went_on_already_is_left_as_it_is() -> None:
    """The first answer counts, and one that was given up takes none."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[str | None] = loop.create_future()
    release(waiter, "first")
    release(waiter, "second")
    assert await waiter == "first"
    gone: asyncio.Future[None] = loop.create_future()
    gone.cancel()
    release(gone)
    assert gone.cancelled()
