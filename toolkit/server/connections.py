"""Who is connected to this process: limits, and how often one may knock."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from toolkit.backend_settings import ServerSettings
from toolkit.metrics import Numbers
from toolkit.server.counts import Watch
from toolkit.server.refusals import Refusal
from toolkit.session.supervisor import Supervisor

MAX_NAMES: Final = 10_000
"""Users or addresses that a rate is kept of; whoever knocked longest ago goes first."""

MINUTE: Final = 60.0
_ROUNDING: Final = 1e-6  # seconds; sums of intervals are off by far less


class Rates:
    """How often each of many may do something in a minute. Bounded.

    A token bucket for each name, kept as the one time at which it is full again
    (ITU-T I.371, annex A: generic cell rate algorithm). Belongs to one event loop.
    """

    __slots__ = ("_clock", "_full_at", "_interval", "_max_names")

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        max_names: int = MAX_NAMES,
    ) -> None:
        """Start with every bucket full.

        Args:
            per_minute: How often, all at once or spread.
            clock: Seconds.
            max_names: How many names are kept.
        """
        self._interval = MINUTE / per_minute
        self._clock = clock
        self._max_names = max_names
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, name: str) -> float:
        """Return the seconds until `take` would succeed; 0.0 now."""
        left = self._full_at.get(name, 0.0) - self._clock()
        wait = left - (MINUTE - self._interval)
        return wait if wait > _ROUNDING else 0.0

    def take(self, name: str) -> float:
        """Count one time, unless it is one too many.

        Returns:
            The seconds to wait; 0.0 when it is counted.
        """
        wait = self.wait(name)
        if wait <= 0.0:
            start = max(self._full_at.get(name, 0.0), self._clock())
            self._full_at[name] = start + self._interval
            self._full_at.move_to_end(name)
            if len(self._full_at) > self._max_names:
                self._full_at.popitem(last=False)
        return wait

    def __len__(self) -> int:
        """Return how many names are kept."""
        return len(self._full_at)


def source_of(host: str | None) -> str:
    """Return the name that an address is counted by.

    One network of IPv6 is one source: who has one address there has them all (RFC 6177,
    section 2).
    """
    try:
        address = ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network(f"{address}/64", strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


class Place:
    """What one connection has of the process. Given back once, by itself.

    Attributes:
        supervisor: The owner of all that the connection has.
        watch: Counts what it does.
    """

    __slots__ = ("_owner", "supervisor", "watch")

    def __init__(
        self, owner: "Connections", supervisor: Supervisor, watch: Watch
    ) -> None:
        """Take it; see `Connections.add`."""
        self._owner = owner
        self.supervisor = supervisor
        self.watch = watch

    def leave(self) -> None:
        """Give it back; calling it again does nothing."""
        self._owner.remove(self)


class Connections:
    """Who is connected. One for a process, on one event loop.

    A newcomer beyond a limit is refused; nobody who is connected has to go.

    Attributes:
        messages: How often each user may send.
        connects: How often each source may connect.
        failed_logins: How often each source may show a token that is refused.
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Start with nobody."""
        self._settings = settings
        self._places: dict[Place, str] = {}
        self._of_user: Counter[str] = Counter()
        self.messages = Rates(settings.messages_per_minute)
        self.connects = Rates(settings.connects_per_minute)
        self.failed_logins = Rates(settings.failed_logins_per_minute)

    def knock(self, source: str) -> Refusal | None:
        """Count that somebody wants to be let in; return why they may not ask now."""
        wait = self.failed_logins.wait(source)
        if wait > 0.0:
            text = f"too many refused tokens from your address; wait {wait:.0f} s"
            return Refusal(
                status=429, code="too_many_logins", message=text, retry_after=wait
            )
        wait = self.connects.take(source)
        if wait > 0.0:
            text = f"too many connections from your address; wait {wait:.0f} s"
            return Refusal(
                status=429, code="too_many_connects", message=text, retry_after=wait
            )
        return None

    def full_for(self, user_id: str) -> Refusal | None:
        """Return why there is no place for another connection of a user now.

        Between this and `add` must be no `await`.
        """
        if len(self._places) >= self._settings.max_connections:
            text = "the server is full; try again later"
            return Refusal(
                status=503, code="server_full", message=text, retry_after=5.0
            )
        most = self._settings.max_connections_per_user
        if self._of_user[user_id] >= most:
            text = f"you have {most} connections open; close one of them first"
            return Refusal(status=429, code="too_many_connections", message=text)
        return None

    def add(self, user_id: str, supervisor: Supervisor, watch: Watch) -> Place:
        """Give a connection its place."""
        place = Place(self, supervisor, watch)
        self._places[place] = user_id
        self._of_user[user_id] += 1
        return place

    def remove(self, place: Place) -> None:
        """Take a place back; calling it again does nothing."""
        user_id = self._places.pop(place, None)
        if user_id is not None:
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    def __iter__(self) -> Iterator[Place]:
        """Iterate over a snapshot of the places."""
        return iter(tuple(self._places))

    def __len__(self) -> int:
        """Return how many are connected."""
        return len(self._places)

    def numbers(self) -> Iterator[Numbers]:
        """Yield what Prometheus is told."""
        for name, text, value in (
            ("connections", "Connections that are open now.", len(self)),
            ("users", "Users who are connected now.", self.users),
        ):
            yield Numbers(f"toolkit_server_open_{name}", text, {"": value})

    @property
    def users(self) -> int:
        """How many users are connected."""
        return len(self._of_user)
