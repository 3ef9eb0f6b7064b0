"""Which column a word of the question means, and what was decided in doubt."""

from dataclasses import dataclass
from typing import Final

from toolkit_data_agent.tables import Column, Table
from toolkit_data_agent.words import Question, Word, is_telling, set_of, split_name

# Words that ask for a function name a column only when they are all of its name.
_ASKING: Final = set_of(
    """
    average avg mean median sum total count number max maximum min minimum highest
    lowest largest smallest biggest most least top bottom first last sort order
    group each per latest newest oldest earliest month year day week
    """
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A column that the question speaks of at some place.

    Attributes:
        column: The column.
        start: Where the words start.
        end: Where they end.
        others: Columns that the words could mean as well.
        is_whole: Whether the whole name of the column stands there.
    """

    column: Column
    start: int
    end: int
    others: tuple[Column, ...] = ()
    is_whole: bool = True


class Columns:
    """The columns of a table, and the choices made. Belongs to one reading."""

    def __init__(self, table: Table) -> None:
        """Take the table's columns."""
        self.table = table
        self.choices: list[str] = []
        self._own = frozenset(split_name(table.name))

    def at(self, question: Question, start: int) -> Mention | None:
        """Return the column meant by the free words from this place on, or None."""
        words = [one for one in question.words if one.end > start]
        if not words:
            return None
        found = self._whole(words) or self._part(words[0])
        if found and question.is_free(found.start, found.end):
            return found
        return None

    def after(self, question: Question, start: int) -> Mention | None:
        """Return the column meant by the first word after this place that tells."""
        for word in question.words:
            if word.start >= start:
                found = self.at(question, word.start)
                if found or is_telling(word):
                    return found
        return None

    def free(self, question: Question) -> list[Mention]:
        """List the columns meant by words that are not used."""
        found: list[Mention] = []
        for word in question.free_words():
            if not found or word.start >= found[-1].end:
                one = self.at(question, word.start)
                found += [one] if one else []
        return found

    def say(self, mention: Mention) -> Column:
        """Take a column; where its words were open, remember the choice."""
        if mention.others:
            others = ", ".join(one.name for one in mention.others)
            self._choose(mention.column, f"the words also fit {others}")
        return mention.column

    def day(self) -> Column:
        """Return the column that a span of time is about."""
        first, *others = self.table.dates
        if others:
            names = ", ".join(one.name for one in others)
            self._choose(first, f"there are also {names}")
        return first

    def number(self) -> Column | None:
        """Return the column to compute with when the question names none."""
        if not self.table.numbers:
            return None
        first, *others = self.table.numbers
        why = "the question names no column of numbers"
        if others:
            why += f"; there are also {', '.join(one.name for one in others)}"
        self._choose(first, why)
        return first

    def _choose(self, column: Column, why: str) -> None:
        text = f"I took the column {column.name}: {why}."
        if text not in self.choices:
            self.choices.append(text)

    def _whole(self, words: list[Word]) -> Mention | None:
        stems = tuple(one.stem for one in words)
        fitting = [
            one
            for one in self.table.columns
            if one.words and stems[: len(one.words)] == one.words
        ]
        if not fitting:
            return None
        best = max(fitting, key=lambda one: len(one.words))
        equals = [one for one in fitting if one is not best and one.words == best.words]
        end = words[len(best.words) - 1].end
        return Mention(best, words[0].start, end, tuple(equals))

    def _part(self, word: Word) -> Mention | None:
        if word.stem in _ASKING | self._own or not is_telling(word):
            return None
        fitting = [one for one in self.table.columns if word.stem in one.words]
        if not fitting:
            return None
        fitting.sort(key=lambda one: (one.is_key, one.words[-1] != word.stem))
        best, *others = fitting
        return Mention(best, word.start, word.end, tuple(others), is_whole=False)
