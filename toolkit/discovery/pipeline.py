"""source → filter → names → catalog, on one page."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from toolkit.catalog import CatalogTool, ListedAgent, ToolCatalog, ToolView
from toolkit.contract import ACCEPTED, RejectionReason, Verdict
from toolkit.deferred import Drifts
from toolkit.discovery.hooks import Hooks
from toolkit.discovery.index import Publisher, index, pydantic_plugins
from toolkit.discovery.installed import InstalledSource
from toolkit.discovery.loading import Imported, Loader
from toolkit.discovery.memory import Memory
from toolkit.discovery.report import (
    Candidate,
    DeferredCandidate,
    DiscoveryReport,
    Failure,
    Finding,
    Judged,
    Outcome,
)
from toolkit.discovery.sources import (
    CandidateSource,
    Found,
    ModuleSource,
    ObjectSource,
    UnlockedModules,
    failure,
    load,
    refusal_of,
)
from toolkit.discovery.unmatched import unmatched
from toolkit.guards import pydantic_ready
from toolkit.naming import (
    Claim,
    CollisionPolicy,
    ToolName,
    give_names,
    prefer,
    qualify,
    refuse,
)
from toolkit.origin import Origin
from toolkit.settings import Settings

logger = logging.getLogger(__name__)


def discover(
    settings: Settings | None = None,
    *,
    sources: Sequence[CandidateSource] | None = None,
    objects: Iterable[object] = (),
    agents: Iterable[object] = (),
) -> tuple[ToolCatalog, DiscoveryReport]:
    """Find every tool there is, judge it, and settle the names.

    A bad plugin never raises here and never hides another: it is in the report, with
    its origin. The answer does not depend on the order of installation.

    Args:
        settings: What the operator decided; by default `Settings()`.
        sources: Where to look; by default the entry points of installed distributions
            and the modules named in the settings.
        objects: Tools handed in beside them: classes, instances, iterables, modules.
        agents: Agents handed in likewise.

    Returns:
        The frozen catalog and the report. A catalog without tools is an error in the
        log and ``empty`` in the report's `status`.

    Raises:
        ConfigurationError: The lock is asked for, and cannot be read.
        DiscoveryFailedError: With ``settings.strict``: all faults at once.
    """
    return discover_again(
        settings or Settings(),
        Imported(),
        sources=sources,
        objects=objects,
        agents=agents,
    )


def discover_again(
    settings: Settings,
    imported: Imported,
    *,
    sources: Sequence[CandidateSource] | None = None,
    objects: Iterable[object] = (),
    agents: Iterable[object] = (),
) -> tuple[ToolCatalog, DiscoveryReport]:
    """Do what `discover` does, for an application that will do it again.

    Args:
        settings: What the operator decided.
        imported: Takes note of what is imported.
        sources: As for `discover`.
        objects: Likewise.
        agents: Likewise.

    Returns:
        The frozen catalog and the report.

    Raises:
        ConfigurationError: The lock is asked for, and cannot be read.
        DiscoveryFailedError: With ``settings.strict``: all faults at once.
    """
    started = time.perf_counter()
    found = index(use_cache=settings.cache)
    drifts = Drifts()
    left_out = pydantic_plugins(found, lambda name: bool(refusal_of(name, settings)))
    run = _Run()
    if sources is None:
        memory = Memory(found.folders, is_on=settings.cache and found.is_lasting)
        loader = Loader(
            refusal=_lock(settings),
            left_out=left_out,
            drifts=drifts,
            forget=memory.forget,
            imported=imported,
            objection=partial(_objection, settings, left_out),
        )
        installed = InstalledSource(
            found.ours(), settings, memory=memory, loader=loader
        )
        run.take(installed.candidates())
        sources = (_modules(settings),) if settings.modules else ()
    handed_in = [ObjectSource(objects), ObjectSource(agents, kind="agent")]
    if sources or any(handed_in):
        with pydantic_ready(left_out):
            run.take(one for source in sources for one in source.candidates())
            run.take(one for source in handed_in for one in source.candidates())
    if run.candidates:
        with pydantic_ready(left_out):
            run.judge_all()
    else:
        run.judge_all()
    catalog, report = run.catalog(collision_policy(settings), drifts)
    catalog = replace(catalog, left_out=left_out)
    notes = unmatched(settings, report.findings, catalog.view)
    report = replace(report, notes=notes, seconds=time.perf_counter() - started)
    _log(report)
    if settings.strict:
        report.raise_faults()
    return catalog, report


def _log(report: DiscoveryReport) -> None:
    for note in report.notes:
        logger.warning("%s", note)
    level = logging.ERROR if report.status == "empty" else logging.INFO
    logger.log(level, "discovery %s", report.summary())


def _modules(settings: Settings) -> CandidateSource:
    """Return the source of the modules that the settings name: the operator's own.

    No lock knows them, so with ``trust = "locked"`` none of them is imported.
    """
    if settings.trust == "locked":
        return UnlockedModules(settings.modules)
    return ModuleSource(settings.modules)


def _objection(
    settings: Settings, left_out: frozenset[str] | None, publisher: Publisher
) -> str:
    """Let a package that has changed be met in a child again, if that is wanted."""
    if settings.first_contact != "child":
        return ""
    from toolkit.discovery.probe import probe  # noqa: PLC0415 - seldom needed

    ((_, record),) = probe([publisher], settings, left_out)
    failures = [one["detail"] for one in record["found"] if one["is"] == "failure"]
    return "; ".join(failures)


def _lock(settings: Settings) -> Callable[[Publisher], str]:
    if settings.trust == "installed":
        return lambda _: ""
    from toolkit.discovery.trust import Lock, refusal  # noqa: PLC0415 - seldom needed

    return partial(refusal, Lock.read(settings.lock_file))


def collision_policy(settings: Settings) -> CollisionPolicy:
    """Return the policy that the settings name."""
    otherwise = qualify if settings.collisions == "qualify" else refuse
    return prefer(settings.prefer, otherwise)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A candidate that survived, with what the catalog keeps of it."""

    candidate: Candidate
    name: ToolName
    tool: "CatalogTool | None"
    seconds: float


@dataclass(slots=True)
class _Run:
    """One discovery while it happens."""

    hooks: Hooks = field(default_factory=Hooks)
    candidates: list[Candidate] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    accepted: list[_Accepted] = field(default_factory=list)
    _origins: dict[object, Origin] = field(default_factory=dict)

    def take(self, found: Iterable[Found]) -> None:
        """Sort what a source yields into candidates and what is settled already."""
        for one in found:
            if isinstance(one, Candidate):
                self.candidates.append(one)
            elif isinstance(one, Judged):
                self.judged.append(one)
            elif isinstance(one, Failure):
                self._fail(one)
            else:
                skipped = Finding(Outcome.SKIPPED, one.origin, one.kind)
                self.findings.append(replace(skipped, detail=one.detail))

    def judge_all(self) -> None:
        """Judge everything in an order of its own, after all hooks are known."""
        for candidate in sorted(self.candidates, key=_order):
            if candidate.kind == "plugin":
                self._register(candidate)
        waiting: list[Candidate | Judged] = [
            *(one for one in self.candidates if one.kind != "plugin"),
            *self.judged,
        ]
        for one in sorted(waiting, key=_order):
            self._settle(one if isinstance(one, Judged) else self._judge(one))

    def catalog(
        self, policy: CollisionPolicy, drifts: Drifts
    ) -> tuple[ToolCatalog, DiscoveryReport]:
        """Settle the names and freeze everything."""
        tools = [
            one.tool
            for one in self.accepted
            if one.tool is not None and one.candidate.kind == "tool"
        ]
        view = ToolView(tools, policy)
        agents = [one for one in self.accepted if one.candidate.kind == "agent"]
        claims = [Claim(one.name, one.candidate.origin) for one in agents]
        naming = give_names(claims, policy)
        catalog = ToolCatalog(
            view=view,
            agents=MappingProxyType(
                {
                    name: ListedAgent(name, one.candidate.origin, one.tool)
                    for name, one in zip(naming.listed, agents, strict=True)
                    if one.tool is not None
                }
            ),
            hooks=self.hooks.for_calls(),
            collision_policy=policy,
            drifts=drifts,
        )
        listed = {id(one.tool): one.definition for one in view}
        names = dict(zip(map(id, agents), naming.listed, strict=True))
        for one in self.accepted:
            definition = listed.get(id(one.tool))
            self.findings.append(
                Finding(
                    Outcome.ACCEPTED,
                    one.candidate.origin,
                    one.candidate.kind,
                    name=definition.name
                    if definition
                    else names.get(id(one), one.name),
                    qualified_name=definition.qualified_name if definition else "",
                    is_explicit=one.candidate.is_explicit,
                    seconds=one.seconds,
                )
            )
        report = DiscoveryReport(
            findings=tuple(sorted(self.findings, key=lambda f: (f.origin, f.name))),
            collisions=(*view.collisions, *naming.collisions),
        )
        return catalog, report

    def _fail(self, one: Failure) -> None:
        self.findings.append(
            Finding(
                Outcome.FAILED,
                one.origin,
                one.kind,
                detail=one.detail,
                traceback=one.traceback,
                seconds=one.seconds,
                cause=one.cause,
            )
        )

    def _register(self, candidate: Candidate) -> None:
        """Take a module of hooks; a broken one is a failure like any other."""
        name = f"{candidate.origin.owner}:{candidate.origin.entry_point}"
        got = load(partial(self.hooks.register, candidate.obj, name), candidate.origin)
        if got.error is not None:
            self._fail(failure(got.error, candidate.origin, "plugin", got.seconds))
            return
        label = ToolName(candidate.origin.entry_point)
        spent = candidate.seconds + got.seconds
        self.accepted.append(_Accepted(candidate, label, None, spent))

    def _judge(self, candidate: Candidate) -> Judged | Failure:
        from toolkit.discovery.judging import judge_candidate  # noqa: PLC0415 - needs pydantic

        return judge_candidate(candidate, self._outside_rules)

    def _settle(self, one: Judged | Failure) -> None:
        """Accept or reject what was judged, by the rules that look at all of it."""
        if isinstance(one, Failure):
            self._fail(one)
            return
        candidate, tool, verdict = one.candidate, one.tool, one.verdict
        if verdict.accepted:
            verdict = self._known(one)
        if verdict.accepted and isinstance(candidate, DeferredCandidate):
            verdict = self._outside_rules(candidate)
        if not verdict.accepted or tool is None:
            self._reject(candidate, verdict, one.seconds)
            return
        self.accepted.append(_Accepted(candidate, tool.name, tool, one.seconds))
        if one.identity:
            self._origins[one.identity] = candidate.origin
        if tool.is_loaded:
            self._origins[id(tool.target)] = candidate.origin

    def _known(self, one: Judged) -> Verdict:
        """Reject what is accepted already, under another entry point."""
        known = self._origins.get(one.identity) if one.identity else None
        if known is None and one.tool is not None and one.tool.is_loaded:
            known = self._origins.get(id(one.tool.target))
        return ACCEPTED if known is None else _twice(known)

    def _outside_rules(self, candidate: Candidate) -> Verdict:
        """Judge what no look at the object alone can tell: published twice, vetoed."""
        if not isinstance(candidate, DeferredCandidate):
            known = self._origins.get(id(candidate.obj))
            if known is not None:
                return _twice(known)
        for name, why in self.hooks.vetoes(candidate) if self.hooks.has_vetoes else ():
            reason = RejectionReason.VETOED
            return Verdict(reason, f"the hook of {name} says: {why}. {reason.remedy}")
        return ACCEPTED

    def _reject(self, candidate: Candidate, verdict: Verdict, seconds: float) -> None:
        self.findings.append(
            Finding(
                Outcome.REJECTED,
                candidate.origin,
                candidate.kind,
                name=candidate.attribute,
                reason=verdict.reason,
                detail=verdict.detail,
                is_explicit=candidate.is_explicit,
                seconds=seconds,
            )
        )


def _twice(known: Origin) -> Verdict:
    reason = RejectionReason.SAME_OBJECT
    return Verdict(reason, f"it is already accepted as {known}. {reason.remedy}")


def _order(one: Candidate | Judged) -> tuple[Origin, str]:
    candidate = one.candidate if isinstance(one, Judged) else one
    return candidate.origin, candidate.attribute
