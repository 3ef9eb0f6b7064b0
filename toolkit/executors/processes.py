"""Tools in processes of their own, or in sandboxes: bounded, killed at the deadline.

A process serves one distribution and stays warm. Why there is none of other people's
process pools here is said in `toolkit.executors.children`.
"""

import asyncio
import threading
from dataclasses import replace
from typing import Any

from toolkit.catalog import CatalogTool
from toolkit.executors import Job
from toolkit.executors.children import Orders
from toolkit.executors.pool import Pool, Worker
from toolkit.executors.sandbox import Sandbox
from toolkit.loops import call_soon, running_loop


class ProcessExecutor:
    """Runs tools in up to `max_workers` warm processes. One for an application.

    Each process serves one distribution and runs one call at a time. This process
    imports nothing of the package: a tool is found by the name it can be imported by,
    its arguments are checked there, and JSON is all that crosses. An instance is made
    for each call and closed after it, so that no user's object stays in a process.

    At a call's deadline, or when it is given up, the process is killed with all that it
    has started; so is one that takes more memory than it may. Its other callers do not
    notice: a process has one at a time. A new one is started when there is a call for
    it, not before: a tool that hung once tends to hang again, and nobody may call.

    Calls that wait are served in turn between users. Where more distributions are
    called than there may be processes, each has one for about a second before it makes
    room for the next. Processes belong to an event loop; each loop has up to
    `max_workers`.

    Attributes:
        is_elsewhere: True; nothing runs in this process.
    """

    is_elsewhere: bool = True

    def __init__(
        self,
        *,
        max_workers: int = 4,
        memory_bytes: int = 1 << 30,
        sandbox: Sandbox | None = None,
        start_timeout: float = 10.0,
        idle_seconds: float = 300.0,
        left_out: frozenset[str] | None = frozenset(),
    ) -> None:
        """Start no process yet.

        Args:
            max_workers: Processes at most, for each event loop.
            memory_bytes: Address space that one may have; code and files that are
                mapped count as well.
            sandbox: Shuts each process in; None: it has this process's rights.
            start_timeout: Seconds for a process to start, and for it to import a tool.
            idle_seconds: Seconds without a call after which a process is ended.
            left_out: Plugins of pydantic that must not load there; None where there
                are none, see `toolkit.guards.pydantic_ready`.

        Raises:
            SandboxUnavailableError: There is to be a sandbox, and none can be made.
        """
        if sandbox is not None:
            sandbox.check()
        self.max_workers = max_workers
        self.start_timeout = start_timeout
        self.idle_seconds = idle_seconds
        self.orders = Orders(
            memory_bytes=memory_bytes, sandbox=sandbox, left_out=left_out
        )
        self._lock = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._is_closed = False
        self._counts = {"killed": 0, "crashed": 0, "started": 0}

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Start one call on the running loop, or let it wait for its turn.

        A call that is given up while it waits never starts. One that runs is killed,
        and `Job.on_end` is called when its process is gone.

        Args:
            job: The call. `Job.emit` is told parts and progress as JSON values.

        Returns:
            A future of a `Written`, or of one of the errors that `toolkit.errors` has
            for calls: `ToolWorkerError` where the process ended, `ToolUnavailableError`
            where the tool cannot be imported there or declares another name or other
            scopes than it is listed with, `ToolTimeoutError` after the deadline.

        Raises:
            RuntimeError: The executor is closed.
        """
        return self._pool().submit(job.tool, job.name, job)

    async def warm(self, tool: CatalogTool) -> None:
        """Start a process for a tool's distribution and import the tool there.

        Waits for its turn like a call. Nothing of the tool runs but its import.

        Args:
            tool: The tool; calls of others of its distribution gain as well.

        Raises:
            ToolUnavailableError: It cannot be imported there in time.
            RuntimeError: The executor is closed.
        """
        await self._pool().submit(tool, tool.name, None)

    def renew(self, left_out: frozenset[str] | None) -> None:
        """Let each process end as soon as it is idle; can be called in any thread.

        Calls that start afterwards get new ones, which import what is installed now.

        Args:
            left_out: As for the constructor.
        """
        self.orders = replace(self.orders, left_out=left_out)
        for pool in self._all_pools():
            call_soon(pool.loop, pool.renew)

    def statistics(self) -> dict[str, int]:
        """Return counts.

        Returns:
            ``workers`` there are, ``idle`` and ``busy`` ones among them (others are
            starting or ending), calls ``queued``; ``late``, always 0, because what is
            given up is killed; and since the beginning, how many were ``started``,
            ``killed`` (at a deadline, given up, hanging) and ``crashed``.
        """
        pools = self._all_pools()
        workers = [one for pool in pools for one in tuple(pool.workers)]
        return {
            "workers": len(workers),
            "idle": sum(one.is_idle for one in workers),
            "busy": sum(one.task is not None for one in workers),
            "queued": sum(pool.waiting() for pool in pools),
            "late": 0,
            **self._counts,
        }

    def close(self) -> None:
        """Take no more calls; kill all processes and wait until they are gone.

        Can be called in any thread, and again. Calls that run or wait are answered with
        `ToolCancelledError`.
        """
        with self._lock:
            self._is_closed = True
        for pool in self._all_pools():
            self._shut(pool)

    def start(self, pool: "Pool", worker: "Worker") -> None:
        """Start a worker's process, unless the executor is closed meanwhile.

        Raises:
            OSError: None can be started.
            RuntimeError: The executor is closed.
        """
        with self._lock:  # `close` sees every process, or none is started any more
            self._refuse_if_closed()
            worker.start(self.orders)
            pool.workers.add(worker)
        self.count("started")

    def count(self, what: str) -> None:
        """Count one of what `statistics` tells."""
        with self._lock:
            self._counts[what] += 1

    def _pool(self) -> "Pool":
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or self._is_closed:
            self._all_pools()
            with self._lock:
                self._refuse_if_closed()
                pool = self._pools[loop] = Pool(self, loop)
        return pool

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            text = "the process executor is closed; create a new one"
            raise RuntimeError(text)

    def _all_pools(self) -> list["Pool"]:
        """Return the pools of open loops; shut and forget those of closed ones."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            if pool.loop.is_closed():
                self._shut(pool)
        return [one for one in pools if not one.loop.is_closed()]

    def _shut(self, pool: "Pool") -> None:
        """Kill and reap a pool's processes here, then let its loop answer the calls."""
        for worker in tuple(pool.workers):
            worker.end()
        with self._lock:
            self._pools.pop(pool.loop, None)
        if not pool.loop.is_running() or running_loop() is pool.loop:
            pool.drop()
            return
        dropped = threading.Event()

        def drop() -> None:
            pool.drop()
            dropped.set()

        if call_soon(pool.loop, drop):
            dropped.wait(1.0)  # a loop that waits for this thread must not hang it
