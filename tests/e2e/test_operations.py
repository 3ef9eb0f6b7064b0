"""What operators are given: alert rules, a unit, a container file, and their page."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deployment import COMMAND, Deployment, running, wait_until_ready
from tests.repo.sources import ROOT
from toolkit import KeySourceError

PAGE: Final = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
ALERTS: Final = yaml.safe_load(
    (ROOT / "docs/operations/alerts.yml").read_text(encoding="utf-8")
)
RULES: Final[dict[str, Any]] = {
    rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]
}
UNIT: Final = ROOT / "deploy/toolkit.service"
CONTAINER: Final = ROOT / "deploy/Containerfile"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("served")) as own:
        yield own


# --- alerts --------------------------------------------------------------------------


def metrics_of(server: Deployment) -> set[str]:
    """Return the names that a server that runs tells Prometheus."""
    return {one.partition("{")[0] for one in server.numbers()}


async def test_alerts_speak_of_metrics_that_a_server_has(server: Deployment) -> None:
    """Every name in a rule is one that a running server tells (S188, S196)."""
    async with await server.connect("ann@example.com") as client:
        await client.ask("What tables do I have?", "data_agent")
    told = metrics_of(server)
    words = re.compile(r"\b(?:toolkit|toolregistry|websocket)_\w+")
    for alert, rule in RULES.items():
        used = set(words.findall(rule["expr"]))
        assert used <= told, alert
        assert used or alert == "ToolkitDown"


def test_alerts_hold_what_was_asked_to_be_watched() -> None:
    """There is a rule with a threshold for each rate that users depend on, and each
    rule leads to what is to be done (S143-S146, S188, S196).
    """
    asked = {
        "ToolkitConnectionSuccessLow": "> 0.01",
        "ToolkitResponseCompletionLow": "> 0.05",
        "ToolkitMultiUserSuccessLow": "< 95",
        "ToolkitRegistryErrors": "> 1",
        "ToolkitMetaclassTakenForATool": "> 0",
        "ToolkitCleanupIncomplete": "> 0.01",
    }
    for alert, threshold in asked.items():
        assert RULES[alert]["expr"].rstrip().endswith(threshold), alert
    titles = [
        line.lstrip("# ").lower() for line in PAGE.splitlines() if line[:1] == "#"
    ]
    for rule in RULES.values():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor.replace("-", " ") in titles
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_alert_counts_refusals_that_are_the_servers_fault_and_no_others() -> None:
    """The outcomes in the rule are the codes that are sent with a status of 500 or more
    (S143, S196).
    """
    sources = (ROOT / "toolkit/server").glob("*.py")
    text = "".join(one.read_text(encoding="utf-8") for one in sources)
    codes = set(re.findall(r'status=5\d\d,\s*code="(\w+)"', text))
    assert re.search(r"status=5\d\d, code=KeySourceError\.code", text)
    rule = RULES["ToolkitConnectionSuccessLow"]["expr"]
    (failed,) = re.findall(r'outcome=~"((?!ok)[\w|]+)"', rule)
    assert set(failed.split("|")) == codes | {KeySourceError.code}


def test_page_names_every_metric_of_the_server(server: Deployment) -> None:
    """The page has all that the server counts of connections and runs (S196)."""
    ours = re.compile(
        r"toolkit_(?:server|connection|response|multiuser|registry)_|websocket_"
    )
    told = {one for one in metrics_of(server) if ours.match(one)}
    listed = set(filter(ours.match, re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)))
    always = {one for one in listed if not one.endswith("_total")}
    assert always <= told
    assert told <= listed


# --- the unit ------------------------------------------------------------------------


def test_unit_is_right_and_hardened(tmp_path: Path) -> None:
    """Systemd's own checker finds no fault in the unit, and little that it exposes."""
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed here")
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/toolkit/bin/toolkit", str(COMMAND)))
    environ = {**os.environ, "SYSTEMD_COLORS": "0"}
    done = subprocess.run(  # noqa: S603 - systemd's own checker
        [checker, "verify", unit],
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(  # noqa: S603 - the same
        [checker, "security", "--offline=true", "--threshold=20", unit],
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout[-300:]


def test_unit_starts_a_command_that_there_is(tmp_path: Path) -> None:
    """Its command line is one of ours: it fails only for what is not configured, and
    with the remedy.
    """
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert program == "/opt/toolkit/bin/toolkit"
    (tmp_path / "toolkit.toml").write_text("allow = []\n")
    own = [one.replace("/etc/toolkit", str(tmp_path)) for one in arguments]
    kept = {key: one for key, one in os.environ.items() if "TOOLKIT_" not in key}
    done = subprocess.run(  # noqa: S603 - our own command
        [COMMAND, *own],
        env=kept,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=45,
    )
    assert done.returncode == 2
    assert "give a secret, or a public key" in " ".join(done.stderr.split())


# --- the container file --------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Return what the container file says, one instruction each."""
    lines = CONTAINER.read_text(encoding="utf-8").splitlines()
    parted = [one.partition(" ") for one in lines if one and not one.startswith("#")]
    return [(name, rest) for name, _, rest in parted]


def test_container_file_uses_what_there_is() -> None:
    """All that it copies and installs is in this project, and it brings every plugin
    but the broken one.
    """
    steps = instructions()
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE"}
    assert {name for name, _ in steps} <= known | {
        *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD")
    }
    copied = [rest.split() for name, rest in steps if name == "COPY"]
    for *sources, target in (one for one in copied if "--from" not in one[0]):
        assert target.startswith("/src/")
        assert all((ROOT / source).exists() for source in sources)
    (install,) = [
        rest for name, rest in steps if "pip install" in rest and name == "RUN"
    ]
    plugins = {
        one.rpartition("/")[2] for one in re.findall(r"/src/plugins/\S+", install)
    }
    there = {one.name for one in (ROOT / "plugins").iterdir()}
    assert plugins == there - {"toolkit-broken"}
    assert '"/src[cli,server]"' in install


def test_container_is_nobodys_root_and_ends_as_the_server_does() -> None:
    """The last user is an unprivileged one, the signal is the one that drains, and the
    command is ours.
    """
    last = dict(instructions())
    uid = last["USER"].partition(":")[0]
    assert int(uid) > 1000
    assert last["STOPSIGNAL"] == "SIGTERM"
    command = json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])
    assert command == ["toolkit", "serve", "--host", "0.0.0.0"]  # noqa: S104 - within a container


def test_health_check_of_the_container_tells_ready_from_not(
    server: Deployment,
) -> None:
    """What it runs succeeds on a server that is ready, and fails where none is."""
    (check,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert python == "python"

    def status(port: str) -> int:
        return subprocess.run(  # noqa: S603 - the line of that file
            [sys.executable, *arguments],
            env={**os.environ, "TOOLKIT_SERVER__PORT": port},
            capture_output=True,
            check=False,
            timeout=45,
        ).returncode

    assert status(server.url.rpartition(":")[2]) == 0
    assert status("1") != 0


# --- settings ------------------------------------------------------------------------


def test_page_names_settings_that_there_are() -> None:
    """Each setting in the table of those that matter exists."""
    page = PAGE.partition("## Install it")[0]
    known = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    first = re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
    named = re.findall(r"`([a-z_.]+)(?: = \"\w+\")?`", " ".join(first))
    assert len(named) > 12
    for one in named:
        word = one.rpartition(".")[2]
        assert f"`{word}`" in known or f"[{one}]" in known, one


# --- the three commands of the README ------------------------------------------------


def test_commands_of_the_readme_start_a_server_and_ask_it(tmp_path: Path) -> None:
    """What a newcomer types starts a server, and asks it over HTTP: a plan comes, told
    in events (S179, S180, S192).
    """
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Run the chat backend")[2].partition("\n## ")[0]
    start, ask = re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)
    first, *tables, serve = start.splitlines()
    assert first.startswith("make demo")
    assert serve.startswith("toolkit serve --dev ")
    own, *asks = ask.replace("\\\n", "").splitlines()
    assert own.startswith("TOKEN=")
    served = serve.replace("toolkit", f"exec {shlex.quote(str(COMMAND))}", 1)
    kept = {key: one for key, one in os.environ.items() if "TOOLKIT_" not in key}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(  # noqa: S603 - the line of the README
            ["/bin/sh", "-ec", "\n".join([*tables, f"{served} --port 0"])],
            cwd=tmp_path,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url, token = (process.stdout.readline().strip() for _ in range(2))
            wait_until_ready(url)
            done = subprocess.run(  # noqa: S602 - the line of the README
                "\n".join(asks).replace("http://127.0.0.1:8000", url),
                shell=True,
                env={**kept, "TOKEN": token},
                capture_output=True,
                encoding="utf-8",
                check=True,
                timeout=45,
            )
        finally:
            process.terminate()
    events = re.findall(r"^event: (\w+)$", done.stdout, re.MULTILINE)
    assert (events[0], events[-1]) == ("agent_started", "agent_completed")
    assert events.count("agent_completed") == 2
    assert "USD a month" in done.stdout
    assert "The largest is ann with **160**" in done.stdout
