"""Spans of calls, by OpenTelemetry's conventions for generative AI.

What is written follows "Semantic conventions for generative AI tool execution", section
"Span: gen_ai.execute_tool", of the OpenTelemetry GenAI conventions v0.1.0 (status:
Development; before, "Execute tool span" of semantic-conventions v1.41.0), and
"Recording errors on spans" of the general ones:

- name ``execute_tool {gen_ai.tool.name}``, kind INTERNAL
- ``gen_ai.operation.name`` (``execute_tool``), ``gen_ai.tool.name``,
  ``gen_ai.tool.type`` (``function``), ``gen_ai.tool.call.id`` and
  ``gen_ai.tool.description``, all known when a sampler is asked
- after a failure: status ERROR and ``error.type``, the error's stable code. No text of
  an error is written: it may quote arguments.
- on request only: ``gen_ai.tool.call.arguments`` (opt-in there too) and ``enduser.id``
  (personal data). Results are never written.

Importing this imports nothing of OpenTelemetry, and neither does a call in a process
where nobody else does.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic_core import to_json

from toolkit.context import UserContext
from toolkit.errors import MissingExtraError, ToolCancelledError
from toolkit.tools import ToolDefinition

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from toolkit.dispatch import ToolResult

logger = logging.getLogger(__name__)

End = Callable[["ToolResult | None"], None]
"""Ends what a tracer began; given no result when the caller was cancelled."""

_API: Final = "opentelemetry.trace"
_SCOPE: Final = "toolkit"
_CHOSEN: Final = "OTEL_PYTHON_TRACER_PROVIDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedCall:
    """One call that starts, as a tracer sees it. Immutable; lives as long as the call.

    Attributes:
        call_id: The call; the same as on its events and its result.
        name: The name the caller used.
        definition: What the caller may know of the tool.
        user: Who called.
        arguments: Returns the checked arguments as events show them, blanked out; None
            while nobody knows them, as before they are checked in another process.
            Asked in `CallTracer.begin`, and again at the end if need be.
    """

    call_id: str
    name: str
    definition: ToolDefinition
    user: UserContext
    arguments: Callable[[], Mapping[str, Any] | None] | None = None


class CallTracer(Protocol):
    """Told when each call starts and ends. One for a process; safe between threads."""

    @property
    def is_on(self) -> bool:
        """Whether there is anything to tell now; asked once for each tool system."""
        ...

    def begin(self, call: StartedCall) -> End | None:
        """Tell that a call starts; must not block and must not raise.

        Called inside the `contextvars.Context` in which the tool will run, so what is
        set there is what the tool finds.

        Returns:
            What is called once when the call is completed, maybe in another context
            and another thread; None when nothing is to be called.
        """
        ...


class OpenTelemetryTracer:
    """Makes a span of each call. One for a process; safe between threads.

    The span is current where the tool runs, so spans that the tool opens are its
    children; its parent is what was current where the call was made. It costs next to
    nothing as long as no provider is configured, and never disturbs a call: what
    OpenTelemetry raises is logged.
    """

    def __init__(
        self,
        tracer_provider: "TracerProvider | None" = None,
        *,
        arguments: bool = False,
        user_ids: bool = False,
    ) -> None:
        """Keep what to write, and where.

        Args:
            tracer_provider: Where spans go; by default the global provider, once there
                is one.
            arguments: Whether to write arguments, secrets blanked out, as JSON.
            user_ids: Whether to write who called.

        Raises:
            MissingExtraError: The OpenTelemetry API is not installed.
        """
        if not _is_installed():
            part = f"{__name__}.{type(self).__name__}"
            raise MissingExtraError(part, "otel")
        self.arguments = arguments
        self.user_ids = user_ids
        self._api: ModuleType | None = None
        self._tracer: Tracer | None = None
        if tracer_provider is not None:
            self._tracer = tracer_provider.get_tracer(_SCOPE)
        elif os.environ.get(_CHOSEN):  # then asking for the global one makes it
            self._api = import_module(_API)

    @property
    def is_on(self) -> bool:
        """Whether there is a provider by now."""
        try:
            return (self._tracer or self._global_tracer()) is not None
        except Exception:
            logger.exception("calls cannot be traced")
            return False

    def begin(self, call: StartedCall) -> End | None:
        """Start the call's span and make it current in this context."""
        try:
            tracer = self._tracer or self._global_tracer()
            if tracer is None:
                return None
            return self._start(tracer, call)
        except Exception:
            logger.exception("call %s cannot be traced", call.call_id)
            return None

    def _global_tracer(self) -> "Tracer | None":
        """Return the global provider's tracer; None as long as nobody set one."""
        if self._api is None:
            if _API not in sys.modules:  # who sets one imports this; it takes 60 ms
                return None
            self._api = import_module(_API)  # waits for a thread that is at it
        provider = self._api.get_tracer_provider()
        # By type, as isinstance takes a microsecond for abstract classes.
        if type(provider) in (
            self._api.ProxyTracerProvider,
            self._api.NoOpTracerProvider,
        ):
            return None
        self._tracer = provider.get_tracer(_SCOPE)  # a provider is set once
        return self._tracer

    def _start(self, tracer: "Tracer", call: StartedCall) -> End | None:
        from opentelemetry import context, trace  # noqa: PLC0415 - see above

        name = call.definition.name
        span = tracer.start_span(f"execute_tool {name}", attributes=self._facts(call))
        if span.get_span_context().is_valid:  # one that is not sampled counts as well
            # Never detached: the end comes in another context, and this one dies
            # with the call.
            context.attach(trace.set_span_in_context(span))
        if not span.is_recording():
            return None
        is_missing = self.arguments and not _write_arguments(span, call)
        return _Ending(span, call, is_missing=is_missing)

    def _facts(self, call: StartedCall) -> dict[str, str]:
        facts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.definition.name,
            "gen_ai.tool.call.id": call.call_id,
            "gen_ai.tool.type": "function",
        }
        if call.definition.description:
            facts["gen_ai.tool.description"] = call.definition.description
        if self.user_ids:
            facts["enduser.id"] = call.user.user_id
        return facts


class _Ending:
    """Ends one span, whatever came of its call."""

    __slots__ = ("_call", "_is_missing", "_span")

    def __init__(self, span: "Span", call: StartedCall, *, is_missing: bool) -> None:
        self._span = span
        self._call = call
        self._is_missing = is_missing  # the arguments, which are to be written

    def __call__(self, result: "ToolResult | None") -> None:
        try:
            if self._is_missing:
                _write_arguments(self._span, self._call)
            code = _code(result)
            if code:
                from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see above

                self._span.set_attribute("error.type", code)
                self._span.set_status(StatusCode.ERROR)
            self._span.end()
        except Exception:
            logger.exception("the span of call %s fails", self._call.call_id)


def _write_arguments(span: "Span", call: StartedCall) -> bool:
    """Write the arguments as JSON; tell whether they are known by now."""
    try:
        shown = None if call.arguments is None else call.arguments()
        if shown is None:
            return False
        text = to_json(dict(shown), serialize_unknown=True, inf_nan_mode="null")
    except Exception:
        logger.exception("arguments of call %s cannot be shown", call.call_id)
    else:
        span.set_attribute("gen_ai.tool.call.arguments", text.decode())
    return True


def default_tracer() -> CallTracer | None:
    """Return a tracer to the global provider where OpenTelemetry's API is installed.

    Imports nothing of it. The tracer costs next to nothing until the application sets a
    provider.

    Returns:
        The tracer; None when the API is not installed.
    """
    return OpenTelemetryTracer() if _is_installed() else None


@cache
def _is_installed() -> bool:
    try:
        return find_spec(_API) is not None
    except ModuleNotFoundError:
        return False


def _code(result: "ToolResult | None") -> str:
    """Return the stable code of what went wrong; empty when nothing did."""
    if result is None:  # the caller was cancelled
        return ToolCancelledError.code
    return "" if result.error is None else result.error.code
