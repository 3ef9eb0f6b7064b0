"""The savings rules: which charges each one claims, and what it then says.

A rule claims rows, and a claimed row is out of reach for the rules after it, so that no
charge is saved twice. The order is that of confidence.
"""

from dataclasses import dataclass
from typing import Final

from toolkit_cloud_costs.findings import Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to save.

    Attributes:
        name: Stable name, shown with every finding.
        title: What was found; ``{subject}`` is filled in.
        action: What to do about it.
        basis: What is summed for the estimate.
        confidence: How sure the figure is, and why in `reason`.
        needs: FOCUS columns without which it cannot be asked.
        probe: SQL that counts the rows it can judge; it is unsupported at 0,
            for the reason in `blind`. Empty: any row will do.
        claim: SQL selecting id, subject and avoidable amount of each row it claims.
    """

    name: str
    title: str
    action: str
    basis: str
    confidence: Confidence
    reason: str
    needs: tuple[str, ...]
    claim: str
    probe: str = ""
    blind: str = ""


UNUSED_COMMITMENT: Final = Rule(
    name="unused_commitment",
    title="Commitment {subject} is paid for and partly unused",
    action="Move usage under it, exchange or resell it, or renew it smaller.",
    basis="EffectiveCost of its Unused rows",
    confidence="high",
    reason="The provider states the unused part. It ends only once the commitment is "
    "used, exchanged or expired.",
    needs=("CommitmentDiscountId", "CommitmentDiscountStatus", "EffectiveCost"),
    probe="""
        SELECT count(*) FROM recent
        WHERE commitment_status IS NOT NULL
            AND provider NOT IN (FROM distrusted)
    """,
    blind="No charge in the window names a commitment with a usable EffectiveCost.",
    claim="""
        SELECT id, commitment_id, effective_cost FROM unclaimed
        WHERE charge_category = 'Usage' AND commitment_status = 'Unused'
            AND provider NOT IN (FROM distrusted)
    """,
)

UNUSED_RESERVATION: Final = Rule(
    name="unused_capacity_reservation",
    title="Capacity reservation {subject} stands empty",
    action="Cancel it, shrink it, or place machines in it.",
    basis="BilledCost of its Unused rows",
    confidence="high",
    reason="The provider marks the charge as unused capacity.",
    needs=("CapacityReservationId", "CapacityReservationStatus"),
    probe="SELECT count(*) FROM recent WHERE reservation_status IS NOT NULL",
    blind="No charge in the window names a capacity reservation.",
    claim="""
        SELECT id, reservation_id, billed_cost FROM unclaimed
        WHERE charge_category = 'Usage' AND reservation_status = 'Unused'
            AND commitment_id IS NULL
    """,
)

IDLE_RESOURCE: Final = Rule(
    name="idle_resource",
    title="{subject} is charged as idle",
    action="Release it, or attach it to what needs it.",
    basis="BilledCost of charges the provider itself calls idle or unattached",
    confidence="high",
    reason="The word is the provider's own, in ChargeDescription.",
    needs=("ChargeDescription",),
    claim="""
        SELECT id, coalesce(resource_name, resource_id, service), billed_cost
        FROM unclaimed
        WHERE charge_category = 'Usage' AND commitment_id IS NULL
            AND is_idle_by_name(description)
    """,
)

EXTENDED_SUPPORT: Final = Rule(
    name="extended_support",
    title="{subject} pays a surcharge for an outdated version",
    action="Upgrade it to a version in standard support; the surcharge then ends.",
    basis="BilledCost of charges the provider calls Extended Support",
    confidence="high",
    reason="The surcharge is a charge of its own and ends with the upgrade; the work "
    "of upgrading is not in the figure.",
    needs=("ChargeDescription",),
    claim="""
        SELECT id, coalesce(resource_name, resource_id, service), billed_cost
        FROM unclaimed
        WHERE charge_category = 'Usage'
            AND regexp_matches(lower(description), '\\bextended support\\b')
    """,
)

HOURS_WITHOUT_TRAFFIC: Final = Rule(
    name="hours_without_traffic",
    title="{subject} is charged by the hour and carries no traffic",
    action="Check that nothing uses it, then delete it.",
    basis="BilledCost of its hours",
    confidence="medium",
    reason="Other resources of the service show traffic charges on top of their hours "
    "and this one shows none; traffic that is free of charge would not be seen.",
    needs=("PricingUnit", "ResourceId", "ServiceCategory"),
    probe="""
        SELECT count(*) FROM (
            SELECT resource_id FROM recent
            WHERE service_category = 'Networking' AND resource_id IS NOT NULL
                AND lower(pricing_unit) IN ('hour', 'hours', 'hr', 'hrs')
            GROUP BY resource_id HAVING count(DISTINCT start_at::DATE) >= 7
        )
    """,
    blind="No network resource is charged by the hour on at least 7 days.",
    claim="""
        WITH resources AS (
            SELECT currency, provider, service, resource_id,
                bool_or(lower(pricing_unit) NOT IN ('hour', 'hours', 'hr', 'hrs')
                    AND coalesce(consumed_quantity, pricing_quantity) > 0) AS is_busy,
                count(DISTINCT start_at::DATE) AS days
            FROM unclaimed
            WHERE charge_category = 'Usage' AND service_category = 'Networking'
                AND resource_id IS NOT NULL AND commitment_id IS NULL
            GROUP BY ALL
        ), quiet AS (
            SELECT * FROM resources
            WHERE NOT coalesce(is_busy, false) AND days >= 7
                AND (provider, service) IN (
                    SELECT (provider, service) FROM resources WHERE is_busy)
        )
        SELECT id, coalesce(resource_name, resource_id), billed_cost
        FROM unclaimed SEMI JOIN quiet USING (currency, provider, service, resource_id)
        WHERE charge_category = 'Usage' AND service_category = 'Networking'
            AND commitment_id IS NULL
    """,
)

OFF_HOURS: Final = Rule(
    name="off_hours",
    title="Non-production machines run at night and at weekends: {subject}",
    action="Stop them outside of office hours, by a schedule.",
    basis="BilledCost of machine hours outside Monday to Friday, 07:00 to 19:00 UTC",
    confidence="low",
    reason="Office hours and the meaning of the environment tag are assumed; disks of "
    "stopped machines go on costing.",
    needs=("ChargePeriodEnd", "PricingUnit", "ResourceType", "ServiceCategory", "Tags"),
    probe="""
        SELECT count(*) FROM recent
        WHERE end_at - start_at <= INTERVAL 1 HOUR
            AND is_machine(service_category, resource_type, pricing_unit)
            AND environment_of(tags) IN ('dev', 'development', 'test', 'testing', 'qa',
                'staging', 'sandbox', 'nonprod', 'non-prod')
    """,
    blind="No hourly charges of machines tagged as non-production (environment or env "
    "being dev, test, qa, staging, sandbox…).",
    claim="""
        SELECT id,
            environment_of(tags) || ' in ' || coalesce(account_name, account_id, '?'),
            billed_cost
        FROM unclaimed
        WHERE charge_category = 'Usage' AND commitment_id IS NULL
            AND end_at - start_at <= INTERVAL 1 HOUR
            AND is_machine(service_category, resource_type, pricing_unit)
            AND environment_of(tags) IN ('dev', 'development', 'test', 'testing', 'qa',
                'staging', 'sandbox', 'nonprod', 'non-prod')
            AND (isodow(start_at) > 5 OR hour(start_at) NOT BETWEEN 7 AND 18)
    """,
)

RULES: Final = (
    UNUSED_COMMITMENT,
    UNUSED_RESERVATION,
    IDLE_RESOURCE,
    EXTENDED_SUPPORT,
    HOURS_WITHOUT_TRAFFIC,
    OFF_HOURS,
)

CREATE_BOUND: Final = "CREATE TEMP TABLE bound AS SELECT $first::TIMESTAMP AS first"

CREATE_DISTRUSTED: Final = """
CREATE TEMP TABLE distrusted AS SELECT unnest($providers::VARCHAR[]) AS provider
"""

CREATE_CLAIMS: Final = (
    # a view, so that a large export is not held twice; rows were inserted in order
    """
    CREATE TEMP VIEW recent AS
    SELECT rowid AS id, * FROM charges WHERE start_at >= (SELECT first FROM bound)
    """,
    """
    CREATE TEMP TABLE claims (
        id BIGINT, subject VARCHAR, amount DECIMAL(38, 18), rule VARCHAR)
    """,
    "CREATE TEMP VIEW unclaimed AS FROM recent ANTI JOIN claims USING (id)",
)

CLAIMED: Final = """
SELECT currency, provider,
    CASE WHEN count(DISTINCT service) = 1 THEN min(service) END,
    CASE WHEN count(DISTINCT account_id) = 1
        THEN min(coalesce(account_name || ' (' || account_id || ')', account_id)) END,
    CASE WHEN count(DISTINCT region) = 1 THEN min(region) END,
    subject, sum(amount) AS total, count(*), count(DISTINCT start_at::DATE),
    list(file_name || ':' || row_number ORDER BY id)[1:3]
FROM claims JOIN recent USING (id)
WHERE rule = $rule
GROUP BY currency, provider, subject
HAVING total > 0
ORDER BY total DESC, subject
"""

STEADY_LOAD: Final = """
WITH daily AS (
    SELECT currency, provider, service, start_at::DATE AS day,
        sum(billed_cost) AS cost, count(*) AS rows,
        min_by(file_name || ':' || row_number, id) AS example
    FROM unclaimed
    WHERE charge_category = 'Usage' AND commitment_id IS NULL
        AND coalesce(pricing_category, 'Standard') = 'Standard'
        AND is_machine(service_category, resource_type, pricing_unit)
    GROUP BY ALL
)
SELECT currency, provider, service, min(cost) AS least, sum(rows)::BIGINT,
    list(example ORDER BY day)[1:3]
FROM daily GROUP BY currency, provider, service
HAVING count(*) = $days AND least > 0
ORDER BY least DESC, service
"""
