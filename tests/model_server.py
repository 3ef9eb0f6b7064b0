"""A server on this machine that speaks OpenAI's chat-completions protocol, by script.

Source: OpenAI, API reference, "Create chat completion" (2026-11), without streaming.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What the server answers one request with; a status of 0 is no answer at all."""

    status: int
    body: bytes


Script = Callable[[dict[str, Any]], Reply]


class ModelServer:
    """Answers each request as its script says, and keeps what it was sent."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.connections = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""
        self.close: Callable[[], None] = self.asked.clear

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        try:
            while head := await read_head(reader):
                reply = await self._answer(head, reader)
                if not reply.status:
                    await reader.read()  # until the other side gives up
                    break
                length = f"content-length: {len(reply.body)}"
                lines = [f"HTTP/1.1 {reply.status} Scripted", length]
                lines += ["content-type: application/json", "retry-after-ms: 1"]
                writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
                await writer.drain()
        finally:
            self.left.set()
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader) -> Reply:
        lines = [line.partition(":") for line in head.splitlines()[1:]]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        assert head.startswith("POST /v1/chat/completions ")
        assert not request.get("stream")
        self.requests.append(request)
        self.keys.append(headers["authorization"])
        self.asked.set()
        return self.script(request)


async def read_head(reader: asyncio.StreamReader) -> str:
    """Read a request up to its body; empty at the end of the connection."""
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode().strip()
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return ""


@asynccontextmanager
async def model_server(script: Script) -> AsyncIterator[ModelServer]:
    """Serve on a free port of this machine."""
    served = ModelServer(script)
    async with await asyncio.start_server(served.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        served.close = listening.close
        served.url = f"http://127.0.0.1:{port}/v1"
        yield served
        if served.tasks:  # their connections were closed by now
            await asyncio.wait(served.tasks, timeout=5.0)


def say(text: str | None, *calls: tuple[str, str]) -> Reply:
    """Answer with a text, with calls of tools (name, JSON arguments), or with both."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"c{number}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for number, (name, arguments) in enumerate(calls)
        ]
    choice = {
        "index": 0,
        "finish_reason": "tool_calls" if calls else "stop",
        "message": message,
    }
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "scripted"}
    return Reply(
        200, json.dumps({**body, "choices": [choice], "usage": usage}).encode()
    )


def texts(request: dict[str, Any], role: str) -> list[str]:
    """Return what one side has said in a request's conversation."""
    return [one["content"] for one in request["messages"] if one["role"] == role]
