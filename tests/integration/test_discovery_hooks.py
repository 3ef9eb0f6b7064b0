"""Hooks from installed packages: veto, authorize, observe, and broken ones."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import Site, open_site
from toolkit import RejectionReason, ToolCatalog, UserContext, UserContextToolFactory
from toolkit.discovery.index import PLUGINS

ADA = UserContext(user_id="ada")
EVE = UserContext(user_id="eve")

VETO = """
    from toolkit import hookimpl
    @hookimpl
    def toolkit_veto_candidate(candidate):
        name = candidate.origin.distribution
        return f"{name} is not reviewed" if name == "bad-one" else None
"""
AUTHORIZE = """
    from toolkit import hookimpl
    @hookimpl
    def toolkit_authorize_call(user, definition):
        if user.user_id == "ada" and definition.name == "good":
            return True
        return False
"""
OBSERVE = """
    from toolkit import hookimpl
    EVENTS = []
    @hookimpl
    def toolkit_observe_call(event):
        EVENTS.append((event.type.value, event.tool, event.user_id))
"""
BROKEN = {
    "import error": "import a_module_that_nobody_ever_installs",
    "misspelled": "from toolkit import hookimpl\n@hookimpl\ndef toolkit_veto(): ...",
    "unknown argument": (
        "from toolkit import hookimpl\n@hookimpl\n"
        "def toolkit_veto_candidate(candidate, moon): return 'never'"
    ),
    "async": (
        "from toolkit import hookimpl\n@hookimpl\n"
        "async def toolkit_authorize_call(user): return False"
    ),
    "exits": "import sys; sys.exit()",
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        site.install_tool("good-one", "good_mod", "good")
        site.install_tool("bad-one", "bad_mod", "bad")
        yield site


def install_hooks(site: Site, source: str, name: str = "rules") -> None:
    site.install(name, {PLUGINS: {"hooks": f"{name}_mod"}}, {f"{name}_mod.py": source})


async def call(catalog: ToolCatalog, user: UserContext, name: str) -> str:
    """Call a tool for a user; return what it says, or the error's code."""
    factory = UserContextToolFactory(catalog)
    with factory.create_user_tool_system(user) as system:
        result = await system.dispatcher.execute(name, {})
    return (
        str(result.unwrap()) if result.ok else str(result.error and result.error.code)
    )


def test_veto_from_an_entry_point_keeps_a_distribution_out(site: Site) -> None:
    """Ask the operator's package about every candidate (S210)."""
    install_hooks(site, VETO)
    catalog, report = site.discover()
    assert catalog.names() == ("good",)
    (vetoed,) = report.rejected
    assert vetoed.reason is RejectionReason.VETOED
    assert vetoed.origin.distribution == "bad-one"
    assert "rules:hooks says: bad-one is not reviewed" in vetoed.detail
    plugins = [
        one.origin.distribution for one in report.accepted if one.kind == "plugin"
    ]
    assert plugins == ["rules"]


async def test_authorizer_denies_a_user_and_not_the_other(site: Site) -> None:
    """Ask before each call; a denied call answers like an unknown one (S210, B58)."""
    install_hooks(site, AUTHORIZE)
    catalog, _ = site.discover()
    assert await call(catalog, ADA, "good") == "good works"
    assert await call(catalog, ADA, "bad") == "tool_not_found"
    assert await call(catalog, EVE, "good") == "tool_not_found"


async def test_observer_is_told_what_really_happened(site: Site) -> None:
    """Tell each call's start and end to the package that watches (S210)."""
    install_hooks(site, OBSERVE)
    catalog, _ = site.discover()
    await call(catalog, ADA, "good")
    await call(catalog, EVE, "no_such_tool")
    assert sys.modules["rules_mod"].EVENTS == [
        ("tool_executing", "good", "ada"),
        ("tool_completed", "good", "ada"),
    ]


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_broken_hook_module_is_named_and_the_others_still_asked(
    site: Site, source: str
) -> None:
    """Keep the good rules when another package's are broken (S210, B12)."""
    install_hooks(site, VETO)
    install_hooks(site, source, "broken_rules")
    catalog, report = site.discover()
    assert catalog.names() == ("good",)
    (failed,) = report.failed
    assert failed.kind == "plugin"
    assert failed.origin.distribution == "broken-rules"
    assert report.status == "degraded"


def test_module_published_twice_as_hooks_asks_once(site: Site) -> None:
    """Report the repetition, and keep the first."""
    site.write({"rules_mod.py": VETO})
    site.install("rules", {PLUGINS: {"a": "rules_mod", "b": "rules_mod"}})
    catalog, report = site.discover()
    assert catalog.names() == ("good",)
    assert [one.origin.entry_point for one in report.failed] == ["b"]


def test_hooks_of_one_discovery_do_not_reach_the_next(site: Site) -> None:
    """Keep hooks with their catalog: there is no global list of plugins (B41)."""
    before, _ = site.discover()
    install_hooks(site, OBSERVE)
    after, _ = site.discover()
    assert before.hooks.observers == ()
    assert len(after.hooks.observers) == 1
