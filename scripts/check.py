"""Run every static check, in parallel where that costs nothing, and report each.

All of them run even when one fails: one round shows everything there is to mend.
Runs in the project's environment: `make check`, or `nox -s check`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SPELLED = ("README.md", "CHANGELOG.md", "docs", "examples", "plugins", "toolkit")


class Outcome(NamedTuple):
    """What one check said."""

    title: str
    status: int
    output: str
    seconds: float


def checks() -> dict[str, list[str]]:
    """Map each check's title to its command."""
    spelled = [name for name in SPELLED if (ROOT / name).exists()]
    return {
        "format": ["ruff", "format", "--check"],
        "lint": ["ruff", "check"],
        "import contracts": ["lint-imports"],
        "types": ["mypy"],
        **types_of_plugin_tests(),
        "public types": ["python", "scripts/public_types.py", "toolkit"],
        "spelling": ["codespell", *spelled],
    }


def types_of_plugin_tests() -> dict[str, list[str]]:
    """Map a title to mypy's command for each plugin's tests.

    One run each, with a cache of its own: all their `conftest` modules have one name.
    """
    return {
        f"types, {folder.name}": [
            "mypy",
            "--cache-dir",
            str(cache),
            str(folder / "tests"),
        ]
        for folder in sorted((ROOT / "plugins").iterdir())
        if list(folder.glob("tests/*.py"))
        for cache in [ROOT / ".mypy_cache" / folder.name]
    }


def run(title: str, command: list[str]) -> Outcome:
    """Run one check at the root of the project.

    Args:
        title: What it is called.
        command: A program of this environment, and its arguments.

    Returns:
        Its status and all it printed.
    """
    started = time.monotonic()
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Outcome(title, done.returncode, done.stdout, time.monotonic() - started)


def main() -> int:
    """Run all checks and print a line for each, with the output of those that fail.

    Returns:
        The exit status: 1 when a check failed.
    """
    failed: list[str] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = [pool.submit(run, *check) for check in checks().items()]
        for job in jobs:
            outcome = job.result()
            if outcome.status:
                failed.append(outcome.title)
                print(outcome.output.rstrip())
            word = "FAILED" if outcome.status else "ok"
            print(f"{outcome.title:<28}{word:<8}{outcome.seconds:5.1f} s", flush=True)
    if failed:
        print(f"check: {', '.join(failed)} failed; `make format` mends some of it.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
