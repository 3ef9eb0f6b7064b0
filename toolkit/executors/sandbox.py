"""The bubblewrap command line that shuts a worker process in.

Inside there is no network, no capability and no way to more rights; the file system is
read-only and hides homes, temporary folders and ``/run``; ``/tmp`` and ``/dev/shm`` are
its own, of bounded size, and gone with it. Processes of others cannot be seen.

Source: bwrap(1), bubblewrap 0.4 and later; setrlimit(2) for the number of processes.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import randbelow
from shutil import which
from typing import Final

from toolkit.errors import SandboxUnavailableError

HIDDEN: Final = ("/home", "/root", "/tmp", "/var/tmp", "/run")  # noqa: S108 - hidden, not used
"""Folders that hold what is somebody's own, or the sockets of running services."""

PROBE_SECONDS: Final = 10.0
"""For the one sandbox that is made to see whether it can be; most take 0.1 s."""

_FIRST_ID: Final = 0x7000_0000  # ids that nobody has: beyond what systemd gives out
_IDS: Final = 0x0FFF_0000
_ENVIRONMENT: Final = {
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TMPDIR": "/tmp",  # noqa: S108 - the same
}
_DROP: Final = (
    "import os, sys; one = int(sys.argv[1]); os.setgroups([]); "
    "os.setresgid(one, one, one); os.setresuid(one, one, one); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""Becomes a user whom nobody is, then the program; before any code but Python's own.

For root the kernel counts no processes, and root reads every file; so where the service
is root, its sandboxes are somebody else, each another.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """How worker processes are shut in. Immutable; holds no resource.

    Attributes:
        bwrap: The program: a name on the operator's ``PATH``, or a path.
        readable: Further files and folders that can be read although they are in a
            hidden folder. The interpreter and what is on ``sys.path`` always can.
        hidden: Folders that are empty inside.
        max_processes: Processes and threads that a sandbox may have at once. Counted
            for the sandbox alone since Linux 5.14; before, for its user.
        tmp_bytes: Size of ``/tmp``, and of ``/dev/shm``.
    """

    bwrap: str = "bwrap"
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = HIDDEN
    max_processes: int = 64
    tmp_bytes: int = 64 << 20

    def check(self) -> None:
        """Make sure that a sandbox can be made here; makes one for that, once.

        Raises:
            SandboxUnavailableError: bubblewrap is missing, or cannot make namespaces.
        """
        program = which(self.bwrap)
        if program is None:
            raise SandboxUnavailableError(f"there is no program {self.bwrap!r}")
        detail = _probe(self, program)
        if detail:
            raise SandboxUnavailableError(detail)

    def command(self, program: Sequence[str]) -> list[str]:
        """Return the command line that runs a program in a sandbox of its own.

        File descriptors that are passed to it reach the program.

        Args:
            program: The program and its arguments; the program is an absolute path.
        """
        is_root = os.geteuid() == 0
        drop: list[str] = []
        if is_root:
            user = str(_FIRST_ID + randbelow(_IDS))
            drop = [sys.executable, "-I", "-S", "-c", _DROP, user]
        return [
            which(self.bwrap) or self.bwrap,
            *_namespaces(is_root=is_root),
            *self._mounts(),
            *("--chdir", "/tmp", "--clearenv"),  # noqa: S108 - the sandbox's own
            *(word for pair in _ENVIRONMENT.items() for word in ("--setenv", *pair)),
            *("--", *drop, *program),
        ]

    def _mounts(self) -> Iterator[str]:
        """Yield the arguments that make the file system, in the order that counts."""
        yield from ("--ro-bind", "/", "/")
        hidden = [os.path.realpath(one) for one in self.hidden if Path(one).is_dir()]
        own = os.path.realpath("/tmp")  # noqa: S108 - the sandbox's own
        size = str(self.tmp_bytes)
        for folder in sorted({*hidden, own}):  # a folder before what is in it
            if folder == own:
                yield from ("--size", size, "--perms", "1777")
            yield from ("--tmpfs", folder)
        needed = sorted(_needed(hidden, self.readable))
        for folder in sorted({up for one in needed for up in _between(hidden, one)}):
            yield from ("--perms", "0755", "--dir", folder)
        for place in needed:
            yield from ("--ro-bind", place, place)
        for folder in sorted({*hidden} - {own}):
            yield from ("--remount-ro", folder)
        yield from ("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev")
        yield from ("--size", size, "--perms", "1777", "--tmpfs", "/dev/shm")  # noqa: S108 - the same


def _namespaces(*, is_root: bool) -> Iterator[str]:
    """Yield the arguments that unshare all, and drop every right."""
    if is_root:  # it needs no user namespace, and could be nobody else within one
        yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net")
        yield from ("--unshare-uts", "--unshare-cgroup-try")
    else:
        yield "--unshare-all"
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if is_root:  # both are gone once it is somebody else
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")


def _needed(hidden: Sequence[str], readable: Sequence[str]) -> set[str]:
    """Return what a worker must read and hidden folders would hide.

    A folder that is itself hidden, or holds a hidden one, stays hidden: a program that
    is started in somebody's home does not open it.
    """
    python = [sys.executable, str(Path(sys.executable).resolve().parent)]
    prefixes = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    library = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    path = [one for one in sys.path if type(one) is str]
    wanted = [
        *python,
        *prefixes,
        *library,
        *(str(Path(one).absolute()) for one in path),
        *readable,
    ]
    places = {way for one in wanted for way in (one, os.path.realpath(one))}
    found = {one for one in places if _is_hidden(Path(one), hidden)}
    return {one for one in found if not _is_covered(one, found)}


def _is_hidden(place: Path, hidden: Sequence[str]) -> bool:
    inside = any(place.is_relative_to(one) and place != Path(one) for one in hidden)
    around = any(Path(one).is_relative_to(place) for one in hidden)
    return inside and not around and place.exists()


def _between(hidden: Sequence[str], place: str) -> Iterator[str]:
    """Yield the folders that lead from a hidden one to what is in it."""
    for one in Path(place).parents:
        if any(one.is_relative_to(h) and one != Path(h) for h in hidden):
            yield str(one)


def _is_covered(place: str, others: set[str]) -> bool:
    return any(str(one) in others for one in Path(place).parents)


@cache
def _probe(sandbox: Sandbox, program: str) -> str:
    """Make one sandbox; return why it cannot be made, or nothing."""
    command = sandbox.command([sys.executable, "-I", "-S", "-c", "pass"])
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own bwrap
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not run: {type(error).__name__}"
    if done.returncode == 0:
        return ""
    said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
    return said or f"{program} ends with exit status {done.returncode}"
