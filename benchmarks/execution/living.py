"""A process with so many live user systems; prints the memory that they take.

Run: ``python -m benchmarks.execution.living COUNT made|given``. With ``given`` the
contexts are there before, and do not count.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.execution.calls import toolkit_of
from benchmarks.execution.subjects import stateful
from toolkit import UserContext, UserToolSystem

TOOLS = 100


def resident() -> int:
    """Return the bytes of this process that are resident.

    Where the system does not tell, the most there have been: they only grow here.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024
    except OSError:
        from resource import RUSAGE_SELF, getrusage  # noqa: PLC0415 - not on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return getrusage(RUSAGE_SELF).ru_maxrss * unit


def context(number: int) -> UserContext:
    """Return the context of one user."""
    return UserContext(user_id=f"user-{number}", session_id=f"session-{number}")


def main(count: int, *, is_given: bool) -> None:
    """Build the systems, print what they take, and close them."""
    with toolkit_of(stateful(TOOLS)) as kit:
        kit.user(context(0)).close()
        contexts = list(map(context, range(count))) if is_given else []
        made: list[UserToolSystem | None] = [None] * count
        gc.collect()
        before, started = resident(), perf_counter()
        for number in range(count):
            who = contexts[number] if is_given else context(number)
            made[number] = kit.user(who)
        seconds, after = perf_counter() - started, resident()
        for system in made:
            if system is not None:
                system.close()
    print(json.dumps({"bytes": after - before, "seconds": seconds}))


if __name__ == "__main__":
    main(int(sys.argv[1]), is_given=sys.argv[2] == "given")
