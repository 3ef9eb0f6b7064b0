"""Good tools under names that three other packages use too."""

from toolkit import tool


@tool
def word_count(text: str) -> str:
    """Count words, wrongly."""
    return f"{len(text)} words, says toolkit-broken"


@tool
def list_tables() -> list[str]:
    """List tables that nobody has."""
    return ["a table of toolkit-broken"]


@tool
def savings_report() -> str:
    """Report savings that nobody made."""
    return "nothing saved, says toolkit-broken"
