"""What a user reads: a sentence, a small table, what it rests on, and the SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolkit_data_agent.plan import Plan
from toolkit_data_agent.tables import Table

MAX_CELL: Final = 60
MAX_COLUMNS: Final = 12
EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What `query_tables` answered."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool


def read_result(answered: Mapping[str, Any]) -> Result:
    """Read what `query_tables` answered."""
    return Result(
        columns=tuple(one["name"] for one in answered["columns"]),
        rows=tuple(tuple(row) for row in answered["rows"]),
        truncated=answered["truncated"],
    )


def write_answer(plan: Plan, result: Result, sql: str) -> str:
    """Write the answer to a question as Markdown."""
    notes = [*plan.choices, *_left_out(plan, result), *_unread(plan.unread)]
    parts = [
        _sentence(plan, result),
        "" if _is_one_figure(plan) else _rows_of(result),
        "\n".join(f"- {one}" for one in notes),
        f"{_basis(plan, result)}\n\n```sql\n{sql}\n```",
    ]
    return "\n\n".join(filter(None, parts))


def rows_read(plan: Plan, result: Result) -> int:
    """Return how many rows of the table the shown figures rest on."""
    if plan.measure is None:
        return len(result.rows)
    return sum(int(row[-1] or 0) for row in result.rows)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as a table; columns beyond `MAX_COLUMNS` are left out and counted."""
    shown = list(columns[:MAX_COLUMNS])
    lines = [f"| {' | '.join(map(cell, shown))} |", "|" + " --- |" * len(shown)]
    lines += [f"| {' | '.join(map(cell, row[:MAX_COLUMNS]))} |" for row in rows]
    more = len(columns) - len(shown)
    return "\n".join(lines) + (f"\n\n({more} more columns.)" if more else "")


def cell(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Write one value so that it cannot leave its cell."""
    if value is None:
        return "-"
    text = f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
    plain = " ".join(str(text).replace("|", "\\|").replace("`", "'").split())
    return plain if len(plain) <= MAX_CELL else plain[:MAX_CELL] + "…"


def list_tables(listed: Mapping[str, Any]) -> str:
    """Say which tables there are, and which files are none."""
    tables = listed["tables"]
    if not tables:
        text = (
            "You have no tables yet. Put a CSV, TSV, Parquet or JSON file into your "
            "data folder; each becomes a table that you can ask about."
        )
        return text + _skipped(listed)
    rows = [
        (one["name"], one["file"], one["format"], one["size_bytes"], one["modified"])
        for one in tables
    ]
    heading = f"You have {_count(len(tables), 'table')}:"
    columns = ("table", "file", "format", "bytes", "last changed")
    return f"{heading}\n\n{markdown_table(columns, rows)}{_skipped(listed)}"


def describe(table: Table) -> str:
    """Say what a table looks like, with its first rows."""
    columns = [(one.name, one.type) for one in table.columns]
    names = [one.name for one in table.columns]
    return (
        f"The table {table.name} ({table.file}) has {_count(table.row_count, 'row')} "
        f"and {_count(len(columns), 'column')}.\n\n"
        f"{markdown_table(('column', 'type'), columns)}\n\n"
        f"Its first rows:\n\n{markdown_table(names, table.sample)}"
    )


def profile(profiled: Mapping[str, Any]) -> str:
    """Say what the columns of a table hold."""
    rows = [
        (
            one["name"],
            one["null_count"],
            one["distinct_count"],
            one["min"],
            one["max"],
            one["mean"],
            ", ".join(cell(top["value"]) for top in one["top_values"][:3]),
        )
        for one in profiled["columns"]
    ]
    columns = ("column", "missing", "different", "min", "max", "mean", "most frequent")
    count = _count(profiled["row_count"], "row")
    return (
        f"The table {profiled['table']} has {count}; this is what its columns hold, "
        f"counted over all of them.\n\n{markdown_table(columns, rows)}"
    )


def examples(table: Table) -> list[str]:
    """Suggest questions that this table can answer."""
    found = [f"How many rows are in {table.name}?"]
    number = table.numbers[0].name if table.numbers else None
    text = table.texts[0].name if table.texts else None
    if number and text:
        found.append(f"Total {number} by {text}")
    if number and table.dates:
        found.append(f"Average {number} per month")
    if text:
        found.append(f"Most common {text}")
    return found[:EXAMPLES]


def _sentence(plan: Plan, result: Result) -> str:
    where = f" where {' and '.join(map(str, plan.filters))}" if plan.filters else ""
    place = f"{plan.table.name}{where}"
    if not result.rows:
        return f"No row of {place} is there to answer with."
    if plan.measure is None:
        order = _order(plan.sort.name, plan) if plan.sort else ""
        more = "; there are more" if result.truncated else ""
        return f"{_count(len(result.rows), 'row')} of {place}{order}{more}:"
    if plan.group is None:
        figure = cell(result.rows[0][0])
        return f"The {plan.measure} in {place} is **{figure}**."
    return _first_group(plan, result, f"The {plan.measure} in {place}")


def _first_group(plan: Plan, result: Result, subject: str) -> str:
    more = f"; the first {len(result.rows)} of more groups" if result.truncated else ""
    text = f"{subject}, for each {plan.group}{more}"
    if plan.group is None or plan.group.bucket is not None:
        return f"{text}:"
    key, figure, *_ = result.rows[0]
    word = "smallest" if plan.ascending else "largest"
    return f"{text}. The {word} is {cell(key)} with **{cell(figure)}**:"


def _order(column: str, plan: Plan) -> str:
    return f", the {'smallest' if plan.ascending else 'largest'} {column} first"


def _is_one_figure(plan: Plan) -> bool:
    return plan.measure is not None and plan.group is None


def _rows_of(result: Result) -> str:
    return markdown_table(result.columns, result.rows) if result.rows else ""


def _left_out(plan: Plan, result: Result) -> list[str]:
    """Say how many rows have nothing to compute with."""
    if plan.measure is None or plan.measure.column is None or not result.rows:
        return []
    missing = sum(int(row[-1]) - int(row[-2]) for row in result.rows)
    if not missing:
        return []
    return [f"Rows without {plan.measure.column.name}, which are left out: {missing}."]


def _unread(words: Sequence[str]) -> list[str]:
    if not words:
        return []
    listed = ", ".join(f"“{cell(word)}”" for word in words[:MAX_COLUMNS])
    more = len(words) - MAX_COLUMNS
    tail = f" and {more} more words" if more > 0 else ""
    return [f"I made nothing of {listed}{tail}, so check that this is what you meant."]


def _basis(plan: Plan, result: Result) -> str:
    total = _count(plan.table.row_count, "row")
    rows = rows_read(plan, result)
    return f"This rests on {rows} of {total} of {plan.table.name} ({plan.table.file}):"


def _skipped(listed: Mapping[str, Any]) -> str:
    lines = [f"- {cell(one['file'])}: {one['reason']}" for one in listed["skipped"]]
    text = "\n\nFiles left out:\n\n" + "\n".join(lines) if lines else ""
    return text + ("\n\nThe folder holds more than this." * bool(listed["truncated"]))


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
