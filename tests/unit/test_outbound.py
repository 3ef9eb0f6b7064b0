"""What waits for one client: in order, bounded, and handed out together."""

import asyncio

from toolkit.session.outbound import BATCH_BYTES, Outbound

SOON = 5.0


async def test_all_that_waits_is_handed_out_at_once() -> None:
    """What was put in is taken out together, in the same order."""
    queue = Outbound(10, 1_000)
    for text in "abc":
        queue.put(text)
    assert await queue.get_some() == ["a", "b", "c"]
    assert (len(queue), queue.waiting_bytes) == (0, 0)


async def test_no_more_than_a_batch_is_handed_out_at_once() -> None:
    """What is sent at once is bounded; one large message goes alone."""
    large, small = "x" * (BATCH_BYTES + 1), "y" * (BATCH_BYTES // 2)
    queue = Outbound(10, 10 * BATCH_BYTES)
    for text in (large, small, small, small):
        queue.put(text)
    assert await queue.get_some() == [large]
    assert await queue.get_some() == [small, small]
    assert await queue.get_some() == [small]


async def test_whoever_waits_for_several_gets_the_first_that_comes() -> None:
    """A reader waits for one message, not for a full batch."""
    queue = Outbound(10, 1_000)
    reading = asyncio.ensure_future(queue.get_some())
    await asyncio.sleep(0)
    queue.put("a")
    async with asyncio.timeout(SOON):
        assert await reading == ["a"]


async def test_closed_queue_hands_out_what_is_left_then_nothing() -> None:
    """After the end a reader gets what waits, then an empty list."""
    queue = Outbound(10, 1_000)
    queue.put("a")
    queue.close()
    assert await queue.get_some() == ["a"]
    assert await queue.get_some() == []


async def test_taking_several_makes_room() -> None:
    """Whoever waits for room goes on once a batch is taken."""
    queue = Outbound(4, 1_000)
    for text in "abc":
        queue.put(text)
    waiting = asyncio.ensure_future(queue.room(SOON))
    await asyncio.sleep(0)
    assert not waiting.done()
    await queue.get_some()
    async with asyncio.timeout(SOON):
        assert await waiting
