"""What the repository tests read: our files, and the tests as syntax trees."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef

# What is ours where git cannot say: in an unpacked source distribution.
PLACES: Final = ("toolkit", "tests", "docs", "examples", "plugins", "scripts")


@cache
def our_files() -> tuple[Path, ...]:
    """List the files that are, or would be, in version control; sorted."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(  # noqa: S603 - a fixed command
            command, cwd=ROOT, capture_output=True, check=True, encoding="utf-8"
        ).stdout.splitlines()
        paths = [ROOT / name for name in listed]
    except (OSError, subprocess.CalledProcessError):
        paths = [one for place in PLACES for one in (ROOT / place).rglob("*")]
        paths = [one for one in paths if "__pycache__" not in one.parts]
    return tuple(sorted({one for one in paths if one.is_file()}))


def texts(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of our files that end so; all when none is given."""
    for path in our_files():
        if suffixes and path.suffix not in suffixes:
            continue
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@dataclass(frozen=True)
class TestCase:
    """One test function as its file says it."""

    __test__ = False

    file: str
    function: Function

    @property
    def id(self) -> str:
        """Name it as pytest would."""
        return f"{self.file}::{self.function.name}"

    @property
    def sentence(self) -> str:
        """Return its docstring."""
        return ast.get_docstring(self.function) or ""


def is_test_file(name: str) -> bool:
    """Tell whether pytest collects a file."""
    parts = name.split("/")
    return "tests" in parts and parts[-1].startswith("test_") and name.endswith(".py")


@cache
def all_trees() -> dict[str, ast.Module]:
    """Map the name of each test file to its tree."""
    found = [(name, text) for name, text in texts(".py") if is_test_file(name)]
    return {name: ast.parse(text, name) for name, text in found}


@cache
def all_cases() -> tuple[TestCase, ...]:
    """List the test functions and methods of all test files."""
    return tuple(
        TestCase(name, node)
        for name, tree in all_trees().items()
        for node in ast.walk(tree)
        if isinstance(node, Function) and node.name.startswith("test_")
    )


def calls_in(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call in a tree with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node
