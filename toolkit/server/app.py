"""`create_app`: the chat backend for any ASGI server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from toolkit.app import Toolkit
from toolkit.server.admin import Admin
from toolkit.server.backend import Backend
from toolkit.server.http import Pages, Runs
from toolkit.server.page_files import Page
from toolkit.server.refusals import MISPLACED, answer_misplaced
from toolkit.server.websocket import Chat
from toolkit.settings import Settings

STATE: Final = "toolkit_backend"
"""The `Backend` in the state of the application and of its lifespan."""


def create_app(
    settings: Settings | None = None,
    *,
    kit: Toolkit | None = None,
    reload: Callable[[], Settings] | None = None,
) -> Starlette:
    """Make the application. It serves nobody until its lifespan has begun.

    Args:
        settings: What the operator decided; by default the toolkit's own, else
            `Settings.load()`.
        kit: Where tools and agents come from; whoever made it closes it, and gives it
            the sinks that count its calls. Without one, the installed packages are
            discovered in a thread, while newcomers are told to come back, and closed at
            the end.
        reload: Reads the settings again when an administrator asks for it; what it
            raises of ours is their answer. By default `Settings.load` if nothing else
            was given here, else the settings stay as they are.

    Returns:
        An ASGI application. Run it where there is one event loop for each process.

    Raises:
        ConfigurationError: A setting does not fit, or there is no key to verify tokens
            by: there is no way to serve without.
        MissingExtraError: PyJWT or prometheus-client is not installed.
    """
    if settings is None and kit is None:
        reload = reload or Settings.load
    if settings is None:
        settings = Settings.load() if kit is None else kit.settings
    backend = Backend(settings, kit)
    app = Starlette(
        routes=_routes(backend, Admin(backend, reload)),
        exception_handlers=dict.fromkeys(MISPLACED, answer_misplaced),
        lifespan=_lifespan,
    )
    setattr(app.state, STATE, backend)
    return app


def _routes(backend: Backend, admin: Admin) -> list[BaseRoute]:
    health, pages = backend.health, Pages(backend)
    routes: list[BaseRoute] = [
        WebSocketRoute("/ws", Chat(backend).serve),
        Route("/agents/{name}/runs", Runs(backend), methods=["POST"]),
        Route("/health", health.all),
        Route("/health/live", health.live),
        Route("/health/ready", health.ready),
        Route("/metrics", pages.metrics),
        Route("/tools", pages.tools),
        Route("/report", pages.report),
        Route("/schema", pages.schema),
        Route("/admin/refresh", admin.refresh, methods=["POST"]),
        Route("/admin/rollback", admin.rollback, methods=["POST"]),
    ]
    if backend.server.page:
        routes.append(Mount("/", Page()))
    return routes


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Get ready, without anybody waiting for it; end everything."""
    backend: Backend = getattr(app.state, STATE)
    backend.start()
    try:
        yield {STATE: backend}
    finally:
        await backend.stop()
