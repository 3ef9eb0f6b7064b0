"""The static types of the public API. Type-checked by mypy, never run."""

from collections.abc import Mapping
from typing import Any, assert_type

import toolkit
from toolkit.naming import Collision, ToolName


def discovery() -> None:
    """Discover, and read the catalog and the report."""
    settings = toolkit.Settings.load()
    assert_type(settings, toolkit.Settings)
    catalog, report = toolkit.discover(settings, objects=[object()])
    assert_type(catalog, toolkit.ToolCatalog)
    assert_type(report, toolkit.DiscoveryReport)
    assert_type(catalog.get("x"), toolkit.ToolDefinition | None)
    assert_type(catalog.names(), tuple[ToolName, ...])
    assert_type(catalog.origin("x"), toolkit.Origin | None)
    assert_type(catalog.collisions, tuple[Collision, ...])
    assert_type(report.accepted[0].reason, toolkit.RejectionReason | None)
    assert_type(report.faults(), tuple[toolkit.DiscoveryError, ...])
    assert_type(report.reasons(), Mapping[str, int])


def judging() -> None:
    """Ask the contract about any object."""
    verdict = toolkit.ToolContract().judge(3)
    assert_type(verdict, toolkit.Verdict)
    assert_type(verdict.accepted, bool)
    assert_type(toolkit.adapt_tool(object(), name="x", tags={"a"}), toolkit.Tool)


def registries() -> None:
    """Keep values of one type, and tools."""
    numbers = toolkit.UniversalRegistry[int]("numbers", allow_override=True)
    numbers.register("one", 1, tags={"odd"}, note="first")
    assert_type(numbers.get("one"), int | None)
    assert_type(numbers.get("one", "none"), int | str | None)
    assert_type(numbers.create_instance("one", None), int)
    assert_type(numbers.list_keys(), tuple[str, ...])
    numbers.register("two", "2")  # type: ignore[arg-type]  # not an int
    assert_type(toolkit.create_websocket_scoped_registry("ann"), toolkit.ToolRegistry)
    assert_type(
        toolkit.create_scoped_registry("tool", "ann"), toolkit.UniversalRegistry[Any]
    )


async def one_user(policy: toolkit.AccessPolicy, call: toolkit.ToolCall) -> None:
    """Open a system, list its tools, and call them."""
    ann = toolkit.UserContext(user_id="ann", scopes=frozenset({"a:b"}))
    assert_type(ann.child(), toolkit.UserContext)
    assert_type(policy.scopes_of(ann), frozenset[str])
    assert_type(call.deadline, float | None)
    with toolkit.Toolkit(objects=[], sinks=[watch]) as kit:
        assert_type(kit.factory, toolkit.UserContextToolFactory)
        async with kit.user(ann) as system:
            assert_type(system, toolkit.UserToolSystem)
            assert_type(system.registry, toolkit.ToolRegistry)
            assert_type(system.dispatcher, toolkit.UnifiedToolDispatcher)
            assert_type(system.get_all_tools()[0].name, ToolName)
            result = await system.execute("x", '{"a": 1}', timeout=1.0)
            assert_type(result, toolkit.ToolResult)
            assert_type(result.error, toolkit.ToolkitError | None)
            assert_type(result.value_json(), str)
            await system.dispatcher.execute("x", {"a": 1}, timeout=1.0)
            await system.dispatcher.execute("x", 3)  # type: ignore[arg-type]  # no JSON


def watch_catalog(event: toolkit.CatalogEvent) -> None:
    """Be a sink of changes to the catalog."""
    assert_type(event.generation, int)
    assert_type(event.added, tuple[str, ...])


def change(kit: toolkit.Toolkit) -> None:
    """Refresh, and go back."""
    assert_type(kit.refresh(toolkit.Settings()), toolkit.DiscoveryReport)
    try:
        assert_type(kit.rollback(), toolkit.ToolCatalog)
    except toolkit.NoEarlierCatalogError as error:
        assert_type(error.generation, int)


def watch(event: toolkit.ToolEvent) -> None:
    """Be a sink."""
    assert_type(event.ok, bool | None)
    assert_type(event.seconds, float | None)
    assert_type(event.to_json(), str)


class Hooks:
    """Be a plugin of hooks; a marked function keeps its type."""

    @toolkit.hookimpl
    def toolkit_veto_candidate(self) -> str | None:
        """Have no objection."""
        return None


assert_type(Hooks().toolkit_veto_candidate(), str | None)


def call_context(context: toolkit.ToolContext) -> None:
    """Read what a call tells its tool."""
    assert_type(context.user, toolkit.UserContext)
    assert_type(context.time_left(), float | None)


class Echo:
    """An agent as its author writes it."""

    name = "echo"

    async def run(self, message: str, run: toolkit.AgentRun) -> toolkit.AgentAnswer:
        """Say it again."""
        await run.think("I say it again", step_of=1)
        assert_type(await run.call("add", {"n": 1}), toolkit.ToolResult)
        assert_type(run.tools(), tuple[toolkit.ToolDefinition, ...])
        assert_type(run.agents(), Mapping[str, str])
        return toolkit.AgentAnswer(message, details={"n": 1})


echo: toolkit.Agent = Echo()


async def connection(kit: toolkit.Toolkit) -> None:
    """Own one connection."""
    made = toolkit.create_websocket_scoped_supervisor("ann", kit=kit)
    assert_type(made, toolkit.Supervisor)
    ann = toolkit.UserContext(user_id="ann")
    get = toolkit.supervisor_factory.get_websocket_scoped_supervisor
    assert_type(get(ann, kit=kit), toolkit.Supervisor)
    await made.receive("{}")
    assert_type(await made.next_message(), str | None)
    assert_type(made.get_tool_registry_id(), str)
    assert_type(made.get_tool_registry_health(), dict[str, Any])
