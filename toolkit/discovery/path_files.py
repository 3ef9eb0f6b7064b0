"""Folders that installers add to the path of a process that runs already.

An interpreter reads the ``.pth`` files of its site-packages when it starts, and not
again; an editable install made later would be listed, and could not be imported.
"""

import logging
import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from toolkit.discovery.index import absolute_path
from toolkit.discovery.scan import read_file

logger = logging.getLogger(__name__)


def add_new_folders() -> tuple[str, ...]:
    """Add to ``sys.path`` the folders that path files name, as a restart would.

    Lines that begin with ``import`` are code, and nobody has judged it: they are left
    to the next start. What a file names no more stays on the path until then, too.

    Returns:
        What was added, in order.

    Source: Python's documentation, "site - Site-specific configuration hook".
    """
    places = {*site.getsitepackages(), site.getusersitepackages()}
    folders = absolute_path(sys.path)
    known = {*map(os.path.normcase, folders)}
    added = []
    for folder in (one for one in folders if one in places):
        for named in _named_in(folder):
            if os.path.normcase(named) not in known and Path(named).is_dir():
                known.add(os.path.normcase(named))
                added.append(named)
    sys.path += added
    if added:
        logger.info("added to the path: %s", ", ".join(added))
    return tuple(added)


def _named_in(folder: str) -> Iterator[str]:
    """Yield what the path files of a folder name, absolute, there or not."""
    try:
        files = sorted(Path(folder).glob("*.pth"))
    except OSError:
        return
    for file in files:
        if not file.name.startswith("."):
            for line in _lines_of(file):
                yield os.path.normpath(file.parent / line)


def _lines_of(file: Path) -> Iterator[str]:
    """Yield the lines of a path file that are paths; an unreadable one has none."""
    try:
        text = read_file(str(file)).decode("utf-8-sig", "surrogateescape")
    except OSError:
        return
    for line in map(str.rstrip, text.splitlines()):
        if line and not line.startswith(("#", "import ", "import\t")):
            yield line
