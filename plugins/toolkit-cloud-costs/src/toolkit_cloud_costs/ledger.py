"""A billing export as one clean table in a locked, in-memory database."""

import csv
import gzip
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from toolkit import ToolError
from toolkit_cloud_costs.columns import (
    OPTIONAL,
    REQUIRED,
    list_missing,
    match_columns,
)
from toolkit_cloud_costs.schema import (
    CREATE_CHARGES,
    INSERT_CHARGES,
    MACROS,
    UNREADABLE,
)
from toolkit_cloud_costs.source import Source

Row = tuple[Any, ...]

DEFAULT_MEMORY: Final = "1GB"
_MEMORY = re.compile(r"[1-9][0-9]*(MB|GB)")

READ_CSV: Final = (
    "read_csv($file, auto_detect = false, columns = $columns, header = true, "
    "delim = ',', quote = '\"', escape = '\"')"
)
"""Nothing is guessed: duckdb's detection skips leading rows that do not fit."""

READ_PARQUET: Final = "read_parquet($file)"


class Ledger:
    """The charges of one export, for one call. Close it, or use `open_ledger`.

    After loading, the database can reach neither files nor network, and its settings
    are locked.

    Attributes:
        source: The files it was read from.
        columns: FOCUS columns that at least one of the files has.
    """

    def __init__(self, source: Source, memory: str) -> None:
        self.source = source
        self.columns: frozenset[str] = frozenset()
        self._expired = threading.Event()
        self._database = duckdb.connect(
            ":memory:",
            config={
                "allow_community_extensions": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "memory_limit": memory,
                "temp_directory": "",  # never writes to disk
                "threads": 1,
            },
        )

    def load(self) -> None:
        """Read every file of the source, then lock the database.

        Raises:
            ToolError: A file is not FOCUS, cannot be read, or does not fit in memory.
        """
        self.execute("SET TimeZone = 'UTC'")
        for statement in (*MACROS, CREATE_CHARGES):
            self.execute(statement)
        for path in self.source.files:
            self._load_file(path)
        self.execute("SET enable_external_access = false")
        self.execute("SET lock_configuration = true")

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> None:
        """Run a statement whose rows nobody needs.

        Raises:
            ToolError: The call's time or the memory limit is used up.
        """
        self.rows(sql, values)

    def rows(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
        """Return all rows of a query. `values` are bound, never pasted into the text.

        Raises:
            ToolError: The call's time or the memory limit is used up.
        """
        if self._expired.is_set():
            raise ToolError(_TOO_SLOW)
        try:
            return self._database.execute(sql, values).fetchall()
        except duckdb.InterruptException:
            raise ToolError(_TOO_SLOW) from None
        except duckdb.OutOfMemoryException:
            raise ToolError(_TOO_LARGE) from None

    def row(self, sql: str, values: Mapping[str, Any] | None = None) -> Row:
        """Return the only row of a query, such as one of totals.

        Raises:
            ToolError: The call's time or the memory limit is used up.
        """
        return self.rows(sql, values)[0]

    def require(self, *columns: str) -> None:
        """Insist on columns that a question needs beyond the mandatory ones.

        Raises:
            ToolError: The export lacks one; the text names all that are missing.
        """
        missing = [column for column in columns if column not in self.columns]
        if missing:
            text = (
                f"This export has no column {', '.join(missing)}, which this question "
                "needs. Export it with all FOCUS columns, or ask for another cost."
            )
            raise ToolError(text)

    def keep(self, start: date | None, end: date | None, provider: str | None) -> None:
        """Forget charges that start outside of `start` to `end` (both included) or are
        another provider's.

        Raises:
            ToolError: Nothing is left; the text says what the export does hold.
        """
        if start and end and end < start:
            raise ToolError(f"`end` {end} is before `start` {start}. Swap them.")
        first, last, providers = self.row(_EXTENT)
        self.execute(_FORGET, _limits(start, end, provider))
        if not self.row("SELECT count(*) FROM charges")[0]:
            text = (
                f"No charges match. The export holds {first} to {last} of "
                f"{providers or 'nobody'}; choose dates and a provider among these."
            )
            raise ToolError(text)

    def expire(self) -> None:
        """Stop the running query and every later one; safe from another thread."""
        self._expired.set()
        self._database.interrupt()

    def close(self) -> None:
        """Give the memory back."""
        self._database.close()

    def _load_file(self, path: Path) -> None:
        is_parquet = path.name.casefold().endswith(".parquet")
        values: dict[str, Any] = {"file": str(path)}
        try:
            if is_parquet:
                types = {name: kind for name, kind, *_ in self.rows(_DESCRIBE, values)}
            else:
                types = dict.fromkeys(_read_header(path), "VARCHAR")
                values["columns"] = types
            matched = _match(path.name, types)
            reader = READ_PARQUET if is_parquet else READ_CSV
            self.execute(_stage(matched, types, reader), values)
        except (duckdb.Error, OSError, UnicodeDecodeError, csv.Error) as error:
            raise ToolError(_unreadable(path.name, error)) from None
        self._check_values(path.name)
        self.execute(INSERT_CHARGES, {"file_name": path.name})
        self.columns |= matched.keys()

    def _check_values(self, name: str) -> None:
        for column, count, example in self.rows(UNREADABLE):
            if count:
                text = (
                    f"{name}: {count} values of {column} cannot be read, such as "
                    f"{example!r}. FOCUS wants numbers like -1234.5 or 2E-7 and times "
                    "like 2025-01-31T00:00:00Z; correct the export."
                )
                raise ToolError(text)


@contextmanager
def open_ledger(
    source: Source,
    *,
    seconds: float | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Ledger]:
    """Load an export for the length of a ``with`` block; it is closed in any case.

    Args:
        source: The files to read.
        seconds: Time for everything inside the block; None for no limit.
        environment: Where ``TOOLKIT_BILLING_MEMORY`` (such as ``2GB``) is read.

    Raises:
        ToolError: The export cannot be loaded, or the setting is not a size.
    """
    memory = environment.get("TOOLKIT_BILLING_MEMORY", DEFAULT_MEMORY)
    if not _MEMORY.fullmatch(memory):
        text = f"TOOLKIT_BILLING_MEMORY is {memory!r}; set a size such as 512MB or 2GB."
        raise ToolError(text)
    ledger = Ledger(source, memory)
    timer = threading.Timer(seconds, ledger.expire) if seconds is not None else None
    try:
        if timer:
            timer.daemon = True
            timer.start()
        ledger.load()
        yield ledger
    finally:
        if timer:
            timer.cancel()
            timer.join()
        ledger.close()


_DESCRIBE = "DESCRIBE SELECT * FROM read_parquet($file)"

_EXTENT = """
SELECT min(start_at)::DATE, max(start_at)::DATE,
    string_agg(DISTINCT provider, ', ' ORDER BY provider)
FROM charges
"""

_FORGET = """
DELETE FROM charges
WHERE start_at < $start OR start_at >= $end
    OR ($provider <> '' AND lower(provider) <> lower($provider))
"""

_TOO_SLOW = (
    "Reading the export took longer than this call may. Name one file with `export`, "
    "or have the operator allow more time."
)
_TOO_LARGE = (
    "The export does not fit in memory. Name one file with `export`, or have the "
    "operator raise TOOLKIT_BILLING_MEMORY."
)


def _limits(
    start: date | None, end: date | None, provider: str | None
) -> dict[str, Any]:
    first = datetime.combine(start, time.min) if start else datetime.min  # noqa: DTZ901 - duckdb's TIMESTAMP has no zone
    after = end + timedelta(days=1) if end and end < date.max else date.max
    return {
        "start": first,
        "end": datetime.combine(after, time.min),
        "provider": (provider or "").strip(),
    }


def _match(name: str, header: Iterable[str]) -> dict[str, str]:
    matched = match_columns(header)
    missing = list_missing(matched)
    if missing:
        text = (
            f"{name} is not a FOCUS export: it lacks {', '.join(missing)}. Export the "
            "billing data in the FOCUS format, comma-separated with a header, or as "
            "Parquet."
        )
        raise ToolError(text)
    return matched


def _stage(matched: Mapping[str, str], types: Mapping[str, str], reader: str) -> str:
    """Return SQL that copies the known columns as text; names come quoted."""
    selected = [
        f"{_as_text(matched[column], types[matched[column]])} AS {column}"
        if column in matched
        else f"NULL::VARCHAR AS {column}"
        for column in (*REQUIRED, *OPTIONAL)
    ]
    return (
        "CREATE OR REPLACE TEMP TABLE staged AS "
        f"SELECT row_number() OVER () AS row_number, {', '.join(selected)} "  # noqa: S608 - names are quoted, values bound
        f"FROM {reader}"
    )


def _as_text(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    nested = kind.startswith(("MAP", "STRUCT"))
    return f"to_json({quoted})::VARCHAR" if nested else f"{quoted}::VARCHAR"


def _read_header(path: Path) -> list[str]:
    opener = gzip.open if path.name.casefold().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    return [
        name if name not in header[:index] else f"{name} ({index})"
        for index, name in enumerate(header)
    ]


def _unreadable(name: str, error: Exception) -> str:
    reason = re.split(r"Possible fixes|Possible Solution|LINE 1", str(error))[0]
    if isinstance(error, OSError):  # its text would show the operator's path
        reason = error.strerror or type(error).__name__
    return (
        f"{name} cannot be read: {' '.join(reason.split())[:300]}. "
        "Export it again as UTF-8 CSV with one header line, or as Parquet."
    )
