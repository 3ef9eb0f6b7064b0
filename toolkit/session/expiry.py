"""The end of a token, and the warning before it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

WARNING_SECONDS: Final = 60.0
"""How long before its token ends a client is told to show another one."""


class Expiry:
    """Watches one connection's token, on one event loop. Owned by its supervisor."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(
        self,
        ends_at: float | None,
        warn: Callable[[float], None],
        end: Callable[[], None],
    ) -> None:
        """Watch another token, and the one before no more.

        Args:
            ends_at: When it ends, in Unix seconds; None: never.
            warn: Told the seconds that are left, before it ends.
            end: Called when it has ended.
        """
        self.stop()
        if ends_at is not None:
            early = max(0.0, ends_at - time.time() - WARNING_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(
                early, self._soon, ends_at, warn, end
            )

    def stop(self) -> None:
        """Watch nothing more, and keep nobody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _soon(
        self, ends_at: float, warn: Callable[[float], None], end: Callable[[], None]
    ) -> None:
        left = max(0.0, ends_at - time.time())
        self._timer = asyncio.get_running_loop().call_later(left, end)
        warn(left)
