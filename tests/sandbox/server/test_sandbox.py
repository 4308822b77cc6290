"""The sandbox as a server: what it records, how many it serves, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from gateway.sandbox import Sandbox, ScenarioError, run_sandbox
from tests.sandbox.client import HELLO, STREAM, Client, ask


async def test_a_request_is_recorded_as_it_arrived(sandbox: Sandbox) -> None:
    await ask(sandbox, HELLO, role="proxy", key="sk-one", headers={"X-Other": "a"})

    (request,) = sandbox.requests
    assert (request.number, request.role, request.method, request.path) == (0, "proxy", "POST", "/v1/chat/completions")
    assert (request.key, request.model, request.json) == ("sk-one", "gpt-4o", HELLO)
    assert request.get(b"x-other") == b"a"
    assert (request.connection, request.nth, request.scenario, request.ending) == (1, 1, "ok", "complete")
    assert request.bytes_sent > 500
    assert request.at <= asyncio.get_running_loop().time()


async def test_a_crowd_is_served(sandbox: Sandbox) -> None:
    async def one(number: int) -> bytes:
        scenario = "ok;chunks=3;delay=20"
        return (await ask(sandbox, STREAM, scenario, key=f"sk-{number}")).payloads[-1]

    async with asyncio.timeout(60):
        endings = await asyncio.gather(*(one(number) for number in range(300)))

    assert set(endings) == {b"[DONE]"}
    assert {request.key for request in sandbox.requests} == {f"sk-{number}" for number in range(300)}
    await sandbox.until(lambda: sandbox.open_connections == 0)


async def test_closing_ends_connections_in_every_state() -> None:
    before = asyncio.all_tasks()
    sandbox = Sandbox()
    await sandbox.start()
    idle, sending, silent, endless = [await Client.connect(sandbox) for _ in range(4)]
    sending.send(b"{", announce=100)
    silent.send(STREAM, "stall_mid")
    endless.send(STREAM, "endless")
    await sandbox.until(lambda: sandbox.in_flight == 2 and sandbox.open_connections == 4)

    await sandbox.close()

    assert sandbox.open_connections == 0
    assert asyncio.all_tasks() == before
    for client in (idle, sending, silent, endless):
        assert (await client.receive()).ending != "open"
        await client.close()


async def test_a_role_can_refuse_and_come_back(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox, "api")
    url = sandbox.urls["api"]
    await sandbox.refuse("api")
    assert (await client.receive()).ending != "open"
    await client.close()
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(sandbox, "api")
    assert (await ask(sandbox, HELLO, role="proxy")).status == 200

    await sandbox.listen("api")

    assert sandbox.urls["api"] == url
    assert (await ask(sandbox, HELLO, role="api")).status == 200


async def test_waiting_has_an_end(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutError):
        await sandbox.until(lambda: False, within=0.01)


async def test_the_sandboxes_own_mistakes_do_not_stay_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError("a mistake of ours")

    sandbox = Sandbox()
    await sandbox.start()
    monkeypatch.setattr("gateway.sandbox.server.routes.answer_image_chat", broken)
    received = await ask(sandbox, {**HELLO, "model": "gpt-4o-image"})

    assert received.raw == b""
    with pytest.raises(LookupError, match="a mistake of ours"):
        await sandbox.close()


async def test_it_can_speak_tls() -> None:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    async with Sandbox(tls=server) as sandbox:
        assert sandbox.url.startswith("https://")
        port = int(sandbox.url.rpartition(":")[2])
        streams = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
        trusted = Client(*streams)
        trusted.send(HELLO)
        received = await trusted.receive_until(b'"fp_sandbox"}')
        await trusted.close()

    assert received.status == 200


async def test_the_command_serves_until_it_is_cancelled() -> None:
    started: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    work = run_sandbox("127.0.0.1:0", "status;code=503", started.set_result, roles=("api", "backup"))
    serving = asyncio.get_running_loop().create_task(work)
    sandbox = await started
    assert (await ask(sandbox, HELLO, role="backup")).status == 503

    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(sandbox)


async def test_the_command_names_a_typing_error() -> None:
    with pytest.raises(ScenarioError, match="no scenario 'cutt'"):
        await run_sandbox("127.0.0.1:0", "cutt", lambda _: None)
