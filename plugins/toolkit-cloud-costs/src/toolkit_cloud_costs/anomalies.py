"""Days on which a service cost far more than on the days before.

Source: B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers" (1993): the
modified z-score, 0.6745 (x - median) / MAD, is an outlier above 3.5. Where the MAD is 0
the mean absolute deviation takes its place, scaled by 1.253314.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from statistics import median
from typing import Final

from toolkit_cloud_costs.findings import Anomaly, CostAnomalies, NotJudged
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import Cost
from toolkit_cloud_costs.money import ZERO, to_number
from toolkit_cloud_costs.quality import describe_basis
from toolkit_cloud_costs.spend import COST_COLUMNS

THRESHOLD: Final = Decimal("3.5")
BASELINE_DAYS: Final = 28
"""Four weeks: every weekday weighs the same."""
MIN_HISTORY: Final = 14
"""Two weeks: with fewer days, one weekend would decide what is normal."""

METHOD: Final = (
    "Daily cost of Usage by provider, service and currency; days without charges count "
    f"as 0. Each day with at least {MIN_HISTORY} days before it is compared with the "
    f"median of up to {BASELINE_DAYS} of them; a modified z-score above {THRESHOLD} "
    "(0.6745 * deviation / MAD) is an anomaly. Only increases are reported."
)


@dataclass(frozen=True, slots=True)
class Series:
    """Daily cost of one service, from its first to the last day of the export."""

    currency: str
    provider: str
    service: str
    first_day: date
    costs: tuple[Decimal, ...]
    rows: tuple[int, ...]


def find_anomalies(
    ledger: Ledger, cost: Cost, minimum_excess: Decimal, limit: int
) -> CostAnomalies:
    """Return days that stand out by at least `minimum_excess`, largest excess first.

    Passes on a `ToolError` when the export lacks the cost asked for.
    """
    ledger.require(COST_COLUMNS[cost])
    series = list(read_series(ledger, cost))
    judged = [one for one in series if len(one.costs) > MIN_HISTORY]
    found = [anomaly for one in judged for anomaly in judge(one, minimum_excess)]
    found.sort(key=lambda one: (one.currency, -one.excess, one.day, one.service))
    return CostAnomalies(
        basis=describe_basis(ledger),
        method=METHOD,
        anomalies=found[:limit],
        anomalies_left_out=max(0, len(found) - limit),
        series_judged=len(judged),
        not_judged=[_refuse(one) for one in series if len(one.costs) <= MIN_HISTORY],
        notes=[
            (
                f"The first {MIN_HISTORY} days of each service are its history, "
                "not judged."
            ),
            "The last day may be incomplete, which can hide an increase.",
        ],
    )


def read_series(ledger: Ledger, cost: Cost) -> Iterator[Series]:
    """Yield the daily costs of each service, gaps filled with 0."""
    last = ledger.row("SELECT max(start_at)::DATE FROM charges")[0]
    rows = ledger.rows(_DAILY, {"cost": cost})
    for (currency, provider, service), group in groupby(rows, key=lambda row: row[:3]):
        by_day = {day: (amount, count) for *_, day, amount, count in group}
        first = min(by_day)
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        yield Series(
            currency,
            provider,
            service,
            first,
            tuple(by_day.get(day, (ZERO, 0))[0] for day in days),
            tuple(by_day.get(day, (ZERO, 0))[1] for day in days),
        )


def judge(series: Series, minimum_excess: Decimal) -> Iterator[Anomaly]:
    """Yield the days of one series that stand out from those before them."""
    for index in range(MIN_HISTORY, len(series.costs)):
        history = series.costs[max(0, index - BASELINE_DAYS) : index]
        expected = median(history)
        excess = series.costs[index] - expected
        score = robust_score(excess, expected, history)
        stands_out = excess > 0 if score is None else score > THRESHOLD
        if stands_out and excess >= minimum_excess:
            yield Anomaly(
                day=series.first_day + timedelta(days=index),
                provider=series.provider,
                service=series.service,
                currency=series.currency,
                cost=to_number(series.costs[index]),
                expected=to_number(expected),
                excess=to_number(excess),
                score=None if score is None else round(float(score), 1),
                history_days=len(history),
                rows=series.rows[index],
            )


def robust_score(
    excess: Decimal, expected: Decimal, history: Sequence[Decimal]
) -> Decimal | None:
    """Return the modified z-score; None when every day of the history was equal."""
    deviations = [abs(amount - expected) for amount in history]
    mad = median(deviations)
    if mad:
        return Decimal("0.6745") * excess / mad
    mean = sum(deviations, ZERO) / len(deviations)
    return excess / (Decimal("1.253314") * mean) if mean else None


def _refuse(series: Series) -> NotJudged:
    days = len(series.costs)
    return NotJudged(
        provider=series.provider,
        service=series.service,
        currency=series.currency,
        days=days,
        reason=(
            f"Days since its first charge: {days}; a judgement needs {MIN_HISTORY} "
            "days of history and one more."
        ),
    )


_DAILY = """
SELECT currency, provider, service, start_at::DATE AS day,
    coalesce(sum(CASE $cost
        WHEN 'billed' THEN billed_cost
        WHEN 'effective' THEN effective_cost
        WHEN 'list' THEN list_cost
        WHEN 'contracted' THEN contracted_cost
    END), 0), count(*)
FROM charges
WHERE charge_category = 'Usage'
    AND (end_at IS NULL OR end_at - start_at <= INTERVAL 1 DAY)
GROUP BY ALL ORDER BY ALL
"""
