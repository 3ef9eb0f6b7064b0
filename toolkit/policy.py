"""Who may see and call what.

A tool says which scopes it needs; a user who lacks one neither sees nor calls it. There
is no switch that turns this off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from toolkit.catalog import ListedTool
from toolkit.context import UserContext
from toolkit.naming import comparable
from toolkit.settings import Settings

EXPLAIN_SCOPE: Final = "toolkit:explain"
"""Users with this scope are told why a call was refused instead of "no such tool"."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The rules of access. Immutable; one for a process.

    Attributes:
        role_scopes: The scopes that each role brings.
        allow: Names of the only tools anyone gets: bare, qualified or as listed; None
            means all. Case and the spelling of a distribution do not count.
        deny: Names, likewise, of tools nobody gets; wins over `allow`.
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

    def __post_init__(self) -> None:
        """Keep the names in the form in which they are compared."""
        object.__setattr__(self, "deny", frozenset(map(comparable, self.deny)))
        if self.allow is not None:
            object.__setattr__(self, "allow", frozenset(map(comparable, self.allow)))

    def scopes_of(self, user: UserContext) -> frozenset[str]:
        """Return the user's own scopes and those that their roles bring."""
        if not user.roles or not self.role_scopes:
            return user.scopes
        brought = (self.role_scopes.get(role, frozenset()) for role in user.roles)
        return user.scopes.union(*brought)

    def refusal(self, scopes: frozenset[str], listed: ListedTool) -> str:
        """Say why a holder of `scopes` may not use the tool; empty when they may.

        Args:
            scopes: What `scopes_of` returned.
            listed: The tool, under the name it has for them.
        """
        if self.deny or self.allow is not None:
            names = listed.known_names()
            if names & self.deny:
                return "it is on the deny list (setting deny_tools)"
            if self.allow is not None and not names & self.allow:
                return "it is not on the allow list (setting allow_tools)"
        tool = listed.tool.definition
        missing = tool.required_scopes - scopes
        if missing:
            return f"it needs the scope {', '.join(sorted(missing))}"
        return ""

    def may_explain(self, user: UserContext) -> bool:
        """Tell whether this user is told why a call was refused."""
        return EXPLAIN_SCOPE in self.scopes_of(user)
