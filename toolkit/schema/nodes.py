"""Reading the nodes of a JSON Schema, whatever is in them."""

import math
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

Schema = dict[str, object]

TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")


def look_up(document: Mapping[str, object], ref: object) -> Mapping[str, object] | None:
    """Follow a JSON pointer (RFC 6901) in `document`; None when it leads nowhere."""
    if not (isinstance(ref, str) and ref.startswith("#")):
        return None
    node: object = document
    for step in ref.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        node = mapping(node).get(key)
    if isinstance(node, bool):
        return {} if node else {"not": {}}
    return node if isinstance(node, Mapping) else None


def untitled(target: Mapping[str, object], ref: str) -> Mapping[str, object]:
    """Drop the title a definition shares with its key (``A``, ``module__A``)."""
    title = letters(str(target.get("title", "")))
    if not letters(definition_name(ref)).endswith(title):
        return target
    return {k: v for k, v in target.items() if k != "title"}


def type_of(flat: Mapping[str, object]) -> str:
    """Return the one type of a node; empty when there is none or more than one."""
    kind = flat.get("type")
    if kind is not None:
        return kind if isinstance(kind, str) and kind in TYPES else ""
    if flat.keys() & {"properties", "required", "additionalProperties"}:
        return "object"
    return "array" if flat.keys() & {"items", "prefixItems"} else ""


def json_type(value: object) -> str:
    """Return a value's JSON type; ``string`` for what JSON does not know."""
    kinds = {bool: "boolean", int: "integer", float: "number", type(None): "null"}
    if isinstance(value, Mapping | list | tuple):
        return "object" if isinstance(value, Mapping) else "array"
    return kinds.get(type(value), "string")


def fits(value: object, kind: str) -> bool:
    """Whether a value is of that type; an integer is a number too."""
    return json_type(value) in {kind, "integer" if kind == "number" else kind}


def enumerable(values: list[object], kind: str) -> bool:
    """Whether every provider takes `values` in an enum: G1, none empty G3."""
    return bool(values) and (
        (kind == "string" and all(values)) or kind in {"integer", "number"}
    )


def finite_number(value: object) -> list[int | float]:
    """Return the value in a list when it is a finite number, else nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    return [value] if math.isfinite(value) else []


def definition_name(ref: str) -> str:
    """Return the last part of a reference, the key of a definition."""
    return ref.rsplit("/", 1)[-1]


def letters(text: str) -> str:
    """Reduce a text to its letters and digits, without case, to compare names."""
    return "".join(filter(str.isalnum, text)).casefold()


def mapping(value: object) -> Mapping[str, object]:
    """Return the value when it is a mapping, else an empty one."""
    is_one = type(value) is dict or isinstance(value, Mapping)
    return value if is_one else {}  # type: ignore[return-value]  # as just told


def sequence(value: object) -> list[object]:
    """Return a list or tuple as a new list; anything else is an empty one."""
    return list(value) if isinstance(value, list | tuple) else []
