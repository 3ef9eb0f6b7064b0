"""Turn installed packages into tool systems, one per user, isolated by construction.

The whole idea in one line::

    source → candidate → filter → catalog → factory → registry → dispatcher

Every public name below can be imported from here. Names load on first use, so
``import toolkit`` itself loads no dependency. Only these names,
``toolkit.errors`` and ``toolkit.testing`` are promised to stay.
"""

TYPE_CHECKING = False  # type checkers know the name; importing typing takes 5 ms
if TYPE_CHECKING:
    from toolkit.adapters import adapt_tool
    from toolkit.app import Toolkit
    from toolkit.catalog import ToolCatalog
    from toolkit.context import ToolContext, UserContext
    from toolkit.contract import RejectionReason, ToolContract, Verdict
    from toolkit.discovery.hooks import hookimpl
    from toolkit.discovery.pipeline import discover
    from toolkit.discovery.report import DiscoveryReport
    from toolkit.dispatch import ToolCall, ToolResult, UnifiedToolDispatcher
    from toolkit.errors import (
        ApprovalDeniedError,
        ApprovalExpiredError,
        AuthenticationError,
        CallLimitError,
        ConfigurationError,
        DiscoveryError,
        DiscoveryFailedError,
        DuplicateKeyError,
        DuplicateToolError,
        FactoryClosedError,
        FactoryNotFoundError,
        IdempotencyKeyError,
        InvalidArgumentsError,
        InvalidNameError,
        InvalidToolError,
        InvalidUserContextError,
        KeySourceError,
        MissingExtraError,
        MissingSecretError,
        NoEarlierCatalogError,
        PluginLoadError,
        RegistrationRejectedError,
        RegistryClosedError,
        RegistryError,
        RegistryFrozenError,
        SandboxUnavailableError,
        ToolAccessError,
        ToolCallError,
        ToolCancelledError,
        ToolConstructionError,
        ToolError,
        ToolExecutionError,
        ToolkitError,
        ToolNotFoundError,
        ToolResultError,
        ToolTimeoutError,
        ToolUnavailableError,
        ToolWorkerError,
        UnknownRegistryTypeError,
    )
    from toolkit.events import CatalogEvent, ToolEvent
    from toolkit.factory import UserContextToolFactory
    from toolkit.origin import Origin
    from toolkit.policy import AccessPolicy
    from toolkit.registry import UniversalRegistry
    from toolkit.settings import Settings
    from toolkit.system import UserToolSystem
    from toolkit.tool_registry import (
        ToolRegistry,
        create_scoped_registry,
        create_websocket_scoped_registry,
    )
    from toolkit.tools import Tool, ToolDefinition, tool

__version__ = "0.1.0"  # pyproject.toml reads it from here

_MODULE_OF = {
    "AccessPolicy": "toolkit.policy",
    "adapt_tool": "toolkit.adapters",
    "ApprovalDeniedError": "toolkit.errors",
    "ApprovalExpiredError": "toolkit.errors",
    "AuthenticationError": "toolkit.errors",
    "CallLimitError": "toolkit.errors",
    "CatalogEvent": "toolkit.events",
    "ConfigurationError": "toolkit.errors",
    "create_scoped_registry": "toolkit.tool_registry",
    "create_websocket_scoped_registry": "toolkit.tool_registry",
    "discover": "toolkit.discovery.pipeline",
    "DiscoveryError": "toolkit.errors",
    "DiscoveryFailedError": "toolkit.errors",
    "DiscoveryReport": "toolkit.discovery.report",
    "DuplicateKeyError": "toolkit.errors",
    "DuplicateToolError": "toolkit.errors",
    "FactoryClosedError": "toolkit.errors",
    "FactoryNotFoundError": "toolkit.errors",
    "hookimpl": "toolkit.discovery.hooks",
    "IdempotencyKeyError": "toolkit.errors",
    "InvalidArgumentsError": "toolkit.errors",
    "InvalidNameError": "toolkit.errors",
    "InvalidToolError": "toolkit.errors",
    "InvalidUserContextError": "toolkit.errors",
    "KeySourceError": "toolkit.errors",
    "MissingExtraError": "toolkit.errors",
    "MissingSecretError": "toolkit.errors",
    "NoEarlierCatalogError": "toolkit.errors",
    "Origin": "toolkit.origin",
    "PluginLoadError": "toolkit.errors",
    "RegistrationRejectedError": "toolkit.errors",
    "RegistryClosedError": "toolkit.errors",
    "RegistryError": "toolkit.errors",
    "RegistryFrozenError": "toolkit.errors",
    "RejectionReason": "toolkit.contract",
    "SandboxUnavailableError": "toolkit.errors",
    "Settings": "toolkit.settings",
    "Tool": "toolkit.tools",
    "tool": "toolkit.tools",
    "ToolAccessError": "toolkit.errors",
    "ToolCall": "toolkit.dispatch",
    "ToolCallError": "toolkit.errors",
    "ToolCancelledError": "toolkit.errors",
    "ToolCatalog": "toolkit.catalog",
    "ToolConstructionError": "toolkit.errors",
    "ToolContext": "toolkit.context",
    "ToolContract": "toolkit.contract",
    "ToolDefinition": "toolkit.tools",
    "ToolError": "toolkit.errors",
    "ToolEvent": "toolkit.events",
    "ToolExecutionError": "toolkit.errors",
    "Toolkit": "toolkit.app",
    "ToolkitError": "toolkit.errors",
    "ToolNotFoundError": "toolkit.errors",
    "ToolRegistry": "toolkit.tool_registry",
    "ToolResult": "toolkit.dispatch",
    "ToolResultError": "toolkit.errors",
    "ToolTimeoutError": "toolkit.errors",
    "ToolUnavailableError": "toolkit.errors",
    "ToolWorkerError": "toolkit.errors",
    "UnifiedToolDispatcher": "toolkit.dispatch",
    "UniversalRegistry": "toolkit.registry",
    "UnknownRegistryTypeError": "toolkit.errors",
    "UserContext": "toolkit.context",
    "UserContextToolFactory": "toolkit.factory",
    "UserToolSystem": "toolkit.system",
    "Verdict": "toolkit.contract",
}

__all__ = [  # a literal, so that type checkers and star-imports agree with it
    "AccessPolicy",
    "ApprovalDeniedError",
    "ApprovalExpiredError",
    "AuthenticationError",
    "CallLimitError",
    "CatalogEvent",
    "ConfigurationError",
    "DiscoveryError",
    "DiscoveryFailedError",
    "DiscoveryReport",
    "DuplicateKeyError",
    "DuplicateToolError",
    "FactoryClosedError",
    "FactoryNotFoundError",
    "IdempotencyKeyError",
    "InvalidArgumentsError",
    "InvalidNameError",
    "InvalidToolError",
    "InvalidUserContextError",
    "KeySourceError",
    "MissingExtraError",
    "MissingSecretError",
    "NoEarlierCatalogError",
    "Origin",
    "PluginLoadError",
    "RegistrationRejectedError",
    "RegistryClosedError",
    "RegistryError",
    "RegistryFrozenError",
    "RejectionReason",
    "SandboxUnavailableError",
    "Settings",
    "Tool",
    "ToolAccessError",
    "ToolCall",
    "ToolCallError",
    "ToolCancelledError",
    "ToolCatalog",
    "ToolConstructionError",
    "ToolContext",
    "ToolContract",
    "ToolDefinition",
    "ToolError",
    "ToolEvent",
    "ToolExecutionError",
    "ToolNotFoundError",
    "ToolRegistry",
    "ToolResult",
    "ToolResultError",
    "ToolTimeoutError",
    "ToolUnavailableError",
    "ToolWorkerError",
    "Toolkit",
    "ToolkitError",
    "UnifiedToolDispatcher",
    "UniversalRegistry",
    "UnknownRegistryTypeError",
    "UserContext",
    "UserContextToolFactory",
    "UserToolSystem",
    "Verdict",
    "adapt_tool",
    "create_scoped_registry",
    "create_websocket_scoped_registry",
    "discover",
    "hookimpl",
    "tool",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use and keep it.

    Raises:
        AttributeError: `name` is not public here.
    """
    module = _MODULE_OF.get(name)
    if module is None:
        text = f"module 'toolkit' has no attribute {name!r}"
        raise AttributeError(text)
    value: object = getattr(__import__(module, fromlist=(name,)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names beside what is already loaded."""
    return sorted({*globals(), *__all__})
