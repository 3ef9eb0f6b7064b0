"""Adapters: other frameworks' tools enter, by an explicit step and only so."""

import inspect
import json
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, field_validator

from toolkit.adapters import adapt_tool
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.context import ToolContext, UserContext
from toolkit.contract import STRICT, RejectionReason
from toolkit.errors import InvalidArgumentsError, InvalidNameError, InvalidToolError

ANN, BOB = UserContext("ann"), UserContext("bob")


class SearchArguments(BaseModel):
    query: str = Field(description="What to look for")
    limit: int = Field(3, ge=1)


class Search(BaseModel):
    """A tool in the manner of other frameworks: a model with a schema of its own."""

    name: str = "search"
    description: str = "Search the web."
    args_schema: ClassVar[type[BaseModel]] = SearchArguments
    calls: list[dict[str, Any]] = []

    def invoke(self, input: dict[str, Any]) -> str:  # noqa: A002 - the framework's name
        self.calls.append(input)
        return f"{input['query']} x{input.get('limit', 3)}"


class AsyncSearch(Search):
    async def ainvoke(self, input: dict[str, Any]) -> str:  # noqa: A002 - as above
        return self.invoke(input)


class Runner:
    """Run it."""

    def run(self, command: "str", times: int = 1) -> str:
        """Run a command.

        Args:
            command: What to run.
            times: How often.
        """
        return command * times


class Callable:
    def __call__(self, text: str) -> str:
        return text


async def call(compiled: CompiledTool, arguments: Any, user: UserContext = ANN) -> Any:
    """Call an adapted tool as the dispatcher does."""
    context = ToolContext(user=user, call_id="c", tool_name=compiled.name)
    checked = compiled.signature.validate(compiled.name, arguments)
    method, positional, named = compiled.bind(
        compiled.instantiate(user), checked, context
    )
    answer = method(*positional, **named)
    return await answer if inspect.isawaitable(answer) else answer


@pytest.mark.parametrize("made", [Search, AsyncSearch])
async def test_a_tool_that_is_a_model_enters_by_the_adapter_only(
    made: type[Search],
) -> None:
    """Dropped with the remedy in its reason, and working once wrapped (B3)."""
    verdict = STRICT.judge(made())
    assert verdict.reason is RejectionReason.PYDANTIC_MODEL
    assert "toolkit.adapt_tool()" in verdict.detail
    compiled = compile_tool(adapt_tool(made()))
    found = compiled.definition
    assert (found.name, found.description) == ("search", "Search the web.")
    assert found.input_schema["required"] == ["query"]
    described = found.input_schema["properties"]
    assert "What to look for" in described["query"]["description"]
    assert "3" in json.dumps(described["limit"])
    assert found.output_schema is None
    assert await call(compiled, {"query": "a"}) == "a x3"
    assert await call(compiled, '{"query": "a", "limit": "2"}') == "a x2"
    with pytest.raises(InvalidArgumentsError):
        await call(compiled, {"query": "a", "limit": 0})


def test_the_kind_of_the_adapted_method_is_kept() -> None:
    """The async twin is preferred, and runs on the loop."""
    assert compile_tool(adapt_tool(Search())).signature.kind == "sync"
    assert compile_tool(adapt_tool(AsyncSearch())).signature.kind == "async"
    chosen = adapt_tool(AsyncSearch(), method="invoke")
    assert compile_tool(chosen).signature.kind == "sync"


async def test_every_user_works_on_a_copy_of_what_is_wrapped() -> None:
    """What one user's calls leave behind no other user finds (S13, B40)."""
    original = Search()
    compiled = compile_tool(adapt_tool(original))
    anns, bobs = compiled.instantiate(ANN), compiled.instantiate(BOB)
    assert anns is not bobs
    await call(compiled, {"query": "a"})
    assert original.calls == []


class Inferred(Search):
    args_schema: ClassVar[Any] = None

    def get_input_schema(self) -> type[BaseModel]:
        return SearchArguments


async def test_a_tool_without_a_schema_of_its_own_may_infer_one() -> None:
    """Frameworks read it off the tool's code; callers see the same arguments (B3)."""
    compiled = compile_tool(adapt_tool(Inferred()))
    assert list(compiled.definition.input_schema["properties"]) == ["query", "limit"]
    assert await call(compiled, {"query": "a", "limit": 2}) == "a x2"


async def test_an_object_without_a_schema_is_read_by_its_method() -> None:
    """Hints and docstring of the method say what callers pass (B3)."""
    compiled = compile_tool(adapt_tool(Runner(), name="runner", timeout=3.0))
    found = compiled.definition
    assert found.timeout == 3.0
    assert found.input_schema["required"] == ["command"]
    described = found.input_schema["properties"]
    assert "What to run." in described["command"]["description"]
    assert described["times"]["type"] == "integer"
    assert found.output_schema == {"type": "string"}
    assert await call(compiled, {"command": "a", "times": 2}) == "aa"


async def test_a_callable_object_is_a_tool_too() -> None:
    """Its name is made of its class, never of its metaclass (B5, S43)."""
    compiled = compile_tool(adapt_tool(Callable()))
    assert compiled.name == "callable"
    properties = compiled.definition.input_schema["properties"]
    assert properties == {"text": {"type": "string"}}
    assert await call(compiled, {"text": "a"}) == "a"
    assert repr(adapt_tool(Callable())) == "<adapted Callable>"


class GuardedArguments(BaseModel):
    path: str = Field(alias="from")
    limit: int = 3

    @field_validator("path")
    @classmethod
    def stays_inside(cls, value: str) -> str:
        assert ".." not in value
        return value.strip()


class Guarded(Search):
    args_schema: ClassVar[type[BaseModel]] = GuardedArguments

    def invoke(self, input: dict[str, Any]) -> str:  # noqa: A002 - as above
        return json.dumps(input)


async def test_the_models_own_validators_judge_the_arguments() -> None:
    """What the framework would refuse is refused, and it gets its own names (B3)."""
    compiled = compile_tool(adapt_tool(Guarded()))
    assert compiled.definition.input_schema["required"] == ["from"]
    assert await call(compiled, {"from": " a "}) == '{"from": "a"}'
    for wrong in ({"from": "../../etc"}, {"path": "a"}, {"from": "a", "other": 1}):
        with pytest.raises(InvalidArgumentsError):
            await call(compiled, wrong)


def test_options_win_over_what_the_target_says() -> None:
    """The backend that wraps it decides on scopes and words (B58)."""
    made = adapt_tool(
        Search(), name="find", description="Mine.", required_scopes=["web"]
    )
    found = compile_tool(made).definition
    assert (found.name, found.description) == ("find", "Mine.")
    assert found.required_scopes == frozenset({"web"})


@pytest.mark.parametrize(
    ("target", "method", "reason"),
    [
        (Search, None, RejectionReason.CLASS_NOT_INSTANCE),
        (object(), None, RejectionReason.MISSING_EXECUTE),
        (SearchArguments(query="a", limit=1), None, RejectionReason.MISSING_EXECUTE),
        (Search(), "arun", RejectionReason.MISSING_EXECUTE),
        (Search(), "name", RejectionReason.MISSING_EXECUTE),
    ],
    ids=["class", "object", "schema", "no such method", "no method"],
)
def test_what_cannot_be_called_cannot_be_adapted(
    target: object, method: str | None, reason: RejectionReason
) -> None:
    """A data schema is no tool, by this way either (S9, B1, B4)."""
    with pytest.raises(InvalidToolError) as caught:
        adapt_tool(target, method=method)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["two words", "modelmetaclass"])
def test_an_adapted_tool_needs_a_legal_name(name: str) -> None:
    """The same rule as for every other way in (S43, B8)."""
    with pytest.raises(InvalidNameError):
        adapt_tool(Search(name=name))
    assert adapt_tool(Search(name=name), name="search").name == "search"
