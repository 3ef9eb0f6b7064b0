"""The same over HTTP: runs as server-sent events, tools, report, health, metrics."""

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import (
    FIVE,
    SECRET,
    SOON,
    Running,
    Triage,
    add,
    ask,
    bearer,
    serving,
    settings,
    token,
    types,
    until,
    until_empty,
)
from toolkit import Toolkit, tool
from toolkit.server import create_app
from toolkit.server.app import STATE
from toolkit.server.backend import Backend
from toolkit.session.messages import MESSAGES, MessageType

pytestmark = pytest.mark.e2e  # a whole server over real sockets: seconds

RUNS = "/agents/triage_agent/runs"


def events_of(text: str) -> list[dict[str, Any]]:
    """Read server-sent events; each has the type of its message as its name."""
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        message = json.loads(data.removeprefix("data: "))
        assert name == f"event: {message['type']}"
        MESSAGES[MessageType(message["type"])].model_validate_json(
            data.removeprefix("data: ")
        )
        events.append(message)
    return events


async def test_run_over_http_tells_the_same_events() -> None:
    """A run over HTTP is told as on a websocket, and leaves nothing (B37, S69)."""
    async with serving() as chat:
        async with chat.http("ann") as http:
            answer = await http.post(
                RUNS,
                json={
                    "message": 'add {"left": 1, "right": 2}',
                    "request_id": "mine",
                    "user_id": "bob",
                },
            )
        assert answer.headers["content-type"].startswith("text/event-stream")
        heard = events_of(answer.text)
        assert types(heard) == FIVE
        assert heard[-1]["result"] == "add says 3, to ann"
        assert {one["request_id"] for one in heard} == {"mine"}
        await until_empty(chat)
        assert chat.backend.counts.cleanups == {"complete": 1}


async def test_client_that_hangs_up_cancels_its_run() -> None:
    """Who closes the request has its run given up at once, not at the next event (S50,
    B50).
    """
    started, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def hang() -> str:
        """Wait for ever."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    async with serving(hang) as chat, chat.http("ann") as http:
        async with http.stream("POST", RUNS, json={"message": "hang"}):
            async with asyncio.timeout(SOON):
                await started.wait()
        async with asyncio.timeout(SOON):
            await ended.wait()
        await until_empty(chat)
        assert chat.backend.counts.runs == {"run_cancelled": 1}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[1]", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"{}", 400, "invalid_message"),
        (b'{"message": 7}', 400, "invalid_message"),
        (b'{"message": "' + b"x" * 200_000 + b'"}', 413, "too_big"),
    ],
    ids=["cut", "list", "deep", "no text", "empty", "number", "large"],
)
async def test_body_that_is_no_question_is_refused(
    body: bytes, status: int, code: str
) -> None:
    """A wrong body is the client's fault, and says what is wrong (B10)."""
    async with serving(max_message_bytes=150_000) as chat, chat.http("ann") as http:
        answer = await http.post(RUNS, content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        await until_empty(chat)


async def test_large_body_counts_as_several_messages() -> None:
    """A body costs what a message of its size does (B47)."""
    async with serving(messages_per_minute=3) as chat:
        async with chat.http("ann") as http:
            body = {"message": "add", "more": "x" * 100_000}
            answer = await http.post(RUNS, json=body)
            assert answer.status_code == 429
            assert answer.json()["code"] == "too_many_messages"
        await until_empty(chat)


async def test_run_over_http_needs_a_token() -> None:
    """There is no way in without a token over HTTP either (B60, B64)."""
    async with serving() as chat, chat.http() as http:
        answer = await http.post(RUNS, json={"message": "add"})
        assert answer.status_code == 401
        answer = await http.post(
            f"{RUNS}?token={token('ann')}", json={"message": "add"}
        )
        assert answer.json()["code"] == "token_in_query"
        assert len(chat.backend.connections) == 0


async def test_agent_that_is_not_there_is_answered_by_the_default_one() -> None:
    """A name that no agent has goes to the default agent, also over HTTP."""
    async with serving() as chat, chat.http("ann") as http:
        answer = await http.post(
            "/agents/nobody/runs", json={"message": 'add {"left": 1, "right": 2}'}
        )
        started, *_ = events_of(answer.text)
        assert started["agent"] == "triage_agent"
        assert started["data"]["requested_agent"] == "nobody"


async def test_no_default_agent_is_said_to_be_absent() -> None:
    """Without any agent to answer, the answer is 404 with a code."""
    async with serving(agents=()) as chat, chat.http("ann") as http:
        answer = await http.post(RUNS, json={"message": "x"})
        assert (answer.status_code, answer.json()["code"]) == (404, "agent_not_found")
        assert (await http.get("/health")).json()["status"] == "degraded"


async def test_tools_are_those_of_whoever_asks() -> None:
    """Each user is shown the tools and agents that they have, and no others (S8)."""

    class Secret:
        """Wipe everything."""

        name = "wipe"
        required_scopes = frozenset({"admin"})

        def execute(self) -> str:
            """Do it."""
            return "wiped"

    async with serving(add, Secret) as chat:
        async with chat.http("ann") as http:
            found = (await http.get("/tools")).json()
            assert [one["name"] for one in found["tools"]] == ["add"]
            assert [one["name"] for one in found["agents"]] == ["triage_agent"]
        async with chat.http() as http:
            found = (
                await http.get("/tools", headers=bearer("bob", scopes=["admin"]))
            ).json()
            assert [one["name"] for one in found["tools"]] == ["add", "wipe"]
            assert (await http.get("/tools")).status_code == 401
        await until_empty(chat)


async def test_tools_that_are_not_told_are_no_success() -> None:
    """Who asked too often, or whose token ends just then, gets a refusal, and no error
    in the place of the tools (B23).
    """
    async with serving(messages_per_minute=1) as chat:
        async with chat.http("ann") as http:
            assert (await http.get("/tools")).status_code == 200
            refused = await http.get("/tools")
            assert refused.status_code == 429
            assert refused.json()["code"] == "too_many_messages"
            assert int(refused.headers["retry-after"]) > 0
        await until_empty(chat)


async def test_report_is_for_the_admin_scope() -> None:
    """What discovery found is told to those who may know it (B58)."""
    async with serving() as chat, chat.http() as http:
        assert (await http.get("/report")).status_code == 401
        answer = await http.get("/report", headers=bearer("ann"))
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
        admin = bearer("ann", scopes=["toolkit:admin"])
        found = (await http.get("/report", headers=admin)).json()
        assert found["status"] == "healthy"
        assert "add" in {one["name"] for one in found["findings"]}


async def test_schema_of_the_wire_is_public() -> None:
    """Whoever writes a client can read what is on the wire."""
    async with serving() as chat, chat.http() as http:
        found = (await http.get("/schema")).json()
        assert found["$schema"].startswith("https://json-schema.org/")


async def test_page_loads_nothing_from_elsewhere() -> None:
    """The page for people comes with headers that keep it to itself."""
    async with serving() as chat, chat.http() as http:
        answer = await http.get("/")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
        assert (await http.get("/../app.py")).status_code == 404
    async with serving(page=False) as chat, chat.http() as http:
        assert (await http.get("/")).status_code == 404


async def test_what_is_not_there_is_answered_like_other_refusals() -> None:
    """An unknown path, or a wrong method, has a code and a text in JSON (S192)."""
    for page in (True, False):
        async with serving(page=page) as chat, chat.http() as http:
            absent = await http.get("/no/such/path")
            assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    async with serving(page=False) as chat, chat.http() as http:
        wrong = await http.get("/admin/refresh")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert wrong.json().keys() == {"code", "message"}


# --- health ---------------------------------------------------------------------------


async def test_server_without_tools_is_unhealthy() -> None:
    """No tools is a state that is loud: unhealthy, with since when (B3, B49)."""
    chosen = settings()
    with Toolkit(chosen, agents=[Triage]) as kit:
        app = create_app(kit=kit)
        async with app.router.lifespan_context(app), local(app) as http:
            answer = await http.get("/health")
            assert answer.status_code == 503
            issue, *_ = answer.json()["issues"]
            assert issue["code"] == "no_tools"
            again, *_ = (await http.get("/health")).json()["issues"]
            assert again["since"] == issue["since"]
            assert (await http.get("/health/ready")).status_code == 503
            assert (await http.get("/health/live")).status_code == 200


async def test_health_tells_when_an_issue_began_and_ended() -> None:
    """Each issue is told with when it was first seen, and forgotten when it is over."""
    now = [100.0]
    with Toolkit(settings(), objects=[add], agents=[Triage]) as kit:
        app = create_app(kit=kit)
        backend: Backend = getattr(app.state, STATE)
        backend.health._clock = lambda: now[0]
        assert backend.health.look()["issues"] == [
            {
                "code": "starting",
                "message": "tools are being discovered",
                "since": 100.0,
            }
        ]
        now[0] = 200.0
        assert backend.health.look()["issues"][0]["since"] == 100.0
        async with app.router.lifespan_context(app):
            assert backend.health.look()["issues"] == []
        now[0] = 300.0
        assert backend.health.look()["issues"][0] == {
            "code": "draining",
            "message": "the server is shutting down",
            "since": 300.0,
        }


async def test_server_that_starts_discovers_in_a_thread_and_closes_what_it_made() -> (
    None
):
    """Discovery blocks nobody: the process is alive meanwhile, and ready after it; the
    toolkit is closed at the end (B52, B53).
    """
    app = create_app(settings())
    backend: Backend = getattr(app.state, STATE)
    async with app.router.lifespan_context(app), local(app) as http:
        assert (await http.get("/health/live")).status_code == 200
        assert (await http.get("/health/ready")).status_code == 503
        await until(lambda: backend.kit is not None)
        kit = backend.kit
        assert kit is not None
        assert not kit.factory.is_closed
    assert kit.factory.is_closed


async def test_discovery_that_fails_is_told_and_nobody_let_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When discovery fails the server says so and lets nobody in (B12)."""
    broken = settings()
    object.__setattr__(broken, "trust", "locked")
    object.__setattr__(broken, "lock_file", "/nowhere/toolkit.lock")
    app = create_app(broken)
    async with app.router.lifespan_context(app), local(app) as http:
        backend: Backend = getattr(app.state, STATE)
        await until(lambda: backend.start_error is not None)
        answer = await http.get("/health")
        assert answer.status_code == 503
        assert answer.json()["issues"][0]["code"] == "start_failed"
        refused = await http.get("/tools", headers=bearer("ann"))
        assert refused.status_code == 503
    assert "discovery failed" in caplog.text


def local(app: Any) -> httpx.AsyncClient:
    """Return a client that asks an application in this process."""
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


# --- metrics --------------------------------------------------------------------------


async def numbers(chat: Running) -> dict[str, float]:
    """Read the metrics; labels are part of the name."""
    async with chat.http() as http:
        text = (await http.get("/metrics")).text
    return {
        ".".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_tell_how_well_connections_and_runs_went() -> None:
    """Connections, answers, users at once and registry errors are exported as rates,
    from what really happened (S62, S128, S143-S146, S196).
    """
    async with serving() as chat:
        assert (await numbers(chat))["toolkit_connection_success_rate_percent"] != 100
        async with chat.connect("ann") as client, chat.connect("bob") as other:
            await asyncio.gather(
                *(ask(one, 'add {"left": 1, "right": 2}') for one in (client, other))
            )
        async with chat.http() as http:
            await http.post(RUNS, json={"message": "x"}, headers={})
        await until_empty(chat)
        found = await numbers(chat)
        assert found["toolkit_server_connections_total.ok"] == 2
        assert found["toolkit_server_connections_total.missing"] == 1
        assert found["toolkit_server_runs_total.ok"] == 2
        assert found["toolkit_server_cleanups_total.complete"] == 2
        assert found["toolkit_connection_success_rate_percent"] == 100
        assert found["toolkit_response_completion_rate_percent"] == 100
        assert found["toolkit_registry_errors_per_1000_requests"] == 0
        assert found["websocket_registry_cleanup_success_rate"] == 100
        assert found["websocket_modelmetaclass_errors"] == 0
        assert found["toolkit_open_systems"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.7"},
        {"x-forwarded-host": "chat.example.com"},
        {"host": "attacker.example.com"},
    ],
    ids=["proxied", "forwarded", "named", "rebound"],
)
async def test_metrics_are_for_this_machine_or_the_admin_scope(
    headers: dict[str, str],
) -> None:
    """Metrics are open to this machine itself; others need the admin scope (B58)."""
    async with serving() as chat, chat.http() as http:
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.get("/metrics", headers=headers)).status_code == 401
        admin = bearer("ann", scopes=["toolkit:admin"]) | headers
        assert (await http.get("/metrics", headers=admin)).status_code == 200


async def test_logs_tell_the_connection_and_never_a_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No part of a token and no query is in anything that is logged (B62)."""
    caplog.set_level(logging.INFO)
    secret = token("ann")
    async with serving() as chat:
        async with chat.connect(subprotocols=["toolkit.v1", f"bearer.{secret}"]) as one:
            await ask(one, 'add {"left": 1, "right": 2}')
        async with chat.http() as http:
            await http.get(f"/tools?token={secret}")
    assert "a connection is open" in caplog.text
    told = [one for one in caplog.records if one.name.startswith("toolkit")]
    assert secret.rpartition(".")[2] not in " ".join(one.getMessage() for one in told)
    assert SECRET not in caplog.text
