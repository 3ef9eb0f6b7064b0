"""Ten thousand systems come and go: nothing of them is left, closed or forgotten."""

import asyncio
import gc
import warnings
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.sample_tools import until
from toolkit import Settings, ToolContext, Toolkit, UserContext
from toolkit.testing import make_user

SYSTEMS = 10_000
USERS = 2_500  # so that some systems of one user are open together
FORGOTTEN = 400
BATCH = 50  # systems that are open at once
WAIT = 10  # seconds; a bound, never reached when all is well
Watched = list["weakref.ref[Any]"]


class Total:
    """Adds up what its user gives it."""

    name = "total"
    closed: ClassVar[deque[int]] = deque(maxlen=SYSTEMS)

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.numbers: list[int] = []

    def close(self) -> None:
        Total.closed.append(int(self.owner.removeprefix("user")))

    async def execute(self, number: int) -> int:
        self.numbers.append(number)
        return sum(self.numbers)


class Suspended(Total):
    """The same, over a turn of the loop."""

    name = "suspended"

    async def execute(self, number: int) -> int:
        self.numbers.append(number)
        await asyncio.sleep(0)
        return sum(self.numbers)


class Threaded(Total):
    """The same, in a thread."""

    name = "threaded"

    def execute(self, number: int, context: ToolContext) -> int:  # type: ignore[override]  # a tool of another kind
        self.numbers.append(number + len(context.secrets["token"]))
        return number


class Sink:
    """Told events; weakly referable, easy to count."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def __call__(self, event: object) -> None:
        self.told.append(event)


@pytest.fixture
def kit() -> Iterator[Toolkit]:
    settings = Settings(allow=frozenset(), max_threads=1)  # no installed distribution
    with Toolkit(settings, objects=[Total, Suspended, Threaded]) as made:
        yield made


def kinds() -> Counter[str]:
    """Count the live objects of each type."""
    gc.collect()
    return Counter(
        f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects()
    )


async def visit(kit: Toolkit, number: int, watched: Watched) -> None:
    """Open a system, use it in one of the ways there are, and close it."""
    user = make_user(f"user{number % USERS}")
    sink = Sink()
    many: dict[str, Any] = (
        {} if number % 5 else {"sinks": [sink], "secrets": {"token": "secret"}}
    )
    async with kit.user(user, **many) as system:
        assert (await system.execute("total", {"number": number})).value == number
        if number % 5 == 0:
            assert (await system.execute("threaded", {"number": number})).ok
        if number % 5 < 3:
            suspended = await system.execute("suspended", {"number": 1})
            assert suspended.value == 1
        if number % 10 == 0:
            assert not (await system.execute("total", {"number": "x"})).ok
        theirs = [sink, system, system.registry, system.dispatcher]
        theirs.append(system.registry.get("total"))
        watched += [weakref.ref(one) for one in theirs]


async def visits(kit: Toolkit, numbers: range, watched: Watched) -> None:
    for first in numbers[::BATCH]:
        batch = (visit(kit, first + one, watched) for one in range(BATCH))
        await asyncio.wait_for(asyncio.gather(*batch), WAIT)


async def grown(kit: Toolkit, before: "Counter[str]") -> dict[str, int]:
    """Count what there is more of, once every thread has let go of its last call."""
    threads = kit.factory.executors.threads
    await until(lambda: threads.statistics()["idle"] == threads.statistics()["threads"])
    return dict(kinds() - before)


def ours(kinds_of: dict[str, int]) -> dict[str, int]:
    """Leave out what is of Python itself, where pytest and others come and go."""
    return {
        kind: number
        for kind, number in kinds_of.items()
        if kind.startswith(("toolkit.", f"{__name__}.", "tests.", "pydantic"))
    }


async def test_ten_thousand_systems_leave_no_object_behind(kit: Toolkit) -> None:
    """Opened, used and closed: every one is gone, with its user, tools and results
    (S12, B41, B47).
    """
    watched: Watched = []
    await visits(kit, range(BATCH), watched)  # makes what is made once
    before = kinds()
    await visits(kit, range(SYSTEMS), watched)
    more = await grown(kit, before)
    assert len(watched) == 5 * (SYSTEMS + BATCH)
    assert sum(one() is not None for one in watched) == 0
    assert ours(more) == {}
    more.pop("weakref.ReferenceType")  # the test's own
    assert max(more.values(), default=0) < SYSTEMS // 50, more
    counts = kit.factory.statistics()
    assert (counts["open_systems"], counts["users"], counts["views"]) == (0, 0, 1)


async def forget(kit: Toolkit, number: int) -> None:
    """Use a system and drop it."""
    system = kit.user(make_user(f"user{number}"), secrets={"token": "secret"})
    if number % 4:
        assert (await system.execute("total", {"number": number})).ok
    if number % 4 == 2:
        assert (await system.execute("threaded", {"number": number})).ok
    if number % 4 == 3:
        assert (await system.execute("suspended", {"number": number})).ok


async def test_forgotten_systems_warn_and_leave_no_object_behind(kit: Toolkit) -> None:
    """Used or not, each is named in a ResourceWarning, its tools are closed, and it is
    gone (S12, B41, B46).
    """
    await visits(kit, range(BATCH), [])
    Total.closed.clear()
    before = kinds()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(FORGOTTEN):
            await forget(kit, number)
        await grown(kit, before)
        texts = {str(one.message) for one in caught}
        assert {one.category for one in caught} == {ResourceWarning}
        assert len(texts) == len(caught) == FORGOTTEN
        assert "the tool system of 'user7' was never closed" in "".join(sorted(texts))
        caught.clear()  # a warning keeps what it is about
    used = [number for number in range(FORGOTTEN) if number % 4]
    assert sorted(set(Total.closed)) == used
    assert ours(await grown(kit, before)) == {}
    assert kit.factory.statistics()["users"] == 0
