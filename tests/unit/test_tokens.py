"""Tokens: each way to forge or bend one is refused, and none is repeated anywhere."""

import asyncio
import base64
import hmac
import json
import logging
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.unit.test_light_import import loaded_by
from toolkit.backend_settings import AuthSettings
from toolkit.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidUserContextError,
    KeySourceError,
)
from toolkit.settings import Settings
from toolkit.tokens import (
    Identity,
    TokenVerifier,
    extract_user_id_from_token,
    mint_token,
    user_id_of_email,
)
from toolkit.tokens.keys import KEYS_GRACE, KEYS_LIFESPAN, REFRESH_INTERVAL
from toolkit.tokens.verifying import MAX_TOKEN_BYTES

SECRET: Final = "8b1f0e6c5d2a49f7b3c8e1d4a7f0965283bd"
SETTINGS: Final = AuthSettings(secret=SECRET)
Claims = dict[str, Any]


class In(float):
    """Seconds from the moment when a token is made."""


def claims(**other: Any) -> Claims:
    """Return what a good token says, but for what is given; None leaves one out."""
    now = int(time.time())
    good = {"sub": "ann", "iss": "toolkit", "aud": "toolkit", "iat": In(0)}
    both = {**good, "exp": In(600), **other}
    return {
        name: now + float(value) if isinstance(value, In) else value
        for name, value in both.items()
        if value is not None
    }


def signed(
    key: Any = SECRET, algorithm: str = "HS256", head: Any = None, **other: Any
) -> str:
    """Sign a token that is good, but for what is given."""
    headers = {"typ": "at+jwt", **(head or {})}
    return jwt.encode(claims(**other), key, algorithm=algorithm, headers=headers)


def part(value: object) -> str:
    """Return a segment of a token, made by hand."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(head: object, body: object, key: bytes = SECRET.encode()) -> str:
    """Sign whatever it is with HS256, as no library would."""
    text = f"{part(head)}.{part(body)}"
    return f"{text}.{part(hmac.digest(key, text.encode(), 'sha256'))}"


@cache
def rsa_key(size: int = 2048) -> rsa.RSAPrivateKey:
    """Make an RSA key; it takes a moment, so each size once."""
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def public_pem(key: Any) -> str:
    """Return the public half as PEM."""
    form = PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(Encoding.PEM, form).decode())


def private_pem(key: Any) -> str:
    """Return the key as PEM."""
    form = PrivateFormat.PKCS8
    return str(key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())


def refusal(token: object, settings: AuthSettings = SETTINGS) -> str:
    """Return the reason for which a token is refused, after looking for leaks."""
    with pytest.raises(AuthenticationError) as caught:
        TokenVerifier(settings).verify(token)
    nothing_leaked(token, caught.value)
    return caught.value.reason


def nothing_leaked(token: object, error: Exception) -> None:
    """Find no part of a token in anything that may be printed of an error."""
    printed = "".join(traceback.format_exception(error))
    printed += f"{error!r}{error.args}{pickle.dumps(error)!r}"
    parts = [one for one in str(token).split(".") if len(one) > 8]
    assert [one for one in parts if one[:12] in printed] == []


def test_a_good_token_says_who_somebody_is() -> None:
    """Take the id, the address, scopes and roles from what was verified (S58)."""
    token = signed(
        email="ann@example.com", scope="a:read b", roles=["admin"], jti="7", exp=2e9
    )
    settings = AuthSettings(secret=SECRET, max_lifetime=1e9)
    identity = TokenVerifier(settings).verify(token)
    assert identity == Identity(
        "ann",
        email="ann@example.com",
        scopes=frozenset({"a:read", "b"}),
        roles=frozenset({"admin"}),
        expires_at=2e9,
        token_id="7",
    )
    context = identity.context("connection-1")
    assert (context.user_id, context.session_id) == ("ann", "connection-1")
    assert context.scopes == {"a:read", "b"}
    assert context.metadata == {"email": "ann@example.com"}
    assert identity.context().session_id != identity.context().session_id


def test_the_users_id_comes_from_a_verified_token_only() -> None:
    """Read no id from a token whose signature does not hold (S127)."""
    verifier = TokenVerifier(SETTINGS)
    assert extract_user_id_from_token(signed(sub="ann"), verifier) == "ann"
    with pytest.raises(AuthenticationError, match="bad_signature"):
        extract_user_id_from_token(signed("x" * 32, sub="ann"), verifier)


GOOD_HEAD: Final = {"alg": "HS256", "typ": "JWT"}
TAMPERED: Final[dict[str, tuple[Callable[[], object], str]]] = {
    "no token": (lambda: None, "missing"),
    "empty": (lambda: "", "missing"),
    "bytes": (lambda: signed().encode(), "malformed"),
    "no token at all": (lambda: "swordfish", "malformed"),
    "two parts": (lambda: signed().rpartition(".")[0], "malformed"),
    "four parts": (lambda: signed() + ".e30", "malformed"),
    "five parts": (lambda: ".".join([*signed().split("."), "e30", "e30"]), "malformed"),
    "with Bearer": (lambda: f"Bearer {signed()}", "malformed"),
    "not ascii": (lambda: signed() + "\u00e9", "malformed"),
    "surrogate": (lambda: signed() + "\udc80", "malformed"),
    "huge": (lambda: signed(pad="x" * MAX_TOKEN_BYTES), "malformed"),
    "header no object": (lambda: by_hand(["HS256"], claims()), "malformed"),
    "header no json": (lambda: by_hand(b"{", claims()), "malformed"),
    "deep header": (lambda: by_hand(b"[" * 10_000, claims()), "malformed"),
    "body no object": (lambda: by_hand(GOOD_HEAD, [1]), "malformed"),
    "body no json": (lambda: by_hand(GOOD_HEAD, b"{"), "malformed"),
    "none": (lambda: signed(None, "none"), "wrong_algorithm"),
    "None": (
        lambda: by_hand({**GOOD_HEAD, "alg": "None"}, claims()),
        "wrong_algorithm",
    ),
    "no alg": (lambda: by_hand({"typ": "JWT"}, claims()), "wrong_algorithm"),
    "alg a list": (lambda: by_hand({"alg": ["HS256"]}, claims()), "wrong_algorithm"),
    "other alg": (lambda: signed(SECRET * 2, "HS512"), "wrong_algorithm"),
    "RS256": (lambda: signed(rsa_key(), "RS256"), "wrong_algorithm"),
    "wrong key": (lambda: signed("x" * 32), "bad_signature"),
    "no signature": (lambda: signed().rpartition(".")[0] + ".", "bad_signature"),
    "signature of another": (lambda: with_body_of(sub="bob"), "bad_signature"),
    "crit": (
        lambda: by_hand({**GOOD_HEAD, "crit": ["b64"], "b64": True}, claims()),
        "malformed",
    ),
    "crit empty": (lambda: by_hand({**GOOD_HEAD, "crit": []}, claims()), "malformed"),
    "b64": (lambda: by_hand({**GOOD_HEAD, "b64": False}, claims()), "malformed"),
    "kid a number": (lambda: by_hand({**GOOD_HEAD, "kid": 1}, claims()), "malformed"),
    "no typ": (lambda: by_hand({"alg": "HS256"}, claims()), "wrong_type"),
    "ID token": (lambda: signed(head={"typ": "id+jwt"}), "wrong_type"),
    "logout token": (lambda: signed(head={"typ": "logout+jwt"}), "wrong_type"),
    "typ a list": (lambda: by_hand({"alg": "HS256", "typ": ["JWT"]}, {}), "wrong_type"),
    "no exp": (lambda: signed(exp=None), "missing_claim"),
    "no iat": (lambda: signed(iat=None), "missing_claim"),
    "no sub": (lambda: signed(sub=None), "missing_claim"),
    "no aud": (lambda: signed(aud=None), "missing_claim"),
    "no iss": (lambda: signed(iss=None), "missing_claim"),
    "expired": (lambda: signed(iat=In(-700), exp=In(-60)), "expired"),
    "exp now, no leeway left": (lambda: signed(exp=In(-11)), "expired"),
    "exp a text": (lambda: signed(exp="2000000000"), "malformed"),
    "exp true": (lambda: signed(iat=0, exp=True), "expired"),
    "exp a list": (lambda: signed(exp=[2_000_000_000]), "malformed"),
    "exp infinite": (lambda: signed(exp=float("inf")), "malformed"),
    "exp no number": (lambda: signed(exp=float("nan")), "malformed"),
    "iat a text": (lambda: signed(iat="1700000000"), "malformed"),
    "iat true": (lambda: signed(iat=True), "malformed"),
    "iat no number": (lambda: signed(iat=float("nan")), "malformed"),
    "not yet": (lambda: signed(nbf=In(300)), "not_yet_valid"),
    "nbf a list": (lambda: signed(nbf=[]), "malformed"),
    "from the future": (lambda: signed(iat=In(300), exp=In(900)), "not_yet_valid"),
    "ten years": (lambda: signed(exp=In(315_360_000)), "lives_too_long"),
    "a day and more": (lambda: signed(exp=In(86_490)), "lives_too_long"),
    "born long ago": (lambda: signed(iat=1), "lives_too_long"),
    "other audience": (lambda: signed(aud="elsewhere"), "wrong_audience"),
    "like audience": (lambda: signed(aud="toolkit-2"), "wrong_audience"),
    "audience an object": (lambda: signed(aud={"toolkit": 1}), "wrong_audience"),
    "audiences and a number": (lambda: signed(aud=["toolkit", 1]), "wrong_audience"),
    "other issuer": (lambda: signed(iss="elsewhere"), "wrong_issuer"),
    "issuer a list": (
        lambda: by_hand(GOOD_HEAD, claims(iss=["toolkit"])),
        "wrong_issuer",
    ),
    "sub empty": (lambda: signed(sub=""), "bad_subject"),
    "sub a number": (lambda: signed(sub=7), "bad_subject"),
    "sub a placeholder": (lambda: signed(sub="undefined"), "bad_subject"),
    "sub with a line": (lambda: signed(sub="ann\nbob"), "bad_subject"),
    "sub too long": (lambda: signed(sub="a" * 257), "bad_subject"),
    "jti a number": (lambda: signed(jti=7), "malformed"),
    "scope a number": (lambda: signed(scope=7), "malformed"),
    "scope an object": (lambda: signed(scope={"admin": 1}), "malformed"),
    "scopes not texts": (lambda: signed(scope=["a", 1]), "malformed"),
    "roles not texts": (lambda: signed(roles=[["admin"]]), "malformed"),
}


def with_body_of(**other: Any) -> str:
    """Return a token with its body exchanged."""
    head, _, signature = signed().split(".")
    return f"{head}.{signed(**other).split('.')[1]}.{signature}"


@pytest.mark.parametrize("way", TAMPERED)
def test_a_tampered_token_is_refused_with_its_reason(way: str) -> None:
    """Refuse each by its code, as the client's fault, with no part of it (B62, B64)."""
    make, reason = TAMPERED[way]
    assert refusal(make()) == reason


def test_a_flipped_bit_anywhere_is_refused() -> None:
    """Trust nothing of a token that differs in one character."""
    token = signed()
    verifier = TokenVerifier(SETTINGS)
    for place in range(0, len(token), 3):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(AuthenticationError):
            verifier.verify(token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize(
    "good",
    [
        {"head": {"typ": "application/AT+JWT"}},
        {"head": {"typ": "jwt"}},
        {"head": {"kid": "of no matter"}},
        {"aud": ["elsewhere", "toolkit"]},
        {"iat": In(5)},
        {"exp": In(-5)},
        {"iat": In(0.5), "exp": In(60.25)},
        {"nbf": In(0)},
        {"scope": None, "roles": "reader writer"},
        {"email": ["no text"]},
        {"unknown": {"deep": [1]}},
    ],
    ids=range(11),
)
def test_what_a_token_may_well_say_is_taken(good: dict[str, Any]) -> None:
    """Refuse nothing that the rules allow."""
    head = good.pop("head", None)
    assert TokenVerifier(SETTINGS).verify(signed(head=head, **good)).user_id == "ann"


def test_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    """Fetch no ``jku`` and believe no ``jwk`` of a header (RFC 8725, section 3.10)."""
    own = rsa_key()
    with server() as keys:
        head = {
            "jku": keys.url,
            "x5u": keys.url,
            "jwk": public_jwk(own, "own"),
            "kid": "own",
        }
        assert refusal(signed(own, "RS256", head)) == "wrong_algorithm"
        assert refusal(signed("y" * 32, head=head)) == "bad_signature"
        keys.publish("theirs", ec.generate_private_key(ec.SECP256R1()))
        settings = AuthSettings(jwks_url=keys.url, algorithms=("RS256", "ES256"))
        assert refusal(signed(own, "RS256", head), settings) == "unknown_key"
    assert keys.requests == 1


def test_identities_are_never_mixed_up() -> None:
    """Keep no identity: two tokens in turn and at once give each their own (B38)."""
    verifier = TokenVerifier(SETTINGS)
    tokens = {name: signed(sub=name) for name in ("ann", "bob")}
    for _ in range(3):
        found = {name: verifier.verify(one).user_id for name, one in tokens.items()}
        assert found == {"ann": "ann", "bob": "bob"}


def test_bad_tokens_lock_nobody_out() -> None:
    """Verify the next good token after a thousand bad ones (B63)."""
    verifier = TokenVerifier(SETTINGS)
    bad = signed("x" * 32)
    for _ in range(1_000):
        with pytest.raises(AuthenticationError):
            verifier.verify(bad)
    assert verifier.verify(signed()).user_id == "ann"


def test_no_variable_and_no_claim_goes_around_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Have no demo mode, no test header and no trusted environment (B61)."""
    for name in ("DEMO_MODE", "E2E_TESTING", "ENVIRONMENT", "TESTING", "BYPASS_AUTH"):
        monkeypatch.setenv(name, "true")
    head = {"x-e2e-test": True, "e2e": "1"}
    forged = by_hand({**GOOD_HEAD, **head}, claims(e2e=True, demo=True), b"x" * 32)
    assert refusal(forged) == "bad_signature"


def test_nothing_is_logged_of_a_token(caplog: pytest.LogCaptureFixture) -> None:
    """Write no record at all, whatever becomes of a token (B62)."""
    with caplog.at_level(logging.DEBUG):
        TokenVerifier(SETTINGS).verify(signed())
        assert refusal(signed("x" * 32)) == "bad_signature"
    assert caplog.records == []
    assert SECRET not in repr(TokenVerifier(SETTINGS))


# --- a public key in a file ----------------------------------------------------------

PAIRS: Final[dict[str, Callable[[], Any]]] = {
    "RS256": rsa_key,
    "RS384": rsa_key,
    "RS512": rsa_key,
    "PS256": rsa_key,
    "PS384": rsa_key,
    "PS512": rsa_key,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def in_file(tmp_path: Path, text: str, *algorithms: str) -> AuthSettings:
    """Return settings with a public key file of this content."""
    file = tmp_path / "key.pem"
    file.write_text(text)
    return AuthSettings(public_key_file=str(file), algorithms=algorithms)


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_public_key_in_a_file_verifies_its_algorithm(
    tmp_path: Path, algorithm: str
) -> None:
    """Take the right signature, and no other key's."""
    key = PAIRS[algorithm]()
    settings = in_file(tmp_path, public_pem(key), algorithm)
    assert TokenVerifier(settings).verify(signed(key, algorithm)).user_id == "ann"
    other = rsa_key(3072) if key is rsa_key() else PAIRS[algorithm]()
    assert refusal(signed(other, algorithm), settings) == "bad_signature"


def test_a_public_key_is_never_a_secret(tmp_path: Path) -> None:
    """Refuse HS256 signed with the public key's text (RFC 8725, section 2.1)."""
    text = public_pem(rsa_key())
    settings = in_file(tmp_path, text, "RS256")
    forged = by_hand(GOOD_HEAD, claims(), text.encode())
    assert refusal(forged, settings) == "wrong_algorithm"


def test_a_key_of_one_algorithm_verifies_no_other(tmp_path: Path) -> None:
    """Take RS256 for a verifier of RS256, and PS256 by the same key not."""
    settings = in_file(tmp_path, public_pem(rsa_key()), "RS256")
    assert refusal(signed(rsa_key(), "PS256"), settings) == "wrong_algorithm"


@pytest.mark.parametrize(
    ("content", "algorithms", "setting"),
    [
        (lambda: public_pem(rsa_key()), ["ES256"], "auth.algorithms"),
        (lambda: public_pem(PAIRS["ES384"]()), ["ES256"], "auth.algorithms"),
        (lambda: public_pem(PAIRS["ES256"]()), ["EdDSA"], "auth.algorithms"),
        (lambda: public_pem(rsa_key(1024)), ["RS256"], "auth.public_key_file"),
        (lambda: private_pem(rsa_key()), ["RS256"], "auth.public_key_file"),
        (lambda: "no key", ["RS256"], "auth.public_key_file"),
        (lambda: "-----BEGIN PUBLIC KEY-----\nx", ["RS256"], "auth.algorithms"),
        (None, ["RS256"], "auth.public_key_file"),
    ],
    ids=["kind", "curve", "edwards", "weak", "private", "none", "broken", "missing"],
)
def test_a_key_that_does_not_do_is_refused_at_the_start(
    tmp_path: Path, content: Any, algorithms: list[str], setting: str
) -> None:
    """Tell the operator when the service starts, not the first user."""
    settings = in_file(tmp_path, content() if content else "", *algorithms)
    if content is None:
        (tmp_path / "key.pem").unlink()
    with pytest.raises(ConfigurationError, match=r"give|name") as caught:
        TokenVerifier(settings)
    assert caught.value.setting == setting


@pytest.mark.parametrize("absent", ["jwt", "cryptography"])
def test_without_the_extra_the_error_says_what_to_install(absent: str) -> None:
    """Name the extra, whether the library is missing or only its cryptography."""
    said = loaded_by(
        f"""
sys.modules[{absent!r}] = None
sys.path += {sys.path!r}
from toolkit.backend_settings import AuthSettings
from toolkit.errors import MissingExtraError
from toolkit.tokens import TokenVerifier
try:
    TokenVerifier(AuthSettings(algorithms=("RS256",), public_key_file="a.pem"))
except MissingExtraError as error:
    print(error)
"""
    )
    assert "'toolkit-core[server]'" in said


def test_no_key_is_no_verifier() -> None:
    """Refuse to start rather than to believe everybody (B61)."""
    with pytest.raises(ConfigurationError, match="give a secret") as caught:
        TokenVerifier(AuthSettings())
    assert caught.value.setting == "auth.secret"


# --- published keys ------------------------------------------------------------------


def public_jwk(key: Any, kid: str, **other: Any) -> dict[str, Any]:
    """Return the public half as a JSON Web Key."""
    kinds = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    algorithm: Any = next(two for one, two in kinds.items() if isinstance(key, one))
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **other}


class KeyServer:
    """A real server on this machine that publishes keys. Lives for one test."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.requests = 0
        self.url = ""
        self.hold: threading.Event | None = None
        self.asked = threading.Event()

    def publish(self, kid: str, key: Any, **other: Any) -> None:
        """Add a key to the set."""
        self.entries.append(public_jwk(key, kid, **other))

    def answer(self) -> bytes:
        """Return what it serves now."""
        self.requests += 1
        if self.hold is not None:
            self.asked.set()
            assert self.hold.wait(5)
        return self.body or json.dumps({"keys": self.entries}).encode()


@contextmanager
def server() -> Iterator[KeyServer]:
    """Serve keys over real HTTP at a free port of this machine."""
    keys = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = keys.answer()
            self.send_response(keys.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - theirs
            assert format

    http = HTTPServer(("127.0.0.1", 0), Handler)
    keys.url = f"http://127.0.0.1:{http.server_port}/keys.json"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield keys
    finally:
        http.shutdown()
        thread.join(5)
        http.server_close()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def published(keys: KeyServer, *algorithms: str) -> tuple[TokenVerifier, Clock]:
    """Return a verifier by published keys, and its clock."""
    clock = Clock()
    settings = AuthSettings(jwks_url=keys.url, algorithms=algorithms or ("ES256",))
    return TokenVerifier(settings, clock=clock), clock


def fresh() -> Any:
    """Make a key; elliptic curves are the quickest."""
    return ec.generate_private_key(ec.SECP256R1())


def with_kid(kid: str | None, key: Any, algorithm: str = "ES256") -> str:
    """Sign a token that names its key."""
    return signed(key, algorithm, {} if kid is None else {"kid": kid})


def reason_of(verifier: TokenVerifier, token: str) -> str:
    """Return the reason for which a verifier refuses a token."""
    with pytest.raises(AuthenticationError) as caught:
        verifier.verify(token)
    nothing_leaked(token, caught.value)
    return caught.value.reason


def test_keys_rotate_without_a_restart() -> None:
    """Take a new key when it is first named, keep the old one while it is published."""
    old, new = fresh(), fresh()
    with server() as keys:
        keys.publish("old", old)
        verifier, clock = published(keys)
        assert verifier.verify(with_kid("old", old)).user_id == "ann"
        keys.publish("new", new)
        assert reason_of(verifier, with_kid("new", new)) == "unknown_key"
        clock.now += REFRESH_INTERVAL
        assert verifier.verify(with_kid("new", new)).user_id == "ann"
        assert verifier.verify(with_kid("old", old)).user_id == "ann"
        keys.entries.pop(0)
        clock.now += KEYS_LIFESPAN
        assert reason_of(verifier, with_kid("old", old)) == "unknown_key"
        assert verifier.verify(with_kid("new", new)).user_id == "ann"
        assert keys.requests == 3


def test_unknown_keys_do_not_make_us_ask_again_and_again() -> None:
    """Ask once a minute at most, however many tokens name keys there are not (B63)."""
    key = fresh()
    with server() as keys:
        keys.publish("known", key)
        verifier, clock = published(keys)
        for count in range(50):
            assert reason_of(verifier, with_kid(f"k{count}", key)) == "unknown_key"
        assert verifier.verify(with_kid("known", key)).user_id == "ann"
        assert keys.requests == 1
        clock.now += REFRESH_INTERVAL
        assert reason_of(verifier, with_kid("k", key)) == "unknown_key"
        assert keys.requests == 2


def test_a_published_key_is_only_what_it_says_it_is() -> None:
    """Bind it to its algorithm, and take none that is private, secret, weak or odd."""
    good, curve, other = fresh(), ed25519.Ed25519PrivateKey.generate(), rsa_key()
    with server() as keys:
        keys.publish("good", good)
        keys.publish("edwards", curve, use="sig", key_ops=["verify"], alg="EdDSA")
        keys.publish("bound", other, alg="PS256")
        keys.publish("any", other)
        keys.publish("encrypts", good, use="enc")
        keys.publish("signs", good, key_ops=["sign"])
        keys.publish("weak", rsa_key(1024))
        keys.publish("", good)
        keys.entries += [
            {"kty": "oct", "k": part(SECRET.encode()), "kid": "secret"},
            {**ECAlgorithm.to_jwk(good, as_dict=True), "kid": "private"},
            {"kty": "new", "kid": "strange"},
            {**public_jwk(good, "x"), "kid": 7},
            "no object",  # type: ignore[list-item]  # what a broken server may send
        ]
        verifier, _ = published(keys, "ES256", "EdDSA", "RS256", "PS256")
        for kid, key, algorithm in [
            ("good", good, "ES256"),
            ("edwards", curve, "EdDSA"),
            ("bound", other, "PS256"),
            ("any", other, "RS256"),
            ("any", other, "PS256"),
        ]:
            assert verifier.verify(with_kid(kid, key, algorithm)).user_id == "ann"
        assert (
            reason_of(verifier, with_kid("bound", other, "RS256")) == "wrong_algorithm"
        )
        for unfit in ("encrypts", "signs", "private", "secret", "strange", None):
            assert reason_of(verifier, with_kid(unfit, good)) == "unknown_key"
        weak = by_hand({**GOOD_HEAD, "alg": "RS256", "kid": "weak"}, claims())
        assert reason_of(verifier, weak) == "unknown_key"
        assert reason_of(verifier, with_kid("edwards", good)) == "wrong_algorithm"
        assert keys.requests == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b"{}"),
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"keys": 7}'),
        (200, b'{"keys": [7]}'),
        (200, b"[" * 100_000),
        (200, b'{"keys": [{"kid": "a", "kty": "EC", "key_ops": 7}]}'),
    ],
    ids=["500", "redirect", "no json", "list", "odd", "empty", "deep", "ops"],
)
def test_a_source_that_fails_is_not_the_clients_fault(status: int, body: bytes) -> None:
    """Tell it apart from a bad token, and come back by itself (B63, B64)."""
    key = fresh()
    with server() as keys:
        keys.status, keys.body = status, body
        verifier, clock = published(keys)
        token = with_kid("a", key)
        for _ in range(3):
            with pytest.raises(KeySourceError) as caught:
                verifier.verify(token)
            nothing_leaked(token, caught.value)
            assert caught.value.setting == "auth.jwks_url"
        assert keys.requests == 1
        keys.status, keys.body = 200, None
        keys.publish("a", key)
        clock.now += 5
        assert verifier.verify(token).user_id == "ann"


def test_known_keys_hold_on_for_an_hour_when_their_source_is_down() -> None:
    """Serve who has a known key; of an unknown one nobody can say whose fault it is."""
    key = fresh()
    with server() as keys:
        keys.publish("a", key)
        verifier, clock = published(keys)
        assert verifier.verify(with_kid("a", key)).user_id == "ann"
    clock.now += KEYS_LIFESPAN
    assert verifier.verify(with_kid("a", key)).user_id == "ann"
    with pytest.raises(KeySourceError):
        verifier.verify(with_kid("b", key))
    clock.now += KEYS_GRACE
    with pytest.raises(KeySourceError, match=r"auth\.jwks_url"):
        verifier.verify(with_kid("a", key))


async def test_the_event_loop_goes_on_while_keys_are_read() -> None:
    """Wait for the source in a thread; the loop serves others meanwhile (B52)."""
    key = fresh()
    with server() as keys:
        keys.publish("a", key)
        keys.hold = threading.Event()
        verifier, _ = published(keys)
        waiting = asyncio.create_task(verifier.averify(with_kid("a", key)))
        also = asyncio.create_task(verifier.averify(with_kid("a", key)))
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(keys.asked.wait, 5)
            assert not waiting.done()
            keys.hold.set()
            assert (await waiting).user_id == (await also).user_id == "ann"
        assert keys.requests == 1
        assert (await verifier.averify(with_kid("a", key))).user_id == "ann"
        with pytest.raises(AuthenticationError, match="missing"):
            await verifier.averify(None)
    assert (await TokenVerifier(SETTINGS).averify(signed())).user_id == "ann"


def test_known_users_do_not_wait_for_a_slow_source() -> None:
    """Let one read again what is old; the others go on with the key they know (B53)."""
    key = fresh()
    with server() as keys:
        keys.publish("a", key)
        verifier, clock = published(keys)
        token = with_kid("a", key)
        assert verifier.verify(token).user_id == "ann"
        keys.hold = threading.Event()
        clock.now += KEYS_LIFESPAN
        reader, other = (
            threading.Thread(target=verifier.verify, args=(token,)) for _ in range(2)
        )
        reader.start()
        assert keys.asked.wait(5)
        other.start()
        other.join(3)
        assert reader.is_alive()
        assert not other.is_alive()
        keys.hold.set()
        reader.join(5)
        assert keys.requests == 2


def test_a_file_of_keys_is_read_at_the_start_and_again(tmp_path: Path) -> None:
    """Rotate by replacing the file; refuse to start with one that cannot be used."""
    old, new, clock = fresh(), fresh(), Clock()
    file = tmp_path / "keys.json"
    settings = AuthSettings(jwks_file=str(file), algorithms=("ES256",))
    with pytest.raises(ConfigurationError, match="name a JSON Web Key Set") as caught:
        TokenVerifier(settings)
    assert caught.value.setting == "auth.jwks_file"
    file.write_text(json.dumps({"keys": [public_jwk(old, "old")]}))
    verifier = TokenVerifier(settings, clock=clock)
    assert verifier.verify(with_kid("old", old)).user_id == "ann"
    file.write_text(json.dumps({"keys": [public_jwk(new, "new")]}))
    clock.now += REFRESH_INTERVAL
    assert verifier.verify(with_kid("new", new)).user_id == "ann"
    assert reason_of(verifier, with_kid("old", old)) == "unknown_key"


# --- minting -------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_minted_token_is_believed_by_its_own_settings(algorithm: str) -> None:
    """Carry all that was given, and no more lifetime than is allowed."""
    settings = AuthSettings(
        secret=SECRET * 2, algorithms=(algorithm,), scope_claim="scp", roles_claim="grp"
    )
    token = mint_token(
        settings, user_id="ann", scopes=["b", "a"], roles=["r x"], email="a@b.example"
    )
    identity = TokenVerifier(settings).verify(token)
    assert (identity.user_id, identity.email) == ("ann", "a@b.example")
    assert identity.scopes == {"a", "b"}
    assert identity.roles == {"r x"}
    assert identity.token_id is not None
    assert 3_590 < identity.expires_at - time.time() <= 3_600
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "at+jwt"}


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        (AuthSettings(), "auth.secret"),
        (AuthSettings(jwks_file="a", algorithms=("RS256",)), "auth.algorithms"),
    ],
    ids=["no secret", "asymmetric"],
)
def test_without_a_secret_nothing_is_minted(given: AuthSettings, setting: str) -> None:
    """Say what is missing, or who has the private key."""
    with pytest.raises(ConfigurationError, match=r"secret|private key") as caught:
        mint_token(given, user_id="ann")
    assert caught.value.setting == setting


@pytest.mark.parametrize("lifetime", [0, -1, 86_401, float("nan"), float("inf")])
def test_no_token_is_minted_that_would_be_refused(lifetime: float) -> None:
    """Keep to the lifetime that a verifier allows."""
    with pytest.raises(ConfigurationError, match="give seconds up to") as caught:
        mint_token(SETTINGS, user_id="ann", lifetime=lifetime)
    assert caught.value.setting == "lifetime"


@pytest.mark.parametrize(
    "given",
    [
        {"user_id": "undefined"},
        {"user_id": "ann", "scopes": "admin"},
        {"user_id": "ann", "scopes": ["a b"]},
        {"user_id": "ann", "scopes": [""]},
        {"user_id": "ann", "roles": [7]},
    ],
    ids=range(5),
)
def test_nobody_is_minted_a_token(given: dict[str, Any]) -> None:
    """Refuse ids that identify nobody, and names that would be read as several."""
    with pytest.raises(InvalidUserContextError):
        mint_token(SETTINGS, **given)


def test_an_address_has_one_legal_user_id() -> None:
    """Give the same id for the same address, another for another."""
    ann = user_id_of_email(" Ann@Example.com ")
    assert ann == user_id_of_email("ann@example.com")
    assert ann != user_id_of_email("bob@example.com")
    assert Identity(ann, expires_at=0.0).context().user_id == ann
    assert "ann@" not in ann


@pytest.mark.parametrize("address", ["", "ann", "@b", "a@", "a b@c", "a\n@b"])
def test_what_is_no_address_has_no_user_id(address: str) -> None:
    """Make no id of a slip."""
    with pytest.raises(InvalidUserContextError, match="is no e-mail address"):
        user_id_of_email(address)


def test_importing_tokens_loads_neither_the_library_nor_a_loop() -> None:
    """Load PyJWT when a verifier is made, so that nobody else pays for it (B55)."""
    loaded = loaded_by("import toolkit.tokens, toolkit.settings")
    assert not {"jwt", "cryptography", "asyncio", "starlette", "pydantic"} & loaded
    assert Settings().auth == AuthSettings()
