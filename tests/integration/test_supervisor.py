"""One connection and its owner: what it may ask, what it is told, how it ends."""

import asyncio
import gc
import json
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic, time
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from tests.sample_tools import AdminWipe, Echo, Tally, shout
from toolkit import (
    AgentRun,
    Settings,
    Supervisor,
    ToolContext,
    Toolkit,
    UserContext,
    create_websocket_scoped_supervisor,
    supervisor_factory,
    tool,
)
from toolkit.backend_settings import AgentSettings, ServerSettings
from toolkit.errors import ConfigurationError, InvalidUserContextError, RegistryError
from toolkit.session.edge import MESSAGE_BYTES, Edge, Renewal
from toolkit.session.published import json_schema

SOON = 5.0
VALID = Draft202012Validator(json_schema())
ALICE = UserContext(user_id="alice", scopes=frozenset({"admin:wipe"}))


class Guide:
    """Call the tool that the message names, as its user."""

    name = "guide"

    async def run(self, message: str, run: AgentRun) -> str:
        name, _, arguments = message.partition(" ")
        await run.think(f"I call {name}")
        result = await run.call(name, arguments or "{}")
        return result.value_json() if result.ok else str(result.error)


class Stuck:
    """Never answer."""

    name = "stuck"

    async def run(self, message: str, run: AgentRun) -> str:
        await run.think("I wait")
        await asyncio.get_running_loop().create_future()
        return ""


class Admins:
    """Only for holders of a scope."""

    name = "admins"
    required_scopes = frozenset({"admin:wipe"})

    async def run(self, message: str) -> str:
        return "yes"


@tool
async def hang(context: ToolContext) -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


@tool(destructive=True)
async def erase() -> str:
    """Destroy something."""
    return "erased"


class Model(BaseModel):
    """A schema that somebody offers as a tool."""

    name: str = "model"


TOOLS = (Echo, Tally, AdminWipe, shout, hang, erase, Model)
AGENTS = (Guide, Stuck, Admins)


def settings(**facts: Any) -> Settings:
    """Return settings under which nothing that is installed is found."""
    facts.setdefault("agents", AgentSettings(default_agent="guide"))
    return Settings(allow=frozenset(), **facts)


@pytest.fixture
def kit() -> Iterator[Toolkit]:
    """A toolkit over the tools and agents above, and no others."""
    with Toolkit(settings(), objects=TOOLS, agents=AGENTS) as made:
        yield made


@asynccontextmanager
async def connected(
    kit: Toolkit, user: UserContext = ALICE, **edge: Any
) -> AsyncIterator["Client"]:
    """Own a connection as a server does, and close it at the end."""
    owner = supervisor_factory.get_websocket_scoped_supervisor(
        user, kit=kit, edge=Edge(**edge)
    )
    try:
        yield Client(owner)
    finally:
        await owner.aclose()


class Client:
    """Speaks to a supervisor as a client does; holds each answer against the schema."""

    def __init__(self, owner: Supervisor) -> None:
        self.owner = owner
        self.got: list[dict[str, Any]] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self.owner.receive(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(SOON):
            text = await self.owner.next_message()
        assert text is not None, "the connection has ended"
        message: dict[str, Any] = json.loads(text)
        VALID.validate(message)
        self.got.append(message)
        assert message["sequence"] == len(self.got)
        return message

    async def until(self, *kinds: str) -> dict[str, Any]:
        while (message := await self.next())["type"] not in kinds:
            continue
        return message

    async def ask(self, message: str, agent: str = "guide") -> dict[str, Any]:
        await self.say("agent_request", agent=agent, message=message)
        return await self.until("agent_completed", "error")

    async def drained(self) -> list[dict[str, Any]]:
        """Read to the end of the connection."""
        found = []
        async with asyncio.timeout(SOON):
            while (text := await self.owner.next_message()) is not None:
                found.append(json.loads(text))
        return found

    def types(self) -> list[str]:
        return [one["type"] for one in self.got]


# --- what the first users asked for ------------------------------------------------


def test_supervisor_is_made_for_a_user_id(kit: Toolkit) -> None:
    """Making one returns it ready, with a registry of its own (S45, S93, S207)."""
    made = create_websocket_scoped_supervisor(user_id="alice", kit=kit)
    assert isinstance(made, Supervisor)
    assert made.get_tool_registry_health()["status"] == "healthy"
    made.close()
    assert made.is_closed


def test_health_of_a_registry_is_looked_up(kit: Toolkit) -> None:
    """It is a dict, and no schema is among the tools (S48, S94, S95, S211)."""
    made = create_websocket_scoped_supervisor(user_id="alice", kit=kit)
    health = made.get_tool_registry_health()
    assert isinstance(health, dict)
    assert health["has_basemodel_tools"] is False
    assert health["tools"] == 5  # without the schema, and without what needs a scope
    assert health["registries_of_user"] == 1
    made.close()
    assert made.get_tool_registry_health()["status"] == "closed"


def test_schema_among_the_tools_would_be_seen(kit: Toolkit) -> None:
    """The flag is no constant: a model that got in unlawfully turns it on (B49)."""
    made = create_websocket_scoped_supervisor(user_id="alice", kit=kit)
    (echo,) = [one for one in kit.catalog.view if one.name == "echo"]
    object.__setattr__(echo.tool, "target", Model)
    health = made.get_tool_registry_health()
    made.close()
    assert health["has_basemodel_tools"] is True
    assert health["status"] == "unhealthy"


def test_three_connections_have_three_registries(kit: Toolkit) -> None:
    """Each has its own supervisor and registry id (S47, S49, S96, S97)."""
    made = [create_websocket_scoped_supervisor("alice", kit=kit) for _ in range(3)]
    assert len({id(one) for one in made}) == 3
    assert len({one.get_tool_registry_id() for one in made}) == 3
    assert kit.factory.registry_count("alice") == 3
    for one in made:
        one.close()
    assert kit.factory.registry_count("alice") == 0


def test_making_one_takes_no_time_to_speak_of(kit: Toolkit) -> None:
    """A thousand are made within the time that one may take (S46, S172)."""
    started = monotonic()
    made = [create_websocket_scoped_supervisor(f"u{n}", kit=kit) for n in range(1000)]
    assert monotonic() - started < 10.0
    for one in made:
        one.close()


def test_supervisor_without_a_toolkit_owns_one() -> None:
    """It discovers what is installed, and closes that with itself (S93, B46)."""
    made = create_websocket_scoped_supervisor("alice", settings=settings())
    kit = made._kit
    assert not kit.factory.is_closed
    made.close()
    assert kit.factory.is_closed


def test_toolkit_that_was_handed_in_stays_open(kit: Toolkit) -> None:
    """A supervisor closes only what it made (B46)."""
    create_websocket_scoped_supervisor("alice", kit=kit).close()
    assert not kit.factory.is_closed


def test_placeholder_is_no_user(kit: Toolkit) -> None:
    """An id that somebody forgot to fill in is refused, and leaves nothing."""
    with pytest.raises(InvalidUserContextError):
        create_websocket_scoped_supervisor("user_id", kit=kit)
    assert kit.factory.statistics()["open_systems"] == 0


# --- a conversation -----------------------------------------------------------------


async def test_request_is_answered_with_the_five_events(kit: Toolkit) -> None:
    """Each is told by what did it, and belongs to the one run (S54, S60, S65, S69)."""
    async with connected(kit) as client:
        answer = await client.ask('shout {"text": "hi"}')
    assert client.types() == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]
    assert answer["result"] == answer["data"]["result"] == '"HI"'
    assert len({one["run_id"] for one in client.got}) == 1
    executing, completed = client.got[2:4]
    assert executing["call_id"] == completed["call_id"]
    assert completed["data"]["result"] == "HI"


async def test_user_id_in_the_body_is_ignored(kit: Toolkit) -> None:
    """Who asks is who the token says, whatever a message claims (B33, B65)."""

    @tool
    async def who(user: UserContext) -> str:
        """Say who asks."""
        return user.user_id

    with Toolkit(settings(), objects=[who], agents=AGENTS) as other:
        async with connected(other) as client:
            await client.say(
                "agent_request", agent="guide", message="who", user_id="bob"
            )
            answer = await client.until("agent_completed")
    assert answer["result"] == '"alice"'


async def test_unknown_agent_goes_to_the_default_one(kit: Toolkit) -> None:
    """It answers, and is told what was asked for."""
    async with connected(kit) as client:
        await client.ask("shout", agent="no_such_agent")
    assert client.got[0]["agent"] == "guide"
    assert client.got[0]["data"]["requested_agent"] == "no_such_agent"


async def test_agent_that_needs_a_scope_does_not_exist_for_others(kit: Toolkit) -> None:
    """It is not listed, and asking it is asking for what is not there."""
    bob = UserContext(user_id="bob")
    async with connected(kit, bob) as client:
        await client.say("tool_introspection_request")
        state = await client.until("tool_registry_state")
        assert [one["name"] for one in state["data"]["agents"]] == ["guide", "stuck"]
        await client.ask("x", agent="admins")
        assert client.got[1]["data"]["requested_agent"] == "admins"
    async with connected(kit) as client:
        assert (await client.ask("x", agent="admins"))["result"] == "yes"


async def test_without_any_agent_the_refusal_says_what_to_install() -> None:
    """A request that nobody can answer is refused, and is no run."""
    with Toolkit(Settings(allow=frozenset()), objects=TOOLS) as kit:
        async with connected(kit) as client:
            await client.say("agent_request", message="x", request_id="r1")
            refused = await client.next()
    assert refused["code"] == "agent_not_found"
    assert refused["run_id"] is None
    assert refused["request_id"] == "r1"


async def test_what_is_there_and_what_is_not_is_told(kit: Toolkit) -> None:
    """Tools come with schemas; why others are absent only with the scope for it."""
    plain = UserContext(user_id="bob")
    async with connected(kit, plain) as client:
        await client.say("tool_introspection_request", request_id="r1")
        state = await client.next()
    names = [one["name"] for one in state["data"]["tools"]]
    assert names == ["echo", "erase", "hang", "shout", "tally"]
    assert state["data"]["absent"] == []
    assert state["request_id"] == "r1"
    curious = UserContext(user_id="bob", scopes=frozenset({"toolkit:explain"}))
    async with connected(kit, curious) as client:
        await client.say("tool_introspection_request")
        state = await client.next()
    absent = {one["name"]: one["reason"] for one in state["data"]["absent"]}
    assert absent["admin_wipe"] == "it needs the scope admin:wipe"
    assert "pydantic_model" in absent.values()


async def test_ping_is_answered_while_a_run_is_under_way(kit: Toolkit) -> None:
    """A connection stays alive whatever its agents do."""
    async with connected(kit) as client:
        await client.say("agent_request", agent="stuck", message="x")
        await client.until("agent_thinking")
        await client.say("ping", nonce="n1")
        assert (await client.until("pong"))["data"]["nonce"] == "n1"


async def test_frame_that_is_no_message_is_answered(kit: Toolkit) -> None:
    """Unknown types and broken JSON end nothing."""
    async with connected(kit) as client:
        await client.owner.receive("{")
        await client.say("nonsense")
        codes = [(await client.next())["code"] for _ in range(2)]
        assert codes == ["invalid_json", "unknown_type"]
        assert (await client.ask('shout {"text": "hi"}'))["result"] == '"HI"'


async def test_frame_that_breaks_the_protocol_ends_the_connection(kit: Toolkit) -> None:
    """A binary frame is answered, then the connection ends with its code."""
    async with connected(kit) as client:
        await client.owner.receive(b"\x00\x01")
        (told,) = await client.drained()
        assert told["data"]["fatal"] is True
        assert client.owner.close_code == 1003
        await client.say("ping")  # too late, and no error here


# --- several at once ----------------------------------------------------------------


async def test_users_side_by_side_share_nothing(kit: Toolkit) -> None:
    """Their runs interleave; each is told its own, and has its own state (S8, S67)."""
    async with connected(kit) as one, connected(kit, UserContext(user_id="bob")) as two:
        for _ in range(3):
            await asyncio.gather(one.ask("tally"), two.ask("tally"))
        answers = [
            [m["result"] for m in client.got if m["type"] == "agent_completed"]
            for client in (one, two)
        ]
        assert answers == [["1", "2", "3"]] * 2
        runs = [{m["run_id"] for m in client.got} for client in (one, two)]
        assert not runs[0] & runs[1]
        assert kit.factory.statistics()["registry_count_per_user"] == 1


async def test_requests_at_once_on_one_connection_do_not_race(kit: Toolkit) -> None:
    """Runs share the user's registry, and every one ends (S56, S57, S173)."""
    async with connected(kit) as client:
        for number in range(4):
            await client.say(
                "agent_request", agent="guide", message="tally", request_id=f"r{number}"
            )
        ends = [await client.until("agent_completed", "error") for _ in range(4)]
    assert sorted(one.get("result", "") for one in ends) == ["1", "2", "3", "4"]
    assert sorted(one["request_id"] for one in ends) == ["r0", "r1", "r2", "r3"]


async def test_more_runs_than_allowed_are_refused(kit: Toolkit) -> None:
    """The newcomer waits; nobody under way is given up for it (B44)."""
    async with connected(kit) as client:
        for _ in range(4):
            await client.say("agent_request", agent="stuck", message="x")
        await client.say("agent_request", agent="stuck", message="x", request_id="r5")
        refused = await client.until("error")
        assert refused["code"] == "too_many_runs"
        assert refused["request_id"] == "r5"
        assert client.owner.get_tool_registry_health()["runs"] == 4


async def test_too_many_messages_are_refused_with_the_time_to_wait(
    kit: Toolkit,
) -> None:
    """What the edge says of the rate is told, and nothing is done meanwhile."""
    waits = iter([0.0, 7.5, 0.0])
    async with connected(kit, admit=lambda: next(waits)) as client:
        for number in range(3):
            await client.say("ping", nonce=str(number))
        kinds = [await client.next() for _ in range(3)]
    assert [one["type"] for one in kinds] == ["pong", "error", "pong"]
    assert kinds[1]["data"]["retry_after"] == 7.5


async def test_large_message_counts_as_several_and_is_not_read_in_vain(
    kit: Toolkit,
) -> None:
    """What a message costs to read is what it counts as; one too many is not read."""
    asked: list[int] = []

    def admit() -> float:
        asked.append(1)
        return 7.5 if len(asked) > 4 else 0.0

    async with connected(kit, admit=admit) as client:
        await client.say("ping", nonce="small")
        assert (await client.next())["type"] == "pong"
        assert len(asked) == 1
        await client.say("ping", more="x" * 2 * MESSAGE_BYTES)
        assert (await client.next())["type"] == "pong"
        assert len(asked) == 4
        await client.owner.receive("{" * (MESSAGE_BYTES + 1))
        told = await client.next()
    assert (told["code"], told["data"]["retry_after"]) == ("too_many_messages", 7.5)


# --- giving up ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["run_id", "request_id", "all"])
async def test_run_is_given_up_when_its_user_asks(kit: Toolkit, how: str) -> None:
    """By its id, its request's id, or all at once; it ends in an error."""
    async with connected(kit) as client:
        await client.say(
            "agent_request", agent="guide", message="hang", request_id="r1"
        )
        running = await client.until("tool_executing")
        chosen = {"run_id": {"run_id": running["run_id"]}, "all": {}}
        await client.say("cancel", **chosen.get(how, {"request_id": "r1"}))
        ended = await client.until("error")
        assert client.types()[-2] == "tool_completed"
    assert ended["code"] == "run_cancelled"
    assert ended["run_id"] == running["run_id"]


async def test_cancelling_what_is_not_there_is_told(kit: Toolkit) -> None:
    """A run that has ended, or was another's, cannot be given up."""
    async with connected(kit) as client:
        await client.say("cancel", run_id="no-such-run")
        assert (await client.next())["code"] == "run_not_found"
        await client.say("cancel")  # nothing to give up is no fault
        await client.say("ping")
        assert (await client.next())["type"] == "pong"


async def test_one_user_cannot_give_up_anothers_run(kit: Toolkit) -> None:
    """Another user's ids mean nothing on this connection (B33)."""
    async with connected(kit) as one, connected(kit, UserContext(user_id="bob")) as two:
        await one.say("agent_request", agent="stuck", message="x")
        started = await one.until("agent_started")
        await two.say("cancel", run_id=started["run_id"])
        assert (await two.next())["code"] == "run_not_found"
        assert one.owner.is_busy


async def test_person_approves_a_call() -> None:
    """A call that waits is told, answered by its id, and goes on."""
    chosen = settings(approve_destructive=True)
    with Toolkit(chosen, objects=TOOLS, agents=AGENTS) as kit:
        async with connected(kit) as client:
            await client.say("agent_request", agent="guide", message="erase")
            while not (asked := (await client.until("agent_thinking"))["data"]).get(
                "approval"
            ):
                continue
            call_id = asked["approval"]["call_id"]
            await client.say("tool_approval", call_id=call_id, approved=True)
            assert (await client.until("agent_completed"))["result"] == '"erased"'
            await client.say("tool_approval", call_id=call_id, approved=True)
            assert (await client.next())["code"] == "call_not_found"
            await client.say("agent_request", agent="guide", message="erase")
            while not (asked := (await client.until("agent_thinking"))["data"]).get(
                "approval"
            ):
                continue
            call_id = asked["approval"]["call_id"]
            await client.say(
                "tool_approval", call_id=call_id, approved=False, reason="not today"
            )
            assert "not today" in (await client.until("agent_completed"))["result"]


# --- tokens that end ----------------------------------------------------------------


async def test_connection_ends_with_its_token(kit: Toolkit) -> None:
    """The client is warned, and when nothing comes the connection ends (1008)."""
    async with connected(kit, expires_at=time() + 0.05) as client:
        warned = await client.next()
        assert warned["code"] == "token_expires_soon"
        (ended,) = await client.drained()
    assert ended["code"] == "token_expired"
    assert client.owner.close_code == 1008


async def test_new_token_keeps_a_connection_and_changes_its_rights(
    kit: Toolkit,
) -> None:
    """Another token of the same user goes on; rights that it lacks are gone."""

    async def renew(token: str) -> Renewal:
        return Renewal(UserContext(user_id=token), time() + 3600)

    async with connected(kit, expires_at=time() + 3600, renew=renew) as client:
        before = client.owner.get_tool_registry_id()
        await client.say("authenticate", token="bob")
        assert (await client.next())["code"] == "another_user"
        await client.say("authenticate", token="alice")
        changed = await client.until("tools_changed")
        assert changed["data"]["removed"] == ["admin_wipe"]
        await client.until("tool_registry_state")
        assert client.owner.get_tool_registry_id() != before
        answer = await client.ask("admin_wipe")
        assert answer["result"].startswith("no tool named 'admin_wipe'")
    assert kit.factory.statistics()["open_systems"] == 0


async def test_token_that_is_judged_too_late_changes_nothing(kit: Toolkit) -> None:
    """Where the old token ends while the new one is judged, the connection ends with
    that, and is not broken (B30).
    """
    judged = asyncio.Event()

    async def renew(token: str) -> Renewal:
        await judged.wait()
        return Renewal(UserContext("ann"), None)

    edge = Edge(expires_at=time(), renew=renew)
    owner = Supervisor(kit, UserContext("ann"), edge)
    showing = asyncio.ensure_future(
        owner.receive(json.dumps({"type": "authenticate", "token": "another"}))
    )
    async with asyncio.timeout(SOON):
        while await owner.next_message() is not None:
            continue
        judged.set()
        await showing
    assert owner.close_code == 1008
    await owner.aclose()


async def test_bad_token_ends_nothing(kit: Toolkit) -> None:
    """What judges it says why; the connection goes on with the old one."""

    async def renew(token: str) -> Renewal:
        text = "no such token"
        raise RegistryError(text)

    async with connected(kit, renew=renew) as client:
        await client.say("authenticate", token="x")
        assert (await client.next())["message"] == "no such token"
    async with connected(kit) as client:
        await client.say("authenticate", token="x")
        assert (await client.next())["code"] == "not_expected"


# --- tools that change --------------------------------------------------------------


async def test_tools_that_are_switched_off_are_gone_for_who_is_connected() -> None:
    """A refresh is told to each client whose tools it changes; new runs go by it."""
    with Toolkit(settings(), objects=TOOLS, agents=AGENTS) as kit:
        async with connected(kit) as client:
            assert (await client.ask('shout {"text": "a"}'))["result"] == '"A"'
            await kit.arefresh(settings(deny_tools=frozenset({"shout"})))
            changed = await client.until("tools_changed")
            assert changed["data"]["removed"] == ["shout"]
            assert changed["data"]["generation"] == 2
            assert "no tool named" in (await client.ask("shout"))["result"]
            kit.rollback()
            assert (await client.until("tools_changed"))["data"]["added"] == ["shout"]
            assert (await client.ask('shout {"text": "b"}'))["result"] == '"B"'
            assert kit.factory.statistics()["open_systems"] == 1


async def test_run_under_way_keeps_the_tools_it_began_with(kit: Toolkit) -> None:
    """The old system is closed when its last run has ended, not before."""
    async with connected(kit) as client:
        await client.say("agent_request", agent="guide", message="hang")
        running = await client.until("tool_executing")
        await kit.arefresh(settings(deny_tools=frozenset({"hang"})))
        await client.until("tools_changed")
        assert kit.factory.statistics()["open_systems"] == 2
        await client.say("cancel", run_id=running["run_id"])
        await client.until("error")
        async with asyncio.timeout(SOON):
            while kit.factory.statistics()["open_systems"] > 1:
                await asyncio.wait({asyncio.create_task(client.say("ping"))})
                await client.next()


async def test_failed_refresh_changes_nothing_for_anybody(
    kit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection hears nothing of a catalog that was not made."""
    async with connected(kit) as client:
        before = client.owner.get_tool_registry_id()
        with pytest.raises(ConfigurationError), caplog.at_level(logging.CRITICAL):
            await kit.arefresh(settings(trust="locked", lock_file="no-such.lock"))
        await client.say("ping")
        assert (await client.next())["type"] == "pong"
        assert client.owner.get_tool_registry_id() == before


# --- slow clients -------------------------------------------------------------------


class Talker:
    """Think more than anybody reads."""

    name = "talker"

    async def run(self, message: str, run: AgentRun) -> str:
        for number in range(int(message)):
            await run.think(f"{number:0100d}")
        return "done"


async def test_client_that_reads_nothing_is_let_go_and_costs_little() -> None:
    """What waits for it is bounded; then the connection ends with 1013 (B47)."""
    server = ServerSettings(slow_consumer_timeout=0.05, max_outbound_bytes=65_536)
    with Toolkit(settings(server=server), agents=[Talker, Guide]) as kit:
        async with connected(kit) as slow, connected(kit) as quick:
            await slow.say("agent_request", agent="talker", message="100000")
            answered = asyncio.create_task(quick.ask("none"))
            async with asyncio.timeout(SOON):
                while slow.owner.close_code == 1000:
                    assert slow.owner._outbound.waiting_bytes <= 65_536
                    await quick.say("ping")
                    await asyncio.wait({answered}, timeout=0.01)
            assert slow.owner.close_code == 1013
            assert (await answered)["type"] == "agent_completed"


async def test_slow_client_that_reads_in_the_end_misses_nothing() -> None:
    """An agent waits while its user takes nothing; no event is left out (B24)."""
    server = ServerSettings(max_outbound_messages=8)
    with Toolkit(settings(server=server), agents=[Talker, Guide]) as kit:
        async with connected(kit) as client:
            await client.say("agent_request", agent="talker", message="500")
            await client.until("agent_completed")
    assert client.types().count("agent_thinking") == 500


# --- the end ------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["guide", "stuck"])
async def test_disconnect_in_the_middle_of_a_run_leaves_nothing(
    kit: Toolkit, agent: str
) -> None:
    """Within five seconds the run, its call and the registry are gone (S50, S216)."""
    async with connected(kit) as client:
        await client.say("agent_request", agent=agent, message="hang")
        await client.until("tool_executing" if agent == "guide" else "agent_thinking")
        system = client.owner._seats.current.system
        started = monotonic()
        await client.owner.aclose()
        assert monotonic() - started < 5.0
        assert client.owner.is_closed
        assert not client.owner.is_busy
        assert system.is_closed
        assert kit.factory.registry_count("alice") == 0
        left = await client.drained()
        assert left[-1]["code"] == "run_cancelled"
        await client.owner.aclose()  # again: nothing happens


async def test_nothing_lives_on_after_many_connections(kit: Toolkit) -> None:
    """Supervisors, sessions and systems are gone with their connections (S51, B41)."""
    alive: list[weakref.ref[Any]] = []
    for number in range(50):
        async with connected(kit, UserContext(user_id=f"u{number}")) as client:
            await client.ask("tally")
            parts = (client.owner, client.owner._session, client.owner._seats.current)
            alive += [weakref.ref(client.owner)]
            assert parts
        del client, parts
    gc.collect()
    assert [one() for one in alive if one() is not None] == []
    assert kit.factory.statistics()["open_systems"] == 0
    assert len(kit._catalog_sinks) == 0


class Resisting:
    """Go on although it was cancelled."""

    name = "resisting"
    over: asyncio.Event

    async def run(self, message: str, run: AgentRun) -> str:
        type(self).over = asyncio.Event()
        await run.think("never")
        while not self.over.is_set():
            with suppress(asyncio.CancelledError):
                await self.over.wait()
        return "late"


async def test_agent_that_resists_does_not_keep_a_connection_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The end is told and all is closed, though the agent goes on by itself (B30)."""
    with Toolkit(settings(), agents=[Resisting]) as kit:
        async with connected(kit) as client:
            await client.say("agent_request", agent="resisting", message="x")
            await client.until("agent_thinking")
            with caplog.at_level(logging.ERROR):
                await client.owner.aclose()
            assert kit.factory.registry_count("alice") == 0
            Resisting.over.set()
    assert "runs on" in caplog.text


async def test_closing_goes_on_when_who_waits_for_it_is_cancelled(
    kit: Toolkit,
) -> None:
    """A handler that is cancelled in the middle of its clean-up leaves nothing."""
    async with connected(kit) as client:
        await client.say("agent_request", agent="stuck", message="x")
        await client.until("agent_thinking")
        closing = asyncio.create_task(client.owner.aclose())
        await asyncio.wait({closing}, timeout=0)
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing
        await client.owner.aclose()
        assert client.owner.is_closed
        assert kit.factory.registry_count("alice") == 0


async def test_draining_lets_runs_end_and_takes_no_more(kit: Toolkit) -> None:
    """What is under way is answered; a newcomer is told to connect again."""
    async with connected(kit) as client:
        await client.say("agent_request", agent="guide", message="hang")
        running = await client.until("tool_executing")
        draining = asyncio.create_task(client.owner.drain())
        await asyncio.wait({draining}, timeout=0)
        await client.say("agent_request", agent="guide", message="tally")
        assert (await client.until("error"))["code"] == "shutting_down"
        await client.say("cancel", run_id=running["run_id"])
        async with asyncio.timeout(SOON):
            await draining
    assert client.owner.close_code == 1001


async def test_counts_are_told_to_whoever_watches(kit: Toolkit) -> None:
    """Runs and clean-ups are counted where they happen."""
    told: list[tuple[Any, ...]] = []

    class Counts:
        def run_started(self, user_id: str) -> None:
            told.append(("started", user_id))

        def run_ended(self, user_id: str, code: str, seconds: float) -> None:
            told.append(("ended", user_id, code))
            assert 0 <= seconds < SOON

        def cleaned_up(self, seconds: float, *, is_complete: bool) -> None:
            told.append(("cleaned", is_complete))

    async with connected(kit, watcher=Counts()) as client:
        await client.ask("tally")
        await client.say("agent_request", agent="stuck", message="x")
        await client.until("agent_thinking")
    assert told == [
        ("started", "alice"),
        ("ended", "alice", ""),
        ("started", "alice"),
        ("ended", "alice", "run_cancelled"),
        ("cleaned", True),
    ]


async def test_messages_that_wait_are_handed_out_together(kit: Toolkit) -> None:
    """Whoever sends them gets all that wait at once, in order; none at the end."""
    async with connected(kit) as client:
        for nonce in "abc":
            await client.say("ping", nonce=nonce)
        async with asyncio.timeout(SOON):
            texts = await client.owner.next_messages()
        told = [json.loads(text) for text in texts]
        assert [one["data"]["nonce"] for one in told] == ["a", "b", "c"]
        assert [one["sequence"] for one in told] == [1, 2, 3]
        await client.owner.aclose()
        assert await client.owner.next_messages() == []


async def test_connection_that_has_ended_is_freed_at_once(kit: Toolkit) -> None:
    """Nothing of it waits for the collector, so that memory stays level (S50)."""
    gc.collect()
    gc.disable()
    try:
        async with connected(kit) as client:
            answer = await client.ask('shout {"text": "hi"}')
            assert answer["type"] == "agent_completed"
            known = (
                weakref.ref(client.owner),
                weakref.ref(client.owner._seats.current.system),
            )
        del client
        for _ in range(5):  # turns in which tasks tell that they have ended
            await asyncio.sleep(0)
        assert [one() for one in known] == [None, None]
    finally:
        gc.enable()
