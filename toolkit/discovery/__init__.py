"""Entry points and modules → catalog. The only code that imports plugins.

The quick way to what is installed is in this file, so that a listing imports the two
packages and no module more. All else is in the modules, loaded when it is needed.

>>> from toolkit.discovery import TOOLS, entry_points
>>> all(point.group == "toolkit.tools" for point in entry_points(TOOLS))
True
"""
# ruff: noqa: PTH100, PTH111, PTH116, PTH117, PTH118 - pathlib takes 15 ms to import

# A listing asks the file that is kept of each environment, in a few hundred
# microseconds, of which the most is the import of this file. So it imports what every
# interpreter has loaded already, its composed annotations are texts, its docstrings are
# short, and what is not asked of each listing is elsewhere: `toolkit.discovery.index`
# tells who publishes, `toolkit.discovery.scan` reads the folders on ``sys.path``,
# `toolkit.discovery.cache` writes the file.

import os
import sys
from _imp import source_hash

TYPE_CHECKING = False  # type checkers know the name; importing typing takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, Self

TOOLS: "Final" = "toolkit.tools"
AGENTS: "Final" = "toolkit.agents"
PLUGINS: "Final" = "toolkit.plugins"
GROUPS: "Final" = (TOOLS, AGENTS, PLUGINS)
PYDANTIC: "Final" = "pydantic"
"""The group that pydantic loads by itself. Pydantic 2.14 docs, "Plugins"."""
READ: "Final" = (*GROUPS, PYDANTIC)
"""The groups that are read and kept."""

FORMAT: "Final" = "toolkit index 1"
"""First words of a cache file; the number changes whenever its meaning does."""
SWITCH: "Final" = "TOOLKIT_CACHE"
"""The variable of the setting ``cache``; read here, as settings are not light."""
HEADER: "Final" = 128
"""Bytes of a cache file's header: the first words, three lengths, two sums."""
LARGEST: "Final" = 256 << 20
"""Bytes of a cache file that is read; 2,500 tools take about 4 MiB."""

_SUM_KEY: "Final" = 0x746F6F6C6B6974  # any constant will do
_OFF: "Final" = ("0", "false", "no", "off")
_STANDARD: "Final" = ("_frozen_importlib_external", "importlib", "importlib_metadata")
_MANY: "Final" = 700  # the collector runs after so many new objects


class EntryPoint(tuple[str, str, str]):
    """One entry point of a distribution; the reference is not checked yet. Immutable.

    Attributes:
        group: One of the groups that are read.
        name: As its author wrote it.
        reference: ``module:attribute``, likewise.
    """

    __slots__ = ()

    def __new__(cls, group: str, name: str, reference: str) -> "Self":
        """Take the three texts as they are."""
        return tuple.__new__(cls, (group, name, reference))

    group = property(lambda self: self[0])
    name = property(lambda self: self[1])
    reference = property(lambda self: self[2])

    def __getnewargs__(self) -> "tuple[str, str, str]":
        """Let it be copied and pickled."""
        return self[0], self[1], self[2]

    def __repr__(self) -> str:
        """Say it as the file does."""
        return f"<EntryPoint {self[0]}: {self[1]} = {self[2]}>"


# --- asking -------------------------------------------------------------------------


def entry_points(group: str) -> "list[EntryPoint]":
    """Return the entry points of one group that is read, sorted by distribution.

    Nothing is imported, and no list of the operator, lock or filter has been asked.
    Each distribution counts once, the first on the path, as it does for an import.

    Args:
        group: One of `READ`; any other has no entry points here.
    """
    rows = _kept_rows(group)
    if rows is None:
        from toolkit.discovery.index import points_anew  # noqa: PLC0415 - not kept

        return points_anew(group)
    if len(rows) <= 2 * _MANY:
        return _points(group, rows)
    import gc  # noqa: PLC0415 - seldom needed

    # Texts alone make no cycle, yet the collector would look at each more than once.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return _points(group, rows)
    finally:
        if was_on:
            gc.enable()


def load_entry_point(group: str, name: str) -> object:
    """Import what one entry point refers to, and nothing else.

    Runs the plugin's code in this process. No list of the operator, lock or filter has
    been asked: what comes back is an object, not a tool.

    Raises:
        ToolNotFoundError: No distribution, or more than one, publishes that name in
            that group; the error names near ones.
        ValueError: Its reference is no object reference.
        BaseException: Whatever importing it raises.
    """
    rows = _kept_rows(group)
    if rows is None:
        from toolkit.discovery.index import rows_anew  # noqa: PLC0415 - not kept

        rows = rows_anew(group)
    count = len(rows) // 2
    names = rows[:count]
    if names.count(name) == 1:
        return resolve(rows[count + names.index(name)])
    from toolkit.errors import ToolNotFoundError  # noqa: PLC0415 - off the fast path

    raise ToolNotFoundError(name, [one for one in names if name in one])


def resolve(reference: str) -> object:
    """Import what an object reference names: a module, or something in one.

    Raises:
        ValueError: It is no object reference.
        BaseException: Whatever importing it raises.

    Source: PyPA specifications, "Entry points", object reference, with its old extras.
    """
    plain = reference.partition("[")[0] if reference[-1:] == "]" else reference
    module, colon, attribute = map(str.strip, plain.partition(":"))
    parts = attribute.split(".") if colon else []
    if not all(map(str.isidentifier, (*module.split("."), *parts))):
        text = f"{reference!r} is no object reference such as package.module:attribute"
        raise ValueError(text)
    __import__(module)
    found: object = sys.modules[module]
    for part in parts:
        found = getattr(found, part)
    return found


def _kept_rows(group: str) -> "list[str] | None":
    """Return all names of a group, then all references; None where none are kept."""
    if group not in READ:
        return []
    kept = kept_index()
    # One more row says whose they are.
    return None if kept is None else lines_of(section_of(kept, 7 + READ.index(group)))


def _points(group: str, rows: "list[str]") -> "list[EntryPoint]":
    count = len(rows) // 2
    found = zip([group] * count, rows, rows[count:], strict=False)
    return [*map(tuple.__new__, [EntryPoint] * count, found)]


# --- the kept file --------------------------------------------------------------------


def kept_index() -> "bytes | None":
    """Return the index part of this environment's file, if it still holds."""
    if not is_cache_on() or has_foreign_finders():
        return None
    folders = absolute_path(sys.path)
    try:
        kept = read_index(cache_file(folders))
        if kept is None or section_of(kept, 0).split("\n") != folders:
            return None
        return kept if _still_holds(folders, kept) else None
    except (OSError, ValueError, TypeError):  # not there, not ours: read anew
        return None


def is_cache_on() -> bool:
    """Tell whether the environment lets a cache be read and written."""
    return os.environ.get(SWITCH, "").strip().lower() not in _OFF


def absolute_path(path: "Iterable[object]") -> "list[str]":
    """Return the path's entries that are texts, absolute, each once, in order."""
    found: dict[str, None] = {}
    for entry in path:
        if isinstance(entry, str):  # anything else, an import ignores too
            try:
                found[entry if os.path.isabs(entry) else os.path.abspath(entry)] = None
            except FileNotFoundError:  # the working folder is gone: nothing is there
                continue
    return list(found)


def cache_folder() -> str:
    """Return the folder of the cache files; it need not be there.

    Source: XDG Base Directory Specification 0.8; Apple, "File System Programming
    Guide"; Microsoft, "KNOWNFOLDERID", LocalAppData.
    """
    # Not by platformdirs, which is too slow to import here; it names the same folders.
    if sys.platform == "win32":  # pragma: no cover - told by the platform
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return os.path.join(base, "toolkit-core", "Cache")
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        mac = sys.platform == "darwin"
        base = os.path.expanduser("~/Library/Caches" if mac else "~/.cache")
    if not os.path.isabs(base):  # no home: nothing can be kept below this
        base = os.devnull
    return f"{base}/toolkit-core"


def cache_file(folders: "Sequence[str]") -> str:
    """Return the file of the environment that has this path."""
    tag = (
        f"{sys.implementation.cache_tag}.{sys.flags.optimize}"  # -OO has no docstrings
    )
    who = f"{sys.prefix}\n{tag}\n" + "\n".join(folders)
    return f"{cache_folder()}/{sum_of(who.encode('utf-8', 'surrogatepass'))}.index"


def sum_of(data: bytes) -> str:
    """Return a sum of some bytes: SipHash, which every interpreter has built in."""
    # It tells damage from health. It is no signature, and need not be: who can write
    # into the user's cache folder can write into the user's site-packages.
    return source_hash(_SUM_KEY, data).hex()


def first_words() -> str:
    """Return how a cache file of this version and this Python begins."""
    return f"{FORMAT} {sys.implementation.cache_tag}"


def has_foreign_finders() -> bool:
    """Tell whether somebody else's finder on ``sys.meta_path`` knows distributions."""
    for finder in sys.meta_path:
        if hasattr(finder, "find_distributions") and not is_standard_finder(finder):
            return True
    return False


def is_standard_finder(finder: object) -> bool:
    """Tell the path finder of Python, and importlib-metadata's twin of it."""
    kind = finder if isinstance(finder, type) else type(finder)
    return kind.__module__.partition(".")[0] in _STANDARD


def section_of(kept: bytes, number: int) -> str:
    """Return one section of an index; a listing needs half of it, and copies no more.

    Raises:
        ValueError: There is no such section, or it is no text.
    """
    start = 0
    for _ in range(number):
        start = kept.index(b"\x1e", start) + 1
    end = kept.find(b"\x1e", start)
    text = memoryview(kept)[start : len(kept) if end < 0 else end]
    return str(text, "utf-8", "surrogatepass")


def lines_of(section: str) -> "list[str]":
    """Return the lines of a section; an empty one has none."""
    return section.split("\n") if section else []


def numbers_of(section: str) -> "list[int]":
    """Return the numbers of a section: eight bytes each, in hexadecimal digits."""
    # That takes a fifth of the time that decimal digits take.
    return memoryview(bytes.fromhex(section)).cast("q").tolist()


def _still_holds(folders: "Sequence[str]", kept: bytes) -> bool:
    """Compare each folder and metadata file with how it was when it was read."""
    if [*map(stamp_of, folders)] != numbers_of(section_of(kept, 1)):
        return False
    files = lines_of(section_of(kept, 2))
    times, sizes = numbers_of(section_of(kept, 3)), numbers_of(section_of(kept, 4))
    try:
        for now, time, size in zip(map(os.stat, files), times, sizes, strict=True):
            if now.st_mtime_ns != time or now.st_size << 16 | now.st_mode != size:
                return False
    except OSError:  # one was not there then either, or is not now
        from toolkit.discovery.index import state_of  # noqa: PLC0415 - seldom needed

        return [*map(state_of, files)] == [*zip(times, sizes, strict=True)]
    return True


def stamp_of(folder: str) -> int:
    """Return when a folder changed; -1 for one that cannot be looked at."""
    try:
        return os.stat(folder).st_mtime_ns
    except (OSError, ValueError):
        return -1


def read_index(file: str) -> "bytes | None":
    """Return the index part of a cache file; None when it is not well.

    That is of another version, another user's, open to others' writing, cut off, or
    damaged.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It has no header.
    """
    fd = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        about = os.fstat(fd)
        if not is_private(about):
            return None
        words, size, _, total, found, _ = read_header(os.read(fd, HEADER))
        if words != first_words() or about.st_size != total or total > LARGEST:
            return None
        if not 0 <= size <= total - HEADER:
            return None
        kept = os.read(fd, size)  # and no definition
    finally:
        os.close(fd)
    is_well = len(kept) == size and sum_of(kept) == found
    return kept if is_well and kept.count(b"\x1e") == 6 + len(READ) else None


def read_header(data: bytes) -> "tuple[str, int, int, int, str, str]":
    """Read a header: first words, three lengths, two sums.

    Raises:
        ValueError: It is none.
    """
    words, *numbers, first, second = data.decode("ascii").split("\t")
    index_size, definitions_size, total = map(int, numbers)
    return words, index_size, definitions_size, total, first, second.strip()


def is_private(about: os.stat_result) -> bool:
    """Tell whether a file is this user's own, and nobody else may write it."""
    if not hasattr(os, "geteuid"):
        return True
    return about.st_uid == os.geteuid() and not about.st_mode & 0o022
