"""Opening files strictly beneath a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit_data.beneath import open_file, open_folder


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.csv").write_text("mine")
    (tmp_path / "secret.csv").write_text("secret")
    return folder


@pytest.fixture
def root(inside: Path) -> Iterator[int]:
    descriptor = os.open(inside, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_file_in_a_sub_folder_opens(root: int) -> None:
    """The ordinary case works."""
    descriptor = open_file("sub/a.csv", root=root)
    with os.fdopen(descriptor) as file:
        assert file.read() == "mine"


@pytest.mark.parametrize(
    "path",
    ["../secret.csv", "sub/../../secret.csv", "/etc/passwd", "", "sub/", "./x", "a\0b"],
)
def test_no_path_leads_out(root: int, path: str) -> None:
    """Dots, absolute paths, empty parts and nulls are refused."""
    with pytest.raises(OSError, match=r"beneath the folder"):
        open_file(path, root=root)


def test_a_symbolic_link_is_refused_wherever_it_stands(inside: Path, root: int) -> None:
    """Neither a linked file nor a linked folder on the way is followed."""
    (inside / "link.csv").symlink_to(inside.parent / "secret.csv")
    (inside / "up").symlink_to(inside.parent)
    for path in ("link.csv", "up/secret.csv"):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            open_file(path, root=root)
    with pytest.raises(OSError), open_folder("up", parent=root):  # noqa: PT011 - ELOOP or ENOTDIR, by platform
        pass


def test_a_named_pipe_neither_opens_nor_blocks(inside: Path, root: int) -> None:
    """Only regular files are opened, and asking does not wait for a writer."""
    os.mkfifo(inside / "pipe.csv")
    with pytest.raises(OSError, match="regular file"):
        open_file("pipe.csv", root=root)


def test_no_descriptor_is_left_open(inside: Path, root: int) -> None:
    """Refusals and successes alike leave no descriptor behind (B41)."""
    os.mkfifo(inside / "pipe.csv")

    def attempt(path: str) -> None:
        try:
            os.close(open_file(path, root=root))
        except OSError:
            return

    before = os.dup(root)
    os.close(before)
    for path in ("sub/a.csv", "sub/none.csv", "none/a.csv", "pipe.csv", "../x"):
        attempt(path)
    after = os.dup(root)
    os.close(after)
    assert before == after
