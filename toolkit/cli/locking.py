"""`toolkit lock`: write down what is trusted, or compare what is installed with it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toolkit.cli.output import Output
from toolkit.cli.session import Session
from toolkit.cli.view import counted
from toolkit.discovery.index import Publisher, index
from toolkit.discovery.report import DiscoveryReport
from toolkit.discovery.sources import refusal_of
from toolkit.discovery.trust import Lock, differences, measure


def write_lock(session: Session, file: Path | None) -> int:
    """Lock what is installed and well; return the exit status.

    What is refused by the lists, or has a fault, is not locked: it would not be used.
    """
    place = file or Path(session.settings.lock_file)
    open_session = replace(
        session, settings=replace(session.settings, trust="installed")
    )
    catalog, report = open_session.discover()
    faulty = {one.origin.distribution for one in report.failed}
    tools: dict[str, list[str]] = {}
    for one in catalog.view:
        tools.setdefault(one.tool.origin.distribution, []).append(one.tool.name)
    locked = {
        publisher.name: measure(publisher, tools.get(publisher.name, ()))
        for publisher in _publishers(session)
        if publisher.name not in faulty
    }
    try:
        Lock(locked).write(place)
    except OSError as error:
        session.output.error("lock_not_written", str(error))
        return 1
    session.output.say(f"{counted(len(locked), 'distribution')} locked in {place}")
    _tell_left_out(session.output, report)
    if session.settings.trust != "locked":
        session.output.hint('the lock holds with the setting trust = "locked"')
    return 0


def _tell_left_out(output: Output, report: DiscoveryReport) -> None:
    for name in sorted({one.origin.distribution for one in report.failed}):
        output.warn(f"{name} is not locked: it has faults, see `toolkit why {name}`")


def check_lock(session: Session, file: Path | None) -> int:
    """Compare what is installed with the lock; return 1 when anything differs.

    Imports nothing of any plugin.

    Raises:
        ConfigurationError: There is no lock that can be read.
    """
    place = file or Path(session.settings.lock_file)
    lock = Lock.read(place)
    publishers = {one.name: one for one in _publishers(session)}
    wrong = [*_wrong(lock, publishers)]
    for text in wrong:
        session.output.say(text)
    if wrong:
        session.output.hint(
            "if that is right, run `toolkit lock`; what has faults is left out of the "
            "lock until it is repaired, and can be put on the deny list"
        )
        return 1
    session.output.say(f"{counted(len(publishers), 'distribution')} as in {place}")
    return 0


def _wrong(lock: Lock, publishers: dict[str, Publisher]) -> Iterator[str]:
    for name in sorted({*lock.distributions, *publishers}):
        publisher = publishers.get(name)
        if publisher is None:
            yield f"{name}: it is locked, and not installed"
            continue
        for text in differences(lock.get(name), publisher):
            yield f"{name} {publisher.version}: {text}"


def _publishers(session: Session) -> list[Publisher]:
    found = index(use_cache=session.settings.cache).ours()
    return [one for one in found if not refusal_of(one.name, session.settings)]
