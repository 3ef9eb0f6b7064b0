"""`Settings`: the one typed place for everything an operator can set.

A plain frozen dataclass rather than a pydantic model, because listing plugins must not
load pydantic. Values are checked here, once; the rest of the code trusts them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, get_args

from toolkit import checks
from toolkit.backend_settings import AgentSettings, AuthSettings, ServerSettings
from toolkit.errors import ConfigurationError

Collisions = Literal["refuse", "qualify"]
FirstContact = Literal["child", "in_process"]
Trust = Literal["installed", "locked"]
ExecutorName = Literal["inline", "threads", "process", "sandbox"]

FILE_NAME: Final = "toolkit.toml"
PREFIX: Final = "TOOLKIT_"
STEP: Final = "__"
"""Stands in a variable for a step into a table."""
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


def _executor_map(name: str, value: object) -> Mapping[str, str]:
    chosen = checks.string_map(name, value)
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
        **{
            key: checks.optional_count(f"{name}.{key}", one)
            for key, one in value.items()
        }
    )


_RULES: Final[Mapping[str, checks.Rule]] = {
    "allow": checks.optional_name_set,
    "deny": checks.name_set,
    "modules": checks.name_tuple,
    "prefer": checks.string_map,
    "collisions": checks.one_of(Collisions),
    "role_scopes": checks.set_map,
    "allow_tools": checks.optional_name_set,
    "deny_tools": checks.name_set,
    "default_timeout": checks.optional_seconds,
    "max_concurrent_calls": checks.count,
    "max_queued_calls": checks.whole,
    "calls_per_minute": checks.optional_count,
    "tool_limits": _limit_map,
    "executors": _executor_map,
    "max_threads": checks.count,
    "max_threads_per_user": checks.count,
    "max_late_threads": checks.whole,
    "max_workers": checks.count,
    "worker_memory_bytes": checks.memory,
    "approve_tools": checks.name_set,
    "approve_destructive": checks.flag,
    "approval_timeout": checks.seconds,
    "retries": checks.whole,
    "retry_delay": checks.seconds,
    "show_tool_errors": checks.flag,
    "max_result_bytes": checks.count,
    "tracing": checks.flag,
    "redact_fields": checks.name_set,
    "strict": checks.flag,
    "cache": checks.flag,
    "first_contact": checks.one_of(FirstContact),
    "contact_timeout": checks.seconds,
    "contact_memory_bytes": checks.memory,
    "tolerate": checks.name_set,
    "trust": checks.one_of(Trust),
    "lock_file": checks.text,
    "server": checks.TableCheck(ServerSettings),
    "auth": checks.TableCheck(AuthSettings),
    "agents": checks.TableCheck(AgentSettings),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(checks.Table):
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
        server: The table ``[server]``: how the chat backend serves.
        auth: The table ``[auth]``: which tokens it believes.
        agents: The table ``[agents]``: how its agents answer.

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
    server: ServerSettings = field(default_factory=ServerSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    agents: AgentSettings = field(default_factory=AgentSettings)

    rules: ClassVar[Mapping[str, checks.Rule]] = _RULES

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
                commas; mappings are JSON objects; a setting in a table is called
                ``TOOLKIT_SERVER__PORT``.
            **defaults: Settings that hold where neither the file nor a variable says
                anything.

        Raises:
            ConfigurationError: The file is missing though named, is not TOML, has an
                unknown setting, a value does not fit, or a variable is nearly called
                like a setting's.
        """
        environ = os.environ if environ is None else environ
        _refuse_slips(environ)
        file = _read_file(path or environ.get(f"{PREFIX}CONFIG") or None)
        values = checks.merged(cls, defaults, file)
        return cls(**checks.merged(cls, values, _read_variables(environ)))


def variable_of(path: tuple[str, ...]) -> str:
    """Return the environment variable of a setting, given the way to it."""
    return PREFIX + STEP.join(path).upper()


def _refuse_slips(environ: Mapping[str, str]) -> None:
    """Refuse a variable that looks like a slip; others may belong to a plugin."""
    known = [variable_of(path) for path, _ in checks.paths(Settings)]
    known.append(f"{PREFIX}CONFIG")
    tables = {name.partition(STEP)[0] for name in known if STEP in name}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            cutoff = 0.0 if name.partition(STEP)[0] in tables else _SLIP
            near = get_close_matches(name, known, n=1, cutoff=cutoff)
            if near:
                remedy = f"no setting has this variable; did you mean {near[0]}?"
                value = checks.shown(name + near[0], environ[name])
                raise ConfigurationError(name, value, remedy)


def _read_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the variables that are set, as the file would have them."""
    found: dict[str, Any] = {}
    for path, check in checks.paths(Settings):
        variable = variable_of(path)
        if variable in environ:
            table = found
            for step in path[:-1]:
                table = table.setdefault(step, {})
            table[path[-1]] = checks.from_text(variable, environ[variable], check)
    return found


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
    checks.refuse_unknown("", values, [item.name for item in fields(Settings)])
    return values
