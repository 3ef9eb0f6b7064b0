"""A user reads their own exports, and can name no other file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit import ToolError, UserContext
from toolkit_cloud_costs.source import SAMPLE, find_source


def user(name: str = "ada", **metadata: Any) -> UserContext:
    return UserContext(user_id=name, metadata=metadata)


def test_backend_setting_comes_before_every_other(
    write_export: Callable[..., Path], tmp_path: Path
) -> None:
    """Read metadata first, then the user's folder, the shared export, the sample."""
    mine = write_export({}, name="mine.csv")
    own = write_export({}, name="root/ada/billing/own.csv")
    shared = write_export({}, name="shared.csv")
    both = {
        "TOOLKIT_DATA_ROOT": str(tmp_path / "root"),
        "TOOLKIT_BILLING_EXPORT": str(shared),
    }
    first = find_source(user(billing_export=str(mine)), environment=both)
    second = find_source(user(), environment=both)
    third = find_source(user("bob"), environment=both)
    last = find_source(user(), environment={})
    assert (first.kind, first.files) == ("user export", (mine,))
    assert (second.kind, second.files) == ("user export", (own,))
    assert (third.kind, third.files) == ("shared export", (shared,))
    assert (last.kind, last.files) == ("shipped sample", (SAMPLE,))


def test_two_users_never_share_a_folder(
    write_export: Callable[..., Path], tmp_path: Path
) -> None:
    """Give each user the files under their own id only (S3, S41)."""
    ada = write_export({}, name="ada/billing/a.csv")
    bob = write_export({}, name="bob/billing/b.csv")
    settings = {"TOOLKIT_DATA_ROOT": str(tmp_path)}
    assert find_source(user("ada"), environment=settings).files == (ada,)
    assert find_source(user("bob"), environment=settings).files == (bob,)
    with pytest.raises(ToolError, match=r"no export 'b\.csv'"):
        find_source(user("ada"), "b.csv", settings)


@pytest.mark.parametrize("name", ["../bob", "a/b", "..", "*", "a\\b", ".hidden"])
def test_user_id_that_is_no_folder_name_is_refused(name: str, tmp_path: Path) -> None:
    """Never join an id into a path unless it is one plain component."""
    with pytest.raises(ToolError, match="cannot name a folder"):
        find_source(user(name), environment={"TOOLKIT_DATA_ROOT": str(tmp_path)})


@pytest.mark.parametrize(
    "export",
    [
        "../secret.csv",
        "/etc/passwd",
        "..",
        "",
        "sub/a.csv",
        "*.csv",
        "link.csv",
        "notes.txt",
        "A.CSV",
        "https://example.com/a.csv",
    ],
)
def test_export_argument_names_a_file_of_the_folder_and_nothing_else(
    export: str, write_export: Callable[..., Path], tmp_path: Path
) -> None:
    """Refuse parents, absolute paths, patterns, links and unknown names alike."""
    secret = write_export({}, name="secret.csv")
    write_export({}, name="mine/a.csv")
    write_export({}, name="mine/sub/a.csv")
    write_export({}, name="mine/notes.txt")
    (tmp_path / "mine" / "link.csv").symlink_to(secret)
    with pytest.raises(ToolError, match=r"Name one of: a\.csv;"):
        find_source(user(billing_export=str(tmp_path / "mine")), export)


def test_linked_folder_of_a_user_is_refused(
    write_export: Callable[..., Path], tmp_path: Path
) -> None:
    """Follow no link out of the user's own folder."""
    write_export({}, name="bob/billing/b.csv")
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "billing").symlink_to(tmp_path / "bob" / "billing")
    (tmp_path / "eve").symlink_to(tmp_path / "bob")
    for name in ("ada", "eve"):
        with pytest.raises(ToolError, match="is a link"):
            find_source(user(name), environment={"TOOLKIT_DATA_ROOT": str(tmp_path)})


def test_missing_export_says_what_to_do_and_shows_no_path(tmp_path: Path) -> None:
    """Name the formats and the setting, not the operator's folders."""
    gone = tmp_path / "gone.csv"
    with pytest.raises(ToolError, match="Put a FOCUS export") as caught:
        find_source(user(billing_export=str(gone)))
    assert str(tmp_path) not in str(caught.value)


def test_all_files_of_a_folder_are_read_unless_one_is_named(
    write_export: Callable[..., Path], tmp_path: Path
) -> None:
    """Sort by name, leave out what is no export."""
    one = write_export({}, name="mine/2025-01.csv")
    two = write_export({}, name="mine/2025-02.csv")
    (tmp_path / "mine" / "readme.md").write_text("no export")
    asked = user(billing_export=str(tmp_path / "mine"))
    assert find_source(asked).files == (one, two)
    assert find_source(asked, "2025-02.csv").files == (two,)
