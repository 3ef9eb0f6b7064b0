"""Every error this package raises.

::

    ToolkitError                     code: stable string used on the wire and in logs
    ├── DiscoveryError               at start-up; carries the Origin
    │   ├── PluginLoadError          import or load failed; their traceback kept as text
    │   ├── InvalidToolError         breaks the tool contract (also ValueError)
    │   └── DuplicateToolError       one name, several claimants, the remedy
    ├── DiscoveryFailedError         also ExceptionGroup; raised once, strict mode only
    ├── RegistryError
    │   ├── DuplicateKeyError        also ValueError
    │   ├── RegistrationRejectedError  also ValueError; the reason is in the text
    │   ├── RegistryFrozenError      also RuntimeError
    │   ├── RegistryClosedError      also RuntimeError
    │   ├── FactoryClosedError       also RuntimeError
    │   ├── FactoryNotFoundError     also KeyError
    │   ├── UnknownRegistryTypeError also ValueError
    │   ├── ToolNotFoundError        also KeyError; near names of this user's tools only
    │   ├── ToolUnavailableError     also RuntimeError; it cannot be loaded now
    │   └── ToolConstructionError    also RuntimeError; for this user
    ├── ToolCallError                told to the caller of that one call
    │   ├── InvalidArgumentsError    also ValueError; path and reason per argument
    │   ├── ToolAccessError          only for users who may have refusals explained
    │   ├── ToolError                raised by tools: text meant for the caller
    │   ├── ToolExecutionError       also RuntimeError; the tool raised, text kept back
    │   ├── ToolResultError          also ValueError; the result cannot be written
    │   ├── ToolTimeoutError         also TimeoutError; seconds allowed
    │   ├── ToolCancelledError       given up; the text says by whom
    │   ├── ToolWorkerError          also RuntimeError; the process that ran it ended
    │   ├── MissingSecretError       also KeyError; this user has no such secret
    │   ├── CallLimitError           also RuntimeError; too many calls, when to retry
    │   ├── ApprovalDeniedError      also PermissionError; a person said no
    │   ├── ApprovalExpiredError     also TimeoutError; nobody answered
    │   └── IdempotencyKeyError      also ValueError; one key, two different calls
    ├── AgentError                   raised by agents: text meant for the user
    │   ├── AgentNotFoundError       also KeyError; names of this user's agents only
    │   ├── AgentFailedError         also RuntimeError; the agent raised, text kept back
    │   ├── AgentTimeoutError        also TimeoutError; seconds allowed
    │   ├── AgentDepthError          also RuntimeError; agents ask each other too deep
    │   ├── RunCancelledError        given up; the text says by whom
    │   ├── RunEndedError            also RuntimeError; the run is over
    │   └── ModelNotConfiguredError  also RuntimeError; no language model
    ├── SessionError                 one client's connection
    │   ├── ProtocolError            abstract: the side at fault is in the name
    │   │   ├── LocalProtocolError   also RuntimeError; a slip of this side
    │   │   └── RemoteProtocolError  the client's; with what to close the connection
    │   ├── SessionClosedError       also RuntimeError; nothing can be sent any more
    │   └── ChatFailedError          told to a client; at which stage, after how long
    ├── InvalidNameError             also ValueError
    ├── InvalidUserContextError      also ValueError
    ├── AuthenticationError          the client's fault: its token is refused, and why
    ├── KeySourceError               also RuntimeError; our fault: no keys to verify by
    ├── NoEarlierCatalogError        also RuntimeError; there is nothing to roll back to
    ├── ConfigurationError           also ValueError; setting, value, what would do
    ├── SandboxUnavailableError      also RuntimeError; what is missing, and the remedy
    └── MissingExtraError            also ImportError; what to install

Errors hold fields; the text is built from them; `args` are the fields, for pickling.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self

from toolkit.origin import Origin


class ToolkitError(Exception):
    """Base of every error here. `code` is stable; it goes on the wire and into logs."""

    code: ClassVar[str] = "toolkit_error"

    def __str__(self) -> str:
        """Return the text built from the fields."""
        return self._text()

    @property
    def message(self) -> str:
        """The same text, for code that reads fields."""
        return str(self)

    def _text(self) -> str:
        return " ".join(map(str, self.args))


_read_name: Final = type.__dict__["__name__"].__get__


def kind_of_error(error: BaseException) -> str:
    """Return the name of its class, even where a metaclass hides that. Never raises."""
    return str.__str__(_read_name(type(error)))


_UNREADABLE: Final = "(its text cannot be read)"


def text_of(value: object) -> str:
    """Return the text of anything as a plain string, whatever it does.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    try:
        return str.__str__(str(value))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise in __str__
        return _UNREADABLE


def describe_error(error: BaseException) -> str:
    """Return ``Type: text`` on one line, whatever the exception does. Never raises."""
    kind = kind_of_error(error)
    text = " ".join(text_of(error).split())
    if text == _UNREADABLE:
        return f"{kind} {text}"
    return f"{kind}: {text}" if text else kind


# --- discovery ---------------------------------------------------------------------


class DiscoveryError(ToolkitError):
    """Something found at start-up is at fault; `origin` says where it came from."""

    code: ClassVar[str] = "discovery_error"

    def __init__(self, origin: Origin, detail: str) -> None:
        """Keep where it came from and what is wrong with it."""
        super().__init__(origin, detail)
        self.origin = origin
        self.detail = detail

    def _text(self) -> str:
        return f"{self.origin}: {self.detail}"


class PluginLoadError(DiscoveryError):
    """A plugin could not be imported. `traceback` is theirs, as text."""

    code: ClassVar[str] = "plugin_load_failed"

    def __init__(
        self,
        origin: Origin,
        detail: str,
        traceback: str = "",
        remedy: str = "Repair that package, or put its distribution on the deny list.",
    ) -> None:
        """Keep the cause as text, so that no frame of the plugin stays alive."""
        super().__init__(origin, detail)
        self.args = (origin, detail, traceback, remedy)
        self.traceback = traceback
        self.remedy = remedy

    def _text(self) -> str:
        return f"{self.origin} could not be loaded: {self.detail}. {self.remedy}"


class InvalidToolError(DiscoveryError, ValueError):
    """An object is no tool. `reason` is one of `toolkit.RejectionReason`."""

    code: ClassVar[str] = "invalid_tool"

    def __init__(self, origin: Origin, reason: str, detail: str) -> None:
        """Keep the reason code beside the sentence."""
        super().__init__(origin, detail)
        self.args = (origin, reason, detail)
        self.reason = reason

    def _text(self) -> str:
        return f"{self.origin} is not a tool [{self.reason}]: {self.detail}"


class DuplicateToolError(DiscoveryError):
    """Several tools claim one name, and no setting says which one has it."""

    code: ClassVar[str] = "duplicate_tool"

    def __init__(self, name: str, origins: Sequence[Origin], remedy: str) -> None:
        """Keep the name, all its claimants, and the setting that settles it."""
        super().__init__(origins[0], remedy)
        self.args = (name, tuple(origins), remedy)
        self.name = name
        self.origins = tuple(origins)
        self.remedy = remedy

    def _text(self) -> str:
        claimants = " and ".join(map(str, self.origins))
        return f"tool name {self.name!r} is claimed by {claimants}. {self.remedy}"


class DiscoveryFailedError(ToolkitError, ExceptionGroup[DiscoveryError]):
    """All faults of one discovery at once; raised only with ``strict=True``."""

    code: ClassVar[str] = "discovery_failed"

    def __new__(cls, message: str, errors: Sequence[DiscoveryError]) -> Self:
        """Build the group.

        Raises:
            ValueError: `errors` is empty.
        """
        return super().__new__(cls, message, errors)

    def derive(self, excs: Sequence[Exception], /) -> "DiscoveryFailedError":  # type: ignore[override]  # the base allows any exception; this group holds one kind
        """Keep this type when ``except*`` splits the group."""
        return DiscoveryFailedError(
            self.args[0], [e for e in excs if isinstance(e, DiscoveryError)]
        )

    def _text(self) -> str:
        count = len(self.exceptions)
        return f"{self.args[0]} ({count} fault{'s' if count > 1 else ''})"


# --- registries --------------------------------------------------------------------


class RegistryError(ToolkitError):
    """A registry refuses. The registry is as it was before the call."""

    code: ClassVar[str] = "registry_error"


class _KeyedRegistryError(RegistryError):
    def __init__(self, key: object, registry: str) -> None:
        super().__init__(key, registry)
        self.key = key
        self.registry = registry


class DuplicateKeyError(_KeyedRegistryError, ValueError):
    """The key is taken, by an item or by a factory."""

    code: ClassVar[str] = "already_registered"

    def __init__(self, key: object, registry: str, kind: str = "") -> None:
        """Keep the key, the registry, and ``"Factory "`` when a factory was refused."""
        super().__init__(key, registry)
        self.args = (key, registry, kind)
        self.kind = kind

    def _text(self) -> str:
        return (
            f"{self.kind}{self.key} already registered in {self.registry}. "
            "Remove it first, or choose another key."
        )


class RegistrationRejectedError(_KeyedRegistryError, ValueError):
    """The item breaks this registry's contract; `detail` says how."""

    code: ClassVar[str] = "registration_rejected"

    def __init__(
        self, key: object, registry: str, reason: str, detail: str = ""
    ) -> None:
        """Keep the reason code beside the sentence."""
        super().__init__(key, registry)
        self.args = (key, registry, reason, detail)
        self.reason = reason
        self.detail = detail or reason

    def _text(self) -> str:
        return f"Validation failed for {self.key} in {self.registry}: {self.detail}"


class _StateError(RegistryError, RuntimeError):
    def __init__(self, registry: str) -> None:
        super().__init__(registry)
        self.registry = registry


class RegistryFrozenError(_StateError):
    """The registry no longer changes."""

    code: ClassVar[str] = "registry_frozen"

    def _text(self) -> str:
        return (
            f"Registry '{self.registry}' is frozen. Register everything before "
            "freeze(), or build a new registry."
        )


class RegistryClosedError(_StateError):
    """The user's tool system has been closed."""

    code: ClassVar[str] = "registry_closed"

    def _text(self) -> str:
        return f"Registry '{self.registry}' is closed. Create a new user tool system."


class FactoryNotFoundError(_KeyedRegistryError, KeyError):
    """No factory is registered under the key."""

    code: ClassVar[str] = "factory_not_found"

    def _text(self) -> str:
        return f"No factory for {self.key} in {self.registry}"


class UnknownRegistryTypeError(RegistryError, ValueError):
    """`create_scoped_registry` knows no such type."""

    code: ClassVar[str] = "unknown_registry_type"

    def __init__(self, registry_type: str, known: Sequence[str]) -> None:
        """Keep the type asked for and those there are."""
        super().__init__(registry_type, tuple(known))
        self.registry_type = registry_type
        self.known = tuple(known)

    def _text(self) -> str:
        return (
            f"Unknown registry type: {self.registry_type}. "
            f"Use one of {', '.join(self.known)}."
        )


class FactoryClosedError(RegistryError, RuntimeError):
    """The factory is closed, and with it the threads that sync tools need."""

    code: ClassVar[str] = "factory_closed"

    def _text(self) -> str:
        return "the toolkit is closed. Build systems before close(), or a new Toolkit."


class ToolNotFoundError(RegistryError, KeyError):
    """This user has no tool of that name; a tool they may not see answers alike."""

    code: ClassVar[str] = "tool_not_found"

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        """Keep the name and the near names among this user's own tools."""
        super().__init__(name, tuple(near))
        self.name = name
        self.near = tuple(near)

    def _text(self) -> str:
        hint = f" Did you mean {', '.join(self.near)}?" if self.near else ""
        return f"no tool named {str(self.name)[:80]!r} for this user.{hint}"


class _StartingToolError(RegistryError, RuntimeError):
    def __init__(self, name: str, origin: Origin, detail: str) -> None:
        super().__init__(name, origin, detail)
        self.name = name
        self.origin = origin
        self.detail = detail


class ToolUnavailableError(_StartingToolError):
    """A tool that is listed from the cache or a manifest cannot be loaded now.

    `detail` says which kind of failure it was; its text is in the operator's log.
    """

    code: ClassVar[str] = "tool_unavailable"

    def _text(self) -> str:
        return f"tool {self.name!r} of {self.origin} cannot be loaded: {self.detail}"


class ToolConstructionError(_StartingToolError):
    """A tool's constructor failed for this user; the cause is chained."""

    code: ClassVar[str] = "tool_construction_failed"

    def _text(self) -> str:
        return f"tool {self.name!r} of {self.origin} failed to start: {self.detail}"


# --- calls -------------------------------------------------------------------------


class ToolCallError(ToolkitError):
    """One call went wrong. Told to its caller; nothing else stops."""

    code: ClassVar[str] = "tool_call_error"


class InvalidArgumentsError(ToolCallError, ValueError):
    """The arguments do not fit the tool's schema. Rejected values are not kept."""

    code: ClassVar[str] = "invalid_arguments"

    def __init__(self, tool: str, faults: Sequence[tuple[str, str]]) -> None:
        """Keep ``(path, reason)`` for each argument; the path is ``a.b.0``."""
        super().__init__(tool, tuple(faults))
        self.tool = tool
        self.faults = tuple(faults)

    def _text(self) -> str:
        listed = "; ".join(
            f"{path}: {why}" if path else why for path, why in self.faults
        )
        return f"arguments of {self.tool!r} are not valid: {listed}"


class _ToolDetailError(ToolCallError):
    def __init__(self, tool: str, detail: str) -> None:
        super().__init__(tool, detail)
        self.tool = tool
        self.detail = detail


class ToolAccessError(_ToolDetailError):
    """The user may not use this tool. Shown only with the scope ``toolkit:explain``."""

    code: ClassVar[str] = "tool_access_denied"

    def _text(self) -> str:
        return f"tool {self.tool!r} is not open to this user: {self.detail}"


class ToolError(ToolCallError):
    """Raise this in a tool to tell the caller what is wrong; the text reaches them."""

    code: ClassVar[str] = "tool_error"


class ToolExecutionError(ToolCallError, RuntimeError):
    """The tool raised something else than `ToolError`.

    `cause_type` names the exception's class; its text stays in the log, because it may
    hold what the caller must not see, unless the setting `show_tool_errors` is on.
    """

    code: ClassVar[str] = "tool_failed"

    def __init__(
        self, tool: str, cause_type: str, call_id: str = "", detail: str = ""
    ) -> None:
        """Keep which tool failed in which call, and the kind of what it raised.

        `detail` is its text, where the operator lets callers see it.
        """
        super().__init__(tool, cause_type)
        self.args = (tool, cause_type, call_id, detail)
        self.tool = tool
        self.cause_type = cause_type
        self.call_id = call_id
        self.detail = detail

    def _text(self) -> str:
        if self.detail:
            return f"tool {self.tool!r} failed with {self.detail}"
        where = f" under call {self.call_id}" if self.call_id else ""
        return (
            f"tool {self.tool!r} failed with {self.cause_type}. "
            f"The operator's log has the details{where}."
        )


class ToolResultError(_ToolDetailError, ValueError):
    """The tool returned what cannot be written as JSON: too deep, or in a circle."""

    code: ClassVar[str] = "result_not_serializable"

    def _text(self) -> str:
        return f"the result of {self.tool!r} cannot be written as JSON: {self.detail}"


class ToolTimeoutError(ToolCallError, TimeoutError):
    """The call was not finished at its deadline."""

    code: ClassVar[str] = "tool_timeout"

    def __init__(self, tool: str, seconds: float) -> None:
        """Keep which tool it is and the seconds it was allowed."""
        super().__init__(tool, seconds)
        self.tool = tool
        self.seconds = seconds

    def _text(self) -> str:
        return f"tool {self.tool!r} did not finish within {self.seconds:g} s"


class ToolCancelledError(ToolCallError):
    """The call was given up; `why` says by whom."""

    code: ClassVar[str] = "cancelled"

    def __init__(self, tool: str, why: str = "its tool system was closed") -> None:
        """Keep which tool it is, and who gave the call up."""
        super().__init__(tool, why)
        self.tool = tool
        self.why = why

    def _text(self) -> str:
        return f"the call of {self.tool!r} was given up: {self.why}"


class ToolWorkerError(_ToolDetailError, RuntimeError):
    """The process that ran the tool ended; other calls go on in other processes."""

    code: ClassVar[str] = "worker_lost"

    def _text(self) -> str:
        return f"the process that ran {self.tool!r} ended: {self.detail}"


class MissingSecretError(ToolCallError, KeyError):
    """The tool asked for a secret that this user does not have."""

    code: ClassVar[str] = "missing_secret"

    def __init__(self, secret: str) -> None:
        """Keep the secret's name."""
        super().__init__(secret)
        self.secret = secret

    def _text(self) -> str:
        return (
            f"this user has no secret {self.secret!r}. "
            "Pass it as secrets={...} when the tool system is made."
        )


class CallLimitError(ToolCallError, RuntimeError):
    """Too many calls: `what` says of whom or what, `retry_after` when to come back."""

    code: ClassVar[str] = "call_limit"

    def __init__(
        self, what: str, used: int, limit: int, retry_after: float | None = None
    ) -> None:
        """Keep what is counted, how many there are, how many may be, seconds to wait.

        `retry_after` is None where it depends on when another call ends.
        """
        super().__init__(what, used, limit)
        self.args = (what, used, limit, retry_after)
        self.what = what
        self.used = used
        self.limit = limit
        self.retry_after = retry_after

    def _text(self) -> str:
        remedy = "Wait for one to finish."
        if self.retry_after is not None:
            remedy = f"Try again in {self.retry_after:.3g} s."
        return f"{self.what}: {self.used}, allowed: {self.limit}. {remedy}"


class ApprovalDeniedError(_ToolDetailError, PermissionError):
    """A person was asked whether the call may run, and said no; it never started."""

    code: ClassVar[str] = "approval_denied"

    def _text(self) -> str:
        why = f": {self.detail}" if self.detail else ""
        return f"the call of {self.tool!r} was not approved{why}"


class ApprovalExpiredError(ToolCallError, TimeoutError):
    """Nobody answered in time whether the call may run; it never started."""

    code: ClassVar[str] = "approval_expired"

    def __init__(self, tool: str, seconds: float) -> None:
        """Keep which tool it is and the seconds there were to answer."""
        super().__init__(tool, seconds)
        self.tool = tool
        self.seconds = seconds

    def _text(self) -> str:
        return (
            f"the call of {self.tool!r} was not approved within {self.seconds:g} s. "
            "Call it again, and answer its tool_approval_required event by call id."
        )


class IdempotencyKeyError(ToolCallError, ValueError):
    """The idempotency key was used before, for another tool or other arguments."""

    code: ClassVar[str] = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        """Keep the key."""
        super().__init__(key)
        self.key = key

    def _text(self) -> str:
        return (
            f"idempotency key {self.key!r} belongs to another call. "
            "Use a new key for each call, and the same one only to repeat it."
        )


# --- sessions ----------------------------------------------------------------------


class SessionError(ToolkitError):
    """Something about one client's connection."""

    code: ClassVar[str] = "session_error"


class ProtocolError(SessionError):
    """The protocol was broken. Never raised itself: its two kinds name the side."""

    code: ClassVar[str] = "protocol_error"


class LocalProtocolError(ProtocolError, RuntimeError):
    """This side was about to break the protocol: a fault of the code, not the client's.

    Nothing was sent.
    """

    code: ClassVar[str] = "local_protocol_error"

    def __init__(self, detail: str) -> None:
        """Keep what was about to be done, and what is in its way."""
        super().__init__(detail)
        self.detail = detail

    def _text(self) -> str:
        return f"{self.detail}. Mend the code that asked for it; the client is right."


class RemoteProtocolError(ProtocolError):
    """The client broke the protocol, and its connection ends.

    `close_code` is a number of RFC 6455, and `reason` the stable code of the `error`
    message that goes before it.
    """

    code: ClassVar[str] = "remote_protocol_error"

    def __init__(self, close_code: int, reason: str, detail: str) -> None:
        """Keep what to close with, and what the client did."""
        super().__init__(close_code, reason, detail)
        self.close_code = close_code
        self.reason = reason
        self.detail = detail

    def _text(self) -> str:
        return (
            f"the client broke the protocol [{self.reason}]: {self.detail}. "
            f"Close the connection with {self.close_code}."
        )


class SessionClosedError(SessionError, RuntimeError):
    """The connection is closing or closed; `state` says which."""

    code: ClassVar[str] = "session_closed"

    def __init__(self, state: str) -> None:
        """Keep the state."""
        super().__init__(state)
        self.state = state

    def _text(self) -> str:
        return f"the session is {self.state}. Connect again for another one."


BLOCKING_SECONDS: Final = 9.0
"""From here on a failure is the server's: it held the client up, it did not refuse."""


class ChatFailedError(SessionError):
    """A client of a chat backend did not get what it asked for.

    `stage` is ``connect``, ``send`` or ``receive``, `reason` a stable code, and
    `seconds` how long the client had waited by then.
    """

    code: ClassVar[str] = "chat_failed"

    def __init__(self, stage: str, reason: str, detail: str, seconds: float) -> None:
        """Keep what failed, why in a word and in full, and after how long."""
        super().__init__(stage, reason, detail, seconds)
        self.stage = stage
        self.reason = reason
        self.detail = detail
        self.seconds = seconds

    @property
    def is_blocking(self) -> bool:
        """Whether it took so long that the server is blocked, not the request wrong."""
        return self.seconds >= BLOCKING_SECONDS

    def _text(self) -> str:
        remedy = (
            "Something blocks the server: look at /health and at its log"
            if self.is_blocking
            else "It came quickly: look at the address, the token and the request"
        )
        return (
            f"{self.stage} failed after {self.seconds:.1f} s [{self.reason}]: "
            f"{self.detail}. {remedy}."
        )


# --- input and set-up --------------------------------------------------------------


class InvalidNameError(ToolkitError, ValueError):
    """A string is no legal tool name."""

    code: ClassVar[str] = "invalid_name"

    def __init__(self, name: object, detail: str) -> None:
        """Keep the name as given and the rule it breaks."""
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def _text(self) -> str:
        return f"{self.name!r} is no tool name: {self.detail}"


class InvalidUserContextError(ToolkitError, ValueError):
    """A user context was given something that identifies nobody."""

    code: ClassVar[str] = "invalid_user_context"

    def __init__(self, field: str, detail: str) -> None:
        """Keep the field and what is wrong with it; the value itself is not kept."""
        super().__init__(field, detail)
        self.field = field
        self.detail = detail

    def _text(self) -> str:
        return (
            f"UserContext.{self.field} {self.detail}. "
            "Pass what your authentication established."
        )


_REFUSED: Final[Mapping[str, str]] = {
    "missing": "there is none",
    "malformed": "it is no signed JSON Web Token of the kind that is taken here",
    "wrong_algorithm": "it is not signed with an algorithm that is taken here",
    "wrong_type": "its typ is none that is taken here",
    "unknown_key": "it names a key that is not published",
    "bad_signature": "it was not signed with the key that is trusted here",
    "missing_claim": "it lacks one of exp, iat, sub, aud and iss",
    "expired": "it has expired",
    "not_yet_valid": "it is not valid yet",
    "lives_too_long": "its lifetime is longer than allowed",
    "wrong_audience": "it is meant for another service",
    "wrong_issuer": "it was issued by somebody else",
    "bad_subject": "its subject identifies nobody",
}


class AuthenticationError(ToolkitError):
    """A client's token is refused. No part of it is kept.

    `reason` is a stable code, such as ``expired``.
    """

    code: ClassVar[str] = "authentication_failed"

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason

    def _text(self) -> str:
        why = _REFUSED.get(self.reason, "it cannot be believed")
        return f"the token is refused [{self.reason}]: {why}. Get a new one."


class KeySourceError(ToolkitError, RuntimeError):
    """The keys that tokens are verified by cannot be had: no fault of any client."""

    code: ClassVar[str] = "key_source_failed"

    def __init__(self, setting: str, detail: str) -> None:
        """Keep the setting that names the keys, and what went wrong, for operators."""
        super().__init__(setting, detail)
        self.setting = setting
        self.detail = detail

    def _text(self) -> str:
        return (
            f"the keys of {self.setting} cannot be had: {self.detail}. "
            "Mend their source; it is asked again within seconds."
        )


class NoEarlierCatalogError(ToolkitError, RuntimeError):
    """A roll-back was asked for, and no earlier catalog is kept."""

    code: ClassVar[str] = "no_earlier_catalog"

    def __init__(self, generation: int) -> None:
        """Keep the generation that is in use."""
        super().__init__(generation)
        self.generation = generation

    def _text(self) -> str:
        return (
            f"no catalog before generation {self.generation} is kept. "
            "Only a refresh makes something to roll back from."
        )


# --- agents ------------------------------------------------------------------------


class AgentError(ToolkitError):
    """No answer. Raise this in an agent to say why; the text reaches the user."""

    code: ClassVar[str] = "agent_error"


class AgentNotFoundError(AgentError, KeyError):
    """This user has no agent of that name."""

    code: ClassVar[str] = "agent_not_found"

    def __init__(self, agent: str, known: Sequence[str] = ()) -> None:
        """Keep the name, and those of the agents that this user may ask."""
        super().__init__(agent, tuple(known))
        self.agent = agent
        self.known = tuple(known)

    def _text(self) -> str:
        known = ", ".join(self.known) or "none; install one, such as toolkit-triage"
        return f"there is no agent {self.agent!r}. Agents you may ask: {known}"


class AgentFailedError(AgentError, RuntimeError):
    """The agent raised something else than `AgentError`, or gave no answer.

    `cause_type` names the exception's class; its text stays in the log unless the
    setting `show_tool_errors` is on.
    """

    code: ClassVar[str] = "agent_failed"

    def __init__(self, agent: str, cause_type: str, detail: str = "") -> None:
        """Keep which agent failed, the kind of what it raised, and maybe its text."""
        super().__init__(agent, cause_type, detail)
        self.agent = agent
        self.cause_type = cause_type
        self.detail = detail

    def _text(self) -> str:
        if self.detail:
            return f"agent {self.agent!r} failed: {self.detail}"
        return (
            f"agent {self.agent!r} failed with {self.cause_type}. "
            "The cause is in the server's log, under the run's id."
        )


class AgentTimeoutError(AgentError, TimeoutError):
    """The agent gave no answer in time."""

    code: ClassVar[str] = "agent_timeout"

    def __init__(self, agent: str, seconds: float) -> None:
        """Keep which agent, and the seconds it had."""
        super().__init__(agent, seconds)
        self.agent = agent
        self.seconds = seconds

    def _text(self) -> str:
        return (
            f"agent {self.agent!r} gave no answer within {self.seconds:g} s. "
            "Ask for less at once, or raise the setting server.run_timeout."
        )


class AgentDepthError(AgentError, RuntimeError):
    """Agents have asked each other, and that went too deep."""

    code: ClassVar[str] = "agent_depth"

    def __init__(self, agent: str, depth: int) -> None:
        """Keep who was asked last, and how deep that may be."""
        super().__init__(agent, depth)
        self.agent = agent
        self.depth = depth

    def _text(self) -> str:
        return (
            f"agent {self.agent!r} was asked by an agent, {self.depth} deep. "
            "Let agents that ask others not ask each other in a circle."
        )


class RunCancelledError(AgentError):
    """The run was given up."""

    code: ClassVar[str] = "run_cancelled"

    def __init__(self, agent: str, why: str = "the connection was closed") -> None:
        """Keep which agent it was, and why."""
        super().__init__(agent, why)
        self.agent = agent
        self.why = why

    def _text(self) -> str:
        return f"the run of agent {self.agent!r} was given up: {self.why}"


class RunEndedError(AgentError, RuntimeError):
    """An agent did something after its run had ended."""

    code: ClassVar[str] = "run_ended"

    def __init__(self, agent: str) -> None:
        """Keep which agent it was."""
        super().__init__(agent)
        self.agent = agent

    def _text(self) -> str:
        return (
            f"the run of agent {self.agent!r} has ended. Let `run` await all that it "
            "starts before it returns."
        )


class ModelNotConfiguredError(AgentError, RuntimeError):
    """An agent wants to use a language model, and none is configured."""

    code: ClassVar[str] = "model_not_configured"

    def __init__(self, agent: str) -> None:
        """Keep which agent it was."""
        super().__init__(agent)
        self.agent = agent

    def _text(self) -> str:
        return (
            f"agent {self.agent!r} needs a language model. Let it ask `run.has_model` "
            "first, or set one in the table [agents.model] of toolkit.toml."
        )


# --- configuration -----------------------------------------------------------------


class ConfigurationError(ToolkitError, ValueError):
    """A setting has a value that cannot be used."""

    code: ClassVar[str] = "bad_configuration"

    def __init__(self, setting: str, value: object, remedy: str) -> None:
        """Keep the setting, the value, and what would do."""
        super().__init__(setting, value, remedy)
        self.setting = setting
        self.value = value
        self.remedy = remedy

    def _text(self) -> str:
        return f"setting {self.setting} = {self.value!r}: {self.remedy}"


class SandboxUnavailableError(ToolkitError, RuntimeError):
    """Tools shall run in a sandbox, and this machine cannot make one."""

    code: ClassVar[str] = "sandbox_unavailable"

    def __init__(self, detail: str) -> None:
        """Keep what is missing."""
        super().__init__(detail)
        self.detail = detail

    def _text(self) -> str:
        return (
            f"no sandbox can be made here: {self.detail}. Install bubblewrap and let "
            "it use namespaces, or choose another executor for these tools."
        )


class MissingExtraError(ToolkitError, ImportError):
    """A part of this package needs an optional dependency that is not installed."""

    code: ClassVar[str] = "missing_extra"

    def __init__(self, part: str, extra: str) -> None:
        """Keep which part it is and the extra that brings what it needs."""
        super().__init__(part, extra)
        self.part = part
        self.extra = extra

    def _text(self) -> str:
        return (
            f"{self.part} needs more than the core. "
            f"Run: pip install 'toolkit-core[{self.extra}]' where an index has it, "
            f"else pip install 'path/to/clone[{self.extra}]'"
        )
