"""An agent's run, from its request to its end: the only emitter of agent events.

What tools do within a run is told by the dispatcher; a run passes that on, together
with what the call came to.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Final

from pydantic_core import from_json

from toolkit import errors
from toolkit.agent import AgentAnswer, Reasoner
from toolkit.catalog import ListedAgent
from toolkit.cleanup import close_later, close_now
from toolkit.context import NO_SECRETS
from toolkit.errors import (
    AgentError,
    AgentFailedError,
    AgentTimeoutError,
    InvalidArgumentsError,
    RunCancelledError,
    RunEndedError,
    ToolCancelledError,
    ToolkitError,
    describe_error,
    kind_of_error,
    text_of,
)
from toolkit.events import EventType, ToolEvent
from toolkit.live_run import LiveRun
from toolkit.results import ToolResult, cut
from toolkit.run_events import (
    AgentEvent,
    AgentEventType,
    RunHost,
    RunRequest,
    RunRules,
)
from toolkit.signature import Arguments
from toolkit.tracebacks import is_error, log_error

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 1.0
"""What an agent that is given up has to end by itself, before its run does so."""

MAX_SHOWN_BYTES: Final = 65_536
"""Bytes of a tool's result that go on the wire; the agent gets all of it."""

_OURS: Final = frozenset(
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, ToolkitError)
)
"""Errors that do nothing odd when they are looked at."""

PROGRESS_SECONDS: Final = 0.25
"""How far apart what one run's tools tell of their progress is passed on."""


class Run:
    """One run. Owned by who started it; on one event loop.

    It is told as ``agent_started`` first and, exactly once and last, as
    ``agent_completed`` or ``error``, whatever the agent does. Each ``tool_executing``
    has its ``tool_completed`` in between.

    Attributes:
        started_at: When it began, in `time.monotonic` seconds.

    Args:
        request: What was asked.
        host: Who started it.
        rules: What the operator decided.
        reason: Lets a language model answer; None where none is configured.
    """

    def __init__(
        self,
        request: RunRequest,
        host: RunHost,
        rules: RunRules,
        reason: Reasoner | None = None,
    ) -> None:
        """Take over the parts; nothing runs yet."""
        self.request = request
        self.host = host
        self.reason = reason
        self.user = host.system.user_context.child(run_id=request.run_id)
        self.tool_calls = 0
        self.is_ended = False
        self._rules = rules
        self._steps = 0
        self._calls: dict[str, tuple[str, float]] = {}
        self._waiting: set[asyncio.Task[Any] | None] = set()  # whose calls run not yet
        self._why: AgentError | None = None
        self.started_at = self._told_at = self._progress_at = time.monotonic()
        allowed = request.agent.tool.definition.timeout
        self.seconds = min(rules.timeout, allowed or rules.timeout)
        self._task: asyncio.Task[None] | None = None  # made when it starts
        self._ended: asyncio.Future[None] | None = None
        self._outcome: AgentAnswer | ToolkitError | None = None  # once that is over
        self._heart: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The agent that was started."""
        return str(self.request.agent.name)

    def start(self) -> asyncio.Future[None]:
        """Let the agent begin, in a task of its own, and tell so.

        Returns:
            A future that is done once the run has ended; the same each time.
        """
        if self._ended is not None:
            return self._ended
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self.started_at = self._told_at = time.monotonic()
        # Before its start is told: who sends that can send the agent's first words too.
        self._task = loop.create_task(self._work())
        self._task.add_done_callback(self._work_ended)
        request = self.request
        started = {"agent": self.name, "message_chars": len(request.message)}
        if request.requested_agent is not None:
            started["requested_agent"] = request.requested_agent
        self.tell(AgentEventType.AGENT_STARTED, started)
        self._beat()
        self._limit = loop.call_later(self.seconds, self._time_out)
        return self._ended

    async def execute(self) -> None:
        """Run the agent to its end, and tell of it.

        Raises:
            asyncio.CancelledError: The caller was cancelled; the run has ended.
        """
        ended = self.start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self.cancel("whoever waited for it gave up")
            try:
                await asyncio.wait({ended})
            finally:
                self._finish()
            raise

    def cancel(self, why: str) -> None:
        """Give the run up; it ends at a next turn of its loop, with an error."""
        self._give_up(RunCancelledError(self.name, why))

    # --- telling ----------------------------------------------------------------------

    def tell(self, kind: AgentEventType, data: Mapping[str, Any]) -> None:
        """Tell an event, unless the run has ended."""
        if not self.is_ended:
            self._told_at = time.monotonic()
            request = self.request
            self.host.emit(AgentEvent(kind, request.run_id, request.request_id, data))

    def think(self, agent: str, thought: str, **extra: Any) -> None:  # noqa: ANN401 - JSON values
        """Tell what an agent thinks or does."""
        self._steps += 1
        data = {**extra, "agent": agent, "thought": thought, "step": self._steps}
        self.tell(AgentEventType.AGENT_THINKING, data)

    def _beat(self) -> None:
        """Say that the run goes on, if nothing else was said for a while."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        due = self._told_at + self._rules.heartbeat
        if due <= now:
            waiting = sorted(tool for tool, _ in self._calls.values())
            thought = (
                f"Waiting for {', '.join(waiting)}" if waiting else "Still working"
            )
            seconds = round(now - self.started_at, 3)
            self.think(self.name, thought, waiting_for=waiting, seconds=seconds)
            due = now + self._rules.heartbeat
        self._heart = loop.call_later(due - now, self._beat)

    # --- tools ------------------------------------------------------------------------

    async def call(self, agent: str, tool: str, arguments: Arguments) -> ToolResult:
        """Call a tool, and tell what the dispatcher tells of it.

        Args:
            agent: Who calls.
            tool: The tool's name.
            arguments: JSON, or a mapping.

        Raises:
            RunEndedError: The run has ended.
            asyncio.CancelledError: The run was given up.
        """
        await self.host.room()
        self.check_open(agent)
        ended: list[ToolEvent] = []
        caller = asyncio.current_task()

        def hear(event: ToolEvent) -> None:
            if event.type is EventType.TOOL_COMPLETED:
                ended.append(event)  # told below, with what it came to
            else:
                if event.type is EventType.TOOL_EXECUTING:
                    self._waiting.discard(caller)
                self._hear(agent, event)

        result: ToolResult | None = None
        self._waiting.add(caller)
        try:
            result = await self.host.system.execute(tool, arguments, on_event=hear)
        finally:
            self._waiting.discard(caller)
            for event in ended:
                self._told_completed(event, result)
        return result

    def _hear(self, agent: str, event: ToolEvent) -> None:
        if event.type is EventType.TOOL_EXECUTING:
            self.tool_calls += 1
            self._calls[event.call_id] = (event.tool, time.monotonic())
            data: dict[str, Any] = {"call_id": event.call_id, "tool": event.tool}
            data["arguments"] = _arguments_of(event)
            self.tell(AgentEventType.TOOL_EXECUTING, data)
        elif event.type is EventType.TOOL_APPROVAL_REQUIRED:
            asked: dict[str, Any] = {"call_id": event.call_id, "tool": event.tool}
            asked["arguments"] = _arguments_of(event) or {}
            thought = f"Waiting until somebody approves {event.tool}"
            self.think(agent, thought, approval=asked)
        elif event.type is EventType.TOOL_APPROVAL_SETTLED:
            said = {"call_id": event.call_id, "tool": event.tool, "approved": event.ok}
            word = "approved" if event.ok else "not approved"
            self.think(agent, f"{event.tool} was {word}", approval_settled=said)
        elif event.type is EventType.TOOL_PROGRESS:
            self._pass_on(agent, event)

    def _pass_on(self, agent: str, event: ToolEvent) -> None:
        """Tell a tool's progress, but not more often than anybody can read it."""
        now = time.monotonic()
        if now - self._progress_at < PROGRESS_SECONDS or not isinstance(
            event.data, dict
        ):
            return
        self._progress_at = now
        thought = event.data.get("message") or f"{event.tool} goes on"
        told: dict[str, Any] = {"call_id": event.call_id, "tool": event.tool}
        told["fraction"] = event.data.get("fraction")
        self.think(agent, thought, progress=told)

    def _told_completed(self, event: ToolEvent, result: ToolResult | None) -> None:
        if self._calls.pop(event.call_id, None) is None:
            return  # the run has told already that it gave the call up
        is_ok = result is not None and result.ok
        data: dict[str, Any] = {
            "call_id": event.call_id,
            "tool": event.tool,
            "ok": event.ok,
            "seconds": event.seconds,
            "truncated": event.truncated,
            "result": None,
            "error_code": event.error_code,
            "error": None,
        }
        if result is not None and is_ok:
            data["result"], is_cut = _shown(result.json_bytes)
            data["truncated"] = result.truncated or is_cut
        elif result is not None and result.error is not None:
            data["error"] = str(result.error)
        self.tell(AgentEventType.TOOL_COMPLETED, data)
        if self._outcome is not None and not self._calls:
            self._finish()

    # --- agents -----------------------------------------------------------------------

    async def answer(
        self, listed: ListedAgent, message: str, asked_by: tuple[str, ...] = ()
    ) -> AgentAnswer:
        """Let one agent answer; what it raises is made one of our errors.

        Args:
            listed: The agent.
            message: What it is to answer.
            asked_by: The agents that led to it, the first one first.

        Raises:
            AgentError: It said why it does not answer.
            AgentFailedError: It raised something else.
            AgentTimeoutError: It was asked by another, and took longer than it may.
            InvalidArgumentsError: The message does not fit what it takes.
            KeyboardInterrupt: The user interrupts.
        """
        name = str(listed.name)
        allowed = listed.tool.definition.timeout if asked_by else None
        clock = None if allowed is None else asyncio.timeout(allowed)
        try:
            async with clock or nullcontext():
                said = await self._ask(listed, message, asked_by)
        except KeyboardInterrupt:
            raise
        except (AgentError, InvalidArgumentsError) as error:
            if type(error) in _OURS:
                raise
            raise AgentError(text_of(error)) from None  # its class may do anything
        except BaseException as error:
            if clock is not None and allowed is not None and clock.expired():
                raise AgentTimeoutError(name, allowed) from None
            if is_error(error, asyncio.CancelledError) and self._why is not None:
                raise
            raise self._hidden(name, error) from None
        return _answer_of(name, said)

    async def _ask(
        self, listed: ListedAgent, message: str, asked_by: tuple[str, ...]
    ) -> object:
        """Make the agent for this run, run it, and end its life."""
        tool = listed.tool
        if not tool.is_loaded:
            await asyncio.wrap_future(tool.begin_loading())
        agent = tool.instantiate(self.user)
        try:
            signature = tool.signature
            given = signature.validate(str(listed.name), {"message": message})
            mine = LiveRun(self, listed, message, asked_by)
            given |= dict.fromkeys(signature.takes_run, mine)
            given |= dict.fromkeys(signature.takes_user, self.user)
            leading = [given.pop(one, other) for one, other in signature.positional]
            return await getattr(agent, tool.method)(*leading, **given)
        finally:
            if not close_now(agent):
                await close_later([agent])

    def _hidden(self, name: str, error: BaseException) -> AgentFailedError:
        """Log what an agent raised; its user learns the kind, and not the text."""
        text = "agent %r failed in run %s"
        log_error(logger, NO_SECRETS, error, text, name, self.request.run_id)
        detail = describe_error(error) if self._rules.show_errors else ""
        return AgentFailedError(name, kind_of_error(error), detail)

    # --- the end ----------------------------------------------------------------------

    async def _work(self) -> None:
        """Let the agent answer; where nothing hinders that, the run ends with it."""
        try:
            answer = await self.answer(self.request.agent, self.request.message)
        except ToolkitError as error:
            self._over(error)
        else:
            self._over(answer)

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        """End the run where the work did not come to its own end."""
        error = None if task.cancelled() else task.exception()
        if self._outcome is None and error is None:
            text = "it cancelled itself"
            self._over(AgentFailedError(self.name, "CancelledError", text))
        elif self._outcome is None and error is not None:
            self._over(self._hidden(self.name, error))

    def _give_up(self, why: AgentError) -> None:
        """Stop the agent; whatever it comes to, this is why the run ends."""
        if self._why is None:
            self._why = why
            if self._task is not None and self._outcome is None:
                self._give_up_calls()
                self._task.cancel()
                self._let_end(self._leave)

    def _time_out(self) -> None:
        self._give_up(AgentTimeoutError(self.name, self.seconds))

    def _leave(self) -> None:
        """Go on without the agent."""
        text = "agent %r runs on though run %s was given up"
        logger.error(text, self.name, self.request.run_id)
        self._finish()

    def _over(self, outcome: AgentAnswer | ToolkitError) -> None:
        """Take what the agent came to; end calls first that it did not wait for."""
        if self.is_ended:
            return
        self._outcome = outcome
        self._give_up_calls()
        if self._calls:
            self._let_end(self._finish)
        else:
            self._finish()

    def _let_end(self, then: Callable[[], None]) -> None:
        """Give what was given up some time to end by itself."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = asyncio.get_running_loop().call_later(STOP_SECONDS, then)

    def _give_up_calls(self) -> None:
        for call_id in tuple(self._calls):
            self.host.system.dispatcher.cancel(call_id, "the agent's run has ended")
        for caller in self._waiting - {self._task}:
            if caller is not None:
                caller.cancel()

    def _finish(self) -> None:
        """Tell the end: once, and last."""
        if self.is_ended:
            return
        for timer in (self._heart, self._limit):
            if timer is not None:
                timer.cancel()
        failure: Exception | None = None
        try:
            self._tell_calls()
            self._tell_end(self._why or self._outcome)
        except Exception as error:  # noqa: BLE001 - who waits for the end gets it
            failure = error
        self.is_ended = True
        if self._ended is not None and failure is None:
            self._ended.set_result(None)
        elif self._ended is not None and failure is not None:
            self._ended.set_exception(failure)

    def _tell_calls(self) -> None:
        """Tell the end of calls that have not told it themselves."""
        now = time.monotonic()
        for call_id, (tool, since) in self._calls.items():
            data = {
                "call_id": call_id,
                "tool": tool,
                "ok": False,
                "seconds": now - since,
            }
            data |= {"truncated": False, "result": None, "error": "it was given up"}
            data["error_code"] = ToolCancelledError.code
            self.tell(AgentEventType.TOOL_COMPLETED, data)
        self._calls.clear()

    def _tell_end(self, outcome: AgentAnswer | ToolkitError | None) -> None:
        data: dict[str, Any]
        if isinstance(outcome, AgentAnswer):
            completed = {
                "agent": self.name,
                "result": outcome.text,
                "details": outcome.details,
                "seconds": time.monotonic() - self.started_at,
                "tool_calls": self.tool_calls,
            }
            self.tell(AgentEventType.AGENT_COMPLETED, completed)
        elif outcome is not None:
            data = {"code": outcome.code, "message": str(outcome), "fatal": False}
            self.tell(AgentEventType.ERROR, data)

    # --- for the agent ----------------------------------------------------------------

    def time_left(self) -> float:
        """Return the seconds until the run is given up, never below 0.0."""
        return max(0.0, self.started_at + self.seconds - time.monotonic())

    def check_open(self, agent: str) -> None:
        """Refuse whatever comes after the end.

        Raises:
            RunEndedError: The run has ended.
        """
        if self.is_ended:
            raise RunEndedError(agent)


def _answer_of(agent: str, said: object) -> AgentAnswer:
    """Return what an agent returned as an answer.

    Raises:
        AgentFailedError: It is none.
    """
    if type(said) is str:
        return AgentAnswer(said)
    if type(said) is AgentAnswer and type(said.text) is str:
        return said
    kind = type(said).__name__
    detail = f"it returned {kind}; let `run` return a str or an AgentAnswer"
    raise AgentFailedError(agent, "no answer", detail)


def _arguments_of(event: ToolEvent) -> dict[str, Any] | None:
    """Return a call's arguments; None where they cannot be shown."""
    try:
        return None if event.arguments is None else dict(event.arguments)
    except ValueError:  # nested too deep to be read again
        return None


def _shown(data: bytes) -> tuple[Any, bool]:
    """Return a result as users see it, and whether that is but the head of its text."""
    if len(data) <= MAX_SHOWN_BYTES:
        with suppress(ValueError):  # nested too deep to be read again
            return from_json(data), False
    return from_json(cut(data, MAX_SHOWN_BYTES)), True
