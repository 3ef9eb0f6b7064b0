"""What an author tests: the tools as plain Python, then as a user reaches them."""

from collections.abc import Iterator

import pytest

from toolkit import Settings, ToolError, UserContext, UserContextToolFactory, discover
from toolkit.factory import UserToolSystem
from toolkit_text.tools import MAX_NOTES, Notebook, WordCount, read_sentences, slugify

OURS = Settings(allow=frozenset({"toolkit-text"}))


def test_words_are_counted_without_case_and_the_most_frequent_comes_first() -> None:
    """Count `To` and `to` as one word, and sort by count, then by word."""
    counts = WordCount().execute("To be or not to be.")
    assert list(counts.items()) == [("be", 2), ("to", 2), ("not", 1), ("or", 1)]


def test_short_words_are_left_out_on_demand() -> None:
    """Leave out what has fewer letters than asked for."""
    assert WordCount().execute("to be or not", min_letters=3) == {"not": 1}


def test_title_becomes_part_of_an_address() -> None:
    """Keep letters and digits, join the rest with hyphens."""
    assert slugify("Hello, World: 2nd edition!") == "hello-world-2nd-edition"


def test_title_without_letters_tells_its_caller_what_is_wrong() -> None:
    """Raise the one error whose text reaches the caller."""
    with pytest.raises(ToolError, match="no letter or digit"):
        slugify("!?")


async def test_sentences_are_read_one_by_one() -> None:
    """Split after a full stop, question mark or exclamation mark; skip the empty."""
    sentences = [part async for part in read_sentences("One. Two?  Three!")]
    assert sentences == ["One.", "Two?", "Three!"]
    assert [part async for part in read_sentences("  ")] == []


def test_notebook_is_bounded() -> None:
    """Refuse the note after the last that fits, and keep those it has."""
    notebook = Notebook(UserContext(user_id="ada"))
    for number in range(MAX_NOTES):
        notebook.execute(f"note {number}")
    with pytest.raises(ToolError, match="ada's notebook is full"):
        notebook.execute("one too many")
    assert len(notebook.notes) == MAX_NOTES


# --- as a user reaches them ----------------------------------------------------------


@pytest.fixture
def factory() -> UserContextToolFactory:
    """Discover this package alone, from its entry point."""
    catalog, report = discover(OURS)
    assert not report.failed
    return UserContextToolFactory(catalog)


@pytest.fixture
def ada(factory: UserContextToolFactory) -> Iterator[UserToolSystem]:
    """Give the tools to a user who may keep notes."""
    user = UserContext(user_id="ada", scopes=frozenset({"text:notes"}))
    with factory.create_user_tool_system(user_context=user) as system:
        yield system


@pytest.fixture
def bob(factory: UserContextToolFactory) -> Iterator[UserToolSystem]:
    """Give the tools to a user without any scope."""
    user = UserContext(user_id="bob")
    with factory.create_user_tool_system(user_context=user) as system:
        yield system


def names(system: UserToolSystem) -> set[str]:
    """Return the names of the tools this user sees."""
    return {tool.name for tool in system.get_all_tools()}


def test_tools_are_found_by_their_entry_point(ada: UserToolSystem) -> None:
    """Publish exactly what the README lists."""
    assert names(ada) == {"notebook", "read_sentences", "slugify", "word_count"}


def test_notebook_is_for_holders_of_its_scope(bob: UserToolSystem) -> None:
    """Hide the guarded tool from a user without the scope."""
    assert names(bob) == {"read_sentences", "slugify", "word_count"}


async def test_user_gets_the_result_of_a_call(bob: UserToolSystem) -> None:
    """Take the arguments as JSON text, as a model sends them."""
    result = await bob.dispatcher.execute("word_count", '{"text": "one two two"}')
    assert result.unwrap() == {"two": 2, "one": 1}


async def test_caller_reads_what_a_tool_says(bob: UserToolSystem) -> None:
    """Pass a `ToolError`'s text on to the caller."""
    result = await bob.dispatcher.execute("slugify", {"title": "!?"})
    assert not result.ok
    assert result.error is not None
    assert "no letter or digit" in result.error.message


async def test_parts_of_a_stream_become_a_list(bob: UserToolSystem) -> None:
    """Collect what the async generator yields."""
    result = await bob.dispatcher.execute("read_sentences", {"text": "One. Two."})
    assert result.unwrap() == ["One.", "Two."]


async def test_each_user_writes_in_their_own_notebook(
    factory: UserContextToolFactory,
) -> None:
    """Never show one user's notes to another."""
    scopes = frozenset({"text:notes"})
    for name in ("ada", "bob"):
        user = UserContext(user_id=name, scopes=scopes)
        with factory.create_user_tool_system(user_context=user) as system:
            await system.dispatcher.execute("notebook", {"note": f"I am {name}"})
            result = await system.dispatcher.execute("notebook", {"note": "second"})
            assert result.unwrap() == [f"I am {name}", "second"]
