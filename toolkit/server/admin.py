"""Another catalog without a restart, and the one before it, for administrators."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.app import Toolkit
from toolkit.errors import ToolkitError
from toolkit.server.backend import NOT_READY, Backend
from toolkit.server.http import identify_admin
from toolkit.server.refusals import Refusal
from toolkit.settings import Settings

logger = logging.getLogger(__name__)

_SEVERAL_WORKERS: Final = Refusal(
    status=409,
    code="several_workers",
    message="only one of the workers would change; restart the server instead",
)


class Admin:
    """Changes the catalog of a process. One for it.

    Whoever is connected has the tools of the other catalog from their next run on, and
    is told with ``tools_changed``; runs under way keep what they have.
    """

    def __init__(self, backend: Backend, reload: Callable[[], Settings] | None) -> None:
        """Keep what to change.

        Args:
            backend: Whose toolkit it is.
            reload: Reads the settings again, as they were read at the start; None:
                they stay as they are.
        """
        self._backend = backend
        self._reload = reload

    async def refresh(self, request: Request) -> Response:
        """Read the settings again, discover under them, and answer what there is."""
        return await self._change(request, self._refresh)

    async def rollback(self, request: Request) -> Response:
        """Go back to the catalog before this one, and answer what there is."""
        return await self._change(request, self._roll_back)

    async def _change(
        self, request: Request, act: Callable[[Toolkit], Awaitable[object]]
    ) -> Response:
        found = await identify_admin(self._backend, request)
        if isinstance(found, Refusal):
            return found.response()
        kit = self._backend.kit
        if kit is None:
            return NOT_READY.response()
        if self._backend.server.workers > 1:
            return _SEVERAL_WORKERS.response()
        try:
            await act(kit)
        except ToolkitError as error:
            refusal = Refusal(status=409, code=error.code, message=str(error))
            return refusal.response()
        logger.warning(
            "%s by %r: catalog %d, %s",
            *(request.url.path, found.user_id),
            *(kit.catalog.generation, kit.report.summary()),
        )
        return JSONResponse(
            {
                "generation": kit.catalog.generation,
                "status": kit.report.status,
                "summary": kit.report.summary(),
                "tools": list(kit.catalog.names()),
                "agents": sorted(kit.catalog.agents),
            }
        )

    async def _refresh(self, kit: Toolkit) -> None:
        """Refresh; what the server listens with and believes stays until it restarts.

        Raises:
            ToolkitError: The settings do not fit, or discovery fails; all stays.
        """
        now = kit.settings
        read = now if self._reload is None else await asyncio.to_thread(self._reload)
        await kit.arefresh(replace(read, server=now.server, auth=now.auth))

    @staticmethod
    async def _roll_back(kit: Toolkit) -> None:
        """Roll back, in a thread: another refresh may hold the lock.

        Raises:
            ToolkitError: There is nothing to go back to.
        """
        await asyncio.to_thread(kit.rollback)
