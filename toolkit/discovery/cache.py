"""The file of one environment: written whole, at once, for this user alone.

A file has a header, the index (what `toolkit.discovery.index` reads) and the
definitions (JSON, read only by `discover`). It is never needed: whatever is wrong with
it, or with the folder, means that everything is read anew, and nothing is said.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from toolkit.discovery import (
    HEADER,
    LARGEST,
    READ,
    cache_file,
    cache_folder,
    first_words,
    is_private,
    read_header,
    sum_of,
)
from toolkit.discovery.index import Index, Publisher
from toolkit.discovery.scan import scan

MAX_FILES: Final = 32
"""Environments kept; the one written longest ago goes first."""
MAX_BYTES: Final = LARGEST
"""Size of a file that is read."""

TICK_NS: Final = 50_000_000
"""A change within the same tick of a file system's clock cannot be seen in a time.

Linux stamps files with the time of its last tick, 1 to 10 ms ago.
"""
_COARSE_NS: Final = 2_000_000_000
"""The same for file systems that keep whole seconds (FAT keeps even ones)."""
_SEPARATORS: Final = frozenset("\n\x1e")


def keep(index: Index, definitions: bytes | None = None) -> bool:
    """Write what was found, if it can be trusted to show its own next change.

    Two processes may write at once: the file is whole, and the last one counts.

    Args:
        index: What was found on the path of this process.
        definitions: The definitions' part; by default what the file holds already.

    Returns:
        Whether it was written. It is not when something on the path has changed so
        lately that the next change might bear the same time, or when the folder
        cannot be written.
    """
    if not index.is_lasting or not _is_settled(_times(index), time.time_ns()):
        return False
    body = _pack(index)
    if body is None:
        return False
    file = cache_file(index.folders)
    kept = _raw_definitions(file) if definitions is None else definitions
    try:
        _write(file, _head(body, kept) + body + kept)
    except OSError:  # read-only, full, not ours: then there is no cache
        return False
    prune(except_for=file)
    return True


def keep_definitions(definitions: Mapping[str, Any], times: Iterable[int]) -> bool:
    """Write definitions, and the index as it is now, for the path of this process.

    Importing a module for the first time writes its byte code, which changes the folder
    it is in; so this looks at the path once more, and waits out one tick of the file
    system's clock where that is all that is missing.

    Args:
        definitions: Any JSON object.
        times: When the files changed that they were made from, in nanoseconds.

    Returns:
        Whether they were written, see `keep`.
    """
    data = json.dumps(definitions, separators=(",", ":")).encode()
    lately = [*times]
    found = scan(sys.path)
    if not _is_settled([*_times(found), *lately], time.time_ns()):
        time.sleep(2 * TICK_NS / 1e9)
        found = scan(sys.path)
    if not _is_settled(lately, time.time_ns()):
        return False
    return keep(found, data)


def read_definitions(folders: Sequence[str]) -> dict[str, Any]:
    """Return the definitions kept for an environment; empty when there are none."""
    try:
        found = json.loads(_raw_definitions(cache_file(folders)) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def clear() -> int:
    """Remove every file of the cache; return how many there were.

    Raises:
        OSError: One of them cannot be removed.
    """
    count = 0
    for file in _files():
        os.unlink(file)
        count += file.endswith(".index")
    return count


def prune(*, except_for: str = "") -> None:
    """Remove those written longest ago beyond `MAX_FILES`, and what is left over."""
    now = time.time()
    dated = []
    for file in _files():
        with suppress(OSError):  # another process prunes too
            age = now - os.stat(file).st_mtime
            if file.endswith(".index"):
                dated.append((age, file))
            elif age > _COARSE_NS / 1e9:  # a writer died before it could rename it
                os.unlink(file)
    for _, file in sorted(dated)[MAX_FILES:]:
        if file != except_for:
            with suppress(OSError):
                os.unlink(file)


def _files() -> list[str]:
    folder = cache_folder()
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.endswith((".index", ".new"))]


def _times(index: Index) -> Iterable[int]:
    return *index.stamps, *(changed for _, changed, _ in index.files)


def _is_settled(times: Iterable[int], now: int) -> bool:
    """Tell whether a change from now on will show in every time that was read.

    A time in the future (a clock was set back) is no matter: a change will differ.
    """
    return all(
        abs(now - one) > (TICK_NS if one % 1_000_000_000 else _COARSE_NS)
        for one in times
    )


# --- writing ------------------------------------------------------------------------


def _pack(index: Index) -> bytes | None:
    """Write the index as text; None when a name or number in it cannot be kept."""
    files, times, sizes = _turned(index.files, 3)
    try:
        numbers = [[_digits(one)] for one in (index.stamps, times, sizes)]
    except OverflowError:  # such times and sizes are no file's that is read
        return None
    sections: list[Sequence[str]] = [
        index.folders,
        numbers[0],
        files,
        *numbers[1:],
        [word for one in index.publishers for word in _words(one)],
        [word for one, by in index.shadowed for word in (*_words(one), by)],
        *(_columns(index.publishers, group) for group in READ),
    ]
    words = (word for section in sections for word in section)
    if any(not _SEPARATORS.isdisjoint(word) for word in words):
        return None
    return "\x1e".join(map("\n".join, sections)).encode("utf-8", "surrogatepass")


def _columns(publishers: Sequence[Publisher], group: str) -> list[str]:
    """Return a group's names, then its references, then all owners in one line.

    So a listing takes each column whole, and never parts the owners.
    """
    points = [
        (point[1], point[2], str(owner))
        for owner, one in enumerate(publishers)
        for point in one.entry_points
        if point[0] == group
    ]
    names, references, owners = _turned(points, 3)
    return [*names, *references, " ".join(owners)]


def _turned(rows: Iterable[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    """Turn rows into columns, of which there are some even where there is no row."""
    return [*zip(*rows, strict=True)] or [()] * width


def _digits(numbers: Iterable[int]) -> str:
    """Write numbers as `toolkit.discovery.numbers_of` reads them.

    Raises:
        OverflowError: One takes more than eight bytes.
    """
    order = sys.byteorder
    return b"".join([one.to_bytes(8, order, signed=True) for one in numbers]).hex()


def _words(one: Publisher) -> tuple[str, ...]:
    return one.name, one.version, one.fault, one.folder


def _head(body: bytes, definitions: bytes) -> bytes:
    total = HEADER + len(body) + len(definitions)
    sums = (sum_of(body), sum_of(definitions))
    fields = (first_words(), len(body), len(definitions), total, *sums)
    return "\t".join(map(str, fields)).encode().ljust(HEADER)


def _write(file: str, data: bytes) -> None:
    """Write a file for this user alone, at once.

    Raises:
        OSError: It cannot be written.
    """
    folder = cache_folder()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    new = f"{file}.{os.urandom(8).hex()}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(fd, "wb") as stream:
            stream.write(data)
        os.replace(new, file)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise


def _raw_definitions(file: str) -> bytes:
    """Return the definitions' part of a file; empty when it is not well."""
    try:
        with open(file, "rb", opener=_open_at_once) as stream:
            about = os.fstat(stream.fileno())
            if not is_private(about) or about.st_size > MAX_BYTES:
                return b""
            words, skip, size, total, _, found = read_header(stream.read(HEADER))
            if words != first_words() or total != about.st_size:
                return b""
            if HEADER + skip + size != total:
                return b""
            stream.seek(HEADER + skip)
            data = stream.read(size)
    except (OSError, ValueError):
        return b""
    return data if sum_of(data) == found else b""


def _open_at_once(file: str, flags: int) -> int:
    """Open a file; a pipe in its place must not block."""
    return os.open(file, flags | getattr(os, "O_NONBLOCK", 0))
