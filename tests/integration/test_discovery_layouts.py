"""However a package is laid out or installed, its tools are found once."""

import sys
from collections.abc import Iterator
from pathlib import Path
from site import addsitedir

import pytest

from tests.distributions import (
    Site,
    discover_in,
    good_tool,
    importable,
    open_site,
)
from toolkit import RejectionReason, Settings, tool
from toolkit.discovery.index import TOOLS


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        yield site


def test_package_is_scanned_to_the_bottom(site: Site) -> None:
    """Find tools in packages in packages, and folders without ``__init__`` (S210)."""
    files = {
        "deep/__init__.py": good_tool("top"),
        "deep/mod.py": good_tool("mod"),
        "deep/sub/__init__.py": "",
        "deep/sub/mod.py": good_tool("sub"),
        "deep/bare/mod.py": good_tool("bare"),
        "deep/bare/_private/mod.py": good_tool("hidden"),
        "deep/__main__.py": "raise RuntimeError('this is a script')",
    }
    site.install("deep", {TOOLS: {"all": "deep"}}, files)
    catalog, report = site.discover()
    assert catalog.names() == ("bare", "mod", "sub", "top")
    origin = catalog.origin("sub")
    assert origin is not None
    assert str(origin) == "deep 1.0 (toolkit.tools: all = deep.sub.mod:Good)"
    assert report.status == "healthy"


def test_namespace_package_of_two_distributions_is_one_tree(tmp_path: Path) -> None:
    """Scan both parts of a namespace, and count each tool once (S210)."""
    left, right = Site(tmp_path / "left"), Site(tmp_path / "right")
    points = {TOOLS: {"part": "acme.left"}}
    left.install("acme-left", points, {"acme/left/mod.py": good_tool("left")})
    points = {TOOLS: {"part": "acme.right:Good"}}
    right.install("acme-right", points, {"acme/right.py": good_tool("right")})
    folders = [left.folder, right.folder]
    with importable(*folders):
        apart, _ = discover_in(folders)
        together, _ = discover_in([], Settings(modules=("acme",)))
    assert apart.names() == ("left", "right")
    assert together.names() == ("left", "right")


def test_links_in_a_package_do_not_multiply_its_tools(site: Site) -> None:
    """End at links back up, across, and to themselves (S210)."""
    files = {"loop/__init__.py": "", "loop/a/__init__.py": good_tool("once")}
    site.install("loop", {TOOLS: {"all": "loop"}}, {**files, "loop/b/m.py": ""})
    for here, there in (("a/up", "."), ("a/b", "b"), ("b/a", "a"), ("b/self", "b")):
        link = site.folder / "loop" / here
        link.symlink_to(site.folder / "loop" / there, target_is_directory=True)
    catalog, report = site.discover()
    assert catalog.names() == ("once",)
    assert report.collisions == ()


def test_private_and_re_exported_names_are_left_where_they_are(site: Site) -> None:
    """Publish a tool once, from the module that defines it."""
    files = {
        "pkg/__init__.py": (
            "from json import JSONDecoder\n"
            "from pkg.mod import Good\n"
            "from pkg._inner import Listed, Unlisted\n"
            "__all__ = ['JSONDecoder', 'Listed']\n"
        ),
        "pkg/mod.py": good_tool("good") + good_tool("private", "_Private"),
        "pkg/_inner.py": good_tool("listed", "Listed") + good_tool("un", "Unlisted"),
    }
    site.install("pkg", {TOOLS: {"all": "pkg"}}, files)
    catalog, report = site.discover()
    assert catalog.names() == ("good", "listed")
    dropped = {one.name: one.reason for one in report.rejected}
    assert dropped == {
        "Good": RejectionReason.RE_EXPORTED,
        "JSONDecoder": RejectionReason.RE_EXPORTED,
        "Unlisted": RejectionReason.RE_EXPORTED,
        "_Private": RejectionReason.PRIVATE_NAME,
    }


def test_every_way_to_publish_gives_the_same_tool(site: Site) -> None:
    """Publish a class, an instance, a function, a list, a mapping, a module (S36)."""
    source = "\n".join(
        [
            "from toolkit import tool",
            good_tool("as_class", "AsClass"),
            good_tool("as_instance", "_AsInstance"),
            good_tool("in_list", "_InList"),
            good_tool("in_mapping", "_InMapping"),
            good_tool("iterated", "_Iterated"),
            "@tool\ndef as_function() -> str:\n    return 'as_function works'",
            "instance, listed = _AsInstance(), [_InList]",
            "mapped, iterated = {'x': _InMapping()}, {'y': _Iterated}.values()",
        ]
    )
    points = {
        label: f"ways:{name}"
        for label, name in {
            "class": "AsClass",
            "instance": "instance",
            "function": "as_function",
            "list": "listed",
            "mapping": "mapped",
            "iterable": "iterated",
        }.items()
    }
    files = {"ways.py": source, "ways_mod.py": good_tool("in_module")}
    site.install("ways", {TOOLS: {**points, "module": "ways_mod"}}, files)
    catalog, report = site.discover()
    assert report.status == "healthy"
    assert catalog.names() == (
        "as_class",
        "as_function",
        "as_instance",
        "in_list",
        "in_mapping",
        "in_module",
        "iterated",
    )


def test_modules_of_the_settings_and_objects_join_the_installed(site: Site) -> None:
    """Take all three sources into one catalog, each with its own origin (S210)."""

    @tool
    def handed_in() -> str:
        """Say so."""
        return "handed in"

    site.install_tool("installed", "installed_mod", "installed")
    site.write({"scanned/__init__.py": "", "scanned/mod.py": good_tool("scanned")})
    settings = Settings(modules=("scanned", "no_such_module"))
    catalog, report = site.discover(settings, objects=[handed_in])
    assert catalog.names() == ("handed_in", "installed", "scanned")
    owners = [getattr(catalog.origin(name), "owner", "") for name in catalog.names()]
    assert owners == ["tests", "installed", "scanned"]
    assert [one.origin.reference for one in report.failed] == ["no_such_module"]


def test_path_file_makes_a_folder_elsewhere_importable(
    site: Site, tmp_path: Path
) -> None:
    """Follow a ``.pth`` file, as old and new editable installs write them (S210)."""
    elsewhere = Site(tmp_path / "checkout/src")
    elsewhere.write({"edited.py": good_tool("edited")})
    site.install("edited", {TOOLS: {"tool": "edited:Good"}})
    site.write({"__editable__.edited.pth": f"{elsewhere.folder}\n"})
    before, _ = site.discover()
    assert len(before) == 0
    with importable(elsewhere.folder):
        sys.path.remove(str(elsewhere.folder))  # the file alone has to do it
        addsitedir(str(site.folder))
        after, report = site.discover()
    assert after.names() == ("edited",)
    assert report.status == "healthy"
