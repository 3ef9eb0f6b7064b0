"""The phases: every test belongs to one, and they run in order (S161, S162)."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from timeit import timeit
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent

os.environ["TOOLKIT_CACHE"] = "off"  # tests see what is there; some switch it on

# In the order in which they run and gate: commit, staging, production (S161-S165).
PHASES: Final = ("unit", "integration", "e2e", "mission_critical")

# Which phase a folder's tests belong to, unless a test's own marker says otherwise.
PHASE_OF_FOLDER: Final = {
    "unit": "unit",
    "contract": "unit",
    "property": "integration",
    "repo": "unit",
    "integration": "integration",
    "isolation": "integration",
    "plugins": "e2e",  # with their real workers, files and users
    "e2e": "e2e",
    "mission_critical": "mission_critical",
}

# Seconds that a fixed loop took, now and then, while the tests of each phase ran.
FLOORS: Final = pytest.StashKey[dict[str, list[float]]]()
TIMES_FLOOR: Final = pytest.StashKey[bool]()
TESTS_BETWEEN_FLOORS: Final = 50


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no test, and nothing that one starts, touch the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_finish() -> None:
    """Leave what collecting made out of all later garbage collections.

    Tests that look for what is left behind collect often; thousands of collected tests
    would be walked each time.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Time the floor now and then: a machine's pace changes within one run."""
    if TIMES_FLOOR in item.stash:
        floors = item.config.stash.setdefault(FLOORS, {})
        seconds = timeit("for i in range(500_000): n = i & 3", number=1)
        floors.setdefault(phase_of_markers(item) or "unit", []).append(seconds)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark each test before `-m` selects; sort by phase after the order is shuffled."""
    for item in items:
        is_ours = item.path.is_relative_to(TESTS)
        if phase_of_markers(item) is None or not is_ours:  # a plugin's own marks, too
            item.add_marker(phase_of_folder(item.path))
        item.add_marker("no_docker")  # nothing here needs a container (S21)
    yield
    items.sort(key=lambda item: PHASES.index(phase_of_markers(item) or "unit"))
    for item in items[::TESTS_BETWEEN_FLOORS]:
        item.stash[TIMES_FLOOR] = True


def phase_of_markers(item: pytest.Item) -> str | None:
    """Tell the last phase a test is marked with; None without such a marker."""
    marked = [phase for phase in PHASES if item.get_closest_marker(phase)]
    return marked[-1] if marked else None


def phase_of_folder(path: Path) -> str:
    """Tell a test's phase by its folder; one that is not known here is an error.

    Raises:
        UsageError: The folder is new: give it a phase above.
    """
    is_ours = path.is_relative_to(TESTS)
    folder = path.relative_to(TESTS).parts[0] if is_ours else "plugins"
    if folder not in PHASE_OF_FOLDER:
        message = (
            f"tests/{folder} has no phase; add it to PHASE_OF_FOLDER in {__file__}"
        )
        raise pytest.UsageError(message)
    return PHASE_OF_FOLDER[folder]
