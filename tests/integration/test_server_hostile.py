"""What clients should not do, and what connections suffer: each ends as it should."""

import asyncio
import base64
import gc
import json
import os
import random
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.serving import (
    FIVE,
    SOON,
    Running,
    Triage,
    add,
    ask,
    bearer,
    hear,
    hear_for_ever,
    say,
    serving,
    settings,
    types,
    until,
    until_empty,
)
from toolkit import AgentRun, Toolkit, tool
from toolkit.server import create_app
from toolkit.server.serve import HttpProtocol
from toolkit.session.supervisor import Supervisor
from toolkit.system import UserToolSystem

pytestmark = pytest.mark.e2e  # a whole server over real sockets: seconds


async def is_well(chat: Running) -> bool:
    """Tell whether another user is served, and the server says it is healthy."""
    async with chat.connect("neighbour") as client:
        heard = await ask(client, 'add {"left": 1, "right": 2}')
    await until_empty(chat)
    return types(heard) == FIVE and chat.backend.health.look()["status"] == "healthy"


async def closed_with(client: Any) -> int:
    """Read to the end of a connection; return the code it is closed with."""
    with pytest.raises(ConnectionClosed):
        await hear_for_ever(client)
    code: int = client.close_code
    return code


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b'{"type": "ping"}', 1003),
        ("x" * 3000, 1009),
        (json.dumps({"type": "ping", "nonce": "x" * 3000}), 1009),
    ],
    ids=["binary", "too large", "too large JSON"],
)
async def test_frame_that_breaks_the_protocol_closes_with_its_code(
    frame: str | bytes, code: int
) -> None:
    """A binary or oversized frame ends that connection, with the code for it."""
    async with serving(max_message_bytes=2000) as chat:
        async with chat.connect("ann") as client:
            await client.send(frame)
            assert await closed_with(client) == code
        await until_empty(chat)
        assert await is_well(chat)


async def test_text_that_is_not_utf8_closes_with_its_code() -> None:
    """A text frame that is no text ends that connection with 1007."""
    async with serving() as chat:
        async with chat.connect("ann") as client:
            await client.send(b"\xff\xfe", text=True)
            assert await closed_with(client) == 1007
        await until_empty(chat)
        assert await is_well(chat)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "not_an_object"),
        ('{"type": "agent_requests", "message": "x"}', "unknown_type"),
        ('{"type": "agent_request"}', "invalid_message"),
        ('{"type": "agent_request", "message": 7}', "invalid_message"),
        ('{"type": "ping", "type": "cancel"}', "duplicate_key"),
        ("[" * 900 + "]" * 900, "too_deep"),
        ('{"type": "cancel", "run_id": "of-somebody-else"}', "run_not_found"),
        ('{"type": "tool_approval", "call_id": "x", "approved": 1}', "invalid_message"),
        ('{"type":"tool_approval","call_id":"x","approved":true}', "call_not_found"),
    ],
    ids=str,
)
async def test_message_that_is_wrong_is_answered_and_the_connection_goes_on(
    frame: str, code: str
) -> None:
    """What is wrong with one message is said, and the next one is served (B10)."""
    async with serving() as chat, chat.connect("ann") as client:
        await client.send(frame)
        told = await hear(client)
        assert (told["type"], told["code"]) == ("error", code)
        assert told["data"]["fatal"] is False
        assert types(await ask(client, 'add {"left": 1, "right": 2}')) == FIVE


async def test_client_that_sends_only_nonsense_is_let_go() -> None:
    """Too many wrong messages in a row end the connection with 1008."""
    async with serving(max_invalid_messages=3) as chat:
        async with chat.connect("ann") as client:
            for _ in range(3):
                await client.send("nonsense")
            assert await closed_with(client) == 1008
        assert await is_well(chat)


class Alive:
    """What is alive of a server's connections, seen by weak references."""

    def __init__(self, chat: Running) -> None:
        self.things: list[weakref.ref[Any]] = []
        for place in chat.backend.connections:
            supervisor = place.supervisor
            self.things.append(weakref.ref(supervisor))
            self.things.append(weakref.ref(supervisor._seats.current.system))

    def count(self) -> int:
        """Return how many are left."""
        gc.collect()
        return sum(one() is not None for one in self.things)


async def test_disconnect_in_the_middle_of_a_call_leaves_nothing() -> None:
    """Who leaves while a tool runs has it given up, all ended within seconds, and no
    object of the connection left; they come back as if new (S12, S50, S51, S176, S187,
    S216, B41, B42, B50).
    """
    started, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def hang() -> str:
        """Wait for ever."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    before = live_parts()  # other tests' errors may keep some
    async with serving(hang, add) as chat:
        client = await chat.connect("ann")
        await say(client, "agent_request", message="hang")
        async with asyncio.timeout(SOON):
            await started.wait()
            alive = Alive(chat)
            assert alive.count() == 2
            client.transport.abort()
            await ended.wait()
        await until_empty(chat)
        await asyncio.sleep(0)
        assert chat.backend.counts.cleanups == {"complete": 1}
        assert chat.backend.counts.runs == {"run_cancelled": 1}
        async with chat.connect("ann") as again:
            assert types(await ask(again, 'add {"left": 1, "right": 2}')) == FIVE
        await until_empty(chat)
        assert alive.count() == 0
        assert live_parts() <= before


def live_parts(*kinds: type) -> int:
    """Count the supervisors and tool systems, or what else is named, that are alive."""
    gc.collect()
    wanted = kinds or (Supervisor, UserToolSystem)
    return sum(type(one) in wanted for one in gc.get_objects())


async def test_many_connections_that_end_at_any_moment_leave_nothing() -> None:
    """A thousand connections that are cut at random moments leave no supervisor, no
    system and no place (S51, S187, B41, B43, B47).
    """
    before = live_parts()
    chance = random.Random(5)  # noqa: S311 - the same moments each time
    async with serving(connects_per_minute=100_000, messages_per_minute=10_000) as chat:

        async def come_and_go(number: int) -> None:
            client = await chat.connect(f"user-{number % 20}")
            for _ in range(chance.randrange(3)):
                await say(
                    client, "agent_request", message='add {"left": 1, "right": 2}'
                )
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                client.transport.abort()
            await client.close()

        for start in range(0, 1_000, 20):
            await asyncio.gather(*map(come_and_go, range(start, start + 20)))
        await until_empty(chat)
        assert await is_well(chat)
        counts = chat.backend.counts
        assert counts.cleanups == {"complete": 1_001}
        assert counts.connections == {"ok": 1_001}
        assert counts._active == {}
        assert live_parts() <= before


class Flood:
    """Tells far more than anybody can read."""

    name = "flood_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        """Think for ever."""
        while True:
            await run.think("x" * 10_000)
            await asyncio.sleep(0)


@asynccontextmanager
async def raw(chat: Running, user: str) -> AsyncIterator[socket.socket]:
    """Open a websocket by hand, whose owner never reads or answers by itself."""
    loop = asyncio.get_running_loop()
    key = base64.b64encode(os.urandom(16)).decode()
    headers = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **bearer(user),
    }
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)  # noqa: FBT003 - the standard library's parameter
        await loop.sock_connect(one, chat.address)
        head = "\r\n".join(["GET /ws HTTP/1.1", *lines, "", ""]).encode()
        await loop.sock_sendall(one, head)
        async with asyncio.timeout(SOON):
            answer = await loop.sock_recv(one, 12)
        assert answer == b"HTTP/1.1 101"
        yield one


def masked(text: str) -> bytes:
    """Return a text frame as a client sends it; short texts only."""
    body = text.encode()
    assert len(body) < 126
    return bytes([0x81, 0x80 | len(body), 0, 0, 0, 0]) + body


async def test_client_that_reads_nothing_is_let_go_and_neighbours_are_served() -> None:
    """A reader that stopped costs a bounded queue and is let go in time, though its
    agent would tell for ever (B24, B53).
    """
    async with serving(add, agents=(Triage, Flood), slow_consumer_timeout=0.3) as chat:
        async with raw(chat, "ann") as sock:
            frame = '{"type":"agent_request","agent":"flood_agent","message":"x"}'
            await asyncio.get_running_loop().sock_sendall(sock, masked(frame))
            async with chat.connect("bob") as client:
                assert types(await ask(client, 'add {"left": 1, "right": 2}')) == FIVE
            await until_empty(chat)
            await until(lambda: not chat.server.server_state.connections)
        assert await is_well(chat)


async def test_send_that_never_returns_is_given_up() -> None:
    """Also where the ASGI server does not let go of such a client, the connection ends
    with all that it had (B24, B53).
    """
    chosen = settings(slow_consumer_timeout=0.2)
    frame = '{"type": "ping"}'
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})
    incoming.put_nowait({"type": "websocket.receive", "text": frame})
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    headers = [(b"authorization", bearer("ann")["authorization"].encode())]
    scope = {"type": "websocket", "path": "/ws", "query_string": b""}
    with Toolkit(chosen, objects=[add], agents=[Triage]) as kit:
        app = create_app(kit=kit)
        async with app.router.lifespan_context(app), asyncio.timeout(SOON):
            await app({**scope, "headers": headers}, incoming.get, send)
        assert sent == ["websocket.accept", "websocket.send"]
        assert kit.factory.registry_count("ann") == 0


async def test_peer_that_is_gone_without_a_word_is_noticed() -> None:
    """A connection whose other end no longer answers is ended (B49)."""
    async with serving(ping_interval=0.1, ping_timeout=0.1) as chat:
        async with raw(chat, "ann"):
            assert len(chat.backend.connections) == 1
            await until_empty(chat)
        assert chat.backend.counts.cleanups == {"complete": 1}


@pytest.mark.parametrize(
    "head",
    [
        "",
        "GET /health HT",
        "POST /agents/a/runs HTTP/1.1\nContent-Length: 9\nAuthorization: {token}\n\n{{",
    ],
    ids=["nothing", "half a line", "half a body"],
)
async def test_request_that_never_comes_is_not_waited_for(head: str) -> None:
    """Who opens a socket and sends no whole request is let go in time (B47)."""
    async with serving(slow_consumer_timeout=0.3) as chat:
        reader, writer = await asyncio.open_connection(*chat.address)
        text = head.format(token=bearer("ann")["authorization"])
        writer.write(text.replace("\n", "\r\n").encode())
        async with asyncio.timeout(SOON):
            with suppress(ConnectionResetError):
                answer = await reader.read(12)
                assert answer in (b"", b"HTTP/1.1 408")
        writer.close()
        await until_empty(chat)
        assert await is_well(chat)


@pytest.mark.parametrize(
    "more", ["G", "\r\n", "GET /health HTTP/1.1\r\n"], ids=["letter", "line", "head"]
)
async def test_next_request_that_never_comes_is_not_waited_for(more: str) -> None:
    """Also who was answered once and sends half of another request is let go (B47)."""
    async with serving(slow_consumer_timeout=0.3) as chat:
        reader, writer = await asyncio.open_connection(*chat.address)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(SOON):
            await reader.readuntil(b"alive")
            writer.write(more.encode())
            with suppress(ConnectionResetError):
                await reader.read()
        writer.close()
        assert await is_well(chat)


@pytest.mark.parametrize(
    "head", ["GET /", "GET /health HTTP/1.1\r\nX: "], ids=["address", "header"]
)
async def test_head_without_an_end_is_cut_off_early(head: str) -> None:
    """What comes before a request is whole is bounded, whoever sends it (B47)."""
    async with serving() as chat:
        reader, writer = await asyncio.open_connection(*chat.address)
        async with asyncio.timeout(SOON):
            with suppress(ConnectionError):
                writer.write(head.encode())
                for _ in range(100):
                    writer.write(b"x" * 65_536)
                    await writer.drain()
                await reader.read()
        assert writer.transport.is_closing()
        writer.close()
        assert await is_well(chat)


@pytest.mark.parametrize(
    "more",
    [f"X: {'x' * 9_000}", "\r\n".join(["X: x"] * 200), "Content-Length: 5"],
    ids=["long line", "many lines", "a body"],
)
async def test_handshake_that_cannot_be_read_is_refused_and_closed(more: str) -> None:
    """A handshake that the websocket's library refuses is answered, where that can be
    done, and keeps no socket open (B47).
    """
    async with serving() as chat:
        reader, writer = await asyncio.open_connection(*chat.address)
        lines = ["GET /ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", more]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(SOON):
            answer = await reader.read()
        assert answer[:10] in (b"", b"HTTP/1.1 4")
        writer.close()
        assert await is_well(chat)


async def test_client_that_sends_a_lot_at_once_and_reads_is_answered() -> None:
    """More commands in one go than may wait to be answered are read as the answers are
    taken; none is lost, and nobody is called slow (B30).
    """
    async with serving(max_outbound_messages=16, messages_per_minute=10) as chat:
        async with raw(chat, "ann") as sock, asyncio.timeout(SOON):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, masked('{"type": "ping"}') * 200)
            heard = b""
            while b'"sequence":200,' not in heard:
                part = await loop.sock_recv(sock, 65_536)
                assert part
                heard += part
        await until_empty(chat)
        assert await is_well(chat)


async def test_answer_that_is_larger_than_the_queue_arrives() -> None:
    """One large answer ends no connection, whatever waits beside it (B30)."""

    class Chatty:
        """Says a lot at once."""

        name = "chatty_agent"

        async def run(self, message: str) -> str:
            """Answer at length."""
            return message * 20_000

    async with serving(add, agents=(Triage, Chatty), max_outbound_bytes=10_000) as chat:
        async with chat.connect("ann") as client:
            heard = await ask(client, "x", agent="chatty_agent")
            assert types(heard) == ["agent_started", "agent_completed"]
            assert len(heard[-1]["result"]) == 20_000
        assert await is_well(chat)


async def test_agent_that_breaks_ends_in_an_error_and_no_silence() -> None:
    """An agent that raises ends its run with an error that keeps its text back; the
    connection and the server go on (S54, B26, B30).
    """

    class Broken:
        """Breaks."""

        name = "broken_agent"

        async def run(self, message: str) -> str:
            """Raise something with a secret in it."""
            raise RuntimeError("password: 1234")

    async with serving(add, agents=(Triage, Broken)) as chat:
        async with chat.connect("ann") as client:
            heard = await ask(client, "x", agent="broken_agent")
            assert types(heard) == ["agent_started", "error"]
            assert heard[-1]["code"] == "agent_failed"
            assert "1234" not in json.dumps(heard)
            assert types(await ask(client, 'add {"left": 1, "right": 2}')) == FIVE
        assert await is_well(chat)


@pytest.mark.parametrize(
    "leave",
    [lambda client: client.transport.abort(), lambda client: None],
    ids=["cut off", "politely"],
)
async def test_connection_that_ends_idle_leaves_nothing(
    leave: Callable[[Any], None],
) -> None:
    """However a connection ends, its place is free and its registry closed (S50)."""
    async with serving() as chat:
        async with chat.connect("ann") as client:
            kit = chat.backend.kit
            assert kit is not None
            assert kit.factory.registry_count("ann") == 1
            leave(client)
        await until_empty(chat)
        assert kit.factory.registry_count("ann") == 0


async def test_connection_leaves_nothing_of_its_request_behind() -> None:
    """What read the handshake is gone once the socket speaks another protocol (S50)."""
    before = live_parts(HttpProtocol)
    async with serving() as chat, chat.connect("ann") as client:
        assert types(await ask(client, 'add {"left": 1, "right": 2}')) == FIVE
        assert live_parts(HttpProtocol) <= before
