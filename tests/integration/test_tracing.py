"""Spans of calls, as OpenTelemetry's real SDK exports them."""

import asyncio
import contextvars
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from toolkit import UserContext, UserContextToolFactory, UserToolSystem, tool
from toolkit.dispatch import ToolResult
from toolkit.errors import ToolError, ToolkitError
from toolkit.naming import tool_name
from toolkit.tools import ToolDefinition
from toolkit.tracing import (
    CallTracer,
    End,
    OpenTelemetryTracer,
    StartedCall,
)

WAIT = 30.0
ANN = UserContext(user_id="ann")
SEARCH = ToolDefinition(
    name=tool_name("search"),
    qualified_name="shop.search",
    description="Search the shop.",
    input_schema_json="{}",
)


class Recorded:
    """A provider of its own and what came out of it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        (span,) = self.spans()
        return span


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def started(**facts: Any) -> StartedCall:
    """Make a call that starts."""
    return StartedCall(
        call_id="call-1", name="shop.search", definition=SEARCH, user=ANN, **facts
    )


def result(error: ToolkitError | None = None) -> ToolResult:
    """Make the outcome of that call."""
    return ToolResult(
        ok=error is None, error=error, call_id="call-1", tool="search", seconds=0.1
    )


def begin(tracer: CallTracer, **facts: Any) -> tuple[contextvars.Context, End]:
    """Begin a call as the dispatcher does, in the context the tool will run in."""
    context = contextvars.copy_context()
    end = context.run(tracer.begin, started(**facts))
    return context, end or ended_by_nobody


def ended_by_nobody(_: ToolResult | None) -> None:
    """End a call that is not traced."""


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


def test_a_call_is_a_span_by_the_genai_conventions(recorded: Recorded) -> None:
    """The name, the kind and the attributes are the conventions', and no more."""
    _, end = begin(OpenTelemetryTracer(recorded.provider))
    assert end is not ended_by_nobody
    assert recorded.spans() == []
    end(result())
    span = recorded.only()
    assert span.name == "execute_tool search"
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Search the shop.",
    }


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(result(ToolError("no card 4711")), "tool_error"), (None, "cancelled")],
    ids=["failed", "cancelled"],
)
def test_a_failure_is_told_by_its_code_and_not_its_text(
    recorded: Recorded, outcome: ToolResult | None, code: str
) -> None:
    """The span has status ERROR and the stable code; no text, which may quote data."""
    _, end = begin(OpenTelemetryTracer(recorded.provider))
    end(outcome)
    span = recorded.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert attributes(span)["error.type"] == code
    assert list(span.events) == []
    assert "4711" not in span.to_json()


def test_the_span_is_current_where_the_tool_runs_and_nowhere_else(
    recorded: Recorded,
) -> None:
    """A span that the tool opens is its child; the caller's span is its parent."""
    tracer = OpenTelemetryTracer(recorded.provider)
    outside = recorded.provider.get_tracer("application")
    with outside.start_as_current_span("request") as request:
        context, end = begin(tracer)
        assert trace.get_current_span() is request
        context.run(lambda: outside.start_span("query").end())
    assert not trace.get_current_span().is_recording()
    end(result())
    by_name = {span.name: span for span in recorded.spans()}
    call = by_name["execute_tool search"]
    assert parent_of(call) == by_name["request"].get_span_context()
    assert parent_of(by_name["query"]) == call.get_span_context()


def parent_of(span: ReadableSpan) -> trace.SpanContext | None:
    """Return the context of a span's parent."""
    return span.parent


def test_arguments_and_users_are_written_only_on_request(recorded: Recorded) -> None:
    """By default neither is there; when asked for, as events show them (B29)."""

    def shown() -> Mapping[str, Any]:
        return {"query": "tea", "token": "[redacted]", "limit": float("inf")}

    _, end = begin(OpenTelemetryTracer(recorded.provider), arguments=shown)
    end(result())
    tracer = OpenTelemetryTracer(recorded.provider, arguments=True, user_ids=True)
    _, end = begin(tracer, arguments=shown)
    end(result())
    plain, full = map(attributes, recorded.spans())
    assert not {"gen_ai.tool.call.arguments", "enduser.id"} & plain.keys()
    assert full["enduser.id"] == "ann"
    written = json.loads(full["gen_ai.tool.call.arguments"])
    assert written == {"query": "tea", "token": "[redacted]", "limit": None}


def test_arguments_that_are_known_later_are_written_at_the_end(
    recorded: Recorded,
) -> None:
    """A tool that runs elsewhere has its arguments checked after the span began."""
    known: list[Mapping[str, Any]] = []
    tracer = OpenTelemetryTracer(recorded.provider, arguments=True)
    _, end = begin(tracer, arguments=lambda: known[0] if known else None)
    known.append({"query": "tea"})
    end(result())
    assert attributes(recorded.only())["gen_ai.tool.call.arguments"] == (
        '{"query":"tea"}'
    )


def test_arguments_that_cannot_be_shown_leave_the_span_alone(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    """They are left out and logged once; the span is there and ends (B24)."""

    def fails() -> Mapping[str, Any]:
        raise ValueError("cyclic")

    tracer = OpenTelemetryTracer(recorded.provider, arguments=True)
    with caplog.at_level(logging.ERROR):
        _, end = begin(tracer, arguments=fails)
        end(result())
    assert "gen_ai.tool.call.arguments" not in attributes(recorded.only())
    assert len(caplog.records) == 1


def test_what_is_not_sampled_hides_its_children_too() -> None:
    """A call that the sampler leaves out has no child that starts a trace anew."""
    recorded = Recorded()
    recorded.provider.sampler = ParentBased(ALWAYS_OFF)
    context, end = begin(OpenTelemetryTracer(recorded.provider))
    inner = context.run(trace.get_current_span)
    assert inner.get_span_context().is_valid
    assert not inner.get_span_context().trace_flags.sampled
    end(result())
    assert recorded.spans() == []


class Broken(SpanProcessor):
    """A processor of the operator's that fails."""

    def __init__(self, fails: str) -> None:
        self.fails = fails

    def on_start(self, span: object, parent_context: object = None) -> None:
        if self.fails == "start":
            raise ValueError("start")

    def on_end(self, span: object) -> None:
        raise ValueError("end")


@pytest.mark.parametrize("fails", ["start", "end"])
def test_what_opentelemetry_raises_never_disturbs_a_call(
    fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A processor that raises is logged, at the begin and at the end (B24)."""
    provider = TracerProvider()
    provider.add_span_processor(Broken(fails))
    with caplog.at_level(logging.ERROR):
        _, end = begin(OpenTelemetryTracer(provider))
        end(result())
    assert [one.name for one in caplog.records] == ["toolkit.tracing"]
    assert f"ValueError: {fails}" in caplog.text


# --- real calls ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_spans_of_a_tool_are_children_of_its_call(
    recorded: Recorded, kind: str
) -> None:
    """On the loop and in a worker thread, under the span of whoever called (S16)."""
    application = recorded.provider.get_tracer("application")

    def query() -> int:
        with application.start_as_current_span("query") as span:
            return span.get_span_context().trace_id

    @tool(name="search")
    async def on_the_loop() -> int:
        """Search."""
        await asyncio.sleep(0)
        return query()

    @tool(name="search")
    def in_a_thread() -> int:
        """Search."""
        return query()

    tracer = OpenTelemetryTracer(recorded.provider)
    async with system(tracer, on_the_loop if kind == "async" else in_a_thread) as ann:
        with application.start_as_current_span("request") as request:
            answer = await ann.execute("search")
            assert trace.get_current_span() is request
    assert answer.value == request.get_span_context().trace_id
    by_name = {span.name: span for span in recorded.spans()}
    call = by_name["execute_tool search"]
    assert attributes(call)["gen_ai.tool.call.id"] == answer.call_id
    assert parent_of(call) == by_name["request"].get_span_context()
    assert parent_of(by_name["query"]) == call.get_span_context()


@asynccontextmanager
async def system(tracer: CallTracer, *tools: object) -> AsyncIterator[UserToolSystem]:
    """Open a user's system whose calls are traced."""
    factory = UserContextToolFactory(tracer=tracer)
    try:
        async with factory.create_user_tool_system(ANN, tools) as ann:
            yield ann
    finally:
        factory.close()


async def test_calls_at_once_have_spans_of_their_own(recorded: Recorded) -> None:
    """Interleaved calls do not become children of one another (S13)."""
    meet = asyncio.Barrier(2)
    application = recorded.provider.get_tracer("application")

    @tool
    async def work(name: str) -> None:
        """Do a part of it while another call does."""
        async with asyncio.timeout(WAIT):
            await meet.wait()
        application.start_span(name).end()

    async with system(OpenTelemetryTracer(recorded.provider), work) as ann:
        answers = await asyncio.gather(
            ann.execute("work", {"name": "one"}), ann.execute("work", {"name": "two"})
        )
    assert all(answer.ok for answer in answers)
    calls = [one for one in recorded.spans() if one.name == "execute_tool work"]
    inner = [one for one in recorded.spans() if one.name in ("one", "two")]
    assert [parent_of(one) for one in calls] == [None, None]
    parents = [parent_of(one) for one in inner]
    assert len(calls) == len(parents) == 2
    assert all(one.get_span_context() in parents for one in calls)


async def test_every_end_of_a_call_ends_its_span(recorded: Recorded) -> None:
    """A failure, a deadline and a cancelled caller each end it, with their code."""
    entered = asyncio.Event()

    @tool
    async def stay() -> None:
        """Stay for ever."""
        entered.set()
        await asyncio.Event().wait()

    @tool
    def fail() -> None:
        """Fail."""
        raise ToolError("no card 4711")

    async with system(OpenTelemetryTracer(recorded.provider), stay, fail) as ann:
        await ann.execute("fail")
        await ann.execute("stay", timeout=0.01)
        entered.clear()
        caller = asyncio.create_task(ann.execute("stay"))
        async with asyncio.timeout(WAIT):
            await entered.wait()
        caller.cancel()
        await asyncio.wait({caller}, timeout=WAIT)
    assert [attributes(one)["error.type"] for one in recorded.spans()] == [
        "tool_error",
        "tool_timeout",
        "cancelled",
    ]


async def test_arguments_of_a_real_call_are_blanked_out(recorded: Recorded) -> None:
    """Where arguments are asked for, secrets in them are not written (B29)."""

    @tool
    def login(user: str, password: str) -> str:
        """Log in."""
        return f"{user} with {len(password)} letters"

    tracer = OpenTelemetryTracer(recorded.provider, arguments=True)
    async with system(tracer, login) as ann:
        await ann.execute("login", {"user": "ann", "password": "hunter2"})
    written = attributes(recorded.only())["gen_ai.tool.call.arguments"]
    assert json.loads(written) == {"user": "ann", "password": "[redacted]"}
    assert "hunter2" not in recorded.only().to_json()


# --- the global provider: each in a process of its own, because it is set once -------

CHILD = """
import sys
from toolkit import UserContext
from toolkit.tools import ToolDefinition
from toolkit.tracing import OpenTelemetryTracer, StartedCall, default_tracer

call = StartedCall(
    call_id="call-1",
    name="search",
    definition=ToolDefinition(
        name="search", qualified_name="shop.search", description="",
        input_schema_json="{}",
    ),
    user=UserContext(user_id="ann"),
)
"""

SET_LATER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

tracer = default_tracer()
assert tracer.begin(call) is None
exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
for _ in range(2):
    tracer.begin(call)(None)
print([span.name for span in exporter.get_finished_spans()])
"""

CHOSEN_BY_ENVIRONMENT = """
tracer = default_tracer()
tracer.begin(call)
from opentelemetry import trace
print(trace.get_current_span().name, trace.get_current_span().is_recording())
"""

NOT_INSTALLED = """
from toolkit import MissingExtraError
try:
    OpenTelemetryTracer()
except MissingExtraError as error:
    print(default_tracer(), error)
"""


def run(code: str, **environment: str) -> str:
    """Run code in a process of its own; return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_tracing_imports_nothing_until_somebody_sets_a_provider() -> None:
    """In a process without OpenTelemetry's SDK a call imports nothing of it."""
    ended = "assert default_tracer().begin(call) is None\n"
    seen = "print([name for name in sys.modules if 'opentelemetry.' in name])"
    assert run(CHILD + ended + seen) == "[]"


def test_a_provider_that_is_set_later_is_used_from_then_on() -> None:
    """The tracer may be made before the application configures the SDK."""
    names = run(CHILD + SET_LATER)
    assert names == "['execute_tool search', 'execute_tool search']"


def test_a_provider_chosen_by_the_environment_is_used() -> None:
    """OTEL_PYTHON_TRACER_PROVIDER makes a provider nobody has to set."""
    chosen = {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}
    printed = run(CHILD + CHOSEN_BY_ENVIRONMENT, **chosen)
    assert printed == "execute_tool search True"


def test_without_the_api_there_is_no_default_tracer() -> None:
    """What is not installed is no error by default, and one that says what to do."""
    missing = "import sys; sys.modules['opentelemetry'] = None\n"
    printed = run(missing + CHILD + NOT_INSTALLED)
    assert printed.startswith("None toolkit.tracing.OpenTelemetryTracer needs more")
    assert "pip install 'toolkit-core[otel]'" in printed


@pytest.mark.parametrize(
    "tracer",
    [OpenTelemetryTracer(), OpenTelemetryTracer(trace.NoOpTracerProvider())],
    ids=["nobody set one", "one that does nothing"],
)
def test_without_a_real_provider_a_call_gets_no_span(tracer: CallTracer) -> None:
    """The API alone makes nothing current, and the tool finds what the caller had."""
    context, end = begin(tracer)
    assert context.run(get_current) is get_current()
    assert end is ended_by_nobody
