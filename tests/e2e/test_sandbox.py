"""Tools in a bubblewrap sandbox: what they can reach, and what they cannot."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import which
from typing import Any, Final

import pytest

from tests.distributions import Site, importable
from tests.e2e.test_process_workers import job_for, listed
from tests.environments import ROOT
from tests.sample_tools import until
from toolkit.errors import (
    SandboxUnavailableError,
    ToolTimeoutError,
    ToolUnavailableError,
    ToolWorkerError,
)
from toolkit.executors.processes import ProcessExecutor
from toolkit.executors.sandbox import Sandbox

PATIENCE: Final = 30  # seconds for one outcome; most take less than one

TOOLS: Final = """
import os, socket, stat, subprocess, sys, tempfile, threading
from toolkit import ToolContext

class Reads:
    name = "reads"
    def execute(self, path: str) -> str:
        with open(path) as file:
            return file.read()

class Lists:
    name = "lists"
    def execute(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

class Writes:
    name = "writes"
    def execute(self, path: str, size: int = 1) -> int:
        with open(path, "wb") as file:
            return file.write(bytes(size))

class Mounts:
    name = "mounts"
    def execute(self, paths: list[str]) -> list[bool]:
        flags = [os.statvfs(path).f_flag for path in paths]
        return [bool(one & os.ST_RDONLY) for one in flags]

class Keeps:
    name = "keeps"
    def execute(self) -> list[str]:
        with tempfile.NamedTemporaryFile(prefix="kept-", delete=False) as file:
            file.write(b"x")
        return sorted(os.listdir("/tmp"))

class Connects:
    name = "connects"
    def execute(self, port: int) -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return "connected"

class Interfaces:
    name = "interfaces"
    def execute(self) -> list[str]:
        return [name for _, name in socket.if_nameindex()]

class Forks:
    name = "forks"
    def execute(self, count: int) -> int:
        children = []
        try:
            for _ in range(count):
                children.append(subprocess.Popen(["sleep", "600"]))
        except OSError:
            pass
        return len(children)

class Shows:
    name = "shows"
    def execute(self) -> dict:
        with open("/proc/self/status") as file:
            status = dict(line.rstrip().split(":", 1) for line in file)
        pids = [int(one) for one in os.listdir("/proc") if one.isdigit()]
        return {
            "environ": sorted(os.environ), "pids": len(pids), "uid": os.getuid(),
            "groups": os.getgroups(), "caps": status["CapEff"].strip(),
            "no_new": status["NoNewPrivs"].strip(), "cwd": os.getcwd(),
            "path": sys.path,
        }

class Holds:
    name = "holds"
    def execute(self) -> list[bool]:
        print("printed in a sandbox", flush=True)
        os.write(2, b"and written\\n")
        return [stat.S_ISFIFO(os.fstat(one).st_mode) for one in (1, 2)]

class Hangs:
    name = "hangs"
    def execute(self, context: ToolContext) -> None:
        mark = f"sandboxed-{os.urandom(8).hex()}"
        child = "import os, sys, threading; os.setsid(); threading.Event().wait()"
        for _ in range(2):
            subprocess.Popen([sys.executable, "-c", child, mark])
        context.progress(None, mark)
        threading.Event().wait()

class Ends:
    name = "ends"
    def execute(self, signal: int = 0) -> None:
        if signal:
            os.kill(os.getpid(), signal)
        os._exit(3)
"""


def refusal() -> str:
    """Say why no sandbox can be made here; empty where one can."""
    try:
        Sandbox().check()
    except SandboxUnavailableError as error:
        return str(error)
    return ""


WHY_NOT: Final = refusal()
SANDBOXED = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be made")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    with importable(site.folder):
        site.write({"shut_mod.py": TOOLS})
        yield site


@pytest.fixture
def executor(site: Site) -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(sandbox=Sandbox(max_processes=16, tmp_bytes=1 << 20))
    yield made
    made.close()


async def run(
    executor: ProcessExecutor,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    **more: Any,
) -> Any:
    """Run one call of a tool of `shut_mod` and return its value."""
    job = job_for(listed(name, module="shut_mod"), arguments, **more)
    written = await asyncio.wait_for(executor.submit(job), PATIENCE)
    return written.value()


async def kind_of_failure(
    executor: ProcessExecutor, name: str, **arguments: Any
) -> str:
    """Run a call that has to fail in the tool; return what it raised."""
    with pytest.raises(RuntimeError) as failed:
        await run(executor, name, arguments)
    return str(getattr(failed.value, "cause_type", failed.value))


def thread_names() -> set[str]:
    """Return the names of the threads that run."""
    return {one.name for one in threading.enumerate()}


def own_path() -> list[str]:
    """Return what this process imports from, in full."""
    return [str(Path(one).absolute()) for one in sys.path]


def exists(path: str) -> bool:
    """Tell whether there is such a file outside."""
    return Path(path).exists()


def marked(mark: str) -> list[int]:
    """Return the processes whose command line holds a mark."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mark.encode() in line:
            found.append(int(folder.name))
    return found


@SANDBOXED
async def test_sandbox_has_no_network(executor: ProcessExecutor) -> None:
    """Reach not even a server on the same machine; there is the loopback alone."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        kind = await kind_of_failure(executor, "connects", port=port)
    assert kind == "ConnectionRefusedError"
    assert await run(executor, "interfaces") == ["lo"]


@SANDBOXED
async def test_sandbox_cannot_write_but_in_its_own_folders(
    executor: ProcessExecutor, site: Site
) -> None:
    """Keep the system and the package as they are; bound what it may put aside."""
    refused = {"PermissionError", "OSError", "FileNotFoundError"}
    for place in ("/etc", "/usr", "/root", "/var/tmp", "/dev", site.folder, ROOT):  # noqa: S108 - not written
        kind = await kind_of_failure(executor, "writes", path=f"{place}/new")
        assert kind in refused, place
    assert not exists(f"{site.folder}/new")
    paths = ["/", "/usr", "/root", "/home", "/run", str(site.folder), sys.prefix]
    assert await run(executor, "mounts", {"paths": paths}) == [True] * len(paths)
    for place in ("/tmp/new", "/dev/shm/new", "/dev/null"):  # noqa: S108 - the sandbox's
        assert await run(executor, "writes", {"path": place}) == 1
    big = {"path": "/tmp/big", "size": 2 << 20}  # noqa: S108 - the sandbox's
    assert await kind_of_failure(executor, "writes", **big) == "OSError"


@SANDBOXED
async def test_sandbox_has_a_temporary_folder_of_its_own(
    executor: ProcessExecutor, tmp_path: Path, site: Site
) -> None:
    """Show nothing of the real one, and nothing of another sandbox's."""
    (tmp_path / "private").write_text("mine", encoding="utf-8")
    private = str(tmp_path / "private")
    assert await kind_of_failure(executor, "reads", path=private) == "FileNotFoundError"
    first = [one for one in await run(executor, "keeps") if one.startswith("kept-")]
    assert len(first) == 1
    assert not exists(f"/tmp/{first[0]}")  # noqa: S108 - nothing is made there
    with pytest.raises(ToolWorkerError):
        await run(executor, "ends")
    again = [one for one in await run(executor, "keeps") if one.startswith("kept-")]
    assert len(again) == 1
    assert again != first


@SANDBOXED
async def test_sandbox_hides_homes_and_running_services(
    executor: ProcessExecutor, site: Site
) -> None:
    """Show of hidden folders what must be imported from, and nothing else."""
    assert await run(executor, "lists", {"path": "/home"}) == []
    assert await run(executor, "lists", {"path": "/run"}) == []
    left = set(await run(executor, "lists", {"path": "/root"}))
    parts = [Path(one).parts for one in (*sys.path, sys.base_prefix) if one]
    assert left <= {one[2] for one in parts if one[:2] == ("/", "root")}
    source = str(site.folder / "shut_mod.py")
    assert "class Reads" in await run(executor, "reads", {"path": source})


@SANDBOXED
async def test_sandbox_holds_no_file_of_the_operators_log(
    executor: ProcessExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pass on what it prints, and give it nothing that it could read or empty (B62)."""
    assert await run(executor, "holds") == [True, True]
    printed = ""

    def is_printed() -> bool:
        nonlocal printed
        printed += capfd.readouterr().err
        return "printed in a sandbox\nand written\n" in printed

    await until(is_printed)
    executor.close()
    await until(lambda: "toolkit-sandbox-output" not in thread_names())


@SANDBOXED
async def test_sandbox_has_no_right_and_sees_no_one(
    executor: ProcessExecutor,
) -> None:
    """Leave it no capability, no environment, no way to more, no other process."""
    found = await run(executor, "shows")
    assert int(found["caps"], 16) == 0
    assert found["no_new"] == "1"
    assert found["uid"] != 0
    assert found["pids"] <= 3
    assert {"HOME", "LANG", "PATH", "TMPDIR"} <= set(found["environ"])
    assert set(found["environ"]) <= {
        "HOME",
        "LANG",
        "PATH",
        "TMPDIR",
        "PWD",
        "LC_CTYPE",
    }
    assert found["cwd"] == "/tmp"  # noqa: S108 - the sandbox's
    assert found["path"] == own_path()


@SANDBOXED
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read these files outside")
async def test_sandbox_of_root_reads_no_file_that_is_roots_alone(
    executor: ProcessExecutor,
) -> None:
    """Be nobody inside, though the service is root."""
    assert exists("/etc/shadow")
    kind = await kind_of_failure(executor, "reads", path="/etc/shadow")
    assert kind == "PermissionError"


@SANDBOXED
async def test_sandbox_bounds_its_processes(executor: ProcessExecutor) -> None:
    """Stop a tool that forks on and on; its sandbox alone suffers."""
    started = await run(executor, "forks", {"count": 200})
    assert 0 < started < 16


@SANDBOXED
async def test_sandbox_dies_whole_at_the_deadline(executor: ProcessExecutor) -> None:
    """Kill what left the process group as well; nothing outlives its sandbox (B30)."""
    marks: list[str] = []
    loop = asyncio.get_running_loop()
    with pytest.raises(ToolTimeoutError):
        await run(
            executor,
            "hangs",
            deadline=loop.time() + 2.0,
            emit=lambda _, value: marks.append(value["message"]),
        )
    assert len(marks) == 1
    await until(lambda: marked(marks[0]) == [])
    assert executor.statistics()["killed"] == 1


@SANDBOXED
@pytest.mark.parametrize(
    ("arguments", "told"),
    [({}, "exit status 3"), ({"signal": 11}, "signal 11 (SIGSEGV)")],
    ids=["exits", "crashes"],
)
async def test_sandbox_that_ends_says_how(
    executor: ProcessExecutor, arguments: dict[str, int], told: str
) -> None:
    """Tell the end of the process inside, not that of what was around it."""
    with pytest.raises(ToolWorkerError) as lost:
        await run(executor, "ends", arguments)
    assert lost.value.detail == told


@SANDBOXED
async def test_further_folders_can_be_made_readable(site: Site, tmp_path: Path) -> None:
    """Open what the operator names, read-only."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "table").write_text("1,2", encoding="utf-8")
    executor = ProcessExecutor(sandbox=Sandbox(readable=(str(data),)))
    try:
        assert await run(executor, "reads", {"path": str(data / "table")}) == "1,2"
        new = str(data / "new")
        assert "Error" in await kind_of_failure(executor, "writes", path=new)
    finally:
        executor.close()
    assert not (data / "new").exists()


@SANDBOXED
async def test_sandbox_that_is_gone_later_fails_the_call(
    site: Site, tmp_path: Path
) -> None:
    """Run nothing unsandboxed when bubblewrap is taken away meanwhile (B20)."""
    program = tmp_path / "bwrap"
    program.symlink_to(which("bwrap") or "")
    executor = ProcessExecutor(sandbox=Sandbox(bwrap=str(program)))
    program.unlink()
    try:
        with pytest.raises(ToolUnavailableError, match="FileNotFoundError"):
            await run(executor, "keeps")
        assert executor.statistics()["started"] == 0
    finally:
        executor.close()


ORPHANS: Final = """
import asyncio, os, signal, sys
sys.path[:0] = [{root!r}, {site!r}]
from tests.e2e.test_process_workers import job_for, listed
from toolkit.executors.processes import ProcessExecutor
from toolkit.executors.sandbox import Sandbox

async def main():
    executor = ProcessExecutor(sandbox=Sandbox())
    def emit(_, value):
        print(value["message"], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    job = job_for(listed("hangs", module="shut_mod"), emit=emit)
    await executor.submit(job)

asyncio.run(main())
"""


@SANDBOXED
def test_sandbox_dies_whole_with_its_parent(site: Site) -> None:
    """Leave nothing behind when the service is killed (B30)."""
    code = ORPHANS.format(root=str(ROOT), site=str(site.folder))
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    mark = done.stdout.strip()
    assert mark.startswith("sandboxed-")
    asyncio.run(until(lambda: marked(mark) == []))


def test_missing_bubblewrap_is_refused_with_the_remedy() -> None:
    """Run nothing unsandboxed when a sandbox was asked for (B20)."""
    with pytest.raises(SandboxUnavailableError, match="Install bubblewrap") as missing:
        ProcessExecutor(sandbox=Sandbox(bwrap="/nonexistent/bwrap"))
    assert "/nonexistent/bwrap" in str(missing.value)


def test_bubblewrap_that_cannot_make_namespaces_is_refused(tmp_path: Path) -> None:
    """Try it once for real, and say what it said."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxUnavailableError, match="no namespaces here"):
        Sandbox(bwrap=str(broken)).check()
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 7\n")
    silent.chmod(0o755)
    with pytest.raises(SandboxUnavailableError, match="exit status 7"):
        Sandbox(bwrap=str(silent)).check()
    silent.write_text("no program at all")
    with pytest.raises(SandboxUnavailableError, match="does not run"):
        Sandbox(bwrap=str(silent), max_processes=3).check()


def test_folder_that_holds_a_hidden_one_stays_hidden(tmp_path: Path) -> None:
    """Open no home because a program was started in it (B61)."""
    home = tmp_path / "home"
    keys = home / "work" / "keys"
    keys.mkdir(parents=True)
    (home / "lib").mkdir()
    sandbox = Sandbox(
        hidden=(str(home), str(keys)),
        readable=(str(home), str(tmp_path), str(keys), str(keys.parent)),
    )
    command = sandbox.command([sys.executable])
    bound = {command[at + 1] for at, one in enumerate(command) if one == "--ro-bind"}
    assert bound.isdisjoint(sandbox.readable)
    with importable(home / "lib"):
        command = sandbox.command([sys.executable])
    assert str(home / "lib") in command
