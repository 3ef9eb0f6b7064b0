"""The chat of that day on a real socket: for tests only.

Behind it is `tests.legacy_mode`. It speaks today's wire, so that a client of today can
be shown what its users saw.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from websockets.asyncio.server import ServerConnection, serve

from tests.legacy_mode import LegacyBackend, Remedies
from toolkit import Settings
from toolkit.tokens import TokenVerifier

Manner = Literal["silent", "told", "canned"]


@dataclass(frozen=True, slots=True)
class LegacyServer:
    """Where it listens, and what its log says."""

    url: str
    log: list[str] = field(default_factory=list)


@asynccontextmanager
async def legacy_server(
    tools: Iterable[object],
    settings: Settings,
    *,
    manner: Manner,
    remedies: Remedies | None = None,
) -> AsyncIterator[LegacyServer]:
    """Serve as it was served.

    Args:
        tools: What every connection is to have.
        settings: Whose tokens it believes.
        manner: What becomes of a failure: nobody is told (``silent``), the client gets
            status 400 (``told``), or everybody gets the same empty words (``canned``).
        remedies: What of the cure is in place.
    """
    backend, log = LegacyBackend(tools, remedies), list[str]()
    verifier = TokenVerifier(settings.auth)

    async def converse(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        token = request.headers["authorization"].removeprefix("Bearer ")
        user, say = verifier.verify(token).user_id, sayer()
        with ExitStack() as stack:
            fault = ""
            try:
                stack.enter_context(backend.connect(user))
            except ValueError as error:
                fault = str(error)
                log.append(fault)
            async for frame in connection:
                asked = json.loads(frame)
                if manner == "canned":
                    await connection.send(say(asked, "agent_completed", **CANNED))
                elif fault and manner == "told":
                    await connection.send(say(asked, "error", **refusal(fault)))
                elif not fault:
                    await connection.send(say(asked, "agent_completed", **ANSWER))

    async with serve(converse, "127.0.0.1", 0, compression=None) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield LegacyServer(f"ws://{host}:{port}/ws", log)


def completed(result: str) -> dict[str, Any]:
    """Return the fields of an answer."""
    data = {"agent": "legacy", "result": result, "details": None}
    return {"result": result, "data": {**data, "seconds": 0.0, "tool_calls": 0}}


CANNED = completed("Analysis complete.")
ANSWER = completed(
    "An answer of the old backend, where it was able to give any at all."
)


def refusal(fault: str) -> dict[str, Any]:
    """Return the fields of an error."""
    data = {"code": "400", "message": fault, "fatal": False}
    return {"code": "400", "message": fault, "data": data}


def sayer() -> Callable[..., str]:
    """Return what writes the messages of one connection, in order."""
    sequence = 0

    def say(asked: dict[str, Any], kind: str, **fields: Any) -> str:
        nonlocal sequence
        sequence += 1
        envelope = {"version": 1, "type": kind, "sequence": sequence, "run_id": "run"}
        moment = "2025-09-09T00:00:00.000Z"
        about = {"request_id": asked.get("request_id"), "timestamp": moment}
        return json.dumps({**envelope, **about, **fields})

    return say
