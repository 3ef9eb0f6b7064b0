"""What is told about calls, to whom it is told, and what is kept back.

The dispatcher is the only emitter of these events. A sink is any callable that takes a
`ToolEvent`; it must not block (`toolkit.sinks` has sinks that never do). A sink that
raises is logged and never disturbs a call.
"""

import logging
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from weakref import WeakMethod

from pydantic_core import from_json, to_json

from toolkit.context import REDACTED, Secrets

logger = logging.getLogger(__name__)


class EventType(StrEnum):
    """The kinds of tool event; the values go on the wire."""

    TOOL_APPROVAL_REQUIRED = "tool_approval_required"
    TOOL_APPROVAL_SETTLED = "tool_approval_settled"
    TOOL_EXECUTING = "tool_executing"
    TOOL_PART = "tool_part"
    TOOL_PROGRESS = "tool_progress"
    TOOL_COMPLETED = "tool_completed"


@dataclass(frozen=True, slots=True)
class Blanks:
    """What is blanked out of an event's arguments. Immutable; for one tool.

    Attributes:
        names: Names of fields whose values are blanked out, at every depth; compared
            whole and without case: ``monkey`` holds no key.
        synonyms: The names of each field that goes by several; one of them in `names`
            stands for all.
        secrets: This user's secrets, whose values are blanked out of every text.
        folded: All the names, with their synonyms, folded.
    """

    names: frozenset[str]
    synonyms: tuple[frozenset[str], ...] = ()
    secrets: Secrets | None = None
    folded: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Fold the names, once for all calls."""
        names = frozenset(map(str.casefold, self.names))
        groups = [frozenset(map(str.casefold, one)) for one in self.synonyms]
        folded = names.union(*(group for group in groups if group & names))
        object.__setattr__(self, "folded", folded)

    def read(self, text: bytes) -> Any:  # noqa: ANN401 - any JSON value
        """Return JSON text as values, blanked out."""
        if self.secrets:
            text = self.secrets.scrub(text.decode()).encode()
        return _blank(from_json(text), self.folded)


class ShownArguments(Mapping[str, Any]):
    """A call's arguments as its events show them. Immutable.

    Kept as JSON from the moment of the call, and read when somebody looks: what a tool
    does to its arguments does not change them, and a sink that does not look costs
    nothing. What is to be blanked out is in no text or copy of this.
    """

    __slots__ = ("_blanks", "_text", "_values")

    def __init__(self, text: bytes, blanks: Blanks) -> None:
        """Keep a JSON object, and what to blank out of it."""
        self._text = text
        self._blanks = blanks
        self._values: dict[str, Any] | None = None

    def _read(self) -> dict[str, Any]:
        values = self._values
        if values is None:
            values = self._values = self._blanks.read(self._text)
            self._text = b""
        return values

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return an argument as a JSON value."""
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._read())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._read())

    def __copy__(self) -> dict[str, Any]:
        """Return what is shown, as a dict of its own."""
        return dict(self._read())

    def __deepcopy__(self, memo: dict[int, object]) -> dict[str, Any]:
        """Return what is shown, as a dict of its own."""
        copied: dict[str, Any] = from_json(to_json(self._read()))
        return copied

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        """Pickle what is shown, and nothing else."""
        return dict, (self._read(),)

    def __repr__(self) -> str:
        """Show what is shown."""
        return repr(self._read())


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEvent:
    """One thing that really happened to one call. Immutable.

    Attributes:
        type: What happened.
        call_id: The call; the same in its result and in `ToolContext`.
        tool: The name the caller used.
        user_id: Whose call it is.
        session_id: That user's session.
        thread_id: The conversation.
        run_id: The run within it.
        at: When, in seconds since 1970 (UTC); `timestamp` is the same as a datetime.
        arguments: The checked arguments as JSON values, secrets blanked out; None on
            events that do not show them, or where they cannot be shown.
        data: A part of a stream, as a JSON value; the ``fraction`` and ``message`` of
            progress; the ``reason`` of a settled approval; else None.
        ok: Whether the call succeeded, or was approved; None while that is open.
        error_code: The error's stable code; empty when there is none.
        seconds: How long it ran; None while it runs.
        truncated: Whether the result's JSON was cut.
    """

    type: EventType
    call_id: str
    tool: str
    user_id: str
    session_id: str
    thread_id: str
    run_id: str
    at: float = field(default_factory=time.time)
    arguments: Mapping[str, Any] | None = field(default=None, hash=False)
    data: Any = field(default=None, hash=False)
    ok: bool | None = None
    error_code: str = ""
    seconds: float | None = None
    truncated: bool = False

    @property
    def timestamp(self) -> datetime:
        """When, in UTC."""
        return datetime.fromtimestamp(self.at, UTC)

    def to_json(self) -> str:
        """Return the event as JSON text, whatever its arguments hold.

        Arguments and data that cannot be written, such as cyclic ones, are left out.
        """
        facts = {item.name: getattr(self, item.name) for item in fields(self)}
        del facts["at"]
        facts["timestamp"] = self.timestamp
        if self.arguments is not None:
            facts["arguments"] = dict(self.arguments)
        write = partial(to_json, serialize_unknown=True, inf_nan_mode="null")
        try:
            return write(facts).decode()
        except ValueError:
            return write({**facts, "arguments": None, "data": None}).decode()


class _OpenEvent:
    """A `ToolEvent` that is being made: assigning is three times as fast as its init.

    It has the same slots, so that it becomes one by its class alone.
    """

    __slots__ = ToolEvent.__slots__


class CallEvents:
    """Makes the events of one user's calls. Belongs to that user's dispatcher."""

    __slots__ = ("_ids",)

    def __init__(
        self, user_id: str, session_id: str, thread_id: str, run_id: str
    ) -> None:
        """Keep whose events they are."""
        self._ids = (user_id, session_id, thread_id, run_id)

    def make(  # noqa: PLR0913, PLR0917 - the fields; called for every event
        self,
        kind: EventType,
        call_id: str,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        data: Any = None,  # noqa: ANN401 - any JSON value
        ok: bool | None = None,  # noqa: FBT001 - see above
        error_code: str = "",
        seconds: float | None = None,
        truncated: bool = False,  # noqa: FBT001, FBT002 - see above
    ) -> ToolEvent:
        """Return an event of now.

        Args:
            kind: What happened.
            call_id: The call.
            tool: The name the caller used.
            arguments: As the event shows them.
            data: As the event has it.
            ok: Whether it went well.
            error_code: What went wrong.
            seconds: How long it ran.
            truncated: Whether the result's JSON was cut.
        """
        event: Any = _OpenEvent()
        event.type = kind
        event.call_id = call_id
        event.tool = tool
        event.user_id, event.session_id, event.thread_id, event.run_id = self._ids
        event.at = time.time()
        event.arguments = arguments
        event.data = data
        event.ok = ok
        event.error_code = error_code
        event.seconds = seconds
        event.truncated = truncated
        event.__class__ = ToolEvent
        made: ToolEvent = event
        return made


class CatalogEventType(StrEnum):
    """The kinds of catalog event; the values go on the wire."""

    CATALOG_REFRESHED = "catalog_refreshed"
    CATALOG_ROLLED_BACK = "catalog_rolled_back"
    CATALOG_REFRESH_FAILED = "catalog_refresh_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEvent:
    """One change, or failed change, of the tools of a process. Immutable.

    Attributes:
        type: What happened.
        generation: The catalog that new systems are made from now.
        previous: The one that they were made from before.
        status: What discovery says of the new one: healthy, degraded or empty.
        added: Qualified names of tools that were not there before, sorted.
        removed: Those that are no more there, sorted.
        changed: Those whose definition is another one, sorted.
        detail: What a failed refresh failed of; empty otherwise.
        timestamp: When, in UTC.
    """

    type: CatalogEventType
    generation: int
    previous: int
    status: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    detail: str = ""
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))


Sink = Callable[[ToolEvent], None]
CatalogSink = Callable[[CatalogEvent], None]

E = TypeVar("E", ToolEvent, CatalogEvent)


def _blank(value: Any, fields: frozenset[str]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {
            key: REDACTED if key.casefold() in fields else _blank(item, fields)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_blank(item, fields) for item in value]
    return value


def deliver(event: E, sinks: Iterable[Callable[[E], None]]) -> None:
    """Tell every sink; one that raises is logged, and the others are still told."""
    for sink in sinks:
        try:
            sink(event)
        except (Exception, CancelledError):  # which is its own: nothing is awaited here
            logger.exception("event sink %r failed on %s", sink, event.type)


def weakly(method: Callable[[E], None]) -> Callable[[E], None]:
    """Return a sink that tells a method, as long as somebody else keeps its object."""
    known = WeakMethod(method)

    def tell(event: E) -> None:
        found = known()
        if found is not None:
            found(event)

    return tell
