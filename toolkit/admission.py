"""What one user may call: found and authorized, before anything of a call runs."""

import logging
from collections.abc import Iterable

from toolkit.catalog import Authorizer, ListedTool, ToolCatalog
from toolkit.context import NO_SECRETS, UserContext
from toolkit.errors import (
    RegistrationRejectedError,
    RegistryClosedError,
    ToolAccessError,
    ToolExecutionError,
    ToolNotFoundError,
    kind_of_error,
)
from toolkit.policy import AccessPolicy
from toolkit.tool_registry import ToolRegistry, near_names
from toolkit.tracebacks import log_error, set_cause

logger = logging.getLogger(__name__)


class Admission:
    """Finds and authorizes one user's tools. Belongs to that user's dispatcher.

    Args:
        registry: The user's tools.
        user: Who calls.
        policy: Who may see and call what.
        authorizers: Asked before each call; they can only deny.
        catalog: All tools there are; consulted only to explain a refusal to a user who
            may have it explained.
    """

    __slots__ = (
        "_catalog",
        "_policy",
        "_registry",
        "_scopes",
        "_user",
        "authorizers",
    )

    def __init__(
        self,
        registry: ToolRegistry,
        *,
        user: UserContext,
        policy: AccessPolicy,
        authorizers: Iterable[Authorizer],
        catalog: ToolCatalog,
    ) -> None:
        """Take over the parts."""
        self._registry = registry
        self._user = user
        self._policy = policy
        self._scopes = policy.scopes_of(user)
        self.authorizers = tuple(authorizers)
        self._catalog = catalog

    def find(self, name: str) -> ListedTool:
        """Return the tool of that name, if this user may call it.

        Raises:
            ToolNotFoundError: There is none, or none for this user.
            ToolAccessError: The user may not call it, and may know that.
            RegistryClosedError: The registry is closed.
            RegistrationRejectedError: A registered factory made something that is no
                tool.
            ToolExecutionError: That factory failed.
            KeyboardInterrupt: The user interrupts.
        """
        listed = self._find(name)
        self.authorize(name, listed)
        return listed

    def authorize(self, name: str, listed: ListedTool) -> None:
        """Refuse a tool that this user may not call, by what its code says now.

        Raises:
            ToolNotFoundError: They may not.
            ToolAccessError: They may not, and may know why.
        """
        refusal = self._policy.refusal(self._scopes, listed)
        if not refusal and self._is_denied_by_hook(listed):
            refusal = "a hook of this deployment denies it"
        if not refusal:
            return
        if self._policy.may_explain(self._user):
            raise ToolAccessError(name, refusal)
        raise self._not_found(name)

    def may_call(self, listed: ListedTool) -> bool:
        """Tell whether the access policy lets this user see and call a tool."""
        return not self._policy.refusal(self._scopes, listed)

    def _find(self, name: str) -> ListedTool:
        try:
            return self._registry.find(name)
        except ToolNotFoundError:
            hidden = self._catalog.view.find(name) if isinstance(name, str) else None
            if hidden is not None:  # there is one, and this user does not have it
                self.authorize(name, hidden)
            raise self._not_found(name) from None
        except (RegistrationRejectedError, RegistryClosedError, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - a factory is anybody's code
            text = "the factory of tool %r failed"
            log_error(logger, NO_SECRETS, error, text, name)  # it was given none
            failed = ToolExecutionError(name, kind_of_error(error))
            set_cause(failed, error)
        raise failed

    def _not_found(self, name: str) -> ToolNotFoundError:
        """Answer for an unknown and for a denied tool alike."""
        open_to_user = [str(t.name) for t in self._registry.tools() if self.may_call(t)]
        return ToolNotFoundError(name, near_names(name, open_to_user))

    def _is_denied_by_hook(self, listed: ListedTool) -> bool:
        for authorizer in self.authorizers:
            try:
                answer: object = authorizer(self._user, listed.current)
            except Exception:
                logger.exception("authorize hook failed; %r is denied", listed.name)
                return True
            if answer is not None and answer is not True:
                if answer is not False:
                    text = "authorize hook answered %s for %r, which denies"
                    logger.error(text, type(answer).__name__, listed.name)
                return True
        return False
