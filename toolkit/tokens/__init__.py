"""Tokens: verifying who somebody is, and minting tokens for development.

JSON Web Tokens by RFC 8725: the algorithms are fixed by the operator, each key is bound
to its algorithm, and the claims that bound a token are required. Nothing here is kept
of a token or of who had it, and no text of an error has any part of it. There is no
switch that makes this believe what it has not verified.
"""

from toolkit.tokens.identity import Identity, user_id_of_email
from toolkit.tokens.minting import mint_token
from toolkit.tokens.verifying import TokenVerifier, extract_user_id_from_token

__all__ = [
    "Identity",
    "TokenVerifier",
    "extract_user_id_from_token",
    "mint_token",
    "user_id_of_email",
]
