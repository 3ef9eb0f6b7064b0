"""Telling, without running it, whether a coroutine function can ever suspend."""

from collections.abc import Iterator
from inspect import CO_COROUTINE
from opcode import opmap
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Final

_WAITING: Final = frozenset(
    opmap[name] for name in ("GET_AWAITABLE", "SEND", "YIELD_VALUE") if name in opmap
)
"""Every ``await``, ``async for`` and ``async with`` compiles to some of these."""

_ASKING: Final = frozenset(
    {"all_tasks", "current_task", "get_current_task", "get_event_loop"}
    | {"get_running_loop"}
)
"""What asyncio and anyio call the ways to get at the task that runs, or at others."""


def may_suspend(function: object) -> bool:
    """Tell whether awaiting what a function returns might give way to others.

    Code that asks for the running task counts as such: it might cancel that, and so has
    to have one of its own. It is found by the names in the code, and in the functions
    of modules that it uses by their names.

    Looks at what is called itself: what ``functools.wraps`` says of it, and what a
    partial or a callable object would call, is not followed.

    >>> async def at_once() -> int:
    ...     return 1
    >>> may_suspend(at_once)
    False

    Args:
        function: Any object.

    Returns:
        False only for a coroutine function (or a method of one) whose own code awaits
        nothing at all, and asks for no task; True for everything else, because nobody
        knows.
    """
    target = function.__func__ if type(function) is MethodType else function
    if type(target) is not FunctionType:
        return True
    code = target.__code__
    if not code.co_flags & CO_COROUTINE:
        return True
    if not _WAITING.isdisjoint(code.co_code[::2]):  # operands are between
        return True
    return _asks_for_task(target)


def _asks_for_task(function: FunctionType) -> bool:
    waiting, seen = [function], set[FunctionType]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        names = {name for code in _codes(one.__code__) for name in code.co_names}
        if names & _ASKING:
            return True
        used = [one.__globals__.get(name) for name in names]
        for value in (*used, *map(_content, one.__closure__ or ())):
            if type(value) is BuiltinFunctionType and value.__name__ in _ASKING:
                return True
            if type(value) is FunctionType:
                waiting.append(value)
    return False


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code, and that of the functions it makes."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None
