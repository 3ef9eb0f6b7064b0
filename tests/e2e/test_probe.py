"""First contact in a child process: the culprit alone is out, and we are untouched."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import Site, good_tool, open_site
from toolkit import Settings
from toolkit.discovery.index import Publisher, publishers
from toolkit.discovery.probe import MAX_OUTPUT_BYTES, probe

QUICK = Settings(contact_timeout=2.0)
POSIX = pytest.mark.skipif(os.name != "posix", reason="forks and signals are POSIX")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        site.install_tool("a-good", "a_good_mod", "first")
        site.install_tool("z-good", "z_good_mod", "last")
        yield site


def put(site: Site, name: str, source: str, reference: str = "") -> None:
    module = f"{name.replace('-', '_')}_mod"
    points = {"toolkit.tools": {"x": reference or module}}
    site.install(name, points, {f"{module}.py": source})


def found_by(
    site: Site, settings: Settings = QUICK, **more: Any
) -> dict[str, Mapping[str, Any]]:
    """Contact all that is installed here; return the records by name."""
    return {
        publisher.name: record
        for publisher, record in probe(publishers([str(site.folder)]), settings, **more)
    }


def causes(records: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return for each distribution its causes of failure; none for a good one."""
    return {
        name: [one["cause"] for one in record["found"] if one["is"] == "failure"]
        for name, record in records.items()
    }


def test_good_packages_are_described_and_this_process_imports_nothing(
    site: Site,
) -> None:
    """Bring back definitions; leave modules, threads and path as they were (B55)."""
    before = (set(sys.modules), list(sys.path), threading.active_count())
    records = found_by(site)
    assert causes(records) == {"a-good": [], "z-good": []}
    (judged,) = records["a-good"]["found"]
    assert judged["definition"]["name"] == "first"
    assert records["a-good"]["stamps"]
    assert "a_good_mod" not in sys.modules
    ours = {one for one in set(sys.modules) - before[0] if "good_mod" in one}
    assert (ours, list(sys.path)) == (set(), before[1])
    assert threading.active_count() <= before[2] + 3  # readers of pipes that end


@POSIX
def test_many_culprits_in_one_batch_are_each_named(site: Site) -> None:
    """Go on after every one of them, and blame nobody else (S210, B12)."""
    put(site, "b-exits", "import os; os._exit(7)")
    put(site, "c-aborts", "import os; os.abort()")
    put(site, "d-raises", "raise RuntimeError('no')")
    put(site, "e-leaves", "import sys; sys.exit()")
    put(site, "f-kills", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    put(
        site,
        "g-closes",
        "import os\nfor n in range(3, 40):\n  try: os.close(n)\n"
        "  except OSError: pass\n",
    )
    records = found_by(site)
    told = causes(records)
    assert told.pop("a-good") == told.pop("z-good") == []
    assert told == {
        "b-exits": ["ended_process"],
        "c-aborts": ["ended_process"],
        "d-raises": ["import_failed"],
        "e-leaves": ["import_failed"],
        "f-kills": ["ended_process"],
        "g-closes": ["ended_process"],
    }
    (failure,) = records["b-exits"]["found"]
    assert failure["detail"].endswith("exit status 7")
    (failure,) = records["f-kills"]["found"]
    assert failure["detail"].endswith("(SIGKILL)")
    assert records["b-exits"]["stamps"]


def test_package_that_hangs_costs_its_deadline_and_shows_where(site: Site) -> None:
    """End it at its deadline; the log of the report says where it was (B30, B53)."""
    put(site, "m-hangs", "import threading\nthreading.Event().wait()\n")
    started = time.monotonic()
    records = found_by(site, Settings(contact_timeout=0.6))
    spent = time.monotonic() - started
    assert causes(records) == {"a-good": [], "m-hangs": ["hung"], "z-good": []}
    (failure,) = records["m-hangs"]["found"]
    assert "m_hangs_mod.py" in failure["traceback"]
    assert "within 0.6 s" in failure["detail"]
    assert spent < 40  # two deadlines and three children, on a busy machine


def test_neighbours_deed_is_not_blamed_on_the_next(site: Site) -> None:
    """Try again alone, in a fresh process, what failed after others (B12)."""
    patch = "import decimal\ndecimal.Decimal = None\n" + good_tool("x")
    put(site, "b-patches", patch, "b_patches_mod:Good")  # decimal is watched by nobody
    put(site, "c-suffers", "import decimal\ndecimal.Decimal(1)\n" + good_tool("y"))
    records = found_by(site)
    assert causes(records) == {name: [] for name in records}


def test_what_a_package_leaves_behind_ends_its_process(site: Site) -> None:
    """Refuse a patch of what all rely on, and let no later package feel it (S13)."""
    put(site, "b-patches", "import json\njson.dumps = None\n" + good_tool("x"))
    put(site, "c-fine", good_tool("y"), "c_fine_mod:Good")
    records = found_by(site)
    assert causes(records)["b-patches"] == ["left_behind"]
    assert causes(records)["c-fine"] == []
    (failure,) = records["b-patches"]["found"]
    assert "json.dumps" in failure["detail"]


def test_tolerated_package_is_judged_as_any_other(site: Site) -> None:
    """Let the operator name packages that may leave something, as they spell them."""
    source = (
        "import threading\nthreading.Thread(target=threading.Event().wait, "
        "daemon=True).start()\n"
    )
    put(site, "b-threads", source + good_tool("x"), "b_threads_mod:Good")
    assert causes(found_by(site))["b-threads"] == ["left_behind"]
    tolerant = Settings(contact_timeout=2.0, tolerate=frozenset({"B_Threads"}))
    assert causes(found_by(site, tolerant))["b-threads"] == []


@POSIX
def test_forked_copies_neither_answer_nor_live_on(site: Site, tmp_path: Path) -> None:
    """Kill whatever a package has started, and believe one answer only (B66)."""
    pid = tmp_path / "pid"
    source = f"""
import os, threading
child = os.fork()
if child == 0:
    threading.Event().wait()
open({str(pid)!r}, "w").write(str(child))
twin = os.fork()
"""
    put(site, "b-forks", source + good_tool("x"), "b_forks_mod:Good")
    records = found_by(site)
    assert causes(records) == {"a-good": [], "b-forks": [], "z-good": []}
    assert not is_alive(int(pid.read_text()))


def is_alive(pid: int) -> bool:
    """Tell whether a process still runs, giving it a moment to be gone."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":  # killed, and not yet fetched by who adopted it
            return False
    return True


def test_output_is_bounded_and_a_chatty_package_is_fine(site: Site) -> None:
    """Let a package print pages; stop one that prints without end (B47)."""
    put(site, "b-chatty", "print('x' * 200_000)\n" + good_tool("x"))
    put(site, "c-floods", "import sys\nwhile True: sys.stderr.write('y' * 65536)\n")
    put(
        site,
        "d-junk",
        "import os\nos.write(1, b'{\"record\": {}}\\n' * 9)\n" + good_tool("z"),
    )
    told = causes(found_by(site))
    assert told["c-floods"] == ["too_much_output"]
    assert (told["b-chatty"], told["d-junk"]) == ([], [])
    assert MAX_OUTPUT_BYTES == 4 << 20


@POSIX
def test_memory_is_bounded(site: Site) -> None:
    """Give a package no more memory than the setting says (B47)."""
    put(site, "b-hoards", "x = bytearray(1 << 30)\n" + good_tool("x"))
    small = Settings(contact_timeout=10.0, contact_memory_bytes=512 << 20)
    records = found_by(site, small)
    assert causes(records)["b-hoards"] == ["too_much_memory"]
    assert causes(records)["z-good"] == []


def test_many_packages_are_shared_between_processes(site: Site) -> None:
    """Contact dozens, each once, and return them by name (S210)."""
    for number in range(20):
        put(site, f"p-{number:02}", good_tool(f"tool_{number}"))
    records = found_by(site)
    assert list(records) == sorted(records)
    assert len(records) == 22
    assert set(map(tuple, causes(records).values())) == {()}


def test_publisher_outside_of_plain_folders_is_contacted_too(site: Site) -> None:
    """Contact what has no metadata folder of its own, such as in a zip file."""
    put(site, "b-plain", good_tool("x"), "b_plain_mod:Good")
    (one,) = [p for p in publishers([str(site.folder)]) if p.name == "b-plain"]
    bare = Publisher(one.name, one.version, one.entry_points)
    ((_, record),) = probe([bare], QUICK)
    assert [found["is"] for found in record["found"]] == ["judged"]


# --- what a hostile evening found -----------------------------------------------------


@POSIX
def test_daemon_that_a_package_leaves_does_not_keep_us(site: Site) -> None:
    """Go on although a process that left the group still holds the pipes (B30)."""
    source = (
        "import os, signal\nif os.fork() == 0:\n  os.setsid()\n"
        "  signal.alarm(30)\n  signal.pause()\n"
    )
    put(site, "b-daemon", source + good_tool("x"), "b_daemon_mod:Good")
    started = time.monotonic()
    assert causes(found_by(site))["z-good"] == []
    assert time.monotonic() - started < 25  # the daemon lives for 30


@POSIX
@pytest.mark.parametrize(
    "junk",
    ['{"record": {}}', "[" * 100_000, '{"token": "x", "record": {"found": 3}}'],
    ids=["record", "deep", "token"],
)
def test_what_a_package_writes_into_the_answers_is_not_believed(
    site: Site, junk: str
) -> None:
    """Take as answers only what bears this child's token (B36)."""
    source = f"""
import os
for number in range(3, 12):
    try:
        os.write(number, {junk + chr(10)!r}.encode())
    except OSError:
        continue
"""
    put(site, "b-writes", source + good_tool("x"), "b_writes_mod:Good")
    told = causes(found_by(site))
    assert told == {"a-good": [], "b-writes": [], "z-good": []}


def test_child_that_cannot_be_started_is_a_failure_of_nobody_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name every package that could not be met, and lose none (B12, B36)."""
    monkeypatch.setattr(sys, "executable", str(site.folder / "no_such_python"))
    assert causes(found_by(site)) == {
        "a-good": ["not_contacted"],
        "z-good": ["not_contacted"],
    }


def test_what_one_package_sets_does_not_decide_what_the_next_is(site: Site) -> None:
    """Meet the next package in another process when the world has moved (S13)."""
    put(site, "b-sets", "import os\nos.environ['MODE'] = 'b'\n" + good_tool("x"))
    source = (
        "import os\n" + good_tool("y") + "Good.version = os.environ.get('MODE', '')\n"
    )
    put(site, "c-reads", source, "c_reads_mod:Good")
    (judged,) = found_by(site)["c-reads"]["found"]
    assert judged["definition"]["version"] == ""


def test_path_of_any_length_reaches_the_child(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hand the path over where no command line limits it."""
    long = [f"/nowhere/{'x' * 200}/{number}" for number in range(1_000)]
    monkeypatch.setattr(sys, "path", [*sys.path, *long])
    assert causes(found_by(site)) == {"a-good": [], "z-good": []}
