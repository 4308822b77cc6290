"""Messages about jobs on their way to the operator's webhooks: signed, tried again, over restarts, without secrets."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.core.signing import signing_key
from gateway.core.webhooks import signature
from gateway.jobs.deliveries import JOB_PAUSES, MOST_AT_ONE, Deliveries
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.base import Store
from gateway.stores.delivery_records import Delivery
from gateway.stores.engines import open_store
from gateway.telemetry.log import Log
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from tests.upstream.peer import Do, Peer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"job.completed"}'


def answering(status: bytes) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Clock:
    """22 November 2026, 08:47:01 UTC; a rest moves it on."""

    def __init__(self) -> None:
        self.ns = 1_795_337_221_000_000_000

    def monotonic(self) -> float:
        return self.ns / 1e9

    def wall_ns(self) -> int:
        return self.ns


class NoChance:
    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int, /) -> int:
        return 0


class Post:
    """A gateway's deliveries with all they need. A rest until the next try passes at once."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.crashes: list[BaseException] = []
        self.tasks = TrackedTasks(lambda _, error: self.crashes.append(error))
        self.pool = ConnectionPool(SystemDialer())
        self._path = path
        self._written = io.StringIO()
        self._log = Log("json", "debug", None, self._written, clock=self.clock)
        self.store: Store
        self.made: Deliveries

    async def open(self) -> Deliveries:
        """What an earlier one left is there."""
        self.store = await open_store(f"sqlite:///{self._path}", self.clock)
        self.made = Deliveries(
            self.store.deliveries, self.pool, self.clock, NoChance(), self._log, self.tasks, sleep=self._rest
        )
        return self.made

    async def _rest(self, seconds: float) -> None:
        self.clock.ns += int(seconds * 1e9) + 1

    async def close(self) -> None:
        await self.made.close(0.0)
        await self.tasks.cancel_all()
        await self.store.close()

    async def until(self, job: str, *states: str) -> Delivery:
        """The delivery about a job, once it is in one of these states."""
        async with asyncio.timeout(10):
            while True:
                [found] = await self.made.page(9, job=job)
                if found.state in states:
                    return found
                await asyncio.sleep(0.005)

    def lines(self) -> list[dict[str, Any]]:
        self._log.flush()
        text = self._written.getvalue()
        assert "T0P53CRET" not in text
        assert SECRET not in text
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    made = Post(tmp_path / "gateway.db")
    await made.open()
    yield made
    await made.close()
    await made.pool.close()
    made.lines()
    assert not made.crashes


def webhooks(**peers: Peer) -> dict[str, tuple[str, str]]:
    return {name: (peer.endpoint().url + "/hooks/T0P53CRET?token=abc", SECRET) for name, peer in peers.items()}


def received(peer: Peer, number: int = 0) -> tuple[dict[str, str], bytes]:
    head, _, body = peer.requests[number].partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first == "POST /hooks/T0P53CRET?token=abc HTTP/1.1"
    return {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body


async def ended(made: Deliveries, job: str = "job_1", name: str = "shop") -> None:
    await made.expect(name, job, "alice")
    await made.job_ended(job, "job.completed", BODY)


async def test_the_end_of_a_job_arrives_signed(post: Post) -> None:
    async with Peer([Do.REQUEST, answering(b"204 No Content")]) as peer:
        post.made.configure(webhooks(shop=peer))
        post.made.start()
        await ended(post.made)
        told = await post.until("job_1", "told")
        headers, body = received(peer)
    assert body == BODY
    assert headers["webhook-id"] == told.id
    assert headers["content-type"] == "application/json"
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(signing_key(SECRET), told.id, stamp, body)
    assert (told.tries, told.status, told.reason, told.key) == (1, 204, "", "alice")
    assert [line["event"] for line in post.lines()] == ["webhook_sent"]


async def test_a_job_that_none_waits_for_is_told_to_none(post: Post) -> None:
    async with Peer([Do.REQUEST, answering(b"200 OK")]) as peer:
        post.made.configure(webhooks(shop=peer))
        post.made.start()
        await post.made.job_ended("job_other", "job.completed", BODY)
        await ended(post.made)
        await post.until("job_1", "told")
        assert len(peer.requests) == 1


async def test_it_is_tried_again_under_the_same_id(post: Post) -> None:
    refuses = [Do.REQUEST, answering(b"503 Service Unavailable")]
    async with Peer(refuses, [Do.REQUEST, Do.RST], [Do.REQUEST, answering(b"200 OK")]) as peer:
        post.made.configure(webhooks(shop=peer))
        post.made.start()
        await ended(post.made)
        told = await post.until("job_1", "told")
        tries = [received(peer, number)[0] for number in range(3)]
    assert {headers["webhook-id"] for headers in tries} == {told.id}
    stamps = [int(headers["webhook-timestamp"]) for headers in tries]
    assert [later - sooner for sooner, later in pairwise(stamps)] == [5, 30]
    assert told.tries == 3


async def test_after_all_tries_it_has_failed(post: Post) -> None:
    async with Peer([Do.REQUEST, answering(b"500 No")]) as peer:
        post.made.configure(webhooks(shop=peer))
        post.made.start()
        await ended(post.made)
        failed = await post.until("job_1", "failed")
        assert len(peer.requests) == len(JOB_PAUSES) + 1
    assert (failed.tries, failed.status, failed.reason) == (len(JOB_PAUSES) + 1, 500, "status 500")
    assert post.lines()[-1]["final"] is True


@pytest.mark.parametrize(("answer", "reason"), [(b"410 Gone", "status 410"), (b"", "no longer in the configuration")])
async def test_a_receiver_that_is_gone_is_not_tried_again(post: Post, answer: bytes, reason: str) -> None:
    async with Peer([Do.REQUEST, answering(answer or b"200 OK")]) as peer:
        post.made.configure(webhooks(shop=peer))
        await ended(post.made)
        if not answer:
            post.made.configure({})
        post.made.start()
        failed = await post.until("job_1", "failed")
        assert len(peer.requests) == bool(answer)
    assert reason in failed.reason


async def test_what_a_process_that_ends_leaves_is_sent_by_the_next(post: Post) -> None:
    async with Peer([Do.REQUEST, answering(b"503 No")], [Do.REQUEST, answering(b"200 OK")]) as peer:
        post.made.configure(webhooks(shop=peer))
        await post.made.expect("shop", "job_2", "alice")
        post.made.start()
        await ended(post.made)
        await post.until("job_1", "told", "pending")
        await peer.until_asked(1)
        await post.close()
        again = await post.open()
        assert [one.job for one in await again.expected()] == ["job_2"], "how that one ended is still to be said"
        again.configure(webhooks(shop=peer))
        again.start()
        told = await post.until("job_1", "told")
        assert {received(peer, number)[0]["webhook-id"] for number in range(len(peer.requests))} == {told.id}
        await again.job_ended("job_2", "job.failed", b"{}")
        assert (await post.until("job_2", "told")).type == "job.failed"


async def test_one_that_is_slow_holds_up_no_other(post: Post) -> None:
    async with Peer([Do.REQUEST]) as silent, Peer([Do.REQUEST, answering(b"200 OK")]) as quick:
        post.made.configure(webhooks(silent=silent, shop=quick))
        post.made.start()
        for number in range(MOST_AT_ONE + 6):
            await ended(post.made, f"job_s{number}", "silent")
        await silent.until_asked(MOST_AT_ONE)
        await ended(post.made)
        await post.until("job_1", "told")
        assert len(silent.requests) == MOST_AT_ONE


async def test_an_unknown_name_is_refused_with_the_known_ones(post: Post) -> None:
    with pytest.raises(ClientError) as caught:
        post.made.check("shop")
    assert (caught.value.status, caught.value.code) == (400, "unknown_webhook")
    assert "'webhooks'" in caught.value.message
    post.made.configure({"ops": ("https://example.com/secret-path", SECRET)})
    post.made.check("ops")
    with pytest.raises(ClientError) as caught:
        post.made.check("shop")
    assert "ops" in caught.value.message
    assert "secret-path" not in caught.value.message


async def test_a_secret_that_is_refused_changes_nothing(post: Post) -> None:
    post.made.configure({"ops": ("https://example.com/x", SECRET)})
    with pytest.raises(ValueError):
        post.made.configure({"shop": ("https://example.com/x", "whsec_?")})
    post.made.check("ops")
