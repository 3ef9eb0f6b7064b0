"""The catalog: frozen, shared, and the same whatever the order of its tools."""

from dataclasses import FrozenInstanceError, replace
from itertools import permutations
from typing import Any

import pytest

from toolkit.catalog import CallHooks, ToolCatalog, ToolView
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.naming import comparable, prefer
from toolkit.origin import Origin


def made(name: str, owner: str = "pkg") -> CompiledTool:
    """Compile a tool of that name and owner."""

    def execute(self: object, text: str) -> str:
        return text

    space = {"name": name, "execute": execute}
    origin = Origin(owner, "1", reference=f"{owner}:{name}")
    return compile_tool(type("Made", (), space), origin=origin)


def listed(view: ToolView) -> list[tuple[str, str]]:
    """Return each listed name with its tool's owner."""
    return [(one.name, one.tool.origin.owner) for one in view]


def test_tools_are_found_by_listed_and_by_qualified_name() -> None:
    """Both names lead to the same tool (S44)."""
    catalog = ToolCatalog(view=ToolView([made("sub"), made("add")]))
    assert catalog.names() == ("add", "sub")
    definition = catalog.get("add")
    assert definition is not None
    assert definition is catalog.get("pkg.add")
    assert catalog.definitions()[0] is definition
    assert catalog.origin("sub") == Origin("pkg", "1", reference="pkg:sub")
    assert "add" in catalog
    assert "pkg.sub" in catalog
    assert len(catalog) == 2


@pytest.mark.parametrize("name", ["mul", "ADD", "", "other.add", None, 7])
def test_what_is_not_there_is_not_found(name: Any) -> None:
    """No near match, no default, no insertion."""
    catalog = ToolCatalog(view=ToolView([made("add")]))
    assert name not in catalog
    assert catalog.get(name) is None
    assert catalog.origin(name) is None
    assert catalog.names() == ("add",)


def test_the_order_of_the_tools_changes_nothing() -> None:
    """Nobody wins by being installed first (S44, B6)."""
    tools = [made("add", "a"), made("add", "b"), made("Add", "c"), made("sub", "a")]
    views = [ToolView(order) for order in permutations(tools)]
    expected = [("a__add", "a"), ("b__add", "b"), ("c__Add", "c"), ("sub", "a")]
    assert all(listed(view) == expected for view in views)
    assert all(view.collisions == views[0].collisions for view in views)


def test_two_tools_alike_in_everything_both_stay_callable() -> None:
    """The same name from the same place twice: each keeps a name of its own (B6)."""
    view = ToolView([made("add"), made("add")])
    assert len(set(view.names())) == 2
    assert len({id(one.tool) for one in map(view.find, view.names()) if one}) == 2


def test_alike_tools_keep_their_names_whatever_their_order() -> None:
    """Two of one name and place are told apart by what they say (B6, B20)."""
    one, other = made("add"), made("add")
    other = replace(other, definition=replace(other.definition, description="Other."))
    there, back = ToolView([one, other]), ToolView([other, one])
    assert there.names() == back.names()
    for name in there.names():
        first, second = there.find(name), back.find(name)
        assert first is not None
        assert second is not None
        assert first.tool is second.tool


def test_a_tool_is_known_by_every_name_that_is_printed() -> None:
    """Bare, qualified, safe, and as told apart from its like; without case (B58)."""
    first, second = ToolView([made("Add", "my_pkg"), made("Add", "my_pkg")])
    for one in (first, second):
        names = {one.name, one.definition.qualified_name, "My-Pkg.ADD", "my_pkg__add"}
        assert set(map(comparable, names)) | {"add"} <= one.known_names()
    assert comparable(first.name) not in second.known_names()


def test_a_name_means_the_same_to_every_user() -> None:
    """A contested name stays nobody's for a user who sees one claimant only (B6)."""
    view = ToolView([made("add", "a"), made("add", "b")])
    mine = view.only(lambda one: one.tool.origin.owner == "a")
    assert listed(mine) == [("a__add", "a")]
    assert mine.collisions == ()
    joined = mine.only(lambda _: True, extra=[made("add", "own")])
    assert listed(joined) == [("a__add", "a"), ("own__add", "own")]
    chosen = mine.only(
        lambda _: True, extra=[made("add", "own")], policy=prefer({"add": "own"})
    )
    assert listed(chosen) == [("a__add", "a"), ("add", "own")]
    assert listed(view) == [("a__add", "a"), ("b__add", "b")]


def test_definitions_of_one_catalog_are_not_shared_by_their_schemas() -> None:
    """Changing what one user was given changes no other's (S41, B40)."""
    catalog = ToolCatalog(view=ToolView([made("add")]))
    first = catalog.definitions()[0].input_schema
    first["properties"].clear()
    assert list(catalog.definitions()[0].input_schema["properties"]) == ["text"]


@pytest.mark.parametrize("field", ["view", "agents", "hooks", "generation"])
def test_a_catalog_cannot_be_changed(field: str) -> None:
    """It is shared by every user of the process (S41, B32)."""
    catalog = ToolCatalog()
    with pytest.raises(FrozenInstanceError):
        setattr(catalog, field, None)
    with pytest.raises(TypeError):
        catalog.agents["x"] = (object(), Origin())  # type: ignore[index]  # that it cannot is the test


def test_a_catalog_says_what_is_in_it() -> None:
    """Counts for health and for the log; nothing in it is loud, not silent (B12)."""
    tools = [made("add", "a"), made("add", "b")]
    catalog = ToolCatalog(view=ToolView(tools), generation=3)
    counts = {"tools": 2, "agents": 0, "collisions": 1, "generation": 3}
    assert catalog.statistics() == counts
    assert (
        repr(catalog) == "<ToolCatalog tools=2, agents=0, collisions=1, generation=3>"
    )
    assert len(ToolCatalog()) == 0
    assert CallHooks() == CallHooks(authorizers=(), observers=())
