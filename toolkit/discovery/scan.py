"""Read every metadata folder on a path, however broken some of them are.

The rules are those of the packaging specifications. Where importlib.metadata would lose
plugins, this differs on purpose; `docs/discovery.md` lists each difference. Like
`toolkit.discovery.index` this module imports nothing that takes long.
"""

import gc
import os
import sys
import time
from stat import S_ISDIR

from toolkit.discovery import (
    GROUPS,
    READ,
    EntryPoint,
    absolute_path,
    has_foreign_finders,
)
from toolkit.discovery.index import Index, Publisher, state_of

TYPE_CHECKING = False  # see toolkit.discovery
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from packaging.version import Version

MAX_BYTES: "Final" = 1 << 20
"""Size of an entry_points.txt that is read; the largest known ones have 100 KiB."""

_FIRST_READ: "Final" = 1 << 14  # enough for nearly all: a buffer for more takes longer
_OPTIONS: "Final" = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe must not block
_MARKS: "Final" = (b"toolkit", b"pydantic", b"\xff\xfe", b"\xfe\xff")
_MARK_OF_UTF_8: "Final" = b"\xef\xbb\xbf"
_LONGEST: "Final" = 60  # characters of a line that are shown
_POINTS: "Final" = "/entry_points.txt"
_RECORD: "Final" = "/RECORD"
_KINDS: "Final" = (".dist-info", ".egg-info")
_AT_ONCE: "Final" = 40  # folders that one question is about
_BUSY_NS: "Final" = 10_000_000_000  # an installer may need so long for one distribution


def scan(path: "Iterable[object]") -> Index:
    """Read what is installed on a path, by looking at each folder once.

    Args:
        path: As ``sys.path``. What is no folder, and any foreign finder where it is
            ``sys.path`` itself, is left to importlib-metadata.
    """
    run = _Scan()
    folders = absolute_path(path)
    was_on = gc.isenabled()
    gc.disable()  # what is made is texts in no cycle, each looked at more than once
    try:
        stamps = [run.place(folder) for folder in folders]
    finally:
        if was_on:
            gc.enable()
    if path is sys.path and has_foreign_finders():
        from toolkit.discovery.foreign import from_finders  # noqa: PLC0415 - it is slow

        run.is_lasting = False
        run.take(from_finders())
    run.publishers.sort(key=Publisher.key)
    return Index(
        folders,
        stamps,
        run.files,
        run.publishers,
        run.shadowed,
        is_lasting=run.is_lasting,
    )


class _Scan:
    """One scan while it happens."""

    def __init__(self) -> None:
        self.publishers: list[Publisher] = []
        self.shadowed: list[tuple[Publisher, str]] = []
        self.files: list[tuple[str, int, int]] = []
        self.is_lasting = True
        self._seen: dict[str, str] = {}
        self._real: set[tuple[int, int]] = set()
        self._without: list[str] = []

    def place(self, folder: str) -> int:
        """Read one entry of the path; return when it last changed, -1 if unknown."""
        try:
            about = os.stat(folder)
        except (OSError, ValueError):
            return -1
        if not S_ISDIR(about.st_mode):
            from toolkit.discovery.foreign import from_file  # noqa: PLC0415 - it is slow

            self.take(from_file(folder))
            return about.st_mtime_ns
        if (about.st_dev, about.st_ino) in self._real:  # a link to one we had
            return about.st_mtime_ns
        self._real.add((about.st_dev, about.st_ino))
        try:
            entries = os.listdir(folder)
        except OSError:
            return -1
        self._without = []
        without = self._folder(folder, entries)
        if abs(time.time_ns() - about.st_mtime_ns) < _BUSY_NS:
            self._without += [f"{folder}/{info}" for info in without]
            # An installer writes RECORD last: what has none may be half there, and what
            # follows will not show in any time that is kept.
            self.is_lasting &= all(
                os.path.exists(place + _RECORD) for place in self._without
            )
        return about.st_mtime_ns

    def take(self, found: "Iterable[Publisher]") -> None:
        """Take what importlib-metadata found, under the same rule: the first counts."""
        for one in found:
            known = self._seen.get(one.name)
            if known is not None:
                self.shadowed.append((one, known))
                continue
            self._seen[one.name] = one.folder
            if one.entry_points or one.fault:
                self.publishers.append(one)

    def _folder(self, folder: str, entries: "Sequence[str]") -> "Iterable[str]":
        """Read one folder, in which nearly every distribution is there just once.

        Returns:
            The metadata folders that have no entry points.
        """
        infos, names = metadata_in(entries)
        has_none = without_points(folder, infos)
        base = folder.rpartition("/")[2]
        if base[-4:].lower() == ".egg" and "EGG-INFO" in entries:
            infos.append("EGG-INFO")
            names.append(canonical(base[:-4].partition("-")[0]))
        places = [f"{folder}/{info}" for info in infos]
        settled = self._settle(names, places)
        found = zip(names, infos, places, strict=True)
        for name, place in [(n, p) for n, info, p in found if info not in has_none]:
            if name not in settled:
                self._read(name, place)
        return has_none

    def _settle(self, names: "Sequence[str]", places: "Sequence[str]") -> "set[str]":
        """Note who is there; settle who counts where one is there twice.

        Returns:
            The names that were settled, and read.
        """
        seen, before = self._seen, len(self._seen)
        if seen.keys().isdisjoint(names):
            seen.update(zip(names, places, strict=True))
            if len(seen) == before + len(names):
                return set()
            for name in names:
                seen.pop(name, None)
        several: dict[str, list[str]] = {}
        for name, place in zip(names, places, strict=True):
            several.setdefault(name, []).append(place)
        settled = set()
        for name, some in several.items():
            if len(some) > 1 or name in seen:
                self._contested(name, some)
                settled.add(name)
            else:
                seen[name] = some[0]
        return settled

    def _contested(self, name: str, places: "list[str]") -> None:
        """Settle who counts when one name is there twice; left-overs never do."""
        known = self._seen.get(name)  # empty where it is in no plain folder
        places = sorted(places)
        real = [place for place in places if not is_left_over(place)]
        if len(real) > 1:  # the newest of one folder counts
            real.sort(key=_version_key, reverse=True)
        if real and known and is_left_over(known):
            self._seen.pop(name)
            self.publishers = [one for one in self.publishers if one.folder != known]
            known = None
        for place in real or places[:1]:
            if known is None:
                known = self._seen[name] = place
                self._read(name, place)
            else:
                self._hide(name, place, known)

    def _hide(self, name: str, place: str, by: str) -> None:
        before = len(self.publishers)
        self._read(name, place)
        hidden = self.publishers[before:]
        del self.publishers[before:]
        self.shadowed += [(one, by) for one in hidden]

    def _read(self, name: str, place: str) -> None:
        """Read the entry points of one metadata folder, if it has any."""
        file = place + _POINTS
        try:
            fd = os.open(file, _OPTIONS)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._has_none(place, error)
            return
        except OSError as error:
            self._watch(file)
            self._broken(name, place, error)
            return
        try:
            now = os.fstat(fd)  # before: what changes meanwhile will be seen
            size = now.st_size << 16 | now.st_mode
            self.files.append((file, now.st_mtime_ns, size))
            data = _read_open(fd)
        except OSError as error:
            self._broken(name, place, error)
            return
        finally:
            os.close(fd)
        points, fault = parse(data)
        if points or fault:
            self._keep(name, place, points, fault)

    def _has_none(self, place: str, error: OSError) -> None:
        if isinstance(error, NotADirectoryError):
            return  # an old .egg-info that is one file
        if place[-9:].lower() == ".egg-info" or place[-8:] == "EGG-INFO":
            self._watch(place)  # written again in place by an editable install
        else:
            self._without.append(place)

    def _broken(self, name: str, place: str, error: OSError) -> None:
        detail = f"{type(error).__name__}: {error.strerror}"
        self._keep(name, place, [], f"broken entry_points.txt: {detail}")

    def _keep(
        self, name: str, place: str, points: "list[EntryPoint]", fault: str
    ) -> None:
        points.sort()
        version = version_of(place)
        self.publishers.append(Publisher(name, version, points, fault, place))

    def _watch(self, file: str) -> None:
        self.files.append((file, *state_of(file)))


def metadata_in(entries: "Iterable[str]") -> tuple[list[str], list[str]]:
    """Return the metadata folders among the entries of one, and whose they are.

    The names are in their normal form. All are put in it at once, as there may be
    thousands.

    >>> metadata_in(["six.py", "Six_-1.0.dist-info", "a.b.egg-info", ".dist-info"])
    (['Six_-1.0.dist-info', 'a.b.egg-info'], ['six-', 'a-b'])
    """
    # pip marks with ~ what it is about to remove, and may leave it behind
    infos = [one for one in entries if one.lower().endswith(_KINDS) and one[0] != "~"]
    stems = "/".join([one.partition("-")[0] for one in infos]).lower()
    if ".dist" in stems or ".egg" in stems:  # seldom: one has no version, or no name
        infos = [one for one in infos if one.lower() not in _KINDS]
        cut = [one[:-9] if one[-9] == "." else one[:-10] for one in infos]
        stems = "/".join([one.partition("-")[0] for one in cut])
    return infos, canonical(stems).split("/") if infos else []


def without_points(folder: str, infos: "Sequence[str]") -> set[str]:
    """Return the ``.dist-info`` folders that surely have no entry_points.txt.

    To open what is not there raises an error, which takes twice as long as to ask for
    it. But `os.access` says no whatever the reason is. So it is not asked to follow
    links: one that leads nowhere is there. And one more question for many folders, by
    a path that leads through all of them, tells that each is a folder that may be
    searched. Where that is not so, or cannot be asked, all is left to opening.
    """
    found: set[str] = set()
    access = os.access
    if not {access} <= os.supports_dir_fd & os.supports_follow_symlinks:
        return found
    try:
        fd = os.open(folder, _OPTIONS)  # a short way to each saves the system work
    except OSError:
        return found
    try:
        if not access(".", os.F_OK, dir_fd=fd, follow_symlinks=False):
            return found  # an odd system: it is there
        silent = [
            one
            for one in infos
            if one[-9] != "."  # no .egg-info: such a folder is to be remembered
            and not access(one + _POINTS, os.F_OK, dir_fd=fd, follow_symlinks=False)
        ]
        for start in range(0, len(silent), _AT_ONCE):
            some = silent[start : start + _AT_ONCE]
            if access("/../".join(some) + "/.", os.F_OK, dir_fd=fd):
                found.update(some)
    finally:
        os.close(fd)
    return found


def canonical(name: str) -> str:
    """Return a distribution's name in its one normal form.

    >>> canonical("Toolkit_Text"), canonical("a.-_b")
    ('toolkit-text', 'a-b')

    Source: PyPA specifications, "Name normalization" (2026-11).
    """
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def version_of(place: str) -> str:
    """Return the version that a metadata folder is named with; empty when none.

    >>> version_of("/site/Pkg-1.0.dist-info"), version_of("/site/pkg.egg-info")
    ('1.0', '')
    """
    folder, _, base = place.rpartition("/")
    if base == "EGG-INFO":
        base = folder.rpartition("/")[2] + "-info"
    stem = base[:-10] if base[-10:].lower() == ".dist-info" else base[:-9]
    version = stem.partition("-")[2]
    return version.partition("-py")[0]


def is_left_over(place: str) -> bool:
    """Tell whether a metadata folder lacks the file that makes it one."""
    if os.path.isfile(place):
        return False
    names = ("METADATA", "PKG-INFO")
    return not any(os.path.isfile(f"{place}/{name}") for name in names)


def _version_key(place: str) -> "tuple[bool, Version]":
    """Compare versions as installers do; one that is none comes last."""
    from packaging import version as versions  # noqa: PLC0415 - it is slow

    try:
        return True, versions.Version(version_of(place))
    except versions.InvalidVersion:
        return False, versions.Version("0")


def read_file(file: str, limit: int = MAX_BYTES) -> bytes:
    """Read a small file, whatever is there under its name.

    Args:
        file: Which one.
        limit: Bytes that it may have.

    Raises:
        OSError: It cannot be read, or is larger than `limit`.
    """
    fd = os.open(file, _OPTIONS)
    try:
        return _read_open(fd, limit)
    finally:
        os.close(fd)


def _read_open(fd: int, limit: int = MAX_BYTES) -> bytes:
    data = os.read(fd, _FIRST_READ)
    if len(data) == _FIRST_READ:
        data += os.read(fd, limit + 1 - _FIRST_READ)
    if len(data) > limit:
        raise OSError(27, f"larger than {limit} bytes")  # EFBIG
    return data


def parse(data: bytes) -> "tuple[list[EntryPoint], str]":
    """Read the content of an entry_points.txt.

    Returns:
        Its entry points in the groups that are read, and what is wrong with it as far
        as it may concern those groups; empty when nothing is.
    """
    if b"toolkit." not in data and b"pydantic" not in data:
        start = data.lstrip()[:1]
        is_plain = start in b"[#;" and not data.startswith(_MARKS[2:])
        if is_plain:
            return [], ""
    plain = data.removeprefix(_MARK_OF_UTF_8)  # the codec for it takes 1 ms to import
    try:
        text = plain.decode()
    except UnicodeDecodeError as error:
        if not any(mark in data for mark in _MARKS):
            return [], ""
        at = error.start
        where = f"byte 0x{plain[at]:02x} at {at + len(data) - len(plain)}"
        return [], f"broken entry_points.txt: it is not UTF-8 ({where})"
    return _parse(text)


def _parse(text: str) -> "tuple[list[EntryPoint], str]":
    found: list[EntryPoint] = []
    named: set[str] = set()
    group: str | None = None
    is_read = True  # what stands before any group may be meant for us
    why = ""
    make = tuple.__new__
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":  # no name of an entry point starts so
            group = line[1:-1].strip() if line[-1] == "]" else ""
            named.add(group)
            is_read = group in READ
            why = why or ("" if group else f"{_shown(line)} is no [group]")
        elif is_read:
            name, sign, reference = line.partition("=")
            name = name.rstrip()
            if group and name and sign:
                found.append(make(EntryPoint, (group, name, reference.lstrip())))
            else:
                why = why or _why(line, group)
    if len(named) > 1 or not found:
        why = why or _lost(named, found)
    return found, f"broken entry_points.txt: {why}" if why else ""


def _why(line: str, group: str | None) -> str:
    if group is None:
        return f"{_shown(line)} stands before any [group]"
    return f"{_shown(line)} in [{group}] is not NAME = REFERENCE"


def _shown(line: str) -> str:
    return repr(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")


def _lost(named: "set[str]", found: "Iterable[EntryPoint]") -> str:
    """Say which of our groups is written down, but gives nothing."""
    given = {point[0] for point in found}
    lost = [group for group in GROUPS if group in named and group not in given]
    return f"no entry point can be read in its group {', '.join(lost)}" if lost else ""
