"""Who publishes: installed metadata, however broken it is, read without importing."""

from pathlib import Path

import pytest

from tests.distributions import Site
from toolkit.discovery.index import AGENTS, GROUPS, PLUGINS, TOOLS, publishers
from toolkit.origin import Origin

GOOD = "[toolkit.tools]\nsum = pkg.tools:Sum\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def names(*folders: Path) -> list[str]:
    return [one.name for one in publishers([str(folder) for folder in folders])]


def test_publisher_has_its_entry_points_in_our_groups_sorted(site: Site) -> None:
    """Read the three groups and leave those of others alone (S210)."""
    points = {
        TOOLS: {"b": "m:B", "a": "m:A"},
        AGENTS: {"c": "m:C"},
        PLUGINS: {"d": "m"},
        "console_scripts": {"run": "m:main"},
    }
    site.install("dist", points)
    (found,) = publishers([str(site.folder)])
    labels = [(one.group, one.name) for one in found.entry_points]
    assert labels == [(AGENTS, "c"), (PLUGINS, "d"), (TOOLS, "a"), (TOOLS, "b")]
    assert {one.group for one in found.entry_points} == set(GROUPS)


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
def test_names_are_normalised(site: Site, written: str) -> None:
    """Compare distributions as the packaging specifications do (B6)."""
    site.install(written, GOOD)
    assert names(site.folder) == ["my-tools-extra"]


def test_distribution_that_publishes_nothing_here_is_no_publisher(site: Site) -> None:
    """Leave other people's packages, and empty metadata folders, out of the report."""
    site.install("library")
    site.install("script", {"console_scripts": {"run": "m:main"}})
    site.install("empty", metadata="")
    assert names(site.folder) == []


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        ("[toolkit.tools]\nä = m:x\n".encode("latin-1"), "UnicodeDecodeError"),
        (GOOD.encode("utf-16"), "UnicodeDecodeError"),
        (GOOD.encode("utf-8-sig"), "no entry point can be read in its group"),
        ("[toolkit.tools]\nthis is no entry point\n", "TypeError"),
        ("[toolkit.tools\nsum = pkg:Sum\n", "no entry point can be read in its group"),
        ("[toolkit.tools]\n", "no entry point can be read in its group toolkit.tools"),
    ],
    ids=["latin-1", "utf-16", "byte-order mark", "junk", "open bracket", "empty group"],
)
def test_entry_points_that_cannot_be_read_are_a_fault_of_their_distribution(
    site: Site, points: str | bytes, fault: str
) -> None:
    """Name whoever wrote them, and still find the others (B12)."""
    site.install("broken", points)
    site.install("good", GOOD)
    broken, good = publishers([str(site.folder)])
    assert (broken.name, broken.version) == ("broken", "1.0")
    assert broken.entry_points == ()
    assert broken.fault.startswith("broken entry_points.txt: ")
    assert fault in broken.fault
    assert good.fault == ""
    assert len(good.entry_points) == 1


def test_group_that_is_lost_does_not_take_the_other_groups_along(site: Site) -> None:
    """Keep what can be read beside the fault."""
    site.install(
        "half", b"\xef\xbb\xbf" + GOOD.encode() + b"[toolkit.agents]\nx = m:X\n"
    )
    (found,) = publishers([str(site.folder)])
    assert [one.group for one in found.entry_points] == [AGENTS]
    assert found.fault.endswith("in its group toolkit.tools")


@pytest.mark.parametrize(
    "metadata",
    [
        "Metadata-Version: 2.1\nVersion: 1.0\n",
        "Metadata-Version: 2.1\nName: nobody\n",
        "Metadata-Version: 2.1\nName: ä\nVersion: 1\n".encode("latin-1"),
        b"\x00\x01\x02",
        "",
    ],
    ids=["no name", "no version", "latin-1", "junk", "no file"],
)
def test_metadata_that_cannot_be_read_is_named_by_its_folder(
    site: Site, metadata: str | bytes
) -> None:
    """Name the folder when the metadata does not name itself, and find the others."""
    site.install("Broken_One", GOOD, metadata=metadata)
    site.install("good", GOOD)
    broken, good = publishers([str(site.folder)])
    assert broken.name == "broken-one"
    assert broken.fault.startswith("broken metadata: ")
    assert good.fault == ""


def test_broken_metadata_of_a_package_without_tools_is_nobodys_business(
    site: Site,
) -> None:
    """Stay silent about packages that have nothing to do with us."""
    site.install("theirs", {"console_scripts": {"a": "m:x"}}, metadata=b"\x00")
    assert names(site.folder) == []


def test_unreadable_metadata_and_entry_points_are_named_all_the_same(
    site: Site,
) -> None:
    """Suspect a package whose entry points cannot even be decoded."""
    site.install("riddle", b"\xff\xfe\x00", metadata=b"\x00")
    (found,) = publishers([str(site.folder)])
    assert found.name == "riddle"
    assert found.fault


def test_key_that_stands_twice_gives_both_entry_points(site: Site) -> None:
    """Keep both: judging tells which are the same, and which collide (B6)."""
    site.install("twice", "[toolkit.tools]\na = m:x\na = m:y\n")
    (found,) = publishers([str(site.folder)])
    assert [one.reference for one in found.entry_points] == ["m:x", "m:y"]


def test_distribution_installed_twice_counts_as_first_on_the_path(
    tmp_path: Path,
) -> None:
    """Take the one that an import would take."""
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    near.install("dist", GOOD, version="1.0")
    far.install("dist", GOOD, version="2.0")
    for path, version in (((near, far), "1.0"), ((far, near), "2.0")):
        (found,) = publishers([str(one.folder) for one in path])
        assert found.version == version


def test_first_distribution_counts_even_if_only_the_second_publishes(
    tmp_path: Path,
) -> None:
    """Never read the entry points of a version that an import would not reach."""
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    near.install("dist", version="2.0")
    far.install("dist", GOOD, version="1.0")
    assert names(near.folder, far.folder) == []


def test_folder_twice_on_the_path_counts_once(site: Site) -> None:
    """Publish once what is reachable twice."""
    site.install("dist", GOOD)
    assert names(site.folder, site.folder) == ["dist"]


def test_order_of_folders_does_not_show(tmp_path: Path) -> None:
    """Answer alike whatever the order of unrelated folders is."""
    sites = [Site(tmp_path / letter) for letter in "abc"]
    for index, one in enumerate(sites):
        one.install(f"dist-{index}", GOOD)
    folders = [str(one.folder) for one in sites]
    assert publishers(folders) == publishers(folders[::-1])


def test_path_may_hold_what_is_no_folder(site: Site, tmp_path: Path) -> None:
    """Look past missing folders and plain files, as imports do."""
    site.install("dist", GOOD)
    file = tmp_path / "file.txt"
    file.write_text("not a folder")
    assert names(tmp_path / "missing", file, site.folder) == ["dist"]


def test_default_path_is_that_of_the_interpreter(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read ``sys.path`` at the time of asking."""
    site.install("dist", GOOD)
    monkeypatch.setattr("sys.path", [str(site.folder)])
    assert [one.name for one in publishers()] == ["dist"]


def test_old_style_metadata_folder_is_read_too(site: Site) -> None:
    """Read an ``.egg-info`` folder, which old editable installs leave behind."""
    folder = site.folder / "Old_Dist.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Name: Old_Dist\nVersion: 0.1\n")
    (folder / "entry_points.txt").write_text(GOOD)
    assert names(site.folder) == ["old-dist"]
