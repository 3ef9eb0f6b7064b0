"""What is kept of one distribution: its judged candidates, as plain JSON values.

A record holds no object and no verdict of the operator. It is right for as long as the
files it was made from are as they were; `stamps` are their times and sizes.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from stat import S_ISDIR
from types import ModuleType, NoneType
from typing import Any, Final

from toolkit.contract import ACCEPTED, RejectionReason, Verdict
from toolkit.deferred import DeferredTool
from toolkit.discovery.cache import TICK_NS
from toolkit.discovery.index import GROUPS, EntryPoint, Publisher
from toolkit.discovery.report import (
    CONTRACTS,
    KIND_OF,
    Candidate,
    Cause,
    DeferredCandidate,
    Failure,
    Judged,
    Kind,
)
from toolkit.naming import tool_name
from toolkit.tools import ToolDefinition

Contacted = Judged | Failure | Candidate
"""What came of one thing published; a candidate is a module of hooks."""

Stamps = list[list[Any]]
"""Path, modification time in nanoseconds, size in bytes; -1 for what is not there."""

DEFINITIONS_FORMAT: Final = 1
"""Changes whenever the same tool is described differently, or kept in another form."""

_METADATA: Final = ("entry_points.txt", "METADATA", "PKG-INFO", "RECORD")
_FACTS: Final = (
    "attribute",
    "module",
    "package",
    "is_listed",
    "position",
    "seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the object of a candidate is found again. Immutable.

    Attributes:
        point: The entry point that led there.
        module: The scanned module that holds it; empty when it was named directly.
        attribute: Its name there.
        position: Its place in the collection that was published; -1 otherwise.
    """

    point: EntryPoint
    module: str = ""
    attribute: str = ""
    position: int = -1


MakeLoad = Callable[[Place, Any], Any]


# --- to JSON --------------------------------------------------------------------------


def pack(
    publisher: Publisher, found: Iterable[Contacted], stamps: Stamps
) -> dict[str, Any]:
    """Return the record of one distribution."""
    return {
        "version": publisher.version,
        "folder": publisher.folder,
        "points": points_of(publisher),
        "stamps": stamps,
        "found": [_pack_one(one) for one in found],
    }


def points_of(publisher: Publisher) -> list[list[str]]:
    """Return its entry points in our groups, as plain lists."""
    return [[*point] for point in publisher.entry_points if point[0] in GROUPS]


def is_keepable(found: Iterable[object]) -> bool:
    """Tell whether the same would be found again as long as no file changes.

    What failed may have failed for something outside of its files: a variable that was
    not set, a package that was missing. It is tried again each time.
    """
    return not any(isinstance(one, Failure) for one in found)


def _pack_one(one: Contacted) -> dict[str, Any]:
    if isinstance(one, Failure):
        return {
            "is": "failure",
            **_origin(one),
            "detail": one.detail,
            "traceback": one.traceback,
            "seconds": one.seconds,
            "cause": str(one.cause),
        }
    if isinstance(one, Candidate):
        return {"is": "hooks", **_origin(one), "seconds": one.seconds}
    candidate = one.candidate
    return {
        "is": "judged",
        **_origin(candidate),
        **{name: getattr(candidate, name) for name in _FACTS},
        "took": one.seconds,
        "reason": one.verdict.reason and str(one.verdict.reason),
        "detail": one.verdict.detail,
        "identity": one.identity,
        "definition": one.tool and pack_definition(one.tool.definition),
    }


def _origin(one: Candidate | Failure) -> dict[str, str]:
    origin = one.origin
    return {
        "kind": one.kind,
        "group": origin.group,
        "entry_point": origin.entry_point,
        "reference": origin.reference,
    }


def pack_definition(definition: ToolDefinition) -> dict[str, Any]:
    """Return a definition as plain JSON values."""
    values = {one.name: getattr(definition, one.name) for one in fields(definition)}
    scopes = sorted(definition.required_scopes)
    return values | {"required_scopes": scopes, "tags": list(definition.tags)}


# --- from JSON ------------------------------------------------------------------------


def unpack_definition(values: Mapping[str, Any]) -> ToolDefinition:
    """Return the definition that was packed.

    Raises:
        TypeError: It has not the fields of a definition.
    """
    frozen = {
        "required_scopes": frozenset(values["required_scopes"]),
        "tags": tuple(values["tags"]),
    }
    return ToolDefinition(**{**values, **frozen})


def unpack(
    record: Mapping[str, Any], publisher: Publisher, make_load: MakeLoad
) -> list[Contacted]:
    """Return what a record was made of, with tools that load at their first call.

    Hook modules are left out: they are loaded anew, as discovery runs them.

    Args:
        record: What `pack` returned, in this process or another.
        publisher: Whose record it is.
        make_load: Given where an object is found, and the facts about it, returns the
            function that loads its tool.

    Raises:
        KeyError: Something is missing: it is no record.
        TypeError: Likewise.
        ValueError: Likewise.
    """
    points = {(point[0], point[1]): point for point in publisher.entry_points}
    return [
        _unpack_one(one, publisher, points, make_load)
        for one in record["found"]
        if one["is"] != "hooks"
    ]


def _unpack_one(
    values: Mapping[str, Any],
    publisher: Publisher,
    points: Mapping[tuple[str, str], EntryPoint],
    make_load: MakeLoad,
) -> Judged | Failure:
    kind: Kind = values["kind"]
    point = points.get((values["group"], values["entry_point"]))
    origin = publisher.origin(point).at(values["reference"])
    if values["is"] == "failure":
        return Failure(
            origin,
            values["detail"],
            values["traceback"],
            kind,
            values["seconds"],
            Cause(values["cause"]),
        )
    if point is None:
        text = f"no entry point {values['entry_point']!r}"
        raise KeyError(text)
    place = Place(
        point=point,
        module=values["module"],
        attribute=values["attribute"],
        position=values["position"],
    )
    load = make_load(place, values)
    facts = {name: values[name] for name in _FACTS}
    if values["definition"] is None:
        candidate = DeferredCandidate(lambda: load().target, origin, kind, **facts)
        verdict = Verdict(RejectionReason(values["reason"]), values["detail"])
        return Judged(candidate, verdict, seconds=values["took"])
    identity = values["identity"]
    definition = unpack_definition(values["definition"])
    method = CONTRACTS[kind].method
    tool = DeferredTool(definition, origin, method, load, identity=identity)
    candidate = DeferredCandidate(lambda: tool.load().target, origin, kind, **facts)
    return Judged(candidate, ACCEPTED, tool, identity, values["took"])


def check(record: Any, publisher: Publisher) -> None:  # noqa: ANN401 - from a file or a process
    """Check a record that somebody else wrote: each part, and how the parts fit.

    Raises:
        TypeError: A part is of another type than `pack` writes.
        ValueError: A part has a value that `pack` never writes.
        KeyError: A part is missing.
        InvalidNameError: A tool has a name that no tool may have.
    """
    kinds = {point[0:2]: KIND_OF.get(point[0]) for point in publisher.entry_points}
    for stamp_ in record["stamps"]:
        _check_all(stamp_, (str, int, int))
    for one in record["found"]:
        texts = [one[name] for name in ("kind", "group", "entry_point", "reference")]
        _check_all(texts, (str,) * len(texts))
        key = (one["group"], one["entry_point"])
        if one["is"] == "failure" and key == ("", ""):
            continue
        if kinds.get(key) != one["kind"]:
            text = f"{key} is no entry point of kind {one['kind']}"
            raise ValueError(text)
        if one["is"] == "judged":
            _check_judged(one)


def _check_judged(one: Mapping[str, Any]) -> None:
    values = [one[name] for name in (*_FACTS, "took", "identity", "detail")]
    number = (int, float)
    _check_all(values, (str, str, str, bool, int, number, number, str, str))
    if one["definition"] is None:
        RejectionReason(one["reason"])
        return
    definition = unpack_definition(one["definition"])
    tool_name(definition.name)
    said = [getattr(definition, name) for name in _DEFINED]
    _check_all(said, tuple(_DEFINED.values()))
    _check_all([*definition.tags, *definition.required_scopes], None)
    for text in (definition.input_schema_json, definition.output_schema_json):
        if text is not None and not isinstance(json.loads(text), dict):
            message = "a schema is no JSON object"
            raise ValueError(message)


_DEFINED: Final[Mapping[str, Any]] = {
    "qualified_name": str,
    "description": str,
    "input_schema_json": str,
    "output_schema_json": (str, NoneType),
    "version": str,
    "timeout": (int, float, NoneType),
    "read_only": (bool, NoneType),
    "destructive": (bool, NoneType),
    "idempotent": (bool, NoneType),
    "streaming": bool,
}


def _check_all(values: Sequence[Any], kinds: Sequence[Any] | None) -> None:
    """Check each value against its kind; all against ``str`` where none are given.

    Raises:
        TypeError: One is of another.
    """
    pairs = zip(values, kinds or (str,) * len(values), strict=True)
    if not all(isinstance(value, kind) for value, kind in pairs):
        text = "a part of the record is of another type"
        raise TypeError(text)


# --- what it was made from ------------------------------------------------------------


def stamps_of(publisher: Publisher) -> Stamps:
    """Return the files that what was found depends on, as they are now.

    Those are its metadata and every module that is imported of its top-level packages,
    with the folders in these packages, where a new module would appear.
    """
    places = {f"{publisher.folder}/{name}" for name in _METADATA if publisher.folder}
    for module in imported_of(publisher):
        places.update(_places(module))
    return [[place, *stamp(place)] for place in sorted(places)]


def imported_of(publisher: Publisher) -> list[ModuleType]:
    """Return the modules of a distribution's top-level packages that are imported."""
    tops = {_top(point.reference) for point in publisher.entry_points}
    tops |= _recorded_tops(publisher.folder)
    return [
        module
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] in tops and issubclass(type(module), ModuleType)
    ]


def is_older(stamps: Stamps, began: int) -> bool:
    """Tell whether no file has changed since a time, in nanoseconds.

    What was imported is what was there then. Folders do not count: importing a module
    for the first time writes its byte code into one. Neither does the future, which a
    clock that was set back leaves behind.
    """
    now = time.time_ns()
    return not any(
        size >= 0 and began - TICK_NS <= changed <= now for _, changed, size in stamps
    )


def _top(reference: str) -> str:
    return reference.partition(":")[0].partition(".")[0].strip()


def _recorded_tops(folder: str) -> set[str]:
    """Return the top-level modules that a distribution's RECORD lists."""
    try:
        with open(f"{folder}/RECORD", encoding="utf-8") as file:
            paths = [line.partition(",")[0] for line in file]
    except (OSError, ValueError):
        return set()
    tops = {path.partition("/")[0] for path in paths if path.endswith(".py")}
    return {top.removesuffix(".py") for top in tops}


def _places(module: ModuleType) -> list[str]:
    space = vars(module)
    packages = [one for one in _listed(space.get("__path__")) if type(one) is str]
    folders = [folder for package in packages for folder in _folders(package)]
    found = [space.get("__file__"), *folders]
    return [_on_disk(place) for place in found if type(place) is str]


def _folders(package: str) -> list[str]:
    """Return a package's folder, and those directly in it: modules may appear there."""
    try:
        inside = [one.path for one in os.scandir(package) if one.is_dir()]
    except OSError:
        inside = []
    return [package, *(one for one in inside if not one.endswith("__pycache__"))]


def _listed(path: object) -> list[object]:
    try:
        return list(path)  # type: ignore[call-overload, no-any-return]  # or it raises
    except Exception:  # noqa: BLE001 - a module may put anything there
        return []


def _on_disk(place: str) -> str:
    """Return the file itself; for what is inside a zip file, that file."""
    here = place
    while here and not os.path.exists(here) and here != os.path.dirname(here):
        here = os.path.dirname(here)
    return here if os.path.isfile(here) else place


def stamp(place: str) -> tuple[int, int]:
    """Return a file's or folder's modification time in nanoseconds, and its size.

    The size of a folder is -1: it says nothing.
    """
    try:
        about = os.stat(place)
    except (OSError, ValueError):
        return -1, -1
    is_folder = S_ISDIR(about.st_mode)
    return about.st_mtime_ns, -1 if is_folder else about.st_size


def still_holds(record: Mapping[str, Any], publisher: Publisher) -> bool:
    """Tell whether a record is this publisher's, and its files are as they were."""
    try:
        return (
            record["version"] == publisher.version
            and record["folder"] == publisher.folder
            and record["points"] == points_of(publisher)
            and are_as_they_were(record["stamps"])
        )
    except (KeyError, TypeError, ValueError):
        return False


def are_as_they_were(stamps: Sequence[Sequence[Any]]) -> bool:
    """Tell whether no file or folder has changed since its stamp was taken."""
    return all(stamp(place) == (time, size) for place, time, size in stamps)
