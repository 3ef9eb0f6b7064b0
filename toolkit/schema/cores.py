"""Core schemas of plain hints, made at once; and what any core schema is made of.

Pydantic reads a hint through many hands. What a text, a number, a list or a model that
is complete comes to is known beforehand, and is written down here as pydantic would.
"""

import sys
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import GenericAlias, NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

Core = dict[str, Any]

_BRANCHES: Final = frozenset(
    {"constrained-str", "constrained-int", "constrained-float"}
)
_ALIAS_KEYS: Final = frozenset({"validation_alias", "serialization_alias", "alias"})
_SIMPLE: Final = {
    int: "int",
    str: "str",
    float: "float",
    bool: "bool",
    NoneType: "none",
}
_HOOK: Final = "__get_pydantic_core_schema__"
_TYPED_DICTS: Final = (typing.TypedDict, typing_extensions.TypedDict)


def _meta_of(make: Any) -> type:  # noqa: ANN401 - not a type for mypy
    return type(make("_Any", {}))


_METAS: Final = (  # of the typed dicts that pydantic takes on this Python
    _meta_of(typing_extensions.TypedDict),
    *([_meta_of(typing.TypedDict)] if sys.version_info >= (3, 12) else []),
)
_FORMS: Final = (
    GenericAlias,
    UnionType,
    type(typing.Optional[int]),  # noqa: UP045 - the old forms are types of their own
    type(typing.List[int]),  # noqa: UP006 - as above
    type(Literal["a"]),
)
_SPACE_OF_TYPED_DICT: Final = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__"),
        *("__orig_bases__", "__annotations__", "__required_keys__", "__total__"),
        *("__optional_keys__", "__readonly_keys__", "__mutable_keys__"),
        *("__closed__", "__extra_items__", "__annotate__", "__annotate_func__"),
        *("__annotations_cache__", "__static_attributes__", "__firstlineno__"),
    }
)
_META_OF_MODELS: Final = type(BaseModel)
_space_of: Final = type.__dict__["__dict__"].__get__
_mro_of: Final = type.__dict__["__mro__"].__get__
_name_of: Final = type.__dict__["__name__"].__get__
_NO_ITEMS: Final = getattr(typing_extensions, "NoExtraItems", None)


class PlainField(NamedTuple):
    """One argument: its hint, and what is said about it.

    Attributes:
        name: What it is called.
        hint: Its type, as the author wrote it.
        description: What it means; empty when nothing is said.
        extra: What its schema has beside that; None when nothing.
        required: Whether every call must have it.
    """

    name: str
    hint: Any
    description: str
    extra: dict[str, Any] | None
    required: bool


class _NotPlainError(Exception):
    """Only pydantic can tell what a hint means. Internal."""


def arguments_core(label: str, fields: list[PlainField]) -> Core | None:
    """Make the core schema of a typed dict that forbids other keys.

    Args:
        label: The typed dict's name.
        fields: Its keys, in order.

    Returns:
        What pydantic makes of such a typed dict, but for the class itself; None when a
        hint is not plain, and pydantic has to be asked.
    """
    reader = _Hints()
    try:
        made = {one.name: _field(reader, one) for one in fields}
    except _NotPlainError:
        return None
    return _typed_dict(made, label, "forbid", {"extra_fields_behavior": "forbid"})


def result_core(hint: object) -> Core | None:
    """Return the core schema of a result's hint; None where pydantic has to be asked.

    Beside what an argument may be, a typed dict of plain hints is plain.
    """
    try:
        if any(type(hint) is one for one in _METAS):
            return _of_typed_dict(hint)
        return _Hints().core(hint)
    except _NotPlainError:
        return None


def _field(reader: "_Hints", one: PlainField) -> Core:
    metadata: Core = {}
    if one.description:
        metadata["pydantic_js_updates"] = {"description": one.description}
    if one.extra:
        metadata["pydantic_js_extra"] = one.extra
    return _key(reader.core(one.hint), metadata, required=one.required)


def _key(core: Core, metadata: Core, *, required: bool) -> Core:
    return {
        "type": "typed-dict-field",
        "schema": core,
        "required": required,
        "metadata": metadata,
    }


def _typed_dict(fields: Core, name: str, extra: str, config: Core) -> Core:
    return {
        "type": "typed-dict",
        "fields": fields,
        "computed_fields": [],
        "extra_behavior": extra,
        "config": {**config, "title": name},
    }


class _Hints:
    """Reads the hints of one signature; lives for that long."""

    __slots__ = ("_has_model",)

    def __init__(self) -> None:
        self._has_model = False

    def core(self, hint: Any) -> Core:  # noqa: ANN401 - type forms
        """Return what a hint comes to.

        Raises:
            _NotPlainError: Only pydantic can tell.
        """
        kind = type(hint)
        if kind is type:
            return {"type": _known(_SIMPLE.get(hint))}
        if hint is Any:
            return {"type": "any"}
        if kind is _META_OF_MODELS:
            return self._model(hint)
        if any(kind is one for one in _FORMS):
            return self._form(get_origin(hint), get_args(hint))
        raise _NotPlainError

    def _form(self, origin: object, inner: tuple[Any, ...]) -> Core:
        if origin is list:
            return {"type": "list", "items_schema": self.core(inner[0])}
        if origin is dict and inner[0] is str:
            return {
                "type": "dict",
                "keys_schema": {"type": "str"},
                "values_schema": self.core(inner[1]),
            }
        if origin is Union or origin is UnionType:
            given = [one for one in inner if one is not NoneType]
            if len(given) == 1 and len(inner) == 2:  # noqa: PLR2004 - it and None
                return {"type": "nullable", "schema": self.core(given[0])}
        if origin is Literal and all(type(one) is str for one in inner):
            return {"type": "literal", "expected": list(inner)}
        raise _NotPlainError

    def _model(self, cls: type) -> Core:
        """Return the core schema that a complete model has of its own.

        Raises:
            _NotPlainError: It has none that says all; or it is not the only model: two
                may share a part, which pydantic then refers to.
        """
        space = _space_of(cls)
        core = space.get("__pydantic_core_schema__")
        if self._has_model or type(core) is not dict or core.get("type") != "model":
            raise _NotPlainError
        hooked = next(base for base in _mro_of(cls) if _HOOK in _space_of(base))
        generic = space.get("__pydantic_generic_metadata__") or {}
        complete = space.get("__pydantic_complete__") is True
        if hooked is not BaseModel or generic.get("parameters") or not complete:
            raise _NotPlainError
        self._has_model = True
        return core


def _known(name: str | None) -> str:
    if name is None:
        raise _NotPlainError
    return name


def _of_typed_dict(cls: Any) -> Core:  # noqa: ANN401 - a typed dict's class
    """Return the core schema of a typed dict that says nothing but its keys.

    Raises:
        _NotPlainError: It says more, or a hint is not plain.
    """
    space = _space_of(cls)
    bases = space.get("__orig_bases__", ())
    is_bare = space.keys() <= _SPACE_OF_TYPED_DICT
    is_open = space.get("__closed__") is None
    items = space.get("__extra_items__", _NO_ITEMS)
    if not (is_bare and is_open and items is _NO_ITEMS):
        raise _NotPlainError
    if any(base not in _TYPED_DICTS for base in bases):
        raise _NotPlainError
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise _NotPlainError from error
    required, reader = space["__required_keys__"], _Hints()
    fields = {
        name: _key(reader.core(hint), {}, required=name in required)
        for name, hint in hints.items()
    }
    return {**_typed_dict(fields, _name_of(cls), "ignore", {}), "cls": cls}


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a core schema names. Immutable, process-wide.

    Attributes:
        classes: The classes in it, however deep.
        words: Every text in it; an argument's path may show these.
        synonyms: The names of each field that goes by several.
    """

    classes: frozenset[type]
    words: frozenset[str]
    synonyms: tuple[frozenset[str], ...]


def read_contents(core_schema: object) -> Contents:
    """Read a core schema to its ground, whatever types its hints went through."""
    classes: set[type] = set()
    words: set[str] = set(_BRANCHES)
    groups: set[frozenset[str]] = set()
    waiting: list[Any] = [(core_schema,)]
    seen: set[int] = set()
    while waiting:
        holder = waiting.pop()
        if id(holder) in seen:  # definitions are shared, defaults may be cyclic
            continue
        seen.add(id(holder))
        if type(holder) is dict:
            words.update([key for key in holder if type(key) is str])
            if "fields" in holder or not _ALIAS_KEYS.isdisjoint(holder):
                groups.update(_groups(holder))
            holder = holder.values()
        waiting += _held(holder, words, classes)
    return Contents(frozenset(classes), frozenset(words), tuple(groups))


def _held(items: Iterable[Any], words: set[str], classes: set[type]) -> list[Any]:
    """Sort values into words, classes and, returned, what holds others."""
    holders = []
    for value in items:
        kind = type(value)
        if kind is str:
            words.add(value)
        elif kind is dict or kind is list or kind is tuple:
            if value:
                holders.append(value)
        elif kind is not bool and issubclass(kind, type):  # isinstance would ask it
            classes.add(value)
            words.add(_name_of(value))
    return holders


def _groups(node: dict[Any, Any]) -> list[frozenset[str]]:
    """Return the names of each field, of a model or the like, that has several."""
    fields = node.get("fields")
    if type(fields) is dict:
        return [group for name, one in fields.items() for group in _names(name, one)]
    return _names(node.get("name"), node)


def _names(name: object, field: object) -> list[frozenset[str]]:
    """Return all names of one field, if there are several."""
    if (
        type(field) is not dict
        or _ALIAS_KEYS.isdisjoint(field)
        or type(name) is not str
    ):
        return []
    found = [word for key in _ALIAS_KEYS for word in _texts(field.get(key))]
    group = frozenset([name, *found])
    return [group] if len(group) > 1 else []


def _texts(aliases: Any) -> Iterator[str]:  # noqa: ANN401 - whatever a core schema holds
    """Yield the texts in an alias, which may be a path or several."""
    if type(aliases) is str:
        yield aliases
    elif type(aliases) in (list, tuple):
        for one in aliases:
            yield from _texts(one)
