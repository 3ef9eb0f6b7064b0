"""Fixtures: two users' folders under one root, and a query as a user sends it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit import ToolContext, UserContext
from toolkit_data.models import QueryResult
from toolkit_data.tools import QueryTables

ORDERS = (
    "id,customer,ordered_on,amount\n"
    "1,ann,2026-01-05,10.50\n"
    "2,bob,2026-01-06,20.25\n"
    "3,ann,2026-01-07,\n"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "users"
    (folder / "ann").mkdir(parents=True)
    (folder / "bob").mkdir()
    monkeypatch.setenv("TOOLKIT_DATA_ROOT", str(folder))
    return folder


@pytest.fixture
def home(root: Path) -> Path:
    (root / "ann" / "orders.csv").write_text(ORDERS)
    return root / "ann"


@pytest.fixture
def ann() -> UserContext:
    return UserContext(user_id="ann", scopes=frozenset({"data:read"}))


@pytest.fixture
def context(ann: UserContext) -> ToolContext:
    return ToolContext(user=ann, call_id="call-1", tool_name="any")


@pytest.fixture
def query(ann: UserContext, context: ToolContext) -> Callable[..., QueryResult]:
    def run(sql: str, limit: int = 100) -> QueryResult:
        return QueryTables(ann).execute(sql, limit, context=context)

    return run
