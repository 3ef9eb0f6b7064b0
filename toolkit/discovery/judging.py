"""Judge a candidate and compile it, in this process.

Loaded only where there is something to judge: compiling needs pydantic, and what is
known from before needs neither.
"""

from collections.abc import Callable
from functools import partial

from toolkit.compiler import CompiledTool, compile_examined, end_probe
from toolkit.contract import ACCEPTED, RejectionReason, Verdict, identity_of
from toolkit.discovery.filters import examine
from toolkit.discovery.report import CONTRACTS, Candidate, Failure, Judged
from toolkit.discovery.sources import failure, load
from toolkit.errors import InvalidToolError

Outside = Callable[[Candidate], Verdict]
"""What no look at the object alone can tell; asked between judging and compiling."""


def judge_candidate(
    candidate: Candidate, outside: Outside = lambda _: ACCEPTED
) -> Judged | Failure:
    """Judge a candidate and compile it, if it is accepted.

    Args:
        candidate: What was found.
        outside: Asked about what the contract accepts.

    Returns:
        The judgement; a failure when judging raised what no verdict is made of.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    got = load(partial(_compiled, candidate, outside), candidate.origin)
    seconds = candidate.seconds + got.seconds
    if got.error is not None or got.value is None:
        error = got.error or RuntimeError("judging it gave nothing")
        return failure(error, candidate.origin, candidate.kind, seconds)
    verdict, tool = got.value
    identity = "" if tool is None else _identity(candidate)
    return Judged(candidate, verdict, tool, identity, seconds)


def _compiled(
    candidate: Candidate, outside: Outside
) -> tuple[Verdict, CompiledTool | None]:
    contract = CONTRACTS[candidate.kind]
    verdict, subject = examine(candidate, contract)
    try:
        if verdict.accepted:
            verdict = outside(candidate)
        if verdict.accepted and subject is not None:
            return verdict, compile_examined(subject, contract, candidate.origin)
    except InvalidToolError as error:
        verdict = Verdict(RejectionReason(error.reason), error.detail)
    finally:
        end_probe(subject)
    return verdict, None


def _identity(candidate: Candidate) -> str:
    """Say where an object is defined, or else where it stands."""
    own = identity_of(candidate.obj)
    if own:
        return own
    if candidate.module:
        return f"{candidate.module}:{candidate.attribute}"
    origin = candidate.origin
    if not origin.entry_point:  # handed in: nobody else can name it
        return ""
    if candidate.position < 0:
        return origin.reference
    point = f"{origin.distribution}:{origin.group}:{origin.entry_point}"
    return f"{point}#{candidate.position}"
