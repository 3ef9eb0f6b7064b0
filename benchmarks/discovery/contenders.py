"""What is measured, each in a fresh process, and the floors it is measured against.

The process does this before the clock starts: it imports this module, which imports
nothing that an interpreter has not loaded already; and it appends the folder of the N
distributions to ``sys.path``. That folder holds the N distributions and nothing else,
and stands last: an import looks through the path from its start, and the import system
lists every folder that it looks through, once. Were the folder first, whatever a
contender imports would have its thousands of entries listed, alike for every contender;
as it is, only what imports a plugin does.

The clock then runs from before the first import of a contender until it has a list of
its own of all entry points, each an object that holds name and reference; `list` takes
them out of what is no list yet. That is the same for every contender: for
importlib.metadata and stevedore the objects are their ``EntryPoint``, for pluggy pairs
of name and plugin, for the toolkit its own ``EntryPoint``, which is a tuple of texts.
Reading name and reference by the attributes that the contender documents, and comparing
what was found, comes after the clock, for all alike.

Three floors are measured for a scan, and the first is judged. It is what the issue
says, literally: ``scandir`` of the path's folders, plus one read of each
entry_points.txt; and as nothing tells which metadata folder has one, each is tried. To
open a file that is not there raises an error, and `os.access` asks without one, so the
second floor, which no issue asks for, is lower: ``listdir``, ``access``, then read. The
third is told which files there are, as only an oracle can be.
"""
# ruff: noqa: PLC0415 - the imports are part of what is measured

from __future__ import annotations

import os
import sys
from time import perf_counter_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

GROUP = "toolkit.tools"


# --- floors: what no program can do without, as tight as Python allows ---------------


def nothing(_: Sequence[str]) -> list[str]:
    """Do nothing: a bare interpreter."""
    return []


def scan_floor(_: Sequence[str]) -> list[bytes]:
    """List the path's folders, and read each entry_points.txt: the judged floor."""
    found = []
    scandir, start, read, close = os.scandir, os.open, os.read, os.close
    for folder in sys.path:
        try:
            entries = scandir(folder)
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith(".dist-info"):
                try:
                    fd = start(entry.path + "/entry_points.txt", 0)
                except OSError:
                    continue
                found.append(read(fd, 16384))
                close(fd)
    return found


def scan_floor_asked(_: Sequence[str]) -> list[bytes]:
    """Do the same, but ask before each is opened: nothing is raised."""
    found = []
    listdir, access, start = os.listdir, os.access, os.open
    read, close = os.read, os.close
    for folder in sys.path:
        try:
            names = listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith(".dist-info"):
                file = f"{folder}/{name}/entry_points.txt"
                if access(file, 0):
                    fd = start(file, 0)
                    found.append(read(fd, 16384))
                    close(fd)
    return found


def scan_floor_told(files: Sequence[str]) -> list[bytes]:
    """List the path's folders, and read these files: what an oracle would do."""
    found = []
    listdir, start, read, close = os.listdir, os.open, os.read, os.close
    for folder in sys.path:
        try:
            listdir(folder)
        except OSError:
            continue
    for file in files:
        fd = start(file, 0)
        found.append(read(fd, 16384))
        close(fd)
    return found


def cache_floor(given: Sequence[str]) -> list[object]:
    """Read the first file given; ask when the path and the other files have changed."""
    stat = os.stat
    found: list[object] = []
    for folder in sys.path:
        try:
            found.append(stat(folder).st_mtime_ns)
        except OSError:
            found.append(-1)
    found += [stat(file).st_mtime_ns for file in given[1:]]
    fd = os.open(given[0], 0)
    found.append(os.read(fd, 1 << 26))
    os.close(fd)
    return found


def import_modules(names: Sequence[str]) -> list[object]:
    """Import plugin modules, and nothing of ours."""
    return [__import__(name) for name in names]


# --- contenders ----------------------------------------------------------------------


def bare(_: Sequence[str]) -> list[Any]:
    """List with Python's own importlib.metadata."""
    from importlib.metadata import entry_points

    return list(entry_points(group=GROUP))


def stevedore(_: Sequence[str]) -> list[Any]:
    """List with stevedore, by the one way it has that loads no plugin."""
    from stevedore import ExtensionManager  # type: ignore[import-not-found]

    manager = ExtensionManager.make_test_instance([], namespace=GROUP)
    return list(manager.list_entry_points())


def pluggy(not_ours: Sequence[str]) -> list[Any]:
    """Register with pluggy, which imports every plugin; it has no way only to list.

    Args:
        not_ours: Entry points that the project's own environment publishes; some of
            them are broken on purpose, which pluggy does not survive.
    """
    from pluggy import PluginManager

    manager = PluginManager(GROUP)
    for name in not_ours:
        manager.set_blocked(name)
    manager.load_setuptools_entrypoints(GROUP)
    return list(manager.list_name_plugin())


def toolkit(_: Sequence[str]) -> list[Any]:
    """List with the toolkit; whether it has a cache, the environment says."""
    from toolkit.discovery import entry_points

    return list(entry_points(GROUP))


def toolkit_by_name(names: Sequence[str]) -> list[object]:
    """Import what one entry point refers to."""
    from toolkit.discovery import load_entry_point

    return [load_entry_point(GROUP, names[0])]


def toolkit_discover(deny: Sequence[str]) -> list[object]:
    """Discover every tool, and take each definition with its schemas.

    Args:
        deny: The project's own plugins: some are broken on purpose, and what is broken
            is imported again each time.
    """
    from toolkit import Settings, discover

    catalog, _ = discover(Settings(deny=frozenset(deny)))
    definitions = catalog.definitions()
    if len(definitions) != len(catalog):
        return []
    return [(one.input_schema_json, one.output_schema_json) for one in definitions]


# --- after the clock: what each has found --------------------------------------------


def pairs_of(name: str, found: Sequence[Any]) -> list[tuple[str, str]]:
    """Return name and reference of what a contender has listed.

    By the attributes it documents; without a reference from pluggy, which keeps none.
    """
    if name in ("bare", "stevedore"):
        return [(point.name, point.value) for point in found]
    if name == "toolkit":
        return [(point.name, point.reference) for point in found]
    if name == "pluggy":  # a name that is blocked is listed too
        return [(one, "") for one, plugin in found if plugin is not None]
    return []


# --- the process ---------------------------------------------------------------------


def main(name: str, file: str) -> None:
    """Run one of the above, and print what the parent wants to know.

    Args:
        name: Which.
        file: Has in its lines what the function is given.
    """
    with open(file, encoding="utf-8") as stream:  # noqa: PTH123 - imports nothing
        given = stream.read().splitlines()
    action: Callable[[Sequence[str]], list[object]] = globals()[name]
    started = perf_counter_ns()
    found = action(given)
    ended = perf_counter_ns()
    peak = peak_kib()
    loaded = [*sys.modules]
    from json import dumps
    from zlib import crc32

    pairs = sorted(pairs_of(name, found))
    outcome = {
        "ns": ended - started,
        "count": len(pairs) or len(found),
        "peak_kib": peak,
        "sum": crc32(repr(pairs).encode("utf-8", "backslashreplace")),
        "scanned": "toolkit.discovery.scan" in loaded,
        "plugins": sum(map(is_plugin, loaded)),
        "compiled": all(map(has_byte_code, loaded)),
    }
    print(dumps(outcome))


def peak_kib() -> int:
    """Return the most memory this process has had resident.

    Where the system tells it of the process alone: elsewhere ``ru_maxrss`` is the most
    of it and of the parent that started it.
    """
    try:
        with open("/proc/self/status", "rb") as stream:  # noqa: PTH123 - imports nothing
            return int(stream.read().partition(b"VmHWM:")[2].split()[0])
    except OSError:
        from resource import RUSAGE_SELF, getrusage

        unit = 1024 if sys.platform == "darwin" else 1
        return getrusage(RUSAGE_SELF).ru_maxrss // unit


def is_plugin(module: str) -> bool:
    """Tell the modules of the N distributions, which are the last folder's."""
    file = getattr(sys.modules[module], "__file__", None) or ""
    return file.startswith(sys.path[-1] + os.sep)


def has_byte_code(module: str) -> bool:
    """Tell whether a module of the toolkit need not be compiled the next time."""
    if module.partition(".")[0] != "toolkit":
        return True
    return os.path.exists(sys.modules[module].__cached__ or "")  # noqa: PTH110 - see above
