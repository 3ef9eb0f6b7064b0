"""Reaching an event loop, from its own thread or another."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread; None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def call_soon(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object
) -> bool:
    """Call a function at a loop's next turn; can be called in any thread.

    Returns:
        False where the loop has ended, and who waited on it with it: nothing is called.
    """
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return False
    return True


def call_here_or_soon(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object
) -> bool:
    """Call a function now where its loop runs in this thread, else as `call_soon`.

    Returns:
        False where the loop has ended, and who waited on it with it: nothing is called.
    """
    if running_loop() is not loop:
        return call_soon(loop, function, *args)
    function(*args)
    return True


def release(waiter: asyncio.Future[T | None], answer: T | None = None) -> None:
    """Let whoever awaits a future go on, unless it does so or gave up already."""
    if not waiter.done():
        waiter.set_result(answer)
