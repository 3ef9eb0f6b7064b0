"""The state of one connection: what may be read and sent now. No I/O, no clock.

::

    connecting → authenticated → ready → closing → closed

    a run:   new_run → agent_started → (agent_thinking | tool_executing |
             tool_completed)* → agent_completed or error
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from os import urandom
from typing import Any, Final, NamedTuple

from pydantic.fields import FieldInfo

from toolkit.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    SessionClosedError,
)
from toolkit.session.messages import (
    MESSAGES,
    VERSION,
    Authenticate,
    Command,
    ErrorCode,
    MessageType,
    Refused,
    parse,
)
from toolkit.session.writing import write

# Source of the numbers: RFC 6455, section 7.4.1.
CLOSE_CODES: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.BINARY_FRAME: 1003,
    ErrorCode.NOT_UTF8: 1007,
    ErrorCode.TOO_BIG: 1009,
    ErrorCode.TOO_MANY_INVALID: 1008,
    ErrorCode.TOKEN_EXPIRED: 1008,
}
MAX_REASON_BYTES: Final = 123  # RFC 6455, section 5.5: 125, less 2 for the code


class State(StrEnum):
    """How far a connection is."""

    CONNECTING = "connecting"
    AUTHENTICATED = "authenticated"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"


class _Shape(NamedTuple):
    """What the data of one kind of message has, as its model says."""

    head: str  # how a message of it begins
    needed: frozenset[str]
    allowed: frozenset[str] | None  # None: more may be there
    copied: tuple[str, ...]  # to the top level
    plain: tuple[tuple[str, type], ...]  # what must be a text, a flag or a number


_PLAIN: Final[tuple[type, ...]] = (str, bool, int)


def _shape_of(kind: MessageType) -> _Shape:
    """Read it off the model."""
    message = MESSAGES[kind]
    data: Any = message.model_fields["data"].annotation
    fields: Mapping[str, FieldInfo] = data.model_fields
    hints: Mapping[str, Any] = {name: fields[name].annotation for name in fields}
    return _Shape(
        head=f'{{"version":{VERSION},"type":"{kind}","sequence":',
        needed=frozenset(name for name in fields if fields[name].is_required()),
        allowed=None if data.model_config["extra"] == "allow" else frozenset(fields),
        copied=tuple(name for name in message.model_fields if name in fields),
        plain=tuple((name, hint) for name, hint in hints.items() if hint in _PLAIN),
    )


_SHAPES: Final = {kind: _shape_of(kind) for kind in MessageType}
_OF_RUNS: Final = frozenset(
    {
        MessageType.AGENT_STARTED,
        MessageType.AGENT_THINKING,
        MessageType.TOOL_EXECUTING,
        MessageType.TOOL_COMPLETED,
        MessageType.AGENT_COMPLETED,
    }
)
_NOTHING: Final[Mapping[str, bytes]] = {}
_ENDS: Final = frozenset({MessageType.AGENT_COMPLETED, MessageType.ERROR})


@dataclass(slots=True)
class _Run:
    """A run that has not ended."""

    ids: str  # the ids as they are in its messages
    request_id: str | None
    is_started: bool = False
    calls: dict[str, str] = field(default_factory=dict)  # call id → tool


class Session:
    """The protocol of one connection. Belongs to its supervisor, and to one task.

    Attributes:
        state: How far the connection is.
        sequence: Number of the last message that was made; 0 before the first.
        expires_at: When the user's token ends, in Unix seconds; None: never.
        close_code: What the connection is, or was, closed with; None before.
        close_reason: The same in words, at most 123 bytes.
    """

    __slots__ = (
        "_day",
        "_invalid",
        "_max_invalid",
        "_max_message_bytes",
        "_moment",
        "_runs",
        "_second",
        "_stamp",
        "close_code",
        "close_reason",
        "expires_at",
        "sequence",
        "state",
    )

    def __init__(
        self, *, max_message_bytes: int = 1_048_576, max_invalid_messages: int = 20
    ) -> None:
        """Begin with a connection that nobody has been let in on.

        Args:
            max_message_bytes: Of one frame.
            max_invalid_messages: How many in a row end the connection.
        """
        self.state = State.CONNECTING
        self.sequence = 0
        self.expires_at: float | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self._max_message_bytes = max_message_bytes
        self._max_invalid = max_invalid_messages
        self._invalid = 0
        self._runs: dict[str, _Run] = {}
        self._moment = self._second = -1
        self._day = ""
        self._stamp = ""

    def __repr__(self) -> str:
        """Show the state and how much is going on."""
        return f"<Session {self.state}: {len(self._runs)} runs, sent {self.sequence}>"

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of the runs that have not ended, oldest first; also after closing."""
        return tuple(self._runs)

    def request_of(self, run_id: str) -> str | None:
        """Return the request that a run answers; None also where there is no run."""
        run = self._runs.get(run_id)
        return None if run is None else run.request_id

    def runs_of(self, request_id: str) -> tuple[str, ...]:
        """Return the ids of the open runs that answer a request, oldest first."""
        return tuple(
            one for one, run in self._runs.items() if run.request_id == request_id
        )

    def calls_of(self, run_id: str) -> Mapping[str, str]:
        """Return call id → tool of a run's open calls, oldest first; often empty."""
        run = self._runs.get(run_id)
        return {} if run is None else dict(run.calls)

    # --- states

    def authenticated(self, expires_at: float | None = None) -> None:
        """Note that the user has shown a valid token; again later, for a new one.

        Args:
            expires_at: When it ends, in Unix seconds.

        Raises:
            LocalProtocolError: The connection is closing or closed.
        """
        if self.state in {State.CLOSING, State.CLOSED}:
            raise self._wrong("authenticated()", "before closing")
        if self.state is State.CONNECTING:
            self.state = State.AUTHENTICATED
        self.expires_at = expires_at

    def ready(self) -> None:
        """Note that the user's tools are there: frames may be read from now on.

        Raises:
            LocalProtocolError: Nobody is authenticated, or it was ready before.
        """
        if self.state is not State.AUTHENTICATED:
            raise self._wrong("ready()", "once, after authenticated()")
        self.state = State.READY

    def begin_close(self, code: int = 1000, reason: str = "") -> None:
        """Read no more frames and start no more runs; those there are may still end.

        The first code and reason count; a second call changes nothing.
        """
        if self.state not in {State.CLOSING, State.CLOSED}:
            self.state = State.CLOSING
            self.close_code = code
            short = reason.encode(errors="replace")[:MAX_REASON_BYTES]
            self.close_reason = short.decode(errors="ignore")

    def closed(self) -> None:
        """Note that the connection is gone: nothing is read or sent any more."""
        self.state = State.CLOSED

    # --- reading

    def receive(self, frame: str | bytes, now: float) -> Command | Refused:
        """Read one frame.

        Args:
            frame: A text frame as text; a binary frame as bytes.
            now: Unix seconds.

        Returns:
            What the client wants, or why the frame is no message: to be answered with
            an ``error`` that is not fatal.

        Raises:
            RemoteProtocolError: The peer broke the protocol, and the connection must
                end with the error's close code.
            LocalProtocolError: It is not ready: the reader began too early.
            SessionClosedError: It is closing or closed; the reader ends.
        """
        self._check_reading()
        command = parse(self._text(frame))
        if isinstance(command, Refused):
            return self._refused(command)
        self._invalid = 0
        self._check_token(command, now)
        return command

    def _check_reading(self) -> None:
        if self.state in {State.CLOSING, State.CLOSED}:
            raise SessionClosedError(self.state)
        if self.state is not State.READY:
            raise self._wrong("receive()", "after ready()")

    def _text(self, frame: str | bytes) -> str:
        """Return a frame's text."""
        if not isinstance(frame, str):
            raise _fatal(ErrorCode.BINARY_FRAME, "a binary frame; send text frames")
        try:
            size = len(frame.encode())
        except UnicodeEncodeError:
            raise _fatal(ErrorCode.NOT_UTF8, "a text frame that is not UTF-8") from None
        if size > self._max_message_bytes:
            raise _fatal(
                ErrorCode.TOO_BIG,
                f"a message of {size} bytes; send {self._max_message_bytes} at most",
            )
        return frame

    def _refused(self, refused: Refused) -> Refused:
        """Count what is no message; too many in a row are no accident."""
        self._invalid += 1
        if self._invalid >= self._max_invalid:
            raise _fatal(
                ErrorCode.TOO_MANY_INVALID,
                f"{self._invalid} invalid messages in a row; the last: "
                f"{refused.message}",
            )
        return refused

    def _check_token(self, command: Command, now: float) -> None:
        """Let a client whose token has ended do nothing but show another one."""
        has_ended = self.expires_at is not None and now >= self.expires_at
        if has_ended and not isinstance(command, Authenticate):
            raise _fatal(ErrorCode.TOKEN_EXPIRED, "the token has expired")

    # --- sending

    def new_run(self, request_id: str | None = None) -> str:
        """Return the id of a run that is to start; no other run anywhere has it.

        Raises:
            LocalProtocolError: The connection is not ready.
            SessionClosedError: It is closing or closed.
        """
        self._check_reading()
        run_id = urandom(16).hex()
        self._runs[run_id] = _Run(_ids(run_id, request_id), request_id)
        return run_id

    def event(
        self,
        kind: MessageType,
        data: Mapping[str, Any],
        *,
        now: float,
        run_id: str | None = None,
        request_id: str | None = None,
        spliced: Mapping[str, bytes] | None = None,
    ) -> str:
        """Return the next message as JSON text. It must be sent, and in this order.

        Whatever the data holds is written. A message that is refused uses up no number
        and changes no run.

        Args:
            kind: What is told.
            data: What is told of it, by the names that the kind has.
            now: Unix seconds; the message's timestamp.
            run_id: The run it is about, or, for an error, that it ends.
            request_id: The request that it answers; of a run's messages it is known.
            spliced: More data, as JSON text that is put in as it is.

        Raises:
            LocalProtocolError: The kind has other data, or it is not the time for it.
            SessionClosedError: The connection is closed.
        """
        shape = _SHAPES[kind]
        if self.state is not State.READY:
            self._check_state(kind)
        _check_data(kind, shape, data, spliced or _NOTHING)
        run = self._run_for(kind, run_id)
        if run is not None:
            _check_turn(kind, run, data)
        body = {name: data[name] for name in shape.copied}
        body["data"] = data
        text = _joined(write(body), spliced)
        if run is not None:
            self._note(kind, run, run_id, data)
        self.sequence += 1
        ids = _ids(None, request_id) if run is None else run.ids
        stamp = self._timestamp(now)
        return f'{shape.head}{self.sequence},"timestamp":"{stamp}",{ids},{text}'

    def _check_state(self, kind: MessageType) -> None:
        """Let messages out when they may be sent."""
        if self.state is State.CLOSED:
            raise SessionClosedError(self.state)
        if self.state is State.CLOSING and kind is MessageType.AGENT_STARTED:
            raise self._wrong(kind, "before closing")
        is_early = self.state in {State.CONNECTING, State.AUTHENTICATED}
        is_refusal = self.state is State.AUTHENTICATED and kind is MessageType.ERROR
        if is_early and not is_refusal:
            raise self._wrong(kind, "after ready()")

    def _run_for(self, kind: MessageType, run_id: str | None) -> _Run | None:
        """Return the run that a message is about; None when it is about none."""
        if run_id is None:
            if kind in _OF_RUNS:
                raise LocalProtocolError(f"{kind} without a run_id")
            return None
        if kind not in _OF_RUNS and kind is not MessageType.ERROR:
            raise LocalProtocolError(f"{kind} belongs to no run")
        run = self._runs.get(run_id)
        if run is None:
            raise LocalProtocolError(f"{kind} of run {run_id}, which is not open")
        return run

    def _note(
        self,
        kind: MessageType,
        run: _Run,
        run_id: str | None,
        data: Mapping[str, Any],
    ) -> None:
        """Keep what a message changes."""
        if kind is MessageType.AGENT_STARTED:
            run.is_started = True
        elif kind is MessageType.TOOL_EXECUTING:
            run.calls[data["call_id"]] = data["tool"]
        elif kind is MessageType.TOOL_COMPLETED:
            del run.calls[data["call_id"]]
        elif kind in _ENDS and run_id is not None:
            del self._runs[run_id]

    def _timestamp(self, now: float) -> str:
        """Write a time; what messages have in common of it is written once."""
        moment = round(now * 1000)
        if moment != self._moment:
            self._moment = moment
            second, thousandths = divmod(moment, 1000)
            if second != self._second:
                self._second = second
                self._day = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._stamp = f"{self._day}.{thousandths:03d}Z"
        return self._stamp

    def _wrong(self, what: str, when: str) -> LocalProtocolError:
        return LocalProtocolError(f"{what} while {self.state}; it is for {when}")


def _check_data(
    kind: MessageType,
    shape: _Shape,
    data: Mapping[str, Any],
    spliced: Mapping[str, bytes],
) -> None:
    """Hold the data's names, and its plain values, against the model."""
    names = {*data, *spliced} if spliced else data.keys()
    if not shape.needed <= names:
        raise LocalProtocolError(f"{kind} without {_list(shape.needed - names)}")
    if shape.allowed is not None and not names <= shape.allowed:
        raise LocalProtocolError(f"{kind} has no {_list(names - shape.allowed)}")
    if spliced and not spliced.keys().isdisjoint({*data, *shape.copied}):
        raise LocalProtocolError(f"{kind} with {_list(spliced)} put in twice")
    for name, wanted in shape.plain:
        if name in data and not isinstance(data[name], wanted):
            raise LocalProtocolError(f"{kind}: {name} is no {wanted.__name__}")


def _list(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names)))


def _check_turn(kind: MessageType, run: _Run, data: Mapping[str, Any]) -> None:
    """Hold a message against what was told of its run before."""
    if run.is_started == (kind is MessageType.AGENT_STARTED):
        raise LocalProtocolError(f"{kind} of a run that is {_told(run)}")
    if kind is MessageType.TOOL_EXECUTING and data["call_id"] in run.calls:
        raise LocalProtocolError(f"call {data['call_id']} executes already")
    if kind is MessageType.TOOL_COMPLETED:
        if run.calls.get(data["call_id"]) != data["tool"]:
            raise LocalProtocolError(f"no call {data['call_id']} of {data['tool']}")
    elif kind in _ENDS and run.calls:
        raise LocalProtocolError(f"{kind} before calls {', '.join(run.calls)} end")


def _told(run: _Run) -> str:
    return "started already" if run.is_started else "not started"


def _ids(run_id: str | None, request_id: str | None) -> str:
    """Write the ids of a message."""
    ids = write({"run_id": run_id, "request_id": request_id})
    return ids[1:-1].decode()


def _joined(text: bytes, spliced: Mapping[str, bytes] | None) -> str:
    """Return a body without its first brace, more data put in at the data's end."""
    if not spliced:
        return text[1:].decode()
    more = b",".join(write(name) + b":" + spliced[name] for name in spliced)
    body = text[1:-2]
    return (body + (b"" if body.endswith(b"{") else b",") + more + b"}}").decode()


def _fatal(code: ErrorCode, detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(CLOSE_CODES[code], code, detail)
