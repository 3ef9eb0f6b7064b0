"""A failure at every await of a run: nobody else notices, and nothing stays."""

import asyncio
import gc
import json
import logging
import weakref
from collections.abc import Coroutine, Generator, Iterator
from typing import Any

import pytest

from toolkit import (
    AgentRun,
    Settings,
    Supervisor,
    Toolkit,
    create_websocket_scoped_supervisor,
    tool,
)

SOON = 5.0
MOST = 200  # suspensions; a run here has far fewer


class Injected:
    """Runs a coroutine, and throws into it where it suspends for the nth time."""

    def __init__(
        self, work: Coroutine[Any, Any, Any], at: int, error: BaseException
    ) -> None:
        self.work = work
        self.at = at
        self.error = error
        self.count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self.work.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = steps.throw(thrown) if thrown else steps.send(None)
            except StopIteration as end:
                return end.value
            self.count += 1
            if self.count == self.at:
                thrown = self.error
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = False
                continue
            thrown = None
            try:
                yield waits_for
            except BaseException as raised:  # noqa: BLE001 - handed on, as it came
                thrown = raised


async def turn() -> None:
    """Let the loop go round once."""
    waiter = asyncio.get_running_loop().create_future()
    await asyncio.wait({waiter}, timeout=0)


@tool
async def slow(times: int) -> int:
    """Take some turns of the loop."""
    for _ in range(times):
        await turn()
    return times


@tool
def blocking(text: str) -> str:
    """Work in a thread."""
    return text[::-1]


class Helper:
    """Answer another agent."""

    name = "helper"

    async def run(self, message: str, run: AgentRun) -> str:
        await run.think("I help")
        result = await run.call("slow", {"times": 1})
        return str(result.unwrap())


class Busy:
    """Use all that a run offers."""

    name = "busy"
    at = 0
    error: BaseException = RuntimeError()
    suspended = 0

    async def run(self, message: str, run: AgentRun) -> str:
        cls = type(self)
        if message != "inject":
            return await self.work(run)
        injected = Injected(self.work(run), cls.at, cls.error)
        try:
            answer: str = await injected
            return answer
        finally:
            cls.suspended = injected.count

    async def work(self, run: AgentRun) -> str:
        await run.think("I begin")
        await turn()
        one = await run.call("slow", {"times": 2})
        two = await run.call("blocking", {"text": "abc"})
        both = await asyncio.gather(
            run.call("slow", {"times": 1}), run.call("blocking", {"text": "de"})
        )
        asked = await run.ask("helper", "please")
        await run.think("I end")
        values = [one, two, *both]
        return f"{[each.value_json() for each in values]} {asked.text}"


RIGHT = "['2', '\"cba\"', '1', '\"ed\"'] 1"


@pytest.fixture
def kit() -> Iterator[Toolkit]:
    """A toolkit over the tools and agents above."""
    chosen = Settings(allow=frozenset())
    with Toolkit(chosen, objects=[slow, blocking], agents=[Busy, Helper]) as made:
        yield made


async def ask(owner: Supervisor, message: str) -> list[dict[str, Any]]:
    """Ask the busy agent, and return all that is told until its run ends."""
    request = {"type": "agent_request", "agent": "busy", "message": message}
    await owner.receive(json.dumps(request))
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(SOON):
        while not told or told[-1]["type"] not in ("agent_completed", "error"):
            told.append(json.loads(await owner.next_message() or "null"))
    return told


def check_order(told: list[dict[str, Any]]) -> None:
    """Started first, ended once and last, and every tool that began has ended."""
    kinds = [one["type"] for one in told]
    assert kinds[0] == "agent_started"
    assert sum(kind in ("agent_completed", "error") for kind in kinds) == 1
    begun = [one["call_id"] for one in told if one["type"] == "tool_executing"]
    ended = [one["call_id"] for one in told if one["type"] == "tool_completed"]
    assert sorted(begun) == sorted(ended)
    assert len(set(begun)) == len(begun)


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError, SystemExit])
async def test_failure_at_any_await_ends_that_run_alone(
    kit: Toolkit, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Each way to fail, at each await: one end, others unharmed, nothing left (B30)."""
    caplog.set_level(logging.CRITICAL)
    alive: list[weakref.ref[Supervisor]] = []
    ends: list[str] = []
    hurt = other = create_websocket_scoped_supervisor("nobody-else", kit=kit)
    await hurt.aclose()
    for at in range(1, MOST):
        Busy.at, Busy.error, Busy.suspended = at, kind("injected"), 0
        hurt = create_websocket_scoped_supervisor("hurt", kit=kit)
        other = create_websocket_scoped_supervisor("other", kit=kit)
        alive += [weakref.ref(hurt), weakref.ref(other)]
        told, others = await asyncio.gather(ask(hurt, "inject"), ask(other, "go on"))
        check_order(told)
        check_order(others)
        assert others[-1]["result"] == RIGHT
        again = await ask(hurt, "go on")
        assert again[-1]["result"] == RIGHT
        assert hurt.get_tool_registry_health()["status"] == "healthy"
        await asyncio.gather(hurt.aclose(), other.aclose())
        ends.append(told[-1]["type"])
        if Busy.suspended < at:
            break
    del hurt, other
    Busy.error = RuntimeError()
    gc.collect()
    assert ends[-1] == "agent_completed"  # there was no such await any more
    assert len(ends) > 6
    assert ends.count("error") >= 3  # else it was a tool's failure, and told as one
    assert [one() for one in alive if one() is not None] == []
    assert kit.factory.statistics()["open_systems"] == 0


async def test_run_may_be_given_up_at_any_await(
    kit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    """Cancelled after each of its messages in turn, a run ends with its calls (B26)."""
    caplog.set_level(logging.CRITICAL)
    for after in range(1, MOST):
        owner = create_websocket_scoped_supervisor("ann", kit=kit)
        request = {"type": "agent_request", "agent": "busy", "message": "go on"}
        await owner.receive(json.dumps(request))
        told: list[dict[str, Any]] = []
        async with asyncio.timeout(SOON):
            while not told or told[-1]["type"] not in ("agent_completed", "error"):
                told.append(json.loads(await owner.next_message() or "null"))
                if len(told) == after:
                    owner.cancel()
        check_order(told)
        assert owner._seats.current.system.dispatcher.running() == ()
        await owner.aclose()
        if told[-1]["type"] == "agent_completed":
            break
        assert told[-1]["code"] == "run_cancelled"
    assert after > 8
    assert kit.factory.statistics()["open_systems"] == 0


@pytest.mark.parametrize("steps", range(12))
async def test_connection_may_be_lost_at_any_turn(kit: Toolkit, steps: int) -> None:
    """Closed any number of turns after a request, nothing of it stays (S50, S51)."""
    owner = create_websocket_scoped_supervisor("ann", kit=kit)
    request = {"type": "agent_request", "agent": "busy", "message": "go on"}
    await owner.receive(json.dumps(request))
    for _ in range(steps):
        await turn()
    async with asyncio.timeout(SOON):
        await owner.aclose()
    assert owner.is_closed
    assert not owner.is_busy
    known = weakref.ref(owner)
    del owner
    async with asyncio.timeout(SOON):  # a thread may still be about to say its end
        while known() is not None:
            gc.collect()
            await turn()
    assert kit.factory.statistics()["open_systems"] == 0
