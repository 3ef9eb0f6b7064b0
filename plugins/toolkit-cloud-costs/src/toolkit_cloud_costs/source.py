"""Which billing export answers a user's questions, and nothing outside of it.

A caller can name a file of their own folder, never a path. What the backend or the
operator configured is trusted; what lies inside a folder is not: links are refused.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from toolkit import ToolError, UserContext
from toolkit_cloud_costs.beneath import list_folder

Kind = Literal["user export", "shared export", "shipped sample"]

SAMPLE: Final = Path(__file__).with_name("sample.csv")
SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """The files that an answer rests on.

    Attributes:
        kind: Who provided them.
        files: What to read.
        beneath: The trusted folder above them, below which no link is followed. None
            when the one file was itself configured.
        left_out: Names that look like an export and are a link or no plain file.
    """

    kind: Kind
    files: tuple[Path, ...]
    beneath: Path | None = None
    left_out: tuple[str, ...] = ()


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
        ToolError: The configured export is missing or empty, the user id cannot name
            a folder, that folder is a link, or `export` is no file of this user.
    """
    source = _find_configured(user, environment)
    if not source.files:
        text = (
            f"There is no billing export in the {source.kind} location. Put a FOCUS "
            f"export ({', '.join(SUFFIXES)}) there, or have the operator correct the "
            "setting."
        )
        raise ToolError(text)
    if export is None:
        return source
    return replace(source, files=(_pick(source.files, export),), left_out=())


def _find_configured(user: UserContext, environment: Mapping[str, str]) -> Source:
    configured = user.metadata.get("billing_export")
    if configured is not None:
        return _read_place("user export", Path(str(configured)))
    root = environment.get("TOOLKIT_DATA_ROOT")
    if root:
        own = _user_folder(Path(root), user.user_id)
        source = _read_folder("user export", own, Path(root))
        if source.files:
            return source
    shared = environment.get("TOOLKIT_BILLING_EXPORT")
    if shared:
        return _read_place("shared export", Path(shared))
    return Source("shipped sample", (SAMPLE,))


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


def _read_place(kind: Kind, place: Path) -> Source:
    if place.is_file():
        return Source(kind, (place,))
    return _read_folder(kind, place, place)


def _read_folder(kind: Kind, folder: Path, beneath: Path) -> Source:
    listed = [
        (name, is_plain)
        for name, is_plain in list_folder(folder, beneath)
        if name.casefold().endswith(SUFFIXES)
    ]
    return Source(
        kind,
        files=tuple(folder / name for name, is_plain in listed if is_plain),
        beneath=beneath,
        left_out=tuple(name for name, is_plain in listed if not is_plain),
    )


def _pick(files: tuple[Path, ...], export: str) -> Path:
    names = {path.name: path for path in files}
    if export not in names:
        text = (
            f"There is no export {export!r} in this folder. Name one of: "
            f"{', '.join(names)}; or leave `export` out to read all of them."
        )
        raise ToolError(text)
    return names[export]
