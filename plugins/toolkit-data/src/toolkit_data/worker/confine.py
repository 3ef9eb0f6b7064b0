"""The operating system's part of the sandbox. Irreversible for the whole process.

DuckDB's own limits do not reach inside one function call: `repeat('x', 2000000000)`
ignores both its memory limit and an interrupt until it is done. The kernel's limits do
not depend on what the engine is busy with.
"""

import resource
import signal
from typing import Final

HEADROOM_BYTES: Final = 768 * 1024 * 1024
"""Address space beside DuckDB's limit: interpreter, libraries, stacks and allocator
arenas took 280 MiB with two threads; the rest is for values on their way out."""

GRACE_SECONDS: Final = 1.0
"""From the polite interrupt to the signal that nothing can ignore."""


def limit_process(*, memory_bytes: int, seconds: float) -> None:
    """Bound memory and time, and forbid writing any file, for good.

    Args:
        memory_bytes: What DuckDB itself may hold.
        seconds: After these and a grace the kernel ends the process.
    """
    _set(resource.RLIMIT_AS, memory_bytes + HEADROOM_BYTES)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)  # a core dump would leave user data on disk
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its default action is to end us
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)


def forbid_opening() -> None:
    """Let no file, socket or pipe be opened any more; those open stay usable."""
    _set(resource.RLIMIT_NOFILE, 0)


def _set(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))
