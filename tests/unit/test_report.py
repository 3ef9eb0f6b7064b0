"""The report: what was found, what became of it, and who has to mend what."""

import json
from dataclasses import FrozenInstanceError

import pytest

from toolkit import (
    DiscoveryFailedError,
    DiscoveryReport,
    DuplicateToolError,
    InvalidToolError,
    Origin,
    PluginLoadError,
    RejectionReason,
)
from toolkit.discovery.report import NOISE, Candidate, Finding, Outcome
from toolkit.naming import Claim, Collision, ToolName, give_names, prefer

HERE = Origin("here", "1.0", "toolkit.tools", "sum", "pkg:Sum")
THERE = Origin("there", "2.0", "toolkit.tools", "sum", "other:Sum")

ACCEPTED = Finding(
    Outcome.ACCEPTED, HERE, "tool", name="sum", qualified_name="here.sum"
)
AGENT = Finding(Outcome.ACCEPTED, HERE, "agent", name="helper")
SKIPPED = Finding(Outcome.SKIPPED, THERE, "tool", detail="on the deny list")
FAILED = Finding(
    Outcome.FAILED, THERE, "tool", detail="RuntimeError: no", traceback="their lines"
)


def rejected(reason: RejectionReason, *, is_explicit: bool = True) -> Finding:
    return Finding(
        Outcome.REJECTED,
        THERE,
        "tool",
        reason=reason,
        detail=f"because. {reason.remedy}",
        is_explicit=is_explicit,
    )


def collisions(choices: dict[str, str]) -> tuple[Collision, ...]:
    claims = [Claim(ToolName("sum"), HERE), Claim(ToolName("sum"), THERE)]
    return give_names(claims, prefer(choices)).collisions


def test_findings_are_sorted_by_what_became_of_them() -> None:
    """Answer each question with its own part of the findings (B12)."""
    no = rejected(RejectionReason.MISSING_NAME)
    report = DiscoveryReport((ACCEPTED, no, FAILED, SKIPPED))
    assert report.accepted == (ACCEPTED,)
    assert report.rejected == (no,)
    assert report.failed == (FAILED,)
    assert report.skipped == (SKIPPED,)
    assert report.summary() == (
        "degraded: 1 accepted, 1 rejected, 1 failed, 1 skipped, 0 name collisions"
    )


def test_summary_counts_apart_what_a_scan_passed_over() -> None:
    """Take no private or re-exported name for a rejection, in any summary (B12)."""
    passed = [rejected(one, is_explicit=False) for one in NOISE]
    one, two = (DiscoveryReport((ACCEPTED, *passed[:most])) for most in (1, 2))
    assert " 0 rejected, " in one.summary()
    assert one.summary().endswith(", 0 name collisions, and 1 name passed over")
    assert two.summary().endswith(", and 2 names passed over")


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ((), "empty"),
        ((AGENT,), "empty"),
        ((FAILED,), "empty"),
        ((ACCEPTED,), "healthy"),
        ((ACCEPTED, SKIPPED), "healthy"),
        (
            (ACCEPTED, rejected(RejectionReason.RE_EXPORTED, is_explicit=False)),
            "healthy",
        ),
        ((ACCEPTED, rejected(RejectionReason.PYDANTIC_MODEL)), "degraded"),
        ((ACCEPTED, FAILED), "degraded"),
    ],
    ids=["nothing", "agents", "faults", "tool", "skip", "passed over", "no", "fault"],
)
def test_status_tells_empty_from_degraded_from_healthy(
    findings: tuple[Finding, ...], status: str
) -> None:
    """Call it empty when no tool is left, whatever else there is (B3, B12)."""
    assert DiscoveryReport(findings).status == status


def test_reasons_are_counted_the_commonest_first() -> None:
    """Count rejections by their stable code."""
    model, name = RejectionReason.PYDANTIC_MODEL, RejectionReason.MISSING_NAME
    report = DiscoveryReport(tuple(map(rejected, (name, model, name, model, model))))
    assert list(report.reasons().items()) == [
        ("pydantic_model", 3),
        ("missing_name", 2),
    ]


def test_faults_are_what_somebody_has_to_mend() -> None:
    """Raise nothing for what a scan passed over, was vetoed, or came twice (B12)."""
    explicit = rejected(RejectionReason.MISSING_EXECUTE)
    findings = (
        FAILED,
        explicit,
        rejected(RejectionReason.MISSING_EXECUTE, is_explicit=False),
        rejected(RejectionReason.VETOED),
        rejected(RejectionReason.SAME_OBJECT),
        SKIPPED,
    )
    failed, invalid, duplicate = DiscoveryReport(findings, collisions({})).faults()
    assert isinstance(failed, PluginLoadError)
    assert (failed.origin, failed.traceback) == (THERE, "their lines")
    assert isinstance(invalid, InvalidToolError)
    assert invalid.reason == "missing_execute"
    assert isinstance(duplicate, DuplicateToolError)
    assert set(duplicate.origins) == {HERE, THERE}
    assert 'prefer.sum = "here"' in str(duplicate)


def test_collision_that_a_setting_decided_is_no_fault() -> None:
    """Believe the operator."""
    report = DiscoveryReport((ACCEPTED,), collisions({"sum": "there"}))
    assert report.faults() == ()
    assert report.status == "healthy"
    report.raise_faults()


def test_faults_are_raised_at_once_and_keep_their_type_when_split() -> None:
    """Raise one group that `except*` can take apart (S210)."""
    findings = (FAILED, rejected(RejectionReason.ILLEGAL_NAME))
    caught: list[ExceptionGroup[Exception]] = []
    try:
        DiscoveryReport(findings).raise_faults()
    except* PluginLoadError as group:
        caught.append(group)
    except* InvalidToolError as group:
        caught.append(group)
    assert [type(group) for group in caught] == [DiscoveryFailedError] * 2
    assert [len(group.exceptions) for group in caught] == [1, 1]
    assert "`toolkit doctor` shows the report" in str(caught[0])


def test_finding_becomes_json() -> None:
    """Write every outcome as plain JSON, with the reason's code and no traceback."""
    findings = (ACCEPTED, FAILED, SKIPPED, rejected(RejectionReason.ENUM))
    written = json.loads(json.dumps([one.as_dict() for one in findings]))
    assert [one["outcome"] for one in written] == [
        "accepted",
        "failed",
        "skipped",
        "rejected",
    ]
    assert written[0]["origin"] == "here 1.0 (toolkit.tools: sum = pkg:Sum)"
    assert [one["reason"] for one in written] == [None, None, None, "enum"]
    assert "their lines" not in json.dumps(written)


def test_findings_cannot_be_changed() -> None:
    """Freeze the report and what is in it."""
    with pytest.raises(FrozenInstanceError):
        ACCEPTED.name = "other"  # type: ignore[misc]  # that is the test
    with pytest.raises(FrozenInstanceError):
        DiscoveryReport().seconds = 1.0  # type: ignore[misc]  # that is the test


def test_candidate_of_a_scan_was_named_by_nobody() -> None:
    """Tell what somebody published by name from what a scan came across."""
    assert Candidate(3, HERE).is_explicit
    assert not Candidate(3, HERE, module="pkg", attribute="three").is_explicit
