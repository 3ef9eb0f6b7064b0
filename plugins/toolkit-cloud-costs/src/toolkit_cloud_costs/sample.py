"""Make the sample export: invented data with findings planted in it.

``python -m toolkit_cloud_costs.sample`` prints it; with a file name it writes it there.
Every run makes the same bytes: there is neither a clock nor chance in it.

Five weeks of two providers in two currencies (FOCUS columns). Planted are: a savings
plan used to 73 %, a load balancer without traffic, an idle address, a database on
extended support, a development machine that runs day and night, a steady machine
without a commitment, storage that grows, one day of runaway logs, and untagged
resources.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

FIRST_DAY: Final = date(2025, 7, 14)
DAYS: Final = 35
HOURLY_DAYS: Final = 7
"""The development machine exists for the last week only, charged by the hour."""
SPIKE_DAY: Final = date(2025, 8, 13)

Values = dict[str, str | Decimal]

AWS: Final[Values] = {
    "ProviderName": "AWS",
    "PublisherName": "AWS",
    "InvoiceIssuerName": "AWS",
    "BillingAccountId": "100000000001",
    "BillingAccountName": "Example Ltd",
    "BillingCurrency": "USD",
    "RegionId": "eu-central-1",
    "RegionName": "Europe (Frankfurt)",
}
STOREFRONT: Final[Values] = {
    **AWS,
    "SubAccountId": "200000000001",
    "SubAccountName": "storefront",
}
PLATFORM: Final[Values] = {
    **AWS,
    "SubAccountId": "200000000002",
    "SubAccountName": "data-platform",
}
AZURE: Final[Values] = {
    "ProviderName": "Microsoft",
    "PublisherName": "Microsoft",
    "InvoiceIssuerName": "Microsoft",
    "BillingAccountId": "300000000001",
    "BillingAccountName": "Example GmbH",
    "BillingCurrency": "EUR",
    "RegionId": "westeurope",
    "RegionName": "West Europe",
    "SubAccountId": "400000000001",
    "SubAccountName": "intranet",
}

EC2: Final[Values] = {
    "ServiceName": "Amazon Elastic Compute Cloud",
    "ServiceCategory": "Compute",
    "ResourceType": "instance",
}
ELB: Final[Values] = {
    "ServiceName": "Elastic Load Balancing",
    "ServiceCategory": "Networking",
}
VPC: Final[Values] = {
    "ServiceName": "Amazon Virtual Private Cloud",
    "ServiceCategory": "Networking",
}
RDS: Final[Values] = {
    "ServiceName": "Amazon Relational Database Service",
    "ServiceCategory": "Databases",
    "ResourceId": "orders-db",
}
PLAN: Final[Values] = {
    "CommitmentDiscountCategory": "Spend",
    "CommitmentDiscountId": "sp-1",
    "CommitmentDiscountName": "Compute plan, one year",
    "CommitmentDiscountType": "Savings Plan",
}
USED_A_DAY: Final = Decimal("3.312")  # 24 h at 0.138, 28.125 % below the list price
UNUSED_A_DAY: Final = Decimal("1.2")  # 24 h at 0.05 of the commitment

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)


def render() -> str:
    """Return the whole export as CSV text, lines ended by one newline."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="NULL", lineterminator="\n")
    writer.writeheader()
    for row in (*_monthly(), *_daily(), *_hourly()):
        writer.writerow(row)
    return text.getvalue()


def _tags(application: str, environment: str, **more: str) -> Values:
    tags = {"application": application, "environment": environment, **more}
    return {"Tags": json.dumps(tags)}


SHOP: Final = _tags("shop", "prod", owner="web")


def _charge(
    *parts: Values,
    start: datetime,
    quantity: str,
    unit: str,
    price: str,
    hours: int = 24,
) -> Values:
    """Return one Usage row at list price; later `parts` win over everything."""
    amount = Decimal(quantity) * Decimal(price)
    month = start.date().replace(day=1)
    row: Values = {
        "BilledCost": amount,
        "EffectiveCost": amount,
        "ListCost": amount,
        "ContractedCost": amount,
        "BillingPeriodStart": _stamp(datetime.combine(month, time.min)),
        "BillingPeriodEnd": _stamp(
            datetime.combine((month + timedelta(days=31)).replace(day=1), time.min)
        ),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _stamp(start),
        "ChargePeriodEnd": _stamp(start + timedelta(hours=hours)),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ListUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
    }
    for part in parts:
        row.update(part)
    return row


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _about(resource: str, description: str, **more: str | Decimal) -> Values:
    named: Values = {"ResourceId": resource} if resource else {}
    return {**named, "ChargeDescription": description, **more}


def _daily() -> Iterator[Values]:
    for index in range(DAYS):
        start = datetime.combine(FIRST_DAY + timedelta(days=index), time.min)
        yield from _compute(start)
        yield from _network(start)
        yield from _data(start, index)


def _compute(start: datetime) -> Iterator[Values]:
    def hours(price: str, *parts: Values) -> Values:
        return _charge(*parts, start=start, quantity="24", unit="Hours", price=price)

    web = _about("i-web-1", "m6i.2xlarge on demand")
    yield hours("0.384", STOREFRONT, EC2, SHOP, web)
    app = _about(
        "i-app-1",
        "m6i.xlarge under a savings plan",
        BilledCost=Decimal(0),
        EffectiveCost=USED_A_DAY,
        PricingCategory="Committed",
        CommitmentDiscountStatus="Used",
    )
    yield hours("0.192", STOREFRONT, EC2, SHOP, PLAN, app)
    rest = _about(
        "",
        "Savings plan, unused part",
        BilledCost=Decimal(0),
        EffectiveCost=UNUSED_A_DAY,
        PricingCategory="Committed",
        CommitmentDiscountStatus="Unused",
        ConsumedQuantity="NULL",
        ConsumedUnit="NULL",
        ResourceType="NULL",
    )
    yield hours("0", STOREFRONT, EC2, PLAN, rest)
    intranet: Values = {
        "ServiceName": "Virtual Machines",
        "ServiceCategory": "Compute",
        "ResourceType": "Virtual machine",
    }
    yield hours("0.096", AZURE, intranet, _about("vm-intranet", "D2 v5"))


def _network(start: datetime) -> Iterator[Values]:
    def usage(quantity: str, unit: str, price: str, *parts: Values) -> Values:
        return _charge(*parts, start=start, quantity=quantity, unit=unit, price=price)

    for balancer in ("lb-shop", "lb-campaign"):
        named = _about(balancer, "Application load balancer hour")
        yield usage("24", "Hours", "0.0225", STOREFRONT, ELB, SHOP, named)
    traffic = _about("lb-shop", "Application load balancer capacity")
    yield usage("30", "LCU-Hours", "0.008", STOREFRONT, ELB, SHOP, traffic)
    address = _about("eip-old", "Idle public IPv4 address per hour")
    yield usage("24", "Hours", "0.005", PLATFORM, VPC, address)
    gateway = _about("nat-1", "NAT gateway hour")
    yield usage("24", "Hours", "0.045", PLATFORM, VPC, gateway)
    volume = _about("nat-1", "NAT gateway data")
    yield usage("20", "GB", "0.045", PLATFORM, VPC, volume)


def _data(start: datetime, index: int) -> Iterator[Values]:
    def usage(quantity: str, unit: str, price: str, *parts: Values) -> Values:
        return _charge(*parts, start=start, quantity=quantity, unit=unit, price=price)

    orders = _tags("orders", "prod")  # no owner
    database: Values = {"ChargeDescription": "db.m5.large, single zone"}
    yield usage("24", "Hours", "0.29", STOREFRONT, RDS, orders, database)
    surcharge: Values = {
        "ChargeDescription": "RDS Extended Support for MySQL 5.7, year 1"
    }
    yield usage("48", "vCPU-Hours", "0.1", STOREFRONT, RDS, orders, surcharge)
    lake: Values = {
        "ServiceName": "Amazon Simple Storage Service",
        "ServiceCategory": "Storage",
        "ResourceId": "lake-raw",
        "ChargeDescription": "Standard storage",
    }
    grown = str(100 + 5 * index)  # 0.10 USD dearer every day
    data = _tags("lake", "prod", owner="data")
    yield usage(grown, "GB-Days", "0.02", PLATFORM, lake, data)
    logs: Values = {
        "ServiceName": "AmazonCloudWatch",
        "ServiceCategory": "Management and Governance",
        "ResourceId": "logs-shop",
        "ChargeDescription": "Log data ingested",
    }
    ingested = (
        "77" if start.date() == SPIKE_DAY else str(3 + index % 3 * Decimal("0.1"))
    )
    yield usage(ingested, "GB", "0.5", STOREFRONT, logs, SHOP)


def _hourly() -> Iterator[Values]:
    machine = _about("i-dev-1", "t3.xlarge on demand")
    tags = _tags("lake", "dev", owner="data")
    first = FIRST_DAY + timedelta(days=DAYS - HOURLY_DAYS)
    for hour in range(HOURLY_DAYS * 24):
        yield _charge(
            PLATFORM,
            EC2,
            tags,
            machine,
            start=datetime.combine(first, time.min) + timedelta(hours=hour),
            quantity="1",
            unit="Hours",
            price="0.1664",
            hours=1,
        )


def _monthly() -> Iterator[Values]:
    """Yield what is no usage: the plan's fee, a tax, a credit, a correction.

    The fee equals the plan's amortised cost over the same days, as FOCUS wants.
    """
    for day, days in ((FIRST_DAY, 18), (date(2025, 8, 1), 17)):
        fee = (USED_A_DAY + UNUSED_A_DAY) * days
        yield _once(
            day,
            PLAN,
            BilledCost=fee,
            ChargeCategory="Purchase",
            ChargeDescription="Savings plan fee",
            ChargeFrequency="Recurring",
            ServiceName="Amazon Elastic Compute Cloud",
            ServiceCategory="Compute",
            PricingCategory="Standard",
            ListCost=fee,
            ContractedCost=fee,
            EffectiveCost=Decimal(0),
        )
    for day, category, kind, amount in (
        (date(2025, 8, 1), "Tax", "NULL", "41.8"),
        (date(2025, 8, 5), "Credit", "NULL", "-25"),
        (date(2025, 8, 6), "Adjustment", "Correction", "-0.75"),
    ):
        yield _once(
            day,
            {},
            ChargeCategory=category,
            ChargeClass=kind,
            ChargeDescription=f"{category} on the account",
            ChargeFrequency="One-Time",
            ServiceName="Account",
            ServiceCategory="Other",
            PricingCategory="NULL",
            **dict.fromkeys(
                ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"),
                Decimal(amount),
            ),
        )


def _once(day: date, part: Values, **values: str | Decimal) -> Values:
    blank: Values = dict.fromkeys(
        ("ConsumedQuantity", "ConsumedUnit", "ListUnitPrice"), "NULL"
    )
    return _charge(
        STOREFRONT,
        blank,
        part,
        values,
        start=datetime.combine(day, time.min),
        quantity="1",
        unit="Units",
        price="0",
    )


def main(arguments: list[str]) -> None:
    """Write the export to the file named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(render(), encoding="utf-8", newline="\n")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main(sys.argv[1:])
