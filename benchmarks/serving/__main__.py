"""What serving costs beside a server that does nothing but serve.

Run: ``python -m benchmarks.serving [--only events] [--runs 5] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.discovery.__main__ import report
from benchmarks.discovery.parts import Table
from benchmarks.serving.servers import prepare
from benchmarks.serving.speed import connecting, events

FEWEST_RUNS = 3
PARTS: Mapping[str, Callable[[int], Iterator[Table]]] = {
    "events": events,
    "connecting": connecting,
}


def main() -> int:
    """Measure, print, and compare with the targets.

    Returns:
        The exit status: 1 when a target is missed.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--only", choices=tuple(PARTS), action="append")
    parser.add_argument("--runs", type=int, default=5, help="of each; at least 3")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    runs = max(FEWEST_RUNS, options.runs)
    prepare()
    parts = [PARTS[name] for name in options.only or PARTS]
    return report((table for part in parts for table in part(runs)), options.json)


if __name__ == "__main__":
    sys.exit(main())
