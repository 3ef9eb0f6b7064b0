"""How long it takes to know, and to get, what is installed; and the memory it takes.

Builds environments of N = 50, 500 and 5,000 real metadata folders, one in ten of which
publishes five tools, and asks each contender in a fresh process: by turns, so that a
slow minute of the machine hits all alike. Times are medians; a contender's own imports
count, the start of its interpreter does not. `contenders.py` says what is timed, and
which floor is judged.

A first run of each writes byte code and caches. Where something on the path changes
meanwhile, the toolkit reads it anew, as it must; such a run is taken again.

Run: ``python -m benchmarks.discovery [--part listing] [--runs 11] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.discovery.build import SOURCES
from benchmarks.discovery.parts import Table, as_json, discover, listing, memory
from benchmarks.discovery.processes import environment

SIZES = (50, 500, 5_000)
FEWEST_RUNS = 7
EACH = {"listing": (listing, ("plain",))}
LARGEST = {  # with the largest N only
    "discover": (discover, ("plain", "models")),
    "memory": (memory, ("plain",)),
}
"""Each part, and the kinds of modules to measure it with; `build.py` has both."""


def tables(part: str, sizes: list[int], runs: int) -> Iterator[Table]:
    """Measure the parts that are asked for.

    Yields:
        Each table, as soon as it is measured.
    """
    for count in sorted(sizes):
        parts = EACH | (LARGEST if count == max(sizes) else {})
        for kind in SOURCES:
            wanted = [
                action
                for name, (action, kinds) in parts.items()
                if part in (name, "all") and kind in kinds
            ]
            if wanted:
                yield from measured(count, kind, wanted, runs)


def measured(
    count: int, kind: str, actions: Sequence[Callable[..., Table]], runs: int
) -> Iterator[Table]:
    """Measure some parts in one environment.

    Yields:
        Each table, as soon as it is measured.
    """
    with environment(count, kind) as one:
        for action in actions:
            yield action(one, runs)
        if one.again:
            print(f"  runs taken again, as the path had changed: {one.again}")


def show(table: Table) -> None:
    """Print one table."""
    print(f"\n{table.title}")
    for title, values in table.rows.items():
        middle, least = f"{median(values):10.3f}", f"{min(values):10.3f}"
        print(f"  {title:<42}{middle} {table.unit}, min {least}, of {len(values)}")
    for check in table.checks:
        print(f"    {check}", flush=True)


def main() -> int:
    """Measure, print, and compare with the targets.

    Returns:
        The exit status: 1 when a target is missed.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.discovery", description=__doc__)
    parser.add_argument("--part", choices=(*EACH, *LARGEST, "all"), default="all")
    parser.add_argument("--runs", type=int, default=11, help="of each; at least 7")
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES])
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    runs = max(FEWEST_RUNS, options.runs)
    return report(tables(options.part, options.sizes, runs), options.json)


def report(tables: Iterable[Table], json: Path | None) -> int:
    """Show tables as they come, and count the targets that are missed.

    Args:
        tables: What is measured, when it is asked for.
        json: Where to write all figures, if anywhere.

    Returns:
        The exit status: 1 when a target is missed.
    """
    found = []
    for table in tables:
        show(table)
        found.append(table)
    if json:
        json.write_text(as_json(found), encoding="utf-8")
    checks = [one for table in found for one in table.checks if one.is_judged]
    missed = sum(not check.is_reached for check in checks)
    print(f"\ntargets missed: {missed} of {len(checks)}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
