"""Which agent a message is for. Pure: the same question has the same answer."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from toolkit_triage.words import stem, words_of

NAMED: Final = 20
"""For an agent that the message calls by its name: more than words can weigh."""
IN_NAME: Final = 3
IN_DESCRIPTION: Final = 2
IN_TOPIC: Final = 2
"""For a word of a topic that the agent's own name or description is also about."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one agent fits, and the words of the message that say so.

    Attributes:
        agent: Its name.
        points: The weights of all those words.
        because: The words as the message has them, the weightiest first.
        is_named: Whether the message calls the agent by its name.
    """

    agent: str
    points: int
    because: tuple[str, ...]
    is_named: bool = False


def rank(message: str, agents: Mapping[str, str]) -> tuple[Score, ...]:
    """Judge every agent by the words that it shares with the message.

    A word counts once for an agent: as part of its name, as a word of its description,
    or as a word of a topic that its name or description speaks of. A description's word
    that all of several agents have tells nothing, and counts for none.

    Args:
        message: What the user asks.
        agents: Descriptions by name.

    Returns:
        The agents that share a word, the best first; equals in the order of names.
    """
    asked = words_of(message)
    described = {name: frozenset(words_of(text)) for name, text in agents.items()}
    counts = Counter(one for words in described.values() for one in words)
    shared = {one for one, count in counts.items() if 1 < count == len(agents)}
    scores = [
        _score(name, words - shared, asked, message)
        for name, words in described.items()
    ]
    fitting = [one for one in scores if one.points]
    return tuple(sorted(fitting, key=lambda one: (-one.points, one.agent)))


def _score(
    name: str, described: frozenset[str], asked: Mapping[str, str], message: str
) -> Score:
    named = frozenset(words_of(name))
    topics = _topics_of(named | described)
    weights: Counter[str] = Counter()
    for one, word in asked.items():
        weights[word] = _weight(one, named, described, topics)
    is_named = _calls(message, name)
    if is_named:
        weights[name] = NAMED
    because = [word for word, weight in weights.most_common() if weight]
    return Score(name, weights.total(), tuple(because), is_named)


def _calls(message: str, name: str) -> bool:
    """Tell whether a message holds a name that is more than a word of a language."""
    if name.isalpha():
        return False
    pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
    return re.search(pattern, message, re.IGNORECASE) is not None


def _weight(
    one: str, named: frozenset[str], described: frozenset[str], topics: frozenset[str]
) -> int:
    if one in named:
        return IN_NAME
    if one in described:
        return IN_DESCRIPTION
    return IN_TOPIC if one in topics else 0


def _topics_of(words: frozenset[str]) -> frozenset[str]:
    """Return all words of the topics that at least two of these words belong to."""
    found = (topic for topic in _TOPICS if len(topic & words) >= ENOUGH)
    return frozenset[str]().union(*found)


ENOUGH: Final = 2
"""Words of one topic that make an agent one for that topic: one alone is chance."""


def _topic(words: str) -> frozenset[str]:
    return frozenset(map(stem, words.split()))


# What people say about a subject beside the words that an agent describes itself with.
_TOPICS: Final = (
    _topic(
        """
        cost costs spend spent spending bill bills billing billed invoice budget saving
        savings save price pricing expense expensive cheap cheaper dear dearer discount
        optimize optimise optimization reduce cut waste wasted idle unused untagged
        finops commitment commitments reservation reservations anomaly anomalies spike
        cloud aws amazon azure microsoft gcp google oracle ec2 s3 rds lambda kubernetes
        eks cloudwatch instance instances bucket kosten sparen rechnung ausgaben coûts
        dépenses facture costos costes gastos ahorrar factura
        """
    ),
    _topic(
        """
        data table tables row rows column columns csv tsv parquet json sql query queries
        dataset file files record records average mean median sum total count minimum
        maximum lowest highest largest smallest distinct unique group grouped filter
        sort profile daten tabelle tabellen zeilen spalte durchschnitt summe données
        tableau lignes moyenne datos tabla filas promedio media
        """
    ),
    _topic(
        """
        text texts word words sentence sentences letter summary summarize summarise
        rewrite translate translation write spelling grammar article document
        """
    ),
    _topic(
        """
        code bug bugs program function class refactor compile python javascript review
        repository commit test tests debug
        """
    ),
)
