"""Errors and reasons: each has one code, and is in the documents."""

import inspect
import re
from collections import Counter

import pytest

from tests.repo.sources import ROOT
from toolkit import RejectionReason, ToolkitError, errors

SUPERVISOR = ROOT / "toolkit/session/supervisor.py"
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, ToolkitError)
    and not kind.__name__.startswith("_")
]
TREE = inspect.getdoc(errors) or ""


def page(name: str) -> str:
    """Read a page of the documents."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_error_codes_are_unique() -> None:
    """Let a code mean one error, for who reads logs and wires (B11)."""
    counts = Counter(kind.code for kind in KINDS)
    assert {code: n for code, n in counts.items() if n > 1} == {}
    assert all(code.replace("_", "").islower() for code in counts)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_states_its_code_and_is_documented(kind: type[ToolkitError]) -> None:
    """Give each error a code of its own, a place in the tree, a section (B9, B11)."""
    assert "code" in vars(kind)
    assert re.search(rf"^ *(?:[│├└─ ]+)?{kind.__name__}\b", TREE, re.MULTILINE)
    assert f"## {kind.__name__}\n" in page("errors.md")
    assert f"`{kind.code}`" in page("errors.md")


@pytest.mark.parametrize("reason", list(RejectionReason), ids=str)
def test_reason_has_a_remedy_and_is_documented(reason: RejectionReason) -> None:
    """End each rejection with what to do about it (B12)."""
    assert reason.remedy.endswith(".")
    assert f"| `{reason}` | {reason.remedy} |" in page("reasons.md")


def test_codes_that_a_connection_is_answered_with_are_on_the_page_of_the_wire() -> None:
    """List each code with which a request is refused or a connection ends (S4)."""
    text = SUPERVISOR.read_text(encoding="utf-8")
    codes = set(re.findall(r'_(?:refuse|end)\((?:\w+, )?"(\w+)"', text))
    assert len(codes) > 9
    wire = page("wire.md").partition("## What fails")[2]
    assert codes <= set(re.findall(r"^\| `(\w+)` \|", wire, re.MULTILINE))
