"""Which executor runs a tool: the operator says so, by name, and nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from tests.sample_tools import Echo, catalog_of
from toolkit import ConfigurationError, Settings, tool
from toolkit.catalog import ListedTool
from toolkit.executors.choice import ExecutorChoice, Executors
from toolkit.executors.processes import ProcessExecutor
from toolkit.factory import UserContextToolFactory
from toolkit.settings import ExecutorName
from toolkit.testing import make_user, tool_system

CATALOG = catalog_of(Echo, distribution="acme-tools")
(ECHO,) = CATALOG.view


def chosen(executors: dict[str, ExecutorName], listed: ListedTool = ECHO) -> str | None:
    return ExecutorChoice(Settings(executors=executors)).of(listed)


def test_nothing_is_chosen_unless_the_operator_says_so() -> None:
    """Then it goes by the kind of tool."""
    assert chosen({}) is None
    assert chosen({"other": "process", "acme": "sandbox"}) is None


@pytest.mark.parametrize(
    "name",
    ["echo", "Echo", "ECHO", "acme-tools.echo", "Acme-Tools.Echo", "acme-tools__echo"],
)
def test_tool_is_chosen_for_by_any_of_its_names(name: str) -> None:
    """Bare, qualified or as providers write it, in any case (S44)."""
    assert chosen({name: "process"}) == "process"


@pytest.mark.parametrize("name", ["acme-tools", "Acme_Tools", "ACME.tools"])
def test_distribution_is_chosen_for_however_its_name_is_written(name: str) -> None:
    """As the packaging specifications compare names."""
    assert chosen({name: "sandbox"}) == "sandbox"


def test_what_is_chosen_for_a_tool_counts_more_than_for_its_distribution() -> None:
    """And what is said of its whole name more than of a part of it."""
    rules: dict[str, ExecutorName] = {"acme-tools": "sandbox", "echo": "threads"}
    assert chosen(rules) == "threads"
    assert chosen({**rules, "acme-tools.echo": "process"}) == "process"
    assert chosen({"acme-tools": "sandbox", "other": "threads"}) == "sandbox"


def test_what_is_chosen_tells_whether_another_process_imports_it() -> None:
    """Its code is never imported in this one then."""
    where = {
        name: ExecutorChoice(Settings(executors={"echo": name})).is_elsewhere(ECHO)
        for name in ("inline", "threads", "process", "sandbox")
    }
    elsewhere = {name for name, is_elsewhere in where.items() if is_elsewhere}
    assert elsewhere == {"process", "sandbox"}
    assert not ExecutorChoice(Settings()).is_elsewhere(ECHO)


@pytest.mark.parametrize("wrong", ["proces", "Threads", "", None, 3, ["inline"]])
def test_executor_that_does_not_exist_is_refused_with_those_that_do(
    wrong: object,
) -> None:
    """The setting is named, and what would do (B9, S28)."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(executors=cast("dict[str, Any]", {"echo": wrong}))
    assert "executors" in str(caught.value)
    if isinstance(wrong, str):
        assert "use one of inline, threads, process, sandbox" in str(caught.value)


@pytest.mark.parametrize("wrong", ["threads", [("echo", "threads")], {3: "threads"}, 3])
def test_choice_that_is_no_mapping_of_names_is_refused(wrong: object) -> None:
    """A setting that would be read wrong is not read (B9, S28)."""
    with pytest.raises(ConfigurationError, match="executors"):
        Settings(executors=cast("dict[str, Any]", wrong))


@pytest.mark.parametrize(
    ("one", "other"),
    [("echo", "Echo"), ("acme-tools", "Acme_Tools"), ("a.echo", "A.Echo")],
)
def test_names_that_mean_the_same_must_not_say_different_things(
    one: str, other: str
) -> None:
    """Which of them would win is nobody's to guess (B6, S28)."""
    assert chosen({one: "process", other: "process"}) in (None, "process")
    with pytest.raises(ConfigurationError, match="mean the same") as caught:
        chosen({one: "process", other: "inline"})
    assert caught.value.setting == f"executors.{other}"
    assert chosen({"a.b_c": "process", "a.b-c": "inline"}) is None  # two tools' names


def test_choice_is_read_from_the_environment_and_refused_there_too() -> None:
    """By the same rules (B61)."""
    environ = {"TOOLKIT_EXECUTORS": '{"echo": "process"}'}
    assert Settings.load(environ=environ).executors == {"echo": "process"}
    with pytest.raises(ConfigurationError, match="use one of inline"):
        Settings.load(environ={"TOOLKIT_EXECUTORS": '{"echo": "pool"}'})


# --- where tools really run ----------------------------------------------------------


def here() -> tuple[bool, bool]:
    """Tell whether this is the test's own thread, and whether a loop runs in it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        has_loop = False
    else:
        has_loop = True
    return threading.current_thread() is threading.main_thread(), has_loop


class Plain:
    """A sync tool that says where it would like to run, in vain."""

    name = "where"
    executor = "inline"
    executors = {"where": "inline"}  # noqa: RUF012 - a plugin may write what it likes

    def execute(self) -> list[bool]:
        return list(here())


class Later:
    """An async one."""

    name = "where"
    executor = "threads"

    async def execute(self) -> list[bool]:
        await asyncio.sleep(0)
        return list(here())


class Stream:
    """A sync stream."""

    name = "where"

    def execute(self) -> Iterator[bool]:
        yield from here()


class StreamLater:
    """An async stream."""

    name = "where"

    async def execute(self) -> AsyncIterator[bool]:
        for one in here():
            yield one


KINDS = [Plain, Later, Stream, StreamLater]
ON_THE_LOOP, IN_A_THREAD = [True, True], [False, False]
LOOP_IN_A_THREAD = [False, True]


@pytest.mark.parametrize("kind", KINDS)
async def test_tool_runs_where_its_kind_runs_if_nothing_is_chosen(kind: type) -> None:
    """Async ones on the loop, others in threads, whatever the plugin says of itself
    (B52, B61).
    """
    with tool_system(kind) as system:
        for _ in range(2):
            value = (await system.execute("where")).unwrap()
            is_async = kind in (Later, StreamLater)
            assert value == (ON_THE_LOOP if is_async else IN_A_THREAD)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_tool_runs_where_the_operator_says(kind: type) -> None:
    """On the loop or in a thread, with the same value as anywhere (B61)."""
    names: list[ExecutorName] = ["inline", "threads"]
    for name in names:
        settings = Settings(executors={"where": name})
        with tool_system(kind, settings=settings) as system:
            for _ in range(2):
                value = (await system.execute("where")).unwrap()
                is_async = kind in (Later, StreamLater)
                there = LOOP_IN_A_THREAD if is_async else IN_A_THREAD
                assert value == (ON_THE_LOOP if name == "inline" else there)


# --- the executors of a process ------------------------------------------------------


def test_executors_are_made_as_the_settings_say() -> None:
    """Their sizes are the operator's, and worker processes wait for a call (B55)."""
    settings = Settings(max_threads=3, max_threads_per_user=2, max_late_threads=1)
    executors = Executors(settings)
    threads = executors.threads
    sizes = (threads.max_threads, threads.max_per_user, threads.max_late)
    assert sizes == (3, 2, 1)
    assert set(executors.statistics()) == {"inline", "threads"}
    executors.close()


def test_each_executor_is_had_by_its_name_and_made_once() -> None:
    """The same one for all users."""
    executors = Executors(Settings(max_workers=3))
    assert executors.named("inline") is executors.inline
    assert executors.named("threads") is executors.threads
    process = executors.named("process")
    assert isinstance(process, ProcessExecutor)
    assert process.max_workers == 3
    assert executors.named("process") is process
    assert set(executors.statistics()) == {"inline", "threads", "process"}
    executors.renew(None)
    assert process.orders.left_out is None
    executors.close()


def test_closed_executors_give_no_processes() -> None:
    """And take no calls in those they gave before."""
    executors = Executors(Settings())
    process = executors.named("process")
    executors.close()
    with pytest.raises(RuntimeError, match="create a new toolkit"):
        executors.named("process")
    assert process.statistics()["workers"] == 0
    assert executors.named("threads") is executors.threads


def test_names_of_systems_are_never_given_twice() -> None:
    """Neither by one set of executors nor by another (B39, B57)."""
    some = [Executors(Settings()) for _ in range(3)]
    names = [one.unique_name() for one in some for _ in range(100)]
    assert len(set(names)) == 300
    for one in some:
        one.close()


async def test_tool_whose_executor_is_gone_is_answered_not_raised() -> None:
    """The toolkit was closed before the user's system (B46)."""
    settings = Settings(executors={"echo": "process"})
    factory = UserContextToolFactory(CATALOG, settings=settings)
    with factory.create_user_tool_system(make_user()) as system:
        factory.close()
        result = await system.execute("echo", {"text": "x"})
    assert result.error is not None
    assert result.error.code == "tool_unavailable"


async def test_choice_follows_the_settings_not_the_tool_that_came_before() -> None:
    """A new set of settings over the same tools is a new choice (B37, B61)."""

    @tool
    def where() -> list[bool]:
        """Tell where this runs."""
        return list(here())

    catalog = catalog_of(where)
    wanted: dict[ExecutorName, list[bool]]
    wanted = {"threads": IN_A_THREAD, "inline": ON_THE_LOOP}
    for name, there in wanted.items():
        settings = Settings(executors={"acme": name})
        factory = UserContextToolFactory(catalog, settings=settings)
        with factory.create_user_tool_system(make_user()) as system:
            assert (await system.execute("where")).value == there
        factory.close()
