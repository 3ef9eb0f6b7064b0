"""The lock: what is written down of a distribution, and every way to differ from it."""

import base64
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import Site, importable, open_site
from toolkit.discovery.index import PYDANTIC, TOOLS, EntryPoint, Publisher, publishers
from toolkit.discovery.trust import (
    LOCK_FILE,
    MAX_DIFFERENCES,
    Lock,
    LockedDistribution,
    differences,
    measure,
    refusal,
)
from toolkit.errors import ConfigurationError

pytestmark = pytest.mark.integration  # real files or processes in every test

SOURCES = {
    "trust_plug/__init__.py": "",
    "trust_plug/tools.py": "A = 1\n",
    "trust_plug/data.txt": "data\n",
}
POINTS = {TOOLS: {"a": "trust_plug.tools:A"}}


class Plug:
    """A distribution installed as pip does it, with its RECORD; belongs to one test."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.install("trust-plug", POINTS, SOURCES)
        (self.folder / "WHEEL").write_text("Wheel-Version: 1.0\n")
        self.record()

    def rows(self, files: Iterable[str] = SOURCES) -> list[str]:
        metadata = (f"{self.folder.name}/{one.name}" for one in self.folder.iterdir())
        names = {*files, *metadata} - {f"{self.folder.name}/RECORD"}
        return [row(self.site.folder, name) for name in sorted(names)]

    def record(self, *more: str, files: Iterable[str] = SOURCES) -> None:
        rows = [*self.rows(files), *more, f"{self.folder.name}/RECORD,,"]
        (self.folder / "RECORD").write_text("\n".join(rows) + "\n", "utf-8")

    def file(self, name: str) -> Path:
        return self.site.folder / name

    def publisher(self) -> Publisher:
        (found,) = publishers([str(self.site.folder)])
        return found

    def measure(self) -> LockedDistribution:
        return measure(self.publisher(), ["b", "a"])

    def differences(self, locked: LockedDistribution | None) -> tuple[str, ...]:
        return differences(locked, self.publisher())


def row(folder: Path, name: str) -> str:
    """Return a row of RECORD, as the specification writes it."""
    data = (folder / name).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
    return f"{name},sha256={digest.rstrip('=')},{len(data)}"


def sum_of(file: Path) -> str:
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    with open_site(tmp_path) as site:
        yield Plug(site)


# --- what is measured ---------------------------------------------------------------


def test_what_is_locked_says_all_that_counts(plug: Plug) -> None:
    """Measure version, RECORD, each listed file, entry points and tools."""
    found = plug.measure()
    info = plug.folder.name
    assert found.version == "1.0"
    assert found.record.startswith("sha256:")
    assert sorted(found.files) == [
        f"{info}/METADATA",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        *sorted(SOURCES),
    ]
    assert all(sum_of(plug.file(path)) == one for path, one in found.files.items())
    assert found.entry_points == POINTS
    assert found.tools == ("a", "b")
    assert found.editable is False


def test_nothing_is_imported_to_measure_a_distribution(plug: Plug) -> None:
    """Find the code of a distribution without running a line of it."""
    plug.file("trust_plug/__init__.py").write_text("raise SystemExit('imported')\n")
    locked = plug.measure()
    assert plug.differences(locked) == ()
    assert not any(name.startswith("trust_plug") for name in sys.modules)


def test_what_is_as_it_was_is_trusted(plug: Plug) -> None:
    """Say nothing of a distribution that is exactly as it was locked."""
    locked = plug.measure()
    assert plug.differences(locked) == ()
    assert refusal(Lock({"trust-plug": locked}), plug.publisher()) == ""


# --- files --------------------------------------------------------------------------


def test_one_byte_changed_is_named_with_both_sums(plug: Plug) -> None:
    """Say which file changed, from which sum to which."""
    locked = plug.measure()
    file = plug.file("trust_plug/tools.py")
    old = sum_of(file)[:15]
    file.write_text("A = 2\n")
    new = sum_of(file)[:15]
    assert old != new
    assert plug.differences(locked) == (
        f"file trust_plug/tools.py changed ({old}… locked, now {new}…)",
    )


def test_change_is_seen_whatever_the_time_and_size_of_the_file(plug: Plug) -> None:
    """Compare contents: a time can be set back, and a size kept."""
    locked = plug.measure()
    file = plug.file("trust_plug/data.txt")
    before = file.stat()
    file.write_text("DATA\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    (told,) = plug.differences(locked)
    assert told.startswith("file trust_plug/data.txt changed")


def test_file_that_is_gone_is_missing(plug: Plug) -> None:
    """Say which listed file is not there any more."""
    locked = plug.measure()
    plug.file("trust_plug/tools.py").unlink()
    assert plug.differences(locked) == ("file trust_plug/tools.py missing",)


@pytest.mark.parametrize(
    "name",
    [
        "trust_plug/extra.py",
        "trust_plug/tools.pyc",
        "trust_plug/tools.cpython-311-x86_64-linux-gnu.so",
        "trust_plug/tools.pyd",
        "trust_plug/deep/er/extra.py",
    ],
)
def test_code_that_nobody_listed_is_added(plug: Plug, name: str) -> None:
    """Refuse what scanning the package, or an import, would run as well."""
    locked = plug.measure()
    plug.site.write({name: "B = 1\n"})
    assert plug.differences(locked) == (f"file {name} added",)


@pytest.mark.parametrize(
    "name",
    [
        "trust_plug/__pycache__/tools.cpython-311.pyc",
        "trust_plug/__pycache__/extra.py",
        "trust_plug/notes.txt",
        "other_plug/__init__.py",
        "other.py",
    ],
)
def test_what_no_import_of_it_runs_is_not_counted(plug: Plug, name: str) -> None:
    """Leave alone cached byte code, data that appeared, and what is of others."""
    locked = plug.measure()
    plug.site.write({name: "B = 1\n"})
    assert plug.differences(locked) == ()


def test_packages_that_no_entry_point_leads_to_count_too(plug: Plug) -> None:
    """Watch every package that RECORD lists files of: the others may import it."""
    plug.site.write({"trust_more/__init__.py": "", "trust_more/deep/data.txt": ""})
    plug.record(files=[*SOURCES, "trust_more/deep/data.txt"])
    locked = plug.measure()
    plug.site.write({"trust_more/extra.py": ""})
    assert plug.differences(locked) == ("file trust_more/extra.py added",)


def test_listed_byte_code_without_a_source_is_code(plug: Plug) -> None:
    """Count a module that is published compiled, in no cache folder."""
    plug.site.write({"trust_plug/compiled.pyc": "1"})
    plug.record(files=[*SOURCES, "trust_plug/compiled.pyc"])
    locked = plug.measure()
    assert "trust_plug/compiled.pyc" in locked.files
    plug.site.write({"trust_plug/compiled.pyc": "2"})
    (told,) = plug.differences(locked)
    assert told.startswith("file trust_plug/compiled.pyc changed")


def test_file_that_cannot_be_read_is_never_trusted(plug: Plug) -> None:
    """Report what stands in a file's place, even if it was so when it was locked."""
    file = plug.file("trust_plug/tools.py")
    locked = plug.measure()
    file.unlink()
    file.mkdir()
    told = ("file trust_plug/tools.py cannot be read: OSError: it is no plain file",)
    assert plug.differences(locked) == told
    assert plug.differences(plug.measure()) == told


def test_file_without_permission_is_a_difference(plug: Plug) -> None:
    """Say of a file that may not be read why it cannot, and raise nothing."""
    locked = plug.measure()
    file = plug.file("trust_plug/data.txt")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    (told,) = plug.differences(locked)
    reason = "PermissionError: Permission denied"
    assert told == f"file trust_plug/data.txt cannot be read: {reason}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipe_in_the_place_of_a_file_is_not_waited_for(plug: Plug) -> None:
    """Report a pipe, from which reading would never end."""
    locked = plug.measure()
    file = plug.file("trust_plug/tools.py")
    file.unlink()
    os.mkfifo(file)
    (told,) = plug.differences(locked)
    assert told.startswith("file trust_plug/tools.py cannot be read")


def test_folder_that_cannot_be_looked_into_is_a_difference(plug: Plug) -> None:
    """Report a link that leads to itself: what is behind it is not known."""
    locked = plug.measure()
    plug.file("trust_plug/loop").symlink_to("loop")
    (told,) = plug.differences(locked)
    assert told.startswith("file trust_plug cannot be read: OSError: ")


def test_folder_that_links_back_up_is_walked_once(plug: Plug) -> None:
    """Come to an end, and count no code twice."""
    locked = plug.measure()
    plug.file("trust_plug/again").symlink_to(plug.file("trust_plug"))
    assert plug.differences(locked) == ()


def test_code_behind_a_link_is_counted(plug: Plug, tmp_path: Path) -> None:
    """Follow a link to a folder as an import does."""
    locked = plug.measure()
    Site(tmp_path / "elsewhere").write({"extra.py": "B = 1\n"})
    plug.file("trust_plug/linked").symlink_to(tmp_path / "elsewhere")
    assert plug.differences(locked) == ("file trust_plug/linked/extra.py added",)


# --- RECORD -------------------------------------------------------------------------


def test_record_is_the_same_whichever_installer_wrote_it(plug: Plug) -> None:
    """Ignore the order of rows, byte code, scripts, and what installers add."""
    locked = plug.measure()
    info = plug.folder.name
    for name in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"):
        (plug.folder / name).write_text("{}")
    own = [one for one in plug.rows() if not one.startswith(info)]
    metadata = [one for one in plug.rows() if one.startswith(info)]
    rows = [
        *reversed(metadata),
        "trust_plug/__pycache__/tools.cpython-311.pyc,,",
        "../../../bin/plug,sha256=abc,9",
        *reversed(own),
        *(one.replace("trust_plug/", "./trust_plug/", 1) for one in own[:1]),
        str(plug.file(own[1])),
        "",
    ]
    (plug.folder / "RECORD").write_text("\n".join(rows), "utf-8")
    assert plug.measure() == locked
    assert plug.differences(locked) == ()


def test_rows_that_climb_out_of_the_site_folder_are_left_out(plug: Plug) -> None:
    """Neither open nor name what RECORD lists of other folders."""
    outside = plug.site.folder.parent / "script"
    outside.write_text("1")
    locked = plug.measure()
    more = ["../script,,", "trust_plug/../../script,,", f"{outside},,", "..,,", ".,,"]
    plug.record(*more)
    assert plug.measure() == locked


def test_rows_that_come_back_into_the_site_folder_count(plug: Plug) -> None:
    """Take a path for where it leads, however it is written."""
    plug.site.write({"trust_plug/more.txt": "1"})
    plug.record("../site/trust_plug/more.txt,,")
    assert "trust_plug/more.txt" in plug.measure().files


def test_record_that_says_something_else_differs(plug: Plug) -> None:
    """Report another sum or another file in RECORD, though no file is different."""
    locked = plug.measure()
    plug.record("trust_plug/never_there.py,,")
    (told,) = plug.differences(locked)
    assert told.startswith("RECORD changed (sha256:")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"trust_plug/\xff.py,,\n", "UnicodeDecodeError"),
        (b'"trust_plug/a.py"b,,\n', "Error: "),
        (b'"trust_plug/a.py,,\n', "Error: "),
    ],
    ids=["not UTF-8", "not CSV", "open quote"],
)
def test_record_that_cannot_be_read_is_the_difference(
    plug: Plug, content: bytes, why: str
) -> None:
    """Say that it cannot be read, not that everything is missing; never trust it."""
    locked = plug.measure()
    (plug.folder / "RECORD").write_bytes(content)
    for one in (locked, plug.measure()):
        (told,) = plug.differences(one)
        assert told.startswith(f"RECORD cannot be read: {why}")


@pytest.mark.parametrize("name", ["\0", "x" * 300], ids=["NUL", "too long"])
def test_impossible_names_in_record_are_differences(plug: Plug, name: str) -> None:
    """Report a name that no file can have, in one line; raise nothing."""
    locked = plug.measure()
    plug.record(f"{name}/a.py,,")
    told = plug.differences(locked)
    assert told[-2].startswith("file ")
    assert "/a.py cannot be read: " in told[-2]
    assert told[-1].startswith("RECORD changed")
    assert all(one.isprintable() for one in told)


# --- version, entry points, no lock -------------------------------------------------


def test_other_version_is_said_as_such(plug: Plug) -> None:
    """Name both versions, and not each of the files that differ anyway."""
    locked = plug.measure()
    plug.folder.rename(plug.file("trust_plug-1.1.dist-info"))
    assert plug.differences(locked) == ("version 1.0 locked, 1.1 installed",)


def test_entry_points_that_differ_are_named(plug: Plug) -> None:
    """Say which were added, which are missing, and which lead elsewhere."""
    locked = plug.measure()
    points = {TOOLS: {"b": "trust_plug:B"}, PYDANTIC: {"p": "trust_plug:P"}}
    lock = replace(locked, entry_points={TOOLS: {"a": "trust_plug:X", "z": "m:Z"}})
    added = replace(locked, entry_points={})
    changed = "changed (trust_plug:X locked, now trust_plug.tools:A)"
    assert plug.differences(lock) == (
        f"entry point a in toolkit.tools {changed}",
        "entry point z in toolkit.tools missing",
    )
    assert plug.differences(added) == ("entry point a in toolkit.tools added",)
    text = "".join(
        f"[{k}]\n{n} = {r}\n" for k, v in points.items() for n, r in v.items()
    )
    (plug.folder / "entry_points.txt").write_text(text)
    told = plug.differences(locked)
    assert told[:3] == (
        "entry point a in toolkit.tools missing",
        "entry point b in toolkit.tools added",
        "entry point p in pydantic added",
    )
    assert told[3].startswith(f"file {plug.folder.name}/entry_points.txt changed")


def test_entry_point_that_stands_twice_is_locked_with_both(plug: Plug) -> None:
    """Lose neither of two references under one name."""
    (plug.folder / "entry_points.txt").write_text("[toolkit.tools]\na = m:X\na = m:Y\n")
    assert plug.measure().entry_points == {TOOLS: {"a": "m:X, m:Y"}}


def test_what_is_not_in_the_lock_is_not_trusted(plug: Plug) -> None:
    """Refuse in one line, with the remedy."""
    assert plug.differences(None) == ("it is not in the lock",)
    assert refusal(Lock({}), plug.publisher()) == (
        "trust-plug 1.0 is not trusted: it is not in the lock; "
        "run `toolkit lock` again if that is right"
    )


def test_what_is_in_a_zip_file_cannot_be_locked(plug: Plug, tmp_path: Path) -> None:
    """Say how to install it, as running the lock again would not help."""
    place = tmp_path / "plug.zip"
    with zipfile.ZipFile(place, "w") as file:
        for one in plug.folder.iterdir():
            file.write(one, f"{plug.folder.name}/{one.name}")
    (zipped,) = publishers([str(place)])
    assert zipped.entry_points == plug.publisher().entry_points
    told = "it is not in a plain folder, so it cannot be locked; install it unpacked"
    locked = plug.measure()
    assert differences(locked, zipped) == (told,)
    assert differences(measure(zipped), zipped) == (told,)
    assert measure(zipped).record.startswith("unreadable: ")
    lock = Lock({"trust-plug": locked})
    assert refusal(lock, zipped) == f"trust-plug 1.0 is not trusted: {told}"


def test_many_differences_are_counted(plug: Plug) -> None:
    """Show the first, and say how many more there are; a refusal is one line."""
    locked = plug.measure()
    plug.site.write({f"trust_plug/x{one:02}.py": "" for one in range(14)})
    told = plug.differences(locked)
    assert len(told) == MAX_DIFFERENCES + 1
    assert told[0] == "file trust_plug/x00.py added"
    assert told[-1] == "and 4 more"
    line = refusal(Lock({"trust-plug": locked}), plug.publisher())
    assert line == (
        "trust-plug 1.0 is not trusted: file trust_plug/x00.py added; "
        "file trust_plug/x01.py added; file trust_plug/x02.py added; and 11 more; "
        "run `toolkit lock` again if that is right"
    )


# --- where the code is --------------------------------------------------------------


@pytest.fixture
def editable(tmp_path: Path) -> Iterator[Plug]:
    """Install the plug as an editable install does: a path file, and no code."""
    source = Site(tmp_path / "src")
    source.write(SOURCES)
    with open_site(tmp_path) as site:
        for name in SOURCES:
            (tmp_path / name).parent.mkdir(exist_ok=True)
        plug = Plug(site)
        for name in SOURCES:
            plug.file(name).unlink()
        plug.file("trust_plug").rmdir()
        plug.file("_trust_plug.pth").write_text(f"{source.folder}\n")
        text = json.dumps({"dir_info": {"editable": True}, "url": "file:///src"})
        (plug.folder / "direct_url.json").write_text(text)
        plug.record(files=["_trust_plug.pth"])
        with importable(source.folder):
            yield plug


def test_editable_install_is_locked_with_its_sources(
    editable: Plug, tmp_path: Path
) -> None:
    """Hash every file of the package that its entry points lead to, byte code not."""
    cached = tmp_path / "src/trust_plug/__pycache__/tools.cpython-311.pyc"
    cached.parent.mkdir()
    cached.write_text("")
    locked = editable.measure()
    assert locked.editable is True
    assert {*SOURCES, "_trust_plug.pth"} < set(locked.files)
    assert not any("__pycache__" in path for path in locked.files)
    assert editable.differences(locked) == ()
    Site(tmp_path / "src").write({"trust_plug/data.txt": "other\n"})
    Site(tmp_path / "src").write({"trust_plug/notes.txt": "new\n"})
    changed, added = editable.differences(locked)
    assert changed.startswith("file trust_plug/data.txt changed")
    assert added == "file trust_plug/notes.txt added"


def test_change_to_or_from_an_editable_install_is_said(
    editable: Plug, plug_elsewhere: Plug
) -> None:
    """Tell that what was locked is another kind of install."""
    was, other = editable.measure(), plug_elsewhere.measure()
    told = editable.differences(other)
    assert told[0] == "it was not locked as an editable install, and now it is one"
    told = plug_elsewhere.differences(was)
    assert told[0] == "it was locked as an editable install, and now it is not one"


@pytest.fixture
def plug_elsewhere(tmp_path: Path) -> Plug:
    return Plug(Site(tmp_path / "another"))


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "not JSON", '{"dir_info": {}}', '{"dir_info": {"editable": false}}'],
)
def test_other_direct_urls_make_no_install_editable(plug: Plug, content: str) -> None:
    """Believe only what says that it is editable, and survive anything."""
    (plug.folder / "direct_url.json").write_text(content)
    assert plug.measure().editable is False


def test_source_tree_without_record_is_locked_with_its_sources(tmp_path: Path) -> None:
    """Lock what an .egg-info beside the sources publishes, all of its package."""
    with open_site(tmp_path) as site:
        site.write(SOURCES)
        site.write({"trust_plug.egg-info/PKG-INFO": "Name: trust-plug\nVersion: 1\n"})
        points = "[toolkit.tools]\na = trust_plug [extra]\n"
        site.write({"trust_plug.egg-info/entry_points.txt": points})
        (publisher,) = publishers([str(site.folder)])
        locked = measure(publisher)
        assert (locked.editable, locked.record) == (True, "")
        assert sorted(locked.files) == sorted(SOURCES)
        site.write({"trust_plug/tools.py": "A = 3\n"})
        (told,) = differences(locked, publisher)
        assert told.startswith("file trust_plug/tools.py changed")


def test_package_that_hides_the_installed_one_is_refused(
    plug: Plug, tmp_path: Path
) -> None:
    """Compare what would be imported, and say where it comes from."""
    locked = plug.measure()
    hiding = Site(tmp_path / "hiding")
    hiding.write({"trust_plug/__init__.py": "", "trust_plug/tools.py": "A = 2\n"})
    with importable(hiding.folder):
        told = plug.differences(locked)
    place = hiding.folder / "trust_plug/__init__.py"
    assert told[0] == f"its code comes from {place.as_posix()}"
    assert told[1].startswith("file trust_plug/tools.py changed")
    assert len(told) == 2


@pytest.mark.parametrize("name", ["trust_one/__init__.py", "trust_one.abi3.so"])
def test_module_that_hides_a_listed_one_is_added(tmp_path: Path, name: str) -> None:
    """See a package or an extension that Python takes before the listed module."""
    with open_site(tmp_path) as site:
        folder = site.install(
            "one", {TOOLS: {"a": "trust_one:A"}}, {"trust_one.py": ""}
        )
        (folder / "RECORD").write_text("trust_one.py,,\n")
        (publisher,) = publishers([str(site.folder)])
        locked = measure(publisher)
        assert list(locked.files) == ["trust_one.py"]
        assert differences(locked, publisher) == ()
        site.write({name: "A = 1\n"})
        assert differences(locked, publisher) == (f"file {name} added",)


def test_namespace_is_shared_without_being_trusted_as_a_whole(tmp_path: Path) -> None:
    """Count only its own part of a namespace package, in whatever depth it is."""
    with open_site(tmp_path) as site:
        files = {"trust_ns/sub/plug/__init__.py": "", "trust_ns/sub/plug/t.py": ""}
        points = {TOOLS: {"a": "trust_ns.sub.plug.t:A"}}
        folder = site.install("part", points, files)
        (folder / "RECORD").write_text("".join(f"{one},,\n" for one in files))
        (publisher,) = publishers([str(site.folder)])
        locked = measure(publisher)
        assert sorted(locked.files) == sorted(files)
        site.write({"trust_ns/sub/other/__init__.py": "", "trust_ns/own.py": ""})
        assert differences(locked, publisher) == ()
        site.write({"trust_ns/sub/plug/extra.py": ""})
        told = ("file trust_ns/sub/plug/extra.py added",)
        assert differences(locked, publisher) == told


def test_namespace_in_a_source_tree_is_followed_to_the_package(tmp_path: Path) -> None:
    """Find a package that is in a namespace in a namespace, without importing them."""
    with open_site(tmp_path) as site:
        files = {"trust_ns/sub/plug/__init__.py": "", "trust_ns/sub/plug/t.py": ""}
        site.write({**files, "trust_ns/sub/other.py": ""})
        points = [EntryPoint(TOOLS, "a", "trust_ns.sub.plug.t:A")]
        folder = f"{site.folder}/part.egg-info"
        found = measure(Publisher("part", "1", points, folder=folder))
        assert sorted(found.files) == sorted(files)


def test_namespace_that_is_published_counts_as_a_whole(tmp_path: Path) -> None:
    """Count every part of a namespace that will be scanned, wherever it is."""
    other = Site(tmp_path / "other")
    with open_site(tmp_path) as site, importable(other.folder):
        points = {TOOLS: {"a": "trust_ns"}}
        folder = site.install("whole", points, {"trust_ns/one.py": ""})
        (folder / "RECORD").write_text("trust_ns/one.py,,\n")
        (publisher,) = publishers([str(site.folder)])
        locked = measure(publisher)
        assert list(locked.files) == ["trust_ns/one.py"]
        other.write({"trust_ns/two.py": ""})
        assert differences(locked, publisher) == ("file trust_ns/two.py added",)


class Finder:
    """A finder as an editable install of setuptools has one, but it raises."""

    def __init__(self, specs: dict[str, ModuleSpec]) -> None:
        self.specs = specs

    def find_spec(self, name: str, path: object = None) -> ModuleSpec:
        return self.specs[name]


def spec(name: str, origin: str | None, *folders: str) -> ModuleSpec:
    found = ModuleSpec(name, None, origin=origin, is_package=bool(folders))
    if folders:
        found.submodule_search_locations = [*folders]
    return found


@pytest.fixture
def measured_by(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, dict[str, ModuleSpec]], dict[str, str]]:
    """Measure a source tree whose modules only a finder knows."""

    def files(reference: str, specs: dict[str, ModuleSpec]) -> dict[str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "meta_path", [*sys.meta_path, Finder(specs)])
            points = [EntryPoint(TOOLS, "a", reference)]
            folder = "/nowhere/tree.egg-info"
            return dict(measure(Publisher("tree", "1", points, folder=folder)).files)

    return files


MeasuredBy = Callable[[str, dict[str, ModuleSpec]], dict[str, str]]


def test_code_that_a_finder_maps_elsewhere_is_found(
    measured_by: MeasuredBy, tmp_path: Path
) -> None:
    """Follow the finder of an editable install, under the names of the modules."""
    code = Site(tmp_path / "odd")
    code.write({"__init__.py": "", "tools.py": "", "single.py": ""})
    init, single = (str(code.folder / one) for one in ("__init__.py", "single.py"))
    package = spec("trust_map", init, str(code.folder))
    found = measured_by("trust_map.tools:A", {"trust_map": package})
    names = ["__init__.py", "single.py", "tools.py"]
    assert sorted(found) == [f"trust_map/{one}" for one in names]
    module = {"trust_map": spec("trust_map", single)}
    assert list(measured_by("trust_map:A", module)) == ["single.py"]
    namespace = {
        "trust_map": spec("trust_map", None, "__mark__.finder", str(tmp_path / "no")),
        "trust_map.sub": spec("trust_map.sub", init, str(code.folder)),
    }
    found = measured_by("trust_map.sub", namespace)
    assert sorted(found) == [f"trust_map/sub/{one}" for one in names]
    only = {"trust_map": spec("trust_map", None, "__mark__", str(code.folder))}
    assert sorted(measured_by("trust_map", only)) == [f"trust_map/{n}" for n in names]


def test_code_in_no_plain_file_is_never_trusted(
    measured_by: MeasuredBy, tmp_path: Path
) -> None:
    """Mark code in zip files and in memory: it cannot be compared."""
    unknown = "unreadable: it is in no plain file"
    zipped = f"{tmp_path}/x.zip/trust_map"
    package = spec("trust_map", f"{zipped}/__init__.pyc", zipped)
    found = measured_by("trust_map", {"trust_map": package})
    assert found.pop("trust_map/__init__.pyc") == unknown
    assert found.pop("trust_map").startswith("unreadable: FileNotFoundError")
    assert found == {}
    memory = {"trust_map": spec("trust_map", None)}
    for reference in ("trust_map:A", "trust_map.json"):
        assert measured_by(reference, memory) == {"trust_map": unknown}


@pytest.mark.parametrize(
    "reference",
    ["sys:exit", "zipimport:zipimporter", "no_such_module_at_all:x", "", "a..b:c"],
)
def test_python_itself_and_what_is_nowhere_have_no_files(
    measured_by: MeasuredBy, reference: str
) -> None:
    """Lock nothing for what is built in, and for what an import would not find."""
    assert measured_by(reference, {}) == {}


def test_distribution_is_trusted_with_the_code_of_others_it_publishes(
    plug: Plug, tmp_path: Path
) -> None:
    """Lock the module an entry point leads to, whoever installed it, and wherever."""
    other = Site(tmp_path / "other")
    other.write({"trust_other.py": "A = 1\n"})
    points = "[toolkit.tools]\na = trust_other:A\n"
    (plug.folder / "entry_points.txt").write_text(points)
    with importable(other.folder):
        locked = plug.measure()
        assert plug.differences(locked) == ()
        other.write({"trust_other.py": "A = 2\n"})
        place, told = plug.differences(locked)
    assert place == f"its code comes from {other.folder.as_posix()}/trust_other.py"
    assert told.startswith("file trust_other.py changed")


# --- the file -----------------------------------------------------------------------


def test_lock_is_read_as_it_was_written(plug: Plug, tmp_path: Path) -> None:
    """Keep everything, and say what is not in it."""
    lock = Lock({"trust-plug": plug.measure()})
    lock.write(tmp_path / LOCK_FILE)
    found = Lock.read(str(tmp_path / LOCK_FILE))
    assert found == lock
    assert found.get("trust-plug") == plug.measure()
    assert found.get("other") is None


def test_equal_locks_are_equal_byte_for_byte(plug: Plug, tmp_path: Path) -> None:
    """Write nothing that depends on time, place or order, for people to compare."""
    one = plug.measure()
    turned = replace(
        one,
        files=dict(reversed([*one.files.items()])),
        entry_points=dict(reversed([*one.entry_points.items()])),
    )
    first, second = tmp_path / "first", tmp_path / "second"
    Lock({"trust-plug": one, "b": one}).write(first)
    Lock({"b": turned, "trust-plug": turned}).write(second)
    data = first.read_bytes()
    assert data == second.read_bytes()
    Lock.read(first).write(str(first))
    assert data == first.read_bytes()
    assert data.endswith(b"}\n")
    assert str(tmp_path).encode() not in data
    assert json.loads(data)["format"] == 1
    assert sorted(one.name for one in tmp_path.glob("*st*")) == ["first"]


def test_lock_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """Replace the file at once or not at all, and leave nothing else behind."""
    place = tmp_path / LOCK_FILE
    place.mkdir()
    (place / "kept").touch()
    with pytest.raises(OSError, match=LOCK_FILE.replace(".", r"\.")):
        Lock({}).write(place)
    assert [one.name for one in tmp_path.iterdir()] == [LOCK_FILE]
    with pytest.raises(FileNotFoundError):
        Lock({}).write(tmp_path / "no" / LOCK_FILE)
    assert [one.name for one in place.iterdir()] == ["kept"]


GOOD: dict[str, Any] = {
    "version": "1",
    "record": "",
    "files": {},
    "entry_points": {},
    "tools": [],
    "editable": False,
}


def lock_with(**values: object) -> bytes:
    return json.dumps({"format": 1, "distributions": {"a": GOOD | values}}).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "JSONDecodeError"),
        (b"<<<<<<< ours\n{}", "JSONDecodeError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[" * 100_000, "RecursionError"),
        (b'{"a": 1, "a": 2}', "a name stands twice"),
        (b"[]", "it has not the format 1"),
        (b'{"format": 2, "distributions": {}}', "it has not the format 1"),
        (b'{"format": 1}', "distributions is not written as it should be"),
        (b'{"format": 1, "distributions": []}', "distributions is not written"),
        (b'{"format": 1, "distributions": {"a": 1}}', "a is not written"),
        (b'{"format": 1, "distributions": {"a": {}}}', "a is not written"),
        (lock_with(new=1), "a is not written"),
        (lock_with(version=1), "a is not written"),
        (lock_with(record=None), "a is not written"),
        (lock_with(files=[]), "a is not written"),
        (lock_with(files={"a": 1}), "a is not written"),
        (lock_with(entry_points={"a": []}), "a is not written"),
        (lock_with(entry_points={"a": {"b": 1}}), "a is not written"),
        (lock_with(tools=[1]), "a is not written"),
    ],
    ids=[
        "empty",
        "half merged",
        "not UTF-8",
        "too deep",
        "name twice",
        "no object",
        "format 2",
        "no distributions",
        "a list",
        "a number",
        "no fields",
        "unknown field",
        "version",
        "record",
        "files",
        "sum",
        "group",
        "reference",
        "tool",
    ],
)
def test_lock_that_is_none_is_refused_with_the_remedy(
    tmp_path: Path, content: bytes, why: str
) -> None:
    """Name the setting and the file, say what is wrong, and what would do (B49)."""
    place = tmp_path / LOCK_FILE
    place.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Lock.read(place)
    assert (caught.value.setting, caught.value.value) == ("lock_file", str(place))
    assert why in caught.value.remedy
    assert caught.value.remedy.endswith("run `toolkit lock` to write it anew")


@pytest.mark.parametrize("name", ["absent", ".", "\0"], ids=["absent", "folder", "NUL"])
def test_lock_that_is_not_there_is_refused_with_the_remedy(
    tmp_path: Path, name: str
) -> None:
    """Let nobody who asks for locked tools get those that happen to be installed."""
    with pytest.raises(ConfigurationError, match="run `toolkit lock` to write it"):
        Lock.read(f"{tmp_path}/{name}")


def test_lock_that_is_well_is_read(tmp_path: Path) -> None:
    """Hold the broken ones above against one that is right."""
    place = tmp_path / LOCK_FILE
    place.write_bytes(lock_with())
    good = LockedDistribution(**{**GOOD, "tools": ()})
    assert Lock.read(place) == Lock({"a": good})
