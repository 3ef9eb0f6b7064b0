"""The words and cuts that every view of a report shares."""

from collections import Counter
from dataclasses import dataclass

from toolkit.cli.installed import Elsewhere
from toolkit.discovery.report import DiscoveryReport, Finding
from toolkit.naming import Collision
from toolkit.origin import Origin


@dataclass(frozen=True, slots=True)
class View:
    """A report with the noise set aside. Immutable.

    Attributes:
        report: The report.
        show_all: Whether the noise is wanted too.
        unread: What is published in groups that look like ours, and is not read.
    """

    report: DiscoveryReport
    show_all: bool = False
    unread: tuple[Elsewhere, ...] = ()

    @property
    def dropped(self) -> tuple[Finding, ...]:
        """What the filter dropped, without the noise unless all is wanted."""
        return tuple(
            one for one in self.report.rejected if self.show_all or not one.is_noise
        )

    @property
    def hidden(self) -> Counter[str]:
        """How many are set aside, by reason."""
        if self.show_all:
            return Counter()
        return Counter(str(one.reason) for one in self.report.rejected if one.is_noise)


def counted(number: int, word: str) -> str:
    """Return a number and its word, in the plural unless it is one.

    >>> counted(1, "fault"), counted(2, "fault")
    ('1 fault', '2 faults')
    """
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def heading(origin: Origin) -> str:
    """Return who an origin belongs to, with the version."""
    return f"{origin.owner} {origin.version}".strip()


def label_of(finding: Finding) -> str:
    """Return what a person would call it: its name, entry point or reference."""
    origin = finding.origin
    return finding.name or origin.entry_point or origin.reference or origin.owner


def state_of(collision: Collision) -> str:
    """Say in a word or three how a collision ended."""
    winner = collision.settlement.winner
    if winner is not None:
        return f"settled for {winner.owner}"
    return "qualified" if collision.settlement.decided else "unsettled"


def settings_for(collision: Collision) -> tuple[str, ...]:
    """Return what to do about a collision: one line of settings for each claimant."""
    owners = [origin.owner for origin in collision.origins]
    if len({*owners}) < len(owners):
        return (collision.remedy,)
    lines = (f'prefer.{collision.name} = "{owner}"' for owner in owners)
    return ("Put one of these lines into toolkit.toml.", *lines)
