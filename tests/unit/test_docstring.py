"""Docstrings: what a tool's author wrote, in three styles."""

import pytest

from toolkit.docstring import Docstring, parse

GOOGLE = """Count words.

    Reads the whole text.

    Args:
        text (str): The text
            to count.
        limit: At most this many.
        **rest: Everything else.

    Returns:
        A number: of words.
    """
NUMPY = """Count words.

    Reads the whole text.

    Parameters
    ----------
    text : str, optional
        The text
        to count.
    limit
        At most this many.
    **rest
        Everything else.

    Returns
    -------
    int
        A number of words.
    """
SPHINX = """Count words.

    Reads the whole text.

    :param str text: The text
        to count.
    :param limit: At most this many.
    :param rest: Everything else.
    :type limit: int
    :returns: A number of words.
    :raises ValueError: Never.
    """
EXPECTED = Docstring(
    "Count words.\n\nReads the whole text.",
    {
        "text": "The text to count.",
        "limit": "At most this many.",
        "rest": "Everything else.",
    },
)


@pytest.mark.parametrize(
    "text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"]
)
def test_three_styles_say_the_same(text: str) -> None:
    """An author writes parameters down once, in the style of their house."""
    assert parse(text) == EXPECTED


@pytest.mark.parametrize(
    ("text", "description", "parameters"),
    [
        (None, "", {}),
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("Args: are optional.", "Args: are optional.", {}),
        ("Sum.\n\nReturns:\n    int: the sum", "Sum.", {}),
        ("Sum.\n\nArgs:\n    a: first", "Sum.", {"a": "first"}),
        ("Sum.\n\nArgs:\n    a: first\n\nMore.", "Sum.\n\nMore.", {"a": "first"}),
        ("Sum.\n\nArgs:\n    no colon here", "Sum.", {}),
        ("Sum.\n:returns: it\n:note: kept", "Sum.\n:note: kept", {}),
        ("Args:\n    a:\n        below", "", {"a": "below"}),
        ("Parameters\n----------", "", {}),
        ("Args:", "Args:", {}),
        ("Args:\n    a: first\n\nReturns:\n    it", "", {"a": "first"}),
        (
            "Args:\n            a: first\n              and\n    ",
            "",
            {"a": "first and"},
        ),
        ("Args:\nare optional", "Args:\nare optional", {}),
        ("  One line.  ", "One line.", {}),
        ("One\ttab.\x85", "One     tab.", {}),
        (":param a: first", "", {"a": "first"}),
        (" :returns: it", "", {}),
    ],
    ids=range(19),
)
def test_anything_else_is_description(
    text: str | None, description: str, parameters: dict[str, str]
) -> None:
    """Parsing is total, and loses no sentence that it does not understand."""
    assert parse(text) == Docstring(description, parameters)
