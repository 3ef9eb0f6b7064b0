"""A tool as each model provider's API takes it. Sources: see `toolkit.schema`."""

import re
from collections.abc import Mapping
from typing import Final, Literal

from toolkit.schema.nodes import Schema, mapping
from toolkit.schema.portable import portable_schema

_KEY_ANTHROPIC: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")  # A2

_KEY_GEMINI: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")  # G2


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
        for name in mapping(schema.get("properties"))
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
