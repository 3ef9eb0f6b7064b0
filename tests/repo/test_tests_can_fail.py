"""Break the code on purpose, a line at a time: the tests that guard it must see it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.repo.sources import ROOT

pytestmark = pytest.mark.e2e


class Fault(NamedTuple):
    """One line of the package, what it is broken into, and who must notice."""

    module: str
    line: str
    broken: str
    guards: str


FAULTS: Final = {
    "schemas pass for tools": Fault(
        "contract.py",
        'for module in ("pydantic.main", "pydantic.v1.main"):',
        'for module in ("pydantic.nowhere",):',
        "tests/unit/test_contract.py",
    ),
    "metaclasses pass for names": Fault(
        "naming.py",
        'if text.lower() in _METACLASSES or text.lower().endswith("metaclass"):',
        'if text in _METACLASSES and text.endswith("metaclass"):',
        "tests/unit/test_naming.py",
    ),
    "duplicates replace each other": Fault(
        "registry.py",
        "if self._is_taken(key) and not self.allow_override:",
        "if self._is_taken(key) and self.allow_override:",
        "tests/unit/test_registry.py",
    ),
    "scopes are not asked for": Fault(
        "policy.py",
        "missing = tool.required_scopes - scopes",
        "missing = tool.required_scopes - tool.required_scopes",
        "tests/unit/test_policy.py",
    ),
    "secrets leave in events": Fault(
        "events.py",
        "key: REDACTED if key.casefold() in fields else",
        "key: REDACTED if key == REDACTED else",
        "tests/unit/test_events.py",
    ),
    "an id may be empty": Fault(
        "context.py",
        "    if not value.strip():\n",
        "    if value is None:\n",
        "tests/unit/test_context.py",
    ),
    "files may change under a record": Fault(
        "discovery/records.py",
        "return all(stamp(place) == (time, size) for place, time, size in stamps)",
        "return all(place for place, time, size in stamps)",
        "tests/unit/test_records.py",
    ),
    "what differs from the cache is not told": Fault(
        "discovery/loading.py",
        "if known and changed:",
        "if not known and changed:",
        "tests/unit/test_records.py",
    ),
    "a known tool is imported without the lock": Fault(
        "discovery/loading.py",
        'return detail if refusal else ""',
        'return ""',
        "tests/unit/test_records.py",
    ),
    "a changed file is trusted": Fault(
        "discovery/trust.py",
        "        elif was != there:\n",
        "        elif not was:\n",
        "tests/unit/test_trust.py",
    ),
    "culprits pull their neighbours down": Fault(
        "discovery/probe.py",
        "if turn and not _is_clean(record):",
        "if turn and not record:",
        "tests/e2e/test_probe.py",
    ),
    "a run ends while its calls go on": Fault(
        "session/protocol.py",
        "    elif kind in _ENDS and run.calls:\n",
        "    elif kind in _ENDS and not run:\n",
        "tests/unit/test_session.py",
    ),
    "a client says who it is": Fault(
        "session/messages.py",
        'frozen=True, extra="ignore", strict=True',
        'frozen=True, extra="allow", strict=True',
        "tests/unit/test_messages.py",
    ),
    "refresh changes who is there": Fault(
        "app.py",
        "            self._now = _Generation(settings, catalog, report, factory)\n"
        "            self._counts",
        "            self._now = before\n            self._counts",
        "tests/integration/test_refresh.py",
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the guarding tests need."""
    folder = tmp_path_factory.mktemp("mutants") / "project"
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("toolkit", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(project: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run test files of the copy against the package in the copy."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    return subprocess.run(  # noqa: S603 - our own tests
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


@pytest.mark.timeout(120)  # runs several suites, on a machine that may be busy
def test_guards_pass_on_code_that_is_not_broken(project: Path) -> None:
    """Pass in the copy as it is, so that red below means the fault (S6, S18)."""
    guards = {fault.guards for fault in FAULTS.values()}
    quick = sorted(one for one in guards if not one.startswith("tests/e2e/"))
    done = run(project, *quick)
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-4000:]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", sorted(FAULTS))
def test_guards_fail_on_code_that_is_broken(what: str, project: Path) -> None:
    """Turn red for each fault, by a test that failed and not by an error (S18, B68)."""
    fault = FAULTS[what]
    module = project / "toolkit" / fault.module
    sound = module.read_text(encoding="utf-8")
    assert sound.count(fault.line) == 1, f"{fault.module} changed; mend this list"
    module.write_text(sound.replace(fault.line, fault.broken), encoding="utf-8")
    try:
        done = run(project, fault.guards)
    finally:
        module.write_text(sound, encoding="utf-8")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-4000:]
    assert "\nFAILED " in done.stdout
