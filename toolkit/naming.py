"""What a tool may be called, and who gets a name that several claim.

A tool has a *bare* name (``word_count``) and a *qualified* name
(``toolkit-text.word_count``). A user's view lists each tool once: under its bare name
where it is free, else under the provider-safe form of its qualified name
(``toolkit-text__word_count``).
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import FunctionType
from typing import Final, NewType, TypeVar

from toolkit.errors import InvalidNameError
from toolkit.origin import Origin

ToolName = NewType("ToolName", str)
"""A string that `tool_name` has checked."""

MAX_LENGTH: Final = 64
"""Longest tool name. OpenAI and Anthropic API references, tool ``name``: 64."""

_LEGAL: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_METACLASSES: Final = frozenset(
    {
        "type",
        "object",
        "abcmeta",
        "enummeta",
        "enumtype",
        "genericmeta",
        "namedtuplemeta",
        "protocolmeta",
        "_protocolmeta",
        "typeddictmeta",
        "_typeddictmeta",
    }
)
"""Beside these, anything that ends in ``metaclass``."""
_DIGEST_LENGTH: Final = 8


def name_fault(raw: object) -> str:
    """Say why `raw` is no legal tool name; empty when it is one. Never raises."""
    if not issubclass(type(raw), str):
        return f"it is {type(raw).__name__}, not a string"
    text = str.__str__(raw)  # the plain text of a subclass, such as a StrEnum member
    if not _LEGAL.fullmatch(text):
        return "use 1 to 64 of the characters a-z A-Z 0-9 _ and -"
    if text.lower() in _METACLASSES or text.lower().endswith("metaclass"):
        return "it names a metaclass, so it names every class and no tool"
    return ""


def tool_name(raw: object) -> ToolName:
    """Return `raw` as a checked name; case is kept.

    Raises:
        InvalidNameError: `raw` is no string, has illegal characters or length, or is
            the name of a metaclass.
    """
    fault = name_fault(raw)
    if fault:
        raise InvalidNameError(raw, fault)
    return ToolName(str.__str__(raw))


def suggest_name(subject: object) -> ToolName:
    """Return a legal name made from a class's qualified name.

    Pure and deterministic: never made from a metaclass or an address.

    >>> class WordCount: ...
    >>> suggest_name(WordCount), suggest_name(WordCount())
    ('word_count', 'word_count')
    """
    owner = subject if issubclass(type(subject), type) else type(subject)
    if type(subject) is FunctionType:
        label = subject.__qualname__
    else:
        label = type.__dict__["__qualname__"].__get__(owner)
    last = label.rpartition("<locals>.")[2]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last)
    slug = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:MAX_LENGTH]
    return ToolName(slug if slug and not name_fault(slug) else f"tool_{_digest(label)}")


def qualified_name(owner: str, name: str) -> str:
    """Return ``owner.name``, the name that no other distribution can claim."""
    return f"{owner}.{name}"


def comparable(name: str) -> str:
    """Return the form in which an operator's lists and a tool's names are compared.

    Case does not count, and a distribution may be spelled in any way that installers
    take for the same.

    Source: PyPA specifications, "Name normalization" (2026-11).

    >>> comparable("Toolkit_Text.Word_Count")
    'toolkit-text.word_count'
    """
    owner, dot, bare = name.rpartition(".")
    return f"{re.sub('[-_.]+', '-', owner).lower()}{dot}{bare.casefold()}"


def provider_safe_name(qualified: str) -> ToolName:
    """Return the form of a qualified name that every model provider accepts.

    Deterministic. A name that had to be cleaned beyond its dots, or cut to 64
    characters, ends in a hash of the whole, so two never become one.

    >>> provider_safe_name("toolkit-text.word_count")
    'toolkit-text__word_count'
    """
    owner, _, name = qualified.rpartition(".")
    safe = re.sub(r"[^a-zA-Z0-9_-]", "_", f"{owner}__{name}")
    if len(safe) <= MAX_LENGTH and f"{owner}__{name}" == safe:
        return ToolName(safe)
    return _hashed(safe, qualified)


def _hashed(safe: str, whole: str) -> ToolName:
    keep = MAX_LENGTH - _DIGEST_LENGTH - 1
    return ToolName(f"{safe[:keep]}_{_digest(whole)}")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGEST_LENGTH]


# --- collisions ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a collision ends: who keeps the bare name, and whether that was decided.

    Attributes:
        winner: The origin that keeps the bare name; None when nobody does.
        decided: True when an operator's setting decided; an undecided collision is a
            fault in the report.
    """

    winner: Origin | None
    decided: bool


CollisionPolicy = Callable[[ToolName, Sequence[Origin]], Settlement]
"""Decides one collision. Must not depend on the order of the origins."""


def refuse(name: ToolName, origins: Sequence[Origin]) -> Settlement:  # noqa: ARG001 - a CollisionPolicy
    """Give the bare name to nobody, and report it as a fault. The default."""
    return Settlement(winner=None, decided=False)


def qualify(name: ToolName, origins: Sequence[Origin]) -> Settlement:  # noqa: ARG001 - a CollisionPolicy
    """Give the bare name to nobody, on purpose: all go by their qualified names."""
    return Settlement(winner=None, decided=True)


def prefer(
    choices: Mapping[str, str], otherwise: CollisionPolicy = refuse
) -> CollisionPolicy:
    """Build a policy that gives a name to the distribution an operator named for it.

    Args:
        choices: From tool name to distribution, both compared without case.
        otherwise: Decides names that `choices` does not settle.
    """
    wanted = {name.casefold(): owner.casefold() for name, owner in choices.items()}

    def decide(name: ToolName, origins: Sequence[Origin]) -> Settlement:
        owner = wanted.get(name.casefold())
        mine = [origin for origin in origins if origin.owner.casefold() == owner]
        if len(mine) == 1:
            return Settlement(winner=mine[0], decided=True)
        return otherwise(name, origins)

    return decide


@dataclass(frozen=True, slots=True)
class Claim:
    """One tool that wants a name.

    Attributes:
        name: The bare name it wants.
        origin: Where it comes from.
        listed: The name it is listed under already; None when it has no names yet.
        qualified: The qualified name it has already and keeps; empty likewise.
        mark: Tells it from another claim of the same name and origin.
    """

    name: ToolName
    origin: Origin
    listed: ToolName | None = None
    qualified: str = ""
    mark: str = ""

    @property
    def is_barred(self) -> bool:
        """Whether its bare name was contested before, and not given to it."""
        return self.listed is not None and self.listed != self.name


@dataclass(frozen=True, slots=True)
class Collision:
    """One bare name, everyone who claims it, and how it ended."""

    name: ToolName
    origins: tuple[Origin, ...]
    qualified_names: tuple[str, ...]
    settlement: Settlement

    @property
    def remedy(self) -> str:
        """The one-line setting that settles it."""
        owners = sorted({origin.owner for origin in self.origins})
        if len(owners) == 1:
            return f"Rename one of them in {owners[0]}."
        first, *rest = (f'"{owner}"' for owner in owners)
        others = f" (or {', '.join(rest)})"
        return f"Add prefer.{self.name} = {first}{others} to toolkit.toml."


@dataclass(frozen=True, slots=True)
class Naming:
    """The names given to a list of claims.

    Attributes:
        listed: The name each claim is listed under, in the order of the claims.
        qualified: The qualified name of each claim, likewise.
        collisions: Every bare name that more than one claimed, sorted by name.
    """

    listed: tuple[ToolName, ...]
    qualified: tuple[str, ...]
    collisions: tuple[Collision, ...]


def give_names(claims: Sequence[Claim], policy: CollisionPolicy = refuse) -> Naming:
    """Give every claim one listed and one qualified name, all of them different.

    Pure; each claim gets the same names whatever the order of the claims. Names that
    differ only in case collide, because people and providers mix them up.
    """
    qualified = _qualified_names(claims)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, claim in enumerate(claims):
        groups[claim.name.casefold()].append(index)
    keeps_bare: set[int] = set()
    collisions = []
    for _, members in sorted(groups.items()):
        if len(members) == 1:
            keeps_bare.update(i for i in members if not claims[i].is_barred)
            continue
        members.sort(key=lambda i: (claims[i].origin, qualified[i]))
        collision = _collide(claims, qualified, members, policy)
        collisions.append(collision)
        winners = [
            i for i in members if claims[i].origin == collision.settlement.winner
        ]
        if len(winners) == 1:  # two tools of one origin are no more told apart by it
            keeps_bare.update(winners)
    listed = _listed_names(claims, qualified, keeps_bare)
    return Naming(listed, qualified, tuple(collisions))


def _collide(
    claims: Sequence[Claim],
    qualified: Sequence[str],
    members: Sequence[int],
    policy: CollisionPolicy,
) -> Collision:
    name = min(claims[i].name for i in members)
    origins = tuple(claims[i].origin for i in members)
    names = tuple(qualified[i] for i in members)
    return Collision(name, origins, names, policy(name, origins))


def _qualified_names(claims: Sequence[Claim]) -> tuple[str, ...]:
    """Qualify each name; two of one owner are told apart by their origins."""
    plain = [
        one.qualified or qualified_name(one.origin.owner, one.name) for one in claims
    ]
    unnamed = [index for index, one in enumerate(claims) if not one.qualified]
    order = sorted(unnamed, key=lambda i: (claims[i].origin, plain[i], claims[i].mark))
    return _told_apart(
        plain,
        order,
        lambda i, again: (
            f"{plain[i]}-{_digest(f'{claims[i].name} {claims[i].origin}{again}')}"
        ),
    )


def _listed_names(
    claims: Sequence[Claim], qualified: Sequence[str], keeps_bare: set[int]
) -> tuple[ToolName, ...]:
    """List by bare name or in safe form; a safe form that meets another is hashed."""
    listed = [
        claim.name
        if index in keeps_bare
        else (claim.is_barred and claim.listed) or provider_safe_name(qualified[index])
        for index, claim in enumerate(claims)
    ]
    order = sorted(set(range(len(claims))) - keeps_bare, key=qualified.__getitem__)
    return _told_apart(
        listed, order, lambda i, again: _hashed(listed[i], f"{qualified[i]}{again}")
    )


_Name = TypeVar("_Name", bound=str)


def _told_apart(
    wanted: Sequence[_Name], order: Sequence[int], mark: Callable[[int, str], _Name]
) -> tuple[_Name, ...]:
    """Mark what is wanted twice, in `order`; what is not in it keeps its name.

    A mark that meets a name somebody else wants (authors can foresee a hash) is made
    again, so all names differ, whatever they are.
    """
    count = Counter(name.casefold() for name in wanted)
    taken = set(count)
    given = list(wanted)
    for index in order:
        if count[wanted[index].casefold()] > 1:
            tries = (mark(index, "'" * turn) for turn in itertools.count())
            given[index] = next(one for one in tries if one.casefold() not in taken)
            taken.add(given[index].casefold())
    return tuple(given)
