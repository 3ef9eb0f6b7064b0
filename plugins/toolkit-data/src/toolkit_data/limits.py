"""`Limits`: everything an operator can set. Standard library only, for the worker."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

PREFIX: Final = "TOOLKIT_DATA_"
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one call. Immutable; read anew for each call.

    Each field is set by the environment variable `TOOLKIT_DATA_` plus its name in
    upper case, as a positive number.

    Attributes:
        timeout: Seconds a call may take, worker start included.
        memory_bytes: What DuckDB may hold; the worker process gets some more.
        threads: Threads of one query.
        max_input_bytes: Size of all files one query or profile may load.
        max_rows: The most rows a query returns, whatever the caller asks.
        max_result_bytes: Size of the returned rows as JSON.
        max_cell_chars: Length of one returned value; longer ones are cut and flagged.
        max_tables: Tables listed; the rest are left out and the list flagged.
        max_columns: Columns described and profiled; the rest are left out and flagged.
    """

    timeout: float = 30.0
    memory_bytes: int = 1024 * MIB
    threads: int = 2
    max_input_bytes: int = 256 * MIB
    max_rows: int = 1000
    max_result_bytes: int = 256 * 1024
    max_cell_chars: int = 2000
    max_tables: int = 500
    max_columns: int = 200

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Limits":
        """Read the operator's settings; what is absent keeps its default.

        Args:
            environment: Usually `os.environ`.

        Raises:
            ValueError: A setting is no positive number.
        """
        found: dict[str, float] = {}
        for field in fields(cls):
            text = environment.get(PREFIX + field.name.upper())
            if text is not None:
                found[field.name] = _positive(field.name, text)
        return cls(**found)  # type: ignore[arg-type]  # _positive gives int where due


def _positive(name: str, text: str) -> float:
    kind = float if name == "timeout" else int
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        setting = PREFIX + name.upper()
        raise ValueError(
            f"The operator's setting {setting} is no positive number; "
            "the operator must correct or remove it."
        )
    return value
