"""A client that costs little: it makes no more of a frame than the benchmark needs."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache

from benchmarks.serving.subjects import SECRET, Bench
from toolkit.backend_settings import AuthSettings
from toolkit.tokens import mint_token

AUTH = AuthSettings(secret=SECRET)
SECONDS = 60.0  # for anything that is waited for
EVENTS = 5  # of each run
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_ENDS = b'"type":"agent_completed"'
_FAILS = b'"type":"error"'
_HEAD = 60  # bytes of a message in which its type is


class LostError(Exception):
    """A connection ended, or a run, that should not have."""


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a client's frame; its mask of zeros leaves the payload as it is."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - RFC 6455, section 5.2
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    return head + bytes(4) + payload


def request(agent: str = Bench.name) -> bytes:
    """Return the frame that asks an agent."""
    said = {"type": "agent_request", "agent": agent, "message": "add it up"}
    return frame(json.dumps(said).encode())


REQUEST = request()
GOODBYE = frame(struct.pack("!H", 1000), CLOSE)


@cache
def handshake(user: str) -> bytes:
    """Return the request that opens a connection for a user."""
    token = mint_token(AUTH, user_id=user)
    lines = (
        "GET /ws HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {b64encode(user.encode().ljust(16)[:16]).decode()}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def first_event(port: int, user: str) -> float:
    """Connect, ask, and wait for the first event; then wait for the end of it all.

    Returns:
        The seconds until the first event.

    Raises:
        LostError: The server does not let it in, or lets it go.
    """
    hello = handshake(user)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.sendall(hello)
        data = one.recv(4_096)
        while not data.endswith(b"\r\n\r\n"):
            data += _received(one)
        if b" 101 " not in data[:16]:
            raise LostError(data)
        one.sendall(REQUEST)
        data = _received(one)
        seconds = time.perf_counter() - started
        while _ENDS not in data:
            data += _received(one)
        one.sendall(GOODBYE)
        while one.recv(4_096):
            pass
    return seconds


def _received(one: socket.socket) -> bytes:
    data = one.recv(65_536)
    if not data:
        text = "the connection ended"
        raise LostError(text)
    return data


class Peer(asyncio.Protocol):
    """One connection. Tells how each run ends.

    Attributes:
        events: Text messages that came.
        ended: Runs that came to an answer.
    """

    def __init__(self, user: str) -> None:
        """Prepare to connect as a user."""
        self._user = user
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._is_open = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._on_end: Callable[[Peer], object] = lambda _: None
        self.error: bytes | None = None
        self.events = self.ended = 0

    async def open(self, port: int) -> None:
        """Connect, and wait until the server has let it in."""
        await self._loop.create_connection(lambda: self, "127.0.0.1", port)
        await self._opened

    async def run(self) -> None:
        """Ask, and wait for the answer."""
        done = self._loop.create_future()
        self.begin(lambda _: done.set_result(None))
        await done

    def begin(self, on_end: Callable[[Peer], object]) -> None:
        """Ask; the function is called once there is an answer."""
        self._on_end = on_end
        self.write(REQUEST)

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is None or self._closed.done():
            raise LostError(self.error or b"the connection ended")
        self._transport.write(data)

    async def close(self) -> None:
        """Close as RFC 6455 says, and wait for the end."""
        self.write(GOODBYE)
        await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask to be let in."""
        self._transport = transport  # type: ignore[assignment]  # it is of a socket
        self.write(handshake(self._user))

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        self._data += data
        if not self._is_open:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head[:16]:
                self.error = self._data
                return
            self._is_open, self._data = True, rest
            self._opened.set_result(None)
        self._read()

    def _read(self) -> None:
        data, at = self._data, 0
        while (found := _frame_at(data, at)) is not None:
            opcode, start, at = found
            if opcode == TEXT:
                self._heard(data[start : start + _HEAD], data[start:at])
            elif opcode == PING:
                self.write(frame(data[start:at], PONG))
        self._data = data[at:]

    def _heard(self, head: bytes, text: bytes) -> None:
        self.events += 1
        if _ENDS in head:
            self.ended += 1
            self._on_end(self)
        elif _FAILS in head:
            self.error = text

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        lost = LostError(self.error or exc or "the connection ended")
        if not self._opened.done():
            self._opened.set_exception(lost)
        self._closed.set_result(None)


def _frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return a server's frame: its opcode, and where its payload begins and ends."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1], at + 2
    if size == 126:  # noqa: PLR2004 - RFC 6455, section 5.2
        size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
    elif size == 127:  # noqa: PLR2004 - the same
        size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
    end = start + size
    return None if len(data) < end else (data[at] & 15, start, end)


def users(count: int) -> list[str]:
    """Return the names of so many users, the same each time."""
    return [f"user-{number:04}" for number in range(count)]


async def opened(port: int, users: Sequence[str]) -> list[Peer]:
    """Connect all these users at once."""
    peers = [Peer(user) for user in users]
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(peer.open(port) for peer in peers))
    return peers


async def closed(peers: Sequence[Peer]) -> None:
    """Close these connections, and wait for their ends."""
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(peer.close() for peer in peers))
