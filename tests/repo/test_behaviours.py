"""Promises and tests, compared both ways; and which phases hold which topic."""

import ast
import os
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from tests.behaviours import BEHAVIOURS, BUDGETS, GAPS, MATRIX, SUITES
from tests.conftest import FLOORS, PHASES, phase_of_folder, phase_of_markers
from tests.repo.sources import ROOT, TestCase, all_cases

# Ids in brackets, as in "(S30, B1)" or "(S22-S26)"; a dash or a minus makes a range.
_CITED = re.compile(r"\(((?:[SB]\d+(?:[-\u2013][SB]?\d+)?(?:,\s*)?)+)\)")
_RANGE = re.compile(r"([SB])(\d+)(?:[-\u2013][SB]?(\d+))?")


def ids_in(text: str) -> set[str]:
    """Return the ids that a docstring cites, ranges spelled out.

    >>> sorted(ids_in("Hold it (S30, B1-B3)."))
    ['B1', 'B2', 'B3', 'S30']
    """
    found: set[str] = set()
    for group in _CITED.findall(" ".join(text.split())):
        for letter, first, last in _RANGE.findall(group):
            numbers = range(int(first), int(last or first) + 1)
            found.update(f"{letter}{number}" for number in numbers)
    return found


def citations() -> dict[str, list[TestCase]]:
    """Map each cited id to the tests that cite it."""
    found: defaultdict[str, list[TestCase]] = defaultdict(list)
    for case in all_cases():
        for one in ids_in(case.sentence):
            found[one].append(case)
    return found


CITED = citations()


def phase_of(case: TestCase) -> str:
    """Tell the phase of a test: its own marker, its file's, or its folder's."""
    text = (ROOT / case.file).read_text(encoding="utf-8")
    decorators = " ".join(map(ast_text, case.function.decorator_list))
    file_mark = re.search(r"^pytestmark = .*$", text, re.MULTILINE)
    for source in (decorators, file_mark[0] if file_mark else ""):
        marked = [one for one in PHASES if f"mark.{one}" in source]
        if marked:
            return marked[-1]
    return phase_of_folder(Path(ROOT / case.file))


def ast_text(node: object) -> str:
    """Write a decorator as source."""
    return ast.unparse(node) if isinstance(node, ast.AST) else ""


def test_ids_are_read_from_sentences() -> None:
    """Read single ids and ranges, and no id outside of brackets."""
    assert ids_in("Do it (S30, B1).") == {"S30", "B1"}
    assert ids_in("Do it\n(S22\u2013S24).") == {"S22", "S23", "S24"}
    assert ids_in("Take 3 (of S4 and B5).") == set()


def test_every_promise_is_held_by_a_test() -> None:
    """Cite every id at least once (B68)."""
    assert sorted(BEHAVIOURS.keys() - CITED.keys(), key=in_order) == []


def test_tests_cite_only_what_is_promised() -> None:
    """Cite no id that the list does not explain."""
    assert {one: CITED[one][0].id for one in CITED.keys() - BEHAVIOURS.keys()} == {}


def test_every_point_that_was_asked_for_is_held_or_owned_up_to() -> None:
    """List the points that no test cites: none but those with a reason (B68)."""
    asked = {f"S{number}" for number in range(1, 217)}
    asked |= {f"B{number}" for number in range(1, 69)}
    assert len(asked) == 284
    open_points = sorted(asked - CITED.keys(), key=in_order)
    assert open_points == sorted(GAPS, key=in_order)
    assert all(reason.endswith(".") for reason in GAPS.values())
    assert asked == BEHAVIOURS.keys() | GAPS.keys()


def in_order(one: str) -> tuple[str, int]:
    """Sort ids as people count."""
    return one[0], int(one[1:])


def test_promises_are_sentences_in_order() -> None:
    """Keep the list readable: a sentence each, in order."""
    sentences = BEHAVIOURS.values()
    assert all(text[0].isupper() and text.endswith(".") for text in sentences)
    assert all(len(text) < 90 for text in sentences)
    ids = list(BEHAVIOURS)
    letters = [[one for one in ids if one[0] == letter] for letter in "SB"]
    assert letters == [sorted(group, key=in_order) for group in letters]


@pytest.mark.parametrize("topic", sorted(MATRIX))
def test_topic_is_held_in_each_phase_that_needs_it(topic: str) -> None:
    """Hold schemas, counts, life and concurrency where the matrix says (S22-S26)."""
    points, phases = MATRIX[topic]
    held = {phase_of(case) for point in points for case in CITED.get(point, ())}
    assert phases - held == set()


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_suite_that_was_asked_for_exists(suite: str) -> None:
    """Find the tests that each named suite consists of (S37, S150-S158)."""
    assert [point for point in sorted(SUITES[suite]) if point not in CITED] == []


def test_matrix_and_budgets_speak_of_known_things() -> None:
    """Use in the tables only known ids and phases (S21)."""
    assert len(PHASES) == 4
    for points, phases in MATRIX.values():
        assert points <= BEHAVIOURS.keys()
        assert phases <= set(PHASES)
    assert all(points <= BEHAVIOURS.keys() for points in SUITES.values())
    assert BUDGETS.keys() <= set(PHASES)


PROMISED = {"unit": 15.0, "integration": 120.0, "e2e": 600.0, "mission_critical": 600.0}


def test_budgets_are_those_that_were_promised() -> None:
    """Record for each phase the seconds that the checklist allows (S92, S103, S126)."""
    assert BUDGETS == PROMISED


@pytest.mark.integration
def test_unit_phase_kept_to_its_budget(request: pytest.FixtureRequest) -> None:
    """Add up what the unit tests of this run took; they come first (S92)."""
    assert seconds_of("unit", request) <= BUDGETS["unit"] * slowness("unit", request)


@pytest.mark.mission_critical
def test_integration_phase_kept_to_its_budget(request: pytest.FixtureRequest) -> None:
    """Add up what the integration tests of this run took (S103)."""
    allowed = BUDGETS["integration"] * slowness("integration", request)
    assert seconds_of("integration", request) <= allowed


@pytest.mark.mission_critical
def test_e2e_phase_kept_to_its_budget(request: pytest.FixtureRequest) -> None:
    """Add up what the tests from outside of this run took (S126)."""
    assert seconds_of("e2e", request) <= BUDGETS["e2e"] * slowness("e2e", request)


def seconds_of(phase: str, request: pytest.FixtureRequest) -> float:
    """Return the seconds that the tests of a phase took in this run."""
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip("the machine is busy with other things; seconds mean nothing")
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    done = [*reporter.stats.get("passed", ()), *reporter.stats.get("failed", ())]
    phases = {item.nodeid: phase_of_markers(item) for item in request.session.items}
    return float(sum(one.duration for one in done if phases[one.nodeid] == phase))


def slowness(phase: str, request: pytest.FixtureRequest) -> float:
    """Return how much slower this machine was in a phase than that of the promise.

    That one takes 0.012 s for the loop that `tests.conftest` times now and then.
    """
    loops = request.config.stash.get(FLOORS, {}).get(phase, [])
    return max(1.0, fmean(loops) / 0.012) if loops else 1.0
