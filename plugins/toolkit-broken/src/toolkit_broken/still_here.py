"""The one good tool."""


class StillHere:
    """Say that one bad plugin does not hide the others."""

    name = "still_here"

    def execute(self) -> str:
        """Say so."""
        return "still here"
