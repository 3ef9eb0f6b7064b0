"""What tools raise: always an answer, in our own types, and never a secret."""

import asyncio
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from tests.sample_tools import until
from toolkit import Settings, ToolContext, ToolError, ToolExecutionError, Toolkit, tool
from toolkit.errors import (
    InvalidArgumentsError,
    MissingSecretError,
    ToolConstructionError,
    ToolkitError,
    ToolResultError,
)
from toolkit.origin import Origin
from toolkit.testing import RecordingSink, make_user

pytestmark = pytest.mark.integration  # misbehaving errors of every kind: seconds

WAIT = 10  # seconds; a bound, never reached when all is well
CANARY = 'the canary\'s\n"nest" é'
SETTINGS = [False, True]


def refuse(*_: object) -> NoReturn:
    raise OSError("an exception that raises when it is looked at")


class Raises(Exception):  # noqa: N818 - what it does
    """Raises at nearly every question."""

    __str__ = __repr__ = __reduce_ex__ = __eq__ = __hash__ = refuse
    __setattr__ = __getattr__ = with_traceback = refuse
    args = __cause__ = __context__ = __notes__ = property(refuse)
    __class__ = __dict__ = __traceback__ = property(refuse)


class Lies(Exception):  # noqa: N818 - what it does
    """Says that it is an error meant for callers."""

    __class__ = property(lambda _: ToolError)


class LiesOfCancelling(Exception):  # noqa: N818 - what it does
    """Says that it is a cancellation."""

    __class__ = property(lambda _: asyncio.CancelledError)


class ToldError(ToolError):
    """Is meant for callers, and cannot be told."""

    __str__ = code = property(refuse)


class OddlyToldError(ToolError):
    """Has a text of which nothing can be made."""

    code = 5  # type: ignore[assignment]

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - what it is about


class Group(ExceptionGroup[Exception]):
    """A group that shows nobody its members."""

    exceptions = property(refuse)


class Stops(StopIteration):
    """No future can carry it."""

    __class__ = property(refuse)


def nested(depth: int, error: Exception) -> Exception:
    """Wrap an error into a group in a group in a group."""
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    return error


def chained(length: int) -> Exception:
    """Make an error whose causes are many."""
    error = OSError("first")
    for number in range(length):
        following = OSError(str(number))
        following.__cause__ = error
        error = following
    return error


ODD: dict[str, Callable[[], BaseException]] = {
    "raises": Raises,
    "lies": Lies,
    "lies of cancelling": LiesOfCancelling,
    "told": ToldError,
    "told oddly": OddlyToldError,
    "group": lambda: Group("group", [OSError()]),
    "deep": lambda: nested(1_200, OSError()),
    "wide": lambda: ExceptionGroup("group", [OSError()] * 1_000),
    "long": lambda: chained(1_200),
    "stops": Stops,
}


def tools_raising(make: Callable[[], BaseException]) -> tuple[object, ...]:
    """Return a tool of every kind that raises such an error."""

    @tool
    async def at_once() -> None:
        raise make()

    @tool
    async def later() -> None:
        await asyncio.sleep(0)
        raise make()

    @tool
    async def of_another() -> None:
        waiter = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(waiter.set_exception, make())
        await waiter

    @tool
    async def stream() -> Any:
        yield 1
        raise make()

    @tool
    def in_thread() -> None:
        raise make()

    @tool
    def parts() -> Iterator[int]:
        yield 1
        raise make()

    return at_once, later, of_another, stream, in_thread, parts


@pytest.mark.parametrize("shown", SETTINGS, ids=["hidden", "shown"])
@pytest.mark.parametrize("secrets", [{}, {"key": CANARY}], ids=["none", "secrets"])
@pytest.mark.parametrize("odd", list(ODD))
async def test_exception_that_misbehaves_is_an_answer_like_any(
    odd: str,
    secrets: dict[str, str],
    shown: bool,  # noqa: FBT001 - a case
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever it does when it is looked at: the call ends, told and logged (B26)."""
    events = RecordingSink()
    tools = tools_raising(ODD[odd])
    if odd == "stops":  # a coroutine cannot raise it, and no asyncio future has it
        tools = (*tools[:2], *tools[3:])
    settings = Settings(allow=frozenset(), show_tool_errors=shown)
    with (
        Toolkit(settings, objects=tools) as kit,
        kit.user(make_user(), secrets=secrets, sinks=[events]) as system,
    ):
        names = [one.name for one in system.definitions()] * 2  # as first, and again
        for name in names:
            result = await asyncio.wait_for(system.execute(name), WAIT)
            assert type(result.error) is ToolExecutionError, name
            again = pickle.loads(pickle.dumps(result.error))  # noqa: S301 - our own
            assert (str(again), again.args) == (str(result.error), result.error.args)
            assert f"failed in call {result.call_id}" in caplog.text
    completed = [one for one in events.events if one.type == "tool_completed"]
    assert [one.error_code for one in completed] == ["tool_failed"] * len(names)


class Unlooked(BaseException):
    """What gets past ``except Exception``."""


class Faceless:
    """A value that lets nobody ask for its class."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise Unlooked


class Closed:
    """A value that lets nobody ask for anything."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise Unlooked


class Mute:
    """A value without a text."""

    def __str__(self) -> NoReturn:
        raise Unlooked

    __repr__ = __str__


@pytest.mark.parametrize("kind", [Faceless, Closed, Mute])
async def test_value_that_misbehaves_is_a_result_or_an_error(kind: type) -> None:
    """Nothing that a tool returns makes a call raise (B28)."""

    @tool
    async def at_once() -> Any:
        return kind()

    @tool
    async def later() -> Any:
        await asyncio.sleep(0)
        return kind()

    @tool
    def in_thread() -> Any:
        return kind()

    with (
        Toolkit(
            Settings(allow=frozenset()), objects=[at_once, later, in_thread]
        ) as kit,
        kit.user(make_user()) as system,
    ):
        for name in ["at_once", "later", "in_thread"] * 2:
            result = await asyncio.wait_for(system.execute(name), WAIT)
            assert result.ok is (result.error is None)
            assert kind.__name__ in result.value_json() or not result.ok


@pytest.mark.parametrize("odd", list(ODD))
async def test_factory_that_raises_what_misbehaves_is_an_answer_too(odd: str) -> None:
    """A registered factory runs as part of the call that finds its tool (B26)."""

    def make(_user: object) -> NoReturn:
        error = ODD[odd]()
        raise error

    with (
        Toolkit(Settings(allow=frozenset())) as kit,
        kit.user(make_user(), secrets={"key": CANARY}) as system,
    ):
        system.registry.register_factory("made", make)
        result = await asyncio.wait_for(system.execute("made"), WAIT)
    assert isinstance(result.error, ToolkitError)
    assert type(result.error).__module__ == "toolkit.errors"
    assert result.error.__cause__ is None


# --- secrets --------------------------------------------------------------------------


class Holds(Exception):  # noqa: N818 - what it does
    """Holds what it is given where few look for it."""

    def __init__(self, held: str) -> None:
        self.response = {"authorization": [held]}


class HoldingToolError(ToolError):
    """Likewise, and is meant for callers."""

    def __init__(self, held: str) -> None:
        super().__init__("No.")
        self.request = held


def in_group(secret: str) -> Exception:
    """Put it where tracebacks no longer look: behind the fifteenth, ten groups down."""
    group = nested(12, OSError(secret))
    return ExceptionGroup("many", [OSError(str(n)) for n in range(20)] + [group])


def with_note(secret: str) -> Exception:
    """Add it as a note."""
    error = OSError("noted")
    error.add_note(f"the token is {secret}")
    return error


def as_context(secret: str) -> Exception:
    """Put it into what was handled meanwhile."""
    error = OSError("while")
    error.__context__ = KeyError(secret)
    return error


def as_cause(secret: str) -> Exception:
    """Put it into a cause's cause, in a group."""
    error = ToolError("No.")
    error.__cause__ = ExceptionGroup("causes", [nested(20, OSError(secret.encode()))])
    return error


QUOTING: dict[str, Callable[[str], BaseException]] = {
    "text": lambda secret: OSError(f"cannot use {secret}"),
    "repr": lambda secret: OSError({"key": [secret, "'", '"']}),
    "bytes": lambda secret: OSError(secret.encode()),
    "within a text": lambda secret: OSError(repr({"a": repr({"b'": secret})})),
    "attribute": Holds,
    "attribute of an error that is told": HoldingToolError,
    "told": lambda secret: ToolError(f"the service refuses {secret}", 5),
    "class": lambda secret: type(secret, (OSError,), {})(),
    "class that is told": lambda secret: type(secret, (ToolError,), {})("No."),
    "note": with_note,
    "context": as_context,
    "cause": as_cause,
    "group": in_group,
    "group's name": lambda secret: ExceptionGroup(secret, [OSError()]),
    "missing": MissingSecretError,
    "no result": lambda secret: ToolResultError("x", secret),
    "no argument": lambda secret: InvalidArgumentsError("x", [(secret, secret)]),
    "not made": lambda secret: ToolConstructionError("x", Origin(secret), secret),
    "ours": lambda secret: ToolExecutionError("x", secret, "", secret),
}


def everything(error: BaseException) -> Iterator[str]:
    """Yield all texts that can be had of an error, whichever way one asks."""
    yield from traceback.format_exception(error)
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))
        yield type(one).__qualname__
        yield repr(pickle.dumps(one))
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


@pytest.mark.parametrize("shown", SETTINGS, ids=["hidden", "shown"])
@pytest.mark.parametrize("quoting", list(QUOTING))
async def test_secret_in_an_exception_reaches_nobody(
    quoting: str,
    shown: bool,  # noqa: FBT001 - a case
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In no text, field, name, cause or group of the error, nor in the log (B62)."""
    caplog.set_level(logging.DEBUG)
    tools = tools_raising(lambda: QUOTING[quoting](CANARY))
    settings = Settings(allow=frozenset(), show_tool_errors=shown)
    texts: list[str] = []
    with (
        Toolkit(settings, objects=tools) as kit,
        kit.user(make_user(), secrets={"key": CANARY}) as system,
    ):
        for name in [one.name for one in system.definitions()] * 2:
            result = await asyncio.wait_for(system.execute(name), WAIT)
            assert isinstance(result.error, ToolkitError)
            with pytest.raises(type(result.error)) as caught:
                result.unwrap()
            texts += [repr(result), *everything(caught.value)]
    texts += [logging.Formatter().format(one) for one in caplog.records]
    texts += [repr(vars(one)) for one in caplog.records]
    assert [text for text in texts if "canary" in text or "nest" in text] == []


async def test_user_without_secrets_keeps_the_cause() -> None:
    """Who calls from Python sees what led to it; nothing of it is to be hidden."""

    @tool
    async def fail() -> None:
        raise ToolError("No.") from KeyError("x")

    with (
        Toolkit(Settings(allow=frozenset()), objects=[fail]) as kit,
        kit.user(make_user()) as system,
    ):
        error = (await system.execute("fail")).error
    assert type(error) is ToolError
    assert repr(error.__cause__) == "KeyError('x')"


async def test_secret_that_a_caller_sends_is_in_no_error() -> None:
    """Not as a tool's name, an argument's name, a key or a reason (B62)."""

    @tool(destructive=True)
    async def check(word: str, context: ToolContext) -> str:
        return word

    secret = "canary_of_ann"
    settings = Settings(allow=frozenset(), approve_destructive=True)
    with (
        Toolkit(settings, objects=[check]) as kit,
        kit.user(make_user(), secrets={"key": secret}) as system,
    ):
        results = [
            await system.execute("check", {"word": "x", secret: 1}),
            await system.execute("check", {"word": "x", secret: 1}, timeout=5),
            await system.execute("check", b'{"word": "x", "canary_of_ann": 1}'),
            await system.execute("x" * 70 + secret),
        ]
        dispatcher = system.dispatcher
        events = RecordingSink()
        call = asyncio.create_task(
            system.execute("check", {"word": "x"}, on_event=events)
        )
        await until(lambda: bool(events.events))
        assert dispatcher.deny(events.events[0].call_id, f"it holds {secret}")
        results.append(await asyncio.wait_for(call, WAIT))
    texts = [repr(one.error) + str(one.error) for one in results]
    texts += [one.to_json() for one in events.events]
    assert [one.ok for one in results] == [False] * 5
    assert [text for text in texts if "canary" in text] == []
