"""PiAPI's webhooks: they hurry the next question, and do nothing else, whoever sends them."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

import pytest
from openai.types import ImagesResponse

from .conftest import StartGateway
from .flux import CREATE, DEV, asked, check, created, links, order
from .harness import Answer, Rig, eventually
from .moments import start

SECRET = "whsec-from-the-configuration"
SELDOM = "upstreams: {piapi: {tasks: {poll: 60s, poll_max: 60s}}}"
"""Without a webhook the first question comes after a minute: later than any test waits."""


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


async def with_webhooks(gateway: StartGateway) -> Rig:
    """A gateway that has webhooks sent to its own address."""
    place = f"127.0.0.1:{free_port()}"
    return await gateway(
        f"{{listen: '{place}', webhook_secret: {SECRET}, images: {{public_url: 'http://{place}'}}, {SELDOM}}}"
    )


async def waiting(rig: Rig, images: int = 1) -> tuple[asyncio.Task[ImagesResponse], list[str]]:
    """An order whose tasks wait for their webhooks, and the paths those have, in the order of creation."""
    ordering = start(order(rig, n=images))
    await rig.sandbox.until(lambda: len(created(rig)) == images)
    endpoints = [request.json["config"]["webhook_config"]["endpoint"] for request in created(rig)]
    wakeups = rig.gateway.services.wakeups
    await eventually(lambda: len(wakeups._given) == images, "somebody to wait for every webhook")
    return ordering, [urlsplit(endpoint).path for endpoint in endpoints]


async def asked_after(rig: Rig, times: int) -> None:
    """So many questions have been asked, and no more."""
    await rig.sandbox.until(lambda: len(asked(rig)) >= times)
    await rig.sandbox.until_idle()
    assert len(asked(rig)) == times


async def knock(rig: Rig, path: str, secret: str | None = SECRET, body: bytes = b"{}") -> Answer:
    """Post to a webhook's path."""
    headers = None if secret is None else {"x-webhook-secret": secret}
    async with rig.client() as client:
        await client.ask(body, None, headers, target=path)
        return await client.rest(await client.head())


async def test_a_webhook_brings_the_image_long_before_the_next_poll(gateway: StartGateway) -> None:
    rig = await with_webhooks(gateway)
    rig.sandbox.script(f"ok;ready=1;{CREATE}")

    assert len(links(await order(rig))) == 1

    (create,) = created(rig)
    webhook = create.json["config"]["webhook_config"]
    assert webhook["secret"] == SECRET
    path, _, token = webhook["endpoint"].rpartition("/")
    assert path == f"{rig.gateway.main_url}/webhooks/piapi"
    assert len(token) >= 43  # 256 bits
    await rig.sandbox.until(lambda: len(rig.sandbox.webhooks) == 1)
    assert rig.sandbox.webhooks[0].status == 200
    assert len(asked(rig)) == 1
    await check(rig)


async def test_every_task_has_a_path_of_its_own(gateway: StartGateway) -> None:
    rig = await with_webhooks(gateway)
    rig.sandbox.script(f"ok;polls=0;{CREATE}", times=None)
    ordering, paths = await waiting(rig, 3)
    assert len(set(paths)) == 3

    for count, path in enumerate(paths, 1):
        assert (await knock(rig, path)).status == 200
        await asked_after(rig, count)

    assert len(links(await ordering)) == 3
    assert len({request.path for request in asked(rig)}) == 3
    await check(rig, outcomes=["ok"] * 3, charged=3 * DEV, costs=[(DEV, "billed")] * 3, images=3)


async def test_what_it_says_is_not_believed(gateway: StartGateway) -> None:
    """It claims a result; only the answer to our own question counts."""
    rig = await with_webhooks(gateway)
    rig.sandbox.script(f"ok;polls=1;{CREATE}")
    ordering, [path] = await waiting(rig)
    lie = {"status": "completed", "output": {"image_url": "http://127.0.0.1:9/forged.png"}}

    assert (await knock(rig, path, body=json.dumps({"timestamp": 1, "data": lie}).encode())).status == 200
    await asked_after(rig, 1)
    assert not ordering.done()
    assert (await knock(rig, path, body=b"not even JSON")).status == 200

    (link,) = links(await ordering)
    assert "forged" not in link
    assert len(asked(rig)) == 2
    await check(rig)


class TestWhoeverElseKnocks:
    async def test_changes_nothing(self, gateway: StartGateway) -> None:
        rig = await with_webhooks(gateway)
        rig.sandbox.script(f"ok;polls=0;{CREATE}")
        ordering, [path] = await waiting(rig)
        strangers = [
            await knock(rig, path, "whsec-guessed"),
            await knock(rig, path, ""),
            await knock(rig, path, None),
            await knock(rig, path, SECRET + "x"),
            await knock(rig, path, SECRET[:-1]),
            await knock(rig, path + "x"),
            await knock(rig, path[:-1]),
            await knock(rig, "/webhooks/piapi/unknown"),
        ]
        assert [(answer.status, answer.error()["code"]) for answer in strangers] == [(404, "unknown_url")] * 8
        assert len({answer.body for answer in strangers}) == 1
        too_large = await knock(rig, path, body=b" " * (1024 * 1024 + 1))
        assert (too_large.status, too_large.error()["code"]) == (413, "request_too_large")
        assert asked(rig) == []
        assert not ordering.done()

        assert (await knock(rig, path)).status == 200
        assert len(links(await ordering)) == 1

        replayed = await knock(rig, path)
        assert (replayed.status, replayed.error()["code"]) == (404, "unknown_url")
        assert len(asked(rig)) == 1
        await check(rig)

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    async def test_in_another_manner_is_turned_away(self, method: str, rig: Rig) -> None:
        async with rig.client() as client:
            await client.ask(b"", None, method=method, target="/webhooks/piapi/token")
            answer = await client.rest(await client.head())
        assert answer.status == 405

    async def test_where_webhooks_are_off_finds_nothing(self, rig: Rig) -> None:
        for secret in (None, "", "anything"):
            answer = await knock(rig, "/webhooks/piapi/token", secret)
            assert (answer.status, answer.error()["code"]) == (404, "unknown_url")


async def test_without_a_secret_nobody_is_asked_to_call(gateway: StartGateway) -> None:
    rig = await gateway("images: {public_url: 'https://gateway.example.com'}")

    assert len(links(await order(rig))) == 1

    assert "config" not in created(rig)[0].json
    await check(rig)
