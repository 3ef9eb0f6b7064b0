"""Which installed distributions publish entry points in our groups."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import importlib_metadata
from packaging.utils import canonicalize_name

from toolkit.errors import describe_error
from toolkit.origin import Origin

TOOLS: Final = "toolkit.tools"
AGENTS: Final = "toolkit.agents"
PLUGINS: Final = "toolkit.plugins"
GROUPS: Final = (TOOLS, AGENTS, PLUGINS)
PYDANTIC: Final = "pydantic"
"""The group that pydantic loads by itself. Pydantic 2.14 docs, "Plugins"."""


@dataclass(frozen=True, slots=True, order=True)
class EntryPoint:
    """One entry point of a distribution; the reference is not checked yet."""

    group: str
    name: str
    reference: str


@dataclass(frozen=True, slots=True, order=True)
class Publisher:
    """One distribution that publishes in our groups, or whose metadata is broken.

    Attributes:
        name: Normalised as the packaging specs do.
        version: As its metadata says, empty when it does not.
        entry_points: Those in our groups, sorted.
        fault: Why some or all of its entry points cannot be read; empty when they can.
    """

    name: str
    version: str = ""
    entry_points: tuple[EntryPoint, ...] = ()
    fault: str = ""

    def origin(self, point: EntryPoint | None = None) -> Origin:
        """Return the origin of this distribution, or of one of its entry points."""
        if point is None:
            return Origin(self.name, self.version)
        return Origin(self.name, self.version, point.group, point.name, point.reference)


def publishers(path: Sequence[str] | None = None) -> list[Publisher]:
    """Return the publishers on the path, sorted by name: the order says nothing.

    Each distribution is read on its own: one whose metadata is broken is named, and
    the others are still found. Where one name is installed twice, the first on the
    path counts, as it does for an import.

    Args:
        path: Folders to look in, instead of ``sys.path``.

    Source: PyPA specifications, "Entry points" and "Name normalization" (2026-11).
    """
    found: dict[str, Publisher] = {}
    for distribution in _distributions(sys.path if path is None else path):
        publisher = _read(distribution)
        if publisher is not None:
            found.setdefault(publisher.name, publisher)
    shown = [one for one in found.values() if one.entry_points or one.fault]
    return sorted(shown)


def pydantic_plugins(is_refused: Callable[[str], bool]) -> frozenset[str]:
    """Return pydantic's own entry points, by name, of the refused distributions.

    Args:
        is_refused: Tells it of a normalised name.
    """
    found: set[str] = set()
    for distribution in _distributions(sys.path):
        try:
            name = canonicalize_name(distribution.metadata["Name"])
            points = [one for one in distribution.entry_points if one.group == PYDANTIC]
        except Exception:  # noqa: BLE001, S112 - broken metadata: pydantic loads it not
            continue
        if points and is_refused(name):
            found.update(one.name for one in points)
    return frozenset(found)


def _distributions(path: Sequence[str]) -> Iterator[importlib_metadata.Distribution]:
    for folder in dict.fromkeys(path):  # a folder that is on the path twice counts once
        for found in importlib_metadata.distributions(path=[folder]):
            yield cast("importlib_metadata.Distribution", found)


def _read(distribution: importlib_metadata.Distribution) -> Publisher | None:
    """Read one distribution; None when it has no usable name at all."""
    fallback = _folder_name(distribution)
    try:
        name = canonicalize_name(distribution.metadata["Name"] or fallback)
        version = distribution.version or ""
    except Exception as error:  # noqa: BLE001 - anything can be in a folder of metadata
        if not _publishes(distribution):
            return None
        return Publisher(fallback, fault=f"broken metadata: {describe_error(error)}")
    try:
        points = sorted(
            EntryPoint(one.group, one.name, one.value)
            for one in distribution.entry_points
            if one.group in GROUPS
        )
    except Exception as error:  # noqa: BLE001 - as above
        fault = f"broken entry_points.txt: {describe_error(error)}"
        return Publisher(name, version, fault=fault)
    return Publisher(name, version, tuple(points), _lost(distribution, points))


def _lost(
    distribution: importlib_metadata.Distribution, points: Sequence[EntryPoint]
) -> str:
    """Say which of our groups is written down, but gives nothing (a typo, a BOM)."""
    text = distribution.read_text("entry_points.txt") or ""
    found = {point.group for point in points}
    lost = [group for group in GROUPS if f"[{group}" in text and group not in found]
    if not lost:
        return ""
    why = f"no entry point can be read in its group {', '.join(lost)}"
    return f"broken entry_points.txt: {why}"


def _folder_name(distribution: importlib_metadata.Distribution) -> str:
    """Return what the metadata folder is called, where the metadata does not say."""
    folder = getattr(distribution, "_path", None)
    stem = getattr(folder, "name", "unknown").partition("-")[0]
    return canonicalize_name(stem.removesuffix(".dist").removesuffix(".egg"))


def _publishes(distribution: importlib_metadata.Distribution) -> bool:
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except Exception:  # noqa: BLE001 - unreadable: it may publish
        return True
    return any(group in text for group in GROUPS)
