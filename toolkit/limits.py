"""How many calls may run: at once and in a minute, for each user and for each tool.

Calls over a limit wait, in turn between users, and those that find the line full are
refused. What is kept here of a user is their id, counts and times.
"""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from math import inf
from typing import Final

from toolkit.catalog import ListedTool
from toolkit.errors import CallLimitError
from toolkit.fairness import FairQueue
from toolkit.loops import call_here_or_soon, release
from toolkit.naming import comparable
from toolkit.settings import Settings, ToolLimit

MINUTE: Final = 60.0


def shortest(*seconds: float | None) -> float | None:
    """Return the shortest of several limits; None where none of them is one."""
    return min((one for one in seconds if one is not None), default=None)


class _Place:
    """One call's place in the line. Changed under its gate's lock only."""

    __slots__ = ("is_let_in", "is_timed", "loop", "user_id", "waiter")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.loop = asyncio.get_running_loop()
        self.waiter: asyncio.Future[None] = self.loop.create_future()
        self.is_let_in = False
        self.is_timed = False  # whether it looks again when the rate allows more

    def tell(self) -> bool:
        """Wake whoever waits in it; from any thread. False: nobody can any more."""
        return call_here_or_soon(self.loop, self.wake)

    def renew(self) -> None:
        """Make it wait again, after it was told to look."""
        if self.waiter.done() and not self.is_let_in:
            self.waiter = self.loop.create_future()

    def wake(self) -> None:
        release(self.waiter)


class Gate:
    """Lets in so many calls at once, and so many in any minute.

    Safe between threads and loops. Every `enter` that returns is followed by one
    `leave`.

    Args:
        what: What is counted, for the error.
        concurrent: Calls at once; None: any number.
        per_minute: Calls that may start in any 60 seconds; None: any number.
        max_queued: Calls that may wait.
    """

    __slots__ = (
        "_line",
        "_lock",
        "_max_queued",
        "_most",
        "_queued",
        "_running",
        "_starts",
        "_what",
    )

    def __init__(
        self,
        what: str,
        *,
        concurrent: int | None,
        per_minute: int | None,
        max_queued: int,
    ) -> None:
        """Start open."""
        self._what = what
        self._most = inf if concurrent is None else concurrent
        self._starts = deque[float](maxlen=per_minute) if per_minute else None
        self._max_queued = max_queued
        self._running = self._queued = 0
        self._line: FairQueue[_Place] = FairQueue()
        self._lock = threading.RLock()  # a collection may end a call while it is held

    def try_enter(self) -> bool:
        """Go on at once, if nobody waits and the limits allow it."""
        with self._lock:
            if self._queued or not self._running < self._most:
                return False
            if self._starts is not None and not self._count_start():
                return False
            self._running += 1
            return True

    @property
    def is_open(self) -> bool:
        """Whether `try_enter` would go on; looked at without a lock, so it may be late.

        Only for a gate without a rate.
        """
        return not self._queued and self._running < self._most

    def count_in(self) -> None:
        """Count a call that goes on already; it found the gate open when it came."""
        with self._lock:
            self._running += 1

    async def enter(self, user_id: str, deadline: float | None) -> None:
        """Wait until this call may go on.

        Args:
            user_id: Whose call it is; users are let in in turn.
            deadline: When to give up, in `time.monotonic` seconds; None: never.

        Raises:
            CallLimitError: The line is full, or the deadline passes in it.
            asyncio.CancelledError: The caller is cancelled; the place is given up.
        """
        with self._lock:  # in one piece: who leaves meanwhile finds it in the line
            self._let_in()  # the rate may allow it by now
            if self.try_enter():
                return
            place = self._line_up(user_id)
            self._let_in()  # a collection may have ended a call since it tried
        try:
            while not place.is_let_in:
                await self._wait(place, deadline)
        except BaseException:
            self._give_up(place)
            raise

    def leave_again(self, entering: "asyncio.Task[None]") -> None:
        """Give back a place that was got just when nobody wanted it any more."""
        if not entering.cancelled() and entering.exception() is None:
            self.leave(was_started=False)

    def leave(self, *, was_started: bool = True) -> None:
        """Tell that a call has ended; whose turn it is comes in.

        Args:
            was_started: Whether it counts to the rate.
        """
        with self._lock:
            self._running -= 1
            if self._starts and not was_started:
                self._starts.popleft()  # the oldest: what stays is never too little
            self._let_in()

    def statistics(self) -> dict[str, int]:
        """Return counts: running and queued."""
        with self._lock:
            return {"running": self._running, "queued": self._queued}

    def rests(self) -> bool:
        """Tell whether nothing is left to remember: no call, and no recent start."""
        with self._lock:
            starts = self._starts
            is_recent = bool(starts) and time.monotonic() - starts[-1] < MINUTE  # type: ignore[index]  # it is not empty
            return not (self._running or self._queued or is_recent)

    # --- all below hold the lock, but for the waiting --------------------------------

    async def _wait(self, place: _Place, deadline: float | None) -> None:
        """Wait until let in, until the rate allows more, or fail at the deadline."""
        now = time.monotonic()
        left = None if deadline is None else deadline - now
        with self._lock:
            pause = self._pause(now) or None
            place.is_timed = pause is not None
            place.renew()
        if left is not None and (left <= 0 or (pause is not None and pause > left)):
            raise self._refusal()
        soonest = shortest(left, pause)
        await asyncio.wait({place.waiter}, timeout=soonest)
        with self._lock:
            self._let_in()

    def _line_up(self, user_id: str) -> _Place:
        if self._queued >= self._max_queued:
            self._drop_closed()
        if self._queued >= self._max_queued:
            raise self._refusal()
        place = _Place(user_id)
        self._line.push(user_id, place)
        self._queued += 1
        return place

    def _give_up(self, place: _Place) -> None:
        with self._lock:
            if place.is_let_in:
                place.is_let_in = False
                self.leave(was_started=False)
            elif self._line.discard(place.user_id, place):
                self._queued -= 1

    def _drop_closed(self) -> None:
        """Forget those whose loops were closed: they wait no more."""
        for place in tuple(self._line):
            if place.loop.is_closed():
                self._give_up(place)

    def _let_in(self) -> None:
        while self._queued and self._running < self._most:
            if self._pause(time.monotonic()):
                self._tell_of_rate()
                return
            place = self._line.pop()
            self._queued = len(self._line)
            if place is None:
                continue
            place.is_let_in = True
            self._running += 1
            if place.tell():
                self._count_start()
            elif place.is_let_in:  # its loop was closed
                place.is_let_in = False
                self._running -= 1

    def _tell_of_rate(self) -> None:
        """Let those look at the rate who have only waited for others to leave."""
        for place in self._line:
            if not place.is_timed:
                place.is_timed = True
                place.tell()

    def _count_start(self) -> bool:
        """Count one more start, if the rate allows it now."""
        now = time.monotonic()
        if self._starts is None or self._pause(now):
            return False
        self._starts.append(now)
        return True

    def _pause(self, now: float) -> float:
        """Return the seconds until the rate allows another call."""
        starts = self._starts
        if starts is None or len(starts) < (starts.maxlen or 0):
            return 0.0
        return max(0.0, starts[0] + MINUTE - now)

    def _refusal(self) -> CallLimitError:
        with self._lock:
            pause = self._pause(time.monotonic())
            if self._starts is not None and (pause or self._most == inf):
                count = len(self._starts)
                what = f"calls of {self._what} in the last minute"
                return CallLimitError(what, count, count, pause)
            what = f"calls of {self._what} at once"
            return CallLimitError(what, self._running, int(self._most))


class UserShare:
    """What one user has of this process. One for all of their tool systems.

    Attributes:
        user_id: Whose it is.
        systems: How many tool systems they have open.
    """

    __slots__ = ("_gates", "systems", "user_id")

    def __init__(self, user_id: str) -> None:
        """Start without any."""
        self.user_id = user_id
        self.systems = 0
        self._gates: dict[str, Gate] = {}  # by tool; under no name that of all calls

    def gate(self, settings: Settings) -> Gate:
        """Return the gate of all this user's calls, made at its first use."""
        gate = self._gates.get("")
        if gate is None:
            made = Gate(
                "this user",
                concurrent=settings.max_concurrent_calls,
                per_minute=settings.calls_per_minute,
                max_queued=settings.max_queued_calls,
            )
            gate = self._gates.setdefault("", made)
        return gate

    def tool_gate(self, name: str, limit: ToolLimit, max_queued: int) -> Gate:
        """Return the gate of this user's calls of one tool."""
        gate = self._gates.get(name)
        if gate is None:
            made = Gate(
                f"{name!r} by this user",
                concurrent=limit.concurrent_per_user,
                per_minute=limit.per_minute_per_user,
                max_queued=max_queued,
            )
            gate = self._gates.setdefault(name, made)
        return gate

    def rests(self) -> bool:
        """Tell whether nothing of it has to be remembered."""
        gates = tuple(self._gates.copy().values())
        return not self.systems and all(gate.rests() for gate in gates)


class Shares:
    """The shares of all users. Process-wide; holds ids, counts and times only.

    A user who closes all and comes back within a minute finds the count of calls that
    they left.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.RLock()  # a collection may run __del__ while it is held
        self._open: dict[str, UserShare] = {}
        self._left: OrderedDict[str, UserShare] = OrderedDict()
        self._schemas = 0

    def refused_schemas(self, number: int) -> None:
        """Count pydantic models that were offered as tools for a user, and refused."""
        with self._lock:
            self._schemas += number

    def opened(self, user_id: str) -> UserShare:
        """Count a tool system of this user, and return their share."""
        with self._lock:
            share = self._open.get(user_id) or self._left.get(user_id)
            if share is None:
                share = UserShare(user_id)
            share.systems += 1
            self._open[user_id] = share  # also when a collection took it out just now
            if self._left:
                self._left.pop(user_id, None)
                self._forget()
            return share

    def closed(self, share: UserShare) -> None:
        """Count one less."""
        with self._lock:
            share.systems -= 1
            if share.systems <= 0:
                self._open.pop(share.user_id, None)
                if not share.rests():
                    self._left[share.user_id] = share

    def count(self, user_id: str) -> int:
        """Return how many tool systems this user has open."""
        with self._lock:
            share = self._open.get(user_id)
            return 0 if share is None else share.systems

    def statistics(self) -> dict[str, int]:
        """Return counts: open systems, users, most systems of one user, schemas.

        Those that a user's registry refused are counted when it is closed.
        """
        with self._lock:
            counts = [share.systems for share in self._open.values()]
            schemas = self._schemas
        return {
            "open_systems": sum(counts),
            "users": len(counts),
            "registry_count_per_user": max(counts, default=0),
            "basemodel_rejections": schemas,
        }

    def _forget(self) -> None:
        """Drop who has been gone long enough; those who left first come first."""
        for user_id in tuple(self._left)[:2]:  # two for each that comes: it shrinks
            if self._left[user_id].rests():
                del self._left[user_id]
            else:
                self._left.move_to_end(user_id)


class ToolLimits:
    """The operator's limits of single tools. Process-wide; safe between threads."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings; a gate is made when its tool is first called."""
        self._max_queued = settings.max_queued_calls
        self._limits: Mapping[str, ToolLimit] = {
            comparable(name): limit for name, limit in settings.tool_limits.items()
        }
        self._gates: dict[str, Gate] = {}

    def gates_of(self, listed: ListedTool, share: UserShare) -> tuple[Gate, ...]:
        """Return the gates that a call of this tool by this user has to pass."""
        if not self._limits:
            return ()
        limit = next(
            (
                self._limits[name]
                for name in sorted(listed.known_names(), key=len, reverse=True)
                if name in self._limits
            ),
            None,
        )
        if limit is None:
            return ()
        name = listed.definition.qualified_name
        gates = []
        if limit.concurrent_per_user or limit.per_minute_per_user:
            gates.append(share.tool_gate(name, limit, self._max_queued))
        if limit.concurrent or limit.per_minute:
            gates.append(self._gate(name, limit))
        return tuple(gates)

    def _gate(self, name: str, limit: ToolLimit) -> Gate:
        gate = self._gates.get(name)
        if gate is None:
            made = Gate(
                repr(name),
                concurrent=limit.concurrent,
                per_minute=limit.per_minute,
                max_queued=self._max_queued,
            )
            gate = self._gates.setdefault(name, made)
        return gate
