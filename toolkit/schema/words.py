"""What a schema's keywords say, in words for people and models."""

from collections.abc import Iterable, Mapping, Sequence
from json import JSONEncoder
from typing import Final

from toolkit.schema.nodes import Schema, letters, mapping, sequence

_MAX_TEXT: Final = 400  # characters of one value quoted in a description

ANNOTATIONS: Final = ("title", "description", "default", "examples", "deprecated")

_NOTED: Final = frozenset({*ANNOTATIONS, "discriminator", "oneOf"})

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

NOTHING_FITS: Final = "No value is allowed here."


def notes_on(flat: Mapping[str, object], name: str) -> list[str]:
    """Say a node's title (where it adds something), description and annotations."""
    if not flat.keys() & _NOTED:
        return []
    title, text = str(flat.get("title", "")), str(flat.get("description", ""))
    is_new = bool(title) and letters(title) != letters(name)
    notes = [title if is_new else "", text]
    told_by = mapping(flat.get("discriminator")).get("propertyName")
    if told_by is not None:
        notes.append(f"The field {quote(told_by)} says which of these forms it is.")
    elif len(sequence(flat.get("oneOf"))) > 1:
        notes.append("Exactly one of these forms must fit.")
    keys = [key for key in ANNOTATIONS[2:] if key in flat]
    return notes + [say(key, flat[key]) for key in keys]


def say(key: str, value: object) -> str:
    """Put a keyword in words; empty for those that say nothing to a caller."""
    unsaid = key in _UNSAID or key.startswith("x-")
    if unsaid or (value is None and key != "default"):
        return ""
    if value is False and key in {"uniqueItems", "deprecated", "writeOnly"}:
        return ""
    if key == "not" and value in ({}, True):
        return NOTHING_FITS
    if key in {"enum", "examples", "required"}:
        text = ", ".join(map(quote, sequence(value)))
    elif isinstance(value, str) and key in {"pattern", "format"}:
        text = value
    else:
        text = quote(value)
    _, words = _WORDS.get(key, ("", f"Also {key}: {{}}."))
    return words.format(text)


def bears_on(key: str, kind: str) -> bool:
    """Whether a keyword says anything of values of that type (2020-12 core, 7.6.1)."""
    types, _ = _WORDS.get(key, ("", ""))
    return not (types and kind) or kind in types.split()


def described(body: Schema, words: Sequence[str], *, first: bool = False) -> Schema:
    """Return `body` with more said in its description; `first` puts it in front."""
    if not words and "description" not in body:
        return body
    own = str(body.get("description", ""))
    text = sentences([*words, own] if first else [own, *words])
    if not text:
        return body
    head: Schema = {"type": body["type"]} if "type" in body else {}
    rest = {key: value for key, value in body.items() if key != "description"}
    return {**head, "description": text, **rest}


def sentences(parts: Iterable[str]) -> str:
    """Join parts to sentences, each once, the empty ones left out."""
    kept = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    ended = [part if part[-1] in ".!?:" else f"{part}." for part in kept[:-1]]
    return " ".join([*ended, *kept[-1:]])


def in_few_words(schema: Mapping[str, object]) -> str:
    """Name a written schema in a few words."""
    if "enum" in schema:
        return " or ".join(map(quote, sequence(schema["enum"])))
    if "anyOf" in schema:
        return " or ".join(in_few_words(mapping(m)) for m in sequence(schema["anyOf"]))
    text = str(schema.get("description", "")).rstrip(".")
    kind = str(schema.get("type", "anything"))
    return f"{kind} ({text})" if text else kind


def quote(value: object) -> str:
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
