"""What crosses between a call and the process that runs it, both ways, as JSON."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any, Final, Literal, cast

from pydantic_core import from_json, to_json

from toolkit.catalog import CatalogTool
from toolkit.context import NO_SECRETS, Secrets, UserContext
from toolkit.contract import identity_of
from toolkit.deferred import DeferredTool
from toolkit.errors import (
    InvalidArgumentsError,
    MissingSecretError,
    ToolConstructionError,
    ToolExecutionError,
    ToolResultError,
    ToolTimeoutError,
    ToolUnavailableError,
)
from toolkit.executors import Job
from toolkit.executors.deadlines import Deadlines
from toolkit.executors.frames import pack
from toolkit.tracebacks import tool_error

logger = logging.getLogger(__name__)

NO_IDENTITY: Final = (
    "it has no name that another process can import it by; define it at the top level "
    "of a module, or run it with another executor"
)

_IMPORTABLE: Final = re.compile(r"(?!__main__:)[\w.]+:[\w.]+\Z")

_USER_FIELDS: Final = tuple(one.name for one in fields(UserContext))

Key = tuple[str, str]
"""Whom a process serves: what answers for a tool, and its version."""
Place = tuple[str, str]
"""What a process imports: a tool's identity, and the method that a call runs."""
Declared = tuple[str, frozenset[str]]
"""What a tool's code declares there: its name and the scopes it requires."""


@dataclass(slots=True, eq=False)
class Task:
    """One call that waits or runs, or a tool that is to be made ready.

    Lives until nothing of it runs any more.

    Attributes:
        tool: What is called.
        name: The name the caller used.
        user_id: In whose turn it waits.
        job: The call; None where a tool is to be made ready.
        future: What the caller waits for.
        place: What its process has to import.
        key: Which processes may run it.
        deadline: When it is ended, in `time.monotonic` seconds; None: never.
        deadlines: Who watches that.
        give_up: Ends it, and tells its caller why.
        timer: Theirs.
        began: When it came, likewise.
        failure: What its caller is told once its process is gone, if that is known.
        is_over: Whether its caller has been answered.
        is_second_try: Whether a fresh process is to say what its code declares.
        said: Bytes of what it has said before its result.
    """

    tool: CatalogTool
    name: str
    user_id: str
    job: Job | None
    future: asyncio.Future[Any]
    place: Place
    key: Key
    deadline: float | None
    deadlines: Deadlines
    give_up: Callable[["Task", Exception], None]
    timer: asyncio.TimerHandle | None = None
    began: float = field(default_factory=time.monotonic)
    failure: Exception | None = None
    is_over: bool = False
    is_second_try: bool = False
    said: int = 0

    @property
    def secrets(self) -> Secrets:
        """What must be in no text."""
        given = NO_SECRETS if self.job is None else self.job.secrets
        return given if isinstance(given, Secrets) else Secrets(given)

    def unavailable(self, detail: str) -> ToolUnavailableError:
        """Return the error for a tool that cannot be had in a worker."""
        return ToolUnavailableError(self.name, self.tool.origin, detail)

    def expire(self) -> None:
        """End it at its deadline; whoever waits has given it up by then, if awake."""
        seconds = max(0.0, (self.deadline or 0.0) - self.began)
        self.give_up(self, ToolTimeoutError(self.name, round(seconds, 3)))

    def finish(self, value: object, error: BaseException | None = None) -> None:
        """Tell that nothing of it runs any more, then answer; the first time only."""
        if self.is_over:
            return
        self.is_over = True
        self.deadlines.drop(self)
        if self.job is not None and self.job.on_end is not None:
            self.job.on_end()
        if self.future.done() or self.future.get_loop().is_closed():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


def importable_name(tool: CatalogTool) -> str:
    """Return where another process can import a tool from; empty when it cannot."""
    if isinstance(tool, DeferredTool):
        found = tool.identity
    else:
        found = identity_of(tool.target)
        reference = tool.origin.reference
        if not found and _stands_at(reference, tool.target):
            found = reference
    return found if _IMPORTABLE.match(found) else ""


def _stands_at(reference: str, target: object) -> bool:
    """Tell whether an instance is what a module has under a name."""
    module, _, name = reference.partition(":")
    space = getattr(sys.modules.get(module), "__dict__", {})
    return space.get(name) is target


def drift(tool: CatalogTool, declared: Declared) -> str:
    """Say in which guard a tool's code differs from its listing; empty when in none."""
    listed = tool.definition
    name, scopes = declared
    differs = ["name"] if name != tool.name else []
    differs += ["required_scopes"] if scopes != listed.required_scopes else []
    if not differs:
        return ""
    return (
        f"its code declares another {' and '.join(differs)} than it is listed with; "
        "refresh the catalog"
    )


def load_frame(task: Task) -> bytes:
    """Write what lets a process import a task's tool."""
    head = {
        "is": "load",
        "identity": task.place[0],
        "method": task.place[1],
        "origin": astuple(task.tool.origin),
    }
    return pack(head)


def call_frame(task: Task, job: Job) -> bytes:
    """Write a call; the deadline crosses as what is left of it."""
    given = job.arguments
    if isinstance(given, str):
        body = given.encode()
    elif isinstance(given, Mapping):
        body = to_json(given, inf_nan_mode="constants")
    else:
        body = bytes(given)
    head = {
        "is": "call",
        "identity": task.place[0],
        "method": task.place[1],
        "name": job.name,
        "call_id": job.call_id,
        "left": None if job.deadline is None else job.deadline - time.monotonic(),
        "user": _user(job.user),
        "secrets": None if job.secrets is None else dict(job.secrets),
        "emit": job.emit is not None,
        "start": job.on_start is not None,
    }
    return pack(head, body)


def _user(user: UserContext) -> dict[str, Any]:
    crossing = {name: getattr(user, name) for name in _USER_FIELDS}
    if user.metadata:
        crossing["metadata"] = _metadata(user.metadata)
    else:
        crossing["metadata"] = {}
    return crossing


def _metadata(metadata: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON values
    """Return what JSON can express of it; null stands for what it cannot."""
    try:
        return from_json(to_json(metadata, fallback=_plain, inf_nan_mode="null"))
    except (ValueError, TypeError, RecursionError):
        return {}


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else None


def tell(task: Task, head: Mapping[str, Any], body: bytes) -> None:
    """Pass on what comes while a call runs; who listens never disturbs it."""
    job, kind = task.job, head["is"]
    if job is None:
        return
    try:
        if kind == "start" and job.on_start is not None:
            job.on_start(body, tuple(map(frozenset, head["synonyms"])))
        elif kind != "start" and job.emit is not None:
            said = from_json(body, cache_strings="keys")  # there may be secrets in it
            job.emit(cast("Literal['part', 'progress']", kind), said)
    except Exception:
        logger.exception("telling of call %s failed", job.call_id)


def error_of(task: Task, head: Mapping[str, Any]) -> Exception:
    """Return the error that a worker tells of, as it would be in this process."""
    kind, scrub = head["kind"], task.secrets.scrub
    if kind == "arguments":
        faults = [(str(path), str(why)) for path, why in head["faults"]]
        return InvalidArgumentsError(task.name, faults)
    if kind == "told":
        return tool_error(scrub(str(head["text"])), scrub(str(head["code"])))
    if kind == "secret":
        return MissingSecretError(scrub(str(head["secret"])))
    log_trace(task, head)
    if kind == "construction":
        detail = scrub(str(head["detail"]))
        return ToolConstructionError(task.tool.name, task.tool.origin, detail)
    if kind == "result":
        return ToolResultError(task.name, scrub(str(head["detail"])))
    call_id = "" if task.job is None else task.job.call_id
    return ToolExecutionError(task.name, scrub(str(head["type"])), call_id)


def log_trace(task: Task, head: Mapping[str, Any]) -> None:
    """Log what a tool raised; its caller learns the kind only."""
    call_id = "" if task.job is None else task.job.call_id
    trace = task.secrets.scrub(str(head["trace"]))
    logger.error("tool %r failed in call %s\n%s", task.name, call_id, trace)


def log_text(task: Task | None, head: Mapping[str, Any]) -> None:
    """Log what a worker logs; without a call there is no secret in it."""
    text = str(head["text"])
    if task is not None:
        text = task.secrets.scrub(text)
    logger.log(int(head["level"]), "from a worker: %s", text)
