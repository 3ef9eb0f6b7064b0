"""An execute signature → argument validator, JSON schemas, result serializer."""

import inspect
import json
import re
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from types import FunctionType, NoneType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    NotRequired,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import Field, FieldInfo
from pydantic_core import (
    ErrorDetails,
    SchemaSerializer,
    SchemaValidator,
    ValidationError,
    to_jsonable_python,
)
from pydantic_core.core_schema import ErrorType
from typing_extensions import TypedDict

from toolkit.agent import AgentRun
from toolkit.context import ToolContext, UserContext
from toolkit.contract import wants
from toolkit.docstring import Docstring
from toolkit.errors import (
    InvalidArgumentsError,
    ToolError,
    ToolResultError,
    describe_error,
    kind_of_error,
)
from toolkit.schema import portable_schema, schema_faults
from toolkit.schema.cores import (
    Contents,
    Core,
    PlainField,
    arguments_core,
    read_contents,
    result_core,
)
from toolkit.schema.plain import plain_schema
from toolkit.suspending import may_suspend
from toolkit.tracebacks import is_error

Kind = Literal["sync", "async", "generator", "async_generator"]
ARGUMENTS: Final = "__toolkit_arguments__"
"""The attribute by which a function made here brings its own arguments' adapter."""

Arguments = str | bytes | bytearray | Mapping[str, Any]

_UNWRITABLE: Final = (  # what pydantic-core says of a value's shape
    "Circular reference detected (id repeated)",
    "Circular reference detected (depth exceeded)",
    "Maximum serialization depth exceeded",
)
_ADDRESS: Final = re.compile(r"\bat 0x[0-9a-fA-F]+")  # as CPython's reprs have it
_STREAMS: Final = (
    abc.Iterator,
    abc.Iterable,
    abc.Generator,
    abc.AsyncIterator,
    abc.AsyncIterable,
    abc.AsyncGenerator,
)


_REFUSED: Final = "a check of this tool refuses it"
_CUT: Final = {  # pydantic-core's kinds whose own text quotes the input
    "value_error": _REFUSED,
    "assertion_error": _REFUSED,
    "union_tag_invalid": "Input should have one of the expected tags",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
    "bytes_invalid_encoding": "Data should be validly encoded",
    "datetime_object_invalid": "Input should be a valid datetime",
    "iteration_error": "Input should be readable to its end",
    "mapping_type": "Input should be a valid mapping",
    "get_attribute_error": "Input should have readable attributes",
    "no_such_attribute": "Input has an unknown attribute",
}
_NAME: Final = re.compile(r"[^\W\d]\w{0,63}\Z")  # what an argument may be called
_KNOWN_KINDS: Final = frozenset(get_args(ErrorType))
_AS_THEY_ARE: Final = (NoneType, bool, int, str)  # defaults that JSON shows unchanged
_VARIADIC: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_BY_NAME: Final = (Parameter.POSITIONAL_OR_KEYWORD,)
_SCALARS: Final = (NoneType, bool, int, float, str)
_CONTEXTS: Final = (UserContext, ToolContext, AgentRun)
_ANYTHING: Final[Core] = {"type": "any"}


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
        takes_run: Parameters that get the `AgentRun`.
        positional: Parameters that can only be passed by position, in order, each
            with its default.
        reserved: Names no caller may use, because ``self`` is passed under them.
        contents: What the arguments' schema is made of.
        awaits: Whether the function's own code may suspend; False only where it
            awaits nothing at all. An instance that puts another function in its place
            is not known here.
        validator: Checks arguments.
        serializer: Writes results.
        argument_serializer: Writes checked arguments.
        scalar: The result's type, where its values can be written without options:
            a fifth faster, and most often asked for.
    """

    kind: Kind
    input_schema_json: str
    output_schema_json: str | None
    takes_user: tuple[str, ...]
    takes_context: tuple[str, ...]
    takes_run: tuple[str, ...]
    positional: tuple[tuple[str, Any], ...]
    reserved: frozenset[str]
    contents: Contents
    awaits: bool
    validator: SchemaValidator
    serializer: SchemaSerializer
    argument_serializer: SchemaSerializer
    scalar: type | None

    @property
    def is_async(self) -> bool:
        """Whether what the function returns is awaited, or is an async stream."""
        return self.kind in ("async", "async_generator")

    def validate(self, tool: str, arguments: Arguments) -> dict[str, Any]:
        """Check the arguments and return them converted, by name.

        Args:
            tool: The name the caller used, for the error.
            arguments: JSON text or bytes, or a mapping. It is not changed.

        Raises:
            InvalidArgumentsError: They do not fit, or the tool's own validators fail;
                one fault for each argument, with its path, and never with the value.
            KeyboardInterrupt: The user interrupts.
        """
        checked: dict[str, Any]
        try:
            if isinstance(arguments, str | bytes | bytearray):
                checked = self.validator.validate_json(arguments)
            else:
                checked = self.validator.validate_python(arguments)
            taken = sorted(self.reserved.intersection(checked))
            faults = [(name, "is no argument of this tool") for name in taken]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - validators are the plugin's code
            checked, faults = {}, faults_of(error, self.contents.words)
        if faults:  # raised here, so that it holds nothing of the input as its context
            raise InvalidArgumentsError(tool, faults)
        return checked

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
            if type(value) is self.scalar:
                return self.serializer.to_json(value)
            return self.serializer.to_json(
                value, by_alias=True, warnings=False, fallback=_as_text
            )
        except Exception as error:
            text = describe_error(error)  # may quote the tool: not for the caller
            known = [why for why in _UNWRITABLE if why in text]
            detail = known[0] if known else f"writing it raised {kind_of_error(error)}"
            raise ToolResultError(tool, detail) from error

    def arguments_json(self, checked: Mapping[str, Any]) -> bytes:
        """Write checked arguments as JSON bytes, by the names callers use.

        What the schema masks stays masked; injected parameters are not in it.

        Args:
            checked: What `validate` returned, before `inject` changed it.

        Raises:
            ValueError: They cannot be written, whatever writing them raised.
        """
        try:
            return self.argument_serializer.to_json(
                checked, by_alias=True, warnings=False, fallback=_as_text
            )
        except Exception as error:
            text = f"writing the arguments raised {kind_of_error(error)}"
            raise ValueError(text) from error


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
    documents: tuple[Docstring, ...] = (),
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
    listed = list(inspect.signature(function).parameters.values())
    parameters = listed[skip_first:]
    users = _injected(parameters, hints, UserContext)
    contexts = _injected(parameters, hints, ToolContext)
    runs = _injected(parameters, hints, AgentRun)
    asked = [p for p in parameters if p.name not in (*users, *contexts, *runs)]
    shape = _arguments(function, label, _asked(asked, hints, documents))
    contents = read_contents(shape.core)
    _refuse_contexts(contents)
    kind = kind_of(function)
    returned = hints.get("return", Parameter.empty)
    output, output_schema = _output(returned, kind)
    reserved = _reserved(function, listed) if skip_first else frozenset()
    if shape.is_closed and reserved.isdisjoint(p.name for p in asked):
        reserved = frozenset()  # the arguments' own check refuses them
    return Signature(
        kind=kind,
        input_schema_json=_input_schema(shape),
        output_schema_json=output_schema,
        takes_user=users,
        takes_context=contexts,
        takes_run=runs,
        positional=tuple(
            (p.name, p.default)
            for p in parameters
            if p.kind is Parameter.POSITIONAL_ONLY
        ),
        reserved=reserved,
        contents=contents,
        awaits=kind != "async" or may_suspend(function),
        validator=SchemaValidator(shape.core),
        serializer=output,
        argument_serializer=SchemaSerializer(shape.core),
        scalar=next((one for one in _SCALARS if one is returned), None),
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


_Asked = list[tuple[Parameter, Any, str]]
"""Parameters that callers fill, with their hints and descriptions."""


def _asked(
    asked: list[Parameter],
    hints: Mapping[str, Any],
    documents: tuple[Docstring, ...],
) -> _Asked:
    described: dict[str, str] = {}
    for document in reversed(documents):
        described |= document.parameters
    return [(p, hints.get(p.name, Any), described.get(p.name, "")) for p in asked]


class _Shape(NamedTuple):
    """The arguments, as pydantic knows them. Lives as long as they are compiled."""

    core: Core
    is_closed: bool
    json_schema: Callable[[], dict[str, Any]]


def _arguments(function: Callable[..., Any], label: str, asked: _Asked) -> _Shape:
    """Build what checks the arguments: at once where all of their hints are plain."""
    own: TypeAdapter[Any] | None = getattr(function, ARGUMENTS, None)
    if own:
        return _shape_of(own, is_closed=False)
    fields = _plain_fields(asked)
    core = None if fields is None else arguments_core(label, fields)
    if core is not None:
        ask = partial(_ask, label, asked)
        return _Shape(core, is_closed=True, json_schema=ask)
    is_closed = all(p.kind is not Parameter.VAR_KEYWORD for p, _, _ in asked)
    return _shape_of(_arguments_adapter(label, asked), is_closed=is_closed)


def _ask(label: str, asked: _Asked) -> dict[str, Any]:
    """Let pydantic write the schema of arguments that were written down at once."""
    return _arguments_adapter(label, asked).json_schema()


def _shape_of(adapter: TypeAdapter[Any], *, is_closed: bool) -> _Shape:
    return _Shape(_core_of(adapter), is_closed, adapter.json_schema)


def _core_of(adapter: TypeAdapter[Any]) -> Core:
    """Return an adapter's core schema; one that waits for a name gets it now, or fails.

    Its validator and serializer are made anew of it, at next to no cost, because
    pydantic's own plugins may have wrapped the adapter's.
    """
    if type(adapter.core_schema) is not dict:
        adapter.json_schema()
    return cast("Core", adapter.core_schema)


def _plain_fields(asked: _Asked) -> list[PlainField] | None:
    """Return the arguments as they may be written down at once; None where not."""
    fields = []
    for parameter, hint, description in asked:
        default = parameter.default
        if parameter.kind in _VARIADIC or isinstance(default, FieldInfo):
            return None
        is_required = default is Parameter.empty
        extra = None if is_required else _shown(default)
        fields.append(PlainField(parameter.name, hint, description, extra, is_required))
    return fields


def _arguments_adapter(label: str, asked: _Asked) -> TypeAdapter[Any]:
    """Build the adapter of a typed dict with one key for each argument."""
    fields: dict[str, Any] = {}
    extra: Any = None
    for parameter, hint, description in asked:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            text = f"*{parameter.name} has no names; take a list instead"
            raise UnsupportedSignatureError(text)
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = hint
        else:
            fields[parameter.name] = _field(parameter, hint, description)
    make: Any = TypedDict  # built at run time, from what the signature says
    shape = make(label, fields, **({} if extra is None else {"extra_items": extra}))
    shape.__pydantic_config__ = ConfigDict(extra="forbid" if extra is None else "allow")
    return TypeAdapter(shape)


def _refuse_contexts(contents: Contents) -> None:
    """Refuse arguments that hold a context anywhere, under whatever name."""
    for cls in contents.classes:
        if any(type.__subclasscheck__(one, cls) for one in _CONTEXTS):
            text = (
                f"its arguments hold a {cls.__name__}, which would let callers "
                "say who they are"
            )
            raise UnsupportedSignatureError(text)


def _reserved(function: Callable[..., Any], listed: list[Parameter]) -> frozenset[str]:
    """Return the names under which ``self`` could be passed, also by a wrapper."""
    found = {one.name for one in listed[:1] if one.kind in _BY_NAME}
    if type(function) is not FunctionType or function.__dict__:
        shape = inspect.signature(function, follow_wrapped=False)
        first = next(iter(shape.parameters.values()), None)
        if first is not None and first.kind in _BY_NAME:
            found.add(first.name)
    return frozenset(found)


def _input_schema(shape: _Shape) -> str:
    """Write the arguments' schema, refusing what some model provider would refuse."""
    plain = plain_schema(shape.core, "validation")
    schema = portable_schema(shape.json_schema() if plain is None else plain)
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
    if type(default) in _AS_THEY_ARE:
        return {"default": default}
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
) -> tuple[SchemaSerializer, str | None]:
    """Build the result's serializer and schema; streams answer with a list of parts."""
    if hint is Parameter.empty:
        return SchemaSerializer(_ANYTHING), None
    if kind in ("generator", "async_generator"):
        parts = get_args(hint) if get_origin(hint) in _STREAMS else ()
        hint = list[parts[0] if parts else Any]  # type: ignore[misc]  # built at run time
    try:
        core = result_core(hint)
        schema = None if core is None else plain_schema(core, "serialization")
        if core is None or schema is None:
            adapter: TypeAdapter[Any] = TypeAdapter(hint)
            core = _core_of(adapter)
            schema = plain_schema(core, "serialization")
            if schema is None:
                schema = adapter.json_schema(mode="serialization")
        return SchemaSerializer(core), json.dumps(portable_schema(schema))
    except (PydanticUserError, PydanticSchemaGenerationError):
        return SchemaSerializer(_ANYTHING), None  # no schema: written as it comes


def _as_text(value: object) -> str:
    """Write what JSON does not know, whatever its ``__str__`` does.

    An address is never written: it differs each time, and tells of the process.
    """
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a plugin's object may raise
        return f"<{type(value).__qualname__} that cannot be shown>"
    if not _ADDRESS.search(text):
        return text
    named: Any = value if inspect.isroutine(value) else type(value)
    return f"<{named.__module__}.{named.__qualname__}>"


def faults_of(error: BaseException, words: frozenset[str]) -> list[tuple[str, str]]:
    """Say what is wrong, never with a value; whatever a validator raised.

    Args:
        error: What validating raised.
        words: What a path may show, see `Contents`.

    Returns:
        A path and a reason for each fault, at least one.

    Raises:
        KeyboardInterrupt: The user interrupts while a text is read.
    """
    try:
        if is_error(error, ToolError):  # its text is meant for the caller
            return [("", str.__str__(str(error)))]
        if isinstance(error, ValidationError):
            listed = error.errors(
                include_url=False, include_input=False, include_context=False
            )
            return [(_path(one, words), _text(one)) for one in listed]
    except KeyboardInterrupt:
        raise
    except BaseException as unreadable:  # noqa: BLE001 - a plugin's text may raise
        error = unreadable
    return [("", f"checking them failed with {kind_of_error(error)}")]


def _text(fault: ErrorDetails) -> str:
    kind = fault["type"]
    if kind not in _KNOWN_KINDS:  # a validator's own, which may quote what it likes
        return _REFUSED
    return _CUT.get(kind) or fault["msg"]


def _path(fault: ErrorDetails, words: frozenset[str]) -> str:
    """Write the way to a fault; keys that are data are shown as ``[key]``."""
    steps = []
    for index, step in enumerate(fault["loc"]):
        is_argument = index == 0 and _NAME.match(str(step))
        is_known = step in words or str(step).partition("[")[0] in words
        steps.append(
            str(step) if is_known or is_argument or type(step) is int else "[key]"
        )
    return ".".join(steps)
