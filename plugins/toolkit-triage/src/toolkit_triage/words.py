"""Words compared by their stems: `costs` and `cost`, `optimising` and `optimize`."""

import re
import unicodedata
from typing import Final

MAX_CHARS: Final = 8_192
"""As much of a text is read; what it is about is said before that."""

_SHORTEST: Final = 4
"""Letters that are left of a word at least, so that endings alone make none equal."""

_WORD: Final = re.compile(r"[^\W_]+")
_ENDINGS: Final = ("ations", "ation", "ings", "ing", "ies", "ers", "er", "ed", "es")


def _set_of(words: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(words.split())


_COMMON: Final = _set_of(
    """
    a about above after agent agents all also am an and answer answers any anything
    are as ask at be because been before best better between both but by can could
    did do does doing done each every find for from get give go good has have hello
    help her here hey hi him his how i if in into is it its just know let like look
    make many may me might more most much must my need new no not now of off on one
    only or other our out over own people per plan please question questions real
    really right said say see she should show so some something start such system
    take tell than thank thanks that the their them then there these they thing
    things think this those to too tool tools under up us use user users using very
    want was way we well were what when where which who whose why will with work
    would yes you your
    """
)


def words_of(text: str) -> dict[str, str]:
    """Read the words of a text that say what it is about.

    Returns:
        Each stem once, with the word as it first stood there, in the text's order.
    """
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARS])
    found: dict[str, str] = {}
    for word in _WORD.findall(plain):
        if word.casefold() not in _COMMON:
            found.setdefault(stem(word), word)
    return found


def stem(word: str) -> str:
    """Return a word without its ending, in lower case; short words stay whole."""
    root = _without_ending(word.casefold())
    is_british = root.endswith("is") and len(root) > _SHORTEST
    return f"{root[:-1]}z" if is_british else root


def _without_ending(low: str) -> str:
    for ending in _ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= _SHORTEST:
            return low.removesuffix(ending).rstrip("e")
    if len(low) >= _SHORTEST and low.endswith("s") and not low.endswith("ss"):
        low = low[:-1]
    return low.rstrip("e") if len(low) > _SHORTEST else low
