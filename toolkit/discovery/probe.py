"""First contact: import and judge packages not yet known in a process of their own.

A package that ends the process, never returns, takes all memory or floods the output
harms nobody but itself: its child is killed, it is named with what it did, and another
child goes on with the rest. What happened in a child that others had used before is
tried again in a fresh one, so that nobody is blamed for what a neighbour did.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Final, Self, cast

from toolkit.discovery.index import Publisher, absolute_path
from toolkit.discovery.records import check, pack, stamps_of
from toolkit.discovery.report import Cause, Failure
from toolkit.discovery.scan import canonical
from toolkit.errors import describe_error
from toolkit.settings import Settings

START_SECONDS: Final = 60.0
"""What a child may take to start; a busy machine takes seconds for it."""
MAX_OUTPUT_BYTES: Final = 4 << 20
"""What one child may print before that is a fault; a chatty package prints pages."""
MAX_ANSWER_BYTES: Final = 64 << 20
"""Size of one answer; 10,000 tools take about 16 MiB."""
SHARE: Final = 8
"""Packages at least that a second child is started for."""

_TAIL_BYTES: Final = 8192
_SHOW_SECONDS: Final = 0.5  # for a child past its deadline, to show where it hangs
_LOOK_SECONDS: Final = 0.25  # between two looks whether a silent child has ended
_Answer = tuple[Publisher, Mapping[str, Any]]


def probe(
    publishers: Sequence[Publisher],
    settings: Settings,
    left_out: frozenset[str] | None = None,
) -> list[_Answer]:
    """Contact each publisher in a child process.

    Takes at most about ``contact_timeout`` seconds for each package that hangs, twice
    for one that was not the first in its child. This process runs none of their code.

    Args:
        publishers: Whom to contact; the operator's walls have let them through.
        settings: Deadline and memory, and whose left-overs are tolerated.
        left_out: See `toolkit.guards.pydantic_ready`.

    Returns:
        Each publisher with its record, sorted by name; a culprit's record holds one
        failure that says what it did.
    """
    count = min(os.cpu_count() or 1, 4, 1 + len(publishers) // SHARE)
    shares = [deque(publishers[start::count]) for start in range(count)]
    found: list[list[_Answer]] = [[] for _ in shares]

    def work(number: int) -> None:
        share = shares[number]
        try:
            found[number].extend(_contact_all(share, settings, left_out))
        except Exception as error:  # noqa: BLE001 - nobody may get lost with a thread
            found[number].extend(_not_contacted(one, error) for one in [*share])

    threads = [
        threading.Thread(target=work, args=(number,), daemon=True)
        for number in range(1, count)
    ]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    return sorted((one for share in found for one in share), key=lambda one: one[0])


def _contact_all(
    waiting: deque[Publisher], settings: Settings, left_out: frozenset[str] | None
) -> Iterator[_Answer]:
    """Contact everybody, in one child after another."""
    while waiting:
        batch = list(waiting)
        with _Child(batch, settings, left_out) as child:
            for turn, publisher in enumerate(batch):
                record = child.record_of(publisher)
                if turn and not _is_clean(record):
                    with _Child([publisher], settings, left_out) as alone:
                        record = alone.record_of(publisher)
                    waiting.popleft()
                    yield publisher, record
                    break  # that child may have been changed by this one
                waiting.popleft()
                yield publisher, record
                if child.is_spent or not _is_clean(record):
                    break


def _not_contacted(publisher: Publisher, error: Exception) -> _Answer:
    """Say of a package that no child could be started for it."""
    detail = f"no child process could be started to import it: {describe_error(error)}"
    failure = Failure(publisher.origin(), detail, cause=Cause.NOT_CONTACTED)
    return publisher, pack(publisher, [failure], [])


def _is_clean(record: Mapping[str, Any]) -> bool:
    return not any(one["is"] == "failure" for one in record["found"])


class _CulpritError(Exception):
    """What a package did to its child. Never leaves this module."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail


class _Child:
    """One child process and what it says. Killed at the end with all it has started."""

    def __init__(
        self,
        batch: Sequence[Publisher],
        settings: Settings,
        left_out: frozenset[str] | None,
    ) -> None:
        """Start it with its orders."""
        self._settings = settings
        self._heard: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._tail = b""
        self._printed = 0
        self.is_spent = False
        self._token = token_hex(8)
        optimized = [f"-{'O' * sys.flags.optimize}"] if sys.flags.optimize else []
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, *optimized, "-X", "faulthandler", "-c", _CODE],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        orders = {
            "token": self._token,
            "memory": settings.contact_memory_bytes,
            "seconds": settings.contact_timeout,
            "tolerate": sorted(map(canonical, settings.tolerate)),
            "left_out": None if left_out is None else sorted(left_out),
            "publishers": [_order(one) for one in batch],
        }
        path = json.dumps(absolute_path(sys.path)).encode()
        self._hearer = self._start_thread(self._hear, self._process.stdout)
        self._drainer = self._start_thread(self._drain, self._process.stderr)
        self._start_thread(self._tell, path + b"\n" + json.dumps(orders).encode())

    def record_of(self, publisher: Publisher) -> Mapping[str, Any]:
        """Return the record of the next publisher, whatever becomes of the child."""
        started = time.monotonic()
        try:
            return self._next_record(publisher)
        except _CulpritError as culprit:
            self.is_spent = True
            seconds = time.monotonic() - started
            self._kill()
            self._drainer.join(1.0)  # what it printed last says most
            is_flood = culprit.cause is Cause.TOO_MUCH_OUTPUT  # its end says nothing
            printed = "" if is_flood else self._tail.decode(errors="replace")
            failure = Failure(
                publisher.origin(), culprit.detail, _without_ours(printed)
            )
            failure = replace(failure, seconds=seconds, cause=culprit.cause)
            return pack(publisher, [failure], stamps_of(publisher))

    def _next_record(self, publisher: Publisher) -> Mapping[str, Any]:
        begun = self._next_message(START_SECONDS)
        if begun.get("begin") != publisher.name:
            raise _CulpritError(Cause.ENDED_PROCESS, "its child process talks nonsense")
        message = self._next_message(self._settings.contact_timeout, _SHOW_SECONDS)
        record = message.get("record")
        try:
            check(record, publisher)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            detail = "its child process talks nonsense"
            raise _CulpritError(Cause.ENDED_PROCESS, detail) from error
        self.is_spent = bool(message.get("spent"))
        return cast("Mapping[str, Any]", record)

    def _next_message(self, seconds: float, grace: float = 0.0) -> Mapping[str, Any]:
        line = self._next_line(time.monotonic() + seconds + grace, seconds)
        if self._printed > MAX_OUTPUT_BYTES:
            detail = f"importing it printed more than {MAX_OUTPUT_BYTES >> 20} MiB"
            raise _CulpritError(Cause.TOO_MUCH_OUTPUT, detail)
        if line is None:
            raise _CulpritError(Cause.ENDED_PROCESS, self._end())
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = {}
        return message if isinstance(message, dict) else {}

    def _next_line(self, deadline: float, seconds: float) -> bytes | None:
        """Wait for a line; None when the process has ended, whoever keeps its pipe."""
        while True:
            left = deadline - time.monotonic()
            has_ended = self._process.poll() is not None
            try:
                return self._heard.get(timeout=max(0.0, min(_LOOK_SECONDS, left)))
            except queue.Empty:
                if has_ended:
                    return None
                if left <= 0:
                    detail = f"importing it did not end within {seconds:g} s"
                    raise _CulpritError(Cause.HUNG, detail) from None

    def _end(self) -> str:
        """Say how the process ended."""
        try:
            status = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "importing it closed what its process talks through"
        if status >= 0:
            return f"importing it ended the process with exit status {status}"
        name = str(-status)
        with suppress(ValueError):
            name = signal.Signals(-status).name
        return f"importing it crashed the process ({name})"

    # --- pipes ----------------------------------------------------------------------

    def _start_thread(self, target: Any, argument: Any) -> threading.Thread:  # noqa: ANN401 - passed on
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        thread.start()
        return thread

    def _tell(self, orders: bytes) -> None:
        stream = self._process.stdin
        if stream is not None:
            rest = memoryview(orders)
            with suppress(OSError), stream:
                while rest:
                    rest = rest[stream.write(rest) :]

    def _hear(self, stream: IO[bytes]) -> None:
        """Take the lines that bear the token; a package may write there by mistake."""
        mark, rest = f'{{"token": "{self._token}"'.encode(), b""
        with suppress(OSError), stream:
            while data := os.read(stream.fileno(), 1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(mark):
                        self._heard.put(line)
                if len(rest) > MAX_ANSWER_BYTES:
                    self._kill()
                    break
        self._heard.put(None)

    def _drain(self, stream: IO[bytes]) -> None:
        """Read what plugins print, keep its end, and stop them at the bound."""
        with suppress(OSError), stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self._tail = (self._tail + data)[-_TAIL_BYTES:]
                self._printed += len(data)
                if self._printed > MAX_OUTPUT_BYTES:
                    self._kill()

    def _kill(self) -> None:
        """Kill the process and all of its group."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def __enter__(self) -> Self:
        """Return the child."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Kill it, and wait until it is gone."""
        self._kill()
        self._process.wait()
        for reader in (self._hearer, self._drainer):  # each closes what it reads
            reader.join(_LOOK_SECONDS)  # a daemon that a package left may keep the pipe


def _order(one: Publisher) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "points": [list(point) for point in one.entry_points],
        "fault": one.fault,
        "folder": one.folder,
    }


def _without_ours(printed: str) -> str:
    """Return what a child printed without the frames of ours and of the importer."""
    lines = printed.splitlines(keepends=True)
    return "".join(line for line in lines if not _FRAME.match(line))


_FRAME: Final = re.compile(
    rf'  File "(?:{re.escape(str(Path(__file__).parent))}|<frozen importlib|<string>)'
)
_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from toolkit.discovery.probe_child import main; main()"
)
"""With the path of this process, which may differ from what a fresh one has."""
