"""An execute signature → argument validator, JSON schemas, result serializer."""

import inspect
import json
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import Field, FieldInfo
from pydantic_core import (
    SchemaSerializer,
    SchemaValidator,
    ValidationError,
    to_jsonable_python,
)
from typing_extensions import TypedDict

from toolkit import docstring
from toolkit.context import ToolContext, UserContext
from toolkit.contract import wants
from toolkit.errors import (
    InvalidArgumentsError,
    ToolResultError,
    describe_error,
    kind_of_error,
)
from toolkit.schema import portable_schema, schema_faults

Kind = Literal["sync", "async", "generator", "async_generator"]
Arguments = str | bytes | bytearray | Mapping[str, Any]

_UNWRITABLE: Final = (  # what pydantic-core says of a value's shape
    "Circular reference detected (id repeated)",
    "Circular reference detected (depth exceeded)",
    "Maximum serialization depth exceeded",
)
_STREAMS: Final = (
    abc.Iterator,
    abc.Iterable,
    abc.Generator,
    abc.AsyncIterator,
    abc.AsyncIterable,
    abc.AsyncGenerator,
)


class UnsupportedSignatureError(TypeError):
    """A signature cannot be offered to a caller. Internal: becomes a rejection."""


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """One compiled signature. Immutable, process-wide, safe between threads.

    Attributes:
        kind: How the function answers.
        input_schema_json: Portable JSON Schema of the arguments, as JSON text.
        output_schema_json: That of the result; None when it is not declared.
        takes_user: Parameters that get the `UserContext`.
        takes_context: Parameters that get the `ToolContext`.
        positional: Parameters that can only be passed by position, in order, each
            with its default.
    """

    kind: Kind
    input_schema_json: str
    output_schema_json: str | None
    takes_user: tuple[str, ...]
    takes_context: tuple[str, ...]
    positional: tuple[tuple[str, Any], ...]
    validator: SchemaValidator
    serializer: SchemaSerializer

    def validate(self, tool: str, arguments: Arguments) -> dict[str, Any]:
        """Check the arguments and return them converted, by name.

        Args:
            tool: The name the caller used, for the error.
            arguments: JSON text or bytes, or a mapping. It is not changed.

        Raises:
            InvalidArgumentsError: They do not fit; one fault for each argument, with
                its path, and never with the value.
        """
        try:
            if isinstance(arguments, str | bytes | bytearray):
                return self.validator.validate_json(arguments)  # type: ignore[no-any-return]  # the schema is a typed dict
            return self.validator.validate_python(arguments)  # type: ignore[no-any-return]  # as above
        except ValidationError as error:
            listed = error.errors(
                include_url=False, include_input=False, include_context=False
            )
            faults = [(".".join(map(str, one["loc"])), one["msg"]) for one in listed]
        raise InvalidArgumentsError(tool, faults)

    def inject(
        self, arguments: dict[str, Any], context: ToolContext
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments for the function."""
        for name in self.takes_user:
            arguments[name] = context.user
        for name in self.takes_context:
            arguments[name] = context
        leading = [arguments.pop(name, default) for name, default in self.positional]
        return leading, arguments

    def dump(self, tool: str, value: object) -> bytes:
        """Write a result as JSON bytes.

        Objects that JSON does not know are written as their text; NaN and infinities
        as null.

        Raises:
            ToolResultError: It cannot be written, for example because it is too deep.
        """
        try:
            return self.serializer.to_json(value, warnings=False, fallback=_as_text)
        except Exception as error:
            text = describe_error(error)  # may quote the tool: not for the caller
            known = [why for why in _UNWRITABLE if why in text]
            detail = known[0] if known else f"writing it raised {kind_of_error(error)}"
            raise ToolResultError(tool, detail) from error


def kind_of(function: object) -> Kind:
    """Tell how a function answers, without calling it."""
    target = function
    while isinstance(target, partial):
        target = target.func
    if not inspect.isroutine(target) and callable(target):
        target = getattr(type(target), "__call__", target)  # noqa: B004 - the method itself is wanted
    if inspect.isasyncgenfunction(target):
        return "async_generator"
    if inspect.iscoroutinefunction(target):
        return "async"
    if inspect.isgeneratorfunction(target):
        return "generator"
    return "sync"


def compile_signature(
    function: Callable[..., Any],
    *,
    label: str,
    skip_first: bool,
    namespace: Mapping[str, Any],
    documents: tuple[str | None, ...] = (),
) -> Signature:
    """Compile what a caller needs to know of a function. Does not call it.

    Args:
        function: The function, unbound when `skip_first` is set.
        label: The tool's name, for titles.
        skip_first: Whether the first parameter is ``self`` or ``cls``.
        namespace: Names that its string annotations may use beside its module's.
        documents: Docstrings that may describe parameters; the first that does wins.

    Raises:
        UnsupportedSignatureError: A parameter cannot be passed by name in JSON.
        Exception: Whatever resolving a hint or building a schema raises.
    """
    hints = _hints(function, namespace)
    parameters = list(inspect.signature(function).parameters.values())[skip_first:]
    users = _injected(parameters, hints, UserContext)
    contexts = _injected(parameters, hints, ToolContext)
    asked = [p for p in parameters if p.name not in (*users, *contexts)]
    described = _descriptions(documents)
    adapter = _arguments_adapter(
        label, [(p, hints.get(p.name, Any), described.get(p.name, "")) for p in asked]
    )
    kind = kind_of(function)
    output, output_schema = _output(hints.get("return", Parameter.empty), kind)
    return Signature(
        kind=kind,
        input_schema_json=_input_schema(adapter),
        output_schema_json=output_schema,
        takes_user=users,
        takes_context=contexts,
        positional=tuple(
            (p.name, p.default)
            for p in parameters
            if p.kind is Parameter.POSITIONAL_ONLY
        ),
        validator=SchemaValidator(adapter.core_schema),
        serializer=SchemaSerializer(output.core_schema),
    )


def _hints(
    function: Callable[..., Any], namespace: Mapping[str, Any]
) -> dict[str, Any]:
    target: Any = function
    if not inspect.isroutine(target):  # a callable object, or functools.partial
        target = getattr(target, "func", None) or type(target).__call__
    return get_type_hints(target, localns=dict(namespace), include_extras=True)


def _injected(
    parameters: list[Parameter], hints: Mapping[str, Any], kind: type
) -> tuple[str, ...]:
    return tuple(p.name for p in parameters if wants(hints.get(p.name), kind))


def _descriptions(documents: tuple[str | None, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for document in reversed(documents):
        found |= docstring.parse(document).parameters
    return found


def _arguments_adapter(
    label: str, asked: list[tuple[Parameter, Any, str]]
) -> TypeAdapter[Any]:
    """Build the adapter of a typed dict with one key for each argument."""
    fields: dict[str, Any] = {}
    extra: Any = None
    for parameter, hint, description in asked:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            text = f"*{parameter.name} has no names; take a list instead"
            raise UnsupportedSignatureError(text)
        if any(_mentions(hint, kind) for kind in (UserContext, ToolContext)):
            text = f"{parameter.name!r} would let callers say who they are"
            raise UnsupportedSignatureError(text)
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = hint
        else:
            fields[parameter.name] = _field(parameter, hint, description)
    make: Any = TypedDict  # built at run time, from what the signature says
    shape = make(label, fields, **({} if extra is None else {"extra_items": extra}))
    shape.__pydantic_config__ = ConfigDict(extra="forbid" if extra is None else "allow")
    return TypeAdapter(shape)


def _mentions(hint: object, kind: type) -> bool:
    """Tell whether a hint holds `kind` anywhere, as ``list[kind]`` does."""
    return hint is kind or any(_mentions(part, kind) for part in get_args(hint))


def _input_schema(adapter: TypeAdapter[Any]) -> str:
    """Write the arguments' schema, refusing what some model provider would refuse."""
    schema = portable_schema(adapter.json_schema())
    faults = schema_faults(schema)
    if faults:
        raise UnsupportedSignatureError(" ".join(faults))
    return json.dumps(schema)


def _field(parameter: Parameter, hint: Any, description: str) -> Any:  # noqa: ANN401 - type forms
    """Turn a parameter into a field; where it is absent its own default applies."""
    default = parameter.default
    if description and not _is_described(hint) and not _is_described(default):
        hint = Annotated[hint, Field(description=description)]
    if isinstance(default, FieldInfo):
        hint = Annotated[hint, default]
        return hint if default.is_required() else NotRequired[hint]
    if default is Parameter.empty:
        return hint
    return NotRequired[Annotated[hint, Field(json_schema_extra=_shown(default))]]


def _shown(default: object) -> dict[str, Any] | None:
    """Return the schema's ``default``, where JSON can express it."""
    try:
        return {"default": to_jsonable_python(default)}
    except Exception:  # noqa: BLE001 - an odd default is still a default, just not shown
        return None


def _is_described(hint: object) -> bool:
    infos = (hint, *getattr(hint, "__metadata__", ()))
    return any(isinstance(one, FieldInfo) and one.description for one in infos)


def _output(
    hint: Any,  # noqa: ANN401 - type forms
    kind: Kind,
) -> tuple[TypeAdapter[Any], str | None]:
    """Build the result's adapter and schema; streams answer with a list of parts."""
    if hint is Parameter.empty:
        return TypeAdapter(Any), None
    if kind in ("generator", "async_generator"):
        parts = get_args(hint) if get_origin(hint) in _STREAMS else ()
        hint = list[parts[0] if parts else Any]  # type: ignore[misc]  # built at run time
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        schema = portable_schema(adapter.json_schema(mode="serialization"))
        return adapter, json.dumps(schema)
    except (PydanticUserError, PydanticSchemaGenerationError):
        return TypeAdapter(Any), None  # a type without a schema: written as it comes


def _as_text(value: object) -> str:
    """Write what JSON does not know, whatever its ``__str__`` does."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a plugin's object may raise
        return f"<{type(value).__qualname__} that cannot be shown>"
