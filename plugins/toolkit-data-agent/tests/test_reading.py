"""Questions as plans, and plans as SQL: pure, and the same every time."""

from string import Template

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit_data_agent.agent import _choose
from toolkit_data_agent.answer import examples
from toolkit_data_agent.plan import Filter
from toolkit_data_agent.reading import read_question
from toolkit_data_agent.sql import write_sql
from toolkit_data_agent.tables import (
    Column,
    Table,
    by_name,
    choose_table,
    is_named,
)
from toolkit_data_agent.words import split_name, stem


def table(name: str = "orders", **types: str) -> Table:
    columns = tuple(Column(one, kind) for one, kind in types.items())
    return Table(name, f"{name}.csv", 30, columns)


ORDERS = table(
    id="BIGINT",
    customer_id="BIGINT",
    customer="VARCHAR",
    country="VARCHAR",
    ordered_on="DATE",
    amount="DOUBLE",
    discount="DECIMAL(9,2)",
)
VALUES = {"country": ["Italy", "United Kingdom"], "customer": ["ann", "bob"]}


def figure(function: str, column: str, words: str) -> str:
    return (
        f'{function}("{column}") AS "{words} {column}", '
        f'count("{column}") AS "values used", count(*) AS "rows"'
    )


PARTS = {
    "count": 'SELECT count(*) AS "number of rows"',
    "italy": """WHERE lower("country"::VARCHAR) = lower('Italy')""",
    "by_country": 'FROM "orders" GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1',
    "total": figure("sum", "amount", "total of"),
    "average": figure("avg", "amount", "average of"),
    "median": figure("median", "discount", "median of"),
    "largest": figure("max", "amount", "largest"),
    "latest": figure("max", "ordered_on", "largest"),
    "rows": 'SELECT * FROM "orders"',
    "month": """strftime("ordered_on", '%Y-%m') AS "month of ordered_on\"""",
    "in_2025": """WHERE $day >= '2025-01-01' AND $day < '2026-01-01'""",
    "december": """WHERE $day >= '2025-12-01' AND $day < '2026-01-01'""",
    "day": '"ordered_on"',
    "country": """lower("country"::VARCHAR)""",
}
"""What stands for `$count` and so on in the SQL below."""

COUNTS = 'SELECT "country", count(*) AS "number of rows" $by_country'
TOTALS = 'SELECT "country", $total $by_country'
ALTERNATIVES = "($country = lower('France') OR $country = lower('United Kingdom'))"


@pytest.mark.parametrize(
    ("question", "sql"),
    [
        ("How many orders are there?", '$count FROM "orders"'),
        ("count the rows", '$count FROM "orders"'),
        ("How many orders are from Italy?", '$count FROM "orders" $italy'),
        ("number of orders per country", COUNTS),
        ("Which country has the most orders?", COUNTS),
        ("most common country", COUNTS),
        ("list all countries", COUNTS),
        ("Total amount by country", TOTALS),
        ("amount per country", TOTALS),
        ("top 3 countries by amount", TOTALS),
        (
            "sum of amount per month in 2025",
            """SELECT $month, $total FROM "orders" $in_2025 GROUP BY 1 ORDER BY 1""",
        ),
        (
            "average amount where country is Italy",
            'SELECT $average FROM "orders" $italy',
        ),
        (
            "median discount in December 2025",
            """SELECT $median FROM "orders" $december""",
        ),
        ("what is the highest amount", 'SELECT $largest FROM "orders"'),
        ("when was the latest order", 'SELECT $latest FROM "orders"'),
        ("show me the first rows", "$rows"),
        ("the 3 largest amounts", '$rows ORDER BY "amount" DESC NULLS LAST'),
        ("orders sorted by amount ascending", '$rows ORDER BY "amount" ASC NULLS LAST'),
        ("last 5 orders", '$rows ORDER BY "ordered_on" DESC NULLS LAST'),
        (
            "list customer and amount where amount over 1,000.5",
            'SELECT "customer", "amount" FROM "orders" WHERE "amount" > 1000.5',
        ),
        ("amount between 3 and 5", '$rows WHERE "amount" >= 3 AND "amount" <= 5'),
        (
            "orders where country is not Italy and amount at least 20",
            """$rows WHERE $country != lower('Italy') AND "amount" >= 20""",
        ),
        (
            "how many orders where country is France or United Kingdom",
            f'$count FROM "orders" WHERE {ALTERNATIVES}',
        ),
        (
            "how many orders without a discount",
            '$count FROM "orders" WHERE "discount" IS NULL',
        ),
        (
            "orders where customer contains 'nn'",
            """$rows WHERE contains(lower("customer"::VARCHAR), lower('nn'))""",
        ),
        ("orders since 2026-01-05", """$rows WHERE "ordered_on" >= '2026-01-05'"""),
    ],
    ids=lambda one: one if "$" not in one else "",
)
def test_question_becomes_the_sql_that_it_asks_for(question: str, sql: str) -> None:
    """Read functions, groups, filters, times and limits out of plain English."""
    plan = read_question(question, ORDERS, VALUES)
    assert plan is not None
    whole = Template(Template(sql).substitute(PARTS)).substitute(PARTS)
    assert write_sql(plan).replace("\n", " ") == whole


def test_smallest_come_first_when_they_are_asked_for() -> None:
    """Sort the other way round for `bottom`."""
    plan = read_question("bottom 2 countries by amount", ORDERS)
    assert plan is not None
    assert plan.limit == 2
    assert "ORDER BY 2 ASC NULLS LAST" in write_sql(plan)


def test_alternatives_are_never_asked_for_together() -> None:
    """Read two countries as one or the other; say so where `or` joins two columns."""
    plan = read_question("orders from Italy or the United Kingdom", ORDERS, VALUES)
    assert plan is not None
    assert [str(one) for one in plan.filters] == ["country is United Kingdom or Italy"]
    assert plan.unread == ()
    mixed = read_question("orders where country is Italy or amount over 5", ORDERS)
    assert mixed is not None
    assert mixed.unread == ("or",)
    assert mixed.choices == ("I took all the conditions to hold together.",)


@pytest.mark.parametrize(
    "question",
    ["", "hello", "tell me a joke", "; DROP TABLE orders; --", "注文はいくつですか"],
)
def test_what_asks_for_nothing_becomes_no_plan(question: str) -> None:
    """Guess nothing where no word asks for anything."""
    assert read_question(question, ORDERS, VALUES) is None


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("how many orders with a golden ribbon", ("golden", "ribbon")),
        ("average amount of happy customers", ("happy",)),
        ("total amount in 2025-13", ("2025-13",)),
        ("orders where amount is over lots", ("over", "lots")),
        ("how many orders on 2026-02-31", ("2026-02-31",)),
    ],
)
def test_words_that_nothing_was_made_of_are_kept(
    question: str, words: tuple[str, ...]
) -> None:
    """Let no figure pass for the answer to a question that was not understood."""
    plan = read_question(question, ORDERS)
    assert plan is not None
    assert set(words) <= set(plan.unread)


def test_choice_between_columns_is_said() -> None:
    """Take one of the columns that a word fits, and name the others."""
    shop = table(unit_price="DOUBLE", total_price="DOUBLE", sold_on="DATE", due="DATE")
    plan = read_question("average price in 2025", shop)
    assert plan is not None
    assert plan.choices == (
        "I took the column sold_on: there are also due.",
        "I took the column unit_price: the words also fit total_price.",
    )


def test_names_are_preferred_to_ids() -> None:
    """Count customers by their name where there is an id as well."""
    plan = read_question("how many customers", ORDERS)
    assert plan is not None
    assert str(plan.measure) == "number of different values of customer"
    assert "I counted the different values of customer" in plan.choices[0]
    buyers = table(buyer_id="BIGINT", buyer_name="VARCHAR", buyer_no="BIGINT")
    named = read_question("how many buyers", buyers)
    assert named is not None
    assert str(named.measure) == "number of different values of buyer_name"


def test_column_that_is_named_like_a_function_is_a_column() -> None:
    """Read `total` as the column where there is one of that name."""
    plan = read_question("total by region", table(total="DOUBLE", region="VARCHAR"))
    assert plan is not None
    assert str(plan.measure) == "total of total"


def test_values_without_their_column_are_found() -> None:
    """Filter on the column that a value is known to occur in, the longest first."""
    plan = read_question("orders from the united kingdom for ann", ORDERS, VALUES)
    assert plan is not None
    assert {str(one) for one in plan.filters} == {
        "country is United Kingdom",
        "customer is ann",
    }
    assert plan.unread == ()


@pytest.mark.parametrize(("number", "shown"), [("0", 1), ("7", 7), ("9999", 50)])
def test_number_of_rows_is_bounded(number: str, shown: int) -> None:
    """Show between one row and fifty, whatever is asked."""
    plan = read_question(f"show the top {number} orders by amount", ORDERS)
    assert plan is not None
    assert plan.limit == shown


def test_table_is_chosen_by_its_name_and_then_by_its_columns() -> None:
    """Weigh the name of a table more than its columns, and say when it was open."""
    stock = table("stock_items", item="VARCHAR", quantity="BIGINT")
    other = table("orders_2024", amount="DOUBLE")
    assert choose_table("how many stock items", [ORDERS, stock]) == (stock, False)
    assert choose_table("total quantity", [ORDERS, stock]) == (stock, False)
    assert choose_table("hello", [ORDERS, stock]) == (ORDERS, True)
    assert by_name("stock", ["orders", "stock_items"]) == ["stock_items", "orders"]
    assert is_named("orders of 2024", other.name)
    assert not is_named("orders", other.name)


def test_only_so_many_tables_are_looked_at() -> None:
    """Say which tables were not taken, and how many were not even looked at."""
    stock = table("stock", item="VARCHAR", quantity="BIGINT")
    found, choices = _choose("total", [ORDERS, stock], 2, [])
    assert found is ORDERS
    assert choices == [
        "I took the table orders; the others are stock.",
        "I left 2 more tables aside; name the one you mean.",
    ]


@pytest.mark.parametrize("one", [ORDERS, table(a="BLOB"), table(b="DATE", c="INTEGER")])
def test_examples_that_are_suggested_are_understood(one: Table) -> None:
    """Suggest no question that would not be answered."""
    for question in examples(one):
        plan = read_question(question, one)
        assert plan is not None
        assert plan.unread == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("orderDate", ("order", "date")),
        ("order_items", ("order", "item")),
        ("Größe (cm)", ("grösse", "cm")),
        ("", ()),
    ],
)
def test_names_fall_into_words(name: str, words: tuple[str, ...]) -> None:
    """Split at capitals, underscores and blanks."""
    assert split_name(name) == words


@pytest.mark.parametrize(
    ("word", "root"),
    [("countries", "country"), ("boxes", "box"), ("gas", "gas"), ("status", "status")],
)
def test_plurals_are_singular(word: str, root: str) -> None:
    """Take the ending of a plural off, and of nothing else."""
    assert stem(word) == root


# --- what may never happen -----------------------------------------------------------

HOSTILE = table(
    'a"; DROP TABLE x; --',
    **{
        'na"me': "VARCHAR",
        "va'lue": "DOUBLE",
        "; DELETE": "DATE",
        "": "VARCHAR",
        "how many": "BIGINT",
        "list": "INTEGER[]",
    },
)
FRAGMENTS = st.sampled_from(
    [
        *("how many", "average", "top 3", "by", "per month", "where", "is", "na me"),
        *("value", "delete", "over", "'", '"', ";", "--", "/*", "\\", "'; DROP", "\0"),
        *("or", "and", "between 1 and 2", "in 2025", "1e400", "nan", "infinity", "::"),
        *("list", "contains", "x' OR '1'='1", "$$", "\u2028", "٣", "\U0001d7d7"),
    ]
)


@given(st.lists(FRAGMENTS | st.text(max_size=8), max_size=14).map(" ".join))
def test_any_message_becomes_one_select_or_nothing(message: str) -> None:
    """Let neither names nor values break out of their quotes."""
    for one in (HOSTILE, ORDERS):
        plan = read_question(message, one, {'na"me': ["x' OR '1'='1"]})
        if plan is not None:
            (statement,) = duckdb.extract_statements(write_sql(plan))
            assert statement.type == duckdb.StatementType.SELECT


def test_value_is_quoted_whatever_it_holds() -> None:
    """Double the quotes of a value that tries to end its text."""
    plan = read_question('orders where customer is "x\'; DROP TABLE y; --"', ORDERS)
    assert plan is not None
    assert plan.filters == (Filter(ORDERS.columns[2], "=", ("x'; DROP TABLE y; --",)),)
    assert "lower('x''; DROP TABLE y; --')" in write_sql(plan)


def test_huge_message_is_read_in_its_beginning_only() -> None:
    """Read 2,000 characters of a message of 64 KiB, within the time of a test."""
    plan = read_question("how many orders " + "by country " * 6_000 + "gold", ORDERS)
    assert plan is not None
    assert plan.measure is not None
    assert "gold" not in plan.unread
