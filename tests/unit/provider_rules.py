"""What model providers publish about a tool's JSON Schema, as an independent checker.

Written from the sources alone, not from `toolkit.schema`. Each rule cites its source:

- O1 OpenAI, API reference "Create chat completion", ``tools.function.parameters``.
- O3 OpenAI's refusals, as reported: github.com/nspady/google-calendar-mcp/issues/39,
  goruck/home-generative-agent/pull/545 (2026-08), sigoden/aichat/pull/1049,
  github/copilot-cli/issues/2223 (2026-03), makenotion/notion-mcp-server/issues/102.
- A1 Anthropic, API reference "Messages", ``tools.input_schema``.
- A2 Anthropic's refusals, as reported: anthropics/claude-code/issues/44788 (2026-04),
  79418 (2026-07), 86665 (2026-08); on the key pattern holding at the top level only:
  accelerated-intelligent-document-processing-on-aws/issues/709 (2026-08).
- G1 Google, API reference ``GenerationConfig.responseJsonSchema`` (v1beta).
- G2 Google, API reference ``FunctionDeclaration`` (google-genai 3.4.0, 2026-11).
- G3 Google's refusals, as reported: sbroenne/mcp-server-excel/issues/607 (2026-04),
  DEEIX-AI/DEEIX-Chat/issues/546 (2026-07), decolua/9router/issues/359 (2026-03),
  anomalyco/opencode/issues/12295 (2026-02).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, get_args

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

Provider = Literal["openai", "anthropic", "gemini"]
PROVIDERS: Final[tuple[Provider, ...]] = get_args(Provider)

# G1: "only the following properties are supported", and propertyOrdering.
_GEMINI_KEYWORDS: Final = frozenset(
    {
        *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description"),
        *("enum", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum"),
        *("anyOf", "oneOf", "properties", "additionalProperties", "required"),
        "propertyOrdering",
    }
)
_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "not", "propertyNames", "contains")

Node = tuple[str, Mapping[str, object]]


def violations(schema: Mapping[str, object], provider: Provider) -> list[str]:
    """Return every published restriction of `provider` that `schema` breaks."""
    try:
        Draft202012Validator.check_schema(schema)  # A1; O1 and G2 say "JSON Schema"
    except SchemaError as error:
        return [f"not JSON Schema 2020-12: {error.message}"]
    if schema.get("type") != "object":  # O3, A2, G2 "must describe an object"
        return ["the top level is no object"]
    rules = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}
    return list(rules[provider](schema))


def _openai(schema: Mapping[str, object]) -> Iterator[str]:
    for key in ("oneOf", "anyOf", "allOf", "enum", "const", "not"):
        if key in schema:
            yield f"{key!r} at the top level"  # O3
    for path, node in _nodes(schema):
        if "array" in _types(node) and not isinstance(node.get("items"), Mapping):
            yield f"{path}: array schema missing items"  # O3
        if "object" in _types(node) and "properties" not in node:
            yield f"{path}: object schema missing properties"  # O3
        if "allOf" in node:
            yield f"{path}: 'allOf' is not permitted"  # O3
        yield from _dangling(path, node, schema)


def _anthropic(schema: Mapping[str, object]) -> Iterator[str]:
    for key in ("oneOf", "allOf", "anyOf"):
        if key in schema:
            yield f"{key!r} at the top level"  # A2
    for key in _map(schema.get("properties")):
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key):
            yield f"property key {key!r}"  # A2: "Property keys should match pattern"
    for path, node in _nodes(schema):
        yield from _dangling(path, node, schema)


def _gemini(schema: Mapping[str, object]) -> Iterator[str]:
    for key in _map(schema.get("properties")):
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", key):
            yield f"parameter name {key!r}"  # G2
    for path, node in _nodes(schema):
        for key in sorted(node.keys() - _GEMINI_KEYWORDS):
            yield f"{path}: keyword {key!r} is not supported"  # G1
        if "$ref" in node and any(not key.startswith("$") for key in node):
            yield f"{path}: siblings of $ref"  # G1
        yield from _gemini_typed(path, node)
        yield from _gemini_enum(path, node)
        yield from _dangling(path, node, schema)
    yield from _gemini_cycles(schema)


def _gemini_typed(path: str, node: Mapping[str, object]) -> Iterator[str]:
    if "array" in _types(node) and not isinstance(node.get("items"), Mapping):
        yield f"{path}: items: missing field"  # G3
    if "items" in node and "array" not in _types(node):
        yield f"{path}: items of what is no array"  # G3
    for variant in _list(node.get("anyOf")):
        if not {"type", "anyOf", "$ref"} & _map(variant).keys():
            yield f"{path}: a variant without a type"  # G3
    for name in _list(node.get("required")):
        if name not in _map(node.get("properties")):
            yield f"{path}: required {name!r} is not defined"  # G3


def _gemini_enum(path: str, node: Mapping[str, object]) -> Iterator[str]:
    if "enum" in node and "type" not in node:
        yield f"{path}: enum without a type"  # G3
    for value in _list(node.get("enum")):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            yield f"{path}: enum of neither strings nor numbers"  # G1
        if value == "":
            yield f"{path}: enum cannot be empty"  # G3


def _gemini_cycles(schema: Mapping[str, object]) -> Iterator[str]:
    """G1: cyclic references "may only be used within non-required properties"."""
    for name, definition in _map(schema.get("$defs")).items():
        own = f"#/$defs/{name}"
        required = _list(_map(definition).get("required"))
        for field, value in _map(_map(definition).get("properties")).items():
            refs = {node.get("$ref") for _, node in _nodes(_map(value))}
            if own in refs and field in required:
                yield f"{own}: cycle through the required {field!r}"


def _dangling(
    path: str, node: Mapping[str, object], root: Mapping[str, object]
) -> Iterator[str]:
    """O1, A1, G1: references stay within the schema."""
    ref = node.get("$ref")
    known = {"#", *(f"#/$defs/{name}" for name in _map(root.get("$defs")))}
    if ref is not None and ref not in known:
        yield f"{path}: $ref {ref!r} leads nowhere"


def _nodes(node: Mapping[str, object], path: str = "#") -> Iterator[Node]:
    yield path, node
    children = [(key, node[key]) for key in _SINGLE if key in node]
    for key in _MAPS:
        children += [(f"{key}/{k}", v) for k, v in _map(node.get(key)).items()]
    for key in _LISTS:
        children += [(f"{key}/{i}", v) for i, v in enumerate(_list(node.get(key)))]
    for step, child in children:
        if isinstance(child, Mapping):
            yield from _nodes(child, f"{path}/{step}")


def _types(node: Mapping[str, object]) -> set[object]:
    kind = node.get("type")
    return set(kind) if isinstance(kind, list) else {kind}


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
