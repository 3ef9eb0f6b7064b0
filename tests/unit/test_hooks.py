"""Hook modules: what they may veto, authorize and observe, and how they break."""

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pluggy
import pytest

from toolkit import Origin, ToolDefinition, ToolEvent, UserContext, hookimpl
from toolkit.compiler import compile_tool
from toolkit.discovery.hooks import Hooks
from toolkit.discovery.report import Candidate
from toolkit.events import EventType
from toolkit.tools import tool

ADA = UserContext(user_id="ada")


@tool
def shout(text: str) -> str:
    """Upper-case."""
    return text.upper()


CANDIDATE = Candidate(shout, Origin("dist"))
DEFINITION: ToolDefinition = compile_tool(shout).definition


def module(**functions: Callable[..., Any]) -> ModuleType:
    """Return a module of hook implementations."""
    made = ModuleType("hooks")
    for name, function in functions.items():
        function.__name__ = name
        setattr(made, name, hookimpl(function))
    return made


def hooks_of(*modules: ModuleType) -> Hooks:
    hooks = Hooks()
    for index, one in enumerate(modules):
        hooks.register(one, f"dist-{index}:hooks")
    return hooks


def test_without_hooks_calls_pay_nothing() -> None:
    """Freeze into empty tuples when nobody implements anything."""
    calls = Hooks().for_calls()
    assert calls.authorizers == ()
    assert calls.observers == ()
    assert list(Hooks().vetoes(CANDIDATE)) == []


def test_veto_gives_the_reason_and_who_said_so() -> None:
    """Tell which plugin keeps a candidate out, and why."""
    hooks = hooks_of(
        module(toolkit_veto_candidate=lambda candidate: f"no {candidate.obj.name}"),
        module(toolkit_veto_candidate=lambda candidate: None),
        module(toolkit_veto_candidate=lambda: ""),
    )
    assert list(hooks.vetoes(CANDIDATE)) == [("dist-0:hooks", "no shout")]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


def fails() -> str:
    message = "not today"
    raise RuntimeError(message)


def answers_oddly() -> object:
    return Unprintable()


@pytest.mark.parametrize("answer", [fails, answers_oddly])
def test_veto_hook_that_raises_has_no_say_and_is_logged(
    answer: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Ask the next one, whatever the first one does."""
    hooks = hooks_of(
        module(toolkit_veto_candidate=lambda: "mine stands"),
        module(toolkit_veto_candidate=answer),
    )
    with caplog.at_level(logging.ERROR):
        assert list(hooks.vetoes(CANDIDATE)) == [("dist-0:hooks", "mine stands")]
    assert "dist-1:hooks" in caplog.text


@pytest.mark.parametrize("answer", [True, False, None])
def test_authorizer_is_asked_with_what_it_wants(answer: bool | None) -> None:  # noqa: FBT001 - a table's column
    """Pass user and definition by name, and the answer back as it is."""
    seen: list[object] = []

    def ask(definition: ToolDefinition, user: UserContext) -> bool | None:
        seen.extend((user, definition))
        return answer

    (authorize,) = hooks_of(module(toolkit_authorize_call=ask)).for_calls().authorizers
    assert authorize(ADA, DEFINITION) is answer
    assert seen == [ADA, DEFINITION]


@pytest.mark.parametrize("answer", [0, 1, "yes", [], object()], ids=repr)
def test_answer_that_is_no_answer_denies_and_is_logged(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Permit by True and None only; the rest is a hook that went wrong (B59)."""
    hooks = hooks_of(module(toolkit_authorize_call=lambda: answer))
    (authorize,) = hooks.for_calls().authorizers
    assert authorize(ADA, DEFINITION) is False
    kind = type(answer).__name__
    assert f"the authorize hook of dist-0:hooks gave {kind}: that denies" in caplog.text


def test_async_hook_behind_a_plain_decorator_denies() -> None:
    """A coroutine is truthy, and grants nothing for that (B59)."""

    async def ask() -> bool:
        return True

    hooks = hooks_of(module(toolkit_authorize_call=lambda *_: ask()))
    (authorize,) = hooks.for_calls().authorizers
    assert authorize(ADA, DEFINITION) is False


def test_authorizer_may_take_no_argument() -> None:
    """Call a hook with the arguments it names, even none."""
    hooks = hooks_of(module(toolkit_authorize_call=lambda: False))
    (authorize,) = hooks.for_calls().authorizers
    assert authorize(ADA, DEFINITION) is False


def test_observer_is_told_the_event() -> None:
    """Pass the event, and no answer back."""
    seen: list[ToolEvent] = []

    def keep(event: ToolEvent) -> None:
        seen.append(event)

    hooks = hooks_of(module(toolkit_observe_call=keep))
    event = ToolEvent(
        type=EventType.TOOL_EXECUTING,
        call_id="1",
        tool="shout",
        user_id="ada",
        session_id="s",
        thread_id="t",
        run_id="r",
    )
    (observe,) = hooks.for_calls().observers
    observe(event)
    assert seen == [event]


def _asynchronous() -> Callable[..., Any]:
    async def ask() -> bool:
        return False

    return ask


def _generator() -> Callable[..., Any]:
    def ask() -> Any:
        yield False

    return ask


def _async_generator() -> Callable[..., Any]:
    async def ask() -> Any:
        yield False

    return ask


@pytest.mark.parametrize(
    "make",
    [
        lambda: module(toolkit_veto_candidate=lambda candidate, moon: "x"),
        lambda: module(toolkit_veto_candidat=lambda candidate: "misspelled"),
        lambda: module(toolkit_authorize_call=_asynchronous()),
        lambda: module(toolkit_authorize_call=_generator()),
        lambda: module(toolkit_authorize_call=_async_generator()),
    ],
    ids=["unknown argument", "misspelled", "async", "generator", "async generator"],
)
def test_hook_that_could_never_answer_is_refused_with_its_module(
    make: Callable[[], ModuleType],
) -> None:
    """Refuse at start-up what would silently deny nothing, or is never asked (B58)."""
    broken = make()
    broken.__dict__["toolkit_observe_call"] = hookimpl(_observe)
    hooks = Hooks()
    with pytest.raises(pluggy.PluginValidationError):
        hooks.register(broken, "dist:broken")
    assert hooks.for_calls().authorizers == ()
    assert hooks.for_calls().observers == ()
    assert list(hooks.vetoes(CANDIDATE)) == []


def _observe(event: ToolEvent) -> None: ...


def test_wrapper_is_refused() -> None:
    """Refuse pluggy's wrappers: each hook is called on its own."""
    wrapper = ModuleType("wrapper")

    @pluggy.HookimplMarker("toolkit")(wrapper=True)
    def toolkit_veto_candidate(candidate: Candidate) -> Any:
        return (yield)

    wrapper.__dict__["toolkit_veto_candidate"] = toolkit_veto_candidate
    hooks = Hooks()
    with pytest.raises(pluggy.PluginValidationError, match="plain function"):
        hooks.register(wrapper, "dist:wrapper")
    assert list(hooks.vetoes(CANDIDATE)) == []


def test_refused_module_leaves_the_others_as_they_were() -> None:
    """Keep what was registered before, also under the same name."""
    hooks = Hooks()
    hooks.register(module(toolkit_veto_candidate=lambda: "first"), "dist:hooks")
    with pytest.raises(ValueError, match="dist:hooks"):
        hooks.register(module(toolkit_veto_candidate=lambda: "second"), "dist:hooks")
    with pytest.raises(pluggy.PluginValidationError):
        hooks.register(module(toolkit_veto_candidat=lambda: "third"), "dist:other")
    assert list(hooks.vetoes(CANDIDATE)) == [("dist:hooks", "first")]


def test_functions_without_the_mark_are_no_hooks() -> None:
    """Take only what is marked with `hookimpl`."""
    plain = ModuleType("plain")
    plain.__dict__["toolkit_veto_candidate"] = lambda candidate: "unmarked"
    assert list(hooks_of(plain).vetoes(CANDIDATE)) == []
