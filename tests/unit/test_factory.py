"""From catalog to user systems: complete, isolated, owned, and closed in order."""

import asyncio
import gc
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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
from toolkit import Settings, ToolNotFoundError, UnifiedToolDispatcher, UserContext
from toolkit import factory as factory_module
from toolkit.errors import (
    FactoryClosedError,
    InvalidUserContextError,
    RegistryClosedError,
    ToolConstructionError,
    ToolExecutionError,
)
from toolkit.executors.choice import Executors
from toolkit.factory import UserContextToolFactory
from toolkit.testing import RecordingSink, make_user
from toolkit.tool_registry import ToolRegistry

WAIT = 5  # seconds; a bound, never reached when all is well
MANY = 100_000

ANN, BOB = make_user("ann"), make_user("bob")


class AnalyticsTool:
    """Adds figures up."""

    name = "analytics_tool"

    def execute(self, figures: list[float]) -> float:
        return sum(figures)


@pytest.fixture
def factory() -> Iterator[UserContextToolFactory]:
    made = UserContextToolFactory(catalog_of(Echo, Tally, Whoami, shout, AdminWipe))
    yield made
    made.close()


@pytest.fixture
def empty() -> Iterator[UserContextToolFactory]:
    made = UserContextToolFactory()
    yield made
    made.close()


# --- what a user gets --------------------------------------------------------------


def test_mixed_list_gives_a_system_of_its_tools(empty: UserContextToolFactory) -> None:
    """Tools come in, schemas stay out, by name and with reasons
    (S52, S98, S99, S100, S101, S102, S205, S212).
    """
    mixed = [Echo, Spend, AnalyticsTool, SettingsModel]
    with empty.create_user_tool_system(user_context=ANN, tool_classes=mixed) as system:
        names = [one.name for one in system.get_all_tools()]
        assert names == ["analytics_tool", "echo"]
        assert "modelmetaclass" not in names
        assert not any("model" in name for name in names)
        reasons = [error.reason for error in system.rejected]
        assert reasons == ["pydantic_model", "pydantic_model"]
        assert "Spend" in str(system.rejected[0])
        assert all("data schemas, not executable" in str(e) for e in system.rejected)


async def test_handle_runs_its_tool_through_the_dispatcher(
    factory: UserContextToolFactory,
) -> None:
    """A handle has a name and a description, and calls with all the checks (S212)."""
    with factory.create_user_tool_system(ANN) as system:
        handles = {str(one.name): one for one in system.get_all_tools()}
        assert list(handles) == ["echo", "shout", "tally", "whoami"]
        assert handles["echo"].description == "Say it again."
        assert await handles["echo"].execute(text="a") == "a"
        assert repr(handles["echo"]) == "<UserTool echo>"
        assert [one.name for one in system.definitions()] == list(handles)
        assert system.dispatcher.statistics()["calls"] == 1
        with pytest.raises(ToolNotFoundError):
            system.registry.find("admin_wipe")


@pytest.mark.parametrize(
    "candidate",
    [3, None, "echo", object(), Spend(), Exception, lambda: None],
    ids=["int", "none", "text", "object", "schema", "exception", "function"],
)
def test_one_bad_candidate_hides_no_good_one(
    empty: UserContextToolFactory, candidate: object
) -> None:
    """Whatever is handed in, the tools in it come through, the rest is named
    (S36, S98).
    """
    with empty.create_user_tool_system(ANN, [candidate, Echo]) as system:
        assert [one.name for one in system.get_all_tools()] == ["echo"]
        assert len(system.rejected) == 1


class Unhashable(type):
    __hash__ = None  # type: ignore[assignment]  # on purpose


class EqualToAll(type):
    def __eq__(cls, other: object) -> bool:
        return True

    def __hash__(cls) -> int:
        return 1


class Moody(metaclass=Unhashable):
    name = "moody"

    def execute(self) -> str:
        return "moody"


class TwinOne(metaclass=EqualToAll):
    name = "one"

    def execute(self) -> int:
        return 1


class TwinTwo(metaclass=EqualToAll):
    name = "two"

    def execute(self) -> int:
        return 2


class LyingInstance:
    """Says it is a class, in the way `isinstance` believes."""

    __class__ = type  # type: ignore[assignment]  # on purpose
    name = "liar"

    def execute(self) -> str:
        return "lied"


async def test_tricks_with_metaclasses_and_types_confuse_nobody(
    empty: UserContextToolFactory,
) -> None:
    """Classes go by identity and things by their real type, at every user anew."""
    tricky = [TwinOne, Moody, TwinTwo, LyingInstance(), Echo]
    for user in (ANN, BOB):
        with empty.create_user_tool_system(user, tricky) as system:
            for name, value in (("one", 1), ("two", 2), ("moody", "moody")):
                assert (await system.execute(name)).unwrap() == value
            assert (await system.execute("liar")).unwrap() == "lied"
            assert system.rejected == ()


@pytest.mark.parametrize("user", [None, "ann", {"user_id": "ann"}, object()])
def test_nobody_gets_no_system(empty: UserContextToolFactory, user: Any) -> None:
    """Who asks is a `UserContext`, nothing that looks like one."""
    with pytest.raises(InvalidUserContextError, match="cannot be read from"):
        empty.create_user_tool_system(user)
    assert empty.statistics()["open_systems"] == 0


def test_parts_can_be_exchanged() -> None:
    """Registry and dispatcher come from where the backend says, once per system
    (S53, B13).
    """
    made: list[object] = []

    class OwnRegistry(ToolRegistry):
        def __init__(self, scope_id: str, **parts: Any) -> None:
            super().__init__(scope_id, **parts)
            made.append(self)

    class OwnDispatcher(UnifiedToolDispatcher):
        def __init__(self, registry: ToolRegistry, **parts: Any) -> None:
            super().__init__(registry, **parts)
            made.append(self)

    factory = UserContextToolFactory(
        catalog_of(Echo), registry_factory=OwnRegistry, dispatcher_factory=OwnDispatcher
    )
    with factory.create_user_tool_system(ANN) as system:
        assert made == [system.registry, system.dispatcher]
        assert system.dispatcher.registry is system.registry
        assert str(system.registry.scope_id).startswith("ann:")


def test_what_fails_for_one_user_fails_for_no_other() -> None:
    """A broken part of one user poisons nothing that others use (B36)."""

    class Unlucky(ToolRegistry):
        def __init__(self, scope_id: str, **parts: Any) -> None:
            if scope_id.startswith("ann:"):
                raise OSError("no registry for ann")
            super().__init__(scope_id, **parts)

    factory = UserContextToolFactory(catalog_of(Echo), registry_factory=Unlucky)
    for _ in range(3):
        with pytest.raises(OSError, match="no registry for ann"):
            factory.create_user_tool_system(ANN)
        with factory.create_user_tool_system(BOB) as system:
            assert len(system.get_all_tools()) == 1
    assert factory.statistics()["open_systems"] == 0


# --- isolation ---------------------------------------------------------------------


@pytest.mark.parametrize("published", [Tally, Tally()], ids=["class", "instance"])
async def test_state_of_one_user_is_not_anothers(published: object) -> None:
    """Each counts their own calls, whether a class or an instance was published
    (S3, S13, S41, S42).
    """
    factory = UserContextToolFactory(catalog_of(published))
    async with (
        factory.create_user_tool_system(ANN) as ann,
        factory.create_user_tool_system(BOB) as bob,
        factory.create_user_tool_system(ANN) as ann_again,
    ):
        assert [(await ann.execute("tally")).unwrap() for _ in range(3)] == [1, 2, 3]
        assert (await bob.execute("tally")).unwrap() == 1
        assert (await ann_again.execute("tally")).unwrap() == 1
        instances = {id(one.registry.get("tally")) for one in (ann, bob, ann_again)}
        assert len(instances) == 3
        assert isinstance(published, type) or published.count == 0  # type: ignore[attr-defined]  # a Tally


def test_function_tools_are_copied_for_each_user() -> None:
    """Nobody can hang something on a shared function tool (S13)."""
    factory = UserContextToolFactory(catalog_of(shout))
    with (
        factory.create_user_tool_system(ANN) as ann,
        factory.create_user_tool_system(BOB) as bob,
    ):
        mine: Any = ann.registry.get("shout")
        mine.note = "ann's"
        assert not hasattr(bob.registry.get("shout"), "note")
        assert not hasattr(shout, "note")


async def test_tool_knows_whose_it_is(factory: UserContextToolFactory) -> None:
    """Constructor, injection and context all name the user of the system (B32)."""
    for user in (ANN, BOB):
        async with factory.create_user_tool_system(user) as system:
            names = (await system.execute("whoami")).unwrap()
            assert names == [user.user_id] * 3


def test_instances_of_tools_given_to_one_user_are_copied_too(
    empty: UserContextToolFactory,
) -> None:
    """An instance among `tool_classes` is a recipe, not something to share (B4)."""
    shared = Tally()
    with empty.create_user_tool_system(ANN, [shared]) as system:
        assert system.registry.get("tally") is not shared


async def test_constructor_that_fails_for_one_user_works_for_another() -> None:
    """One user's trouble is theirs alone (B36)."""

    class Picky(Echo):
        def __init__(self, user: UserContext) -> None:
            if user.user_id == "ann":
                raise OSError("no home folder")

    factory = UserContextToolFactory(catalog_of(Picky))
    async with (
        factory.create_user_tool_system(ANN) as ann,
        factory.create_user_tool_system(BOB) as bob,
    ):
        refused = await ann.execute("echo", {"text": "a"})
        assert isinstance(refused.error, ToolConstructionError)
        assert (await bob.execute("echo", {"text": "a"})).ok
    factory.close()


async def test_no_scopes_no_call_whoever_made_the_dispatcher(
    factory: UserContextToolFactory,
) -> None:
    """Every system guards by the tool's own scopes; roles bring them by the
    operator's word only (B58, B59).
    """
    with factory.create_user_tool_system(make_user(roles={"admin"})) as system:
        assert not (await system.execute("admin_wipe")).ok
    settings = Settings(role_scopes={"admin": frozenset({"admin:wipe"})})
    brought = UserContextToolFactory(catalog_of(AdminWipe), settings=settings)
    with brought.create_user_tool_system(make_user(roles={"admin"})) as system:
        assert (await system.execute("admin_wipe")).unwrap() == "wiped"
    brought.close()


# --- views and names ---------------------------------------------------------------


def test_equal_scopes_share_one_view(factory: UserContextToolFactory) -> None:
    """A view is kept per set of scopes that matter, not per user (B54)."""
    for number in range(20):
        scopes = {f"irrelevant:{number}"}
        factory.create_user_tool_system(make_user(scopes=scopes)).close()
    assert factory.statistics()["views"] == 1
    admin = make_user(scopes={"admin:wipe"})
    with factory.create_user_tool_system(admin) as system:
        assert system.registry.has("admin_wipe")
    assert factory.statistics()["views"] == 2


def test_number_of_views_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used goes first; its users notice nothing (B47)."""
    monkeypatch.setattr(factory_module, "MAX_VIEWS", 2)
    guarded = []
    for letter in "abc":

        class Guarded(Echo):
            name = f"echo_{letter}"
            required_scopes = frozenset({letter})

        guarded.append(Guarded)
    factory = UserContextToolFactory(catalog_of(*guarded))
    systems = [factory.create_user_tool_system(make_user(scopes=s)) for s in "abc"]
    assert factory.statistics()["views"] == 2
    for letter, system in zip("abc", systems, strict=True):
        assert [one.name for one in system.get_all_tools()] == [f"echo_{letter}"]
        system.close()


@pytest.mark.parametrize("asked", ["admin_wipe", "acme.admin_wipe", "admin_wip"])
async def test_invisible_tool_does_not_exist(
    factory: UserContextToolFactory, asked: str
) -> None:
    """The same answer, field for field, as where there is no such tool at all
    (S3, B26, B58).
    """
    without = UserContextToolFactory(catalog_of(Echo, Tally, Whoami, shout))
    answers: list[tuple[object, ...]] = []
    for one in (factory, without):
        events = RecordingSink()
        with one.create_user_tool_system(ANN, sinks=[events]) as system:
            result = await system.execute(asked, {"any": "thing"})
            error = result.error
            assert isinstance(error, ToolNotFoundError)
            answers.append((type(error), error.args, str(error), error.__cause__))
            answers.append((result.ok, result.tool, result.value, result.truncated))
            answers.append((system.registry.list_keys(), events.events))
            answers.append((system.registry.has(asked), system.collisions))
            answers.append((system.registry.get(asked), len(system.definitions())))
    assert answers[:5] == answers[5:]


def test_own_tools_are_settled_with_the_shared_ones(
    factory: UserContextToolFactory,
) -> None:
    """A name that collides once a user's own tools join is nobody's there, and
    unchanged elsewhere (S44, B6).
    """

    class Echo2(Echo):
        pass

    with (
        factory.create_user_tool_system(ANN, [Echo2]) as ann,
        factory.create_user_tool_system(BOB) as bob,
    ):
        names = [one.name for one in ann.get_all_tools() if "echo" in one.name]
        assert names == ["acme__echo", "tests__echo"]
        assert not ann.registry.has("echo")
        assert ann.registry.has("acme.echo")
        assert ann.registry.has("tests.echo")
        assert [str(one.name) for one in ann.collisions] == ["echo"]
        assert bob.registry.has("echo")
        assert bob.collisions == ()


def test_invisible_tool_takes_no_name_away(factory: UserContextToolFactory) -> None:
    """What a user may not see cannot be noticed by a collision either (S3)."""

    class MyWipe(Echo):
        name = "admin_wipe"

    with factory.create_user_tool_system(ANN, [MyWipe]) as system:
        assert system.registry.has("admin_wipe")
        assert system.collisions == ()
    admin = make_user(scopes={"admin:wipe"})
    with factory.create_user_tool_system(admin, [MyWipe]) as system:
        assert not system.registry.has("admin_wipe")
        assert len(system.collisions) == 1


# --- closing -----------------------------------------------------------------------


def closing(log: list[str], label: str, way: str) -> type[Any]:
    """Make a tool class whose clean-up is logged; `way` says how it cleans up."""

    class Closing:
        name = label

        def execute(self) -> str:
            return label

    def close(self: object) -> None:
        log.append(label)

    async def aclose(self: object) -> None:
        await asyncio.sleep(0)
        log.append(label)

    if way == "async close":
        Closing.close = aclose  # type: ignore[attr-defined]  # made here
    else:
        setattr(Closing, way, close if way == "close" else aclose)
    return Closing


WAYS = ("close", "aclose", "async close")


@pytest.mark.parametrize("way", WAYS)
def test_closing_runs_clean_ups_newest_first(way: str) -> None:
    """Only of what was used, each once, in the reverse order of making (S12)."""
    log: list[str] = []
    kinds = [closing(log, label, way) for label in "abcd"]
    factory = UserContextToolFactory(catalog_of(*kinds))
    with factory.create_user_tool_system(ANN) as system:
        for name in "cab":
            system.registry.get(name)
    assert log == ["b", "a", "c"]
    system.close()
    assert log == ["b", "a", "c"]
    assert system.is_closed


async def test_async_closing_keeps_the_order_among_all_kinds() -> None:
    """Newest first holds across sync and async clean-ups (S12, B41)."""
    log: list[str] = []
    kinds = [
        closing(log, label, way)
        for label, way in zip("abcd", (*WAYS, "aclose"), strict=True)
    ]
    factory = UserContextToolFactory(catalog_of(*kinds))
    async with factory.create_user_tool_system(ANN) as system:
        for name in "abcd":
            system.registry.get(name)
    assert log == ["d", "c", "b", "a"]
    await system.aclose()
    assert len(log) == 4


async def test_sync_closing_in_a_loop_names_what_it_could_not_close() -> None:
    """An async clean-up that cannot run is a warning, not a silence (S28)."""
    log: list[str] = []
    factory = UserContextToolFactory(catalog_of(closing(log, "a", "aclose")))
    system = factory.create_user_tool_system(ANN)
    system.registry.get("a")
    with pytest.warns(ResourceWarning, match=r"Closing clean up with aclose\(\)"):
        system.close()
    assert log == []


def test_clean_up_that_fails_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each failure is logged; the others still run."""
    log: list[str] = []

    class Failing(Echo):
        def close(self) -> None:
            raise OSError("cannot close")

    class FailingLater(Tally):
        async def aclose(self) -> None:
            raise OSError("cannot close")

    kinds = [closing(log, "a", "close"), Failing, FailingLater]
    factory = UserContextToolFactory(catalog_of(*kinds))
    with factory.create_user_tool_system(ANN) as system:
        for name in ("a", "echo", "tally"):
            system.registry.get(name)
    assert log == ["a"]
    assert [one.getMessage() for one in caplog.records] == [
        "close of Failing failed",
        "aclose of FailingLater failed",
    ]


def test_forgotten_close_is_a_resource_warning() -> None:
    """It says so, names the user, and still closes what it can (B41)."""
    log: list[str] = []
    factory = UserContextToolFactory(catalog_of(closing(log, "a", "close")))
    system = factory.create_user_tool_system(ANN)
    system.registry.get("a")
    with pytest.warns(ResourceWarning, match="system of 'ann' was never closed"):
        del system  # the last reference: it is collected here
    assert log == ["a"]
    assert factory.registry_count("ann") == 0


async def test_closed_system_says_so(factory: UserContextToolFactory) -> None:
    """Every use of a closed system is refused in the same words."""
    system = factory.create_user_tool_system(ANN)
    assert repr(system) == "<UserToolSystem of 'ann', 4 tools>"
    await system.aclose()
    assert repr(system) == "<UserToolSystem of 'ann', closed>"
    result = await system.execute("echo", {"text": "a"})
    assert isinstance(result.error, RegistryClosedError)
    for use in (system.get_all_tools, system.definitions):
        with pytest.raises(RegistryClosedError, match="Create a new user tool system"):
            use()


def test_sixteen_threads_that_close_a_system_close_it_once() -> None:
    """Each clean-up runs once, and the count of open systems stays true (B17, B49)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    log: list[str] = []
    factory = UserContextToolFactory(catalog_of(closing(log, "a", "close")))
    try:
        with factory.create_user_tool_system(ANN):
            for _ in range(5):
                system = factory.create_user_tool_system(ANN)
                system.registry.get("a")
                start = threading.Barrier(16)

                def close(
                    _: int,
                    start: threading.Barrier = start,
                    close: Callable[[], None] = system.close,
                ) -> None:
                    start.wait(WAIT)
                    close()

                with ThreadPoolExecutor(16) as pool:
                    list(pool.map(close, range(16)))
                assert factory.registry_count("ann") == 1
        assert log == ["a"] * 5
        assert factory.statistics()["open_systems"] == 0
    finally:
        sys.setswitchinterval(before)


# --- owning and counting -----------------------------------------------------------


def test_system_closes_only_what_it_created() -> None:
    """What was registered from outside, and executors handed in, stay open (B46)."""
    closed: list[str] = []

    class Mine(Echo):
        def close(self) -> None:
            closed.append("mine")

    executors = Executors(Settings(max_threads=1))
    factory = UserContextToolFactory(executors=executors)
    with factory.create_user_tool_system(ANN) as system:
        system.registry.register("echo", Mine())
        assert isinstance(system.registry.get("echo"), Mine)
    factory.close()
    assert closed == []

    with UserContextToolFactory(executors=executors).create_user_tool_system(
        ANN, [shout]
    ) as system:
        call = system.execute("shout", {"text": "open"})
        assert asyncio.run(asyncio.wait_for(call, WAIT)).unwrap() == "OPEN"
    executors.close()


def test_registries_of_a_user_are_counted(factory: UserContextToolFactory) -> None:
    """The count per user is a metric, and one system is one registry (S11, B13)."""
    with factory.create_user_tool_system(ANN):
        assert factory.registry_count("ann") == 1
        with factory.create_user_tool_system(ANN), factory.create_user_tool_system(BOB):
            statistics = factory.statistics()
            assert statistics["registry_count_per_user"] == 2
            assert statistics["open_systems"] == 3
            assert statistics["users"] == 2
    assert factory.statistics()["registry_count_per_user"] == 0
    assert factory.registry_count("ann") == 0


@pytest.mark.integration
def test_ids_of_a_hundred_thousand_systems_never_collide(
    empty: UserContextToolFactory,
) -> None:
    """Ids are whole random ones: no clock, no first eight letters
    (B39, B45, B57).
    """
    user = make_user("user_123456")
    ids = set()
    for _ in range(MANY // 2):
        system = empty.create_user_tool_system(user)
        ids.add(system.correlation_id)
        ids.add(str(system.registry.scope_id))
        system.close()
    assert len(ids) == MANY
    assert min(map(len, ids)) >= 32  # 128 bits; eight letters would meet by chance


def test_class_made_for_one_user_does_not_outlive_them(
    empty: UserContextToolFactory,
) -> None:
    """The factory compiles a class once and keeps it no longer than others do
    (B41, B47).
    """

    class Passing(Echo):
        pass

    watch = weakref.ref(Passing)
    for user in (ANN, BOB):
        empty.create_user_tool_system(user, [Passing]).close()
    del Passing
    gc.collect()
    assert watch() is None


def test_class_is_compiled_once_for_all_users(empty: UserContextToolFactory) -> None:
    """The second user of a class pays nothing for its schema (B54)."""
    signatures = set()
    for number in range(5):
        user = make_user(f"user{number}")
        with empty.create_user_tool_system(user, [Echo]) as system:
            signatures.add(system.registry.find("echo").tool.signature)
    assert len(signatures) == 1


async def test_handle_raises_the_error_of_its_call(
    empty: UserContextToolFactory,
) -> None:
    """A handle is for code that wants a value or an exception (B23)."""

    class Failing(Echo):
        def execute(self, text: str) -> str:
            raise OSError(text)

    with empty.create_user_tool_system(ANN, [Failing]) as system:
        handle = system.get_all_tools()[0]
        with pytest.raises(ToolExecutionError):
            await handle.execute(text="a")


def test_creating_a_system_imports_nothing_and_warns_of_nothing(
    factory: UserContextToolFactory,
) -> None:
    """Everything is ready before the first user comes (B55)."""
    factory.create_user_tool_system(ANN).close()
    before = set(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factory.create_user_tool_system(BOB).close()
    assert set(sys.modules) == before


async def test_user_who_may_have_refusals_explained_is_told_of_catalog_tools() -> None:
    """With the scope, a hidden tool of the catalog says which rule hides it (B58)."""
    catalog = catalog_of(AdminWipe)
    hidden = {"bob": "tool_not_found", "eve": "tool_access_denied"}
    scopes = {"bob": frozenset[str](), "eve": frozenset({"toolkit:explain"})}
    factory = UserContextToolFactory(catalog)
    for user, code in hidden.items():
        who = UserContext(user, scopes=scopes[user])
        async with factory.create_user_tool_system(who) as system:
            for name in (AdminWipe.name, catalog.definitions()[0].qualified_name):
                error = (await system.execute(name)).error
                assert error is not None
                assert error.code == code
                assert ("needs the scope" in str(error)) is (user == "eve")
            assert system.get_all_tools() == ()
    factory.close()


def test_closed_factory_makes_no_more_systems() -> None:
    """A system without worker threads would blame every sync tool for it (B10)."""
    factory = UserContextToolFactory(catalog_of(AdminWipe))
    factory.close()
    with pytest.raises(FactoryClosedError, match="the toolkit is closed"):
        factory.create_user_tool_system(ANN)


def test_tool_that_is_handed_in_twice_or_published_already_is_one_tool() -> None:
    """The same object does not collide with itself, as in discovery (B6)."""
    factory = UserContextToolFactory(catalog_of(Echo))
    mine = Tally()
    with factory.create_user_tool_system(
        ANN, [AnalyticsTool, Echo, AnalyticsTool, mine, mine]
    ) as system:
        names = [one.name for one in system.definitions()]
        assert names == ["analytics_tool", Echo.name, Tally.name]
        assert system.collisions == ()
        assert system.rejected == ()
    factory.close()


class Namesake(AnalyticsTool):
    """Another of the same name and place."""


@pytest.mark.parametrize("kind", ["name", "qualified_name"])
@pytest.mark.parametrize("case", [str, str.upper], ids=["as printed", "upper case"])
@pytest.mark.parametrize("setting", ["deny_tools", "allow_tools"])
@pytest.mark.parametrize("is_published", [True, False])
async def test_lists_take_every_name_that_is_printed(
    *, kind: str, case: Callable[[str], str], setting: str, is_published: bool
) -> None:
    """A hashed name in a list means the one tool that is listed so (B58)."""
    classes = [AnalyticsTool, Namesake]
    catalog = catalog_of(*classes) if is_published else None
    handed_in = None if is_published else classes

    def names(settings: Settings | None = None) -> dict[str, str]:
        factory = UserContextToolFactory(catalog, settings=settings)
        with factory.create_user_tool_system(ANN, handed_in) as system:
            shown = {getattr(d, kind): str(d.name) for d in system.definitions()}
            assert system.registry.list_keys() == tuple(sorted(shown.values()))
        factory.close()
        return shown

    printed = names()
    assert len(printed) == 2
    for name in printed:
        meant: dict[str, Any] = {setting: frozenset({case(name)})}
        left = names(Settings(**meant))
        assert (name in left) is (setting == "allow_tools")
        assert len(left) == 1


async def test_lists_hold_for_the_key_a_tool_is_registered_under() -> None:
    """At the call, the name in the registry counts as well (B58)."""
    factory = UserContextToolFactory(settings=Settings(deny_tools=frozenset({"KEY"})))
    async with factory.create_user_tool_system(ANN) as system:
        system.registry.register("key", Echo())
        error = (await system.execute("key", {"text": "a"})).error
        assert error is not None
        assert error.code == "tool_not_found"
        assert system.get_all_tools() == ()
    factory.close()


def test_own_tool_off_the_allow_list_contests_no_name() -> None:
    """What nobody gets takes no name from what is allowed (B6, B58)."""
    catalog = catalog_of(AnalyticsTool)
    published = catalog.definitions()[0].qualified_name
    allowed = Settings(allow_tools=frozenset({published}))
    other = type("Elsewhere", (AnalyticsTool,), {"__module__": "elsewhere"})
    factory = UserContextToolFactory(catalog, settings=allowed)
    with factory.create_user_tool_system(ANN, [other]) as system:
        assert [one.name for one in system.definitions()] == ["analytics_tool"]
    factory.close()
