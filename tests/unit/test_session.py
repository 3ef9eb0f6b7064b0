"""The session: what may be read and sent in which state, and when a run is over."""

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from toolkit.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    SessionClosedError,
)
from toolkit.session.messages import (
    AgentRequest,
    Authenticate,
    ErrorCode,
    MessageType,
    Ping,
    Refused,
)
from toolkit.session.protocol import Session, State
from toolkit.session.published import json_schema

VALID: Final = Draft202012Validator(
    json_schema()["$defs"]["ServerMessage"] | {"$defs": json_schema()["$defs"]}
)
NOW: Final = 1_800_000_000.25
CALL: Final = {"call_id": "c1", "tool": "add"}

DATA: Final[dict[MessageType, dict[str, Any]]] = {
    MessageType.AGENT_STARTED: {"agent": "a", "message_chars": 2},
    MessageType.AGENT_THINKING: {"agent": "a", "thought": "hm", "step": 1},
    MessageType.TOOL_EXECUTING: {**CALL, "arguments": {"left": 1}},
    MessageType.TOOL_COMPLETED: {
        **CALL,
        "ok": True,
        "seconds": 0.5,
        "truncated": False,
        "result": 3,
        "error_code": "",
        "error": None,
    },
    MessageType.AGENT_COMPLETED: {
        "agent": "a",
        "result": "3",
        "details": {"sum": 3},
        "seconds": 1,
        "tool_calls": 1,
    },
    MessageType.ERROR: {"code": "odd", "message": "It is odd.", "fatal": False},
    MessageType.PONG: {"nonce": "n"},
    MessageType.TOOL_REGISTRY_STATE: {
        "registry_id": "r",
        "health": {"status": "healthy"},
        "tools": [
            {"name": "add", "description": "", "input_schema": {}, "version": "1"}
        ],
        "absent": [
            {"name": "x", "distribution": "d", "reason": "why", "remedy": "what"}
        ],
        "agents": [{"name": "a", "description": ""}],
    },
    MessageType.TOOLS_CHANGED: {
        "generation": 2,
        "added": ["add"],
        "removed": [],
        "changed": [],
        "tools": [],
    },
}

RUN_STEPS: Final = (
    MessageType.AGENT_STARTED,
    MessageType.AGENT_THINKING,
    MessageType.TOOL_EXECUTING,
    MessageType.TOOL_COMPLETED,
    MessageType.AGENT_COMPLETED,
)


def ready(**limits: int) -> Session:
    """Open a session."""
    session = Session(**limits)
    session.authenticated()
    session.ready()
    return session


def tell(session: Session, kind: MessageType, run_id: str | None = None) -> Any:
    """Make a message of the sample data, check it, and read it."""
    text = session.event(kind, DATA[kind], now=NOW, run_id=run_id)
    message = json.loads(text)
    VALID.validate(message)
    return message


# --- runs: every message in every state --------------------------------------------


def opened(session: Session) -> str:
    """Let a run be on its way, and not started."""
    return session.new_run("q")


def started(session: Session) -> str:
    """Start a run."""
    run_id = session.new_run("q")
    tell(session, MessageType.AGENT_STARTED, run_id)
    return run_id


def calling(session: Session) -> str:
    """Let a run call a tool."""
    run_id = started(session)
    tell(session, MessageType.TOOL_EXECUTING, run_id)
    return run_id


def answered(session: Session) -> str:
    """End a run well."""
    run_id = started(session)
    tell(session, MessageType.AGENT_COMPLETED, run_id)
    return run_id


def failed(session: Session) -> str:
    """End a run by an error."""
    run_id = started(session)
    tell(session, MessageType.ERROR, run_id)
    return run_id


def unknown(session: Session) -> str:
    """Speak of a run that there never was."""
    return f"never in {session.state}"


S, T, X, D, C, E = *RUN_STEPS, MessageType.ERROR
RUNS: Final[dict[Callable[[Session], str], set[MessageType]]] = {
    unknown: set(),
    opened: {S},
    started: {T, X, C, E},
    calling: {T, D},
    answered: set(),
    failed: set(),
}


@pytest.mark.parametrize("kind", list(MessageType), ids=str)
@pytest.mark.parametrize("stage", RUNS, ids=lambda stage: stage.__name__)
def test_each_message_of_a_run_has_its_time(
    stage: Callable[[Session], str], kind: MessageType
) -> None:
    """Start once, end once, and tell of a call only within; else it is our slip (B26).

    The slip uses up no number, and changes nothing.
    """
    session = ready()
    run_id = stage(session)
    before = (session.sequence, session.runs, session.calls_of(run_id))
    if kind in RUNS[stage]:
        message = tell(session, kind, run_id)
        assert message["run_id"] == run_id
        assert message["sequence"] == before[0] + 1
        return
    with pytest.raises(LocalProtocolError):
        tell(session, kind, run_id)
    assert (session.sequence, session.runs, session.calls_of(run_id)) == before


@pytest.mark.parametrize("kind", list(MessageType), ids=str)
def test_messages_of_runs_need_one_and_others_have_none(kind: MessageType) -> None:
    """Say of every message whether it belongs to a run; an error may."""
    session = ready()
    if kind in RUN_STEPS:
        with pytest.raises(LocalProtocolError, match="without a run_id"):
            tell(session, kind)
    else:
        assert tell(session, kind)["run_id"] is None


def test_run_is_told_in_five_events_in_order() -> None:
    """Tell of a run from its start to its answer (S69, S77-S81)."""
    session = ready()
    run_id = session.new_run("q1")
    told = [tell(session, kind, run_id) for kind in RUN_STEPS]
    assert [one["type"] for one in told] == [
        *("agent_started", "agent_thinking", "tool_executing"),
        *("tool_completed", "agent_completed"),
    ]
    assert {one["request_id"] for one in told} == {"q1"}
    assert told[0]["agent"] == told[0]["data"]["agent"] == "a"
    assert told[1]["thought"] == "hm"
    assert (told[2]["tool"], told[2]["data"]["arguments"]) == ("add", {"left": 1})
    assert (told[3]["call_id"], told[3]["ok"]) == ("c1", True)
    assert told[3]["data"]["result"] == 3
    assert told[4]["result"] == told[4]["data"]["result"] == "3"
    assert session.runs == ()


def test_call_that_ended_well_is_not_told_as_an_error() -> None:
    """Take every fact of an outcome by its name (B22)."""
    session = ready()
    run_id = calling(session)
    data = tell(session, MessageType.TOOL_COMPLETED, run_id)["data"]
    assert (data["ok"], data["error"], data["error_code"]) == (True, None, "")
    assert data["seconds"] == 0.5


def test_runs_at_once_have_their_own_order() -> None:
    """Tell of two runs in turn; one that ends leaves the other as it was."""
    session = ready()
    first, second = calling(session), calling(session)
    assert list(session.runs) == [first, second]
    tell(session, MessageType.TOOL_COMPLETED, second)
    tell(session, MessageType.AGENT_COMPLETED, second)
    assert list(session.runs) == [first]
    assert session.calls_of(first) == {"c1": "add"}
    assert session.calls_of(second) == {}
    assert session.request_of(first) == "q"
    assert session.request_of(second) is None


def test_call_is_completed_once_and_under_its_own_name() -> None:
    """Complete a call that executes, and no other, and not as another tool's (B26)."""
    session = ready()
    run_id = calling(session)
    done = DATA[MessageType.TOOL_COMPLETED]
    for wrong in ({"call_id": "c2"}, {"tool": "subtract"}):
        with pytest.raises(LocalProtocolError, match="no call"):
            session.event(
                MessageType.TOOL_COMPLETED, done | wrong, now=NOW, run_id=run_id
            )
    tell(session, MessageType.TOOL_COMPLETED, run_id)
    with pytest.raises(LocalProtocolError, match="no call c1"):
        tell(session, MessageType.TOOL_COMPLETED, run_id)


def test_run_ids_are_unique_and_found_by_their_request() -> None:
    """Make ids that no other user's run has, and find runs by what asked for them.

    (B57).
    """
    session, other = ready(), ready()
    ids = [session.new_run("q") for _ in range(50)]
    ids += [other.new_run("q") for _ in range(50)]
    assert len(set(ids)) == 100
    assert session.runs_of("q") == tuple(ids[:50])
    assert session.runs_of("other") == ()


# --- states of the connection ------------------------------------------------------


def in_state(state: State) -> Session:
    """Bring a session into a state."""
    session = Session()
    steps: dict[State, Callable[[], None]] = {
        State.AUTHENTICATED: session.authenticated,
        State.READY: session.ready,
        State.CLOSING: session.begin_close,
        State.CLOSED: session.closed,
    }
    for reached, step in steps.items():
        if session.state is not state:
            step()
            assert session.state is reached
    return session


SENT: Final[dict[State, tuple[type[Exception], set[MessageType]]]] = {
    State.CONNECTING: (LocalProtocolError, set()),
    State.AUTHENTICATED: (LocalProtocolError, {MessageType.ERROR}),
    State.READY: (LocalProtocolError, set(MessageType) - set(RUN_STEPS)),
    State.CLOSING: (LocalProtocolError, set(MessageType) - set(RUN_STEPS)),
    State.CLOSED: (SessionClosedError, set()),
}


@pytest.mark.parametrize("kind", list(MessageType), ids=str)
@pytest.mark.parametrize("state", list(State), ids=str)
def test_each_message_has_states_in_which_it_is_sent(
    state: State, kind: MessageType
) -> None:
    """Send nothing before a connection is ready but why it is refused; nothing after.

    (B51).
    """
    session = in_state(state)
    error, allowed = SENT[state]
    if kind in allowed:
        assert tell(session, kind)["sequence"] == 1
        return
    with pytest.raises(error):
        tell(session, kind)
    assert session.sequence == 0


@pytest.mark.parametrize(
    "frame", ['{"type": "ping"}', "{", b"\x00", "\ud800", "x" * 2_000_000]
)
@pytest.mark.parametrize("state", list(State), ids=str)
def test_frames_are_read_only_when_it_is_ready(
    state: State, frame: str | bytes
) -> None:
    """Handle nothing, whatever it is, before the user is let in and ready (B51).

    The reader that begins too early is at fault, not the client.
    """
    session = in_state(state)
    early = {State.CONNECTING, State.AUTHENTICATED}
    if state is State.READY:
        return_or_fatal(session, frame)
        return
    error = LocalProtocolError if state in early else SessionClosedError
    with pytest.raises(error):
        session.receive(frame, NOW)
    with pytest.raises(error):
        session.new_run()


def return_or_fatal(session: Session, frame: str | bytes) -> None:
    """Read a frame that is either answered or ends the connection."""
    if isinstance(frame, str) and len(frame) < 100 and frame.isascii():
        assert isinstance(session.receive(frame, NOW), Ping | Refused)
    else:
        with pytest.raises(RemoteProtocolError):
            session.receive(frame, NOW)


MOVES: Final[dict[str, dict[State, State | type[Exception]]]] = {
    "authenticated": {
        State.CONNECTING: State.AUTHENTICATED,
        State.AUTHENTICATED: State.AUTHENTICATED,
        State.READY: State.READY,
        State.CLOSING: LocalProtocolError,
        State.CLOSED: LocalProtocolError,
    },
    "ready": {
        State.CONNECTING: LocalProtocolError,
        State.AUTHENTICATED: State.READY,
        State.READY: LocalProtocolError,
        State.CLOSING: LocalProtocolError,
        State.CLOSED: LocalProtocolError,
    },
    "begin_close": {
        **dict.fromkeys(State, State.CLOSING),
        State.CLOSED: State.CLOSED,
    },
    "closed": dict.fromkeys(State, State.CLOSED),
}


@pytest.mark.parametrize("state", list(State), ids=str)
@pytest.mark.parametrize("move", MOVES)
def test_each_step_leads_where_the_table_says(move: str, state: State) -> None:
    """Move from state to state in one direction only (B51)."""
    session, to = in_state(state), MOVES[move][state]
    if isinstance(to, State):
        getattr(session, move)()
        assert session.state is to
        return
    with pytest.raises(to):
        getattr(session, move)()
    assert session.state is state


def test_run_that_is_open_may_end_while_the_connection_closes() -> None:
    """Let runs come to their end in closing, and start none (S75)."""
    session = ready()
    run_id, late = calling(session), session.new_run()
    session.begin_close(1001, "going away")
    with pytest.raises(LocalProtocolError, match="before closing"):
        tell(session, MessageType.AGENT_STARTED, late)
    tell(session, MessageType.TOOL_COMPLETED, run_id)
    tell(session, MessageType.ERROR, run_id)
    assert session.runs == (late,)
    session.closed()
    assert repr(session) == "<Session closed: 1 runs, sent 4>"


def test_first_reason_to_close_counts_and_fits_the_frame() -> None:
    """Keep the first code, and as much of its reason as a close frame takes."""
    session = ready()
    session.begin_close(1008, "é" * 100)
    session.begin_close(1000, "other")
    assert session.close_code == 1008
    assert session.close_reason == "é" * 61
    session.closed()
    session.begin_close(1000)
    assert session.close_code == 1008


# --- reading -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "reason", "code"),
    [
        (b'{"type": "ping"}', ErrorCode.BINARY_FRAME, 1003),
        (b"\xff\xfe", ErrorCode.BINARY_FRAME, 1003),
        (b"", ErrorCode.BINARY_FRAME, 1003),
        ('{"type": "ping", "nonce": "\udcff"}', ErrorCode.NOT_UTF8, 1007),
        ('{"type": "ping", "x": "' + "x" * 100 + '"}', ErrorCode.TOO_BIG, 1009),
        ('{"type": "ping", "x": "' + "é" * 40 + '"}', ErrorCode.TOO_BIG, 1009),
    ],
)
def test_frame_that_breaks_the_protocol_ends_the_connection(
    frame: str | bytes, reason: ErrorCode, code: int
) -> None:
    """Name the client's side, why, and what to close with."""
    session = ready(max_message_bytes=100)
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive(frame, NOW)
    assert (caught.value.reason, caught.value.close_code) == (reason, code)


def test_frame_of_exactly_the_limit_is_read() -> None:
    """Count bytes, not characters."""
    frame = '{"type": "ping", "x": "é"}'
    size = len(frame.encode())
    assert ready(max_message_bytes=size).receive(frame, NOW) == Ping(type="ping")
    with pytest.raises(RemoteProtocolError, match=f"send {size - 1} at most"):
        ready(max_message_bytes=size - 1).receive(frame, NOW)


def test_too_many_invalid_messages_in_a_row_are_fatal() -> None:
    """Forgive slips, and not a client that sends nothing else."""
    session = ready(max_invalid_messages=3)
    for _ in range(5):
        for _ in range(2):
            assert isinstance(session.receive("{}", NOW), Refused)
        assert session.receive('{"type": "ping"}', NOW) == Ping(type="ping")
    session.receive("{}", NOW)
    session.receive("[]", NOW)
    with pytest.raises(RemoteProtocolError, match="3 invalid messages") as caught:
        session.receive("{", NOW)
    assert caught.value.close_code == 1008
    assert caught.value.reason == ErrorCode.TOO_MANY_INVALID


def test_expired_token_lets_its_owner_only_show_another() -> None:
    """End a connection that goes on with an old token; take a new one in time."""
    session = Session()
    session.authenticated(expires_at=NOW)
    session.ready()
    ask = '{"type": "agent_request", "message": "hi"}'
    assert isinstance(session.receive(ask, NOW - 1), AgentRequest)
    with pytest.raises(RemoteProtocolError, match="expired") as caught:
        session.receive(ask, NOW)
    assert caught.value.close_code == 1008
    renew = session.receive('{"type": "authenticate", "token": "t"}', NOW + 1)
    assert isinstance(renew, Authenticate)
    session.authenticated(expires_at=NOW + 60)
    assert isinstance(session.receive(ask, NOW + 2), AgentRequest)
    assert session.expires_at == NOW + 60


# --- writing -----------------------------------------------------------------------


def test_numbers_have_no_gaps_and_times_are_utc() -> None:
    """Count from one, whatever is refused in between, so that a loss is seen (B31)."""
    session = ready()
    numbers = []
    for _ in range(3):
        numbers.append(tell(session, MessageType.PONG)["sequence"])
        with pytest.raises(LocalProtocolError):
            tell(session, MessageType.AGENT_STARTED, "no run")
    assert numbers == [1, 2, 3]
    message = tell(session, MessageType.PONG)
    assert message["timestamp"] == "2027-01-15T08:00:00.250Z"
    later = session.event(MessageType.PONG, {"nonce": None}, now=NOW + 0.7499)
    assert json.loads(later)["timestamp"] == "2027-01-15T08:00:01.000Z"


@pytest.mark.parametrize("kind", list(MessageType), ids=str)
def test_data_has_the_names_and_types_of_its_model(kind: MessageType) -> None:
    """Refuse what is missing, misspelled or of another type before it is sent (B27)."""
    session = ready()
    stages = {
        MessageType.AGENT_STARTED: opened,
        MessageType.TOOL_COMPLETED: calling,
    }
    run_id = None
    if kind in RUN_STEPS:
        run_id = stages.get(kind, started)(session)
    name = next(iter(DATA[kind]))
    less = {key: one for key, one in DATA[kind].items() if key != name}
    wrong = [less, DATA[kind] | {name: object()}]
    if kind is MessageType.PONG:
        wrong = [less]  # its one field may be null, and is the client's own
    if kind is not MessageType.AGENT_THINKING:
        wrong.append(DATA[kind] | {"eror": 1})
    before = session.sequence
    for data in wrong:
        with pytest.raises(LocalProtocolError, match=str(kind)):
            session.event(kind, data, now=NOW, run_id=run_id)
    assert session.sequence == before
    tell(session, kind, run_id)


def test_thoughts_may_say_more_than_is_listed() -> None:
    """Let a heartbeat and a wait for approval travel in a thought."""
    session = ready()
    run_id = started(session)
    data = DATA[MessageType.AGENT_THINKING] | {"waiting_for": ["add"], "seconds": 4.0}
    text = session.event(MessageType.AGENT_THINKING, data, now=NOW, run_id=run_id)
    assert json.loads(text)["data"]["waiting_for"] == ["add"]
    VALID.validate(json.loads(text))


def test_whatever_the_data_holds_is_written() -> None:
    """Write what no JSON has, and stay within the schema (B28)."""
    session = ready()
    run_id = started(session)
    loop: dict[str, Any] = {"text": "\ud800", "object": object(), "bytes": b"\xff"}
    loop["self"] = loop
    executing = MappingProxyType({**CALL, "arguments": MappingProxyType(loop)})
    kind = MessageType.TOOL_EXECUTING
    text = session.event(kind, executing, now=NOW, run_id=run_id)
    message = json.loads(text)
    VALID.validate(message)
    assert message["data"]["arguments"]["text"] == "?"


def test_ready_made_json_is_put_in_as_it_is() -> None:
    """Send a tool's own text, which was cut and scrubbed, without reading it again."""
    session = ready()
    run_id = calling(session)
    data = dict(DATA[MessageType.TOOL_COMPLETED])
    del data["result"]
    kind = MessageType.TOOL_COMPLETED
    ready_made = {"result": b'{"sum": 3.00}'}
    text = session.event(kind, data, now=NOW, run_id=run_id, spliced=ready_made)
    assert '"result":{"sum": 3.00}' in text
    VALID.validate(json.loads(text))
    state = {
        name: json.dumps(one).encode()
        for name, one in DATA[MessageType.TOOL_REGISTRY_STATE].items()
    }
    kind = MessageType.TOOL_REGISTRY_STATE
    text = session.event(kind, {}, now=NOW, spliced=state, request_id="q")
    assert json.loads(text)["data"] == DATA[MessageType.TOOL_REGISTRY_STATE]
    assert json.loads(text)["request_id"] == "q"


@pytest.mark.parametrize("name", ["result", "tool", "details"])
def test_ready_made_json_stands_for_nothing_twice(name: str) -> None:
    """Refuse ready-made data that is there already, is copied, or has no place."""
    session = ready()
    run_id = calling(session)
    data = dict(DATA[MessageType.TOOL_COMPLETED])
    if name == "tool":
        del data["tool"]
    with pytest.raises(LocalProtocolError):
        session.event(
            MessageType.TOOL_COMPLETED,
            data,
            now=NOW,
            run_id=run_id,
            spliced={name: b"1"},
        )


def test_ids_that_are_no_unicode_break_no_message() -> None:
    """Write any request id as JSON, quotes and all (B28)."""
    session = ready()
    text = session.event(
        MessageType.PONG, {"nonce": '"'}, now=NOW, request_id='"\ud800'
    )
    assert json.loads(text)["request_id"] == '"?'
    assert json.loads(text)["nonce"] == '"'
