"""The four tools. Each holds its user and nothing else; each call starts afresh."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field

from toolkit import ToolContext, ToolError, UserContext
from toolkit_data.folder import open_user_folder
from toolkit_data.limits import Limits
from toolkit_data.models import (
    QueryResult,
    SkippedFile,
    TableDescription,
    TableList,
    TableProfile,
    TableSummary,
)
from toolkit_data.sandbox import Job, run_job
from toolkit_data.tables import Listing, Table, scan

SCOPES: Final = frozenset({"data:read"})
TAGS: Final = ("data", "sql")

TableName = Annotated[str, Field(min_length=1, max_length=500)]


class ListTables:
    """List the data tables you can describe, profile and query.

    Every CSV, TSV, Parquet, JSON and JSON Lines file of the user is a table.
    """

    name = "list_tables"
    tags = TAGS
    required_scopes = SCOPES
    read_only = True

    def __init__(self, user: UserContext) -> None:
        self._user = user

    def execute(self) -> TableList:
        """Return all tables, and the files left out.

        Raises:
            ToolError: The data folder is not configured as it should be.
        """
        limits = _limits()
        with open_user_folder(self._user) as folder:
            listing = _scan(folder, limits)
        return TableList(
            tables=tuple(_summary(table) for table in listing.tables),
            skipped=tuple(
                SkippedFile(file=item.file, reason=item.reason)
                for item in listing.skipped
            ),
            truncated=listing.truncated,
        )


class DescribeTable:
    """Describe one table: columns with types, number of rows, first rows."""

    name = "describe_table"
    tags = TAGS
    required_scopes = SCOPES
    read_only = True

    def __init__(self, user: UserContext) -> None:
        self._user = user

    def execute(
        self,
        table: TableName,
        sample_rows: Annotated[int, Field(ge=0, le=50)] = 5,
        *,
        context: ToolContext,
    ) -> TableDescription:
        """Return what the table looks like.

        Args:
            table: A name that list_tables gives.
            sample_rows: How many of the first rows to show.
            context: Which call this is; its time left bounds the work.

        Raises:
            ToolError: There is no such table, or its file cannot be read.
        """
        arguments = {"table": table, "sample_rows": sample_rows}
        result = _run(self._user, Job(name="describe", arguments=arguments), context)
        return TableDescription.model_validate(result)


class ProfileTable:
    """Profile one table: per column nulls, distinct, range, top values, quantiles."""

    name = "profile_table"
    tags = TAGS
    required_scopes = SCOPES
    read_only = True

    def __init__(self, user: UserContext) -> None:
        self._user = user

    def execute(
        self,
        table: TableName,
        columns: Annotated[list[str], Field(max_length=200)] | None = None,
        top: Annotated[int, Field(ge=1, le=50)] = 5,
        *,
        context: ToolContext,
    ) -> TableProfile:
        """Return the profile, exact over all rows.

        Args:
            table: A name that list_tables gives.
            columns: The columns to profile; all of them when not given.
            top: How many of the most frequent values to give for each column.
            context: Which call this is; its time left bounds the work.

        Raises:
            ToolError: There is no such table or column, its file cannot be read, or
                it is too large to profile within the limits.
        """
        arguments = {"table": table, "columns": columns, "top": top}
        result = _run(self._user, Job(name="profile", arguments=arguments), context)
        return TableProfile.model_validate(result)


class QueryTables:
    """Query the user's tables with one read-only SQL SELECT, in DuckDB's dialect.

    Tables are read by the names that list_tables gives. Joins, WITH, window functions
    and PIVOT in FROM work; files, settings, extensions and changes are out of reach.
    """

    name = "query_tables"
    tags = TAGS
    required_scopes = SCOPES
    read_only = True

    def __init__(self, user: UserContext) -> None:
        self._user = user

    def execute(
        self,
        sql: Annotated[str, Field(min_length=1, max_length=20_000)],
        limit: Annotated[int, Field(ge=1, le=100_000)] = 100,
        *,
        context: ToolContext,
    ) -> QueryResult:
        """Return the first rows of the query's result.

        Args:
            sql: One SELECT statement.
            limit: The most rows to return; the operator's own limit may be lower.
            context: Which call this is; its time left bounds the work.

        Raises:
            ToolError: The statement is not allowed, is wrong, or passes a limit.
        """
        arguments = {"sql": sql, "limit": limit}
        result = _run(self._user, Job(name="query", arguments=arguments), context)
        return QueryResult.model_validate(result)


def _limits() -> Limits:
    try:
        return Limits.from_environment(os.environ)
    except ValueError as error:
        raise ToolError(str(error)) from None


def _scan(folder: int | None, limits: Limits) -> Listing:
    if folder is None:
        return Listing()
    return scan(folder, max_tables=limits.max_tables)


def _run(user: UserContext, job: Job, context: ToolContext) -> dict[str, Any]:
    limits = _limits()
    with _folder(user) as folder:
        return run_job(
            job,
            folder=folder,
            tables=scan(folder, max_tables=limits.max_tables).tables,
            limits=limits,
            time_left=context.time_left(),
        )


@contextmanager
def _folder(user: UserContext) -> Iterator[int]:
    with open_user_folder(user) as folder:
        if folder is None:
            raise ToolError(
                "This user has no tables yet; put a CSV, TSV, Parquet or JSON file "
                "into the user's data folder."
            )
        yield folder


def _summary(table: Table) -> TableSummary:
    quoted = table.name.replace('"', '""')
    return TableSummary(
        name=table.name,
        sql_name=f'"{quoted}"',
        file=table.file,
        format=table.format,
        size_bytes=table.size_bytes,
        modified=datetime.fromtimestamp(table.modified, UTC).isoformat(),
    )
