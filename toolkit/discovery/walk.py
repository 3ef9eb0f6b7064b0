"""Walking packages, and showing a plugin's traceback without our frames."""

import os
import pkgutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import toolkit
from toolkit.errors import describe_error

MAX_DEPTH: Final = 32
"""Levels of packages walked; the deepest on the package index have about ten."""

_OURS: Final = str(Path(toolkit.__file__).parent)
_SKIPPED_FOLDERS: Final = frozenset({"__pycache__"})


def submodules(module: ModuleType, walked: set[str]) -> Iterator[str]:
    """Yield the full names of a package's public submodules, sorted; imports none.

    Also finds namespace packages (folders without ``__init__.py``). A folder is walked
    once: one that is a link to another, or back up, is passed over.

    Args:
        module: Any module; one that is no package has none.
        walked: The real folders of the packages walked so far; the module's are added.
    """
    listed = vars(module).get("__path__", ())  # no getattr: a module may answer it
    path = [str(folder) for folder in listed]
    if not path or module.__name__.count(".") >= MAX_DEPTH:
        return
    walked.update(map(os.path.realpath, path))
    names = {info.name for info in pkgutil.iter_modules(path)}
    names.update(name for folder in path for name in _namespace_folders(folder))
    for name in sorted(names):
        is_public = name.isidentifier() and not name.startswith("_")
        if is_public and not _is_walked([Path(one, name) for one in path], walked):
            yield f"{module.__name__}.{name}"


def _is_walked(places: list[Path], walked: set[str]) -> bool:
    folders = {os.path.realpath(place) for place in places if place.is_dir()}
    return bool(folders) and folders <= walked


def _namespace_folders(folder: str) -> Iterator[str]:
    """Yield the folders in a folder that are packages without ``__init__.py``."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        is_name = entry.name.isidentifier() and entry.name not in _SKIPPED_FOLDERS
        if is_name and _holds_code(entry):
            yield entry.name


def _holds_code(entry: "os.DirEntry[str]") -> bool:
    try:
        inside = list(os.scandir(entry.path)) if entry.is_dir() else []
    except OSError:
        return False
    if any(one.name == "__init__.py" for one in inside):
        return False  # an ordinary package: pkgutil has named it
    return any(one.name.endswith(".py") or one.is_dir() for one in inside)


def their_traceback(error: BaseException) -> str:
    """Return an exception's traceback without our own and the importer's frames."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _strip(told)
        return "".join(told.format())
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise while shown
        return f"{describe_error(error)} (its traceback cannot be shown)\n"


def _strip(told: traceback.TracebackException) -> None:
    told.stack = traceback.StackSummary.from_list(
        frame for frame in told.stack if not _is_ours(frame.filename)
    )
    for linked in (told.__cause__, told.__context__):
        if linked is not None:
            _strip(linked)


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OURS, "<frozen importlib")) or (
        os.sep + "importlib" + os.sep in filename
    )
