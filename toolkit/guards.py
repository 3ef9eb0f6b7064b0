"""What keeps other people's code from harming what it is loaded into.

A plugin runs in our process, so none of this is a sandbox: it undoes what one careless
package does to all the others.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from opcode import opmap
from operator import is_
from typing import Any, Final

from toolkit.errors import kind_of_error

logger = logging.getLogger(__name__)

PYDANTIC_SWITCH: Final = "PYDANTIC_DISABLE_PLUGINS"
"""Names of entry points, separated by commas. Pydantic 2.14 docs, "Plugins"."""
_ALL: Final = ("__all__", "1", "true")
_RAISE: Final = opmap["RAISE_VARARGS"]
_IMPORT_LISTS: Final = ("path", "meta_path", "path_hooks")


def start_pydantic(left_out: frozenset[str] = frozenset()) -> None:
    """Let pydantic load its own plugins now, and survive what they are.

    With its first schema pydantic reads the metadata of every installed distribution
    and imports what publishes in its group; one broken neighbour would make the first
    tool fail. It tries only once, so that no schema built later can fail of it. Where
    its plugins are switched off it does not even look, and this does nothing.

    Args:
        left_out: Entry points of pydantic's group that must not be imported.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    if os.environ.get(PYDANTIC_SWITCH) not in _ALL:
        load_pydantic_plugins(left_out)


@cache
def load_pydantic_plugins(left_out: frozenset[str]) -> None:
    """Do what `start_pydantic` promises, once for the process.

    Raises:
        KeyboardInterrupt: The user interrupts.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - what is known needs no pydantic

    before = os.environ.get(PYDANTIC_SWITCH)
    if left_out:
        names = ([before] if before else []) + sorted(left_out)
        os.environ[PYDANTIC_SWITCH] = ",".join(names)
    try:
        TypeAdapter(int)
    except BaseException as error:
        if is_interrupt(error):
            raise
        kind = kind_of_error(error)
        text = "pydantic cannot load its own plugins (%s); it goes on without"
        logger.warning(text, kind, exc_info=error)
    finally:
        _put(PYDANTIC_SWITCH, before)


def _put(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


class _Switch:
    """Switches pydantic's search for plugins off while somebody wants that.

    One for the process, like the variable it sets.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: str | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = os.environ.get(PYDANTIC_SWITCH)
                os.environ[PYDANTIC_SWITCH] = _ALL[0]

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                _put(PYDANTIC_SWITCH, self._before)


_switch: Final = _Switch()


@contextmanager
def pydantic_ready(left_out: frozenset[str] | None) -> Iterator[None]:
    """Run code that may build pydantic's first schema.

    Where nobody publishes in pydantic's group, the search for its plugins, which reads
    the metadata of every installed distribution, is switched off meanwhile.

    Args:
        left_out: Entry points of that group that must not be imported; None where
            nobody publishes in it.

    Raises:
        KeyboardInterrupt: The user interrupts.

    Source: pydantic 2.14 docs, "Plugins", ``PYDANTIC_DISABLE_PLUGINS``.
    """
    if left_out is not None:
        start_pydantic(left_out)
        yield
        return
    with _switch:
        yield


@contextmanager
def steady_imports(whose: object) -> Iterator[None]:
    """Run code, then put the import system's lists in order again.

    What was on ``sys.path``, ``sys.meta_path`` and ``sys.path_hooks`` before is there
    afterwards, first and in its order; what the code added comes last, so that it can
    neither hide others nor stand before them.

    Args:
        whose: Names the code in the log.
    """
    kept = [(name, getattr(sys, name)) for name in _IMPORT_LISTS]
    before = [list(own) for _, own in kept]
    try:
        yield
    finally:
        for (name, own), items in zip(kept, before, strict=True):
            _put_back(name, own, items, whose)


def _put_back(name: str, own: list[Any], before: list[Any], whose: object) -> None:
    found = getattr(sys, name, None)
    now = list(found) if type(found) is list else []
    if found is own and len(now) >= len(before) and all(map(is_, before, now)):
        return
    paths = {one for one in before if type(one) is str}
    known, there = set(map(id, before)), set(map(id, now))
    own[:] = before + [
        one
        for one in now
        if id(one) not in known and not (type(one) is str and one in paths)
    ]
    setattr(sys, name, own)
    sys.path_importer_cache.clear()  # it holds what other hooks made of the folders
    if not known <= there:
        logger.warning("%s took entries out of sys.%s; they are back", whose, name)


def is_interrupt(error: BaseException) -> bool:
    """Tell whether the user interrupts, rather than code that raises the same.

    Python's own handler of SIGINT raises between two instructions, so a
    KeyboardInterrupt that comes from a ``raise`` statement is no signal. Where another
    handler is set, which may use the statement itself, every one counts as the user's.
    """
    if not issubclass(type(error), KeyboardInterrupt):
        return False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return True
    again = error.__context__  # what was caught may have been the signal
    if issubclass(type(again), KeyboardInterrupt) and not _is_from_statement(again):
        return True
    return not _is_from_statement(error)


def _is_from_statement(error: BaseException | None) -> bool:
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
