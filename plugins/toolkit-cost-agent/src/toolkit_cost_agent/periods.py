"""Which days a message speaks of: `in July`, `last 7 days`, `since 2025-08-01`."""

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_MONTH: Final = (
    r"(?P<month>january|february|march|april|may|june|july|august|september|october|"
    r"november|december|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
_YEAR: Final = r"(?P<year>20\d\d)"
_DAY: Final = r"20\d\d-\d\d-\d\d"
_NAMED: Final = re.compile(
    rf"\b(?P<word>in|during|for|of|since|from)\s+{_MONTH}\b(?:,?\s+{_YEAR}\b)?|"
    rf"\b{_MONTH.replace('month', 'month2')},?\s+{_YEAR.replace('year', 'year2')}\b",
    re.IGNORECASE,
)
_ISO_MONTH: Final = re.compile(rf"\b{_YEAR}-(?P<number>0[1-9]|1[0-2])\b(?!-)")
_WHOLE_YEAR: Final = re.compile(rf"\b(?:in|during|for|of)\s+{_YEAR}\b(?!-)")
_RANGE: Final = re.compile(rf"\b({_DAY})\s*(?:to|and|until|through|-)\s*({_DAY})\b")
_EDGE: Final = re.compile(
    rf"\b(since|from|after|before|until|to|on)\s+({_DAY})\b", re.IGNORECASE
)
_LAST_DAYS: Final = re.compile(
    r"\b(?:last|past|latest)\s+(?P<count>\d{1,3})?\s*(?P<unit>days?|weeks?|months?)\b",
    re.IGNORECASE,
)
_THIS_MONTH: Final = re.compile(r"\bthis month\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Period:
    """Some days, first and last included; None: as far as the export goes.

    Attributes:
        first: First day.
        last: Last day.
        note: How it was come to, where the message left that open.
    """

    first: date | None = None
    last: date | None = None
    note: str = ""

    def __str__(self) -> str:
        """Say the days."""
        if self.first is None and self.last is None:
            return "the whole export"
        if self.first is None:
            return f"the days until {self.last}"
        if self.last is None:
            return f"the days from {self.first}"
        if self.first == self.last:
            return f"{self.first}"
        return f"{self.first} to {self.last}"

    @property
    def is_whole(self) -> bool:
        """Whether it is all that the export holds."""
        return self.first is None and self.last is None

    def within(self, first: date, last: date) -> tuple[date, date] | None:
        """Return the days of it that an export has; None when it has none of them."""
        start = max(self.first or first, first)
        end = min(self.last or last, last)
        return (start, end) if start <= end else None


def read_period(message: str, first: date, last: date) -> Period:
    """Read the days that a message speaks of.

    Nothing here looks at a clock: `last month` is counted from the export's last day.

    Args:
        message: What the user asks.
        first: First day of the export.
        last: Last day of the export.

    Returns:
        The period; the whole export where the message names none.
    """
    return (
        _explicit(message)
        or _by_month(message, last)
        or _by_distance(message, first, last)
        or Period()
    )


def _explicit(message: str) -> Period | None:
    both = _RANGE.search(message)
    if both:
        days = sorted(filter(None, map(_day, both.groups())))
        return Period(days[0], days[-1]) if days else None
    edges = {word.lower(): _day(day) for word, day in _EDGE.findall(message)}
    on = edges.get("on")
    if on:
        return Period(on, on)
    after, before = edges.get("after"), edges.get("before")
    start = edges.get("since") or edges.get("from") or _moved(after, 1)
    end = edges.get("until") or edges.get("to") or _moved(before, -1)
    return Period(start, end) if start or end else None


def _by_month(message: str, last: date) -> Period | None:
    iso = _ISO_MONTH.search(message)
    if iso:
        return _month(int(iso["year"]), int(iso["number"]))
    named = _NAMED.search(message)
    if named:
        said = named["month"] or named["month2"]
        number = _MONTHS.index(said[:3].lower()) + 1
        year = named["year"] or named["year2"]
        found = _month_of(year, number, last)
        is_open = (named["word"] or "").lower() in {"since", "from"}
        return replace(found, last=None) if is_open else found
    whole = _WHOLE_YEAR.search(message)
    if whole:
        year_number = int(whole["year"])
        return Period(date(year_number, 1, 1), date(year_number, 12, 31))
    return None


def _month_of(year: str | None, number: int, last: date) -> Period:
    """Return a month; without a year, the latest that is not after `last`."""
    if year:
        return _month(int(year), number)
    guessed = last.year if number <= last.month else last.year - 1
    return _month(guessed, number, f"The message names no year; I took {guessed}.")


def _by_distance(message: str, first: date, last: date) -> Period | None:
    counted = f"Counted from the export's last day, {last}; I have no calendar."
    if _THIS_MONTH.search(message):
        return Period(last.replace(day=1), last, counted)
    match = _LAST_DAYS.search(message)
    if not match:
        return None
    unit = match["unit"].lower()
    if unit.startswith("month") and not match["count"]:
        before = last.replace(day=1) - timedelta(days=1)
        return _month(before.year, before.month, counted)
    length = {"d": 1, "w": 7, "m": 30}[unit[0]] * int(match["count"] or 1)
    start = max(first, last - timedelta(days=max(length, 1) - 1))
    return Period(start, last, counted)


def _month(year: int, month: int, note: str = "") -> Period:
    start = date(year, month, 1)
    after = (start + timedelta(days=31)).replace(day=1)
    return Period(start, after - timedelta(days=1), note)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _moved(day: date | None, days: int) -> date | None:
    return day + timedelta(days=days) if day else None
