"""Minting tokens, for development and tests."""

import time
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from toolkit.backend_settings import AuthSettings
from toolkit.context import UserContext
from toolkit.errors import ConfigurationError, InvalidUserContextError
from toolkit.tokens.keys import library


def mint_token(
    settings: AuthSettings,
    *,
    user_id: str,
    scopes: Iterable[str] = (),
    roles: Iterable[str] = (),
    email: str | None = None,
    lifetime: float | None = None,
) -> str:
    """Return a token that a verifier with the same settings believes.

    For development and tests: whoever has the secret can be anybody.

    Args:
        settings: The secret, and what a token must have.
        user_id: Who.
        scopes: Scope names.
        roles: Role names.
        email: Their e-mail address.
        lifetime: Seconds; by default `AuthSettings.token_lifetime`.

    Raises:
        ConfigurationError: There is no secret, or `lifetime` is not allowed.
        InvalidUserContextError: `user_id` identifies nobody, or scopes or roles are not
            names.
        MissingExtraError: PyJWT is not installed.
    """
    secret = _signing_secret(settings)
    user = UserContext(user_id, scopes=_set(scopes), roles=_set(roles))
    if any(name.split() != [name] for name in user.scopes):
        raise InvalidUserContextError("scopes", "holds a name with a space")
    lived = settings.token_lifetime if lifetime is None else lifetime
    if not 0 < lived <= settings.max_lifetime:
        remedy = f"give seconds up to auth.max_lifetime, {settings.max_lifetime:g}"
        raise ConfigurationError("lifetime", lifetime, remedy)
    now = int(time.time())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": user.user_id,
        "client_id": settings.issuer,  # required by RFC 9068, section 2.2
        "iat": now,
        "exp": now + max(int(lived), 1),
        "jti": uuid4().hex,
        settings.scope_claim: " ".join(sorted(user.scopes)),
        settings.roles_claim: sorted(user.roles),
    }
    if email is not None:
        claims["email"] = email
    token: str = library().encode(
        claims,
        secret,
        algorithm=settings.algorithms[0],
        headers={"typ": settings.token_types[0]},
    )
    return token


def _set(names: Iterable[str]) -> Any:  # noqa: ANN401 - judged by the user context
    return names if isinstance(names, str) else frozenset(names)


def _signing_secret(settings: AuthSettings) -> str:
    if not settings.takes_secret:
        remedy = (
            "tokens are signed by whoever has the private key; ask them for one, or "
            "develop with HS256 and a secret"
        )
        raise ConfigurationError("auth.algorithms", settings.algorithms, remedy)
    if settings.secret is None:
        remedy = (
            "give one of 32 bytes or more, as TOOLKIT_AUTH__SECRET or in the file; "
            "this prints one: python -c 'import secrets; print(secrets.token_hex(32))'"
        )
        raise ConfigurationError("auth.secret", None, remedy)
    return settings.secret
