"""Who is asking (`UserContext`) and for which call (`ToolContext`)."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from itertools import takewhile
from operator import eq
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn
from uuid import uuid4

from toolkit.errors import InvalidUserContextError, MissingSecretError

MAX_DEPTH: Final = 16
"""How deep child contexts may nest; agents that call agents rarely pass four."""

MAX_ID_LENGTH: Final = 256
"""Longest id accepted; OpenID Connect Core 1.0 section 2 caps ``sub`` at 255."""

PLACEHOLDERS: Final = frozenset(
    {
        *("none", "null", "nil", "nan", "n/a", "undefined", "unknown", "string"),
        *("placeholder", "anonymous", "default", "example", "temp", "todo", "xxx"),
        *("user_id", "userid", "session_id", "thread_id", "run_id"),
    }
)
"""Ids that mean "somebody forgot to fill this in", compared without case."""

REDACTED: Final = "[redacted]"

_CUT: Final = "..."
_CUT_LENGTH: Final = 4  # characters by which a text that was cut off is found

_UNFIT = re.compile(r"^\s|\s$|^[<{\[$]")


def _new_id() -> str:
    return uuid4().hex


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidUserContextError(name, f"is {type(value).__name__}, not a string")
    if not value.strip():
        raise InvalidUserContextError(name, "is empty")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidUserContextError(name, f"is longer than {MAX_ID_LENGTH}")
    if not value.isprintable():
        raise InvalidUserContextError(name, "holds characters that cannot be seen")
    if value.casefold() in PLACEHOLDERS or _UNFIT.search(value):
        raise InvalidUserContextError(name, "is a placeholder, not a real id")


def _check_depth(depth: object) -> None:
    if type(depth) is not int or not 0 <= depth <= MAX_DEPTH:
        raise InvalidUserContextError("depth", f"is not within 0 to {MAX_DEPTH}")


def _names(name: str, value: object) -> frozenset[str]:
    if isinstance(value, str | bytes):
        raise InvalidUserContextError(
            name, f"is one string; pass a set such as {{{value!r}}}"
        )
    names = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(item, str) and item for item in names):
        raise InvalidUserContextError(name, "holds something other than names")
    return frozenset(names)


def _freeze(value: Any) -> Any:  # noqa: ANN401 - any value the backend attaches
    if isinstance(value, Mapping):
        return MappingProxyType({key: _freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(_freeze, value))
    if isinstance(value, set):
        return frozenset(value)
    return value


@dataclass(frozen=True, slots=True)
class UserContext:
    """Who is asking. Immutable, owned by nobody, safe to share between threads.

    Args:
        user_id: Who; the only id that must be given.
        session_id: The connection or login; minted when absent.
        thread_id: The conversation; minted when absent.
        run_id: One request within it; minted when absent.
        parent_run_id: The run that started this one, for child contexts.
        roles: Role names; the access policy says which scopes a role brings.
        scopes: Scope names, compared literally, without wildcards.
        metadata: What the backend attaches, never the user. Lists and mappings are
            copied and frozen all the way down.
        depth: Number of contexts above this one, at most `MAX_DEPTH`.

    Raises:
        InvalidUserContextError: An id is empty, a placeholder or no string; roles or
            scopes are one bare string or hold other things than names; metadata is no
            mapping; the depth is out of bounds.
    """

    user_id: str
    _: KW_ONLY
    session_id: str = field(default_factory=_new_id)
    thread_id: str = field(default_factory=_new_id)
    run_id: str = field(default_factory=_new_id)
    parent_run_id: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    depth: int = 0

    def __post_init__(self) -> None:
        """Check every field, then freeze the collections."""
        for name in ("user_id", "session_id", "thread_id", "run_id"):
            _check_id(name, getattr(self, name))
        if self.parent_run_id is not None:
            _check_id("parent_run_id", self.parent_run_id)
        _check_depth(self.depth)
        if not isinstance(self.metadata, Mapping):
            raise InvalidUserContextError("metadata", "is not a mapping")
        object.__setattr__(self, "roles", _names("roles", self.roles))
        object.__setattr__(self, "scopes", _names("scopes", self.scopes))
        object.__setattr__(self, "metadata", _freeze(self.metadata))

    def child(self, *, run_id: str | None = None) -> "UserContext":
        """Return a context for a run that this run starts: same user, one deeper.

        A child never has more rights than its parent.

        Args:
            run_id: Id of the new run; minted when absent.

        Raises:
            InvalidUserContextError: Nesting would pass `MAX_DEPTH`, or `run_id` is
                empty or a placeholder.
        """
        run_id = _new_id() if run_id is None else run_id
        _check_id("run_id", run_id)
        _check_depth(self.depth + 1)
        child = object.__new__(type(self))
        own = {"run_id": run_id, "parent_run_id": self.run_id, "depth": self.depth + 1}
        for name in self.__slots__:  # all else was checked, and cannot change
            value = own[name] if name in own else getattr(self, name)
            object.__setattr__(child, name, value)
        return child

    def __deepcopy__(self, memo: dict[int, object]) -> "UserContext":
        """Return itself: nothing in it can change."""
        return self


class Secrets(Mapping[str, str]):
    """One user's secrets by name, for the tools they call. Immutable.

    Reading one by its name is the only way to its value that is meant. The values are
    in no text made of this, it cannot be pickled, and a copy of it is itself.

    Args:
        values: The secrets by name; both are texts that are not empty.

    Raises:
        InvalidUserContextError: It is no mapping of such texts.
    """

    __slots__ = ("_forms", "_values")

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        """Copy the values."""
        given: object = {} if values is None else values
        if not isinstance(given, Mapping) or not all(
            isinstance(one, str) and one for pair in given.items() for one in pair
        ):
            text = "is no mapping of names to texts that are not empty"
            raise InvalidUserContextError("secrets", text)
        self._values = {str(name): str(value) for name, value in given.items()}
        self._forms = tuple(
            {one for text in self._values.values() for one in _forms(text)}
        )

    def scrub(self, text: str) -> str:
        """Return a text in which every secret's value is blanked out.

        Found as it is, on one line, and as Python and JSON write it between quotes,
        also within a text that is written so once more, and where its middle is left
        out, as pydantic shows long values: ``begin...end``. Where two overlap, both are
        blanked out. No pattern is compiled: the interpreter would keep it.
        """
        if not self._forms:
            return text
        found = sorted(place for form in self._forms for place in _places(form, text))
        if _CUT in text:
            cuts = (place for form in self._forms for place in _cuts(form, text))
            found = sorted([*found, *cuts])
        pieces, end = [], 0
        for start, stop in found:
            if start >= end:
                pieces += [text[end:start], REDACTED]
            end = max(end, stop)
        return "".join([*pieces, text[end:]])

    def __getitem__(self, name: str) -> str:
        """Return a secret.

        Raises:
            MissingSecretError: This user has none of that name.
        """
        try:
            return self._values[name]
        except (KeyError, TypeError):
            raise MissingSecretError(str(name)) from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Tell whether it is this very object; values are not compared."""
        return self is other

    def __hash__(self) -> int:
        """Go by identity."""
        return id(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:  # noqa: ANN401 - pydantic's
        """Let pydantic read types that hold one; what arguments may hold is judged."""
        from pydantic_core.core_schema import any_schema  # noqa: PLC0415 - heavy

        return any_schema()

    def __copy__(self) -> "Secrets":
        """Return itself."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "Secrets":
        """Return itself."""
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled.

        Raises:
            TypeError: Always.
        """
        text = "secrets are not pickled"
        raise TypeError(text)

    def __repr__(self) -> str:
        """Count them."""
        return f"<Secrets, {len(self)} names>"


def _forms(value: str) -> set[str]:
    """Return a text in all the ways in which other texts may hold it."""
    forms = {value, " ".join(value.split()) or value}  # an error's text on one line
    for _ in range(2):
        forms |= {written for one in forms for written in _written(one)}
    return forms


def _written(text: str) -> tuple[str, ...]:
    """Return a text as Python and JSON write it between quotes."""
    return (
        repr(text)[1:-1],
        repr("\"'" + text)[4:-1],  # as within a text that has quotes of both kinds
        ascii(text)[1:-1],
        repr(text.encode(errors="backslashreplace"))[2:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
    )


def _places(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a text holds another, also where that overlaps itself."""
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)


def _cuts(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a text holds the beginning or the end of another, cut off."""
    for start, _ in _places(form[:_CUT_LENGTH], text):
        stop = start + _agreeing(form, text[start : start + len(form)])
        if text.startswith(_CUT, stop):
            yield start, stop
    backwards = form[::-1]
    for _, stop in _places(form[-_CUT_LENGTH:], text):
        before = text[max(0, stop - len(form)) : stop][::-1]
        start = stop - _agreeing(backwards, before)
        if text.endswith(_CUT, 0, start):
            yield start, stop


def _agreeing(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return sum(takewhile(bool, map(eq, one, other)))


NO_SECRETS: Final = Secrets()

Report = Callable[[Literal["part", "progress"], Any], None]
"""Told what a tool says while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What one call tells the tool that runs it. Lives as long as the call.

    Attributes:
        user: Who asked.
        call_id: Unique id of this call; the same as on its events and its result.
        tool_name: The name under which the user called the tool.
        deadline: When the call must be answered, in `time.monotonic` seconds;
            None means never.
        secrets: The user's secrets by name. They appear nowhere else.
        report: Takes what `progress` says; None when nobody listens.
    """

    user: UserContext
    call_id: str
    tool_name: str
    deadline: float | None = None
    secrets: Secrets = NO_SECRETS
    report: Report | None = field(default=None, repr=False, compare=False)

    def time_left(self) -> float | None:
        """Return the seconds left, never below 0.0; None when there is no deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic())

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Tell who listens how far the call is, as a ``tool_progress`` event.

        Never blocks and never fails; nothing happens when nobody listens.

        Args:
            fraction: How much is done, from 0.0 to 1.0; None when that is not known.
            message: What is being done, for people.
        """
        if self.report is not None:
            self.report("progress", {"fraction": fraction, "message": str(message)})
