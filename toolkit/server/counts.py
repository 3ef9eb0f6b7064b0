"""What a server counts: connections, runs and clean-ups, and how many went well."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from toolkit.errors import RegistryError, ToolNotFoundError
from toolkit.events import EventType, ToolEvent
from toolkit.metrics import CODES, OTHER, Numbers, registry_codes

logger = logging.getLogger(__name__)

CANCELLED: Final = "run_cancelled"
"""How runs end that whoever asked has given up: neither a success nor a failure."""

_METACLASS: Final = "modelmetaclass"
_REGISTRY_CODES: Final = registry_codes()


class Counts:
    """Counts for a whole process, on one event loop.

    Holds ids of users whose runs are under way, and of no others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start at zero.

        Args:
            clock: Seconds; the one that runs are timed by.
        """
        self._clock = clock
        self.connections: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.cleanups: Counter[str] = Counter()
        self.registry_errors = 0
        self.metaclass_errors = 0
        self._let_in = 0
        self._failed = 0
        self._active: Counter[str] = Counter()
        self._several_until = -math.inf
        self._together: Counter[bool] = Counter()

    # --- what happens -------------------------------------------------------------

    def __call__(self, event: ToolEvent) -> None:
        """Count what the registries of users fail at; a sink, for any thread."""
        is_end = event.type is EventType.TOOL_COMPLETED
        self.registry_errors += is_end and event.error_code in _REGISTRY_CODES

    def let_in(self) -> None:
        """Note a connection that has a supervisor."""
        self.connections["ok"] += 1
        self._let_in += 1

    def refused(self, code: str, *, is_ours: bool) -> None:
        """Note one that was refused; is it the server's fault, it has failed."""
        self.connections[code] += 1
        self._failed += is_ours

    def broken(self, error: BaseException) -> None:
        """Note what went wrong while somebody was let in."""
        is_registry = isinstance(error, RegistryError)
        self.registry_errors += is_registry and not isinstance(error, ToolNotFoundError)
        self.metaclass_errors += _METACLASS in str(error).lower()

    def run_started(self, user_id: str) -> None:
        """Note that a run has started."""
        self._active[user_id] += 1

    def run_ended(self, user_id: str, code: str, seconds: float) -> None:
        """Note how one has ended; the code is empty where there was an answer."""
        known = code if code in CODES or code == "lost" else OTHER
        self.runs[known if code else "ok"] += 1
        is_several = len(self._active) > 1
        self._active[user_id] -= 1
        if self._active[user_id] <= 0:
            del self._active[user_id]
        now = self._clock()
        if is_several:
            self._several_until = now
        if self._several_until >= now - seconds and code != CANCELLED:
            self._together[not code] += 1

    # --- what is told of it -------------------------------------------------------

    def rates(self) -> Mapping[str, float]:
        """Return the rates by name, in percent; not a number where nothing was."""
        asked = self.runs.total() - self.runs[CANCELLED]
        requests = self._let_in + self._failed + self.runs.total()
        ended = self.cleanups.total()
        return {
            "connections": _percent(self._let_in, self._let_in + self._failed),
            "responses": _percent(self.runs["ok"], asked),
            "several_users": _percent(self._together[True], self._together.total()),
            "cleanups": _percent(self.cleanups["complete"], ended),
            "registry_errors": _percent(self.registry_errors, requests) * 10,
        }

    def numbers(self) -> Iterator[Numbers]:
        """Yield what Prometheus is told."""
        yield Numbers(
            "toolkit_server_connections_total",
            "Connections by outcome: ok, or why they were refused.",
            dict(self.connections),
            "outcome",
        )
        yield Numbers(
            "toolkit_server_runs_total",
            "Runs of agents by outcome: ok, or the code of the error.",
            dict(self.runs),
            "outcome",
        )
        yield Numbers(
            "toolkit_server_cleanups_total",
            "Ends of connections: complete, or incomplete where something resisted.",
            dict(self.cleanups),
            "outcome",
        )
        for name, text, value in self._single():
            yield Numbers(name, text, {"": value})

    def _single(self) -> Iterator[tuple[str, str, float]]:
        rates = self.rates()
        yield (
            "toolkit_server_registry_errors_total",
            "What users' registries failed at.",
            self.registry_errors,
        )
        yield (
            "toolkit_server_users_running",
            "Users who have a run under way now.",
            len(self._active),
        )
        yield (
            "toolkit_connection_success_rate_percent",
            "Connections let in, of those and those that failed by the server's fault.",
            rates["connections"],
        )
        yield (
            "toolkit_response_completion_rate_percent",
            "Runs that ended with an answer, of all that were not given up.",
            rates["responses"],
        )
        yield (
            "toolkit_multiuser_success_rate_percent",
            "The same of runs while another user had a run.",
            rates["several_users"],
        )
        yield (
            "toolkit_registry_errors_per_1000_requests",
            "What users' registries failed at, per 1,000 connections and runs.",
            rates["registry_errors"],
        )
        yield (
            "websocket_registry_cleanup_success_rate",
            "Percent of ended connections of which all was ended in time.",
            rates["cleanups"],
        )
        yield (
            "websocket_modelmetaclass_errors",
            "Connections that failed because a metaclass was taken for a tool.",
            self.metaclass_errors,
        )


class Watch:
    """Counts what one connection does. Lives as long as it."""

    __slots__ = ("_counts", "_ended", "_open", "_user_id")

    def __init__(self, counts: Counts, user_id: str) -> None:
        """Start with no run."""
        self._counts = counts
        self._user_id = user_id
        self._open = self._ended = 0

    def run_started(self, user_id: str) -> None:
        """Note that a run has started."""
        self._open += 1
        self._counts.run_started(user_id)

    def run_ended(self, user_id: str, code: str, seconds: float) -> None:
        """Note how one has ended."""
        self._open -= 1
        self._counts.run_ended(user_id, code, seconds)
        self._ended += 1
        if code:  # what went well is summed up: a line for each costs a seventh of it
            logger.info("a run has ended: %s", code, extra={"seconds": seconds})

    def cleaned_up(self, seconds: float, *, is_complete: bool) -> None:
        """Note the end; runs that resisted it are lost."""
        outcome = "complete" if is_complete else "incomplete"
        self._counts.cleanups[outcome] += 1
        while self._open > 0:
            self.run_ended(self._user_id, "lost", seconds)
        if self._ended:
            logger.info("all is cleaned up: %s", outcome, extra={"runs": self._ended})


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else math.nan
