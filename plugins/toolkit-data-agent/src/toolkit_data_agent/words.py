"""A question as words with their places, each of which can be used up once."""

import re
from dataclasses import dataclass
from typing import Final

MAX_CHARS: Final = 2_000
"""As much of a message is read as a question."""

_WORD: Final = re.compile(r"\d{4}-\d\d(?:-\d\d)?|\d+(?:[.,]\d+)*|[^\W_]+")
_SHORTEST: Final = 3
"""Letters of the longest word that is never a plural, as `gas`."""

_ENDINGS: Final = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"))


def set_of(words: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(words.split())


# Words that carry no meaning for a query of their own, in a question in English.
_EMPTY: Final = set_of(
    """
    a about all am amongst among an and any are as at be been by can could data did
    do does each every file find first for from get give had has have help her here
    his how i in into is it its just know let like list made make many may me my of
    on  our out please question record records row rows see show so table tables
    tell than thank thanks that the their them then there these they this to us want
    was we were what when where which who whom whose will with would you your hi
    hello hey come comes there's what's value values total overall
    """
)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the question.

    Attributes:
        text: As it stands there.
        stem: In lower case, without the ending of a plural.
        start: Where it starts.
        end: Where it ends.
    """

    text: str
    stem: str
    start: int
    end: int


def stem(word: str) -> str:
    """Return a word in lower case, without the ending of a plural."""
    low = word.casefold()
    for ending, instead in _ENDINGS:
        if low.endswith(ending) and len(low) > len(ending) + 1:
            return low.removesuffix(ending) + instead
    is_plural = len(low) > _SHORTEST and low[-1] == "s" and low[-2] not in "su"
    return low[:-1] if is_plural else low


def split_name(name: str) -> tuple[str, ...]:
    """Return the stems of a name's words: `orderDate` and `order_date` have two."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(stem(one) for one in _WORD.findall(apart))


class Question:
    """A message, and which of its words are used. Belongs to one reading of it."""

    def __init__(self, message: str) -> None:
        """Read the words of the message's beginning."""
        self.text = message[:MAX_CHARS]
        self.words = [
            Word(one[0], stem(one[0]), one.start(), one.end())
            for one in _WORD.finditer(self.text)
        ]
        self._used: set[int] = set()

    def is_free(self, start: int, end: int) -> bool:
        """Tell whether no word between these places is used yet."""
        return not any(
            one.start in self._used
            for one in self.words
            if start < one.end and one.start < end
        )

    def use(self, start: int, end: int) -> None:
        """Use up the words between these places."""
        self._used.update(
            one.start for one in self.words if start < one.end and one.start < end
        )

    def take(self, pattern: str) -> re.Match[str] | None:
        """Use up the first free place that a pattern matches, without case."""
        for one in re.finditer(pattern, self.text, re.IGNORECASE):
            if self.is_free(one.start(), one.end()):
                self.use(one.start(), one.end())
                return one
        return None

    def free_words(self) -> list[Word]:
        """List the words that are not used."""
        return [one for one in self.words if one.start not in self._used]

    def unread(self) -> tuple[str, ...]:
        """List the words that are not used and would mean something, each once."""
        left = [one.text for one in self.free_words() if is_telling(one)]
        return tuple(dict.fromkeys(left))


def is_telling(word: Word) -> bool:
    """Tell whether a word would mean something for a query."""
    return word.text.casefold() not in _EMPTY and len(word.stem) > 1
