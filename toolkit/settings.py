"""`Settings`: the one typed place for everything an operator can set.

A plain frozen dataclass rather than a pydantic model, because listing plugins must not
load pydantic. Values are checked here, once; the rest of the code trusts them.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from toolkit.errors import ConfigurationError

Collisions = Literal["refuse", "qualify"]
FirstContact = Literal["child", "in_process"]
Trust = Literal["installed", "locked"]
ExecutorName = Literal["inline", "threads", "process", "sandbox"]

FILE_NAME: Final = "toolkit.toml"
PREFIX: Final = "TOOLKIT_"
LEAST_MEMORY: Final = 268_435_456
"""Bytes that a child process of first contact needs for itself, and some for others."""
_SLIP: Final = 0.86  # similarity, prefix included: one or two letters off

REDACTED_FIELDS: Final = frozenset(
    {
        *("password", "passwd", "passphrase", "secret", "client_secret"),
        *("token", "access_token", "refresh_token", "id_token"),
        *("api_key", "apikey", "private_key", "credentials"),
        *("authorization", "cookie", "set-cookie"),
    }
)
"""Argument names whose values never leave in an event, compared whole, without case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLimit:
    """How much one tool may be called. Immutable; None means no limit.

    Attributes:
        concurrent: Calls running at once, of all users together.
        per_minute: Calls a minute, of all users together.
        concurrent_per_user: Calls running at once, of each user.
        per_minute_per_user: Calls a minute, of each user.
    """

    concurrent: int | None = None
    per_minute: int | None = None
    concurrent_per_user: int | None = None
    per_minute_per_user: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator decides. Immutable; one for a process.

    Attributes:
        allow: Distributions that may be imported; None means all installed ones.
        deny: Distributions that are never imported; wins over `allow`.
        modules: Modules and packages scanned beside the entry points, imported in this
            process; none is, where `trust` is ``locked``.
        prefer: Which distribution has a tool name that several claim.
        collisions: ``refuse`` reports a collision that `prefer` does not settle as a
            fault; ``qualify`` accepts that all claimants go by qualified name.
        role_scopes: The scopes that each role brings.
        allow_tools: Names or qualified names of the only tools users get; None: all.
        deny_tools: Names or qualified names of tools that nobody gets.
        default_timeout: Seconds for a call that names no shorter time; None: no limit.
        max_concurrent_calls: Calls one user may have running at once, over all of
            their tool systems; more wait. A call that ends without ever waiting for
            anything does not count.
        max_queued_calls: Calls that may wait, for each user and for each limited tool;
            more are refused.
        calls_per_minute: Calls that one user may start in a minute; None: no limit.
        tool_limits: How much single tools may be called: by name, a mapping with
            ``concurrent``, ``per_minute``, ``concurrent_per_user`` or
            ``per_minute_per_user``.
        executors: How tools run, by name of a tool or of a distribution: ``inline`` on
            the event loop, in ``threads``, in a ``process`` of their own, in a
            ``sandbox``. By default async tools run inline, and others in threads.
        max_threads: Worker threads for synchronous tools, for the whole process.
        max_threads_per_user: Those that one user may have at once.
        max_late_threads: Threads that are replaced while the tool in them runs on after
            its deadline; further ones take the place of others.
        max_workers: Worker processes, for the whole process.
        worker_memory_bytes: Memory that one of them may take.
        approve_tools: Names or qualified names of tools whose every call waits until
            somebody approves it.
        approve_destructive: Whether tools that say they are destructive wait as well.
        approval_timeout: Seconds that a call waits for approval.
        retries: How often a call is repeated when the tool failed, at most, where the
            tool says that it is idempotent.
        retry_delay: Seconds before the first repetition; they double each time.
        show_tool_errors: Whether callers are told the text of what a tool raised.
        max_result_bytes: Size of a result's JSON beyond which it is cut and flagged.
        tracing: Whether calls are traced, where the OpenTelemetry API is installed and
            the application has set a provider before a tool system is first used.
        redact_fields: Argument names whose values are blanked out in events.
        strict: Whether discovery raises all its faults at the end.
        cache: Whether what is found is kept for the next start.
        first_contact: Where a package that is not yet known is imported and judged:
            ``child`` is a process of its own, ``in_process`` is this one.
        contact_timeout: Seconds that one package may take in that child process.
        contact_memory_bytes: Memory that the child process may take.
        tolerate: Distributions that may leave threads, exit handlers or changed
            functions of others behind when they are imported.
        trust: ``installed`` imports what is installed; ``locked`` only what is as
            `lock_file` says.
        lock_file: The file that ``toolkit lock`` writes.

    Raises:
        ConfigurationError: A value has the wrong type or is out of range; the error
            names the setting and what would do.
    """

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    prefer: Mapping[str, str] = field(default_factory=dict, hash=False)
    collisions: Collisions = "refuse"
    role_scopes: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    allow_tools: frozenset[str] | None = None
    deny_tools: frozenset[str] = frozenset()
    default_timeout: float | None = 30.0
    max_concurrent_calls: int = 64
    max_queued_calls: int = 256
    calls_per_minute: int | None = None
    tool_limits: Mapping[str, ToolLimit] = field(default_factory=dict, hash=False)
    executors: Mapping[str, ExecutorName] = field(default_factory=dict, hash=False)
    max_threads: int = 32
    max_threads_per_user: int = 8
    max_late_threads: int = 32
    max_workers: int = 4
    worker_memory_bytes: int = 1_073_741_824
    approve_tools: frozenset[str] = frozenset()
    approve_destructive: bool = False
    approval_timeout: float = 300.0
    retries: int = 0
    retry_delay: float = 0.1
    show_tool_errors: bool = False
    max_result_bytes: int = 1_048_576
    tracing: bool = True
    redact_fields: frozenset[str] = REDACTED_FIELDS
    strict: bool = False
    cache: bool = True
    first_contact: FirstContact = "in_process"
    contact_timeout: float = 10.0
    contact_memory_bytes: int = 2_147_483_648
    tolerate: frozenset[str] = frozenset()
    trust: Trust = "installed"
    lock_file: str = "toolkit.lock"

    def __post_init__(self) -> None:
        """Check and normalise every field."""
        for item in fields(self):
            check = _CHECKS[item.name]
            value = check(item.name, getattr(self, item.name))
            object.__setattr__(self, item.name, value)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **defaults: Any,  # noqa: ANN401 - any setting
    ) -> "Settings":
        """Read ``toolkit.toml``, then let ``TOOLKIT_*`` variables override it.

        Args:
            path: The file; by default ``$TOOLKIT_CONFIG``, else ``toolkit.toml`` in
                the working directory where there is one.
            environ: Instead of the process's environment. Lists are separated by
                commas; mappings are JSON objects.
            **defaults: Settings that hold where neither the file nor a variable says
                anything.

        Raises:
            ConfigurationError: The file is missing though named, is not TOML, has an
                unknown setting, a value does not fit, or a variable is nearly called
                like a setting's.
        """
        environ = os.environ if environ is None else environ
        _refuse_slips(environ)
        values = defaults | _read_file(path or environ.get(f"{PREFIX}CONFIG") or None)
        for item in fields(cls):
            text = environ.get(PREFIX + item.name.upper())
            if text is not None:
                values[item.name] = _from_text(item.name, text)
        return cls(**values)


def _refuse_slips(environ: Mapping[str, str]) -> None:
    """Refuse a variable that looks like a slip; others may belong to a plugin."""
    known = [PREFIX + item.name.upper() for item in fields(Settings)]
    known.append(f"{PREFIX}CONFIG")
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1, cutoff=_SLIP)
            if near:
                remedy = f"no setting has this variable; did you mean {near[0]}?"
                raise ConfigurationError(name, environ[name], remedy)


def _read_file(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    file = Path(path or FILE_NAME)
    if path is None and not file.is_file():
        return {}
    import tomllib  # noqa: PLC0415 - 15 ms, and often there is no file

    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        remedy = f"cannot be read ({error}); name a readable TOML file"
        raise ConfigurationError("config", str(file), remedy) from error
    known = [item.name for item in fields(Settings)]
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else _use_one_of(known)
            raise ConfigurationError(name, values[name], f"unknown setting; {remedy}")
    return values


def _use_one_of(known: list[str]) -> str:
    return f"settings stand at the top level of the file: {', '.join(known)}"


def _from_text(name: str, text: str) -> object:
    """Turn an environment variable into the kind of value its setting takes."""
    text = text.strip()
    if _CHECKS[name] is _flag and text.lower() in _FLAGS:
        return _FLAGS[text.lower()]
    if _CHECKS[name] in (_name_set, _optional_name_set, _name_tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if _CHECKS[name] in (_text, *_CHOICES) or text == "none":
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        example = _EXAMPLES.get(_CHECKS[name], "a JSON value")
        raise ConfigurationError(PREFIX + name.upper(), text, example) from error


def _name_tuple(name: str, value: object) -> tuple[str, ...]:
    remedy = "give a list of names"
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ConfigurationError(name, value, remedy)
    names = tuple(value)
    if not all(isinstance(item, str) and item for item in names):
        raise ConfigurationError(name, value, remedy)
    return names


def _name_set(name: str, value: object) -> frozenset[str]:
    return frozenset(_name_tuple(name, value))


def _optional_name_set(name: str, value: object) -> frozenset[str] | None:
    return None if value is None else _name_set(name, value)


def _string_map(name: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        raise ConfigurationError(name, value, 'give a mapping such as {"a": "b"}')
    return MappingProxyType(dict(value))


def _set_map(name: str, value: object) -> Mapping[str, frozenset[str]]:
    if not isinstance(value, Mapping):
        remedy = 'give a mapping such as {"admin": ["costs:read"]}'
        raise ConfigurationError(name, value, remedy)
    return MappingProxyType(
        {str(key): _name_set(f"{name}.{key}", names) for key, names in value.items()}
    )


def _executor_map(name: str, value: object) -> Mapping[str, str]:
    chosen = _string_map(name, value)
    for key, executor in chosen.items():
        if executor not in get_args(ExecutorName):
            remedy = f"use one of {', '.join(get_args(ExecutorName))}"
            raise ConfigurationError(f"{name}.{key}", executor, remedy)
    return chosen


def _limit_map(name: str, value: object) -> Mapping[str, ToolLimit]:
    if not isinstance(value, Mapping):
        remedy = 'give a mapping such as {"sql_query": {"concurrent": 4}}'
        raise ConfigurationError(name, value, remedy)
    return MappingProxyType(
        {str(key): _limit(f"{name}.{key}", one) for key, one in value.items()}
    )


def _limit(name: str, value: object) -> ToolLimit:
    if isinstance(value, ToolLimit):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    known = [item.name for item in fields(ToolLimit)]
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        remedy = f"give a mapping with some of {', '.join(known)}"
        raise ConfigurationError(name, value, remedy)
    return ToolLimit(
        **{key: _optional_count(f"{name}.{key}", one) for key, one in value.items()}
    )


def _one_of(choices: object) -> Callable[[str, object], object]:
    allowed = get_args(choices)

    def check(name: str, value: object) -> object:
        if value not in allowed:
            remedy = f"use one of {', '.join(allowed)}"
            raise ConfigurationError(name, value, remedy)
        return value

    return check


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(name, value, "give a text that is not empty")
    return value


def _seconds(name: str, value: object) -> float:
    seconds = None if value in (None, "none") else _optional_seconds(name, value)
    if seconds is None:
        raise ConfigurationError(name, value, "give seconds above 0")
    return seconds


def _optional_seconds(name: str, value: object) -> float | None:
    if value is None or value == "none":  # TOML has no null
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        remedy = 'give seconds above 0, or "none" for no limit'
        raise ConfigurationError(name, value, remedy)
    return float(value)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(name, value, "give a whole number of 1 or more")
    return value


def _optional_count(name: str, value: object) -> int | None:
    return None if value in (None, "none") else _count(name, value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(name, value, "give a whole number of 0 or more")
    return value


def _memory(name: str, value: object) -> int:
    size = _count(name, value)
    if size < LEAST_MEMORY:
        remedy = (
            f"give {LEAST_MEMORY} (256 MiB) or more: a bare child takes a part of it"
        )
        raise ConfigurationError(name, value, remedy)
    return size


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(name, value, "give true or false")
    return value


_FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_CHOICES: Final = (_one_of(Collisions), _one_of(FirstContact), _one_of(Trust))
_EXAMPLES: Final[Mapping[Callable[[str, object], Any], str]] = {
    _flag: "give true or false",
    _count: "give a whole number of 1 or more",
    _executor_map: 'give a JSON object such as {"acme-tools": "process"}',
    _limit_map: 'give a JSON object such as {"sql_query": {"concurrent": 4}}',
    _memory: "give a whole number of bytes",
    _optional_count: "give a whole number of 1 or more, or none for no limit",
    _whole: "give a whole number of 0 or more",
    _optional_seconds: "give seconds above 0, or none for no limit",
    _seconds: "give seconds above 0",
    _string_map: 'give a JSON object such as {"word_count": "toolkit-text"}',
    _set_map: 'give a JSON object such as {"admin": ["costs:read"]}',
}

_CHECKS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "allow": _optional_name_set,
    "deny": _name_set,
    "modules": _name_tuple,
    "prefer": _string_map,
    "collisions": _CHOICES[0],
    "role_scopes": _set_map,
    "allow_tools": _optional_name_set,
    "deny_tools": _name_set,
    "default_timeout": _optional_seconds,
    "max_concurrent_calls": _count,
    "max_queued_calls": _whole,
    "calls_per_minute": _optional_count,
    "tool_limits": _limit_map,
    "executors": _executor_map,
    "max_threads": _count,
    "max_threads_per_user": _count,
    "max_late_threads": _whole,
    "max_workers": _count,
    "worker_memory_bytes": _memory,
    "approve_tools": _name_set,
    "approve_destructive": _flag,
    "approval_timeout": _seconds,
    "retries": _whole,
    "retry_delay": _seconds,
    "show_tool_errors": _flag,
    "max_result_bytes": _count,
    "tracing": _flag,
    "redact_fields": _name_set,
    "strict": _flag,
    "cache": _flag,
    "first_contact": _CHOICES[1],
    "contact_timeout": _seconds,
    "contact_memory_bytes": _memory,
    "tolerate": _name_set,
    "trust": _CHOICES[2],
    "lock_file": _text,
}
