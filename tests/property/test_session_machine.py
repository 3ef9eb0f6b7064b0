"""The session as a state machine: any frames and any messages, in any order."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from jsonschema import Draft202012Validator

from toolkit.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    SessionClosedError,
)
from toolkit.session.messages import COMMANDS, MESSAGES, ErrorCode, MessageType, Refused
from toolkit.session.protocol import CLOSE_CODES, Session, State
from toolkit.session.published import json_schema

pytestmark = pytest.mark.integration  # thousands of examples, and seconds

SCHEMA: Final = json_schema()
VALID: Final = {
    str(kind): Draft202012Validator(
        {**SCHEMA["$defs"][model.__name__], "$defs": SCHEMA["$defs"]}
    )
    for kind, model in MESSAGES.items()
}
AMID: Final = [
    *(MessageType.AGENT_THINKING, MessageType.TOOL_EXECUTING),
    *(MessageType.AGENT_COMPLETED, MessageType.ERROR),
]
ENDS: Final = {"agent_completed", "error"}
SEQUENCES: Final = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
FRAMES_TRIED: Final = settings(max_examples=500, deadline=None)

# --- frames ------------------------------------------------------------------------

FIELDS: Final = {
    "message": st.text(max_size=20) | st.none(),
    "agent": st.text(max_size=5) | st.integers(),
    "request_id": st.text(max_size=5) | st.integers(),
    "run_id": st.text(max_size=5) | st.none(),
    "nonce": st.text(max_size=5) | st.booleans(),
    "token": st.text(max_size=5),
    "call_id": st.text(max_size=5),
    "approved": st.booleans() | st.text(max_size=4),
    "user_id": st.text(max_size=5),
}
ANY_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
).map(json.dumps)
KINDS: Final = st.sampled_from([*COMMANDS, *MessageType, "", "ping "])
LIKELY: Final = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}),
    KINDS,
    st.fixed_dictionaries({}, optional=FIELDS),
)
GOOD: Final = st.sampled_from(
    [
        '{"type": "ping"}',
        '{"type": "cancel", "run_id": "x"}',
        '{"type": "agent_request", "message": "hi", "user_id": "eve"}',
    ]
)
CUT: Final = st.builds(lambda text, at: text[:at], GOOD, st.integers(0, 30))
LONE: Final = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3)
FRAMES: Final = st.one_of(
    *(st.text(), st.binary(), ANY_JSON, LIKELY, GOOD, CUT, LONE),
    st.just("x" * 2_000),
)
LIMITS: Final = {"max_message_bytes": 1_000, "max_invalid_messages": 4}

# --- what messages say -------------------------------------------------------------

# Sampled, not made: that leaves Hypothesis more of its choices for the order of steps.
CYCLE: Final[list[Any]] = []
CYCLE.append(CYCLE)
ODD: Final[tuple[object, ...]] = (
    *(None, True, -1, 10**30, 0.5, float("nan"), float("inf"), "", "é\x00", "\ud800"),
    *(b"\xff", object(), Session, {1, 2}, 1j, {3: b"x"}, {"\udfff": CYCLE}, [[]]),
)
ANYTHING: Final = st.sampled_from(ODD)
TEXT: Final = st.sampled_from(["", "a", "é\x00", '"}', "\ud800"])
SECONDS: Final = st.sampled_from([0, 0.5, 1e6])
NAMES: Final = st.lists(TEXT, max_size=2)
CALLS: Final = st.sampled_from(["c1", "c2"])

DATA: Final[dict[MessageType, st.SearchStrategy[dict[str, Any]]]] = {
    MessageType.AGENT_STARTED: st.fixed_dictionaries(
        {"agent": TEXT, "message_chars": st.just(0)},
        optional={"requested_agent": TEXT | st.none()},
    ),
    MessageType.AGENT_THINKING: st.fixed_dictionaries(
        {"agent": TEXT, "thought": TEXT, "step": st.just(0)},
        optional={"seen": ANYTHING},
    ),
    MessageType.TOOL_EXECUTING: st.fixed_dictionaries(
        {
            "call_id": CALLS,
            "tool": st.just("add"),
            "arguments": st.dictionaries(TEXT, ANYTHING, max_size=2) | st.none(),
        }
    ),
    MessageType.TOOL_COMPLETED: st.fixed_dictionaries(
        {
            "call_id": CALLS,
            "tool": st.just("add"),
            "ok": st.booleans(),
            "seconds": SECONDS,
            "truncated": st.booleans(),
            "result": ANYTHING,
            "error_code": TEXT,
            "error": TEXT | st.none(),
        }
    ),
    MessageType.AGENT_COMPLETED: st.fixed_dictionaries(
        {
            "agent": TEXT,
            "result": TEXT,
            "details": ANYTHING,
            "seconds": SECONDS,
            "tool_calls": st.just(0),
        }
    ),
    MessageType.ERROR: st.fixed_dictionaries(
        {"code": TEXT, "message": TEXT, "fatal": st.booleans()},
        optional={"retry_after": SECONDS | st.none()},
    ),
    MessageType.PONG: st.fixed_dictionaries({"nonce": TEXT | st.none()}),
    MessageType.TOOL_REGISTRY_STATE: st.fixed_dictionaries(
        {
            "registry_id": TEXT,
            "absent": st.just([]),
            "agents": st.just([]),
            "health": st.dictionaries(TEXT, ANYTHING, max_size=2),
            "tools": st.just([]),
        }
    ),
    MessageType.TOOLS_CHANGED: st.fixed_dictionaries(
        {
            "generation": st.just(2),
            "added": NAMES,
            "removed": NAMES,
            "changed": NAMES,
            "tools": st.just([]),
        }
    ),
}
TOLD: Final = st.sampled_from(list(MessageType)).flatmap(
    lambda kind: st.tuples(st.just(kind), DATA[kind])
)


class SessionMachine(RuleBasedStateMachine):
    """Whatever is tried, what has gone out is a true account of every run."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(**LIMITS)
        self.sent: list[dict[str, Any]] = []
        self.known = ["nobody's"]
        self.now = 1_800_000_000.0
        self.states = [State.CONNECTING]

    def attempt(self, step: Callable[[], str | None]) -> bool:
        """Take a step that may be refused, which then must have changed nothing."""
        session, refused = self.session, False
        before = (session.sequence, session.runs, session.state)
        text = None
        try:
            text = step()
        except LocalProtocolError:
            refused = True
        except SessionClosedError:
            refused = session.state in {State.CLOSING, State.CLOSED}
            assert refused
        if refused:
            assert (session.sequence, session.runs, session.state) == before
        if text is not None:
            self.sent.append(json.loads(text))
            VALID[self.sent[-1]["type"]].validate(self.sent[-1])
            assert before[2] is not State.CLOSED
            assert before[2] is State.READY or "agent_started" not in text
        self.states.append(session.state)
        return not refused

    @initialize(is_early=st.sampled_from([False, False, False, True]))
    def begin(self, *, is_early: bool) -> None:
        if not is_early:
            assert self.attempt(self.session.authenticated)
            assert self.attempt(self.session.ready)

    @rule(move=st.sampled_from(["authenticated", "ready"]))
    def go_on(self, move: str) -> None:
        self.attempt(getattr(self.session, move))

    @precondition(lambda self: len(self.sent) > 4)
    @rule(move=st.sampled_from(["begin_close", "closed"]))
    def end(self, move: str) -> None:
        self.attempt(getattr(self.session, move))

    @precondition(lambda self: len(self.session.runs) < 2)
    @rule(request=TEXT | st.none())
    def run(self, request: str | None) -> None:
        if self.attempt(lambda: self.session.new_run(request) and None):
            self.known.append(self.session.runs[-1])

    @rule(told=TOLD, pick=st.integers(0, 3), is_of_run=st.booleans())
    def tell(
        self, told: tuple[MessageType, dict[str, Any]], pick: int, *, is_of_run: bool
    ) -> None:
        kind, data = told
        run_id = self.known[-1 - pick % len(self.known)] if is_of_run else None
        self.now += 0.1
        event = partial(self.session.event, kind, data, now=self.now, run_id=run_id)
        self.attempt(event)

    @precondition(lambda self: self.session.runs)
    @precondition(lambda self: self.session.state is State.READY)
    @rule(pick=st.integers(0, 3), draw=st.data())
    def tell_in_time(self, pick: int, draw: st.DataObject) -> None:
        """Tell of an open run what may be told now: that is never refused."""
        run_id = self.session.runs[pick % len(self.session.runs)]
        calls = self.session.calls_of(run_id)
        if all(message["run_id"] != run_id for message in self.sent):
            kinds = [MessageType.AGENT_STARTED]
        elif calls:
            kinds = [MessageType.TOOL_COMPLETED, MessageType.AGENT_THINKING]
        else:
            kinds = AMID
        kind = draw.draw(st.sampled_from(kinds))
        data = draw.draw(DATA[kind])
        if kind is MessageType.TOOL_COMPLETED:
            data |= {"call_id": next(iter(calls))}
        event = partial(self.session.event, kind, data, now=self.now, run_id=run_id)
        assert self.attempt(event)

    @precondition(lambda self: any(map(self.session.calls_of, self.session.runs)))
    @rule(kind=st.sampled_from(sorted(ENDS)), draw=st.data())
    def end_too_early(self, kind: str, draw: st.DataObject) -> None:
        """End a run while a call of it goes on: that is always refused."""
        run_id = next(one for one in self.session.runs if self.session.calls_of(one))
        told = MessageType(kind)
        data = draw.draw(DATA[told])
        event = partial(self.session.event, told, data, now=self.now, run_id=run_id)
        assert not self.attempt(event)

    @precondition(lambda self: self.session.state in {State.CLOSING, State.CLOSED})
    @rule(told=TOLD)
    def start_or_say_too_late(self, told: tuple[MessageType, dict[str, Any]]) -> None:
        """Start a run when it closes, and say anything when it is closed: refused."""
        kind, data = told
        run_id = self.session.runs[0] if self.session.runs else None
        if self.session.state is State.CLOSING:
            kind, data = MessageType.AGENT_STARTED, {"agent": "a", "message_chars": 0}
        event = partial(self.session.event, kind, data, now=self.now, run_id=run_id)
        assert not self.attempt(event)

    @rule(frame=FRAMES)
    def receive(self, frame: str | bytes) -> None:
        if self.session.state is not State.READY:
            assert not self.attempt(lambda: str(self.session.receive(frame, self.now)))
            return
        check_answer(self.session, frame, self.now)

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        assert self.session.sequence == len(self.sent)
        if self.sent:
            assert self.sent[-1]["sequence"] == len(self.sent)

    @invariant()
    def states_go_one_way(self) -> None:
        order = list(State)
        assert self.states == sorted(self.states, key=order.index)

    def teardown(self) -> None:
        check_runs(self.sent, self.session.runs)


def check_answer(session: Session, frame: str | bytes, now: float) -> None:
    """Read a frame; the answer is typed, or an end that says what to close with."""
    answer: object = None
    try:
        answer = session.receive(frame, now)
    except RemoteProtocolError as error:
        answer = error
    if isinstance(answer, RemoteProtocolError):
        assert CLOSE_CODES[ErrorCode(answer.reason)] == answer.close_code
        assert answer.close_code in {1003, 1007, 1008, 1009}
        return
    assert isinstance(answer, (Refused, *COMMANDS.values()))
    assert "eve" not in repr(answer)


def check_runs(sent: list[dict[str, Any]], still_open: tuple[str, ...]) -> None:
    """Read the whole account of each run: begun once, ended once, calls within."""
    runs: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in sent:
        if message["run_id"] is not None:
            runs[message["run_id"]].append(message)
    for run_id, account in runs.items():
        kinds = [message["type"] for message in account]
        assert kinds[0] == "agent_started"
        assert kinds.count("agent_started") == 1
        ended = [at for at, kind in enumerate(kinds) if kind in ENDS]
        assert ended == ([] if run_id in still_open else [len(kinds) - 1])
        check_calls(account, is_over=bool(ended))


def check_calls(account: list[dict[str, Any]], *, is_over: bool) -> None:
    """Find each call executing before it completes, and none left at the end."""
    executing: Counter[str] = Counter()
    steps = {"tool_executing": 1, "tool_completed": -1}
    for message in account:
        if message["type"] in steps:
            executing[message["call_id"]] += steps[message["type"]]
            assert executing[message["call_id"]] in {0, 1}
    assert not is_over or not +executing


@pytest.mark.timeout(120)  # thousands of messages, each held against the schema
def test_session_gives_a_true_account_in_any_order_of_events() -> None:
    """Keep order, numbers and schema, whatever is tried (S75, B26, B27, B28, B51)."""
    told: Counter[str] = Counter()

    class Counted(SessionMachine):
        def teardown(self) -> None:
            super().teardown()
            told.update(message["type"] for message in self.sent)

    run_state_machine_as_test(Counted, settings=SEQUENCES)
    assert told.total() > 20, "next to nothing was told"


@FRAMES_TRIED
@given(frames=st.lists(FRAMES, min_size=1, max_size=6))
def test_any_frame_has_a_typed_answer(frames: list[str | bytes]) -> None:
    """Answer whatever a client sends, and never by an error of another kind (B65)."""
    session = Session(**LIMITS)
    session.authenticated()
    session.ready()
    for frame in frames:
        check_answer(session, frame, 0.0)
    assert session.state is State.READY
