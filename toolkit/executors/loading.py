"""Waiting on an event loop for a tool that is imported in a thread of its own."""

import asyncio
from concurrent.futures import Future
from typing import Any

from toolkit.loops import call_soon, release


def watch(loading: Future[Any]) -> asyncio.Future[None]:
    """Return a future of the running loop that is done when the loading has ended.

    Done as well when it failed. Cancelling it leaves the loading alone: others wait for
    it too.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    loading.add_done_callback(lambda _: call_soon(loop, release, waiter))
    return waiter
