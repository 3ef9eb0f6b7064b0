"""Days that stand out, and honesty where history is short."""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from toolkit_cloud_costs.anomalies import (
    MIN_HISTORY,
    THRESHOLD,
    Series,
    find_anomalies,
    judge,
)
from toolkit_cloud_costs.ledger import Ledger

Open = Callable[..., Ledger]


def series(costs: Iterable[object]) -> Series:
    amounts = tuple(Decimal(str(cost)) for cost in costs)
    first = date(2025, 1, 1)
    return Series("USD", "AWS", "Logs", first, amounts, (1,) * len(amounts))


def test_planted_anomaly_is_found_alone_in_its_service(sample: Ledger) -> None:
    """Find the one day on which logs cost 38.50 instead of 1.55."""
    answer = find_anomalies(sample, "billed", Decimal(1), 20)
    (logs,) = [one for one in answer.anomalies if one.service == "AmazonCloudWatch"]
    assert logs == answer.anomalies[0]
    assert (logs.day, logs.cost, logs.expected) == (date(2025, 8, 13), 38.5, 1.55)
    assert (logs.excess, logs.history_days, logs.rows) == (36.95, 28, 1)
    assert logs.score is not None
    assert logs.score > float(THRESHOLD)


def test_steady_growth_is_no_anomaly(sample: Ledger) -> None:
    """Leave the growing storage to the movers."""
    answer = find_anomalies(sample, "billed", Decimal(0), 200)
    assert "Amazon Simple Storage Service" not in {
        one.service for one in answer.anomalies
    }


def test_short_history_is_named_and_not_judged(open_rows: Open) -> None:
    """Refuse a verdict with 14 days; give one with 15."""
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(MIN_HISTORY + 1)]
    rows = [{"ChargePeriodStart": str(day)} for day in days]
    spike = {"ChargePeriodStart": str(days[-1]), "BilledCost": "100"}
    late = {**spike, "ServiceName": "Late"}
    answer = find_anomalies(open_rows(*rows, spike, late), "billed", Decimal(1), 20)
    assert [one.service for one in answer.anomalies] == ["Compute"]
    assert [(one.service, one.days) for one in answer.not_judged] == [("Late", 1)]
    short = find_anomalies(open_rows(*rows[1:], spike), "billed", Decimal(1), 20)
    assert (short.anomalies, short.series_judged) == ([], 0)


def test_days_without_charges_count_as_nothing(open_rows: Open) -> None:
    """A service that is charged every other week still has quiet days in between."""
    ledger = open_rows(
        {"ChargePeriodStart": "2025-01-01"},
        {"ChargePeriodStart": "2025-01-20", "BilledCost": "5"},
    )
    (found,) = find_anomalies(ledger, "billed", Decimal(1), 20).anomalies
    assert (found.day, found.expected, found.excess) == (date(2025, 1, 20), 0.0, 5.0)


def test_monthly_charges_and_purchases_are_no_daily_cost(open_rows: Open) -> None:
    """Leave out what is not charged by the day, and say so."""
    rows = [{"ChargePeriodStart": f"2025-01-{day:02}"} for day in range(1, 21)]
    month = {
        "ChargePeriodStart": "2025-01-20",
        "ChargePeriodEnd": "2025-02-20",
        "BilledCost": "900",
    }
    fee = {**rows[-1], "ChargeCategory": "Purchase", "BilledCost": "900"}
    for row in rows:
        row["ChargePeriodEnd"] = row["ChargePeriodStart"]
    answer = find_anomalies(open_rows(*rows, month, fee), "billed", Decimal(1), 20)
    assert answer.anomalies == []
    assert any(
        note.endswith("left out of the anomalies: 1.") for note in answer.basis.notes
    )


def test_weekends_are_part_of_normal() -> None:
    """Five dear days and two cheap ones make no anomaly of any of them."""
    weeks = series([10, 11, 10, 12, 10, 2, 2] * 6)
    assert list(judge(weeks, Decimal(0))) == []


def test_excess_below_the_least_asked_for_is_left_out() -> None:
    """A large score over pennies is not worth a look."""
    costs = series([*(["0.01"] * 20), "0.5"])
    assert list(judge(costs, Decimal(1))) == []
    (found,) = judge(costs, Decimal("0.1"))
    assert found.score is None  # every day before was equal


@given(
    st.lists(st.integers(0, 1000), max_size=60),
    st.integers(min_value=0, max_value=10),
)
def test_judgement_never_fails_and_only_sees_increases(
    costs: list[int], minimum: int
) -> None:
    """Whatever the history, report only increases, and only after two weeks."""
    for one in judge(series(costs), Decimal(minimum)):
        assert one.excess > 0
        assert one.excess >= minimum
        assert (one.day - date(2025, 1, 1)).days >= MIN_HISTORY
