"""`toolkit why`: what was found under a name, what happened to it, what to change."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from toolkit.catalog import ToolCatalog
from toolkit.cli.installed import advice, all_installed, misspelt, repair
from toolkit.cli.listing import collision_of
from toolkit.cli.matching import group_of, keys_of, known_names
from toolkit.cli.missing import explain_missing
from toolkit.cli.output import Output, listed
from toolkit.cli.places import place_notes
from toolkit.cli.session import Session
from toolkit.cli.view import (
    counted,
    heading,
    label_of,
    settings_for,
)
from toolkit.contract import RejectionReason
from toolkit.discovery.report import (
    NOISE,
    Cause,
    DiscoveryReport,
    Finding,
    Outcome,
)
from toolkit.discovery.trust import Lock
from toolkit.errors import ConfigurationError
from toolkit.naming import Collision
from toolkit.policy import AccessPolicy
from toolkit.settings import Settings

MAX_TRACEBACKS = 3
"""Failures of one package shown with their tracebacks; more would hide the rest."""

_BESIDE = (*NOISE, RejectionReason.SAME_OBJECT)
"""Rejections that say nothing about an object that is accepted elsewhere."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All there is to know. Immutable; lives as long as one explanation."""

    settings: Settings
    catalog: ToolCatalog
    report: DiscoveryReport


@dataclass(slots=True)
class Explanation:
    """The answer while it is written: lines with their indents, and the verdict."""

    healthy: bool = True
    lines: list[tuple[int, str]] = field(default_factory=list)

    def add(self, text: str, indent: int = 2) -> None:
        """Add a line."""
        self.lines.append((indent, text))

    def fault(self, text: str, remedy: str, *lines: str) -> None:
        """Add what is wrong and what to do about it."""
        self.healthy = False
        self.add(text)
        self.add(f"To do: {remedy}")
        for line in lines:
            self.add(line, indent=4)


def explain(session: Session, query: str) -> int:
    """Print what became of a name or package; return 0 when it is found and well.

    Raises:
        ConfigurationError: The query is empty.
    """
    if not query.strip():
        remedy = "give the name of a tool, an entry point, a module or a distribution"
        raise ConfigurationError("NAME_OR_PACKAGE", query, remedy)
    catalog, report = session.discover()
    scene = Scene(session.settings, catalog, report)
    answer = _explain_found(scene, query)
    if answer is None:
        known, unread = known_names(scene.report), [*_unread(scene, query)]
        lines = explain_missing(query, scene.settings, known, unread)
        answer = Explanation(healthy=False, lines=lines)
    for text, remedy in place_notes(query):
        answer.fault(text, remedy)
    _print(session.output, answer)
    return 0 if answer.healthy else 1


def _unread(scene: Scene, query: str) -> Iterator[str]:
    """Say which distributions could not be read, and may publish what is asked for."""
    shut = [*scene.report.failed, *scene.report.skipped]
    owners = dict.fromkeys(one.origin.owner for one in shut)
    if not owners:
        return
    lock = _lock_of(scene.settings)
    for owner in owners:
        locked = lock.get(owner)
        if locked is not None and query in locked.tools:
            yield f"{owner} published it when it was locked, and is out now."
    yield "It may be published by what could not be read, or was left alone:"
    for owner in owners:
        causes = [
            str(one.cause or one.outcome) for one in shut if one.origin.owner == owner
        ]
        yield f"  {owner}: {', '.join(dict.fromkeys(causes))}"
    yield f"To do: Ask `toolkit why {next(iter(owners))}`, if that is the one; else:"


def _lock_of(settings: Settings) -> Lock:
    """Return the lock that there is, for what it knows; an empty one otherwise."""
    try:
        return Lock.read(settings.lock_file)
    except ConfigurationError:  # discovery has said so, where it matters
        return Lock({})


def _print(output: Output, answer: Explanation) -> None:
    for indent, text in answer.lines:
        is_heading = indent == 0
        output.say(text, indent=indent, style="bold" if is_heading else "")


def _explain_found(scene: Scene, query: str) -> Explanation | None:
    answer = Explanation()
    singles = [one for one in scene.report.findings if query.casefold() in keys_of(one)]
    meant = [one for one in singles if one.reason not in _BESIDE] or singles
    collision = collision_of(query, scene.report.collisions)
    if collision is not None:
        _explain_collision(answer, collision)
    for one in meant:
        _explain_one(answer, scene, one)
        _explain_claims(answer, scene, one, told=collision)
    group = group_of(scene.report, query)
    if any(one not in singles for one in group):
        _explain_group(answer, scene, query, group)
        for point in misspelt(all_installed(), query):
            text = f"{point.name} is in the group {point.group!r}, which nobody reads."
            answer.fault(text, advice(point))
    return answer if answer.lines else None


# --- one finding ---------------------------------------------------------------------


def _explain_one(answer: Explanation, scene: Scene, one: Finding) -> None:
    answer.add(f"{label_of(one)}: {_outcome(one)}", indent=0)
    answer.add(f"From {one.origin}.")
    match one.outcome:
        case Outcome.ACCEPTED:
            _explain_accepted(answer, scene, one)
        case Outcome.REJECTED:
            _explain_rejected(answer, one)
        case Outcome.FAILED:
            _explain_failure(answer, one)
        case Outcome.SKIPPED:
            answer.fault("None of its code has run.", f"{one.detail}.")


def _outcome(one: Finding) -> str:
    if one.outcome is Outcome.REJECTED:
        return f"dropped [{one.reason}]"
    if one.outcome is Outcome.FAILED:
        is_plain = one.cause in (None, Cause.IMPORT_FAILED)
        return "failed to load" if is_plain else f"failed to load [{one.cause}]"
    return str(one.outcome)


def _explain_accepted(answer: Explanation, scene: Scene, one: Finding) -> None:
    found = scene.catalog.view.find(one.qualified_name)
    if found is None:  # an agent or a module of hooks: no user calls it as a tool
        answer.add(f"It is in use as {one.kind}.")
        return
    answer.add(f"Call it {one.name}, or always {one.qualified_name}.")
    scopes = found.definition.required_scopes
    if scopes:
        answer.add(f"A user sees it with the scope {listed(sorted(scopes))}.")
        for role in sorted(_roles_with(scene.settings, scopes)):
            answer.add(f"The role {role} brings that.")
    else:
        answer.add("Every user sees it: it requires no scope.")
    refusal = AccessPolicy.from_settings(scene.settings).refusal(scopes, found)
    if refusal:
        answer.fault(f"No user gets it: {refusal}.", "Change that setting.")


def _roles_with(settings: Settings, scopes: Iterable[str]) -> list[str]:
    return [
        role for role, brought in settings.role_scopes.items() if brought >= {*scopes}
    ]


def _explain_rejected(answer: Explanation, one: Finding) -> None:
    remedy = "" if one.reason is None else one.reason.remedy
    answer.fault(one.detail.removesuffix(remedy).strip(), remedy)


def _explain_failure(answer: Explanation, one: Finding) -> None:
    answer.add(f"{one.detail}")
    _add_traceback(answer, one, "Their traceback:")
    answer.healthy = False
    answer.add(f"To do: {_remedy(one)}")


def _remedy(one: Finding) -> str:
    """Say what to do about a failure: by its cause, or by what its import lacks."""
    if one.cause in (None, Cause.IMPORT_FAILED):
        return repair(one.origin)
    return one.cause.remedy


def _add_traceback(answer: Explanation, one: Finding, title: str) -> None:
    """Add the traceback, unless it has no more than the detail, told already."""
    text = one.traceback.strip()
    if text not in {"", one.detail.strip()}:
        answer.add(title)
        answer.add(text, indent=4)


# --- collisions, groups --------------------------------------------------------------


def _explain_claims(
    answer: Explanation, scene: Scene, one: Finding, *, told: Collision | None
) -> None:
    """Say which bare name it does without, unless that was told already."""
    for collision in scene.report.collisions:
        is_claimant = one.qualified_name in collision.qualified_names
        if is_claimant and not collision.settlement.decided and collision is not told:
            count = len(collision.origins)
            answer.fault(
                f"It goes without its bare name {collision.name}: {count} tools claim "
                "that.",
                *settings_for(collision),
            )


def _explain_collision(answer: Explanation, collision: Collision) -> None:
    count = len(collision.origins)
    answer.add(f"{collision.name}: {count} tools claim this name", indent=0)
    for name, origin in zip(collision.qualified_names, collision.origins, strict=True):
        answer.add(f"{name}, from {origin}")
    winner = collision.settlement.winner
    if winner is not None:
        answer.add(f"The settings give the name to {winner.owner}.")
    elif collision.settlement.decided:
        answer.add("The settings let all of them go by their qualified names.")
    else:
        answer.fault(
            "Nobody has it, until a setting says who.", *settings_for(collision)
        )


def _explain_group(
    answer: Explanation, scene: Scene, query: str, group: Sequence[Finding]
) -> None:
    counts = Counter(str(one.outcome) for one in group if not one.is_noise)
    summary = ", ".join(f"{counts[one]} {one}" for one in Outcome if counts[one])
    owners = listed(sorted({heading(one.origin) for one in group}))
    answer.add(f"{query}: {summary}", indent=0)
    answer.add(f"From {owners}.")
    for text in _group_lines(group):
        answer.add(text)
    failed = [one for one in group if one.outcome is Outcome.FAILED]
    for one in failed if len(failed) <= MAX_TRACEBACKS else ():
        _add_traceback(answer, one, f"The traceback of {label_of(one)}:")
    for remedy in dict.fromkeys(map(_remedy, failed)):
        answer.add(f"To do: {remedy}")
    mine = {one.origin for one in group}
    for collision in scene.report.collisions:
        if mine & {*collision.origins} and not collision.settlement.decided:
            answer.fault(
                f"{collision.name} is claimed by {len(collision.origins)} tools.",
                *settings_for(collision),
            )
    if not counts[Outcome.ACCEPTED] or _has_fault(scene.report, mine):
        answer.healthy = False


def _group_lines(group: Sequence[Finding]) -> Iterator[str]:
    for one in group:
        if one.outcome is Outcome.ACCEPTED:
            yield f"accepted  {one.name}"
    for one in group:
        if one.outcome is Outcome.FAILED:
            yield f"failed    {label_of(one)}: {one.detail}"
        elif one.outcome is Outcome.SKIPPED:
            yield f"skipped   none of its code has run: {one.detail}"
        elif one.outcome is Outcome.REJECTED and not one.is_noise:
            yield f"dropped   {label_of(one)} [{one.reason}]: {one.detail}"
    noise = sum(one.is_noise for one in group)
    if noise:
        yield f"and {counted(noise, 'private or re-exported name')} passed over"


def _has_fault(report: DiscoveryReport, origins: Iterable[object]) -> bool:
    mine = {*origins}
    return any(fault.origin in mine for fault in report.faults())
