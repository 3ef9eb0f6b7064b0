"""`toolkit manifest`: write down what a package publishes, or check it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from toolkit.cli.matching import nearest
from toolkit.cli.output import Output
from toolkit.cli.places import editable_source
from toolkit.cli.session import Session
from toolkit.cli.view import counted
from toolkit.discovery.index import Publisher, index
from toolkit.discovery.manifest import (
    build_manifest,
    changes,
    manifest_file,
    read_manifest,
    write_manifest,
)
from toolkit.discovery.probe import probe
from toolkit.errors import ConfigurationError


def make_manifest(session: Session, distribution: str, *, is_check: bool) -> int:
    """Write the manifest of one distribution, or compare it; return the exit status.

    The package is imported in a child process in either case.

    Raises:
        ConfigurationError: No such distribution publishes anything here.
    """
    publisher = _publisher(session, distribution)
    ((_, record),) = probe([publisher], session.settings)
    if _tell_failures(session.output, record):
        return 1
    try:
        file = manifest_file(publisher)
        now = build_manifest(publisher, record)
        if is_check:
            return _check(session.output, file, now)
        write_manifest(file, now)
    except OSError as error:
        session.output.error("no_manifest", str(error))
        return 1
    session.output.say(f"{_counted(now)} in {file}")
    if editable_source(publisher) is None:
        text = "it is not an editable install: copy that file to its sources"
        session.output.warn(text)
    session.output.hint("ship that file in the wheel, as package data")
    return 0


def _publisher(session: Session, distribution: str) -> Publisher:
    name = canonicalize_name(distribution)
    found = {one.name: one for one in index(use_cache=session.settings.cache).ours()}
    if name not in found:
        near = nearest(name, [found])
        hint = f"did you mean {near[0]}?" if near else "install it here first"
        raise ConfigurationError("DISTRIBUTION", distribution, hint)
    return found[name]


def _tell_failures(output: Output, record: Mapping[str, Any]) -> int:
    """Tell what keeps a package from having a manifest; return how much that is."""
    failures = [one for one in record["found"] if one["is"] == "failure"]
    for one in failures:
        place = one["entry_point"] or one["reference"] or "the distribution"
        output.error(one["cause"], f"{place}: {one['detail']}")
    if failures:
        output.hint("`toolkit why` says more of each; a manifest needs all to load")
    return len(failures)


def _check(output: Output, file: Path, now: Mapping[str, Any]) -> int:
    """Compare the manifest that is there with what the code says."""
    try:
        there = read_manifest(file)
    except FileNotFoundError:
        output.error("no_manifest", f"there is no {file}; run it without --check first")
        return 1
    except (OSError, ValueError) as error:
        output.error("manifest_disagrees", f"{file}: {error}")
        return 1
    if there == now:
        output.say(f"{_counted(now)} as in {file}")
        return 0
    told = changes(there, now)
    stale = [
        f"{path} has changed since"
        for path in sorted({*there["sources"], *now["sources"]})
        if there["sources"].get(path) != now["sources"].get(path)
    ]
    for text in (*told, *stale) or ("it differs",):
        output.say(text)
    output.error("manifest_disagrees", f"{file} is not what the code says")
    output.hint("run `toolkit manifest` without --check, and commit the file")
    return 1


def _counted(manifest: Mapping[str, Any]) -> str:
    accepted = [one for one in manifest["found"] if one.get("definition")]
    return counted(len(accepted), "tool")
