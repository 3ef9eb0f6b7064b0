"""A client of the chat backend: connects, asks, and holds every message to its model.

The only code outside the server that imports websockets, and only to connect.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import uuid4

from toolkit.errors import ChatFailedError, MissingExtraError
from toolkit.session.messages import MESSAGES, MessageType

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

Message = dict[str, Any]

_ENDS: Final = frozenset({MessageType.AGENT_COMPLETED, MessageType.ERROR})
_CLOSE_TIMEOUT: Final = 5.0


class ChatClient:
    """One connection of one user to a chat backend. For one event loop; close it.

    Every message is validated against the published models, and the numbers that the
    server gives them must have no gap. One question at a time.

    Attributes:
        connect_seconds: How long connecting took.
        aside: Messages that came while a run was listened to, and were not its own.
    """

    def __init__(
        self, socket: "ClientConnection", timeout: float, connect_seconds: float
    ) -> None:
        """Take over an open connection; see `connect`.

        Args:
            socket: The connection.
            timeout: Seconds to wait for each answer, where nothing else is said.
            connect_seconds: How long connecting took.
        """
        self._socket = socket
        self._timeout = timeout
        self._sequence = 0
        self.connect_seconds = connect_seconds
        self.aside: list[Message] = []

    async def send(self, kind: str, **fields: object) -> None:
        """Send one message.

        Args:
            kind: Its type, such as ``tool_introspection_request``.
            **fields: The rest of it.

        Raises:
            ChatFailedError: The connection is closed.
        """
        started = time.monotonic()
        try:
            await self._socket.send(json.dumps({"type": kind, **fields}))
        except _closed() as error:
            raise ChatFailedError(*_cut(error, "send", started)) from error

    async def receive(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the promise
    ) -> Message:
        """Return the next message, whatever it is about.

        Args:
            timeout: Seconds to wait; by default those of the client.

        Raises:
            ChatFailedError: None came in time, the connection is closed, a message is
                not what is published, or one is missing.
        """
        started = time.monotonic()
        seconds = self._timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                text = await self._socket.recv()
        except TimeoutError as error:
            detail = f"no message within {seconds:g} s"
            raise ChatFailedError(
                "receive", "timeout", detail, _since(started)
            ) from error
        except _closed() as error:
            raise ChatFailedError(*_cut(error, "receive", started)) from error
        return self._checked(text, started)

    async def events(
        self,
        message: str,
        agent: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the promise
        pause: float | None = None,
    ) -> AsyncGenerator[Message, None]:
        """Ask an agent, and yield the messages of the run until it ends.

        The last is ``agent_completed``, or the ``error`` that the run ended with.

        Args:
            message: The question.
            agent: Who is to answer; by default the server's own choice.
            timeout: Seconds for all of it; by default those of the client.
            pause: Seconds that may pass between two messages; by default `timeout`.

        Yields:
            Each message.

        Raises:
            ChatFailedError: As for `receive`; it does not end in time.
        """
        request_id = uuid4().hex
        asked = {"message": message, "request_id": request_id}
        await self.send("agent_request", **asked, **({"agent": agent} if agent else {}))
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        while True:
            left = max(0.0, until - time.monotonic())
            found = await self.receive(
                timeout=left if pause is None else min(left, pause)
            )
            if found["request_id"] != request_id:
                self.aside.append(found)
                continue
            yield found
            if found["type"] in _ENDS:
                return

    async def ask(
        self,
        message: str,
        agent: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the promise
    ) -> list[Message]:
        """Ask an agent; return the messages of the run, up to its end.

        Args:
            message: The question.
            agent: Who is to answer; by default the server's own choice.
            timeout: Seconds for all of it; by default those of the client.

        Raises:
            ChatFailedError: As for `events`. A run that ends with an ``error`` message
                is no failure of this: it is the last message.
        """
        async with aclosing(self.events(message, agent, timeout=timeout)) as events:
            return [one async for one in events]

    async def close(self) -> int:
        """Close the connection; calling it again does nothing.

        Returns:
            The code it was closed with, 1000 when all was well (RFC 6455, 7.4.1).
        """
        await self._socket.close()
        return self._socket.close_code or _ABNORMAL

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection."""
        await self.close()

    def _checked(self, text: str | bytes, started: float) -> Message:
        try:
            message: Message = json.loads(text)
            MESSAGES[MessageType(message["type"])].model_validate_json(text)
        except (ValueError, LookupError, TypeError) as error:
            raise ChatFailedError(
                "receive", "invalid_message", str(error), _since(started)
            ) from error
        self._sequence += 1
        if message["sequence"] != self._sequence:
            detail = f"message {message['sequence']} came as number {self._sequence}"
            raise ChatFailedError("receive", "lost_message", detail, _since(started))
        return message


_ABNORMAL: Final = 1006  # RFC 6455, section 7.4.1: closed without a word


async def connect(
    url: str,
    token: str,
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 - part of the promise
) -> ChatClient:
    """Connect to a chat backend as whoever a token is for.

    Args:
        url: Where the server is, such as ``http://127.0.0.1:8000``; ``ws`` and ``wss``
            do as well, and ``/ws`` is added where there is no path.
        token: A token that the server believes; see `toolkit.testing.token_for`.
        timeout: Seconds for connecting, and for each answer later on.

    Returns:
        An open connection: ``async with await connect(…) as client``.

    Raises:
        ChatFailedError: It was refused, or did not succeed in time.
        MissingExtraError: The library websockets is not installed.
    """
    try:
        from websockets.asyncio import client  # noqa: PLC0415 - the extra
        from websockets.exceptions import (  # noqa: PLC0415 - the extra
            InvalidHandshake,
            InvalidStatus,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("toolkit.testing.connect", "server") from error
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            socket = await client.connect(
                _address(url),
                additional_headers={"Authorization": f"Bearer {token}"},
                open_timeout=None,
                close_timeout=_CLOSE_TIMEOUT,
                compression=None,
                max_size=None,
                proxy=None,
            )
    except InvalidStatus as error:
        code, detail = _refusal(error.response.status_code, bytes(error.response.body))
        raise ChatFailedError("connect", code, detail, _since(started)) from error
    except TimeoutError as error:
        detail = f"not connected within {timeout:g} s"
        raise ChatFailedError("connect", "timeout", detail, _since(started)) from error
    except (OSError, InvalidHandshake) as error:
        raise ChatFailedError(
            "connect", "unreachable", str(error), _since(started)
        ) from error
    return ChatClient(socket, timeout, _since(started))


def _address(url: str) -> str:
    """Return the address of a server's websocket."""
    scheme, _, rest = url.rstrip("/").partition("://")
    scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    return f"{scheme}://{rest}" if "/" in rest else f"{scheme}://{rest}/ws"


def _refusal(status: int, body: bytes) -> tuple[str, str]:
    """Return the code and the text of a refusal over HTTP."""
    try:
        values = json.loads(body)
        return str(values["code"]), f"HTTP {status}, {values['message']}"
    except (ValueError, LookupError, TypeError):
        return f"http_{status}", f"HTTP {status} {HTTPStatus(status).phrase}"


def _closed() -> type[Exception]:
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - the extra

    return ConnectionClosed


def _cut(
    error: Any,  # noqa: ANN401 - a class of the extra
    stage: str,
    started: float,
) -> tuple[str, str, str, float]:
    """Return what is to be said of a connection that is closed."""
    received = error.rcvd
    code = _ABNORMAL if received is None else received.code
    reason = "without a word" if received is None else received.reason
    detail = f"the server closed with {code}: {reason}"
    return stage, f"closed_{code}", detail, _since(started)


def _since(started: float) -> float:
    return time.monotonic() - started
