"""Real environments on disk, looked at by fresh interpreters.

Unlike in `tests.distributions`, nothing of the running test is part of them: each look
is a child process with its own path and its own cache.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import toolkit
from tests.distributions import Site

ROOT: Final = Path(toolkit.__file__).parent.parent
TIMEOUT: Final = 50  # seconds for one look; most take one or two

OURS: Final = (
    *("toolkit-broken", "toolkit-cloud-costs", "toolkit-data", "toolkit-text"),
    *("toolkit-cost-agent", "toolkit-data-agent", "toolkit-triage"),
)
"""The distributions of this checkout's plugins."""

REPORT: Final = """
import json, sys
from toolkit import Settings, discover
catalog, report = discover(Settings(**json.loads(sys.argv[1])))
print(json.dumps({
    "tools": list(catalog.names()),
    "status": report.status,
    "failed": {one.origin.distribution: [str(one.cause), one.detail]
               for one in report.failed},
    "rejected": {one.origin.distribution: str(one.reason) for one in report.rejected},
    "loaded": sorted(name for name in sys.modules if name.endswith("_mod")),
    "pydantic": "pydantic" in sys.modules,
    "definitions": [one.input_schema_json for one in catalog.definitions()],
    "descriptions": [one.description for one in catalog.definitions()],
}))
"""


class Environment:
    """A site folder, a cache, and interpreters that see both. Belongs to one test."""

    def __init__(self, folder: Path) -> None:
        """Make both, empty."""
        self.folder = folder
        self.site = Site(folder / "site")
        self.cache = folder / "cache"
        self.cache.mkdir()  # now: the working folder is on the path, too

    def run(
        self,
        code: str,
        *arguments: str,
        path: tuple[Path, ...] = (),
        environ: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh interpreter with the site at the end of its path."""
        places = [str(ROOT), *map(str, path), str(self.site.folder)]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TOOLKIT_", "PYTHON"))
        }
        return subprocess.run(  # noqa: S603 - our own interpreter
            [
                sys.executable,
                "-c",
                f"import sys; sys.path += {places}\n{code}",
                *arguments,
            ],
            cwd=self.folder,
            env={**kept, "XDG_CACHE_HOME": str(self.cache), **(environ or {})},
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=check,
        )

    def discover(
        self,
        *,
        path: tuple[Path, ...] = (),
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Discover in a fresh interpreter; return what `REPORT` prints.

        Only what a test installs is let in: the plugins of this checkout are denied.
        """
        told = {"deny": list(OURS), **settings}
        done = self.run(REPORT, json.dumps(told), path=path, environ=environ)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def toolkit(
        self, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command `toolkit` on this environment."""
        code = "from toolkit.cli import main; main()"
        return self.run(code, *arguments, environ=environ, check=False)

    def settle(self) -> None:
        """Let one tick of the file clock go by, as it does between two runs."""
        mark = self.folder / "mark"
        mark.write_text("now")
        started = mark.stat().st_mtime_ns
        while mark.stat().st_mtime_ns < started + 60_000_000:
            mark.write_text(str(time.monotonic()))
