"""What discovery found, and what became of each thing."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from toolkit.contract import RejectionReason, Remedied, ToolContract, Verdict
from toolkit.discovery import AGENTS, PLUGINS, TOOLS
from toolkit.errors import (
    DiscoveryError,
    DiscoveryFailedError,
    DuplicateToolError,
    InvalidToolError,
    PluginLoadError,
)
from toolkit.naming import Collision
from toolkit.origin import Origin

if TYPE_CHECKING:
    from toolkit.catalog import CatalogTool

Kind = Literal["tool", "agent", "plugin"]

METHOD_OF: Final[Mapping[Kind, str]] = {"tool": "execute", "agent": "run"}
KIND_OF: Final[Mapping[str, Kind]] = {TOOLS: "tool", AGENTS: "agent", PLUGINS: "plugin"}
CONTRACTS: Final[Mapping[Kind, ToolContract]] = {
    kind: ToolContract(method=method, is_for_agents=kind == "agent")
    for kind, method in METHOD_OF.items()
}
"""The judge of each kind of candidate that is judged."""


NOISE: Final = (RejectionReason.PRIVATE_NAME, RejectionReason.RE_EXPORTED)
"""What every module has and nobody meant to publish; counted apart."""


class Cause(Remedied):
    """Why something could not be had at all, stable and with its remedy."""

    IMPORT_FAILED = (
        "import_failed",
        "Repair that package, or put its distribution on the deny list.",
    )
    METADATA_BROKEN = (
        "metadata_broken",
        "Install that package again: its metadata is damaged, or written by hand.",
    )
    CORE_UNSUPPORTED = (
        "core_unsupported",
        (
            "Install a version of that package made for this toolkit-core, or the "
            "other way round."
        ),
    )
    NOT_TRUSTED = (
        "not_trusted",
        "Look at what differs; if it is meant to, run `toolkit lock` again.",
    )
    MANIFEST_DISAGREES = (
        "manifest_disagrees",
        (
            "Its author runs `toolkit manifest` again and publishes a new version; "
            "until then its code counts."
        ),
    )
    NOT_CONTACTED = (
        "not_contacted",
        "Let this process start others, or use first_contact = in_process.",
    )
    ENDED_PROCESS = (
        "ended_process",
        "Repair that package, or put its distribution on the deny list.",
    )
    HUNG = (
        "hung",
        (
            "Repair that package, put its distribution on the deny list, or raise the "
            "setting contact_timeout if it is only slow."
        ),
    )
    TOO_MUCH_MEMORY = (
        "too_much_memory",
        (
            "Repair that package, put its distribution on the deny list, or raise the "
            "setting contact_memory_bytes."
        ),
    )
    TOO_MUCH_OUTPUT = (
        "too_much_output",
        "Repair that package, or put its distribution on the deny list.",
    )
    LEFT_BEHIND = (
        "left_behind",
        (
            "Let it do that at its first use, not at import; or name its distribution "
            "in the setting tolerate."
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An object found, before any judgement.

    Attributes:
        obj: The object itself.
        origin: Where it was found.
        kind: What it was published as.
        attribute: The name it was found under; empty when handed in.
        module: The module that was scanned; empty when it was named directly.
        package: The package the scan began at; empty likewise.
        is_listed: Whether that module names it in ``__all__``.
        seconds: What loading it took.
        position: Its place in the collection that was published; -1 when it is none's.
    """

    obj: object
    origin: Origin
    kind: Kind = "tool"
    attribute: str = ""
    module: str = ""
    package: str = ""
    is_listed: bool = False
    seconds: float = 0.0
    position: int = -1

    @property
    def is_explicit(self) -> bool:
        """Whether somebody named this very object, rather than a module to scan."""
        return not self.module


class DeferredCandidate(Candidate):
    """A candidate that was judged before; its object is imported when it is asked for.

    A hook that looks only at the origin or the names costs no import.
    """

    __slots__ = ("_load",)
    _load: Callable[[], object]

    def __init__(
        self,
        load: Callable[[], object],
        origin: Origin,
        kind: Kind,
        **facts: Any,  # noqa: ANN401 - the other fields of a candidate
    ) -> None:
        """Keep how to get the object."""
        object.__setattr__(self, "_load", load)
        told = {"origin": origin, "kind": kind, "seconds": 0.0, **facts}
        for name, value in told.items():
            object.__setattr__(self, name, value)

    @property
    def obj(self) -> object:
        """The object itself, imported now if it is not yet.

        Raises:
            ToolUnavailableError: It cannot be imported any more.
        """
        return self._load()


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate with its judgement, before names and the operator's own rules.

    Attributes:
        candidate: What was judged.
        verdict: The judgement of discovery's filters and the contract.
        tool: What the catalog would keep of it; None when it was rejected.
        identity: Where the object itself is defined, as ``module:name``; the same for
            one object that is published twice. Empty when that cannot be told.
        seconds: What loading and judging it took.
    """

    candidate: Candidate
    verdict: Verdict
    tool: "CatalogTool | None" = None
    identity: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be loaded. Text only: it keeps no frame alive."""

    origin: Origin
    detail: str
    traceback: str = ""
    kind: Kind = "tool"
    seconds: float = 0.0
    cause: Cause = Cause.IMPORT_FAILED


@dataclass(frozen=True, slots=True)
class Skip:
    """Something left alone on the operator's order; none of its code has run."""

    origin: Origin
    detail: str
    kind: Kind = "tool"


class Outcome(StrEnum):
    """What became of a finding."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found and what became of it. Immutable; holds no plugin object.

    Attributes:
        outcome: Accepted, rejected, failed or skipped.
        origin: Where it was found.
        kind: What it was published as.
        name: The listed name when accepted, else the attribute it was found under.
        qualified_name: The qualified name when accepted, else empty.
        reason: Why it was rejected; None otherwise.
        detail: The same in a sentence that ends with what to do; for failures the
            exception.
        traceback: Their traceback as text, for failures.
        cause: What kind of failure it is; None otherwise.
        is_explicit: Whether somebody named this very object.
        seconds: What loading and judging it took.
    """

    outcome: Outcome
    origin: Origin
    kind: Kind
    name: str = ""
    qualified_name: str = ""
    reason: RejectionReason | None = None
    detail: str = ""
    traceback: str = ""
    is_explicit: bool = False
    seconds: float = 0.0
    cause: Cause | None = None

    @property
    def is_noise(self) -> bool:
        """Whether a scan only passed over it, as it does in any module."""
        return self.reason in NOISE

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values, without the traceback."""
        return {
            "outcome": str(self.outcome),
            "kind": self.kind,
            "name": self.name,
            "qualified_name": self.qualified_name,
            "origin": str(self.origin),
            "distribution": self.origin.distribution,
            "reason": None if self.reason is None else str(self.reason),
            "cause": None if self.cause is None else str(self.cause),
            "detail": self.detail,
            "seconds": round(self.seconds, 6),
        }


@dataclass(frozen=True, slots=True)
class DiscoveryReport:
    """Everything one discovery found. Immutable; no order of installation shows in it.

    Attributes:
        findings: Every finding, sorted by origin.
        collisions: Every bare name that several accepted tools claim.
        seconds: What the whole took.
        notes: Settings that name something which is not there, one sentence each.
    """

    findings: tuple[Finding, ...] = ()
    collisions: tuple[Collision, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def _with(self, outcome: Outcome) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.outcome is outcome)

    @property
    def accepted(self) -> tuple[Finding, ...]:
        """What survived."""
        return self._with(Outcome.ACCEPTED)

    @property
    def rejected(self) -> tuple[Finding, ...]:
        """What the filter dropped, each with its reason."""
        return self._with(Outcome.REJECTED)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What could not be loaded, each with its cause."""
        return self._with(Outcome.FAILED)

    @property
    def skipped(self) -> tuple[Finding, ...]:
        """What the operator's lists kept out; none of it was imported."""
        return self._with(Outcome.SKIPPED)

    @property
    def status(self) -> Literal["healthy", "degraded", "empty"]:
        """``empty`` when no tool survived, ``degraded`` when anything is at fault."""
        if not any(one.kind == "tool" for one in self.accepted):
            return "empty"
        return "degraded" if self.faults() else "healthy"

    def reasons(self) -> Mapping[str, int]:
        """Return how many were rejected for each reason, the commonest first."""
        counts = Counter(str(one.reason) for one in self.rejected)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def faults(self) -> tuple[DiscoveryError, ...]:
        """Return what somebody has to mend, as errors.

        Those are: what failed to load; what was published by name and is no tool; and
        collisions that no setting settles. What a scan of a module merely passed over
        is not a fault.
        """
        failed = [
            PluginLoadError(
                one.origin,
                one.detail,
                one.traceback,
                (one.cause or Cause.IMPORT_FAILED).remedy,
            )
            for one in self.failed
        ]
        invalid = [
            InvalidToolError(one.origin, str(one.reason), one.detail)
            for one in self.rejected
            if one.is_explicit and one.reason not in _NOT_A_FAULT
        ]
        unsettled = [
            DuplicateToolError(one.name, one.origins, one.remedy)
            for one in self.collisions
            if not one.settlement.decided
        ]
        return (*failed, *invalid, *unsettled)

    def raise_faults(self) -> None:
        """Raise all faults at once, if there is any.

        Raises:
            DiscoveryFailedError: The group of all `faults`.
        """
        faults = self.faults()
        if faults:
            message = "discovery found faults; `toolkit doctor` shows the report"
            raise DiscoveryFailedError(message, faults)

    def summary(self) -> str:
        """Return one line of counts; names passed over are no rejections."""
        passed = sum(one.is_noise for one in self.rejected)
        names = "1 name" if passed == 1 else f"{passed} names"
        counts = (
            f"{len(self.accepted)} accepted, {len(self.rejected) - passed} rejected, "
            f"{len(self.failed)} failed, {len(self.skipped)} skipped"
        )
        line = f"{self.status}: {counts}, {len(self.collisions)} name collisions"
        return f"{line}, and {names} passed over" if passed else line


_NOT_A_FAULT = (RejectionReason.VETOED, RejectionReason.SAME_OBJECT)
