"""A client that is not let in: which answer it gets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

_UNAUTHORIZED: Final = 401
_POLICY: Final = 1008
_TRY_LATER: Final = 1013
_SERVERS_FAULT: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a client is not let in. Immutable; holds no part of a token.

    Attributes:
        status: Of the HTTP response.
        code: Stable, for programs.
        message: For people, with the remedy.
        retry_after: Seconds to wait, where waiting helps.
    """

    status: int
    code: str
    message: str
    retry_after: float | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the fault is the server's."""
        return self.status >= _SERVERS_FAULT

    def response(self) -> JSONResponse:
        """Return it as a response over HTTP."""
        body = {"code": self.code, "message": self.message}
        headers = {"cache-control": "no-store"}
        if self.status == _UNAUTHORIZED:  # RFC 6750, section 3
            headers["www-authenticate"] = 'Bearer error="invalid_token"'
        if self.retry_after is None:
            return JSONResponse(body, self.status, headers)
        headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        return JSONResponse(
            {**body, "retry_after": self.retry_after}, self.status, headers
        )

    async def deny(self, websocket: WebSocket) -> None:
        """Answer a handshake with it; the connection never opens."""
        if "websocket.http.response" in websocket.scope.get("extensions", {}):
            await websocket.send_denial_response(self.response())
        else:  # the server can say no more than that
            await websocket.close(_TRY_LATER if self.is_ours else _POLICY, self.code)


MISPLACED: Final[Mapping[int, Refusal]] = {
    404: Refusal(
        status=404,
        code="not_found",
        message="there is nothing at this path; the websocket is at /ws",
    ),
    405: Refusal(
        status=405,
        code="method_not_allowed",
        message="this path does not take the method; see the header allow",
    ),
}
"""Requests that no route takes, by status."""


async def answer_misplaced(_: Request, error: Exception) -> JSONResponse:
    """Answer such a request like all others that are refused."""
    known = error if isinstance(error, HTTPException) else HTTPException(404)
    response = MISPLACED[known.status_code].response()
    response.headers.update(known.headers or {})
    return response
