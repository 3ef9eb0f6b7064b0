"""Fixtures: an agent is asked as a user asks it, in a real run over the real tools."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from toolkit import AgentAnswer, AgentRun, UserContext, UserToolSystem
from toolkit.agent_runs import Run
from toolkit.catalog import ListedAgent
from toolkit.compiler import compile_tool
from toolkit.contract import ToolContract
from toolkit.run_events import AgentEvent, RunRequest, RunRules
from toolkit.testing import make_user, tool_system
from toolkit_text.tools import WordCount
from toolkit_triage.agent import TriageAgent

AS_AGENT = ToolContract(method="run", is_for_agents=True)
SECONDS = 30.0


def listed(agent: object) -> ListedAgent:
    """Compile an agent as discovery does."""
    compiled = compile_tool(agent, contract=AS_AGENT)
    return ListedAgent(compiled.name, compiled.origin, compiled)


@dataclass
class Told:
    """A user's system and agents, and all that a run told."""

    system: UserToolSystem
    agents: Mapping[str, ListedAgent]
    events: list[AgentEvent] = field(default_factory=list)

    def emit(self, event: AgentEvent) -> None:
        self.events.append(event)

    async def room(self) -> None:
        await asyncio.sleep(0)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [one.data for one in self.events if one.type == kind]

    @property
    def answer(self) -> str:
        (completed,) = self.of("agent_completed")
        return str(completed["result"])

    @property
    def details(self) -> Any:
        (completed,) = self.of("agent_completed")
        return completed["details"]

    @property
    def thoughts(self) -> list[str]:
        return [str(one["thought"]) for one in self.of("agent_thinking")]

    @property
    def calls(self) -> list[str]:
        return [str(one["tool"]) for one in self.of("tool_completed")]


async def model(run: AgentRun, instructions: str, message: str) -> AgentAnswer:
    """Answer where a language model would."""
    await run.think("A model reasons.")
    return AgentAnswer(f"A model was asked {message!r}.", details=instructions)


async def run_agent(
    told: Told, message: str, name: str, requested: str | None, *, has_model: bool
) -> Told:
    """Run an agent to its end."""
    request = RunRequest(
        run_id="run-1",
        agent=told.agents[name],
        message=message,
        requested_agent=requested,
    )
    rules = RunRules(timeout=SECONDS, show_errors=True)
    await Run(request, told, rules, model if has_model else None).execute()
    return told


def ask_agents(
    message: str,
    agents: Iterable[object],
    tools: Iterable[object],
    user: UserContext,
    *,
    requested: str | None = None,
    has_model: bool = False,
) -> Told:
    """Ask the first of these agents; the user has all of them, and these tools."""
    known = {str(one.name): one for one in map(listed, agents)}
    with tool_system(*tools, user=user) as system:
        told, first = Told(system, known), next(iter(known))
        return asyncio.run(
            run_agent(told, message, first, requested, has_model=has_model)
        )


Ask = Callable[..., Told]


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
    ) -> Told:
        user = make_user("ada", scopes={"costs:read", "data:read"})
        return ask_agents(message, [TriageAgent, *agents], tools, user, **how)

    return ask_it
