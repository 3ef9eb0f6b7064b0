"""A tool's coroutine under a task of its own: what asyncio's task does, it does too."""

import asyncio
import contextvars
import inspect
import io
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.sample_tools import until
from toolkit.executors.call_task import CallTask

WAIT = 5  # seconds; a bound, never reached when all is well

Tool = Callable[[], Coroutine[Any, Any, Any]]


class Made:
    """Makes call tasks as the executor does, and keeps those that were left."""

    def __init__(self) -> None:
        self.left: list[asyncio.Task[None]] = []

    def task(self, coroutine: Coroutine[Any, Any, Any]) -> CallTask:
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        return CallTask(coroutine, loop, context, self.left.append, ("tool", "c1"))

    async def ended(self) -> None:
        """Wait until all that was left has ended."""
        if self.left:
            _, pending = await asyncio.wait(self.left, timeout=WAIT)
            assert not pending


@pytest.fixture
def made() -> Made:
    return Made()


async def outcome(awaitable: Awaitable[Any]) -> str:
    """Tell what comes of something, so that two can be compared."""
    try:
        async with asyncio.timeout(WAIT):
            return f"value {await awaitable}"
    except BaseException as error:  # noqa: BLE001 - told, and compared
        return repr(error)


def own() -> CallTask:
    """Return the task that the running tool sees."""
    task: Any = asyncio.current_task()
    return task  # type: ignore[no-any-return]  # one of the two kinds


# --- the same under both kinds of task -----------------------------------------------


async def returns() -> str:
    return "value"


async def waits_and_returns() -> str:
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, threading.get_ident)
    return "value"


async def raises() -> None:
    await asyncio.sleep(0)
    raise ValueError("why")


async def cancels_itself_and_waits() -> None:
    own().cancel("enough")
    await asyncio.Event().wait()


async def cancels_itself_and_rests() -> None:
    own().cancel("enough")
    await asyncio.sleep(0)


async def cancels_itself_and_waits_for_a_task() -> None:
    own().cancel("enough")
    await asyncio.ensure_future(asyncio.Event().wait())


async def cancels_itself_and_returns() -> str:
    own().cancel("enough")
    return "value"


async def cancels_itself_and_takes_it_back() -> tuple[int, int, str]:
    task = own()
    task.cancel("enough")
    task.cancel("enough")
    counts = task.uncancel(), task.uncancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
        return *counts, "went on"
    return *counts, "was cancelled"


async def is_cancelled_while_it_waits(begin: Callable[[], Awaitable[Any]]) -> str:
    task = own()
    asyncio.get_running_loop().call_soon(task.cancel, "from outside")
    try:
        await begin()
    except asyncio.CancelledError as error:
        return f"{error.args} {task.cancelling()}"
    return "went on"


async def is_cancelled_at_an_event() -> str:
    return await is_cancelled_while_it_waits(asyncio.Event().wait)


async def is_cancelled_at_a_task() -> str:
    return await is_cancelled_while_it_waits(
        lambda: asyncio.ensure_future(asyncio.Event().wait())
    )


async def is_cancelled_at_a_shield() -> str:
    inner = asyncio.ensure_future(asyncio.sleep(0))
    told = await is_cancelled_while_it_waits(lambda: asyncio.shield(inner))
    await inner
    return told


async def is_cancelled_at_a_gathering() -> str:
    return await is_cancelled_while_it_waits(
        lambda: asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())
    )


async def times_out() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return f"timed out, {own().cancelling()} left"
    return "went on"


async def waits_for_too_long() -> None:
    await asyncio.wait_for(asyncio.Event().wait(), 0.001)


async def has_a_group() -> list[int]:
    async def one(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(3)]
    return [task.result() for task in tasks]


async def has_a_group_that_fails() -> tuple[str, int]:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("one of them")

    told = ""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.Event().wait())
            await asyncio.Event().wait()
    except* ValueError as errors:
        told = repr(errors.exceptions)
    return told, own().cancelling()


async def has_a_group_that_fails_as_it_is_cancelled() -> None:
    async def fails() -> None:
        raise ValueError("one of them")

    async with asyncio.TaskGroup() as group:
        group.create_task(fails())
        own().cancel("from outside")
        await asyncio.Event().wait()


async def is_in_a_scope_that_ends() -> tuple[bool, int]:
    with anyio.move_on_after(0.001) as scope:
        await anyio.sleep_forever()
    await anyio.lowlevel.checkpoint()
    return scope.cancelled_caught, own().cancelling()


async def is_in_scopes_of_which_the_outer_ends() -> list[bool]:
    with anyio.CancelScope() as outer, anyio.CancelScope() as inner:
        asyncio.get_running_loop().call_soon(outer.cancel)
        await anyio.sleep_forever()
    return [inner.cancelled_caught, outer.cancelled_caught]


async def is_shielded_in_a_scope_that_ends() -> list[str]:
    said: list[str] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
            said.append("cleaned up")
        await anyio.lowlevel.checkpoint()
        said.append("never said")
    return said


async def has_a_group_of_anyio() -> list[object]:
    said: list[object] = []

    async def child(*, task_status: anyio.abc.TaskStatus[str]) -> None:
        task_status.started("started")
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        said.append(await group.start(child))
        said.append(anyio.get_current_task().has_pending_cancellation())
        group.cancel_scope.cancel()
    said.append(group.cancel_scope.cancelled_caught)
    return said


async def uses_a_thread_of_anyio() -> bool:
    return await anyio.to_thread.run_sync(threading.get_ident) != threading.get_ident()


async def has_a_lock_of_anyio() -> bool:
    lock = anyio.Lock()
    async with lock:
        return lock.statistics().owner is not None


async def sees_its_context() -> list[str]:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("by the tool")
    await asyncio.sleep(0)
    child = asyncio.create_task(returns())
    await child
    return [variable.get(), own().get_context().get(variable, "lost")]


async def waits_for_itself() -> None:
    await own()


@types.coroutine
def bare(value: object) -> Iterator[object]:
    yield value


async def yields_a_number() -> None:
    await bare(7)


async def yields_a_future_as_it_is() -> None:
    await bare(asyncio.get_running_loop().create_future())


async def goes_on_after_a_bare_value() -> str:
    with suppress(RuntimeError):
        await bare("text")
    await asyncio.sleep(0)
    return "went on"


async def is_told_of_its_end() -> str:
    task = own()
    task.add_done_callback(print)
    return f"removed {task.remove_done_callback(print)} {task.done()}"


BOTH: list[Tool] = [
    *(returns, waits_and_returns, raises, cancels_itself_and_waits),
    *(cancels_itself_and_rests, cancels_itself_and_waits_for_a_task),
    cancels_itself_and_returns,
    *(is_cancelled_at_an_event, is_cancelled_at_a_task, is_cancelled_at_a_shield),
    *(is_cancelled_at_a_gathering, times_out, waits_for_too_long, has_a_group),
    *(has_a_group_that_fails, has_a_group_that_fails_as_it_is_cancelled),
    *(is_in_a_scope_that_ends, is_in_scopes_of_which_the_outer_ends),
    *(is_shielded_in_a_scope_that_ends, has_a_group_of_anyio, uses_a_thread_of_anyio),
    *(has_a_lock_of_anyio, goes_on_after_a_bare_value, is_told_of_its_end),
]


EAGER: Any = getattr(asyncio, "eager_task_factory", None)  # since Python 3.12
FACTORIES = [None] if EAGER is None else [None, EAGER]


def named(tool: Tool) -> str:
    return tool.__name__


@pytest.mark.parametrize("factory", FACTORIES, ids=["plain", "eager"][: len(FACTORIES)])
@pytest.mark.parametrize("tool", BOTH, ids=named)
async def test_a_tool_fares_as_in_a_task_of_asyncio(
    made: Made,
    tool: Tool,
    factory: Any,
) -> None:
    """Same value or error, with the same words, in both kinds of task (B30)."""
    expected = await outcome(asyncio.create_task(tool()))
    asyncio.get_running_loop().set_task_factory(factory)
    told = await asyncio.create_task(outcome(made.task(tool())))
    assert told == expected
    assert made.left == []


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (yields_a_number, "Task got bad yield: 7"),
        (yields_a_future_as_it_is, "yield was used instead of yield from"),
        (waits_for_itself, "Task cannot await on itself"),
    ],
    ids=lambda given: getattr(given, "__name__", "says so"),
)
async def test_what_nobody_can_wait_for_is_an_error_in_the_tool(
    made: Made, tool: Tool, words: str
) -> None:
    """It is told in the tool, where it can be seen, and the call ends (B30)."""
    assert (await outcome(asyncio.create_task(tool()))).startswith("RuntimeError(")
    told = await outcome(made.task(tool()))
    assert told[len("RuntimeError('") :].startswith(words)


async def test_a_request_that_was_taken_back_ends_nothing(made: Made) -> None:
    """Python 3.13 does so for its own tasks, whatever Python this is (B30)."""
    told = await outcome(made.task(cancels_itself_and_takes_it_back()))
    assert told == "value (1, 0, 'went on')"


@pytest.fixture
def other() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


async def test_future_of_another_loop_is_an_error_in_the_tool(
    made: Made, other: asyncio.AbstractEventLoop
) -> None:
    """It says so, and that future is not touched from this loop's thread (B30)."""
    foreign, second = other.create_future(), other.create_future()

    async def tool() -> str:
        task = own()
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await foreign
        task.cancel("later")
        with pytest.raises(asyncio.CancelledError, match="later"):
            await second
        return "went on"

    assert await outcome(made.task(tool())) == "value went on"
    assert not (foreign.done())
    assert not (second.done())


async def test_call_that_is_stopped_at_a_foreign_future_leaves_that_alone(
    made: Made, other: asyncio.AbstractEventLoop
) -> None:
    """Only the call ends, not what another loop's thread works with (B30, B35)."""
    foreign = other.create_future()

    async def tool() -> None:
        await foreign

    task = made.task(tool())
    assert not task.start()
    asyncio.get_running_loop().call_soon(task.stop)
    assert await outcome(task) == "CancelledError()"
    assert not foreign.done()


# --- seen by others ------------------------------------------------------------------


async def test_task_that_somebody_else_awaits_too_is_run_by_one(made: Made) -> None:
    """A child of the tool may wait for its parent, as for any task (B30)."""
    heard: list[str] = []

    async def child(parent: CallTask) -> None:
        heard.append(await outcome(parent))

    children: list[asyncio.Task[None]] = []

    async def tool() -> str:
        children.append(asyncio.create_task(child(own())))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "value"

    assert await outcome(made.task(tool())) == "value value"
    await asyncio.wait_for(children[0], WAIT)
    assert heard == ["value value"]


async def test_task_tells_what_asyncios_tells(made: Made) -> None:
    """Names, state, coroutine, context, frames and what comes of it."""
    never = asyncio.Event()

    async def tool() -> None:
        await never.wait()

    coroutine = tool()
    task = made.task(coroutine)
    with pytest.raises(asyncio.InvalidStateError):
        task.result()
    assert task.get_coro() is coroutine
    assert task.get_loop() is asyncio.get_running_loop()
    assert task.get_context() is not None
    assert task.get_name() == "call c1 of tool tool"
    task.set_name(5)
    assert repr(task) == "<CallTask 5, running>"
    assert not task.start()
    assert (task.done(), task.cancelled(), task.cancelling()) == (False, False, 0)
    assert task.cancel()
    assert task.cancelling() == 1
    assert task.uncancel() == 0
    assert task.uncancel() == 0
    assert await outcome(task) == "CancelledError()"
    assert (task.done(), task.cancelled()) == (True, True)
    assert not task.cancel()
    assert repr(task) == "<CallTask 5, ended>"
    with pytest.raises(asyncio.CancelledError):
        task.exception()


async def test_task_shows_where_it_waits(made: Made) -> None:
    """At most as many frames as asked for; nothing once it has ended."""
    never = asyncio.Event()

    async def tool() -> None:
        await never.wait()

    task = made.task(tool())
    assert not task.start()
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["tool"]
    assert task.get_stack(limit=0) == []
    written = io.StringIO()
    task.print_stack(file=written)
    assert "await never.wait()" in written.getvalue()
    task.stop()
    assert await outcome(task) == "CancelledError()"
    assert task.get_stack() == []


def test_task_has_all_that_is_public_in_asyncios() -> None:
    """What a tool may ask of a task of this Python, it may ask of this (B30)."""
    not_for_tools = {"set_result", "set_exception"}  # a task refuses both
    public = {name for name in dir(asyncio.Task) if not name.startswith("_")}
    assert public - not_for_tools <= set(dir(CallTask))
    for name in public - not_for_tools:
        theirs = getattr(asyncio.tasks._PyTask, name)  # type: ignore[attr-defined]
        ours = inspect.signature(getattr(CallTask, name)).parameters
        assert list(inspect.signature(theirs).parameters) == list(ours), name


async def test_callbacks_are_called_once_with_their_context(made: Made) -> None:
    """Before and after the end; by default in the context they came in."""
    variable = contextvars.ContextVar("variable", default="unset")
    called: list[tuple[bool, str]] = []

    def tell(task: CallTask) -> None:
        called.append((task.done(), variable.get()))

    task = made.task(waits_and_returns())
    variable.set("early")
    task.add_done_callback(tell)
    variable.set("never")
    task.add_done_callback(print)
    assert task.remove_done_callback(print) == 1
    assert await outcome(task) == "value value"
    given = contextvars.copy_context()
    given.run(variable.set, "late")
    task.add_done_callback(tell, context=given)
    await asyncio.sleep(0)
    assert called == [(True, "early"), (True, "late")]


# --- given up ------------------------------------------------------------------------


async def waits_at(how: str, release: asyncio.Event) -> None:
    """Wait in one of the ways there are."""
    if how == "rest":
        while not release.is_set():  # noqa: ASYNC110 - it is to wait in this way
            await asyncio.sleep(0)
    elif how == "task":
        await asyncio.ensure_future(release.wait())
    elif how == "shield":
        await asyncio.shield(asyncio.ensure_future(release.wait()))
    elif how == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(release.wait())
    elif how == "anyio":
        async with anyio.create_task_group() as scope:
            scope.start_soon(release.wait)
    else:
        await release.wait()


WAYS = ["event", "rest", "task", "shield", "group", "anyio"]
ENDS = ["stop", "cancel the caller", "cancel within"]


def give_up(end: str, task: CallTask, caller: asyncio.Task[Any]) -> None:
    if end == "stop":
        task.stop()
    elif end == "cancel the caller":
        caller.cancel("by the caller")
    else:
        task.cancel("from within")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("how", WAYS)
async def test_call_that_is_given_up_ends_and_cleans_up(
    made: Made, how: str, end: str
) -> None:
    """Wherever it waits, it is told once, and its caller soon (B30, B50)."""
    release, told = asyncio.Event(), list[str]()

    async def tool() -> None:
        try:
            await waits_at(how, release)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            told.append("cleaned up")

    task = made.task(tool())
    caller = asyncio.create_task(outcome(task))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    give_up(end, task, caller)
    assert "CancelledError" in await asyncio.wait_for(caller, WAIT)
    await made.ended()
    assert told == ["cancelled", "cleaned up"]
    assert task.cancelled()
    assert task.is_stopped is (end == "stop")
    assert task.is_abandoned is (end == "cancel the caller")
    release.set()  # for what was shielded


async def does_much(release: asyncio.Event) -> None:
    """Use what is built on the task that runs."""
    async with asyncio.timeout(WAIT):
        await release.wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
    await asyncio.ensure_future(asyncio.sleep(0))


@pytest.mark.parametrize("end", ENDS[:2])
@pytest.mark.parametrize("how", WAYS)
async def test_call_that_ignores_that_it_is_given_up_goes_on_alone(
    made: Made, how: str, end: str
) -> None:
    """Its caller goes on; it ends as itself, in whatever it does next (B30, B50)."""
    release, told = asyncio.Event(), list[object]()

    async def tool() -> None:
        me = own()
        try:
            await waits_at(how, asyncio.Event())
        except asyncio.CancelledError:
            told.append(own().cancelling())
        await does_much(release)
        assert own() is me
        told.append("ended")

    task = made.task(tool())
    caller = asyncio.create_task(outcome(task))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    give_up(end, task, caller)
    assert "CancelledError" in await asyncio.wait_for(caller, WAIT)
    await until(lambda: told == [1])
    assert len(made.left) == 1
    assert not task.done()
    assert made.left[0].get_name() == "call c1 of tool tool (given up)"
    release.set()
    await made.ended()
    assert made.left[0].exception() is None
    assert task.done()
    assert told == [1, "ended"]


async def test_words_of_a_cancelled_caller_reach_the_tool_and_come_back(
    made: Made,
) -> None:
    """What was said to the caller is said to the tool, however it waits (B30)."""
    for how in WAYS[:4]:
        told: list[object] = []

        async def tool(how: str = how, told: list[object] = told) -> None:
            try:
                await waits_at(how, asyncio.Event())
            except asyncio.CancelledError as error:
                told.extend(error.args)
                raise

        task = made.task(tool())
        caller = asyncio.ensure_future(outcome(task))
        await asyncio.sleep(0)
        caller.cancel("why")
        assert await asyncio.wait_for(caller, WAIT) == "CancelledError('why')", how
        await made.ended()
        assert told == ["why"], how


async def test_group_in_the_tool_knows_that_its_caller_was_cancelled(
    made: Made,
) -> None:
    """The cancellation is counted, so that a failure at the same time does not hide
    it from code that counts (B30).
    """
    counts: list[int] = []

    async def tool() -> None:
        try:
            async with asyncio.timeout(WAIT):
                await asyncio.Event().wait()
        finally:
            counts.append(own().cancelling())

    caller = asyncio.ensure_future(outcome(made.task(tool())))
    await asyncio.sleep(0)
    caller.cancel()
    assert await asyncio.wait_for(caller, WAIT) == "CancelledError()"
    assert counts == [1]


async def test_task_that_is_stopped_before_its_first_step_never_starts(
    made: Made,
) -> None:
    """Its coroutine is ended unrun (B30)."""
    ran: list[str] = []

    async def tool() -> None:
        ran.append("ran")

    task = made.task(tool())
    task.stop()
    task.stop()
    assert await outcome(task) == "CancelledError()"
    assert ran == []
    assert (task.cancelling(), task.is_stopped) == (1, True)


async def test_stop_as_it_ends_takes_nothing_away(made: Made) -> None:
    """What has ended keeps its value; what ends in its last step, too (B23)."""
    task = made.task(returns())
    assert task.start()
    task.stop()
    assert not task.is_stopped
    assert await outcome(task) == "value value"

    waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def tool() -> str:
        return await waiter

    task = made.task(tool())
    assert not task.start()
    asyncio.get_running_loop().call_soon(waiter.set_result, "value")
    asyncio.get_running_loop().call_soon(task.stop)  # before it can take its last step
    assert await outcome(task) == "CancelledError()"
    assert task.is_ended
    assert made.left == []


async def test_tool_that_stops_itself_is_given_up_where_it_waits(made: Made) -> None:
    """It may hold a handle on its own call (B30)."""
    for how in WAYS:

        async def tool(how: str = how) -> None:
            own().stop()
            own().stop()
            await waits_at(how, asyncio.Event())

        assert await outcome(made.task(tool())) == "CancelledError()", how
    await made.ended()


@pytest.mark.parametrize("how", WAYS)
async def test_call_within_a_call_is_given_up_with_it(made: Made, how: str) -> None:
    """A tool that calls another is one chain: the inner is told as well (B50)."""
    for end in ENDS[:2]:
        told: list[str] = []

        async def inner(told: list[str] = told) -> None:
            try:
                await waits_at(how, asyncio.Event())
            finally:
                told.append("inner")

        async def outer(told: list[str] = told) -> None:
            me = own()
            try:
                await made.task(inner())
            finally:
                assert own() is me
                told.append("outer")

        task = made.task(outer())
        caller = asyncio.create_task(outcome(task))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        give_up(end, task, caller)
        assert "CancelledError" in await asyncio.wait_for(caller, WAIT)
        await until(lambda told=told: sorted(told) == ["inner", "outer"])  # type: ignore[misc]  # a default binds it
        await made.ended()


async def test_failure_of_what_goes_on_alone_is_its_tasks(made: Made) -> None:
    """Whoever keeps that task can look at it."""

    async def tool() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        raise ValueError("too late")

    task = made.task(tool())
    caller = asyncio.create_task(outcome(task))
    await asyncio.sleep(0)
    task.stop()
    assert await asyncio.wait_for(caller, WAIT) == "CancelledError()"
    await made.ended()
    assert isinstance(task.exception(), ValueError)


def test_loop_that_ends_ends_the_tool(
    made: Made, other: asyncio.AbstractEventLoop
) -> None:
    """Its clean-up runs, also when the loop will never turn again (B30, B41)."""
    told: list[str] = []

    async def tool() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cleaned up")

    async def main() -> CallTask:
        task = made.task(tool())
        assert not task.start()
        waiting = task.__await__()
        waiting.send(None)
        waiting.close()
        return task

    task = other.run_until_complete(main())
    assert told == ["cleaned up"]
    assert task.cancelled()
