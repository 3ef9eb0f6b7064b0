"""Commitments (reservations, savings plans, committed use): coverage and waste.

Source: FOCUS 1.2, columns Effective Cost and Commitment Discount Status. The amortised
cost of a commitment is the EffectiveCost of its Usage rows; those with status Unused
are paid for and not used. Its Purchase rows carry the cash (BilledCost) and an
EffectiveCost of 0, so the two are never added.
"""

from decimal import Decimal
from typing import Any, Final

from toolkit_cloud_costs.findings import CommitmentRow, CommitmentUsage, Coverage
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.money import to_number, to_percent
from toolkit_cloud_costs.quality import describe_basis, list_distrusted

NEEDED: Final = ("CommitmentDiscountId", "CommitmentDiscountStatus", "EffectiveCost")

NOTES: Final = (
    (
        "Coverage is measured at list cost over Usage priced Standard or Committed. "
        "FOCUS does not say which usage a commitment could cover; only services are "
        "shown in which one is at work."
    ),
    (
        "Used and unused are amortised (EffectiveCost), purchased is cash "
        "(BilledCost). They describe the same money and are not to be added."
    ),
)


def describe_commitments(ledger: Ledger) -> CommitmentUsage:
    """Return every commitment of the period, and how far they cover the usage.

    Passes on a `ToolError` when the export lacks a commitment column or EffectiveCost.
    """
    ledger.require(*NEEDED, "ListCost")
    distrusted = {provider for provider, _ in list_distrusted(ledger)}
    rows = [_commitment(row, distrusted) for row in ledger.rows(_COMMITMENTS)]
    return CommitmentUsage(
        basis=describe_basis(ledger),
        commitments=rows,
        coverage=_list_coverage(ledger),
        notes=[*_notes(rows), *NOTES],
    )


def _commitment(row: tuple[Any, ...], distrusted: set[str]) -> CommitmentRow:
    commitment, name, kind, provider, currency, used, unused, bought, listed, n = row
    known = provider not in distrusted and bool(used + unused)
    return CommitmentRow(
        commitment_id=commitment,
        name=name,
        type=kind,
        provider=provider,
        currency=currency,
        used=to_number(used),
        unused=to_number(unused),
        utilization_percent=to_percent(used, used + unused) if known else None,
        purchased=to_number(bought),
        covered_list_cost=to_number(listed),
        saved=to_number(listed - used - unused) if known else None,
        rows=n,
    )


def _notes(rows: list[CommitmentRow]) -> list[str]:
    if not rows:
        return ["No charge of this period names a commitment."]
    blind = sum(row.utilization_percent is None for row in rows)
    if not blind:
        return []
    return [
        (
            f"{blind} of {len(rows)} commitments have no usable EffectiveCost: how "
            "much of them is used cannot be told from this export."
        )
    ]


def _list_coverage(ledger: Ledger) -> list[Coverage]:
    return [
        Coverage(
            provider=provider,
            service=service,
            currency=currency,
            covered_list_cost=to_number(covered),
            on_demand_list_cost=to_number(on_demand),
            coverage_percent=to_percent(covered, covered + on_demand),
        )
        for provider, service, currency, covered, on_demand in ledger.rows(_COVERAGE)
    ]


def list_discounts(ledger: Ledger) -> dict[tuple[str, str, str], Decimal]:
    """Return the discount that used commitments really gave, between 0 and 1.

    By (currency, provider, service), from rows that have both a list and an effective
    cost; empty when there are none.
    """
    return {
        (currency, provider, service): 1 - effective / listed
        for currency, provider, service, effective, listed in ledger.rows(_DISCOUNTS)
    }


_COMMITMENTS = """
SELECT commitment_id, min(commitment_name), min(commitment_type), provider, currency,
    coalesce(sum(effective_cost) FILTER (commitment_status = 'Used'), 0) AS used,
    coalesce(sum(effective_cost) FILTER (commitment_status = 'Unused'), 0) AS unused,
    coalesce(sum(billed_cost) FILTER (charge_category = 'Purchase'), 0),
    coalesce(sum(list_cost) FILTER (commitment_status = 'Used'), 0) AS listed,
    count(*)
FROM charges
WHERE commitment_id IS NOT NULL AND charge_category IN ('Usage', 'Purchase')
GROUP BY commitment_id, provider, currency
ORDER BY unused DESC, used DESC, listed DESC, commitment_id
"""

_COVERAGE = """
SELECT provider, service, currency,
    coalesce(sum(list_cost) FILTER (commitment_status = 'Used'), 0) AS covered,
    coalesce(sum(list_cost) FILTER (commitment_id IS NULL), 0) AS on_demand
FROM charges
WHERE charge_category = 'Usage'
    AND coalesce(pricing_category, 'Standard') IN ('Standard', 'Committed')
GROUP BY ALL
HAVING count(*) FILTER (commitment_status = 'Used') > 0
ORDER BY on_demand DESC, provider, service
"""

_DISCOUNTS = """
SELECT currency, provider, service, sum(effective_cost) AS effective,
    sum(list_cost) AS listed
FROM charges
WHERE charge_category = 'Usage' AND commitment_status = 'Used'
    AND effective_cost > 0 AND list_cost > 0
GROUP BY ALL
HAVING effective < listed
"""
