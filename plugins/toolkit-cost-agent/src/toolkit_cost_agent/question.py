"""What a message about costs asks for. Pure: the same message has the same meaning."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from toolkit_cost_agent.periods import Period, read_period

Aim = Literal[
    "plan",
    "untagged",
    "anomalies",
    "commitments",
    "movers",
    "spend",
    "overview",
    "nothing",
]

MAX_CHARS: Final = 4_000
"""As much of a message is read."""

# In this order: the first that fits. `why did my costs rise` is about what moved.
_AIMS: Final[tuple[tuple[Aim, str], ...]] = (
    ("untagged", r"untagged|un-tagged|without (?:a )?tags?|missing tags?|tagging"),
    ("anomalies", r"anomal\w*|spikes?|outliers?|unusual\w*|unexpected\w*|sudden\w*"),
    (
        "plan",
        (
            r"optimi[sz]\w*|(?:save|savings?)\b(?! plans?)|reduc\w*|cut\b|lower my|"
            r"wasted?|wasting|cheaper (?:way|option)|recommend\w*|idle|unused|"
            r"too (?:much|high|expensive)|sparen|senken|réduire|economizar|ahorrar"
        ),
    ),
    (
        "commitments",
        r"commitments?|reservations?|reserved|savings? plans?|coverage|utili[sz]ation",
    ),
    (
        "movers",
        (
            r"dearer|more expensive|cheaper|increase[ds]?|increasing|"
            r"decrease[ds]?|gr[eo]w\w*|"
            r"ris(?:e|en|ing)|rose|went (?:up|down)|go(?:ne|ing)? (?:up|down)|"
            r"chang\w*|movers?|moved|compared (?:to|with)|trend\w*"
        ),
    ),
    (
        "overview",
        (
            r"which export|what (?:data|is in|do you have)|data quality|billing export|"
            r"overview"
        ),
    ),
    (
        "spend",
        (
            r"spen[dt]\w*|costs?|bill\w*|charges?|paid|pay|how much|expens\w*|"
            r"invoices?|kosten|ausgaben|coûts?|costos?|costes?|gastos?"
        ),
    ),
)
_DIMENSIONS: Final = (
    ("service_category", r"(?:service )?(?:category|categories)"),
    ("billing_account", r"billing accounts?"),
    ("account", r"(?:sub[ -]?)?accounts?|projects?|subscriptions?"),
    ("region", r"regions?|locations?"),
    ("provider", r"providers?|clouds?|vendors?"),
    ("resource", r"resources?"),
    ("day", r"days?|daily"),
    ("month", r"months?|monthly"),
    ("service", r"services?|products?"),
)
_TAG: Final = re.compile(
    r"\bby (?:the )?tag (?:key )?[\"'“]?(?P<key>[\w:.@/-]{1,128})", re.IGNORECASE
)
_COSTS: Final = (
    ("effective", r"effective|amorti[sz]ed"),
    ("list", r"list (?:cost|price)s?|before discounts?"),
    ("contracted", r"contracted|negotiated"),
)
_PROVIDERS: Final = (
    ("AWS", r"aws|amazon"),
    ("Microsoft", r"azure|microsoft"),
    ("Google", r"gcp|google"),
    ("Oracle", r"oracle|oci"),
)
_SERVICES: Final = {
    "s3": "simple storage service",
    "ec2": "elastic compute cloud",
    "rds": "relational database service",
    "vpc": "virtual private cloud",
    "sqs": "simple queue service",
    "sns": "simple notification service",
    "elb": "elastic load balancing",
    "ebs": "elastic block store",
    "efs": "elastic file system",
    "eks": "kubernetes",
    "ecs": "elastic container service",
    "ecr": "container registry",
    "kms": "key management service",
    "vms": "virtual machines",
    "lambda": "lambda",
    "dynamodb": "dynamodb",
    "cloudfront": "cloudfront",
    "bigquery": "bigquery",
}
"""Short names that people say, and the words in the names that exports have."""


def _set_of(words: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(words.split())


_GENERAL: Final = _set_of(
    """
    amazon aws microsoft azure google cloud oracle oci service services simple
    elastic and for the of account data public transfer cost costs usage bill
    billing monitor storage
    """
)
"""Words in names of services that say too little to mean one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a message asks for.

    Attributes:
        aim: Which kind of answer.
        period: Which days.
        provider: Only this provider of the export, as the export writes it.
        absent_provider: A provider that the message names and the export has not.
        direction: Only what got dearer, or only what got cheaper.
        cost: Which of the four costs.
        group_by: What to break spend down by; None: the message does not say.
        tag_key: The tag's key, when it is by tag.
    """

    aim: Aim
    period: Period = Period()  # noqa: RUF009 - frozen
    provider: str | None = None
    absent_provider: str | None = None
    direction: Literal["up", "down"] | None = None
    cost: str = "billed"
    group_by: str | None = None
    tag_key: str | None = None


def read_query(
    message: str, first: date, last: date, providers: Sequence[str]
) -> Query:
    """Read a message.

    Args:
        message: What the user asks, in English; a few words of others are known.
        first: First day of the export.
        last: Last day of the export.
        providers: The providers that the export has charges of.
    """
    text = message[:MAX_CHARS]
    provider, absent = _provider(text, providers)
    tag = _TAG.search(text)
    aim = _aim(text)
    return Query(
        aim="spend" if aim == "nothing" and _short_names(text) else aim,
        period=read_period(text, first, last),
        provider=provider,
        absent_provider=absent,
        direction=_direction(text),
        cost=_first(_COSTS, text) or "billed",
        group_by="tag" if tag else _dimension(text),
        tag_key=tag["key"] if tag else None,
    )


def find_services(message: str, services: Sequence[str]) -> list[str]:
    """List the services of an export that a message names, in the export's order.

    A service is named by its usual short name, or by a word of its name that is not
    the name of half of all services.
    """
    text = message[:MAX_CHARS].casefold()
    wanted = [_SERVICES[short] for short in _short_names(text)]
    return [
        service
        for service in services
        if any(full in service.casefold() for full in wanted) or _says(text, service)
    ]


def absent_services(message: str, services: Sequence[str]) -> list[str]:
    """List the short names that a message has for services that are not there."""
    return [
        short.upper()
        for short in _short_names(message[:MAX_CHARS])
        if not any(_SERVICES[short] in one.casefold() for one in services)
    ]


def _short_names(text: str) -> list[str]:
    said = set(re.findall(r"[a-z0-9]+", text.casefold()))
    return [short for short in _SERVICES if short in said]


def _says(text: str, service: str) -> bool:
    """Tell whether all telling words of a service's name are said."""
    words = re.findall(r"[a-z0-9]+", service.casefold())
    short = [re.sub(r"^(?:amazon|aws)(?=.)", "", one) for one in words]
    telling = [one for one in short if one not in _GENERAL and len(one) > 2]  # noqa: PLR2004
    return bool(telling) and all(_holds(text, one) for one in telling)


def _holds(text: str, word: str) -> bool:
    one = re.escape(word.removesuffix("s"))
    return re.search(rf"\b{one}s?\b", text) is not None


def _aim(text: str) -> Aim:
    for aim, pattern in _AIMS:
        if re.search(rf"\b(?:{pattern})", text, re.IGNORECASE):
            return aim
    return "nothing"


def _direction(text: str) -> Literal["up", "down"] | None:
    low = text.casefold()
    up = re.search(
        r"\b(?:dearer|more expensive|increase|increasing|ris|rose|grew|up\b)", low
    )
    down = re.search(r"\b(?:cheaper|decrease|fell|fall|down\b)", low)
    if up:
        return None if down else "up"
    return "down" if down else None


def _dimension(text: str) -> str | None:
    for name, pattern in _DIMENSIONS:
        asked = (
            rf"\b(?:by|per|each|which|what|every)\s+(?:the\s+|my\s+)?(?:{pattern})\b"
        )
        if re.search(asked, text, re.IGNORECASE):
            return name
    if re.search(r"\bdaily\b", text, re.IGNORECASE):
        return "day"
    return "month" if re.search(r"\bmonthly\b", text, re.IGNORECASE) else None


def _provider(text: str, providers: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the one provider that is named, if the export has it; else as absent.

    A message that names several is about all of them.
    """
    named = [
        (name, pattern)
        for name, pattern in _PROVIDERS
        if re.search(rf"\b(?:{pattern})\b", text, re.IGNORECASE)
    ]
    if len(named) != 1:
        return None, None
    name, pattern = named[0]
    for provider in providers:
        if re.search(rf"\b(?:{pattern})\b", provider, re.IGNORECASE):
            return provider, None
    return None, name


def _first(pairs: Sequence[tuple[str, str]], text: str) -> str | None:
    for name, pattern in pairs:
        if re.search(rf"\b(?:{pattern})\b", text, re.IGNORECASE):
            return name
    return None
