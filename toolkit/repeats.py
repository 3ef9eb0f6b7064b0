"""Calls that must not run twice, and calls that may.

A caller that cannot know whether its call arrived sends it again under the same
idempotency key, and gets the first one's result. A tool that says that it is idempotent
may be called again by the dispatcher when it failed.
"""

import json
import random
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json, to_json

from toolkit.errors import (
    IdempotencyKeyError,
    InvalidArgumentsError,
    ToolExecutionError,
    ToolkitError,
    ToolWorkerError,
    text_of,
)
from toolkit.results import ToolResult
from toolkit.signature import Arguments

MAX_KEYS: Final = 1024
"""Results kept for one tool system; the oldest goes first, running ones never do."""

MAX_KEY_LENGTH: Final = 256
"""Characters of an idempotency key."""


@dataclass(slots=True, eq=False)
class _Kept:
    said: str
    outcome: Future[ToolResult]


class Repeats:
    """The results of one user's calls by idempotency key. Belongs to their dispatcher.

    A result may be waited for on any loop, also on another than its call's.
    Only calls that started are kept: one that was refused may be sent again.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        """Start without any."""
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def find(
        self, key: object, name: str, arguments: Arguments
    ) -> Future[ToolResult] | None:
        """Return the result of the call that came with this key, or will have.

        Returns:
            A future not to be cancelled; None where the key is new: it is taken now.

        Raises:
            InvalidArgumentsError: The key is no text, or it is empty or too long.
            IdempotencyKeyError: It came with another tool or other arguments.
        """
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH:
            fault = f"give a text of 1 to {MAX_KEY_LENGTH} characters"
            raise InvalidArgumentsError(name, [("idempotency_key", fault)])
        said = _said(name, arguments)
        new = _Kept(said, Future())
        kept = self._kept.setdefault(key, new)  # in one piece: another thread may come
        if kept.said != said:
            raise IdempotencyKeyError(key)
        if kept is not new:
            return kept.outcome
        self._drop_old()
        return None

    def settle(self, key: str, result: ToolResult | None, *, is_kept: bool) -> None:
        """Tell what became of the call under a key; whoever asked meanwhile is told."""
        kept = self._kept.get(key)
        if kept is None:
            return
        if not is_kept:
            self._kept.pop(key, None)
        if result is None:
            kept.outcome.cancel()
        elif not kept.outcome.done():
            kept.outcome.set_result(result)

    def _drop_old(self) -> None:
        for key in tuple(self._kept):
            if len(self._kept) <= MAX_KEYS:
                return
            kept = self._kept.get(key)  # another thread may have been quicker
            if kept is not None and kept.outcome.done():
                self._kept.pop(key, None)


def _said(name: str, arguments: Arguments) -> str:
    """Return a call as text; two that say the same give the same text."""
    try:
        is_text = isinstance(arguments, str | bytes | bytearray)
        text: Any = arguments if is_text else to_json(arguments, fallback=plain_dict)
        values: Any = from_json(bytes(text) if isinstance(text, bytearray) else text)
        return json.dumps([name, values], sort_keys=True)
    except ValueError:  # refused later, with a reason
        return f"{name} {text_of(arguments)}"


def plain_dict(value: object) -> dict[Any, Any]:
    """Return a mapping of another kind as a dict, for who writes JSON.

    Raises:
        TypeError: It is no mapping.
    """
    if isinstance(value, Mapping):
        return dict(value)
    text = f"{type(value).__name__} is no JSON value"
    raise TypeError(text)


def may_repeat(error: ToolkitError) -> bool:
    """Tell whether a call that failed so may go well the next time."""
    return isinstance(error, ToolExecutionError | ToolWorkerError)


def pause_before(attempt: int, delay: float) -> float:
    """Return the seconds before an attempt: doubled each time, half of it by chance.

    Args:
        attempt: 1 for the first repetition.
        delay: Seconds before that one.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS (2015), "equal jitter".
    """
    whole: float = delay * 2 ** min(attempt - 1, 16)
    return whole / 2 + random.uniform(0, whole / 2)  # noqa: S311 - no secret comes of it
