"""`toolkit token`, run as people and programs run it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.test_cli import Shell
from toolkit.backend_settings import AuthSettings
from toolkit.errors import AuthenticationError, ConfigurationError
from toolkit.settings import Settings
from toolkit.testing import token_for
from toolkit.tokens import TokenVerifier, user_id_of_email

SECRET: Final = "5c0e7a9b1d3f48625c0e7a9b1d3f4862"
GIVEN: Final = {"TOOLKIT_AUTH__SECRET": SECRET}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(AuthSettings(secret=SECRET))


def test_token_prints_a_token_and_nothing_else(
    shell: Shell, verifier: TokenVerifier
) -> None:
    """Print one line that a server with the same secret believes (S58)."""
    done = shell.run(
        *("token", "--user", "ann", "--scope", "costs:read", "--scope", "data:read"),
        *("--role", "analyst", "--email", "ann@example.com", "--lifetime", "60"),
        **GIVEN,
    )
    assert (done.status, done.err) == (0, "")
    token, end = done.out.split("\n")
    assert end == ""
    identity = verifier.verify(token)
    assert (identity.user_id, identity.email) == ("ann", "ann@example.com")
    assert identity.scopes == {"costs:read", "data:read"}
    assert identity.roles == {"analyst"}
    assert 0 < identity.expires_at - time.time() <= 60


def test_token_takes_its_secret_from_the_file_too(
    shell: Shell, verifier: TokenVerifier
) -> None:
    """Sign for the issuer and audience of the deployment's own file."""
    (shell.home / "toolkit.toml").write_text(
        f'[auth]\nsecret = "{SECRET}"\naudience = "staging"\n'
    )
    token = shell.run_here("token", "--user", "ann").out.strip()
    staging = TokenVerifier(AuthSettings(secret=SECRET, audience="staging"))
    assert staging.verify(token).user_id == "ann"
    with pytest.raises(AuthenticationError, match="wrong_audience"):
        verifier.verify(token)


@pytest.mark.parametrize(
    ("extra", "arguments", "said"),
    [
        ({}, (), "this prints one: python -c"),
        ({"TOOLKIT_AUTH__SECRET": "hunter2"}, (), "give 32 bytes or more"),
        (
            {"TOOLKIT_AUTH__ALGORITHMS": "RS256", "TOOLKIT_AUTH__JWKS_FILE": "a"},
            (),
            "whoever has the private key",
        ),
        (GIVEN, ("--lifetime", "86401"), "give seconds up to auth.max_lifetime, 86400"),
        (GIVEN, ("--scope", "a b"), "holds a name with a space"),
        (GIVEN, ("--user", "undefined"), "is a placeholder"),
    ],
    ids=["no secret", "short", "asymmetric", "lifetime", "scope", "user"],
)
def test_token_refuses_with_the_remedy(
    shell: Shell, extra: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    """Print no token, say what would do, and repeat no secret (B62)."""
    done = shell.run_here("token", "--user", "ann", *arguments, **extra)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert "hunter2" not in done.err
    assert SECRET not in done.err


def test_the_helper_gives_a_real_token_by_address(verifier: TokenVerifier) -> None:
    """Be the same user for the same address, with these scopes (S104, S213)."""
    settings = Settings(auth=AuthSettings(secret=SECRET))
    token = token_for("Ann@example.com", settings, scopes=["data:read"], lifetime=5)
    identity = verifier.verify(token)
    assert identity.user_id == user_id_of_email("ann@example.com")
    assert identity.email == "Ann@example.com"
    assert identity.scopes == {"data:read"}
    with pytest.raises(ConfigurationError):
        token_for("ann@example.com", Settings())
