"""Settings: typed, checked once, and every refusal says what would do."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import ConfigurationError
from toolkit.settings import REDACTED_FIELDS, Settings


def test_the_defaults_are_safe() -> None:
    """Bounded in time, in calls and in size; secrets are named (B29, B58)."""
    settings = Settings()
    assert settings.default_timeout == 30.0
    assert settings.max_concurrent_calls == 64
    assert settings.collisions == "refuse"
    assert {"password", "token", "api_key", "authorization"} <= REDACTED_FIELDS
    assert settings.redact_fields is not None


def test_settings_are_frozen_and_hold_nothing_that_changes() -> None:
    """One for a process, read by every user's system (S41)."""
    given = {"admin": ["costs:read"]}
    settings = Settings(role_scopes=given, prefer={"a": "b"})  # type: ignore[arg-type]  # lists are taken too
    given["admin"].append("more")
    assert settings.role_scopes == {"admin": frozenset({"costs:read"})}
    with pytest.raises(TypeError):
        settings.prefer["x"] = "y"  # type: ignore[index]  # that it cannot is the test
    for field in fields(settings):
        with pytest.raises(FrozenInstanceError):
            setattr(settings, field.name, None)
    assert isinstance(hash(settings), int)


WRONG: list[tuple[str, object]] = [
    ("allow", "pkg"),
    ("allow", [""]),
    ("deny", None),
    ("deny", {"a": 1}),
    ("deny", 7),
    ("modules", [7]),
    ("prefer", {"a": 1}),
    ("prefer", ["a"]),
    ("collisions", "first"),
    ("role_scopes", ["admin"]),
    ("role_scopes", {"admin": "costs:read"}),
    ("allow_tools", b"a"),
    ("default_timeout", 0),
    ("default_timeout", -1.0),
    ("default_timeout", float("nan")),
    ("default_timeout", True),
    ("default_timeout", "5"),
    ("max_concurrent_calls", 0),
    ("max_threads", 2.0),
    ("max_result_bytes", True),
    ("redact_fields", "token"),
    ("strict", 1),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=range(len(WRONG)))
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, value: Any) -> None:
    """Setting, value and remedy are in the error (B9, B11)."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**{name: value})
    assert caught.value.setting.partition(".")[0] == name
    assert caught.value.remedy.startswith(("give ", "use one of "))


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("ALLOW", "a, b,,", frozenset("ab")),
        ("DENY", "", frozenset()),
        ("MODULES", " m.a ", ("m.a",)),
        ("PREFER", '{"add": "pkg"}', {"add": "pkg"}),
        ("COLLISIONS", "qualify", "qualify"),
        ("ROLE_SCOPES", '{"r": ["s"]}', {"r": frozenset("s")}),
        ("DEFAULT_TIMEOUT", "2.5", 2.5),
        ("DEFAULT_TIMEOUT", "none", None),
        ("DEFAULT_TIMEOUT", "null", None),
        ("MAX_THREADS", "4", 4),
        ("STRICT", "true", True),
    ],
    ids=range(11),
)
def test_each_setting_can_come_from_the_environment(
    variable: str, text: str, expected: object
) -> None:
    """Lists by commas, mappings as JSON, the rest as it is."""
    settings = Settings.load(environ={f"TOOLKIT_{variable}": text})
    assert getattr(settings, variable.lower()) == expected


@pytest.mark.parametrize(
    ("variable", "text", "remedy"),
    [
        ("STRICT", "perhaps", "give true or false"),
        ("MAX_THREADS", "", "give a whole number"),
        ("DEFAULT_TIMEOUT", "soon", "give seconds above 0"),
        ("PREFER", "a=b", "a JSON object"),
    ],
)
def test_an_unreadable_variable_is_refused_by_name_with_what_it_takes(
    variable: str, text: str, remedy: str
) -> None:
    """The operator learns which variable it is and what its setting takes (B9)."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ={f"TOOLKIT_{variable}": text})
    assert caught.value.setting == f"TOOLKIT_{variable}"
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [("yes", True), ("1", True), ("On", True), ("no", False), ("0", False)],
)
def test_a_flag_can_be_said_in_the_usual_words(*, text: str, expected: bool) -> None:
    """Operators write flags in many ways."""
    assert Settings.load(environ={"TOOLKIT_STRICT": text}).strict is expected


@pytest.mark.parametrize("name", ["TOOLKIT_DENNY", "TOOLKIT_ALOW", "TOOLKIT_DENY_TOOL"])
def test_a_variable_with_a_slip_in_its_name_is_refused(name: str) -> None:
    """A wall that is misspelt does not stand, so it is not ignored (B9)."""
    with pytest.raises(ConfigurationError, match="did you mean TOOLKIT_"):
        Settings.load(environ={name: "x"})


def test_a_variable_of_a_plugin_is_left_alone() -> None:
    """Only what nearly names a setting is taken for a slip of one."""
    environ = {"TOOLKIT_DATA_ROOT": "a", "TOOLKIT_BILLING_EXPORT": "b"}
    assert Settings.load(environ=environ) == Settings()


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """A file for the deployment, a variable for the moment."""
    file = tmp_path / "own.toml"
    file.write_text('max_threads = 2\ndefault_timeout = "none"\n[prefer]\nadd = "a"\n')
    settings = Settings.load(file, environ={"TOOLKIT_MAX_THREADS": "3"})
    assert (settings.max_threads, settings.default_timeout) == (3, None)
    assert settings.prefer == {"add": "a"}
    by_variable = Settings.load(environ={"TOOLKIT_CONFIG": str(file)})
    assert by_variable.max_threads == 2


def test_the_working_directorys_file_is_read_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, or with an empty TOOLKIT_CONFIG, the defaults hold."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOOLKIT_CONFIG", raising=False)
    assert Settings.load(environ={"TOOLKIT_CONFIG": ""}) == Settings()
    (tmp_path / "toolkit.toml").write_text("strict = true\n")
    assert Settings.load(environ={}).strict
    assert Settings.load().strict


@pytest.mark.parametrize(
    ("content", "setting", "remedy"),
    [
        ("strikt = true", "strikt", "did you mean strict?"),
        ("zzz = 1", "zzz", "settings stand at the top level"),
        ("strict = ", "config", "name a readable TOML file"),
        (None, "config", "name a readable TOML file"),
        ("\ufffe".encode("utf-16"), "config", "name a readable TOML file"),
    ],
    ids=["near", "unknown", "no toml", "missing", "no utf-8"],
)
def test_a_faulty_file_is_refused_with_what_to_do(
    tmp_path: Path, content: str | bytes | None, setting: str, remedy: str
) -> None:
    """A misspelt setting is never ignored (B9)."""
    file = tmp_path / "own.toml"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file, environ={})
    assert caught.value.setting == setting
    assert remedy in caught.value.remedy
