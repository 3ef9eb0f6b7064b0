"""`serve`: the application in uvicorn; how a process stops without losing a run."""

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from uvicorn.supervisors import Multiprocess
from websockets.exceptions import InvalidState
from websockets.http11 import Request

from toolkit.backend_settings import ServerSettings
from toolkit.errors import ConfigurationError
from toolkit.server.app import STATE, create_app
from toolkit.server.logs import configuration
from toolkit.server.websocket import TOGETHER
from toolkit.settings import Settings
from toolkit.tokens import TokenVerifier

if TYPE_CHECKING:
    from toolkit.server.backend import Backend

logger = logging.getLogger(__name__)


_BACKLOG: Final = 2048
"""Connections that may wait to be accepted; uvicorn's own number."""

_START_TIMEOUT: Final = 30
"""Seconds that a worker process may take to answer: its imports take one."""


class _Impatient(asyncio.Protocol):
    """Lets a peer go that takes nothing for too long, whatever waits for it.

    Closing such a connection is not enough: a transport that is closed still waits for
    its peer to take what was written before.
    """

    app_state: dict[str, Any]
    transport: asyncio.Transport
    _limit: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Start to wait for the peer."""
        super().pause_writing()
        backend: Backend = self.app_state[STATE]
        seconds = backend.server.slow_consumer_timeout
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it takes something."""
        super().resume_writing()
        self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._forget()

    def _forget(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


class WebSocketProtocol(_Impatient, WebSocketsSansIOProtocol):
    """uvicorn's protocol for websockets, which drains instead of cutting off."""

    def shutdown(self) -> None:
        """Let the runs under way end; the connection is closed after that.

        uvicorn asks each connection to end when the process is told to stop, and then
        waits for them, for as long as `config_for` says.
        """
        backend: Backend = self.app_state[STATE]
        backend.begin_drain()

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer a handshake that could not be read, and close.

        The first call has the whole of it. uvicorn waits for another then, for ever.
        """
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """Tell the application that it may send several texts at once."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self.scope["extensions"] |= {TOGETHER: {}}

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's messages
        """Send; a handshake that is refused over HTTP is complete, too."""
        if TOGETHER in message:
            *before, last = message[TOGETHER]
            message = {"type": message["type"], "text": last}
            with suppress(InvalidState):  # the last one says that it is closed
                for text in before:  # is kept, and written with the last
                    self.conn.send_text(text.encode())
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True


class HttpProtocol(_Impatient, HttpToolsProtocol):
    """uvicorn's protocol for HTTP, likewise: a response under way is a run."""

    _next: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        """Wait for a request, but not for ever; uvicorn itself would."""
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Take bytes; where they begin another request, wait for the rest likewise."""
        if self._next is None and self._is_idle():
            self._expect_request()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Wait no more; who answers it waits for the body."""
        self._stop_expecting()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand on to the other protocol, which this one is not to outlive."""
        self._stop_expecting()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        super().connection_lost(exc)
        self._stop_expecting()

    def _is_idle(self) -> bool:
        """Tell whether no request is being answered."""
        begun: Any = self.cycle  # uvicorn's hint leaves out that there may be none
        return begun is None or begun.response_complete

    def _expect_request(self) -> None:
        backend: Backend = self.app_state[STATE]
        seconds = backend.server.slow_consumer_timeout
        loop = asyncio.get_running_loop()
        self._next = loop.call_later(seconds, self.transport.abort)

    def _stop_expecting(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def shutdown(self) -> None:
        """Let the response under way end."""
        backend: Backend = self.app_state[STATE]
        backend.begin_drain()
        super().shutdown()


def config_for(
    server: ServerSettings,
    factory: Callable[[], Any],
    *,
    log_config: dict[str, Any] | None = None,
) -> uvicorn.Config:
    """Return how uvicorn is to serve.

    Args:
        server: The table ``[server]``.
        factory: Makes the application; is pickled where there are several workers.
        log_config: How to log; None leaves that as it is.
    """
    last = server.drain_timeout + server.cleanup_timeout
    return uvicorn.Config(
        factory,
        factory=True,
        host=server.host,
        port=server.port,
        workers=server.workers,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=server.max_message_bytes,
        ws_per_message_deflate=False,  # 42 to 104 KiB for each connection of a browser
        ws_ping_interval=server.ping_interval,
        ws_ping_timeout=server.ping_timeout,
        timeout_graceful_shutdown=math.ceil(last) + 1,
        timeout_worker_healthcheck=_START_TIMEOUT,
        ssl_certfile=server.tls_certificate,
        ssl_keyfile=server.tls_key,
        log_config=log_config,
        server_header=False,
    )


def check(settings: Settings) -> None:
    """Refuse what would keep every worker from starting.

    Raises:
        ConfigurationError: There is no key, or a file of the certificate is missing.
        MissingExtraError: PyJWT is not installed.
    """
    TokenVerifier(settings.auth)
    _check_files(settings.server)


def _check_files(server: ServerSettings) -> None:
    for name in ("tls_certificate", "tls_key"):
        path = getattr(server, name)
        if path is not None and not Path(path).is_file():
            remedy = "give the path of a PEM file that this process may read"
            raise ConfigurationError(f"server.{name}", path, remedy)


def bind(settings: Settings) -> socket.socket:
    """Return the socket to listen at; its port is free where the setting is 0.

    Raises:
        ConfigurationError: Nobody can listen there.
    """
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((server.host, server.port))
        listening.listen(_BACKLOG)  # who comes before the loop turns is not refused
    except OSError as error:
        listening.close()
        remedy = f"nobody can listen there ({error.strerror}); choose another"
        where = f"{server.host}:{server.port}"
        raise ConfigurationError("server.port", where, remedy) from error
    listening.set_inheritable(True)  # workers take it over
    return listening


def url_of(listening: socket.socket, settings: Settings) -> str:
    """Return the address that people open."""
    scheme = "http" if settings.server.tls_certificate is None else "https"
    host, port = listening.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def serve(
    settings: Settings,
    listening: socket.socket | None = None,
    reload: Callable[[], Settings] | None = None,
) -> None:
    """Serve until the process is told to stop, then let runs end. Blocks.

    At ``SIGTERM`` or ``SIGINT`` nobody is let in any more; runs under way have
    ``server.drain_timeout`` seconds to end, then their connections are closed with
    1001.

    Args:
        settings: What the operator decided.
        listening: Where to listen; by default a socket is bound as the settings say.
        reload: Reads the settings again, see `create_app`; can be pickled.

    Raises:
        ConfigurationError: There is no key, or nobody can listen there.
        MissingExtraError: A library of the extra is missing.
        SystemExit: A worker could not start; its log says why.
    """
    check(settings)
    config = config_for(
        settings.server,
        partial(create_app, settings, reload=reload),
        log_config=configuration(settings.server.log_format),
    )
    listening = bind(settings) if listening is None else listening
    logger.info("serving at %s", url_of(listening, settings))
    if config.workers > 1:
        Multiprocess(config, sockets=[listening]).run()
    else:
        uvicorn.Server(config).run(sockets=[listening])
