"""The staging failure, rebuilt. For tests only: nothing of the product imports this.

One registry for the whole process, tools named after the class of the object when it
has no name, no filter, nothing cleaned up: so two data schemas both ask for the name
``modelmetaclass``, and no user can connect. Each of the three remedies can be switched
on alone, so that a test can tell which one holds what.

`ProductBackend` does the same with the product itself. A guard is written once against
`Backend` and run on both.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from toolkit import UserContextToolFactory
from toolkit.contract import STRICT
from toolkit.system import UserToolSystem
from toolkit.testing import make_user

STAGING_TEXT: Final = "modelmetaclass already registered in ToolRegistry"
"""What the log of the staging system said, word for word."""

HANDLER_PREFIX: Final = "WebSocket context validation failed: "
"""What its message handler put before it, and sent with status 400."""


class Connection(Protocol):
    """One user's connection, open until it is left."""

    def names(self) -> list[str]:
        """Return the names of the tools this user can call."""
        ...

    def instance(self, name: str) -> object:
        """Return what a call of that tool would run on."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...


class Backend(Protocol):
    """Something users connect to."""

    def connect(self, user_id: str) -> Connection:
        """Open a connection, with the tools the backend was started with."""
        ...


@dataclass(frozen=True)
class Remedies:
    """What of the cure is in place. By default nothing: the state of that day."""

    has_filter: bool = False
    has_scopes: bool = False
    has_cleanup: bool = False


class LegacyRegistry:
    """A dict with the old rule of duplicates and the old text."""

    def __init__(self) -> None:
        self.tools: dict[str, object] = {}

    def register(self, tool: object) -> None:
        """Keep a tool under its name, or the name of its class.

        Raises:
            ValueError: There is one of that name.
        """
        name = legacy_name(tool)
        if name in self.tools:
            raise ValueError(f"{name} already registered in ToolRegistry")
        self.tools[name] = tool


def legacy_name(tool: object) -> str:
    """Name a tool as the old code did: the fallback asks the class of the object."""
    name = getattr(tool, "name", None)
    return name if isinstance(name, str) else type(tool).__name__.lower()


class LegacyConnection:
    """A connection of the old kind: its tools are in somebody's registry."""

    def __init__(self, registry: LegacyRegistry, *, has_cleanup: bool) -> None:
        self.registry = registry
        self.has_cleanup = has_cleanup

    def names(self) -> list[str]:
        return sorted(self.registry.tools)

    def instance(self, name: str) -> object:
        return self.registry.tools[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.has_cleanup:
            self.registry.tools.clear()


class LegacyBackend:
    """The backend of that day, with any of the remedies."""

    def __init__(
        self, tools: Iterable[object], remedies: Remedies | None = None
    ) -> None:
        self.tools = tuple(tools)
        self.remedies = remedies or Remedies()
        self.registries: dict[str, LegacyRegistry] = {}

    def connect(self, user_id: str) -> LegacyConnection:
        """Register every tool for a new connection.

        Raises:
            ValueError: As the old handler reported it.
        """
        scope = user_id if self.remedies.has_scopes else "everybody"
        registry = self.registries.setdefault(scope, LegacyRegistry())
        try:
            for tool in self.tools:
                if self.remedies.has_filter and not STRICT.judge(tool).accepted:
                    continue
                registry.register(tool)
        except ValueError as error:
            raise ValueError(f"{HANDLER_PREFIX}{error}") from error
        return LegacyConnection(registry, has_cleanup=self.remedies.has_cleanup)


class ProductConnection:
    """A user tool system behind the same few methods."""

    def __init__(self, system: UserToolSystem) -> None:
        self.system = system

    def names(self) -> list[str]:
        return [str(one.name) for one in self.system.get_all_tools()]

    def instance(self, name: str) -> object:
        found: Any = self.system.registry.get(name)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.system.close()


class ProductBackend:
    """The product, given the very same tools."""

    def __init__(self, tools: Iterable[object]) -> None:
        self.tools = tuple(tools)
        self.factory = UserContextToolFactory()

    def connect(self, user_id: str) -> ProductConnection:
        """Build a new system, as a connection does."""
        user = make_user(user_id)
        return ProductConnection(self.factory.create_user_tool_system(user, self.tools))
