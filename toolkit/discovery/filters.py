"""The filter stage: what only discovery knows, then the contract's rules.

A filter is a pure function from candidate to verdict. Rejecting is no error.
"""

from collections.abc import Callable
from typing import Final

from toolkit.contract import (
    MISSING,
    RejectionReason,
    Subject,
    ToolContract,
    Verdict,
    class_space,
)
from toolkit.discovery.report import Candidate

Filter = Callable[[Candidate], Verdict | None]


def judge_private(candidate: Candidate) -> Verdict | None:
    """Reject what a scanned module keeps to itself."""
    if candidate.module and candidate.attribute.startswith("_"):
        reason = RejectionReason.PRIVATE_NAME
        text = f"{candidate.attribute!r} is a private name. {reason.remedy}"
        return Verdict(reason, text)
    return None


def judge_re_exported(candidate: Candidate) -> Verdict | None:
    """Reject what a scanned module only imports from elsewhere.

    A name that a package lists in ``__all__`` counts as its own if it is defined
    somewhere in that package.
    """
    if not candidate.module:
        return None
    home = defined_in(candidate.obj)
    if not home or home == candidate.module:
        return None
    if candidate.is_listed and f"{home}.".startswith(f"{candidate.package}."):
        return None
    reason = RejectionReason.RE_EXPORTED
    text = f"{candidate.attribute!r} is imported from {home}. {reason.remedy}"
    return Verdict(reason, text)


def defined_in(obj: object) -> str:
    """Return the module that defines an object; empty when it cannot be read.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    is_class = issubclass(type(obj), type)
    home = class_space(obj).get("__module__", MISSING) if is_class else MISSING
    if home is MISSING:
        try:
            home = Subject(obj, "execute").read("__module__")
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - the contract's own verdict tells of it
            return ""
    return home if type(home) is str else ""


DISCOVERY_FILTERS: Final[tuple[Filter, ...]] = (judge_private, judge_re_exported)
"""The rules that only discovery knows; asked before the contract's."""


def judge(candidate: Candidate, contract: ToolContract) -> Verdict:
    """Judge one candidate: discovery's own rules first, then the contract. Total."""
    return examine(candidate, contract)[0]


def examine(
    candidate: Candidate, contract: ToolContract
) -> tuple[Verdict, Subject | None]:
    """Judge one candidate, and return with it what the contract's rules read.

    Returns:
        The verdict and the subject; the subject is None when one of discovery's own
        rules rejects, or when the object could not even be looked at.
    """
    for rule in DISCOVERY_FILTERS:
        verdict = rule(candidate)
        if verdict is not None:
            return verdict, None
    return contract.examine(candidate.obj)
