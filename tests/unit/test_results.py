"""What a call came to: values as JSON, errors that keep nothing alive."""

import copy
import dataclasses
import gc
import json
import pickle
import weakref

import pytest

from toolkit import ToolError, ToolResult
from toolkit.errors import ToolExecutionError
from toolkit.results import OpenResult, ToolCall, cut, failure, success


def plain_success() -> ToolResult:
    return success([1, "é"], '[1,"é"]'.encode(), 100, "c-1", "echo", 0.5)


def test_success_is_a_result_like_one_made_by_its_constructor() -> None:
    """What is made the quick way is equal, prints, copies and pickles alike."""
    made = ToolResult(
        ok=True,
        value=[1, "é"],
        call_id="c-1",
        tool="echo",
        seconds=0.5,
        json_bytes='[1,"é"]'.encode(),
    )
    quick = plain_success()
    assert type(quick) is ToolResult
    assert quick == made
    assert repr(quick) == repr(made)
    assert copy.deepcopy(quick) == made
    assert pickle.loads(pickle.dumps(quick)) == made  # noqa: S301 - our own
    assert dataclasses.replace(quick, tool="other").tool == "other"
    assert not isinstance(quick, OpenResult)
    assert (quick.unwrap(), quick.value_json()) == ([1, "é"], '[1,"é"]')


def test_result_that_was_made_the_quick_way_is_immutable() -> None:
    """Nobody changes what a call came to (B54)."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain_success().ok = False  # type: ignore[misc]  # what it is about


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
def test_cut_json_is_a_text_with_the_beginning_of_the_whole(limit: int) -> None:
    """Also within a character of several bytes it is JSON, and says it is cut (B29)."""
    data = '["é€😀"]'.encode()
    result = success("value", data, limit, "c-1", "echo", 0.0)
    assert result.truncated is (len(data) > limit)
    assert result.value == "value"
    text = json.loads(result.value_json())
    assert data.decode().startswith(text) if result.truncated else text == ["é€😀"]
    assert not result.truncated or len(text.encode()) <= limit
    assert json.loads(cut(data, limit)) == data[:limit].decode(errors="ignore")


def test_failure_has_an_error_and_the_value_null() -> None:
    """An outcome is told by named facts; what failed is never a success
    (B22, B23).
    """
    error = ToolError("No such table.")
    result = failure(error, "echo", "c-1", 0.5)
    assert (result.ok, result.value, result.truncated) == (False, None, False)
    assert result.error is error
    assert result.value_json() == "null"
    with pytest.raises(ToolError, match="No such table"):
        result.unwrap()


class Held:
    """Something that only the frame of a failed tool knew."""


def deep_failure() -> tuple[ToolExecutionError, "weakref.ref[Held]"]:
    held = Held()
    hidden = ToolExecutionError("echo", "ValueError")

    def fail() -> None:
        raise OSError(str(held))

    def fail_again() -> None:
        try:
            fail()
        except OSError as first:
            raise ValueError("second") from first

    with pytest.raises(ValueError, match="second") as caught:
        fail_again()
    hidden.__cause__ = caught.value
    return hidden, weakref.ref(held)


def test_failure_drops_the_frames_of_its_error_and_of_all_causes() -> None:
    """A kept result pins nothing of the user, and its causes stay named (B41)."""
    error, held = deep_failure()
    gc.collect()
    assert held() is not None
    result = failure(error, "echo", "c-1", 0.0)
    gc.collect()
    assert held() is None
    assert type(error.__cause__) is ValueError
    assert type(error.__cause__.__cause__) is OSError
    assert result.error is error


def test_failure_of_causes_in_a_circle_ends() -> None:
    """Exceptions that are each other's cause are looked at once each."""
    one, two = ToolExecutionError("echo", "ValueError"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert failure(one, "echo", "c-1", 0.0).error is one


def test_call_that_is_shown_is_immutable() -> None:
    """What `running` shows is a snapshot (B19)."""
    call = ToolCall(
        call_id="c-1", tool="echo", state="running", seconds=0.1, deadline=None
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        call.state = "ended"  # type: ignore[misc]  # what it is about
