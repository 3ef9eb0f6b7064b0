"""Tools in processes of their own: real packages, real processes, real ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.distributions import Site, importable
from tests.environments import ROOT
from tests.sample_tools import until
from toolkit import UserContext
from toolkit.compiler import compile_tool
from toolkit.context import Secrets
from toolkit.deferred import DeferredTool
from toolkit.errors import (
    InvalidArgumentsError,
    MissingSecretError,
    ToolCancelledError,
    ToolConstructionError,
    ToolError,
    ToolExecutionError,
    ToolResultError,
    ToolTimeoutError,
    ToolUnavailableError,
    ToolWorkerError,
)
from toolkit.executors import Job, Written
from toolkit.executors.frames import MAX_BODY_BYTES, FrameReader, pack
from toolkit.executors.processes import ProcessExecutor
from toolkit.naming import tool_name
from toolkit.origin import Origin
from toolkit.tools import ToolDefinition

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="process groups and signals are POSIX"
)

PATIENCE: Final = 30  # seconds for one outcome; most take less than one
SECRET: Final = "hunter2-and-more"

TOOLS: Final = """
import asyncio, os, subprocess, sys, threading
from collections.abc import Iterator
from toolkit import ToolContext, ToolError, UserContext
from toolkit.errors import MissingSecretError, ToolConstructionError

closed = []


class Add:
    name = "add"
    def execute(self, a: int, b: int = 1) -> int:
        return a + b

class AddLater:
    name = "add_later"
    async def execute(self, a: int) -> int:
        await asyncio.sleep(0)
        return a + 1

class Count:
    name = "count"
    def execute(self, to: int, context: ToolContext) -> list[int]:
        for one in range(to):
            context.progress(one / to, "on it")
            yield one

class CountLater:
    name = "count_later"
    async def execute(self, to: int):
        for one in range(to):
            yield {"at": one}

class Whoami:
    name = "whoami"
    def __init__(self, user: UserContext) -> None:
        self.made_for = user.user_id
    def execute(self, user: UserContext, context: ToolContext) -> dict:
        return {
            "made_for": self.made_for, "user": user.user_id, "run": user.run_id,
            "scopes": sorted(user.scopes), "tenant": dict(user.metadata["tenant"]),
            "odd": user.metadata["odd"], "call": context.call_id,
            "left": context.time_left(), "secret": context.secrets["key"],
            "same": user == context.user,
        }

class Fails:
    name = "fails"
    def execute(self, how: str, context: ToolContext) -> object:
        if how == "told":
            raise ToolError("the door is shut, " + context.secrets["key"])
        if how == "secret":
            return context.secrets["nothing"]
        if how == "result":
            loop = []
            loop.append(loop)
            return loop
        if how == "exit":
            sys.exit(4)
        raise ValueError("a text with " + context.secrets["key"])

class Evil(Exception):
    def refuse(self, *_):
        raise OSError("nobody may look")
    __str__ = __repr__ = refuse
    args = __cause__ = __context__ = __notes__ = __class__ = property(refuse)

class EvilTold(ToolError):
    __str__ = Evil.refuse

class EvilMissing(MissingSecretError):
    args = property(Evil.refuse)
    def __init__(self): pass

class Hides:
    name = "hides"
    def execute(self, how: str, context: ToolContext) -> object:
        secret = self.secret = context.secrets["key"]
        self.how = how
        if how == "cut":
            raise ValueError(secret + "y" * (16_384 - 9))
        if how == "class":
            raise type(secret, (Exception,), {})()
        if how == "group":
            raise ExceptionGroup("one", [ExceptionGroup("two", [ValueError(secret)])])
        if how == "missing":
            return context.secrets[secret]
        if how == "unmade":
            raise ToolConstructionError("x", None, secret)
        if how == "evil":
            raise Evil(secret)
        if how == "told":
            raise EvilTold(secret)
        if how == "evil missing":
            raise EvilMissing()
        return None
    def close(self) -> None:
        if self.how == "closing":
            raise ValueError(self.secret + "y" * (16_384 - 9))

class Unmade:
    name = "unmade"
    def __init__(self) -> None:
        raise OSError("no such door")
    def execute(self) -> None: ...

class Tally:
    name = "tally"
    def __init__(self) -> None:
        self.count = 0
    def execute(self) -> list:
        self.count += 1
        return [self.count, closed.count("sync"), closed.count("async"), os.getpid()]
    def close(self) -> None:
        closed.append("sync")

class TallyLater:
    name = "tally_later"
    async def execute(self) -> int:
        self.left = asyncio.ensure_future(asyncio.Event().wait())
        self.left.add_done_callback(lambda _: closed.append("left"))
        return closed.count("left")
    async def aclose(self) -> None:
        closed.append("async")

class Ends:
    name = "ends"
    def execute(self, signal: int = 0, status: int = 3) -> None:
        if signal:
            os.kill(os.getpid(), signal)
            threading.Event().wait()
        os._exit(status)

class Grabs:
    name = "grabs"
    def execute(self, size: int) -> int:
        return len(bytearray(size))

class Hangs:
    name = "hangs"
    def execute(self, context: ToolContext) -> None:
        child = subprocess.Popen(["sleep", "600"])
        context.progress(None, f"{os.getpid()} {child.pid}")
        threading.Event().wait()

class Waits:
    name = "waits"
    def execute(self, context: ToolContext) -> None:
        context.progress(None, str(os.getpid()))
        threading.Event().wait()

class Prints:
    name = "prints"
    def execute(self) -> str:
        print("printed by a tool", flush=True)
        os.write(1, b"and written by it\\n")
        return sys.stdin.read()

class Shows:
    name = "shows"
    def execute(self, context: ToolContext) -> str:
        assert context.secrets["key"]
        shown = [sys.argv, dict(os.environ), open("/proc/self/cmdline").read()]
        return repr(shown)

class Garbles:
    name = "garbles"
    def execute(self, how: str) -> None:
        channel = int(sys.argv[1])
        if how == "close":
            os.close(channel)
        else:
            os.write(channel, b"no frame of ours is like that one")
        threading.Event().wait()

class Forks:
    name = "forks"
    def execute(self) -> str:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return "parent" if child else "child"

class Echo:
    name = "echo"
    def execute(self, text: str) -> str:
        return text

class Repeats:
    name = "repeats"
    def execute(self, text: str, times: int) -> str:
        return text * times

class Floods:
    name = "floods"
    def execute(self, parts: int) -> Iterator[str]:
        for _ in range(parts):
            yield "x" * (20 << 20)

class Leaves:
    name = "leaves"
    is_over = threading.Event()
    is_said = threading.Event()

    def execute(self, text: str, context: ToolContext) -> None:
        begun = threading.Event()

        def slowly():
            begun.set()
            self.is_over.wait(10)
            yield text

        def speak():
            context.progress(slowly(), text)
            self.is_said.set()

        threading.Thread(target=speak, daemon=True).start()
        begun.wait(10)

class Outlasts:
    name = "outlasts"
    def execute(self) -> bool:
        Leaves.is_over.set()
        return Leaves.is_said.wait(10)

class Forges:
    name = "forges"
    def execute(self, head: str, times: int = 1) -> str:
        data = head.encode()
        for _ in range(times):
            frame = len(data).to_bytes(4, "big") + bytes(4) + data
            os.write(int(sys.argv[1]), frame)
        return "its own"

class Odd:
    name = "odd"
    def execute(self, how: str, context: ToolContext) -> str:
        if how == "told":
            raise ToolError("odd \\udcff")
        if how == "long":
            raise ToolError("x" * (17 << 20))
        if how == "raised":
            raise ValueError("odd \\udcff")
        context.progress(object(), "no number")
        context.progress(0.5, "odd \\udcff")
        return "said"

class Bounds:
    name = "bounds"
    def execute(self) -> list[int]:
        import resource
        return list(resource.getrlimit(resource.RLIMIT_CORE))

class Guarded:
    name = "guarded"
    required_scopes = frozenset({"door:open"})
    def execute(self) -> str:
        return "open"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    with importable(site.folder):
        site.write({"far_mod.py": TOOLS})
        yield site


@pytest.fixture
def executor(site: Site) -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(max_workers=2)
    yield made
    made.close()
    gc.collect()  # what is left open warns here, and not in another test


def listed(
    name: str, cls: str = "", *, module: str = "far_mod", scopes: tuple[str, ...] = ()
) -> DeferredTool:
    """Return a tool as a cache lists it; loading it in this process is a failure."""

    def load() -> Any:
        message = "nothing is imported in this process"
        raise AssertionError(message)

    cls = cls or "".join(word.capitalize() for word in name.split("_"))
    definition = ToolDefinition(
        name=tool_name(name),
        qualified_name=f"far.{name}",
        description="",
        input_schema_json="{}",
        required_scopes=frozenset(scopes),
    )
    origin = Origin(module.replace("_", "-"), "1.0", reference=f"{module}:{cls}")
    identity = f"{module}:{cls}"
    return DeferredTool(definition, origin, "execute", load, identity=identity)


def job_for(
    tool: Any, arguments: Mapping[str, Any] | str | None = None, **more: Any
) -> Job:
    """Return a call by ann, unless somebody else is named."""
    user = more.pop("user", None) or UserContext(user_id=more.pop("user_id", "ann"))
    more.setdefault("secrets", Secrets({"key": SECRET}))
    return Job(
        call_id="call-1",
        name=tool.name,
        user=user,
        tool=tool,
        arguments=arguments or {},
        invoke=lambda: None,
        **more,
    )


async def run(
    executor: ProcessExecutor,
    name: str,
    arguments: Mapping[str, Any] | str | None = None,
    **more: Any,
) -> Any:
    """Run one call of a tool of `far_mod` and return its value."""
    future = executor.submit(job_for(listed(name), arguments, **more))
    written = await asyncio.wait_for(future, PATIENCE)
    assert isinstance(written, Written)
    return written.value()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def open_files() -> int:
    """Count the open files of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def is_reaped(pid: int) -> bool:
    """Tell whether a child of ours was waited for."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


class Pids:
    """Takes the process ids that `Hangs` tells."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.told = asyncio.Event()

    def emit(self, kind: str, value: Any) -> None:
        self.found = [int(one) for one in value["message"].split()]
        self.told.set()

    async def come(self) -> list[int]:
        await asyncio.wait_for(self.told.wait(), PATIENCE)
        return self.found


# --- values ---------------------------------------------------------------------------


async def test_all_four_kinds_of_tool_answer_with_their_json(
    executor: ProcessExecutor,
) -> None:
    """Bring back values of plain, async and streaming tools; import nothing here."""
    assert await run(executor, "add", {"a": 1}) == 2
    assert await run(executor, "add", '{"a": "4", "b": 3}') == 7
    assert await run(executor, "add_later", {"a": 1}) == 2
    assert await run(executor, "count", {"to": 3}) == [0, 1, 2]
    assert await run(executor, "count_later", {"to": 2}) == [{"at": 0}, {"at": 1}]
    assert "far_mod" not in sys.modules
    assert executor.statistics()["started"] == 1  # one process serves them all
    assert executor.is_elsewhere


async def test_parts_and_progress_come_while_the_call_runs(
    executor: ProcessExecutor,
) -> None:
    """Tell checked arguments first, then each part and step, in their order."""
    told: list[Any] = []
    more = {
        "emit": lambda kind, value: told.append((kind, value)),
        "on_start": lambda text, _synonyms: told.append(("start", text)),
        "on_end": lambda: told.append("end"),
    }
    assert await run(executor, "count", {"to": "2"}, **more) == [0, 1]
    assert told == [
        ("start", b'{"to":2}'),
        ("progress", {"fraction": 0.0, "message": "on it"}),
        ("part", 0),
        ("progress", {"fraction": 0.5, "message": "on it"}),
        ("part", 1),
        "end",
    ]
    told.clear()
    await run(executor, "count_later", {"to": 1}, **more)
    assert told == [("start", b'{"to":1}'), ("part", {"at": 0}), "end"]


async def test_listener_that_fails_never_disturbs_the_call(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """Log what a listener raises, and go on (B24)."""

    def fail(*_: Any) -> None:
        message = "no ears"
        raise RuntimeError(message)

    assert await run(executor, "count", {"to": 2}, emit=fail, on_start=fail) == [0, 1]
    assert "no ears" in caplog.text


async def test_user_crosses_as_far_as_json_can_tell(
    executor: ProcessExecutor,
) -> None:
    """Hand the tool its user, its secret and the seconds left (B32)."""
    user = UserContext(
        user_id="ann",
        scopes=frozenset({"b", "a"}),
        metadata={"tenant": {"id": [1]}, "odd": object()},
    )
    deadline = time.monotonic() + 20
    found = await run(executor, "whoami", user=user, deadline=deadline)
    assert 0 < found.pop("left") <= 20
    assert found == {
        "made_for": "ann",
        "user": "ann",
        "run": user.run_id,
        "scopes": ["a", "b"],
        "tenant": {"id": [1]},
        "odd": None,
        "call": "call-1",
        "secret": SECRET,
        "same": True,
    }


async def test_each_call_has_an_instance_of_its_own_that_is_closed(
    executor: ProcessExecutor,
) -> None:
    """Keep no user's object in a process: not an instance, not a task (B34, B35)."""
    first = await run(executor, "tally", user_id="ann")
    second = await run(executor, "tally", user_id="bob")
    assert first[3] == second[3]  # the same process
    assert (first[0], second[0]) == (1, 1)
    assert (first[1], second[1]) == (0, 1)
    assert await run(executor, "tally_later") == 0
    assert await run(executor, "tally_later") == 1  # the task it left was cancelled
    assert (await run(executor, "tally"))[2] == 2


async def test_large_values_cross_both_ways(executor: ProcessExecutor) -> None:
    """Take arguments and results that no socket holds at once."""
    text = "ä" * 1_500_000
    assert await run(executor, "echo", {"text": text}) == text


async def test_what_a_tool_prints_goes_to_standard_error(
    executor: ProcessExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    """Keep the frames apart from what a tool prints and reads."""
    assert await run(executor, "prints") == ""
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "printed by a tool\nand written by it\n" in printed.err


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_child_that_a_tool_forks_answers_nothing(
    executor: ProcessExecutor,
) -> None:
    """Let the process that was asked answer, and its copy end."""
    assert await run(executor, "forks") == "parent"
    assert await run(executor, "add", {"a": 1}) == 2


async def test_nothing_that_a_call_leaves_behind_speaks_in_the_next(
    executor: ProcessExecutor,
) -> None:
    """Tell nobody of another user's call, though a thread of it is still writing."""
    said: list[Any] = []
    ann = job_for(listed("leaves"), {"text": "ann's own"}, emit=lambda *_: None)
    await asyncio.wait_for(executor.submit(ann), PATIENCE)
    bob = job_for(listed("outlasts"), user_id="bob", emit=lambda *one: said.append(one))
    bobs = executor.submit(replace(bob, call_id="call-2"))
    written = await asyncio.wait_for(bobs, PATIENCE)
    assert written.value() is True  # the thread has said it by now
    assert said == []
    assert executor.statistics()["started"] == 1


@pytest.mark.parametrize(
    "head",
    [
        '{"is": "result"}',
        '{"is": "result", "call": "another"}',
        '{"is": "ready"}',
        '{"is": "loaded", "name": "x", "scopes": []}',
    ],
)
async def test_forged_answer_reaches_no_other_call(
    executor: ProcessExecutor, head: str
) -> None:
    """Answer each call with its own result, and run none twice (B10)."""
    assert await run(executor, "forges", {"head": head}) == "its own"
    job = replace(job_for(listed("add"), {"a": 1}), call_id="call-2")
    written = await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert written.value() == 2
    assert executor.statistics()["started"] == 1


async def test_frame_that_cannot_be_understood_ends_its_process(
    executor: ProcessExecutor,
) -> None:
    """Fail the call of whoever sent it, also where a number is no number (B10)."""
    head = '{"is": "log", "level": 1e999, "text": ""}'
    with pytest.raises(ToolWorkerError, match="what is no answer"):
        await run(executor, "forges", {"head": head, "times": 2})
    assert await run(executor, "add", {"a": 1}) == 2


async def test_call_that_says_too_much_is_ended(executor: ProcessExecutor) -> None:
    """Tell no more than a result may have, so that no memory here is filled (B10)."""
    told: list[int] = []
    more = {"emit": lambda _, said: told.append(len(said))}
    with pytest.raises(ToolResultError, match="more than 64 MiB"):
        await run(executor, "floods", {"parts": 10}, **more)
    assert told == [20 << 20] * 3
    assert await run(executor, "add", {"a": 1}) == 2
    assert executor.statistics()["killed"] == 1


async def test_crash_leaves_no_core_file_with_secrets(
    executor: ProcessExecutor,
) -> None:
    """Allow none, whatever the service may leave (B62)."""
    assert await run(executor, "bounds") == [0, 0]


# --- errors ---------------------------------------------------------------------------


async def test_texts_that_do_not_fit_into_a_frame_end_no_process(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """Write out what is no UTF-8, cut what is too long; progress never fails (B10)."""
    with pytest.raises(ToolError, match=r"odd \\udcff"):
        await run(executor, "odd", {"how": "told"})
    with pytest.raises(ToolError) as long:
        await run(executor, "odd", {"how": "long"})
    assert len(str(long.value)) == 1 << 20
    with pytest.raises(ToolExecutionError, match="ValueError"):
        await run(executor, "odd", {"how": "raised"})
    told: list[Any] = []
    more = {"emit": lambda *one: told.append(one)}
    assert await run(executor, "odd", {"how": "says"}, **more) == "said"
    assert [said["message"] for _, said in told] == ["no number"]
    assert "the progress of a call cannot be shown" in caplog.text
    assert executor.statistics()["started"] == 1


async def test_errors_come_back_as_what_they_are(
    executor: ProcessExecutor,
) -> None:
    """Raise here what would be raised here if the tool ran here (B9, B10)."""
    with pytest.raises(InvalidArgumentsError) as invalid:
        await run(executor, "add", {"a": "x", "c": 1})
    assert [path for path, _ in invalid.value.faults] == ["a", "c"]
    with pytest.raises(InvalidArgumentsError):
        await run(executor, "add", '{"a": ')
    with pytest.raises(InvalidArgumentsError):
        await run(executor, "add", {"a": object()})
    with pytest.raises(ToolError, match="the door is shut") as told:
        await run(executor, "fails", {"how": "told"})
    assert SECRET not in str(told.value)
    with pytest.raises(MissingSecretError) as missing:
        await run(executor, "fails", {"how": "secret"})
    assert missing.value.secret == "nothing"
    with pytest.raises(ToolResultError, match="Circular reference"):
        await run(executor, "fails", {"how": "result"})
    with pytest.raises(ToolConstructionError, match="constructor raised OSError"):
        await run(executor, "unmade")
    with pytest.raises(ToolExecutionError, match="SystemExit"):
        await run(executor, "fails", {"how": "exit"})
    assert executor.statistics()["started"] == 1  # none of it ends the process


async def test_values_beyond_the_bound_of_a_frame_fail_their_call(
    executor: ProcessExecutor,
) -> None:
    """Say whose fault it is; the process goes on (B10, B47)."""
    text = "x" * (MAX_BODY_BYTES + 1)
    with pytest.raises(InvalidArgumentsError):
        await run(executor, "echo", {"text": text})
    with pytest.raises(ToolResultError, match="longer than 64 MiB"):
        await run(executor, "repeats", {"text": "x", "times": len(text)})
    assert await run(executor, "echo", {"text": "y"}) == "y"
    assert executor.statistics()["started"] == 1


async def test_secret_is_in_no_error_log_or_command_line(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """Log the traceback without the secret; the error has only the kind (B62)."""
    with pytest.raises(ToolExecutionError) as failed:
        await run(executor, "fails", {"how": "raises"})
    assert failed.value.args[:3] == ("fails", "ValueError", "call-1")
    assert "a text with [redacted]" in caplog.text
    assert "far_mod.py" in caplog.text
    shown = await run(executor, "shows")
    assert "toolkit.executors.worker" in shown
    assert SECRET not in shown + caplog.text + repr(vars(failed.value))


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("cut", ToolExecutionError),
        ("class", ToolExecutionError),
        ("group", ToolExecutionError),
        ("missing", MissingSecretError),
        ("unmade", ToolConstructionError),
        ("evil", ToolExecutionError),
        ("told", ToolExecutionError),
        ("evil missing", ToolExecutionError),
        ("closing", None),
    ],
)
async def test_no_part_of_a_secret_leaves_a_worker_in_an_error_or_log(
    executor: ProcessExecutor,
    how: str,
    kind: type[Exception] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Blank it out before a text is cut, wherever it stands; and no exception, however
    it behaves, ends the process (B62).
    """
    secrets = Secrets({"key": "hunter2\nand-more"})
    job = job_for(listed("hides"), {"how": how}, secrets=secrets)
    call = executor.submit(job)
    await asyncio.wait({call}, timeout=PATIENCE)
    failed = call.exception()
    assert type(failed) is (kind or type(None))
    shown = repr(failed) + str(failed) + caplog.text
    assert [part for part in ("hunter2", "and-more") if part in shown] == []
    assert await run(executor, "add", {"a": 1}) == 2
    assert executor.statistics()["started"] == 1


# --- ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "exit status 3"),
        ({"status": 0}, "exit status 0"),
        ({"signal": 11}, "signal 11 (SIGSEGV)"),
        ({"signal": 9}, "signal 9 (SIGKILL); it may have 1073741824 bytes of memory"),
    ],
    ids=["exits", "exits-well", "crashes", "is-killed"],
)
async def test_process_that_ends_fails_its_own_call_alone(
    executor: ProcessExecutor, arguments: dict[str, int], told: str
) -> None:
    """Say how it ended; the next call has another process (B23, B26)."""
    ended: list[str] = []
    with pytest.raises(ToolWorkerError) as lost:
        await run(executor, "ends", arguments, on_end=lambda: ended.append("end"))
    assert (lost.value.tool, lost.value.detail) == ("ends", told)
    assert ended == ["end"]
    assert await run(executor, "add", {"a": 1}) == 2
    counts = executor.statistics()
    assert (counts["crashed"], counts["killed"], counts["started"]) == (1, 0, 2)


async def test_process_that_ends_while_idle_is_replaced(
    executor: ProcessExecutor,
) -> None:
    """Notice the end of a process that nobody waits for."""
    pid = (await run(executor, "tally"))[3]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: executor.statistics()["workers"] == 0)
    assert await run(executor, "add", {"a": 1}) == 2
    assert executor.statistics()["crashed"] == 1


@pytest.mark.parametrize("how", ["close", "write"])
async def test_process_that_spoils_its_channel_is_ended(
    executor: ProcessExecutor, how: str
) -> None:
    """Answer the call although its process goes on without a way to tell (B30)."""
    with pytest.raises(ToolWorkerError, match=r"closed the channel|no answer"):
        await run(executor, "garbles", {"how": how})
    assert await run(executor, "add", {"a": 1}) == 2


async def test_memory_beyond_the_bound_fails_the_call_and_names_it(
    site: Site,
) -> None:
    """Bound what a process may have; one that met it serves nobody else (B47)."""
    executor = ProcessExecutor(memory_bytes=700_000_000)
    try:
        assert await run(executor, "grabs", {"size": 1_000_000}) == 1_000_000
        with pytest.raises(ToolWorkerError, match="700000000 bytes of memory"):
            await run(executor, "grabs", {"size": 900_000_000})
        await until(lambda: executor.statistics()["workers"] == 0)
        assert await run(executor, "add", {"a": 1}) == 2
    finally:
        executor.close()


async def test_deadline_kills_the_process_and_what_it_started(
    executor: ProcessExecutor,
) -> None:
    """End what does not end, with its own children, and say so once (B30, B31)."""
    await executor.warm(listed("hangs"))
    pids, ended = Pids(), list[str]()
    with pytest.raises(ToolTimeoutError) as late:
        await run(
            executor,
            "hangs",
            deadline=time.monotonic() + 1.0,
            emit=pids.emit,
            on_end=lambda: ended.append("end"),
        )
    assert late.value.seconds == pytest.approx(1.0, abs=0.1)
    assert len(pids.found) == 2
    await until(lambda: not any(map(is_alive, pids.found)))
    assert ended == ["end"]
    assert await run(executor, "add", {"a": 1}) == 2
    counts = executor.statistics()
    assert (counts["killed"], counts["crashed"], counts["late"]) == (1, 0, 0)


async def test_call_that_is_given_up_is_killed(executor: ProcessExecutor) -> None:
    """Kill the process of a cancelled call; its end is told when it is gone (B50)."""
    pids, ended = Pids(), asyncio.Event()
    job = job_for(listed("hangs"), emit=pids.emit, on_end=ended.set)
    future = executor.submit(job)
    found = await pids.come()
    future.cancel()
    await asyncio.wait_for(ended.wait(), PATIENCE)
    assert not is_alive(found[0])
    await until(lambda: not is_alive(found[1]))
    assert future.cancelled()


async def test_call_that_is_given_up_in_the_queue_never_starts(
    executor: ProcessExecutor,
) -> None:
    """Take it out of its line: one that was cancelled, and one past its deadline."""
    pids = [Pids(), Pids()]
    running = [executor.submit(job_for(listed("hangs"), emit=p.emit)) for p in pids]
    for one in pids:
        await one.come()
    told: list[str] = []
    more: dict[str, Any] = {
        "on_start": lambda _: told.append("start"),
        "on_end": lambda: told.append("end"),
    }
    waiting = executor.submit(job_for(listed("add"), {"a": 1}, **more))
    assert executor.statistics()["queued"] == 1
    waiting.cancel()
    await until(lambda: executor.statistics()["queued"] == 0)
    assert told == ["end"]
    with pytest.raises(ToolTimeoutError):
        await run(executor, "add", {"a": 1}, deadline=time.monotonic() + 0.05, **more)
    assert told == ["end", "end"]
    assert not any(one.done() for one in running)
    executor.close()
    assert [type(one.exception()) for one in running] == [ToolCancelledError] * 2


async def test_waiting_calls_are_served_in_turn_between_users(site: Site) -> None:
    """Let nobody wait for all that another user has asked for (B53)."""
    executor = ProcessExecutor(max_workers=1)
    order: list[str] = []
    try:
        futures = [
            executor.submit(
                job_for(
                    listed("add"),
                    {"a": 1},
                    user_id=user,
                    on_end=lambda user=user: order.append(user),
                )
            )
            for user in ("ann", "ann", "ann", "bob", "cyd")
        ]
        await asyncio.wait_for(asyncio.gather(*futures), PATIENCE)
        assert order == ["ann", "bob", "cyd", "ann", "ann"]
    finally:
        executor.close()


async def test_distribution_makes_room_for_another(site: Site) -> None:
    """End an idle process when another distribution has none and none is free."""
    site.write({"near_mod.py": TOOLS})
    executor = ProcessExecutor(max_workers=1)
    near = listed("tally", module="near_mod")
    try:
        first = (await run(executor, "tally"))[3]
        written = await asyncio.wait_for(executor.submit(job_for(near)), PATIENCE)
        assert written.value()[3] != first
        await until(lambda: not is_alive(first))
        busy = [executor.submit(job_for(listed("add"), {"a": 1})) for _ in range(4)]
        busy += [executor.submit(job_for(near)) for _ in range(4)]
        await asyncio.wait_for(asyncio.gather(*busy), PATIENCE)
        counts = executor.statistics()
        assert (counts["workers"], counts["killed"], counts["crashed"]) == (1, 0, 0)
    finally:
        executor.close()


async def test_idle_process_ends_after_its_time(site: Site) -> None:
    """Keep nothing for ever that nobody uses (B47)."""
    executor = ProcessExecutor(idle_seconds=0.1)
    try:
        pid = (await run(executor, "tally"))[3]
        await until(lambda: executor.statistics()["workers"] == 0)
        assert not is_alive(pid)
    finally:
        executor.close()


# --- what cannot be had ---------------------------------------------------------------


async def test_tool_whose_guard_is_another_than_listed_is_refused(
    executor: ProcessExecutor,
) -> None:
    """Run nothing under scopes or a name that the code does not declare (B58, B61)."""
    started: list[bytes] = []
    for tool, word in (
        (listed("guarded"), "required_scopes"),
        (listed("guarded", scopes=("door:open", "more")), "required_scopes"),
        (listed("other", "Add"), "name"),
    ):
        job = job_for(tool, on_start=started.append)
        with pytest.raises(ToolUnavailableError, match=f"{word}.*refresh"):
            await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert started == []
    job = job_for(listed("guarded", scopes=("door:open",)))
    written = await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert written.value() == "open"


async def test_package_that_has_changed_is_imported_anew(
    executor: ProcessExecutor, site: Site
) -> None:
    """Ask a fresh process before a call is refused for what an old one knows."""
    assert await run(executor, "add", {"a": 1}) == 2
    guarded = TOOLS.replace('name = "add"', 'name = "add"; required_scopes = {"x"}')
    site.write({"far_mod.py": guarded})
    job = job_for(listed("add", scopes=("x",)), {"a": 2})
    written = await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert written.value() == 3
    site.write({"far_mod.py": guarded.replace("a + b", "a - b # changed")})
    executor.renew(None)
    await until(lambda: executor.statistics()["workers"] == 0)
    job = job_for(listed("add", scopes=("x",)), {"a": 2})
    written = await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert written.value() == 1


async def test_tool_without_a_name_to_import_it_by_is_refused(
    executor: ProcessExecutor,
) -> None:
    """Say what to do about a tool that only this process has (B9)."""

    class Local:
        name = "local"

        def execute(self) -> None:
            """Do nothing."""

    ended: list[str] = []
    for target in (Local, Local()):
        job = job_for(compile_tool(target), on_end=lambda: ended.append("end"))
        with pytest.raises(ToolUnavailableError, match="top level of a module"):
            await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert ended == ["end", "end"]
    assert executor.statistics()["started"] == 0


@pytest.mark.parametrize(
    ("source", "told", "count"),
    [
        ("import threading; threading.Event().wait()", "within 1 s", "killed"),
        ("import os; os._exit(7)", "ended the process: exit status 7", "crashed"),
        ("raise OSError('no')", "importing it raised OSError", ""),
        ("Add = 3", "it is no tool any more", ""),
        ("", "importing it raised AttributeError", ""),
    ],
    ids=["hangs", "exits", "raises", "is-no-tool", "is-not-there"],
)
async def test_package_that_cannot_be_imported_fails_its_call(
    site: Site, source: str, told: str, count: str
) -> None:
    """End a process that does not come through its import, and say why (B30)."""
    site.write({"bad_mod.py": source})
    tool = listed("add", module="bad_mod")
    executor = ProcessExecutor(start_timeout=10.0)
    try:
        assert await run(executor, "add", {"a": 1}) == 2  # starting takes its time
        executor.start_timeout = 1.0 if "within" in told else 10.0
        with pytest.raises(ToolUnavailableError, match=told):
            await asyncio.wait_for(executor.warm(tool), PATIENCE)
        counts = executor.statistics()
        assert {one: counts[one] for one in ("killed", "crashed") if counts[one]} == (
            {count: 1} if count else {}
        )
        assert await run(executor, "add", {"a": 1}) == 2
    finally:
        executor.close()


async def test_import_that_hangs_ends_at_the_calls_deadline(
    executor: ProcessExecutor, site: Site
) -> None:
    """Let no import outlast the call that it is for (B31)."""
    site.write({"bad_mod.py": "import threading; threading.Event().wait()"})
    job = job_for(listed("add", module="bad_mod"), deadline=time.monotonic() + 1.0)
    with pytest.raises(ToolTimeoutError):
        await asyncio.wait_for(executor.submit(job), PATIENCE)
    assert executor.statistics()["late"] == 0


async def test_process_that_cannot_start_fails_the_call(site: Site) -> None:
    """Answer when a process never gets as far as its first word (B30)."""
    executor = ProcessExecutor(memory_bytes=30_000_000)  # too little for Python
    try:
        for _ in range(2):
            with pytest.raises(ToolUnavailableError, match="before it was ready"):
                await run(executor, "add", {"a": 1})
        executor.start_timeout = 0.0
        with pytest.raises(ToolUnavailableError, match="did not start within 0 s"):
            await run(executor, "add", {"a": 1})
    finally:
        executor.close()


# --- lives ----------------------------------------------------------------------------


async def test_process_that_is_warm_has_imported_and_run_nothing_else(
    executor: ProcessExecutor,
) -> None:
    """Start and import before the first call, and only that."""
    await asyncio.wait_for(executor.warm(listed("tally")), PATIENCE)
    counts = executor.statistics()
    assert (counts["started"], counts["idle"], counts["busy"]) == (1, 1, 0)
    assert (await run(executor, "tally"))[:2] == [1, 0]


async def test_closing_kills_reaps_and_answers_from_any_thread(
    executor: ProcessExecutor,
) -> None:
    """Leave no process, and no caller who waits (B41, B46)."""
    pids, ended = Pids(), list[str]()
    job = job_for(listed("hangs"), emit=pids.emit, on_end=lambda: ended.append("end"))
    future = executor.submit(job)
    found = await pids.come()
    idle = (await run(executor, "tally"))[3]
    before = open_files()
    await asyncio.wait_for(asyncio.to_thread(executor.close), PATIENCE)
    with pytest.raises(ToolCancelledError):
        await asyncio.wait_for(future, PATIENCE)
    assert ended == ["end"]
    await until(lambda: not any(map(is_alive, [*found, idle])))
    assert is_reaped(found[0])
    assert is_reaped(idle)
    assert open_files() <= before - 4  # a socket and a pidfd each
    assert executor.statistics()["workers"] == 0
    with pytest.raises(RuntimeError, match="closed"):
        executor.submit(job_for(listed("add"), {"a": 1}))
    executor.close()


def test_each_event_loop_has_its_own_processes(executor: ProcessExecutor) -> None:
    """Forget a loop that was closed, and end its processes (B34)."""
    first = asyncio.run(run(executor, "tally"))
    second = asyncio.run(run(executor, "tally"))
    assert first[3] != second[3]
    assert not is_alive(first[3])
    ended = threading.Event()

    async def leave() -> None:
        pids = Pids()
        executor.submit(job_for(listed("hangs"), emit=pids.emit, on_end=ended.set))
        await pids.come()

    asyncio.run(leave())
    assert executor.statistics()["workers"] == 0
    assert ended.is_set()
    assert not is_alive(second[3])


def test_processes_of_two_loops_run_at_the_same_time(
    executor: ProcessExecutor,
) -> None:
    """Serve loops in two threads, each with processes of its own (B52)."""
    both = threading.Barrier(2, timeout=PATIENCE)
    found: list[int] = []

    async def two() -> None:
        one = (await run(executor, "tally"))[3]
        both.wait()
        again = (await run(executor, "tally"))[3]
        both.wait()
        found.extend({one, again})

    threads = [threading.Thread(target=asyncio.run, args=(two(),)) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(PATIENCE)
    assert len(set(found)) == len(found) == 2


STANDARD: Final = """
import asyncio, sys
sys.path[:0] = [{root!r}, {site!r}]
from tests.e2e.test_process_workers import run
from toolkit.executors.processes import ProcessExecutor

executor = ProcessExecutor()
print(repr(asyncio.run(run(executor, "prints"))))
executor.close()
print(sys.stdin.read())
"""


def test_standard_input_and_output_stay_those_of_the_service(site: Site) -> None:
    """Let a tool read and print what it likes; none of it is the service's."""
    code = STANDARD.format(root=str(ROOT), site=str(site.folder))
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        input="typed by somebody",
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "''\ntyped by somebody\n", done.stderr
    assert done.stderr == "printed by a tool\nand written by it\n"


ORPHANS: Final = """
import asyncio, os, signal, sys
sys.path[:0] = [{root!r}, {site!r}]
from tests.e2e.test_process_workers import Pids, job_for, listed, run
from toolkit.executors.processes import ProcessExecutor

async def main():
    executor = ProcessExecutor()
    pids = Pids()
    executor.submit(job_for(listed("waits"), emit=pids.emit))
    busy = (await pids.come())[0]
    idle = (await run(executor, "tally"))[3]
    print(busy, idle, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it on Linux only")
def test_processes_end_when_their_parent_is_killed(site: Site) -> None:
    """Leave nothing behind, whether it runs a call or waits for one (B30)."""
    code = ORPHANS.format(root=str(ROOT), site=str(site.folder))
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(one) for one in done.stdout.split()]
    assert len(pids) == 2
    asyncio.run(until(lambda: not any(map(is_alive, pids))))


# --- frames ---------------------------------------------------------------------------


def test_frames_come_whole_however_they_are_cut() -> None:
    """Give back what was packed, from single bytes and from one piece."""
    frames = [({"is": "part"}, b'"x"'), ({"is": "error", "kind": "told"}, b"")]
    stream = b"".join(pack(head, body) for head, body in frames)
    reader = FrameReader()
    assert reader.feed(stream) == frames
    found = [frame for byte in stream for frame in reader.feed(bytes([byte]))]
    assert found == frames


@pytest.mark.parametrize(
    "stream",
    [b"\xff" * 8, (2).to_bytes(4, "big") + bytes(4) + b"[]", bytes(8), b"{" * 9],
    ids=["too-long", "a-list", "empty", "text"],
)
def test_stream_that_holds_no_frames_is_refused(stream: bytes) -> None:
    """Take nothing from a stream that somebody else has written to."""
    with pytest.raises(ValueError, match="frame"):
        FrameReader().feed(stream)


def test_body_beyond_its_bound_is_refused() -> None:
    """Keep a frame within what its reader takes (B47)."""
    with pytest.raises(ValueError, match="too long for a frame"):
        pack({"is": "result"}, bytes(MAX_BODY_BYTES + 1))


def test_worker_does_not_start_without_a_parent() -> None:
    """Say who starts it to whoever starts it by hand."""
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.executors.worker"],
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert b"toolkit.executors.children" in done.stderr
