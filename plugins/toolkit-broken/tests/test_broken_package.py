"""The list: each fault of this package, and what discovery must say about it."""

import logging

import pytest

from toolkit import (
    DiscoveryError,
    DiscoveryFailedError,
    DiscoveryReport,
    Settings,
    ToolCatalog,
    UserContext,
    UserContextToolFactory,
    discover,
)
from toolkit.discovery.report import Finding

Discovered = tuple[ToolCatalog, DiscoveryReport]

BROKEN = frozenset({"toolkit-broken"})
EVERYBODY = BROKEN | {"toolkit-cloud-costs", "toolkit-data", "toolkit-text"}

# Entry point → how its failure begins.
FAILED = {
    "agent_import_error": "ModuleNotFoundError: No module named 'a_module_that",
    "base_exception": "Uncaught: raised while importing",
    "exits": "SystemExit: toolkit_broken.exits was imported",
    "hooks_import_error": "ModuleNotFoundError: No module named 'a_module_that",
    "hooks_unknown_argument": "PluginValidationError: ",
    "import_error": "ModuleNotFoundError: No module named 'a_module_that",
    "iterable_raises": "RuntimeError: the second tool could not be made",
    "malformed_reference": "ValueError: 'toolkit_broken.duplicates:Word Count!'",
    "missing_attribute": "AttributeError: module 'toolkit_broken.duplicates' has no",
    "missing_module": "ModuleNotFoundError: No module named 'toolkit_broken.no_such",
    "module_getattr": "RuntimeError: no tool today",
    "recursion_error": "RecursionError: ",
    "syntax_error": "SyntaxError: ",
    "unprintable_error": "Unprintable",
}

# Object of the package `judged` → reason code.
REJECTED = {
    "schemas:Model": "pydantic_model",
    "schemas:ModelWithToolAttributes": "pydantic_model",
    "schemas:V1Model": "pydantic_model",
    "schemas:Root": "pydantic_model",
    "schemas:Page": "pydantic_model",
    "schemas:PageOfInt": "pydantic_model",
    "schemas:model_instance": "pydantic_model",
    "schemas:model_with_tool_attributes_instance": "pydantic_model",
    "schemas:v1_model_instance": "pydantic_model",
    "schemas:root_instance": "pydantic_model",
    "schemas:PydanticDataclass": "pydantic_dataclass",
    "schemas:PlainDataclass": "missing_execute",
    "schemas:Row": "typed_dict",
    "schemas:Pair": "named_tuple",
    "schemas:Colour": "enum",
    "schemas:_Shelf": "private_name",
    "contracts:ToolFailure": "exception",
    "contracts:ToolLike": "protocol",
    "contracts:AbstractTool": "abstract",
    "contracts:WithoutName": "missing_name",
    "contracts:WithoutExecute": "missing_execute",
    "contracts:ExecuteIsANumber": "execute_not_callable",
    "contracts:NumberAsName": "illegal_name",
    "contracts:EmptyName": "illegal_name",
    "contracts:NameWithSpaces": "illegal_name",
    "contracts:NameTooLong": "illegal_name",
    "contracts:NamedAfterAMetaclass": "illegal_name",
    "contracts:NeedsADatabase": "unsupported_constructor",
    "contracts:ConstructorRaises": "constructor_failed",
    "contracts:UnresolvableAnnotation": "unsupported_signature",
    "contracts:ArgumentWithoutSchema": "unsupported_signature",
    "contracts:StarArguments": "unsupported_signature",
    "contracts:_Private": "private_name",
    "contracts:_private_function": "private_name",
    "contracts:_HoldsALock": "private_name",
    "contracts:holds_a_lock": "not_copyable",
    "contracts:plain_function": "plain_function",
    "contracts:NamePropertyRaises": "constructor_failed",
    "contracts:name_property_raises": "unreadable",
    "contracts:ExecutePropertyRaises": "execute_not_callable",
    "contracts:execute_property_raises": "execute_not_callable",
    "contracts:still_here_again": "re_exported",
    "contracts:StillHere": "re_exported",
    "tricks:RaisingMeta": "missing_execute",
    "tricks:HashlessMeta": "missing_execute",
    "tricks:InventiveMeta": "missing_execute",
    "tricks:ClaimsToHaveAll": "missing_execute",
    "tricks:DisguisedModel": "pydantic_model",
    "tricks:disguised_model_instance": "pydantic_model",
    "tricks:LiesAboutItsClass": "missing_name",
    "tricks:lies_about_its_class": "missing_name",
    "tricks:_RaisesAboutItsClass": "private_name",
    "tricks:_EveryAttributeRaises": "private_name",
    "tricks:every_attribute_raises": "not_copyable",
}

# What keeps the contract, though some of it raises at every careless look.
SURVIVORS = {
    "cannot_be_hashed": "called all the same",
    "everything_raises": "called all the same",
    "from_a_mixed_list": "kept",
    "raises_about_its_class": "called all the same",
    "still_here": "still here",
}

CLAIMED_TWICE = {
    "list_tables": "toolkit-data",
    "savings_report": "toolkit-cloud-costs",
    "word_count": "toolkit-text",
}


@pytest.fixture(scope="module")
def broken() -> Discovered:
    """Discover this package alone."""
    return discover(Settings(allow=BROKEN))


@pytest.fixture(scope="module")
def everybody() -> Discovered:
    """Discover this package beside the three it disturbs."""
    return discover(Settings(allow=EVERYBODY))


def judged(report: DiscoveryReport) -> dict[str, Finding]:
    """Map what was rejected in the package `judged` by its place in there.

    Some versions of pydantic leave their parametrised classes in the module that asked
    for them, under names such as ``Page[int]``; those are left out.
    """
    prefix = "toolkit_broken.judged."
    return {
        one.origin.reference.removeprefix(prefix): one
        for one in report.rejected
        if one.origin.reference.startswith(prefix) and "[" not in one.origin.reference
    }


def test_everything_that_cannot_be_loaded_is_named_with_its_origin_and_cause(
    broken: Discovered,
) -> None:
    """List each entry point that fails, and no other (B12)."""
    _, report = broken
    failed = {one.origin.entry_point: one for one in report.failed}
    assert failed.keys() == FAILED.keys()
    for entry_point, beginning in FAILED.items():
        assert failed[entry_point].detail.startswith(beginning)
        assert failed[entry_point].origin.distribution == "toolkit-broken"
        assert failed[entry_point].origin.version == "0.1.0"


def test_everything_that_is_no_tool_is_dropped_for_its_own_reason(
    broken: Discovered,
) -> None:
    """Give each object of the list its reason code (S9, S29-S36, B1, B7, B8)."""
    _, report = broken
    found = {name: str(one.reason) for name, one in judged(report).items()}
    kept_apart = {
        name: reason
        for name, reason in found.items()
        if name in REJECTED or reason != "re_exported"
    }
    assert kept_apart == REJECTED


def test_each_schema_is_told_that_it_is_one(broken: Discovered) -> None:
    """Explain the rejection of every pydantic model in the same words (S31)."""
    _, report = broken
    models = [one for one in judged(report).values() if one.reason == "pydantic_model"]
    assert len(models) == list(REJECTED.values()).count("pydantic_model")
    for one in models:
        assert "BaseModel classes are data schemas, not executable tools" in one.detail


def test_no_name_is_ever_made_from_a_metaclass(broken: Discovered) -> None:
    """Never list, and never suggest, a metaclass's name (S14, S32, S101, B5)."""
    catalog, report = broken
    assert "modelmetaclass" not in {name.lower() for name in catalog.names()}
    assert not [one for one in report.accepted if "meta" in one.name.lower()]


def test_rubbish_in_a_list_of_tools_is_named_and_the_tool_in_it_kept(
    broken: Discovered,
) -> None:
    """Reject four entries of `mixed_list` one by one, and accept the fifth."""
    catalog, report = broken
    rubbish = [one for one in report.rejected if one.origin.entry_point == "mixed_list"]
    assert sorted(one.origin.reference for one in rubbish) == [
        "NoneType",
        "int",
        "object",
        "str",
    ]
    assert "from_a_mixed_list" in catalog


def test_tool_published_twice_counts_once(broken: Discovered) -> None:
    """Keep one of two entry points that lead to one class, and say so."""
    _, report = broken
    twice = [
        one for one in report.rejected if one.origin.entry_point == "still_here_twice"
    ]
    assert [str(one.reason) for one in twice] == ["same_object"]


def test_agent_without_run_is_dropped(broken: Discovered) -> None:
    """Judge agents by the same contract, with `run` for `execute`."""
    catalog, report = broken
    agents = [one for one in report.rejected if one.kind == "agent"]
    assert [str(one.reason) for one in agents] == ["missing_execute"]
    assert "`run`" in agents[0].detail
    assert not catalog.agents


async def test_what_keeps_the_contract_survives_and_can_be_called(
    broken: Discovered,
) -> None:
    """Call every survivor: a bad neighbour takes nothing away (S98, S102)."""
    catalog, report = broken
    accepted = {one.name for one in report.accepted if one.kind == "tool"}
    assert accepted == SURVIVORS.keys() | CLAIMED_TWICE.keys()
    factory = UserContextToolFactory(catalog)
    with factory.create_user_tool_system(
        user_context=UserContext(user_id="ada")
    ) as ada:
        for name, answer in SURVIVORS.items():
            result = await ada.dispatcher.execute(name, {})
            assert result.unwrap() == answer


async def test_name_that_two_packages_claim_is_nobodys_and_both_stay_callable(
    everybody: Discovered,
) -> None:
    """Name both claimants; each is listed under its full name (S44, B6)."""
    catalog, report = everybody
    claimed = {str(one.name): one for one in report.collisions}
    assert claimed.keys() == CLAIMED_TWICE.keys()
    for name, owner in CLAIMED_TWICE.items():
        owners = {origin.owner for origin in claimed[name].origins}
        assert owners == {"toolkit-broken", owner}
        assert name not in catalog
        for distribution in owners:
            assert f"{distribution}.{name}" in catalog
            assert f"{distribution}__{name}" in catalog


def test_the_others_lose_nothing_but_the_names_they_share(
    everybody: Discovered,
) -> None:
    """List the same tools of the other packages with and without this one."""
    alone, _ = discover(Settings(allow=EVERYBODY - BROKEN))
    together, _ = everybody
    before = {one.qualified_name for one in alone.definitions()}
    after = {one.qualified_name for one in together.definitions()}
    assert before
    assert before == {name for name in after if not name.startswith("toolkit-broken.")}


def test_setting_decides_who_has_a_name() -> None:
    """Give the bare name to the distribution the operator prefers, without a fault."""
    settings = Settings(allow=EVERYBODY, prefer=CLAIMED_TWICE)
    catalog, report = discover(settings)
    for name, owner in CLAIMED_TWICE.items():
        origin = catalog.origin(name)
        assert origin is not None
        assert origin.distribution == owner
    assert all(one.settlement.decided for one in report.collisions)


def test_strict_discovery_raises_every_fault_at_once() -> None:
    """Collect the failures and the refused entry points in one group."""
    with pytest.raises(DiscoveryFailedError) as raised:
        discover(Settings(allow=BROKEN, strict=True))
    faults = [one for one in raised.value.exceptions if isinstance(one, DiscoveryError)]
    assert len(faults) == len(raised.value.exceptions)
    origins = {fault.origin.entry_point for fault in faults}
    assert origins == FAILED.keys() | {"agent_without_run", "mixed_list"}


def test_denied_package_is_never_imported(caplog: pytest.LogCaptureFixture) -> None:
    """Skip all of it on the operator's word, and say that nothing is left."""
    with caplog.at_level(logging.ERROR):
        catalog, report = discover(Settings(allow=BROKEN, deny=BROKEN))
    assert not catalog
    assert not report.failed
    assert report.status == "empty"
    assert "discovery" in caplog.text
