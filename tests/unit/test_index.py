"""Who publishes, and what: asked of the path, or of the file that was kept of it."""

import copy
import gc
import importlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

import pytest

from tests.distributions import Site, good_tool, importable, open_site
from toolkit.discovery.cache import keep
from toolkit.discovery.index import (
    AGENTS,
    GROUPS,
    HEADER,
    PLUGINS,
    PYDANTIC,
    READ,
    TOOLS,
    EntryPoint,
    Index,
    Publisher,
    absolute_path,
    cache_file,
    cache_folder,
    entry_points,
    first_words,
    has_foreign_finders,
    index,
    is_cache_on,
    is_private,
    is_standard_finder,
    load_entry_point,
    publishers,
    pydantic_plugins,
    read_sections,
    resolve,
    sum_of,
)
from toolkit.discovery.scan import scan
from toolkit.errors import ToolNotFoundError
from toolkit.origin import Origin

pytestmark = pytest.mark.integration  # real files or processes in every test

GOOD: Final = "[toolkit.tools]\nsum = pkg.tools:Sum\n"
AN_HOUR_AGO: Final = (time.time_ns() - 3_600_000_000_000) | 1  # no whole second
HUGE: Final = 10**30


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Make a site that is all of the path, with a cache of its own."""
    monkeypatch.delenv("TOOLKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    importlib.import_module("toolkit.discovery.foreign")  # from where it is installed
    monkeypatch.setattr("sys.path", [])
    with open_site(tmp_path) as site:
        yield site


def settle(site: Site) -> None:
    """Let everything there look an hour old, as in most environments."""
    for place in (*site.folder.rglob("*"), site.folder):
        os.utime(place, ns=(AN_HOUR_AGO, AN_HOUR_AGO), follow_symlinks=False)


def keep_it(site: Site) -> Path:
    """Let the answer be kept; return the file."""
    settle(site)
    index()
    file = Path(cache_file([str(site.folder)]))
    assert file.is_file()
    return file


def keep_a_lie(site: Site) -> None:
    """Keep a good file that says of this path what is not true."""
    settle(site)
    true = scan(sys.path)
    points = [EntryPoint(group, "lie", "m:Lie") for group in READ]
    lie = Publisher("liar", "6.6", points, "", "/nowhere")
    assert keep(Index(true.folders, true.stamps, true.files, [lie]))


def names(*folders: Path) -> list[str]:
    return [one.name for one in publishers([str(folder) for folder in folders])]


# --- values -------------------------------------------------------------------------


def test_entry_point_is_three_texts_that_nobody_changes() -> None:
    """Read its parts by name, compare by value, and forbid assignment."""
    point = EntryPoint(TOOLS, "sum", "pkg:Sum")
    assert (point.group, point.name, point.reference) == (TOOLS, "sum", "pkg:Sum")
    assert point == EntryPoint(TOOLS, "sum", "pkg:Sum")
    assert point < EntryPoint(TOOLS, "total", "pkg:Sum")
    assert repr(point) == "<EntryPoint toolkit.tools: sum = pkg:Sum>"
    with pytest.raises(AttributeError):
        point.name = "other"
    with pytest.raises(AttributeError):
        point.extra = "other"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],  # noqa: S301 - our own
    ids=["copy", "deep copy", "pickle"],
)
def test_entry_point_can_be_copied_and_sent(
    again: Callable[[EntryPoint], EntryPoint],
) -> None:
    """Come back equal and of the same type from a copy and from a pickle."""
    point = EntryPoint(TOOLS, "sum", "pkg:Sum")
    assert again(point) == point
    assert type(again(point)) is EntryPoint


def test_publishers_compare_by_all_that_is_known() -> None:
    """Tell two apart by any field, and sort by name first."""
    point = EntryPoint(TOOLS, "sum", "pkg:Sum")
    one = Publisher("a", "2", [point], "", "/site/a")
    others = [
        Publisher("b", "2", [point], "", "/site/a"),
        Publisher("a", "1", [point], "", "/site/a"),
        Publisher("a", "2", [], "", "/site/a"),
        Publisher("a", "2", [point], "broken", "/site/a"),
        Publisher("a", "2", [point], "", "/site/b"),
    ]
    assert one == Publisher("a", "2", iter([point]), "", "/site/a")
    assert len({one, *others, Publisher("a", "2", [point], "", "/site/a")}) == 6
    assert one not in others
    assert one != "a"
    assert max([one, *others]).name == "b"
    assert repr(one) == "<Publisher a 2>"


def test_ours_are_the_publishers_in_our_groups_and_the_broken_ones() -> None:
    """Leave out whoever publishes to pydantic alone, and keep whoever may be ours."""
    tool = Publisher("tool", "", [EntryPoint(TOOLS, "sum", "pkg:Sum")])
    theirs = Publisher("theirs", "", [EntryPoint(PYDANTIC, "x", "m:x")])
    broken = Publisher("broken", fault="broken entry_points.txt")
    assert Index([], [], [], [broken, theirs, tool]).ours() == [broken, tool]


# --- publishers ---------------------------------------------------------------------


def test_publisher_has_its_entry_points_in_our_groups_sorted(site: Site) -> None:
    """Read the three groups and leave those of others alone (S210)."""
    points = {
        TOOLS: {"b": "m:B", "a": "m:A"},
        AGENTS: {"c": "m:C"},
        PLUGINS: {"d": "m"},
        "console_scripts": {"run": "m:main"},
    }
    folder = site.install("dist", points)
    (found,) = publishers([str(site.folder)])
    labels = [(one.group, one.name) for one in found.entry_points]
    assert labels == [(AGENTS, "c"), (PLUGINS, "d"), (TOOLS, "a"), (TOOLS, "b")]
    assert {one.group for one in found.entry_points} == set(GROUPS)
    assert found.folder == str(folder)


def test_origin_of_an_entry_point_says_everything_about_it(site: Site) -> None:
    """Carry distribution, version, group, name and reference into messages (B12)."""
    site.install("dist", GOOD, version="2.5")
    (found,) = publishers([str(site.folder)])
    assert found.origin() == Origin("dist", "2.5")
    point = found.entry_points[0]
    expected = Origin("dist", "2.5", TOOLS, "sum", "pkg.tools:Sum")
    assert found.origin(point) == expected


@pytest.mark.parametrize(
    "written", ["My_Tools.Extra", "my-tools-extra", "MY--TOOLS_extra"]
)
def test_names_of_publishers_are_normalised(site: Site, written: str) -> None:
    """Compare distributions as the packaging specifications do (B6)."""
    site.install(written, GOOD)
    assert names(site.folder) == ["my-tools-extra"]


def test_distribution_that_publishes_nothing_here_is_no_publisher(site: Site) -> None:
    """Leave other people's packages, and empty metadata folders, out of the report."""
    site.install("library")
    site.install("script", {"console_scripts": {"run": "m:main"}})
    site.install("empty", metadata="")
    site.install("pydantic-plugin", {PYDANTIC: {"x": "m:x"}})
    assert names(site.folder) == []


def test_broken_publisher_is_named_and_hides_nobody(site: Site) -> None:
    """Name whoever wrote what cannot be read, and still find the others (B12)."""
    site.install("broken", "[toolkit.tools]\nä = m:x\n".encode("latin-1"))
    site.install("good", GOOD)
    broken, good = publishers([str(site.folder)])
    assert broken.origin() == Origin("broken", "1.0")
    assert broken.fault.startswith("broken entry_points.txt: ")
    assert good.fault == ""
    assert len(good.entry_points) == 1


def test_order_of_folders_does_not_show(site: Site, tmp_path: Path) -> None:
    """Answer alike whatever the order of unrelated folders is."""
    sites = [Site(tmp_path / letter) for letter in "abc"]
    for number, one in enumerate(sites):
        one.install(f"dist-{number}", GOOD)
    folders = [str(one.folder) for one in sites]
    assert publishers(folders) == publishers(folders[::-1])
    assert len(publishers(folders)) == 3


def test_default_path_is_that_of_the_interpreter(site: Site, tmp_path: Path) -> None:
    """Read ``sys.path`` at the time of asking."""
    site.install("dist", GOOD)
    assert [one.name for one in publishers()] == ["dist"]
    later = Site(tmp_path / "later")
    later.install("late", GOOD)
    with importable(later.folder):
        assert [one.name for one in publishers()] == ["dist", "late"]


def test_path_that_is_handed_in_is_not_kept(site: Site, tmp_path: Path) -> None:
    """Write no file for folders that are not the path of this process."""
    site.install("dist", GOOD)
    settle(site)
    assert names(site.folder) == ["dist"]
    assert not (tmp_path / "cache").exists()


# --- entry points -------------------------------------------------------------------


def test_entry_points_are_the_same_from_the_kept_file(site: Site) -> None:
    """Answer for each group alike, read anew or as kept, sorted by distribution."""
    site.install("b", {TOOLS: {"two": "m:B", "one": "m:A"}, PYDANTIC: {"x": "m:x"}})
    site.install("a", {TOOLS: {"last": "m:C"}, AGENTS: {"boss": "m:Boss"}})
    cold = {group: entry_points(group) for group in READ}
    keep_it(site)
    warm = {group: entry_points(group) for group in READ}
    assert warm == cold
    assert [point.name for point in warm[TOOLS]] == ["last", "one", "two"]
    assert warm[PLUGINS] == []
    kinds = {type(one) for points in (*warm.values(), *cold.values()) for one in points}
    assert kinds == {EntryPoint}


def test_kept_file_is_what_is_asked(site: Site) -> None:
    """Believe a file that holds: listing reads it and nothing else."""
    site.install("dist", GOOD)
    keep_a_lie(site)
    assert entry_points(TOOLS) == [(TOOLS, "lie", "m:Lie")]
    assert index().publishers[0].name == "liar"
    assert publishers()[0].version == "6.6"


@pytest.mark.parametrize("is_on", [True, False])
def test_long_listing_leaves_the_collector_as_it_was(
    site: Site, *, is_on: bool
) -> None:
    """List thousands without the garbage collector, and put it back."""
    site.install("big", {TOOLS: {f"tool_{at}": "m:Tool" for at in range(2000)}})
    keep_it(site)
    before = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        assert len(entry_points(TOOLS)) == 2000
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if before else gc.disable)()


def test_group_that_is_not_read_has_no_entry_points(site: Site) -> None:
    """Say nothing of groups that were never looked at."""
    site.install("script", {"console_scripts": {"run": "m:main"}})
    assert entry_points("console_scripts") == []
    keep_it(site)
    assert entry_points("console_scripts") == []


EITHER_WAY: Final = pytest.mark.parametrize("is_kept", [False, True])


@EITHER_WAY
def test_load_entry_point_imports_that_one_and_nothing_else(
    site: Site, *, is_kept: bool
) -> None:
    """Return the object, and leave the module of the next entry point alone."""
    site.install_tool("first", "first_mod", "first")
    site.install_tool("second", "second_mod", "second")
    assert not is_kept or keep_it(site)
    found = load_entry_point(TOOLS, "second")
    assert isinstance(found, type)
    assert found.__module__ == "second_mod"
    assert "first_mod" not in sys.modules


@EITHER_WAY
def test_load_entry_point_names_near_ones_of_what_is_not_there(
    site: Site, *, is_kept: bool
) -> None:
    """Raise the error of an unknown tool, with the names that hold the one asked."""
    site.install("dist", {TOOLS: {"sum-all": "m:A", "other": "m:B"}})
    assert not is_kept or keep_it(site)
    with pytest.raises(ToolNotFoundError, match="sum-all") as caught:
        load_entry_point(TOOLS, "sum")
    assert "other" not in str(caught.value)
    with pytest.raises(ToolNotFoundError):
        load_entry_point(AGENTS, "sum-all")
    with pytest.raises(ToolNotFoundError):
        load_entry_point("console_scripts", "sum-all")


@EITHER_WAY
def test_load_entry_point_does_not_choose_between_two(
    site: Site, *, is_kept: bool
) -> None:
    """Load neither where two distributions publish one name."""
    site.install_tool("first", "first_mod", "same")
    site.install_tool("second", "second_mod", "same")
    assert not is_kept or keep_it(site)
    with pytest.raises(ToolNotFoundError):
        load_entry_point(TOOLS, "same")
    assert "first_mod" not in sys.modules
    assert "second_mod" not in sys.modules


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("ref_pkg.mod", "<module 'ref_pkg.mod'"),
        ("ref_pkg.mod:Good", "<class 'ref_pkg.mod.Good'"),
        (" ref_pkg.mod : Good ", "<class 'ref_pkg.mod.Good'"),
        ("ref_pkg.mod:Good.execute", "<function Good.execute"),
        ("ref_pkg.mod:Good [extra,more]", "<class 'ref_pkg.mod.Good'"),
        ("ref_pkg.mod[extra]", "<module 'ref_pkg.mod'"),
    ],
)
def test_resolve_takes_every_legal_reference(
    site: Site, reference: str, found: str
) -> None:
    """Import a module or something in one, with spaces and old extras."""
    site.write({"ref_pkg/__init__.py": "", "ref_pkg/mod.py": good_tool("good")})
    assert repr(resolve(reference)).startswith(found)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        ":",
        "json:",
        ":loads",
        "json:loads:loads",
        "json:loads()",
        "js-on",
        "json.:loads",
        "json:.loads",
        "json loads",
        "[extra]",
    ],
)
def test_resolve_refuses_what_is_no_reference(reference: str) -> None:
    """Say what a reference looks like, and import nothing."""
    with pytest.raises(ValueError, match="is no object reference such as"):
        resolve(reference)


def test_resolve_passes_on_what_importing_raises(site: Site) -> None:
    """Let the caller see the import's own error, and the missing attribute."""
    site.write({"raising_mod.py": "raise KeyError('on purpose')"})
    with pytest.raises(KeyError, match="on purpose"):
        resolve("raising_mod:x")
    with pytest.raises(ModuleNotFoundError):
        resolve("no_such_module_anywhere:x")
    with pytest.raises(AttributeError):
        resolve("sys:no_such_attribute")


def test_pydantic_plugins_are_those_of_the_refused(site: Site) -> None:
    """Name what pydantic must not load, and tell nobody's from nobody refused's."""
    site.install("tool", GOOD)
    assert pydantic_plugins(index(), lambda name: True) is None
    site.install("a", {PYDANTIC: {"one": "m:x"}})
    site.install("b", {PYDANTIC: {"two": "m:x", "three": "m:y"}, TOOLS: {"t": "m:T"}})
    found = index()
    assert pydantic_plugins(found, lambda name: False) == frozenset()
    refused = pydantic_plugins(found, lambda name: name == "b")
    assert refused == frozenset({"two", "three"})
    everybody = pydantic_plugins(found, lambda name: True)
    assert everybody == frozenset({"one", "two", "three"})


# --- when the kept file is asked ------------------------------------------------------


def test_index_comes_back_from_its_file_as_it_was_found(
    site: Site, tmp_path: Path
) -> None:
    """Keep folders, stamps, files, publishers, faults and who is hidden."""
    far = Site(tmp_path / "far")
    site.install("dist", GOOD, version="2.0")
    site.install("fault", "[toolkit.tools]\nthis  is  junk\nä = m:x\n")
    far.install("dist", GOOD, version="1.0")
    sys.path += [str(far.folder), str(tmp_path / "missing")]
    settle(far)
    settle(site)
    cold = index()
    assert Path(cache_file(cold.folders)).is_file()
    warm = index()
    for attribute in ("folders", "stamps", "files", "publishers", "is_lasting"):
        assert getattr(warm, attribute) == getattr(cold, attribute)
    (hidden,) = warm.shadowed
    assert (hidden[0].name, hidden[0].version) == ("dist", "1.0")
    assert hidden[1] == str(site.folder / "dist-2.0.dist-info")
    assert hidden[0].folder == cold.shadowed[0][0].folder


def test_empty_environment_is_kept_too(site: Site) -> None:
    """Answer from the file that nobody publishes anything."""
    keep_it(site)
    found = index()
    assert (found.publishers, found.files, found.shadowed) == ([], [], [])


@pytest.mark.parametrize("off", ["off", "0", " No ", "FALSE"])
def test_variable_switches_the_cache_off(
    site: Site, monkeypatch: pytest.MonkeyPatch, off: str
) -> None:
    """Read nothing that is kept, as the operator says (S210)."""
    site.install("dist", GOOD)
    keep_a_lie(site)
    monkeypatch.setenv("TOOLKIT_CACHE", off)
    assert not is_cache_on()
    assert [point.name for point in entry_points(TOOLS)] == ["sum"]
    assert names(site.folder) == [one.name for one in index().publishers] == ["dist"]


@pytest.mark.parametrize("on", ["", "on", "1", "offf"])
def test_any_other_value_leaves_the_cache_on(
    monkeypatch: pytest.MonkeyPatch, on: str
) -> None:
    """Take only the known words for a no."""
    monkeypatch.setenv("TOOLKIT_CACHE", on)
    assert is_cache_on()


def test_index_without_its_cache_neither_reads_nor_writes(
    site: Site, tmp_path: Path
) -> None:
    """Look anew when told to, whatever is kept."""
    site.install("dist", GOOD)
    settle(site)
    assert index(use_cache=False).publishers[0].name == "dist"
    assert not (tmp_path / "cache").exists()
    keep_a_lie(site)
    assert index(use_cache=False).publishers[0].name == "dist"
    assert index().publishers[0].name == "liar"


def edit(site: Site) -> None:
    (site.folder / "dist-1.0.dist-info/entry_points.txt").write_text("[toolkit.tools]")


def remove(site: Site) -> None:
    (site.folder / "dist-1.0.dist-info/entry_points.txt").unlink()


def install(site: Site) -> None:
    site.install("other", GOOD)


def move(site: Site) -> None:
    site.folder.rename(site.folder.with_name("elsewhere"))


@pytest.mark.parametrize("change", [edit, remove, install, move])
def test_file_no_longer_holds_after_a_change(
    site: Site, change: Callable[[Site], None]
) -> None:
    """Look anew as soon as a folder or a file is not as it was."""
    site.install("dist", GOOD)
    keep_a_lie(site)
    change(site)
    assert "liar" not in [one.name for one in index().publishers]


def test_file_no_longer_holds_when_a_folder_is_gone(site: Site) -> None:
    """Look anew even where the folder held nothing that was read."""
    keep_a_lie(site)
    site.folder.rename(site.folder.with_name("elsewhere"))
    assert index().publishers == []


def test_file_that_cannot_be_looked_at_may_stay_so(site: Site) -> None:
    """Believe the kept fault while the file is as unreadable as it was."""
    site.install("tidy", GOOD)
    folder = site.install("loop")
    (folder / "entry_points.txt").symlink_to("entry_points.txt")
    keep_a_lie(site)
    assert index().publishers[0].name == "liar"
    (folder / "entry_points.txt").unlink()
    (folder / "entry_points.txt").write_text(GOOD)
    assert [one.name for one in index().publishers] == ["loop", "tidy"]


def test_file_of_another_path_is_not_believed(site: Site, tmp_path: Path) -> None:
    """Compare the folders themselves, should two paths ever share a file's name."""
    site.install("dist", GOOD)
    file = keep_it(site)
    other = Site(tmp_path / "other")
    other.install("elsewhere", GOOD)
    settle(other)
    sys.path[:] = [str(other.folder)]
    file.rename(cache_file(sys.path))
    assert [one.name for one in index().publishers] == ["elsewhere"]


class Finder:
    """Somebody else's finder, which knows distributions."""

    @classmethod
    def find_spec(cls, *args: object) -> None:
        """Find no module."""

    @classmethod
    def find_distributions(cls, context: object) -> list[object]:
        """Find no distribution."""
        return []


@pytest.mark.parametrize("finder", [Finder, Finder()], ids=["class", "instance"])
def test_nothing_kept_is_believed_beside_a_foreign_finder(
    site: Site, monkeypatch: pytest.MonkeyPatch, finder: object
) -> None:
    """Ask whoever may answer differently each time (S210)."""
    site.install("dist", GOOD)
    keep_a_lie(site)
    assert not has_foreign_finders()
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path, finder])
    assert has_foreign_finders()
    assert [one.name for one in index().publishers] == ["dist"]


def test_finder_of_python_is_not_foreign() -> None:
    """Know the path finder, and importlib-metadata's, by where they come from."""
    assert is_standard_finder(PathFinder)
    assert not is_standard_finder(Finder)
    assert not is_standard_finder(Finder())


# --- where the file is ----------------------------------------------------------------


def test_cache_folder_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go where the user's variable says."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/caches")
    assert cache_folder() == "/somewhere/caches/toolkit-core"


@pytest.mark.parametrize("value", [None, "", "caches", "./caches"])
@pytest.mark.parametrize(
    ("platform", "place"), [("linux", ".cache"), ("darwin", "Library/Caches")]
)
def test_cache_folder_is_in_the_home_without_an_absolute_variable(
    monkeypatch: pytest.MonkeyPatch, value: str | None, platform: str, place: str
) -> None:
    """Ignore a relative path, as the XDG specification says."""
    monkeypatch.setenv("HOME", "/nowhere/somebody")
    monkeypatch.setattr("sys.platform", platform)
    if value is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder() == f"/nowhere/somebody/{place}/toolkit-core"


def nobody_there(uid: int) -> None:
    """Know no user, as in a container that runs under a made-up id."""
    raise KeyError(uid)


@pytest.mark.parametrize("home", [None, "not/absolute"])
def test_user_without_a_home_gets_no_file_in_the_working_folder(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    """Keep nothing where the working folder would decide what is believed."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", nobody_there)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    site.install("dist", GOOD)
    settle(site)
    assert [one.name for one in index().publishers] == ["dist"]
    assert list(work.iterdir()) == []


def test_each_environment_has_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tell environments apart by path, its order, prefix and Python."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    found = {cache_file(path) for path in (["/a"], ["/b"], ["/a", "/b"], ["/b", "/a"])}
    monkeypatch.setattr("sys.prefix", "/other")
    found.add(cache_file(["/a"]))
    monkeypatch.setattr(sys.implementation, "cache_tag", "cpython-399")
    found.add(cache_file(["/a"]))
    assert len(found) == 6
    assert {os.path.dirname(one) for one in found} == {"/c/toolkit-core"}  # noqa: PTH120 - a text
    assert cache_file(["/\udcff"])


def test_path_is_texts_made_absolute_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep the order, and ignore what an import ignores."""
    monkeypatch.chdir(tmp_path)
    path = ["/b", "", "/a", "/b", b"/bytes", None, Path("/path"), "here", "./here"]
    assert absolute_path(path) == ["/b", str(tmp_path), "/a", f"{tmp_path}/here"]


def test_path_of_a_folder_that_is_gone_is_looked_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave out what is relative to a working folder that is not there any more."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert absolute_path(["", "/a", "here"]) == ["/a"]


def test_sum_tells_damage_from_health() -> None:
    """Differ for each changed byte, and be a word of sixteen letters."""
    data = bytes(range(256))
    damaged = [data[:at] + b"?" + data[at + 1 :] for at in range(256) if at != 63]
    assert len({sum_of(one) for one in (data, *damaged)}) == 256
    assert len(sum_of(data)) == len(sum_of(b"")) == 16


def test_first_words_name_format_and_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a file so that no other version and no other Python believes it."""
    assert first_words().startswith("toolkit index ")
    assert first_words().endswith(str(sys.implementation.cache_tag))


# --- the file, and what can happen to it ----------------------------------------------


@pytest.fixture
def kept(site: Site) -> Path:
    """Keep a small environment; return its file."""
    site.install("dist", GOOD)
    return keep_it(site)


def forged(body: bytes, *, size: int | None = None, total: int | None = None) -> bytes:
    """Make a file whose sums are right, whatever it says."""
    size = len(body) if size is None else size
    total = HEADER + len(body) if total is None else total
    fields = (first_words(), size, 0, total, sum_of(body), sum_of(b""))
    return "\t".join(map(str, fields)).encode().ljust(HEADER) + body


def is_believed(file: Path) -> bool:
    """Tell whether a file is read; what is no text, or no file, is not."""
    try:
        return read_sections(str(file)) is not None
    except (OSError, ValueError):
        return False


def test_sections_are_read_whole(kept: Path) -> None:
    """Read the path, the stamps, the files, who publishes, and each group."""
    sections = read_sections(str(kept))
    assert sections is not None
    assert len(sections) == 7 + len(READ)
    assert sections[7] == "sum\npkg.tools:Sum\n0"


def test_sections_longer_than_one_read_are_read_whole(site: Site) -> None:
    """Go on reading where an index does not fit the first read."""
    points = {f"tool_{number}": f"m:Tool{number}" for number in range(6000)}
    site.install("big", {TOOLS: points})
    file = keep_it(site)
    assert file.stat().st_size > 1 << 17
    sections = read_sections(str(file))
    assert sections is not None
    assert len(sections[7].split("\n")) == 2 * 6000 + 1
    assert {point.name for point in entry_points(TOOLS)} == set(points)


def test_file_that_is_cut_off_anywhere_is_not_believed(kept: Path) -> None:
    """Notice each length that is not the whole one, and a byte too many."""
    whole = kept.stat().st_size
    os.truncate(kept, whole + 1)
    assert not is_believed(kept)
    os.truncate(kept, whole)
    assert is_believed(kept)
    for length in range(whole - 1, -1, -1):
        os.truncate(kept, length)
        assert not is_believed(kept), length


def test_file_with_any_damaged_byte_tells_no_lie(kept: Path) -> None:
    """Notice damage in every byte that the answer depends on."""
    data = kept.read_bytes()
    true = read_sections(str(kept))
    unnoticed = set()
    with kept.open("r+b", buffering=0) as stream:
        for at, new in ((at, new) for at in range(len(data)) for new in b"\x00\t9"):
            os.pwrite(stream.fileno(), bytes([new]), at)
            if data[at] != new and is_believed(kept):
                assert read_sections(str(kept)) == true
                unnoticed.add(at)
            os.pwrite(stream.fileno(), data[at : at + 1], at)
    padding = range(len(data[:HEADER].rstrip()) - 16, HEADER)  # the definitions' sum
    length = data.index(b"\t", data.index(b"\t") + 1) + 1  # and their length
    assert unnoticed <= {length, *padding}


@pytest.mark.parametrize(
    "data",
    [
        forged(b"too few sections"),
        forged(b"\x1e" * 42),
        forged(b"\xff" + b"\x1e" * (6 + len(READ))),
        forged(b"", size=-1),
        forged(b"text", size=400),
        forged(b"text", size=10**15),
        forged(b"text", size=HUGE),
        forged(b"text", total=HUGE),
        forged(b"text").replace(b"index 1", b"index 0"),
        forged(b"text").replace(b"cpython-3", b"cpython-9"),
        b"",
        b"\x00" * 1000,
        b"\t" * 1000,
        "toolkit index".encode("utf-16") * 50,
    ],
    ids=[
        "too few sections",
        "too many sections",
        "no text",
        "negative length",
        "longer than the file",
        "longer than the memory",
        "longer than any file",
        "total that is none",
        "another version's",
        "another Python's",
        "empty",
        "zeroes",
        "tabs",
        "utf-16",
    ],
)
def test_file_that_is_not_ours_is_not_believed(site: Site, data: bytes) -> None:
    """Read anew, without a word, whatever is in the file (B12)."""
    site.install("dist", GOOD)
    file = keep_it(site)
    assert is_believed(file)
    file.write_bytes(data)
    assert not is_believed(file)
    assert [point.name for point in entry_points(TOOLS)] == ["sum"]


@pytest.mark.parametrize("numbers", ["zz", "0", "00", "é", "-1", ""])
def test_file_with_numbers_that_are_none_is_not_believed(
    site: Site, numbers: str
) -> None:
    """Read anew where the sums are right and the content is nonsense all the same."""
    site.install("dist", GOOD)
    file = keep_it(site)
    for place in (1, 3, 4):
        sections = read_sections(str(file))
        assert sections is not None
        sections[place] = numbers
        file.write_bytes(forged("\x1e".join(sections).encode()))
        assert is_believed(file)
        assert [point.name for point in entry_points(TOOLS)] == ["sum"]
        assert [one.name for one in index().publishers] == ["dist"]


def test_file_with_too_few_sections_is_not_believed(site: Site) -> None:
    """Read anew where the sums are right and the end is missing all the same."""
    site.install("dist", GOOD)
    file = keep_it(site)
    sections = read_sections(str(file))
    assert sections is not None
    for count in range(len(sections)):
        file.write_bytes(forged("\x1e".join(sections[:count]).encode()))
        assert not is_believed(file)
        assert [point.name for point in entry_points(TOOLS)] == ["sum"]
        file.write_bytes(forged("\x1e".join(sections[:count]).encode()))
        assert [one.name for one in index().publishers] == ["dist"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_may_write_is_not_believed(kept: Path, mode: int) -> None:
    """Trust only what nobody but this user could have written."""
    kept.chmod(mode)
    assert read_sections(str(kept)) is None


def test_file_of_another_user_is_not_believed(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare the owner with who runs this process."""
    owner = kept.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    assert read_sections(str(kept)) is None


def test_file_is_private_where_there_are_no_owners(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ask for no owner on a system that has none."""
    kept.chmod(0o666)
    assert not is_private(kept.stat())
    monkeypatch.delattr("os.geteuid")
    assert is_private(kept.stat())


def test_what_is_no_file_is_not_believed_and_blocks_nothing(kept: Path) -> None:
    """Come back from a missing file, a folder, and a pipe that nobody writes."""
    kept.unlink()
    assert not is_believed(kept)
    kept.mkdir()
    assert not is_believed(kept)
    kept.rmdir()
    os.mkfifo(kept)
    assert not is_believed(kept)
    assert [point.name for point in entry_points(TOOLS)] == ["sum"]
