"""The names of the package: sorted, complete, importable, known to type checkers."""

import ast
import subprocess
import sys
from importlib import import_module

import pytest

import toolkit
from tests.repo.sources import ROOT, texts
from toolkit import errors

TREE = ast.parse((ROOT / "toolkit/__init__.py").read_text(encoding="utf-8"))


def imported_for_type_checkers() -> dict[str, str]:
    """Map each name of the TYPE_CHECKING block to its module."""
    block = next(node for node in TREE.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {name.name: node.module or "" for node in imports for name in node.names}


def test_public_names_are_sorted_and_each_has_one_module() -> None:
    """Keep `__all__`, the table of modules and the imports for type checkers equal."""
    assert list(toolkit.__all__) == sorted(toolkit.__all__)
    assert len(set(toolkit.__all__)) == len(toolkit.__all__)
    assert set(toolkit.__all__) == set(toolkit._MODULE_OF)
    assert imported_for_type_checkers() == toolkit._MODULE_OF


@pytest.mark.parametrize("name", sorted(toolkit._MODULE_OF))
def test_public_name_is_the_object_of_its_module(name: str) -> None:
    """Give the very object that the module defines, and keep it."""
    module = import_module(toolkit._MODULE_OF[name])
    assert getattr(toolkit, name) is getattr(module, name)
    assert vars(toolkit)[name] is getattr(module, name)


def test_promised_components_exist() -> None:
    """Offer the components that were agreed by name (S203-S206, S208, S210, S212)."""
    agreed = {
        *("ToolRegistry", "UniversalRegistry", "UserContextToolFactory"),
        *("UnifiedToolDispatcher", "create_websocket_scoped_registry", "discover"),
    }
    assert agreed <= set(toolkit.__all__)
    assert toolkit.UniversalRegistry("r", allow_override=True).allow_override is True
    assert callable(toolkit.UserToolSystem.get_all_tools)


def test_every_public_error_is_exported() -> None:
    """Let no error be caught only by a name that is not promised."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = {
        kind.__name__
        for kind in kinds
        if issubclass(kind, errors.ToolkitError) and not kind.__name__.startswith("_")
    }
    assert ours <= set(toolkit.__all__)


def test_no_error_takes_the_name_of_a_builtin() -> None:
    """Shadow nothing that every Python programmer knows (B59)."""
    import builtins  # noqa: PLC0415 - only here

    assert not set(toolkit.__all__) & set(dir(builtins))


@pytest.mark.integration
def test_star_import_gives_the_public_names() -> None:
    """Let a star import bring exactly the promised names."""
    code = "import toolkit; a = {}; exec('from toolkit import *', a)"
    check = f"{code}; assert a.keys() - {{'__builtins__'}} == set(toolkit.__all__)"
    done = subprocess.run(  # noqa: S603 - our own line
        [sys.executable, "-c", check],
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_unknown_name_is_an_attribute_error_that_says_so() -> None:
    """Answer for a name that is not public like any module."""
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchThing'"):
        _ = toolkit.NoSuchThing


def test_typing_files_cover_the_public_names() -> None:
    """Check the static type of every public name but the errors' (tests/typing)."""
    read = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for name, text in texts(".py")
        if name.startswith("tests/typing/")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    wanted = {name for name in toolkit.__all__ if not name.endswith("Error")}
    assert wanted - read == set()
