"""The FOCUS columns that are read, the names they come under, and which must be.

Source: FinOps Open Cost and Usage Specification (FOCUS), versions 1.0 to 1.2, section
Columns; 1.3 for `ServiceProviderName`, which takes the place of `ProviderName` in 1.4.
"""

from collections.abc import Iterable, Mapping
from typing import Final

REQUIRED: Final = (
    "BilledCost",
    "BillingCurrency",
    "ChargeCategory",
    "ChargePeriodStart",
    "ProviderName",
    "ServiceName",
)
"""Without these, no question here has an answer. All are mandatory since FOCUS 1.0."""

OPTIONAL: Final = (
    "BillingAccountId",
    "BillingAccountName",
    "BillingPeriodStart",
    "CapacityReservationId",  # since 1.1
    "CapacityReservationStatus",  # since 1.1
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)

OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "ProviderName": ("ServiceProviderName",),  # 1.3 adds it, 1.4 drops the old name
}


def match_columns(header: Iterable[str]) -> dict[str, str]:
    """Return FOCUS column → its name in this header; absent columns are left out.

    Names are compared without case and surrounding blanks. Columns that FOCUS does not
    know (``x_…``, row numbers and the like) are ignored.
    """
    found = {name.strip().casefold(): name for name in reversed(tuple(header))}
    matched = {}
    for column in (*REQUIRED, *OPTIONAL):
        for name in (column, *OTHER_NAMES.get(column, ())):
            if name.casefold() in found:
                matched[column] = found[name.casefold()]
                break
    return matched


def list_missing(matched: Mapping[str, str]) -> tuple[str, ...]:
    """Return the required columns that are not in `matched`, sorted by name."""
    return tuple(column for column in REQUIRED if column not in matched)
