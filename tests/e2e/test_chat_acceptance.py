"""The chat as its first users asked for it: real server, sockets, tokens and plugins.

`tests.deployment` says how to point these at any server that is deployed.
"""

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import pytest

from tests.deployment import (
    TOKEN_COMMAND,
    URL,
    Deployment,
    deployed,
    named,
    running,
)
from tests.serving import FIVE, types
from toolkit import ChatFailedError
from toolkit.testing import ChatClient, connect
from toolkit.tokens import user_id_of_email

pytestmark = [pytest.mark.staging, pytest.mark.authenticated]

PLAN: Final = "Help me optimize my AWS costs for my startup"
ORDERS: Final = "total amount of orders"
THREE: Final = ("ann@example.com", "bob@example.com", "cyd@example.com")
OLD_FAULTS: Final = (
    "already registered",
    "modelmetaclass",
    "WebSocket context validation failed",
)
SCENARIOS: Final = {
    "data_agent": ("What tables do I have?", ORDERS, "how many orders"),
    "cost_optimization_agent": (PLAN, "Show spend without tags"),
    "triage_agent": ("Where do I waste money on AWS?", ORDERS),
}
"""What users come for, by the agent they ask."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployed")) as found:
        yield found


def check_answered(heard: Sequence[Any], *, least: int = 50) -> str:
    """Hold that a run ended with an answer of some length; return it."""
    assert not old_faults(heard), heard
    assert heard[-1]["type"] == "agent_completed", heard[-1]
    answer: str = heard[-1]["data"]["result"]
    assert heard[-1]["result"] == answer
    assert len(answer) > least, answer
    assert set(types(heard)) == set(FIVE)
    begun = [one["call_id"] for one in heard if one["type"] == "tool_executing"]
    ended = [one["call_id"] for one in heard if one["type"] == "tool_completed"]
    assert sorted(begun) == sorted(ended)
    assert len(set(begun)) == len(begun) == heard[-1]["data"]["tool_calls"]
    assert [types(heard)[0], types(heard)[-1]] == [FIVE[0], FIVE[-1]]
    return answer


def old_faults(heard: Sequence[Any]) -> list[str]:
    """Return which words of the old failure are in an error among these messages."""
    told = json.dumps([one for one in heard if one["type"] == "error"])
    return [one for one in OLD_FAULTS if one in told]


def own_only(server: Deployment) -> None:
    """Skip where the test looks into a server that is not its own."""
    if server.folder is None:
        pytest.skip(f"{URL} names a server that is not this test's own")


async def registry_of(client: ChatClient) -> dict[str, Any]:
    """Return what a connection's registry says of itself."""
    await client.send("tool_introspection_request")
    state = await client.receive()
    assert state["type"] == "tool_registry_state"
    data: dict[str, Any] = state["data"]
    return data


# --- one user, three users, the cost question ---------------------------------------


async def test_one_user_asks_the_data_agent_and_is_answered(
    server: Deployment,
) -> None:
    """A token by e-mail, a connection within 30 s, an answer within 20 s that only a
    tool that read this user's table can give, no word of the old failure, a clean end
    (S4, S7, S15, S19, S20, S58-S60, S63-S66, S68, S71-S73, S84, S85, S104-S111, S113,
    S156, S157).
    """
    ann = "ann@example.com"
    total = server.write_orders(ann)
    started = time.monotonic()
    client = await server.connect(ann, timeout=30.0)
    async with client:
        heard = await client.ask(ORDERS, "data_agent", timeout=20.0)
    answer = check_answered(heard)
    assert client.connect_seconds < 10.0
    assert time.monotonic() - started < 8.0 * slack()
    assert await client.close() == 1000
    assert total is None or str(total) in answer


async def test_whose_data_it_is_comes_from_the_token_alone(server: Deployment) -> None:
    """A request that names another user in its body is answered for the bearer of the
    token (S106, S127, S174).
    """
    totals = {one: server.write_orders(one) for one in THREE[:2]}
    own_only(server)
    async with await server.connect(THREE[0]) as client:
        await client.send(
            "agent_request",
            agent="data_agent",
            message=ORDERS,
            user_id=user_id_of_email(THREE[1]),
        )
        heard = [await client.receive()]
        while heard[-1]["type"] not in ("agent_completed", "error"):
            heard.append(await client.receive())
    answer = check_answered(heard)
    assert str(totals[THREE[0]]) in answer
    assert str(totals[THREE[1]]) not in answer


async def test_three_users_at_once_all_succeed(server: Deployment) -> None:
    """Three users by e-mail connect and ask the triage agent at the same time; 3 of 3
    are answered from their own table, over three registries, without a conflict
    (S3, S8, S67, S70, S96, S97, S114-S118, S140, S158, S174, S178, S183, S184).
    """
    totals = {email: server.write_orders(email) for email in THREE}
    everybody_is_in = asyncio.Barrier(len(THREE))

    async def visit(email: str) -> tuple[str, list[Any]]:
        async with await server.connect(email, timeout=15.0) as client:
            registry = await registry_of(client)
            await everybody_is_in.wait()
            heard = await client.ask(ORDERS, "triage_agent", timeout=10.0)
            return registry["registry_id"], heard

    outcomes = await asyncio.gather(*map(visit, THREE), return_exceptions=True)
    failures = [one for one in outcomes if isinstance(one, BaseException)]
    assert failures == []
    done = [one for one in outcomes if not isinstance(one, BaseException)]
    errors = [heard[-1] for _, heard in done if heard[-1]["type"] == "error"]
    assert errors == []
    assert len({registry for registry, _ in done}) == 3
    for email, (_, heard) in zip(THREE, done, strict=True):
        answer = check_answered(heard)
        mine = totals[email]
        assert mine is None or str(mine) in answer
        others = {str(totals[one]) for one in THREE if one != email}
        assert mine is None or not any(one in answer for one in others)


async def test_cost_question_is_answered_with_a_plan_in_figures(
    server: Deployment,
) -> None:
    """The question of a startup gets all five events, no pause longer than 5 s, and a
    plan with amounts; listening ends with the answer
    (S69, S75-S81, S119-S125, S139, S142, S147, S148, S160, S182).
    """
    heard: list[Any] = []
    async with await server.connect("ann@example.com", timeout=20.0) as client:
        events = client.events(PLAN, "cost_optimization_agent", timeout=30.0, pause=5.0)
        async with aclosing(events):
            async for one in events:
                heard.append(one)  # noqa: PERF401 - what came before a failure counts
    answer = check_answered(heard)
    assert len(heard) >= 5
    assert sum(one.isdigit() for one in answer) > 20
    assert any(unit in answer for unit in ("USD", "EUR", "$"))
    assert heard[-1]["data"]["details"] is not None
    assert types(heard).count("agent_completed") == 1
    numbers = [one["sequence"] for one in heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(heard)))


# --- what answers are worth ----------------------------------------------------------


@pytest.mark.parametrize("agent", sorted(SCENARIOS))
async def test_every_scenario_of_every_agent_is_answered(
    server: Deployment, agent: str
) -> None:
    """Each kind of question gets an answer with figures that says what it rests on: all
    of them, not most (S129, S139, S147, S148, S180, S181, S198).
    """
    email = f"{agent.replace('_', '-')}@example.com"
    server.write_orders(email)
    async with await server.connect(email) as client:
        answers = [
            check_answered(await client.ask(one, agent)) for one in SCENARIOS[agent]
        ]
    rated = [any(c.isdigit() for c in one) and "\n" in one for one in answers]
    assert rated == [True] * len(SCENARIOS[agent])


async def test_one_handler_answers_over_websocket_and_http(server: Deployment) -> None:
    """A request is handled by the same code whichever way it comes: the same events in
    the same order, and the same answer (S55, S155, S209).
    """
    email = "ann@example.com"
    server.write_orders(email)
    async with await server.connect(email) as client:
        heard = await client.ask(ORDERS, "data_agent")
    headers = {"authorization": f"Bearer {server.token(email)}"}
    async with httpx.AsyncClient(headers=headers, timeout=20.0) as http:
        answer = await http.post(
            f"{server.url}/agents/data_agent/runs", json={"message": ORDERS}
        )
    assert answer.status_code == 200
    lines = [one for one in answer.text.splitlines() if one.startswith("data: ")]
    told = [json.loads(one.removeprefix("data: ")) for one in lines]
    assert types(told) == types(heard)
    assert told[-1]["result"] == heard[-1]["result"]


async def test_schemas_that_packages_publish_are_no_tools_of_anybody(
    server: Deployment,
) -> None:
    """With a package among the plugins that publishes pydantic models, no connection
    has one for a tool, also once tools are loaded (S95, S101, S102, S171, S177).
    """
    async with await server.connect("ann@example.com") as client:
        check_answered(await client.ask(PLAN, "cost_optimization_agent"))
        registry = await registry_of(client)
    names = [one["name"] for one in registry["tools"]]
    assert registry["health"]["has_basemodel_tools"] is False
    assert registry["health"]["status"] == "healthy"
    assert len(names) > 5
    assert [one for one in names if "model" in one.lower()] == []


# --- again and again, and many at once -----------------------------------------------


async def test_sessions_one_after_another_are_all_alike(server: Deployment) -> None:
    """Five sessions of one user in a row: each connects, is answered, and has a
    registry of its own; those before it are gone, long before five seconds
    (S51, S128, S131, S149, S175, S176, S186, S187, S190).
    """
    seen = set()
    for _ in range(5):
        async with await server.connect("eve@example.com", timeout=10.0) as client:
            registry = await registry_of(client)
            seen.add(registry["registry_id"])
            async with asyncio.timeout(5.0):
                while registry["health"]["registries_of_user"] > 1:
                    registry = await registry_of(client)
            heard = await client.ask("What tables do I have?", "data_agent", timeout=10)
            check_answered(heard, least=20)
        assert await client.close() == 1000
    assert len(seen) == 5


async def test_load_costs_nobody_their_answer(server: Deployment) -> None:
    """Thirty users ask at once, three times each: all are answered, and together they
    get no less done in a second than half of what one user alone does
    (S141, S185, S189, S194).
    """
    users, times = 30, 3

    async def converse(client: ChatClient) -> list[float]:
        seconds = []
        for _ in range(times):
            started = time.monotonic()
            heard = await client.ask("What tables do I have?", "data_agent")
            check_answered(heard, least=20)
            seconds.append(time.monotonic() - started)
        return seconds

    async with AsyncExitStack() as stack:
        opened = [server.connect(f"user-{n}@example.com") for n in range(users)]
        clients = [await stack.enter_async_context(await one) for one in opened]
        await converse(clients[0])  # whatever is imported at a first call is by now
        baseline = median(await converse(clients[0]))
        started = time.monotonic()
        answered = await asyncio.gather(*map(converse, clients))
        seconds = time.monotonic() - started
    assert sum(map(len, answered)) == users * times
    assert max(map(max, answered)) < 8.0 * slack()
    assert seconds < 2.0 * users * times * max(baseline, 0.005)


async def test_rates_are_within_what_the_alerts_allow(server: Deployment) -> None:
    """After users came, asked together and left, the server's own figures are at their
    best: no registry error, no metaclass, every clean-up whole
    (S55, S115, S143-S146, S171-S174, S188, S201).
    """
    own_only(server)

    async def visit(email: str) -> None:
        async with await server.connect(email) as client:
            check_answered(await client.ask(PLAN, "cost_optimization_agent"))

    await asyncio.gather(*map(visit, THREE[:2]))
    numbers = server.numbers()
    assert numbers["toolkit_connection_success_rate_percent"] == 100.0
    assert numbers["toolkit_response_completion_rate_percent"] == 100.0
    assert numbers["toolkit_multiuser_success_rate_percent"] == 100.0
    assert numbers["toolkit_registry_errors_per_1000_requests"] == 0.0
    assert numbers["websocket_registry_cleanup_success_rate"] == 100.0
    assert numbers["websocket_modelmetaclass_errors"] == 0.0


async def test_tool_events_are_backed_by_calls_that_the_server_counted(
    server: Deployment,
) -> None:
    """As many calls ran as events say: nothing is told that was not done (S20, B21)."""
    own_only(server)
    tool = 'toolkit_tool_calls_total{outcome="ok",tool="toolkit-data__list_tables"}'
    before = server.numbers().get(tool, 0.0)
    async with await server.connect("zoe@example.com") as client:
        heard = await client.ask("What tables do I have?", "data_agent")
    assert types(heard).count("tool_completed") == 1
    assert server.numbers()[tool] == before + 1.0


# --- failures, and the tests themselves ----------------------------------------------


async def test_refusal_is_told_in_full_and_at_once(server: Deployment) -> None:
    """Whoever is not let in learns why, in the server's words, long before the nine
    seconds that would mean a blocked server (S61, S83, S86, S112).
    """
    with pytest.raises(ChatFailedError, match="HTTP 401") as failed:
        await connect(server.url, "no.real.token", timeout=10.0)
    assert failed.value.stage == "connect"
    assert not failed.value.is_blocking
    assert not any(one in str(failed.value) for one in OLD_FAULTS)


async def test_any_deployed_server_can_be_asked(server: Deployment) -> None:
    """Two variables point all of this at another server, by its address and a command
    that prints tokens (S192, S200, S213).
    """
    program = "import sys; sys.stdout.write(sys.argv[1] if sys.argv[2] else '')"
    token = server.token("ann@example.com")
    command = shlex.join([sys.executable, "-c", program, token])
    found = named({URL: server.url, TOKEN_COMMAND: command})
    assert found is not None
    assert (found.folder, found.token("ann@example.com")) == (None, token)
    async with await found.connect("ann@example.com") as client:
        heard = await client.ask(PLAN, "cost_optimization_agent")
    check_answered(heard)
    assert named({}) is None


def test_server_of_these_tests_leaves_nothing_behind(tmp_path: Path) -> None:
    """It ends when its tests do: no process, nobody at its address, no file but those
    it was given and its log (S202).
    """
    before = dict(os.environ)
    with running(tmp_path) as own:
        assert httpx.get(f"{own.url}/health/live").status_code == 200
    assert own.process is not None
    assert own.process.returncode is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{own.url}/health/live")
    assert {one.name for one in tmp_path.iterdir()} == {"log", "tables", "toolkit.toml"}
    assert dict(os.environ) == before


def slack() -> float:
    """Return by how much a busy machine may exceed a promise in seconds."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
