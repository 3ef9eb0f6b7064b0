"""The savings report finds exactly what was planted, and invents nothing."""

import csv
import io
from collections.abc import Callable
from decimal import Decimal

import pytest

from toolkit_cloud_costs.findings import Finding, SavingsReport
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.sample import render
from toolkit_cloud_costs.savings import report_savings

Open = Callable[..., Ledger]
Row = dict[str, str]

MACHINE: Row = {
    "ServiceCategory": "Compute",
    "ResourceType": "instance",
    "ResourceId": "i-1",
    "PricingUnit": "Hours",
    "ChargeDescription": "a machine",
    "CommitmentDiscountId": "NULL",
    "CommitmentDiscountStatus": "NULL",
}


def daily(row: Row, days: int = 30) -> list[Row]:
    """Repeat a row on every day of January 2025 up to `days`."""
    return [
        {
            **row,
            "ChargePeriodStart": f"2025-01-{day:02}",
            "ChargePeriodEnd": f"2025-01-{day:02}T23:59:59Z",
        }
        for day in range(1, days + 1)
    ]


def reasons(report: SavingsReport) -> dict[str, str]:
    return {one.rule: one.reason for one in report.unsupported}


@pytest.fixture
def planted(sample: Ledger) -> dict[str, Finding]:
    """Return the sample's findings by rule; each rule finds one thing there."""
    report = report_savings(sample, 200)
    found = [one for one in report.findings if one.estimated_monthly_saving is not None]
    assert len(found) == len({one.rule for one in found}) == 6
    return {one.rule: one for one in found}


@pytest.mark.parametrize(
    ("rule", "subject", "saving", "rows", "confidence"),
    [
        # a month of 730 h: 24 h a day at the price planted
        ("unused_commitment", "sp-1", 730 * 0.05, 30, "high"),
        ("idle_resource", "eip-old", 730 * 0.005, 30, "high"),
        ("extended_support", "orders-db", 730 * 2 * 0.1, 30, "high"),
        ("hours_without_traffic", "lb-campaign", 730 * 0.0225, 30, "medium"),
        # 168 - 60 office hours of one week, spread over the 30 days of the window
        ("off_hours", "dev in data-platform", 108 * 0.1664 * 730 / 720, 108, "low"),
        # web-1 less what the unused part of the plan could carry, at 28.125 %
        (
            "commitment_gap",
            "Amazon Elastic Compute Cloud",
            (9.216 - 1.2 / 0.71875) * 0.28125 * 730 / 24,
            90,
            "medium",
        ),
    ],
)
def test_planted_saving_is_found_to_the_cent(
    rule: str,
    subject: str,
    saving: float,
    rows: int,
    confidence: str,
    planted: dict[str, Finding],
) -> None:
    """Find each planted saving with its figure, its row count and its confidence."""
    found = planted[rule]
    assert found.subject == subject
    assert found.estimated_monthly_saving == pytest.approx(saving, abs=0.00006)
    assert (found.currency, found.rows, found.confidence) == ("USD", rows, confidence)
    assert str(found.estimated_monthly_saving) in found.calculation
    assert found.evidence[0].value > 0


def test_row_examples_lead_back_to_the_rows(planted: dict[str, Finding]) -> None:
    """Name rows of the file that really are the finding's."""
    rows = list(csv.DictReader(io.StringIO(render())))
    for example in planted["idle_resource"].row_examples:
        name, _, number = example.rpartition(":")
        assert name == "sample.csv"
        assert rows[int(number) - 1]["ResourceId"] == "eip-old"


def test_totals_are_the_sum_of_findings_per_currency(sample: Ledger) -> None:
    """Add the savings of one currency, and never those of two."""
    full = report_savings(sample, 200)
    usd, eur = full.totals
    savings = [one.estimated_monthly_saving or 0.0 for one in full.findings]
    assert usd.currency == "USD"
    assert usd.estimated_monthly_saving == pytest.approx(sum(savings), abs=0.001)
    assert sum(usd.by_confidence.values()) == pytest.approx(sum(savings), abs=0.001)
    assert (eur.currency, eur.estimated_monthly_saving) == ("EUR", 0.0)


def test_limit_cuts_findings_but_not_totals(open_rows: Open) -> None:
    """Say how many findings are beyond the limit."""
    idle = {"ChargeDescription": "Idle address", "ResourceId": "a"}
    rows = [*daily(idle), *daily({**idle, "ResourceId": "b"})]
    report = report_savings(open_rows(*rows), 1)
    assert (len(report.findings), report.findings_left_out) == (1, 2)
    assert report.totals[0].estimated_monthly_saving == 60.8333  # 2 * 730 / 24


def test_findings_are_ranked_and_attention_comes_last(sample: Ledger) -> None:
    """Largest saving first; findings without a figure after all that have one."""
    findings = report_savings(sample, 200).findings
    savings = [one.estimated_monthly_saving for one in findings]
    figures = [one for one in savings if one is not None]
    assert figures == sorted(figures, reverse=True)
    assert savings == [*figures, *[None] * (len(savings) - len(figures))]
    assert [one.rank for one in findings] == list(range(1, len(findings) + 1))
    notes = {(one.rule, one.subject) for one in findings[len(figures) :]}
    assert ("anomaly", "2025-08-13") in notes
    assert ("untagged_spend", None) in notes


def test_no_charge_is_saved_twice(open_rows: Open) -> None:
    """An idle machine on extended support at night belongs to one finding only."""
    row = {
        **MACHINE,
        "ChargeDescription": "Idle instance, extended support",
        "Tags": '{"environment": "dev"}',
    }
    hours = [
        {
            **row,
            "ChargePeriodStart": f"2025-01-{day:02}T01:00:00Z",
            "ChargePeriodEnd": f"2025-01-{day:02}T02:00:00Z",
        }
        for day in range(1, 31)
    ]
    report = report_savings(open_rows(*hours), 200)
    found = [one for one in report.findings if one.estimated_monthly_saving]
    assert [one.rule for one in found] == ["idle_resource"]
    assert report.totals[0].estimated_monthly_saving == 30.4167


def test_office_hours_are_left_alone(open_rows: Open) -> None:
    """Count nights and weekends only: Friday 18 h stays, 19 h and Saturday go."""
    times = ["2025-01-03T07", "2025-01-03T18", "2025-01-03T19", "2025-01-04T12"]
    rows = [
        {
            **MACHINE,
            "Tags": '{"Env": "QA"}',
            "ChargePeriodStart": f"{at}:00:00Z",
            "ChargePeriodEnd": f"{at}:59:59Z",
        }
        for at in times
    ]
    report = report_savings(open_rows(*rows), 200)
    (found,) = [one for one in report.findings if one.rule == "off_hours"]
    assert (found.rows, found.evidence[0].value) == (2, 2.0)


def test_daily_charges_cannot_show_idle_nights(open_rows: Open) -> None:
    """Say why the rule is silent when machines are charged by the day."""
    rows = daily({**MACHINE, "Tags": '{"environment": "dev"}'})
    assert (
        "No hourly charges" in reasons(report_savings(open_rows(*rows), 9))["off_hours"]
    )


def test_no_discount_is_invented_for_a_steady_load(open_rows: Open) -> None:
    """Without a commitment at work, give the load and no saving."""
    report = report_savings(open_rows(*daily(MACHINE)), 9)
    assert report.totals[0].estimated_monthly_saving == 0.0
    reason = reasons(report)["commitment_gap"]
    assert "1.0 USD a day" in reason
    assert "discount is unknown" in reason


def test_load_with_a_gap_is_not_steady(open_rows: Open) -> None:
    """One day without a machine, and there is no load to commit to."""
    rows = [row for row in daily(MACHINE) if "01-15" not in row["ChargePeriodStart"]]
    reason = reasons(report_savings(open_rows(*rows), 9))["commitment_gap"]
    assert reason.startswith("No service has on-demand machine charges on every day")


def test_few_days_make_every_estimate_low(open_rows: Open) -> None:
    """Three days are no basis for a month, and the report says so."""
    idle = {"ChargeDescription": "Idle address", "ResourceId": "a"}
    report = report_savings(open_rows(*daily(idle, 3)), 9)
    assert {one.confidence for one in report.findings} == {"low"}
    assert "3 days" in report.findings[0].confidence_reason
    assert any("fewer than 30 days" in note for note in report.notes)


def test_thing_seen_on_few_days_is_doubted(open_rows: Open) -> None:
    """It may be gone already, or the export is a sample."""
    idle = {"ChargeDescription": "Idle address", "ResourceId": "a"}
    ledger = open_rows(*daily({"ServiceName": "Other"}), *daily(idle, 2))
    (found,) = [
        one for one in report_savings(ledger, 9).findings if one.rule == "idle_resource"
    ]
    assert found.confidence == "low"
    assert "Seen on 2 of 30 days only" in found.confidence_reason


def test_untrustworthy_effective_cost_supports_no_saving(open_rows: Open) -> None:
    """Where EffectiveCost is rounded to whole numbers, waste cannot be told."""
    usage = daily({**MACHINE, "BilledCost": "0.4", "EffectiveCost": "0"})
    unused = daily(
        {
            **MACHINE,
            "CommitmentDiscountId": "c",
            "CommitmentDiscountStatus": "Unused",
            "EffectiveCost": "7",
        }
    )
    report = report_savings(open_rows(*usage, *unused), 9)
    assert "usable EffectiveCost" in reasons(report)["unused_commitment"]
    assert report.totals[0].estimated_monthly_saving == 0.0
    assert any("EffectiveCost of AWS is" in note for note in report.basis.notes)


def test_missing_columns_make_a_rule_unsupported_not_silent(open_rows: Open) -> None:
    """Name the columns that each silent rule would need."""
    found = reasons(report_savings(open_rows(*daily({}), without="Tags"), 9))
    assert found["idle_resource"] == "The export has no column ChargeDescription."
    assert found["untagged_spend"] == "The export has no column Tags."
    assert "CapacityReservationId" in found["unused_capacity_reservation"]
    assert "CommitmentDiscountId" in found["unused_commitment"]


def test_empty_reservation_is_found(open_rows: Open) -> None:
    """Sum the unused rows of a capacity reservation (FOCUS 1.1)."""
    row = {
        "CapacityReservationId": "cr-1",
        "CapacityReservationStatus": "Unused",
        "CommitmentDiscountId": "NULL",
    }
    report = report_savings(open_rows(*daily(row)), 9)
    found = report.findings[0]
    assert (found.rule, found.subject) == ("unused_capacity_reservation", "cr-1")
    assert found.estimated_monthly_saving == float(
        (Decimal(730) / 24).quantize(Decimal("0.0001"))
    )


def test_covered_machine_is_not_offered_for_stopping(open_rows: Open) -> None:
    """Stopping what a commitment pays for saves nothing."""
    row = {
        **MACHINE,
        "CommitmentDiscountId": "c",
        "CommitmentDiscountStatus": "Used",
        "ChargeDescription": "Idle machine",
    }
    report = report_savings(open_rows(*daily(row)), 9)
    assert report.totals[0].estimated_monthly_saving == 0.0


def test_only_load_balancer_of_an_account_is_not_called_quiet(open_rows: Open) -> None:
    """Without a busy one beside it, missing traffic rows prove nothing."""
    row = {
        "ServiceCategory": "Networking",
        "ResourceId": "lb",
        "PricingUnit": "Hours",
    }
    report = report_savings(open_rows(*daily(row)), 9)
    assert report.totals[0].estimated_monthly_saving == 0.0
