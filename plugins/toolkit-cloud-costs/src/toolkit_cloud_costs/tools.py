"""What a user calls. The entry point in `pyproject.toml` names `TOOLS`.

Every tool reads the caller's own export, answers one question about it and forgets it:
nothing is kept between calls, and nothing is shared between users.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from toolkit import ToolContext
from toolkit_cloud_costs.anomalies import find_anomalies
from toolkit_cloud_costs.commitments import describe_commitments
from toolkit_cloud_costs.findings import CommitmentUsage, CostAnomalies, SavingsReport
from toolkit_cloud_costs.ledger import Ledger, open_ledger
from toolkit_cloud_costs.models import (
    Cost,
    CostOverview,
    Dimension,
    SpendBreakdown,
    TopMovers,
    UntaggedSpend,
)
from toolkit_cloud_costs.movers import list_movers
from toolkit_cloud_costs.savings import report_savings
from toolkit_cloud_costs.source import find_source
from toolkit_cloud_costs.spend import Grouping, break_down, overview
from toolkit_cloud_costs.tags import find_untagged

Limit = Annotated[int, Field(ge=1, le=200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Which charges a call is about."""

    start: date | None = None
    end: date | None = None
    provider: str | None = None
    export: str | None = None


@contextmanager
def _open(context: ToolContext, scope: _Scope) -> Iterator[Ledger]:
    source = find_source(context.user, scope.export)
    with open_ledger(source, seconds=context.time_left()) as ledger:
        ledger.keep(scope.start, scope.end, scope.provider)
        yield ledger


class _CostTool:
    """What all of these tools have in common."""

    tags = ("costs", "finops")
    required_scopes = frozenset({"costs:read"})
    read_only = True
    idempotent = True
    timeout = 60.0


class CostOverviewTool(_CostTool):
    """Say what the billing export holds: period, providers, totals, quality.

    Ask this first. Its notes say which figures of this export to trust.
    """

    name = "cost_overview"

    def execute(
        self, *, export: str | None = None, context: ToolContext
    ) -> CostOverview:
        """Describe the export.

        Args:
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        with _open(context, _Scope(export=export)) as ledger:
            return overview(ledger)


class SpendBreakdownTool(_CostTool):
    """Break cloud spend down by service, account, region, provider, period or tag."""

    name = "spend_breakdown"

    def execute(  # noqa: PLR0913 - each one is an argument of the tool
        self,
        *,
        group_by: Dimension = "service",
        cost: Cost = "billed",
        tag_key: str | None = None,
        start: date | None = None,
        end: date | None = None,
        provider: str | None = None,
        limit: Limit = 20,
        export: str | None = None,
        context: ToolContext,
    ) -> SpendBreakdown:
        """Sum one cost by one dimension.

        Args:
            group_by: What to sum by; `account` is FOCUS's sub account.
            cost: `billed` is cash as invoiced, `effective` spreads commitments over
                their usage, `list` is before and `contracted` after negotiated prices.
            tag_key: The tag to sum by, with group_by `tag`.
            start: First day (UTC), included.
            end: Last day (UTC), included.
            provider: Only this provider, such as AWS.
            limit: Most groups to return.
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        scope = _Scope(start=start, end=end, provider=provider, export=export)
        with _open(context, scope) as ledger:
            grouping = Grouping(cost=cost, group_by=group_by, tag_key=tag_key)
            return break_down(ledger, grouping, limit)


class TopMoversTool(_CostTool):
    """Show what got dearer or cheaper: the last days against as many days before."""

    name = "top_movers"

    def execute(  # noqa: PLR0913 - each one is an argument of the tool
        self,
        *,
        group_by: Dimension = "service",
        cost: Cost = "billed",
        days: Annotated[int, Field(ge=1, le=366)] | None = None,
        end: date | None = None,
        provider: str | None = None,
        limit: Limit = 10,
        export: str | None = None,
        context: ToolContext,
    ) -> TopMovers:
        """Compare two periods of the same length, next to each other.

        Args:
            group_by: What to compare; not `tag`, which needs a key.
            cost: `billed` is cash as invoiced, `effective` spreads commitments over
                their usage, `list` is before and `contracted` after negotiated prices.
            days: Length of each period; 30 when absent, or half of a shorter export.
            end: Last day (UTC) of the later period; the last of the export when absent.
            provider: Only this provider, such as AWS.
            limit: Most rows to return.
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        with _open(
            context, _Scope(end=end, provider=provider, export=export)
        ) as ledger:
            grouping = Grouping(cost=cost, group_by=group_by)
            return list_movers(ledger, grouping, days, limit)


class UntaggedSpendTool(_CostTool):
    """Show spend without tags, or without the tag keys that are required."""

    name = "untagged_spend"

    def execute(  # noqa: PLR0913 - each one is an argument of the tool
        self,
        *,
        required_keys: Annotated[list[str], Field(max_length=20)] | None = None,
        cost: Cost = "billed",
        start: date | None = None,
        end: date | None = None,
        provider: str | None = None,
        limit: Limit = 20,
        export: str | None = None,
        context: ToolContext,
    ) -> UntaggedSpend:
        """Sum Usage and Purchase charges that lack tags; taxes and credits have none.

        Args:
            required_keys: Tag keys that must all have a value, compared exactly;
                without them, a charge with any tag value counts as tagged.
            cost: `billed` is cash as invoiced, `effective` spreads commitments over
                their usage, `list` is before and `contracted` after negotiated prices.
            start: First day (UTC), included.
            end: Last day (UTC), included.
            provider: Only this provider, such as AWS.
            limit: Most services to return.
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        scope = _Scope(start=start, end=end, provider=provider, export=export)
        with _open(context, scope) as ledger:
            return find_untagged(ledger, required_keys or (), cost, limit)


class CommitmentUsageTool(_CostTool):
    """Show how far reservations and savings plans are used, and what they cover."""

    name = "commitment_usage"

    def execute(
        self,
        *,
        start: date | None = None,
        end: date | None = None,
        provider: str | None = None,
        export: str | None = None,
        context: ToolContext,
    ) -> CommitmentUsage:
        """List commitments with their waste, and the coverage of the services.

        Args:
            start: First day (UTC), included.
            end: Last day (UTC), included.
            provider: Only this provider, such as AWS.
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        scope = _Scope(start=start, end=end, provider=provider, export=export)
        with _open(context, scope) as ledger:
            return describe_commitments(ledger)


class CostAnomaliesTool(_CostTool):
    """Find days on which a service cost far more than on the days before."""

    name = "cost_anomalies"

    def execute(  # noqa: PLR0913 - each one is an argument of the tool
        self,
        *,
        minimum_excess: Annotated[Decimal, Field(ge=0)] = Decimal(1),
        cost: Cost = "billed",
        start: date | None = None,
        end: date | None = None,
        provider: str | None = None,
        limit: Limit = 20,
        export: str | None = None,
        context: ToolContext,
    ) -> CostAnomalies:
        """Judge each day by a robust statistic; services with little history are named.

        Args:
            minimum_excess: Least amount above the expected, in the billing currency.
            cost: `billed` is cash as invoiced, `effective` spreads commitments over
                their usage, `list` is before and `contracted` after negotiated prices.
            start: First day (UTC), included; the days before it are no history then.
            end: Last day (UTC), included.
            provider: Only this provider, such as AWS.
            limit: Most anomalies to return.
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        scope = _Scope(start=start, end=end, provider=provider, export=export)
        with _open(context, scope) as ledger:
            return find_anomalies(ledger, cost, minimum_excess, limit)


class SavingsReportTool(_CostTool):
    """Rank what to save, each finding with its figures, rows, method and confidence.

    Estimates come from the last 30 days of the export; no charge counts twice. Rules
    that the data cannot answer are listed with the reason.
    """

    name = "savings_report"

    def execute(
        self,
        *,
        end: date | None = None,
        provider: str | None = None,
        limit: Limit = 20,
        export: str | None = None,
        context: ToolContext,
    ) -> SavingsReport:
        """Ask every savings rule about the charges.

        Args:
            end: Last day (UTC) to look at; the last of the export when absent.
            provider: Only this provider, such as AWS.
            limit: Most findings to return; the totals cover all of them.
            export: One file of the user's folder; all of them when absent.
            context: The call; given by the dispatcher, never by the caller.
        """
        with _open(
            context, _Scope(end=end, provider=provider, export=export)
        ) as ledger:
            return report_savings(ledger, limit)


TOOLS: Final = (
    CostOverviewTool,
    SpendBreakdownTool,
    TopMoversTool,
    UntaggedSpendTool,
    CommitmentUsageTool,
    CostAnomaliesTool,
    SavingsReportTool,
)
