"""Build a folder of installed distributions, as an installer leaves them.

Of N distributions one in ten publishes five tools, in a module of its own that can be
imported. The same N and kind always give the same files. A module is of one of two
kinds: ``plain`` ones import nothing, which is the least that tools can be written with;
``models`` ones are written as tools usually are, with described and bounded arguments,
and a pydantic model of each result.

Run: ``python benchmarks/discovery/build.py FOLDER N [KIND]``.

Source: PyPA specifications, "Binary distribution format" (escaping in names),
"Recording installed projects" and "Entry points" (2026-11).
"""

from __future__ import annotations

import argparse
import hashlib
import py_compile
import random
import re
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import NamedTuple

GROUP = "toolkit.tools"
PUBLISHES = 10  # one in so many
SEED = 50_500_5000

WORDS = ("acme", "Blue", "cloud", "data", "Edge", "flow", "graph", "Hub", "io", "jet")
SEPARATORS = ("-", "_", ".", "--", "-_.")  # all of these mean the same
VERSIONS = (
    "1.0",
    "0.1.0",
    "2.13.4",
    "24.1",
    "1.0rc1",
    "3.2.post1",
    "1!2.0",
    "1.0+cu12",
)

METADATA = """\
Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: One of many distributions of an environment.
Author-email: Someone <someone@example.org>
License-Expression: Apache-2.0
Classifier: Programming Language :: Python :: 3
Requires-Python: >=3.11
{requires}Description-Content-Type: text/markdown

# {name}

What a README says, which no discovery has any use for.
"""
REQUIRES = "Requires-Dist: pydantic>=2.12\nRequires-Dist: toolkit-core>=0.1\n"
WHEEL = """\
Wheel-Version: 1.0
Generator: hatchling 1.33.0
Root-Is-Purelib: true
Tag: py3-none-any
"""
MODULE = '''\
"""Five tools that are called with text, numbers, rows and settings."""


class Count{suffix}:
    """Count the words of a text."""

    name = "{stem}_count"
    tags = ("text",)
    read_only = True

    def execute(self, text: str, min_letters: int = 1) -> dict[str, int]:
        """Count how often each word occurs.

        Args:
            text: The text to count.
            min_letters: Leave out words that are shorter than this.
        """
        words = [one for one in text.split() if len(one) >= min_letters]
        return {{one: words.count(one) for one in words}}


class Shorten{suffix}:
    """Cut a text after some characters."""

    name = "{stem}_shorten"

    async def execute(self, text: str, limit: int = 80, mark: str | None = None) -> str:
        """Cut a text.

        Args:
            text: The text to cut.
            limit: Characters to keep.
            mark: What stands for the rest.
        """
        return text if len(text) <= limit else text[:limit] + (mark or "")


class Mean{suffix}:
    """Take the mean of some numbers."""

    name = "{stem}_mean"

    def __init__(self, digits: int = 6) -> None:
        self.digits = digits

    def execute(self, numbers: list[float], weights: list[int] | None = None) -> float:
        """Take the mean, weighted if weights are given.

        Args:
            numbers: At least one.
            weights: As many as there are numbers.
        """
        by = weights or [1] * len(numbers)
        total = sum(one * weight for one, weight in zip(numbers, by, strict=True))
        return round(total / sum(by), self.digits)


class Group{suffix}:
    """Group rows by one of their columns."""

    name = "{stem}_group"

    def execute(self, rows: list[dict[str, str]], by: str) -> dict[str, list[int]]:
        """Group rows.

        Args:
            rows: The rows, each with its columns.
            by: The column to group by.
        """
        found: dict[str, list[int]] = {{}}
        for number, row in enumerate(rows):
            found.setdefault(row.get(by, ""), []).append(number)
        return found


class Describe{suffix}:
    """Say what settings are given."""

    name = "{stem}_describe"
    destructive = False

    def execute(self, *, verbose: bool = False, **settings: str) -> list[str]:
        """Say each setting in a line.

        Args:
            verbose: Whether to say the values too.
            settings: Any settings.
        """
        return [f"{{k}}={{v}}" if verbose else k for k, v in sorted(settings.items())]
'''
MODELS = '''\
"""Five tools with described arguments, each with a model of its result."""

from typing import Annotated

from pydantic import BaseModel, Field


class Counted{suffix}(BaseModel):
    """What was counted."""

    words: dict[str, int] = Field(description="How often each word occurs")
    total: int = Field(ge=0, description="Words in all")


class Count{suffix}:
    """Count the words of a text."""

    name = "{stem}_count"
    tags = ("text",)
    read_only = True

    def execute(
        self,
        text: Annotated[str, Field(min_length=1, description="The text to count")],
        min_letters: Annotated[int, Field(ge=1, description="Leave out shorter")] = 1,
    ) -> Counted{suffix}:
        """Count how often each word occurs."""
        words = [one for one in text.split() if len(one) >= min_letters]
        found = {{one: words.count(one) for one in words}}
        return Counted{suffix}(words=found, total=len(words))


class Shortened{suffix}(BaseModel):
    """What is left of a text."""

    text: str = Field(description="What is left")
    removed: int = Field(ge=0, description="How many characters were cut off")


class Shorten{suffix}:
    """Cut a text after some characters."""

    name = "{stem}_shorten"

    async def execute(
        self,
        text: Annotated[str, Field(max_length=100_000, description="The text to cut")],
        limit: Annotated[int, Field(ge=1, le=1000, description="To keep")] = 80,
        mark: Annotated[str, Field(description="Stands for the rest")] | None = None,
    ) -> Shortened{suffix}:
        """Cut a text."""
        short = text if len(text) <= limit else text[:limit] + (mark or "")
        removed = max(0, len(text) - limit)
        return Shortened{suffix}(text=short, removed=removed)


class Average{suffix}(BaseModel):
    """A mean, and what it was taken of."""

    mean: float = Field(description="The mean, rounded")
    numbers: int = Field(ge=1, description="How many there were")


class Mean{suffix}:
    """Take the mean of some numbers."""

    name = "{stem}_mean"

    def __init__(self, digits: int = 6) -> None:
        self.digits = digits

    def execute(
        self,
        numbers: Annotated[list[float], Field(min_length=1, description="Of these")],
        weights: Annotated[list[int], Field(description="For each")] | None = None,
    ) -> Average{suffix}:
        """Take the mean, weighted if weights are given."""
        by = weights or [1] * len(numbers)
        total = sum(one * weight for one, weight in zip(numbers, by, strict=True))
        mean = round(total / sum(by), self.digits)
        return Average{suffix}(mean=mean, numbers=len(numbers))


class Grouped{suffix}(BaseModel):
    """Rows by the value of one column."""

    groups: dict[str, list[int]] = Field(description="Numbers of rows by value")
    column: str = Field(description="The column")


class Group{suffix}:
    """Group rows by one of their columns."""

    name = "{stem}_group"

    def execute(
        self,
        rows: Annotated[list[dict[str, str]], Field(description="With their columns")],
        by: Annotated[str, Field(min_length=1, description="The column to group by")],
    ) -> Grouped{suffix}:
        """Group rows."""
        found: dict[str, list[int]] = {{}}
        for number, row in enumerate(rows):
            found.setdefault(row.get(by, ""), []).append(number)
        return Grouped{suffix}(groups=found, column=by)


class Described{suffix}(BaseModel):
    """The settings in words."""

    lines: list[str] = Field(description="One line for each setting")


class Describe{suffix}:
    """Say what settings are given."""

    name = "{stem}_describe"
    destructive = False

    def execute(
        self,
        *,
        verbose: Annotated[bool, Field(description="Whether to say values")] = False,
        **settings: Annotated[str, Field(max_length=200, description="Any settings")],
    ) -> Described{suffix}:
        """Say each setting in a line."""
        given = sorted(settings.items())
        lines = [f"{{k}}={{v}}" if verbose else k for k, v in given]
        return Described{suffix}(lines=lines)
'''
SOURCES = {"plain": MODULE, "models": MODELS}
TOOLS = ("Count", "Shorten", "Mean", "Group", "Describe")


class Distribution(NamedTuple):
    """What one distribution is called.

    Attributes:
        name: As its author writes it.
        version: The same.
        stem: Its name, normalised and escaped; the name of its module too.
        is_publisher: Whether it publishes tools.
    """

    name: str
    version: str
    stem: str
    is_publisher: bool

    @property
    def info(self) -> str:
        """The name of its metadata folder."""
        return f"{self.stem}-{self.version.replace('-', '_')}.dist-info"

    def points(self) -> str:
        """Return its entry_points.txt."""
        suffix = self.stem.rpartition("_")[2]
        lines = [
            f"{self.stem}_{tool.lower()} = {self.stem}:{tool}{suffix}" for tool in TOOLS
        ]
        return "\n".join((f"[{GROUP}]", *lines, ""))

    def module(self, kind: str) -> str:
        """Return the source of its module, of one of the two kinds."""
        return SOURCES[kind].format(stem=self.stem, suffix=self.stem.rpartition("_")[2])


def distributions(count: int) -> list[Distribution]:
    """Return so many distributions, always the same ones; one in ten publishes."""
    pick = random.Random(SEED)  # noqa: S311 - to be the same each time
    found = []
    for number in range(count):
        parts = (*pick.sample(WORDS, 2), f"{number:04}")
        name = "".join(part + pick.choice(SEPARATORS) for part in parts).rstrip("-_.")
        stem = re.sub(r"[-_.]+", "_", name).lower()
        is_publisher = number % PUBLISHES == 0
        found.append(Distribution(name, pick.choice(VERSIONS), stem, is_publisher))
    return found


def install(one: Distribution, site: Path, kind: str) -> None:
    """Write the files of one distribution, the module's byte code among them."""
    requires = REQUIRES if one.is_publisher else ""
    files = {
        f"{one.info}/INSTALLER": "pip\n",
        f"{one.info}/METADATA": METADATA.format(
            name=one.name, version=one.version, requires=requires
        ),
        f"{one.info}/WHEEL": WHEEL,
    }
    if one.is_publisher:
        files[f"{one.stem}.py"] = one.module(kind)
        files[f"{one.info}/entry_points.txt"] = one.points()
    (site / one.info).mkdir()
    for place, text in files.items():
        (site / place).write_text(text, encoding="utf-8")
    lines = [record_line(place, text.encode()) for place, text in files.items()]
    if one.is_publisher:
        cached = py_compile.compile(str(site / f"{one.stem}.py"), doraise=True)
        lines.append(f"{Path(str(cached)).relative_to(site).as_posix()},,")
    lines.append(f"{one.info}/RECORD,,\n")
    record = "\n".join(sorted(lines[:-1]) + lines[-1:])
    (site / one.info / "RECORD").write_text(record, encoding="utf-8")


def record_line(place: str, data: bytes) -> str:
    """Return a file's line of a RECORD."""
    digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{place},sha256={digest},{len(data)}"


def build(site: Path, count: int, kind: str = "plain") -> None:
    """Build a folder of so many distributions; it must not be there yet."""
    site.mkdir(parents=True)
    for one in distributions(count):
        install(one, site, kind)


def main() -> int:
    """Build one folder.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="must not be there yet")
    parser.add_argument("count", type=int, help="of distributions")
    parser.add_argument("kind", choices=[*SOURCES], nargs="?", default="plain")
    options = parser.parse_args()
    build(options.folder, options.count, options.kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
