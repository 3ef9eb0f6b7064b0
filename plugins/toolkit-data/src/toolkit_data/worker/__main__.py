"""The worker process: one request in, one reply out, under the kernel's limits."""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from toolkit_data.worker import confine
from toolkit_data.worker.engine import Engine
from toolkit_data.worker.jobs import describe, query
from toolkit_data.worker.profiling import profile
from toolkit_data.worker.request import JobError, Request, Shut

Job = Callable[[Engine, Request, Shut], dict[str, Any]]
JOBS: Final[dict[str, Job]] = {
    "describe": describe,
    "profile": profile,
    "query": query,
}


def main() -> None:
    """Answer the request on standard input."""
    request = Request.from_json(json.load(sys.stdin))
    confine.limit_process(
        memory_bytes=request.limits.memory_bytes, seconds=request.seconds
    )
    json.dump(answer(request, confine.forbid_opening), sys.stdout, allow_nan=False)


def answer(request: Request, forbid_opening: Shut) -> dict[str, Any]:
    """Do the job and return the reply: its `result`, or its `error`.

    Args:
        request: The job.
        forbid_opening: Called when all files are read.
    """
    with Engine(request.limits, folder=request.folder) as engine:

        def shut() -> None:
            engine.lock()
            forbid_opening()

        try:
            with engine.interrupting(request.seconds):
                return {"result": JOBS[request.job](engine, request, shut)}
        except JobError as error:
            return {"error": {"kind": error.kind, "message": error.message}}
        except MemoryError:
            return {"error": {"kind": "memory", "message": ""}}


if __name__ == "__main__":
    main()
