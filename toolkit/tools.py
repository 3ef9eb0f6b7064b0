"""What a tool is: the `Tool` protocol, its `ToolDefinition`, and the `@tool` decorator.

This file is not called ``tool.py`` because ``toolkit.tool`` is the decorator, and a
submodule of that name would replace it in the package as soon as it is imported.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from typing import (
    Any,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
    runtime_checkable,
)

from toolkit.naming import ToolName, tool_name

P = ParamSpec("P")
R = TypeVar("R")

NO_SCOPES: Final[frozenset[str]] = frozenset()


@runtime_checkable
class Tool(Protocol):
    """Anything with a `name` and an `execute`; no subclassing needed.

    `execute` may be plain, ``async``, a generator or an async generator (its parts
    become a list). Optional attributes: `description` (default: the docstring),
    `version`, `tags`, `required_scopes`, `timeout` (seconds), `read_only`,
    `destructive`, `idempotent`, and `close` or `aclose` for clean-up.

    ``isinstance(x, Tool)`` looks only for the two attributes; `toolkit.ToolContract`
    is the judge that everything here goes by.
    """

    @property
    def name(self) -> str:
        """The name callers use: 1 to 64 of ``a-z A-Z 0-9 _ -``."""
        ...

    def execute(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any tool's signature fits
        """Do the work."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """What a caller may know of a tool. Immutable; shared by all users.

    Attributes:
        name: The name to call it by in the view this definition was taken from.
        qualified_name: ``owner.name``, always callable too.
        description: What it does, for people and models.
        input_schema_json: JSON Schema 2020-12 of the arguments, as JSON text.
        output_schema_json: That of the result; None when the tool declares none.
        version: The tool's own version, empty when it has none.
        tags: Free labels, sorted.
        required_scopes: A user needs all of these to see or call it.
        timeout: Seconds the author allows one call; None: the operator's default.
        read_only: The author's hint that it changes nothing; None: not said.
        destructive: The hint that it may destroy something; None: not said.
        idempotent: The hint that a repeat changes nothing more; None: not said.
        streaming: Whether the result comes in parts.
    """

    name: ToolName
    qualified_name: str
    description: str
    input_schema_json: str
    output_schema_json: str | None = None
    version: str = ""
    tags: tuple[str, ...] = ()
    required_scopes: frozenset[str] = NO_SCOPES
    timeout: float | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    streaming: bool = False

    @property
    def input_schema(self) -> dict[str, Any]:
        """A fresh copy of the arguments' schema; an object at the top."""
        schema: dict[str, Any] = json.loads(self.input_schema_json)
        return schema

    @property
    def output_schema(self) -> dict[str, Any] | None:
        """A fresh copy of the result's schema; None when the tool declares none."""
        if self.output_schema_json is None:
            return None
        schema: dict[str, Any] = json.loads(self.output_schema_json)
        return schema


class FunctionTool(Generic[P, R]):
    """A function made into a tool by `@tool`. Holds no state of its own.

    Calling it calls the function, so decorated functions stay testable as they are.
    """

    def __init__(
        self, function: Callable[P, R], name: ToolName, facts: Mapping[str, object]
    ) -> None:
        """Take over the function's name, docstring and module, and the `facts`."""
        update_wrapper(self, function)
        self.name = name
        self.execute = function
        self.__dict__.update(facts)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.execute(*args, **kwargs)

    def __repr__(self) -> str:
        """Name the tool and its function."""
        return f"<tool {self.name} = {self.__module__}:{self.execute.__qualname__}>"


class ToolFacts(TypedDict, total=False):
    """The optional attributes of a tool, as `@tool` takes them."""

    description: str
    version: str
    tags: Iterable[str]
    required_scopes: Iterable[str]
    timeout: float
    read_only: bool
    destructive: bool
    idempotent: bool


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    *, name: str | None = None, **facts: Unpack[ToolFacts]
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    **facts: Unpack[ToolFacts],
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a tool of a function; its name is the function's unless `name` is given.

    The other options are the optional attributes of `Tool`. The function keeps working
    as a function.

    >>> @tool(tags={"text"})
    ... def shout(text: str) -> str:
    ...     "Upper-case a text."
    ...     return text.upper()
    >>> shout("hi"), shout.name
    ('HI', 'shout')

    Raises:
        InvalidNameError: The name is not legal; pass another as ``name=``.
        TypeError: An option is unknown, or has the wrong type.
        ValueError: The timeout is not above 0.
    """
    unknown = sorted(facts.keys() - ToolFacts.__annotations__.keys())
    if unknown:
        known = ", ".join(ToolFacts.__annotations__)
        text = f"@tool has no option {unknown[0]!r}; it takes name, {known}"
        raise TypeError(text)
    kept = frozen_facts(facts)

    def make(target: Callable[P, R]) -> FunctionTool[P, R]:
        label = getattr(target, "__name__", None) if name is None else name
        return FunctionTool(target, tool_name(label), kept)

    return make if function is None else make(function)


def frozen_facts(facts: ToolFacts) -> dict[str, object]:
    """Copy a tool's optional attributes so that they say the same at each reading.

    Raises:
        TypeError: Tags or scopes are no collection of names, or one bare string; the
            timeout is no number.
        ValueError: The timeout is not above 0.
    """
    kept: dict[str, Any] = {**facts}
    for option, freeze in (("tags", tuple), ("required_scopes", frozenset)):
        value = kept.get(option)
        if isinstance(value, str | bytes):
            text = f"{option} is one string; pass a list such as [{value!r}]"
            raise TypeError(text)
        if value is not None:
            kept[option] = freeze(value)
    timeout = kept.get("timeout")
    if isinstance(timeout, bool | str | bytes):
        text = f"timeout is {timeout!r}; pass a number of seconds"
        raise TypeError(text)
    if timeout is not None and not timeout > 0:
        text = f"timeout is {timeout!r}; pass seconds above 0, or leave it out"
        raise ValueError(text)
    return kept
