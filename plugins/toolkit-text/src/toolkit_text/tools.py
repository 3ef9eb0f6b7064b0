"""The tools; the entry point in `pyproject.toml` names this module.

Every public class and function tool defined here is published, each showing one shape
that a tool can have.
"""

import re
import unicodedata
from collections.abc import AsyncIterator
from typing import Annotated, Final

from pydantic import Field

from toolkit import ToolError, UserContext, tool

MAX_NOTES: Final = 100
"""Notes that one user keeps; enough for a conversation, and bounded."""


class WordCount:
    """Count the words of a text."""

    name = "word_count"
    tags = ("text",)
    read_only = True

    def execute(
        self, text: str, min_letters: Annotated[int, Field(ge=1)] = 1
    ) -> dict[str, int]:
        """Count how often each word occurs, the most frequent first.

        Args:
            text: The text to count.
            min_letters: Leave out words that are shorter than this.
        """
        counts: dict[str, int] = {}
        for word in re.findall(r"\w+", text.casefold()):
            if len(word) >= min_letters:
                counts[word] = counts.get(word, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@tool(tags=("text",), read_only=True)
def slugify(title: str) -> str:
    """Turn a title into the last part of a web address.

    Accents are taken off: `Crème brûlée` becomes `creme-brulee`. What has no form in
    a-z and 0-9, such as Cyrillic letters or the Danish o with a stroke, separates
    words as a space does.

    Args:
        title: Any text with a Latin letter or a digit in it.

    Raises:
        ToolError: There is no such character; the caller reads why.
    """
    apart = unicodedata.normalize("NFKD", title)  # an accent: a character of its own
    plain = "".join(one for one in apart if not unicodedata.combining(one))
    slug = "-".join(re.findall(r"[a-z0-9]+", plain.casefold()))
    if not slug:
        raise ToolError("The title has no letter or digit that an address can hold.")
    return slug


@tool(tags=("text",), read_only=True)
async def read_sentences(text: str) -> AsyncIterator[str]:
    """Read a text sentence by sentence; each is sent as soon as it is found.

    Args:
        text: The text to read.
    """
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        if sentence:
            yield sentence


class Notebook:
    """Keep notes for this user and show all of them.

    One instance per user, made at the user's first call: what it holds, no other user
    can reach. It ends with the user's session.
    """

    name = "notebook"
    tags = ("text",)
    required_scopes = frozenset({"text:notes"})

    def __init__(self, user: UserContext) -> None:
        self.owner = user.user_id
        self.notes: list[str] = []

    def execute(self, note: Annotated[str, Field(min_length=1)]) -> list[str]:
        """Add a note.

        Args:
            note: What to remember.

        Raises:
            ToolError: The notebook is full.
        """
        if len(self.notes) >= MAX_NOTES:
            raise ToolError(f"{self.owner}'s notebook is full: {MAX_NOTES} notes.")
        self.notes.append(note)
        return list(self.notes)
