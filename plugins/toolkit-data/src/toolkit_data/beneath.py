"""Open files strictly beneath a folder. Standard library only; the worker uses it too.

Every step is an `openat` that refuses symbolic links, so that there is no moment
between a check and its use in which a file could be exchanged for a link.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Non-blocking: opening a named pipe must not wait for a writer."""


@contextmanager
def open_folder(name: str, *, parent: int) -> Iterator[int]:
    """Give the descriptor of a folder directly in `parent`; closed at the end.

    Raises:
        OSError: It is missing, is not a folder, or is a symbolic link.
    """
    descriptor = os.open(name, FOLDER_FLAGS, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: str, *, root: int) -> int:
    """Open a regular file beneath `root`; the caller closes the descriptor.

    Args:
        path: Relative, with `/` between its parts, none of which may be `..`.
        root: Descriptor of the folder to stay in.

    Raises:
        OSError: Some part is missing, a symbolic link or `..`, or the end is no
            regular file.
    """
    *folders, name = path.split("/")
    if not all(_is_plain(part) for part in (*folders, name)):
        raise OSError(errno.EPERM, "not a regular file beneath the folder")
    current = os.dup(root)
    try:
        for folder in folders:
            deeper = os.open(folder, FOLDER_FLAGS, dir_fd=current)
            os.close(current)
            current = deeper
        return _open_regular(name, current)
    finally:
        os.close(current)


def _is_plain(part: str) -> bool:
    return part not in {"", ".", ".."} and "\0" not in part


def _open_regular(name: str, folder: int) -> int:
    descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EPERM, "not a regular file beneath the folder")
