"""A tool's JSON Schema, rewritten so that every model provider takes it.

One refused schema makes a provider refuse the whole request. So `portable_schema`
keeps to what all of them publish as supported, says the rest in words in
``description``, and widens rather than narrows: what fits pydantic's schema fits the
portable one too.

Sources, cited by letter below (read 2026-11-23):

- O1 OpenAI, guide "Function calling", and API reference, "Create chat completion" and
  "Create a model response", ``tools``.
- O2 OpenAI, guide "Structured Outputs", section "Supported schemas".
- O3 OpenAI's refusals: "schema must have type 'object' and not have 'oneOf'/'anyOf'/
  'allOf'/'enum'/'const'/'not' at the top level" (reported until 2026-09), "array schema
  missing items", "object schema missing properties" (2025-08, 2026-03).
- A1 Anthropic, API reference "Messages", ``tools.input_schema``: JSON Schema 2020-12.
- A2 Anthropic's refusals: "input_schema does not support oneOf, allOf, or anyOf at the
  top level" (2026-09), "Property keys should match pattern" (2026-09; top level only).
- A3 Anthropic, "Structured outputs", section "JSON Schema limitations" (strict tools).
- G1 Google, API reference ``GenerationConfig.responseJsonSchema``: the list of keywords
  of JSON Schema that Gemini supports, ``$ref`` without siblings, cycles.
- G2 Google, API reference ``FunctionDeclaration``: ``parametersJsonSchema``, names.
- G3 Google's refusals: "enum[0]: cannot be empty", "items: missing field", "Unknown
  name" for keywords outside its list (2026-09).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json import JSONEncoder
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

Schema = dict[str, object]

MAX_UNROLL: Final = 2
"""How often one definition appears on a path. G1 unrolls cycles "to a limited degree"
and only where not required; A3 refuses them; O2 takes them: so none are sent."""
MAX_DEPTH: Final = 64
"""Levels of schema in schema, counting references; below are words. O2 allows 10 levels
of objects in strict mode; nothing is published for the ordinary one."""
MAX_NODES: Final = 2_000
"""Subschemas in all, as inlining can double at each level. O2: 5,000 properties."""
_MAX_TEXT: Final = 400  # characters of one value quoted in a description

_FORMATS: Final = ("date-time", "date", "time")  # named in O2, A3 and G1
_ANNOTATIONS: Final = ("title", "description", "default", "examples", "deprecated")
_TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
_INTEGRAL: Final = (["integer", "number"], ["number", "integer"])
_SILENT: Final = ("$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary")
_ELSEWHERE: Final = ("$defs", "definitions", "anyOf", "oneOf", "discriminator")
_UNSAID: Final = (*_SILENT, *_ELSEWHERE, "$comment", "readOnly", "title", "description")
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    # keyword: the types it bears on (empty: all), and what it says
    "minLength": ("string", "Length: at least {}."),
    "maxLength": ("string", "Length: at most {}."),
    "pattern": ("string", "Must match the regular expression {}."),
    "format": ("string", "Format: {}."),
    "contentMediaType": ("string", "Content type: {}."),
    "contentEncoding": ("string", "Content encoding: {}."),
    "contentSchema": ("string", "The content is valid under {}."),
    "writeOnly": ("", "Write-only."),
    "exclusiveMinimum": ("integer number", "Greater than {}."),
    "exclusiveMaximum": ("integer number", "Less than {}."),
    "minimum": ("integer number", "At least {}."),
    "maximum": ("integer number", "At most {}."),
    "multipleOf": ("integer number", "A multiple of {}."),
    "items": ("array", "Items are valid under {}."),
    "prefixItems": ("array", "The first items are valid under {}."),
    "minItems": ("array", "At least {} items."),
    "maxItems": ("array", "At most {} items."),
    "uniqueItems": ("array", "No item occurs twice."),
    "contains": ("array", "Some item is valid under {}."),
    "properties": ("object", "Fields are valid under {}."),
    "required": ("object", "Required: {}."),
    "additionalProperties": ("object", "Other fields are valid under {}."),
    "minProperties": ("object", "At least {} keys."),
    "maxProperties": ("object", "At most {} keys."),
    "propertyNames": ("object", "Each key is valid under {}."),
    "patternProperties": ("object", "Keys by regular expression: {}."),
    "dependentRequired": ("object", "Fields that require others: {}."),
    "deprecated": ("", "Deprecated."),
    "default": ("", "Default: {}."),
    "examples": ("", "Examples: {}."),
    "type": ("", "Type: {}."),
    "enum": ("", "One of: {}."),
    "const": ("", "Must be {}."),
}
_HEAD: Final = ("type", "description")
_NOTHING_FITS: Final = "No value is allowed here."
_KEY_ANTHROPIC: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")  # A2
_KEY_GEMINI: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")  # G2


def portable_schema(schema: Mapping[str, object]) -> Schema:
    """Rewrite a JSON Schema of pydantic's into one that every provider takes.

    Total and pure: it raises nothing, leaves `schema` alone, and gives equal output,
    keys in the same order, for equal input; its own output it returns unchanged.

    - ``$ref`` is inlined; a recursive definition is shown `MAX_UNROLL` deep and the
      next level in words (G1 refuses siblings of ``$ref``; on cycles all disagree).
    - ``oneOf`` becomes ``anyOf`` and ``allOf`` is merged (G1, O2); each variant has a
      type.
    - ``const`` becomes a one-valued ``enum``; an enum holds one type: strings, none
      empty, or numbers; other values are words (G1, G3).
    - ``prefixItems`` becomes ``items`` with the positions in words; arrays always have
      ``items``, objects ``properties`` (O3, G3).
    - Bounds, ``date-time``/``date``/``time`` and ``additionalProperties`` stay; an
      exclusive integer bound becomes inclusive. All else, ``default`` included, is
      words (G1).
    - Titles that repeat a name are dropped.
    - An object at the top is ``type``, ``properties``, ``required``; a union of objects
      there is folded into one object, and the forms told in words (O3, A2).

    Two things are narrower than JSON Schema, though not than pydantic's own validators:
    a map whose keys have a pattern holds no other keys, and a field of a folded union
    has the types it is declared with.

    Args:
        schema: What ``TypeAdapter(...).json_schema()`` returned, in either mode. For
            other schemas: one with ``properties`` or ``items`` and no ``type`` is
            taken for an object or an array.

    Returns:
        A new JSON Schema 2020-12, nothing shared with `schema`. A schema that describes
        no object stays what it is; `schema_faults` tells.
    """
    writer = _Writer(schema)
    return _top(writer.write(schema, _Path((), 0), str(schema.get("title", ""))))


def schema_faults(schema: Mapping[str, object]) -> tuple[str, ...]:
    """Say why a portable schema cannot be a tool's parameters; empty when it can.

    Parameter names stay as the tool has them, so a name that a provider refuses is a
    fault of the tool (A2; G2 for names that start with a digit or hold ``.`` or ``-``).

    Args:
        schema: The result of `portable_schema`.

    Returns:
        One sentence for each fault, ending with its remedy.
    """
    if schema.get("type") != "object":
        return ("The parameters are not an object. Give each a name.",)
    return tuple(
        f"No provider is sure to take the parameter name {name!r}. Use 1 to 64 of "
        "a-z A-Z 0-9 and _, no digit first."
        for name in _mapping(schema.get("properties"))
        if not (_KEY_ANTHROPIC.fullmatch(name) and _KEY_GEMINI.fullmatch(name))
    )


def openai_tool(
    name: str,
    description: str,
    schema: Mapping[str, object],
    *,
    api: Literal["chat", "responses"] = "chat",
) -> Schema:
    """Return the tool as OpenAI's API takes it, ``strict`` off (source O1).

    ``strict`` is sent, as the Responses API requires the field. It is off, as strict
    mode makes every parameter required and takes neither maps nor open values (O2).

    Args:
        name: The tool's name; 1 to 64 of ``a-z A-Z 0-9 _ -``.
        description: What the tool does.
        schema: The schema of its arguments, portable or as pydantic emits it.
        api: Chat Completions (nested) or Responses (flat).
    """
    function = {
        "name": name,
        "description": description,
        "parameters": portable_schema(schema),
        "strict": False,
    }
    if api == "responses":
        return {"type": "function", **function}
    return {"type": "function", "function": function}


def anthropic_tool(name: str, description: str, schema: Mapping[str, object]) -> Schema:
    """Return the tool as Anthropic's Messages API takes it (source A1)."""
    return {
        "name": name,
        "description": description,
        "input_schema": portable_schema(schema),
    }


def gemini_tool(name: str, description: str, schema: Mapping[str, object]) -> Schema:
    """Return one entry of Gemini's ``functionDeclarations`` (source G2).

    ``parametersJsonSchema`` excludes ``parameters``, whose OpenAPI subset has no maps
    and no numbers in enums. Gemini wants a letter or ``_`` first in the name.
    """
    return {
        "name": name,
        "description": description,
        "parametersJsonSchema": portable_schema(schema),
    }


class _Path(NamedTuple):
    """Which references led here, and how deep here is."""

    refs: tuple[str, ...]
    depth: int

    def down(self, *refs: str) -> "_Path":
        return _Path((*self.refs, *refs), self.depth + 1)


@dataclass(slots=True)
class _Writer:
    """Rewrites one document; lives for one call of `portable_schema`."""

    document: Mapping[str, object]
    left: int = MAX_NODES
    cut: set[str] = field(default_factory=set)

    def write(self, node: object, path: _Path, name: str) -> Schema:
        """Write `node`, which its reader knows as `name`."""
        if not isinstance(node, Mapping):
            return {"description": _NOTHING_FITS} if node is False else {}
        self.left -= 1
        flat, inner = self._flatten(node, path)
        variants = _variants(flat)
        if not flat.keys() - set(_ANNOTATIONS):
            body: Schema = {}
        elif variants is None:
            body = self._typed(flat, inner)
        else:
            body = _union([self.write(v, inner, name) for v in variants])
        recursive = [r for r in inner.refs[len(path.refs) :] if r in self.cut]
        called = [f'This form is called "{_name(r)}".' for r in recursive]
        return _described(body, [*_notes(flat, name), *called], first=True)

    def _flatten(
        self, node: Mapping[str, object], path: _Path
    ) -> tuple[Mapping[str, object], _Path]:
        """Replace ``$ref`` and ``allOf`` by what they stand for, at this level only."""
        flat = {k: v for k, v in node.items() if k not in {"$ref", "allOf"}}
        parts = [p for p in _sequence(node.get("allOf")) if isinstance(p, Mapping)]
        ref = node.get("$ref")
        if self.left < 0 or path.depth >= MAX_DEPTH:
            target = _lookup(self.document, ref)
            return _merge(_stub(target or node, "Not shown in full."), {}), path
        if isinstance(ref, str):
            target = _lookup(self.document, ref)
            if target is None:
                parts.insert(0, _stub({}, f'A "{_name(ref)}", not described here.'))
            elif path.refs.count(ref) >= MAX_UNROLL:
                self.cut.add(ref)
                parts.insert(0, _stub(target, f'Another "{_name(ref)}".'))
            else:
                path = path.down(ref)
                parts.insert(0, _untitled(target, ref))
        for part in parts:
            below, path = self._flatten(part, _Path(path.refs, path.depth + 1))
            flat = _merge(flat, below)
        return flat, path

    def _typed(self, flat: Mapping[str, object], path: _Path) -> Schema:
        """Write a node of one type, or of none that could be told."""
        kind = _kind(flat)
        if kind == "object":
            body, said = self._object(flat, path)
        elif kind == "array":
            body, said = self._array(flat, path)
        elif kind in {"integer", "number"}:
            body, said = _number(flat, kind)
        elif kind == "string" and flat.get("format") in _FORMATS:
            body, said = {"format": flat["format"]}, {"format"}
        else:
            body, said = {}, set()
        values = [v for v in _sequence(flat.get("enum")) if _fits(v, kind)]
        if _enumerable(values, kind):
            body, said = {**body, "enum": values}, said | {"enum"}
        elif kind == "null" or set(map(str, values)) == {"True", "False"}:
            said = said | {"enum"}
        said |= {"type"} if kind else set()
        words = [
            _say(key, values if values and key == "enum" else value)
            for key, value in flat.items()
            if key not in said and key not in _ANNOTATIONS and _bears_on(key, kind)
        ]
        return _described({"type": kind, **body} if kind else body, words)

    def _object(
        self, flat: Mapping[str, object], path: _Path
    ) -> tuple[Schema, set[str]]:
        declared = _mapping(flat.get("properties"))
        required = [r for r in _sequence(flat.get("required")) if isinstance(r, str)]
        body: Schema = {}
        extra = self._extra(flat, path)
        properties = {k: self.write(v, path.down(), k) for k, v in declared.items()}
        for missing in required:
            properties.setdefault(missing, extra if isinstance(extra, dict) else {})
        body["properties"] = properties
        if required:
            body["required"] = list(dict.fromkeys(required))
        if extra is not None:
            body["additionalProperties"] = extra
        return body, {"properties", "required", "additionalProperties"}

    def _extra(self, flat: Mapping[str, object], path: _Path) -> Schema | bool | None:
        """Write what undeclared keys may hold; None where nothing is said of them."""
        rest = flat.get("additionalProperties")
        patterns = list(_mapping(flat.get("patternProperties")).values())
        if patterns:
            if rest is True or (rest is None and "properties" in flat):
                return None
            rest = {"anyOf": [*patterns, rest or False]}
        if isinstance(rest, Mapping):
            return self.write(rest, path.down(), "") or True
        return rest if isinstance(rest, bool) else None

    def _array(
        self, flat: Mapping[str, object], path: _Path
    ) -> tuple[Schema, set[str]]:
        prefix, rest = _sequence(flat.get("prefixItems")), flat.get("items", True)
        limits: Schema = {
            key: flat[key]
            for key in ("minItems", "maxItems")
            if _kind_of(flat.get(key)) == "integer" and str(flat[key]).isdigit()
        }
        if rest is False:
            limits.setdefault("maxItems", len(prefix))
        said = {"items", "prefixItems", *limits}
        if not prefix:
            return {"items": self.write(rest, path.down(), ""), **limits}, said
        names = [str(_mapping(item).get("title", "")) for item in prefix]
        each = [
            self.write(item, path.down(), name)
            for item, name in zip(prefix, names, strict=True)
        ]
        order = "; ".join(
            f"{number}. {name}{': ' if name else ''}{_label(item)}"
            for number, (name, item) in enumerate(zip(names, each, strict=True), 1)
        )
        most = limits.get("maxItems")
        if not (isinstance(most, int) and most <= len(prefix)):
            each.append(self.write(rest, path.down(), ""))
            order += f"; then {_label(each[-1])}"
        body = {"items": _union(each), **limits}
        return _described(body, [f"In this order: {order}."]), said


def _variants(flat: Mapping[str, object]) -> list[object] | None:
    """Split a node into nodes of one type each; None when it is one already."""
    for key in ("anyOf", "oneOf"):
        members = [m for m in _sequence(flat.get(key)) if m is not False]
        if members:
            left_out = {key, "discriminator", *_ANNOTATIONS}
            rest = {k: v for k, v in flat.items() if k not in left_out}
            return [_merge(_mapping(m), rest) for m in members]
    kinds, bare = flat.get("type"), {k: flat[k] for k in flat if k not in _ANNOTATIONS}
    if isinstance(kinds, list | tuple):
        return [{**bare, "type": kind} for kind in kinds if kind in _TYPES] or None
    if "const" in flat:
        bare["enum"] = [bare.pop("const")]
        return [bare]
    values = _sequence(flat.get("enum"))
    if isinstance(kinds, str) or not values:
        return None
    found = list(dict.fromkeys(map(_kind_of, values)))
    if {"integer", "number"} <= set(found):
        found.remove("integer")
    return [{**bare, "type": kind} for kind in found]


def _merge(first: Mapping[str, object], second: Mapping[str, object]) -> Schema:
    """Demand both; what cannot be said at once in keywords is said in words."""
    merged: Schema = {**second, **first}
    words = [str(first.get("description", "")), str(second.get("description", ""))]
    for key in second:
        if key not in first or key in _ANNOTATIONS:
            continue
        one, other = first[key], second[key]
        if key == "properties":
            merged[key] = _both(_mapping(one), _mapping(other))
        elif key == "required":
            merged[key] = [*_sequence(other), *_sequence(one)]
        elif key == "type" and [one, other] in _INTEGRAL:
            merged[key] = "integer"
        elif _quote(one) != _quote(other):
            words.append(_say(key, other))
    if any(words):
        merged["description"] = _sentences(words)
    return merged


def _both(one: Mapping[str, object], other: Mapping[str, object]) -> Schema:
    shared = {k: {"allOf": [one[k], other[k]]} for k in other if k in one}
    return {**other, **one, **shared}


def _union(members: Iterable[Schema]) -> Schema:
    """Join written nodes: no nested unions, no doubles, no variant without a type."""
    distinct: list[Schema] = []
    for member in members:
        inner = member.get("anyOf") if member.keys() == {"anyOf"} else None
        for one in inner if isinstance(inner, list) else [member]:
            _add(distinct, one)
    if len(distinct) == 1:
        return distinct[0]
    if all("type" in one or "anyOf" in one for one in distinct):
        return {"anyOf": distinct}
    return _described({}, [f"Any of: {'; '.join(map(_label, distinct))}."])


def _add(distinct: list[Schema], one: Schema) -> None:
    """Add a variant that is new; plain enums of one type become one enum."""
    for known in distinct:
        if known.keys() == one.keys() == {"type", "enum"}:
            if known["type"] == one["type"]:
                values = [*_sequence(known["enum"]), *_sequence(one["enum"])]
                known["enum"] = list(dict.fromkeys(values))
                return
        elif known == one:
            return
    distinct.append(one)


def _number(flat: Mapping[str, object], kind: str) -> tuple[Schema, set[str]]:
    """Write inclusive bounds; exclusive ones are exact for integers, else words too."""
    body: Schema = {}
    said: set[str] = set()
    for key, exclusive, sign in (
        ("minimum", "exclusiveMinimum", 1),
        ("maximum", "exclusiveMaximum", -1),
    ):
        bounds = _finite(flat.get(key))
        said |= {key} if bounds else set()
        for strict in _finite(flat.get(exclusive)):
            if kind == "integer":
                bounds.append(sign * (math.floor(sign * strict) + 1))
                said.add(exclusive)
            else:
                bounds.append(strict)
        if bounds:
            body[key] = sign * max(sign * bound for bound in bounds)
    return body, said


def _top(schema: Schema) -> Schema:
    """Give an object the form of parameters; fold a union of objects into one (O3)."""
    forms = schema.get("anyOf")
    if isinstance(forms, list) and all(f.get("type") == "object" for f in forms):
        schema = _described(_folded(forms), [str(schema.get("description", ""))])
    if schema.get("type") == "object":
        rest = {k: v for k, v in schema.items() if k not in {"type", "description"}}
        head: Schema = {k: schema[k] for k in _HEAD if k in schema}
        required = {"required": rest.pop("required", [])}
        properties = {"properties": rest.pop("properties")}
        return {**head, **properties, **required, **rest}
    return schema


def _folded(forms: list[Schema]) -> Schema:
    fields: dict[str, list[Schema]] = {}
    for form in forms:
        for name, value in _mapping(form["properties"]).items():
            fields.setdefault(name, []).append(dict(_mapping(value)))
    needed = [_sequence(form.get("required")) for form in forms]
    closed = all(form.get("additionalProperties") is False for form in forms)
    told = "; ".join(
        f"{number}. {', '.join(_mapping(form['properties'])) or 'no fields'}"
        + (f" (required: {', '.join(map(str, must))})" if must else "")
        for number, (form, must) in enumerate(zip(forms, needed, strict=True), 1)
    )
    texts = [str(form.get("description", "")) for form in forms]
    body: Schema = {
        "type": "object",
        "properties": {name: _union(values) for name, values in fields.items()},
        "required": [n for n in needed[0] if all(n in must for must in needed)],
        **({"additionalProperties": False} if closed else {}),
    }
    return _described(body, [f"Give the fields of one of these forms: {told}.", *texts])


def _notes(flat: Mapping[str, object], name: str) -> list[str]:
    """Say a node's title (where it adds something), description and annotations."""
    title, text = str(flat.get("title", "")), str(flat.get("description", ""))
    notes = [title if _bare(title) != _bare(name) else "", text]
    told_by = _mapping(flat.get("discriminator")).get("propertyName")
    if told_by is not None:
        notes.append(f"The field {_quote(told_by)} says which of these forms it is.")
    elif len(_sequence(flat.get("oneOf"))) > 1:
        notes.append("Exactly one of these forms must fit.")
    keys = [key for key in _ANNOTATIONS[2:] if key in flat]
    return notes + [_say(key, flat[key]) for key in keys]


def _say(key: str, value: object) -> str:
    """Put a keyword in words; empty for those that say nothing to a caller."""
    unsaid = key in _UNSAID or key.startswith("x-")
    if unsaid or (value is None and key != "default"):
        return ""
    if value is False and key in {"uniqueItems", "deprecated", "writeOnly"}:
        return ""
    if key == "not" and value in ({}, True):
        return _NOTHING_FITS
    if key in {"enum", "examples", "required"}:
        text = ", ".join(map(_quote, _sequence(value)))
    elif isinstance(value, str) and key in {"pattern", "format"}:
        text = value
    else:
        text = _quote(value)
    _, words = _WORDS.get(key, ("", f"Also {key}: {{}}."))
    return words.format(text)


def _bears_on(key: str, kind: str) -> bool:
    """Whether a keyword says anything of values of that type (2020-12 core, 7.6.1)."""
    types, _ = _WORDS.get(key, ("", ""))
    return not (types and kind) or kind in types.split()


def _described(body: Schema, words: Iterable[str], *, first: bool = False) -> Schema:
    """Return `body` with more said in its description; `first` puts it in front."""
    own = str(body.get("description", ""))
    text = _sentences([*words, own] if first else [own, *words])
    if not text:
        return body
    head: Schema = {"type": body["type"]} if "type" in body else {}
    rest = {key: value for key, value in body.items() if key != "description"}
    return {**head, "description": text, **rest}


def _sentences(parts: Iterable[str]) -> str:
    kept = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    ended = [part if part[-1] in ".!?:" else f"{part}." for part in kept[:-1]]
    return " ".join([*ended, *kept[-1:]])


def _label(schema: Mapping[str, object]) -> str:
    """Name a written schema in a few words."""
    if "enum" in schema:
        return " or ".join(map(_quote, _sequence(schema["enum"])))
    if "anyOf" in schema:
        return " or ".join(_label(_mapping(m)) for m in _sequence(schema["anyOf"]))
    text = str(schema.get("description", "")).rstrip(".")
    kind = str(schema.get("type", "anything"))
    return f"{kind} ({text})" if text else kind


def _lookup(document: Mapping[str, object], ref: object) -> Mapping[str, object] | None:
    """Follow a JSON pointer (RFC 6901) in `document`; None when it leads nowhere."""
    if not (isinstance(ref, str) and ref.startswith("#")):
        return None
    node: object = document
    for step in ref.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        node = _mapping(node).get(key)
    if isinstance(node, bool):
        return {} if node else {"not": {}}
    return node if isinstance(node, Mapping) else None


def _stub(node: Mapping[str, object], text: str) -> Schema:
    kind = _kind(node)
    return {**({"type": kind} if kind else {}), "description": text}


def _untitled(target: Mapping[str, object], ref: str) -> Mapping[str, object]:
    """Drop the title a definition shares with its key (``A``, ``module__A``)."""
    if not _bare(_name(ref)).endswith(_bare(str(target.get("title", "")))):
        return target
    return {k: v for k, v in target.items() if k != "title"}


def _kind(flat: Mapping[str, object]) -> str:
    """Return the one type of a node; empty when there is none or more than one."""
    kind = flat.get("type")
    if kind is not None:
        return kind if isinstance(kind, str) and kind in _TYPES else ""
    if flat.keys() & {"properties", "required", "additionalProperties"}:
        return "object"
    return "array" if flat.keys() & {"items", "prefixItems"} else ""


def _kind_of(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", type(None): "null"}
    if isinstance(value, Mapping | list | tuple):
        return "object" if isinstance(value, Mapping) else "array"
    return kinds.get(type(value), "string")


def _fits(value: object, kind: str) -> bool:
    return _kind_of(value) in {kind, "integer" if kind == "number" else kind}


def _enumerable(values: list[object], kind: str) -> bool:
    """Whether every provider takes `values` in an enum: G1, none empty G3."""
    return bool(values) and (
        (kind == "string" and all(values)) or kind in {"integer", "number"}
    )


def _finite(value: object) -> list[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    return [value] if math.isfinite(value) else []


def _quote(value: object) -> str:
    """Return `value` as JSON, cut short; lazily, so size, depth and cycles are safe."""
    encoder = JSONEncoder(
        ensure_ascii=False, check_circular=False, skipkeys=True, default=_plain
    )
    text = ""
    for chunk in encoder.iterencode(value):
        text += chunk
        if len(text) > _MAX_TEXT:
            return f"{text[:_MAX_TEXT]}…"
    return text


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else type(value).__name__


def _name(ref: str) -> str:
    return ref.rsplit("/", 1)[-1]


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
