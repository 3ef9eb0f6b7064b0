"""Ending the life of a user's tool instance, whatever its clean-up does."""

import asyncio
import inspect
import logging
from collections.abc import Iterable
from typing import Any, Final

from toolkit.context import NO_SECRETS, Secrets
from toolkit.tracebacks import is_error, log_error

logger = logging.getLogger(__name__)

MAX_SECONDS: Final = 5.0
"""For one instance's async clean-up; a user who is gone keeps nobody waiting."""


def close_now(instance: object, secrets: Secrets = NO_SECRETS) -> bool:
    """Run an instance's `close`; what it raises is logged.

    Args:
        instance: Whatever was made for the user.
        secrets: The user's, which it may have kept.

    Returns:
        False when the instance cleans up with `aclose` only, or with an async `close`:
        both need a loop.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    try:
        close = getattr(instance, "close", None)
        if close is None:
            return getattr(instance, "aclose", None) is None
        if inspect.iscoroutinefunction(close):
            return False
        close()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises
        log_error(logger, secrets, error, "close of %s failed", _kind(instance))
    return True


async def close_later(instances: Iterable[Any], secrets: Secrets = NO_SECRETS) -> None:
    """Run each instance's `aclose`, one after the other; what they raise is logged.

    Each has `MAX_SECONDS`; one that needs more is given up, and that is logged too.

    Args:
        instances: Whatever was made for the user.
        secrets: The user's, which they may have kept.

    Raises:
        asyncio.CancelledError: The caller is cancelled.
        KeyboardInterrupt: The user interrupts.
    """
    for instance in instances:
        try:
            done = asyncio.ensure_future(_aclose(instance))
            await asyncio.wait({done}, timeout=MAX_SECONDS)
            if not done.cancel():
                done.result()
            else:
                text = "aclose of %s was given up after %g s"
                logger.error(text, _kind(instance), MAX_SECONDS)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if is_error(error, asyncio.CancelledError) and _is_cancelling():
                raise
            log_error(logger, secrets, error, "aclose of %s failed", _kind(instance))


async def _aclose(instance: Any) -> None:  # noqa: ANN401 - a tool is of any class
    try:
        await (getattr(instance, "aclose", None) or instance.close)()
    except SystemExit as error:  # would end the loop
        text = "the tool called sys.exit()"
        raise RuntimeError(text) from error


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _kind(instance: object) -> str:
    """Name an instance's class without asking its metaclass, which may raise."""
    name: str = type.__dict__["__name__"].__get__(type(instance))
    return name
