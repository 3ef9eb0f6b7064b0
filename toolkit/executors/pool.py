"""The worker processes of one event loop: who waits, who runs, who makes room."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol, cast

from toolkit.catalog import CatalogTool
from toolkit.errors import (
    InvalidArgumentsError,
    ToolCancelledError,
    ToolResultError,
    ToolWorkerError,
    kind_of_error,
)
from toolkit.executors import Job, Written
from toolkit.executors.children import Child, Orders
from toolkit.executors.crossing import (
    NO_IDENTITY,
    Declared,
    Key,
    Place,
    Task,
    call_frame,
    drift,
    error_of,
    importable_name,
    load_frame,
    log_text,
    log_trace,
    tell,
)
from toolkit.executors.deadlines import Deadlines
from toolkit.executors.frames import MAX_BODY_BYTES, Frame
from toolkit.fairness import FairQueue

logger = logging.getLogger(__name__)

_MAX_PLACES: Final = 4096  # tools whose names are remembered
_TURN_SECONDS: Final = 1.0  # a process serves at least so long before it makes room


class Owner(Protocol):
    """What a pool belongs to. Lives at least as long.

    Attributes:
        max_workers: Processes at most.
        start_timeout: Seconds to start, and to import a tool.
        idle_seconds: Seconds without a call that a process is kept.
        orders: What each process is told at its start.
    """

    max_workers: int
    start_timeout: float
    idle_seconds: float
    orders: Orders

    def start(self, pool: "Pool", worker: "Worker") -> None:
        """Start a worker's process and add it to its pool."""
        ...

    def count(self, what: str) -> None:
        """Count what happened to a process."""
        ...


class Worker:
    """One process of a pool: what it serves, what it knows, and what it does now."""

    def __init__(self, pool: "Pool", key: Key) -> None:
        self.key = key
        self.task: Task | None = None
        self.known: dict[Place, Declared] = {}
        self.tasks = 0
        self.is_ready = self.is_ending = self.is_old = False
        self.since = self.idle_since = pool.loop.time()
        self.timer: asyncio.TimerHandle | None = None
        self._pool = pool
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """Its process."""
        return cast("Child", self._child)

    @property
    def is_starting(self) -> bool:
        """Whether it will be ready soon."""
        return not self.is_ready and not self.is_ending

    @property
    def is_idle(self) -> bool:
        """Whether it can take a call."""
        return self.is_ready and self.task is None and not self.is_ending

    def start(self, orders: Orders) -> None:
        """Start its process."""
        hear, gone = partial(self._pool.hear, self), partial(self._pool.gone, self)
        self._child = Child(self._pool.loop, orders, hear, gone)

    def limit(self, seconds: float, detail: str) -> None:
        """Kill it unless it gets on within some seconds."""
        self.unlimit()
        loop = self._pool.loop
        self.timer = loop.call_later(seconds, self._pool.kill, self, detail)

    def unlimit(self) -> None:
        """Note that it got on."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def end(self) -> None:
        """Kill it and wait until it is gone; in any thread."""
        self.is_ending = True
        task = self.task
        if task is not None and task.failure is None:
            task.failure = _closed(task)
        self.child.end()


class Pool:
    """The processes of one event loop. All of it runs on that loop."""

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.workers: set[Worker] = set()
        self._owner = owner
        self._lines: dict[Key, FairQueue[Task]] = {}
        self._places: dict[CatalogTool, Place] = {}
        self._deadlines = Deadlines(loop)

    def waiting(self) -> int:
        """Return how many calls wait."""
        return sum(map(len, self._lines.copy().values()))

    # --- calls ----------------------------------------------------------------------

    def submit(
        self, tool: CatalogTool, name: str, job: Job | None
    ) -> asyncio.Future[Any]:
        """Take one call, or a tool to be made ready."""
        future: asyncio.Future[Any] = self.loop.create_future()
        task = Task(
            tool=tool,
            name=name,
            user_id="" if job is None else job.user.user_id,
            job=job,
            future=future,
            place=self._place_of(tool),
            key=(tool.origin.owner, tool.origin.version),
            deadline=None if job is None else job.deadline,
            deadlines=self._deadlines,
            give_up=self._stop,
        )
        if not task.place[0]:
            task.finish(None, task.unavailable(NO_IDENTITY))
            return future
        future.add_done_callback(partial(self._given_up, task))
        self._deadlines.watch(task)
        self._put(task)
        return future

    def _place_of(self, tool: CatalogTool) -> Place:
        """Return what a process has to import; remembered where it can."""
        place = self._places.get(tool)
        if place is None:
            place = importable_name(tool), tool.method
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()  # most are of catalogs that are no more used
            if place[0]:  # what has a name there is no user's own object
                self._places[tool] = place
        return place

    def _put(self, task: Task) -> None:
        line = self._lines.get(task.key)
        worker = self._idle_one(task.key) if line is None else None
        if worker is not None:
            self._assign(worker, task)
            return
        if line is None:
            line = self._lines[task.key] = FairQueue()
        line.push(task.user_id, task)
        self._pump()

    def _next(self, key: Key) -> Task | None:
        """Take who is next in a line; its distribution's turn comes last then."""
        line = self._lines.pop(key)
        task = line.pop()
        if line:
            self._lines[key] = line
        return task

    def _given_up(self, task: Task, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._stop(task, ToolCancelledError(task.name, "its caller gave it up"))

    def _stop(self, task: Task, error: Exception) -> None:
        """End a call: out of the line, or with the process that runs it."""
        if task.is_over:
            return
        worker = next((one for one in self.workers if one.task is task), None)
        if worker is not None:
            task.failure = task.failure or error
            self.kill(worker)
            return
        line = self._lines.get(task.key)
        if line is not None and line.discard(task.user_id, task) and not line:
            del self._lines[task.key]
        task.finish(None, error)

    # --- processes ------------------------------------------------------------------

    def _pump(self) -> None:
        """Give what waits to who is idle, and start or end processes for the rest."""
        for key in tuple(self._lines):
            while key in self._lines and (worker := self._idle_one(key)):
                self._assign(worker, self._next(key))
        for key in tuple(self._lines):
            line = self._lines.get(key, ())
            coming = sum(one.key == key and one.is_starting for one in self.workers)
            for _ in range(len(line) - coming):
                if not self._has_room(key) or not self._start(key):
                    break

    def _idle_one(self, key: Key) -> Worker | None:
        """Return the idle worker of a distribution that was busy last."""
        best = None
        for one in self.workers:
            is_later = best is None or one.idle_since > best.idle_since
            if one.is_idle and one.key == key and is_later:
                best = one
        return best

    def _has_room(self, key: Key) -> bool:
        """Tell whether one more may start; where none may, make room for a newcomer."""
        if len(self.workers) < self._owner.max_workers:
            return True
        is_coming = any(one.is_ending for one in self.workers)
        if not is_coming and not any(one.key == key for one in self.workers):
            idle = [one for one in self.workers if one.is_idle]
            if idle:
                self._retire(min(idle, key=lambda one: one.idle_since))
        return False

    def _start(self, key: Key) -> bool:
        """Start a process; where none can be, whoever is next in line is told."""
        worker = Worker(self, key)
        try:
            self._owner.start(self, worker)
        except RuntimeError:  # the executor is being closed, which answers them
            return False
        except OSError as error:
            logger.exception("no worker process can be started")
            task = self._next(key)
            if task is not None:
                detail = f"no process can be started: {kind_of_error(error)}"
                task.finish(None, task.unavailable(detail))
            return key in self._lines
        seconds = self._owner.start_timeout
        worker.limit(seconds, f"its process did not start within {seconds:g} s")
        return True

    def _retire(self, worker: Worker) -> None:
        worker.is_ending = True
        worker.child.kill("it was not needed any more")

    def kill(self, worker: Worker, detail: str = "") -> None:
        """Kill a process that has not kept to its bounds."""
        if not worker.is_ending:
            worker.is_ending = True
            self._owner.count("killed")
            worker.child.kill(detail or "it was killed")

    def renew(self) -> None:
        """Let every process end when it is idle."""
        for worker in tuple(self.workers):
            worker.is_old = True
            if worker.is_idle:
                self._retire(worker)

    def drop(self) -> None:
        """Answer what waits and what ran; the processes are gone."""
        tasks = [one.task for one in self.workers if one.task is not None]
        for line in self._lines.values():
            while (waiting := line.pop()) is not None:
                tasks.append(waiting)
        self._lines.clear()
        for worker in self.workers:
            worker.unlimit()
            worker.child.close()
        self.workers.clear()
        for task in tasks:
            task.finish(None, task.failure or _closed(task))

    def _free(self, worker: Worker) -> None:
        """Let a worker that has ended its call take another, or make room."""
        worker.task = None
        now = worker.idle_since = self.loop.time()
        if worker.is_ending:
            return
        if worker.is_old or self._must_make_room(worker, now):
            self._retire(worker)
            return
        if worker.timer is None:
            seconds = self._owner.idle_seconds
            worker.timer = self.loop.call_later(seconds, self._look, worker)
        if self._lines:
            self._pump()

    def _must_make_room(self, worker: Worker, now: float) -> bool:
        """Tell whether a distribution waits that has no process and can get none."""
        if not self._lines or len(self.workers) < self._owner.max_workers:
            return False
        served = {one.key for one in self.workers}
        starving = any(key not in served for key in self._lines)
        return starving and now - worker.since >= _TURN_SECONDS

    def _look(self, worker: Worker) -> None:
        """End a worker that has been idle for long."""
        worker.timer = None
        left = worker.idle_since + self._owner.idle_seconds - self.loop.time()
        if worker.is_idle and left <= 0:
            self._retire(worker)
        elif worker.is_idle:
            worker.timer = self.loop.call_later(left, self._look, worker)

    def gone(self, worker: Worker) -> None:
        """Note that a process has ended; tell whoever waited for it."""
        worker.unlimit()
        self.workers.discard(worker)
        if not worker.is_ending:
            self._owner.count("crashed")
        task, worker.task = worker.task, None
        if task is None and not worker.is_ready and not worker.is_old:
            task = self._next(worker.key) if worker.key in self._lines else None
            if task is not None:
                how = worker.child.detail
                if not worker.is_ending:
                    how = f"its process ended before it was ready: {how}"
                task.failure = task.unavailable(how)
        if task is not None:
            self._lose(task, worker)
        self._pump()

    def _lose(self, task: Task, worker: Worker) -> None:
        detail = worker.child.detail
        if task.failure is None and task.place not in worker.known:
            if not worker.is_ending:
                detail = f"importing it ended the process: {detail}"
            task.failure = task.unavailable(detail)
        if detail.endswith("(SIGKILL)"):
            detail = f"{detail}; {self._bound()}"
        task.finish(None, task.failure or ToolWorkerError(task.name, detail))

    def _bound(self) -> str:
        return f"it may have {self._owner.orders.memory_bytes} bytes of memory"

    # --- frames ---------------------------------------------------------------------

    def _assign(self, worker: Worker, task: Task | None) -> None:
        """Give a worker its next call; a tool that is new to it is imported first."""
        if task is None:  # pragma: no cover - a line that is there is not empty
            return
        worker.task = task
        worker.tasks += 1
        if task.place in worker.known:
            self._begin(worker, task)
            return
        seconds = self._owner.start_timeout
        worker.limit(seconds, f"importing it did not end within {seconds:g} s")
        worker.child.send(load_frame(task))

    def _begin(self, worker: Worker, task: Task) -> None:
        """Send a call whose tool is what it was listed as."""
        changed = drift(task.tool, worker.known[task.place])
        if changed and worker.tasks > 1 and not task.is_second_try:
            self._try_elsewhere(worker, task)
        elif changed:
            task.finish(None, task.unavailable(changed))
            self._free(worker)
        elif task.job is None:
            task.finish(None)
            self._free(worker)
        else:
            try:
                worker.child.send(call_frame(task, task.job))
            except (ValueError, TypeError, RecursionError) as error:
                why = f"sending them failed with {kind_of_error(error)}"
                fault = InvalidArgumentsError(task.name, [("", why)])
                task.finish(None, fault)
                self._free(worker)

    def _try_elsewhere(self, worker: Worker, task: Task) -> None:
        """Let a fresh process say what the code declares now."""
        task.is_second_try, worker.task = True, None
        self._retire(worker)
        self._put(task)

    def hear(self, worker: Worker, frame: Frame) -> None:
        """Take what a worker says."""
        head = frame[0]
        kind, task = head["is"], worker.task
        if kind == "log":
            log_text(task, head)
        elif kind == "ready" and not worker.is_ready:
            worker.is_ready = True
            worker.unlimit()
            self._free(worker)
        elif task is None or worker.is_ending:
            return  # from a thread that a tool has left behind
        elif task.place not in worker.known:
            self._hear_of_import(worker, task, head)
        elif task.job is None or head.get("call") != task.job.call_id:
            return  # of a call before: it may be another user's
        elif kind in ("start", "part", "progress"):
            self._pass_on(task, frame)
        else:
            self._answer(worker, task, kind, frame)

    def _hear_of_import(
        self, worker: Worker, task: Task, head: Mapping[str, Any]
    ) -> None:
        if head["is"] == "loaded":
            worker.unlimit()
            worker.known[task.place] = (str(head["name"]), frozenset(head["scopes"]))
            self._begin(worker, task)
        elif head["is"] == "unloadable":
            worker.unlimit()
            worker.is_old = True  # half of its modules may be there
            logger.error("%s cannot be loaded\n%s", task.tool.origin, head["trace"])
            task.finish(None, task.unavailable(str(head["why"])))
            self._free(worker)

    def _pass_on(self, task: Task, frame: Frame) -> None:
        """Tell what a call says; more than a result may have never ends well."""
        head, body = frame
        task.said += len(body)
        if task.said > MAX_BODY_BYTES:
            detail = f"it says more than {MAX_BODY_BYTES >> 20} MiB meanwhile"
            self._stop(task, ToolResultError(task.name, detail))
        else:
            tell(task, head, body)

    def _answer(
        self,
        worker: Worker,
        task: Task,
        kind: str,
        frame: Frame,
    ) -> None:
        head, body = frame
        if kind == "result":
            task.finish(Written(body))
        elif head["kind"] == "memory":
            log_trace(task, head)
            worker.is_old = True
            task.finish(None, ToolWorkerError(task.name, self._bound()))
        else:
            task.finish(None, error_of(task, head))
        self._free(worker)


def _closed(task: Task) -> ToolCancelledError:
    return ToolCancelledError(task.name, "the executor was closed")
