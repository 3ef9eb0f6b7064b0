"""What plugin code raised: read where the interpreter keeps it, and logged."""

import gc
import logging
import weakref
from typing import NoReturn

import pytest

from toolkit.context import NO_SECRETS, Secrets
from toolkit.errors import ToolError
from toolkit.tracebacks import (
    MAX_SHOWN,
    cause_of,
    drop_frames,
    is_error,
    log_error,
    set_cause,
    tool_error,
    trace_of,
)

SECRET = "the first line\nand the second"
logger = logging.getLogger("toolkit.tests")


def refuse(*_: object) -> NoReturn:
    raise OSError


class Shy(Exception):  # noqa: N818 - what it is
    """Lets nobody see anything of it."""

    __str__ = __setattr__ = refuse
    __cause__ = __context__ = __traceback__ = __dict__ = property(refuse)
    __class__ = __notes__ = property(refuse)


class Held:
    """Something that a frame keeps alive."""


def raised(error: BaseException) -> weakref.ref[Held]:
    """Raise an error where something is held, and return a reference to that."""
    held = Held()
    with pytest.raises(type(error)) as caught:
        raise error
    assert caught.value is error
    return weakref.ref(held)


def test_kind_of_an_error_is_what_it_is_and_not_what_it_says() -> None:
    """Its class is asked, and none of its properties."""

    class Liar(Exception):  # noqa: N818 - what it is
        __class__ = property(lambda _: ToolError)

    assert isinstance(Liar(), ToolError)
    assert not is_error(Liar(), ToolError)
    assert not is_error(Shy(), ToolError)
    assert is_error(Shy(), (ToolError, Shy))
    assert not is_error(None, Exception)


def test_trace_has_all_that_an_error_came_with_each_once() -> None:
    """Causes, contexts, members of groups and notes, without the margin of groups."""
    first = KeyError("cause")
    first.__context__ = IndexError("context")
    group = ExceptionGroup("group", [ExceptionGroup("inner", [ValueError(SECRET)])])
    group.add_note("a note")
    set_cause(group, first)
    set_cause(first.__context__, group)  # in a circle
    raised(group)
    text = trace_of(group)
    for part in ("KeyError: 'cause'", "IndexError: context", "a note", SECRET):
        assert text.count(part) == 1
    assert "Traceback (most recent call last):\n" in text
    assert "in raised" in text


def test_trace_of_what_cannot_be_read_names_the_class() -> None:
    """Nothing that it does stops anybody from seeing the rest."""
    shy = Shy()
    error = OSError("plain")
    error.__cause__ = shy
    assert "Shy: (its text cannot be read)" in trace_of(error)
    assert "OSError: plain" in trace_of(error)
    set_cause(shy, KeyError("its cause"))
    assert repr(cause_of(shy)) == "KeyError('its cause')"
    assert "KeyError: 'its cause'" in trace_of(shy)


def test_trace_is_bounded_however_much_an_error_came_with() -> None:
    """A group of a million is no reason to fill a log (B47)."""
    group = ExceptionGroup("wide", [OSError(str(one)) for one in range(500)])
    assert trace_of(group).count("OSError") == MAX_SHOWN - 1


def test_notes_that_are_no_list_are_left_out() -> None:
    """An exception's own attributes may be anything."""
    error = OSError("plain")
    error.__notes__ = 5  # type: ignore[assignment]
    assert trace_of(error) == "OSError: plain\n"


def test_frames_are_dropped_of_all_that_an_error_came_with() -> None:
    """A kept error keeps nothing of a user alive, nor does a group's member (B41)."""
    cause, member, shy, context = OSError(), KeyError(), Shy(), IndexError()
    group = ExceptionGroup("group", [member, shy])
    set_cause(group, cause)
    cause.__context__ = context
    refs = [raised(one) for one in (cause, member, shy, context)]
    error = ToolError("No.")
    set_cause(error, group)
    gc.collect()
    assert all(one() is not None for one in refs)
    drop_frames(error)
    del context
    gc.collect()
    assert [one() for one in refs] == [None] * 4
    assert cause_of(error) is group
    assert cause.__context__ is None


def test_log_has_the_exception_where_nobody_has_a_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Handlers that look at `exc_info` find it; one that cannot be written is text."""
    error = OSError("plain")
    log_error(logger, NO_SECRETS, error, "%s of %s failed", "close", "x")
    log_error(logger, NO_SECRETS, Shy(), "%s of %s failed", "close", "y")
    first, second = caplog.records
    assert first.exc_info is not None
    assert first.exc_info[1] is error
    assert first.getMessage() == "close of x failed"
    assert second.exc_info is None
    assert second.getMessage().startswith("close of y failed\nShy: ")


def test_log_of_who_has_secrets_is_text_without_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither in the text nor in what the record holds (B62)."""
    error = ExceptionGroup("group", [OSError(f"within {SECRET}")])
    log_error(logger, Secrets({"key": SECRET}), error, "it failed")
    (record,) = caplog.records
    assert record.exc_info is None
    assert "OSError: within [redacted]\n" in record.getMessage()
    assert "second" not in repr(vars(record))


def test_error_of_a_tool_may_have_a_code_of_its_own() -> None:
    """It is the error's, and not that of all such errors (B11)."""
    assert tool_error("No.", "quota").code == "quota"
    assert tool_error("No.", ToolError.code).code == ToolError.code == "tool_error"
