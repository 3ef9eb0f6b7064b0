"""Rewriting one JSON Schema. The sources cited by letter: see `toolkit.schema`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from toolkit.schema.nodes import (
    TYPES,
    Schema,
    definition_name,
    enumerable,
    finite_number,
    fits,
    json_type,
    look_up,
    mapping,
    sequence,
    type_of,
    untitled,
)
from toolkit.schema.words import (
    ANNOTATIONS,
    NOTHING_FITS,
    bears_on,
    described,
    in_few_words,
    notes_on,
    quote,
    say,
    sentences,
)

MAX_UNROLL: Final = 2
"""How often one definition appears on a path. G1 unrolls cycles "to a limited degree"
and only where not required; A3 refuses them; O2 takes them: so none are sent."""

MAX_DEPTH: Final = 64
"""Levels of schema in schema, counting references; below are words. O2 allows 10 levels
of objects in strict mode; nothing is published for the ordinary one."""

MAX_NODES: Final = 2_000
"""Subschemas in all, as inlining can double at each level. O2: 5,000 properties."""

_FORMATS: Final = ("date-time", "date", "time")  # named in O2, A3 and G1

_INTEGRAL: Final = (["integer", "number"], ["number", "integer"])

_HEAD: Final = ("type", "description")

_VARYING: Final = frozenset({"anyOf", "oneOf", "const"})

_INDIRECT: Final = frozenset({"$ref", "allOf"})

_SCALARS: Final = ("string", "integer", "number", "boolean", "null")

_ANNOTATION_KEYS: Final = frozenset(ANNOTATIONS)
_LEAF_KEYS: Final = _ANNOTATION_KEYS | {"type"}


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
        if type(node) is not dict and not isinstance(node, Mapping):
            return {"description": NOTHING_FITS} if node is False else {}
        self.left -= 1
        if self.left >= 0 and path.depth < MAX_DEPTH and node.keys() <= _LEAF_KEYS:
            leaf = _leaf(node, name)
            if leaf is not None:
                return leaf
        flat, inner = self._flatten(node, path)
        variants = _variants(flat)
        if flat.keys() <= _ANNOTATION_KEYS:
            body: Schema = {}
        elif variants is None:
            body = self._typed(flat, inner)
        else:
            body = _union([self.write(v, inner, name) for v in variants])
        notes = notes_on(flat, name)
        if inner is not path:
            recursive = [r for r in inner.refs[len(path.refs) :] if r in self.cut]
            notes += [f'This form is called "{definition_name(r)}".' for r in recursive]
        return described(body, notes, first=True)

    def _flatten(
        self, node: Mapping[str, object], path: _Path
    ) -> tuple[Mapping[str, object], _Path]:
        """Replace ``$ref`` and ``allOf`` by what they stand for, at this level only."""
        if self.left >= 0 and path.depth < MAX_DEPTH and not node.keys() & _INDIRECT:
            return node, path
        flat = {k: v for k, v in node.items() if k not in {"$ref", "allOf"}}
        parts = [p for p in sequence(node.get("allOf")) if isinstance(p, Mapping)]
        ref = node.get("$ref")
        if self.left < 0 or path.depth >= MAX_DEPTH:
            target = look_up(self.document, ref)
            return _merge(_stub(target or node, "Not shown in full."), {}), path
        if isinstance(ref, str):
            target = look_up(self.document, ref)
            if target is None:
                parts.insert(
                    0, _stub({}, f'A "{definition_name(ref)}", not described here.')
                )
            elif path.refs.count(ref) >= MAX_UNROLL:
                self.cut.add(ref)
                parts.insert(0, _stub(target, f'Another "{definition_name(ref)}".'))
            else:
                path = path.down(ref)
                parts.insert(0, untitled(target, ref))
        for part in parts:
            below, path = self._flatten(part, _Path(path.refs, path.depth + 1))
            flat = _merge(flat, below)
        return flat, path

    def _typed(self, flat: Mapping[str, object], path: _Path) -> Schema:
        """Write a node of one type, or of none that could be told."""
        kind = type_of(flat)
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
        values: list[object] = []
        if "enum" in flat:
            values = [v for v in sequence(flat["enum"]) if fits(v, kind)]
        if enumerable(values, kind):
            body, said = {**body, "enum": values}, said | {"enum"}
        elif kind == "null" or set(map(str, values)) == {"True", "False"}:
            said = said | {"enum"}
        said |= {"type"} if kind else set()
        words = [
            say(key, values if values and key == "enum" else value)
            for key, value in flat.items()
            if key not in said and key not in ANNOTATIONS and bears_on(key, kind)
        ]
        return described({"type": kind, **body} if kind else body, words)

    def _object(
        self, flat: Mapping[str, object], path: _Path
    ) -> tuple[Schema, set[str]]:
        declared = mapping(flat.get("properties"))
        required = [r for r in sequence(flat.get("required")) if isinstance(r, str)]
        body: Schema = {}
        extra = self._extra(flat, path)
        below = path.down()
        properties = {k: self.write(v, below, k) for k, v in declared.items()}
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
        patterns = list(mapping(flat.get("patternProperties")).values())
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
        prefix, rest = sequence(flat.get("prefixItems")), flat.get("items", True)
        limits: Schema = {
            key: flat[key]
            for key in ("minItems", "maxItems")
            if json_type(flat.get(key)) == "integer" and str(flat[key]).isdigit()
        }
        if rest is False:
            limits.setdefault("maxItems", len(prefix))
        said = {"items", "prefixItems", *limits}
        if not prefix:
            return {"items": self.write(rest, path.down(), ""), **limits}, said
        names = [str(mapping(item).get("title", "")) for item in prefix]
        each = [
            self.write(item, path.down(), name)
            for item, name in zip(prefix, names, strict=True)
        ]
        order = "; ".join(
            f"{number}. {name}{': ' if name else ''}{in_few_words(item)}"
            for number, (name, item) in enumerate(zip(names, each, strict=True), 1)
        )
        most = limits.get("maxItems")
        if not (isinstance(most, int) and most <= len(prefix)):
            each.append(self.write(rest, path.down(), ""))
            order += f"; then {in_few_words(each[-1])}"
        body = {"items": _union(each), **limits}
        return described(body, [f"In this order: {order}."]), said


def _leaf(node: Mapping[str, object], name: str) -> Schema | None:
    """Write a node that says its type and nothing else of its values; most are such."""
    kind = node.get("type")
    if kind not in _SCALARS:
        return None
    body: Schema = {"type": kind}
    if len(node) == 1:
        return body
    return described(body, notes_on(node, name))


def _variants(flat: Mapping[str, object]) -> list[object] | None:
    """Split a node into nodes of one type each; None when it is one already."""
    kinds = flat.get("type")
    if isinstance(kinds, str) and flat.keys().isdisjoint(_VARYING):
        return None
    for key in ("anyOf", "oneOf"):
        members = [m for m in sequence(flat.get(key)) if m is not False]
        if members:
            left_out = {key, "discriminator", *ANNOTATIONS}
            rest = {k: v for k, v in flat.items() if k not in left_out}
            return [_merge(mapping(m), rest) for m in members]
    bare = {k: flat[k] for k in flat if k not in ANNOTATIONS}
    if isinstance(kinds, list | tuple):
        return [{**bare, "type": kind} for kind in kinds if kind in TYPES] or None
    if "const" in flat:
        bare["enum"] = [bare.pop("const")]
        return [bare]
    values = sequence(flat.get("enum"))
    if isinstance(kinds, str) or not values:
        return None
    found = list(dict.fromkeys(map(json_type, values)))
    if {"integer", "number"} <= set(found):
        found.remove("integer")
    return [{**bare, "type": kind} for kind in found]


def _merge(first: Mapping[str, object], second: Mapping[str, object]) -> Schema:
    """Demand both; what cannot be said at once in keywords is said in words."""
    merged: Schema = {**second, **first}
    words = [str(first.get("description", "")), str(second.get("description", ""))]
    for key in second:
        if key not in first or key in ANNOTATIONS:
            continue
        one, other = first[key], second[key]
        if key == "properties":
            merged[key] = _both(mapping(one), mapping(other))
        elif key == "required":
            merged[key] = [*sequence(other), *sequence(one)]
        elif key == "type" and [one, other] in _INTEGRAL:
            merged[key] = "integer"
        elif quote(one) != quote(other):
            words.append(say(key, other))
    if any(words):
        merged["description"] = sentences(words)
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
    return described({}, [f"Any of: {'; '.join(map(in_few_words, distinct))}."])


def _add(distinct: list[Schema], one: Schema) -> None:
    """Add a variant that is new; plain enums of one type become one enum."""
    for known in distinct:
        if known.keys() == one.keys() == {"type", "enum"}:
            if known["type"] == one["type"]:
                values = [*sequence(known["enum"]), *sequence(one["enum"])]
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
        bounds = finite_number(flat.get(key))
        said |= {key} if bounds else set()
        for strict in finite_number(flat.get(exclusive)):
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
        schema = described(_folded(forms), [str(schema.get("description", ""))])
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
        for name, value in mapping(form["properties"]).items():
            fields.setdefault(name, []).append(dict(mapping(value)))
    needed = [sequence(form.get("required")) for form in forms]
    closed = all(form.get("additionalProperties") is False for form in forms)
    told = "; ".join(
        f"{number}. {', '.join(mapping(form['properties'])) or 'no fields'}"
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
    return described(body, [f"Give the fields of one of these forms: {told}.", *texts])


def _stub(node: Mapping[str, object], text: str) -> Schema:
    kind = type_of(node)
    return {**({"type": kind} if kind else {}), "description": text}
