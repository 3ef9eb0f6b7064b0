"""The filter over any object at all: total, pure, and without regard to order."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.unit.hostile import (
    HOSTILE,
    Model,
    Unnamed,
    Unpleasant,
    Untold,
    hostile_text,
    raising,
)
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.contract import STRICT, RejectionReason, Verdict
from toolkit.discovery.filters import judge
from toolkit.discovery.report import Candidate
from toolkit.errors import InvalidToolError
from toolkit.naming import name_fault
from toolkit.origin import Origin

ERRORS: Final = st.sampled_from(
    [ValueError, AttributeError, SystemExit, GeneratorExit, Unpleasant, Unnamed, Untold]
)
Make = Callable[[], Any]
"""Hypothesis looks at what it draws; so it draws how to make an object."""

VALUES: Final[st.SearchStrategy[Make]] = st.one_of(
    st.one_of(st.none(), st.integers(), st.text(max_size=5)).map(lambda v: lambda: v),
    st.sampled_from(["odd", "word_count", "modelmetaclass"]).map(lambda v: lambda: v),
    st.sampled_from(["odd", "a b"]).map(lambda text: partial(hostile_text, text)),
    st.sampled_from([Model, lambda: Model, lambda: len, property, lambda: int]),
    ERRORS.map(lambda error: partial(raising, error)),
    ERRORS.map(lambda error: lambda: property(raising(error))),
    ERRORS.map(lambda error: type("Descriptor", (), {"__get__": raising(error)})),
    st.just(lambda: lambda self, text="": text),
)
ATTRIBUTES: Final = st.sampled_from(
    [
        *("name", "execute", "name", "execute", "__init__", "__new__", "__class__"),
        *("__dict__", "__getattribute__", "__getattr__", "__module__", "__doc__"),
        *("_fields", "__eq__", "__call__", "__deepcopy__", "tags", "required_scopes"),
        *("__is_pydantic_dataclass__", "_is_protocol", "timeout", "__signature__"),
    ]
)
BASES: Final = st.sampled_from([(), (int,), (str,), (tuple,), (Exception,), (Model,)])
META: Final = st.dictionaries(
    st.sampled_from(["__call__", "__getattribute__", "__eq__", "name", "__mro__"]),
    ERRORS,
    max_size=2,
)


def build(
    space: dict[str, Make],
    bases: tuple[type, ...],
    meta_space: dict[str, type[BaseException]],
    is_class: object,
) -> object:
    """Make a class of odd attributes, metaclass and bases; or an instance of it."""
    values = {name: make() for name, make in space.items()}
    base_meta = type(bases[0]) if bases else type
    tricks = {name: raising(error) for name, error in meta_space.items()}
    try:
        meta: Any = type("Meta", (base_meta,), tricks)
        made: Any = base_meta.__call__(meta, "Odd", bases, values)
        return made if is_class else type.__call__(made)
    except BaseException:  # noqa: BLE001 - Python or pydantic would not make such a class
        return values


OBJECTS: Final[st.SearchStrategy[Make]] = st.one_of(
    st.builds(
        partial,
        st.just(build),
        st.dictionaries(ATTRIBUTES, VALUES, max_size=5),
        BASES,
        META,
        st.booleans(),
    ),
    st.sampled_from(list(HOSTILE.values())),
    st.sampled_from([lambda: Model, Model, lambda: BaseModel, lambda: list[Model]]),
    st.from_type(type).map(lambda kind: lambda: kind),
    st.recursive(st.none() | st.text(), st.lists, max_leaves=5).map(
        lambda value: lambda: value
    ),
)
MANY: Final = settings(max_examples=250, deadline=None)


def outcome(judging: Callable[[], object]) -> object:
    """Return what judging gives, as text where it raises the one error it may."""
    try:
        return judging()
    except InvalidToolError as error:
        return error.reason


@MANY
@given(OBJECTS)
def test_judging_is_total_and_pure(make: Make) -> None:
    """Any object, one verdict, the same one again; never an exception (S36, B7)."""
    obj = make()
    verdict = STRICT.judge(obj)
    assert type(verdict) is Verdict
    assert verdict.accepted or verdict.detail
    again = STRICT.judge(obj)
    assert (again.reason, again.accepted) == (verdict.reason, verdict.accepted)


@MANY
@given(OBJECTS)
def test_no_schema_passes_and_what_passes_has_the_interface(make: Make) -> None:
    """No path around the filter, however the object dresses (S9, S29, S30, B1)."""
    obj = make()
    verdict, subject = STRICT.examine(obj)
    kind = obj if issubclass(type(obj), type) else type(obj)
    if any(base is BaseModel for base in type.mro(kind)):
        assert verdict.reason is RejectionReason.PYDANTIC_MODEL
    if verdict.accepted:
        assert subject is not None
        assert not name_fault(subject.name)


@MANY
@given(OBJECTS)
def test_compiling_gives_a_tool_or_one_kind_of_error(make: Make) -> None:
    """The only door to the registries says yes or InvalidToolError (B1, B7, B9)."""
    obj = make()
    made = outcome(lambda: compile_tool(obj))
    if type(made) is CompiledTool:
        assert STRICT.judge(obj).accepted
    else:
        assert made in set(RejectionReason)


@MANY
@example(HOSTILE["dict raises"], "Odd", "pkg.mod")
@given(OBJECTS, st.sampled_from(["Odd", "_odd"]), st.sampled_from(["", "pkg.mod"]))
def test_the_discovery_filter_is_total_too(
    make: Make, attribute: str, module: str
) -> None:
    """Also what only discovery asks of an object cannot make it raise (S36, B7)."""
    candidate = Candidate(
        make(), Origin(), attribute=attribute, module=module, package=module[:3]
    )
    assert type(judge(candidate, STRICT)) is Verdict


@MANY
@given(st.data(), st.lists(OBJECTS, max_size=6))
def test_verdicts_do_not_depend_on_the_order(
    data: st.DataObject, makes: list[Make]
) -> None:
    """One object's verdict says nothing about the next one's (S36)."""
    order = data.draw(st.permutations(range(len(makes))))
    objects = [make() for make in makes]
    straight = [STRICT.judge(obj).reason for obj in objects]
    shuffled = {index: STRICT.judge(objects[index]).reason for index in order}
    assert [shuffled[index] for index in range(len(objects))] == straight
