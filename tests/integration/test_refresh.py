"""A catalog is swapped whole, users keep what they have, and there is a way back."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.distributions import Site, good_tool, open_site
from tests.repo.documents import Sandbox
from toolkit import (
    CatalogEvent,
    ConfigurationError,
    FactoryClosedError,
    NoEarlierCatalogError,
    Settings,
    ToolExecutionError,
    Toolkit,
    UserContext,
)
from toolkit.events import CatalogEventType

ANN = UserContext(user_id="ann")
OURS = frozenset({"one", "two"})
SETTINGS = Settings(allow=OURS, cache=False)


def says(name: str, text: str) -> str:
    """Return the source of a tool that says something."""
    return (
        "class Good:\n"
        f"  name = {name!r}\n"
        f"  def execute(self) -> str:\n    return {text!r}\n"
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        points = {"toolkit.tools": {"one": "one_mod:Good"}}
        site.install("one", points, {"one_mod.py": says("one", "first")})
        yield site


def add_second(site: Site) -> None:
    site.install_tool("two", "two_mod", "two")


def names(kit: Toolkit) -> list[str]:
    """Return the tools that a new system has."""
    with kit.user(ANN) as system:
        return [str(one.name) for one in system.get_all_tools()]


def test_refresh_serves_new_systems_and_leaves_open_ones_alone(site: Site) -> None:
    """Swap the catalog for whoever comes; who is there keeps theirs (S12, B46)."""
    with Toolkit(SETTINGS) as kit, kit.user(ANN) as early:
        add_second(site)
        report = kit.refresh()
        assert report is kit.report
        assert names(kit) == ["one", "two"]
        assert [one.name for one in early.get_all_tools()] == ["one"]
        assert kit.catalog.generation == 2


def test_refresh_sees_what_is_gone(site: Site) -> None:
    """Offer no more what was uninstalled; an open system can still call it."""

    async def call() -> str:
        async with kit.user(ANN) as early:
            (site.folder / "one-1.0.dist-info/entry_points.txt").unlink()
            add_second(site)
            await kit.arefresh()
            result = await early.execute("one")
            return str(result.value)

    with Toolkit(SETTINGS) as kit:
        assert asyncio.run(call()) == "first"
        assert names(kit) == ["two"]


INSTALLS_LATER = """
import asyncio, pathlib, site, subprocess
from toolkit import Settings, Toolkit, UserContext
with Toolkit(Settings(allow=frozenset({"late"}))) as kit:
    print(kit.report.status)
    subprocess.run(["pip", "install", "--quiet", "-e", "."], check=True)
    code = "import pathlib; pathlib.Path('trapped').touch()"
    trap = pathlib.Path(site.getsitepackages()[0], "trap.pth")
    trap.write_text(f"{code}\\n# text\\n\\nno-such-folder\\n")
    print(kit.refresh().status)
    with kit.user(UserContext(user_id="ann")) as ann:
        print(asyncio.run(ann.execute("late")).value_json())
"""

LATE = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "late"
version = "1.0"
[project.entry-points."toolkit.tools"]
late = "late_mod:Good"
[tool.hatch.build.targets.wheel]
only-include = ["src"]
sources = ["src"]
"""


@pytest.mark.e2e
@pytest.mark.timeout(120)  # builds and installs; the machine may be busy
def test_refresh_finds_an_editable_install_that_came_later(tmp_path: Path) -> None:
    """Import what pip installed as editable while the process ran, without running the
    code that a path file may hold (S12, B32).
    """
    sandbox = Sandbox(tmp_path)
    Site(sandbox.cwd).write(
        {
            "pyproject.toml": LATE,
            "src/late_mod.py": good_tool("late"),
            "process.py": INSTALLS_LATER,
        }
    )
    printed = sandbox.shell("python process.py")
    assert printed.splitlines() == ["empty", "healthy", '"late works"']
    assert not (sandbox.cwd / "trapped").exists()


def test_changed_code_is_imported_anew_and_old_systems_keep_the_old(
    site: Site,
) -> None:
    """Serve the new code after a refresh, the old one to who had it (S13, B37)."""

    async def calls() -> tuple[str, str]:
        async with kit.user(ANN) as early:
            await early.execute("one")
            site.write({"one_mod.py": says("one", "second, and longer")})
            await kit.arefresh()
            async with kit.user(ANN) as late:
                old, new = await early.execute("one"), await late.execute("one")
                return str(old.value), str(new.value)

    with Toolkit(SETTINGS) as kit:
        assert asyncio.run(calls()) == ("first", "second, and longer")


def test_rollback_returns_to_the_catalog_before(site: Site) -> None:
    """Go back at once, as often as there was a refresh, and no further (S195)."""
    with Toolkit(SETTINGS) as kit:
        first = kit.catalog
        add_second(site)
        kit.refresh()
        assert kit.rollback() is first
        assert kit.catalog is first
        assert names(kit) == ["one"]
        with pytest.raises(NoEarlierCatalogError, match="before generation 1"):
            kit.rollback()
        kit.refresh()
        assert kit.catalog.generation == 3  # a number is never given twice
        assert names(kit) == ["one", "two"]


def test_only_so_many_catalogs_are_kept(site: Site) -> None:
    """Keep three to go back to, whatever the number of refreshes (B47)."""
    with Toolkit(SETTINGS) as kit:
        for _ in range(5):
            kit.refresh()
        generations = [kit.rollback().generation for _ in range(3)]
        assert generations == [5, 4, 3]
        with pytest.raises(NoEarlierCatalogError):
            kit.rollback()
    assert (site.folder / "one_mod.py").exists()


def test_each_change_is_an_event_and_counted(site: Site) -> None:
    """Tell whoever listens what came, what went and what is another (S196)."""
    told: list[CatalogEvent] = []
    with Toolkit(SETTINGS, catalog_sinks=[told.append]) as kit:
        add_second(site)
        described = says("one", "x").replace(
            "  name", "  description = 'other'\n  name"
        )
        site.write({"one_mod.py": described})
        kit.refresh()
        kit.rollback()
        assert [one.type for one in told] == [
            CatalogEventType.CATALOG_REFRESHED,
            CatalogEventType.CATALOG_ROLLED_BACK,
        ]
        there, back = told
        assert (there.previous, there.generation) == (1, 2)
        assert (there.added, there.changed) == (("two.two",), ("one.one",))
        assert (back.previous, back.generation) == (2, 1)
        assert (back.removed, back.changed) == (("two.two",), ("one.one",))
        metrics = kit.metrics()
    assert metrics["toolkit_catalog_refreshes_total"] == 1
    assert metrics["toolkit_catalog_rollbacks_total"] == 1
    assert metrics["toolkit_catalog_generation"] == 1
    assert metrics["toolkit_catalog_tools"] == 1


def test_refresh_that_fails_changes_nothing(site: Site, tmp_path: Path) -> None:
    """Keep the catalog when the lock cannot be read, and say so (B49)."""
    told: list[CatalogEvent] = []
    lock = tmp_path / "toolkit.lock"
    with Toolkit(SETTINGS, catalog_sinks=[told.append]) as kit:
        before = kit.catalog
        locked = replace(SETTINGS, trust="locked", lock_file=str(lock))
        add_second(site)
        with pytest.raises(ConfigurationError, match="toolkit lock"):
            kit.refresh(locked)
        assert (kit.catalog, kit.settings) == (before, SETTINGS)
        assert names(kit) == ["one"]
        (event,) = told
        assert event.type is CatalogEventType.CATALOG_REFRESH_FAILED
        assert (event.generation, event.added) == (1, ())
        assert "lock" in event.detail
        assert kit.metrics()["toolkit_catalog_refresh_failures_total"] == 1


def test_package_is_switched_off_without_a_restart(site: Site) -> None:
    """Refresh with another deny list, and go back to the one before (S195)."""
    add_second(site)
    with Toolkit(SETTINGS) as kit:
        kit.refresh(replace(SETTINGS, deny=frozenset({"one"})))
        assert names(kit) == ["two"]
        assert kit.settings.deny == {"one"}
        kit.rollback()
        assert names(kit) == ["one", "two"]
        assert kit.settings is SETTINGS


def test_closed_toolkit_refuses_to_change(site: Site) -> None:
    """Neither refresh nor roll back what is closed (S12)."""
    with Toolkit(SETTINGS) as kit:
        kit.refresh()
    for change in (kit.refresh, kit.rollback):
        with pytest.raises(FactoryClosedError):
            change()
    assert site.folder.is_dir()


def test_close_ends_the_threads_whatever_the_generation(site: Site) -> None:
    """Share the worker threads between generations, and end them once (B46)."""
    site.write({"one_mod.py": good_tool("one")})
    with Toolkit(SETTINGS) as kit:
        threads = kit.factory.executors.threads
        for _ in range(6):
            kit.refresh()
        assert kit.factory.executors.threads is threads
        with kit.user(ANN) as system:
            assert asyncio.run(system.execute("one")).ok
        late = kit.user(ANN)
    result = asyncio.run(late.execute("one"))
    assert type(result.error) is ToolExecutionError  # the executor is closed
    late.close()


def test_counts_of_systems_go_on_over_a_refresh(site: Site) -> None:
    """Count the registries of a user over all generations (S23, B13)."""
    with Toolkit(SETTINGS) as kit, kit.user(ANN):
        kit.refresh()
        with kit.user(ANN):
            assert kit.factory.registry_count("ann") == 2
            assert kit.health()["systems"]["open_systems"] == 2
    assert site.folder.is_dir()
