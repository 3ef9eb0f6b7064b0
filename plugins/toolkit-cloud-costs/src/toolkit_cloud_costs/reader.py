"""One file of an export, staged as text: FOCUS columns under their own names."""

import csv
import gzip
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from toolkit import ToolError
from toolkit_cloud_costs.columns import OPTIONAL, REQUIRED, list_missing, match_columns

Run = Callable[[str, Mapping[str, Any] | None], list[tuple[Any, ...]]]

READ_CSV: Final = (
    "read_csv($file, auto_detect = false, columns = $columns, header = true, "
    "delim = ',', quote = '\"', escape = '\"', compression = $compression)"
)
"""Nothing is guessed: duckdb's detection skips leading rows that do not fit."""

READ_PARQUET: Final = "read_parquet($file)"


def stage_file(name: str, address: str, run: Run) -> frozenset[str]:
    """Copy a file into the table ``staged``; return the FOCUS columns it has.

    Args:
        name: Name of a CSV (also gzipped) or Parquet file, which tells its format.
        address: Where to read it; no pattern.
        run: Runs a statement with bound values and returns its rows.
    """
    values: dict[str, Any] = {"file": address}
    if name.casefold().endswith(".parquet"):
        types = {column: kind for column, kind, *_ in run(_DESCRIBE, values)}
        reader = READ_PARQUET
    else:
        packed = name.casefold().endswith(".gz")
        types = dict.fromkeys(_read_header(address, packed=packed), "VARCHAR")
        values |= {"columns": types, "compression": "gzip" if packed else "none"}
        reader = READ_CSV
    matched = _match(name, types)
    run(_stage(matched, types, reader), values)
    return frozenset(matched)


_DESCRIBE = "DESCRIBE SELECT * FROM read_parquet($file)"


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
        "CREATE TEMP TABLE staged AS "  # noqa: S608 - names are quoted
        f"SELECT row_number() OVER () AS row_number, {', '.join(selected)} "
        f"FROM {reader}"
    )


def _as_text(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    nested = kind.startswith(("MAP", "STRUCT"))
    return f"to_json({quoted})::VARCHAR" if nested else f"{quoted}::VARCHAR"


def _read_header(address: str, *, packed: bool) -> list[str]:
    opener = gzip.open if packed else open
    with opener(address, "rt", encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    return [
        name if name not in header[:index] else f"{name} ({index})"
        for index, name in enumerate(header)
    ]


def explain_unreadable(name: str, address: str, error: Exception) -> str:
    """Return what is wrong with a file, without showing where it lies."""
    reason = re.split(r"Possible fixes|Possible Solution|LINE 1", str(error))[0]
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
    reason = " ".join(reason.replace(address, name).split())
    return (
        f"{name} cannot be read: {reason[:300].rstrip('.')}. "
        "Export it again as UTF-8 CSV with one header line, or as Parquet."
    )
