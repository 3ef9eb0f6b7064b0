"""Synchronous tools: in worker threads, so that none blocks the event loop."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from toolkit.executors import Invoke, OnEnd


@dataclass(slots=True, eq=False)
class _Job:
    invoke: Invoke
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    on_end: OnEnd | None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    is_started: bool = False
    is_finished: bool = False
    is_abandoned: bool = False

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for it; true at once, in any thread."""
        return self.future.cancelled() or self.loop.is_closed()

    def end(self) -> None:
        """Tell who asked to know that nothing of it runs any more."""
        if self.on_end is not None:
            self.on_end()


class ThreadExecutor:
    """Runs sync tools in up to `max_threads` daemon threads, started as needed.

    The standard pool is not used, because it joins its threads at exit: one tool that
    never returns would keep the process alive. A call is answered at its deadline; its
    thread cannot be stopped, is counted in `late`, and serves again when it returns.
    """

    def __init__(self, max_threads: int = 32) -> None:
        """Start no thread yet."""
        self.max_threads = max_threads
        self._changed = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._threads = 0
        self._idle = 0
        self._late = 0
        self._is_closed = False

    def statistics(self) -> dict[str, int]:
        """Return counts: threads, idle ones among them, queued calls, late calls."""
        with self._changed:
            return {
                "threads": self._threads,
                "idle": self._idle,
                "queued": len(self._queue),
                "late": self._late,
            }

    def submit(
        self, invoke: Invoke, on_end: OnEnd | None = None
    ) -> asyncio.Future[Any]:
        """Queue one call and return its future, which belongs to the running loop.

        A call that is given up while it is queued never starts, and a stream that is
        given up is closed after the part it is at. `on_end` is called in the worker
        thread when the tool has returned; on the loop, at its next turn, when the call
        was dropped from the queue.

        Raises:
            RuntimeError: The executor is closed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(invoke, loop, loop.create_future(), on_end)
        self._enqueue(job)
        job.future.add_done_callback(
            lambda future: self._abandon(job) if future.cancelled() else None
        )
        return job.future

    def close(self) -> None:
        """Take no more calls and let idle threads end. Queued calls still run."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _enqueue(self, job: _Job) -> None:
        with self._changed:
            if self._is_closed:
                text = "the thread executor is closed; create a new tool system"
                raise RuntimeError(text)
            self._queue.append(job)
            needed = len(self._queue) > self._idle
            if needed and self._threads < self.max_threads:
                self._threads += 1
                name = f"toolkit-tool-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            else:
                self._changed.notify()

    def _abandon(self, job: _Job) -> None:
        with self._changed:
            job.is_abandoned = True
            if job.is_started:
                self._late += not job.is_finished
                return
            self._queue.remove(job)
        job.end()

    def _work(self) -> None:
        while (job := self._take()) is not None:
            self._run(job)
            del job  # an idle thread keeps no user's object alive

    def _run(self, job: _Job) -> None:
        """Run a job in this thread and hand its outcome to its loop."""
        value, error = _outcome(job)
        self._finish(job)
        job.end()  # first, so that the caller's next call finds the place free
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            job.loop.call_soon_threadsafe(_settle, job.future, value, error)

    def _take(self) -> _Job | None:
        with self._changed:
            self._idle += 1
            while not self._queue and not self._is_closed:
                self._changed.wait()
            self._idle -= 1
            if not self._queue:
                self._threads -= 1
                return None
            job = self._queue.popleft()
            job.is_started = True
            return job

    def _finish(self, job: _Job) -> None:
        with self._changed:
            job.is_finished = True
            if job.is_abandoned:
                self._late -= 1


def _outcome(job: _Job) -> tuple[object, BaseException | None]:
    try:
        return None if job.is_given_up else job.context.run(_collect, job), None
    except BaseException as raised:  # noqa: BLE001 - handed to the caller, whatever it is
        return None, raised


def _collect(job: _Job) -> Any:  # noqa: ANN401 - a tool's value
    answer = job.invoke()
    if not isinstance(answer, Iterator):
        return answer
    parts = []
    for part in answer:
        if job.is_given_up:  # it might never end, and fill the memory
            _close(answer)
            return None
        parts.append(part)
    return parts


def _close(stream: object) -> None:
    close = getattr(stream, "close", None)  # generators have it, other iterators may
    if callable(close):
        close()


def _settle(
    future: asyncio.Future[Any], value: object, error: BaseException | None
) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):  # a future cannot carry it
        wrapped = RuntimeError("the tool raised StopIteration")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
    else:
        future.set_exception(error)
