"""Objects that raise, lie or hide when they are looked at. Shared by several tests.

Each is made anew by a factory, so that no test sees what another did to it. None of
them is a tool, and none of them may ever make the judge raise.
"""

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, NoReturn, TypeVar, Union

from pydantic import BaseModel

T = TypeVar("T")


class Unpleasant(BaseException):
    """What a plugin raises to get past ``except Exception``."""


class _Nameless(type):
    """A metaclass that hides what its classes are called."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]  # the lie is the point
        message = "no name for you"
        raise RuntimeError(message)


class Unnamed(Exception, metaclass=_Nameless):  # noqa: N818 - its name is its subject
    """An exception whose class cannot be asked for its name."""


class Untold(Exception):  # noqa: N818 - as above
    """An exception that raises when its text is read."""

    def __str__(self) -> str:
        raise Unpleasant


class Model(BaseModel):
    """A schema that has all a tool has."""

    name: str = "model"

    def execute(self) -> int:
        return 1


class HostileKey(str):
    """A key that raises when it is compared."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash("name")

    def __eq__(self, other: object) -> bool:
        raise Unpleasant


def raising(error: type[BaseException]) -> Callable[..., NoReturn]:
    """Return a function that raises, whatever it is given."""

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise error

    return refuse


def hostile_text(text: str) -> Any:
    """Make a string that raises wherever Python lets it."""
    return type("HostileText", (str,), dict.fromkeys(_OVERRIDDEN, raising(Unpleasant)))(
        text
    )


_OVERRIDDEN: Final = (
    *("lower", "upper", "strip", "split", "encode", "casefold", "endswith"),
    *("__len__", "__iter__", "__contains__", "__format__", "__repr__", "__str__"),
    *("__eq__", "__ne__", "__lt__", "__getitem__", "__add__", "__hash__"),
)


def tool_class(**space: object) -> Any:
    """Make a class with a legal name and execute, and whatever `space` adds."""

    def execute(self: object, text: str = "") -> str:
        return text

    return type("Odd", (), {"name": "odd", "execute": execute, **space})


def _class_with_metaclass(**space: object) -> Any:
    meta = type("Meta", (type,), space)
    return type.__call__(meta, "Odd", (), {"execute": lambda self: None})


def _dead_proxy() -> object:
    return weakref.proxy(tool_class()())


class _Descriptor:
    def __get__(self, instance: object, owner: object = None) -> NoReturn:
        raise Unpleasant

    def __set__(self, instance: object, value: object) -> NoReturn:
        raise Unpleasant


def _unreadable_descriptor() -> Any:
    """A value whose own class raises when it is asked what it can do."""
    meta = type("Meta", (type,), {"__getattribute__": raising(Unpleasant)})
    return meta("Value", (), {})()


def _lying(kind: type) -> Any:
    return tool_class(__class__=property(lambda self: kind))


def _unlisted() -> Any:
    class Meta(type):
        def mro(cls) -> list[type]:
            return [cls, object]

    return Meta("Odd", (Model.__mro__[2],), {})


def _annotated(hint: object) -> Any:
    def execute(self: object, value: object) -> None: ...

    execute.__annotations__ = {"value": hint}
    return tool_class(execute=execute)


HOSTILE: Final[dict[str, Callable[[], object]]] = {
    "attributes raise": tool_class(__getattribute__=raising(ValueError)),
    "attributes exit": tool_class(__getattribute__=raising(SystemExit)),
    "missing attributes raise": tool_class(__getattr__=raising(Unpleasant)),
    "class raises": tool_class(__class__=property(raising(Unpleasant))),
    "dict raises": tool_class(__dict__=property(raising(ValueError))),
    "dict is no dict": tool_class(__dict__=7),
    "name raises": tool_class(name=property(raising(Unpleasant))),
    "name raises unnamed": tool_class(name=property(raising(Unnamed))),
    "name raises untold": tool_class(name=property(raising(Untold))),
    "name exits": tool_class(name=property(raising(SystemExit))),
    "name is a descriptor": tool_class(name=_Descriptor()),
    "name cannot be asked": lambda: tool_class(name=_unreadable_descriptor()),
    "name is hostile text": lambda: tool_class(name=hostile_text("white space")),
    "execute cannot be asked": lambda: tool_class(execute=_unreadable_descriptor()),
    "execute raises": tool_class(execute=property(raising(Unpleasant))),
    "constructor exits": lambda: type(
        "Odd", (), {"execute": int, "__init__": raising(SystemExit)}
    ),
    "constructor raises unnamed": lambda: type(
        "Odd", (), {"execute": int, "__new__": raising(Unnamed)}
    ),
    "constructor has no signature": lambda: tool_class(
        __init__=type("C", (), {"__signature__": property(raising(Unpleasant))})()
    ),
    "constructor is no function": lambda: tool_class(__init__=7),
    "hostile key": type("Odd", (), {HostileKey("nam"): 1, "execute": int}),
    "metaclass raises": lambda: _class_with_metaclass(
        __getattribute__=raising(Unpleasant)
    ),
    "metaclass compares": lambda: _class_with_metaclass(
        __eq__=raising(Unpleasant), __hash__=raising(Unpleasant)
    ),
    "metaclass checks": lambda: _class_with_metaclass(
        __instancecheck__=raising(Unpleasant), __subclasscheck__=raising(Unpleasant)
    ),
    "metaclass calls": lambda: _class_with_metaclass(__call__=raising(Unpleasant)),
    "metaclass hides": lambda: _class_with_metaclass(
        __mro__=(), __module__=7, __dict__={}, __name__=7, __class__=Model
    ),
    "metaclass drops its bases": _unlisted,
    "says it is a model": _lying(Model),
    "answers everything": type("Odd", (), {"__getattr__": lambda s, n: s}),
    "dead proxy": _dead_proxy,
    "module": lambda: types.ModuleType("odd"),
    "method": lambda: types.MethodType(functools.partial(int), 1),
    "unbound generic": lambda: Generic[T],  # type: ignore[index]  # a special form
    "union": lambda: Union[int, Model],  # noqa: UP007 - the old form is its own type
    "type itself": lambda: type,
    "object itself": lambda: object,
    "bare object": object,
    "none": lambda: None,
    "not implemented": lambda: NotImplemented,
    "recursive hint": lambda: _annotated("list[Nowhere]"),
    "unhashable hint": lambda: _annotated([]),
}
"""What it does, to a factory. Some are tools in the end; none makes anyone raise."""
