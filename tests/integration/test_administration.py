"""Another catalog without a restart, in one process; `tests/e2e/test_rollback.py` has
the rehearsal.
"""

from tests.serving import (
    FIVE,
    Running,
    add,
    ask,
    serving,
    settings,
    types,
    until,
    until_empty,
)
from toolkit import Toolkit
from toolkit.testing import token_for

ROOT_USER = "root@example.com"
QUESTION = 'add {"left": 1, "right": 2}'


def bearer() -> dict[str, str]:
    """Return the header of an administrator."""
    token = token_for(ROOT_USER, settings(), scopes={"toolkit:admin"})
    return {"authorization": f"Bearer {token}"}


async def kit_of(server: Running) -> Toolkit:
    """Wait until a server is ready, and return what it serves."""
    await until(lambda: server.backend.kit is not None)
    assert server.backend.kit is not None
    return server.backend.kit


async def test_several_workers_are_never_changed_one_at_a_time() -> None:
    """Where other processes serve too, a change of one of them is refused by name, with
    what to do instead (S195).
    """
    async with serving(workers=2) as server, server.http() as http:
        kit = await kit_of(server)
        for path in ("/admin/refresh", "/admin/rollback"):
            answer = await http.post(path, headers=bearer())
            assert answer.status_code == 409
            assert answer.json()["code"] == "several_workers"
            assert "restart" in answer.json()["message"]
        assert kit.catalog.generation == 1


async def test_refresh_without_a_file_keeps_the_settings_that_were_given() -> None:
    """A server made from a toolkit of its own is discovered anew under the same
    settings, never under others that lie about (S195).
    """
    async with serving() as server, server.http() as http:
        kit = await kit_of(server)
        before = kit.settings
        answer = await http.post("/admin/refresh", headers=bearer())
        assert answer.status_code == 200
        assert answer.json()["tools"] == ["add"]
        assert (kit.catalog.generation, kit.settings) == (2, before)


async def test_requests_register_nothing_and_pile_nothing_up() -> None:
    """However much is asked on a connection, listeners, registries and tools are those
    of its beginning; afterwards they are those of before (B48).
    """
    async with serving(add) as server:
        kit = await kit_of(server)

        def counted() -> tuple[int, int, int, int]:
            return (
                len(kit._catalog_sinks),
                kit.factory.registry_count("ann"),
                len(kit.catalog),
                len(kit.catalog.agents),
            )

        before = counted()
        async with server.connect("ann") as client:
            await ask(client, QUESTION)
            opened = counted()
            for _ in range(20):
                assert types(await ask(client, QUESTION)) == FIVE
            assert counted() == opened
        await until_empty(server)
        assert counted() == before
