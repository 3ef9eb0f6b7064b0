"""Which calls are the same call again, and which may be tried again."""

from collections import UserDict
from itertools import count, takewhile
from types import MappingProxyType
from typing import Any

import pytest

from tests.steered import interrupted
from toolkit import ToolError, ToolResult, ToolTimeoutError
from toolkit.errors import (
    CallLimitError,
    IdempotencyKeyError,
    InvalidArgumentsError,
    ToolCancelledError,
    ToolExecutionError,
    ToolkitError,
    ToolResultError,
    ToolWorkerError,
)
from toolkit.repeats import (
    MAX_KEY_LENGTH,
    MAX_KEYS,
    Repeats,
    may_repeat,
    pause_before,
)
from toolkit.results import success

MIN_LINES = 5  # a thread comes between at least so many


def result_of(call_id: str) -> ToolResult:
    return success(1, b"1", 100, call_id, "echo", 0.0)


async def test_first_call_with_a_key_is_new_and_the_next_gets_its_future() -> None:
    """Whoever repeats a call that runs is told with its first caller."""
    repeats = Repeats()
    assert repeats.find("key", "echo", {"a": 1}) is None
    waiting = repeats.find("key", "echo", {"a": 1})
    assert waiting is not None
    assert not waiting.done()
    result = result_of("c-1")
    repeats.settle("key", result, is_kept=True)
    assert waiting.result() is result
    again = repeats.find("key", "echo", {"a": 1})
    assert again is not None
    assert again.result() is result


async def test_call_that_never_started_is_not_kept() -> None:
    """Who joined it is told the refusal; the key is free again."""
    repeats = Repeats()
    repeats.find("key", "echo", {})
    joined = repeats.find("key", "echo", {})
    refused = result_of("c-1")
    repeats.settle("key", refused, is_kept=False)
    assert joined is not None
    assert joined.result() is refused
    assert repeats.find("key", "other", {"b": 2}) is None


async def test_call_that_came_to_nothing_cancels_who_waits() -> None:
    """Nobody waits for a result that will not come (B30)."""
    repeats = Repeats()
    repeats.find("key", "echo", {})
    joined = repeats.find("key", "echo", {})
    repeats.settle("key", None, is_kept=False)
    assert joined is not None
    assert joined.cancelled()
    repeats.settle("key", result_of("c-1"), is_kept=True)  # long gone
    assert repeats.find("key", "echo", {}) is None


SPELLINGS: list[Any] = [
    {"a": 1, "b": [True, None, "é"]},
    {"b": [True, None, "é"], "a": 1},
    MappingProxyType({"a": 1, "b": (True, None, "é")}),
    UserDict({"a": 1, "b": [True, None, "é"]}),
    '{"a":1,"b":[true,null,"é"]}',
    ' { "b" : [ true , null , "\\u00e9" ] , "a" : 1 } ',
    '{"a":1,"b":[true,null,"é"]}'.encode(),
    bytearray(b'{"b":[true,null,"\\u00e9"],"a":1}'),
]


@pytest.mark.parametrize("first", SPELLINGS, ids=range(len(SPELLINGS)))
async def test_arguments_that_differ_only_in_spelling_are_the_same(first: Any) -> None:
    """Order, spaces, escapes and the kind of mapping make no other call."""
    repeats = Repeats()
    assert repeats.find("key", "echo", first) is None
    for again in SPELLINGS:
        assert repeats.find("key", "echo", again) is not None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("other", {"a": 1}),
        ("echo", {"a": 2}),
        ("echo", {"a": "1"}),
        ("echo", {"a": True}),
        ("echo", {"a": 1, "b": None}),
        ("echo", {}),
        ("echo", "{"),
    ],
    ids=["tool", "value", "text", "flag", "more", "less", "no JSON"],
)
async def test_key_that_comes_with_another_call_is_refused(
    name: str, arguments: Any
) -> None:
    """A key names one call: another tool or other arguments are an error (B9)."""
    repeats = Repeats()
    repeats.find("key", "echo", {"a": 1})
    with pytest.raises(IdempotencyKeyError) as caught:
        repeats.find("key", name, arguments)
    assert caught.value.key == "key"


async def test_arguments_that_are_no_json_are_compared_as_they_are() -> None:
    """What cannot be written is still told from other calls."""
    loop: list[Any] = []
    loop.append(loop)
    repeats = Repeats()
    assert repeats.find("key", "echo", {"a": loop}) is None
    assert repeats.find("key", "echo", {"a": loop}) is not None
    with pytest.raises(IdempotencyKeyError):
        repeats.find("key", "echo", {"b": loop})


@pytest.mark.parametrize("key", ["", 5, b"key", True, "k" * (MAX_KEY_LENGTH + 1)])
async def test_key_that_is_no_fit_text_is_an_argument_error(key: object) -> None:
    """The error says which argument, and what would do (B9)."""
    with pytest.raises(InvalidArgumentsError, match="1 to 256 characters") as caught:
        Repeats().find(key, "echo", {})
    assert [path for path, _ in caught.value.faults] == ["idempotency_key"]


async def test_longest_key_is_taken() -> None:
    """The limit itself is within the limit."""
    assert Repeats().find("k" * MAX_KEY_LENGTH, "echo", {}) is None


async def test_oldest_results_go_first_and_running_calls_never_do() -> None:
    """What is kept of a user is bounded; a call that runs keeps its key (B47)."""
    repeats = Repeats()
    repeats.find("running", "echo", {})
    for number in range(MAX_KEYS + 10):
        key = str(number)
        assert repeats.find(key, "echo", {}) is None
        repeats.settle(key, result_of(key), is_kept=True)
    assert len(repeats._kept) == MAX_KEYS
    assert repeats.find("running", "echo", {}) is not None
    assert repeats.find(str(MAX_KEYS + 9), "echo", {}) is not None
    assert repeats.find("0", "echo", {}) is None


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (ToolExecutionError("echo", "OSError"), True),
        (ToolWorkerError("echo", "it ended"), True),
        (ToolError("No such table."), False),
        (ToolTimeoutError("echo", 1.0), False),
        (ToolCancelledError("echo"), False),
        (ToolResultError("echo", "too deep"), False),
        (InvalidArgumentsError("echo", []), False),
        (CallLimitError("calls", 1, 1), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_may_go_well_the_next_time_is_repeated(
    error: ToolkitError,
    may: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What the tool meant to say, and what time or limits ended, stays said."""
    assert may_repeat(error) is may


@pytest.mark.parametrize("attempt", [1, 2, 3, 10, 17, 18, 1000])
def test_pauses_double_and_half_of_each_is_chance(attempt: int) -> None:
    """They grow up to a bound, and never by number overflow (B30)."""
    whole = 0.1 * 2 ** min(attempt - 1, 16)
    pauses = {pause_before(attempt, 0.1) for _ in range(50)}
    assert all(whole / 2 <= one <= whole for one in pauses)
    assert len(pauses) > 1


def test_key_that_comes_twice_at_once_is_new_only_once() -> None:
    """Whatever thread comes between whichever lines, one of both runs (B26)."""
    codes = {Repeats.find.__code__}

    def try_one(at: int) -> bool:
        repeats = Repeats()
        found: list[object] = []

        def find() -> None:
            found.append(repeats.find("key", "echo", {"a": 1}))

        came = interrupted(find, find, within=codes, at=at)
        assert found.count(None) == 1
        return came

    assert sum(1 for _ in takewhile(try_one, count())) > MIN_LINES


def test_call_whose_arguments_cannot_be_shown_is_still_a_call() -> None:
    """Raise nothing of what an argument raises (B26)."""

    class Evil:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    assert Repeats().find("key", "echo", {"a": Evil()}) is None
