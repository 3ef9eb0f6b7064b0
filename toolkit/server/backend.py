"""`Backend`: what one serving process has, from its start to its end."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from starlette.requests import HTTPConnection

from toolkit.app import Toolkit
from toolkit.errors import FactoryClosedError
from toolkit.llm import reasoner_from
from toolkit.metrics import PrometheusMetrics
from toolkit.server.connections import Connections, Place, source_of
from toolkit.server.counts import Counts, Watch
from toolkit.server.gate import Gate
from toolkit.server.health import Health
from toolkit.server.logs import tell_connection
from toolkit.server.refusals import Refusal
from toolkit.session.edge import Edge, Renew, Renewal
from toolkit.session.supervisor import Supervisor
from toolkit.settings import Settings
from toolkit.supervisor_factory import get_websocket_scoped_supervisor
from toolkit.tokens import Identity, TokenVerifier

logger = logging.getLogger(__name__)

NOT_READY = Refusal(
    status=503,
    code="not_ready",
    message="the server is starting or shutting down; try again",
    retry_after=1.0,
)


class Backend:
    """Owns the toolkit it has made, and knows who is connected. One for a process.

    Args:
        settings: What the operator decided.
        kit: Where tools and agents come from; without one, the installed packages are
            discovered when it starts, and closed when it stops.

    Raises:
        ConfigurationError: There is no key to verify tokens by, or the table
            ``[agents.model]`` does not fit.
        MissingExtraError: The extra is not installed.
    """

    def __init__(self, settings: Settings, kit: Toolkit | None = None) -> None:
        """Prepare everything but the tools."""
        self.settings = settings
        self.server = settings.server
        self.verifier = TokenVerifier(settings.auth)
        self.reasoner = reasoner_from(settings)
        self.connections = Connections(settings.server)
        self.gate = Gate(
            self.verifier, self.connections, settings.server.allowed_origins
        )
        self.counts = Counts()
        self.metrics = PrometheusMetrics()
        self.metrics.add(self.counts.numbers)
        self.metrics.add(self.connections.numbers)
        self.health = Health(self)
        self.kit: Toolkit | None = None
        self.start_error: BaseException | None = None
        self._given = kit
        self._start: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def is_draining(self) -> bool:
        """Whether nobody is let in any more."""
        return self._drain is not None

    # --- from start to end --------------------------------------------------------

    def start(self) -> None:
        """Begin to get ready; nobody waits for it, newcomers are refused meanwhile."""
        if self._given is not None:
            self._serve(self._given)
        else:
            self._start = asyncio.create_task(self._discover())

    async def stop(self) -> None:
        """End all connections, and close the toolkit that was made here."""
        await self.drain()
        if self._start is not None:
            await self._start
        if self.kit is not None and self._given is None:
            self.kit.close()
        if self.reasoner is not None:
            await self.reasoner.aclose()

    async def _discover(self) -> None:
        try:
            kit = await asyncio.to_thread(
                Toolkit, self.settings, sinks=(self.metrics, self.counts)
            )
        except Exception as error:
            self.start_error = error
            logger.exception("discovery failed; the server serves nobody")
            return
        self._serve(kit)

    def _serve(self, kit: Toolkit) -> None:
        self.kit = kit
        self.metrics.watch(kit)
        logger.info("ready: %s", kit.report.summary())

    def begin_drain(self) -> "asyncio.Task[None]":
        """Let nobody in any more, and let runs that are under way end, then close.

        Returns:
            What ends when every connection has; always the same.
        """
        if self._drain is None:
            self._drain = asyncio.create_task(self._drain_all())
        return self._drain

    async def drain(self) -> None:
        """Do so, and wait for it; whoever stops waiting does not stop it."""
        await asyncio.shield(self.begin_drain())

    async def _drain_all(self) -> None:
        drains = [place.supervisor.drain() for place in self.connections]
        if drains:
            logger.info("draining %d connections", len(drains))
        await asyncio.gather(*drains)
        if self._ends:
            await asyncio.wait(self._ends)

    # --- one connection -----------------------------------------------------------

    async def admit(
        self, connection: HTTPConnection, *, with_origin: bool = False
    ) -> Place | Refusal:
        """Let a client in; whoever asked gives the place back with `leave`.

        Nothing of a plugin runs before the token is verified.

        Args:
            connection: The request or the handshake.
            with_origin: Whether a page's origin is judged.
        """
        found = self._judge_early(connection, with_origin=with_origin)
        identity = found or await self.gate.identify(connection)
        place = (
            identity
            if isinstance(identity, Refusal)
            else self._seat(connection, identity)
        )
        if isinstance(place, Refusal):
            self.counts.refused(place.code, is_ours=place.is_ours)
            logger.info("a client is refused: %s", place.code)
        else:
            self.counts.let_in()
        return place

    def _judge_early(
        self, connection: HTTPConnection, *, with_origin: bool
    ) -> Refusal | None:
        if self.kit is None or self.is_draining:
            return NOT_READY
        return self.gate.judge_origin(connection) if with_origin else None

    def _seat(self, connection: HTTPConnection, identity: Identity) -> Place | Refusal:
        """Give somebody a supervisor and a place, all in one step."""
        if self.kit is None or self.is_draining:  # it may have changed meanwhile
            return NOT_READY
        user_id = identity.user_id
        refusal = self.connections.full_for(user_id)
        if refusal is not None:
            return refusal
        watch = Watch(self.counts, user_id)
        source = source_of(connection.client and connection.client.host)
        edge = Edge(
            expires_at=identity.expires_at,
            renew=self._renewal(source),
            admit=lambda: self.connections.messages.take(user_id),
            watcher=watch,
            reason=self.reasoner,
        )
        try:
            supervisor = self._supervisor(self.kit, identity, edge)
        except FactoryClosedError:
            return NOT_READY
        except Exception as error:
            self.counts.broken(error)
            logger.exception("no supervisor for a connection of %r", user_id)
            text = "the server made a mistake; try again"
            return Refusal(status=500, code="internal_error", message=text)
        tell_connection(supervisor.connection_id, user_id)
        return self.connections.add(user_id, supervisor, watch)

    @staticmethod
    def _supervisor(kit: Toolkit, identity: Identity, edge: Edge) -> Supervisor:
        return get_websocket_scoped_supervisor(identity.context(), kit=kit, edge=edge)

    def _renewal(self, source: str) -> Renew:
        async def renew(token: str) -> Renewal:
            identity = await self.gate.verify(token, source)
            return Renewal(identity.context(), identity.expires_at)

        return renew

    async def leave(self, place: Place, code: int = 1000, reason: str = "") -> None:
        """End all of a connection and give its place back.

        Takes ``server.cleanup_timeout`` seconds at most; whoever stops waiting does not
        stop it.
        """
        task = asyncio.create_task(self._end(place, code, reason))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        await asyncio.shield(task)

    async def _end(self, place: Place, code: int, reason: str) -> None:
        try:
            with suppress(asyncio.CancelledError):
                await place.supervisor.aclose(code, reason)
        finally:
            place.leave()


async def first_to_end(*work: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Do several things until one of them ends, and give up the others.

    Whoever is cancelled while waiting gives up all of them.

    Returns:
        Their tasks, in order; every one has ended.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
    return tasks


def errors_in(tasks: Iterable[asyncio.Task[Any]]) -> list[BaseException]:
    """Return what they raised, in order, but for those that were given up."""
    ended = (one.exception() for one in tasks if not one.cancelled())
    return [error for error in ended if error is not None]
