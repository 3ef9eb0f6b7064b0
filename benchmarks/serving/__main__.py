"""What serving costs beside a server that does nothing but serve.

The server has a process and a core of its own, the client another; the floor is in
`floor.py`. Where both are measured they have their turns in one run, and the median of
the runs' ratios is judged. How many events a second there are is judged by what they
take of the processor: the clock also counts what other programs do on that core. It is
shown beside.

Run: ``python -m benchmarks.serving [--only events] [--runs 5] [--json FILE]``, and
``python -m benchmarks.serving --only soak --minutes 10``, which is no part of the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.discovery.__main__ import report
from benchmarks.discovery.parts import Table
from benchmarks.serving.memory import cycles, idle, soak, together
from benchmarks.serving.neighbours import slow_consumer
from benchmarks.serving.servers import prepare
from benchmarks.serving.speed import connecting, events

FEWEST_RUNS = 3
PARTS: dict[str, Callable[[int], Iterator[Table]]] = {
    "events": events,
    "connecting": connecting,
    "idle": idle,
    "together": together,
    "slow": slow_consumer,
    "cycles": cycles,
}
SOAK = "soak"


def main() -> int:
    """Measure, print, and compare with the targets.

    Returns:
        The exit status: 1 when a target is missed.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--only", choices=(*PARTS, SOAK), action="append")
    parser.add_argument("--runs", type=int, default=5, help="of each; at least 3")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the soak")
    options = parser.parse_args()
    runs = max(FEWEST_RUNS, options.runs)
    prepare()
    parts = PARTS | {SOAK: lambda _: soak(options.minutes)}
    chosen = [parts[name] for name in options.only or PARTS]
    return report((table for part in chosen for table in part(runs)), options.json)


if __name__ == "__main__":
    sys.exit(main())
