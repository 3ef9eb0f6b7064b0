"""The way back, rehearsed on a server that runs, with people connected.

Expected before the change: a package makes trouble, and only a restart takes it out.
Expected now: it is taken out, and put back, while everybody stays connected.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.deployment import PLUGINS, START, Deployment, running
from tests.serving import types
from toolkit.testing import ChatClient

ROOT_USER: Final = "root@example.com"
ANN: Final = "ann@example.com"
KEPT: Final = ",".join(one for one in PLUGINS if one != "toolkit-broken")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Deployment]:
    with running(tmp_path, TOOLKIT_ALLOW=KEPT) as own:
        yield own


def configure(server: Deployment, deny: str) -> None:
    """Write a deny list into the settings of a server that runs."""
    assert server.folder is not None
    text = (
        f'deny = ["{deny}"]\n[server]\nport = 0\n' if deny else "[server]\nport = 0\n"
    )
    (server.folder.parent / "toolkit.toml").write_text(text)


def post(server: Deployment, path: str, email: str = ROOT_USER) -> httpx.Response:
    """Ask for a change, as an operator does with curl."""
    headers = {"authorization": f"Bearer {server.token(email)}"}
    return httpx.post(f"{server.url}{path}", headers=headers, timeout=START)


async def changed(client: ChatClient) -> dict[str, Any]:
    """Return what a connected client is told of another catalog."""
    told = await client.receive()
    assert told["type"] == "tools_changed"
    data: dict[str, Any] = told["data"]
    return data


async def test_package_is_switched_off_and_back_while_users_are_connected(
    server: Deployment,
) -> None:
    """A deny list takes a package out without a restart, a rollback puts it back: who
    is connected is told, asks on, and never loses the connection
    (S192, S195, S196, B37).
    """
    total = server.write_orders(ANN)
    async with await server.connect(ANN) as ann:
        before = await ann.ask("how many orders", "data_agent")
        assert before[-1]["type"] == "agent_completed"

        configure(server, "toolkit-data")
        answer = post(server, "/admin/refresh")
        assert answer.status_code == 200, answer.text
        assert answer.json()["generation"] == 2
        assert not any("query_tables" in one for one in answer.json()["tools"])
        told = await changed(ann)
        assert "query_tables" in told["removed"]
        assert told["generation"] == 2
        without = await ann.ask("total amount of orders", "data_agent")
        assert "tool_executing" not in types(without)
        assert str(total) not in without[-1]["result"]

        answer = post(server, "/admin/rollback")
        assert (answer.status_code, answer.json()["generation"]) == (200, 1)
        assert "query_tables" in (await changed(ann))["added"]
        again = await ann.ask("total amount of orders", "data_agent")
        assert str(total) in again[-1]["result"]
        assert ann.aside == []
    numbers = server.numbers()
    assert numbers["toolkit_catalog_refreshes_total"] == 1.0
    assert numbers["toolkit_catalog_rollbacks_total"] == 1.0
    assert numbers['toolkit_server_connections_total{outcome="ok"}'] == 1.0


async def test_change_that_cannot_be_made_changes_nothing(server: Deployment) -> None:
    """Settings with a slip, and a rollback to nothing, are refused with the remedy;
    everybody works on (S195, B61).
    """
    async with await server.connect(ANN) as ann:
        answer = post(server, "/admin/rollback")
        assert (answer.status_code, answer.json()["code"]) == (
            409,
            "no_earlier_catalog",
        )
        assert server.folder is not None
        (server.folder.parent / "toolkit.toml").write_text("denny = []\n")
        answer = post(server, "/admin/refresh")
        assert (answer.status_code, answer.json()["code"]) == (
            409,
            "bad_configuration",
        )
        assert "deny" in answer.json()["message"]
        heard = await ann.ask("Where do I waste money?", "triage_agent")
        assert heard[-1]["type"] == "agent_completed"
        assert ann.aside == []


@pytest.mark.parametrize("path", ["/admin/refresh", "/admin/rollback"])
def test_nobody_but_administrators_may_change_anything(
    server: Deployment, path: str
) -> None:
    """Without a token it is 401, without the scope 403, and reading is no way in."""
    assert httpx.post(f"{server.url}{path}").status_code == 401
    answer = post(server, path, ANN)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert httpx.get(f"{server.url}{path}").status_code in (404, 405)
    assert server.numbers()["toolkit_catalog_generation"] == 1.0
