"""Bounded sinks for whoever is slow: a connection, a log shipper, a database.

A sink is called by the call it tells of, so it must not block. Both sinks here only
keep the event and wake whoever takes it on; neither raises, both are bounded, and both
count what they dropped. Any thread may call them.
"""

import asyncio
import logging
import threading
import time
import warnings
from collections import deque
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import Final, Self

from toolkit.events import EventType, Sink, ToolEvent
from toolkit.loops import call_soon, release

logger = logging.getLogger(__name__)

MINOR: Final = frozenset({EventType.TOOL_PART, EventType.TOOL_PROGRESS})
"""The types of events that are dropped first: the result tells what they told."""

LINGER_SECONDS: Final = 0.01
"""How long a background thread that has told all looks the other way. Waking a thread
takes ten times as long as an append; so a busy process pays it 100 times a second."""


class QueueSink:
    """Hands events to one consumer on an event loop. Owned by a connection; close it.

    When it is full the oldest part or progress goes first, then the oldest event.

    >>> async def show(sink: QueueSink) -> None:
    ...     async for event in sink:
    ...         print(event.to_json())
    """

    def __init__(self, max_events: int = 1024) -> None:
        """Start empty and open.

        Args:
            max_events: How many wait at most.
        """
        self.max_events = max_events
        self._lock = threading.RLock()  # a finalizer may tell an event while it is held
        self._numbers = count()
        self._major: deque[tuple[int, ToolEvent]] = deque()
        self._minor: deque[tuple[int, ToolEvent]] = deque()
        self._dropped = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    def __call__(self, event: ToolEvent) -> None:
        """Keep the event and wake the consumer. Never blocks, never raises."""
        with self._lock:
            if self._is_closed:
                self._dropped += 1
                return
            kept = self._minor if event.type in MINOR else self._major
            kept.append((next(self._numbers), event))
            if len(self) > self.max_events:
                (self._minor or self._major).popleft()
                self._dropped += 1
            self._wake()

    async def get(self) -> ToolEvent | None:
        """Wait for the next event.

        Returns:
            The event; None when the sink is closed and nothing is left.

        Raises:
            RuntimeError: Another task waits already.
        """
        while True:
            with self._lock:
                if self._major or self._minor:
                    return self._take()
                if self._is_closed:
                    return None
                if self._waiter is not None:
                    text = "another task reads this sink; give each one its own"
                    raise RuntimeError(text)
                waiter = self._waiter = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                with self._lock:
                    if self._waiter is waiter:
                        self._waiter = None

    @property
    def dropped(self) -> int:
        """How many events were dropped: it was full, or closed already."""
        return self._dropped

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more events."""
        return self._is_closed

    def statistics(self) -> dict[str, int]:
        """Return counts: events queued now, and dropped so far."""
        return {"queued": len(self), "dropped": self._dropped}

    def close(self) -> None:
        """Take no more events; whoever reads gets what is queued, then the end."""
        with self._lock:
            self._is_closed = True
            self._wake()

    def _take(self) -> ToolEvent:
        """Take the oldest event. Holds the lock; there is one."""
        major, minor = self._major, self._minor
        is_minor = not major or (bool(minor) and minor[0][0] < major[0][0])
        return (minor if is_minor else major).popleft()[1]

    def _wake(self) -> None:
        """Let the consumer look again. Holds the lock."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            call_soon(waiter.get_loop(), release, waiter)

    def __len__(self) -> int:
        """Return how many events are queued."""
        return len(self._major) + len(self._minor)

    def __aiter__(self) -> Self:
        """Return the sink itself."""
        return self

    async def __anext__(self) -> ToolEvent:
        """Return the next event.

        Raises:
            RuntimeError: Another task waits already.
            StopAsyncIteration: The sink is closed and nothing is left.
        """
        event = await self.get()
        if event is None:
            raise StopAsyncIteration
        return event


class BackgroundSink:
    """Tells a slow sink, in a daemon thread of its own. Owned by who made it; close it.

    Telling it costs a call about as much as appending to a list, however slow the other
    sink is. When it is full, what comes is dropped and counted. Events come in order. A
    sink that raises is logged, at most once in `log_seconds`, and told the next event.
    What is queued when the process ends is lost, unless the sink was closed before.

    Make it in the process that serves: a fork has no thread to tell anything.
    """

    def __init__(
        self, sink: Sink, max_events: int = 10_000, *, log_seconds: float = 60.0
    ) -> None:
        """Start the thread.

        Args:
            sink: What is told; it may block and raise.
            max_events: How many wait at most. Threads that tell at the same moment may
                pass it by one each.
            log_seconds: How far apart failures are logged.
        """
        self.max_events = max_events
        self._work = _Work(sink, log_seconds)
        self._put, self._size = self._work.queue.put, self._work.queue.qsize
        self._lock = threading.Lock()
        self._dropped = 0
        self._is_closed = False
        name = f"toolkit-sink-{_name_of(sink)}"
        threading.Thread(target=self._work.run, name=name, daemon=True).start()

    def __call__(self, event: ToolEvent) -> None:
        """Keep the event for the thread. Never blocks, never raises."""
        if self._is_closed or self._size() >= self.max_events:
            with self._lock:
                self._dropped += 1
        else:
            self._put(event)  # wakes the thread only if it waits for it

    def statistics(self) -> dict[str, int]:
        """Return counts: delivered, failed, dropped, and queued now."""
        return {
            "delivered": self._work.delivered,
            "failed": self._work.failed,
            "dropped": self._dropped,
            "queued": self._size(),
        }

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more events."""
        return self._is_closed

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the sink was told all that is queued now.

        Blocks; on an event loop use ``await asyncio.to_thread(sink.flush)``.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it was.
        """
        reached = threading.Event()
        with self._lock:
            if self._is_closed:
                reached = self._work.ended
            else:
                self._work.queue.put(reached)
                self._work.hurry.set()
        return reached.wait(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Take no more events, wait for what is queued, and let the thread end.

        Blocks like `flush`. What is not told in time is told later if the process
        lives on. Closing again waits again.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether the sink was told everything.
        """
        self._retire()
        return self._work.ended.wait(timeout)

    def _retire(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._work.queue.put(None)
                self._work.hurry.set()

    def __enter__(self) -> Self:
        """Return the sink itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Warn about a forgotten close, and let the thread end."""
        if getattr(self, "_is_closed", True):
            return
        self._retire()
        text = "a BackgroundSink was never closed; what it held may be lost"
        warnings.warn(text, ResourceWarning, stacklevel=2, source=self)


class _Work:
    """What the thread does. Knows no `BackgroundSink`, so that one can be dropped."""

    def __init__(self, sink: Sink, log_seconds: float) -> None:
        self.queue: SimpleQueue[ToolEvent | threading.Event | None] = SimpleQueue()
        self.hurry = threading.Event()
        self.ended = threading.Event()
        self.delivered = 0
        self.failed = 0
        self._sink = sink
        self._log_seconds = log_seconds
        self._log_next = 0.0
        self._unlogged = 0

    def run(self) -> None:
        """Tell everything until the end of the queue."""
        while (item := self._next()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._tell(item)
            del item  # a waiting thread keeps no user's event alive
        self.ended.set()

    def _next(self) -> ToolEvent | threading.Event | None:
        with suppress(Empty):
            return self.queue.get_nowait()
        self.hurry.wait(LINGER_SECONDS)
        self.hurry.clear()
        return self.queue.get()

    def _tell(self, event: ToolEvent) -> None:
        try:
            self._sink(event)
        except BaseException as error:  # noqa: BLE001 - the thread goes on
            self.failed += 1
            self._complain(event, error)
        else:
            self.delivered += 1

    def _complain(self, event: ToolEvent, error: BaseException) -> None:
        """Log a failure, and how many were not logged since the last one."""
        now = time.monotonic()
        if now < self._log_next:
            self._unlogged += 1
            return
        text = "event sink %r failed on %s (%d failures before it not logged)"
        logger.error(text, self._sink, event.type, self._unlogged, exc_info=error)
        self._log_next, self._unlogged = now + self._log_seconds, 0


def _name_of(sink: Sink) -> str:
    return str(getattr(sink, "__name__", type(sink).__name__))
