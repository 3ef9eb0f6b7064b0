"""What is installed here, and what became of each thing that was found."""

from toolkit import Settings, discover


def main() -> None:
    """Print the tools, then what was dropped and what failed."""
    catalog, report = discover(Settings.load())

    print("Tools:")
    for tool in catalog.definitions():
        scopes = ", ".join(sorted(tool.required_scopes)) or "none"
        print(f"  {tool.name:<30} needs scopes: {scopes}")

    print("\nDropped by the filter:")
    for reason, count in report.reasons().items():
        print(f"  {count:>3} x {reason}")

    print("\nFailed to load:")
    for finding in report.failed:
        print(f"  {finding.origin.entry_point:<20} {finding.detail[:60]}")

    print(f"\n{report.summary()}")


if __name__ == "__main__":
    main()
