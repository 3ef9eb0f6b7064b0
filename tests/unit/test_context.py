"""Who is asking: what identifies somebody, what is frozen, how deep runs nest."""

import copy
import gc
import json
import re
import time
from dataclasses import FrozenInstanceError, fields
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from toolkit.context import (
    MAX_DEPTH,
    MAX_ID_LENGTH,
    NO_SECRETS,
    REDACTED,
    Secrets,
    ToolContext,
    UserContext,
)
from toolkit.errors import InvalidUserContextError

IDS = ("user_id", "session_id", "thread_id", "run_id", "parent_run_id")
NOBODY: dict[str, object] = {
    "empty": "",
    "blank": "  ",
    "none": None,
    "number": 7,
    "bytes": b"ann",
    "the word none": "None",
    "null": "NULL",
    "undefined": "undefined",
    "placeholder": "Placeholder",
    "field name": "user_id",
    "angle brackets": "<user>",
    "braces": "{user_id}",
    "shell": "$USER",
    "newline": "ann\n",
    "nul byte": "an\x00n",
    "invisible": "\u200b",
    "reversed text": "ann\u202e",
    "leading space": " ann",
    "too long": "x" * (MAX_ID_LENGTH + 1),
}


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize("value", NOBODY.values(), ids=NOBODY)
def test_an_id_that_identifies_nobody_is_refused(field: str, value: object) -> None:
    """Two forgotten ids would make two users one (B33, B39)."""
    if field == "parent_run_id" and value is None:
        return  # a run that no other started
    given: dict[str, Any] = {"user_id": "ann", field: value}
    with pytest.raises(InvalidUserContextError) as caught:
        UserContext(**given)
    assert caught.value.field == field
    assert str(caught.value).endswith("Pass what your authentication established.")


@pytest.mark.parametrize(
    "user_id", ["ann", "auth0|5f7", "ann@example.org", "Zoë", "x" * MAX_ID_LENGTH, "0"]
)
def test_what_authentication_hands_out_is_taken_as_it_is(user_id: str) -> None:
    """An id is opaque: nothing is cut, cleaned or folded (B39)."""
    assert UserContext(user_id).user_id == user_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("roles", "admin"),
        ("scopes", b"costs"),
        ("roles", None),
        ("scopes", [""]),
        ("scopes", [["costs"]]),
        ("metadata", None),
        ("metadata", [("a", 1)]),
        ("depth", -1),
        ("depth", MAX_DEPTH + 1),
        ("depth", "1"),
        ("depth", True),
    ],
)
def test_other_fields_of_the_wrong_kind_are_refused(field: str, value: object) -> None:
    """`scopes="admin"` would otherwise mean the scopes a, d, m, i and n (B16)."""
    given: dict[str, Any] = {"user_id": "ann", field: value}
    with pytest.raises(InvalidUserContextError) as caught:
        UserContext(**given)
    assert caught.value.field == field


def test_minted_ids_are_whole_and_never_repeat() -> None:
    """A cut id, or one made from the clock, meets another one day (B39, B45)."""
    contexts = [UserContext("ann") for _ in range(1000)]
    minted = {one for c in contexts for one in (c.session_id, c.thread_id, c.run_id)}
    assert len(minted) == 3000
    assert {len(one) for one in minted} == {32}


def test_users_whose_ids_begin_alike_are_different_users() -> None:
    """`user_123456` and `user_123457` share eight characters and nothing else (B39)."""
    one, other = (UserContext(f"user_12345{n}", run_id="r1") for n in "67")
    assert one.user_id != other.user_id
    assert one != other


def test_no_field_can_be_changed() -> None:
    """A tool cannot turn its user into another (S13)."""
    user = UserContext("ann")
    for field in fields(user):
        with pytest.raises(FrozenInstanceError):
            setattr(user, field.name, "bob")


def test_metadata_is_copied_and_frozen_all_the_way_down() -> None:
    """What a tool finds in the metadata it cannot change, nor can the backend (S13)."""
    inner = {"folders": ["a"], "flags": {"x"}}
    user = UserContext("ann", metadata={"data": inner})
    inner["folders"].append("b")  # type: ignore[attr-defined]  # it is a list
    held = user.metadata["data"]
    assert dict(held) == {"folders": ("a",), "flags": frozenset("x")}
    for frozen in (user.metadata, held):
        assert isinstance(frozen, MappingProxyType)


def test_roles_and_scopes_become_frozen_sets() -> None:
    """The backend may hand in any collection of names."""
    user = UserContext("ann", roles=["a", "a"], scopes={"s"})  # type: ignore[arg-type]  # a list will do
    assert (user.roles, user.scopes) == (frozenset("a"), frozenset("s"))


def test_contexts_are_compared_by_value_and_hash() -> None:
    """They serve as keys, metadata left aside in the hash."""
    ids = {"session_id": "s", "thread_id": "t", "run_id": "r"}
    one, same = (UserContext("ann", metadata={"a": [1]}, **ids) for _ in "12")  # type: ignore[arg-type]  # only ids
    assert one == same
    assert len({one, same}) == 1


def test_metadata_stays_out_of_the_repr() -> None:
    """What the backend attaches may be secret; a log line shows a context (B62)."""
    assert "hunter2" not in repr(UserContext("ann", metadata={"token": "hunter2"}))


def test_a_context_is_cheap_and_is_never_copied() -> None:
    """No deep copies, no stack summaries, no dict of attributes (B54)."""
    user = UserContext("ann", metadata={"big": list(range(1000))})
    assert copy.deepcopy([user])[0] is user
    assert not hasattr(user, "__dict__")


def test_a_child_is_the_same_user_one_deeper_and_no_more_powerful() -> None:
    """A run started by a run keeps its user, session, rights and metadata (S13)."""
    parent = UserContext(
        "ann", roles=frozenset("r"), scopes=frozenset("s"), metadata={"k": [1]}
    )
    child = parent.child()
    for field in ("user_id", "session_id", "thread_id", "roles", "scopes", "metadata"):
        assert getattr(child, field) == getattr(parent, field)
    assert child.run_id != parent.run_id
    assert (child.parent_run_id, child.depth) == (parent.run_id, 1)
    assert parent.child(run_id="run-2").run_id == "run-2"
    with pytest.raises(InvalidUserContextError, match="run_id is empty"):
        parent.child(run_id="")


def test_children_nest_only_so_deep() -> None:
    """Agents that call each other in a circle are stopped."""
    user = UserContext("ann")
    for _ in range(MAX_DEPTH):
        user = user.child()
    with pytest.raises(InvalidUserContextError, match=f"within 0 to {MAX_DEPTH}"):
        user.child()


@pytest.mark.parametrize(
    ("ahead", "low", "high"), [(60.0, 50.0, 60.0), (-60.0, 0.0, 0.0)]
)
def test_time_left_runs_down_to_zero(ahead: float, low: float, high: float) -> None:
    """A tool can plan its work by the seconds left, and they are never negative."""
    deadline = time.monotonic() + ahead
    context = ToolContext(
        user=UserContext("ann"), call_id="c", tool_name="t", deadline=deadline
    )
    left = context.time_left()
    assert left is not None
    assert low <= left <= high


def test_without_a_deadline_there_is_no_time_left_to_count() -> None:
    """None is not zero."""
    context = ToolContext(user=UserContext("ann"), call_id="c", tool_name="t")
    assert context.time_left() is None


# --- secrets -------------------------------------------------------------------------

AWKWARD = ["plain", 'quo"te', "it's", "both'\"", "two\nlines", "back\\", "é€😀", "a  b"]


@pytest.mark.parametrize("secret", AWKWARD)
@pytest.mark.parametrize(
    "write",
    [str, repr, ascii, json.dumps, lambda text: json.dumps(text, ensure_ascii=False)],
    ids=["str", "repr", "ascii", "json", "json as it is"],
)
def test_secret_is_found_however_python_and_json_write_it(
    secret: str, write: Any
) -> None:
    """Also within a text that has quotes itself, or is written once more (B62)."""
    scrub = Secrets({"key": secret}).scrub
    for text in (secret, f"a {secret} b", f"\"' {secret}", f"' {secret} '"):
        held = repr([write(text)]), json.dumps({"it": write(text)})
        for one in (write(text), *held, " ".join(write(text).split())):
            assert REDACTED in scrub(one)
            assert secret not in scrub(one)
            assert write(secret)[1:-1] not in scrub(one)
    assert secret.encode() not in scrub(str(secret.encode())).encode()
    assert REDACTED in scrub(str(b"a" + secret.encode()))


def test_secrets_that_overlap_are_blanked_out_whole() -> None:
    """One within another, one into another, and one into itself (B62)."""
    scrub = Secrets({"one": "abcd", "two": "cdef", "within": "bc", "self": "aa"}).scrub
    assert scrub("xabcdefx") == f"x{REDACTED}x"
    assert scrub("xabcdx bcx") == f"x{REDACTED}x {REDACTED}x"
    assert scrub("aaa aaaa") == f"{REDACTED} {REDACTED}"
    assert scrub("abcdcdef") == f"{REDACTED}{REDACTED}"
    assert scrub("nothing of it") == "nothing of it"
    assert Secrets({"short": "e"}).scrub("see") == f"s{REDACTED}{REDACTED}"


def test_text_without_secrets_is_the_same_object() -> None:
    """Who has none pays for none."""
    text = "a text"
    assert NO_SECRETS.scrub(text) is text


def test_secret_outlives_its_user_nowhere() -> None:
    """No cache of the interpreter keeps what was searched for (B34, B62)."""

    def use(word: str) -> None:
        Secrets({"key": word}).scrub(f"a text with {word}")

    use("canary_of_ann")  # nothing in it that a pattern would escape
    gc.collect()
    assert "canary_of_ann" not in repr([list(one) for one in _pattern_caches()])


def _pattern_caches() -> list[dict[Any, Any]]:
    """Return where `re` keeps patterns, under the names of several versions."""
    found = [vars(re).get(name) for name in ("_cache", "_cache2")]
    assert found[0]
    return [one for one in found if one is not None]


def test_secret_whose_middle_is_left_out_is_blanked_out() -> None:
    """As pydantic shows long values; what stands for itself stays (B62)."""
    secret = "sk-" + "".join(chr(ord("a") + at % 26) for at in range(61))
    scrub = Secrets({"key": secret}).scrub
    with pytest.raises(ValidationError) as failed:
        TypeAdapter(int).validate_python(secret)
    assert secret[:20] in str(failed.value)
    shown = scrub(str(failed.value))
    assert f"'{REDACTED}...{REDACTED}'" in shown
    assert scrub(f"{secret[:9]}... and ...{secret[-5:]}") == (
        f"{REDACTED}... and ...{REDACTED}"
    )
    assert scrub("sk-x... and sk-abc") == "sk-x... and sk-abc"
