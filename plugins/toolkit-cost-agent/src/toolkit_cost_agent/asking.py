"""The tools of toolkit-cloud-costs as one user's run can call them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from toolkit import AgentRun

OWNER: Final = "toolkit-cloud-costs"
SCOPE: Final = "costs:read"
FIRST: Final = "cost_overview"
"""Says what the export holds; every answer needs it."""

Answered = Mapping[str, Any]
"""A tool's result as JSON values."""


class CannotAnswerError(Exception):
    """The question cannot be answered; the text says why, to the user.

    Ends in the agent's own answer and never leaves it.
    """


class Costs:
    """Calls the tools for one run. Belongs to that run.

    Attributes:
        run: The run.
        calls: The calls so far: tool, arguments and call id.
        silent: Why a tool that was asked said nothing, by its name.
    """

    def __init__(self, run: AgentRun) -> None:
        """Look which of the tools this user can see."""
        self.run = run
        self.calls: list[dict[str, Any]] = []
        self.silent: dict[str, str] = {}
        self._names = {
            own: one.name
            for one in run.tools()
            if (own := _own_name(one.qualified_name, one.name))
        }

    def require(self) -> None:
        """Insist on the one tool that any answer needs.

        Raises:
            CannotAnswerError: The user does not see it.
        """
        if FIRST in self._names:
            return
        text = f"I cannot look at your billing export: you have no {FIRST}. "
        if SCOPE in self.run.user.scopes:
            text += f"Your operator would have to install or allow {OWNER}."
        else:
            text += f"It needs the scope {SCOPE}, which an administrator can give you."
        raise CannotAnswerError(text)

    async def call(self, tool: str, arguments: Answered) -> Answered:
        """Call a tool, without the arguments that are None.

        Raises:
            CannotAnswerError: The user does not see it, or the call failed; the text
                says what and why.
        """
        if tool not in self._names:
            raise CannotAnswerError(f"You have no tool {tool}.")
        given = {key: value for key, value in arguments.items() if value is not None}
        name = self._names[tool]
        result = await self.run.call(name, given)
        self.calls.append({"tool": tool, "arguments": given, "call_id": result.call_id})
        if result.error is not None:
            raise CannotAnswerError(f"{name} failed: {result.error}")
        if result.truncated:
            raise CannotAnswerError(f"{name} answered more than may be sent at once.")
        value: dict[str, Any] = json.loads(result.value_json())
        return value

    async def try_call(self, tool: str, arguments: Answered) -> Answered | None:
        """Call a tool whose answer is welcome and not needed; keep why it failed."""
        try:
            return await self.call(tool, arguments)
        except CannotAnswerError as cause:
            self.silent[tool] = str(cause)
            return None


def _own_name(qualified: str, listed: str) -> str:
    """Return a tool's name among those of its package, else the listed name."""
    owner, _, own = qualified.rpartition(".")
    return own if owner == OWNER else listed
