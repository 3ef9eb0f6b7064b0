"""The pipeline on one page: sources in, catalog and report out."""

import logging
from collections.abc import Iterable
from json import JSONDecoder

import pytest
from pydantic import BaseModel

from toolkit import (
    DiscoveryFailedError,
    DiscoveryReport,
    Origin,
    RejectionReason,
    Settings,
    ToolCatalog,
    discover,
    hookimpl,
    tool,
)
from toolkit.discovery.pipeline import collision_policy
from toolkit.discovery.report import Candidate, Failure, Kind, Skip
from toolkit.discovery.sources import Found
from toolkit.naming import ToolName


class Sum:
    """Add numbers."""

    name = "sum"

    def execute(self, left: int, right: int) -> int:
        return left + right


class Model(BaseModel):
    name: str = "model"

    def execute(self) -> str:
        return self.name


@tool
def shout(text: str) -> str:
    """Upper-case."""
    return text.upper()


class Helper:
    name = "helper"

    async def run(self, message: str) -> str:
        return message


class Listed:
    """A source of exactly these."""

    def __init__(self, *found: Found) -> None:
        self.found = found

    def candidates(self) -> Iterable[Found]:
        return self.found


def at(owner: str, obj: object, kind: Kind = "tool", label: str = "e") -> Candidate:
    return Candidate(obj, Origin(owner, "1.0", f"toolkit.{kind}s", label, "m:x"), kind)


def run(
    *found: Found, settings: Settings | None = None, objects: Iterable[object] = ()
) -> tuple[ToolCatalog, DiscoveryReport]:
    return discover(settings, sources=[Listed(*found)], objects=objects)


def copy_of(cls: type) -> type:
    """Return another class of the same name."""
    return type(cls.__name__, (cls,), {"name": cls.__dict__["name"]})


def test_found_judged_named_and_listed() -> None:
    """Take each finding to its place in the catalog and in the report (S210)."""
    catalog, report = run(
        at("dist", Sum),
        at("dist", Model),
        Failure(Origin("bad"), "RuntimeError: no", "their lines", seconds=0.5),
        Skip(Origin("denied"), "on the deny list"),
        objects=[shout],
    )
    assert catalog.names() == ("shout", "sum")
    assert catalog.origin("sum") == at("dist", Sum).origin
    assert [one.qualified_name for one in report.accepted] == [
        "tests.shout",
        "dist.sum",
    ]
    assert [one.reason for one in report.rejected] == [RejectionReason.PYDANTIC_MODEL]
    (failed,) = report.failed
    assert (failed.detail, failed.traceback) == ("RuntimeError: no", "their lines")
    assert failed.seconds == 0.5
    assert [one.detail for one in report.skipped] == ["on the deny list"]
    assert report.seconds > 0


def test_schemas_never_become_tools() -> None:
    """Drop classes and instances, even with a tool's attributes (S9, S29, S30, B1)."""
    catalog, report = run(at("a", Model), at("a", Model()), objects=[Model, [Model()]])
    assert len(catalog) == 0
    assert {one.reason for one in report.rejected} == {RejectionReason.PYDANTIC_MODEL}
    assert len(report.rejected) == 4


def test_nothing_left_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    """Log an error and say ``empty``: never a silent empty list (B3, B12)."""
    with caplog.at_level(logging.INFO):
        _, report = run(at("a", Model), at("a", Helper, "agent"))
    assert report.status == "empty"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("discovery empty: 1 accepted, 1 rejected")


def test_success_is_one_line_of_information(caplog: pytest.LogCaptureFixture) -> None:
    """Log one line at level INFO when there are tools."""
    with caplog.at_level(logging.INFO):
        run(at("a", Sum))
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_agents_are_kept_apart_from_tools() -> None:
    """List an agent under its name, with its origin, and not as a tool."""
    catalog, report = run(at("a", Sum), at("a", Helper, "agent"), at("a", Sum, "agent"))
    assert catalog.names() == ("sum",)
    helper = catalog.agents["helper"]
    assert helper.load() is Helper
    assert helper.origin == at("a", Helper, "agent").origin
    assert [one.kind for one in report.rejected] == ["agent"]


def test_agents_of_one_name_collide_like_tools() -> None:
    """Give nobody the name, and both a full one."""
    found = (at("a", Helper, "agent"), at("b", copy_of(Helper), "agent"))
    catalog, report = run(*found)
    assert sorted(catalog.agents) == ["a__helper", "b__helper"]
    assert sorted(one.name for one in report.accepted) == ["a__helper", "b__helper"]
    assert [one.name for one in report.collisions] == ["helper"]


def test_same_object_counts_once_whatever_the_order() -> None:
    """Keep the first by origin, and say where the other is."""
    one, two = at("a", Sum, label="one"), at("b", Sum, label="two")
    for found in ((one, two), (two, one)):
        catalog, report = run(*found)
        assert catalog.origin("sum") == one.origin
        (twin,) = report.rejected
        assert twin.origin == two.origin
        assert twin.reason is RejectionReason.SAME_OBJECT
        assert str(one.origin) in twin.detail
        assert report.status == "healthy"


def test_objects_handed_in_of_one_name_collide() -> None:
    """Judge collisions over all sources together (B6)."""
    catalog, report = run(at("dist", Sum), objects=[copy_of(Sum)])
    assert catalog.names() == ("dist__sum", "tests__sum")
    assert [one.name for one in report.collisions] == ["sum"]


def test_names_of_scanned_candidates_are_told_when_they_are_dropped() -> None:
    """Say which attribute of which module it was."""
    private = Candidate(Sum, Origin("a"), attribute="_Sum", module="m", package="m")
    _, report = run(private)
    assert [(one.name, str(one.reason)) for one in report.rejected] == [
        ("_Sum", "private_name")
    ]


class Vetoes:
    @hookimpl
    def toolkit_veto_candidate(self, candidate: Candidate) -> str | None:
        return "not here" if candidate.origin.distribution == "b" else None


def test_veto_keeps_an_accepted_candidate_out() -> None:
    """Name the hook and its reason; a veto is no fault (S210)."""
    found = (at("a", Sum), at("b", shout), at("op", Vetoes(), "plugin", "rules"))
    catalog, report = run(*found)
    assert catalog.names() == ("sum",)
    (vetoed,) = report.rejected
    assert vetoed.reason is RejectionReason.VETOED
    assert "the hook of op:rules says: not here" in vetoed.detail
    assert report.status == "healthy"


def test_hook_module_that_is_refused_is_a_failure() -> None:
    """Report a broken hook module like any other plugin, and go on (S210)."""

    class Misspelled:
        @hookimpl
        def toolkit_veto_candidat(self) -> str:
            return "never asked"

    catalog, report = run(at("a", Sum), at("op", Misspelled(), "plugin"))
    assert catalog.names() == ("sum",)
    (failed,) = report.failed
    assert failed.kind == "plugin"
    assert failed.origin.distribution == "op"
    assert "toolkit_veto_candidat" in failed.detail


def test_plugins_are_known_before_anything_is_judged() -> None:
    """Ask every veto about every candidate, wherever its source stands."""
    sources = [Listed(at("b", Sum)), Listed(at("z", Vetoes(), "plugin"))]
    catalog, _ = discover(sources=sources)
    assert len(catalog) == 0


def test_strict_raises_everything_once() -> None:
    """Collect all faults in one group, after the whole discovery (S210)."""
    bad = Failure(Origin("bad"), "RuntimeError: no")
    found = (bad, at("a", Sum), at("b", copy_of(Sum)), at("c", Model))
    with pytest.raises(DiscoveryFailedError) as caught:
        run(*found, settings=Settings(strict=True))
    names = [type(one).__name__ for one in caught.value.exceptions]
    assert names == ["PluginLoadError", "InvalidToolError", "DuplicateToolError"]


def test_strict_is_silent_when_all_is_well() -> None:
    """Return as usual without a fault."""
    catalog, _ = run(at("a", Sum), settings=Settings(strict=True))
    assert catalog.names() == ("sum",)


@pytest.mark.parametrize(
    ("settings", "winner", "decided"),
    [
        (Settings(), "", False),
        (Settings(collisions="qualify"), "", True),
        (Settings(prefer={"sum": "b"}), "b", True),
        (Settings(prefer={"SUM": "B"}), "b", True),
        (Settings(prefer={"sum": "nobody"}), "", False),
        (Settings(prefer={"sum": "nobody"}, collisions="qualify"), "", True),
    ],
    ids=["refuse", "qualify", "prefer", "any case", "absent", "absent, qualify"],
)
def test_settings_choose_the_collision_policy(
    settings: Settings,
    winner: str,
    decided: bool,  # noqa: FBT001 - a table's column
) -> None:
    """Translate the two settings into one policy (B6)."""
    settlement = collision_policy(settings)(ToolName("sum"), [Origin("a"), Origin("b")])
    assert (settlement.winner.owner if settlement.winner else "") == winner
    assert settlement.decided is decided


def test_default_sources_are_installed_packages_and_named_modules() -> None:
    """Look at entry points and at the modules of the settings."""
    settings = Settings(modules=("tests.sample_tools",), deny=frozenset({"x"}))
    _, report = discover(settings)
    owners = {one.origin.owner for one in report.findings}
    assert {"toolkit-text", "tests"} <= owners


def test_discovery_without_arguments_uses_both(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Discover on an empty path: nothing is found, and that is said."""
    monkeypatch.setattr("sys.path", [])
    catalog, report = discover()
    assert len(catalog) == 0
    assert report.findings == ()
    assert "discovery empty" in caplog.text


def test_tool_that_cannot_be_compiled_is_rejected_with_its_reason() -> None:
    """Turn what only compiling can tell into a rejection like the others."""

    class Undescribable:
        name = "undescribable"

        def execute(self, thing: JSONDecoder) -> str:
            return ""

    _, report = run(at("a", Undescribable))
    (rejected,) = report.rejected
    assert rejected.reason is RejectionReason.UNSUPPORTED_SIGNATURE
    assert rejected.detail.endswith(RejectionReason.UNSUPPORTED_SIGNATURE.remedy)


def test_class_that_names_itself_in_its_constructor_is_made_once() -> None:
    """Judging and compiling share the one probe instance."""
    made: list[object] = []

    class NamesItself:
        def __init__(self) -> None:
            self.name = "names_itself"
            made.append(None)

        def execute(self) -> str:
            return self.name

    catalog, _ = run(at("a", NamesItself))
    assert catalog.names() == ("names_itself",)
    assert len(made) == 1
