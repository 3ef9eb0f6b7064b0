"""Supervisors for whoever serves connections; each has a tool system of its own."""

from collections.abc import Iterable, Mapping

from toolkit.app import Toolkit
from toolkit.context import UserContext
from toolkit.session.edge import Edge
from toolkit.session.supervisor import Supervisor
from toolkit.settings import Settings


def get_websocket_scoped_supervisor(
    context: UserContext,
    *,
    kit: Toolkit | None = None,
    settings: Settings | None = None,
    edge: Edge | None = None,
) -> Supervisor:
    """Make the supervisor of one connection. Each call makes a new one.

    Nothing of it is shared with another: registry, session, runs and queue are its own,
    and end with it. Fast where a toolkit is given: nothing is discovered then.

    Args:
        context: Whose connection it is.
        kit: Where tools and agents come from, for all connections of a process. Without
            one, the installed packages are discovered for this supervisor alone, which
            closes what was made.
        settings: For that discovery; by default `Settings.load()`.
        edge: What the edge gives it.

    Returns:
        The supervisor, ready; whoever called owns it, and closes it with
        ``await supervisor.aclose()``, or ``supervisor.close()`` outside of event loops.

    Raises:
        InvalidUserContextError: `context` is no `UserContext`.
        FactoryClosedError: The toolkit is closed.
        ConfigurationError: A setting does not fit.
    """
    if kit is not None:
        return Supervisor(kit, context, edge)
    own = Toolkit(settings)
    try:
        return Supervisor(own, context, edge, owns_kit=True)
    except BaseException:
        own.close()
        raise


def create_websocket_scoped_supervisor(
    user_id: str,
    *,
    scopes: Iterable[str] = (),
    roles: Iterable[str] = (),
    metadata: Mapping[str, object] | None = None,
    kit: Toolkit | None = None,
    settings: Settings | None = None,
) -> Supervisor:
    """Make the supervisor of one connection of a user, from what is known of them.

    Args:
        user_id: Who.
        scopes: What they may do.
        roles: What they are.
        metadata: What the backend attaches.
        kit: As for `get_websocket_scoped_supervisor`.
        settings: Likewise.

    Returns:
        As `get_websocket_scoped_supervisor` does.

    Raises:
        InvalidUserContextError: A field identifies nobody.
        FactoryClosedError: The toolkit is closed.
        ConfigurationError: A setting does not fit.
    """
    context = UserContext(
        user_id=user_id,
        scopes=frozenset(scopes),
        roles=frozenset(roles),
        metadata=dict(metadata or {}),
    )
    return get_websocket_scoped_supervisor(context, kit=kit, settings=settings)
