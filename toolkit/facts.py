"""What a tool says about itself beside its name: scopes, hints, deadline, description.

Read without running the tool's code where that is possible, and checked: a guard that
is misspelled or has the wrong type must not leave the tool open.
"""

from difflib import get_close_matches
from typing import Final, cast

from toolkit.contract import (
    MISSING,
    RejectionReason,
    Subject,
    class_space,
    label,
)
from toolkit.errors import InvalidToolError
from toolkit.origin import Origin

HINTS: Final = ("read_only", "destructive", "idempotent")

_GUARDS: Final = ("required_scopes", "read_only", "destructive")
"""Attributes that protect; a slip in one of their names is a fault, not a new name."""
_OTHER_WORDS: Final = {"scopes": "required_scopes"}
_SLIP: Final = 0.88  # similarity: one or two letters off in a name of these lengths
_ROUNDING: Final = 1e-6
_LETTERS: Final = tuple((guard, frozenset(guard)) for guard in _GUARDS)


def _guard_like(name: str) -> str:
    """Return the guard that a name nearly is; empty when it is near none.

    Comparing takes long, so what lacks too many of a guard's letters, or is of another
    length, is not compared: `_SLIP` of all letters have to match.
    """
    for guard, letters in _LETTERS:
        matching = _SLIP * (len(name) + len(guard)) / 2 - _ROUNDING
        lacking = len(letters.difference(name))
        if len(name) >= matching and len(guard) - lacking >= matching:
            return next(iter(get_close_matches(name, _GUARDS, n=1, cutoff=_SLIP)), "")
    return ""


class Facts:
    """A tool's optional attributes, read statically and checked. Lives for one look."""

    def __init__(self, subject: Subject, origin: Origin) -> None:
        """Look at this subject; `origin` is for messages."""
        self.subject = subject
        self.origin = origin

    def _read(self, attribute: str) -> object:
        value = self.subject.read(attribute)
        if hasattr(type(value), "__get__"):
            if self.subject.is_class:
                raise self._invalid(
                    attribute, "is computed; only a plain value is read"
                )
            value = getattr(self.subject.obj, attribute)
        return None if value is MISSING else value

    def check_slips(self) -> None:
        """Refuse an attribute that is meant as a guard and guards nothing.

        Raises:
            InvalidToolError: A public attribute is nearly called like a guard.
        """
        spaces = [class_space(base) for base in self.subject.mro if base is not object]
        names = {name for space in spaces for name in space if type(name) is str}
        for name in sorted(names - set(_GUARDS)):
            meant = _OTHER_WORDS.get(name) or _guard_like(name)
            if meant and not callable(self.subject.read(name)):
                raise self._invalid(name, f"guards nothing; it is called `{meant}`")

    def _invalid(self, attribute: str, why: str) -> InvalidToolError:
        reason = RejectionReason.INVALID_ATTRIBUTE
        text = f"{label(self.subject)}: `{attribute}` {why}. {reason.remedy}"
        return InvalidToolError(self.origin, str(reason), text)

    def document(self) -> str:
        """Return its own docstring, not one inherited."""
        own = class_space(self.subject.cls).get("__doc__")
        if not self.subject.is_class:
            own = getattr(self.subject.obj, "__doc__", own)
        return own if isinstance(own, str) else ""

    def text(self, attribute: str) -> str:
        """Return a text; empty when there is none.

        Raises:
            InvalidToolError: It is of another type, or computed.
        """
        value = self._read(attribute)
        if value is not None and not isinstance(value, str):
            raise self._invalid(attribute, "is not a string")
        return value or ""

    def names(self, attribute: str) -> frozenset[str]:
        """Return a set of names; empty when there is none.

        Raises:
            InvalidToolError: It is of another type, or computed.
        """
        value = self._read(attribute)
        if value is None:
            return frozenset()
        if not isinstance(value, set | frozenset | list | tuple):  # read repeatedly
            raise self._invalid(attribute, "is not a set, list or tuple of names")
        names: frozenset[object] = frozenset(value)
        if not all(isinstance(name, str) and name for name in names):
            raise self._invalid(attribute, "holds something other than names")
        return cast("frozenset[str]", names)

    def seconds(self, attribute: str) -> float | None:
        """Return a number of seconds; None when there is none.

        Raises:
            InvalidToolError: It is of another type, or computed.
        """
        value = self._read(attribute)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not value > 0
        ):
            raise self._invalid(attribute, "is not a number of seconds above 0")
        return float(value)

    def flag(self, attribute: str) -> bool | None:
        """Return True or False; None when nothing is said.

        Raises:
            InvalidToolError: It is of another type, or computed.
        """
        value = self._read(attribute)
        if value is not None and not isinstance(value, bool):
            raise self._invalid(attribute, "is not True or False")
        return value
