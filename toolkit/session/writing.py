"""Writing what messages hold: fast, and total over any object."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from pydantic_core import from_json, to_json

CUT: Final = "..."  # stands for what leads back to itself; pydantic's own word
UNWRITABLE: Final = "<cannot be written>"

_to_json: Final = partial(to_json, serialize_unknown=True, inf_nan_mode="null")


def write(value: object) -> bytes:
    """Return any object as JSON text in UTF-8. Never fails for what it is or holds.

    What JSON has not is written as near as can be: infinite numbers as null, any
    mapping as an object, other objects as their text, what leads back to itself as
    ``...``.
    """
    try:
        return _to_json(value, fallback=_known)
    except Exception:  # noqa: BLE001 - values of agents and tools do what they like
        return _to_json(_plain(value, frozenset()))


def _known(value: object) -> object:
    """Return what pydantic does not know as something that it does."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _plain(value: object, above: frozenset[int]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the nearest JSON value, part by part: one bad part spoils no other."""
    if id(value) in above:
        return CUT
    try:
        return _parts(value, above | {id(value)})
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - an object may raise anything when looked at
        return UNWRITABLE


def _parts(value: object, above: frozenset[int]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str | bytes):
        return _unicode(value)
    if isinstance(value, Mapping):
        return {_name(key): _plain(one, above) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one, above) for one in value]
    if isinstance(value, Iterator):
        return UNWRITABLE  # the first try has used it up
    return from_json(_to_json(value))


def _unicode(value: str | bytes) -> str:
    """Replace what is no Unicode; the methods are of the types, not of subclasses."""
    data = str.encode(value, errors="replace") if isinstance(value, str) else value
    return bytes.decode(data, errors="replace")


def _name(key: object) -> str:
    """Return a mapping's key as a name in an object."""
    return _unicode(key) if isinstance(key, str) else str(from_json(_to_json(key)))
