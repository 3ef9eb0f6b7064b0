"""Asynchronous tools: on the event loop, each in a task of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from toolkit.executors import Invoke


class InlineExecutor:
    """Runs async tools on the caller's loop. Keeps each task until it ends.

    A tool that ignores its cancellation does not delay the answer to its call; its task
    runs on and is counted as late.
    """

    def __init__(self) -> None:
        """Start with no task."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def submit(self, invoke: Invoke) -> asyncio.Future[Any]:
        """Start one call on the running loop and return its task."""
        task = asyncio.ensure_future(_collect(invoke))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def statistics(self) -> dict[str, int]:
        """Return counts: running, and late among them."""
        late = sum(task.cancelling() > 0 for task in tuple(self._tasks))
        return {"running": len(self._tasks), "late": late}

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost


async def _collect(invoke: Invoke) -> Any:  # noqa: ANN401 - a tool's value
    try:
        answer = invoke()
        if isinstance(answer, AsyncIterator):
            return [part async for part in answer]
        return await answer
    except SystemExit as error:  # would end the loop, and everybody's calls with it
        text = "the tool called sys.exit()"
        raise RuntimeError(text) from error
