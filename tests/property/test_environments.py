"""Any environment on disk: we find in it what importlib-metadata finds, and keep it."""

import importlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import importlib_metadata
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.discovery.cache import keep
from toolkit.discovery.index import READ, Index, cache_file, entry_points, index
from toolkit.discovery.scan import canonical, parse, scan

pytestmark = pytest.mark.integration  # real files or processes in every test

AN_HOUR_AGO: Final = (time.time_ns() - 3_600_000_000_000) | 1  # no whole second
SOME: Final = settings(max_examples=60, deadline=None)

# Few names, so that folders hide each other's; each in spellings that are all the same.
NAMES: Final = (("a", "A"), ("ab_c", "Ab.C", "AB__c"), ("toolkit_text", "Toolkit.Text"))
VERSIONS: Final = ("", "1.0", "2.0rc1", "1!3", "0.1+local.7", "what")
# Drawn whole, which is quick; any letters at all are drawn below, without a disk.
HEADERS: Final = (
    *(f"[{group}]" for group in READ),
    "  [toolkit.tools]\t",
    "[console_scripts]",
    "[toolkit]",
    "[toolkit.tools.more]",
    "[pydantic_x]",
)
LINES: Final = (
    "sum = pkg:Sum",
    "sum=pkg:Sum",
    "sum = other:Sum",
    "\tZoë's tool\u00a0=pkg.mod : Class.attr [x, y]  ",
    "a.b:c-d = m",
    "e = ",
    "f = g = h",
    "g = x ; y # z",
    "# h = m:H",
    "#",
    "",
    " \t",
    "[toolkit.agents]",
    "[others]",
)
# No line may begin with a bracket or a sign of a comment.
WORD: Final = st.builds(
    "{}{}".format, st.sampled_from("aZ0_.:-Ää"), st.text("a_.:[] #;", max_size=5)
)

Found = dict[str, list[tuple[str, str, str]]]


class Installed(NamedTuple):
    """One metadata folder as it is written."""

    name: str
    version: str
    kind: str
    has_metadata: bool
    entry_points: str | None


def text_of(header: str, lines: list[str], end: str) -> str:
    """Return a legal ``entry_points.txt``; an empty header makes an empty one."""
    return end.join([header, *lines]) if header else ""


def installed(names: tuple[str, ...]) -> st.SearchStrategy[Installed]:
    """Draw a distribution under one of its spellings."""
    text = st.builds(
        text_of,
        header=st.sampled_from(("", *HEADERS)),
        lines=st.lists(st.sampled_from(LINES), max_size=5),
        end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    )
    return st.builds(
        Installed,
        name=st.sampled_from(names),
        version=st.sampled_from(VERSIONS),
        kind=st.sampled_from(["dist-info", "dist-info", "egg-info"]),
        has_metadata=st.sampled_from([True, True, True, False]),
        entry_points=st.none() | text,
    )


# One name is in each folder once: of two, we choose the newest, they any.
FOLDER: Final = st.tuples(*(st.none() | installed(names) for names in NAMES))
FOLDERS: Final = st.lists(FOLDER, min_size=1, max_size=3)
Folders = list[tuple[Installed | None, ...]]


def write(folder: Path, found: tuple[Installed | None, ...]) -> str:
    """Write one folder of the path; return it."""
    folder.mkdir()
    for one in filter(None, found):
        stem = "-".join(filter(None, [one.name, one.version]))
        info = folder / f"{stem}.{one.kind}"
        info.mkdir()
        if one.has_metadata:
            file = "METADATA" if one.kind == "dist-info" else "PKG-INFO"
            (info / file).write_text(f"Name: {one.name}\nVersion: {one.version}\n")
        if one.entry_points is not None:
            (info / "entry_points.txt").write_bytes(one.entry_points.encode())
    return str(folder)


def ours(found: Index) -> Found:
    """Return each group's entry points, with whose they are."""
    return {
        group: sorted(
            (publisher.name, point[1], point[2])
            for publisher in found.publishers
            for point in publisher.entry_points
            if point[0] == group
        )
        for group in READ
    }


def theirs(path: list[str]) -> Found:
    """Return the same as importlib-metadata's `entry_points` chooses it."""
    everything = importlib_metadata.distributions(path=path)
    first: dict[str, Any] = {}
    for one in importlib_metadata.Distribution._prefer_valid(everything):
        first.setdefault(canonical(cast("Any", one)._normalized_name), one)
    return {
        group: sorted(
            (name, point.name, point.value)
            for name, one in first.items()
            for point in one.entry_points.select(group=group)
        )
        for group in READ
    }


def plain(found: Index) -> tuple[object, ...]:
    """Return all of a look that is kept: of what is hidden, no entry points."""
    hidden = [
        (one.name, one.version, one.fault, one.folder, by) for one, by in found.shadowed
    ]
    kept = found.folders, found.stamps, found.files, found.publishers
    return *kept, hidden, found.is_lasting


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder for all environments, which have a cache of their own."""
    root = tmp_path_factory.mktemp("environments")
    importlib.import_module("toolkit.discovery.foreign")  # while the path is as it was
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOOLKIT_CACHE", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield root


def build(root: Path, folders: Folders) -> list[str]:
    """Write an environment where no other has been; return its path."""
    place = root / str(sum(1 for _ in root.iterdir()))
    place.mkdir()
    path = [write(place / str(at), each) for at, each in enumerate(folders)]
    return [*path, path[0], str(place / "missing")]  # a folder twice, and none


@SOME
@given(folders=FOLDERS)
def test_any_environment_is_found_as_importlib_metadata_finds_it(
    root: Path, folders: Folders
) -> None:
    """Agree on groups, names, references, and on whose first counts (S210)."""
    path = build(root, folders)
    assert ours(scan(path)) == theirs(path)


@SOME
@given(folders=FOLDERS)
def test_any_environment_comes_back_from_its_file_as_it_was_found(
    root: Path, folders: Folders
) -> None:
    """Answer from what is kept as from the folders themselves, fault by fault."""
    path = build(root, folders)
    for place, _, below in os.walk(Path(path[0]).parent):
        for name in (*below, "entry_points.txt", ""):
            file = Path(place, name)
            if file.exists():
                os.utime(file, ns=(AN_HOUR_AGO, AN_HOUR_AGO))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.path", path)
        cold = scan(path)
        assert keep(cold)
        assert Path(cache_file(cold.folders)).exists()
        warm = index()
        assert warm is not cold
        assert plain(warm) == plain(cold)
        points = {group: [(*one,) for one in entry_points(group)] for group in READ}
    assert {group: sorted(found) for group, found in points.items()} == {
        group: sorted((group, name, reference) for _, name, reference in found)
        for group, found in ours(cold).items()
    }


def differs_on_purpose(data: bytes) -> bytes:
    """Return what a file must say for importlib-metadata to find what we find.

    It takes a byte-order mark for part of the first header, a semicolon for no comment,
    spaces in a header for part of its group, and any line that is no entry for the end
    of everything. What comes before the first header it passes over, and so do we, with
    a fault.
    """
    kept = []
    for line in data.decode("utf-8-sig").splitlines():
        text = line.strip()
        if text.startswith("["):
            kept.append(f"[{text[1:-1].strip()}]")
        elif "=" in text and not text.startswith((";", "=")):
            kept.append(text)
    return "\n".join(kept).encode()


SLOPPY: Final = st.lists(
    st.sampled_from([f"[{group}]" for group in READ])
    | st.sampled_from(["[ toolkit.tools ]", "[\ttoolkit.agents]", "[others ]"])
    | st.sampled_from(["; a comment", ";a = b", "#", "", "  "])
    | st.sampled_from(["junk", "= m:x", "a b c", "toolkit.tools", "]"])
    | st.tuples(WORD, WORD).map(" = ".join),
    max_size=12,
)


@SOME
@given(
    lines=SLOPPY,
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_sloppy_file_is_found_as_its_tidy_twin(
    lines: list[str], mark: bytes, end: str
) -> None:
    """Find in what others give up on all that a tidy file would say."""
    data = mark + end.join(lines).encode()
    tidy = importlib_metadata.EntryPoints._from_text(  # type: ignore[no-untyped-call]
        differs_on_purpose(data).decode()
    )
    expected = [(one.group, one.name, one.value) for one in tidy if one.group in READ]
    assert [(*point,) for point in parse(data)[0]] == expected


@SOME
@given(
    data=st.binary(max_size=80) | SLOPPY.map(lambda lines: "\n".join(lines).encode())
)
def test_any_bytes_at_all_are_read_without_an_error(data: bytes) -> None:
    """Give entry points and a fault, and never raise, whatever a file holds."""
    for raw in (data, b"[toolkit.tools]\n" + data, data + b"\n[toolkit.tools]\na=m:A"):
        points, fault = parse(raw)
        assert {point[0] for point in points} <= set(READ)
        assert "\n" not in fault
