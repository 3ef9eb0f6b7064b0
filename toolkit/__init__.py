"""Turn installed packages into tool systems, one per user, isolated by construction.

The whole idea in one line::

    source → candidate → filter → catalog → factory → registry → dispatcher ← session

Every public name below can be imported from here. Names load on first use, so
``import toolkit`` itself loads no dependency. Only these names,
``toolkit.errors`` and ``toolkit.testing`` are promised to stay.
"""

import sys

TYPE_CHECKING = False  # type checkers know the name; importing typing takes 5 ms
if TYPE_CHECKING:
    from toolkit import supervisor_factory
    from toolkit.adapters import adapt_tool
    from toolkit.agent import Agent, AgentAnswer, AgentRun
    from toolkit.app import Toolkit
    from toolkit.catalog import ToolCatalog
    from toolkit.context import ToolContext, UserContext
    from toolkit.contract import RejectionReason, ToolContract, Verdict
    from toolkit.discovery.hooks import hookimpl
    from toolkit.discovery.pipeline import discover
    from toolkit.discovery.report import DiscoveryReport
    from toolkit.dispatch import ToolCall, ToolResult, UnifiedToolDispatcher
    from toolkit.errors import (
        AgentDepthError,
        AgentError,
        AgentFailedError,
        AgentNotFoundError,
        AgentTimeoutError,
        ApprovalDeniedError,
        ApprovalExpiredError,
        AuthenticationError,
        CallLimitError,
        ChatFailedError,
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
        LocalProtocolError,
        MissingExtraError,
        MissingSecretError,
        ModelNotConfiguredError,
        NoEarlierCatalogError,
        PluginLoadError,
        ProtocolError,
        RegistrationRejectedError,
        RegistryClosedError,
        RegistryError,
        RegistryFrozenError,
        RemoteProtocolError,
        RunCancelledError,
        RunEndedError,
        SandboxUnavailableError,
        SessionClosedError,
        SessionError,
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
    from toolkit.session.supervisor import Supervisor
    from toolkit.settings import Settings
    from toolkit.supervisor_factory import create_websocket_scoped_supervisor
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
    "Agent": "toolkit.agent",
    "AgentAnswer": "toolkit.agent",
    "AgentDepthError": "toolkit.errors",
    "AgentError": "toolkit.errors",
    "AgentFailedError": "toolkit.errors",
    "AgentNotFoundError": "toolkit.errors",
    "AgentRun": "toolkit.agent",
    "AgentTimeoutError": "toolkit.errors",
    "ApprovalDeniedError": "toolkit.errors",
    "ApprovalExpiredError": "toolkit.errors",
    "AuthenticationError": "toolkit.errors",
    "CallLimitError": "toolkit.errors",
    "ChatFailedError": "toolkit.errors",
    "CatalogEvent": "toolkit.events",
    "ConfigurationError": "toolkit.errors",
    "create_scoped_registry": "toolkit.tool_registry",
    "create_websocket_scoped_registry": "toolkit.tool_registry",
    "create_websocket_scoped_supervisor": "toolkit.supervisor_factory",
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
    "LocalProtocolError": "toolkit.errors",
    "MissingExtraError": "toolkit.errors",
    "MissingSecretError": "toolkit.errors",
    "ModelNotConfiguredError": "toolkit.errors",
    "NoEarlierCatalogError": "toolkit.errors",
    "Origin": "toolkit.origin",
    "PluginLoadError": "toolkit.errors",
    "ProtocolError": "toolkit.errors",
    "RegistrationRejectedError": "toolkit.errors",
    "RegistryClosedError": "toolkit.errors",
    "RegistryError": "toolkit.errors",
    "RegistryFrozenError": "toolkit.errors",
    "RejectionReason": "toolkit.contract",
    "RemoteProtocolError": "toolkit.errors",
    "RunCancelledError": "toolkit.errors",
    "RunEndedError": "toolkit.errors",
    "SandboxUnavailableError": "toolkit.errors",
    "SessionClosedError": "toolkit.errors",
    "SessionError": "toolkit.errors",
    "Settings": "toolkit.settings",
    "Supervisor": "toolkit.session.supervisor",
    "supervisor_factory": "toolkit",
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
    "Agent",
    "AgentAnswer",
    "AgentDepthError",
    "AgentError",
    "AgentFailedError",
    "AgentNotFoundError",
    "AgentRun",
    "AgentTimeoutError",
    "ApprovalDeniedError",
    "ApprovalExpiredError",
    "AuthenticationError",
    "CallLimitError",
    "CatalogEvent",
    "ChatFailedError",
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
    "LocalProtocolError",
    "MissingExtraError",
    "MissingSecretError",
    "ModelNotConfiguredError",
    "NoEarlierCatalogError",
    "Origin",
    "PluginLoadError",
    "ProtocolError",
    "RegistrationRejectedError",
    "RegistryClosedError",
    "RegistryError",
    "RegistryFrozenError",
    "RejectionReason",
    "RemoteProtocolError",
    "RunCancelledError",
    "RunEndedError",
    "SandboxUnavailableError",
    "SessionClosedError",
    "SessionError",
    "Settings",
    "Supervisor",
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
    "create_websocket_scoped_supervisor",
    "discover",
    "hookimpl",
    "supervisor_factory",
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
    path = f"{module}.{name}" if module == __name__ else module  # a module of ours
    __import__(path)
    loaded = sys.modules[path]
    value: object = loaded if path != module else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names beside what is already loaded."""
    return sorted({*globals(), *__all__})
