"""`toolkit list` and `toolkit schema`: what there is, and how to call it."""

import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from rich.text import Text

from toolkit.catalog import ListedTool, ToolCatalog
from toolkit.cli.installed import all_installed, unread
from toolkit.cli.output import Output, listed, one_line, plain_table, visible
from toolkit.cli.session import Session
from toolkit.cli.view import counted, heading
from toolkit.discovery.report import DiscoveryReport
from toolkit.errors import ToolNotFoundError
from toolkit.naming import Collision
from toolkit.schema import anthropic_tool, gemini_tool, openai_tool, schema_faults
from toolkit.tool_registry import near_names


class Provider(StrEnum):
    """Whose form of a tool's schema."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


FORM_OF: Final[Mapping[Provider, Callable[..., dict[str, object]]]] = {
    Provider.OPENAI: openai_tool,
    Provider.ANTHROPIC: anthropic_tool,
    Provider.GEMINI: gemini_tool,
}


# --- list ----------------------------------------------------------------------------


def list_tools(session: Session, *, as_json: bool) -> int:
    """Print the tools of this environment; return the exit status."""
    catalog, report = session.discover()
    output = session.output
    if as_json:
        tools = [tool_entry(one) for one in catalog.view]
        output.json({"tools": tools, "agents": list(_agent_entries(catalog))})
    elif output.is_terminal:
        _show_tools(output, catalog)
    else:
        for one in catalog.view:
            output.record(*_tool_record(one))
    _mention_faults(output, report)
    return 0 if len(catalog) else 1


def tool_entry(one: ListedTool) -> dict[str, Any]:
    """Return what ``list --json`` says of one tool."""
    definition, origin = one.definition, one.tool.origin
    return {
        "name": definition.name,
        "qualified_name": definition.qualified_name,
        "origin": str(origin),
        "distribution": origin.distribution,
        "version": origin.version,
        "description": definition.description,
        "required_scopes": sorted(definition.required_scopes),
        "tags": list(definition.tags),
        "read_only": definition.read_only,
        "destructive": definition.destructive,
        "idempotent": definition.idempotent,
        "timeout": definition.timeout,
    }


def _agent_entries(catalog: ToolCatalog) -> Iterator[dict[str, str]]:
    for name, agent in sorted(catalog.agents.items()):
        yield {
            "name": name,
            "origin": str(agent.origin),
            "distribution": agent.origin.distribution,
            "version": agent.origin.version,
        }


def _tool_record(one: ListedTool) -> tuple[str, ...]:
    definition = one.definition
    return (
        definition.name,
        definition.qualified_name,
        listed(sorted(definition.required_scopes)),
        str(one.tool.origin),
        definition.description,
    )


def _show_tools(output: Output, catalog: ToolCatalog) -> None:
    def owner(one: ListedTool) -> str:
        return heading(one.tool.origin)

    table = plain_table("Tool", "Scopes", "What it does")
    about = table.columns[2]
    about.ratio, about.no_wrap, about.overflow = 1, True, "ellipsis"
    table.expand = True
    for name, members in groupby(sorted(catalog.view, key=owner), key=owner):
        table.add_row(Text(name, style="bold"))
        for one in members:
            scopes = listed(sorted(one.definition.required_scopes))
            text = one_line(one.definition.description)
            table.add_row(f"  {one.name}", visible(scopes), text)
    if len(catalog):
        output.show(table)
    for entry in _agent_entries(catalog):
        output.say(f"agent {entry['name']}, from {entry['origin']}")


def _mention_faults(output: Output, report: DiscoveryReport) -> None:
    faults = len(report.faults())
    if report.status == "empty":
        output.hint("no tool was found; `toolkit doctor` shows what was looked at.")
        for point in unread(all_installed()):
            output.hint(str(point))
        for note in report.notes:
            output.hint(note)
    elif faults:
        verb = "was" if faults == 1 else "were"
        owners = sorted({one.origin.owner for one in report.faults()})
        named = ", ".join(owners[:3]) + (" and others" if len(owners) > 3 else "")  # noqa: PLR2004 - more would hide the rest
        text = f"{counted(faults, 'fault')} {verb} found too ({named})"
        output.hint(f"{text}; `toolkit doctor` shows more.")


# --- schema --------------------------------------------------------------------------


def print_schema(session: Session, name: str, provider: Provider | None) -> int:
    """Print how to call one tool, as JSON; return the exit status."""
    catalog, _ = session.discover()
    found = catalog.view.find(name)
    if found is None:
        tell_unknown(session.output, name, catalog)
        return 1
    definition = found.definition
    schema = definition.input_schema
    if provider is None:
        session.output.json(
            {
                **tool_entry(found),
                "input_schema": schema,
                "output_schema": definition.output_schema,
            }
        )
        return 0
    form = FORM_OF[provider](definition.name, definition.description, schema)
    session.output.raw(json.dumps(form, indent=2, ensure_ascii=False))
    for fault in schema_faults(schema):
        session.output.warn(fault)
    return 0


def tell_unknown(output: Output, name: str, catalog: ToolCatalog) -> None:
    """Say that the catalog has no tool of that name, and what may be meant."""
    collision = collision_of(name, catalog.collisions)
    if collision is not None:
        code, text = "duplicate_tool", describe_collision(collision)
        output.error(code, text)
        return
    names = {*catalog.names(), *(one.qualified_name for one in catalog.definitions())}
    near = ", ".join(near_names(name, sorted(names)))
    found = f" Did you mean {near}?" if near else ""
    output.error(ToolNotFoundError.code, f"no tool is named {name!r}.{found}")
    output.hint(f"`toolkit why {name}` looks at everything that is installed.")


def collision_of(name: str, collisions: tuple[Collision, ...]) -> Collision | None:
    """Return the collision about that bare name, whatever its case."""
    same = (one for one in collisions if one.name.casefold() == name.casefold())
    return next(same, None)


def describe_collision(collision: Collision) -> str:
    """Say who claims the name and by which names to call them meanwhile."""
    claimants = " and ".join(collision.qualified_names)
    return (
        f"the name {collision.name!r} is claimed by {claimants}; "
        f"use one of these names. {collision.remedy}"
    )
