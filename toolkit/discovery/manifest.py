"""A static manifest: what a package publishes, written down by its author.

It is a JSON file in the package's own folder, so that any build backend that takes data
files along puts it into the wheel. With it a package is listed without being imported,
also where no cache is, such as in a fresh container. It holds a hash of every source
file it was made from: once one of them differs it is not believed, and that is told.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from toolkit.discovery.index import GROUPS, Publisher
from toolkit.discovery.metadata import metadata_fault
from toolkit.discovery.records import DEFINITIONS_FORMAT, check, points_of
from toolkit.discovery.report import Cause, Failure
from toolkit.errors import describe_error

FILE_NAME: Final = "toolkit-manifest.json"
FORMAT: Final = 1
MAX_BYTES: Final = 64 << 20
"""Size of a manifest that is read; a thousand tools take about 2 MiB."""

_SOURCES: Final = (".py", ".pyi", ".so", ".pyd")
_Record = Mapping[str, Any]


def record_of_manifest(publisher: Publisher) -> tuple[_Record | None, list[Failure]]:
    """Return what a distribution's manifest says, if it brings one that fits.

    Returns:
        The record, as `toolkit.discovery.records` has it, or None; and what is wrong
        with a manifest that is there, but cannot be believed.
    """
    manifest: dict[str, Any] = {"stamps": []}
    try:
        home = _home(publisher)
        if home is None or not home.is_file() or metadata_fault(publisher) is not None:
            return None, []
        manifest |= read_manifest(home)
        wrong = disagreements(manifest, publisher)
        check(manifest, publisher)
    except FileNotFoundError:
        return None, []
    except Exception as error:  # noqa: BLE001 - whatever is in the file, or asks for it
        wrong = (f"it cannot be read: {describe_error(error)}",)
    if wrong:
        detail = f"its manifest does not fit it: {'; '.join(wrong)}"
        cause = Cause.MANIFEST_DISAGREES
        return None, [Failure(publisher.origin(), detail, cause=cause)]
    about = {"version": publisher.version, "folder": publisher.folder, "stamps": []}
    return {**about, "points": manifest["points"], "found": manifest["found"]}, []


def build_manifest(publisher: Publisher, record: _Record) -> dict[str, Any]:
    """Return the manifest of a distribution, from the record of a first contact.

    The same sources give the same manifest: it holds no time, path or version of ours.

    Raises:
        FileNotFoundError: Its sources are not in a plain folder.
    """
    home = manifest_file(publisher)
    found = [{**one, "seconds": 0.0} for one in record["found"]]
    return {
        "format": FORMAT,
        "definitions": DEFINITIONS_FORMAT,
        "distribution": publisher.name,
        "points": points_of(publisher),
        "sources": _hashes(publisher, home),
        "found": [one | ({"took": 0.0} if "took" in one else {}) for one in found],
    }


def manifest_file(publisher: Publisher) -> Path:
    """Return where a distribution's manifest is, or would be.

    In the folder of the top-level package that its first entry point refers to; beside
    the module, with its name before the file's, where that is no package.

    Raises:
        FileNotFoundError: That package is not in a plain folder.
    """
    home = _home(publisher)
    if home is None:
        text = f"the sources of {publisher.name} are not in a plain folder"
        raise FileNotFoundError(text)
    return home


def write_manifest(file: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    new = file.with_name(f"{file.name}.new")
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    new.write_text(f"{text}\n", encoding="utf-8")
    new.replace(file)


def read_manifest(file: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        OSError: It cannot be read.
        ValueError: It is none, or of a format that is not known here.
    """
    if file.stat().st_size > MAX_BYTES:
        text = f"it is larger than {MAX_BYTES >> 20} MiB"
        raise ValueError(text)
    manifest = json.loads(file.read_text(encoding="utf-8"))
    parts = {"points": list, "sources": dict, "found": list}
    if not isinstance(manifest, dict) or not all(
        isinstance(manifest.get(name), kind) for name, kind in parts.items()
    ):
        text = "it is not what `toolkit manifest` writes"
        raise ValueError(text)
    if (manifest.get("format"), manifest.get("definitions")) != (
        FORMAT,
        DEFINITIONS_FORMAT,
    ):
        text = "it was written by a toolkit-core that describes tools differently"
        raise ValueError(text)
    return manifest


def disagreements(manifest: Mapping[str, Any], publisher: Publisher) -> tuple[str, ...]:
    """Say what a manifest was made from that is not so any more; runs no code.

    Raises:
        FileNotFoundError: The distribution's sources are not in a plain folder.
        OSError: One of them cannot be read.
    """
    if manifest.get("distribution") != publisher.name:
        return (f"it is the manifest of {manifest.get('distribution')}",)
    wrong = []
    if manifest["points"] != points_of(publisher):
        wrong.append("its entry points are others")
    before = manifest["sources"]
    now = _hashes(publisher, manifest_file(publisher))
    for path in sorted({*before, *now}):
        if path not in now:
            wrong.append(f"{path} is gone")
        elif path not in before:
            wrong.append(f"{path} is new")
        elif before[path] != now[path]:
            wrong.append(f"{path} has changed")
    return tuple(wrong)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how what a manifest tells differs from what the code says, tool by tool."""
    old, new = _told(before), _told(now)
    return tuple(
        f"{name} is {_word(old.get(name), new.get(name))}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def _word(before: object, now: object) -> str:
    if before is None:
        return "not in it"
    return "no longer published" if now is None else "described differently"


def _told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{one['entry_point']} = {one['reference']}": one for one in manifest["found"]
    }


# --- where the sources are ------------------------------------------------------------


def _modules(publisher: Publisher) -> list[str]:
    """Return the modules that its entry points refer to, in their order."""
    references = [point[2] for point in publisher.entry_points if point[0] in GROUPS]
    names = (one.partition(":")[0].partition("[")[0].strip() for one in references)
    return [
        one
        for one in dict.fromkeys(names)
        if all(map(str.isidentifier, one.split(".")))
    ]


def _places(publisher: Publisher) -> list[Path]:
    """Return the outermost packages, or modules, that they are in, in their order."""
    found = (_place(publisher, module) for module in _modules(publisher))
    return list(dict.fromkeys(one for one in found if one is not None))


def _home(publisher: Publisher) -> Path | None:
    for place in _places(publisher)[:1]:
        if place.is_dir():
            return place / FILE_NAME
        return place.with_name(f"{place.name.partition('.')[0]}.{FILE_NAME}")
    return None


def _place(publisher: Publisher, module: str) -> Path | None:
    """Return the folder or file of a module's outermost package; imports nothing.

    A folder without an ``__init__`` is a namespace that others share; what is this
    distribution's own begins below it.
    """
    top, *rest = module.split(".")
    beside = Path(publisher.folder).parent / top
    here = beside if publisher.folder and beside.is_dir() else _found(top)
    for part in rest:
        if here is None or not here.is_dir() or any(here.glob("__init__.*")):
            break
        inner, file = here / part, here / f"{part}.py"
        here = inner if inner.is_dir() else file if file.is_file() else None
    return here


def _found(top: str) -> Path | None:
    """Return where the import system finds a top-level module; runs none of it."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None:
        return None
    folders = [Path(one) for one in spec.submodule_search_locations or ()]
    places = [*folders, Path(spec.origin or "")]
    return next((one for one in places if one.is_dir() or one.is_file()), None)


def _hashes(publisher: Publisher, home: Path) -> dict[str, str]:
    """Return the hash of every source file, by its path below the packages' parent.

    Raises:
        OSError: One of them cannot be read.
    """
    found = {}
    for place in _places(publisher):
        for file in _sources(place):
            name = file.relative_to(place.parent).as_posix()
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[name] = f"sha256:{digest}"
    found.pop(home.name, None)
    return found


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, files in os.walk(place):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        yield from (Path(folder, one) for one in files if one.endswith(_SOURCES))
