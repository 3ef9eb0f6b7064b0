"""Servers in processes of their own, on a core of their own."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.discovery.processes import FOREIGN
from benchmarks.serving.floor import pin
from benchmarks.serving.subjects import publish

HOME = Path(__file__).resolve().parents[2]
SERVER_CORE, CLIENT_CORE = 0, 1
READY_SECONDS = 60.0  # to start; it takes about two
STOP_SECONDS = 30.0
FILES = 8_192  # open at once; the largest part needs about a thousand
FLOOR, OURS = "floor", "toolkit"


@dataclass(frozen=True)
class Server:
    """A server that runs. Belongs to who started it.

    Attributes:
        name: `FLOOR` or `OURS`.
        port: Where it listens, on loopback.
        pid: Of its process.
    """

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return what its process has used of a processor.

        Source: Linux, include/linux/posix-timers.h: how a process names its clock.
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory(self) -> int:
        """Return the KiB that are resident now."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
        return int(rollup.partition("\nRss:")[2].split()[0])


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Lend a server; its process is ended afterwards.

    Yields:
        The server, which takes connections.
    """
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder:
        publish(Path(folder))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        module = {FLOOR: "benchmarks.serving.floor", OURS: "benchmarks.serving.ours"}
        child = subprocess.Popen(  # noqa: S603 - fixed
            [sys.executable, "-P", "-m", module[name], str(SERVER_CORE)],
            env={**kept, "PYTHONPATH": os.pathsep.join([str(HOME), folder])},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what it logs
        )
        try:
            yield _ready(name, child)
        finally:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _ready(name: str, child: subprocess.Popen[bytes]) -> Server:
    """Wait until a server answers."""
    line = child.stdout.readline() if child.stdout else b""
    if not line:
        raise SystemExit(f"the server {name} ended with {child.wait()}")
    server = Server(name, int(line), child.pid)
    until = time.monotonic() + READY_SECONDS
    while not _is_ready(server.port):
        if time.monotonic() > until or child.poll() is not None:
            raise SystemExit(f"the server {name} does not get ready")
        time.sleep(0.05)
    return server


def _is_ready(port: int) -> bool:
    asking = f"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as one:
            one.sendall(asking.encode())
            return b" 200 " in one.recv(4_096)[:16]
    except OSError:
        return False


def prepare() -> None:
    """Give this process, the client, its core and enough open files."""
    pin(CLIENT_CORE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
