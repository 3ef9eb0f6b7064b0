"""What a distribution's own metadata says against importing its code."""

from pathlib import Path
from typing import Final

import importlib_metadata
import pytest
from packaging.version import Version

import toolkit
from tests.distributions import Site
from tests.environments import Environment
from toolkit.discovery.index import Publisher
from toolkit.discovery.metadata import CORE, MAX_BYTES, metadata_fault
from toolkit.discovery.report import Cause, Failure
from toolkit.discovery.scan import scan
from toolkit.origin import Origin

POINTS: Final = "[toolkit.tools]\nsum = pkg:Sum\n"
BASE: Final = Version(toolkit.__version__).base_version
HEAD: Final = "Metadata-Version: 2.1\nName: dist\nVersion: 1.0\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def fault_of(site: Site, metadata: str | bytes) -> Failure | None:
    """Install a distribution with this metadata, and judge it."""
    site.install("dist", POINTS, metadata=metadata)
    (publisher,) = scan([str(site.folder)]).publishers
    return metadata_fault(publisher)


@pytest.mark.parametrize(
    "metadata",
    [
        HEAD,
        HEAD.replace("\n", "\r\n"),
        "Name: dist\n".encode("utf-8-sig"),
        "name:dist\nVERSION:1.0\n",
        "Name: dist\n",
        HEAD + "Author: Zoë\nSummary: x: y\n  Name:\n        |Name:\n",
        HEAD + "Name:\n",
        HEAD + "\nA description.\n\nName:\nRequires-Dist: toolkit-core>=99\n",
        HEAD.replace("\n", "\r\n") + "\r\nText.\r\nRequires-Dist: toolkit-core>=99\r\n",
    ],
    ids=[
        "plain",
        "crlf",
        "byte-order mark",
        "other case",
        "no version",
        "long fields",
        "two names",
        "description",
        "description in crlf",
    ],
)
def test_metadata_with_a_name_has_no_fault(site: Site, metadata: str | bytes) -> None:
    """Ask for a name alone, and read the header alone."""
    assert fault_of(site, metadata) is None


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("Metadata-Version: 2.1\nVersion: 1.0\n", "no Name"),
        (HEAD.replace("Name: dist", "Name:"), "no Name"),
        (HEAD.replace("Name: dist", "  Name: dist"), "no Name"),
        ("Version: 1.0\n\nName: dist\n", "no Name"),
        ("nothing of the kind\n", "no Name"),
        (b"\x00\x01\x02", "no Name"),
        ((HEAD + "Author: Zoë\n").encode("latin-1"), "UnicodeDecodeError: "),
        (b"\x89PNG\r\n\x1a\n\x00", "UnicodeDecodeError: "),
        (HEAD.encode("utf-16"), "UnicodeDecodeError: "),
        ("", "FileNotFoundError: "),
        (HEAD + "#" * MAX_BYTES, f"OSError: [Errno 27] larger than {MAX_BYTES} bytes"),
    ],
    ids=[
        "no name",
        "empty name",
        "indented name",
        "name in the description",
        "no field",
        "zeroes",
        "latin-1",
        "picture",
        "utf-16",
        "no file",
        "too large",
    ],
)
def test_metadata_that_cannot_be_read_is_a_fault(
    site: Site, metadata: str | bytes, why: str
) -> None:
    """Say what is wrong with it, and whose it is (B12)."""
    fault = fault_of(site, metadata)
    assert fault is not None
    assert fault.cause is Cause.METADATA_BROKEN
    assert fault.origin == Origin("dist", "1.0")
    assert fault.detail.startswith(f"broken metadata: {why}")


def test_folder_in_the_place_of_the_file_is_a_fault(site: Site) -> None:
    """Name a distribution whose metadata is no file."""
    (site.install("dist", POINTS, metadata="") / "METADATA").mkdir()
    (publisher,) = scan([str(site.folder)]).publishers
    fault = metadata_fault(publisher)
    assert fault is not None
    assert fault.detail.startswith("broken metadata: IsADirectoryError")


def test_old_style_metadata_is_read_too(site: Site) -> None:
    """Read ``PKG-INFO`` where there is no ``METADATA``."""
    folder = site.install("dist", POINTS, metadata="")
    (folder / "PKG-INFO").write_text(HEAD)
    (publisher,) = scan([str(site.folder)]).publishers
    assert metadata_fault(publisher) is None
    (folder / "METADATA").write_text("Name:\n")
    assert metadata_fault(publisher) is not None


def test_metadata_that_is_in_no_folder_was_read_before() -> None:
    """Leave what a zip file or a finder holds to importlib-metadata."""
    assert metadata_fault(Publisher("zipped", "1.0")) is None


@pytest.mark.parametrize(
    "requirement",
    [
        CORE,
        f"{CORE}=={toolkit.__version__}",
        f"Toolkit_Core (>={toolkit.__version__})",
        f"{CORE}[cli,llm] >= 0.0.1, < 1000",
        f"{CORE} @ https://example.com/toolkit.whl",
        f"{CORE}>=999; python_version < '3'",
        f"{CORE}>=999; extra == 'future'",
        f"{CORE}>=999; os_name ~= 'posix'",
        f"{CORE} is what it needs",
        f"{CORE}>=>=1",
        f"{CORE}-extras>=999",
        f"{CORE}s",
        "toolkit>=999",
        "other>=999",
        "",
    ],
)
def test_requirement_on_the_core_that_is_met_is_no_fault(
    site: Site, requirement: str
) -> None:
    """Leave what does not apply, or is no requirement, to installers."""
    assert fault_of(site, f"{HEAD}Requires-Dist: {requirement}\n") is None


@pytest.mark.parametrize(
    ("requirement", "shown"),
    [
        (f"{CORE}>=999", f"{CORE}>=999"),
        ("Toolkit.Core (<0.0.1)", "Toolkit.Core<0.0.1"),
        (f"{CORE}[cli] == 999.*", f"{CORE}[cli]==999.*"),
        (f"{CORE}>=999; python_version > '3'", f'{CORE}>=999; python_version > "3"'),
    ],
)
def test_requirement_on_another_core_is_a_fault(
    site: Site, requirement: str, shown: str
) -> None:
    """Say what it needs and what is running, whichever of its lines says so."""
    requires = f"Requires-Dist: {CORE}>0\nrequires-dist: {requirement}\n"
    fault = fault_of(site, HEAD + requires)
    assert fault is not None
    assert fault.cause is Cause.CORE_UNSUPPORTED
    assert fault.origin == Origin("dist", "1.0")
    running = f"{CORE} {toolkit.__version__} is running"
    assert fault.detail == f"it requires {shown}, and {running}"


@pytest.mark.parametrize(
    ("wanted", "is_met"),
    [
        (f">={BASE}.dev0", True),
        (f"~={BASE}.dev0", True),
        (f">={BASE}.dev0,<{BASE}.post9", True),
        (f"=={BASE}rc999", False),
        (f"<{BASE}.dev0", False),
        (">=999a1", False),
    ],
)
def test_prereleases_count_in_their_order(
    site: Site, wanted: str, *, is_met: bool
) -> None:
    """Let those who test a candidate use the plugins that are made for it."""
    fault = fault_of(site, f"{HEAD}Requires-Dist: {CORE}{wanted}\n")
    assert (fault is None) is is_met


CANDIDATE: Final = """
import sys, toolkit
from toolkit.discovery.metadata import metadata_fault
from toolkit.discovery.scan import scan
toolkit.__version__ = sys.argv[2]
(publisher,) = scan(sys.argv[1:2]).publishers
print(metadata_fault(publisher) is None)
"""


@pytest.mark.integration
def test_candidate_of_the_core_is_good_enough_for_released_plugins(
    tmp_path: Path,
) -> None:
    """Run what asks for an older core beside a release candidate, not only later."""
    environment = Environment(tmp_path)
    requires = f"{HEAD}Requires-Dist: {CORE}>=1.0,<3\n"
    environment.site.install("dist", POINTS, metadata=requires)
    folder = str(environment.site.folder)
    found = [
        environment.run(CANDIDATE, folder, running).stdout.strip()
        for running in ("2.0rc1", "1.0rc1")
    ]
    assert found == ["True", "False"]


def test_version_is_that_of_the_installed_distribution() -> None:
    """Compare with what installers compare with."""
    assert toolkit.__version__ == importlib_metadata.version(CORE)
