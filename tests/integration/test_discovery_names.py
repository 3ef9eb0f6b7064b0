"""Names that two distributions claim: refused, preferred or qualified by one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import Site, good_tool, open_site
from toolkit import Settings, UserContext, UserContextToolFactory
from toolkit.discovery.index import TOOLS

ADA = UserContext(user_id="ada")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Install two distributions with a tool of one name, each with one of its own."""
    with open_site(tmp_path) as site:
        for name in ("left", "right"):
            source = f"""
            class Search:
                name = "search"
                def execute(self) -> str:
                    return "{name}"
            """
            points = {TOOLS: {"s": f"{name}_mod:Search", "own": f"{name}_own:Good"}}
            site.install(name, points, {f"{name}_mod.py": source})
            site.write({f"{name}_own.py": good_tool(f"own_{name}")})
        yield site


async def answers(site: Site, settings: Settings) -> dict[str, str]:
    """Call every tool that a user sees, by its listed name."""
    catalog, _ = site.discover(settings)
    factory = UserContextToolFactory(catalog, settings=settings)
    with factory.create_user_tool_system(ADA) as ada:
        listed = [one.name for one in ada.get_all_tools()]
        done = [await ada.dispatcher.execute(name, {}) for name in listed]
    return dict(zip(listed, [str(one.unwrap()) for one in done], strict=True))


async def test_nobody_wins_silently(site: Site) -> None:
    """List both under full names, and report both origins (S44, B6)."""
    assert await answers(site, Settings()) == {
        "left__search": "left",
        "own_left": "own_left works",
        "own_right": "own_right works",
        "right__search": "right",
    }
    _, report = site.discover()
    (collision,) = report.collisions
    assert [origin.distribution for origin in collision.origins] == ["left", "right"]
    assert report.status == "degraded"


async def test_the_line_that_the_report_gives_settles_it(
    site: Site, tmp_path: Path
) -> None:
    """Copy the remedy into ``toolkit.toml``: the bare name is its owner's (S44, B6)."""
    _, report = site.discover()
    remedy = report.collisions[0].remedy
    line = remedy.removeprefix("Add ").partition(" (or ")[0]
    file = tmp_path / "toolkit.toml"
    file.write_text(line + "\n")
    settings = Settings.load(file, environ={})
    found = await answers(site, settings)
    assert found["search"] == "left"
    assert found["right__search"] == "right"
    _, settled = site.discover(settings)
    assert settled.status == "healthy"


async def test_qualify_accepts_full_names_for_all(site: Site) -> None:
    """Turn the fault into a decision with one setting (S44, B6)."""
    settings = Settings.load(environ={"TOOLKIT_COLLISIONS": "qualify"})
    found = await answers(site, settings)
    assert "search" not in found
    assert {found["left__search"], found["right__search"]} == {"left", "right"}
    _, report = site.discover(settings)
    assert report.status == "healthy"
    assert len(report.collisions) == 1


def test_names_that_differ_in_case_collide(site: Site) -> None:
    """Never let two names lower-case into one silently (B6)."""
    site.install(
        "shouty", {TOOLS: {"s": "shouty:Good"}}, {"shouty.py": good_tool("SEARCH")}
    )
    catalog, report = site.discover()
    assert len(report.collisions[0].origins) == 3
    assert {"left__search", "right__search", "shouty__SEARCH"} <= set(catalog.names())


def test_installing_a_package_never_makes_anothers_tool_vanish(site: Site) -> None:
    """Keep every qualified name callable, before and after."""
    before, _ = site.discover(Settings(allow=frozenset({"left"})))
    after, _ = site.discover()
    qualified = {one.qualified_name for one in before.definitions()}
    assert qualified == {"left.search", "left.own_left"}
    assert all(name in after for name in qualified)


def test_two_classes_of_one_name_in_one_distribution_collide_too(site: Site) -> None:
    """Tell two of one owner apart, and say to rename one (B6)."""
    points = {TOOLS: {"a": "twin_a:Good", "b": "twin_b:Good"}}
    site.install("twins", points, {f"twin_{x}.py": good_tool("twin") for x in "ab"})
    catalog, report = site.discover(Settings(allow=frozenset({"twins"})))
    assert len(catalog) == 2
    assert report.collisions[0].remedy == "Rename one of them in twins."
