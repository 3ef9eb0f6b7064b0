"""Coverage and waste of commitments, as FOCUS defines their costs."""

from collections.abc import Callable

import pytest

from toolkit import ToolError
from toolkit_cloud_costs.commitments import describe_commitments
from toolkit_cloud_costs.ledger import Ledger

Open = Callable[..., Ledger]


def test_planted_plan_shows_its_waste(sample: Ledger) -> None:
    """Use 3.312 of 4.512 a day: 42 USD of 35 days are wasted, 73.4 % are used."""
    answer = describe_commitments(sample)
    (plan,) = answer.commitments
    assert (plan.commitment_id, plan.currency) == ("sp-1", "USD")
    assert (plan.used, plan.unused) == (115.92, 42.0)
    assert plan.utilization_percent == 73.4
    assert plan.purchased == 157.92
    assert plan.covered_list_cost == 161.28  # 35 * 24 h * 0.192
    assert plan.saved == 3.36  # 161.28 - 115.92 - 42


def test_coverage_is_of_the_services_with_a_commitment(sample: Ledger) -> None:
    """Cover 161.28 of 161.28 + web 322.56 + dev 27.9552 at list cost."""
    (coverage,) = describe_commitments(sample).coverage
    assert coverage.service == "Amazon Elastic Compute Cloud"
    assert (coverage.covered_list_cost, coverage.on_demand_list_cost) == (
        161.28,
        350.5152,
    )
    assert coverage.coverage_percent == 31.5


def test_spot_and_taxes_are_no_gap_in_coverage(open_rows: Open) -> None:
    """Leave out what no commitment could cover: dynamic prices and other categories."""
    used = {"CommitmentDiscountId": "c", "CommitmentDiscountStatus": "used"}
    ledger = open_rows(
        {**used, "PricingCategory": "Committed"},
        {"PricingCategory": "Dynamic"},
        {"ChargeCategory": "Tax"},
    )
    (coverage,) = describe_commitments(ledger).coverage
    assert coverage.coverage_percent == 100.0


def test_cash_is_not_counted_as_use(open_rows: Open) -> None:
    """A purchase adds to what was paid, never to what was used or wasted."""
    same = {"CommitmentDiscountId": "c", "CommitmentDiscountStatus": "NULL"}
    ledger = open_rows(
        {
            **same,
            "ChargeCategory": "Purchase",
            "BilledCost": "31",
            "EffectiveCost": "0",
        },
        {**same, "BilledCost": "2"},  # usage that was billed is no purchase
    )
    (row,) = describe_commitments(ledger).commitments
    assert (row.used, row.unused, row.purchased) == (0.0, 0.0, 31.0)
    assert row.utilization_percent is None


@pytest.mark.parametrize("effective", ["0", "7"])
def test_unusable_effective_cost_gives_no_percentage(
    effective: str, open_rows: Open
) -> None:
    """Say that an export with zeros there cannot tell how much is used."""
    used = {
        "CommitmentDiscountId": "c",
        "CommitmentDiscountStatus": "Used",
        "EffectiveCost": effective,
        "BilledCost": "0",
    }
    answer = describe_commitments(open_rows(used, {"EffectiveCost": "0"}))
    (row,) = answer.commitments
    assert row.utilization_percent is None
    assert row.saved is None
    assert answer.notes[0].startswith("1 of 1 commitments have no usable EffectiveCost")


def test_export_without_commitment_columns_is_refused(open_rows: Open) -> None:
    """Tell "no column" from "no commitment"."""
    with pytest.raises(ToolError, match="no column CommitmentDiscountId"):
        describe_commitments(open_rows({}))
    none = {"CommitmentDiscountId": "NULL", "CommitmentDiscountStatus": "NULL"}
    answer = describe_commitments(open_rows(none))
    assert answer.commitments == []
    assert answer.notes[0] == "No charge of this period names a commitment."
