"""Answers to single questions, from what one tool answered."""

from typing import Final

from toolkit_cost_agent.asking import Answered
from toolkit_cost_agent.markdown import (
    anomalies_table,
    basis,
    bullets,
    cell,
    join,
    money,
    movers_table,
    percent,
    section,
    spend_table,
    total_line,
    use_of,
)
from toolkit_cost_agent.question import Query

EXAMPLES: Final = (
    "Help me optimize my AWS costs",
    "What did I spend on S3 in July?",
    "Which services got dearer?",
    "Show spend without tags",
    "Were there anomalies?",
)


def write_spend(spend: Answered, query: Query, name: str) -> str:
    """Say what was spent, by some dimension."""
    totals = [f"{total_line(one)}, {one['rows']:,} rows" for one in spend["totals"]]
    left = spend["groups_left_out"]
    return join(
        f"# {query.cost.capitalize()} cost, {query.period}",
        bullets(totals),
        spend_table(name, spend["rows"]),
        f"{left} more are left out." if left else "",
        basis(spend["basis"]),
    )


def write_services(spend: Answered, query: Query) -> str:
    """Say what was spent on the services whose rows are given."""
    lines = [
        f"**{cell(row['value'])}** cost **{money(row['cost'], row['currency'])}** "
        f"({query.cost}) in {query.period}: {row['rows']:,} rows, "
        f"{percent(row['share_percent'])} of all {cell(row['currency'])} charges."
        for row in spend["rows"]
    ]
    return join("\n\n".join(lines), basis(spend["basis"]))


def write_movers(movers: Answered, query: Query, name: str) -> str:
    """Say what got dearer or cheaper."""
    before, now = movers["previous"], movers["current"]
    wanted = [
        row
        for row in movers["rows"]
        if query.direction is None or (row["change"] > 0) == (query.direction == "up")
    ]
    word = {"up": "dearer", "down": "cheaper", None: "dearer or cheaper"}
    found = movers_table(name, wanted)
    return join(
        f"# What got {word[query.direction]}",
        (
            f"{now['first_day']} to {now['last_day']} against {before['first_day']} to "
            f"{before['last_day']}, {query.cost} cost:"
        ),
        found or f"Nothing got {word[query.direction]}.",
        movers_table("all together", movers["totals"]),
        bullets(movers["notes"]),
        basis(movers["basis"]),
    )


def write_untagged(untagged: Answered) -> str:
    """Say what carries no tag."""
    totals = [
        f"**{money(one['untagged'], one['currency'])}** of "
        f"{money(one['taggable'], one['currency'])} that could carry tags has none "
        f"({percent(one['untagged_percent'])}, {one['untagged_rows']:,} rows); "
        f"{money(one['without_resource'], one['currency'])} of it is of no resource."
        for one in untagged["totals"]
    ]
    keys = [
        f"`{cell(one['key'])}` is missing on {money(one['untagged'], one['currency'])} "
        f"({percent(one['untagged_percent'])})"
        + (f"; also spelled {', '.join(map(cell, near))}" if near else "")
        for one in untagged["keys"]
        for near in [one["near_misses"]]
    ]
    return join(
        "# Spend without tags",
        bullets(totals),
        spend_table("service", untagged["rows"]),
        section("By tag key", bullets(keys)),
        basis(untagged["basis"]),
    )


def write_anomalies(anomalies: Answered) -> str:
    """Say which days stand out."""
    found = anomalies_table(anomalies["anomalies"])
    unjudged = [
        f"{cell(one['service'])} was not judged: {one['reason']}"
        for one in anomalies["not_judged"][:10]
    ]
    left = anomalies["anomalies_left_out"]
    return join(
        "# Days that cost far more than usual",
        found or "No day of a service with enough history stands out.",
        f"{left} more are left out." if left else "",
        f"Method: {anomalies['method']}",
        bullets([*anomalies["notes"], *unjudged]),
        basis(anomalies["basis"]),
    )


def write_commitments(usage: Answered) -> str:
    """Say how far commitments are used, and what they cover."""
    lines = [
        f"**{cell(one['name'] or one['commitment_id'])}** ({cell(one['type'])}): "
        f"{use_of(one)}, {one['rows']:,} rows"
        for one in usage["commitments"]
    ]
    covered = [
        f"{cell(one['provider'])} {cell(one['service'])}: "
        f"{percent(one['coverage_percent'])} covered, "
        f"{money(one['on_demand_list_cost'], one['currency'])} on demand (list cost)"
        for one in usage["coverage"]
    ]
    return join(
        "# Commitments",
        bullets(lines) or "The export shows no reservation and no savings plan.",
        section("Coverage", bullets(covered)),
        bullets(usage["notes"]),
        basis(usage["basis"]),
    )


def write_overview(overview: Answered) -> str:
    """Say what the export holds."""
    missing = ", ".join(overview["columns_missing"])
    return join(
        "# What your billing data holds",
        bullets(total_line(one) for one in overview["billed"]),
        spend_table("provider", overview["billed_by_provider"]),
        f"FOCUS columns that it lacks: {missing}." if missing else "",
        basis(overview["basis"]),
    )


def write_help(overview: Answered) -> str:
    """Say what can be asked, when a message asks for nothing of it."""
    return join(
        "I answer questions about cloud costs, and found none in your message. Ask, "
        "for example:",
        bullets(EXAMPLES),
        write_overview(overview),
    )
