"""The same jobs on every Python at hand; a bare `nox` runs them all.

`make` and CI use the project's own environment; here each session has a fresh one.
"""

from __future__ import annotations

from pathlib import Path

import nox

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False  # "at hand" may be one
nox.options.sessions = ["tests", "check", "wheel"]


def install(session: nox.Session, group: str) -> None:
    """Install the core and the plugins from the tree, and one dependency group."""
    folders = sorted(path.parent for path in Path("plugins").glob("*/pyproject.toml"))
    plugins = [argument for folder in folders for argument in ("-e", f"./{folder}")]
    session.install("--upgrade", "pip>=25.1")  # the first with --group
    session.install("-e", ".[cli,server]", *plugins, "--group", group)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests; arguments after -- go to pytest."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def check(session: nox.Session) -> None:
    """Run the static checks on the oldest Python we promise."""
    install(session, "check")
    session.run("python", "scripts/check.py")


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Build the wheels, then use them outside the tree."""
    session.install("--upgrade", "pip>=25.1")
    session.install("--group", "build")
    session.run("python", "scripts/build_wheels.py")
    session.run("python", "scripts/smoke_wheels.py")
