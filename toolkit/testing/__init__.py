"""Help for the tests of tool packages and of backends. Promised to stay.

Nothing here looks at installed packages: a test sees the tools it names and no others.
pytest users get `tool_system` and `tool_events` as fixtures without importing anything.
`ask_agent` runs an agent.
`connect` and `ChatClient` talk to a chat backend; they need the extra ``server``.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from toolkit.compiler import compile_tool
from toolkit.context import UserContext
from toolkit.errors import InvalidToolError
from toolkit.events import Sink, ToolEvent
from toolkit.factory import UserContextToolFactory
from toolkit.settings import Settings
from toolkit.signature import Arguments
from toolkit.system import UserToolSystem
from toolkit.testing.agents import ToldRun, ask_agent, echo_model
from toolkit.testing.chat import ChatClient, connect
from toolkit.tokens import mint_token, user_id_of_email

__all__ = [
    "ChatClient",
    "RecordingSink",
    "ToldRun",
    "ask_agent",
    "check_tool",
    "connect",
    "echo_model",
    "make_user",
    "run_tool",
    "token_for",
    "tool_system",
]


class RecordingSink:
    """A sink that keeps every event, in order. Belongs to one test."""

    def __init__(self) -> None:
        """Start empty."""
        self.events: list[ToolEvent] = []

    def __call__(self, event: ToolEvent) -> None:
        """Keep the event."""
        self.events.append(event)

    def types(self, call_id: str | None = None) -> list[str]:
        """Return the types of the events, of one call or of all, in order."""
        chosen = [e for e in self.events if call_id in (None, e.call_id)]
        return [str(event.type) for event in chosen]


def make_user(
    user_id: str = "test-user",
    *,
    scopes: Iterable[str] = (),
    **facts: Any,  # noqa: ANN401 - the fields of UserContext
) -> UserContext:
    """Return a user context for a test.

    Args:
        user_id: Who.
        scopes: What they may do.
        **facts: Any other field of `UserContext`.

    Raises:
        InvalidUserContextError: A field identifies nobody.
    """
    return UserContext(user_id=user_id, scopes=frozenset(scopes), **facts)


def token_for(
    email: str,
    settings: Settings,
    *,
    scopes: Iterable[str] = (),
    roles: Iterable[str] = (),
    lifetime: float | None = None,
) -> str:
    """Return a real token for whoever has an e-mail address, signed with the secret.

    The same address is the same user every time: `toolkit.tokens.user_id_of_email`.

    Args:
        email: Their address.
        settings: Those of the server; it must have a secret.
        scopes: What they may do.
        roles: Their roles.
        lifetime: Seconds; by default the settings' own.

    Raises:
        ConfigurationError: There is no secret, or `lifetime` is not allowed.
        InvalidUserContextError: It is no address, or scopes or roles are not names.
        MissingExtraError: PyJWT is not installed.
    """
    return mint_token(
        settings.auth,
        user_id=user_id_of_email(email),
        scopes=scopes,
        roles=roles,
        email=email,
        lifetime=lifetime,
    )


@contextmanager
def tool_system(
    *tools: object,
    user: UserContext | None = None,
    scopes: Iterable[str] | None = None,
    settings: Settings | None = None,
    sinks: Iterable[Sink] = (),
    secrets: Mapping[str, str] | None = None,
) -> Iterator[UserToolSystem]:
    """Open one user's system over these tools and no others; closed at the end.

    Args:
        *tools: Tool classes, instances or `@tool` functions.
        user: Whose system it is; by default a test user.
        scopes: That user's scopes; by default all that the tools ask for. Not to be
            given together with `user`.
        settings: Limits and access rules.
        sinks: Told every event.
        secrets: The user's secrets by name.

    Yields:
        The system. Its dispatcher is the real one.

    Raises:
        InvalidToolError: One of `tools` is no tool.
        InvalidUserContextError: A field of the user identifies nobody.
    """
    needed = _scopes_of(tools)
    who = user or make_user(scopes=needed if scopes is None else scopes)
    factory = UserContextToolFactory(settings=settings, sinks=sinks)
    try:
        with factory.create_user_tool_system(who, tools, secrets=secrets) as system:
            yield system
    finally:
        factory.close()


def _scopes_of(tools: Iterable[object]) -> frozenset[str]:
    """Return all the scopes that these tools ask for; refuses what is no tool."""
    definitions = [compile_tool(one).definition for one in tools]
    return frozenset[str]().union(*(one.required_scopes for one in definitions))


async def run_tool(
    target: object,
    arguments: Arguments,
    *,
    user: UserContext | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 - whatever the tool returns
    """Run one tool once as a backend would, and return its value.

    Args:
        target: A tool class, an instance or a `@tool` function.
        arguments: JSON text or bytes, or a mapping.
        user: Who calls; by default a test user with all the scopes the tool asks for.
        secrets: The user's secrets by name.

    Raises:
        InvalidToolError: `target` is no tool.
        InvalidUserContextError: `secrets` is no mapping of texts.
        ToolkitError: The error of the call.
    """
    who = user or make_user(scopes=_scopes_of([target]))
    factory = UserContextToolFactory()
    try:
        async with factory.create_user_tool_system(
            who, [target], secrets=secrets
        ) as system:
            result = await system.execute(compile_tool(target).name, arguments)
    finally:
        factory.close()
    return result.unwrap()


def check_tool(target: object) -> list[str]:
    """Say what a caller or a model would miss about a tool.

    Args:
        target: Anything meant as a tool.

    Returns:
        One sentence for each problem; empty when it is ready to publish.
    """
    try:
        definition = compile_tool(target).definition
    except InvalidToolError as error:
        return [str(error)]
    problems = []
    if not definition.description:
        problems.append(f"{definition.name} has no description; write a docstring")
    if definition.output_schema is None:
        problems.append(f"{definition.name} does not say what execute returns")
    problems.extend(
        f"{definition.name} does not describe its argument {argument!r}"
        for argument, schema in definition.input_schema["properties"].items()
        if not schema.get("description")
    )
    return problems
