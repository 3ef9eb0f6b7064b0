"""One run of the command: its settings, its discovery, its log."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from toolkit.catalog import ToolCatalog
from toolkit.cli.output import Output
from toolkit.discovery.pipeline import discover
from toolkit.discovery.report import DiscoveryReport
from toolkit.errors import ConfigurationError, ToolkitError
from toolkit.settings import Settings

WRONG_USE = 2
"""Exit status for a command or a configuration that is not right; as typer's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What was said on the command line before the command. Immutable."""

    config: Path | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """Load the settings and lay the choices over them.

        Strictness is switched off: the command reports faults itself. Unknown packages
        are met in a child process, unless the settings say otherwise.

        Raises:
            ConfigurationError: A setting or an option does not fit.
        """
        preferred = parse_pairs(self.prefer, "--prefer", "NAME=PACKAGE")
        loaded = Settings.load(self.config, first_contact="child")
        return replace(
            loaded,
            allow=frozenset(self.allow) if self.allow else loaded.allow,
            deny=loaded.deny | set(self.deny),
            modules=(*loaded.modules, *self.modules),
            prefer={**loaded.prefer, **preferred},
            strict=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run: where it prints and what it goes by. Lives as long as the process."""

    output: Output
    settings: Settings
    reload: Callable[[], Settings] = Settings.load

    def discover(self) -> tuple[ToolCatalog, DiscoveryReport]:
        """Discover the tools of this environment."""
        return discover(self.settings)


@contextmanager
def session(choices: Choices) -> Iterator[Session]:
    """Open a session; errors of ours are told, and end with exit status 2.

    Raises:
        Exit: The use or the configuration is not right.
    """
    output = Output.claim()
    with _logging_to(output):
        try:
            settings = choices.settings()
            if settings.modules:
                _let_import_from_here()
            yield Session(output=output, settings=settings, reload=choices.settings)
        except ToolkitError as error:
            output.error(error.code, str(error))
            raise typer.Exit(WRONG_USE) from None


def parse_pairs(pairs: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Turn ``KEY=VALUE`` texts into a mapping; the last of a key counts.

    Raises:
        ConfigurationError: One has no ``=``, or nothing before it.
    """
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise ConfigurationError(option, pair, f"give it as {example}")
        found[key.strip()] = value
    return found


@contextmanager
def _logging_to(output: Output) -> Iterator[None]:
    """Show what our code and the tools log as warnings, tracebacks included."""
    log = logging.getLogger("toolkit")
    before = log.propagate
    handler = _Handler(output)
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


class _Handler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, except discovery's summary, which every command reports."""
        if record.name != discover.__module__:
            self._output.warn(self.format(record))


def _let_import_from_here() -> None:
    """Find named modules in the working directory too, last, as ``python -m`` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
