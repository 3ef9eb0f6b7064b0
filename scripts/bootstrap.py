"""Make `.venv` ready: the core and the plugins, editable, and the groups asked for.

Runs on a bare Python (standard library only), from the Makefile: `bootstrap.py test`.
Does nothing, and needs no network, when the environment already has the groups and no
`pyproject.toml` changed since. `bootstrap.py` alone installs what the demo needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "bootstrap.json"

# `pip install --group` came with 25.1; an older bundled pip is replaced first.
BUILD_TOOLS = ("pip>=25.1", "hatchling>=1.27", "editables>=0.5")

# What a caller's shell may say about *its* environment must not steer ours.
FOREIGN_VARIABLES = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_USER"}


def main(groups: list[str]) -> int:
    """Bring `.venv` up to date.

    Args:
        groups: Names of dependency groups of `pyproject.toml`.

    Returns:
        The exit status: 0, or 1 with a message on standard error.
    """
    fingerprint = fingerprint_of_inputs()
    ready = groups_ready(fingerprint)
    if ready is not None and ready.issuperset(groups):
        return 0
    started = time.monotonic()
    wanted = sorted({*groups, *(ready or ())})
    try:
        make_venv()
        install(wanted)
    except subprocess.CalledProcessError as error:
        say(f"failed with status {error.returncode}; its own words are above.")
        say("A first run needs a package index; `make clean` starts from nothing.")
        return 1
    STAMP.write_text(json.dumps({"fingerprint": fingerprint, "groups": wanted}))
    say(f"ready in {time.monotonic() - started:.0f} s")
    return 0


def plugin_folders() -> list[Path]:
    """List our plugin distributions, by name."""
    return sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def fingerprint_of_inputs() -> str:
    """Digest all that decides what gets installed, and where."""
    digest = hashlib.sha256(f"{VENV}".encode())
    for folder in (ROOT, *plugin_folders()):
        digest.update(folder.name.encode())
        digest.update((folder / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def groups_ready(fingerprint: str) -> set[str] | None:
    """Tell which groups the environment has; None when it is absent or stale."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None
    if stamp.get("fingerprint") != fingerprint or not venv_works():
        return None
    return set(stamp["groups"])


def venv_works() -> bool:
    """Tell whether `.venv` was made here, and its Python is new enough, and runs."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        made_by = (VENV / "pyvenv.cfg").read_text().rpartition("command = ")[2].strip()
        done = subprocess.run([VENV_PYTHON, "-Ic", probe], check=False)
    except OSError:
        return False
    # A moved or copied environment has scripts that point to where it was.
    return done.returncode == 0 and made_by.endswith(str(VENV))


def make_venv() -> None:
    """Create `.venv`, unless one that works is there."""
    if VENV_PYTHON.exists() and venv_works():
        return
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"creating .venv with Python {version}")
    run(sys.executable, "-m", "venv", "--clear", str(VENV))


def install(groups: list[str]) -> None:
    """Install the core, the plugins and the groups, from the tree first.

    All of ours is named in one command, so that a plugin's `toolkit-core` is satisfied
    by the tree and never looked for on an index.

    Args:
        groups: Names of dependency groups.
    """
    say("installing pip and the build backend")
    run_pip("--upgrade", *BUILD_TOOLS)
    plugins = plugin_folders()
    names = " ".join(["toolkit-core", *(folder.name for folder in plugins)])
    say(f"installing {names}")
    if groups:
        say(f"with the tools to {', '.join(groups)} (a minute or two the first time)")
    ours = ["-e", ".[cli,server]"]
    for folder in plugins:
        ours += ["-e", f"./{folder.relative_to(ROOT).as_posix()}"]
    for group in groups:
        ours += ["--group", group]
    run_pip("--no-build-isolation", *ours)


def run_pip(*arguments: str) -> None:
    """Run this environment's pip, quietly but for errors.

    Args:
        *arguments: What follows `pip install`.
    """
    options = ("-qq", "--disable-pip-version-check", "--no-input")
    run(str(VENV_PYTHON), "-m", "pip", "install", *options, *arguments)


def run(*command: str) -> None:
    """Run a command at the root of the project, in a clean environment, or raise.

    Args:
        *command: The program and its arguments.
    """
    ours = os.environ.keys() - FOREIGN_VARIABLES
    environment = {name: os.environ[name] for name in ours}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def say(text: str) -> None:
    """Print one progress line, at once."""
    print(f"==> {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
