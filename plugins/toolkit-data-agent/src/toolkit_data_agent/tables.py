"""Tables and columns as the tools of toolkit-data describe them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolkit_data_agent.words import Question, split_name

_NUMBER: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT|INTEGER|DECIMAL|DOUBLE|FLOAT")
_DATE: Final = re.compile(r"DATE|TIMESTAMP")


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its type as DuckDB writes it."""

    name: str
    type: str

    @property
    def is_number(self) -> bool:
        """Whether it can be summed."""
        return _NUMBER.match(self.type) is not None and "[" not in self.type

    @property
    def is_date(self) -> bool:
        """Whether it holds days or times."""
        return _DATE.match(self.type) is not None and "[" not in self.type

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.type == "VARCHAR"

    @property
    def words(self) -> tuple[str, ...]:
        """The stems of the words of its name."""
        return split_name(self.name)

    @property
    def is_key(self) -> bool:
        """Whether it looks like an id, which nobody wants summed."""
        return bool(self.words) and self.words[-1] in {"id", "key", "uuid", "nr", "no"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table as `describe_table` describes it."""

    name: str
    file: str
    row_count: int
    columns: tuple[Column, ...]
    sample: tuple[tuple[Any, ...], ...] = ()

    @property
    def numbers(self) -> list[Column]:
        """The columns that can be summed and are no ids."""
        return [one for one in self.columns if one.is_number and not one.is_key]

    @property
    def dates(self) -> list[Column]:
        """The columns of days or times."""
        return [one for one in self.columns if one.is_date]

    @property
    def texts(self) -> list[Column]:
        """The columns of text."""
        return [one for one in self.columns if one.is_text]


def read_table(described: Mapping[str, Any]) -> Table:
    """Read what `describe_table` answered."""
    return Table(
        name=described["table"],
        file=described["file"],
        row_count=described["row_count"],
        columns=tuple(Column(one["name"], one["type"]) for one in described["columns"]),
        sample=tuple(tuple(row) for row in described["sample_rows"]),
    )


def by_name(message: str, names: Sequence[str]) -> list[str]:
    """Order names of tables: those the message speaks of first, the rest as they are.

    Stable, so that equal names keep their order.
    """
    said = {one.stem for one in Question(message).words}
    return sorted(names, key=lambda name: -_share(split_name(name), said))


def choose_table(message: str, tables: Sequence[Table]) -> tuple[Table, bool]:
    """Choose the table a message is about, by its name and then by its columns.

    Returns:
        The table, and whether another fits as well.
    """
    said = {one.stem for one in Question(message).words}
    points = [_points(table, said) for table in tables]
    best = max(points)
    return tables[points.index(best)], points.count(best) > 1


def _points(table: Table, said: set[str]) -> float:
    columns = sum(_share(one.words, said) for one in table.columns)
    return 10 * _share(split_name(table.name), said) + columns


def _share(words: Sequence[str], said: set[str]) -> float:
    """Return which part of a name's words was said."""
    return sum(one in said for one in words) / len(words) if words else 0.0


def is_named(message: str, name: str) -> bool:
    """Tell whether a message holds all words of a table's name."""
    return _share(split_name(name), {one.stem for one in Question(message).words}) == 1
