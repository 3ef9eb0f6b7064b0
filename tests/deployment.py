"""A chat backend that is deployed: one that a test starts, or the one that is named.

``TOOLKIT_E2E_URL`` names a server, and ``TOOLKIT_E2E_TOKEN_COMMAND`` a command that
prints a token for the e-mail address that is its last argument; its bearer may use the
tools of the three agents. Without them, `toolkit serve` runs on this machine over the
packages in ``plugins/``, the one that is broken on purpose among them.
"""

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from toolkit import Settings
from toolkit.testing import ChatClient, connect, token_for
from toolkit.tokens import user_id_of_email

COMMAND: Final = Path(sys.executable).with_name("toolkit")
START: Final = 45.0  # seconds for a process to start on a busy machine
SCOPES: Final = ("costs:read", "data:read", "text:notes")
PLUGINS: Final = (
    *("toolkit-broken", "toolkit-cloud-costs", "toolkit-cost-agent", "toolkit-data"),
    *("toolkit-data-agent", "toolkit-text", "toolkit-triage"),
)
URL: Final = "TOOLKIT_E2E_URL"
TOKEN_COMMAND: Final = "TOOLKIT_E2E_TOKEN_COMMAND"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A server, and how to be one of its users.

    `folder` has the tables of its users where a test has started it, else None;
    `process` likewise.
    """

    url: str
    token: Callable[[str], str]
    folder: Path | None = None
    process: subprocess.Popen[str] | None = None

    async def connect(self, email: str, timeout: float = 30.0) -> ChatClient:  # noqa: ASYNC109 - passed on
        """Connect as whoever has that address."""
        return await connect(self.url, self.token(email), timeout=timeout)

    def write_orders(self, email: str) -> int | None:
        """Give a user a table; return the sum that only reading it can tell.

        None where the server is elsewhere: its users have tables of their own.
        """
        if self.folder is None:
            return None
        amounts = [secrets.randbelow(9_000) + 1_000 for _ in range(7)]
        home = self.folder / user_id_of_email(email)
        home.mkdir(exist_ok=True)
        rows = [f"{number},{amount}" for number, amount in enumerate(amounts)]
        (home / "orders.csv").write_text("\n".join(["number,amount", *rows]) + "\n")
        return sum(amounts)

    def numbers(self) -> dict[str, float]:
        """Return its metrics by name, with their labels."""
        answer = httpx.get(f"{self.url}/metrics", timeout=START)
        answer.raise_for_status()
        lines = [one for one in answer.text.splitlines() if not one.startswith("#")]
        return {name: float(n) for name, _, n in (one.rpartition(" ") for one in lines)}


def named(environ: Mapping[str, str]) -> Deployment | None:
    """Return the server that the environment names; None without one."""
    if not environ.get(URL):
        return None

    def token(email: str) -> str:
        command = [*shlex.split(environ[TOKEN_COMMAND]), email]
        done = subprocess.run(  # noqa: S603 - the operator's own command
            command, capture_output=True, encoding="utf-8", timeout=START, check=True
        )
        return done.stdout.strip()

    return Deployment(environ[URL], token)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """Use the server that is named, or run one until the end."""
    found = named(os.environ)
    if found is not None:
        yield found
        return
    with running(folder) as started:
        yield started


@contextmanager
def running(folder: Path, *arguments: str, **variables: str) -> Iterator[Deployment]:
    """Run `toolkit serve` in a folder, and stop it at the end.

    Args:
        folder: Where it works, and where its log is.
        *arguments: Options of the command.
        **variables: More of its environment.
    """
    secret = secrets.token_hex(32)
    tables = folder / "tables"
    tables.mkdir()
    (folder / "toolkit.toml").write_text("[server]\nport = 0\n")
    kept = {key: one for key, one in os.environ.items() if "TOOLKIT_" not in key}
    environ = {
        **kept,
        "TOOLKIT_ALLOW": ",".join(PLUGINS),
        "TOOLKIT_AUTH__SECRET": secret,
        "TOOLKIT_CACHE": "off",
        "TOOLKIT_DATA_ROOT": str(tables),
        **variables,
    }
    settings = Settings(auth={"secret": secret})  # type: ignore[arg-type]  # it becomes a table
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603 - our own command
            [COMMAND, "serve", *arguments],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, log.read_text()
            wait_until_ready(url)
            token = _tokens(settings)
            yield Deployment(url, token, tables, process)
        finally:
            process.terminate()
            process.wait(START)


def _tokens(settings: Settings) -> Callable[[str], str]:
    """Return what makes tokens; whoever is called root may administer."""

    def token(email: str) -> str:
        admin = {"toolkit:admin"} if email.startswith("root@") else set()
        return token_for(email, settings, scopes={*SCOPES, *admin})

    return token


def wait_until_ready(url: str) -> None:
    """Wait until newcomers are let in; `pytest-timeout` bounds it."""
    while httpx.get(f"{url}/health/ready", timeout=START).status_code != 200:
        continue
