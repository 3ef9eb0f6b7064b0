"""Users side by side, interleaved step by step: nothing of one shows at another."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sample_tools import AdminWipe, Echo, Tally, Whoami, catalog_of
from toolkit import ToolContext, UserContext, UserContextToolFactory
from toolkit.errors import ToolNotFoundError
from toolkit.testing import RecordingSink, make_user

WAIT = 10  # seconds; a bound, never reached when all is well
USERS = 16


class Diary:
    """Writes in two steps, with everybody else's first step in between."""

    name = "diary"
    meeting: asyncio.Barrier

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.pages: list[str] = []

    async def execute(self, text: str, context: ToolContext) -> list[str]:
        self.pages.append(text)
        await self.meeting.wait()
        self.pages.append(f"{context.user.user_id}/{self.owner}")
        await self.meeting.wait()
        return list(self.pages)


class Ledger:
    """The same, in threads."""

    name = "ledger"
    meeting = threading.Barrier(2)

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.lines: list[str] = []

    def execute(self, text: str, context: ToolContext) -> list[str]:
        self.lines.append(text)
        self.meeting.wait(WAIT)
        self.lines.append(f"{context.user.user_id}/{self.owner}")
        self.meeting.wait(WAIT)
        return list(self.lines)


@pytest.fixture
def factory() -> Iterator[UserContextToolFactory]:
    made = UserContextToolFactory(
        catalog_of(Echo, Tally, Whoami, AdminWipe, Diary, Ledger)
    )
    yield made
    made.close()


async def test_two_users_interleaved_in_one_tool_stay_apart(
    factory: UserContextToolFactory,
) -> None:
    """Both are inside the same tool at the same time; each has their own pages
    (S3, S8, S13, B32, B35).
    """
    Diary.meeting = asyncio.Barrier(2)
    events = {name: RecordingSink() for name in ("ann", "bob")}
    async with (
        factory.create_user_tool_system(make_user("ann"), sinks=[events["ann"]]) as ann,
        factory.create_user_tool_system(make_user("bob"), sinks=[events["bob"]]) as bob,
    ):
        for tool in ("diary", "ledger"):
            calls = (
                ann.execute(tool, {"text": "ann's secret"}),
                bob.execute(tool, {"text": "bob's secret"}),
            )
            results = await asyncio.wait_for(asyncio.gather(*calls), WAIT)
            assert [one.unwrap() for one in results] == [
                ["ann's secret", "ann/ann"],
                ["bob's secret", "bob/bob"],
            ]
    for name, sink in events.items():
        assert len(sink.events) == 4
        assert {one.user_id for one in sink.events} == {name}


async def test_second_user_never_sees_first_users_tool(
    factory: UserContextToolFactory,
) -> None:
    """Own tools, registered tools and guarded tools are their holder's only
    (S3, S41, S42, S53).
    """

    class Private(Echo):
        name = "private"

    admin = make_user("ann", scopes={"admin:wipe"})
    async with (
        factory.create_user_tool_system(admin, [Private]) as ann,
        factory.create_user_tool_system(make_user("bob")) as bob,
    ):
        ann.registry.register("registered", Echo())
        extra = {"private", "registered", "admin_wipe"}
        mine = {str(one.name) for one in ann.get_all_tools()}
        theirs = {str(one.name) for one in bob.get_all_tools()}
        assert mine - theirs == extra
        assert theirs < mine
        for name in sorted(extra):
            refused = await bob.execute(name, {"text": "a"})
            assert isinstance(refused.error, ToolNotFoundError)
            assert extra.isdisjoint(refused.error.near)


async def test_many_users_open_use_and_close_at_once(
    factory: UserContextToolFactory,
) -> None:
    """Every user's count is their own, whoever comes and goes meanwhile (S7, S25)."""
    gate = asyncio.Barrier(USERS)

    async def visit(number: int) -> list[Any]:
        user = make_user(f"user{number}")
        await gate.wait()
        async with factory.create_user_tool_system(user) as system:
            counts = [(await system.execute("tally")).unwrap() for _ in range(5)]
            names = (await system.execute("whoami")).unwrap()
        return [counts, names]

    visits = await asyncio.wait_for(
        asyncio.gather(*(visit(number) for number in range(USERS))), WAIT
    )
    for number, (counts, names) in enumerate(visits):
        assert counts == [1, 2, 3, 4, 5]
        assert names == [f"user{number}"] * 3
    assert factory.statistics()["open_systems"] == 0


def test_users_in_threads_of_their_own_never_conflict(
    factory: UserContextToolFactory,
) -> None:
    """Sixteen loops in sixteen threads over one factory: no conflict, no crossing
    (S3, S25, S53, S57).
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    start = threading.Barrier(USERS)

    async def visit(number: int) -> tuple[list[int], list[str]]:
        async with factory.create_user_tool_system(
            make_user(f"user{number}"), [Own]
        ) as system:
            system.registry.register("registered", Echo())
            counts = [(await system.execute("tally")).unwrap() for _ in range(3)]
            assert (await system.execute("own", {"text": "a"})).ok
            return counts, (await system.execute("whoami")).unwrap()

    class Own(Echo):
        name = "own"

    def in_a_thread(number: int) -> tuple[list[int], list[str]]:
        start.wait(WAIT)
        return asyncio.run(visit(number))

    try:
        with ThreadPoolExecutor(USERS) as pool:
            visits = list(pool.map(in_a_thread, range(USERS)))
    finally:
        sys.setswitchinterval(before)
    assert visits == [([1, 2, 3], [f"user{n}"] * 3) for n in range(USERS)]
    assert factory.statistics()["open_systems"] == 0


async def test_one_users_failures_and_closing_disturb_nobody(
    factory: UserContextToolFactory,
) -> None:
    """Ann leaves in the middle of Bob's call; his ends as it should (B34, B35)."""
    Diary.meeting = asyncio.Barrier(2)

    def broken(event: object) -> None:
        raise ConnectionError("ann's connection is gone")

    bob = factory.create_user_tool_system(make_user("bob"))
    ann = factory.create_user_tool_system(make_user("ann"), sinks=[broken])
    async with bob:
        calls = [
            bob.execute("diary", {"text": "a"}),
            bob.execute("diary", {"text": "b"}),
        ]
        running = asyncio.gather(*calls)
        await ann.execute("echo", {"text": 5})
        waiting = asyncio.ensure_future(ann.execute("echo", {"text": "a"}))
        await ann.aclose()
        await waiting
        results = await asyncio.wait_for(running, WAIT)
        assert [one.ok for one in results] == [True, True]
        assert sorted(results[0].unwrap()[:2]) == ["a", "b"]
