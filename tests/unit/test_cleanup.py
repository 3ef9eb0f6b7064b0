"""Ending an instance's life: every one is ended, whatever the others do."""

import asyncio
import logging

import pytest

from toolkit import cleanup
from toolkit.cleanup import close_later, close_now
from toolkit.context import Secrets


class Closes:
    """Cleans up with `close`, or fails to."""

    def __init__(self, log: list[str], error: BaseException | None = None) -> None:
        self.log = log
        self.error = error

    def close(self) -> None:
        self.log.append("close")
        if self.error is not None:
            raise self.error


class ClosesLater(Closes):
    """Cleans up with `aclose` only."""

    close = None  # type: ignore[assignment]  # there is none

    async def aclose(self) -> None:
        self.log.append("aclose")
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error", [ValueError(), SystemExit(1), asyncio.CancelledError(), GeneratorExit()]
)
async def test_what_a_clean_up_raises_stops_no_other(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next instance is cleaned up (B46)."""
    log: list[str] = []
    assert close_now(Closes(log, error))
    assert close_now(Closes(log))
    assert not close_now(ClosesLater(log))
    await close_later([ClosesLater(log, error), ClosesLater(log)])
    assert log == ["close", "close", "aclose", "aclose"]
    failed = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(failed) == 2


async def test_what_a_clean_up_tells_of_a_secret_is_blanked_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An instance may have kept it, and quote it when it ends (B62)."""
    secrets = Secrets({"key": "the canary"})
    error = ExceptionGroup("out", [OSError("cannot log out with the canary")])
    assert close_now(Closes([], error), secrets)
    await close_later([ClosesLater([], error)], secrets)
    assert len(caplog.records) == 2
    assert "canary" not in caplog.text + repr([vars(one) for one in caplog.records])


async def test_clean_up_that_never_ends_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One instance has a bounded time; the rest get theirs."""
    monkeypatch.setattr(cleanup, "MAX_SECONDS", 0.01)
    log: list[str] = []

    class Hangs(ClosesLater):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    await asyncio.wait_for(close_later([Hangs(log), ClosesLater(log)]), 5)
    assert log == ["aclose"]
    assert "aclose of Hangs was given up" in caplog.text


async def test_cancelling_whoever_closes_cancels_the_closing() -> None:
    """The caller's own cancellation is not swallowed (B26)."""
    log: list[str] = []

    class Waits(ClosesLater):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    task = asyncio.ensure_future(close_later([Waits(log), ClosesLater(log)]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == []
