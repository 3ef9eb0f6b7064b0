"""The parts of the server that need no socket: rates, sources, counts, logs."""

import json
import logging
import math
import time

import pytest

from toolkit import ConfigurationError
from toolkit.backend_settings import ServerSettings
from toolkit.errors import RegistryError, ToolNotFoundError
from toolkit.events import EventType, ToolEvent
from toolkit.metrics import registry_codes
from toolkit.server.connections import Rates, source_of
from toolkit.server.counts import Counts, Watch
from toolkit.server.logs import Json, Text, WithoutQueries, redact, tell_connection
from toolkit.server.serve import bind, config_for, url_of
from toolkit.settings import Settings

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_rate_is_a_bucket_that_fills_by_and_by() -> None:
    """A minute's worth may come at once; then it is as many as the time brings."""
    clock = Clock()
    rates = Rates(60, clock)
    assert [rates.take("ann") for _ in range(60)] == [0.0] * 60
    assert rates.take("ann") == pytest.approx(1.0)
    assert rates.take("bob") == 0.0
    clock.now += 1.0
    assert rates.take("ann") == 0.0
    assert rates.take("ann") > 0.0
    clock.now += 60.0
    assert [rates.take("ann") for _ in range(60)] == [0.0] * 60


def test_what_is_refused_makes_nobody_wait_longer() -> None:
    """Asking while one has to wait does not count."""
    clock = Clock()
    rates = Rates(1, clock)
    assert rates.take("ann") == 0.0
    for _ in range(100):
        assert rates.take("ann") == pytest.approx(60.0)
    clock.now += 60.0
    assert rates.take("ann") == 0.0


def test_name_that_asked_longest_ago_is_forgotten_first() -> None:
    """The table is bounded; who floods it with names loses only old ones (B47)."""
    rates = Rates(1, Clock(), max_names=2)
    for name in ("ann", "bob", "eve"):
        rates.take(name)
    assert len(rates) == 2
    assert rates.wait("ann") == 0.0
    assert rates.wait("eve") > 0.0


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", "unknown"),
        (None, "unknown"),
    ],
    ids=str,
)
def test_source_is_an_address_or_a_network_of_ipv6(
    host: str | None, source: str
) -> None:
    """Who has one address of an IPv6 network has them all: they count together."""
    assert source_of(host) == source


# --- counts ---------------------------------------------------------------------------


def test_rates_are_no_number_before_anything_happened() -> None:
    """Nothing is called a success that was not tried."""
    assert all(map(math.isnan, Counts().rates().values()))


def test_connection_rate_leaves_the_clients_own_faults_out() -> None:
    """A refused token is no failure of the server; a full server is (S143, B63)."""
    counts = Counts()
    for _ in range(3):
        counts.let_in()
    counts.refused("expired", is_ours=False)
    assert counts.rates()["connections"] == 100.0
    counts.refused("server_full", is_ours=True)
    assert counts.rates()["connections"] == 75.0
    assert counts.connections == {"ok": 3, "expired": 1, "server_full": 1}


def test_completion_rate_leaves_out_what_was_given_up() -> None:
    """Runs that fail lower the rate, runs that users cancel do not (S144)."""
    counts = Counts(Clock())
    for code in ("", "", "", "agent_failed", "run_cancelled"):
        counts.run_started("ann")
        counts.run_ended("ann", code, 1.0)
    assert counts.rates()["responses"] == 75.0
    assert counts.runs == {"ok": 3, "agent_failed": 1, "run_cancelled": 1}


def test_rate_of_several_users_counts_runs_that_overlap() -> None:
    """Only runs during which another user had one are counted there (S145)."""
    clock = Clock()
    counts = Counts(clock)
    counts.run_started("ann")
    counts.run_ended("ann", "", 1.0)
    assert math.isnan(counts.rates()["several_users"])
    counts.run_started("ann")
    counts.run_started("bob")
    clock.now += 2.0
    counts.run_ended("bob", "agent_failed", 2.0)
    clock.now += 1.0
    counts.run_ended("ann", "", 3.0)
    assert counts.rates()["several_users"] == 50.0
    clock.now += 10.0
    counts.run_started("ann")
    counts.run_ended("ann", "", 1.0)
    assert counts.rates()["several_users"] == 50.0


def test_run_that_resists_the_end_of_its_connection_is_lost() -> None:
    """What never says how it ended is counted as lost, and leaves no user behind."""
    counts = Counts(Clock())
    watch = Watch(counts, "ann")
    watch.run_started("ann")
    watch.cleaned_up(5.0, is_complete=False)
    assert counts.runs == {"lost": 1}
    assert counts.cleanups == {"incomplete": 1}
    assert counts._active == {}
    assert counts.rates()["cleanups"] == 0.0


def test_registry_errors_are_counted_by_thousand_requests() -> None:
    """Calls that fail at the registry count; a name that nobody has does not (S146)."""
    counts = Counts(Clock())
    for code in (min(registry_codes()), ToolNotFoundError.code, "tool_error"):
        counts(
            ToolEvent(
                type=EventType.TOOL_COMPLETED,
                call_id="c",
                tool="t",
                user_id="ann",
                session_id="s",
                thread_id="t",
                run_id="r",
                ok=False,
                error_code=code,
            )
        )
    assert counts.registry_errors == 1
    for _ in range(100):
        counts.let_in()
    assert counts.rates()["registry_errors"] == pytest.approx(10.0)


def test_error_that_names_the_metaclass_is_counted_by_itself() -> None:
    """The old failure has a number of its own, which is to stay at zero."""
    counts = Counts()
    counts.broken(RuntimeError("something else"))
    assert counts.metaclass_errors == 0
    text = "modelmetaclass already registered in ToolRegistry"  # it is counted
    counts.broken(RegistryError(text))
    assert (counts.metaclass_errors, counts.registry_errors) == (1, 1)


# --- logs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {TOKEN}",
        f"Sec-WebSocket-Protocol: toolkit.v1, bearer.{TOKEN}",
        f"verifying {TOKEN} failed",
        f"head {TOKEN[:60]} only",
        f"behind a.long-name.of.a.host.{TOKEN}",
        f"my-bearer.{TOKEN}",
        "authorization=bearer opaque-1234",
    ],
    ids=["header", "subprotocol", "bare", "head", "parts", "name", "opaque"],
)
def test_no_token_survives_in_a_log(text: str) -> None:
    """Tokens are blanked out of whatever is logged, also their beginnings (B62)."""
    shown = redact(text)
    assert "<token>" in shown
    for part in (*TOKEN.split("."), "opaque"):
        assert part not in shown


@pytest.mark.parametrize(
    "text", ["eyJ" * 20_000, "bearer" + " " * 60_000 + '"', "eyJaaaaa" + "." * 60_000]
)
def test_long_text_is_searched_for_tokens_in_no_time(text: str) -> None:
    """Anybody has addresses logged: twice the length costs twice the time (B62)."""
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 0.5


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    """Make a record as a logger does."""
    one = logging.getLogger("t").makeRecord(
        "t", logging.INFO, "file", 1, message, arguments, None, extra=extra
    )
    assert isinstance(one, logging.LogRecord)
    return one


def test_queries_are_cut_off_the_paths_that_are_logged() -> None:
    """An address is logged without its query: people put secrets there (B62)."""
    line = record('%s - "%s %s" %d', "127.0.0.1:1", "GET", "/ws?key=secret", 200)
    assert WithoutQueries().filter(line)
    assert line.getMessage() == '127.0.0.1:1 - "GET /ws" 200'
    plain = record("no arguments")
    assert WithoutQueries().filter(plain)
    assert plain.getMessage() == "no arguments"


async def test_logs_carry_the_connection_in_both_forms() -> None:
    """Each line of a connection names it, for machines and for people."""
    tell_connection("c1", "ann")
    line = json.loads(Json().format(record("it %s", "works", seconds=0.5)))
    assert line["message"] == "it works"
    assert (line["connection_id"], line["user_id"]) == ("c1", "ann")
    assert line["seconds"] == 0.5
    assert line["time"].endswith("Z")
    text = Text().format(record("it works"))
    assert text.endswith("it works [connection_id=c1 user_id=ann]")


def test_error_is_logged_with_its_traceback_on_one_line() -> None:
    """A traceback stays within its JSON object."""
    one = record("it broke")
    with pytest.raises(ValueError, match="eyJ") as caught:
        raise ValueError(TOKEN)
    one.exc_info = (caught.type, caught.value, caught.tb)
    text = Json().format(one)
    assert "\n" not in text
    assert json.loads(text)["error"].endswith("ValueError: <token>")


# --- uvicorn --------------------------------------------------------------------------


def test_uvicorn_is_told_the_operators_limits() -> None:
    """What the settings say is what the server enforces, also before our code runs."""
    server = ServerSettings(max_message_bytes=1000, ping_interval=3.0, drain_timeout=2)
    config = config_for(server, dict)
    assert config.ws_max_size == 1000
    assert config.ws_ping_interval == 3.0
    assert config.ws_per_message_deflate is False
    assert (config.timeout_graceful_shutdown or 0) >= 2.0 + server.cleanup_timeout


def test_port_that_is_taken_is_told_with_a_remedy() -> None:
    """Two servers cannot listen at one place; the second is told so."""
    first = bind(Settings(server=ServerSettings(port=0)))
    with first:
        port = first.getsockname()[1]
        taken = Settings(server=ServerSettings(port=port))
        assert url_of(first, taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigurationError, match="nobody can listen there"):
            bind(taken)


def test_runs_that_went_well_are_logged_once_for_a_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run that failed is logged at once, all of them are summed up at the end."""
    watch = Watch(Counts(), "ann")
    with caplog.at_level(logging.INFO, "toolkit"):
        for code in ("", "", "agent_failed"):
            watch.run_started("ann")
            watch.run_ended("ann", code, 0.1)
        assert caplog.messages == ["a run has ended: agent_failed"]
        watch.cleaned_up(0.1, is_complete=True)
    assert caplog.messages[1:] == ["all is cleaned up: complete"]
    assert vars(caplog.records[-1])["runs"] == 3
