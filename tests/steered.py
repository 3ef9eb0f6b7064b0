"""Time that passes when nothing else is to do, and steps between any two lines."""

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, TypeVar

import pytest

L = TypeVar("L", bound=asyncio.SelectorEventLoop)

BOUND = 5.0  # real seconds that a loop waits for other threads, never reached


class Clock:
    """Tells seconds that pass only when a loop has nothing to do before a timer.

    While it is held, none pass at all; whoever holds it sets `now`.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_held = False

    def __call__(self) -> float:
        return self.now


class _Skipping(selectors.SelectSelector):
    """Lets the time to the next timer pass at once; waits for other threads really."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or (timeout > 0 and self._clock.is_held):
            ready = super().select(BOUND)
            assert ready, "the loop waits for what never comes"
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            self._clock.now += timeout
        return ready


@contextmanager
def virtual_time(kind: type[L]) -> Iterator[tuple[Clock, L]]:
    """Let monotonic time be virtual, on a loop that skips all waiting for timers."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", clock)
        loop = kind(_Skipping(clock))
        try:
            yield clock, loop
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def interrupted(
    act: Callable[[], object],
    meanwhile: Callable[[], object],
    *,
    within: set[CodeType],
    at: int,
) -> bool:
    """Do `meanwhile` just before a line, as a collection or another thread may.

    Args:
        act: What is interrupted.
        meanwhile: What happens then, once.
        within: The code whose lines count.
        at: Before which of the lines that `act` comes to, from 0.

    Returns:
        Whether it came to so many lines.
    """
    left = at + 1
    before = sys.gettrace()

    def on_line(_frame: FrameType, kind: str, _argument: object) -> Any:
        nonlocal left
        if kind == "line":
            left -= 1
            if not left:
                meanwhile()
        return on_line

    def on_call(frame: FrameType, _kind: str, _argument: object) -> Any:
        return on_line if frame.f_code in within else None

    sys.settrace(on_call)
    try:
        act()
    finally:
        sys.settrace(before)
    return left <= 0
