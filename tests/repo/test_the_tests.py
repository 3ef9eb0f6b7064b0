"""The tests themselves: they can fail, say what they hold, and use the real thing."""

import ast
from collections.abc import Iterator

import pytest

from tests.repo.sources import (
    Function,
    TestCase,
    all_cases,
    all_trees,
    calls_in,
    texts,
)

pytestmark = pytest.mark.integration  # it reads every file: seconds

CASES = all_cases()
TREES = all_trees()

# Catching one of these in a test may hide the very failure it should show.
BROAD = {"BaseException", "Exception", "AssertionError", ""}


def modules(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a tree imports from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_there_are_tests_to_look_at() -> None:
    """Find the tests, lest everything below passes on nothing (B67)."""
    assert len(TREES) > 10
    assert len(CASES) > 100


def test_every_test_says_what_it_holds() -> None:
    """Give each test a docstring that is a sentence (S17)."""
    silent = [case.id for case in CASES if not is_sentence(case.sentence)]
    assert silent == []


def is_sentence(text: str) -> bool:
    """Tell whether a docstring is a sentence, with or without points after it."""
    words = text.strip()
    starts = words[:1].isupper() or words[:1] in set("`*0123456789")
    return len(words.split()) >= 3 and starts and words.endswith((".", ")", "?", "!"))


def test_names_of_tests_are_sentences() -> None:
    """Let the name of a red test say what broke: three words or more."""
    short = [case.id for case in CASES if case.function.name.count("_") < 3]
    assert short == []


def test_every_test_can_fail() -> None:
    """Have an assertion, an expected error, or a checking helper in each (S18, B68)."""
    harmless = [case.id for case in CASES if not can_fail(case)]
    assert harmless == []


def can_fail(case: TestCase) -> bool:
    """Tell whether a test checks anything: itself, by a helper, or by a warning."""
    if asserts(case.function) or case.function.name in WARNING_IS_THE_CHECK:
        return True
    names = {name.rpartition(".")[2] for name, _ in calls_in(case.function)}
    own = {"raises", "warns", "fail", "expect"}  # "expect" is Playwright's assertion
    return bool(names & {*own, *CHECKING_HELPERS})


def asserts(function: ast.AST) -> bool:
    """Tell whether an assertion is anywhere in a function."""
    return any(isinstance(node, ast.Assert) for node in ast.walk(function))


CHECKING_HELPERS = {
    node.name
    for name, text in texts(".py")
    if "tests/" in name
    for node in ast.walk(ast.parse(text))
    if isinstance(node, Function) and asserts(node)
}
WARNING_IS_THE_CHECK = {
    "test_failure_nobody_looks_at_is_not_reported_as_lost",  # asyncio would warn
    "test_a_result_that_breaks_its_annotation_is_written_as_it_is",  # pydantic would
}


def test_no_assertion_is_always_true() -> None:
    """Assert no constant and no tuple, which would pass whatever happens (B68)."""
    empty = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        and isinstance(node.test, ast.Constant | ast.Tuple | ast.JoinedStr)
    ]
    assert empty == []


def test_no_test_swallows_a_failure() -> None:
    """Catch nothing broad, and suppress nothing broad, in any test (S27)."""
    hiding = [
        f"{case.id}:{line}" for case in CASES for line in hiding_places(case.function)
    ]
    assert hiding == []


def hiding_places(function: ast.AST) -> Iterator[int]:
    """Yield the lines on which a test would swallow its own failure."""
    for node in own_nodes(function):
        if isinstance(node, ast.ExceptHandler):
            kinds = {ast.unparse(node.type)} if node.type else {""}
            if kinds & BROAD and not any(isinstance(n, ast.Raise) for n in node.body):
                yield node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = {ast.unparse(one) for one in node.args}
            if caught & BROAD:
                yield node.lineno


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Walk a test without the classes in it: tools under test catch what they like."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.ClassDef):
            yield child
            yield from own_nodes(child)


def test_what_is_wrong_fails_instead_of_warning() -> None:
    """Turn no failure into a warning or into a skipped or expected one (S28)."""
    soft = {"pytest.xfail", "pytest.mark.xfail", "pytest.mark.skip"}
    found = [
        f"{name}:{call.lineno}: {called}"
        for name, tree in TREES.items()
        for called, call in calls_in(tree)
        if called in soft
    ]
    assert found == []


def test_skipped_tests_say_why() -> None:
    """Skip only on a condition, and give its reason (S28)."""
    conditional = {"pytest.mark.skipif", "pytest.skip", "pytest.importorskip"}
    silent = [
        f"{name}:{call.lineno}"
        for name, tree in TREES.items()
        for called, call in calls_in(tree)
        if called in conditional
        and not any(keyword.arg == "reason" for keyword in call.keywords)
        and not (called == "pytest.skip" and call.args)
    ]
    assert silent == []


def test_warnings_are_errors_and_expected_failures_strict(
    pytestconfig: pytest.Config,
) -> None:
    """Configure the runner so that nothing passes by looking away (S28)."""
    assert pytestconfig.getini("filterwarnings") == ["error"]
    assert pytestconfig.getini("strict") is True
    assert float(pytestconfig.getini("timeout")) <= 60


def test_tests_use_the_real_components() -> None:
    """Mock nothing: no mock library, and no patched object of ours (S16, B66)."""
    mocks = {"unittest.mock", "mock", "pytest_mock"}
    mocking = [name for name, tree in TREES.items() if mocks & set(modules(tree))]
    assert mocking == []
    patched = [
        f"{name}:{call.lineno}: {ast.unparse(call)[:80]}"
        for name, tree in TREES.items()
        for called, call in calls_in(tree)
        if called.endswith(("monkeypatch.setattr", "patch.object")) and call.args
        if patches_ours(call.args[0])
    ]
    assert patched == []


def patches_ours(target: ast.expr) -> bool:
    """Tell whether the first argument of a patch is something of the package."""
    if isinstance(target, ast.Constant):
        return str(target.value).startswith("toolkit")
    return ast.unparse(target).partition(".")[0] == "toolkit"


def test_tests_never_sleep() -> None:
    """Prove an order with barriers and events, never with time (S20)."""
    sleeping = [
        f"{name}:{call.lineno}"
        for name, tree in TREES.items()
        for called, call in calls_in(tree)
        if called in ("time.sleep", "sleep", "asyncio.sleep", "anyio.sleep")
        and not (call.args and is_zero(call.args[0]))
    ]
    assert sleeping == []


def is_zero(node: ast.expr) -> bool:
    """Tell whether a sleep only lets others run."""
    return isinstance(node, ast.Constant) and node.value == 0


def test_tests_need_no_container() -> None:
    """Import no container library, and start none (S21)."""
    containers = {"docker", "testcontainers", "podman"}
    using = [
        name
        for name, tree in TREES.items()
        if containers & {one.partition(".")[0] for one in modules(tree)}
    ]
    assert using == []
    assert not any(name.endswith("Dockerfile") for name, _ in texts())
