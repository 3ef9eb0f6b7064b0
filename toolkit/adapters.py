"""`adapt_tool`: the explicit way in for objects made for other frameworks.

A tool that is itself a pydantic model (as other frameworks' tools are) is never taken
by accident. Whoever wants one says so, by wrapping it.
"""

from collections.abc import Callable
from inspect import Parameter, Signature, iscoroutinefunction, signature
from typing import Annotated, Any, Final, Unpack, get_type_hints

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    TypeAdapter,
)
from pydantic.fields import FieldInfo

from toolkit.contract import RejectionReason, origin_of
from toolkit.errors import InvalidToolError
from toolkit.naming import suggest_name, tool_name
from toolkit.signature import ARGUMENTS
from toolkit.tools import Tool, ToolFacts, frozen_facts

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
        TypeError: Tags or scopes are no collection of names.
        ValueError: The timeout is not above 0.
    """
    chosen = _method_of(target, method)
    own_name = getattr(target, "name", None)
    label = name or (own_name if isinstance(own_name, str) else suggest_name(target))
    text = facts.get("description") or getattr(target, "description", None)
    space: dict[str, object] = {
        **frozen_facts(facts),
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
    model = _arguments_model(target) if method in _TAKES_ONE_INPUT else None

    def invoke(self: _Adapted, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        call = getattr(self._wrapped, method)
        return call(**arguments) if model is None else call(arguments)

    def execute(self: _Adapted, /, **arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        return invoke(self, arguments)

    async def execute_async(self: _Adapted, /, **arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        return await invoke(self, arguments)

    function: Any = execute_async if iscoroutinefunction(bound) else execute
    function.__annotations__ = {}
    if model is None:
        _sign_as(function, _from_method(bound))
    else:
        setattr(function, ARGUMENTS, _adapter_of(model))
    function.__doc__ = bound.__doc__
    made: Callable[..., Any] = function
    return made


def _sign_as(function: Any, shape: Signature) -> None:  # noqa: ANN401 - it gets attributes
    first = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [first, *shape.parameters.values()]
    function.__signature__ = shape.replace(parameters=parameters)
    function.__annotations__ = {
        one.name: one.annotation for one in shape.parameters.values()
    }
    if shape.return_annotation is not Signature.empty:
        function.__annotations__["return"] = shape.return_annotation


def _arguments_model(target: object) -> type[BaseModel] | None:
    """Return the model of the arguments: the target's own, or the one it infers."""
    schema = getattr(target, "args_schema", None)
    if schema is None and callable(infer := getattr(target, "get_input_schema", None)):
        schema = infer()  # a tool that was given none tells what its code takes
    is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
    return schema if is_model else None


def _adapter_of(model: type[BaseModel]) -> TypeAdapter[Any]:
    """Check arguments by the model itself, so that all its validators run."""
    if model.model_config.get("extra") in (None, "ignore"):
        strict = {"model_config": ConfigDict(extra="forbid"), "__module__": __name__}
        kind: Any = type(model)  # its own metaclass makes the subclass
        model = kind(model.__name__, (model,), strict)
    checked: Any = Annotated[model, AfterValidator(_as_given)]
    return TypeAdapter(checked)


def _as_given(checked: BaseModel) -> dict[str, Any]:
    """Return what the caller gave, by the names the caller may use."""
    given = checked.model_fields_set
    named = {
        _outer_name(name, one): getattr(checked, name)
        for name, one in type(checked).model_fields.items()
        if name in given
    }
    return {**named, **(checked.model_extra or {})}


def _outer_name(name: str, info: FieldInfo) -> str:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        alias = next((one for one in alias.choices if isinstance(one, str)), None)
    return alias if isinstance(alias, str) else name


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
