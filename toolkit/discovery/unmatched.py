"""Settings that name something which is not there: most likely a slip."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from toolkit.catalog import ToolView
from toolkit.discovery.report import Finding
from toolkit.discovery.scan import canonical
from toolkit.naming import comparable
from toolkit.settings import Settings


def unmatched(
    settings: Settings, findings: Iterable[Finding], view: ToolView
) -> tuple[str, ...]:
    """Say which names in the operator's lists match nothing that was found.

    That is no fault, as one configuration may serve many machines; but a wall with a
    slip in it does not stand, so it is told.

    Args:
        settings: What the operator decided.
        findings: Everything found, also what was skipped.
        view: The accepted tools.

    Returns:
        One sentence for each name, with the nearest one that there is.
    """
    owners = {one.origin.owner for one in findings}
    bare = {one.tool.name.casefold() for one in view} if settings.prefer else set()
    chosen = [one for one in settings.executors if canonical(one) not in owners]
    lists = {
        "allow_tools": settings.allow_tools or (),
        "deny_tools": settings.deny_tools,
        "approve_tools": settings.approve_tools,
        "tool_limits": settings.tool_limits,
        "executors": chosen,
    }
    has_lists = any(lists.values())
    tools = {name for one in view for name in one.known_names()} if has_lists else set()
    no_tool = "is no tool"
    told = [
        *_strangers(
            "allow", _normalised(settings.allow or ()), owners, "publishes nothing"
        ),
        *_strangers("deny", _normalised(settings.deny), owners, "publishes nothing"),
        *(
            told
            for setting, names in lists.items()
            for told in _strangers(setting, map(comparable, names), tools, no_tool)
        ),
        *_strangers("prefer", map(str.casefold, settings.prefer), bare, no_tool),
    ]
    for name, owner in settings.prefer.items():
        claimants = {
            one.tool.origin.owner.casefold()
            for one in view
            if one.tool.name.casefold() == name.casefold()
        }
        if claimants:
            told += _strangers(
                f"prefer.{name}", [owner.casefold()], claimants, "does not claim it"
            )
    return tuple(told)


def _normalised(names: Iterable[str]) -> list[str]:
    return [canonical(name) for name in names]


def _strangers(
    setting: str, names: Iterable[str], known: set[str], role: str
) -> Iterator[str]:
    for name in sorted(set(names) - known):
        near = get_close_matches(name, sorted(known), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        yield f"The setting {setting} names {name!r}, which {role} here.{hint}"
