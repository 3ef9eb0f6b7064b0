"""What `import toolkit` adds to a bare interpreter: milliseconds and modules.

Fresh interpreters, bare and importing by turns, so that a slow minute of the machine
hits both alike. Run: ``python benchmarks/import_time.py [--runs 40]``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
TARGET_MS = 5.0
HEAVY = ("pydantic", "pluggy", "importlib.metadata", "importlib_metadata", "asyncio")

BARE = "pass"
IMPORT = "import toolkit"
LIST = (
    "import sys; before = set(sys.modules); import toolkit; "
    "print(*sorted(set(sys.modules) - before))"
)


def milliseconds(code: str) -> float:
    """Run code in a fresh interpreter and return how long the whole process took."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603 - fixed
    return (time.perf_counter() - started) * 1000


def added_modules() -> list[str]:
    """Return the modules that `import toolkit` loads beyond a bare interpreter."""
    command = [sys.executable, "-c", LIST]
    return subprocess.check_output(command, cwd=ROOT, text=True).split()  # noqa: S603 - fixed


def main() -> int:
    """Measure, print, and compare with the target.

    Returns:
        The exit status: 1 when a target is missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="of each kind")
    runs = max(20, parser.parse_args().runs)
    milliseconds(IMPORT)  # the first run writes the byte code
    pairs = [(milliseconds(BARE), milliseconds(IMPORT)) for _ in range(runs)]
    bare = median(pair[0] for pair in pairs)
    with_toolkit = median(pair[1] for pair in pairs)
    added = median(pair[1] - pair[0] for pair in pairs)
    modules = added_modules()
    heavy = [name for name in modules if name.startswith(HEAVY)]
    print(f"runs of each        {runs}")
    print(f"bare interpreter    {bare:8.2f} ms (median)")
    print(f"import toolkit      {with_toolkit:8.2f} ms (median)")
    print(f"added               {added:8.2f} ms (median of pairs; <= {TARGET_MS:g})")
    print(f"ratio               {with_toolkit / bare:8.2f}")
    print(f"modules it loads    {', '.join(modules)}")
    print(f"of these too heavy  {', '.join(heavy) or 'none'}")
    return int(added > TARGET_MS or bool(heavy))


if __name__ == "__main__":
    sys.exit(main())
