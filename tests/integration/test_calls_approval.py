"""Calls that wait for a person: asked, answered once, and authorized again."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.sample_tools import catalog_of, until
from toolkit import (
    Settings,
    ToolContext,
    ToolResult,
    UserContext,
    UserContextToolFactory,
    UserToolSystem,
    tool,
)
from toolkit.context import REDACTED
from toolkit.errors import (
    ApprovalDeniedError,
    ApprovalExpiredError,
    ToolCancelledError,
    ToolNotFoundError,
)
from toolkit.testing import RecordingSink, make_user

WAIT = 10  # seconds; a bound, never reached when all is well
SECRET = 'the "canary" of ann'

ran: list[str] = []


@tool(destructive=True)
async def wipe(path: str, token: str = "") -> float | None:
    """Wipe a path, and do not wait."""
    ran.append(path)
    return None


@tool(destructive=True)
def wipe_slowly(path: str) -> str:
    """Wipe a path in a thread."""
    ran.append(path)
    return path


@tool
async def wait() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


@tool
async def look(context: ToolContext) -> float | None:
    """Say how long there is."""
    ran.append("look")
    return context.time_left()


@pytest.fixture(autouse=True)
def _forgetting() -> None:
    ran.clear()


@asynccontextmanager
async def asking(
    *,
    user: UserContext | None = None,
    authorizers: tuple[Callable[..., bool | None], ...] = (),
    secrets: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[UserToolSystem, RecordingSink]]:
    """Open a system whose settings ask for approval."""
    sink = RecordingSink()
    catalog = catalog_of(wipe, wipe_slowly, wait, look, authorizers=authorizers)
    factory = UserContextToolFactory(
        catalog, settings=Settings(**settings), sinks=[sink]
    )
    who = user or make_user("ann")
    async with factory.create_user_tool_system(who, secrets=secrets) as system:
        yield system, sink
    factory.close()


async def asked(
    system: UserToolSystem, name: str, arguments: Any = None, **options: Any
) -> tuple[asyncio.Task[ToolResult], str]:
    """Start a call, and wait until it asks; return it with its id."""
    before = {one.call_id for one in system.dispatcher.running()}
    call = asyncio.create_task(system.execute(name, arguments or {}, **options))
    new: list[str] = []

    def is_asking() -> bool:
        new[:] = [
            one.call_id
            for one in system.dispatcher.running()
            if one.state == "approval" and one.call_id not in before
        ]
        return bool(new)

    await until(is_asking)
    return call, new[0]


async def answer(call: asyncio.Task[ToolResult]) -> ToolResult:
    return await asyncio.wait_for(call, WAIT)


@pytest.mark.parametrize(
    "named", ["wipe", "acme.wipe", "WIPE"], ids=["bare", "qualified", "case"]
)
async def test_tool_that_is_named_waits_under_each_of_its_names(named: str) -> None:
    """However it is listed and called, one that is named waits, and no other does."""
    async with asking(approve_tools=frozenset({named})) as (system, sink):
        for name in ("wipe", "acme.wipe"):
            call, call_id = await asked(system, name, {"path": "/"})
            assert ran == []
            assert system.dispatcher.approve(call_id)
            assert (await answer(call)).ok
            ran.clear()
        assert (await system.execute("wipe_slowly", {"path": "/"})).ok
        told = sink.types().count("tool_approval_required")
        assert told == 2


@pytest.mark.parametrize("name", ["wipe", "wipe_slowly"], ids=["async", "sync"])
async def test_destructive_tools_wait_where_that_is_asked_for(name: str) -> None:
    """Each call of them, also the second; others run at once (B58)."""
    async with asking(approve_destructive=True) as (system, sink):
        for path in ("/one", "/two"):
            call, call_id = await asked(system, name, {"path": path})
            assert system.dispatcher.approve(call_id)
            result = await answer(call)
            assert (result.ok, result.call_id) == (True, call_id)
            assert sink.types(call_id) == [
                "tool_approval_required",
                "tool_approval_settled",
                "tool_executing",
                "tool_completed",
            ]
        assert (await system.execute("look")).ok
    assert ran == ["/one", "/two", "look"]


async def test_person_sees_arguments_without_what_is_secret() -> None:
    """Secret fields and the user's secrets are blanked before anybody looks
    (B29, B62).
    """
    arguments = {"path": f"/{SECRET}", "token": "tok-1"}
    secrets = {"key": SECRET}
    async with asking(approve_destructive=True, secrets=secrets) as (system, sink):
        call, call_id = await asked(system, "wipe", arguments)
        required = sink.events[0]
        assert required.arguments == {"path": f"/{REDACTED}", "token": REDACTED}
        assert required.call_id == call_id
        assert system.dispatcher.deny(call_id, f"because of {SECRET}")
        assert not (await answer(call)).ok


async def test_denied_call_never_starts_and_says_why() -> None:
    """Its events are of the approval only, and nothing is counted (B26)."""
    async with asking(approve_destructive=True) as (system, sink):
        call, call_id = await asked(system, "wipe", {"path": "/"})
        assert system.dispatcher.deny(call_id, "not on a Friday")
        error = (await answer(call)).error
        assert type(error) is ApprovalDeniedError
        assert "not on a Friday" in str(error)
        assert ran == []
        assert sink.types() == ["tool_approval_required", "tool_approval_settled"]
        settled = sink.events[1]
        assert (settled.ok, settled.error_code) == (False, "approval_denied")
        assert "not on a Friday" in settled.data["reason"]
        counts = system.dispatcher.statistics()
        assert counts == {"calls": 0, "failed": 0, "running": 0}


async def test_each_question_is_answered_once() -> None:
    """The first answer counts; every later one, and any of no call, is told so."""
    async with asking(approve_destructive=True) as (system, _):
        ask = system.dispatcher
        call, call_id = await asked(system, "wipe", {"path": "/"})
        assert [ask.approve(call_id), ask.deny(call_id), ask.approve(call_id)] == [
            True,
            False,
            False,
        ]
        assert (await answer(call)).ok
        assert not ask.approve(call_id)
        assert not ask.deny("no such call")


async def test_answer_may_come_from_another_thread() -> None:
    """A web framework's thread may have it."""
    async with asking(approve_destructive=True) as (system, _):
        call, call_id = await asked(system, "wipe", {"path": "/"})
        answers: list[bool] = []
        thread = threading.Thread(
            target=lambda: answers.append(system.dispatcher.approve(call_id))
        )
        thread.start()
        await asyncio.to_thread(thread.join, WAIT)
        assert (await answer(call)).ok
    assert answers == [True]


async def test_dispatcher_of_another_user_cannot_answer() -> None:
    """Nor can another system of the same user: the call belongs to its own
    (B32, B58).
    """
    settings = Settings(approve_destructive=True)
    factory = UserContextToolFactory(catalog_of(wipe), settings=settings)
    async with (
        factory.create_user_tool_system(make_user("ann")) as hers,
        factory.create_user_tool_system(make_user("ann")) as hers_too,
        factory.create_user_tool_system(make_user("bob")) as his,
    ):
        call, call_id = await asked(hers, "wipe", {"path": "/"})
        for other in (hers_too, his):
            assert not other.dispatcher.approve(call_id)
            assert not other.dispatcher.deny(call_id)
            assert not other.dispatcher.cancel(call_id)
        assert not call.done()
        assert hers.dispatcher.deny(call_id)
        assert type((await answer(call)).error) is ApprovalDeniedError
    factory.close()


async def test_unanswered_question_expires_and_cannot_be_answered_later() -> None:
    """It names the seconds there were; its answer comes to nothing (B30)."""
    async with asking(approve_destructive=True, approval_timeout=0.02) as (
        system,
        sink,
    ):
        call, call_id = await asked(system, "wipe", {"path": "/"})
        error = (await answer(call)).error
        assert type(error) is ApprovalExpiredError
        assert error.seconds == 0.02
        assert sink.events[-1].error_code == "approval_expired"
        assert not system.dispatcher.approve(call_id)
    assert ran == []
    assert sink.types() == ["tool_approval_required", "tool_approval_settled"]


@pytest.mark.parametrize("way", ["cancel", "close", "aclose", "caller"])
async def test_call_that_is_given_up_while_it_waits_never_starts(way: str) -> None:
    """By its id, by its system, by its caller: it is settled, and not started
    (B26, B50).
    """
    async with asking(approve_destructive=True) as (system, sink):
        call, call_id = await asked(system, "wipe", {"path": "/"})
        if way == "caller":
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            if way == "cancel":
                assert system.dispatcher.cancel(call_id, "the shop is shut")
            elif way == "close":
                system.close()
            else:
                await asyncio.wait_for(system.aclose(), WAIT)
            error = (await answer(call)).error
            assert type(error) is ToolCancelledError
            assert ("the shop is shut" in str(error)) is (way == "cancel")
        assert sink.types() == ["tool_approval_required", "tool_approval_settled"]
        assert (sink.events[1].ok, sink.events[1].error_code) == (False, "cancelled")
        assert not system.dispatcher.approve(call_id)
        assert system.dispatcher.running() == ()
    assert ran == []


async def test_call_that_is_cancelled_after_it_was_approved_does_not_start() -> None:
    """Both in one turn of the loop: what ends it wins (B26)."""
    async with asking(approve_destructive=True) as (system, sink):
        call, call_id = await asked(system, "wipe", {"path": "/"})
        assert system.dispatcher.approve(call_id)
        assert system.dispatcher.cancel(call_id)
        assert type((await answer(call)).error) is ToolCancelledError
        assert "tool_executing" not in sink.types()
    assert ran == []


@pytest.mark.parametrize("way", ["cancel", "close", "caller", "expired"])
async def test_answer_that_comes_too_late_is_told_so(way: str) -> None:
    """In the same turn of the loop as what ended it, before the call knows (B30)."""
    async with asking(approve_destructive=True, approval_timeout=0.05) as (system, _):
        call, call_id = await asked(system, "wipe", {"path": "/"})
        answers: list[bool] = []
        if way == "expired":  # both are due in one turn, the expiry first
            loop = asyncio.get_running_loop()
            approve = system.dispatcher.approve
            loop.call_later(0.06, lambda: answers.append(approve(call_id)))
            until_then = time.monotonic() + 0.08
            while time.monotonic() < until_then:
                pass
        else:
            end = {
                "cancel": lambda: system.dispatcher.cancel(call_id),
                "close": system.close,
                "caller": call.cancel,
            }
            end[way]()
            answers.append(system.dispatcher.approve(call_id))
        await asyncio.wait({call}, timeout=WAIT)
        goes_on = not call.cancelled() and call.result().ok
        assert answers == [goes_on]
    assert bool(ran) is goes_on


async def test_call_that_waits_for_a_person_shows_until_when() -> None:
    """It is answered when the question expires; once it runs, at its own deadline."""
    limits: dict[str, Any] = {"approval_timeout": 500.0, "default_timeout": 100.0}
    async with asking(approve_tools=frozenset({"wait"}), **limits) as (system, _):
        call, call_id = await asked(system, "wait")
        (asks,) = system.dispatcher.running()
        assert asks.deadline is not None
        assert 400 < asks.deadline - time.monotonic() <= 500
        assert system.dispatcher.approve(call_id)
        await until(lambda: system.dispatcher.running()[0].state == "running")
        (runs,) = system.dispatcher.running()
        assert runs.deadline is not None
        assert 50 < runs.deadline - time.monotonic() <= 100
        assert system.dispatcher.cancel(call_id)
        assert not (await answer(call)).ok


async def test_deadline_begins_when_the_call_is_approved() -> None:
    """A person's time is not the tool's; the whole of the limit is left (B31)."""
    named = frozenset({"look"})
    async with asking(approve_tools=named, default_timeout=0.2) as (system, _):
        call, call_id = await asked(system, "look")
        since = time.monotonic()
        await until(lambda: time.monotonic() > since + 0.3)
        assert not call.done()
        assert system.dispatcher.approve(call_id)
        left = (await answer(call)).unwrap()
    assert 0.1 < left <= 0.2


async def test_right_that_is_lost_while_it_waits_is_looked_at_again() -> None:
    """Approval grants nothing: what denies at the time of the call denies (B58)."""
    allowed = [True]

    def authorize(user: UserContext, definition: object) -> bool:
        return allowed[0]

    async with asking(approve_destructive=True, authorizers=(authorize,)) as found:
        system, sink = found
        call, call_id = await asked(system, "wipe", {"path": "/"})
        allowed[0] = False
        assert system.dispatcher.approve(call_id)
        assert type((await answer(call)).error) is ToolNotFoundError
        assert ran == []
        assert "tool_executing" not in sink.types()


async def test_calls_that_are_refused_anyway_bother_nobody() -> None:
    """Unknown, not valid, denied: no person is asked (B26)."""
    async with asking(approve_destructive=True) as (system, sink):
        assert not (await system.execute("wipe", {"path": 5})).ok
        assert not (await system.execute("wype", {"path": "/"})).ok
        assert sink.events == []


async def test_waiting_for_a_person_takes_no_place_of_other_calls() -> None:
    """A user of one place at once works on while somebody thinks (B53)."""
    limits: dict[str, Any] = {"max_concurrent_calls": 1, "max_queued_calls": 0}
    async with asking(approve_destructive=True, **limits) as (system, _):
        first, first_id = await asked(system, "wipe_slowly", {"path": "/one"})
        second, second_id = await asked(system, "wipe_slowly", {"path": "/two"})
        assert (await system.execute("look")).ok
        for call, call_id in ((second, second_id), (first, first_id)):
            assert system.dispatcher.approve(call_id)
            assert (await answer(call)).ok
    assert ran == ["look", "/two", "/one"]


async def test_call_with_a_key_waits_once_for_all_who_repeat_it() -> None:
    """One question, one run, and the same answer to both."""
    async with asking(approve_destructive=True) as (system, sink):
        options = {"idempotency_key": "key"}
        call, call_id = await asked(system, "wipe", {"path": "/"}, **options)
        again = asyncio.create_task(system.execute("wipe", {"path": "/"}, **options))
        await asyncio.sleep(0)
        assert system.dispatcher.approve(call_id)
        assert (await answer(again)) is (await answer(call))
        assert sink.types().count("tool_approval_required") == 1
    assert ran == ["/"]
