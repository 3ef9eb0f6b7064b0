"""The savings report: every rule asked, every figure with what it rests on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from toolkit_cloud_costs.estimates import Estimate, apply_rule, find_commitment_gap
from toolkit_cloud_costs.findings import (
    Confidence,
    Finding,
    SavingsReport,
    SavingsTotal,
    Unsupported,
)
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.money import ZERO, to_month, to_number
from toolkit_cloud_costs.movers import DEFAULT_DAYS, Days
from toolkit_cloud_costs.notable import note_anomalies, note_untagged
from toolkit_cloud_costs.quality import describe_basis, list_distrusted
from toolkit_cloud_costs.rules import (
    CREATE_BOUND,
    CREATE_CLAIMS,
    CREATE_DISTRUSTED,
    RULES,
)

SHORT_WINDOW: Final = 7
"""Days below which a month is guessed from too little to be more than a hint."""


@dataclass(slots=True)
class _Plan:
    """What the rules found so far, for the length of one report."""

    estimates: list[Estimate] = field(default_factory=list)
    unsupported: list[Unsupported] = field(default_factory=list)

    def extend(self, results: Iterable[Estimate | Finding | Unsupported]) -> None:
        for result in results:
            match result:
                case Unsupported():
                    self.unsupported.append(result)
                case Finding():
                    self.estimates.append(Estimate(result, None))
                case Estimate():
                    self.estimates.append(result)


def report_savings(ledger: Ledger, limit: int) -> SavingsReport:
    """Return a ranked plan from the last 30 days of the export.

    No charge is claimed by two rules, so the savings of one currency may be added.

    Passes on a `ToolError` when the call's time or memory is used up.
    """
    window = _open_window(ledger)
    distrusted = [provider for provider, _ in list_distrusted(ledger)]
    ledger.execute(CREATE_DISTRUSTED, {"providers": distrusted})
    plan = _Plan()
    for rule in RULES:
        plan.extend(apply_rule(ledger, rule, len(window)))
    plan.extend(find_commitment_gap(ledger, len(window), distrusted))
    plan.extend(note_untagged(ledger))
    plan.extend(note_anomalies(ledger, window))
    costs = ledger.rows(_COSTS)
    ranked = _rank(plan.estimates, [currency for currency, _ in costs], window)
    return SavingsReport(
        basis=describe_basis(ledger),
        window=window.to_period(),
        totals=[
            _total(currency, to_month(cost, len(window)), ranked)
            for currency, cost in costs
        ],
        findings=[one.finding for one in ranked[:limit]],
        findings_left_out=max(0, len(ranked) - limit),
        unsupported=plan.unsupported,
        notes=list(_notes(window)),
    )


def _open_window(ledger: Ledger) -> Days:
    first, last = ledger.row(_SPAN)
    window = Days(max(first, last - timedelta(days=DEFAULT_DAYS - 1)), last)
    ledger.execute(CREATE_BOUND, {"first": window.first})
    for statement in CREATE_CLAIMS:
        ledger.execute(statement)
    return window


def _rank(
    estimates: list[Estimate], currencies: list[str], window: Days
) -> list[Estimate]:
    # savings first, largest first within a currency: amounts in two cannot be compared
    ordered = sorted(
        estimates,
        key=lambda one: (
            one.saving is None,
            currencies.index(one.finding.currency),
            -(one.saving or ZERO),
        ),
    )
    changes: dict[str, object] = {}
    if len(window) < SHORT_WINDOW:
        reason = f"A month is guessed from {len(window)} days of charges."
        changes = {"confidence": "low", "confidence_reason": reason}
    return [
        replace(one, finding=one.finding.model_copy(update={"rank": rank, **changes}))
        for rank, one in enumerate(ordered, start=1)
    ]


def _total(currency: str, cost: Decimal, ranked: list[Estimate]) -> SavingsTotal:
    own = [one for one in ranked if one.finding.currency == currency]
    sums: dict[Confidence, Decimal] = {}
    for one in own:
        if one.saving is not None:
            trust = one.finding.confidence
            sums[trust] = sums.get(trust, ZERO) + one.saving
    return SavingsTotal(
        currency=currency,
        estimated_monthly_saving=to_number(sum(sums.values(), ZERO)),
        by_confidence={trust: to_number(amount) for trust, amount in sums.items()},
        monthly_usage_cost=to_number(cost),
        findings=len(own),
    )


def _notes(window: Days) -> Iterator[str]:
    yield (
        f"Estimates assume that the {len(window)} days from {window.first} to "
        f"{window.last} repeat; a month is 730 hours."
    )
    yield "No charge counts towards two findings; taxes and credits are left out."
    if len(window) < DEFAULT_DAYS:
        yield f"The export covers fewer than {DEFAULT_DAYS} days; mind the confidence."


_SPAN = "SELECT min(start_at)::DATE, max(start_at)::DATE FROM charges"

_COSTS = """
SELECT currency,
    coalesce(sum(billed_cost) FILTER (charge_category = 'Usage'), 0)
FROM recent GROUP BY currency ORDER BY count(*) DESC, currency
"""
