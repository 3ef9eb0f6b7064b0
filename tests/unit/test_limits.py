"""How many calls may run: who comes in, who waits, who is refused, what is kept."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, takewhile
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.sample_tools import Echo, Tally, catalog_of
from tests.steered import Clock, interrupted, virtual_time
from toolkit import Settings
from toolkit.errors import CallLimitError
from toolkit.limits import Gate, Shares, ToolLimits, UserShare, _Place, shortest

WAIT = 5  # seconds; a bound, never reached when all is well
Timed = tuple[Clock, asyncio.AbstractEventLoop]


@pytest.fixture
def timed() -> Iterator[Timed]:
    with virtual_time(asyncio.SelectorEventLoop) as made:
        yield made


def codes_of(*functions: Any) -> set[CodeType]:
    return {one.__code__ for one in functions}


CODES = {one.__code__ for one in vars(Gate).values() if type(one) is FunctionType}


def gate_of(
    concurrent: int | None = None, per_minute: int | None = None, max_queued: int = 100
) -> Gate:
    return Gate(
        "this user",
        concurrent=concurrent,
        per_minute=per_minute,
        max_queued=max_queued,
    )


class Line:
    """Calls that enter a gate on the running loop; who came in, in order."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.came_in: list[str] = []
        self.calls: dict[str, asyncio.Task[None]] = {}

    async def add(self, name: str, deadline: float | None = None) -> None:
        """Let one more wait; its user is the first letter of its name."""

        async def enter() -> None:
            await self.gate.enter(name[0], deadline)
            self.came_in.append(name)

        self.calls[name] = asyncio.ensure_future(enter())
        await turns()

    async def refusal(self, name: str, deadline: float | None = None) -> CallLimitError:
        await self.add(name, deadline)
        with pytest.raises(CallLimitError) as caught:
            await self.calls[name]
        return caught.value


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def lines_of(try_one: Callable[[int], bool]) -> int:
    """Try with an interruption before each line; return how many there are."""
    return sum(1 for _ in takewhile(try_one, count()))


# --- at once --------------------------------------------------------------------------


async def test_calls_over_the_limit_come_in_as_others_leave_in_turn_of_users() -> None:
    """Each user's calls in the order they came, users in turn (B53)."""
    gate = gate_of(concurrent=1)
    line = Line(gate)
    for name in ("a0", "a1", "a2", "b1", "b2", "c1", "a3"):
        await line.add(name)
    assert line.came_in == ["a0"]
    assert gate.statistics() == {"running": 1, "queued": 6}
    for _ in range(6):
        gate.leave()
        await turns()
    assert line.came_in == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]
    gate.leave()
    assert gate.statistics() == {"running": 0, "queued": 0}
    assert gate.rests()


async def test_nobody_overtakes_who_waits() -> None:
    """A newcomer finds the gate closed while one waits, though a place is free."""
    gate = gate_of(concurrent=2)
    assert gate.try_enter()
    gate.count_in()  # one that found it open before
    gate.count_in()
    line = Line(gate)
    await line.add("a1")
    gate.leave()
    assert [gate.is_open, gate.try_enter()] == [False, False]
    gate.leave()
    await turns()
    assert line.came_in == ["a1"]
    gate.leave()
    assert [gate.is_open, gate.try_enter()] == [True, True]


async def test_full_line_refuses_with_what_is_counted_and_what_to_do() -> None:
    """The error says how many run, how many may, and that one has to finish."""
    line = Line(gate_of(concurrent=2, max_queued=1))
    for name in ("a1", "a2", "a3"):
        await line.add(name)
    error = await line.refusal("b1")
    assert (error.what, error.used, error.limit) == ("calls of this user at once", 2, 2)
    assert error.retry_after is None
    text = "calls of this user at once: 2, allowed: 2. Wait for one to finish."
    assert str(error) == text
    line.gate.leave()
    await turns()
    await line.add("b2")  # there is room in the line again
    line.gate.leave()
    await turns()
    assert line.came_in == ["a1", "a2", "a3", "b2"]


def test_deadline_ends_the_wait_and_gives_the_turn_to_the_next(timed: Timed) -> None:
    """Who gives up in line is passed over, and nothing is counted for them (B30)."""
    clock, loop = timed

    async def main() -> None:
        line = Line(gate_of(concurrent=1))
        await line.add("a0")
        await line.add("a1", deadline=clock.now + 7)
        await line.add("a2")
        before = clock.now
        with pytest.raises(CallLimitError):
            await line.calls["a1"]
        assert clock.now == pytest.approx(before + 7)
        line.gate.leave()
        await turns()
        assert line.came_in == ["a0", "a2"]
        assert line.gate.statistics() == {"running": 1, "queued": 0}
        late = await line.refusal("a3", deadline=clock.now)
        assert late.used == 1

    loop.run_until_complete(main())


@pytest.mark.parametrize("number", range(8))
async def test_place_of_a_call_cancelled_as_it_got_it_goes_to_the_next(
    number: int,
) -> None:
    """Whatever turn of the loop it is cancelled in, no place is lost (B30)."""
    gate = gate_of(concurrent=1)
    line = Line(gate)
    for name in ("a0", "a1", "a2"):
        await line.add(name)
    gate.leave()
    await turns(number)
    line.calls["a1"].cancel()
    await turns()
    if not line.calls["a1"].cancelled():
        gate.leave()  # it was in before
        await turns()
    assert line.came_in[-1] == "a2"
    gate.leave()
    assert gate.statistics() == {"running": 0, "queued": 0}


def test_place_is_not_lost_to_a_call_that_only_begins_to_wait(timed: Timed) -> None:
    """Before whichever line another call leaves, the one that lines up comes in."""
    _, loop = timed

    def try_one(at: int) -> bool:
        gate = gate_of(concurrent=1)
        assert gate.try_enter()
        left: list[int] = []

        def leave() -> None:
            if not left:
                left.append(at)
                gate.leave()

        async def main() -> None:
            entering = asyncio.ensure_future(gate.enter("a", None))
            await turns()
            leave()
            await asyncio.wait_for(entering, WAIT)

        run = partial(loop.run_until_complete, main())
        came = interrupted(run, leave, within=CODES, at=at)
        gate.leave()
        assert gate.statistics() == {"running": 0, "queued": 0}
        return came

    assert lines_of(try_one) > 20


# --- the rate -------------------------------------------------------------------------


def test_call_over_the_rate_starts_when_the_first_is_a_minute_old(timed: Timed) -> None:
    """Any sixty seconds see no more starts than the rate, and no fewer than it can."""
    clock, loop = timed
    starts: list[float] = []

    async def main() -> None:
        gate = gate_of(per_minute=3)

        async def call(user_id: str) -> None:
            await gate.enter(user_id, None)
            starts.append(clock.now - 1000)
            gate.leave()

        await call("a")
        clock.now += 20
        await asyncio.gather(*(call(user_id) for user_id in "abababab"))
        assert not gate.rests()
        clock.now += 60
        assert gate.rests()

    loop.run_until_complete(main())
    expected = [0, 20, 20, 60, 80, 80, 120, 140, 140]
    assert starts == pytest.approx(expected, abs=0.01)


def test_who_waits_for_another_to_leave_looks_at_the_rate_then(timed: Timed) -> None:
    """A call that was not waiting for the rate is woken when only that holds it up."""
    clock, loop = timed

    async def main() -> None:
        line = Line(gate_of(concurrent=1, per_minute=2))
        for name in ("a1", "a2", "a3", "b1"):
            await line.add(name)
        clock.now += 5
        line.gate.leave()
        await turns()
        assert line.came_in == ["a1", "a2"]
        line.gate.leave()
        await asyncio.wait_for(line.calls["b1"], 100)
        assert clock.now == pytest.approx(1060, abs=0.01)
        line.gate.leave()
        await asyncio.wait_for(line.calls["a3"], 100)
        assert clock.now == pytest.approx(1065, abs=0.01)
        line.gate.leave()

    loop.run_until_complete(main())


def test_who_waits_for_the_rate_gives_their_turn_to_the_next(timed: Timed) -> None:
    """The first in line gives up just before the rate allows it; the second comes in
    (B30).
    """
    clock, loop = timed

    async def main() -> None:
        line = Line(gate_of(per_minute=1))
        for name in ("a1", "a2", "b1"):
            await line.add(name)
        clock.now += 60
        line.calls["a2"].cancel()
        await asyncio.wait_for(line.calls["b1"], 100)
        assert line.came_in == ["a1", "b1"]
        assert clock.now == pytest.approx(1060, abs=0.01)

    loop.run_until_complete(main())


def test_deadline_before_the_rate_allows_it_is_refused_at_once(timed: Timed) -> None:
    """The error says how many started, how many may, and when to come back."""
    clock, loop = timed

    async def main() -> None:
        line = Line(gate_of(per_minute=2, max_queued=2))
        await line.add("a1")
        clock.now += 10
        await line.add("a2")
        clock.now += 20
        error = await line.refusal("a3", deadline=clock.now + 29)
        assert error.what == "calls of this user in the last minute"
        assert (error.used, error.limit, error.retry_after) == (2, 2, 30.0)
        assert str(error).endswith(": 2, allowed: 2. Try again in 30 s.")
        assert clock.now == 1030
        await line.add("a4", deadline=clock.now + 31)
        await line.add("a5")
        full = await line.refusal("a6")
        assert (full.used, full.limit, full.retry_after) == (2, 2, 30.0)
        await line.calls["a5"]
        assert line.came_in == ["a1", "a2", "a4", "a5"]

    loop.run_until_complete(main())


def test_line_that_the_rate_has_just_set_free_refuses_nobody(timed: Timed) -> None:
    """Whoever comes before those in line were woken finds them gone in, not waiting."""
    clock, loop = timed

    async def main() -> None:
        line = Line(gate_of(per_minute=1, max_queued=1))
        await line.add("a1")
        await line.add("a2")
        clock.now += 61
        await line.add("b1", deadline=clock.now + 61)
        await asyncio.wait_for(line.calls["b1"], 100)
        assert line.came_in == ["a1", "a2", "b1"]

    loop.run_until_complete(main())


def test_call_that_never_starts_does_not_count_to_the_rate(timed: Timed) -> None:
    """Cancelled as it came in, or given back unused: another may start instead."""
    clock, loop = timed

    async def main() -> None:
        line = Line(gate_of(concurrent=1, per_minute=2))
        await line.add("a1")
        await line.add("a2")
        line.gate.leave()
        line.calls["a2"].cancel()  # it has its place by now
        await turns()
        await line.add("a3")
        assert line.came_in == ["a1", "a3"]
        line.gate.leave(was_started=False)
        await line.add("a4")
        assert line.came_in == ["a1", "a3", "a4"]
        line.gate.leave()
        await line.add("a5")
        await asyncio.wait_for(line.calls["a5"], 100)
        assert clock.now == pytest.approx(1060, abs=0.01)

    loop.run_until_complete(main())


# --- several loops --------------------------------------------------------------------


def left_waiting(gate: Gate) -> asyncio.AbstractEventLoop:
    """Return a loop that has stopped with a call in the line."""
    loop = asyncio.new_event_loop()
    loop.waiting = loop.create_task(gate.enter("a", None))  # type: ignore[attr-defined]  # kept with it
    loop.run_until_complete(turns())
    return loop


def ended(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop with a call in it, as a careless owner does."""
    task = loop.waiting  # type: ignore[attr-defined]  # see above
    task._log_destroy_pending = False
    loop.close()


def test_call_of_a_closed_loop_takes_no_place_and_no_start(timed: Timed) -> None:
    """It is passed over, and the next comes in at once (B30, B41)."""
    _, loop = timed
    gate = gate_of(concurrent=1, per_minute=2)
    assert gate.try_enter()
    ended(left_waiting(gate))

    async def main() -> None:
        line = Line(gate)
        await line.add("b1")
        gate.leave()
        await turns()
        assert line.came_in == ["b1"]
        gate.leave()

    loop.run_until_complete(main())
    gc.collect()
    assert gate.statistics() == {"running": 0, "queued": 0}


def test_calls_of_closed_loops_leave_room_in_the_line(timed: Timed) -> None:
    """They wait for nothing, so nobody is refused because of them (B41)."""
    _, loop = timed
    gate = gate_of(concurrent=1, max_queued=1)
    assert gate.try_enter()
    ended(left_waiting(gate))

    async def main() -> None:
        line = Line(gate)
        await line.add("b1")
        gate.leave()
        await asyncio.wait_for(line.calls["b1"], WAIT)

    loop.run_until_complete(main())
    assert gate.statistics() == {"running": 1, "queued": 0}


@pytest.mark.integration  # interrupted at each line: seconds
def test_place_is_not_lost_on_a_loop_that_closes_as_it_gets_it(timed: Timed) -> None:
    """Before whichever line the loop is closed, the place is another's (B30)."""
    _, loop = timed

    def try_one(at: int) -> bool:
        gate = gate_of(concurrent=1)
        assert gate.try_enter()
        other = left_waiting(gate)
        close = partial(ended, other)
        came = interrupted(gate.leave, close, within=CODES, at=at)
        if not came:
            other.run_until_complete(other.waiting)  # type: ignore[attr-defined]  # see above
            gate.leave()
            close()
        del other, close
        gc.collect()

        async def main() -> None:
            await asyncio.wait_for(gate.enter("b", None), WAIT)

        loop.run_until_complete(main())
        assert gate.statistics() == {"running": 1, "queued": 0}
        return came

    assert lines_of(try_one) > 5


async def test_loop_that_is_closed_before_it_is_told_gives_its_turn_to_the_next() -> (
    None
):
    """It was open when its call was chosen; nobody waits for what is left of it."""
    gate = gate_of(concurrent=1)
    assert gate.try_enter()
    other = await asyncio.to_thread(left_waiting, gate)
    line = Line(gate)
    await line.add("b1")
    close = partial(ended, other)
    assert interrupted(gate.leave, close, within=codes_of(_Place.tell), at=0)
    await turns()
    assert line.came_in == ["b1"]
    assert gate.statistics() == {"running": 1, "queued": 0}
    del other, close
    gc.collect()
    assert gate.statistics() == {"running": 1, "queued": 0}


def test_calls_of_many_loops_keep_to_one_limit() -> None:
    """Loops in threads of their own wait for each other's calls, and all come in
    (B53, B56).
    """
    gate = gate_of(concurrent=2, max_queued=1000)
    inside, most, threads, each = 0, 0, 4, 100
    lock = threading.Lock()
    start = threading.Barrier(threads)

    async def call(user_id: str) -> None:
        nonlocal inside, most
        if not gate.try_enter():
            await gate.enter(user_id, None)
        with lock:
            inside += 1
            most = max(most, inside)
        await asyncio.sleep(0)
        with lock:
            inside -= 1
        gate.leave()

    async def main(user_id: str) -> None:
        start.wait(WAIT)
        calls = (call(user_id) for _ in range(each))
        await asyncio.wait_for(asyncio.gather(*calls), 4 * WAIT)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda one: asyncio.run(main(f"user{one}")), range(threads)))
    assert most == 2
    assert gate.statistics() == {"running": 0, "queued": 0}


# --- what a user has of the process ---------------------------------------------------

SETTINGS = Settings(max_concurrent_calls=3, max_queued_calls=0)
PER_USER = Settings(
    tool_limits={
        "echo": {"concurrent_per_user": 1},  # type: ignore[dict-item]  # as a file says it
        "acme.tally": {"concurrent": 1, "per_minute_per_user": 2},  # type: ignore[dict-item]  # see above
    }
)


def test_share_is_one_per_user_while_any_of_their_systems_lives() -> None:
    """It is the same for all of them, and nothing of it is kept afterwards (B41)."""
    shares = Shares()
    first, second = shares.opened("ann"), shares.opened("ann")
    assert first is second
    assert shares.opened("bob") is not first
    assert shares.count("ann") == 2
    shares.closed(first)
    assert shares.opened("ann") is first
    shares.closed(first)
    shares.closed(first)
    assert shares.count("ann") == 0
    assert shares.opened("ann") is not first
    counts = {"open_systems": 2, "users": 2, "registry_count_per_user": 1}
    assert shares.statistics() == {**counts, "basemodel_rejections": 0}


def test_share_is_found_again_while_something_of_it_goes_on(timed: Timed) -> None:
    """A call that runs on, or a start in the last minute: not two gates (B47)."""
    clock, _ = timed
    settings = Settings(calls_per_minute=5)
    shares = Shares()
    share = shares.opened("ann")
    gate = share.gate(settings)
    assert gate.try_enter()
    shares.closed(share)
    assert shares.opened("ann") is share
    gate.leave()
    shares.closed(share)
    assert shares.opened("ann") is share  # within a minute
    shares.closed(share)
    clock.now += 61
    for number in range(3):  # who comes clears away who is gone
        shares.closed(shares.opened(f"user{number}"))
    assert shares.opened("ann") is not share


@pytest.mark.parametrize("act", ["open", "close"])
@pytest.mark.parametrize("closed", [1, 2])
def test_share_is_one_wherever_a_collection_closes_systems(
    act: str, closed: int
) -> None:
    """Before each line of opening and closing one, forgotten ones may be closed."""
    codes = codes_of(Shares.opened, Shares.closed)

    def try_one(at: int) -> bool:
        shares = Shares()
        forgotten = [shares.opened("ann") for _ in range(closed)]
        live = [shares.opened("ann")] if act == "close" else []

        def collect() -> None:
            while forgotten:
                shares.closed(forgotten.pop())

        def do() -> None:
            if act == "open":
                live.append(shares.opened("ann"))
            else:
                shares.closed(live.pop())

        came = interrupted(do, collect, within=codes, at=at)
        collect()
        assert shares.count("ann") == len(live)
        assert len({id(one) for one in [*live, shares.opened("ann")]}) == 1
        return came

    assert lines_of(try_one) > 3


def test_gate_is_one_wherever_another_system_asks_for_it() -> None:
    """Of all calls as of one tool's: systems that open at once share it (B53)."""
    codes = codes_of(UserShare.gate, UserShare.tool_gate)
    limit = PER_USER.tool_limits["echo"]

    def try_one(at: int, ask: Callable[[UserShare], Gate]) -> bool:
        share = UserShare("ann")
        got: list[Gate] = []

        def act() -> None:
            got.append(ask(share))

        came = interrupted(act, act, within=codes, at=at)
        assert len({id(one) for one in [*got, ask(share)]}) == 1
        return came

    def of_all(share: UserShare) -> Gate:
        return share.gate(SETTINGS)

    def of_tool(share: UserShare) -> Gate:
        return share.tool_gate("echo", limit, 1)

    for ask in (of_all, of_tool):
        assert lines_of(partial(try_one, ask=ask)) > 1


def test_gates_of_a_tool_are_the_users_own_and_everybodys() -> None:
    """A limit goes by any name of the tool; who has none passes no gate."""
    limits = ToolLimits(PER_USER)
    ann, bob = UserShare("ann"), UserShare("bob")
    echo, tally = catalog_of(Echo, Tally).view
    (of_ann,) = limits.gates_of(echo, ann)
    assert limits.gates_of(echo, ann) == (of_ann,)
    assert limits.gates_of(echo, bob) != (of_ann,)
    (own, shared) = limits.gates_of(tally, ann)
    assert limits.gates_of(tally, ann) == (own, shared)
    assert limits.gates_of(tally, bob)[1] is shared
    assert limits.gates_of(tally, bob)[0] is not own
    assert ToolLimits(SETTINGS).gates_of(echo, ann) == ()
    (other,) = catalog_of(type("Other", (Echo,), {"name": "other"})).view
    assert limits.gates_of(other, ann) == ()
    assert own.try_enter()
    assert not own.rests()
    assert not ann.rests()
    assert bob.rests()


async def test_gate_of_a_user_is_as_the_settings_say() -> None:
    """So many at once; with no room in the line the next is refused."""
    gate = UserShare("ann").gate(SETTINGS)
    assert [gate.try_enter() for _ in range(4)] == [True, True, True, False]
    with pytest.raises(CallLimitError) as caught:
        await gate.enter("ann", None)
    assert (caught.value.used, caught.value.limit) == (3, 3)
    assert shortest(None, 2.0, 1.0) == 1.0
    assert shortest(None) is None
