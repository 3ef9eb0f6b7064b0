"""What is told about calls, to whom it is told, and what is kept back.

The dispatcher is the only emitter of these events. A sink is any callable that takes a
`ToolEvent`; it must not block. A sink that raises is logged and never disturbs a call.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar

from pydantic_core import to_json, to_jsonable_python

logger = logging.getLogger(__name__)

REDACTED: Final = "[redacted]"


class EventType(StrEnum):
    """The kinds of tool event; the values go on the wire."""

    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"


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
        timestamp: When, in UTC.
        arguments: The checked arguments as JSON values, secrets blanked out.
        ok: Whether the call succeeded; None while it runs.
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
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    arguments: Mapping[str, Any] | None = field(default=None, hash=False)
    ok: bool | None = None
    error_code: str = ""
    seconds: float | None = None
    truncated: bool = False

    def to_json(self) -> str:
        """Return the event as JSON text, whatever its arguments hold.

        Arguments that cannot be written, such as cyclic ones, are left out.
        """
        facts = {item.name: getattr(self, item.name) for item in fields(self)}
        write = partial(to_json, serialize_unknown=True, inf_nan_mode="null")
        try:
            return write(facts).decode()
        except ValueError:
            return write({**facts, "arguments": None}).decode()


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


class CheckedArguments(dict[str, Any]):
    """Checked arguments, by parameter name. Belongs to one call.

    Attributes:
        synonyms: The names of each field that goes by several, at any depth.
    """

    __slots__ = ("synonyms",)

    def __init__(
        self, values: Mapping[str, Any], synonyms: tuple[frozenset[str], ...] = ()
    ) -> None:
        super().__init__(values)
        self.synonyms = synonyms


Sink = Callable[[ToolEvent], None]
CatalogSink = Callable[[CatalogEvent], None]

E = TypeVar("E", ToolEvent, CatalogEvent)


def redact(value: object, secret_fields: frozenset[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON copy of `value` with the values of secret fields blanked out.

    Field names are compared whole and without case, at every depth; ``monkey`` holds
    no key. In `CheckedArguments` a field is secret by any of its names.

    >>> redact({"user": "ann", "auth": [{"Token": "t"}]}, frozenset({"token"}))
    {'user': 'ann', 'auth': [{'Token': '[redacted]'}]}
    """
    folded = frozenset(map(str.casefold, secret_fields))
    if isinstance(value, CheckedArguments):
        groups = [frozenset(map(str.casefold, names)) for names in value.synonyms]
        folded = folded.union(*(names for names in groups if names & folded))
    return _blank(to_jsonable_python(value, serialize_unknown=True), folded)


def _blank(value: Any, fields: frozenset[str]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {
            key: REDACTED if str(key).casefold() in fields else _blank(item, fields)
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
        except Exception:
            logger.exception("event sink %r failed on %s", sink, event.type)
