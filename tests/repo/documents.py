"""Runs what the documents show: files, commands and Python, in a folder of its own."""

import doctest
import json
import os
import re
import shlex
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.repo.sources import ROOT

TIMEOUT: Final = 55.0  # seconds for one command or page; below the runner's own limit

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE: Final = re.compile(r"(?:#|<!--) (add to )?([\w./-]+\.(?:py|toml|md))(?: -->)?")
_FLAGS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# Runs the blocks of a page one after another, in one namespace, like a notebook.
_NOTEBOOK: Final = """
import json, sys
for text in json.load(sys.stdin):
    exec(compile(text, "<page>", "exec"), globals())
    print(end="\\x1e", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> re.Match[str] | None:
        """Match the first line that says which file the block is; None when none."""
        return _TITLE.fullmatch(self.text.partition("\n")[0])


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(language, text) for language, text in found]


def agree(want: str, got: str) -> bool:
    """Compare as doctest does; ``...`` stands for anything, spacing does not count."""
    return doctest.OutputChecker().check_output(want, got, _FLAGS)


def in_pairs(page: list[Block]) -> list[tuple[str, str]]:
    """Return each Python block that is no file with the output shown below it."""
    shown = [*page[1:], Block("", "")]
    return [
        (block.text, after.text if after.language == "text" else "")
        for block, after in zip(page, shown, strict=True)
        if block.language == "python" and not block.file and ">>>" not in block.text
    ]


def commands(block: Block) -> list[tuple[str, str]]:
    """Split a console block into commands and the output shown for each."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [(one.partition("\n")[0], one.partition("\n")[2]) for one in parts]


class Sandbox:
    """An empty folder and an environment in which installing changes nothing of ours.

    It sees what is installed here but for the package that is broken on purpose, and
    installs without a package index.
    """

    def __init__(self, folder: Path) -> None:
        """Make the environment."""
        self.folder = folder
        self.home = folder / "environment"
        self.state = folder / "state.sh"
        self.cwd = folder / "work"
        self.cwd.mkdir()
        venv.create(self.home, with_pip=False)
        self.bin = self.home / "bin"
        purelib = next(self.home.glob("lib/python*/site-packages"))
        lines = [f"import site; site.addsitedir({one!r})" for one in _site_folders()]
        (purelib / "ours.pth").write_text("\n".join(lines))
        self._script("toolkit", "from toolkit.cli import main", "main()")
        self._script(  # a plugin's own suite is part of this very run
            "pytest",
            "import pytest",
            "sys.exit(pytest.main(['--collect-only', '--quiet', *sys.argv[1:]]))",
        )
        self._script(
            "pip",
            "from pip._internal.cli.main import main",
            "options = ['--no-index', '--no-build-isolation', '--no-input']",
            "sys.exit(main([sys.argv[1], *options, *sys.argv[2:]]))",
        )

    def _script(self, name: str, *lines: str) -> None:
        path = self.bin / name
        start = f"#!{self.bin / 'python'}\nimport sys\n"
        path.write_text(start + "\n".join(lines) + "\n")
        path.chmod(0o755)

    def environment(self) -> dict[str, str]:
        """Return the variables that a command sees."""
        kept = {
            name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ
        }
        return {
            **kept,
            "HOME": str(self.folder),
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TOOLKIT_DENY": "toolkit-broken",
        }

    def write(self, block: Block) -> None:
        """Write the file that a block shows, or add to it."""
        title = block.file
        assert title is not None
        path = self.cwd / title[2]
        before = path.read_text(encoding="utf-8") if title[1] else ""
        after = block.text.partition("\n")[2] if title[1] else block.text
        path.write_text(before + after, encoding="utf-8")

    def shell(self, command: str) -> str:
        """Run a command where the last one left off; it must succeed.

        Returns:
            What it printed on standard output.
        """
        kept = shlex.quote(str(self.state))
        script = f"[ -f {kept} ] && . {kept}\n{command}\nstatus=$?\n"
        script += (
            f'{{ export -p; printf "cd \'%s\'\\n" "$PWD"; }} > {kept}\nexit $status'
        )
        done = subprocess.run(  # noqa: S603 - the commands are our documents' own
            ["/bin/sh", "-c", script],
            cwd=self.cwd,
            env=self.environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        self.cwd = Path(self.state.read_text().rpartition("cd '")[2].strip("'\n"))
        return done.stdout

    def notebook(self, texts: list[str]) -> list[str]:
        """Run Python blocks in one process and return what each printed.

        A warning is an error there, as it is in our own tests.
        """
        done = subprocess.run(  # noqa: S603 - as above
            [str(self.bin / "python"), "-W", "error", "-c", _NOTEBOOK],
            input=json.dumps(texts),
            cwd=self.cwd,
            env=self.environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split("\x1e")[:-1]

    def doctest(self, page: Path) -> None:
        """Run a page's doctests, as ``python -m doctest`` does."""
        options = ["-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE"]
        python = shlex.quote(str(self.bin / "python"))
        self.shell(
            shlex.join([*shlex.split(python), "-m", "doctest", *options, str(page)])
        )


def _site_folders() -> list[str]:
    """List the folders where this interpreter's packages are; the tree comes first."""
    return [str(ROOT), *site.getsitepackages()] if sys.prefix else []
