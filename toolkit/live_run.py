"""What an agent is given of its run, while it answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from toolkit.agent import AgentAnswer, AgentRun
from toolkit.catalog import ListedAgent
from toolkit.context import UserContext
from toolkit.errors import (
    AgentDepthError,
    AgentNotFoundError,
    ModelNotConfiguredError,
)
from toolkit.results import ToolResult
from toolkit.signature import Arguments
from toolkit.tools import ToolDefinition

if TYPE_CHECKING:
    from toolkit.agent_runs import Run

MAX_ASKS: Final = 4
"""How deep agents may ask each other within one run."""

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {}


class LiveRun(AgentRun):
    """What one agent is given of a run. Lives as long as the agent answers."""

    __slots__ = ("_agent", "_asked_by", "_message", "_run")

    def __init__(
        self, run: "Run", agent: ListedAgent, message: str, asked_by: tuple[str, ...]
    ) -> None:
        """Tie an agent to a run."""
        self._run = run
        self._agent = str(agent.name)
        self._message = message
        self._asked_by = asked_by

    @property
    def run_id(self) -> str:
        """The run; the same on all its events."""
        return self._run.request.run_id

    @property
    def agent(self) -> str:
        """The name of the agent that runs."""
        return self._agent

    @property
    def message(self) -> str:
        """What was asked."""
        return self._message

    @property
    def user(self) -> UserContext:
        """Who asked."""
        return self._run.user

    @property
    def requested_agent(self) -> str | None:
        """The agent that was asked for, where there is none of that name."""
        return None if self._asked_by else self._run.request.requested_agent

    @property
    def has_model(self) -> bool:
        """Whether a language model is configured."""
        return self._run.reason is not None

    def time_left(self) -> float:
        """Return the seconds until the run is given up, never below 0.0."""
        return self._run.time_left()

    def tools(self) -> tuple[ToolDefinition, ...]:
        """Return the tools that this user may call, sorted by name.

        Raises:
            RunEndedError: The run has ended.
        """
        self._run.check_open(self._agent)
        return self._run.host.system.definitions()

    def agents(self) -> Mapping[str, str]:
        """Return the other agents that this user may ask, and what each is for."""
        return {
            name: one.tool.definition.description
            for name, one in sorted(self._run.host.agents.items())
            if name != self._agent
        }

    async def think(self, thought: str, **extra: Any) -> None:  # noqa: ANN401 - JSON values
        """Tell the user what the agent thinks or does now.

        Raises:
            RunEndedError: The run has ended.
        """
        self._run.check_open(self._agent)
        await self._run.host.room()
        self._run.think(self._agent, str(thought), **extra)

    async def call(self, tool: str, arguments: Arguments = _NO_ARGUMENTS) -> ToolResult:
        """Call one of the user's tools.

        Raises:
            RunEndedError: The run has ended.
            asyncio.CancelledError: The run was given up.
        """
        return await self._run.call(self._agent, tool, arguments)

    async def ask(self, agent: str, message: str) -> AgentAnswer:
        """Let another agent answer, within this run.

        Raises:
            AgentNotFoundError: This user has no such agent.
            AgentDepthError: Agents have asked each other too deep.
            AgentError: It did not answer.
            RunEndedError: The run has ended.
        """
        self._run.check_open(self._agent)
        listed = self._run.host.agents.get(agent)
        if listed is None or agent == self._agent:
            raise AgentNotFoundError(agent, tuple(self.agents()))
        if len(self._asked_by) >= MAX_ASKS:
            raise AgentDepthError(agent, MAX_ASKS)
        return await self._run.answer(listed, message, (*self._asked_by, self._agent))

    async def reason(
        self, instructions: str, message: str | None = None
    ) -> AgentAnswer:
        """Let the configured language model answer with this user's tools.

        Raises:
            ModelNotConfiguredError: There is no model.
            AgentFailedError: The model failed, or came to no end.
            RunEndedError: The run has ended.
        """
        self._run.check_open(self._agent)
        reason = self._run.reason
        if reason is None:
            raise ModelNotConfiguredError(self._agent)
        text = self._message if message is None else message
        return await reason(self, instructions, text)
