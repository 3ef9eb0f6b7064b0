"""What importing a package has left behind in the process, in plain sentences.

Looked at in the child process of a first contact: threads that still run, exit handlers
of the package's own, functions of others that it has replaced. What the standard
library or a dependency registers for itself when it is imported is nobody's fault.
"""

import atexit
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial, wraps
from typing import Any, Final, NamedTuple

from toolkit.guards import is_interrupt

GRACE_SECONDS: Final = 0.2
"""What threads that are about to end get for that, all together."""

_LOOK_SECONDS: Final = 0.005  # between two looks whether they have ended
_MAX_TEXT: Final = 200  # characters of a name, which may be anything
_MAX_DEPTH: Final = 50  # of partials in partials, which may be endless
_WATCHED: Final = (
    *("builtins", "os", "os.path", "io", "json", "json.decoder", "json.encoder"),
    *("threading", "socket", "ssl", "subprocess", "logging", "signal", "atexit"),
    *("asyncio", "asyncio.base_events", "asyncio.events", "asyncio.tasks"),
    *("asyncio.runners", "time", "random", "pathlib", "importlib", "inspect", "copy"),
    *("importlib._bootstrap", "importlib._bootstrap_external", "pickle", "re"),
    *("typing", "functools", "contextlib"),
    *("pydantic", "pydantic.main", "pydantic_core", "pluggy"),
)
"""Modules whose functions everybody relies on, builtins first; ours come after them."""
_CODE: Final = (
    *(types.FunctionType, types.BuiltinFunctionType, type, property, staticmethod),
    *(classmethod, types.MethodType, types.MethodDescriptorType),
    *(types.WrapperDescriptorType, types.ModuleType, type(cache(id))),
)
_INSIDE: Final = tuple(
    (kind, vars(kind)[name].__get__)
    for kind, name in (
        *((partial, "func"), (types.MethodType, "__func__"), (property, "fget")),
        *((staticmethod, "__func__"), (classmethod, "__func__")),
    )
)
"""How to reach the function in what wraps one, whatever a subclass says."""
_MISSING: Final = object()

_space_of_module: Final = vars(types.ModuleType)["__dict__"].__get__
_space_of_class: Final = vars(type)["__dict__"].__get__
_set_on_class: Final = type.__setattr__
_is_subclass, _type_of = issubclass, type  # for while the builtins are others


class _Space(NamedTuple):
    """A namespace that is watched: what was in it, where it is, and how to mend it."""

    name: str
    before: Mapping[str, object]
    live: Mapping[str, object]
    put: Callable[[str, Any], None]


class Watch:
    """Looks before and after one package is imported. Belongs to one contact.

    May be started again for the next package where nothing was found.
    """

    def __init__(self, own: Collection[str]) -> None:
        """Watch on behalf of the package whose top-level modules are `own`."""
        self._own = frozenset(own)
        self._exits = _Exits()
        self._spaces: list[_Space] = []
        self._threads: Mapping[int, object] = {}
        self._hooks: Mapping[str, object] = {}
        self._settings: tuple[str, ...] = ()

    def start(self) -> None:
        """Take note of how things are, and of exit handlers from now on."""
        self._exits.stop()
        self._spaces = list(_spaces())
        self._threads = _threads()
        self._hooks, self._settings = _hooks(), _settings()
        self._exits.start()

    def findings(self) -> tuple[str, ...]:
        """Tell what is not as it was when the watch was started, and end it.

        Functions that were replaced are put back first, so that neither the looking
        nor whoever tells of it runs into them. No object makes this raise.

        Returns:
            A sentence for each thing, without a full stop; empty when all is clean,
            and when the watch was never started.

        Raises:
            KeyboardInterrupt: The user interrupts.
        """
        if not self._spaces:
            return ()
        self._exits.stop()
        replaced = [*self._put_back()]
        return (
            *(f"{name} {_became(now)}" for name, now in replaced),
            *self._added_builtins(),
            *self._left_threads(),
            *self._left_handlers(),
            *self._changed_state(),
        )

    def _put_back(self) -> Iterator[tuple[str, object]]:
        """Put back what was replaced; yield its name, and what was there instead.

        Builtins are the first; until they are whole again, none of them is called.
        """
        for space in self._spaces:
            for key, before in space.before.items():
                now = space.live.get(key, _MISSING)
                if now is before or not _is_subclass(_type_of(before), _CODE):
                    continue
                name = f"{space.name}.{key}"
                if not _is_lawful(name, now):
                    space.put(key, before)
                    yield name, now

    def _added_builtins(self) -> Iterator[str]:
        first = self._spaces[0]
        for key, value in list(first.live.items()):
            if key not in first.before and callable(value):
                yield f"builtins.{key} was added: {_what(value)}"

    def _left_threads(self) -> Iterator[str]:
        deadline = time.monotonic() + GRACE_SECONDS
        while (left := self._new_threads()) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        frames = sys._current_frames()  # noqa: SLF001 - as in `_threads`
        for ident, thread in left.items():
            name = _text(thread, "name")
            what = f"thread {name!r}" if name else "a thread"
            yield f"{what}{_running(frames.get(ident))} still runs"

    def _new_threads(self) -> dict[int, object]:
        """Return those that were not there before; one may have another's old ident."""
        before = self._threads
        now = _threads().items()
        return {key: one for key, one in now if before.get(key, _MISSING) is not one}

    def _left_handlers(self) -> Iterator[str]:
        for handler in self._exits.handlers:
            module, name = _place(handler)
            if module.partition(".")[0] in self._own:
                yield f"atexit handler {module}.{name} is left behind"

    def _changed_state(self) -> Iterator[str]:
        for name, now in _hooks().items():
            if now is not self._hooks[name]:
                yield f"{name} {_became(now)}"
        yield from (f"{one} now" for one in _settings() if one not in self._settings)


class _Exits:
    """Lists the exit handlers that are registered meanwhile; Python itself does not."""

    def __init__(self) -> None:
        self.handlers: list[object] = []
        self._wrapped: list[tuple[dict[str, Any], str, Any, Any]] = []

    def start(self) -> None:
        """Wrap what registers and unregisters handlers."""
        self.handlers = []
        self._wrap(atexit, "register", self._added)
        self._wrap(atexit, "unregister", self._removed)
        self._wrap(threading, "_register_atexit", self._added)

    def stop(self) -> None:
        """Put back what was there, unless others have put another thing there."""
        for space, name, real, wrapper in self._wrapped:
            if space.get(name) is wrapper:
                space[name] = real
        self._wrapped.clear()

    def _wrap(
        self, module: types.ModuleType, name: str, then: Callable[[object], None]
    ) -> None:
        space = vars(module)
        real = space.get(name)
        if real is None:  # one of them is not public
            return

        @wraps(real)
        def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the real one
            given = real(*args, **kwargs)
            then(args[0] if args else None)
            return given

        space[name] = wrapper
        self._wrapped.append((space, name, real, wrapper))

    def _added(self, func: object) -> None:
        self.handlers.append(func)

    def _removed(self, func: object) -> None:
        same = (func,)  # compared as atexit does: one bound method equals another
        self.handlers = [one for one in self.handlers if one not in same]


# --- how things are ---------------------------------------------------------------


def _spaces() -> Iterator[_Space]:
    """Yield the namespaces that are watched: of modules, and of the classes in them."""
    ours = (name for name in list(sys.modules) if f"{name}.".startswith("toolkit."))
    modules = {
        name: module
        for name in (*_WATCHED, *ours)
        if issubclass(type(module := sys.modules.get(name)), types.ModuleType)
    }
    seen = set()
    for name, module in modules.items():
        live = _space_of_module(module)
        before = dict(live)
        yield _Space(name, before, live, live.__setitem__)
        for key, value in before.items():
            if issubclass(type(value), type) and id(value) not in seen:
                seen.add(id(value))
                inner = _space_of_class(value)
                if _is_home(inner.get("__module__"), name, module):
                    put = partial(_set_on_class, value)
                    yield _Space(f"{name}.{key}", dict(inner), inner, put)
    yield _Space("sys.modules", modules, sys.modules, sys.modules.__setitem__)


def _is_home(home: object, name: str, module: object) -> bool:
    """Tell whether what a class says it is of is this module, or one below it."""
    return type(home) is str and (
        f"{home}.".startswith(f"{name}.") or sys.modules.get(home) is module
    )


def _is_lawful(name: str, now: object) -> bool:
    """Tell whether it is what libraries that many use are known to do at import.

    importlib_metadata takes the place of the standard finder of distributions,
    typing_extensions mends generics before Python 3.12, and logging offers to be set.
    """
    if name in {"logging._loggerClass", "logging._logRecordFactory"}:
        return True
    if name == "importlib._bootstrap_external.PathFinder.find_distributions":
        return now is _MISSING and "importlib_metadata" in sys.modules
    return name.startswith("typing.") and _place(now)[0] == "typing_extensions"


def _threads() -> dict[int, object]:
    """Return the running threads by their ident; None for one without an object."""
    known = {
        ident: thread
        for thread in threading.enumerate()
        if type(ident := _read(thread, "ident")) is int
    }
    frames = sys._current_frames()  # noqa: SLF001 - documented, for all its name
    return {ident: known.get(ident) for ident in frames}


def _hooks() -> dict[str, object]:
    hooks = ("excepthook", "displayhook", "unraisablehook")
    return {
        **{f"sys.{name}": _read(sys, name) for name in hooks},
        **{
            f"the handler of {one.name}": _attempt(partial(signal.getsignal, one))
            for one in signal.Signals
        },
        "the trace function": sys.gettrace(),
        "the profile function": sys.getprofile(),
    }


def _settings() -> tuple[str, ...]:
    folder = _attempt(os.getcwd, "one that is gone")
    limit = sys.getrecursionlimit()
    return f"the recursion limit is {limit}", f"the working directory is {folder}"


# --- what to call it --------------------------------------------------------------


def _became(now: object) -> str:
    return "is gone" if now is _MISSING else f"was replaced by {_what(now)}"


def _what(thing: object) -> str:
    """Say what kind of thing it is, and whose, as far as it tells."""
    if type(thing) is signal.Handlers:
        return thing.name
    bare = _bare(thing)
    what = f"an object of type {_text(type(bare), '__qualname__') or 'unknown'}"
    if issubclass(type(bare), type):
        what = "a class"
    elif issubclass(type(bare), types.FunctionType | types.BuiltinFunctionType):
        what = "a function"
    module, _ = _place(bare)
    return f"{what} of {module}" if module else what


def _running(frame: types.FrameType | None) -> str:
    """Say which function a thread was started with, as far as that is Python's."""
    place = ""
    while frame is not None:
        module = dict.get(frame.f_globals, "__name__")
        if type(module) is str and module != "threading":
            place = f" (running {module[:_MAX_TEXT]}.{frame.f_code.co_qualname})"
        frame = frame.f_back
    return place


def _place(thing: object) -> tuple[str, str]:
    """Return the module and the name of what is called; empty where it hides them."""
    bare = _bare(thing)
    name = _text(bare, "__qualname__") or _text(type(bare), "__qualname__")
    return _text(bare, "__module__"), name


def _bare(thing: Any) -> Any:  # noqa: ANN401 - whatever it is
    """Return the function inside partials, bound methods and the like."""
    for _ in range(_MAX_DEPTH):
        for kind, inside in _INSIDE:
            if issubclass(type(thing), kind):
                thing = inside(thing)
                break
    return thing


def _text(thing: object, attribute: str) -> str:
    value = _read(thing, attribute)
    return value[:_MAX_TEXT] if type(value) is str else ""


def _read(thing: object, attribute: str) -> object:
    return _attempt(partial(getattr, thing, attribute, _MISSING))


def _attempt(action: Callable[[], object], otherwise: object = _MISSING) -> object:
    """Return what an action gives, or something else when it raises."""
    try:
        return action()
    except BaseException as error:
        if is_interrupt(error):
            raise
        return otherwise
