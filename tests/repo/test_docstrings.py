"""What the public docstrings promise agrees with the code beside them."""

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import toolkit.errors
from tests.repo.sources import Function, texts

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes", "Source")


@dataclass(frozen=True)
class Documented:
    """One public function or method of the package."""

    place: str
    function: Function
    owner: ast.ClassDef | None

    @property
    def text(self) -> str:
        """Return its docstring."""
        return ast.get_docstring(self.function) or ""

    @property
    def parameters(self) -> list[str]:
        """List its parameters without ``self``, as a docstring names them."""
        own = self.function.args
        names = [one.arg for one in (*own.posonlyargs, *own.args)]
        names += [f"*{own.vararg.arg}"] if own.vararg else []
        names += [one.arg for one in own.kwonlyargs]
        names += [f"**{own.kwarg.arg}"] if own.kwarg else []
        first = self.owner is not None and "staticmethod" not in self.decorators
        return names[1:] if first else names

    @property
    def decorators(self) -> set[str]:
        """List the names of its decorators."""
        return {ast.unparse(one) for one in self.function.decorator_list}

    def section(self, title: str) -> dict[str, str] | None:
        """Return the entries of a section; None when there is none."""
        start = rf"^{title}:\n(.*?)(?=^(?:{'|'.join(SECTIONS)}):|\Z)"
        match = re.search(start, self.text, re.MULTILINE | re.DOTALL)
        return None if match is None else dict(_ENTRY.findall(match[1]))


_ENTRY = re.compile(r"^    ([\w*.]+)(?: \([^)]*\))?: (.*)", re.MULTILINE)


def documented() -> Iterator[Documented]:
    """Yield the public functions and methods of the package, but the command line."""
    for name, text in texts(".py"):
        if name.startswith("toolkit/") and not name.startswith("toolkit/cli/"):
            yield from _in(ast.parse(text).body, name, None)


def _in(
    body: list[ast.stmt], name: str, owner: ast.ClassDef | None
) -> Iterator[Documented]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _in(node.body, f"{name}:{node.name}", node)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            found = Documented(f"{name}:{node.name}", node, owner)
            if "overload" not in found.decorators:
                yield found


PUBLIC = list(documented())
ids = [one.place for one in PUBLIC]


def test_there_are_public_functions_to_look_at() -> None:
    """Find them, lest everything below passes on nothing."""
    assert len(PUBLIC) > 100


@pytest.mark.parametrize("one", PUBLIC, ids=ids)
def test_public_docstring_agrees_with_its_function(one: Documented) -> None:
    """Name every parameter where there is ``Args``, and every error that is raised."""
    assert one.text, "it has no docstring"
    described = one.section("Args")
    if described is not None:
        assert list(described) == one.parameters
    raised = one.section("Raises") or {}
    assert errors_raised_by(one.function) <= set(raised)
    assert all(is_error(name) for name in raised), raised


def errors_raised_by(function: Function) -> set[str]:
    """List the errors that a function's own statements raise by name."""
    found = set()
    for node in walk_own(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(target).rpartition(".")[2]
            if is_error(name):
                found.add(name)
    return found


def walk_own(function: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield child
            yield from walk_own(child)


def is_error(name: str) -> bool:
    """Tell whether a name is an error of ours or of Python."""
    plain = name.rpartition(".")[2]
    known = vars(toolkit.errors).get(plain) or vars(builtins).get(plain)
    others = {
        *("CancelledError", "InvalidStateError"),
        *("PluginValidationError", "UnsupportedSignatureError"),
    }
    return inspect.isclass(known) or plain in others


def test_long_signatures_are_explained() -> None:
    """Explain each argument of what takes more than four (``Args``)."""
    bare = [
        one.place
        for one in PUBLIC
        if len(one.parameters) > 4 and one.section("Args") is None
    ]
    assert bare == []


def test_every_module_and_class_says_what_it_is_for() -> None:
    """Have a docstring on each module and public class of the package."""
    silent = []
    for name, text in texts(".py"):
        if name.startswith("toolkit/"):
            tree = ast.parse(text)
            silent += [] if ast.get_docstring(tree) else [name]
            silent += [
                f"{name}:{one.name}"
                for one in tree.body
                if isinstance(one, ast.ClassDef)
                and not one.name.startswith("_")
                and not ast.get_docstring(one)
            ]
    assert silent == []
