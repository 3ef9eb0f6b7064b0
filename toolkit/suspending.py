"""Telling, without running it, whether a coroutine function can ever suspend."""

from inspect import CO_COROUTINE
from opcode import opmap
from types import FunctionType, MethodType
from typing import Final

_WAITING: Final = frozenset(
    opmap[name] for name in ("GET_AWAITABLE", "SEND", "YIELD_VALUE") if name in opmap
)
"""Every ``await``, ``async for`` and ``async with`` compiles to some of these."""


def may_suspend(function: object) -> bool:
    """Tell whether awaiting what a function returns might give way to others.

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
        nothing at all; True for everything else, because nobody knows.
    """
    target = function.__func__ if type(function) is MethodType else function
    if type(target) is not FunctionType:
        return True
    code = target.__code__
    if not code.co_flags & CO_COROUTINE:
        return True
    return not _WAITING.isdisjoint(code.co_code[::2])  # operands are between
