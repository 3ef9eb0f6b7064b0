"""`import toolkit` loads nothing but itself; each public name brings what it needs."""

import subprocess
import sys
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


def test_heavy_modules_would_be_noticed() -> None:
    """See the check fail on a module that is heavy."""
    assert "asyncio" in loaded_by("import asyncio")
