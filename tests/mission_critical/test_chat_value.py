"""What users pay for: three probes that fail hard, each with its own message.

Expected on the broken state: each probe fails, as its users saw it.
Expected now: each passes, on the server that runs (S166).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import pytest
from pydantic import BaseModel

from tests.deployment import Deployment, deployed
from tests.legacy_mode import HANDLER_PREFIX, STAGING_TEXT, Remedies
from tests.legacy_server import LegacyServer, Manner, legacy_server
from tests.sample_tools import Echo, Tally
from tests.serving import FIVE, settings, types
from toolkit import ChatFailedError
from toolkit.testing import ChatClient, connect, token_for

pytestmark = [pytest.mark.staging, pytest.mark.authenticated]

ANN, BOB = "ann@example.com", "bob@example.com"
QUESTION: Final = "Help me optimize my AWS costs for my startup"
FULL_TEXT: Final = f"{HANDLER_PREFIX}{STAGING_TEXT}"

Enter = Callable[[str], Awaitable[ChatClient]]
Probe = Callable[[Enter, float], Awaitable[list[Any]]]


class AskModel(BaseModel):
    question: str = ""


class AnswerModel(BaseModel):
    answer: str = ""


TOOLS = (Echo, AskModel, Tally, AnswerModel)


# --- the probes ----------------------------------------------------------------------


async def chat(enter: Enter, seconds: float) -> list[Any]:
    """Connect and ask; return what came."""
    async with await enter(ANN) as client:
        return await client.ask(QUESTION, "cost_optimization_agent", timeout=seconds)


async def probe_user_can_chat(enter: Enter, seconds: float) -> list[Any]:
    """Somebody connects, asks, and the run ends without an error."""
    try:
        heard = await chat(enter, seconds)
    except ChatFailedError as error:
        pytest.fail(f"USERS CANNOT CHAT: {error}")
    if heard[-1]["type"] == "error":
        pytest.fail(f"USERS CANNOT CHAT: {heard[-1]['code']}: {heard[-1]['message']}")
    return heard


async def probe_responses_are_delivered(enter: Enter, seconds: float) -> list[Any]:
    """There is an answer, and it is worth having."""
    try:
        heard = await chat(enter, seconds)
    except ChatFailedError as error:
        pytest.fail(f"RESPONSES ARE NOT DELIVERED: {error}")
    answer = str(heard[-1].get("result", ""))
    if len(answer) <= 50 or not any(one.isdigit() for one in answer):
        pytest.fail(f"RESPONSES ARE NOT DELIVERED: {answer!r} is of no use")
    return heard


async def probe_events_are_sent(enter: Enter, seconds: float) -> list[Any]:
    """All five events come, so that users see what happens."""
    try:
        heard = await chat(enter, seconds)
    except ChatFailedError as error:
        pytest.fail(f"EVENTS ARE NOT SENT: {error}")
    missing = [one for one in FIVE if one not in types(heard)]
    if missing:
        pytest.fail(f"EVENTS ARE NOT SENT: no {', '.join(missing)}")
    return heard


PROBES: Final = {
    "USERS CANNOT CHAT": probe_user_can_chat,
    "RESPONSES ARE NOT DELIVERED": probe_responses_are_delivered,
    "EVENTS ARE NOT SENT": probe_events_are_sent,
}


async def availability(enter: Enter, times: int, seconds: float) -> float:
    """Return how many of some attempts to chat were answered, in percent."""
    good = 0
    for _ in range(times):
        try:
            heard = await chat(enter, seconds)
        except ChatFailedError:
            continue
        good += heard[-1]["type"] == "agent_completed"
    return 100.0 * good / times


# --- the state of that day -----------------------------------------------------------


def entering(server: LegacyServer) -> Enter:
    """Return what connects to the old server."""

    async def enter(email: str) -> ChatClient:
        return await connect(server.url, token_for(email, settings()), timeout=5.0)

    return enter


def old(manner: Manner, remedies: Remedies | None = None) -> Any:
    """Run the old server in that manner."""
    return legacy_server(TOOLS, settings(), manner=manner, remedies=remedies)


@pytest.mark.parametrize("message", sorted(PROBES))
@pytest.mark.parametrize("manner", ["silent", "told"])
async def test_every_probe_fails_on_the_broken_state(
    manner: Manner, message: str
) -> None:
    """Whether the fault is kept from users or told with status 400, each probe fails,
    and with its own message (S5, S18, S28, S87, S132-S134, S136, S167, S197).
    """
    async with old(manner) as server:
        with pytest.raises(pytest.fail.Exception, match=f"^{message}: "):
            await PROBES[message](entering(server), 0.1)
    assert set(server.log) == {FULL_TEXT}


async def test_users_of_that_day_wait_for_an_answer_that_never_comes() -> None:
    """Nobody is told: the client sees a timeout, and only the log has the cause
    (S132, S134).
    """
    async with old("silent") as server:
        with pytest.raises(ChatFailedError, match="no message within") as failed:
            await chat(entering(server), 0.1)
    assert failed.value.reason == "timeout"
    assert server.log == [FULL_TEXT]


async def test_users_of_that_day_are_told_that_it_is_their_fault() -> None:
    """The server's own fault is reported as a wrong request, word for word
    (S61, S133).
    """
    async with old("told") as server:
        heard = await chat(entering(server), 1.0)
    assert types(heard) == ["error"]
    assert (heard[-1]["code"], heard[-1]["message"]) == ("400", FULL_TEXT)


async def test_second_user_of_that_day_is_shut_out_by_the_first() -> None:
    """With the filter alone one user can chat, and then nobody else can (S135)."""
    async with old("told", Remedies(has_filter=True)) as server:
        enter = entering(server)
        async with await enter(ANN) as first:
            assert types(await first.ask("hello")) == ["agent_completed"]
            async with await enter(BOB) as second:
                heard = await second.ask("hello")
    assert "already registered" in heard[-1]["message"]


async def test_words_without_work_are_of_no_value() -> None:
    """A backend that always says it is done passes for available; the probes of value
    see through it (S17, S87, S136).
    """
    async with old("canned") as server:
        enter = entering(server)
        await probe_user_can_chat(enter, 1.0)
        with pytest.raises(pytest.fail.Exception, match=r"^RESPONSES ARE NOT"):
            await probe_responses_are_delivered(enter, 1.0)
        with pytest.raises(pytest.fail.Exception, match="no agent_started, agent_thi"):
            await probe_events_are_sent(enter, 1.0)


async def test_damage_is_a_figure_that_is_the_same_every_time() -> None:
    """The share of chats that are answered is 0 % on the broken state, and 0 % when
    measured again (S62, S128, S197).
    """
    for _ in range(2):
        async with old("silent") as server:
            assert await availability(entering(server), 3, 0.05) == 0.0


# --- now -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployed")) as found:
        yield found


@pytest.mark.parametrize("message", sorted(PROBES))
async def test_every_probe_passes_on_the_server_that_runs(
    server: Deployment, message: str
) -> None:
    """Users can chat, responses are delivered, events are sent
    (S4, S6, S66, S71-S76, S87, S137-S139, S142, S159, S160, S179-S182, S193, S199).
    """
    heard = await PROBES[message](server.connect, 20.0)
    assert heard[-1]["data"]["tool_calls"] > 0


async def test_everybody_who_comes_is_answered(server: Deployment) -> None:
    """The share of chats that are answered is 100 %, one after another and at once
    (S62, S128-S131, S140, S175, S183, S201).
    """
    shares = await asyncio.gather(
        *(availability(server.connect, 2, 20.0) for _ in range(2))
    )
    assert shares == [100.0, 100.0]
