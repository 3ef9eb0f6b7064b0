"""Which folder is a user's."""

import os
from pathlib import Path
from typing import Any

import pytest

from toolkit import ToolError, UserContext
from toolkit_data.folder import open_user_folder


def names(user_id: str, **metadata: Any) -> list[str] | None:
    with open_user_folder(UserContext(user_id=user_id, metadata=metadata)) as folder:
        return None if folder is None else sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor


def test_the_folder_is_the_user_id_beneath_the_root(home: Path) -> None:
    """Each user has the folder of their own id (S3)."""
    assert names("ann") == ["orders.csv"]
    assert names("bob") == []
    assert home.exists()


def test_a_user_without_a_folder_has_none_yet(root: Path) -> None:
    """A new user is not an error, and gets no folder made."""
    assert names("carol") is None
    assert not (root / "carol").exists()


def test_the_backends_metadata_wins_over_the_root(home: Path, tmp_path: Path) -> None:
    """The backend may say where a user's files are."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.csv").write_text("a\n1\n")
    assert names("ann", data_folder=str(tmp_path / "other")) == ["x.csv"]
    assert names("ann", data_folder=str(tmp_path / "none")) is None
    assert home.exists()


@pytest.mark.parametrize(
    "user_id",
    ["..", ".", "../bob", "a/b", "/etc", ".hidden", "ann\\..", "änn", "~", "a" * 256],
)
def test_an_id_that_is_no_safe_path_component_is_refused(
    home: Path, user_id: str
) -> None:
    """No id can point beyond its own folder (B58)."""
    with pytest.raises(ToolError, match="cannot name a folder"):
        names(user_id)
    assert home.exists()


@pytest.mark.parametrize("user_id", ["auth0|12ab", "ann@example.org", "A-1_b.c", "_x"])
def test_ordinary_ids_are_accepted(root: Path, user_id: str) -> None:
    """Ids as identity providers make them name folders."""
    (root / user_id).mkdir()
    assert names(user_id) == []


def test_a_user_folder_that_is_a_link_is_refused(root: Path) -> None:
    """A link to another user's folder is not followed (S3)."""
    (root / "eve").symlink_to(root / "ann")
    with pytest.raises(ToolError, match="no plain folder") as caught:
        names("eve")
    assert str(root) not in str(caught.value)


def test_missing_configuration_says_what_the_operator_must_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a root there is no guess, and the remedy is named."""
    monkeypatch.delenv("TOOLKIT_DATA_ROOT", raising=False)
    with pytest.raises(ToolError, match="must set TOOLKIT_DATA_ROOT"):
        names("ann")


@pytest.mark.parametrize("chosen", ["relative/folder", 7, "", b"/x"])
def test_a_wrong_metadata_value_is_the_backends_to_correct(chosen: object) -> None:
    """Only an absolute path is taken from the metadata."""
    with pytest.raises(ToolError, match="the backend must correct it"):
        names("ann", data_folder=chosen)


def test_errors_never_show_a_path(tmp_path: Path, monkeypatch: Any) -> None:
    """A root or folder that cannot be opened is reported without its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError) as one:
        names("ann", data_folder=str(tmp_path / "file"))
    monkeypatch.setenv("TOOLKIT_DATA_ROOT", str(tmp_path / "file"))
    with pytest.raises(ToolError) as two:
        names("ann")
    assert str(tmp_path) not in f"{one.value} {two.value}"
