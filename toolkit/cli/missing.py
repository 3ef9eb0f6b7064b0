"""`toolkit why` about something that discovery has not found at all."""

import sys
from collections.abc import Iterable, Iterator, Sequence

from packaging.utils import canonicalize_name

from toolkit.cli.installed import (
    Installed,
    advice,
    all_installed,
    is_importable,
    misspelt,
    providers_of,
)
from toolkit.cli.matching import nearest
from toolkit.cli.output import listed
from toolkit.discovery.index import GROUPS
from toolkit.settings import Settings


def explain_missing(
    query: str,
    settings: Settings,
    known: Sequence[Iterable[str]],
    unread: Sequence[str] = (),
) -> list[tuple[int, str]]:
    """Say where a name might be, and how to make it a tool.

    Args:
        query: What was asked for.
        settings: What the operator decided.
        known: The names that discovery did find, the likeliest first.
        unread: What to say of what could not be read, or was left alone.

    Returns:
        Lines with their indents; the first is the heading.
    """
    installed = all_installed()
    body = [*_misspelt_lines(query, installed)]
    body = body or [*_unpublished_lines(query, installed)]
    if not body:
        near = nearest(query, [*known, installed])
        body = [*_unknown_lines(installed, near, unread)]
    if settings.deny or settings.allow is not None:
        body.append("The lists allow and deny keep some distributions from being read.")
    return [(0, f"{query}: not found"), *((2, text) for text in body)]


def _unknown_lines(
    installed: dict[str, Installed], near: Sequence[str], unread: Sequence[str]
) -> Iterator[str]:
    some = "that could be read " if unread else ""
    yield (
        "No installed distribution or module has that name, and none of the "
        f"{len(installed)} distributions here {some}publishes it."
    )
    yield f"Looked in the environment of {sys.executable}."
    if near:
        yield f"Did you mean {', '.join(near)}?"
    yield from unread
    yield "To do: Install the package that publishes it into that environment."


def _misspelt_lines(query: str, installed: dict[str, Installed]) -> Iterator[str]:
    for point in misspelt(installed, query):
        yield str(point)
        yield f"To do: {advice(point)}"


def _unpublished_lines(query: str, installed: dict[str, Installed]) -> Iterator[str]:
    name = canonicalize_name(query)
    owners = (name,) if name in installed else providers_of(query)
    for owner in owners:
        one = installed.get(owner)
        if one is None:
            continue
        yield (
            f"{one.name} {one.version} is installed, and publishes nothing in "
            f"{', '.join(GROUPS[:-1])} or {GROUPS[-1]}."
        )
        groups = sorted({point.group for point in one.elsewhere})
        if groups:
            yield f"Its entry-point groups are {listed(groups)}."
        yield (
            f'To do: If its tools are meant for us, add [project.entry-points."'
            f'{GROUPS[0]}"] to its pyproject.toml and install it again; or name its '
            "module in the setting modules."
        )
    if not owners and is_importable(query):
        yield "A module of that name can be imported, but no distribution publishes it."
        yield f'To do: Name it in the settings: modules = ["{query}"].'
