"""Alerts on their way to the operator's webhook: signed, tried again, never in a request's way, and without secrets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.billing import alerts as budget_alerts
from gateway.billing.alerts import AlertSender
from gateway.core.pricing.budget_errors import Exceeded
from gateway.core.pricing.budgets import Crossing
from gateway.core.pricing.calendar import ALL_TIME, BudgetPeriod
from gateway.core.types import Budget
from gateway.core.webhooks import LONGEST_PAUSE, PAUSES
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.engines import open_store
from gateway.telemetry.log import Log
from gateway.upstream import webhook_client
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from tests.upstream.peer import Do, Peer, Script

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOVEMBER = BudgetPeriod("month", 1_793_491_200_000_000_000, 1_796_083_200_000_000_000)
CROSSING = Crossing(("key", "alice"), 80, Budget(50_000_000_000, "month"), NOVEMBER, 40_120_000_000)


def answering(status: bytes, *headers: bytes) -> bytes:
    """An answer without a body, the last one on its connection."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"content-length: 0", b"connection: close", b"", b""])


OK = answering(b"200 OK")


class Clock:
    """22 November 2026, 08:47:01 UTC; a rest moves it on."""

    def __init__(self) -> None:
        self.ns = 1_795_337_221_123_456_789

    def monotonic(self) -> float:
        return self.ns / 1e9

    def wall_ns(self) -> int:
        return self.ns


class NoChance:
    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int, /) -> int:
        return 0


class Alerts:
    """A sender with everything it needs. ``rests``: how long it rested between tries; the time passes at once.

    ``awake``: while it is not set, a rest does not end.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.rests: list[float] = []
        self.awake = asyncio.Event()
        self.awake.set()
        self.resting = asyncio.Event()
        self.crashes: list[BaseException] = []
        self.tasks = TrackedTasks(lambda _, error: self.crashes.append(error))
        self.pool = ConnectionPool(SystemDialer())
        self._written = io.StringIO()
        self._log = Log("json", "debug", None, self._written, clock=self.clock)
        self.sender = AlertSender(self.pool, self.clock, NoChance(), self._log, self.tasks, sleep=self._rest)

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.clock.ns += int(seconds * 1e9)
        self.resting.set()
        await self.awake.wait()

    def tell(self, peer: Peer, crossing: Crossing = CROSSING, *, secret: str = SECRET) -> None:
        self.sender.configure(peer.endpoint().url + "/hooks/T0P53CRET?token=abc", secret)
        self.sender.tell(crossing)

    async def idle(self) -> None:
        """Until nothing is under way."""
        async with asyncio.timeout(5):
            while len(self.tasks):
                await asyncio.sleep(0.001)

    def lines(self) -> list[dict[str, Any]]:
        self._log.flush()
        assert "T0P53CRET" not in self._written.getvalue()
        assert "token=abc" not in self._written.getvalue()
        return [json.loads(line) for line in self._written.getvalue().splitlines()]


@pytest.fixture
async def alerts() -> AsyncIterator[Alerts]:
    made = Alerts()
    yield made
    await made.sender.close(0.0)
    await made.tasks.cancel_all()
    await made.pool.close()
    made.lines()
    assert not made.crashes


def received(peer: Peer, number: int = 0) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request."""
    head, _, body = peer.requests[number].partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first == "POST /hooks/T0P53CRET?token=abc HTTP/1.1"
    return {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body


def check_signature(headers: dict[str, str], body: bytes, key: bytes = KEY) -> None:
    """As a receiver does, by the specification's words."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    expected = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


class TestDelivery:
    async def test_a_crossing_arrives_signed(self, alerts: Alerts):
        async with Peer([Do.REQUEST, OK]) as peer:
            alerts.tell(peer)
            await alerts.idle()
            headers, body = received(peer)
        check_signature(headers, body)
        assert headers["content-type"] == "application/json"
        assert headers["user-agent"].startswith("piapi-gateway/")
        assert headers["webhook-timestamp"] == "1795337221"
        assert json.loads(body) == {
            "type": "budget.crossed",
            "timestamp": "2026-11-22T08:47:01Z",
            "data": {
                "key": "alice",
                "percent": 80,
                "budget_usd": "50.00",
                "used_usd": "40.12",
                "period": "month",
                "period_start": "2026-11-01T00:00:00Z",
            },
        }
        (line,) = alerts.lines()
        assert (line["event"], line["key"], line["percent"], line["tries"]) == ("budget_alert_sent", "alice", 80, 1)

    async def test_a_teams_total_has_no_start(self, alerts: Alerts):
        async with Peer([Do.REQUEST, OK]) as peer:
            alerts.tell(peer, Crossing(("team", "growth"), 100, Budget(1, "total"), ALL_TIME, 2), secret="plain")
            await alerts.idle()
            headers, body = received(peer)
        check_signature(headers, body, b"plain")
        data = json.loads(body)["data"]
        assert (data["team"], data["period"], data["period_start"]) == ("growth", "total", None)
        assert (data["budget_usd"], data["used_usd"]) == ("0.000000001", "0.000000002")
        assert "key" not in data

    async def test_a_refusal_arrives_signed(self, alerts: Alerts):
        limit = Budget(5_000_000_000, "month")
        refusal = Exceeded(("key", "alice", "gpt-4o*"), limit, NOVEMBER, 40_000_000, 4_990_000_000, 0, UTC)
        async with Peer([Do.REQUEST, OK]) as peer:
            alerts.sender.configure(peer.endpoint().url + "/hooks/T0P53CRET?token=abc", SECRET)
            alerts.sender.tell_refusal(refusal)
            await alerts.idle()
            headers, body = received(peer)
        check_signature(headers, body)
        assert json.loads(body) == {
            "type": "budget.refused",
            "timestamp": "2026-11-22T08:47:01Z",
            "data": {
                "key": "alice",
                "model": "gpt-4o*",
                "reason": "used_up",
                "budget_usd": "5.00",
                "used_usd": "4.99",
                "reserved_usd": "0.00",
                "asked_usd": "0.04",
                "period": "month",
                "period_start": "2026-11-01T00:00:00Z",
            },
        }
        (line,) = alerts.lines()
        assert (line["event"], line["key"], line["model"], line["refused"]) == (
            "budget_alert_sent",
            "alice",
            "gpt-4o*",
            "used_up",
        )

    async def test_https_is_spoken_and_certificates_are_checked(self, alerts: Alerts):
        authority = trustme.CA()
        server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)
        async with Peer([Do.REQUEST, OK], context=server) as peer:
            alerts.tell(peer)  # whose authority is not known yet
            await alerts.idle()
            assert peer.requests == []
            trusting = ConnectionPool(SystemDialer(client))
            sender = AlertSender(trusting, alerts.clock, NoChance(), alerts._log, alerts.tasks)
            sender.configure(peer.endpoint().url + "/hooks/T0P53CRET?token=abc", SECRET)
            sender.tell(CROSSING)
            await alerts.idle()
            check_signature(*received(peer))
            await sender.close()
            await trusting.close()

    async def test_without_a_webhook_nothing_is_sent(self, alerts: Alerts):
        alerts.sender.tell(CROSSING)
        alerts.sender.configure("", "")
        alerts.sender.tell(CROSSING)
        assert len(alerts.tasks) == 0

    async def test_a_secret_that_is_refused_changes_nothing(self, alerts: Alerts):
        async with Peer([Do.REQUEST, OK]) as peer:
            alerts.sender.configure(peer.endpoint().url + "/hooks/T0P53CRET?token=abc", SECRET)
            with pytest.raises(ValueError):
                alerts.sender.configure("http://elsewhere.example", "whsec_?")
            alerts.sender.tell(CROSSING)
            await alerts.idle()
            check_signature(*received(peer))

    async def test_of_gateways_that_reach_a_percentage_together_one_tells(
        self, alerts: Alerts, postgres_url: str, tmp_path: Path
    ):
        both = [alerts, Alerts()]
        stores = [await open_store(postgres_url, Clock(), f"gw_{number}", tmp_path) for number in range(2)]
        async with Peer([Do.REQUEST, OK]) as peer:
            for one, store in zip(both, stores, strict=True):
                one.sender.keep_in(store.alerts)
                one.tell(peer)
            for one in both:
                await one.idle()
        assert len(peer.requests) == 1
        assert sum(len(one.lines()) for one in both) == 1
        assert [alert.state for alert in (await stores[0].alerts.known()).alerts] == ["told"]
        for store in stores:
            await store.close()
        await both[1].pool.close()


class TestTryingAgain:
    @pytest.mark.parametrize(
        "first",
        [
            [Do.REQUEST, answering(b"500 Internal Server Error")],
            [Do.REQUEST, answering(b"302 Found", b"location: http://127.0.0.1:9/")],
            [Do.REQUEST, answering(b"404 Not Found")],
            [Do.REQUEST, Do.RST],
            [Do.REQUEST, b"no HTTP\r\n\r\n"],
        ],
    )
    async def test_an_answer_that_is_no_2xx_is_tried_again_under_the_same_id_and_a_new_time(
        self, alerts: Alerts, first: Script
    ):
        async with Peer([*first], [Do.REQUEST, OK]) as peer:
            alerts.tell(peer)
            await alerts.idle()
            (one, body), (two, again) = received(peer, 0), received(peer, 1)
        assert body == again
        assert one["webhook-id"] == two["webhook-id"]
        assert int(two["webhook-timestamp"]) == int(one["webhook-timestamp"]) + 5
        check_signature(two, again)
        assert alerts.rests == [5.0]
        assert [line["event"] for line in alerts.lines()] == ["budget_alert_failed", "budget_alert_sent"]

    async def test_after_five_tries_it_is_given_up_and_the_log_says_so(self, alerts: Alerts):
        async with Peer([Do.REQUEST, answering(b"503 Service Unavailable")]) as peer:
            alerts.tell(peer)
            await alerts.idle()
            assert len(peer.requests) == 5
        assert alerts.rests == list(PAUSES)
        *failed, last = alerts.lines()
        assert [(line["level"], line["final"]) for line in failed] == [("warning", False)] * 4
        assert (last["level"], last["final"], last["tries"], last["reason"]) == ("error", True, 5, "status 503")

    async def test_no_server_listens(self, alerts: Alerts):
        async with Peer([Do.REQUEST, OK]) as peer:
            url = peer.endpoint().url
        alerts.sender.configure(url, SECRET)
        alerts.sender.tell(CROSSING)
        await alerts.idle()
        assert len(alerts.lines()) == 5
        assert "connect_refused" in alerts.lines()[0]["reason"]

    async def test_a_receiver_that_is_silent_is_left_after_a_while(self, alerts: Alerts):
        alerts.awake.clear()
        async with Peer([Do.REQUEST], [Do.REQUEST, OK]) as peer:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(webhook_client, "TRY_SECONDS", 0.05)
                alerts.tell(peer)
                await alerts.resting.wait()
            alerts.awake.set()
            await alerts.idle()
        failed, sent = alerts.lines()
        assert failed["reason"].startswith("TimeoutError")
        assert (sent["event"], sent["tries"]) == ("budget_alert_sent", 2)

    async def test_a_receiver_that_asks_for_a_longer_rest_gets_it_within_reason(self, alerts: Alerts):
        busy, asleep, short = (
            answering(b"429 Too Many Requests", b"retry-after: " + n) for n in (b"60", b"3000", b"1")
        )
        async with Peer([Do.REQUEST, busy], [Do.REQUEST, asleep], [Do.REQUEST, short], [Do.REQUEST, OK]) as peer:
            alerts.tell(peer)
            await alerts.idle()
        assert alerts.rests == [60.0, LONGEST_PAUSE, PAUSES[2]]

    async def test_a_receiver_that_is_gone_hears_no_more_until_it_is_configured_again(self, alerts: Alerts):
        async with Peer([Do.REQUEST, answering(b"410 Gone")], [Do.REQUEST, OK]) as peer:
            alerts.tell(peer)
            await alerts.idle()
            alerts.sender.tell(CROSSING)
            await alerts.idle()
            assert len(peer.requests) == 1
            alerts.tell(peer)
            await alerts.idle()
            assert len(peer.requests) == 2
        assert [line["final"] for line in alerts.lines()[:1]] == [True]

    async def test_one_that_fails_does_not_keep_others_waiting(self, alerts: Alerts):
        alerts.awake.clear()
        async with Peer([Do.REQUEST, answering(b"500 No")], [Do.REQUEST, OK]) as peer:
            alerts.tell(peer)
            await alerts.resting.wait()
            alerts.tell(peer, Crossing(("key", "bob"), 100, CROSSING.limit, NOVEMBER, 50_000_000_000))
            await peer.until_asked(2)
            assert json.loads(received(peer, 1)[1])["data"]["key"] == "bob"


class TestBounds:
    async def test_too_many_that_wait_are_dropped_and_the_log_says_so(
        self, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(budget_alerts, "MOST_PENDING", 3)
        answer = asyncio.Event()
        async with Peer([Do.REQUEST, answer, OK]) as peer:
            for _ in range(5):
                alerts.tell(peer)
            assert len(alerts.tasks) == 3
            answer.set()
            await alerts.idle()
            assert len(peer.requests) == 3
        assert [line["event"] for line in alerts.lines()].count("budget_alert_dropped") == 2

    async def test_no_more_than_a_few_are_sent_at_once(self, alerts: Alerts, monkeypatch: pytest.MonkeyPatch):
        answer = asyncio.Event()
        async with Peer([Do.REQUEST, answer, OK]) as peer:
            for _ in range(20):
                alerts.tell(peer)
            await peer.until_asked(budget_alerts.MOST_AT_ONCE)
            assert peer.accepted == budget_alerts.MOST_AT_ONCE
            answer.set()
            await alerts.idle()
            assert len({received(peer, number)[0]["webhook-id"] for number in range(20)}) == 20


class TestClosing:
    async def test_a_try_that_runs_may_end(self, alerts: Alerts):
        answer = asyncio.Event()
        async with Peer([Do.REQUEST, answer, OK]) as peer:
            alerts.tell(peer)
            await peer.until_asked()
            closing = alerts.tasks.spawn(alerts.sender.close(5.0), "closing")
            await asyncio.sleep(0)
            answer.set()
            await closing
        assert [line["event"] for line in alerts.lines()] == ["budget_alert_sent"]

    async def test_what_rests_is_given_up_at_once_and_nothing_new_is_taken(self, alerts: Alerts):
        alerts.awake.clear()
        async with Peer([Do.REQUEST, answering(b"500 No")]) as peer:
            alerts.tell(peer)
            await alerts.resting.wait()
            await alerts.sender.close(60.0)
            alerts.sender.tell(CROSSING)
            assert len(alerts.tasks) == 0
        given_up = alerts.lines()[-1]
        assert (given_up["event"], given_up["number"]) == ("budget_alerts_given_up", 1)

    async def test_a_try_that_fails_meanwhile_is_not_repeated(self, alerts: Alerts):
        answer = asyncio.Event()
        async with Peer([Do.REQUEST, answer, answering(b"500 No")]) as peer:
            alerts.tell(peer)
            await peer.until_asked()
            closing = alerts.tasks.spawn(alerts.sender.close(5.0), "closing")
            await asyncio.sleep(0)
            answer.set()
            await closing
        assert alerts.rests == []
        assert alerts.lines()[-1]["number"] == 1

    async def test_a_receiver_that_never_answers_is_not_waited_for(self, alerts: Alerts):
        async with Peer([Do.REQUEST]) as peer:
            alerts.tell(peer)
            await peer.until_asked()
            await alerts.sender.close(0.01)
            await peer.until_gone()
        assert alerts.lines()[-1]["event"] == "budget_alerts_given_up"


def test_what_can_be_shown_holds_no_secret():
    webhook = budget_alerts.Webhook("https://hooks.example/T0P53CRET", KEY)
    alert = budget_alerts.Alert(webhook, "msg_1", b"{}", {})
    assert "T0P53CRET" not in repr(alert)
    assert str(KEY) not in repr(alert)
