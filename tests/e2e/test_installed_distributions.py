"""The wheels of the core and the plugins, installed as a stranger would."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
PROJECTS = [ROOT, *PLUGINS]
BUILD = ("hatchling", "editables")
CAN_BUILD_OFFLINE = all(map(importlib.util.find_spec, BUILD))
TIMEOUT = 120  # seconds for one command; each takes a few

DISCOVER = """
import asyncio, json, sys, toolkit
catalog, report = toolkit.discover(toolkit.Settings(**json.loads(sys.argv[1])))
async def call(system):
    text = {"text": "a b b"}
    found = await system.dispatcher.execute("toolkit-text.word_count", text)
    return found.value_json()
factory = toolkit.UserContextToolFactory(catalog)
with factory.create_user_tool_system(toolkit.UserContext(user_id="ada")) as ada:
    answer = asyncio.run(call(ada)) if "toolkit-text.word_count" in catalog else None
print(json.dumps({
    "core": toolkit.__file__,
    "text": getattr(sys.modules.get("toolkit_text"), "__file__", None),
    "qualified": sorted(one.qualified_name for one in catalog.definitions()),
    "listed": list(catalog.names()),
    "findings": [one.as_dict() | {"seconds": 0} for one in report.findings],
    "collisions": [str(one.name) for one in report.collisions],
    "imported": sorted({name.partition(".")[0] for name in sys.modules}),
    "answer": answer,
}))
"""


def run(command: list[str], folder: Path) -> str:
    """Run a command away from the tree, and return what it prints."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "TOOLKIT_", "COVERAGE"))
    }
    done = subprocess.run(  # noqa: S603 - fixed commands
        command,
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dependencies(names: Iterable[str]) -> set[str]:
    """Return these distributions, and all that they require, of this environment."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in importlib_metadata.distribution(name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return found


def required() -> set[str]:
    """Return what the core and the plugins say they depend on, but for each other."""
    stated = [
        Requirement(text).name
        for folder in PROJECTS
        for text in tomllib.loads((folder / "pyproject.toml").read_text())["project"][
            "dependencies"
        ]
    ]
    return dependencies(name for name in stated if name != "toolkit-core")


class Stranger:
    """A fresh environment in which only the dependencies are there already."""

    def __init__(self, folder: Path, extra: Iterable[str] = ()) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        places = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        self.site = Path(sysconfig.get_path("purelib", "venv", places))
        for name in required() | dependencies(extra):
            self._link(importlib_metadata.distribution(name))

    def _link(self, distribution: Any) -> None:
        for top in {file.parts[0] for file in distribution.files or ()}:
            if top not in ("..", "__pycache__"):
                (self.site / top).symlink_to(distribution.locate_file(top))

    @cached_property
    def python(self) -> str:
        scripts = "Scripts" if os.name == "nt" else "bin"
        return str(self.folder / "venv" / scripts / "python")

    def pip_install(self, *what: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "-q"]
        quiet = [
            "--no-deps",
            "--disable-pip-version-check",
            "--no-warn-script-location",
        ]
        run([*pip, *quiet, *what], self.folder)

    def discover(self, **settings: Any) -> dict[str, Any]:
        """Discover in a fresh interpreter, and call a tool; return what came of it."""
        output = run([self.python, "-c", DISCOVER, json.dumps(settings)], self.folder)
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheels of the core and the plugins."""
    folder = tmp_path_factory.mktemp("wheels")
    options = ["--no-deps", "-q", "--disable-pip-version-check", "-w", str(folder)]
    if CAN_BUILD_OFFLINE:
        options.append("--no-build-isolation")
    projects = [str(project) for project in PROJECTS]
    run([sys.executable, "-m", "pip", "wheel", *options, *projects], folder)
    built = sorted(map(str, folder.glob("*.whl")))
    assert len(built) == len(PROJECTS) == 8
    return built


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, wheels: list[str]) -> Stranger:
    """Install all of them into one environment."""
    made = Stranger(tmp_path_factory.mktemp("stranger"))
    made.pip_install("--no-index", *wheels)
    return made


@pytest.fixture(scope="module")
def found(stranger: Stranger) -> dict[str, Any]:
    return stranger.discover()


def named(found: dict[str, Any], outcome: str) -> set[str]:
    """Return the distributions with a finding of this outcome."""
    return {
        one["distribution"] for one in found["findings"] if one["outcome"] == outcome
    }


def test_installed_wheels_are_what_is_used(
    stranger: Stranger, found: dict[str, Any]
) -> None:
    """Import core and plugins from the environment, not from the tree (S210, B66)."""
    for file in (found["core"], found["text"]):
        assert Path(file).is_relative_to(stranger.site)


def test_tools_of_all_good_packages_are_found_and_one_really_runs(
    found: dict[str, Any],
) -> None:
    """Discover, build a user's system, call: the whole way (S210, B66)."""
    owners = {name.partition(".")[0] for name in found["qualified"]}
    assert {"toolkit-text", "toolkit-data", "toolkit-cloud-costs"} <= owners
    assert '"b":2' in found["answer"].replace(" ", "")


def test_broken_package_is_named_and_takes_nothing_away(
    stranger: Stranger, found: dict[str, Any]
) -> None:
    """Blame the broken package alone; the others list the same tools (B12, S210)."""
    assert named(found, "failed") == {"toolkit-broken"}
    alone = stranger.discover(deny=["toolkit-broken"])
    theirs = [n for n in found["qualified"] if not n.startswith("toolkit-broken.")]
    assert alone["qualified"] == theirs
    assert named(alone, "skipped") == {"toolkit-broken"}
    assert "toolkit_broken" not in alone["imported"]
    assert alone["collisions"] == []


def test_no_schema_and_no_metaclass_is_listed(found: dict[str, Any]) -> None:
    """List no schema-derived name after a real installation (S9, S32, S36, B1, B5)."""
    assert not [name for name in found["listed"] if "model" in name.lower()]
    assert "pydantic_model" in {one["reason"] for one in found["findings"]}


def test_order_of_installation_does_not_show(
    tmp_path: Path, wheels: list[str], found: dict[str, Any]
) -> None:
    """Install in the opposite order, in two steps: the same findings (S210)."""
    other = Stranger(tmp_path)
    backwards = wheels[::-1]
    other.pip_install("--no-index", *backwards[:2])
    other.pip_install("--no-index", *backwards[2:])
    again = other.discover()
    for key in ("qualified", "listed", "collisions", "answer"):
        assert again[key] == found[key]
    assert _shape(again) == _shape(found)


def _shape(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the findings without what depends on addresses."""
    keys = ("outcome", "kind", "name", "qualified_name", "origin", "reason")
    return [tuple(str(one[key]) for key in keys) for one in found["findings"]]


def test_editable_install_is_discovered_and_follows_its_source(
    tmp_path: Path, wheels: list[str]
) -> None:
    """Install a plugin with ``pip install -e``, then edit it (S210)."""
    source = tmp_path / "checkout"
    skip = shutil.ignore_patterns("tests", "__pycache__", ".*")
    shutil.copytree(ROOT / "plugins/toolkit-text", source, ignore=skip)
    stranger = Stranger(tmp_path, BUILD if CAN_BUILD_OFFLINE else ())
    core = [wheel for wheel in wheels if "toolkit_core" in wheel]
    stranger.pip_install("--no-index", *core)
    options = ["--no-build-isolation"] if CAN_BUILD_OFFLINE else []
    stranger.pip_install(*options, "-e", str(source))
    before = stranger.discover()
    assert Path(before["text"]).is_relative_to(source)
    assert "toolkit-text.word_count" in before["qualified"]
    tools = source / "src/toolkit_text/tools.py"
    with tools.open("a") as file:
        file.write(
            "\n\nclass Added:\n    name = 'added'\n"
            "    def execute(self) -> str:\n        return 'added'\n"
        )
    after = stranger.discover()
    assert set(after["qualified"]) == {*before["qualified"], "toolkit-text.added"}
