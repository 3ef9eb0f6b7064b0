"""The error tree: fields, texts, codes, and what else each error is."""

import builtins
import copy
import inspect
import pickle
from typing import Final

import pytest

import toolkit
from tests.unit.hostile import Unnamed, Untold
from toolkit import errors
from toolkit.errors import (
    AgentDepthError,
    AgentError,
    AgentFailedError,
    AgentNotFoundError,
    AgentTimeoutError,
    ApprovalDeniedError,
    ApprovalExpiredError,
    AuthenticationError,
    CallLimitError,
    ChatFailedError,
    ConfigurationError,
    DiscoveryError,
    DiscoveryFailedError,
    DuplicateKeyError,
    DuplicateToolError,
    FactoryClosedError,
    FactoryNotFoundError,
    IdempotencyKeyError,
    InvalidArgumentsError,
    InvalidNameError,
    InvalidToolError,
    InvalidUserContextError,
    KeySourceError,
    LocalProtocolError,
    MissingExtraError,
    MissingSecretError,
    ModelNotConfiguredError,
    NoEarlierCatalogError,
    PluginLoadError,
    ProtocolError,
    RegistrationRejectedError,
    RegistryClosedError,
    RegistryError,
    RegistryFrozenError,
    RemoteProtocolError,
    RunCancelledError,
    RunEndedError,
    SandboxUnavailableError,
    SessionClosedError,
    SessionError,
    ToolAccessError,
    ToolCallError,
    ToolCancelledError,
    ToolConstructionError,
    ToolError,
    ToolExecutionError,
    ToolkitError,
    ToolNotFoundError,
    ToolResultError,
    ToolTimeoutError,
    ToolUnavailableError,
    ToolWorkerError,
    UnknownRegistryTypeError,
    describe_error,
    kind_of_error,
)
from toolkit.origin import Origin

HERE: Final = Origin("pkg", "1.0", "toolkit.tools", "add", "pkg:Add")
THERE: Final = Origin(reference="m:C")
SCHEMAS: Final = "BaseModel classes are data schemas, not executable tools"
PHRASE: Final = "pkg 1.0 (toolkit.tools: add = pkg:Add)"

# The error, its stable code, what else it is, and its whole text.
TREE: Final[list[tuple[ToolkitError, str, type[Exception], str]]] = [
    (ToolkitError("a", 1), "toolkit_error", Exception, "a 1"),
    (DiscoveryError(HERE, "odd"), "discovery_error", Exception, f"{PHRASE}: odd"),
    (
        PluginLoadError(HERE, "ImportError: x", "Traceback …"),
        "plugin_load_failed",
        Exception,
        (
            f"{PHRASE} could not be loaded: ImportError: x. "
            "Repair that package, or put its distribution on the deny list."
        ),
    ),
    (
        InvalidToolError(HERE, "pydantic_model", f"{SCHEMAS}. Wrap it."),
        "invalid_tool",
        ValueError,
        f"{PHRASE} is not a tool [pydantic_model]: {SCHEMAS}. Wrap it.",
    ),
    (
        DuplicateToolError("add", [HERE, THERE], "Set prefer."),
        "duplicate_tool",
        Exception,
        f"tool name 'add' is claimed by {PHRASE} and m:C. Set prefer.",
    ),
    (
        DiscoveryFailedError("found faults", [PluginLoadError(HERE, "x")]),
        "discovery_failed",
        ExceptionGroup,
        "found faults (1 fault)",
    ),
    (RegistryError("odd"), "registry_error", Exception, "odd"),
    (
        DuplicateKeyError("add", "Tools"),
        "already_registered",
        ValueError,
        "add already registered in Tools. Remove it first, or choose another key.",
    ),
    (
        DuplicateKeyError("add", "Tools", "Factory "),
        "already_registered",
        ValueError,
        (
            "Factory add already registered in Tools. "
            "Remove it first, or choose another key."
        ),
    ),
    (
        RegistrationRejectedError("add", "Tools", "pydantic_model", SCHEMAS),
        "registration_rejected",
        ValueError,
        f"Validation failed for add in Tools: {SCHEMAS}",
    ),
    (
        RegistrationRejectedError("add", "Tools", "refused_by_handler"),
        "registration_rejected",
        ValueError,
        "Validation failed for add in Tools: refused_by_handler",
    ),
    (
        RegistryFrozenError("Tools"),
        "registry_frozen",
        RuntimeError,
        (
            "Registry 'Tools' is frozen. Register everything before freeze(), "
            "or build a new registry."
        ),
    ),
    (
        RegistryClosedError("Tools"),
        "registry_closed",
        RuntimeError,
        "Registry 'Tools' is closed. Create a new user tool system.",
    ),
    (
        FactoryClosedError(),
        "factory_closed",
        RuntimeError,
        "the toolkit is closed. Build systems before close(), or a new Toolkit.",
    ),
    (
        FactoryNotFoundError("add", "Tools"),
        "factory_not_found",
        KeyError,
        "No factory for add in Tools",
    ),
    (
        UnknownRegistryTypeError("agents", ["tool", "universal"]),
        "unknown_registry_type",
        ValueError,
        "Unknown registry type: agents. Use one of tool, universal.",
    ),
    (
        ToolNotFoundError("ad", ["add"]),
        "tool_not_found",
        KeyError,
        "no tool named 'ad' for this user. Did you mean add?",
    ),
    (
        ToolNotFoundError("ad"),
        "tool_not_found",
        KeyError,
        "no tool named 'ad' for this user.",
    ),
    (
        ToolUnavailableError("add", HERE, "importing it raised OSError"),
        "tool_unavailable",
        RuntimeError,
        f"tool 'add' of {PHRASE} cannot be loaded: importing it raised OSError",
    ),
    (
        NoEarlierCatalogError(2),
        "no_earlier_catalog",
        RuntimeError,
        (
            "no catalog before generation 2 is kept. "
            "Only a refresh makes something to roll back from."
        ),
    ),
    (
        ToolConstructionError("add", HERE, "it raised OSError"),
        "tool_construction_failed",
        RuntimeError,
        f"tool 'add' of {PHRASE} failed to start: it raised OSError",
    ),
    (ToolCallError("odd"), "tool_call_error", Exception, "odd"),
    (
        InvalidArgumentsError("add", [("a.0", "too small"), ("", "no object")]),
        "invalid_arguments",
        ValueError,
        "arguments of 'add' are not valid: a.0: too small; no object",
    ),
    (
        ToolAccessError("add", "it needs the scope x"),
        "tool_access_denied",
        Exception,
        "tool 'add' is not open to this user: it needs the scope x",
    ),
    (ToolError("give a date"), "tool_error", Exception, "give a date"),
    (
        ToolExecutionError("add", "OSError", "c1"),
        "tool_failed",
        RuntimeError,
        (
            "tool 'add' failed with OSError. "
            "The operator's log has the details under call c1."
        ),
    ),
    (
        ToolResultError("add", "too deep"),
        "result_not_serializable",
        ValueError,
        "the result of 'add' cannot be written as JSON: too deep",
    ),
    (
        ToolTimeoutError("add", 2.5),
        "tool_timeout",
        TimeoutError,
        "tool 'add' did not finish within 2.5 s",
    ),
    (
        ToolCancelledError("add"),
        "cancelled",
        Exception,
        "the call of 'add' was given up: its tool system was closed",
    ),
    (
        ToolWorkerError("add", "exit status 3"),
        "worker_lost",
        RuntimeError,
        "the process that ran 'add' ended: exit status 3",
    ),
    (
        MissingSecretError("token"),
        "missing_secret",
        KeyError,
        (
            "this user has no secret 'token'. "
            "Pass it as secrets={...} when the tool system is made."
        ),
    ),
    (
        CallLimitError("calls of this user at once", 64, 64),
        "call_limit",
        RuntimeError,
        "calls of this user at once: 64, allowed: 64. Wait for one to finish.",
    ),
    (
        CallLimitError("calls of 'add' in the last minute", 9, 9, 12.3456),
        "call_limit",
        RuntimeError,
        "calls of 'add' in the last minute: 9, allowed: 9. Try again in 12.3 s.",
    ),
    (
        ApprovalDeniedError("wipe", "not today"),
        "approval_denied",
        PermissionError,
        "the call of 'wipe' was not approved: not today",
    ),
    (
        ApprovalExpiredError("wipe", 300.0),
        "approval_expired",
        TimeoutError,
        (
            "the call of 'wipe' was not approved within 300 s. "
            "Call it again, and answer its tool_approval_required event by call id."
        ),
    ),
    (
        IdempotencyKeyError("k1"),
        "idempotency_key_reused",
        ValueError,
        (
            "idempotency key 'k1' belongs to another call. "
            "Use a new key for each call, and the same one only to repeat it."
        ),
    ),
    (
        SandboxUnavailableError("there is no bwrap"),
        "sandbox_unavailable",
        RuntimeError,
        (
            "no sandbox can be made here: there is no bwrap. Install bubblewrap and "
            "let it use namespaces, or choose another executor for these tools."
        ),
    ),
    (AgentError("no table fits"), "agent_error", ToolkitError, "no table fits"),
    (
        AgentNotFoundError("poet", ("data_agent",)),
        "agent_not_found",
        KeyError,
        "there is no agent 'poet'. Agents you may ask: data_agent",
    ),
    (
        AgentNotFoundError("poet"),
        "agent_not_found",
        KeyError,
        (
            "there is no agent 'poet'. Agents you may ask: none; install one, such as "
            "toolkit-triage"
        ),
    ),
    (
        AgentFailedError("poet", "ZeroDivisionError"),
        "agent_failed",
        RuntimeError,
        (
            "agent 'poet' failed with ZeroDivisionError. The cause is in the server's "
            "log, under the run's id."
        ),
    ),
    (
        AgentFailedError("poet", "ValueError", "ValueError: no rhyme"),
        "agent_failed",
        RuntimeError,
        "agent 'poet' failed: ValueError: no rhyme",
    ),
    (
        AgentTimeoutError("poet", 2.5),
        "agent_timeout",
        TimeoutError,
        (
            "agent 'poet' gave no answer within 2.5 s. Ask for less at once, or raise "
            "the setting server.run_timeout."
        ),
    ),
    (
        AgentDepthError("poet", 4),
        "agent_depth",
        RuntimeError,
        (
            "agent 'poet' was asked by an agent, 4 deep. Let agents that ask others "
            "not ask each other in a circle."
        ),
    ),
    (
        RunCancelledError("poet"),
        "run_cancelled",
        AgentError,
        "the run of agent 'poet' was given up: the connection was closed",
    ),
    (
        RunEndedError("poet"),
        "run_ended",
        RuntimeError,
        (
            "the run of agent 'poet' has ended. Let `run` await all that it starts "
            "before it returns."
        ),
    ),
    (
        ModelNotConfiguredError("poet"),
        "model_not_configured",
        RuntimeError,
        (
            "agent 'poet' needs a language model. Let it ask `run.has_model` first, or "
            "set one in the table [agents.model] of toolkit.toml."
        ),
    ),
    (SessionError("odd"), "session_error", Exception, "odd"),
    (ProtocolError("odd"), "protocol_error", SessionError, "odd"),
    (
        LocalProtocolError("pong while closed"),
        "local_protocol_error",
        RuntimeError,
        "pong while closed. Mend the code that asked for it; the client is right.",
    ),
    (
        RemoteProtocolError(1003, "binary_frame", "a binary frame"),
        "remote_protocol_error",
        ProtocolError,
        (
            "the client broke the protocol [binary_frame]: a binary frame. "
            "Close the connection with 1003."
        ),
    ),
    (
        SessionClosedError("closing"),
        "session_closed",
        RuntimeError,
        "the session is closing. Connect again for another one.",
    ),
    (
        ChatFailedError("connect", "expired", "HTTP 401", 8.9),
        "chat_failed",
        SessionError,
        (
            "connect failed after 8.9 s [expired]: HTTP 401. It came quickly: look at "
            "the address, the token and the request."
        ),
    ),
    (
        ChatFailedError("receive", "timeout", "no message within 20 s", 18.0),
        "chat_failed",
        SessionError,
        (
            "receive failed after 18.0 s [timeout]: no message within 20 s. Something "
            "blocks the server: look at /health and at its log."
        ),
    ),
    (
        InvalidNameError("a b", "use a-z"),
        "invalid_name",
        ValueError,
        "'a b' is no tool name: use a-z",
    ),
    (
        InvalidUserContextError("user_id", "is empty"),
        "invalid_user_context",
        ValueError,
        "UserContext.user_id is empty. Pass what your authentication established.",
    ),
    (
        AuthenticationError("expired"),
        "authentication_failed",
        ToolkitError,
        "the token is refused [expired]: it has expired. Get a new one.",
    ),
    (
        AuthenticationError("of_a_later_version"),
        "authentication_failed",
        ToolkitError,
        (
            "the token is refused [of_a_later_version]: it cannot be believed. "
            "Get a new one."
        ),
    ),
    (
        KeySourceError("auth.jwks_url", "URLError: refused"),
        "key_source_failed",
        RuntimeError,
        (
            "the keys of auth.jwks_url cannot be had: URLError: refused. "
            "Mend their source; it is asked again within seconds."
        ),
    ),
    (
        ConfigurationError("strict", 7, "give true or false"),
        "bad_configuration",
        ValueError,
        "setting strict = 7: give true or false",
    ),
    (
        MissingExtraError("toolkit.cli", "cli"),
        "missing_extra",
        ImportError,
        (
            "toolkit.cli needs more than the core. Run: "
            "pip install 'toolkit-core[cli]' where an index has it, "
            "else pip install 'path/to/clone[cli]'"
        ),
    ),
]
EXAMPLES: Final = [error for error, *_ in TREE]
CLASSES: Final = [
    one
    for name, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, ToolkitError) and not name.startswith("_")
]


def fields_of(error: ToolkitError) -> dict[str, object]:
    """Return what an error holds, its group's members by their texts."""
    members = map(repr, getattr(error, "exceptions", ()))
    return {**vars(error), "args": repr(error.args), "exceptions": list(members)}


@pytest.mark.parametrize(("error", "code", "base", "text"), TREE)
def test_each_error_has_its_code_its_base_and_its_text(
    error: ToolkitError, code: str, base: type[Exception], text: str
) -> None:
    """Codes, builtin bases and texts are promises that clients lean on (B9, B11)."""
    assert (error.code, str(error), error.message) == (code, text, text)
    assert isinstance(error, base)


@pytest.mark.parametrize("error", EXAMPLES)
def test_each_error_survives_pickling_and_copying(error: ToolkitError) -> None:
    """An error from a worker process is equal in kind, fields and text (B9)."""
    for twin in (
        pickle.loads(pickle.dumps(error)),  # noqa: S301 - our own bytes
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(twin) is type(error)
        assert fields_of(twin) == fields_of(error)
        assert str(twin) == str(error)


def test_every_error_class_is_in_the_table_above() -> None:
    """A new error needs a code, a base and a text that somebody has thought about."""
    assert {type(error) for error in EXAMPLES} == set(CLASSES)


def test_no_two_error_classes_share_a_code() -> None:
    """Who reads only the code knows what went wrong (B9, B11)."""
    codes = [one.__dict__.get("code") for one in CLASSES]
    assert None not in codes
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda one: one.__name__)
def test_every_error_class_is_drawn_in_the_tree(error_class: type) -> None:
    """One glance at the module's head tells what can be caught."""
    tree = (errors.__doc__ or "").partition("\n\n")[2].split()
    assert error_class.__name__ in tree


@pytest.mark.parametrize("base", [DiscoveryError, RegistryError, ToolCallError])
def test_families_stay_apart(base: type[ToolkitError]) -> None:
    """A server's fault is never reported as its client's: no error is two (B10)."""
    others = {DiscoveryError, RegistryError, ToolCallError} - {base}
    family = [one for one in CLASSES if issubclass(one, base)]
    assert not [one for one in family if others & {*one.__mro__}]


def test_no_error_shadows_a_builtin() -> None:
    """`except PermissionError` keeps meaning Python's own (B59)."""
    assert not {one.__name__ for one in CLASSES} & vars(builtins).keys()


def test_errors_are_importable_from_toolkit() -> None:
    """What a backend catches most is at the front door, and is the same class."""
    for one in CLASSES:
        if one.__name__ in toolkit.__all__:
            assert getattr(toolkit, one.__name__) is one


def test_a_group_of_faults_keeps_its_kind_when_it_is_split() -> None:
    """`except*` takes some faults, and the rest is still a DiscoveryFailedError."""
    load, duplicate = PluginLoadError(HERE, "x"), DuplicateToolError("a", [HERE], "y")
    whole = DiscoveryFailedError("found faults", [load, duplicate])
    taken, rest = whole.split(PluginLoadError)
    assert isinstance(taken, DiscoveryFailedError)
    assert isinstance(rest, DiscoveryFailedError)
    assert (taken.exceptions, rest.exceptions) == ((load,), (duplicate,))
    assert str(rest) == "found faults (1 fault)"


def test_a_group_without_faults_cannot_be_made() -> None:
    """Strict discovery that found nothing wrong has nothing to raise."""
    with pytest.raises(ValueError, match="non-empty"):
        DiscoveryFailedError("found faults", [])


def test_rejected_values_are_not_kept() -> None:
    """What a caller typed in wrongly, perhaps a password, is not in the error (B9)."""
    error = InvalidArgumentsError("login", [("password", "too short")])
    assert error.args == ("login", (("password", "too short"),))


@pytest.mark.parametrize(
    ("error_class", "given", "text"),
    [
        (ValueError, "two\n  lines", "ValueError: two lines"),
        (ValueError, "", "ValueError"),
        (KeyError, "k", "KeyError: 'k'"),
        (Unnamed, "text", "Unnamed: text"),
        (Untold, "", "Untold (its text cannot be read)"),
    ],
    ids=["lines", "empty", "key", "unnamed", "untold"],
)
def test_any_exception_is_described_on_one_line(
    error_class: type[BaseException], given: str, text: str
) -> None:
    """A plugin's exception cannot break the message about it (B7)."""
    error = error_class(given)
    assert describe_error(error) == text
    assert text.startswith(kind_of_error(error))


def test_an_interrupt_is_not_swallowed_while_describing() -> None:
    """Ctrl-C works even while a plugin's exception is being read."""

    class Stubborn(Exception):  # noqa: N818 - a plugin's own
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe_error(Stubborn())
