"""From what a process keeps, no user's object can be reached; nothing is left over."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from tests.sample_tools import Echo, Tally, Whoami, shout, until
from toolkit import Settings, Toolkit, UserContext
from toolkit.testing import RecordingSink, make_user

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
    threads = kit.factory.threads
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


def reachable(roots: list[object]) -> Iterator[object]:
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
            if id(found) in seen or isinstance(found, ModuleType) or is_globals:
                continue
            seen.add(id(found))
            queue.append(found)


def process_objects(kit: Toolkit) -> list[object]:
    parts = (kit.catalog, kit.report, kit.factory, kit.settings)
    return [kit, *parts, kit.factory.threads, kit.factory.inline, kit.factory.policy]


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
    assert kit.factory.inline.statistics() == {"running": 0, "late": 0}
    assert events.types().count("tool_executing") == 150
    assert events.types().count("tool_completed") == 150
    await collected(kit)
    assert sum(ref() is not None for ref in watched) == 0
