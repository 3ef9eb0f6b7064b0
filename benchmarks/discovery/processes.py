"""An environment of N distributions, and fresh processes in it, by turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.discovery.build import build

HERE = Path(__file__).resolve().parent
TIMEOUT = 120.0  # seconds for one process; the slowest takes about two
SETTLED = 10.0  # seconds until what was just changed can be kept; 50 ms are needed

FOREIGN = ("PYTHON", "TOOLKIT_", "COVERAGE_")
"""Variables that would change what is measured, by how they begin.

PYTHONDONTWRITEBYTECODE above all: without byte code each process compiles anew.
"""
PROLOGUE = """\
import sys
here, folders, name, file = sys.argv[1:]
sys.path.insert(0, here)
import contenders
del sys.path[0]
sys.path += folders.split("\\n")
contenders.main(name, file)
"""

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One thing that is measured. Immutable.

    Attributes:
        title: What the table calls it.
        name: The function in `contenders.py`.
        given: The texts that function is given.
        variables: Of the process, beside those that all have.
        before: A folder that stands on the path before the N distributions.
        is_warm: Tells of an outcome whether the caches held, as they should have.
    """

    title: str
    name: str
    given: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    is_warm: Callable[[Outcome], bool] = lambda _: True


def is_index_kept(outcome: Outcome) -> bool:
    """Tell whether the toolkit has listed without reading any metadata."""
    return not outcome["scanned"]


class Environment:
    """N distributions in a folder, and a place for caches; see `environment`.

    Attributes:
        count: N.
        kind: Of the publishers' modules; `build.py` says which there are.
        points: The entry_points.txt of each publisher, sorted.
        modules: The names of the publishers' modules, sorted.
        again: How many runs were taken again, because they were not warm.
    """

    def __init__(self, count: int, folder: Path, kind: str) -> None:
        """Build it; takes some seconds for thousands."""
        self._site, self._folder = folder / "site", folder
        build(self._site, count, kind)
        self.count, self.kind = count, kind
        self.points = sorted(map(str, self._site.glob("*.dist-info/entry_points.txt")))
        self.modules = sorted(file.stem for file in self._site.glob("*.py"))
        self.again = 0

    def cache_file(self) -> str:
        """Return the one file that the toolkit has written for this path."""
        (file,) = self._folder.glob("toolkit-core/*.index")
        return str(file)

    def run(self, case: Case) -> Outcome:
        """Run a case in a fresh process; again for some seconds while caches fail.

        Raises:
            SystemExit: It fails.
        """
        until = time.monotonic() + SETTLED
        outcome = self._once(case)
        while not case.is_warm(outcome) and time.monotonic() < until:
            self.again += 1
            outcome = self._once(case)
        return outcome

    def _once(self, case: Case) -> Outcome:
        file = self._folder / "given"
        file.write_text("\n".join(case.given), encoding="utf-8")
        folders = "\n".join(filter(None, (case.before, str(self._site))))
        # -P: no current folder on the path, which would be one more to look through
        child = [sys.executable, "-P", "-c", PROLOGUE, str(HERE), folders, case.name]
        done = subprocess.run(  # noqa: S603 - fixed
            [*child, str(file)],
            env={**self._variables(), **case.variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{case.title} failed:\n{done.stderr}")
        outcome: Outcome = json.loads(done.stdout)
        return outcome

    def _variables(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        return {**kept, "XDG_CACHE_HOME": str(self._folder)}


@contextmanager
def environment(count: int, kind: str = "plain") -> Iterator[Environment]:
    """Lend an environment of so many distributions, and remove it afterwards.

    Yields:
        The environment, with a cache that is written and will be kept.
    """
    with tempfile.TemporaryDirectory(prefix="toolkit-discovery-") as folder:
        one = Environment(count, Path(folder).resolve(), kind)
        one.run(Case("toolkit", "toolkit", is_warm=is_index_kept))
        one.again = 0  # the first is never warm, nor is one within the same 50 ms
        yield one


def measure(
    environment: Environment, cases: Sequence[Case], runs: int
) -> dict[str, list[Outcome]]:
    """Run all cases by turns, after a first run of each, which does not count.

    Returns:
        The outcomes by title, in the order of the cases.

    Raises:
        SystemExit: A case fails; or byte code is not written, so that no time is right.
    """
    found: dict[str, list[Outcome]] = {case.title: [] for case in cases}
    for case in cases:
        environment.run(case)
        if not environment.run(case)["compiled"]:
            raise SystemExit("the byte code of the toolkit cannot be written")
    for number in range(runs):
        first = number % len(cases)  # nobody is always behind the same one
        for case in (*cases[first:], *cases[:first]):
            found[case.title].append(environment.run(case))
    return found
