"""What a call came to (`ToolResult`), and a call that has not ended (`ToolCall`)."""

from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from toolkit.errors import ToolkitError
from toolkit.tracebacks import drop_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call that has not ended, as `UnifiedToolDispatcher.running` shows it.

    Immutable: what was true when it was asked for.

    Attributes:
        call_id: The call; what `cancel`, `approve` and `deny` take.
        tool: The name the caller used.
        state: ``waiting`` (for its turn), ``approval`` (for a person), ``running``.
        seconds: How long ago it came.
        deadline: When it is answered, in `time.monotonic` seconds; None: never. While
            it waits for a person: when the question expires.
    """

    call_id: str
    tool: str
    state: str
    seconds: float
    deadline: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The outcome of one call: a value, or an error. Immutable.

    Attributes:
        ok: Whether the tool finished and its value could be written as JSON.
        value: What the tool returned; None after an error. As JSON values where the
            tool ran in another process.
        error: What went wrong, with ``code`` and ``message``; None when `ok`.
        call_id: The call; the same as on its events.
        tool: The name the caller used.
        seconds: How long it took, all steps together.
        truncated: Whether the JSON was cut to the operator's size limit.
    """

    ok: bool
    value: Any = None
    error: ToolkitError | None = None
    call_id: str
    tool: str
    seconds: float
    truncated: bool = False
    json_bytes: bytes = field(default=b"null", repr=False)

    def value_json(self) -> str:
        """Return the value as JSON text; ``null`` after an error.

        A truncated result is a JSON string that holds the beginning of the full text.
        """
        return self.json_bytes.decode()

    def unwrap(self) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Return the value.

        Raises:
            ToolkitError: The error of this call, when there is one.
        """
        if self.error is not None:
            # Without the frames of an earlier unwrap: not longer each time.
            raise self.error.with_traceback(None)
        return self.value


class OpenResult:
    """A `ToolResult` that is being made: assigning is five times as fast as its init.

    It has the same slots, so that it becomes one by its class alone.
    """

    __slots__ = ToolResult.__slots__


def success(
    value: Any,  # noqa: ANN401 - whatever the tool returned
    data: bytes,
    limit: int,
    call_id: str,
    tool: str,
    seconds: float,
) -> ToolResult:
    """Return the result of a call that ended well.

    Args:
        value: What the tool returned.
        data: The same as JSON.
        limit: Bytes of JSON beyond which it is cut.
        call_id: The call.
        tool: The name the caller used.
        seconds: How long it took.
    """
    result: Any = OpenResult()
    result.ok = True
    result.value = value
    result.error = None
    result.call_id = call_id
    result.tool = tool
    result.seconds = seconds
    result.truncated = len(data) > limit
    result.json_bytes = cut(data, limit) if result.truncated else data
    result.__class__ = ToolResult
    sealed: ToolResult = result
    return sealed


def failure(error: ToolkitError, tool: str, call_id: str, seconds: float) -> ToolResult:
    """Return the result of a call that went wrong; its error keeps nothing alive."""
    drop_frames(error)
    return ToolResult(
        ok=False, error=error, call_id=call_id, tool=tool, seconds=seconds
    )


def cut(data: bytes, limit: int) -> bytes:
    """Return a JSON string of at most about `limit` bytes of the text."""
    return to_json(data[:limit].decode(errors="ignore"))
