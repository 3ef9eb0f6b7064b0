"""Two users of one process: different tools, and never each other's state."""

import asyncio

from toolkit import Settings, Toolkit, ToolResult, UserContext, UserToolSystem

ANN = UserContext(user_id="ann", scopes=frozenset({"text:notes"}))
CEM = UserContext(user_id="cem", scopes=frozenset({"text:notes"}))
BOB = UserContext(user_id="bob")


async def note(system: UserToolSystem, text: str) -> ToolResult:
    """Write into this user's notebook; the answer is all their notes."""
    return await system.execute("notebook", {"note": text})


async def main() -> None:
    """Show what each sees, then let all three write into a notebook."""
    settings = Settings(allow=frozenset({"toolkit-text"}))
    with Toolkit(settings) as kit:
        async with kit.user(ANN) as ann, kit.user(BOB) as bob, kit.user(CEM) as cem:
            for system in (ann, bob, cem):
                names = [tool.name for tool in system.get_all_tools()]
                print(f"{system.user_context.user_id} sees {', '.join(names)}")
            await note(ann, "buy milk")
            print("ann wrote:", (await note(ann, "call mum")).value)
            print("cem wrote:", (await note(cem, "secret")).value)
            print("bob hears:", (await note(bob, "hello?")).error)


if __name__ == "__main__":
    asyncio.run(main())
