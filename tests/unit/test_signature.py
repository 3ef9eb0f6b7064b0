"""Signatures: what callers may pass, what is injected, how results are written."""

import functools
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NewType, NoReturn, Optional, TypeVar
from uuid import UUID

import pytest
from pydantic import AfterValidator, AnyUrl, BaseModel, Field, SecretStr, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import (
    PydanticCustomError,
    SchemaSerializer,
    SchemaValidator,
    to_jsonable_python,
)
from typing_extensions import TypeAliasType, TypedDict

from tests.unit.hostile import HOSTILE, Model, Unnamed, Untold, raising
from toolkit.context import ToolContext, UserContext
from toolkit.docstring import parse
from toolkit.errors import InvalidArgumentsError, ToolError, ToolResultError
from toolkit.signature import (
    ARGUMENTS,
    Signature,
    UnsupportedSignatureError,
    compile_signature,
    kind_of,
)

USER = UserContext("ann")
CONTEXT = ToolContext(user=USER, call_id="c1", tool_name="t")


@dataclass
class Stats:
    words: int


class Row(TypedDict):
    id: int


class Colour(Enum):
    RED = "red"


def compiled(function: Callable[..., Any], *documents: str | None) -> Signature:
    """Compile a plain function under the name `t`."""
    return compile_signature(
        function,
        label="t",
        skip_first=False,
        namespace={},
        documents=tuple(map(parse, (function.__doc__, *documents))),
    )


def schema(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the schema of the function's arguments."""
    found: dict[str, Any] = json.loads(compiled(function).input_schema_json)
    return found


def call(function: Callable[..., Any], arguments: Any) -> Any:
    """Call the function as the dispatcher does: validate, inject, call."""
    signature = compiled(function)
    checked = signature.validate("t", arguments)
    positional, named = signature.inject(checked, CONTEXT)
    return function(*positional, **named)


def written(function: Callable[..., Any], value: object) -> Any:
    """Write a result as the function's annotation says, and read it back."""
    return json.loads(compiled(function).dump("t", value))


# --- kinds -------------------------------------------------------------------------


def plain() -> int:
    return 1


async def later() -> int:
    return 1


def parts() -> Iterator[int]:
    yield 1


async def later_parts() -> AsyncIterator[int]:
    yield 1


class Called:
    async def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (plain, "sync"),
        (later, "async"),
        (parts, "generator"),
        (later_parts, "async_generator"),
        (Called(), "async"),
        (functools.partial(later), "async"),
        (functools.partial(functools.partial(later_parts)), "async_generator"),
        (functools.partial(plain), "sync"),
        (len, "sync"),
    ],
    ids=range(9),
)
def test_how_a_function_answers_is_told_without_calling_it(
    function: object, kind: str
) -> None:
    """Async work must not land in a thread, nor blocking work on the loop (B52)."""
    assert kind_of(function) == kind


async def waiting() -> int:
    return await later()


@pytest.mark.parametrize(
    ("function", "awaits"),
    [
        (later, False),
        (waiting, True),
        (functools.partial(later), True),
        (Called(), True),
        (plain, True),
        (parts, True),
        (later_parts, True),
    ],
    ids=range(7),
)
def test_only_what_is_known_never_to_suspend_is_said_to(
    function: Callable[..., Any],
    awaits: bool,  # noqa: FBT001 - a case of the table
) -> None:
    """Whoever runs it to its end at once must not be surprised (B52)."""
    assert compiled(function).awaits is awaits


# --- arguments ---------------------------------------------------------------------


def ordinary(
    text: str,
    limit: Annotated[int, Field(ge=1, description="At most")] = 10,
    *,
    colour: Colour | None = None,
    tags: Sequence[str] = (),
) -> Any:
    """Do it.

    Args:
        text: The text.
        limit: Not this: the annotation says it.
        colour: Its colour.
        tags: Any tags.
    """
    return text, limit, colour, tags


def test_the_schema_comes_from_hints_fields_and_docstring() -> None:
    """What the author wrote once is what callers are told (S36)."""
    found = schema(ordinary)
    assert found["type"] == "object"
    assert found["required"] == ["text"]
    assert found["properties"]["text"]["description"] == "The text."
    assert found["properties"]["limit"]["description"].startswith("At most")
    assert "10" in json.dumps(found["properties"]["limit"])
    assert "Not this" not in json.dumps(found)
    assert found["properties"]["limit"]["type"] == "integer"
    assert list(found["properties"]) == ["text", "limit", "colour", "tags"]
    assert found["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"text": "a"}, ("a", 10, None, ())),
        ('{"text": "a", "limit": 2}', ("a", 2, None, ())),
        (b'{"text": "a", "colour": "red"}', ("a", 10, Colour.RED, ())),
        (bytearray(b'{"text": "a"}'), ("a", 10, None, ())),
        ({"text": "a", "limit": "3", "tags": ["x"]}, ("a", 3, None, ["x"])),
    ],
    ids=["mapping", "text", "bytes", "bytearray", "converted"],
)
def test_arguments_come_as_json_or_as_a_mapping(arguments: Any, result: object) -> None:
    """They arrive converted, and what is absent has the function's own default."""
    assert call(ordinary, arguments) == result


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({}, ["text"]),
        ({"text": 7, "limit": 0}, ["text", "limit"]),
        ({"text": "a", "extra": 1}, ["extra"]),
        ({"text": "a", "tags": ["x", 7]}, ["tags.1"]),
        ("[]", [""]),
        ("{", [""]),
        ("", [""]),
        (None, [""]),
        (7, [""]),
    ],
    ids=range(9),
)
def test_arguments_that_do_not_fit_are_refused_one_by_one(
    arguments: Any, paths: list[str]
) -> None:
    """Each fault has its path; the tool never starts (B9, B11)."""
    with pytest.raises(InvalidArgumentsError) as caught:
        compiled(ordinary).validate("t", arguments)
    assert [path for path, _ in caught.value.faults] == paths


def test_a_rejected_value_is_not_repeated() -> None:
    """It may be a password in the wrong field (B62)."""
    with pytest.raises(InvalidArgumentsError) as caught:
        compiled(ordinary).validate("t", {"text": "a", "limit": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.args)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_the_callers_mapping_is_left_as_it_was() -> None:
    """Injecting the user into it would hand them on to whoever shares it (S13)."""

    def takes(a: int, user: UserContext) -> object:
        return user

    given = {"a": 1}
    assert call(takes, given) is USER
    assert given == {"a": 1}


def by_position(a: int = 1, b: int = 2, /, c: int = 3) -> tuple[int, int, int]:
    return a, b, c


@pytest.mark.parametrize(
    ("arguments", "result"),
    [({}, (1, 2, 3)), ({"b": 5}, (1, 5, 3)), ({"a": 4, "c": 6}, (4, 2, 6))],
    ids=["none", "second", "first and last"],
)
def test_arguments_by_position_only_find_their_places(
    arguments: dict[str, int], result: object
) -> None:
    """Callers know names only; one left out does not shift the next."""
    assert call(by_position, arguments) == result


def test_further_keyword_arguments_are_checked_by_their_type() -> None:
    """`**options: int` takes any name, and only integers."""

    def takes(a: str, **options: int) -> object:
        return a, options

    assert call(takes, {"a": "x", "n": "5"}) == ("x", {"n": 5})
    with pytest.raises(InvalidArgumentsError, match="n: "):
        call(takes, {"a": "x", "n": "many"})


def test_a_field_as_default_is_a_default() -> None:
    """`= Field(5, ge=1)` gives 5, not the field; `Field()` alone is required."""

    def takes(
        a: int = Field(),
        b: int = Field(5, ge=1, description="Bee."),
        c: list[int] = Field(default_factory=list),  # noqa: B008 - the form under test
    ) -> object:
        return a, b, c

    assert call(takes, {"a": 1}) == (1, 5, [])
    found = schema(takes)
    assert found["required"] == ["a"]
    assert "Bee." in found["properties"]["b"]["description"]
    with pytest.raises(InvalidArgumentsError):
        call(takes, {"a": 1, "b": 0})


def test_an_odd_default_is_used_though_not_shown() -> None:
    """A default that JSON cannot express still applies."""
    lock = threading.Lock()

    def takes(a: Any = lock) -> object:
        return a

    assert call(takes, {}) is lock
    assert "default" not in schema(takes)["properties"]["a"]


def test_models_as_arguments_arrive_as_models() -> None:
    """A schema is what it is made for: an argument's type (S9, B1)."""

    def takes(model: Model, row: Row, stats: Stats) -> object:
        return model, row, stats

    arguments = {"model": {"name": "n"}, "row": {"id": 1}, "stats": {"words": 2}}
    assert call(takes, arguments) == (Model(name="n"), {"id": 1}, Stats(2))


def unresolvable(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821 - that is the test


def variadic(*texts: str) -> None: ...


def of_lock(lock: threading.Lock) -> None: ...


def of_umlaut(größe: str) -> None: ...  # noqa: PLC2401 - that is the test


def of_users(users: list[UserContext]) -> None: ...


def of_contexts(**contexts: dict[str, ToolContext]) -> None: ...


class Impostor(UserContext): ...


class Request(BaseModel):
    user: UserContext | None = None


class Envelope(TypedDict):
    requests: dict[str, Request]


@dataclass
class Held:
    call: ToolContext


Who = NewType("Who", UserContext)
Alias = TypeAliasType("Alias", list[UserContext])
BoundT = TypeVar("BoundT", bound=UserContext)
INDIRECT: list[Any] = [Impostor, Request, Envelope, Held, Who, Alias, BoundT]


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (unresolvable, NameError),
        (variadic, UnsupportedSignatureError),
        (of_lock, TypeError),
        (of_umlaut, UnsupportedSignatureError),
        (of_users, UnsupportedSignatureError),
        (of_contexts, UnsupportedSignatureError),
    ],
    ids=["unresolvable", "variadic", "no schema", "umlaut", "users", "contexts"],
)
def test_a_signature_no_caller_could_fill_is_refused(
    function: Callable[..., Any], error: type[Exception]
) -> None:
    """Nor may a caller say who they are, in a list of users (S13, B65)."""
    with pytest.raises((error, RuntimeError)):
        compiled(function)


@pytest.mark.parametrize("hint", INDIRECT, ids=str)
def test_no_type_around_a_context_lets_callers_say_who_they_are(hint: Any) -> None:
    """A subclass, an alias or a model that holds one is refused too (S13, B65)."""

    def takes(user: object) -> None: ...

    takes.__annotations__["user"] = hint
    with pytest.raises(UnsupportedSignatureError, match="say who they are"):
        compiled(takes)


def test_self_among_free_arguments_is_a_fault_of_the_caller() -> None:
    """It would collide with the instance, and look like the tool's failure (B27)."""

    class Free:
        def execute(self, **options: int) -> object: ...

    signature = compile_signature(
        Free.execute, label="t", skip_first=True, namespace={}
    )
    assert signature.validate("t", {"n": 1}) == {"n": 1}
    with pytest.raises(InvalidArgumentsError) as caught:
        signature.validate("t", {"self": 1})
    assert caught.value.faults == (("self", "is no argument of this tool"),)


class Hooked(BaseModel):
    a: int = 0

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> Any:
        return {**handler(core), "description": "As its hook says."}


def test_a_hook_of_a_models_schema_is_asked() -> None:
    """Arguments that are plain but for their schema have pydantic's (S36)."""

    def takes(model: Hooked, n: int = 1) -> Hooked:
        return model

    signature = compiled(takes)
    for text in (signature.input_schema_json, signature.output_schema_json):
        assert "As its hook says." in (text or "")


def named_self(this: object, self: int) -> object:
    return this


def free(self: object, **options: int) -> object:
    return options


@functools.wraps(named_self)
def around(self: object, *rest: object) -> object:
    return named_self(self, *rest)  # type: ignore[arg-type]  # never called


@functools.wraps(free)
def around_all(*given: object, **options: int) -> object:
    return free(*given, **options)


@pytest.mark.parametrize(
    ("function", "reserved"),
    [
        (Model.execute, set()),
        (free, {"self"}),
        (named_self, set()),
        (around, {"this", "self"}),
        (around_all, {"self"}),
    ],
    ids=["closed", "free", "declared", "wrapped", "wrapped in anything"],
)
def test_names_are_reserved_where_a_caller_could_use_them(
    function: Callable[..., Any], reserved: set[str]
) -> None:
    """Where other keys are forbidden anyway, nothing is left to look for (B27)."""
    signature = compile_signature(function, label="t", skip_first=True, namespace={})
    assert signature.reserved == reserved
    with pytest.raises(InvalidArgumentsError, match=r"self: |this: "):
        signature.validate("t", {"self": 1, "this": 1})


def test_a_function_may_bring_the_check_of_its_arguments() -> None:
    """What adapts other frameworks' tools has their schema, and may take more (S36)."""

    def takes(**given: Any) -> object:
        return given

    setattr(takes, ARGUMENTS, TypeAdapter(dict[str, int]))
    signature = compile_signature(takes, label="t", skip_first=False, namespace={})
    assert signature.validate("t", {"n": "1"}) == {"n": 1}
    assert signature.arguments_json({"n": 1}) == b'{"n":1}'
    found = json.loads(signature.input_schema_json)
    assert found["additionalProperties"] == {"type": "integer"}


class Unready(BaseModel):
    later: "NeverThere"  # type: ignore[name-defined]  # noqa: F821 - that is the test


def test_arguments_that_wait_for_a_name_are_refused() -> None:
    """What could not be looked into might hold a user (S13, B65)."""

    def takes(model: Unready) -> Unready:
        return model

    def gives() -> Unready: ...  # type: ignore[empty-body]  # never called

    with pytest.raises(PydanticUserError, match="not fully defined"):
        compiled(takes)
    assert compiled(gives).output_schema_json is None


def test_validators_and_serializers_are_pydantics_own() -> None:
    """Its plugins see no call: they could be anyone's (B62)."""
    signature = compiled(ordinary)
    assert type(signature.validator) is SchemaValidator
    assert type(signature.serializer) is type(signature.argument_serializer)
    assert type(signature.serializer) is SchemaSerializer


# --- arguments, shown ----------------------------------------------------------------


class Login(BaseModel):
    password: SecretStr
    user_name: str = Field(alias="userName")


def logs_in(
    login: Login,
    pin: SecretStr,
    user: UserContext,
    at: datetime | None = None,
    other: Any = None,
    **rest: SecretStr,
) -> None: ...


def test_checked_arguments_are_shown_as_json() -> None:
    """By the callers' names, masked, and without whom they come from (B27, B62)."""
    signature = compiled(logs_in)
    given = {
        "login": {"password": SECRET, "userName": "ann"},
        "pin": SECRET,
        "at": "2026-01-02T00:00:00Z",
        "other": [Bare(), math.inf],
        "more": SECRET,
    }
    shown = signature.arguments_json(signature.validate("t", given))
    assert json.loads(shown) == {
        "login": {"password": "**********", "userName": "ann"},
        "pin": "**********",
        "at": "2026-01-02T00:00:00Z",
        "other": [f"<{__name__}.Bare>", None],
        "more": "**********",
    }


def test_checked_arguments_that_cannot_be_shown_are_one_error() -> None:
    """A cycle, or a text that is none, harms no call (B27)."""
    signature = compiled(logs_in)
    for make in UNWRITABLE.values():
        with pytest.raises(ValueError, match="writing the arguments raised"):
            signature.arguments_json({"other": make()})


def test_arguments_of_another_type_are_shown_without_a_warning() -> None:
    """A validator may return what its annotation does not say (B27)."""

    def takes(n: Annotated[int, AfterValidator(str)]) -> None: ...

    signature = compiled(takes)
    assert signature.arguments_json(signature.validate("t", {"n": 1})) == b'{"n":"1"}'


# --- faults --------------------------------------------------------------------------

SECRET = "hunter2"


def refuse(error: BaseException) -> Callable[[object], object]:
    """Make a validator that raises this."""

    def check(value: object) -> NoReturn:
        raise error

    return check


@pytest.mark.parametrize(
    "error",
    [KeyError(SECRET), SystemExit(SECRET), ValueError(SECRET), AssertionError(SECRET)],
    ids=repr,
)
def test_a_validator_that_raises_refuses_without_the_value(
    error: BaseException,
) -> None:
    """Whatever a tool's own check raises is the caller's fault, told blindly (B27)."""

    def takes(a: Annotated[str, AfterValidator(refuse(error))]) -> None: ...

    with pytest.raises(InvalidArgumentsError) as caught:
        call(takes, {"a": SECRET})
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_validator_may_tell_its_caller_what_is_wrong() -> None:
    """ToolError's text is meant for the caller, here as everywhere (B27)."""

    def takes(a: Annotated[str, AfterValidator(refuse(ToolError("even")))]) -> None: ...

    with pytest.raises(InvalidArgumentsError, match="even"):
        call(takes, {"a": "x"})


def test_an_interrupt_passes_a_validator() -> None:
    """Ctrl-C is no fault of the arguments."""

    def takes(
        a: Annotated[str, AfterValidator(refuse(KeyboardInterrupt()))],
    ) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        call(takes, {"a": "x"})


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def quote(value: str) -> NoReturn:
    raise PydanticCustomError("mine", "not {value}", {"value": value})


@pytest.mark.parametrize(
    ("hint", "value", "path"),
    [
        (dict[str, int], {SECRET: "x"}, "a.[key]"),
        (dict[str, Cat], {SECRET: {"kind": 1}}, "a.[key].kind"),
        (Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": SECRET}, "a"),
        (UUID, SECRET, "a"),
        (AnyUrl, SECRET, "a"),
        (Annotated[str, AfterValidator(quote)], SECRET, "a"),
        (int | list[int], SECRET, "a.int"),
    ],
    ids=range(7),
)
def test_no_fault_quotes_what_was_refused(hint: Any, value: object, path: str) -> None:
    """Neither as a value nor as a key of a mapping (B27, B62)."""

    def takes(a: object) -> None: ...

    takes.__annotations__["a"] = hint
    with pytest.raises(InvalidArgumentsError) as caught:
        call(takes, {"a": value})
    assert caught.value.faults[0][0] == path
    assert SECRET not in str(caught.value)


# --- injection -----------------------------------------------------------------------


def inject_plain(a: int, user: UserContext, context: ToolContext) -> Any:
    return a, user, context


def inject_optional(
    a: int,
    user: Optional[UserContext] = None,  # noqa: UP045 - the old form too
    context: ToolContext | None = None,
) -> Any:
    return a, user, context


def inject_text(a: "int", user: "UserContext", context: "ToolContext | None") -> Any:
    return a, user, context


def inject_annotated(
    a: int,
    user: Annotated[UserContext | None, "who"] = None,
    context: Annotated[ToolContext, "call"] | None = None,
) -> Any:
    return a, user, context


def inject_first(user: UserContext, a: int, /, *, context: ToolContext) -> Any:
    return a, user, context


@pytest.mark.parametrize(
    "function",
    [inject_plain, inject_optional, inject_text, inject_annotated, inject_first],
)
def test_contexts_are_injected_and_nobody_can_pass_them(
    function: Callable[..., Any],
) -> None:
    """The user comes from the system, never from the arguments (S13, B65)."""
    assert list(schema(function)["properties"]) == ["a"]
    assert call(function, {"a": 1}) == (1, USER, CONTEXT)
    with pytest.raises(InvalidArgumentsError):
        call(function, {"a": 1, "user": {"user_id": "bob"}})


def test_an_injected_name_cannot_be_forged_among_free_arguments() -> None:
    """`**options` takes any name but the user's (S13, B65)."""

    def takes(user: UserContext, **options: Any) -> object:
        return user, options

    assert call(takes, {"user": {"user_id": "bob"}, "x": 1}) == (USER, {"x": 1})


# --- results ---------------------------------------------------------------------


def nothing(): ...  # type: ignore[no-untyped-def]  # noqa: ANN201 - the missing hint is the test


def of_rows() -> Iterator[Row]:
    yield {"id": 1}


def of_generator() -> Generator[int, None, str]:
    yield 1
    return ""


def of_list() -> list[Row]:
    return []


def of_odd() -> threading.Lock:
    return threading.Lock()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nothing, None),
        (of_odd, None),
        (plain, "integer"),
        (later, "integer"),
        (of_list, "array"),
        (of_rows, "array"),
        (of_generator, "array"),
        (later_parts, "array"),
    ],
)
def test_the_return_annotation_gives_the_results_schema(
    function: Callable[..., Any], expected: str | None
) -> None:
    """Streams answer with a list of parts; what is not declared has no schema."""
    text = compiled(function).output_schema_json
    assert (text and json.loads(text)["type"]) == expected


class Bare: ...


class Aliased(BaseModel):
    origin: str = Field("x", alias="from")


def of_aliased() -> Aliased:
    return Aliased(**{"from": "x"})


def test_a_result_is_written_by_the_names_its_schema_tells() -> None:
    """What callers were told to expect is what they get (B28)."""
    text = compiled(of_aliased).output_schema_json
    assert text is not None
    assert list(json.loads(text)["properties"]) == ["from"]
    assert written(of_aliased, of_aliased()) == {"from": "x"}


@pytest.mark.parametrize(
    ("hint", "scalar"),
    [
        (int, int),
        (str, str),
        (None, type(None)),
        (bool, bool),
        (float, float),
        (list[int], None),
        (Any, None),
        (Colour, None),
        (Annotated[int, Field(ge=1)], None),
        (NewType("Number", int), None),
    ],
    ids=range(10),
)
def test_values_of_a_plain_type_are_written_without_options(
    hint: Any, scalar: type | None
) -> None:
    """Only where the annotation is just that type: it cannot be told faster (B28)."""

    def gives() -> object: ...

    gives.__annotations__["return"] = hint
    signature = compiled(gives)
    assert signature.scalar is scalar
    for value in (1, "x", None, True, math.nan, [1], Colour.RED, Stats(1)):
        asked = signature.serializer.to_json(value, by_alias=True, warnings=False)
        assert signature.dump("t", value) == asked


class Textless:
    def __str__(self) -> NoReturn:
        raise ValueError


@pytest.mark.parametrize(
    ("function", "part"),
    [(of_generator, "integer"), (later_parts, "integer"), (of_rows, "object")],
)
def test_a_streams_schema_describes_its_parts(
    function: Callable[..., Any], part: str
) -> None:
    """What is yielded, not what a generator returns at its end."""
    text = compiled(function).output_schema_json
    assert text is not None
    assert json.loads(text)["items"]["type"] == part


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (Stats(2), {"words": 2}),
        (Model(), {"name": "model"}),
        (
            [Colour.RED, datetime(2026, 1, 2, tzinfo=UTC)],
            ["red", "2026-01-02T00:00:00Z"],
        ),
        ({"n": math.nan, "i": math.inf}, {"n": None, "i": None}),
        ({1: {2}, (3, 4): frozenset()}, {"1": [2], "3,4": []}),
        (Decimal("1.5"), "1.5"),
        (PurePosixPath("a/b"), "a/b"),
        (b"text", "text"),
        (ValueError("why"), "why"),
        (Textless(), "<Textless that cannot be shown>"),
        (10**400, 10**400),
        (Bare(), f"<{__name__}.Bare>"),
        ([raising], ["<tests.unit.hostile.raising>"]),
        (memoryview(b"x"), "<builtins.memoryview>"),
        ({"l": threading.Lock()}, {"l": "<_thread.lock>"}),
    ],
    ids=[*"abcdefghijklmnop"],
)
def test_any_result_is_written_as_json(value: object, expected: object) -> None:
    """Models, dates, enums and strangers: nothing breaks the answer (B28)."""
    assert written(nothing, value) == expected


CYCLE: list[object] = []
CYCLE.append(CYCLE)


def worst() -> object:
    """Make an error without a name or a text."""
    return type("Worst", (Unnamed,), {"__str__": raising(SystemExit)})()


UNWRITABLE: dict[str, Callable[[], object]] = {
    "cyclic": lambda: CYCLE,
    "too deep": lambda: functools.reduce(
        lambda inner, _: [inner], range(100_000), list[Any]()
    ),
    "not utf-8": lambda: b"\xff",
    "half a character": lambda: "\ud800",
    "untold": Untold,
    "unnamed and untold": worst,
}


@pytest.mark.parametrize("make", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_written_is_one_typed_error(make: Callable[[], object]) -> None:
    """Cyclic, too deep, or raising as it is read: the call fails, no more (B28)."""
    with pytest.raises(ToolResultError) as caught:
        compiled(nothing).dump("t", make())
    assert caught.value.tool == "t"


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_result_is_written_or_refused(make: Callable[[], object]) -> None:
    """The serializer is total over whatever a tool returns (B28)."""
    signature = compiled(nothing)
    with suppress(ToolResultError):
        assert isinstance(json.loads(signature.dump("t", [make()])), list)


@pytest.mark.parametrize(
    "value", ["text", Model(), [1], None, CYCLE[:0]], ids=[*"abcde"]
)
def test_a_result_that_breaks_its_annotation_is_written_as_it_is(value: object) -> None:
    """A wrong annotation is no reason to lose an answer, nor to warn (B28)."""
    assert written(plain, value) == to_jsonable_python(value)


def test_a_signature_is_shared_between_threads() -> None:
    """One compiled signature serves every user (S57)."""
    signature = compiled(ordinary)
    barrier = threading.Barrier(4)
    seen: list[Any] = []

    def run(number: int) -> None:
        barrier.wait(timeout=5)
        for _ in range(50):
            seen.append(signature.validate("t", {"text": str(number)})["text"])  # noqa: PERF401 - interleaved on purpose

    threads = [threading.Thread(target=run, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=5)
    assert sorted(seen) == sorted(str(n) for n in range(4) for _ in range(50))
