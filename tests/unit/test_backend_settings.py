"""The tables of the chat backend: checked as the rest, and no secret in any text."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any, Final

import pytest

from toolkit.backend_settings import (
    AgentSettings,
    AuthSettings,
    ModelSettings,
    ServerSettings,
    is_loopback,
)
from toolkit.errors import ConfigurationError
from toolkit.settings import Settings

SECRET: Final = "correct horse battery staple, and more of it"
SHORT: Final = "hunter2-hunter2"


def test_the_defaults_serve_this_machine_alone() -> None:
    """Listen at loopback, believe no token, and bound whatever a client can use."""
    settings = Settings()
    assert (settings.server.host, settings.server.workers) == ("127.0.0.1", 1)
    assert settings.server.max_message_bytes == 1_048_576
    assert not settings.auth.has_key
    assert settings.auth.max_lifetime == 86_400
    assert settings.agents == AgentSettings(model=None, default_agent="triage_agent")


def test_tables_are_frozen_and_can_be_hashed() -> None:
    """Let nobody change for one user what is set for all."""
    settings = Settings(auth=AuthSettings(secret=SECRET))
    for table in (settings.server, settings.auth, settings.agents):
        with pytest.raises(FrozenInstanceError):
            setattr(table, fields(table)[0].name, None)
    assert hash(settings) == hash(replace(settings))


WRONG: Final[list[tuple[type[Any], dict[str, Any], str]]] = [
    (ServerSettings, {"host": ""}, "server.host"),
    (ServerSettings, {"port": 65_536}, "server.port"),
    (ServerSettings, {"port": -1}, "server.port"),
    (ServerSettings, {"port": True}, "server.port"),
    (ServerSettings, {"port": "80"}, "server.port"),
    (ServerSettings, {"workers": 0}, "server.workers"),
    (
        ServerSettings,
        {"allowed_origins": "https://a.example"},
        "server.allowed_origins",
    ),
    (ServerSettings, {"allowed_origins": ["*"]}, "server.allowed_origins"),
    (ServerSettings, {"allowed_origins": ["null"]}, "server.allowed_origins"),
    (ServerSettings, {"allowed_origins": ["a.example"]}, "server.allowed_origins"),
    (ServerSettings, {"allowed_origins": ["https://"]}, "server.allowed_origins"),
    (ServerSettings, {"allowed_origins": ["https://a/b"]}, "server.allowed_origins"),
    (ServerSettings, {"heartbeat": 0}, "server.heartbeat"),
    (ServerSettings, {"heartbeat": "none"}, "server.heartbeat"),
    (ServerSettings, {"tls_certificate": "a.pem"}, "server.tls_key"),
    (ServerSettings, {"tls_key": "a.pem"}, "server.tls_certificate"),
    (ServerSettings, {"log_format": "xml"}, "server.log_format"),
    (ServerSettings, {"page": 1}, "server.page"),
    (AuthSettings, {"algorithms": []}, "auth.algorithms"),
    (AuthSettings, {"algorithms": ["none"]}, "auth.algorithms"),
    (AuthSettings, {"algorithms": ["HS256", "RS256"]}, "auth.algorithms"),
    (AuthSettings, {"algorithms": ["hs256"]}, "auth.algorithms"),
    (AuthSettings, {"secret": SECRET, "algorithms": ["RS256"]}, "auth.algorithms"),
    (AuthSettings, {"public_key_file": "a.pem"}, "auth.algorithms"),
    (AuthSettings, {"secret": SECRET, "jwks_file": "a"}, "auth.jwks_file"),
    (AuthSettings, {"secret": SHORT}, "auth.secret"),
    (AuthSettings, {"secret": 32 * "x", "algorithms": ["HS512"]}, "auth.secret"),
    (AuthSettings, {"secret": "-----BEGIN PUBLIC KEY-----" * 2}, "auth.secret"),
    (AuthSettings, {"secret": 7}, "auth.secret"),
    (AuthSettings, {"jwks_url": "http://keys.example/"}, "auth.jwks_url"),
    (AuthSettings, {"jwks_url": "https://ann:pw@keys.example/"}, "auth.jwks_url"),
    (AuthSettings, {"jwks_url": "file:///etc/keys"}, "auth.jwks_url"),
    (AuthSettings, {"jwks_url": "https://[::1"}, "auth.jwks_url"),
    (AuthSettings, {"leeway": -1}, "auth.leeway"),
    (AuthSettings, {"leeway": 301}, "auth.leeway"),
    (AuthSettings, {"leeway": float("nan")}, "auth.leeway"),
    (AuthSettings, {"leeway": True}, "auth.leeway"),
    (AuthSettings, {"max_lifetime": 0}, "auth.max_lifetime"),
    (AuthSettings, {"max_lifetime": 60}, "auth.token_lifetime"),
    (ModelSettings, {"name": ""}, "agents.model.name"),
    (ModelSettings, {"name": "m", "max_steps": 0}, "agents.model.max_steps"),
    *(
        (ModelSettings, {"name": "m", "base_url": url}, "agents.model.base_url")
        for url in (
            "no address",
            "ftp://x",
            "http://[::1",
            "http://u:p@x",
            "http://x:y",
        )
    ),
    (AgentSettings, {"model": {}}, "agents.model.name"),
    (AgentSettings, {"model": "m"}, "agents.model"),
    (AgentSettings, {"default_agent": ""}, "agents.default_agent"),
]


@pytest.mark.parametrize(("table", "given", "setting"), WRONG, ids=range(len(WRONG)))
def test_a_value_that_does_not_fit_is_refused_by_its_full_name(
    table: type[Any], given: dict[str, Any], setting: str
) -> None:
    """Name the setting with its table, and say what would do."""
    with pytest.raises(ConfigurationError) as caught:
        table(**given)
    assert caught.value.setting == setting
    assert "give " in caught.value.remedy or "use one of" in caught.value.remedy


RIGHT: Final[list[tuple[type[Any], dict[str, Any]]]] = [
    (ServerSettings, {"port": 0}),
    (ServerSettings, {"allowed_origins": ["https://a.example:8443", "http://b"]}),
    (ServerSettings, {"tls_certificate": "a.pem", "tls_key": "b.pem"}),
    (AuthSettings, {"secret": 64 * "x", "algorithms": ["HS256", "HS512"]}),
    (AuthSettings, {"public_key_file": "a.pem", "algorithms": ["EdDSA", "ES256"]}),
    (AuthSettings, {"jwks_url": "https://a.example/", "algorithms": ["RS256"]}),
    (AuthSettings, {"jwks_url": "http://[::1]:9/", "algorithms": ["RS256"]}),
    (AuthSettings, {"jwks_url": "http://localhost/", "algorithms": ["RS256"]}),
    (AuthSettings, {"leeway": 0}),
    (AgentSettings, {"model": {"name": "m", "api_key": "k"}}),
]


@pytest.mark.parametrize(("table", "given"), RIGHT, ids=range(len(RIGHT)))
def test_a_value_that_fits_is_taken_as_it_was_given(
    table: type[Any], given: dict[str, Any]
) -> None:
    """Refuse nothing that an operator may rightly want."""
    made = table(**given)
    assert table(**{name: getattr(made, name) for name in given}) == made


def test_only_this_machine_is_loopback() -> None:
    """Go by the address, and by the one name that is reserved for it."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.0.0.1", "0.0.0.0", "localhost.example")))  # noqa: S104 - it binds nothing


def test_variables_lay_single_settings_over_the_tables_of_the_file(
    tmp_path: Path,
) -> None:
    """Keep what the variable does not name, also two tables deep."""
    file = tmp_path / "own.toml"
    file.write_text(
        '[server]\nport = 9000\nhost = "::1"\n'
        '[agents.model]\nname = "a"\nmax_steps = 3\n'
    )
    environ = {
        "TOOLKIT_SERVER__PORT": "9001",
        "TOOLKIT_SERVER__ALLOWED_ORIGINS": "https://A.example, http://b",
        "TOOLKIT_SERVER__PAGE": "off",
        "TOOLKIT_AUTH__SECRET": f" {SECRET} ",
        "TOOLKIT_AGENTS__MODEL__NAME": "b",
    }
    settings = Settings.load(file, environ=environ)
    assert (settings.server.port, settings.server.host) == (9001, "::1")
    assert settings.server.allowed_origins == {"https://a.example", "http://b"}
    assert not settings.server.page
    assert settings.auth.secret == SECRET
    assert settings.agents.model == ModelSettings(name="b", max_steps=3)


def test_a_table_of_the_caller_is_laid_under_the_files(tmp_path: Path) -> None:
    """Let defaults of the embedding program hold where nothing else is said."""
    file = tmp_path / "own.toml"
    file.write_text("[server]\nport = 9000\n")
    below = ServerSettings(host="::1", port=1)
    settings = Settings.load(file, environ={}, server=below)
    assert settings.server == ServerSettings(host="::1", port=9000)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("TOOLKIT_SERVER__PRT", "TOOLKIT_SERVER__PORT"),
        ("TOOLKIT_SERVER_PORT", "TOOLKIT_SERVER__PORT"),
        ("TOOLKIT_SERVER__ZZZZ", "TOOLKIT_SERVER__"),
        ("TOOLKIT_SERVER", "TOOLKIT_SERVER__"),
        ("TOOLKIT_AUTH__SECRT", "TOOLKIT_AUTH__SECRET"),
        ("TOOLKIT_AUTH_SECRET", "TOOLKIT_AUTH__SECRET"),
        ("TOOLKIT_AUHT__SECRET", "TOOLKIT_AUTH__SECRET"),
        ("TOOLKIT_AGENTS__MODEL_NAME", "TOOLKIT_AGENTS__MODEL__NAME"),
        ("TOOLKIT_AGENTS__MODEL__API_KY", "TOOLKIT_AGENTS__MODEL__API_KEY"),
    ],
)
def test_a_slip_in_a_tables_variable_is_refused(variable: str, meant: str) -> None:
    """Ignore no misspelt wall, and repeat no secret that stands in one (B9)."""
    with pytest.raises(ConfigurationError, match=f"did you mean {meant}") as caught:
        Settings.load(environ={variable: SHORT})
    assert caught.value.setting == variable
    is_secret = "AUTH" in meant or "KEY" in meant
    assert is_secret == (SHORT not in repr(caught.value))


@pytest.mark.parametrize(
    ("content", "setting", "remedy"),
    [
        ("[server]\nprt = 1", "server.prt", "did you mean port?"),
        ("[server]\nzzz = 1", "server.zzz", "settings stand in [server]: host,"),
        (f"[auth]\nsecrt = '{SHORT}'", "auth.secrt", "did you mean secret?"),
        (f"auth = '{SHORT}'", "auth", "give a table [auth]"),
        (f"[auth]\nsecret = '{SHORT}'", "auth.secret", "give 32 bytes or more"),
        (f"[auth]\nsecret = ['{SHORT}']", "auth.secret", "give a text"),
        ("[agents.model]\nmax_steps = 1", "agents.model.name", "give a text"),
    ],
    ids=range(7),
)
def test_a_faulty_table_of_the_file_is_refused_without_its_secrets(
    tmp_path: Path, content: str, setting: str, remedy: str
) -> None:
    """Say where and what, and keep a secret out of text, fields and repr (B9, B62)."""
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file, environ={"TOOLKIT_SERVER__PORT": "1"})
    assert caught.value.setting == setting
    assert remedy in caught.value.remedy
    assert SHORT not in f"{caught.value}{caught.value!r}{pickle.dumps(caught.value)!r}"


def test_no_repr_of_settings_has_a_secret() -> None:
    """Leave secrets and keys out when settings are printed or logged (B62)."""
    model = ModelSettings(name="m", api_key="key-of-the-provider")
    settings = Settings(
        auth=AuthSettings(secret=SECRET), agents=AgentSettings(model=model)
    )
    assert "issuer" in repr(settings)
    assert SECRET not in repr(settings)
    assert "key-of-the-provider" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "text", "remedy"),
    [
        ("TOOLKIT_SERVER__PORT", "http", "give a port from 1"),
        ("TOOLKIT_SERVER__PAGE", "perhaps", "give true or false"),
        ("TOOLKIT_AUTH__LEEWAY", "some", "give seconds from 0 to 300"),
    ],
)
def test_an_unreadable_variable_of_a_table_is_refused_by_its_name(
    variable: str, text: str, remedy: str
) -> None:
    """Name the variable that holds what cannot be read (B9)."""
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        Settings.load(environ={variable: text})
    assert caught.value.setting == variable


def test_a_secret_of_digits_stays_a_text() -> None:
    """Read no text setting as JSON: a secret may look like a number."""
    settings = Settings.load(environ={"TOOLKIT_AUTH__SECRET": 32 * "7"})
    assert settings.auth.secret == 32 * "7"
