"""What the tools return. Frozen; every value fits JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Result(BaseModel):
    """Base of all results: immutable, and no field that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TableSummary(Result):
    """One table the user may query."""

    name: str = Field(description="The name other tools take.")
    sql_name: str = Field(description="The name as it is written in SQL, quoted.")
    file: str = Field(description="The file, relative to the user's folder.")
    format: str = Field(description="csv, tsv, parquet, json or jsonl.")
    size_bytes: int
    modified: str = Field(description="Last change of the file, ISO 8601 in UTC.")


class SkippedFile(Result):
    """A file that looks like a table but cannot be used."""

    file: str = Field(description="The file, relative to the user's folder.")
    reason: str = Field(description="Why, and what would help.")


class TableList(Result):
    """All tables of the user."""

    tables: tuple[TableSummary, ...] = Field(description="Sorted by name.")
    skipped: tuple[SkippedFile, ...] = Field(description="Files left out, with reason.")
    truncated: bool = Field(description="True when the folder holds more than listed.")


class ColumnInfo(Result):
    """A column and its type as DuckDB writes it."""

    name: str
    type: str


class CutCell(Result):
    """Where a value was too long and only its beginning is given."""

    row: int = Field(description="Index into the rows, from 0.")
    column: str


class TableDescription(Result):
    """A table's columns, size and first rows."""

    table: str
    file: str
    format: str
    row_count: int = Field(description="Number of rows in the whole table.")
    columns: tuple[ColumnInfo, ...]
    columns_truncated: bool = Field(description="True when more columns exist.")
    sample_rows: tuple[tuple[JsonValue, ...], ...] = Field(
        description="The first rows, values in the order of columns."
    )
    cut_cells: tuple[CutCell, ...]


class ValueCount(Result):
    """A value and how many rows hold it."""

    value: JsonValue
    count: int


class ColumnProfile(Result):
    """What one column holds."""

    name: str
    type: str
    null_count: int
    distinct_count: int = Field(description="Distinct values, nulls not counted.")
    min: JsonValue = Field(description="null for nested types and empty columns.")
    max: JsonValue = Field(description="null for nested types and empty columns.")
    top_values: tuple[ValueCount, ...] = Field(description="Most frequent first.")
    mean: JsonValue = Field(description="Of the finite numbers; else null.")
    quantiles: dict[str, float] | None = Field(
        description="p05, p25, p50, p75, p95 of the finite numbers; else null."
    )


class TableProfile(Result):
    """The profile of a table, exact over all of its rows."""

    table: str
    row_count: int
    columns: tuple[ColumnProfile, ...]
    columns_truncated: bool = Field(description="True when more columns exist.")


class QueryResult(Result):
    """The rows of a query."""

    columns: tuple[ColumnInfo, ...]
    rows: tuple[tuple[JsonValue, ...], ...] = Field(
        description=(
            "Values in the order of columns. Dates, times and decimals are text; so "
            "are NaN, infinities and integers beyond 2^53. Blobs are base64."
        )
    )
    row_count: int = Field(description="Number of rows given here.")
    truncated: bool = Field(description="True when the query has more rows than given.")
    truncated_by: Literal["rows", "bytes"] | None = Field(
        description="Which limit ended the rows: their number or their size."
    )
    cut_cells: tuple[CutCell, ...] = Field(description="Values that were cut.")
    tables: tuple[str, ...] = Field(description="The tables that were read.")
