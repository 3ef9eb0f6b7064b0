"""What a distribution's own metadata says against using it."""

import os
from typing import Final

import toolkit
from toolkit.discovery.index import Publisher
from toolkit.discovery.report import Cause, Failure
from toolkit.discovery.scan import canonical, read_file

CORE: Final = "toolkit-core"
MAX_BYTES: Final = 16 << 20
"""Size of a METADATA that is read; it holds a README, which may be long."""
_FILES: Final = ("METADATA", "PKG-INFO")


def metadata_fault(publisher: Publisher) -> Failure | None:
    """Say why none of its code should be imported; None when nothing is wrong.

    Reads the fields ``Name`` and ``Requires-Dist``; runs no code. Where the metadata is
    not in a plain folder, importlib-metadata has read it already.

    Source: PyPA specifications, "Core metadata" and "Recording installed projects"
    (2026-11).
    """
    if not publisher.folder:
        return None
    try:
        fields = _fields(publisher.folder)
    except (OSError, UnicodeDecodeError) as error:
        detail = f"broken metadata: {type(error).__name__}: {error}"
        return _failure(publisher, Cause.METADATA_BROKEN, detail)
    names = [value for key, value in fields if key == "name"]
    if not names or not names[0]:
        return _failure(publisher, Cause.METADATA_BROKEN, "broken metadata: no Name")
    for key, value in fields:
        if key == "requires-dist" and canonical(value).startswith(CORE):
            needed = _unmet(value)
            if needed:
                have = f"and {CORE} {toolkit.__version__} is running"
                detail = f"it requires {needed}, {have}"
                return _failure(publisher, Cause.CORE_UNSUPPORTED, detail)
    return None


def _failure(publisher: Publisher, cause: Cause, detail: str) -> Failure:
    return Failure(publisher.origin(), detail, cause=cause)


def _fields(folder: str) -> list[tuple[str, str]]:
    """Return the header's fields, keys in lower case.

    Raises:
        OSError: There is no such file, or it cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    places = [f"{folder}/{name}" for name in _FILES]
    place = next(filter(os.path.exists, places), places[0])
    text = read_file(place, MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
    header = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in header.splitlines() if line[:1].isalpha())
    return [(key.strip().lower(), value.strip()) for key, _, value in pairs]


def _unmet(text: str) -> str:
    """Return the requirement on the core that is not met; empty when it is."""
    from packaging import requirements  # noqa: PLC0415 - 15 ms, and seldom needed

    try:
        needed = requirements.Requirement(text)
    except requirements.InvalidRequirement:
        return ""  # an installer's business: nothing here can be said of it
    if canonical(needed.name) != CORE:
        return ""
    try:
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            return ""
    except ValueError:  # it compares what cannot be compared: the same
        return ""
    is_met = needed.specifier.contains(toolkit.__version__, prereleases=True)
    return "" if is_met else str(needed)
