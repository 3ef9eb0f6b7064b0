"""Asynchronous tools: on the event loop of whoever calls."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from inspect import isawaitable
from types import CodeType, FrameType
from typing import Any

from toolkit.errors import kind_of_error
from toolkit.executors import Emit, Job
from toolkit.executors.call_task import STEP, CallTask
from toolkit.executors.deadlines import Deadlines
from toolkit.executors.watchdog import Step, Watchdog, Who
from toolkit.tracebacks import is_error


class LoopPart:
    """What the inline executor keeps for one loop. Used in that loop's thread only.

    Attributes:
        loop: The loop.
        deadlines: Of the calls that wait on it.
        running: The loop's tasks in which calls run that are no plain coroutines.
        late: The loop's tasks in which calls run on that were given up.
    """

    __slots__ = ("deadlines", "late", "loop", "running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start with nothing."""
        self.loop = loop
        self.deadlines = Deadlines(loop)
        self.running: set[asyncio.Task[Any]] = set()
        self.late: set[asyncio.Task[Any]] = set()

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep the task of a call that was given up until it ends."""
        self.late.add(task)
        task.add_done_callback(self._forget)

    def run(self, task: asyncio.Task[Any]) -> asyncio.Future[Any]:
        """Keep a task until it ends.

        Returns:
            A future of what it answers. Cancelling it cancels the task and does not
            wait for it.
        """
        future: asyncio.Future[Any] = self.loop.create_future()

        def give_up(_: object) -> None:
            if not task.done():
                task.cancel()
                self.keep(task)

        def settle(_: object) -> None:
            self._forget(task)
            if not future.done():
                _settle(future, task)

        self.running.add(task)
        task.add_done_callback(settle)
        future.add_done_callback(give_up)
        return future

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        self.late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost


class InlineExecutor:
    """Runs async tools on the caller's loop, within the caller's task.

    A tool that is given up and ignores it does not delay the answer to its call; it
    runs on in a task of the loop and is counted as late. One that blocks the loop is
    named by a watchdog, in the log and in `statistics`.
    """

    is_elsewhere = False

    def __init__(self) -> None:
        """Start with no loop."""
        self._parts: dict[asyncio.AbstractEventLoop, LoopPart] = {}
        self._watchdog = Watchdog({STEP: _step_of})

    def watch_code(self, code: CodeType, who: Who) -> None:
        """Let the watchdog know of another function in which tools are run."""
        self._watchdog.add(code, who)

    def here(self) -> LoopPart:
        """Return what there is for the running loop.

        Raises:
            RuntimeError: No loop runs here.
        """
        loop = asyncio.get_running_loop()
        part = self._parts.get(loop)
        if part is None:
            self.forget_closed_loops()
            part = self._parts.setdefault(loop, LoopPart(loop))
            self._watchdog.watch(loop)
        return part

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Start one call in a task of its own; for what is no plain coroutine.

        `on_end` is called on the loop when the task is done, also when that is long
        after its cancellation.
        """
        part = self.here()
        answer = collect(job.invoke(), job.emit)
        task = part.loop.create_task(answer, context=job.context)
        on_end = job.on_end
        if on_end is not None:  # first: before whoever awaits the future goes on
            task.add_done_callback(lambda _task: on_end())
        return part.run(task)

    def statistics(self) -> dict[str, int]:
        """Return counts: late calls, and how often a tool blocked a loop."""
        self.forget_closed_loops()
        parts = tuple(self._parts.copy().values())
        late = [task for part in parts for task in tuple(part.late) if not task.done()]
        return {"late": len(late), "blocked": sum(self._watchdog.blocks().values())}

    def blocks(self) -> dict[str, int]:
        """Return how often each tool was found to block a loop, by the name used."""
        return self._watchdog.blocks()

    def forget_closed_loops(self) -> None:
        """Keep nothing for loops that are closed, so that what was in them can end."""
        for loop in tuple(self._parts):
            if loop.is_closed():
                self._parts.pop(loop, None)

    def close(self) -> None:
        """Let the watchdog end. Running calls go on."""
        self._watchdog.close()


def _settle(future: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
    """Hand on how a task ended."""
    if task.cancelled():
        future.cancel()
        return
    error = task.exception()
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)
        future.exception()  # looked at: nobody may wait any more


def _step_of(frame: FrameType) -> Step | None:
    task = frame.f_locals.get("self")
    if type(task) is not CallTask:
        return None
    return *task.label, task.steps


async def collect(answer: Any, emit: Emit | None = None) -> Any:  # noqa: ANN401 - a tool's value
    """Await what a tool answered with; of a stream, gather the parts into a list.

    A plain stream that is no coroutine in disguise gives way to others at each part.

    Raises:
        RuntimeError: It raised SystemExit, or a KeyboardInterrupt that is no key press:
            neither ends the loop. Or GeneratorExit, which would end who awaits it.
        KeyboardInterrupt: The user interrupts.
        GeneratorExit: It is closed from outside.
        SystemExit: Never; see above.
        BaseException: Whatever else the tool raises.
    """
    task = _current_task()
    try:
        if isinstance(answer, Iterator) and not isawaitable(answer):
            answer = _each(answer)
        if isinstance(answer, AsyncIterator):
            return await _parts(answer, emit)
        return await answer
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        is_closed = is_error(error, GeneratorExit) and _current_task() is not task
        if is_closed or is_key_press(error):
            raise
        text = f"the tool raised {kind_of_error(error)}"
        raise RuntimeError(text) from error


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs: a coroutine that was left is being closed
        return None


async def _each(stream: Iterator[Any]) -> AsyncIterator[Any]:
    try:
        for part in stream:
            yield part
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


async def _parts(stream: AsyncIterator[Any], emit: Emit | None) -> list[Any]:
    """Gather a stream's parts; close it when it is given up on the way."""
    parts = []
    try:
        async for part in stream:
            parts.append(part)
            if emit is not None:
                emit("part", part)
            await asyncio.sleep(0)  # a stream that never waits can still be cancelled
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return parts


def is_key_press(error: BaseException) -> bool:
    """Tell whether Ctrl-C raised it; a loop runner that handles it does so itself."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    return is_error(error, KeyboardInterrupt) and is_default and is_main
