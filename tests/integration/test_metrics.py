"""Metrics of a real toolkit, as Prometheus reads them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from tests.distributions import Site, open_site
from toolkit import Settings, Toolkit, UserContext, tool
from toolkit.errors import ToolError
from toolkit.events import EventType, ToolEvent
from toolkit.metrics import PrometheusMetrics, _discovery
from toolkit.sinks import BackgroundSink, QueueSink

WAIT = 30.0
ANN, BOB = UserContext(user_id="ann"), UserContext(user_id="bob")
NOTHING_INSTALLED = Settings(allow=frozenset())


@tool
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


@tool
async def fail(code: str) -> None:
    """Fail with a code of its own, or with ours."""
    error = ToolError("as asked")
    if code:
        error.code = code  # type: ignore[misc]  # as a plugin's subclass does
    raise error


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics()


@pytest.fixture
def kit(metrics: PrometheusMetrics) -> Iterator[Toolkit]:
    with Toolkit(NOTHING_INSTALLED, objects=[add, fail], sinks=[metrics]) as kit:
        metrics.watch(kit)
        yield kit


def families(metrics: PrometheusMetrics) -> dict[str, Metric]:
    """Parse the exposition as a scraper does; a name is told once."""
    parsed = list(text_string_to_metric_families(metrics.text().decode()))
    by_name = {family.name: family for family in parsed}
    assert len(by_name) == len(parsed)
    return by_name


def samples(metrics: PrometheusMetrics, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of one name, by the values of their labels, tool first."""
    return {
        tuple(text for _, text in sorted(sample.labels.items())[::-1]): sample.value
        for family in families(metrics).values()
        for sample in family.samples
        if sample.name == name
    }


def value(metrics: PrometheusMetrics, name: str) -> float | None:
    """Return the one sample of a name that has no label; None without one."""
    return samples(metrics, name).get(())


def event(kind: EventType, call_id: str = "c", **facts: Any) -> ToolEvent:
    """Make an event of one call."""
    ids = dict.fromkeys(("user_id", "session_id", "thread_id", "run_id"), "x")
    return ToolEvent(type=kind, call_id=call_id, **{"tool": "add", **ids, **facts})


async def test_calls_of_two_users_are_counted_by_tool_and_outcome(
    kit: Toolkit, metrics: PrometheusMetrics
) -> None:
    """Both users' calls add up, failures by their code, and no user is named."""
    async with kit.user(ANN) as hers, kit.user(BOB) as his:
        await asyncio.gather(
            hers.execute("add", {"left": 1, "right": 2}),
            his.execute("add", {"left": 3, "right": 4}),
            his.execute("fail", {"code": ""}),
        )
        await hers.execute("no_such_tool")
    assert samples(metrics, "toolkit_tool_calls_total") == {
        ("add", "ok"): 2.0,
        ("fail", "tool_error"): 1.0,
    }
    assert samples(metrics, "toolkit_tool_call_seconds_count") == {
        ("add",): 2.0,
        ("fail",): 1.0,
    }
    assert value(metrics, "toolkit_tool_calls_running") == 0.0
    assert b"ann" not in metrics.text()
    assert b"bob" not in metrics.text()


async def test_a_call_that_runs_is_counted_while_it_runs(
    metrics: PrometheusMetrics,
) -> None:
    """The gauge goes up when the call starts, and down when it is answered."""
    entered, leave = asyncio.Event(), asyncio.Event()

    @tool
    async def stay() -> None:
        """Stay until it may leave."""
        entered.set()
        await leave.wait()

    with Toolkit(NOTHING_INSTALLED, objects=[stay], sinks=[metrics]) as kit:
        metrics.watch(kit)
        async with kit.user(ANN) as hers, asyncio.timeout(WAIT):
            call = asyncio.create_task(hers.execute("stay"))
            await entered.wait()
            assert value(metrics, "toolkit_tool_calls_running") == 1.0
            leave.set()
            assert (await call).ok
    assert value(metrics, "toolkit_tool_calls_running") == 0.0


async def test_a_qualified_name_and_the_listed_one_are_one_label(
    kit: Toolkit, metrics: PrometheusMetrics
) -> None:
    """A tool has one label, by whichever of its names it is called."""
    full = kit.catalog.definitions()[0].qualified_name
    async with kit.user(ANN) as hers:
        for name in ("add", full):
            assert (await hers.execute(name, {"left": 1, "right": 2})).ok
    assert samples(metrics, "toolkit_tool_calls_total") == {("add", "ok"): 2.0}


async def test_what_callers_and_plugins_choose_makes_no_labels(
    kit: Toolkit, metrics: PrometheusMetrics
) -> None:
    """Users' own tools and codes of plugins share one label, so labels are bounded."""

    @tool
    def own() -> str:
        """Do something for one user only."""
        return "done"

    async with kit.user(ANN, tool_classes=[own]) as hers:
        assert (await hers.execute("own")).ok
        assert not (await hers.execute("fail", {"code": "made_up"})).ok
    assert samples(metrics, "toolkit_tool_calls_total") == {
        ("other", "ok"): 1.0,
        ("fail", "other"): 1.0,
    }


def test_tools_have_labels_up_to_a_bound(kit: Toolkit) -> None:
    """Of very many tools only so many get a label; the others share one."""
    metrics = PrometheusMetrics(kit, max_tools=1)
    for name in ("add", "fail", "add"):
        metrics(event(EventType.TOOL_COMPLETED, tool=name, ok=True, seconds=0.1))
    counts = samples(metrics, "toolkit_tool_calls_total")
    assert counts == {("add", "ok"): 2.0, ("other", "ok"): 1.0}


def test_a_tool_that_is_gone_from_the_catalog_keeps_its_label(
    kit: Toolkit, metrics: PrometheusMetrics
) -> None:
    """A system that is open still calls it, and its counts stay where they were."""
    done = event(EventType.TOOL_COMPLETED, ok=True, seconds=0.1)
    metrics(done)
    with Toolkit(NOTHING_INSTALLED, objects=[fail]) as other:
        metrics.watch(other)
        assert other.catalog.get("add") is None
        metrics(done)
    assert samples(metrics, "toolkit_tool_calls_total") == {("add", "ok"): 2.0}


def test_the_two_promised_metrics_have_their_names_and_are_right(
    metrics: PrometheusMetrics,
) -> None:
    """Schemas refused, and the most open registries of one user, under those names."""

    class Order(BaseModel):
        amount: int

    with Toolkit(NOTHING_INSTALLED, objects=[add, Order], sinks=[metrics]) as kit:
        metrics.watch(kit)
        assert value(metrics, "toolregistry_basemodel_rejections") == 1.0
        assert value(metrics, "toolregistry_registry_count_per_user") == 0.0
        with kit.user(ANN), kit.user(ANN), kit.user(BOB):
            assert value(metrics, "toolregistry_registry_count_per_user") == 2.0
            assert value(metrics, "toolkit_open_systems") == 3.0
            assert value(metrics, "toolkit_users") == 2.0
        assert value(metrics, "toolregistry_registry_count_per_user") == 0.0
        assert families(metrics)["toolregistry_basemodel_rejections"].type == "gauge"


def test_an_installed_packages_schema_is_counted_too(
    tmp_path: Any, metrics: PrometheusMetrics
) -> None:
    """What discovery refused of a package is in the same count, and by its reason."""
    source = (
        "from pydantic import BaseModel\nclass Order(BaseModel):\n    amount: int = 0\n"
    )
    with open_site(tmp_path) as site:
        publish(site, source)
        settings = Settings(allow=frozenset({"shop"}), cache=False)
        with Toolkit(settings) as kit:
            metrics.watch(kit)
            assert value(metrics, "toolregistry_basemodel_rejections") == 1.0
            reasons = samples(metrics, "toolkit_discovery_rejections")
            assert reasons["pydantic_model",] == 1.0
            found = samples(metrics, "toolkit_discovery_findings")
            assert found["rejected",] == len(kit.report.rejected)


def test_what_users_systems_refused_is_added(kit: Toolkit) -> None:
    """Schemas that users' systems refused count beside those that discovery did."""
    told = {one.name: one for one in _discovery(kit, {"basemodel_rejections": 2})}
    (sample,) = told["toolregistry_basemodel_rejections"].samples
    assert sample.value == 2.0


def publish(site: Site, source: str) -> None:
    """Install a package whose entry point names a schema."""
    points = {"toolkit.tools": {"order": "shop_mod:Order"}}
    site.install("shop", points, {"shop_mod.py": source})


async def test_numbers_of_executors_and_the_catalog_are_read_when_scraped(
    kit: Toolkit, metrics: PrometheusMetrics
) -> None:
    """A scrape shows the state of that moment, the toolkit's own numbers included."""
    assert samples(metrics, "toolkit_executor_threads")["threads",] == 0.0
    async with kit.user(ANN) as hers:
        assert (await hers.execute("add", {"left": 1, "right": 2})).ok
    shown = samples(metrics, "toolkit_executor_threads")
    assert shown["threads",] == kit.health()["threads"]["threads"] == 1
    assert {("inline",), ("threads",)} <= samples(
        metrics, "toolkit_executor_late"
    ).keys()
    kit.refresh()
    for name, number in kit.metrics().items():
        assert value(metrics, name) == number
    assert value(metrics, "toolkit_catalog_refreshes_total") == 1.0


def test_what_sinks_lose_is_shown_by_their_names(kit: Toolkit) -> None:
    """Drops of the sinks that were named are counters, what waits is a gauge."""
    metrics, queue = PrometheusMetrics(kit), QueueSink(max_events=1)
    with BackgroundSink(queue) as audit:
        metrics.watch(kit, {"audit": audit, "queue": queue})
        for _ in range(3):
            audit(event(EventType.TOOL_EXECUTING))
        assert audit.flush(WAIT)
        dropped = samples(metrics, "toolkit_sink_dropped_events_total")
        assert dropped == {("audit",): 0.0, ("queue",): 2.0}
        failed = samples(metrics, "toolkit_sink_failed_events_total")
        assert failed == {("audit",): 0.0}
        waiting = samples(metrics, "toolkit_sink_queued_events")
        assert waiting == {("audit",): 0.0, ("queue",): 1.0}


def test_names_types_and_help_follow_the_rules_of_prometheus(
    kit: Toolkit, metrics: PrometheusMetrics
) -> None:
    """Each has our prefix and a help text, and only what only grows is a counter."""
    metrics(event(EventType.TOOL_COMPLETED, ok=True, seconds=0.2))
    metrics.watch(kit, {"queue": QueueSink()})
    for name, family in families(metrics).items():
        if name.endswith("_created"):
            continue  # the library's own, beside each counter
        assert name.startswith(("toolkit_", "toolregistry_"))
        assert family.documentation.endswith(".")
        assert {len(sample.labels) <= 2 for sample in family.samples} <= {True}
        ours = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert ours == {f"{name}_total"}
        elif family.type == "gauge":
            assert ours <= {name}
            assert not name.endswith("_total")
        else:
            assert (family.type, name) == ("histogram", "toolkit_tool_call_seconds")


def test_without_a_toolkit_calls_are_counted_all_the_same() -> None:
    """Before it is told which toolkit to read, nothing of one is shown."""
    metrics = PrometheusMetrics()
    metrics(event(EventType.TOOL_EXECUTING))
    metrics(event(EventType.TOOL_PROGRESS))
    metrics(event(EventType.TOOL_COMPLETED, ok=False, error_code="tool_timeout"))
    counts: Mapping[Any, float] = {("other", "tool_timeout"): 1.0}
    assert samples(metrics, "toolkit_tool_calls_total") == counts
    assert "toolkit_open_systems" not in families(metrics)


def test_a_registry_that_is_handed_in_is_used() -> None:
    """An application's own metrics stand beside ours, in one exposition."""
    registry = CollectorRegistry()
    Gauge("application_things", "Things.", registry=registry).set(3)
    metrics = PrometheusMetrics(registry=registry)
    assert metrics.registry is registry
    assert value(metrics, "application_things") == 3.0
    assert value(metrics, "toolkit_tool_calls_running") == 0.0
    assert metrics.content_type.startswith("text/plain; version=")


WITHOUT_LIBRARY = """
import sys
from toolkit import metrics, MissingExtraError
assert "prometheus_client" not in sys.modules
sys.modules["prometheus_client"] = None
try:
    metrics.PrometheusMetrics()
except MissingExtraError as error:
    print(error)
"""


def test_without_the_library_the_error_says_what_to_install() -> None:
    """Importing the module needs no library; making the metrics does."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", WITHOUT_LIBRARY],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "PrometheusMetrics needs more than the core" in done.stdout
    assert "pip install 'toolkit-core[server]'" in done.stdout
