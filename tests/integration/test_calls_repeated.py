"""Calls that come again under their key, and tools that are tried again."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sample_tools import catalog_of, until
from toolkit import (
    Settings,
    ToolError,
    ToolResult,
    UserContextToolFactory,
    UserToolSystem,
    tool,
)
from toolkit.errors import (
    CallLimitError,
    IdempotencyKeyError,
    InvalidArgumentsError,
    ToolCancelledError,
    ToolExecutionError,
    ToolTimeoutError,
)
from toolkit.testing import RecordingSink, make_user, tool_system

WAIT = 10  # seconds; a bound, never reached when all is well
QUICKLY = 0.001  # seconds before a first repetition


class Pay:
    """Pay, and count how often that was done."""

    name = "pay"

    def __init__(self) -> None:
        self.paid = 0

    async def execute(self, amount: int, notes: list[str] | None = None) -> int:
        self.paid += 1
        if amount < 0:
            raise OSError(amount)
        return self.paid


class PaySlowly(Pay):
    """Pay when the bank opens."""

    name = "pay_slowly"

    def __init__(self) -> None:
        super().__init__()
        self.bank = asyncio.Event()

    async def execute(self, amount: int, notes: list[str] | None = None) -> int:
        self.paid += 1
        await self.bank.wait()
        return self.paid


def paid(system: UserToolSystem, name: str = "pay") -> Any:
    """Return the user's own instance, which counts."""
    return system.registry.get(name)


def begin(
    system: UserToolSystem, name: str, key: str, **options: Any
) -> asyncio.Task[ToolResult]:
    call = system.execute(name, {"amount": 1}, idempotency_key=key, **options)
    return asyncio.create_task(call)


async def ended(call: asyncio.Task[ToolResult]) -> ToolResult:
    return await asyncio.wait_for(call, WAIT)


# --- keys ----------------------------------------------------------------------------


async def test_same_key_gets_the_first_result_and_nothing_runs() -> None:
    """The very result, under the first call's id, with no more events (B26)."""
    sink = RecordingSink()
    with tool_system(Pay, sinks=[sink]) as system:
        first = await system.execute("pay", {"amount": 1}, idempotency_key="key")
        again = await system.execute("pay", {"amount": 1}, idempotency_key="key")
        other = await system.execute("pay", {"amount": 1}, idempotency_key="key 2")
        without = await system.execute("pay", {"amount": 1})
        assert again is first
        assert [first.value, other.value, without.value] == [1, 2, 3]
        assert sink.types(first.call_id) == ["tool_executing", "tool_completed"]
        assert system.dispatcher.statistics()["calls"] == 3


async def test_failure_of_a_call_that_ran_is_its_result_too() -> None:
    """It may have paid before it failed: it does not run again."""
    with tool_system(Pay) as system:
        results = [
            await system.execute("pay", {"amount": -1}, idempotency_key="key")
            for _ in range(2)
        ]
        assert type(results[0].error) is ToolExecutionError
        assert results[0] is results[1]
        assert paid(system).paid == 1


async def test_call_that_runs_is_joined_and_runs_once() -> None:
    """All who repeat it wait for the same result."""
    with tool_system(PaySlowly) as system:
        calls = [begin(system, "pay_slowly", "key") for _ in range(5)]
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        assert len(system.dispatcher.running()) == 1
        paid(system, "pay_slowly").bank.set()
        results = [await ended(call) for call in calls]
        assert all(one is results[0] for one in results)
        assert results[0].value == 1


async def test_who_joined_a_call_may_go_without_ending_it() -> None:
    """Cancelling the second caller cancels nothing of the first (B26)."""
    with tool_system(PaySlowly) as system:
        first = begin(system, "pay_slowly", "key")
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        second = begin(system, "pay_slowly", "key")
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        paid(system, "pay_slowly").bank.set()
        assert (await ended(first)).value == 1


async def test_first_caller_who_goes_leaves_an_answer_for_the_others() -> None:
    """The call is cancelled, counted once, and not run again under that key
    (B26, B30).
    """
    sink = RecordingSink()
    with tool_system(PaySlowly, sinks=[sink]) as system:
        first = begin(system, "pay_slowly", "key")
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        second = begin(system, "pay_slowly", "key")
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        result = await ended(second)
        assert type(result.error) is ToolCancelledError
        assert "its first caller was cancelled" in str(result.error)
        assert (await ended(begin(system, "pay_slowly", "key"))) is result
        assert paid(system, "pay_slowly").paid == 1
    assert sink.types() == ["tool_executing", "tool_completed"]


async def test_who_joined_a_call_waits_no_longer_than_they_allow() -> None:
    """Their own deadline holds, and the call that they joined goes on (B31)."""
    with tool_system(PaySlowly) as system:
        first = begin(system, "pay_slowly", "key")
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        late = await ended(begin(system, "pay_slowly", "key", timeout=0.02))
        assert type(late.error) is ToolTimeoutError
        assert late.error.seconds == 0.02
        paid(system, "pay_slowly").bank.set()
        result = await ended(first)
        assert result.ok
        assert result.call_id != late.call_id
        assert await ended(begin(system, "pay_slowly", "key", timeout=9)) is result


async def test_call_is_joined_from_another_threads_loop() -> None:
    """A result belongs to no loop: whoever repeats the call gets it."""
    with tool_system(PaySlowly) as system:
        first = begin(system, "pay_slowly", "key")
        await until(lambda: paid(system, "pay_slowly").paid == 1)

        async def join() -> ToolResult:
            call = begin(system, "pay_slowly", "key")
            await asyncio.sleep(0)
            joined.set()
            return await ended(call)

        joined = threading.Event()
        elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, join()))
        await until(joined.is_set)
        paid(system, "pay_slowly").bank.set()
        result = await ended(first)
        assert await asyncio.wait_for(elsewhere, WAIT) is result
        assert paid(system, "pay_slowly").paid == 1


async def test_closing_answers_all_who_wait_for_a_call() -> None:
    """Nobody waits for a result that will not come (B30, B50)."""
    with tool_system(PaySlowly) as system:
        calls = [begin(system, "pay_slowly", "key") for _ in range(3)]
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        system.close()
        results = [await ended(call) for call in calls]
        assert {type(one.error) for one in results} == {ToolCancelledError}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("pay", {"amount": 2}), ("pay_slowly", {"amount": 1}), ("pay", '{"amount": 3}')],
    ids=["arguments", "tool", "text"],
)
async def test_key_of_another_call_is_refused_and_nothing_runs(
    name: str, arguments: Any
) -> None:
    """A key names one call; a mistake in it is told, not guessed at (B10)."""
    sink = RecordingSink()
    with tool_system(Pay, PaySlowly, sinks=[sink]) as system:
        await system.execute("pay", {"amount": 1}, idempotency_key="key")
        told = len(sink.events)
        result = await system.execute(name, arguments, idempotency_key="key")
        assert type(result.error) is IdempotencyKeyError
        assert result.error.key == "key"
        assert len(sink.events) == told
        again = await system.execute("pay", {"amount": 1}, idempotency_key="key")
        assert again.value == 1


async def test_arguments_in_another_spelling_are_the_same_call() -> None:
    """Order, spaces and escapes are the sender's, not the call's."""
    with tool_system(Pay) as system:
        for spelled in (
            {"amount": 1, "notes": ["é"]},
            '{"notes": ["\\u00e9"], "amount": 1}',
            b' {"amount":1, "notes":["\xc3\xa9"]} ',
        ):
            result = await system.execute("pay", spelled, idempotency_key="key")
            assert result.value == 1


@pytest.mark.parametrize("refusal", ["arguments", "absent", "limit", "waiting"])
async def test_call_that_never_started_is_not_kept(refusal: str) -> None:
    """Whoever was refused may send the same again, and then it runs (B26)."""
    settings = Settings(
        max_concurrent_calls=1, max_queued_calls=int(refusal == "waiting")
    )
    with tool_system(Pay, PaySlowly, settings=settings) as system:
        first = asyncio.create_task(system.execute("pay_slowly", {"amount": 1}))
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        if refusal == "arguments":
            refused = await system.execute("pay", {}, idempotency_key="key")
            assert type(refused.error) is InvalidArgumentsError
        elif refusal == "absent":
            assert not (await system.execute("none", {}, idempotency_key="key")).ok
        elif refusal == "limit":
            refused = await ended(begin(system, "pay", "key"))
            assert type(refused.error) is CallLimitError
        else:
            refused = await ended(begin(system, "pay", "key", timeout=0.01))
            assert type(refused.error) is CallLimitError
        paid(system, "pay_slowly").bank.set()
        await ended(first)
        assert (await ended(begin(system, "pay", "key"))).value == 1


async def test_first_caller_who_goes_before_the_start_leaves_the_key_free() -> None:
    """What waited in line and never ran may be sent again; who joined is told."""
    settings = Settings(max_concurrent_calls=1)
    with tool_system(Pay, PaySlowly, settings=settings) as system:
        running = asyncio.create_task(system.execute("pay_slowly", {"amount": 1}))
        await until(lambda: paid(system, "pay_slowly").paid == 1)
        first, second = (begin(system, "pay", "key") for _ in range(2))
        await until(lambda: len(system.dispatcher.running()) == 2)
        first.cancel()
        assert type((await ended(second)).error) is ToolCancelledError
        paid(system, "pay_slowly").bank.set()
        assert (await ended(running)).ok
        assert (await ended(begin(system, "pay", "key"))).value == 1


async def test_keys_of_two_users_and_of_two_systems_never_meet() -> None:
    """The same key is another call for each of them (B32, B35)."""
    factory = UserContextToolFactory(catalog_of(Pay))
    ids = set()
    for user_id in ("ann", "ann", "bob"):
        async with factory.create_user_tool_system(make_user(user_id)) as system:
            result = await system.execute("pay", {"amount": 1}, idempotency_key="key")
            assert result.value == 1
            other = await system.execute("pay", {"amount": 2}, idempotency_key="other")
            assert other.value == 2
            ids.add(result.call_id)
    assert len(ids) == 3
    factory.close()


@pytest.mark.parametrize("key", ["", 7, b"key", "k" * 257])
async def test_key_that_is_none_is_an_argument_error(key: Any) -> None:
    """Nothing runs without the promise that was asked for (B9, B10)."""
    with tool_system(Pay) as system:
        result = await system.execute("pay", {"amount": 1}, idempotency_key=key)
        assert type(result.error) is InvalidArgumentsError
        assert result.error.faults[0][0] == "idempotency_key"
        assert paid(system).paid == 0


async def test_tool_that_runs_in_a_thread_is_joined_as_well() -> None:
    """A key means the same, wherever the tool runs."""
    runs: list[int] = []

    @tool
    def count(amount: int) -> int:
        runs.append(amount)
        return len(runs)

    with tool_system(count) as system:
        results = [await ended(call) for call in [begin(system, "count", "key")] * 3]
        assert [one.value for one in results] == [1, 1, 1]
        again = await ended(begin(system, "count", "key"))
        assert again is results[0]
    assert runs == [1]


# --- tools that are tried again ----------------------------------------------------


class Shaky:
    """Fails as often as it is told, and counts."""

    name = "shaky"
    idempotent = True

    def __init__(self) -> None:
        self.runs = 0

    async def execute(self, failures: int, kind: str = "OSError") -> int:
        self.runs += 1
        if self.runs <= failures:
            raise {"OSError": OSError, "ToolError": ToolError}[kind]("shaky")
        return self.runs


class ShakyThread(Shaky):
    """The same in a thread."""

    name = "shaky_thread"

    def execute(self, failures: int, kind: str = "OSError") -> int:  # type: ignore[override]  # another tool
        self.runs += 1
        if self.runs <= failures:
            raise OSError("shaky")
        return self.runs


class ShakyOnce(Shaky):
    """The same, and says nothing of being called twice."""

    name = "shaky_once"
    idempotent = None  # type: ignore[assignment]  # says nothing


class ShakyNever(Shaky):
    """The same, and says that it must not be called twice."""

    name = "shaky_never"
    idempotent = False


class ShakyStream(Shaky):
    """The same, in parts."""

    name = "shaky_stream"

    async def execute(  # type: ignore[override]  # another tool
        self, failures: int, kind: str = "OSError"
    ) -> AsyncIterator[int]:
        self.runs += 1
        yield self.runs
        if self.runs <= failures:
            raise OSError("shaky")


ALL_SHAKY = (Shaky, ShakyThread, ShakyOnce, ShakyNever, ShakyStream)


def retrying(retries: int, delay: float = QUICKLY) -> Settings:
    return Settings(retries=retries, retry_delay=delay)


@pytest.mark.parametrize("name", ["shaky", "shaky_thread"])
@pytest.mark.parametrize(("failures", "runs"), [(0, 1), (1, 2), (2, 3), (9, 3)])
async def test_idempotent_tool_is_tried_again_within_one_call(
    name: str, failures: int, runs: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As often as the operator says at most; one start and one end (B26)."""
    sink = RecordingSink()
    with tool_system(*ALL_SHAKY, settings=retrying(2), sinks=[sink]) as system:
        result = await system.execute(name, {"failures": failures})
        assert paid(system, name).runs == runs
        assert result.ok is (failures < 3)
        counts = {"calls": 1, "failed": int(not result.ok), "running": 0}
        assert system.dispatcher.statistics() == counts
    assert sink.types() == ["tool_executing", "tool_completed"]
    assert sink.events[1].ok is result.ok
    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warned) == runs - 1


@pytest.mark.parametrize(
    ("name", "kind", "retries"),
    [
        ("shaky", "OSError", 0),
        ("shaky", "ToolError", 3),
        ("shaky_once", "OSError", 3),
        ("shaky_never", "OSError", 3),
        ("shaky_stream", "OSError", 3),
    ],
)
async def test_what_must_not_or_need_not_run_again_runs_once(
    name: str, kind: str, retries: int
) -> None:
    """No setting, no promise of the tool, a stream, or words of the tool's own."""
    with tool_system(*ALL_SHAKY, settings=retrying(retries)) as system:
        result = await system.execute(name, {"failures": 1, "kind": kind})
        assert not result.ok
        assert paid(system, name).runs == 1


async def test_tool_is_not_tried_again_when_its_deadline_is_nearer_than_the_pause() -> (
    None
):
    """The failure is told at once; nobody waits for what cannot be (B31)."""
    with tool_system(Shaky, settings=retrying(3, delay=60)) as system:
        call = asyncio.create_task(
            system.execute("shaky", {"failures": 1}, timeout=5.0)
        )
        result = await asyncio.wait_for(call, 4)
        assert type(result.error) is ToolExecutionError
        assert paid(system, "shaky").runs == 1


async def test_deadline_counts_over_all_attempts() -> None:
    """An attempt gets what the others have left of the time (B31)."""

    class Hanging(Shaky):
        name = "hanging"

        async def execute(self, failures: int, kind: str = "OSError") -> int:
            self.runs += 1
            if self.runs == 2:
                await asyncio.Event().wait()
            raise OSError("shaky")

    with tool_system(Hanging, settings=retrying(5)) as system:
        call = system.execute("hanging", {"failures": 1}, timeout=0.1)
        result = await asyncio.wait_for(call, WAIT)
        assert type(result.error) is ToolTimeoutError
        assert paid(system, "hanging").runs == 2


@pytest.mark.parametrize("way", ["cancel", "close", "caller"])
async def test_call_that_is_given_up_between_attempts_is_not_tried_again(
    way: str,
) -> None:
    """While it rests it is as any call that waits (B26, B50)."""
    sink = RecordingSink()
    settings = Settings(retries=3, retry_delay=60, default_timeout=None)
    with tool_system(Shaky, settings=settings, sinks=[sink]) as system:
        call = asyncio.create_task(system.execute("shaky", {"failures": 9}))
        await until(lambda: paid(system, "shaky").runs == 1)
        await asyncio.sleep(0)
        if way == "caller":
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            running = system.dispatcher.running()
            if way == "close":
                system.close()
            else:
                assert system.dispatcher.cancel(running[0].call_id, "enough")
            result = await asyncio.wait_for(call, WAIT)
            assert type(result.error) is ToolCancelledError
    assert sink.types() == ["tool_executing", "tool_completed"]
    assert sink.events[1].error_code == "cancelled"


async def test_call_with_a_key_that_is_tried_again_is_still_one_call() -> None:
    """What is kept under the key is what the last attempt came to."""
    with tool_system(Shaky, settings=retrying(2)) as system:
        for _ in range(2):
            call = system.execute("shaky", {"failures": 1}, idempotency_key="key")
            assert (await call).value == 2
