"""Metadata folders, however broken: each is read, or named, and hides no other."""

import gc
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import importlib_metadata
import pytest

from tests.distributions import Site
from toolkit.discovery import foreign
from toolkit.discovery.index import AGENTS, PLUGINS, PYDANTIC, TOOLS, Index, Publisher
from toolkit.discovery.scan import (
    MAX_BYTES,
    canonical,
    is_left_over,
    parse,
    read_file,
    scan,
    version_of,
    without_points,
)

pytestmark = pytest.mark.integration  # real files or processes in every test

GOOD: Final = "[toolkit.tools]\nsum = pkg.tools:Sum\n"
THEIRS: Final = "[console_scripts]\nrun = pkg:main\n"
BROKEN: Final = "broken entry_points.txt: "
METADATA: Final = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def look(*folders: object) -> Index:
    """Scan a path; folders may be paths."""
    return scan([str(one) if isinstance(one, Path) else one for one in folders])


def found(*folders: object) -> list[tuple[str, str]]:
    """Return name and version of the publishers on a path."""
    return [(one.name, one.version) for one in look(*folders).publishers]


def points_of(data: bytes) -> list[tuple[str, str, str]]:
    """Return what can be read in a file, as plain tuples."""
    return [(point[0], point[1], point[2]) for point in parse(data)[0]]


def broken_and_good(site: Site) -> Publisher:
    """Return the broken publisher, after a look at the good one beside it."""
    site.install("good", GOOD)
    broken, good = look(site.folder).publishers
    assert (good.name, good.fault) == ("good", "")
    assert len(good.entry_points) == 1
    assert (broken.name, broken.version) == ("broken", "1.0")
    return broken


@contextmanager
def at_the_moment(
    event: str, function: object, action: Callable[[], object]
) -> Iterator[None]:
    """Do something as another process would: just before or after a first call."""

    def watch(frame: FrameType, happened: str, what: Any) -> None:
        if happened == event and what is function:
            sys.setprofile(None)
            action()

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


# --- the file -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode(),
        GOOD.encode("utf-8-sig"),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        GOOD.strip().encode(),
        b"\n\n  [toolkit.tools]  \n\n\t sum=pkg.tools:Sum \n\n",
        b"[ toolkit.tools\t]\nsum = pkg.tools:Sum\n",
        b"# first\n; second\n[toolkit.tools]\n#a = b\n; c = d\n;\n#\nsum=pkg.tools:Sum",
        b"[console_scripts]\nx = y\n[toolkit.tools]\nsum = pkg.tools:Sum\n[x]\na = b",
        b"[toolkit.tools]\n[console_scripts]\n[toolkit.tools]\nsum = pkg.tools:Sum\n",
    ],
    ids=[
        "plain",
        "byte-order mark",
        "crlf",
        "cr",
        "no last newline",
        "spaces",
        "spaces in the header",
        "comments",
        "between others",
        "group in two parts",
    ],
)
def test_every_legal_spelling_is_read(data: bytes) -> None:
    """Find the one entry point, and no fault."""
    assert parse(data) == ([(TOOLS, "sum", "pkg.tools:Sum")], "")


def test_all_groups_that_are_read_are_found(site: Site) -> None:
    """Read our three groups and pydantic's, and no other."""
    lines = [
        f"[{group}]\n{group} = m:X"
        for group in (TOOLS, AGENTS, PLUGINS, PYDANTIC, "toolkit.others", "toolkit")
    ]
    read = [group for group, _, _ in points_of("\n".join(lines).encode())]
    assert read == [TOOLS, AGENTS, PLUGINS, PYDANTIC]


def test_key_that_stands_twice_gives_both_entry_points() -> None:
    """Keep both: judging tells which are the same, and which collide (B6)."""
    data = b"[toolkit.tools]\na = m:x\na = m:y\n"
    assert points_of(data) == [(TOOLS, "a", "m:x"), (TOOLS, "a", "m:y")]


def test_only_the_first_sign_parts_name_and_reference() -> None:
    """Take names of any letters, and references as they are written."""
    data = "[toolkit.tools]\nÄ b:c#d = m:x = y ; z\ne =\n".encode()
    expected = [(TOOLS, "Ä b:c#d", "m:x = y ; z"), (TOOLS, "e", "")]
    assert points_of(data) == expected
    assert parse(data)[1] == ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[toolkit.tools]\njunk\n", "'junk' in [toolkit.tools] is not NAME = REF"),
        (b"[toolkit.tools]\n = m:x\n", "'= m:x' in [toolkit.tools] is not NAME ="),
        (b"sum = m:x\n[toolkit.agents]\n", "'sum = m:x' stands before any [group]"),
        (b"stray\n[console_scripts]\na = m:x\n", "'stray' stands before any [group]"),
        (b"[toolkit.agents\nsum = m:x\n", "'[toolkit.agents' is no [group]"),
        (b"[toolkit.agents] ; x\nsum = m:x\n", "'[toolkit.agents] ; x' is no [group]"),
        (b"[toolkit.agents]\n", "can be read in its group toolkit.agents"),
        (b"[toolkit.agents]\n# a = m:x", "can be read in its group toolkit.agents"),
        (b"[toolkit.agents]\n[toolkit.plugins]", "toolkit.agents, toolkit.plugins"),
        (b"[toolkit.tools]\n" + b"x" * 99, f"'{'x' * 60}…' in [toolkit.tools] is not"),
    ],
)
def test_line_that_says_nothing_is_a_fault_and_the_good_lines_are_read(
    data: bytes, why: str
) -> None:
    """Keep what can be read beside the fault, which quotes the line (B12)."""
    points, fault = parse(data + b"\n[toolkit.tools]\ngood = m:Good\n")
    assert points == [(TOOLS, "good", "m:Good")]
    assert fault.startswith(BROKEN)
    assert why in fault


@pytest.mark.parametrize("group", [TOOLS, AGENTS, PLUGINS])
def test_group_of_ours_with_nothing_in_it_is_a_fault(group: str) -> None:
    """Say so where a group is written down alone and empty; pydantic's may be."""
    fault = f"{BROKEN}no entry point can be read in its group {group}"
    assert parse(f"[{group}]\n".encode()) == ([], fault)
    assert parse(b"[pydantic]\n") == ([], "")


@pytest.mark.parametrize(
    "text", ["stray\n[console_scripts]\na = m:x\n", "a = m:x\n", "\x00\n"]
)
def test_lines_of_no_group_may_be_ours_whoever_wrote_them(text: str) -> None:
    """Suspect a file that lost its first header, though it does not mention us."""
    points, fault = parse(text.encode())
    assert points == []
    assert fault.endswith(f"{text.splitlines()[0]!r} stands before any [group]")


def test_first_bad_line_is_the_one_that_is_shown() -> None:
    """Name one line: the first is where its author looks."""
    _, fault = parse(b"[toolkit.tools]\nfirst\nsecond\n[toolkit.agents\n")
    assert "first" in fault
    assert "second" not in fault


def test_lines_after_a_header_that_is_none_belong_to_no_group() -> None:
    """Never make a tool of an agent because a bracket is missing."""
    data = b"[toolkit.tools]\na = m:A\n[toolkit.agents\nb = m:B\n"
    assert points_of(data) == [(TOOLS, "a", "m:A")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \n",
        THEIRS.encode(),
        b"[console_scripts]\njunk\n",
        b"[console_scripts\nrun = pkg:main\n",
        "[console_scripts]\nä = pkg:main\n".encode("latin-1"),
        "ä = pkg:main\n".encode("latin-1"),
        b"[console_scripts]\nrun = pkg.toolkit.cli:main\njunk\n",
        b"# no [toolkit.tools] here\n[console_scripts]\nrun = toolkit.cli:main\n",
        b"[toolkit.toolsets]\na = m:x\n[toolkit.tools.extra]\n",
        b"[pydantic_x]\njunk\n",
        b"\x00\x01\x02\xf0\x9f",
        b"PK\x03\x04\xff\x00",
    ],
)
def test_what_is_nobodys_business_here_is_no_fault(data: bytes) -> None:
    """Stay silent about packages that have nothing to do with us."""
    assert parse(data) == ([], "")


@pytest.mark.parametrize(
    "data",
    [
        "[toolkit.tools]\nä = m:x\n".encode("latin-1"),
        "[console_scripts]\nä = m:x\n[toolkit.tools]\nb = m:B".encode("latin-1"),
        "[pydantic]\nä = m:x\n".encode("latin-1"),
        GOOD.encode("utf-16"),
        b"\xfe\xff" + GOOD.encode("utf-16-be"),
        THEIRS.encode("utf-16"),
        b"\xff\xfe\x00",
        GOOD.encode() + b"\xff",
    ],
    ids=[
        "latin-1",
        "latin-1 before us",
        "latin-1 pydantic",
        "utf-16",
        "utf-16 big",
        "utf-16 theirs",
        "riddle",
        "one bad byte",
    ],
)
def test_what_is_not_utf_8_is_a_fault_where_it_may_be_ours(data: bytes) -> None:
    """Name the byte of whoever mentions us, or writes what cannot be searched."""
    points, fault = parse(data)
    assert points == []
    assert fault.startswith(f"{BROKEN}it is not UTF-8 (byte 0x")


def test_fault_says_which_byte_is_wrong() -> None:
    """Tell the byte, and how many stand before it."""
    data = b"[toolkit.tools]\nsum\xe4"
    assert parse(data)[1].endswith("(byte 0xe4 at 19)")
    assert parse(b"\xef\xbb\xbf" + data)[1].endswith("(byte 0xe4 at 22)")


# --- the file on disk ---------------------------------------------------------------


def latin_1(file: Path) -> None:
    file.write_bytes("[toolkit.tools]\nä = m:x\n".encode("latin-1"))


def symlink_loop(file: Path) -> None:
    file.symlink_to(file.name)


def folder_instead(file: Path) -> None:
    file.mkdir()


def too_large(file: Path) -> None:
    file.write_bytes(GOOD.encode() + b"#" * MAX_BYTES)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (latin_1, "it is not UTF-8"),
        (symlink_loop, "OSError: "),
        (folder_instead, "IsADirectoryError: "),
        (too_large, f"OSError: larger than {MAX_BYTES} bytes"),
    ],
)
def test_entry_points_that_cannot_be_opened_are_a_fault(
    site: Site, make: Callable[[Path], None], kind: str
) -> None:
    """Name the distribution and the reason, and still find the others (B12)."""
    make(site.install("broken") / "entry_points.txt")
    broken = broken_and_good(site)
    assert broken.fault.startswith(BROKEN + kind)
    assert broken.entry_points == ()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all"
)
def test_entry_points_that_may_not_be_read_are_a_fault(site: Site) -> None:
    """Name a file that this user may not read, and still find the others."""
    (site.install("broken", GOOD) / "entry_points.txt").chmod(0)
    assert broken_and_good(site).fault.startswith(f"{BROKEN}PermissionError: ")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all"
)
def test_folder_that_may_not_be_listed_is_looked_past(
    site: Site, tmp_path: Path
) -> None:
    """Find what is in the others, and never keep that answer."""
    site.install("good", GOOD)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    index = look(closed, site.folder)
    assert [one.name for one in index.publishers] == ["good"]
    assert index.stamps[0] == -1


def test_metadata_folder_that_is_a_loop_is_a_fault(site: Site) -> None:
    """Name what only looks like a metadata folder."""
    (site.folder / "broken-1.0.dist-info").symlink_to("broken-1.0.dist-info")
    assert broken_and_good(site).fault.startswith(f"{BROKEN}OSError: ")


def test_largest_file_that_is_read_is_read_whole(site: Site) -> None:
    """Take a file of exactly the limit, to its last line."""
    last = b"\n[toolkit.tools]\nlast = m:Last\n"
    site.install("big", b"#" * (MAX_BYTES - len(last)) + last)
    (big,) = look(site.folder).publishers
    assert [point.name for point in big.entry_points] == ["last"]


def test_pipe_blocks_nothing(site: Site) -> None:
    """Come back from a pipe that nobody writes to, and name one that somebody does."""
    pipe = site.install("broken") / "entry_points.txt"
    os.mkfifo(pipe)
    site.install("good", GOOD)
    assert found(site.folder) == [("good", "1.0")]
    writer = os.open(pipe, os.O_RDWR)
    try:
        broken, _ = look(site.folder).publishers
    finally:
        os.close(writer)
    assert broken.fault.startswith(f"{BROKEN}BlockingIOError: ")


def ask_nothing_by_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def access(*args: object, **kwargs: object) -> bool:
        raise NotImplementedError

    monkeypatch.setattr("os.access", access)


def deny_all_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def access(*args: object, follow_symlinks: bool = True, **kwargs: object) -> bool:
        return follow_symlinks

    for name in ("supports_dir_fd", "supports_follow_symlinks"):
        monkeypatch.setattr(f"os.{name}", {*getattr(os, name), access})
    monkeypatch.setattr("os.access", access)


@pytest.mark.parametrize("change", [ask_nothing_by_folder, deny_all_links])
def test_answer_is_the_same_where_a_system_cannot_tell_what_is_not_there(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], None],
) -> None:
    """Open each file where nobody can be asked whether it is there."""
    site.install("library")
    symlink_loop(site.install("broken") / "entry_points.txt")
    change(monkeypatch)
    assert broken_and_good(site).fault.startswith(BROKEN)


def test_only_folders_without_the_file_are_said_to_have_none(site: Site) -> None:
    """Leave to opening whatever is there, leads elsewhere, or is old in style."""
    infos = [site.install(f"library-{number}").name for number in range(90)]
    assert without_points(str(site.folder), infos) == set(infos)
    good, loop, link, lost = (site.install(name) for name in ("a", "b", "c", "d"))
    (good / "entry_points.txt").write_text(GOOD)
    symlink_loop(loop / "entry_points.txt")
    (link / "entry_points.txt").symlink_to("nowhere")
    (lost / "METADATA").unlink()
    lost.rmdir()
    lost.symlink_to("nowhere")
    (site.folder / "e.egg-info").mkdir()
    some = [good.name, loop.name, link.name, "e.egg-info"]
    assert without_points(str(site.folder), [*infos, *some]) == set(infos)
    asked = [*infos, *some, lost.name]
    assert without_points(str(site.folder), asked) < set(infos)
    assert without_points(str(site.folder / "missing"), infos) == frozenset()


def test_read_file_returns_a_file_as_it_is(tmp_path: Path) -> None:
    """Read all the bytes, and raise for what is not there or too large."""
    file = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        read_file(str(file))
    file.write_bytes(b"\r\n\x00\xff")
    assert read_file(str(file)) == b"\r\n\x00\xff"
    os.truncate(file, MAX_BYTES + 1)
    with pytest.raises(OSError, match="larger than"):
        read_file(str(file))


def test_file_that_changes_while_it_is_read_is_seen_to_have_changed(site: Site) -> None:
    """Take its time before its content, so that a change in between shows later."""
    file = site.install("dist", GOOD) / "entry_points.txt"
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))

    def change() -> None:
        file.write_text("[toolkit.tools]\nother = m:Other\n")

    with at_the_moment("c_return", os.read, change):
        index = look(site.folder)
    assert [point.name for point in index.publishers[0].entry_points] == ["sum"]
    assert index.files[0][1] != file.stat().st_mtime_ns


def test_files_that_may_change_the_answer_are_remembered(site: Site) -> None:
    """List time, size and mode of each that was read, also where it is broken."""
    site.install("library")
    places = [site.install(name, GOOD) / "entry_points.txt" for name in "ab"]
    places.append(site.install("broken") / "entry_points.txt")
    places[2].mkdir()
    lost = site.install("lost") / "entry_points.txt"
    lost.symlink_to("entry_points.txt")
    egg = site.folder / "egg.egg-info"
    egg.mkdir()
    (site.folder / "old-1.0.egg-info").write_text("Name: old\n")
    stats = {str(one): one.stat() for one in (*places, egg)}
    expected = {
        (name, about.st_mtime_ns, about.st_size << 16 | about.st_mode)
        for name, about in stats.items()
    }
    files = look(site.folder).files
    assert set(files) == {*expected, (str(lost), -1, -1)}
    assert len(files) == 5


@pytest.mark.parametrize("can_ask", [True, False])
def test_answer_lasts_unless_an_installer_may_be_at_work(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_ask: bool
) -> None:
    """Take a young folder without RECORD for half written, and an old one as it is."""
    if not can_ask:
        ask_nothing_by_folder(monkeypatch)
    folder = site.install("library")
    assert not look(site.folder).is_lasting
    (folder / "RECORD").write_text("")
    assert look(site.folder).is_lasting
    (folder / "RECORD").unlink()
    os.utime(site.folder, (10**9, 10**9))
    assert look(site.folder).is_lasting
    young = Site(tmp_path / "young")
    young.install("tool", GOOD)
    assert look(site.folder, young.folder).is_lasting


# --- the folder ---------------------------------------------------------------------


def test_distribution_installed_twice_counts_as_first_on_the_path(
    tmp_path: Path,
) -> None:
    """Take the one that an import would take, and tell which it hides."""
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    one = near.install("My_Dist", GOOD, version="1.0")
    two = far.install("my.dist", GOOD, version="2.0")
    for first, second, folders in ((one, two, (near, far)), (two, one, (far, near))):
        index = look(*(each.folder for each in folders))
        assert [each.folder for each in index.publishers] == [str(first)]
        ((hidden, by),) = index.shadowed
        assert (hidden.folder, by) == (str(second), str(first))
        assert [point.name for point in hidden.entry_points] == ["sum"]


def test_first_distribution_counts_even_if_only_the_second_publishes(
    tmp_path: Path,
) -> None:
    """Never read the entry points of a version that an import would not reach."""
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    near.install("dist", version="2.0")
    far.install("dist", GOOD, version="1.0")
    index = look(near.folder, far.folder)
    assert index.publishers == []
    assert [one.version for one, _ in index.shadowed] == ["1.0"]


def test_newest_of_two_versions_in_one_folder_counts(site: Site) -> None:
    """Compare versions as installers do, and what is none comes last."""
    for version in ("1.9", "1.10", "1.10rc1", "what", "1.2"):
        site.install("dist", GOOD, version=version)
    index = look(site.folder)
    assert [one.version for one in index.publishers] == ["1.10"]
    hidden = [one.version for one, _ in index.shadowed]
    assert hidden == ["1.10rc1", "1.9", "1.2", "what"]
    assert {by for _, by in index.shadowed} == {index.publishers[0].folder}


def test_two_versions_leave_their_neighbours_alone(site: Site, tmp_path: Path) -> None:
    """Settle the one that is there twice, and let the others count as ever."""
    for name, version in (("a", "1.0"), ("dist", "1.0"), ("dist", "2.0"), ("z", "3.0")):
        site.install(name, GOOD, version=version)
    site.install("library")
    far = Site(tmp_path / "far")
    far.install("a", GOOD, version="9.0")
    expected = [("a", "1.0"), ("dist", "2.0"), ("z", "3.0")]
    assert found(site.folder, far.folder) == expected


def test_two_spellings_of_one_version_are_settled_by_their_names(
    tmp_path: Path,
) -> None:
    """Answer alike however the file system lists the folder."""
    orders = (("Dist", "dist", "DIST"), ("dist", "DIST", "Dist"))
    chosen = []
    for number, names in enumerate(orders):
        site = Site(tmp_path / str(number))
        for name in names:
            site.install(name, GOOD)
        (one,) = look(site.folder).publishers
        chosen.append(Path(one.folder).name)
    assert chosen == ["DIST-1.0.dist-info"] * 2


def test_metadata_that_was_left_behind_hides_nothing(tmp_path: Path) -> None:
    """Ignore an empty folder of an earlier version, here or earlier on the path."""
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    near.install("dist", metadata="", version="9.0")
    near.install("stale", GOOD, metadata="", version="9.0")
    for name in ("dist", "stale"):
        far.install(name, metadata="", version="8.0")
        far.install(name, GOOD, version="1.0")
    assert found(near.folder, far.folder) == [("dist", "1.0"), ("stale", "1.0")]
    assert found(far.folder, near.folder) == [("dist", "1.0"), ("stale", "1.0")]


def test_left_over_that_still_publishes_is_found_while_it_is_alone(
    tmp_path: Path,
) -> None:
    """Let contact name what is wrong with it; of two, the first on the path counts."""
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    near.install("dist", GOOD, metadata="", version="2.0")
    assert found(near.folder) == [("dist", "2.0")]
    far.install("dist", metadata="", version="1.0")
    assert found(near.folder, far.folder) == [("dist", "2.0")]


def test_one_of_several_left_overs_in_a_folder_is_chosen_by_its_name(
    site: Site,
) -> None:
    """Answer alike however the file system lists them."""
    for name in "abcdef":
        for version in ("2.0", "1.0", "3.0"):
            site.install(name, GOOD, metadata="", version=version)
    assert found(site.folder) == [(name, "1.0") for name in "abcdef"]


@pytest.mark.parametrize("name", ["METADATA", "PKG-INFO"])
def test_left_over_is_what_lacks_the_file_that_makes_it(
    tmp_path: Path, name: str
) -> None:
    """Take either file, and an old metadata file itself."""
    (tmp_path / "RECORD").write_text("")
    assert is_left_over(str(tmp_path))
    (tmp_path / name).write_text("")
    assert not is_left_over(str(tmp_path))
    assert not is_left_over(str(tmp_path / "RECORD"))


def test_folder_twice_on_the_path_counts_once(site: Site, tmp_path: Path) -> None:
    """Publish once what is reachable twice, under its name or through a link."""
    site.install("dist", GOOD)
    link = tmp_path / "link"
    link.symlink_to(site.folder)
    index = look(site.folder, site.folder, f"{site.folder}/", link)
    assert [one.name for one in index.publishers] == ["dist"]
    assert index.shadowed == []
    assert index.folders == [str(site.folder), f"{site.folder}/", str(link)]
    assert index.stamps == [site.folder.stat().st_mtime_ns] * 3


def test_old_style_metadata_folder_is_read_too(site: Site) -> None:
    """Read an ``.egg-info`` folder, which old editable installs leave behind."""
    folder = site.folder / "Old_Dist.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Name: Old_Dist\nVersion: 0.1\n")
    (folder / "entry_points.txt").write_text(GOOD)
    assert found(site.folder) == [("old-dist", "")]


def test_old_style_metadata_file_publishes_nothing(site: Site, tmp_path: Path) -> None:
    """Let an ``.egg-info`` file stand for its distribution, as an import would."""
    (site.folder / "dist-1.0.egg-info").write_text("Name: dist\nVersion: 1.0\n")
    (site.folder / "file-1.0.dist-info").write_text("no folder\n")
    assert look(site.folder).publishers == []
    far = Site(tmp_path / "far")
    far.install("dist", GOOD)
    assert found(site.folder, far.folder) == []


def test_metadata_inside_an_egg_is_read_too(tmp_path: Path) -> None:
    """Read ``EGG-INFO`` in a folder named as an egg, once, and nothing nameless."""
    for name in ("My_Egg-1.2-py3.11.egg", "folder"):
        (tmp_path / name / "EGG-INFO").mkdir(parents=True)
        (tmp_path / name / "EGG-INFO/PKG-INFO").write_text("Name: My_Egg\n")
        (tmp_path / name / "EGG-INFO/entry_points.txt").write_text(GOOD)
    assert found(tmp_path / "My_Egg-1.2-py3.11.egg") == [("my-egg", "1.2")]
    assert found(tmp_path / "folder") == []
    (tmp_path / ".dist-info").mkdir()
    (tmp_path / ".dist-info/entry_points.txt").write_text(GOOD)
    assert found(tmp_path) == []


def test_case_and_other_files_do_not_matter(site: Site) -> None:
    """Look at what ends as metadata does, in any case, and at nothing else."""
    site.install("dist", GOOD).rename(site.folder / "DIST-1.0.DIST-INFO")
    site.write({"a-info/entry_points.txt": GOOD, "b.info/entry_points.txt": GOOD})
    site.write({"c.dist-info.bak/entry_points.txt": GOOD, "dist-info/x": ""})
    site.write({"d-1.0.other-info/entry_points.txt": GOOD})
    assert found(site.folder) == [("dist", "1.0")]


def test_path_may_hold_what_an_import_ignores(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Look past entries that are no texts, no folders, or no names at all."""
    site.install("dist", GOOD)
    file = tmp_path / "file.txt"
    file.write_text("not a folder")
    path = [None, 3, b"bytes", site.folder, "nul\0", tmp_path / "no", str(file)]
    index = scan([*path, str(site.folder), str(tmp_path / "missing")])
    assert [one.name for one in index.publishers] == ["dist"]
    assert index.stamps[0] == index.stamps[-1] == -1
    monkeypatch.chdir(site.folder)
    assert found("") == [("dist", "1.0")]
    assert found("../site") == [("dist", "1.0")]


def test_what_vanishes_during_a_look_is_not_there(site: Site, tmp_path: Path) -> None:
    """Find the others where a folder, or one below it, is gone when it is opened."""
    site.install("dist", GOOD)
    (site.folder / "gone-1.0.dist-info").symlink_to(tmp_path / "nowhere")
    gone = tmp_path / "gone"
    gone.mkdir()
    with at_the_moment("c_call", os.listdir, gone.rmdir):
        index = look(gone, site.folder)
    assert not gone.exists()
    assert [one.name for one in index.publishers] == ["dist"]
    assert index.stamps == [-1, site.folder.stat().st_mtime_ns]


def test_names_that_are_no_text_are_read_all_the_same(tmp_path: Path) -> None:
    """Find what is beside, and below, a name that is not UTF-8."""
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.makedirs(folder + b"/d\xff-1.dist-info")  # noqa: PTH103 - bytes, no path
    site = Site(Path(os.fsdecode(folder)))
    (site.folder / os.fsdecode(b"d\xff-1.dist-info/entry_points.txt")).write_text(GOOD)
    site.install("dist", GOOD)
    assert [name for name, _ in found(site.folder)] == ["dist", "d\udcff"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("toolkit", "toolkit"),
        ("Toolkit_Text", "toolkit-text"),
        ("a.-_b", "a-b"),
        ("A---b...C", "a-b-c"),
        ("-a-", "-a-"),
        ("", ""),
    ],
)
def test_canonical_name_is_that_of_the_specification(written: str, name: str) -> None:
    """Lower the case, and write each run of separators as one dash (B6)."""
    assert canonical(written) == name


@pytest.mark.parametrize(
    ("place", "version"),
    [
        ("/s/pkg-1.0.dist-info", "1.0"),
        ("/s/Pkg-1!1.0rc1+local.7.DIST-INFO", "1!1.0rc1+local.7"),
        ("/s/pkg-1.0-py3.11.egg-info", "1.0"),
        ("/s/pkg-1.0.egg-info", "1.0"),
        ("/s/pkg-1.0-py3.11.egg/EGG-INFO", "1.0"),
        ("/s-1.0/pkg.egg-info", ""),
        ("/s/pkg.dist-info", ""),
    ],
)
def test_version_is_what_the_folder_is_called(place: str, version: str) -> None:
    """Read it without opening a file; empty where the name has none."""
    assert version_of(place) == version


@pytest.mark.parametrize("is_on", [True, False])
def test_look_leaves_the_collector_as_it_was(site: Site, *, is_on: bool) -> None:
    """Put the garbage collector back, on or off as it was."""
    before = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        assert found(site.folder) == []
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if before else gc.disable)()


# --- what is no folder --------------------------------------------------------------


def wheel(
    file: Path,
    name: str = "zipped",
    version: str = "1.0",
    *,
    points: str | bytes = GOOD,
    metadata: str | None = None,
) -> Path:
    """Write a zip file with a distribution in it, as a wheel is one."""
    metadata = METADATA.format(name, version) if metadata is None else metadata
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
        if points:
            archive.writestr(f"{name}-{version}.dist-info/entry_points.txt", points)
    return file


def test_distribution_in_a_zip_file_is_found(site: Site, tmp_path: Path) -> None:
    """Ask importlib-metadata where there is no folder to list."""
    site.install("dist", GOOD)
    file = wheel(tmp_path / "zipped.whl", "Zipped_Dist")
    index = look(site.folder, file)
    assert [one.name for one in index.publishers] == ["dist", "zipped-dist"]
    zipped = index.publishers[1]
    assert (zipped.version, zipped.fault, zipped.folder) == ("1.0", "", "")
    assert zipped.entry_points == ((TOOLS, "sum", "pkg.tools:Sum"),)
    assert index.stamps[1] == file.stat().st_mtime_ns
    assert index.is_lasting


def test_first_counts_between_zip_files_and_folders(tmp_path: Path) -> None:
    """Hide what comes later on the path, whatever it is in, and nothing else."""
    one = wheel(tmp_path / "one.zip", "dist", "1.0")
    two = wheel(tmp_path / "two.zip", "dist", "2.0")
    other = wheel(tmp_path / "other.zip", "other", "1.0")
    site = Site(tmp_path / "site")
    site.install("dist", GOOD, version="3.0")
    theirs = ("other", "1.0")
    assert found(other, one, two, site.folder) == [("dist", "1.0"), theirs]
    assert found(two, one, site.folder, other) == [("dist", "2.0"), theirs]
    assert found(site.folder, other, one, two) == [("dist", "3.0"), theirs]
    hidden = [each.version for each, _ in look(one, two, site.folder).shadowed]
    assert hidden == ["2.0", "3.0"]


def test_zipped_distribution_without_tools_still_hides_a_later_one(
    tmp_path: Path,
) -> None:
    """Let the first count even if it publishes nothing, as in folders."""
    wheel(tmp_path / "one.zip", "dist", points="")
    wheel(tmp_path / "two.zip", "dist")
    assert found(tmp_path / "one.zip", tmp_path / "two.zip") == []


@pytest.mark.parametrize(
    ("points", "metadata", "fault"),
    [
        (GOOD, "no metadata at all\n", "broken metadata: "),
        ("[toolkit.tools]\nä = m:x".encode("latin-1"), None, f"{BROKEN}UnicodeDecode"),
        ("[toolkit.tools]\njunk\n", None, f"{BROKEN}'junk' in [toolkit.tools]"),
    ],
    ids=["no name", "latin-1", "junk"],
)
def test_broken_distribution_in_a_zip_file_is_named(
    tmp_path: Path, points: str | bytes, metadata: str | None, fault: str
) -> None:
    """Name it by its folder in the zip file, and find the next one (B12)."""
    bad = wheel(tmp_path / "1.zip", "Bad_One", points=points, metadata=metadata)
    good = wheel(tmp_path / "2.zip", "good")
    broken, other = look(bad, good).publishers
    assert broken.name == "bad-one"
    assert broken.fault.startswith(fault)
    assert (other.name, other.fault) == ("good", "")


@pytest.mark.parametrize("points", ["", THEIRS])
def test_broken_metadata_in_a_zip_file_of_others_is_nobodys_business(
    tmp_path: Path, points: str
) -> None:
    """Stay silent about a zipped package that publishes nothing here."""
    wheel(tmp_path / "1.zip", "theirs", points=points, metadata="nothing\n")
    assert look(tmp_path / "1.zip").publishers == []


class Served(importlib_metadata.Distribution):
    """A distribution that a finder has in its memory."""

    def __init__(self, name: str, points: str | Exception) -> None:
        self._files = {"METADATA": METADATA.format(name, "7.0")}
        self._points = points

    def read_text(self, filename: Any) -> str | None:
        """Return a file of its metadata, or raise."""
        if filename != "entry_points.txt":
            return self._files.get(filename)
        if isinstance(self._points, Exception):
            raise self._points
        return self._points

    def locate_file(self, path: Any) -> Any:
        """Have no files."""
        raise NotImplementedError


class Finder:
    """A finder of somebody else, on ``sys.meta_path``."""

    def __init__(self, *found: object, error: Exception | None = None) -> None:
        self.found = found
        self.error = error

    def find_spec(self, *args: object) -> None:
        """Find no module."""

    def find_distributions(self, context: object) -> Iterator[object]:
        """Yield what it has, then raise what it was told to."""
        yield from self.found
        if self.error is not None:
            raise self.error


@pytest.fixture
def finders(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Make the site all of the path, and return a meta path to put finders on."""
    monkeypatch.setattr("sys.path", [str(site.folder)])
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path])
    return sys.meta_path  # type: ignore[return-value]


def test_distributions_of_a_foreign_finder_are_found(
    site: Site, finders: list[object]
) -> None:
    """Ask each finder, after the path, and say that its answer does not last."""
    assert scan(sys.path).is_lasting
    site.install("dist", GOOD)
    finders.insert(0, Finder(Served("Served", GOOD), Served("dist", GOOD)))
    index = scan(sys.path)
    names = [(one.name, one.version) for one in index.publishers]
    assert names == [("dist", "1.0"), ("served", "7.0")]
    assert [one.version for one, _ in index.shadowed] == ["7.0"]
    assert not index.is_lasting


def test_path_that_is_handed_in_asks_no_finder(
    site: Site, finders: list[object]
) -> None:
    """Look in the folders that were named and nowhere else."""
    finders.append(Finder(Served("served", GOOD)))
    index = scan([*sys.path])
    assert index.publishers == []
    assert index.is_lasting


def test_finder_that_raises_is_named_and_hides_nothing(
    site: Site, finders: list[object]
) -> None:
    """Name the finder's class, and find what the path and the others have (B12)."""
    site.install("dist", GOOD)
    finders.append(Finder(Served("lost", GOOD), error=RuntimeError("no luck")))
    finders.append(Finder(Served("served", GOOD)))
    publishers = {one.name: one.fault for one in scan(sys.path).publishers}
    who = f"{Finder.__module__}.Finder"
    assert publishers == {
        "dist": "",
        "served": "",
        canonical(who): f"{who} cannot list its distributions: RuntimeError: no luck",
    }


def test_class_may_be_a_finder_too(site: Site, finders: list[object]) -> None:
    """Ask a finder that is a class, and name it by itself."""

    class Broken(Finder):
        @classmethod
        def find_distributions(cls, context: object) -> Any:
            return None

    finders.append(Broken)
    (broken,) = scan(sys.path).publishers
    assert "Broken cannot list its distributions: TypeError" in broken.fault


def test_distribution_of_a_finder_that_cannot_be_read_is_named(
    site: Site, finders: list[object]
) -> None:
    """Fence each distribution from the next, whatever it raises (B12)."""
    bad = Served("bad", ValueError("on purpose"))
    finders.append(Finder(bad, Served("served", GOOD)))
    served, broken = scan(sys.path).publishers
    assert (served.name, served.fault) == ("served", "")
    assert broken.fault == f"{BROKEN}ValueError: on purpose"
    assert broken.name == canonical(f"{Finder.__module__}.Finder")


def test_publishers_in_one_zip_file_are_yielded_one_by_one(tmp_path: Path) -> None:
    """Read every distribution of a zip file, in any order."""
    with zipfile.ZipFile(wheel(tmp_path / "many.zip", "one"), "a") as archive:
        archive.writestr("two.egg-info/PKG-INFO", METADATA.format("two", "2.0"))
        archive.writestr("two.egg-info/entry_points.txt", GOOD)
        archive.writestr("three.dist-info/entry_points.txt", GOOD)
        archive.writestr("four.egg-info/entry_points.txt", GOOD)
    publishers = {
        one.name: one for one in foreign.from_file(str(tmp_path / "many.zip"))
    }
    assert set(publishers) == {"one", "two", "three", "four"}
    assert publishers["two"].version == "2.0"
    for name in ("three", "four"):
        assert publishers[name].fault.startswith("broken metadata: ")
