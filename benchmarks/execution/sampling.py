"""Where the time of a call goes: what its parts may cost, and a sample of lines.

Instrumenting a call of some microseconds measures the instrument. So there are two
other views. The first prices what a dispatcher may be made of, each alone and as a
share of floor D, so that one can see what a design can afford. The second interrupts
many calls, as often as the system can, and counts the lines that were at work.

The interpreter notes an interrupt at its next call or jump; so time within C code
counts for the line that called it, and some of a line's own time for the call after.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time
from types import FrameType
from uuid import uuid4

from benchmarks.discovery.parts import Table
from benchmarks.execution.calls import D, shown, user_of
from benchmarks.execution.subjects import DATA, Order, floor
from benchmarks.execution.timing import Case, awaited, by_turns, plain

EVERY = 0.001  # seconds of processor time between samples, if the system can
SECONDS_EACH = 1.0  # of sampling for each run
TOP = 12


# --- what a call may be made of ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frozen:
    a: object
    b: object
    c: object
    d: object
    e: object
    f: object
    g: object
    h: object


@dataclass(slots=True)
class _Slots:
    a: object
    b: object
    c: object
    d: object
    e: object
    f: object
    g: object
    h: object


_EIGHT = tuple(range(8))


async def _nothing() -> None:
    pass


async def _task() -> None:
    await asyncio.ensure_future(_nothing())


async def _timer() -> None:
    asyncio.get_running_loop().call_later(30.0, _done).cancel()


async def _timeout() -> None:
    async with asyncio.timeout(30.0):
        await _nothing()


def _done() -> None:
    pass


def prices() -> list[Case]:
    """Return what a call may be made of, each alone."""
    lock = threading.Lock()

    def locked() -> None:
        with lock:
            pass

    return [
        Case("awaiting a coroutine", awaited(_nothing)),
        Case("a task, awaited", awaited(_task)),
        Case("a turn of the loop: sleep(0)", awaited(partial(asyncio.sleep, 0))),
        Case("call_later and cancel", awaited(_timer)),
        Case("asyncio.timeout", awaited(_timeout)),
        Case("time.perf_counter", plain(time.perf_counter)),
        Case("time.monotonic", plain(time.monotonic)),
        Case("uuid4().hex", plain(lambda: uuid4().hex)),
        Case("a lock taken", plain(locked)),
        Case("contextvars.copy_context", plain(contextvars.copy_context)),
        Case("object: frozen, slots, 8 fields", plain(partial(_Frozen, *_EIGHT))),
        Case("object: slots, 8 fields", plain(partial(_Slots, *_EIGHT))),
        Case("dict of 8", plain(lambda: dict.fromkeys(_EIGHT))),
    ]


async def _priced(runs: int) -> dict[str, list[float]]:
    return await by_turns([Case(D, floor(Order())), *prices()], runs)


# --- which lines are at work ---------------------------------------------------------


@contextmanager
def sampled() -> Iterator[Counter[tuple[str, str, int]]]:
    """Count the lines at work, by file, function and number.

    Yields:
        The counts, which grow until the end of the block.
    """
    found: Counter[tuple[str, str, int]] = Counter()

    def note(_signal: int, frame: FrameType | None) -> None:
        if frame is not None:
            code = frame.f_code
            found[code.co_filename, code.co_qualname, frame.f_lineno] += 1

    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        yield found
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


async def _lines(runs: int) -> Counter[tuple[str, str, int]]:
    with user_of([Order]) as system:
        loop = awaited(partial(system.execute, "order", DATA))
        await loop(1_000)
        with sampled() as found:
            until = process_time() + runs * SECONDS_EACH
            while process_time() < until:
                await loop(1_000)
    return found


def profile(runs: int) -> Iterator[Table]:
    """Price the parts of a call, and say which lines are at work in an async one.

    Yields:
        The prices; the lines are printed.
    """
    rows = asyncio.run(_priced(runs))
    checks = [shown(rows, title, D) for title in rows if title != D]
    yield Table("what a call may be made of", "us", rows, checks)
    found = asyncio.run(_lines(runs))
    _print_shares(found)


def _print_shares(found: Counter[tuple[str, str, int]]) -> None:
    every = found.total()
    print(f"\nan async call: {every:,} samples, by function")
    functions: Counter[str] = Counter()
    for (file, name, _), count in found.items():
        functions[f"{_short(file)} {name}"] += count
    for title, count in functions.most_common(TOP):
        print(f"  {count / every:6.1%}  {title}")
    print("by line")
    for (file, name, number), count in found.most_common(TOP):
        print(f"  {count / every:6.1%}  {_short(file)}:{number} {name}")


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])
