"""`Toolkit`: the composition root. Settings → catalog → factory → user systems."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from toolkit.catalog import ToolCatalog
from toolkit.context import UserContext
from toolkit.discovery.loading import Imported
from toolkit.discovery.path_files import add_new_folders
from toolkit.discovery.pipeline import discover_again
from toolkit.discovery.report import DiscoveryReport
from toolkit.errors import (
    FactoryClosedError,
    NoEarlierCatalogError,
    ToolkitError,
    describe_error,
)
from toolkit.events import CatalogEvent, CatalogEventType, CatalogSink, Sink, deliver
from toolkit.factory import UserContextToolFactory
from toolkit.settings import Settings
from toolkit.system import UserToolSystem
from toolkit.tools import ToolDefinition
from toolkit.tracing import CallTracer, default_tracer

MAX_EARLIER: Final = 3
"""Catalogs kept to roll back to; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class _Generation:
    """A catalog in use, with what goes with it. Immutable: swapped as one."""

    settings: Settings
    catalog: ToolCatalog
    report: DiscoveryReport
    factory: UserContextToolFactory


class Toolkit:
    """Everything of one process, wired once. Holds no user's object; close it.

    >>> from toolkit import UserContext, tool
    >>> @tool
    ... async def add(left: int, right: int) -> int:
    ...     return left + right
    >>> with Toolkit(objects=[add]) as kit, kit.user(UserContext(user_id="ann")) as ann:
    ...     [one.name for one in ann.get_all_tools() if one.name == "add"]
    ['add']

    Safe between threads. A refresh swaps settings, catalog, report and factory as one;
    a system that is open keeps what it was made from until it is closed.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        objects: Iterable[object] = (),
        agents: Iterable[object] = (),
        sinks: Iterable[Sink] = (),
        catalog_sinks: Iterable[CatalogSink] = (),
        tracer: CallTracer | None = None,
    ) -> None:
        """Discover the tools and wire the parts.

        Args:
            settings: What the operator decided; by default `Settings.load()`.
            objects: Tools handed in beside the installed ones.
            agents: Agents handed in likewise.
            sinks: Told every event of every user.
            catalog_sinks: Told when the catalog is changed; must not block.
            tracer: Told each call that starts and ends; by default, with
                ``settings.tracing``, one that makes spans where OpenTelemetry's API is
                installed.

        Raises:
            ConfigurationError: A setting does not fit, or the lock cannot be read.
            DiscoveryFailedError: With ``settings.strict``, when anything is at fault.
            SandboxUnavailableError: A sandbox is chosen, and none can be made here.
        """
        settings = Settings.load() if settings is None else settings
        self._objects = tuple(objects)
        self._agents = tuple(agents)
        self._catalog_sinks: dict[object, CatalogSink] = {
            object(): sink for sink in catalog_sinks
        }
        self._imported = Imported()
        self._changing = threading.Lock()  # held while a catalog is made
        self._counts = {"refreshes": 0, "refresh_failures": 0, "rollbacks": 0}
        catalog, report = self._discover(settings)
        if tracer is None and settings.tracing:
            tracer = default_tracer()
        factory = UserContextToolFactory(
            catalog, settings=settings, sinks=sinks, tracer=tracer
        )
        self._now = _Generation(settings, catalog, report, factory)
        self._first = factory  # it made the threads that all the others share
        self._earlier: list[_Generation] = []
        self._newest = catalog.generation

    @property
    def settings(self) -> Settings:
        """What the operator decided, for this catalog."""
        return self._now.settings

    @property
    def catalog(self) -> ToolCatalog:
        """The tools that new systems are made from."""
        return self._now.catalog

    @property
    def report(self) -> DiscoveryReport:
        """What the discovery of this catalog found, and what became of it."""
        return self._now.report

    @property
    def factory(self) -> UserContextToolFactory:
        """Builds users' tool systems from this catalog."""
        return self._now.factory

    def user(
        self,
        user_context: UserContext,
        *,
        tool_classes: Iterable[object] | None = None,
        sinks: Iterable[Sink] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> UserToolSystem:
        """Build one user's tool system; whoever called owns it and closes it.

        Args:
            user_context: Whose system it is.
            tool_classes: Tools for this user beside the catalog's.
            sinks: Told this system's events.
            secrets: This user's secrets by name, for the tools they call.

        Raises:
            InvalidUserContextError: `user_context` is not a `UserContext`, or `secrets`
                is no mapping of texts.
            FactoryClosedError: This toolkit is closed.
        """
        return self.factory.create_user_tool_system(
            user_context, tool_classes, sinks=sinks, secrets=secrets
        )

    def on_change(self, sink: CatalogSink) -> Callable[[], None]:
        """Tell a sink, too, when the catalog is changed from now on.

        Args:
            sink: Called in whatever thread changes it; must not block.

        Returns:
            What ends that; calling it again does nothing.
        """
        key = object()
        self._catalog_sinks[key] = sink

        def end() -> None:
            self._catalog_sinks.pop(key, None)

        return end

    # --- changing the catalog -------------------------------------------------------

    def refresh(self, settings: Settings | None = None) -> DiscoveryReport:
        """Discover anew, and make new systems from what is found from now on.

        All or nothing: when it raises, everything is as before. Open systems keep the
        catalog they have. Code of a distribution whose files have changed is imported
        anew when it is next needed; what old systems hold stays as it was. Folders that
        an editable install has added meanwhile come onto ``sys.path``, and stay. Blocks
        for as long as discovery takes; on an event loop use `arefresh`.

        Args:
            settings: What the operator decides from now on, for example another deny
                list; by default as before. Sizes of executors stay as they are.

        Returns:
            The new report.

        Raises:
            FactoryClosedError: This toolkit is closed.
            ConfigurationError: The lock cannot be read.
            DiscoveryFailedError: With ``settings.strict``, when anything is at fault.
            ToolkitError: Any other error of ours.
        """
        with self._changing:
            before = self._now
            if before.factory.is_closed:
                raise FactoryClosedError
            settings = before.settings if settings is None else settings
            add_new_folders()
            self._imported.drop_changed()
            try:
                catalog, report = self._discover(settings)
            except ToolkitError as error:
                self._counts["refresh_failures"] += 1
                self._tell(
                    CatalogEventType.CATALOG_REFRESH_FAILED,
                    before,
                    detail=describe_error(error),
                )
                raise
            self._newest += 1
            catalog = replace(catalog, generation=self._newest)
            self._earlier = [*self._earlier, before][-MAX_EARLIER:]
            factory = before.factory.over(catalog, settings)
            self._now = _Generation(settings, catalog, report, factory)
            self._counts["refreshes"] += 1
            self._tell(CatalogEventType.CATALOG_REFRESHED, before)
            return report

    async def arefresh(self, settings: Settings | None = None) -> DiscoveryReport:
        """Do what `refresh` does, in a thread, so that the event loop goes on.

        Args:
            settings: As for `refresh`.

        Raises:
            FactoryClosedError: This toolkit is closed.
            ConfigurationError: The lock cannot be read.
            DiscoveryFailedError: With ``settings.strict``, when anything is at fault.
        """
        return await asyncio.to_thread(self.refresh, settings)

    def rollback(self) -> ToolCatalog:
        """Make new systems from the catalog before this one, under its settings.

        Nothing is discovered, and nothing on disk changes: a tool of that catalog that
        was never called is imported from what is installed now, and checked against
        what it was listed as.

        Returns:
            That catalog.

        Raises:
            NoEarlierCatalogError: None is kept.
            FactoryClosedError: This toolkit is closed.
        """
        with self._changing:
            before = self._now
            if before.factory.is_closed:
                raise FactoryClosedError
            if not self._earlier:
                raise NoEarlierCatalogError(before.catalog.generation)
            self._now = self._earlier.pop()
            self._now.factory.executors.renew(self._now.catalog.left_out)
            self._counts["rollbacks"] += 1
            self._tell(CatalogEventType.CATALOG_ROLLED_BACK, before)
            return self._now.catalog

    def _discover(self, settings: Settings) -> tuple[ToolCatalog, DiscoveryReport]:
        return discover_again(
            settings, self._imported, objects=self._objects, agents=self._agents
        )

    def _tell(
        self, kind: CatalogEventType, before: _Generation, *, detail: str = ""
    ) -> None:
        old, new = _by_name(before.catalog), _by_name(self.catalog)
        event = CatalogEvent(
            type=kind,
            generation=self.catalog.generation,
            previous=before.catalog.generation,
            status=self.report.status,
            added=tuple(sorted(new.keys() - old.keys())),
            removed=tuple(sorted(old.keys() - new.keys())),
            changed=tuple(
                sorted(one for one in new.keys() & old.keys() if new[one] != old[one])
            ),
            detail=detail,
        )
        deliver(event, tuple(self._catalog_sinks.values()))

    # --- looking at it --------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Look at the real state: what discovery found and what is running.

        Returns:
            ``status`` (``healthy``, ``degraded``, or ``unhealthy``: closed, no tools),
            ``report`` (one line), ``issues`` (a sentence for each thing that is not as
            it should be while calls run), ``drifts`` (those of them that tell of a tool
            that is not what it was listed as), and the counts of ``catalog``,
            ``systems``, ``threads`` and ``inline``, and of ``process`` and ``sandbox``
            once they are in use.
        """
        now = self._now
        executors = now.factory.executors.statistics()
        drifts = [str(one) for one in now.catalog.drifts()]
        issues = [*drifts, *_troubles(now, executors)]
        status: str = now.report.status
        if status == "healthy" and issues:
            status = "degraded"
        if status == "empty" or now.factory.is_closed:
            status = "unhealthy"
        return {
            "status": status,
            "report": now.report.summary(),
            "issues": issues,
            "drifts": drifts,
            "catalog": now.catalog.statistics(),
            "systems": now.factory.statistics(),
            **executors,
        }

    def metrics(self) -> dict[str, int]:
        """Return numbers by name, for whatever collects them.

        Names that end in ``_total`` only grow; the others go both ways.
        """
        now = self._now
        return {
            "toolkit_catalog_generation": now.catalog.generation,
            "toolkit_catalog_tools": len(now.catalog),
            "toolkit_catalog_faults": len(now.report.faults()),
            "toolkit_catalog_drifts": len(now.catalog.drifts()),
            **{
                f"toolkit_catalog_{name}_total": count
                for name, count in self._counts.items()
            },
        }

    def close(self) -> None:
        """Let the worker threads end. Users' systems are closed by their owners."""
        with self._changing:
            for factory in (one.factory for one in (*self._earlier, self._now)):
                factory.close()
            self._first.close()

    def __enter__(self) -> Self:
        """Return the toolkit itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


def _troubles(
    now: _Generation, executors: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """Say what runs on after it was given up, or keeps others from running."""
    troubles = []
    late = executors["threads"]["late"]
    if late:
        most = now.settings.max_late_threads
        who = (
            "thread runs on after it was"
            if late == 1
            else "threads run on after they were"
        )
        troubles.append(f"{late} {who} given up; up to {most} are replaced")
    blocks = now.factory.executors.inline.blocks()
    troubles += [
        f"tool {name!r} has blocked the event loop {count} time{'s' * (count > 1)}"
        for name, count in sorted(blocks.items())
    ]
    return troubles


def _by_name(catalog: ToolCatalog) -> dict[str, ToolDefinition]:
    return {one.qualified_name: one for one in catalog.definitions()}
