"""What importing a package leaves behind: named, and nothing that is not its own."""

import atexit
import builtins
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import toolkit
from toolkit.discovery.residue import Watch

WAIT = 5.0  # seconds; no test here needs one of them
OWN = "own_mod"


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """Let a thread of a test end with the test."""
    event = threading.Event()
    yield event
    event.set()


def findings(deed: Callable[[], object]) -> tuple[str, ...]:
    """Watch while something is done."""
    watch = Watch({OWN})
    watch.start()
    try:
        deed()
    finally:
        found = watch.findings()
    return found


def own(name: str = "goodbye", module: Any = OWN) -> Callable[..., None]:
    """Make a function that says it is defined in a module."""

    def function(*_: object) -> None:
        return None

    function.__module__, function.__qualname__ = module, name
    return function


def test_nothing_done_is_nothing_found() -> None:
    """Find nothing where nothing happened, however often it is looked at (B55)."""
    assert findings(lambda: None) == ()
    assert findings(lambda: json.loads("[1]")) == ()
    watch = Watch({OWN})
    for _ in range(3):
        watch.start()
        assert watch.findings() == ()


# --- threads --------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", [True, False])
def test_thread_that_runs_on_is_named(go: threading.Event, *, daemon: bool) -> None:
    """Name a thread that is still there, daemon or not (B47)."""
    thread = threading.Thread(target=go.wait, args=(WAIT,), name="late", daemon=daemon)
    assert findings(thread.start) == ("thread 'late' still runs",)
    go.set()
    thread.join(WAIT)


def test_thread_that_ends_is_forgiven(go: threading.Event) -> None:
    """Give a thread that is about to end a moment for it."""
    go.set()
    assert findings(threading.Thread(target=go.wait).start) == ()


def test_threads_from_before_are_nobodys_fault(go: threading.Event) -> None:
    """Blame nobody for what ran already."""
    thread = threading.Thread(target=go.wait, args=(WAIT,), daemon=True)
    thread.start()
    assert findings(lambda: None) == ()


# --- exit handlers --------------------------------------------------------------------


def test_exit_handler_of_the_packages_own_is_named() -> None:
    """Name it by where it is defined, also behind a partial or a method."""

    class Own:
        def close(self) -> None:
            return None

    Own.close.__module__ = f"{OWN}.inner"
    handlers: list[Callable[..., Any]] = [own(), partial(own("part"), 1), Own().close]

    def register() -> None:
        for one in handlers:
            assert atexit.register(one) is one  # as the real one does

    found = findings(register)
    for one in handlers:
        atexit.unregister(one)
    assert found[:2] == (
        "exit handler own_mod.goodbye is registered",
        "exit handler own_mod.part is registered",
    )
    assert "own_mod.inner" in found[2]


def test_exit_handlers_of_others_are_no_fault_of_the_package() -> None:
    """Blame a package for its own handlers only, and for none that it took back."""
    theirs, taken_back = own("close_all", "logging"), own()

    def register() -> None:
        atexit.register(theirs)
        atexit.register(taken_back)
        atexit.unregister(taken_back)

    found = findings(register)
    atexit.unregister(theirs)
    assert found == ()


def test_handler_that_hides_where_it_is_from_harms_nobody() -> None:
    """Survive whatever a handler says of itself (B36)."""

    class Hostile:
        @property
        def __module__(self) -> str:  # type: ignore[override]  # that is the point
            raise AttributeError("hidden")

        def __call__(self) -> None:
            return None

    hostile, numbered = Hostile(), own(module=3)
    deeds = (partial(atexit.register, hostile), partial(atexit.register, numbered))
    assert [findings(deed) for deed in deeds] == [(), ()]
    atexit.unregister(hostile)
    atexit.unregister(numbered)


def test_atexit_itself_is_put_back() -> None:
    """Leave the module as it was, and notice who replaces it meanwhile."""
    register, unregister = atexit.register, atexit.unregister
    assert findings(lambda: setattr(atexit, "register", own())) == (
        "atexit.register was replaced",
    )
    assert (atexit.register, atexit.unregister) == (register, unregister)


# --- replaced functions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        (json, "loads", "json.loads was replaced by a function of own_mod"),
        (json.JSONEncoder, "encode", "json.encoder.JSONEncoder.encode was replaced"),
        (threading.Thread, "start", "threading.Thread.start was replaced"),
        (os, "getcwd", "os.getcwd was replaced"),
        (
            toolkit.UserContext,
            "child",
            "toolkit.context.UserContext.child was replaced",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)
def test_replaced_function_of_another_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, told: str
) -> None:
    """Name what everybody relies on and is something else now (S13)."""
    found = findings(lambda: monkeypatch.setattr(owner, name, own(name)))
    assert found
    assert found[0].startswith(told)


def test_function_that_is_gone_is_named() -> None:
    """Name what was taken away."""
    kept = json.dumps
    found = findings(lambda: delattr(json, "dumps"))
    json.dumps = kept
    assert found == ("json.dumps is gone",)


def test_builtin_that_is_added_or_replaced_is_named() -> None:
    """Let nobody give all others a new word, or another meaning of one."""

    def deed() -> None:
        builtins.spam = own("spam")  # type: ignore[attr-defined]  # that is the deed
        builtins.print = own("print")

    kept = print
    found = findings(deed)
    builtins.print = kept
    del builtins.spam  # type: ignore[attr-defined]  # as above
    assert found == (
        "builtins.print was replaced by a function of own_mod",
        "builtins.spam was added by a function of own_mod",
    )


def test_values_and_additions_are_no_replacement() -> None:
    """Let modules keep what is not code, and get new names."""

    def deed() -> None:
        json.extra = own("extra")  # type: ignore[attr-defined]  # an addition
        json.flavour = 3  # type: ignore[attr-defined]  # likewise
        json.flavour = 4  # type: ignore[attr-defined]  # likewise

    found = findings(deed)
    del json.extra  # type: ignore[attr-defined]  # as above
    del json.flavour  # type: ignore[attr-defined]  # likewise
    assert found == ()


def test_module_that_is_replaced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """See through a whole module that stands in for another."""
    twin = ModuleType("json")
    found = findings(lambda: monkeypatch.setitem(sys.modules, "json", twin))
    assert "json.loads is gone" in found


# --- the rest of the process ----------------------------------------------------------


def test_changed_state_of_the_process_is_named(tmp_path: Path) -> None:
    """Name hooks, handlers, limits and the folder that everybody shares."""
    hook, limit, here = sys.excepthook, sys.getrecursionlimit(), Path.cwd()
    handler = signal.getsignal(signal.SIGTERM)

    def deed() -> None:
        sys.excepthook = own("hook")
        sys.setrecursionlimit(limit + 7)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir(tmp_path)

    found = findings(deed)
    sys.excepthook = hook
    sys.setrecursionlimit(limit)
    signal.signal(signal.SIGTERM, handler)
    os.chdir(here)
    assert found == (
        "sys.excepthook was changed",
        "the handler of SIGTERM was changed",
        "the recursion limit was changed",
        "the working directory was changed",
    )


HARMLESS = """
import importlib, json, sys
from toolkit.discovery.residue import Watch
import toolkit.discovery.contact
found = {}
for name in json.loads(sys.argv[1]):
    watch = Watch({name.partition(".")[0]})
    watch.start()
    importlib.import_module(name)
    found[name] = watch.findings()
print(json.dumps({name: left for name, left in found.items() if left}))
"""
USUAL = [
    *("concurrent.futures", "multiprocessing", "asyncio", "unittest.mock", "ssl"),
    *("urllib.request", "http.client", "email", "sqlite3", "decimal", "ctypes"),
    *("logging.handlers", "xmlrpc.server", "pydantic", "pydantic.v1", "rich", "typer"),
    *("importlib_metadata", "packaging", "pluggy", "jsonschema", "hypothesis"),
    *("pytest", "coverage", "duckdb", "toolkit_data.tools", "toolkit_text.tools"),
    *("toolkit_cloud_costs.tools",),
]


@pytest.mark.integration
def test_usual_libraries_leave_nothing_that_is_told() -> None:
    """Blame no package for importing what everybody imports (B3)."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", HARMLESS, json.dumps(USUAL)],
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=True,
    )
    assert json.loads(done.stdout) == {}
