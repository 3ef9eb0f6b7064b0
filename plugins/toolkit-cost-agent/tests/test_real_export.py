"""A plan from a real, anonymised FOCUS 1.0 export of three providers.

It is not part of this package: set ``TOOLKIT_FOCUS_SAMPLE`` to its path to run these.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

FILE = os.environ.get("TOOLKIT_FOCUS_SAMPLE", "")

pytestmark = [
    pytest.mark.no_docker,
    pytest.mark.skipif(not FILE, reason="TOOLKIT_FOCUS_SAMPLE names no file"),
]

Ask = Callable[..., Any]


def test_plan_of_a_real_bill_is_doubted_where_it_must_be(ask: Ask) -> None:
    """Rank what a thin month of AWS supports, and say how little that is (S199)."""
    told = ask(
        "Help me optimize my AWS costs for my startup",
        metadata={"billing_export": FILE},
    )
    assert "your own billing export (focus_sample.csv)" in told.answer
    assert "**18.01 USD**" in told.answer
    assert "EffectiveCost of AWS is in whole numbers" in told.answer
    findings = told.details["figures"]["findings"]
    assert findings
    assert {one["provider"] for one in findings} <= {"AWS", None}
    assert "with low confidence" in told.answer
    assert "Begin with" not in told.answer
    assert "1. Check no. 1, no. 2" in told.answer
    assert "how far it is used cannot be told from this export" in told.answer


def test_single_service_of_a_real_bill_has_its_exact_cost(ask: Ask) -> None:
    """Give the sum that the export holds for one service."""
    told = ask("what did I spend on WAF?", metadata={"billing_export": FILE})
    (row,) = told.details["figures"]["rows"]
    assert row["value"] == "AWS WAF"
    assert f"{row['rows']:,} rows" in told.answer
