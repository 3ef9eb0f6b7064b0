"""Where candidates come from, and what a plugin may do while it is loaded."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from tests.distributions import Site, good_tool, open_site
from toolkit import Origin, Settings
from toolkit.discovery.index import (
    AGENTS,
    PLUGINS,
    TOOLS,
    EntryPoint,
    Publisher,
    resolve,
)
from toolkit.discovery.report import Candidate, Failure, Skip
from toolkit.discovery.sources import (
    MAX_ITEMS,
    EntryPointSource,
    ModuleSource,
    ObjectSource,
    Unjudged,
    load,
    refusal_of,
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        yield site


class Sum:
    name = "sum"

    def execute(self) -> int:
        return 0


class Model(BaseModel):
    text: str = ""


class Pair(NamedTuple):
    left: int = 1


def publisher(*points: tuple[str, str], name: str = "dist") -> Publisher:
    """Return a distribution with (group, reference) entry points e0, e1, …."""
    listed = [EntryPoint(g, f"e{i}", ref) for i, (g, ref) in enumerate(points)]
    return Publisher(name, "1.0", tuple(listed))


def published(*points: tuple[str, str]) -> list[Unjudged]:
    return list(EntryPointSource([publisher(*points)], Settings()).candidates())


def objects(found: list[Unjudged]) -> list[object]:
    """Return the candidates' objects; anything else fails the test."""
    assert all(isinstance(one, Candidate) for one in found)
    return [one.obj for one in found if isinstance(one, Candidate)]


def handed_in(*things: object) -> list[Unjudged]:
    return list(ObjectSource(things).candidates())


# --- objects handed in ---------------------------------------------------------------


def test_object_handed_in_is_a_candidate_with_its_own_module_as_origin() -> None:
    """Take classes and instances alike, and say where each is defined (S210)."""
    instance = Sum()
    as_class, as_instance = handed_in(Sum, instance)
    for found, obj in ((as_class, Sum), (as_instance, instance)):
        assert isinstance(found, Candidate)
        assert found.obj is obj
        assert found.is_explicit
        assert found.origin == Origin(reference=f"{__name__}:Sum")


@pytest.mark.parametrize(
    "collection",
    [
        [Sum],
        (Sum,),
        {Sum},
        frozenset({Sum}),
        {"sum": Sum},
        MappingProxyType({"sum": Sum}),
        iter([Sum]),
        {"sum": Sum}.values(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_collection_gives_its_items(collection: object) -> None:
    """Expand every kind of iterable, and a mapping by its values."""
    assert objects(handed_in(collection)) == [Sum]


@pytest.mark.parametrize("thing", ["text", b"bytes", Pair(), Model(), Sum, 3, None])
def test_what_is_one_thing_is_not_taken_apart(thing: object) -> None:
    """Judge strings, records, models and classes whole, though some iterate (B1)."""
    assert objects(handed_in(thing)) == [thing]


def test_tool_that_iterates_is_one_tool() -> None:
    """Prefer the tool to its items when an object is both."""

    class Both(Sum):
        def __iter__(self) -> Iterator[int]:
            raise AssertionError

    both = Both()
    assert objects(handed_in(both)) == [both]


def test_endless_iterable_is_refused_whole() -> None:
    """Stop at a limit, take nothing, and say so (B12)."""
    (found,) = handed_in(itertools.repeat(Sum))
    assert isinstance(found, Failure)
    assert found.detail.startswith(f"more than {MAX_ITEMS} items")


def test_iterable_that_raises_is_a_failure_of_its_own() -> None:
    """Name the iterable and go on with the next object (B12)."""

    def halfway() -> Iterator[type]:
        yield Sum
        message = "no more"
        raise RuntimeError(message)

    failed, kept = handed_in(halfway(), Sum)
    assert isinstance(failed, Failure)
    assert failed.detail == "RuntimeError: no more"
    assert isinstance(kept, Candidate)


def test_mapping_that_raises_is_a_failure_of_its_own() -> None:
    """Fence a subclass's ``values`` as any other code of a plugin."""

    class Raises(dict[str, object]):
        def values(self) -> Any:
            raise SystemExit(3)

    failed, kept = handed_in(Raises(), Sum)
    assert isinstance(failed, Failure)
    assert failed.detail == "SystemExit: 3"
    assert isinstance(kept, Candidate)


def test_class_that_cannot_be_hashed_or_compared_is_looked_at_all_the_same() -> None:
    """Ask the real type only: no metaclass has a say in what an object is (S210)."""

    class Meta(type):
        def __hash__(cls) -> int:
            raise RuntimeError

        def __eq__(cls, other: object) -> bool:
            raise RuntimeError

    class Odd(metaclass=Meta):
        pass

    odd = Odd()
    (found,) = handed_in(odd)
    assert isinstance(found, Candidate)
    assert found.obj is odd


def test_object_that_lies_about_its_class_is_no_module(site: Site) -> None:
    """Believe the type and not ``__class__``, whatever it says or raises."""
    source = """
        import types
        class Lies:
            __class__ = property(lambda self: types.ModuleType)
        class Raises:
            __class__ = property(lambda self: 1 / 0)
        lies, raises = Lies(), Raises()
    """
    site.write({"liars.py": source})
    for name in ("lies", "raises"):
        (found,) = published((TOOLS, f"liars:{name}"))
        assert isinstance(found, Candidate)
        assert found.is_explicit


# --- modules -------------------------------------------------------------------------


def test_module_is_scanned_for_classes_instances_and_functions(site: Site) -> None:
    """Offer what could be a tool, or taken for one, and nothing else (S29, S30)."""
    source = """
        import os
        from pydantic import BaseModel
        from json import dumps
        class Model(BaseModel):
            text: str = ""
        class Tool:
            name = "tool"
            def execute(self): ...
        def function(): ...
        instance, model = Tool(), Model()
        number, text, nothing, path = 3, "text", None, os.path
        class HasNoDict:
            __dict__ = property(lambda self: 1 / 0)
        unreadable = HasNoDict()
    """
    site.write({"mod.py": source})
    found = list(ModuleSource(["mod"]).candidates())
    assert [one.attribute for one in found if isinstance(one, Candidate)] == [
        "BaseModel",
        "HasNoDict",
        "Model",
        "Tool",
        "function",
        "instance",
        "model",
        "unreadable",
    ]


def test_candidate_of_a_scan_knows_its_place(site: Site) -> None:
    """Carry module, package and attribute, and whether ``__all__`` lists it."""
    site.write(
        {"pkg/__init__.py": "", "pkg/mod.py": "__all__ = ['Good']" + good_tool("g")}
    )
    (found,) = ModuleSource(["pkg"]).candidates()
    assert isinstance(found, Candidate)
    assert (found.package, found.module, found.attribute) == ("pkg", "pkg.mod", "Good")
    assert found.is_listed
    assert not found.is_explicit
    assert found.origin.reference == "pkg.mod:Good"


def test_import_of_a_scanned_module_is_timed_once(site: Site) -> None:
    """Add the seconds of one import to one of its candidates, not to each."""
    site.write({"mod.py": good_tool("a", "A") + good_tool("b", "B")})
    found = list(ModuleSource(["mod"]).candidates())
    first, second = (one.seconds for one in found if isinstance(one, Candidate))
    assert first > 0
    assert second == 0


def test_module_handed_in_is_scanned(site: Site) -> None:
    """Scan a module object like a name."""
    module = ModuleType("made_up")
    module.__dict__["Sum"] = Sum
    (found,) = handed_in(module)
    assert isinstance(found, Candidate)
    assert found.attribute == "Sum"


@pytest.mark.parametrize(
    "line",
    [
        "globals()[3] = 4",
        "__all__ = [[], {}, 3]",
        "__all__ = 7",
        "def __getattr__(name): raise RuntimeError(name)",
        "def __getattr__(name): return 3",
    ],
)
def test_odd_module_is_scanned_all_the_same(site: Site, line: str) -> None:
    """Find the good tool whatever else is written in its module (S210)."""
    site.write({"odd.py": f"{good_tool('inside')}\n{line}\n"})
    found = objects(list(ModuleSource(["odd"]).candidates()))
    assert [getattr(one, "__name__", "") for one in found if isinstance(one, type)] == [
        "Good"
    ]


def test_module_that_breaks_the_scan_keeps_what_was_found(site: Site) -> None:
    """Turn the rest of a scan that raises into a failure of that module."""
    site.write({"odd.py": f"{good_tool('inside')}\n__path__ = 3\n"})
    good, failed = ModuleSource(["odd"]).candidates()
    assert isinstance(good, Candidate)
    assert isinstance(failed, Failure)
    assert failed.origin.reference == "odd"


def test_submodules_that_fail_do_not_hide_their_neighbours(site: Site) -> None:
    """Walk on past a module that cannot be imported, and name it (B12)."""
    site.write({"pkg/__init__.py": "", "pkg/good.py": good_tool("g")})
    site.write({"pkg/bad.py": "1 / 0", "pkg/exits.py": "import sys; sys.exit(2)"})
    site.write({"pkg/gone.py": "import sys; sys.modules[__name__] = 3"})
    found = list(ModuleSource(["pkg"]).candidates())
    failed = {f.origin.reference: f.detail for f in found if isinstance(f, Failure)}
    assert failed == {
        "pkg.bad": "ZeroDivisionError: division by zero",
        "pkg.exits": "SystemExit: 2",
        "pkg.gone": "importing it gives int, not a module",
    }
    assert [one.attribute for one in found if isinstance(one, Candidate)] == ["Good"]


def test_module_that_is_not_there_is_a_failure() -> None:
    """Name the module of the settings that cannot be imported."""
    (found,) = ModuleSource(["no_such_module_here"]).candidates()
    assert isinstance(found, Failure)
    assert found.origin.reference == "no_such_module_here"
    assert found.detail.startswith("ModuleNotFoundError")


# --- entry points --------------------------------------------------------------------


def test_entry_points_give_candidates_of_their_kind(site: Site) -> None:
    """Tell tools, agents and plugins apart by their group."""
    site.write({"mod.py": good_tool("g")})
    found = published((TOOLS, "mod:Good"), (AGENTS, "mod:Good"), (PLUGINS, "mod"))
    assert [one.kind for one in found] == ["tool", "agent", "plugin"]
    tool, _, plugin = found
    assert tool.origin == Origin("dist", "1.0", TOOLS, "e0", "mod:Good")
    assert isinstance(plugin, Candidate)
    assert isinstance(plugin.obj, ModuleType)


def test_entry_point_that_cannot_be_loaded_is_a_failure_with_its_origin(
    site: Site,
) -> None:
    """Keep text and traceback of what importing raised, and go on (B12)."""
    site.write({"mod.py": good_tool("g"), "bad.py": "1 / 0"})
    failed, kept = published((TOOLS, "bad:Tool"), (TOOLS, "mod:Good"))
    assert isinstance(failed, Failure)
    assert failed.origin == Origin("dist", "1.0", TOOLS, "e0", "bad:Tool")
    assert failed.detail == "ZeroDivisionError: division by zero"
    assert 'bad.py", line 1' in failed.traceback
    assert isinstance(kept, Candidate)


def test_items_of_a_published_list_are_named_one_by_one(site: Site) -> None:
    """Point at each item's own class, below the entry point's name."""
    site.write({"mod.py": good_tool("g") + "\nTOOLS = [Good, 3]\n"})
    references = [one.origin.reference for one in published((TOOLS, "mod:TOOLS"))]
    assert references == ["mod:Good", "int"]


def test_fault_of_the_metadata_is_told_beside_what_can_be_read(site: Site) -> None:
    """Load what there is, although some of it is lost."""
    site.write({"mod.py": good_tool("g")})
    point = EntryPoint(TOOLS, "e", "mod:Good")
    half = Publisher("dist", "1.0", (point,), fault="half of it is lost")
    failed, kept = EntryPointSource([half], Settings()).candidates()
    assert isinstance(failed, Failure)
    assert failed.detail == "half of it is lost"
    assert isinstance(kept, Candidate)


def test_refused_distribution_is_skipped_before_anything_is_imported(
    site: Site, tmp_path: Path
) -> None:
    """Import nothing of what the operator's lists keep out, broken or not (S210)."""
    trace = tmp_path / "imported"
    site.write({"mod.py": f"open({str(trace)!r}, 'w').close()" + good_tool("g")})
    publishers = [publisher((TOOLS, "mod:Good")), Publisher("broken", fault="junk")]
    source = EntryPointSource(publishers, Settings(allow=frozenset({"other"})))
    found = list(source.candidates())
    assert all(isinstance(one, Skip) for one in found)
    assert [one.origin.distribution for one in found] == ["dist", "broken"]
    assert not trace.exists()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (Settings(), ""),
        (Settings(allow=frozenset({"My_Dist"})), ""),
        (Settings(allow=frozenset()), "allow list"),
        (Settings(allow=frozenset({"other"})), "allow list"),
        (Settings(deny=frozenset({"my.DIST"})), "deny list"),
        (Settings(allow=frozenset({"my-dist"}), deny=frozenset({"my-dist"})), "deny"),
    ],
    ids=["no lists", "allowed", "none allowed", "other allowed", "denied", "both"],
)
def test_lists_compare_normalised_names_and_deny_wins(
    settings: Settings, word: str
) -> None:
    """Spell a distribution as anyone would; the refusal names the setting."""
    refusal = refusal_of("my--dist", settings)
    assert bool(refusal) == bool(word)
    assert word in refusal


# --- references and loading ----------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    ["os", "os.path", "os.path:join", " os : path.join ", "os:path [extra]"],
)
def test_reference_is_resolved(reference: str) -> None:
    """Read every form the entry points specification has."""
    assert resolve(reference) is not None


@pytest.mark.parametrize(
    "reference",
    ["", ":", "os:", ":path", "os path", "Word Count!", "os:a-b", "os\x00:a"],
)
def test_malformed_reference_is_refused_by_name(reference: str) -> None:
    """Say what a reference looks like, and import nothing."""
    with pytest.raises(ValueError, match="is no object reference such as"):
        resolve(reference)


def test_attribute_that_is_missing_is_told() -> None:
    """Let the attribute error tell."""
    with pytest.raises(AttributeError, match="nowhere"):
        resolve("os:path.nowhere")


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), BaseException("b")])
def test_loading_keeps_whatever_is_raised(error: BaseException) -> None:
    """Survive what ``except Exception`` does not catch (S210)."""

    def fail() -> None:
        raise error

    got = load(fail)
    assert got.error is error
    assert got.value is None
    assert got.seconds >= 0


def test_loading_tells_an_exception_returned_from_one_raised() -> None:
    """Take an exception object for what it is: a value."""
    error = ValueError("published, not raised")
    got = load(lambda: error)
    assert got.value is error
    assert got.error is None


def test_interrupt_of_the_user_passes() -> None:
    """Let Ctrl-C end discovery."""
    with pytest.raises(KeyboardInterrupt):
        load(lambda: signal.raise_signal(signal.SIGINT))


def test_interrupt_that_code_raises_by_itself_is_a_failure() -> None:
    """Keep what no signal has caused, like a call of `sys.exit` (S210)."""

    def stated() -> None:
        raise KeyboardInterrupt

    assert type(load(stated).error) is KeyboardInterrupt


def test_interrupt_while_a_module_is_read_passes(site: Site) -> None:
    """Let Ctrl-C end a scan as well."""
    source = """
        import signal
        class Stops:
            @property
            def __dict__(self):
                signal.raise_signal(signal.SIGINT)
        stops = Stops()
    """
    site.write({"mod.py": source})
    with pytest.raises(KeyboardInterrupt):
        list(ModuleSource(["mod"]).candidates())
