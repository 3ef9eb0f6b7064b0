"""Fixtures: an agent is asked as a user asks it, in a real run over the real tools."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from toolkit.testing import ToldRun, ask_agent, make_user, tool_system
from toolkit_data.tools import DescribeTable, ListTables, ProfileTable, QueryTables
from toolkit_data_agent.agent import DataAgent

TOOLS = (ListTables, DescribeTable, ProfileTable, QueryTables)


ORDERS = (
    "id,customer,country,ordered_on,amount\n"
    "1,ann,Italy,2026-01-05,10.50\n"
    "2,bob,France,2026-01-06,20.25\n"
    "3,ann,Italy,2026-02-07,\n"
    "4,cy,United Kingdom,2025-12-31,7.00\n"
)

Ask = Callable[..., ToldRun]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder for the tables of ann."""
    monkeypatch.setenv("TOOLKIT_DATA_ROOT", str(tmp_path / "users"))
    folder = tmp_path / "users" / "ann"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def orders(home: Path) -> Path:
    """Give ann a table."""
    (home / "orders.csv").write_text(ORDERS)
    return home / "orders.csv"


@pytest.fixture
def ask(home: Path) -> Ask:
    """Ask `data_agent` as ann."""

    def ask_it(
        message: str, scopes: Iterable[str] = ("data:read",), **how: Any
    ) -> ToldRun:
        user = make_user("ann", scopes=scopes)
        tools = how.pop("tools", TOOLS)
        with tool_system(*tools, user=user) as system:
            return asyncio.run(ask_agent(system, message, DataAgent, **how))

    return ask_it
