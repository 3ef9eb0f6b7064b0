"""Waiting in line: in turn between users, each in the order of their own."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from toolkit.fairness import FairQueue


def filled(*pairs: tuple[str, int]) -> FairQueue[int]:
    queue = FairQueue[int]()
    for user_id, item in pairs:
        queue.push(user_id, item)
    return queue


def drained(queue: FairQueue[int]) -> list[int]:
    items = []
    while (item := queue.pop()) is not None:
        items.append(item)
    return items


def test_users_are_served_in_turn_each_in_their_own_order() -> None:
    """Who came first is first, and last again once they were served (B53)."""
    queue = filled(("ann", 1), ("ann", 2), ("ann", 3), ("bob", 4), ("cid", 5))
    queue.push("bob", 6)
    assert drained(queue) == [1, 4, 5, 2, 6, 3]


def test_user_with_many_items_delays_a_newcomer_by_one() -> None:
    """Two hundred in line before cost the next user one turn (B53)."""
    queue = filled(*(("ann", number) for number in range(200)))
    assert queue.pop() == 0
    queue.push("bob", 1000)
    queue.push("ann", 200)  # she goes on filling her line
    assert [queue.pop(), queue.pop(), queue.pop()] == [1, 1000, 2]


def test_user_who_keeps_their_line_full_gets_no_more_than_their_turn() -> None:
    """Every other item is the other's, for as long as both have some (B53)."""
    queue = filled(*(("ann", 0) for _ in range(200)), ("bob", 1))
    served = Counter[int]()
    for _ in range(400):
        item = queue.pop()
        assert item is not None
        served[item] += 1
        queue.push("bob" if item else "ann", item)
    assert served == {0: 200, 1: 200}


def test_empty_queue_gives_nothing() -> None:
    """Nothing is there to take, to discard or to count."""
    queue = filled()
    assert queue.pop() is None
    assert queue.pop_of("ann") is None
    assert not queue.discard("ann", 1)
    assert (len(queue), queue.users(), queue.waiting("ann"), list(queue)) == (
        0,
        (),
        0,
        [],
    )


def test_discarding_the_last_item_ends_the_users_turn() -> None:
    """Whoever has nothing in line is in nobody's way, and nothing is kept of them
    (B41, B53).
    """
    queue = filled(("ann", 1), ("bob", 2), ("bob", 3))
    assert queue.discard("bob", 2)
    assert not queue.discard("bob", 2)
    assert not queue.discard("ann", 3)
    assert queue.discard("ann", 1)
    assert queue.users() == ("bob",)
    queue.push("ann", 4)
    assert drained(queue) == [3, 4]
    assert queue.users() == ()


def test_item_of_one_user_can_be_taken_out_of_turn() -> None:
    """Their turn comes last then, as if it had come (B53)."""
    queue = filled(("ann", 1), ("ann", 2), ("bob", 3), ("cid", 4))
    assert queue.pop_of("cid") == 4
    assert queue.pop_of("ann") == 1
    assert queue.users() == ("bob", "ann")
    assert list(queue) == [3, 2]
    assert [queue.waiting(user) for user in ("ann", "bob", "cid")] == [1, 1, 0]


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["push", "pop", "pop_of", "discard"]), st.integers(0, 3)),
    max_size=60,
)


@given(ACTIONS)
def test_queue_does_as_a_plain_model_of_it(actions: list[tuple[str, int]]) -> None:
    """Whatever is done in whatever order: nothing is lost, doubled or overtaken by
    its own user's items, and turns go round (B53).
    """
    queue, turns, lines = FairQueue[int](), list[str](), dict[str, list[int]]()
    for number, (action, who) in enumerate(actions):
        user = "abcd"[who]
        if action == "push":
            queue.push(user, number)
            lines.setdefault(user, []).append(number)
            turns += [user] * (user not in turns)
        elif action == "discard":
            last = lines.get(user, [])[-1:]
            assert queue.discard(user, last[0] if last else -1) is bool(last)
            lines[user] = lines.get(user, [])[:-1]
            turns = [one for one in turns if lines[one]]
        else:
            taken = queue.pop() if action == "pop" else queue.pop_of(user)
            chosen = next(iter(turns), "") if action == "pop" else user
            line = lines.get(chosen, [])
            assert taken == (line.pop(0) if line else None)
            turns = [one for one in turns if one != chosen] + [chosen] * bool(line)
        assert queue.users() == tuple(turns)
        assert list(queue) == [item for user in turns for item in lines[user]]
        assert len(queue) == sum(map(len, lines.values()))
