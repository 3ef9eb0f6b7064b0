"""Real distributions in a folder of a test: files and metadata as an installer writes.

A `Site` is such a folder, on ``sys.path`` for as long as its test runs; what was
imported from it is forgotten afterwards.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from toolkit import DiscoveryReport, Settings, ToolCatalog, discover
from toolkit.discovery.index import publishers
from toolkit.discovery.sources import EntryPointSource, ModuleSource

GOOD_TOOL = """
class {cls}:
    "Say that it works."
    name = "{name}"
    def execute(self) -> str:
        return "{name} works"
"""


def good_tool(name: str, cls: str = "Good") -> str:
    """Return the source of a tool without faults."""
    return GOOD_TOOL.format(name=name, cls=cls)


class Site:
    """A folder that distributions are installed into."""

    def __init__(self, folder: Path) -> None:
        """Make the folder."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, and the folders they are in; sources may be indented."""
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text), encoding="utf-8")
        importlib.invalidate_caches()

    def install(
        self,
        name: str,
        entry_points: Mapping[str, Mapping[str, str]] | str | bytes = "",
        files: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        metadata: str | bytes | None = None,
    ) -> Path:
        """Install a distribution.

        Args:
            name: As its metadata writes it.
            entry_points: Group → name → reference, or the file's raw content.
            files: The sources it brings.
            version: As its metadata writes it.
            metadata: The raw content of ``METADATA``, instead of a proper one.

        Returns:
            The folder of its metadata.
        """
        self.write(files or {})
        stem = f"{name.replace('-', '_')}-{version}"
        folder = self.folder / f"{stem}.dist-info"
        folder.mkdir()
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        if isinstance(entry_points, Mapping):
            entry_points = "\n".join(
                f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items())
                for group, points in entry_points.items()
            )
        for file, content in (
            ("METADATA", metadata),
            ("entry_points.txt", entry_points),
        ):
            if content:
                raw = content.encode() if isinstance(content, str) else content
                (folder / file).write_bytes(raw)
        importlib.invalidate_caches()
        return folder

    def install_tool(self, distribution: str, module: str, name: str) -> None:
        """Install a distribution that publishes one good tool."""
        points = {"toolkit.tools": {name: f"{module}:Good"}}
        self.install(distribution, points, {f"{module}.py": good_tool(name)})

    def discover(
        self, settings: Settings | None = None, *, objects: Iterable[object] = ()
    ) -> tuple[ToolCatalog, DiscoveryReport]:
        """Discover what is installed here, and nothing else."""
        return discover_in([self.folder], settings, objects=objects)


def discover_in(
    path: Iterable[Path],
    settings: Settings | None = None,
    *,
    objects: Iterable[object] = (),
) -> tuple[ToolCatalog, DiscoveryReport]:
    """Discover what is installed in these folders, and nothing else."""
    settings = settings or Settings()
    installed = EntryPointSource(publishers([str(one) for one in path]), settings)
    sources = (installed, ModuleSource(settings.modules))
    return discover(settings, sources=sources, objects=objects)


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Make a site and put it first on ``sys.path``; undone at the end."""
    site = Site(folder / "site")
    with importable(site.folder):
        yield site


@contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Put folders first on ``sys.path``; at the end forget what they brought."""
    path, before = list(sys.path), set(sys.modules)
    sys.path[:0] = map(str, folders)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            top = name.partition(".")[0]
            if any((f / top).exists() or (f / f"{top}.py").exists() for f in folders):
                del sys.modules[name]
