"""Tools that are known from before: listed without an import, checked at their call."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.environments import OURS, Environment

DENIED = list(OURS)

CALL = """
import asyncio, json, logging, sys
from toolkit import Settings, Toolkit, UserContext
logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
told = json.loads(sys.argv[1])
async def main():
    settings = Settings(deny=frozenset(DENIED), default_timeout=told.get("timeout", 30))
    with Toolkit(settings) as kit:
        listed = [one.name for one in kit.catalog.view]
        before = [name for name in sys.modules if name.endswith("_mod")]
        scopes = frozenset(told.get("scopes", ()))
        results = []
        async with kit.user(UserContext(user_id="ann", scopes=scopes)) as ann:
            for group in told["calls"]:
                done = await asyncio.gather(*(ann.execute(*one) for one in group))
                results += [
                    [one.ok, one.value, one.error and one.error.code, str(one.error)]
                    for one in done
                ]
        agents = {}
        if told.get("agents"):
            for name, one in kit.catalog.agents.items():
                agents[name] = one.load().__name__
        print(json.dumps({
            "listed": listed, "before": before, "results": results, "agents": agents,
            "drifts": kit.health()["drifts"], "status": kit.health()["status"],
            "after": [name for name in sys.modules if name.endswith("_mod")],
        }))
asyncio.run(main())
""".replace("DENIED", repr(DENIED))

TOOL = """
import os
count = 0
class Good:
    name = "first"
    {facts}
    def execute(self, n: int = 1) -> str:
        return "{text}" * n
print("imported", file=__import__("sys").stderr)
"""


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    here = Environment(tmp_path)
    put(here)
    here.settle()
    here.discover()  # first contact: from now on it is known
    return here


def put(
    here: Environment, *, text: str = "a", facts: str = "", extra: str = ""
) -> None:
    """Write the one tool's module; the metadata only the first time."""
    source = TOOL.format(text=text, facts=facts) + extra
    points = {"toolkit.tools": {"first": "a_mod:Good"}}
    if (here.site.folder / "a_dist-1.0.dist-info").exists():
        here.site.write({"a_mod.py": source})
    else:
        here.site.install("a-dist", points, {"a_mod.py": source})


def call(here: Environment, *groups: list[list[Any]], **told: Any) -> dict[str, Any]:
    """Run groups of calls at once in a fresh interpreter; return what came of it."""
    done = here.run(CALL, json.dumps({"calls": groups, **told}))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "log": done.stderr}


def test_nothing_is_imported_to_list_and_describe(here: Environment) -> None:
    """List, export and judge a known tool without its module (S210, B55)."""
    cold = here.discover(cache=False)
    warm = here.discover()
    assert cold["loaded"] == ["a_mod"]
    assert warm["loaded"] == []
    assert warm["pydantic"] is False
    for key in ("tools", "definitions", "status", "failed", "rejected"):
        assert warm[key] == cold[key]


def test_first_call_imports_the_module_once_for_all_who_wait(here: Environment) -> None:
    """Import at the first call; ten at once see one import (S13, S57)."""
    found = call(here, [["first", {"n": 2}]] * 10, [["first", {}]])
    assert found["listed"] == ["first"]
    assert (found["before"], found["after"]) == ([], ["a_mod"])
    assert [one[:2] for one in found["results"]] == [[True, "aa"]] * 10 + [[True, "a"]]
    assert found["log"].count("imported") == 1
    assert found["drifts"] == []


def test_arguments_are_checked_by_the_code(here: Environment) -> None:
    """Refuse what does not fit, as for any tool."""
    found = call(here, [["first", {"n": "x"}]])
    assert found["results"][0][2] == "invalid_arguments"


def test_edited_code_is_contacted_again(here: Environment) -> None:
    """See an edit of a module that a definition came from (B12)."""
    put(here, text="bb", facts='description = "edited"')
    here.settle()
    assert here.discover()["loaded"] == ["a_mod"]
    assert here.discover()["loaded"] == []
    assert call(here, [["first", {}]])["results"][0][1] == "bb"


def test_definition_that_depends_on_more_than_its_files_is_checked(
    here: Environment,
) -> None:
    """Report a tool whose code says something else now; its code counts (B12, B49)."""
    put(here, facts='description = os.environ.get("SAYS", "one")')
    here.settle()
    here.discover()
    done = here.run(
        CALL, json.dumps({"calls": [[["first", {}]]]}), environ={"SAYS": "two"}
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["before"] == []  # it was listed from the cache
    assert found["results"][0][:2] == [True, "a"]
    assert found["status"] == "degraded"
    (drift,) = found["drifts"]
    assert "first of a-dist 1.0" in drift
    assert "(description)" in drift
    assert drift in done.stderr
    assert here.discover()["loaded"] == ["a_mod"]  # and is contacted anew


def test_scope_that_only_the_code_asks_for_holds(here: Environment) -> None:
    """Authorize again by what the code says, before anything of it runs (B58)."""
    put(here, facts='required_scopes = {"x"} if os.environ.get("HARD") else set()')
    here.settle()
    here.discover()
    done = here.run(
        CALL,
        json.dumps({"calls": [[["first", {}]], [["first", {}]]]}),
        environ={"HARD": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["before"] == []
    assert [one[2] for one in found["results"]] == ["tool_not_found"] * 2
    assert "(required_scopes)" in found["drifts"][0]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ('if os.environ.get("FAIL"): raise RuntimeError("secret")', "RuntimeError"),
        ('if os.environ.get("FAIL"): import sys; sys.exit(3)', "SystemExit"),
        ('if os.environ.get("FAIL"): del Good', "AttributeError"),
        ('if os.environ.get("FAIL"): Good = 3', "no tool any more [missing_execute]"),
    ],
    ids=["raises", "exits", "gone", "no tool"],
)
def test_tool_that_cannot_be_loaded_any_more_fails_its_calls_only(
    here: Environment, extra: str, told: str
) -> None:
    """Answer with a typed error that keeps the plugin's text back, twice (B10, B36)."""
    put(here, extra=extra)
    here.site.install_tool("b-dist", "b_mod", "second")
    here.settle()
    here.discover()
    done = here.run(
        CALL,
        json.dumps({"calls": [[["first", {}]] * 3, [["first", {}], ["second", {}]]]}),
        environ={"FAIL": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    *failed, good = found["results"]
    assert good[0] is True
    assert {one[2] for one in failed} == {"tool_unavailable"}
    assert all(told in one[3] and "secret" not in one[3] for one in failed)
    assert "a-dist 1.0" in failed[0][3]


def test_module_that_hangs_at_its_first_call_costs_that_call_only(
    here: Environment,
) -> None:
    """Answer at the deadline, and let others run meanwhile (B30, B52, B53)."""
    put(here, extra='if os.environ.get("HANG"): __import__("threading").Event().wait()')
    here.site.install_tool("b-dist", "b_mod", "second")
    here.settle()
    here.discover()
    done = here.run(
        CALL + "\nimport os; sys.stdout.flush(); os._exit(0)",
        json.dumps({"calls": [[["first", {}]] * 3 + [["second", {}]]], "timeout": 0.5}),
        environ={"HANG": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert [one[2] for one in found["results"]] == ["tool_timeout"] * 3 + [None]


def test_agents_are_known_too_and_loaded_when_asked_for(here: Environment) -> None:
    """Keep an agent's name and origin without importing it (S215)."""
    source = (
        "class Helper:\n  name = 'helper'\n  async def run(self, message: str): ...\n"
    )
    points = {"toolkit.agents": {"helper": "agent_mod:Helper"}}
    here.site.install("c-dist", points, {"agent_mod.py": source})
    here.settle()
    here.discover()
    assert here.discover()["loaded"] == []
    assert call(here, [], agents=True)["agents"] == {"helper": "Helper"}


def test_what_failed_is_tried_again_at_each_start(here: Environment) -> None:
    """Keep no failure: a variable that was missing may be set next time (B12)."""
    source = "import os\nos.environ['NEEDED']\n"
    points = {"toolkit.tools": {"b": "b_mod"}}
    here.site.install("b-dist", points, {"b_mod.py": source})
    here.settle()
    for _ in range(2):
        found = here.discover()
        assert found["failed"]["b-dist"][0] == "import_failed"
        assert found["loaded"] == []
    assert here.discover(environ={"NEEDED": "1"})["failed"] == {}


def test_collections_and_scanned_modules_are_found_again(here: Environment) -> None:
    """Load a tool from where it stood: a list, a set, a mapping, a package (S26)."""
    source = """
        class Base:
            def execute(self) -> str:
                return self.name
        def make(text):
            return type(text.title(), (Base,), {"name": text, "execute": Base.execute})
        listed = [make("in_list"), make("in_list_too")]
        grouped = {make(f"in_set_{n}") for n in range(8)}
        mapped = {"x": make("in_mapping")}
    """
    points = {
        "toolkit.tools": {
            "a": "many_mod:listed",
            "b": "many_mod:grouped",
            "c": "many_mod:mapped",
            "d": "package_mod",
        }
    }
    inner = (
        "class Deep:\n  name = 'deep'\n  def execute(self) -> str:\n    return 'deep'\n"
    )
    files = {"many_mod.py": source, "package_mod/__init__.py": ""}
    here.site.install("many", points, {**files, "package_mod/inner.py": inner})
    here.settle()
    here.discover()
    names = ["in_list", "in_list_too", "in_mapping", "deep"]
    names += [f"in_set_{n}" for n in range(8)]
    found = call(here, [[name, {}] for name in names])
    assert found["before"] == []
    assert [one[1] for one in found["results"]] == names


def test_object_published_twice_is_told_apart_when_known(here: Environment) -> None:
    """Reject the second of the same object also when neither is imported (B6)."""
    points = {"toolkit.tools": {"again": "a_mod:Good", "scan": "a_mod"}}
    here.site.install("again", points, {})
    here.settle()
    cold, warm = here.discover(), here.discover()
    assert cold["tools"] == warm["tools"] == ["first"]
    assert warm["rejected"] == cold["rejected"] == {"again": "same_object"}
    assert warm["loaded"] == []


def test_classes_handed_in_that_are_known_are_not_taken_twice(
    here: Environment,
) -> None:
    """Tell a class that is published, and not imported yet, from a new one (B6)."""
    code = f"""
from toolkit import Settings, Toolkit, UserContext
with Toolkit(Settings(deny=frozenset({DENIED!r}))) as kit:
    import a_mod
    ann = UserContext(user_id="ann")
    with kit.user(ann, tool_classes=[a_mod.Good]) as system:
        print([one.name for one in system.get_all_tools()], system.collisions)
"""
    assert here.run(code).stdout == "['first'] ()\n"


def test_hooks_that_are_known_still_judge(here: Environment) -> None:
    """Load hook modules at each start; a veto may look at origin or object (S210)."""
    source = """
        from toolkit import hookimpl
        @hookimpl
        def toolkit_veto_candidate(candidate):
            if candidate.origin.distribution == "a-dist":
                return "no a-dist" if candidate.obj.name == "first" else None
    """
    points = {"toolkit.plugins": {"h": "hook_mod"}}
    here.site.install("hooks", points, {"hook_mod.py": source})
    here.settle()
    cold, warm = here.discover(), here.discover()
    assert cold["rejected"] == warm["rejected"] == {"a-dist": "vetoed"}
    assert warm["loaded"] == ["a_mod", "hook_mod"]  # the hook asked for the object


# --- what a hostile evening found -----------------------------------------------------


def test_process_that_imported_old_code_never_keeps_it_under_the_new_file(
    here: Environment,
) -> None:
    """Keep no record of a module that was there before the look (B36, B49)."""
    code = """
import sys
from pathlib import Path
from toolkit import Settings, discover
settings = Settings(allow=frozenset({"b-dist"}))
discover(settings)
file = Path(sys.argv[1])
file.write_text(file.read_text().replace("Say that it works.", "Edited meanwhile."))
discover(settings)
"""
    here.site.install_tool("b-dist", "b_mod", "second")
    here.settle()
    here.run(code, str(here.site.folder / "b_mod.py"))
    here.settle()
    found = here.discover(allow=["b-dist"])
    assert found["descriptions"] == ["Edited meanwhile."]


@pytest.mark.parametrize("first_contact", ["child", "in_process"])
def test_file_edited_during_its_import_is_not_kept(
    here: Environment, first_contact: str
) -> None:
    """Keep no record of a file that has changed since its import began (B36)."""
    source = """
from pathlib import Path
class Good:
    "Old."
    name = "good"
    def execute(self) -> str:
        return "x"
file = Path(__file__)
file.write_text(file.read_text().replace("Old" + ".", "New words" + "."))
"""
    points = {"toolkit.tools": {"c": "c_mod:Good"}}
    here.site.install("c-dist", points, {"c_mod.py": source})
    here.settle()
    told: dict[str, Any] = {"allow": ["c-dist"], "first_contact": first_contact}
    assert here.discover(**told)["descriptions"] == ["Old."]
    here.settle()
    assert here.discover(**told)["descriptions"] == ["New words."]


def test_hooks_and_deadlines_go_by_what_the_code_says(here: Environment) -> None:
    """Ask authorize hooks about the real tags, and hold the real deadline (B58)."""
    hook = """
        from toolkit import hookimpl
        @hookimpl
        def toolkit_authorize_call(definition):
            return "dangerous" not in definition.tags
    """
    here.site.install(
        "hooks", {"toolkit.plugins": {"h": "hook_mod"}}, {"hook_mod.py": hook}
    )
    put(here, facts='tags = ("dangerous",) if os.environ.get("HARD") else ()')
    here.settle()
    here.discover()
    done = here.run(
        CALL,
        json.dumps({"calls": [[["first", {}]], [["first", {}]]]}),
        environ={"HARD": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert [one[2] for one in found["results"]] == ["tool_not_found"] * 2


def test_tool_that_is_called_otherwise_now_is_not_run_under_the_old_name(
    here: Environment,
) -> None:
    """Refuse another tool that stands where a known one stood (B5)."""
    put(here, extra='if os.environ.get("SWAP"): Good.name = "other"')
    here.settle()
    here.discover()
    done = here.run(
        CALL, json.dumps({"calls": [[["first", {}]]]}), environ={"SWAP": "1"}
    )
    (result,) = json.loads(done.stdout.splitlines()[-1])["results"]
    assert result[2] == "tool_unavailable"
    assert "called other" in result[3]


def test_optimized_interpreter_keeps_records_of_its_own(here: Environment) -> None:
    """Let no run without docstrings take the descriptions from the others."""
    here.site.install_tool("b-dist", "b_mod", "second")
    here.settle()
    optimized = {"PYTHONOPTIMIZE": "2"}
    assert here.discover(allow=["b-dist"], environ=optimized)["descriptions"] == [""]
    assert here.discover(allow=["b-dist"])["descriptions"] == ["Say that it works."]


def test_changed_code_is_met_in_a_child_before_it_is_imported(
    here: Environment,
) -> None:
    """Do not import at a first call what a child has just died of (B30)."""
    code = """
import asyncio, sys
from pathlib import Path
from toolkit import Settings, Toolkit, UserContext
async def main():
    settings = Settings(allow=frozenset({"a-dist"}), first_contact="child")
    with Toolkit(settings) as kit:
        file = Path(sys.argv[1])
        file.write_text("import os; os._exit(3)")
        print(kit.refresh().status, kit.rollback().names())
        async with kit.user(UserContext(user_id="ann")) as ann:
            result = await ann.execute("first")
            print(result.error.code, result.error)
asyncio.run(main())
"""
    done = here.run(code, str(here.site.folder / "a_mod.py"))
    assert done.stdout.splitlines()[0] == "empty ('first',)"
    assert done.stdout.splitlines()[1].startswith("tool_unavailable")
    assert "does not load any more" in done.stdout
