"""SQL that turns FOCUS text into typed columns. No statement here takes identifiers.

FOCUS forbids empty strings and placeholders for missing values (attribute Null
Handling); real exports hold them all the same, most often the text NULL.
"""

from typing import Final

MACROS: Final = (
    """
    CREATE MACRO clean(value) AS
        CASE WHEN lower(trim(value)) NOT IN ('', 'null', 'none', 'nan', '\\n')
        THEN trim(value) END
    """,
    # 20 digits before and 18 after the point: sums stay exact. The cast alone would
    # take 1_000 for 1000
    """
    CREATE MACRO money(value) AS CASE
        WHEN regexp_full_match(
            clean(value), '[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?')
        THEN TRY_CAST(clean(value) AS DECIMAL(38, 18)) END
    """,
    # NaN is no way to say that a value is missing, though some exports try
    """
    CREATE MACRO is_no_number(value) AS money(value) IS NULL
        AND (clean(value) IS NOT NULL OR coalesce(lower(trim(value)) = 'nan', false))
    """,
    """
    CREATE MACRO moment(value) AS
        TRY_CAST(clean(value) AS TIMESTAMPTZ) AT TIME ZONE 'UTC'
    """,
    "CREATE MACRO word(value) AS upper(clean(value)[1]) || lower(clean(value)[2:])",
    """
    CREATE MACRO json_map(value) AS
        TRY_CAST(TRY_CAST(value AS JSON) AS MAP(VARCHAR, VARCHAR))
    """,
    # some exports leave the braces out
    """
    CREATE MACRO tag_map(value) AS
        coalesce(json_map(clean(value)), json_map('{' || clean(value) || '}'))
    """,
    """
    CREATE MACRO keys_with_value(tags) AS
        list_filter(map_keys(tags), lambda key: clean(tags[key]) IS NOT NULL)
    """,
    # "ms:Cost Center" and " cost center" are near misses of "cost center"
    """
    CREATE MACRO plain_key(key) AS
        lower(trim(regexp_replace(trim(key), '^.*[:/]', '')))
    """,
    # a machine that can be switched off: compute, charged by time (instance hours,
    # vCPU-hours), and not, say, traffic or a disk of one
    """
    CREATE MACRO is_machine(category, resource_type, unit) AS
        category = 'Compute'
        AND regexp_matches(lower(unit), '(^|[^a-z])(hours?|hrs?)$')
        AND regexp_matches(lower(resource_type), 'instance|virtual machine|compute')
    """,
    """
    CREATE MACRO environment_of(tags) AS lower(coalesce(
        clean(tags['environment']), clean(tags['Environment']),
        clean(tags['env']), clean(tags['Env']), clean(tags['stage'])
    ))
    """,
    """
    CREATE MACRO is_idle_by_name(description) AS
        regexp_matches(lower(description), '\\b(idle|unattached|unassociated)\\b')
    """,
)

CREATE_CHARGES: Final = """
CREATE TABLE charges (
    file_name VARCHAR, row_number BIGINT,
    provider VARCHAR, service VARCHAR, service_category VARCHAR,
    billing_account_id VARCHAR, billing_account_name VARCHAR,
    account_id VARCHAR, account_name VARCHAR, region VARCHAR,
    resource_id VARCHAR, resource_name VARCHAR, resource_type VARCHAR,
    description VARCHAR, charge_category VARCHAR, charge_class VARCHAR,
    pricing_category VARCHAR, pricing_unit VARCHAR,
    consumed_quantity DECIMAL(38, 18), pricing_quantity DECIMAL(38, 18),
    commitment_id VARCHAR, commitment_name VARCHAR, commitment_type VARCHAR,
    commitment_status VARCHAR, reservation_id VARCHAR, reservation_status VARCHAR,
    currency VARCHAR,
    billed_cost DECIMAL(38, 18), effective_cost DECIMAL(38, 18),
    list_cost DECIMAL(38, 18), contracted_cost DECIMAL(38, 18),
    start_at TIMESTAMP, end_at TIMESTAMP, billing_start TIMESTAMP,
    tags MAP(VARCHAR, VARCHAR), tags_unreadable BOOLEAN, no_numbers VARCHAR[]
)
"""

# A region's name varies within one id ("External" for traffic out of it), so the id
# leads; Oracle gives the name only. A sub account is what the user calls an account.
INSERT_CHARGES: Final = """
INSERT INTO charges SELECT
    $file_name, row_number,
    coalesce(clean(ProviderName), '(none)'), coalesce(clean(ServiceName), '(none)'),
    clean(ServiceCategory),
    clean(BillingAccountId), clean(BillingAccountName),
    coalesce(clean(SubAccountId), clean(BillingAccountId)),
    CASE WHEN clean(SubAccountId) IS NULL THEN clean(BillingAccountName)
        ELSE clean(SubAccountName) END,
    coalesce(clean(RegionId), clean(RegionName)),
    clean(ResourceId), clean(ResourceName), clean(ResourceType),
    clean(ChargeDescription), coalesce(word(ChargeCategory), '(none)'),
    word(ChargeClass), word(PricingCategory), clean(PricingUnit),
    money(ConsumedQuantity), money(PricingQuantity),
    clean(CommitmentDiscountId), clean(CommitmentDiscountName),
    clean(CommitmentDiscountType), word(CommitmentDiscountStatus),
    clean(CapacityReservationId), word(CapacityReservationStatus),
    coalesce(upper(clean(BillingCurrency)), '(none)'),
    money(BilledCost), money(EffectiveCost), money(ListCost), money(ContractedCost),
    moment(ChargePeriodStart), moment(ChargePeriodEnd), moment(BillingPeriodStart),
    coalesce(tag_map(Tags), MAP {}),
    clean(Tags) IS NOT NULL AND tag_map(Tags) IS NULL,
    list_filter([
        CASE WHEN is_no_number(BilledCost) THEN 'BilledCost' END,
        CASE WHEN is_no_number(EffectiveCost) THEN 'EffectiveCost' END,
        CASE WHEN is_no_number(ListCost) THEN 'ListCost' END,
        CASE WHEN is_no_number(ContractedCost) THEN 'ContractedCost' END,
        CASE WHEN is_no_number(ConsumedQuantity) THEN 'ConsumedQuantity' END,
        CASE WHEN is_no_number(PricingQuantity) THEN 'PricingQuantity' END
    ], lambda name: name IS NOT NULL)
FROM staged
"""

UNREADABLE: Final = """
SELECT column_name, count(*) FILTER (bad), min(value) FILTER (bad) FROM (
    SELECT unnest([
        {'column_name': 'BilledCost', 'value': BilledCost,
         'bad': clean(BilledCost) IS NOT NULL AND money(BilledCost) IS NULL},
        {'column_name': 'EffectiveCost', 'value': EffectiveCost,
         'bad': clean(EffectiveCost) IS NOT NULL AND money(EffectiveCost) IS NULL},
        {'column_name': 'ListCost', 'value': ListCost,
         'bad': clean(ListCost) IS NOT NULL AND money(ListCost) IS NULL},
        {'column_name': 'ContractedCost', 'value': ContractedCost,
         'bad': clean(ContractedCost) IS NOT NULL AND money(ContractedCost) IS NULL},
        {'column_name': 'ChargePeriodStart',
         'value': coalesce(ChargePeriodStart, 'NULL'),
         'bad': moment(ChargePeriodStart) IS NULL}
    ], recursive := true) FROM staged
) GROUP BY column_name ORDER BY column_name
"""

MEASURE: Final = """
CREATE TEMP TABLE measured AS SELECT
    CASE $cost
        WHEN 'billed' THEN billed_cost
        WHEN 'effective' THEN effective_cost
        WHEN 'list' THEN list_cost
        WHEN 'contracted' THEN contracted_cost
    END AS cost,
    coalesce(CASE $group_by
        WHEN 'provider' THEN provider
        WHEN 'service' THEN service
        WHEN 'service_category' THEN service_category
        WHEN 'account' THEN account_id
        WHEN 'billing_account' THEN billing_account_id
        WHEN 'region' THEN region
        WHEN 'resource' THEN resource_id
        WHEN 'charge_category' THEN charge_category
        WHEN 'pricing_category' THEN pricing_category
        WHEN 'day' THEN strftime(start_at, '%Y-%m-%d')
        WHEN 'month' THEN strftime(start_at, '%Y-%m')
        WHEN 'billing_period' THEN strftime(billing_start, '%Y-%m')
        WHEN 'tag' THEN clean(tags[$tag_key])
    END, '(none)') AS value,
    CASE $group_by
        WHEN 'service' THEN provider
        WHEN 'account' THEN account_name
        WHEN 'billing_account' THEN billing_account_name
        WHEN 'resource' THEN resource_name
    END AS label,
    currency, charge_category, start_at, provider, service, resource_id, tags
FROM charges
"""
"""One column per thing asked for, so that the questions themselves stay plain SQL."""
