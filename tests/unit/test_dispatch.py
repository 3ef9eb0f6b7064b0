"""One call, step by step: what is refused, what runs, what is answered and told."""

import asyncio
import functools
import gc
import json
import logging
import pickle
import threading
import traceback
import weakref
from collections import UserDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, computed_field

from tests.sample_tools import AdminWipe, Echo, Tally, catalog_of, until
from toolkit import (
    ConfigurationError,
    Settings,
    ToolCatalog,
    ToolContext,
    ToolError,
    ToolNotFoundError,
    ToolResult,
    ToolTimeoutError,
    UserContext,
    UserContextToolFactory,
    tool,
)
from toolkit.catalog import CallHooks
from toolkit.context import REDACTED
from toolkit.errors import InvalidArgumentsError, ToolAccessError, ToolExecutionError
from toolkit.events import ToolEvent
from toolkit.system import UserToolSystem
from toolkit.testing import RecordingSink, make_user, tool_system

CANARY = "canary-7f3a: password of the database"
WAIT = 5  # seconds; a bound, never reached when all is well
SOON = 0.05  # seconds; a deadline that is meant to pass


class Blocking:
    """Waits until the test lets it go."""

    name = "blocking"

    def execute(self, number: int = 0) -> int:
        STARTED.set()
        assert RELEASE.wait(WAIT)
        return number


STARTED, RELEASE = threading.Event(), threading.Event()


class Waiting:
    """Waits on the loop, for ever."""

    name = "waiting"

    async def execute(self, number: int = 0) -> int:
        await asyncio.Event().wait()
        return number


class Hostile(BaseException):
    """What a tool might raise to get past `except Exception`."""


def raising(error: BaseException, *, is_async: bool = False) -> Any:
    """Make a tool that raises, as a function or as a coroutine."""

    @tool(name="raising")
    def plain() -> None:
        raise error

    @tool(name="raising")
    async def later() -> None:
        raise error

    return later if is_async else plain


@pytest.fixture
def events() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def _blocked() -> Iterator[None]:
    STARTED.clear()
    RELEASE.clear()
    yield
    RELEASE.set()


async def until_started() -> None:
    assert await asyncio.to_thread(STARTED.wait, WAIT)


def code_of(result: ToolResult) -> str:
    assert result.ok is (result.error is None)
    return "" if result.error is None else result.error.code


def pair(events: RecordingSink) -> tuple[ToolEvent, ToolEvent]:
    """The two events of the only call, which must be all there are."""
    assert events.types() == ["tool_executing", "tool_completed"]
    begun, ended = events.events
    assert begun.call_id == ended.call_id
    return begun, ended


# --- the order of the steps --------------------------------------------------------


@pytest.mark.usefixtures("_blocked")
async def test_steps_come_in_order_and_what_is_refused_never_starts(
    events: RecordingSink,
) -> None:
    """Find, authorize, validate, limit; none of them has an event
    (S206, B26).
    """
    settings = Settings(max_concurrent_calls=1, max_queued_calls=0)
    user = make_user(scopes={"toolkit:explain"})
    catalog = catalog_of(Blocking, Echo)
    factory = UserContextToolFactory(catalog, settings=settings, sinks=[events])
    with factory.create_user_tool_system(user) as system:
        system.registry.register("admin_wipe", AdminWipe())
        running = asyncio.ensure_future(system.execute("blocking"))
        await until_started()
        told = len(events.events)
        wrong: dict[str, object] = {"text": 5, "more": 1}
        answers = [
            await system.execute("ecco", wrong),
            await system.execute("admin_wipe", wrong),
            await system.execute("echo", wrong),
            await system.execute("echo", {"text": "a"}),
        ]
        assert [code_of(one) for one in answers] == [
            "tool_not_found",
            "tool_access_denied",
            "invalid_arguments",
            "call_limit",
        ]
        assert len(events.events) == told == 1
        assert system.dispatcher.statistics() == {"calls": 1, "failed": 0, "running": 1}
        RELEASE.set()
        assert (await running).ok
        assert (await system.execute("echo", {"text": "a"})).ok
    factory.close()


async def test_denied_and_unknown_calls_are_answered_alike() -> None:
    """An invisible tool does not exist: same kind, same near names (B58)."""
    with tool_system(Echo, scopes=()) as system:
        system.registry.register("admin_wipe", AdminWipe())
        for asked in ("admin_wipe", "admin_wipf", "echp"):
            result = await system.execute(asked)
            assert type(result.error) is ToolNotFoundError
            assert result.error.near == (("echo",) if asked == "echp" else ())


async def test_user_who_may_ask_is_told_why() -> None:
    """With the scope `toolkit:explain` a refusal names the rule, and still refuses."""
    with tool_system(Echo, scopes={"toolkit:explain"}) as system:
        system.registry.register("admin_wipe", AdminWipe())
        result = await system.execute("admin_wipe")
    assert type(result.error) is ToolAccessError
    assert "needs the scope admin:wipe" in str(result.error)


async def test_permission_is_looked_at_in_every_call_of_every_dispatcher() -> None:
    """The right tool under another key, or made by a factory, is still guarded
    (B58, B59).
    """
    with tool_system(Echo, scopes={"admin:read"}) as system:
        system.registry.register("harmless", AdminWipe())
        system.registry.register_factory("made", lambda _user: AdminWipe())
        for name in ("harmless", "made"):
            assert code_of(await system.execute(name)) == "tool_not_found"
        assert [one.name for one in system.get_all_tools()] == ["echo"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (False, "tool_not_found"),
        (True, ""),
        (None, ""),
        (OSError("x"), "tool_not_found"),
    ],
    ids=["denies", "has nothing against it", "has no say", "raises"],
)
async def test_hook_can_only_deny(
    answer: Any, code: str, events: RecordingSink
) -> None:
    """False and an exception deny; nothing a hook answers grants (B7, B58)."""

    def authorize(user: UserContext, definition: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    catalog = catalog_of(Echo, AdminWipe, authorizers=[authorize])
    factory = UserContextToolFactory(catalog, sinks=[events])
    with factory.create_user_tool_system(make_user()) as system:
        assert code_of(await system.execute("echo", {"text": "a"})) == code
        assert len(events.events) == (0 if code else 2)
        assert code_of(await system.execute("admin_wipe")) == "tool_not_found"
    factory.close()


# --- outcomes ----------------------------------------------------------------------


async def test_value_is_answered_as_it_is_and_as_json(events: RecordingSink) -> None:
    """One result: value, JSON, ids that agree with the events, seconds (S206)."""

    @tool
    async def who(context: ToolContext) -> dict[str, str]:
        return {"call": context.call_id, "tool": context.tool_name}

    with tool_system(who, sinks=[events]) as system:
        result = await system.execute("who")
    begun, ended = pair(events)
    assert result.unwrap() == {"call": result.call_id, "tool": "who"}
    assert json.loads(result.value_json()) == result.value
    assert begun.call_id == ended.call_id == result.call_id
    assert (begun.ok, ended.ok, ended.error_code) == (None, True, "")
    assert result.seconds >= 0
    assert ended.seconds is not None
    assert not result.truncated


@pytest.mark.parametrize(
    "arguments",
    ['{"text": "a"}', b'{"text": "a"}', bytearray(b'{"text": "a"}'), {"text": "a"}],
    ids=["text", "bytes", "bytearray", "mapping"],
)
async def test_arguments_come_as_json_or_as_a_mapping(arguments: Any) -> None:
    """Whatever the shape, the tool gets the same."""
    with tool_system(Echo) as system:
        assert (await system.execute("echo", arguments)).unwrap() == "a"


@pytest.mark.parametrize(
    "arguments",
    ["{", "[]", "5", b"\xff", {}, {"text": 5}, {"text": "a", "secret": CANARY}, None],
    ids=["cut", "list", "number", "bytes", "empty", "type", "extra", "none"],
)
async def test_arguments_that_do_not_fit_are_named_without_their_value(
    arguments: Any, events: RecordingSink
) -> None:
    """The caller learns which and why; nothing starts, no value is echoed (B26)."""
    with tool_system(Echo, sinks=[events]) as system:
        result = await system.execute("echo", arguments)
    assert type(result.error) is InvalidArgumentsError
    assert CANARY not in str(result.error)
    assert events.events == []


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        KeyError(CANARY),
        SystemExit(CANARY),
        Hostile(CANARY),
        GeneratorExit(CANARY),
        StopIteration(CANARY),
        asyncio.CancelledError(CANARY),
        TimeoutError(CANARY),
        ConfigurationError("database", CANARY, CANARY),
        ToolTimeoutError(CANARY, 1.0),
        ExceptionGroup(CANARY, [OSError(CANARY)]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_tool_raises_is_its_failure_and_its_text_stays_here(
    error: BaseException,
    is_async: bool,  # noqa: FBT001 - a parameter of the test
    events: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception passes for success, ends the loop, or carries its text out; one
    pair of events tells of it (B22, B23, B26).
    """
    with tool_system(raising(error, is_async=is_async), Echo, sinks=[events]) as system:
        result = await system.execute("raising")
        _, ended = pair(events)
        assert code_of(result) == ended.error_code == "tool_failed"
        assert (result.ok, ended.ok, result.value_json()) == (False, False, "null")
        assert (await system.execute("echo", {"text": "next"})).ok
    told = [
        str(result.error),
        repr(result),
        ended.to_json(),
        events.events[0].to_json(),
    ]
    assert not any(CANARY in one for one in told)
    assert CANARY in caplog.text  # the operator's log has it
    with pytest.raises(ToolExecutionError):
        result.unwrap()


async def test_keyboard_interrupt_of_a_tools_own_fails_that_call_only() -> None:
    """Ctrl-C never reaches a worker thread: there it is the tool's, like any error."""
    events = RecordingSink()
    with tool_system(raising(KeyboardInterrupt()), sinks=[events]) as system:
        result = await system.execute("raising")
    assert code_of(result) == "tool_failed"
    pair(events)


async def test_async_tool_that_returns_a_stream_or_a_coroutine_is_run_to_its_end() -> (
    None
):
    """What is still to run is never written as an address (B28)."""

    async def later() -> str:
        return "later"

    async def parts() -> AsyncIterator[int]:
        yield 1
        yield 2

    class Returns:
        name = "returns"

        async def execute(self, *, stream: bool) -> Any:
            return parts() if stream else later()

    with tool_system(Returns) as system:
        assert (await system.execute("returns", {"stream": True})).value == [1, 2]
        assert (await system.execute("returns", {"stream": False})).value == "later"


async def test_result_keeps_no_frame_and_so_no_instance_alive(
    request: pytest.FixtureRequest,
) -> None:
    """A kept result pins nothing of the user, also after unwrapping it (B41)."""
    request.addfinalizer(lambda: logging.disable(logging.NOTSET))
    logging.disable()  # pytest keeps the records, and with them the frames

    class Fails:
        name = "fails"

        def execute(self) -> None:
            raise ValueError

    with tool_system(Fails) as system:
        instance = weakref.ref(system.registry.get("fails"))
        result = await system.execute("fails")
    lengths = []
    for _ in range(2):
        try:
            result.unwrap()
        except ToolExecutionError as error:
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
            error.__traceback__ = None
    assert lengths == [2, 2]  # this test and unwrap, each time
    del system
    gc.collect()
    assert result.error is not None
    assert instance() is None


async def test_timeout_that_is_no_number_is_an_argument_error() -> None:
    """Nothing that a caller passes makes execute raise (B9)."""
    with tool_system(raising(ValueError())) as system:
        result = await system.execute("raising", timeout="5")
    assert code_of(result) == "invalid_arguments"


@pytest.mark.parametrize("answer", [0, "", object(), [], False])
async def test_hook_that_answers_oddly_denies(answer: Any) -> None:
    """Only None and True let a call pass; everything else denies (B58)."""
    catalog = ToolCatalog(hooks=CallHooks(authorizers=(lambda *_: answer,)))
    factory = UserContextToolFactory(catalog)
    system = factory.create_user_tool_system(make_user(), [raising(ValueError())])
    async with system:
        assert code_of(await system.execute("raising")) == "tool_not_found"
    factory.close()


async def test_tool_error_reaches_its_caller_in_the_tools_words() -> None:
    """`ToolError` is how a tool tells its caller what is wrong."""

    class QuotaError(ToolError):
        code = "quota"

    for error in (ToolError("No such table."), QuotaError("No such table.")):
        with tool_system(raising(error)) as system:
            result = await system.execute("raising")
        assert code_of(result) == error.code
        assert type(result.error) is ToolError  # none of the tool's own code
        assert str(result.error) == "No such table."
        assert pickle.loads(pickle.dumps(result.error)).code == error.code  # noqa: S301


async def test_constructor_that_fails_is_this_calls_error(
    events: RecordingSink,
) -> None:
    """It names the tool, not what the constructor said."""

    class Unready(Echo):
        def __init__(self) -> None:
            raise OSError(CANARY)

    with tool_system(Unready, sinks=[events]) as system:
        result = await system.execute("echo", {"text": "a"})
    assert code_of(result) == pair(events)[1].error_code == "tool_construction_failed"
    assert CANARY not in str(result.error)


async def test_factory_that_fails_is_this_calls_error(events: RecordingSink) -> None:
    """A registered factory runs as part of finding; its text stays here too."""

    def make(_user: object) -> Echo:
        raise OSError(CANARY)

    with tool_system(Echo, sinks=[events]) as system:
        system.registry.register_factory("made", make)
        result = await system.execute("made")
    assert code_of(result) == "tool_failed"
    assert CANARY not in str(result.error)
    assert events.events == []


class Secretive(BaseModel):
    @computed_field  # type: ignore[prop-decorator]  # pydantic's own idiom
    @property
    def total(self) -> int:
        raise ValueError(CANARY)


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("make", [endless, Secretive], ids=["endless", "secretive"])
async def test_result_that_is_no_json_is_a_failure(
    make: Callable[[], object], events: RecordingSink
) -> None:
    """It is answered as one, with one pair of events, and quotes nothing (B23, B28)."""

    @tool
    def odd() -> Any:
        return make()

    with tool_system(odd, sinks=[events]) as system:
        result = await system.execute("odd")
    assert code_of(result) == pair(events)[1].error_code == "result_not_serializable"
    assert CANARY not in str(result.error)


@pytest.mark.parametrize("size", [1, 50, 99, 100, 101, 1000])
async def test_long_result_is_cut_into_valid_json_and_flagged(
    size: int, events: RecordingSink
) -> None:
    """Cut at the limit, within a character or not, it is still JSON (B29)."""

    @tool
    def long() -> str:
        return 'é"\\' * size

    settings = Settings(max_result_bytes=300)
    with tool_system(long, settings=settings, sinks=[events]) as system:
        result = await system.execute("long")
    text = json.loads(result.value_json())
    full = json.dumps(result.value, ensure_ascii=False)
    assert result.truncated is pair(events)[1].truncated is (len(full.encode()) > 300)
    assert full.startswith(text) if result.truncated else text == result.value
    assert result.value == 'é"\\' * size


# --- shapes of tools ---------------------------------------------------------------


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as one does who does not think of async functions."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> Any:
        return function(*args, **kwargs)

    return wrapper


@tool
def generator() -> Iterator[int]:
    yield from (1, 2)


@tool
async def async_generator() -> AsyncIterator[int]:
    yield 1
    yield 2


@tool
@plainly
async def decorated() -> list[int]:
    return [1, 2]


@tool
@plainly
async def decorated_generator() -> AsyncIterator[int]:
    yield 1
    yield 2


@tool
def iterator() -> Any:
    return iter([1, 2])


@pytest.mark.parametrize(
    "shape",
    [generator, async_generator, decorated, decorated_generator, iterator],
    ids=lambda shape: shape.name,
)
async def test_every_shape_of_tool_answers_with_its_parts(shape: Any) -> None:
    """Streams become lists; what an unsuspecting decorator hides is awaited (B28)."""
    with tool_system(shape) as system:
        assert (await system.execute(shape.name)).value_json() == "[1,2]"


async def test_failure_after_the_first_part_is_a_failure(
    events: RecordingSink,
) -> None:
    """Half a stream is no success (B23)."""

    @tool
    async def half() -> AsyncIterator[int]:
        yield 1
        raise OSError(CANARY)

    with tool_system(half, sinks=[events]) as system:
        assert code_of(await system.execute("half")) == "tool_failed"
    assert events.types() == ["tool_executing", "tool_part", "tool_completed"]
    assert events.events[2].ok is False


async def test_tool_may_call_another_tool_of_the_same_user(
    events: RecordingSink,
) -> None:
    """Nested calls are calls like any: two pairs, the inner within the outer (B26)."""
    systems: list[UserToolSystem] = []

    @tool
    async def outer(depth: int) -> list[Any]:
        if depth == 0:
            return [(await systems[0].execute("echo", {"text": "in"})).unwrap()]
        return [(await systems[0].execute("outer", {"depth": depth - 1})).unwrap()]

    with tool_system(outer, Echo, sinks=[events]) as system:
        systems.append(system)
        result = await system.execute("outer", {"depth": 3})
    assert result.unwrap() == [[[["in"]]]]
    assert events.types() == ["tool_executing"] * 5 + ["tool_completed"] * 5
    ids = [event.call_id for event in events.events]
    assert ids[:5] == ids[:4:-1]
    assert len(set(ids)) == 5


async def test_failure_of_an_inner_call_is_the_outer_tools_failure() -> None:
    """The outer caller is not told what was the matter with a call not theirs."""
    systems: list[UserToolSystem] = []

    @tool
    async def outer() -> Any:
        return (await systems[0].execute("absent")).unwrap()

    with tool_system(outer) as system:
        systems.append(system)
        assert code_of(await system.execute("outer")) == "tool_failed"


# --- every way through the same steps ------------------------------------------------


class Amount(BaseModel):
    amount: int


async def some_parts() -> AsyncIterator[int]:
    yield 1
    yield 2


async def some_value() -> int:
    return 7


def raises_in_time(kind: type[BaseException]) -> Callable[[], Any]:
    def act() -> Any:
        raise kind

    return act


OUTCOMES: dict[str, Callable[[], Any]] = {
    "number": lambda: 7,
    "none": lambda: None,
    "model": lambda: Amount(amount=3),
    "endless": endless,
    "awaitable": some_value,
    "stream": some_parts,
    **{
        kind.__name__: raises_in_time(kind)
        for kind in (
            *(OSError, SystemExit, GeneratorExit, KeyboardInterrupt),
            *(asyncio.CancelledError, StopIteration, StopAsyncIteration, ToolError),
        )
    },
}
PLAIN_VALUES = {
    "number": "7",
    "none": "null",
    "model": '{"amount":3}',
    "awaitable": "7",
    "stream": "[1,2]",
}


def at_once(act: Callable[[], Any]) -> Any:
    async def execute() -> Any:
        return act()

    return execute


def scalar(act: Callable[[], Any]) -> Any:
    async def execute() -> int:
        return act()  # type: ignore[no-any-return]  # it may break its promise

    return execute


def after_a_turn(act: Callable[[], Any]) -> Any:
    async def execute() -> Any:
        await asyncio.sleep(0)
        return act()

    return execute


def after_a_task(act: Callable[[], Any]) -> Any:
    async def execute() -> Any:
        await asyncio.create_task(some_value())
        return act()

    return execute


def knowing_its_call(act: Callable[[], Any]) -> Any:
    async def execute(context: ToolContext) -> Any:
        assert context.call_id
        return act()

    return execute


def in_a_thread(act: Callable[[], Any]) -> Any:
    def execute() -> Any:
        return act()

    return execute


def hidden(act: Callable[[], Any]) -> Any:
    return plainly(after_a_turn(act))


def in_parts(act: Callable[[], Any]) -> Any:
    def execute() -> Iterator[Any]:
        yield act()

    return execute


def in_async_parts(act: Callable[[], Any]) -> Any:
    async def execute() -> AsyncIterator[Any]:
        yield act()

    return execute


SHAPES: list[Callable[[Callable[[], Any]], Any]] = [
    *(at_once, scalar, after_a_turn, after_a_task, knowing_its_call, in_a_thread),
    *(hidden, in_parts, in_async_parts),
]
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # settings, options
    "first and again": ({}, {}),
    "unheard": ({}, {}),
    "caller's sink": ({}, {"on_event": RecordingSink()}),
    "caller's options": ({}, {"timeout": 9, "on_event": RecordingSink()}),
    "key": ({"default_timeout": None}, {"idempotency_key": "one"}),
    "hook": ({"calls_per_minute": 9, "retries": 1}, {}),
}


def check_events(result: ToolResult, sink: RecordingSink) -> None:
    """One pair of events, parts between, and an end that says what the result says."""
    kinds = sink.types(result.call_id)
    assert (kinds[0], kinds[-1]) == ("tool_executing", "tool_completed")
    assert set(kinds[1:-1]) <= {"tool_part"}
    ended = sink.events[-1]
    assert ended.call_id == result.call_id
    assert (ended.ok, ended.error_code) == (result.ok, code_of(result))


async def outcomes_of(target: Any, way: str) -> list[Any]:
    """Call a tool twice in one way, and return all there is to see of both calls."""
    given, options = WAYS[way]
    sinks = [] if way == "unheard" else [RecordingSink()]
    guards = [lambda *_: None] if way == "hook" else []
    catalog = ToolCatalog(
        view=target.view, hooks=CallHooks(authorizers=tuple(guards), observers=())
    )
    factory = UserContextToolFactory(catalog, settings=Settings(**given), sinks=sinks)
    seen: list[Any] = []
    async with factory.create_user_tool_system(make_user()) as system:
        for number in range(2):
            own = {"idempotency_key": f"key {number}"} if way == "key" else options
            result = await asyncio.wait_for(system.execute("acting", **own), WAIT)
            for sink in sinks:
                check_events(result, sink)
            cause = getattr(result.error, "cause_type", "")
            seen.append((code_of(result), result.value, result.value_json(), cause))
        counts = system.dispatcher.statistics()
    factory.close()
    failed = sum(code != "" for code, *_ in seen)
    assert counts == {"calls": 2, "failed": failed, "running": 0}
    return seen


CASES = [
    (shape, outcome)
    for shape in SHAPES
    for outcome in OUTCOMES
    if not ("parts" in shape.__name__ and outcome in ("awaitable", "stream"))
    if shape is not scalar or outcome in PLAIN_VALUES
]


@pytest.mark.parametrize(
    ("shape", "outcome"), CASES, ids=[f"{one.__name__} {two}" for one, two in CASES]
)
async def test_every_way_through_a_call_comes_to_the_same(
    shape: Callable[[Callable[[], Any]], Any],
    outcome: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Straight through, after a wait, in a thread, past deadlines, keys and hooks: one
    outcome, one pair of events, one count (B22, B23, B26).
    """
    caplog.set_level(logging.CRITICAL, "toolkit.dispatch")  # tracebacks take long
    catalog = catalog_of(tool(name="acting")(shape(OUTCOMES[outcome])))
    found = [one for way in WAYS for one in await outcomes_of(catalog, way)]
    assert found == [found[0]] * len(found)
    code, value, text, _ = found[0]
    if outcome in PLAIN_VALUES:
        text = text[1:-1] if "parts" in shape.__name__ else text
        assert (code, text) == ("", PLAIN_VALUES[outcome])
    else:
        expected = {"ToolError": "tool_error", "endless": "result_not_serializable"}
        assert code == expected.get(outcome, "tool_failed")
        assert (value, text) == (None, "null")


COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
async def test_context_variables_reach_the_tool_and_never_come_back(
    shape: Callable[[Callable[[], Any]], Any],
) -> None:
    """What a tool sets ends with its call, whichever way it goes (B32)."""

    def act() -> str:
        found = COLOUR.get()
        COLOUR.set("tool's")
        return found

    token = COLOUR.set("caller's")
    try:
        with tool_system(tool(name="acting")(shape(act))) as system:
            for _ in range(2):
                result = await system.execute("acting")
                assert result.value in ("caller's", ["caller's"])
                assert COLOUR.get() == "caller's"
    finally:
        COLOUR.reset(token)


class Replaced:
    """Puts another function in the place of its own."""

    name = "replaced"

    def __init__(self, user: UserContext) -> None:
        kind = user.user_id
        if kind == "sync":
            self.execute = lambda: "sync"  # type: ignore[method-assign,assignment,return-value]  # what it is about
        elif kind == "waits":
            self.execute = self._later  # type: ignore[method-assign]  # the same
        elif kind == "task":
            self.execute = self._by_task  # type: ignore[method-assign]  # the same
        elif kind == "raises":
            self.execute = self._now  # type: ignore[method-assign]  # the same

    async def _later(self) -> str:
        await asyncio.sleep(0)
        return "waits"

    async def _by_task(self) -> str:
        return await asyncio.create_task(self._later()) and "task"

    def _now(self) -> Any:
        raise OSError(CANARY)

    async def execute(self) -> str:
        return "own"


@pytest.mark.parametrize("kind", ["own", "sync", "waits", "task", "raises"])
async def test_instance_that_replaces_its_method_is_still_run(
    kind: str, events: RecordingSink
) -> None:
    """What its class's code says of waiting is not believed of another's (B23, B26)."""
    user = make_user(kind)
    with tool_system(Replaced, user=user, sinks=[events]) as system:
        for _ in range(3):
            result = await asyncio.wait_for(system.execute("replaced"), WAIT)
            if kind == "raises":
                assert code_of(result) == "tool_failed"
            else:
                assert result.value == kind
        assert system.dispatcher.statistics()["running"] == 0
    assert events.types() == ["tool_executing", "tool_completed"] * 3


async def test_plan_is_forgotten_when_a_name_means_something_else() -> None:
    """Removed, registered anew, closed: the next call knows at once (B46)."""

    @tool(name="named")
    async def before() -> str:
        return "before"

    @tool(name="named")
    async def after() -> str:
        return "after"

    with tool_system(before) as system:
        for _ in range(2):
            assert (await system.execute("named")).value == "before"
        assert system.registry.remove("named")
        assert code_of(await system.execute("named")) == "tool_not_found"
        system.registry.register("named", after)
        for _ in range(2):
            assert (await system.execute("named")).value == "after"
        system.registry.clear()
        assert code_of(await system.execute("named")) == "tool_not_found"
        system.registry.register_factory("named", lambda _user: before)
        for _ in range(2):
            assert (await system.execute("named")).value == "before"
        system.close()
        assert code_of(await system.execute("named")) == "registry_closed"


async def test_tool_that_goes_while_it_waits_is_run_to_its_end() -> None:
    """Removing a tool ends no call of it that has begun."""
    release = asyncio.Event()

    @tool
    async def slow() -> str:
        await release.wait()
        return "to its end"

    with tool_system(slow) as system:
        running = asyncio.ensure_future(system.execute("slow"))
        await until(lambda: bool(system.dispatcher.running()))
        system.registry.remove("slow")
        release.set()
        assert (await asyncio.wait_for(running, WAIT)).value == "to its end"


# --- arguments, on every way ---------------------------------------------------------


class Inner(BaseModel):
    numbers: list[int]


@tool
async def takes(inner: Inner, word: str = "none") -> list[Any]:
    """Change what it is given."""
    inner.numbers.append(0)
    return [*inner.numbers, word]


@pytest.mark.parametrize("options", [{}, {"timeout": 9}], ids=["straight", "whole"])
async def test_arguments_of_the_caller_stay_as_they_were(
    options: dict[str, Any],
) -> None:
    """A tool gets values of its own, in whatever form the caller gave them."""
    given = {"inner": {"numbers": [1]}, "word": "a"}
    text = json.dumps(given)
    forms: list[Any] = [
        given,
        MappingProxyType(given),
        UserDict(given),
        text,
        text.encode(),
        bytearray(text.encode()),
    ]
    with tool_system(takes) as system:
        for form in forms * 2:
            result = await system.execute("takes", form, **options)
            assert result.value == [1, 0, "a"]
    assert given == {"inner": {"numbers": [1]}, "word": "a"}


@pytest.mark.parametrize("options", [{}, {"timeout": 9}], ids=["straight", "whole"])
@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({"inner": {"numbers": [1, CANARY]}}, ["inner.numbers.1"]),
        (json.dumps({"inner": {"numbers": [CANARY]}}), ["inner.numbers.0"]),
        (json.dumps({"inner": CANARY, "word": []}).encode(), ["inner", "word"]),
        ({"inner": {"numbers": []}, "more": CANARY}, ["more"]),
        ({}, ["inner"]),
    ],
    ids=["deep", "text", "two", "extra", "missing"],
)
async def test_rejected_arguments_are_told_by_path_and_never_by_value(
    arguments: Any,
    paths: list[str],
    options: dict[str, Any],
    events: RecordingSink,
) -> None:
    """Straight or not: the same faults, no value, nothing started (B9, B26)."""
    with tool_system(takes, sinks=[events]) as system:
        await system.execute("takes", {"inner": {"numbers": []}})
        told = len(events.events)
        error = (await system.execute("takes", arguments, **options)).error
        assert type(error) is InvalidArgumentsError
        assert [path for path, _ in error.faults] == paths
        chain = [error, error.__cause__, error.__context__]
        assert not any(CANARY in repr(one) + str(one) for one in chain)
        assert len(events.events) == told
        assert system.dispatcher.statistics()["calls"] == 1


async def test_call_ids_are_never_the_same_and_never_from_a_clock() -> None:
    """Two users' dispatchers count apart, and each under its own beginning
    (B45, B57).
    """
    factory = UserContextToolFactory(catalog_of(Tally))
    ids: list[str] = []
    for user_id in ("ann", "ann", "bob"):
        async with factory.create_user_tool_system(make_user(user_id)) as system:
            for name in ("tally", "tally", "absent"):
                ids.append((await system.execute(name)).call_id)  # noqa: PERF401 - one after another
            ids.append((await system.execute("tally", timeout=9)).call_id)
    factory.close()
    assert len(set(ids)) == len(ids) == 12
    assert len({one.rpartition("-")[0] for one in ids}) == 3


# --- deadlines ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operators", "tools", "callers", "allowed"),
    [
        (30.0, 20.0, 10.0, 10.0),
        (30.0, 10.0, 20.0, 10.0),
        (10.0, 20.0, 30.0, 10.0),
        (None, None, 10.0, 10.0),
        (None, 10.0, None, 10.0),
        (10.0, None, None, 10.0),
        (None, None, None, None),
    ],
)
async def test_deadline_is_the_smallest_of_three(
    operators: float | None,
    tools: float | None,
    callers: float | None,
    allowed: float | None,
) -> None:
    """The operator's, the tool's and the caller's: none can lengthen another (B31)."""
    facts: dict[str, Any] = {} if tools is None else {"timeout": tools}

    @tool(**facts)
    async def left(context: ToolContext) -> float | None:
        return context.time_left()

    with tool_system(left, settings=Settings(default_timeout=operators)) as system:
        seconds = (await system.execute("left", timeout=callers)).unwrap()
    if allowed is None:
        assert seconds is None
    else:
        assert allowed - 5 < seconds <= allowed


@pytest.mark.usefixtures("_blocked")
async def test_sync_tool_is_answered_at_its_deadline_while_its_thread_is_late(
    events: RecordingSink,
) -> None:
    """The caller does not wait for what cannot be stopped; it is counted (B52, B53)."""
    factory = UserContextToolFactory(
        catalog_of(Blocking, Echo), settings=Settings(max_threads=1), sinks=[events]
    )
    with factory.create_user_tool_system(make_user()) as system:
        running = asyncio.ensure_future(system.execute("blocking", timeout=SOON))
        result = await asyncio.wait_for(running, WAIT)
        assert type(result.error) is ToolTimeoutError
        assert result.error.seconds == SOON
        assert pair(events)[1].error_code == "tool_timeout"
        await asyncio.sleep(0)
        assert factory.executors.threads.statistics()["late"] == int(STARTED.is_set())
        RELEASE.set()
        assert (await system.execute("echo", {"text": "a"})).ok
        await until(lambda: not factory.executors.threads.statistics()["late"])
        assert len(events.events) == 4  # the late answer tells nobody anything
    factory.close()


async def test_async_tool_is_answered_at_its_deadline_even_if_it_resists(
    events: RecordingSink,
) -> None:
    """Cancelling is a request; the answer does not depend on it (B30)."""
    release = asyncio.Event()

    @tool
    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    factory = UserContextToolFactory(sinks=[events])
    with factory.create_user_tool_system(make_user(), [stubborn]) as system:
        running = asyncio.ensure_future(system.execute("stubborn", timeout=SOON))
        result = await asyncio.wait_for(running, WAIT)
        late = factory.executors.inline.statistics()["late"]
        release.set()
        assert code_of(result) == "tool_timeout"
        assert late == 1
        assert system.dispatcher.statistics()["running"] == 0
        pair(events)
        await until(lambda: not factory.executors.inline.statistics()["late"])
    factory.close()


async def test_deadline_holds_for_what_a_sync_tool_returns_to_be_awaited() -> None:
    """Both halves of such a call share one deadline."""

    @tool
    @plainly
    async def hidden() -> None:
        await asyncio.Event().wait()

    with tool_system(hidden) as system:
        running = asyncio.ensure_future(system.execute("hidden", timeout=SOON))
        assert code_of(await asyncio.wait_for(running, WAIT)) == "tool_timeout"


# --- ending early ------------------------------------------------------------------


@pytest.mark.usefixtures("_blocked")
@pytest.mark.parametrize("kind", [Waiting, Blocking], ids=["async", "sync"])
async def test_cancelled_caller_cancels_the_tool_and_completes_the_call(
    kind: type[Any], events: RecordingSink
) -> None:
    """Cancellation passes through, after exactly one completion (B26)."""
    with tool_system(kind, sinks=[events]) as system:
        running = asyncio.ensure_future(system.execute(kind.name))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        _, ended = pair(events)
        assert (ended.ok, ended.error_code) == (False, "cancelled")
        assert system.dispatcher.statistics() == {"calls": 1, "failed": 1, "running": 0}


@pytest.mark.usefixtures("_blocked")
@pytest.mark.parametrize("kind", [Waiting, Blocking], ids=["async", "sync"])
@pytest.mark.parametrize("way", ["close", "aclose", "dispatcher"])
async def test_closing_completes_a_running_call_once_as_cancelled(
    kind: type[Any], way: str, events: RecordingSink
) -> None:
    """Its caller gets an answer rather than an exception (B26, B50)."""
    with tool_system(kind, sinks=[events]) as system:
        running = asyncio.ensure_future(system.execute(kind.name))
        for _ in range(3):
            await asyncio.sleep(0)
        if way == "close":
            system.close()
        elif way == "aclose":
            await asyncio.wait_for(system.aclose(), WAIT)
        else:
            system.dispatcher.close()
        result = await asyncio.wait_for(running, WAIT)
        assert code_of(result) == pair(events)[1].error_code == "cancelled"


async def test_closed_dispatcher_takes_no_calls(events: RecordingSink) -> None:
    """Also where its registry belongs to somebody else and stays open (B46)."""
    with tool_system(Echo, sinks=[events]) as system:
        system.dispatcher.close()
        result = await system.execute("echo", {"text": "a"})
        assert code_of(result) == "registry_closed"
        assert system.registry.has("echo")
    assert events.events == []


async def test_closed_executor_is_a_failure_of_the_call(events: RecordingSink) -> None:
    """A backend that closes in the wrong order gets answers, and true events (B24)."""
    factory = UserContextToolFactory(sinks=[events])
    with factory.create_user_tool_system(make_user(), [Echo]) as system:
        factory.close()
        result = await system.execute("echo", {"text": "a"})
    assert code_of(result) == pair(events)[1].error_code == "tool_failed"


# --- events ------------------------------------------------------------------------


async def test_sink_or_observer_that_fails_disturbs_nobody(
    events: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivery is apart from execution: the call succeeds, others are told (B24)."""
    observed: list[ToolEvent] = []

    def broken(event: ToolEvent) -> None:
        raise ConnectionError(event.type)

    catalog = catalog_of(Echo, observers=[broken, observed.append])
    factory = UserContextToolFactory(catalog, sinks=[broken, events])
    with factory.create_user_tool_system(make_user(), sinks=[broken]) as system:
        assert (await system.execute("echo", {"text": "a"})).ok
    factory.close()
    pair(events)
    assert observed == events.events
    assert caplog.text.count("event sink") == 6


async def test_arguments_in_events_are_redacted_at_every_depth(
    events: RecordingSink,
) -> None:
    """Secret fields are blanked by their whole name; the tool gets them as they are
    (B29).
    """

    @tool
    async def login(token: str, monkey: str, more: list[dict[str, Any]]) -> bool:
        return CANARY in token and CANARY in more[0]["Password"]

    arguments = {"token": CANARY, "monkey": "m", "more": [{"Password": CANARY}]}
    with tool_system(login, sinks=[events]) as system:
        assert (await system.execute("login", arguments)).unwrap() is True
    begun, ended = pair(events)
    assert begun.arguments == {
        "token": REDACTED,
        "monkey": "m",
        "more": [{"Password": REDACTED}],
    }
    assert ended.arguments is None
    assert CANARY not in begun.to_json() + ended.to_json()


async def test_arguments_that_cannot_be_shown_are_left_out(
    events: RecordingSink,
) -> None:
    """The call runs all the same (B28)."""

    @tool
    async def take(value: Any) -> bool:
        return value is not None

    with tool_system(take, sinks=[events]) as system:
        assert (await system.execute("take", {"value": endless()})).unwrap() is True
    assert pair(events)[0].arguments is None


async def test_events_name_the_user_session_thread_and_run() -> None:
    """Each id is in its own field: none stands in for another (B33)."""
    events = RecordingSink()
    user = make_user("ann", session_id="s-1", thread_id="t-1", run_id="r-1")
    with tool_system(Echo, user=user, sinks=[events]) as system:
        await system.execute("echo", {"text": "a"})
    for event in pair(events):
        ids = (event.user_id, event.session_id, event.thread_id, event.run_id)
        assert ids == ("ann", "s-1", "t-1", "r-1")


async def test_statistics_count_calls_that_started() -> None:
    """Refusals are not calls; failures are (B17)."""
    with tool_system(Tally, raising(OSError("x"))) as system:
        await system.execute("tally")
        await system.execute("raising")
        await system.execute("absent")
        assert system.dispatcher.statistics() == {"calls": 2, "failed": 1, "running": 0}


async def test_failed_call_logs_one_record(caplog: pytest.LogCaptureFixture) -> None:
    """One record per failure, where it is handled, under the call's id."""
    with tool_system(raising(OSError("x"))) as system:
        result = await system.execute("raising")
    records = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(records) == 1
    assert result.call_id in records[0].getMessage()


@pytest.mark.parametrize(
    ("shape", "outcome"), CASES, ids=[f"{one.__name__} {two}" for one, two in CASES]
)
async def test_caller_alone_hears_its_call_on_every_way(
    shape: Callable[[Callable[[], Any]], Any],
    outcome: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call's own sink is told that call and no other, at its first and its next."""
    caplog.set_level(logging.CRITICAL, "toolkit.dispatch")
    acts = iter([lambda: 1, *[OUTCOMES[outcome]] * 3])  # it is known after the first

    def act() -> Any:
        return next(acts)()

    with tool_system(tool(name="acting")(shape(act))) as system:
        for _ in range(2):
            sink = RecordingSink()
            result = await system.execute("acting", {}, on_event=sink)
            await system.execute("acting", {})
            check_events(result, sink)
            assert {one.call_id for one in sink.events} == {result.call_id}
