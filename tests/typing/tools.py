"""What counts as a `Tool` for a type checker, and what `@tool` keeps. Never run."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, assert_type

from toolkit import Tool, ToolContext, ToolDefinition, tool
from toolkit.tools import FunctionTool


class Plain:
    """A tool with its name on the class."""

    name = "plain"

    def execute(self, text: str, *, times: int = 1) -> str:
        """Repeat."""
        return text * times


class Constant:
    """A tool whose name is declared for the class only."""

    name: ClassVar[str] = "constant"

    async def execute(self, text: str, context: ToolContext) -> int:
        """Count."""
        return len(text)


class Named:
    """A tool whose name is a property."""

    @property
    def name(self) -> str:
        """Say it."""
        return "named"

    def execute(self) -> None:
        """Do nothing."""


class NoName:
    """Not a tool."""

    def execute(self) -> None:
        """Do nothing."""


class NoExecute:
    """Not a tool either."""

    name = "no_execute"


plain: Tool = Plain()
named: Tool = Named()
constant: Tool = Constant()
no_name: Tool = NoName()  # type: ignore[assignment]  # it has no name
no_execute: Tool = NoExecute()  # type: ignore[assignment]  # it has no execute


@tool
def shout(text: str) -> str:
    """Upper-case a text."""
    return text.upper()


@tool(name="add", tags={"maths"}, required_scopes={"a:b"}, timeout=1.0, read_only=True)
async def add_numbers(left: int, right: int = 0) -> int:
    """Add."""
    return left + right


@tool
async def parts(text: str) -> AsyncIterator[str]:
    """Say it in parts."""
    yield text


function_tool: Tool = shout
assert_type(shout("a"), str)
assert_type(shout.execute("a"), str)
shout(3)  # type: ignore[arg-type]  # a decorated function keeps its signature
tool(nmae="x")  # type: ignore[call-overload]  # an option that does not exist


async def use() -> None:
    """Call what was decorated."""
    assert_type(await add_numbers(1, right=2), int)
    assert_type([part async for part in parts("a")], list[str])


def read(definition: ToolDefinition) -> None:
    """Read what a caller may know."""
    assert_type(definition.input_schema, dict[str, Any])
    assert_type(definition.output_schema, dict[str, Any] | None)
    assert_type(definition.read_only, bool | None)


def take(make: Callable[[int], Awaitable[str]]) -> None:
    """Keep the parameters of a callable."""
    made = tool(make)
    assert_type(made(1), Awaitable[str])
    exact: FunctionTool[[int], Awaitable[str]] = made
    assert exact
