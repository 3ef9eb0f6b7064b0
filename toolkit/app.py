"""`Toolkit`: the composition root. Settings → catalog → factory → user systems."""

from collections.abc import Iterable
from typing import Any, Self

from toolkit.catalog import ToolCatalog
from toolkit.context import UserContext
from toolkit.discovery.pipeline import discover
from toolkit.discovery.report import DiscoveryReport
from toolkit.events import Sink
from toolkit.factory import UserContextToolFactory, UserToolSystem
from toolkit.settings import Settings


class Toolkit:
    """Everything of one process, wired once. Holds no user's object; close it.

    >>> from toolkit import UserContext, tool
    >>> @tool
    ... async def add(left: int, right: int) -> int:
    ...     return left + right
    >>> with Toolkit(objects=[add]) as kit, kit.user(UserContext(user_id="ann")) as ann:
    ...     [one.name for one in ann.get_all_tools() if one.name == "add"]
    ['add']

    Attributes:
        settings: What the operator decided.
        catalog: The tools there are.
        report: What discovery found, and what became of it.
        factory: Builds users' tool systems.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        objects: Iterable[object] = (),
        sinks: Iterable[Sink] = (),
    ) -> None:
        """Discover the tools and wire the parts.

        Args:
            settings: What the operator decided; by default `Settings.load()`.
            objects: Tools handed in beside the installed ones.
            sinks: Told every event of every user.

        Raises:
            ConfigurationError: A setting does not fit.
            DiscoveryFailedError: With ``settings.strict``, when anything is at fault.
        """
        self.settings = Settings.load() if settings is None else settings
        self.catalog: ToolCatalog
        self.report: DiscoveryReport
        self.catalog, self.report = discover(self.settings, objects=objects)
        self.factory = UserContextToolFactory(
            self.catalog, settings=self.settings, sinks=sinks
        )

    def user(
        self,
        user_context: UserContext,
        *,
        tool_classes: Iterable[object] | None = None,
        sinks: Iterable[Sink] = (),
    ) -> UserToolSystem:
        """Build one user's tool system; whoever called owns it and closes it.

        Args:
            user_context: Whose system it is.
            tool_classes: Tools for this user beside the catalog's.
            sinks: Told this system's events.

        Raises:
            InvalidUserContextError: `user_context` is not a `UserContext`.
            FactoryClosedError: This toolkit is closed.
        """
        return self.factory.create_user_tool_system(
            user_context, tool_classes, sinks=sinks
        )

    def health(self) -> dict[str, Any]:
        """Look at the real state: what discovery found and what is running.

        Returns:
            ``status`` (``healthy``, ``degraded``, or ``unhealthy``: closed, no tools),
            ``report`` (one line), and the counts of ``catalog``, ``systems``,
            ``threads`` and ``inline``.
        """
        status: str = self.report.status
        if status == "empty" or self.factory.is_closed:
            status = "unhealthy"
        return {
            "status": status,
            "report": self.report.summary(),
            "catalog": self.catalog.statistics(),
            "systems": self.factory.statistics(),
            "threads": self.factory.threads.statistics(),
            "inline": self.factory.inline.statistics(),
        }

    def close(self) -> None:
        """Let the worker threads end. Users' systems are closed by their owners."""
        self.factory.close()

    def __enter__(self) -> Self:
        """Return the toolkit itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()
