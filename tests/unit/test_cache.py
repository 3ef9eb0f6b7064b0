"""The kept file: right or absent, whole or absent, for this user alone."""

import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from tests.distributions import Site, open_site
from toolkit.discovery.cache import (
    MAX_BYTES,
    MAX_FILES,
    clear,
    keep,
    keep_definitions,
    prune,
    read_definitions,
)
from toolkit.discovery.index import (
    HEADER,
    READ,
    TOOLS,
    EntryPoint,
    Index,
    Publisher,
    cache_file,
    cache_folder,
    entry_points,
    first_words,
    index,
    read_sections,
)
from toolkit.discovery.scan import scan

pytestmark = pytest.mark.integration  # real files or processes in every test

GOOD: Final = "[toolkit.tools]\nsum = pkg.tools:Sum\n"
AN_HOUR: Final = 3_600_000_000_000
AN_HOUR_AGO: Final = (time.time_ns() - AN_HOUR) | 1  # no whole second
TICK: Final = 50_000_000
SECOND: Final = 1_000_000_000
IS_ROOT: Final = not hasattr(os, "geteuid") or os.geteuid() == 0
DEFINITIONS: Final = {"a-dist": {"tools": [1, "zwölf", None]}}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Make a site that is all of the path, with a cache of its own."""
    monkeypatch.delenv("TOOLKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    importlib.import_module("toolkit.discovery.foreign")  # from where it is installed
    monkeypatch.setattr("sys.path", [])
    with open_site(tmp_path) as site:
        yield site


def settle(site: Site, when: int = AN_HOUR_AGO) -> None:
    """Let everything there look as old as in most environments."""
    for place in (*site.folder.rglob("*"), site.folder):
        os.utime(place, ns=(when, when), follow_symlinks=False)


def file_of(site: Site) -> Path:
    return Path(cache_file([str(site.folder)]))


def keep_it(site: Site, definitions: bytes | None = None) -> Path:
    """Keep what is there; return the file."""
    settle(site)
    assert keep(scan(sys.path), definitions)
    return file_of(site)


def keep_a_lie(site: Site) -> Path:
    """Keep a good file that says of this path what is not true."""
    settle(site)
    true = scan(sys.path)
    lie = Publisher("liar", "6.6", [EntryPoint(TOOLS, "lie", "m:Lie")])
    assert keep(Index(true.folders, true.stamps, true.files, [lie]), b'{"lie": 1}')
    assert answer() == ["liar"]
    return file_of(site)


def answer() -> list[str]:
    return [one.name for one in index().publishers]


def same(one: Index, other: Index) -> bool:
    """Tell whether two looks found the same; what is hidden is kept without points."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("folders", "stamps", "files", "publishers", "is_lasting")
    ) and [
        (hidden.name, hidden.version, hidden.fault, hidden.folder, by)
        for hidden, by in one.shadowed
    ] == [
        (hidden.name, hidden.version, hidden.fault, hidden.folder, by)
        for hidden, by in other.shadowed
    ]


# --- written and read ---------------------------------------------------------------


def test_file_is_for_this_user_alone(site: Site) -> None:
    """Write it with mode 0600 in a folder with 0700, and leave nothing beside it."""
    file = keep_it(site)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert list(file.parent.iterdir()) == [file]
    assert file.read_text(encoding="utf-8").startswith(f"{first_words()}\t")


def test_what_was_found_is_read_back_equal(site: Site, tmp_path: Path) -> None:
    """Keep everything that a look finds, in any letters."""
    points = {group: {"ä b": "m:x [y]", "a": ""} for group in READ}
    site.install("many", points, version="1!2.0+local")
    site.install("junk", "[toolkit.tools]\ngood = m:G\nno  entry\tpoint \\ 'at' all\n")
    (site.install("loop") / "entry_points.txt").symlink_to("entry_points.txt")
    (site.folder / "old.egg-info").mkdir()
    far = Site(tmp_path / os.fsdecode(b"f\xff\xc3\xa4r"))
    far.install("many", GOOD)
    far.install("late", "[toolkit.tools]\nz = m:Z\nz = m:Z\n")
    sys.path += [str(far.folder), str(tmp_path / "missing")]
    settle(site)
    settle(far)
    cold = scan(sys.path)
    assert len(cold.publishers) == 4
    assert len(cold.shadowed) == 1
    assert keep(cold)
    warm = index()
    assert same(warm, cold)
    assert [hidden.entry_points for hidden, _ in warm.shadowed] == [()]
    for group in READ:
        warm_points = entry_points(group)
        assert warm_points == [
            point
            for one in cold.publishers
            for point in one.entry_points
            if point[0] == group
        ]


@pytest.mark.parametrize("field", ["name", "reference", "fault", "publisher"])
@pytest.mark.parametrize("separator", ["\n", "\x1e"])
def test_what_holds_a_separator_is_not_kept(
    site: Site, field: str, separator: str
) -> None:
    """Keep nothing rather than what would be read back as something else."""
    odd = {"name": "a", "reference": "m:x", "fault": "f", "publisher": "p"}
    odd[field] += f"{separator}b"
    point = EntryPoint(TOOLS, odd["name"], odd["reference"])
    one = Publisher(odd["publisher"], "1.0", [point], odd["fault"])
    settle(site)
    true = scan(sys.path)
    assert not keep(Index(true.folders, true.stamps, [], [one]))
    assert not file_of(site).exists()


@pytest.mark.parametrize("name", ["tab\tbed", "bell\a", "unit\x1fseparator", "esc\x1b"])
def test_names_with_other_control_characters_come_back(site: Site, name: str) -> None:
    """Answer alike, kept or not, whatever else is in a name."""
    site.install("dist", f"[toolkit.tools]\n{name} = m:x\n")
    settle(site)
    cold = scan(sys.path)
    assert [point.name for point in cold.publishers[0].entry_points] == [name]
    keep(cold)
    assert [point.name for point in entry_points(TOOLS)] == [name]
    assert same(index(), cold)


def test_path_with_a_separator_is_not_kept(site: Site, tmp_path: Path) -> None:
    """Answer for a folder whose name would break the file, and keep nothing."""
    odd = Site(tmp_path / "new\nline")
    odd.install("dist", GOOD)
    settle(odd)
    sys.path[:] = [str(odd.folder)]
    assert answer() == ["dist"]
    assert not Path(cache_folder()).exists()


@pytest.mark.parametrize("time", [2**63, -(2**63) - 1])
def test_time_that_is_no_files_is_not_kept(site: Site, time: int) -> None:
    """Keep nothing rather than a number that cannot be read back."""
    settle(site)
    found = scan(sys.path)
    found.stamps = [time | 1]
    assert not keep(found)
    assert not file_of(site).exists()


def test_what_does_not_last_is_not_kept(site: Site) -> None:
    """Write nothing of what a foreign finder may answer differently next time."""
    settle(site)
    found = scan(sys.path)
    found.is_lasting = False
    assert not keep(found)
    assert not file_of(site).exists()


# --- each change is seen --------------------------------------------------------------


def info(site: Site) -> Path:
    return site.folder / "dist-1.0.dist-info"


def egg(site: Site) -> Path:
    return site.folder / "egg.egg-info"


def install(site: Site) -> None:
    site.install("other", GOOD)


def upgrade(site: Site) -> None:
    shutil.rmtree(info(site))
    site.install("dist", GOOD, version="2.0")


def reinstall(site: Site) -> None:
    shutil.rmtree(info(site))
    site.install("dist", GOOD.replace("sum", "mus"))


def uninstall(site: Site) -> None:
    shutil.rmtree(info(site))


def edit(site: Site) -> None:
    (info(site) / "entry_points.txt").write_text(GOOD.replace("sum", "mus"))


def edit_and_set_back_the_time(site: Site) -> None:
    file = info(site) / "entry_points.txt"
    file.write_text(GOOD + "more = m:More\n")
    os.utime(file, ns=(AN_HOUR_AGO, AN_HOUR_AGO))


def break_it(site: Site) -> None:
    (info(site) / "entry_points.txt").write_bytes(b"[toolkit.tools]\n\xff")


def lose_it(site: Site) -> None:
    (info(site) / "entry_points.txt").unlink()


def rewrite_in_place(site: Site) -> None:
    (egg(site) / "entry_points.txt").write_text(GOOD + "more = m:More\n")


def rewrite_by_a_new_file(site: Site) -> None:
    (egg(site) / "new").write_text(GOOD + "more = m:More\n")
    (egg(site) / "new").replace(egg(site) / "entry_points.txt")


def appear_in_an_egg(site: Site) -> None:
    (site.folder / "late.egg-info/entry_points.txt").write_text(GOOD)


def mend_a_loop(site: Site) -> None:
    file = site.folder / "loop-1.0.dist-info/entry_points.txt"
    file.unlink(missing_ok=True)
    site.write({"loop-1.0.dist-info/entry_points.txt": GOOD})


def rename_the_metadata(site: Site) -> None:
    info(site).rename(site.folder / "dist-3.0.dist-info")


def hide_it(site: Site) -> None:
    near = Site(Path(sys.path[0]))
    near.install("dist", version="0.1")


def lose_the_folder(site: Site) -> None:
    shutil.rmtree(site.folder)


def replace_the_folder(site: Site) -> None:
    site.folder.rename(site.folder.with_name("before"))
    Site(site.folder).install("new", GOOD)


CHANGES: Final = (
    install,
    upgrade,
    reinstall,
    uninstall,
    edit,
    edit_and_set_back_the_time,
    break_it,
    lose_it,
    rewrite_in_place,
    rewrite_by_a_new_file,
    appear_in_an_egg,
    mend_a_loop,
    rename_the_metadata,
    hide_it,
    lose_the_folder,
    replace_the_folder,
)


@pytest.fixture(params=["plain", "loop"])
def environment(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    """Make an environment with a bit of everything; its first folder is missing."""
    sys.path.insert(0, str(tmp_path / "first"))
    site.install("dist", GOOD)
    site.install("library")
    if request.param == "loop":  # a file that cannot be looked at
        (site.install("loop") / "entry_points.txt").symlink_to("entry_points.txt")
    for name in ("egg", "late"):
        (site.folder / f"{name}.egg-info").mkdir()
        (site.folder / f"{name}.egg-info/PKG-INFO").write_text(f"Name: {name}\n")
    (egg(site) / "entry_points.txt").write_text(GOOD)
    settle(site)
    return site


def plainly(found: Index) -> list[tuple[object, ...]]:
    return [
        (one.name, one.version, one.entry_points, one.fault) for one in found.publishers
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_the_environment_is_seen(
    environment: Site, change: Callable[[Site], None]
) -> None:
    """Answer after a change as a look without anything kept does, and differently."""
    before = scan(sys.path)
    assert keep(before)
    assert same(index(), before)
    change(environment)
    after = index()
    assert plainly(after) == plainly(scan(sys.path))
    assert plainly(after) != plainly(before)


def test_change_of_a_mode_is_seen(environment: Site) -> None:
    """Look anew when a file may have become unreadable, whoever looks."""
    keep_a_lie(environment)
    file = info(environment) / "entry_points.txt"
    file.chmod(file.stat().st_mode ^ 0o040)
    assert answer()[:2] == ["dist", "egg"]


def test_what_has_not_changed_is_not_read_again(environment: Site) -> None:
    """Believe the file while nothing that it depends on is different."""
    keep_a_lie(environment)
    (info(environment) / "RECORD").write_text("not a matter of entry points")
    assert answer() == ["liar"]


def test_installation_seen_half_way_is_seen_to_its_end(site: Site) -> None:
    """Notice entry points that an installer writes after somebody looked."""
    folder = site.install("dist")
    moment = time.time_ns() - 2 * TICK  # an installer may well be busy for so long
    settle(site, moment | 1)
    assert answer() == []
    (folder / "entry_points.txt").write_text(GOOD)
    assert answer() == ["dist"]


def test_installation_that_is_complete_is_kept_at_once(site: Site) -> None:
    """Wait for nothing where an installer has written its last file."""
    site.write({"dist-1.0.dist-info/RECORD": "", "dist-1.0.dist-info/METADATA": ""})
    settle(site, (time.time_ns() - 4 * TICK) | 1)
    assert scan(sys.path).is_lasting
    assert keep(scan(sys.path))


def test_metadata_without_a_record_is_kept_when_it_is_old(site: Site) -> None:
    """Keep what other tools than installers write, once nobody is at work there."""
    site.install("dist")
    assert not scan(sys.path).is_lasting
    settle(site)
    assert scan(sys.path).is_lasting
    assert keep(scan(sys.path))


# --- when nothing is kept -----------------------------------------------------------


def is_kept(site: Site, age: int) -> bool:
    """Tell whether an environment of an age is kept; sure to have been that young.

    Looks again where the machine was so slow that the age was another meanwhile.
    """
    for _ in range(50):
        found = scan(sys.path)
        file_of(site).unlink(missing_ok=True)
        started = time.time_ns()
        moment = started - age
        found.stamps = [moment]
        kept = keep(found)
        if time.time_ns() - started < TICK // 2:
            assert kept == file_of(site).exists()
            return kept
    return pytest.fail("this machine takes too long for anything")


@pytest.mark.parametrize("age", [0, TICK // 4, -TICK // 4])
def test_what_changed_within_a_tick_is_not_kept(site: Site, age: int) -> None:
    """Keep nothing whose next change might bear the same time."""
    settle(site)
    assert not is_kept(site, age)


@pytest.mark.parametrize("age", [TICK * 2, AN_HOUR, -TICK * 4, -AN_HOUR])
def test_what_is_older_than_a_tick_is_kept(site: Site, age: int) -> None:
    """Keep it, also when a clock was set back and its time is still to come."""
    settle(site)
    assert is_kept(site, age)


@pytest.mark.parametrize("back", [0, -1])
def test_whole_seconds_are_trusted_after_two_of_them(site: Site, back: int) -> None:
    """Wait longer on a file system whose clock is that coarse."""
    site.install("dist", GOOD)
    settle(site)
    now = time.time_ns() // SECOND * SECOND
    os.utime(site.folder, ns=(now, now - back * SECOND))
    assert not keep(scan(sys.path))
    os.utime(site.folder, ns=(now, now - 4 * SECOND))
    assert keep(scan(sys.path))


def test_young_file_in_an_old_folder_is_not_kept(site: Site) -> None:
    """Ask the age of each metadata file too."""
    file = site.install("dist", GOOD) / "entry_points.txt"
    settle(site)
    soon = time.time_ns() // SECOND * SECOND
    os.utime(file, ns=(soon, soon))
    assert not keep(scan(sys.path))
    os.utime(file, ns=(soon, soon - 4 * SECOND))
    assert keep(scan(sys.path))


def test_young_environment_is_answered_all_the_same(site: Site) -> None:
    """Look each time anew until it is kept; the answer is the same (S210)."""
    site.install("dist", GOOD)
    assert answer() == ["dist"]
    settle(site)
    assert answer() == ["dist"]
    assert file_of(site).exists()
    assert answer() == ["dist"]


@pytest.mark.parametrize("off", ["off", "0", "no", "False"])
def test_cache_that_is_off_is_neither_read_nor_written(
    site: Site, monkeypatch: pytest.MonkeyPatch, off: str
) -> None:
    """Leave a file alone, whatever it says, and write none."""
    site.install("dist", GOOD)
    file = keep_a_lie(site)
    before = file.read_bytes(), file.stat().st_mtime_ns
    monkeypatch.setenv("TOOLKIT_CACHE", off)
    assert answer() == ["dist"]
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    file.unlink()
    assert answer() == ["dist"]
    assert not file.exists()


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_cache_in_a_folder_that_cannot_be_written_is_done_without(
    site: Site, tmp_path: Path
) -> None:
    """Answer as ever, and say nothing."""
    site.install("dist", GOOD)
    settle(site)
    (tmp_path / "cache").mkdir(mode=0o500)
    assert not keep(scan(sys.path))
    assert answer() == ["dist"]


def test_file_in_the_place_of_the_folder_means_no_cache(
    site: Site, tmp_path: Path
) -> None:
    """Answer as ever where no folder can be made, and leave the file alone."""
    site.install("dist", GOOD)
    settle(site)
    (tmp_path / "cache").write_text("in the way")
    assert not keep(scan(sys.path))
    assert answer() == ["dist"]
    assert clear() == 0
    assert (tmp_path / "cache").read_text() == "in the way"


def test_folder_in_the_place_of_the_file_means_no_cache(site: Site) -> None:
    """Answer as ever where the file cannot be put, and leave nothing half done."""
    site.install("dist", GOOD)
    settle(site)
    file_of(site).mkdir(parents=True)
    assert not keep(scan(sys.path))
    assert answer() == ["dist"]
    assert read_definitions([str(site.folder)]) == {}
    assert list(Path(cache_folder()).iterdir()) == [file_of(site)]


def test_pipe_in_the_place_of_the_file_blocks_nothing(site: Site) -> None:
    """Come back from a pipe that nobody writes to, and put a file in its place."""
    site.install("dist", GOOD)
    settle(site)
    Path(cache_folder()).mkdir(parents=True)
    os.mkfifo(file_of(site))
    assert read_definitions([str(site.folder)]) == {}
    assert answer() == ["dist"]
    assert file_of(site).is_file()


# --- damage -------------------------------------------------------------------------


def check_damaged(site: Site, data: bytes) -> None:
    """Write a file; then everything is answered as if there were none, or it whole."""
    file = file_of(site)
    file.write_bytes(data)
    assert read_definitions([str(site.folder)]) in ({}, DEFINITIONS)
    (found,) = index().publishers
    assert (found.name, found.version, found.fault) == ("dist", "1.0", "")
    assert found.entry_points == ((TOOLS, "sum", "pkg.tools:Sum"),)


@pytest.fixture
def whole(site: Site) -> bytes:
    """Return the content of a good file with definitions."""
    site.install("dist", GOOD)
    settle(site)
    assert keep_definitions(DEFINITIONS, [])
    assert read_definitions([str(site.folder)]) == DEFINITIONS
    return file_of(site).read_bytes()


def test_damage_anywhere_in_the_header_changes_no_answer(
    site: Site, whole: bytes
) -> None:
    """Read anew, never raise, whichever byte of the header is another."""
    for at in range(HEADER):
        for new in b"\x00" if at % 2 else b"9":
            check_damaged(site, whole[:at] + bytes([new]) + whole[at + 1 :])
    check_damaged(site, b"\xff" * HEADER + whole[HEADER:])


def test_damage_anywhere_in_the_body_changes_no_answer(
    site: Site, whole: bytes
) -> None:
    """Read anew, never raise, whichever byte of the index or definitions flips."""
    for at in range(HEADER, len(whole), 5):
        check_damaged(site, whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])


def test_file_of_any_shorter_length_changes_no_answer(site: Site, whole: bytes) -> None:
    """Read anew, never raise, wherever a full disk or a crash cut it off."""
    for length in (*range(0, len(whole), 9), len(whole) - 1):
        check_damaged(site, whole[:length])
    check_damaged(site, whole + b"\n")


def test_damaged_definitions_leave_the_index_alone(site: Site, whole: bytes) -> None:
    """Tell which of the two parts is damaged, and believe the other."""
    file = file_of(site)
    file.write_bytes(whole[:-2] + b"??")
    assert read_definitions([str(site.folder)]) == {}
    assert read_sections(str(file)) is not None
    damaged = whole.replace(b"pkg.tools", b"gkp.tools")
    assert damaged != whole
    file.write_bytes(damaged)
    assert read_definitions([str(site.folder)]) == DEFINITIONS
    assert read_sections(str(file)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("toolkit index 1", "toolkit index 0"),
        ("toolkit index 1", "toolkit index 11"),
        (str(sys.implementation.cache_tag), "cpython-399"),
        (str(sys.implementation.cache_tag), "pypy311"),
    ],
)
def test_file_of_another_version_or_python_is_not_read(
    site: Site, old: str, new: str
) -> None:
    """Believe no first words but those of this very format and Python."""
    site.install("dist", GOOD)
    file = keep_a_lie(site)
    data = file.read_bytes()
    head = data[:HEADER].decode().replace(old, new).rstrip().ljust(HEADER)
    file.write_bytes(head.encode() + data[HEADER:])
    assert read_definitions([str(site.folder)]) == {}
    assert answer() == ["dist"]


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o602])
def test_file_that_others_may_write_is_not_read(site: Site, mode: int) -> None:
    """Believe nothing that somebody else could have written."""
    site.install("dist", GOOD)
    file = keep_a_lie(site)
    file.chmod(mode)
    assert read_definitions([str(site.folder)]) == {}
    assert answer() == ["dist"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_file_of_another_user_is_not_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Believe only what this user has written."""
    site.install("dist", GOOD)
    owner = keep_a_lie(site).stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    assert read_definitions([str(site.folder)]) == {}
    assert answer() == ["dist"]


# --- definitions --------------------------------------------------------------------


def test_definitions_are_read_back_as_they_were(site: Site) -> None:
    """Keep any JSON object beside the index, and none for another path."""
    site.install("dist", GOOD)
    settle(site)
    assert read_definitions([str(site.folder)]) == {}
    assert keep_definitions(DEFINITIONS, [AN_HOUR_AGO])
    assert read_definitions([str(site.folder)]) == DEFINITIONS
    assert read_definitions([str(site.folder), "/more"]) == {}
    assert answer() == ["dist"]


def test_definitions_outlive_a_new_look_at_the_path(site: Site) -> None:
    """Keep them when only the index is written again, unless others are given."""
    site.install("dist", GOOD)
    settle(site)
    assert keep_definitions(DEFINITIONS, [])
    site.install("other", GOOD)
    settle(site, AN_HOUR_AGO + 2)
    assert answer() == ["dist", "other"]
    assert read_definitions([str(site.folder)]) == DEFINITIONS
    assert keep(scan(sys.path), b'{"new": 1}')
    assert read_definitions([str(site.folder)]) == {"new": 1}


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"1", b"null", b"{", b"\xff", b"[" * 100_000, b'"\\ud800"'],
    ids=["none", "list", "number", "null", "open", "no text", "deep", "surrogate"],
)
def test_definitions_that_are_no_object_are_none(site: Site, data: bytes) -> None:
    """Return nothing for what another program may have meant."""
    keep_it(site, data)
    assert read_definitions([str(site.folder)]) == {}


def test_definitions_of_absurd_lengths_are_none(site: Site) -> None:
    """Take no length from a header that the file does not have."""
    file = keep_it(site, b'{"a": 1}')
    words, size, _, total, *sums = file.read_bytes()[:HEADER].decode().split("\t")
    body = file.read_bytes()[HEADER:]
    for skip, length in (
        (size, 10**15),
        (size, 10**30),
        (10**30, 8),
        (size, -1),
        (-1, 8),
        (10**19, 8 - 10**19 + int(size)),
        (size, 7),
    ):
        fields = (words, skip, length, total, *sums)
        head = "\t".join(map(str, fields)).rstrip().ljust(HEADER)
        assert len(head) == HEADER
        file.write_bytes(head.encode() + body)
        assert read_definitions([str(site.folder)]) == {}


def test_file_too_large_to_be_ours_is_not_read(site: Site) -> None:
    """Read nothing of a file beyond the limit, and write a new one."""
    file = keep_it(site, b'{"a": 1}')
    data = file.read_bytes()
    words, size, length, _, *sums = data[:HEADER].decode().split("\t")
    more = MAX_BYTES + 1 - HEADER - int(size)
    fields = (words, size, more, MAX_BYTES + 1, *sums)
    head = "\t".join(map(str, fields)).rstrip().ljust(HEADER).encode()
    file.write_bytes(head + data[HEADER:])
    os.truncate(file, MAX_BYTES + 1)
    assert read_definitions([str(site.folder)]) == {}
    assert length == "8"


def test_definitions_made_from_young_files_wait_out_one_tick(site: Site) -> None:
    """Keep what imports have just changed, as soon as a next change would show."""
    site.install("dist", GOOD)
    settle(site)
    now = time.time_ns() | 1
    os.utime(site.folder, ns=(now, now))
    assert keep_definitions(DEFINITIONS, [now])
    assert read_definitions([str(site.folder)]) == DEFINITIONS
    assert time.time_ns() - now > TICK


def test_what_changes_while_a_tick_is_waited_out_is_kept_too(site: Site) -> None:
    """Look at the path once more after the wait."""
    site.install("dist", GOOD)
    settle(site)

    def watch(frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call" and what is time.sleep:
            sys.setprofile(None)
            site.install("late", GOOD)
            settle(site, AN_HOUR_AGO + 2)

    os.utime(site.folder)
    sys.setprofile(watch)
    try:
        assert keep_definitions(DEFINITIONS, [])
    finally:
        sys.setprofile(None)
    sections = read_sections(str(file_of(site)))
    assert sections is not None
    assert "late-1.0.dist-info" in sections[2]


def test_definitions_made_from_files_that_stay_young_are_not_kept(site: Site) -> None:
    """Wait once and not for ever: a later run keeps them."""
    settle(site)
    whole_second = time.time_ns() // SECOND * SECOND
    assert not keep_definitions(DEFINITIONS, [whole_second])
    assert not keep_definitions(DEFINITIONS, [time.time_ns() | 1, whole_second])
    assert read_definitions([str(site.folder)]) == {}


# --- many files -----------------------------------------------------------------------


def fill(count: int) -> list[Path]:
    """Write the files of other environments, the oldest first."""
    folder = Path(cache_folder())
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:03}.index" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text("another's")
        moment = AN_HOUR_AGO + number * SECOND
        os.utime(file, ns=(moment, moment))
    return files


def test_oldest_environments_go_when_there_are_too_many(site: Site) -> None:
    """Keep as many as promised, the latest ones, and the new one (B47)."""
    files = fill(MAX_FILES + 3)
    new = keep_it(site)
    left = sorted(Path(cache_folder()).iterdir())
    assert MAX_FILES == 32
    assert left == sorted([*files[4:], new])


def test_file_that_was_just_written_stays(site: Site) -> None:
    """Remove another where a clock makes the new one look oldest."""
    files = fill(MAX_FILES + 1)
    prune(except_for=str(files[0]))
    assert sorted(Path(cache_folder()).iterdir()) == files
    prune()
    assert sorted(Path(cache_folder()).iterdir()) == files[1:]
    for file in files[1:]:
        os.utime(file, ns=(0, time.time_ns() + AN_HOUR))
    new = keep_it(site)
    assert sorted(Path(cache_folder()).iterdir()) == sorted([*files[1:], new])


def test_files_of_writers_that_died_are_removed(site: Site) -> None:
    """Remove what was never renamed, but not what may be being written."""
    (old,) = fill(1)
    dead = old.rename(old.with_suffix(".index.123.new"))
    alive = file_of(site).with_suffix(".index.new")
    alive.write_text("half of it")
    alien = old.with_name("README")
    alien.write_text("not ours")
    os.utime(alien, ns=(AN_HOUR_AGO, AN_HOUR_AGO))
    new = keep_it(site)
    assert not dead.exists()
    assert sorted(new.parent.iterdir()) == sorted([alive, alien, new])


def test_file_that_another_process_removed_is_no_error(site: Site) -> None:
    """Prune past a file that is gone when it is looked at."""
    (file,) = fill(1)
    for suffix in (".index", ".new"):
        file.with_name(f"gone{suffix}").symlink_to("nowhere")
    prune()
    assert file.exists()


def test_clear_removes_all_files_and_counts_them(site: Site) -> None:
    """Count environments, remove left-overs too, and leave other files alone."""
    assert clear() == 0
    files = fill(3)
    keep_it(site)
    files[0].with_suffix(".index.1.new").write_text("left over")
    alien = files[0].with_name("README")
    alien.write_text("not ours")
    assert clear() == 4
    assert list(alien.parent.iterdir()) == [alien]
    assert clear() == 0


WRITER: Final = """
import sys
from toolkit.discovery.cache import keep
from toolkit.discovery.scan import scan
for number in range(150):
    keep(scan(sys.argv[1:2]), b'{"%s": "%s"}' % (sys.argv[2].encode(), b"x" * 5000))
"""


@pytest.mark.integration
def test_two_processes_that_write_at_once_leave_a_whole_file(site: Site) -> None:
    """Read one or the other at any moment, never a mixture, and nothing left over."""
    site.install("dist", GOOD)
    file = keep_it(site, b'{"first": 1}')
    root = Path(__file__).parents[2]
    children = [
        subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", WRITER, str(site.folder), name],
            env={**os.environ, "PYTHONPATH": str(root)},
            stderr=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    seen: set[str] = set()
    try:
        until = time.monotonic() + 40
        while any(one.poll() is None for one in children) and time.monotonic() < until:
            assert read_sections(str(file)) is not None
            seen.update(read_definitions([str(site.folder)]))
    finally:
        for child in children:
            child.kill()
            child.wait(timeout=5)
            assert child.stderr is not None
            child.stderr.close()
    assert {child.returncode for child in children} == {0}
    assert seen <= {"first", "one", "two"}
    assert {"one", "two"} & seen
    assert list(file.parent.iterdir()) == [file]
    assert answer() == ["dist"]
