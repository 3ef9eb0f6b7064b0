"""A real server on a real socket, for tests, and clients that talk to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from toolkit import AgentRun, Settings, Toolkit, tool
from toolkit.server.app import STATE, create_app
from toolkit.server.backend import Backend
from toolkit.server.serve import bind, config_for, url_of
from toolkit.session.messages import MESSAGES, MessageType
from toolkit.tokens import mint_token

SECRET: Final = "only-for-tests-" * 4
SOON: Final = 5.0
FIVE: Final = [
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "agent_completed",
]
ENDS: Final = frozenset({"agent_completed", "error"})


@tool
async def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


class Triage:
    """Calls the tool that it is told to, such as ``add {"left": 1, "right": 2}``."""

    name = "triage_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        """Answer with what the tool says."""
        await run.think("looking for the right tool")
        name, _, arguments = message.partition(" ")
        result = await run.call(name, arguments or "{}")
        if result.error is not None:
            return f"{name} failed: {result.error.code}"
        return f"{name} says {result.value}, to {run.user.user_id}"


def settings(
    *,
    auth: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    **server: Any,
) -> Settings:
    """Return settings of a server that finds no installed package."""
    return Settings(
        **{"allow": frozenset(), **(rules or {})},
        server={"port": 0, **server},  # type: ignore[arg-type]  # it becomes a table
        auth={"secret": SECRET, **(auth or {})},  # type: ignore[arg-type]  # the same
    )


def token(user: str, *, scopes: Iterable[str] = (), **facts: Any) -> str:
    """Return a token that the servers of these tests believe."""
    return mint_token(settings().auth, user_id=user, scopes=scopes, **facts)


def bearer(user: str, **facts: Any) -> dict[str, str]:
    """Return the header with such a token."""
    return {"authorization": f"Bearer {token(user, **facts)}"}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs. Lives as long as its test."""

    backend: Backend
    url: str
    server: uvicorn.Server

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def connect(self, user: str | None = None, **options: Any) -> connect:
        """Return what connects as a user, by the header unless told otherwise."""
        if user is not None:
            options["additional_headers"] = bearer(user) | options.get(
                "additional_headers", {}
            )
        url = self.url.replace("http", "ws", 1) + options.pop("path", "/ws")
        return connect(url, open_timeout=SOON, compression=None, proxy=None, **options)

    def http(self, user: str | None = None) -> httpx.AsyncClient:
        """Return a client for HTTP, as a user or as nobody."""
        headers = {} if user is None else bearer(user)
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=SOON)

    async def stop(self) -> None:
        """Tell it to stop, as a signal does."""
        self.server.should_exit = True


@asynccontextmanager
async def serving(
    *tools: object,
    agents: Iterable[object] = (Triage,),
    auth: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    **server: Any,
) -> AsyncIterator[Running]:
    """Serve these tools and agents on a free port until the test ends."""
    chosen = settings(auth=auth, rules=rules, **server)
    with Toolkit(chosen, objects=tools or (add,), agents=agents) as kit:
        app = create_app(kit=kit)
        listening = bind(chosen)
        running = uvicorn.Server(config_for(chosen.server, lambda: app))
        task = asyncio.create_task(running.serve(sockets=[listening]))
        backend: Backend = getattr(app.state, STATE)
        try:
            yield Running(backend, url_of(listening, chosen), running)
        finally:
            running.should_exit = True
            await task


async def say(client: ClientConnection, kind: str, **fields: Any) -> None:
    """Send one message."""
    await client.send(json.dumps({"type": kind, **fields}))


async def hear(client: ClientConnection) -> dict[str, Any]:
    """Return the next message, held against its published model."""
    async with asyncio.timeout(SOON):
        text = await client.recv()
    message: dict[str, Any] = json.loads(text)
    MESSAGES[MessageType(message["type"])].model_validate_json(text)
    return message


async def hear_until_end(client: ClientConnection) -> list[dict[str, Any]]:
    """Return the messages up to the end of a run."""
    heard = [await hear(client)]
    while heard[-1]["type"] not in ENDS:
        heard.append(await hear(client))
    return heard


async def hear_for_ever(client: ClientConnection) -> None:
    """Hear messages; ends only as the connection does."""
    while True:
        await hear(client)


async def ask(client: ClientConnection, message: str, **fields: Any) -> list[Any]:
    """Ask an agent; return the messages of the run."""
    await say(client, "agent_request", message=message, **fields)
    return await hear_until_end(client)


def types(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the types of messages."""
    return [str(one["type"]) for one in messages]


async def until(is_so: Callable[[], bool]) -> None:
    """Let everything else go on until something is so."""
    async with asyncio.timeout(SOON):
        while not is_so():  # noqa: ASYNC110 - nobody announces it; bounded above
            await asyncio.sleep(0)


async def until_empty(chat: Running) -> None:
    """Wait until nobody is connected any more, and whoever served them is done."""
    tasks = chat.server.server_state.tasks
    await until(lambda: not len(chat.backend.connections) and not tasks)
