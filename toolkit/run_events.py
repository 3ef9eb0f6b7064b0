"""What is told of a run, and what a run needs of whoever started it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from toolkit.catalog import ListedAgent
from toolkit.system import UserToolSystem


class AgentEventType(StrEnum):
    """The kinds of event of a run; the values go on the wire."""

    AGENT_STARTED = "agent_started"
    AGENT_THINKING = "agent_thinking"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    AGENT_COMPLETED = "agent_completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One thing that really happened in one run. Immutable.

    Attributes:
        type: What happened.
        run_id: The run.
        request_id: What whoever asked calls it; None where they gave it no name.
        data: What there is to know of it, as JSON values.
    """

    type: AgentEventType
    run_id: str
    request_id: str | None
    data: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """What an operator decided of runs. Immutable.

    Attributes:
        timeout: Seconds that a run may take.
        heartbeat: Seconds of silence after which a run says that it goes on.
        show_errors: Whether users are told the text of what an agent raised.
    """

    timeout: float = 120.0
    heartbeat: float = 4.0
    show_errors: bool = False


class RunHost(Protocol):
    """What a run needs of whoever started it."""

    @property
    def system(self) -> UserToolSystem:
        """The user's tools."""
        ...

    @property
    def agents(self) -> Mapping[str, ListedAgent]:
        """The agents that this user may ask, by name."""
        ...

    def emit(self, event: AgentEvent) -> None:
        """Take an event. Never blocks and never raises."""
        ...

    async def room(self) -> None:
        """Wait until events are taken again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What was asked. Immutable.

    Attributes:
        run_id: Names the run.
        agent: The agent that is to answer.
        message: What it is to answer.
        request_id: What whoever asked calls it.
        requested_agent: The name they gave, where there is no such agent.
    """

    run_id: str
    agent: ListedAgent
    message: str
    request_id: str | None = None
    requested_agent: str | None = None
