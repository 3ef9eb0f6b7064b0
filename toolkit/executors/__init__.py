"""How a call runs. The dispatcher picks by the tool's kind; a plugin cannot choose."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

Invoke = Callable[[], Any]
"""Starts the tool: builds the instance if needed and calls its method."""

OnEnd = Callable[[], object]
"""Told that a call has really ended. May be called in any thread; must not raise."""


class Executor(Protocol):
    """Runs calls of one kind. One for a process; safe for many users at once."""

    def submit(
        self, invoke: Invoke, on_end: OnEnd | None = None
    ) -> asyncio.Future[Any]:
        """Start one call on the running loop.

        Args:
            invoke: Starts the tool.
            on_end: Called once, when the tool's own code has ended or will never
                begin: before whoever awaits the future goes on; for a call that was
                given up, whenever that is. Not called when this raises.

        Returns:
            A future of the tool's value (a stream's parts come as a list), or of what
            it raised. Cancelling it gives the call up; what cannot be stopped runs on,
            and is counted by the executor.
        """
        ...

    def statistics(self) -> dict[str, int]:
        """Return counts; ``late`` says how many run on after they were given up."""
        ...
