"""Values on their way out: bounded inside the engine, then made fit for JSON.

Cutting happens in SQL, so that a huge value never leaves the engine. Numbers stay
numbers where JSON can hold them exactly; all else is text as DuckDB writes it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolkit_data.worker.engine import quote_name

INTEGERS: Final = frozenset(("tinyint", "smallint", "integer", "bigint", "hugeint"))
UNSIGNED: Final = frozenset(f"u{name}" for name in INTEGERS)
PLAIN_NUMBERS: Final = INTEGERS | UNSIGNED | {"float", "double"}
NUMBERS: Final = PLAIN_NUMBERS | {"decimal", "bignum"}
PLAIN: Final = PLAIN_NUMBERS | {"boolean"}
"""Fetched as they are; decimals and bignums are text, to lose no digit."""

NESTED: Final = frozenset(("list", "struct", "map", "array", "union", "variant"))
MAX_EXACT: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""

MAX_DIGITS: Final = 30
"""Longer integers are text at once; Python refuses to read them beyond 4300 digits."""


@dataclass(frozen=True, slots=True)
class Column:
    """A result's column: its name, its type as DuckDB writes it, and its family."""

    name: str
    type: str
    family: str

    @property
    def is_nested(self) -> bool:
        """Whether its values are read as JSON."""
        return self.family in NESTED or self.type == "JSON"

    @property
    def is_number(self) -> bool:
        """Whether quantiles make sense."""
        return self.family in NUMBERS


@dataclass(frozen=True, slots=True)
class Cell:
    """A value fit for JSON, and whether it was cut."""

    value: Any
    is_cut: bool = False


def expression(column: Column, sql: str, *, max_chars: int) -> str:
    """Return SQL for the value of `sql`, at most one character too long.

    Args:
        column: What kind of value it is.
        sql: An expression, such as a quoted name.
        max_chars: Where `cell` will cut.
    """
    if column.family in PLAIN:
        return sql
    if column.family == "blob":
        return f"to_base64({sql}[1:{max_chars}])"
    value = f"to_json({sql})" if column.is_nested else sql
    return f"left(CAST({value} AS VARCHAR), {max_chars + 1})"


def expressions(columns: Sequence[Column], *, max_chars: int) -> str:
    """Return the select list for columns that are called `c0`, `c1`, …."""
    return ", ".join(
        expression(column, quote_name(f"c{index}"), max_chars=max_chars)
        for index, column in enumerate(columns)
    )


def cell(column: Column, raw: object, *, max_chars: int) -> Cell:
    """Make what `expression` gave fit for JSON."""
    if isinstance(raw, str):
        if len(raw) > max_chars:
            # Base64 stays readable when cut at a multiple of four.
            keep = max_chars - max_chars % 4 if column.family == "blob" else max_chars
            return Cell(raw[:keep], is_cut=True)
        return Cell(_parse(raw) if column.is_nested else raw)
    return Cell(_number(raw))


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=str
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text  # nested too deep, or with half a character: only text can hold it
    return value


def _integer(text: str) -> int | str:
    return text if len(text) > MAX_DIGITS else _exact(int(text))


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _exact(value: int) -> int | str:
    return value if -MAX_EXACT <= value <= MAX_EXACT else str(value)


def _number(raw: object) -> object:
    if isinstance(raw, float) and not math.isfinite(raw):
        return "NaN" if math.isnan(raw) else ("Infinity" if raw > 0 else "-Infinity")
    if isinstance(raw, int) and not isinstance(raw, bool):
        return _exact(raw)
    return raw
