"""One private, in-memory DuckDB that reads a user's files and is then shut in."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import duckdb

from toolkit_data.beneath import open_file
from toolkit_data.limits import Limits
from toolkit_data.worker.request import JobError, Source

READERS: Final = {
    # skip=0: without it the sniffer drops lines that do not fit, without a word.
    # sample_size=-1: column types that hold for the whole file.
    "csv": "read_csv({}, sample_size=-1, skip=0, compression='none')",
    "tsv": "read_csv({}, sample_size=-1, skip=0, compression='none', delim='\t')",
    "json": "read_json({}, sample_size=-1, compression='none')",
    "jsonl": "read_json({}, sample_size=-1, compression='none', "
    "format='newline_delimited')",
    "parquet": "read_parquet({})",
}
LOCKS: Final = (
    "SET secret_directory = ''",  # these three would show paths of the host
    "SET home_directory = ''",
    "SET extension_directories = []",
    "SET allow_extension_repositories = 'forbidden'",
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
    "BEGIN TRANSACTION READ ONLY",
)
MAX_ERROR_CHARS: Final = 600
_DESCRIPTOR_PATH: Final = re.compile(r"/(?:proc/self|dev)/fd/\d+")
_INTERRUPT_AGAIN_SECONDS: Final = 0.05


class Engine:
    """A database of one call. Lives in memory only; close it at the end.

    First `read` the sources it may use, then `lock` it, then run what the user wrote.
    Used by one thread, apart from the timer that interrupts it.
    """

    def __init__(self, limits: Limits, *, folder: int) -> None:
        self._folder = folder
        self._descriptors: list[int] = []
        self._files: dict[str, str] = {}
        self.connection = duckdb.connect(":memory:", config=_configuration(limits))
        self.connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all data and close the files."""
        self.connection.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def read(self, source: Source, *, load: bool) -> None:
        """Make a source known under its name.

        Args:
            source: The file, which is opened without following links.
            load: Copy it into memory; otherwise it is read anew by each statement,
                which ends with `lock`.

        Raises:
            JobError: The file is gone, or is not what its name says, or does not fit.
        """
        kind = "TABLE" if load else "VIEW"
        reader = READERS[source.format].format(quote_text(self._open(source)))
        broken = f"{source.file} cannot be read as {source.format}; correct the file. "
        with self.explaining("file", broken):
            self.connection.execute(
                f"CREATE {kind} {quote_name(source.name)} AS SELECT * FROM {reader}"  # noqa: S608 - both are quoted
            )

    def lock(self) -> None:
        """Take from the connection every way out. There is no way back."""
        for statement in LOCKS:
            self.connection.execute(statement)

    def rows(self, sql: str, kind: str = "sql") -> list[tuple[Any, ...]]:
        """Run a statement of ours whose result is known to be small.

        Raises:
            JobError: It failed; `kind` is the error's.
        """
        with self.explaining(kind):
            return self.connection.execute(sql).fetchall()

    @contextmanager
    def explaining(self, kind: str, remedy: str = "") -> Iterator[None]:
        """Turn the engine's errors into ours, without any path of the host.

        Args:
            kind: The kind of error, unless time or memory ran out.
            remedy: What to say first; then only the engine's first words follow.

        Raises:
            JobError: The engine raised something.
        """
        try:
            yield
        except duckdb.InterruptException:
            raise JobError("time", "") from None  # the parent knows the limits
        except (duckdb.OutOfMemoryException, MemoryError):
            raise JobError("memory", "") from None
        except duckdb.Error as error:
            text = self._clean(str(error))
            if remedy:
                text = remedy + text.split("\n\n", maxsplit=1)[0]
            raise JobError(kind, text) from None

    @contextmanager
    def interrupting(self, seconds: float) -> Iterator[None]:
        """Interrupt whatever runs after these seconds, again and again until it ends.

        Again, because an interrupt between two statements would be lost.
        """
        done = threading.Event()

        def watch() -> None:
            delay = seconds
            while not done.wait(delay):
                self.connection.interrupt()
                delay = _INTERRUPT_AGAIN_SECONDS

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _open(self, source: Source) -> str:
        try:
            descriptor = open_file(source.file, root=self._folder)
        except OSError:
            raise JobError(
                "file",
                f"The file {source.file} of table {source.name!r} cannot be opened; "
                "list the tables again, or check its permissions.",
            ) from None
        self._descriptors.append(descriptor)
        path = f"{_descriptor_folder()}/{descriptor}"
        self._files[path] = source.file
        return path

    def _clean(self, text: str) -> str:
        """Name files as the user knows them, and keep only the telling first part."""
        text = _DESCRIPTOR_PATH.sub(
            lambda match: self._files.get(match[0], "the file"), text
        )
        text = text.strip()
        return text if len(text) <= MAX_ERROR_CHARS else text[:MAX_ERROR_CHARS] + "…"


def quote_name(name: str) -> str:
    """Return the name as an SQL identifier.

    >>> quote_name('a "b')
    '"a ""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Return the text as an SQL literal.

    >>> quote_text("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _configuration(limits: Limits) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": limits.threads,
        "async_threads": 1,
        "memory_limit": f"{limits.memory_bytes}B",
        "temp_directory": "",  # nothing is ever spilled to disk
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "enable_external_file_cache": False,
        "python_enable_replacements": False,  # `FROM x` must not find Python's x
        "python_scan_all_frames": False,
    }


def _descriptor_folder() -> str:
    return "/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"
