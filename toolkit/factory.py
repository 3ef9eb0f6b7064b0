"""From the catalog to one user's tool system."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, cast
from weakref import ref

from toolkit.catalog import ListedTool, ToolCatalog, ToolView
from toolkit.compiler import CompiledTool, compile_tool
from toolkit.context import Secrets, UserContext
from toolkit.contract import STRICT, RejectionReason, ToolContract, identity_of
from toolkit.deferred import DeferredTool
from toolkit.dispatch import UnifiedToolDispatcher, which_tool
from toolkit.errors import (
    FactoryClosedError,
    InvalidToolError,
    InvalidUserContextError,
)
from toolkit.events import Sink
from toolkit.executors.choice import Executors
from toolkit.limits import Shares, UserShare
from toolkit.plans import CallRules
from toolkit.policy import AccessPolicy
from toolkit.settings import Settings
from toolkit.system import Extras, UserToolSystem
from toolkit.tool_registry import ToolRegistry
from toolkit.tracing import CallTracer

_SCHEMA: Final = str(RejectionReason.PYDANTIC_MODEL)

MAX_VIEWS: Final = 1024
"""Views kept for different sets of scopes; the least recently used goes first."""


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


class UserContextToolFactory:
    """Builds user tool systems from a catalog. Process-wide; keeps no user's object.

    Safe between threads.

    Attributes:
        catalog: The tools that users may get.
        settings: Limits and access rules.
        policy: Who may see and call what.
        executors: What runs tools.
        shares: What each user has of this process.

    Args:
        catalog: The tools that users may get; none by default.
        registry_factory: Opens a user's registry.
        dispatcher_factory: Builds a user's dispatcher.
        settings: Limits and access rules.
        contract: The judge of what counts as a tool.
        sinks: Told every event of every user.
        executors: What runs tools; by default executors of this factory's own.
        tracer: Told every call that starts and ends.

    Raises:
        SandboxUnavailableError: The settings choose a sandbox, and none can be made.
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
        executors: Executors | None = None,
        tracer: CallTracer | None = None,
    ) -> None:
        """Take over the parts; nothing is built yet."""
        self.catalog = ToolCatalog() if catalog is None else catalog
        self.settings = settings or Settings()
        self.policy = AccessPolicy.from_settings(self.settings)
        self.contract = contract
        self.executors = executors or Executors(
            self.settings, left_out=self.catalog.left_out
        )
        self.executors.inline.watch_code(
            UnifiedToolDispatcher.execute.__code__, which_tool
        )
        self._owns_executors = executors is None
        self.is_closed = False
        self.lock = threading.RLock()  # a collection may run __del__ while it is held
        self.shares = Shares()
        self._registry_factory = registry_factory
        self._dispatcher_factory = dispatcher_factory
        self._is_plain = (registry_factory, dispatcher_factory) == (
            ToolRegistry,
            UnifiedToolDispatcher,
        )
        self._own_sinks = tuple(sinks)
        self._sinks = (*self._own_sinks, *self.catalog.hooks.observers)
        self._tracer = tracer
        self._rules = CallRules(self.settings)
        self._views = _Views(self.catalog, self.policy)
        self._compiled = _Compiled()
        self._published = _Published(self.catalog)

    def over(
        self, catalog: ToolCatalog, settings: Settings
    ) -> "UserContextToolFactory":
        """Return a factory over another catalog that shares all else with this one.

        They count their systems together and run calls in the same executors; closing
        either of them does not close those of the other.

        Raises:
            SandboxUnavailableError: The settings choose a sandbox, and none can be
                made.
        """
        self.executors.check(settings)
        self.executors.renew(catalog.left_out)
        other = UserContextToolFactory(
            catalog,
            registry_factory=self._registry_factory,
            dispatcher_factory=self._dispatcher_factory,
            settings=settings,
            contract=self.contract,
            sinks=self._own_sinks,
            executors=self.executors,
            tracer=self._tracer,
        )
        other.shares = self.shares
        other._compiled = self._compiled
        if settings.tool_limits == self.settings.tool_limits:
            limits = self._rules.limits  # who runs now counts on
            other._rules = CallRules(settings, limits=limits)
        return other

    def create_user_tool_system(
        self,
        user_context: UserContext,
        tool_classes: Iterable[object] | None = None,
        *,
        sinks: Iterable[Sink] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> UserToolSystem:
        """Build the tool system of one user. Every call builds a new one.

        Args:
            user_context: Whose system it is.
            tool_classes: Tool classes (or instances, which are copied) for this user
                beside the catalog's. What is no tool is left out and named, with its
                reason, in the system's `rejected`; what is there already is not taken
                twice.
            sinks: Told this system's events, beside the factory's sinks.
            secrets: This user's secrets by name, for the tools they call; tools read
                them in `ToolContext.secrets`.

        Returns:
            An open system; whoever called owns it and closes it.

        Raises:
            InvalidUserContextError: `user_context` is not a `UserContext`, or `secrets`
                is no mapping of texts.
            FactoryClosedError: The factory is closed.
        """
        _check_user(user_context)
        if self.is_closed:
            raise FactoryClosedError
        if tool_classes is None and secrets is None and not sinks:
            view = self._views.of(user_context, ())
            system = UserToolSystem(user_context, self, view)
        else:
            own, rejected = self._accept(tool_classes or ())
            given = secrets if isinstance(secrets, Secrets) else Secrets(secrets)
            extras = Extras(tuple(sinks), given, rejected)
            view = self._views.of(user_context, own)
            system = UserToolSystem(user_context, self, view, extras)
        if not self._is_plain:  # what others have written may fail: here, not later
            self._open_now(system)
        return system

    def open_registry(self, user_context: UserContext, view: ToolView) -> ToolRegistry:
        """Open a user's registry; for their tool system."""
        return self._registry_factory(
            f"{user_context.user_id}:{self.executors.unique_name()}",
            contract=self.contract,
            view=view,
            user_context=user_context,
        )

    def make_dispatcher(
        self,
        registry: ToolRegistry,
        user_context: UserContext,
        *,
        share: UserShare | None,
        sinks: tuple[Sink, ...],
        secrets: Secrets,
    ) -> UnifiedToolDispatcher:
        """Make a user's dispatcher; for their tool system.

        Args:
            registry: The user's tools.
            user_context: Who calls.
            share: What the user has of this process; None once the system is closed.
            sinks: Told this system's events, beside the factory's sinks.
            secrets: The user's secrets.
        """
        return self._dispatcher_factory(
            registry,
            user_context=user_context,
            policy=self.policy,
            settings=self.settings,
            executors=self.executors,
            rules=self._rules,
            share=share,
            sinks=(*self._sinks, *sinks),
            authorizers=self.catalog.hooks.authorizers,
            catalog=self.catalog,
            secrets=secrets,
            tracer=self._tracer,
        )

    def registry_count(self, user_id: str) -> int:
        """Return how many open registries this user has."""
        return self.shares.count(user_id)

    def statistics(self) -> dict[str, int]:
        """Return counts: open systems, users, most registries of one user, views."""
        return {**self.shares.statistics(), "views": len(self._views)}

    def close(self) -> None:
        """Let the executors end; open systems can no longer run sync tools.

        No new system is made after that. Executors that were handed in stay open: they
        belong to who made them.
        """
        self.is_closed = True
        if self._owns_executors:
            self.executors.close()

    def _open_now(self, system: UserToolSystem) -> None:
        try:
            system.dispatcher  # noqa: B018 - it is made by being asked for
        except BaseException:
            system.close()
            raise

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
        schemas = [one for one in rejected if one.reason == _SCHEMA]
        if schemas:
            self.shares.refused_schemas(len(schemas))
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
        self._quick: dict[frozenset[str], ToolView] = {}  # by all scopes; read unlocked
        self._guarding = frozenset[str]().union(
            *(one.tool.definition.required_scopes for one in catalog.view)
        )

    def of(self, user: UserContext, own: Sequence[CompiledTool]) -> ToolView:
        """Return the user's view; with tools of their own it is theirs alone."""
        scopes = self._policy.scopes_of(user)
        if own:
            return self._settle(scopes, own)
        view = self._quick.get(scopes)
        return self._shared(scopes) if view is None else view

    def _shared(self, scopes: frozenset[str]) -> ToolView:
        """Return the view of all who hold, of the scopes that guard tools, the same."""
        key = scopes & self._guarding
        with self._lock:
            view = self._kept.get(key)
            if view is not None:
                self._kept.move_to_end(key)
        if view is None:
            view = self._settle(scopes, ())
        with self._lock:
            view = self._kept.setdefault(key, view)
            while len(self._kept) > MAX_VIEWS:
                self._kept.popitem(last=False)
            if len(self._quick) >= MAX_VIEWS:
                self._quick.clear()
            self._quick[scopes] = view
        return view

    def _settle(self, scopes: frozenset[str], own: Sequence[CompiledTool]) -> ToolView:
        def is_visible(one: ListedTool) -> bool:
            return not self._policy.refusal(scopes, one)

        def view_with(extra: Sequence[CompiledTool]) -> ToolView:
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


def _check_user(user_context: object) -> None:
    if not isinstance(user_context, UserContext):
        kind = type(user_context).__name__
        raise InvalidUserContextError("user_id", f"cannot be read from {kind}")
