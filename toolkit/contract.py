"""What counts as a tool: ordered, pure rules, each with a reason code.

Every way in goes by this one judge: discovery, factory, registry, dispatcher. The
rules read candidates without running their code (no ``getattr``, no ``isinstance``, no
``__class__``), so a class cannot lie about what it is. Plugin code runs in two places
only: a property called ``name`` on an instance, and the one probe instance of a class
that sets its name in ``__init__``.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import EnumMeta, StrEnum
from inspect import Parameter, signature
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    MethodType,
    ModuleType,
    UnionType,
)
from typing import Annotated, Final, Self, Union, get_args, get_origin

from toolkit.context import UserContext
from toolkit.errors import describe_error
from toolkit.naming import name_fault, suggest_name
from toolkit.origin import Origin

SCHEMA_TEXT: Final = "BaseModel classes are data schemas, not executable tools"


class Remedied(StrEnum):
    """Stable codes that say what to do.

    Attributes:
        remedy: What whoever reads the code can do, in a sentence.
    """

    remedy: str

    def __new__(cls, value: str, remedy: str = "") -> Self:
        """Attach the remedy to the code."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.remedy = remedy
        return member


class RejectionReason(Remedied):
    """Why something is no tool. The values are stable; `remedy` says what to do."""

    PYDANTIC_MODEL = (
        "pydantic_model",
        (
            "Give the tool a plain class and use the model as an argument or result "
            "type; wrap a tool that is itself a model with toolkit.adapt_tool()."
        ),
    )
    PYDANTIC_DATACLASS = (
        "pydantic_dataclass",
        "Use it as an argument or result type of a tool with an execute method.",
    )
    TYPED_DICT = "typed_dict", "Use it as an argument or result type of a tool."
    NAMED_TUPLE = "named_tuple", "Use it as an argument or result type of a tool."
    ENUM = "enum", "Use it as the type of a tool's argument."
    EXCEPTION = "exception", "Raise it in a tool; it is no tool itself."
    PROTOCOL = "protocol", "Publish a class that implements the protocol."
    ABSTRACT = "abstract", "Publish a subclass that implements every abstract method."
    GENERIC_ALIAS = "generic_alias", "Publish the class itself or a subclass of it."
    PLAIN_FUNCTION = "plain_function", "Decorate the function with @toolkit.tool."
    MISSING_NAME = "missing_name", "Give the class a `name` string."
    ILLEGAL_NAME = "illegal_name", "Choose another `name`."
    MISSING_EXECUTE = "missing_execute", "Give the class that method."
    EXECUTE_NOT_CALLABLE = "execute_not_callable", "Make it a method."
    UNSUPPORTED_CONSTRUCTOR = (
        "unsupported_constructor",
        "Let the constructor take no argument, or one annotated UserContext.",
    )
    CONSTRUCTOR_FAILED = (
        "constructor_failed",
        "Set `name` on the class, so that no instance is needed to read it.",
    )
    INVALID_ATTRIBUTE = (
        "invalid_attribute",
        "Set it on the class as the tool contract says, or leave it out.",
    )
    UNSUPPORTED_SIGNATURE = (
        "unsupported_signature",
        "Annotate each argument with a type that has a JSON schema.",
    )
    UNREADABLE = "unreadable", "Let its attributes be read without raising."
    CLASS_NOT_INSTANCE = (
        "class_not_instance",
        (
            "Register an instance, or hand classes to "
            "create_user_tool_system(tool_classes=[...])."
        ),
    )
    NOT_COPYABLE = (
        "not_copyable",
        "Publish the class, so that every user gets an instance of their own.",
    )
    PRIVATE_NAME = "private_name", "Drop the leading underscore to publish it."
    RE_EXPORTED = "re_exported", "It is judged in the module that defines it."
    SAME_OBJECT = "same_object", "Publish it once; the other entry is kept."
    VETOED = "vetoed", "Ask the operator whose hook refused it."
    REFUSED_BY_HANDLER = "refused_by_handler", "See the registry's validation handlers."


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one candidate: accepted, or rejected with a reason."""

    reason: RejectionReason | None = None
    detail: str = ""

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return self.reason is None


ACCEPTED: Final = Verdict()


class Subject:
    """A candidate as the rules see it: read statically, once."""

    __slots__ = ("_spaces", "cls", "is_class", "method", "mro", "name", "obj", "probe")

    def __init__(self, obj: object, method: str) -> None:
        """Look at the real type, whatever ``__class__`` says.

        `name` and `probe` are what `judge_name` learns: the raw name, and the one
        instance it had to make of a class that sets its name in ``__init__``.
        """
        kind = type(obj)
        self.obj = obj
        self.name: object = MISSING
        self.probe: object = None
        self.method = method
        self.is_class = issubclass(kind, type)
        self.cls: type = obj if self.is_class else kind  # type: ignore[assignment]  # issubclass has told
        self.mro: tuple[type, ...] = _read_mro(self.cls) or ()
        self._spaces = list(map(class_space, self.mro))

    def own(self, attribute: str) -> object:
        """Return what the class itself (not its bases) holds, else `MISSING`."""
        return class_space(self.cls).get(attribute, MISSING)

    def read(self, attribute: str) -> object:
        """Return the attribute as stored, descriptors unresolved, else `MISSING`."""
        found = MISSING
        for space in self._spaces:
            if attribute in space:
                found = space[attribute]
                break
        if self.is_class or hasattr(type(found), "__set__"):
            return found
        return _instance_dict(self.obj).get(attribute, found)


MISSING: Final = object()
class_space: Final = type.__dict__["__dict__"].__get__
"""Reads what a class itself holds, without its metaclass having a say."""
_read_mro: Final = type.__dict__["__mro__"].__get__
_read_qualname: Final = type.__dict__["__qualname__"].__get__
_read_module: Final = type.__dict__["__module__"].__get__
_read_flags: Final = type.__dict__["__flags__"].__get__
_is_base: Final = type.__subclasscheck__
"""`issubclass` the other way round, read from the real types: nobody can answer."""
_IS_ABSTRACT: Final = 1 << 20  # Py_TPFLAGS_IS_ABSTRACT, CPython Include/object.h

Rule = Callable[[Subject], Verdict | None]
"""Judges one subject: a rejection; None (or `ACCEPTED`) means no objection, go on."""


def _instance_dict(obj: object) -> dict[str, object]:
    try:
        space = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return space if type(space) is dict else {}


def label(subject: Subject) -> str:
    """Name a subject without running its code: ``class X`` or ``X instance``."""
    name = _read_qualname(subject.cls)
    return f"class {name}" if subject.is_class else f"{name} instance"


def _reject(subject: Subject, reason: RejectionReason, why: str) -> Verdict:
    return Verdict(reason, f"{label(subject)} {why}. {reason.remedy}")


def judge_pydantic_model(subject: Subject) -> Verdict | None:
    """Reject pydantic models of v1 and v2, their instances and aliases of them."""
    cls: object = subject.cls
    if _is_alias(subject):
        is_plain = type(subject.obj) is GenericAlias  # has no __dict__ of its own
        found = subject.obj.__origin__ if is_plain else None  # type: ignore[attr-defined]  # its real type has it
        cls = found or _instance_dict(subject.obj).get("__origin__")
        if not issubclass(type(cls), type):
            return None
    for module in ("pydantic.main", "pydantic.v1.main"):
        # What is not loaded has no subclass.
        loaded = sys.modules.get(module)
        model = vars(loaded).get("BaseModel") if loaded is not None else None
        if model is not None and _is_base(model, cls):  # type: ignore[arg-type]  # a class, by its real type
            reason = RejectionReason.PYDANTIC_MODEL
            why = f"is a pydantic model: {SCHEMA_TEXT}"
            return _reject(subject, reason, why)
    return None


def _is_alias(subject: Subject) -> bool:
    if subject.is_class:
        return False
    kind = type(subject.obj)
    return kind is GenericAlias or kind is UnionType or _read_module(kind) == "typing"


def judge_schema(subject: Subject) -> Verdict | None:
    """Reject the other kinds of data schema."""
    is_v1 = issubclass(type(subject.read("__pydantic_model__")), type)
    if is_v1 or subject.read("__is_pydantic_dataclass__") is True:
        why = "is a pydantic dataclass, a data schema"
        return _reject(subject, RejectionReason.PYDANTIC_DATACLASS, why)
    if _read_qualname(type(subject.cls)) == "_TypedDictMeta":
        return _reject(subject, RejectionReason.TYPED_DICT, "is a TypedDict, a schema")
    if _is_base(tuple, subject.cls) and subject.read("_fields") is not MISSING:
        return _reject(subject, RejectionReason.NAMED_TUPLE, "is a named tuple")
    if issubclass(type(subject.cls), EnumMeta):
        return _reject(subject, RejectionReason.ENUM, "is an enum")
    if _is_base(BaseException, subject.cls):
        return _reject(subject, RejectionReason.EXCEPTION, "is an exception")
    return None


def judge_incomplete(subject: Subject) -> Verdict | None:
    """Reject protocols, abstract classes and aliases: no instance can be made."""
    if _is_alias(subject):
        why = "is a type expression, not a class"
        return _reject(subject, RejectionReason.GENERIC_ALIAS, why)
    if subject.is_class and subject.own("_is_protocol") is True:
        return _reject(subject, RejectionReason.PROTOCOL, "is a Protocol")
    if subject.is_class and _read_flags(subject.cls) & _IS_ABSTRACT:
        missing = subject.own("__abstractmethods__")
        names = ", ".join(sorted(missing)) if type(missing) is frozenset else ""
        return _reject(subject, RejectionReason.ABSTRACT, f"is abstract ({names})")
    return None


def judge_function(subject: Subject) -> Verdict | None:
    """Reject bare functions, and say how to make one a tool."""
    kind = type(subject.obj)
    if kind is FunctionType or kind is BuiltinFunctionType or kind is MethodType:
        name = getattr(subject.obj, "__name__", "")
        why = f"{name!r} is a plain function"
        reason = RejectionReason.PLAIN_FUNCTION
        return Verdict(reason, f"{why}. {reason.remedy}")
    return None


def judge_name(subject: Subject) -> Verdict | None:
    """Reject what has no legal `name`; probe one instance only where it is needed."""
    name = subject.read("name")
    if hasattr(type(name), "__get__"):  # a property or slot: only an instance knows
        name = MISSING if subject.is_class else subject.obj.name  # type: ignore[attr-defined]  # read() found it
    if name is MISSING and subject.is_class and _may_probe(subject):
        try:
            subject.probe = subject.cls()
            name = getattr(subject.probe, "name", MISSING)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the constructor is the plugin's
            why = f"has no `name` and its constructor raised {describe_error(error)}"
            return _reject(subject, RejectionReason.CONSTRUCTOR_FAILED, why)
    subject.name = name
    return _judge_name_text(subject, name)


def _judge_name_text(subject: Subject, name: object) -> Verdict | None:
    if name is MISSING:
        why = f"has no `name` (for example {suggest_name(subject.cls)!r})"
        return _reject(subject, RejectionReason.MISSING_NAME, why)
    fault = name_fault(name)
    if fault:
        shown = f" {name[:80]!r}" if type(name) is str else ""
        why = f"has an illegal name{shown}: {fault}"
        return _reject(subject, RejectionReason.ILLEGAL_NAME, why)
    return None


def _may_probe(subject: Subject) -> bool:
    """Tell whether one instance may be made, because it might know its name."""
    has_method = subject.read(subject.method) is not MISSING
    plan = constructor_plan(subject)
    return has_method and plan is not None and not plan


def judge_method(subject: Subject) -> Verdict | None:
    """Reject what has no callable `execute`."""
    method = subject.read(subject.method)
    if method is MISSING:
        reason = RejectionReason.MISSING_EXECUTE
        return _reject(subject, reason, f"has no `{subject.method}`")
    if callable(method) or type(method) is classmethod:
        return None
    why = f"has `{subject.method}`, but it is {type(method).__name__}, not a method"
    return _reject(subject, RejectionReason.EXECUTE_NOT_CALLABLE, why)


def judge_constructor(subject: Subject) -> Verdict | None:
    """Reject classes that nobody can instantiate for a user."""
    if subject.is_class and constructor_plan(subject) is None:
        why = "has a constructor that needs other arguments"
        return _reject(subject, RejectionReason.UNSUPPORTED_CONSTRUCTOR, why)
    return None


def constructor_plan(subject: Subject) -> str | None:
    """Say how to make an instance.

    Returns:
        The name of the parameter that takes the `UserContext`, ``""`` when the
        constructor needs nothing, None when it needs something else.
    """
    init = subject.read("__init__")
    if init is object.__init__:
        init = subject.read("__new__")
        init = init.__func__ if type(init) is staticmethod else init
    if init is object.__new__ or init is object.__init__:
        return ""
    is_plain = type(init) is FunctionType and not init.__dict__  # no __wrapped__
    user = ""
    for name, annotation, is_required in (
        _plain_parameters(init) if is_plain else _parameters(init)  # type: ignore[arg-type]  # is_plain has told
    ):
        if name and wants(annotation, UserContext):
            user = name
        elif is_required:
            return None
    return user


_Parameters = Iterator[tuple[str, object, bool]]
"""Name (empty when it takes no keyword), annotation, and whether it is required."""


def _plain_parameters(init: FunctionType) -> _Parameters:
    """Yield what `_parameters` does, in a tenth of the time."""
    code = init.__code__
    count = code.co_argcount
    hints, by_name = init.__annotations__, init.__kwdefaults__ or {}
    required = count - len(init.__defaults__ or ())
    for index in range(min(1, count), count + code.co_kwonlyargcount):
        name = code.co_varnames[index]
        is_required = index < required if index < count else name not in by_name
        shown = name if index >= code.co_posonlyargcount else ""
        yield shown, hints.get(name), is_required


def _parameters(init: object) -> _Parameters:
    """Yield the parameters of whatever has a signature, but for the first."""
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    for one in list(signature(init).parameters.values())[1:]:  # type: ignore[arg-type]  # anything else raises TypeError
        if one.kind not in variadic:
            shown = "" if one.kind is Parameter.POSITIONAL_ONLY else one.name
            yield shown, one.annotation, one.default is Parameter.empty


def origin_of(target: object) -> Origin:
    """Return where an object handed in was defined, whatever it does.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    cls = target if issubclass(type(target), type) else type(target)
    kind = _read_qualname(cls)
    try:
        subject = Subject(target, "execute")
        module, name = subject.read("__module__"), subject.read("__qualname__")
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - reading an instance may run its class's code
        module, name = class_space(type(target)).get("__module__"), kind
    shown = name if type(name) is str else kind
    return Origin(reference=f"{module}:{shown}" if type(module) is str else shown)


def identity_of(target: object) -> str:
    """Return where an object itself is defined, as ``module:name``.

    Empty when there is nothing, or something else, under the name it goes by. Runs none
    of its code but what `origin_of` may.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    reference = origin_of(target).reference
    name, _, path = reference.partition(":")
    found: object = sys.modules.get(name)
    for part in path.split("."):
        if issubclass(type(found), ModuleType):
            found = vars(found).get(part)
        else:
            is_class = issubclass(type(found), type)
            found = class_space(found).get(part) if is_class else None
    return reference if found is target else ""


def wants(annotation: object, kind: type) -> bool:
    """Tell whether an annotation asks for `kind`: itself, optional, or as a string."""
    if type(annotation) is str:
        return re.search(rf"\b{kind.__name__}\b", annotation) is not None
    form = get_origin(annotation)
    if form is Annotated:
        return wants(get_args(annotation)[0], kind)
    if form is Union or form is UnionType:
        return any(wants(member, kind) for member in get_args(annotation))
    return annotation is kind


RULES: Final[tuple[Rule, ...]] = (
    judge_pydantic_model,
    judge_schema,
    judge_incomplete,
    judge_function,
    judge_method,
    judge_name,
    judge_constructor,
)
"""The strict rules in order; the first rejection is the verdict."""


@dataclass(frozen=True, slots=True)
class ToolContract:
    """The judge of what counts as a tool. Immutable; the default is strict.

    Inject another wherever a ``contract=`` is taken, to change what an application
    calls a tool. `rules` never lose the first one in practice: a contract without
    `judge_pydantic_model` would let schemas in, so it is put back.

    Attributes:
        method: The method that a tool must have and that a call runs.
        rules: Pure functions, asked in order.
        is_for_agents: Whether it judges agents, whose method takes a message and a run.
    """

    method: str = "execute"
    rules: tuple[Rule, ...] = RULES
    is_for_agents: bool = False

    def __post_init__(self) -> None:
        """Keep the rule against schemas, whatever else is chosen."""
        if judge_pydantic_model not in self.rules:
            object.__setattr__(self, "rules", (judge_pydantic_model, *self.rules))

    def judge(self, obj: object) -> Verdict:
        """Judge any object at all. Never raises; the same object, the same verdict."""
        return self.examine(obj)[0]

    def examine(self, obj: object) -> tuple[Verdict, Subject | None]:
        """Judge any object, and return with it what the rules read.

        Returns:
            The verdict and the subject; the subject is None when the object could not
            even be looked at.

        Raises:
            KeyboardInterrupt: The user interrupts; everything else is a verdict.
        """
        subject = None
        try:
            subject = Subject(obj, self.method)
            for rule in self.rules:
                verdict = rule(subject)
                if verdict is not None and not verdict.accepted:
                    return verdict, subject
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - reading ran the candidate's code
            reason = RejectionReason.UNREADABLE
            why = f"cannot be judged, reading it raised {describe_error(error)}"
            text = f"{_read_qualname(type(obj))} {why}. {reason.remedy}"
            return Verdict(reason, text), subject
        return ACCEPTED, subject


STRICT: Final = ToolContract()
"""The default contract: a legal `name`, a callable `execute`, and no schema."""
