"""`toolkit serve` as operators run it: processes, signals, sockets, real tokens."""

import asyncio
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.distributions import Site
from tests.serving import (
    FIVE,
    SECRET,
    bearer,
    hear,
    hear_for_ever,
    hear_until_end,
    say,
    types,
)

COMMAND: Final = Path(sys.executable).with_name("toolkit")
START: Final = 45.0  # seconds for a process to start on a busy machine
END: Final = 20.0

CODE: Final = '''
import asyncio, os
from pathlib import Path
from toolkit import AgentRun, tool

@tool
async def leave_note(folder: str, text: str) -> int:
    """Write a note into a folder, and say which process did."""
    Path(folder, "note").write_text(text)
    return os.getpid()

@tool
async def wait_for(file: str) -> str:
    """Wait until a file is there."""
    Path(file + ".waits").touch()
    while not Path(file).exists():
        await asyncio.sleep(0.01)
    return "it is there"

class Triage:
    """Calls the tool that it is told to."""
    name = "triage_agent"
    async def run(self, message: str, run: AgentRun) -> str:
        await run.think("which tool?")
        name, _, arguments = message.partition(" ")
        result = await run.call(name, arguments)
        return f"{name}: {result.value}"
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a distribution with two tools and an agent."""
    folder = tmp_path_factory.mktemp("installed")
    Site(folder).install(
        "chat-things",
        {
            "toolkit.tools": {
                "leave_note": "chat_things:leave_note",
                "wait_for": "chat_things:wait_for",
            },
            "toolkit.agents": {"triage_agent": "chat_things:Triage"},
        },
        {"chat_things.py": CODE},
    )
    return folder


class Served:
    """A process that serves. Lives as long as its test."""

    def __init__(
        self, process: asyncio.subprocess.Process, lines: list[str], log: Path
    ) -> None:
        self.process = process
        self.url, *self.more = lines
        self._log = log

    def log(self) -> list[dict[str, Any]]:
        """Return what it has logged: each line is an object."""
        return [json.loads(one) for one in self._log.read_text().splitlines()]

    def connect(self, user: str, **options: Any) -> connect:
        """Return what connects as a user."""
        return connect(
            self.url.replace("http", "ws", 1) + "/ws",
            additional_headers=bearer(user) if user else None,
            open_timeout=END,
            proxy=None,
            **options,
        )

    async def ready(self, **options: Any) -> None:
        """Wait until newcomers are let in."""
        async with asyncio.timeout(START), httpx.AsyncClient(**options) as http:
            while True:
                answer = await http.get(f"{self.url}/health/ready", timeout=START)
                if answer.status_code == 200:
                    return

    async def ended(self) -> int:
        """Wait for its end; return the exit status."""
        async with asyncio.timeout(END):
            return await self.process.wait()


@asynccontextmanager
async def serve(
    site: Path, folder: Path, *arguments: str, lines: int = 1, **settings: str
) -> AsyncIterator[Served]:
    """Run the command, and kill it at the end where it still runs."""
    process = await start(site, folder, *arguments, **settings)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START):
            told = [(await process.stdout.readline()).decode() for _ in range(lines)]
        assert all(told), (folder / "log").read_text()
        served = Served(process, [one.strip() for one in told], folder / "log")
        yield served
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def start(
    site: Path, folder: Path, *arguments: str, **settings: str
) -> asyncio.subprocess.Process:
    """Start ``toolkit serve`` in a folder; its log goes to a file there."""
    given = {
        "TOOLKIT_ALLOW": "chat-things",
        "TOOLKIT_AUTH__SECRET": SECRET,
        "TOOLKIT_SERVER__PORT": "0",
        "PYTHONPATH": str(site),
        **settings,
    }
    environ = {key: one for key, one in {**os.environ, **given}.items() if one}
    with (folder / "log").open("w") as log:
        return await asyncio.create_subprocess_exec(
            *(str(COMMAND), "serve", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=environ,
        )


async def ask(client: ClientConnection, tool: str, **arguments: str) -> list[Any]:
    """Ask for a call; return the messages of the run."""
    await begin(client, tool, **arguments)
    return await hear_until_end(client)


async def begin(client: ClientConnection, tool: str, **arguments: str) -> None:
    """Ask for a call."""
    await say(client, "agent_request", message=f"{tool} {json.dumps(arguments)}")


async def closed(client: ClientConnection) -> int | None:
    """Read to the end of a connection; return the code it is closed with."""
    with pytest.raises(ConnectionClosed):
        await hear_for_ever(client)
    return client.close_code


async def test_operator_starts_it_users_chat_and_it_stops(
    site: Path, tmp_path: Path
) -> None:
    """Installed packages are served to users with tokens, with a real side effect, and
    the log has each connection and no secret (S4, S20, S58-S60, S63-S66, S68, S69,
    S71-S75, S83-S85, S105, S107-S110, S138, S192, B62, B66).
    """
    async with serve(site, tmp_path) as served:
        await served.ready()
        started = time.monotonic()
        async with served.connect("ann") as client:
            text = "written by a tool"
            heard = await ask(client, "leave_note", folder=str(tmp_path), text=text)
        assert types(heard) == FIVE
        assert time.monotonic() - started < 8.0
        assert (tmp_path / "note").read_text() == text
        assert heard[-1]["result"] == f"leave_note: {served.process.pid}"
        old = ("already registered", "context validation failed")
        assert not any(word in str(heard) for word in old)
        async with httpx.AsyncClient() as http:
            refused = await http.get(f"{served.url}/tools?access_token={SECRET}")
            assert refused.status_code == 400
        served.process.send_signal(signal.SIGTERM)
        assert await served.ended() == -signal.SIGTERM
        log = served.log()
        opened = [one for one in log if one["message"] == "a connection is open"]
        assert {one["level"] for one in log} == {"info"}
        assert [one["user_id"] for one in opened] == ["ann"]
        assert len(opened[0]["connection_id"]) == 32
        text = json.dumps(log)
        assert SECRET not in text
        assert "access_token" not in text
        assert "eyJ" not in text


async def test_stop_lets_runs_under_way_end_and_nobody_in(
    site: Path, tmp_path: Path
) -> None:
    """At SIGTERM under load every run still ends with its answer, newcomers are
    refused, connections are closed with 1001 (S75, B44, B50).
    """
    async with serve(site, tmp_path) as served:
        await served.ready()
        file = tmp_path / "go"
        clients = [await served.connect(f"user-{n}") for n in range(5)]
        for one in clients:
            await begin(one, "wait_for", file=str(file))
            assert [(await hear(one))["type"] for _ in range(3)] == FIVE[:3]
        idle = await served.connect("idle")
        served.process.send_signal(signal.SIGTERM)
        assert await closed(idle) == 1001
        with pytest.raises((OSError, InvalidStatus)):
            await served.connect("newcomer")
        file.touch()
        for one in clients:
            heard = await hear_until_end(one)
            assert types(heard) == FIVE[3:]
            assert heard[-1]["result"] == "wait_for: it is there"
            assert await closed(one) == 1001
        assert await served.ended() == -signal.SIGTERM


async def test_stop_does_not_wait_for_ever(site: Path, tmp_path: Path) -> None:
    """A run that does not end is given up after the time to drain, and its user is
    told (B30, B53).
    """
    async with serve(site, tmp_path, TOOLKIT_SERVER__DRAIN_TIMEOUT="0.3") as served:
        await served.ready()
        client = await served.connect("ann")
        await begin(client, "wait_for", file=str(tmp_path / "never"))
        heard = [await hear(client) for _ in range(3)]
        served.process.send_signal(signal.SIGTERM)
        heard = await hear_until_end(client)
        assert heard[-1]["code"] == "run_cancelled"
        assert await closed(client) == 1001
        assert await served.ended() == -signal.SIGTERM


async def test_killed_server_starts_again_at_the_same_place(
    site: Path, tmp_path: Path
) -> None:
    """After kill -9 nothing is in the way of a new start, and users come back with the
    same token (S51, S149, S186).
    """
    async with serve(site, tmp_path) as served:
        await served.ready()
        client = await served.connect("ann")
        await begin(client, "wait_for", file=str(tmp_path / "never"))
        await hear(client)
        served.process.kill()
        assert await closed(client) == 1006
        assert await served.ended() == -signal.SIGKILL
        port = served.url.rpartition(":")[2]
    async with serve(site, tmp_path, "--port", port) as served:
        await served.ready()
        async with served.connect("ann") as client:
            heard = await ask(client, "leave_note", folder=str(tmp_path), text="back")
        assert types(heard) == FIVE


async def test_several_workers_share_one_address(site: Path, tmp_path: Path) -> None:
    """Two processes serve at one address, and both end when they are told (S140)."""
    async with serve(site, tmp_path, "--workers", "2") as served:
        await served.ready()
        seen: set[str] = set()
        async with asyncio.timeout(START):
            while len(seen) < 2:
                with suppress(InvalidStatus):  # one of them still discovers
                    async with served.connect("ann") as client:
                        heard = await ask(
                            client, "leave_note", folder=str(tmp_path), text="x"
                        )
                        assert types(heard) == FIVE
                        seen.add(heard[-1]["result"])
        assert f"leave_note: {served.process.pid}" not in seen
        served.process.send_signal(signal.SIGTERM)
        assert await served.ended() == 0


# --- how it does not start ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "settings", "remedy"),
    [
        ((), {"TOOLKIT_AUTH__SECRET": ""}, "give a secret, or a public key"),
        (("--dev", "--host", "0.0.0.0"), {}, "--dev serves this machine only"),  # noqa: S104 - it is refused
        (("--scope", "a"), {}, "goes with --dev"),
        ((), {"TOOLKIT_SERVER__HOST": "192.0.2.1"}, "nobody can listen there"),
        (
            (),
            {
                "TOOLKIT_SERVER__TLS_CERTIFICATE": "nowhere.pem",
                "TOOLKIT_SERVER__TLS_KEY": "nowhere.pem",
            },
            "give the path of a PEM file",
        ),
    ],
    ids=["no key", "dev for all", "scope", "no such host", "no certificate"],
)
async def test_configuration_that_cannot_serve_ends_with_the_remedy(
    site: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    settings: dict[str, str],
    remedy: str,
) -> None:
    """What is not right is said at once, with what to change, and exit status 2 (B61).

    No flag or variable makes it serve without verifying tokens.
    """
    process = await start(site, tmp_path, *arguments, **settings)
    async with asyncio.timeout(START):
        out, _ = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert remedy in " ".join((tmp_path / "log").read_text().split())


async def test_development_server_makes_a_key_of_its_own(
    site: Path, tmp_path: Path
) -> None:
    """With --dev it prints where it is and a token that works; a token of the
    configured secret does not (B61).
    """
    async with serve(site, tmp_path, "--dev", lines=2) as served:
        await served.ready()
        (token,) = served.more
        with pytest.raises(InvalidStatus) as refused:
            await served.connect("ann")
        assert refused.value.response.status_code == 401
        protocols: list[Any] = ["toolkit.v1", f"bearer.{token}"]
        async with served.connect("", subprotocols=protocols) as client:
            heard = await ask(client, "leave_note", folder=str(tmp_path), text="dev")
        assert types(heard) == FIVE


async def test_certificate_makes_it_speak_tls(site: Path, tmp_path: Path) -> None:
    """With a certificate and its key, it is reached over TLS alone."""
    certificate, key = self_signed(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    async with serve(
        site,
        tmp_path,
        TOOLKIT_SERVER__TLS_CERTIFICATE=str(certificate),
        TOOLKIT_SERVER__TLS_KEY=str(key),
    ) as served:
        assert served.url.startswith("https://")
        await served.ready(verify=trust)
        async with served.connect("ann", ssl=trust) as client:
            heard = await ask(client, "leave_note", folder=str(tmp_path), text="tls")
        assert types(heard) == FIVE


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine, and its key."""
    from ipaddress import ip_address  # noqa: PLC0415 - only here

    from cryptography import x509  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(form.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
    )
    return files
