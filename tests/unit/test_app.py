"""The composition root: settings → catalog → factory → systems, and true health."""

import re

import pytest

from tests.sample_tools import AdminWipe, Echo, Spend, Tally
from toolkit import (
    ConfigurationError,
    DiscoveryFailedError,
    Settings,
    Toolkit,
    ToolNotFoundError,
)
from toolkit.testing import RecordingSink, make_user

NOTHING_INSTALLED = Settings(allow=frozenset())
"""No installed distribution is looked into: these tests see what they hand in."""


async def test_everything_is_wired_once() -> None:
    """One call gives a catalog, a report and a factory that agree (S212)."""
    events = RecordingSink()
    with Toolkit(NOTHING_INSTALLED, objects=[Echo, Tally], sinks=[events]) as kit:
        assert kit.catalog.names() == ("echo", "tally")
        assert len(kit.report.accepted) == 2
        assert kit.factory.catalog is kit.catalog
        assert kit.settings is NOTHING_INSTALLED
        with kit.user(make_user()) as system:
            assert (await system.execute("echo", {"text": "a"})).unwrap() == "a"
    assert events.types() == ["tool_executing", "tool_completed"]


async def test_user_may_bring_tools_and_sinks_of_their_own() -> None:
    """They are this user's only."""
    events = RecordingSink()
    with Toolkit(NOTHING_INSTALLED, objects=[Echo]) as kit:
        ann = kit.user(make_user("ann"), tool_classes=[Tally], sinks=[events])
        with ann, kit.user(make_user("bob")) as bob:
            assert (await ann.execute("tally")).unwrap() == 1
            assert isinstance((await bob.execute("tally")).error, ToolNotFoundError)
    assert len(events.events) == 2


def test_health_is_that_of_what_is_there() -> None:
    """Healthy with tools, and every figure is read from its owner (B49)."""
    with Toolkit(NOTHING_INSTALLED, objects=[Echo]) as kit:
        with kit.user(make_user("ann")), kit.user(make_user("ann")):
            health = kit.health()
        assert health["status"] == "healthy"
        assert health["catalog"]["tools"] == 1
        assert health["systems"]["open_systems"] == 2
        assert health["systems"]["registry_count_per_user"] == 2
        assert health["threads"] == {"threads": 0, "idle": 0, "queued": 0, "late": 0}
        assert health["inline"] == {"late": 0, "blocked": 0}
        assert health["issues"] == []
        assert re.match(r"healthy: 1 accepted, 0 rejected", health["report"])
        assert kit.health()["systems"]["open_systems"] == 0


def test_tool_that_is_at_fault_degrades_the_health() -> None:
    """A schema that was handed in by name is somebody's to mend (S9, B12)."""
    with Toolkit(NOTHING_INSTALLED, objects=[Echo, Spend]) as kit:
        assert kit.health()["status"] == "degraded"
        assert kit.catalog.names() == ("echo",)


@pytest.mark.parametrize("objects", [[], [Spend]], ids=["none", "schemas only"])
def test_no_tools_is_loud(
    objects: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing survived: that is unhealthy and an error in the log, never silence
    (B3, B12).
    """
    with Toolkit(NOTHING_INSTALLED, objects=objects) as kit:
        assert kit.health()["status"] == "unhealthy"
    assert "empty" in caplog.text


def test_strict_settings_raise_all_faults_at_once() -> None:
    """Each fault is in the group, with its origin."""
    settings = Settings(allow=frozenset(), strict=True)
    with pytest.raises(DiscoveryFailedError) as caught:
        Toolkit(settings, objects=[Echo, Spend, Spend()])
    assert len(caught.value.exceptions) == 2


async def test_settings_of_the_operator_reach_every_system() -> None:
    """Roles, deny lists and limits are in force (B58)."""
    settings = Settings(
        allow=frozenset(),
        deny_tools=frozenset({"tally"}),
        role_scopes={"admin": frozenset({"admin:wipe"})},
        max_result_bytes=4,
    )
    with Toolkit(settings, objects=[Echo, Tally, AdminWipe]) as kit:
        with kit.user(make_user(roles={"admin"})) as system:
            names = [one.name for one in system.get_all_tools()]
            assert names == ["admin_wipe", "echo"]
            assert (await system.execute("echo", {"text": "abcdef"})).truncated
        with kit.user(make_user()) as system:
            assert [one.name for one in system.get_all_tools()] == ["echo"]


def test_settings_come_from_the_environment_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """Without settings, the operator's file and variables are read."""
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("TOOLKIT_ALLOW", "")
    monkeypatch.setenv("TOOLKIT_MAX_THREADS", "3")
    with Toolkit(objects=[Echo]) as kit:
        threads = kit.factory.executors.threads
        assert kit.settings.max_threads == threads.max_threads == 3
        assert kit.catalog.names() == ("echo",)
    monkeypatch.setenv("TOOLKIT_MAX_THREADS", "none")
    with pytest.raises(ConfigurationError, match="TOOLKIT_MAX_THREADS"):
        Toolkit()


async def test_two_toolkits_share_nothing() -> None:
    """There is no global behind them (S11, S41, B32)."""
    with (
        Toolkit(NOTHING_INSTALLED, objects=[Echo]) as one,
        Toolkit(NOTHING_INSTALLED, objects=[Tally]) as two,
    ):
        assert one.catalog.names() == ("echo",)
        assert two.catalog.names() == ("tally",)
        with one.user(make_user("ann")):
            assert two.factory.registry_count("ann") == 0
        one.close()
        with two.user(make_user()) as system:
            assert (await system.execute("tally")).ok
