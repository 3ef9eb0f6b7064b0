"""One test from outside: install, discover, open, call, watch, close, nothing left."""

import json
from pathlib import Path

import pytest

from tests.repo.documents import Block, Sandbox

PYPROJECT = """# pyproject.toml
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "whole-way"
version = "1.0"
dependencies = ["toolkit-core"]

[project.entry-points."toolkit.tools"]
whole = "whole_way"

[tool.hatch.build.targets.wheel]
packages = ["whole_way"]
"""

PACKAGE = '''# whole_way/__init__.py
import os
from pathlib import Path

from pydantic import BaseModel

from toolkit import ToolContext


class Receipt(BaseModel):
    """A schema in the same module: it must not become a tool."""

    pid: int
    user: str


class SignFile:
    """Sign a file, so that somebody else can see that this ran."""

    name = "sign_file"
    required_scopes = frozenset({"whole:sign"})

    def execute(self, path: str, context: ToolContext) -> Receipt:
        """Sign it.

        Args:
            path: The file.
        """
        receipt = Receipt(pid=os.getpid(), user=context.user.user_id)
        Path(path).write_text(receipt.model_dump_json())
        return receipt
'''

SERVICE = """
import asyncio, gc, json, os, weakref
from toolkit import Settings, Toolkit, UserContext

alive = weakref.WeakSet()

async def call(kit, user, sinks):
    async with kit.user(user, sinks=sinks) as system:
        alive.update([system, system.registry, system.dispatcher])
        result = await system.execute("sign_file", {"path": user.user_id + ".json"})
        return None if result.ok else result.error.code

events = []
kit = Toolkit(Settings(allow=frozenset({"whole-way"})))
may = frozenset({"whole:sign"})
users = [UserContext(user_id=f"user-{n}", scopes=may) for n in range(20)]
users.append(UserContext(user_id="bob"))

async def all_at_once():
    tell = [lambda e: events.append([e.type, e.user_id])]
    return await asyncio.gather(*(call(kit, user, tell) for user in users))

codes = asyncio.run(all_at_once())
health = kit.health()
kit.close()
gc.collect()
print(json.dumps({
    "pid": os.getpid(), "tools": kit.catalog.names(), "codes": codes, "events": events,
    "alive": len(alive), "open": health["systems"]["open_systems"],
    "reasons": dict(kit.report.reasons()),
}))
"""


@pytest.mark.e2e
@pytest.mark.timeout(120)  # builds and installs; the machine may be busy
def test_whole_way_from_an_installed_package_to_nothing_left(tmp_path: Path) -> None:
    """Serve 21 users at once; 20 may sign (S13, S20, S24-S25, B41, B66)."""
    sandbox = Sandbox(tmp_path)
    (sandbox.cwd / "whole_way").mkdir()
    sandbox.write(Block("toml", PYPROJECT))
    sandbox.write(Block("python", PACKAGE))
    sandbox.shell("pip install --quiet .")
    (sandbox.cwd / "service").mkdir()
    sandbox.shell("cd service")
    told = json.loads(sandbox.notebook([SERVICE])[0])

    assert told["tools"] == ["sign_file"]
    assert told["reasons"]["pydantic_model"] == 1
    assert told["codes"] == [None] * 20 + ["tool_not_found"]
    users = [f"user-{number}" for number in range(20)]
    for user in users:
        seen = [kind for kind, whose in told["events"] if whose == user]
        assert seen == ["tool_executing", "tool_completed"]
        signed = json.loads((sandbox.cwd / f"{user}.json").read_text())
        assert signed == {"pid": told["pid"], "user": user}
    assert len(told["events"]) == 2 * len(users)
    assert not (sandbox.cwd / "bob.json").exists()
    assert told["open"] == 0
    assert told["alive"] == 0
