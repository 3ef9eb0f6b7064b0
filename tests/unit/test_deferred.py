"""A known tool: listed without its code, loaded once, whoever asks and how often."""

import threading
from collections.abc import Callable

import pytest

from tests.sample_tools import Echo
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.deferred import DeferredTool, Drift, Drifts
from toolkit.errors import ToolUnavailableError
from toolkit.origin import Origin
from toolkit.testing import make_user

ECHO = compile_tool(Echo)
ORIGIN = Origin("dist", "1.0")
WAIT = 5.0  # seconds; no test here needs one of them


def deferred(load: Callable[[], CompiledTool]) -> DeferredTool:
    return DeferredTool(ECHO.definition, ORIGIN, "execute", load, identity="m:Echo")


def never() -> CompiledTool:
    raise AssertionError("nobody has asked for the code")


def test_what_is_known_is_told_without_the_code() -> None:
    """Answer by name, definition and origin, and load nothing for it (B55)."""
    tool = deferred(never)
    assert (tool.name, tool.origin, tool.definition) == (
        "echo",
        ORIGIN,
        ECHO.definition,
    )
    assert (tool.is_loaded, tool.target) == (False, None)
    assert repr(tool) == "<DeferredTool echo, not loaded>"


def test_what_needs_the_code_loads_it_once() -> None:
    """Load at the first need, and hand on to what was loaded."""
    loads: list[None] = []

    def load() -> CompiledTool:
        loads.append(None)
        return ECHO

    tool = deferred(load)
    assert tool.signature is ECHO.signature
    assert type(tool.instantiate(make_user())) is Echo
    assert (tool.is_loaded, tool.target) == (True, Echo)
    assert repr(tool) == "<DeferredTool echo, loaded>"
    assert loads == [None]


def test_threads_that_ask_at_once_share_one_load() -> None:
    """Run the import once, however many wait for it (S13, S57)."""
    began, go = threading.Event(), threading.Event()
    loads: list[None] = []

    def load() -> CompiledTool:
        loads.append(None)
        began.set()
        assert go.wait(WAIT)
        return ECHO

    tool = deferred(load)
    futures = [tool.begin_loading() for _ in range(10)]
    assert began.wait(WAIT)
    futures += [tool.begin_loading()]
    assert not any(one.done() for one in futures)
    go.set()
    assert {id(one.result(WAIT)) for one in futures} == {id(ECHO)}
    assert loads == [None]


def test_nobody_can_cancel_the_load_of_others() -> None:
    """Let a caller give up its own wait only (B50)."""
    go = threading.Event()

    def load() -> CompiledTool:
        assert go.wait(WAIT)
        return ECHO

    tool = deferred(load)
    future = tool.begin_loading()
    assert future.cancel() is False
    go.set()
    assert future.result(WAIT) is ECHO


def test_failure_is_told_to_all_who_wait_and_tried_again() -> None:
    """Keep no failure: the next call loads anew (B36)."""
    answers: list[CompiledTool | ToolUnavailableError] = [
        ToolUnavailableError("echo", ORIGIN, "not today"),
        ECHO,
    ]

    def load() -> CompiledTool:
        answer = answers.pop(0)
        if isinstance(answer, CompiledTool):
            return answer
        raise answer

    tool = deferred(load)
    first = tool.begin_loading()
    with pytest.raises(ToolUnavailableError, match="not today"):
        first.result(WAIT)
    assert not tool.is_loaded
    assert tool.begin_loading().result(WAIT) is ECHO


def test_definition_is_the_codes_once_it_is_loaded() -> None:
    """Let access rules see what the code says (B58)."""

    class Guarded:
        name = "echo"
        required_scopes = frozenset({"x"})

        def execute(self) -> str:
            return ""

    tool = deferred(lambda: compile_tool(Guarded))
    assert tool.definition.required_scopes == frozenset()
    tool.load()
    assert tool.definition.required_scopes == {"x"}
    assert tool.name == "echo"


def test_drifts_are_kept_in_order_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Say in a sentence what differs, once in the log and to whoever asks (B49)."""
    drifts = Drifts()
    assert drifts() == ()
    one = Drift("echo", ORIGIN, ("description", "tags"))
    drifts.add(one)
    assert drifts() == (one,)
    assert str(one).startswith("echo of dist 1.0 differs from what it was listed with")
    assert "(description, tags)" in str(one)
    assert str(one) in caplog.text
