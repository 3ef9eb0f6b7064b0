"""Reading files into the private engine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit_data.limits import Limits
from toolkit_data.worker.engine import Engine
from toolkit_data.worker.request import JobError, Source

CONTENTS = {
    "plain.csv": b"a,b\n1,x\n",
    "tabs.tsv": b"a\tb\n1\tx\n",
    "rows.json": b'[{"a": 1, "b": "x"}]',
    "lines.jsonl": b'{"a": 1, "b": "x"}\n',
    "glob*[1]?.csv": b"a,b\n1,x\n",
    "it's.csv": b"a,b\n1,x\n",
}
BROKEN = {
    "latin.csv": b"a\n\xff\n",
    "none.parquet": b"",
    "text.parquet": b"not a parquet file at all",
    "bad.json": b"{bad",
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    folder = os.open(tmp_path, os.O_RDONLY)
    with Engine(Limits(memory_bytes=256 << 20), folder=folder) as engine:
        yield engine
    os.close(folder)


def source(file: str) -> Source:
    kind = file.rpartition(".")[2]
    return Source(name="t", file=file, format=kind, size_bytes=1)


@pytest.mark.parametrize("file", CONTENTS)
@pytest.mark.parametrize("load", [True, False])
def test_every_format_is_read_whatever_the_file_is_called(
    tmp_path: Path, engine: Engine, file: str, *, load: bool
) -> None:
    """Wildcards and quotes in a file's name mean nothing."""
    (tmp_path / file).write_bytes(CONTENTS[file])
    (tmp_path / "globxx1x.csv").write_bytes(b"a,b\n9,other\n")
    engine.read(source(file), load=load)
    assert engine.rows("FROM t") == [(1, "x")]


@pytest.mark.parametrize("file", BROKEN)
def test_a_broken_file_is_named_as_the_user_knows_it(
    tmp_path: Path, engine: Engine, file: str
) -> None:
    """The error tells which file to correct, and no path of the host."""
    (tmp_path / file).write_bytes(BROKEN[file])
    with pytest.raises(JobError, match=f"^{file} cannot be read as") as caught:
        engine.read(source(file), load=True)
    assert "/proc" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_lines_that_do_not_fit_are_not_dropped_in_silence(
    tmp_path: Path, engine: Engine
) -> None:
    """A ragged file is an error or complete, never a part of itself."""
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n4,5,6\n")
    engine.read(source("ragged.csv"), load=True)
    assert len(engine.rows("FROM t")) == 3


def test_a_file_that_became_a_link_is_not_followed(
    tmp_path: Path, engine: Engine
) -> None:
    """Exchanging a listed file for a link gains nothing (S3)."""
    (tmp_path / "now.csv").symlink_to("/etc/passwd")
    with pytest.raises(JobError, match=r"now\.csv of table 't' cannot be opened"):
        engine.read(source("now.csv"), load=True)


def test_a_replaced_file_does_not_change_a_running_call(
    tmp_path: Path, engine: Engine
) -> None:
    """A call reads the file it opened, even if the name means another one by now."""
    (tmp_path / "a.csv").write_text("a\n1\n")
    engine.read(source("a.csv"), load=False)
    (tmp_path / "b.csv").write_text("a\n2\n")
    (tmp_path / "b.csv").replace(tmp_path / "a.csv")
    assert engine.rows("FROM t") == [(1,)]


def test_too_much_memory_is_an_error_of_its_own(engine: Engine) -> None:
    """Nothing is spilled to disk: the limit is the limit."""
    with pytest.raises(JobError) as caught:
        engine.rows("SELECT count(DISTINCT range) FROM range(100000000)")
    assert caught.value.kind == "memory"


def test_an_interrupt_ends_a_running_statement(engine: Engine) -> None:
    """The timer reaches a query in the middle of its work (B30)."""
    started = time.monotonic()
    with pytest.raises(JobError) as caught, engine.interrupting(0.2):
        engine.rows("SELECT count(*) FROM range(1000000000000)")
    assert caught.value.kind == "time"
    assert time.monotonic() - started < 5


def test_an_interrupt_between_statements_is_not_lost(engine: Engine) -> None:
    """A statement that starts after the time is up ends at once."""
    with engine.interrupting(0.0):
        for _ in range(3):
            with pytest.raises(JobError):
                engine.rows("SELECT count(*) FROM range(1000000000000)")


def test_closing_forgets_the_descriptors(tmp_path: Path, engine: Engine) -> None:
    """A closed engine holds no file open (B41)."""
    (tmp_path / "a.csv").write_text("a\n1\n")
    before = os.dup(0)
    engine.read(source("a.csv"), load=True)
    engine.close()
    os.close(before)
    after = os.dup(0)
    os.close(after)
    assert after == before
