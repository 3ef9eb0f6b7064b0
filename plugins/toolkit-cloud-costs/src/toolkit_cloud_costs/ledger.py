"""A billing export as one clean table in a locked, in-memory database."""

import csv
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from toolkit import ToolError
from toolkit_cloud_costs.beneath import open_file
from toolkit_cloud_costs.reader import explain_unreadable, stage_file
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
                "enable_external_file_cache": False,  # descriptors are used again
                "memory_limit": memory,
                "temp_directory": "",  # never writes to disk
                "threads": 1,
            },
        )

    def load(self) -> None:
        """Read every file of the source, then lock the database.

        Passes on a `ToolError` when a file is not FOCUS, cannot be read, or does not
        fit in memory.
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

        Passes on a `ToolError` when the call's time or the memory limit is used up.
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

        Passes on a `ToolError` when the call's time or the memory limit is used up.
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
        """Forget all charges but those of some days and, if given, of one provider.

        Args:
            start: First day (UTC) to keep, by the start of the charge.
            end: Last day (UTC) to keep.
            provider: Its name, compared without case.

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
        address = path.name
        try:
            with open_file(path, self.source.beneath) as address:
                matched = stage_file(path.name, address, self.rows)
        except (duckdb.Error, OSError, UnicodeDecodeError, csv.Error) as error:
            raise ToolError(explain_unreadable(path.name, address, error)) from None
        self._check_values(path.name)
        self.execute(INSERT_CHARGES, {"file_name": path.name})
        self.execute("DROP TABLE staged")
        self.columns |= matched

    def _check_values(self, name: str) -> None:
        for column, count, example in self.rows(UNREADABLE):
            if count:
                text = (
                    f"{name}: values of {column} that cannot be read: {count}, such as "
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
        if seconds is not None and seconds <= 0:
            ledger.expire()
        ledger.load()
        yield ledger
    finally:
        if timer:
            timer.cancel()
            timer.join()
        ledger.close()


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
