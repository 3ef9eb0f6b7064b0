"""Walking packages, and showing a plugin's traceback without our frames."""

import os
import pkgutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import toolkit

MAX_DEPTH: Final = 32
"""Levels of packages walked; the deepest on the package index have about ten."""

_OURS: Final = str(Path(toolkit.__file__).parent)
_SKIPPED_FOLDERS: Final = frozenset({"__pycache__"})


def submodules(module: ModuleType) -> list[str]:
    """Return the full names of a package's public submodules, sorted; none imported.

    Also finds namespace packages (folders without ``__init__.py``) and stops at folders
    that lead back to themselves.
    """
    path = [str(folder) for folder in getattr(module, "__path__", ())]
    if not path or module.__name__.count(".") >= MAX_DEPTH:
        return []
    names = {info.name for info in pkgutil.iter_modules(path)}
    names.update(name for folder in path for name in _namespace_folders(folder))
    return [f"{module.__name__}.{name}" for name in sorted(names) if name[0] != "_"]


def _namespace_folders(folder: str) -> Iterator[str]:
    """Yield the folders in a folder that are packages without ``__init__.py``."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        is_name = entry.name.isidentifier() and entry.name not in _SKIPPED_FOLDERS
        if is_name and _holds_code(entry) and not _leads_back(entry.path):
            yield entry.name


def _holds_code(entry: "os.DirEntry[str]") -> bool:
    try:
        inside = list(os.scandir(entry.path)) if entry.is_dir() else []
    except OSError:
        return False
    if any(one.name == "__init__.py" for one in inside):
        return False  # an ordinary package: pkgutil has named it
    return any(one.name.endswith(".py") or one.is_dir() for one in inside)


def _leads_back(path: str) -> bool:
    """Tell whether a folder is a link to one of the folders above it."""
    real = Path(path).resolve()
    return real != Path(path) and Path(path).parent.resolve().is_relative_to(real)


def their_traceback(error: BaseException) -> str:
    """Return an exception's traceback without our own and the importer's frames."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _strip(told)
        return "".join(told.format())
    except Exception:  # noqa: BLE001 - a plugin's exception may raise while it is shown
        return f"{type(error).__name__} (its traceback cannot be shown)\n"


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
