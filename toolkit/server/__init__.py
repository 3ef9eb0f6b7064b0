"""The chat backend: agents over websockets and HTTP. Needs the extra ``server``.

The only code that imports Starlette, uvicorn and websockets. `create_app` gives an
application for any ASGI server; `serve` runs it in uvicorn.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.server.app import create_app
    from toolkit.server.serve import serve

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    """Load what is asked for; workers that are spawned import this, and little else.

    Raises:
        AttributeError: There is no such name.
        MissingExtraError: The extra is not installed.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only here

    from toolkit.errors import MissingExtraError  # noqa: PLC0415 - only here

    module = "app" if name == "create_app" else "serve"
    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "toolkit":
            raise
        raise MissingExtraError(f"{__name__}.{name}", "server") from error
