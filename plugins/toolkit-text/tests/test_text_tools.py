"""What an author tests: the tools as plain Python, then as a user reaches them.

Needs pytest and the core, which brings the fixture `tool_system`; no other plugin.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from toolkit import Settings, ToolError, Toolkit, UserContext, UserToolSystem
from toolkit.testing import check_tool, make_user, run_tool
from toolkit_text.tools import MAX_NOTES, Notebook, WordCount, read_sentences, slugify

DISTRIBUTION = "toolkit-text"  # `name` in pyproject.toml
TOOLS: list[Any] = [Notebook, WordCount, read_sentences, slugify]

OpenSystem = Callable[..., UserToolSystem]


def test_words_are_counted_without_case_and_the_most_frequent_comes_first() -> None:
    """Count `To` and `to` as one word, and sort by count, then by word."""
    counts = WordCount().execute("To be or not to be.")
    assert list(counts.items()) == [("be", 2), ("to", 2), ("not", 1), ("or", 1)]


def test_short_words_are_left_out_on_demand() -> None:
    """Leave out what has fewer letters than asked for."""
    assert WordCount().execute("to be or not", min_letters=3) == {"not": 1}


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Hello, World: 2nd edition!", "hello-world-2nd-edition"),
        ("Müller", "muller"),
        ("Cre\u0300me brûlée", "creme-brulee"),  # an accent apart from its letter
        ("Straße", "strasse"),
        ("İzmir", "izmir"),
        ("\uff34\uff4f\uff4b\uff59\uff4f 2020", "tokyo-2020"),  # letters of full width
        ("Rød grød", "r-d-gr-d"),  # no accent but a letter, which a-z does not have
        ("Мир 3", "3"),
    ],
    ids=str,
)
def test_title_becomes_part_of_an_address(title: str, slug: str) -> None:
    """Keep letters without their accents, and digits; join the rest with hyphens."""
    assert slugify(title) == slug


@pytest.mark.parametrize("title", ["", "!?", "Мир", "\u0301"], ids=ascii)
def test_title_without_letters_tells_its_caller_what_is_wrong(title: str) -> None:
    """Raise the one error whose text reaches the caller."""
    with pytest.raises(ToolError, match="no letter or digit"):
        slugify(title)


def test_sentences_are_read_one_by_one() -> None:
    """Split after a full stop, question mark or exclamation mark; skip the empty."""

    async def read(text: str) -> list[str]:
        return [part async for part in read_sentences(text)]

    assert asyncio.run(read("One. Two?  Three!")) == ["One.", "Two?", "Three!"]
    assert asyncio.run(read("  ")) == []


def test_notebook_is_bounded() -> None:
    """Refuse the note after the last that fits, and keep those it has."""
    notebook = Notebook(UserContext(user_id="ada"))
    for number in range(MAX_NOTES):
        notebook.execute(f"note {number}")
    with pytest.raises(ToolError, match="ada's notebook is full"):
        notebook.execute("one too many")
    assert len(notebook.notes) == MAX_NOTES


# --- as a user reaches them ----------------------------------------------------------


@pytest.mark.parametrize("one", TOOLS, ids=lambda one: one.name)
def test_callers_are_told_all_they_need(one: object) -> None:
    """Describe the tool, each argument and the result."""
    assert check_tool(one) == []


def test_tools_are_found_by_their_entry_point() -> None:
    """Publish exactly what the README lists, once this package is installed."""
    with Toolkit(Settings(allow=frozenset({DISTRIBUTION}))) as kit:
        assert not kit.report.failed
        assert set(kit.catalog.names()) == {one.name for one in TOOLS}


def test_user_gets_the_result_of_a_call() -> None:
    """Take the arguments as JSON text, as a model sends them."""
    result = asyncio.run(run_tool(WordCount, '{"text": "one two two"}'))
    assert result == {"two": 2, "one": 1}


def test_parts_of_a_stream_become_a_list() -> None:
    """Collect what the async generator yields."""
    result = asyncio.run(run_tool(read_sentences, {"text": "One. Two."}))
    assert result == ["One.", "Two."]


def test_caller_reads_what_a_tool_says(tool_system: OpenSystem) -> None:
    """Pass a `ToolError`'s text on to the caller."""
    system = tool_system(slugify)
    result = asyncio.run(system.execute("slugify", {"title": "!?"}))
    assert result.error is not None
    assert "no letter or digit" in str(result.error)


def test_notebook_is_for_holders_of_its_scope(tool_system: OpenSystem) -> None:
    """Hide the guarded tool from a user without the scope, and show it to others."""
    for scopes, seen in ((set[str](), []), ({"text:notes"}, ["notebook"])):
        system = tool_system(Notebook, user=make_user("ada", scopes=scopes))
        assert [one.name for one in system.get_all_tools()] == seen


def test_each_user_writes_in_their_own_notebook(tool_system: OpenSystem) -> None:
    """Never show one user's notes to another."""
    for name in ("ada", "bob"):
        user = make_user(name, scopes={"text:notes"})
        system = tool_system(Notebook, user=user)
        asyncio.run(system.execute("notebook", {"note": f"I am {name}"}))
        result = asyncio.run(system.execute("notebook", {"note": "second"}))
        assert result.unwrap() == [f"I am {name}", "second"]
