"""How a call runs. The operator picks the executor; a plugin cannot choose."""

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic_core import from_json

from toolkit.catalog import CatalogTool
from toolkit.context import UserContext
from toolkit.signature import Arguments

Invoke = Callable[[], Any]
"""Starts the tool in this process: makes the instance if needed, calls its method."""

OnEnd = Callable[[], object]
"""Told that a call has really ended. May be called in any thread; must not raise."""

Emit = Callable[[Literal["part", "progress"], Any], None]
"""Told what comes while a call runs. On the call's loop or in its worker thread."""

OnStart = Callable[[bytes, tuple[frozenset[str], ...]], None]
"""Told the checked arguments as JSON, and the names of fields that have several."""

Delivery = Literal["at_most_once", "at_least_once"]
"""``at_least_once`` lets an engine run a call again when it cannot know whether it ran;
the dispatcher asks for it only where the tool says that it is idempotent."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One call, as the executor that runs it sees it. Lives until that call has ended.

    Attributes:
        call_id: The call.
        name: The name the caller used.
        user: Who calls; executors share their means fairly between user ids.
        tool: What is called.
        arguments: What the caller gave, for executors that run it elsewhere.
        invoke: Starts the tool, for executors that run it in this process.
        deadline: When the call is answered, in `time.monotonic` seconds; None: never.
            The dispatcher sees to that; an executor ends there what it can end.
        is_async: Whether what `invoke` returns is awaited, or is an async stream.
        context: In which the tool runs, for executors that run it in this process.
        secrets: This user's secrets by name, for the tool alone.
        delivery: Whether the call may run again when nobody can tell whether it ran.
        emit: Told each part of a stream, and progress; None when nobody listens.
        on_start: For executors that run it elsewhere: told, once the arguments have
            been checked there, what they are, as JSON, and the names of each field
            that goes by several; None when nobody listens.
        on_end: Called once, when the tool's own code has ended or will never begin:
            before whoever awaits the future goes on; for a call that was given up,
            whenever that is. Not called when `Executor.submit` raises.
    """

    call_id: str
    name: str
    user: UserContext
    tool: CatalogTool
    arguments: Arguments
    invoke: Invoke
    deadline: float | None = None
    is_async: bool = False
    context: contextvars.Context | None = None
    secrets: Mapping[str, str] | None = None
    delivery: Delivery = "at_most_once"
    emit: Emit | None = None
    on_start: OnStart | None = None
    on_end: OnEnd | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The value of a call that ran elsewhere, as JSON bytes. Immutable."""

    json_bytes: bytes

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return it as JSON values."""
        return from_json(self.json_bytes)


class Executor(Protocol):
    """Runs calls of one kind. One for a process; safe for many users at once.

    What an engine that spans machines needs is here as well: a deadline, giving up,
    parts as they come, and how often a call may run. The dispatcher answers a call at
    its deadline by itself, also when the engine is dead.

    Attributes:
        is_elsewhere: Whether tools run in another process. Their arguments are checked
            there, and nothing of the package is imported in this one.
    """

    is_elsewhere: bool

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Start one call on the running loop.

        Returns:
            A future of the tool's value (a stream's parts come as a list), of a
            `Written` where it ran elsewhere, or of what it raised. Cancelling it gives
            the call up; what cannot be stopped runs on, and is counted.

        Raises:
            RuntimeError: The executor is closed.
        """
        ...

    def statistics(self) -> dict[str, int]:
        """Return counts; ``late`` says how many run on after they were given up."""
        ...

    def close(self) -> None:
        """Take no more calls, and let go of what is kept ready for them."""
        ...
