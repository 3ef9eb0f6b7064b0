"""The numbered examples: short, and they print what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.sources import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# What each must print, in this order; between them may be more.
PROMISED = {
    "01_discover.py": ["Tools:", "word_count", "Dropped by the filter:", "accepted"],
    "02_write_a_tool.py": ["[334,333,333]", "friends: Input should be", "money back"],
    "03_two_users.py": [
        "ann sees notebook, read_sentences",
        "bob sees read_sentences",
        "ann wrote: ['buy milk', 'call mum']",
        "cem wrote: ['secret']",
        "bob hears: no tool named 'notebook' for this user.",
    ],
    "04_collisions.py": [
        "as installed: ['main__word_count', 'toolkit-text__word_count']",
        "Add prefer.word_count = ",
        "word_count: no tool named 'word_count' for this user.",
        "settled: ['main__word_count', 'word_count']",
        "word_count: {'be': 1, 'to': 1}",
    ],
    "05_hooks_and_events.py": [
        "tool_executing greet: {'name': 'Bo', 'token': '[redacted]'}",
        "tool_completed greet: True",
        "hello Bo, 2",
        "no tool named 'wipe' for this user.",
    ],
}


@pytest.mark.e2e
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_and_prints_what_it_promises(path: Path, tmp_path: Path) -> None:
    """Run the example as its reader does, with every warning an error (S17, S20)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TOOLKIT_")}
    done = subprocess.run(  # noqa: S603 - our own examples
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    position = 0
    for promised in PROMISED[path.name]:
        found = done.stdout.find(promised, position)
        assert found >= 0, (
            f"{promised!r} is not in, or not in this order:\n{done.stdout}"
        )
        position = found + len(promised)


def test_there_are_five_examples_and_each_is_promised_something() -> None:
    """Number the examples from 1 to 5, and let none go unchecked."""
    assert [path.name[:3] for path in EXAMPLES] == ["01_", "02_", "03_", "04_", "05_"]
    assert [path.name for path in EXAMPLES] == sorted(PROMISED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_fits_on_a_screen(path: Path) -> None:
    """Keep each example to 40 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
