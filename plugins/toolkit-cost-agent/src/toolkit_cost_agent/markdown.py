"""Figures as a user reads them: amounts, tables, what they rest on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from toolkit_cost_agent.asking import Answered

MAX_CELL: Final = 80
MAX_FILES: Final = 5


def money(amount: float, currency: str) -> str:
    """Write an amount: two places, or four where it is below one."""
    places = 2 if abs(amount) >= 1 or not amount else 4
    return f"{amount:,.{places}f} {cell(currency)}"


def percent(value: float | None) -> str:
    """Write a share; a dash where it cannot be told."""
    return "-" if value is None else f"{value:.1f} %"


def cell(value: object) -> str:
    """Write one value so that it cannot leave its line or its cell."""
    if value is None:
        return "-"
    plain = " ".join(str(value).replace("|", "\\|").replace("`", "'").split())
    return plain if len(plain) <= MAX_CELL else plain[:MAX_CELL] + "…"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write rows of ready texts as a table."""
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {line}" for line in lines)


def section(title: str, body: str) -> str:
    """Write a part of an answer; nothing when it has no body."""
    return f"## {title}\n\n{body}" if body else ""


def join(*parts: str) -> str:
    """Put the parts that are there below each other."""
    return "\n\n".join(filter(None, parts))


def basis(said: Answered) -> str:
    """Say which data an answer rests on, and what to know before trusting it."""
    files = said["files"]
    more = f" and {len(files) - MAX_FILES} more files" * (len(files) > MAX_FILES)
    names = ", ".join(map(cell, files[:MAX_FILES])) + more
    kind = _KINDS.get(said["kind"], "the export")
    providers = ", ".join(map(cell, said["providers"]))
    line = (
        f"**Data:** {kind} ({names}): {said['rows']:,} charge rows of {providers}, "
        f"{said['first_day']} to {said['last_day']}, "
        f"in {', '.join(said['currencies'])}."
    )
    return join(line, bullets(map(_line, said["notes"])))


_KINDS: Final[Mapping[str, str]] = {
    "user export": "your own billing export",
    "shared export": "the billing export that your operator shares with all users",
    "shipped sample": (
        "the **invented sample** that ships with the tools, not your bill"
    ),
}


def total_line(total: Answered) -> str:
    """Say everything in one currency, by category of charge."""
    parts = ", ".join(
        f"{name} {amount:,.2f}"
        for name, amount in sorted(total["by_charge_category"].items())
    )
    return f"**{money(total['cost'], total['currency'])}** ({parts})"


def spend_table(name: str, rows: Iterable[Answered]) -> str:
    """Write the rows of a breakdown."""
    written = [
        (
            _labelled(row),
            money(row["cost"], row["currency"]),
            percent(row["share_percent"]),
            f"{row['rows']:,}",
        )
        for row in rows
    ]
    return table((name, "cost", "share", "rows"), written) if written else ""


def movers_table(name: str, rows: Iterable[Answered]) -> str:
    """Write how groups changed."""
    written = [
        (
            _labelled(row),
            money(row["previous"], row["currency"]),
            money(row["current"], row["currency"]),
            "+" * (row["change"] > 0) + money(row["change"], row["currency"]),
            percent(row["change_percent"]),
            row["status"] if row["change"] else "same",
        )
        for row in rows
    ]
    columns = (name, "before", "now", "change", "in percent", "")
    return table(columns, written) if written else ""


def use_of(commitment: Answered) -> str:
    """Say how far a commitment is used, where the export can tell."""
    if commitment["utilization_percent"] is None:
        return "how far it is used cannot be told from this export"
    unused = money(commitment["unused"], commitment["currency"])
    return f"used {percent(commitment['utilization_percent'])}, {unused} unused"


def anomalies_table(rows: Iterable[Answered]) -> str:
    """Write the days that stand out."""
    written = [
        (
            row["day"],
            cell(f"{row['provider']} {row['service']}"),
            money(row["cost"], row["currency"]),
            money(row["expected"], row["currency"]),
            f"{row['rows']:,}",
        )
        for row in rows
    ]
    return (
        table(("day", "service", "cost", "usual", "rows"), written) if written else ""
    )


def _labelled(row: Mapping[str, Any]) -> str:
    if not row["label"]:
        return cell(row["value"])
    return cell(f"{row['value']} ({row['label']})")


def _line(text: str) -> str:
    return " ".join(text.split())
