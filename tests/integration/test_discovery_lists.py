"""The operator's allow and deny lists: nothing refused is ever imported."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import Site, good_tool, open_site
from toolkit import Settings
from toolkit.discovery.index import AGENTS, PLUGINS, TOOLS

NAMES = ("Alpha_One", "beta", "gamma")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Install three distributions, each of which leaves a file when imported."""
    with open_site(tmp_path) as site:
        for name in NAMES:
            module = f"mod_{name.lower()}"
            trace = f"open({str(tmp_path / module)!r}, 'w').close()\n"
            agent = f"class Agent:\n  name = '{module}'\n"
            agent += "  async def run(self, message: str): ...\n"
            source = trace + good_tool(f"tool_{name.lower()}") + agent
            points = {
                TOOLS: {"tool": f"{module}:Good", "scan": module},
                AGENTS: {"agent": f"{module}:Agent"},
                PLUGINS: {"hooks": module},
            }
            site.install(name, points, {f"{module}.py": source})
        yield site


@pytest.mark.parametrize(
    ("settings", "imported"),
    [
        (Settings(), {"mod_alpha_one", "mod_beta", "mod_gamma"}),
        (Settings(deny=frozenset({"alpha.one"})), {"mod_beta", "mod_gamma"}),
        (Settings(deny=frozenset({"ALPHA-One", "beta"})), {"mod_gamma"}),
        (Settings(allow=frozenset({"Beta"})), {"mod_beta"}),
        (Settings(allow=frozenset({"beta"}), deny=frozenset({"BETA"})), set()),
        (Settings(allow=frozenset()), set()),
        (
            Settings(deny=frozenset({"not-installed"})),
            {f"mod_{n.lower()}" for n in NAMES},
        ),
    ],
    ids=["all", "deny", "deny two", "allow", "deny wins", "allow none", "unknown"],
)
def test_lists_apply_before_any_import(
    site: Site, tmp_path: Path, settings: Settings, imported: set[str]
) -> None:
    """Prove by what an import leaves behind that the others never ran (S210)."""
    catalog, report = site.discover(settings)
    assert {path.name for path in tmp_path.glob("mod_*")} == imported
    assert set(catalog.names()) == {f"tool_{name[4:]}" for name in imported}
    assert len(report.skipped) == len(NAMES) - len(imported)
    skipped = {one.origin.distribution for one in report.skipped}
    assert skipped.isdisjoint({one.origin.distribution for one in report.accepted})


def test_skipped_distribution_is_told_with_the_setting_that_decides(site: Site) -> None:
    """Name the setting to change, and count a skip as no fault (B12)."""
    settings = Settings(allow=frozenset({"beta", "gamma"}), deny=frozenset({"gamma"}))
    _, report = site.discover(settings)
    told = {one.origin.distribution: one.detail for one in report.skipped}
    assert told == {
        "alpha-one": "alpha-one is not on the allow list; add it to the setting allow",
        "gamma": "gamma is on the deny list; remove it from the setting deny",
    }
    assert report.status == "healthy"


def test_broken_distribution_that_is_denied_is_no_fault(site: Site) -> None:
    """Let the deny list silence what cannot even be read."""
    site.install("Bro_ken", "[toolkit.tools]\njunk\n")
    _, report = site.discover(Settings(deny=frozenset({"bro-ken"})))
    assert report.status == "healthy"
    assert [one.origin.distribution for one in report.skipped] == ["bro-ken"]


def test_lists_from_the_environment_work_alike(site: Site, tmp_path: Path) -> None:
    """Read the lists as an operator writes them, and import nothing else."""
    environ = {"TOOLKIT_ALLOW": "beta, alpha_one", "TOOLKIT_DENY": "Beta"}
    site.discover(Settings.load(environ=environ))
    assert {path.name for path in tmp_path.glob("mod_*")} == {"mod_alpha_one"}
