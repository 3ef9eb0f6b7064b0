"""Who is let in, and how: real tokens over real sockets, judged before accept."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import uvicorn
from starlette.types import Message
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.serving import (
    FIVE,
    SECRET,
    Running,
    Triage,
    add,
    ask,
    hear,
    say,
    serving,
    settings,
    token,
    types,
    until_empty,
)
from toolkit import ConfigurationError, Settings, Toolkit
from toolkit.server import create_app
from toolkit.server.app import STATE
from toolkit.server.serve import bind, url_of

CLAIMS = {"iss": "toolkit", "aud": "toolkit", "sub": "ann", "scope": ""}
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"


def signed(
    *, key: str = SECRET, alg: str = "HS256", typ: str = "at+jwt", **claims: Any
) -> str:
    """Return a token that may be wrong in any way."""
    now = int(time.time())
    facts = {**CLAIMS, "iat": now, "exp": now + 60, **claims}
    kept = {name: value for name, value in facts.items() if value is not None}
    return jwt.encode(kept, key, algorithm=alg, headers={"typ": typ})


TAMPERED: dict[str, Callable[[], str]] = {
    "bad_signature": lambda: signed(key="another-secret-" * 4),
    "wrong_algorithm": lambda: signed(alg="none", key=""),
    "wrong_algorithm of the same kind": lambda: signed(alg="HS512", key=SECRET * 2),
    "expired": lambda: signed(exp=int(time.time()) - 60),
    "not_yet_valid": lambda: signed(nbf=int(time.time()) + 600),
    "wrong_audience": lambda: signed(aud="others"),
    "wrong_issuer": lambda: signed(iss="others"),
    "wrong_type": lambda: signed(typ="id+jwt"),
    "missing_claim": lambda: signed(exp=None),
    "lives_too_long": lambda: signed(exp=int(time.time()) + 10_000_000),
    "bad_subject": lambda: signed(sub="placeholder"),
    "malformed": lambda: "not-a-token",
    "malformed, cut": lambda: signed()[:-80],
}


async def test_user_connects_asks_and_sees_the_five_events() -> None:
    """A user with a token connects, asks, gets five true events and leaves nothing
    (S4, S15, S59, S60, S63-S66, S68, S69, S71, S73-S75, S113, S138, S179, S180, S182).
    """
    async with serving() as chat:
        async with chat.connect("ann") as client:
            heard = await ask(client, 'add {"left": 20, "right": 22}')
        assert types(heard) == FIVE
        assert heard[-1]["result"] == "add says 42, to ann"
        assert [one["sequence"] for one in heard] == [1, 2, 3, 4, 5]
        await until_empty(chat)
        assert client.close_code == 1000


async def test_token_goes_in_a_subprotocol_where_no_header_can_be_set() -> None:
    """A browser shows its token as a subprotocol; the answer names the protocol and
    never the token (S58, B62).
    """
    async with (
        serving() as chat,
        chat.connect(subprotocols=["toolkit.v1", f"bearer.{token('ann')}"]) as client,
    ):
        assert client.subprotocol == "toolkit.v1"
        heard = await ask(client, 'add {"left": 1, "right": 1}')
        assert heard[-1]["result"] == "add says 2, to ann"


@pytest.mark.parametrize("what", TAMPERED)
async def test_tampered_token_is_refused_before_the_socket_opens(what: str) -> None:
    """Each way to tamper with a token ends in 401 before accept; nothing is made for
    it (S58, B61, B64).
    """
    bad = TAMPERED[what]()
    async with serving() as chat:
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect(additional_headers={"authorization": f"Bearer {bad}"})
        answer = refused.value.response
        assert answer.status_code == 401
        body = json.loads(bytes(answer.body or b""))
        assert body["code"] == what.partition(" ")[0].rstrip(",")
        assert bad not in str(body)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        kit = chat.backend.kit
        assert kit is not None
        assert kit.health()["systems"]["open_systems"] == 0


async def test_public_key_is_no_secret() -> None:
    """A token signed with the text of a public key as if that were a secret is refused
    by a server that verifies by that key (B61).
    """
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    assert public.startswith(b"-----BEGIN")
    raw = private.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    confused = signed(key=raw.hex(), alg="HS256")
    async with serving() as chat:
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect(
                additional_headers={"authorization": f"Bearer {confused}"}
            )
        assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/ws?mode=legacy", "/ws?demo=1&e2e=true", "/ws?user_id=ann"],
    ids=["mode", "demo", "user"],
)
async def test_nothing_in_the_address_opens_the_door(path: str) -> None:
    """No parameter or header stands in for a token (B60, B61)."""
    async with serving() as chat:
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect(
                path=path, additional_headers={"X-E2E-Test": "true", "X-User": "ann"}
            )
        assert refused.value.response.status_code == 401


@pytest.mark.parametrize("name", ["token", "access_token", "JWT"])
async def test_token_in_the_address_is_refused_by_name(name: str) -> None:
    """A token in the query is refused, though it is a good one: addresses are logged
    (B62).
    """
    async with serving() as chat:
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect("ann", path=f"/ws?{name}={token('ann')}")
        assert refused.value.response.status_code == 400
        body = bytes(refused.value.response.body or b"")
        assert json.loads(body)["code"] == "token_in_query"


async def test_two_tokens_at_once_are_refused() -> None:
    """Who shows two tokens, perhaps of two users, is told to choose (B38)."""
    async with serving() as chat:
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect("ann", subprotocols=[f"bearer.{token('bob')}"])
        body = bytes(refused.value.response.body or b"")
        assert json.loads(body)["code"] == "several_tokens"


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        ("https://chat.example.com", True),
        ("same", True),
        ("https://evil.example.com", False),
        ("https://chat.example.com.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
    ids=["allowed", "same", "foreign", "lookalike", "null", "no address"],
)
async def test_pages_of_foreign_origins_may_not_connect(
    origin: str, *, is_let_in: bool
) -> None:
    """A page connects from the server's own origin, or from one on the list (B61)."""
    async with serving(allowed_origins={"https://chat.example.com"}) as chat:
        shown = chat.url if origin == "same" else origin
        if is_let_in:
            async with chat.connect("ann", origin=shown) as client:
                await say(client, "ping", nonce="hello")
                assert (await hear(client))["nonce"] == "hello"
            return
        with pytest.raises(InvalidStatus) as refused:
            await chat.connect("ann", origin=shown)
        assert refused.value.response.status_code == 403


async def test_user_in_the_body_changes_nothing() -> None:
    """Who asks is who the token says, whatever the message claims (S106, S127, B65)."""
    async with serving() as chat, chat.connect("ann") as client:
        heard = await ask(
            client, 'add {"left": 1, "right": 2}', agent="data_agent", user_id="bob"
        )
        assert heard[-1]["result"] == "add says 3, to ann"


async def test_another_token_on_an_open_connection_keeps_it_open() -> None:
    """A connection goes on with a new token of the same user, never of another
    (B38).
    """
    async with serving() as chat, chat.connect("ann") as client:
        await say(client, "authenticate", token=token("bob"))
        assert (await hear(client))["code"] == "another_user"
        await say(client, "authenticate", token=token("ann", scopes=["more"]))
        assert (await hear(client))["type"] == "tool_registry_state"


async def test_connection_ends_with_its_token() -> None:
    """A long connection does not outlive its token (B61)."""
    async with (
        serving(auth={"leeway": 0.0}) as chat,
        chat.connect(
            additional_headers={"authorization": f"Bearer {token('ann', lifetime=1.0)}"}
        ) as client,
    ):
        assert (await hear(client))["code"] == "token_expires_soon"
        assert (await hear(client))["code"] == "token_expired"
        with pytest.raises(ConnectionClosed):
            await hear(client)
        assert client.close_code == 1008


def test_application_without_a_key_is_not_made() -> None:
    """There is no way to serve without verifying tokens (B61)."""
    with pytest.raises(ConfigurationError, match=r"auth\.secret.*give a secret"):
        create_app(Settings(allow=frozenset()))


async def test_nobody_waits_for_the_start() -> None:
    """A newcomer is told at once that the server is not ready yet (B51, B53)."""
    app = create_app(settings())
    answers = await handshake(
        app, [(b"authorization", b"Bearer " + token("ann").encode())]
    )
    assert answers[0]["status"] == 503
    assert json.loads(answers[1]["body"])["code"] == "not_ready"


@pytest.mark.parametrize(
    ("headers", "is_started", "code"),
    [([], True, 1008), ([], False, 1013)],
    ids=["no token", "not ready"],
)
async def test_server_that_cannot_deny_closes_with_the_right_code(
    headers: list[tuple[bytes, bytes]], *, is_started: bool, code: int
) -> None:
    """Where the ASGI server knows no denial, the close code says whose fault it is
    (B64).
    """
    with Toolkit(settings(), objects=[add]) as kit:
        app = create_app(kit=kit)
        if is_started:
            async with app.router.lifespan_context(app):
                answers = await handshake(app, headers, extensions={})
        else:
            answers = await handshake(app, headers, extensions={})
    assert [one["type"] for one in answers] == ["websocket.close"]
    assert answers[0]["code"] == code


async def handshake(
    app: Any,
    headers: list[tuple[bytes, bytes]],
    *,
    extensions: dict[str, Any] | None = None,
) -> list[Any]:
    """Return what an application answers to a handshake, by ASGI itself."""
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {
        "type": "websocket",
        "path": "/ws",
        "query_string": b"",
        "headers": headers,
        "subprotocols": [],
        "client": ("127.0.0.1", 1),
        "extensions": {"websocket.http.response": {}}
        if extensions is None
        else extensions,
    }
    await app(scope, receive, send)
    return answers


async def test_other_servers_of_asgi_are_given_one_message_at_a_time() -> None:
    """Where a server does not know our extension, the messages are the same (S69)."""
    with Toolkit(settings(), objects=[add], agents=[Triage]) as kit:
        app = create_app(kit=kit)
        listening = bind(kit.settings)
        server = uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio"))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        chat = Running(
            getattr(app.state, STATE), url_of(listening, kit.settings), server
        )
        try:
            async with chat.connect("ann") as client:
                heard = await ask(client, 'add {"left": 1, "right": 2}')
            assert types(heard) == FIVE
        finally:
            server.should_exit = True
            await task


async def test_several_texts_at_once_are_a_message_each() -> None:
    """What is handed to the socket together comes as it was, one by one (S69)."""
    async with serving() as chat, chat.connect("ann") as client:
        for nonce in "abc":
            await say(client, "ping", nonce=nonce)
        assert [(await hear(client))["data"]["nonce"] for _ in "abc"] == ["a", "b", "c"]
