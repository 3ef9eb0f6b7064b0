"""Build the core and every plugin into `dist/`: an sdist, and the wheel made from it.

What says "Private :: Do Not Upload" goes to `dist/private/`, so that whoever uploads
`dist/*` cannot upload it. Runs in the project's environment: `make wheels`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PRIVATE = "Private :: Do Not Upload"


def main() -> int:
    """Build everything afresh.

    Returns:
        The exit status: that of the first build which failed.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    folders = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
    for folder in (ROOT, *folders):
        name, target = name_and_target(folder)
        print(f"==> building {name}", flush=True)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
        done = subprocess.run(
            [*command, str(target), str(folder)],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n")
            return done.returncode
    return 0


def name_and_target(folder: Path) -> tuple[str, Path]:
    """Read a distribution's name, and where its files belong."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    is_private = PRIVATE in project.get("classifiers", ())
    return project["name"], DIST / "private" if is_private else DIST


if __name__ == "__main__":
    sys.exit(main())
