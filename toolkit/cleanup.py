"""Ending the life of a user's tool instance, whatever its clean-up does."""

import inspect
import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)


def close_now(instance: object) -> bool:
    """Run an instance's `close`; what it raises is logged.

    Returns:
        False when the instance cleans up with `aclose` only, or with an async `close`:
        both need a loop.
    """
    try:
        close = getattr(instance, "close", None)
        if inspect.iscoroutinefunction(close):
            return False
        if close is not None:
            close()
            return True
        return getattr(instance, "aclose", None) is None
    except Exception:
        logger.exception("close of %s failed", type(instance).__name__)
        return True


async def close_later(instances: Iterable[Any]) -> None:
    """Run each instance's `aclose`, one after the other; what they raise is logged."""
    for instance in instances:
        try:
            await (getattr(instance, "aclose", None) or instance.close)()
        except Exception:
            logger.exception("aclose of %s failed", type(instance).__name__)
