"""The chat backend: agents over websockets and HTTP. Needs the extra ``server``.

The only code that imports Starlette, uvicorn and websockets. `create_app` gives an
application for any ASGI server; `toolkit.server.serve` runs it in uvicorn.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.server.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    """Load `create_app` when it is first asked for.

    Raises:
        AttributeError: There is no such name.
        ModuleNotFoundError: A module of ours is missing.
        MissingExtraError: The extra is not installed.
    """
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from toolkit.errors import MissingExtraError  # noqa: PLC0415 - only here

    try:
        from toolkit.server.app import create_app  # noqa: PLC0415 - the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "toolkit":
            raise
        raise MissingExtraError(f"{__name__}.{name}", "server") from error
    return create_app
