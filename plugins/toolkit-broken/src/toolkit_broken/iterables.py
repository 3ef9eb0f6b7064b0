"""Iterables of tools that hold, or do, something else."""

from collections.abc import Iterator

from toolkit import tool


@tool
def from_a_mixed_list() -> str:
    """Say that the good entry of a mixed list is kept."""
    return "kept"


class _StopsHalfway:
    def __iter__(self) -> Iterator[object]:
        yield from_a_mixed_list
        raise RuntimeError("the second tool could not be made")


stops_halfway = _StopsHalfway()
mixed = [from_a_mixed_list, 3, None, "word_count", object()]
