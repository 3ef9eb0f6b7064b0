"""A plan as one SELECT. Names and values are quoted, whatever they hold."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import Final

from toolkit_data_agent.plan import Filter, Group, Measure, Plan

_ISO_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FORMATS: Final = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "week": "%G-W%V"}


def write_sql(plan: Plan) -> str:
    """Write a plan as one SELECT in DuckDB's dialect."""
    parts = _rows(plan) if plan.measure is None else _figures(plan, plan.measure)
    select, rest = parts
    where = [f"WHERE {' AND '.join(map(_condition, plan.filters))}"] * bool(
        plan.filters
    )
    lines = [f"SELECT {', '.join(select)}", f"FROM {name(plan.table.name)}"]
    return "\n".join([*lines, *where, *rest])


def name(text: str) -> str:
    """Quote an identifier."""
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def text_of(value: str) -> str:
    """Quote a text value, without the characters that cannot be seen."""
    seen = "".join(one for one in value if one.isprintable())
    quoted = seen.replace("'", "''")
    return f"'{quoted}'"


def number_of(value: str) -> str | None:
    """Return a finite number as SQL writes it; None when the text is none."""
    plain = value.replace(",", "")
    if not plain.isascii():
        return None
    try:
        number = float(plain)
    except ValueError:
        return None
    return plain if math.isfinite(number) and "_" not in plain else None


def is_day(value: str) -> bool:
    """Tell whether a text is a day of the calendar, as 2026-01-31 is."""
    if not _ISO_DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _rows(plan: Plan) -> tuple[list[str], list[str]]:
    select = [name(one.name) for one in plan.columns] or ["*"]
    if plan.sort is None:
        return select, []
    way = "ASC" if plan.ascending else "DESC"
    return select, [f"ORDER BY {name(plan.sort.name)} {way} NULLS LAST"]


def _figures(plan: Plan, measure: Measure) -> tuple[list[str], list[str]]:
    figures = [f"{_function(measure)} AS {name(str(measure))}"]
    if measure.column is not None:
        used = f"count({name(measure.column.name)})"
        figures += [f'{used} AS "values used"', 'count(*) AS "rows"']
    if plan.group is None:
        return figures, []
    way = "ASC" if plan.ascending else "DESC"
    order = "1" if plan.group.bucket else f"2 {way} NULLS LAST, 1"
    key, called = _group(plan.group), name(str(plan.group))
    keys = key if key == called else f"{key} AS {called}"
    return [keys, *figures], ["GROUP BY 1", f"ORDER BY {order}"]


def _function(measure: Measure) -> str:
    if measure.column is None:
        return "count(*)"
    column = name(measure.column.name)
    if measure.kind == "distinct":
        return f"count(DISTINCT {column})"
    return f"{measure.kind}({column})"


def _group(group: Group) -> str:
    column = name(group.column.name)
    if group.bucket is None:
        return column
    if group.bucket == "quarter":
        return f"strftime({column}, '%Y-Q') || quarter({column})"
    return f"strftime({column}, '{_FORMATS[group.bucket]}')"


def _condition(one: Filter) -> str:
    column = name(one.column.name)
    if one.operator == "missing":
        return f"{column} IS NULL"
    if one.operator == "contains":
        found = (
            f"contains(lower({column}::VARCHAR), lower({text_of(value)}))"
            for value in one.values
        )
        return _joined("OR", found)
    compare = _compared(one)
    word = "AND" if one.operator == "!=" else "OR"
    return _joined(word, (compare(value) for value in one.values))


def _compared(one: Filter) -> Callable[[str], str]:
    """Return how a value is compared: as a number, a day, or a text without case."""
    column = name(one.column.name)
    if one.column.is_number:
        return lambda value: f"{column} {one.operator} {number_of(value)}"
    if one.column.is_date:
        return lambda value: f"{column} {one.operator} {text_of(value)}"
    return lambda value: (
        f"lower({column}::VARCHAR) {one.operator} lower({text_of(value)})"
    )


def _joined(word: str, conditions: Iterable[str]) -> str:
    listed = list(conditions)
    return listed[0] if len(listed) == 1 else f"({f' {word} '.join(listed)})"
