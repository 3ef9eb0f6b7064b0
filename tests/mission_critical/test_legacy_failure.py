"""The staging failure: reproduced, caught by every guard, impossible in the product.

Expected on the broken state: every guard here fails, with the text of that day.
Expected now: every guard passes on the product (S166).
"""

import ast
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import toolkit
from tests.legacy_mode import (
    HANDLER_PREFIX,
    STAGING_TEXT,
    Backend,
    LegacyBackend,
    LegacyRegistry,
    ProductBackend,
    Remedies,
    legacy_name,
)
from tests.sample_tools import Echo, Tally, catalog_of
from toolkit import (
    RejectionReason,
    Settings,
    Toolkit,
    UniversalRegistry,
    UserContextToolFactory,
    adapt_tool,
    create_scoped_registry,
    create_websocket_scoped_registry,
    discover,
)
from toolkit.compiler import compile_tool
from toolkit.errors import InvalidToolError, RegistrationRejectedError
from toolkit.testing import make_user
from toolkit.tool_registry import ToolRegistry

SCHEMA_TEXT = "BaseModel classes are data schemas, not executable tools"


class AskModel(BaseModel):
    question: str = ""


class AnswerModel(BaseModel):
    answer: str = ""


TOOLS = (Echo, AskModel, Tally, AnswerModel)
"""What the old backend was given: two tools, and two schemas by mistake."""


# --- guards: each a sentence about what users need -----------------------------------


def guard_first_user_connects(backend: Backend) -> None:
    """Somebody can connect at all."""
    with backend.connect("ann") as connection:
        assert {"echo", "tally"} <= set(connection.names())


def guard_no_schema_is_a_tool(backend: Backend) -> None:
    """What is listed are tools, by their own names."""
    with backend.connect("ann") as connection:
        assert connection.names() == ["echo", "tally"]


def guard_second_user_connects(backend: Backend) -> None:
    """While one user is connected, another connects."""
    with backend.connect("ann") as ann, backend.connect("bob") as bob:
        assert ann.names() == bob.names() == ["echo", "tally"]


def guard_user_reconnects(backend: Backend) -> None:
    """Whoever leaves can come back, as often as they like."""
    for _ in range(3):
        with backend.connect("ann") as connection:
            assert connection.names() == ["echo", "tally"]


def guard_three_users_at_once(backend: Backend) -> None:
    """Three connect at the same time, and nobody is refused."""

    def visit(user_id: str) -> list[str]:
        with backend.connect(user_id) as connection:
            return connection.names()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(visit, ("ann", "bob", "cyd"))) == [["echo", "tally"]] * 3


def guard_users_share_no_instance(backend: Backend) -> None:
    """What one user's call runs on is not what another's runs on."""
    with backend.connect("ann") as ann, backend.connect("bob") as bob:
        assert ann.instance("tally") is not bob.instance("tally")


CONNECTING = (
    guard_first_user_connects,
    guard_no_schema_is_a_tool,
    guard_second_user_connects,
    guard_user_reconnects,
    guard_three_users_at_once,
)
GUARDS = (*CONNECTING, guard_users_share_no_instance)

Guard = Callable[[Backend], None]


def by_name(guard: Guard) -> str:
    return guard.__name__.removeprefix("guard_")


# --- the failure itself --------------------------------------------------------------


def test_broken_backend_fails_with_the_very_text_of_staging() -> None:
    """Unfiltered and unscoped, the first connection already fails, word for word
    (S1, S5, S14, S82).
    """
    with pytest.raises(ValueError, match="already registered") as caught:
        LegacyBackend(TOOLS).connect("ann")
    assert str(caught.value) == f"{HANDLER_PREFIX}{STAGING_TEXT}"
    assert STAGING_TEXT in str(caught.value)
    assert "modelmetaclass" in str(caught.value)


def test_cause_is_the_name_of_the_schemas_own_class() -> None:
    """Every schema class asks for one name, which is why two of them clash
    (S10, S34, B5).
    """
    assert legacy_name(AskModel) == legacy_name(AnswerModel) == "modelmetaclass"
    registry = LegacyRegistry()
    registry.register(AskModel)
    with pytest.raises(ValueError, match=f"^{STAGING_TEXT}$"):
        registry.register(AnswerModel)


@pytest.mark.parametrize("guard", GUARDS, ids=by_name)
def test_every_guard_fails_on_the_broken_state(guard: Guard) -> None:
    """A guard that could not fail would guard nothing; each names the pattern
    (S5, S18, S167, B68).
    """
    with pytest.raises(ValueError, match=STAGING_TEXT):
        guard(LegacyBackend(TOOLS))


@pytest.mark.parametrize("guard", GUARDS, ids=by_name)
def test_every_guard_passes_on_the_product(guard: Guard) -> None:
    """The same guards, the same tools, the product (S3, S6, S7)."""
    backend = ProductBackend(TOOLS)
    guard(backend)
    assert backend.factory.statistics()["open_systems"] == 0


# --- the three remedies, one by one --------------------------------------------------

CLASH = "echo already registered in ToolRegistry"

FAILS: dict[Remedies, tuple[tuple[Guard, ...], str]] = {
    # remedies in place: the guards that still fail, and with what
    Remedies(): (CONNECTING, STAGING_TEXT),
    Remedies(has_scopes=True): (CONNECTING, STAGING_TEXT),
    Remedies(has_cleanup=True): (CONNECTING, STAGING_TEXT),
    Remedies(has_scopes=True, has_cleanup=True): (CONNECTING, STAGING_TEXT),
    Remedies(has_filter=True): (CONNECTING[2:], CLASH),
    Remedies(has_filter=True, has_cleanup=True): ((guard_second_user_connects,), CLASH),
    Remedies(has_filter=True, has_scopes=True): ((guard_user_reconnects,), CLASH),
    Remedies(has_filter=True, has_scopes=True, has_cleanup=True): ((), CLASH),
}
BY_LUCK = (Remedies(has_filter=True, has_cleanup=True), guard_three_users_at_once)
"""Without scopes, three at once pass or fail as their threads happen to meet."""


def label_of(remedies: Remedies) -> str:
    names = [name for name, is_on in vars(remedies).items() if is_on]
    return " and ".join(names).replace("has_", "") or "none"


@pytest.mark.parametrize("remedies", FAILS, ids=label_of)
def test_each_remedy_holds_its_part_and_no_other(remedies: Remedies) -> None:
    """The filter lets the first user in, scopes the second, clean-up whoever comes
    back; without one of them a guard fails (S5, S6, S11, S12, S168, S169, S170).
    """
    failing, text = FAILS[remedies]
    for guard in CONNECTING:
        backend = LegacyBackend(TOOLS, remedies)
        if guard in failing:
            with pytest.raises(ValueError, match=text):
                guard(backend)
        elif (remedies, guard) != BY_LUCK:
            guard(backend)


def test_remedies_of_the_old_backend_do_not_keep_users_apart() -> None:
    """Even then all users ran on the same objects: instances of one's own are what
    the product adds (S13, B32).
    """
    remedies = Remedies(has_filter=True, has_scopes=True, has_cleanup=True)
    with pytest.raises(AssertionError):
        guard_users_share_no_instance(LegacyBackend(TOOLS, remedies))


# --- the product: every way in -------------------------------------------------------


def refused_by_registry(schema: Any) -> str:
    with pytest.raises(RegistrationRejectedError) as caught:
        ToolRegistry("ann").register("ask_model", schema)
    return str(caught.value)


def refused_by_generic_registry(schema: Any) -> str:
    with pytest.raises(RegistrationRejectedError) as caught:
        UniversalRegistry[Any]("TestRegistry").register("ask_model", schema)
    return str(caught.value)


def refused_by_connection_registry(schema: Any) -> str:
    with pytest.raises(RegistrationRejectedError) as caught:
        create_websocket_scoped_registry("ann").register("ask_model", schema)
    return str(caught.value)


def refused_by_scoped_registry(schema: Any) -> str:
    with pytest.raises(RegistrationRejectedError) as caught:
        create_scoped_registry("tool", "ann").register("ask_model", schema)
    return str(caught.value)


def refused_as_factory(schema: Any) -> str:
    with pytest.raises(RegistrationRejectedError) as caught:
        ToolRegistry("ann").register_factory("ask_model", schema)
    return str(caught.value)


def refused_as_product(schema: Any) -> str:
    registry = ToolRegistry("ann")
    registry.register_factory("ask_model", lambda _user: schema)
    with pytest.raises(RegistrationRejectedError) as caught:
        registry.find("ask_model")
    return str(caught.value)


def refused_as_tool_class(schema: Any) -> str:
    factory = UserContextToolFactory()
    with factory.create_user_tool_system(make_user(), [schema]) as system:
        assert system.get_all_tools() == ()
        return str(system.rejected[0])


def refused_by_discovery(schema: Any) -> str:
    catalog, report = discover(Settings(allow=frozenset()), objects=[schema])
    assert len(catalog) == 0
    return report.rejected[0].detail


def refused_by_compiler(schema: Any) -> str:
    with pytest.raises(InvalidToolError) as caught:
        compile_tool(schema)
    return str(caught.value)


WAYS_IN = (
    refused_by_registry,
    refused_by_generic_registry,
    refused_by_connection_registry,
    refused_by_scoped_registry,
    refused_as_factory,
    refused_as_product,
    refused_as_tool_class,
    refused_by_discovery,
    refused_by_compiler,
)


@pytest.mark.parametrize("schema", [AskModel, AskModel()], ids=["class", "instance"])
@pytest.mark.parametrize("way", WAYS_IN, ids=lambda way: way.__name__)
def test_every_way_in_refuses_schemas_in_the_same_words(
    way: Callable[[Any], str], schema: object
) -> None:
    """All pathways are listed here, and one judge stands at each
    (S2, S9, S22, S31, S150, B1, B2).
    """
    text = way(schema)
    assert SCHEMA_TEXT in text
    assert "metaclass" not in text.lower()


def test_tool_that_is_a_schema_comes_in_by_declaration_only() -> None:
    """An explicit adapter is the one way for another framework's tools (B3)."""

    class FrameworkTool(BaseModel):
        name: str = "framework_tool"

        def invoke(self, text: str) -> str:
            return text

    factory = UserContextToolFactory()
    mixed = [FrameworkTool(), adapt_tool(FrameworkTool(), method="invoke")]
    with factory.create_user_tool_system(make_user(), mixed) as system:
        assert [one.name for one in system.get_all_tools()] == ["framework_tool"]
        reason = RejectionReason.PYDANTIC_MODEL
        assert [one.reason for one in system.rejected] == [reason]


def test_registry_cannot_say_the_sentence_of_that_day() -> None:
    """No tool can have the name it needs, so no registry of tools can say it
    (S10, S14, S32, S43).
    """
    for name in ("modelmetaclass", "ModelMetaclass", "MODELMETACLASS"):
        registry = ToolRegistry()
        for _ in range(2):
            with pytest.raises(RegistrationRejectedError) as caught:
                registry.register(name, Echo())
            assert "already registered" not in str(caught.value)
        with pytest.raises(RegistrationRejectedError):
            registry.register_factory(name, lambda _user: Echo())


def test_dangerous_naming_pattern_is_nowhere_in_the_product() -> None:
    """No code makes a name of the lower-cased class of an object (S33, S152, B5)."""
    root = Path(toolkit.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert len(files) > 20
    pattern = re.compile(
        r"(type\([^()]*\)|__class__)\.__(qual)?name__\.(lower|casefold)"
    )
    for file in files:
        code = ast.unparse(ast.parse(file.read_text(encoding="utf-8")))
        assert not pattern.search(code), file.name
    assert pattern.search("type(tool).__name__.lower()")


def test_many_dispatchers_never_make_conflicting_registries() -> None:
    """One registry per dispatcher, each in a scope of its own (S11, S23, S53, B13)."""
    factory = UserContextToolFactory(catalog_of(Echo, Tally))
    users = [make_user(f"user{number}") for number in range(20)]
    systems = [factory.create_user_tool_system(user) for user in users]
    assert len({one.registry.scope_id for one in systems}) == 20
    assert len({id(one.registry) for one in systems}) == 20
    assert factory.statistics()["registry_count_per_user"] == 1
    for system in systems:
        system.registry.register("same_name", Echo())
        system.close()
    assert factory.statistics()["open_systems"] == 0


# --- end to end, over what is really installed ---------------------------------------


def test_installed_plugins_never_bring_the_failure_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Discovery of every installed package, the broken one too, then ten users who
    connect twice: the word appears nowhere (S3, S14, S52).
    """
    with Toolkit(Settings()) as kit:
        reasons = kit.report.reasons()
        assert reasons[RejectionReason.PYDANTIC_MODEL] > 0  # schemas were there
        assert {"word_count", "slugify"} <= {
            name.rpartition("__")[2] for name in kit.catalog.names()
        }
        scopes = {
            scope
            for definition in kit.catalog.definitions()
            for scope in definition.required_scopes
        }

        def visit(number: int) -> list[str]:
            user = make_user(f"user{number % 10}", scopes=scopes)
            with kit.user(user, tool_classes=TOOLS) as system:
                assert len(system.rejected) == 2
                health = system.registry.validate_health()
                assert health["has_basemodel_tools"] is False
                return [str(one.name) for one in system.get_all_tools()]

        with ThreadPoolExecutor(5) as pool:
            lists = list(pool.map(visit, range(20)))
        assert all(names == lists[0] for names in lists)
        assert len(lists[0]) == len(kit.catalog) + 2
        told = [*lists[0], str(kit.health()), kit.report.summary(), caplog.text]
        told += [f"{one.name} {one.qualified_name}" for one in kit.report.accepted]
        assert not any("metaclass" in text.lower() for text in told)
        everything = "\n".join([*told, *(one.detail for one in kit.report.findings)])
        assert "already registered" not in everything
        assert kit.health()["systems"]["open_systems"] == 0
