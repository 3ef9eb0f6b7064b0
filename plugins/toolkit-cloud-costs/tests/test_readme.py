"""The README shows what the tools really answer."""

from collections.abc import Callable
from pathlib import Path

from toolkit import ToolContext
from toolkit_cloud_costs.rules import RULES
from toolkit_cloud_costs.tools import TOOLS, SavingsReportTool

README = Path(__file__).parents[1] / "README.md"


def test_readme_documents_every_tool_rule_and_setting() -> None:
    """Name all of them, so that nobody has to read the code for a list."""
    text = README.read_text(encoding="utf-8")
    names = [tool.name for tool in TOOLS] + [rule.name for rule in RULES]
    settings = ["DATA_ROOT", "BILLING_EXPORT", "BILLING_MEMORY"]
    for name in (*names, *(f"TOOLKIT_{one}" for one in settings)):
        assert f"`{name}`" in text or f"`${name}" in text, name


def test_readme_shows_the_real_report(context_of: Callable[..., ToolContext]) -> None:
    """Show the sample's findings and totals as the tool gives them."""
    text = README.read_text(encoding="utf-8")
    report = SavingsReportTool().execute(context=context_of())
    for one in report.findings:
        assert f"| {one.rank} | `{one.rule}` | {one.title} |" in text
    assert report.findings[0].model_dump_json(indent=2) in text
    shown = report.model_dump_json(indent=2, include={"totals", "unsupported"})
    assert shown in text
