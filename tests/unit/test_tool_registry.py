"""One user's registry: only tools, only instances, made once, closed with it."""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from tests.sample_tools import (
    AdminWipe,
    Echo,
    SettingsModel,
    Spend,
    Tally,
    Whoami,
    catalog_of,
    shout,
)
from tests.unit.hostile import hostile_text
from toolkit import ToolContract, UserContext
from toolkit.contract import Subject, Verdict, judge_pydantic_model
from toolkit.errors import (
    DuplicateKeyError,
    InvalidUserContextError,
    RegistrationRejectedError,
    RegistryClosedError,
    RegistryFrozenError,
    ToolConstructionError,
    ToolNotFoundError,
    UnknownRegistryTypeError,
)
from toolkit.naming import provider_safe_name
from toolkit.registry import UniversalRegistry
from toolkit.tool_registry import (
    ToolRegistry,
    create_scoped_registry,
    create_websocket_scoped_registry,
    near_names,
)

SCHEMA_TEXT = "BaseModel classes are data schemas, not executable tools"
THREADS = 16
WAIT = 5  # seconds; a bound, never reached when all is well

ANN = UserContext("ann")
BOB = UserContext("bob")


class Nameless:
    def execute(self) -> None: ...


class Idle:
    name = "idle"


class Inert:
    name = "inert"
    execute = 3


class Failing:
    name = "failing"

    def __init__(self) -> None:
        raise OSError("no such host: db.internal")


class Renamed(Echo):
    name = "other"


def over(*objects: object, user: UserContext = ANN) -> ToolRegistry:
    """A user's registry over a shared view of these tools."""
    view = catalog_of(*objects).view
    return ToolRegistry(user.user_id, view=view, user_context=user)


@pytest.fixture
def registry() -> ToolRegistry:
    return ToolRegistry("ann", user_context=ANN)


@pytest.fixture
def _eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# --- what may come in --------------------------------------------------------------


@pytest.mark.parametrize("schema", [Spend(), SettingsModel()], ids=["like", "unlike"])
def test_schema_is_refused_as_a_schema(registry: ToolRegistry, schema: object) -> None:
    """Even a schema with name and execute is no tool, and the text says so
    (S29, S30, S31, S36, B1).
    """
    with pytest.raises(ValueError, match=SCHEMA_TEXT) as caught:
        registry.register("spend_model", schema)
    assert str(caught.value).startswith("Validation failed for spend_model")
    assert registry.list_keys() == ()
    assert registry.get_metrics()["basemodel_rejections"] == 1


def test_schema_class_is_refused_as_a_schema(registry: ToolRegistry) -> None:
    """The true reason comes first: a schema, not merely a class (S88, S89, S90)."""
    with pytest.raises(RegistrationRejectedError, match=SCHEMA_TEXT) as caught:
        registry.register("spend_model", Spend)
    assert caught.value.reason == "pydantic_model"
    assert "metaclass" not in str(caught.value).lower()


def test_class_is_refused_where_an_instance_is_meant(registry: ToolRegistry) -> None:
    """A tool class is refused, named, and sent where it belongs (B4)."""
    with pytest.raises(RegistrationRejectedError) as caught:
        registry.register("echo", Echo)
    assert caught.value.reason == "class_not_instance"
    assert "class Echo is a class, not an instance" in str(caught.value)
    assert "create_user_tool_system(tool_classes=[...])" in str(caught.value)
    registry.register("echo", Echo())


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (Nameless(), "missing_name"),
        (Idle(), "missing_execute"),
        (Inert(), "execute_not_callable"),
        (print, "plain_function"),
        (None, "missing_execute"),
        ("echo", "missing_execute"),
        (ValueError("x"), "exception"),
    ],
    ids=["nameless", "idle", "inert", "function", "none", "text", "exception"],
)
def test_what_lacks_the_contract_is_refused_with_its_reason(
    registry: ToolRegistry, candidate: object, reason: str
) -> None:
    """Name and callable execute, both, or it is no tool (S34, S35, S36, B7, B9)."""
    with pytest.raises(RegistrationRejectedError) as caught:
        registry.register("thing", candidate)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("Validation failed for thing")
    assert registry.list_keys() == ()


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "a.b", "x" * 65, "é", "modelmetaclass", "type", None, 5]
)
def test_illegal_key_is_refused(registry: ToolRegistry, key: Any) -> None:
    """Names go by the rule of names, for tools and for factories
    (S10, S14, S32, S43, B5, B8).
    """
    with pytest.raises(RegistrationRejectedError) as caught:
        registry.register(key, Echo())
    assert caught.value.reason == "illegal_name"
    with pytest.raises(RegistrationRejectedError):
        registry.register_factory(key, lambda _user: Echo())
    assert registry.list_keys() == ()


def test_scoped_registry_is_as_strict_as_any(registry: ToolRegistry) -> None:
    """The check goes by the kind of registry, not by its name (B7)."""
    for strict in (registry, ToolRegistry(), ToolRegistry("ToolRegistryX")):
        with pytest.raises(RegistrationRejectedError):
            strict.register("idle", Idle())


def test_another_contract_can_be_injected_but_never_lets_schemas_in() -> None:
    """What counts as a tool is a policy; the rule against schemas is not (S2, B1)."""

    class Runner:
        name = "runner"

        def run(self) -> str:
            return "ran"

    def judge_nothing(subject: Subject) -> Verdict | None:
        return None

    runners = ToolRegistry("ann", contract=ToolContract(method="run"))
    runners.register("runner", Runner())
    with pytest.raises(RegistrationRejectedError):
        runners.register("echo", Echo())
    lax = ToolRegistry("ann", contract=ToolContract(rules=(judge_nothing,)))
    assert judge_pydantic_model in lax.contract.rules
    with pytest.raises(RegistrationRejectedError, match=SCHEMA_TEXT):
        lax.register("spend_model", Spend())


def test_instance_of_one_user_need_not_be_copyable(registry: ToolRegistry) -> None:
    """A connection or a lock in a user's own instance is no fault: it is used as it is
    (B4).
    """

    class Locked(Echo):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    own = Locked()
    registry.register("own", own)
    registry.register_factory("made", lambda _user: Locked())
    assert registry.get("own") is own
    assert isinstance(registry.get("made"), Locked)


# --- duplicates --------------------------------------------------------------------


def test_second_tool_of_a_name_is_refused(registry: ToolRegistry) -> None:
    """The first tool stays and works; the text names key and registry
    (S38, S39, S40, S44).
    """
    first = Echo()
    registry.register("echo", first)
    with pytest.raises(DuplicateKeyError) as caught:
        registry.register("echo", Echo())
    assert "echo already registered in ToolRegistry:ann" in str(caught.value)
    with pytest.raises(DuplicateKeyError) as caught:
        registry.register_factory("echo", lambda _user: Echo())
    assert "Factory echo already registered in ToolRegistry:ann" in str(caught.value)
    assert registry.get("echo") is first


def test_shared_tool_cannot_be_shadowed_silently() -> None:
    """A name of the shared view is taken, bare and qualified (S44, B6)."""
    registry = over(Echo)
    with pytest.raises(DuplicateKeyError, match="echo already registered"):
        registry.register("echo", Echo())
    assert registry.has("echo")
    assert registry.has("acme.echo")


def test_same_name_in_two_scopes_is_no_duplicate() -> None:
    """Each scope has names of its own (S11, S41, S42, S53)."""
    one, two = ToolRegistry("ann"), ToolRegistry("bob")
    mine, theirs = Echo(), Echo()
    one.register("echo", mine)
    two.register("echo", theirs)
    assert one.get("echo") is mine
    assert two.get("echo") is theirs
    one.remove("echo")
    assert two.has("echo")


# --- looking up --------------------------------------------------------------------


def test_unknown_name_is_answered_with_near_ones() -> None:
    """Near names come from this registry only."""
    registry = over(Echo, Tally)
    with pytest.raises(ToolNotFoundError) as caught:
        registry.find("ecco")
    assert caught.value.near == ("echo",)
    assert "Did you mean echo?" in str(caught.value)
    assert registry.get("ecco", "default") == "default"


@pytest.mark.parametrize("name", [None, 5, [], {}, b"echo"], ids=repr)
def test_name_that_is_no_text_is_an_unknown_name(name: Any) -> None:
    """Clients may send anything as a name; the answer is the same."""
    registry = over(Echo)
    with pytest.raises(ToolNotFoundError):
        registry.find(name)
    assert registry.get(name) is None


def test_very_long_name_is_compared_with_nothing() -> None:
    """Near names are not worth seconds of comparing."""
    assert near_names("echo" * 1000, ["echo"] * 3) == []


def test_name_that_was_asked_for_outlives_its_user_nowhere() -> None:
    """Near names are found without compiling it: `re` would keep it (B34)."""
    name = "canary_of_ann"  # nothing in it that a pattern would escape
    qualified = [f"acme__{name}", f"x__{name}_0123abcd"]
    assert near_names(name, qualified) == qualified
    caches = [vars(re).get(one, ()) for one in ("_cache", "_cache2")]
    assert caches[0]
    assert name not in repr([list(one) for one in caches])


def test_user_sees_shared_and_own_tools_sorted() -> None:
    """One list, by name, whatever the tools' origin."""
    registry = over(Tally, Echo)
    registry.register("mine", Renamed())
    assert [one.name for one in registry.tools()] == ["echo", "mine", "tally"]
    assert registry.list_keys() == ("echo", "tally", "mine")
    assert registry.list_by_tag("text") == ("echo", "mine")  # a tool's own tags count
    assert len(registry) == 3


def test_registered_tool_goes_by_its_key(registry: ToolRegistry) -> None:
    """The key is the name callers use; the qualified name keeps the tool's own."""
    registry.register("loud_echo", Echo())
    definition = registry.find("loud_echo").definition
    assert definition.name == "loud_echo"
    assert definition.qualified_name == "tests.echo"
    with pytest.raises(ToolNotFoundError):
        registry.find("echo")


def test_removed_shared_tool_is_gone_for_this_user_only() -> None:
    """Taking a shared tool away leaves the shared view as it was."""
    view = catalog_of(Echo, Tally).view
    one = ToolRegistry("ann", view=view, user_context=ANN)
    two = ToolRegistry("bob", view=view, user_context=BOB)
    assert one.remove("echo")
    assert not one.remove("echo")
    assert one.list_keys() == ("tally",)
    assert not one.has("acme.echo")
    assert one.list_by_tag("text") == ()
    with pytest.raises(ToolNotFoundError):
        one.find("acme.echo")
    assert two.list_keys() == ("echo", "tally")
    own = Echo()
    one.register("echo", own)
    assert one.get("echo") is own
    one.clear()
    assert one.list_keys() == ()
    assert two.has("tally")


def test_frozen_registry_keeps_its_shared_tools() -> None:
    """Freezing refuses taking away too, and tools still work."""
    registry = over(Echo)
    registry.freeze()
    for change in (registry.clear, lambda: registry.remove("echo")):
        with pytest.raises(RegistryFrozenError, match="'ToolRegistry:ann' is frozen"):
            change()
    assert isinstance(registry.get("echo"), Echo)


# --- instances ---------------------------------------------------------------------


def test_shared_tool_is_instantiated_at_first_use_once() -> None:
    """One instance per user, not before it is used, the same ever after (S13)."""
    registry = over(Whoami)
    assert registry.close() == []
    registry = over(Whoami)
    instance = registry.get("whoami")
    assert isinstance(instance, Whoami)
    assert instance.made_for == "ann"
    assert registry.get("acme.whoami") is instance
    assert registry.close() == [instance]


@pytest.mark.parametrize(
    "published", [Tally, Tally(), shout], ids=["class", "instance", "function"]
)
def test_two_users_never_share_an_instance(published: object) -> None:
    """Classes are instantiated, published instances and functions copied (S3, S13)."""
    view = catalog_of(published).view
    one = ToolRegistry("ann", view=view, user_context=ANN)
    two = ToolRegistry("bob", view=view, user_context=BOB)
    name = view.names()[0]
    assert one.get(name) is not two.get(name)
    assert published not in (one.get(name), two.get(name))


def test_constructor_that_fails_is_tried_again() -> None:
    """A failure names the tool but not its text, and leaves nothing made."""
    answers = iter([OSError("db.internal"), None])

    class Flaky(Echo):
        def __init__(self) -> None:
            error = next(answers)
            if error:
                raise error

    registry = over(Flaky)
    with pytest.raises(ToolConstructionError) as caught:
        registry.get("echo")
    assert "db.internal" not in str(caught.value)
    assert isinstance(registry.get("echo"), Flaky)


def test_view_needs_a_user() -> None:
    """Nobody's instances cannot be made."""
    with pytest.raises(InvalidUserContextError):
        ToolRegistry("ann", view=catalog_of(Echo).view)


def test_tool_that_was_taken_away_after_it_was_found_is_not_found() -> None:
    """A call that comes too late gets no copy of what was removed, whether it was
    registered, made by a factory, shared, or replaced meanwhile (B41).
    """
    registry = over(Tally)
    registry.register("own", Echo())
    registry.register_factory("made", lambda _user: Echo())
    found = [registry.find(name) for name in ("own", "made", "tally")]
    registry.clear()
    for listed in found:
        with pytest.raises(ToolNotFoundError, match=f"no tool named '{listed.name}'"):
            registry.instance(listed)
    registry.register_factory("own", lambda _user: Echo())
    registry.register("made", Echo())
    registry.get("own")
    for listed in found:
        with pytest.raises(ToolNotFoundError):
            registry.instance(listed)


@pytest.mark.parametrize("change", ["removed", "cleared"])
def test_shared_tool_that_is_removed_while_it_is_made_is_made_once(change: str) -> None:
    """Whoever is making it gets nothing, nobody makes it again, and closing ends the
    one there is (B41).
    """
    made: list[object] = []

    class Leaving(Echo):
        def __init__(self) -> None:
            made.append(self)
            take_away()

    def take_away() -> None:
        if change == "removed":
            registry.remove("echo")
        else:
            registry.clear()

    registry = over(Leaving)
    listed = registry.find("echo")
    for _ in range(2):
        with pytest.raises(ToolNotFoundError):
            registry.instance(listed)
    assert len(made) == 1
    assert registry.close() == made


def test_tool_that_is_removed_after_a_call_looked_is_not_made_again() -> None:
    """A thread that saw it just before it was removed makes no second one (B41)."""
    made: list[object] = []
    may_go, is_there = threading.Event(), threading.Event()

    class Slow(Echo):
        def __init__(self) -> None:
            made.append(self)
            is_there.set()
            assert may_go.wait(WAIT)

    registry = over(Slow)
    listed = registry.find("echo")
    outcomes: list[object] = []

    def call() -> None:
        try:
            outcomes.append(registry.instance(listed))
        except ToolNotFoundError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:  # the first makes it, the others wait for that
        thread.start()
    assert is_there.wait(WAIT)
    registry.remove("echo")
    may_go.set()
    for thread in threads:
        thread.join(WAIT)
    assert len(made) == 1
    assert {type(one) for one in outcomes} == {ToolNotFoundError}
    assert registry.close() == made


# --- factories ---------------------------------------------------------------------


@pytest.mark.parametrize("comes_back", [True, False], ids=["replaced", "gone"])
def test_factory_that_is_removed_while_it_makes_serves_nobody(
    registry: ToolRegistry,
    comes_back: bool,  # noqa: FBT001 - a case
) -> None:
    """What it made is closed at the end; another under its key makes its own (B41)."""
    old: list[object] = []

    def make(_user: UserContext) -> Echo:
        registry.remove("made")
        if comes_back:
            registry.register_factory("made", lambda _user: Renamed())
        old.append(Echo())
        return cast("Echo", old[-1])

    registry.register_factory("made", make)
    with pytest.raises(ToolNotFoundError):
        registry.find("made")
    new = registry.get("made")
    assert type(new) is (Renamed if comes_back else type(None))
    assert [one.name for one in registry.tools()] == ["made"] * comes_back
    assert set(registry.close()) == {*old, *([new] if comes_back else [])}


def test_factorys_tool_is_made_once_and_then_listed(registry: ToolRegistry) -> None:
    """The factory gets the user, runs at first use, and its tool is a tool like any."""
    asked: list[object] = []

    def make(user: UserContext) -> Echo:
        asked.append(user)
        return Echo()

    registry.register_factory("made", make)
    assert asked == []
    assert registry.tools() == ()
    assert registry.list_keys() == ("made",)
    assert registry.validate_health()["status"] == "healthy"
    first = registry.get("made")
    assert registry.get("made") is first
    assert asked == [ANN]
    assert [one.name for one in registry.tools()] == ["made"]
    assert registry.instance(registry.find("made")) is first
    assert registry.close() == [first]


@pytest.mark.parametrize(
    "product",
    [Spend(), Spend, Echo, Idle(), None],
    ids=["schema", "schema class", "tool class", "no tool", "nothing"],
)
def test_factory_makes_tools_or_nothing(
    registry: ToolRegistry, product: object
) -> None:
    """What a factory makes is judged by the same contract (S2, B2, B4)."""
    registry.register_factory("made", lambda _user: product)
    with pytest.raises(RegistrationRejectedError):
        registry.find("made")
    with pytest.raises(RegistrationRejectedError):
        registry.create_instance("made", ANN)
    assert registry.tools() == ()
    assert registry.close() == []


def test_new_factory_under_an_old_key_makes_its_own(registry: ToolRegistry) -> None:
    """What a removed factory made is used no more, and closed at the end."""
    registry.register_factory("made", lambda _user: Echo())
    old = registry.get("made")
    registry.remove("made")
    assert registry.get("made") is None
    registry.register_factory("made", lambda _user: Renamed())
    new = registry.get("made")
    assert type(new) is Renamed
    registry.clear()
    registry.register("made", Echo())
    assert type(registry.get("made")) is Echo
    assert set(registry.close()) == {old, new}


# --- closing -----------------------------------------------------------------------


def test_closing_gives_up_what_was_made_newest_first() -> None:
    """Only what this registry made is handed over; what was registered is not (B46)."""
    registry = over(Echo, Tally, Whoami)
    registry.register("mine", Renamed())
    registry.get("mine")
    made = [registry.get(name) for name in ("tally", "echo", "whoami")]
    assert registry.close() == made[::-1]
    assert registry.close() == []


@pytest.mark.parametrize(
    "use",
    [
        lambda r: r.find("echo"),
        lambda r: r.get("echo"),
        lambda r: r.tools(),
        lambda r: r.register("new", Echo()),
        lambda r: r.register_factory("new", lambda _user: Echo()),
        lambda r: r.remove("echo"),
        lambda r: r.clear(),
    ],
    ids=["find", "get", "tools", "register", "register_factory", "remove", "clear"],
)
def test_closed_registry_refuses_everything(use: Any) -> None:
    """A closed registry says so, and what to do (S12)."""
    registry = over(Echo)
    registry.close()
    with pytest.raises(RegistryClosedError, match="Create a new user tool system"):
        use(registry)
    assert registry.list_keys() == ()


def test_instance_that_is_made_during_closing_is_closed() -> None:
    """Closing does not wait for a slow constructor, and forgets nothing (S12, B41)."""
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow(Echo):
        def __init__(self) -> None:
            begun.set()
            assert go_on.wait(WAIT)

        def close(self) -> None:
            closed.set()

    registry = over(Slow)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(registry.get, "echo")
        assert begun.wait(WAIT)
        assert registry.close() == []
        go_on.set()
        with pytest.raises(RegistryClosedError):
            waiting.result(WAIT)
    assert closed.is_set()


# --- health ------------------------------------------------------------------------


def test_registry_without_tools_is_unhealthy(registry: ToolRegistry) -> None:
    """No tools is loud, and the worst status wins (B3, B17)."""
    with pytest.raises(RegistrationRejectedError):
        registry.register("spend_model", Spend())
    health = registry.validate_health()
    assert health["status"] == "unhealthy"
    assert health["issues"] == [
        "1 of 1 registrations were refused",
        "there are no tools; run `toolkit doctor`",
    ]
    assert (health["tool_count"], health["has_basemodel_tools"]) == (0, False)


def test_health_counts_the_tools_there_really_are() -> None:
    """The figures come from the tools themselves."""
    registry = over(Echo, Tally)
    registry.register("mine", Renamed())
    health = registry.validate_health()
    assert health["status"] == "healthy"
    assert health["tool_count"] == 3
    assert health["has_basemodel_tools"] is False


# --- scoped registries -------------------------------------------------------------


def test_scoped_registries_are_of_the_kind_asked_for() -> None:
    """The two kinds, each new at every call (S203, S204, S42)."""
    tools = create_scoped_registry("tool", "ann")
    anything = create_scoped_registry("universal", "ann")
    assert type(tools) is ToolRegistry
    assert type(anything) is UniversalRegistry
    assert tools.name == "ToolRegistry:ann"
    assert anything.name == "UniversalRegistry:ann"
    assert create_scoped_registry("tool", "ann") is not tools
    tools.register("echo", Echo())
    assert create_scoped_registry("tool", "ann").list_keys() == ()


def test_unknown_kind_of_registry_is_refused() -> None:
    """The text names the kind asked for and those there are."""
    with pytest.raises(ValueError, match="Unknown registry type: agent") as caught:
        create_scoped_registry("agent", "ann")
    assert isinstance(caught.value, UnknownRegistryTypeError)
    assert "Use one of tool, universal." in str(caught.value)


def test_connections_of_one_user_have_registries_of_their_own() -> None:
    """Two connections, even of one user, share nothing (S3, S42, S208)."""
    one = create_websocket_scoped_registry("ann")
    two = create_websocket_scoped_registry("ann")
    assert one.scope_id != two.scope_id
    one.register("echo", Echo())
    two.register("echo", Echo())
    assert one.get("echo") is not two.get("echo")
    named = create_websocket_scoped_registry("ann", connection_id="c1")
    assert named.scope_id == "ann:c1"


@pytest.mark.parametrize("user_id", ["", "  ", "anonymous", "undefined", "{user}"])
def test_connection_of_nobody_gets_no_registry(user_id: str) -> None:
    """A placeholder is no user."""
    with pytest.raises(InvalidUserContextError):
        create_websocket_scoped_registry(user_id)


# --- threads -----------------------------------------------------------------------


def _maker(cls: type[Echo]) -> Callable[[object], Echo]:
    return lambda _user: cls()


@pytest.mark.usefixtures("_eager_switching")
@pytest.mark.parametrize("kind", ["shared", "factory"])
def test_first_use_by_sixteen_threads_makes_one_instance(kind: str) -> None:
    """However many ask first, there is one instance (S13, S25, S57)."""
    for _ in range(5):
        made: list[object] = []

        class Tracked(Echo):
            def __init__(self, made: list[object] = made) -> None:
                made.append(self)

        if kind == "shared":
            registry = over(Tracked)
        else:
            registry = ToolRegistry("ann", user_context=ANN)
            registry.register_factory("echo", _maker(Tracked))
        start = threading.Barrier(THREADS)

        def first_use(
            _: int,
            registry: ToolRegistry = registry,
            start: threading.Barrier = start,
        ) -> object:
            start.wait(WAIT)
            return registry.get("echo")

        with ThreadPoolExecutor(THREADS) as pool:
            found = set(pool.map(first_use, range(THREADS)))
        assert len(made) == 1
        assert found == set(made)
        assert registry.close() == made


@pytest.mark.usefixtures("_eager_switching")
def test_of_sixteen_threads_that_register_one_tool_exactly_one_wins() -> None:
    """The rule of duplicates holds between threads (S25, S44, S57)."""
    registry = ToolRegistry("ann", user_context=ANN)
    start = threading.Barrier(THREADS)

    def attempt(_: int) -> bool:
        tool = Echo()
        start.wait(WAIT)
        try:
            registry.register("echo", tool)
        except DuplicateKeyError:
            return False
        return registry.get("echo") is tool

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(attempt, range(THREADS))) == 1
    assert registry.get_metrics()["failed_registrations"] == THREADS - 1


def test_slow_constructor_keeps_nobody_else_waiting() -> None:
    """Constructors run outside the lock: other tools are made meanwhile (B15)."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Echo):
        def __init__(self) -> None:
            begun.set()
            assert go_on.wait(WAIT)

    registry = over(Slow, Tally, AdminWipe)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(registry.get, "echo")
        assert begun.wait(WAIT)
        assert isinstance(pool.submit(registry.get, "tally").result(WAIT), Tally)
        assert registry.has("admin_wipe")
        assert len(registry.tools()) == 3
        go_on.set()
        assert isinstance(slow.result(WAIT), Slow)


@pytest.mark.parametrize("way", ["remove", "close"])
@pytest.mark.parametrize("kind", ["item", "factory"])
def test_tool_dies_after_the_lock_is_released(way: str, kind: str) -> None:
    """Clean-up code of a tool may ask the registry, in any thread (B15)."""
    registry = ToolRegistry("ann", user_context=ANN)
    was_free = []

    def use(done: threading.Event) -> None:
        registry.list_keys()
        done.set()

    class Mortal(Echo):
        def __call__(self, user: UserContext) -> Echo:
            return self

        def __del__(self) -> None:
            done = threading.Event()
            threading.Thread(target=use, args=(done,), daemon=True).start()
            was_free.append(done.wait(WAIT))

    register: Any = registry.register if kind == "item" else registry.register_factory
    register("echo", Mortal())
    if way == "remove":
        registry.remove("echo")
    registry.close()
    assert was_free == [True]


def test_name_of_another_text_class_is_its_plain_text(registry: ToolRegistry) -> None:
    """Of a name, nothing but its characters is asked (B15)."""
    name = hostile_text("echo")
    registry.register(name, Echo())
    assert registry.find(name) is registry.find("echo")
    assert registry.get(name) is registry.get("echo")
    assert [type(one) for one in registry.list_keys()] == [str]
    with pytest.raises(DuplicateKeyError, match="ECHO already registered in"):
        registry.register(hostile_text("ECHO"), Echo())
    assert near_names(hostile_text("ecco"), ["echo"]) == ["echo"]
    assert registry.remove(name)
    assert registry.list_keys() == ()


@pytest.mark.parametrize("key", [None, 5, [], {}, b"echo"], ids=repr)
def test_what_is_no_text_names_nothing(key: Any) -> None:
    """Nothing is asked of it, not even its hash."""
    registry = over(Echo)
    assert not registry.has(key)
    assert not registry.remove(key)
    assert registry.list_keys() == ("echo",)


def test_names_that_differ_in_case_only_are_one_name() -> None:
    """People and providers mix them up, so the second is refused (B6, S44)."""
    registry = over(Echo)
    with pytest.raises(DuplicateKeyError, match="ECHO already registered in"):
        registry.register("ECHO", Renamed())
    assert registry.list_keys() == ("echo",)


def test_contested_name_leads_to_the_tools_that_claim_it() -> None:
    """Whoever asks for a name that is nobody's learns what to call (B6, B9)."""
    listed = ["far__word_count", "slugify", "near__word_count", "word_counts"]
    expected = ["far__word_count", "near__word_count", "word_counts"]
    assert near_names("word_count", listed) == expected
    assert near_names("x" * 1_000_000, listed) == []


def test_contested_name_leads_to_claimants_whose_names_were_cleaned() -> None:
    """A qualified name that ends in a hash is found by its bare name too (B6, B9)."""
    listed = ["a__report_1a2b3c4d", "b__report_not_a_hash", "c__report"]
    expected = ["a__report_1a2b3c4d", "c__report"]
    assert near_names("report", listed)[:2] == expected
    assert near_names("r(", listed) == []
    cleaned = provider_safe_name("größe.report")
    assert near_names("report", [cleaned]) == [cleaned]
