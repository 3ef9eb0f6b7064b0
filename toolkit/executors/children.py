"""One worker process as its parent has it: started, spoken with, killed, reaped.

The standard library does all of it. Pebble, loky and ``anyio.to_process`` were looked
at: each sends functions, arguments and results as pickles, which let a worker run code
in its parent and need the package imported there. Pebble and anyio kill the one process
and leave its children alone; loky looks for children one by one, at shutdown, and knows
no deadline of a call. None bounds memory, and none can be put into a sandbox.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.executors.frames import Frame, FrameReader
from toolkit.executors.sandbox import Sandbox

_CODE: Final = """\
import json, os, resource, sys
fd = int(sys.argv[1])
def read(size):
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data)) or os._exit(1)
    return data
orders = json.loads(read(int.from_bytes(read(4), "big")))
for name, most in orders["limits"].items():
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))
sys.path[:] = orders["path"]
from toolkit.executors.worker import main
main(fd, orders)
"""
"""Bounds itself, then takes the path of its parent, then imports. Source: setrlimit(2).

Not ``-m``: the parent's path may be where this package itself is found.
"""

_CHUNK: Final = 1 << 16
_LINGER_SECONDS: Final = 1.0  # for what else holds the channel of a dead process
_SILENT_SECONDS: Final = 0.25  # between a closed channel and the end of its process
_REAP_SECONDS: Final = 5.0  # for a killed process to be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker process is told at its start. Immutable.

    Attributes:
        memory_bytes: Address space that it may have.
        sandbox: What shuts it in, if anything does.
        left_out: Plugins of pydantic that must not load, see `pydantic_ready`.
    """

    memory_bytes: int
    sandbox: Sandbox | None = None
    left_out: frozenset[str] | None = frozenset()

    def written(self) -> bytes:
        """Return them as the process reads them."""
        limits = {"RLIMIT_AS": self.memory_bytes, "RLIMIT_CORE": 0}  # no secret stays
        if self.sandbox is not None:
            limits["RLIMIT_NPROC"] = self.sandbox.max_processes
        path = [str(Path(one).absolute()) for one in sys.path if type(one) is str]
        orders = {
            "limits": limits,
            "path": path,
            "parent": os.getpid() if self.sandbox is None else 0,
            "left_out": None if self.left_out is None else sorted(self.left_out),
        }
        text = json.dumps(orders).encode()
        return len(text).to_bytes(4, "big") + text

    def command(self, descriptor: int) -> list[str]:
        """Return the command line that starts the process."""
        optimized = [f"-{'O' * sys.flags.optimize}"] if sys.flags.optimize else []
        python = [sys.executable, *optimized, "-P", "-c", _CODE, str(descriptor)]
        return python if self.sandbox is None else self.sandbox.command(python)


class Child:
    """One worker process and the channel to it. Belongs to an event loop.

    Everything happens on that loop, but `kill` and `end`, which any thread may call.
    Killing reaches the process and all that it has started in its group; the group is
    killed as well when the process ends by itself, before its number can be another's.

    Attributes:
        detail: How it ended, once it has; empty before.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        orders: Orders,
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[], None],
    ) -> None:
        """Start the process and send it its orders.

        Raises:
            OSError: No process can be started.
        """
        self.detail = ""
        self._loop = loop
        self._is_shut_in = orders.sandbox is not None
        self._on_frame, self._on_gone = on_frame, on_gone
        self._reader = FrameReader()
        self._unsent: deque[memoryview] = deque()
        self._reaping = threading.Lock()
        self._is_silent = self._is_closed = False
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _start(orders, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        ours.settimeout(0.0)
        self._channel = ours
        self._watched = _open_pidfd(self._process.pid)
        loop.add_reader(ours, self._hear)
        if self._watched >= 0:
            loop.add_reader(self._watched, self._has_died)
        self.send(orders.written())

    @property
    def pid(self) -> int:
        """The process; its group has the same number."""
        return self._process.pid

    def send(self, frame: bytes) -> None:
        """Send one frame, at once as far as the channel takes it.

        What cannot be sent because the process has ended is lost with it.
        """
        if self._unsent:
            self._unsent.append(memoryview(frame))
            return
        sent = 0
        try:
            sent = self._channel.send(frame)
        except BlockingIOError:
            pass
        except OSError:  # its end is noticed where it is waited for
            return
        if sent < len(frame):
            self._unsent.append(memoryview(frame)[sent:])
            self._loop.add_writer(self._channel, self._send_rest)

    def kill(self, detail: str = "") -> None:
        """Kill the process and its group. `on_gone` is called when it has ended."""
        self.detail = self.detail or detail
        with self._reaping:
            if self._process.returncode is None:
                _kill_group(self._process.pid)

    def end(self) -> None:
        """Kill it and wait until it is gone, at most some seconds; in any thread."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_SECONDS)

    def close(self) -> None:
        """Let go of the channel; on the loop, or when that runs no more."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._channel)
            self._loop.remove_writer(self._channel)
            if self._watched >= 0:
                self._loop.remove_reader(self._watched)
        self._channel.close()
        if self._watched >= 0:
            os.close(self._watched)

    # --- on the loop ----------------------------------------------------------------

    def _send_rest(self) -> None:
        first = self._unsent.popleft()
        try:
            rest = first[self._channel.send(first) :]
        except BlockingIOError:
            rest = first
        except OSError:
            self._unsent.clear()
            rest = first[:0]
        if rest:
            self._unsent.appendleft(rest)
        if not self._unsent:
            self._loop.remove_writer(self._channel)

    def _hear(self) -> None:
        """Take what has come; frames of a process that talks nonsense end it."""
        if self._is_silent or self._is_closed:
            return
        try:
            data = self._channel.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._fall_silent()
            return
        try:
            frames = self._reader.feed(data)
            for frame in frames:
                self._on_frame(frame)
        except (KeyError, OverflowError, TypeError, ValueError):
            self.kill("it sent what is no answer")
            self._fall_silent()

    def _fall_silent(self) -> None:
        """Hear no more; the process has ended, ends now, or is made to."""
        self._is_silent = True
        self._loop.remove_reader(self._channel)
        if self._process.returncode is not None:
            self._be_gone()
        else:
            self._loop.call_later(_SILENT_SECONDS, self._end_silent)

    def _end_silent(self) -> None:
        if self._is_closed:
            return
        if self._process.returncode is None:
            if not _has_ended(self._process.pid):
                self.kill("it closed the channel it answers through")
            if self._watched < 0:  # pragma: no cover - told by the platform
                self._has_died()

    def _has_died(self) -> None:
        """Reap the process; its group goes first, while the number is still its own."""
        with self._reaping:
            if self._process.returncode is None:
                _kill_group(self._process.pid)
        self._process.wait()  # it has ended: this returns at once
        self.detail = self.detail or self._how()
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
        while not self._is_silent and not self._is_closed and self._hears():
            pass
        if self._is_silent:
            self._be_gone()
        else:  # something else still holds the channel: it was killed, and ends now
            self._loop.call_later(_LINGER_SECONDS, self._be_gone)

    def _hears(self) -> bool:
        """Take what is left in the channel; tell whether there may be more."""
        try:
            more = bool(self._channel.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        except OSError:
            more = False
        self._hear()
        return more

    def _be_gone(self) -> None:
        if not self._is_closed:
            self.close()
            self._on_gone()

    def _how(self) -> str:
        """Say how the process ended."""
        status = self._process.returncode or 0
        if self._is_shut_in and status > 128:  # noqa: PLR2004 - as bwrap(1) and shells have it
            status = 128 - status
        if status >= 0:
            return f"exit status {status}"
        with suppress(ValueError):
            return f"signal {-status} ({signal.Signals(-status).name})"
        return f"signal {-status}"


def _start(orders: Orders, descriptor: int) -> subprocess.Popen[bytes]:
    """Start the process; what it prints goes where the operator's log goes."""
    output = 2 if orders.sandbox is None else _open_output()
    try:
        return subprocess.Popen(  # noqa: S603 - our own module
            orders.command(descriptor),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    finally:
        if orders.sandbox is not None:
            os.close(output)


def _open_output() -> int:
    """Return where a sandbox writes what is passed on to standard error.

    Whoever holds a descriptor of a file can empty it, and read it under ``/proc``,
    wherever it lies. So a sandbox is not given the operator's log itself.

    Raises:
        OSError: There is no pipe, or no thread.
    """
    said, output = os.pipe()
    passing = threading.Thread(
        target=_pass_on, args=(said,), name="toolkit-sandbox-output", daemon=True
    )
    try:
        passing.start()
    except RuntimeError as error:
        os.close(said)
        os.close(output)
        text = "there is no thread for its output"
        raise OSError(text) from error
    return output


def _pass_on(said: int) -> None:
    """Write on what a sandbox prints, until nothing of it is left."""
    while text := os.read(said, _CHUNK):
        with suppress(OSError):  # a full disk is no reason to stop the tool
            os.write(2, text)
    os.close(said)


def _open_pidfd(pid: int) -> int:
    """Return what becomes readable when a process ends; -1 where there is no such."""
    with suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return -1  # pragma: no cover - told by the platform


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    """Tell whether a process of ours has ended, without reaping it."""
    with suppress(ChildProcessError):
        return (
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )
    return True
