"""The same tool with others, each in a process of the environment they live in.

Beside each stand floor D and the toolkit's own call, measured in that process and by
turns with it: what its imports do to the interpreter, they do to all three alike. Each
is asked by its documented ways for one call of one known tool, from JSON to an answer;
where it takes no JSON, pydantic-core reads it, which no caller can do for less. Whether
it checks arguments is tried, not taken from its documents.

Run by `environment.py`: ``python -m benchmarks.execution.contenders NAME RUNS``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ProcessPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from statistics import median
from typing import Any

from pydantic_core import from_json

from benchmarks.execution.calls import ASYNC, D, toolkit_of
from benchmarks.execution.processes import bare_calls, echo
from benchmarks.execution.subjects import (
    DATA,
    NOT_VALID,
    TOTAL,
    Order,
    floor,
    order,
    stateful,
)
from benchmarks.execution.timing import Call, Case, awaited, by_turns, waits_under_load
from toolkit import UserContext

TOOLS = 1_000  # given to one user
BLOCKING = 200
GIVEN_BY_US = f"giving {TOOLS:,} tools to one user, toolkit"

Way = Callable[[str, bytes], Awaitable[object]]
"""Calls a tool by its name, with arguments in JSON."""


@dataclass(frozen=True)
class Contender:
    """One of the others, ready to be called. Immutable.

    Attributes:
        ways: How it can be called, by title; the first is the most direct.
        give: Gives a user what is known of 1,000 tools, if it has a way to.
    """

    ways: Mapping[str, Way]
    give: Call | None = None


# --- the tools, as plain functions ---------------------------------------------------

seen: list[object] = []


async def look(count: int) -> int:
    """Note what comes through."""
    seen.append(count)
    return 0


def block() -> None:
    """Keep a thread for a tenth of a second."""
    time.sleep(0.1)


def instant() -> int:
    """Answer at once."""
    return 1


TOOLS_ASYNC: Sequence[Callable[..., Any]] = (order, look)
TOOLS_SYNC: Sequence[Callable[..., Any]] = (block, instant)


def numbered() -> list[Callable[..., Any]]:
    """Return 1,000 tools."""
    return [_numbered(number) for number in range(TOOLS)]


def _numbered(number: int) -> Callable[..., Any]:
    async def numbered_tool(text: str) -> str:
        """Give a text back."""
        return text

    numbered_tool.__name__ = f"tool_{number:04}"
    return numbered_tool


# --- contenders ----------------------------------------------------------------------


@asynccontextmanager
async def pydantic_ai() -> AsyncIterator[Contender]:
    """Call through `ToolManager`, as an agent's run does.

    Yields:
        The contender.
    """
    package, messages = (
        import_module("pydantic_ai"),
        import_module("pydantic_ai.messages"),
    )
    manager_of = import_module("pydantic_ai.tool_manager").ToolManager
    toolset_of = import_module("pydantic_ai.toolsets").FunctionToolset
    context = package.RunContext(
        deps=None,
        model=import_module("pydantic_ai.models.test").TestModel(),
        usage=package.RunUsage(),
    )
    manager = await manager_of(toolset_of([*TOOLS_ASYNC, *TOOLS_SYNC])).for_run_step(
        context
    )

    async def to_value(name: str, data: bytes) -> object:
        part = messages.ToolCallPart(name, data.decode())
        return await manager.handle_call(part)

    async def to_text(name: str, data: bytes) -> object:
        part = messages.ToolCallPart(name, data.decode())
        value = await manager.handle_call(part)
        answer = messages.ToolReturnPart(name, value, tool_call_id=part.tool_call_id)
        return answer.model_response_str()

    many = toolset_of(numbered())

    async def give() -> object:
        return (await manager_of(many).for_run_step(context)).tool_defs

    yield Contender({"to a value": to_value, "to JSON": to_text}, give)


@asynccontextmanager
async def mcp() -> AsyncIterator[Contender]:
    """Call the SDK's server as it calls itself, and through a client in memory.

    Yields:
        The contender.
    """
    server_of = import_module("mcp.server.mcpserver").MCPServer
    server, many = server_of("bench"), server_of("many")
    for function in (*TOOLS_ASYNC, *TOOLS_SYNC):
        server.add_tool(function)
    for function in numbered():
        many.add_tool(function)
    async with import_module("mcp").Client(server) as client:
        yield Contender(_both_ways(server, client), many.list_tools)


@asynccontextmanager
async def fastmcp() -> AsyncIterator[Contender]:
    """Call the server as its documents show, and through a client in memory.

    Yields:
        The contender.
    """
    package = import_module("fastmcp")
    server, many = package.FastMCP("bench"), package.FastMCP("many")
    for function in (*TOOLS_ASYNC, *TOOLS_SYNC):
        server.tool(function)
    for function in numbered():
        many.tool(function)
    async with package.Client(server) as client:
        yield Contender(_both_ways(server, client), many.list_tools)


def _both_ways(server: Any, client: Any) -> dict[str, Way]:  # noqa: ANN401 - the contender's own
    return {
        "server.call_tool": _parsing(server.call_tool),
        "client in memory": _parsing(client.call_tool),
    }


@asynccontextmanager
async def langchain() -> AsyncIterator[Contender]:
    """Call `StructuredTool`s; a user is given a list of them, which costs nothing.

    Yields:
        The contender.
    """
    make = import_module("langchain_core.tools").StructuredTool.from_function
    tools = {one.__name__: make(coroutine=one) for one in TOOLS_ASYNC}
    tools |= {one.__name__: make(one) for one in TOOLS_SYNC}

    async def invoke(name: str, data: bytes) -> object:
        return await tools[name].ainvoke(from_json(data))

    yield Contender({"StructuredTool.ainvoke": invoke})


def _parsing(call: Callable[[str, Any], Awaitable[object]]) -> Way:
    async def parsed(name: str, data: bytes) -> object:
        return await call(name, from_json(data))

    return parsed


CONTENDERS: Mapping[
    str, tuple[str, Callable[[], AbstractAsyncContextManager[Contender]]]
] = {
    "pydantic-ai": ("pydantic-ai-slim", pydantic_ai),
    "mcp": ("mcp", mcp),
    "fastmcp": ("fastmcp", fastmcp),
    "langchain-core": ("langchain-core", langchain),
}
"""Each one's distribution, and what lends it."""


# --- measuring -----------------------------------------------------------------------


async def validates(way: Way) -> bool:
    """Tell whether arguments that do not fit are kept from a tool."""
    seen.clear()
    return (
        await _is_refused(way, "look", b'{"count": "many"}')
        and await _is_refused(way, "order", NOT_VALID)
        and not seen
    )


async def _is_refused(way: Way, name: str, data: bytes) -> bool:
    try:
        answer = await way(name, data)
    except Exception:  # noqa: BLE001 - each has an error of its own
        return True
    return bool(getattr(answer, "is_error", False))


async def compared(name: str, runs: int) -> dict[str, Any]:
    """Measure one contender, floor D and the toolkit by turns."""
    distribution, lend = CONTENDERS[name]
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(lend())
        kit = stack.enter_context(
            toolkit_of([Order, *stateful(TOOLS)], max_concurrent_calls=BLOCKING)
        )
        context = UserContext(user_id="ann")
        system = stack.enter_context(kit.user(context))
        ways = {f"{name}, {title}": way for title, way in other.ways.items()}
        for title, way in ways.items():
            answer = repr(await way("order", DATA))
            if str(TOTAL) not in answer:
                raise SystemExit(f"{title} has answered {answer}")
        cases = [
            Case(D, floor(Order())),
            Case(ASYNC, awaited(partial(system.execute, "order", DATA))),
            *(
                Case(title, awaited(partial(way, "order", DATA)), count=20)
                for title, way in ways.items()
            ),
        ]
        rows = await by_turns(cases, runs)
        if other.give is not None:

            async def give() -> None:
                with kit.user(context) as new:
                    new.definitions()

            given = [
                Case(GIVEN_BY_US, awaited(give), count=1),
                Case(f"the same, {name}", awaited(other.give), count=1),
            ]
            rows |= await by_turns(given, runs)
        way = next(iter(ways.values()))
        waits = await waits_under_load(
            partial(way, "block", b"{}"), partial(way, "instant", b"{}"), BLOCKING
        )
        return {
            "version": version(distribution),
            "rows": rows,
            "validates": {title: await validates(way) for title, way in ways.items()},
            "waits": [median(waits), max(waits)],
        }


# --- other ways to a warm process ----------------------------------------------------


@contextmanager
def pebble() -> Iterator[Call]:
    """Call in pebble's pool, which can end a worker at a deadline.

    Yields:
        The call.
    """
    pool = import_module("pebble").ProcessPool(max_workers=1)
    try:
        yield lambda: asyncio.wrap_future(pool.submit(echo, None, DATA))
    finally:
        pool.stop()
        pool.join()


@contextmanager
def loky() -> Iterator[Call]:
    """Call in loky's pool, which starts anew when a worker has died.

    Yields:
        The call.
    """
    with import_module("loky").get_reusable_executor(max_workers=1) as pool:
        yield lambda: asyncio.wrap_future(pool.submit(echo, DATA))


@contextmanager
def anyio() -> Iterator[Call]:
    """Call in a process that anyio keeps.

    Yields:
        The call.
    """
    yield partial(import_module("anyio.to_process").run_sync, echo, DATA)


@contextmanager
def futures() -> Iterator[Call]:
    """Call in the standard library's pool.

    Yields:
        The call.
    """
    with ProcessPoolExecutor(max_workers=1) as pool:
        yield lambda: asyncio.wrap_future(pool.submit(echo, DATA))


WORKERS: Mapping[str, Callable[[], AbstractContextManager[Call]]] = {
    "pebble": pebble,
    "loky": loky,
    "anyio.to_process": anyio,
    "concurrent.futures": futures,
}
"""Each in a process of its own: some fork, which must not meet another's threads."""


async def warm(name: str, runs: int) -> dict[str, Any]:
    """Measure a warm call with one library that keeps processes, and the bare call."""
    with WORKERS[name]() as call:
        await call()
        async with bare_calls() as (bare, _):
            rows = await by_turns([bare, Case(name, awaited(call), count=20)], runs)
    return {"rows": rows}


def main(name: str, runs: int) -> None:
    """Measure one, and print what the parent wants to know in the last line."""
    work = warm(name, runs) if name in WORKERS else compared(name, runs)
    print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
