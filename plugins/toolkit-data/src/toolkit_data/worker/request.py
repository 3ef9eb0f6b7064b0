"""What the worker is asked, and the one error it answers with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit_data.limits import Limits

Shut = Callable[[], None]
"""Called by a job when it has read all it needs; nothing can be opened after it."""


class JobError(Exception):
    """The job cannot be done; the text is for the caller and ends with the remedy.

    Attributes:
        kind: `refused`, `unknown_table`, `sql`, `file`, `size`, `time` or `memory`;
            the last two carry no text, since `toolkit_data.sandbox` words them.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        """Return the text for the caller."""
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A table's file: its name in SQL, its path in the folder, its format and size."""

    name: str
    file: str
    format: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job. Immutable.

    Attributes:
        job: `query`, `describe` or `profile`.
        arguments: The job's own arguments.
        folder: Descriptor of the user's folder.
        sources: All tables of the user, by name.
        limits: The operator's bounds.
        seconds: What is left of the call's time.
    """

    job: str
    arguments: Mapping[str, Any]
    folder: int
    sources: Mapping[str, Source]
    limits: Limits
    seconds: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Request":
        """Read what `toolkit_data.sandbox` wrote."""
        return cls(
            job=data["job"],
            arguments=data["arguments"],
            folder=data["folder"],
            sources={item["name"]: Source(**item) for item in data["sources"]},
            limits=Limits(**data["limits"]),
            seconds=data["seconds"],
        )
