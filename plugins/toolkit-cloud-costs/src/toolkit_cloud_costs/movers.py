"""What got dearer or cheaper between two periods of the same length."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from toolkit import ToolError
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import MoverRow, Period, TopMovers
from toolkit_cloud_costs.money import to_number, to_percent
from toolkit_cloud_costs.quality import describe_basis
from toolkit_cloud_costs.spend import Grouping

DEFAULT_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Days:
    """Some whole days, both ends included."""

    first: date
    last: date

    def __len__(self) -> int:
        """Return how many days there are."""
        return (self.last - self.first).days + 1

    def to_period(self) -> Period:
        """Return it as part of an answer."""
        return Period(first_day=self.first, last_day=self.last, days=len(self))


def list_movers(
    ledger: Ledger, grouping: Grouping, days: int | None, limit: int
) -> TopMovers:
    """Return what changed most between the last `days` days and those before them.

    Args:
        ledger: The charges.
        grouping: What to compare.
        days: Length of each period; when absent 30, or half of a shorter export.
        limit: Most rows to return.

    Passes on a `ToolError` when the export is too short for two periods, or lacks
    the cost.
    """
    grouping.measure(ledger)
    previous, current = _split(ledger, days)
    values = {
        "previous_first": previous.first,
        "current_first": current.first,
        "current_last": current.last,
    }
    totals = [_mover(row) for row in ledger.rows(_TOTAL_MOVES, values)]
    moves = [_mover(row) for row in ledger.rows(_MOVES, values)]
    return TopMovers(
        basis=describe_basis(ledger),
        cost=grouping.cost,
        group_by=grouping.group_by,
        previous=previous.to_period(),
        current=current.to_period(),
        totals=totals,
        rows=[row for row in moves if row.change][:limit],
        notes=_movers_notes(grouping),
    )


def _movers_notes(grouping: Grouping) -> list[str]:
    notes = ["Both periods have the same number of days; the last may be incomplete."]
    if grouping.cost == "billed":
        notes.append(
            "Billed cost books a purchase in full on its day; ask for `effective` to "
            "see it spread over the usage."
        )
    return notes


def _split(ledger: Ledger, days: int | None) -> tuple[Days, Days]:
    first, last = ledger.row(_SPAN)
    span = (last - first).days + 1
    length = days or min(DEFAULT_DAYS, span // 2)
    if not length or 2 * length > span:
        text = (
            f"Two periods of {length or 1} days need {2 * (length or 1)} days of "
            f"charges; there are {span} ({first} to {last}). Ask for fewer `days`."
        )
        raise ToolError(text)
    start = last - timedelta(days=length - 1)
    return (
        Days(start - timedelta(days=length), start - timedelta(days=1)),
        Days(start, last),
    )


def _mover(row: tuple[Any, ...]) -> MoverRow:
    value, label, currency, before, now, had, has = row
    return MoverRow(
        value=value,
        label=label,
        currency=currency,
        previous=to_number(before),
        current=to_number(now),
        change=to_number(now - before),
        change_percent=to_percent(now - before, abs(before)),
        status=_status(now - before, had=had, has=has),
    )


def _status(
    change: Decimal, *, had: bool, has: bool
) -> Literal["new", "gone", "up", "down"]:
    if not had:
        return "new"
    if not has:
        return "gone"
    return "up" if change > 0 else "down"


_SPAN = "SELECT min(start_at)::DATE, max(start_at)::DATE FROM measured"

_MOVES = """
WITH compared AS (
    SELECT *, start_at >= $current_first AS is_current FROM measured
    WHERE start_at >= $previous_first AND start_at < $current_last + INTERVAL 1 DAY
)
SELECT value, string_agg(DISTINCT label, ', ' ORDER BY label), currency,
    coalesce(sum(cost) FILTER (NOT is_current), 0) AS previous,
    coalesce(sum(cost) FILTER (is_current), 0) AS current,
    bool_or(NOT is_current), bool_or(is_current)
FROM compared GROUP BY value, currency
ORDER BY abs(current - previous) DESC, value, currency
"""

_TOTAL_MOVES = """
WITH compared AS (
    SELECT *, start_at >= $current_first AS is_current FROM measured
    WHERE start_at >= $previous_first AND start_at < $current_last + INTERVAL 1 DAY
)
SELECT 'total', NULL, currency,
    coalesce(sum(cost) FILTER (NOT is_current), 0),
    coalesce(sum(cost) FILTER (is_current), 0),
    bool_or(NOT is_current), bool_or(is_current)
FROM compared GROUP BY currency ORDER BY currency
"""
