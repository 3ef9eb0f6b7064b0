"""`toolkit doctor`: everything discovery found, and what has to be mended."""

from typing import Any

from toolkit.cli.installed import Elsewhere, advice, all_installed, unread
from toolkit.cli.output import Output
from toolkit.cli.session import Session
from toolkit.cli.tables import show_report
from toolkit.cli.view import View, state_of
from toolkit.naming import Collision


def diagnose(session: Session, *, as_json: bool, show_all: bool) -> int:
    """Print the whole report; return the exit status."""
    _, report = session.discover()
    view = View(report, show_all, unread(all_installed()))
    if as_json:
        session.output.json(report_entry(view))
    elif session.output.is_terminal:
        show_report(session.output, view)
    else:
        _print_records(session.output, view)
    return 1 if report.faults() or report.status == "empty" else 0


# --- for programs --------------------------------------------------------------------


def report_entry(view: View) -> dict[str, Any]:
    """Return what ``doctor --json`` says."""
    report = view.report
    return {
        "status": report.status,
        "summary": report.summary(),
        "seconds": round(report.seconds, 6),
        "accepted": [one.as_dict() for one in report.accepted],
        "rejected": [one.as_dict() for one in view.dropped],
        "hidden": dict(sorted(view.hidden.items())),
        "failed": [
            {**one.as_dict(), "traceback": one.traceback} for one in report.failed
        ],
        "skipped": [one.as_dict() for one in report.skipped],
        "collisions": [_collision_entry(one) for one in report.collisions],
        "unread": [_unread_entry(one) for one in view.unread],
        "notes": list(report.notes),
        "faults": [
            {"code": one.code, "origin": str(one.origin), "message": str(one)}
            for one in report.faults()
        ],
    }


def _collision_entry(collision: Collision) -> dict[str, Any]:
    winner = collision.settlement.winner
    return {
        "name": collision.name,
        "origins": [str(origin) for origin in collision.origins],
        "qualified_names": list(collision.qualified_names),
        "settled": collision.settlement.decided,
        "winner": None if winner is None else str(winner),
        "remedy": collision.remedy,
    }


def _unread_entry(point: Elsewhere) -> dict[str, str]:
    return {
        "distribution": point.distribution,
        "version": point.version,
        "group": point.group,
        "meant": point.meant,
        "name": point.name,
        "reference": point.reference,
        "remedy": advice(point),
    }


def _print_records(output: Output, view: View) -> None:
    report = view.report
    shown = (*report.accepted, *view.dropped, *report.failed, *report.skipped)
    for one in shown:
        reason = str(one.reason or one.cause or "-")
        name = one.name or one.origin.entry_point or "-"
        detail = one.detail or "-"
        output.record(one.outcome, one.kind, name, one.origin, reason, detail)
    for collision in report.collisions:
        origins = " and ".join(map(str, collision.origins))
        state = state_of(collision)
        output.record(
            "collision", "-", collision.name, origins, state, collision.remedy
        )
    for point in view.unread:
        text = f"{point} {advice(point)}"
        output.record("unread", "-", point.name, point.publisher, "unknown_group", text)
    for note in report.notes:
        output.record("note", "-", "-", "-", "-", note)
    for reason, count in sorted(view.hidden.items()):
        output.record("hidden", "-", "-", "-", reason, f"{count}; shown with --all")
    faults = f"{len(report.faults())} to mend"
    output.record("summary", "-", "-", "-", report.status, report.summary(), faults)
