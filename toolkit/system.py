"""One user's tool system: what they may call, made as far as it is used."""

import asyncio
import warnings
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import uuid4

from toolkit.catalog import ListedTool, ToolView
from toolkit.cleanup import close_later, close_now
from toolkit.context import NO_SECRETS, Secrets, UserContext
from toolkit.dispatch import ToolResult, UnifiedToolDispatcher
from toolkit.errors import InvalidToolError
from toolkit.events import Sink
from toolkit.limits import UserShare
from toolkit.loops import running_loop
from toolkit.naming import Collision, ToolName
from toolkit.signature import Arguments
from toolkit.tool_registry import ToolRegistry
from toolkit.tools import ToolDefinition

if TYPE_CHECKING:
    from toolkit.factory import UserContextToolFactory

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {}


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


@dataclass(frozen=True, slots=True)
class Extras:
    """What one tool system has that others of the same policy have not."""

    sinks: tuple[Sink, ...] = ()
    secrets: Secrets = NO_SECRETS
    rejected: tuple[InvalidToolError, ...] = ()


NO_EXTRAS: Final = Extras()


class UserToolSystem:
    """One user's registry and dispatcher. Owned by who created it; close it.

    A view: it shares the tools that all users of the same rights see, and nothing is
    made for it before it is used. Closing cancels running calls and closes the tool
    instances made for this user, newest first. A system that is dropped without closing
    warns (`ResourceWarning`).

    Attributes:
        user_context: Whose system it is.
    """

    __slots__ = (
        "__weakref__",
        "_correlation_id",
        "_dispatcher",
        "_extras",
        "_factory",
        "_registry",
        "_share",
        "_view",
        "user_context",
    )

    def __init__(
        self,
        user_context: UserContext,
        factory: "UserContextToolFactory",
        view: ToolView,
        extras: Extras = NO_EXTRAS,
    ) -> None:
        """Count as open; a factory calls this."""
        self.user_context = user_context
        self._factory = factory
        self._view = view
        self._extras = extras
        self._registry: ToolRegistry | None = None
        self._dispatcher: UnifiedToolDispatcher | None = None
        self._correlation_id = ""
        self._share: UserShare | None = factory.shares.opened(user_context.user_id)

    @property
    def registry(self) -> ToolRegistry:
        """The user's tools; opened at the first use."""
        return self._registry or self._opened()[0]

    @property
    def dispatcher(self) -> UnifiedToolDispatcher:
        """Runs the user's calls; made at the first use."""
        return self._dispatcher or self._opened()[1]

    @property
    def view(self) -> ToolView:
        """The tools that it was made from; shared by all users of the same rights."""
        return self._view

    @property
    def correlation_id(self) -> str:
        """Names this system in logs; never given to another."""
        if not self._correlation_id:
            with self._factory.lock:
                self._correlation_id = self._correlation_id or uuid4().hex
        return self._correlation_id

    @property
    def rejected(self) -> tuple[InvalidToolError, ...]:
        """What was handed in as ``tool_classes`` and is no tool, with reasons."""
        return self._extras.rejected

    @property
    def collisions(self) -> tuple[Collision, ...]:
        """Names of the user's own tools that met another's."""
        return self._view.collisions

    def _opened(self) -> tuple[ToolRegistry, UnifiedToolDispatcher]:
        """Make the registry and the dispatcher, once."""
        with self._factory.lock:
            if self._registry is None or self._dispatcher is None:
                registry = self._factory.open_registry(self.user_context, self._view)
                extras = self._extras
                self._dispatcher = self._factory.make_dispatcher(
                    registry,
                    self.user_context,
                    share=self._share,
                    sinks=extras.sinks,
                    secrets=extras.secrets,
                )
                self._registry = registry
                if self.is_closed:
                    self._dispatcher.close()
                    registry.close()
            return self._registry, self._dispatcher

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

    def execute(
        self,
        name: str,
        arguments: Arguments = _NO_ARGUMENTS,
        **options: Any,  # noqa: ANN401 - see the dispatcher
    ) -> Coroutine[Any, Any, ToolResult]:
        """Run one call, when it is awaited; the same as ``dispatcher.execute``.

        Raises:
            asyncio.CancelledError: The caller was cancelled.
        """
        return self.dispatcher.execute(name, arguments, **options)

    @property
    def is_closed(self) -> bool:
        """Whether the system takes no more calls."""
        return self._share is None

    def close(self) -> None:
        """Close the system from synchronous code. Closing again does nothing.

        Tools that clean up with `aclose` are run to their end when no event loop runs
        here; inside a loop use `aclose`, or those tools are named in a ResourceWarning.
        """
        instances = self._retire()
        if not instances:
            return
        secrets = self._extras.secrets
        unclosed = [one for one in instances if not close_now(one, secrets)]
        if not unclosed:
            return
        if running_loop() is None:
            asyncio.run(close_later(unclosed, secrets))
            return
        names = ", ".join(sorted(type(one).__name__ for one in unclosed))
        text = f"{names} clean up with aclose(); use `await system.aclose()`"
        warnings.warn(text, ResourceWarning, stacklevel=2)

    async def aclose(self) -> None:
        """Close the system, waiting for async tools and clean-ups to end.

        Closing again does nothing.
        """
        if self._share is None:
            return
        if self._dispatcher is not None:
            await self._dispatcher.aclose()
        for instance in self._retire():
            if not close_now(instance, self._extras.secrets):
                await close_later([instance], self._extras.secrets)

    def _retire(self) -> list[object]:
        """Take no more calls; return the instances to clean up, newest first."""
        with self._factory.lock:  # two threads may close at once
            share, self._share = self._share, None
            registry, dispatcher = self._registry, self._dispatcher
        if share is None:
            return []
        if dispatcher is not None:
            dispatcher.close()  # first: what is in it goes on counting
        self._factory.shares.closed(share)
        if registry is None:
            return []
        refused = registry.refused_schemas
        if refused:
            self._factory.shares.refused_schemas(refused)
        return registry.close()

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
        if getattr(self, "_share", None) is None:
            return
        user = self.user_context.user_id
        text = f"the tool system of {user!r} was never closed; use `async with`"
        for instance in self._retire():
            close_now(instance, self._extras.secrets)
        warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        """Name the user and the state."""
        state = "closed" if self.is_closed else f"{len(self.registry)} tools"
        return f"<UserToolSystem of {self.user_context.user_id!r}, {state}>"
