"""Values made fit for JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit_data.models import QueryResult
from toolkit_data.worker.render import Column, cell

pytestmark = [pytest.mark.integration, pytest.mark.no_docker]

VALUES = {
    "NULL": None,
    "true": True,
    "1": 1,
    "9007199254740991::BIGINT": 9007199254740991,
    "9007199254740992::BIGINT": "9007199254740992",
    "-170141183460469231731687303715884105727::HUGEINT": (
        "-170141183460469231731687303715884105727"
    ),
    "'123456789012345678901234567890123456789012345'::BIGNUM": (
        "123456789012345678901234567890123456789012345"
    ),
    "1.50::DECIMAL(10,2)": "1.50",
    "0.5::DOUBLE": 0.5,
    "'nan'::DOUBLE": "NaN",
    "'inf'::FLOAT": "Infinity",
    "'-inf'::DOUBLE": "-Infinity",
    "DATE '2026-01-02'": "2026-01-02",
    "'infinity'::DATE": "infinity",
    "'0044-03-15 (BC)'::DATE": "0044-03-15 (BC)",
    "TIMESTAMP '2026-01-02 03:04:05.678'": "2026-01-02 03:04:05.678",
    "TIMESTAMPTZ '2026-01-02 03:04:05+02'": "2026-01-02 01:04:05+00",
    "TIME '01:02:03'": "01:02:03",
    "INTERVAL '1 month 2 days'": "1 month 2 days",
    "'12345678-1234-1234-1234-123456789012'::UUID": (
        "12345678-1234-1234-1234-123456789012"
    ),
    "'a\\x00\\xFF'::BLOB": "YQD/",
    "'0101'::BIT": "0101",
    "'b'::ENUM('a', 'b')": "b",
    "[1, NULL, 3]": [1, None, 3],
    "[1, 2]::INTEGER[2]": [1, 2],
    "['nan'::DOUBLE, '-inf'::DOUBLE]": ["NaN", "-Infinity"],
    "[9007199254740993]": ["9007199254740993"],
    "{'a': {'b': [DATE '2026-01-02']}}": {"a": {"b": ["2026-01-02"]}},
    "MAP {'k': 1.5::DOUBLE}": {"k": 1.5},
    "union_value(x := 3)": {"x": 3},
    """'{"a": [1, 1e999]}'::JSON""": {"a": [1, "1e999"]},
    "{'a': 1}::VARIANT": {"a": 1},
}


@pytest.mark.parametrize(("sql", "value"), VALUES.items(), ids=list(VALUES))
def test_every_type_is_given_as_plain_json(
    home: Path, query: Callable[..., QueryResult], sql: str, value: object
) -> None:
    """No type breaks the result or loses digits on its way (B28)."""
    assert home.exists()
    result = query(f"SELECT {sql} AS v")
    assert result.rows == ((value,),)
    again = json.loads(result.model_dump_json(), parse_constant=pytest.fail)
    assert again["rows"] == [[value]]


def test_deep_json_stays_text() -> None:
    """Nesting beyond any reader's depth is handed on as text, not a crash."""
    text = "[" * 100_000 + "]" * 100_000
    column = Column("c", "JSON", "varchar")
    assert cell(column, text, max_chars=len(text)).value == text


def test_an_endless_integer_in_json_stays_text() -> None:
    """Python's limit on digits does not reach the caller."""
    column = Column("c", "JSON", "varchar")
    assert cell(column, "[" + "9" * 5000 + "]", max_chars=9999).value == ["9" * 5000]


def test_half_a_character_in_json_stays_text() -> None:
    """A lone surrogate, which no UTF-8 can hold, is handed on as it was escaped."""
    column = Column("c", "JSON", "varchar")
    assert cell(column, '["\\ud800"]', max_chars=99).value == '["\\ud800"]'
