"""Run one job in a process of its own, and make sure that it ends.

The worker gets no environment, no descriptor but the user's folder, and no argument on
its command line. It limits itself first of all (`toolkit_data.worker.confine`); what is
here holds even if it fails to.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from toolkit import ToolError
from toolkit_data.limits import Limits
from toolkit_data.tables import Table

COMMAND: Final = ("-I", "-B", "-X", "utf8", "-m", "toolkit_data.worker")
"""Isolated: neither variables nor the current folder change what is imported."""

KILL_SECONDS: Final = 2.0
"""Past its time limit; the worker's own alarm comes after one second."""

REPLY_SECONDS: Final = 0.25
"""Kept from the caller's time, so that our error arrives before the caller gives up."""

KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Without these some interpreters do not find their own library."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run: `name` (`query`, `describe`, `profile`) and its own arguments."""

    name: str
    arguments: Mapping[str, Any]


def run_job(
    job: Job,
    *,
    folder: int,
    tables: Iterable[Table],
    limits: Limits,
    time_left: float | None = None,
) -> dict[str, Any]:
    """Run a job and return its result, as JSON has it.

    The worker has ended when this returns or raises, also on cancellation.

    Args:
        job: What to do.
        folder: Descriptor of the user's folder.
        tables: All tables of the user.
        limits: The operator's bounds.
        time_left: Seconds until the caller gives up; None if never.

    Raises:
        ToolError: The job failed, or took too long or too much memory.
    """
    seconds = _seconds(limits, time_left)
    if seconds <= 0:
        raise ToolError("No time is left for this call; allow it more than a moment.")
    request = {
        "job": job.name,
        "arguments": dict(job.arguments),
        "folder": folder,
        "sources": [_source(table) for table in tables],
        "limits": asdict(limits),
    }
    started = time.monotonic()
    status, output = _run(request, folder, seconds)
    if not output:
        raise ToolError(_why_died(status, seconds, time.monotonic() - started))
    reply = json.loads(output)
    if "error" in reply:
        raise ToolError(_why_failed(reply["error"], limits, seconds))
    result: dict[str, Any] = reply["result"]
    return result


def _seconds(limits: Limits, time_left: float | None) -> float:
    if time_left is None:
        return limits.timeout
    return max(0.0, min(limits.timeout, time_left - REPLY_SECONDS))


def _source(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "file": table.file,
        "format": table.format,
        "size_bytes": table.size_bytes,
    }


def _run(request: dict[str, Any], folder: int, seconds: float) -> tuple[int, bytes]:
    """Return the worker's exit status and what it wrote, nothing if it was killed."""
    data = json.dumps({**request, "seconds": seconds}).encode()
    with subprocess.Popen(  # noqa: S603 - a fixed command without any input in it
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(folder,),
        cwd="/",
        env=_environment(),
        start_new_session=True,  # an interrupt at our terminal is not the worker's
    ) as process:
        try:
            output, errors = process.communicate(data, timeout=seconds + KILL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return -signal.SIGKILL, b""
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        text = errors.decode(errors="replace")[-2000:]
        _log.error("worker ended with status %s: %s", process.returncode, text)
        return process.returncode, b""
    return 0, output


def _environment() -> dict[str, str]:
    # Fewer allocator arenas reserve less of the address space that the worker limits.
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {"MALLOC_ARENA_MAX": "2", **kept}


def _why_died(status: int, seconds: float, elapsed: float) -> str:
    if elapsed >= seconds or status in {-signal.SIGALRM, -signal.SIGKILL}:
        return _too_slow(seconds)
    return (
        "The sandbox process broke down on this request, probably for lack of memory; "
        "write a simpler query, or read less data."
    )


def _why_failed(error: Mapping[str, str], limits: Limits, seconds: float) -> str:
    if error["kind"] == "time":
        return _too_slow(seconds)
    return error["message"] or _too_big(limits)


def _too_slow(seconds: float) -> str:
    return (
        f"This took longer than the {seconds:.3g} seconds allowed and was stopped; "
        "aggregate or filter more, or read a smaller table."
    )


def _too_big(limits: Limits) -> str:
    return (
        f"This needs more memory than the {limits.memory_bytes >> 20} MiB allowed; "
        "aggregate or filter earlier, or select fewer columns."
    )
