"""What is installed but not published to us: usual reasons why a tool is missing."""

import importlib.util
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, PathFinder
from typing import Final, cast

import importlib_metadata
from packaging.utils import canonicalize_name

from toolkit.discovery.index import GROUPS, TOOLS
from toolkit.origin import Origin

_FOREIGN: Final = frozenset({"console_scripts", "gui_scripts", "pytest11"})
"""Groups that are surely meant for somebody else."""


@dataclass(frozen=True, slots=True, order=True)
class Elsewhere:
    """An entry point in a group that is not ours. Immutable."""

    distribution: str
    version: str
    group: str
    name: str
    reference: str

    @property
    def meant(self) -> str:
        """Our group that this one looks like; empty when it looks like none."""
        return meant_group(self.group)

    @property
    def publisher(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()

    def __str__(self) -> str:
        """Say what is published where."""
        return (
            f"{self.publisher} publishes {self.name} = {self.reference} in the group "
            f"{self.group!r}, which nobody reads."
        )


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed distribution. Immutable."""

    name: str
    version: str
    elsewhere: tuple[Elsewhere, ...]


def meant_group(group: str) -> str:
    """Return the group of ours that a misspelt one means; empty when none.

    >>> meant_group("toolkit_tools"), meant_group("console_scripts")
    ('toolkit.tools', '')
    """
    if group in GROUPS or group in _FOREIGN:
        return ""
    plain = {_letters(ours): ours for ours in GROUPS}
    near = get_close_matches(_letters(group), plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else ""


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.casefold())


def all_installed() -> dict[str, Installed]:
    """Return every installed distribution by normalised name, the first on the path."""
    found: dict[str, Installed] = {}
    for distribution in importlib_metadata.distributions():
        one = _read(cast("importlib_metadata.Distribution", distribution))
        if one is not None:
            found.setdefault(one.name, one)
    return found


def _read(distribution: importlib_metadata.Distribution) -> Installed | None:
    """Read one distribution; None when its metadata is broken (discovery says so)."""
    try:
        name = canonicalize_name(distribution.metadata["Name"])
        version = distribution.version
        points = tuple(
            Elsewhere(name, version, one.group, one.name, one.value)
            for one in distribution.entry_points
            if one.group not in GROUPS
        )
    except Exception:  # noqa: BLE001 - anything can be in a folder of metadata
        return None
    return Installed(name, version, points)


def unread(installed: dict[str, Installed]) -> tuple[Elsewhere, ...]:
    """Return every entry point in a group that looks like one of ours, sorted."""
    found = [one for each in installed.values() for one in each.elsewhere if one.meant]
    return tuple(sorted(found))


def misspelt(installed: dict[str, Installed], query: str) -> Iterator[Elsewhere]:
    """Yield entry points in misspelt groups that the query may mean."""
    wanted = query.casefold()
    for point in unread(installed):
        module, _, attribute = point.reference.partition(":")
        names = {point.name, point.reference, module, attribute}
        is_meant = wanted in {name.casefold() for name in names}
        if is_meant or canonicalize_name(query) == point.distribution:
            yield point


def providers_of(module: str) -> tuple[str, ...]:
    """Return the distributions that bring a top-level module; none, when unknown."""
    top = module.partition(":")[0].partition(".")[0]
    try:
        known = importlib_metadata.packages_distributions()
    except Exception:  # noqa: BLE001 - one broken record must not spoil the answer
        return ()
    return tuple(sorted({canonicalize_name(name) for name in known.get(top, ())}))


def is_importable(module: str) -> bool:
    """Tell whether a top-level module of that name is on the path; runs none of it."""
    return _top(module.partition(":")[0].partition(".")[0]) is not None


def _top(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def advice(point: Elsewhere) -> str:
    """Say how to publish an entry point of a misspelt group."""
    return (
        f"Rename that group to {point.meant or TOOLS} in its pyproject.toml "
        f'([project.entry-points."{point.meant or TOOLS}"]) and install it again.'
    )


def repair(origin: Origin) -> str:
    """Say how to mend what could not be loaded: a slip in its reference, or itself."""
    near = near_reference(origin.reference)
    if near and origin.entry_point:
        line = f'{origin.entry_point} = "{near}"'
        return f"Write {line} in its pyproject.toml and install it again."
    if near:
        return f"Name {near} in the settings instead."
    name = origin.distribution
    refuse = f', or leave it out: deny = ["{name}"]' if name else ""
    return f"Repair that package{refuse}."


def near_reference(reference: str) -> str:
    """Return a reference whose module does exist, for one with a slip; else empty.

    Looks only at names of files: no code runs, as importing a parent would.
    """
    module, colon, attribute = reference.partition(":")
    parts = module.split(".")
    path: Sequence[str] | None = None
    for index, part in enumerate(parts):
        here = ".".join(parts[: index + 1])
        spec = PathFinder.find_spec(here, path) if index else _top(part)
        if spec is None:
            known = {one.name for one in pkgutil.iter_modules(path)}
            near = get_close_matches(part, sorted(known), n=1, cutoff=0.75)
            found = ".".join([*parts[:index], *near, *parts[index + 1 :]])
            return f"{found}{colon}{attribute}" if near else ""
        path = [*(spec.submodule_search_locations or ())]
    return ""
