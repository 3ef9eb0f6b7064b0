"""An agent's run, from its request to its end: the only emitter of agent events.

What tools do within a run is told by the dispatcher; a run passes that on, together
with what the call came to.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
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
from toolkit.loops import release
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
        self._why: AgentError | None = None
        self.started_at = self._told_at = self._progress_at = time.monotonic()
        allowed = request.agent.tool.definition.timeout
        self.seconds = min(rules.timeout, allowed or rules.timeout)
        self._stopped: asyncio.Future[None] | None = None  # made when it begins
        self._settled: asyncio.Future[None] | None = None
        self._heart: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The agent that was started."""
        return str(self.request.agent.name)

    def begin(self) -> asyncio.Future[None]:
        """Tell that it has started; `execute` does it, where nobody did before.

        Returns:
            A future that is done when the run is to be given up.
        """
        self._stopped = stopped = asyncio.get_running_loop().create_future()
        self.started_at = self._told_at = time.monotonic()
        request = self.request
        started = {"agent": self.name, "message_chars": len(request.message)}
        if request.requested_agent is not None:
            started["requested_agent"] = request.requested_agent
        self.tell(AgentEventType.AGENT_STARTED, started)
        self._beat()
        return stopped

    async def execute(self) -> None:
        """Run the agent to its end, and tell of it.

        Raises:
            asyncio.CancelledError: The caller was cancelled; the run has ended.
        """
        stopped = self._stopped or self.begin()
        work = self.answer(self.request.agent, self.request.message)
        task = asyncio.get_running_loop().create_task(work)
        ends: set[asyncio.Future[Any]] = {task, stopped}
        try:
            await asyncio.wait(
                ends,
                timeout=self.seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            self.cancel("whoever waited for it gave up")
            raise
        finally:
            await self._end(task)

    def cancel(self, why: str) -> None:
        """Give the run up; it ends at a next turn of its loop, with an error."""
        if self._why is None:
            self._why = RunCancelledError(self.name, why)
        if self._stopped is not None:
            release(self._stopped)

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
        self.check_open(agent)
        await self.host.room()
        ended: list[ToolEvent] = []

        def hear(event: ToolEvent) -> None:
            if event.type is EventType.TOOL_COMPLETED:
                ended.append(event)  # told below, with what it came to
            else:
                self._hear(agent, event)

        result: ToolResult | None = None
        try:
            result = await self.host.system.execute(tool, arguments, on_event=hear)
        finally:
            for event in ended:
                self._told_completed(event, result)
        return result

    def _hear(self, agent: str, event: ToolEvent) -> None:
        if event.type is EventType.TOOL_EXECUTING:
            self.tool_calls += 1
            self._calls[event.call_id] = (event.tool, time.monotonic())
            shown = None if event.arguments is None else dict(event.arguments)
            data = {"call_id": event.call_id, "tool": event.tool, "arguments": shown}
            self.tell(AgentEventType.TOOL_EXECUTING, data)
        elif event.type is EventType.TOOL_APPROVAL_REQUIRED:
            asked: dict[str, Any] = {"call_id": event.call_id, "tool": event.tool}
            asked["arguments"] = dict(event.arguments or {})
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
            is_long = len(result.json_bytes) > MAX_SHOWN_BYTES
            data["truncated"] = result.truncated or is_long
            shown = result.json_bytes
            data["result"] = from_json(
                cut(shown, MAX_SHOWN_BYTES) if is_long else shown
            )
        elif result is not None and result.error is not None:
            data["error"] = str(result.error)
        self.tell(AgentEventType.TOOL_COMPLETED, data)
        if not self._calls and self._settled is not None:
            release(self._settled)

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
        clock = asyncio.timeout(allowed)
        try:
            async with clock:
                said = await self._ask(listed, message, asked_by)
        except KeyboardInterrupt:
            raise
        except (AgentError, InvalidArgumentsError) as error:
            if type(error) in _OURS:
                raise
            raise AgentError(text_of(error)) from None  # its class may do anything
        except BaseException as error:
            if allowed is not None and clock.expired():
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

    async def _end(self, task: asyncio.Task[AgentAnswer]) -> None:
        """Stop what still runs, and tell the end: once, and last."""
        try:
            if not task.done():
                self._why = self._why or AgentTimeoutError(self.name, self.seconds)
                await self._stop(task)
            elif self._calls:
                await self._stop_calls()
        finally:
            if self._heart is not None:
                self._heart.cancel()
            self._tell_end(task)
            self.is_ended = True

    async def _stop(self, task: asyncio.Task[AgentAnswer]) -> None:
        self._give_up_calls()
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        if not task.done():
            task.add_done_callback(_forget_outcome)
            text = "agent %r runs on though run %s was given up"
            logger.error(text, self.name, self.request.run_id)
        elif self._calls:
            await self._stop_calls()

    async def _stop_calls(self) -> None:
        """Give up calls that the agent did not wait for, and wait for their ends."""
        self._settled = asyncio.get_running_loop().create_future()
        self._give_up_calls()
        await asyncio.wait({self._settled}, timeout=STOP_SECONDS)

    def _give_up_calls(self) -> None:
        for call_id in tuple(self._calls):
            self.host.system.dispatcher.cancel(call_id, "the agent's run has ended")

    def _tell_end(self, task: asyncio.Task[AgentAnswer]) -> None:
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
        outcome = self._outcome(task)
        if isinstance(outcome, AgentAnswer):
            self.tell(
                AgentEventType.AGENT_COMPLETED,
                {
                    "agent": self.name,
                    "result": outcome.text,
                    "details": outcome.details,
                    "seconds": now - self.started_at,
                    "tool_calls": self.tool_calls,
                },
            )
        else:
            data = {"code": outcome.code, "message": str(outcome), "fatal": False}
            self.tell(AgentEventType.ERROR, data)

    def _outcome(self, task: asyncio.Task[AgentAnswer]) -> AgentAnswer | ToolkitError:
        if self._why is not None:
            if task.done():
                _forget_outcome(task)
            return self._why
        if task.cancelled():
            return AgentFailedError(self.name, "CancelledError", "it cancelled itself")
        error = task.exception()
        if error is None:
            return task.result()
        if is_error(error, ToolkitError):
            return error
        return self._hidden(self.name, error)

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


def _forget_outcome(task: asyncio.Task[Any]) -> None:
    """Look at what a task came to, so that nobody is told that it was lost."""
    if not task.cancelled():
        task.exception()


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
