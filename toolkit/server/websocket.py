"""``/ws``: one connection, from its handshake to its end."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from toolkit.server.backend import Backend, errors_in, first_to_end
from toolkit.server.connections import Place
from toolkit.server.gate import SUBPROTOCOL
from toolkit.server.refusals import Refusal
from toolkit.session.supervisor import TOO_SLOW, Supervisor

logger = logging.getLogger(__name__)

_INTERNAL_ERROR: Final = 1011  # RFC 6455, section 7.4.1

TOGETHER: Final = "toolkit.texts"
"""An extension of ASGI: a ``websocket.send`` may have several texts, under this name.

Each is a message of its own, and all are handed to the socket at once: that is what
costs most of sending.
"""


class Chat:
    """Serves the connections of a process."""

    def __init__(self, backend: Backend) -> None:
        """Keep who knows of the others."""
        self._backend = backend

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends; nothing of it is left then."""
        place = await self._backend.admit(websocket, with_origin=True)
        if isinstance(place, Refusal):
            await place.deny(websocket)
            return
        code, reason = _INTERNAL_ERROR, "the server made a mistake"
        try:
            speaks = SUBPROTOCOL in websocket.scope.get("subprotocols", ())
            await websocket.accept(SUBPROTOCOL if speaks else None)
            logger.info("a connection is open")
            code, reason = await self._converse(websocket, place)
        finally:
            await self._end(websocket, place, code, reason)

    async def _converse(self, websocket: WebSocket, place: Place) -> tuple[int, str]:
        """Read and write until one of them ends; return what to close with."""
        supervisor = place.supervisor
        seconds = self._backend.server.slow_consumer_timeout
        both = await first_to_end(
            _read(websocket, supervisor), _write(websocket, supervisor, seconds)
        )
        for error in errors_in(both):
            logger.error("a connection broke", exc_info=error)
            return _INTERNAL_ERROR, "the server made a mistake"
        _, writer = both
        if not writer.cancelled() and not writer.result():
            return TOO_SLOW, "the client reads too slowly"
        return supervisor.close_code, supervisor.close_reason

    async def _end(
        self, websocket: WebSocket, place: Place, code: int, reason: str
    ) -> None:
        """Close the socket while all behind it ends; wait for both."""
        leaving = asyncio.ensure_future(self._backend.leave(place, code, reason))
        try:
            is_gone = websocket.client_state is WebSocketState.DISCONNECTED
            if not is_gone and code != TOO_SLOW:
                with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                    async with asyncio.timeout(self._backend.server.cleanup_timeout):
                        await websocket.close(code, reason)
        finally:
            await asyncio.shield(leaving)
            logger.info("a connection is closed: %d", code)


async def _read(websocket: WebSocket, supervisor: Supervisor) -> None:
    """Hand on frames until the client is gone."""
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        await supervisor.receive(message.get("bytes", b"") if text is None else text)
        await supervisor.room()  # for the answers to what it sends next


async def _write(websocket: WebSocket, supervisor: Supervisor, seconds: float) -> bool:
    """Send what there is until there is no more; return whether the client took it."""
    patience = _Patience(seconds)
    try:
        while texts := await supervisor.next_messages():
            for message in _sent(websocket, texts):
                patience.begin()
                await websocket.send(message)
                patience.end()
    except WebSocketDisconnect:
        return True  # the reader learns of it too
    except asyncio.CancelledError:
        if not patience.is_over:
            raise
        return False
    finally:
        patience.stop()
    return True


def _sent(websocket: WebSocket, texts: list[str]) -> list[dict[str, Any]]:
    """Return what sends some texts: one message, where the server knows how to."""
    if TOGETHER in websocket.scope.get("extensions", {}):
        return [{"type": "websocket.send", TOGETHER: texts}]
    return [{"type": "websocket.send", "text": text} for text in texts]


class _Patience:
    """Cancels its task when one step takes too long.

    For many steps it needs one timer, which looks at the step of the moment:
    `asyncio.timeout` costs as much as writing and sending a message.
    """

    __slots__ = ("_loop", "_seconds", "_since", "_task", "_timer", "is_over")

    def __init__(self, seconds: float) -> None:
        """Belong to the task that runs now."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._seconds = seconds
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False

    def begin(self) -> None:
        """Note that a step begins."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def end(self) -> None:
        """Note that it has ended."""
        self._since = None

    def stop(self) -> None:
        """Look no more, and know its task no more."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._since is None or self._task is None:
            return
        left = self._since + self._seconds - self._loop.time()
        if left > 0.0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self.is_over = True
            self._task.cancel()
