"""Verifying a token: from a text that anybody may have sent to who sent it."""

import time
from collections.abc import Callable
from typing import Any, Final

from toolkit.backend_settings import AuthSettings
from toolkit.errors import AuthenticationError, InvalidUserContextError
from toolkit.tokens.identity import Identity
from toolkit.tokens.keys import PublishedKeys, fixed_keys, library

REQUIRED_CLAIMS: Final = ("exp", "iat", "sub", "aud", "iss")
"""Without `exp` a token lives for ever, without `iat` its age is anybody's guess."""
MAX_TOKEN_BYTES: Final = 16_384


class TokenVerifier:
    """Verifies tokens by one operator's settings. One for a process; thread-safe.

    Args:
        settings: The keys, and what a token must have.
        clock: Monotonic seconds, for when published keys are read again.

    Raises:
        ConfigurationError: There is no key, it cannot be read, or it does not fit the
            algorithms.
        MissingExtraError: PyJWT or cryptography is not installed.
    """

    def __init__(
        self, settings: AuthSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the keys; those at an address are read when a token first needs them."""
        self._jwt = library()
        self._settings = settings
        self._types = frozenset(map(_media_type, settings.token_types))
        self._fixed = fixed_keys(self._jwt, settings)
        self._published = None if self._fixed else PublishedKeys(settings, clock)

    def __repr__(self) -> str:
        """Name the algorithms."""
        return f"<TokenVerifier {', '.join(self._settings.algorithms)}>"

    def verify(self, token: object) -> Identity:
        """Return who a token says its bearer is.

        May wait `FETCH_TIMEOUT` for published keys; on an event loop, use `averify`.

        Raises:
            AuthenticationError: It is refused; the reason is a code.
            KeySourceError: The published keys cannot be had.
        """
        text, header = self._open(token)
        algorithm = header["alg"]
        if self._published is None:
            return self._identity(text, (self._fixed or {})[algorithm])
        kid = header.get("kid", "")
        self._published.refresh(kid)
        return self._identity(text, self._published.find(kid, algorithm))

    async def averify(self, token: object) -> Identity:
        """Return the same as `verify`; keys are read without blocking the event loop.

        Raises:
            AuthenticationError: It is refused; the reason is a code.
            KeySourceError: The published keys cannot be had.
        """
        if self._published is not None:
            kid = self._open(token)[1].get("kid", "")
            if self._published.is_due(kid):
                import asyncio  # noqa: PLC0415 - heavy, and loaded where there is a loop

                await asyncio.to_thread(self._published.refresh, kid)
        return self.verify(token)

    def _open(self, token: object) -> tuple[str, dict[str, Any]]:
        """Return the token and its header, which nobody has vouched for yet."""
        if not token:
            raise AuthenticationError("missing")
        if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES:
            raise AuthenticationError("malformed")
        try:
            header: dict[str, Any] = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, ValueError):
            raise AuthenticationError("malformed") from None  # it may quote the token
        if header.get("alg") not in self._settings.algorithms:
            raise AuthenticationError("wrong_algorithm")
        if "crit" in header:  # names extensions that must be understood: none is
            raise AuthenticationError("malformed")
        if _media_type(header.get("typ")) not in self._types:
            raise AuthenticationError("wrong_type")
        return token, header

    def _identity(self, token: str, key: object) -> Identity:
        claims = self._claims(token, key)
        expires_at, issued_at = (_time(claims[name]) for name in ("exp", "iat"))
        if expires_at - issued_at > self._settings.max_lifetime:
            raise AuthenticationError("lives_too_long")
        email, token_id = claims.get("email"), claims.get("jti")
        identity = Identity(
            claims["sub"],
            email=email if isinstance(email, str) and email else None,
            scopes=_names(claims.get(self._settings.scope_claim)),
            roles=_names(claims.get(self._settings.roles_claim)),
            expires_at=expires_at,
            token_id=token_id,
        )
        try:
            identity.context()
        except InvalidUserContextError:
            raise AuthenticationError("bad_subject") from None
        return identity

    def _claims(self, token: str, key: object) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = self._jwt.decode(
                token,
                key,
                algorithms=self._settings.algorithms,
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway,
                options={
                    "require": list(REQUIRED_CLAIMS),
                    "enforce_minimum_key_length": True,
                },
            )
        except self._jwt.PyJWTError as error:
            raise AuthenticationError(_reason(self._jwt, error)) from None
        return claims


def extract_user_id_from_token(token: object, verifier: TokenVerifier) -> str:
    """Return whose token it is, once it has been verified.

    Raises:
        AuthenticationError: It is refused; the reason is a code.
        KeySourceError: The published keys cannot be had.
    """
    return verifier.verify(token).user_id


def _reason(jwt: Any, error: Exception) -> str:  # noqa: ANN401 - the library's module
    """Return the code for what the library found; it says no more of a token."""
    reasons = {
        jwt.ExpiredSignatureError: "expired",
        jwt.ImmatureSignatureError: "not_yet_valid",
        jwt.InvalidAlgorithmError: "wrong_algorithm",
        jwt.InvalidAudienceError: "wrong_audience",
        jwt.InvalidIssuerError: "wrong_issuer",
        jwt.InvalidSignatureError: "bad_signature",
        jwt.MissingRequiredClaimError: "missing_claim",
        jwt.exceptions.InvalidSubjectError: "bad_subject",
    }
    return reasons.get(type(error), "malformed")


def _media_type(name: object) -> str:
    """Return a ``typ`` as it is compared; RFC 7515, section 4.1.9."""
    return str(name or "").lower().removeprefix("application/")


def _time(value: object) -> float:
    """Return a NumericDate; the library takes texts of digits too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AuthenticationError("malformed")
    return float(value)


def _names(value: object) -> frozenset[str]:
    """Return names from a text with spaces (RFC 8693, section 4.2), or from a list."""
    names = value.split() if isinstance(value, str) else value or ()
    if not isinstance(names, list | tuple) or not all(
        isinstance(name, str) and name for name in names
    ):
        raise AuthenticationError("malformed")
    return frozenset(names)
