"""The template: a copy of it works, with the renames its README says and no others."""

import shutil
from pathlib import Path

import pytest

from tests.repo.documents import Sandbox
from tests.repo.sources import ROOT

TEMPLATE = ROOT / "plugins/toolkit-text"

# What is in an environment with the core and pytest, and nothing else.
ALONE = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python -W error -m pytest"
PYTEST = f"{ALONE} -p toolkit.pytest_plugin -p no:cacheprovider --quiet"


@pytest.mark.e2e
@pytest.mark.timeout(120)  # builds and installs; the machine may be busy
def test_renamed_copy_of_the_template_passes_its_own_tests(tmp_path: Path) -> None:
    """Do what step 1 of its README says, install, run its tests (S17, B66)."""
    sandbox = Sandbox(tmp_path)
    copy = sandbox.cwd / "acme-tools"
    skipped = shutil.ignore_patterns("__pycache__", ".*", "dist", "build")
    shutil.copytree(TEMPLATE, copy, ignore=skipped)
    sandbox.shell("cd acme-tools")
    console = [one for one in lines_of_step_one() if one.startswith("$ ")]
    assert console
    for line in console:
        sandbox.shell(line.removeprefix("$ "))
    assert mentions(copy, "toolkit-text", "toolkit_text") == []

    sandbox.shell("pip install --quiet -e . pytest")
    assert " passed in " in sandbox.shell(PYTEST)
    assert "acme-tools" in sandbox.shell("TOOLKIT_ALLOW=acme-tools toolkit list")


def lines_of_step_one() -> list[str]:
    """Return the lines of the README between its first two steps, without indent."""
    text = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    step = text.partition("\n1. ")[2].partition("\n2. ")[0]
    return [line.strip() for line in step.splitlines()]


def mentions(folder: Path, *names: str) -> list[str]:
    """List the files of a folder that have one of the names, in text or path."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and any(
            name in f"{path.relative_to(folder)} {path.read_text(encoding='utf-8')}"
            for name in names
        )
    ]
