"""Agents that reason with a language model, over HTTP with a server on this machine."""

import asyncio
import gc
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.model_server import ModelServer, Reply, Script, model_server, say, texts
from tests.sample_tools import AdminWipe, Echo, Whoami
from toolkit import (
    AgentAnswer,
    AgentFailedError,
    AgentRun,
    ConfigurationError,
    Settings,
    ToolError,
    Toolkit,
    tool,
)
from toolkit.agent_runs import Run
from toolkit.backend_settings import AgentSettings, ModelSettings, ServerSettings
from toolkit.live_run import LiveRun
from toolkit.llm import make_reasoner, reasoner_from
from toolkit.llm.reasoning import MAX_RESULT_BYTES, MAX_THOUGHT_CHARS, ModelReasoner
from toolkit.session.edge import Edge
from toolkit.session.supervisor import Supervisor
from toolkit.testing import make_user

SOON = 5.0
KEY = "canary-7f3a-key-of-the-provider"
ENDS = ("agent_completed", "error")


class Thinker:
    """Answer with the model."""

    name = "triage_agent"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        return await run.reason("Be brief.")


class Careful:
    """Answer with how the model failed."""

    name = "careful"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        with pytest.raises(AgentFailedError) as caught:
            await run.reason("Be brief.")
        error = caught.value
        linked = [repr(error.__cause__), repr(error.__context__)]
        return AgentAnswer(str(error), {"error": repr(error), "linked": linked})


@tool
def broken() -> None:
    """Refuse to work."""
    text = "the disk is full"
    raise ToolError(text)


@tool
def flood() -> str:
    """Return far more than a model can read."""
    return "é" * MAX_RESULT_BYTES


@tool
async def hang() -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


TOOLS = (AdminWipe, Echo, Whoami, broken, flood, hang)


class Stage:
    """One process of a backend: a model's server, a reasoner and a toolkit."""

    def __init__(
        self, kit: Toolkit, server: ModelServer, reason: ModelReasoner
    ) -> None:
        self.kit, self.server, self.reason = kit, server, reason

    def connect(self, user_id: str = "ann") -> Supervisor:
        return Supervisor(self.kit, make_user(user_id), Edge(reason=self.reason))

    async def ask(
        self, message: str, user_id: str = "ann", agent: str | None = None
    ) -> list[dict[str, Any]]:
        """Run the agent to its end; return all that its user was told."""
        one = self.connect(user_id)
        try:
            one.start_run(agent, message)
            return await told(one)
        finally:
            await one.aclose()


async def told(one: Supervisor) -> list[dict[str, Any]]:
    """Read messages up to the run's end."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(SOON):
        while not messages or messages[-1]["type"] not in ENDS:
            messages.append(json.loads(await one.next_message() or ""))
    return messages


def types(messages: list[dict[str, Any]]) -> list[str]:
    """Return the types of messages, in order."""
    return [one["type"] for one in messages]


@asynccontextmanager
async def staged(
    script: Script, *, max_steps: int = 4, run_timeout: float = SOON
) -> AsyncIterator[Stage]:
    """Set the stage, and clear it."""
    async with model_server(script) as server:
        model = ModelSettings(
            name="openai-chat:scripted",
            base_url=server.url,
            api_key=KEY,
            max_steps=max_steps,
        )
        settings = Settings(
            allow=frozenset(),
            agents=AgentSettings(model=model),
            server=ServerSettings(run_timeout=run_timeout),
        )
        reason = reasoner_from(settings)
        assert reason is not None
        with Toolkit(settings, objects=TOOLS, agents=[Thinker, Careful]) as kit:
            try:
                yield Stage(kit, server, reason)
            finally:
                await reason.aclose()


def in_turn(*replies: Reply) -> Script:
    """Answer by how far the conversation is: the last reply for ever."""

    def script(request: dict[str, Any]) -> Reply:
        steps = len([one for one in request["messages"] if one["role"] == "assistant"])
        return replies[min(steps, len(replies) - 1)]

    return script


async def test_model_calls_a_tool_and_answers_with_the_same_five_events() -> None:
    """Tell the five events, each by what did it, whoever decided on the call."""
    call = ("echo", '{"text": "ahoy"}')
    async with staged(in_turn(say("I shall echo it.", call), say("Done."))) as stage:
        messages = await stage.ask("Say ahoy")
    assert types(messages) == [
        "agent_started",
        "agent_thinking",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    assert messages[2]["data"]["thought"] == "I shall echo it."
    executing, completed = messages[3]["data"], messages[4]["data"]
    assert executing["arguments"] == {"text": "ahoy"}
    assert completed["result"] == "ahoy"
    assert executing["call_id"] == completed["call_id"]
    assert messages[-1]["data"]["result"] == "Done."
    assert messages[-1]["data"]["details"] == {
        "model": "openai-chat:scripted",
        "steps": 2,
        "tool_calls": 1,
        "tokens": {"input": 22, "output": 14},
    }
    first, second = stage.server.requests
    assert "Be brief." in json.dumps(first["messages"])
    assert texts(first, "user") == ["Say ahoy"]
    assert texts(second, "tool") == ['"ahoy"']
    assert set(stage.server.keys) == {f"Bearer {KEY}"}


async def test_model_is_offered_what_its_user_sees_and_no_more() -> None:
    """Never offer a hidden tool, nor call one whose name the model guesses."""
    script = in_turn(say(None, ("admin_wipe", "{}")), say("No such tool."))
    async with staged(script) as stage:
        messages = await stage.ask("Wipe it")
        with stage.kit.user(make_user()) as user:
            names = {str(one.name) for one in user.definitions()}
    first, second = stage.server.requests
    offered = {one["function"]["name"]: one["function"] for one in first["tools"]}
    assert set(offered) == names
    assert {"echo", "whoami"} <= names
    assert "admin_wipe" not in names
    assert offered["echo"]["parameters"]["required"] == ["text"]
    assert offered["echo"]["description"] == "Say it again."
    assert "Unknown tool name" in texts(second, "tool")[0]
    assert types(messages)[2:] == ["agent_completed"]


async def test_failed_tool_is_told_to_the_model_with_its_code() -> None:
    """Let the model read the code and the text of a failure, and go on."""
    async with staged(in_turn(say(None, ("broken", "{}")), say("Sorry."))) as stage:
        messages = await stage.ask("Do it")
    read = json.loads(texts(stage.server.requests[1], "tool")[0])
    assert read == {"error": "tool_error", "message": "the disk is full"}
    assert messages[-2]["data"]["ok"] is False
    assert messages[-1]["data"]["result"] == "Sorry."


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"txt": 1}', "invalid_arguments"),
        ('{"text": ', "Invalid JSON"),
        ("[1]", "should be an object"),
    ],
    ids=["wrong name", "no JSON", "no object"],
)
async def test_bad_arguments_are_told_to_the_model(arguments: str, read: str) -> None:
    """Run no tool with arguments that do not fit; the model may try again."""
    script = in_turn(say(None, ("echo", arguments)), say("I see."))
    async with staged(script) as stage:
        messages = await stage.ask("Try")
    assert types(messages)[2:] == ["agent_completed"]
    assert read in texts(stage.server.requests[1], "tool")[0]


async def test_long_results_and_thoughts_are_cut() -> None:
    """Give the model a result's beginning only, as JSON, and the user a thought's."""
    long = "x" * (MAX_THOUGHT_CHARS + 1)
    async with staged(in_turn(say(long, ("flood", "{}")), say("Much."))) as stage:
        messages = await stage.ask("Flood")
    read = texts(stage.server.requests[1], "tool")[0]
    assert json.loads(read)["truncated"] is True
    assert json.loads(read)["beginning"].startswith('"éé')
    assert len(read.encode()) < MAX_RESULT_BYTES + 100
    assert messages[2]["data"]["thought"] == long[:-1]


async def test_endless_calls_end_at_the_limit_of_steps() -> None:
    """Give up a model that comes to no answer, and say which setting decides."""
    async with staged(lambda _: say(None, ("echo", '{"text": "x"}'))) as stage:
        messages = await stage.ask("Go on")
    assert len(stage.server.requests) == 4
    assert types(messages).count("tool_completed") == 4
    assert messages[-1]["code"] == "agent_failed"
    assert "no answer within 4 steps" in messages[-1]["message"]
    assert "agents.model.max_steps" in messages[-1]["message"]


async def test_calls_without_number_in_one_step_are_not_begun() -> None:
    """Refuse a step that wants more calls than all steps may make."""
    calls = [("echo", '{"text": "x"}')] * 33
    async with staged(lambda _: say(None, *calls)) as stage:
        messages = await stage.ask("Go on")
    assert types(messages)[2:] == ["error"]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(401, f'{{"error": "bad key {KEY}"}}'.encode()), "refuses the API key"),
        (Reply(403, b"{}"), "refuses the API key"),
        (Reply(404, b"{}"), "has no such model"),
        (Reply(400, f'{{"error": "odd {KEY}"}}'.encode()), "refuses what it was asked"),
        (Reply(429, f'{{"error": "{KEY}"}}'.encode()), "takes no more requests now"),
        (Reply(500, KEY.encode()), "has a fault"),
        (Reply(200, f"garbage {KEY}".encode()), "cannot be used"),
        (Reply(200, f'{{"choices": "{KEY}"}}'.encode()), "cannot be used"),
        (say(""), "no answer within 4 steps"),
    ],
    ids=["401", "403", "404", "400", "429", "500", "garbage", "odd JSON", "no answer"],
)
async def test_what_goes_wrong_with_the_server_ends_the_run_without_the_key(
    reply: Reply, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """End in one error that says what to do; the key is in nothing of it."""
    with caplog.at_level(logging.DEBUG):
        async with staged(lambda _: reply) as stage:
            messages = await stage.ask("Hello")
            careful = await stage.ask("Hello", agent="careful")
            shown = repr(vars(stage.reason)["_agent"]) + repr(stage.reason)
    assert types(messages) == ["agent_started", "agent_thinking", "error"]
    assert messages[-1]["code"] == "agent_failed"
    assert text in messages[-1]["message"]
    assert text in careful[-1]["data"]["details"]["error"]
    assert careful[-1]["data"]["details"]["linked"] == ["None", "None"]
    assert KEY not in json.dumps(messages + careful) + caplog.text + shown
    assert "model openai-chat:scripted failed in run" in caplog.text
    assert reply.status not in (429, 500) or len(stage.server.requests) > 2


@pytest.mark.parametrize("message", ["tool", "model"])
async def test_users_at_once_are_never_mixed(message: str) -> None:
    """Call each user's own tools, and send each conversation its own history only."""

    def script(request: dict[str, Any]) -> Reply:
        said = texts(request, "tool")
        return say(said[0]) if said else say(None, ("whoami", "{}"))

    users = [f"user-{number}" for number in range(8)]
    async with staged(script) as stage:
        for _ in range(2):  # the second time over the same connections
            asked = (stage.ask(f"{message} {user}", user) for user in users)
            for user, messages in zip(users, await asyncio.gather(*asked), strict=True):
                assert json.loads(messages[-1]["data"]["result"]) == [user] * 3
    assert len(stage.server.requests) == 4 * len(users)
    assert stage.server.connections <= len(users)
    for request in stage.server.requests:
        said = " ".join(texts(request, "user") + texts(request, "tool"))
        assert sum(f"{user}" in said for user in users) == 1


async def test_nothing_of_a_run_is_kept() -> None:
    """Leave no object of a run behind, as long as the reasoner itself lives."""
    before = live_runs()  # other tests' errors may keep some
    script = in_turn(say(None, ("echo", '{"text": "x"}')), say("Done."))
    async with staged(script) as stage:
        await stage.ask("Hello")
        after = live_runs()
    assert after <= before


def live_runs() -> int:
    """Count the objects of runs that are alive."""
    gc.collect()
    return sum(type(one) in (LiveRun, Run) for one in gc.get_objects())


async def test_cancelling_a_run_gives_up_its_request() -> None:
    """Hang up on the model's server as soon as the user gives up."""
    async with staged(lambda _: Reply(0, b"")) as stage:
        one = stage.connect()
        one.start_run(None, "Hello")
        async with asyncio.timeout(SOON):
            await stage.server.asked.wait()
            assert one.cancel() == 1
            messages = await told(one)
            await stage.server.left.wait()
        await one.aclose()
    assert messages[-1]["code"] == "run_cancelled"


async def test_model_that_hangs_ends_with_the_run() -> None:
    """Wait no longer for a model than the run may take, and hang up."""
    async with staged(lambda _: Reply(0, b""), run_timeout=0.2) as stage:
        messages = await stage.ask("Hello")
        async with asyncio.timeout(SOON):
            await stage.server.left.wait()
    assert messages[-1]["code"] == "agent_timeout"
    assert len(stage.server.requests) == 1


async def test_tool_that_hangs_is_given_up_with_the_run() -> None:
    """Cancel a tool that the model has called when its user gives up."""
    async with staged(lambda _: say(None, ("hang", "{}"))) as stage:
        one = stage.connect()
        one.start_run(None, "Hello")
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(SOON):
            while "tool_executing" not in types(messages):
                messages.append(json.loads(await one.next_message() or ""))
            one.cancel()
            messages += await told(one)
        await one.aclose()
    assert types(messages)[-2:] == ["tool_completed", "error"]
    assert messages[-2]["data"]["error_code"] == "cancelled"


async def test_server_that_is_not_there_ends_the_run() -> None:
    """Say which setting to look at when nobody listens at the address."""
    async with staged(lambda _: say("Hello.")) as stage:
        await stage.ask("Hello")
        stage.server.close()
        await stage.reason.aclose()
        messages = await stage.ask("Hello")
    assert "cannot be reached" in messages[-1]["message"]
    assert "agents.model.base_url" in messages[-1]["message"]


async def test_closed_reasoner_opens_itself_again() -> None:
    """Close all connections to the server, and open one for the next answer."""
    async with staged(lambda _: say("Hello.")) as stage:
        await stage.ask("Hello")
        await stage.reason.aclose()
        await stage.reason.aclose()
        async with asyncio.timeout(SOON):
            await stage.server.left.wait()
        messages = await stage.ask("Hello")
    assert messages[-1]["data"]["result"] == "Hello."
    assert stage.server.connections == 2


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"name": "scripted"}, "name a provider and its model"),
        ({"name": "nobody:scripted"}, "name a provider and its model"),
        ({"name": "openai:gpt-5"}, "set agents.model.api_key"),
        ({"name": "anthropic:c", "api_key": KEY}, "install pydantic-ai-slim"),
        (
            {"name": "deepseek:x", "api_key": KEY, "base_url": "http://localhost"},
            "takes no base_url and api_key",
        ),
    ],
    ids=lambda model: model.get("name") if isinstance(model, dict) else "",
)
def test_models_that_cannot_be_used_are_refused_at_once(
    model: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say what to do before the first request, without the key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=text) as caught:
        make_reasoner(ModelSettings(**model))
    assert caught.value.setting == "agents.model.name"
    assert KEY not in str(caught.value)


def test_key_of_the_environment_is_known_and_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Take the provider's own variable, as pydantic-ai does."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    reason = make_reasoner(ModelSettings(name="openai:gpt-5"))
    assert KEY not in repr(reason)
    assert KEY in vars(reason)["_keys"]


def test_without_a_model_there_is_no_reasoner() -> None:
    """Leave agents to their own rules where no model is configured."""
    assert reasoner_from(Settings()) is None


def test_without_the_extra_the_remedy_is_told() -> None:
    """Import the module without pydantic-ai, and say what to install when asked."""
    program = """
import sys
sys.modules["pydantic_ai"] = None
from toolkit import MissingExtraError
from toolkit.backend_settings import ModelSettings
from toolkit.llm import make_reasoner
try:
    make_reasoner(ModelSettings(name="openai:gpt-5"))
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "pip install 'toolkit-core[llm]'" in done.stdout
