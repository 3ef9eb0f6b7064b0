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
    scopes: tuple[str, ...]


def serve_chat(opened: Session, asked: Serving) -> int:
    """Serve; return the exit status."""
    from toolkit.server.serve import (  # noqa: PLC0415 - the extra may be missing
        bind,
        check,
        serve,
        url_of,
    )

    settings = _with_choices(opened.settings, asked)
    if asked.scopes and not asked.is_dev:
        remedy = (
            "goes with --dev, whose token has these; see `toolkit token` for others"
        )
        raise ConfigurationError("--scope", asked.scopes[0], remedy)
    if asked.is_dev:
        settings = _for_development(settings)
    check(settings)
    listening = bind(settings)
    opened.output.raw(url_of(listening, settings))
    if asked.is_dev:
        opened.output.raw(_token(settings, asked.scopes))
    serve(settings, listening, opened.reload)
    return 0


def _with_choices(settings: Settings, asked: Serving) -> Settings:
    server = settings.server
    chosen = replace(
        server,
        host=server.host if asked.host is None else asked.host,
        port=server.port if asked.port is None else asked.port,
        workers=server.workers if asked.workers is None else asked.workers,
    )
    return replace(settings, server=chosen)


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


def _token(settings: Settings, scopes: tuple[str, ...]) -> str:
    """Return a token of somebody who may see the report, and has these scopes."""
    everything = {settings.server.admin_scope, *scopes}
    return mint_token(settings.auth, user_id=_DEVELOPER, scopes=everything)
