"""Fixtures: an agent is asked as a user asks it, in a real run over the real tools."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from toolkit import AgentAnswer, AgentRun
from toolkit.testing import ToldRun, ask_agent, make_user, tool_system
from toolkit_text.tools import WordCount
from toolkit_triage.agent import TriageAgent

Ask = Callable[..., ToldRun]


class Ledger:
    """Answers questions about cloud costs: AWS and Azure bills, spend, savings."""

    name = "cost_agent"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        await run.think("Reading the bill.")
        return AgentAnswer("You spent 12 EUR.", details={"rows": 3})


class Tables:
    """Answers questions about your tables: rows, columns, sums, averages, filters."""

    name = "table_agent"

    async def run(self, message: str) -> str:
        return f"You asked: {message[:100]}"


class Recipes:
    """Finds recipes for dinner."""

    name = "kitchen"

    async def run(self, message: str) -> str:
        return "Soup."


@pytest.fixture
def ask() -> Ask:
    """Ask `triage_agent` as a user who has three more agents and one tool."""

    def ask_it(
        message: str,
        agents: Iterable[object] = (Ledger, Tables, Recipes),
        tools: Iterable[object] = (WordCount,),
        **how: Any,
    ) -> ToldRun:
        user = make_user("ada", scopes={"costs:read", "data:read"})
        with tool_system(*tools, user=user) as system:
            return asyncio.run(ask_agent(system, message, TriageAgent, *agents, **how))

    return ask_it
