"""`Supervisor`: the one owner of all that a connection has, and what ends it all."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from toolkit.agent_runs import Run
from toolkit.app import Toolkit
from toolkit.catalog import ListedAgent
from toolkit.context import UserContext
from toolkit.errors import (
    AgentNotFoundError,
    RemoteProtocolError,
    SessionClosedError,
    ToolkitError,
)
from toolkit.events import CatalogEvent, CatalogEventType, weakly
from toolkit.loops import call_soon
from toolkit.run_events import AgentEvent, AgentEventType, RunRequest, RunRules
from toolkit.session.edge import MESSAGE_BYTES, Edge, wait_for
from toolkit.session.expiry import Expiry
from toolkit.session.introspection import entry_of, has_schemas, state_of
from toolkit.session.messages import (
    AgentRequest,
    Authenticate,
    Cancel,
    Command,
    MessageType,
    Ping,
    Refused,
    ToolApproval,
    ToolIntrospectionRequest,
)
from toolkit.session.outbound import Outbound
from toolkit.session.protocol import Session, State
from toolkit.session.seats import Seat, Seats

logger = logging.getLogger(__name__)

TOO_SLOW: Final = 1013
"""Close code, "try again later": the client takes less than it asked for."""

EXPIRED: Final = 1008
"""Close code, "policy violation" (RFC 6455, section 7.4.1): the token has ended."""

GOING_AWAY: Final = 1001
"""Close code, "going away": the server stops."""

_MESSAGES: Final = {kind: MessageType(kind) for kind in AgentEventType}


class Supervisor:
    """Owns one connection: its session, tool system, runs, and what waits to be sent.

    It knows no socket. Whoever has one hands each frame to `receive` and sends what
    `next_message` returns, until that is None; then closes with `close_code`. `aclose`
    ends everything, in reverse order, whatever state it is in, and may be called again.

    One event loop at a time; `cancel` and `aclose` are for that loop too.

    Args:
        kit: Where tools and agents come from.
        user_context: Whose connection it is.
        edge: What the edge gives it.
        owns_kit: Whether the toolkit is closed with it.

    Raises:
        InvalidUserContextError: `user_context` is none.
        FactoryClosedError: The toolkit is closed.
    """

    def __init__(
        self,
        kit: Toolkit,
        user_context: UserContext,
        edge: Edge | None = None,
        *,
        owns_kit: bool = False,
    ) -> None:
        """Open the user's tool system; nothing else is needed to be ready."""
        self._kit = kit
        self._edge = edge or Edge()
        self._owns_kit = owns_kit
        self._server = kit.settings.server
        self.user_context = user_context
        self.connection_id = uuid4().hex
        self._seats = Seats(self, kit, user_context, self._edge.secrets)
        self._runs: dict[str, tuple[Run, asyncio.Future[None]]] = {}
        self._outbound = Outbound(
            self._server.max_outbound_messages, self._server.max_outbound_bytes
        )
        self._session = Session(
            max_message_bytes=self._server.max_message_bytes,
            max_invalid_messages=self._server.max_invalid_messages,
        )
        self._session.authenticated(self._edge.expires_at)
        self._session.ready()
        self._rules = RunRules(
            timeout=self._server.run_timeout,
            heartbeat=self._server.heartbeat,
            show_errors=kit.settings.show_tool_errors,
        )
        self._is_draining = False
        self._expiry = Expiry()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Task[None] | None = None
        self._forget_changes = kit.on_change(weakly(self._hear_change))

    # --- what others ask of it ----------------------------------------------------

    @property
    def close_code(self) -> int:
        """What the connection is closed with; 1000 unless there was a reason."""
        return self._session.close_code or 1000

    @property
    def close_reason(self) -> str:
        """The same in words."""
        return self._session.close_reason

    @property
    def is_closed(self) -> bool:
        """Whether everything of it has ended."""
        return self._session.state is State.CLOSED

    @property
    def is_busy(self) -> bool:
        """Whether a run has not ended."""
        return bool(self._runs)

    def get_tool_registry_id(self) -> str:
        """Return the id of this connection's registry; no other ever has it.

        Another one where the tools have changed since: see `get_tool_registry_health`.
        """
        return self._seats.current.system.correlation_id

    def get_tool_registry_health(self) -> dict[str, Any]:
        """Look at the real state of this connection's tools.

        Returns:
            ``status`` (``healthy``; ``unhealthy`` without any tool, or with a schema
            among them; ``closed``), ``registry_id``, ``connection_id``,
            ``has_basemodel_tools`` (looked for among the tools, each time), ``tools``
            and ``agents`` (counts), ``generation`` (of the catalog), ``runs`` and
            ``queued_messages`` (now), and ``registries_of_user`` (open ones, over all
            connections).
        """
        seat = self._seats.current
        is_schema = has_schemas(seat.system)
        is_bad = is_schema or not len(seat.system.view)
        status = "unhealthy" if is_bad else "healthy"
        return {
            "status": "closed" if seat.system.is_closed else status,
            "registry_id": self.get_tool_registry_id(),
            "connection_id": self.connection_id,
            "has_basemodel_tools": is_schema,
            "tools": len(seat.system.view),
            "agents": len(seat.agents),
            "generation": self._kit.catalog.generation,
            "runs": len(self._runs),
            "queued_messages": len(self._outbound),
            "registries_of_user": self._kit.factory.registry_count(
                self.user_context.user_id
            ),
        }

    async def next_message(self) -> str | None:
        """Wait for the next message to send, as JSON text.

        Returns:
            The message; None when the connection is to be closed, and all is sent.
        """
        self._attach()
        return await self._outbound.get()

    async def next_messages(self) -> list[str]:
        """Wait for the next messages; return those that wait, none at the end.

        At most `toolkit.session.outbound.BATCH_BYTES`, where they are several.
        """
        self._attach()
        return await self._outbound.get_some()

    async def receive(self, frame: str | bytes) -> None:
        """Do what one frame of the client asks for.

        What is wrong with it is answered on the wire. Where that ends the connection,
        `next_message` ends after the answer, and `close_code` says why.

        Args:
            frame: A text frame as text; a binary frame as bytes.
        """
        self._attach()
        try:
            wait = wait_for(len(frame), self._edge.admit)
            is_read = wait <= 0.0 or len(frame) <= MESSAGE_BYTES  # others cost too much
            command = self._session.receive(frame, time.time()) if is_read else None
            if wait > 0.0:
                text = f"too many messages; go on in {wait:.1f} s"
                request_id = None if command is None else command.request_id
                self._refuse("too_many_messages", text, request_id, wait)
            elif isinstance(command, Refused):
                self._refuse(command.code, command.message, command.request_id)
            elif command is not None:
                await self._obey(command)
        except RemoteProtocolError as error:
            self._end(error.close_code, error.reason, error.detail)
        except SessionClosedError:
            return  # whoever reads on learns of the end from `next_message`

    def start_run(
        self, agent: str | None, message: str, request_id: str | None = None
    ) -> str:
        """Start a run; its events are among the messages.

        Args:
            agent: Who is to answer; None: the default agent. One that this user has not
                is answered for by the default agent, which says so.
            message: What to answer.
            request_id: What the client calls it; comes back on all events.

        Returns:
            The run's id.

        Raises:
            AgentNotFoundError: There is neither that agent nor the default one.
            SessionClosedError: The connection takes no more runs.
        """
        self._attach()
        listed, missing = self._agent(agent)
        run_id = self._session.new_run(request_id)
        request = RunRequest(
            run_id=run_id,
            agent=listed,
            message=message,
            request_id=request_id,
            requested_agent=missing,
        )
        seat = self._seats.current
        run = Run(request, seat, self._rules, self._edge.reason)
        seat.runs += 1
        ended = run.start()
        self._runs[run_id] = run, ended
        if self._edge.watcher is not None:
            self._edge.watcher.run_started(self.user_context.user_id)
        ended.add_done_callback(lambda _: self._run_ended(run_id, seat))
        return run_id

    def cancel(
        self, run_id: str | None = None, why: str = "its user asked for it"
    ) -> int:
        """Give up a run, or all of them.

        Returns:
            How many are given up.
        """
        chosen = [run_id] if run_id is not None else list(self._runs)
        found = [self._runs[one][0] for one in chosen if one in self._runs]
        for run in found:
            run.cancel(why)
        return len(found)

    # --- for its runs -------------------------------------------------------------

    def take(self, event: AgentEvent) -> None:
        """Put an event of a run among the messages. Never raises."""
        try:
            text = self._session.event(
                _MESSAGES[event.type],
                event.data,
                now=time.time(),
                run_id=event.run_id,
            )
        except SessionClosedError:
            return
        except Exception:
            logger.exception("%s of run %s is not told", event.type, event.run_id)
            self._end(1011, "internal_error", "the server made a mistake")
            return
        if event.type is AgentEventType.AGENT_COMPLETED:
            self._tell_watcher(event, "")
        elif event.type is AgentEventType.ERROR:
            self._tell_watcher(event, str(event.data["code"]))
        self._put(text)

    def _tell_watcher(self, event: AgentEvent, code: str) -> None:
        if self._edge.watcher is not None:
            seconds = time.monotonic() - self._runs[event.run_id][0].started_at
            self._edge.watcher.run_ended(self.user_context.user_id, code, seconds)

    async def room(self) -> None:
        """Wait while the client takes nothing; one that never does is let go."""
        if self._outbound.has_room:
            return
        if not await self._outbound.room(self._server.slow_consumer_timeout):
            self._end(TOO_SLOW, "too_slow", "the client reads too slowly")

    def _put(self, text: str) -> None:
        self._outbound.put(text)
        if self._outbound.is_over:
            self._end(TOO_SLOW, "too_slow", "the client reads too slowly")

    # --- what clients ask for -----------------------------------------------------

    async def _obey(self, command: Command) -> None:
        match command:
            case AgentRequest():
                self._begin(command)
            case Cancel():
                self._give_up(command)
            case Ping():
                self._send(
                    MessageType.PONG, {"nonce": command.nonce}, command.request_id
                )
            case ToolIntrospectionRequest():
                self._show_tools(command.request_id)
            case Authenticate():
                await self._authenticate(command)
            case ToolApproval():
                self._approve(command)

    def _begin(self, command: AgentRequest) -> None:
        if self._is_draining:
            text = "the server is shutting down; connect again"
            self._refuse("shutting_down", text, command.request_id, 1.0)
            return
        if len(self._runs) >= self._server.max_runs_per_connection:
            most = self._server.max_runs_per_connection
            text = f"{most} runs are under way; wait for one, or cancel it"
            self._refuse("too_many_runs", text, command.request_id, 1.0)
            return
        try:
            self.start_run(command.agent, command.message, command.request_id)
        except AgentNotFoundError as error:
            self._refuse(error.code, str(error), command.request_id)

    def _give_up(self, command: Cancel) -> None:
        if command.run_id is not None:
            count = self.cancel(command.run_id)
        elif command.request_id is not None:
            count = sum(map(self.cancel, self._session.runs_of(command.request_id)))
        else:
            count = self.cancel() or 1  # nothing to give up is no fault then
        if not count:
            text = "no such run is under way; it may have ended just now"
            self._refuse("run_not_found", text, command.request_id)

    def _approve(self, command: ToolApproval) -> None:
        for one in self._seats.dispatchers():
            if command.approved and one.approve(command.call_id):
                return
            if not command.approved and one.deny(command.call_id, command.reason):
                return
        text = "no such call waits for approval; it may have expired"
        self._refuse("call_not_found", text, command.request_id)

    async def _authenticate(self, command: Authenticate) -> None:
        if self._edge.renew is None:
            text = "this connection needs no other token"
            self._refuse("not_expected", text, command.request_id)
            return
        try:
            renewal = await self._edge.renew(command.token)
        except ToolkitError as error:
            self._refuse(error.code, str(error), command.request_id)
            return
        if self._session.state is not State.READY:
            return  # it has ended meanwhile
        if renewal.user.user_id != self.user_context.user_id:
            text = "the token is another user's; open another connection for them"
            self._refuse("another_user", text, command.request_id)
            return
        self._session.authenticated(renewal.expires_at)
        self._watch_expiry()
        rights = (renewal.user.scopes, renewal.user.roles)
        if rights != (self.user_context.scopes, self.user_context.roles):
            self.user_context = renewal.user
            self._change_seat()
        self._show_tools(command.request_id)

    def _show_tools(self, request_id: str | None) -> None:
        health = self.get_tool_registry_health()
        data = state_of(
            self._kit, self._seats.current.system, self._seats.current.agents, health
        )
        self._send(MessageType.TOOL_REGISTRY_STATE, data, request_id)

    def _refuse(
        self, code: str, text: str, request_id: str | None, after: float | None = None
    ) -> None:
        data: dict[str, Any] = {"code": str(code), "message": text, "fatal": False}
        if after is not None:
            data["retry_after"] = after
        self._send(MessageType.ERROR, data, request_id)

    def _send(
        self, kind: MessageType, data: Mapping[str, Any], request_id: str | None = None
    ) -> None:
        now = time.time()
        self._put(self._session.event(kind, data, now=now, request_id=request_id))

    # --- tools that change --------------------------------------------------------

    def _agent(self, name: str | None) -> tuple[ListedAgent, str | None]:
        """Return the agent to ask, and the name that was asked for in vain."""
        agents, default = (
            self._seats.current.agents,
            self._kit.settings.agents.default_agent,
        )
        found = agents.get(default if name is None else name)
        if found is not None:
            return found, None
        if default not in agents:
            raise AgentNotFoundError(name or default, sorted(agents))
        return agents[default], name

    def _hear_change(self, event: CatalogEvent) -> None:
        """Take note of another catalog, in whatever thread it was made."""
        is_same = event.type is CatalogEventType.CATALOG_REFRESH_FAILED
        if self._loop is not None and not is_same:
            call_soon(self._loop, self._change_seat)

    def _change_seat(self) -> None:
        """Give runs from now on the tools there are now, and tell the client."""
        if self._session.state is not State.READY or self._kit.factory.is_closed:
            return
        changes = self._seats.change(self.user_context)
        if any(changes.values()):
            tools = [entry_of(one.current) for one in self._seats.current.system.view]
            generation = self._kit.catalog.generation
            data = {"generation": generation, **changes, "tools": tools}
            self._send(MessageType.TOOLS_CHANGED, data)

    def _run_ended(self, run_id: str, seat: Seat) -> None:
        _, ended = self._runs.pop(run_id)
        if ended.exception() is not None:
            logger.error("run %s broke", run_id, exc_info=ended.exception())
            self._end(1011, "internal_error", "the server made a mistake")
        self._seats.left(seat)
        if not self._runs and self._session.state is State.CLOSING:
            self._outbound.close()

    # --- the end --------------------------------------------------------------------

    def _attach(self) -> None:
        """Belong to the loop that runs, from the first use on."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._watch_expiry()

    def _watch_expiry(self) -> None:
        ends_at = self._session.expires_at
        self._expiry.watch(ends_at, self._warn_expiry, self._expire)

    def _warn_expiry(self, left: float) -> None:
        if self._session.state is State.READY:
            text = f"the token ends in {left:.0f} s; send authenticate with a new one"
            self._refuse("token_expires_soon", text, None)

    def _expire(self) -> None:
        self._end(EXPIRED, "token_expired", "the token has expired")

    def _end(self, close_code: int, code: str, text: str) -> None:
        """Say why the connection ends, and let it end."""
        if self._session.state is not State.READY:
            return
        data = {"code": code, "message": text, "fatal": True}
        self._outbound.put(
            self._session.event(MessageType.ERROR, data, now=time.time())
        )
        self._session.begin_close(close_code, text)
        self.cancel(why=text)
        if self._outbound.is_over or not self._runs:
            self._outbound.close()

    async def drain(self) -> None:
        """Take no more requests, let the runs under way end, then close.

        Takes ``server.drain_timeout`` seconds at most, and what `aclose` takes.
        """
        self._is_draining = True
        ends = {ended for _, ended in self._runs.values()}
        if ends:
            await asyncio.wait(ends, timeout=self._server.drain_timeout)
        await self.aclose(GOING_AWAY, "the server is shutting down")

    async def aclose(
        self, code: int = 1000, reason: str = "the connection was closed"
    ) -> None:
        """End everything: runs first, then the tool systems, then what waits.

        Returns within ``server.cleanup_timeout`` seconds, also where a tool or an agent
        resists; what resists is logged, and goes on without a connection. Whoever is
        cancelled while waiting here does not stop it. Calling it again waits for the
        same end.

        Args:
            code: What the connection is closed with, unless that is decided already.
            reason: The same in words.
        """
        self._attach()
        if self._closing is None:
            self._session.begin_close(code, reason)
            self._closing = asyncio.get_running_loop().create_task(self._close(reason))
        await asyncio.shield(self._closing)

    def close(self) -> None:
        """End everything where no event loop runs; in one, await `aclose`."""
        self._session.begin_close()
        self._release()
        self._seats.close()

    async def _close(self, reason: str) -> None:
        started, is_complete = time.monotonic(), False
        self.cancel(why=reason)
        ends = {ended for _, ended in self._runs.values()}
        try:
            async with asyncio.timeout(self._server.cleanup_timeout):
                if ends:
                    await asyncio.wait(ends)
                await self._seats.aclose()
            is_complete = True
        except TimeoutError:
            text = "connection %s of %r is not all ended after %g s"
            user, seconds = self.user_context.user_id, self._server.cleanup_timeout
            logger.exception(text, self.connection_id, user, seconds)
        finally:
            self._release()
            if self._edge.watcher is not None:
                seconds = time.monotonic() - started
                self._edge.watcher.cleaned_up(seconds, is_complete=is_complete)

    def _release(self) -> None:
        """Let go of all that is not this connection's own."""
        self._forget_changes()
        self._expiry.stop()
        self._outbound.close()
        self._session.closed()
        if self._owns_kit:
            self._kit.close()

    def __repr__(self) -> str:
        """Name the user and the state."""
        user, state = self.user_context.user_id, self._session.state
        return f"<Supervisor of {user!r}, {state}, {len(self._runs)} runs>"
