"""Spend by a dimension, and what moved between two periods."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from toolkit import ToolError
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import (
    Cost,
    CostOverview,
    CurrencyTotal,
    Dimension,
    MoverRow,
    Period,
    SpendBreakdown,
    SpendRow,
    TopMovers,
)
from toolkit_cloud_costs.columns import OPTIONAL
from toolkit_cloud_costs.money import ZERO, to_number, to_percent
from toolkit_cloud_costs.quality import describe_basis
from toolkit_cloud_costs.schema import MEASURE

COST_COLUMNS: Final[dict[Cost, str]] = {
    "billed": "BilledCost",
    "effective": "EffectiveCost",
    "list": "ListCost",
    "contracted": "ContractedCost",
}
IN_ORDER_OF_TIME: Final = ("day", "month", "billing_period")
DEFAULT_DAYS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """What to sum, and by what."""

    cost: Cost = "billed"
    group_by: Dimension = "service"
    tag_key: str | None = None

    def measure(self, ledger: Ledger) -> None:
        """Lay out cost, value and label of every charge in a table of their own.

        Raises:
            ToolError: The cost column is missing, or a tag key is missing or spare.
        """
        if (self.group_by == "tag") != bool(self.tag_key):
            text = 'Give `tag_key` together with group_by "tag", and only then.'
            raise ToolError(text)
        ledger.require(COST_COLUMNS[self.cost])
        ledger.execute("DROP TABLE IF EXISTS measured")
        values = {"cost": self.cost, "group_by": self.group_by, "tag_key": self.tag_key}
        ledger.execute(MEASURE, values)


def break_down(ledger: Ledger, grouping: Grouping, limit: int) -> SpendBreakdown:
    """Return spend by one dimension, at most `limit` groups.

    Raises:
        ToolError: The export lacks the cost asked for, or a tag key is missing.
    """
    grouping.measure(ledger)
    totals = list_totals(ledger)
    groups = _group(ledger, grouping)
    return SpendBreakdown(
        basis=describe_basis(ledger),
        cost=grouping.cost,
        group_by=grouping.group_by,
        totals=totals,
        rows=groups[:limit],
        groups_left_out=max(0, len(groups) - limit),
    )


def overview(ledger: Ledger) -> CostOverview:
    """Return what the export holds, with both cash and amortised totals.

    Raises:
        ToolError: The call's time or memory is used up.
    """
    effective: list[CurrencyTotal] = []
    if "EffectiveCost" in ledger.columns:
        Grouping(cost="effective").measure(ledger)
        effective = list_totals(ledger)
    by_provider = Grouping(group_by="provider")
    by_provider.measure(ledger)
    return CostOverview(
        basis=describe_basis(ledger),
        columns_missing=[name for name in OPTIONAL if name not in ledger.columns],
        billed=list_totals(ledger),
        effective=effective,
        billed_by_provider=_group(ledger, by_provider),
    )


def list_totals(ledger: Ledger) -> list[CurrencyTotal]:
    """Return the total of each currency in `measured`, sorted by currency."""
    found: dict[str, list[Any]] = {}
    for currency, *values in ledger.rows(_TOTALS):
        found.setdefault(currency, []).append(values)
    return [
        CurrencyTotal(
            currency=currency,
            cost=to_number(sum((cost for _, cost, _, _ in parts), ZERO)),
            rows=sum(rows for _, _, rows, _ in parts),
            rows_without_cost=sum(missing for *_, missing in parts),
            by_charge_category={name: to_number(cost) for name, cost, *_ in parts},
        )
        for currency, parts in found.items()
    ]


def _group(ledger: Ledger, grouping: Grouping) -> list[SpendRow]:
    rows = [
        SpendRow(
            value=value,
            label=label,
            currency=currency,
            cost=to_number(cost),
            share_percent=to_percent(cost, whole),
            rows=count,
        )
        for value, label, currency, cost, count, whole in ledger.rows(_GROUPS)
    ]
    if grouping.group_by in IN_ORDER_OF_TIME:
        rows.sort(key=lambda row: (row.currency, row.value))
    return rows


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

    Raises:
        ToolError: The export is too short for two periods, or lacks the cost.
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

_TOTALS = """
SELECT currency, charge_category, coalesce(sum(cost), 0), count(*),
    count(*) FILTER (cost IS NULL)
FROM measured GROUP BY ALL ORDER BY ALL
"""

_GROUPS = """
WITH groups AS (
    SELECT value, string_agg(DISTINCT label, ', ' ORDER BY label) AS label, currency,
        coalesce(sum(cost), 0) AS cost, count(*) AS rows
    FROM measured GROUP BY value, currency
)
SELECT *, sum(cost) OVER (PARTITION BY currency) AS whole
FROM groups ORDER BY currency, cost DESC, value
"""

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
