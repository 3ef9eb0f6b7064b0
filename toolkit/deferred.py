"""A tool that is known from before, and imported at its first call.

Its definition comes from the cache or from a manifest. It stands in a catalog beside
`toolkit.compiler.CompiledTool` and has what that has; what needs the code loads it.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.context import ToolContext, UserContext
from toolkit.naming import ToolName
from toolkit.origin import Origin
from toolkit.tools import ToolDefinition

if TYPE_CHECKING:
    from toolkit.compiler import CompiledTool
    from toolkit.signature import Signature

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """A tool whose code says something else than what it was listed with. Immutable.

    Attributes:
        name: The tool's bare name, as it was listed.
        origin: Where it comes from.
        changed: The attributes of its definition that differ, sorted.
    """

    name: str
    origin: Origin
    changed: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a sentence, with what follows."""
        return (
            f"{self.name} of {self.origin} differs from what it was listed with "
            f"({', '.join(self.changed)}); its code counts from now on"
        )


class Drifts:
    """What first calls found out, for one catalog. Safe between threads."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._found: list[Drift] = []

    def add(self, one: Drift) -> None:
        """Take note of one, and tell the log."""
        with self._lock:
            self._found.append(one)
        logger.warning("%s", one)

    def __call__(self) -> tuple[Drift, ...]:
        """Return those found so far, the oldest first."""
        with self._lock:
            return tuple(self._found)


class DeferredTool:
    """One accepted tool whose code is not imported yet. Process-wide; no user's object.

    Safe between threads. The code is imported once: at the first call, in a thread of
    its own, so that no event loop waits for it; or where something here asks for it.
    A failure is not kept: the next call tries again.

    Attributes:
        origin: Where it was found.
        method: The method a call runs.
        identity: Where the object itself is defined, as ``module:name``, or empty.
    """

    __slots__ = (
        "_known",
        "_load",
        "_loaded",
        "_loading",
        "_pending",
        "_state",
        "identity",
        "method",
        "origin",
    )

    def __init__(
        self,
        definition: ToolDefinition,
        origin: Origin,
        method: str,
        load: "Callable[[], CompiledTool]",
        *,
        identity: str = "",
    ) -> None:
        """Keep what is known, and how to get the rest."""
        self.origin = origin
        self.method = method
        self.identity = identity
        self._known = definition
        self._load = load
        self._loaded: CompiledTool | None = None
        self._loading = threading.RLock()  # held while the plugin is imported
        self._state = threading.Lock()  # held for an instant
        self._pending: Future[CompiledTool] | None = None

    @property
    def name(self) -> ToolName:
        """The bare name the author gave it."""
        return self._known.name

    @property
    def definition(self) -> ToolDefinition:
        """What callers may know: as kept, and once the code is imported, as it says."""
        loaded = self._loaded
        return self._known if loaded is None else loaded.definition

    @property
    def is_loaded(self) -> bool:
        """Whether its code is imported."""
        return self._loaded is not None

    @property
    def target(self) -> object:
        """The class or instance; None as long as its code is not imported."""
        loaded = self._loaded
        return None if loaded is None else loaded.target

    @property
    def signature(self) -> "Signature":
        """The compiled execute method; imports the code.

        Raises:
            ToolUnavailableError: It cannot be imported any more.
        """
        return self.load().signature

    def load(self) -> "CompiledTool":
        """Return the tool itself, imported now if it is not yet.

        Raises:
            ToolUnavailableError: It cannot be imported any more.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def objection(self) -> str:
        """Say why its code may not be imported now, here or elsewhere; may read files.

        Returns:
            Empty when it may.
        """
        ask: Callable[[], str] | None = getattr(self._load, "objection", None)
        return "" if self.is_loaded or ask is None else ask()

    def begin_loading(self) -> "Future[CompiledTool]":
        """Start to import the code, in one thread for all who ask, and return at once.

        Returns:
            A future; its exception is what `load` raises.
        """
        with self._state:
            if self._pending is not None:
                return self._pending
            pending: Future[CompiledTool] = Future()
            self._pending = pending
        pending.set_running_or_notify_cancel()  # from here on nobody can cancel it
        name = f"toolkit-load-{self.name}"
        threading.Thread(
            target=self._finish, args=(pending,), name=name, daemon=True
        ).start()
        return pending

    def _finish(self, pending: "Future[CompiledTool]") -> None:
        try:
            tool = self.load()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            with self._state:
                self._pending = None  # the next call tries again
            pending.set_exception(error)
        else:
            pending.set_result(tool)

    def instantiate(self, user: UserContext) -> object:
        """Make this user's own instance; imports the code.

        Raises:
            ToolUnavailableError: It cannot be imported any more.
            ToolConstructionError: As for `CompiledTool.instantiate`.
        """
        return self.load().instantiate(user)

    def bind(
        self, instance: object, arguments: dict[str, Any], context: ToolContext
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Return the method with its positional and keyword arguments.

        Raises:
            ToolUnavailableError: It cannot be imported any more.
        """
        return self.load().bind(instance, arguments, context)

    def __repr__(self) -> str:
        """Name the tool and the state."""
        state = "loaded" if self.is_loaded else "not loaded"
        return f"<DeferredTool {self.name}, {state}>"
