"""Watch every call and forbid some, with the hooks that plugins use too."""

import asyncio

import toolkit
from toolkit.discovery.report import Candidate

wipe = toolkit.tool(name="wipe", destructive=True)(lambda: "all gone")
greet = toolkit.tool(name="greet")(lambda name, token: f"hello {name}, {len(token)}")


class House:
    """Our hooks. A package would publish a module of them in `toolkit.plugins`."""

    @toolkit.hookimpl
    def toolkit_authorize_call(self, definition: toolkit.ToolDefinition) -> bool | None:
        """Deny what may destroy something."""
        return False if definition.destructive else None

    @toolkit.hookimpl
    def toolkit_observe_call(self, event: toolkit.ToolEvent) -> None:
        """Print what really happened to a call; secrets are blanked out already."""
        print(f"{event.type} {event.tool}: {event.arguments or event.ok}")

    def candidates(self) -> list[Candidate]:
        """Be a source of one plugin: this object itself."""
        return [Candidate(self, toolkit.Origin(entry_point="house"), "plugin")]


async def main() -> None:
    """Call both tools; only one of them starts."""
    catalog, _ = toolkit.discover(sources=[House()], objects=[wipe, greet])
    factory = toolkit.UserContextToolFactory(catalog)
    ann = toolkit.UserContext(user_id="ann")
    async with factory.create_user_tool_system(ann) as system:
        print((await system.execute("greet", {"name": "Bo", "token": "s3"})).value)
        print((await system.execute("wipe")).error)


asyncio.run(main())
