"""Import a tool that is known from before, at its first call, and check it."""

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

from toolkit.contract import Subject
from toolkit.deferred import Drift, Drifts
from toolkit.discovery.index import Publisher, resolve
from toolkit.discovery.records import (
    Place,
    Stamps,
    are_as_they_were,
    pack_definition,
    stamps_of,
)
from toolkit.discovery.report import CONTRACTS, Kind
from toolkit.discovery.sources import MAX_ITEMS, items_of, load
from toolkit.errors import InvalidToolError, ToolUnavailableError, kind_of_error
from toolkit.guards import pydantic_ready
from toolkit.origin import Origin

if TYPE_CHECKING:
    from toolkit.compiler import CompiledTool

logger = logging.getLogger(__name__)


class Imported:
    """The distributions whose code is imported, as it was then. Safe between threads.

    Lives as long as what refreshes its catalog.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._files: dict[str, Stamps] = {}

    def note(self, publisher: Publisher) -> None:
        """Take note of a distribution that was just imported."""
        stamps = stamps_of(publisher)
        with self._lock:
            noted = self._files.setdefault(publisher.name, [])
            known = {place for place, *_ in noted}
            noted += [one for one in stamps if one[0] not in known]  # others stay old

    def drop_changed(self) -> tuple[str, ...]:
        """Forget the modules of distributions whose files are not as they were.

        The next import reads what is there now. Whoever holds objects of the old
        modules keeps them, and they keep working.

        Returns:
            The distributions' names, sorted.
        """
        with self._lock:
            changed = {
                name: stamps
                for name, stamps in self._files.items()
                if not are_as_they_were(stamps)
            }
            for name in changed:
                del self._files[name]
        files = {place for stamps in changed.values() for place, *_ in stamps}
        for name, module in sys.modules.copy().items():
            is_module = issubclass(type(module), ModuleType)
            if is_module and vars(module).get("__file__") in files:
                sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return tuple(sorted(changed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Makes the functions that load the tools of one discovery. Immutable.

    Attributes:
        refusal: Says why a distribution may not be imported now, asked each time
            before something of it is; empty when it may.
        left_out: Plugins of pydantic that must not be loaded, see `pydantic_ready`.
        drifts: Told of tools that are not what they were listed as.
        forget: Told of a distribution whose record is not right.
        imported: Told of each distribution that is imported.
        objection: Asked about a distribution whose files are not as they were when it
            was judged; says why its code must not be imported now, or is empty.
    """

    refusal: Callable[[Publisher], str]
    left_out: frozenset[str] | None
    drifts: Drifts
    forget: Callable[[str], None]
    imported: Imported = field(default_factory=Imported)
    objection: Callable[[Publisher], str] = lambda _: ""

    def for_publisher(
        self, publisher: Publisher, stamps: Stamps
    ) -> "Callable[[Place, Mapping[str, Any]], Callable[[], CompiledTool]]":
        """Return what `records.unpack` takes: for each place, how to load its tool.

        Args:
            publisher: Whose tools they are.
            stamps: Its files as they were when it was judged.
        """

        def make(
            place: Place, facts: Mapping[str, Any]
        ) -> "Callable[[], CompiledTool]":
            return _Loading(self, publisher, stamps, place, facts)

        return make

    def load(
        self,
        publisher: Publisher,
        stamps: Stamps,
        place: Place,
        facts: Mapping[str, Any],
    ) -> "CompiledTool":
        """Import, judge and compile one tool, and compare it with what is known.

        Raises:
            ToolUnavailableError: It cannot be imported, is no tool any more, or its
                distribution is no longer trusted.
        """
        kind: Kind = facts["kind"]
        known = facts["definition"] or {}
        name = known.get("name") or place.attribute or place.point.name
        origin = publisher.origin(place.point).at(facts["reference"])
        detail = self.wall(publisher, stamps)
        if detail:
            raise ToolUnavailableError(name, origin, detail)
        with pydantic_ready(self.left_out):
            got = load(partial(_found_and_compiled, place, kind, origin, name), origin)
        if got.error is not None or got.value is None:
            self.forget(publisher.name)
            logger.error("%s cannot be loaded", origin, exc_info=got.error)
            detail = _why(got.error)
            raise ToolUnavailableError(name, origin, detail) from got.error
        self.imported.note(publisher)
        changed = _differences(known, pack_definition(got.value.definition))
        if known and got.value.name != name:
            self.forget(publisher.name)
            detail = f"the tool that stands there now is called {got.value.name}"
            raise ToolUnavailableError(name, origin, detail)
        if known and changed:
            self.forget(publisher.name)
            self.drifts.add(Drift(name, origin, changed))
        return got.value

    def wall(self, publisher: Publisher, stamps: Stamps) -> str:
        """Say why nothing of a distribution may be imported now; empty when it may."""
        detail = "its distribution is not trusted any more"
        refusal = self.refusal(publisher)
        if not refusal and not are_as_they_were(stamps):
            detail = "its package has changed, and does not load any more"
            refusal = self.objection(publisher)
        if refusal:
            logger.error("%s is not imported: %s", publisher.origin(), refusal)
        return detail if refusal else ""


@dataclass(frozen=True, slots=True)
class _Loading:
    """Loads one tool when it is called. Immutable."""

    loader: Loader
    publisher: Publisher
    stamps: Stamps
    place: Place
    facts: Mapping[str, Any]

    def __call__(self) -> "CompiledTool":
        """Import, judge and compile it.

        Raises:
            ToolUnavailableError: As for `Loader.load`.
        """
        return self.loader.load(self.publisher, self.stamps, self.place, self.facts)

    def objection(self) -> str:
        """Say why its distribution may not be imported now; empty when it may."""
        return self.loader.wall(self.publisher, self.stamps)


def _why(error: BaseException | None) -> str:
    if isinstance(error, InvalidToolError):
        return f"it is no tool any more [{error.reason}]"
    kind = "nothing" if error is None else kind_of_error(error)
    return f"importing it raised {kind}"


def _differences(known: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(key for key in now if known.get(key) != now[key]))


def _found_and_compiled(
    place: Place, kind: Kind, origin: Origin, name: str
) -> "CompiledTool":
    from toolkit.compiler import compile_tool  # noqa: PLC0415 - it needs pydantic

    found = find_object(place, name)
    return compile_tool(found, contract=CONTRACTS[kind], origin=origin)


def find_object(place: Place, name: str) -> object:
    """Return the object that stands at a place; imports what it needs for that.

    Args:
        place: Where it was.
        name: What it is called, for collections that have no order.

    Raises:
        LookupError: There is nothing any more.
        BaseException: Whatever importing it raises.
    """
    if place.module:
        module = importlib.import_module(place.module)
        return vars(module)[place.attribute]
    found = resolve(place.point.reference)
    if place.position < 0:
        return found
    items = items_of(found, "execute")
    listed = [] if items is None else list(islice(items, MAX_ITEMS))
    same = [one for one in listed if Subject(one, "execute").read("name") == name]
    at_place = listed[place.position]
    return at_place if at_place in same or not same else same[0]
