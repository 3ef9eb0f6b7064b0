"""Which findings a person means by a name."""

from packaging.utils import canonicalize_name

from toolkit.discovery.index import publishers
from toolkit.discovery.report import DiscoveryReport, Finding, Outcome


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


def known_names(report: DiscoveryReport) -> list[str]:
    """Return every name in a report that a person may have meant."""
    names = {key for one in report.findings for key in keys_of(one)}
    names |= {one.origin.entry_point for one in report.findings}
    names |= {one.origin.distribution for one in report.findings}
    return sorted(name for name in names if name)
