"""What the command prints: tables for people, plain records for programs.

On a terminal, text wraps at its width and may have colour (not with ``NO_COLOR``);
text that brings its own lines, such as a traceback, keeps them.
Anywhere else it is plain: nothing is drawn, coloured or cut, one record is one line.
"""

import json
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.containers import Lines
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def one_line(text: str) -> str:
    """Return the text on one line, without anything that could steer a terminal."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Return the text with control characters written out; line ends and tabs stay."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text
    )


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines; long cells go on below, none is cut."""
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="dim",
        show_header=any(columns),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


class Prose(Text):
    """Text whose long words, such as paths and references, break at ``:./`` first."""

    def wrap(self, console: Console, width: int, *rest: Any, **options: Any) -> Lines:  # noqa: ANN401 - as rich hands them on
        """Wrap it; rich itself would fill the line and break anywhere."""
        within = f"{{1,{max(width, 1)}}}"
        pieces = re.compile(rf"\S{within}(?!\S)|\S{within}(?<=[:./])|\S{within}")
        breaks = [
            one.end()
            for word in re.finditer(r"\S+", self.plain)
            for one in pieces.finditer(self.plain, *word.span())
            if one.end() < word.end()
        ]
        broken = Text("\n").join(self.divide(breaks))
        return broken.wrap(console, width, *rest, **options)


class Output:
    """Standard output and error of one run; lives as long as the process.

    Attributes:
        is_terminal: Whether a person looks at standard output.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        """Take over the two streams."""
        self.is_terminal = stdout.isatty()
        self._stdout = stdout
        self._stderr = stderr
        self._console = _console(stdout)
        self._error_console = _console(stderr)

    @classmethod
    def claim(cls) -> "Output":
        """Keep standard output for the command itself.

        From now on, whatever plugins and their child processes print goes to standard
        error, so that the command's own output stays what its documentation says.
        """
        stdout = sys.stdout
        stdout.flush()
        try:
            number = stdout.fileno()
            own: TextIO = os.fdopen(
                os.dup(number),
                "w",
                encoding=stdout.encoding if stdout.isatty() else "utf-8",
                errors="backslashreplace",
            )
            os.dup2(sys.stderr.fileno(), number)
        except OSError:  # no file behind it: the command runs inside another program
            own = stdout
        sys.stdout = sys.stderr
        return cls(own, sys.stderr)

    def say(self, text: str = "", *, indent: int = 0, style: str = "") -> None:
        """Print prose, wrapped on a terminal unless it has lines of its own."""
        text = visible(text)
        lines = text.split("\n")
        if self.is_terminal and len(lines) == 1:
            padded = Padding(Prose(text, style=style), (0, 0, 0, indent), expand=False)
            self.show(padded if text else Text())
        else:
            self._write("\n".join(" " * indent * bool(one) + one for one in lines))

    def record(self, *fields: object) -> None:
        """Print one record: its fields on one line, separated by tabs."""
        self._write("\t".join(one_line(str(field)) for field in fields))

    def show(self, *parts: RenderableType) -> None:
        """Print what rich can draw; for terminals only."""
        self._console.print(*parts)

    def json(self, value: object) -> None:
        """Print a value as indented JSON."""
        self._write(json.dumps(value, indent=2, ensure_ascii=False))

    def raw(self, text: str) -> None:
        """Print the text as it is."""
        self._write(text)

    def error(self, code: str, text: str) -> None:
        """Print an error on standard error."""
        self._complain(f"error[{code}]", text, "bold red")

    def hint(self, text: str) -> None:
        """Print advice on standard error."""
        self._complain("hint", text, "cyan")

    def warn(self, text: str) -> None:
        """Print a warning on standard error."""
        self._complain("warning", text, "yellow")

    def _complain(self, label: str, text: str, style: str) -> None:
        self._stderr.flush()
        if self._stderr.isatty():
            kind = Text if "\n" in text else Prose
            line = kind.assemble((label, style), ": ", visible(text))
            self._error_console.print(line, soft_wrap="\n" in text)
        else:
            print(f"{label}: {visible(text)}", file=self._stderr, flush=True)

    def _write(self, text: str) -> None:
        """Write and flush; typer ends the command when nobody reads any more."""
        self._stdout.write(text + "\n")
        self._stdout.flush()


def _console(stream: TextIO) -> Console:
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def listed(names: Iterable[str]) -> str:
    """Join names with commas; a dash when there are none."""
    return ", ".join(names) or "-"
