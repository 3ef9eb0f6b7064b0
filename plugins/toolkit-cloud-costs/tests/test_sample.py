"""The shipped sample is what its generator makes, and is sound FOCUS."""

import csv
import io
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from toolkit_cloud_costs.columns import OPTIONAL, list_missing, match_columns
from toolkit_cloud_costs.sample import main, render
from toolkit_cloud_costs.source import SAMPLE


def test_generator_makes_the_shipped_file_byte_for_byte() -> None:
    """Nobody can edit the sample without its generator, or the other way round."""
    assert render().encode() == SAMPLE.read_bytes()


def test_generator_writes_the_file_it_is_told_to(tmp_path: Path) -> None:
    """Write the same bytes on every platform."""
    main([str(tmp_path / "new.csv")])
    assert (tmp_path / "new.csv").read_bytes() == SAMPLE.read_bytes()


def test_generator_prints_as_a_module() -> None:
    """Print the sample when the module is run."""
    command = [sys.executable, "-m", "toolkit_cloud_costs.sample"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=30)  # noqa: S603 - this interpreter, fixed arguments
    assert done.stdout.replace(b"\r\n", b"\n") == SAMPLE.read_bytes()


def test_sample_is_small_and_has_the_columns_asked_about() -> None:
    """Keep it below 300 KB; only columns that came after FOCUS 1.0 are absent."""
    assert SAMPLE.stat().st_size <= 300_000
    matched = match_columns(next(csv.reader(io.StringIO(render()))))
    assert list_missing(matched) == ()
    absent = {column for column in OPTIONAL if column not in matched}
    assert absent == {
        "CapacityReservationId",
        "CapacityReservationStatus",
        "ResourceName",
    }


def test_plan_fees_equal_its_amortised_cost() -> None:
    """Hold FOCUS's rule: EffectiveCost of Usage equals BilledCost of Purchase."""
    rows = [
        row
        for row in csv.DictReader(io.StringIO(render()))
        if row["CommitmentDiscountId"] == "sp-1"
    ]
    sums = {
        (category, cost): sum(
            Decimal(row[cost]) for row in rows if row["ChargeCategory"] == category
        )
        for category in ("Usage", "Purchase")
        for cost in ("BilledCost", "EffectiveCost")
    }
    assert sums["Usage", "EffectiveCost"] == sums["Purchase", "BilledCost"]
    assert sums["Purchase", "EffectiveCost"] == sums["Usage", "BilledCost"] == 0
