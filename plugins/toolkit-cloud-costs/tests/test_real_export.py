"""A real, anonymised FOCUS 1.0 export of three providers answers as it should.

It is not part of this package: set ``TOOLKIT_FOCUS_SAMPLE`` to its path to run these.
"""

import os
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from toolkit_cloud_costs.anomalies import find_anomalies
from toolkit_cloud_costs.commitments import describe_commitments
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.savings import report_savings
from toolkit_cloud_costs.spend import Grouping, break_down, overview
from toolkit_cloud_costs.tags import find_untagged

FILE = os.environ.get("TOOLKIT_FOCUS_SAMPLE", "")

pytestmark = [
    pytest.mark.no_docker,
    pytest.mark.skipif(not FILE, reason="TOOLKIT_FOCUS_SAMPLE names no file"),
]


@pytest.fixture
def real(open_file: Callable[..., Ledger]) -> Ledger:
    """Open the real export."""
    return open_file(Path(FILE))


def test_billed_totals_by_provider_are_exact(real: Ledger) -> None:
    """Bill 18.0066 to AWS, 1.9765 to Microsoft and 0.5371 to Oracle, in USD."""
    answer = overview(real)
    assert answer.basis.rows == 1000
    assert [
        (row.value, row.cost, row.currency) for row in answer.billed_by_provider
    ] == [
        ("AWS", 18.0066, "USD"),
        ("Microsoft", 1.9765, "USD"),
        ("Oracle", 0.5371, "USD"),
    ]
    assert answer.billed[0].by_charge_category == {
        "Adjustment": 0.272,
        "Credit": -2.6137,
        "Usage": 22.8619,
    }


def test_distrust_of_its_effective_cost_is_said(real: Ledger) -> None:
    """AWS's EffectiveCost is rounded to whole numbers here, Oracle's is zero."""
    notes = " ".join(overview(real).basis.notes)
    assert "EffectiveCost of AWS is in whole numbers" in notes
    assert "EffectiveCost of Oracle is zero" in notes
    assert "EffectiveCost of Microsoft" not in notes
    assert (
        "Rows without ContractedCost, which add nothing where it is summed: 7." in notes
    )


def test_regions_are_one_group_per_region(real: Ledger) -> None:
    """Group by region id, although its name is "External" for outbound traffic."""
    answer = break_down(real, Grouping(group_by="region"), 200)
    regions = {row.value: (row.cost, row.rows) for row in answer.rows}
    assert regions["us-west-2"] == (1.8343, 424)
    assert regions["us-sanjose-1"] == (0.2971, 6)
    assert "External" not in regions


def test_billing_period_differs_from_the_month_of_use(real: Ledger) -> None:
    """One Oracle charge of the last September night is billed in October."""
    months = break_down(real, Grouping(group_by="month"), 9).rows
    periods = break_down(real, Grouping(group_by="billing_period"), 9).rows
    assert [row.value for row in months] == ["2024-09"]
    assert [(row.value, row.rows) for row in periods] == [
        ("2024-09", 999),
        ("2024-10", 1),
    ]
    assert periods[1].cost == 0.24


def test_tag_with_a_stray_blank_is_a_near_miss(real: Ledger) -> None:
    """Report " org" beside "org" instead of guessing."""
    keys = {one.key: one for one in find_untagged(real, ("org",), "billed", 9).keys}
    assert keys["org"].near_misses == [" org"]


def test_use_of_its_savings_plans_cannot_be_told(real: Ledger) -> None:
    """Four covered rows carry no cost: list cost is known, the use is not."""
    answer = describe_commitments(real)
    assert len(answer.commitments) == 2
    assert all(row.utilization_percent is None for row in answer.commitments)
    assert sum(row.covered_list_cost for row in answer.commitments) == pytest.approx(
        0.1427, abs=0.0002
    )


def test_savings_rest_on_rows_that_are_there(real: Ledger) -> None:
    """Find extended support and idle addresses, all doubted: each is seen one day."""
    report = report_savings(real, 200)
    sums: dict[str, float] = {}
    for one in report.findings:
        sums[one.rule] = sums.get(one.rule, 0.0) + one.evidence[0].value
    assert sums["extended_support"] == pytest.approx(0.6)
    assert sums["idle_resource"] == pytest.approx(0.02)
    assert {
        one.confidence
        for one in report.findings
        if one.rule in {"extended_support", "idle_resource"}
    } == {"low"}
    assert {"unused_commitment", "hours_without_traffic"} <= {
        one.rule for one in report.unsupported
    }


def test_sparse_services_are_not_judged(real: Ledger) -> None:
    """Judge the month of EC2; name the services with less than two weeks."""
    answer = find_anomalies(real, "billed", Decimal(1), 20)
    assert answer.anomalies[0].day == date(2024, 9, 24)
    assert "AWS WAF" in {one.service for one in answer.not_judged}
