"""Asking an agent in a test: a real run, over the real tools of one test user."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.agent import AgentAnswer, AgentRun, Reasoner
from toolkit.agent_runs import Run
from toolkit.catalog import ListedAgent
from toolkit.compiler import compile_tool
from toolkit.contract import ToolContract
from toolkit.run_events import AgentEvent, RunRequest, RunRules
from toolkit.system import UserToolSystem


@dataclass
class ToldRun:
    """One run in a test, and all that it told. Belongs to that test.

    Attributes:
        system: The user's tools.
        agents: The agents that the user may ask, by name.
        events: What was told, in order.
    """

    system: UserToolSystem
    agents: Mapping[str, ListedAgent]
    events: list[AgentEvent] = field(default_factory=list)

    def emit(self, event: AgentEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    async def room(self) -> None:
        """Let everything else go on once."""
        await asyncio.sleep(0)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the data of the events of one kind, in order."""
        return [one.data for one in self.events if one.type == kind]

    @property
    def answer(self) -> str:
        """The text of the answer.

        Raises:
            ValueError: The run ended without one.
        """
        (completed,) = self.of("agent_completed")
        return str(completed["result"])

    @property
    def details(self) -> Any:  # noqa: ANN401 - any JSON value
        """What the answer rests on.

        Raises:
            ValueError: The run ended without an answer.
        """
        (completed,) = self.of("agent_completed")
        return completed["details"]

    @property
    def thoughts(self) -> list[str]:
        """What was thought, in order."""
        return [str(one["thought"]) for one in self.of("agent_thinking")]

    @property
    def calls(self) -> list[str]:
        """The tools that were called, in the order in which they ended."""
        return [str(one["tool"]) for one in self.of("tool_completed")]


async def ask_agent(
    system: UserToolSystem,
    message: str,
    *agents: object,
    requested: str | None = None,
    reason: Reasoner | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109 - the run's own deadline
) -> ToldRun:
    """Ask the first of these agents; the user may ask all of them.

    Args:
        system: The user's tools.
        message: What to answer.
        *agents: Agent classes or instances; judged as discovery does.
        requested: What the user asked for, where there is no agent of that name.
        reason: Answers where a language model would.
        timeout: Seconds for the run.

    Returns:
        The run, which has ended; a failure is in its ``error`` event.

    Raises:
        InvalidToolError: One of `agents` is no agent.
        asyncio.CancelledError: The caller was cancelled.
    """
    known = {str(one.name): one for one in map(_listed, agents)}
    told = ToldRun(system, known)
    request = RunRequest(
        run_id="run-1",
        agent=next(iter(known.values())),
        message=message,
        requested_agent=requested,
    )
    rules = RunRules(timeout=timeout, show_errors=True)
    await Run(request, told, rules, reason).execute()
    return told


async def echo_model(run: AgentRun, instructions: str, message: str) -> AgentAnswer:
    """Answer where a language model would: with what it was asked, and told to be."""
    await run.think("A model reasons.")
    return AgentAnswer(f"A model was asked {message!r}.", details=instructions)


def _listed(agent: object) -> ListedAgent:
    contract = ToolContract(method="run", is_for_agents=True)
    compiled = compile_tool(agent, contract=contract)
    return ListedAgent(compiled.name, compiled.origin, compiled)
