"""What the tools on commitments, anomalies and savings answer with; see `models`."""

from datetime import date
from typing import Literal

from pydantic import Field

from toolkit_cloud_costs.models import Answer, Basis, Period

Confidence = Literal["high", "medium", "low"]


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
    """Used / (used + unused); None when the export shows no EffectiveCost for it."""
    purchased: float
    """BilledCost of its Purchase rows in this period; cash, not amortised."""
    covered_list_cost: float
    """ListCost of the usage it covered."""
    saved: float | None
    """ListCost of covered usage - used - unused; None without EffectiveCost."""
    rows: int


class Coverage(Answer):
    """How much of the usage that commitments could cover is covered, at list cost."""

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
    monthly_usage_cost: float
    """BilledCost of Usage in the window, brought to a month of 730 hours."""
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
