"""What a call costs, and a user, beside what they would cost without the toolkit.

Everything is a ratio to a floor that is measured in the same run and by turns; medians
of all runs are judged, and minima are shown. Each part says in its module what its
floor is. `contenders` installs others into ``build/`` and compares with them; `profile`
says where the time above floor D goes, and judges nothing.

Run: ``python -m benchmarks.execution [--only async] [--runs 7] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.discovery.__main__ import report
from benchmarks.discovery.parts import Table
from benchmarks.execution.calls import asynchronous, synchronous
from benchmarks.execution.environment import contenders
from benchmarks.execution.processes import elsewhere
from benchmarks.execution.sampling import profile
from benchmarks.execution.users import declaring, live, stateful_tools, systems
from benchmarks.execution.waiting import deadline, neighbour

FEWEST_RUNS = 5
PARTS: Mapping[str, Callable[[int], Iterator[Table]]] = {
    "async": asynchronous,
    "sync": synchronous,
    "process": elsewhere,
    "users": systems,
    "stateful": stateful_tools,
    "declaring": declaring,
    "neighbour": neighbour,
    "deadline": deadline,
    "live": live,
    "contenders": contenders,
    "profile": profile,
}


def main() -> int:
    """Measure, print, and compare with the targets.

    Returns:
        The exit status: 1 when a target is missed.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.execution", description=__doc__)
    parser.add_argument("--only", choices=tuple(PARTS), action="append")
    parser.add_argument("--runs", type=int, default=7, help="of each; at least 5")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    runs = max(FEWEST_RUNS, options.runs)
    parts = [PARTS[name] for name in options.only or PARTS]
    return report((table for part in parts for table in part(runs)), options.json)


if __name__ == "__main__":
    sys.exit(main())
