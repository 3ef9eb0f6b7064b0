"""`adapt_tool`: the explicit way in for objects made for other frameworks.

A tool that is itself a pydantic model (as other frameworks' tools are) is never taken
by accident. Whoever wants one says so, by wrapping it.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, iscoroutinefunction, signature
from typing import Annotated, Any, Final, Unpack, get_type_hints

from toolkit.compiler import origin_of
from toolkit.contract import RejectionReason
from toolkit.errors import InvalidToolError
from toolkit.naming import suggest_name, tool_name
from toolkit.tools import Tool, ToolFacts

METHODS: Final = ("execute", "ainvoke", "arun", "invoke", "run", "__call__")
"""Methods tried in this order when none is named; async ones before their twins."""

_TAKES_ONE_INPUT: Final = frozenset({"ainvoke", "arun", "invoke", "run"})


class _Adapted:
    """Base of the classes made here; every user gets a deep copy of what it wraps."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped

    def __repr__(self) -> str:
        return f"<adapted {type(self._wrapped).__name__}>"


def adapt_tool(
    target: object,
    *,
    name: str | None = None,
    method: str | None = None,
    **facts: Unpack[ToolFacts],
) -> Tool:
    """Wrap an object with a method to call as a tool.

    Args:
        target: An instance, such as another framework's tool. Where it has an
            ``args_schema`` (a pydantic model class), or a ``get_input_schema()`` that
            returns one, the arguments come from that, and methods like ``ainvoke`` get
            them as one mapping; otherwise they come from the method's own signature.
        name: The tool's name; by default the target's `name`, else one made from its
            class.
        method: The method to call; by default the first there is of `METHODS`.
        **facts: The optional attributes of a tool; the description defaults to the
            target's.

    Returns:
        A tool to publish or to hand in. Each user works on a deep copy of `target`.

    Raises:
        InvalidToolError: `target` is a class, or has no method to call.
        InvalidNameError: The name is not legal; pass another.
    """
    chosen = _method_of(target, method)
    own_name = getattr(target, "name", None)
    label = name or (own_name if isinstance(own_name, str) else suggest_name(target))
    text = facts.get("description") or getattr(target, "description", None)
    space: dict[str, object] = {
        **facts,
        "__doc__": type(target).__doc__,
        "name": tool_name(label),
        "execute": _execute(target, chosen),
    }
    if isinstance(text, str) and text:
        space["description"] = text
    made: Tool = type(f"Adapted{type(target).__name__}", (_Adapted,), space)(target)
    return made


def _method_of(target: object, method: str | None) -> str:
    names = METHODS if method is None else (method,)
    for name in names:
        if not isinstance(target, type) and callable(getattr(target, name, None)):
            return name
    if isinstance(target, type):
        reason, why = (
            RejectionReason.CLASS_NOT_INSTANCE,
            "it is a class; wrap an instance",
        )
    else:
        reason, why = (
            RejectionReason.MISSING_EXECUTE,
            f"it has none of {', '.join(names)}",
        )
    raise InvalidToolError(origin_of(target), str(reason), why)


def _execute(target: object, method: str) -> Callable[..., Any]:
    """Make the execute function of an adapted class, with a signature of its own."""
    bound = getattr(target, method)
    schema = getattr(target, "args_schema", None)
    if schema is None and callable(infer := getattr(target, "get_input_schema", None)):
        schema = infer()  # a tool that was given none tells what its code takes
    fields: Mapping[str, Any] | None = getattr(schema, "model_fields", None)
    if method not in _TAKES_ONE_INPUT:
        fields = None

    def invoke(self: _Adapted, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        call = getattr(self._wrapped, method)
        return call(**arguments) if fields is None else call(arguments)

    def execute(self: _Adapted, **arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        return invoke(self, arguments)

    async def execute_async(self: _Adapted, **arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        return await invoke(self, arguments)

    function: Any = execute_async if iscoroutinefunction(bound) else execute
    shape = _from_method(bound) if fields is None else _from_fields(fields)
    first = Parameter("self", Parameter.POSITIONAL_ONLY)
    parameters = [first, *shape.parameters.values()]
    function.__signature__ = shape.replace(parameters=parameters)
    function.__annotations__ = {
        one.name: one.annotation for one in shape.parameters.values()
    }
    if shape.return_annotation is not Signature.empty:
        function.__annotations__["return"] = shape.return_annotation
    function.__doc__ = bound.__doc__
    made: Callable[..., Any] = function
    return made


def _from_fields(fields: Mapping[str, Any]) -> Signature:
    return Signature(
        [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if one.is_required() else one,
                annotation=Annotated[one.annotation, one],
            )
            for name, one in fields.items()
        ]
    )


def _from_method(bound: Callable[..., Any]) -> Signature:
    """Return a method's signature with its hints resolved."""
    target = bound if hasattr(bound, "__annotations__") else type(bound).__call__
    hints = get_type_hints(target, include_extras=True)
    own = signature(bound)
    parameters = [
        one.replace(
            annotation=hints.get(one.name, Any),
            kind=Parameter.KEYWORD_ONLY if _is_named(one) else one.kind,
        )
        for one in own.parameters.values()
    ]
    returns = hints.get("return", Signature.empty)
    return Signature(parameters, return_annotation=returns)


def _is_named(parameter: Parameter) -> bool:
    return parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
