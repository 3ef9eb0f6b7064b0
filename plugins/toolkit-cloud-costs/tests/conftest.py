"""Fixtures: exports made on the spot, and a user to ask about them."""

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from toolkit import ToolContext, UserContext
from toolkit_cloud_costs.ledger import Ledger, open_ledger
from toolkit_cloud_costs.source import SAMPLE, Source

Row = dict[str, str]
WriteExport = Callable[..., Path]
OpenRows = Callable[..., Ledger]
ContextOf = Callable[..., ToolContext]

CHARGE: Row = {
    "BilledCost": "1",
    "EffectiveCost": "1",
    "ListCost": "1",
    "ContractedCost": "1",
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargePeriodStart": "2025-01-01T00:00:00Z",
    "ChargePeriodEnd": "2025-01-02T00:00:00Z",
    "ProviderName": "AWS",
    "ServiceName": "Compute",
    "Tags": "NULL",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_ROOT", "BILLING_EXPORT", "BILLING_MEMORY"):
        monkeypatch.delenv(f"TOOLKIT_{name}", raising=False)


@pytest.fixture
def write_export(tmp_path: Path) -> WriteExport:
    """Write rows, each a change of one plain charge, as a CSV file."""

    def write(*rows: Row, name: str = "export.csv", without: str = "") -> Path:
        columns = dict.fromkeys(key for row in (CHARGE, *rows) for key in row)
        columns.pop(without, None)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, "NULL", extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**CHARGE, **row} for row in rows)
        return path

    return write


@pytest.fixture
def open_file() -> Iterator[OpenRows]:
    """Open files as a ledger that is closed after the test."""
    with ExitStack() as stack:
        yield lambda *paths: stack.enter_context(
            open_ledger(Source("user export", paths))
        )


@pytest.fixture
def open_rows(write_export: WriteExport, open_file: OpenRows) -> OpenRows:
    """Open rows as a ledger that is closed after the test."""
    return lambda *rows, **how: open_file(write_export(*rows, **how))


@pytest.fixture
def sample(open_file: OpenRows) -> Ledger:
    """Open the shipped sample."""
    return open_file(SAMPLE)


@pytest.fixture
def context_of() -> ContextOf:
    """Make the context of a call by a user with this metadata."""

    def make(**metadata: object) -> ToolContext:
        user = UserContext(user_id="ada", metadata=metadata)
        return ToolContext(user=user, call_id="call-1", tool_name="any")

    return make
