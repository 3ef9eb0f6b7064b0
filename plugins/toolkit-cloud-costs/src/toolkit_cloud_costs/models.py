"""What the tools answer with. Amounts are in the billing currency beside them.

Amounts are rounded to four places after exact summation. Two currencies are never
added: every row and every total carries its own.
"""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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
Confidence = Literal["high", "medium", "low"]


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
    """Cost of rows without any tag value, or lacking a required key if keys are given."""
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


class CommitmentRow(Answer):
    """One commitment (reservation, savings plan, committed use) in one currency."""

    commitment_id: str
    name: str | None
    type: str | None
    provider: str
    currency: str
    used: float
    """EffectiveCost of Usage rows with status Used."""
    unused: float
    """EffectiveCost of Usage rows with status Unused: paid for, not used."""
    utilization_percent: float | None
    """Used ÷ (used + unused); None when the export shows no EffectiveCost for it."""
    purchased: float
    """BilledCost of its Purchase rows in this period; cash, not amortised."""
    covered_list_cost: float
    """ListCost of the usage it covered."""
    saved: float | None
    """ListCost of covered usage − used − unused; None without EffectiveCost."""
    rows: int


class Coverage(Answer):
    """How much of the usage that commitments could cover they do cover, at list cost."""

    provider: str
    service: str
    currency: str
    covered_list_cost: float
    on_demand_list_cost: float
    coverage_percent: float | None


class CommitmentUsage(Answer):
    """Coverage by commitments, and what of them is wasted."""

    basis: Basis
    commitments: list[CommitmentRow]
    """Largest waste first."""
    coverage: list[Coverage]
    """Only services in which the export shows a commitment at work."""
    notes: list[str]
    """How to read the figures, and what the export cannot tell."""


class Anomaly(Answer):
    """A day on which a service cost far more than its days before."""

    day: date
    provider: str
    service: str
    currency: str
    cost: float
    expected: float
    """Median of the days before, at most 28."""
    excess: float
    score: float | None
    """Robust z-score; None when all days before were equal."""
    history_days: int
    rows: int


class NotJudged(Answer):
    """A service with too little history."""

    provider: str
    service: str
    currency: str
    days: int
    reason: str


class CostAnomalies(Answer):
    """Days that stand out."""

    basis: Basis
    method: str
    anomalies: list[Anomaly]
    """Largest excess first, within a currency."""
    anomalies_left_out: int
    """Anomalies beyond the limit."""
    series_judged: int
    """Services (per provider and currency) with enough history."""
    not_judged: list[NotJudged]
    notes: list[str]


class Figure(Answer):
    """A number from the export that a finding rests on."""

    name: str
    value: float
    unit: str


class Finding(Answer):
    """One thing to do, with the figures and rows it rests on."""

    rank: int
    rule: str
    title: str
    action: str
    currency: str
    estimated_monthly_saving: float | None
    """None: worth attention, but the data supports no figure."""
    calculation: str
    """How the estimate was computed, with its numbers."""
    confidence: Confidence
    confidence_reason: str
    provider: str | None
    service: str | None
    account: str | None
    region: str | None
    subject: str | None
    """The resource, commitment or group it is about."""
    rows: int
    """Charge rows it rests on."""
    row_examples: list[str] = Field(max_length=3)
    """Up to three of them, as file:row, the first row after the header being 1."""
    evidence: list[Figure]


class Unsupported(Answer):
    """A rule that this data could not answer."""

    rule: str
    reason: str


class SavingsTotal(Answer):
    """All savings in one currency. No charge is counted in two of them."""

    currency: str
    estimated_monthly_saving: float
    by_confidence: dict[Confidence, float]
    """The same sum by how sure its findings are."""
    monthly_billed_cost: float
    """BilledCost of the window without purchases, brought to a month of 730 hours."""
    findings: int


class SavingsReport(Answer):
    """A ranked plan."""

    basis: Basis
    window: Period
    """The last days of the export, which the estimates are made from."""
    totals: list[SavingsTotal]
    findings: list[Finding]
    """Largest saving first within a currency; those without a figure last."""
    findings_left_out: int
    """Findings beyond the limit; their savings are in the totals."""
    unsupported: list[Unsupported]
    notes: list[str]


class CostOverview(Answer):
    """What an export holds."""

    basis: Basis
    columns_missing: list[str]
    """FOCUS columns read here that the export lacks; questions on them are refused."""
    billed: list[CurrencyTotal]
    effective: list[CurrencyTotal]
    """Empty when the export has no EffectiveCost."""
    billed_by_provider: list[SpendRow]
