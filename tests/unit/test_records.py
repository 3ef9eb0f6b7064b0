"""What is kept of a distribution: plain JSON, and it knows when it is out of date."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import Site, good_tool, open_site
from toolkit.compiler import CompiledTool
from toolkit.context import UserContext
from toolkit.contract import RejectionReason
from toolkit.deferred import Drifts
from toolkit.discovery.contact import contact
from toolkit.discovery.index import Publisher, publishers
from toolkit.discovery.loading import Imported, Loader, find_object
from toolkit.discovery.records import (
    Contacted,
    Place,
    is_keepable,
    pack,
    pack_definition,
    points_of,
    stamp,
    stamps_of,
    still_holds,
    unpack,
    unpack_definition,
)
from toolkit.discovery.report import Cause, Failure, Judged
from toolkit.errors import ToolUnavailableError
from toolkit.naming import ToolName
from toolkit.tools import ToolDefinition

pytestmark = pytest.mark.integration  # real files or processes in every test

SOURCE = """
from enum import Enum
from toolkit import tool

class Colour(Enum):
    red = 1

@tool(tags={"b", "a"}, required_scopes={"x"}, timeout=3, read_only=True)
def paint(colour: str = "red") -> str:
    "Paint."
    return colour
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        points = {"toolkit.tools": {"p": "paint_mod"}, "pydantic": {"x": "y:z"}}
        site.install("painter", points, {"paint_mod.py": SOURCE})
        yield site
    sys.modules.pop("paint_mod", None)  # also where a test has removed its file


def publisher(site: Site) -> Publisher:
    (found,) = publishers([str(site.folder)])
    return found


def record(site: Site) -> dict[str, Any]:
    """Contact the one publisher and return its record, as it comes back from JSON."""
    one = publisher(site)
    packed = pack(one, contact(one), stamps_of(one))
    again: dict[str, Any] = json.loads(json.dumps(packed))
    assert again == packed  # nothing in it changes on its way
    return again


def loader(**parts: Any) -> Loader:
    told = {
        "refusal": lambda _: "",
        "left_out": None,
        "drifts": Drifts(),
        "forget": lambda _: None,
        **parts,
    }
    return Loader(**told)


def restored(
    site: Site, kept: Mapping[str, Any], **parts: Any
) -> dict[str, Judged | Failure]:
    one = publisher(site)
    return by_name(
        unpack(kept, one, loader(**parts).for_publisher(one, kept.get("stamps", [])))
    )


def by_name(found: Iterable[Contacted]) -> dict[str, Judged | Failure]:
    told: dict[str, Judged | Failure] = {}
    for one in found:
        if isinstance(one, Judged):
            told[one.candidate.attribute] = one
        elif isinstance(one, Failure):
            told["failure"] = one
    return told


def test_definition_survives_the_way_there_and_back() -> None:
    """Keep each field of a definition, whatever it holds."""
    definition = ToolDefinition(
        name=ToolName("a"),
        qualified_name="b.a",
        description="ä\n",
        input_schema_json="{}",
        output_schema_json=None,
        version="1",
        tags=("x", "y"),
        required_scopes=frozenset({"z", "w"}),
        timeout=2.5,
        destructive=False,
        streaming=True,
    )
    packed = json.loads(json.dumps(pack_definition(definition)))
    assert unpack_definition(packed) == definition


def test_record_gives_what_contact_gave(site: Site) -> None:
    """Restore verdicts, definitions and places, with nothing imported for it."""
    fresh, again = by_name(contact(publisher(site))), restored(site, record(site))
    assert set(again) == set(fresh) == {"Colour", "Enum", "paint"}
    for name, one in again.items():
        first = fresh[name]
        assert isinstance(one, Judged)
        assert isinstance(first, Judged)
        assert one.verdict == first.verdict
        assert one.identity == first.identity
        assert one.candidate.origin == first.candidate.origin
        assert (one.tool is None) is (first.tool is None)
    paint = again["paint"]
    assert isinstance(paint, Judged)
    assert paint.tool is not None
    assert not paint.tool.is_loaded
    assert paint.tool.definition.required_scopes == {"x"}
    assert paint.candidate.obj is paint.tool.target  # importing it now
    colour = again["Colour"]
    assert isinstance(colour, Judged)
    assert colour.verdict.reason is RejectionReason.ENUM


def test_failure_is_told_again_and_keeps_a_record_from_being_kept(site: Site) -> None:
    """Try again each time what failed (B12)."""
    site.write({"paint_mod.py": "import nowhere_at_all"})
    found = contact(publisher(site))
    assert not is_keepable(found)
    failure = restored(site, record(site))["failure"]
    assert isinstance(failure, Failure)
    assert failure.cause is Cause.IMPORT_FAILED
    assert "nowhere_at_all" in failure.traceback
    assert is_keepable([])


def edit_source(site: Site) -> None:
    site.write({"paint_mod.py": SOURCE + "#"})


def edit_metadata(site: Site) -> None:
    with (site.folder / "painter-1.0.dist-info/METADATA").open("a") as file:
        file.write("Summary: edited\n")


def add_record(site: Site) -> None:
    (site.folder / "painter-1.0.dist-info/RECORD").write_text("")


def remove_source(site: Site) -> None:
    (site.folder / "paint_mod.py").unlink()


def touch_source(site: Site) -> None:
    os.utime(site.folder / "paint_mod.py", ns=(1, 1))


@pytest.mark.parametrize(
    "change", [edit_source, edit_metadata, add_record, remove_source, touch_source]
)
def test_record_is_out_of_date_once_a_file_differs(
    site: Site, change: Callable[[Site], None]
) -> None:
    """Believe a record only while its files are as they were (B12)."""
    kept = record(site)
    assert still_holds(kept, publisher(site))
    change(site)
    assert not still_holds(kept, publisher(site))


def test_record_of_another_installation_is_not_believed(site: Site) -> None:
    """Compare version, folder and entry points too."""
    kept, one = record(site), publisher(site)
    assert points_of(one) == [["toolkit.tools", "p", "paint_mod"]]
    others = [
        {**kept, "version": "2.0"},
        {**kept, "folder": "/elsewhere"},
        {**kept, "points": []},
        {**kept, "stamps": None},
        {},
    ]
    assert not any(still_holds(other, one) for other in others)


def test_new_module_in_a_scanned_package_is_noticed(site: Site) -> None:
    """Look at the folders of packages, where a module may appear."""
    points = {"toolkit.tools": {"p": "pack_mod"}}
    site.install("packer", points, {"pack_mod/__init__.py": ""})
    one = next(p for p in publishers([str(site.folder)]) if p.name == "packer")
    kept = pack(one, contact(one), stamps_of(one))
    assert still_holds(kept, one)
    site.write({"pack_mod/more.py": good_tool("more")})
    assert not still_holds(kept, one)


@pytest.mark.parametrize("key", ["kind", "definition", "module", "identity", "is"])
def test_record_with_a_part_missing_is_told_as_such(site: Site, key: str) -> None:
    """Raise what the caller expects of damage, never give half of it."""
    kept = record(site)
    for one in kept["found"]:
        one.pop(key)
    with pytest.raises((KeyError, TypeError, ValueError)):
        restored(site, kept)


def test_stamp_of_nothing_and_of_folders(tmp_path: Path) -> None:
    """Have a stamp for whatever is there, or is not."""
    assert stamp(str(tmp_path / "missing")) == (-1, -1)
    assert stamp("\0") == (-1, -1)
    assert stamp(str(tmp_path)) == (tmp_path.stat().st_mtime_ns, -1)


# --- loading --------------------------------------------------------------------------


def test_loaded_tool_runs_and_is_noted_as_imported(site: Site) -> None:
    """Load a tool from its place; take note of its distribution's files."""
    imported = Imported()
    paint = restored(site, record(site), imported=imported)["paint"]
    assert isinstance(paint, Judged)
    assert paint.tool is not None
    instance = paint.tool.instantiate(UserContext(user_id="ann"))
    assert instance.execute("blue") == "blue"  # type: ignore[attr-defined]  # a tool
    assert imported.drop_changed() == ()
    edit_source(site)
    assert imported.drop_changed() == ("painter",)
    assert imported.drop_changed() == ()


def test_difference_is_reported_and_the_record_forgotten(site: Site) -> None:
    """Compare every field with what the tool was listed with (B49)."""
    drifts, forgotten = Drifts(), list[str]()
    kept = record(site)
    site.write({"paint_mod.py": SOURCE.replace("Paint.", "Draw.")})
    Imported().drop_changed()
    sys.modules.pop("paint_mod")
    paint = restored(site, kept, drifts=drifts, forget=forgotten.append)["paint"]
    assert isinstance(paint, Judged)
    assert paint.tool is not None
    assert paint.tool.definition.description == "Paint."
    paint.tool.begin_loading().result(5)
    assert paint.tool.definition.description == "Draw."
    assert [one.changed for one in drifts()] == [("description",)]
    assert forgotten == ["painter"]


def test_distribution_that_is_refused_meanwhile_is_not_imported(site: Site) -> None:
    """Ask the walls again before a known tool is imported (S210)."""
    paint = restored(site, record(site), refusal=lambda _: "it was changed")["paint"]
    assert isinstance(paint, Judged)
    assert paint.tool is not None
    with pytest.raises(ToolUnavailableError, match="not trusted any more"):
        paint.tool.begin_loading().result(5)


def test_place_that_is_gone_is_an_error(site: Site) -> None:
    """Raise where there is nothing any more, whatever the kind of place."""
    one = publisher(site)
    (point,) = [each for each in one.entry_points if each.group == "toolkit.tools"]
    place = Place(point=point, module="paint_mod", attribute="paint")
    found = find_object(place, "paint")
    assert type(found).__name__ == "FunctionTool"
    with pytest.raises(KeyError):
        find_object(replace(place, attribute="gone"), "gone")
    with pytest.raises(IndexError):
        find_object(Place(point=point, position=3), "paint")
    assert CompiledTool.__name__ == "CompiledTool"
