"""The floor in a process of its own; imports nothing of the toolkit.

A bare Starlette application verifies a client's token once, then answers each request
with five ready-made events, as long as the toolkit's are. It runs in the same uvicorn,
with the same protocol and without compression, and logs nothing.
"""

from __future__ import annotations

import os
import socket
import sys

import jwt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

SECRET = "only-for-benchmarks-" * 2  # the servers are on loopback
BACKLOG = 2048
HEAD = (
    '{"version":1,"type":"%s","sequence":1234,"timestamp":"2026-11-27T12:00:00.000Z",'
    '"run_id":"0123456789abcdef0123456789abcdef","request_id":null,%s}'
)
CALL = '"call_id":"b75fe2b1d04e0a11-1-1234","tool":"order"'
ARGUMENTS = (
    '{"count":3,"name":"tea","prices":[1.5,2.25,4.0],'
    '"place":{"city":"Ulm","code":89073}}'
)
RESULT = '{"text":"tea to Ulm","total":23.25}'
STARTED = '"agent":"bench_agent","data":{"agent":"bench_agent","message_chars":9}'
THINKING = (
    '"thought":"adding up the order","data":{"agent":"bench_agent",'
    '"thought":"adding up the order","step":1}'
)
EXECUTING = f'{CALL},"data":{{{CALL},"arguments":{ARGUMENTS}}}'
CALLED = (
    f'{CALL},"ok":true,"data":{{{CALL},"ok":true,"seconds":0.000123456,'
    f'"truncated":false,"error_code":"","error":null,"result":{RESULT}}}'
)
COMPLETED = (
    '"result":"add it up: True","data":{"agent":"bench_agent",'
    '"result":"add it up: True","details":null,"seconds":0.000123456,"tool_calls":1}'
)
FIVE = [
    HEAD % ("agent_started", STARTED),
    HEAD % ("agent_thinking", THINKING),
    HEAD % ("tool_executing", EXECUTING),
    HEAD % ("tool_completed", CALLED),
    HEAD % ("agent_completed", COMPLETED),
]


def pin(core: int) -> None:
    """Stay on one core, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
        os.sched_setaffinity(0, {core})


async def serve(websocket: WebSocket) -> None:
    """Serve one connection."""
    token = websocket.headers["authorization"].removeprefix("Bearer ")
    jwt.decode(
        token, SECRET, algorithms=["HS256"], audience="toolkit", issuer="toolkit"
    )
    await websocket.accept()
    while (await websocket.receive())["type"] != "websocket.disconnect":
        for text in FIVE:
            await websocket.send({"type": "websocket.send", "text": text})


async def ready(_: Request) -> PlainTextResponse:
    """Say that it serves."""
    return PlainTextResponse("ready")


def main(core: int) -> None:
    """Serve on one core until told to stop."""
    pin(core)
    app = Starlette(
        routes=[WebSocketRoute("/ws", serve), Route("/health/ready", ready)]
    )
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(BACKLOG)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, ws="websockets-sansio", ws_per_message_deflate=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(int(sys.argv[1]))
