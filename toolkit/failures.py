"""What a tool raised, as an error that its caller may see."""

import logging
from dataclasses import astuple
from typing import Any, Final, TypeVar

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
    text_of,
)
from toolkit.origin import Origin
from toolkit.plans import Plan
from toolkit.tracebacks import cause_of, is_error, log_error, set_cause, tool_error

logger = logging.getLogger("toolkit.dispatch")

E = TypeVar("E", bound=ToolkitError)

_args: Final = vars(BaseException)["args"]

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
    the operator allows that. The caller's error is always one of ours, made here of
    plain texts. Where the user has secrets, they are blanked out of these, and of the
    log; and what the tool raised is not kept as the cause, for it may hold them
    anywhere.

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
        """Return the caller's error for what came out of a running call.

        Raises:
            KeyboardInterrupt: The user interrupts.
        """
        for kind in _TOLD_ELSEWHERE if plan.is_elsewhere else _TOLD:
            if is_error(error, kind):
                told = self._told(kind, error)
                if told is not None:
                    return told
        return self._hide(name, call_id, error)

    def clean(self, error: ToolkitError) -> ToolkitError:
        """Return an error that was made here without the user's secrets."""
        if not self._secrets:
            return error
        if type(error) is ToolExecutionError:
            kind, detail = self._plain(error.cause_type), self._plain(error.detail)
            return ToolExecutionError(error.tool, kind, error.call_id, detail)
        if type(error).__module__ != ToolkitError.__module__:  # from a user's factory
            return ToolkitError(self._plain(error))
        return type(error)(*map(self._plain, error.args))

    def _hide(
        self, name: str, call_id: str, error: BaseException
    ) -> ToolExecutionError:
        """Log what a tool raised; the caller learns its kind, and not its text."""
        text = "tool %r failed in call %s"
        log_error(logger, self._secrets, error, text, name, call_id)
        detail = self._secrets.scrub(describe_error(error)) if self._show else ""
        kind = self._secrets.scrub(kind_of_error(error))
        hidden = ToolExecutionError(name, kind, call_id, detail)
        return self._caused(hidden, error)

    def _told(
        self, kind: type[ToolkitError], error: BaseException
    ) -> ToolkitError | None:
        """Return a plain error of our own that says the same; None if that fails."""
        try:
            if is_error(error, ToolError):
                text = self._secrets.scrub(str.__str__(str(error)))
                code = self._secrets.scrub(str.__str__(error.code))
                told: ToolkitError = tool_error(text, code)
            else:
                told = kind(*map(self._plain, _args.__get__(error)))
            return self._caused(told, cause_of(error))
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - whatever its own class makes of it
            return None

    def _caused(self, made: E, cause: BaseException | None) -> E:
        set_cause(made, None if self._secrets else cause)
        return made

    def _plain(self, value: Any) -> Any:  # noqa: ANN401 - a field of an error
        """Return a field as a plain value without secrets."""
        if value is None or type(value) in (bool, int, float):
            return value
        if type(value) in (tuple, list):
            return tuple(map(self._plain, value))
        if type(value) is Origin:
            return Origin(*map(self._plain, astuple(value)))
        return self._secrets.scrub(text_of(value))
