"""What discovery leaves behind: a report that is loud, and that holds no objects."""

import gc
import json
import logging
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import Site, good_tool, open_site
from toolkit import (
    DiscoveryFailedError,
    InvalidToolError,
    PluginLoadError,
    Settings,
    ToolkitError,
)
from toolkit.discovery.index import TOOLS

BIG = """
import sys
class Big: pass
def fail(thing):
    raise RuntimeError("halfway")
big = Big()
sys.big_thing_ref = __import__("weakref").ref(big)
fail(big)
"""
SCHEMAS = """
from pydantic import BaseModel
class Request(BaseModel):
    name: str = "request"
    def execute(self): ...
class Reply(BaseModel):
    text: str = ""
reply = Reply()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        yield site


def test_package_of_schemas_only_is_a_loud_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Say in log and status that no tool is left, and why (S9, S29, S30, B3, B12)."""
    site.install("schemas", {TOOLS: {"all": "schemas"}}, {"schemas.py": SCHEMAS})
    with caplog.at_level(logging.ERROR):
        catalog, report = site.discover()
    assert len(catalog) == 0
    assert report.status == "empty"
    assert report.reasons()["pydantic_model"] == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    details = [one.detail for one in report.rejected if one.reason == "pydantic_model"]
    text = "BaseModel classes are data schemas, not executable tools"
    assert all(text in detail for detail in details)


def test_no_name_is_made_from_a_metaclass(site: Site) -> None:
    """List no schema, under any name, and no nameless class (S32-S36, B5, B7)."""
    source = SCHEMAS + (
        "class Nameless:\n  def execute(self): ...\n"
        "class Idle:\n  name = 'idle'\n"
        "class Number:\n  name = 'number'\n  execute = 3\n"
        "class Meta(type): pass\n"
        "class Named(metaclass=Meta):\n  name = 'ModelMetaclass'\n"
        "  def execute(self): ...\n"
    )
    site.install("mixed", {TOOLS: {"all": "mixed"}}, {"mixed.py": source})
    catalog, report = site.discover()
    assert len(catalog) == 0
    reasons = {one.name: str(one.reason) for one in report.rejected}
    assert reasons["Nameless"] == "missing_name"
    assert reasons["Idle"] == "missing_execute"
    assert reasons["Number"] == "execute_not_callable"
    assert reasons["Named"] == "illegal_name"
    listed = [one.name.lower() for one in report.accepted]
    assert not [name for name in listed if "metaclass" in name]


def test_traceback_is_theirs_and_not_ours(site: Site) -> None:
    """Show the author the lines of the author (B12)."""
    site.install("bad", {TOOLS: {"x": "bad_mod"}}, {"bad_mod.py": BIG})
    _, report = site.discover()
    (failed,) = report.failed
    assert 'bad_mod.py", line 5, in fail' in failed.traceback
    assert failed.traceback.rstrip().endswith("RuntimeError: halfway")
    for word in ("toolkit/discovery", "importlib", "load("):
        assert word not in failed.traceback


def test_report_keeps_nothing_of_a_failed_plugin_alive(site: Site) -> None:
    """Free the objects in a failed import's frames: the report is text (B41)."""
    site.install("bad", {TOOLS: {"x": "bad_mod"}}, {"bad_mod.py": BIG})
    _, report = site.discover()
    gc.collect()
    big: weakref.ref[object] = sys.__dict__.pop("big_thing_ref")
    assert big() is None
    assert report.failed


def test_report_keeps_no_rejected_or_failed_object_alive(site: Site) -> None:
    """Let go of what was only looked at, while report and catalog live (B41)."""
    source = good_tool("kept") + (
        "class Dropped: pass\n"
        "class Each:\n"
        "    def __iter__(self): return (Dropped() for _ in range(3))\n"
        "tools = Each()\n"
    )
    points = {TOOLS: {"kept": "lists:Good", "dropped": "lists:tools"}}
    site.install("lists", points, {"lists.py": source})
    catalog, report = site.discover()
    gc.collect()
    dropped = sys.modules["lists"].Dropped
    assert [one for one in gc.get_objects() if type(one) is dropped] == []
    assert len(report.rejected) == 3
    assert "kept" in catalog


def test_discovery_leaves_no_trace_of_an_earlier_one(site: Site) -> None:
    """Start from nothing each time: no registry of the process (S11, S41, B41)."""
    site.install_tool("one", "one_mod", "one")
    first, _ = site.discover()
    site.install_tool("two", "two_mod", "two")
    second, _ = site.discover()
    assert first.names() == ("one",)
    assert second.names() == ("one", "two")


def test_strict_discovery_raises_every_fault_in_one_group(site: Site) -> None:
    """Let an author mend five faults in one run; each part keeps its type (S210)."""
    site.install_tool("good", "good_mod", "good")
    site.install("bad", {TOOLS: {"x": "bad_mod"}}, {"bad_mod.py": "1 / 0"})
    site.install("junk", "[toolkit.tools]\njunk\n")
    site.install("three", {TOOLS: {"x": "three:x"}}, {"three.py": "x = 3"})
    caught: list[ExceptionGroup[Exception]] = []
    try:
        site.discover(Settings(strict=True))
    except* PluginLoadError as group:
        caught.append(group)
    except* InvalidToolError as group:
        caught.append(group)
    loading, invalid = caught
    assert type(loading) is type(invalid) is DiscoveryFailedError
    assert isinstance(loading, ToolkitError)
    origins = [str(one) for one in loading.exceptions]
    assert origins[0].startswith("bad 1.0 (toolkit.tools: x = bad_mod) could not")
    assert origins[1].startswith("junk 1.0")
    assert "[missing_execute]" in str(invalid.exceptions[0])


def test_report_becomes_json(site: Site) -> None:
    """Write every finding as JSON: outcome, origin, reason, remedy (S210)."""
    site.install_tool("good", "good_mod", "good")
    site.install_tool("denied", "denied_mod", "denied")
    site.install("bad", {TOOLS: {"x": "bad_mod"}}, {"bad_mod.py": "1 / 0"})
    site.install("schemas", {TOOLS: {"x": "schemas:Reply"}}, {"schemas.py": SCHEMAS})
    _, report = site.discover(Settings(deny=frozenset({"denied"})))
    written = json.loads(json.dumps([one.as_dict() for one in report.findings]))
    assert [
        (one["distribution"], one["outcome"], one["reason"]) for one in written
    ] == [
        ("bad", "failed", None),
        ("denied", "skipped", None),
        ("good", "accepted", None),
        ("schemas", "rejected", "pydantic_model"),
    ]
    accepted = written[2]
    assert accepted["name"] == "good"
    assert accepted["qualified_name"] == "good.good"
    assert accepted["origin"] == "good 1.0 (toolkit.tools: good = good_mod:Good)"
    assert all(one["seconds"] >= 0 for one in written)
