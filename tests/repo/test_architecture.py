"""The house is as its plan says, and imports point down only."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.repo.documents import blocks
from tests.repo.sources import ROOT, our_files

PACKAGE = ROOT / "toolkit"
HOUSE, LAYERS = [
    one.text for one in blocks(ROOT / "docs/architecture.md") if one.language == "text"
]


def pyproject() -> dict[str, Any]:
    """Read the project's own file."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.integration
def test_imports_point_down_only() -> None:
    """Hold the layers and the three other import contracts."""
    done = subprocess.run(  # noqa: S603 - our own contracts
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


def test_layers_are_exhaustive_and_written_down() -> None:
    """Show in the documents the layers that the contract holds."""
    contract = pyproject()["tool"]["importlinter"]["contracts"][0]
    assert contract["exhaustive"] is True
    assert LAYERS.split("\n")[:-1] == contract["layers"]


def test_plan_of_the_house_names_every_module_and_no_other() -> None:
    """Compare the picture in the documents with the folder."""
    folder, planned = "", set()
    for line in HOUSE.splitlines()[1:]:
        depth = len(line) - len(line.lstrip())
        entry = line.split()[0]
        folder = entry if depth == 2 and entry.endswith("/") else folder
        if not entry.endswith("/"):
            planned.add(entry if depth == 2 else folder + entry)
    modules = {
        path.relative_to(PACKAGE).as_posix()
        for path in our_files()
        if path.is_relative_to(PACKAGE) and path.suffix == ".py"
    }
    inner = {one for one in modules if one.endswith("/__init__.py")}
    assert planned == modules - inner


def test_core_needs_no_more_than_it_says() -> None:
    """Depend on four libraries, and name the same four in the documents."""
    needed = {
        re.split(r"[<>=\[]", one)[0] for one in pyproject()["project"]["dependencies"]
    }
    assert needed == {"importlib-metadata", "packaging", "pluggy", "pydantic"}
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert all(name in text for name in needed)


def test_modules_are_small_enough_to_read() -> None:
    """Keep each module of the package to about two screens of one idea."""
    longer = {"errors.py": 1000}  # the whole tree in one place, and little else
    for path in sorted(PACKAGE.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        allowed = longer.get(path.name, 560)
        assert lines <= allowed, f"{path.relative_to(ROOT)} has {lines} lines"
