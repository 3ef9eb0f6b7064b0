"""What is trusted: the lock, and how what is installed differs from it.

*Installed* is what the path holds. *Trusted* is what somebody has looked at and locked:
``toolkit lock`` writes down how each distribution is, and with the setting
``trust = "locked"`` whatever is not exactly so is refused before it is imported.

Counted are the files that ``RECORD`` lists, every file of code in the packages these
are in, listed or not, as scanning a package imports it, and the code that the entry
points lead to, wherever the import system finds it. Nothing is imported to find it.

Not counted are a distribution's requirements, scripts and data outside its site folder,
and the byte code in ``__pycache__``: Python writes it anew whenever its source changes.
A ``.pyc`` beside the sources is code, because Python would import it.

Source: PyPA specifications, "Recording installed projects" and "Recording the direct
URL origin of installed distributions" (2026-11).
"""

import csv
import errno
import hashlib
import io
import json
import os
import posixpath
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.machinery import PathFinder
from itertools import islice
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Final, NamedTuple, Self

from toolkit.discovery.index import Publisher
from toolkit.errors import ConfigurationError

LOCK_FILE: Final = "toolkit.lock"
FORMAT: Final = 1
"""Changes whenever the same distribution is locked differently."""
MAX_DIFFERENCES: Final = 10
"""Sentences that `differences` returns before it counts the others."""

_IN_ONE_LINE: Final = 3
_SUM: Final = "sha256:"
_SHOWN: Final = len(_SUM) + 8  # of a sum: enough to tell two apart
_UNREADABLE: Final = "unreadable: "
_NO_FILE: Final = f"{_UNREADABLE}it is in no plain file"
_CHUNK: Final = 1 << 16  # bytes; for small files twice as fast as hashlib.file_digest
_CACHES: Final = "__pycache__"
_CODE: Final = (".py", ".pyc", ".pyd", ".pyw", ".so")
_BUILT_IN: Final = ("built-in", "frozen")  # the origin of what is Python itself
_OPTIONS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe must not block
_INSTALLERS_OWN: Final = ("INSTALLER", "RECORD", "REQUESTED", "direct_url", "uv_")
"""What installers add to a metadata folder, each its own; names begin so."""
_ZIPPED: Final = (
    "it is not in a plain folder, so it cannot be locked; install it unpacked"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDistribution:
    """One distribution as it was when it was measured. Immutable.

    Attributes:
        version: Its version.
        record: The sum of its RECORD as ``sha256:<hex>``; empty when it has none. Only
            rows that count are in it, sorted, so that it is the same whichever
            installer wrote them: none of byte code in ``__pycache__``, of files
            outside of the site folder, or of what installers add for themselves.
        files: The sum of each file that counts, by its path with slashes: relative to
            the site folder, or to the folder that its top-level package is in.
        entry_points: Group → name → reference.
        tools: The names of its tools, sorted; for whoever reads the lock.
        editable: Whether its code is not what its RECORD lists, as in an editable
            install. Then every file of its packages counts, not only code.

    What cannot be read is ``unreadable: <why>`` in place of its sum, and never trusted.
    """

    version: str
    record: str
    files: Mapping[str, str]
    entry_points: Mapping[str, Mapping[str, str]]
    tools: Sequence[str]
    editable: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """What is trusted. Immutable by convention.

    Attributes:
        distributions: Each locked distribution by its normalised name.
    """

    distributions: Mapping[str, LockedDistribution]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a lock file.

        Raises:
            ConfigurationError: There is none, or it is none that this version reads.
        """
        try:
            data = Path(path).read_bytes()
            return cls(_unpack(json.loads(data, object_pairs_hook=_no_name_twice)))
        except (OSError, TypeError, ValueError, RecursionError) as error:
            why = f"it cannot be read ({_said(error)})"
            remedy = f"{why}; run `toolkit lock` to write it anew"
            raise ConfigurationError("lock_file", str(path), remedy) from error

    def write(self, path: str | Path) -> None:
        """Write a lock file, whole and at once; equal locks are equal byte for byte.

        Raises:
            OSError: It cannot be written; what was there before is still there.
        """
        packed = {name: asdict(one) for name, one in self.distributions.items()}
        whole = {"format": FORMAT, "distributions": packed}
        new = Path(f"{path}.{os.urandom(8).hex()}.new")
        try:
            with new.open("xb") as stream:
                stream.write(json.dumps(whole, indent=1, sort_keys=True).encode())
                stream.write(b"\n")
            new.replace(path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise

    def get(self, name: str) -> LockedDistribution | None:
        """Return what is locked under a normalised name; None when nothing is."""
        return self.distributions.get(name)


def measure(publisher: Publisher, tools: Iterable[str] = ()) -> LockedDistribution:
    """Return how a distribution is now. Imports nothing of it, and raises nothing.

    Args:
        publisher: One in a plain folder; any other is measured as unreadable.
        tools: The names of its tools.

    Returns:
        What to lock. A file that cannot be read is in it, and will never be trusted.
    """
    look = _Look(publisher)
    return LockedDistribution(
        version=publisher.version,
        record=look.record,
        files=look.sums(),
        entry_points=_published(publisher),
        tools=tuple(sorted(tools)),
        editable=look.is_editable,
    )


def differences(
    locked: LockedDistribution | None, publisher: Publisher
) -> tuple[str, ...]:
    """Say how a distribution differs from what is locked. Imports nothing of it.

    Another version is said as such: its files are not compared.

    Args:
        locked: What is locked under its name; None when nothing is.
        publisher: What is installed.

    Returns:
        Empty when it is trusted; else one sentence for each difference, and after
        `MAX_DIFFERENCES` of them how many more there are.
    """
    return _capped([*_differences(locked, publisher)], MAX_DIFFERENCES)


def refusal(lock: Lock, publisher: Publisher) -> str:
    """Say in one line why a distribution is not trusted; empty when it is."""
    found = [*_differences(lock.get(publisher.name), publisher)]
    if not found:
        return ""
    told = "; ".join(_capped(found, _IN_ONE_LINE))
    remedy = "" if _ZIPPED in found else "; run `toolkit lock` again if that is right"
    return f"{publisher.name} {publisher.version} is not trusted: {told}{remedy}"


# --- comparing ----------------------------------------------------------------------


def _differences(
    locked: LockedDistribution | None, publisher: Publisher
) -> Iterator[str]:
    if not publisher.folder:
        yield _ZIPPED
    elif locked is None:
        yield "it is not in the lock"
    else:
        yield from _compare(
            _points(locked.entry_points), _points(_published(publisher))
        )
        if locked.version == publisher.version:
            yield from _contents(locked, _Look(publisher))
        else:
            yield f"version {locked.version} locked, {publisher.version} installed"


def _contents(locked: LockedDistribution, look: "_Look") -> Iterator[str]:
    if locked.editable != look.is_editable:
        was, now = ("", " not") if locked.editable else (" not", "")
        yield f"it was{was} locked as an editable install, and now it is{now} one"
    record = [*_compare({"RECORD": locked.record}, {"RECORD": look.record})]
    if look.record.startswith(_UNREADABLE):  # then nobody knows which files count
        yield from record
        return
    files = [*_compare(_files(locked.files), _files(look.sums()))]
    if files and not look.is_editable:
        yield from (f"its code comes from {place}" for place in sorted(look.outside))
    yield from (*files, *record)


def _files(sums: Mapping[str, str]) -> dict[str, str]:
    return {f"file {path}": one for path, one in sums.items()}


def _points(groups: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"entry point {name} in {group}": reference
        for group, names in groups.items()
        for name, reference in names.items()
    }


def _compare(locked: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for what in sorted({*locked, *now}):
        was, there = locked.get(what), now.get(what)
        if there is None:
            yield f"{what} missing"
        elif there.startswith(_UNREADABLE):
            yield f"{what} cannot be read: {there.removeprefix(_UNREADABLE)}"
        elif was is None:
            yield f"{what} added"
        elif was != there:
            yield f"{what} changed ({_short(was)} locked, now {_short(there)})"


def _short(found: str) -> str:
    return f"{found[:_SHOWN]}…" if found.startswith(_SUM) else found or "none"


def _capped(found: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the first sentences, each in one line, and how many more there are."""
    shown = [
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in found[:count]
    ]
    more = len(found) - count
    return (*shown, f"and {more} more") if more > 0 else tuple(shown)


def _published(publisher: Publisher) -> dict[str, dict[str, str]]:
    """Return group → name → reference; one name twice has both references."""
    found: dict[str, dict[str, str]] = {}
    for point in sorted(publisher.entry_points):
        names = found.setdefault(point.group, {})
        known = names.get(point.name)
        names[point.name] = f"{known}, {point.reference}" if known else point.reference
    return found


# --- measuring ----------------------------------------------------------------------


class _Look:
    """One look at a distribution: which files count, and where each of them is.

    Attributes:
        record: The sum of its RECORD, see `LockedDistribution`.
        is_editable: Whether its code is not what RECORD lists.
        outside: Files outside of its site folder that its entry points lead to.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._site = posixpath.dirname(publisher.folder.replace(os.sep, "/"))
        self._places: dict[str, str] = {}
        self._faults: dict[str, str] = {}
        self._walked: set[str] = set()
        self.outside: set[str] = set()
        self.record, self.is_editable = _NO_FILE, False
        if publisher.folder:
            self._take(publisher, Path(publisher.folder))

    def sums(self) -> dict[str, str]:
        """Return the sum of each file that counts and is there, by its path."""
        found = {path: _sum_of(place) for path, place in self._places.items()}
        return {path: one for path, one in found.items() if one} | self._faults

    def _take(self, publisher: Publisher, folder: Path) -> None:
        self.record, paths = _read_record(folder)
        self.is_editable = not self.record or _is_editable(folder)
        for reference in sorted({one.reference for one in publisher.entry_points}):
            self._take_module(reference)  # first: what would be imported is what counts
        for module in sorted(_top_modules(paths)):
            if not self._is_namespace(module):  # others share those
                self._take_module(module)
        for package in {*_packages(self._site, paths)}:
            self._walk(package, f"{self._site}/{package}")
        for path in paths:
            self._places.setdefault(path, f"{self._site}/{path}")

    def _is_namespace(self, module: str) -> bool:
        _, found = _find(module)
        return found is not None and found.origin is None

    def _take_module(self, reference: str) -> None:
        name, found = _find(reference.partition(":")[0].partition("[")[0].strip())
        if found is None or found.origin in _BUILT_IN:
            return
        path = name.replace(".", "/")
        if found.origin is not None:
            inside = path if found.folders is not None else posixpath.dirname(path)
            self._take_file(inside, found.origin)
        elif found.folders is None:
            self._faults[path] = _NO_FILE
        for folder in found.folders or ():
            if os.path.isabs(folder):  # noqa: PTH117 - setuptools puts a mark among them
                self._walk(path, folder)

    def _take_file(self, path: str, place: str) -> None:
        place = place.replace(os.sep, "/")
        path = posixpath.join(path, posixpath.basename(place))
        if os.path.isfile(place):  # noqa: PTH113 - pathlib's may raise
            self._places.setdefault(path, place)
        else:
            self._faults[path] = _NO_FILE
        if not place.startswith(f"{self._site}/"):
            self.outside.add(place)

    def _walk(self, path: str, folder: str) -> None:
        waiting = [(path, folder)]
        while waiting:
            path, folder = waiting.pop()
            real = os.path.realpath(folder)
            if real in self._walked:  # a link to what is counted already, or back up
                continue
            self._walked.add(real)
            try:
                for entry in _entries(folder):
                    inside = f"{path}/{entry.name}"
                    if entry.is_dir():
                        waiting.append((inside, entry.path))
                    elif self.is_editable or entry.name.endswith(_CODE):
                        self._places.setdefault(inside, entry.path)
            except OSError as error:
                self._faults[path] = _UNREADABLE + _said(error)


def _entries(folder: str) -> "list[os.DirEntry[str]]":
    """Return what is in a folder, sorted by name, without cached byte code."""
    with os.scandir(folder) as entries:
        found = [one for one in entries if one.name != _CACHES]
    return sorted(found, key=lambda one: one.name)


def _read_record(folder: Path) -> tuple[str, list[str]]:
    """Return the sum of the rows of a RECORD that count, and their paths."""
    try:
        rows = sorted(set(_rows(_read(folder / "RECORD").decode(), folder)))
    except FileNotFoundError:
        return "", []
    except (OSError, ValueError, csv.Error) as error:
        return _UNREADABLE + _said(error), []
    found = hashlib.sha256(json.dumps(rows).encode())
    return _SUM + found.hexdigest(), [path for path, *_ in rows]


def _rows(text: str, folder: Path) -> Iterator[tuple[str, ...]]:
    site = posixpath.normpath(folder.parent.as_posix())
    for row in csv.reader(io.StringIO(text, newline=""), strict=True):
        path = posixpath.normpath(posixpath.join(site, *row[:1]))
        inside = path.removeprefix(f"{site}/")
        outer, name = posixpath.split(inside)
        is_own = outer == folder.name and name.startswith(_INSTALLERS_OWN)
        if inside != path and not is_own and _CACHES not in outer.split("/"):
            yield inside, *row[1:]


def _is_editable(folder: Path) -> bool:
    try:
        found = json.loads(_read(folder / "direct_url.json"))
        return bool(found["dir_info"]["editable"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _top_modules(paths: Iterable[str]) -> set[str]:
    """Return the top-level modules that some paths are, or are in.

    What the import system finds under such a name may be another file.
    """
    code = [path for path in paths if path.endswith((".py", ".so", ".pyd"))]
    tops = {path.partition("/")[0].partition(".")[0] for path in code}
    return {top for top in tops if top.isidentifier()}


def _packages(site: str, paths: Iterable[str]) -> Iterator[str]:
    """Yield the outermost packages with an ``__init__`` that some paths are in."""
    is_package = cache(lambda outer: _has_init(f"{site}/{outer}"))
    for path in paths:
        outer = reversed(PurePosixPath(path).parents[:-1])
        yield from map(str, islice(filter(is_package, outer), 1))


def _has_init(folder: str) -> bool:
    try:
        return any(one.name.startswith("__init__.") for one in _entries(folder))
    except (OSError, ValueError):
        return False


class _Found(NamedTuple):
    """Where the import system finds a module: its file, and for a package folders."""

    origin: str | None
    folders: list[str] | None


def _find(module: str) -> tuple[str, _Found | None]:
    """Find a module's outermost package that is no namespace; import nothing."""
    name, found, path = "", None, None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = _ask_finders(name, part, path)
        if found is None or found.origin is not None or found.folders is None:
            break
        path = found.folders
    return name, found


def _ask_finders(name: str, part: str, path: list[str] | None) -> _Found | None:
    """Ask as an import would. A finder that raises is passed over: it is not ours."""
    for finder in sys.meta_path:
        # asked for a full name, it would look for the parent among what is imported
        asked = part if finder is PathFinder else name
        with suppress(Exception):
            spec = finder.find_spec(asked, path)
            if spec is not None:
                folders = spec.submodule_search_locations
                return _Found(spec.origin, None if folders is None else [*folders])
    return None


def _sum_of(place: str) -> str:
    """Return the sum of a file's content; empty when it is not there."""
    try:
        with _opened(place) as stream:
            found = hashlib.sha256()
            while data := stream.read(_CHUNK):
                found.update(data)
            return _SUM + found.hexdigest()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return _UNREADABLE + _said(error)


def _read(file: Path) -> bytes:
    """Read a file, whatever is there under its name."""
    with _opened(file) as stream:
        return stream.read()


def _opened(place: str | Path) -> io.FileIO:
    """Open a plain file: anything else is an OSError, a name with NUL a ValueError."""
    fd = os.open(place, _OPTIONS)
    if S_ISREG(os.fstat(fd).st_mode):
        return io.FileIO(fd)
    os.close(fd)
    raise OSError(errno.EINVAL, "it is no plain file")


def _said(error: Exception) -> str:
    """Return what an error says, without the folder it happened in."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


# --- reading the lock ---------------------------------------------------------------


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of a lock, in which a bad merge may have left a name twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        text = "a name stands twice in one object"
        raise ValueError(text)
    return found


def _unpack(whole: Any) -> dict[str, LockedDistribution]:  # noqa: ANN401 - from JSON
    """Return the locked distributions by name; a TypeError says why it cannot."""
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        text = f"it has not the format {FORMAT}"
        raise TypeError(text)
    found = {}
    name = "distributions"
    try:
        for name, values in whole["distributions"].items():
            found[name] = _unpack_one(values)
    except (AttributeError, KeyError, TypeError) as error:
        text = f"{name} is not written as it should be"
        raise TypeError(text) from error
    return found


def _unpack_one(values: Mapping[str, Any]) -> LockedDistribution:
    """Make one of what was read; an AttributeError or a TypeError if it is none."""
    found = LockedDistribution(**{**values, "tools": tuple(values["tools"])})
    texts = [found.version, found.record, *found.tools, *found.files.values()]
    for names in found.entry_points.values():
        texts += names.values()
    "".join(texts)  # raises unless they are texts
    return found
