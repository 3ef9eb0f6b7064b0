"""The child process of `toolkit.discovery.probe`: contacts what it is told to.

Reads its orders from standard input and answers on what was its standard output, one
JSON object a line. Whatever plugins print goes to standard error.
"""

import faulthandler
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any, Final

from toolkit.discovery.contact import contact
from toolkit.discovery.index import EntryPoint, Publisher
from toolkit.discovery.records import Contacted, is_older, pack, stamps_of
from toolkit.discovery.report import Cause, Failure
from toolkit.discovery.residue import Watch
from toolkit.guards import pydantic_ready

_encode: Final = json.JSONEncoder().encode
"""Bound before any package can replace what makes it."""


def main() -> None:
    """Contact each publisher of the orders, then end without any clean-up.

    A package that leaves something behind spoils the process for the next one, so that
    is the last that this process contacts; the parent starts another.
    """
    answers = _take_over_output()
    orders = json.loads(sys.stdin.buffer.read())
    token = orders["token"]
    _limit_memory(orders["memory"])
    tolerated = set(orders["tolerate"])
    left_out = orders["left_out"]
    left_out = None if left_out is None else frozenset(left_out)
    me = os.getpid()
    for order in orders["publishers"]:
        publisher = _publisher(order)
        before = (os.environ.copy(), sys.modules.copy())
        _say(answers, {"token": token, "begin": publisher.name})
        faulthandler.dump_traceback_later(orders["seconds"])  # the parent ends it then
        with pydantic_ready(left_out):
            record, is_spent = _contact(
                publisher, is_tolerated=publisher.name in tolerated
            )
        is_spent |= _has_moved(before)
        faulthandler.cancel_dump_traceback_later()
        if os.getpid() != me:  # a package has forked while it was imported
            os._exit(0)
        _say(answers, {"token": token, "record": record, "spent": is_spent})
        if is_spent:
            break
    os._exit(0)  # no exit handler of a package runs, and no thread is waited for


def _contact(
    publisher: Publisher, *, is_tolerated: bool
) -> tuple[Mapping[str, Any], bool]:
    tops = {
        one[2].partition(":")[0].partition(".")[0] for one in publisher.entry_points
    }
    watch = Watch(tops)
    began = time.time_ns()
    watch.start()
    found = [_with_cause(one) for one in contact(publisher)]
    left = watch.findings()
    if left and not is_tolerated:
        detail = f"importing it left something behind: {'; '.join(left)}"
        failure = Failure(publisher.origin(), detail, cause=Cause.LEFT_BEHIND)
        seconds = sum(one.seconds for one in found)
        found = [replace(failure, seconds=seconds)]
    record = pack(publisher, found, stamps_of(publisher))
    return {**record, "is_lasting": is_older(record["stamps"], began)}, bool(left)


def _has_moved(before: tuple[Mapping[str, str], Mapping[str, Any]]) -> bool:
    """Tell whether the next package would be imported into another world.

    That is nobody's fault: many packages set a variable. But what they set must not
    decide what is recorded of others.
    """
    environ, modules = before
    return os.environ != environ or any(
        sys.modules.get(name) is not module for name, module in modules.items()
    )


def _with_cause(one: Contacted) -> Contacted:
    """Say of a package that met the limit of memory that it did."""
    if isinstance(one, Failure) and one.detail.startswith("MemoryError"):
        return replace(one, cause=Cause.TOO_MUCH_MEMORY)
    return one


def _publisher(order: Mapping[str, Any]) -> Publisher:
    points = [EntryPoint(*point) for point in order["points"]]
    return Publisher(
        order["name"], order["version"], points, order["fault"], order["folder"]
    )


def _take_over_output() -> IO[bytes]:
    """Keep standard output for the answers, and let everybody else print to error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def _say(answers: IO[bytes], message: Mapping[str, Any]) -> None:
    answers.write(_encode(message).encode() + b"\n")


def _limit_memory(size: int) -> None:
    """Let no more memory be had; a package that wants more gets a MemoryError.

    Source: setrlimit(2), RLIMIT_DATA, which counts private mappings since Linux 4.7.
    """
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:  # pragma: no cover - told by the platform
        return
    with suppress(ValueError, OSError):  # the operator's own limit is lower
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
