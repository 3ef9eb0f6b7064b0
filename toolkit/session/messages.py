"""The messages of wire version 1: what a client may send, and what it is sent.

The models are what is published (`toolkit.session.published`), and what tests hold
every message against. Incoming messages are read into them. Outgoing ones are written
without them, by `Session.event`, because a server writes tens of thousands a second.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

VERSION: Final = 1
MAX_DEPTH: Final = 32  # levels; every message of ours needs one
MAX_TEXT: Final = 65_536  # characters of one question to an agent
MAX_ID: Final = 128  # characters

Id: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]


class ErrorCode(StrEnum):
    """What can be wrong with a frame; the values go on the wire."""

    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_MESSAGE = "invalid_message"
    BINARY_FRAME = "binary_frame"
    NOT_UTF8 = "not_utf8"
    TOO_BIG = "too_big"
    TOO_MANY_INVALID = "too_many_invalid"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code, no secret


# --- what a client sends -----------------------------------------------------------


class _Command(BaseModel):
    """A client's message. Fields it does not know are ignored, also a ``user_id``."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class AgentRequest(_Command):
    """Ask an agent. Answered with the events of one run."""

    type: Literal["agent_request"]
    message: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
    agent: Id | None = Field(
        default=None, description="None: the server's default agent."
    )
    request_id: Id | None = Field(
        default=None, description="Comes back on all the events."
    )


class Cancel(_Command):
    """Give up a run: by ``run_id``, or the ``request_id`` of the question.

    Without either, all of them.
    """

    type: Literal["cancel"]
    run_id: Id | None = None
    request_id: Id | None = None


class Ping(_Command):
    """Ask whether the server is there. Answered with ``pong``."""

    type: Literal["ping"]
    nonce: Annotated[str, StringConstraints(max_length=MAX_ID)] | None = None
    request_id: Id | None = None


class ToolIntrospectionRequest(_Command):
    """Ask for the tools and agents there are. Answered: ``tool_registry_state``."""

    type: Literal["tool_introspection_request"]
    request_id: Id | None = None


class Authenticate(_Command):
    """Show a new token of the same user before the old one expires."""

    type: Literal["authenticate"]
    token: Annotated[str, StringConstraints(min_length=1, max_length=16_384)] = Field(
        repr=False
    )
    request_id: Id | None = None


class ToolApproval(_Command):
    """Say whether a call that waits for a person may run."""

    type: Literal["tool_approval"]
    call_id: Id
    approved: bool
    reason: Annotated[str, StringConstraints(max_length=1_024)] = ""
    request_id: Id | None = None


Command: TypeAlias = (
    AgentRequest
    | Cancel
    | Ping
    | ToolIntrospectionRequest
    | Authenticate
    | ToolApproval
)

COMMANDS: Final[Mapping[str, type[Command]]] = {
    "agent_request": AgentRequest,
    "cancel": Cancel,
    "ping": Ping,
    "tool_introspection_request": ToolIntrospectionRequest,
    "authenticate": Authenticate,
    "tool_approval": ToolApproval,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that is no message: what to answer. Immutable; the session goes on.

    Attributes:
        code: What is wrong with it.
        message: The same in words, with what would do. Quotes no value of the frame.
        request_id: The frame's own, where it has one that can be used.
    """

    code: ErrorCode
    message: str
    request_id: str | None = None


# --- what a client is sent ---------------------------------------------------------


class MessageType(StrEnum):
    """The kinds of message that the server sends; there are no others."""

    AGENT_STARTED = "agent_started"
    AGENT_THINKING = "agent_thinking"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    AGENT_COMPLETED = "agent_completed"
    ERROR = "error"
    PONG = "pong"
    TOOL_REGISTRY_STATE = "tool_registry_state"
    TOOLS_CHANGED = "tools_changed"


class _Data(BaseModel):
    """What a message says. A field that is not listed is a slip of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AgentStartedData(_Data):
    """Who works on it."""

    agent: str
    message_chars: int = Field(ge=0, description="Characters of the question.")
    requested_agent: str | None = Field(
        default=None, description="What was asked for, where there is no such agent."
    )


class AgentThinkingData(_Data):
    """What the agent says of its work; more fields may be there."""

    model_config = ConfigDict(extra="allow")

    agent: str
    thought: str
    step: int = Field(ge=0)


class ToolExecutingData(_Data):
    """Which tool runs, and with what."""

    call_id: str
    tool: str
    arguments: dict[str, JsonValue] | None = Field(
        description="Secrets blanked out; null where they cannot be shown."
    )


class ToolCompletedData(_Data):
    """What the call came to."""

    call_id: str
    tool: str
    ok: bool
    seconds: float = Field(ge=0, strict=False)
    truncated: bool = Field(description="The result was cut to the size limit.")
    result: JsonValue = Field(description="null after an error")
    error_code: str = Field(description="Empty when all went well.")
    error: str | None


class AgentCompletedData(_Data):
    """The answer."""

    agent: str
    result: str = Field(description="The answer as text.")
    details: JsonValue = Field(description="The same as data, or null.")
    seconds: float = Field(ge=0, strict=False)
    tool_calls: int = Field(ge=0)


class ErrorData(_Data):
    """What went wrong."""

    code: str = Field(description="Stable.")
    message: str
    fatal: bool = Field(description="The connection ends with it.")
    retry_after: float | None = Field(
        default=None,
        ge=0,
        strict=False,
        description="Seconds to wait before the next try.",
    )


class PongData(_Data):
    """What the ping had."""

    nonce: str | None


class ToolEntry(_Data):
    """A tool of this user; more fields may be there."""

    model_config = ConfigDict(extra="allow")

    name: str
    description: str
    input_schema: dict[str, JsonValue]


class AbsentTool(_Data):
    """A tool that this user might look for, and why it is not there."""

    name: str
    distribution: str
    reason: str
    remedy: str


class AgentEntry(_Data):
    """An agent that this user may ask."""

    name: str
    description: str


class ToolRegistryStateData(_Data):
    """What this connection has."""

    registry_id: str
    health: dict[str, JsonValue]
    tools: list[ToolEntry]
    absent: list[AbsentTool]
    agents: list[AgentEntry]


class ToolsChangedData(_Data):
    """How the tools of this connection are others now."""

    generation: int
    added: list[str]
    removed: list[str]
    changed: list[str]
    tools: list[ToolEntry] = Field(description="All that are there now.")


class _Message(BaseModel):
    """The envelope."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    sequence: int = Field(ge=1, description="1, 2, 3 … on each connection, no gaps.")
    timestamp: str = Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC."
    )
    run_id: str | None
    request_id: str | None


class _RunMessage(_Message):
    """A message about a run."""

    run_id: str


class AgentStarted(_RunMessage):
    """An agent has begun."""

    type: Literal["agent_started"]
    agent: str
    data: AgentStartedData


class AgentThinking(_RunMessage):
    """An agent says what it does, or that it still waits."""

    type: Literal["agent_thinking"]
    thought: str
    data: AgentThinkingData


class ToolExecuting(_RunMessage):
    """A tool begins; one ``tool_completed`` with the same ``call_id`` follows."""

    type: Literal["tool_executing"]
    tool: str
    call_id: str
    data: ToolExecutingData


class ToolCompleted(_RunMessage):
    """A tool has ended, well or not."""

    type: Literal["tool_completed"]
    tool: str
    call_id: str
    ok: bool
    data: ToolCompletedData


class AgentCompleted(_RunMessage):
    """The run has ended with an answer."""

    type: Literal["agent_completed"]
    result: str
    data: AgentCompletedData


class ErrorMessage(_Message):
    """Something failed. With a ``run_id`` it ends that run."""

    type: Literal["error"]
    code: str
    message: str
    data: ErrorData


class Pong(_Message):
    """The server is there."""

    run_id: None
    type: Literal["pong"]
    nonce: str | None
    data: PongData


class ToolRegistryState(_Message):
    """The tools and agents there are, and what is absent, and why."""

    run_id: None
    type: Literal["tool_registry_state"]
    data: ToolRegistryStateData


class ToolsChanged(_Message):
    """There are other tools now than before."""

    run_id: None
    type: Literal["tools_changed"]
    data: ToolsChangedData


Message: TypeAlias = (
    AgentStarted
    | AgentThinking
    | ToolExecuting
    | ToolCompleted
    | AgentCompleted
    | ErrorMessage
    | Pong
    | ToolRegistryState
    | ToolsChanged
)

MESSAGES: Final[Mapping[MessageType, type[Message]]] = {
    MessageType.AGENT_STARTED: AgentStarted,
    MessageType.AGENT_THINKING: AgentThinking,
    MessageType.TOOL_EXECUTING: ToolExecuting,
    MessageType.TOOL_COMPLETED: ToolCompleted,
    MessageType.AGENT_COMPLETED: AgentCompleted,
    MessageType.ERROR: ErrorMessage,
    MessageType.PONG: Pong,
    MessageType.TOOL_REGISTRY_STATE: ToolRegistryState,
    MessageType.TOOLS_CHANGED: ToolsChanged,
}


# --- reading a frame ---------------------------------------------------------------


def parse(text: str) -> Command | Refused:
    """Read one text frame. Total: whatever the text is, the answer is one of these.

    Source of the refusal of repeated names: RFC 8259, section 4; two readers of such
    an object may see different messages.
    """
    values = _read(text)
    if isinstance(values, Refused):
        return values
    if not isinstance(values, dict):
        return _refuse(ErrorCode.NOT_AN_OBJECT, "send one JSON object in each frame")
    request_id = _usable(values.get("request_id"))
    kind = values.get("type")
    model = COMMANDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return Refused(ErrorCode.UNKNOWN_TYPE, _unknown(kind), request_id)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        return Refused(ErrorCode.INVALID_MESSAGE, _faults(error), request_id)


class _UnreadableError(ValueError):
    """JSON that Python would read, and we do not."""

    code: ClassVar[ErrorCode] = ErrorCode.INVALID_JSON


class _RepeatedNameError(_UnreadableError):
    """An object says one thing twice."""

    code: ClassVar[ErrorCode] = ErrorCode.DUPLICATE_KEY


def _read(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value that a text is, or why it is none."""
    try:
        values = _DECODER.decode(text)
    except _UnreadableError as error:
        return _refuse(error.code, str(error))
    except RecursionError:
        return _too_deep()
    except ValueError:
        return _refuse(ErrorCode.INVALID_JSON, "the frame is no JSON; send an object")
    return _too_deep() if _is_deep(values) else values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, unless two of its names are the same."""
    values = dict(pairs)
    if len(values) != len(pairs):
        message = "an object has one name twice; send each once"
        raise _RepeatedNameError(message)
    return values


def _constant(name: str) -> None:
    """Refuse NaN and the infinities, which JSON has not."""
    message = f"{name} is no JSON; send null"
    raise _UnreadableError(message)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _is_deep(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Tell whether there are more levels than allowed; level by level, no recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [item for one in inner for item in one if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _too_deep() -> Refused:
    return _refuse(ErrorCode.TOO_DEEP, f"nest no more than {MAX_DEPTH} levels")


def _refuse(code: ErrorCode, message: str) -> Refused:
    return Refused(code, message)


def _usable(request_id: object) -> str | None:
    """Return a request id that can be sent back."""
    is_fit = isinstance(request_id, str) and 0 < len(request_id) <= MAX_ID
    if not is_fit or not str(request_id).isprintable():
        return None
    return str(request_id)


def _unknown(kind: object) -> str:
    """Say which types there are, or which was probably meant."""
    near = get_close_matches(kind[:64], COMMANDS, n=1) if isinstance(kind, str) else []
    if near:
        return f"there is no such type; did you mean {near[0]}?"
    return f"give as type one of {', '.join(COMMANDS)}"


def _faults(error: ValidationError) -> str:
    """Name up to three faults, and none of the values."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in faults[:3]]
    return "; ".join(told)
