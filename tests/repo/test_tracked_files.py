"""What must not be in any file of ours, and debts that are counted."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.repo.sources import ROOT, our_files, texts

pytestmark = pytest.mark.integration  # it reads every file: seconds

HERE: Final = "tests/repo/test_tracked_files.py"

# Debts owned up to in the code, as `# DEBT(issue): …`. Paying one lowers this number.
DEBTS: Final = 0

# Patterns that no file matches but this one, which is left out.
FORBIDDEN: Final = {
    "the host of a package index": r"\b(?:pypi|pythonhosted)\.org\b",
    "a path of somebody's machine": r"(?<![\w.])/(?:home/[a-z]|Users/[A-Z]|work/)",
    "a merge that was not finished": r"^(?:<{7}|>{7}) ",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token of a code host": r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    "an unfinished sentence": r"\b(?:TODO|FIXME|XXX)\b[:(]|\bPENDING_[A-Z]+\b",
    "the words of whoever wrote it": r"(?i)\bsub-?agents?\b|\bai-generated\b|"
    r"\bwritten by an? (?:ai|llm|model)\b|\bco-authored-by\b",
}


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_file_holds_what_is_forbidden(what: str) -> None:
    """Find none of it in any file under version control."""
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = [
        f"{name}: {match[0]!r}"
        for name, text in texts()
        if name != HERE
        for match in pattern.finditer(text)
    ]
    assert found == []


def test_no_file_names_the_folder_it_is_in() -> None:
    """Let the project be moved: nothing knows where this checkout is."""
    place = str(ROOT)
    assert len(Path(place).parts) > 1
    assert [name for name, text in texts() if place in text] == []


def test_debts_are_counted() -> None:
    """Let no debt in the code be forgotten, and none be added in silence."""
    debts = [
        f"{name}: {line.strip()}"
        for name, text in texts(".py", ".sh", ".toml", ".yaml")
        if name != HERE
        for line in text.splitlines()
        if re.search(r"(?<!`)# DEBT\b", line)
    ]
    assert all(re.search(r"# DEBT\(\d+\): \S", debt) for debt in debts)
    assert len(debts) == DEBTS, debts


def test_files_are_small() -> None:
    """Keep what belongs into an archive out: no file above 500 kB."""
    big = [path for path in our_files() if path.stat().st_size > 500_000]
    assert big == []


def test_every_suppressed_check_gives_its_reason() -> None:
    """Ask for a reason beside each ``noqa`` and ``type: ignore`` in the package."""
    bare = [
        f"{name}: {line.strip()}"
        for name, text in texts(".py")
        if name.startswith("toolkit/")
        for line in text.splitlines()
        if re.search(r"# noqa: [A-Z0-9, ]+$|# type: ignore\[[\w, -]+\]$", line)
    ]
    assert bare == []
