"""Untagged spend, by any tag or by the required ones."""

from collections.abc import Callable

import pytest

from toolkit import ToolError
from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.tags import find_untagged

Open = Callable[..., Ledger]


def test_planted_untagged_spend_is_found(sample: Ledger) -> None:
    """Sum the address, the gateway and the unused plan over 35 days, per currency."""
    answer = find_untagged(sample, (), "billed", 20)
    totals = {one.currency: one for one in answer.totals}
    # (0.12 address + 1.08 gateway + 0.90 its data) * 35 + 157.92 plan fees
    assert totals["USD"].untagged == 231.42
    assert totals["USD"].without_resource == 157.92
    assert totals["USD"].not_taggable == 16.05  # 41.80 tax - 25 credit - 0.75
    assert totals["EUR"].untagged == totals["EUR"].taggable == 80.64  # 35 * 2.304
    assert totals["EUR"].untagged_percent == 100.0
    services = {(row.currency, row.value): row.cost for row in answer.rows}
    assert services["USD", "Amazon Virtual Private Cloud"] == 73.5


def test_required_key_finds_what_merely_has_another_tag(sample: Ledger) -> None:
    """Count the database, which has tags but no owner, as lacking its owner."""
    answer = find_untagged(sample, ("owner",), "billed", 20)
    (usd,) = [one for one in answer.totals if one.currency == "USD"]
    assert usd.untagged == 643.02  # 231.42 + 35 * (6.96 database + 4.80 surcharge)
    (owner,) = [one for one in answer.keys if one.currency == "USD"]
    assert owner.untagged == 643.02
    assert owner.near_misses == []


def test_key_counts_only_when_spelled_alike_and_filled(open_rows: Open) -> None:
    """Report other spellings as near misses; an empty value is no value."""
    ledger = open_rows(
        {"Tags": '{"team": "web"}'},
        {"Tags": '{" team": "web"}'},
        {"Tags": '{"user:Team": "web"}'},
        {"Tags": '{"team": ""}'},
    )
    (key,) = find_untagged(ledger, ("team",), "billed", 9).keys
    assert (key.tagged, key.untagged, key.untagged_rows) == (1.0, 3.0, 3)
    assert key.near_misses == [" team", "user:Team"]


def test_all_required_keys_are_needed(open_rows: Open) -> None:
    """A charge with one of two keys is untagged."""
    ledger = open_rows({"Tags": '{"a": "1"}'}, {"Tags": '{"a": "1", "b": "2"}'})
    (total,) = find_untagged(ledger, ("a", "b"), "billed", 9).totals
    assert (total.untagged, total.untagged_percent) == (1.0, 50.0)


def test_taxes_and_credits_are_not_called_untagged(open_rows: Open) -> None:
    """Nobody can tag a tax."""
    ledger = open_rows({"ChargeCategory": "Tax"}, {"ChargeCategory": "Credit"})
    (total,) = find_untagged(ledger, (), "billed", 9).totals
    assert (total.taggable, total.untagged, total.not_taggable) == (0.0, 0.0, 2.0)
    assert total.untagged_percent is None


def test_export_without_tags_is_refused(open_rows: Open) -> None:
    """Never call everything untagged because the column was not exported."""
    with pytest.raises(ToolError, match="no column Tags"):
        find_untagged(open_rows({}, without="Tags"), (), "billed", 9)
