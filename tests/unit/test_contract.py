"""The judge of what counts as a tool: rule by rule, and against those who cheat."""

import enum
import functools
import types
import typing
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, Optional, Self
from typing import Protocol as TypingProtocol

import pydantic.dataclasses
import pytest
import typing_extensions
from pydantic import BaseModel, RootModel
from pydantic import v1 as pydantic_v1

from tests.unit.hostile import HOSTILE, Model, T, tool_class
from toolkit.context import ToolContext, UserContext
from toolkit.contract import (
    RULES,
    SCHEMA_TEXT,
    STRICT,
    RejectionReason,
    Subject,
    ToolContract,
    Verdict,
    judge_method,
    judge_pydantic_model,
    wants,
)
from toolkit.tools import tool

R = RejectionReason


class Plain:
    name = "plain"

    def execute(self, text: str) -> str:
        return text


# --- accepted ----------------------------------------------------------------------


class Inherits(Plain): ...


class Slotted:
    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "slotted"

    def execute(self) -> None: ...


class NamedInInit:
    def __init__(self) -> None:
        self.name = "named_in_init"

    def execute(self) -> None: ...


class NamedByProperty:
    @property
    def name(self) -> str:
        return "by_property"

    def execute(self) -> None: ...


class ForUser(Plain):
    def __init__(self, user: UserContext) -> None: ...


class ForUserAsText(Plain):
    def __init__(self, user: "UserContext | None", *, limit: int = 3) -> None: ...


class Defaults(Plain):
    def __init__(self, a: int = 1, *args: int, b: int = 2, **rest: int) -> None: ...


class Wrapped(Plain):
    __init__: Any = functools.wraps(ForUser.__init__)(lambda self, **given: None)


class Made(Plain):
    def __new__(cls) -> Self:
        return super().__new__(cls)


class Static(Plain):
    @staticmethod
    def execute(text: str) -> str:
        return text


class ByClass(Plain):
    @classmethod
    def execute(cls, text: str) -> str:
        return text


class CallableObject:
    name = "callable_object"
    execute = functools.partial(str, 7)


class Box(Generic[T]):
    name = "box"

    def execute(self) -> None: ...


class Implements(TypingProtocol):
    def execute(self) -> None: ...


class Implementation(Implements):
    name = "implementation"


class Meta(type): ...


class OwnMeta(Plain, metaclass=Meta): ...


@dataclass
class Data(Plain):
    text: str = ""


class Cloaked(Plain):
    @property
    def __class__(self) -> Any:
        return Model

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


@tool
def shout(text: str) -> str:
    """Upper-case a text."""
    return text.upper()


ACCEPTED: Final[dict[str, object]] = {
    one.__name__: one
    for one in (
        *(Plain, Inherits, Slotted, NamedInInit, NamedByProperty, ForUser),
        *(ForUserAsText, Defaults, Wrapped, Made, Static, ByClass, CallableObject),
        *(Box, Implementation, OwnMeta, Data, Cloaked),
    )
} | {
    "instance": Plain(),
    "slotted instance": Slotted(),
    "property instance": NamedByProperty(),
    "dataclass instance": Data("x"),
    "lying instance": Cloaked(),
    "decorated function": shout,
    "name on the instance": types.SimpleNamespace(name="ns", execute=len),
}


@pytest.mark.parametrize("obj", ACCEPTED.values(), ids=ACCEPTED)
def test_whatever_has_the_full_interface_is_a_tool(obj: object) -> None:
    """A legal name, a callable execute and no schema: that is all (S36, S37, B3)."""
    verdict = STRICT.judge(obj)
    assert verdict == Verdict()
    assert verdict.accepted


# --- rejected ----------------------------------------------------------------------


@pydantic_v1.dataclasses.dataclass
class OldChecked:
    name: str = "old"

    def execute(self) -> None: ...


class OldModel(pydantic_v1.BaseModel):
    name: str = "old"

    def execute(self) -> None: ...


class Ids(RootModel[list[int]]):
    name: ClassVar[str] = "ids"

    def execute(self) -> None: ...


class Page(BaseModel, Generic[T]):
    name: str = "page"
    item: T | None = None

    def execute(self) -> None: ...


class Disguised(Plain, Model): ...  # type: ignore[misc]  # both have a name


@pydantic.dataclasses.dataclass
class Checked:
    name: str = "checked"

    def execute(self) -> None: ...


class Movie(typing_extensions.TypedDict):
    name: str


OldMovie = typing.TypedDict("OldMovie", {"name": str})  # noqa: UP013 - the old form too


class Point(NamedTuple):
    name: str = "point"

    def execute(self) -> None: ...


OldPoint = namedtuple("OldPoint", "name execute")  # noqa: PYI024 - the old form too


class Colour(Enum):
    name = "colour"
    execute = 1


class Failure(Exception):  # noqa: N818 - its name does not matter
    name = "failure"

    def execute(self) -> None: ...


class Shape(TypingProtocol):
    name: str = "shape"

    def execute(self) -> None: ...


class Unfinished(ABC):
    name = "unfinished"

    @abstractmethod
    def execute(self) -> None: ...


class NeedsMore(Plain):
    def __init__(self, path: str) -> None: ...


class NeedsPosition(Plain):
    def __init__(self, user: UserContext, /) -> None: ...


class NamedNeedsMore:
    def __init__(self, name: str) -> None:
        self.name = name

    def execute(self) -> None: ...


class BreaksInInit:
    def __init__(self) -> None:
        message = "no database"
        raise OSError(message)

    def execute(self) -> None: ...


def odd(**space: object) -> Any:
    """Make a class of just these attributes."""
    return type("Odd", (), space)


MODELS: Final[dict[str, object]] = {
    "class": Model,
    "instance": Model(),
    "subclass that looks like a tool": Disguised,
    "its instance": Disguised(),
    "v1 class": OldModel,
    "v1 instance": OldModel(),
    "root model": Ids,
    "root model instance": Ids([1]),
    "generic": Page,
    "generic alias": Page[int],
    "generic instance": Page[int](item=1),
    "annotated": Annotated[Model, "x"],
    "BaseModel itself": BaseModel,
    "v1 BaseModel itself": pydantic_v1.BaseModel,
    "made at run time": pydantic.create_model("Made", name=(str, "x")),
}
REJECTED: Final[dict[str, tuple[object, RejectionReason]]] = {
    "pydantic dataclass": (Checked, R.PYDANTIC_DATACLASS),
    "v1 dataclass": (OldChecked, R.PYDANTIC_DATACLASS),
    "v1 dataclass instance": (OldChecked(), R.PYDANTIC_DATACLASS),
    "pydantic dataclass instance": (Checked(), R.PYDANTIC_DATACLASS),
    "typed dict": (Movie, R.TYPED_DICT),
    "old typed dict": (OldMovie, R.TYPED_DICT),
    "named tuple": (Point, R.NAMED_TUPLE),
    "named tuple instance": (Point(), R.NAMED_TUPLE),
    "old named tuple": (OldPoint, R.NAMED_TUPLE),
    "enum": (Colour, R.ENUM),
    "enum member": (StrEnum("Word", ["ADD"]).ADD, R.ENUM),  # type: ignore[attr-defined]  # functional form
    "flag": (enum.Flag, R.ENUM),
    "exception": (Failure, R.EXCEPTION),
    "exception instance": (Failure(), R.EXCEPTION),
    "protocol": (Shape, R.PROTOCOL),
    "abstract": (Unfinished, R.ABSTRACT),
    "alias of a tool": (Box[int], R.GENERIC_ALIAS),
    "builtin alias": (list[Model], R.GENERIC_ALIAS),
    "union": (Model | None, R.GENERIC_ALIAS),
    "old union": (Optional[Model], R.GENERIC_ALIAS),  # noqa: UP045 - the old form too
    "function": (tool_class, R.PLAIN_FUNCTION),
    "builtin": (len, R.PLAIN_FUNCTION),
    "bound method": (Plain().execute, R.PLAIN_FUNCTION),
    "no name": (odd(execute=len), R.MISSING_NAME),
    "no name, needs arguments": (NamedNeedsMore, R.MISSING_NAME),
    "no name on the instance": (odd(execute=len)(), R.MISSING_NAME),
    "unset slot": (odd(__slots__=("name",), execute=len), R.MISSING_NAME),
    "no execute": (odd(name="x"), R.MISSING_EXECUTE),
    "neither": (object(), R.MISSING_EXECUTE),
    "none": (None, R.MISSING_EXECUTE),
    "text": ("word_count", R.MISSING_EXECUTE),
    "execute is a number": (odd(name="x", execute=3), R.EXECUTE_NOT_CALLABLE),
    "execute is a property": (
        odd(name="x", execute=property(len)),
        R.EXECUTE_NOT_CALLABLE,
    ),
    "execute is none": (odd(name="x", execute=None), R.EXECUTE_NOT_CALLABLE),
    "empty name": (odd(name="", execute=len), R.ILLEGAL_NAME),
    "name none": (odd(name=None, execute=len), R.ILLEGAL_NAME),
    "name a number": (odd(name=7, execute=len), R.ILLEGAL_NAME),
    "name a method": (odd(name=lambda self: "x", execute=len)(), R.ILLEGAL_NAME),
    "name with a blank": (odd(name="word count", execute=len), R.ILLEGAL_NAME),
    "name of a metaclass": (odd(name="modelmetaclass", execute=len), R.ILLEGAL_NAME),
    "constructor needs more": (NeedsMore, R.UNSUPPORTED_CONSTRUCTOR),
    "user by position only": (NeedsPosition, R.UNSUPPORTED_CONSTRUCTOR),
    "constructor breaks": (BreaksInInit, R.CONSTRUCTOR_FAILED),
    "unreadable": (HOSTILE["name raises"](), R.UNREADABLE),
}


@pytest.mark.parametrize("obj", MODELS.values(), ids=MODELS)
def test_no_pydantic_model_is_ever_a_tool(obj: object) -> None:
    """Class, instance, alias, v1, v2, root: also with a name and an execute.

    (S9, S29, S30, S31, S37, S88, S150, B1)
    """
    verdict = STRICT.judge(obj)
    assert verdict.reason is R.PYDANTIC_MODEL
    assert "BaseModel classes are data schemas, not executable tools" in verdict.detail
    assert "modelmetaclass" not in verdict.detail.lower()


@pytest.mark.parametrize(("obj", "reason"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_tool_is_rejected_for_its_own_reason(
    obj: object, reason: RejectionReason
) -> None:
    """One reason code for each rule, and a text that ends with the remedy.

    (S34, S35, S36, S150, B1, B7, B8, B9)
    """
    verdict = STRICT.judge(obj)
    assert verdict.reason is reason
    assert not verdict.accepted
    assert verdict.detail.endswith(reason.remedy)


def test_every_rule_of_the_contract_is_in_the_tables() -> None:
    """A new reason needs a case above, unless another stage gives it."""
    elsewhere = {
        *(R.PYDANTIC_MODEL, R.INVALID_ATTRIBUTE, R.UNSUPPORTED_SIGNATURE),
        *(R.CLASS_NOT_INSTANCE, R.NOT_COPYABLE, R.PRIVATE_NAME, R.RE_EXPORTED),
        *(R.SAME_OBJECT, R.VETOED, R.REFUSED_BY_HANDLER),
    }
    assert {reason for _, reason in REJECTED.values()} == set(R) - elsewhere


@pytest.mark.parametrize("reason", R)
def test_every_reason_has_a_remedy(reason: RejectionReason) -> None:
    """No rejection leaves its reader without a next step (B3, B9)."""
    assert reason.remedy.endswith(".")
    assert R(reason.value) is reason


def test_a_missing_name_comes_with_a_suggestion() -> None:
    """The suggestion is made from the class, never from its metaclass (S34, S43)."""

    class DailyReport:
        def execute(self) -> None: ...

    assert "'daily_report'" in STRICT.judge(DailyReport).detail


def test_an_illegal_name_is_quoted_but_not_at_any_length() -> None:
    """A name of a million characters does not fill the log (B62)."""
    verdict = STRICT.judge(odd(name="x" * 1_000_000, execute=len))
    assert verdict.reason is R.ILLEGAL_NAME
    assert len(verdict.detail) < 300


# --- against those who cheat --------------------------------------------------------


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_nothing_makes_the_judge_raise(make: Callable[[], object]) -> None:
    """An error inside a check is a rejection, not a pass and not a crash (B7)."""
    obj = make()
    verdict = STRICT.judge(obj)
    assert type(verdict) is Verdict
    assert STRICT.judge(obj) == verdict


def test_a_model_that_denies_being_one_is_still_one() -> None:
    """The real type counts, not what `__class__` says (B1, B7)."""

    class Denies(BaseModel):
        name: str = "denies"

        def execute(self) -> None: ...

        @property
        def __class__(self) -> Any:
            return Plain

        @__class__.setter
        def __class__(self, value: Any) -> None: ...

    obj: object = Denies()
    assert obj.__class__ is Plain
    assert STRICT.judge(obj).reason is R.PYDANTIC_MODEL


def test_a_metaclass_cannot_answer_for_its_class() -> None:
    """Attributes that only the metaclass pretends to have do not count (B5, B7)."""

    class Pretends(type):
        name = "pretends"

        def execute(cls) -> None: ...

        def __instancecheck__(cls, instance: object) -> bool:
            return True

    assert STRICT.judge(Pretends("Odd", (), {})).reason is R.MISSING_EXECUTE


def test_judging_runs_no_code_of_a_class_that_has_a_name() -> None:
    """No getattr, no constructor, no property: reading is static (B7)."""
    ran: list[str] = []

    class Watched(Plain):
        def __init__(self) -> None:
            ran.append("constructor")

        def __getattribute__(self, name: str) -> Any:
            ran.append(name)
            return super().__getattribute__(name)

    watched = Watched()
    ran.clear()
    assert STRICT.judge(Watched).accepted
    assert STRICT.judge(watched).accepted
    assert ran == []


@pytest.mark.parametrize(
    ("space", "made"),
    [
        ({}, 1),
        ({"name": "x"}, 0),
        ({"name": ""}, 0),
        ({"name": property(lambda self: "x")}, 1),
        ({"execute": 3}, 0),
        ({"execute": None}, 0),
    ],
    ids=["unnamed", "named", "ill named", "property", "no method", "none"],
)
def test_one_probe_instance_is_made_and_only_where_it_is_needed(
    space: dict[str, object], made: int
) -> None:
    """A constructor may connect somewhere; it runs once, or not at all (S34)."""
    instances: list[object] = []

    class Counts:
        def __init__(self) -> None:
            instances.append(self)

        def execute(self) -> None: ...

    STRICT.judge(type("Counted", (Counts,), space))
    assert len(instances) == made


def test_an_instance_is_never_probed() -> None:
    """Somebody made it on purpose; what it lacks it lacks."""
    instances: list[object] = []

    class Counted:
        def __init__(self) -> None:
            instances.append(self)

        def execute(self) -> None: ...

    assert STRICT.judge(Counted()).reason is R.MISSING_NAME
    assert len(instances) == 1


def test_an_interrupt_reaches_the_user() -> None:
    """Ctrl-C during discovery stops discovery."""

    def interrupt(self: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        STRICT.judge(tool_class(name=property(interrupt))())
    with pytest.raises(KeyboardInterrupt):
        STRICT.judge(type("Odd", (), {"__init__": interrupt, "execute": interrupt}))


# --- contracts of one's own -----------------------------------------------------------


def test_an_application_may_choose_its_own_method() -> None:
    """Which interface counts is a policy object that can be injected (S36)."""
    runs = ToolContract(method="run")
    assert runs.judge(odd(name="x", run=len)).accepted
    verdict = runs.judge(Plain)
    assert verdict.reason is R.MISSING_EXECUTE
    assert "has no `run`" in verdict.detail


@pytest.mark.parametrize("rules", [(), (judge_method,)], ids=["none", "one"])
def test_no_contract_lets_schemas_in(rules: tuple[Any, ...]) -> None:
    """The rule against models is put back; there is no switch (B1, B59)."""
    contract = ToolContract(rules=rules)
    assert contract.rules == (judge_pydantic_model, *rules)
    verdict = contract.judge(Model)
    assert verdict.reason is R.PYDANTIC_MODEL
    assert SCHEMA_TEXT in verdict.detail


def test_a_rule_that_raises_rejects() -> None:
    """A validator's own fault is no pass (B7)."""

    def broken(subject: Subject) -> None:
        message = "rule broke"
        raise RuntimeError(message)

    verdict = ToolContract(rules=(*RULES, broken)).judge(Plain)
    assert verdict.reason is R.UNREADABLE
    assert "rule broke" in verdict.detail


WANTED: Final[dict[str, object]] = {
    "itself": UserContext,
    "as text": "UserContext",
    "as dotted text": "toolkit.UserContext | None",
    "or none": UserContext | None,
    "optional": Optional[UserContext],  # noqa: UP045 - the old form too
    "annotated": Annotated[UserContext, "x"],
    "annotated or none": Annotated[UserContext | None, "x"],
    "optional annotated": Annotated[UserContext, "x"] | None,
}
NOT_WANTED: Final[dict[str, object]] = {
    "list": list[UserContext],
    "mapping": dict[str, UserContext] | None,
    "in the metadata": Annotated[str, UserContext],
    "another context": ToolContext,
    "longer text": "MyUserContextual",
    "nothing": None,
}


@pytest.mark.parametrize("annotation", WANTED.values(), ids=WANTED)
def test_whoever_asks_for_the_user_gets_it(annotation: object) -> None:
    """However it is written; otherwise callers could pass a user of their own (S13)."""
    assert wants(annotation, UserContext)


@pytest.mark.parametrize("annotation", NOT_WANTED.values(), ids=NOT_WANTED)
def test_what_only_mentions_the_user_does_not_get_it(annotation: object) -> None:
    """A list of users is something else than a user (S13)."""
    assert not wants(annotation, UserContext)


def test_a_rule_that_accepts_has_no_objection_and_the_next_is_asked() -> None:
    """One lenient rule must not open the door for all the others (S35, B1)."""
    lenient = ToolContract(rules=(lambda _: Verdict(), *RULES))
    assert lenient.judge(object()).reason is R.MISSING_EXECUTE
    assert lenient.judge(Ids).reason is R.PYDANTIC_MODEL
