"""A hook implementation that asks for an argument which its hook does not have."""

from toolkit import hookimpl


@hookimpl
def toolkit_veto_candidate(candidate: object, phase_of_the_moon: str) -> str | None:
    return f"{candidate} refused: {phase_of_the_moon}"
