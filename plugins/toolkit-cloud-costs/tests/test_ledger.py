"""Real exports with their oddities become one exact, locked table."""

import gzip
import threading
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from toolkit import ToolError
from toolkit_cloud_costs.ledger import Ledger, open_ledger
from toolkit_cloud_costs.quality import describe_basis
from toolkit_cloud_costs.source import SAMPLE, Source

Open = Callable[..., Ledger]
Write = Callable[..., Path]


def test_decimals_are_exact_in_every_notation(open_rows: Open) -> None:
    """Read quoted decimals and E notation; add ten dimes to one, not to 0.9999."""
    ledger = open_rows(*[{"BilledCost": "0.1"}] * 10, {"BilledCost": "35.2E-7"})
    assert ledger.row("SELECT sum(billed_cost) FROM charges") == (
        Decimal("1.000003520000000000"),
    )


def test_eighteen_decimal_places_survive(open_rows: Open) -> None:
    """Keep every digit of a figure that no binary float can hold."""
    exact = "123456789.123456789012345678"
    row = open_rows({"BilledCost": exact}).row("SELECT billed_cost FROM charges")
    assert row == (Decimal(exact),)


@pytest.mark.parametrize("text", ["NULL", "null", "", " ", "None", "NaN", "\\N"])
def test_null_words_are_nothing(text: str, open_rows: Open) -> None:
    """Treat the words that exports write for a missing value as missing."""
    ledger = open_rows({"ResourceId": text, "EffectiveCost": text, "Tags": text})
    assert ledger.row(
        "SELECT resource_id, effective_cost, cardinality(tags) FROM charges"
    ) == (None, None, 0)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-01-31T22:30:00Z", datetime(2025, 1, 31, 22, 30)),  # noqa: DTZ001 - duckdb's TIMESTAMP has no zone
        ("2025-01-31 22:30:00", datetime(2025, 1, 31, 22, 30)),  # noqa: DTZ001 - the same
        ("2025-02-01T00:30:00+02:00", datetime(2025, 1, 31, 22, 30)),  # noqa: DTZ001 - the same
        ("2025-01-31", datetime(2025, 1, 31)),  # noqa: DTZ001 - the same
    ],
)
def test_times_are_utc_in_every_notation(
    text: str, utc: datetime, open_rows: Open
) -> None:
    """Read zone offsets, Z, and no zone as UTC."""
    ledger = open_rows({"ChargePeriodStart": text})
    assert ledger.row("SELECT start_at FROM charges") == (utc,)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('{"a": "b", "n": null, "t": true}', {"a": "b", "n": None, "t": "true"}),
        ('"a": "b","c": "d"', {"a": "b", "c": "d"}),
        ("{}", {}),
    ],
)
def test_tags_are_read_as_json_with_or_without_braces(
    text: str, tags: dict[str, str], open_rows: Open
) -> None:
    """Keep keys, texts and the truth that stands for a tag without value."""
    assert open_rows({"Tags": text}).row("SELECT tags FROM charges") == (tags,)


def test_unreadable_tags_are_counted_not_hidden(open_rows: Open) -> None:
    """Say how many rows have tags that nobody can read."""
    notes = describe_basis(open_rows({"Tags": "a=b"}, {"Tags": "[1]"})).notes
    assert any(note.endswith("counted as untagged: 2.") for note in notes)


def test_row_number_column_is_not_mistaken_for_a_service(open_rows: Open) -> None:
    """Ignore columns that FOCUS does not know, such as `Id` and `x_` columns."""
    ledger = open_rows({"Id": "7", "x_Extra": "y"})
    assert ledger.row("SELECT service FROM charges") == ("Compute",)


def test_column_names_may_differ_in_case_and_be_of_focus_1_4(
    tmp_path: Path, open_file: Open
) -> None:
    """Find columns without case, and the provider under its newer name."""
    path = tmp_path / "new.csv"
    path.write_text(
        "\ufeffbilledcost,BILLINGCURRENCY,ChargeCategory,ChargePeriodStart,"
        "ServiceProviderName,ServiceName\n1.5,usd,usage,2025-01-01,AWS,S3\n"
    )
    row = open_file(path).row(
        "SELECT billed_cost, currency, charge_category, provider FROM charges"
    )
    assert row == (Decimal("1.5"), "USD", "Usage", "AWS")


def test_export_that_is_not_focus_names_the_missing_columns(
    tmp_path: Path, open_file: Open
) -> None:
    """List exactly what is missing, sorted, and say how to export."""
    path = tmp_path / "usage.csv"
    path.write_text("BilledCost,BillingCurrency,ServiceName\n1,USD,S3\n")
    with pytest.raises(ToolError, match="in the FOCUS format") as caught:
        open_file(path)
    assert "it lacks ChargeCategory, ChargePeriodStart, ProviderName." in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("BilledCost", "1,234.50"),
        ("BilledCost", "USD 5"),
        ("EffectiveCost", "1 1/2"),
        ("BilledCost", "1_000"),
        ("ListCost", "1_0.5"),
        ("BilledCost", "Infinity"),
        ("BilledCost", "-NaN"),
        ("ChargePeriodStart", "31/01/2025"),
        ("ChargePeriodStart", "NULL"),
    ],
)
def test_value_that_cannot_be_read_stops_the_answer(
    column: str, value: str, open_rows: Open
) -> None:
    """Never leave a cost out silently: name the column, the count and an example."""
    with pytest.raises(
        ToolError, match=f"values of {column} that cannot be read: 1"
    ) as it:
        open_rows({}, {column: value})
    assert repr(value) in str(it.value)


@pytest.mark.parametrize(
    "column",
    ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingQuantity"],
)
def test_not_a_number_is_a_fault_that_is_said_and_not_a_missing_value(
    column: str, open_rows: Open
) -> None:
    """Tell NaN from an absent value, which has a note of its own."""
    rows = ({column: "NaN"}, {column: " nan "}, {column: "NULL"}, {column: "2"})
    ledger = open_rows(*rows)
    notes = describe_basis(ledger).notes
    fault = "is no plain decimal number, such as NaN, and adds nothing: 2. Correct"
    assert [note for note in notes if fault in note and column in note] == [
        f"Rows whose {column} {fault} the export."
    ]
    if column != "PricingQuantity":
        assert any(
            note.startswith(f"Rows without {column},") and note.endswith(": 1.")
            for note in notes
        )


def test_quantity_that_is_no_plain_number_is_said(open_rows: Open) -> None:
    """Read no quantity as another one, and count those left out."""
    ledger = open_rows({"PricingQuantity": "1_000"}, {"PricingQuantity": "5"})
    assert ledger.row("SELECT sum(pricing_quantity) FROM charges") == (Decimal(5),)
    fault = "Rows whose PricingQuantity is no plain decimal number"
    notes = [one for one in describe_basis(ledger).notes if one.startswith(fault)]
    assert [note.split(": ")[1] for note in notes] == ["1. Correct the export."]


@pytest.mark.parametrize("text", ["+5", "5.", ".5e1", "50E-1", "0.5e+1", " 5 "])
def test_plain_decimal_numbers_are_read_in_every_notation(
    text: str, open_rows: Open
) -> None:
    """Take a sign, a bare point and an exponent."""
    ledger = open_rows({"BilledCost": text})
    assert ledger.row("SELECT billed_cost FROM charges") == (Decimal(5),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ragged.csv", b"BilledCost,ServiceName\n1,S3\n1,S3,9\n"),
        ("latin.csv", b"BilledCost,ServiceName\n1,caf\xe9\n"),
        ("empty.csv", b""),
        ("semicolon.csv", b"BilledCost;ServiceName\n1;S3\n"),
        ("text.parquet", b"this is no parquet file, whatever its name says"),
        ("plain.csv.gz", b"BilledCost,ServiceName\n1,S3\n"),
    ],
)
def test_broken_file_is_refused_with_its_name_only(
    name: str, content: bytes, tmp_path: Path, open_file: Open
) -> None:
    """Skip no bad line, and show nobody where the file lies."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        ToolError, match=rf"^{name} (cannot be read|is not a FOCUS)"
    ) as it:
        open_file(path)
    assert str(tmp_path) not in str(it.value)


def test_ragged_row_of_a_focus_file_is_refused(
    write_export: Write, open_file: Open
) -> None:
    """Skip no row that has a field too many."""
    path = write_export({}, {})
    with path.open("a", newline="") as file:
        file.write("1,2,3\r\n")
    with pytest.raises(ToolError, match=r"^export\.csv cannot be read: .*Line: 4"):
        open_file(path)


_TYPED = """
COPY (
    SELECT * REPLACE (
        TRY_CAST(BilledCost AS DOUBLE) AS BilledCost,
        CAST(ChargePeriodStart AS TIMESTAMP) AS ChargePeriodStart,
        TRY_CAST(TRY_CAST(Tags AS JSON) AS MAP(VARCHAR, VARCHAR)) AS Tags
    ) FROM read_csv($from, all_varchar = true)
) TO $to (FORMAT parquet)
"""


def test_parquet_and_gzip_answer_like_csv(tmp_path: Path, open_file: Open) -> None:
    """Read the same totals from typed Parquet, with tags as a map, and from gzip."""
    packed = tmp_path / "sample.csv.gz"
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    typed = tmp_path / "sample.parquet"
    with duckdb.connect() as maker:
        maker.execute(_TYPED, {"from": str(SAMPLE), "to": str(typed)})
    question = """
        SELECT currency, sum(billed_cost), min(start_at), count(*),
            count(*) FILTER (tags['owner'] = 'web')
        FROM charges GROUP BY currency ORDER BY currency
    """
    answers = [open_file(path).rows(question) for path in (SAMPLE, packed, typed)]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 2


def test_files_with_different_columns_are_read_together(
    write_export: Write, open_file: Open
) -> None:
    """Fill what one version lacks with nothing; note charges found in both files."""
    old = write_export({"ServiceName": "Old"}, name="a.csv", without="Tags")
    new = write_export({"ServiceName": "New"}, {"ServiceName": "Old"}, name="b.csv")
    ledger = open_file(old, new)
    assert ledger.row("SELECT count(*), sum(billed_cost) FROM charges")[0] == 3
    notes = describe_basis(ledger).notes
    assert any("counted each time: 2." in note for note in notes)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM read_csv($path)",
        "COPY charges TO 'stolen.csv'",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 8",
    ],
)
def test_database_is_locked_after_loading(statement: str, sample: Ledger) -> None:
    """Reach no file, network or setting once the export is read."""
    values = {"path": str(SAMPLE)} if "$path" in statement else None
    locked = (duckdb.PermissionException, duckdb.InvalidInputException)
    with pytest.raises(locked, match=r"disabled|locked|Cannot"):
        sample.execute(statement, values)


def test_database_is_limited_before_it_reads_anything(sample: Ledger) -> None:
    """Use one thread, bounded memory, no disk, and no extension from outside."""
    settings: dict[str, str] = dict(
        sample.rows("SELECT name, value FROM duckdb_settings() ORDER BY name")
    )
    assert settings["threads"] == "1"
    assert settings["memory_limit"].startswith("953")  # 1 GB in MiB
    assert settings["temp_directory"] == ""
    assert settings["autoinstall_known_extensions"] == "false"
    assert settings["autoload_known_extensions"] == "false"
    assert settings["allow_community_extensions"] == "false"


def test_export_beyond_the_memory_limit_names_the_setting(tmp_path: Path) -> None:
    """Fail with the remedy, not with a crash."""
    path = tmp_path / "large.csv"
    head, *rows = SAMPLE.read_text().splitlines()
    path.write_text("\n".join([head, *rows * 60]))
    small = {"TOOLKIT_BILLING_MEMORY": "8MB"}
    with (
        pytest.raises(ToolError, match="TOOLKIT_BILLING_MEMORY"),
        open_ledger(Source("user export", (path,)), environment=small),
    ):
        pass


def test_memory_setting_that_is_no_size_is_named() -> None:
    """Tell the operator which setting to correct."""
    wrong = {"TOOLKIT_BILLING_MEMORY": "lots"}
    with (
        pytest.raises(ToolError, match="is 'lots'; set a size such as 512MB"),
        open_ledger(Source("shipped sample", (SAMPLE,)), environment=wrong),
    ):
        pass


def test_expired_call_stops_the_query_it_is_in(sample: Ledger) -> None:
    """Interrupt a running query from another thread, and refuse the next one."""
    timer = threading.Timer(0.2, sample.expire)
    timer.start()
    with pytest.raises(ToolError, match="took longer than this call may"):
        sample.rows("SELECT count(*) FROM range(10000000000) AS a, range(100) AS b")
    timer.join(timeout=5)
    with pytest.raises(ToolError, match="took longer"):
        sample.rows("SELECT 1")


def test_call_without_time_left_reads_nothing() -> None:
    """Give up at once when the deadline has passed."""
    with (
        pytest.raises(ToolError, match="took longer"),
        open_ledger(Source("shipped sample", (SAMPLE,)), seconds=0.0),
    ):
        pass


def test_empty_period_says_what_the_export_holds(sample: Ledger) -> None:
    """Name the dates and providers that would do."""
    with pytest.raises(ToolError, match="2025-07-14 to 2025-08-17 of AWS, Microsoft"):
        sample.keep(None, None, "GCP")


def test_period_includes_both_of_its_days(open_rows: Open) -> None:
    """Keep a charge that starts on the last day, drop the one a day later."""
    days = ("2024-12-31T23:00:00Z", "2025-01-01", "2025-01-02T23:00:00Z", "2025-01-03")
    ledger = open_rows(*({"ChargePeriodStart": day} for day in days))
    ledger.keep(date(2025, 1, 1), date(2025, 1, 2), " aws ")
    assert ledger.row("SELECT count(*) FROM charges") == (2,)
    with pytest.raises(ToolError, match="Swap them"):
        ledger.keep(date(2025, 1, 2), date(2025, 1, 1), None)
