"""`toolkit token`: a token for development, from the configured secret."""

from dataclasses import dataclass

from toolkit.cli.session import Session
from toolkit.tokens import mint_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whose token it shall be. Immutable."""

    user: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    email: str | None
    lifetime: float | None


def print_token(opened: Session, bearer: Bearer) -> int:
    """Print the token and nothing else; return the exit status."""
    token = mint_token(
        opened.settings.auth,
        user_id=bearer.user,
        scopes=bearer.scopes,
        roles=bearer.roles,
        email=bearer.email,
        lifetime=bearer.lifetime,
    )
    opened.output.raw(token)
    return 0
