"""What importing a package leaves behind is named, and what is usual is not."""

import _thread
import atexit
import builtins
import gc
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import types
import typing
from collections.abc import Callable
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import pytest

from toolkit import guards, naming
from toolkit.discovery.residue import Watch

pytestmark = pytest.mark.integration  # real files or processes in every test

ROOT = Path(__file__).parents[2]
OWN = __name__.partition(".")[0]
BOUND = 5.0  # seconds; no wait here lasts that long, unless the code is broken


def left_by(harm: Callable[[], object], *own: str) -> tuple[str, ...]:
    """Let something happen under a watch."""
    watch = Watch(own or {OWN})
    watch.start()
    try:
        harm()
    finally:
        found = watch.findings()
    return found


def run(code: str) -> list[str]:
    """Run code in a fresh interpreter, and return the lines it prints."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{WATCH}"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", start + code],
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=True,
    )
    return done.stdout.splitlines()


WATCH = """
import atexit, builtins, importlib, json, threading, warnings
from toolkit.discovery.residue import Watch
watch = Watch({"__main__"})
watch.start()
"""


class Unpleasant(BaseException):
    """What hostile objects raise when they are asked."""


class Hostile:
    """Something to call that tells nothing of itself."""

    @property
    def __module__(self) -> str:  # type: ignore[override]  # the lie is the point
        raise Unpleasant

    def __call__(self) -> None:
        raise Unpleasant

    def __eq__(self, other: object) -> bool:
        raise Unpleasant

    __hash__ = None  # type: ignore[assignment]  # cannot be a key either


def mine(*_: object, **__: object) -> None:
    """Stand in for somebody else's function."""


def test_import_without_traces_leaves_no_finding() -> None:
    """Say nothing where nothing was left, and be ready for the next package (S210)."""
    watch = Watch({OWN})
    assert watch.findings() == ()  # it was never started
    register = atexit.register
    for _ in range(2):
        watch.start()
        watch.start()
        assert watch.findings() == ()
    assert atexit.register is register


# --- threads ----------------------------------------------------------------------


class Threads:
    """Starts threads that wait; lets them go and waits for them at the end."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.release = threading.Event()
        self.count = 0

    def wait(self) -> None:
        self.begun.release()
        self.release.wait(BOUND)
        self.ended.release()

    def start(self, begin: Callable[[], object]) -> None:
        begin()
        assert self.begun.acquire(timeout=BOUND)
        self.count += 1

    def stop(self) -> None:
        self.release.set()
        for _ in range(self.count):
            assert self.ended.acquire(timeout=BOUND)


class Nameless(threading.Thread):
    """A thread that tells neither its name nor its number."""

    @property
    def name(self) -> str:  # type: ignore[override]  # the lie is the point
        raise Unpleasant

    @property
    def ident(self) -> Any:
        return []


def anonymous(function: Any) -> types.FunctionType:
    """Return the function as one of a module whose name is no text."""
    space = {**function.__globals__, "__name__": 5}
    return types.FunctionType(function.__code__, space, closure=function.__closure__)


def test_threads_that_still_run_are_named_with_what_they_run() -> None:
    """Find them however they were started, and whatever they say of themselves."""
    threads = Threads()
    before = threading.Thread(target=threads.wait, daemon=True)
    threads.start(before.start)

    def closure() -> None:
        threads.wait()

    def harm() -> None:
        named = threading.Thread(target=threads.wait, name="worker-1", daemon=True)
        threads.start(named.start)
        threads.start(Nameless(target=threads.wait, daemon=True).start)
        threads.start(lambda: _thread.start_new_thread(threads.wait, ()))
        threads.start(lambda: _thread.start_new_thread(anonymous(closure), ()))

    try:
        found = left_by(harm)
    finally:
        threads.stop()
    running = f"(running {__name__}.Threads.wait) still runs"
    assert sorted(found) == sorted(
        [f"thread 'worker-1' {running}", *[f"a thread {running}"] * 3]
    )


def test_thread_that_takes_the_number_of_an_ended_one_is_found() -> None:
    """Tell threads by more than their number, which is given again."""
    threads, old = Threads(), Threads()
    watch = Watch({OWN})
    ending = threading.Thread(target=old.wait, daemon=True)
    old.start(ending.start)
    watch.start()
    old.stop()
    ending.join(BOUND)
    again = threading.Thread(target=threads.wait, name="again", daemon=True)
    threads.start(again.start)
    try:
        found = watch.findings()
    finally:
        threads.stop()
    assert len(found) == 1
    assert "'again'" in found[0]


def test_thread_that_is_about_to_end_is_given_the_time() -> None:
    """Wait a moment: a thread that did its work at import has left nothing."""
    moment = threading.Event().wait
    assert left_by(threading.Thread(target=moment, args=(0.03,)).start) == ()


# --- exit handlers ----------------------------------------------------------------


class Pool:
    """Something that is closed at exit."""

    def close(self) -> None:
        """Close it."""

    def __call__(self) -> None:
        """Close it, too."""


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (mine, "mine"),
        (partial(mine, 1), "mine"),
        (Pool().close, "Pool.close"),
        (Pool(), "Pool"),
        (Pool, "Pool"),
    ],
    ids=["function", "partial", "method", "instance", "class"],
)
def test_own_exit_handler_is_named_where_it_is_left(handler: Any, name: str) -> None:
    """Name the function, inside whatever it is wrapped in."""
    try:
        found = left_by(lambda: atexit.register(handler, 1, func=2))
        assert found == (f"atexit handler {__name__}.{name} is left behind",)
        assert left_by(lambda: atexit.register(handler), "others") == ()
    finally:
        atexit.unregister(handler)


def test_exit_handler_that_was_taken_back_is_no_finding() -> None:
    """Forget what is unregistered, as atexit does: by equality."""
    pool = Pool()

    def harm() -> None:
        atexit.register(pool.close)
        atexit.register(mine)
        atexit.unregister(pool.close)

    try:
        found = left_by(harm)
    finally:
        atexit.unregister(mine)
    assert found == (f"atexit handler {__name__}.mine is left behind",)


def test_exit_handlers_of_others_are_nobodys_fault() -> None:
    """Judge none that a library registers for itself, and none that hides its place."""
    endless = partial(mine)
    endless.__setstate__((endless, (), {}, {}))  # type: ignore[attr-defined]  # by pickle
    others: list[Any] = [gc.collect, [].clear, endless]
    try:
        assert left_by(lambda: [atexit.register(one) for one in others]) == ()
    finally:
        for one in others:
            atexit.unregister(one)


def test_register_under_watch_behaves_as_the_real_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Return the function, refuse what cannot be called, and be gone afterwards."""
    monkeypatch.delattr(threading, "_register_atexit", raising=False)
    real, undo = atexit.register, atexit.unregister
    untyped: Any = real
    with pytest.raises(TypeError) as nothing:
        untyped()

    def harm() -> None:
        under: Any = atexit.register
        assert under is not real
        assert (under.__name__, under.__doc__) == (real.__name__, real.__doc__)
        assert under(mine) is mine
        with pytest.raises(TypeError, match="must be callable"):
            under(5)
        with pytest.raises(TypeError) as again:
            under()
        assert str(again.value) == str(nothing.value)
        assert atexit.unregister(mine) is None  # type: ignore[func-returns-value]  # as said

    assert left_by(harm) == ()
    assert (atexit.register, atexit.unregister) == (real, undo)
    assert not hasattr(threading, "_register_atexit")  # as it was


@pytest.mark.integration
def test_handlers_run_at_exit_whoever_watches_them() -> None:
    """Register for real: also by decorator, by threading, and what is hostile."""
    told = run("""
class Hostile:
    __module__ = property(lambda self: 1 / 0)
    def __call__(self): print("hostile runs")
def thread_bye(): print("thread bye")
atexit.register(Hostile())
threading._register_atexit(thread_bye)
@atexit.register
def bye(): print("bye")
print(*watch.findings(), sep="\\n")
""")
    assert told == [
        "atexit handler __main__.thread_bye is left behind",
        "atexit handler __main__.bye is left behind",
        "thread bye",
        "bye",
        "hostile runs",
    ]


# --- functions of others ----------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "place"),
    [
        (json, "loads", "json.loads"),
        (json.JSONDecoder, "decode", "json.JSONDecoder.decode"),
        (json, "decoder", "json.decoder"),
        (os.path, "join", "os.path.join"),
        (random, "choice", "random.choice"),
        (random, "Random", "random.Random"),
        (PurePath, "name", "pathlib.PurePath.name"),
        (atexit, "register", "atexit.register"),
        (builtins, "sorted", "builtins.sorted"),
        (re, "escape", "re.escape"),
        (PathFinder, "find_spec", "importlib._bootstrap_external.PathFinder.find_spec"),
        (naming, "tool_name", "toolkit.naming.tool_name"),
        (guards, "load_pydantic_plugins", "toolkit.guards.load_pydantic_plugins"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_replaced_function_is_named_and_put_back(
    owner: Any, name: str, place: str
) -> None:
    """Name what was replaced, and by whom; whoever comes next finds it whole."""
    before = vars(owner)[name]
    found = left_by(lambda: setattr(owner, name, mine))
    assert found == (f"{place} was replaced by a function of {__name__}",)
    assert vars(owner)[name] is before


def hostile() -> object:
    """Return an object of a class that hides its own name."""

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise Unpleasant

    class Thing(Hostile, metaclass=Meta):
        __module__ = vars(Hostile)["__module__"]

    return Thing()


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (Pool, f"a class of {__name__}"),
        (Pool(), f"an object of type Pool of {__name__}"),
        (staticmethod(mine), f"a function of {__name__}"),
        (staticmethod(partial(mine)), f"a function of {__name__}"),
        (len, "a function of builtins"),
        (None, "an object of type NoneType"),
        (type("X" * 999, (), {})(), f"an object of type {'X' * 200} of {__name__}"),
        (hostile, "an object of type unknown"),
    ],
    ids=["class", "object", "static", "partial", "builtin", "none", "long", "hostile"],
)
def test_replacement_is_described_whatever_it_is(put: Any, told: str) -> None:
    """Say what is there now, as far as it tells."""
    thing = put() if put is hostile else put  # no report of a failure may meet it
    found = left_by(lambda: setattr(json, "dumps", thing))
    assert found == (f"json.dumps was replaced by {told}",)


def test_function_that_is_gone_is_named_and_put_back() -> None:
    """Name what was deleted, of a module and of a class."""
    before, encode = json.dumps, json.JSONEncoder.encode

    def harm() -> None:
        del json.dumps, json.JSONEncoder.encode

    assert left_by(harm) == ("json.dumps is gone", "json.JSONEncoder.encode is gone")
    assert (json.dumps, json.JSONEncoder.encode) == (before, encode)


def test_module_that_is_another_one_is_named_and_put_back() -> None:
    """See that the next import of it would give something else."""
    harm = partial(sys.modules.__setitem__, "json", ModuleType("faster"))
    found = left_by(harm)
    assert found == ("sys.modules.json was replaced by an object of type module",)
    assert sys.modules["json"] is json


def test_additions_and_plain_values_are_no_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Leave alone what nobody relied on before, also where it is hostile."""

    def harm() -> None:
        placeless = type("Placeless", (), {"__module__": []})
        for owner, value in ((json, hostile()), (json, placeless), (Path, mine)):
            monkeypatch.setattr(owner, f"extra_{id(value)}", value, raising=False)
        monkeypatch.setattr(random, "BPF", 54)
        monkeypatch.setattr(builtins, "extra", 1, raising=False)

    assert left_by(harm) == ()
    assert left_by(lambda: None) == ()  # looks at what is there since


def test_function_added_to_builtins_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find what every module would see from now on."""
    harm = partial(monkeypatch.setattr, builtins, "spam", mine, raising=False)
    told = f"builtins.spam was added: a function of {__name__}"
    assert left_by(harm) == (told,)


@pytest.mark.integration
def test_broken_builtins_and_modules_do_not_stop_the_looking() -> None:
    """Mend first what looking needs, so that the culprit is named all the same."""
    told = run("""
import os, signal, time
def broken(*_, **__): raise SystemExit
for name in ("getattr", "issubclass", "list", "len", "vars", "type", "print"):
    builtins.__dict__[name] = broken
for owner in (time, threading, signal, os):
    for name in ("monotonic", "sleep", "enumerate", "getsignal", "getcwd"):
        if name in owner.__dict__:
            owner.__dict__[name] = broken
found = watch.findings()
print(*found, sep="\\n")
""")
    names = {
        line.removesuffix(" was replaced by a function of __main__") for line in told
    }
    assert names == {
        *(
            f"builtins.{one}"
            for one in ("getattr", "issubclass", "list", "len", "vars")
        ),
        *("builtins.type", "builtins.print", "time.monotonic", "time.sleep"),
        *("threading.enumerate", "signal.getsignal", "os.getcwd"),
    }


# --- the process ------------------------------------------------------------------


def test_changed_hooks_and_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Name the hooks of the interpreter, its limit, and where it is."""
    limit = sys.getrecursionlimit() + 1

    def harm() -> None:
        monkeypatch.setattr(sys, "excepthook", mine)
        monkeypatch.delattr(sys, "displayhook")
        monkeypatch.chdir(tmp_path)
        sys.setrecursionlimit(limit)

    try:
        found = left_by(harm)
    finally:
        sys.setrecursionlimit(limit - 1)
    assert found == (
        f"sys.excepthook was replaced by a function of {__name__}",
        "sys.displayhook is gone",
        f"the recursion limit is {limit} now",
        f"the working directory is {tmp_path} now",
    )


def test_working_directory_that_is_gone_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Survive a process that is nowhere."""
    folder = tmp_path / "gone"

    def harm() -> None:
        folder.mkdir()
        monkeypatch.chdir(folder)
        folder.rmdir()

    assert left_by(harm) == ("the working directory is one that is gone now",)


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (mine, f"was replaced by a function of {__name__}"),
        (signal.SIG_IGN, "was replaced by SIG_IGN"),
    ],
    ids=["function", "ignored"],
)
def test_changed_handler_of_a_signal_is_named(handler: Any, told: str) -> None:
    """Name the signal."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        found = left_by(lambda: signal.signal(signal.SIGTERM, handler) and None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == (f"the handler of SIGTERM {told}",)


@pytest.mark.integration
def test_trace_and_hostile_functions_left_behind_are_named() -> None:
    """Find what would be called from now on, also what cannot even be read."""
    told = run("""
import signal
class Hostile:
    def __call__(self, *_): pass
    def __eq__(self, other): raise SystemExit
def trace(*_): pass
signal.signal(signal.SIGTERM, Hostile())
sys.settrace(trace)
sys.setprofile(trace)
print(*watch.findings(), sep="\\n")
""")
    by = "was replaced by a function of __main__"
    assert told[0].startswith("the handler of SIGTERM ")  # read or not, by version
    assert told[1:] == [f"the trace function {by}", f"the profile function {by}"]


def test_interrupt_of_the_user_passes_the_looking() -> None:
    """End at Ctrl-C, whatever is looked at just then (S210)."""

    class Slow:
        @property
        def __module__(self) -> str:  # type: ignore[override]  # runs when it is asked
            signal.raise_signal(signal.SIGINT)
            return ""

    with pytest.raises(KeyboardInterrupt):
        left_by(lambda: setattr(json, "dumps", Slow()))
    assert json.dumps.__module__ == "json"


# --- what is usual ----------------------------------------------------------------


def test_generics_that_typing_extensions_mends_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tolerate what it does at import before Python 3.12, and nobody else."""

    def mended() -> Any: ...

    mended.__module__ = "typing_extensions"
    harm = partial(monkeypatch.setattr, typing, "get_args", mended)
    assert left_by(harm) == ()
    assert vars(typing)["get_args"] is mended
    elsewhere = left_by(lambda: setattr(json, "dumps", mended))
    assert elsewhere == ("json.dumps was replaced by a function of typing_extensions",)


def test_what_logging_offers_to_set_is_left_alone() -> None:
    """Blame nobody for the use of `logging.setLoggerClass` and its like."""
    before, factory = logging.getLoggerClass(), logging.getLogRecordFactory()

    class Logger(logging.Logger):
        pass

    class Record(logging.LogRecord):
        pass

    def harm() -> None:
        logging.setLoggerClass(Logger)
        logging.setLogRecordFactory(Record)

    try:
        assert left_by(harm) == ()
        assert logging.getLoggerClass() is Logger
    finally:
        logging.setLoggerClass(before)
        logging.setLogRecordFactory(factory)


COMMON = """
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in ({0}).split():
        watch = Watch({{"plugin"}})
        watch.start()
        importlib.import_module(name)
        print(name, *watch.findings())
"""
STANDARD = (
    "concurrent.futures.thread concurrent.futures.process multiprocessing.pool "
    "multiprocessing.managers asyncio unittest.mock ssl urllib.request http.client "
    "email.message sqlite3 decimal logging.config"
)
OTHERS = (
    "typing_extensions importlib_metadata packaging pluggy pydantic pydantic.v1 rich "
    "rich.traceback typer duckdb jsonschema coverage hypothesis pytest"
)


@pytest.mark.integration
def test_usual_libraries_leave_nothing_that_is_a_finding() -> None:
    """Blame nobody for importing the standard library, or what we depend on."""
    told = run(COMMON.format(f"{STANDARD!r} + ' ' + {OTHERS!r}"))
    assert told == f"{STANDARD} {OTHERS}".split()


@pytest.mark.integration
def test_finder_of_distributions_is_missed_without_importlib_metadata() -> None:
    """Let only the library that takes its place remove it."""
    told = run("""
from importlib.machinery import PathFinder
del PathFinder.find_distributions
print(*watch.findings())
""")
    assert told == [
        "importlib._bootstrap_external.PathFinder.find_distributions is gone"
    ]
