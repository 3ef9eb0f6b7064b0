"""Where a user's files are: the one place that turns a user into a folder."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from toolkit import ToolError, UserContext
from toolkit_data.beneath import FOLDER_FLAGS

METADATA_KEY: Final = "data_folder"
ROOT_VARIABLE: Final = "TOOLKIT_DATA_ROOT"

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+|=~:-]{0,254}")
"""One path component on every file system: ASCII, so that no two spellings of an id
normalise to one name; not starting with a dot; at most 255 bytes (POSIX NAME_MAX)."""


@contextmanager
def open_user_folder(user: UserContext) -> Iterator[int | None]:
    """Give a descriptor of the user's folder, None when there is none yet.

    The backend's `data_folder` metadata decides; without it, the folder is the user's
    id beneath the operator's `TOOLKIT_DATA_ROOT`. The descriptor is closed at the end.

    Args:
        user: Whose folder.

    Raises:
        ToolError: The configuration is missing or wrong, or the id cannot name a
            folder. The text never holds a path.
    """
    descriptor = _open(user)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(user: UserContext) -> int | None:
    chosen = user.metadata.get(METADATA_KEY)
    if chosen is not None:
        return _open_chosen(chosen)
    root = os.environ.get(ROOT_VARIABLE)
    if not root:
        raise ToolError(
            "No data folder is configured; the operator must set "
            f"{ROOT_VARIABLE}, or the backend the user's {METADATA_KEY} metadata."
        )
    return _open_in_root(root, user.user_id)


def _open_chosen(chosen: object) -> int | None:
    if not isinstance(chosen, str | os.PathLike) or not Path(chosen).is_absolute():
        raise ToolError(
            f"The {METADATA_KEY} set for this user is no absolute path; "
            "the backend must correct it."
        )
    try:  # a symbolic link here is the backend's own choice, so it may be followed
        return os.open(chosen, FOLDER_FLAGS & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise ToolError(
            f"The {METADATA_KEY} set for this user cannot be opened as a folder; "
            "the backend must correct it."
        ) from None


def _open_in_root(root: str, user_id: str) -> int | None:
    if not _COMPONENT.fullmatch(user_id):
        raise ToolError(
            "This user id cannot name a folder; the backend must set the user's "
            f"{METADATA_KEY} metadata instead."
        )
    try:
        parent = os.open(root, FOLDER_FLAGS & ~os.O_NOFOLLOW)
    except OSError:
        raise ToolError(
            f"{ROOT_VARIABLE} cannot be opened as a folder; "
            "the operator must correct it."
        ) from None
    try:
        return os.open(user_id, FOLDER_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError:
        raise ToolError(
            "This user's data folder is no plain folder; the operator must replace "
            "it by one (a symbolic link is not followed)."
        ) from None
    finally:
        os.close(parent)
