"""Access: a tool says what it needs, and nothing turns that off."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.catalog import ListedTool
from toolkit.compiler import compile_tool
from toolkit.context import UserContext
from toolkit.naming import tool_name
from toolkit.origin import Origin
from toolkit.policy import EXPLAIN_SCOPE, AccessPolicy
from toolkit.settings import Settings


def listed(*scopes: str) -> ListedTool:
    """List the tool `my_pkg.report` that needs these scopes as `my_report`."""

    class Report:
        name = "report"
        required_scopes = frozenset(scopes)

        def execute(self) -> str:
            return "done"

    tool = compile_tool(Report, origin=Origin(reference="my_pkg:Report"))
    return ListedTool(replace(tool.definition, name=tool_name("my_report")), tool)


ROLES = {"analyst": frozenset({"costs:read"}), "admin": frozenset({"a", "b"})}


@pytest.mark.parametrize(
    ("needed", "user", "refusal"),
    [
        ((), {}, ""),
        (("a",), {}, "it needs the scope a"),
        (("a", "b"), {"scopes": {"b"}}, "it needs the scope a"),
        (("b", "a"), {}, "it needs the scope a, b"),
        (("a", "b"), {"scopes": {"a", "b", "c"}}, ""),
        (("a", "b"), {"roles": {"admin"}}, ""),
        (("a", "costs:read"), {"roles": {"analyst"}, "scopes": {"a"}}, ""),
        (("costs:read",), {"roles": {"stranger"}}, "it needs the scope costs:read"),
        (("costs:read",), {"scopes": {"costs:*"}}, "it needs the scope costs:read"),
        (("costs:read",), {"scopes": {"COSTS:READ"}}, "it needs the scope costs:read"),
        (("admin",), {"roles": {"admin"}}, "it needs the scope admin"),
    ],
    ids=range(11),
)
def test_a_user_needs_every_scope_of_a_tool(
    needed: tuple[str, ...], user: dict[str, Any], refusal: str
) -> None:
    """Default deny; scopes are compared literally, wherever they come from (B58)."""
    policy = AccessPolicy(ROLES)
    scopes = policy.scopes_of(UserContext("ann", **user))
    assert policy.refusal(scopes, listed(*needed)) == refusal


@pytest.mark.parametrize(
    ("lists", "refusal"),
    [
        ({"deny": {"report"}}, "it is on the deny list (setting deny_tools)"),
        ({"deny": {"my_pkg.report"}}, "it is on the deny list (setting deny_tools)"),
        ({"deny": {"My-Pkg.Report"}}, "it is on the deny list (setting deny_tools)"),
        ({"deny": {"REPORT"}}, "it is on the deny list (setting deny_tools)"),
        ({"deny": {"my_pkg__report"}}, "it is on the deny list (setting deny_tools)"),
        ({"deny": {"my_report"}}, "it is on the deny list (setting deny_tools)"),
        ({"deny": {"other"}}, ""),
        ({"deny": {"my_pkg.my_rep"}}, ""),
        ({"allow": {"report"}}, ""),
        ({"allow": {"MY.PKG.report"}}, ""),
        ({"allow": {"My_Report"}}, ""),
        ({"allow": {"other"}}, "it is not on the allow list (setting allow_tools)"),
        ({"allow": set()}, "it is not on the allow list (setting allow_tools)"),
        (
            {"allow": {"report"}, "deny": {"report"}},
            "it is on the deny list (setting deny_tools)",
        ),
    ],
    ids=range(14),
)
def test_the_operators_lists_go_by_bare_and_by_qualified_name(
    lists: dict[str, Any], refusal: str
) -> None:
    """Deny wins, and the refusal names the setting (B58)."""
    assert AccessPolicy(**lists).refusal(frozenset(), listed()) == refusal


def test_an_allow_list_grants_no_scope() -> None:
    """Lists only take away (B58, B59)."""
    policy = AccessPolicy(allow=frozenset({"report"}))
    assert policy.refusal(frozenset(), listed("a")) == "it needs the scope a"


def test_settings_become_the_policy() -> None:
    """An operator's words, taken over whole."""
    settings = Settings(
        role_scopes=ROLES, allow_tools=frozenset("a"), deny_tools=frozenset("b")
    )
    assert AccessPolicy.from_settings(settings) == AccessPolicy(
        ROLES, frozenset("a"), frozenset("b")
    )


@pytest.mark.parametrize(
    ("user", "may"),
    [({}, False), ({"scopes": {EXPLAIN_SCOPE}}, True), ({"roles": {"support"}}, True)],
    ids=["nobody", "scope", "role"],
)
def test_refusals_are_explained_only_to_those_who_may_know(
    user: dict[str, Any], may: object
) -> None:
    """To all others a tool they may not use does not exist (S42)."""
    policy = AccessPolicy({"support": frozenset({EXPLAIN_SCOPE})})
    assert policy.may_explain(UserContext("ann", **user)) is may


BYPASS = (
    *("bypass", "skip_check", "skip_auth", "no_auth", "disable_"),
    *("permission_check", "unsafe", "demo"),
)


def test_no_parameter_anywhere_turns_checks_off() -> None:
    """There is no bypass flag, public or private (B59, B61)."""
    found = [
        name.arg
        for file in Path(toolkit.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.arguments)
        for name in (*node.posonlyargs, *node.args, *node.kwonlyargs)
        if any(word in name.arg for word in BYPASS)
    ]
    assert found == []
    assert list(inspect.signature(AccessPolicy.refusal).parameters) == [
        *("self", "scopes", "listed")
    ]
