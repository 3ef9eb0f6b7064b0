"""From what a process keeps, no user's object can be reached; nothing is left over."""

import asyncio
import gc
import logging
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from types import FunctionType, ModuleType
from typing import Any
from uuid import uuid4

import pytest

from tests.sample_tools import Echo, Tally, Whoami, shout, until
from toolkit import Settings, ToolContext, Toolkit, UserContext
from toolkit.context import Secrets
from toolkit.dispatch import ToolResult, UnifiedToolDispatcher
from toolkit.events import ShownArguments, ToolEvent
from toolkit.executors import Job
from toolkit.executors.call_task import CallTask
from toolkit.executors.inline import InlineExecutor, LoopPart
from toolkit.executors.threads import ThreadExecutor, _Work
from toolkit.executors.watchdog import Watchdog
from toolkit.fairness import FairQueue
from toolkit.limits import Gate, Shares, ToolLimits, UserShare, _Place
from toolkit.plans import Call, Plan
from toolkit.repeats import Repeats
from toolkit.system import UserToolSystem
from toolkit.testing import RecordingSink, make_user
from toolkit.tool_registry import ToolRegistry

CYCLES = 300
WAIT = 10  # seconds; a bound, never reached when all is well


class Keepsake:
    """What a backend might attach to a user; weakly referable, easy to find."""


class Hoarder:
    """Keeps everything it gets, as a careless tool would."""

    name = "hoarder"

    def __init__(self, user: UserContext) -> None:
        self.kept: list[object] = [user]

    async def execute(self, user: UserContext, note: str) -> int:
        self.kept += [user, note]
        return len(self.kept)


class Blocked:
    """Raises with the user in a frame of its traceback."""

    name = "blocked"

    def execute(self, user: UserContext) -> None:
        keepsake = user.metadata["keepsake"]
        raise OSError(str(keepsake))


TOOLS = (Echo, Tally, Whoami, Hoarder, Blocked, shout)


@pytest.fixture
def kit() -> Iterator[Toolkit]:
    settings = Settings(allow=frozenset())  # no installed distribution
    with Toolkit(settings, objects=TOOLS) as made:
        yield made


@pytest.fixture
def _no_log_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest keeps every log record of a test, and with it the traceback's frames."""
    monkeypatch.setattr(logging.getLogger("toolkit.dispatch"), "disabled", True)


def context(user_id: str) -> tuple[UserContext, Keepsake]:
    keepsake = Keepsake()
    return make_user(user_id, metadata={"keepsake": keepsake}), keepsake


async def collected(kit: Toolkit) -> None:
    """Collect, once every worker thread has let go of its last call."""
    threads = kit.factory.executors.threads
    await until(lambda: threads.statistics()["idle"] == threads.statistics()["threads"])
    gc.collect()


async def use(kit: Toolkit, user: UserContext, *, own: bool) -> None:
    """Do with a system what a connection does, failures and all."""

    class Own(Echo):
        name = "own"
        owner = user

    async with kit.user(user, tool_classes=[Own] if own else None) as system:
        await system.execute("tally")
        await system.execute("whoami")
        await system.execute("hoarder", {"note": user.user_id})
        await system.execute("blocked")
        await system.execute("absent")
        await system.execute("echo", {"text": 5})
        await system.execute("own", {"text": "a"})
        system.registry.register_factory("made", lambda _user: Echo())
        await system.execute("made", {"text": "a"})
        assert len(system.get_all_tools()) == len(TOOLS) + 1 + own


def reachable(
    roots: list[object], *, stop: tuple[type, ...] = (ModuleType,)
) -> Iterator[object]:
    """Walk everything that these objects keep alive, in this package and beyond.

    Modules and functions of the interpreter lead everywhere; what matters is kept in
    objects, so the walk stops at modules and at the globals of functions.
    """
    seen = {id(one) for one in roots}
    queue = list(roots)
    while queue:
        one = queue.pop()
        yield one
        for found in gc.get_referents(one):
            is_globals = isinstance(one, FunctionType) and found is one.__globals__
            if id(found) in seen or isinstance(found, stop) or is_globals:
                continue
            seen.add(id(found))
            queue.append(found)


def process_objects(kit: Toolkit) -> list[object]:
    parts = (kit.catalog, kit.report, kit.factory, kit.settings)
    executors = kit.factory.executors
    return [kit, *parts, executors, executors.threads, executors.inline]


ELSEWHERE = (ModuleType, logging.Logger)  # pytest keeps what is logged


def caches() -> list[object]:
    """Return what modules keep: the globals of ours and of `re`, and every cache."""
    ours = [
        module
        for name, module in tuple(sys.modules.items())
        if name == "re" or name.partition(".")[0] == "toolkit"
    ]
    kept = [value for module in ours for value in vars(module).values()]
    return kept + [one for one in gc.get_objects() if type(one) is _lru_cache_wrapper]


def marked(found: object, mark: str) -> bool:
    """Tell whether this is a text that has the mark in it."""
    if type(found) is bytes:
        return mark.encode() in found
    return type(found) is str and mark in found


def is_users(found: object) -> bool:
    users = (UserContext, Keepsake, Echo, Tally, Whoami, Hoarder, Blocked)
    return type(found) in users


@pytest.mark.parametrize("own", [False, True], ids=["catalog", "own tools"])
async def test_no_users_object_is_reachable_from_process_objects(
    kit: Toolkit,
    own: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Process objects hold classes and validators, never a user, an instance or an
    argument; also while systems are open (S11, S13, S41, B32, B40).
    """
    users = [context(f"user{number}") for number in range(3)]
    for user, _ in users:
        await use(kit, user, own=own)
    open_one = kit.user(users[0][0])
    async with open_one:
        await open_one.execute("hoarder", {"note": "still open"})
        gc.collect()
        walked = list(reachable(process_objects(kit)))
        assert len(walked) > 1000  # it did go somewhere
        assert [one for one in walked if is_users(one)] == []
        kept = list(reachable([open_one]))
        assert any(type(one) is Hoarder for one in kept)  # the walk does find users


# --- everything a system can be given, and everything that can be asked of a call ----


class Keeper:
    """Keeps and returns all that it is told, secrets too, and streams progress."""

    name = "keeper"

    def __init__(self, user: UserContext) -> None:
        self.kept: list[object] = [user]

    async def execute(self, note: str, context: ToolContext) -> list[str]:
        self.kept += [context, note]
        context.progress(0.5, note)
        await asyncio.sleep(0)
        return [note, context.secrets["token"]]


class Guarded(Keeper):
    """The same, for callers who have somebody's approval."""

    name = "guarded"


class Threaded(Keeper):
    """The same, in a thread."""

    name = "threaded"

    def execute(self, note: str, context: ToolContext) -> list[str]:  # type: ignore[override]  # a tool of another kind
        self.kept += [context, note]
        context.progress(0.5, note)
        return [note, context.secrets["token"]]


class Parts(Keeper):
    """The same, part by part."""

    name = "parts"

    async def execute(self, note: str, context: ToolContext) -> Any:
        self.kept += [context, note]
        for part in (note, context.secrets["token"]):
            yield part


class Quick:
    """Takes nothing but arguments, so that its calls go the shortest way."""

    name = "quick"

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def execute(self, note: str) -> str:
        self.kept.append(note)
        return note


class Approving(RecordingSink):
    """Keeps events, and approves what asks for it."""

    system: UserToolSystem

    def __call__(self, event: ToolEvent) -> None:
        super().__call__(event)
        if event.type == "tool_approval_required":
            assert self.system.dispatcher.approve(event.call_id)


KEEPERS = (Keeper, Guarded, Threaded, Parts)
PLAIN = Settings(allow=frozenset(), approve_tools=frozenset({"guarded"}))
LIMITED = Settings(
    allow=frozenset(),
    approve_tools=frozenset({"guarded"}),
    calls_per_minute=1000,
    tool_limits={
        "keeper": {"concurrent": 4, "per_minute": 1000},  # type: ignore[dict-item]  # as a file says it
        "threaded": {"concurrent_per_user": 2, "per_minute_per_user": 1000},  # type: ignore[dict-item]  # see above
    },
)
OF_USERS = (
    *(UserContext, UserToolSystem, ToolRegistry, UnifiedToolDispatcher, Repeats),
    *(Keepsake, Quick, *KEEPERS, Approving, RecordingSink),
    *(ToolContext, ToolEvent, ToolResult, ShownArguments, Plan, Call, CallTask, Job),
)
COUNTS_ONLY = {
    *(Shares, UserShare, Gate, FairQueue, deque, dict, OrderedDict),
    *(str, int, float, type(None)),
}


def of_users(found: object, mark: str) -> bool:
    """Tell whether this is a user's: by its kind, or by what is written in it."""
    if type(found) is Secrets:
        return len(found) > 0
    return type(found) in OF_USERS or marked(found, mark)


async def use_everything(system: UserToolSystem, mark: str) -> None:
    """Call every kind of tool in every way there is, so that each keeps something."""
    note = {"note": f"note {mark}"}
    for again in range(2):  # the second call of a tool may go a shorter way
        for tool in ("keeper", "threaded", "parts", "guarded"):
            own = RecordingSink()
            result = await system.execute(tool, note, on_event=own)
            assert result.value == [f"note {mark}", f"secret {mark}"]
            assert own.types()[-1] == "tool_completed"
        for tool in ("quick", "keeper"):
            key = {"idempotency_key": f"{tool} {mark}"}
            first = await system.execute(tool, note, timeout=WAIT, **key)
            assert first.ok
            assert await system.execute(tool, note, **key) is first
            assert (await system.execute(tool, note)).ok
        assert not (await system.execute("keeper", {"note": [mark]})).ok
        assert not (await system.execute(mark, note)).ok
        assert (await system.execute("quick", f'{{"note": "{mark}{again}"}}')).ok


async def opened_and_used(
    kit: Toolkit, user_id: str, mark: str
) -> tuple[UserToolSystem, list["weakref.ref[Any]"]]:
    """Return a system that is open and idle, and what must go with it."""
    user, keepsake = context(user_id)
    sink = Approving()
    secrets = {"token": f"secret {mark}"}
    system = sink.system = kit.user(user, sinks=[sink], secrets=secrets)
    await use_everything(system, mark)
    instances = [system.registry.get(tool.name) for tool in (*KEEPERS, Quick)]
    theirs = (keepsake, system, system.registry, system.dispatcher, sink, *instances)
    return system, [weakref.ref(one) for one in theirs]


@pytest.mark.parametrize("settings", [PLAIN, LIMITED], ids=["plain", "limited"])
async def test_whatever_a_call_is_given_stays_in_its_users_system(
    settings: Settings,
) -> None:
    """Secrets, sinks, approvals, keys and limits: from process objects no user's object
    and no text of theirs is reached, neither while they are open nor after
    (B32, B35, B40, B41, B47).
    """
    mark = uuid4().hex  # in no constant of any code
    with Toolkit(settings, objects=(*KEEPERS, Quick)) as kit:
        opened = [await opened_and_used(kit, f"user{n}", mark) for n in range(3)]
        systems = [system for system, _ in opened]
        watched = [ref for _, refs in opened for ref in refs]
        del opened
        await collected(kit)
        walked = list(reachable(process_objects(kit)))
        assert [type(one) for one in walked if of_users(one, mark)] == []
        parts = {ThreadExecutor, InlineExecutor, LoopPart, Watchdog, Shares, ToolLimits}
        assert {*parts, UserShare, Gate} <= {type(one) for one in walked}
        theirs = {type(one) for one in reachable([*systems]) if of_users(one, mark)}
        assert theirs >= {UserContext, UserToolSystem, Repeats, ToolEvent, *KEEPERS}
        assert theirs >= {str, Secrets, ToolResult, ShownArguments}
        del theirs
        while systems:
            await systems.pop().aclose()
        await collected(kit)
        await until(lambda: not any(ref() for ref in watched))
        walked = list(reachable(process_objects(kit)))
        assert [type(one) for one in walked if of_users(one, mark)] == []


async def test_no_cache_of_a_module_keeps_what_a_user_gave() -> None:
    """Names that nobody has, secrets, keys, arguments and own classes are in no global
    of ours, in none of `re` and in no cache, neither while they are open nor after
    (B32, B40, B47).
    """
    mark = uuid4().hex
    with Toolkit(PLAIN, objects=(*KEEPERS, Quick)) as kit:
        system, watched = await opened_and_used(kit, f"id {mark}", mark)
        theirs = {id(one()) for one in watched}
        await collected(kit)
        walked = list(reachable(caches(), stop=ELSEWHERE))
        assert len(walked) > 10_000  # it did go somewhere
        assert [one for one in walked if marked(one, mark) or id(one) in theirs] == []
        kept = list(reachable([system], stop=ELSEWHERE))
        assert any(marked(one, f"secret {mark}") for one in kept)
        await system.aclose()
        del system, kept
        await collected(kit)
        walked = list(reachable([*caches(), *process_objects(kit)], stop=ELSEWHERE))
        assert [one for one in walked if marked(one, mark)] == []


# --- while calls are on their way -----------------------------------------------------


class Waits(Keeper):
    """Keeps what it is told, and waits until it is let go."""

    name = "waits"
    end: asyncio.Event

    async def execute(self, note: str, context: ToolContext) -> list[str]:
        self.kept += [context, note]
        await Waits.end.wait()
        return [note, context.secrets["token"]]


class Streams(Waits):
    """The same, between two parts."""

    name = "streams"

    async def execute(self, note: str, context: ToolContext) -> Any:
        self.kept += [context, note]
        yield note
        await Waits.end.wait()
        yield context.secrets["token"]


class Blocks(Waits):
    """The same, in a thread."""

    name = "blocks"
    freed: threading.Event

    def execute(self, note: str, context: ToolContext) -> list[str]:  # type: ignore[override]  # a tool of another kind
        self.kept += [context, note]
        assert Blocks.freed.wait(WAIT)
        return [note, context.secrets["token"]]


IN_USE = Settings(
    allow=frozenset(),
    approve_tools=frozenset({"guarded"}),
    max_threads_per_user=1,
    tool_limits={"streams": {"concurrent": 1}},  # type: ignore[dict-item]  # as a file says it
)
IN_FLIGHT = (
    *(Call, CallTask, Job, _Work, _Place),
    *(asyncio.Future, asyncio.Handle, asyncio.AbstractEventLoop),
)


async def in_flight(
    kit: Toolkit, system: UserToolSystem, mark: str
) -> "list[asyncio.Task[ToolResult]]":
    """Begin calls of all kinds: running, in a thread, in line for either, not approved.

    Returns:
        Their tasks; the last one waits for approval.
    """
    Waits.end, Blocks.freed = asyncio.Event(), threading.Event()
    names = ["waits", "streams", "streams", "blocks", "blocks", "waits", "guarded"]
    note = {"note": f"note {mark}"}
    calls = [
        asyncio.ensure_future(
            system.execute(name, note, timeout=WAIT, idempotency_key=f"{number} {mark}")
        )
        for number, name in enumerate(names)
    ]
    threads, running = kit.factory.executors.threads, system.dispatcher.running
    states = sorted([*["running"] * 5, "waiting", "approval"])
    await until(lambda: sorted(one.state for one in running()) == states)
    await until(lambda: threads.statistics()["queued"] == 1)
    return calls


async def ended(
    system: UserToolSystem, calls: "list[asyncio.Task[ToolResult]]"
) -> list[Any]:
    """Let them all go on; return their values and keep nothing."""
    Waits.end.set()
    Blocks.freed.set()
    (last,) = [one for one in system.dispatcher.running() if one.state == "approval"]
    assert system.dispatcher.approve(last.call_id)
    results = await asyncio.wait_for(asyncio.gather(*calls), WAIT)
    calls.clear()
    return [one.value for one in results]


async def test_calls_on_their_way_are_all_that_leads_to_their_user() -> None:
    """Beside those that run or wait, nothing leads to who made them; nothing at all to
    another user, or to anybody afterwards (B32, B35, B40, B41).
    """
    mark, other = uuid4().hex, uuid4().hex
    tools = (*KEEPERS, Quick, Waits, Streams, Blocks)
    with Toolkit(IN_USE, objects=tools) as kit:
        idle, _ = await opened_and_used(kit, "bob", other)
        sink, secrets = RecordingSink(), {"token": f"secret {mark}"}
        system = kit.user(make_user("ann"), sinks=[sink], secrets=secrets)
        calls = await in_flight(kit, system, mark)
        roots = [*process_objects(kit), *caches()]
        beside = list(reachable(roots, stop=(*ELSEWHERE, *IN_FLIGHT)))
        assert [type(one) for one in beside if marked(one, mark)] == []
        theirs = {id(system), id(system.dispatcher), id(system.registry), id(sink)}
        assert [type(one) for one in beside if id(one) in theirs] == []
        by_calls = (*ELSEWHERE, asyncio.AbstractEventLoop)
        walked = list(reachable(roots, stop=by_calls))
        assert [type(one) for one in walked if marked(one, other)] == []
        assert any(marked(one, mark) for one in walked)  # the calls do lead there
        del walked, beside, roots
        values = await ended(system, calls)
        assert values == [[f"note {mark}", f"secret {mark}"]] * 7
        await system.aclose()
        await idle.aclose()
        del system, idle, sink, values
        await collected(kit)
        walked = list(reachable([*process_objects(kit), *caches()], stop=ELSEWHERE))
        assert [one for one in walked if marked(one, mark) or marked(one, other)] == []


async def test_what_is_remembered_of_who_is_gone_are_ids_counts_and_times() -> None:
    """A user who closes all within a minute of a call finds their count again; beside
    it nothing is kept of them, and that only for as long (B41, B47).
    """
    with Toolkit(LIMITED, objects=(*KEEPERS, Quick)) as kit:
        for number in range(20):
            async with kit.user(make_user(f"user{number}")) as system:
                assert (await system.execute("quick", {"note": "a"})).ok
        shares = kit.factory.shares
        lock = type(shares._lock)
        kept = list(reachable([shares], stop=(type, ModuleType)))
        assert {type(one) for one in kept} - {lock} <= COUNTS_ONLY
        assert sum(type(one) is UserShare for one in kept) == 20
        async with kit.user(make_user("user7")) as system:
            assert (await system.execute("quick", {"note": "a"})).ok
            again = [one for one in reachable([shares]) if type(one) is UserShare]
            starts = [
                len(one.gate(LIMITED)._starts or ())
                for one in again
                if one.user_id == "user7"
            ]
            assert (len(again), starts) == (20, [2])


@pytest.mark.usefixtures("_no_log_kept")
async def test_nothing_of_three_hundred_users_is_left(kit: Toolkit) -> None:
    """Created, used, closed: every system, instance and attachment is collected
    (S12, B41, B47).
    """
    watched: list[weakref.ref[Any]] = []
    for number in range(CYCLES):
        user, keepsake = context(f"cycle{number}")
        watched.append(weakref.ref(keepsake))
        async with kit.user(user) as system:
            for name in ("tally", "whoami", "blocked"):
                await system.execute(name)
            await system.execute("hoarder", {"note": "a"})
            watched += [weakref.ref(system), weakref.ref(system.registry)]
            watched += [weakref.ref(system.dispatcher)]
            watched += [weakref.ref(system.registry.get(n)) for n in ("tally", "echo")]
        del system, user, keepsake
    await collected(kit)
    assert sum(one() is not None for one in watched) == 0
    assert kit.health()["systems"]["open_systems"] == 0
    assert kit.health()["systems"]["users"] == 0
    assert kit.health()["systems"]["views"] == 1
    users = [one for one in gc.get_objects() if type(one) is UserContext]
    assert [one for one in users if one.user_id.startswith("cycle")] == []


@pytest.mark.usefixtures("_no_log_kept")
async def test_classes_of_users_are_left_behind_no_more_than_their_systems(
    kit: Toolkit,
) -> None:
    """A tool class made for one user goes when they go (B41, B47)."""
    watched: list[weakref.ref[Any]] = []

    async def one(number: int) -> None:
        user, keepsake = context(f"user{number}")
        watched.append(weakref.ref(keepsake))
        await use(kit, user, own=True)

    for number in range(30):
        await one(number)
    await collected(kit)
    assert sum(ref() is not None for ref in watched) == 0


async def test_calls_given_up_leave_nothing_once_they_end(kit: Toolkit) -> None:
    """Timeouts and cancelled callers in a storm: all is collected (B30, B50)."""
    events = RecordingSink()

    class Slow:
        name = "slow"

        async def execute(self, user: UserContext) -> None:
            await asyncio.Event().wait()

    watched = []
    for number in range(50):
        user, keepsake = context(f"user{number}")
        watched.append(weakref.ref(keepsake))
        async with kit.user(user, tool_classes=[Slow], sinks=[events]) as system:
            calls = [
                asyncio.ensure_future(system.execute("slow", timeout=timeout))
                for timeout in (None, 0.001, None)
            ]
            await asyncio.sleep(0)
            calls[0].cancel()
        done, pending = await asyncio.wait(calls, timeout=WAIT)
        assert not pending
        assert sum(call.cancelled() for call in done) == 1
        del system, user, keepsake, calls, done
    assert kit.factory.executors.inline.statistics() == {"late": 0, "blocked": 0}
    assert events.types().count("tool_executing") == 150
    assert events.types().count("tool_completed") == 150
    await collected(kit)
    assert sum(ref() is not None for ref in watched) == 0
