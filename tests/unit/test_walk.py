"""Walking packages of real folders, and tracebacks that show their frames only."""

import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from tests.distributions import Site, importable, open_site
from toolkit.discovery.sources import load
from toolkit.discovery.walk import MAX_DEPTH, submodules, their_traceback


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        yield site


def walk(module: ModuleType, walked: set[str] | None = None) -> list[str]:
    """List all modules below a package, as discovery imports them."""
    walked = set() if walked is None else walked
    names = []
    for name in submodules(module, walked):
        names += [name, *walk(importlib.import_module(name), walked)]
    return names


def test_packages_are_walked_to_the_bottom_in_order(site: Site) -> None:
    """Find modules, packages and packages in packages, sorted (S210)."""
    files = ["pkg/__init__", "pkg/z", "pkg/a/__init__", "pkg/a/b/__init__", "pkg/a/b/c"]
    site.write(dict.fromkeys((f"{file}.py" for file in files), ""))
    found = walk(importlib.import_module("pkg"))
    assert found == ["pkg.a", "pkg.a.b", "pkg.a.b.c", "pkg.z"]


def test_plain_module_has_no_submodules(site: Site) -> None:
    """Treat a module without a path as what it is."""
    site.write({"plain.py": ""})
    assert walk(importlib.import_module("plain")) == []


def test_private_and_unimportable_names_are_passed_over(site: Site) -> None:
    """Never run ``__main__``, private modules, or scripts that are no modules."""
    files = ["__init__", "__main__", "_private", "run-me", "1st", "public"]
    site.write({f"pkg/{file}.py": "" for file in files})
    site.write({"pkg/_hidden/__init__.py": "", "pkg/_bare/inside.py": ""})
    assert walk(importlib.import_module("pkg")) == ["pkg.public"]


def test_folders_without_init_are_packages_too(site: Site) -> None:
    """Walk a namespace folder in a package, and not folders that hold no code."""
    site.write({"pkg/__init__.py": "", "pkg/bare/mod.py": "", "pkg/bare/deep/m.py": ""})
    site.write(
        {"pkg/data/table.csv": "", "pkg/__pycache__/x.py": "", "pkg/a b/m.py": ""}
    )
    found = walk(importlib.import_module("pkg"))
    assert found == ["pkg.bare", "pkg.bare.deep", "pkg.bare.deep.m", "pkg.bare.mod"]


def test_namespace_package_is_walked_in_all_its_folders(tmp_path: Path) -> None:
    """Join the parts that two distributions install into one namespace."""
    left, right = Site(tmp_path / "left"), Site(tmp_path / "right")
    left.write({"space/one.py": "", "space/both/left.py": ""})
    right.write({"space/two.py": "", "space/both/right.py": ""})
    with importable(left.folder, right.folder):
        found = walk(importlib.import_module("space"))
    assert found == [
        "space.both",
        "space.both.left",
        "space.both.right",
        "space.one",
        "space.two",
    ]


def test_link_back_up_is_not_followed(site: Site) -> None:
    """End the walk at a link to a folder above, with and without ``__init__``."""
    site.write({"pkg/__init__.py": "", "pkg/sub/__init__.py": "", "pkg/bare/m.py": ""})
    (site.folder / "pkg/sub/up").symlink_to(site.folder / "pkg")
    (site.folder / "pkg/bare/up").symlink_to(site.folder / "pkg")
    (site.folder / "pkg/bare/self").symlink_to(site.folder / "pkg/bare")
    found = walk(importlib.import_module("pkg"))
    assert found == ["pkg.bare", "pkg.bare.m", "pkg.sub"]


def test_links_that_lead_to_each_other_end(site: Site) -> None:
    """Walk each real folder once, however many links lead there (no explosion)."""
    site.write({"pkg/__init__.py": "", "pkg/a/m.py": "", "pkg/b/n.py": ""})
    for here, there in (("a", "b"), ("b", "a")):
        for link in "xyz":
            (site.folder / "pkg" / here / link).symlink_to(site.folder / "pkg" / there)
    found = walk(importlib.import_module("pkg"))
    assert found == ["pkg.a", "pkg.a.m", "pkg.a.x", "pkg.a.x.n"]


def test_broken_link_is_no_package(site: Site) -> None:
    """Look past links that lead nowhere, or to themselves."""
    site.write({"pkg/__init__.py": ""})
    (site.folder / "pkg/own").symlink_to(site.folder / "pkg/own")
    (site.folder / "pkg/gone").symlink_to(site.folder / "nowhere")
    assert walk(importlib.import_module("pkg")) == []


def test_walk_ends_at_a_depth(site: Site) -> None:
    """Give up on a tree that no package has."""
    levels = [f"d{level}" for level in range(MAX_DEPTH + 3)]
    paths = ["/".join(["pkg", *levels[:count]]) for count in range(len(levels))]
    site.write({f"{path}/__init__.py": "" for path in paths})
    assert len(walk(importlib.import_module("pkg"))) == MAX_DEPTH


@pytest.mark.parametrize("path", [["/no/such/folder"], [], ["zip.zip/inside"]])
def test_path_of_a_package_may_lead_nowhere(path: list[str]) -> None:
    """Find nothing in a folder that is not there."""
    module = ModuleType("somewhere")
    module.__path__ = path
    assert list(submodules(module, set())) == []


def test_module_that_answers_for_its_path_is_not_asked(site: Site) -> None:
    """Read what a module holds, without its ``__getattr__`` having a say (S210)."""
    site.write({"raises.py": "def __getattr__(name): raise RuntimeError(name)"})
    site.write({"invents.py": "def __getattr__(name): return 3"})
    for name in ("raises", "invents"):
        assert walk(importlib.import_module(name)) == []


# --- tracebacks ----------------------------------------------------------------------


def raised_by(name: str) -> BaseException:
    """Return what importing a module raises."""
    error = load(partial(importlib.import_module, name)).error
    assert error is not None
    return error


def test_traceback_shows_their_frames_and_not_ours(site: Site) -> None:
    """Point at the author's line; the importer's frames help nobody (B12)."""
    source = """
        def fail():
            raise RuntimeError("their fault")
        fail()
    """
    site.write({"failing.py": source})
    text = their_traceback(raised_by("failing"))
    assert 'failing.py", line 3, in fail' in text
    assert text.endswith("RuntimeError: their fault\n")
    assert "importlib" not in text
    assert "toolkit/discovery" not in text


def test_traceback_of_a_chain_shows_each_cause(site: Site) -> None:
    """Keep both halves of ``raise … from``, and of an error while handling another."""
    source = """
        try:
            import importlib
            importlib.import_module("a_module_that_nobody_ever_installs")
        except ImportError as error:
            raise RuntimeError("install it first") from error
    """
    site.write({"chained.py": source})
    text = their_traceback(raised_by("chained"))
    assert "ModuleNotFoundError" in text
    assert "direct cause" in text
    assert "importlib/__init__.py" not in text
    assert "frozen importlib" not in text


def test_syntax_error_shows_the_line(site: Site) -> None:
    """Show where the parser stopped."""
    site.write({"wrong.py": "def f(:\n"})
    text = their_traceback(raised_by("wrong"))
    assert "wrong.py" in text
    assert "def f(:" in text


def test_traceback_that_cannot_be_shown_is_replaced(site: Site) -> None:
    """Name the exception even when showing it raises, or would end the process."""
    source = """
        class Hostile(Exception):
            @property
            def __notes__(self):
                raise SystemExit(3)
        raise Hostile("text")
    """
    site.write({"hostile.py": source})
    text = their_traceback(raised_by("hostile"))
    assert text == "Hostile: text (its traceback cannot be shown)\n"


def test_interrupt_while_showing_a_traceback_passes() -> None:
    """Let the user stop even here."""

    class Interrupts(Exception):  # noqa: N818 - it interrupts
        def __getattribute__(self, name: str) -> object:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        their_traceback(Interrupts())
