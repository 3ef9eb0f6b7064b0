"""From an object to a `CompiledTool`: judged, compiled, ready to be given to users.

`compile_tool` is the only door: discovery, factory, registry and dispatcher all use it,
so nothing is a tool here that the contract has not accepted.
"""

import copy
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import FunctionType, NoneType
from typing import Any, Final, cast
from weakref import WeakValueDictionary

from toolkit import docstring
from toolkit.cleanup import close_now
from toolkit.context import ToolContext, UserContext
from toolkit.contract import (
    MISSING,
    SCHEMA_TEXT,
    STRICT,
    RejectionReason,
    Subject,
    ToolContract,
    class_space,
    constructor_plan,
    judge_pydantic_model,
    label,
    origin_of,
)
from toolkit.errors import (
    InvalidToolError,
    ToolConstructionError,
    describe_error,
    kind_of_error,
)
from toolkit.facts import HINTS, Facts
from toolkit.guards import start_pydantic
from toolkit.naming import ToolName, qualified_name, tool_name
from toolkit.origin import Origin
from toolkit.signature import Signature, compile_signature
from toolkit.tools import NO_SCOPES, ToolDefinition


class _Given:
    """The instances that users have, known weakly. Safe between threads."""

    __slots__ = ("_alive", "_lock")

    def __init__(self) -> None:
        self._alive: WeakValueDictionary[int, object] = WeakValueDictionary()
        self._lock = threading.Lock()

    def claim(self, subject: Subject) -> bool:
        """Note an instance; False when somebody has it, or nobody could tell."""
        instance = subject.obj
        try:
            with self._lock:
                if self._alive.get(id(instance)) is instance:
                    return False
                self._alive[id(instance)] = instance
        except TypeError:  # it has slots only: there is no weak reference to it
            return _is_always_new(subject)
        return True


def _is_always_new(subject: Subject) -> bool:
    """Tell whether making or copying it has to give another object each time."""
    meta = Subject(type(subject.cls), "__call__")
    return meta.read("__call__") is type.__call__ and all(
        subject.read(name) in (MISSING, getattr(object, name, MISSING))
        for name in ("__new__", "__deepcopy__", "__reduce__", "__reduce_ex__")
    )


_HOOKS: Final = ("__new__", "__getattribute__", "__getattr__", "__class__")
_NEVER: Final = object()
"""Stands for scopes that have to be compared each time."""


def _is_plain(subject: Subject, user_parameter: str) -> bool:
    """Tell whether a class can only make new objects of its own, called as we do."""
    if not subject.is_class or type(subject.cls) is not type:
        return False
    ordinary = class_space(object)
    if any(subject.read(hook) is not ordinary.get(hook, MISSING) for hook in _HOOKS):
        return False
    init = subject.read("__init__")
    code = init.__code__ if type(init) is FunctionType else None
    return not user_parameter or (
        code is not None
        and code.co_argcount > 1
        and code.co_varnames[1] == user_parameter
    )


def _fixed_scopes(subject: Subject, facts: Facts) -> object:
    """Return what a class has as its scopes, if that cannot change in place."""
    stored = subject.read("required_scopes")
    if stored is not facts.subject.read("required_scopes"):
        return _NEVER  # an instance was asked, and has its own
    if stored is MISSING:
        return None
    return stored if type(stored) in (frozenset, tuple, NoneType) else _NEVER


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTool:
    """One accepted tool. Process-wide and frozen; holds no user's object.

    Attributes:
        target: The class, or the published instance every user gets a copy of.
        definition: What callers may know, under its bare name.
        signature: The compiled execute method.
        origin: Where it was found.
        method: The method a call runs.
        user_parameter: The constructor's parameter for the `UserContext`, if any.
        is_plain: Whether calling the class is sure to make a new object of just this
            class, as it was judged: nothing of it has a say in that but ``__init__``,
            which takes the user first or not at all.
        class_scopes: What the class has as ``required_scopes``, where it cannot change
            in place: an instance that has the same object needs the same scopes.
        given: Which instances users have; it keeps none of them alive.
    """

    target: object
    definition: ToolDefinition
    signature: Signature
    origin: Origin
    method: str
    user_parameter: str
    is_plain: bool = False
    class_scopes: object = _NEVER
    given: _Given = field(default_factory=_Given, repr=False)

    @property
    def name(self) -> ToolName:
        """The bare name the author gave it."""
        return self.definition.name

    @property
    def is_loaded(self) -> bool:
        """Whether its code is imported; it is."""
        return True

    def begin_loading(self) -> "Future[CompiledTool]":
        """Return a future that has the tool already."""
        done: Future[CompiledTool] = Future()
        done.set_result(self)
        return done

    def instantiate(self, user: UserContext) -> object:
        """Make this user's own instance. Each call makes a new one; none is kept.

        Where nothing but ``__init__`` has a say, only what it could change is looked
        at. That is decided of the class as it was judged: a ``__new__`` that somebody
        puts on it later is not noticed.

        Raises:
            ToolConstructionError: The constructor raised, the instance cannot be
                copied, it is of another class than was judged, a schema, one that a
                user has already, or it needs other scopes than its class declares.
        """
        try:
            if self.is_plain:
                target: Any = self.target
                instance = target(user) if self.user_parameter else target()
                if (
                    type(instance) is target
                    and getattr(instance, "required_scopes", None) is self.class_scopes
                ):
                    return instance
            else:
                instance = self._make(user)
            detail = self._fault(instance)
        except Exception as error:
            detail = f"its constructor raised {kind_of_error(error)}"
            raise ToolConstructionError(self.name, self.origin, detail) from error
        if detail:
            raise ToolConstructionError(self.name, self.origin, detail)
        return instance

    def _fault(self, instance: object) -> str:
        """Say why no user may have this instance; empty when one may."""
        subject = Subject(instance, self.method)
        if not self._is_made_of(instance):
            return "its constructor returned something else; let it return itself"
        if judge_pydantic_model(subject) is not None:
            return f"its constructor returned a pydantic model: {SCHEMA_TEXT}"
        scopes = getattr(instance, "required_scopes", None) or NO_SCOPES
        if frozenset(scopes) != self.definition.required_scopes:
            return (
                "required_scopes changed in the constructor; declare them on the class"
            )
        if instance is self.target or not self.given.claim(subject):
            return (
                "the constructor returned an instance that another user has; let it "
                "make a new one each time"
            )
        return ""

    def _is_made_of(self, instance: object) -> bool:
        """Tell whether it is of the class that was judged, by its real type."""
        target: Any = self.target
        cls = target if issubclass(type(target), type) else type(target)
        return type.__subclasscheck__(cls, type(instance))

    def _make(self, user: UserContext) -> object:
        if not issubclass(type(self.target), type):  # isinstance would ask the plugin
            return copy.deepcopy(self.target)
        make = cast("Callable[..., object]", self.target)
        return make(**{self.user_parameter: user}) if self.user_parameter else make()

    def bind(
        self, instance: object, arguments: dict[str, Any], context: ToolContext
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Return the method with its positional and keyword arguments."""
        positional, named = self.signature.inject(arguments, context)
        return getattr(instance, self.method), positional, named


def compile_tool(
    target: object,
    *,
    contract: ToolContract = STRICT,
    origin: Origin | None = None,
    is_recipe: bool = True,
) -> CompiledTool:
    """Judge an object and compile it.

    Args:
        target: Any object at all.
        contract: The judge.
        origin: Where it was found, for messages; by default its own module.
        is_recipe: Whether each user gets a copy of an instance; False where it is one
            user's own already, and need not be copyable.

    Raises:
        InvalidToolError: It is no tool; `reason` is a `RejectionReason`.
        KeyboardInterrupt: The user interrupts; all else that it raises is a rejection.
    """
    origin = origin or origin_of(target)
    verdict, subject = contract.examine(target)
    try:
        if verdict.reason is not None or subject is None:
            reason = verdict.reason or RejectionReason.UNREADABLE
            raise InvalidToolError(origin, str(reason), verdict.detail)
        return compile_examined(subject, contract, origin, is_recipe=is_recipe)
    finally:
        end_probe(subject)


def end_probe(subject: Subject | None) -> None:
    """Close the one instance that was made to learn a name; what that raises is logged.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    if subject is None or subject.probe is None:
        return
    probe, subject.probe = subject.probe, None
    close_now(probe)


def compile_examined(
    subject: Subject, contract: ToolContract, origin: Origin, *, is_recipe: bool = True
) -> CompiledTool:
    """Compile what the contract has examined and accepted, without judging it again.

    Args:
        subject: What ``contract.examine`` returned beside its acceptance.
        contract: The judge that accepted it.
        origin: Where it was found.
        is_recipe: As for `compile_tool`.

    Raises:
        InvalidToolError: It cannot be offered to callers, or not be copied; or it is a
            pydantic model, which no contract can let in.
        KeyboardInterrupt: The user interrupts; all else that it raises is a rejection.
    """
    start_pydantic()
    schema = judge_pydantic_model(subject)  # whatever the contract says of schemas
    if schema is not None:
        raise InvalidToolError(origin, str(schema.reason), schema.detail)
    try:
        if is_recipe and not subject.is_class:
            _check_copy(subject.obj, subject, origin)
        return _compile(subject.obj, subject, contract, origin)
    except (InvalidToolError, KeyboardInterrupt):
        raise
    except BaseException as error:  # its attributes, hints or copying ran its code
        reason = RejectionReason.UNSUPPORTED_SIGNATURE
        why = f"cannot be offered to callers: {describe_error(error)}. {reason.remedy}"
        text = f"{contract.method} of {label(subject)} {why}"
        raise InvalidToolError(origin, str(reason), text) from error


def _compile(
    target: object, subject: Subject, contract: ToolContract, origin: Origin
) -> CompiledTool:
    source = (
        subject if subject.probe is None else Subject(subject.probe, contract.method)
    )
    facts = Facts(source, origin)
    facts.check_slips()
    function, skip_first = _function(subject)
    documents = tuple(map(docstring.parse, (_document(function), facts.document())))
    signature = compile_signature(
        function,
        label=tool_name(subject.name),
        skip_first=skip_first,
        namespace=dict(class_space(subject.cls)),
        documents=documents,
    )
    misfit = _misfit(signature, is_agent=contract.is_for_agents)
    if misfit:
        reason = RejectionReason.UNSUPPORTED_SIGNATURE
        text = f"{contract.method} of {label(subject)} {misfit}"
        raise InvalidToolError(origin, str(reason), text)
    user = (constructor_plan(subject) or "") if subject.is_class else ""
    return CompiledTool(
        target=target,
        definition=_definition(subject, facts, signature, documents),
        signature=signature,
        origin=origin,
        method=contract.method,
        user_parameter=user,
        is_plain=_is_plain(subject, user),
        class_scopes=_fixed_scopes(subject, facts),
    )


def _misfit(signature: Signature, *, is_agent: bool) -> str:
    """Say what nobody could fill in when it is called, and the remedy; or nothing."""
    if not is_agent:
        text = "takes an AgentRun, which only agents get; take a ToolContext"
        return text if signature.takes_run else ""
    if signature.kind != "async":
        return "answers at once; write `async def`, as an agent awaits its tools"
    if signature.takes_context:
        return "takes a ToolContext, which only tools get; take an AgentRun"
    schema = json.loads(signature.input_schema_json)
    if "message" not in schema.get("properties", {}):
        return "takes no message; write `run(self, message: str, run: AgentRun)`"
    others = sorted({*schema.get("required", ())} - {"message"})
    text = f"needs {', '.join(others)}, which nobody passes; give a default"
    return text if others else ""


def _function(subject: Subject) -> tuple[Any, bool]:
    """Return the function behind the method, and whether it takes ``self`` first."""
    stored = subject.read(subject.method)
    if type(stored) in (staticmethod, classmethod):
        return cast("Any", stored).__func__, type(stored) is classmethod
    spaces = map(class_space, subject.mro)
    on_class = next((s[subject.method] for s in spaces if subject.method in s), MISSING)
    return stored, stored is on_class and hasattr(stored, "__get__")


def _check_copy(target: object, subject: Subject, origin: Origin) -> None:
    """Make sure that each user can have a copy of a published instance."""
    try:
        if copy.deepcopy(target) is target:
            message = "its deep copy is itself"
            raise TypeError(message)  # noqa: TRY301 - one reason, one message
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = RejectionReason.NOT_COPYABLE
        why = (
            f"cannot be copied for each user: {describe_error(error)}. {reason.remedy}"
        )
        text = f"{label(subject)} {why}"
        raise InvalidToolError(origin, str(reason), text) from error


def _document(function: object) -> str:
    text = getattr(function, "__doc__", None)
    return text if isinstance(text, str) else ""


def _definition(
    subject: Subject,
    facts: Facts,
    signature: Signature,
    documents: tuple[docstring.Docstring, ...],
) -> ToolDefinition:
    name = tool_name(subject.name)
    said = (
        facts.text("description"),
        *(one.description for one in reversed(documents)),
    )
    return ToolDefinition(
        name=name,
        qualified_name=qualified_name(facts.origin.owner, name),
        description=next(filter(None, said), ""),
        input_schema_json=signature.input_schema_json,
        output_schema_json=signature.output_schema_json,
        version=facts.text("version"),
        tags=tuple(sorted(facts.names("tags"))),
        required_scopes=facts.names("required_scopes"),
        timeout=facts.seconds("timeout"),
        streaming=signature.kind in ("generator", "async_generator"),
        **{hint: facts.flag(hint) for hint in HINTS},
    )
