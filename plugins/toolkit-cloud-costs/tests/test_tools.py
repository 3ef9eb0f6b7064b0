"""The tools as a user reaches them: discovered, authorised, called, answered."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from toolkit import (
    Settings,
    ToolContext,
    ToolError,
    UserContext,
    UserContextToolFactory,
    discover,
)
from toolkit.system import UserToolSystem
from toolkit_cloud_costs.tools import TOOLS, SavingsReportTool, SpendBreakdownTool

NAMES = {
    "commitment_usage",
    "cost_anomalies",
    "cost_overview",
    "savings_report",
    "spend_breakdown",
    "top_movers",
    "untagged_spend",
}
OURS = Settings(allow=frozenset({"toolkit-cloud-costs"}))
ContextOf = Callable[..., ToolContext]


@pytest.fixture
def system() -> Iterator[UserToolSystem]:
    """Make the tool system of a user who may read costs."""
    catalog, _ = discover(OURS)
    user = UserContext(user_id="ada", scopes=frozenset({"costs:read"}))
    with UserContextToolFactory(catalog).create_user_tool_system(
        user_context=user
    ) as made:
        yield made


def test_every_tool_is_discovered_and_none_is_dropped() -> None:
    """Find seven tools through the entry point, and no schema among them (S36)."""
    _, report = discover(OURS)
    assert {candidate.name for candidate in report.accepted} == NAMES
    assert report.rejected == ()
    assert report.failed == ()


def test_every_tool_is_read_only_and_guarded() -> None:
    """No cost is seen without the scope (B58), and nothing is ever changed."""
    assert {tool.name for tool in TOOLS} == NAMES
    assert all(tool.read_only for tool in TOOLS)
    assert all(tool.required_scopes == {"costs:read"} for tool in TOOLS)


def test_user_without_the_scope_sees_no_cost_tool() -> None:
    """A tool that a user may not call does not exist for that user (B58)."""
    catalog, _ = discover(OURS)
    with UserContextToolFactory(catalog).create_user_tool_system(
        user_context=UserContext(user_id="bob")
    ) as made:
        assert made.get_all_tools() == ()


def test_every_parameter_and_result_is_described(system: UserToolSystem) -> None:
    """Carry the docstrings into the schemas that a model reads."""
    for tool in system.get_all_tools():
        properties = tool.definition.input_schema["properties"]
        assert "context" not in properties
        assert all("description" in one for one in properties.values()), tool.name
        assert tool.definition.output_schema is not None
        assert "basis" in tool.definition.output_schema["properties"]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_tool_answers_on_the_sample_by_default(
    name: str, system: UserToolSystem
) -> None:
    """Rest on the shipped sample when nothing is configured, and say so."""
    result = asyncio.run(system.dispatcher.execute(name, {}))
    assert result.ok, result.error
    answer = result.unwrap()
    assert answer.basis.kind == "shipped sample"
    assert answer.basis.files == ["sample.csv"]


def test_arguments_are_checked_before_anything_is_read(system: UserToolSystem) -> None:
    """Refuse an unknown dimension, an impossible date and a limit out of bounds."""
    for arguments in (
        {"group_by": "colour"},
        {"start": "2025-02-30"},
        {"limit": 0},
        {"sql": "SELECT 1"},
    ):
        result = asyncio.run(system.dispatcher.execute("spend_breakdown", arguments))
        assert not result.ok
        assert result.error is not None
        assert result.error.code == "invalid_arguments"


def test_caller_reads_what_is_wrong_with_the_export(
    write_export: Callable[..., Path], context_of: ContextOf
) -> None:
    """Pass the remedy on as `ToolError`, whose text reaches the caller."""
    path = write_export({}, without="ServiceName")
    with pytest.raises(ToolError, match="it lacks ServiceName"):
        SavingsReportTool().execute(context=context_of(billing_export=str(path)))


def test_two_users_read_two_exports(
    write_export: Callable[..., Path], context_of: ContextOf
) -> None:
    """Answer each user from their own file (S3)."""
    tool = SpendBreakdownTool()
    costs = [
        tool.execute(context=context_of(billing_export=str(path))).totals[0].cost
        for path in (
            write_export({"BilledCost": "3"}, name="a.csv"),
            write_export({"BilledCost": "4"}, name="b.csv"),
        )
    ]
    assert costs == [3.0, 4.0]


def test_period_and_provider_narrow_the_answer(context_of: ContextOf) -> None:
    """Sum one day of one provider of the sample: one machine at 2.304 EUR."""
    day = date(2025, 8, 1)
    answer = SpendBreakdownTool().execute(
        start=day, end=day, provider="microsoft", context=context_of()
    )
    assert [(one.currency, one.cost) for one in answer.totals] == [("EUR", 2.304)]
    assert (answer.basis.first_day, answer.basis.last_day) == (day, day)
