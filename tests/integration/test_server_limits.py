"""How much one may do: newcomers are refused, and nobody who is connected has to go."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.serving import (
    FIVE,
    SOON,
    Triage,
    add,
    ask,
    bearer,
    hear,
    hear_until_end,
    say,
    serving,
    token,
    types,
    until_empty,
)
from toolkit import AgentRun, tool


class Gate:
    """A tool that waits until a test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.left = asyncio.Event()

        @tool
        async def wait() -> str:
            """Wait until the gate opens."""
            self.entered.set()
            try:
                await self.opened.wait()
            finally:
                self.left.set()
            return "went through"

        self.tool = wait


def code_of(refused: pytest.ExceptionInfo[InvalidStatus]) -> tuple[int, str]:
    """Return status and code of a refusal."""
    answer = refused.value.response
    body: dict[str, Any] = json.loads(bytes(answer.body or b""))
    return answer.status_code, body["code"]


async def test_one_user_too_many_times_is_refused_and_nobody_evicted() -> None:
    """A user's connection beyond the limit is refused; the older ones, and the run in
    one of them, go on; a place that is given back is free at once (B43, B44).
    """
    gate = Gate()
    async with serving(gate.tool, max_connections_per_user=2) as chat:
        async with chat.connect("ann") as first, chat.connect("ann"):
            await say(first, "agent_request", message="wait")
            async with asyncio.timeout(SOON):
                await gate.entered.wait()
            with pytest.raises(InvalidStatus) as refused:
                await chat.connect("ann")
            assert code_of(refused) == (429, "too_many_connections")
            async with chat.connect("bob"):
                assert chat.backend.connections.users == 2
            gate.opened.set()
            assert types(await hear_until_end(first)) == FIVE
        await until_empty(chat)
        async with chat.connect("ann"):
            assert len(chat.backend.connections) == 1


async def test_full_process_refuses_newcomers_until_somebody_leaves() -> None:
    """The process has a limit of its own, for all users together (B42, B43)."""
    async with serving(max_connections=1) as chat:
        async with chat.connect("ann"):
            with pytest.raises(InvalidStatus) as refused:
                await chat.connect("bob")
            assert code_of(refused) == (503, "server_full")
            assert refused.value.response.headers["retry-after"] == "5"
        await until_empty(chat)
        async with chat.connect("bob") as client:
            await say(client, "ping")
            assert (await hear(client))["type"] == "pong"


async def test_bad_tokens_lock_out_their_source_only() -> None:
    """Who tries many bad tokens has to wait; others with good ones get in (B63)."""
    async with serving(failed_logins_per_minute=3) as chat:
        bad = {"authorization": "Bearer nonsense"}
        for _ in range(3):
            with pytest.raises(InvalidStatus) as refused:
                await chat.connect(additional_headers=bad)
            assert code_of(refused) == (401, "malformed")
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect(additional_headers=bad)
        assert code_of(refused) == (429, "too_many_logins")
        assert int(refused.value.response.headers["retry-after"]) > 0
        elsewhere = ("127.0.0.2", 0)
        async with chat.connect("ann", local_addr=elsewhere) as client:
            heard = await ask(client, 'add {"left": 1, "right": 2}')
            assert types(heard) == FIVE
        assert chat.backend.counts.rates()["connections"] == 100.0


async def test_source_that_connects_too_often_has_to_wait() -> None:
    """Connects are counted by address, not for everybody together (B63)."""
    async with serving(connects_per_minute=2) as chat:
        for _ in range(2):
            async with chat.connect("ann"):
                assert len(chat.backend.connections) == 1
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect("ann")
        assert code_of(refused) == (429, "too_many_connects")
        async with chat.connect("bob", local_addr=("127.0.0.2", 0)):
            assert chat.backend.connections.users == 1


async def test_flood_of_messages_is_told_to_wait_on_all_connections_of_its_user() -> (
    None
):
    """Messages are counted by user: a second connection, or HTTP, is no way around it,
    and other users are served (S184).
    """
    async with serving(messages_per_minute=5) as chat:
        async with chat.connect("ann") as client:
            for _ in range(20):
                await say(client, "ping")
            heard = [await hear(client) for _ in range(20)]
            assert types(heard).count("pong") == 5
            refused = heard[-1]
            assert refused["code"] == "too_many_messages"
            assert refused["data"]["retry_after"] > 0
            assert refused["data"]["fatal"] is False
        async with chat.http("ann") as http:
            answer = await http.post(
                "/agents/triage_agent/runs", json={"message": "add"}
            )
            assert answer.status_code == 429
            assert answer.json()["code"] == "too_many_messages"
        async with chat.connect("bob") as client:
            heard = await ask(client, 'add {"left": 1, "right": 2}')
            assert types(heard) == FIVE


async def test_runs_at_once_on_one_connection_are_bounded() -> None:
    """The run beyond the limit is refused, and those under way go on (B44)."""
    gate = Gate()
    async with (
        serving(gate.tool, max_runs_per_connection=1) as chat,
        chat.connect("ann") as client,
    ):
        await say(client, "agent_request", message="wait")
        async with asyncio.timeout(SOON):
            await gate.entered.wait()
        await say(client, "agent_request", message="wait", request_id="second")
        heard = [await hear(client) for _ in range(4)]
        assert heard[-1]["code"] == "too_many_runs"
        assert heard[-1]["request_id"] == "second"
        gate.opened.set()
        assert types(await hear_until_end(client))[-1] == "agent_completed"


async def test_rates_of_many_are_kept_for_a_bounded_number() -> None:
    """What is remembered of who connects does not grow for ever (B47)."""
    async with serving() as chat:
        kept = chat.backend.connections.connects
        for number in range(10_050):
            kept.take(f"192.0.2.{number}")
        assert len(kept) == 10_000


class Slow:
    """Says one thing, and waits."""

    name = "slow_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        """Never answer."""
        await run.think("this will take long")
        await asyncio.Event().wait()
        return ""


async def test_run_that_never_answers_ends_at_its_deadline() -> None:
    """A run that hangs says that it is alive, then ends in an error, exactly once (B30,
    B31).
    """
    async with (
        serving(add, agents=(Triage, Slow), heartbeat=0.05, run_timeout=0.3) as chat,
        chat.connect("ann") as client,
    ):
        heard = await ask(client, "anything", agent="slow_agent")
        assert types(heard).count("agent_thinking") >= 3
        assert heard[-1]["code"] == "agent_timeout"
        again = await ask(client, 'add {"left": 1, "right": 2}')
        assert types(again) == FIVE


async def test_limits_hold_for_requests_over_http_too() -> None:
    """A run over HTTP takes a place like a connection, and gives it back (B37)."""
    async with serving(max_connections=1) as chat, chat.http() as http:
        where, body = "/agents/triage_agent/runs", {"message": "add"}
        async with chat.connect("ann"):
            answer = await http.post(where, json=body, headers=bearer("bob"))
            assert (answer.status_code, answer.json()["code"]) == (503, "server_full")
        await until_empty(chat)
        headers = {"authorization": f"bearer {token('bob')}"}
        assert (await http.post(where, json=body, headers=headers)).status_code == 200
        await until_empty(chat)
