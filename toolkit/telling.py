"""Who is told of one user's calls, and what of them."""

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, Literal

from pydantic_core import from_json, to_json

from toolkit.context import NO_SECRETS, Secrets, UserContext
from toolkit.errors import ToolCancelledError, ToolkitError
from toolkit.events import (
    CallEvents,
    EventType,
    ShownArguments,
    Sink,
    deliver,
)
from toolkit.plans import Call, Plan
from toolkit.results import ToolResult
from toolkit.tracebacks import log_error

logger = logging.getLogger("toolkit.dispatch")

_NOT_SHOWN: Final = "arguments of call %s cannot be shown"

_write = partial(to_json, serialize_unknown=True, inf_nan_mode="null", by_alias=True)


class Teller:
    """Makes and delivers the events of one user's calls. Belongs to their dispatcher.

    Attributes:
        sinks: Told every event.
    """

    __slots__ = ("_make", "_secrets", "sinks")

    def __init__(
        self, user: UserContext, sinks: Iterable[Sink], secrets: Secrets
    ) -> None:
        """Take over the parts."""
        self.sinks = tuple(sinks)
        self._secrets = secrets
        self._make = CallEvents(
            user.user_id, user.session_id, user.thread_id, user.run_id
        ).make

    def executing(
        self,
        sinks: tuple[Sink, ...],
        plan: Plan,
        call_id: str,
        name: str,
        arguments: Any,  # noqa: ANN401 - checked, or JSON
    ) -> None:
        """Tell that a tool is about to run.

        Args:
            sinks: Who is told.
            plan: Of the tool.
            call_id: The call.
            name: The name the caller used.
            arguments: Checked, or as JSON.
        """
        shown = _shown(plan, call_id, arguments)
        deliver(self._make(EventType.TOOL_EXECUTING, call_id, name, shown), sinks)

    def completed(
        self,
        sinks: tuple[Sink, ...],
        call_id: str,
        name: str,
        result: ToolResult | None,
        seconds: float,
    ) -> None:
        """Tell that a call has ended.

        Args:
            sinks: Who is told.
            call_id: The call.
            name: The name the caller used.
            result: What it came to; None when its caller was cancelled.
            seconds: How long it ran.
        """
        kind, code = EventType.TOOL_COMPLETED, ToolCancelledError.code
        if result is None:
            event = self._make(kind, call_id, name, None, None, False, code, seconds)  # noqa: FBT003 - the event's fields, in order
        else:
            code = "" if result.error is None else result.error.code
            event = self._make(
                kind,
                call_id,
                name,
                None,
                None,
                result.ok,
                code,
                seconds,
                result.truncated,
            )
        deliver(event, sinks)

    def approval_required(self, call: Call) -> None:
        """Tell that a call waits for a person."""
        kind, shown = EventType.TOOL_APPROVAL_REQUIRED, self.shown(call)
        deliver(self._make(kind, call.call_id, call.name, shown), call.sinks)

    def approval_settled(self, call: Call, error: ToolkitError | None) -> None:
        """Tell that it waits no more; without an error it was approved."""
        reason = None
        if error is not None:
            reason = {"reason": self._secrets.scrub(str(error))}
        event = self._make(
            EventType.TOOL_APPROVAL_SETTLED,
            call.call_id,
            call.name,
            ok=error is None,
            error_code="" if error is None else error.code,
            data=reason,
        )
        deliver(event, call.sinks)

    def meanwhile(
        self,
        call: Call,
        kind: Literal["part", "progress"],
        said: Any,  # noqa: ANN401 - whatever a tool yields
    ) -> None:
        """Tell what comes while a call runs; on its loop."""
        is_part = kind == "part"
        type_ = EventType.TOOL_PART if is_part else EventType.TOOL_PROGRESS
        event = self._make(type_, call.call_id, call.name, data=said)
        deliver(event, call.sinks)

    def shown(self, call: Call) -> ShownArguments | None:
        """Return a call's arguments as its events show them; None if they cannot."""
        return _shown(call.plan, call.call_id, call.arguments)

    def copy(self, said: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Return what a tool said as JSON values of its own, without secrets."""
        try:
            text = _write(said)
            if self._secrets:
                text = self._secrets.scrub(text.decode()).encode()
            return from_json(text)
        except Exception as error:  # noqa: BLE001 - writing it is the tool's code
            log_error(logger, self._secrets, error, "a part of a call cannot be shown")
            return None


def _shown(plan: Plan, call_id: str, arguments: Any) -> ShownArguments | None:  # noqa: ANN401 - checked, or JSON
    """Return the arguments as events show them; None when they cannot be shown."""
    try:
        if plan.signature is None or type(arguments) is bytes:  # checked elsewhere
            text: bytes = arguments
        else:
            text = plan.signature.arguments_json(arguments)
        return ShownArguments(text, plan.blanks)
    except Exception as error:  # noqa: BLE001 - writing them is the tool's code
        secrets = plan.blanks.secrets or NO_SECRETS
        log_error(logger, secrets, error, _NOT_SHOWN, call_id)
        return None
