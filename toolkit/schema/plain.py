"""The JSON Schema of plain types, read straight from pydantic's core schema.

Pydantic's generator takes several times as long as building the type does. Most tools
take texts, numbers, lists and plain models, whose schema can be read off in one walk.
Whatever else there is, `plain_schema` leaves to pydantic.
"""

import math
from collections.abc import Callable, Mapping
from inspect import cleandoc
from types import MethodType
from typing import Any, Final, Literal, cast

import typing_extensions
from pydantic import BaseModel

from toolkit.schema.nodes import Schema

Mode = Literal["validation", "serialization"]
Core = Mapping[str, Any]

MAX_NODES: Final = 200
"""Nodes read at most; larger schemas are left to pydantic."""

MAX_DEPTH: Final = 16
"""Levels read at most; well inside what `portable_schema` shows in full."""

_LEAVES: Final = {
    "any": {},
    "none": {"type": "null"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
}
_NUMERIC: Final = {
    "lt": "exclusiveMaximum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "ge": "minimum",
    "multiple_of": "multipleOf",
}
_TEXTUAL: Final = {"max_length": "maxLength", "min_length": "minLength"}
_LISTED: Final = {"max_length": "maxItems", "min_length": "minItems"}
_KEYS: Final = {  # what a node of each type may hold; all of it is understood here
    "any": {"type"},
    "none": {"type"},
    "bool": {"type", "strict"},
    "int": {"type", "strict", *_NUMERIC},
    "float": {"type", "strict", "allow_inf_nan", *_NUMERIC},
    "str": {"type", "strict", *_TEXTUAL},
    "list": {"type", "strict", "fail_fast", "items_schema", *_LISTED},
    "dict": {"type", "strict", "keys_schema", "values_schema"},
    "nullable": {"type", "schema"},
    "literal": {"type", "expected"},
    "default": {
        *("type", "schema", "default", "default_factory", "copy_default"),
        *("default_factory_takes_data", "validate_default"),
    },
    "definition-ref": {"type", "schema_ref"},
    "typed-dict": {
        *("type", "fields", "cls", "config", "ref", "total"),
        *("extra_behavior", "computed_fields"),
    },
    "model": {
        *("type", "cls", "config", "custom_init", "ref", "root_model", "schema"),
    },
    "model-fields": {"type", "fields", "model_name", "computed_fields"},
}
_FIELD_KEYS: Final = {
    *("type", "schema", "required", "metadata"),
    *("validation_alias", "serialization_alias"),
}
_CONFIG_KEYS: Final = {  # none of them changes a schema, but for `extra`
    *("extra", "frozen", "strict", "validate_assignment", "from_attributes"),
    *("arbitrary_types_allowed", "revalidate_instances"),
}
_TYPED_DICTS: Final = (typing_extensions.TypedDict,)
_hook_of_models: Final = cast(
    "MethodType", BaseModel.__get_pydantic_json_schema__
).__func__
_space_of: Final = type.__dict__["__dict__"].__get__
_name_of: Final = type.__dict__["__name__"].__get__


class _NotPlainError(Exception):
    """Something is not understood here. Internal: `plain_schema` returns None."""


def plain_schema(core_schema: Core, mode: Mode) -> Schema | None:
    """Return the JSON Schema of a core schema that is plain throughout.

    Total and pure, and runs no code of the types it describes: models with hooks,
    aliases by path, validators or an unusual configuration are not plain.

    Args:
        core_schema: What pydantic made of a type, clean.
        mode: Whether what is taken or what is written is described.

    Returns:
        A schema without references, which `toolkit.schema.portable_schema` makes the
        same of as of pydantic's own; None when something in it is not plain.
    """
    try:
        named: dict[str, Core] = {}
        if core_schema["type"] == "definitions":
            named = {one["ref"]: one for one in core_schema["definitions"]}
            core_schema = core_schema["schema"]
        return _alone(_Reader(named, mode).read(core_schema, MAX_DEPTH))
    except (_NotPlainError, LookupError, TypeError, AttributeError):
        return None  # also what another version of pydantic writes otherwise


class _Reader:
    """Reads one core schema; lives for one call of `plain_schema`."""

    __slots__ = ("_alias", "_left", "_named")

    def __init__(self, named: Mapping[str, Core], mode: Mode) -> None:
        self._named = named
        self._alias = f"{mode}_alias"
        self._left = MAX_NODES

    def read(self, node: Core, depth: int) -> Schema:
        """Return the schema of a node."""
        kind = node["type"]
        self._left -= 1
        _need(self._left > 0 and depth > 0)
        if len(node) == 1 and kind in _LEAVES:
            return dict(_LEAVES[kind])
        metadata = node.get("metadata")
        if metadata:
            return self._with_metadata(node, metadata, depth)
        _need(node.keys() <= _KEYS[kind] or node.keys() - {"metadata"} <= _KEYS[kind])
        return _READERS[kind](self, node, depth - 1)

    def _with_metadata(self, node: Core, metadata: Core, depth: int) -> Schema:
        bare = {key: value for key, value in node.items() if key != "metadata"}
        hooks = metadata.get("pydantic_js_functions", ())
        if hooks:
            _need(node["type"] == "model" and len(metadata) == 1 and len(hooks) == 1)
            _need(getattr(hooks[0], "__func__", None) is _hook_of_models)
            _need(hooks[0].__self__ is node["cls"])
            return self.read(bare, depth)
        _need("ref" not in node)
        return {**self.read(bare, depth), **_annotations(metadata)}

    def read_leaf(self, node: Core, _: int) -> Schema:
        return dict(_LEAVES[node["type"]])

    def read_number(self, node: Core, _: int) -> Schema:
        return {**_limits(node, _NUMERIC), **_LEAVES[node["type"]]}

    def read_text(self, node: Core, _: int) -> Schema:
        return {**_limits(node, _TEXTUAL), **_LEAVES["str"]}

    def read_list(self, node: Core, depth: int) -> Schema:
        items = self.read(node["items_schema"], depth) if "items_schema" in node else {}
        return {"items": items, **_limits(node, _LISTED), "type": "array"}

    def read_dict(self, node: Core, depth: int) -> Schema:
        _need(node.get("keys_schema", {"type": "str"}) == {"type": "str"})
        values = node.get("values_schema")
        rest = {} if values is None else self.read(values, depth)
        return {"additionalProperties": rest or True, "type": "object"}

    def read_nullable(self, node: Core, depth: int) -> Schema:
        inner = self.read(node["schema"], depth)
        _need("anyOf" not in inner and inner != {"type": "null"})
        return {"anyOf": [inner, {"type": "null"}]}

    def read_literal(self, node: Core, _: int) -> Schema:
        values = node["expected"]
        _need({type(one) for one in values} == {str})
        said: Schema = {"const": values[0]} if len(values) == 1 else {"enum": values}
        return {**said, "type": "string"}

    def read_default(self, node: Core, depth: int) -> Schema:
        inner = self.read(node["schema"], depth)
        if "default" not in node:
            return inner
        return {**inner, "default": _plain_default(node["default"])}

    def read_reference(self, node: Core, depth: int) -> Schema:
        return self.read(self._named[node["schema_ref"]], depth)  # or too deep

    def read_typed_dict(self, node: Core, depth: int) -> Schema:
        _need(not node.get("computed_fields"))
        cls = node.get("cls")
        about = {} if cls is None else _about_typed_dict(cls, node.get("ref", ""))
        extra = node.get("extra_behavior", "ignore")
        total = node.get("total", True)
        return self._object(node, about, extra, total=total, depth=depth)

    def read_model(self, node: Core, depth: int) -> Schema:
        inner, cls = node["schema"], node["cls"]
        _need(inner["type"] == "model-fields" and not node.get("root_model"))
        _need(inner.keys() <= _KEYS["model-fields"])
        _need(not inner.get("computed_fields"))
        config = _space_of(cls)["model_config"]
        _need(config.keys() <= _CONFIG_KEYS)
        about = _about(cls, node["ref"])
        extra = config.get("extra") or "ignore"
        return self._object(inner, about, extra, total=True, depth=depth)

    def _object(
        self, node: Core, about: Schema, extra: str, *, total: bool, depth: int
    ) -> Schema:
        """Write an object; one that pydantic would refer to is written as a part."""
        properties: Schema = {}
        required: list[str] = []
        for name, field in node["fields"].items():
            _need(field.keys() <= _FIELD_KEYS)
            shown = field.get(self._alias, name)  # a path cannot be a key
            properties[shown] = self._field(field, depth)
            if _is_required(field, total=total):
                required.append(shown)
        found: Schema = {
            **({} if extra == "ignore" else {"additionalProperties": extra == "allow"}),
            **about,
            "properties": properties,
            **({"required": required} if required else {}),
            "type": "object",
        }
        return {"allOf": [found]}

    def _field(self, field: Core, depth: int) -> Schema:
        found = self.read(field["schema"], depth)
        metadata = field.get("metadata")
        if metadata:
            found = {**found, **_annotations(metadata)}
        return _alone(found)


_READERS: Final[Mapping[str, Callable[[_Reader, Core, int], Schema]]] = {
    "any": _Reader.read_leaf,
    "none": _Reader.read_leaf,
    "bool": _Reader.read_leaf,
    "int": _Reader.read_number,
    "float": _Reader.read_number,
    "str": _Reader.read_text,
    "list": _Reader.read_list,
    "dict": _Reader.read_dict,
    "nullable": _Reader.read_nullable,
    "literal": _Reader.read_literal,
    "default": _Reader.read_default,
    "definition-ref": _Reader.read_reference,
    "typed-dict": _Reader.read_typed_dict,
    "model": _Reader.read_model,
}


def _need(condition: bool) -> None:  # noqa: FBT001 - reads like an assertion
    if not condition:
        raise _NotPlainError


def _alone(schema: Schema) -> Schema:
    """Take an object out of its ``allOf``, where nothing is said beside it."""
    if len(schema) == 1 and "allOf" in schema:
        return cast("list[Schema]", schema["allOf"])[0]
    return schema


def _limits(node: Core, names: Mapping[str, str]) -> Schema:
    """Return the bounds of a node under their names in JSON Schema, sorted."""
    found: Schema = {}
    for key, name in names.items():
        if key in node:
            _need(_is_finite(node[key]))
            found[name] = node[key]
    return found


def _is_finite(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _annotations(metadata: Core) -> Schema:
    """Return what a field says about itself: title, description, default."""
    _need(metadata.keys() <= {"pydantic_js_updates", "pydantic_js_extra"})
    said = metadata.get("pydantic_js_updates") or {}
    _need(said.keys() <= {"title", "description"})
    _need(all(type(value) is str for value in said.values()))
    extra = metadata.get("pydantic_js_extra") or {}
    _need(type(extra) is dict and extra.keys() <= {"default"})
    return {**said, **{key: _plain_default(value) for key, value in extra.items()}}


def _plain_default(value: object) -> object:
    """Return a default that JSON has as it is."""
    if type(value) in (list, tuple, dict):
        _need(not value)
        return {} if type(value) is dict else []
    _need(value is None or type(value) in (str, bool) or _is_finite(value))
    return value


def _is_required(field: Core, *, total: bool) -> bool:
    if field["type"] == "typed-dict-field":
        return bool(field.get("required", total))
    return bool(field["schema"]["type"] != "default")


def _about(cls: type, ref: str) -> Schema:
    """Return what a class says about itself; its title goes without saying."""
    space = _space_of(cls)
    path = ref.rpartition(":")[0]  # what pydantic names it after
    _need(not ref or path.endswith((f".{_name_of(cls)}", f":{_name_of(cls)}")))
    _need("__deprecated__" not in space)
    text = space.get("__doc__")
    _need(text is None or type(text) is str)
    return {"description": cleandoc(text)} if text else {}


def _about_typed_dict(cls: type, ref: str) -> Schema:
    space = _space_of(cls)
    config = space.get("__pydantic_config__") or {}
    _need(config.keys() <= _CONFIG_KEYS)
    bases = space.get("__orig_bases__", ())
    _need(all(base in _TYPED_DICTS for base in bases))
    return _about(cls, ref)
