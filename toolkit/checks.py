"""What a setting may be: checks that say what would do, and tables made of them.

A check takes a setting's name and a value, and returns the value as it is kept. Nothing
heavy is loaded here: settings are read before anything else.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar, Final, get_args

from toolkit.errors import ConfigurationError

Rule = Callable[[str, Any], Any]

LEAST_MEMORY: Final = 268_435_456
"""Bytes that a child process of first contact needs for itself, and some for others."""
HIDDEN: Final = "[hidden]"
_SECRETS: Final = ("auth", "api", "credential", "key", "password", "secret", "token")


def shown(name: str, value: object) -> object:
    """Return a value as an error may show it: nothing that may be a secret."""
    return HIDDEN if any(word in name.casefold() for word in _SECRETS) else value


# --- tables --------------------------------------------------------------------------


class Table:
    """A group of settings. Each field is checked and normalised when one is made.

    Attributes:
        table: Its name in the file, with dots; empty for the file itself.
        rules: The check of each field.
    """

    __slots__ = ()
    table: ClassVar[str] = ""
    rules: ClassVar[Mapping[str, Rule]]

    def __post_init__(self) -> None:
        """Check and normalise every field."""
        for field, check in self.rules.items():
            name = f"{self.table}.{field}".lstrip(".")
            object.__setattr__(self, field, check(name, getattr(self, field)))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Cross to another process as plain values, which are checked again there."""
        values = _as_dict(self.table, self)
        for name, value in values.items():
            if isinstance(value, MappingProxyType):  # nobody can pickle one
                values[name] = dict(value)
        return _made, (type(self), values)


def _made(kind: type[Table], values: dict[str, Any]) -> Table:
    return kind(**values)


@dataclass(frozen=True, slots=True)
class TableCheck:
    """The check of a setting that is a table: one of `kind`, or a mapping for it.

    Args:
        kind: The table's class.
        is_optional: Whether there may be none.
    """

    kind: type[Table]
    is_optional: bool = False

    def __call__(self, name: str, value: object) -> object:
        """Return the table.

        Raises:
            ConfigurationError: It is no table, lacks a setting or has one too many.
        """
        if isinstance(value, self.kind) or (value is None and self.is_optional):
            return value
        values = _as_dict(name, value)
        known: Any = fields(self.kind)  # type: ignore[arg-type]  # tables are dataclasses
        refuse_unknown(name, values, [item.name for item in known])
        for item in known:
            if item.default is MISSING and item.default_factory is MISSING:
                values.setdefault(item.name, None)  # whose check says what would do
        return self.kind(**values)


def _as_dict(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - to be judged
    if is_dataclass(value):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    if not isinstance(value, Mapping):
        raise ConfigurationError(name, shown(name, value), f"give a table [{name}]")
    return dict(value)


def refuse_unknown(table: str, values: Mapping[str, object], known: list[str]) -> None:
    """Refuse a setting that there is not, and name the nearest.

    Raises:
        ConfigurationError: There is one.
    """
    place = f"in [{table}]" if table else "at the top level of the file"
    for name in values:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            others = f"settings stand {place}: {', '.join(known)}"
            remedy = f"did you mean {near[0]}?" if near else others
            setting = f"{table}.{name}".lstrip(".")
            text = f"unknown setting; {remedy}"
            raise ConfigurationError(setting, shown(setting, values[name]), text)


def paths(kind: type[Table]) -> Iterator[tuple[tuple[str, ...], Rule]]:
    """Yield the way to each setting through the tables, with its check."""
    for name, check in kind.rules.items():
        if isinstance(check, TableCheck):
            yield from (((name, *path), rule) for path, rule in paths(check.kind))
        else:
            yield (name,), check


def merged(
    kind: type[Table], below: Mapping[str, Any], above: Mapping[str, Any]
) -> dict[str, Any]:
    """Lay settings over others; tables are laid over each other setting by setting.

    Raises:
        ConfigurationError: Something is there in place of a table.
    """
    values = {**below, **above}
    for name in below.keys() & above.keys():
        check = kind.rules.get(name)
        if isinstance(check, TableCheck) and below[name] is not None:
            parts = (_as_dict(name, one[name]) for one in (below, above))
            values[name] = merged(check.kind, *parts)
    return values


# --- variables -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """A check that knows how to read a variable; others read JSON.

    Args:
        rule: The check.
        read: Turns a text into a value; raises LookupError or ValueError.
    """

    rule: Rule
    read: Callable[[str], object]

    def __call__(self, name: str, value: object) -> Any:  # noqa: ANN401 - as it is kept
        """Check a value."""
        return self.rule(name, value)


def from_text(variable: str, text: str, check: Rule) -> object:
    """Turn an environment variable into the kind of value its setting takes.

    Raises:
        ConfigurationError: It cannot be read so.
    """
    read = check.read if isinstance(check, Check) else json.loads
    try:
        return read(text.strip())
    except (LookupError, ValueError):
        return check(variable, text.strip())  # refuses it, and says what would do


def _reads(read: Callable[[str], object]) -> Callable[[Rule], Check]:
    return lambda rule: Check(rule, read)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


# --- names and mappings --------------------------------------------------------------


def _name_tuple(name: str, value: object) -> tuple[str, ...]:
    remedy = "give a list of names"
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ConfigurationError(name, value, remedy)
    names = tuple(value)
    if not all(isinstance(item, str) and item for item in names):
        raise ConfigurationError(name, value, remedy)
    return names


name_tuple: Final = Check(_name_tuple, _split)


@_reads(_split)
def name_set(name: str, value: object) -> frozenset[str]:
    """Take a list of names, in any order."""
    return frozenset(_name_tuple(name, value))


@_reads(_split)
def optional_name_set(name: str, value: object) -> frozenset[str] | None:
    """Take a list of names, or nothing, which is not an empty list."""
    return None if value is None else frozenset(_name_tuple(name, value))


def string_map(name: str, value: object) -> Mapping[str, str]:
    """Take a mapping of texts to texts.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, Mapping) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        remedy = 'give a mapping (in a variable, a JSON object) such as {"a": "b"}'
        raise ConfigurationError(name, value, remedy)
    return MappingProxyType(dict(value))


def set_map(name: str, value: object) -> Mapping[str, frozenset[str]]:
    """Take a mapping of texts to lists of names.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, Mapping):
        remedy = 'give a mapping such as {"admin": ["costs:read"]}'
        raise ConfigurationError(name, value, remedy)
    return MappingProxyType(
        {str(key): name_set(f"{name}.{key}", names) for key, names in value.items()}
    )


# --- texts ---------------------------------------------------------------------------


def one_of(choices: object) -> Check:
    """Make the check of a setting that is one of a few words."""
    allowed = get_args(choices)

    def check(name: str, value: object) -> object:
        if value not in allowed:
            remedy = f"use one of {', '.join(allowed)}"
            raise ConfigurationError(name, shown(name, value), remedy)
        return value

    return Check(check, str)


@_reads(str)
def text(name: str, value: object) -> str:
    """Take a text that is not empty.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, str) or not value:
        raise ConfigurationError(
            name, shown(name, value), "give a text that is not empty"
        )
    return value


@_reads(str)
def optional_text(name: str, value: object) -> str | None:
    """Take a text that is not empty, or nothing."""
    return None if value is None else str(text(name, value))


# --- numbers and flags ---------------------------------------------------------------


def seconds(name: str, value: object) -> float:
    """Take seconds above 0.

    Raises:
        ConfigurationError: It is something else.
    """
    given = None if value in (None, "none") else optional_seconds(name, value)
    if given is None:
        raise ConfigurationError(name, value, "give seconds above 0")
    return given


def optional_seconds(name: str, value: object) -> float | None:
    """Take seconds above 0, or none, which TOML has to write as a text.

    Raises:
        ConfigurationError: It is something else.
    """
    if value is None or value == "none":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        remedy = 'give seconds above 0, or "none" for no limit'
        raise ConfigurationError(name, value, remedy)
    return float(value)


def count(name: str, value: object) -> int:
    """Take a whole number of 1 or more.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(name, value, "give a whole number of 1 or more")
    return value


def optional_count(name: str, value: object) -> int | None:
    """Take a whole number of 1 or more, or none."""
    return None if value in (None, "none") else count(name, value)


def whole(name: str, value: object) -> int:
    """Take a whole number of 0 or more.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(name, value, "give a whole number of 0 or more")
    return value


def memory(name: str, value: object) -> int:
    """Take a number of bytes in which a child process can live.

    Raises:
        ConfigurationError: It is something else.
    """
    size = count(name, value)
    if size < LEAST_MEMORY:
        remedy = (
            f"give {LEAST_MEMORY} (256 MiB) or more: a bare child takes a part of it"
        )
        raise ConfigurationError(name, value, remedy)
    return size


_FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@_reads(lambda text: _FLAGS[text.lower()])
def flag(name: str, value: object) -> bool:
    """Take true or false.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(name, value, "give true or false")
    return value
