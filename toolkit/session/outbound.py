"""What waits to be sent to one client: bounded and in order."""

import asyncio
from collections import deque
from typing import Final

from toolkit.loops import release

BATCH_BYTES: Final = 65_536
"""How much is sent at once; about what a transport takes before it says stop."""


class Outbound:
    """A bounded queue with one reader, on one event loop. Owned by a supervisor.

    Whoever makes messages waits for `room` first, as long as half of it is taken. What
    has happened is still put in without waiting, up to the whole bound; beyond that the
    queue is over, and says so: nothing of a conversation is left out silently.

    Attributes:
        waiting_bytes: Size of what waits now.
        is_over: Whether more was put in than it takes; the connection is to be ended.
    """

    __slots__ = (
        "_is_closed",
        "_max_bytes",
        "_max_messages",
        "_reader",
        "_roomless",
        "_texts",
        "is_over",
        "waiting_bytes",
    )

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        """Start empty.

        Args:
            max_messages: How many may wait.
            max_bytes: Their size; the last of them may go beyond it.
        """
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._texts: deque[str] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._roomless: asyncio.Future[None] | None = None
        self._is_closed = False
        self.waiting_bytes = 0
        self.is_over = False

    def put(self, text: str) -> None:
        """Let a message wait for its turn; after the end it is dropped."""
        if self._is_closed or self.is_over:
            return
        is_full = len(self._texts) >= self._max_messages
        if is_full or self.waiting_bytes >= self._max_bytes:
            self.is_over = True
            return
        self._texts.append(text)
        self.waiting_bytes += len(text)
        if self._reader is not None:
            release(self._reader)

    async def get(self) -> str | None:
        """Wait for the next message.

        Returns:
            The message; None when the queue is closed and nothing is left.
        """
        await self._wait()
        return self._take() if self._texts else None

    async def get_some(self) -> list[str]:
        """Wait for the next messages.

        Returns:
            What waits, in order: one message, or more of `BATCH_BYTES` at most; none
            when the queue is closed and nothing is left.
        """
        await self._wait()
        left = BATCH_BYTES
        some: list[str] = []
        while self._texts and (not some or len(self._texts[0]) <= left):
            some.append(self._take())
            left -= len(some[-1])
        return some

    async def _wait(self) -> None:
        """Wait until there is a message, or the end."""
        while not (self._texts or self._is_closed):
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def _take(self) -> str:
        text = self._texts.popleft()
        self.waiting_bytes -= len(text)
        if self._roomless is not None and self.has_room:
            release(self._roomless)
        return text

    @property
    def has_room(self) -> bool:
        """Whether less than half of it is taken, or nobody waits for it any more."""
        if self._is_closed or self.is_over:
            return True
        is_short = 2 * len(self._texts) < self._max_messages
        return is_short and 2 * self.waiting_bytes < self._max_bytes

    async def room(self, timeout: float) -> bool:  # noqa: ASYNC109 - bounds this wait alone
        """Wait until there is room.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether there is.
        """
        if not self.has_room:
            loop = asyncio.get_running_loop()
            if self._roomless is None or self._roomless.done():
                self._roomless = loop.create_future()
            await asyncio.wait({self._roomless}, timeout=timeout)
        return self.has_room

    def close(self) -> None:
        """Take no more; the reader gets what waits, then the end."""
        self._is_closed = True
        for waiter in (self._reader, self._roomless):
            if waiter is not None:
                release(waiter)

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._texts)
