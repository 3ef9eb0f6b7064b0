"""The decorator, the definition and the protocol of a tool."""

import asyncio
import copy
import inspect
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from toolkit.errors import InvalidNameError
from toolkit.naming import tool_name
from toolkit.tools import FunctionTool, Tool, ToolDefinition, tool


@tool
def shout(text: str) -> str:
    """Upper-case a text."""
    return text.upper()


def define(**facts: Any) -> ToolDefinition:
    """Make a definition of the least there is."""
    schema = '{"type": "object", "properties": {}}'
    return ToolDefinition(
        **{
            "name": tool_name("x"),
            "qualified_name": "pkg.x",
            "description": "",
            "input_schema_json": schema,
            **facts,
        }
    )


def test_a_decorated_function_is_a_tool_and_stays_a_function() -> None:
    """Its author tests it as they always did (S36)."""
    assert shout("hi") == "HI"
    assert shout.execute("hi") == "HI"
    assert isinstance(shout, Tool)
    assert (shout.name, shout.__doc__) == ("shout", "Upper-case a text.")
    assert repr(shout) == f"<tool shout = {__name__}:shout>"
    assert inspect.signature(shout) == inspect.signature(shout.execute)


def test_options_become_the_tools_attributes() -> None:
    """What a class says in its body a function says in the decorator."""
    facts: dict[str, Any] = {
        "description": "Loud.",
        "version": "2",
        "tags": ("text",),
        "required_scopes": {"text:read"},
        "timeout": 5.0,
        "read_only": True,
        "destructive": False,
        "idempotent": True,
    }
    made = tool(name="loud", **facts)(lambda text: text)
    assert made.name == "loud"
    assert {key: getattr(made, key) for key in facts} == facts


def test_an_unknown_option_is_an_error_that_lists_the_known() -> None:
    """A misspelt `required_scope` would leave a tool unguarded (B58, B27)."""
    with pytest.raises(TypeError, match="no option 'required_scope'; it takes name, d"):
        tool(required_scope={"admin"})  # type: ignore[call-overload]  # the error is the test


def test_options_say_the_same_at_every_reading() -> None:
    """A one-shot iterable must not leave the second reader without scopes (B58)."""
    made = tool(required_scopes=map(str, ["admin"]), tags=iter("ab"))(shout.execute)
    assert vars(made)["required_scopes"] == frozenset({"admin"})
    assert vars(made)["tags"] == ("a", "b")
    assert vars(tool(required_scopes=None)(shout.execute))["required_scopes"] is None  # type: ignore[call-overload]  # None is said to mean none


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("required_scopes", "admin", TypeError),
        ("tags", b"x", TypeError),
        ("tags", 7, TypeError),
        ("timeout", 0, ValueError),
        ("timeout", float("nan"), ValueError),
        ("timeout", True, TypeError),
        ("timeout", "5", TypeError),
    ],
    ids=range(7),
)
def test_a_wrong_option_is_refused_where_it_is_written(
    option: str, value: object, error: type[Exception]
) -> None:
    """At the decorator, not when the first user calls (B27, B58)."""
    options: dict[str, Any] = {option: value}
    with pytest.raises(error):
        tool(**options)


@pytest.mark.parametrize("name", ["word count", "", "modelmetaclass"])
def test_an_illegal_name_is_refused_where_it_is_given(name: str) -> None:
    """Also an empty one: it does not fall back to the function's (S34, S43, B8)."""
    with pytest.raises(InvalidNameError):
        tool(name=name)(len)


def test_a_function_without_a_name_needs_one() -> None:
    """A lambda's name is no tool name (S34)."""
    with pytest.raises(InvalidNameError):
        tool(lambda text: text)


async def test_an_async_function_keeps_its_kind() -> None:
    """Awaiting the decorated function awaits the function."""

    @tool
    async def later(text: str) -> str:
        await asyncio.sleep(0)
        return text

    assert await later("x") == "x"
    assert inspect.iscoroutinefunction(later.execute)


def test_a_copy_of_a_function_tool_is_another_object() -> None:
    """Every user gets one of their own (S13)."""
    twin: FunctionTool[..., str] = copy.deepcopy(shout)
    assert twin is not shout
    assert twin("a") == "A"


def test_changing_one_schema_changes_no_other() -> None:
    """Each read is a fresh copy, so a user cannot reach another's (S41, B40)."""
    definition = define(output_schema_json='{"type": "string"}')
    mine, yours = definition.input_schema, definition.input_schema
    mine["properties"]["evil"] = {}
    assert yours == definition.input_schema == {"type": "object", "properties": {}}
    output = definition.output_schema
    assert output is not None
    output.clear()
    assert definition.output_schema == {"type": "string"}


def test_a_definition_without_result_schema_has_none() -> None:
    """Not declared is not the same as anything goes."""
    assert define().output_schema is None


def test_a_definition_is_frozen_and_hashes() -> None:
    """It is shared by all users of a process (S41)."""
    definition = define()
    with pytest.raises(FrozenInstanceError):
        definition.description = "mine"  # type: ignore[misc]  # that it cannot is the test
    assert len({definition, define()}) == 1
