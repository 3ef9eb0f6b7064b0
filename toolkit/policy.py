"""Who may see and call what.

A tool says which scopes it needs; a user who lacks one neither sees nor calls it. There
is no switch that turns this off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from toolkit.context import UserContext
from toolkit.settings import Settings
from toolkit.tools import ToolDefinition

EXPLAIN_SCOPE: Final = "toolkit:explain"
"""Users with this scope are told why a call was refused instead of "no such tool"."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The rules of access. Immutable; one for a process.

    Attributes:
        role_scopes: The scopes that each role brings.
        allow: Bare or qualified names of the only tools anyone gets; None means all.
        deny: Bare or qualified names of tools nobody gets; wins over `allow`.
    """

    role_scopes: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    @classmethod
    def from_settings(cls, settings: Settings) -> "AccessPolicy":
        """Take the rules that an operator has set."""
        return cls(settings.role_scopes, settings.allow_tools, settings.deny_tools)

    def scopes_of(self, user: UserContext) -> frozenset[str]:
        """Return the user's own scopes and those that their roles bring."""
        if not user.roles or not self.role_scopes:
            return user.scopes
        brought = (self.role_scopes.get(role, frozenset()) for role in user.roles)
        return user.scopes.union(*brought)

    def refusal(self, scopes: frozenset[str], tool: ToolDefinition) -> str:
        """Say why a holder of `scopes` may not use the tool; empty when they may.

        Args:
            scopes: What `scopes_of` returned.
            tool: The tool's own definition, under its bare name.
        """
        names = {tool.name, tool.qualified_name}
        if names & self.deny:
            return "it is on the deny list (setting deny_tools)"
        if self.allow is not None and not names & self.allow:
            return "it is not on the allow list (setting allow_tools)"
        missing = tool.required_scopes - scopes
        if missing:
            return f"it needs the scope {', '.join(sorted(missing))}"
        return ""

    def may_explain(self, user: UserContext) -> bool:
        """Tell whether this user is told why a call was refused."""
        return EXPLAIN_SCOPE in self.scopes_of(user)
