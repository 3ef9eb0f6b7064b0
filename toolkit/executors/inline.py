"""Asynchronous tools: on the event loop, each in a task of its own."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

from toolkit.executors import Invoke, OnEnd


class InlineExecutor:
    """Runs async tools on the caller's loop. Keeps each task until it ends.

    A tool that ignores its cancellation does not delay the answer to its call; its task
    runs on and is counted as late.
    """

    def __init__(self) -> None:
        """Start with no task."""
        self._tasks: dict[asyncio.AbstractEventLoop, set[asyncio.Task[Any]]] = {}

    def submit(
        self, invoke: Invoke, on_end: OnEnd | None = None
    ) -> asyncio.Future[Any]:
        """Start one call on the running loop and return its task.

        `on_end` is called on the loop when the task is done, also when that is long
        after its cancellation.
        """
        self._forget_closed_loops()
        task = asyncio.ensure_future(_collect(invoke))
        # One set for each loop: only that loop's thread changes it.
        self._tasks.setdefault(task.get_loop(), set()).add(task)
        task.add_done_callback(self._forget)
        if on_end is not None:
            task.add_done_callback(lambda _task: on_end())
        return task

    def statistics(self) -> dict[str, int]:
        """Return counts: running, and late among them."""
        self._forget_closed_loops()
        live = [task for tasks in tuple(self._tasks.values()) for task in tuple(tasks)]
        late = sum(task.cancelling() > 0 for task in live)
        return {"running": len(live), "late": late}

    def _forget_closed_loops(self) -> None:
        for loop in tuple(self._tasks):
            if loop.is_closed():
                self._tasks.pop(loop, None)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.get(task.get_loop(), set()).discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost


async def _collect(invoke: Invoke) -> Any:  # noqa: ANN401 - a tool's value
    try:
        answer = invoke()
        if isinstance(answer, AsyncIterator):
            return await _parts(answer)
        return await answer
    except (SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and _may_be_a_key_press():
            raise
        # It would end the loop, and everybody's calls with it.
        text = f"the tool raised {type(error).__name__}"
        raise RuntimeError(text) from error


async def _parts(stream: AsyncIterator[Any]) -> list[Any]:
    """Gather a stream's parts; close it when it is given up on the way."""
    parts = []
    try:
        async for part in stream:
            parts.append(part)
            await asyncio.sleep(0)  # a stream that never waits can still be cancelled
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return parts


def _may_be_a_key_press() -> bool:
    """Tell whether Ctrl-C raises here; a loop runner that handles it does so itself."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return is_default and threading.current_thread() is threading.main_thread()
