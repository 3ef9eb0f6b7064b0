"""What plugin code raised, looked at and logged, whatever it does when it is looked at.

An exception's class may have put properties in the place of all that `traceback`,
`logging` and `isinstance` ask for. So what belongs to every exception is read where the
interpreter keeps it, and nothing here raises.
"""

import logging
import traceback
from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeGuard, TypeVar

from toolkit.context import Secrets
from toolkit.errors import ToolError, kind_of_error, text_of

E = TypeVar("E", bound=BaseException)

MAX_SHOWN: Final = 100
"""Exceptions of one traceback's text; a group may hold any number of them."""

_cause: Final = vars(BaseException)["__cause__"]
_context: Final = vars(BaseException)["__context__"]
_frames: Final = vars(BaseException)["__traceback__"]
_fields: Final = vars(BaseException)["__dict__"]
_members: Final = vars(BaseExceptionGroup)["exceptions"]


def is_error(error: object, kinds: type[E] | tuple[type[E], ...]) -> TypeGuard[E]:
    """Tell whether it is of a kind, whatever it says of its class. Never raises.

    `isinstance` asks the exception itself, which may be a plugin's.
    """
    return issubclass(type(error), kinds)


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an error was raised from."""
    cause: BaseException | None = _cause.__get__(error)
    return cause


def set_cause(error: BaseException, cause: BaseException | None) -> None:
    """Set what an error was raised from, and nothing else as what led to it."""
    _cause.__set__(error, cause)
    _context.__set__(error, cause)


def tool_error(text: str, code: str) -> ToolError:
    """Return a tool's error by its text and its code, which may be the tool's own."""
    error = ToolError(text)
    if code != ToolError.code:
        error.code = code  # type: ignore[misc]  # as a subclass of the tool's has it
    return error


def drop_frames(error: BaseException) -> None:
    """Drop the tracebacks of an error and all it came with: frames keep objects alive.

    What was merely handled meanwhile is dropped whole.
    """
    for one in _all_of(error, with_context=False):
        _frames.__set__(one, None)
        _context.__set__(one, cause_of(one))


def trace_of(error: BaseException) -> str:
    """Return the traceback as text: the error first, then what it came with.

    The members of groups come one after the other, without the margin that `traceback`
    gives them: it would cut a text of several lines in pieces, and nobody would find a
    secret in it.
    """
    shown = islice(_all_of(error, with_context=True), MAX_SHOWN)
    return "\nIt came with:\n".join("".join(_lines(one)) for one in shown)


def log_error(
    logger: logging.Logger,
    secrets: Secrets,
    error: BaseException,
    text: str,
    *args: object,
) -> None:
    """Log what plugin code raised, with its traceback and without a user's secrets.

    Where the user has none, the record has the exception itself.

    Args:
        logger: Where.
        secrets: The user's.
        error: What was raised.
        text: Says what failed.
        *args: What is put into it.
    """
    if not secrets and _is_orderly(error):
        logger.error(text, *args, exc_info=error)
    else:
        with_trace = f"{text}\n%s"
        logger.error(with_trace, *args, secrets.scrub(trace_of(error)))


def _is_orderly(error: BaseException) -> bool:
    """Tell whether `traceback` can write it."""
    try:
        traceback.format_exception(error)
    except BaseException:  # noqa: BLE001 - whatever its properties raise
        return False
    return True


def _all_of(error: BaseException, *, with_context: bool) -> Iterator[BaseException]:
    """Yield an error, its causes, and the members of groups, each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if issubclass(type(one), BaseExceptionGroup):
            waiting += _members.__get__(one)[::-1]
        if with_context:
            waiting.append(_context.__get__(one))
        waiting.append(cause_of(one))


def _lines(error: BaseException) -> Iterator[str]:
    frames = _frames.__get__(error)
    if frames is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(frames)
    yield f"{kind_of_error(error)}: {text_of(error)}\n"
    notes = _fields.__get__(error).get("__notes__")
    if type(notes) is list:
        yield from (f"{text_of(one)}\n" for one in notes)
