"""Tells the operator's webhook that a budget was crossed, or refused a request, signed as Standard Webhooks describes.

    POST <budget_alerts.webhook>
    webhook-id: msg_…                 the same for every try, so that a receiver can tell repetitions
    webhook-timestamp: 1795337221     of this try
    webhook-signature: v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>

    {"type": "budget.crossed", "timestamp": "2026-11-22T08:47:01Z", "data": {"key": "alice", "percent": 80,
     "budget_usd": "50.00", "used_usd": "40.12", "period": "month", "period_start": "2026-11-01T00:00:00Z"}}

    {"type": "budget.refused", "timestamp": …, "data": {"key": "alice", "model": "gpt-4o*", "reason": "used_up",
     "budget_usd": "5.00", "used_usd": "4.99", "reserved_usd": "0.00", "asked_usd": "0.04", "period": "day", …}}

``key`` or ``team`` names whose budget it is, ``model`` which models it is for, if not for all; ``period_start`` is null
for a total. ``reason``: ``used_up``, ``too_large`` (the request alone may cost more than the whole budget) or
``reserved`` (it may fit when running requests have ended); ``asked_usd`` is null where it was not counted.

An alert is sent aside from any request; what cannot be delivered in five tries is logged and forgotten. The metrics and
the log tell it too. It is kept in the store before it is sent and until it was: what a process that ends leaves is sent
by the next one, under the same id, and what was told is not told again.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (1.0.0)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

import orjson

from gateway.core.chance import Randomness
from gateway.core.connection_options import DIRECT, ConnectionOptions
from gateway.core.errors import GatewayError, StoreError
from gateway.core.pricing.budget_accounts import Crossing
from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.calendar import BudgetPeriod, iso_time
from gateway.core.pricing.prices import format_usd
from gateway.core.signing import signing_key
from gateway.core.webhooks import PAUSES, Failure, failure_of, pause_before, signed_headers
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.alert_records import AlertRecords
from gateway.stores.records import AlertState, KnownAlerts, StoredAlert
from gateway.telemetry.log import Log
from gateway.upstream.pool import ConnectionPool

if TYPE_CHECKING:
    from gateway.upstream.webhook_client import WebhookClient

MOST_PENDING = 256
"""Alerts that are not delivered yet; what comes beyond is dropped, and the log says so."""

MOST_AT_ONCE = 8

LONGEST_KEPT_NS = 3 * 24 * 3600 * 1_000_000_000
"""Nanoseconds after which an alert that no process could deliver says nothing new any more."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alerts go, and the key that signs them. The address may hold a secret as well."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """One message. ``subject``: what the log says of it."""

    webhook: Webhook
    id: str
    body: bytes
    subject: dict[str, str | int]


class AlertSender:
    """Sends alerts once ``configure`` has said where to. One event loop only.

    ``sleep``: waits between tries, seconds.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        clock: Clock,
        randomness: Randomness,
        log: Log,
        tasks: TrackedTasks,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._log = log
        self._tasks = tasks
        self._sleep = sleep
        self._webhook: Webhook | None = None
        self._pending: set[asyncio.Task[bool]] = set()
        self._resting: set[asyncio.Task[Any]] = set()
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)
        self._closing = False
        self._records: AlertRecords | None = None
        self._pool = pool
        self._client: WebhookClient | None = None

    def configure(self, url: str, secret: str, options: ConnectionOptions = DIRECT) -> None:
        """Send to ``url`` from now on, or nothing if it is empty. Alerts under way stay on theirs.

        ``options``: how its host is connected to.

        Raises ValueError for a secret that cannot be one; then nothing has changed.
        """
        self._webhook = Webhook(url, signing_key(secret)) if url else None
        if self._webhook is not None:
            if self._client is None:
                from gateway.upstream.webhook_client import WebhookClient  # a twelfth of the start, which most need not

                self._client = WebhookClient(self._pool)
            self._client.connect_by(options)

    def keep_in(self, records: AlertRecords) -> None:
        """Keep alerts there from now on."""
        self._records = records

    async def restore(self) -> KnownAlerts | None:
        """The alerts that are kept; those that an earlier process left are sent. None if none are kept anywhere.

        Raises StoreError.
        """
        if self._records is None:
            return None
        known = await self._records.known()
        if known.told_before:
            await self._records.forget_time_before()
        oldest = self._clock.wall_ns() - LONGEST_KEPT_NS
        for stored in known.alerts:
            if stored.state == "pending" and self._webhook is not None:
                subject = _subject(stored)
                if stored.at_ns < oldest:
                    self._log.error("budget_alert_dropped", reason="it is too old", **subject)
                    self._spawn(self._end(stored.id, "failed"))
                else:
                    self._spawn(self._deliver(Alert(self._webhook, stored.id, stored.body, subject)))
        return known

    def tell(self, crossing: Crossing) -> None:
        """Send an alert in the background; never blocks, never raises."""
        self._post(self._of_crossing(crossing, crossing_body(crossing, self._clock.wall_ns())))

    def tell_refusal(self, refusal: Exceeded) -> None:
        """Send word of a refusal in the background; never blocks, never raises."""
        now_ns = self._clock.wall_ns()
        body, start_ns = refusal_body(refusal, now_ns), refusal.period.start_ns
        self._post(StoredAlert(_new_id(), now_ns, refusal.holder, refusal.reason, refusal.limit, start_ns, body))

    def count_as_told(self, crossing: Crossing) -> None:
        """Keep in mind that an alert was told, or need not be; never blocks, never raises."""
        self._spawn(self._record(replace(self._of_crossing(crossing, b""), state="told")))

    def _of_crossing(self, crossing: Crossing, body: bytes) -> StoredAlert:
        now_ns, start_ns = self._clock.wall_ns(), crossing.period.start_ns
        return StoredAlert(_new_id(), now_ns, crossing.holder, str(crossing.percent), crossing.limit, start_ns, body)

    def _post(self, stored: StoredAlert) -> None:
        subject = _subject(stored)
        if self._closing:
            return  # the next process tells what was reached and is not kept
        if self._webhook is None:
            if self._records is not None:
                self._spawn(self._record(replace(stored, body=b"", state="told")))
            return
        if len(self._pending) >= MOST_PENDING:
            self._log.error("budget_alert_dropped", reason="too many are waiting", **subject)
            return
        self._spawn(self._record_and_deliver(stored, Alert(self._webhook, stored.id, stored.body, subject)))

    def _spawn(self, work: Coroutine[Any, Any, bool]) -> None:
        task = self._tasks.spawn(work, "budget-alert")
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _record_and_deliver(self, stored: StoredAlert, alert: Alert) -> bool:
        return await self._deliver(alert) if await self._record(stored) else True

    async def _record(self, stored: StoredAlert) -> bool:
        """False if another gateway tells it."""
        if self._records is None:
            return True
        try:
            return await self._records.record(stored)
        except (GatewayError, StoreError) as error:
            return self._told_of(error)

    async def _end(self, id: str, state: AlertState) -> bool:
        if self._records is None:
            return True
        try:
            await self._records.end(id, state)
        except (GatewayError, StoreError) as error:
            self._told_of(error)
        return True

    def _told_of(self, error: Exception) -> bool:
        """A store that cannot be written keeps no alert from being sent; it may be told twice then."""
        self._log.warning("budget_alert_not_kept", reason=str(error))
        return True

    async def close(self, patience: float = 5.0) -> None:
        """Let tries that run end, ``patience`` seconds at most; what then is not delivered waits for the next start."""
        self._closing = True
        pending = list(self._pending)
        for task in pending:
            if task in self._resting:
                task.cancel()
        if pending:
            _, late = await asyncio.wait(pending, timeout=patience)
            for task in late:
                task.cancel()
            ends = await asyncio.gather(*pending, return_exceptions=True)
            if unsent := sum(end is not True for end in ends):
                event = "budget_alerts_given_up" if self._records is None else "budget_alerts_kept"
                self._log.warning(event, number=unsent, reason="the gateway stops")
        if self._client is not None:
            await self._client.close()

    async def _deliver(self, alert: Alert) -> bool:
        """Whether the receiver took it, now or in a later try."""
        tries = 0
        while True:
            async with self._at_once:
                failure = await self._send(alert)
            tries += 1
            if failure is None:
                self._log.info("budget_alert_sent", id=alert.id, tries=tries, **alert.subject)
                return await self._end(alert.id, "told")
            final = failure.final or tries > len(PAUSES)
            say = self._log.error if final else self._log.warning
            say("budget_alert_failed", id=alert.id, tries=tries, reason=failure.trouble, final=final, **alert.subject)
            if final:
                await self._end(alert.id, "failed")
            if final or self._closing:
                return False
            await self._rest(pause_before(tries, failure, self._randomness.random()))

    async def _rest(self, seconds: float) -> None:
        """Sleep so that ``close`` knows."""
        task = asyncio.current_task()
        assert task is not None
        self._resting.add(task)
        try:
            await self._sleep(seconds)
        finally:
            self._resting.discard(task)

    async def _send(self, alert: Alert) -> Failure | None:
        """One try. Anything but a 2xx is a failure; no redirect is followed, and no body is read."""
        webhook = alert.webhook
        seconds = self._clock.wall_ns() // 1_000_000_000
        assert self._client is not None
        headers = signed_headers(webhook.key, alert.id, seconds, alert.body)
        status, rest = await self._client.post(webhook.url, alert.body, headers)
        if status == 410 and self._webhook == webhook:
            self._webhook = None  # the receiver has done with us, as the specification has it; a reload asks again
        return failure_of(status, rest, seconds)


def crossing_body(crossing: Crossing, wall_ns: int) -> bytes:
    """The JSON of an alert that is raised now. Amounts are exact decimals in text."""
    data: dict[str, str | int | None] = {
        **_holder(crossing.holder),
        "percent": crossing.percent,
        "budget_usd": format_usd(crossing.limit.amount),
        "used_usd": format_usd(crossing.charged),
    }
    return _body("budget.crossed", data, crossing.period, wall_ns)


def refusal_body(refusal: Exceeded, wall_ns: int) -> bytes:
    """The JSON that says of a request, refused now, which budget had no room for it."""
    data: dict[str, str | int | None] = {
        **_holder(refusal.holder),
        "reason": refusal.reason,
        "budget_usd": format_usd(refusal.limit.amount),
        "used_usd": format_usd(refusal.charged),
        "reserved_usd": format_usd(refusal.reserved),
        "asked_usd": None if refusal.asked is None else format_usd(refusal.asked),
    }
    return _body("budget.refused", data, refusal.period, wall_ns)


def _body(type: str, data: dict[str, str | int | None], period: BudgetPeriod, wall_ns: int) -> bytes:
    start = None if period.end_ns is None else iso_time(period.start_ns, UTC)
    told = {**data, "period": period.kind, "period_start": start}
    return orjson.dumps({"type": type, "timestamp": iso_time(wall_ns, UTC), "data": told})


def _new_id() -> str:
    return f"msg_{secrets.token_hex(16)}"


def _subject(stored: StoredAlert) -> dict[str, str | int]:
    """What the log says of an alert."""
    cause: dict[str, str | int] = (
        {"percent": int(stored.cause)} if stored.cause.isdigit() else {"refused": stored.cause}
    )
    return {**_holder(cast("Holder", stored.holder)), **cause}


def _holder(holder: Holder) -> dict[str, str | int]:
    """Whose budget it is, and for which models if not for all."""
    whose: dict[str, str | int] = {holder[0]: holder[1]}
    return {**whose, "model": holder[2]} if len(holder) == 3 else whose
