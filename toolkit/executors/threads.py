"""Synchronous tools: in worker threads, so that none blocks the event loop."""

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, Final

from toolkit.errors import kind_of_error
from toolkit.executors import Job
from toolkit.executors.inline import collect
from toolkit.fairness import FairQueue
from toolkit.loops import call_soon
from toolkit.tracebacks import is_error, set_cause

_SPARE: Final = 8
"""One thread of so many is kept for users who have none: they never wait for others."""


class _Work:
    """One job in this pool. Changed under the pool's lock, but for `inner`.

    `inner` is the loop and the task of an async tool that runs in a thread.
    """

    __slots__ = (
        "context",
        "future",
        "inner",
        "is_done",
        "is_given_up",
        "is_started",
        "job",
        "loop",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        given = job.context
        self.context = contextvars.copy_context() if given is None else given
        self.is_started = self.is_given_up = self.is_done = False
        self.inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for it; true at once, in any thread."""
        return not (self.future.cancelled() or self.loop.is_closed())

    def end(self) -> None:
        """Tell who asked to know that nothing of it runs any more."""
        if self.job.on_end is not None:
            self.job.on_end()


class _Worker:
    """A thread, and what it is to do next; None ends it."""

    __slots__ = ("inbox",)

    def __init__(self) -> None:
        self.inbox: SimpleQueue[_Work | None] = SimpleQueue()


class ThreadExecutor:
    """Runs sync tools in daemon threads, started as needed, in turn between users.

    The standard pool is not used: it serves whoever comes first, so that one user's
    calls hold up all others, and it joins its threads at exit, so that a tool that
    never returns keeps the process alive. Here a user has at most `max_per_user`
    threads, and the last few are kept for users who have none.

    A call is answered at its deadline; its thread cannot be stopped, is counted in
    ``late``, and serves again when the tool returns. Up to `max_late` such threads are
    replaced by new ones; further ones leave less for the others. A call whose loop is
    closed counts as given up.

    Args:
        max_threads: Threads at work at once, late ones not counted.
        max_per_user: Threads that one user may have at once, late ones counted.
        max_late: Late threads that are replaced.
    """

    is_elsewhere = False

    def __init__(
        self, max_threads: int = 32, *, max_per_user: int = 8, max_late: int = 32
    ) -> None:
        """Start no thread yet."""
        self.max_threads = max_threads
        self.max_per_user = max_per_user
        self.max_late = max_late
        self._spare = max_threads // _SPARE
        self._lock = threading.Lock()
        self._queue: FairQueue[_Work] = FairQueue()
        self._idle: list[_Worker] = []
        self._busy: Counter[str] = Counter()  # by user
        self._running: set[_Work] = set()
        self._threads = 0
        self._late = 0
        self._started = 0
        self._is_closed = False

    def statistics(self) -> dict[str, int]:
        """Return counts: threads, idle ones among them, queued calls, late calls."""
        with self._lock:
            self._count_closed()
            gone = [work for work in self._queue if work.loop.is_closed()]
            for work in gone:
                self._queue.discard(work.job.user.user_id, work)
            counts = {
                "threads": self._threads,
                "idle": len(self._idle),
                "queued": len(self._queue),
                "late": self._late,
            }
        for work in gone:
            work.end()
        return counts

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Queue one call and return its future, which belongs to the running loop.

        A call that is given up while it is queued never starts, and a stream that is
        given up is closed after the part it is at. `on_end` is called in the worker
        thread when the tool has returned; on the loop, at its next turn, when the call
        was dropped from the queue. An async tool gets a loop of its own in the thread.

        Raises:
            RuntimeError: The executor is closed, or the system has no thread for it.
        """
        work = _Work(job)
        user_id = job.user.user_id
        with self._lock:
            if self._is_closed:
                text = "the thread executor is closed; create a new tool system"
                raise RuntimeError(text)
            worker = self._worker() if self._may_have(user_id) else None
            if worker is None:
                self._queue.push(user_id, work)
                started = self._replace() if self._count_closed() else []
            else:
                self._begin(work)
                started = [(worker, work)]
        for one, its_work in started:
            one.inbox.put(its_work)
        work.future.add_done_callback(
            lambda future: self._give_up(work) if future.cancelled() else None
        )
        return work.future

    def close(self) -> None:
        """Take no more calls and let idle threads end. Queued calls still run."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._threads -= len(idle)
        for worker in idle:
            worker.inbox.put(None)

    # --- who may run; all of these hold the lock --------------------------------------

    def _free(self) -> int:
        """Count the threads that may still be put to work."""
        at_work = self._busy.total() - min(self._late, self.max_late)
        return self.max_threads - at_work

    def _may_have(self, user_id: str) -> bool:
        has = self._busy.get(user_id, 0)
        free = self._free()
        return free > 0 if not has else has < self.max_per_user and free > self._spare

    def _worker(self) -> _Worker | None:
        """Take an idle worker, or start one; there is a call that may have it.

        Returns:
            None where the system refuses a thread, but others will be free again.

        Raises:
            RuntimeError: The system refuses a thread, and there is no other.
        """
        if self._idle:
            return self._idle.pop()
        self._started += 1
        worker = _Worker()
        name = f"toolkit-tool-{self._started}"
        thread = threading.Thread(
            target=self._work, args=(worker,), name=name, daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return None
        self._threads += 1
        return worker

    def _begin(self, work: _Work) -> None:
        work.is_started = True
        self._busy[work.job.user.user_id] += 1
        self._running.add(work)

    def _whose_turn(self) -> str | None:
        """Return the next user who waits and may have a thread."""
        if not self._queue:
            return None
        return next(filter(self._may_have, self._queue.users()), None)

    def _next(self) -> _Work | None:
        """Take the next call whose user may have a thread, in turn between users."""
        user_id = self._whose_turn()
        work = None if user_id is None else self._queue.pop_of(user_id)
        if work is not None:
            self._begin(work)
        return work

    def _replace(self) -> list[tuple[_Worker, _Work]]:
        """Let others take the place of calls that count as late now."""
        started = []
        while self._whose_turn() is not None:
            worker = self._worker()
            work = None if worker is None else self._next()
            if worker is None or work is None:
                break
            started.append((worker, work))
        return started

    def _count_closed(self) -> bool:
        """Count calls as late whose loop has closed; tell whether any were not yet."""
        late = [
            work
            for work in self._running
            if not work.is_given_up and work.loop.is_closed()
        ]
        for work in late:
            work.is_given_up = True
        self._late += len(late)
        return bool(late)

    def _end(self, work: _Work) -> None:
        self._running.discard(work)
        user_id = work.job.user.user_id
        self._busy[user_id] -= 1
        if not self._busy[user_id]:
            del self._busy[user_id]
        self._late -= work.is_given_up

    # --- running ----------------------------------------------------------------------

    def _give_up(self, work: _Work) -> None:
        """Drop a call from the queue, or count its thread as late; on its loop."""
        started: list[tuple[_Worker, _Work]] = []
        with self._lock:
            if work.is_started:
                work.is_given_up = not work.is_done
                self._late += work.is_given_up
                started = self._replace()
            else:
                self._queue.discard(work.job.user.user_id, work)
        for worker, following in started:
            worker.inbox.put(following)
        if not work.is_started:
            work.end()
        elif work.inner is not None:
            loop, task = work.inner
            call_soon(loop, task.cancel)

    def _work(self, worker: _Worker) -> None:
        inbox = worker.inbox
        work = inbox.get()
        while work is not None:
            value, error = _outcome(work)
            following, is_over = self._finish(worker, work)
            work.end()  # first, so that the caller's next call finds the place free
            call_soon(work.loop, _settle, work.future, value, error)
            del work, value, error  # an idle thread keeps no user's object alive
            if is_over:
                return
            work = following or inbox.get()
            following = None

    def _finish(self, worker: _Worker, work: _Work) -> tuple[_Work | None, bool]:
        """Count a call as ended; return the next one, and whether the thread ends."""
        with self._lock:
            work.is_done = True
            self._end(work)
            following = self._next()
            if following is not None:
                return following, False
            too_many = self._threads - min(self._late, self.max_late) > self.max_threads
            if self._is_closed or too_many:
                self._threads -= 1
                return None, True
            self._idle.append(worker)
            return None, False


def _outcome(work: _Work) -> tuple[object, BaseException | None]:
    try:
        return work.context.run(_run, work) if work.is_wanted else None, None
    except BaseException as raised:  # noqa: BLE001 - handed to the caller, whatever it is
        return None, raised


def _run(work: _Work) -> Any:  # noqa: ANN401 - a tool's value
    job = work.job
    answer = job.invoke()
    if job.is_async:
        return _run_async(work, answer)
    if not isinstance(answer, Iterator):
        return answer
    parts = []
    for part in answer:
        if not work.is_wanted:  # it might never end, and fill the memory
            _close(answer)
            return None
        parts.append(part)
        if job.emit is not None:
            job.emit("part", part)
    return parts


def _run_async(work: _Work, answer: Any) -> Any:  # noqa: ANN401 - a tool's value
    """Run an async tool on a loop of this thread's own, and end it when given up."""

    async def main() -> Any:  # noqa: ANN401 - a tool's value
        task = asyncio.ensure_future(collect(answer, work.job.emit))
        work.inner = (asyncio.get_running_loop(), task)
        if not work.is_wanted:
            _close(answer)  # it never starts
            task.cancel()
        return await task

    return asyncio.run(main())


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
    elif is_error(error, (StopIteration, GeneratorExit)):  # no future can carry it
        wrapped = RuntimeError(f"the tool raised {kind_of_error(error)}")
        set_cause(wrapped, error)
        future.set_exception(wrapped)
    else:
        future.set_exception(error)
