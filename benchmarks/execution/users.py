"""What a user costs: a tool system, the first use of their tools, and many users.

Beside them stands what declaring a tool costs, which is paid once for all users. What
is made only when it is needed costs nothing until then; so each is measured once more
with all that a use needs, and a declared tool is judged by that.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

import toolkit
from benchmarks.discovery.parts import Check, Table
from benchmarks.discovery.processes import FOREIGN, TIMEOUT
from benchmarks.execution.calls import against, shown, toolkit_of
from benchmarks.execution.subjects import DATA, Answer, Place, stateful
from benchmarks.execution.timing import Case, Loop, by_turns, plain
from toolkit import UserContext, UserToolSystem
from toolkit.compiler import compile_tool

SIZES = (10, 100, 1_000)
SYSTEMS = 1_000  # that memory is measured over
KIB = 1024

MOST_SYSTEM = 2.0  # us
MOST_SYSTEM_KIB = 1.0
MOST_APART = 1.2  # "the same at all three": the largest over the smallest
STATEFUL, MOST_FIRST_USE = 100, 1.5
MOST_DECLARING = 1.2
LIVE, MOST_LIVE = 100_000, 150.0  # MB

PLAIN_OBJECT = "floor: two objects of four slots"
ONE_TOOL = "stateful_0000"
USED = "1,000 tools, one of them and the dispatcher used"
FIRST_USE = "100 tools, each instance asked for once"
FIRST_CALLS = "100 tools, first calls"
SECOND_CALLS = "100 tools, second calls"
FLOOR_FIRST = "floor: 100 objects and dict entries"
COMPILED = "compile_tool, schemas read, arguments checked"
COMPILED_ALONE = "compile_tool alone"
ADAPTERS = "pydantic, arguments and result"
ADAPTER = "pydantic, adapter of arguments alone"


# --- one system ----------------------------------------------------------------------


def created(count: int) -> str:
    """Return the title of creating and closing a system."""
    return f"created and closed, {count:,} tools"


def only_created(count: int) -> str:
    """Return the title of creating a system."""
    return f"created alone, {count:,} tools"


def used(count: int) -> str:
    """Return the title of a system that is used, and not only created."""
    return f"the same, one tool and the dispatcher used, {count:,} tools"


def systems(runs: int) -> Iterator[Table]:
    """Measure one user's system over catalogs of several sizes.

    Yields:
        Its time, and its memory.
    """
    kits = {count: toolkit_of(stateful(count)) for count in SIZES}
    context = UserContext(user_id="ann")
    cases = [Case(PLAIN_OBJECT, plain(_two_objects))]
    create: partial[UserToolSystem]
    for count, kit in kits.items():
        create = partial(kit.factory.create_user_tool_system, context)
        cases += [
            Case(created(count), plain(partial(_create_and_close, create))),
            Case(only_created(count), _creating(create)),
        ]
    use = plain(partial(_create_use_and_close, create))
    cases.append(Case(used(SIZES[-1]), use))
    rows = asyncio.run(by_turns(cases, runs))
    middle = [median(rows[created(count)]) for count in SIZES]
    checks = [
        Check(created(count), value, MOST_SYSTEM, "us")
        for count, value in zip(SIZES, middle, strict=True)
    ]
    apart = Check("largest over smallest", max(middle) / min(middle), MOST_APART, "x")
    checks += [apart, shown(rows, created(SIZES[-1]), PLAIN_OBJECT)]
    checks.append(shown(rows, used(SIZES[-1]), PLAIN_OBJECT))
    yield Table("one user's system", "us", rows, checks)
    memory = {
        f"{count:,} tools": [_kib_each(kit, context) for _ in range(runs)]
        for count, kit in kits.items()
    }
    middle = [median(values) for values in memory.values()]
    checks = [
        Check(title, value, MOST_SYSTEM_KIB, "KiB")
        for title, value in zip(memory, middle, strict=True)
    ]
    checks.append(
        Check("largest over smallest", max(middle) / min(middle), MOST_APART, "x")
    )
    memory[USED] = [
        _kib_each(kits[SIZES[-1]], context, is_used=True) for _ in range(runs)
    ]
    checks.append(
        Check(USED, median(memory[USED]), MOST_SYSTEM_KIB, "KiB", is_judged=False)
    )
    title = "one user's system: traced memory, the context not counted"
    yield Table(title, "KiB", memory, checks)
    for kit in kits.values():
        kit.close()


class _Slots:
    __slots__ = ("a", "b", "c", "d")

    def __init__(self, a: object) -> None:
        self.a = self.b = self.c = self.d = a


def _two_objects() -> object:
    return _Slots(_Slots(None))


def _create_and_close(create: partial[UserToolSystem]) -> None:
    create().close()


def _create_use_and_close(create: partial[UserToolSystem]) -> object:
    with create() as system:
        system.registry.instance(system.registry.find(ONE_TOOL))
        return system.dispatcher


def _creating(create: partial[UserToolSystem]) -> Loop:
    async def loop(times: int) -> int:
        made: list[UserToolSystem] = []
        keep = made.append
        started = perf_counter_ns()
        for _ in range(times):
            keep(create())
        spent = perf_counter_ns() - started
        for system in made:
            system.close()
        return spent

    return loop


def _kib_each(
    kit: toolkit.Toolkit, context: UserContext, *, is_used: bool = False
) -> float:
    """Return the KiB that tracemalloc counts for each of 1,000 open systems."""
    kit.user(context).close()
    made: list[UserToolSystem | None] = [None] * SYSTEMS
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(SYSTEMS):
            made[number] = system = kit.user(context)
            if is_used:
                system.registry.instance(system.registry.find(ONE_TOOL))
                _ = system.dispatcher
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for one in made:
        if one is not None:
            one.close()
    return (after - before) / SYSTEMS / KIB


# --- the first use of stateful tools -------------------------------------------------


def stateful_tools(runs: int) -> Iterator[Table]:
    """Measure 100 tools with instances of their own, used by a new user.

    Yields:
        The table.
    """
    classes = stateful(STATEFUL)
    with toolkit_of(classes, max_concurrent_calls=STATEFUL) as kit:
        cases = [
            Case(FLOOR_FIRST, plain(partial(_constructed, classes)), count=5),
            Case(FIRST_USE, _first_use(kit, classes), count=5),
            Case(FIRST_CALLS, _calls(kit, classes, is_first=True), count=2),
            Case(SECOND_CALLS, _calls(kit, classes, is_first=False), count=2),
        ]
        rows = asyncio.run(by_turns(cases, runs))
    added = "first calls less second calls"
    rows[added] = [
        one - other
        for one, other in zip(rows[FIRST_CALLS], rows[SECOND_CALLS], strict=True)
    ]
    checks = [
        against(rows, FIRST_USE, FLOOR_FIRST, MOST_FIRST_USE),
        against(rows, added, FLOOR_FIRST, MOST_FIRST_USE),
    ]
    yield Table("100 stateful tools, a new user", "us", rows, checks)


def _constructed(classes: Sequence[type[Any]]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for cls in classes:
        kept[cls.name] = cls()
    return kept


def _first_use(kit: toolkit.Toolkit, classes: Sequence[type[Any]]) -> Loop:
    names = [cls.name for cls in classes]
    context = UserContext(user_id="ann")

    async def loop(times: int) -> int:
        spent = 0
        for _ in range(times):
            with kit.user(context) as system:
                find, instance = system.registry.find, system.registry.instance
                started = perf_counter_ns()
                for name in names:
                    instance(find(name))
                spent += perf_counter_ns() - started
        return spent

    return loop


def _calls(
    kit: toolkit.Toolkit, classes: Sequence[type[Any]], *, is_first: bool
) -> Loop:
    names = [cls.name for cls in classes]
    context = UserContext(user_id="ann")

    async def loop(times: int) -> int:
        spent = 0
        for _ in range(times):
            with kit.user(context) as system:
                if not is_first:
                    for name in names:
                        await system.execute(name, b'{"text": "a"}')
                started = perf_counter_ns()
                for name in names:
                    await system.execute(name, b'{"text": "a"}')
                spent += perf_counter_ns() - started
        return spent

    return loop


# --- declaring a tool ----------------------------------------------------------------


def declaring(runs: int) -> Iterator[Table]:
    """Measure what it takes to make a tool of a class, beside pydantic alone.

    Yields:
        The table.
    """
    cases = [
        Case(ADAPTERS, _declared(_fresh_arguments, _adapters), count=5),
        Case(ADAPTER, _declared(_fresh_arguments, TypeAdapter), count=5),
        Case(COMPILED, _declared(_fresh_tool, _ready), count=5),
        Case(COMPILED_ALONE, _declared(_fresh_tool, compile_tool), count=5),
    ]
    rows = asyncio.run(by_turns(cases, runs))
    checks = [
        against(rows, COMPILED, ADAPTERS, MOST_DECLARING),
        shown(rows, COMPILED, ADAPTER),
        shown(rows, COMPILED_ALONE, ADAPTERS),
    ]
    yield Table("declaring a tool", "us", rows, checks)


def _declared(make: Any, use: Any) -> Loop:  # noqa: ANN401 - a class, and what takes it
    async def loop(times: int) -> int:
        fresh = [make() for _ in range(times)]
        started = perf_counter_ns()
        for one in fresh:
            use(one)
        return perf_counter_ns() - started

    return loop


def _fresh_arguments() -> type:
    class Fresh(TypedDict):
        count: int
        name: str
        prices: list[float]
        place: Place

    return Fresh


def _fresh_tool() -> type:
    class Order:
        """Add up an order."""

        name = "order"

        async def execute(
            self, count: int, name: str, prices: list[float], place: Place
        ) -> Answer:
            """Add up an order.

            Args:
                count: How many.
                name: Of what.
                prices: The price of each part.
                place: Where it goes.
            """
            return Answer(text=f"{name} to {place.city}", total=count * sum(prices))

    return Order


def _ready(cls: type) -> object:
    """Compile, and ask for all that could have been left for later."""
    tool = compile_tool(cls)
    made = tool.definition.input_schema_json, tool.definition.output_schema_json
    return made, tool.signature.validate("order", DATA)


def _adapters(arguments: type[Any]) -> object:
    given, result = TypeAdapter(arguments), TypeAdapter(Answer)
    return given.json_schema(), result.json_schema(mode="serialization")


# --- many at once --------------------------------------------------------------------


def live(runs: int) -> Iterator[Table]:
    """Measure the memory that is resident with 100,000 users, in processes of its own.

    Yields:
        The table.
    """
    with_context, given = "each with its context", "the contexts not counted"
    rows: dict[str, list[float]] = {with_context: [], given: []}
    seconds = []
    for _ in range(runs):
        for title, values in rows.items():
            outcome = _in_child(LIVE, is_given=title == given)
            values.append(outcome["bytes"] / 1e6)
            seconds.append(outcome["seconds"])
    each = median(rows[given]) * 1e6 / LIVE / KIB
    checks = [
        Check(with_context, median(rows[with_context]), MOST_LIVE, "MB"),
        Check("one system, resident", each, MOST_SYSTEM_KIB, "KiB"),
        Check("built in", median(seconds), 0.0, "s", is_judged=False),
    ]
    yield Table(f"{LIVE:,} live user systems", "MB", rows, checks)


def _in_child(count: int, *, is_given: bool) -> Mapping[str, float]:
    root = str(Path(toolkit.__file__).resolve().parents[1])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    done = subprocess.run(  # noqa: S603 - fixed
        [
            *(sys.executable, "-P", "-m", "benchmarks.execution.living"),
            *(str(count), "given" if is_given else "made"),
        ],
        env={**kept, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{count:,} systems failed:\n{done.stderr}")
    outcome: Mapping[str, float] = json.loads(done.stdout)
    return outcome
