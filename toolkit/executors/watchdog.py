"""Who blocks an event loop: found from outside, so that it costs a call nothing."""

import asyncio
import logging
import sys
import threading
import traceback
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Final

logger = logging.getLogger(__name__)

BLOCKED_SECONDS: Final = 0.05
"""A tool that keeps the loop for longer is named; people notice about twice that."""

MAX_NAMES: Final = 100
"""Tools counted by name; further ones are logged only."""

MAX_TOLD: Final = 100
"""Calls that are not named again; far more than can block loops at the same time."""

Step = tuple[str, str, int]
"""A tool's name, the id of its call, and which of the call's steps it is in."""

Who = Callable[[FrameType], Step | None]
"""Reads from a frame which tool runs in it."""


class Watchdog:
    """Looks at the loops' threads every `BLOCKED_SECONDS`, from a thread of its own.

    A tool is named when it is found in the same step twice in a row, once for each
    call. Suspended calls are on no thread's stack, so only what really keeps a loop is
    found. The thread ends with the loops it watches, or when this object is dropped.

    Args:
        whose: How to tell, by the code objects in which tools are run.
    """

    def __init__(self, whose: Mapping[CodeType, Who]) -> None:
        """Watch nothing yet."""
        self._whose = dict(whose)
        self._lock = threading.Lock()
        self._loops: dict[weakref.ref[asyncio.AbstractEventLoop], int] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._blocks: Counter[str] = Counter()
        self._told = deque[str](maxlen=MAX_TOLD)

    def add(self, code: CodeType, who: Who) -> None:
        """Look for another code object as well; the same one again changes nothing."""
        with self._lock:
            self._whose = {**self._whose, code: who}

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the loop that runs in this thread, until it is closed."""
        with self._lock:
            self._loops[weakref.ref(loop)] = threading.get_ident()
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(
                    target=_look_again_and_again,
                    args=(weakref.ref(self), self._stop),
                    name="toolkit-watchdog",
                    daemon=True,
                )
                self._thread.start()

    def blocks(self) -> dict[str, int]:
        """Return how often each tool was found to block a loop."""
        with self._lock:
            return dict(self._blocks)

    def close(self) -> None:
        """Let the thread end."""
        self._stop.set()

    def look(self, before: Mapping[int, Step]) -> dict[int, Step] | None:
        """Look once; name who is where they were before.

        Args:
            before: What the last look returned.

        Returns:
            The step that each watched thread is in; None when no loop is left.
        """
        idents = self._watched()
        if not idents:
            return None
        frames = sys._current_frames()  # noqa: SLF001 - documented for this purpose
        now: dict[int, Step] = {}
        try:
            for ident in idents & frames.keys():
                step = self._find(frames[ident])
                if step is not None:
                    now[ident] = step
                    if step == before.get(ident) and step[1] not in self._told:
                        self._told.append(step[1])
                        self._tell(step[0], frames[ident])
        finally:
            frames.clear()  # this frame is among them: else all they know stays alive
        return now

    def _watched(self) -> set[int]:
        """Return the threads of the loops that are left."""
        with self._lock:
            for ref in tuple(self._loops):
                loop = ref()
                if loop is None or loop.is_closed():
                    del self._loops[ref]
            if not self._loops:
                self._thread = None
            return set(self._loops.values())

    def _find(self, frame: FrameType | None) -> Step | None:
        while frame is not None:
            who = self._whose.get(frame.f_code)
            found = None if who is None else who(frame)
            if found is not None:
                return found
            frame = frame.f_back
        return None

    def _tell(self, name: str, frame: FrameType) -> None:
        with self._lock:
            if name in self._blocks or len(self._blocks) < MAX_NAMES:
                self._blocks[name] += 1
        stack = "".join(traceback.format_stack(frame, limit=6))
        text = (
            "tool %r blocks the event loop for more than %g ms; let it await, or "
            "choose threads for it (setting executors). It is at:\n%s"
        )
        logger.warning(text, name, BLOCKED_SECONDS * 1000, stack)


def _look_again_and_again(
    watchdog: "weakref.ref[Watchdog]", stop: threading.Event
) -> None:
    """Keep no watchdog alive: the thread ends soon after it is dropped."""
    before: dict[int, Step] = {}
    while not stop.wait(BLOCKED_SECONDS):
        mine = watchdog()
        if mine is None:
            return
        try:
            found = mine.look(before)
        except Exception:
            logger.exception("the watchdog could not look")
            found = {}
        if found is None:
            return
        before = found
        del mine
