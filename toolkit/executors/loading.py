"""Waiting on an event loop for a tool that is imported in a thread of its own."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any


def watch(loading: Future[Any]) -> asyncio.Future[None]:
    """Return a future of the running loop that is done when the loading has ended.

    Done as well when it failed. Cancelling it leaves the loading alone: others wait for
    it too.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # its loop has ended, and who waited with it
            loop.call_soon_threadsafe(wake)

    loading.add_done_callback(tell)
    return waiter
