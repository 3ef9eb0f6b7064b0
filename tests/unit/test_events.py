"""Events: what is told, what is kept back, and that telling never disturbs."""

import json
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC
from typing import Any

import pytest
from pydantic_core import to_json

from tests.unit.hostile import HOSTILE
from toolkit.context import REDACTED
from toolkit.events import Blanks, EventType, ToolEvent, deliver
from toolkit.settings import REDACTED_FIELDS

CYCLE: dict[str, object] = {}
CYCLE["self"] = CYCLE


def event(**facts: Any) -> ToolEvent:
    """Make an event of one call."""
    ids = ("call_id", "tool", "user_id", "session_id", "thread_id", "run_id")
    given = {one: one[0] for one in ids} | facts
    return ToolEvent(type=EventType.TOOL_EXECUTING, **given)


def redact(
    value: object, names: frozenset[str], synonyms: tuple[frozenset[str], ...] = ()
) -> Any:
    """Show a value as an event shows arguments."""
    return Blanks(names, synonyms).read(to_json(value, serialize_unknown=True))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"token": "t"}, {"token": REDACTED}),
        ({"TOKEN": "t", "Api_Key": 1}, {"TOKEN": REDACTED, "Api_Key": REDACTED}),
        ({"monkey": "m", "tokens": 3}, {"monkey": "m", "tokens": 3}),
        ({"keyboard": "k", "author": "a"}, {"keyboard": "k", "author": "a"}),
        ({"a": {"b": {"secret": {"c": 1}}}}, {"a": {"b": {"secret": REDACTED}}}),
        (
            [{"password": "p"}, [{"cookie": 1}]],
            [{"password": REDACTED}, [{"cookie": REDACTED}]],
        ),
        (({"token": 1},), [{"token": REDACTED}]),
        ("token", "token"),
        ({"text": "x" * 5000}, {"text": "x" * 5000}),
        ({"token": None}, {"token": REDACTED}),
    ],
    ids=range(10),
)
def test_secrets_are_blanked_by_whole_names_at_every_depth(
    value: object, shown: object
) -> None:
    """Exact names, without case, in lists too; a monkey is no key (B29, B62)."""
    assert redact(value, REDACTED_FIELDS) == shown


@pytest.mark.parametrize("name", ["ssn", "SSN", "Ssn"])
def test_an_operators_own_field_is_blanked_however_it_is_written(name: str) -> None:
    """A setting in capitals must not leak what it names (B29)."""
    assert redact({"ssn": 1, "SSN": 2}, frozenset({name})) == {
        "ssn": REDACTED,
        "SSN": REDACTED,
    }


def test_an_argument_is_secret_by_any_of_its_names() -> None:
    """A parameter `pw` that callers write as `password`, and the other way (B29)."""
    names = (frozenset({"pw", "Password"}), frozenset({"q", "query"}))
    for key in ("pw", "Password"):
        given = {key: "p", "nested": [{key: 1}], "q": 2}
        assert redact(given, REDACTED_FIELDS, names) == {
            key: REDACTED,
            "nested": [{key: REDACTED}],
            "q": 2,
        }


def test_redacting_leaves_the_arguments_alone() -> None:
    """The tool still gets its token (B29)."""
    arguments = {"auth": {"token": "t"}}
    redact(arguments, REDACTED_FIELDS)
    assert arguments == {"auth": {"token": "t"}}


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (None, None),
        ({"a": 1}, {"a": 1}),
        ({"a": math.nan}, {"a": None}),
        ({"a": {1}}, {"a": [1]}),
        ({"a": "\ud800"}, None),
        ({"a": b"\xff"}, None),
    ],
    ids=range(6),
)
def test_an_event_is_written_as_json(arguments: Any, shown: object) -> None:
    """Real JSON, without NaN; arguments that cannot be written are left out (B28)."""
    written = json.loads(
        event(arguments=arguments).to_json(), parse_constant=pytest.fail
    )
    assert written["arguments"] == shown
    assert (written["type"], written["tool"]) == ("tool_executing", "t")


NASTY: dict[str, Callable[[], object]] = {
    **HOSTILE,
    "lock": threading.Lock,
    "cycle": lambda: CYCLE,
}


@pytest.mark.parametrize("make", NASTY.values(), ids=NASTY)
def test_an_event_is_written_whatever_its_arguments_hold(
    make: Callable[[], object],
) -> None:
    """Total: nothing in an argument takes the event with it (B28)."""
    assert json.loads(event(arguments={"a": make()}).to_json())["call_id"] == "c"


def test_an_event_is_frozen_and_dated_in_utc() -> None:
    """What happened does not change, and the clock has a zone."""
    one = event()
    assert one.timestamp.tzinfo is UTC
    with pytest.raises(FrozenInstanceError):
        one.ok = True  # type: ignore[misc]  # that it cannot is the test


def test_event_types_are_a_closed_set() -> None:
    """A typo in an event's name fails at once (B27)."""
    assert [str(kind) for kind in EventType] == [
        "tool_approval_required",
        "tool_approval_settled",
        "tool_executing",
        "tool_part",
        "tool_progress",
        "tool_completed",
    ]
    with pytest.raises(ValueError, match="tool_executed"):
        EventType("tool_executed")


def test_a_sink_that_raises_hides_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Delivery never fails a call; the fault is logged once (B24)."""
    told: list[ToolEvent] = []

    def broken(_: ToolEvent) -> None:
        message = "connection lost"
        raise ConnectionError(message)

    one = event()
    with caplog.at_level(logging.ERROR):
        deliver(one, [told.append, broken, told.append])
    assert told == [one, one]
    assert len(caplog.records) == 1
