"""Spend by a dimension."""

from dataclasses import dataclass
from typing import Any, Final

from toolkit import ToolError
from toolkit_cloud_costs.columns import OPTIONAL
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import (
    Cost,
    CostOverview,
    CurrencyTotal,
    Dimension,
    SpendBreakdown,
    SpendRow,
)
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

    Passes on a `ToolError` when the export lacks the cost, or a tag key is missing.
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

    Passes on a `ToolError` when the call's time or memory is used up.
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
