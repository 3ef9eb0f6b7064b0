"""The tool systems of one connection: the one in use, and those that runs still use."""

import asyncio
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from toolkit.app import Toolkit
from toolkit.catalog import ListedAgent
from toolkit.context import UserContext
from toolkit.dispatch import UnifiedToolDispatcher
from toolkit.run_events import AgentEvent
from toolkit.session.introspection import changes_between
from toolkit.system import UserToolSystem


class SeatOwner(Protocol):
    """Takes what the runs of a connection tell."""

    def take(self, event: AgentEvent) -> None:
        """Take an event."""
        ...

    async def room(self) -> None:
        """Wait until events are taken again."""
        ...


class Seat:
    """One tool system of a connection, for the runs that were started with it.

    Attributes:
        system: The user's tools.
        agents: The agents that the user may ask, by name.
        runs: How many runs use it now.
    """

    __slots__ = ("_owner", "agents", "runs", "system")

    def __init__(
        self,
        owner: "weakref.ref[SeatOwner]",
        system: UserToolSystem,
        agents: Mapping[str, ListedAgent],
    ) -> None:
        """Take over the system."""
        self._owner = owner  # which has this seat, and is to be freed without a search
        self.system = system
        self.agents = agents
        self.runs = 0

    def emit(self, event: AgentEvent) -> None:
        """Hand on an event of a run."""
        owner = self._owner()
        if owner is not None:
            owner.take(event)

    async def room(self) -> None:
        """Wait until events are taken again."""
        owner = self._owner()
        if owner is not None:
            await owner.room()


class Seats:
    """Opens and closes the tool systems of one connection. Owned by its supervisor.

    Attributes:
        current: What runs are started with now.
    """

    def __init__(
        self,
        owner: SeatOwner,
        kit: Toolkit,
        user: UserContext,
        secrets: Mapping[str, str] | None,
    ) -> None:
        """Open the first one.

        Raises:
            InvalidUserContextError: `user` is no `UserContext`.
            FactoryClosedError: The toolkit is closed.
        """
        self._owner = weakref.ref(owner)
        self._kit = kit
        self._secrets = secrets
        self._retired: list[Seat] = []
        self._ends: set[asyncio.Task[None]] = set()
        self.current = self._open(user)

    def change(self, user: UserContext) -> dict[str, list[str]]:
        """Open another one over the tools there are now; runs keep the one they have.

        Returns:
            The names that were added, removed, and of tools that are others now.
        """
        old, self.current = self.current, self._open(user)
        self._retired.append(old)
        self._close_unused()
        return changes_between(old.system.view, self.current.system.view)

    def left(self, seat: Seat) -> None:
        """Note that a run uses a seat no more."""
        seat.runs -= 1
        self._close_unused()

    def dispatchers(self) -> tuple[UnifiedToolDispatcher, ...]:
        """Return what runs this connection's calls."""
        seats = (self.current, *self._retired)
        return tuple(one.system.dispatcher for one in seats)

    async def aclose(self) -> None:
        """Close all of them, and wait until they are.

        Whoever stops waiting does not stop the closing.
        """
        self._retired.append(self.current)
        for one in self._retired:
            one.runs = 0
        self._close_unused()
        if self._ends:
            await asyncio.wait(self._ends)

    def close(self) -> None:
        """Close all of them where no event loop runs."""
        for one in (self.current, *self._retired):
            one.system.close()

    def _open(self, user: UserContext) -> Seat:
        system = self._kit.user(user, secrets=self._secrets)
        scopes = self._kit.factory.policy.scopes_of(user)
        agents = {
            str(name): one
            for name, one in self._kit.catalog.agents.items()
            if one.tool.definition.required_scopes <= scopes
        }
        return Seat(self._owner, system, MappingProxyType(agents))

    def _close_unused(self) -> None:
        for one in [seat for seat in self._retired if not seat.runs]:
            self._retired.remove(one)
            task = asyncio.get_running_loop().create_task(one.system.aclose())
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)
