"""How many classes the filter judges in a second, and what a bare loop would take.

The classes are those of the standard library, and generated ones shaped like the tools
and schemas of real packages. The floor is the same loop with an `isinstance` in place
of the judge, in the same run. Run: ``python benchmarks/filter_rate.py [--runs 7]``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import make_dataclass
from enum import Enum
from functools import partial
from statistics import median
from typing import NamedTuple, TypedDict

from pydantic import BaseModel, create_model

from toolkit import Origin, ToolContract, UserContext
from toolkit.discovery.filters import judge
from toolkit.discovery.report import Candidate

TARGET = 100_000  # classes a second
EACH = 1_000  # generated classes of each shape
NOT_HARVESTED = frozenset({"antigravity", "this", "idlelib", "turtle", "turtledemo"})


def standard_library() -> list[type]:
    """Return every class that is known once the standard library is imported."""
    for name in sorted(sys.stdlib_module_names - NOT_HARVESTED):
        if name.startswith("__"):
            continue
        try:
            importlib.import_module(name)
        except (ImportError, OSError):  # not on this platform
            continue
    seen: dict[int, type] = {}
    waiting: list[type] = [object]
    while waiting:
        cls = waiting.pop()
        if id(cls) not in seen:
            seen[id(cls)] = cls
            waiting.extend(type.__subclasses__(cls))
    return [cls for cls in seen.values() if not cls.__module__.startswith("pydantic")]


def plain_tool(index: int) -> type:
    """Return a tool without a constructor, as most are."""

    class Tool:
        """Count words."""

        name = f"plain_{index}"

        def execute(self, text: str, limit: int = 10) -> str:
            return text[:limit]

    return Tool


def tool_with_constructor(index: int) -> type:
    """Return a tool whose constructor takes optional arguments."""

    class Tool:
        name = f"constructed_{index}"
        tags = ("text",)

        def __init__(self, limit: int = 10, *, verbose: bool = False) -> None:
            self.limit, self.verbose = limit, verbose

        def execute(self, text: str) -> str:
            return text[: self.limit]

    return Tool


def tool_for_user(index: int) -> type:
    """Return a tool whose constructor takes the user."""

    class Tool:
        name = f"for_user_{index}"

        def __init__(self, user: UserContext) -> None:
            self.user = user

        async def execute(self, text: str) -> str:
            return text

    return Tool


def inherited_tool(index: int) -> type:
    """Return a tool that inherits everything but its name."""
    base = tool_with_constructor(index)
    middle = type("Middle", (base,), {})
    return type("Tool", (middle,), {"name": f"inherited_{index}"})


def model(index: int) -> type:
    """Return a pydantic model."""
    return create_model(f"Model{index}", text=(str, ...), limit=(int, 10))


def child_model(index: int) -> type:
    """Return a model under another, with the attributes of a tool."""
    base = model(index)
    return type(
        "Child", (base,), {"__module__": __name__, "execute": lambda self: self}
    )


def record(index: int) -> type:
    """Return a dataclass."""
    return make_dataclass(f"Record{index}", [("text", str), ("limit", int)])


def typed_dict(_: int) -> type:
    """Return a TypedDict."""

    class Row(TypedDict):
        text: str

    return Row


def named_tuple(_: int) -> type:
    """Return a named tuple."""

    class Pair(NamedTuple):
        text: str

    return Pair


def enum(_: int) -> type:
    """Return an enum."""

    class Colour(Enum):
        RED = "red"

    return Colour


TOOLS = (plain_tool, tool_with_constructor, tool_for_user, inherited_tool)
SCHEMAS = (model, child_model, record, typed_dict, named_tuple, enum)


def generated(shapes: Sequence[Callable[[int], type]]) -> list[type]:
    """Return `EACH` classes of each shape."""
    return [shape(index) for shape in shapes for index in range(EACH)]


def seconds(function: Callable[[object], object], items: Sequence[object]) -> float:
    """Return the seconds a loop over all items takes."""
    started = time.perf_counter()
    for item in items:
        function(item)
    return time.perf_counter() - started


def is_schema(item: object) -> bool:
    """Ask what the cheapest imaginable filter would."""
    return isinstance(item, BaseModel)


def as_candidate(cls: type) -> Candidate:
    """Return the class as a scan of its module would yield it."""
    module = str(cls.__dict__.get("__module__", ""))
    origin = Origin("a-distribution", "1.0", "toolkit.tools", "tools", module)
    return Candidate(cls, origin, attribute=cls.__name__, module=module, package=module)


def measure(name: str, classes: list[type], runs: int) -> Iterator[tuple[str, float]]:
    """Print one line per judge over these classes.

    Yields:
        What was measured, and the classes judged in a second.
    """
    contract = ToolContract()
    candidates = [as_candidate(cls) for cls in classes]
    in_discovery: Callable[[object], object] = partial(_judge_candidate, contract)
    times = [
        (
            seconds(is_schema, classes),
            seconds(contract.judge, classes),
            seconds(in_discovery, candidates),
        )
        for _ in range(runs)
    ]
    floor = median(row[0] for row in times)
    for column, judged_by in ((1, "contract"), (2, "discovery")):
        rate = len(classes) / median(row[column] for row in times)
        ratio = median(row[column] / row[0] for row in times)
        print(
            f"{name:<18}{judged_by:<11}{len(classes):>8,}{rate:>13,.0f}"
            f"{len(classes) / floor:>13,.0f}{ratio:>8.1f}"
        )
        yield f"{name}, {judged_by}", rate


def _judge_candidate(contract: ToolContract, candidate: object) -> object:
    return judge(candidate, contract)  # type: ignore[arg-type]  # all are candidates


def main() -> int:
    """Measure each mix, print, and compare with the target.

    Returns:
        The exit status: 1 when a mix misses the target.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="the median of so many")
    runs = max(5, parser.parse_args().runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated modules of the standard library
        library = standard_library()
    tools, schemas = generated(TOOLS), generated(SCHEMAS)
    mixes = {
        "everything": library + tools + schemas,
        "standard library": library,
        "tools (accepted)": tools,
        "schemas": schemas,
    }
    print("classes judged in a second; the floor is the same loop with an isinstance")
    print(f"{'':<18}{'judge':<11}{'classes':>8}{'a second':>13}{'floor':>13}{'x':>8}")
    rates = [
        result
        for name, classes in mixes.items()
        for result in measure(name, classes, runs)
    ]
    slow = [name for name, rate in rates if rate < TARGET]
    print(f"below {TARGET:,}: {', '.join(slow) or 'none'}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
