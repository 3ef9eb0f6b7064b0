"""The client of `toolkit.testing`: what it promises, on the real server and on others.

Those others are real sockets too: they are silent, cut off, or say what is not
published.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.serving import FIVE, serving, settings, types
from toolkit import ChatFailedError, Settings
from toolkit.errors import BLOCKING_SECONDS
from toolkit.testing import ChatClient, connect, token_for
from toolkit.tokens import user_id_of_email

ANN = "ann@example.com"


def token(email: str = ANN) -> str:
    return token_for(email, settings())


@asynccontextmanager
async def other_server(
    speak: Callable[[ServerConnection], Awaitable[None]],
) -> AsyncIterator[str]:
    """Run a server that says what a test wants."""
    async with serve(speak, "127.0.0.1", 0, compression=None) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}/ws"


def pong(sequence: int, **fields: Any) -> str:
    """Write a message as the server does."""
    message = {"version": 1, "type": "pong", "sequence": sequence, "nonce": None}
    message |= {"timestamp": "2026-01-01T00:00:00.000Z", "data": {"nonce": None}}
    return json.dumps({**message, "run_id": None, "request_id": None, **fields})


async def test_client_connects_by_email_and_collects_a_run() -> None:
    """A token by e-mail address, a connection, a question: five events and a clean end
    (S19, S104, S213).
    """
    async with serving() as server:
        client = await connect(server.url, token(), timeout=5.0)
        async with client:
            heard = await client.ask('add {"left": 1, "right": 2}', "triage_agent")
        assert types(heard) == FIVE
        assert heard[-1]["result"] == f"add says 3, to {user_id_of_email(ANN)}"
        assert 0.0 < client.connect_seconds < 5.0
        assert await client.close() == 1000


async def test_messages_of_nobody_are_kept_aside() -> None:
    """What comes while a run is listened to, and is not its own, is not lost."""
    async with serving() as server, await connect(server.url, token()) as client:
        await client.send("ping", nonce="n")
        heard = await client.ask('add {"left": 1, "right": 2}')
        assert types(heard) == FIVE
        assert [one["nonce"] for one in client.aside] == ["n"]


async def test_refused_token_is_told_with_code_text_and_time() -> None:
    """A failure to connect keeps the server's own words, and how long it took; a quick
    one is not taken for a blocked server (S61, S86).
    """
    foreign = token_for(ANN, Settings(auth={"secret": "x" * 32}))  # type: ignore[arg-type]  # it becomes a table
    async with serving() as server:
        with pytest.raises(ChatFailedError, match="HTTP 401") as failed:
            await connect(server.url, foreign)
    assert (failed.value.stage, failed.value.reason) == ("connect", "bad_signature")
    assert 0.0 < failed.value.seconds < BLOCKING_SECONDS
    assert not failed.value.is_blocking
    assert "look at the address, the token" in str(failed.value)
    assert foreign not in str(failed.value)


async def test_server_that_is_not_there_is_told_as_that() -> None:
    """Nobody listens: the address is at fault, and it is said at once."""
    with pytest.raises(ChatFailedError) as failed:
        await connect("http://127.0.0.1:1", token(), timeout=5.0)
    assert (failed.value.stage, failed.value.reason) == ("connect", "unreachable")


async def test_server_that_never_answers_ends_at_the_deadline() -> None:
    """Connecting and asking both end in time where the other side is silent
    (S61, S112).
    """
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # accepts nothing
        host, port = nobody.getsockname()
        with pytest.raises(ChatFailedError) as failed:
            await connect(f"ws://{host}:{port}/ws", token(), timeout=0.1)
    assert (failed.value.stage, failed.value.reason) == ("connect", "timeout")
    assert failed.value.seconds >= 0.1

    async with (
        other_server(ServerConnection.wait_closed) as url,
        await connect(url, token()) as client,
    ):
        with pytest.raises(ChatFailedError) as failed:
            await client.ask("hello", timeout=0.1)
    assert (failed.value.stage, failed.value.reason) == ("receive", "timeout")


@pytest.mark.parametrize(
    ("seconds", "is_blocking"), [(0.1, False), (8.9, False), (9.0, True), (18.0, True)]
)
def test_time_tells_a_blocked_server_from_a_wrong_request(
    seconds: float,
    is_blocking: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """From nine seconds on a failure is the server's, and its text says so
    (S86, S112).
    """
    failed = ChatFailedError("receive", "timeout", "no message", seconds)
    assert failed.is_blocking is is_blocking
    assert ("Something blocks the server" in str(failed)) is is_blocking


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (("no JSON",), "invalid_message"),
        (("[]",), "invalid_message"),
        ((pong(1, type="gossip"),), "invalid_message"),
        ((pong(1, surprise=1),), "invalid_message"),
        ((pong(1), pong(3)), "lost_message"),
        ((pong(1), pong(1)), "lost_message"),
    ],
    ids=["text", "list", "type", "field", "gap", "twice"],
)
async def test_message_that_is_not_as_published_is_a_failure(
    frames: tuple[str, ...], reason: str
) -> None:
    """What is not in the schema, or not the next message, is never handed on."""

    async def say(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)
        await connection.wait_closed()

    async with other_server(say) as url, await connect(url, token()) as client:
        for _ in frames[1:]:
            await client.receive(timeout=5.0)
        with pytest.raises(ChatFailedError) as failed:
            await client.receive(timeout=5.0)
    assert failed.value.reason == reason


async def test_connection_that_is_cut_is_a_failure_with_its_code() -> None:
    """The code and the reason of a close are in the failure, for reading and for
    sending.
    """

    async def leave(connection: ServerConnection) -> None:
        await connection.close(1013, "too busy")

    async with other_server(leave) as url, await connect(url, token()) as client:
        for act in (client.receive, lambda: client.send("ping")):
            with pytest.raises(ChatFailedError, match="1013: too busy") as failed:
                await act()
            assert failed.value.reason == "closed_1013"
    assert await client.close() == 1013


async def test_pause_between_events_is_bounded_apart_from_the_whole() -> None:
    """A run that goes silent in the middle fails after the pause, with what came before
    it heard (S119).
    """

    async def start_and_stop(connection: ServerConnection) -> None:
        asked = json.loads(await connection.recv())
        started = {"agent": "a", "message_chars": 5}
        fields = {"type": "agent_started", "agent": "a", "data": started, "run_id": "r"}
        message = json.loads(pong(1, **fields, request_id=asked["request_id"]))
        del message["nonce"]
        await connection.send(json.dumps(message))
        await connection.wait_closed()

    async with (
        other_server(start_and_stop) as url,
        await connect(url, token()) as client,
    ):
        events = client.events("hello", timeout=30.0, pause=0.1)
        heard = [await anext(events)]
        with pytest.raises(ChatFailedError, match=r"within 0\.1 s"):
            await anext(events)
    assert types(heard) == ["agent_started"]


def test_promised_names_of_the_helper_are_there() -> None:
    """Tests of other backends import these from one place (S213)."""
    assert callable(ChatClient.ask)
    assert asyncio.iscoroutinefunction(connect)
    assert callable(token_for)
