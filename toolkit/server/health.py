"""Whether the server is well: what is wrong, and since when."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from toolkit.server.backend import Backend

_UNWELL: Final = frozenset({"starting", "start_failed", "draining", "no_tools"})
"""What keeps a server from serving; the rest leaves it degraded."""


class Health:
    """Looks at the real state each time; keeps when each issue was first seen."""

    def __init__(
        self, backend: "Backend", clock: Callable[[], float] = time.time
    ) -> None:
        """Start with nothing seen.

        Args:
            backend: What to look at.
            clock: Unix seconds.
        """
        self._backend = backend
        self._clock = clock
        self._since: dict[tuple[str, str], float] = {}

    def look(self) -> dict[str, Any]:
        """Look now.

        Returns:
            ``status`` (``healthy``, ``degraded`` or ``unhealthy``), ``issues`` (each a
            ``code``, a ``message`` and ``since``, Unix seconds), and the counts
            ``connections``, ``users`` and ``tools``.
        """
        found = list(self._issues())
        now = self._clock()
        self._since = {one: self._since.get(one, now) for one in found}
        codes = {code for code, _ in found}
        status = "degraded" if codes else "healthy"
        kit = self._backend.kit
        return {
            "status": "unhealthy" if codes & _UNWELL else status,
            "issues": [
                {"code": code, "message": text, "since": self._since[code, text]}
                for code, text in found
            ],
            "connections": len(self._backend.connections),
            "users": self._backend.connections.users,
            "tools": 0 if kit is None else len(kit.catalog),
        }

    def _issues(self) -> Iterator[tuple[str, str]]:
        backend = self._backend
        if backend.is_draining:
            yield "draining", "the server is shutting down"
        if backend.start_error is not None:
            yield "start_failed", "discovery failed; the log says why"
        elif backend.kit is None:
            yield "starting", "tools are being discovered"
        else:
            yield from self._issues_of_tools(backend)
        if backend.counts.cleanups["incomplete"]:
            yield "incomplete_cleanup", "ends of connections were resisted; see the log"

    def _issues_of_tools(self, backend: "Backend") -> Iterator[tuple[str, str]]:
        if backend.kit is None:
            return
        health = backend.kit.health()
        if health["status"] == "unhealthy":
            yield "no_tools", "there is no tool, or the toolkit is closed"
        if not backend.kit.catalog.agents:
            yield "no_agents", "there is no agent to ask"
        if backend.kit.report.status == "degraded":
            yield "faults", "discovery found faults; the report has them"
        for text in health["issues"]:
            yield "trouble", text

    # --- over HTTP ----------------------------------------------------------------

    async def live(self, _: Request) -> Response:
        """Answer that the process runs and its event loop turns."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """Answer whether newcomers are let in."""
        is_ready = self.look()["status"] != "unhealthy"
        text = "ready" if is_ready else "not ready"
        return JSONResponse({"status": text}, 200 if is_ready else 503)

    async def all(self, _: Request) -> Response:
        """Answer what is wrong, and since when."""
        state = self.look()
        return JSONResponse(state, 503 if state["status"] == "unhealthy" else 200)
