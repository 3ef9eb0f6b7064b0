"""The frames between a worker process and its parent: a JSON head and a raw body.

A frame is two lengths, a head that is a JSON object, and a body that is passed on as it
is: arguments and results are JSON already, and nobody between the caller and the tool
parses them. Nothing is pickled, so a frame can make its reader run nothing.
"""

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from pydantic_core import from_json, to_json

MAX_HEAD_BYTES: Final = 16 << 20
"""Size of a head; one that is larger holds somebody's data by mistake."""
MAX_BODY_BYTES: Final = 64 << 20
"""Size of a body: the arguments of a call, its result, or one of its parts."""

_LENGTHS: Final = struct.Struct("!II")

Frame = tuple[dict[str, Any], bytes]


def pack(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Write one frame.

    Args:
        head: What it says, as JSON values; ``is`` names its kind.
        body: Sent as it is.

    Raises:
        ValueError: Head or body are longer than their bounds.
    """
    text = to_json(head)
    if len(text) > MAX_HEAD_BYTES or len(body) > MAX_BODY_BYTES:
        message = f"{len(text)} and {len(body)} bytes are too long for a frame"
        raise ValueError(message)
    return _LENGTHS.pack(len(text), len(body)) + text + body


class FrameReader:
    """Makes frames of the pieces that a stream brings. Belongs to one stream."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        """Start with nothing."""
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next piece.

        Returns:
            The frames that are whole with it, the oldest first; empty when none is.

        Raises:
            ValueError: The stream brings something else than frames.
        """
        kept, found = self._kept, []
        kept += data
        while len(kept) >= _LENGTHS.size:
            head_size, body_size = _LENGTHS.unpack_from(kept)
            if head_size > MAX_HEAD_BYTES or body_size > MAX_BODY_BYTES:
                message = "a frame's lengths are out of bounds"
                raise ValueError(message)
            start = _LENGTHS.size + head_size
            end = start + body_size
            if len(kept) < end:
                break
            found.append((_read(kept[_LENGTHS.size : start]), bytes(kept[start:end])))
            del kept[:end]
        return found


def _read(text: bytearray) -> dict[str, Any]:
    """Read a head; what it holds is for its reader to judge."""
    with suppress(ValueError):
        head: object = from_json(text, cache_strings="keys")  # not secrets
        if isinstance(head, dict):
            return head
    message = "a frame's head is no JSON object"
    raise ValueError(message)
