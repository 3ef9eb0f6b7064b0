"""What is to be looked up: columns, function, groups and filters. Values only."""

from dataclasses import dataclass, field
from typing import Final, Literal

from toolkit_data_agent.tables import Column, Table

Kind = Literal["count", "distinct", "sum", "avg", "median", "min", "max"]
Bucket = Literal["year", "quarter", "month", "week", "day"]
Operator = Literal["=", "!=", ">", ">=", "<", "<=", "contains", "missing"]

WORDS_OF: Final[dict[Kind, str]] = {
    "count": "number of rows",
    "distinct": "number of different values of",
    "sum": "total of",
    "avg": "average of",
    "median": "median of",
    "min": "smallest",
    "max": "largest",
}
"""What a function is called, before the name of its column."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on the rows; several values of one are alternatives."""

    column: Column
    operator: Operator
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say the condition in words."""
        if self.operator == "missing":
            return f"{self.column.name} is missing"
        word = {"=": "is", "!=": "is not"}.get(self.operator, self.operator)
        return f"{self.column.name} {word} {' or '.join(self.values)}"


@dataclass(frozen=True, slots=True)
class Measure:
    """What is computed: a function, of a column unless it counts rows."""

    kind: Kind
    column: Column | None = None

    def __str__(self) -> str:
        """Say the function and its column in words."""
        if self.column is None:
            return WORDS_OF["count"]
        return f"{WORDS_OF[self.kind]} {self.column.name}"


@dataclass(frozen=True, slots=True)
class Group:
    """What rows are put together by: the values of a column, or spans of time."""

    column: Column
    bucket: Bucket | None = None

    def __str__(self) -> str:
        """Name it as the column of a result."""
        if self.bucket is None:
            return self.column.name
        return f"{self.bucket} of {self.column.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One question about one table.

    Attributes:
        table: The table.
        measure: What is computed; None: rows are shown as they are.
        group: What it is computed for each of.
        columns: The columns to show; all of them when empty.
        filters: Conditions that all must hold.
        sort: What rows are sorted by, when none is computed.
        ascending: Whether the smallest comes first.
        limit: Most rows to show.
        choices: What was decided where the question left it open, as sentences.
        unread: Words of the question that nothing was made of.
    """

    table: Table
    measure: Measure | None = None
    group: Group | None = None
    columns: tuple[Column, ...] = ()
    filters: tuple[Filter, ...] = ()
    sort: Column | None = None
    ascending: bool = False
    limit: int = 10
    choices: tuple[str, ...] = field(default=())
    unread: tuple[str, ...] = field(default=())
