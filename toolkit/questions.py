"""What a person is asked before a call may run."""

import asyncio
from typing import Any

from toolkit.loops import call_soon, release


class Question:
    """Asks a person about one call. Belongs to the call's dispatcher."""

    __slots__ = ("_asker", "_before", "_waiter")

    def __init__(self, waiter: asyncio.Future[str | None]) -> None:
        """Ask for the running task, which waits for `waiter`."""
        asker: Any = asyncio.current_task()
        self._waiter = waiter
        self._asker = asker
        self._before = asker.cancelling()

    def answer(self, reason: str | None) -> bool:
        """Let the call go on, or say why not; tell whether it is still there."""
        if self._asker.cancelling() > self._before:  # its caller has gone just now
            return False
        return call_soon(self._waiter.get_loop(), release, self._waiter, reason)
