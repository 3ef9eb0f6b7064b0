"""The installed `toolkit` command, run as people and programs run it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from tests.distributions import Site, good_tool, importable
from toolkit.cli.app import app
from toolkit.testing import connect

COMMAND: Final = Path(sys.executable).with_name("toolkit")
TIMEOUT: Final = 50.0  # seconds; a run takes about one, on a busy machine some more
FOREIGN: Final = ("TOOLKIT_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_")

WEATHER: Final = """
from toolkit import ToolContext, tool

@tool(required_scopes={"weather:read"}, tags={"weather"}, read_only=True)
def forecast(city: str, days: int = 1) -> dict[str, object]:
    "Tell the weather."
    print("printed by the tool")
    return {"city": city, "days": days, "sky": "clear \\u2600"}

@tool
def whoami(*, context: ToolContext) -> dict[str, object]:
    "Say who calls."
    user = context.user
    return {
        "user": user.user_id,
        "roles": sorted(user.roles),
        "scopes": sorted(user.scopes),
        "metadata": dict(user.metadata),
    }

@tool
def raises() -> str:
    "Fail."
    raise RuntimeError("what only the operator may read")

print("printed at import")
"""

STUCK: Final = """
import asyncio, os, subprocess, sys, threading, time
from toolkit import tool

@tool
def sleeps_in_a_thread() -> str:
    threading.Event().wait()

@tool
async def blocks_the_loop() -> str:
    threading.Event().wait()

@tool
async def ignores_cancellation() -> str:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

@tool
def leaves_a_thread() -> str:
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    return "left"

class NeverCloses:
    "Answer, and never end the clean-up."
    name = "never_closes"
    def execute(self) -> str:
        return "answered"
    async def aclose(self) -> None:
        await asyncio.Event().wait()

@tool
def runs_a_child() -> str:
    "Run a program that prints."
    subprocess.run([sys.executable, "-c", "print('printed by a child')"], check=True)
    return "done"
"""


class Done:
    """What a run said, and how it ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        """Keep it."""
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        """Standard output, read as one JSON document."""
        return json.loads(self.out)

    @property
    def records(self) -> list[list[str]]:
        """Standard output, read as tab-separated records."""
        return [line.split("\t") for line in self.out.splitlines()]


class Shell:
    """An empty working directory, and a folder that distributions are installed in."""

    def __init__(self, folder: Path) -> None:
        """Make the folders."""
        self.home = folder / "home"
        self.home.mkdir()
        self.site = Site(folder / "site")

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which only this test's variables steer us."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        ours = {"PYTHONPATH": str(self.site.folder), "TOOLKIT_CACHE": "off"}
        return {**kept, **ours, **extra}

    def run(self, *arguments: str, stdin: str = "", **extra: str) -> Done:
        """Run the command; keyword arguments are environment variables."""
        done = subprocess.run(  # noqa: S603 - the command under test
            [str(COMMAND), *arguments],
            cwd=self.home,
            env=self.environment(extra),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def run_here(self, *arguments: str, **extra: str) -> Done:
        """Run the command in this process, which is quicker; for what cannot hang."""
        with importable(self.site.folder), chdir(self.home):
            ended = CliRunner().invoke(app, arguments, env=extra, prog_name="toolkit")
        assert ended.exception is None or isinstance(ended.exception, SystemExit)
        return Done(ended.exit_code, ended.stdout, ended.stderr)

    def on_terminal(self, *arguments: str, **extra: str) -> Done:
        """Run the command on a terminal of 80 columns."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        variables = self.environment({"TERM": "xterm-256color", **extra})
        with subprocess.Popen(  # noqa: S603 - the command under test
            [str(COMMAND), *arguments],
            cwd=self.home,
            env=variables,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        ) as child:
            os.close(theirs)
            try:
                out = _read_all(ours)
                return Done(child.wait(TIMEOUT), out.replace("\r\n", "\n"), "")
            finally:
                child.kill()
                os.close(ours)


def _read_all(terminal: int) -> str:
    """Read until the other end is closed, for a bounded time."""
    out, end = bytearray(), time.monotonic() + TIMEOUT
    while select.select([terminal], [], [], end - time.monotonic())[0]:
        try:
            out += os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            return out.decode()
    pytest.fail(f"nothing more after {TIMEOUT} s: {out!r}")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def weather(shell: Shell) -> Shell:
    """A shell in which `weather-tools` is installed."""
    points = {"toolkit.tools": {"weather": "sky"}}
    shell.site.install("weather-tools", points, {"sky.py": WEATHER})
    return shell


@pytest.fixture
def stuck(shell: Shell) -> Shell:
    """A shell in which tools that never return are installed."""
    points = {"toolkit.tools": {"stuck": "stuck"}}
    shell.site.install("stuck", points, {"stuck.py": STUCK})
    return shell


# --- list ----------------------------------------------------------------------------


def test_list_as_json_says_name_origin_and_scopes_of_each_tool(
    weather: Shell,
) -> None:
    """Whatever plugins print at import stays out of it, in whatever process."""
    quiet = weather.run("--allow", "weather-tools", "list", "--json")
    assert "printed at import" not in quiet.err  # it was said in a child process
    here = {"TOOLKIT_FIRST_CONTACT": "in_process"}
    done = weather.run("--allow", "weather-tools", "list", "--json", **here)
    assert done.json == quiet.json
    assert done.status == 0
    by_name = {entry["name"]: entry for entry in done.json["tools"]}
    assert by_name["forecast"] == {
        "name": "forecast",
        "qualified_name": "weather-tools.forecast",
        "origin": "weather-tools 1.0 (toolkit.tools: weather = sky:forecast)",
        "distribution": "weather-tools",
        "version": "1.0",
        "description": "Tell the weather.",
        "required_scopes": ["weather:read"],
        "tags": ["weather"],
        "read_only": True,
        "destructive": None,
        "idempotent": None,
        "timeout": None,
    }
    assert done.json["agents"] == []
    assert "printed at import" in done.err


def test_list_in_a_pipe_is_one_tab_separated_record_a_line(shell: Shell) -> None:
    """The installed plugins are listed plainly, beside the broken one (S52)."""
    done = shell.run("list", COLUMNS="40")
    assert done.status == 0
    assert all(len(record) == 5 for record in done.records)
    qualified = {record[1]: record for record in done.records}
    assert qualified["toolkit-text.notebook"][2] == "text:notes"
    assert "toolkit_text.tools:Notebook" in qualified["toolkit-text.notebook"][3]
    assert "toolkit-text.word_count" in qualified
    assert "toolkit-broken.word_count" in qualified
    assert not re.search(r"[\x1b\u2500-\u257f\u2026]", done.out)


def test_list_without_any_tool_says_so_and_fails(shell: Shell) -> None:
    """Nothing found is a loud state, never only an empty list."""
    done = shell.run("--allow", "nothing-at-all", "list")
    assert (done.status, done.out) == (1, "")
    assert "no tool was found" in done.err


def test_tables_fit_a_terminal_and_are_plain_where_colour_is_unwanted(
    shell: Shell,
) -> None:
    """No line is wider than the terminal's 80 columns, and NO_COLOR is kept to."""
    colour = re.compile(r"\x1b\[([0-9;]*;)?[349][0-9]m")
    assert colour.search(shell.on_terminal("doctor").out)
    for command in ("list", "doctor"):
        shown = shell.on_terminal(command, NO_COLOR="1").out
        assert not colour.search(shown)
        lines = [line.rstrip() for line in _plain(shown).splitlines()]
        assert len(lines) > 20
        assert max(map(len, lines)) <= 80
        assert "toolkit-text 0.1.0" in lines


def _plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_list_survives_a_reader_that_goes_away(shell: Shell) -> None:
    """``toolkit list | head -0`` ends without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        done = subprocess.run(  # noqa: S603 - the command under test
            [str(COMMAND), "list"],
            cwd=shell.home,
            env=shell.environment({}),
            stdout=nobody,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"one": "absent_a"}, "1 fault was found too (snow)"),
        ({"one": "absent_a", "two": "absent_b"}, "2 faults were found too (snow)"),
    ],
    ids=["one", "two"],
)
def test_list_counts_faults_in_good_english(
    shell: Shell, broken: dict[str, str], said: str
) -> None:
    """One fault, several faults."""
    points = {"toolkit.tools": {"good": "snow:Good", **broken}}
    shell.site.install("snow", points, {"snow.py": good_tool("snow")})
    done = shell.run_here("--allow", "snow", "list")
    assert (done.status, len(done.records)) == (0, 1)
    assert done.err == f"hint: {said}; `toolkit doctor` shows more.\n"


@pytest.fixture
def kitchen(shell: Shell) -> Shell:
    """A shell in which `kitchen-tools` publishes in a group that is not ours."""
    points = {"toolkit.tool": {"kitchen": "kitchen_tools.tools"}}
    shell.site.install("kitchen-tools", points)
    return shell


def test_empty_list_names_who_publishes_in_a_wrong_group(kitchen: Shell) -> None:
    """Here and in `doctor`; a list that names nobody is told too."""
    sentence = (
        "kitchen-tools 1.0 publishes kitchen = kitchen_tools.tools in the group "
        "'toolkit.tool', which nobody reads."
    )
    listed = kitchen.run_here("--allow", "tolkit-text", "list")
    assert f"hint: {sentence}\n" in listed.err
    assert "hint: The setting allow names 'tolkit-text'" in listed.err
    assert "Did you mean toolkit-text?" in listed.err


# --- doctor --------------------------------------------------------------------------


def test_doctor_shows_what_is_published_in_a_wrong_group(kitchen: Shell) -> None:
    """As tables, as records, as JSON; it is no fault, for it may be another's."""
    only = ("--allow", "toolkit-text", "doctor")
    done = kitchen.run_here(*only, "--json")
    assert done.status == 0
    (entry,) = done.json["unread"]
    assert entry["distribution"] == "kitchen-tools"
    assert (entry["group"], entry["meant"]) == ("toolkit.tool", "toolkit.tools")
    assert "Rename that group to toolkit.tools" in entry["remedy"]
    record = next(one for one in kitchen.run_here(*only).records if one[0] == "unread")
    assert record[2:5] == ["kitchen", "kitchen-tools 1.0", "unknown_group"]
    shown = _plain(kitchen.on_terminal(*only).out)
    assert "In groups that nobody reads: 1" in shown
    assert "To do: Rename that group to toolkit.tools" in shown


def test_doctor_shows_settings_that_match_nothing(shell: Shell) -> None:
    """A deny list with a slip keeps nobody out, so it is told; it is no fault."""
    only = ("--allow", "toolkit-text", "--deny", "toolkit-brokn", "doctor")
    note = "The setting deny names 'toolkit-brokn', which publishes nothing here."
    done = shell.run_here(*only, "--json")
    assert done.status == 0
    assert done.json["notes"] == [f"{note} Did you mean toolkit-broken?"]
    assert [one[5] for one in shell.run_here(*only).records if one[0] == "note"] == (
        done.json["notes"]
    )
    shown = " ".join(_plain(shell.on_terminal(*only).out).split())
    assert f"Settings that match nothing: 1 {note}" in shown


def test_doctor_names_every_claimant_of_a_name(shell: Shell) -> None:
    """Not only the first in the alphabet, neither here nor in `schema`."""
    claimants = '"toolkit-broken" (or "toolkit-text")'
    records = shell.run("doctor").records
    claim = next(r for r in records if r[0] == "collision" and r[2] == "word_count")
    assert claimants in claim[5]
    assert claimants in shell.run("schema", "word_count").err


def test_doctor_ends_well_when_all_is_well(weather: Shell) -> None:
    """One healthy distribution, and nothing else allowed."""
    done = weather.run("--allow", "weather-tools", "doctor", "--json")
    assert done.status == 0
    report = done.json
    assert report["status"] == "healthy"
    assert report["faults"] == report["failed"] == report["collisions"] == []
    assert {one["name"] for one in report["accepted"]} == {
        "forecast",
        "raises",
        "whoami",
    }
    assert {one["distribution"] for one in report["skipped"]} >= {"toolkit-text"}


def test_doctor_names_every_fault_of_the_broken_package(shell: Shell) -> None:
    """Dropped with reasons, failed with tracebacks, collisions with both (S38, S39)."""
    done = shell.run("doctor", "--json")
    assert done.status == 1
    report = done.json
    rejected = {(one["name"], one["reason"]) for one in report["rejected"]}
    assert {("Model", "pydantic_model"), ("model_instance", "pydantic_model")} <= (
        rejected
    )
    model = next(one for one in report["rejected"] if one["name"] == "Model")
    assert "BaseModel classes are data schemas, not executable tools" in model["detail"]
    broken = next(
        one
        for one in report["failed"]
        if "= toolkit_broken.import_error)" in one["origin"] and one["kind"] == "tool"
    )
    assert "a_module_that_nobody_ever_installs" in broken["traceback"]
    collision = next(c for c in report["collisions"] if c["name"] == "word_count")
    assert collision["qualified_names"] == [
        "toolkit-broken.word_count",
        "toolkit-text.word_count",
    ]
    assert collision["settled"] is False
    assert "prefer" in collision["remedy"]
    accepted = {one["qualified_name"] for one in report["accepted"]}
    assert {"toolkit-text.slugify", "toolkit-broken.still_here"} <= accepted
    assert len(report["faults"]) >= len(report["failed"])


def test_doctor_counts_what_a_scan_passes_over_and_shows_it_on_request(
    shell: Shell,
) -> None:
    """Private and re-exported names are noise, unless asked for."""
    short = shell.run("--allow", "toolkit-text", "doctor")
    whole = shell.run("--allow", "toolkit-text", "doctor", "--all")
    assert short.status == whole.status == 0
    hidden = next(record for record in short.records if record[0] == "hidden")
    shown = [record for record in whole.records if record[4] == "re_exported"]
    assert hidden[4:] == ["re_exported", f"{len(shown)}; shown with --all"]
    assert "UserContext" in {record[2] for record in shown}
    assert not any(record[0] == "rejected" for record in short.records)
    for done in (short, whole):
        assert " 0 rejected, " in done.records[-1][5]
        assert re.search(r", and \d+ names passed over$", done.records[-1][5])
    assert short.records[-1][4] == "healthy"


def test_doctor_fails_when_nothing_was_accepted(shell: Shell) -> None:
    """An empty catalog is a fault in itself."""
    done = shell.run("--allow", "nothing-at-all", "doctor", "--json")
    assert (done.status, done.json["status"]) == (1, "empty")
    shown = shell.on_terminal("--allow", "nothing-at-all", "doctor")
    assert "No tool was accepted" in shown.out


# --- why -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "forecast",
        "weather-tools.forecast",
        "FORECAST",
        "sky:forecast",
        "weather",
        "weather-tools",
        "Weather_Tools",
        "sky",
    ],
)
def test_why_finds_a_healthy_tool_by_any_of_its_names(
    weather: Shell, query: str
) -> None:
    """Bare, qualified, reference, entry point, distribution or module."""
    done = weather.run_here("--allow", "weather-tools", "why", query)
    assert done.status == 0, done.out
    assert "accepted" in done.out
    assert "weather-tools 1.0" in done.out
    assert "forecast" in done.out


def test_why_explains_a_collision_with_both_origins_and_the_setting(
    shell: Shell,
) -> None:
    """The line it gives settles the collision (S39, S44)."""
    done = shell.run("why", "word_count")
    assert done.status == 1
    assert "toolkit_broken.duplicates:word_count" in done.out
    assert "toolkit_text.tools:WordCount" in done.out
    line = 'prefer.word_count = "toolkit-text"'
    assert line in done.out
    shell.home.joinpath("toolkit.toml").write_text(f"{line}\n", encoding="utf-8")
    settled = shell.run("why", "toolkit-text.word_count")
    assert settled.status == 0
    assert "Call it word_count" in settled.out


def test_why_shows_the_traceback_of_what_failed(shell: Shell) -> None:
    """An entry point that cannot be imported is found by its name."""
    done = shell.run("why", "import_error")
    assert done.status == 1
    assert "failed to load" in done.out
    assert re.search(r'File ".*import_error.py", line \d+', done.out)
    assert 'deny = ["toolkit-broken"]' in done.out


def test_terminal_keeps_lines_of_tracebacks_and_breaks_names_at_their_joints(
    shell: Shell,
) -> None:
    """A path can be copied, a long name is not cut inside a word."""
    module, name = f"deep_{'e' * 30}", f"tool_{'n' * 30}"
    files = {
        f"{module}/__init__.py": "",
        f"{module}/inner.py": good_tool("inner", name),
        "torn.py": f"raise RuntimeError('{'long ' * 30}')",
    }
    points = {"toolkit.tools": {"deep": f"{module}.inner:{name}", "torn": "torn"}}
    shell.site.install("deep", points, files)
    only = ("--allow", "deep", "why")
    torn = _plain(shell.on_terminal(*only, "torn").out).splitlines()
    assert f'      File "{shell.site.folder / "torn.py"}", line 1, in <module>' in torn
    found = [
        line.strip()
        for line in _plain(shell.on_terminal(*only, "inner").out).splitlines()
    ]
    at = found.index(f"{module}.inner:")
    assert found[at + 1].startswith(f"{name})")
    shown = _plain(shell.on_terminal("--allow", "deep", "doctor").out)
    assert re.search(rf"inner +{module}\.inner:\s+{name} *\n", shown)


def test_why_tells_the_reason_and_the_remedy_of_what_was_dropped(
    shell: Shell,
) -> None:
    """An attribute is found, though it has no tool name (S31, S36)."""
    done = shell.run("why", "ModelWithToolAttributes")
    assert done.status == 1
    assert "dropped [pydantic_model]" in done.out
    assert "BaseModel classes are data schemas, not executable tools" in done.out
    assert "adapt_tool" in done.out
    private = shell.run_here("--allow", "toolkit-text", "why", "UserContext")
    assert private.status == 1
    assert "dropped [re_exported]" in private.out


def test_why_says_which_list_keeps_a_package_out(weather: Shell) -> None:
    """By the names that are known without running its code: package, entry point."""
    for query in ("weather-tools", "weather"):
        done = weather.run_here(
            *("--allow", "weather-tools", "--deny", "weather-tools", "why", query)
        )
        assert done.status == 1
        assert "weather-tools is on the deny list" in done.out
        assert "printed at import" not in done.err
    done = weather.run_here("--allow", "toolkit-text", "why", "weather-tools")
    assert "is not on the allow list" in done.out
    done = weather.run_here(
        *("--allow", "weather-tools", "why", "forecast"), TOOLKIT_DENY_TOOLS="forecast"
    )
    assert done.status == 1
    assert "setting deny_tools" in done.out


def test_why_recognises_a_misspelt_group(shell: Shell) -> None:
    """The commonest mistake of a tool's author: nothing is found, and no error."""
    points = {
        group: {"rain": "rain:Good"} for group in ("toolkit_tools", "tolkit.tool")
    }
    shell.site.install("rain-tools", points, {"rain.py": good_tool("rain")})
    for query in ("rain", "rain-tools", "rain:Good"):
        done = shell.run_here("--allow", "toolkit-text", "why", query)
        assert done.status == 1
        for group in points:
            assert f"{group!r}, which nobody reads" in done.out
        assert '[project.entry-points."toolkit.tools"]' in done.out


def test_why_tells_installed_but_unpublished_from_not_installed(
    shell: Shell,
) -> None:
    """A module or distribution that is there says so; a slip gets near names."""
    shell.site.install(
        "snow", {"other.tools": {"snow": "snow:Good"}}, {"snow.py": good_tool("snow")}
    )
    here = ("--allow", "toolkit-text", "why")
    done = shell.run_here(*here, "snow")
    assert done.status == 1
    assert "snow 1.0 is installed, and publishes nothing in toolkit.tools" in done.out
    assert "other.tools" in done.out
    shell.site.write({"loose_module.py": good_tool("loose")})
    done = shell.run_here(*here, "loose_module")
    assert 'modules = ["loose_module"]' in done.out
    done = shell.run_here(*here, "slugfy")
    assert done.status == 1
    assert "Did you mean slugify" in done.out
    assert sys.executable in done.out


def test_why_suggests_only_what_is_near_and_as_it_is_spelt(shell: Shell) -> None:
    """Accepted names first, none by chance; the package may be missing all the same."""
    for query, meant in (
        ("word_cout", "Did you mean word_count?"),
        ("disguisedmodl", "Did you mean DisguisedModel?"),
        ("numpy", ""),
        ("plain", ""),
    ):
        done = shell.run_here("--allow", "toolkit-broken", "why", query)
        assert done.status == 1
        assert re.findall("Did you mean .*", done.out) == [meant] * bool(meant)
        assert "To do: Install the package" in done.out


def test_why_of_nothing_is_wrong_use(shell: Shell) -> None:
    """An empty name is a slip in a script."""
    done = shell.run_here("why", "")
    assert (done.status, done.out) == (2, "")
    assert "give the name of a tool" in done.err


def test_why_mends_a_slip_in_the_module_of_an_entry_point(shell: Shell) -> None:
    """It names the nearest module, and does not tell the one line twice."""
    points = {"toolkit.tools": {"kitchen": "kitchen_tools.tolls:Good"}}
    files = {
        "kitchen_tools/__init__.py": "",
        "kitchen_tools/tools.py": good_tool("kettle"),
    }
    shell.site.install("kitchen-tools", points, files)
    for query in ("kitchen-tools", "kitchen"):
        done = shell.run_here("--allow", "kitchen-tools", "why", query)
        assert done.status == 1
        line = 'kitchen = "kitchen_tools.tools:Good"'
        assert f"To do: Write {line} in its pyproject.toml" in done.out
        assert done.out.count("No module named") == 1


# --- schema --------------------------------------------------------------------------


def test_schema_prints_arguments_and_result_and_the_providers_forms(
    weather: Shell,
) -> None:
    """Each form is the one that the provider's API takes."""
    allow = ("--allow", "weather-tools", "schema", "forecast")
    plain = weather.run(*allow).json
    assert plain["input_schema"]["required"] == ["city"]
    assert plain["output_schema"]["type"] == "object"
    forms = {
        name: weather.run_here(*allow, "--provider", name).json
        for name in ("openai", "anthropic", "gemini")
    }
    assert forms["openai"]["function"]["name"] == "forecast"
    assert forms["anthropic"]["input_schema"]["properties"].keys() == {"city", "days"}
    assert forms["gemini"]["parametersJsonSchema"]["type"] == "object"


def test_schema_of_an_unknown_tool_names_near_ones(shell: Shell) -> None:
    """So does a name that several claim."""
    done = shell.run_here("--allow", "toolkit-text", "schema", "slugfy")
    assert (done.status, done.out) == (1, "")
    assert "error[tool_not_found]" in done.err
    assert "slugify" in done.err
    done = shell.run("schema", "word_count")
    assert (done.status, done.out) == (1, "")
    assert "error[duplicate_tool]" in done.err
    assert "toolkit-text.word_count" in done.err


# --- call ----------------------------------------------------------------------------


def test_call_prints_the_result_as_json_and_nothing_else(weather: Shell) -> None:
    """What a tool prints goes to standard error."""
    call = ("call", "forecast", "--user", "ann", "--scope", "weather:read")
    done = weather.run(*call, "--args", '{"city": "Ulm", "days": 2}')
    assert done.status == 0
    assert done.json == {"city": "Ulm", "days": 2, "sky": "clear ☀"}
    assert done.out.count("\n") == 1
    assert "printed by the tool" in done.err
    piped = weather.run(*call, "--args", "-", stdin='{"city": "Ulm"}', LC_ALL="C")
    assert piped.json["days"] == 1


def test_call_hands_over_user_roles_scopes_and_metadata(weather: Shell) -> None:
    """A role brings the scopes that the settings say."""
    done = weather.run(
        *("call", "whoami", "--user", "ann", "--scope", "a:b", "--scope", "c:d"),
        *("--role", "boss", "--metadata", "data_folder=/data=1", "--metadata", "k=v"),
    )
    assert done.json == {
        "user": "ann",
        "roles": ["boss"],
        "scopes": ["a:b", "c:d"],
        "metadata": {"data_folder": "/data=1", "k": "v"},
    }
    done = weather.run_here(
        *("--allow", "weather-tools", "call", "forecast", "--user", "ann"),
        *("--role", "boss", "--args", '{"city": "Ulm"}'),
        TOOLKIT_ROLE_SCOPES='{"boss": ["weather:read"]}',
    )
    assert done.status == 0


def test_call_of_an_invisible_tool_answers_like_an_unknown_one(
    weather: Shell,
) -> None:
    """Word for word, but for the name that was asked for (B58)."""
    hidden = weather.run("call", "forecast", "--user", "ann", "--args", "{}")
    absent = weather.run("call", "zzzzzzzz", "--user", "ann", "--args", "{}")
    assert hidden.status == absent.status == 1
    assert hidden.out == absent.out == ""
    said = hidden.err.replace("forecast", "NAME")
    assert said == absent.err.replace("zzzzzzzz", "NAME")
    assert "error[tool_not_found]" in said


def test_call_errors_have_a_code_and_no_traceback_for_a_callers_mistake(
    weather: Shell,
) -> None:
    """Wrong arguments, a tool's own refusal, a name that several claim."""
    call = ("call", "forecast", "--user", "ann", "--scope", "weather:read")
    missing = weather.run_here("--allow", "weather-tools", *call)
    assert (missing.status, missing.out) == (1, "")
    assert "error[invalid_arguments]" in missing.err
    assert "city" in missing.err
    refused = weather.run_here(
        *(
            "--allow",
            "toolkit-text",
            "call",
            "slugify",
            "--user",
            "a",
            "--args",
            '{"title": "!"}',
        )
    )
    assert refused.status == 1
    assert refused.err.count("error[tool_error]: The title has no letter") == 1
    claimed = weather.run("call", "word_count", "--user", "a", "--args", "{}")
    assert "toolkit-text.word_count" in claimed.err
    assert claimed.err.count("hint: ") == 1
    for done in (missing, refused, claimed):
        assert "Traceback" not in done.err


def test_call_shows_the_operator_the_traceback_of_a_tool_that_raised(
    weather: Shell,
) -> None:
    """The error itself keeps back what the tool said; the log has it."""
    done = weather.run("call", "raises", "--user", "ann")
    assert (done.status, done.out) == (1, "")
    assert "what only the operator may read" in done.err
    error = next(line for line in done.err.splitlines() if line.startswith("error["))
    assert error.startswith("error[tool_failed]")
    assert "what only the operator may read" not in error


def test_broken_json_is_pointed_at(shell: Shell) -> None:
    """Line, column, and the place itself."""
    done = shell.run("call", "slugify", "--user", "ann", "--args", '{"title": oops}')
    assert (done.status, done.out) == (1, "")
    assert "line 1, column 11" in done.err
    text, mark = done.err.splitlines()[1:3]
    assert text[mark.index("^") :] == "oops}"
    assert "hint: " not in done.err


def test_arguments_that_a_shell_has_eaten_are_explained(shell: Shell) -> None:
    """Quotes that are gone, and a pipe with nothing in it."""
    call = ("call", "slugify", "--user", "ann", "--args")
    done = shell.run_here(*call, "{text:hi}")
    assert done.status == 1
    assert "hint: JSON needs its double quotes" in done.err
    done = shell.run(*call, "-", stdin="")
    assert (done.status, done.out) == (1, "")
    assert "standard input was empty" in done.err
    assert "hint: " not in done.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("call", "slugify", "--user", "none"), "invalid_user_context"),
        (("call", "slugify", "--user", "a", "--metadata", "x"), "bad_configuration"),
        (("call", "slugify", "--user", "a", "--timeout", "0"), "bad_configuration"),
        (("--config", "absent.toml", "list"), "bad_configuration"),
        (("--prefer", "word_count", "list"), "bad_configuration"),
    ],
    ids=["placeholder", "metadata", "timeout", "config", "prefer"],
)
def test_wrong_use_is_told_in_one_line_with_exit_status_2(
    shell: Shell, arguments: tuple[str, ...], code: str
) -> None:
    """Never a traceback."""
    done = shell.run_here("--allow", "toolkit-text", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error[{code}]: ")
    assert done.err.count("\n") == 1


# --- tools that never return ---------------------------------------------------------


@pytest.mark.parametrize(
    "tool", ["sleeps_in_a_thread", "blocks_the_loop", "ignores_cancellation"]
)
def test_tool_that_never_returns_is_answered_and_does_not_keep_the_process(
    stuck: Shell, tool: str
) -> None:
    """However it hangs: in a thread, on the loop, or against its cancellation."""
    started = time.monotonic()
    done = stuck.run(
        *("--allow", "stuck", "call", tool, "--user", "ann", "--timeout", "0.2")
    )
    assert (done.status, done.out) == (1, "")
    assert "error[tool_timeout]" in done.err
    assert time.monotonic() - started < TIMEOUT


@pytest.mark.parametrize(
    ("tool", "answer"), [("leaves_a_thread", "left"), ("never_closes", "answered")]
)
def test_what_a_tool_leaves_behind_does_not_keep_the_process(
    stuck: Shell, tool: str, answer: str
) -> None:
    """The result is printed, and the exit status is that of the call."""
    done = stuck.run("--allow", "stuck", "call", tool, "--user", "ann")
    assert (done.status, done.json) == (0, answer)


def test_child_processes_of_a_tool_cannot_print_into_the_result(
    stuck: Shell,
) -> None:
    """Their standard output is our standard error."""
    done = stuck.run("--allow", "stuck", "call", "runs_a_child", "--user", "ann")
    assert (done.status, done.json) == (0, "done")
    assert "printed by a child" in done.err


# --- the command itself --------------------------------------------------------------


def test_settings_come_from_the_file_then_variables_then_options(
    weather: Shell,
) -> None:
    """Each lies over the one before."""
    weather.home.joinpath("toolkit.toml").write_text(
        'deny = ["toolkit-broken"]\nstrict = true\n', encoding="utf-8"
    )
    report = weather.run("doctor", "--json").json
    assert {one["distribution"] for one in report["skipped"]} == {"toolkit-broken"}
    report = weather.run(
        *("--deny", "weather-tools", "doctor", "--json"), TOOLKIT_DENY="toolkit-data"
    ).json
    skipped = {one["distribution"] for one in report["skipped"]}
    assert skipped == {"toolkit-data", "weather-tools"}
    weather.home.joinpath("other.toml").write_text("denny = []\n", encoding="utf-8")
    done = weather.run("--config", "other.toml", "list")
    assert done.status == 2
    assert "did you mean deny?" in done.err


def test_module_in_the_working_directory_can_be_scanned(shell: Shell) -> None:
    """An author tries a file before there is a package."""
    file = shell.home / "my_tools.py"
    file.write_text(good_tool("mine"), encoding="utf-8")
    only = ("--allow", "nothing-at-all", "--module", "my_tools")
    assert shell.run(*only, "list").records[0][:2] == ["mine", "my_tools.mine"]
    assert shell.run(*only, "call", "mine", "--user", "ann").json == "mine works"


def test_prefer_on_the_command_line_settles_a_collision(shell: Shell) -> None:
    """The bare name is then the preferred distribution's."""
    call = ("call", "word_count", "--user", "ann", "--args", '{"text": "to be to"}')
    done = shell.run("--prefer", "word_count=toolkit-text", *call)
    assert done.json == {"to": 2, "be": 1}


def test_every_help_has_examples_and_fits_80_columns(shell: Shell) -> None:
    """Also in a pipe, where it is as plain as on a terminal."""
    for command in ((), ("list",), ("why",), ("doctor",), ("schema",), ("call",)):
        done = shell.run_here(*command, "--help")
        assert done.status == 0
        assert "Examples:" in done.out
        assert max(map(len, done.out.splitlines())) <= 80
        assert not re.search(r"[\x1b\u2500-\u257f]", done.out)


def test_version_is_that_of_the_distribution(shell: Shell) -> None:
    """One line, and exit status 0."""
    done = shell.run("--version")
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(r"toolkit-core \d+\.\d+\.\d+\S*\n", done.out)


def test_misspelt_command_is_answered_with_the_right_one(shell: Shell) -> None:
    """Exit status 2, as for any wrong use."""
    done = shell.run_here("docter")
    assert done.status == 2
    assert "doctor" in done.err


def test_option_after_the_command_is_told_where_it_stands(shell: Shell) -> None:
    """Only ours; any other unknown option is just that."""
    done = shell.run_here("list", "--deny", "toolkit-broken")
    assert (done.status, done.out) == (2, "")
    said = "--deny stands before the command: toolkit --deny PACKAGE list"
    assert said in done.err
    done = shell.run_here("list", "--dent")
    assert done.status == 2
    assert "stands before" not in done.err


def test_lines_of_the_reference_page_fit(shell: Shell) -> None:
    """The examples and notes in docs/cli.md, which are the commands' own help."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 11
    assert max(map(len, "".join(blocks).splitlines())) <= 88
    done = shell.run_here("doctor", "--help")
    assert "Not well means: something failed" in " ".join(done.out.split())


@pytest.mark.parametrize("absent", ["typer", "rich"])
def test_without_the_extra_the_command_says_what_to_install(
    shell: Shell, absent: str
) -> None:
    """The core can be installed without what only the command needs."""
    shell.site.write(
        {
            f"{absent}/__init__.py": f"""
            raise ModuleNotFoundError("No module named '{absent}'", name="{absent}")
            """
        }
    )
    done = shell.run("list")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error[missing_extra]: ")
    assert "pip install 'toolkit-core[cli]'" in done.err
    assert "Traceback" not in done.err


def test_names_and_texts_of_plugins_cannot_steer_a_terminal(shell: Shell) -> None:
    """Control characters are shown, never sent."""
    source = 'raise RuntimeError("\\x1b[2J\\x1b]0;owned\\x07 gone")\n'
    points = {"toolkit.tools": {"evil": "evil"}}
    shell.site.install("evil", points, {"evil.py": source})
    for command in (("doctor",), ("why", "evil")):
        shown = shell.on_terminal("--allow", "evil", *command).out
        assert "\x1b[2J" not in shown
        assert "\x1b]0;" not in shown
        assert r"\x1b[2J" in shown


# --- the demo ------------------------------------------------------------------------


def test_demo_shows_two_users_apart_and_the_savings(shell: Shell) -> None:
    """Plain and within 80 columns in a pipe; users at the same time, also in a chat
    (S3, S12, S13, S140).
    """
    demo = Path(__file__).parents[2] / "scripts" / "demo.py"
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(demo)],
        cwd=shell.home,
        env=shell.environment({"TOOLKIT_DENY": "toolkit-text"}),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
    assert done.stdout.count("word for word the same") == 2
    assert "NOT THE SAME" not in done.stdout
    notes = re.findall(r"^(ann|bob) .*(\[.*\])", done.stdout, re.MULTILINE)
    assert [(who, len(json.loads(kept))) for who, kept in notes] == [
        ("ann", 1),
        ("bob", 1),
        ("ann", 2),
        ("bob", 2),
    ]
    assert re.findall(r"Open tool systems of ann: (\d)", done.stdout) == ["0", "1"]
    assert """A new one finds in ann's notebook: ["hello again"]""" in done.stdout
    assert "pydantic_model" in done.stdout
    assert re.search(r"Together [\d,.]+ USD of [\d,.]+ USD", done.stdout)
    chat = done.stdout.partition("\n9. ")[2]
    lines = re.findall(r"^\d\.\d\d s( +)(\w+) ", chat, re.MULTILINE)
    for is_bob in (False, True):
        told = [kind for gap, kind in lines if (len(gap) > 20) is is_bob]
        assert (told[0], told[-1]) == ("agent_started", "agent_completed")
        assert {"agent_thinking", "tool_executing", "tool_completed"} < set(told)
    columns = [len(gap) > 20 for gap, _ in lines]
    assert columns != sorted(columns)  # neither waited for the other
    assert re.search(r"[\d,.]+ USD a month could be saved", chat)
    assert chat.endswith("make demo ARGS=--serve\n")


async def test_demo_can_leave_a_server_that_people_use(shell: Shell) -> None:
    """With --serve it ends with an address and a token that work, and goes on until
    Ctrl-C (S179, S192).
    """
    demo = Path(__file__).parents[2] / "scripts" / "demo.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, demo, "--serve"),
        cwd=shell.home,
        env=shell.environment({}),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            text = ""
            while not (found := re.search(r"(http://\S+)[^§]*?\n  (eyJ\S+)\n", text)):
                text += (await process.stdout.readline()).decode()
        async with await connect(*found.groups()) as client:
            heard = await client.ask("What tables do I have?")
        assert "packages.csv" in heard[-1]["result"]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        async with asyncio.timeout(TIMEOUT):
            assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
