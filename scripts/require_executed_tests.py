"""Fail when a test run executed no test: `require_executed_tests.py JUNIT_XML`.

Says nothing when some did, so that the test runner's own summary closes the log.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(report: Path) -> int:
    """Count the tests that ran.

    Args:
        report: What pytest wrote with `--junit-xml`.

    Returns:
        The exit status: 1 with a message when no test ran, or there is no report.
    """
    if not report.is_file():
        print(f"error: no test report at {report}: did the run start?", file=sys.stderr)
        return 1
    # S314 warns of hostile XML; this file was written by our own test run.
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314
    executed = sum(
        int(suite.get("tests", "0")) - int(suite.get("skipped", "0"))
        for suite in suites
    )
    if executed < 1:
        print("error: no test was executed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
