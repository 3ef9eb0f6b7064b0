"""Whether a coroutine function can suspend: told from what it is compiled to."""

import asyncio
import functools
import types
from asyncio import current_task as whose
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from toolkit.suspending import may_suspend


async def at_once() -> int:
    return 1


async def busy(given: list[int]) -> Any:
    total = 0
    for one in range(2000):
        total += one
    with pytest.raises(ValueError, match="x"):
        raise ValueError("x")
    return [one + total for one in given], (one for one in given)


async def making() -> Any:
    async def inner() -> None:
        await at_once()

    return inner


async def waits() -> None:
    await at_once()


async def iterates(given: AsyncIterator[int]) -> None:
    async for _ in given:
        pass


async def enters(given: Any) -> None:
    async with given:
        pass


async def collects(given: AsyncIterator[int]) -> list[int]:
    return [one async for one in given]


async def collects_inner(given: list[Any]) -> list[int]:
    return [await one for one in given]


async def yields() -> AsyncIterator[int]:
    yield 1


def plain() -> int:
    return 1


def parts() -> Iterator[int]:
    yield 1


@types.coroutine
def old() -> Iterator[None]:
    yield


@functools.wraps(waits)
async def at_once_around() -> Any:
    return waits()


@functools.wraps(at_once)
async def waits_around() -> int:
    return await at_once()


async def asks_for_its_task() -> bool:
    return asyncio.current_task() is None


async def asks_for_its_loop() -> bool:
    return asyncio.get_running_loop().is_closed()


async def asks_by_another_name() -> bool:
    return whose() is None


async def asks_in_a_lambda() -> Any:
    ask: Callable[[int], bool] = lambda least: len(asyncio.all_tasks()) > least  # noqa: E731 - that is the case
    return ask(1)


def helper(depth: int = 1) -> object:
    return helper(depth - 1) if depth else asyncio.current_task()


async def asks_by_a_helper() -> object:
    return helper()


def asks_within() -> Any:
    ask = asyncio.current_task

    async def made() -> bool:
        return ask() is None

    return made


def counts(depth: int = 1) -> int:
    return counts(depth - 1) if depth else len("none")


async def has_a_helper() -> int:
    return counts()


def has_a_variable_that_is_not_set() -> Any:
    async def made() -> Any:
        return later

    if made.__name__ == "another":
        later = 1
    return made


class Called:
    async def __call__(self) -> int:
        return 1

    async def method(self) -> int:
        return 1


def long_one(last: str) -> Any:
    """Make a coroutine function whose code needs extended operands."""
    lines = [f"    v{n} = given + {n}000" for n in range(400)]
    space: dict[str, Any] = {"at_once": at_once}
    exec("\n".join(["async def made(given):", *lines, last]), space)  # noqa: S102 - our own text
    return space["made"]


AT_ONCE = [
    *(has_a_helper, has_a_variable_that_is_not_set()),
    *(at_once, busy, making, at_once_around, Called.method, Called().method),
    long_one("    return v399"),
]
PERHAPS: list[object] = [
    *(waits, iterates, enters, collects, collects_inner, yields, plain, parts, old),
    *(waits_around, Called(), functools.partial(at_once), len, 7, None),
    long_one("    await at_once()"),
]
ASKING: list[object] = [
    *(asks_for_its_task, asks_for_its_loop, asks_by_another_name, asks_in_a_lambda),
    *(asks_by_a_helper, asks_within()),
]


@pytest.mark.parametrize("function", AT_ONCE, ids=range(len(AT_ONCE)))
def test_a_coroutine_without_an_await_never_suspends(function: object) -> None:
    """Its own code counts, not what it wraps, makes or returns (B52)."""
    assert not may_suspend(function)


@pytest.mark.parametrize("function", PERHAPS, ids=range(len(PERHAPS)))
def test_everything_else_might_suspend(function: object) -> None:
    """Who cannot be looked into is not trusted to be quick (B52)."""
    assert may_suspend(function)


@pytest.mark.parametrize("function", ASKING, ids=range(len(ASKING)))
def test_code_that_asks_for_its_task_is_to_have_one(function: object) -> None:
    """It might cancel that, and must not meet its caller's (B30, B35)."""
    assert may_suspend(function)


def test_code_that_has_become_hot_is_read_alike() -> None:
    """The interpreter rewrites what runs often, and shows it as it was (B52)."""
    for _ in range(100):
        with pytest.raises(StopIteration):
            busy([1]).send(None)
        with pytest.raises(StopIteration):
            waits().send(None)
    assert not may_suspend(busy)
    assert may_suspend(waits)
