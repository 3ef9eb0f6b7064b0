"""What an agent is (`Agent`), and what one of its runs can do (`AgentRun`).

An agent answers a message with the help of the tools that its user may call. What makes
runs happen is in `toolkit.agent_runs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from toolkit.context import UserContext

if TYPE_CHECKING:  # the interface stands below what it speaks of
    from toolkit.results import ToolResult
    from toolkit.signature import Arguments
    from toolkit.tools import ToolDefinition


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """What an agent answers. Immutable.

    Attributes:
        text: The answer, for people; Markdown is shown as such.
        details: What it rests on, as JSON values.
    """

    text: str
    details: Any = field(default=None, hash=False)


class AgentRun(ABC):
    """One answer in the making. Lives as long as the run, and belongs to one user.

    The only way in which an agent speaks and acts: what it thinks and the tools it
    calls are told to the user at once. When the run has ended, however it did, nothing
    of this works any more.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def run_id(self) -> str:
        """The run; the same on all its events."""

    @property
    @abstractmethod
    def agent(self) -> str:
        """The name of the agent that runs."""

    @property
    @abstractmethod
    def message(self) -> str:
        """What was asked."""

    @property
    @abstractmethod
    def user(self) -> UserContext:
        """Who asked."""

    @property
    @abstractmethod
    def requested_agent(self) -> str | None:
        """The agent that was asked for, where there is none of that name."""

    @property
    @abstractmethod
    def has_model(self) -> bool:
        """Whether `reason` can be used: a language model is configured."""

    @abstractmethod
    def time_left(self) -> float:
        """Return the seconds until the run is given up, never below 0.0."""

    @abstractmethod
    def tools(self) -> "tuple[ToolDefinition, ...]":
        """Return the tools that this user may call, sorted by name.

        Raises:
            RunEndedError: The run has ended.
        """

    def has_tool(self, name: str) -> bool:
        """Tell whether this user may call a tool of this name.

        Raises:
            RunEndedError: The run has ended.
        """
        return any(name in (one.name, one.qualified_name) for one in self.tools())

    @abstractmethod
    def agents(self) -> Mapping[str, str]:
        """Return the other agents that this user may ask, and what each is for."""

    @abstractmethod
    async def think(self, thought: str, **extra: Any) -> None:  # noqa: ANN401 - JSON values
        """Tell the user what the agent thinks or does now.

        Waits while the user's connection takes nothing more.

        Args:
            thought: A sentence for people.
            **extra: What goes with it, as JSON values.

        Raises:
            RunEndedError: The run has ended.
        """

    @abstractmethod
    async def call(self, tool: str, arguments: "Arguments" = ...) -> "ToolResult":
        """Call one of the user's tools, through all checks of their dispatcher.

        Args:
            tool: Its listed or qualified name.
            arguments: JSON text or bytes, or a mapping.

        Returns:
            The result; a failure is in its `error`, and is not raised.

        Raises:
            RunEndedError: The run has ended.
            asyncio.CancelledError: The run was given up.
        """

    @abstractmethod
    async def ask(self, agent: str, message: str) -> AgentAnswer:
        """Let another agent answer, within this run.

        Args:
            agent: Its name, one of `agents`.
            message: What to ask it.

        Returns:
            Its answer.

        Raises:
            AgentNotFoundError: This user has no such agent.
            AgentDepthError: Agents have asked each other too deep.
            AgentFailedError: It failed.
            AgentError: It said why it cannot answer.
            RunEndedError: The run has ended.
        """

    @abstractmethod
    async def reason(
        self, instructions: str, message: str | None = None
    ) -> AgentAnswer:
        """Let the configured language model answer with this user's tools.

        Args:
            instructions: What the agent is for, and how it is to answer.
            message: What to answer; by default the run's message.

        Raises:
            ModelNotConfiguredError: There is no model; ask `has_model` first.
            AgentFailedError: The model failed, or came to no end.
            RunEndedError: The run has ended.
        """


@runtime_checkable
class Agent(Protocol):
    """Anything with a `name` and an async `run`; no subclassing needed.

    Published through the entry point group ``toolkit.agents``. A new instance is made
    for each run; the constructor takes nothing, or a `UserContext`. Optional
    attributes: `description` (default: the docstring; what others choose it by),
    `required_scopes`, `timeout` (seconds), and `close` or `aclose`.

    ``isinstance(x, Agent)`` looks only for the two attributes; discovery also checks
    that `run` is an async function that takes ``message``, and besides it nothing but
    parameters annotated `AgentRun` or `UserContext`.
    """

    @property
    def name(self) -> str:
        """The name to ask it by: 1 to 64 of ``a-z A-Z 0-9 _ -``."""
        ...

    async def run(self, *args: Any, **kwargs: Any) -> str | AgentAnswer:  # noqa: ANN401 - message and run, in any order
        """Answer a message."""
        ...


Reasoner = Callable[[AgentRun, str, str], Awaitable[AgentAnswer]]
"""Lets a language model answer: given the run, instructions and a message."""
