"""Settings that name something which is not there are told, not ignored."""

import logging

import pytest

from toolkit import Settings, discover, tool
from toolkit.settings import ToolLimit


@tool
def add(left: int, right: int) -> int:
    """Add."""
    return left + right


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (Settings(allow=frozenset({"tets"})), "allow names 'tets'"),
        (Settings(deny=frozenset({"Tets"})), "deny names 'tets'"),
        (Settings(allow_tools=frozenset({"ad"})), "allow_tools names 'ad'"),
        (Settings(deny_tools=frozenset({"tests.ad"})), "deny_tools names 'tests.ad'"),
        (Settings(approve_tools=frozenset({"ad"})), "approve_tools names 'ad'"),
        (Settings(tool_limits={"ad": ToolLimit()}), "tool_limits names 'ad'"),
        (Settings(executors={"Ad": "process"}), "executors names 'ad'"),
        (Settings(executors={"test.ad": "process"}), "executors names 'test.ad'"),
        (Settings(prefer={"ad": "tests"}), "prefer names 'ad'"),
        (Settings(prefer={"add": "tets"}), "prefer.add names 'tets'"),
    ],
)
def test_name_in_a_list_that_matches_nothing_is_told_with_the_nearest(
    settings: Settings, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wall with a slip in it does not stand, so the operator hears of it (B12)."""
    with caplog.at_level(logging.WARNING):
        _, report = discover(settings, sources=[], objects=[add])
    (told,) = report.notes
    assert told.startswith(f"The setting {note}, which ")
    assert told.endswith("?")  # Did you mean …
    assert told in caplog.text


def test_names_that_match_are_not_told() -> None:
    """Bare, qualified and preferred names that are there raise no word."""
    settings = Settings(
        allow_tools=frozenset({"Add", "tests__add"}),
        deny_tools=frozenset({"Tests.add"}),
        approve_tools=frozenset({"ADD"}),
        tool_limits={"tests.add": ToolLimit()},
        executors={"Add": "inline", "TESTS": "threads"},
        prefer={"ADD": "Tests"},
    )
    _, report = discover(settings, sources=[], objects=[add])
    assert report.notes == ()
    assert report.status == "healthy"
