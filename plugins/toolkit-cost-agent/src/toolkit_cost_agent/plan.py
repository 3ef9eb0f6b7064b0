"""The ranked plan of savings, from what the tools answered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

SURE: Final = "high"
BINDING: Final = "commitment_gap"
"""The one rule whose advice binds the user for a term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the tools answered for one plan; None where one said nothing.

    Attributes:
        subject: Whose costs: a provider, or all of them.
        report: Of `savings_report`.
        spend: Of `spend_breakdown` by service.
        movers: Of `top_movers`.
        commitments: Of `commitment_usage`.
        anomalies: Of `cost_anomalies`.
        untagged: Of `untagged_spend`.
        silent: Why a tool said nothing, by its name.
        notes: What was decided on the way.
    """

    subject: str
    report: Answered
    spend: Answered | None = None
    movers: Answered | None = None
    commitments: Answered | None = None
    anomalies: Answered | None = None
    untagged: Answered | None = None
    silent: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_plan(facts: Facts) -> str:
    """Write the plan as Markdown: what to do first, and why; then what it rests on."""
    report = facts.report
    findings = report["findings"]
    saving = [one for one in findings if one["estimated_monthly_saving"] is not None]
    others = [one for one in findings if one["estimated_monthly_saving"] is None]
    return join(
        f"# What to save on {facts.subject}",
        bullets(_totals(report)),
        bullets(facts.notes),
        basis(report["basis"]),
        section("Ranked plan", _ranked(saving, report)),
        section("Worth a look, without a figure", _ranked(others, None)),
        section("Where the money goes", _spend(facts.spend)),
        section("What moved", _movers(facts.movers)),
        section("Commitments", bullets(_commitments(facts.commitments))),
        section("Days that stand out", _anomalies(facts.anomalies)),
        section("Spend without tags", bullets(_untagged(facts.untagged))),
        section("What this data cannot answer", bullets(_limits(facts))),
        section("Next steps", _steps(facts, saving)),
    )


def _totals(report: Answered) -> Iterator[str]:
    for total in report["totals"]:
        currency = total["currency"]
        saving, usage = total["estimated_monthly_saving"], total["monthly_usage_cost"]
        share = f", {saving / usage:.1%} of it".replace("%", " %") if usage > 0 else ""
        sure = ", ".join(
            f"{money(amount, currency)} with {level} confidence"
            for level, amount in total["by_confidence"].items()
        )
        yield (
            f"**{money(saving, currency)} a month** could be saved of "
            f"{money(usage, currency)} usage a month{share}"
            f"{f': {sure}' if sure else ''}."
        )
    if len(report["totals"]) > 1:
        yield "Amounts in different currencies are not added up."


def _ranked(findings: Sequence[Answered], report: Answered | None) -> str:
    lines = [_finding(one) for one in findings]
    if report is None:
        return "\n".join(lines)
    window = report["window"]
    head = (
        f"Estimated from {window['first_day']} to {window['last_day']} "
        f"({window['days']} days); no charge is counted twice."
    )
    if not lines:
        return f"{head} No rule found anything to save in these charges."
    left = report["findings_left_out"]
    more = f"{left} smaller findings are left out." if left else ""
    return join(head, "\n".join(lines), more)


def _finding(one: Answered) -> str:
    amount = one["estimated_monthly_saving"]
    saves = "" if amount is None else f": **{money(amount, one['currency'])} a month**"
    place = [one[key] for key in ("service", "account", "region") if one[key]]
    rows = ", ".join(map(cell, one["row_examples"]))
    count = "1 row" if one["rows"] == 1 else f"{one['rows']:,} rows, such as"
    return "\n".join(
        [
            f"{one['rank']}. **{_line(one['title'])}**{saves}",
            f"   - Do: {_line(one['action'])}",
            f"   - Where: {cell(', '.join(place) or 'the whole export')}",
            f"   - Calculation: {_line(one['calculation'])}",
            f"   - Confidence: {one['confidence']}. {_line(one['confidence_reason'])}",
            f"   - Rests on: {count} {rows}",
        ]
    )


def _spend(spend: Answered | None) -> str:
    if spend is None:
        return ""
    totals = [f"Billed: {total_line(total)}" for total in spend["totals"]]
    left = spend["groups_left_out"]
    more = f"{left} more services are left out." if left else ""
    return join(bullets(totals), spend_table("service", spend["rows"]), more)


def _movers(movers: Answered | None) -> str:
    if movers is None:
        return ""
    before, now = movers["previous"], movers["current"]
    head = (
        f"{now['first_day']} to {now['last_day']}, against {before['first_day']} to "
        f"{before['last_day']}:"
    )
    return join(head, movers_table("service", movers["rows"]))


def _commitments(usage: Answered | None) -> Iterator[str]:
    if usage is None:
        return
    for one in usage["commitments"]:
        name = cell(one["name"] or one["commitment_id"])
        yield f"{name}: {use_of(one)}"
    for one in usage["coverage"]:
        covered = percent(one["coverage_percent"])
        yield f"{cell(one['service'])}: {covered} covered by commitments, at list cost"
    if not usage["commitments"]:
        yield "The export shows no commitment."


def _anomalies(anomalies: Answered | None) -> str:
    return "" if anomalies is None else anomalies_table(anomalies["anomalies"])


def _untagged(untagged: Answered | None) -> Iterator[str]:
    for total in untagged["totals"] if untagged else ():
        yield (
            f"{money(total['untagged'], total['currency'])} of "
            f"{money(total['taggable'], total['currency'])} that could carry tags "
            f"({percent(total['untagged_percent'])}), {total['untagged_rows']:,} rows"
        )


def _limits(facts: Facts) -> Iterator[str]:
    for one in facts.report["unsupported"]:
        yield f"`{one['rule']}`: {_line(one['reason'])}"
    for tool, reason in facts.silent.items():
        yield f"`{tool}` said nothing: {_line(reason)}"
    yield from map(_line, facts.report["notes"])
    yield "How busy machines, disks and databases are: a bill does not say."


def _steps(facts: Facts, saving: Sequence[Answered]) -> str:
    steps = list(_in_order(saving))
    kind = facts.report["basis"]["kind"]
    if kind == "shipped sample":
        steps.insert(0, _OWN_DATA)
    if facts.untagged and any(one["untagged"] > 0 for one in facts.untagged["totals"]):
        steps.append("Tag what carries no tag, so that every cost has an owner to ask.")
    last = facts.report["basis"]["last_day"]
    steps.append(f"Ask again with a newer export; this one ends on {last}.")
    return "\n".join(f"{number}. {one}" for number, one in enumerate(steps, 1))


_OWN_DATA: Final = (
    "Get figures of your own: export your bill in the FOCUS format, have it put into "
    "your billing folder, and ask again."
)


def _in_order(saving: Sequence[Answered]) -> Iterator[str]:
    """Say what to begin with: what is certain, then what to check, then contracts."""
    free = [one for one in saving if one["rule"] != BINDING]
    sure = [one for one in free if one["confidence"] == SURE]
    doubted = [one for one in free if one["confidence"] != SURE]
    bound = [one for one in saving if one["rule"] == BINDING]
    if sure:
        yield f"Begin with {_named(sure)}: the bill itself states them ({_sum(sure)})."
    if doubted:
        word = "Then check" if sure else "Check"
        yield (
            f"{word} {_named(doubted)} with those who run them ({_sum(doubted)}), as "
            "the bill only suggests them."
        )
    if bound:
        yield (
            f"Leave {_named(bound)} for last ({_sum(bound)}): a commitment binds you "
            "for its term, and the steps before shrink the load to commit to."
        )


def _named(findings: Iterable[Answered]) -> str:
    return ", ".join(f"no. {one['rank']}" for one in findings)


def _sum(findings: Sequence[Answered]) -> str:
    """Add up savings, each currency for itself."""
    totals: dict[str, float] = {}
    for one in findings:
        amount = one["estimated_monthly_saving"]
        totals[one["currency"]] = totals.get(one["currency"], 0.0) + amount
    return " and ".join(money(sum_, name) for name, sum_ in totals.items()) + " a month"


def _line(text: str) -> str:
    return " ".join(text.split())
