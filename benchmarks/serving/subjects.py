"""What is served: a hundred tools, two agents, and the floor's five events."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.execution.subjects import DATA, Order, stateful
from toolkit import AgentRun

TOOLS: Final = 100
SECRET: Final = "only-for-benchmarks-" * 2  # the servers are on loopback
DISTRIBUTION: Final = "bench-serving"
THOUGHT: Final = "x" * 1_000

STATEFUL: Final = {one.__name__: one for one in stateful(TOOLS - 1)}
globals().update(STATEFUL)  # entry points name attributes of modules


class Bench:
    """Adds up an order, with a thought before and one tool."""

    name = "bench_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        """Answer with what the order comes to."""
        await run.think("adding up the order")
        result = await run.call(Order.name, DATA)
        return f"{message}: {result.ok}"


class Flood:
    """Thinks aloud, of a kilobyte each time, for as long as it may."""

    name = "flood_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        """Never come to an answer."""
        while message:
            await run.think(THOUGHT)
        return message


def publish(folder: Path) -> None:
    """Leave in a folder what an installer leaves of a distribution with all that."""
    home = folder / "bench_serving-1.0.dist-info"
    home.mkdir()
    lines = ["[toolkit.tools]", f"order = {Order.__module__}:{Order.__name__}"]
    lines += [f"{one.name} = {__name__}:{attr}" for attr, one in STATEFUL.items()]
    lines += ["", "[toolkit.agents]"]
    lines += [f"{one.name} = {__name__}:{one.__name__}" for one in (Bench, Flood)]
    (home / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    metadata = f"Metadata-Version: 2.4\nName: {DISTRIBUTION}\nVersion: 1.0\n"
    (home / "METADATA").write_text(metadata, encoding="utf-8")
    (home / "RECORD").write_text("", encoding="utf-8")
