"""The tools of toolkit-data as one user's run can call them."""

import json
from typing import Any, Final

from toolkit import AgentRun

OWNER: Final = "toolkit-data"
SCOPE: Final = "data:read"
NEEDED: Final = ("list_tables", "describe_table", "query_tables")


class CannotAnswerError(Exception):
    """The question cannot be answered; the text says why, to the user.

    Ends in the agent's own answer and never leaves it.
    """


class Tables:
    """Calls the tools for one run, and remembers the calls. Belongs to that run."""

    def __init__(self, run: AgentRun) -> None:
        """Look which of the tools this user can see."""
        self.run = run
        self.calls: list[dict[str, str]] = []
        self._names = {
            own: one.name
            for one in run.tools()
            if (own := _own_name(one.qualified_name, one.name))
        }

    def has(self, tool: str) -> bool:
        """Tell whether the user can see a tool."""
        return tool in self._names

    def require(self) -> None:
        """Insist on the tools that any question needs.

        Raises:
            CannotAnswerError: The user does not see one of them.
        """
        missing = [one for one in NEEDED if not self.has(one)]
        if not missing:
            return
        text = f"I cannot look at your tables: you have no {', '.join(missing)}. "
        if SCOPE in self.run.user.scopes:
            text += f"Your operator would have to install or allow {OWNER}."
        else:
            text += f"They need the scope {SCOPE}, which an administrator can give you."
        raise CannotAnswerError(text)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """Call a tool and return its result as JSON values.

        Raises:
            CannotAnswerError: The call failed; the text says what and why.
        """
        name = self._names[tool]
        result = await self.run.call(name, arguments)
        self.calls.append({"tool": tool, "call_id": result.call_id})
        if result.error is not None:
            raise CannotAnswerError(f"{name} failed: {result.error}")
        if result.truncated:
            raise CannotAnswerError(f"{name} answered more than may be sent at once.")
        value: dict[str, Any] = json.loads(result.value_json())
        return value


def _own_name(qualified: str, listed: str) -> str:
    """Return a tool's name among those of toolkit-data, else the listed name."""
    owner, _, own = qualified.rpartition(".")
    return own if owner == OWNER else listed
