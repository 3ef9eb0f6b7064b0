"""Who somebody is, as a verified token says."""

from dataclasses import KW_ONLY, dataclass
from hashlib import sha256
from uuid import uuid4

from toolkit.context import UserContext
from toolkit.errors import InvalidUserContextError


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified token says somebody is. Immutable.

    Attributes:
        user_id: Its ``sub``.
        email: Its ``email``, if it has one.
        scopes: Scope names.
        roles: Role names.
        expires_at: When it ends, in seconds since 1970.
        token_id: Its ``jti``, if it has one; not the token, and no secret.
    """

    user_id: str
    _: KW_ONLY
    email: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    expires_at: float
    token_id: str | None = None

    def context(self, session_id: str | None = None) -> UserContext:
        """Return a user context; an e-mail address is in its metadata.

        Args:
            session_id: The connection; minted when absent.

        Raises:
            InvalidUserContextError: A field identifies nobody.
        """
        return UserContext(
            self.user_id,
            session_id=uuid4().hex if session_id is None else session_id,
            scopes=self.scopes,
            roles=self.roles,
            metadata={} if self.email is None else {"email": self.email},
        )


def user_id_of_email(email: str) -> str:
    """Return the user id that stands for an e-mail address, the same every time.

    Case and spaces around it do not count. The address cannot be read from the id.

    Raises:
        InvalidUserContextError: It is no e-mail address.
    """
    address = email.strip().casefold()
    name, _, domain = address.rpartition("@")
    if not name or not domain or not address.isprintable() or " " in address:
        raise InvalidUserContextError("email", "is no e-mail address")
    return f"user-{sha256(address.encode()).hexdigest()[:32]}"
