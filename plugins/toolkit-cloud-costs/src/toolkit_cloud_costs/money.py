"""Exact sums in, readable figures out."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

ZERO: Final = Decimal(0)
CENT_FRACTION: Final = Decimal("0.0001")
"""Results are rounded once, at the end, to four places: unit prices are that small."""

HOURS_A_MONTH: Final = Decimal(730)
"""365 days * 24 hours / 12, the month that cloud price lists use."""


def to_number(amount: Decimal | None) -> float:
    """Return an exact sum rounded half-even to four places; None (no rows) is 0.0."""
    return float((amount or ZERO).quantize(CENT_FRACTION, ROUND_HALF_EVEN))


def to_percent(part: Decimal | None, whole: Decimal | None) -> float | None:
    """Return `part` as a percentage of `whole`, one place; None when whole is 0."""
    if not whole or part is None:
        return None
    return float((part / whole * 100).quantize(Decimal("0.1"), ROUND_HALF_EVEN))


def to_month(amount: Decimal, days: int) -> Decimal:
    """Return what `amount` over `days` days comes to in a month of 730 hours."""
    return amount * HOURS_A_MONTH / 24 / days
