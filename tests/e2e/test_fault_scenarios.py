"""Every fault scenario, on real files, met by a fresh interpreter as the command is.

Each is asked the same: are the good packages still there, is the culprit named with the
right cause, and does `toolkit why` say what is the case and what to do? Between them
the good ones frame the bad one by name, so that order helps nobody.
"""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.distributions import Site, good_tool
from tests.environments import OURS, Environment

TOOLS: Final = "toolkit.tools"
DENIED: Final = list(OURS)

LOOK: Final = """
import json, sys
from toolkit.cli import why
from toolkit.cli.output import Output
from toolkit.cli.session import Choices, Session
told = json.loads(sys.argv[1])
choices = Choices(deny=tuple(told["deny"]), allow=tuple(told["allow"]))
output = Output.claim()
session = Session(output=output, settings=choices.settings())
found = session.discover()
class Once(Session):
    def discover(self): return found
catalog, report = found
output.raw(json.dumps({
    "tools": list(catalog.names()),
    "status": report.status,
    "failed": [[one.origin.distribution, str(one.cause)] for one in report.failed],
    "rejected": [[one.origin.distribution, str(one.reason)] for one in report.rejected],
    "skipped": [one.origin.distribution for one in report.skipped],
    "collisions": [str(one.name) for one in report.collisions],
}))
status = why.explain(Once(output=output, settings=session.settings), told["query"])
output.raw(str(status))
"""


@dataclass(frozen=True)
class Scenario:
    """One way in which the world is, and what must be said about it.

    Attributes:
        build: Makes it so.
        says: What `toolkit why` must say, all of it.
        query: What is asked about.
        failed: The cause with which the culprit must have failed.
        rejected: The reason for which it must have been rejected.
        found: Further tools that must be there.
        status: The exit status of `toolkit why`.
        environ: Variables that hold.
        path: Further folders on the path, before the site.
        allow: The allow list; empty lets all in.
        deny: Denied beside the plugins of this checkout.
    """

    build: Callable[[Environment], object]
    says: tuple[str, ...]
    query: str = "m-bad"
    failed: str = ""
    rejected: str = ""
    found: tuple[str, ...] = ()
    status: int = 1
    environ: dict[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


def bad(source: str, reference: str = "bad_mod") -> Callable[[Environment], object]:
    """Install one bad package whose module has this source."""
    return lambda here: here.site.install(
        "m-bad", {TOOLS: {"x": reference}}, {"bad_mod.py": source}
    )


def points(content: str | bytes) -> Callable[[Environment], object]:
    """Install one package whose entry_points.txt has this content."""
    files = {"bad_mod.py": good_tool("readable")}
    return lambda here: here.site.install("m-bad", content, files)


GOOD_POINTS: Final = b"[toolkit.tools]\nx = bad_mod:Good\n"
QUICK: Final = {"TOOLKIT_CONTACT_TIMEOUT": "1.5"}


def symlink_loop(here: Environment) -> None:
    folder = here.site.install("m-bad", "", {})
    (folder / "entry_points.txt").symlink_to("entry_points.txt")


def unreadable(here: Environment) -> None:
    folder = here.site.install("m-bad", "", {})
    (folder / "entry_points.txt").mkdir()  # as root, a mode keeps nobody out


def two_of_one_name(here: Environment) -> None:
    for name in ("m-bad", "n-bad"):
        module = f"{name[0]}_mod"
        source = good_tool("contested")
        here.site.install(
            name, {TOOLS: {"x": f"{module}:Good"}}, {f"{module}.py": source}
        )


def same_twice_on_the_path(here: Environment) -> None:
    early = Site(here.folder / "early")
    early.install(
        "m-bad",
        {TOOLS: {"x": "m_mod:Good"}},
        {"m_mod.py": good_tool("new")},
        version="2.0",
    )
    here.site.install(
        "m-bad", {TOOLS: {"x": "m_mod:Good"}}, {"m_mod.py": good_tool("old")}
    )


def site_twice(here: Environment) -> None:
    (here.folder / "early").symlink_to(here.site.folder, target_is_directory=True)


def empty_left_over(here: Environment) -> None:
    early = Site(here.folder / "early")
    (early.folder / "m_bad-0.9.dist-info").mkdir()
    here.site.install_tool("m-bad", "m_mod", "still_here")


def only_left_over(here: Environment) -> None:
    (here.site.folder / "m_bad-0.9.dist-info").mkdir()


def no_metadata(here: Environment) -> None:
    here.site.install("m-bad", GOOD_POINTS, {"bad_mod.py": good_tool("x")}, metadata="")


def in_a_zip(here: Environment) -> None:
    with zipfile.ZipFile(here.folder / "early", "w") as archive:
        archive.writestr("z_mod.py", good_tool("zipped"))
        archive.writestr("m_bad-1.0.dist-info/METADATA", "Name: m-bad\nVersion: 1.0\n")
        archive.writestr(
            "m_bad-1.0.dist-info/entry_points.txt", "[toolkit.tools]\nx = z_mod:Good\n"
        )


def namespace_over_two_folders(here: Environment) -> None:
    early = Site(here.folder / "early")
    early.install(
        "m-bad",
        {TOOLS: {"x": "shared_ns.one"}},
        {"shared_ns/one.py": good_tool("ns_one")},
    )
    here.site.install(
        "n-bad",
        {TOOLS: {"y": "shared_ns.two"}},
        {"shared_ns/two.py": good_tool("ns_two")},
    )


def editable_moved(here: Environment) -> None:
    folder = here.site.install("m-bad", {TOOLS: {"x": "moved_mod:Good"}}, {})
    gone = here.folder / "checkout"
    url = {"url": gone.as_uri(), "dir_info": {"editable": True}}
    (folder / "direct_url.json").write_text(json.dumps(url))
    (here.site.folder / "m_bad.pth").write_text(f"{gone}\n")


def core_too_old(here: Environment) -> None:
    metadata = "Name: m-bad\nVersion: 1.0\nRequires-Dist: toolkit-core>=99\n"
    files = {"bad_mod.py": "raise SystemError('imported')"}
    here.site.install("m-bad", GOOD_POINTS, files, metadata=metadata)


def other_group(here: Environment) -> None:
    here.site.install(
        "m-bad", {"toolkit_tool": {"x": "bad_mod:Good"}}, {"bad_mod.py": good_tool("x")}
    )


def foreign_group(here: Environment) -> None:
    here.site.install(
        "m-bad",
        {"console_scripts": {"x": "bad_mod:Good"}},
        {"bad_mod.py": good_tool("x")},
    )


def not_locked(here: Environment) -> None:
    here.toolkit("--deny", ",".join(DENIED), "lock", "--file", "toolkit.lock")
    here.site.install_tool("m-bad", "m_mod", "late")


FORK: Final = "import os, sys\nif os.fork() == 0:\n    while True: pass\nos._exit(5)\n"
THREAD: Final = (
    "import threading\n"
    "thread = threading.Thread(target=threading.Event().wait, daemon=True)\n"
    "thread.start()\n"
)
PATCH: Final = "import json\njson.loads = lambda *_: {}\n"
ATEXIT: Final = "import atexit\n@atexit.register\ndef goodbye(): ...\n"
FLOOD: Final = "while True: print('x' * 100_000)"
DEEP: Final = "def f(): f()\nf()"
ABORT: Final = "import os\nos.abort()"
MEMORY: Final = "hoard = []\nwhile True: hoard.append(bytearray(64 << 20))"

SCENARIOS: Final[dict[str, Scenario]] = {
    # --- what importing does
    "import error": Scenario(
        bad("import nowhere_at_all"),
        ("ModuleNotFoundError", "To do"),
        failed="import_failed",
    ),
    "syntax error": Scenario(
        bad("def f(:"), ("SyntaxError", "bad_mod.py"), failed="import_failed"
    ),
    "sys.exit": Scenario(
        bad("import sys; sys.exit(4)"), ("SystemExit: 4",), failed="import_failed"
    ),
    "os._exit": Scenario(
        bad("import os; os._exit(3)"),
        ("ended the process with exit status 3", "To do"),
        failed="ended_process",
    ),
    "abort": Scenario(
        bad(ABORT),
        ("crashed the process (SIGABRT)", "bad_mod.py"),
        failed="ended_process",
    ),
    "hang": Scenario(
        bad("import threading; threading.Event().wait()"),
        ("did not end within 1.5 s", "bad_mod.py", "contact_timeout"),
        failed="hung",
        environ=QUICK,
    ),
    "recursion": Scenario(bad(DEEP), ("RecursionError",), failed="import_failed"),
    "flood of output": Scenario(
        bad(FLOOD), ("printed more than 4 MiB",), failed="too_much_output"
    ),
    "memory": Scenario(
        bad(MEMORY),
        ("MemoryError", "contact_memory_bytes"),
        failed="too_much_memory",
        environ={"TOOLKIT_CONTACT_MEMORY_BYTES": str(512 << 20)},
    ),
    "fork": Scenario(bad(FORK), ("exit status 5",), failed="ended_process"),
    "thread left behind": Scenario(
        bad(THREAD + good_tool("x")),
        ("left something behind", "thread", "tolerate"),
        failed="left_behind",
    ),
    "functions of others replaced": Scenario(
        bad(PATCH + good_tool("x")),
        ("left something behind", "json.loads"),
        failed="left_behind",
    ),
    "exit handler left behind": Scenario(
        bad(ATEXIT + good_tool("x")),
        ("left something behind", "goodbye"),
        failed="left_behind",
    ),
    "left behind and tolerated": Scenario(
        bad(THREAD + good_tool("tolerated")),
        ("accepted",),
        found=("tolerated",),
        status=0,
        environ={"TOOLKIT_TOLERATE": "M_Bad"},
    ),
    # --- what is published
    "missing attribute": Scenario(
        bad("", "bad_mod:Nothing"), ("AttributeError",), failed="import_failed"
    ),
    "malformed reference": Scenario(
        bad("", "Word Count!"), ("no object reference",), failed="import_failed"
    ),
    "dropped by the filter": Scenario(
        bad(
            "import pydantic\nclass M(pydantic.BaseModel):\n  name: str = 'm'",
            "bad_mod:M",
        ),
        ("x [pydantic_model]", "data schemas"),
        rejected="pydantic_model",
    ),
    "two plugins of one name": Scenario(
        two_of_one_name,
        ("2 tools claim", 'prefer.contested = "m-bad"', 'prefer.contested = "n-bad"'),
        query="contested",
        found=("m-bad__contested", "n-bad__contested"),
    ),
    # --- entry_points.txt
    "no section": Scenario(
        points("x = bad_mod:Good\n[toolkit.tools]\n"),
        ("before any [group]", "damaged"),
        failed="metadata_broken",
    ),
    "not UTF-8": Scenario(
        points(b"[toolkit.tools]\n\xe4 = bad_mod:Good\n"),
        ("not UTF-8 (byte 0xe4 at 16)",),
        failed="metadata_broken",
    ),
    "byte-order mark": Scenario(
        points(b"\xef\xbb\xbf" + GOOD_POINTS),
        ("accepted",),
        found=("readable",),
        status=0,
    ),
    "CRLF": Scenario(
        points(GOOD_POINTS.replace(b"\n", b"\r\n")),
        ("accepted",),
        found=("readable",),
        status=0,
    ),
    "duplicate keys": Scenario(
        points(GOOD_POINTS + b"x = bad_mod:Other\n"),
        ("AttributeError",),
        failed="import_failed",
        found=("readable",),
    ),
    "a megabyte of junk": Scenario(
        points(b"\x00junk" * 250_000),
        ("larger than", "damaged"),
        failed="metadata_broken",
    ),
    "symlink loop": Scenario(
        symlink_loop, ("Too many levels", "damaged"), failed="metadata_broken"
    ),
    "unreadable": Scenario(unreadable, ("Is a directory",), failed="metadata_broken"),
    # --- where it is
    "same distribution twice": Scenario(
        same_twice_on_the_path,
        ("m-bad 1.0", "is hidden", "m_bad-2.0.dist-info"),
        found=("new",),
        path=("early",),
    ),
    "site folder twice": Scenario(
        site_twice, ("accepted",), query="good_first", status=0, path=("early",)
    ),
    "empty dist-info left behind": Scenario(
        empty_left_over,
        ("accepted", "left over"),
        found=("still_here",),
        path=("early",),
    ),
    "only a left-over": Scenario(only_left_over, ("not found", "left over")),
    "dist-info without METADATA": Scenario(
        no_metadata, ("broken metadata", "METADATA"), failed="metadata_broken"
    ),
    "in a zip": Scenario(
        in_a_zip, ("accepted",), found=("zipped",), status=0, path=("early",)
    ),
    "namespace over two folders": Scenario(
        namespace_over_two_folders,
        ("accepted",),
        found=("ns_one", "ns_two"),
        status=0,
        path=("early",),
    ),
    "editable install moved": Scenario(
        editable_moved,
        ("editable install of", "not there any more", "pip install -e"),
        failed="import_failed",
    ),
    "core unsupported": Scenario(
        core_too_old,
        ("toolkit-core>=99", "is running", "made for this toolkit-core"),
        failed="core_unsupported",
    ),
    # --- not found, and why
    "not installed": Scenario(
        lambda _: None,
        ("not found", "Install the package"),
        query="nothing-of-the-kind",
    ),
    "typo in the group": Scenario(
        other_group,
        ("toolkit_tool", "nobody reads", "Rename that group to toolkit.tools"),
    ),
    "wrong group": Scenario(foreign_group, ("publishes nothing in", "console_scripts")),
    "denied": Scenario(
        bad(good_tool("x")), ("deny list", "none of its code has run"), deny=("m-bad",)
    ),
    "not allowed": Scenario(
        bad(good_tool("x")), ("not on the allow list",), allow=("a-good", "z-good")
    ),
    "not locked": Scenario(
        not_locked,
        ("not in the lock", "toolkit lock"),
        failed="not_trusted",
        environ={"TOOLKIT_TRUST": "locked"},
    ),
}


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    here = Environment(tmp_path)
    here.site.install_tool("a-good", "a_good_mod", "good_first")
    here.site.install_tool("z-good", "z_good_mod", "good_last")
    return here


def look(here: Environment, scenario: Scenario) -> tuple[dict[str, Any], str, int]:
    """Discover in a fresh interpreter and ask why; return the report and the answer."""
    told = {
        "query": scenario.query,
        "deny": [*DENIED, *scenario.deny],
        "allow": list(scenario.allow),
    }
    path = tuple(here.folder / one for one in scenario.path)
    done = here.run(LOOK, json.dumps(told), path=path, environ=scenario.environ)
    first, *answer, status = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(first)
    return found, "\n".join(answer), int(status)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_is_right_and_explained(here: Environment, name: str) -> None:
    """Find the good ones, name the culprit, and say what to do (S210, S154, B12)."""
    scenario = SCENARIOS[name]
    scenario.build(here)
    found, answer, status = look(here, scenario)
    assert {"good_first", "good_last", *scenario.found} <= set(found["tools"])
    assert len(found["tools"]) == 2 + len(scenario.found)
    culprits = [[one, cause] for one, cause in found["failed"]]
    assert culprits == ([["m-bad", scenario.failed]] if scenario.failed else [])
    dropped = [reason for _, reason in found["rejected"]]
    assert dropped == ([scenario.rejected] if scenario.rejected else [])
    assert found["skipped"].count("m-bad") == bool(scenario.deny or scenario.allow)
    for text in scenario.says:
        assert text in answer
    assert status == scenario.status
    assert "toolkit/discovery" not in answer.replace(os.sep, "/")  # theirs, not ours
