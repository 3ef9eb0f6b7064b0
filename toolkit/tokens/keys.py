"""The keys that tokens are verified by; the only code that imports PyJWT."""

import json
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from toolkit.backend_settings import AuthSettings
from toolkit.checks import HIDDEN
from toolkit.errors import (
    AuthenticationError,
    ConfigurationError,
    KeySourceError,
    MissingExtraError,
    describe_error,
)

FETCH_TIMEOUT: Final = 5.0
"""Seconds for the address of a key set to answer."""
KEYS_LIFESPAN: Final = 300.0
"""Seconds after which published keys are read again."""
REFRESH_INTERVAL: Final = 60.0
"""Seconds between two readings because of unknown keys: anybody can name one."""
RETRY_INTERVAL: Final = 5.0
"""Seconds from a failed reading to the next."""
KEYS_GRACE: Final = 3_600.0
"""Seconds that keys once read hold on while they cannot be read again."""
_READING: Final = (OSError, RecursionError, TypeError, ValueError)
"""What reading keys may raise, beside the library's own."""


def library() -> Any:  # noqa: ANN401 - the library's module
    """Return PyJWT.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import jwt  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        raise MissingExtraError("toolkit.tokens", "server") from error
    return jwt


def fixed_keys(jwt: Any, settings: AuthSettings) -> dict[str, object] | None:  # noqa: ANN401 - as above
    """Return the one key, as each algorithm takes it; None where keys are published.

    Raises:
        ConfigurationError: There is no key, it cannot be read, or it does not fit.
        MissingExtraError: cryptography is not installed.
    """
    if not settings.has_key:
        remedy = (
            "give a secret, or a public key by public_key_file, jwks_file or jwks_url, "
            "or run `toolkit serve --dev` on this machine"
        )
        raise ConfigurationError("auth.secret", None, remedy)
    try:
        algorithms = {
            one: jwt.get_algorithm_by_name(one) for one in settings.algorithms
        }
    except NotImplementedError as error:
        raise MissingExtraError("toolkit.tokens", "server") from error
    if settings.secret is not None:
        return dict.fromkeys(algorithms, settings.secret)
    if settings.public_key_file is not None:
        text = _public_key(settings.public_key_file)
        return {name: _fitting(one, name, text) for name, one in algorithms.items()}
    return None


def _public_key(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = f"cannot be read ({error}); name a PEM file with a public key"
        raise ConfigurationError("auth.public_key_file", path, remedy) from error
    if "PUBLIC KEY-----" not in text or "PRIVATE" in text:
        remedy = (
            "name a PEM file with a public key and no other, as this writes: "
            "openssl pkey -in key.pem -pubout"
        )
        raise ConfigurationError("auth.public_key_file", path, remedy)
    return text


def _fitting(algorithm: Any, name: str, text: str) -> object:  # noqa: ANN401 - the library's
    """Return the key if this algorithm takes it."""
    try:
        key: object = algorithm.prepare_key(text)
    except (TypeError, ValueError, library().PyJWTError):
        remedy = "give only algorithms that the key in public_key_file is made for"
        raise ConfigurationError("auth.algorithms", name, remedy) from None
    weakness = algorithm.check_key_length(key)
    if weakness:
        remedy = f"give a longer key. {weakness}"
        raise ConfigurationError("auth.public_key_file", HIDDEN, remedy)
    return key


class PublishedKeys:
    """A published set of keys, read again when it is old or lacks a key.

    One for a verifier; thread-safe. A key that is no longer published is gone with the
    next reading.

    Args:
        settings: Where the keys are published.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: The file cannot be used.
    """

    def __init__(self, settings: AuthSettings, clock: Callable[[], float]) -> None:
        """Read a file at once; an address is read when a token first needs it."""
        self._settings = settings
        self._clock = clock
        self._reading = threading.Lock()
        self._keys: Mapping[tuple[str, str], Any] = {}
        self._kids: frozenset[str] = frozenset()
        self._read_at = self._next_at = -math.inf
        self._failure = ""
        if settings.jwks_file is not None:
            self.refresh("")
            if self._failure:
                remedy = f"cannot be used ({self._failure}); name a JSON Web Key Set"
                raise ConfigurationError("auth.jwks_file", settings.jwks_file, remedy)

    def is_due(self, kid: str) -> bool:
        """Tell whether the keys are to be read before one is looked up."""
        now = self._clock()
        is_old = now - self._read_at >= KEYS_LIFESPAN
        return (is_old or kid not in self._kids) and now >= self._next_at

    def refresh(self, kid: str) -> None:
        """Read the keys if they are due.

        One reads at a time. Whose key is not known waits for that; the others go on
        with the key they know.
        """
        if not self.is_due(kid) or not self._reading.acquire(
            blocking=kid not in self._kids
        ):
            return
        try:
            if self.is_due(kid):
                self._read()
        finally:
            self._reading.release()

    def _read(self) -> None:
        try:
            keys = self._usable(self._load())
        except (*_READING, library().PyJWTError) as error:
            self._failure = describe_error(error)
            self._next_at = self._clock() + RETRY_INTERVAL
        else:
            self._keys, self._kids = keys, frozenset(kid for kid, _ in keys)
            self._failure = ""
            self._read_at = self._clock()
            self._next_at = self._read_at + REFRESH_INTERVAL

    def find(self, kid: str, algorithm: str) -> object:
        """Return a key, for one algorithm only.

        Raises:
            AuthenticationError: It is not published, or for another algorithm.
            KeySourceError: Nobody knows: the keys cannot be read.
        """
        if self._clock() - self._read_at < KEYS_GRACE:
            if (kid, algorithm) in self._keys:
                return self._keys[kid, algorithm]
            if kid in self._kids:
                raise AuthenticationError("wrong_algorithm")
            if not self._failure:
                raise AuthenticationError("unknown_key")
        source = "jwks_url" if self._settings.jwks_url else "jwks_file"
        raise KeySourceError(f"auth.{source}", self._failure)

    def _load(self) -> Any:  # noqa: ANN401 - to be judged
        if self._settings.jwks_file is not None:
            return json.loads(Path(self._settings.jwks_file).read_bytes())
        url = str(self._settings.jwks_url)
        client = library().PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_TIMEOUT)
        return client.fetch_data()

    def _usable(self, found: Any) -> dict[tuple[str, str], Any]:  # noqa: ANN401 - as above
        """Bind each published key to the algorithms that it is for."""
        entries = found.get("keys") if isinstance(found, dict) else None
        keys = {
            (entry["kid"], algorithm): key
            for entry in (entries if isinstance(entries, list) else ())
            if _is_for_verifying(entry)
            for algorithm in self._settings.algorithms
            if (key := _bound(entry, algorithm)) is not None
        }
        if not keys:
            text = "it has no public key with a kid for one of auth.algorithms"
            raise ValueError(text)
        return keys


def _is_for_verifying(entry: object) -> bool:
    """Tell whether an entry is a public key that says it may verify signatures."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("kid"), str)
        and entry["kid"] != ""
        and entry.get("use", "sig") == "sig"
        and "verify" in entry.get("key_ops", ["verify"])
        and not {"d", "k"} & entry.keys()  # private, or symmetric: no longer a secret
    )


def _bound(entry: dict[str, Any], algorithm: str) -> object:
    """Return the key for this algorithm; None if it is for another, or too weak."""
    jwt = library()
    if entry.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(entry, algorithm)
        key.Algorithm.prepare_key(key.key)
    except (jwt.PyJWTError, TypeError, ValueError):
        return None
    return None if key.Algorithm.check_key_length(key.key) else key
