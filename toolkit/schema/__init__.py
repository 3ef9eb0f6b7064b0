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

from toolkit.schema.portable import MAX_DEPTH, MAX_NODES, MAX_UNROLL, portable_schema
from toolkit.schema.providers import (
    anthropic_tool,
    gemini_tool,
    openai_tool,
    schema_faults,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "MAX_UNROLL",
    "anthropic_tool",
    "gemini_tool",
    "openai_tool",
    "portable_schema",
    "schema_faults",
]
