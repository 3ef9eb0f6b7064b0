"""Deadlines that cost next to nothing for what ends soon."""

import asyncio
import time
from math import inf
from operator import itemgetter
from typing import Final, Protocol

SOON: Final = 0.005
"""Seconds within which most calls that wait at all have ended. What has not by then
gets a timer of its own; before, it is only kept in a dictionary."""


class Expiring(Protocol):
    """Something with a deadline. Keeps its own timer for `Deadlines`."""

    deadline: float | None
    timer: asyncio.TimerHandle | None

    def expire(self) -> None:
        """Do what is to be done at the deadline; called once at most."""
        ...


class Deadlines:
    """Tells what is watched that its deadline has passed. Belongs to one loop.

    A timer of the loop costs more than a short call does. So one timer for all looks
    every `SOON` seconds at what came since, while there is anything.
    """

    __slots__ = ("_fresh", "_loop", "_soon")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch nothing yet."""
        self._loop = loop
        self._fresh: dict[Expiring, float] = {}
        self._soon: float | None = None  # a deadline before this needs its own timer

    def watch(self, one: Expiring) -> None:
        """Call ``one.expire()`` at its deadline, unless it is dropped before.

        Those whose deadlines have passed meanwhile are told in the order of these.
        """
        deadline = one.deadline
        if deadline is None:
            return
        if one.timer is not None:  # it is watched anew
            self.drop(one)
        soon = self._soon
        if soon is not None and deadline > soon:
            self._fresh[one] = deadline
            return
        now = time.monotonic()
        if deadline < now + 2 * SOON:
            self._give_timer(one, deadline)
            return
        self._fresh[one] = deadline
        if soon is None:
            self._soon = now + 2 * SOON
            self._loop.call_later(SOON, self._look)

    def drop(self, one: Expiring) -> None:
        """Watch it no more."""
        self._fresh.pop(one, None)
        if one.timer is not None:
            one.timer.cancel()
            one.timer = None

    def _look(self) -> None:
        self._soon = None
        fresh, self._fresh = self._fresh, {}
        for one, deadline in sorted(fresh.items(), key=itemgetter(1)):
            self._give_timer(one, deadline)

    def _give_timer(self, one: Expiring, deadline: float) -> None:
        if deadline != inf:  # no loop has to bear a timer for that
            left = deadline - time.monotonic()  # may be below 0: that keeps the order
            one.timer = self._loop.call_later(left, one.expire)
