"""Files to tables, and their names."""

import os
from pathlib import Path

import pytest

from toolkit_data import tables
from toolkit_data.tables import Listing, scan


def listing(folder: Path, max_tables: int = 500) -> Listing:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return scan(descriptor, max_tables=max_tables)
    finally:
        os.close(descriptor)


def fill(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("a\n1\n")


def test_files_become_tables_named_by_folder_and_stem(tmp_path: Path) -> None:
    """Sub-folders join the name with two underscores; other files are no tables."""
    fill(tmp_path, "b.tsv", "sales/2026/jan-1.csv", "2026.json", "notes.txt", ".x.csv")
    found = {table.name: table.file for table in listing(tmp_path).tables}
    assert found == {
        "b": "b.tsv",
        "sales__2026__jan_1": "sales/2026/jan-1.csv",
        "t_2026": "2026.json",
    }


def test_colliding_names_get_their_format_and_nobody_wins(tmp_path: Path) -> None:
    """Two files of one name are both listed, under names that differ (S44, B6)."""
    fill(tmp_path, "orders.csv", "Orders.parquet")
    result = listing(tmp_path)
    assert [table.name for table in result.tables] == [
        "Orders__parquet",
        "orders__csv",
    ]
    assert result.skipped == ()


def test_names_that_still_collide_are_left_out_and_named(tmp_path: Path) -> None:
    """Both claimants are reported with each other's file and the remedy (S39, B6)."""
    fill(tmp_path, "a-b.csv", "a_b.csv", "ok.csv")
    result = listing(tmp_path)
    assert [table.name for table in result.tables] == ["ok"]
    reasons = {item.file: item.reason for item in result.skipped}
    assert reasons.keys() == {"a-b.csv", "a_b.csv"}
    assert "like a_b.csv; rename one" in reasons["a-b.csv"]


def test_links_pipes_and_unreadable_things_are_left_out_with_reason(
    tmp_path: Path,
) -> None:
    """What is no regular file is never a table."""
    (tmp_path / "passwd.csv").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("..")
    os.mkfifo(tmp_path / "pipe.csv")
    fill(tmp_path, "new\nline.csv")
    result = listing(tmp_path)
    assert result.tables == ()
    reasons = {item.file: item.reason for item in result.skipped}
    assert "symbolic link" in reasons["passwd.csv"]
    assert "symbolic link" in reasons["up"]
    assert "no regular file" in reasons["pipe.csv"]
    assert "unprintable" in reasons["new\nline.csv"]


def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    """A file name that is not UTF-8 can be reported all the same."""
    try:
        (tmp_path / os.fsdecode(b"\xff.csv")).write_text("a\n")
    except OSError:
        pytest.skip("this file system takes text names only")
    (item,) = listing(tmp_path).skipped
    assert item.file.encode() == b"?.csv"


def test_deep_folders_are_reported_not_walked(tmp_path: Path) -> None:
    """The walk has a bound."""
    deep = "/".join("abcdef")
    fill(tmp_path, f"{deep}/x.csv", "a/b/c/d/e/y.csv")
    result = listing(tmp_path)
    assert [table.file for table in result.tables] == ["a/b/c/d/e/y.csv"]
    assert "deeper than 5" in result.skipped[0].reason


def test_a_long_list_is_cut_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More tables, or more entries, than allowed set the flag (B29)."""
    fill(tmp_path, "a.csv", "b.csv", "c.csv")
    assert not listing(tmp_path).truncated
    assert listing(tmp_path, max_tables=2).truncated
    assert len(listing(tmp_path, max_tables=2).tables) == 2
    monkeypatch.setattr(tables, "MAX_ENTRIES", 1)
    assert listing(tmp_path).truncated
