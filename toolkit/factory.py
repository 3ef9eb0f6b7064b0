"""From the catalog to one user's tool system."""

import asyncio
import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, Self, cast
from uuid import uuid4
from weakref import ref

from toolkit.catalog import ListedTool, ToolCatalog, ToolView
from toolkit.cleanup import close_later, close_now
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.context import UserContext
from toolkit.contract import STRICT, ToolContract, identity_of
from toolkit.deferred import DeferredTool
from toolkit.dispatch import ToolResult, UnifiedToolDispatcher
from toolkit.errors import (
    FactoryClosedError,
    InvalidToolError,
    InvalidUserContextError,
)
from toolkit.events import Sink
from toolkit.executors.inline import InlineExecutor
from toolkit.executors.threads import ThreadExecutor
from toolkit.naming import Collision, ToolName
from toolkit.policy import AccessPolicy
from toolkit.settings import Settings
from toolkit.signature import Arguments
from toolkit.tool_registry import ToolRegistry
from toolkit.tools import ToolDefinition

MAX_VIEWS: Final = 1024
"""Views kept for different sets of scopes; the least recently used goes first."""

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {}


class RegistryFactory(Protocol):
    """Opens the registry of one user tool system."""

    def __call__(
        self,
        scope_id: str,
        *,
        contract: ToolContract,
        view: ToolView,
        user_context: UserContext,
    ) -> ToolRegistry:
        """Return a new registry over `view`."""
        ...


DispatcherFactory = Callable[..., UnifiedToolDispatcher]
"""Builds a dispatcher; called like `UnifiedToolDispatcher`, with all its arguments."""


class UserTool:
    """One user's handle on one tool. Belongs to that user's tool system.

    Calling it goes through the dispatcher, with all its checks.
    """

    __slots__ = ("_dispatcher", "definition")

    def __init__(
        self, definition: ToolDefinition, dispatcher: UnifiedToolDispatcher
    ) -> None:
        """Tie a definition to the dispatcher that runs it."""
        self.definition = definition
        self._dispatcher = dispatcher

    @property
    def name(self) -> ToolName:
        """The name to call it by."""
        return self.definition.name

    @property
    def description(self) -> str:
        """What it does."""
        return self.definition.description

    async def execute(self, **arguments: Any) -> Any:  # noqa: ANN401 - whatever the tool returns
        """Run the tool and return its value.

        Raises:
            ToolkitError: The error of this call.
        """
        return (await self._dispatcher.execute(self.name, arguments)).unwrap()

    def __repr__(self) -> str:
        """Name the tool."""
        return f"<UserTool {self.name}>"


class UserToolSystem:
    """One user's registry and dispatcher. Owned by who created it; close it.

    Closing cancels running calls and closes the tool instances made for this user,
    newest first. A system that is dropped without closing warns (`ResourceWarning`).

    Attributes:
        user_context: Whose system it is.
        registry: The user's tools.
        dispatcher: Runs the user's calls.
        correlation_id: Names this system in logs; never given to another.
        rejected: What was handed in as ``tool_classes`` and is no tool, with reasons.
        collisions: Names of the user's own tools that met another's.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        dispatcher: UnifiedToolDispatcher,
        *,
        rejected: tuple[InvalidToolError, ...] = (),
        collisions: tuple[Collision, ...] = (),
        ledger: "_Ledger",
    ) -> None:
        """Take ownership of the registry and the dispatcher."""
        self.user_context = dispatcher.user_context
        self.registry = registry
        self.dispatcher = dispatcher
        self.correlation_id = uuid4().hex
        self.rejected = rejected
        self.collisions = collisions
        self._closing = threading.Lock()
        self._ledger: _Ledger | None = ledger
        ledger.opened(self.user_context.user_id)

    def get_all_tools(self) -> tuple[UserTool, ...]:
        """Return a handle on each of this user's tools, sorted by name.

        Raises:
            RegistryClosedError: The system is closed.
        """
        return tuple(
            UserTool(one.current, self.dispatcher) for one in self._callable_tools()
        )

    def definitions(self) -> tuple[ToolDefinition, ...]:
        """Return the definitions of this user's tools, sorted by name.

        Raises:
            RegistryClosedError: The system is closed.
        """
        return tuple(one.current for one in self._callable_tools())

    async def execute(
        self,
        name: str,
        arguments: Arguments = _NO_ARGUMENTS,
        **options: Any,  # noqa: ANN401 - see the dispatcher
    ) -> ToolResult:
        """Run one call; the same as ``dispatcher.execute``.

        Raises:
            asyncio.CancelledError: The caller was cancelled.
        """
        return await self.dispatcher.execute(name, arguments, **options)

    @property
    def is_closed(self) -> bool:
        """Whether the system takes no more calls."""
        return self._ledger is None

    def close(self) -> None:
        """Close the system from synchronous code. Closing again does nothing.

        Tools that clean up with `aclose` are run to their end when no event loop runs
        here; inside a loop use `aclose`, or those tools are named in a ResourceWarning.
        """
        instances = self._retire()
        if not instances:
            return
        unclosed = [one for one in instances if not close_now(one)]
        if not unclosed:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(close_later(unclosed))
            return
        names = ", ".join(sorted(type(one).__name__ for one in unclosed))
        text = f"{names} clean up with aclose(); use `await system.aclose()`"
        warnings.warn(text, ResourceWarning, stacklevel=2)

    async def aclose(self) -> None:
        """Close the system, waiting for async tools and clean-ups to end.

        Closing again does nothing.
        """
        if self._ledger is None:
            return
        await self.dispatcher.aclose()
        for instance in self._retire():
            if not close_now(instance):
                await close_later([instance])

    def _retire(self) -> list[object]:
        """Take no more calls; return the instances to clean up, newest first."""
        with self._closing:  # two threads may close at once
            ledger, self._ledger = self._ledger, None
        if ledger is None:
            return []
        ledger.closed(self.user_context.user_id)
        self.dispatcher.close()
        return self.registry.close()

    def _callable_tools(self) -> list[ListedTool]:
        return [one for one in self.registry.tools() if self.dispatcher.may_call(one)]

    def __enter__(self) -> Self:
        """Return the system itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the system itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        await self.aclose()

    def __del__(self) -> None:
        """Warn about a forgotten close, and close what can be."""
        if getattr(self, "_ledger", None) is None:
            return
        user = self.user_context.user_id
        text = f"the tool system of {user!r} was never closed; use `async with`"
        for instance in self._retire():
            close_now(instance)
        warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        """Name the user and the state."""
        state = "closed" if self.is_closed else f"{len(self.registry)} tools"
        return f"<UserToolSystem of {self.user_context.user_id!r}, {state}>"


class UserContextToolFactory:
    """Builds user tool systems from a catalog. Process-wide; keeps no user's object.

    Safe between threads.

    Args:
        catalog: The tools that users may get; none by default.
        registry_factory: Opens a user's registry.
        dispatcher_factory: Builds a user's dispatcher.
        settings: Limits and access rules.
        contract: The judge of what counts as a tool.
        sinks: Told every event of every user.
        threads: Runs sync tools; by default one pool of this factory's own.
    """

    def __init__(  # noqa: PLR0913 - the parts of a system, all named
        self,
        catalog: ToolCatalog | None = None,
        *,
        registry_factory: RegistryFactory = ToolRegistry,
        dispatcher_factory: DispatcherFactory = UnifiedToolDispatcher,
        settings: Settings | None = None,
        contract: ToolContract = STRICT,
        sinks: Iterable[Sink] = (),
        threads: ThreadExecutor | None = None,
    ) -> None:
        """Take over the parts; nothing is built yet."""
        self.catalog = ToolCatalog() if catalog is None else catalog
        self.settings = settings or Settings()
        self.policy = AccessPolicy.from_settings(self.settings)
        self.contract = contract
        self.inline = InlineExecutor()
        self.threads = threads or ThreadExecutor(self.settings.max_threads)
        self._owns_threads = threads is None
        self.is_closed = False
        self._registry_factory = registry_factory
        self._dispatcher_factory = dispatcher_factory
        self._own_sinks = tuple(sinks)
        self._sinks = (*self._own_sinks, *self.catalog.hooks.observers)
        self._views = _Views(self.catalog, self.policy)
        self._compiled = _Compiled()
        self._ledger = _Ledger()
        self._published = _Published(self.catalog)

    def over(
        self, catalog: ToolCatalog, settings: Settings
    ) -> "UserContextToolFactory":
        """Return a factory over another catalog that shares all else with this one.

        They count their systems together and run calls in the same executors; closing
        either of them does not close those of the other.
        """
        other = UserContextToolFactory(
            catalog,
            registry_factory=self._registry_factory,
            dispatcher_factory=self._dispatcher_factory,
            settings=settings,
            contract=self.contract,
            sinks=self._own_sinks,
            threads=self.threads,
        )
        other.inline = self.inline
        other._ledger = self._ledger
        other._compiled = self._compiled
        return other

    def create_user_tool_system(
        self,
        user_context: UserContext,
        tool_classes: Iterable[object] | None = None,
        *,
        sinks: Iterable[Sink] = (),
    ) -> UserToolSystem:
        """Build the tool system of one user. Every call builds a new one.

        Args:
            user_context: Whose system it is.
            tool_classes: Tool classes (or instances, which are copied) for this user
                beside the catalog's. What is no tool is left out and named, with its
                reason, in the system's `rejected`; what is there already is not taken
                twice.
            sinks: Told this system's events, beside the factory's sinks.

        Returns:
            An open system; whoever called owns it and closes it.

        Raises:
            InvalidUserContextError: `user_context` is not a `UserContext`.
            FactoryClosedError: The factory is closed.
        """
        _check_user(user_context)
        if self.is_closed:
            raise FactoryClosedError
        own, rejected = self._accept(tool_classes or ())
        view = self._views.of(user_context, own)
        registry = self._registry_factory(
            f"{user_context.user_id}:{uuid4().hex}",
            contract=self.contract,
            view=view,
            user_context=user_context,
        )
        dispatcher = self._dispatcher_factory(
            registry,
            user_context=user_context,
            policy=self.policy,
            settings=self.settings,
            inline=self.inline,
            threads=self.threads,
            sinks=(*self._sinks, *sinks),
            authorizers=self.catalog.hooks.authorizers,
            catalog=self.catalog,
        )
        return UserToolSystem(
            registry,
            dispatcher,
            rejected=rejected,
            collisions=view.collisions,
            ledger=self._ledger,
        )

    def registry_count(self, user_id: str) -> int:
        """Return how many open registries this user has."""
        return self._ledger.count(user_id)

    def statistics(self) -> dict[str, int]:
        """Return counts: open systems, users, most registries of one user, views."""
        return {**self._ledger.statistics(), "views": len(self._views)}

    def close(self) -> None:
        """Let the worker threads end; open systems can no longer run sync tools.

        No new system is made after that. An executor that was handed in stays open: it
        belongs to who made it.
        """
        self.is_closed = True
        if self._owns_threads:
            self.threads.close()

    def _accept(
        self, candidates: Iterable[object]
    ) -> tuple[list[CompiledTool], tuple[InvalidToolError, ...]]:
        """Compile what is handed in; what is there already is not taken twice."""
        accepted, rejected = [], []
        given = {id(one): one for one in candidates}  # in order, and held: ids stay
        for candidate in given.values():
            if candidate in self._published:
                continue
            try:
                accepted.append(self._compile(candidate))
            except InvalidToolError as error:
                rejected.append(error.with_traceback(None))
        return accepted, tuple(rejected)

    def _compile(self, candidate: object) -> CompiledTool:
        """Compile a class once for all users; an instance each time."""
        if not issubclass(type(candidate), type):
            return compile_tool(candidate, contract=self.contract)
        cls = cast("type", candidate)
        known = self._compiled.get(cls)
        if known is None:
            known = compile_tool(cls, contract=self.contract)
            self._compiled.keep(cls, known)
        return known


class _Published:
    """Tells what a catalog has already; keeps no more alive than the catalog does."""

    def __init__(self, catalog: ToolCatalog) -> None:
        loaded = (one.tool for one in catalog.view if one.tool.is_loaded)
        self._targets = {id(tool.target) for tool in loaded}
        self._identities = {
            one.tool.identity
            for one in catalog.view
            if isinstance(one.tool, DeferredTool) and one.tool.identity
        }

    def __contains__(self, candidate: object) -> bool:
        if id(candidate) in self._targets:
            return True
        # what is not imported yet is known by where it is defined
        return bool(self._identities) and identity_of(candidate) in self._identities


class _Compiled:
    """What was compiled of each class, for as long as somebody else keeps the class.

    Classes go by identity, because a metaclass may have its own idea of equality.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[ref[type], CompiledTool]] = {}

    def get(self, cls: type) -> CompiledTool | None:
        found = self._kept.get(id(cls))
        if found is None or found[0]() is not cls:
            return None
        return replace(found[1], target=cls)

    def keep(self, cls: type, tool: CompiledTool) -> None:
        kept, key = self._kept, id(cls)
        watch = ref(cls, lambda _: kept.pop(key, None))
        kept[key] = (watch, replace(tool, target=None))


class _Views:
    """The catalog as seen with each set of scopes; shared by all users who hold it."""

    def __init__(self, catalog: ToolCatalog, policy: AccessPolicy) -> None:
        self._catalog = catalog
        self._policy = policy
        self._lock = threading.Lock()
        self._kept: OrderedDict[frozenset[str], ToolView] = OrderedDict()
        self._guarding = frozenset[str]().union(
            *(one.tool.definition.required_scopes for one in catalog.view)
        )

    def of(self, user: UserContext, own: list[CompiledTool]) -> ToolView:
        """Return the user's view; with tools of their own it is theirs alone."""
        scopes = self._policy.scopes_of(user)
        if own:
            return self._settle(scopes, own)
        key = scopes & self._guarding
        with self._lock:
            view = self._kept.get(key)
            if view is not None:
                self._kept.move_to_end(key)
                return view
        view = self._settle(scopes, own)
        with self._lock:
            view = self._kept.setdefault(key, view)
            while len(self._kept) > MAX_VIEWS:
                self._kept.popitem(last=False)
        return view

    def _settle(self, scopes: frozenset[str], own: list[CompiledTool]) -> ToolView:
        def is_visible(one: ListedTool) -> bool:
            return not self._policy.refusal(scopes, one)

        def view_with(extra: list[CompiledTool]) -> ToolView:
            policy = self._catalog.collision_policy
            view = self._catalog.view.only(is_visible, extra=extra, policy=policy)
            # under the names they got here, the operator's lists may mean them too
            return view if all(map(is_visible, view)) else view.only(is_visible)

        open_own = [one for one in own if is_visible(ListedTool(one.definition, one))]
        view = view_with(open_own)
        if len(open_own) < len(own) and self._policy.allow is not None:
            whole = view_with(own)  # the allow list may name one as told from others
            return whole if len(whole) > len(view) else view
        return view

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)


class _Ledger:
    """Counts open systems by user id; holds strings and numbers only."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a collection may run __del__ while it is held
        self._open: Counter[str] = Counter()

    def opened(self, user_id: str) -> None:
        with self._lock:
            self._open[user_id] += 1

    def closed(self, user_id: str) -> None:
        with self._lock:
            self._open[user_id] -= 1
            if self._open[user_id] <= 0:
                del self._open[user_id]

    def count(self, user_id: str) -> int:
        with self._lock:
            return self._open.get(user_id, 0)

    def statistics(self) -> dict[str, int]:
        with self._lock:
            return {
                "open_systems": self._open.total(),
                "users": len(self._open),
                "registry_count_per_user": max(self._open.values(), default=0),
            }


def _check_user(user_context: object) -> None:
    if not isinstance(user_context, UserContext):
        kind = type(user_context).__name__
        raise InvalidUserContextError("user_id", f"cannot be read from {kind}")
