"""The report as tables, for people at a terminal."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from rich.padding import Padding

from toolkit.cli.installed import Elsewhere, advice
from toolkit.cli.output import Output, Prose, one_line, plain_table
from toolkit.cli.view import View, counted, heading, label_of, state_of
from toolkit.contract import RejectionReason
from toolkit.discovery.report import Finding
from toolkit.naming import Collision

_SUBJECT: Final = re.compile(r"^(class \S+|\S+ instance|'[^']+') ")
"""How a detail begins that says of an object what it could say of others too."""

MAX_CELL: Final = 160
"""Characters of a detail on a terminal; `why`, the plain form and --json have all."""


def show_report(output: Output, view: View) -> None:
    """Print the report as tables; for a terminal."""
    report = view.report
    _show_accepted(output, report.accepted)
    _show_dropped(output, view)
    _show_failed(output, report.failed)
    _show_skipped(output, report.skipped)
    _show_collisions(output, report.collisions)
    _show_unread(output, view.unread)
    _show_notes(output, report.notes)
    _title(output, f"{report.summary()}, in {report.seconds:.2f} s")
    faults = len(report.faults())
    if report.status == "empty":
        text = "No tool was accepted. Publish one in the entry-point group "
        output.say(f"{text}toolkit.tools, or name a module with --module.")
    if faults:
        text = "to mend; `toolkit why NAME` says more about any name above."
        output.say(f"{counted(faults, 'fault')} {text}")


def _title(output: Output, text: str, note: str = "") -> None:
    output.say()
    output.say(text, style="bold")
    if note:
        output.say(note, style="dim")


def _by_owner(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    def owner(one: Finding) -> str:
        return heading(one.origin)

    ordered = sorted(findings, key=owner)
    return [(name, list(members)) for name, members in groupby(ordered, key=owner)]


def _show_accepted(output: Output, accepted: Sequence[Finding]) -> None:
    if not accepted:
        return
    _title(output, f"Accepted: {len(accepted)}")
    for owner, members in _by_owner(accepted):
        output.say(owner, style="green")
        table = plain_table("", "")
        for one in members:
            label = one.name if one.kind == "tool" else f"{one.name} ({one.kind})"
            table.add_row(Prose(label), Prose(one.origin.reference))
        output.show(Padding(table, (0, 0, 0, 2)))


def _show_dropped(output: Output, view: View) -> None:
    if not view.report.rejected:
        return
    hidden = sum(view.hidden.values())
    note = f"and {hidden} private or re-exported names (--all shows them)"
    _title(output, f"Dropped: {len(view.dropped)}", note if hidden else "")
    for owner, members in _by_owner(view.dropped):
        members.sort(key=lambda one: str(one.reason))
        for reason, group in groupby(members, key=lambda one: one.reason):
            _show_reason(output, owner, reason, list(group))


def _show_reason(
    output: Output, owner: str, reason: RejectionReason | None, group: list[Finding]
) -> None:
    remedy = "" if reason is None else reason.remedy
    output.say(f"{reason} ({len(group)}), {owner}", style="yellow")
    table = plain_table("", "")
    for text, members in _alike(group, remedy).items():
        if len(members) > 1:
            output.say(f"{', '.join(map(label_of, members))}:", indent=2)
            output.say(f"each {text}", indent=4)
        for one in members if len(members) == 1 else ():
            detail = one_line(one.detail.removesuffix(remedy))
            table.add_row(Prose(label_of(one)), Prose(shorten(detail)))
    if table.row_count:
        output.show(Padding(table, (0, 0, 0, 2)))
    output.say(f"To do: {remedy}", indent=2, style="dim")


def _alike(group: list[Finding], remedy: str) -> dict[str, list[Finding]]:
    """Put together what is said of several in the same words."""
    found: dict[str, list[Finding]] = {}
    for one in group:
        detail = one_line(one.detail.removesuffix(remedy))
        said = _SUBJECT.sub("", detail) if one.name else detail
        found.setdefault(said, []).append(one)
    return found


def _show_failed(output: Output, failed: Sequence[Finding]) -> None:
    if not failed:
        return
    note = "`toolkit why ENTRY_POINT` shows the traceback"
    _title(output, f"Failed: {len(failed)}", note)
    for owner, members in _by_owner(failed):
        output.say(owner, style="red")
        table = plain_table("", "")
        for one in members:
            detail = shorten(one_line(one.detail))
            table.add_row(Prose(label_of(one)), Prose(detail))
        output.show(Padding(table, (0, 0, 0, 2)))


def _show_skipped(output: Output, skipped: Sequence[Finding]) -> None:
    if not skipped:
        return
    _title(output, f"Skipped: {len(skipped)}", "none of their code has run")
    for one in skipped:
        output.say(one.detail, indent=2)


def _show_collisions(output: Output, collisions: Sequence[Collision]) -> None:
    if not collisions:
        return
    _title(output, f"Names claimed by several: {len(collisions)}")
    for one in collisions:
        style = "" if one.settlement.decided else "red"
        output.say(f"{one.name}: {state_of(one)}", style=style)
        for name, origin in zip(one.qualified_names, one.origins, strict=True):
            output.say(f"{name}  {origin.reference}", indent=2)
        if not one.settlement.decided:
            output.say(one.remedy, indent=2, style="dim")


def _show_unread(output: Output, points: Sequence[Elsewhere]) -> None:
    if not points:
        return
    _title(output, f"In groups that nobody reads: {len(points)}")
    for one in points:
        output.say(str(one), indent=2, style="yellow")
        output.say(f"To do: {advice(one)}", indent=4, style="dim")


def _show_notes(output: Output, notes: Sequence[str]) -> None:
    if not notes:
        return
    _title(output, f"Settings that match nothing: {len(notes)}")
    for one in notes:
        output.say(one, indent=2)


def shorten(text: str) -> str:
    """Cut a detail that would fill the screen."""
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"
