"""Who may come in: a token is verified before anything else is done for a client."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from toolkit.errors import AuthenticationError, KeySourceError
from toolkit.server.connections import Connections, source_of
from toolkit.server.refusals import Refusal
from toolkit.tokens import Identity, TokenVerifier

SUBPROTOCOL: Final = "toolkit.v1"
"""What is spoken on a websocket; see `toolkit.session.messages`."""

BEARER: Final = "bearer."
"""How the subprotocol begins that carries a token: browsers can set no header."""

IN_QUERY: Final = frozenset({"access_token", "jwt", "token"})
"""Names of parameters that hold a token where people do not know better."""


class Gate:
    """Lets clients in. One for a process."""

    def __init__(
        self,
        verifier: TokenVerifier,
        connections: Connections,
        allowed_origins: frozenset[str],
    ) -> None:
        """Keep what to judge by."""
        self._verifier = verifier
        self._connections = connections
        self._origins = allowed_origins

    async def identify(self, connection: HTTPConnection) -> Identity | Refusal:
        """Return who a client is, or why it is not let in. Runs no plugin's code."""
        source = source_of(connection.client and connection.client.host)
        refusal = self._connections.knock(source)
        if refusal is not None:
            return refusal
        token = token_of(connection)
        if isinstance(token, Refusal):
            return token
        try:
            return await self.verify(token, source)
        except AuthenticationError as error:
            return Refusal(status=401, code=error.reason, message=str(error))
        except KeySourceError:
            text = "tokens cannot be verified now; try again"
            return Refusal(
                status=503, code=KeySourceError.code, message=text, retry_after=5.0
            )

    async def verify(self, token: str, source: str) -> Identity:
        """Return who a token says its bearer is; a refused one counts for its source.

        Raises:
            AuthenticationError: It is refused.
            KeySourceError: The keys cannot be had.
        """
        try:
            return await self._verifier.averify(token)
        except AuthenticationError as error:
            if error.reason != "missing":
                self._connections.failed_logins.take(source)
            raise

    def judge_origin(self, connection: HTTPConnection) -> Refusal | None:
        """Return why a page may not connect; programs have no origin, and may.

        Source: RFC 6455, section 10.2.
        """
        origin = connection.headers.get("origin")
        if origin is None or origin.lower() in self._origins:
            return None
        host = connection.headers.get("host", "").lower()
        if host and _host_of(origin.lower()) == host:
            return None
        text = (
            "pages of this origin may not connect; its server can allow it in "
            "server.allowed_origins"
        )
        return Refusal(status=403, code="foreign_origin", message=text)


def _host_of(origin: str) -> str:
    """Return the host and port of an origin; empty where it is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def token_of(connection: HTTPConnection) -> str | Refusal:
    """Return the token a client shows, empty without one, or what is wrong with how.

    Source: RFC 6750, section 2: one way at a time; addresses get into logs.
    """
    if IN_QUERY & {name.lower() for name in connection.query_params}:
        text = "send the token in the Authorization header, never in the address"
        return Refusal(status=400, code="token_in_query", message=text)
    shown = [
        one.removeprefix(BEARER)
        for one in connection.scope.get("subprotocols", ())
        if one.startswith(BEARER)
    ]
    for header in connection.headers.getlist("authorization"):
        scheme, _, token = header.partition(" ")
        shown.append(token.strip() if scheme.lower() == "bearer" else "")
    if len(shown) > 1:
        text = "send one token, in the Authorization header or as a subprotocol"
        return Refusal(status=400, code="several_tokens", message=text)
    return shown[0] if shown else ""
