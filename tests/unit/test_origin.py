"""Origins: what every message about a plugin says of where it came from."""

import pickle
from dataclasses import FrozenInstanceError

import pytest

from toolkit.origin import Origin

FULL = Origin("pkg", "1.0", "toolkit.tools", "add", "pkg.tools:Add")


@pytest.mark.parametrize(
    ("origin", "owner"),
    [
        (FULL, "pkg"),
        (Origin(reference="top.inner:Add"), "top"),
        (Origin(reference="__main__:Add"), "main"),
        (Origin(reference="<stdin>:Add"), "stdin"),
        (Origin(reference=":Add"), "local"),
        (Origin(), "local"),
    ],
)
def test_owner_is_the_distribution_then_the_top_module(
    origin: Origin, owner: str
) -> None:
    """Somebody always answers for a tool, by a name that stays the same (B6)."""
    assert origin.owner == owner


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (FULL, "pkg 1.0 (toolkit.tools: add = pkg.tools:Add)"),
        (Origin("pkg"), "pkg"),
        (Origin("pkg", "2", reference="pkg:A"), "pkg 2 (pkg:A)"),
        (Origin(reference="m:C"), "m:C"),
        (Origin(), "object handed in"),
    ],
)
def test_an_origin_reads_as_one_phrase(origin: Origin, text: str) -> None:
    """A message names the package, its version and the entry point (B9)."""
    assert str(origin) == text


def test_at_points_elsewhere_and_changes_nothing_else() -> None:
    """A walk through a package keeps the entry point that led there."""
    moved = FULL.at("pkg.more:Sub")
    assert moved == Origin("pkg", "1.0", "toolkit.tools", "add", "pkg.more:Sub")
    assert FULL.reference == "pkg.tools:Add"


def test_origins_are_frozen_sorted_and_pickle() -> None:
    """Reports keep origins for the whole process and sort by them."""
    with pytest.raises(FrozenInstanceError):
        FULL.version = "2"  # type: ignore[misc]  # that it cannot is the test
    assert sorted([FULL, Origin("a")]) == [Origin("a"), FULL]
    assert pickle.loads(pickle.dumps(FULL)) == FULL  # noqa: S301 - our own bytes
