"""Where candidates come from: entry points, modules and packages, objects handed in.

A source never raises for what it finds: whatever cannot be loaded is a `Failure`.
"""

import importlib
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import FunctionType, MappingProxyType, ModuleType
from typing import Final, Generic, Protocol, TypeVar, cast

from toolkit.contract import MISSING, Subject, judge_pydantic_model, origin_of
from toolkit.discovery.index import PLUGINS, Publisher, resolve
from toolkit.discovery.metadata import metadata_fault
from toolkit.discovery.report import (
    KIND_OF,
    METHOD_OF,
    Candidate,
    Cause,
    Failure,
    Judged,
    Kind,
    Skip,
)
from toolkit.discovery.scan import canonical
from toolkit.discovery.walk import submodules, their_traceback
from toolkit.errors import describe_error
from toolkit.guards import is_interrupt, steady_imports
from toolkit.origin import Origin
from toolkit.settings import Settings

Unjudged = Candidate | Failure | Skip
"""What loading something gives."""

Found = Unjudged | Judged
"""What a source yields: some know the judgement already."""

T = TypeVar("T")

MAX_ITEMS: Final = 10_000
"""Tools taken from one iterable; one that never ends must not hang discovery."""


class CandidateSource(Protocol):
    """Anything that yields candidates. Must not raise for what it finds."""

    def candidates(self) -> Iterable[Found]:
        """Yield what there is; the order does not matter."""
        ...


class ObjectSource:
    """Objects handed in by the application: classes, instances, or modules to scan."""

    def __init__(self, objects: Iterable[object], *, kind: Kind = "tool") -> None:
        """Keep the objects."""
        self._objects = tuple(objects)
        self._kind = kind

    def candidates(self) -> Iterator[Unjudged]:
        """Yield each object, or what a module among them holds."""
        for obj in self._objects:
            yield from expand(obj, Origin(), self._kind, seconds=0.0)

    def __bool__(self) -> bool:
        """Tell whether there is anything to look at."""
        return bool(self._objects)


class ModuleSource:
    """Modules and packages by name; packages are walked, namespace packages too."""

    def __init__(self, names: Iterable[str], *, kind: Kind = "tool") -> None:
        """Keep the names; nothing is imported yet."""
        self._names = tuple(names)
        self._kind = kind

    def candidates(self) -> Iterator[Unjudged]:
        """Import each module and yield what it holds."""
        for name in self._names:
            origin = Origin(reference=name)
            got = load(partial(importlib.import_module, name), origin)
            if got.error is not None:
                yield failure(got.error, origin, self._kind, got.seconds)
            else:
                yield from expand(got.value, origin, self._kind, seconds=got.seconds)


class UnlockedModules:
    """Modules by name where only what is locked may be imported: none of them is."""

    def __init__(self, names: Iterable[str]) -> None:
        """Keep the names."""
        self._names = tuple(names)

    def candidates(self) -> Iterator[Unjudged]:
        """Yield a failure for each, and import nothing."""
        for name in self._names:
            detail = (
                "a module named in the setting modules is in no lock; publish it in a "
                "distribution, and lock that"
            )
            origin = Origin(reference=name)
            yield Failure(origin, detail, cause=Cause.NOT_TRUSTED)


class EntryPointSource:
    """What installed distributions publish, the operator's lists applied first."""

    def __init__(self, publishers: Sequence[Publisher], settings: Settings) -> None:
        """Keep the publishers; nothing is imported yet."""
        self._publishers = publishers
        self._settings = settings

    def candidates(self) -> Iterator[Unjudged]:
        """Load each entry point of each allowed distribution."""
        for publisher in self._publishers:
            refusal = refusal_of(publisher.name, self._settings)
            if refusal:
                yield Skip(publisher.origin(), refusal)
                continue
            yield from entry_point_candidates(publisher)


def entry_point_candidates(publisher: Publisher) -> Iterator[Unjudged]:
    """Load each entry point of one distribution, unless its metadata speaks against it.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    if publisher.fault:
        cause = Cause.METADATA_BROKEN
        yield Failure(publisher.origin(), publisher.fault, cause=cause)
    fault = metadata_fault(publisher)
    if fault is not None:
        yield fault
        return
    for point in publisher.entry_points:
        kind = KIND_OF.get(point.group)
        if kind is not None:  # the others are pydantic's own plugins
            yield from _loaded(publisher.origin(point), kind, point.reference)


def hook_candidates(publisher: Publisher, names: Collection[str]) -> Iterator[Unjudged]:
    """Load the modules of hooks that one distribution publishes under these names.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    for point in publisher.entry_points:
        if point.group == PLUGINS and point.name in names:
            yield from _loaded(publisher.origin(point), "plugin", point.reference)


def _loaded(origin: Origin, kind: Kind, reference: str) -> Iterator[Unjudged]:
    got = load(partial(resolve, reference), origin)
    if got.error is not None:
        yield failure(got.error, origin, kind, got.seconds)
    elif kind == "plugin":
        yield Candidate(got.value, origin, kind, seconds=got.seconds)
    else:
        yield from expand(got.value, origin, kind, seconds=got.seconds)


def refusal_of(distribution: str, settings: Settings) -> str:
    """Say why the operator's lists keep a distribution out; empty when they do not."""
    name = canonical(distribution)
    if name in map(canonical, settings.deny):
        return f"{name} is on the deny list; remove it from the setting deny"
    if settings.allow is None or name in map(canonical, settings.allow):
        return ""
    return f"{name} is not on the allow list; add it to the setting allow"


# --- loading ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Loaded(Generic[T]):
    """What running a plugin's code gave, or what it raised, and the seconds."""

    value: T | None
    error: BaseException | None
    seconds: float


def load(action: Callable[[], T], origin: Origin | None = None) -> Loaded[T]:
    """Run code of a plugin, and put the import system's lists in order after it.

    Only the user's own interrupt passes. A plugin that calls `sys.exit` at import has
    failed; it does not end the process.

    Args:
        action: Runs the code.
        origin: Where that code comes from, for the log.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    started = time.perf_counter()
    value, raised = None, None
    try:
        with steady_imports(origin or "a plugin"):
            value = action()
    except BaseException as error:  # whatever a plugin raises at import
        if is_interrupt(error):
            raise
        raised = error
    return Loaded(value, raised, time.perf_counter() - started)


def failure(
    error: BaseException, origin: Origin, kind: Kind, seconds: float
) -> Failure:
    """Turn what a plugin raised into text, so that none of its frames stays alive."""
    return Failure(origin, describe_error(error), their_traceback(error), kind, seconds)


# --- expanding -------------------------------------------------------------------


def expand(
    obj: object, origin: Origin, kind: Kind, *, seconds: float
) -> Iterator[Unjudged]:
    """Yield the candidates in what was loaded: a module's, an iterable's, or itself."""
    yield from _fenced(_expand(obj, origin, kind, seconds), origin, kind)


def _fenced(
    found: Iterator[Unjudged], origin: Origin, kind: Kind
) -> Iterator[Unjudged]:
    """Yield what is found until looking raises: that is a failure, the rest is kept."""
    while True:
        got = load(partial(next, found, None), origin)
        if got.error is not None:
            yield failure(got.error, origin, kind, got.seconds)
        if got.value is None:
            return
        yield got.value


def _expand(
    obj: object, origin: Origin, kind: Kind, seconds: float
) -> Iterator[Unjudged]:
    if issubclass(type(obj), ModuleType):
        module = cast("ModuleType", obj)
        scan = _Scan(module.__name__, kind)
        yield from scan.module(module, origin, seconds)
        return
    items = items_of(obj, METHOD_OF[kind])
    if items is None:
        named = origin if origin.entry_point else origin_of(obj)
        yield Candidate(obj, named, kind, seconds=seconds)
        return
    if (
        origin.entry_point
        and Subject(obj, METHOD_OF[kind]).read("__next__") is not MISSING
    ):
        detail = "it is an iterator, which is empty the second time; publish a list"
        yield Failure(origin, detail, kind=kind)
        return
    got = load(lambda: list(islice(items, MAX_ITEMS + 1)), origin)
    if got.error is not None:
        yield failure(got.error, origin, kind, got.seconds)
    listed = got.value or []
    if len(listed) > MAX_ITEMS:
        detail = f"more than {MAX_ITEMS} items (is it endless?); none of them is taken"
        yield Failure(origin, detail, kind=kind)
        return
    share = seconds / (len(listed) or 1)
    for position, item in enumerate(listed):
        place = origin.at(origin_of(item).reference)
        yield Candidate(item, place, kind, seconds=share, position=position)


_MAPPINGS: Final = (dict, Mapping, MappingProxyType)
"""Real bases only: asking `Mapping` itself would hash the class, which may raise."""


def items_of(obj: object, method: str) -> Iterable[object] | None:
    """Return what to iterate over, when the object is a collection and no candidate."""
    kind = type(obj)
    if any(type.__subclasscheck__(base, kind) for base in _MAPPINGS):
        return obj.values()  # type: ignore[attr-defined, no-any-return]  # a mapping, by its real type
    subject = Subject(obj, method)
    is_plain = issubclass(kind, list | tuple | set | frozenset)
    has_items = is_plain or subject.read("__iter__") is not MISSING
    is_own_thing = subject.is_class or issubclass(kind, str | bytes)
    is_tool_like = subject.read(method) is not MISSING or _is_record(subject)
    return obj if has_items and not is_own_thing and not is_tool_like else None  # type: ignore[return-value]  # it has __iter__


def _is_record(subject: Subject) -> bool:
    """Tell whether it iterates, but as one record: a named tuple, or a model."""
    if subject.read("_fields") is not MISSING:
        return True
    return judge_pydantic_model(subject) is not None


class _Scan:
    """One walk through a module and, if it is a package, all that is in it."""

    def __init__(self, package: str, kind: Kind) -> None:
        self.package = package
        self.kind = kind
        self.walked: set[str] = set()

    def module(
        self, module: ModuleType, origin: Origin, seconds: float
    ) -> Iterator[Unjudged]:
        """Yield a module's candidates, and those of its submodules."""
        space = {k: v for k, v in vars(module).items() if type(k) is str}
        listed = space.get("__all__")
        names = listed if isinstance(listed, list | tuple) else ()
        public = {name for name in names if type(name) is str}
        for attribute, value in sorted(space.items()):
            if attribute.startswith("__") or not _is_candidate(
                value, module, self.kind
            ):
                continue
            yield Candidate(
                value,
                origin.at(f"{module.__name__}:{attribute}"),
                self.kind,
                attribute=attribute,
                module=module.__name__,
                package=self.package,
                is_listed=attribute in public,
                seconds=seconds,
            )
            seconds = 0.0  # the import is counted once
        for name in submodules(module, self.walked):
            yield from _fenced(
                self._submodule(name, origin.at(name)), origin, self.kind
            )

    def _submodule(self, name: str, origin: Origin) -> Iterator[Unjudged]:
        got = load(partial(importlib.import_module, name), origin)
        if got.error is not None:
            yield failure(got.error, origin, self.kind, got.seconds)
        elif issubclass(type(got.value), ModuleType):
            yield from self.module(cast("ModuleType", got.value), origin, got.seconds)
        else:
            detail = f"importing it gives {type(got.value).__name__}, not a module"
            yield Failure(origin, detail, kind=self.kind, seconds=got.seconds)


def _is_candidate(value: object, module: ModuleType, kind: Kind) -> bool:
    """Tell whether a module's global could be meant as a tool, or mistaken for one."""
    if issubclass(type(value), type):
        return True
    if type(value) is FunctionType:
        return value.__module__ == module.__name__
    if issubclass(type(value), ModuleType):
        return False
    try:
        subject = Subject(value, METHOD_OF[kind])
        has_method = subject.read(METHOD_OF[kind]) is not MISSING
        return has_method or judge_pydantic_model(subject) is not None
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - hard to read: the filter will say so
        return True
