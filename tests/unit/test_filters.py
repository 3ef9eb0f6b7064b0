"""The filter stage: private and re-exported names, then the contract's rules."""

import sys
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from toolkit import Origin, RejectionReason, ToolContract, UserContext, tool
from toolkit.contract import STRICT, Subject, constructor_plan
from toolkit.discovery.filters import defined_in, judge
from toolkit.discovery.report import Candidate


class Sum:
    name = "sum"

    def execute(self) -> int:
        return 0


class Model(BaseModel):
    name: str = "model"

    def execute(self) -> str:
        return self.name


@tool
def shout(text: str) -> str:
    """Upper-case."""
    return text.upper()


def found(
    obj: object, attribute: str = "Sum", module: str = __name__, **facts: Any
) -> Candidate:
    """Return a candidate as a scan of `module` yields it."""
    facts.setdefault("package", module)
    return Candidate(
        obj, Origin(reference=module), attribute=attribute, module=module, **facts
    )


def reason(candidate: Candidate) -> RejectionReason | None:
    return judge(candidate, STRICT).reason


@pytest.mark.parametrize("obj", [Sum, Sum(), shout])
def test_tool_of_the_scanned_module_is_accepted(obj: object) -> None:
    """Accept classes, instances and decorated functions alike (S36)."""
    assert judge(found(obj), STRICT).accepted


@pytest.mark.parametrize("obj", [Model, Model()])
def test_schema_is_rejected_in_a_scan_as_everywhere(obj: object) -> None:
    """Ask the contract's rules too: a schema is no tool (S9, S29, S30, S31, B1)."""
    verdict = judge(found(obj), STRICT)
    assert verdict.reason is RejectionReason.PYDANTIC_MODEL
    assert "BaseModel classes are data schemas, not executable tools" in verdict.detail


@pytest.mark.parametrize("attribute", ["_Sum", "__mangled", "_"])
def test_private_name_is_kept_to_its_module(attribute: str) -> None:
    """Reject what begins with an underscore, though it is a tool."""
    verdict = judge(found(Sum, attribute), STRICT)
    assert verdict.reason is RejectionReason.PRIVATE_NAME
    assert verdict.detail.endswith(RejectionReason.PRIVATE_NAME.remedy)


def test_private_class_that_is_named_directly_is_accepted() -> None:
    """Trust an author who publishes a private name on purpose."""
    assert judge(Candidate(Sum, Origin(), attribute="_Sum"), STRICT).accepted


def test_name_that_is_only_imported_is_rejected() -> None:
    """Judge each tool once, where it is defined, and say where that is."""
    verdict = judge(found(Sum, module="another.module"), STRICT)
    assert verdict.reason is RejectionReason.RE_EXPORTED
    assert f"imported from {__name__}" in verdict.detail


@pytest.mark.parametrize(
    ("package", "is_listed", "accepted"),
    [
        ("tests", True, True),
        ("tests.unit", True, True),
        ("tests", False, False),
        ("test", True, False),
        ("tests.unit.test_filters.deeper", True, False),
    ],
)
def test_package_may_list_what_it_defines_further_down(
    package: str,
    is_listed: bool,  # noqa: FBT001 - a table's column
    accepted: bool,  # noqa: FBT001 - the same
) -> None:
    """Let ``__all__`` publish a name of the same package, and of no other."""
    candidate = found(Sum, module="tests.facade", package=package, is_listed=is_listed)
    assert judge(candidate, STRICT).accepted == accepted


def test_instance_belongs_to_the_module_of_its_class() -> None:
    """Reject an instance whose class is another module's."""
    assert reason(found(Sum(), module="another")) is RejectionReason.RE_EXPORTED


class _Hidden:
    name = "hidden"

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # that is the trick
        raise RuntimeError

    def execute(self) -> str:
        return ""


def test_where_an_object_is_defined_is_read_without_running_it() -> None:
    """Answer with an empty string for what says nothing, or raises (S210)."""
    odd = type("Odd", (), {"__module__": 3})
    assert defined_in(Sum) == __name__
    assert defined_in(Sum()) == __name__
    assert defined_in(odd) == ""
    assert defined_in(_Hidden()) == ""
    assert defined_in(int) == ""


def test_object_that_cannot_be_read_is_rejected_as_such() -> None:
    """Give the contract's verdict on what raises when it is looked at."""
    assert reason(found(_Hidden())) is RejectionReason.UNREADABLE


def test_interrupt_passes_the_filter() -> None:
    """Let the user stop, even here."""

    class Stops(Sum):
        @property
        def __dict__(self) -> Any:  # type: ignore[override]  # that is the trick
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(found(Stops()), STRICT)


def test_agents_are_judged_by_their_own_method() -> None:
    """Use the contract that is handed in."""
    verdict = judge(found(Sum), ToolContract(method="run"))
    assert verdict.reason is RejectionReason.MISSING_EXECUTE


def test_filter_is_pure() -> None:
    """Give the same verdict again, and import nothing."""
    before = set(sys.modules)
    candidates = [found(one) for one in (Sum, Model, ModuleType, 3, None, shout)]
    first = [judge(one, STRICT) for one in candidates]
    assert [judge(one, STRICT) for one in candidates] == first
    assert set(sys.modules) == before


# --- the quick way to read a constructor ---------------------------------------------

INITS: list[Callable[..., None]] = [
    lambda self: None,
    lambda self, a: None,
    lambda self, a=1: None,
    lambda self, /, a=1: None,
    lambda self, a, /, b=1: None,
    lambda self, *, a: None,
    lambda self, *, a=1: None,
    lambda self, *rest, **named: None,
    lambda *rest: None,
    lambda *rest, a: None,
    lambda **named: None,
    lambda self, a, b=1, *rest, c, d=2, **named: None,
    lambda: None,
]


def _user(self: object, user: UserContext) -> None: ...
def _text(self: object, user: "UserContext") -> None: ...
def _optional(self: object, user: UserContext | None = None) -> None: ...
def _only(self: object, user: UserContext, /) -> None: ...
def _keyword(self: object, a: int = 1, *, who: UserContext) -> None: ...
def _more(self: object, user: UserContext, other: int) -> None: ...
def _rest(self: object, *users: UserContext) -> None: ...


EVERY_INIT = [
    *INITS,
    *(_user, _text, _optional, _only, _keyword, _more, _rest),
    wraps(_user)(lambda *rest: None),
]


def _plan_by_signature(init: Callable[..., None]) -> str | None:
    """Work out the plan once more, from `inspect.signature` alone."""
    user = ""
    for one in list(signature(init).parameters.values())[1:]:
        if one.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        by_keyword = one.kind is not Parameter.POSITIONAL_ONLY
        if by_keyword and "UserContext" in str(one.annotation):
            user = one.name
        elif one.default is Parameter.empty:
            return None
    return user


@pytest.mark.parametrize("init", EVERY_INIT, ids=range(len(EVERY_INIT)))
def test_constructors_are_read_fast_and_as_inspect_reads_them(
    init: Callable[..., None],
) -> None:
    """Agree with `inspect.signature`, which takes ten times as long."""
    cls = type("Tool", (Sum,), {"__init__": init})
    assert constructor_plan(Subject(cls, "execute")) == _plan_by_signature(init)
