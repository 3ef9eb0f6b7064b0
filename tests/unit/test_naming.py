"""Names: what is legal, what is made up, and who gets a name several claim."""

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

import toolkit
from tests.unit.hostile import hostile_text
from toolkit.errors import InvalidNameError
from toolkit.naming import (
    MAX_LENGTH,
    Claim,
    Settlement,
    ToolName,
    give_names,
    name_fault,
    prefer,
    provider_safe_name,
    qualified_name,
    qualify,
    refuse,
    suggest_name,
    tool_name,
)
from toolkit.origin import Origin

A: Final = Origin("pkg-a", "1", "toolkit.tools", "x", "pkg_a:X")
B: Final = Origin("pkg-b", "2", "toolkit.tools", "x", "pkg_b:X")
C: Final = Origin("pkg-b", "2", "toolkit.tools", "y", "pkg_b.more:X")


class Word(StrEnum):
    COUNT = "word_count"


class Invoice(BaseModel):
    total: int = 0


class HTTPServer2Client: ...


class ModelMetaclass: ...


# --- legal names -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a", "word_count", "Word-Count", "7", "_", "x" * MAX_LENGTH, "metaclasses"]
)
def test_what_every_provider_accepts_is_a_name(name: str) -> None:
    """Case is kept; letters, digits, underscore and hyphen, 1 to 64 of them (S43)."""
    assert tool_name(name) == name
    assert not name_fault(name)


ILLEGAL: Final[dict[str, Any]] = {
    "empty": "",
    "space": "word count",
    "dot": "a.b",
    "newline": "a\n",
    "umlaut": "größe",
    "full width": "\uff41",
    "other digits": "\u0661",
    "too long": "x" * (MAX_LENGTH + 1),
    "none": None,
    "number": 3,
    "bytes": b"a",
    "class": str,
    "hostile": hostile_text("a b"),
}


@pytest.mark.parametrize("name", ILLEGAL.values(), ids=ILLEGAL)
def test_anything_else_is_refused_with_the_rule(name: object) -> None:
    """Empty, None and int names once got in (B8, S34)."""
    with pytest.raises(InvalidNameError) as caught:
        tool_name(name)
    assert caught.value.name is name
    assert caught.value.detail == name_fault(name) != ""


@pytest.mark.parametrize(
    "name",
    [
        *("modelmetaclass", "ModelMetaclass", "MODELMETACLASS", "model_metaclass"),
        *("type", "object", "ABCMeta", "EnumType", "_ProtocolMeta", "x-MetaClass"),
    ],
)
def test_the_name_of_a_metaclass_names_no_tool(name: str) -> None:
    """Nothing can ever be registered as modelmetaclass (S10, S32, B5)."""
    with pytest.raises(InvalidNameError, match="names a metaclass"):
        tool_name(name)


@pytest.mark.parametrize(
    "raw", [Word.COUNT, hostile_text("word_count")], ids=["enum", "hostile"]
)
def test_a_checked_name_is_plain_text(raw: str) -> None:
    """A string of a stranger's class cannot act up later, in a dict or a log (B7)."""
    assert type(tool_name(raw)) is str
    assert tool_name(raw) == "word_count"


# --- names made up ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (Invoice, "invoice"),
        (Invoice(), "invoice"),
        (HTTPServer2Client, "http_server2_client"),
        (HTTPServer2Client(), "http_server2_client"),
        (test_the_name_of_a_metaclass_names_no_tool, None),
        (type("Größe", (), {}), "gr_e"),
        (type("X" * 90, (), {}), "x" * MAX_LENGTH),
    ],
    ids=[
        "schema",
        "schema instance",
        "class",
        "instance",
        "function",
        "umlaut",
        "long",
    ],
)
def test_a_suggested_name_comes_from_the_qualified_name(
    subject: object, name: str | None
) -> None:
    """Deterministic, of the class itself, in its class and its instances (S43, S90)."""
    assert suggest_name(subject) == (
        name or "test_the_name_of_a_metaclass_names_no_tool"
    )


@pytest.mark.parametrize(
    "subject",
    [
        *(Invoice, Invoice(), type(Invoice), BaseModel, ModelMetaclass),
        *(ModelMetaclass(), type, object, object(), None, type("_", (), {})),
        type("Liar", (), {"__class__": property(lambda self: type(Invoice))})(),
    ],
    ids=repr,
)
def test_no_suggested_name_is_that_of_a_metaclass(subject: object) -> None:
    """Not even a class that is called ModelMetaclass gets that name (S90, S10, B5)."""
    name = suggest_name(subject)
    assert not name_fault(name)
    assert "metaclass" not in name
    assert name == suggest_name(subject)


DANGEROUS: Final = [
    "tool.__class__.__name__.lower()",
    "type(tool).__name__.lower()",
    "f'{type(tool).__name__.lower()}_tool'",
    "getattr(tool, 'name', tool.__class__.__name__).lower()",
    "getattr(tool, 'name', type(tool).__name__.casefold())",
    "tool.__class__.__qualname__.replace('Tool', '').lower()",
    "str.lower(type(tool).__name__)",
]
HARMLESS: Final = [
    "f'{type(error).__name__}: text'",
    "name.lower()",
    "words(cls.__qualname__).lower()",
    "type(tool).lower()",
]


def lowered_class_names(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each expression that lower-cases the name of something's class."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr in ("lower", "casefold"):
            yield from (part for part in ast.walk(call) if is_name_of_class(part))


def is_name_of_class(part: ast.AST) -> bool:
    """Tell whether it reads ``x.__class__.__name__`` or ``type(x).__name__``."""
    if not isinstance(part, ast.Attribute):
        return False
    owner = part.value
    by_class = isinstance(owner, ast.Attribute) and owner.attr == "__class__"
    by_type = isinstance(owner, ast.Call) and ast.unparse(owner.func) == "type"
    return part.attr in ("__name__", "__qualname__") and (by_class or by_type)


@pytest.mark.parametrize("code", DANGEROUS)
def test_the_dangerous_naming_pattern_is_recognised(code: str) -> None:
    """The search below finds the pattern that made every schema one name (S33, B5)."""
    assert list(lowered_class_names(ast.parse(code)))


@pytest.mark.parametrize("code", HARMLESS)
def test_harmless_uses_of_a_class_name_are_let_be(code: str) -> None:
    """An error's kind may be shown (S33)."""
    assert not list(lowered_class_names(ast.parse(code)))


def test_no_code_of_ours_makes_a_name_of_a_lower_cased_class_name() -> None:
    """The pattern is not used anywhere in the package (S33, S37, S152, B5)."""
    files = sorted(Path(toolkit.__file__).parent.rglob("*.py"))
    assert len(files) > 20
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found = [part.lineno for part in lowered_class_names(tree)]  # type: ignore[attr-defined]  # expressions have lines
        assert not found, f"{file.name}: lines {found}"


# --- qualified and safe names --------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "start"),
    [
        ("a.b", "a_b__x_"),
        ("größe", "gr__e__x_"),
        ("o" * 70, "o" * (MAX_LENGTH - 9) + "_"),
    ],
    ids=["dots", "umlauts", "long"],
)
def test_a_name_that_had_to_be_cleaned_ends_in_a_hash(owner: str, start: str) -> None:
    """What was lost in cleaning or cutting still tells two apart (S43, B6)."""
    made = provider_safe_name(qualified_name(owner, "x"))
    assert not name_fault(made)
    assert re.fullmatch(f"{start}[0-9a-f]{{8}}", made)


def test_a_safe_name_is_readable_where_nothing_had_to_be_cleaned() -> None:
    """Most qualified names only change their dot (S43)."""
    qualified = qualified_name("toolkit-text", "word_count")
    assert provider_safe_name(qualified) == "toolkit-text__word_count"


def test_names_cut_alike_stay_different() -> None:
    """Two long owners that begin alike do not become one (S44, B6)."""
    long = "o" * 100
    names = {provider_safe_name(f"{long}{n}.x") for n in range(50)}
    assert len(names) == 50


# --- collisions ------------------------------------------------------------------


def claim(name: str, origin: Origin) -> Claim:
    """Return the claim of a tool of `origin` to a name."""
    return Claim(ToolName(name), origin)


def test_a_name_nobody_else_wants_is_kept_bare() -> None:
    """Without a collision a tool is called what its author called it (S44)."""
    naming = give_names([claim("add", A), claim("sub", B)])
    assert naming.listed == ("add", "sub")
    assert naming.qualified == ("pkg-a.add", "pkg-b.sub")
    assert naming.collisions == ()


def test_of_two_claimants_neither_gets_the_name_and_both_are_named() -> None:
    """Nobody silently wins; the report has both origins and the remedy (S44, B6)."""
    naming = give_names([claim("add", B), claim("add", A)])
    assert naming.listed == ("pkg-b__add", "pkg-a__add")
    (collision,) = naming.collisions
    assert collision.origins == (A, B)
    assert collision.qualified_names == ("pkg-a.add", "pkg-b.add")
    assert collision.settlement == Settlement(winner=None, decided=False)
    assert collision.remedy == (
        'Add prefer.add = "pkg-a" (or "pkg-b") to toolkit.toml.'
    )


def test_names_that_differ_only_in_case_collide() -> None:
    """People and providers mix them up, so neither is bare (S44, B6)."""
    naming = give_names([claim("Add", A), claim("add", B)])
    assert naming.listed == ("pkg-a__Add", "pkg-b__add")
    assert [one.name for one in naming.collisions] == ["Add"]


def test_two_tools_of_one_owner_are_told_apart_by_their_origins() -> None:
    """Classes of one name in two modules of a package both stay callable (B6)."""
    naming = give_names([claim("add", B), claim("add", C)])
    assert len(set(naming.listed)) == len(set(naming.qualified)) == 2
    assert all(one.startswith("pkg-b.add-") for one in naming.qualified)
    assert naming.collisions[0].remedy == "Rename one of them in pkg-b."


def test_two_tools_of_the_very_same_origin_still_get_different_names() -> None:
    """Two instances of one class, of one name, never stand in each other's way (B6)."""
    naming = give_names([claim("add", A), claim("add", A), claim("sub", A)])
    assert len(set(naming.listed)) == len(set(naming.qualified)) == 3


def test_a_foreseen_hash_gains_nothing() -> None:
    """Whoever names a tool like another's safe name takes nothing from it (S44, B6)."""
    claims = [claim("a__x", A), claim("x", Origin("a")), claim("x", Origin("b"))]
    forged = give_names(claims).listed[1]
    naming = give_names([*claims, claim(forged, Origin("evil"))])
    assert naming.listed[3] == forged  # a free name like any other
    assert len({one.casefold() for one in naming.listed}) == 4


@pytest.mark.parametrize(
    ("policy", "listed", "decided"),
    [
        (refuse, ("pkg-a__add", "pkg-b__add"), False),
        (qualify, ("pkg-a__add", "pkg-b__add"), True),
        (prefer({"ADD": "PKG-B"}), ("pkg-a__add", "add"), True),
        (prefer({"add": "nobody"}), ("pkg-a__add", "pkg-b__add"), False),
        (prefer({"add": "nobody"}, qualify), ("pkg-a__add", "pkg-b__add"), True),
        (prefer({"sub": "pkg-a"}), ("pkg-a__add", "pkg-b__add"), False),
    ],
    ids=["refuse", "qualify", "prefer", "prefer nobody", "or qualify", "other name"],
)
def test_the_policy_settles_a_collision(
    policy: Any, listed: tuple[str, ...], decided: object
) -> None:
    """An operator's setting decides, and only that (S44, B6)."""
    naming = give_names([claim("add", A), claim("add", B)], policy)
    assert naming.listed == listed
    assert naming.collisions[0].settlement.decided is decided


def test_a_preferred_owner_of_two_claims_settles_nothing() -> None:
    """Preferring a package that claims a name twice would pick one at random (S44)."""
    claims = [claim("add", B), claim("add", C), claim("add", A)]
    assert "add" not in give_names(claims, prefer({"add": "pkg-b"})).listed


def test_a_policy_of_ones_own_cannot_give_one_name_to_two() -> None:
    """Two claims of the winning origin both go by their qualified names (S44)."""
    claims = [claim("add", B), claim("add", B)]
    naming = give_names(claims, lambda _, all_: Settlement(all_[0], decided=True))
    assert "add" not in naming.listed
