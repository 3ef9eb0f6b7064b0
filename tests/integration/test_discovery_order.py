"""Neither the order of installation nor that of unrelated folders shows in a result."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from tests.distributions import Site, discover_in, good_tool, importable
from toolkit import DiscoveryReport, Settings, ToolCatalog
from toolkit.discovery.index import AGENTS, PLUGINS, TOOLS

AGENT = """
class Agent:
    name = "helper"
    async def run(self, message: str) -> str:
        return message
"""
VETO = """
from toolkit import hookimpl
@hookimpl
def toolkit_veto_candidate(candidate):
    return "not this one" if candidate.attribute == "Vetoed" else None
"""


def install_alpha(site: Site) -> None:
    """A good tool, one that collides, and an agent that collides."""
    source = good_tool("shared") + good_tool("own_alpha", "Own") + AGENT
    points = {TOOLS: {"a": "alpha_mod:Good", "b": "alpha_mod:Own"}}
    points[AGENTS] = {"helper": "alpha_mod:Agent"}
    site.install("alpha", points, {"alpha_mod.py": source})


def install_beta(site: Site) -> None:
    """The same names, and a class that alpha's module also publishes."""
    source = good_tool("shared") + good_tool("vetoed", "Vetoed") + AGENT
    points = {TOOLS: {"scan": "beta_mod"}, AGENTS: {"helper": "beta_mod:Agent"}}
    site.install("beta", points, {"beta_mod.py": source})


def install_gamma(site: Site) -> None:
    """Hooks, a fault, and the same object as alpha's."""
    points = {
        TOOLS: {"bad": "gamma_missing", "again": "alpha_mod:Own"},
        PLUGINS: {"rules": "gamma_mod"},
    }
    site.install("gamma", points, {"gamma_mod.py": VETO})


def install_delta(site: Site) -> None:
    """A list with rubbish in it."""
    source = good_tool("listed") + "\nTOOLS = [3, Good, 'text', None]\n"
    site.install(
        "delta", {TOOLS: {"list": "delta_mod:TOOLS"}}, {"delta_mod.py": source}
    )


INSTALLERS = (install_alpha, install_beta, install_gamma, install_delta)


def outcome(
    result: tuple[ToolCatalog, DiscoveryReport],
) -> tuple[object, ...]:
    """Return all of a result but the seconds it took."""
    catalog, report = result
    findings = tuple(replace(one, seconds=0.0) for one in report.findings)
    origins = tuple(catalog.origin(name) for name in catalog.names())
    agents = {name: one.origin for name, one in catalog.agents.items()}
    return (
        findings,
        report.collisions,
        catalog.definitions(),
        origins,
        agents,
        report.status,
    )


def discovered(
    folders: Sequence[Path], settings: Settings | None = None
) -> tuple[object, ...]:
    with importable(*folders):
        return outcome(discover_in(folders, settings))


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(collisions="qualify"), Settings(prefer={"shared": "beta"})],
    ids=["refuse", "qualify", "prefer"],
)
def test_order_of_installation_does_not_show(
    tmp_path: Path, settings: Settings
) -> None:
    """Install in every order; catalog and report stay the same (S210, B6)."""
    outcomes = []
    for number, order in enumerate(permutations(INSTALLERS)):
        site = Site(tmp_path / str(number))
        for install in order:
            install(site)
        outcomes.append(discovered([site.folder], settings))
    assert len(outcomes) == 24
    assert all(one == outcomes[0] for one in outcomes)


def test_order_of_unrelated_folders_does_not_show(tmp_path: Path) -> None:
    """Put each distribution in a folder of its own, and permute the path (S210)."""
    sites = [Site(tmp_path / str(number)) for number in range(len(INSTALLERS))]
    for site, install in zip(sites, INSTALLERS, strict=True):
        install(site)
    folders = [site.folder for site in sites]
    outcomes = [discovered(order) for order in permutations(folders)]
    assert all(one == outcomes[0] for one in outcomes)
    twice = discovered([*folders, *folders])
    assert twice == outcomes[0]


def test_what_is_permuted_is_worth_permuting(tmp_path: Path) -> None:
    """Have every kind of outcome in the permuted installations."""
    site = Site(tmp_path / "site")
    for install in INSTALLERS:
        install(site)
    with importable(site.folder):
        catalog, report = discover_in([site.folder])
    assert catalog.names() == ("alpha__shared", "beta__shared", "listed", "own_alpha")
    assert sorted(catalog.agents) == ["alpha__helper", "beta__helper"]
    assert {str(one.reason) for one in report.rejected} >= {"vetoed", "same_object"}
    assert [one.origin.distribution for one in report.failed] == ["gamma"]
    assert [str(one.name) for one in report.collisions] == ["shared", "helper"]


def test_distribution_twice_on_the_path_is_the_first_one(tmp_path: Path) -> None:
    """Follow the path where two folders hold one distribution: as imports do."""
    old, new = Site(tmp_path / "old"), Site(tmp_path / "new")
    for site, version in ((old, "1.0"), (new, "2.0")):
        files = {"dist_mod.py": good_tool(f"tool_{version[0]}")}
        site.install("dist", {TOOLS: {"t": "dist_mod:Good"}}, files, version=version)
    for first, second, name in ((old, new, "tool_1"), (new, old, "tool_2")):
        with importable(first.folder, second.folder):
            catalog, report = discover_in([first.folder, second.folder])
        assert catalog.names() == (name,)
        assert len(report.findings) == 1
