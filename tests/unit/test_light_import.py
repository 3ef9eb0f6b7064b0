"""`import toolkit` loads nothing but itself; each public name brings what it needs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import toolkit

ROOT = Path(toolkit.__file__).parent.parent
HEAVY = {"pydantic", "pluggy", "importlib.metadata", "importlib_metadata", "asyncio"}


def loaded_by(code: str) -> set[str]:
    """Return the modules that code loads in a fresh interpreter."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"{code}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-S", "-c", program],  # -S: what site loads is not ours
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stdout.split())


def test_import_loads_no_other_module() -> None:
    """Add nothing to a bare interpreter but the package itself (B55)."""
    assert loaded_by("import toolkit") == {"toolkit"}


def test_asking_what_there_is_loads_nothing() -> None:
    """List the public names without loading what is behind them (B55)."""
    assert loaded_by("import toolkit; dir(toolkit); toolkit.__all__") == {"toolkit"}


@pytest.mark.parametrize(
    "name", ["Origin", "UserContext", "ToolError", "Settings", "tool"]
)
def test_names_that_authors_and_operators_use_first_stay_light(name: str) -> None:
    """Load neither validation, hooks, metadata nor the event loop (B55)."""
    loaded = loaded_by(f"from toolkit import {name}")
    assert loaded
    assert not HEAVY & loaded


def test_listing_what_is_kept_loads_two_packages_and_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answer from the kept file with the package alone, and scan only without it."""
    monkeypatch.delenv("TOOLKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site, info = tmp_path / "site", tmp_path / "site/pkg-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[toolkit.tools]\nsum = pkg:Sum\n")
    (site / "toolkit").symlink_to(ROOT / "toolkit")
    old = (time.time_ns() - 3_600_000_000_000) | 1  # a young folder is not kept
    for place in (info / "entry_points.txt", info, site):
        os.utime(place, ns=(old, old))
    listing = f"""
sys.path[0] = {str(site)!r}
from toolkit.discovery import entry_points
assert [point.name for point in entry_points("toolkit.tools")] == ["sum"]
"""
    assert "toolkit.discovery.scan" in loaded_by(listing)
    always = loaded_by("import os")  # unless ``-S`` keeps `site` from loading it
    assert loaded_by(listing) - always == {"toolkit", "toolkit.discovery"}


def test_heavy_modules_would_be_noticed() -> None:
    """See the check fail on a module that is heavy."""
    assert "asyncio" in loaded_by("import asyncio")
