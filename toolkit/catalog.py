"""The frozen result of discovery, shared by every user of a process."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from toolkit.context import UserContext
from toolkit.deferred import DeferredTool, Drifts
from toolkit.naming import (
    Claim,
    Collision,
    CollisionPolicy,
    ToolName,
    comparable,
    give_names,
    provider_safe_name,
    refuse,
)
from toolkit.origin import Origin
from toolkit.tools import ToolDefinition

if TYPE_CHECKING:
    from toolkit.compiler import CompiledTool

CatalogTool: TypeAlias = "CompiledTool | DeferredTool"
"""A tool of a catalog: imported and compiled, or known from before."""

Authorizer = Callable[[UserContext, ToolDefinition], bool | None]
"""Asked before each call; False denies. It cannot grant what the policy denies."""


@dataclass(frozen=True, slots=True, eq=False)
class ListedTool:
    """One tool under the name it has in one view."""

    definition: ToolDefinition
    tool: CatalogTool

    @property
    def name(self) -> ToolName:
        """The name it is listed under."""
        return self.definition.name

    @property
    def current(self) -> ToolDefinition:
        """What its code says under these names; as `definition` until it is loaded."""
        return _named(
            self.tool.definition, self.definition.name, self.definition.qualified_name
        )

    def known_names(self) -> frozenset[str]:
        """Return every name an operator's lists can mean it by, in comparable form.

        Those are the author's bare name, the qualified name, its provider-safe form,
        and both names as told apart from others here.
        """
        own, here = self.tool.definition, self.definition
        names = {own.name, own.qualified_name, here.name, here.qualified_name}
        names |= {provider_safe_name(one.qualified_name) for one in (own, here)}
        return frozenset(map(comparable, names))


@dataclass(frozen=True, slots=True, eq=False)
class ListedAgent:
    """One agent under its name in the catalog. Immutable; holds no user's object."""

    name: ToolName
    origin: Origin
    tool: CatalogTool

    def load(self) -> object:
        """Return its class or published instance; imports its package if need be.

        Raises:
            ToolUnavailableError: It cannot be imported any more.
        """
        self.tool.begin_loading().result()
        return self.tool.target


class ToolView:
    """A frozen set of tools with their names settled; safe to share between users.

    Attributes:
        tools: The tools, sorted by listed name.
        collisions: The names that were contested when this view was made.
    """

    __slots__ = ("_index", "collisions", "tools")

    def __init__(
        self,
        tools: Iterable[CatalogTool],
        policy: CollisionPolicy = refuse,
        *,
        named: Iterable[ListedTool] = (),
    ) -> None:
        """Give every tool its names in this company.

        Args:
            tools: The tools that have no names yet.
            policy: Settles collisions.
            named: Tools that have their names; one loses its listed name only to a
                collision with one of `tools`, its qualified name never.
        """
        settled, fresh = tuple(named), tuple(tools)
        claims = [
            Claim(
                one.tool.name,
                one.tool.origin,
                listed=one.name,
                qualified=one.definition.qualified_name,
            )
            for one in settled
        ]
        claims += [Claim(one.name, one.origin, mark=_mark(one)) for one in fresh]
        naming = give_names(claims, policy)
        compiled = [*(one.tool for one in settled), *fresh]
        listed = [
            ListedTool(_named(tool.definition, name, full), tool)
            for tool, name, full in zip(
                compiled, naming.listed, naming.qualified, strict=True
            )
        ]
        self.tools = tuple(sorted(listed, key=lambda one: one.name))
        self.collisions = naming.collisions
        index = {one.definition.qualified_name: one for one in self.tools}
        index.update((one.name, one) for one in self.tools)
        self._index: Mapping[str, ListedTool] = MappingProxyType(index)

    def find(self, name: str) -> ListedTool | None:
        """Return the tool of that listed or qualified name, or None."""
        return self._index.get(name)

    def names(self) -> tuple[ToolName, ...]:
        """Return the listed names, sorted."""
        return tuple(one.name for one in self.tools)

    def only(
        self,
        is_visible: Callable[[ListedTool], bool],
        *,
        extra: Sequence[CatalogTool] = (),
        policy: CollisionPolicy = refuse,
    ) -> "ToolView":
        """Return a view of the visible tools, under the names they have here.

        A name that several claim here stays nobody's, also for a user who sees but one
        of the claimants: what a name means does not depend on who asks. `extra` tools
        join under the same rule; they meet the visible tools only.
        """
        visible = [one for one in self.tools if is_visible(one)]
        return ToolView(extra, policy, named=visible)

    def __len__(self) -> int:
        """Return the number of tools."""
        return len(self.tools)

    def __iter__(self) -> Iterator[ListedTool]:
        """Iterate over the tools by listed name."""
        return iter(self.tools)


def _named(definition: ToolDefinition, name: ToolName, full: str) -> ToolDefinition:
    """Return a definition under its names here; the same one where it has them."""
    if definition.name == name and definition.qualified_name == full:
        return definition
    return replace(definition, name=name, qualified_name=full)


def _mark(tool: CatalogTool) -> str:
    """Tell apart tools of one name and origin by what they say of themselves."""
    said = tool.definition
    schemas = (said.input_schema_json, said.output_schema_json or "")
    return "\n".join((said.description, *schemas, *said.tags))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHooks:
    """What plugins and operators hook into calls. Empty tuples cost a call nothing."""

    authorizers: tuple[Authorizer, ...] = ()
    observers: tuple[Callable[[Any], None], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ToolCatalog:
    """All tools of a process. Frozen; lives as long as any system made from it.

    Attributes:
        view: Every tool, names settled as for a user who may see all of them.
        agents: The accepted agents, by name.
        drifts: Returns the tools whose first call found them to be something else than
            what they are listed as; empty as long as there is none.
        hooks: What to ask and tell at each call.
        collision_policy: Settles names again in each user's view.
        generation: Counts the catalogs of this process, from 1.
        left_out: Plugins of pydantic that the operator does not let in; None where
            there are none at all.
    """

    view: ToolView = field(default_factory=lambda: ToolView(()))
    agents: Mapping[str, ListedAgent] = field(
        default_factory=lambda: MappingProxyType({})
    )
    drifts: Drifts = field(default_factory=Drifts)
    hooks: CallHooks = CallHooks()
    collision_policy: CollisionPolicy = refuse
    generation: int = 1
    left_out: frozenset[str] | None = frozenset()

    def get(self, name: str) -> ToolDefinition | None:
        """Return the definition of that listed or qualified name, or None."""
        found = self.view.find(name)
        return None if found is None else found.definition

    def names(self) -> tuple[ToolName, ...]:
        """Return the listed names, sorted."""
        return self.view.names()

    def definitions(self) -> tuple[ToolDefinition, ...]:
        """Return all definitions, sorted by listed name."""
        return tuple(one.definition for one in self.view)

    def origin(self, name: str) -> Origin | None:
        """Return where the tool of that name comes from, or None."""
        found = self.view.find(name)
        return None if found is None else found.tool.origin

    @property
    def collisions(self) -> tuple[Collision, ...]:
        """The bare names that several tools claim, sorted."""
        return self.view.collisions

    def statistics(self) -> dict[str, int]:
        """Return counts: tools, agents, collisions, generation."""
        return {
            "tools": len(self.view),
            "agents": len(self.agents),
            "collisions": len(self.collisions),
            "generation": self.generation,
        }

    def __len__(self) -> int:
        """Return the number of tools."""
        return len(self.view)

    def __contains__(self, name: object) -> bool:
        """Tell whether a tool has that listed or qualified name."""
        return isinstance(name, str) and self.view.find(name) is not None

    def __repr__(self) -> str:
        """Count what is in it."""
        counts = ", ".join(f"{key}={value}" for key, value in self.statistics().items())
        return f"<ToolCatalog {counts}>"
