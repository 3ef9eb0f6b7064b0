"""The conditions of a question: `country is Italy`, `amount over 100`, `in 2025`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from toolkit_data_agent.columns import Columns, Mention
from toolkit_data_agent.plan import Filter, Operator
from toolkit_data_agent.sql import is_day, number_of
from toolkit_data_agent.tables import Column
from toolkit_data_agent.words import Question, is_telling

Values = Mapping[str, Sequence[str]]
"""Values that are known to occur, by the name of their column."""

_BE: Final = r"\s*(?:(?:is|are|was|were|of)\s+)?"
_MORE: Final = "more|greater|higher|larger|bigger|later"
_LESS: Final = "less|lower|smaller|fewer|earlier"
_OPERATORS: Final[tuple[tuple[Operator, str], ...]] = (
    ("missing", rf"{_BE}(?:missing|empty|null|unknown)\b"),
    ("!=", r"\s*(?:(?:is|are|was|were)\s+not\b|isn't\b|not\b|!=|<>)\s*"),
    (">=", rf"{_BE}(?:>=|at least\b|since\b|from\b)\s*"),
    ("<=", rf"{_BE}(?:<=|at most\b|up to\b|until\b)\s*"),
    (">", rf"{_BE}(?:>|(?:over|above|after|exceeding|(?:{_MORE}) than)\b)\s*"),
    ("<", rf"{_BE}(?:<|(?:under|below|before|(?:{_LESS}) than)\b)\s*"),
    ("contains", r"\s*(?:contains|containing|includes|including|like)\b\s*"),
    ("=", r"\s*(?:(?:is|are|was|were|equals)\b(?:\s+equal to\b)?|==?|:)\s*"),
)
_MISSING: Final = r"\b(?:missing|empty|without(?: an?| any)?|have no|has no)\s+(?=\w)"
_BETWEEN: Final = r"\s*(?:is |are )?between\s+([\w.,-]+)\s+and\s+([\w-]+(?:\.\d+)?)"
_QUOTED: Final = "\"([^\"]*)\"|'([^']*)'|“([^”]*)”"
_END: Final = (
    r"(?=\s+(?:and|or|by|per|in|for|with|where|group(?:ed)?|sort(?:ed)?|order(?:ed)?|"
    r"limit|from|on|each|show|list)\b|\s*[,;?!]|[.]?\s*$|[.]\s)"
)
_NUMBER: Final = r"(-?\d[\d,]*(?:\.\d+)?)(?=\s|[?!;]|,\s|[,.]?$)"
_PLAIN: Final = rf"([^\s,;?!<>=].*?){_END}"
_VALUE: Final = rf"(?:{_QUOTED}|{_NUMBER}|{_PLAIN})"
_OR: Final = r"\s*(?:,\s*)?\bor\s+"

_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_MONTH: Final = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_PERIODS: Final = (
    r"\b(?:in|during|for|of|from)\s+(?P<year>(?:19|20)\d\d)(?:-(?P<number>0[1-9]|1[0-2]))?\b(?!-)",
    rf"\b(?:in|during|for|of|from)\s+(?P<month>{_MONTH})\s+(?P<year>(?:19|20)\d\d)\b",
)
_DAYS: Final[tuple[tuple[Operator, str], ...]] = (
    (">=", r"\b(?:since|from)\s+(\d{4}-\d\d-\d\d)\b"),
    (">", r"\bafter\s+(\d{4}-\d\d-\d\d)\b"),
    ("<", r"\bbefore\s+(\d{4}-\d\d-\d\d)\b"),
    ("<=", r"\b(?:until|to)\s+(\d{4}-\d\d-\d\d)\b"),
)


def read_filters(question: Question, columns: Columns) -> list[Filter]:
    """Use up and return the conditions that name a column, and the spans of time."""
    found = list(_read_missing(question, columns))
    for word in question.words:
        if question.is_free(word.start, word.end):
            found += _read_condition(question, columns, word.start)
    return [*found, *_read_times(question, columns)]


def read_values(question: Question, columns: Columns, values: Values) -> list[Filter]:
    """Use up and return values that stand in the question without their column.

    Several values of one column are alternatives: no row holds two of them.
    """
    pairs = [
        (value, column)
        for column in columns.table.texts
        for value in values.get(column.name, ())
        if len(value) > 1
    ]
    pairs.sort(key=lambda pair: -len(pair[0]))
    found: dict[Column, tuple[str, ...]] = {}
    for value, column in pairs:
        is_value = any(is_telling(word) for word in Question(value).words)
        if is_value and question.take(rf"(?<!\w){re.escape(value)}(?!\w)"):
            found[column] = (*found.get(column, ()), value)
    if any(len(values) > 1 for values in found.values()):
        question.take(r"\bor\b")
    return [Filter(column, "=", values) for column, values in found.items()]


def _read_missing(question: Question, columns: Columns) -> Iterator[Filter]:
    """Read `without a discount`, where the column comes last."""
    for match in re.finditer(_MISSING, question.text, re.IGNORECASE):
        found = columns.at(question, match.end())
        if found is not None:
            question.use(match.start(), found.end)
            yield Filter(columns.say(found), "missing")


def _read_condition(question: Question, columns: Columns, at: int) -> list[Filter]:
    """Read a column and what is said of it, at one place."""
    found = columns.at(question, at)
    if found is None:
        return []
    between = re.compile(_BETWEEN, re.IGNORECASE).match(question.text, found.end)
    if between and all(_fits(found.column, ">", value) for value in between.groups()):
        question.use(at, between.end())
        column, (least, most) = columns.say(found), between.groups()
        return [Filter(column, ">=", (least,)), Filter(column, "<=", (most,))]
    return _read_comparison(question, columns, found)


def _read_comparison(
    question: Question, columns: Columns, found: Mention
) -> list[Filter]:
    for operator, pattern in _OPERATORS:
        match = re.compile(pattern, re.IGNORECASE).match(question.text, found.end)
        if match:
            one, end = _read_operand(
                question, columns, (found.column, operator), match.end()
            )
            if one is not None:
                columns.say(found)
                question.use(found.start, end)
            return [one] if one is not None else []
    return []


def _read_operand(
    question: Question, columns: Columns, asked: tuple[Column, Operator], at: int
) -> tuple[Filter | None, int]:
    column, operator = asked
    if operator == "missing":
        return Filter(column, operator), at
    values: list[str] = []
    match = re.compile(_VALUE, re.IGNORECASE).match(question.text, at)
    while match:
        values.append(next(filter(None, match.groups()), ""))
        at = match.end()
        match = _match_alternative(question, columns, at)
    fits = values and all(_fits(column, operator, value) for value in values)
    return (Filter(column, operator, tuple(values)) if fits else None), at


def _match_alternative(
    question: Question, columns: Columns, at: int
) -> re.Match[str] | None:
    """Match `or` and a value; not `or` and a further condition."""
    word = re.compile(_OR, re.IGNORECASE).match(question.text, at)
    if word is None or columns.at(question, word.end()) is not None:
        return None
    return re.compile(_VALUE, re.IGNORECASE).match(question.text, word.end())


def _fits(column: Column, operator: Operator, value: str) -> bool:
    """Tell whether a value can be compared with a column in this way."""
    if column.is_number:
        return operator != "contains" and number_of(value) is not None
    if column.is_date:
        return operator != "contains" and is_day(value)
    return bool(value.strip())


def _read_times(question: Question, columns: Columns) -> list[Filter]:
    if not columns.table.dates:
        return []
    found: list[tuple[Operator, str]] = []
    for pattern in _PERIODS:
        match = question.take(pattern)
        if match:
            first, after = _span(match)
            found += [(">=", first), ("<", after)]
    for operator, pattern in _DAYS:
        match = question.take(pattern)
        if match and is_day(match[1]):
            found.append((operator, match[1]))
    if not found:
        return []
    day = columns.day()
    return [Filter(day, operator, (value,)) for operator, value in found]


def _span(match: re.Match[str]) -> tuple[str, str]:
    """Return the first day of a month or year, and the day after its last."""
    said = match.groupdict()
    year = int(said["year"])
    if said.get("month"):
        month = _MONTHS.index(said["month"][:3].casefold()) + 1
    elif said.get("number"):
        month = int(said["number"])
    else:
        return f"{year}-01-01", f"{year + 1}-01-01"
    later = f"{year}-{month + 1:02}" if month < 12 else f"{year + 1}-01"  # noqa: PLR2004
    return f"{year}-{month:02}-01", f"{later}-01"
