"""Every escape we could think of, through the tool, and then without its guard.

The first table goes through `query_tables` as a user would, and asserts the reason. The
second hands statements straight to a locked engine, as if the guard had missed them.
The third asks the operating system, as if the engine had missed them too.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from toolkit import ToolError
from toolkit_data.limits import Limits
from toolkit_data.models import QueryResult
from toolkit_data.worker.engine import Engine
from toolkit_data.worker.request import Source

pytestmark = [pytest.mark.integration, pytest.mark.no_docker]

SECRET = "the-secret-of-bob"
NO_TABLE = "There is no table"
NOT_SELECT = "Only SELECT is allowed"
NO_TABLE_FUNCTION = r"table function \w+\(\) is not allowed"
NO_FUNCTION = r"function \w+\(\) is not allowed, because it reaches beyond"
NOT_READING = "Only reading is allowed"
BARE_NAME = "write a table's bare name"
SYSTEM_VIEW = "taken by a system view"
NO_SHOW = "call list_tables"

ATTACKS = {
    # files by name
    "FROM '/etc/passwd'": NO_TABLE,
    "FROM '../bob/secret.csv'": NO_TABLE,
    "FROM '{root}/bob/secret.csv'": NO_TABLE,
    "FROM '{root}/ann/orders.csv'": NO_TABLE,
    'SELECT * FROM "../bob/secret.csv"': NO_TABLE,
    "FROM '*.csv'": NO_TABLE,
    "FROM '/proc/self/environ'": NO_TABLE,
    "FROM 'https://example.com/x.csv'": NO_TABLE,
    "FROM 's3://bucket/x.parquet'": NO_TABLE,
    "FROM 'orders.csv'": NO_TABLE,
    "FROM link": NO_TABLE,
    "FROM secret": NO_TABLE,
    "SELECT (SELECT min(column0) FROM '/etc/passwd')": NO_TABLE,
    "SELECT 1 WHERE EXISTS (FROM '/etc/passwd')": NO_TABLE,
    "WITH a AS (FROM '/etc/passwd') FROM a": NO_TABLE,
    "SELECT * FROM (PIVOT '/etc/passwd' ON a IN (1) USING count(*))": NO_TABLE,
    "SELECT * FROM (UNPIVOT '/etc/passwd' ON a)": NO_TABLE,
    "FROM orders JOIN '/etc/passwd' ON true": NO_TABLE,
    "FROM orders UNION FROM '/etc/passwd'": NO_TABLE,
    # files by function
    "FROM read_csv('/etc/passwd')": NO_TABLE_FUNCTION,
    "FROM READ_CSV_AUTO('/etc/passwd')": NO_TABLE_FUNCTION,
    "FROM \"read_text\"('/etc/passwd')": NO_TABLE_FUNCTION,
    "FROM /* hidden */ read_blob/**/('/etc/passwd')": NO_TABLE_FUNCTION,
    "FROM main.read_text('/etc/passwd')": NO_TABLE_FUNCTION,
    "FROM read_json('../bob/secret.csv')": NO_TABLE_FUNCTION,
    "FROM read_ndjson_objects(['/etc/passwd'])": NO_TABLE_FUNCTION,
    "FROM read_parquet('{root}/*/*')": NO_TABLE_FUNCTION,
    "FROM parquet_scan('/x')": NO_TABLE_FUNCTION,
    "FROM parquet_metadata('/x')": NO_TABLE_FUNCTION,
    "FROM read_duckdb('/x.db')": NO_TABLE_FUNCTION,
    "FROM sniff_csv('/etc/passwd')": NO_TABLE_FUNCTION,
    "FROM glob('/*')": NO_TABLE_FUNCTION,
    "SELECT * FROM orders, LATERAL (FROM read_text('/etc/' || customer))": (
        NO_TABLE_FUNCTION
    ),
    "SELECT (SELECT content FROM read_text('/etc/passwd'))": NO_TABLE_FUNCTION,
    # SQL inside SQL
    "FROM query('SELECT 1')": NO_TABLE_FUNCTION,
    "FROM query_table('orders')": NO_TABLE_FUNCTION,
    "FROM json_execute_serialized_sql('x')": NO_TABLE_FUNCTION,
    "FROM summary((FROM orders))": NO_TABLE_FUNCTION,
    # raw addresses
    "FROM arrow_scan(1, 2, 3)": NO_TABLE_FUNCTION,
    "FROM pandas_scan(1)": NO_TABLE_FUNCTION,
    "FROM python_map_function(1)": NO_TABLE_FUNCTION,
    "SELECT __internal_decompress_string(1)": NO_FUNCTION,
    "SELECT finalize('x'::BLOB)": NO_FUNCTION,
    # settings, secrets, environment
    "SELECT current_setting('secret_directory')": NO_FUNCTION,
    "SELECT 'threads'.CURRENT_SETTING()": NO_FUNCTION,
    "SELECT getenv('HOME')": NO_FUNCTION,
    "SELECT system.main.current_setting('threads')": NO_FUNCTION,
    "FROM orders ORDER BY current_setting('threads')": NO_FUNCTION,
    "SELECT max(id) FILTER (current_setting('threads') = '2') FROM orders": NO_FUNCTION,
    "SELECT list_transform([1], lambda x: current_setting('threads'))": NO_FUNCTION,
    "FROM duckdb_settings()": NO_TABLE_FUNCTION,
    "FROM duckdb_secrets()": NO_TABLE_FUNCTION,
    "FROM which_secret('s3://x', 's3')": NO_TABLE_FUNCTION,
    "FROM duckdb_extensions()": NO_TABLE_FUNCTION,
    "FROM duckdb_databases": NO_TABLE,
    "FROM pg_settings": NO_TABLE,
    "FROM sqlite_master": NO_TABLE,
    "FROM pg_catalog.pg_settings": BARE_NAME,
    "FROM information_schema.tables": BARE_NAME,
    "FROM system.main.duckdb_settings": BARE_NAME,
    "FROM memory.main.orders": BARE_NAME,
    "WITH a AS (FROM pg_settings), pg_settings AS (SELECT 1) FROM a": SYSTEM_VIEW,
    "SET threads = 9": NOT_SELECT,
    "RESET lock_configuration": NOT_SELECT,
    "PRAGMA database_list": NOT_SELECT,
    "SET VARIABLE x = 1": NOT_SELECT,
    "DESCRIBE orders": NO_SHOW,
    "SUMMARIZE orders": NO_SHOW,
    "SHOW ALL TABLES": NO_SHOW,
    "SELECT * FROM (DESCRIBE '/etc/passwd')": NO_SHOW,
    # extensions and other databases
    "INSTALL httpfs": NOT_SELECT,
    "LOAD httpfs": NOT_SELECT,
    "LOAD '/tmp/evil.duckdb_extension'": NOT_SELECT,
    "ATTACH '/tmp/x.db'": NOT_SELECT,
    "ATTACH ':memory:' AS other": NOT_SELECT,
    "USE main": NOT_SELECT,
    "CREATE SECRET (TYPE s3)": NOT_SELECT,
    # writing
    "COPY orders TO '{root}/out.csv'": NOT_SELECT,
    "COPY (SELECT 1) TO '/dev/stdout'": NOT_SELECT,
    "EXPORT DATABASE '{root}/out'": NOT_SELECT,
    "CREATE TABLE t AS SELECT 1": NOT_SELECT,
    "CREATE MACRO f() AS 1": NOT_SELECT,
    "INSERT INTO orders VALUES (4, 'x', NULL, 1)": NOT_SELECT,
    "UPDATE orders SET id = 1": NOT_SELECT,
    "DELETE FROM orders": NOT_SELECT,
    "DROP TABLE orders": NOT_SELECT,
    "CALL enable_logging()": NOT_SELECT,
    "EXPLAIN ANALYZE SELECT 1": NOT_SELECT,
    "PREPARE p AS SELECT 1": NOT_SELECT,
    "BEGIN": NOT_SELECT,
    "PIVOT orders ON customer": "write PIVOT as a table",
    "WITH x AS (INSERT INTO orders FROM orders RETURNING *) FROM x": NOT_READING,
    "WITH x AS (DELETE FROM orders RETURNING *) FROM x": NOT_READING,
    "WITH x AS (UPDATE orders SET id = 1 RETURNING *) FROM x": NOT_READING,
    "SELECT write_log('x')": NO_FUNCTION,
    "SELECT nextval('x')": NO_FUNCTION,
    "FROM enable_logging()": NO_TABLE_FUNCTION,
    "FROM force_checkpoint()": NO_TABLE_FUNCTION,
    "FROM create_external_resource('x')": NO_TABLE_FUNCTION,
    # more than one, less than one, not SQL
    "SELECT 1; SELECT 2": "holds 2 statements",
    "SELECT 1; COPY orders TO '{root}/out.csv'": "holds 2 statements",
    "SELECT 1) AS r(c0); DROP TABLE orders; SELECT (1": "Parser Error",
    "SELECT 1) AS r(c0), (SELECT 2": "Parser Error",
    "-- nothing": "holds 0 statements",
    ";": "holds 0 statements",
    "SELECT $1": "parameters",
    # waiting and nesting
    "SELECT sleep_ms(60000)": NO_FUNCTION,
    "SELECT pg_sleep(60)": NO_FUNCTION,
    "SELECT " + "(" * 9000 + "1" + ")" * 9000: "depth limit",
}


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("sql", "reason"),
    ATTACKS.items(),
    ids=[f"{number}-{sql[:40]}" for number, sql in enumerate(ATTACKS)],
)
def test_every_escape_is_refused_for_the_right_reason(
    root: Path, home: Path, query: Callable[..., QueryResult], sql: str, reason: str
) -> None:
    """Nothing beyond the user's tables is read, written or shown (S3, B58)."""
    (root / "bob" / "secret.csv").write_text(f"a\n{SECRET}\n")
    (home / "link.csv").symlink_to(root / "bob" / "secret.csv")
    before = snapshot(root)
    written = sql.replace("{root}", str(root))
    with pytest.raises(ToolError, match=reason) as caught:
        query(written)
    text = str(caught.value).replace(written, "")
    assert SECRET not in text
    assert str(root) not in text.replace(f"{root}/", "", written.count(str(root)))
    assert snapshot(root) == before


ENGINE_ATTACKS = {
    "FROM read_csv('{file}')": "has been disabled",
    "FROM read_text('{file}')": "has been disabled",
    "FROM read_blob('/proc/self/environ')": "has been disabled",
    "FROM '{file}'": "has been disabled",
    "FROM glob('/*')": "has been disabled",
    "FROM 'https://example.com/x.csv'": "has been disabled",
    "FROM sniff_csv('{file}')": "has been disabled",
    "FROM parquet_schema('{file}')": "has been disabled",
    "FROM read_duckdb('{file}')": "has been disabled",
    "COPY orders TO '{file}.out'": "disabled",
    "EXPORT DATABASE '{file}.out'": "disabled",
    "ATTACH '{file}.db'": "disabled",
    "INSTALL httpfs": "disabled",
    "LOAD httpfs": "disabled",
    "LOAD '{file}'": "disabled",
    "SET enable_external_access = true": "locked|while database is running",
    "SET disabled_filesystems = ''": "locked",
    "SET allowed_directories = ['/']": "locked|Cannot change",
    "SET lock_configuration = false": "locked",
    "RESET lock_configuration": "locked",
    "SET temp_directory = '/tmp'": "locked",
    "SET profiling_output = '{file}.out'": "locked",
    "PRAGMA enable_profiling": "locked",
    "CALL enable_logging(storage = 'file')": "locked",
    "INSERT INTO orders FROM orders": "read-only mode",
    "WITH x AS (INSERT INTO orders FROM orders RETURNING *) FROM x": "read-only mode",
    "CREATE TABLE t AS SELECT 1": "read-only mode",
    "SELECT getenv('HOME')": "does not exist",
    "FROM secret_in_python": "does not exist",
}


@pytest.fixture
def locked(home: Path) -> Iterator[Engine]:
    folder = os.open(home, os.O_RDONLY)
    with Engine(Limits(), folder=folder) as engine:
        source = Source(name="orders", file="orders.csv", format="csv", size_bytes=1)
        engine.read(source, load=True)
        engine.lock()
        yield engine
    os.close(folder)


@pytest.mark.parametrize(("sql", "reason"), ENGINE_ATTACKS.items())
def test_without_the_guard_the_locked_engine_refuses_too(
    locked: Engine, home: Path, sql: str, reason: str
) -> None:
    """The second wall stands by itself, even for the user's own files (S3)."""
    secret_in_python = duckdb.sql("SELECT 1")
    before = snapshot(home)
    with pytest.raises(duckdb.Error, match=reason):
        locked.connection.execute(sql.replace("{file}", str(home / "orders.csv")))
    assert secret_in_python is not None
    assert snapshot(home) == before


SETTINGS = {
    "allow_community_extensions": "false",
    "allow_extension_repositories": "forbidden",
    "allow_persistent_secrets": "false",
    "allowed_directories": "[]",
    "allowed_paths": "[]",
    "allowed_configs": "[]",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "enable_external_file_cache": "false",
    "lock_configuration": "true",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
    "temp_directory": "",
}


def test_every_lock_of_the_engine_is_closed(locked: Engine) -> None:
    """Locks that cover for each other are each seen to be there."""
    found = dict(
        locked.connection.execute(
            "SELECT name, value FROM duckdb_settings()"
        ).fetchall()
    )
    assert {name: found[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize("depth", [100, 900, 3000])
def test_deep_nesting_ends_in_an_answer_or_a_reason(
    home: Path, query: Callable[..., QueryResult], depth: int
) -> None:
    """However deep a statement is, neither the guard nor the parser breaks down."""
    assert home.exists()
    sql = "(FROM " * depth + "orders" + ")" * depth
    try:
        assert query(f"FROM {sql}").row_count == 3
    except ToolError as error:
        assert re.search("cannot be judged|depth limit", str(error))  # noqa: PT017 - either is right


def test_a_locked_engine_shows_no_path_of_the_host(locked: Engine) -> None:
    """Not one setting or table names a folder of this machine."""
    shown = locked.connection.execute(
        "SELECT name, value FROM duckdb_settings() WHERE name <> 'duckdb_api'"
    ).fetchall()
    shown += locked.connection.execute("SELECT sql FROM duckdb_tables()").fetchall()
    assert [row for row in shown if "/" in str(row).replace("Etc/UTC", "")] == []


CONFINED = """
import os, socket, sys
from toolkit_data.worker import confine
confine.limit_process(memory_bytes=64 << 20, seconds=20)
confine.forbid_opening()
def attempt(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(*(attempt(action) for action in (
    lambda: open("/etc/passwd"),
    lambda: os.listdir("/"),
    lambda: os.pipe(),
    lambda: socket.socket(),
    lambda: bytearray(2 << 30),
)))
"""
WRITING = """
import signal, sys
from toolkit_data.worker import confine
confine.limit_process(memory_bytes=64 << 20, seconds=20)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open(sys.argv[1], "wb", buffering=0) as file:
    try:
        file.write(b"x")
    except OSError as error:
        print(type(error).__name__)
"""


def run_confined(code: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-I", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


def test_without_the_engine_the_process_can_open_nothing() -> None:
    """The third wall: no file, folder, pipe or socket, and no more memory."""
    assert run_confined(CONFINED) == "OSError OSError OSError OSError MemoryError"


def test_the_process_can_write_no_file(tmp_path: Path) -> None:
    """Even an open file takes not one byte from the worker."""
    assert run_confined(WRITING, str(tmp_path / "out")) == "OSError"
    assert (tmp_path / "out").read_bytes() == b""
