"""The records of an environment: read when a discovery begins, written at its end."""

import threading
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

import toolkit
from toolkit.discovery import cache
from toolkit.discovery.index import Publisher, is_cache_on
from toolkit.discovery.records import stamp, still_holds

_MAKERS: Final = (
    "compiler.py",
    "contract.py",
    "discovery/judging.py",
    "discovery/records.py",
    "docstring.py",
    "facts.py",
    "schema/cores.py",
    "schema/plain.py",
    "schema/portable.py",
    "signature.py",
)
"""The modules of ours that a definition depends on; they change in a checkout."""


class Memory:
    """The records of this environment, for one discovery. Safe between threads.

    With the cache switched off it remembers nothing.
    """

    def __init__(self, folders: Sequence[str], *, is_on: bool = True) -> None:
        """Read what is kept for the environment that has these folders as its path."""
        self._is_on = is_on and is_cache_on()
        self._lock = threading.Lock()
        self._records: dict[str, Any] = {}
        self._is_new = False
        self._made_by = made_by() if self._is_on else []
        kept = cache.read_definitions(folders) if self._is_on else {}
        records = kept.get("records")
        if isinstance(records, dict) and kept.get("made_by") == self._made_by:
            self._records = records

    def find(self, publisher: Publisher) -> Mapping[str, Any] | None:
        """Return the record of a distribution, if it still holds."""
        record = self._records.get(publisher.name)
        if not isinstance(record, dict) or not still_holds(record, publisher):
            return None
        return record

    def keep(self, publisher: Publisher, record: Mapping[str, Any]) -> None:
        """Take a record, instead of the one there was."""
        with self._lock:
            self._records[publisher.name] = record
            self._is_new = True

    def forget(self, name: str) -> None:
        """Drop what turned out not to be right, here and in the file."""
        with self._lock:
            is_known = self._records.pop(name, None) is not None
            self._is_new |= is_known
        if is_known:
            self.write()

    def write(self) -> None:
        """Write the file, if anything is new; what hinders that is no fault."""
        with self._lock:
            if self._is_on and self._is_new:
                kept = {"made_by": self._made_by, "records": self._records}
                stamps = [
                    time
                    for record in self._records.values()
                    for _, time, _ in record["stamps"]
                ]
                self._is_new = not cache.keep_definitions(kept, stamps)


def made_by() -> list[Any]:
    """Return what a definition depends on beside the plugin's own files."""
    ours = Path(toolkit.__file__).parent
    places = [str(ours / name) for name in _MAKERS]
    for name in ("pydantic", "pydantic_core"):  # found, not imported: that takes long
        spec = PathFinder.find_spec(name)
        places.append("" if spec is None else spec.origin or "")
    return [toolkit.__version__, *([place, *stamp(place)] for place in places)]
