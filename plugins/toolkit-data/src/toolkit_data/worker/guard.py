"""Which SQL may run at all: one SELECT over the user's tables, judged by its tree.

This is an allow-list over the statement tree that DuckDB's own parser builds, so that
spelling, quoting, comments and case cannot hide anything from it. What it lets through
still runs in a locked engine; it exists to answer with the true reason and remedy, and
because some functions read the host's settings or take raw addresses.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import duckdb

from toolkit_data.worker.request import JobError

QUERY_NODES: Final = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
)
"""Not INSERT_QUERY_NODE and such: since DuckDB 2.0 a WITH clause may change data."""

FROM_NODES: Final = frozenset(
    {
        "BASE_TABLE",
        "EMPTY",
        "EXPRESSION_LIST",
        "JOIN",
        "PIVOT",
        "SUBQUERY",
        "TABLE_FUNCTION",
    }
)
OTHER_NODES: Final = frozenset({"ORDER_DEFAULT", "ASCENDING", "DESCENDING"})
OTHER_SUFFIXES: Final = ("_MODIFIER", "_TYPE_INFO")

TABLE_FUNCTIONS: Final = frozenset(
    {"generate_series", "json_each", "json_tree", "range", "unnest"}
)
"""The only ones; all others read files, settings, memory addresses or run other SQL."""

FUNCTIONS_REFUSED: Final = frozenset(
    {
        "combine",  # the next four read raw aggregate states, unchecked
        "finalize",
        "to_aggregate_state",
        "variant_bytes_to_variant",
        "create_sort_key",
        "current_setting",  # the host's settings
        "getenv",
        "getvariable",
        "json_execute_serialized_sql",
        "nextval",  # a write
        "pg_sleep",
        "setval",
        "sleep_ms",
        "write_log",
    }
)
REFUSED_PREFIXES: Final = ("__internal", "pragma_", "read_")


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement fit to run: without its semicolon, and the tables it reads."""

    sql: str
    tables: frozenset[str]


def check(
    sql: str, *, tables: Iterable[str], connection: duckdb.DuckDBPyConnection
) -> Checked:
    """Judge a statement; runs nothing of it.

    Args:
        sql: What the user wrote.
        tables: The names that may be read.
        connection: Any connection, for its parser and its list of built-in views.

    Raises:
        JobError: It is no SQL, not one SELECT, or reads or calls what it must not.
    """
    text = _one_select(sql, connection)
    known = {name.casefold(): name for name in tables}
    found: set[str] = set()
    aliases: set[str] = set()
    for node in _nodes(_tree(text, connection)):
        _judge_kind(node)
        _judge_function(node)
        aliases.update(_cte_names(node))
        found.update(_table_names(node))
    _judge_aliases(aliases, connection)
    read = found - aliases | (found & set(known))
    for name in sorted(read - set(known)):
        raise JobError("unknown_table", unknown_table(name, known.values()))
    return Checked(text, frozenset(known[name] for name in read))


def _one_select(sql: str, connection: duckdb.DuckDBPyConnection) -> str:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise JobError("sql", str(error).strip()) from None
    if len(statements) != 1:
        raise JobError(
            "refused",
            f"Exactly one SELECT is allowed, and this holds {len(statements)} "
            "statements; send one per call.",
        )
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        hint = " (write PIVOT as a table: FROM (PIVOT t ON c IN ('x', 'y') USING …))"
        raise JobError(
            "refused",
            f"Only SELECT is allowed, and this is {kind.name}; data cannot be changed "
            "nor settings, files or extensions reached. Rewrite it as one SELECT"
            f"{hint if kind == duckdb.StatementType.MULTI else ''}.",
        )
    return _without_semicolon(sql)


def _without_semicolon(sql: str) -> str:
    encoded = sql.encode()  # the tokenizer counts bytes
    for start, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.operator and encoded[start : start + 1] == b";":
            return encoded[:start].decode()
    return sql


def _tree(sql: str, connection: duckdb.DuckDBPyConnection) -> Any:  # noqa: ANN401 - JSON
    try:
        row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
        tree = json.loads(row[0] if row else "{}")
    except (duckdb.Error, RecursionError):
        tree = {}
    if tree.get("error") is not False:
        raise JobError(
            "refused", "This statement cannot be judged; write it in a simpler form."
        )
    return tree["statements"]


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - JSON
    """Every object of the tree; iterative, since its depth is the user's choice."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _judge_kind(node: Mapping[str, Any]) -> None:
    kind = node.get("type")
    if not isinstance(kind, str) or "class" in node:
        return  # an expression; what it calls is judged by name
    if kind in QUERY_NODES or kind in FROM_NODES or kind in OTHER_NODES:
        return
    if kind.endswith(OTHER_SUFFIXES):
        return
    if kind == "SHOW_REF":
        raise JobError(
            "refused",
            "DESCRIBE, SHOW and SUMMARIZE are not allowed in SQL; call list_tables, "
            "describe_table or profile_table instead.",
        )
    raise JobError(
        "refused",
        f"Only reading is allowed, and this holds {kind}; rewrite it as one SELECT.",
    )


def _judge_function(node: Mapping[str, Any]) -> None:
    if node.get("type") == "TABLE_FUNCTION":
        name = _function_name(node["function"])
        if name not in TABLE_FUNCTIONS:
            raise JobError(
                "refused",
                f"The table function {name}() is not allowed; files are read only "
                "as tables, by the names that list_tables gives.",
            )
    elif "function_name" in node:
        name = _function_name(node)
        if name in FUNCTIONS_REFUSED or name.startswith(REFUSED_PREFIXES):
            raise JobError(
                "refused",
                f"The function {name}() is not allowed, because it reaches beyond "
                "the tables; leave it out.",
            )


def _function_name(node: Mapping[str, Any]) -> str:
    return str(node.get("function_name", "")).casefold()


def _cte_names(node: Mapping[str, Any]) -> Iterator[str]:
    named = node.get("cte_map")
    if isinstance(named, dict):
        yield from (str(item["key"]).casefold() for item in named.get("map", ()))


def _table_names(node: Mapping[str, Any]) -> Iterator[str]:
    if node.get("type") != "BASE_TABLE":
        return
    path = node["qualified_name"]["path"]
    if len(path) != 1:
        raise JobError(
            "refused",
            f"{'.'.join(path)} names a schema or catalog; write a table's bare name.",
        )
    yield str(path[0]).casefold()


def _judge_aliases(
    aliases: Iterable[str], connection: duckdb.DuckDBPyConnection
) -> None:
    # A WITH name is visible in its scope only; beyond, it would mean the view.
    views = {
        str(name).casefold()
        for (name,) in connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE internal"
        ).fetchall()
    }
    for name in sorted(views.intersection(aliases)):
        raise JobError(
            "refused", f"The name {name} is taken by a system view; choose another."
        )


def unknown_table(name: str, known: Iterable[str]) -> str:
    """Say that there is no such table, and which ones are near by name."""
    by_key = {item.casefold(): item for item in known}
    near = [by_key[key] for key in get_close_matches(name.casefold(), by_key, n=3)]
    if near:
        remedy = f"did you mean {', '.join(near)}?"
    elif by_key:
        remedy = "call list_tables for their names."
    else:
        remedy = "this user has no tables yet."
    return f"There is no table {name!r}; {remedy}"
