"""What an edge, such as a server, gives the supervisors of its connections."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from toolkit.agent import Reasoner
from toolkit.context import UserContext


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a new token says. Immutable.

    Attributes:
        user: Who, with the rights that they have now.
        expires_at: When the token ends, in Unix seconds.
    """

    user: UserContext
    expires_at: float | None


class Watcher(Protocol):
    """Told of what a supervisor does, to count it. Must not block or raise."""

    def run_started(self, user_id: str) -> None:
        """Note that a run has started."""
        ...

    def run_ended(self, user_id: str, code: str, seconds: float) -> None:
        """Note how one has ended; the code is empty where there was an answer."""
        ...

    def cleaned_up(self, seconds: float, *, is_complete: bool) -> None:
        """Note that all of a connection is ended, or that something resisted."""
        ...


Renew = Callable[[str], Awaitable[Renewal]]
"""Judges a token that a client shows on an open connection; raises our errors."""

Admit = Callable[[], float]
"""Asked before each message; returns the seconds to wait, 0.0 to go on."""

MESSAGE_BYTES: Final = 16_384
"""What one message may have; a larger one counts as several, for it costs as much."""


def wait_for(size: int, admit: Admit) -> float:
    """Return how long a client has to wait who sends so many bytes; 0.0 to go on."""
    return max(admit() for _ in range(0, size + 1, MESSAGE_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What the edge gives a supervisor. Immutable.

    Attributes:
        expires_at: When the user's token ends, in Unix seconds; None: never.
        renew: Judges another token; None where none can be shown.
        admit: Says how long a client that sends too much has to wait.
        watcher: Told of what happens, to count it; None: nobody counts.
        reason: Lets a language model answer.
        secrets: The user's secrets by name, for the tools they call.
    """

    expires_at: float | None = None
    renew: Renew | None = None
    admit: Admit = lambda: 0.0
    watcher: Watcher | None = None
    reason: Reasoner | None = None
    secrets: Mapping[str, str] | None = None
