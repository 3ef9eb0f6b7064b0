"""Use the built wheels as a stranger would: outside the tree, in a fresh environment.

First the core and the plugins, then the broken package beside them, which must take
nothing away but the bare names it claims too. Runs after `scripts/build_wheels.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

DIST = Path(__file__).resolve().parent.parent / "dist"
CALL = ("--user", "smoke", "--args", '{"text": "to be or not to be"}')
AGENTS = {"cost_optimization_agent", "data_agent", "triage_agent"}
TIMEOUT = 120.0  # seconds for one command; each takes about one


class Stranger:
    """Someone's machine: an empty folder with a virtual environment in it."""

    def __init__(self, home: Path) -> None:
        """Make the environment."""
        self.home = home
        self.bin = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.run(Path(sys.executable), "-m", "venv", str(home / "venv"))

    def run(self, program: Path, *arguments: str, expect: int = 0) -> str:
        """Run a program in the folder, away from the tree and its environment.

        Args:
            program: What to run.
            *arguments: Its arguments.
            expect: The exit status it must have.

        Returns:
            What it printed on standard output.

        Raises:
            SystemExit: It took too long, or ended with another status.
        """
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV", "TOOLKIT_"))
        }
        done = subprocess.run(
            [str(program), *arguments],
            cwd=self.home,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode != expect:
            print(done.stdout, done.stderr, sep="\n")
            command = " ".join([program.name, *arguments])
            raise SystemExit(
                f"smoke: `{command}` ended with {done.returncode}, not {expect}"
            )
        return done.stdout

    def install(self, wheels: list[Path], extra: str = "") -> None:
        """Install wheels with what they depend on."""
        options = ("-qq", "--disable-pip-version-check", "--no-input")
        targets = [f"{wheel}{extra}" for wheel in wheels]
        self.run(self.bin / "python", "-m", "pip", "install", *options, *targets)

    def toolkit(self, *arguments: str, expect: int = 0) -> str:
        """Run the `toolkit` command; see `run`."""
        return self.run(self.bin / "toolkit", *arguments, expect=expect)

    def list_tools(self) -> dict[str, dict[str, Any]]:
        """Map the qualified name of each listed tool to its entry."""
        tools = json.loads(self.toolkit("list", "--json"))["tools"]
        return {entry["qualified_name"]: entry for entry in tools}

    def list_agents(self) -> set[str]:
        """Return the names of the listed agents."""
        agents = json.loads(self.toolkit("list", "--json"))["agents"]
        return {entry["name"] for entry in agents}


def built(pattern: str) -> list[Path]:
    """List built wheels, by name.

    Raises:
        SystemExit: There are none.
    """
    wheels = sorted(DIST.glob(pattern))
    if not wheels:
        raise SystemExit(f"smoke: no dist/{pattern}; run `make wheels` first")
    return wheels


def require(condition: object, text: str) -> None:
    """Go on only when a condition holds.

    Raises:
        SystemExit: It does not.
    """
    if not condition:
        raise SystemExit(f"smoke: {text}")


def core_and_plugins_are_installed(stranger: Stranger) -> None:
    """Install the wheels, and see that it is they who answer."""
    core = built("toolkit_core-*.whl")
    plugins = [wheel for wheel in built("*.whl") if wheel not in core]
    stranger.install([*core], extra="[cli]")
    stranger.install(plugins)
    where = stranger.run(
        stranger.bin / "python", "-c", "import toolkit; print(toolkit.__file__)"
    )
    inside = Path(where.strip()).resolve().is_relative_to(stranger.home.resolve())
    require(inside, f"toolkit was imported from {where.strip()}, not from its wheel")


def tools_are_found_and_called(stranger: Stranger) -> None:
    """Discover, list and call, with plugins that are all well."""
    stranger.toolkit("doctor")
    found = stranger.list_tools()
    owners = {entry["qualified_name"].partition(".")[0] for entry in found.values()}
    wanted = {"toolkit-text", "toolkit-data", "toolkit-cloud-costs"}
    require(wanted <= owners, f"tools of {wanted - owners} are missing")
    agents = stranger.list_agents()
    require(agents >= AGENTS, f"agents {AGENTS - agents} are missing")
    require(
        '"be"' in stranger.toolkit("call", "word_count", *CALL), "no count of words"
    )


def broken_package_takes_nothing_away(stranger: Stranger) -> None:
    """Install the broken package too: doctor says so, and the others still work."""
    before = stranger.list_tools()
    stranger.install(built("private/*.whl"))
    report = stranger.toolkit("doctor", expect=1)
    require("toolkit-broken" in report, "doctor does not name the broken package")
    after = stranger.list_tools()
    require(before.keys() <= after.keys(), f"lost {before.keys() - after.keys()}")
    require("toolkit-broken.still_here" in after, "the good tool did not survive")
    answer = stranger.toolkit("call", "toolkit-text.word_count", *CALL)
    require('"be"' in answer, "no count of words beside the broken package")


STEPS: tuple[Callable[[Stranger], None], ...] = (
    core_and_plugins_are_installed,
    tools_are_found_and_called,
    broken_package_takes_nothing_away,
)


def main() -> int:
    """Take the steps in a temporary folder.

    Returns:
        The exit status: 0, as a step that fails ends the process.
    """
    with tempfile.TemporaryDirectory(prefix="toolkit-smoke-") as folder:
        print("==> making a fresh environment outside the tree", flush=True)
        stranger = Stranger(Path(folder))
        for step in STEPS:
            print(f"==> {step.__name__.replace('_', ' ')}", flush=True)
            step(stranger)
    print("smoke: the wheels work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
