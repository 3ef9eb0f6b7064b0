"""Several users at once on one server: each has what is theirs, and nobody else's."""

import asyncio
from typing import Any

from tests.serving import (
    FIVE,
    SOON,
    add,
    ask,
    hear,
    hear_until_end,
    say,
    serving,
    types,
    until_empty,
)
from toolkit import ToolContext, UserContext, tool

OLD_FAILURE = ("already registered", "modelmetaclass", "context validation failed")


class Notebook:
    """Keeps one note for its user."""

    name = "note"

    def __init__(self, user: UserContext) -> None:
        """Start empty."""
        self.owner = user.user_id
        self.notes: list[str] = []

    async def execute(self, text: str) -> str:
        """Keep a note; return all there are."""
        self.notes.append(text)
        return f"{self.owner}: {', '.join(self.notes)}"


async def test_users_who_connect_at_once_each_have_their_own_registry() -> None:
    """Twenty users connect and ask at the same moment: all are answered, each from a
    registry of their own, without any conflict (S3, S7, S8, S13, S47, S49, S55, S67,
    S70, S115-S117, S130, S140, S145, S171-S175, S178, S183, S184, S201, B32-B35).
    """
    async with serving(Notebook) as chat:
        ready = asyncio.Barrier(20)

        async def talk(number: int) -> tuple[str, list[Any]]:
            async with chat.connect(f"user-{number}") as client:
                async with asyncio.timeout(SOON):
                    await ready.wait()
                heard = await ask(
                    client, f'note {{"text": "from {number}"}}', agent="triage_agent"
                )
                assert chat.backend.connections.users == 20
                async with asyncio.timeout(SOON):
                    await ready.wait()
            return f"user-{number}", heard

        told = await asyncio.gather(*map(talk, range(20)))
        for user, heard in told:
            assert types(heard) == FIVE
            number = user.removeprefix("user-")
            said = f"note says {user}: from {number}, to {user}"
            assert heard[-1]["data"]["result"] == said
            assert not any(word in str(heard).lower() for word in OLD_FAILURE)
        calls = [one["call_id"] for _, heard in told for one in heard[2:3]]
        assert len(set(calls)) == 20
        rates = chat.backend.counts.rates()
        assert rates["several_users"] == rates["responses"] == 100.0
        assert rates["registry_errors"] == 0.0


async def test_second_connection_of_a_user_has_a_scope_of_its_own() -> None:
    """Two connections of one user have two registries, and each ends with its own
    connection (S47, S49, S51, B13).
    """
    async with serving(Notebook) as chat:
        async with chat.connect("ann") as first:
            async with chat.connect("ann") as second:
                places = list(chat.backend.connections)
                ids = {one.supervisor.get_tool_registry_id() for one in places}
                assert len(ids) == 2
                await ask(first, 'note {"text": "one"}')
                heard = await ask(second, 'note {"text": "two"}')
                assert heard[-1]["result"] == "note says ann: two, to ann"
            heard = await ask(first, 'note {"text": "three"}')
            assert heard[-1]["result"] == "note says ann: one, three, to ann"
        await until_empty(chat)


async def test_one_users_hanging_tool_holds_up_nobody_else() -> None:
    """While one user's tool hangs, another is answered at once (S83, S84, B53)."""
    started = asyncio.Event()

    @tool
    async def hang() -> str:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    async with serving(hang, add) as chat, chat.connect("ann") as client:
        await say(client, "agent_request", message="hang", request_id="stuck")
        async with asyncio.timeout(SOON):
            await started.wait()
        async with asyncio.timeout(SOON), chat.connect("bob") as other:
            heard = await ask(other, 'add {"left": 1, "right": 2}')
            assert types(heard) == FIVE
        await say(client, "cancel", request_id="stuck")
        heard = await hear_until_end(client)
        assert heard[-1]["code"] == "run_cancelled"


async def test_nobody_can_cancel_the_run_of_another() -> None:
    """A run's id is worth nothing on another's connection (S184, B33, B65)."""
    started = asyncio.Event()
    go_on = asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait until the test says so."""
        started.set()
        await go_on.wait()
        return "done"

    async with (
        serving(wait) as chat,
        chat.connect("ann") as client,
        chat.connect("eve") as eve,
    ):
        await say(client, "agent_request", message="wait", request_id="r1")
        async with asyncio.timeout(SOON):
            await started.wait()
        ann = next(
            one.supervisor
            for one in chat.backend.connections
            if one.supervisor.user_context.user_id == "ann"
        )
        (run_id,) = ann._runs
        for wanted in ({"run_id": run_id}, {"request_id": "r1"}, {}):
            await say(eve, "cancel", **wanted)
        await say(eve, "ping")
        heard = [await hear(eve) for _ in range(3)]
        assert types(heard) == ["error", "error", "pong"]
        go_on.set()
        assert types(await hear_until_end(client)) == FIVE


async def test_events_tell_what_the_tool_really_did() -> None:
    """A tool event's call is the one that the tool saw, and its side effect is there
    (S20, S77-S81, B21, B25).
    """
    seen: list[str] = []

    @tool
    async def record(context: ToolContext, word: str) -> str:
        """Keep a word."""
        seen.append(context.call_id)
        return word.upper()

    async with serving(record) as chat, chat.connect("ann") as client:
        heard = await ask(client, 'record {"word": "hello"}')
        executing, completed = heard[2:4]
        assert [executing["call_id"], completed["call_id"]] == seen * 2
        assert executing["data"]["arguments"] == {"word": "hello"}
        assert completed["data"]["result"] == "HELLO"
        assert completed["ok"] is True
        run_ids = {one["run_id"] for one in heard}
        assert len(run_ids) == 1


async def test_sessions_one_after_the_other_stay_reliable() -> None:
    """Session after session of one user works, each from the beginning (S131, S137,
    S149, S186).
    """
    async with serving(Notebook) as chat:
        for _ in range(10):
            async with chat.connect("ann") as client:
                heard = await ask(client, 'note {"text": "only"}')
                assert heard[-1]["result"] == "note says ann: only, to ann"
        await until_empty(chat)
        assert chat.backend.counts.rates()["cleanups"] == 100.0


async def test_registry_of_a_connection_tells_its_own_state() -> None:
    """A client can ask for its registry: an id, its health, no schema in it (S48, S54,
    S94, S95, S97).
    """
    async with (
        serving() as chat,
        chat.connect("ann") as client,
        chat.connect("bob") as other,
    ):
        states = []
        for one in (client, other):
            await say(one, "tool_introspection_request")
            states.append(await hear(one))
        first, second = (one["data"] for one in states)
        assert first["registry_id"] != second["registry_id"]
        assert first["health"]["has_basemodel_tools"] is False
        assert first["health"]["status"] == "healthy"
        assert [one["name"] for one in first["tools"]] == ["add"]
