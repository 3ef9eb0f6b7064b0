"""Walk packages that nobody here wrote, and see that nothing breaks or slips through.

Each package is walked in a child process of its own, for a bounded time. What is
accepted is checked once more, by plain means and not by the contract's own code.

Run: ``python benchmarks/scan_real_packages.py`` (makes an environment and installs the
packages), or ``--python PATH`` for an environment that has them and the core already.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "boto3": "boto3",
    "sympy": "sympy",
    "networkx": "networkx",
    "django": "django",
    "sqlalchemy": "sqlalchemy",
    "langchain-core": "langchain_core",
    "pydantic": "pydantic",
}
TIMEOUT = 120.0  # seconds for one package; the largest takes about ten
SHOWN_REASONS = 4


# --- the child: one package ----------------------------------------------------------


def scan(module: str) -> dict[str, Any]:
    """Walk one package and return counts; runs in the child."""
    from toolkit import Settings, discover  # noqa: PLC0415 - only the child has it
    from toolkit.discovery.sources import ModuleSource  # noqa: PLC0415 - the same

    started = time.perf_counter()
    catalog, report = discover(Settings(), sources=[ModuleSource([module])])
    seconds = time.perf_counter() - started
    imported = [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]
    return {
        "modules": len(imported),
        "accepted": [str(one.origin) for one in report.accepted],
        "rejected": len(report.rejected),
        "reasons": dict(report.reasons()),
        "failed": len(report.failed),
        "seconds": seconds,
        "breaches": [
            f"{one.tool.origin}: {why}"
            for one in catalog.view
            if (why := breach(one.tool.target))
        ],
    }


def breach(target: object) -> str:
    """Say why an accepted object is no tool, by plain means; empty when it is one."""
    from pydantic import BaseModel  # noqa: PLC0415 - only the child has it
    from pydantic.v1 import BaseModel as OldModel  # noqa: PLC0415 - the same

    cls = target if isinstance(target, type) else type(target)
    if issubclass(cls, BaseModel | OldModel | BaseException | tuple):
        return "it is a schema, an exception or a tuple"
    instance = cls() if isinstance(target, type) else target
    name = getattr(instance, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        return f"its name is {name!r}"
    return "" if callable(getattr(instance, "execute", None)) else "it has no execute"


# --- the parent: all of them, and the table ------------------------------------------


def environment(folder: Path) -> Path:
    """Make a virtual environment with the packages and the core in it."""
    print(f"installing {', '.join(PACKAGES)} ...", flush=True)
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    options = ("-q", "--disable-pip-version-check", "--no-input")
    pip = [str(python), "-m", "pip", "install", *options]
    subprocess.run([*pip, str(ROOT), *PACKAGES], check=True)  # noqa: S603 - fixed
    return python


def scan_in_child(python: Path, module: str, folder: Path) -> dict[str, Any] | str:
    """Walk a package in a child process; return its counts, or what went wrong."""
    result = folder / f"{module}.json"
    command = [str(python), __file__, "--child", module, "--result", str(result)]
    try:
        done = subprocess.run(  # noqa: S603 - fixed
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,  # a module that asks a question gets no answer
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {TIMEOUT:g} s"
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return f"ended with {done.returncode}: {''.join(last)}"
    counts: dict[str, Any] = json.loads(result.read_text())
    return counts


def row(package: str, counts: dict[str, Any]) -> str:
    """Return one line of the table."""
    accepted, reasons = len(counts["accepted"]), counts["reasons"]
    top = [f"{name} {count}" for name, count in list(reasons.items())[:SHOWN_REASONS]]
    rest = sum(list(reasons.values())[SHOWN_REASONS:])
    return (
        f"{package:<15}{counts['modules']:>8}{accepted + counts['rejected']:>11}"
        f"{accepted:>9}{counts['failed']:>7}{counts['seconds']:>8.1f}  "
        + ", ".join([*top, f"other {rest}"])
    )


def scan_all(python: Path, folder: Path) -> int:
    """Scan every package and print the table.

    Returns:
        How many packages broke the scan or slipped something through.
    """
    print(f"{'':<15}{'modules':>8}{'candidates':>11}{'accepted':>9}", end="")
    print(f"{'failed':>7}{'seconds':>8}  rejected by reason")
    faults = 0
    for package, module in PACKAGES.items():
        counts = scan_in_child(python, module, folder)
        if isinstance(counts, str):
            print(f"{package:<15}{counts}")
            faults += 1
            continue
        print(row(package, counts), flush=True)
        for line in counts["breaches"]:
            print(f"    accepted, but no tool: {line}")
        faults += bool(counts["breaches"])
    print(f"packages that broke the scan, or slipped something through: {faults}")
    return faults


def main() -> int:
    """Be the parent or the child.

    Returns:
        The exit status: 1 when a package broke the scan or slipped something through.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="of an environment with all of it")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        options.result.write_text(json.dumps(scan(options.child)))
        return 0
    with tempfile.TemporaryDirectory(prefix="toolkit-scan-") as temporary:
        folder = Path(temporary)
        python = options.python or environment(folder / "venv")
        return int(scan_all(python.absolute(), folder) > 0)


if __name__ == "__main__":
    sys.exit(main())
