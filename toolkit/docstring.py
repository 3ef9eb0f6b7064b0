"""Read a tool's description and its parameters' descriptions from docstrings.

Understands the Google style (``Args:``), the reStructuredText style (``:param x:``) and
the NumPy style (an underlined ``Parameters``). Anything else is description.
"""

import inspect
import re
from dataclasses import dataclass, field
from typing import Final

_SECTION: Final = re.compile(
    r"(?P<name>Args|Arguments|Parameters|Returns?|Yields?|Raises|Examples?|Notes?|"
    r"Attributes|See Also|Warnings?):?\s*"
)
_PARAMETERS: Final = frozenset({"Args", "Arguments", "Parameters"})
_GOOGLE_ITEM: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_ITEM: Final = re.compile(r"\*{0,2}(\w+)\s*(?::.*)?")
_SPHINX_ITEM: Final = re.compile(r":param\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)")
_SPHINX_OTHER: Final = re.compile(r":(?:returns?|rtype|raises|type|yields?)\b[^:]*:")


@dataclass(frozen=True, slots=True)
class Docstring:
    """What a docstring says: the text before any section, and each parameter's line."""

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def parse(text: str | None) -> Docstring:
    """Split a docstring. Total: text in no known style is all description.

    >>> parse('''Add.
    ...
    ... Args:
    ...     left (int): The first.
    ... ''')
    Docstring(description='Add.', parameters={'left': 'The first.'})
    """
    if not text or (text.isprintable() and not text.lstrip().startswith(":")):
        return Docstring((text or "").strip())  # one line is no section
    lines = _lines(text)
    description: list[str] = []
    parameters: dict[str, str] = {}
    position = 0
    while position < len(lines):
        section = _SECTION.fullmatch(lines[position])
        if section and _opens_section(lines, position):
            end = _section_end(lines, position)
            if section["name"] in _PARAMETERS:
                parameters |= _items(lines[position + 1 : end])
            position = end
        elif lines[position].startswith(":") and _is_field(lines[position]):
            end = _block_end(lines, position)
            parameters |= _sphinx_item(lines[position:end])
            position = end
        else:
            description.append(lines[position])
            position += 1
    return Docstring("\n".join(description).strip(), parameters)


def _lines(text: str) -> list[str]:
    """Clean the indentation, and keep that of items below a header on line one.

    There, and already at compile time from Python 3.13 on, nothing but the items tells
    the margin, so they lose it.
    """
    lines = inspect.cleandoc(text).splitlines()
    is_header = lines[:1] and lines[0].rstrip(": ") in _PARAMETERS
    if is_header and _GOOGLE_ITEM.fullmatch("".join(lines[1:2])):
        return [lines[0], *(f"    {line}" for line in lines[1:])]
    return lines


def _opens_section(lines: list[str], position: int) -> bool:
    following = lines[position + 1] if position + 1 < len(lines) else ""
    underlined = bool(following) and not following.strip("-")
    return underlined or (
        lines[position].rstrip().endswith(":") and following[:1] in (" ", "\t")
    )


def _section_end(lines: list[str], position: int) -> int:
    """Find the line after a section: the next header, or the end of its block."""
    underlined = not lines[position + 1].strip("-")
    end = position + 2 if underlined else _block_end(lines, position)
    while underlined and end < len(lines):
        if _SECTION.fullmatch(lines[end]) and _opens_section(lines, end):
            break
        end += 1
    return end


def _block_end(lines: list[str], position: int) -> int:
    end = position + 1
    while end < len(lines) and (
        lines[end][:1] in (" ", "\t") or not lines[end].strip()
    ):
        end += 1
    return end


def _is_field(line: str) -> bool:
    return bool(_SPHINX_ITEM.match(line) or _SPHINX_OTHER.match(line))


def _sphinx_item(block: list[str]) -> dict[str, str]:
    match = _SPHINX_ITEM.fullmatch(" ".join(line.strip() for line in block).strip())
    return {match[1]: match[2].strip()} if match else {}


def _items(block: list[str]) -> dict[str, str]:
    """Read ``name: text`` items, or NumPy's name line with indented text below."""
    numpy = bool(block) and bool(block[0]) and not block[0].strip("-")
    lines = (
        block[1:] if numpy else inspect.cleandoc("\n" + "\n".join(block)).split("\n")
    )
    pattern = _NUMPY_ITEM if numpy else _GOOGLE_ITEM
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        match = None if line[:1].isspace() else pattern.fullmatch(line)
        if match:
            current = found[match[1]] = [] if numpy else [match[2]]
        else:
            current.append(line.strip())
    return {name: " ".join(filter(None, parts)) for name, parts in found.items()}
