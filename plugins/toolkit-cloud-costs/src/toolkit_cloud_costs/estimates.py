"""From claimed charges to findings with a monthly figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from toolkit_cloud_costs.commitments import list_discounts
from toolkit_cloud_costs.findings import Confidence, Figure, Finding, Unsupported
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.money import ZERO, to_month, to_number, to_percent
from toolkit_cloud_costs.rules import CLAIMED, STEADY_LOAD, UNUSED_COMMITMENT, Rule

STEADY_DAYS: Final = 14
"""Two weeks without a gap before a load is called steady."""
FEW_DAYS: Final = 7
"""Seen on fewer days, a thing may be gone already, or the export is a sample."""
GAP: Final = "commitment_gap"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A finding and its exact monthly saving; None where the data supports none."""

    finding: Finding
    saving: Decimal | None


def apply_rule(
    ledger: Ledger, rule: Rule, days: int
) -> Iterator[Estimate | Unsupported]:
    """Claim the rows of one rule and yield what it found, or why it could not look."""
    missing = [column for column in rule.needs if column not in ledger.columns]
    if missing:
        reason = f"The export has no column {', '.join(missing)}."
        yield Unsupported(rule=rule.name, reason=reason)
        return
    if rule.probe and not ledger.row(rule.probe)[0]:
        yield Unsupported(rule=rule.name, reason=rule.blind)
        return
    ledger.execute(
        "INSERT INTO claims SELECT claimed.*, $rule "  # noqa: S608 - a rule's own text
        f"FROM ({rule.claim}) AS claimed",
        {"rule": rule.name},
    )
    for row in ledger.rows(CLAIMED, {"rule": rule.name}):
        yield _estimate(rule, row, days)


def _estimate(rule: Rule, row: tuple[Any, ...], days: int) -> Estimate:
    currency, provider, service, account, region, subject, amount, rows, seen, at = row
    saving = to_month(amount, days)
    confidence, reason = _trust(rule, seen, days)
    finding = Finding(
        rank=1,
        rule=rule.name,
        title=rule.title.format(subject=subject),
        action=rule.action,
        currency=currency,
        estimated_monthly_saving=to_number(saving),
        calculation=(
            f"{rule.basis}: {to_number(amount)} {currency} in {days} days "
            f"* 730 h / ({days} * 24 h) = {to_number(saving)} {currency} a month"
        ),
        confidence=confidence,
        confidence_reason=reason,
        provider=provider,
        service=service,
        account=account,
        region=region,
        subject=subject,
        rows=rows,
        row_examples=at,
        evidence=[
            Figure(name=rule.basis, value=to_number(amount), unit=currency),
            Figure(name="days with such a charge", value=seen, unit="days"),
            Figure(name="days in the window", value=days, unit="days"),
        ],
    )
    return Estimate(finding, saving)


def _trust(rule: Rule, seen: int, days: int) -> tuple[Confidence, str]:
    if seen >= FEW_DAYS:
        return rule.confidence, rule.reason
    doubt = f"Seen on {seen} of {days} days only: it may be gone, or the data a sample."
    return "low", f"{doubt} {rule.reason}"


def find_commitment_gap(
    ledger: Ledger, days: int, distrusted: list[str]
) -> Iterator[Estimate | Unsupported]:
    """Yield what a commitment for the steady on-demand load would save.

    The load is the least that a service's machines cost on any day of the window. The
    discount is the one that commitments of this export really gave for that service;
    where there is none, no figure is invented. What is already paid for and unused
    comes off the load first, so that it is not saved twice.
    """
    if days < STEADY_DAYS:
        reason = f"The export covers {days} days; a steady load needs {STEADY_DAYS}."
        yield Unsupported(rule=GAP, reason=reason)
        return
    discounts = list_discounts(ledger)
    unused = _unused_a_day(ledger, days)
    loads = ledger.rows(STEADY_LOAD, {"days": days})
    if not loads:
        reason = "No service has on-demand machine charges on every day of the window."
        yield Unsupported(rule=GAP, reason=reason)
    for row in loads:
        currency, provider, service, least, *_ = row
        discount = discounts.get((currency, provider, service))
        if discount is None or provider in distrusted:
            reason = (
                f"{provider} {service} has a steady on-demand load of "
                f"{to_number(least)} {currency} a day, but the export shows no "
                "commitment at work there, so the discount is unknown."
            )
            yield Unsupported(rule=GAP, reason=reason)
            continue
        paid = unused.get((currency, provider), ZERO) / (1 - discount)
        taken = min(least, paid)
        unused[currency, provider] = (paid - taken) * (1 - discount)
        if least > taken:
            yield _gap(row, discount, taken, days)


def _unused_a_day(ledger: Ledger, days: int) -> dict[tuple[str, str], Decimal]:
    unused: dict[tuple[str, str], Decimal] = {}
    for currency, provider, *_, amount, _rows, _seen, _at in ledger.rows(
        CLAIMED, {"rule": UNUSED_COMMITMENT.name}
    ):
        key = (currency, provider)
        unused[key] = unused.get(key, ZERO) + amount / days
    return unused


def _gap(
    row: tuple[Any, ...], discount: Decimal, taken: Decimal, days: int
) -> Estimate:
    currency, provider, service, least, rows, examples = row
    load = least - taken
    saving = to_month(load * discount, 1)
    percent = to_percent(discount, Decimal(1)) or 0.0
    finding = Finding(
        rank=1,
        rule=GAP,
        title=f"{provider} {service} runs a steady load without a commitment",
        action="Buy a commitment of that size, for the shortest term first.",
        currency=currency,
        estimated_monthly_saving=to_number(saving),
        calculation=(
            f"least on-demand cost of any day {to_number(least)} {currency} - "
            f"{to_number(taken)} that unused commitments could carry = "
            f"{to_number(load)} {currency} a day * {percent} % discount * 730 h / 24 h "
            f"= {to_number(saving)} {currency} a month"
        ),
        confidence="medium",
        confidence_reason=(
            "The discount is what commitments in this export gave for the service; a "
            "new one may get another rate, and the load must last for its term."
        ),
        provider=provider,
        service=service,
        account=None,
        region=None,
        subject=service,
        rows=rows,
        row_examples=examples,
        evidence=[
            Figure(
                name="least daily cost on demand", value=to_number(least), unit=currency
            ),
            Figure(name="realised commitment discount", value=percent, unit="%"),
            Figure(name="days with that load", value=days, unit="days"),
        ],
    )
    return Estimate(finding, saving)
