"""What one plugin's code must not do to the others."""

import _thread
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.distributions import Site
from toolkit.guards import (
    PYDANTIC_SWITCH,
    is_interrupt,
    load_pydantic_plugins,
    pydantic_ready,
    start_pydantic,
    steady_imports,
)

ROOT = Path(__file__).parents[2]
TOOL = "class G:\n  name = '{0}'\n  def execute(self) -> int:\n    return 1\n"


def run(site: Site, code: str, **environ: str) -> str:
    """Run code in a fresh interpreter, where pydantic has built nothing yet."""
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(site.folder)!r}]\n"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", paths + code],
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=True,
        env={**os.environ, **environ},
    )
    return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    points = {"toolkit.tools": {"g": "alpha:G"}}
    site.install("alpha", points, {"alpha.py": TOOL.format("alpha")})
    return site


DISCOVER = """
from toolkit import Settings, discover
catalog, report = discover(Settings({0}))
print(*catalog.names(), *(str(one.origin) for one in report.failed))
print("spy" in sys.modules)
"""


@pytest.mark.integration
def test_neighbour_with_broken_metadata_costs_no_good_tool(site: Site) -> None:
    """Pydantic reads everybody's metadata; only the broken one is at fault (S210)."""
    site.install("bad", "[toolkit.tools]\nno pair\n")
    told = run(site, DISCOVER.format("allow={'alpha', 'bad'}"))
    assert told.splitlines()[0] == "alpha bad 1.0"


@pytest.mark.integration
def test_factory_without_discovery_survives_a_broken_neighbour(site: Site) -> None:
    """The first schema of a process may be compiled without any discovery (S210)."""
    site.install("bad", "[toolkit.tools]\nno pair\n")
    code = "from toolkit.compiler import compile_tool; import alpha\n"
    assert run(site, f"{code}print(compile_tool(alpha.G).name)") == "alpha\n"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("lists", "loaded"),
    [
        ("", True),
        ("deny={'Spy'}", False),
        ("allow={'alpha'}", False),
        ("allow={'alpha', 'spy'}", True),
    ],
)
@pytest.mark.parametrize("before", ["", "other"])
def test_lists_hold_for_what_pydantic_loads_by_itself(
    site: Site, lists: str, loaded: object, before: str
) -> None:
    """No code of a refused distribution runs, whoever would import it (S210)."""
    site.install("spy", {"pydantic": {"spy": "spy:plugin"}}, {"spy.py": "plugin = 1"})
    # pydantic would call what it loads; nothing of the kind is needed to see the import
    code = DISCOVER.format(lists) + f"import os; print(os.environ[{PYDANTIC_SWITCH!r}])"
    told = run(site, code, **{PYDANTIC_SWITCH: before}).splitlines()
    assert told[-2:] == [str(loaded), before]


def test_pydantic_is_started_once_and_its_switch_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an operator has switched off stays so, and nothing new is."""
    load_pydantic_plugins.cache_clear()
    monkeypatch.setenv(PYDANTIC_SWITCH, "1")
    start_pydantic(frozenset({"spy"}))
    assert os.environ[PYDANTIC_SWITCH] == "1"
    assert load_pydantic_plugins.cache_info().currsize == 0  # it had nothing to do
    monkeypatch.delenv(PYDANTIC_SWITCH)
    start_pydantic(frozenset({"other"}))
    assert PYDANTIC_SWITCH not in os.environ
    assert load_pydantic_plugins.cache_info().currsize == 1


@pytest.mark.parametrize("before", ["", "other", None])
def test_search_for_pydantics_plugins_is_off_only_where_nobody_publishes(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """Switch it off for as long as somebody needs that, and put it back (B55)."""
    if before is None:
        monkeypatch.delenv(PYDANTIC_SWITCH, raising=False)
    else:
        monkeypatch.setenv(PYDANTIC_SWITCH, before)
    with pydantic_ready(None):
        with pydantic_ready(None):
            assert os.environ[PYDANTIC_SWITCH] == "__all__"
        assert os.environ[PYDANTIC_SWITCH] == "__all__"
    assert os.environ.get(PYDANTIC_SWITCH) == before
    with pydantic_ready(frozenset()):
        assert os.environ.get(PYDANTIC_SWITCH) == before


@pytest.mark.integration
def test_discovery_never_makes_pydantic_read_every_distribution(site: Site) -> None:
    """Build schemas without that search, also where metadata is broken (B55)."""
    site.install("bad", b"[other]\n\xff")
    code = (
        "import sys, importlib.metadata as m\ncount = []\n"
        "m.entry_points = lambda **_: count.append(1) or []\n"
        + DISCOVER.format("allow={'alpha'}")
    )
    told = run(site, f"{code}print(len(count))").splitlines()
    assert told[0] == "alpha"
    assert told[-1] == "0"


class Finder:
    """A finder that finds nothing."""

    def find_spec(self, *_: object) -> None:
        return None


def clear() -> None:
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()


def replace() -> None:
    sys.path = []
    sys.meta_path = []
    sys.path_hooks = []


def spoil() -> None:
    sys.path = ("a", "b")  # type: ignore[assignment]  # on purpose
    sys.meta_path.reverse()
    del sys.path_hooks


@pytest.mark.parametrize("harm", [clear, replace, spoil])
def test_import_lists_are_whole_again_after_a_plugin(
    harm: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin that empties them hides nobody, and is named (S210)."""
    lists: list[list[Any]] = [sys.path, sys.meta_path, sys.path_hooks]
    before = [list(one) for one in lists]
    with caplog.at_level(logging.WARNING), steady_imports("bad 1.0"):
        harm()
    assert [sys.path, sys.meta_path, sys.path_hooks] == before
    now = (sys.path, sys.meta_path, sys.path_hooks)
    assert all(map(lambda a, b: a is b, lists, now))
    assert "bad 1.0 took entries out of sys.path; they are back" in caplog.text


def test_what_a_plugin_adds_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds its own modules, and stands before nobody's (S210)."""
    path, finders, mine = list(sys.path), list(sys.meta_path), Finder()
    monkeypatch.setattr(sys, "path", list(path))
    monkeypatch.setattr(sys, "meta_path", list(finders))
    with steady_imports("a plugin"):
        sys.path.insert(0, "vendored")
        sys.meta_path.insert(0, mine)
        sys.path.append(path[0])
    assert sys.path == [*path, "vendored"]
    assert sys.meta_path == [*finders, mine]
    with steady_imports("a plugin"):
        sys.path.append("more")
    assert sys.path == [*path, "vendored", "more"]


def stated() -> None:
    raise KeyboardInterrupt


def signalled() -> None:
    signal.raise_signal(signal.SIGINT)


def signalled_in_a_loop() -> None:
    _thread.interrupt_main()
    for _ in range(1_000_000):
        pass


def stated_again() -> None:
    try:
        signalled()
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None


def passed_on() -> None:
    try:
        signalled()
    except KeyboardInterrupt as error:
        error.add_note("kept")
        raise error  # noqa: TRY201 - as a plugin may write it


def thrown() -> None:
    raise ValueError


@pytest.mark.parametrize(
    ("cause", "is_users"),
    [
        (stated, False),
        (thrown, False),
        (signalled, True),
        (signalled_in_a_loop, True),
        (stated_again, True),
        (passed_on, True),
    ],
)
def test_interrupt_of_the_user_is_told_from_one_that_code_raises(
    cause: Callable[[], None], is_users: object
) -> None:
    """Ctrl-C ends a discovery; a plugin that raises the same does not (S210)."""
    with pytest.raises((KeyboardInterrupt, ValueError)) as caught:
        cause()
    assert is_interrupt(caught.value) is is_users


def test_every_interrupt_counts_where_another_handler_may_raise_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler written in Python raises with the same statement (S210)."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt) as caught:
        stated()
    assert is_interrupt(caught.value)
    assert is_interrupt(KeyboardInterrupt())


@pytest.mark.filterwarnings("ignore:sys.path_hooks is empty:ImportWarning")
def test_emptied_hooks_leave_no_folder_unreadable(tmp_path: Path) -> None:
    """What was looked up without hooks is forgotten with them (S210)."""
    (tmp_path / "late_mod_of_guards.py").write_text("", encoding="utf-8")
    sys.path.append(str(tmp_path))
    try:
        with steady_imports("bad 1.0"):
            sys.path_hooks.clear()
            with pytest.raises(ImportError):
                __import__("late_mod_of_guards")
        found: ModuleType = __import__("late_mod_of_guards")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("late_mod_of_guards", None)
    assert found.__name__ == "late_mod_of_guards"
