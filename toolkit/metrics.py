"""Metrics for Prometheus: what calls did, and what a toolkit looks like now.

Names and units go by "Metric and label naming" of Prometheus's best practices
(prometheus.io/docs/practices/naming): one application prefix, base units as suffixes
(``_seconds``), ``_total`` on what only grows and on nothing else, no user in any label.
Two names are fixed by what this project promised and have a prefix of their own:
``toolregistry_basemodel_rejections`` and ``toolregistry_registry_count_per_user``.

Needs the extra ``server``; importing this imports no library of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import isclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from toolkit import errors
from toolkit.events import EventType, ToolEvent

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

    from toolkit.app import Toolkit

OTHER: Final = "other"
"""The label of what has no label of its own: users' own tools, codes of plugins."""

BUCKETS: Final = (
    *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of a call's seconds; the default deadline is among them."""

CODES: Final = frozenset(
    cls.code
    for cls in vars(errors).values()
    if isclass(cls) and issubclass(cls, errors.ToolkitError)
)
"""The outcomes with a label of their own, beside ``ok``."""

EXECUTORS: Final = ("inline", "threads", "process", "sandbox")
"""The sections of `Toolkit.health` that hold an executor's counts."""

_SYSTEMS: Final[Mapping[str, tuple[str, str]]] = {
    "open_systems": ("toolkit_open_systems", "Tool systems that are open now."),
    "users": ("toolkit_users", "Users who have an open tool system now."),
    "views": ("toolkit_views", "Views of the catalog kept for sets of scopes."),
    "registry_count_per_user": (
        "toolregistry_registry_count_per_user",
        "Open registries of the user who has the most of them now.",
    ),
}

_EXECUTOR: Final[Mapping[str, tuple[str, str]]] = {
    "threads": ("toolkit_executor_threads", "Worker threads that exist now."),
    "workers": ("toolkit_executor_workers", "Worker processes that exist now."),
    "idle": ("toolkit_executor_idle", "Workers that wait for a call now."),
    "busy": ("toolkit_executor_busy", "Workers that run a call now."),
    "queued": ("toolkit_executor_queued", "Calls that wait for a worker now."),
    "running": ("toolkit_executor_running", "Calls that run now."),
    "late": ("toolkit_executor_late", "Calls that run on after they were given up."),
    "blocked": (
        "toolkit_executor_blocked_loops_total",
        "How often a tool blocked an event loop for too long.",
    ),
    "started": (
        "toolkit_executor_started_workers_total",
        "Worker processes that were started.",
    ),
    "killed": (
        "toolkit_executor_killed_workers_total",
        "Worker processes killed at a deadline, given up, or hanging.",
    ),
    "crashed": (
        "toolkit_executor_crashed_workers_total",
        "Worker processes that ended by themselves in the middle of a call.",
    ),
}

_CATALOG_HELP: Final[Mapping[str, str]] = {
    "toolkit_catalog_generation": "The catalog in use, counted from 1.",
    "toolkit_catalog_tools": "Tools in the catalog in use.",
    "toolkit_catalog_faults": "Faults that the discovery of this catalog found.",
    "toolkit_catalog_drifts": "Tools whose code is not what they were listed as.",
    "toolkit_catalog_refreshes_total": "Catalogs that were discovered anew.",
    "toolkit_catalog_refresh_failures_total": "Refreshes that failed.",
    "toolkit_catalog_rollbacks_total": "Returns to an earlier catalog.",
}


class Counted(Protocol):
    """A sink that counts what it drops, such as those of `toolkit.sinks`."""

    def statistics(self) -> Mapping[str, int]:
        """Return counts, ``dropped`` and ``queued`` among them."""
        ...


class Numbers(NamedTuple):
    """Numbers of one name, for Prometheus.

    Attributes:
        name: A counter's ends with ``_total``; others are gauges.
        text: What they are.
        values: By the label's value; without a label, by an empty text.
        label: The label's name, if there is one.
    """

    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""


class PrometheusMetrics:
    """A sink that counts calls, and a collector that reads a toolkit when scraped.

    One for a process; safe between threads. Holds no user's object and no user id.

    ::

        metrics = PrometheusMetrics()
        kit = Toolkit(sinks=[metrics])
        metrics.watch(kit)

    Attributes:
        registry: What is exposed.
        content_type: The media type of `text`.
    """

    def __init__(
        self,
        kit: "Toolkit | None" = None,
        registry: "CollectorRegistry | None" = None,
        *,
        max_tools: int = 1000,
    ) -> None:
        """Register the metrics.

        Args:
            kit: The toolkit to read; it can also be given later, to `watch`.
            registry: Where to register; by default in a registry of its own.
            max_tools: Tools with a label of their own, over all catalogs of the
                process; what is more shares the label ``other``.

        Raises:
            MissingExtraError: prometheus-client is not installed.
            ValueError: The registry has metrics of these names already.
        """
        client = _client()
        self.registry = client.CollectorRegistry() if registry is None else registry
        self.content_type: str = client.CONTENT_TYPE_LATEST
        self._write = client.generate_latest
        self._calls = client.Counter(
            "toolkit_tool_calls_total",
            "Calls that started and have ended, by tool and outcome.",
            ("tool", "outcome"),
            registry=self.registry,
        )
        self._seconds = client.Histogram(
            "toolkit_tool_call_seconds",
            "How long calls took that started and have ended.",
            ("tool",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._running: set[str] = set()
        client.Gauge(
            "toolkit_tool_calls_running",
            "Calls that have started and are not answered yet.",
            registry=self.registry,
        ).set_function(lambda: len(self._running))
        self._max_tools = max_tools
        self._labels: set[str] = set()
        self._kit = kit
        self._sinks: Mapping[str, Counted] = {}
        self._more: list[Callable[[], Iterable[Numbers]]] = []
        self.registry.register(cast("Collector", _Reader(self)))

    def watch(self, kit: "Toolkit", sinks: Mapping[str, Counted] | None = None) -> None:
        """Read this toolkit from now on, and no other.

        Args:
            kit: The toolkit; its tools get labels of their own.
            sinks: Sinks whose losses are shown, by what to call them.
        """
        self._kit = kit
        self._sinks = dict(sinks or {})

    def add(self, numbers: Callable[[], Iterable[Numbers]]) -> None:
        """Show more numbers from now on; they are asked for at each scrape."""
        self._more.append(numbers)

    def __call__(self, event: ToolEvent) -> None:
        """Count the event. Does not block."""
        if event.type is EventType.TOOL_EXECUTING:
            self._running.add(event.call_id)
        elif event.type is EventType.TOOL_COMPLETED:
            self._running.discard(event.call_id)
            tool = self._label(event.tool)
            code = event.error_code if event.error_code in CODES else OTHER
            outcome = "ok" if event.ok else code
            series = self._series.get((tool, outcome))
            if series is None:  # as many as there are labels
                series = self._calls.labels(tool, outcome), self._seconds.labels(tool)
                self._series[tool, outcome] = series
            series[0].inc()
            series[1].observe(event.seconds or 0.0)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format; see `content_type`."""
        text: bytes = self._write(self.registry)
        return text

    def _label(self, name: str) -> str:
        """Return the listed name of a catalog's tool, by whichever of its names."""
        found = None if self._kit is None else self._kit.catalog.view.find(name)
        label = name if found is None else str(found.name)
        if label in self._labels:  # also when a refresh has removed it meanwhile
            return label
        if found is None or len(self._labels) >= self._max_tools:
            return OTHER
        self._labels.add(label)
        return label


class _Reader:
    """Reads a toolkit when Prometheus asks."""

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable["Metric"]:
        """Promise no names: they depend on the toolkit, which may come later."""
        return ()

    def collect(self) -> Iterator["Metric"]:
        """Yield what the toolkit says of itself now."""
        kit, sinks = self._metrics._kit, self._metrics._sinks  # noqa: SLF001 - its own
        if kit is not None:
            health = kit.health()
            yield from _systems(health["systems"])
            yield from _executors(health)
            yield from _catalog(kit.metrics())
            yield from _discovery(kit, health["systems"])
        yield from _losses(sinks)
        for numbers in self._metrics._more:  # noqa: SLF001 - its own
            yield from (_family(*one) for one in numbers())


def _systems(counts: Mapping[str, int]) -> Iterator["Metric"]:
    for key in sorted(_SYSTEMS.keys() & counts.keys()):
        name, text = _SYSTEMS[key]
        yield _family(name, text, {"": counts[key]})


def _executors(health: Mapping[str, Any]) -> Iterator["Metric"]:
    counts = {name: health[name] for name in EXECUTORS if name in health}
    for key in sorted({key for one in counts.values() for key in one}):
        unknown = f"toolkit_executor_{key}", f"The count {key} of an executor."
        name, text = _EXECUTOR.get(key, unknown)
        values = {label: one[key] for label, one in counts.items() if key in one}
        yield _family(name, text, values, "executor")


def _catalog(numbers: Mapping[str, int]) -> Iterator["Metric"]:
    for name, value in numbers.items():
        text = _CATALOG_HELP.get(name, f"The number {name} of Toolkit.metrics().")
        yield _family(name, text, {"": value})


def _discovery(kit: "Toolkit", systems: Mapping[str, int]) -> Iterator["Metric"]:
    report = kit.report
    yield _family(
        "toolkit_discovery_findings",
        "What the discovery of this catalog found, by what became of it.",
        {
            "accepted": len(report.accepted),
            "rejected": len(report.rejected),
            "failed": len(report.failed),
            "skipped": len(report.skipped),
        },
        "outcome",
    )
    reasons = report.reasons()
    yield _family(
        "toolkit_discovery_rejections",
        "What the discovery of this catalog rejected, by reason.",
        reasons,
        "reason",
    )
    refused = reasons.get("pydantic_model", 0) + systems.get("basemodel_rejections", 0)
    yield _family(
        "toolregistry_basemodel_rejections",
        "Pydantic models offered as tools and refused: by the discovery of this "
        "catalog, and by users' systems since the process started.",
        {"": refused},
    )


def _losses(sinks: Mapping[str, Counted]) -> Iterator["Metric"]:
    counts = {name: sink.statistics() for name, sink in sinks.items()}
    for key, name, text in (
        ("dropped", "toolkit_sink_dropped_events_total", "Events that a sink dropped."),
        ("failed", "toolkit_sink_failed_events_total", "Events that a sink failed on."),
        ("queued", "toolkit_sink_queued_events", "Events that wait in a sink now."),
    ):
        values = {label: one[key] for label, one in counts.items() if key in one}
        if values:
            yield _family(name, text, values, "sink")


def _family(
    name: str, text: str, values: Mapping[str, float], label: str = ""
) -> "Metric":
    """Return a counter when its name says so, else a gauge; values go by the label."""
    from prometheus_client import core  # noqa: PLC0415 - the extra may be missing

    is_counter = name.endswith("_total")
    kind = core.CounterMetricFamily if is_counter else core.GaugeMetricFamily
    labels = [label] if label else []
    family = kind(name, text, labels=labels)
    for labelled, value in values.items():
        family.add_metric([labelled] if label else [], value)
    return family


def registry_codes() -> frozenset[str]:
    """Return the codes of what registries fail at; a name nobody has is no failure."""
    return frozenset(
        cls.code
        for cls in vars(errors).values()
        if isclass(cls) and issubclass(cls, errors.RegistryError)
    ) - {errors.ToolNotFoundError.code}


def _client() -> Any:  # noqa: ANN401 - the library's module
    try:
        import prometheus_client  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        part = f"{__name__}.PrometheusMetrics"
        raise errors.MissingExtraError(part, "server") from error
    return prometheus_client
