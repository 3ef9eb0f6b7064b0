"""How calls run: on the loop and in threads, bounded, counted, nothing kept."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.sample_tools import Echo, until
from toolkit import UserContext
from toolkit.compiler import compile_tool
from toolkit.executors import Emit, Executor, Invoke, Job, OnEnd
from toolkit.executors.inline import InlineExecutor
from toolkit.executors.threads import ThreadExecutor

WAIT = 5  # seconds; a bound, never reached when all is well
USER = UserContext(user_id="ann")
BOB = UserContext(user_id="bob")
CID = UserContext(user_id="cid")
TOOL = compile_tool(Echo)


class Gate:
    """Something to stand before until a test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()

    def stand(self, answer: object = None) -> object:
        self.reached.set()
        assert self._opened.wait(WAIT)
        return answer

    def open(self) -> None:
        self._opened.set()

    async def until_reached(self) -> None:
        reached = await asyncio.to_thread(self.reached.wait, WAIT)
        assert reached


@pytest.fixture
def threads() -> Iterator[ThreadExecutor]:
    executor = ThreadExecutor(max_threads=1, max_late=0)  # one thread, whatever it does
    yield executor
    executor.close()


def worker_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("toolkit-tool")]


def job(
    invoke: Invoke,
    on_end: OnEnd | None = None,
    *,
    user: UserContext = USER,
    is_async: bool = False,
    emit: Emit | None = None,
    context: contextvars.Context | None = None,
) -> Job:
    """Wrap what a tool does as a dispatcher would."""
    return Job(
        call_id="c1",
        name="tool",
        user=user,
        tool=TOOL,
        arguments={},
        invoke=invoke,
        is_async=is_async,
        context=context,
        emit=emit,
        on_end=on_end,
    )


async def within(future: asyncio.Future[Any]) -> Any:
    return await asyncio.wait_for(future, WAIT)


# --- on the loop -------------------------------------------------------------------


async def test_async_tool_runs_on_the_callers_loop() -> None:
    """No thread is involved, and nothing stays behind."""

    async def tool() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        return asyncio.get_running_loop(), threading.current_thread()

    executor = InlineExecutor()
    where = await within(executor.submit(job(tool)))
    assert where == (asyncio.get_running_loop(), threading.current_thread())
    assert executor.statistics() == {"late": 0, "blocked": 0}


async def test_async_stream_becomes_a_list() -> None:
    """The parts of an async generator come together, in order."""

    async def tool() -> AsyncIterator[int]:
        for part in range(3):
            yield part

    assert await within(InlineExecutor().submit(job(tool))) == [0, 1, 2]


async def test_sys_exit_in_an_async_tool_ends_nothing_but_the_call() -> None:
    """The loop, and everybody's calls on it, go on (B35)."""
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):

        async def tool(kind: type[BaseException] = kind) -> None:
            raise kind

        with pytest.raises(RuntimeError, match=f"the tool raised {kind.__name__}"):
            await within(InlineExecutor().submit(job(tool)))


async def test_endless_stream_that_never_waits_can_be_given_up() -> None:
    """Cancelling gets in between two parts, and the stream is closed."""
    closed: list[str] = []

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("closed")

    future = InlineExecutor().submit(job(endless))
    await asyncio.sleep(0)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(future)
    await until(lambda: closed == ["closed"])


def test_tasks_of_a_loop_that_was_closed_are_not_kept() -> None:
    """A loop that is closed with a call in flight leaves nothing behind (B41)."""
    executor = InlineExecutor()
    loop = asyncio.new_event_loop()

    async def start() -> None:
        executor.submit(job(lambda: asyncio.Event().wait()))

    loop.run_until_complete(start())
    loop.set_exception_handler(lambda *_: None)  # the task is destroyed on purpose
    loop.close()
    assert executor.statistics() == {"late": 0, "blocked": 0}


async def test_async_tool_that_ignores_its_cancellation_is_counted_late() -> None:
    """It runs on, is seen, and is forgotten when it ends."""
    started, release = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        started.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            await release.wait()
        return "done at last"

    executor = InlineExecutor()
    future = executor.submit(job(stubborn))
    await asyncio.wait_for(started.wait(), WAIT)
    assert executor.statistics() == {"late": 0, "blocked": 0}
    future.cancel()
    await asyncio.sleep(0)
    assert executor.statistics() == {"late": 1, "blocked": 0}
    release.set()
    await until(lambda: executor.statistics() == {"late": 0, "blocked": 0})


async def test_failure_nobody_looks_at_is_not_reported_as_lost() -> None:
    """A call that was given up may still fail; that is no news for asyncio."""
    executor = InlineExecutor()
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))

    async def tool() -> None:
        raise OSError("x")

    future = executor.submit(job(tool))
    await until(future.done)
    gc.collect()
    assert reported == []


async def test_end_of_an_async_tool_is_told_once_before_its_caller_goes_on() -> None:
    """A place that a call held is free again when its answer is there (B35)."""
    ends: list[str] = []

    async def tool() -> str:
        return "done"

    executor = InlineExecutor()
    assert (
        await within(executor.submit(job(tool, lambda: ends.append("end")))) == "done"
    )
    assert ends == ["end"]


async def test_end_of_an_async_tool_that_is_given_up_is_told_when_it_ends() -> None:
    """A cancelled task holds its place as long as it really runs."""
    started, release = asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    async def stubborn() -> None:
        started.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            await release.wait()

    future = InlineExecutor().submit(job(stubborn, lambda: ends.append("end")))
    await asyncio.wait_for(started.wait(), WAIT)
    future.cancel()
    await asyncio.sleep(0)
    assert ends == []
    release.set()
    await until(lambda: ends == ["end"])


async def test_async_tool_that_ignores_its_cancellation_delays_no_answer() -> None:
    """Giving up answers at once, whatever the tool does about it (B30)."""
    started, release = asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    future = InlineExecutor().submit(job(stubborn, lambda: ends.append("end")))
    await asyncio.wait_for(started.wait(), WAIT)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(future)
    assert ends == []
    release.set()
    await until(lambda: ends == ["end"])


async def test_call_that_runs_in_a_task_is_not_late_before_it_is_given_up() -> None:
    """Late means: runs on although nobody waits."""
    release = asyncio.Event()
    executor = InlineExecutor()
    future = executor.submit(job(release.wait))
    await asyncio.sleep(0)
    assert executor.statistics()["late"] == 0
    release.set()
    assert await within(future) is True


async def test_async_tool_that_cancels_itself_is_answered_as_cancelled() -> None:
    """What it raises is its answer; nobody waits for more."""

    async def tool() -> None:
        raise asyncio.CancelledError

    future = InlineExecutor().submit(job(tool))
    await asyncio.wait({future}, timeout=WAIT)
    assert future.cancelled()


async def test_parts_and_context_reach_a_stream_on_the_loop() -> None:
    """Each part is told as it comes, and the tool runs in the context it was given."""
    variable = contextvars.ContextVar("variable", default="nobody's")
    context = contextvars.copy_context()
    context.run(variable.set, "the call's")
    told: list[tuple[str, object]] = []

    async def tool() -> AsyncIterator[str]:
        yield variable.get()
        yield "more"

    given = job(tool, emit=lambda *said: told.append(said), context=context)
    assert await within(InlineExecutor().submit(given)) == ["the call's", "more"]
    assert told == [("part", "the call's"), ("part", "more")]


# --- in threads --------------------------------------------------------------------


async def test_sync_tool_runs_in_a_thread_that_serves_again(
    threads: ThreadExecutor,
) -> None:
    """The loop's thread runs no tool, and one thread serves many calls."""
    one = await within(threads.submit(job(threading.current_thread)))
    two = await within(threads.submit(job(threading.current_thread)))
    assert one is two
    assert one is not threading.current_thread()
    assert one.daemon  # one that never returns must not keep the process alive
    assert threads.statistics()["threads"] == 1


async def test_stream_is_read_in_the_thread(threads: ThreadExecutor) -> None:
    """A generator's code runs where the tool runs, not on the loop."""

    def tool() -> Iterator[threading.Thread]:
        yield threading.current_thread()
        yield threading.current_thread()

    parts = await within(threads.submit(job(tool)))
    assert len(parts) == 2
    assert threading.current_thread() not in parts


async def test_context_variables_reach_the_thread(threads: ThreadExecutor) -> None:
    """Tracing and the like work in tools, and what a tool sets stays there."""
    variable = contextvars.ContextVar("variable", default="nobody's")
    variable.set("the caller's")

    def tool() -> str:
        seen = variable.get()
        variable.set("the tool's")
        return seen

    assert await within(threads.submit(job(tool))) == "the caller's"
    assert await within(threads.submit(job(tool))) == "the caller's"
    assert variable.get() == "the caller's"


@pytest.mark.parametrize(
    "error",
    [OSError("x"), SystemExit(2), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_tool_raises_is_handed_to_its_caller(
    threads: ThreadExecutor, error: BaseException
) -> None:
    """Nothing a tool raises ends a thread or the loop."""

    def tool() -> None:
        raise error

    future = threads.submit(job(tool))
    await asyncio.wait({future}, timeout=WAIT)
    assert future.exception() is error
    assert await within(threads.submit(job(lambda: "next"))) == "next"


@pytest.mark.parametrize("kind", [StopIteration, GeneratorExit])
async def test_what_no_future_can_carry_is_handed_over_wrapped(
    threads: ThreadExecutor, kind: type[BaseException]
) -> None:
    """The caller still learns of it, and nothing else ends of it."""

    def tool() -> None:
        raise kind

    with pytest.raises(RuntimeError, match=kind.__name__) as caught:
        await within(threads.submit(job(tool)))
    assert isinstance(caught.value.__cause__, kind)


async def test_queued_call_that_is_given_up_never_starts(
    threads: ThreadExecutor,
) -> None:
    """What nobody waits for any more is not begun."""
    gate, ran = Gate(), []
    busy = threads.submit(job(gate.stand))
    await gate.until_reached()
    queued = threads.submit(job(lambda: ran.append("queued")))
    assert threads.statistics()["queued"] == 1
    queued.cancel()
    await asyncio.sleep(0)
    assert threads.statistics() == {"threads": 1, "idle": 0, "queued": 0, "late": 0}
    gate.open()
    await within(busy)
    await within(threads.submit(job(lambda: ran.append("next"))))
    assert ran == ["next"]


async def test_running_call_that_is_given_up_is_late_until_it_returns(
    threads: ThreadExecutor,
) -> None:
    """Its thread cannot be stopped: it is counted, and serves again afterwards."""
    gate = Gate()
    future = threads.submit(job(gate.stand))
    await gate.until_reached()
    future.cancel()
    await asyncio.sleep(0)
    assert threads.statistics()["late"] == 1
    gate.open()
    assert await within(threads.submit(job(lambda: "served"))) == "served"
    assert threads.statistics()["late"] == 0
    assert threads.statistics()["threads"] == 1


async def test_there_are_never_more_threads_than_allowed() -> None:
    """Threads start as needed up to the bound; the rest waits its turn."""
    executor = ThreadExecutor(max_threads=2)
    gates = [Gate() for _ in range(4)]
    futures = [executor.submit(job(gate.stand)) for gate in gates]
    await gates[0].until_reached()
    await gates[1].until_reached()
    assert executor.statistics() == {"threads": 2, "idle": 0, "queued": 2, "late": 0}
    assert not gates[2].reached.is_set()
    for gate in gates:
        gate.open()
    await asyncio.wait_for(asyncio.gather(*futures), WAIT)
    assert executor.statistics()["threads"] == 2
    executor.close()


async def test_closed_executor_refuses_calls_and_ends_its_threads() -> None:
    """Queued calls still run; then every thread ends."""
    before = set(worker_threads())
    executor = ThreadExecutor(max_threads=1)
    gate = Gate()
    busy, queued = (
        executor.submit(job(gate.stand)),
        executor.submit(job(lambda: "queued")),
    )
    await gate.until_reached()
    mine = [one for one in worker_threads() if one not in before]
    executor.close()
    with pytest.raises(RuntimeError, match="create a new tool system"):
        executor.submit(job(lambda: None))
    gate.open()
    await within(busy)
    assert await within(queued) == "queued"
    assert len(mine) == 1
    mine[0].join(WAIT)
    assert not mine[0].is_alive()
    assert executor.statistics() == {"threads": 0, "idle": 0, "queued": 0, "late": 0}


def test_answer_for_a_loop_that_has_ended_is_dropped() -> None:
    """A tool may outlive its caller's loop; its thread then serves the next."""
    executor, gate = ThreadExecutor(max_threads=1), Gate()

    async def give_up() -> None:
        executor.submit(job(gate.stand))
        await gate.until_reached()

    async def ask() -> Any:
        return await within(executor.submit(job(lambda: "served")))

    asyncio.run(give_up())
    gate.open()
    assert asyncio.run(ask()) == "served"
    executor.close()


async def test_idle_thread_keeps_no_users_object_alive(threads: ThreadExecutor) -> None:
    """Between calls a thread holds nothing of the last one (B40, B41)."""

    class Mine:
        def run(self) -> "Mine":
            return self

    mine = Mine()
    watch = weakref.ref(mine)
    assert await within(threads.submit(job(mine.run))) is mine
    del mine

    def is_gone() -> bool:
        gc.collect()
        return watch() is None

    await until(is_gone)  # the thread counts as idle a little before it lets go
    assert threads.statistics()["idle"] == 1


@pytest.mark.parametrize("is_failing", [False, True], ids=["returns", "raises"])
async def test_end_of_a_call_is_told_once_before_its_caller_goes_on(
    threads: ThreadExecutor,
    is_failing: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Whoever has the answer finds the place of the call free again."""
    ends: list[str] = []

    def tool() -> None:
        if is_failing:
            raise OSError("x")

    future = threads.submit(job(tool, lambda: ends.append("end")))
    await asyncio.wait({future}, timeout=WAIT)
    assert ends == ["end"]
    assert isinstance(future.exception(), OSError) is is_failing


async def test_end_of_a_late_call_is_told_when_its_thread_is_free(
    threads: ThreadExecutor,
) -> None:
    """A call that was given up holds its place until the tool returns."""
    gate, ends = Gate(), list[dict[str, int]]()
    future = threads.submit(job(gate.stand, lambda: ends.append(threads.statistics())))
    await gate.until_reached()
    future.cancel()
    await asyncio.sleep(0)
    assert threads.statistics()["late"] == 1
    assert ends == []
    gate.open()
    assert await within(threads.submit(job(lambda: "served"))) == "served"
    assert [one["late"] for one in ends] == [0]


async def test_end_of_a_queued_call_that_is_given_up_is_told_at_once(
    threads: ThreadExecutor,
) -> None:
    """What never begins holds no place, also while all threads are busy."""
    gate, ends = Gate(), list[str]()
    busy = threads.submit(job(gate.stand))
    await gate.until_reached()
    queued = threads.submit(job(lambda: None, lambda: ends.append("end")))
    queued.cancel()
    await asyncio.sleep(0)
    assert ends == ["end"]
    gate.open()
    await within(busy)
    await within(threads.submit(job(lambda: None)))
    assert ends == ["end"]


def test_end_of_a_call_is_told_although_its_loop_has_ended() -> None:
    """A running and a queued call of a loop that is gone give their places back, and
    the queued one never starts.
    """
    executor, gate, ran = ThreadExecutor(max_threads=1), Gate(), list[str]()

    async def give_up() -> None:
        executor.submit(job(gate.stand, lambda: ran.append("end of the running")))
        await gate.until_reached()
        executor.submit(
            job(lambda: ran.append("queued"), lambda: ran.append("end of the queued"))
        )

    async def ask() -> Any:
        return await within(executor.submit(job(lambda: "served")))

    asyncio.run(give_up())
    gate.open()
    assert asyncio.run(ask()) == "served"
    assert ran == ["end of the running", "end of the queued"]
    executor.close()


async def test_stream_that_is_given_up_is_closed_after_its_part(
    threads: ThreadExecutor,
) -> None:
    """One that never ends fills no memory for nobody; its clean-up runs in its thread
    (B41).
    """
    gate, seen = Gate(), list[object]()

    def endless() -> Iterator[int]:
        try:
            for part in range(1000):  # bounded, should nobody close it
                seen.append(part)
                gate.stand()
                yield part
        finally:
            seen.append(threading.current_thread().name.rstrip("0123456789"))

    stream = endless()  # held, as a tool may: it does not end by being dropped
    future = threads.submit(job(lambda: stream))
    await gate.until_reached()
    future.cancel()
    gate.open()
    assert await within(threads.submit(job(lambda: "served"))) == "served"
    assert seen == [0, "toolkit-tool-"]


async def test_iterator_that_cannot_be_closed_is_just_left(
    threads: ThreadExecutor,
) -> None:
    """Not every stream is a generator."""
    gate, seen = Gate(), list[object]()
    future = threads.submit(job(lambda: map(seen.append, map(gate.stand, range(1000)))))
    await gate.until_reached()
    future.cancel()
    gate.open()
    assert await within(threads.submit(job(lambda: "served"))) == "served"
    assert seen == [0]


@pytest.mark.parametrize("make", [InlineExecutor, ThreadExecutor])
def test_both_answer_to_the_same_protocol(make: Callable[[], Executor]) -> None:
    """The dispatcher knows one protocol, whatever runs the call."""
    executor: Executor = make()
    assert executor.statistics()["late"] == 0


async def test_counting_while_other_loops_run_calls_never_fails() -> None:
    """Health may be asked for in one thread while calls begin and end in others."""
    executor = InlineExecutor()
    start = threading.Barrier(3)

    async def one() -> None:
        return None

    async def many() -> None:
        for _ in range(100):
            await asyncio.gather(*(executor.submit(job(one)) for _ in range(5)))

    def other_loop() -> None:
        start.wait(WAIT)
        asyncio.run(many())

    others = [threading.Thread(target=other_loop) for _ in range(2)]
    for other in others:
        other.start()
    start.wait(WAIT)
    while any(other.is_alive() for other in others):
        assert executor.statistics()["late"] >= 0
    assert executor.statistics()["late"] == 0


# --- threads, shared between users ---------------------------------------------------


@pytest.fixture
def gates() -> Iterator[Callable[[], Gate]]:
    """Make gates that are open, at the latest, when the test has ended."""
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate())
        return made[-1]

    yield make
    for gate in made:
        gate.open()


async def test_waiting_calls_are_served_in_turn_between_users(
    threads: ThreadExecutor, gates: Callable[[], Gate]
) -> None:
    """Nobody waits for all that another has queued before (B53, S25)."""
    gate, ran = gates(), list[str]()
    threads.submit(job(gate.stand))
    await gate.until_reached()
    calls = [("ann 1", USER), ("ann 2", USER), ("bob 1", BOB), ("cid 1", CID)]
    futures = [
        threads.submit(job(lambda name=name: ran.append(name), user=user))  # type: ignore[misc]  # a default binds it
        for name, user in calls
    ]
    gate.open()
    await asyncio.wait_for(asyncio.gather(*futures), WAIT)
    assert ran == ["ann 1", "bob 1", "cid 1", "ann 2"]


async def test_one_user_never_has_more_threads_than_their_share(
    gates: Callable[[], Gate],
) -> None:
    """Calls that were given up count as long as they run on (B47, B53)."""
    executor = ThreadExecutor(max_threads=4, max_per_user=2)
    hers = [gates() for _ in range(3)]
    futures = [executor.submit(job(gate.stand)) for gate in hers]
    await hers[0].until_reached()
    await hers[1].until_reached()
    assert executor.statistics() == {"threads": 2, "idle": 0, "queued": 1, "late": 0}
    futures[0].cancel()
    futures[1].cancel()
    await asyncio.sleep(0)
    assert executor.statistics() == {"threads": 2, "idle": 0, "queued": 1, "late": 2}
    assert await within(executor.submit(job(lambda: "his", user=BOB))) == "his"
    assert not hers[2].reached.is_set()
    hers[0].open()
    await hers[2].until_reached()
    executor.close()


async def test_last_threads_are_kept_for_users_who_have_none(
    gates: Callable[[], Gate],
) -> None:
    """However much one user calls, the next one's first call starts at once (B53)."""
    executor = ThreadExecutor(max_threads=8, max_per_user=8)
    hers = [gates() for _ in range(8)]
    for gate in hers:
        executor.submit(job(gate.stand))
    for gate in hers[:7]:
        await gate.until_reached()
    assert executor.statistics()["queued"] == 1
    assert await within(executor.submit(job(lambda: "his", user=BOB))) == "his"
    assert not hers[7].reached.is_set()
    assert executor.statistics() == {"threads": 8, "idle": 1, "queued": 1, "late": 0}
    hers[0].open()
    await hers[7].until_reached()
    executor.close()


async def test_late_threads_are_replaced_up_to_a_number_and_no_further(
    gates: Callable[[], Gate],
) -> None:
    """A tool that never returns costs nobody else a thread, and not for ever more
    (B30, B47).
    """
    executor = ThreadExecutor(max_threads=1, max_late=1)
    first, second = gates(), gates()
    one = executor.submit(job(first.stand))
    await first.until_reached()
    two = executor.submit(job(second.stand, user=BOB))
    assert executor.statistics()["queued"] == 1
    one.cancel()
    await second.until_reached()
    assert executor.statistics() == {"threads": 2, "idle": 0, "queued": 0, "late": 1}
    two.cancel()
    await asyncio.sleep(0)
    third = executor.submit(job(lambda: "third", user=CID))
    assert executor.statistics() == {"threads": 2, "idle": 0, "queued": 1, "late": 2}
    first.open()
    assert await within(third) == "third"
    second.open()
    await until(lambda: executor.statistics()["late"] == 0)
    assert executor.statistics() == {"threads": 1, "idle": 1, "queued": 0, "late": 0}
    executor.close()


async def test_call_given_up_after_closing_leaves_no_thread_behind(
    gates: Callable[[], Gate],
) -> None:
    """What may not start yet gets no thread, so none is left waiting for work (B41)."""
    executor = ThreadExecutor(max_threads=2, max_per_user=1)
    gate = gates()
    busy = executor.submit(job(gate.stand))
    await gate.until_reached()
    queued = executor.submit(job(lambda: "queued"))
    executor.close()
    busy.cancel()
    await asyncio.sleep(0)
    assert executor.statistics() == {"threads": 1, "idle": 0, "queued": 1, "late": 1}
    gate.open()
    assert await within(queued) == "queued"
    assert executor.statistics()["threads"] == 0


async def test_parts_of_a_stream_in_a_thread_are_told_as_they_come(
    threads: ThreadExecutor,
) -> None:
    """Whoever listens need not wait for the whole; an async stream is told likewise."""
    told: list[tuple[str, object, bool]] = []
    here = threading.current_thread()

    def emit(kind: str, said: object) -> None:
        told.append((kind, said, threading.current_thread() is here))

    def plain() -> Iterator[int]:
        yield 1
        assert told == [("part", 1, False)]
        yield 2

    async def other() -> AsyncIterator[int]:
        yield 3

    assert await within(threads.submit(job(plain, emit=emit))) == [1, 2]
    assert await within(threads.submit(job(other, is_async=True, emit=emit))) == [3]
    assert told == [("part", part, False) for part in (1, 2, 3)]


async def test_async_tool_in_a_thread_has_a_loop_of_its_own(
    threads: ThreadExecutor,
) -> None:
    """Whatever it does to its loop, the callers' loop goes on (B52)."""

    async def tool() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = await within(threads.submit(job(tool, is_async=True)))
    assert loop is not asyncio.get_running_loop()
    assert loop.is_closed()


async def test_async_tool_in_a_thread_is_cancelled_when_it_is_given_up(
    threads: ThreadExecutor,
) -> None:
    """It can end, as a plain one cannot; its thread serves the next call (B30)."""
    gate, seen, ends = Gate(), list[str](), list[str]()

    async def tool() -> None:
        gate.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    future = threads.submit(job(tool, lambda: ends.append("end"), is_async=True))
    await gate.until_reached()
    future.cancel()
    assert await within(threads.submit(job(lambda: "served"))) == "served"
    assert seen == ["cleaned up"]
    assert ends == ["end"]


async def test_async_tool_given_up_before_its_first_step_never_starts(
    threads: ThreadExecutor, gates: Callable[[], Gate]
) -> None:
    """Its coroutine is closed, not forgotten."""
    gate, ran = gates(), list[str]()

    async def tool() -> None:
        ran.append("tool")

    def start() -> object:
        gate.stand()
        return tool()

    future = threads.submit(job(start, is_async=True))
    await gate.until_reached()
    future.cancel()
    gate.open()
    assert await within(threads.submit(job(lambda: "served"))) == "served"
    gc.collect()
    assert ran == []


# --- threads, counted at every end ---------------------------------------------------


IDLE = {"threads": 1, "idle": 1, "queued": 0, "late": 0}


@pytest.mark.parametrize(
    "error",
    [OSError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError],
)
async def test_counts_are_right_after_whatever_a_tool_raises(
    threads: ThreadExecutor, error: type[BaseException]
) -> None:
    """Plain, in a stream and in an async tool: one thread, idle, nothing late (B47)."""

    def plain() -> None:
        raise error

    def stream() -> Iterator[int]:
        yield 1
        raise error

    async def later() -> None:
        raise error

    for invoke, is_async in ((plain, False), (stream, False), (later, True)):
        ends: list[str] = []
        given = job(invoke, lambda ends=ends: ends.append("end"), is_async=is_async)  # type: ignore[misc]  # a default binds it
        future = threads.submit(given)
        await asyncio.wait({future}, timeout=WAIT)
        assert future.done()
        assert future.cancelled() or future.exception() is not None
        assert ends == ["end"]
        await until(lambda: threads.statistics() == IDLE)


@pytest.mark.parametrize("at", ["queued", "running", "ended"])
async def test_counts_are_right_wherever_a_call_is_given_up(
    threads: ThreadExecutor, gates: Callable[[], Gate], at: str
) -> None:
    """Giving up again changes nothing, and everything comes back in the end (B47)."""
    first, second, ends = gates(), gates(), list[str]()
    busy = threads.submit(job(first.stand))
    await first.until_reached()
    future = threads.submit(job(second.stand, lambda: ends.append("end")))
    if at != "queued":
        first.open()
        await second.until_reached()
    if at == "ended":
        second.open()
        await within(future)
    for _ in range(2):
        future.cancel()
        await asyncio.sleep(0)
    late = int(at == "running")
    assert threads.statistics()["late"] == late
    assert threads.statistics()["queued"] == 0
    assert ends == ([] if late else ["end"])
    first.open()
    second.open()
    await asyncio.wait({busy}, timeout=WAIT)
    await until(lambda: threads.statistics() == IDLE)
    assert ends == ["end"]


def close_while(executor: ThreadExecutor, gate: Gate, *more: Job) -> None:
    """Let a loop close while it has a call at a gate, and more in the queue."""
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        executor.submit(job(gate.stand))
        await gate.until_reached()
        for one in more:
            executor.submit(one)

    loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_call_whose_loop_has_closed_is_late_and_its_thread_replaced(
    gates: Callable[[], Gate],
) -> None:
    """Nobody waits for it, so it takes nobody's place (B47, B50)."""
    executor, gate, ran = ThreadExecutor(1, max_late=1), gates(), list[str]()
    ends: list[str] = []
    queued = job(lambda: ran.append("queued"), lambda: ends.append("end"))
    close_while(executor, gate, queued)

    async def ask() -> Any:
        return await within(executor.submit(job(lambda: "served", user=BOB)))

    assert asyncio.run(ask()) == "served"
    assert executor.statistics() == {"threads": 2, "idle": 1, "queued": 0, "late": 1}
    assert (ran, ends) == ([], ["end"])
    gate.open()
    asyncio.run(until(lambda: executor.statistics()["late"] == 0))
    assert executor.statistics()["threads"] == 1
    executor.close()


def test_health_sees_calls_of_a_loop_that_has_closed(
    gates: Callable[[], Gate],
) -> None:
    """The running one is late; the queued one has ended, and gave its place back
    (B49, B50).
    """
    executor, gate, ends = ThreadExecutor(1, max_late=0), gates(), list[str]()
    close_while(executor, gate, job(int, lambda: ends.append("end")))
    assert executor.statistics() == {"threads": 1, "idle": 0, "queued": 0, "late": 1}
    assert executor.statistics()["late"] == 1
    assert ends == ["end"]
    gate.open()
    asyncio.run(until(lambda: executor.statistics() == IDLE))
    executor.close()


@contextmanager
def no_threads() -> Iterator[None]:
    """Let the system refuse threads, by asking for more memory than there is."""
    before = threading.stack_size(2**46)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_call_that_gets_no_thread_waits_for_one_or_fails(
    gates: Callable[[], Gate],
) -> None:
    """Where none is left at all its caller is told; nothing is lost (B30, B47)."""
    executor, gate = ThreadExecutor(3), gates()
    busy = executor.submit(job(gate.stand))
    await gate.until_reached()
    none = ThreadExecutor(1)
    with no_threads():
        with pytest.raises(RuntimeError, match="thread"):
            none.submit(job(int))
        waiting = executor.submit(job(lambda: "served", user=BOB))
        counts = executor.statistics()
        assert counts == {"threads": 1, "idle": 0, "queued": 1, "late": 0}
        busy.cancel()
        await asyncio.sleep(0)
        assert executor.statistics() == {**counts, "late": 1}
    assert none.statistics() == {"threads": 0, "idle": 0, "queued": 0, "late": 0}
    gate.open()
    assert await within(waiting) == "served"
    await until(lambda: executor.statistics() == IDLE)
    executor.close()


async def test_user_who_keeps_200_calls_queued_delays_others_by_one_turn(
    threads: ThreadExecutor, gates: Callable[[], Gate]
) -> None:
    """However fast she fills her line again, others come at every other turn (B53)."""
    gate, ran, hers = gates(), list[str](), list[asyncio.Future[Any]]()
    loop = asyncio.get_running_loop()

    def again() -> None:
        hers.append(threads.submit(job(work)))

    def work() -> None:
        ran.append("ann")
        loop.call_soon_threadsafe(again)

    threads.submit(job(gate.stand))
    await gate.until_reached()
    for _ in range(200):
        again()
    his = [threads.submit(job(lambda: ran.append("bob"), user=BOB)) for _ in range(5)]
    gate.open()
    await asyncio.wait_for(asyncio.gather(*his), WAIT)
    assert ran[: ran.index("bob") + 9] == ["ann", *["bob", "ann"] * 4, "bob"]
    threads.close()
    for future in hers:
        future.cancel()


async def test_one_user_has_no_more_threads_than_allowed_while_others_come_and_go(
    gates: Callable[[], Gate],
) -> None:
    """Whenever a thread is free it is hers or another's by the cap alone (B47, B53)."""
    executor = ThreadExecutor(max_threads=8, max_per_user=3)
    lock, gate = threading.Lock(), gates()
    now, most = 0, 0

    def hers() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if now == 3:
            gate.open()
        gate.stand()
        with lock:
            now -= 1

    futures = [executor.submit(job(hers)) for _ in range(50)]
    futures += [executor.submit(job(int, user=BOB)) for _ in range(50)]
    await asyncio.wait_for(asyncio.gather(*futures), WAIT)
    assert most == 3
    executor.close()
