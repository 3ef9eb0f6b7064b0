"""From a question and a table to a plan. Pure: the same question has the same plan."""

import re
from types import MappingProxyType
from typing import Final

from toolkit_data_agent.columns import Columns, Mention
from toolkit_data_agent.filters import Values, read_filters, read_values
from toolkit_data_agent.plan import Bucket, Filter, Group, Kind, Measure, Plan
from toolkit_data_agent.tables import Column, Table
from toolkit_data_agent.words import Question, split_name

NO_VALUES: Final[Values] = MappingProxyType({})
SHOWN: Final = 10
"""Rows shown when the question names no number."""
MAX_SHOWN: Final = 50

_FUNCTIONS: Final[tuple[tuple[Kind, str], ...]] = (
    ("distinct", r"\b(?:how many|number of|count)\s+(?:distinct|unique|different)\b"),
    ("count", r"\b(?:how many|number of|count(?: of)?|how often)\b"),
    ("avg", r"\b(?:average|avg|mean)\b"),
    ("median", r"\bmedian\b"),
    ("sum", r"\b(?:sum(?: of)?|total|altogether|how much)\b"),
    (
        "max",
        r"\b(?:max(?:imum)?|highest|largest|biggest|greatest|longest|latest|newest)\b",
    ),
    ("max", r"\bmost (?:expensive|recent)\b"),
    ("min", r"\b(?:min(?:imum)?|lowest|smallest|shortest|earliest|oldest|cheapest)\b"),
    ("min", r"\bleast expensive\b"),
)
_BUCKETS: Final[tuple[tuple[Bucket, str], ...]] = (
    ("year", r"\b(?:(?:per|by|each|every) year|yearly|annually)\b"),
    ("quarter", r"\b(?:(?:per|by|each|every) quarter|quarterly)\b"),
    ("month", r"\b(?:(?:per|by|each|every) month|monthly)\b"),
    ("week", r"\b(?:(?:per|by|each|every) week|weekly)\b"),
    ("day", r"\b(?:(?:per|by|each|every) day|daily)\b"),
)
_LIMIT: Final = r"\b(?P<way>top|bottom|first|last)\s+(?P<count>\d{1,4})\b"
_LIMIT_AFTER: Final = (
    r"\b(?P<count>\d{1,4})\s+(?P<way>largest|highest|biggest|smallest|lowest|rows|"
    r"records|examples)\b"
)
_RANKED: Final = r"\b(?:top|bottom|most|least|fewest|largest number of)\b"
_DOWNWARD: Final = re.compile(r"bottom|least|fewest|smallest|lowest", re.IGNORECASE)
_GROUPED: Final = r"\b(?:group(?:ed)? by|split by|per|for each|each|every|by)\b"
_SORTED: Final = r"\b(?:sort(?:ed)?|order(?:ed)?|ranked) by\b"
_ASKED: Final = (
    r"\b(?:which|what|list|distinct|unique|different|common|frequent)"
    r"(?:\s+(?:are|is|all|the|of|different|distinct))*\b"
)
_ORDER: Final = r"\b(?:ascending|asc)\b"
_ORDER_DOWN: Final = r"\b(?:descending|desc)\b"
_TIME: Final = r"\b(?:when|latest|newest|most recent|earliest|oldest)\b"
_SHOWING: Final = (
    r"\b(?:show|list|display|print|rows|records|sample|preview|examples?)\b"
)


def read_question(
    message: str, table: Table, values: Values = NO_VALUES
) -> Plan | None:
    """Read a question about one table.

    Args:
        message: The question, in English.
        table: What it is about.
        values: Values that are known to occur in the table's columns of text.

    Returns:
        The plan, with the words that nothing was made of; None when the question asks
        for nothing that a query could answer.
    """
    return _Reading(message, table, values).plan()


class _Reading:
    """The roles that the words of one question play."""

    def __init__(self, message: str, table: Table, values: Values) -> None:
        self.question = Question(message)
        self.columns = Columns(table)
        self.asked_by = ""
        self.table = table
        self.filters: list[Filter] = read_filters(self.question, self.columns)
        self.bucket = self._read_bucket()
        self.sort = self._column_after(_SORTED)
        self.limit, self.asked_for, self.ascending = self._read_limit()
        self.is_time = re.search(_TIME, self.question.text, re.IGNORECASE) is not None
        self.function = self._read_function()
        self.group = self._column_after(_GROUPED)
        self.asked = self._mention_after(_ASKED)
        self.is_ranked = self._read_ranking()
        self._use_table_name()
        self.filters += read_values(self.question, self.columns, values)
        self.is_shown = self._read_showing()

    def plan(self) -> Plan | None:
        """Put the roles together."""
        by_numbers = self.group is not None and self.group in self.table.numbers
        if by_numbers and (self.asked_for or self.is_ranked or self.asked):
            self.sort, self.group = self.group, None
        group = self._grouping()
        measure = self._measure(group)
        if measure is None and group is None:
            return self._rows()
        measure = measure or Measure("count")
        return self._plan(measure=measure, group=group)

    # --- roles -------------------------------------------------------------------

    def _read_bucket(self) -> Bucket | None:
        if self.table.dates:
            for bucket, pattern in _BUCKETS:
                if self.question.take(pattern):
                    return bucket
        return None

    def _read_limit(self) -> tuple[int, bool, bool]:
        """Read how many are wanted, whether a number was said, and which way round."""
        for pattern in (_LIMIT, _LIMIT_AFTER):
            match = self.question.take(pattern)
            if match:
                count = min(max(int(match["count"]), 1), MAX_SHOWN)
                is_down = _DOWNWARD.search(match["way"]) is not None
                self.way = match["way"].casefold()
                return count, True, is_down
        self.way = ""
        return SHOWN, False, False

    def _read_function(self) -> Kind | None:
        for kind, pattern in _FUNCTIONS:
            match = re.search(pattern, self.question.text, re.IGNORECASE)
            if match and not self._is_column(match) and self.question.take(pattern):
                self.ascending |= kind == "min"
                self.after_function = match.end()
                return kind
        self.after_function = 0
        return None

    def _is_column(self, match: re.Match[str]) -> bool:
        """Tell whether words that could ask for a function name a column instead."""
        found = self.columns.at(self.question, match.start())
        return found is not None and found.is_whole

    def _read_ranking(self) -> bool:
        match = self.question.take(_RANKED)
        if match and _DOWNWARD.search(match[0]):
            self.ascending = True
        return match is not None or self.way in {"top", "bottom"}

    def _mention_after(self, pattern: str) -> Mention | None:
        """Return the column right after words such as `which`, which then are used."""
        for match in re.finditer(pattern, self.question.text, re.IGNORECASE):
            found = self.columns.after(self.question, match.end())
            if found and self.question.is_free(match.start(), match.end()):
                self.question.use(match.start(), match.end())
                self.asked_by = match[0].casefold()
                return found
        return None

    def _column_after(self, pattern: str) -> Column | None:
        found = self._mention_after(pattern)
        if found is None:
            return None
        self.question.use(found.start, found.end)
        return self.columns.say(found)

    def _read_showing(self) -> bool:
        """Tell whether rows are to be shown: `list` with more than one column, too."""
        if self.question.take(_ORDER):
            self.ascending = True
        self.question.take(_ORDER_DOWN)
        if self.asked and self.asked_by.startswith("list"):
            mentions = self.columns.free(self.question)
            return len({one.column.name for one in mentions}) > 1
        return self.question.take(_SHOWING) is not None

    def _use_table_name(self) -> None:
        own = split_name(self.table.name)
        for word in self.question.free_words():
            if word.stem in own and not self._names_a_column(word.start):
                self.question.use(word.start, word.end)

    def _names_a_column(self, start: int) -> bool:
        found = self.columns.at(self.question, start)
        return found is not None and found.is_whole

    # --- decisions ---------------------------------------------------------------

    def _grouping(self) -> Group | None:
        if self.group is not None:
            is_day = self.group.is_date and self.bucket is not None
            return Group(self.group, self.bucket if is_day else None)
        if self.bucket is not None:
            return Group(self.columns.day(), self.bucket)
        asked = self.asked or self._ranked_column()
        if asked is None or asked.column in self.table.numbers:
            return None
        if self.is_shown or self.function == "distinct":
            return None
        self.question.use(asked.start, asked.end)
        return Group(self.columns.say(asked))

    def _ranked_column(self) -> Mention | None:
        """Return the column in `top 3 countries`, where `which` was not said."""
        if not self.is_ranked:
            return None
        found = self.columns.free(self.question)
        return next((one for one in found if not one.column.is_number), None)

    def _measure(self, group: Group | None) -> Measure | None:
        if self.function in {"count", "distinct"}:
            return self._count()
        if self.function in {"max", "min"} and self.asked_for:
            return None
        if self.function is not None:
            return self._computed(self.function)
        if self.sort is not None and group is not None:
            return Measure("sum", self.sort) if self.sort.is_number else None
        return self._implied(group)

    def _count(self) -> Measure:
        """Count rows; or different values, where a column is what is counted."""
        found = self.columns.after(self.question, self.after_function)
        if found is None or found.column in self.table.numbers:
            return Measure("count")
        self.question.use(found.start, found.end)
        column = self.columns.say(found)
        if self.function == "count":
            self.columns.choices.append(
                f"I counted the different values of {column.name}, not the rows."
            )
        return Measure("distinct", column)

    def _computed(self, kind: Kind) -> Measure | None:
        for one in self.columns.free(self.question):
            is_fit = one.column.is_number or (
                kind in {"min", "max"} and one.column.is_date
            )
            if is_fit:
                self.question.use(one.start, one.end)
                return Measure(kind, self.columns.say(one))
        if self.is_time and self.table.dates:
            return Measure(kind, self.columns.day())
        column = self.columns.number()
        return None if column is None else Measure(kind, column)

    def _implied(self, group: Group | None) -> Measure | None:
        """Sum the numbers that are named where they are not just to be shown."""
        if self.is_shown and group is None:
            return None
        found = [
            one
            for one in self.columns.free(self.question)
            if one.column in self.table.numbers
        ]
        if found and not self.asked_for:
            self.question.use(found[0].start, found[0].end)
            return Measure("sum", self.columns.say(found[0]))
        if self.is_ranked and group is not None and self.question.unread():
            column = self.columns.number()
            return None if column is None else Measure("sum", column)
        return None

    def _rows(self) -> Plan | None:
        is_asked = (self.is_shown, self.filters, self.asked_for, self.sort, self.asked)
        if not any(is_asked):
            return None
        mentions = self.columns.free(self.question)
        for one in mentions:
            self.question.use(one.start, one.end)
        columns = tuple(dict.fromkeys(map(self.columns.say, mentions)))
        sort = self.sort or self._sorted_by(columns)
        if sort is not None and sort in columns and self.sort is None:
            columns = () if len(columns) == 1 else columns
        return self._plan(columns=columns, sort=sort)

    def _sorted_by(self, columns: tuple[Column, ...]) -> Column | None:
        """Return what `top 3` or `last 3` rows are sorted by when it was not said."""
        if self.way in {"", "first", "rows", "records", "examples"}:
            return None
        if self.way == "last":
            return self._last()
        numbers = [one for one in columns if one.is_number]
        return numbers[0] if numbers else self.columns.number()

    def _last(self) -> Column | None:
        if self.table.dates:
            return self.columns.day()
        self.columns.choices.append("The table has no order, so “last” meant nothing.")
        return None

    def _plan(
        self,
        *,
        measure: Measure | None = None,
        group: Group | None = None,
        columns: tuple[Column, ...] = (),
        sort: Column | None = None,
    ) -> Plan:
        unread = self.question.unread()
        if "or" in unread and len(self.filters) > 1:
            self.columns.choices.append("I took all the conditions to hold together.")
        return Plan(
            table=self.table,
            measure=measure,
            group=group,
            columns=columns,
            filters=tuple(self.filters),
            sort=sort,
            ascending=self.ascending,
            limit=self.limit if self.asked_for or measure is None else MAX_SHOWN,
            choices=tuple(self.columns.choices),
            unread=unread,
        )
