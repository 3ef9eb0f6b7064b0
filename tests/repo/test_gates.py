"""Phases, markers and gates: they exist, they select, and they are written down."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.conftest import PHASES
from tests.repo.sources import ROOT, all_trees

MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
MARKERS: Final = (*PHASES, "no_docker", "staging", "authenticated")
FOLDERS: Final = {"z": "unit", "y": "integration", "x": "e2e", "w": "mission_critical"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small project under our configuration: one test file for each folder."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for stem, phase in FOLDERS.items():
        place = folder / "tests" / phase
        place.mkdir(parents=True)
        text = "import pytest\ndef test_plain(): ...\n"
        for marker in ("staging", "authenticated"):
            text += f"@pytest.mark.{marker}\ndef test_{marker}(): ...\n"
        (place / f"test_{stem}_{phase}.py").write_text(text)
    shutil.copy(ROOT / "tests/conftest.py", folder / "tests")
    return folder


# Collects once for each list of options and prints what it found, in one process.
COLLECTOR: Final = """
import contextlib, io, json, sys
import pytest

class Names:
    def pytest_collection_finish(self, session):
        self.ids = [item.nodeid for item in session.items]

found = []
for options in json.load(sys.stdin):
    names, printed = Names(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = pytest.main(["--collect-only", "-q", *options, "tests"], [names])
    found.append([int(status), getattr(names, "ids", []), printed.getvalue()])
print(json.dumps(found))
"""


class Collected(NamedTuple):
    """What one collection gave."""

    status: int
    ids: list[str]
    printed: str

    @property
    def phases(self) -> list[str]:
        """List the phases of the tests, in the order in which they would run."""
        return list(dict.fromkeys(one.split("/")[1] for one in self.ids))


def collect(project: Path, *options: tuple[str, ...]) -> list[Collected]:
    """Collect the project's tests once for each tuple of options."""
    done = subprocess.run(  # noqa: S603 - our own runner
        [sys.executable, "-c", COLLECTOR],
        input=json.dumps(options),
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [Collected(*one) for one in json.loads(done.stdout)]


@pytest.mark.integration
def test_phases_run_in_order_and_markers_select(project: Path) -> None:
    """Sort by phase whatever the files are called; select by marker (S161, S162)."""
    everything, *selected = collect(project, (), *(("-m", one) for one in MARKERS))
    assert everything.phases == list(PHASES)
    assert len(everything.ids) == 3 * len(PHASES)
    for marker, found in zip(MARKERS, selected, strict=True):
        if marker in PHASES:
            assert found.phases == [marker]
            assert len(found.ids) == 3
        elif marker == "no_docker":
            assert sorted(found.ids) == sorted(everything.ids)
        else:
            assert {one.partition("::")[2] for one in found.ids} == {f"test_{marker}"}


def test_markers_are_declared_with_what_they_mean(pytestconfig: pytest.Config) -> None:
    """Declare each marker, so that a misspelt one is an error (S162)."""
    declared = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert set(MARKERS) <= declared


@pytest.mark.integration
def test_folder_without_a_phase_is_an_error(project: Path, tmp_path: Path) -> None:
    """Refuse a new folder of tests until somebody gives it a phase (S21)."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    (copy / "tests/novel").mkdir()
    (copy / "tests/novel/test_new.py").write_text("def test_new(): ...\n")
    (found,) = collect(copy, ())
    assert found.status == pytest.ExitCode.USAGE_ERROR


def test_four_phases_have_tests() -> None:
    """Have tests of our own in each of the four phases (S21)."""
    folders = {name.split("/")[1] for name in all_trees() if name.startswith("tests/")}
    assert set(PHASES) <= folders


def commands_of(target: str) -> str:
    """Return what a target of the Makefile would run."""
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(  # noqa: S603 - prints, runs nothing
        [make, "--no-print-directory", "--dry-run", target],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("gate", "phases"),
    [
        ("gate-commit", "unit"),
        ("gate-staging", "unit or integration"),
        ("gate-production", "e2e or mission_critical"),
    ],
)
def test_gate_runs_the_phases_it_is_for(gate: str, phases: str) -> None:
    """Gate a commit, staging and production by their phases (S163-S165)."""
    ran = commands_of(gate).replace('"', "").replace("'", "")
    assert re.search(rf"pytest -m {phases}\s*$", ran, re.MULTILINE), ran


def test_commit_is_gated_by_a_hook() -> None:
    """Run the unit tests before a commit, not only by those who remember to (S163)."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entry = re.search(r"entry: make .*gate-commit\n(?:.*\n)*", hooks)
    assert entry is not None
    for place in ("toolkit/", "plugins/", "tests/"):
        assert place in entry[0]


def test_gates_say_what_fails_before_the_fix_and_what_passes_now() -> None:
    """Write down for each gate the expected result, broken and mended (S166)."""
    text = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if "make gate-" in line]
    assert [row[1].strip() for row in rows] == [
        "before a commit",
        "before staging",
        "before production",
    ]
    assert all("fail" in row[3] and "pass" in row[4] for row in rows)


def test_every_folder_of_tests_is_explained() -> None:
    """Say in the tests' own README what goes into each folder (S166)."""
    text = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    folders = {name.split("/")[1] for name in all_trees() if name.startswith("tests/")}
    missing = {one for one in folders if f"`{one}/`" not in text and "." not in one}
    assert missing == set()


REPORT: Final = '<testsuites><testsuite tests="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (REPORT.format(3, 1), 0),
        (REPORT.format(3, 3), 1),
        (REPORT.format(0, 0), 1),
        (None, 1),
    ],
    ids=["some ran", "all skipped", "none collected", "no report"],
)
def test_run_without_executed_tests_fails(
    report: str | None, status: int, tmp_path: Path
) -> None:
    """Count what was executed, and fail when that is nothing (B67)."""
    file = tmp_path / "junit.xml"
    if report is not None:
        file.write_text(report)
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(ROOT / "scripts/require_executed_tests.py"), str(file)],
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
    )
    assert done.returncode == status
    assert bool(done.stderr) is bool(status)


def test_every_change_is_checked_built_smoked_and_tested() -> None:
    """Let CI go the whole way: checks, wheels elsewhere, tests (S191, B66, B67)."""
    text = (ROOT / ".ci/run").read_text(encoding="utf-8")
    order = ["make check", "make smoke", "make test", "require_executed_tests.py"]
    positions = [text.find(one) for one in order]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert "smoke_wheels.py" in commands_of("smoke")
