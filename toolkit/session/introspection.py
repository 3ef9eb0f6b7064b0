"""What a client may know of its tools and agents: who is there, who is not, and why."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from toolkit.app import Toolkit
from toolkit.catalog import ListedAgent, ToolView
from toolkit.contract import Subject, judge_pydantic_model
from toolkit.discovery.report import Outcome
from toolkit.system import UserToolSystem
from toolkit.tools import ToolDefinition

MAX_ABSENT: Final = 200
"""How many absent tools are told at once; the report has all."""


def entry_of(tool: ToolDefinition) -> dict[str, Any]:
    """Return what a client is told of one tool."""
    return {
        "name": str(tool.name),
        "qualified_name": tool.qualified_name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "tags": list(tool.tags),
        "version": tool.version,
        "read_only": tool.read_only,
        "destructive": tool.destructive,
        "streaming": tool.streaming,
    }


def state_of(
    kit: Toolkit,
    system: UserToolSystem,
    agents: Mapping[str, ListedAgent],
    health: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the data of ``tool_registry_state``.

    Why tools are absent is told to users who may have refusals explained; for others a
    tool that they may not see does not exist.

    Args:
        kit: Where the tools come from.
        system: The user's.
        agents: The agents that the user may ask.
        health: Of this registry.
    """
    may_know = kit.factory.policy.may_explain(system.user_context)
    return {
        "registry_id": system.correlation_id,
        "health": dict(health),
        "tools": [entry_of(one) for one in system.definitions()],
        "absent": list(absent_tools(kit, system)) if may_know else [],
        "agents": [
            {"name": name, "description": one.tool.definition.description}
            for name, one in sorted(agents.items())
        ],
    }


def absent_tools(kit: Toolkit, system: UserToolSystem) -> Iterator[dict[str, str]]:
    """Yield what this user has not: tools kept from them, and what is no tool."""
    policy = kit.factory.policy
    scopes = policy.scopes_of(system.user_context)
    count = 0
    for listed in kit.catalog.view:
        why = policy.refusal(scopes, listed)
        if why and count < MAX_ABSENT:
            count += 1
            yield {
                "name": str(listed.name),
                "distribution": listed.tool.origin.distribution,
                "reason": why,
                "remedy": "Whoever gives you your rights can change that.",
            }
    for one in kit.report.findings:
        is_told = one.outcome is Outcome.FAILED or (
            one.outcome is Outcome.REJECTED and one.is_explicit
        )
        if is_told and count < MAX_ABSENT:
            count += 1
            yield {
                "name": one.name or one.origin.entry_point or one.origin.reference,
                "distribution": one.origin.distribution,
                "reason": str(one.reason or one.cause or one.outcome),
                "remedy": one.detail,
            }


def has_schemas(system: UserToolSystem) -> bool:
    """Tell whether a pydantic model is among a user's tools; looks at each of them."""
    targets = (one.tool.target for one in system.view if one.tool.is_loaded)
    return any(
        judge_pydantic_model(Subject(one, "execute")) is not None for one in targets
    )


def changes_between(old: ToolView, new: ToolView) -> dict[str, list[str]]:
    """Return the names that were added, removed, and of tools that are others now."""
    if old is new:
        return {"added": [], "removed": [], "changed": []}
    before = {str(one.name): one.current for one in old}
    after = {str(one.name): one.current for one in new}
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(
            one for one in after.keys() & before.keys() if after[one] != before[one]
        ),
    }
