"""What importing a package has left behind in the process, in plain sentences.

Looked at in the child process of a first contact. Threads that still run, exit handlers
of the package's own, and functions of others that it has replaced. What the standard
library or a dependency registers for itself when it is imported is nobody's fault.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

GRACE_SECONDS: Final = 0.2
"""What a thread that is about to end gets for that."""

_WATCHED: Final = (
    *("builtins", "os", "posixpath", "ntpath", "io", "json", "json.decoder"),
    *("json.encoder", "threading", "socket", "ssl", "subprocess", "logging", "time"),
    *("asyncio.base_events", "asyncio.events", "asyncio.runners", "asyncio.tasks"),
    *("random", "pathlib", "importlib", "importlib._bootstrap", "inspect", "copy"),
    *("importlib._bootstrap_external", "pickle", "re", "functools", "contextlib"),
    *("pydantic", "pydantic.main", "pydantic_core", "pluggy"),
)
"""Modules whose functions everybody relies on; ours come beside them."""
_SETTABLE: Final = frozenset({"_loggerClass", "_logRecordFactory"})
"""What the standard library itself offers to set (logging, ``setLoggerClass``)."""
_SYS_HOOKS: Final = ("excepthook", "displayhook", "unraisablehook")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_CODE: Final = (
    FunctionType,
    BuiltinFunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
    GetSetDescriptorType,
    staticmethod,
    classmethod,
    property,
    type,
)

_space_of: Final = type.__dict__["__dict__"].__get__
_name_of: Final = type.__dict__["__name__"].__get__
_Spaces = dict[str, Mapping[str, Any]]


class Watch:
    """Looks before and after one package is imported. Belongs to one contact."""

    def __init__(self, own: Collection[str]) -> None:
        """Watch on behalf of the package whose top-level modules are `own`."""
        self._own = frozenset(own)
        self._handlers: list[Callable[..., Any]] = []
        self._before: _Spaces = {}
        self._threads: set[int] = set()
        self._state: dict[str, object] = {}
        self._register: Any = atexit.register
        self._unregister: Any = atexit.unregister
        self._ours: Any = self._registered

    def start(self) -> None:
        """Take note of how things are."""
        self._before = {
            name: {
                key: value
                for key, value in space.items()
                if _is_code(value) and key not in _SETTABLE
            }
            for name, space in _spaces()
        }
        self._threads = {thread.ident or 0 for thread in threading.enumerate()}
        self._state = _state()
        atexit.register = self._ours
        atexit.unregister = self._unregistered

    def findings(self) -> tuple[str, ...]:
        """Return a sentence for each thing that is not as it was; undo the watching."""
        is_replaced = atexit.register is not self._ours
        atexit.register, atexit.unregister = self._register, self._unregister
        found = [*self._left_threads(), *self._left_handlers(), *self._replaced()]
        if is_replaced:
            found.append("atexit.register was replaced")
        now = _state()
        found += [
            f"{name} was changed"
            for name, before in self._state.items()
            if now[name] != before
        ]
        return tuple(found)

    def _registered(self, func: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as atexit's own
        self._handlers.append(func)
        return self._register(func, *args, **kwargs)

    def _unregistered(self, func: Any) -> None:  # noqa: ANN401 - as atexit's own
        self._handlers = [one for one in self._handlers if one is not func]
        self._unregister(func)

    def _left_threads(self) -> Iterator[str]:
        share = GRACE_SECONDS
        for thread in threading.enumerate():
            if thread.ident in self._threads or thread is threading.current_thread():
                continue
            thread.join(share)
            share /= 2
            if thread.is_alive():
                yield f"thread {thread.name!r} still runs"

    def _left_handlers(self) -> Iterator[str]:
        for handler in self._handlers:
            module, name = _place(handler)
            if module.partition(".")[0] in self._own:
                yield f"exit handler {module}.{name} is registered"

    def _replaced(self) -> Iterator[str]:
        now = dict(_spaces())
        for name, before in self._before.items():
            space = now.get(name, {})
            for key, value in before.items():
                found = space.get(key)
                if found is not value:
                    what = "is gone" if found is None else "was replaced"
                    yield f"{name}.{key} {what}{_by(found)}"
        known = self._before.get("builtins", {})
        for key, value in now.get("builtins", {}).items():
            if key not in known and key != "_" and _is_code(value):
                yield f"builtins.{key} was added{_by(value)}"


def _spaces() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the namespaces that are watched: of modules, and of classes in them."""
    ours = [name for name in sys.modules if name.partition(".")[0] == "toolkit"]
    for name in (*_WATCHED, *ours):
        module = sys.modules.get(name)
        if not issubclass(type(module), ModuleType):
            continue
        space = dict(vars(module))
        yield name, space
        for key, value in space.items():
            is_class = issubclass(type(value), type) and name != "builtins"
            if is_class and _is_home(value, name, key):
                yield f"{name}.{key}", _space_of(value)


def _is_home(cls: type, module: str, key: str) -> bool:
    """Tell whether a class is defined in a module under this very name."""
    home: object = _space_of(cls).get("__module__")
    return home == module and bool(_name_of(cls) == key)


def _is_code(value: object) -> bool:
    return issubclass(type(value), _CODE)


def _state() -> dict[str, object]:
    return {
        **{f"sys.{name}": getattr(sys, name, None) for name in _SYS_HOOKS},
        **{f"the handler of {one.name}": signal.getsignal(one) for one in _SIGNALS},
        "the trace function": sys.gettrace(),
        "the profile function": sys.getprofile(),
        "the recursion limit": sys.getrecursionlimit(),
        "the working directory": os.getcwd(),  # noqa: PTH109 - the text is compared
    }


def _place(function: Any) -> tuple[str, str]:  # noqa: ANN401 - whatever was registered
    """Return the module and name of what a handler runs; empty when it hides them."""
    while issubclass(type(function), partial):
        function = function.func
    function = getattr(function, "__func__", function)
    module = getattr(function, "__module__", "")
    name = getattr(function, "__qualname__", "")
    return (module, name) if type(module) is str and type(name) is str else ("", "")


def _by(value: object) -> str:
    if type(value) is not FunctionType:
        return ""
    return f" by a function of {value.__module__}"
