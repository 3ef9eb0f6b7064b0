"""Waiting in line, in turn between users: nobody waits for all of another's work."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue that serves users in turn, each in the order of their own items.

    Not safe between threads: its owner holds a lock of their own. All it does takes a
    time that does not grow with its length, but for `discard`, which looks through one
    user's items, `users`, and iterating.
    """

    __slots__ = ("_length", "_lines")

    def __init__(self) -> None:
        """Start empty."""
        self._lines: dict[str, deque[T]] = {}  # whose turn is next comes first
        self._length = 0

    def push(self, user_id: str, item: T) -> None:
        """Put an item at the end of this user's line; a new user's turn comes last."""
        self._lines.setdefault(user_id, deque()).append(item)
        self._length += 1

    def pop(self) -> T | None:
        """Take the next item; its user's turn comes last then. None if empty."""
        for user_id in self._lines:
            return self.pop_of(user_id)
        return None

    def pop_of(self, user_id: str) -> T | None:
        """Take this user's next item, as `pop` does; None if they have none."""
        line = self._lines.pop(user_id, None)
        if line is None:
            return None
        item = line.popleft()
        self._length -= 1
        if line:
            self._lines[user_id] = line
        return item

    def discard(self, user_id: str, item: T) -> bool:
        """Take an item out of the line; False when it is not there."""
        line = self._lines.get(user_id)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._length -= 1
        if not line:
            del self._lines[user_id]
        return True

    def users(self) -> tuple[str, ...]:
        """Return who waits, the next in turn first."""
        return tuple(self._lines)

    def waiting(self, user_id: str) -> int:
        """Return how many items of this user wait."""
        return len(self._lines.get(user_id, ()))

    def __iter__(self) -> Iterator[T]:
        """Iterate over what waits, user by user; must not change meanwhile."""
        for line in self._lines.values():
            yield from line

    def __len__(self) -> int:
        """Return how many items wait."""
        return self._length
