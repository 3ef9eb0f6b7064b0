"""What a tool raised, as an error that its caller may see."""

import logging
import traceback
from collections.abc import Iterator
from typing import Final

from toolkit.context import Secrets
from toolkit.errors import (
    InvalidArgumentsError,
    MissingSecretError,
    RegistryClosedError,
    ToolConstructionError,
    ToolError,
    ToolExecutionError,
    ToolkitError,
    ToolResultError,
    ToolUnavailableError,
    ToolWorkerError,
    describe_error,
    kind_of_error,
)
from toolkit.plans import Plan

logger = logging.getLogger("toolkit.dispatch")

_TOLD: Final = (
    ToolError,
    ToolConstructionError,
    RegistryClosedError,
    MissingSecretError,
)
"""The errors of a running call whose text is meant for its caller."""

_TOLD_ELSEWHERE: Final = (
    *_TOLD,
    InvalidArgumentsError,
    ToolExecutionError,
    ToolResultError,
    ToolUnavailableError,
    ToolWorkerError,
)
"""Those that an executor of other processes makes itself, beside these."""


class Failures:
    """Turns what tools raise into errors for one user. Belongs to their dispatcher.

    The text of an exception goes to the operator's log, and to the caller only where
    the operator allows that. The user's secrets are blanked out of both.

    Args:
        secrets: The user's.
        show: Whether callers are told the text of what a tool raised.
    """

    __slots__ = ("_secrets", "_show")

    def __init__(self, secrets: Secrets, *, show: bool) -> None:
        """Take over the parts."""
        self._secrets = secrets
        self._show = show

    def of(
        self, plan: Plan, name: str, call_id: str, error: BaseException
    ) -> ToolkitError:
        """Return the caller's error for what came out of a running call."""
        told = _TOLD_ELSEWHERE if plan.is_elsewhere else _TOLD
        if isinstance(error, told):
            return self._clean(error)
        return self._hide(name, call_id, error)

    def _hide(
        self, name: str, call_id: str, error: BaseException
    ) -> ToolExecutionError:
        """Log what a tool raised; the caller learns its kind, and not its text."""
        text = "tool %r failed in call %s"
        if self._secrets and self._has_secret(error):
            lines = "".join(traceback.format_exception(error))
            logger.error("%s\n%s", text % (name, call_id), self._secrets.scrub(lines))
            cause = None  # its text would tell
        else:
            logger.error(text, name, call_id, exc_info=error)
            cause = error
        detail = self._secrets.scrub(describe_error(error)) if self._show else ""
        hidden = ToolExecutionError(name, kind_of_error(error), call_id, detail)
        hidden.__cause__ = cause
        return hidden

    def _clean(self, error: ToolkitError) -> ToolkitError:
        """Return an error that is meant for the caller, without secrets."""
        if not self._secrets or not self._has_secret(error):
            return error
        if isinstance(error, ToolConstructionError):
            text = self._secrets.scrub(error.detail)
            return ToolConstructionError(error.name, error.origin, text)
        return ToolError(self._secrets.scrub(str(error)))

    def _has_secret(self, error: BaseException) -> bool:
        """Tell whether a secret is in any text of an error, or of what led to it."""
        lines = "".join(traceback.format_exception(error))
        texts = (lines, *(repr(one.args) for one in _chain(error)))
        return any(self._secrets.scrub(text) != text for text in texts)


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]
