"""What the tools answer with. Amounts are in the billing currency beside them.

Amounts are rounded to four places after exact summation. Two currencies are never
added: every row and every total carries its own.
"""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

Cost = Literal["billed", "effective", "list", "contracted"]
Dimension = Literal[
    "provider",
    "service",
    "service_category",
    "account",
    "billing_account",
    "region",
    "resource",
    "charge_category",
    "pricing_category",
    "day",
    "month",
    "billing_period",
    "tag",
]
ChargeCategory = Literal["Usage", "Purchase", "Tax", "Credit", "Adjustment"]


class Answer(BaseModel):
    """Base of every result: frozen, described by its attribute docstrings."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, extra="forbid"
    )


class Basis(Answer):
    """The data that an answer rests on."""

    kind: Literal["user export", "shared export", "shipped sample"]
    """Whose data it is; `shipped sample` is invented data, not the user's."""
    files: list[str]
    """Names of the files read."""
    first_day: date
    """Day (UTC) on which the first charge starts, after filters."""
    last_day: date
    """Day (UTC) on which the last charge starts, after filters."""
    rows: int
    """Charge rows, after filters."""
    providers: list[str]
    """Providers with a charge, sorted."""
    currencies: list[str]
    """Billing currencies, sorted; amounts in different ones are never added."""
    notes: list[str]
    """What to know about the quality of this data before trusting a figure."""


class CurrencyTotal(Answer):
    """Everything in one billing currency."""

    currency: str
    cost: float
    """Sum over all charge categories, taxes and credits included."""
    rows: int
    rows_without_cost: int
    """Rows whose cost is missing in the export; they add nothing to `cost`."""
    by_charge_category: dict[str, float]
    """The same sum by Usage, Purchase, Tax, Credit, Adjustment."""


class SpendRow(Answer):
    """One group of a breakdown."""

    value: str
    """The group: service name, account id, day…; `(none)` where the export is empty."""
    label: str | None
    """A readable name beside it, where the export has one."""
    currency: str
    cost: float
    share_percent: float | None
    """Share of this currency's total; None when that total is 0."""
    rows: int


class SpendBreakdown(Answer):
    """Spend by one dimension."""

    basis: Basis
    cost: Cost
    group_by: Dimension
    totals: list[CurrencyTotal]
    """One per currency; over all groups, also those beyond the limit."""
    rows: list[SpendRow]
    """Largest first within a currency; days, months and periods in order of time."""
    groups_left_out: int
    """Groups beyond the limit."""


class Period(Answer):
    """Some whole days, first and last included."""

    first_day: date
    last_day: date
    days: int


class MoverRow(Answer):
    """How one group changed between two periods."""

    value: str
    label: str | None
    currency: str
    previous: float
    current: float
    change: float
    """Current minus previous; positive means dearer."""
    change_percent: float | None
    """None when there was nothing before."""
    status: Literal["new", "gone", "up", "down"]


class TopMovers(Answer):
    """What changed most between two periods."""

    basis: Basis
    cost: Cost
    group_by: Dimension
    previous: Period
    current: Period
    totals: list[MoverRow]
    """The change of everything, one row per currency."""
    rows: list[MoverRow]
    """Largest change first, up or down."""
    notes: list[str]
    """Limits of the comparison."""


class TagKey(Answer):
    """How well one tag key is used, in one currency."""

    key: str
    currency: str
    tagged: float
    untagged: float
    """Cost of taggable rows where the key is missing or its value empty."""
    untagged_percent: float | None
    untagged_rows: int
    near_misses: list[str]
    """Other spellings of the key found on rows that lack it."""


class UntaggedTotal(Answer):
    """Taggable spend of one currency: Usage and Purchase rows."""

    currency: str
    taggable: float
    untagged: float
    """Cost of rows without any tag value or, if keys are required, lacking one."""
    untagged_percent: float | None
    untagged_rows: int
    without_resource: float
    """Part of `untagged` with no ResourceId: no resource there could carry a tag."""
    not_taggable: float
    """Tax, Credit and Adjustment rows, left out above."""


class UntaggedSpend(Answer):
    """Spend that nobody can be asked about."""

    basis: Basis
    cost: Cost
    totals: list[UntaggedTotal]
    keys: list[TagKey]
    """One per required key and currency; of the keys in use when none is required."""
    rows: list[SpendRow]
    """Untagged spend by service, largest first; shares are of the untagged total."""


class CostOverview(Answer):
    """What an export holds."""

    basis: Basis
    columns_missing: list[str]
    """FOCUS columns read here that the export lacks; questions on them are refused."""
    billed: list[CurrencyTotal]
    effective: list[CurrencyTotal]
    """Empty when the export has no EffectiveCost."""
    billed_by_provider: list[SpendRow]
