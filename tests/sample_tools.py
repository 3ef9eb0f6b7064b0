"""Tools and systems that several test files share; none of them is installed."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from toolkit import ToolContext, UserContext, tool
from toolkit.catalog import CallHooks, ToolCatalog, ToolView
from toolkit.compiler import compile_tool
from toolkit.origin import Origin


class Echo:
    """Say it again."""

    name = "echo"
    tags = ("text",)

    def execute(self, text: str) -> str:
        return text


class Tally:
    """Count the calls of one user."""

    name = "tally"

    def __init__(self) -> None:
        self.count = 0

    async def execute(self) -> int:
        self.count += 1
        return self.count


class Whoami:
    """Say who asks, by the constructor, by injection, and by the call."""

    name = "whoami"

    def __init__(self, user: UserContext) -> None:
        self.made_for = user.user_id

    def execute(self, user: UserContext, context: ToolContext) -> list[str]:
        return [self.made_for, user.user_id, context.user.user_id]


class AdminWipe:
    """Only for holders of a scope."""

    name = "admin_wipe"
    required_scopes = frozenset({"admin:wipe"})

    def execute(self) -> str:
        return "wiped"


@tool
async def shout(text: str) -> str:
    """Upper-case a text."""
    return text.upper()


class Spend(BaseModel):
    """A data schema; it even has what a tool has."""

    name: str = "spend_model"
    amount: float = 0.0

    def execute(self) -> float:
        return self.amount


class SettingsModel(BaseModel):
    """Another schema, without any likeness to a tool."""

    region: str = "eu"


def catalog_of(
    *objects: object,
    distribution: str = "acme",
    authorizers: Iterable[Callable[..., bool | None]] = (),
    observers: Iterable[Callable[[Any], None]] = (),
) -> ToolCatalog:
    """Compile a catalog of these tools, as if one distribution published them all."""
    tools = [
        compile_tool(one, origin=Origin(distribution, "1.0", reference=f"acme:{place}"))
        for place, one in enumerate(objects)
    ]
    hooks = CallHooks(authorizers=tuple(authorizers), observers=tuple(observers))
    return ToolCatalog(view=ToolView(tools), hooks=hooks)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until the condition holds; fail when it takes too long."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread's state has no event
            await asyncio.sleep(0)
