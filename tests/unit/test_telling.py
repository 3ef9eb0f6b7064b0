"""Who is told of calls, and what: made once, delivered, without secrets."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, computed_field

from toolkit import ToolError, ToolEvent, tool
from toolkit.catalog import ListedTool
from toolkit.compiler import compile_tool
from toolkit.context import NO_SECRETS, REDACTED, Secrets
from toolkit.errors import ApprovalDeniedError, ToolCancelledError
from toolkit.events import Blanks, EventType
from toolkit.plans import Call, Plan
from toolkit.results import failure, success
from toolkit.telling import Teller
from toolkit.testing import RecordingSink, make_user

SECRET = 'can"ary\n7é'
USER = make_user("ann", session_id="s-1", thread_id="t-1", run_id="r-1")


@tool
async def login(token: str, word: str = "none") -> str:
    """Log in."""
    return token


def plan_of(secrets: Secrets = NO_SECRETS) -> Plan:
    """Make as much of a plan as telling needs."""
    compiled = compile_tool(login)
    plan = Plan()
    plan.listed = ListedTool(compiled.definition, compiled)
    plan.signature = compiled.signature
    plan.blanks = Blanks(frozenset({"token"}), (), secrets or None)
    return plan


def teller_for(sink: RecordingSink, secrets: Secrets = NO_SECRETS) -> Teller:
    return Teller(USER, [sink], secrets)


async def call_of(teller: Teller, secrets: Secrets = NO_SECRETS) -> Call:
    return Call(plan_of(secrets), "login", "c-1", 0.0, {"token": "t"}, teller.sinks)


def test_executing_shows_arguments_and_whose_call_it_is() -> None:
    """Each id in its own field, the time in UTC, secret fields blanked (B29, B33)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    before = datetime.now(UTC)
    checked = {"token": "t", "word": "w"}
    teller.executing(teller.sinks, plan_of(), "c-1", "login", checked)
    (event,) = sink.events
    assert type(event) is ToolEvent
    assert event.type is EventType.TOOL_EXECUTING
    assert (event.call_id, event.tool) == ("c-1", "login")
    ids = (event.user_id, event.session_id, event.thread_id, event.run_id)
    assert ids == ("ann", "s-1", "t-1", "r-1")
    assert before <= event.timestamp <= datetime.now(UTC)
    assert event.arguments == {"token": REDACTED, "word": "w"}
    assert (event.ok, event.seconds, event.data) == (None, None, None)


def test_arguments_are_those_of_the_moment_of_the_call() -> None:
    """What is done to them afterwards is not in the event (B22)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    checked = {"token": "t", "word": "before"}
    teller.executing(teller.sinks, plan_of(), "c-1", "login", checked)
    checked["word"] = "after"
    assert sink.events[0].arguments == {"token": REDACTED, "word": "before"}


def test_arguments_that_are_json_already_are_shown_alike() -> None:
    """As they come from another process, whose checks this one never saw (B29)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    text = b'{"token":"t","word":"w"}'
    teller.executing(teller.sinks, plan_of(), "c-1", "login", text)
    assert sink.events[0].arguments == {"token": REDACTED, "word": "w"}


def test_arguments_that_cannot_be_shown_are_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The event comes all the same, and the log says why there are none (B24)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    loop: list[Any] = []
    loop.append(loop)
    teller.executing(teller.sinks, plan_of(), "c-1", "login", {"token": loop})
    assert sink.events[0].arguments is None
    assert "arguments of call c-1 cannot be shown" in caplog.text


def test_completed_says_what_the_result_says() -> None:
    """Success, failure and a caller that went are told by named facts (B22, B26)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    good = success("abc", b'"abc"', 3, "c-1", "login", 0.5)
    bad = failure(ToolError("No."), "login", "c-2", 0.5)
    teller.completed(teller.sinks, "c-1", "login", good, 0.5)
    teller.completed(teller.sinks, "c-2", "login", bad, 0.5)
    teller.completed(teller.sinks, "c-3", "login", None, 0.5)
    facts = [(one.ok, one.error_code, one.truncated) for one in sink.events]
    assert facts == [
        (True, "", True),
        (False, "tool_error", False),
        (False, "cancelled", False),
    ]
    assert {one.seconds for one in sink.events} == {0.5}
    assert {one.type for one in sink.events} == {EventType.TOOL_COMPLETED}
    assert [one.arguments for one in sink.events] == [None] * 3


async def test_approval_is_asked_for_with_arguments_and_settled_with_a_reason() -> None:
    """The person sees what would run; who listens learns how it was answered (B29)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    call = await call_of(teller)
    teller.approval_required(call)
    teller.approval_settled(call, None)
    teller.approval_settled(call, ApprovalDeniedError("login", "not today"))
    asked, approved, denied = sink.events
    assert asked.arguments == {"token": REDACTED}
    assert (approved.ok, approved.error_code, approved.data) == (True, "", None)
    assert (denied.ok, denied.error_code) == (False, "approval_denied")
    assert "not today" in denied.data["reason"]
    types = [str(one.type) for one in sink.events]
    assert types == ["tool_approval_required", *["tool_approval_settled"] * 2]


async def test_parts_and_progress_have_types_of_their_own() -> None:
    """A part is no progress (B27)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    call = await call_of(teller)
    teller.meanwhile(call, "part", [1])
    teller.meanwhile(call, "progress", {"fraction": 0.5, "message": ""})
    part, progress = sink.events
    assert (part.type, part.data) == (EventType.TOOL_PART, [1])
    assert progress.type is EventType.TOOL_PROGRESS
    assert progress.data == {"fraction": 0.5, "message": ""}


def test_copy_is_json_of_its_own() -> None:
    """What a tool keeps and changes is not what was told (B22)."""
    teller = teller_for(RecordingSink())
    numbers = [1]
    when = datetime(2026, 1, 2, tzinfo=UTC)
    copied = teller.copy({"at": when, "list": numbers, "nan": float("nan")})
    numbers.append(2)
    assert copied == {"at": "2026-01-02T00:00:00Z", "list": [1], "nan": None}


@pytest.mark.parametrize("secret", [SECRET, "plain", "quo'te", "back\\slash", "é€😀"])
def test_copy_has_no_secret_however_json_writes_it(secret: str) -> None:
    """Quotes, line ends and other alphabets hide nothing from the search (B62)."""
    teller = teller_for(RecordingSink(), Secrets({"key": secret}))
    said = {"text": f"a {secret} b", secret: [secret], "repr": repr(secret)}
    copied = teller.copy(said)
    assert secret not in repr(copied)
    assert copied["text"] == f"a {REDACTED} b"
    assert copied[REDACTED] == [REDACTED]


def test_what_cannot_be_copied_is_told_as_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A part that is no JSON disturbs nothing; the log has it (B24, B28)."""
    assert teller_for(RecordingSink()).copy(["\ud800"]) is None
    assert "cannot be shown" in caplog.text


def test_sink_that_raises_is_logged_and_the_next_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One bad listener costs nobody else an event (B24)."""

    def broken(event: ToolEvent) -> None:
        raise ConnectionError(event.tool)

    sink = RecordingSink()
    teller = Teller(USER, [broken, sink], NO_SECRETS)
    teller.completed(teller.sinks, "c-1", "login", None, 0.0)
    assert len(sink.events) == 1
    assert "event sink" in caplog.text


async def test_cancelled_approval_is_settled_with_its_error() -> None:
    """Whoever listens learns that nobody has to answer any more (B26)."""
    sink = RecordingSink()
    teller = teller_for(sink)
    teller.approval_settled(await call_of(teller), ToolCancelledError("login", "gone"))
    assert sink.events[0].error_code == "cancelled"
    assert "gone" in sink.events[0].data["reason"]


async def test_secret_in_an_answer_or_in_what_cannot_be_shown_is_blanked_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A person's reason may quote arguments, and a plugin's text anything (B62)."""

    class Model(BaseModel):
        word: str

        @computed_field
        def held(self) -> str:
            raise ValueError(self.word)

    sink = RecordingSink()
    secrets = Secrets({"key": SECRET})
    teller = teller_for(sink, secrets)
    denied = ApprovalDeniedError("login", f"it holds {SECRET}")
    teller.approval_settled(await call_of(teller, secrets), denied)
    assert sink.events[0].data["reason"].endswith(f"it holds {REDACTED}")
    assert teller.copy(Model(word=SECRET)) is None
    model = Model.model_construct(word=SECRET)
    teller.executing(teller.sinks, plan_of(secrets), "c-1", "login", {"word": model})
    assert sink.events[1].arguments is None
    assert "ary" not in caplog.text
    assert caplog.text.count("cannot be shown") == 2
