"""The one door: from any object to a compiled tool, or to a reason."""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ClassVar, NoReturn
from weakref import ref

import pytest
from pydantic import BaseModel

from tests.unit.hostile import HOSTILE, Model, Unnamed, raising, tool_class
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.context import ToolContext, UserContext
from toolkit.contract import (
    ACCEPTED,
    RejectionReason,
    Subject,
    ToolContract,
    Verdict,
    judge_name,
    judge_pydantic_model,
    origin_of,
)
from toolkit.errors import InvalidToolError, ToolConstructionError
from toolkit.origin import Origin
from toolkit.tools import tool

R = RejectionReason
ANN, BOB = UserContext("ann"), UserContext("bob")


class Count:
    """Count words.

    Args:
        text: Described on the class.
        limit: Described here only.
    """

    name = "count"
    version = "2"
    tags = ("b", "a")
    required_scopes = frozenset({"text:read"})
    timeout = 5
    read_only = True
    destructive = False

    def execute(self, text: str, limit: int = 10) -> int:
        """Do the counting.

        :param text: Described on the method.
        """
        return min(len(text.split()), limit)


def reason_of(target: object, **options: Any) -> str:
    """Return the reason code with which an object is turned away."""
    with pytest.raises(InvalidToolError) as caught:
        compile_tool(target, **options)
    return caught.value.reason


def call(target: object, arguments: dict[str, Any], user: UserContext = ANN) -> Any:
    """Compile, make the user's instance, and call it."""
    compiled = compile_tool(target)
    context = ToolContext(user=user, call_id="c", tool_name=compiled.name)
    checked = compiled.signature.validate(compiled.name, arguments)
    method, positional, named = compiled.bind(
        compiled.instantiate(user), checked, context
    )
    return method(*positional, **named)


# --- the definition ----------------------------------------------------------------


def test_a_definition_holds_what_the_author_wrote() -> None:
    """Name, description, effects, scopes and seconds, each from its place (S36)."""
    found = compile_tool(Count, origin=Origin("pkg")).definition
    assert (found.name, found.qualified_name) == ("count", "pkg.count")
    assert found.description == "Count words."
    assert (found.version, found.tags) == ("2", ("a", "b"))
    assert found.required_scopes == frozenset({"text:read"})
    assert found.timeout == 5.0
    assert (found.read_only, found.destructive, found.idempotent) == (True, False, None)
    assert found.output_schema == {"type": "integer"}
    assert not found.streaming
    described = found.input_schema["properties"]
    assert "Described on the method." in described["text"]["description"]
    assert "Described here only." in described["limit"]["description"]


def test_a_description_comes_from_the_attribute_the_class_or_the_method() -> None:
    """In that order; the base class's docstring does not count."""
    own = type("Own", (Count,), {"description": "Stated."})
    silent = type("Silent", (Count,), {})
    assert compile_tool(own).definition.description == "Stated."
    assert compile_tool(silent).definition.description == "Do the counting."


def test_a_function_and_an_instance_are_described_too() -> None:
    """All three kinds of tool read alike to callers."""

    @tool(required_scopes=["x"], tags={"t"})
    def shout(text: str) -> Iterator[str]:
        """Upper-case a text."""
        yield text.upper()

    found = compile_tool(shout).definition
    assert found.description == "Upper-case a text."
    assert (found.tags, found.required_scopes) == (("t",), frozenset("x"))
    assert found.streaming
    assert compile_tool(Count()).definition.description == "Count words."


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("description", 7),
        ("version", 1.0),
        ("tags", "admin"),
        ("tags", 7),
        ("tags", {"a": 1}),
        ("tags", [""]),
        ("required_scopes", "admin"),
        ("required_scopes", [None]),
        ("timeout", 0),
        ("timeout", True),
        ("timeout", "5"),
        ("read_only", 1),
        ("idempotent", "yes"),
        ("required_scopes", property(lambda self: frozenset())),
    ],
    ids=range(14),
)
def test_an_attribute_of_the_wrong_kind_is_refused(
    attribute: str, value: object
) -> None:
    """Scopes "admin" would be a, d, m, i, n; computed ones could vary (B16, B58)."""
    assert reason_of(tool_class(**{attribute: value})) == R.INVALID_ATTRIBUTE


def test_a_published_instance_may_compute_its_attributes() -> None:
    """Read once, when it is published; a class can only be read as it stands."""
    made = tool_class(tags=property(lambda self: ("x",)))
    assert compile_tool(made()).definition.tags == ("x",)
    with pytest.raises(InvalidToolError, match="is computed"):
        compile_tool(made)


# --- turned away -------------------------------------------------------------------


class Copyless:
    name = "copyless"

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def execute(self) -> None: ...


def takes_lock(self: object, lock: threading.Lock) -> None: ...


def takes_any_number(self: object, *texts: str) -> None: ...


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Model, R.PYDANTIC_MODEL),
        (Model(), R.PYDANTIC_MODEL),
        (object(), R.MISSING_EXECUTE),
        (Copyless(), R.NOT_COPYABLE),
        (tool_class(execute=takes_lock), R.UNSUPPORTED_SIGNATURE),
        (tool_class(execute=takes_any_number), R.UNSUPPORTED_SIGNATURE),
        (HOSTILE["recursive hint"](), R.UNSUPPORTED_SIGNATURE),
        (tool_class(__deepcopy__=raising(SystemExit))(), R.NOT_COPYABLE),
    ],
    ids=range(8),
)
def test_what_is_no_tool_has_a_reason_and_a_remedy(
    target: object, reason: RejectionReason
) -> None:
    """The judge's reasons, and those that only compiling finds (S35, B9)."""
    with pytest.raises(InvalidToolError) as caught:
        compile_tool(target)
    assert caught.value.reason == reason
    assert caught.value.detail.endswith(reason.remedy)


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_nothing_makes_the_door_raise_anything_else(
    make: Callable[[], object],
) -> None:
    """One bad object never hides the others behind its own exception (B7)."""
    target = make()
    try:
        compiled: object = compile_tool(target)
    except InvalidToolError as error:
        compiled = R(error.reason)
    assert type(compiled) in (CompiledTool, RejectionReason)
    assert isinstance(origin_of(target), Origin)


def test_an_interrupt_passes_the_door() -> None:
    """Ctrl-C stops discovery, wherever it is."""
    target = tool_class(__deepcopy__=raising(KeyboardInterrupt))()
    with pytest.raises(KeyboardInterrupt):
        compile_tool(target)


def test_another_contract_compiles_another_method() -> None:
    """Which interface counts can be injected (S36)."""

    class Runner:
        name = "runner"

        def run(self, n: int) -> int:
            return n

    compiled = compile_tool(Runner, contract=ToolContract(method="run"))
    assert compiled.method == "run"
    assert list(compiled.definition.input_schema["properties"]) == ["n"]
    assert reason_of(Runner) == R.MISSING_EXECUTE


def test_a_class_is_probed_once_though_it_is_judged_and_compiled() -> None:
    """Its constructor may connect somewhere (S34)."""
    instances: list[object] = []

    class Late:
        def __init__(self) -> None:
            instances.append(self)
            self.name = "late"
            self.tags = ("x",)

        def execute(self) -> None: ...

    compiled = compile_tool(Late)
    assert len(instances) == 1
    assert (compiled.name, compiled.definition.tags) == ("late", ("x",))
    assert compiled.target is Late


@pytest.mark.parametrize("name", ["late", "not legal"])
@pytest.mark.parametrize("error", [None, ValueError, SystemExit])
def test_the_probe_of_a_class_is_closed_whatever_is_learnt(
    name: str, error: type[BaseException] | None
) -> None:
    """What its constructor opened does not stay open for the process (S34, B41)."""
    closed: list[object] = []

    class Late:
        def __init__(self) -> None:
            self.name = name

        def execute(self) -> None: ...

        def close(self) -> None:
            closed.append(self)
            if error is not None:
                raise error

    with nullcontext() if name == "late" else pytest.raises(InvalidToolError):
        compile_tool(Late)
    assert len(closed) == 1


# --- one user's instance -------------------------------------------------------------


class Mine:
    name = "mine"

    def __init__(self, user: UserContext) -> None:
        self.user = user
        self.seen: list[str] = []

    def execute(self, text: str) -> tuple[str, list[str]]:
        self.seen.append(text)
        return self.user.user_id, self.seen


@dataclass
class Shared:
    seen: list[str]
    name: ClassVar[str] = "shared"

    def execute(self, text: str) -> list[str]:
        self.seen.append(text)
        return self.seen


def test_every_user_gets_an_instance_of_their_own() -> None:
    """From a class by construction, from an instance by deep copy (S13, S41, B40)."""
    compiled = compile_tool(Mine)
    anns, bobs = compiled.instantiate(ANN), compiled.instantiate(BOB)
    assert isinstance(anns, Mine)
    assert isinstance(bobs, Mine)
    assert (anns.user, bobs.user) == (ANN, BOB)
    assert anns.seen is not bobs.seen
    published = Shared([])
    copies = [compile_tool(published).instantiate(user) for user in (ANN, BOB)]
    for one in copies:
        assert isinstance(one, Shared)
        one.execute("x")
    assert published.seen == []
    assert copies[0] == copies[1] == Shared(["x"])
    assert call(Mine, {"text": "a"}, BOB) == ("bob", ["a"])


class Grows(Count):
    def __init__(self) -> None:
        self.required_scopes = frozenset()


class Breaks(Count):
    def __init__(self) -> None:
        message = "secret-host unreachable"
        raise OSError(message)


class BreaksUnnamed(Count):
    def __init__(self) -> None:
        raise Unnamed


class Other(Count):
    def __new__(cls) -> NoReturn:
        return Model()  # type: ignore[misc]  # that is the trick


class Sub(Count):
    def __new__(cls) -> Any:
        return copy.copy(SUB) if cls is Sub else super().__new__(cls)


class SubSub(Sub): ...


SUB = SubSub()


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        (
            Grows,
            "required_scopes changed in the constructor; declare them on the class",
        ),
        (Breaks, "its constructor raised OSError"),
        (BreaksUnnamed, "its constructor raised Unnamed"),
        (Other, "its constructor returned something else; let it return itself"),
    ],
    ids=["scopes", "raises", "raises unnamed", "other"],
)
def test_a_constructor_that_cheats_fails_for_that_user(
    target: type, detail: str
) -> None:
    """No weaker scopes, no schema by way of `__new__`, no secrets in the text.

    (B1, B2, B58)
    """
    compiled = compile_tool(target)
    with pytest.raises(ToolConstructionError) as caught:
        compiled.instantiate(ANN)
    assert caught.value.detail == detail
    assert "secret-host" not in str(caught.value)


def test_no_contract_and_no_constructor_lets_a_schema_in() -> None:
    """Not a rule that accepts early, another order, or a judge of its own (S9, B1)."""

    class Lenient(ToolContract):
        def examine(self, obj: object) -> tuple[Verdict, Subject | None]:
            subject = Subject(obj, self.method)
            subject.name = "schema"
            return ACCEPTED, subject

    early = ToolContract(rules=(judge_name, lambda _: ACCEPTED, judge_pydantic_model))
    Named.name = "schema"
    for contract in (Lenient(), early):
        assert reason_of(Named, contract=contract) == R.PYDANTIC_MODEL
        assert reason_of(Named(), contract=contract) == R.PYDANTIC_MODEL
    with pytest.raises(ToolConstructionError, match="pydantic model"):
        compile_tool(Trick).instantiate(ANN)


class Named(BaseModel):
    name: ClassVar[str]

    def execute(self) -> None: ...


class Trick:
    name = "trick"

    def __new__(cls) -> Any:
        return TrickModel.model_construct()

    def execute(self) -> None: ...


class TrickModel(Trick, BaseModel):
    def __new__(cls, **_: object) -> Any:
        return object.__new__(cls)


class Single(type):
    def __call__(cls) -> Any:
        kept = vars(cls).get("kept")
        if kept is None:
            kept = cls.kept = super().__call__()
        return kept


class ByMeta(Count, metaclass=Single):
    kept: Any = None


class ByNew(Count):
    kept: Any = None

    def __new__(cls) -> Any:
        cls.kept = cls.kept or super().__new__(cls)
        return cls.kept


class Cloned(Count):
    kept: Any = None

    def __deepcopy__(self, memo: object) -> Any:
        Cloned.kept = Cloned.kept or copy.copy(self)
        return Cloned.kept


class SlottedBase:
    __slots__ = ()
    name = "slotted"

    def execute(self) -> None: ...


class Slotted(SlottedBase):
    __slots__ = ()


class SlottedSingle(SlottedBase):
    __slots__ = ()

    def __new__(cls) -> Any:
        return super().__new__(cls)


@pytest.mark.parametrize("target", [ByMeta, ByNew, Cloned()], ids=str)
def test_two_users_are_never_given_one_instance(target: object) -> None:
    """A singleton would show one user what another left behind (S13, B40)."""
    compiled = compile_tool(target)
    anns = compiled.instantiate(ANN)
    with pytest.raises(ToolConstructionError, match="an instance that another user"):
        replace(compiled, target=target).instantiate(BOB)
    del anns  # it lives on in its class, with what she left in it
    with pytest.raises(ToolConstructionError):
        compiled.instantiate(BOB)


def test_an_instance_without_weak_references_must_be_new_by_its_nature() -> None:
    """Where nobody could tell, a constructor of its own is not trusted (S13)."""
    compiled = compile_tool(Slotted)
    assert compiled.instantiate(ANN) is not compiled.instantiate(BOB)
    with pytest.raises(ToolConstructionError):
        compile_tool(SlottedSingle).instantiate(ANN)


def test_a_recipe_keeps_no_users_instance_alive() -> None:
    """It knows what it gave out, and holds none of it (S57)."""
    compiled = compile_tool(Count)
    watch = ref(compiled.instantiate(ANN))
    assert watch() is None


def test_an_instance_that_copies_to_itself_is_not_published() -> None:
    """All users would share it (S13, B40)."""
    single = tool_class(__deepcopy__=lambda self, _: self)()
    with pytest.raises(InvalidToolError, match="its deep copy is itself") as caught:
        compile_tool(single)
    assert caught.value.reason == R.NOT_COPYABLE


def test_a_constructor_may_choose_a_subclass() -> None:
    """What it returns is still what was judged."""
    assert isinstance(compile_tool(Sub).instantiate(ANN), SubSub)


class ForUser(Count):
    def __init__(self, user: UserContext, limit: int = 1) -> None:
        self.user, self.limit = user, limit


class ForUserByName(Count):
    def __init__(self, limit: int = 1, *, user: UserContext) -> None:
        self.user, self.limit = user, limit


class ForUserOnly(Count):
    def __init__(self, *, user: UserContext) -> None:
        self.user = user


class ForUserWrapped(Count):
    @wraps(ForUser.__init__)  # type: ignore[misc]  # mypy knows no wrapped constructor
    def __init__(self, **given: Any) -> None:
        vars(self).update(given)


class Refines(type): ...


class ByOtherMeta(Count, metaclass=Refines): ...


class Answers(Count):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Pretends(Count):
    __class__ = property(lambda self: Count)


@pytest.mark.parametrize(
    ("target", "is_plain"),
    [
        (Count, True),
        (Mine, True),
        (Slotted, True),
        (ForUser, True),
        (ForUserByName, False),
        (ForUserOnly, False),
        (ForUserWrapped, False),
        (Sub, False),
        (ByOtherMeta, False),
        (Answers, False),
        (Pretends, False),
        (Count(), False),
    ],
    ids=range(12),
)
def test_a_class_without_a_say_in_it_makes_new_objects(
    target: object,
    is_plain: bool,  # noqa: FBT001 - a case of the table
) -> None:
    """Only then is there less to look at for each user (S13, B40)."""
    compiled = compile_tool(target)
    assert compiled.is_plain is is_plain
    made: Any = compiled.instantiate(ANN)
    assert made is not target
    assert getattr(made, "user", ANN) is ANN
    assert getattr(made, "limit", 1) == 1


class Turns(Count):
    def __init__(self) -> None:
        self.__class__ = Count  # type: ignore[assignment]  # the trick


class Drops(Count):
    required_scopes: Any = {"text:read"}  # noqa: RUF012 - the trick

    def __init__(self) -> None:
        self.required_scopes.clear()


class Opens(Count):
    required_scopes: Any = ("text:read",)

    def __init__(self) -> None:
        self.required_scopes = None


class Adds(SlottedBase):
    def __init__(self) -> None:
        self.required_scopes = ["a:b"]


class Forgets:
    probes: ClassVar[list[object]] = []

    def __init__(self) -> None:
        self.name = "forgets"
        if not self.probes:  # for whoever asks its name only
            self.required_scopes = frozenset({"a:b"})
        self.probes.append(self)

    def execute(self) -> None: ...


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        (Turns, "its constructor returned something else"),
        (Drops, "required_scopes changed in the constructor"),
        (Opens, "required_scopes changed in the constructor"),
        (Adds, "required_scopes changed in the constructor"),
        (Forgets, "required_scopes changed in the constructor"),
    ],
)
def test_what_a_plain_constructor_can_still_do_is_looked_at(
    target: type, detail: str
) -> None:
    """Another class by assignment, other scopes, also in place (B58)."""
    compiled = compile_tool(target)
    assert compiled.is_plain
    with pytest.raises(ToolConstructionError, match=detail):
        compiled.instantiate(ANN)


def test_scopes_that_an_instance_says_again_are_no_change() -> None:
    """Equal is enough: it need not be the same object (B58)."""

    class Again(Count):
        def __init__(self) -> None:
            self.required_scopes = frozenset(["text:read"])

    made = compile_tool(Again).instantiate(ANN)
    assert type(made) is Again


# --- which function runs -------------------------------------------------------------


class Static(Count):
    @staticmethod
    def execute(text: str) -> str:  # type: ignore[override]  # a tool all the same
        return text


class ByClass(Count):
    @classmethod
    def execute(cls, text: str) -> str:  # type: ignore[override]  # as above
        return text


def overridden() -> Count:
    """Make an instance whose own execute hides its class's."""
    made: Any = Count()
    made.execute = lambda text: text
    return made  # type: ignore[no-any-return]  # a Count


@pytest.mark.parametrize(
    "target", [Static, ByClass, overridden(), Static(), ByClass()], ids=range(5)
)
def test_the_method_that_a_call_finds_is_the_one_compiled(target: object) -> None:
    """Static, of the class, or on the instance: no argument is lost as `self`."""
    assert list(compile_tool(target).definition.input_schema["properties"]) == ["text"]
    assert call(target, {"text": "a"}) == "a"


# --- origins -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "reference"),
    [
        (Count, f"{__name__}:Count"),
        (Count(), f"{__name__}:Count"),
        (BaseModel, "pydantic.main:BaseModel"),
        (None, "NoneType"),
        (
            tool_class(__dict__=property(raising(ValueError)))(),
            "tests.unit.hostile:Odd",
        ),
        (type("X", (), {"__module__": 7}), "X"),
    ],
    ids=range(6),
)
def test_an_object_handed_in_has_an_origin(target: object, reference: str) -> None:
    """Also one that cannot be read: every message says where it is from (B6, B9)."""
    assert origin_of(target) == Origin(reference=reference)
