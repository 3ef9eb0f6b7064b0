"""Where a plugin object came from; every message about one carries its origin."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The place a candidate was found. Immutable; safe to keep for the whole process.

    Attributes:
        distribution: Normalised name of the installed distribution, empty when the
            object does not come from one.
        version: That distribution's version, empty when unknown.
        group: The entry-point group, empty when no entry point led here.
        entry_point: The entry point's name, empty likewise.
        reference: ``module:attribute`` as far as known, such as ``pkg.tools:Sum``.
    """

    distribution: str = ""
    version: str = ""
    group: str = ""
    entry_point: str = ""
    reference: str = ""

    @property
    def owner(self) -> str:
        """Who answers for the object: distribution, else top module, else ``local``."""
        module = self.reference.partition(":")[0].partition(".")[0]
        return self.distribution or module.strip("_<>") or "local"

    def at(self, reference: str) -> "Origin":
        """Return the same origin pointing at `reference` (``module:attribute``)."""
        return Origin(
            self.distribution,
            self.version,
            self.group,
            self.entry_point,
            reference,
        )

    def __str__(self) -> str:
        """Say it in one phrase, for example ``pkg 1.0 (toolkit.tools: x = m:C)``."""
        who = f"{self.distribution} {self.version}".strip()
        if self.distribution and not (self.reference or self.entry_point):
            return who
        where = self.reference or "object handed in"
        if self.entry_point:
            where = f"{self.group}: {self.entry_point} = {where}"
        return f"{who} ({where})" if who else where
