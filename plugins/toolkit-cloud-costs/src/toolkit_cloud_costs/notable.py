"""Findings without a figure to save: they say where to look."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from toolkit_cloud_costs.anomalies import find_anomalies
from toolkit_cloud_costs.findings import Anomaly, Figure, Finding, Unsupported
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.money import to_number, to_percent
from toolkit_cloud_costs.movers import Days

MOST_ANOMALIES: Final = 5
LEAST_EXCESS: Final = Decimal(1)
MANY: Final = 10_000
"""All of them: the window is cut afterwards."""


def note_untagged(ledger: Ledger) -> Iterator[Finding | Unsupported]:
    """Yield the untagged usage of the window, one finding per currency."""
    if "Tags" not in ledger.columns:
        reason = "The export has no column Tags."
        yield Unsupported(rule="untagged_spend", reason=reason)
        return
    for currency, untagged, usage, rows, examples in ledger.rows(_UNTAGGED):
        percent = to_percent(untagged, usage) or 0.0
        yield Finding(
            rank=1,
            rule="untagged_spend",
            title=f"{to_number(untagged)} {currency} of usage carries no tag",
            action="Tag these resources, so that somebody can be asked about them.",
            currency=currency,
            estimated_monthly_saving=None,
            calculation="No saving follows from a missing tag; this is cost to assign.",
            confidence="high",
            confidence_reason="Counted from the Tags column.",
            provider=None,
            service=None,
            account=None,
            region=None,
            subject=None,
            rows=rows,
            row_examples=examples,
            evidence=[
                Figure(
                    name="untagged BilledCost of Usage",
                    value=to_number(untagged),
                    unit=currency,
                ),
                Figure(name="share of Usage", value=percent, unit="%"),
            ],
        )


def note_anomalies(ledger: Ledger, window: Days) -> Iterator[Finding | Unsupported]:
    """Yield the worst day of each service that had one in the window."""
    judged = find_anomalies(ledger, "billed", LEAST_EXCESS, MANY)
    if not judged.series_judged:
        reason = "No service has the two weeks of daily history that it takes."
        yield Unsupported(rule="anomaly", reason=reason)
    recent = [one for one in judged.anomalies if one.day >= window.first]
    for one, days in _worst_days(recent)[:MOST_ANOMALIES]:
        values = {"day": one.day, "provider": one.provider, "service": one.service}
        (examples,) = ledger.row(_EXAMPLES, values)
        yield Finding(
            rank=1,
            rule="anomaly",
            title=f"{one.service} cost {one.cost} {one.currency} on {one.day}, "
            f"{one.excess} more than usual",
            action="Find out what ran that day, and whether it will again.",
            currency=one.currency,
            estimated_monthly_saving=None,
            calculation="No saving follows from one day; the excess is already spent.",
            confidence="medium",
            confidence_reason=f"Robust z-score over {one.history_days} days before it.",
            provider=one.provider,
            service=one.service,
            account=None,
            region=None,
            subject=str(one.day),
            rows=one.rows,
            row_examples=examples,
            evidence=[
                Figure(name="cost of the day", value=one.cost, unit=one.currency),
                Figure(name="median before", value=one.expected, unit=one.currency),
                Figure(name="excess", value=one.excess, unit=one.currency),
                Figure(name="days that stand out", value=days, unit="days"),
            ],
        )


def _worst_days(anomalies: list[Anomaly]) -> list[tuple[Anomaly, int]]:
    services: dict[tuple[str, str, str], list[Anomaly]] = {}
    for one in anomalies:  # largest excess first
        key = (one.currency, one.provider, one.service)
        services.setdefault(key, []).append(one)
    return [(days[0], len(days)) for days in services.values()]


_UNTAGGED = """
WITH judged AS (
    SELECT *, len(keys_with_value(tags)) = 0 AS untagged
    FROM recent WHERE charge_category = 'Usage'
)
SELECT currency, coalesce(sum(billed_cost) FILTER (untagged), 0) AS cost,
    sum(billed_cost), count(*) FILTER (untagged),
    list(file_name || ':' || row_number ORDER BY billed_cost DESC, id)
        FILTER (untagged)[1:3]
FROM judged GROUP BY currency HAVING cost > 0 ORDER BY currency
"""

_EXAMPLES = """
SELECT list(file_name || ':' || row_number ORDER BY billed_cost DESC, id)[1:3]
FROM recent
WHERE start_at::DATE = $day AND provider = $provider AND service = $service
    AND charge_category = 'Usage'
"""
