"""A search for one user's secrets in all that calls leave behind, wherever they run."""

import asyncio
import importlib
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.sample_tools import until
from toolkit import Settings, Toolkit, ToolkitError, UserToolSystem
from toolkit.dispatch import ToolResult
from toolkit.metrics import PrometheusMetrics
from toolkit.settings import ExecutorName
from toolkit.testing import RecordingSink, make_user
from toolkit.tracing import OpenTelemetryTracer

WAIT: Final = 30  # seconds; a bound, never reached when all is well

SECRETS: Final = {
    "plain": "Zqw-plain-Zqw",
    "around": "more-Zqw-plain-Zqw-more",
    "quoted": "Zqw \"two\"\n'lines' \\ of\t\x1b öde€😀 Zqw",
    "key": "-----BEGIN Zqw-----\nZqwAAAA\nZqwBBBB\n-----END Zqw-----\n",
    "short": "Ж7",
}
TRACES: Final = ("Zqw", "Ж", "\\u0416", "\\xd0\\x96", "öde", "\\xf6de", "\\u00f6de")
"""Every secret, however it is written or cut, has one of these; nothing else does."""

SOURCE: Final = '''
import asyncio, logging
from pydantic import BaseModel, computed_field
from toolkit import ToolContext, ToolError, tool

def use(how, context):
    secrets = context.secrets
    held = secrets[how.partition(":")[2] or "plain"]
    for one in secrets.values():
        context.progress(0.5, "with " + one)
    how = how.partition(":")[0]
    if how == "raise":
        error = OSError(f"cannot use {held}", [held])
        error.response = {"token": held}
        error.add_note("noted: " + held)
        raise error from KeyError(held)
    if how == "group":
        deep = ExceptionGroup(held, [ValueError(held)])
        for _ in range(12):
            deep = ExceptionGroup("deep", [deep])
        raise ExceptionGroup("many", [OSError()] * 20 + [deep])
    if how == "class":
        raise type(held.replace("\\0", ""), (Exception,), {})(held)
    if how == "tell":
        raise ToolError("refused: " + held) from OSError(held)
    if how == "missing":
        secrets[held]
    if how == "log":
        logging.getLogger("its.own").warning("used %s", held)
    if how == "unwritable":
        return Unwritable(held=held)
    if how == "circle":
        circle = {"is": held}
        circle["it"] = circle
        return circle
    return held

class Unwritable(BaseModel):
    held: str
    @computed_field
    def written(self) -> str:
        raise OSError("cannot write " + self.held)

@tool
def in_thread(how: str, context: ToolContext):
    """Use a secret."""
    return use(how, context)

@tool
async def at_once(how: str, context: ToolContext):
    """Use a secret."""
    return use(how, context)

@tool
async def later(how: str, context: ToolContext):
    """Use a secret."""
    await asyncio.sleep(0)
    return use(how, context)

@tool
def parts(how: str, context: ToolContext):
    """Use a secret, part by part."""
    yield {"held": context.secrets["quoted"]}
    yield use(how, context)

@tool
async def stream(how: str, context: ToolContext):
    """Use a secret, part by part."""
    yield {"held": context.secrets["quoted"]}
    yield use(how, context)

class Keeps:
    """Use a secret, and keep it."""
    name = "keeps"
    def execute(self, how: str, context: ToolContext):
        self.held = context.secrets["quoted"]
        return use(how, context)
    def close(self):
        raise OSError("cannot log out with " + self.held)

class KeepsLater:
    """Use a secret, and keep it."""
    name = "keeps_later"
    async def execute(self, how: str, context: ToolContext):
        self.held = context.secrets["key"]
        return use(how, context)
    async def aclose(self):
        raise ExceptionGroup("out", [OSError("cannot log out with " + self.held)])

@tool(destructive=True)
async def hang(word: str, context: ToolContext):
    """Wait, and end badly."""
    context.progress(None, context.secrets["key"])
    try:
        await asyncio.Event().wait()
    finally:
        raise OSError(context.secrets["key"])

TOOLS = (in_thread, at_once, later, parts, stream, Keeps, KeepsLater, hang)
'''
NAMES: Final = (
    "in_thread",
    "at_once",
    "later",
    "parts",
    "stream",
    "keeps",
    "keeps_later",
)
RETURNS: Final = ("value", "log")
FAILS: Final = (
    "raise",
    "raise:quoted",
    "raise:key",
    "raise:around",
    "raise:short",
    "group:quoted",
    "group:key",
    "class:short",
    "class",
    "tell:quoted",
    "missing:key",
    "unwritable:quoted",
    "circle",
)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Make a module that this process and workers can import."""
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "tools_that_hold.py").write_text(SOURCE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("tools_that_hold")


class Seen:
    """Everything that anybody but the tools could see of one user's calls."""

    def __init__(self, kit: Toolkit, exporter: InMemorySpanExporter) -> None:
        self.kit = kit
        self.exporter = exporter
        self.events = RecordingSink()
        self.texts: list[str] = []

    def add(self, result: ToolResult) -> ToolResult:
        """Look at a result in every way, but for the value that a tool returned."""
        error = result.error
        if error is None:
            return result
        assert result.value is None
        with pytest.raises(type(error)) as caught:
            result.unwrap()
        again: object = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert repr(again) == repr(error)
        self.texts += [
            *traceback.format_exception(caught.value),
            *(repr(one) for one in (result, error, vars(error), result.value_json())),
            *(repr(one) for one in (error.__cause__, error.__context__)),
            *(str(error), error.message, error.code, repr(pickle.dumps(error))),
        ]
        return result

    def look(self, system: UserToolSystem) -> None:
        """Look at all public objects of the system and its toolkit."""
        kit, dispatcher, registry = self.kit, system.dispatcher, system.registry
        shown = (
            *(system, dispatcher, registry, kit, kit.catalog, kit.factory),
            *(kit.health(), kit.settings, kit.report, system.user_context),
            *(dispatcher.statistics(), dispatcher.running()),
            *(registry.get_metrics(), registry.validate_health()),
            *(*system.definitions(), *system.get_all_tools(), *registry.tools()),
        )
        self.texts += [repr(one) + str(one) for one in shown]
        self.texts += [one.input_schema_json for one in system.definitions()]

    def all(self, records: list[logging.LogRecord]) -> list[str]:
        """Return it all, with events, spans and our own log records."""
        events = self.events.events
        spans = self.exporter.get_finished_spans()
        assert events
        assert spans
        ours = [one for one in records if one.name != "its.own"]
        return [
            *self.texts,
            *(one.to_json() for one in events),
            *(repr(one) + repr(one.data) + repr(one.arguments) for one in events),
            *(span.to_json() + repr(vars(span)) for span in spans),
            *(logging.Formatter().format(one) + repr(vars(one)) for one in ours),
        ]


def found_in(texts: list[str]) -> list[str]:
    """Return the surroundings of every trace of a secret."""
    return [
        f"…{text[max(0, at - 60) : at + 60]}…"
        for text in texts
        for trace in TRACES
        if (at := text.find(trace)) >= 0
    ]


@pytest.mark.parametrize("shown", [True, False], ids=["shown", "hidden"])
@pytest.mark.parametrize("executor", [None, "threads", "process"])
async def test_secrets_are_found_nowhere_but_in_what_tools_return(
    executor: ExecutorName | None,
    shown: bool,  # noqa: FBT001 - a case
    module: ModuleType,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No schema, event, log record, error, repr, span or sample holds one, nor a part
    of one, whatever a tool does with it (B29, B34, B62).
    """
    caplog.set_level(logging.DEBUG)
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    metrics = PrometheusMetrics()
    settings = Settings(
        allow=frozenset(),
        show_tool_errors=shown,
        executors={name: executor for name in (*NAMES, "hang") if executor},
    )
    tracer = OpenTelemetryTracer(provider, arguments=True, user_ids=True)
    with Toolkit(settings, objects=module.TOOLS, sinks=[metrics], tracer=tracer) as kit:
        metrics.watch(kit)
        seen = Seen(kit, exporter)
        user = make_user("ann")
        async with kit.user(user, secrets=SECRETS, sinks=[seen.events]) as system:
            for name in NAMES * 2:  # as first, and again
                await use(system, name, seen)
            await send(system, seen)
            await hang(system, seen)
            seen.look(system)
        seen.texts.append(repr(system))
        seen.texts += [metrics.text().decode(), repr(kit.health())]
    assert found_in(seen.all(caplog.records)) == []


async def use(system: UserToolSystem, name: str, seen: Seen) -> None:
    """Let a tool do all that it can do with a secret."""
    for how in RETURNS:
        result = seen.add(await ended(system, name, {"how": how}))
        assert "Zqw" in repr(result.value)  # its own affair
    for how in FAILS:
        result = seen.add(await ended(system, name, {"how": how}))
        assert isinstance(result.error, ToolkitError), (name, how)


async def send(system: UserToolSystem, seen: Seen) -> None:
    """Send secrets where arguments, their names, and names of tools are expected."""
    for held in SECRETS.values():
        for arguments in (
            {"how": "tell", held: 1},
            {"how": {held: held}},
            {"how": held, "more": [held]},
            held,
            '{"how": "' + held,
        ):
            for name in NAMES:
                result = seen.add(await ended(system, name, arguments))
                assert not result.ok
        result = await ended(system, held, {})  # its name is what the caller said
        seen.texts += [str(result.error), repr(result.error)]


async def hang(system: UserToolSystem, seen: Seen) -> None:
    """Give calls up: at their deadline, and by their id."""
    arguments = {"word": SECRETS["quoted"]}
    late = await ended(system, "hang", arguments, timeout=0.05)
    assert seen.add(late).error is not None
    call = asyncio.create_task(ended(system, "hang", arguments))
    await until(lambda: bool(system.dispatcher.running()))
    seen.look(system)
    (running,) = system.dispatcher.running()
    assert system.dispatcher.cancel(running.call_id, f"because of {SECRETS['key']}")
    assert seen.add(await call).error is not None


async def ended(
    system: UserToolSystem, name: str, arguments: Any, **options: Any
) -> ToolResult:
    return await asyncio.wait_for(system.execute(name, arguments, **options), WAIT)


async def test_secrets_of_a_user_are_in_no_event_of_a_question(
    module: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """What a person is asked, and what they answer, is blanked out like all (B62)."""
    caplog.set_level(logging.DEBUG)
    held = SECRETS["quoted"]
    settings = Settings(allow=frozenset(), approve_destructive=True)
    with Toolkit(settings, objects=module.TOOLS) as kit:
        sink = RecordingSink()
        async with kit.user(make_user(), secrets=SECRETS, sinks=[sink]) as system:
            call = asyncio.create_task(ended(system, "hang", {"word": held}))
            await until(lambda: bool(sink.events))
            assert system.dispatcher.deny(sink.events[0].call_id, f"it says {held}")
            result = await call
    texts = [one.to_json() + repr(one) for one in sink.events]
    texts += [repr(result), str(result.error), caplog.text]
    assert len(sink.events) == 2
    assert found_in(texts) == []
