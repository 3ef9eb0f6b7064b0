"""The wire: what is read of a frame, what is published, and that all is written."""

import enum
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter, ValidationError, model_serializer

from tests.unit.hostile import HOSTILE, Unpleasant, Untold, raising
from toolkit.context import REDACTED
from toolkit.events import Blanks, ShownArguments
from toolkit.session.messages import (
    COMMANDS,
    MAX_DEPTH,
    MAX_TEXT,
    MESSAGES,
    AgentRequest,
    Authenticate,
    Cancel,
    Command,
    ErrorCode,
    Message,
    MessageType,
    Ping,
    Refused,
    ToolApproval,
    ToolIntrospectionRequest,
    parse,
)
from toolkit.session.published import asyncapi, json_schema
from toolkit.session.writing import CUT, UNWRITABLE, write

READ: Final[list[tuple[str, Command]]] = [
    (
        '{"type": "agent_request", "message": "hi"}',
        AgentRequest(type="agent_request", message="hi"),
    ),
    (
        '{"type":"agent_request","agent":"a","message":"é","request_id":"1"}',
        AgentRequest(type="agent_request", agent="a", message="é", request_id="1"),
    ),
    ('{"type": "cancel"}', Cancel(type="cancel")),
    ('{"type": "cancel", "run_id": "r"}', Cancel(type="cancel", run_id="r")),
    ('{"type": "cancel", "run_id": null}', Cancel(type="cancel")),
    ('{"type": "ping", "nonce": ""}', Ping(type="ping", nonce="")),
    (
        '{"type": "tool_introspection_request"}',
        ToolIntrospectionRequest(type="tool_introspection_request"),
    ),
    (
        '{"type": "authenticate", "token": "t"}',
        Authenticate(type="authenticate", token="t"),
    ),
    (
        '{"type": "tool_approval", "call_id": "c", "approved": false, "reason": "x"}',
        ToolApproval(type="tool_approval", call_id="c", approved=False, reason="x"),
    ),
]


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    """Write a ping with something nested in it; the object itself is the first."""
    inner = opening * (levels - 1) + "1" + closing * (levels - 1)
    return f'{{"type": "ping", "x": {inner}}}'


INVALID: Final = ErrorCode.INVALID_MESSAGE
REFUSED: Final[dict[str, tuple[str, ErrorCode, str]]] = {
    "empty": ("", ErrorCode.INVALID_JSON, "send an object"),
    "blank": (" \n", ErrorCode.INVALID_JSON, "send an object"),
    "no JSON": ("hello", ErrorCode.INVALID_JSON, "send an object"),
    "truncated": ('{"type": "pi', ErrorCode.INVALID_JSON, "send an object"),
    "two objects": ("{}{}", ErrorCode.INVALID_JSON, "send an object"),
    "byte order mark": ("\ufeff{}", ErrorCode.INVALID_JSON, "send an object"),
    "comment": ('{"type": "ping"} // x', ErrorCode.INVALID_JSON, "send an object"),
    "raw line feed": ('{"type": "pi\nng"}', ErrorCode.INVALID_JSON, "send an object"),
    "NaN": ('{"type": "ping", "x": NaN}', ErrorCode.INVALID_JSON, "NaN is no JSON"),
    "infinity": ("[-Infinity]", ErrorCode.INVALID_JSON, "-Infinity is no JSON"),
    "endless number": ("9" * 5_000, ErrorCode.INVALID_JSON, "send an object"),
    "list": ('[{"type": "ping"}]', ErrorCode.NOT_AN_OBJECT, "one JSON object"),
    "text": ('"ping"', ErrorCode.NOT_AN_OBJECT, "one JSON object"),
    "null": ("null", ErrorCode.NOT_AN_OBJECT, "one JSON object"),
    "deep lists": (nested(MAX_DEPTH + 1), ErrorCode.TOO_DEEP, "32 levels"),
    "deep objects": (
        nested(MAX_DEPTH + 1, '{"a":', "}"),
        ErrorCode.TOO_DEEP,
        "32 levels",
    ),
    "deep as the sea": (nested(100_000), ErrorCode.TOO_DEEP, "32 levels"),
    "deep and unclosed": ("[" * 1_000_000, ErrorCode.TOO_DEEP, "32 levels"),
    "name twice": (
        '{"type": "ping", "type": "cancel"}',
        ErrorCode.DUPLICATE_KEY,
        "send each once",
    ),
    "inner name twice": (
        '{"type": "ping", "x": [{"a": 1, "\\u0061": 1}]}',
        ErrorCode.DUPLICATE_KEY,
        "send each once",
    ),
    "no type": ("{}", ErrorCode.UNKNOWN_TYPE, "one of agent_request, cancel,"),
    "type no text": ('{"type": ["ping"]}', ErrorCode.UNKNOWN_TYPE, "one of agent_re"),
    "type misspelled": ('{"type": "pingg"}', ErrorCode.UNKNOWN_TYPE, "mean ping?"),
    "type of ours": ('{"type": "error"}', ErrorCode.UNKNOWN_TYPE, "one of agent_re"),
    "type huge": (json.dumps({"type": "x" * 9_999}), ErrorCode.UNKNOWN_TYPE, "one of"),
    "no message": ('{"type": "agent_request"}', INVALID, "message: Field required"),
    "message empty": ('{"type":"agent_request","message":""}', INVALID, "message: "),
    "message number": ('{"type":"agent_request","message":7}', INVALID, "message: "),
    "message huge": (
        json.dumps({"type": "agent_request", "message": "x" * (MAX_TEXT + 1)}),
        INVALID,
        "at most 65536 characters",
    ),
    "half a character": (
        '{"type": "agent_request", "message": "\\ud800"}',
        INVALID,
        "unicode",
    ),
    "agent empty": (
        '{"type": "agent_request", "message": "x", "agent": ""}',
        INVALID,
        "agent: ",
    ),
    "approved as text": (
        '{"type": "tool_approval", "call_id": "c", "approved": "true"}',
        INVALID,
        "approved: Input should be a valid boolean",
    ),
    "nonce long": (json.dumps({"type": "ping", "nonce": "x" * 129}), INVALID, "nonce"),
    "request id a number": ('{"type": "ping", "request_id": 1}', INVALID, "request_id"),
}


@pytest.mark.parametrize(("frame", "command"), READ, ids=[one for one, _ in READ])
def test_command_is_read_with_its_fields(frame: str, command: Command) -> None:
    """Read every kind of command, with and without what may be left out."""
    assert parse(frame) == command
    Draft202012Validator(json_schema()).validate(json.loads(frame))


def test_every_kind_of_command_is_read() -> None:
    """Leave no kind out of the table above."""
    assert {type(command) for _, command in READ} == set(COMMANDS.values())
    assert {command.type for _, command in READ} == set(COMMANDS)


@pytest.mark.parametrize(("frame", "code", "text"), REFUSED.values(), ids=[*REFUSED])
def test_frame_that_is_no_command_has_a_typed_answer(
    frame: str, code: ErrorCode, text: str
) -> None:
    """Answer what is broken, hostile or misspelled with a code and a remedy (B27)."""
    answer = parse(frame)
    assert isinstance(answer, Refused)
    assert answer.code is code
    assert text in answer.message
    assert len(answer.message) < 300


def test_frame_may_nest_up_to_the_limit() -> None:
    """Take what is exactly as deep as allowed, in what is ignored anyway."""
    assert parse(nested(MAX_DEPTH)) == Ping(type="ping")


@pytest.mark.parametrize("frame", [frame for frame, _ in READ])
def test_user_in_the_body_is_ignored(frame: str) -> None:
    """Know nobody by what a body says: the user is the one of the token (B65)."""
    values = json.loads(frame) | {"user_id": "eve", "roles": ["admin"]}
    command = parse(json.dumps(values))
    assert command == parse(frame)
    assert "eve" not in repr(command)


def test_refusal_quotes_no_value_of_the_frame() -> None:
    """Let a token that is sent wrongly stay out of answers and logs (B62)."""
    answer = parse('{"type": "authenticate", "token": ["secret-token"]}')
    assert isinstance(answer, Refused)
    assert "secret-token" not in repr(answer)
    command = parse('{"type": "authenticate", "token": "secret-token"}')
    assert isinstance(command, Authenticate)
    assert "secret-token" not in repr(command)


@pytest.mark.parametrize(
    ("request_id", "kept"),
    [("r1", "r1"), ("", None), ("x" * 129, None), ("a\nb", None), (7, None)],
)
def test_refusal_names_its_request_where_it_can(
    request_id: object, kept: str | None
) -> None:
    """Send back the request's id, unless it is none, too long, or would forge logs."""
    answer = parse(json.dumps({"type": "?", "request_id": request_id}))
    assert isinstance(answer, Refused)
    assert answer.request_id == kept


def test_commands_are_immutable() -> None:
    """Change nothing of a command once it is read."""
    command = parse('{"type": "cancel"}')
    with pytest.raises(ValidationError):
        command.run_id = "other"  # type: ignore[union-attr]


# --- what is published -------------------------------------------------------------


def test_types_of_messages_are_the_nine_agreed() -> None:
    """Send exactly these types, and take requests for agents (S214, B27)."""
    assert "agent_request" in COMMANDS
    assert {str(kind) for kind in MessageType} == {
        *("agent_started", "agent_thinking", "tool_executing", "tool_completed"),
        *("agent_completed", "error", "pong", "tool_registry_state", "tools_changed"),
    }
    assert set(MESSAGES) == set(MessageType)
    for kind, model in MESSAGES.items():
        assert model.model_json_schema()["properties"]["type"]["const"] == kind


def test_schema_is_one_and_versioned() -> None:
    """Publish one schema, with the version, for both directions (B27)."""
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["title"].endswith("version 1")
    for model in MESSAGES.values():
        shape = schema["$defs"][model.__name__]
        assert shape["properties"]["version"]["const"] == 1
        assert shape["additionalProperties"] is False
    for command in COMMANDS.values():
        assert "additionalProperties" not in schema["$defs"][command.__name__]


def test_schema_knows_a_message_from_a_slip() -> None:
    """Refuse a message with a free name, a missing number, or an invented type."""
    validator = Draft202012Validator(json_schema())
    pong = {
        "version": 1,
        "type": "pong",
        "sequence": 1,
        "nonce": None,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "run_id": None,
        "request_id": None,
        "data": {"nonce": None},
    }
    assert validator.is_valid(pong)
    assert not validator.is_valid(pong | {"type": "pongg"})
    assert not validator.is_valid(pong | {"version": 2})
    assert not validator.is_valid(pong | {"sequence": 0})
    assert not validator.is_valid(pong | {"data": {"nonse": None}})
    assert not validator.is_valid(pong | {"timestamp": "yesterday"})


def test_schema_and_models_agree_on_a_union() -> None:
    """Tell every message by its type alone, in the models as in the schema."""
    server = json_schema()["$defs"]["ServerMessage"]["oneOf"]
    union = TypeAdapter[Message](Message).json_schema()
    assert {one["$ref"] for one in server} == {one["$ref"] for one in union["anyOf"]}


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


@pytest.mark.parametrize("make", [json_schema, asyncapi])
def test_references_in_published_documents_lead_somewhere(make: Any) -> None:
    """Resolve every reference within the document itself."""
    document = make()
    found = list(references(document))
    assert found
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_asyncapi_has_an_operation_for_each_message() -> None:
    """Describe each message once, and who sends it."""
    operations = asyncapi()["operations"].values()
    told = [(one["action"], one["messages"][0]["$ref"]) for one in operations]
    channel = "#/channels/session/messages/"
    assert sorted(told) == sorted(
        [("receive", channel + name) for name in COMMANDS]
        + [("send", channel + kind) for kind in MessageType]
    )


# --- writing -----------------------------------------------------------------------


class Colour(enum.Enum):
    """Something that JSON has not."""

    RED = "red"


class Broken(BaseModel):
    """A model that cannot be written."""

    @model_serializer
    def fail(self) -> dict[str, Any]:
        raise Untold


class Sly(dict[str, int]):
    """A mapping that cannot be walked."""

    items = raising(Unpleasant)
    __iter__ = raising(RuntimeError)


def failing() -> Iterator[int]:
    """Yield one thing, and fail."""
    yield 1
    raise Untold


def cycle() -> list[Any]:
    """Return a list that leads back to itself, and holds half a character."""
    made: list[Any] = ["\ud800"]
    made.append(made)
    return made


WRITTEN: Final[list[tuple[object, object]]] = [
    ({"a": [1, 2.5, True, None, "é"]}, {"a": [1, 2.5, True, None, "é"]}),
    ([math.nan, math.inf, -math.inf], [None, None, None]),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    (Colour.RED, "red"),
    (Path("a/b"), "a/b"),
    (MappingProxyType({"a": MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
    (ShownArguments(b'{"k":1}', Blanks(frozenset({"k"}))), {"k": REDACTED}),
    ("a\ud800b", "a?b"),
    ({"\ud800": {"b": "\udfff"}}, {"?": {"b": "?"}}),
    ({"a": b"\xff", "b": (1, "\ud800"), 3: b"x"}, {"a": "�", "b": [1, "?"], "3": "x"}),
    (cycle(), ["?", CUT]),
    (failing(), UNWRITABLE),
    ([Broken(), 1, Colour.RED], [UNWRITABLE, 1, "red"]),
]


@pytest.mark.parametrize(
    ("value", "expected"), WRITTEN, ids=[str(n) for n in range(13)]
)
def test_any_value_is_written_as_near_as_json_can(
    value: object, expected: object
) -> None:
    """Write what JSON has as it is, and what it has not as near as can be (B28)."""
    assert json.loads(write(value)) == expected


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_hostile_objects_are_written_too(what: str) -> None:
    """Write objects that raise, lie or hide, and what stands beside them (B28)."""
    hostile = HOSTILE[what]()
    written = json.loads(write({"good": 1, "bad": hostile, "text": "\ud800"}))
    assert written["good"] == 1
    assert written["text"] == "?"
    assert set(json.loads(write({"bad": hostile}))) == {"bad"}


def test_mapping_that_cannot_be_walked_is_still_written() -> None:
    """Give up one part only, whatever that part raises (B28)."""
    written = json.loads(write({"sly": Sly(a=1), "bad": "\ud800"}))
    assert written["bad"] == "?"


def test_interrupt_of_the_process_is_not_swallowed() -> None:
    """Let Ctrl-C end the process, also amid an object that is hard to write."""

    class Interrupted(dict[str, int]):
        items = raising(KeyboardInterrupt)

    with pytest.raises(KeyboardInterrupt):
        write({"text": "\ud800", "value": Interrupted(a=1)})


def test_value_of_any_depth_is_written() -> None:
    """Write what is nested a thousand levels deep without an error (B28)."""
    deep: list[Any] = ["\ud800"]
    for _ in range(1_000):
        deep = [deep]
    assert write(deep).startswith(b"[[[")
    assert json.loads(write(deep))
