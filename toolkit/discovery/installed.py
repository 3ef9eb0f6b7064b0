"""What installed distributions publish: from what is known, else by first contact.

For each distribution the first of these that applies: the operator's lists and lock
refuse it; its record in the cache still holds; it brings a manifest that fits its
files; it is contacted, in a child process or in this one, and its record is kept.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from toolkit.discovery.index import Publisher
from toolkit.discovery.loading import Loader
from toolkit.discovery.manifest import record_of_manifest
from toolkit.discovery.memory import Memory
from toolkit.discovery.records import (
    imported_of,
    is_keepable,
    is_older,
    pack,
    stamps_of,
    unpack,
)
from toolkit.discovery.report import Cause, Failure, Skip
from toolkit.discovery.sources import Found, hook_candidates, refusal_of
from toolkit.guards import pydantic_ready
from toolkit.settings import Settings


class InstalledSource:
    """What the publishers of an environment publish, the operator's walls first."""

    def __init__(
        self,
        publishers: Sequence[Publisher],
        settings: Settings,
        *,
        memory: Memory,
        loader: Loader,
    ) -> None:
        """Take over the parts; nothing is imported yet."""
        self._publishers = publishers
        self._settings = settings
        self._memory = memory
        self._loader = loader

    def candidates(self) -> Iterator[Found]:
        """Yield what each publisher brings; what is known costs no import."""
        unknown: list[tuple[Publisher, list[Failure]]] = []
        for publisher in self._publishers:
            wall = self._wall(publisher)
            if wall is not None:
                yield wall
                continue
            record, faults = self._record(publisher)
            found = None if record is None else self._restored(publisher, record)
            if found is None:
                unknown.append((publisher, faults))
            else:
                yield from found
        yield from self._contacted(unknown)
        self._memory.write()

    def _wall(self, publisher: Publisher) -> Skip | Failure | None:
        refusal = refusal_of(publisher.name, self._settings)
        if refusal:
            return Skip(publisher.origin(), refusal)
        refusal = self._loader.refusal(publisher)
        if refusal:
            return Failure(publisher.origin(), refusal, cause=Cause.NOT_TRUSTED)
        return None

    def _record(
        self, publisher: Publisher
    ) -> tuple[Mapping[str, Any] | None, list[Failure]]:
        """Return what is known of a publisher, and what is wrong with its manifest."""
        if publisher.fault:
            return None, []
        record = self._memory.find(publisher)
        if record is not None:
            return record, []
        return record_of_manifest(publisher)

    def _restored(
        self, publisher: Publisher, record: Mapping[str, Any]
    ) -> list[Found] | None:
        """Return what a record holds; None when it is damaged."""
        try:
            make_load = self._loader.for_publisher(publisher, record["stamps"])
            found: list[Found] = [*unpack(record, publisher, make_load)]
            hooks = [
                one["entry_point"] for one in record["found"] if one["is"] == "hooks"
            ]
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        if hooks:  # discovery runs them, so they are loaded at once
            with pydantic_ready(self._loader.left_out):
                found += hook_candidates(publisher, hooks)
            self._loader.imported.note(publisher)
        return found

    def _contacted(
        self, unknown: Sequence[tuple[Publisher, list[Failure]]]
    ) -> Iterator[Found]:
        faults = {publisher.name: problems for publisher, problems in unknown}
        publishers = [publisher for publisher, _ in unknown]
        if self._settings.first_contact == "child" and publishers:
            from toolkit.discovery.probe import probe  # noqa: PLC0415 - seldom needed

            left_out = self._loader.left_out
            for publisher, record in probe(publishers, self._settings, left_out):
                found = self._restored(publisher, record)
                if found is None:
                    found = [_nonsense(publisher)]
                problems, is_lasting = faults[publisher.name], record.get("is_lasting")
                if is_lasting and not problems and is_keepable(found):
                    self._memory.keep(publisher, record)
                yield from (*problems, *found)
            return
        for publisher in publishers:
            yield from self._contact_here(publisher, faults[publisher.name])

    def _contact_here(
        self, publisher: Publisher, faults: Iterable[Failure]
    ) -> Iterable[Found]:
        from toolkit.discovery.contact import contact  # noqa: PLC0415 - needs pydantic

        is_first = not imported_of(publisher)  # else it may be older than its files
        began = time.time_ns()
        with pydantic_ready(self._loader.left_out):
            found = [*faults, *contact(publisher)]
        self._loader.imported.note(publisher)
        if is_first and is_keepable(found):
            record = pack(publisher, found, stamps_of(publisher))
            if is_older(record["stamps"], began):
                self._memory.keep(publisher, record)
        return found


def _nonsense(publisher: Publisher) -> Failure:
    detail = "its child process gave an answer that makes no sense"
    return Failure(publisher.origin(), detail, cause=Cause.ENDED_PROCESS)
