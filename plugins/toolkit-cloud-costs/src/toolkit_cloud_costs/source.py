"""Which billing export answers a user's questions, and nothing outside of it.

A caller can name a file of their own folder, never a path. What the backend or the
operator configured is trusted; what lies inside a folder is not: links are refused.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from toolkit import ToolError, UserContext

Kind = Literal["user export", "shared export", "shipped sample"]

SAMPLE: Final = Path(__file__).with_name("sample.csv")
SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_PLAIN_NAME = re.compile(r"[^/\\\x00*?\[\]]+")  # no path, and no pattern for duckdb


@dataclass(frozen=True, slots=True)
class Source:
    """The files that an answer rests on."""

    kind: Kind
    files: tuple[Path, ...]


def find_source(
    user: UserContext,
    export: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Source:
    """Return the export to read for this user.

    The first that is configured, in this order: ``user.metadata["billing_export"]``;
    ``$TOOLKIT_DATA_ROOT/<user_id>/billing`` if it holds an export;
    ``$TOOLKIT_BILLING_EXPORT``; the sample in this package.

    Args:
        user: Who asks.
        export: Name of one file in that folder; all of its files when absent.
        environment: Where the operator's settings are read.

    Raises:
        ToolError: The configured export is missing, empty or a link, the user id
            cannot name a folder, or `export` is no file of this user.
    """
    kind, place = _find_place(user, environment)
    files = _list_files(place)
    if not files:
        text = (
            f"There is no billing export in the {kind} location. Put a FOCUS export "
            f"({', '.join(SUFFIXES)}) there, or have the operator correct the setting."
        )
        raise ToolError(text)
    return Source(kind, files if export is None else (_pick(files, export),))


def _find_place(user: UserContext, environment: Mapping[str, str]) -> tuple[Kind, Path]:
    configured = user.metadata.get("billing_export")
    if configured is not None:
        return "user export", Path(str(configured))
    root = environment.get("TOOLKIT_DATA_ROOT")
    if root:
        own = _user_folder(Path(root), user.user_id)
        if _list_files(own):
            return "user export", own
    shared = environment.get("TOOLKIT_BILLING_EXPORT")
    if shared:
        return "shared export", Path(shared)
    return "shipped sample", SAMPLE


def _user_folder(root: Path, user_id: str) -> Path:
    if not _SAFE_ID.fullmatch(user_id):
        text = (
            "This user id cannot name a folder. Ask the operator to set "
            'metadata["billing_export"] for this user.'
        )
        raise ToolError(text)
    folder = root / user_id / "billing"
    if (root / user_id).is_symlink() or folder.is_symlink():
        text = "The user's billing folder is a link. Ask the operator to make it real."
        raise ToolError(text)
    return folder


def _list_files(place: Path) -> tuple[Path, ...]:
    if place.is_file():
        return (place,)
    if not place.is_dir():
        return ()
    return tuple(
        path
        for path in sorted(place.iterdir())
        if path.name.casefold().endswith(SUFFIXES)
        and path.is_file()
        and not path.is_symlink()
    )


def _pick(files: tuple[Path, ...], export: str) -> Path:
    names = {path.name: path for path in files}
    if not _PLAIN_NAME.fullmatch(export) or export not in names:
        text = (
            f"There is no export {export!r} in this folder. Name one of: "
            f"{', '.join(names)}; or leave `export` out to read all of them."
        )
        raise ToolError(text)
    return names[export]
