"""The registries against a plain dict: any sequence of steps, also from threads."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.sample_tools import Echo, SettingsModel, Spend, Tally, catalog_of
from toolkit import UserContext
from toolkit.errors import (
    DuplicateKeyError,
    FactoryNotFoundError,
    RegistrationRejectedError,
    RegistryClosedError,
    RegistryFrozenError,
    ToolNotFoundError,
)
from toolkit.registry import UniversalRegistry
from toolkit.tool_registry import ToolRegistry

pytestmark = pytest.mark.integration  # several threads, and seconds

WAIT: Final = 10  # seconds; a bound, never reached when all is well
QUICK: Final = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

KEYS = st.sampled_from(["", "a", "b", "modelmetaclass", "ä"])
VALUES = st.one_of(st.none(), st.integers(0, 3), st.text(max_size=2))
TAGS = st.frozensets(st.sampled_from(["red", "blue"]))
SCHEMAS = st.sampled_from([Spend, SettingsModel, Spend(), SettingsModel()])
ABSENT: Final = object()


@dataclass
class Kept:
    """What the model remembers of one key."""

    value: Any
    is_factory: bool
    tags: frozenset[str] = frozenset()
    metadata: dict[str, Any] = field(default_factory=dict)


class UniversalMachine(RuleBasedStateMachine):
    """Every answer of a `UniversalRegistry` is that of two plain dicts."""

    registry: UniversalRegistry[Any]

    @initialize(allow_override=st.booleans())
    def start(self, *, allow_override: bool) -> None:
        self.registry = UniversalRegistry("R", allow_override)
        self.model: dict[str, Kept] = {}
        self.failed = self.registered = 0
        self.is_frozen = False

    def attempt(self, key: str, step: Callable[[], None], kept: Kept) -> None:
        """Register, and expect of the registry what the model says."""
        if self.is_frozen:
            expected: type[Exception] | None = RegistryFrozenError
        elif key in self.model and not self.registry.allow_override:
            expected = DuplicateKeyError
        else:
            expected = None
        if expected is None:
            step()
            old = self.model.get(key)
            if old is not None and old.is_factory != kept.is_factory:
                del self.model[key]  # it moves to the other dict, at its end
            self.model[key] = kept
            self.registered += 1
        else:
            with pytest.raises(expected):
                step()
            self.failed += 1

    @rule(key=KEYS, value=VALUES, tags=TAGS, note=VALUES)
    def register(self, key: str, value: Any, tags: frozenset[str], note: Any) -> None:
        self.attempt(
            key,
            lambda: self.registry.register(key, value, tags=tags, note=note),
            Kept(value, is_factory=False, tags=tags, metadata={"note": note}),
        )

    @rule(key=KEYS, value=VALUES, tags=TAGS)
    def register_factory(self, key: str, value: Any, tags: frozenset[str]) -> None:
        self.attempt(
            key,
            lambda: self.registry.register_factory(key, lambda _: value, tags=tags),
            Kept(value, is_factory=True, tags=tags),
        )

    @rule(key=KEYS, schema=SCHEMAS, as_factory=st.booleans())
    def register_schema(self, key: str, schema: Any, *, as_factory: bool) -> None:
        way: Any = self.registry.register
        if as_factory:
            way = self.registry.register_factory
        with pytest.raises(
            (RegistrationRejectedError, DuplicateKeyError, RegistryFrozenError)
        ):
            way(key, schema)
        self.failed += 1

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        if self.is_frozen:
            with pytest.raises(RegistryFrozenError):
                self.registry.remove(key)
        else:
            assert self.registry.remove(key) is (self.model.pop(key, None) is not None)

    @rule()
    def clear(self) -> None:
        if self.is_frozen:
            with pytest.raises(RegistryFrozenError):
                self.registry.clear()
        else:
            self.registry.clear()
            self.model.clear()

    @precondition(lambda self: len(self.model) >= 3)
    @rule()
    def freeze(self) -> None:
        self.registry.freeze()
        self.is_frozen = True

    @rule(key=KEYS)
    def create_instance(self, key: str) -> None:
        kept = self.model.get(key)
        if kept is not None and kept.is_factory:
            assert self.registry.create_instance(key, None) == kept.value
        else:
            with pytest.raises(FactoryNotFoundError):
                self.registry.create_instance(key, None)

    @invariant()
    def every_answer_agrees(self) -> None:
        items = [k for k, one in self.model.items() if not one.is_factory]
        factories = [k for k, one in self.model.items() if one.is_factory]
        assert self.registry.list_keys() == (*items, *factories)
        assert len(self.registry) == len(self.model)
        assert self.registry.is_frozen is self.is_frozen
        for key in ("", "a", "b", "modelmetaclass", "ä", "never"):
            kept = self.model.get(key)
            assert (key in self.registry) is (kept is not None)
            item = ABSENT if kept is None or kept.is_factory else kept.value
            assert self.registry.get(key, ABSENT) == item
            metadata = {} if kept is None else kept.metadata
            assert self.registry.metadata(key) == metadata
        for tag in ("red", "blue"):
            tagged = [k for k in (*items, *factories) if tag in self.model[k].tags]
            assert self.registry.list_by_tag(tag) == tuple(tagged)

    @invariant()
    def counts_are_true(self) -> None:
        metrics = self.registry.get_metrics()
        assert metrics["successful_registrations"] == self.registered
        assert metrics["failed_registrations"] == self.failed
        attempts = self.registered + self.failed
        assert metrics["registration_attempts"] == attempts
        is_bad = attempts > 0 and self.failed / attempts > 0.1
        status = self.registry.validate_health()["status"]
        assert status == ("degraded" if is_bad else "healthy")


NAMES = st.sampled_from(["echo", "acme.echo", "tally", "own", "other"])


class ToolMachine(RuleBasedStateMachine):
    """A `ToolRegistry` over a shared view is two dicts and a set of hidden names."""

    def __init__(self) -> None:
        super().__init__()
        view = catalog_of(Echo, Tally).view
        user = UserContext("ann")
        self.registry = ToolRegistry("ann", view=view, user_context=user)
        self.neighbour = ToolRegistry("bob", view=view, user_context=UserContext("bob"))
        self.shared = {"echo", "tally"}
        self.own: dict[str, Any] = {}
        self.made: dict[str, Any] = {}
        self.factories: dict[str, Any] = {}
        self.forgotten: list[Any] = []
        self.is_closed = False

    def listed(self, name: str) -> str | None:
        """The shared tool of that listed or qualified name, if it is still there."""
        bare = name.removeprefix("acme.")
        return bare if bare in self.shared else None

    def is_taken(self, name: str) -> bool:
        return name in self.own or name in self.factories or bool(self.listed(name))

    def refusal(self, name: str, *, is_tool: bool) -> type[Exception] | None:
        if self.is_closed:
            return RegistryClosedError
        if self.is_taken(name):
            return DuplicateKeyError
        return None if is_tool and "." not in name else RegistrationRejectedError

    @rule(name=NAMES, tool=st.sampled_from([Echo, Tally, Spend, SettingsModel, object]))
    def register(self, name: str, tool: type[Any]) -> None:
        instance = tool()
        refusal = self.refusal(name, is_tool=tool in (Echo, Tally))
        if refusal:
            with pytest.raises(refusal):
                self.registry.register(name, instance)
        else:
            self.registry.register(name, instance)
            self.own[name] = instance

    @rule(name=NAMES, tool=st.sampled_from([Echo, Tally]))
    def register_factory(self, name: str, tool: type[Any]) -> None:
        refusal = self.refusal(name, is_tool=True)
        if refusal:
            with pytest.raises(refusal):
                self.registry.register_factory(name, lambda _user: tool())
        else:
            self.registry.register_factory(name, lambda _user: tool())
            self.factories[name] = tool

    @rule(name=NAMES)
    def use(self, name: str) -> None:
        if self.is_closed:
            with pytest.raises(RegistryClosedError):
                self.registry.get(name)
            return
        found = self.registry.get(name)
        if name in self.own:
            assert found is self.own[name]
        elif self.is_taken(name):
            key = f"factory {name}" if name in self.factories else self.listed(name)
            assert self.made.setdefault(str(key), found) is found
            assert type(found) is self.factories.get(name, type(found))
            assert not any(found is one for one in self.forgotten)
        else:
            assert found is None
            with pytest.raises(ToolNotFoundError):
                self.registry.find(name)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if self.is_closed:
            with pytest.raises(RegistryClosedError):
                self.registry.remove(name)
            return
        assert self.registry.remove(name) is self.is_taken(name)
        self.shared.discard(self.listed(name) or "")
        self.own.pop(name, None)
        self.factories.pop(name, None)
        if f"factory {name}" in self.made:
            self.forgotten.append(self.made.pop(f"factory {name}"))

    @precondition(lambda self: len(self.own) >= 2)
    @rule()
    def close(self) -> None:
        ours = set(self.registry.close())
        assert ours == {*self.made.values(), *self.forgotten}
        assert not ours & set(self.own.values())
        self.is_closed = True
        self.shared, self.own, self.factories = set(), {}, {}

    @invariant()
    def names_agree_and_the_neighbour_notices_nothing(self) -> None:
        names = (*sorted(self.shared), *self.own, *self.factories)
        assert self.registry.list_keys() == names
        assert self.neighbour.list_keys() == ("echo", "tally")
        if not self.is_closed:
            listed = {str(one.name) for one in self.registry.tools()}
            used = {name for name in self.factories if f"factory {name}" in self.made}
            assert listed == self.shared | set(self.own) | used
            assert self.registry.validate_health()["has_basemodel_tools"] is False


def test_universal_registry_is_a_dict_that_refuses_schemas() -> None:
    """Any sequence of steps gives what dicts give (S57, S204, B14, B16, B17)."""
    run(UniversalMachine)


def test_tool_registry_is_a_view_with_an_overlay() -> None:
    """Any sequence of steps gives what dicts give, and no neighbour notices
    (S41, S42, S203).
    """
    run(ToolMachine)


def run(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


# --- from several threads ----------------------------------------------------------


@pytest.fixture(scope="module")
def _eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


Step = tuple[str, str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["register", "factory", "remove", "get", "tag"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 9),
    ),
    max_size=12,
)
THREADS = 4


def maker_of(number: int) -> Callable[[object], int]:
    return lambda _context: number


def play(registry: UniversalRegistry[Any], steps: list[Step], space: str) -> list[Any]:
    """Take the steps on keys of one's own; return every answer."""
    answers: list[Any] = []
    for action, letter, number in steps:
        key = f"{space}{letter}"
        try:
            if action == "register":
                registry.register(key, number, tags={space})
            elif action == "factory":
                registry.register_factory(key, maker_of(number), tags={space})
            elif action == "remove":
                answers.append(registry.remove(key))
            elif action == "get":
                answers.append(registry.get(key, "absent"))
            else:
                answers.append(sorted(registry.list_by_tag(space)))
        except DuplicateKeyError:
            answers.append("duplicate")
    return answers


@pytest.mark.usefixtures("_eager_switching")
@settings(max_examples=20, deadline=None)
@given(plans=st.lists(STEPS, min_size=THREADS, max_size=THREADS))
def test_threads_on_keys_of_their_own_do_not_notice_each_other(
    plans: list[list[Step]],
) -> None:
    """Each thread gets the answers it would get alone (S57, S13, S25)."""
    together = UniversalRegistry[Any]("R")
    start = threading.Barrier(THREADS)

    def one(number: int) -> list[Any]:
        start.wait(WAIT)
        return play(together, plans[number], f"{number}:")

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(one, range(THREADS)))
    alone = UniversalRegistry[Any]("R")
    expected = [play(alone, plans[n], f"{n}:") for n in range(THREADS)]
    assert answers == expected
    assert set(together.list_keys()) == set(alone.list_keys())
    ours, theirs = together.get_metrics(), alone.get_metrics()
    assert ours == theirs


@pytest.mark.usefixtures("_eager_switching")
@settings(max_examples=20, deadline=None)
@given(plans=st.lists(STEPS, min_size=THREADS, max_size=THREADS))
def test_threads_on_the_same_keys_leave_a_registry_that_is_whole(
    plans: list[list[Step]],
) -> None:
    """However they meet, a key is an item or a factory, listed once, counted once
    (S57, B14, B17, B18).
    """
    registry = UniversalRegistry[Any]("R")
    start = threading.Barrier(THREADS)

    def one(number: int) -> list[Any]:
        start.wait(WAIT)
        return play(registry, plans[number], "shared:")

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [a for part in pool.map(one, range(THREADS)) for a in part]
    keys = registry.list_keys()
    assert len(keys) == len(set(keys)) == len(registry)
    assert sorted(registry.list_by_tag("shared:")) == sorted(keys)
    metrics = registry.get_metrics()
    assert metrics["total_items"] + metrics["total_factories"] == len(keys)
    assert metrics["failed_registrations"] == answers.count("duplicate")
    steps = [step[0] for plan in plans for step in plan]
    attempts = steps.count("register") + steps.count("factory")
    assert metrics["registration_attempts"] == attempts
    removed = sum(answer is True for answer in answers)
    assert metrics["successful_registrations"] - removed == len(keys)
