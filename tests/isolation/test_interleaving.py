"""Two users' runs, step by step, in every order: each goes as if there were no other.

A loop of its own lets a schedule choose whose step is next, at every one. A user's run
is compared with the same run alone: their results, their events, their tools.
"""

import asyncio
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.steered import virtual_time
from toolkit import Settings, ToolContext, ToolError, Toolkit, UserContext
from toolkit.events import ToolEvent
from toolkit.system import UserToolSystem
from toolkit.testing import make_user

USERS = ("ann", "bob")
WHO: ContextVar[str] = ContextVar("WHO", default="")


# --- the loop -------------------------------------------------------------------------


class Schedule:
    """Says whose step is next wherever both have one; remembers what it said."""

    def __init__(self, choices: Sequence[int] = ()) -> None:
        self._given = tuple(choices)
        self.taken: list[int] = []

    def pick(self, users: list[str]) -> str:
        if len(users) == 1:
            return users[0]
        place = len(self.taken)
        choice = self._given[place] if place < len(self._given) else 0
        self.taken.append(choice)
        return users[choice]

    def following(self) -> "Schedule | None":
        """Return the next of all schedules; None after the last."""
        taken = list(self.taken)
        while taken and taken[-1]:
            taken.pop()
        return Schedule([*taken[:-1], 1]) if taken else None


class SteppedLoop(asyncio.SelectorEventLoop):
    """Runs one step at a time; each user's own steps keep their order."""

    schedule = Schedule()
    _ready: deque[asyncio.Handle]

    def _run_once(self) -> None:
        held = self._ready
        users = {whose(one) for one in held}
        who = "" if "" in users else self.schedule.pick(sorted(users)) if users else ""
        first = [one for one in held if whose(one) == who][:1]
        for one in first:
            held.remove(one)
        self._ready = deque(first)
        super()._run_once()  # type: ignore[misc]  # what asyncio calls at each turn
        self._ready = deque([*held, *self._ready])


def whose(handle: asyncio.Handle) -> str:
    context = handle._context  # type: ignore[attr-defined]  # as asyncio keeps it
    who: str = context.get(WHO, "")
    return who


# --- the tools ------------------------------------------------------------------------


class Diary:
    """Keeps what its user writes, over two waits."""

    name = "diary"

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.pages: list[str] = []

    async def execute(self, text: str, context: ToolContext) -> list[str]:
        self.pages.append(text)
        await asyncio.sleep(0)
        secret = context.secrets["token"]
        self.pages.append(f"{context.user.user_id} {self.owner} {secret}")
        await asyncio.sleep(0)
        return list(self.pages)


class Parts(Diary):
    """The same in parts, with progress."""

    name = "parts"

    async def execute(self, text: str, context: ToolContext) -> AsyncIterator[str]:  # type: ignore[override]  # a tool of another kind
        self.pages.append(text)
        context.progress(0.5, text)
        yield text
        yield f"{context.user.user_id} {len(self.pages)}"


class Limited(Diary):
    """One call at a time, of all users together."""

    name = "limited"


class Guarded(Diary):
    """Runs once somebody has approved it."""

    name = "guarded"


class Fails(Diary):
    """Fails with what it was told."""

    name = "fails"

    async def execute(self, text: str, context: ToolContext) -> list[str]:
        await asyncio.sleep(0)
        raise ToolError(f"{text} of {self.owner}")


class Waits(Diary):
    """Never ends by itself."""

    name = "waits"

    async def execute(self, text: str, context: ToolContext) -> list[str]:
        self.pages.append(text)
        await asyncio.Event().wait()
        return self.pages


class OfAnn(Diary):
    name = "of_ann"


class OfBob(Diary):
    name = "of_bob"


OWN: dict[str, type[Diary]] = {"ann": OfAnn, "bob": OfBob}
SETTINGS = Settings(
    allow=frozenset(),
    approve_tools=frozenset({"guarded"}),
    tool_limits={"limited": {"concurrent": 1}},  # type: ignore[dict-item]  # as a file says it
)


# --- what a user does -----------------------------------------------------------------


class Visit:
    """One user's run: some acts, one after the other, and what came of each."""

    def __init__(self, kit: Toolkit, who: str) -> None:
        self.kit = kit
        self.who = who
        self.events: list[ToolEvent] = []
        self.answers: list[Any] = []
        self.system = self.opened()

    def opened(self) -> UserToolSystem:
        return self.kit.user(
            make_user(self.who),
            tool_classes=[OWN[self.who]],
            sinks=[self.told],
            secrets={"token": f"secret of {self.who}"},
        )

    def told(self, one: ToolEvent) -> None:
        assert one.user_id == self.who
        self.events.append(one)
        if one.type == "tool_approval_required":
            assert self.system.dispatcher.approve(one.call_id)

    async def go(self, acts: Sequence[str]) -> None:
        for number, act in enumerate(acts):
            self.answers.append(await ACTS[act](self, f"{self.who} {number}"))
        await self.system.aclose()

    async def call(self, tool: str, text: str, **options: Any) -> Any:
        result = await self.system.execute(tool, {"text": text}, **options)
        return result.value if result.error is None else result.error.code

    def seen(self) -> list[Any]:
        """Return all that this user saw, without ids and times."""
        calls: dict[str, int] = {}
        for one in self.events:
            calls.setdefault(one.call_id, len(calls))
        told = [
            (
                *(calls[one.call_id], str(one.type), one.tool, one.data, one.ok),
                *(dict(one.arguments or {}), one.error_code),
            )
            for one in self.events
        ]
        return [self.answers, told]


def calling(tool: str) -> Callable[[Visit, str], Awaitable[Any]]:
    async def act(visit: Visit, text: str) -> Any:
        return await visit.call(tool, text)

    return act


async def twice(visit: Visit, text: str) -> Any:
    """Two calls of one tool at once."""
    return await asyncio.gather(visit.call("diary", text), visit.call("diary", "and"))


async def look(visit: Visit, text: str) -> Any:
    """Their tools, and those of the other, which do not exist for them."""
    tools = [str(one.name) for one in visit.system.get_all_tools()]
    (other,) = set(USERS) - {visit.who}
    return tools, await visit.call(f"of_{other}", text)


async def own(visit: Visit, text: str) -> Any:
    return await visit.call(f"of_{visit.who}", text)


async def register(visit: Visit, text: str) -> Any:
    """A tool for a while."""
    registry = visit.system.registry
    registry.register("extra", Diary(visit.system.user_context))
    answer = await visit.call("extra", text)
    return answer, registry.remove("extra"), await visit.call("extra", text)


async def cancel(visit: Visit, text: str) -> Any:
    """Give up a call by its id."""
    waiting = asyncio.ensure_future(visit.call("waits", text))
    await asyncio.sleep(0)
    (call,) = visit.system.dispatcher.running()
    return visit.system.dispatcher.cancel(call.call_id), await waiting


async def abandon(visit: Visit, text: str) -> Any:
    """Give up a call as its caller."""
    waiting = asyncio.ensure_future(visit.call("waits", text))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    return waiting.cancelled(), visit.system.dispatcher.running()


async def deadline(visit: Visit, text: str) -> Any:
    return await visit.call("waits", text, timeout=1)


async def repeat(visit: Visit, text: str) -> Any:
    """The same key twice at once: one call. The other user has the same key."""
    keyed = [visit.call("diary", "keyed", idempotency_key="key") for _ in range(2)]
    return await asyncio.gather(*keyed)


async def reopen(visit: Visit, text: str) -> Any:
    """Leave with a call under way, and come back."""
    waiting = asyncio.ensure_future(visit.call("waits", text))
    await asyncio.sleep(0)
    await visit.system.aclose()
    visit.system = visit.opened()
    return await waiting, await visit.call("diary", text)


ACTS: dict[str, Callable[[Visit, str], Awaitable[Any]]] = {
    "write": calling("diary"),
    "stream": calling("parts"),
    "limit": calling("limited"),
    "approve": calling("guarded"),
    "fail": calling("fails"),
    "twice": twice,
    "look": look,
    "own": own,
    "register": register,
    "cancel": cancel,
    "abandon": abandon,
    "deadline": deadline,
    "repeat": repeat,
    "reopen": reopen,
}


# --- the proof ------------------------------------------------------------------------


class Stage:
    """A toolkit on a stepped loop."""

    def __init__(self, kit: Toolkit, loop: SteppedLoop) -> None:
        self.kit = kit
        self.loop = loop

    def play(
        self, runs: Mapping[str, Sequence[str]], schedule: Schedule
    ) -> dict[str, Any]:
        """Let each user do their acts, in the order of the schedule."""
        self.loop.schedule = schedule

        async def main() -> dict[str, Any]:
            visits = {who: Visit(self.kit, who) for who in runs}
            tasks = []
            for who, visit in visits.items():
                context = copy_context()
                context.run(WHO.set, who)
                going = visit.go(runs[who])
                tasks.append(self.loop.create_task(going, context=context))
            await asyncio.gather(*tasks)
            assert self.kit.factory.statistics()["users"] == 0
            return {who: visit.seen() for who, visit in visits.items()}

        return self.loop.run_until_complete(main())


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    tools = (Diary, Parts, Limited, Guarded, Fails, Waits)
    with (
        virtual_time(SteppedLoop) as (_, loop),
        Toolkit(SETTINGS, objects=tools) as kit,
    ):
        yield Stage(kit, loop)


PAIRS: list[tuple[list[str], list[str]]] = [
    (["write"], ["write"]),
    (["stream"], ["stream"]),
    (["limit"], ["limit"]),
    (["approve"], ["limit"]),
    (["fail"], ["own"]),
    (["look", "write"], ["register"]),
    (["cancel"], ["write"]),
    (["abandon"], ["deadline"]),
    (["repeat"], ["write"]),
    (["reopen"], ["own"]),
    (["twice"], ["limit"]),
]


def alone(stage: Stage, runs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what each user sees when there is no other."""
    return {who: stage.play({who: runs[who]}, Schedule())[who] for who in runs}


@pytest.mark.parametrize(
    "pair", PAIRS, ids=lambda pair: " and ".join("+".join(acts) for acts in pair)
)
def test_every_order_of_two_users_steps_shows_each_only_their_own(
    stage: Stage, pair: tuple[list[str], list[str]]
) -> None:
    """In all orders there are, each run is as if alone (S3, S8, S13, B32, B35)."""
    runs = dict(zip(USERS, pair, strict=True))
    expected = alone(stage, runs)
    orders = 0
    schedule: Schedule | None = Schedule()
    while schedule is not None:
        assert stage.play(runs, schedule) == expected, schedule.taken
        schedule = schedule.following()
        orders += 1
    assert 7 <= orders < 2000


LONG = st.lists(st.sampled_from(sorted(ACTS)), min_size=2, max_size=8)


@profile(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    acts=st.fixed_dictionaries(dict.fromkeys(USERS, LONG)),
    choices=st.lists(st.integers(0, 1), min_size=30, max_size=150),
)
def test_long_runs_of_two_users_are_the_same_in_whatever_order(
    stage: Stage, acts: dict[str, list[str]], choices: list[int]
) -> None:
    """Runs of many acts, and orders that chance chooses (S3, S8, S13, B32, B35)."""
    schedule = Schedule(choices)
    seen = stage.play(acts, schedule)
    assert seen == alone(stage, acts)
    for act in {*acts["ann"], *acts["bob"]}:
        event(f"act: {act}")
    event(f"choices: {len(schedule.taken) // 20 * 20} and more")


def test_a_schedule_goes_through_every_order_once() -> None:
    """Three steps of each of two users are twenty orders."""
    orders = set()
    schedule: Schedule | None = Schedule()
    while schedule is not None:
        left = {"ann": 3, "bob": 3}
        order = []
        while any(left.values()):
            who = schedule.pick([one for one in USERS if left[one]])
            left[who] -= 1
            order.append(who)
        orders.add(tuple(order))
        schedule = schedule.following()
    assert len(orders) == 20
