"""Fixtures for the tests of tool packages; loaded by pytest when the core is installed.

Imports nothing of this package until a fixture is used, so that it costs other
projects' test runs nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from toolkit.system import UserToolSystem
    from toolkit.testing import RecordingSink


@pytest.fixture
def tool_events() -> "RecordingSink":
    """Record the events of the systems that `tool_system` opens in this test."""
    from toolkit.testing import RecordingSink  # noqa: PLC0415 - see the module's docstring

    return RecordingSink()


@pytest.fixture
def tool_system(
    tool_events: "RecordingSink",
) -> "Iterator[Callable[..., UserToolSystem]]":
    """Open tool systems over the tools a test names; all are closed at its end.

    Takes the arguments of `toolkit.testing.tool_system`. Discovers nothing.

    Yields:
        The function that opens a system.
    """
    from toolkit import testing  # noqa: PLC0415 - see the module's docstring

    with ExitStack() as stack:

        def open_system(*tools: object, **options: object) -> "UserToolSystem":
            options.setdefault("sinks", [tool_events])
            return stack.enter_context(testing.tool_system(*tools, **options))  # type: ignore[arg-type]  # passed on as they are

        yield open_system
