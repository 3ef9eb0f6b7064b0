"""Check the types of the public interface as its users' type checkers see them.

Fails on a public symbol whose type is not known. What pyright would infer from a clear
right-hand side (a logger, a constant) is known well enough, and only counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


def verify(package: str) -> dict[str, Any]:
    """Return pyright's report on the types of an installed package.

    It runs in the environment's own folder: at the root of the project, pyright would
    take the source folder for another package of that name.

    Raises:
        SystemExit: pyright did not report.
    """
    done = subprocess.run(
        [
            str(BIN / "pyright"),
            "--verifytypes",
            package,
            "--ignoreexternal",
            "--outputjson",
        ],
        cwd=BIN,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        text = f"pyright ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        raise SystemExit(text) from None
    return report


def main(package: str) -> int:
    """Print each public symbol without a known type, and the counts.

    Returns:
        The exit status: 1 when there is such a symbol, or no symbol at all.
    """
    report = verify(package)
    counts = report["exportedSymbolCounts"]
    known, inferred = counts["withKnownType"], counts["withAmbiguousType"]
    for symbol in report["symbols"]:
        if symbol["isExported"] and not (
            symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
        ):
            print(f"{symbol['name']}: type not known")
    print(f"public symbols: {known} typed, {inferred} inferred", end=", ")
    print(f"{counts['withUnknownType']} unknown")
    return 1 if counts["withUnknownType"] or not known else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
