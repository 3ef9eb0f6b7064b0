"""The tools that are called, and floor D; imports nothing of the toolkit.

Floor D is what no validated call can do without: pydantic-core reads the JSON into
checked arguments, the tool runs, pydantic-core writes its answer. Both the validator
and the serializer are those of the declared types, which is cheaper than `to_json` of
a value of any type.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from time import perf_counter_ns

from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from benchmarks.execution.timing import Loop


class Place(BaseModel):
    """Where an order goes."""

    city: str
    code: int


class Answer(BaseModel):
    """What an order comes to."""

    text: str
    total: float


class Arguments(TypedDict):
    """The four arguments of an order."""

    count: int
    name: str
    prices: list[float]
    place: Place


DATA = (
    b'{"count": 3, "name": "tea", "prices": [1.5, 2.25, 4.0],'
    b' "place": {"city": "Ulm", "code": 89073}}'
)
NOT_VALID = DATA.replace(b'"count": 3', b'"count": "many"')
TOTAL = 23.25


async def order(count: int, name: str, prices: list[float], place: Place) -> Answer:
    """Add up an order.

    Args:
        count: How many.
        name: Of what.
        prices: The price of each part.
        place: Where it goes.
    """
    return Answer(text=f"{name} to {place.city}", total=count * sum(prices))


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


class Suspending:
    """Add up an order, after a turn of the event loop."""

    name = "suspending"

    async def execute(
        self, count: int, name: str, prices: list[float], place: Place
    ) -> Answer:
        """Let others go first, then add up an order."""
        await asyncio.sleep(0)
        return Answer(text=f"{name} to {place.city}", total=count * sum(prices))


class SyncOrder:
    """Add up an order, in a thread."""

    name = "sync_order"

    def execute(
        self, count: int, name: str, prices: list[float], place: Place
    ) -> Answer:
        """Add up an order."""
        return Answer(text=f"{name} to {place.city}", total=count * sum(prices))


class Block:
    """Keep a thread for a tenth of a second."""

    name = "block"

    def execute(self) -> None:
        """Sleep, as a tool does that waits for a slow service."""
        time.sleep(0.1)


class Instant:
    """Answer at once."""

    name = "instant"

    def execute(self) -> int:
        """Answer."""
        return 1


class Late:
    """Sleep past the deadline."""

    name = "late"
    timeout = 0.2

    def execute(self) -> None:
        """Sleep for a second and a half."""
        time.sleep(1.5)


class _Stateful:
    """Keep what one user has said."""

    name: str

    def __init__(self) -> None:
        self.calls = 0
        self.seen: list[str] = []

    async def execute(self, text: str) -> int:
        """Note a text."""
        self.calls += 1
        self.seen.append(text)
        return self.calls


def stateful(count: int) -> Sequence[type[_Stateful]]:
    """Return so many classes, each with an instance of its own for each user."""
    return [
        type(f"Stateful{number}", (_Stateful,), {"name": f"stateful_{number:04}"})
        for number in range(count)
    ]


validate_json = TypeAdapter(Arguments).validator.validate_json
to_json = TypeAdapter(Answer).serializer.to_json


def floor(tool: Order | Suspending) -> Loop:
    """Return floor D over a tool: nothing between pydantic-core and its method."""

    async def loop(times: int) -> int:
        execute, read, write = tool.execute, validate_json, to_json
        started = perf_counter_ns()
        for _ in range(times):
            write(await execute(**read(DATA)))
        return perf_counter_ns() - started

    return loop


async def once(tool: Order | Suspending) -> bytes:
    """Do what floor D does, once: for many at a time."""
    return to_json(await tool.execute(**validate_json(DATA)))
