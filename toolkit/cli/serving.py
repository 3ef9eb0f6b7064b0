"""`toolkit serve`: the chat backend, until it is told to stop."""

import secrets
from dataclasses import dataclass, replace

from toolkit.backend_settings import is_loopback
from toolkit.cli.session import Session
from toolkit.errors import ConfigurationError
from toolkit.settings import Settings
from toolkit.tokens import mint_token

_DEVELOPER = "developer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What was said on the command line. Immutable."""

    host: str | None
    port: int | None
    workers: int | None
    is_dev: bool


def serve_chat(opened: Session, asked: Serving) -> int:
    """Serve; return the exit status."""
    from toolkit.server.serve import (  # noqa: PLC0415 - the extra may be missing
        bind,
        check,
        serve,
        url_of,
    )

    settings = _with_choices(opened.settings, asked)
    if asked.is_dev:
        settings = _for_development(settings)
    check(settings)
    listening = bind(settings)
    opened.output.raw(url_of(listening, settings))
    if asked.is_dev:
        opened.output.raw(_token(settings))
    serve(settings, listening)
    return 0


def _with_choices(settings: Settings, asked: Serving) -> Settings:
    given = {"host": asked.host, "port": asked.port, "workers": asked.workers}
    chosen = {name: one for name, one in given.items() if one is not None}
    return replace(settings, server=replace(settings.server, **chosen))


def _for_development(settings: Settings) -> Settings:
    """Return them with a key that nobody else has; whoever reads the terminal gets in.

    Raises:
        ConfigurationError: Others than this machine could connect.
    """
    if not is_loopback(settings.server.host):
        remedy = "--dev serves this machine only; leave it out, and configure a key"
        raise ConfigurationError("server.host", settings.server.host, remedy)
    auth = replace(
        settings.auth,
        algorithms=("HS256",),
        secret=secrets.token_hex(32),
        public_key_file=None,
        jwks_file=None,
        jwks_url=None,
    )
    return replace(settings, auth=auth)


def _token(settings: Settings) -> str:
    """Return a token of somebody who may do what this machine's operator may."""
    scopes = {settings.server.admin_scope, *settings.dev_scopes}
    return mint_token(settings.auth, user_id=_DEVELOPER, scopes=scopes)
