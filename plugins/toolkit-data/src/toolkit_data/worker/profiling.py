"""The profile of a table, column by column, each by two bounded queries."""

from typing import Any, Final

from toolkit_data.worker.engine import Engine, quote_name
from toolkit_data.worker.jobs import bind, check_size, find_source
from toolkit_data.worker.render import Column, cell, expression
from toolkit_data.worker.request import JobError, Request, Shut

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_CHARS: Final = 200
"""Length of one value in a profile, which is read by eye."""


def profile(engine: Engine, request: Request, shut: Shut) -> dict[str, Any]:
    """Return counts, range, frequent values and quantiles of a table's columns.

    Args:
        engine: A fresh one.
        request: Its arguments are `table`, `columns` (None: all) and `top`.
        shut: Called once the file is read; after it nothing can be opened.

    Raises:
        JobError: There is no such table or column, or its file is broken or too large.
    """
    source = find_source(request)
    check_size(request, [source])
    engine.read(source, load=True)
    shut()
    table = quote_name(source.name)
    everything = bind(engine, f"SELECT * FROM {table}")  # noqa: S608 - quoted
    chosen = _choose(everything, request.arguments["columns"])
    columns = chosen[: request.limits.max_columns]
    top = int(request.arguments["top"])
    ((count,),) = engine.rows(f"SELECT count(*) FROM {table}")  # noqa: S608 - quoted
    return {
        "table": source.name,
        "row_count": count,
        "columns": [_column(engine, table, column, top) for column in columns],
        "columns_truncated": len(chosen) > len(columns),
    }


def _choose(everything: list[Column], wanted: list[str] | None) -> list[Column]:
    if wanted is None:
        return everything
    by_key = {column.name.casefold(): column for column in everything}
    for name in wanted:
        if name.casefold() not in by_key:
            known = ", ".join(column.name for column in everything[:50])
            raise JobError(
                "sql", f"There is no column {name!r}; the table has {known}."
            )
    return [by_key[name.casefold()] for name in wanted]


def _column(engine: Engine, table: str, column: Column, top: int) -> dict[str, Any]:
    name = quote_name(column.name)
    # Nested values are compared by their text: not all of them have an order.
    key = f"CAST({name} AS VARCHAR)" if column.is_nested else name
    low, high = (_shown(column, f"{end}({name})") for end in ("min", "max"))
    ((nulls, distinct, lowest, highest),) = engine.rows(
        f"SELECT count(*) - count({name}), count(DISTINCT {key}), {low}, {high} "  # noqa: S608 - quoted
        f"FROM {table}"
    )
    return {
        "name": column.name,
        "type": column.type,
        "null_count": nulls,
        "distinct_count": distinct,
        "min": cell(column, lowest, max_chars=MAX_CHARS).value,
        "max": cell(column, highest, max_chars=MAX_CHARS).value,
        "top_values": _top_values(engine, table, column, top),
        **_numbers(engine, table, column),
    }


def _shown(column: Column, sql: str) -> str:
    if column.is_nested:
        return "NULL"
    return expression(column, sql, max_chars=MAX_CHARS)


def _top_values(
    engine: Engine, table: str, column: Column, top: int
) -> list[dict[str, Any]]:
    name = quote_name(column.name)
    key = f"CAST({name} AS VARCHAR)" if column.is_nested else name
    shown = expression(column, f"any_value({name})", max_chars=MAX_CHARS)
    rows = engine.rows(
        f"SELECT {shown}, count(*) FROM {table} WHERE {name} IS NOT NULL "  # noqa: S608 - quoted
        f"GROUP BY {key} ORDER BY count(*) DESC, {key} LIMIT {top}"
    )
    return [
        {"value": cell(column, value, max_chars=MAX_CHARS).value, "count": count}
        for value, count in rows
    ]


def _numbers(engine: Engine, table: str, column: Column) -> dict[str, Any]:
    """Mean and quantiles of the finite values; None where there is none."""
    if not column.is_number:
        return {"mean": None, "quantiles": None}
    value = f"CAST({quote_name(column.name)} AS DOUBLE)"
    ((mean, quantiles),) = engine.rows(
        f"SELECT avg({value}), quantile_cont({value}, {list(QUANTILES)}) "  # noqa: S608 - quoted
        f"FROM {table} WHERE isfinite({value})"
    )
    if quantiles is None:
        return {"mean": None, "quantiles": None}
    double = Column("", "DOUBLE", "double")
    return {
        "mean": cell(double, mean, max_chars=MAX_CHARS).value,
        "quantiles": {
            f"p{round(part * 100):02d}": number
            for part, number in zip(QUANTILES, quantiles, strict=True)
        },
    }
