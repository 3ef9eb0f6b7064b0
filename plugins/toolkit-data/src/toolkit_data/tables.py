"""Which files in a user's folder are tables, and by what names."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from toolkit_data.beneath import open_folder

FORMATS: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
MAX_DEPTH: Final = 5
"""Folders in folders that are walked; deeper trees are rarely meant as tables."""

MAX_ENTRIES: Final = 10_000
"""Directory entries looked at, so that a huge folder cannot hold up a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file that can be queried. Immutable; a snapshot of the moment of listing.

    Attributes:
        name: The name in SQL, without quotes.
        file: Path within the user's folder, with `/` between its parts.
        format: One of the values of `FORMATS`.
        size_bytes: Size of the file.
        modified: Last change, in seconds since the epoch.
    """

    name: str
    file: str
    format: str
    size_bytes: int
    modified: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that looks like a table but is none, with the reason and remedy."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds. `truncated`: there is more than was looked at."""

    tables: tuple[Table, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    truncated: bool = False


def scan(folder: int, *, max_tables: int) -> Listing:
    """List the tables beneath a folder, sorted by name; follows no symbolic link.

    Args:
        folder: Descriptor of the user's folder.
        max_tables: The most tables to return.
    """
    found: list[Table] = []
    skipped: list[Skipped] = []
    truncated = False
    for count, item in enumerate(_walk(folder, PurePosixPath())):
        if count >= MAX_ENTRIES:
            truncated = True
            break
        if isinstance(item, Table):
            found.append(item)
        elif item is not None:
            skipped.append(item)
    tables, clashes = _settle(found)
    skipped.extend(clashes)
    return Listing(
        tuple(tables[:max_tables]),
        tuple(sorted(skipped, key=lambda item: item.file)[:max_tables]),
        truncated or len(tables) > max_tables,
    )


def _walk(folder: int, above: PurePosixPath) -> Iterator[Table | Skipped | None]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda item: item.name):
            if entry.name.startswith("."):
                yield None
            elif entry.is_dir(follow_symlinks=False):
                yield from _enter(entry.name, folder, above / entry.name)
            else:
                yield _judge(entry, above / entry.name)


def _enter(
    name: str, folder: int, path: PurePosixPath
) -> Iterator[Table | Skipped | None]:
    if len(path.parts) > MAX_DEPTH:
        yield _skip(path, f"lies deeper than {MAX_DEPTH} folders; move it up")
        return
    try:
        with open_folder(name, parent=folder) as descriptor:
            yield from _walk(descriptor, path)
    except OSError:
        yield _skip(path, "cannot be opened; check its permissions")


def _judge(entry: os.DirEntry[str], path: PurePosixPath) -> Table | Skipped | None:
    kind = FORMATS.get(path.suffix.lower())
    if entry.is_symlink():
        return _skip(path, "is a symbolic link, which is never followed; copy the file")
    if kind is None:
        return None
    if not entry.is_file(follow_symlinks=False):
        return _skip(path, "is no regular file; replace it by one")
    if not str(path).isprintable():
        return _skip(path, "has unprintable characters in its name; rename it")
    try:
        stat = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # gone since the folder was read
    return Table(
        name=_name(path),
        file=str(path),
        format=kind,
        size_bytes=stat.st_size,
        modified=stat.st_mtime,
    )


def _skip(path: PurePosixPath, reason: str) -> Skipped:
    return Skipped(str(path).encode("utf-8", "replace").decode(), reason)


def _name(path: PurePosixPath) -> str:
    parts = (*path.parts[:-1], path.stem)
    name = "__".join(re.sub(r"\W", "_", part) for part in parts)
    return f"t_{name}" if name[:1].isdigit() else name


def _settle(found: Iterable[Table]) -> tuple[list[Table], list[Skipped]]:
    """Nobody silently wins: claimants of one name get their format added, or none."""
    renamed: list[Table] = []
    for claimants in _by_name(found):
        if len(claimants) == 1:
            renamed.extend(claimants)
        else:
            renamed.extend(replace(t, name=f"{t.name}__{t.format}") for t in claimants)
    tables: list[Table] = []
    clashes: list[Skipped] = []
    for claimants in _by_name(renamed):
        if len(claimants) == 1:
            tables.extend(claimants)
        else:
            clashes.extend(_clash(table, claimants) for table in claimants)
    return sorted(tables, key=lambda table: table.name), clashes


def _by_name(tables: Iterable[Table]) -> Iterable[list[Table]]:
    groups: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        groups[table.name.casefold()].append(table)
    return groups.values()


def _clash(table: Table, claimants: Iterable[Table]) -> Skipped:
    others = ", ".join(other.file for other in claimants if other.file != table.file)
    return Skipped(
        table.file, f"claims the name {table.name!r} like {others}; rename one of them"
    )
