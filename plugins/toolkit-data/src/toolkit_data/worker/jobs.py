"""The jobs of the worker: query and describe. Profiling has a file of its own."""

import json
from collections.abc import Iterable
from typing import Any, Final

from toolkit_data.worker.engine import Engine, quote_name
from toolkit_data.worker.guard import check, unknown_table
from toolkit_data.worker.render import Column, cell, expressions
from toolkit_data.worker.request import JobError, Request, Shut, Source

BATCH_ROWS: Final = 64


def find_source(request: Request) -> Source:
    """Return the table that the arguments name, in any case.

    Raises:
        JobError: There is none; near names are given.
    """
    wanted = str(request.arguments["table"])
    for name, source in request.sources.items():
        if name.casefold() == wanted.casefold():
            return source
    raise JobError("unknown_table", unknown_table(wanted, request.sources))


def check_size(request: Request, sources: Iterable[Source]) -> None:
    """Refuse to load more than the operator allows.

    Raises:
        JobError: Together the files are too large.
    """
    total = sum(source.size_bytes for source in sources)
    if total > request.limits.max_input_bytes:
        raise JobError(
            "size",
            f"The tables hold {total >> 20} MiB together, and "
            f"{request.limits.max_input_bytes >> 20} MiB can be loaded at once; read "
            "fewer tables per call, or ask the operator for smaller extracts.",
        )


def bind(engine: Engine, sql: str) -> list[Column]:
    """Return the columns of a query without running it.

    Raises:
        JobError: It does not bind; the text is the engine's.
    """
    with engine.explaining("sql"):
        relation = engine.connection.sql(sql)
        return [
            Column(name, str(kind), kind.id)
            for name, kind in zip(relation.columns, relation.types, strict=True)
        ]


def query(engine: Engine, request: Request, shut: Shut) -> dict[str, Any]:
    """Run the user's SQL over the tables it names.

    Args:
        engine: A fresh one.
        request: Its arguments are `sql` and `limit`.
        shut: Called once all files are read; after it nothing can be opened.

    Raises:
        JobError: It is refused, wrong, or too large.
    """
    checked = check(
        request.arguments["sql"], tables=request.sources, connection=engine.connection
    )
    sources = [request.sources[name] for name in sorted(checked.tables)]
    check_size(request, sources)
    for source in sources:
        engine.read(source, load=True)
    shut()
    columns = bind(engine, checked.sql)
    limit = min(int(request.arguments["limit"]), request.limits.max_rows)
    result = fetch(engine, request, checked.sql, columns, limit)
    return {**result, "tables": sorted(checked.tables)}


def fetch(
    engine: Engine, request: Request, sql: str, columns: list[Column], limit: int
) -> dict[str, Any]:
    """Return at most `limit` rows of a query, each value bounded, and what was left.

    Raises:
        JobError: It failed, or not even one row fits into a result.
    """
    max_chars = request.limits.max_cell_chars
    names = ", ".join(quote_name(f"c{index}") for index in range(len(columns)))
    wrapped = (
        f"SELECT {expressions(columns, max_chars=max_chars)} "  # noqa: S608 - checked SQL
        f"FROM (\n{sql}\n) AS result({names}) LIMIT {limit + 1}"
    )
    reply = _Reply(columns, request)
    with engine.explaining("sql"):
        engine.connection.execute(wrapped)
        while not reply.truncated_by:
            batch = engine.connection.fetchmany(BATCH_ROWS)
            if not batch:
                break
            for raw in batch:
                reply.add(raw, limit)
    return reply.as_dict()


class _Reply:
    """Rows gathered until one limit is reached. Lives as long as one query."""

    def __init__(self, columns: list[Column], request: Request) -> None:
        self._columns = columns
        self._limits = request.limits
        self._rows: list[list[Any]] = []
        self._cut: list[dict[str, Any]] = []
        self._bytes = 0
        self.truncated_by: str | None = None

    def add(self, raw: tuple[Any, ...], limit: int) -> None:
        if self.truncated_by:
            return
        if len(self._rows) >= limit:
            self.truncated_by = "rows"
            return
        max_chars = self._limits.max_cell_chars
        cells = [
            cell(column, value, max_chars=max_chars)
            for column, value in zip(self._columns, raw, strict=True)
        ]
        row = [item.value for item in cells]
        self._bytes += len(json.dumps(row, ensure_ascii=False).encode())
        if self._bytes > self._limits.max_result_bytes:
            self._overflow()
            return
        self._cut.extend(
            {"row": len(self._rows), "column": column.name}
            for column, item in zip(self._columns, cells, strict=True)
            if item.is_cut
        )
        self._rows.append(row)

    def _overflow(self) -> None:
        if not self._rows:
            raise JobError(
                "size",
                f"One row is larger than the {self._limits.max_result_bytes} bytes a "
                "result may have; select fewer columns or shorter values.",
            )
        self.truncated_by = "bytes"

    def as_dict(self) -> dict[str, Any]:
        return {
            "columns": [{"name": c.name, "type": c.type} for c in self._columns],
            "rows": self._rows,
            "row_count": len(self._rows),
            "truncated": self.truncated_by is not None,
            "truncated_by": self.truncated_by,
            "cut_cells": self._cut,
        }


def describe(engine: Engine, request: Request, shut: Shut) -> dict[str, Any]:
    """Return a table's columns, its number of rows and its first rows.

    Reads the file without loading it, so that a large Parquet file is quick; runs
    nothing that a user wrote.

    Args:
        engine: A fresh one.
        request: Its arguments are `table` and `sample_rows`.
        shut: Not called: the file is being read until the end.

    Raises:
        JobError: There is no such table, or its file is broken.
    """
    del shut
    source = find_source(request)
    engine.read(source, load=False)
    name = quote_name(source.name)
    everything = bind(engine, f"SELECT * FROM {name}")  # noqa: S608 - quoted
    columns = everything[: request.limits.max_columns]
    ((count,),) = engine.rows(f"SELECT count(*) FROM {name}", "file")  # noqa: S608 - quoted
    chosen = ", ".join(quote_name(column.name) for column in columns)
    sample = fetch(
        engine,
        request,
        f"SELECT {chosen} FROM {name}",  # noqa: S608 - quoted
        columns,
        int(request.arguments["sample_rows"]),
    )
    return {
        "table": source.name,
        "file": source.file,
        "format": source.format,
        "row_count": count,
        "columns": sample["columns"],
        "columns_truncated": len(everything) > len(columns),
        "sample_rows": sample["rows"],
        "cut_cells": sample["cut_cells"],
    }
