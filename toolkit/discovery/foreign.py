"""Distributions that are not in plain folders: zip files, finders of others.

They are left to importlib-metadata, which asks whoever serves them. It takes long to
import, so this module is loaded only where there is such a thing.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import importlib_metadata

from toolkit.discovery.index import Publisher, is_standard_finder
from toolkit.discovery.scan import canonical, parse
from toolkit.errors import describe_error

_everything: Any = importlib_metadata.DistributionFinder.Context
"""Makes the question that asks a finder for all it has."""

Distributions = Iterable[importlib_metadata.Distribution]


def from_file(place: str) -> Iterator[Publisher]:
    """Yield the publishers in one entry of the path that is no folder."""

    def ask() -> Distributions:
        return cast("Distributions", importlib_metadata.distributions(path=[place]))

    yield from _read_all(ask, place)


def from_finders() -> Iterator[Publisher]:
    """Yield what foreign finders on ``sys.meta_path`` know; one may well raise."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        if find is None or is_standard_finder(finder):
            continue
        kind = finder if isinstance(finder, type) else type(finder)

        def ask(find: Callable[..., Distributions] = find) -> Distributions:
            return find(_everything())

        yield from _read_all(ask, f"{kind.__module__}.{kind.__qualname__}")


def _read_all(ask: Callable[[], Distributions], who: str) -> Iterator[Publisher]:
    try:
        found = list(ask())
    except Exception as error:  # noqa: BLE001 - a finder is somebody else's code
        fault = f"{who} cannot list its distributions: {describe_error(error)}"
        yield Publisher(canonical(who.rpartition("/")[2]), fault=fault)
        return
    for one in found:
        yield _read(one, who)


def _read(distribution: importlib_metadata.Distribution, who: str) -> Publisher:
    """Read one distribution; its fault counts only where it may publish to us."""
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except Exception as error:  # noqa: BLE001 - as above
        fault = f"broken entry_points.txt: {describe_error(error)}"
        return Publisher(_name(distribution, who), fault=fault)
    points, fault = parse(text.encode("utf-8", "surrogatepass"))
    try:
        name = canonical(distribution.metadata["Name"])
        version = distribution.version
    except Exception as error:  # noqa: BLE001 - as above
        fault = f"broken metadata: {describe_error(error)}" if points or fault else ""
        return Publisher(_name(distribution, who), "", (), fault)
    return Publisher(name, version, sorted(points), fault)


def _name(distribution: importlib_metadata.Distribution, who: str) -> str:
    folder = getattr(distribution, "_path", None)
    stem = str(getattr(folder, "name", "") or who).rpartition("/")[2].partition("-")[0]
    return canonical(stem.removesuffix(".dist").removesuffix(".egg"))
