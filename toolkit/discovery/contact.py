"""Contact a distribution: import what it publishes, and judge it, in this process.

Runs in a child process where that is what the operator wants; see
`toolkit.discovery.probe`.
"""

from collections.abc import Iterator
from dataclasses import replace

from toolkit.discovery.index import Publisher
from toolkit.discovery.judging import judge_candidate
from toolkit.discovery.records import Contacted
from toolkit.discovery.report import Candidate, Judged, Skip
from toolkit.discovery.sources import entry_point_candidates


def contact(publisher: Publisher) -> list[Contacted]:
    """Import and judge all that one distribution publishes.

    One object that it publishes twice has one identity both times.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    return list(_same_identity(_judged(publisher)))


def _judged(publisher: Publisher) -> Iterator[Contacted]:
    for found in entry_point_candidates(publisher):
        if isinstance(found, Candidate) and found.kind != "plugin":
            yield judge_candidate(found)
        elif not isinstance(found, Skip):  # nothing is skipped here: no lists are asked
            yield found


def _same_identity(found: Iterator[Contacted]) -> Iterator[Contacted]:
    first: dict[int, Judged] = {}
    for one in found:
        if isinstance(one, Judged) and one.identity:
            known = first.setdefault(id(one.candidate.obj), one)
            yield replace(one, identity=known.identity)
        else:
            yield one
