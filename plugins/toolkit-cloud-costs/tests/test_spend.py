"""Spend is summed exactly, by what was asked for, and per currency."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from toolkit import ToolError
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import Dimension
from toolkit_cloud_costs.movers import list_movers
from toolkit_cloud_costs.spend import Grouping, break_down, overview

Open = Callable[..., Ledger]


def test_currencies_are_never_added(open_rows: Open) -> None:
    """Give each currency its own group, total and shares."""
    ledger = open_rows(
        {"BilledCost": "3"},
        {"BilledCost": "1", "ServiceName": "Storage"},
        {"BilledCost": "50", "BillingCurrency": "EUR"},
    )
    answer = break_down(ledger, Grouping(), 20)
    assert [(one.currency, one.cost) for one in answer.totals] == [
        ("EUR", 50.0),
        ("USD", 4.0),
    ]
    assert [
        (one.currency, one.value, one.cost, one.share_percent) for one in answer.rows
    ] == [
        ("EUR", "Compute", 50.0, 100.0),
        ("USD", "Compute", 3.0, 75.0),
        ("USD", "Storage", 1.0, 25.0),
    ]
    assert any("Several billing currencies" in note for note in answer.basis.notes)


def test_four_costs_are_four_answers(open_rows: Open) -> None:
    """Read BilledCost, EffectiveCost, ListCost and ContractedCost each as itself."""
    ledger = open_rows(
        {
            "BilledCost": "1",
            "EffectiveCost": "2",
            "ListCost": "3",
            "ContractedCost": "4",
        }
    )
    costs = [
        break_down(ledger, Grouping(cost=cost), 1).totals[0].cost
        for cost in ("billed", "effective", "list", "contracted")
    ]
    assert costs == [1.0, 2.0, 3.0, 4.0]


def test_every_charge_category_is_in_the_total_and_shown(open_rows: Open) -> None:
    """Sum taxes, credits and adjustments too, and say how much each one is."""
    amounts = {
        "Usage": "10",
        "Purchase": "5",
        "Tax": "1.9",
        "credit": "-2",
        "ADJUSTMENT": "-0.4",
    }
    ledger = open_rows(
        *(
            {"ChargeCategory": name, "BilledCost": cost}
            for name, cost in amounts.items()
        )
    )
    (total,) = break_down(ledger, Grouping(), 1).totals
    assert total.cost == 14.5
    assert total.by_charge_category == {
        "Adjustment": -0.4,
        "Credit": -2.0,
        "Purchase": 5.0,
        "Tax": 1.9,
        "Usage": 10.0,
    }


def test_rows_without_the_cost_are_counted(open_rows: Open) -> None:
    """Say how many rows had nothing to sum."""
    ledger = open_rows({"ContractedCost": "NULL"}, {"ContractedCost": "2"})
    (total,) = break_down(ledger, Grouping(cost="contracted"), 1).totals
    assert (total.cost, total.rows, total.rows_without_cost) == (2.0, 2, 1)


def test_cost_that_the_export_lacks_is_refused(open_rows: Open) -> None:
    """Name the column instead of answering 0."""
    ledger = open_rows({}, without="EffectiveCost")
    with pytest.raises(ToolError, match="no column EffectiveCost"):
        break_down(ledger, Grouping(cost="effective"), 1)


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        ("provider", ["AWS", "Microsoft"]),
        ("service_category", ["(none)", "Compute"]),
        ("account", ["7", "pay"]),
        ("billing_account", ["(none)", "pay"]),
        ("region", ["eu-1", "phoenix"]),
        ("resource", ["(none)", "i-1"]),
        ("charge_category", ["Tax", "Usage"]),
        ("pricing_category", ["(none)", "Standard"]),
        ("day", ["2025-01-01", "2025-02-03"]),
        ("month", ["2025-01", "2025-02"]),
        ("billing_period", ["2025-01", "2025-02"]),
    ],
)
def test_spend_is_grouped_by_any_dimension(
    dimension: Dimension, values: list[str], open_rows: Open
) -> None:
    """Group by each dimension; a sub account leads, then the billing account."""
    ledger = open_rows(
        {
            "ServiceCategory": "Compute",
            "SubAccountId": "7",
            "RegionId": "eu-1",
            "RegionName": "External",
            "ResourceId": "i-1",
            "PricingCategory": "standard",
            "BillingPeriodStart": "2025-01-01",
        },
        {
            "ProviderName": "Microsoft",
            "BillingAccountId": "pay",
            "RegionName": "phoenix",
            "ChargeCategory": "Tax",
            "ChargePeriodStart": "2025-02-03",
            "BillingPeriodStart": "2025-02-01",
        },
    )
    answer = break_down(ledger, Grouping(group_by=dimension), 20)
    assert sorted(row.value for row in answer.rows) == values


def test_spend_by_tag_needs_its_key(open_rows: Open) -> None:
    """Group by the value of one tag, empty values with the untagged."""
    ledger = open_rows(
        {"Tags": '{"team": "web"}'}, {"Tags": '{"team": ""}'}, {"Tags": "NULL"}
    )
    answer = break_down(ledger, Grouping(group_by="tag", tag_key="team"), 20)
    assert [(row.value, row.rows) for row in answer.rows] == [("(none)", 2), ("web", 1)]
    for wrong in (Grouping(group_by="tag"), Grouping(tag_key="team")):
        with pytest.raises(ToolError, match="`tag_key` together"):
            break_down(ledger, wrong, 20)


def test_limit_leaves_groups_out_but_never_the_total(open_rows: Open) -> None:
    """Count what is beyond the limit."""
    ledger = open_rows(*({"ServiceName": name} for name in "abcde"))
    answer = break_down(ledger, Grouping(), 2)
    assert (len(answer.rows), answer.groups_left_out, answer.totals[0].cost) == (
        2,
        3,
        5,
    )


def test_bound_values_are_never_sql(open_rows: Open) -> None:
    """Find a tag whose key looks like an attack, and nothing else."""
    key = "x'] FROM charges; DROP TABLE charges; --"
    ledger = open_rows({"Tags": json.dumps({key: "here"})}, {})
    answer = break_down(ledger, Grouping(group_by="tag", tag_key=key), 9)
    assert sorted(row.value for row in answer.rows) == ["(none)", "here"]


def test_overview_tells_cash_from_amortised_cost(sample: Ledger) -> None:
    """Show both totals of the sample; they differ by the timing of the plan's fee."""
    answer = overview(sample)
    cash = {one.currency: one.by_charge_category for one in answer.billed}
    amortised = {one.currency: one.by_charge_category for one in answer.effective}
    assert cash["USD"]["Purchase"] == 157.92  # 35 days of 3.312 + 1.2
    assert amortised["USD"]["Purchase"] == 0.0
    assert amortised["USD"]["Usage"] - cash["USD"]["Usage"] == pytest.approx(157.92)
    assert answer.basis.kind == "user export"
    assert answer.columns_missing == [
        "CapacityReservationId",
        "CapacityReservationStatus",
        "ResourceName",
    ]


def test_planted_mover_is_found(sample: Ledger) -> None:
    """Find the storage that grows: 17 days at 2.9 a day, then 17 days at 4.6."""
    answer = list_movers(sample, Grouping(group_by="resource"), None, 10)
    moved = [row.value for row in answer.rows]
    assert moved.index("logs-shop") < moved.index("lake-raw")  # the spike
    lake = next(row for row in answer.rows if row.value == "lake-raw")
    assert (lake.previous, lake.current, lake.change) == (49.3, 78.2, 28.9)
    assert lake.change_percent == 58.6
    assert (answer.previous.days, answer.current.days) == (17, 17)
    assert answer.previous.last_day == date(2025, 7, 31)


def test_movers_tell_new_from_gone_and_skip_the_unchanged(open_rows: Open) -> None:
    """Compare equal periods, one next to the other, each with its own currency."""
    before, after = "2025-01-01", "2025-01-02"
    ledger = open_rows(
        {"ServiceName": "same", "ChargePeriodStart": before},
        {"ServiceName": "same", "ChargePeriodStart": after},
        {"ServiceName": "gone", "ChargePeriodStart": before, "BilledCost": "5"},
        {"ServiceName": "new", "ChargePeriodStart": after, "BilledCost": "9"},
        {"ServiceName": "up", "ChargePeriodStart": before, "BilledCost": "2"},
        {"ServiceName": "up", "ChargePeriodStart": after, "BilledCost": "3"},
    )
    answer = list_movers(ledger, Grouping(), 1, 10)
    assert [(row.value, row.status, row.change_percent) for row in answer.rows] == [
        ("new", "new", None),
        ("gone", "gone", -100.0),
        ("up", "up", 50.0),
    ]
    assert [(row.previous, row.current) for row in answer.totals] == [(8.0, 13.0)]


def test_movers_need_two_whole_periods(open_rows: Open) -> None:
    """Say how many days there are, instead of comparing with nothing."""
    ledger = open_rows({}, {"ChargePeriodStart": "2025-01-03"})
    with pytest.raises(ToolError, match="need 4 days of charges; there are 3"):
        list_movers(ledger, Grouping(), 2, 10)
    with pytest.raises(ToolError, match="need 2 days of charges; there are 1"):
        list_movers(open_rows({}), Grouping(), None, 10)


def test_exact_sums_are_rounded_once(open_rows: Open) -> None:
    """Round the sum, not the rows: ten thousandths of a cent come to a cent."""
    ledger = open_rows(*[{"BilledCost": "0.00001"}] * 10)
    assert break_down(ledger, Grouping(), 1).totals[0].cost == float(Decimal("0.0001"))
