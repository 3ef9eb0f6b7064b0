"""Habits of the package's code that no linter holds."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.repo.sources import Function, calls_in, texts

pytestmark = pytest.mark.integration  # it reads every file: seconds

TREES = {
    name: ast.parse(text) for name, text in texts(".py") if name.startswith("toolkit/")
}


def test_there_is_code_to_look_at() -> None:
    """Find the modules, lest everything below passes on nothing."""
    assert len(TREES) > 20


def test_nothing_succeeds_without_doing_anything() -> None:
    """Have no function with an empty body, but where a body means nothing (B20)."""
    stubs = [
        f"{name}:{function.lineno}: {function.name}"
        for name, tree in TREES.items()
        for owner, function in functions(tree)
        if is_empty(function) and not may_be_empty(owner, function)
    ]
    assert stubs == []


def functions(tree: ast.AST) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    """Yield each function with the class it is in."""
    for node in ast.walk(tree):
        owner = node if isinstance(node, ast.ClassDef) else None
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield owner, child


def is_empty(function: Function) -> bool:
    """Tell whether a function's body is no more than its docstring."""
    body = [one for one in function.body if not is_constant(one)]
    return not body or all(isinstance(one, ast.Pass) for one in body)


def is_constant(statement: ast.stmt) -> bool:
    """Tell whether a statement is a docstring or an ellipsis."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def may_be_empty(owner: ast.ClassDef | None, function: Function) -> bool:
    """Tell whether an empty body is right: a protocol's, a hook's, a default's."""
    bases = (
        {ast.unparse(base).partition("[")[0] for base in owner.bases}
        if owner
        else set()
    )
    decorators = {ast.unparse(one) for one in function.decorator_list}
    return (
        "Protocol" in bases
        or bool(decorators & {"overload", "hookspec", "abstractmethod"})
        or function.name in HARMLESS
    )


HARMLESS = {
    "_check_key",  # the generic registry takes any key; ToolRegistry checks
}


def test_locks_are_made_with_their_owner() -> None:
    """Make every lock in a constructor: none late, none global, none per loop (B56)."""
    made = []
    for name, tree in TREES.items():
        in_constructors = {
            call
            for _, function in functions(tree)
            if function.name == "__init__"
            for _, call in calls_in(function)
        }
        made += [
            f"{name}:{call.lineno}: {called}"
            for called, call in calls_in(tree)
            if re.fullmatch(
                r"(threading|asyncio)\.(R?Lock|Condition|Semaphore)", called
            )
            and call not in in_constructors
        ]
    assert made == []


def test_nothing_at_module_level_changes() -> None:
    """Keep no dictionary, list or set at module level that is not a constant (B40)."""
    mutable = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
    found = [
        f"{name}:{node.lineno}: {ast.unparse(target)}"
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, mutable)
        for target in node.targets
        if ast.unparse(target) not in ("__all__", "_MODULE_OF")
    ]
    assert found == []
    changing = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
    ]
    assert changing == []


def test_ids_never_come_from_a_clock_or_an_address() -> None:
    """Mint ids from `uuid4`, never from the time or from ``id()`` (B5, B45, B57)."""
    found = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FormattedValue):
                inside = {called for called, _ in calls_in(node)}
                if inside & {"id", "time.time", "time.time_ns", "time.monotonic"}:
                    found.append(f"{name}:{node.lineno}")
    assert found == []


def test_no_name_is_made_from_the_class_of_a_class() -> None:
    """Lower-case no class's name into a tool's: the pattern is nowhere (S33, B5)."""
    pattern = re.compile(r"(?:__class__|type\(\w+\))\.__name__\.lower\(\)")
    found = [
        name
        for name, text in texts(".py")
        if "toolkit/" in name
        if pattern.search(text)
    ]
    assert found == []
