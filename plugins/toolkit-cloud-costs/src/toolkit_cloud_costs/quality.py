"""What is odd about an export, said before anyone trusts its figures."""

from typing import Final

from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import Basis

KNOWN_CATEGORIES: Final = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")


def describe_basis(ledger: Ledger) -> Basis:
    """Return the files, period and quality notes of the charges as filtered."""
    first, last, rows, providers, currencies = ledger.row(_BASIS)
    return Basis(
        kind=ledger.source.kind,
        files=[path.name for path in ledger.source.files],
        first_day=first,
        last_day=last,
        rows=rows,
        providers=providers,
        currencies=currencies,
        notes=list_notes(ledger),
    )


def list_notes(ledger: Ledger) -> list[str]:
    """Return one sentence per oddity that changes how a figure should be read."""
    counts = ledger.row(_COUNTS, {"categories": KNOWN_CATEGORIES})
    notes = [
        text.format(count)
        for text, count in zip(_COUNT_NOTES, counts, strict=True)
        if count
    ]
    if len(ledger.row(_BASIS)[4]) > 1:
        notes.append("Several billing currencies; nothing is converted or added up.")
    notes += _missing_costs(ledger)
    notes += [
        f"Rows whose {name} is no plain decimal number, such as NaN, and adds nothing: "
        f"{count}. Correct the export."
        for name, count in ledger.rows(_NO_NUMBERS)
    ]
    notes += [
        f"EffectiveCost of {provider} is {reason}; it is not used for savings, and "
        "`billed` is the better cost to ask for."
        for provider, reason in list_distrusted(ledger)
    ]
    if ledger.source.left_out:
        names = ", ".join(ledger.source.left_out)
        notes.append(f"Left out, as they are links or no plain files: {names}.")
    if len(ledger.source.files) > 1:
        copies = ledger.row(_COPIES)[0]
        if copies:
            notes.append(
                f"Charges that occur alike in several files, counted each time: "
                f"{copies}. If a file is a copy, name one file with `export`."
            )
    return notes


def list_distrusted(ledger: Ledger) -> list[tuple[str, str]]:
    """Return (provider, reason) where EffectiveCost contradicts BilledCost, sorted."""
    if "EffectiveCost" not in ledger.columns:
        return []
    return [(provider, reason) for provider, reason in ledger.rows(_DISTRUSTED)]


def _missing_costs(ledger: Ledger) -> list[str]:
    names = ("EffectiveCost", "ListCost", "ContractedCost")
    counts = ledger.row(_MISSING_COSTS)
    return [
        f"Rows without {name}, which add nothing where it is summed: {count}."
        for name, count in zip(names, counts, strict=True)
        if count and name in ledger.columns
    ]


_BASIS = """
SELECT min(start_at)::DATE, max(start_at)::DATE, count(*),
    list_sort(list(DISTINCT provider)), list_sort(list(DISTINCT currency))
FROM charges
"""

_COUNTS = """
SELECT
    count(*) FILTER (billed_cost IS NULL
        AND NOT list_contains(no_numbers, 'BilledCost')),
    count(*) FILTER (billed_cost < 0 AND charge_category IN ('Usage', 'Purchase')),
    count(*) FILTER (charge_class = 'Correction'),
    count(*) FILTER (NOT list_contains($categories, charge_category)),
    count(*) FILTER (end_at - start_at > INTERVAL 1 DAY AND charge_category = 'Usage'),
    count(*) FILTER (date_trunc('month', start_at) <> date_trunc('month', billing_start)
        AND day(billing_start) = 1),
    count(*) FILTER (tags_unreadable)
FROM charges
"""

_COUNT_NOTES = (
    "Rows without BilledCost, which add nothing: {}.",
    "Negative Usage or Purchase rows (refunds), which lower the sums: {}.",
    "Rows that correct an earlier billing period (ChargeClass Correction): {}.",
    "Rows of a ChargeCategory that FOCUS does not know, summed all the same: {}.",
    (
        "Usage rows longer than a day, booked on their first day and left out of the "
        "anomalies: {}."
    ),
    (
        "Rows billed in another month than they start in (group by `billing_period` "
        "to compare with invoices): {}."
    ),
    "Rows whose Tags are no JSON object, counted as untagged: {}.",
)

_MISSING_COSTS = """
SELECT
    count(*) FILTER (effective_cost IS NULL
        AND NOT list_contains(no_numbers, 'EffectiveCost')),
    count(*) FILTER (list_cost IS NULL AND NOT list_contains(no_numbers, 'ListCost')),
    count(*) FILTER (contracted_cost IS NULL
        AND NOT list_contains(no_numbers, 'ContractedCost'))
FROM charges
"""

_NO_NUMBERS = """
SELECT name, count(*) FROM (SELECT unnest(no_numbers) AS name FROM charges)
GROUP BY name ORDER BY name
"""

# Without commitments the amortised cost of usage is close to what is billed. An export
# that has zeros or whole numbers there was rounded or never filled in.
_DISTRUSTED = """
SELECT provider,
    CASE WHEN sum(abs(effective_cost)) = 0 THEN 'zero though BilledCost is not'
    ELSE 'in whole numbers though BilledCost is not' END
FROM charges
WHERE charge_category = 'Usage' AND commitment_id IS NULL
GROUP BY provider
HAVING sum(abs(billed_cost)) > 0 AND (
    coalesce(sum(abs(effective_cost)), 0) = 0
    OR (count(*) >= 20 AND bool_and(effective_cost = round(effective_cost, 0))
        AND bool_or(billed_cost <> round(billed_cost, 0)))
)
ORDER BY provider
"""

_COPIES = """
SELECT coalesce(sum(times), 0) FROM (
    SELECT count(*) AS times FROM charges
    GROUP BY provider, service, account_id, region, resource_id, description,
        charge_category, commitment_id, currency, billed_cost, effective_cost,
        pricing_quantity, start_at, end_at
    HAVING count(DISTINCT file_name) > 1
)
"""
