"""Which findings a person means by a name."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from packaging.utils import canonicalize_name

from toolkit.discovery.index import publishers
from toolkit.discovery.report import DiscoveryReport, Finding, Outcome

_CLOSE: Final = 0.75
"""One letter wrong in four; with less, `numpy` would mean `enum`."""

_LONGEST: Final = 200
"""Nobody mistypes a longer name, and comparing one takes long."""


def keys_of(one: Finding) -> set[str]:
    """Return what a person may call a finding, without case."""
    reference, bare = one.origin.reference, one.qualified_name.rpartition(".")[2]
    keys = {one.name, one.qualified_name, bare, reference}
    keys.add(reference.partition(":")[2])
    if one.outcome is Outcome.FAILED:
        keys.add(one.origin.entry_point)
    return {key.casefold() for key in keys if key}


def group_of(report: DiscoveryReport, query: str) -> list[Finding]:
    """Return what a distribution, an entry point or a module of that name brought."""
    skipped = {
        publisher.name
        for publisher in (publishers() if report.skipped else ())
        for point in publisher.entry_points
        if query in (point.name, point.reference, point.reference.partition(":")[0])
    }
    return [
        one
        for one in report.findings
        if _belongs(one, query)
        or (one.outcome is Outcome.SKIPPED and one.origin.distribution in skipped)
    ]


def _belongs(one: Finding, query: str) -> bool:
    module = one.origin.reference.partition(":")[0]
    owner = one.origin.distribution
    return (
        query == one.origin.entry_point
        or f"{module}.".startswith(f"{query}.")
        or (bool(owner) and canonicalize_name(query) == owner)
    )


def known_names(report: DiscoveryReport) -> list[set[str]]:
    """Return what a person may have meant, as it is spelt; the likeliest first."""
    accepted = [(one.name, one.qualified_name) for one in report.accepted]
    claimed = [(one.name, *one.qualified_names) for one in report.collisions]
    publishers = [
        (one.origin.entry_point, one.origin.distribution) for one in report.findings
    ]
    others = [
        (one.name, one.origin.reference, *one.origin.reference.split(":"))
        for one in report.findings
        if not one.is_noise
    ]
    tiers = ([*accepted, *claimed], publishers, others)
    return [{name for names in tier for name in names if name} for tier in tiers]


def nearest(query: str, known: Iterable[Iterable[str]]) -> list[str]:
    """Return up to three names of the first group that has any close to the query."""
    for names in known:
        spelt = {name.casefold(): name for name in sorted(names)}
        near = get_close_matches(query.casefold(), spelt, cutoff=_CLOSE)
        if near and len(query) <= _LONGEST:
            return [spelt[one] for one in near]
    return []
