"""Every scenario of a cache that is warm, each on real files in fresh interpreters.

First everything is discovered and kept; then the world changes; then a fresh
interpreter must see it as it is.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.distributions import Site, good_tool
from tests.environments import Environment

TOOLS: Final = "toolkit.tools"


@dataclass(frozen=True)
class Change:
    """What happens to a warm environment, and what must be found then.

    Attributes:
        happens: Does it.
        tools: What must be found then.
        imported: Which modules that must import; nothing else is.
        environ: Variables that hold then.
        path: Further folders on the path, from the beginning.
    """

    happens: Callable[[Environment], object]
    tools: tuple[str, ...]
    imported: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()


def publish(site: Site, tool: str, version: str = "1.0") -> None:
    """Install the distribution that changes, with one tool."""
    source = {"x_mod.py": good_tool(tool)}
    site.install("x-dist", {TOOLS: {"x": "x_mod:Good"}}, source, version=version)


def metadata(here: Environment) -> Path:
    (folder,) = here.site.folder.glob("x_dist-*.dist-info")
    return folder


def uninstall(here: Environment) -> None:
    shutil.rmtree(metadata(here))
    (here.site.folder / "x_mod.py").unlink()


def upgrade(here: Environment) -> None:
    uninstall(here)
    publish(here.site, "newer", "2.0")


def reinstall(here: Environment) -> None:
    uninstall(here)
    publish(here.site, "again")


def edit_entry_points(here: Environment) -> None:
    here.site.write({"y_mod.py": good_tool("other")})
    text = f"[{TOOLS}]\nx = y_mod:Good\n"
    (metadata(here) / "entry_points.txt").write_text(text)


def edit_code(here: Environment) -> None:
    here.site.write({"x_mod.py": good_tool("edited")})


def edit_console_scripts(here: Environment) -> None:
    here.site.write({"s_mod.py": good_tool("late")})
    (folder,) = here.site.folder.glob("script-*.dist-info")
    text = f"[console_scripts]\nrun = s_mod:run\n[{TOOLS}]\ns = s_mod:Good\n"
    (folder / "entry_points.txt").write_text(text)


def appear(here: Environment) -> None:
    publish(Site(here.folder / "later"), "shadowing")


def appear_at_last(here: Environment) -> None:
    Site(here.folder / "later").install_tool("w-dist", "w_mod", "appeared")


def cache_files(here: Environment) -> list[Path]:
    files = list((here.cache / "toolkit-core").glob("*.index"))
    assert files
    return files


def corrupt(here: Environment) -> None:
    for file in cache_files(here):
        data = bytearray(file.read_bytes())
        for place in range(100, len(data), 7):
            data[place] ^= 0x55
        file.write_bytes(data)


def truncate(here: Environment) -> None:
    for file in cache_files(here):
        file.write_bytes(file.read_bytes()[:-10])


def from_another_version(here: Environment) -> None:
    for file in cache_files(here):
        data = file.read_bytes()
        assert data.startswith(b"toolkit index ")
        file.write_bytes(data.replace(b"toolkit index 1", b"toolkit index 0", 1))


def from_another_python(here: Environment) -> None:
    for file in cache_files(here):
        data = file.read_bytes()
        assert b"cpython-3" in data[:64]
        file.write_bytes(data.replace(b"cpython-3", b"cpython-2", 1))


def unwritable(here: Environment) -> None:
    shutil.rmtree(here.cache / "toolkit-core")
    (here.cache / "toolkit-core").write_text("in the place of the folder")


def open_to_others(here: Environment) -> None:
    for file in cache_files(here):
        file.chmod(0o666)


def clock_set_back(here: Environment) -> None:
    """Change something, and give it a time long before the cache was written."""
    edit_entry_points(here)
    long_ago = time.time_ns() - 10**18
    os.utime(metadata(here) / "entry_points.txt", ns=(long_ago, long_ago))
    os.utime(here.site.folder, ns=(long_ago, long_ago))


def nothing(_: Environment) -> None:
    """Let everything be as it was."""


BOTH: Final = ("good_first", "told")
CHANGES: Final[dict[str, Change]] = {
    "nothing": Change(nothing, BOTH),
    "removed": Change(uninstall, ("good_first",)),
    "upgraded": Change(upgrade, ("good_first", "newer"), ("x_mod",)),
    "reinstalled at the same version": Change(
        reinstall, ("again", "good_first"), ("x_mod",)
    ),
    "entry points edited": Change(
        edit_entry_points, ("good_first", "other"), ("y_mod",)
    ),
    "code edited": Change(edit_code, ("edited", "good_first"), ("x_mod",)),
    "script became a plugin": Change(
        edit_console_scripts, ("good_first", "late", "told"), ("s_mod",)
    ),
    "added": Change(
        lambda here: here.site.install_tool("v-dist", "v_mod", "added"),
        ("added", "good_first", "told"),
        ("v_mod",),
    ),
    "folder on the path appears": Change(
        appear_at_last,
        ("appeared", "good_first", "told"),
        ("w_mod",),
        path=("later",),
    ),
    "hidden by one that appears": Change(
        appear, ("good_first", "shadowing"), ("x_mod",), path=("later",)
    ),
    "cache unwritable": Change(unwritable, BOTH, ("a_mod", "x_mod")),
    "cache corrupt": Change(corrupt, BOTH, ("a_mod", "x_mod")),
    "cache truncated": Change(truncate, BOTH, ("a_mod", "x_mod")),
    "cache of another version": Change(from_another_version, BOTH, ("a_mod", "x_mod")),
    "cache of another Python": Change(from_another_python, BOTH, ("a_mod", "x_mod")),
    "cache that others may write": Change(open_to_others, BOTH, ("a_mod", "x_mod")),
    "cache switched off": Change(
        nothing, BOTH, ("a_mod", "x_mod"), {"TOOLKIT_CACHE": "off"}
    ),
    "clock set back": Change(clock_set_back, ("good_first", "other"), ("y_mod",)),
}


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    here = Environment(tmp_path)
    here.site.install_tool("a-dist", "a_mod", "good_first")
    here.site.install("script", {"console_scripts": {"run": "s_mod:run"}}, {})
    publish(here.site, "told")
    here.settle()
    return here


@pytest.mark.parametrize("name", CHANGES)
def test_warm_environment_is_seen_as_it_is_now(here: Environment, name: str) -> None:
    """See each change, import no more than it asks for, and raise nothing (S210)."""
    change = CHANGES[name]
    path = tuple(here.folder / one for one in change.path)
    here.discover(path=path)
    warm = here.discover(path=path)
    assert (warm["tools"], warm["loaded"]) == (["good_first", "told"], [])
    change.happens(here)
    here.settle()
    found = here.discover(path=path, environ=change.environ)
    assert found["tools"] == list(change.tools)
    assert found["loaded"] == list(change.imported)
    assert (found["status"], found["failed"]) == ("healthy", {})


VANISH: Final = """
import os, sys, threading
from toolkit.discovery.scan import scan
folder, twin = sys.argv[1:]
stop = threading.Event()
def flip():
    while not stop.is_set():
        os.rename(folder, twin)
        os.rename(twin, folder)
thread = threading.Thread(target=flip)
thread.start()
counts = set()
try:
    for _ in range(300):
        found = scan([*sys.path, folder])
        counts.add(sum(one.name.startswith("p-") for one in found.publishers))
finally:
    stop.set()
    thread.join(5)
print(sorted(counts)[0], sorted(counts)[-1])
"""


def test_folder_that_vanishes_during_a_scan_harms_nobody(here: Environment) -> None:
    """Read what is there while it is there; never raise (S210, B36)."""
    other = Site(here.folder / "other")
    for number in range(30):
        other.install(f"p-{number}", {TOOLS: {"p": "m:P"}})
    done = here.run(VANISH, str(other.folder), str(here.folder / "twin"))
    fewest, most = map(int, done.stdout.split())
    assert fewest < most  # it did vanish under some of the scans
    assert most <= 30


MANY: Final = """
import sys
from toolkit.discovery.index import entry_points
names = [point.name for point in entry_points("toolkit.tools")]
kept = "toolkit.discovery.scan" not in sys.modules
print(sum(name.startswith("many_") for name in names), "good" in names, kept)
"""


def test_ten_thousand_distributions_are_listed(here: Environment) -> None:
    """Find every plugin among 10,000 distributions, cold and warm (S210)."""
    folder = here.site.folder
    here.site.install_tool("good", "good_mod", "good")
    for number in range(10_000):
        place = folder / f"many_{number}-1.0.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Name: many-{number}\nVersion: 1.0\n")
        if number % 10 == 0:
            text = f"[{TOOLS}]\nmany_{number} = many:Tool\n"
            (place / "entry_points.txt").write_text(text)
    hour_ago = time.time_ns() - 3_600 * 10**9  # they were not installed just now
    os.utime(folder, ns=(hour_ago, hour_ago))
    assert here.run(MANY).stdout.split() == ["1000", "True", "False"]
    assert here.run(MANY).stdout.split() == ["1000", "True", "True"]
