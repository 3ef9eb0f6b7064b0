"""The generic registry: any key, any value but schemas, and never half a change."""

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from types import GenericAlias
from typing import (  # noqa: UP035 - the old form of a list is its own type
    Annotated,
    Any,
    ClassVar,
    Generic,
    List,
    Literal,
    NewType,
    Optional,
    TypeVar,
)

import pydantic.dataclasses
import pydantic.v1
import pytest
from pydantic import BaseModel, RootModel

from tests.unit.hostile import hostile_text
from toolkit.errors import (
    DuplicateKeyError,
    FactoryNotFoundError,
    RegistrationRejectedError,
    RegistryFrozenError,
)
from toolkit.registry import UniversalRegistry

SCHEMA_TEXT = "BaseModel classes are data schemas, not executable tools"
THREADS = 16
WAIT = 5  # seconds; a bound, never reached when all is well

T = TypeVar("T")


class Model(BaseModel):
    field: int = 1


class Boxed(BaseModel, Generic[T]):
    content: T | None = None


class Subscripted(BaseModel):
    """Subscripting it gives a plain alias rather than a class."""

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)


class OldModel(pydantic.v1.BaseModel):
    field: int = 1


class Numbers(RootModel[list[int]]):
    pass


SCHEMAS = {
    "class": Model,
    "instance": Model(),
    "generic class": Boxed[int],
    "generic instance": Boxed[int](content=1),
    "annotated alias": Annotated[Model, "note"],
    "plain alias": GenericAlias(Subscripted, (int,)),
    "root model": Numbers,
    "root instance": Numbers([1]),
    "v1 class": OldModel,
    "v1 instance": OldModel(),
    "list of models": list[Model],
    "typing's list of models": List[Model],  # noqa: UP006 - the old form is its own type
    "optional model": Model | None,
    "typing's optional model": Optional[Model],  # noqa: UP045 - as above
    "type of a model": type[Model],
    "function of models": Callable[[Model], int],
    "nested": dict[str, Annotated[list[tuple[int, Model]], "note"]],
    "new type of a model": NewType("Renamed", Model),
    "list of new types": list[NewType("Renamed", OldModel)],  # type: ignore[misc]  # made on the spot
}


@pydantic.dataclasses.dataclass
class Point:
    x: int = 1


@dataclass
class Plain:
    x: int = 1


class Colour(Enum):
    RED = 1


DATACLASSES = {"class": Point, "instance": Point(), "list": list[Point]}

ALIASES = {
    "list": list[int],
    "union": int | None,
    "literal": Literal["Model"],
    "function": Callable[[int], str],
    "new type": NewType("Name", str),
    "note on a type": Annotated[int, Model],
    "enum": Colour,
    "dataclass": Plain,
    "type variable": T,
}


@pytest.fixture
def registry() -> UniversalRegistry[Any]:
    return UniversalRegistry("TestRegistry")


@pytest.fixture
def _eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def snapshot(registry: UniversalRegistry[Any]) -> object:
    """Everything a registry shows of what it holds."""
    keys = registry.list_keys()
    health = registry.validate_health()
    return (
        keys,
        [registry.get(key, "absent") for key in keys],
        [dict(registry.metadata(key)) for key in keys],
        [registry.list_by_tag(tag) for tag in ("red", "blue")],
        health["metrics"]["total_items"],
        health["metrics"]["total_factories"],
        health["metrics"]["successful_registrations"],
    )


def refusals(registry: UniversalRegistry[Any]) -> dict[str, Callable[[], object]]:
    """Every way in which a registration can be refused."""

    def broken_tags() -> Iterator[str]:
        yield "red"
        raise OSError("tags cannot be read")

    untyped: Any = registry
    return {
        "duplicate": lambda: registry.register("taken", 2, tags={"blue"}),
        "duplicate of a factory": lambda: registry.register("made", 2),
        "factory over an item": lambda: registry.register_factory("taken", str),
        "factory over a factory": lambda: registry.register_factory("made", str),
        "schema": lambda: registry.register("new", Model, tags={"blue"}),
        "schema as a factory": lambda: untyped.register_factory("new", Model),
        "no factory": lambda: untyped.register_factory("new", 5),
        "bare tags": lambda: registry.register("new", 2, tags="blue"),
        "bytes tags": lambda: untyped.register("new", 2, tags=b"blue"),
        "number tags": lambda: untyped.register("new", 2, tags=5),
        "nested tags": lambda: untyped.register("new", 2, tags=[["blue"]]),
        "numbers in tags": lambda: untyped.register("new", 2, tags={1}),
        "empty tag": lambda: registry.register("new", 2, tags={""}),
        "broken tags": lambda: registry.register("new", 2, tags=broken_tags()),
        "factory's bare tags": lambda: registry.register_factory("new", str, tags="x"),
        "unhashable key": lambda: untyped.register([], 2),
    }


REFUSALS = tuple(refusals(UniversalRegistry("names")))


# --- what it takes -----------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "a", "modelmetaclass", 0, None, ("a", 1)])
def test_any_key_names_an_item(registry: UniversalRegistry[Any], key: Any) -> None:
    """The generic registry takes any key, the empty one too (S204)."""
    registry.register(key, "item")
    assert registry.get(key) == "item"
    assert registry.has(key)
    assert key in registry
    assert registry.list_keys() == (key,)


@pytest.mark.parametrize(
    "value",
    [None, 0, "", (), False, int, object(), BaseException("x")],
    ids=["none", "zero", "text", "tuple", "false", "class", "object", "exception"],
)
def test_any_value_is_kept_as_it_is(
    registry: UniversalRegistry[Any], value: object
) -> None:
    """A value that is empty or None is an item like any other, never "absent"."""
    registry.register("key", value)
    assert registry.get("key", "default") is value
    assert registry.has("key")
    assert registry.remove("key")
    assert registry.get("key", "default") == "default"


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_no_schema_is_an_item(registry: UniversalRegistry[Any], schema: object) -> None:
    """A schema is refused in every shape, and the text says why
    (S29, S30, S31, S88, S89, B1).
    """
    with pytest.raises(ValueError, match=SCHEMA_TEXT) as caught:
        registry.register("test_model", schema)
    assert str(caught.value).startswith("Validation failed for test_model")
    assert "modelmetaclass" not in str(caught.value).lower()
    assert not registry.has("test_model")


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_no_schema_is_a_factory(registry: UniversalRegistry[Any], schema: Any) -> None:
    """A schema is refused as a factory too, although its class can be called (B2)."""
    with pytest.raises(RegistrationRejectedError, match=SCHEMA_TEXT):
        registry.register_factory("test_model", schema)
    assert not registry.has("test_model")


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_no_schema_comes_out_of_a_factory(
    registry: UniversalRegistry[Any], schema: object
) -> None:
    """What a factory makes is judged like an item: no way around it (S2, B2)."""
    registry.register_factory("test_model", lambda _context: schema)
    with pytest.raises(RegistrationRejectedError, match=SCHEMA_TEXT):
        registry.create_instance("test_model", None)
    assert registry.get_metrics()["instances_created"] == 0
    assert registry.get_metrics()["basemodel_rejections"] == 1


@pytest.mark.parametrize("schema", DATACLASSES.values(), ids=DATACLASSES.keys())
def test_no_pydantic_dataclass_is_an_item(
    registry: UniversalRegistry[Any], schema: object
) -> None:
    """Pydantic's dataclasses are schemas too, whatever brings them (S2, B2)."""
    registry.register_factory("maker", lambda _context: schema)
    with pytest.raises(RegistrationRejectedError, match="class Point is a pydantic"):
        registry.register("point", schema)
    with pytest.raises(RegistrationRejectedError) as caught:
        registry.create_instance("maker", None)
    assert caught.value.reason == "pydantic_dataclass"
    assert registry.list_keys() == ("maker",)


@pytest.mark.parametrize("value", ALIASES.values(), ids=ALIASES.keys())
def test_type_without_a_schema_is_an_item(
    registry: UniversalRegistry[Any], value: object
) -> None:
    """Only what holds a schema is refused; a type is a value like any (S204)."""
    registry.register("type", value)
    assert registry.get("type") is value


def test_type_expression_is_looked_into_once(registry: UniversalRegistry[Any]) -> None:
    """One that holds itself twice, sixty times over, keeps nobody waiting."""
    nested: Any = int
    for _ in range(60):
        nested = GenericAlias(tuple, (nested, nested))
    registry.register("nested", nested)
    assert registry.get("nested") is nested


# --- exact texts -------------------------------------------------------------------


def test_second_item_of_a_key_is_refused_and_the_first_stays() -> None:
    """A duplicate is refused in the agreed words, and the registry stays usable
    (S38, S39, S40, S91).
    """
    registry = UniversalRegistry[str]("TestRegistry", allow_override=False)
    registry.register("test_tool", "first")
    with pytest.raises(ValueError, match="already registered") as caught:
        registry.register("test_tool", "second")
    text = "test_tool already registered in TestRegistry"
    assert str(caught.value).startswith(text)
    assert registry.get("test_tool") == "first"
    registry.register("another", "third")
    assert registry.list_keys() == ("test_tool", "another")


def test_second_factory_of_a_key_is_refused() -> None:
    """Factories obey the duplicate rule too, in the agreed words (B18)."""
    registry = UniversalRegistry[str]("TestRegistry")
    registry.register_factory("maker", lambda _context: "first")
    with pytest.raises(ValueError, match="already registered") as caught:
        registry.register_factory("maker", lambda _context: "second")
    text = "Factory maker already registered in TestRegistry"
    assert str(caught.value).startswith(text)
    assert registry.create_instance("maker", None) == "first"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.register("b", 2),
        lambda r: r.register_factory("b", str),
        lambda r: r.remove("a"),
        lambda r: r.clear(),
    ],
    ids=["register", "register_factory", "remove", "clear"],
)
def test_frozen_registry_refuses_every_change(
    registry: UniversalRegistry[Any],
    change: Callable[[UniversalRegistry[Any]], object],
) -> None:
    """A frozen registry refuses every change in the agreed words, and still reads."""
    registry.register("a", 1)
    registry.freeze()
    with pytest.raises(RuntimeError, match="is frozen") as caught:
        change(registry)
    assert str(caught.value).startswith("Registry 'TestRegistry' is frozen")
    assert isinstance(caught.value, RegistryFrozenError)
    assert registry.is_frozen
    assert registry.get("a") == 1
    assert "frozen" in repr(registry)


def test_missing_factory_is_named(registry: UniversalRegistry[Any]) -> None:
    """Asking for an instance without a factory fails in the agreed words."""
    registry.register("item", 1)
    for key in ("absent", "item"):
        with pytest.raises(KeyError) as caught:
            registry.create_instance(key, None)
        assert str(caught.value) == f"No factory for {key} in TestRegistry"
        assert isinstance(caught.value, FactoryNotFoundError)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(False, "a validation handler refused it"), ("it is too loud", "it is too loud")],
)
def test_handlers_reason_is_in_the_text(
    registry: UniversalRegistry[Any], answer: Any, reason: str
) -> None:
    """A handler refuses with False or with a reason, which the error shows (B9)."""
    undo = registry.add_validation_handler(lambda _key, _item: answer)
    with pytest.raises(RegistrationRejectedError, match=reason) as caught:
        registry.register("drum", 1)
    assert str(caught.value).startswith("Validation failed for drum")
    undo()
    registry.register("drum", 1)


def test_handler_that_raises_refuses(registry: UniversalRegistry[Any]) -> None:
    """An error in a validator never lets an item through (B7)."""

    def broken(key: str, item: object) -> bool:
        raise LookupError("no rules found")

    registry.add_validation_handler(broken)
    with pytest.raises(RegistrationRejectedError, match="LookupError: no rules found"):
        registry.register("drum", 1)
    assert not registry.has("drum")


@pytest.mark.parametrize("answer", [True, None, ""])
def test_handler_that_has_no_objection_lets_items_in(
    registry: UniversalRegistry[Any], answer: Any
) -> None:
    """Only False and a reason refuse."""
    asked: list[tuple[str, object]] = []

    def handler(key: str, item: object) -> Any:
        asked.append((key, item))
        return answer

    registry.add_validation_handler(handler)
    registry.register("drum", 1)
    assert asked == [("drum", 1)]


def test_handlers_judge_what_factories_make(registry: UniversalRegistry[Any]) -> None:
    """A factory's product goes through the handlers like an item (B2)."""
    registry.add_validation_handler(lambda _key, item: item != "bad")
    registry.register_factory("maker", lambda context: context)
    assert registry.create_instance("maker", "good") == "good"
    with pytest.raises(RegistrationRejectedError):
        registry.create_instance("maker", "bad")


def test_errors_of_the_registry_survive_pickling() -> None:
    """Errors carry their fields through pickling, so that logs and workers agree."""
    for error in (
        DuplicateKeyError("a", "R", "Factory "),
        RegistrationRejectedError("a", "R", "pydantic_model", "why"),
        RegistryFrozenError("R"),
        FactoryNotFoundError("a", "R"),
    ):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__


# --- refused means unchanged -------------------------------------------------------


@pytest.mark.parametrize("way", REFUSALS)
def test_refused_registration_changes_nothing(
    registry: UniversalRegistry[Any], way: str
) -> None:
    """Items, tags, metadata and factories stay as they were, and the refusal is
    counted (S40, B17).
    """
    registry.register("taken", 1, tags={"red"}, owner="ann")
    registry.register_factory("made", lambda _context: 1, tags={"red"}, owner="bob")
    before = snapshot(registry)
    with pytest.raises((ValueError, TypeError, OSError)):
        refusals(registry)[way]()
    assert snapshot(registry) == before
    assert registry.get_metrics()["failed_registrations"] == 1
    assert registry.create_instance("made", None) == 1


def test_override_replaces_tags_and_metadata_as_a_whole() -> None:
    """Nothing of the old entry shines through the new one (B16)."""
    registry = UniversalRegistry[int]("R", allow_override=True)
    registry.register("key", 1, tags={"red", "blue"}, owner="ann", colour="red")
    registry.register("key", 2, tags={"blue"}, owner="bob")
    assert registry.get("key") == 2
    assert registry.list_by_tag("red") == ()
    assert registry.list_by_tag("blue") == ("key",)
    assert dict(registry.metadata("key")) == {"owner": "bob"}
    registry.register("key", 3)
    assert registry.list_by_tag("blue") == ()
    assert dict(registry.metadata("key")) == {}


def test_override_by_a_factory_replaces_the_item_and_back() -> None:
    """A key is an item or a factory, never both (B18)."""
    registry = UniversalRegistry[int]("R", allow_override=True)
    registry.register("key", 1, tags={"red"})
    registry.register_factory("key", lambda _context: 2)
    assert registry.get("key") is None
    assert registry.list_by_tag("red") == ()
    assert registry.create_instance("key", None) == 2
    registry.register("key", 3)
    assert registry.get("key") == 3
    with pytest.raises(FactoryNotFoundError):
        registry.create_instance("key", None)
    assert len(registry) == 1


def test_metadata_may_be_named_like_the_parameters(
    registry: UniversalRegistry[Any],
) -> None:
    """Metadata called key, item or factory collides with nothing (B16)."""
    facts = {"key": 1, "item": 2, "factory": 3, "self": 4}
    untyped: Any = registry
    untyped.register("a", 1, **facts)
    untyped.register_factory("b", str, **facts)
    assert registry.metadata("a") == registry.metadata("b") == facts
    assert dict(registry.metadata("absent")) == {}


def test_absent_tags_are_no_tags(registry: UniversalRegistry[Any]) -> None:
    """`tags=None`, as callers pass it through, means none (B16)."""
    untyped: Any = registry
    untyped.register("a", 1, tags=None)
    assert registry.list_keys() == ("a",)
    assert registry.list_by_tag("a") == ()


def test_one_string_of_tags_is_refused_with_what_was_meant(
    registry: UniversalRegistry[Any],
) -> None:
    """`tags="admin"` is refused rather than split into letters (B16)."""
    with pytest.raises(RegistrationRejectedError, match=r"pass \{'admin'\}"):
        registry.register("a", 1, tags="admin")


# --- what it tells -----------------------------------------------------------------


def test_metrics_count_what_really_happened(registry: UniversalRegistry[Any]) -> None:
    """Every attempt, refusal, look-up and product is counted, once (B17)."""
    registry.register("a", 1)
    registry.register_factory("b", lambda _context: 2)
    for _ in range(2):
        with pytest.raises(DuplicateKeyError):
            registry.register("a", 2)
        with pytest.raises(RegistrationRejectedError):
            registry.register("c", Model)
    registry.get("a")
    registry.get("absent")
    registry.create_instance("b", None)
    registry.freeze()
    with pytest.raises(RegistryFrozenError):
        registry.register("d", 1)
    assert registry.get_metrics() == {
        "registry": "TestRegistry",
        "total_items": 1,
        "total_factories": 1,
        "registration_attempts": 7,
        "successful_registrations": 2,
        "failed_registrations": 5,
        "basemodel_rejections": 2,
        "instances_created": 1,
        "retrievals": 2,
        "retrieval_misses": 1,
        "frozen": True,
    }


def test_refused_product_is_no_failed_registration(
    registry: UniversalRegistry[Any],
) -> None:
    """Registering counts as registering, and making as making (B17)."""
    registry.register_factory("maker", lambda _context: Model())
    with pytest.raises(RegistrationRejectedError):
        registry.create_instance("maker", None)
    metrics = registry.get_metrics()
    assert metrics["registration_attempts"] == 1
    assert metrics["failed_registrations"] == 0
    assert metrics["basemodel_rejections"] == 1


def test_many_refusals_degrade_the_health(registry: UniversalRegistry[Any]) -> None:
    """Five refusals of five are five, and no health is better than that (B17)."""
    assert registry.validate_health()["status"] == "healthy"
    for _ in range(5):
        with pytest.raises(RegistrationRejectedError):
            registry.register("model", Model)
    health = registry.validate_health()
    assert health["status"] == "degraded"
    assert health["issues"] == ["5 of 5 registrations were refused"]
    assert health["metrics"]["failed_registrations"] == 5


def test_few_refusals_leave_it_healthy(registry: UniversalRegistry[Any]) -> None:
    """One refusal among ten is everyday business."""
    for number in range(9):
        registry.register(str(number), number)
    with pytest.raises(DuplicateKeyError):
        registry.register("0", 0)
    assert registry.validate_health()["status"] == "healthy"


def test_what_is_handed_out_is_a_copy(registry: UniversalRegistry[Any]) -> None:
    """No answer gives a handle on the registry's insides (B19)."""
    registry.register("a", 1, tags={"red"}, owner="ann")
    registry.get_metrics()["total_items"] = 99
    registry.validate_health()["issues"].append("made up")
    untyped: Any = registry.metadata("a")
    with pytest.raises(TypeError):
        untyped["owner"] = "bob"
    iterator = iter(registry)
    registry.register("b", 2)
    assert list(iterator) == ["a"]
    assert registry.get_metrics()["total_items"] == 2
    assert registry.validate_health()["issues"] == []
    assert len(registry) == 2
    assert repr(registry) == "<UniversalRegistry 'TestRegistry', 2 keys>"


def test_keys_and_tags_come_in_order_of_registration(
    registry: UniversalRegistry[Any],
) -> None:
    """Items first, then factories, each in the order they came."""
    registry.register_factory("d", str, tags=["red"])
    registry.register("b", 1, tags=["red", "blue"])
    registry.register("a", 1, tags=["red"])
    assert registry.list_keys() == ("b", "a", "d")
    assert registry.list_by_tag("red") == ("b", "a", "d")
    assert registry.list_by_tag("blue") == ("b",)
    assert registry.list_by_tag("green") == ()


def test_removing_and_clearing_forget_tags_and_factories(
    registry: UniversalRegistry[Any],
) -> None:
    """What is gone is gone from every list, and its key is free again."""
    registry.register("a", 1, tags={"red"})
    registry.register_factory("b", str, tags={"red"})
    assert registry.remove("a")
    assert registry.remove("b")
    assert not registry.remove("a")
    assert registry.list_by_tag("red") == ()
    registry.register("a", 2)
    registry.register_factory("b", str)
    registry.clear()
    assert registry.list_keys() == ()
    registry.register("b", 3)


def test_two_registries_of_one_name_share_nothing() -> None:
    """There is no state behind the instances (S11, S41)."""
    one, two = UniversalRegistry[int]("R"), UniversalRegistry[int]("R")
    one.register("a", 1)
    two.register("a", 2)
    assert (one.get("a"), two.get("a")) == (1, 2)


# --- threads -----------------------------------------------------------------------


def from_another_thread(action: Callable[[], object]) -> object:
    """Run something in another thread and wait for it, up to the bound."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result(WAIT)


def test_no_user_code_runs_under_the_lock(registry: UniversalRegistry[Any]) -> None:
    """A slow factory or handler keeps nobody from reading (B15)."""

    def look(*_: object) -> Any:
        done = threading.Event()

        def use() -> None:
            registry.register(str(len(registry)), 1)
            done.set()

        threading.Thread(target=use, daemon=True).start()
        assert done.wait(WAIT), "the registry was locked while user code ran"
        return len(registry)

    registry.register_factory("maker", look)
    assert from_another_thread(lambda: registry.create_instance("maker", None)) == 2
    calls: list[object] = []

    def handler(key: str, item: object) -> bool:
        if not calls:  # the registration that look() makes is not looked at again
            calls.append(None)
            calls[0] = look()
        return True

    registry.add_validation_handler(handler)
    from_another_thread(lambda: registry.register("checked", 1))
    assert calls == [3]


def is_free(registry: UniversalRegistry[Any]) -> bool:
    """Tell whether another thread gets into the registry while this one goes on."""
    done = threading.Event()

    def use() -> None:
        registry.list_keys()
        done.set()

    threading.Thread(target=use, daemon=True).start()
    return done.wait(WAIT)


@pytest.mark.parametrize(
    "drop",
    [
        lambda r: r.remove("key"),
        lambda r: r.clear(),
        lambda r: r.register("key", 1),
        lambda r: r.register_factory("key", str),
    ],
    ids=["removed", "cleared", "replaced", "replaced by a factory"],
)
@pytest.mark.parametrize("kind", ["item", "factory"])
def test_what_is_dropped_dies_after_the_lock_is_released(kind: str, drop: Any) -> None:
    """Clean-up code of an item or a factory may use the registry, in any thread
    (B15).
    """
    registry = UniversalRegistry[Any]("R", allow_override=True)
    was_free = []

    class Mortal:
        def __call__(self, context: object) -> None: ...

        def __del__(self) -> None:
            was_free.append(is_free(registry))

    register: Any = registry.register if kind == "item" else registry.register_factory
    register("key", Mortal())
    drop(registry)
    assert was_free == [True]


def test_key_of_a_class_of_its_own_may_use_the_registry() -> None:
    """Python compares keys under the lock, which its own thread may take again
    (B15).
    """
    registry = UniversalRegistry[Any]("R")  # no fixture: a locked one cannot be shown
    done = threading.Event()

    class Key:
        def __hash__(self) -> int:
            return len(registry)

        def __eq__(self, other: object) -> bool:
            return registry.has("x") or self is other

    def use() -> None:
        key: Any = Key()
        registry.register(key, 1)
        assert registry.list_keys() == (key,)
        done.set()

    threading.Thread(target=use, daemon=True).start()
    assert done.wait(WAIT), "the registry waits for itself"


def test_text_of_another_class_is_the_plain_text(
    registry: UniversalRegistry[Any],
) -> None:
    """Of a key that is a string, nothing but its characters is asked (B15)."""
    key = hostile_text("key")
    registry.register(key, 1, owner="ann")
    assert registry.get("key") == registry.get(key) == 1
    assert registry.metadata(key) == {"owner": "ann"}
    assert key in registry
    assert [type(one) for one in registry.list_keys()] == [str]
    with pytest.raises(DuplicateKeyError, match="key already registered in"):
        registry.register_factory(key, str)
    assert registry.remove(key)
    registry.register_factory(key, lambda context: context)
    assert registry.create_instance(key, 2) == 2


def test_freezing_during_a_registration_refuses_it(
    registry: UniversalRegistry[Any],
) -> None:
    """The flag is looked at in the same step that commits (B14)."""

    def freeze_now(key: str, item: object) -> bool:
        registry.freeze()
        return True

    registry.add_validation_handler(freeze_now)
    with pytest.raises(RegistryFrozenError):
        registry.register("late", 1)
    assert not registry.has("late")


def test_duplicate_that_arrives_during_the_check_is_refused(
    registry: UniversalRegistry[Any],
) -> None:
    """The key is looked at again in the same step that commits (S57, B14)."""
    handlers: list[Callable[[], None]] = []

    def overtake(key: str, item: object) -> bool:
        handlers.pop()()
        registry.register(key, "overtaker")
        return True

    handlers.append(registry.add_validation_handler(overtake))
    with pytest.raises(DuplicateKeyError):
        registry.register("key", "overtaken")
    assert registry.get("key") == "overtaker"


@pytest.mark.usefixtures("_eager_switching")
@pytest.mark.parametrize("kind", ["items", "factories", "both"])
def test_of_sixteen_threads_that_register_one_key_exactly_one_wins(kind: str) -> None:
    """Registering is safe between threads: one wins, the others are told
    (S25, S57, S13).
    """
    for _ in range(5):
        registry = UniversalRegistry[Any]("R")
        start = threading.Barrier(THREADS)

        def attempt(
            number: int,
            registry: UniversalRegistry[Any] = registry,
            start: threading.Barrier = start,
        ) -> bool:
            as_factory = kind == "factories" or (kind == "both" and number % 2)
            start.wait(WAIT)
            try:
                if as_factory:
                    registry.register_factory("key", lambda _context: number)
                else:
                    registry.register("key", number)
            except DuplicateKeyError:
                return False
            return True

        with ThreadPoolExecutor(THREADS) as pool:
            won = list(pool.map(attempt, range(THREADS)))
        assert won.count(True) == 1
        winner = won.index(True)
        found = registry.get("key")
        if found is None:
            found = registry.create_instance("key", None)
        assert found == winner
        metrics = registry.get_metrics()
        assert metrics["successful_registrations"] == 1
        assert metrics["failed_registrations"] == THREADS - 1


@pytest.mark.usefixtures("_eager_switching")
def test_readers_never_see_half_a_change() -> None:
    """An overriding writer and readers meet: the key is never missing (B14, B19)."""
    registry = UniversalRegistry[int]("R", allow_override=True)
    registry.register("key", 0, tags={"red"}, number=0)
    start = threading.Barrier(4)

    def read() -> None:
        start.wait(WAIT)
        for _ in range(50):
            assert registry.list_keys() == ("key",)
            assert registry.get("key") is not None
            assert registry.list_by_tag("red") == ("key",)
            assert "number" in registry.metadata("key")

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        start.wait(WAIT)
        for number in range(50):
            registry.register("key", number, tags={"red"}, number=number)
        for reader in readers:
            reader.result(WAIT)
