"""What plugins and operators can hook into, by pluggy.

Write plain functions with these names in a module, mark them with `hookimpl`, and
publish the module under the entry-point group ``toolkit.plugins``. Each function takes
the arguments it wants of those named here. Wrappers are not supported: every function
is called on its own, so that one that fails cannot disturb the others.
"""

import logging
from collections.abc import Callable, Iterator
from inspect import (
    isasyncgenfunction,
    iscoroutine,
    iscoroutinefunction,
    isgeneratorfunction,
)
from typing import TYPE_CHECKING, Any, Final, cast

import pluggy

from toolkit.catalog import CallHooks

if TYPE_CHECKING:
    from toolkit.context import UserContext
    from toolkit.discovery.report import Candidate
    from toolkit.events import ToolEvent
    from toolkit.tools import ToolDefinition

logger = logging.getLogger(__name__)

PROJECT: Final = "toolkit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """The hooks there are."""

    @hookspec
    def toolkit_veto_candidate(self, candidate: "Candidate") -> str | None:
        """Return a reason to keep an accepted candidate out; None has no objection."""

    @hookspec
    def toolkit_authorize_call(
        self, user: "UserContext", definition: "ToolDefinition"
    ) -> bool | None:
        """Return False to deny a call; nothing returned here can grant one.

        Asked before every call, on the event loop: it must not block. An exception
        denies the call, and so does any answer but True and None.
        """

    @hookspec
    def toolkit_observe_call(self, event: "ToolEvent") -> None:
        """Take note of an event of a call. Must not block; exceptions are logged."""


class Hooks:
    """The hook functions of one discovery; frozen into its catalog at the end."""

    def __init__(self) -> None:
        """Start without any."""
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)

    def register(self, module: object, name: str) -> None:
        """Take the hook functions of a module.

        Raises:
            PluginValidationError: A hook takes arguments that it is not given, there is
                no hook of that name, or it is async, a generator or a wrapper; none of
                the module's hooks is kept.
            ValueError: A plugin of that name is there already.
        """
        try:
            self._manager.register(module, name)
            self._manager.check_pending()  # a misspelled hook would never be asked
            for caller in self._manager.get_hookcallers(module) or ():
                for one in caller.get_hookimpls():
                    _check(one)
        except BaseException:
            if self._manager.get_plugin(name) is module:  # pluggy keeps half of it
                self._manager.unregister(name=name)
            raise

    @property
    def has_vetoes(self) -> bool:
        """Whether anybody implements the veto hook."""
        return bool(self._manager.hook.toolkit_veto_candidate.get_hookimpls())

    def vetoes(self, candidate: "Candidate") -> Iterator[tuple[str, str]]:
        """Ask every veto hook about a candidate.

        Yields:
            The plugin's name and its reason. A hook that raises has no say; the failure
            is logged.
        """
        for name, function in self._functions("toolkit_veto_candidate"):
            try:
                reason = function(candidate=candidate)
                text = str(reason) if reason else ""
            except Exception:
                logger.exception("the veto hook of %s failed; it has no say", name)
                continue
            if text:
                yield name, text

    def for_calls(self) -> CallHooks:
        """Return the hooks that calls use; empty tuples when nobody implements them."""
        ask = self._functions("toolkit_authorize_call")
        tell = [f for _, f in self._functions("toolkit_observe_call")]
        return CallHooks(
            authorizers=tuple(_authorizer(name, function) for name, function in ask),
            observers=tuple(_observer(function) for function in tell),
        )

    def _functions(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
        """Return (plugin, function) in pluggy's order, the last registered first."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [
            (one.plugin_name, _by_name(one.function, one.argnames))
            for one in reversed(implementations)
        ]


def _check(one: pluggy.HookImpl) -> None:
    """Refuse what would answer with a generator or coroutine, which denies nothing."""
    function = one.function
    is_lazy = iscoroutinefunction(function) or isasyncgenfunction(function)
    if is_lazy or isgeneratorfunction(function) or one.wrapper or one.hookwrapper:
        text = f"{function.__name__} must be a plain function: no async, yield, wrapper"
        raise pluggy.PluginValidationError(one.plugin, text)


def _by_name(
    function: Callable[..., Any], names: tuple[str, ...]
) -> Callable[..., Any]:
    def call(**given: Any) -> Any:  # noqa: ANN401 - whatever the hook returns
        return function(**{name: given[name] for name in names})

    return call


def _authorizer(
    name: str, function: Callable[..., Any]
) -> "Callable[[UserContext, ToolDefinition], bool | None]":
    def authorize(user: "UserContext", definition: "ToolDefinition") -> bool | None:
        answer = function(user=user, definition=definition)
        if answer is None or answer is True:
            return cast("bool | None", answer)
        if answer is not False:
            kind = type(answer).__name__
            logger.error("the authorize hook of %s gave %s: that denies", name, kind)
        if iscoroutine(answer):  # a decorator hid that the hook is async
            answer.close()
        return False

    return authorize


def _observer(function: Callable[..., Any]) -> "Callable[[ToolEvent], None]":
    def observe(event: "ToolEvent") -> None:
        function(event=event)

    return observe
