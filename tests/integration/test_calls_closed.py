"""Calls whose system is closed at the last moment, and callers who ask for too much."""

import asyncio

import pytest

from toolkit import Settings, tool
from toolkit.errors import (
    InvalidArgumentsError,
    RegistryClosedError,
    ToolCancelledError,
)
from toolkit.system import UserToolSystem
from toolkit.testing import RecordingSink, tool_system


@pytest.mark.parametrize("waits", [False, True])
async def test_call_whose_system_a_sink_closes_never_starts(waits: bool) -> None:  # noqa: FBT001 - a case
    """Answer it, with both its events, and run nothing of a closed tool (B26)."""
    began: list[bool] = []
    armed: list[UserToolSystem] = []

    @tool
    async def begins() -> None:
        """Begin."""
        began.append(True)
        if waits and armed:
            await asyncio.Event().wait()

    events = RecordingSink()

    def closes(_event: object) -> None:
        for system in armed:
            system.close()

    limits = Settings(allow=frozenset(), default_timeout=0.05)
    with tool_system(begins, sinks=[events, closes], settings=limits) as system:
        await system.execute("begins")
        armed.append(system)
        began.clear()
        result = await system.execute("begins")
    assert type(result.error) is RegistryClosedError
    assert began == []
    assert [event.type.value for event in events.events[-2:]] == [
        "tool_executing",
        "tool_completed",
    ]


async def test_call_that_closes_its_own_system_at_first_is_given_up() -> None:
    """Close, then wait: nobody could see it yet, and still it ends (B26)."""
    armed: list[UserToolSystem] = []

    @tool
    async def closes() -> None:
        """Close who is there."""
        for system in armed:
            system.close()
            await asyncio.Event().wait()

    with tool_system(closes) as system:
        await system.execute("closes")
        armed.append(system)
        result = await asyncio.wait_for(system.execute("closes"), 5)
    assert type(result.error) is ToolCancelledError


async def test_sink_that_raises_a_cancellation_disturbs_no_call() -> None:
    """It is the sink's own: who calls was not cancelled, and has the result."""

    def reads_what_was_cancelled(_event: object) -> None:
        raise asyncio.CancelledError

    @tool
    async def answers() -> int:
        """Answer."""
        return 1

    with tool_system(answers, sinks=[reads_what_was_cancelled]) as system:
        assert (await system.execute("answers")).value == 1


async def test_timeout_beyond_all_numbers_is_refused() -> None:
    """Raise nothing for an int that is larger than any float."""

    @tool
    async def answers() -> int:
        """Answer."""
        return 1

    with tool_system(answers) as system:
        result = await system.execute("answers", timeout=10**400)
    assert type(result.error) is InvalidArgumentsError
