"""Which executor runs which tool: the operator's choice, made in one place."""

import os
import threading
from collections.abc import Mapping
from itertools import count
from secrets import token_hex
from typing import Final

from packaging.utils import canonicalize_name

from toolkit.catalog import ListedTool
from toolkit.errors import ConfigurationError
from toolkit.executors import Executor
from toolkit.executors.inline import InlineExecutor
from toolkit.executors.processes import ProcessExecutor
from toolkit.executors.sandbox import Sandbox
from toolkit.executors.threads import ThreadExecutor
from toolkit.naming import comparable
from toolkit.settings import ExecutorName, Settings

_ELSEWHERE: Final = frozenset({"process", "sandbox"})


class Executors:
    """The executors of a process. Made once and shared by all users; close it.

    Worker processes are started when the first call needs one. Where the operator has
    chosen the sandbox for anything, it is tried at once, so that a service that cannot
    have one does not start.

    Attributes:
        inline: Runs async tools on the event loop.
        threads: Runs sync tools in worker threads.

    Args:
        settings: How many threads and processes, and which tool runs where.
        left_out: Plugins of pydantic that must not load in a worker process.

    Raises:
        SandboxUnavailableError: A sandbox is chosen, and cannot be made here.
    """

    def __init__(
        self, settings: Settings, *, left_out: frozenset[str] | None = frozenset()
    ) -> None:
        """Start nothing yet."""
        self.inline = InlineExecutor()
        self.threads = ThreadExecutor(
            settings.max_threads,
            max_per_user=settings.max_threads_per_user,
            max_late=settings.max_late_threads,
        )
        self._left_out = left_out
        self._workers = (settings.max_workers, settings.worker_memory_bytes)
        self._lock = threading.Lock()
        self._pools: dict[str, ProcessExecutor] = {}
        self._is_closed = False
        self._process = token_hex(8)
        self._names = count(1)
        self.check(settings)

    def check(self, settings: Settings) -> None:
        """Make sure that what the settings choose can be had here.

        Raises:
            SandboxUnavailableError: A sandbox is chosen, and cannot be made here.
        """
        if "sandbox" in settings.executors.values():
            Sandbox().check()

    def unique_name(self) -> str:
        """Return what names one user's system or begins its call ids; never twice.

        Chance tells processes apart, and the process id those that came of one by a
        fork.
        """
        return f"{self._process}{os.getpid():x}-{next(self._names):x}"

    def named(self, name: ExecutorName) -> Executor:
        """Return the executor of that name; worker processes are not started by it.

        Raises:
            RuntimeError: It is of other processes, and this is closed.
            SandboxUnavailableError: No sandbox can be made here.
        """
        if name == "threads":
            return self.threads
        if name == "inline":
            return self.inline
        with self._lock:
            if self._is_closed:
                text = "the executors are closed; create a new toolkit"
                raise RuntimeError(text)
            pool = self._pools.get(name)
            if pool is None:
                count, memory = self._workers
                pool = self._pools[name] = ProcessExecutor(
                    max_workers=count,
                    memory_bytes=memory,
                    sandbox=Sandbox() if name == "sandbox" else None,
                    left_out=self._left_out,
                )
            return pool

    def renew(self, left_out: frozenset[str] | None) -> None:
        """Let worker processes that are idle end, so that new ones import anew.

        Args:
            left_out: As for the constructor.
        """
        with self._lock:
            self._left_out = left_out
            pools = tuple(self._pools.copy().values())
        for pool in pools:
            pool.renew(left_out)

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return the counts of each executor that is in use, by name."""
        with self._lock:
            pools = dict(self._pools)
        return {
            "inline": self.inline.statistics(),
            "threads": self.threads.statistics(),
            **{name: pool.statistics() for name, pool in pools.items()},
        }

    def close(self) -> None:
        """Take no more calls; end idle threads and all worker processes."""
        with self._lock:
            self._is_closed = True
            pools = tuple(self._pools.copy().values())
        self.threads.close()
        self.inline.close()
        for pool in pools:
            pool.close()


class ExecutorChoice:
    """Tells how a tool runs, by one operator's settings. Immutable.

    Raises:
        ConfigurationError: Two names mean the same, and say different things.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the settings."""
        chosen = settings.executors
        _refuse_contradictions(chosen)
        self._tools = {comparable(name): one for name, one in chosen.items()}
        self._owners = {canonicalize_name(name): one for name, one in chosen.items()}

    def of(self, listed: ListedTool) -> ExecutorName | None:
        """Return what is chosen for a tool or its distribution; None if nothing is."""
        if not self._tools:
            return None
        for name in sorted(listed.known_names(), key=len, reverse=True):
            if name in self._tools:
                return self._tools[name]
        return self._owners.get(canonicalize_name(listed.tool.origin.owner))

    def is_elsewhere(self, listed: ListedTool) -> bool:
        """Tell whether it runs in another process."""
        return self.of(listed) in _ELSEWHERE


def _refuse_contradictions(chosen: Mapping[str, ExecutorName]) -> None:
    first: dict[str, str] = {}
    for name, executor in chosen.items():
        forms = {comparable(name)}
        if "." not in name:  # a distribution's, unless it is a tool's
            forms.add(canonicalize_name(name))
        for form in forms:
            other = first.setdefault(form, name)
            if chosen[other] != executor:
                remedy = f"it and {other!r} mean the same; choose one of them"
                raise ConfigurationError(f"executors.{name}", executor, remedy)
