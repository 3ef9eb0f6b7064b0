"""Which installed distributions publish entry points in our groups.

Asked of the file that is kept of each environment, or read anew; see the package, which
has the quick way to a list of entry points, and whose names can be imported from here
too. Like it, this module imports nothing that takes long.

Source: PyPA specifications, "Entry points", "Recording installed projects" and "Name
normalization" (2026-11).
"""

import os
import sys

from toolkit.discovery import (
    AGENTS,
    FORMAT,
    GROUPS,
    HEADER,
    PLUGINS,
    PYDANTIC,
    READ,
    SWITCH,
    TOOLS,
    EntryPoint,
    absolute_path,
    cache_file,
    cache_folder,
    entry_points,
    first_words,
    has_foreign_finders,
    is_cache_on,
    is_private,
    is_standard_finder,
    kept_index,
    lines_of,
    load_entry_point,
    numbers_of,
    read_header,
    read_index,
    resolve,
    sum_of,
)

TYPE_CHECKING = False  # type checkers know the name; importing typing takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from toolkit.origin import Origin

__all__ = [
    "AGENTS",
    "FORMAT",
    "GROUPS",
    "HEADER",
    "PLUGINS",
    "PYDANTIC",
    "READ",
    "SWITCH",
    "TOOLS",
    "EntryPoint",
    "Index",
    "Publisher",
    "absolute_path",
    "cache_file",
    "cache_folder",
    "entry_points",
    "first_words",
    "has_foreign_finders",
    "index",
    "is_cache_on",
    "is_private",
    "is_standard_finder",
    "load_entry_point",
    "look",
    "points_anew",
    "publishers",
    "pydantic_plugins",
    "read_header",
    "read_sections",
    "resolve",
    "rows_anew",
    "state_of",
    "sum_of",
]


class Publisher:
    """One distribution that publishes in our groups, or whose metadata is broken.

    Immutable by convention; lives as long as whoever asked keeps it.

    Attributes:
        name: Normalised as the packaging specs do.
        version: As its metadata folder is called, empty when that does not say.
        entry_points: Those in the groups that are read, sorted.
        fault: Why some or all of its entry points cannot be read; empty when they can.
        folder: Its metadata folder; empty when it is not in a plain folder.
    """

    __slots__ = ("entry_points", "fault", "folder", "name", "version")

    def __init__(
        self,
        name: str,
        version: str = "",
        entry_points: "Iterable[EntryPoint]" = (),
        fault: str = "",
        folder: str = "",
    ) -> None:
        """Keep what its metadata says."""
        self.name = name
        self.version = version
        self.entry_points = tuple(entry_points)
        self.fault = fault
        self.folder = folder

    def origin(self, point: EntryPoint | None = None) -> "Origin":
        """Return the origin of this distribution, or of one of its entry points."""
        from toolkit.origin import Origin  # noqa: PLC0415 - keeps the listing light

        return Origin(self.name, self.version, *(point or ()))

    def key(self) -> tuple[object, ...]:
        """Return all that is known, to sort by: name first."""
        return self.name, self.version, self.entry_points, self.fault, self.folder

    def __eq__(self, other: object) -> bool:
        """Compare all that is known."""
        return isinstance(other, Publisher) and self.key() == other.key()

    def __lt__(self, other: "Publisher") -> bool:
        """Sort by name, then by the rest."""
        return self.key() < other.key()

    def __hash__(self) -> int:
        """Hash all that is known."""
        return hash(self.key())

    def __repr__(self) -> str:
        """Name it."""
        return f"<Publisher {self.name} {self.version}>"


class Index:
    """What one look at the path found. Immutable by convention.

    Attributes:
        folders: The path as it was looked at, absolute, each entry once.
        publishers: Every distribution with entry points in a group that is read, or
            with a fault, sorted by name.
        shadowed: Publishers that an earlier folder on the path hides, each with the
            metadata folder that hides it.
        stamps: The modification times of the folders, in nanoseconds; -1 for one that
            cannot be looked at.
        files: Every metadata file that may change what is published, with its
            modification time and its size and mode in one number.
        is_lasting: Whether nothing but those can change the answer.
    """

    __slots__ = ("files", "folders", "is_lasting", "publishers", "shadowed", "stamps")

    def __init__(
        self,
        folders: "Sequence[str]",
        stamps: "Sequence[int]",
        files: "Sequence[tuple[str, int, int]]",
        publishers: "Sequence[Publisher]",
        shadowed: "Sequence[tuple[Publisher, str]]" = (),
        *,
        is_lasting: bool = True,
    ) -> None:
        """Keep what was found."""
        self.folders = folders
        self.stamps = stamps
        self.files = files
        self.publishers = publishers
        self.shadowed = shadowed
        self.is_lasting = is_lasting

    def ours(self) -> list[Publisher]:
        """Return the publishers in our groups, and those with a fault, by name."""
        return [
            one
            for one in self.publishers
            if one.fault or any(point[0] in GROUPS for point in one.entry_points)
        ]


# --- asking -------------------------------------------------------------------------


def publishers(path: "Sequence[str] | None" = None) -> list[Publisher]:
    """Return the publishers on the path, sorted by name: the order says nothing.

    Each distribution is read on its own: one whose metadata is broken is named, and
    the others are still found. Where one name is installed twice, the first on the
    path counts, as it does for an import.

    Args:
        path: Folders to look in, instead of ``sys.path``; what they hold is not kept.
    """
    if path is None:
        found = index()
    else:
        from toolkit.discovery.scan import scan  # noqa: PLC0415 - not on the warm path

        found = scan(path)
    return found.ours()


def pydantic_plugins(
    found: "Index", is_refused: "Callable[[str], bool]"
) -> frozenset[str] | None:
    """Return pydantic's own entry points, by name, of the refused distributions.

    Args:
        found: What is on the path.
        is_refused: Tells it of a normalised name.

    Returns:
        The names; None when no distribution at all publishes in pydantic's group.
    """
    points = [
        (publisher.name, point[1])
        for publisher in found.publishers
        for point in publisher.entry_points
        if point[0] == PYDANTIC
    ]
    if not points:
        return None
    return frozenset(name for owner, name in points if is_refused(owner))


def index(*, use_cache: bool = True) -> Index:
    """Return what the whole path holds: as kept, if that still holds, else read anew.

    Args:
        use_cache: Whether to read and write the file of this environment. The variable
            ``TOOLKIT_CACHE=off`` switches it off as well.
    """
    kept = kept_index() if use_cache else None
    return look(use_cache=use_cache) if kept is None else _unpack(_sections(kept))


def look(*, use_cache: bool = True) -> Index:
    """Return what the whole path holds, read anew, whatever is kept.

    Args:
        use_cache: Whether to write the file of this environment, as in `index`.
    """
    from toolkit.discovery.scan import scan  # noqa: PLC0415 - not on the warm path

    found = scan(sys.path)
    if use_cache and is_cache_on():
        from toolkit.discovery.cache import keep  # noqa: PLC0415 - as above

        keep(found)
    return found


def points_anew(group: str) -> list[EntryPoint]:
    """Return the entry points of one group, read anew, sorted by distribution."""
    return [
        point
        for publisher in look().publishers
        for point in publisher.entry_points
        if point[0] == group
    ]


def rows_anew(group: str) -> list[str]:
    """Return all names of a group, then all references, read anew."""
    points = points_anew(group)
    return [*(point[1] for point in points), *(point[2] for point in points)]


def read_sections(file: str) -> list[str] | None:
    """Return all sections of a cache file's index; None when it is not well.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is no text.
    """
    kept = read_index(file)
    sections = [] if kept is None else _sections(kept)
    return sections if len(sections) == 7 + len(READ) else None


def _sections(kept: bytes) -> list[str]:
    return kept.decode("utf-8", "surrogatepass").split("\x1e")


def state_of(file: str) -> tuple[int, int]:
    """Return a file's time, and its size and mode; -1 where they cannot be told."""
    try:
        now = os.stat(file)
    except (OSError, ValueError):
        return -1, -1
    return now.st_mtime_ns, now.st_size << 16 | now.st_mode


def _unpack(sections: "Sequence[str]") -> Index:
    """Turn the sections of a file into what they were made of."""
    files = zip(
        lines_of(sections[2]),
        numbers_of(sections[3]),
        numbers_of(sections[4]),
        strict=True,
    )
    points: dict[int, list[EntryPoint]] = {}
    for group, section in zip(READ, sections[7:], strict=True):
        for name, reference, owner in _points(section):
            point = EntryPoint(group, name, reference)
            points.setdefault(owner, []).append(point)
    found = [
        Publisher(name, version, sorted(points.get(number, ())), fault, folder)
        for number, (name, version, fault, folder) in enumerate(_rows(sections[5], 4))
    ]
    hidden = [
        (Publisher(name, version, (), fault, folder), by)
        for name, version, fault, folder, by in _rows(sections[6], 5)
    ]
    return Index(
        sections[0].split("\n"), numbers_of(sections[1]), [*files], found, hidden
    )


def _points(section: str) -> "Iterable[tuple[str, str, int]]":
    """Return each name, its reference, and the number of its publisher."""
    *columns, owners = lines_of(section) or [""]
    count = len(columns) // 2
    numbers = map(int, owners.split())
    return zip(columns[:count], columns[count:], numbers, strict=True)


def _rows(section: str, width: int) -> "Iterable[tuple[str, ...]]":
    return zip(*[iter(lines_of(section))] * width, strict=True)
