"""An agent's run: what is told of it, in which order, and how it always ends."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

import pytest

from tests.sample_tools import AdminWipe, Echo, shout
from toolkit import (
    AgentAnswer,
    AgentError,
    AgentRun,
    RunEndedError,
    Settings,
    ToolContext,
    UserContext,
    tool,
)
from toolkit.agent_runs import MAX_SHOWN_BYTES, Run
from toolkit.catalog import ListedAgent
from toolkit.compiler import compile_tool
from toolkit.contract import ToolContract
from toolkit.errors import InvalidToolError
from toolkit.live_run import MAX_ASKS
from toolkit.naming import tool_name
from toolkit.origin import Origin
from toolkit.run_events import AgentEvent, RunRequest, RunRules
from toolkit.system import UserToolSystem
from toolkit.testing import tool_system

AGENTS = ToolContract(method="run", is_for_agents=True)
SOON = 5.0


def listed(agent: object) -> ListedAgent:
    """Compile an agent as discovery does."""
    compiled = compile_tool(agent, contract=AGENTS)
    return ListedAgent(compiled.name, compiled.origin, compiled)


class Stage:
    """Starts runs over one user's system, and keeps what they tell."""

    def __init__(self, system: UserToolSystem, *agents: object) -> None:
        self.system = system
        self.agents: Mapping[str, ListedAgent] = {
            str(one.name): one for one in map(listed, agents)
        }
        self.told: list[AgentEvent] = []
        self.gate: asyncio.Event | None = None
        self.heard = asyncio.Event()

    def emit(self, event: AgentEvent) -> None:
        self.told.append(event)
        self.heard.set()

    async def room(self) -> None:
        if self.gate is not None:
            await self.gate.wait()

    def run(self, name: str, message: str = "hello", **rules: Any) -> Run:
        request = RunRequest(run_id="run-1", agent=self.agents[name], message=message)
        return Run(request, self, RunRules(**rules))

    async def finish(self, name: str, message: str = "hello", **rules: Any) -> None:
        async with asyncio.timeout(SOON):
            await self.run(name, message, **rules).execute()

    async def until(self, kind: str) -> AgentEvent:
        async with asyncio.timeout(SOON):
            while not (found := [one for one in self.told if one.type == kind]):
                self.heard.clear()
                await self.heard.wait()
        return found[0]

    def types(self) -> list[str]:
        return [str(one.type) for one in self.told]

    def last(self) -> Mapping[str, Any]:
        return self.told[-1].data


class Plain:
    """Answer with the message."""

    name = "plain"

    async def run(self, message: str) -> str:
        return f"You said: {message}"


class Shouter:
    """Shout the message with a tool."""

    name = "shouter"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        await run.think("I shall shout", loud=True)
        result = await run.call("shout", {"text": message})
        return AgentAnswer(result.unwrap(), details={"by": result.call_id})


@tool
async def hang() -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


async def test_run_tells_the_five_events_in_order() -> None:
    """Each of the five events is told by what did it."""
    with tool_system(shout) as system:
        stage = Stage(system, Shouter)
        await stage.finish("shouter", "hi")
    assert stage.types() == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    started, thought, executing, completed, answer = (one.data for one in stage.told)
    assert started == {"agent": "shouter", "message_chars": 2}
    assert thought["thought"] == "I shall shout"
    assert thought["loud"] is True
    assert executing["arguments"] == {"text": "hi"}
    assert completed["result"] == "HI"
    assert completed["ok"] is True
    assert answer["result"] == "HI"
    assert answer["tool_calls"] == 1
    assert executing["call_id"] == completed["call_id"] == answer["details"]["by"]


async def test_answer_may_be_a_text_alone() -> None:
    """A str is an answer, and no tool need be called."""
    with tool_system() as system:
        stage = Stage(system, Plain)
        await stage.finish("plain")
    assert stage.types() == ["agent_started", "agent_completed"]
    assert stage.last()["result"] == "You said: hello"


class Faulty:
    """Fail as the message says."""

    name = "faulty"

    async def run(self, message: str, run: AgentRun) -> Any:
        if message == "divide":
            return 1 / 0
        if message == "exit":
            raise SystemExit(3)
        if message == "cancel":
            raise asyncio.CancelledError
        if message == "explain":
            text = "there is no such table"
            raise AgentError(text)
        if message == "ask":
            return await run.ask("faulty", "me")
        if message == "reason":
            return await run.reason("be good")
        return {"no": "answer"}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("divide", "agent_failed", "ZeroDivisionError"),
        ("exit", "agent_failed", "SystemExit"),
        ("cancel", "agent_failed", "CancelledError"),
        ("explain", "agent_error", "there is no such table"),
        ("ask", "agent_not_found", "'faulty'"),
        ("reason", "model_not_configured", "run.has_model"),
        ("odd", "agent_failed", "returned dict"),
    ],
)
async def test_agent_that_fails_ends_in_an_error(
    message: str, code: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever an agent raises, its run ends once, with a code and a remedy (B30)."""
    with tool_system() as system, caplog.at_level(logging.CRITICAL):
        stage = Stage(system, Faulty)
        await stage.finish("faulty", message)
    assert stage.types() == ["agent_started", "error"]
    assert stage.last()["code"] == code
    assert text in stage.last()["message"]
    assert "division by zero" not in str(stage.told)


def raising(*_: object) -> NoReturn:
    raise OSError


class Odd(Exception):  # noqa: N818 - what it does
    """Raises when it is looked at."""

    __str__ = __repr__ = raising
    __class__ = property(raising)


class OddlyTold(AgentError):  # noqa: N818 - what it does
    """Is meant for the user, and cannot be read."""

    __str__ = raising
    code = property(raising)


@pytest.mark.parametrize(
    ("error", "code"), [(Odd, "agent_failed"), (OddlyTold, "agent_error")]
)
async def test_exception_that_misbehaves_ends_a_run_like_any(
    error: type[Exception], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What raises when it is looked at harms nothing (B30)."""

    class Breaks:
        name = "breaks"

        async def run(self, message: str) -> str:
            raise error

    with tool_system() as system, caplog.at_level(logging.CRITICAL):
        stage = Stage(system, Breaks)
        await stage.finish("breaks", show_errors=True)
    assert stage.types() == ["agent_started", "error"]
    assert stage.last()["code"] == code


async def test_text_of_a_failure_is_told_where_the_operator_allows_it() -> None:
    """With show_errors the user reads what the agent raised."""
    with tool_system() as system:
        stage = Stage(system, Faulty)
        await stage.finish("faulty", "divide", show_errors=True)
    assert "division by zero" in stage.last()["message"]


class Waiter:
    """Wait for a tool that never ends."""

    name = "waiter"

    async def run(self, message: str, run: AgentRun) -> str:
        result = await run.call("hang")
        return str(result.error)


class Stubborn:
    """Go on whatever anybody says."""

    name = "stubborn"
    release: asyncio.Future[None]

    async def run(self, message: str) -> str:
        waiter = asyncio.get_running_loop().create_future()
        type(self).release = waiter
        while not waiter.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({waiter}, timeout=SOON)
        return "late"


async def test_run_is_answered_at_its_deadline() -> None:
    """A tool that hangs is given up with its run, and both ends are told (B30)."""
    with tool_system(hang) as system:
        stage = Stage(system, Waiter)
        await stage.finish("waiter", timeout=0.05)
        assert system.dispatcher.running() == ()
    assert stage.types() == [
        "agent_started",
        "tool_executing",
        "tool_completed",
        "error",
    ]
    assert stage.told[2].data["ok"] is False


async def test_cancelled_run_ends_with_its_tools() -> None:
    """Cancelling ends the tool, tells so, and ends the run with the reason (B26)."""
    with tool_system(hang) as system:
        stage = Stage(system, Waiter)
        run = stage.run("waiter")
        task = asyncio.create_task(run.execute())
        await stage.until("tool_executing")
        run.cancel("its user asked for it")
        async with asyncio.timeout(SOON):
            await task
        assert system.dispatcher.running() == ()
    assert stage.types()[-2:] == ["tool_completed", "error"]
    assert stage.told[-2].data["error_code"] == "cancelled"
    assert stage.last()["code"] == "run_cancelled"
    assert "its user asked for it" in stage.last()["message"]


async def test_run_whose_task_is_cancelled_still_tells_its_end() -> None:
    """Whoever drops the task gets a CancelledError, and the end is still told."""
    with tool_system(hang) as system:
        stage = Stage(system, Waiter)
        task = asyncio.create_task(stage.run("waiter").execute())
        await stage.until("tool_executing")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stage.types()[-2:] == ["tool_completed", "error"]


@pytest.mark.integration  # waits a second
async def test_agent_that_resists_does_not_keep_its_run_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run ends a second after it is given up, though the agent goes on (B30)."""
    with tool_system() as system, caplog.at_level(logging.ERROR):
        stage = Stage(system, Stubborn)
        await stage.finish("stubborn", timeout=0.01)
        Stubborn.release.set_result(None)
    assert stage.types() == ["agent_started", "error"]
    assert stage.last()["code"] == "agent_timeout"
    assert "runs on" in caplog.text


class Hasty:
    """Answer without waiting for its tool; call again when all is over."""

    name = "hasty"
    late: asyncio.Task[Any]

    async def run(self, message: str, run: AgentRun) -> str:
        asked = asyncio.ensure_future(run.call("hang"))
        while not run_has_call(run):
            await asyncio.wait({asked}, timeout=0)
        type(self).late = asyncio.ensure_future(self.again(asked, run))
        return "done"

    async def again(self, asked: asyncio.Future[Any], run: AgentRun) -> None:
        await asked
        await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0)
        while True:
            await run.think("I am still here")
            await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0)


def run_has_call(run: AgentRun) -> bool:
    """Tell whether a call of this run has begun."""
    return bool(getattr(run, "_run").tool_calls)  # noqa: B009 - private


async def test_what_an_agent_does_not_wait_for_ends_before_its_run() -> None:
    """Calls left behind are ended first; later ones are refused (B26)."""
    with tool_system(hang) as system:
        stage = Stage(system, Hasty)
        await stage.finish("hasty")
        with pytest.raises(RunEndedError):
            async with asyncio.timeout(SOON):
                await Hasty.late
    ends = [one for one in stage.types() if one != "agent_thinking"]
    assert ends[-2:] == ["tool_completed", "agent_completed"]
    assert stage.types()[-1] == "agent_completed"


class Asker:
    """Ask another agent."""

    name = "asker"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        return await run.ask(message, "please")


class Ping:
    """Ask pong."""

    name = "ping"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        return await run.ask("pong", message)


class Pong:
    """Ask ping."""

    name = "pong"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        return await run.ask("ping", message)


async def test_agent_that_is_asked_answers_within_the_same_run() -> None:
    """Its thoughts and tools are told under the one run, by its own name."""
    with tool_system(shout) as system:
        stage = Stage(system, Asker, Shouter)
        await stage.finish("asker", "shouter")
    assert stage.types()[0] == "agent_started"
    assert stage.types().count("agent_completed") == 1
    assert stage.told[1].data["agent"] == "shouter"
    assert stage.last()["result"] == "PLEASE"
    assert stage.last()["agent"] == "asker"


async def test_agents_that_ask_each_other_come_to_an_end() -> None:
    """A circle of agents is cut, and the user is told (B30)."""
    with tool_system() as system:
        stage = Stage(system, Ping, Pong)
        await stage.finish("ping")
    assert stage.last()["code"] == "agent_depth"
    assert f"{MAX_ASKS} deep" in stage.last()["message"]


async def test_silent_run_says_that_it_goes_on() -> None:
    """While nothing else is told, a heartbeat names what is waited for (B30)."""
    with tool_system(hang) as system:
        stage = Stage(system, Waiter)
        task = asyncio.create_task(stage.run("waiter", heartbeat=0.01).execute())
        beat = await stage.until("agent_thinking")
        task.cancel()
        await asyncio.wait({task}, timeout=SOON)
    assert beat.data["waiting_for"] == ["hang"]
    assert beat.data["thought"] == "Waiting for hang"


async def test_agent_waits_while_its_user_takes_nothing() -> None:
    """A thought is told only when the connection has room."""
    with tool_system(shout) as system:
        stage = Stage(system, Shouter)
        stage.gate = asyncio.Event()
        task = asyncio.create_task(stage.run("shouter").execute())
        await stage.until("agent_started")
        assert stage.types() == ["agent_started"]
        stage.gate.set()
        async with asyncio.timeout(SOON):
            await task
    assert stage.types()[-1] == "agent_completed"


@tool
async def much() -> str:
    """Return more than anybody reads."""
    return "x" * (2 * MAX_SHOWN_BYTES)


@tool
async def talk(context: ToolContext) -> str:
    """Tell of progress far too often."""
    for number in range(10_000):
        context.progress(number / 10_000, "on it")
    return "done"


class Caller:
    """Call the tool that the message names."""

    name = "caller"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        result = await run.call(message)
        return AgentAnswer("ok", len(result.json_bytes))


async def test_large_result_is_cut_on_the_wire_only() -> None:
    """The user sees the head of it, flagged; the agent gets all (B29)."""
    with tool_system(much) as system:
        stage = Stage(system, Caller)
        await stage.finish("caller", "much")
    completed = stage.told[-2].data
    assert completed["truncated"] is True
    assert len(completed["result"]) <= MAX_SHOWN_BYTES
    assert stage.last()["details"] == 2 * MAX_SHOWN_BYTES + 2


@tool
async def nested() -> object:
    """Return more levels than can be read again."""
    value: list[Any] = []
    for _ in range(220):
        value = [value]
    return value


@tool
async def huge() -> int:
    """Return more digits than can be read again."""
    return int("7" * 3_000) * 10**3_000


@pytest.mark.parametrize("name", ["nested", "huge"])
async def test_result_that_nobody_could_read_again_is_told_as_text(name: str) -> None:
    """A call whose result can be written, but not read, is told to its end (B26)."""
    with tool_system(nested, huge) as system:
        stage = Stage(system, Caller)
        await stage.finish("caller", name)
    assert stage.types()[1:] == ["tool_executing", "tool_completed", "agent_completed"]
    completed = stage.told[-2].data
    assert completed["ok"] is True
    assert isinstance(completed["result"], str)


async def test_call_that_waits_for_a_person_is_given_up_with_its_run() -> None:
    """What an agent left behind runs no tool later, though somebody approves (B26)."""
    called: list[str] = []
    left: list[asyncio.Task[Any]] = []
    asked = asyncio.Event()

    class Wipe:
        """Wipe."""

        name = "wipe"
        destructive = True

        async def execute(self) -> None:
            called.append("wipe")

    class Leaver:
        """Leave a call behind that waits for a person."""

        name = "leaver"

        async def run(self, message: str, run: AgentRun) -> str:
            left.append(asyncio.ensure_future(run.call("wipe")))
            await asked.wait()
            return message

    with tool_system(Wipe, settings=Settings(approve_destructive=True)) as system:
        stage = Stage(system, Leaver)
        ended = asyncio.ensure_future(stage.finish("leaver"))
        await stage.until("agent_thinking")
        (waiting,) = system.dispatcher.running()
        asked.set()
        await ended
        with pytest.raises(asyncio.CancelledError):
            await left[0]
        assert not system.dispatcher.approve(waiting.call_id)
    assert called == []
    assert stage.types()[-1] == "agent_completed"


async def test_call_that_waits_for_room_does_not_begin_after_the_end() -> None:
    """What an agent left behind calls no tool once its run has ended (B30)."""
    called: list[str] = []
    left: list[asyncio.Task[Any]] = []

    @tool
    async def note() -> None:
        """Note that it was called."""
        called.append("note")

    class Leaver:
        """Leave a call behind that waits for room."""

        name = "leaver"

        async def run(self, message: str, run: AgentRun) -> str:
            left.append(asyncio.ensure_future(run.call("note")))
            await asyncio.sleep(0)  # it begins, and waits
            return message

    with tool_system(note) as system:
        stage = Stage(system, Leaver)
        stage.gate = asyncio.Event()
        await stage.finish("leaver")
        stage.gate.set()
        with pytest.raises(RunEndedError):
            await left[0]
    assert called == []


async def test_tool_that_floods_progress_does_not_flood_its_user() -> None:
    """Progress is passed on, but not more often than anybody can read it."""
    with tool_system(talk) as system:
        stage = Stage(system, Caller)
        await stage.finish("caller", "talk")
    assert stage.types()[-1] == "agent_completed"
    assert len(stage.told) < 50


async def test_agent_sees_only_what_its_user_may_call() -> None:
    """Tools of others do not exist for an agent either."""

    class Lister:
        name = "lister"

        async def run(self, run: AgentRun, message: str) -> AgentAnswer:
            wiped = await run.call("admin_wipe")
            code = wiped.error.code if wiped.error else ""
            names = [str(one.name) for one in run.tools()]
            return AgentAnswer(code, [names, run.has_tool("echo"), dict(run.agents())])

    with tool_system(Echo, AdminWipe, scopes=()) as system:
        stage = Stage(system, Lister, Plain)
        await stage.finish("lister")
    assert stage.types() == ["agent_started", "agent_completed"]
    assert stage.last()["result"] == "tool_not_found"
    known = {"plain": "Answer with the message."}
    assert stage.last()["details"] == [["echo"], True, known]


async def test_each_run_has_an_agent_of_its_own() -> None:
    """A new instance is made for each run, for its user, and closed at its end."""
    closed: list[str] = []

    class Mine:
        name = "mine"

        def __init__(self, user: UserContext) -> None:
            self.user = user
            self.said: list[str] = []

        async def run(self, message: str, user: UserContext) -> AgentAnswer:
            self.said.append(message)
            assert user is self.user
            return AgentAnswer(user.run_id, list(self.said))

        async def aclose(self) -> None:
            closed.append(self.user.run_id)

    with tool_system() as system:
        stage = Stage(system, Mine)
        await stage.finish("mine", "one")
        await stage.finish("mine", "two")
    answers = [one.data for one in stage.told if one.type == "agent_completed"]
    assert [one["details"] for one in answers] == [["one"], ["two"]]
    assert closed == ["run-1", "run-1"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def run(self, message: str): ...", "async def"),
        ("async def run(self): ...", "takes no message"),
        ("async def run(self, message: str, n: int): ...", "needs n"),
        ("async def run(self, message: str, c: ToolContext): ...", "take an AgentRun"),
    ],
)
def test_what_cannot_be_asked_is_no_agent(source: str, text: str) -> None:
    """An agent whose run nobody could call is rejected with the remedy."""
    space: dict[str, Any] = {"ToolContext": ToolContext}
    body = f"class Bad:\n    '''Bad.'''\n    name = 'bad'\n    {source}\n"
    exec(body, space)  # noqa: S102 - a class as its author would write it
    with pytest.raises(InvalidToolError, match=text):
        compile_tool(space["Bad"], contract=AGENTS, origin=Origin("acme"))


def test_tool_cannot_take_an_agents_run() -> None:
    """Only agents get one; a tool that asks for it is rejected."""

    class Bad:
        name = "bad"

        def execute(self, run: AgentRun) -> None: ...

    with pytest.raises(InvalidToolError, match="only agents get"):
        compile_tool(Bad)


class Combined:
    """All that is injected leaves the schema to the message."""

    name = tool_name("combined")

    async def run(self, message: str, /, user: UserContext, *, run: AgentRun) -> str:
        return f"{user.user_id} {run.agent} {message} {run.requested_agent}"


async def test_message_may_be_positional_and_the_rest_by_name() -> None:
    """An agent's parameters are filled however its author declares them."""
    with tool_system() as system:
        stage = Stage(system, Combined)
        await stage.finish("combined")
    assert stage.last()["result"] == "test-user combined hello None"


class DeafStage(Stage):
    """Cannot take the end of a run."""

    def emit(self, event: AgentEvent) -> None:
        if event.type == "agent_completed":
            raise RuntimeError
        super().emit(event)


async def test_end_that_cannot_be_told_is_raised_where_it_is_awaited() -> None:
    """Whoever waits for a run does not wait for ever (B30)."""
    with tool_system() as system:
        stage = DeafStage(system, Plain)
        with pytest.raises(RuntimeError):
            await stage.finish("plain")
    assert stage.types() == ["agent_started"]


async def test_run_that_is_given_up_at_once_never_asks_its_agent() -> None:
    """Cancelled before its agent has a turn, a run ends with the reason (B26)."""
    with tool_system(shout) as system:
        stage = Stage(system, Shouter)
        run = stage.run("shouter")
        ended = run.start()
        assert run.start() is ended
        run.cancel("too late")
        async with asyncio.timeout(SOON):
            await ended
    assert stage.types() == ["agent_started", "error"]
    assert stage.last()["code"] == "run_cancelled"


def levels_of(levels: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@tool
async def deep(value: Any = None) -> Any:
    """Return something nested deeper than a reader of JSON goes."""
    return levels_of(230)


class Deep:
    """Call the tool with as deep an argument."""

    name = "deep_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        result = await run.call("deep", {"value": levels_of(230)})
        return str(result.ok)


async def test_what_is_nested_too_deep_to_show_is_still_told() -> None:
    """Arguments are left out, a result is its text, and the run goes on (B29)."""
    with tool_system(deep) as system:
        stage = Stage(system, Deep)
        await stage.finish("deep_agent")
    executing, completed = stage.told[1:3]
    assert executing.data["arguments"] is None
    assert completed.data["result"] == "[" * 230 + "1" + "]" * 230
    assert completed.data["truncated"]
    assert stage.last()["result"] == "True"
