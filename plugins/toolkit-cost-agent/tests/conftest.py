"""Fixtures: an agent is asked as a user asks it, in a real run over the real tools."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from toolkit.testing import ToldRun, ask_agent, make_user, tool_system
from toolkit_cloud_costs.tools import TOOLS
from toolkit_cost_agent.agent import CostOptimizationAgent

Ask = Callable[..., ToldRun]


@pytest.fixture(scope="module", autouse=True)
def _no_settings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA_ROOT", "BILLING_EXPORT", "BILLING_MEMORY"):
            patch.delenv(f"TOOLKIT_{name}", raising=False)
        yield


@pytest.fixture(scope="module")
def ask() -> Ask:
    """Ask `cost_optimization_agent` as ada, of the sample unless she has more."""

    def ask_it(
        message: str,
        scopes: Iterable[str] = ("costs:read",),
        metadata: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> ToldRun:
        user = make_user("ada", scopes=scopes, metadata=metadata or {})
        tools = how.pop("tools", TOOLS)
        with tool_system(*tools, user=user) as system:
            return asyncio.run(ask_agent(system, message, CostOptimizationAgent, **how))

    return ask_it
