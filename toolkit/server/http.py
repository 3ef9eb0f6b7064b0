"""The same over HTTP: runs as server-sent events, the tools, the report, the schema."""

import asyncio
import ipaddress
import json
import logging
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from toolkit.errors import AgentNotFoundError
from toolkit.server.backend import NOT_READY, Backend, errors_in, first_to_end
from toolkit.server.refusals import Refusal
from toolkit.session.edge import wait_for
from toolkit.session.messages import AgentRequest, parse
from toolkit.session.published import json_schema
from toolkit.session.supervisor import Supervisor
from toolkit.tokens import Identity

logger = logging.getLogger(__name__)

_ENDS: Final = frozenset({"agent_completed", "error"})
_STATUS: Final = {"too_many_messages": 429, "token_expired": 401}
_FORWARDED: Final = ("forwarded", "via", "x-forwarded-", "x-real-ip")


class Runs:
    """``POST /agents/{name}/runs``: one run, told as server-sent events.

    Source: WHATWG HTML, "Server-sent events".
    """

    def __init__(self, backend: Backend) -> None:
        """Keep who knows of the others."""
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the run ends with it, whatever happens."""
        request = Request(scope, receive, send)
        place = await self._backend.admit(request)
        if isinstance(place, Refusal):
            await place.response()(scope, receive, send)
            return
        try:
            found = await self._begin(request, place.supervisor)
            if isinstance(found, Refusal):
                await found.response()(scope, receive, send)
            else:
                await self._tell(place.supervisor, found, receive, send)
        finally:
            await self._backend.leave(place, reason="the request has ended")

    async def _begin(self, request: Request, supervisor: Supervisor) -> str | Refusal:
        """Start the run that is asked for; return its id."""
        asked = await self._read(request, supervisor.user_context.user_id)
        if isinstance(asked, Refusal):
            return asked
        try:
            return supervisor.start_run(asked.agent, asked.message, asked.request_id)
        except AgentNotFoundError as error:
            return Refusal(status=404, code=error.code, message=str(error))

    async def _read(self, request: Request, user_id: str) -> AgentRequest | Refusal:
        """Read the body as the message that it would be on a websocket."""
        body = await self._body(request)
        if isinstance(body, Refusal):
            return body
        take = self._backend.connections.messages.take
        wait = wait_for(len(body), lambda: take(user_id))
        if wait > 0.0:
            text = f"too many messages; go on in {wait:.1f} s"
            return Refusal(
                status=429, code="too_many_messages", message=text, retry_after=wait
            )
        fields = _fields(body)
        if fields is None:
            text = 'send a JSON object such as {"message": "…"}'
            return Refusal(status=400, code="invalid_json", message=text)
        name = request.path_params["name"]
        asked = parse(json.dumps({**fields, "type": "agent_request", "agent": name}))
        if isinstance(asked, AgentRequest):
            return asked
        text = getattr(asked, "message", "")
        return Refusal(status=400, code="invalid_message", message=str(text))

    async def _body(self, request: Request) -> bytes | Refusal:
        """Read the body, if it comes in time and is not too large."""
        server = self._backend.server
        try:
            async with asyncio.timeout(server.slow_consumer_timeout):
                body = await _read_up_to(request, server.max_message_bytes)
        except (TimeoutError, ClientDisconnect):
            text = "the request did not come in time"
            return Refusal(status=408, code="too_slow", message=text)
        if body is None:
            text = f"send {server.max_message_bytes} bytes at most"
            return Refusal(status=413, code="too_big", message=text)
        return body

    async def _tell(
        self, supervisor: Supervisor, run_id: str, receive: Receive, send: Send
    ) -> None:
        """Send what happens until the run ends or the client is gone."""
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),  # proxies that would hold it back
                ],
            }
        )
        seconds = self._backend.server.slow_consumer_timeout
        both = await first_to_end(
            _until_gone(receive), _send_events(supervisor, run_id, send, seconds)
        )
        for error in errors_in(both):
            logger.error("a request broke", exc_info=error)


async def _send_events(
    supervisor: Supervisor, run_id: str, send: Send, seconds: float
) -> None:
    """Send one event for each message, and the end after the run's last."""
    try:
        while (text := await supervisor.next_message()) is not None:
            message = json.loads(text)
            event = f"event: {message['type']}\ndata: {text}\n\n"
            async with asyncio.timeout(seconds):
                await send(_part(event.encode(), is_more=True))
            if message["type"] in _ENDS and message["run_id"] == run_id:
                break
        await send(_part(b"", is_more=False))
    except (OSError, TimeoutError):  # TimeoutError: it takes nothing
        logger.info("a client has gone or takes nothing")


def _part(body: bytes, *, is_more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": is_more}


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _read_up_to(request: Request, most: int) -> bytes | None:
    """Return the body; None when it is larger than allowed."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return None
        parts.append(part)
    return b"".join(parts)


def _fields(body: bytes) -> dict[str, Any] | None:
    """Return the object that a body is."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _refusal_of(message: dict[str, Any]) -> Refusal:
    """Return what a message other than the one asked for means over HTTP."""
    data = message.get("data", {})
    status = _STATUS.get(data.get("code"))
    if status is None:
        return NOT_READY
    after = data.get("retry_after")
    return Refusal(
        status=status, code=data["code"], message=data["message"], retry_after=after
    )


class Pages:
    """What is asked for once: tools, report, schema, metrics."""

    def __init__(self, backend: Backend) -> None:
        """Write what never changes."""
        self._backend = backend
        self._schema = json_schema()

    async def schema(self, _: Request) -> Response:
        """Answer what is on the wire, as JSON Schema."""
        return JSONResponse(self._schema)

    async def tools(self, request: Request) -> Response:
        """Answer the tools and agents that this user has, and why others are absent."""
        place = await self._backend.admit(request)
        if isinstance(place, Refusal):
            return place.response()
        try:
            await place.supervisor.receive('{"type": "tool_introspection_request"}')
            text = await place.supervisor.next_message()
        finally:
            await self._backend.leave(place)
        message = json.loads(text or "{}")
        if message.get("type") == "tool_registry_state":
            return JSONResponse(message["data"])
        return _refusal_of(message).response()

    async def report(self, request: Request) -> Response:
        """Answer what discovery found, to whoever has the admin scope."""
        refusal = await self._refuse_others(request)
        kit = self._backend.kit
        if refusal is not None or kit is None:
            return (refusal or _NOT_READY).response()
        report = kit.report
        return JSONResponse(
            {
                "status": report.status,
                "summary": report.summary(),
                "findings": [one.as_dict() for one in report.findings],
                "faults": [str(one) for one in report.faults()],
                "notes": list(report.notes),
            }
        )

    async def metrics(self, request: Request) -> Response:
        """Answer the metrics: to this machine itself, or with the admin scope."""
        if not is_local(request):
            refusal = await self._refuse_others(request)
            if refusal is not None:
                return refusal.response()
        metrics = self._backend.metrics
        return Response(metrics.text(), media_type=metrics.content_type)

    async def _refuse_others(self, request: Request) -> Refusal | None:
        found = await identify_admin(self._backend, request)
        return found if isinstance(found, Refusal) else None


async def identify_admin(backend: Backend, request: Request) -> Identity | Refusal:
    """Return which administrator asks, or why somebody else may not."""
    identity = await backend.gate.identify(request)
    if isinstance(identity, Refusal):
        return identity
    kit, scope = backend.kit, backend.settings.server.admin_scope
    scopes = (
        identity.scopes
        if kit is None
        else kit.factory.policy.scopes_of(identity.context())
    )
    if scope in scopes:
        return identity
    text = f"this needs the scope {scope}"
    return Refusal(status=403, code="missing_scope", message=text)


_NOT_READY: Final = Refusal(
    status=503, code="not_ready", message="tools are being discovered; try again"
)


def is_local(request: Request) -> bool:
    """Tell whether a program on this machine asks, for itself and for no other.

    A proxy says for whom it asks; a page that has another name resolve to this machine
    sends that name as ``Host``.
    """
    headers = request.headers
    host = request.client.host if request.client else ""
    named = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    is_forwarded = any(name.startswith(_FORWARDED) for name in headers)
    return not is_forwarded and _is_loopback(host) and _is_loopback(named)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
