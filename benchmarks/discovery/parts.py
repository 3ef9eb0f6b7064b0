"""What is compared with what: the listing, `discover()`, and the memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from statistics import median

from benchmarks.discovery.build import PUBLISHES, TOOLS
from benchmarks.discovery.processes import (
    Case,
    Environment,
    Outcome,
    is_index_kept,
    measure,
)

# For each N: times the scan floor at most, times the cache floor at most, times faster
# than importlib.metadata at least.
TARGETS = {50: (6.0, 10.0, 10.0), 500: (2.0, 5.0, 20.0), 5_000: (1.5, 2.0, 40.0)}
MOST_BY_NAME = 3.0  # times the cache floor, beside the import of the module itself
MOST_DISCOVER = 0.2  # of the time that the same answer takes without the cache
MOST_MEMORY = 3.0  # MiB over a bare interpreter

STEVEDORE = Path(__file__).resolve().parents[2] / "build" / "bench-stevedore"
NO_CACHE = {"TOOLKIT_CACHE": "off"}
KIB_IN_MIB = 1024

NOTHING = "bare interpreter"
FLOOR_SCAN = "floor: scan"
FLOOR_ASKED = "floor: scan, asking before it opens"
FLOOR_TOLD = "floor: scan, told which files to read"
FLOOR_CACHE = "floor: cache"
FLOOR_IMPORT = "floor: import of that module alone"
FLOOR_IMPORT_ALL = "import of every plugin module"
COLD = "toolkit, no cache"
WARM = "toolkit, warm"
BY_NAME = "toolkit, one tool by name, warm"
BARE = "importlib.metadata"
PLUGGY = "pluggy (imports every plugin)"
WITH_STEVEDORE = "stevedore, warm"
DISCOVER_WARM = "discover(), warm"
DISCOVER_COLD = "discover(), no cache (imports, compiles)"


@dataclass(frozen=True)
class Check:
    """One target, and whether it is reached. Immutable.

    Attributes:
        is_least: Whether the limit is the least, not the most.
        is_judged: Whether to miss it counts; else the figure is for the reader alone.
    """

    title: str
    value: float
    limit: float
    unit: str
    is_least: bool = False
    is_judged: bool = True

    @property
    def is_reached(self) -> bool:
        """Whether the value is on the right side of the limit, or on it."""
        if self.is_least:
            return self.value >= self.limit
        return self.value <= self.limit

    def __str__(self) -> str:
        """Say it in a line."""
        text = f"{self.title}: {self.value:,.2f} {self.unit}"
        if not self.is_judged:
            return f"{'-':<7}{text} (not judged)"
        sign = "ok" if self.is_reached else "MISSED"
        return f"{sign:<7}{text} ({'>=' if self.is_least else '<='} {self.limit:g})"


@dataclass(frozen=True)
class Table:
    """What one part has measured. Immutable.

    Attributes:
        title: What was done.
        unit: Of every value.
        rows: The values of all runs, by what was measured.
        checks: The targets.
    """

    title: str
    unit: str
    rows: Mapping[str, Sequence[float]]
    checks: Sequence[Check]


def times(found: Mapping[str, Sequence[Outcome]]) -> dict[str, list[float]]:
    """Return the milliseconds of all runs."""
    return {title: [one["ns"] / 1e6 for one in some] for title, some in found.items()}


def peaks(found: Mapping[str, Sequence[Outcome]]) -> dict[str, list[float]]:
    """Return the most MiB that all runs have had resident."""
    return {
        title: [one["peak_kib"] / KIB_IN_MIB for one in some]
        for title, some in found.items()
    }


def medians(rows: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each row."""
    return {title: median(values) for title, values in rows.items()}


def own_plugins() -> dict[str, list[str]]:
    """Return what the project's own environment publishes: names by distribution."""
    found: dict[str, list[str]] = {}
    for one in distributions():
        for point in one.entry_points:
            if point.group.startswith("toolkit."):
                found.setdefault(one.name, []).append(point.name)
    return found


def are_definitions_kept(outcome: Outcome) -> bool:
    """Tell whether a discovery has imported no plugin."""
    return not outcome["plugins"]


def tools_of(environment: Environment) -> int:
    """Return how many tools the N distributions publish."""
    return environment.count // PUBLISHES * len(TOOLS)


# --- listing, and one tool by its name -----------------------------------------------


def listing(environment: Environment, runs: int) -> Table:
    """Measure the listing of one group, and one tool by its name."""
    cases = listing_cases(environment)
    if missing := missing_stevedore():
        print(f"stevedore is left out, it cannot be installed: {missing}")
        cases = [case for case in cases if case.title != WITH_STEVEDORE]
    found = measure(environment, cases, runs)
    agree(environment, found)
    rows = times(found)
    checks = [*listing_checks(environment.count, medians(rows))]
    return Table(f"N = {environment.count:,}: listing", "ms", rows, checks)


def listing_cases(environment: Environment) -> list[Case]:
    """Return all that is compared."""
    module, points = environment.modules[-1], environment.points
    not_ours = [name for names in own_plugins().values() for name in names]
    return [
        Case(FLOOR_SCAN, "scan_floor"),
        Case(FLOOR_ASKED, "scan_floor_asked"),
        Case(FLOOR_TOLD, "scan_floor_told", points),
        Case(COLD, "toolkit", variables=NO_CACHE),
        Case(FLOOR_CACHE, "cache_floor", [environment.cache_file(), *points]),
        Case(WARM, "toolkit", is_warm=is_index_kept),
        Case(BY_NAME, "toolkit_by_name", [f"{module}_mean"], is_warm=is_index_kept),
        Case(FLOOR_IMPORT, "import_modules", [module]),
        Case(BARE, "bare"),
        Case(PLUGGY, "pluggy", not_ours),
        Case(WITH_STEVEDORE, "stevedore", before=str(STEVEDORE)),
    ]


def listing_checks(count: int, time_of: Mapping[str, float]) -> Iterator[Check]:
    """Compare the medians with the targets for this N.

    Yields:
        Each check.
    """
    scan, cache, warm = time_of[FLOOR_SCAN], time_of[FLOOR_CACHE], time_of[WARM]
    if count in TARGETS:
        cold, kept, faster = TARGETS[count]
        yield Check(COLD, time_of[COLD] / scan, cold, "x scan floor")
        for floor in (FLOOR_ASKED, FLOOR_TOLD):
            unit = f"x {floor}"
            yield Check(
                COLD, time_of[COLD] / time_of[floor], cold, unit, is_judged=False
            )
        yield Check(WARM, warm / cache, kept, "x cache floor")
        unit = f"x faster than {BARE}"
        yield Check(WARM, time_of[BARE] / warm, faster, unit, is_least=True)
    own = (time_of[BY_NAME] - time_of[FLOOR_IMPORT]) / cache
    yield Check(BY_NAME, own, MOST_BY_NAME, "x cache floor, beside the import")


def agree(environment: Environment, found: Mapping[str, Sequence[Outcome]]) -> None:
    """See that every contender has given all there is, and the same.

    Raises:
        SystemExit: One has not.
    """
    tools = tools_of(environment)
    if any(one["count"] != tools for one in found[PLUGGY]):
        raise SystemExit(f"pluggy has not registered {tools} tools")
    if not all(map(is_index_kept, (*found[WARM], *found[BY_NAME]))):
        raise SystemExit("no cache is kept; is something on the path being changed?")
    expected = found[BARE][0]
    if expected["count"] < tools:
        raise SystemExit(f"{BARE} has not found {tools} tools")
    for title in (COLD, WARM, WITH_STEVEDORE):
        for one in found.get(title, ()):
            if (one["count"], one["sum"]) != (expected["count"], expected["sum"]):
                raise SystemExit(f"{title} lists something else than {BARE}")


def missing_stevedore() -> str:
    """Install stevedore in a folder of its own; say why if that cannot be done."""
    if (STEVEDORE / "stevedore").is_dir():
        return ""
    options = ("-q", "--disable-pip-version-check", "--no-input")
    command = [sys.executable, "-m", "pip", "install", *options, "stevedore"]
    done = subprocess.run(  # noqa: S603 - fixed
        [*command, "--target", str(STEVEDORE)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "".join(done.stderr.strip().splitlines()[-1:]) if done.returncode else ""


# --- discover, memory ----------------------------------------------------------------


def discover(environment: Environment, runs: int) -> Table:
    """Measure `discover()` with every definition and schema.

    What it is judged by is the same answer without the cache: the modules imported, and
    a schema compiled of each tool's signature. Importing the modules alone is less than
    that, and gives no schema; it is shown beside, for either kind of module.
    """
    deny = [*own_plugins()]
    cases = [
        Case(DISCOVER_WARM, "toolkit_discover", deny, is_warm=are_definitions_kept),
        Case(DISCOVER_COLD, "toolkit_discover", deny, NO_CACHE),
        Case(FLOOR_IMPORT_ALL, "import_modules", environment.modules),
    ]
    found = measure(environment, cases, runs)
    rows = times(found)
    middle, warm = medians(rows), found[DISCOVER_WARM]
    title, took = DISCOVER_WARM, middle[DISCOVER_WARM]
    same, bare = f"of {DISCOVER_COLD}", f"of the {FLOOR_IMPORT_ALL}, without any schema"
    tools = min(one["count"] for one in warm)
    imported = max(one["plugins"] for one in warm)
    share, strict = took / middle[DISCOVER_COLD], took / middle[FLOOR_IMPORT_ALL]
    checks = [
        Check(title, share, MOST_DISCOVER, same),
        Check(title, strict, MOST_DISCOVER, bare, is_judged=False),
        Check(title, tools, tools_of(environment), "tools", is_least=True),
        Check(title, imported, 0, "plugin modules imported"),
    ]
    written = f"modules of the kind {environment.kind!r}"
    return Table(f"N = {environment.count:,}: discover, {written}", "ms", rows, checks)


def memory(environment: Environment, runs: int) -> Table:
    """Measure the most memory that a listing has resident."""
    cases = [
        Case(NOTHING, "nothing"),
        Case(WARM, "toolkit", is_warm=is_index_kept),
        Case(COLD, "toolkit", variables=NO_CACHE),
        Case(BARE, "bare"),
    ]
    rows = peaks(measure(environment, cases, runs))
    middle = medians(rows)
    added = middle[WARM] - middle[NOTHING]
    checks = [Check(WARM, added, MOST_MEMORY, f"MiB over a {NOTHING}")]
    return Table(f"N = {environment.count:,}: peak memory", "MiB", rows, checks)


def as_json(tables: Sequence[Table]) -> str:
    """Return all figures as JSON."""
    shown = [
        {
            "title": one.title,
            "unit": one.unit,
            "rows": {
                title: {"median": median(row), "min": min(row), "runs": list(row)}
                for title, row in one.rows.items()
            },
            "checks": [vars(check) | {"ok": check.is_reached} for check in one.checks],
        }
        for one in tables
    ]
    return json.dumps(shown, indent=1)
