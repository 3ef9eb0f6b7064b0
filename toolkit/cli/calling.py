"""`toolkit call`: one call of one tool, as one user."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from toolkit.app import Toolkit
from toolkit.cli.listing import collision_of, describe_collision
from toolkit.cli.output import Output
from toolkit.cli.session import Session
from toolkit.context import UserContext
from toolkit.dispatch import ToolResult
from toolkit.errors import (
    ConfigurationError,
    InvalidArgumentsError,
    ToolNotFoundError,
    ToolTimeoutError,
)
from toolkit.system import UserToolSystem

GRACE: Final = 2.0
"""Seconds past its deadline, and for cleaning up, before the process just ends."""

_QUOTING: Final = (
    "JSON needs its double quotes, and the shell takes them unless the whole stands "
    """in single quotes: --args '{"text": "hi"}'."""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to call, and as whom. Immutable.

    Raises:
        ConfigurationError: The timeout is not above 0.
    """

    tool: str
    user: UserContext
    arguments: str = field(default="{}", repr=False)
    source: str = "--args"
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Check the timeout."""
        if self.timeout is not None and not self.timeout > 0:
            remedy = "give seconds above 0"
            raise ConfigurationError("--timeout", self.timeout, remedy)


def call_tool(session: Session, call: Call) -> int:
    """Make the call and print its result as JSON; return the exit status."""
    fault = arguments_fault(call)
    if fault:
        session.output.error(InvalidArgumentsError.code, fault)
        if _has_lost_quotes(call.arguments):
            session.output.hint(_QUOTING)
        return 1
    watch = _Watch()
    try:
        with Toolkit(session.settings) as kit:
            return asyncio.run(_call(session, kit, call, watch))
    finally:
        watch.stop()


def arguments_fault(call: Call) -> str:
    """Say what is wrong with the text of a call's arguments; empty when it is JSON."""
    if not call.arguments.strip():
        return f"{call.source} was empty; give a JSON object, such as {{}}"
    fault = json_fault(call.arguments)
    return fault and f"{call.source} is not JSON: {fault}"


def json_fault(text: str) -> str:
    """Say where a text stops being JSON; empty when it is JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines() or [""]
        line = lines[min(error.lineno, len(lines)) - 1]
        start = max(0, error.colno - 31)
        shown = line[start : error.colno + 30]
        mark = " " * (error.colno - 1 - start) + "^"
        place = f"line {error.lineno}, column {error.colno}"
        return f"{error.msg} at {place}\n  {shown}\n  {mark}"
    except RecursionError:
        return "it is nested too deep"
    return ""


def _has_lost_quotes(text: str) -> bool:
    is_open = text.lstrip().startswith(("{", "["))
    return is_open and '"' not in text and any(map(str.isalpha, text))


async def _call(session: Session, kit: Toolkit, call: Call, watch: "_Watch") -> int:
    output = session.output
    system = kit.user(call.user)
    limits = [session.settings.default_timeout, call.timeout]
    found = kit.catalog.view.find(call.tool)
    limits.append(None if found is None else found.definition.timeout)
    allowed = min((one for one in limits if one is not None), default=None)
    if allowed is not None:
        seconds = allowed
        watch.start(allowed, lambda: _too_late(output, call.tool, seconds))
    result = await system.execute(call.tool, call.arguments, timeout=call.timeout)
    watch.stop()
    status = _print_result(output, call, result, system)
    watch.start(0.0, lambda: status)  # from here on, there is only cleaning up
    await system.aclose()
    return status


def _print_result(
    output: Output, call: Call, result: ToolResult, system: UserToolSystem
) -> int:
    error = result.error
    if error is None:
        text = result.value_json()
        if output.is_terminal:
            output.json(json.loads(text))
        else:
            output.raw(text)
        if result.truncated:
            output.warn("the result was cut (setting max_result_bytes); it is a string")
        return 0
    output.error(error.code, str(error))
    if isinstance(error, ToolNotFoundError):
        collision = collision_of(call.tool, system.collisions)
        if collision is not None:
            output.hint(describe_collision(collision))
        else:  # the same for a tool that is not there and one this user may not see
            output.hint(
                f"`toolkit why {call.tool}` says what is installed, and its scopes."
            )
    return 1


def _too_late(output: Output, tool: str, seconds: float) -> int:
    """Answer for a tool that holds the event loop, so that nothing else can."""
    error = ToolTimeoutError(tool, seconds)
    output.error(error.code, f"{error}; it blocks its event loop")
    return 1


class _Watch:
    """Ends the process when a step takes too long; for the length of one call.

    A tool that never returns, or never ends its clean-up, cannot be stopped from
    within; a person at a terminal must get their prompt back all the same.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def start(self, seconds: float, status: Callable[[], int]) -> None:
        """Allow the next step so many seconds, and a grace."""
        self.stop()
        self._timer = end_after(seconds + GRACE, status)

    def stop(self) -> None:
        """Let the step take as long as it likes."""
        if self._timer is not None:
            self._timer.cancel()


def end_after(seconds: float, status: Callable[[], int]) -> threading.Timer:
    """End the process in so many seconds, whatever runs, unless cancelled."""

    def end() -> None:
        code = status()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
