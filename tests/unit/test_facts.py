"""What a tool says about itself: guards with slips in them are refused."""

from difflib import get_close_matches
from itertools import product

import pytest

from toolkit import InvalidToolError, RejectionReason
from toolkit.compiler import compile_tool
from toolkit.context import UserContext
from toolkit.facts import _GUARDS, _SLIP, _guard_like


def made(**attributes: object) -> type:
    """Make a tool class with these attributes."""

    def execute(self: object) -> str:
        return "done"

    return type("Made", (), {"name": "made", "execute": execute, **attributes})


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("required_scope", "required_scopes"),
        ("requiredscopes", "required_scopes"),
        ("require_scopes", "required_scopes"),
        ("scopes", "required_scopes"),
        ("readonly", "read_only"),
        ("destructiv", "destructive"),
    ],
)
def test_guard_with_a_slip_in_its_name_is_refused(slip: str, meant: str) -> None:
    """A misspelt guard must not leave the tool open to everyone (B7, B58)."""
    with pytest.raises(InvalidToolError, match=f"it is called `{meant}`") as caught:
        compile_tool(made(**{slip: {"a:b"}}))
    assert caught.value.reason == RejectionReason.INVALID_ATTRIBUTE


def test_guard_with_a_slip_in_a_base_class_is_refused_too() -> None:
    """Tools inherit their guards, and their slips (B58)."""
    base = type("Base", (), {"required_scope": {"a:b"}})
    with pytest.raises(InvalidToolError, match="guards nothing"):
        compile_tool(type("Derived", (made(), base), {}))


@pytest.mark.parametrize(
    "name", ["scope", "timeouts", "versions", "tag", "reads", "requires", "_scopes"]
)
def test_names_of_a_tools_own_are_its_own(name: str) -> None:
    """Only what nearly names a guard is taken for a slip of one."""
    assert compile_tool(made(**{name: 3})).name == "made"


def test_method_that_is_called_like_a_slip_is_a_method() -> None:
    """What can be called holds no scopes."""
    assert compile_tool(made(scopes=lambda self: None)).name == "made"


@pytest.mark.parametrize("value", [iter(["a"]), map(str, ["a"]), {"a": 1}.keys()])
def test_scopes_that_can_be_read_only_once_are_refused(value: object) -> None:
    """The second reader would find a tool without a guard (B58)."""
    with pytest.raises(InvalidToolError, match="not a set, list or tuple") as caught:
        compile_tool(made(required_scopes=value))
    assert caught.value.reason == RejectionReason.INVALID_ATTRIBUTE


@pytest.mark.parametrize("value", [{"a"}, frozenset({"a"}), ["a"], ("a",), None])
def test_scopes_are_a_set_a_list_a_tuple_or_none(value: object) -> None:
    """None means none, for the definition and for each user's instance (B58)."""
    compiled = compile_tool(made(required_scopes=value))
    assert compiled.definition.required_scopes == frozenset(value or ())  # type: ignore[call-overload]  # one of the above
    assert compiled.instantiate(UserContext("ann")) is not None


def test_a_timeout_that_is_no_number_is_refused() -> None:
    """NaN is smaller than nothing and larger than nothing."""
    with pytest.raises(InvalidToolError, match="seconds above 0"):
        compile_tool(made(timeout=float("nan")))


def test_no_slip_is_missed_for_the_sake_of_speed() -> None:
    """What is not compared would not have been near enough (B58)."""
    edits = ["", "s", "x", "_", "__", "re", "edd", "y_o"]
    names = {
        guard[:start] + edit + guard[end:]
        for guard in _GUARDS
        for edit, start in product(edits, range(len(guard) + 1))
        for end in range(start, min(start + 5, len(guard) + 1))
    }
    names |= {name[::-1] for name in names} | {f"__{name}__" for name in names}
    near = {one: get_close_matches(one, _GUARDS, 1, _SLIP) for one in names}
    assert {one: [_guard_like(one)] for one in names if _guard_like(one)} == {
        one: found for one, found in near.items() if found
    }
