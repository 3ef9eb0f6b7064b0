"""The tables ``[server]``, ``[auth]`` and ``[agents]`` of the settings.

Plain frozen dataclasses with checks, as `Settings` itself, which holds one of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from toolkit import checks
from toolkit.errors import ConfigurationError

LogFormat = Literal["json", "text"]

SECRET_BYTES: Final[Mapping[str, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Algorithms that take a secret, and how long it has to be; RFC 7518, section 3.2."""
PUBLIC_KEY_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Algorithms whose tokens are verified by a public key."""
MAX_LEEWAY: Final = 300.0
"""Seconds; clocks that differ by more are to be mended, not allowed for."""
_LAST_PORT: Final = 65_535


def _port(name: str, value: Any) -> int:  # noqa: ANN401 - to be judged
    if type(value) is not int or not 0 <= value <= _LAST_PORT:
        remedy = f"give a port from 1 to {_LAST_PORT}, or 0 for any that is free"
        raise ConfigurationError(name, value, remedy)
    return value


def _leeway(name: str, value: Any) -> float:  # noqa: ANN401 - to be judged
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_LEEWAY:
        remedy = f"give seconds from 0 to {MAX_LEEWAY:.0f}"
        raise ConfigurationError(name, value, remedy)
    return float(value)


def _origins(name: str, value: object) -> frozenset[str]:
    origins: frozenset[str] = checks.name_set(name, value)
    for origin in origins:
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not host or set(host) & set("/*?#@"):
            remedy = "give origins such as https://chat.example.com, each in full"
            raise ConfigurationError(name, origin, remedy)
    return frozenset(origin.lower() for origin in origins)


def _secret(name: str, value: object) -> str | None:
    if isinstance(value, str) and "-----BEGIN" in value:
        remedy = "this is a key, not a secret; give its file as public_key_file"
        raise ConfigurationError(name, checks.HIDDEN, remedy)
    secret: str | None = checks.optional_text(name, value)
    return secret


def _key_url(name: str, value: object) -> str | None:
    url: str | None = checks.optional_text(name, value)
    if url is not None and not _is_safe_url(url):
        remedy = "give an https address without a password in it (http: loopback only)"
        raise ConfigurationError(name, checks.HIDDEN, remedy)
    return url


def _is_safe_url(url: str) -> bool:
    """Tell whether what is fetched from there is what its owner put there."""
    scheme, host = _scheme_and_host(url)
    return bool(host) and (scheme == "https" or is_loopback(host))


def _model_url(name: str, value: object) -> str | None:
    url: str | None = checks.optional_text(name, value)
    if url is not None and not _scheme_and_host(url)[1]:
        remedy = "give an http or https address without a password in it"
        raise ConfigurationError(name, checks.HIDDEN, remedy)
    return url


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Take an address apart; the host is empty where it is no plain web address."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only where an address is given

    try:
        parts = urlsplit(url)
        is_plain = parts.username is None and parts.password is None and parts.port != 0
    except ValueError:
        return "", ""
    is_plain = is_plain and parts.scheme in ("http", "https")
    return parts.scheme, (parts.hostname or "") if is_plain else ""


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address can only mean this machine."""
    from ipaddress import ip_address  # noqa: PLC0415 - as above

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _algorithms(name: str, value: object) -> tuple[str, ...]:
    algorithms: tuple[str, ...] = checks.name_tuple(name, value)
    kinds = [set(algorithms) <= set(kind) for kind in (SECRET_BYTES, _PUBLIC)]
    if not algorithms or not any(kinds):
        remedy = (
            f"give some of {', '.join(SECRET_BYTES)} (with a secret), or some of "
            f"{', '.join(_PUBLIC)} (with a public key); never both kinds"
        )
        raise ConfigurationError(name, value, remedy)
    return algorithms


_PUBLIC: Final = frozenset(PUBLIC_KEY_ALGORITHMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(checks.Table):
    """How the chat backend serves. Immutable; one for a process.

    Attributes:
        host: The address to listen at.
        port: The port; 0 takes any that is free.
        workers: Processes that serve.
        allowed_origins: Origins of pages that may connect, beside the server's own.
        max_message_bytes: Size of the largest message a client may send.
        messages_per_minute: Messages that one user may send in a minute; each 16 KiB of
            a larger one count as one.
        connects_per_minute: Connections that one address may open in a minute.
        failed_logins_per_minute: Refused tokens of one address in a minute, beyond
            which it is told to wait.
        max_connections: Connections at once, in each process; newcomers beyond are
            refused.
        max_connections_per_user: Those of one user.
        max_runs_per_connection: Runs at once on one connection.
        max_outbound_messages: Messages that may wait for one slow client.
        max_outbound_bytes: Their size.
        slow_consumer_timeout: Seconds that a client may take nothing before it is
            let go.
        heartbeat: Seconds after which a run that is silent says that it is alive.
        ping_interval: Seconds between two pings of a connection.
        ping_timeout: Seconds that the answer to one may take.
        run_timeout: Seconds for one run.
        drain_timeout: Seconds that runs may go on when the server is told to stop.
        cleanup_timeout: Seconds that the end of a connection may take.
        max_invalid_messages: Messages a client may get wrong on one connection.
        tls_certificate: PEM file with the certificate and its chain.
        tls_key: PEM file with its key.
        admin_scope: The scope of those who may read the report and, from elsewhere,
            the metrics, and refresh the catalog or roll it back.
        log_format: ``json``, one object a line, or ``text`` for people.
        page: Whether the page for people is served at ``/``.

    Raises:
        ConfigurationError: A value has the wrong type or is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    allowed_origins: frozenset[str] = frozenset()
    max_message_bytes: int = 1_048_576
    messages_per_minute: int = 600
    connects_per_minute: int = 600
    failed_logins_per_minute: int = 30
    max_connections: int = 2_000
    max_connections_per_user: int = 10
    max_runs_per_connection: int = 4
    max_outbound_messages: int = 1_024
    max_outbound_bytes: int = 1_048_576
    slow_consumer_timeout: float = 10.0
    heartbeat: float = 4.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    run_timeout: float = 120.0
    drain_timeout: float = 10.0
    cleanup_timeout: float = 5.0
    max_invalid_messages: int = 20
    tls_certificate: str | None = None
    tls_key: str | None = None
    admin_scope: str = "toolkit:admin"
    log_format: LogFormat = "json"
    page: bool = True

    table: ClassVar[str] = "server"
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "host": checks.text,
        "port": _port,
        "workers": checks.count,
        "allowed_origins": checks.Check(_origins, checks.name_set.read),
        "max_message_bytes": checks.count,
        "messages_per_minute": checks.count,
        "connects_per_minute": checks.count,
        "failed_logins_per_minute": checks.count,
        "max_connections": checks.count,
        "max_connections_per_user": checks.count,
        "max_runs_per_connection": checks.count,
        "max_outbound_messages": checks.count,
        "max_outbound_bytes": checks.count,
        "slow_consumer_timeout": checks.seconds,
        "heartbeat": checks.seconds,
        "ping_interval": checks.seconds,
        "ping_timeout": checks.seconds,
        "run_timeout": checks.seconds,
        "drain_timeout": checks.seconds,
        "cleanup_timeout": checks.seconds,
        "max_invalid_messages": checks.count,
        "tls_certificate": checks.optional_text,
        "tls_key": checks.optional_text,
        "admin_scope": checks.text,
        "log_format": checks.one_of(LogFormat),
        "page": checks.flag,
    }

    def __post_init__(self) -> None:
        """Check every field, and that a certificate has its key."""
        checks.Table.__post_init__(self)
        if (self.tls_certificate is None) != (self.tls_key is None):
            absent = "tls_key" if self.tls_key is None else "tls_certificate"
            remedy = "give both tls_certificate and tls_key, or neither"
            raise ConfigurationError(f"server.{absent}", None, remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings(checks.Table):
    """Which tokens the chat backend believes. Immutable; one for a process.

    Attributes:
        algorithms: The only signatures that are accepted: of the kind that takes a
            secret, or of the kind that takes a public key, never of both.
        secret: The shared secret of HS256, HS384 or HS512: 32, 48 or 64 bytes or more,
            made at random.
        public_key_file: PEM file with the public key that verifies.
        jwks_file: File with a JSON Web Key Set.
        jwks_url: Address of one; https, or http on this machine. It is fetched again
            when a token names a key that is not known.
        issuer: Who must have issued a token, its ``iss``.
        audience: For whom it must be meant, its ``aud``.
        token_types: What its ``typ`` may be, in any case.
        max_lifetime: Seconds from ``iat`` to ``exp`` at most.
        leeway: Seconds that clocks may differ.
        scope_claim: The claim with the scopes: a text with spaces, or a list.
        roles_claim: The claim with the roles, likewise.
        token_lifetime: Seconds that a development token lives.

    Raises:
        ConfigurationError: A value has the wrong type or is out of range, there are
            several keys, or the key does not fit the algorithms. The secret is never in
            it.
    """

    algorithms: tuple[str, ...] = ("HS256",)
    secret: str | None = field(default=None, repr=False)
    public_key_file: str | None = None
    jwks_file: str | None = None
    jwks_url: str | None = None
    issuer: str = "toolkit"
    audience: str = "toolkit"
    token_types: tuple[str, ...] = ("at+jwt", "JWT")
    max_lifetime: float = 86_400.0
    leeway: float = 10.0
    scope_claim: str = "scope"
    roles_claim: str = "roles"
    token_lifetime: float = 3_600.0

    table: ClassVar[str] = "auth"
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "algorithms": checks.Check(_algorithms, checks.name_tuple.read),
        "secret": checks.Check(_secret, str),
        "public_key_file": checks.optional_text,
        "jwks_file": checks.optional_text,
        "jwks_url": checks.Check(_key_url, str),
        "issuer": checks.text,
        "audience": checks.text,
        "token_types": checks.name_tuple,
        "max_lifetime": checks.seconds,
        "leeway": _leeway,
        "scope_claim": checks.text,
        "roles_claim": checks.text,
        "token_lifetime": checks.seconds,
    }

    def __post_init__(self) -> None:
        """Check every field, and that the key fits the algorithms."""
        checks.Table.__post_init__(self)
        keys = self._keys()
        if len(keys) > 1:
            remedy = f"give one source of keys, not {' and '.join(keys)}"
            raise ConfigurationError(f"auth.{keys[1]}", checks.HIDDEN, remedy)
        if keys and (keys == ["secret"]) != self.takes_secret:
            kind = SECRET_BYTES if keys == ["secret"] else PUBLIC_KEY_ALGORITHMS
            remedy = f"with {keys[0]}, give some of {', '.join(kind)}"
            raise ConfigurationError("auth.algorithms", self.algorithms, remedy)
        if self.secret is not None:
            self._check_length(self.secret)
        if self.token_lifetime > self.max_lifetime:
            remedy = f"give at most auth.max_lifetime, {self.max_lifetime:g} seconds"
            raise ConfigurationError("auth.token_lifetime", self.token_lifetime, remedy)

    @property
    def takes_secret(self) -> bool:
        """Whether the algorithms are of the kind that takes a secret."""
        return self.algorithms[0] in SECRET_BYTES

    @property
    def has_key(self) -> bool:
        """Whether there is a key at all; without one, no token can be believed."""
        return bool(self._keys())

    def _keys(self) -> list[str]:
        sources = ("secret", "public_key_file", "jwks_file", "jwks_url")
        return [name for name in sources if getattr(self, name) is not None]

    def _check_length(self, secret: str) -> None:
        least = max(SECRET_BYTES[name] for name in self.algorithms)
        if len(secret.encode()) < least:
            remedy = (
                f"give {least} bytes or more, at random, such as this prints: "
                "python -c 'import secrets; print(secrets.token_hex(32))'"
            )
            raise ConfigurationError("auth.secret", checks.HIDDEN, remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings(checks.Table):
    """The language model that agents may reason with. Immutable.

    Attributes:
        name: The model, as pydantic-ai calls it, such as ``openai:gpt-5``.
        base_url: Address of another server that speaks the same protocol.
        api_key: The key for it; by default what the provider's own variable holds.
        max_steps: Requests to the model for one answer, at most.

    Raises:
        ConfigurationError: A value has the wrong type or is out of range. Never holds
            the key.
    """

    name: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    max_steps: int = 12

    table: ClassVar[str] = "agents.model"
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "name": checks.text,
        "base_url": checks.Check(_model_url, str),
        "api_key": checks.optional_text,
        "max_steps": checks.count,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(checks.Table):
    """How agents answer. Immutable; one for a process.

    Attributes:
        model: The table ``[agents.model]``; without it agents work by their own rules.
        default_agent: Who answers a request that names no agent, or one that is not.

    Raises:
        ConfigurationError: A value has the wrong type or is out of range.
    """

    model: ModelSettings | None = None
    default_agent: str = "triage_agent"

    table: ClassVar[str] = "agents"
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "model": checks.TableCheck(ModelSettings, is_optional=True),
        "default_agent": checks.text,
    }
