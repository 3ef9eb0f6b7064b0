"""What about a distribution's place on disk explains what became of it, for `why`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name

from toolkit.discovery.index import Index, Publisher, absolute_path, index
from toolkit.discovery.scan import canonical, is_left_over

Note = tuple[str, str]
"""What is the case, and what to do about it."""


def place_notes(query: str) -> tuple[Note, ...]:
    """Say what the places of a distribution explain: hidden, left over, moved.

    Args:
        query: A distribution, or the name of an entry point of a hidden one.
    """
    found = index(
        use_cache=False
    )  # the kept one does not know what hidden ones publish
    name = canonicalize_name(query)
    return (
        *_hidden(found, name, query),
        *_left_over(name),
        *_moved(found, name),
    )


def _hidden(found: Index, name: str, query: str) -> Iterator[Note]:
    for one, by in found.shadowed:
        if name == one.name or query in {point.name for point in one.entry_points}:
            counts = (
                f"{Path(by).name} in {Path(by).parent}" if by else "one in a zip file"
            )
            place = Path(one.folder).parent if one.folder else "a zip file"
            text = (
                f"{one.name} {one.version} in {place} is hidden: {counts} counts, as "
                "an import takes it."
            )
            yield text, "Uninstall the one that you do not mean."


def _left_over(name: str) -> Iterator[Note]:
    for folder in map(Path, absolute_path(sys.path)):
        for place in sorted(folder.iterdir()) if folder.is_dir() else ():
            is_metadata = place.suffix.lower() in (".dist-info", ".egg-info")
            is_named = canonical(place.stem.partition("-")[0]) == name
            if is_metadata and is_named and is_left_over(str(place)):
                text = f"{place} has no METADATA: it is left over, and does not count."
                yield text, f"Remove it, and install {name} again if you need it."


def _moved(found: Index, name: str) -> Iterator[Note]:
    for one in found.ours():
        source = editable_source(one) if one.name == name else None
        if source is not None and not source.exists():
            text = (
                f"It is an editable install of {source}, which is not there any more."
            )
            yield (
                text,
                "Install it again from where its sources are now: pip install -e.",
            )


def editable_source(publisher: Publisher) -> Path | None:
    """Return the folder that an editable install refers to; None for any other.

    Source: PyPA specifications, "Recording the direct URL origin" (2026-11).
    """
    try:
        text = Path(publisher.folder, "direct_url.json").read_text(encoding="utf-8")
        recorded = json.loads(text)
        is_editable = recorded.get("dir_info", {}).get("editable") is True
        url = urlsplit(recorded["url"])
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return Path(url2pathname(url.path)) if is_editable else None
