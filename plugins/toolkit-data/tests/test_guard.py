"""What the guard lets through: a wall that refuses everything would be no use."""

import duckdb
import pytest

from toolkit_data.worker.guard import check
from toolkit_data.worker.request import JobError

ALLOWED = [
    "SELECT * FROM t",
    "FROM T SELECT a;",
    "TABLE t -- comment",
    "SELECT ';' AS \"a;b\" FROM t /* ; */ ; -- ; done",
    "VALUES (1), (2)",
    "SELECT * EXCLUDE (a) REPLACE (b + 1 AS b) FROM t",
    "SELECT DISTINCT ON (a) a FROM t ORDER BY a DESC NULLS LAST LIMIT 50%",
    "SELECT a, sum(b) FROM t GROUP BY GROUPING SETS ((a), ()) HAVING count(*) > 1",
    "SELECT a FROM t WINDOW w AS (ORDER BY b) QUALIFY row_number() OVER w = 1",
    "SELECT * FROM t ASOF JOIN u ON t.a >= u.a",
    "SELECT * FROM t SEMI JOIN u USING (a)",
    "SELECT * FROM t, unnest([1, 2]) AS x(i), range(3), LATERAL (SELECT t.a)",
    "SELECT CAST(a AS STRUCT(x INT, y INT[])), a::DECIMAL(5, 2), a::ENUM('x') FROM t",
    "SELECT * FROM t TABLESAMPLE 10%",
    "WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a FROM r WHERE a < 3) FROM r",
    "WITH x AS MATERIALIZED (FROM t) SELECT * FROM x INTERSECT FROM t EXCEPT FROM t",
    "SELECT * FROM (PIVOT t ON a IN (1, 2) USING count(*))",
    "UNPIVOT t ON a, b",
    "SELECT list_transform([1], lambda x: x + 1), [x FOR x IN [1]] FROM t",
    "SELECT COLUMNS('a') FROM t",
    "SELECT CASE WHEN EXISTS (FROM u) THEN a END, (SELECT max(a) FROM u) FROM t",
    "SELECT * FROM json_each('{}')",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_ordinary_analysis_passes(sql: str) -> None:
    """All of DuckDB's SELECT is there, over the user's own tables."""
    with duckdb.connect(":memory:") as connection:
        checked = check(sql, tables=["t", "u"], connection=connection)
        assert checked.tables <= {"t", "u"}
        connection.execute("CREATE TABLE t (a INT, b INT); CREATE TABLE u (a INT)")
        relation = connection.sql(f"SELECT 1 FROM (\n{checked.sql}\n)")  # noqa: S608 - it is
        assert relation.columns == ["1"]


def test_only_the_tables_that_are_read_are_named() -> None:
    """What is not read is not loaded, whatever the names' case."""
    with duckdb.connect(":memory:") as connection:
        checked = check("FROM ORDERS", tables=["Orders", "x"], connection=connection)
    assert checked.tables == {"Orders"}


@pytest.mark.parametrize(
    ("tables", "remedy"),
    [
        (["orders", "customers"], "did you mean orders?"),
        (["zzz"], "call list_tables"),
        ([], "no tables yet"),
    ],
)
def test_an_unknown_table_is_answered_with_near_names(
    tables: list[str], remedy: str
) -> None:
    """The remedy fits what the user has (B9)."""
    with (
        duckdb.connect(":memory:") as connection,
        pytest.raises(JobError) as caught,
    ):
        check("FROM ordrs", tables=tables, connection=connection)
    assert caught.value.kind == "unknown_table"
    assert remedy in str(caught.value)
