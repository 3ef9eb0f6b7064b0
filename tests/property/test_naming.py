"""Names, whoever claims them: all different, all legal, whatever the order."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.naming import (
    Claim,
    ToolName,
    give_names,
    name_fault,
    prefer,
    provider_safe_name,
    suggest_name,
    tool_name,
)
from toolkit.origin import Origin

# Few letters, so that names meet: in case, in their safe forms, in everything.
NAMES = st.text("aA_-", min_size=1, max_size=4).filter(
    lambda text: not name_fault(text)
)
OWNERS = st.sampled_from(["a", "A", "a_", "a-a", "a.a", "ä", "", "x" * 70])
ORIGINS = st.builds(
    Origin,
    distribution=OWNERS,
    version=st.sampled_from(["", "1"]),
    group=st.sampled_from(["", "g"]),
    reference=st.sampled_from(["", "m:C", "a:C"]),
)
CLAIMS = st.lists(
    st.builds(Claim, name=NAMES.map(ToolName), origin=ORIGINS), max_size=12
)
PREFERENCES = st.dictionaries(NAMES, OWNERS, max_size=3)
ORDERED = settings(max_examples=150, deadline=None)


@ORDERED
@given(CLAIMS, PREFERENCES)
def test_all_names_given_are_legal_and_different(
    claims: list[Claim], preferences: dict[str, str]
) -> None:
    """Listed and qualified, without regard to case (S43, S44, B6)."""
    naming = give_names(claims, prefer(preferences))
    for names in (naming.listed, naming.qualified):
        assert len({name.casefold() for name in names}) == len(claims)
    assert not any(map(name_fault, naming.listed))


@ORDERED
@given(st.data(), CLAIMS, PREFERENCES)
def test_names_do_not_depend_on_the_order_of_the_claims(
    data: st.DataObject, claims: list[Claim], preferences: dict[str, str]
) -> None:
    """Installing in another order renames nothing (S44, B6)."""
    shuffled = data.draw(st.permutations(claims))
    policy = prefer(preferences)
    one, other = give_names(claims, policy), give_names(shuffled, policy)
    assert one.collisions == other.collisions
    by_claim = zip(claims, one.listed, one.qualified, strict=True)
    again = zip(shuffled, other.listed, other.qualified, strict=True)
    assert Counter(by_claim) == Counter(again)


@ORDERED
@given(CLAIMS, PREFERENCES)
def test_a_bare_name_is_kept_if_and_only_if_free_or_preferred(
    claims: list[Claim], preferences: dict[str, str]
) -> None:
    """Nobody wins silently, and nobody loses a name that no one else wants (S44)."""
    naming = give_names(claims, prefer(preferences))
    wanted = Counter(claim.name.casefold() for claim in claims)
    chosen = {name.casefold(): who.casefold() for name, who in preferences.items()}
    for claim, listed in zip(claims, naming.listed, strict=True):
        name = claim.name.casefold()
        rivals = [one for one in claims if one.name.casefold() == name]
        of_owner = [
            one for one in rivals if one.origin.owner.casefold() == chosen.get(name)
        ]
        is_theirs = wanted[name] == 1 or of_owner == [claim]
        assert (listed == claim.name) is is_theirs


@ORDERED
@given(CLAIMS)
def test_every_collision_is_reported_with_all_its_claimants(
    claims: list[Claim],
) -> None:
    """As many origins as claims, each with its qualified name (S44, B6)."""
    naming = give_names(claims)
    wanted = Counter(claim.name.casefold() for claim in claims)
    expected = {name: count for name, count in wanted.items() if count > 1}
    found = {one.name.casefold(): len(one.origins) for one in naming.collisions}
    assert found == expected
    for one in naming.collisions:
        assert set(one.qualified_names) <= set(naming.qualified)


@ORDERED
@given(st.text(max_size=90) | st.text("ab_-", min_size=50, max_size=90))
def test_any_text_is_a_name_or_has_a_fault(text: str) -> None:
    """Checking is total, and what passes is unchanged (S43, B8)."""
    if not name_fault(text):
        assert tool_name(text) == text
    assert not name_fault(provider_safe_name(f"owner.{text.replace('.', '')}"))


@ORDERED
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_a_name_is_suggested_for_a_class_of_any_name(text: str) -> None:
    """Legal and deterministic, and never that of a metaclass (S43, S90, B5)."""
    made = type(text, (), {})
    name = suggest_name(made)
    assert not name_fault(name)
    assert "metaclass" not in name or not name.endswith("metaclass")
    assert suggest_name(made()) == name
