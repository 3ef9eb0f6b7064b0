"""Open what lies beneath a trusted folder, so that what was checked is what is read.

duckdb expands a file's name as a pattern and follows links. It is therefore handed an
open descriptor, found by steps that follow no link. A system without ``/proc/self/fd``
gets the path, checked beforehand, and no name that could be a pattern.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from toolkit import ToolError

DESCRIPTORS: Final = Path("/proc/self/fd")
_PATTERN: Final = frozenset("*?[]{}")


def list_folder(folder: Path, beneath: Path) -> tuple[tuple[str, bool], ...]:
    """Return (name, is a plain file) of what is in a folder, sorted by name.

    Empty when the folder is missing, no folder, or a link below `beneath`.

    Args:
        folder: `beneath` or a folder below it.
        beneath: A trusted folder; no link below it is followed.
    """
    has_descriptors = DESCRIPTORS.is_dir()
    opened = _open_folder(folder, beneath) if has_descriptors else nullcontext(folder)
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        opened as place,
        os.scandir(place) as entries,
    ):
        return tuple(
            sorted((one.name, one.is_file(follow_symlinks=False)) for one in entries)
        )
    return ()


@contextmanager
def open_file(path: Path, beneath: Path | None) -> Iterator[str]:
    """Give the address under which duckdb reads this one file inside the block.

    Passes on a `ToolError` for a name that this system cannot read safely.

    Args:
        path: The file.
        beneath: A trusted folder above it; no link below that is followed. None when
            the path itself is trusted.

    Raises:
        OSError: It is missing, a link below `beneath`, or no plain file.
    """
    if not DESCRIPTORS.is_dir():
        yield _check_path(path, beneath)
        return
    descriptor = _open_file(path, beneath)
    try:
        _insist_on_plain(os.fstat(descriptor))
        yield f"{DESCRIPTORS}/{descriptor}"
    finally:
        os.close(descriptor)


@contextmanager
def _open_folder(folder: Path, beneath: Path) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    current = os.open(beneath, flags)
    try:
        for part in folder.relative_to(beneath).parts:
            above = current
            current = os.open(part, flags | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
        yield current
    finally:
        os.close(current)


def _open_file(path: Path, beneath: Path | None) -> int:
    # non-blocking: opening a named pipe must not wait for a writer
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    if beneath is None:
        return os.open(path, flags)
    with _open_folder(path.parent, beneath) as folder:
        return os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=folder)


def _check_path(path: Path, beneath: Path | None) -> str:
    if _PATTERN.intersection(str(path)):
        text = (
            f"{path.name} cannot be read safely on this system: its path holds one of "
            f"{' '.join(sorted(_PATTERN))}. Rename it."
        )
        raise ToolError(text)
    _insist_on_plain(path.stat(follow_symlinks=beneath is None))
    return str(path.absolute())


def _insist_on_plain(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EPERM, "it is no plain file")
