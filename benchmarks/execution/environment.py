"""The contenders' own environment, made on demand, and what is measured in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import toolkit
from benchmarks.discovery.parts import Check, Table
from benchmarks.discovery.processes import FOREIGN
from benchmarks.execution.calls import ASYNC, D, shown
from benchmarks.execution.contenders import CONTENDERS, GIVEN_BY_US, WORKERS
from benchmarks.execution.processes import BARE
from benchmarks.execution.timing import ratio

HOME = Path(__file__).resolve().parents[2]
FOLDER = HOME / "build" / "bench-contenders"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OTHERS = ("anyio", "loky", "pebble")  # keep worker processes
TIMEOUT = 180.0  # seconds for one contender; the slowest takes about twenty
LEAST_AHEAD = 3.0  # times, of each that validates

MIDDLE, WORST = "neighbour, median", "neighbour, slowest"


def contenders(runs: int) -> Iterator[Table]:
    """Compare with each of the others; all are left out where none can be installed.

    Yields:
        A table for each, one of waits, and one for each library that keeps processes.
    """
    if missing := _missing():
        print(f"contenders are left out, they cannot be installed: {missing}")
        return
    waits: dict[str, list[float]] = {}
    for name in CONTENDERS:
        outcome = _measured(name, runs)
        waits[f"{name}, {MIDDLE}"] = [outcome["waits"][0]]
        waits[f"{name}, {WORST}"] = [outcome["waits"][1]]
        title = f"the same tool with {name} {outcome['version']}, in its process"
        rows = outcome["rows"]
        yield Table(title, "us", rows, [*_compared(rows, outcome["validates"])])
    title = "with others: a neighbour under 200 blocking calls of 0.1 s"
    yield Table(title, "ms", waits, [])
    for name in WORKERS:
        rows = _measured(name, runs)["rows"]
        title = f"a call to a warm process with {name}, in its process"
        yield Table(title, "us", rows, [shown(rows, name, BARE)])


def _compared(
    rows: Mapping[str, Sequence[float]], validates: Mapping[str, bool]
) -> Iterator[Check]:
    yield shown(rows, ASYNC, D)
    for title, is_checked in validates.items():
        yield shown(rows, title, D)
        ahead = f"{title}, which {'validates' if is_checked else 'does not validate'}"
        value = ratio(rows, title, ASYNC)
        yield Check(ahead, value, LEAST_AHEAD, "x ours", True, is_checked)  # noqa: FBT003 - least, judged
    for title in rows:
        if title.startswith("the same, "):
            yield shown(rows, title, GIVEN_BY_US)


def _measured(name: str, runs: int) -> dict[str, Any]:
    root = str(Path(toolkit.__file__).resolve().parents[1])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    command = (str(PYTHON), "-P", "-m", "benchmarks.execution.contenders")
    done = subprocess.run(  # noqa: S603 - fixed
        [*command, name, str(runs)],
        env={**kept, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def _missing() -> str:
    """Make the environment and install into it; say why if that cannot be done."""
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    ours = project["project"]["dependencies"]  # the toolkit runs there too
    wanted = sorted([*ours, *OTHERS, *(name for name, _ in CONTENDERS.values())])
    note = FOLDER / "installed.txt"
    text = "\n".join(wanted)
    if note.is_file() and note.read_text(encoding="utf-8") == text:
        return ""
    options = ("-q", "--disable-pip-version-check", "--no-input")
    install = [str(PYTHON), "-m", "pip", "install", *options, "--upgrade"]
    for command in ([sys.executable, "-m", "venv", str(FOLDER)], [*install, *wanted]):
        done = subprocess.run(  # noqa: S603 - fixed
            command, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return "".join(done.stderr.strip().splitlines()[-1:])
    note.write_text(text, encoding="utf-8")
    return ""
