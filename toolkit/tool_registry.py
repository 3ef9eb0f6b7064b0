"""`ToolRegistry`: one user's tools, and the functions that open scoped registries."""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from toolkit.catalog import ListedTool, ToolView
from toolkit.cleanup import close_now
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.context import UserContext
from toolkit.contract import (
    STRICT,
    RejectionReason,
    Subject,
    ToolContract,
    judge_pydantic_model,
    label,
)
from toolkit.errors import (
    DuplicateKeyError,
    InvalidToolError,
    InvalidUserContextError,
    RegistryClosedError,
    ToolNotFoundError,
    UnknownRegistryTypeError,
)
from toolkit.naming import MAX_LENGTH, name_fault, tool_name
from toolkit.registry import Registration, UniversalRegistry, plain_key

logger = logging.getLogger(__name__)

D = TypeVar("D")

_NO_TOOLS: Final = ToolView(())

_DIGEST_LENGTH: Final = 8
_HEX: Final = frozenset("0123456789abcdef")
"""Of what `provider_safe_name` puts after a name that it had to clean or to cut."""

_MISSING: Final = object()


class _Once:
    """Things made at first use, each exactly once, also when threads ask at once.

    Nothing is locked while something is made, or where nobody waits for it: a thread
    claims a key by putting its id under it, which is one step for all threads.
    """

    __slots__ = ("_has_waiters", "_is_sealed", "_making", "_waiting", "made")

    def __init__(self) -> None:
        self.made: dict[object, Any] = {}
        self._making: dict[object, int] = {}
        self._waiting = threading.Condition()
        self._has_waiters = False
        self._is_sealed = False

    def peek(self, key: object) -> Any | None:  # noqa: ANN401 - whatever was made
        """Return what was made under a key; None if nothing was."""
        return self.made.get(key)

    def get(self, key: object, make: Callable[..., object], *args: object) -> Any:  # noqa: ANN401 - whatever was made
        """Return the thing; make it if nobody has. A failure leaves it unmade.

        Raises:
            _SealedError: It was sealed meanwhile; what was made is closed.
        """
        me = threading.get_ident()
        while self._making.setdefault(key, me) != me:
            self._wait(key)
        try:
            value = self.made.get(key, _MISSING)
            if value is _MISSING:
                value = make(*args)
                self.made[key] = value
        finally:
            self._making.pop(key, None)
            if self._has_waiters:
                with self._waiting:
                    self._waiting.notify_all()
        if self._is_sealed and self.made.pop(key, _MISSING) is not _MISSING:
            close_now(_instance_of(value))
            raise _SealedError
        return value

    def put_away(self, key: object) -> None:
        """Keep what was made, if it was, where `get` does not find it."""
        made = self.made.pop(key, _MISSING)
        if made is not _MISSING:
            self.made[object()] = made

    def seal(self) -> list[Any]:
        """Let nothing be made any more; return what was, newest first."""
        self._is_sealed = True
        made = []
        while self.made:
            with suppress(KeyError):  # whoever made it just now has taken it
                made.append(self.made.popitem()[1])
        return made

    def _wait(self, key: object) -> None:
        """Wait until the thread that makes it has ended with that."""
        with self._waiting:
            self._has_waiters = True
            while key in self._making:
                self._waiting.wait()


class _SealedError(Exception):
    """The registry was closed while something was made for it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Produced:
    """What a registered factory made for this user."""

    instance: object
    listed: ListedTool


def _instance_of(made: object) -> object:
    return made.instance if type(made) is _Produced else made


class ToolRegistry(UniversalRegistry[Any]):
    """One user's tools. Belongs to one scope, closed by whoever opened it.

    Beside what is registered here, it shows the tools of a shared `ToolView`. Their
    instances are this registry's own: made at first use, once, and closed with it.
    Instances registered from outside are not closed: they belong to who made them.

    Args:
        scope_id: Whose registry it is; part of its name in messages.
        contract: The judge of what counts as a tool.
        view: The shared tools beneath.
        user_context: For whom shared tools and factories make instances.

    Raises:
        InvalidUserContextError: There is a view, but no user to make instances for.
    """

    def __init__(
        self,
        scope_id: str | None = None,
        *,
        contract: ToolContract = STRICT,
        view: ToolView = _NO_TOOLS,
        user_context: UserContext | None = None,
    ) -> None:
        super().__init__(f"ToolRegistry:{scope_id}" if scope_id else "ToolRegistry")
        if view.tools and user_context is None:
            raise InvalidUserContextError("user_id", "is needed for a view of tools")
        self.scope_id = scope_id
        self.contract = contract
        self._view = view
        self._user = user_context
        self._once = _Once()
        self._hidden: set[str] = set()
        self._is_closed = False

    # --- looking up --------------------------------------------------------------

    def find(self, name: str) -> ListedTool:
        """Return the tool of that listed or qualified name.

        A tool registered as a factory is made here, for this user, once.

        Raises:
            ToolNotFoundError: This user has no such tool; the error names near ones.
            RegistryClosedError: The registry is closed.
            RegistrationRejectedError: A factory made something that is no tool.
            Exception: Whatever that factory raises.
        """
        if type(name) is str and self._is_bare_view:
            quick = self._view.find(name)
            if quick is not None:
                return quick
        name = plain_key(name)
        if type(name) is not str:  # asked by a client, so it may be anything
            raise ToolNotFoundError(name)
        with self._lock:
            self._check_closed()
            entry = self._items.get(name)
            factory = self._factories.get(name)
            shared = None if entry or factory else self._shared(name)
        if entry is not None:
            return cast("ListedTool", entry.facts)
        if shared is not None:
            return shared
        if factory is not None:
            return self._produced(name, factory).listed
        raise ToolNotFoundError(name, near_names(name, self.list_keys()))

    def tools(self) -> tuple[ListedTool, ...]:
        """Return this user's tools, sorted by listed name.

        A tool registered as a factory appears once it has been used.

        Raises:
            RegistryClosedError: The registry is closed.
        """
        with self._lock:
            self._check_closed()
            shared = [one for one in self._view if one.name not in self._hidden]
            own = [cast("ListedTool", one.facts) for one in self._items.values()]
            made = [self._once.peek(factory) for factory in self._factories.values()]
            used = [one.listed for one in made if one is not None]
        return tuple(sorted([*shared, *own, *used], key=lambda one: one.name))

    def instance(self, listed: ListedTool) -> object:
        """Return this user's instance of a tool, made now if this is the first use.

        Raises:
            ToolNotFoundError: This user has it no more: it was removed meanwhile.
            ToolConstructionError: The constructor fails for this user; the next call
                tries again.
            RegistryClosedError: The registry is closed.
        """
        made: object = self._once.made.get(listed)
        if made is not None:
            return made
        name = listed.name
        if self._items or self._factories:
            with self._lock:
                self._check_closed()
                entry = self._items.get(name)
                factory = self._factories.get(name)
            if entry is not None and entry.facts is listed:
                return cast("object", entry.value)
            used: _Produced | None = self._once.peek(factory)
            if used is not None and used.listed is listed:
                return used.instance
        return cast("object", self._made(name, listed, self._instantiate, listed))

    def get(self, key: str, default: D | None = None) -> Any | D | None:  # noqa: ANN401 - a tool is of any class
        """Return this user's instance under a listed or qualified name, else `default`.

        Raises:
            ToolConstructionError: Its constructor fails for this user.
            RegistryClosedError: The registry is closed.
        """
        try:
            found = self.instance(self.find(key))
        except ToolNotFoundError:
            found = None
        with self._lock:
            self._counts["not_found" if found is None else "found"] += 1
        return default if found is None else found

    def list_by_tag(self, tag: str) -> tuple[str, ...]:
        """Return the names of tools that carry `tag`, in the order of `list_keys`."""
        tagged = {*super().list_by_tag(tag)}
        tagged |= {one.name for one in self.tools() if tag in one.definition.tags}
        return tuple(key for key in self.list_keys() if key in tagged)

    def validate_health(self) -> dict[str, Any]:
        """Look at this registry's own state.

        Returns:
            As the generic registry's, and ``tool_count`` and ``has_basemodel_tools``
            (whether a schema is among the tools, looked up in the tools themselves).
            No tools at all is ``unhealthy``.
        """
        health = super().validate_health()
        tools = self.tools()
        schemas = [one for one in tools if _is_schema(one)]
        if schemas:
            health["issues"].append(f"{len(schemas)} schemas are among the tools")
        count = len(self)
        if not count:
            health["issues"].append("there are no tools; run `toolkit doctor`")
        if schemas or not count:
            health["status"] = "unhealthy"
        return {
            **health,
            "tool_count": count,
            "has_basemodel_tools": bool(schemas),
        }

    # --- closing -----------------------------------------------------------------

    def tell_changes(self, on_change: Callable[[], object]) -> None:
        """Call `on_change` whenever a name may stand for something else from now on.

        It is called under the lock, so it must not block; the last one given counts.
        """
        self._on_change = on_change

    def close(self) -> list[object]:
        """Refuse everything from now on and give up the instances.

        Returns:
            The instances this registry made, newest first, for their clean-up; empty
            when it was closed before.
        """
        with self._lock:
            self._is_closed = True
            made = self._once.seal()
            dropped = self._items, self._factories, self._view
            self._items, self._factories = {}, {}
            self._view = _NO_TOOLS
            self._changed()
            self._on_change = None
        del dropped  # dies here: the lock is free
        return [_instance_of(one) for one in made]

    # --- checks, called by the generic registry --------------------------------------

    @property
    def _is_bare_view(self) -> bool:
        """Whether there is nothing but the view, unchanged; once closed, that is empty.

        Read without the lock: whoever asks at the moment of a change comes before it.
        """
        return not (self._items or self._factories or self._hidden)

    def _check_closed(self) -> None:
        if self._is_closed:
            raise RegistryClosedError(self.name)

    def _check_frozen(self) -> None:
        self._check_closed()
        super()._check_frozen()

    def _check_free(self, key: str, kind: str) -> None:
        """Refuse also what differs from another name in case only. Holds the lock."""
        super()._check_free(key, kind)
        folded = key.casefold() if type(key) is str else ""  # no key is empty
        if any(one.casefold() == folded for one in self._keys()):
            raise DuplicateKeyError(key, self.name, kind)

    def _keys(self) -> tuple[str, ...]:
        """Return the names: shared tools sorted, then what was registered here."""
        shared = [str(one.name) for one in self._view if one.name not in self._hidden]
        return (*shared, *super()._keys())

    def _forget(self, key: str) -> list[object]:
        """Take a tool away from this user only; what it made is closed at the end."""
        if type(key) is not str:
            return []
        shared = self._shared(key)
        if shared is not None:
            self._hidden.add(shared.name)
        factory = self._factories.get(key)
        dropped = super()._forget(key)
        for gone in (shared, factory):  # first gone, then put away: see `_made`
            self._once.put_away(gone)
        self._changed()
        return [*dropped, *([] if shared is None else [shared])]

    def _is_taken(self, key: str) -> bool:
        if type(key) is not str:  # no name: nothing of it is asked
            return False
        return super()._is_taken(key) or self._shared(key) is not None

    def _shared(self, name: str) -> ListedTool | None:
        """Find a tool of the view that was not taken away. Holds the lock."""
        found = self._view.find(name)
        return None if found is None or found.name in self._hidden else found

    def _check_key(self, key: str) -> None:
        fault = name_fault(key)
        if fault:
            self._refuse(key, RejectionReason.ILLEGAL_NAME, fault)

    def _examine(self, key: str, item: object) -> ListedTool:
        super()._examine(key, item)
        subject = Subject(item, self.contract.method)
        if subject.is_class:
            reason = RejectionReason.CLASS_NOT_INSTANCE
            text = f"{label(subject)} is a class, not an instance. {reason.remedy}"
            self._refuse(key, reason, text)
        return self._list(key, self._compile(key, item))

    def _compile(self, key: str, item: object) -> CompiledTool:
        try:
            return compile_tool(item, contract=self.contract, is_recipe=False)
        except InvalidToolError as error:
            self._refuse(key, error.reason, error.detail)

    def _list(self, key: str, tool: CompiledTool) -> ListedTool:
        return ListedTool(replace(tool.definition, name=tool_name(key)), tool)

    def _made(
        self, name: str, key: object, make: Callable[..., object], *args: object
    ) -> Any:  # noqa: ANN401 - whatever was made
        """Return what was made under `key`, made now if this is its first use.

        What is removed at any moment is not made after that moment, and what was being
        made then is nobody's: it is put away here or by who removed it, to be closed at
        the end.

        Raises:
            RegistryClosedError: The registry was closed meanwhile.
            ToolNotFoundError: It was removed meanwhile.
        """
        try:
            value = self._once.get(key, make, *args)
        except _SealedError:
            raise RegistryClosedError(self.name) from None
        may_be_gone = self._hidden or type(key) is not ListedTool
        if may_be_gone and not self._has(name, key):
            self._once.put_away(key)
            raise self._gone(name)
        return value

    def _has(self, name: str, key: object) -> bool:
        """Tell whether a shared tool or a factory is still there under its name."""
        with self._lock:
            return self._shared(name) is key or self._factories.get(name) is key

    def _gone(self, name: str) -> ToolNotFoundError:
        """Return the error for a tool that was removed meanwhile.

        Raises:
            RegistryClosedError: With all of the registry.
        """
        with self._lock:
            self._check_closed()
        return ToolNotFoundError(name)

    def _instantiate(self, listed: ListedTool) -> object:
        """Make the instance of a shared tool, unless that would bring it back."""
        is_there = not self._hidden and self._view.find(listed.name) is listed
        if not is_there and not self._has(listed.name, listed):
            raise self._gone(listed.name)
        return listed.tool.instantiate(self._user)  # type: ignore[arg-type]  # a view has one

    def _produced(
        self, key: str, factory: Registration[Callable[[Any], Any]]
    ) -> "_Produced":
        """Make the tool of a factory, once, with what is known about it."""

        def make() -> _Produced:
            if not self._has(key, factory):
                raise self._gone(key)
            product = self._create(key, factory.value, self._user)
            return _Produced(product, self._list(key, self._compile(key, product)))

        return cast("_Produced", self._made(key, factory, make))


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Return up to three names that `name` may stand for, the nearest first.

    Tools that go by a qualified name because theirs is contested come before slips.
    """
    name = plain_key(name)
    if type(name) is not str:
        return []
    if len(name) > 2 * MAX_LENGTH:  # no slip, and comparing it would take long
        return []
    others = [one for one in names if one != name]
    contested = [one for one in others if _is_qualified(one, name)]
    close = get_close_matches(name, others, n=3)
    return list(dict.fromkeys([*contested, *close]))[:3]


def _is_qualified(one: str, name: str) -> bool:
    """Tell whether one name is another with an owner before it.

    Not by a compiled pattern: the interpreter would keep what a user asked for.
    """
    stem, _, digest = one.rpartition("_")
    has_digest = len(digest) == _DIGEST_LENGTH and _HEX.issuperset(digest)
    owned = f"__{name}"
    return one.endswith(owned) or (has_digest and stem.endswith(owned))


def _is_schema(listed: ListedTool) -> bool:
    return (
        judge_pydantic_model(Subject(listed.tool.target, listed.tool.method))
        is not None
    )


def create_scoped_registry(registry_type: str, scope_id: str) -> UniversalRegistry[Any]:
    """Open a registry of its own for one scope. Nothing else refers to it.

    Args:
        registry_type: ``tool`` for a `ToolRegistry`, ``universal`` for a
            `UniversalRegistry`.
        scope_id: Whose it is, such as a user's or a connection's id.

    Raises:
        UnknownRegistryTypeError: There is no such type.
    """
    if registry_type == "tool":
        return ToolRegistry(scope_id)
    if registry_type == "universal":
        return UniversalRegistry(f"UniversalRegistry:{scope_id}")
    raise UnknownRegistryTypeError(registry_type, ("tool", "universal"))


def create_websocket_scoped_registry(
    user_id: str, *, connection_id: str | None = None
) -> ToolRegistry:
    """Open the registry of one WebSocket connection. Two never share anything.

    Args:
        user_id: Who is connected.
        connection_id: The connection; minted when absent, so that two connections of
            one user differ.

    Raises:
        InvalidUserContextError: `user_id` is empty or a placeholder.
    """
    user = UserContext(user_id=user_id, session_id=connection_id or uuid4().hex)
    return ToolRegistry(f"{user.user_id}:{user.session_id}", user_context=user)
