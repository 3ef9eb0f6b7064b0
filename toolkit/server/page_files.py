"""The page for people at ``/``: static files, with headers that keep it to itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

FOLDER: Final = Path(__file__).parent / "page"

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-cache",
}
"""Nothing from elsewhere is loaded, and nobody else shows the page in theirs.

Source: W3C Content Security Policy level 3; ``'self'`` in connect-src is the server's
own websocket too.
"""


class Page(StaticFiles):
    """Serves the files of the page, and nothing outside their folder."""

    def __init__(self) -> None:
        """Serve ``index.html`` for ``/``."""
        super().__init__(directory=FOLDER, html=True)

    def file_response(
        self,
        full_path: "str | os.PathLike[str]",
        *rest: Any,  # noqa: ANN401 - as Starlette hands them on
        **options: Any,  # noqa: ANN401 - as above
    ) -> Response:
        """Return a file, with the headers."""
        response = super().file_response(full_path, *rest, **options)
        response.headers.update(HEADERS)
        return response
