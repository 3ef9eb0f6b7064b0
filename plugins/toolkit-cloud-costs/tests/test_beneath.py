"""No name, link or exchange in a user's folder leads to another user's export."""

import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from toolkit import ToolError, UserContext
from toolkit_cloud_costs import beneath
from toolkit_cloud_costs.beneath import list_folder, open_file
from toolkit_cloud_costs.ledger import open_ledger
from toolkit_cloud_costs.quality import describe_basis
from toolkit_cloud_costs.source import Source, find_source

Write = Callable[..., Path]

ADA = UserContext(user_id="ada")
needs_descriptors = pytest.mark.skipif(
    not beneath.DESCRIPTORS.is_dir(), reason="this system has no /proc/self/fd"
)


def find(root: Path, export: str | None = None) -> Source:
    return find_source(ADA, export, {"TOOLKIT_DATA_ROOT": str(root)})


def services(source: Source) -> list[str]:
    with open_ledger(source) as ledger:
        return [one for (one,) in ledger.rows("SELECT service FROM charges ORDER BY 1")]


@pytest.fixture
def secret(write_export: Write) -> Path:
    """Write the export of another user."""
    return write_export({"ServiceName": "Secret"}, name="bob/billing/b.csv")


@needs_descriptors
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a*.csv", "abob.csv"),
        ("x[1].csv", "x1.csv"),
        ("?.csv", "b.csv"),
        ("{a,b}.csv", "b.csv"),
        ("**.csv", "b.csv"),
    ],
)
def test_file_name_is_never_a_pattern_that_reaches_another_user(
    name: str, target: str, write_export: Write, secret: Path, tmp_path: Path
) -> None:
    """Read the file of that very name, once, and say which link was left out (S41)."""
    own = write_export({"ServiceName": "Own"}, name=f"ada/billing/{name}")
    (own.parent / target).symlink_to(secret)
    assert services(find(tmp_path)) == services(find(tmp_path, name)) == ["Own"]
    with open_ledger(find(tmp_path)) as ledger:
        assert describe_basis(ledger).notes == [
            f"Left out, as they are links or no plain files: {target}."
        ]


@needs_descriptors
def test_file_name_that_looks_like_a_pattern_counts_no_charge_twice(
    write_export: Write, tmp_path: Path
) -> None:
    """Add each of a user's own files once."""
    for name in ("a*.csv", "ab.csv"):
        write_export({"ServiceName": name}, name=f"ada/billing/{name}")
    assert services(find(tmp_path)) == ["a*.csv", "ab.csv"]


@needs_descriptors
@pytest.mark.parametrize("exchanged", ["ada/billing/a.csv", "ada/billing", "ada"])
def test_file_exchanged_for_a_link_after_the_check_is_not_followed(
    exchanged: str, write_export: Write, tmp_path: Path
) -> None:
    """Follow no link between listing and reading, at any step of the path (S41)."""
    write_export({"ServiceName": "Secret"}, name="bob/billing/a.csv")
    write_export({}, name="ada/billing/a.csv")
    source = find(tmp_path)
    place = tmp_path / exchanged
    place.rename(tmp_path / "aside")
    place.symlink_to(tmp_path / exchanged.replace("ada", "bob"))
    with pytest.raises(ToolError, match=r"^a\.csv cannot be read") as caught:
        services(source)
    assert str(tmp_path) not in str(caught.value)


@needs_descriptors
def test_folder_exchanged_for_a_link_is_not_even_listed(
    write_export: Write, tmp_path: Path, secret: Path
) -> None:
    """Show no name of another user's files either."""
    write_export({}, name="ada/a.csv")
    (tmp_path / "ada" / "billing").symlink_to(secret.parent)
    assert list_folder(tmp_path / "ada" / "billing", tmp_path) == ()


@needs_descriptors
def test_file_exchanged_after_it_was_opened_is_read_as_opened(
    write_export: Write, secret: Path, tmp_path: Path
) -> None:
    """Give duckdb the open file, and not a name to look up once more (S41)."""
    own = write_export({"ServiceName": "Own"}, name="ada/billing/a.csv")
    with open_file(own, tmp_path) as address:
        own.unlink()
        own.symlink_to(secret)
        text = Path(address).read_text(encoding="utf-8")
    assert "Own" in text
    assert "Secret" not in text


def test_pipe_is_left_out_and_refused_without_waiting_for_a_writer(
    write_export: Write, tmp_path: Path
) -> None:
    """List plain files only, and open nothing else."""
    write_export({}, name="ada/billing/a.csv")
    pipe = tmp_path / "ada" / "billing" / "pipe.csv"
    os.mkfifo(pipe)
    source = find(tmp_path)
    assert source.left_out == ("pipe.csv",)
    assert [path.name for path in source.files] == ["a.csv"]
    with pytest.raises(OSError, match="no plain file"), open_file(pipe, tmp_path):
        pass


@needs_descriptors
def test_descriptors_are_closed_and_their_numbers_mix_no_files(tmp_path: Path) -> None:
    """Read two files of equal size and time apart, though their address is one."""
    folder = tmp_path / "ada" / "billing"
    folder.mkdir(parents=True)
    for name in ("One", "Two"):
        path = folder / f"{name}.parquet"
        with duckdb.connect() as maker:
            maker.execute(_PARQUET, {"name": name, "path": str(path)})
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert services(find(tmp_path)) == ["One", "Two"]
    left_open = {path.resolve().parent for path in beneath.DESCRIPTORS.iterdir()}
    assert folder.resolve() not in left_open


@pytest.mark.parametrize("name", ["a*.csv", "x[1].csv", "?.csv", "{a,b}.csv"])
def test_system_without_descriptors_refuses_a_name_that_could_be_a_pattern(
    name: str, write_export: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name the file and the remedy instead of reading more than was asked for."""
    monkeypatch.setattr(beneath, "DESCRIPTORS", tmp_path / "none")
    write_export({"ServiceName": "Own"}, name="ada/billing/b.csv")
    assert services(find(tmp_path)) == ["Own"]
    write_export({}, name=f"ada/billing/{name}")
    with pytest.raises(ToolError, match="Rename it") as caught:
        services(find(tmp_path))
    assert name in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_system_without_descriptors_refuses_links(
    write_export: Write,
    secret: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Look at the file itself before its path is handed on."""
    monkeypatch.setattr(beneath, "DESCRIPTORS", tmp_path / "none")
    own = write_export({}, name="ada/billing/a.csv")
    source = find(tmp_path)
    own.unlink()
    own.symlink_to(secret)
    with pytest.raises(ToolError, match="no plain file"):
        services(source)
    assert find(tmp_path).files != (own,)


_PARQUET = """
COPY (SELECT 1 AS BilledCost, 'USD' AS BillingCurrency, 'Usage' AS ChargeCategory,
    TIMESTAMP '2025-01-01' AS ChargePeriodStart, 'AWS' AS ProviderName,
    $name AS ServiceName)
TO $path (FORMAT parquet)
"""
