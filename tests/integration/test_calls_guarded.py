"""What stands before and around a call: limits, approval, keys, repetition, secrets."""

import asyncio
import json
import logging
import threading
from typing import Any

import pytest

from toolkit import (
    Settings,
    ToolContext,
    ToolError,
    Toolkit,
    UserContext,
    tool,
)
from toolkit.errors import (
    ApprovalDeniedError,
    ApprovalExpiredError,
    CallLimitError,
    IdempotencyKeyError,
    InvalidArgumentsError,
    MissingSecretError,
    ToolCancelledError,
    ToolExecutionError,
    ToolTimeoutError,
)
from toolkit.events import EventType, ToolEvent
from toolkit.testing import RecordingSink, make_user

WAIT = 5  # seconds; a bound, never reached when all is well
CANARY = 'canary "zyxw"\nöde'  # no id of hexadecimal digits holds the inner word


def kit_of(*tools: object, **settings: Any) -> Toolkit:
    """Wire these tools and no others."""
    return Toolkit(Settings(allow=frozenset(), **settings), objects=tools)


class Counted:
    """Counts its runs, and fails as often as it is told."""

    name = "counted"
    idempotent = True

    def __init__(self) -> None:
        self.runs = 0

    async def execute(self, failures: int = 0) -> int:
        self.runs += 1
        if self.runs <= failures:
            raise OSError("not yet")
        return self.runs


class Wipe:
    """Destroys something."""

    name = "wipe"
    destructive = True

    async def execute(self, what: str, password: str = "") -> str:
        return f"wiped {what}"


@tool
async def wait_for_ever() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


@tool
async def spell(word: str, context: ToolContext) -> Any:
    """Spell a word, and say how far it is."""
    for number, letter in enumerate(word):
        context.progress(number / len(word), letter)
        yield {"letter": letter}


@tool
async def ask_service(context: ToolContext, how: str = "length") -> str:
    """Use the user's token."""
    token = context.secrets["token"]
    if how == "told":
        raise ToolError(f"the service refuses {token}")
    if how == "raised":
        error = OSError(f"cannot reach it with {token}")
        error.add_note(f"noted {token}")
        raise error from ValueError(token)
    context.progress(0.5, f"asking with {token}")
    return str(len(token))


def types(events: RecordingSink) -> list[str]:
    """Return the types of all events."""
    return [str(one.type) for one in events.events]


async def until_event(events: RecordingSink, kind: EventType) -> ToolEvent:
    """Give others their turn until there is an event of that kind."""

    async def look() -> ToolEvent:
        while True:
            for one in events.events:
                if one.type is kind:
                    return one
            await asyncio.sleep(0)

    return await asyncio.wait_for(look(), WAIT)


# --- approval ------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["approved", "denied", "cancelled", "closed"])
async def test_destructive_call_waits_for_a_persons_answer(answer: str) -> None:
    """Show the call with its arguments, and do what is answered, once (B26, B29)."""
    events = RecordingSink()
    with kit_of(Wipe, approve_destructive=True) as kit:
        system = kit.user(make_user(), sinks=[events])
        arguments = {"what": "disk", "password": "hunter2"}
        call = asyncio.create_task(system.execute("wipe", arguments))
        asked = await until_event(events, EventType.TOOL_APPROVAL_REQUIRED)
        assert asked.arguments == {"what": "disk", "password": "[redacted]"}
        (waiting,) = system.dispatcher.running()
        assert waiting.state == "approval"
        if answer == "approved":
            assert system.dispatcher.approve(asked.call_id)
        elif answer == "denied":
            assert system.dispatcher.deny(asked.call_id, "not today")
        elif answer == "cancelled":
            assert system.dispatcher.cancel(asked.call_id)
        else:
            system.close()
        result = await asyncio.wait_for(call, WAIT)
        assert not system.dispatcher.approve(asked.call_id)
        system.close()
    settled = [e for e in events.events if e.type is EventType.TOOL_APPROVAL_SETTLED]
    assert [one.ok for one in settled] == [answer == "approved"]
    if answer == "approved":
        assert result.value == "wiped disk"
        assert types(events)[2:] == ["tool_executing", "tool_completed"]
    else:
        kind = ApprovalDeniedError if answer == "denied" else ToolCancelledError
        assert type(result.error) is kind
        assert len(types(events)) == 2


async def test_approval_that_nobody_gives_expires() -> None:
    """Refuse the call when the time to answer is over; nothing has run (B30)."""
    with (
        kit_of(Wipe, approve_tools={"wipe"}, approval_timeout=0.02) as kit,
        kit.user(make_user()) as system,
    ):
        result = await asyncio.wait_for(system.execute("wipe", {"what": "x"}), WAIT)
        assert type(result.error) is ApprovalExpiredError
        assert system.dispatcher.statistics()["calls"] == 0


async def test_approval_is_answered_by_its_own_dispatcher_only() -> None:
    """Let no other user answer for a call, whatever id they send (B32)."""
    events = RecordingSink()
    with (
        kit_of(Wipe, approve_destructive=True) as kit,
        kit.user(make_user("ann"), sinks=[events]) as ann,
        kit.user(make_user("bob")) as bob,
    ):
        call = asyncio.create_task(ann.execute("wipe", {"what": "x"}))
        asked = await until_event(events, EventType.TOOL_APPROVAL_REQUIRED)
        assert not bob.dispatcher.approve(asked.call_id)
        assert not bob.dispatcher.cancel(asked.call_id)
        assert ann.dispatcher.deny(asked.call_id)
        assert type((await asyncio.wait_for(call, WAIT)).error) is ApprovalDeniedError


# --- keys and repetition ------------------------------------------------------------


async def test_call_that_comes_again_under_its_key_runs_once() -> None:
    """Answer with the first result, also while it runs; refuse another call's key."""
    with kit_of(Counted, Wipe) as kit, kit.user(make_user()) as system:
        both = await asyncio.gather(
            system.execute("counted", '{"failures": 0}', idempotency_key="k"),
            system.execute("counted", b'{ "failures":0 }', idempotency_key="k"),
        )
        again = await system.execute("counted", {"failures": 0}, idempotency_key="k")
        assert {one.value for one in (*both, again)} == {1}
        assert len({one.call_id for one in (*both, again)}) == 1
        other = await system.execute("counted", {"failures": 3}, idempotency_key="k")
        assert type(other.error) is IdempotencyKeyError
        bad = await system.execute("counted", idempotency_key="")
        assert type(bad.error) is InvalidArgumentsError


async def test_key_of_a_call_that_never_started_is_free_again() -> None:
    """Keep no refusal: the next attempt is the first that counts."""
    with kit_of(Wipe, approve_destructive=True, approval_timeout=0.01) as kit:
        events = RecordingSink()
        with kit.user(make_user(), sinks=[events]) as system:
            first = await system.execute("wipe", {"what": "x"}, idempotency_key="k")
            assert type(first.error) is ApprovalExpiredError
            second = await system.execute("wipe", {"what": "x"}, idempotency_key="k")
            assert second.call_id != first.call_id


@pytest.mark.parametrize(("retries", "ends_well"), [(0, False), (1, False), (2, True)])
async def test_idempotent_tool_is_called_again_when_it_failed(
    retries: int,
    ends_well: bool,  # noqa: FBT001 - a case
) -> None:
    """Repeat within one call, which starts and ends once (B26)."""
    events = RecordingSink()
    with (
        kit_of(Counted, retries=retries, retry_delay=0.001) as kit,
        kit.user(make_user(), sinks=[events]) as system,
    ):
        result = await asyncio.wait_for(
            system.execute("counted", {"failures": 2}), WAIT
        )
        assert result.ok is ends_well
        assert result.value == (3 if ends_well else None)
        assert types(events) == ["tool_executing", "tool_completed"]


async def test_tool_that_does_not_say_it_is_idempotent_is_called_once() -> None:
    """Repeat nothing whose second run might do harm."""
    runs: list[int] = []

    @tool
    async def pay() -> None:
        """Pay, and fail afterwards."""
        runs.append(1)
        raise OSError

    with kit_of(pay, retries=3, retry_delay=0.001) as kit, kit.user(make_user()) as one:
        assert type((await one.execute("pay")).error) is ToolExecutionError
    assert runs == [1]


# --- limits ---------------------------------------------------------------------------


async def test_calls_over_a_users_limit_wait_and_further_ones_are_refused() -> None:
    """Queue so many, refuse the next with what is counted, for all their systems."""
    limits = {"max_concurrent_calls": 1, "max_queued_calls": 1}
    with kit_of(wait_for_ever, Counted, **limits) as kit:
        first, second = kit.user(make_user("ann")), kit.user(make_user("ann"))
        running = asyncio.create_task(first.execute("wait_for_ever"))
        queued = asyncio.create_task(second.execute("wait_for_ever"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = await asyncio.wait_for(second.execute("wait_for_ever"), WAIT)
        assert type(refused.error) is CallLimitError
        assert (refused.error.used, refused.error.limit) == (1, 1)
        with kit.user(make_user("bob")) as bob:  # another user's limit is another's
            late = await bob.execute("wait_for_ever", timeout=0.01)
            assert type(late.error) is ToolTimeoutError
        (call,) = first.dispatcher.running()
        assert first.dispatcher.cancel(call.call_id)
        assert type((await asyncio.wait_for(running, WAIT)).error) is ToolCancelledError
        second.close()
        assert type((await asyncio.wait_for(queued, WAIT)).error) is ToolCancelledError
        first.close()


async def test_rate_of_a_user_and_of_a_tool_says_when_to_come_back() -> None:
    """Start so many in a minute; the refusal tells the seconds to wait."""
    per_tool = {"counted": {"per_minute": 2}}
    with (
        kit_of(Counted, tool_limits=per_tool) as kit,
        kit.user(make_user("ann")) as ann,
        kit.user(make_user("bob")) as bob,
    ):
        assert (await ann.execute("counted")).ok
        assert (await bob.execute("counted")).ok
        refused = await ann.execute("counted", timeout=0.5)
        assert isinstance(refused.error, CallLimitError)
        assert refused.error.retry_after is not None
        assert 50 < refused.error.retry_after <= 60
    with (
        kit_of(Counted, calls_per_minute=1) as kit,
        kit.user(make_user("ann")) as ann,
        kit.user(make_user("bob")) as bob,
    ):
        assert (await ann.execute("counted")).ok
        assert not (await ann.execute("counted", timeout=0.5)).ok
        assert (await bob.execute("counted")).ok


async def test_one_users_blocking_calls_leave_threads_for_others() -> None:
    """Serve a neighbour at once while a user's calls fill what they may have (B53)."""
    release = threading.Event()

    @tool
    def block() -> None:
        """Block until the test is over."""
        assert release.wait(WAIT)

    @tool
    def instant() -> str:
        """Answer at once."""
        return "served"

    with (
        kit_of(block, instant, max_threads=8, max_threads_per_user=4) as kit,
        kit.user(make_user("ann")) as ann,
        kit.user(make_user("bob")) as bob,
    ):
        calls = [asyncio.create_task(ann.execute("block")) for _ in range(30)]
        await asyncio.sleep(0)
        answer = await asyncio.wait_for(bob.execute("instant"), WAIT)
        assert answer.value == "served"
        assert kit.health()["threads"]["queued"] == 26
        release.set()
        results = await asyncio.wait_for(asyncio.gather(*calls), WAIT)
        assert all(one.ok for one in results)


async def test_late_thread_is_counted_replaced_and_told_in_the_health() -> None:
    """Answer at the deadline; the thread runs on, and another takes its place (B30)."""
    release = threading.Event()

    @tool
    def hang() -> None:
        """Hang until the test is over."""
        assert release.wait(WAIT)

    @tool
    def instant() -> str:
        """Answer at once."""
        return "served"

    with (
        kit_of(hang, instant, max_threads=1, max_threads_per_user=4) as kit,
        kit.user(make_user()) as system,
    ):
        late = await asyncio.wait_for(system.execute("hang", timeout=0.02), WAIT)
        assert type(late.error) is ToolTimeoutError
        health = kit.health()
        assert health["status"] == "degraded"
        assert health["threads"]["late"] == 1
        assert "1 thread runs on after it was given up; up to" in health["issues"][0]
        served = await asyncio.wait_for(system.execute("instant"), WAIT)
        assert served.value == "served"
        release.set()


# --- streams and secrets -------------------------------------------------------------


async def test_parts_and_progress_come_as_events_in_their_order() -> None:
    """Tell them between start and end, to who asked for this call only (B26)."""
    told: list[ToolEvent] = []
    with kit_of(spell) as kit, kit.user(make_user()) as system:
        result = await system.execute("spell", {"word": "ab"}, on_event=told.append)
        await system.execute("spell", {"word": "c"})
    assert result.value == [{"letter": "a"}, {"letter": "b"}]
    assert [(str(one.type), one.data) for one in told] == [
        ("tool_executing", None),
        ("tool_progress", {"fraction": 0.0, "message": "a"}),
        ("tool_part", {"letter": "a"}),
        ("tool_progress", {"fraction": 0.5, "message": "b"}),
        ("tool_part", {"letter": "b"}),
        ("tool_completed", None),
    ]


@pytest.mark.parametrize("how", ["length", "told", "raised"])
@pytest.mark.parametrize("shown", [True, False], ids=["shown", "hidden"])
async def test_secret_is_found_nowhere_but_in_its_tool(
    how: str,
    shown: bool,  # noqa: FBT001 - a case
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Search schemas, events, logs, errors and reprs for a canary (B62)."""
    caplog.set_level(logging.DEBUG)
    events = RecordingSink()
    with (
        kit_of(ask_service, show_tool_errors=shown) as kit,
        kit.user(make_user(), secrets={"token": CANARY}, sinks=[events]) as system,
    ):
        result = await system.execute("ask_service", {"how": how})
        seen = [
            *(one.input_schema_json for one in system.definitions()),
            *(one.to_json() for one in events.events),
            *(repr(one) for one in (*events.events, result, system)),
            repr(system.dispatcher.registry),
        ]
    error: BaseException | None = result.error
    while error is not None:
        seen += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    seen += [
        logging.Formatter("%(message)s").format(record) for record in caplog.records
    ]
    assert result.ok is (how == "length")
    forms = {CANARY, repr(CANARY)[1:-1], json.dumps(CANARY)[1:-1], "zyxw"}
    assert [text for text in seen if any(form in text for form in forms)] == []
    if how != "length":
        assert "[redacted]" in "".join(seen)


async def test_secret_that_a_user_has_not_is_named() -> None:
    """Tell which one is missing, and give no user another's (B32)."""
    with (
        kit_of(ask_service) as kit,
        kit.user(make_user("ann"), secrets={"token": "abcd"}) as ann,
        kit.user(make_user("bob")) as bob,
    ):
        assert (await ann.execute("ask_service")).value == "4"
        result = await bob.execute("ask_service")
        assert type(result.error) is MissingSecretError
        assert result.error.secret == "token"


def test_user_of_a_context_is_who_was_given() -> None:
    """Refuse secrets that are no texts when the system is made."""
    with kit_of(ask_service) as kit, pytest.raises(ValueError, match="secrets"):
        kit.user(UserContext(user_id="ann"), secrets={"token": ""})
