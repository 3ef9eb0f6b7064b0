"""The worker process: its time, its memory, its end."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit import ToolContext, ToolError, UserContext
from toolkit_data import sandbox
from toolkit_data.models import QueryResult
from toolkit_data.tools import QueryTables

pytestmark = [pytest.mark.integration, pytest.mark.no_docker]

ENDLESS = (
    "WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a FROM r) SELECT max(a) FROM r"
)
UNINTERRUPTIBLE = "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))"
"""One function call of minutes, in which the engine hears no interrupt."""


@pytest.mark.parametrize("sql", [ENDLESS, UNINTERRUPTIBLE])
def test_a_query_past_its_time_is_stopped_whatever_it_does(
    home: Path,
    query: Callable[..., QueryResult],
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
) -> None:
    """The limit holds inside a single function call too (B30)."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_TIMEOUT", "1")
    started = time.monotonic()
    with pytest.raises(ToolError, match="longer than the 1 seconds allowed"):
        query(sql)
    assert time.monotonic() - started < 10


def test_the_callers_remaining_time_bounds_the_query(
    home: Path, ann: UserContext
) -> None:
    """A nearer deadline of the caller is kept, so that the error can arrive."""
    assert home.exists()
    context = ToolContext(
        user=ann, call_id="c", tool_name="t", deadline=time.monotonic() + 1.5
    )
    with pytest.raises(ToolError, match="was stopped"):
        QueryTables(ann).execute(ENDLESS, context=context)
    spent = ToolContext(user=ann, call_id="c", tool_name="t", deadline=0.0)
    with pytest.raises(ToolError, match="No time is left"):
        QueryTables(ann).execute("SELECT 1", context=spent)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 2000000000))",
        "SELECT range(1000000000)",
        "SELECT count(DISTINCT range) FROM range(100000000)",
    ],
)
def test_memory_is_bounded_even_inside_one_function(
    home: Path,
    query: Callable[..., QueryResult],
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
) -> None:
    """The engine's own limit does not reach there; the process's does."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_MEMORY_BYTES", str(128 << 20))
    with pytest.raises(ToolError, match="more memory than the 128 MiB allowed; agg"):
        query(sql)


def test_a_worker_that_breaks_down_is_an_error_not_a_hang(
    home: Path,
    query: Callable[..., QueryResult],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets a remedy, the operator's log the details."""
    assert home.exists()
    monkeypatch.setattr(sandbox, "COMMAND", ("-I", "-c", "raise SystemExit('broken')"))
    with pytest.raises(ToolError, match="broke down"):
        query("SELECT 1")
    assert "status 1: broken" in caplog.text


def test_a_worker_that_ignores_its_limits_is_killed(
    home: Path, query: Callable[..., QueryResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last resort is not the worker's to decide."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_TIMEOUT", "0.2")
    monkeypatch.setattr(sandbox, "KILL_SECONDS", 0.2)
    blocked = "import signal, sys; sys.stdin.read(); signal.pause()"
    monkeypatch.setattr(sandbox, "COMMAND", ("-I", "-c", blocked))
    with pytest.raises(ToolError, match="was stopped"):
        query("SELECT 1")


def test_the_worker_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the server, where credentials usually are, is handed on."""
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    read, write = os.pipe()
    shown = "import json, os; print(json.dumps(list(os.environ)))"
    monkeypatch.setattr(sandbox, "COMMAND", ("-I", "-c", shown))
    status, output = sandbox._run({}, read, 20.0)
    os.close(read)
    os.close(write)
    assert status == 0
    expected = {"MALLOC_ARENA_MAX", "LC_CTYPE", *sandbox.KEPT_VARIABLES}
    assert set(json.loads(output)) <= expected


def test_nothing_is_left_after_a_call(
    home: Path, query: Callable[..., QueryResult]
) -> None:
    """Neither a thread nor a descriptor of ours outlives its call (B41)."""
    query("FROM orders")
    threads = threading.active_count()
    before = os.dup(0)
    os.close(before)
    query("FROM orders")
    with pytest.raises(ToolError):
        query("FROM nowhere")
    after = os.dup(0)
    os.close(after)
    assert (threading.active_count(), after) == (threads, before)
    assert [path.name for path in home.iterdir()] == ["orders.csv"]
