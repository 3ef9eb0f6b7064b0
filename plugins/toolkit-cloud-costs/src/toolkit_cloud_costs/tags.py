"""Spend without tags, or without the tags that a rule book requires."""

from collections.abc import Sequence

from toolkit_cloud_costs.ledger import Ledger
from toolkit_cloud_costs.models import (
    Cost,
    SpendRow,
    TagKey,
    UntaggedSpend,
    UntaggedTotal,
)
from toolkit_cloud_costs.money import to_number, to_percent
from toolkit_cloud_costs.quality import describe_basis
from toolkit_cloud_costs.spend import Grouping


def find_untagged(
    ledger: Ledger, required: Sequence[str], cost: Cost, limit: int
) -> UntaggedSpend:
    """Return spend without any tag value, or lacking one of the `required` keys.

    Keys are compared exactly, as providers do; other spellings are reported as near
    misses. An empty value counts as missing.

    Passes on a `ToolError` when the export has no Tags, or not the cost asked for.
    """
    ledger.require("Tags")
    Grouping(cost=cost).measure(ledger)
    keys = list(dict.fromkeys(key for key in required if key.strip()))
    ledger.execute(_JUDGE, {"required": keys})
    return UntaggedSpend(
        basis=describe_basis(ledger),
        cost=cost,
        totals=_list_totals(ledger),
        keys=_list_keys(ledger, keys),
        rows=_list_services(ledger)[:limit],
    )


def _list_totals(ledger: Ledger) -> list[UntaggedTotal]:
    return [
        UntaggedTotal(
            currency=currency,
            taggable=to_number(taggable),
            untagged=to_number(untagged),
            untagged_percent=to_percent(untagged, taggable),
            untagged_rows=rows,
            without_resource=to_number(no_resource),
            not_taggable=to_number(other),
        )
        for currency, taggable, untagged, rows, no_resource, other in ledger.rows(
            _TOTALS
        )
    ]


def _list_keys(ledger: Ledger, required: list[str]) -> list[TagKey]:
    keys = required or [key for (key,) in ledger.rows(_KEYS_IN_USE)]
    return [
        TagKey(
            key=key,
            currency=currency,
            tagged=to_number(tagged),
            untagged=to_number(untagged),
            untagged_percent=to_percent(untagged, tagged + untagged),
            untagged_rows=rows,
            near_misses=near,
        )
        for key, currency, tagged, untagged, rows, near in ledger.rows(
            _KEYS, {"keys": keys}
        )
    ]


def _list_services(ledger: Ledger) -> list[SpendRow]:
    return [
        SpendRow(
            value=service,
            label=provider,
            currency=currency,
            cost=to_number(cost),
            share_percent=to_percent(cost, whole),
            rows=rows,
        )
        for service, provider, currency, cost, rows, whole in ledger.rows(_SERVICES)
    ]


_JUDGE = """
CREATE TEMP TABLE judged AS SELECT *,
    charge_category IN ('Usage', 'Purchase') AS taggable,
    keys_with_value(tags) AS keys,
    CASE WHEN len($required::VARCHAR[]) = 0 THEN len(keys_with_value(tags)) = 0
    ELSE NOT list_has_all(keys_with_value(tags), $required::VARCHAR[]) END AS untagged
FROM measured
"""

_TOTALS = """
SELECT currency,
    coalesce(sum(cost) FILTER (taggable), 0),
    coalesce(sum(cost) FILTER (taggable AND untagged), 0),
    count(*) FILTER (taggable AND untagged),
    coalesce(sum(cost) FILTER (taggable AND untagged AND resource_id IS NULL), 0),
    coalesce(sum(cost) FILTER (NOT taggable), 0)
FROM judged GROUP BY currency ORDER BY currency
"""

_KEYS_IN_USE = """
SELECT key FROM (SELECT unnest(keys) AS key FROM judged WHERE taggable)
GROUP BY key ORDER BY count(*) DESC, key LIMIT 20
"""

_KEYS = """
WITH wanted AS (SELECT unnest($keys::VARCHAR[]) AS key), paired AS (
    SELECT key, currency, cost, list_contains(keys, key) AS has,
        list_filter(keys, lambda other: plain_key(other) = plain_key(key)) AS near
    FROM wanted CROSS JOIN judged WHERE taggable
)
SELECT key, currency,
    coalesce(sum(cost) FILTER (has), 0) AS tagged,
    coalesce(sum(cost) FILTER (NOT has), 0) AS untagged,
    count(*) FILTER (NOT has),
    list_sort(list_distinct(flatten(list(
        CASE WHEN has THEN [] ELSE near END
    ))))
FROM paired GROUP BY key, currency ORDER BY untagged DESC, key, currency
"""

_SERVICES = """
WITH groups AS (
    SELECT service, provider, currency, coalesce(sum(cost), 0) AS cost,
        count(*) AS rows
    FROM judged WHERE taggable AND untagged GROUP BY ALL
)
SELECT *, sum(cost) OVER (PARTITION BY currency)
FROM groups ORDER BY currency, cost DESC, service, provider
"""
