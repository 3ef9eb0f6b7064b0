"""The portable tool schema: what each provider takes, and nothing lost on the way."""

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from dataclasses import make_dataclass as new_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType, NoneType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    TypeVar,
    Union,
)
from uuid import UUID

import pytest
import typing_extensions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import (
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    RootModel,
    TypeAdapter,
    computed_field,
    create_model,
    field_validator,
)
from pydantic import JsonValue as AnyJson
from typing_extensions import TypedDict

from tests.unit.provider_rules import PROVIDERS, Provider, violations
from toolkit.schema import (
    MAX_NODES,
    anthropic_tool,
    gemini_tool,
    openai_tool,
    portable_schema,
    schema_faults,
)
from toolkit.schema.cores import (
    PlainField,
    arguments_core,
    read_contents,
    result_core,
)
from toolkit.schema.plain import MAX_DEPTH, Mode, plain_schema

pytestmark = pytest.mark.unit

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Grade(Enum):
    ONE = 1
    HALF = 0.5
    NONE = None


class Leaf(BaseModel):
    """A leaf."""

    kind: Literal["leaf"]
    weight: Annotated[float, Field(gt=0)] = 1.0


class Branch(BaseModel):
    kind: Literal["branch"]
    children: list["Tree"] = []
    title: str | None = Field(None, description="What is on the sign")


Tree = Annotated[Leaf | Branch, Field(discriminator="kind")]
Branch.model_rebuild()


class Point(NamedTuple):
    x: int
    label: str


@dataclass
class Node:
    value: int
    next: Optional["Node"] = None
    tags: set[str] = field(default_factory=set)


class Move(TypedDict, total=False):
    steps: Annotated[int, Field(gt=1, lt=5)]


def _arguments(annotation: Any, default: Any = ...) -> dict[str, object]:
    model = create_model("execute", value=(annotation, default))
    return model.model_json_schema()


def _value(annotation: Any, default: Any = ...) -> Any:
    properties = portable_schema(_arguments(annotation, default))["properties"]
    assert isinstance(properties, dict)
    return properties["value"]


def _all_violations(schema: Mapping[str, object]) -> list[str]:
    return [f"{p}: {v}" for p in PROVIDERS for v in violations(schema, p)]


# --- the checker itself ------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "schema", "words"),
    [
        ("openai", {"anyOf": [{"type": "object"}]}, "no object"),
        ("openai", {"type": "object", "properties": {}, "not": {}}, "top level"),
        ("openai", {"type": "object"}, "missing properties"),
        ("openai", {"p": {"type": "array"}}, "missing items"),
        ("openai", {"p": {"allOf": [{}]}}, "not permitted"),
        ("openai", {"p": {"$ref": "#/nowhere"}}, "leads nowhere"),
        ("anthropic", {"type": "object", "allOf": [{}]}, "top level"),
        ("anthropic", {"p": {"type": "strng"}}, "2020-12"),
        ("anthropic", {"filter[id]": {}}, "property key"),
        ("gemini", {"a.b": {}}, "parameter name"),
        ("gemini", {"p": {"exclusiveMinimum": 0}}, "not supported"),
        ("gemini", {"p": {"const": "a"}}, "not supported"),
        ("gemini", {"p": {"type": "array"}}, "missing field"),
        ("gemini", {"p": {"type": "string", "items": {}}}, "no array"),
        ("gemini", {"p": {"anyOf": [{}]}}, "without a type"),
        ("gemini", {"p": {"type": "object", "required": ["q"]}}, "not defined"),
        ("gemini", {"p": {"enum": ["a"]}}, "enum without a type"),
        ("gemini", {"p": {"type": "string", "enum": [""]}}, "cannot be empty"),
        ("gemini", {"p": {"type": "boolean", "enum": [True]}}, "neither"),
    ],
)
def test_checker_finds_what_each_provider_refuses(
    provider: Provider, schema: dict[str, object], words: str
) -> None:
    """The checker fails the schemas that providers are known to refuse (S18, B68)."""
    if not {"type", "anyOf"} & schema.keys():
        schema = {"type": "object", "properties": schema}
    assert any(words in found for found in violations(schema, provider))


def test_checker_finds_required_cycles_and_siblings_of_references() -> None:
    """Gemini's rules for `$ref` are in the checker (B68)."""
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/N", "title": "Next"}},
        "required": ["next"],
    }
    schema = {
        "type": "object",
        "$defs": {"N": node},
        "properties": {"n": {"$ref": "#/$defs/N"}},
    }
    found = violations(schema, "gemini")
    assert any("siblings" in one for one in found)
    assert any("cycle" in one for one in found)


def test_raw_pydantic_schemas_do_break_the_rules() -> None:
    """Without the rewriting, pydantic's own schema would be refused (S18, B68)."""
    assert violations(_arguments(Tree), "gemini")
    assert violations(_arguments(tuple[int, str]), "openai")


# --- one rule at a time ------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, {"type": "integer"}),
        (Any, {}),
        (bytes, {"type": "string", "description": "Format: binary."}),
        (datetime, {"type": "string", "format": "date-time"}),
        (timedelta, {"type": "string", "description": "Format: duration."}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Grade, {"anyOf": [{"type": "number", "enum": [1, 0.5]}, {"type": "null"}]}),
        (Literal["", "a"], {"type": "string", "description": 'One of: "", "a".'}),
        (Literal[True], {"type": "boolean", "description": "One of: true."}),
        (Literal[True, False], {"type": "boolean"}),
        (
            Literal["x", 1] | Colour,
            {
                "anyOf": [
                    {"type": "string", "enum": ["x", "red", "blue"]},
                    {"type": "integer", "enum": [1]},
                ]
            },
        ),
        (Colour | Literal["z"], {"type": "string", "enum": ["red", "blue", "z"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (
            set[int],
            {
                "type": "array",
                "description": "No item occurs twice.",
                "items": {"type": "integer"},
            },
        ),
        (
            tuple[int, str],
            {
                "type": "array",
                "description": "In this order: 1. integer; 2. string.",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            Point,
            {
                "type": "array",
                "description": "In this order: 1. X: integer; 2. Label: string.",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (tuple[()], {"type": "array", "items": {}, "minItems": 0, "maxItems": 0}),
        (
            dict[str, int],
            {
                "type": "object",
                "properties": {},
                "additionalProperties": {"type": "integer"},
            },
        ),
        (
            dict[str, Any],
            {"type": "object", "properties": {}, "additionalProperties": True},
        ),
        (
            dict[Annotated[str, Field(pattern="^a")], int],
            {
                "type": "object",
                "description": "Keys by regular expression: "
                '{"^a": {"type": "integer"}}.',
                "properties": {},
                "additionalProperties": {"type": "integer"},
            },
        ),
        (
            Annotated[int, Field(gt=1, lt=5, multiple_of=2)],
            {
                "type": "integer",
                "description": "A multiple of 2.",
                "minimum": 2,
                "maximum": 4,
            },
        ),
        (
            Annotated[float, Field(gt=0, le=1)],
            {
                "type": "number",
                "description": "Greater than 0.",
                "minimum": 0,
                "maximum": 1,
            },
        ),
        (
            Annotated[str, Field(min_length=1, max_length=9, pattern=r"^\d")],
            {
                "type": "string",
                "description": "Length: at most 9. Length: at least 1. "
                r"Must match the regular expression ^\d.",
            },
        ),
        (
            Annotated[int, Field(title="Seats left", description="How many")],
            {"type": "integer", "description": "Seats left. How many"},
        ),
        (
            Annotated[int, Field(examples=[1, 2], deprecated=True)],
            {"type": "integer", "description": "Examples: 1, 2. Deprecated."},
        ),
        (
            Json[list[int]],
            {
                "type": "string",
                "description": 'Content type: "application/json". The content is valid '
                'under {"items": {"type": "integer"}, "type": "array"}.',
            },
        ),
        (
            Move,
            {
                "type": "object",
                "properties": {
                    "steps": {"type": "integer", "minimum": 2, "maximum": 4}
                },
            },
        ),
    ],
    ids=repr,
)
def test_each_type_becomes_the_portable_form(annotation: Any, expected: object) -> None:
    """Keywords that a provider lacks turn into words, the others stay."""
    assert _value(annotation) == expected


def test_default_is_told_in_words() -> None:
    """Gemini's list has no `default`, so the description holds it."""
    assert _value(int, 3) == {"type": "integer", "description": "Default: 3."}
    assert _value(str | None, None)["description"] == "Default: null."


def test_property_named_title_is_kept() -> None:
    """Only the keyword `title` is noise; a field of that name is the tool's."""
    properties = portable_schema(Branch.model_json_schema())["properties"]
    assert isinstance(properties, dict)
    assert properties["title"] == {
        "description": "What is on the sign. Default: null.",
        "anyOf": [{"type": "string"}, {"type": "null"}],
    }


def test_root_is_type_properties_required() -> None:
    """An argument schema has the three keys, also without any argument."""
    assert portable_schema(create_model("execute").model_json_schema()) == {
        "type": "object",
        "properties": {},
        "required": [],
    }


def test_recursive_model_ends_in_words_without_references() -> None:
    """A cycle is unrolled, then named; no `$ref` and no `$defs` remain."""
    text = json.dumps(portable_schema(TypeAdapter(Node).json_schema()))
    assert "$" not in text
    assert r"This form is called \"Node\"." in text
    assert r"Another \"Node\"." in text
    assert text.count('"value"') == 4  # two levels: declared and required in each


def test_siblings_of_a_reference_are_kept() -> None:
    """The description beside `$ref` joins that of the definition."""
    value = _value(Annotated[Leaf, Field(description="The last one")])
    assert value["description"] == "The last one. A leaf."
    assert "weight" in value["properties"]


def test_discriminated_union_becomes_any_of_and_names_its_field() -> None:
    """OpenAPI's discriminator goes, what it says stays."""
    value = _value(list[Tree])["items"]
    assert value["description"] == 'The field "kind" says which of these forms it is.'
    assert [v["properties"]["kind"]["enum"] for v in value["anyOf"]] == [
        ["leaf"],
        ["branch"],
    ]


def test_union_at_the_top_is_folded_into_one_object() -> None:
    """No provider takes a combinator at the top level."""
    schema = portable_schema(TypeAdapter(Tree).json_schema())
    assert schema["required"] == ["kind"]
    assert list(schema["properties"]) == [  # type: ignore[call-overload]  # an object
        "kind",
        "weight",
        "children",
        "title",
    ]
    assert "1. kind, weight (required: kind)" in str(schema["description"])
    assert not _all_violations(schema)


def test_own_words_come_before_those_made_of_keywords() -> None:
    """A model reads the author's sentence first."""
    value = _value(Annotated[tuple[int, str], Field(description="Where")])
    assert value["description"] == "Where. In this order: 1. integer; 2. string."


def test_closed_forms_fold_into_a_closed_object() -> None:
    """Folding keeps `additionalProperties: false` where all forms have it."""
    form = {"type": "object", "properties": {}, "additionalProperties": False}
    other = {**form, "properties": {"a": {"type": "integer"}}}
    folded = portable_schema({"anyOf": [form, other]})
    assert folded["additionalProperties"] is False
    assert "1. no fields; 2. a" in str(folded["description"])


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"type": ["string", "null"], "enum": ["F"]},
            {"F": True, None: True, 1: False},
        ),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, {4: True, 2: False}),
        ({"minimum": 3, "anyOf": [{"type": "integer"}]}, {4: True, 2: False}),
        ({"const": 5}, {5: True, 6: False}),
        ({"type": "number", "allOf": [{"type": "integer"}]}, {1: True, 1.5: False}),
        ({"type": "integer", "maximum": 9, "exclusiveMaximum": 4}, {3: True, 4: False}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"a": True, 1: False}),
        ({"anyOf": [False, {"type": "string"}]}, {"a": True, 1: False}),
        ({"anyOf": [{"type": "string"}, True]}, {"a": True, 1: True}),
        ({"$ref": "#/$defs/a~1b%25"}, {1: True, "a": False}),
        ({"$ref": "#/$defs/any"}, {1: True, "a": True}),
    ],
)
def test_other_json_schema_keeps_its_meaning(
    schema: dict[str, object], expected: dict[Any, bool]
) -> None:
    """Schemas from `json_schema_extra` are narrowed no more than they say."""
    defs = {"a/b%": {"type": "integer"}, "any": True, "none": False}
    written = portable_schema({**schema, "$defs": defs})
    validator = Draft202012Validator(written)
    assert {value: validator.is_valid(value) for value in expected} == expected
    assert not _all_violations(
        portable_schema({"type": "object", "properties": {"p": written}})
    )


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"not": {"type": "null"}}, 'Also not: {"type": "null"}.'),
        ({"not": {}}, "No value is allowed here."),
        ({"$ref": "#/$defs/none"}, "No value is allowed here."),
        ({"$ref": "https://example.org/Far"}, 'A "Far", not described here.'),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, "Exactly one of these"),
        ({"anyOf": [{"type": "string"}, {}]}, "Any of: string; anything."),
        ({"type": "string", "allOf": [{"type": "null"}]}, 'Type: "null".'),
        ({"minimum": 2, "allOf": [{"minimum": 1}], "type": "integer"}, "At least 1."),
        ({"type": "number", "minimum": float("inf")}, "At least Infinity."),
        ({"type": "object", "minProperties": 1}, "At least 1 keys."),
        (
            {"type": "array", "uniqueItems": False, "x-order": 3},
            "{'type': 'array', 'items': {}}",
        ),
        ({"enum": [[1], {"a": 1}]}, "'One of: [1].'"),
        ({"enum": [[1]]}, "One of: [1]."),
        ({"type": "string", "default": "a" * 999}, "…"),
        ({"default": MappingProxyType({"a": {1}})}, 'Default: {"a": "set"}.'),
        ({"prefixItems": [{"const": 1}], "items": False}, "'In this order: 1. 1.'"),
        ({"prefixItems": [{"const": 1}], "items": False}, "'maxItems': 1"),
        ({"$ref": "#/$defs/far"}, "'Long way'"),
        ({"$ref": "#/$defs/far", "title": "Near way"}, "'Near way'"),
        (
            {"type": "integer", "minLength": 1, "deprecated": False},
            "{'type': 'integer'}",
        ),
        ({"minimum": 2, "allOf": [{"minimum": 2}]}, "'At least 2.'"),
        ({"readOnly": True, "$comment": "c", "$id": "i", "definitions": {}}, "'p': {}"),
        ({"prefixItems": [{"type": "null"}]}, "In this order: 1. null; then anything."),
    ],
)
def test_what_no_provider_takes_is_said_in_words(
    schema: dict[str, object], words: str
) -> None:
    """Nothing that binds the caller is dropped in silence."""
    root = {
        "properties": {"p": schema},
        "$defs": {"none": False, "far": {"title": "Long way"}},
    }
    written = portable_schema(root)
    assert words in str(written)
    assert not _all_violations(written)


def test_pattern_and_declared_fields_together_only_widen() -> None:
    """Where keys by pattern stand beside fields, undeclared keys stay open."""
    integer = {"type": "integer"}
    patterns = {"patternProperties": {"^x": integer}}
    fields = {"properties": {"a": {}}, **patterns}
    assert "additionalProperties" not in portable_schema(fields)
    closed = portable_schema({**fields, "additionalProperties": False})
    assert closed["additionalProperties"] == integer


def test_clashing_fields_of_all_of_are_merged() -> None:
    """Two demands on one field are joined, required names are united."""
    one = {"properties": {"a": {"type": "integer"}}, "required": ["a"]}
    two = {"properties": {"a": {"minimum": 1}, "b": False}, "required": ["c", "a"]}
    schema = portable_schema({"allOf": [one, two], "additionalProperties": {}})
    assert schema == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 1},
            "b": {"description": "No value is allowed here."},
            "c": {},
        },
        "required": ["c", "a"],
        "additionalProperties": True,
    }


# --- whole schemas -----------------------------------------------------------------


def test_input_is_left_alone_and_order_is_stable() -> None:
    """The function is pure: same text each time, the input unchanged."""
    schema = TypeAdapter(dict[str, Tree]).json_schema()
    before = copy.deepcopy(schema)
    first = json.dumps(portable_schema(schema))
    assert json.dumps(portable_schema(schema)) == first
    assert schema == before


def test_doubling_definitions_stay_small() -> None:
    """A chain of definitions that doubles at each level ends at the limit (B54)."""
    defs: dict[str, object] = {"d40": {"type": "string"}}
    for level in range(40):
        ref = {"$ref": f"#/$defs/d{level + 1}"}
        defs[f"d{level}"] = {"type": "object", "properties": {"a": ref, "b": ref}}
    schema = portable_schema({"$defs": defs, "$ref": "#/$defs/d0"})
    assert MAX_NODES / 2 < str(schema).count("properties") < 1.1 * MAX_NODES
    assert not violations(schema, "gemini")


def test_endless_input_ends() -> None:
    """Cycles of objects, of references and of `allOf` all come to an end."""
    endless: dict[str, object] = {"type": "array"}
    endless["items"] = endless
    endless["default"] = endless
    ring = {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}
    properties = {"p": endless, "q": {"$ref": "#/$defs/a"}, "r": {"$ref": "#"}}
    schema = {"type": "object", "properties": properties, "$defs": ring}
    assert not _all_violations(portable_schema(schema))


def test_value_schema_stays_one_and_is_named_a_fault() -> None:
    """What describes no object is not wrapped: arguments would change meaning."""
    schema = portable_schema(TypeAdapter(list[int]).json_schema())
    assert schema == {"type": "array", "items": {"type": "integer"}}
    (fault,) = schema_faults(schema)
    assert "not an object" in fault


def test_parameter_names_that_a_provider_refuses_are_named() -> None:
    """Names cannot be rewritten, so they are reported with the remedy."""
    properties: dict[str, object] = {k: {} for k in ("ok", "a b", "1st", "x" * 65)}
    faults = schema_faults(portable_schema({"properties": properties}))
    assert [repr(k) in f for k, f in zip(("a b", "1st"), faults, strict=False)]
    assert len(faults) == 3
    assert all(fault.endswith("no digit first.") for fault in faults)
    assert schema_faults(portable_schema(_arguments(int))) == ()


def test_each_provider_gets_its_own_shape() -> None:
    """The tool dictionaries have the keys each API asks for."""
    raw = _arguments(int)
    schema = portable_schema(raw)
    shared = {"name": "n", "description": "d"}
    function = {**shared, "parameters": schema, "strict": False}
    assert openai_tool("n", "d", raw) == {"type": "function", "function": function}
    assert openai_tool("n", "d", raw, api="responses") == {
        "type": "function",
        **function,
    }
    assert anthropic_tool("n", "d", raw) == {**shared, "input_schema": schema}
    assert gemini_tool("n", "d", raw) == {**shared, "parametersJsonSchema": schema}


# --- properties --------------------------------------------------------------------

Spec = tuple[Any, st.SearchStrategy[Any]]  # an annotation, JSON that fits it

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def _maps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(_TEXT, values, max_size=2)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2)
    ),
    max_leaves=4,
)
_LEAF_VALUES = st.fixed_dictionaries(
    {"kind": st.just("leaf")}, optional={"weight": st.floats(0.5, 9)}
)
_TREE_VALUES = st.recursive(
    _LEAF_VALUES,
    lambda inner: st.fixed_dictionaries(
        {"kind": st.just("branch")}, optional={"children": st.lists(inner, max_size=2)}
    ),
    max_leaves=4,
)
_NODE_VALUES = st.recursive(
    st.fixed_dictionaries({"value": st.integers()}),
    lambda inner: st.fixed_dictionaries({"value": st.integers(), "next": inner}),
    max_leaves=5,
)
_WHEN = datetime(1990, 1, 1), datetime(2030, 1, 1)  # noqa: DTZ001  # naive on purpose
LEAVES: list[Spec] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (str, _TEXT),
    (bool, st.booleans()),
    (type(None), st.none()),
    (Any, _JSON),
    (AnyJson, _JSON),
    (datetime, st.datetimes(*_WHEN).map(datetime.isoformat)),
    (date, st.dates(*(w.date() for w in _WHEN)).map(date.isoformat)),
    (time, st.times().map(time.isoformat)),
    (timedelta, st.just("P1DT2H")),
    (UUID, st.uuids().map(str)),
    (Decimal, st.integers() | st.just("1.5")),
    (bytes, _TEXT),
    (Colour, st.sampled_from(["red", "blue"])),
    (Grade, st.sampled_from([1, 0.5, None])),
    (Literal["a", "", 3, True], st.sampled_from(["a", "", 3, True])),
    (Literal[False], st.just(value=False)),
    (Annotated[int, Field(gt=-3, lt=9, multiple_of=2)], st.sampled_from([-2, 0, 8])),
    (Annotated[float, Field(gt=0, le=1)], st.floats(0.1, 1)),
    (Annotated[str, Field(min_length=2, pattern="^a")], st.just("ab")),
    (Leaf, _LEAF_VALUES),
    (Tree, _TREE_VALUES),
    (Node, _NODE_VALUES),
    (Point, st.tuples(st.integers(), _TEXT).map(list)),
    (Json[list[int]], st.lists(st.integers()).map(json.dumps)),
    (Move, st.fixed_dictionaries({}, optional={"steps": st.integers(2, 4)})),
]


LIST: Any = list  # as values, so that types are made at run time
DICT: Any = dict
TUPLE: Any = tuple
EITHER: Any = Union
TYPED: Any = vars(typing_extensions)["TypedDict"]


def _grown(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    """Build a type around others, with the JSON that fits it."""
    return st.one_of(
        inner.map(lambda s: (LIST[s[0]], st.lists(s[1], max_size=2))),
        inner.map(lambda s: (EITHER[s[0], None], s[1] | st.none())),
        inner.map(lambda s: (DICT[str, s[0]], _maps(s[1]))),
        inner.map(lambda s: (TUPLE[s[0], ...], st.lists(s[1], max_size=2))),
        st.tuples(inner, inner).map(
            lambda p: (EITHER[p[0][0], p[1][0]], p[0][1] | p[1][1])
        ),
        st.tuples(inner, inner).map(
            lambda p: (TUPLE[p[0][0], p[1][0]], st.tuples(p[0][1], p[1][1]).map(list))
        ),
        st.tuples(st.sampled_from([_model, _record, _typed]), inner, inner).map(
            lambda t: (
                t[0](t[1][0], t[2][0]),
                st.fixed_dictionaries({"first": t[1][1]}, optional={"other": t[2][1]}),
            )
        ),
        st.sampled_from(
            [
                (set[int], st.lists(st.integers(), unique=True, max_size=3)),
                (frozenset[Colour], st.just(["red"])),
                (dict[Literal["a", "b"], int], st.just({"a": 1})),
                (dict[UUID, int], st.just({str(UUID(int=7)): 1})),
                (dict[Annotated[str, Field(pattern="^k")], int], st.just({"k1": 1})),
            ]
        ),
    )


def _model(first: Any, other: Any) -> Any:
    other_field: Any = (other | None, None)
    return create_model("Pair", __doc__="Two.", first=(first, ...), other=other_field)


def _record(first: Any, other: Any) -> Any:
    return new_dataclass("Record", [("first", first), ("other", other | None, None)])


def _typed(first: Any, other: Any) -> Any:
    fields = {"first": first, "other": typing_extensions.NotRequired[other]}
    return TYPED("Typed", fields)


SPECS: st.SearchStrategy[Spec] = st.recursive(
    st.sampled_from(LEAVES), _grown, max_leaves=4
)
_QUICK: Callable[[Any], Any] = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.integration  # hundreds of schemas: seconds
@_QUICK
@given(st.data())
def test_what_pydantic_accepts_every_provider_is_told(data: st.DataObject) -> None:
    """Any tool's schema is valid, refused by nobody, and accepts what pydantic does."""
    annotation, values = data.draw(SPECS)
    default = data.draw(st.sampled_from([..., None]))
    model = create_model("execute", value=(annotation, default))
    adapter = TypeAdapter[Any](model)
    for mode in ("validation", "serialization"):
        written = portable_schema(adapter.json_schema(mode=mode))
        assert not _all_violations(written)
        assert portable_schema(written) == written
        instance = {"value": data.draw(values)}
        accepted = adapter.validate_json(json.dumps(instance))
        if mode == "serialization":
            instance = adapter.dump_python(accepted, mode="json")
        Draft202012Validator(written).validate(instance)


_KEYWORDS = st.sampled_from(
    [
        *("type", "properties", "items", "required", "anyOf", "oneOf", "allOf", "not"),
        *(
            "enum",
            "const",
            "$ref",
            "$defs",
            "title",
            "description",
            "default",
            "minimum",
        ),
        *("exclusiveMaximum", "prefixItems", "maxItems", "pattern", "format", "x-note"),
        *(
            "additionalProperties",
            "patternProperties",
            "propertyNames",
            "discriminator",
        ),
        *("deprecated", "uniqueItems", "examples", "if"),
    ]
)
_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from(["object", "array", "string", "number", "#/$defs/a", "#", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYWORDS | st.just("a"), inner, max_size=4)
    ),
    max_leaves=25,
)


@pytest.mark.integration
@_QUICK
@given(st.dictionaries(_KEYWORDS, _JUNK, max_size=6))
def test_any_mapping_is_turned_into_a_schema(junk: dict[str, object]) -> None:
    """The function is total: also nonsense comes out as a schema all take."""
    before = copy.deepcopy(junk)
    written = portable_schema({"properties": {"p": junk}, **junk, "type": "object"})
    assert repr(junk) == repr(before)
    faults = len(schema_faults(written))
    assert all(len(violations(written, provider)) <= faults for provider in PROVIDERS)


# --- plain types, read off their core schema -----------------------------------------


class Inner(BaseModel):
    """An inner one.

    With more: (of it)
    """

    name: str
    size: int = 3
    tags: list[str] = []
    rest: dict[str, Any] = {}
    maybe: str | None = None
    odd: int = Field(5, ge=1, lt=7, multiple_of=2, description="Odd.", alias="Even")
    why: float = Field(..., title="The Why", gt=0.5)


class Deep(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner
    many: list[Inner]
    maybe: Inner | None = Field(None, description="An inner one.")


class Free(BaseModel):
    model_config = ConfigDict(extra="allow")
    deep: Deep = Field(description="Deep down.")


class Made(BaseModel):
    made: list[int] = Field(default_factory=list)


class Out(TypedDict):
    """What comes out."""

    total: float
    label: str


class Loose(TypedDict, total=False):
    a: int
    b: Literal["x"]
    c: NotRequired[str]


class Further(Out):
    further: int


def as_arguments(hint: Any, description: str, extra: Any) -> Any:
    """Make the typed dict that one argument of this type comes to."""
    if description:
        hint = Annotated[hint, Field(description=description)]
    if extra is not MISSING:
        hint = NotRequired[Annotated[hint, Field(json_schema_extra=extra)]]
    make: Any = TypedDict
    shape = make("tool", {"val_ue": hint, "other": int})
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    return shape


MISSING: Any = object()
SAID: list[tuple[str, Any]] = [
    ("", MISSING),
    ("An inner one.", MISSING),
    ("Say it.", {"default": None}),
    ("", {"default": "x"}),
    ("", None),
]
PLAIN: list[Any] = [
    *(int, str, float, bool, Any, list[int], list[Inner], dict[str, int]),
    *(dict[str, Any], dict[str, Inner], dict[str, list[Inner | None]], int | None),
    *(Optional[list[str]], Inner, Deep, Made, Free, Out, Loose, list[Out]),  # noqa: UP045 - the old form too
    *(Out | None, Literal["a"], Literal["a", "b"], Annotated[int, Field(ge=1)]),
    Annotated[str, Field(min_length=1, max_length=3, description="Short.")],
    Annotated[list[int], Field(max_length=3)],
    Annotated[bool, Field(strict=True)],
    list[Annotated[int, Field(description="Each.", gt=2)]],
    Annotated[Inner, Field(description="Within.")],
    Annotated[Inner | None, Field(title="Odd title", description="Within.")],
]


@pytest.mark.parametrize("mode", ["validation", "serialization"])
@pytest.mark.parametrize("hint", PLAIN, ids=range(len(PLAIN)))
def test_a_plain_schema_says_the_same_as_pydantics(hint: Any, mode: Mode) -> None:
    """What is read off in one walk comes to the same text, keys in order (S36)."""
    for kind in (hint, *(as_arguments(hint, *said) for said in SAID)):
        adapter = TypeAdapter(kind)
        plain = plain_schema(adapter.core_schema, mode)
        assert plain is not None
        theirs = portable_schema(adapter.json_schema(mode=mode))
        assert json.dumps(portable_schema(plain)) == json.dumps(theirs)


class Titled(BaseModel):
    model_config = ConfigDict(title="Another")
    a: int


class Extra(BaseModel):
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.clear())
    a: int


class Hooked(BaseModel):
    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> Any:
        return {"type": "string"}


class Checked(BaseModel):
    a: int

    @field_validator("a")
    @classmethod
    def check(cls, value: int) -> int:
        return value


class Computing(BaseModel):
    @computed_field  # type: ignore[prop-decorator]  # mypy knows no such pair
    @property
    def computed(self) -> int:
        return 1


class ByPath(BaseModel):
    a: int = Field(validation_alias=AliasPath("x", 1))


class Renamed(BaseModel):
    a: int


Renamed.__name__ = "Somebody"


@typing_extensions.deprecated("Use another.")
class Old(BaseModel):
    a: int


class Strict(TypedDict):
    __pydantic_config__ = ConfigDict(title="Another")  # type: ignore[misc]  # pydantic's way
    a: int


def nested(depth: int) -> Any:
    """Make a list in lists."""
    hint: Any = int
    for _ in range(depth):
        hint = list[hint]
    return hint


OTHERS: list[Any] = [
    *(Tree, Colour, Titled, Extra, Hooked, Checked, Computing, ByPath, Renamed, Old),
    *(RootModel[int], int | str, set[int], tuple[int, str], bytes, dict[int, str]),
    *(Literal[1], Further, Strict, Decimal, nested(MAX_DEPTH + 1)),
    Annotated[str, Field(pattern="a")],
    Annotated[int, Field(json_schema_extra={"x-note": "a"})],
    Annotated[int, Field(json_schema_extra={"default": [1]})],
    Annotated[int, Field(json_schema_extra={"default": math.inf})],
    Annotated[int, Field(examples=[1])],
    new_dataclass("Data", [("a", int)]),
    create_model("Wide", **{f"field_{n}": (int, ...) for n in range(200)}),  # type: ignore[call-overload]  # names from a loop
]


@pytest.mark.parametrize("hint", OTHERS, ids=range(len(OTHERS)))
def test_what_is_not_plain_is_left_to_pydantic(hint: Any) -> None:
    """A hook, a validator, an odd default: nothing of it is guessed (S36)."""
    found = [
        plain_schema(TypeAdapter(as_arguments(hint, "", MISSING)).core_schema, mode)
        for mode in ("validation", "serialization")
    ]
    assert None in found


NONE = {"type": "none"}


def test_a_core_schema_of_another_make_is_left_to_pydantic() -> None:
    """What a newer pydantic writes otherwise is asked for, not guessed."""
    assert plain_schema({"type": "int", "new": 1}, "validation") is None
    assert plain_schema({"type": "newer"}, "validation") is None
    said = {"pydantic_js_updates": {"format": "new"}}
    assert plain_schema({"type": "int", "metadata": said}, "validation") is None
    assert plain_schema({}, "validation") is None
    assert plain_schema({"type": "nullable", "schema": NONE}, "validation") is None
    assert plain_schema({"type": "list", "items_schema": 7}, "validation") is None


# --- core schemas, written down at once ----------------------------------------------


class Reading(BaseModel):
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(source)


class Box(BaseModel, Generic[T]):
    held: T | None = None


class Later(BaseModel):
    later: "NotYet"  # type: ignore[name-defined]  # noqa: F821 - that is the test


AT_ONCE: list[Any] = [
    *(int, str, float, bool, NoneType, Any, list[int], dict[str, list[float]]),
    *(
        list[int],
        dict[str, int],
        int | None,
        None | int,
        Optional[list[str]],  # noqa: UP045 - the old form too
    ),
    *(Inner, list[Inner], Inner | None, Box[int], Literal["a", "b"]),
    Checked,
]


@pytest.mark.parametrize("hint", AT_ONCE, ids=range(len(AT_ONCE)))
def test_arguments_are_written_down_as_pydantic_would(hint: Any) -> None:
    """The same core schema checks the same, whoever made it (B9)."""
    for description, extra in SAID:
        is_required = extra is MISSING
        said = None if is_required else extra
        one = PlainField("val_ue", hint, description, said, is_required)
        two = PlainField("other", int, "", None, required=True)
        core = arguments_core("tool", [one, two])
        theirs = TypeAdapter(as_arguments(hint, description, extra)).core_schema
        assert core == {k: v for k, v in theirs.items() if k not in ("cls", "ref")}
    assert result_core(hint) == TypeAdapter(hint).core_schema


def test_a_typed_dict_as_result_is_written_down_as_pydantic_would() -> None:
    """Also its class, which a result may hold (B28)."""
    theirs = TypeAdapter(Out).core_schema
    assert result_core(Out) == {k: v for k, v in theirs.items() if k != "ref"}


def broken() -> Any:
    """Make a typed dict whose hints name what is not there."""
    make: Any = TypedDict
    return make("Broken", {"a": "Nowhere"})


def closed() -> Any:
    """Make a typed dict that takes other keys of one type."""
    make: Any = TypedDict
    return make("Closed", {"a": int}, extra_items=int)


ASKED: list[Any] = [
    *(Deep, Later, Reading, Box, int | str, int | str | None, list, dict),
    *(dict[int, str], Literal[1], Colour, bytes, Annotated[int, Field(ge=1)], 7),
    *(Further, Strict, Loose, broken(), closed(), set[int]),
]


@pytest.mark.parametrize("hint", ASKED, ids=range(len(ASKED)))
def test_where_only_pydantic_can_tell_it_is_asked(hint: Any) -> None:
    """No hook is passed over, and no part is written down twice (B9)."""
    assert result_core(hint) is None
    assert arguments_core("tool", [PlainField("a", hint, "", None, True)]) is None  # noqa: FBT003 - a field of the tuple


def test_two_models_may_share_a_part_and_are_left_to_pydantic() -> None:
    """Pydantic refers to what occurs twice; written twice it would be refused."""
    fields = [PlainField(name, Inner, "", None, required=True) for name in "ab"]
    assert arguments_core("tool", fields) is None


def test_contents_of_a_core_schema_are_read_to_its_ground() -> None:
    """Classes, words and synonyms, though it is cyclic (B62)."""
    cycle: dict[Any, Any] = {"default": [], 7: ({"deep": Inner},), "on": True}
    cycle["default"].append(cycle)
    field = {"alias": "b", "validation_alias": [["c", 1], ["d"]], "other": 1}
    core = {
        "empty": [],
        "fields": {"a": field, "e": {"alias": "e"}, 5: field},
        "more": cycle,
    }
    found = read_contents([core, {"name": "f", "alias": "g"}, {"alias": "nameless"}])
    assert found.classes == {Inner}
    assert {"Inner", "deep", "default", "a", "b"} <= found.words
    assert set(found.synonyms) == {frozenset("abcd"), frozenset("fg")}
