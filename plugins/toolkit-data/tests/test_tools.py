"""The four tools as a user calls them."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from toolkit import (
    ToolContext,
    ToolError,
    ToolResult,
    UserContext,
    UserContextToolFactory,
)
from toolkit_data.models import QueryResult
from toolkit_data.tools import DescribeTable, ListTables, ProfileTable, QueryTables

pytestmark = [pytest.mark.integration, pytest.mark.no_docker]


def test_every_tool_says_what_it_needs_and_that_it_only_reads() -> None:
    """Scopes and hints are properties of the tool (B58)."""
    for tool in (ListTables, DescribeTable, ProfileTable, QueryTables):
        assert tool.required_scopes == {"data:read"}
        assert tool.read_only
        assert tool.__doc__


def test_tables_are_listed_with_what_sql_needs(home: Path, ann: UserContext) -> None:
    """Names, quoted names, formats and sizes are all there."""
    (home / "passwd.csv").symlink_to("/etc/passwd")
    listed = ListTables(ann).execute()
    (table,) = listed.tables
    assert (table.name, table.sql_name, table.format) == ("orders", '"orders"', "csv")
    assert table.size_bytes == (home / "orders.csv").stat().st_size
    assert table.modified.endswith("+00:00")
    assert [item.file for item in listed.skipped] == ["passwd.csv"]
    assert str(home) not in listed.model_dump_json()


def test_a_user_without_files_has_an_empty_list(
    root: Path, context: ToolContext
) -> None:
    """No folder is no error for the list, and a remedy for the rest."""
    assert root.exists()
    carol = UserContext(user_id="carol")
    assert ListTables(carol).execute().tables == ()
    with pytest.raises(ToolError, match="no tables yet; put a CSV"):
        QueryTables(carol).execute("SELECT 1", context=context)


def test_a_description_has_types_count_and_first_rows(
    home: Path, ann: UserContext, context: ToolContext
) -> None:
    """One call tells what a table looks like; names match in any case."""
    assert home.exists()
    described = DescribeTable(ann).execute("ORDERS", 1, context=context)
    assert [(column.name, column.type) for column in described.columns] == [
        ("id", "BIGINT"),
        ("customer", "VARCHAR"),
        ("ordered_on", "DATE"),
        ("amount", "DOUBLE"),
    ]
    assert described.row_count == 3
    assert described.sample_rows == ((1, "ann", "2026-01-05", 10.5),)
    assert (described.table, described.file) == ("orders", "orders.csv")


def test_a_profile_is_exact(home: Path, ann: UserContext, context: ToolContext) -> None:
    """Nulls, distinct values, range, frequent values and quantiles are counted."""
    assert home.exists()
    profile = ProfileTable(ann).execute("orders", context=context)
    found = {column.name: column for column in profile.columns}
    assert profile.row_count == 3
    amount, customer = found["amount"], found["customer"]
    assert (amount.null_count, amount.distinct_count) == (1, 2)
    assert (amount.min, amount.max, amount.mean) == (10.5, 20.25, 15.375)
    assert amount.quantiles is not None
    assert amount.quantiles["p50"] == 15.375
    assert [(top.value, top.count) for top in customer.top_values] == [
        ("ann", 2),
        ("bob", 1),
    ]
    assert (customer.quantiles, customer.mean) == (None, None)
    assert found["ordered_on"].max == "2026-01-07"


def test_a_profile_bears_every_kind_of_column(
    home: Path, ann: UserContext, context: ToolContext
) -> None:
    """Nested values, infinities, empty columns and odd names break nothing (B28)."""
    rows = [
        {"n": [1, {"x": None}], "s": {"a": 1}, 'odd "name"': 1e308, "e": None},
        {"n": [], "s": {"a": 1}, 'odd "name"': -1e308, "e": None},
    ]
    text = "\n".join(map(json.dumps, rows))
    (home / "odd.jsonl").write_text(text)
    profile = ProfileTable(ann).execute("odd", context=context)
    found = {column.name: column for column in profile.columns}
    assert found["s"].top_values[0].value == {"a": 1}
    assert found["s"].top_values[0].count == 2
    assert found["n"].distinct_count == 2
    assert found["e"].null_count == 2
    assert found['odd "name"'].min == -1e308


def test_chosen_columns_only_and_unknown_ones_named(
    home: Path, ann: UserContext, context: ToolContext
) -> None:
    """A profile can be narrowed; a wrong name is answered with the right ones."""
    assert home.exists()
    tool = ProfileTable(ann)
    profile = tool.execute("orders", ["Amount"], context=context)
    assert [column.name for column in profile.columns] == ["amount"]
    with pytest.raises(ToolError, match="no column 'price'; the table has id, cust"):
        tool.execute("orders", ["price"], context=context)


def test_many_columns_are_cut_and_flagged(
    home: Path,
    ann: UserContext,
    context: ToolContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wide table is described in part, and says so (B29)."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_MAX_COLUMNS", "2")
    described = DescribeTable(ann).execute("orders", context=context)
    profiled = ProfileTable(ann).execute("orders", context=context)
    assert len(described.columns) == len(profiled.columns) == 2
    assert described.columns_truncated
    assert profiled.columns_truncated


def test_a_query_joins_orders_and_aggregates(
    home: Path, query: Callable[..., QueryResult]
) -> None:
    """Several files are joined in one SELECT, and the order is kept."""
    (home / "people").mkdir()
    (home / "people" / "2026.jsonl").write_text(
        '{"name": "ann", "city": "Oslo"}\n{"name": "bob", "city": "Rome"}\n'
    )
    result = query(
        "SELECT city, count(*) AS n, sum(amount) AS total, 1 AS n "
        "FROM orders JOIN people__2026 ON name = customer "
        "GROUP BY city ORDER BY total DESC; -- done"
    )
    assert result.rows == (("Rome", 1, 20.25, 1), ("Oslo", 2, 10.5, 1))
    assert [column.name for column in result.columns] == ["city", "n", "total", "n"]
    assert result.tables == ("orders", "people__2026")
    assert not result.truncated


def test_rows_beyond_the_limit_are_cut_and_flagged(
    home: Path, query: Callable[..., QueryResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the limit is whole; one more is cut and says so (B29)."""
    assert home.exists()
    assert not query("FROM orders", 3).truncated
    cut = query("FROM orders ORDER BY id DESC", 2)
    assert (cut.row_count, cut.truncated, cut.truncated_by) == (2, True, "rows")
    assert [row[0] for row in cut.rows] == [3, 2]
    monkeypatch.setenv("TOOLKIT_DATA_MAX_ROWS", "1")
    assert query("FROM orders", 100).row_count == 1


def test_a_result_beyond_its_size_is_cut_and_flagged(
    home: Path, query: Callable[..., QueryResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size ends a result like rows do; a row that can never fit is an error."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_MAX_RESULT_BYTES", "1000")
    cut = query("SELECT repeat('x', 300) FROM range(50)")
    assert (cut.row_count, cut.truncated_by) == (3, "bytes")
    with pytest.raises(ToolError, match="One row is larger than the 1000 bytes"):
        query("SELECT repeat('x', 1500)")


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("SELECT repeat('é', 5000) AS v", "é" * 2000),
        ("SELECT range(5000) AS v", "[0,1,2,"),
        ("SELECT repeat('a', 9000)::BLOB AS v", "YWFh"),
    ],
)
def test_a_huge_value_is_cut_and_flagged(
    home: Path, query: Callable[..., QueryResult], sql: str, kept: str
) -> None:
    """Where a value was cut is said, and it stays a value one can read (B29)."""
    assert home.exists()
    result = query(sql)
    ((value,),) = result.rows
    assert isinstance(value, str)
    assert value.startswith(kept)
    assert len(value) <= 2000
    assert [(cell.row, cell.column) for cell in result.cut_cells] == [(0, "v")]


def test_files_too_large_to_load_are_refused_with_a_remedy(
    home: Path,
    query: Callable[..., QueryResult],
    ann: UserContext,
    context: ToolContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loading is bounded; describing still works, since it loads nothing."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_MAX_INPUT_BYTES", "10")
    with pytest.raises(ToolError, match="read fewer tables per call"):
        query("FROM orders")
    assert query("SELECT 1").rows == ((1,),)
    assert DescribeTable(ann).execute("orders", context=context).row_count == 3


def test_a_wrong_query_gets_the_engines_own_words(
    home: Path, query: Callable[..., QueryResult]
) -> None:
    """The candidate columns are named, and no path of the host (B9)."""
    with pytest.raises(ToolError, match='Candidate bindings: "amount"') as caught:
        query("SELECT amuont FROM orders")
    assert str(home) not in str(caught.value)
    with pytest.raises(ToolError, match="Conversion Error"):
        query("SELECT customer::INT FROM orders")


def test_an_unknown_table_is_answered_with_near_names(
    home: Path, ann: UserContext, context: ToolContext
) -> None:
    """Near names come from this user's own tables only (B9)."""
    assert home.exists()
    for tool in (DescribeTable(ann), ProfileTable(ann)):
        with pytest.raises(ToolError, match="no table 'order'; did you mean orders"):
            tool.execute("order", context=context)


def test_changed_and_new_files_are_seen_by_the_next_call(
    home: Path, query: Callable[..., QueryResult]
) -> None:
    """Nothing is remembered between calls."""
    assert query("SELECT count(*) FROM orders").rows == ((3,),)
    (home / "orders.csv").write_text("id,price\n7,1\n")
    (home / "new.csv").write_text("a\n1\n")
    assert query("FROM orders").rows == ((7, 1),)
    assert query("FROM new").rows == ((1,),)
    (home / "new.csv").unlink()
    with pytest.raises(ToolError, match="no table 'new'"):
        query("FROM new")


def test_a_system_name_is_free_for_a_users_file(
    home: Path, query: Callable[..., QueryResult]
) -> None:
    """A file called like a system view is the user's file, not the view."""
    (home / "pg_settings.csv").write_text("a\n1\n")
    assert query("FROM pg_settings").rows == ((1,),)


def test_second_user_never_sees_first_users_tables(
    home: Path, root: Path, context: ToolContext
) -> None:
    """The same SQL answers from each user's own folder, or not at all (S3, S41)."""
    assert home.exists()
    (root / "bob" / "private.csv").write_text("a\n42\n")
    ann, bob = (UserContext(user_id=name) for name in ("ann", "bob"))
    assert [t.name for t in ListTables(bob).execute().tables] == ["private"]
    sql = "FROM private"
    assert QueryTables(bob).execute(sql, context=context).rows == ((42,),)
    with pytest.raises(ToolError) as caught:
        QueryTables(ann).execute(sql, context=context)
    assert str(caught.value) == (
        "There is no table 'private'; call list_tables for their names."
    )


def test_concurrent_calls_do_not_disturb_each_other(
    home: Path, ann: UserContext, context: ToolContext
) -> None:
    """One instance serves calls from several threads at once (S13, S57)."""
    assert home.exists()
    tool = QueryTables(ann)
    barrier = Barrier(4, timeout=5)

    def call(number: int) -> QueryResult:
        barrier.wait()
        return tool.execute(f"SELECT {number}, count(*) FROM orders", context=context)  # noqa: S608 - our number

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(call, range(4)))
    assert [result.rows for result in results] == [((n, 3),) for n in range(4)]


def test_a_wrong_setting_is_the_operators_to_correct(
    home: Path, ann: UserContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller learns that it is not their fault."""
    assert home.exists()
    monkeypatch.setenv("TOOLKIT_DATA_THREADS", "lots")
    with pytest.raises(ToolError, match="the operator must correct"):
        ListTables(ann).execute()


def test_the_dispatcher_serves_the_tools_to_who_holds_the_scope(
    home: Path, ann: UserContext
) -> None:
    """Through the core: results, our error text, nothing without scope (B66)."""
    assert home.exists()
    classes = (ListTables, DescribeTable, ProfileTable, QueryTables)

    async def ask(user: UserContext, sql: str) -> tuple[int, ToolResult]:
        factory = UserContextToolFactory()
        async with factory.create_user_tool_system(
            user_context=user, tool_classes=classes
        ) as system:
            result = await system.dispatcher.execute("query_tables", {"sql": sql})
            return len(system.get_all_tools()), result

    count, answer = asyncio.run(ask(ann, "SELECT id FROM orders ORDER BY id"))
    assert count == 4
    assert json.loads(answer.value_json())["rows"] == [[1], [2], [3]]
    _, refused = asyncio.run(ask(ann, "FROM '/etc/passwd'"))
    assert refused.error is not None
    assert "There is no table '/etc/passwd'" in refused.error.message
    count, hidden = asyncio.run(ask(UserContext(user_id="ann"), "FROM orders"))
    assert (count, hidden.ok) == (0, False)
