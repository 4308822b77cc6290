"""Tells the operator's webhooks how jobs ended, signed as Standard Webhooks describes (core/webhooks.py).

    POST <webhooks.NAME.url>
    {"type": "job.completed", "timestamp": "2026-11-22T08:47:01Z", "data": {"id": "job_…", "object": "gateway.job", …}}

A client chooses a webhook by its name in the configuration, never by an address. That one waits for a job is written
down before the job buys anything, the message as soon as it has ended, and every try: what a process that ends leaves
is sent by the next one, under the same id. What cannot be delivered in so many tries has failed; the admin API lists
everything for a week.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.core.chance import Randomness
from gateway.core.connection_options import DIRECT, ConnectionOptions
from gateway.core.errors import ClientError, GatewayError, StoreError, shorten
from gateway.core.signing import signing_key
from gateway.core.webhooks import PAUSES, Failure, failure_of, pause_before, signed_headers
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.delivery_records import Delivery, DeliveryRecords
from gateway.stores.fleet_records import FleetRecords
from gateway.telemetry.log import Log
from gateway.upstream.pool import ConnectionPool

if TYPE_CHECKING:
    from gateway.upstream.webhook_client import WebhookClient

JOB_PAUSES = (*PAUSES, 3600.0, 3 * 3600.0, 8 * 3600.0)
"""Seconds before each further try: a receiver that is down for a night still gets its messages."""

MOST_AT_ONCE, MOST_AT_ONE = 8, 4
"""Tries under way, of all webhooks and of one: one that is slow holds up no other."""

KEPT_NS = 7 * 24 * 3600 * 1_000_000_000
LONGEST_WAIT_NS = 30 * 24 * 3600 * 1_000_000_000
MOST_KEPT = 10_000
"""How long a delivery is listed after it is over, and how many; and how long one may wait at all."""

SWEEP_EVERY = 600.0
"""Seconds between two looks for what is over for too long."""

LOOK_EVERY = 5.0
"""Seconds between two looks for messages of jobs that ended at other gateways."""

LONGEST_REST = 60.0
"""Seconds after which the clock is looked at again, which may have been set."""

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a webhook's messages go, and the key that signs them. The address may hold a secret as well."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)


class Deliveries:
    """The messages about jobs of one gateway. ``configure`` says who may be told. One event loop only."""

    def __init__(
        self,
        records: DeliveryRecords,
        pool: ConnectionPool,
        clock: Clock,
        randomness: Randomness,
        log: Log,
        tasks: TrackedTasks,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        fleet: FleetRecords | None = None,
    ) -> None:
        self._shared = None if fleet is None else fleet.deliveries
        self._leases = None if fleet is None else fleet.leases
        self._records = records
        self._pool = pool
        self._clock = clock
        self._randomness = randomness
        self._log = log
        self._tasks = tasks
        self._sleep = sleep
        self._receivers: Mapping[str, Receiver] = {}
        self._client: WebhookClient | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._closing = False

    def configure(self, webhooks: Mapping[str, tuple[str, str]], options: ConnectionOptions = DIRECT) -> None:
        """From now on these receive: name → URL and secret. ``options``: how their hosts are connected to.

        Raises ValueError for a secret that cannot be one; then nothing has changed.
        """
        self._receivers = {name: Receiver(url, signing_key(secret)) for name, (url, secret) in webhooks.items()}
        if self._receivers:
            if self._client is None:
                from gateway.upstream.webhook_client import WebhookClient  # a twelfth of the start, most need none

                self._client = WebhookClient(self._pool)
            self._client.connect_by(options)
        self._news.set()

    def check(self, name: str) -> None:
        """Raise ClientError 400 if no webhook has this name."""
        if name in self._receivers:
            return
        known = ", ".join(sorted(self._receivers))
        there = f"Those of this gateway: {known}." if known else "This gateway has none."
        raise ClientError(
            400,
            "invalid_request_error",
            "unknown_webhook",
            f"There is no webhook '{shorten(name)}' in the setting 'webhooks', which names the receivers that a "
            f"request may choose. {there}",
            param="x-gateway-webhook",
        )

    async def expect(self, name: str, job: str, key: str) -> None:
        """Write down that this webhook is told of the job's end. Raises ledger_unavailable."""
        id = f"msg_{secrets.token_hex(16)}"
        await self._records.expect(Delivery(id, name, job, key, self._clock.wall_ns()))

    async def job_ended(self, job: str, type: str, body: bytes) -> None:
        """The job has ended: the webhooks that wait for that are told. Never raises.

        ``type``: ``job.completed``, ``job.failed`` or ``job.cancelled``. ``body``: the message.
        """
        try:
            if await self._records.post(job, type, body, self._clock.wall_ns()):
                self._news.set()
        except (GatewayError, StoreError) as error:
            self._log.error("webhook_not_kept", job=job, reason=str(error))

    async def expected(self) -> Sequence[Delivery]:
        """Those that wait for the end of a job that an earlier process, or another gateway, may have begun: of several
        gateways, where that has ended. Raises StoreError.
        """
        return await (self._records.waiting() if self._shared is None else self._shared.overdue())

    async def awaited(self, job: str) -> bool:
        """Whether a webhook waits for the end of the job that was named at another gateway. Never raises."""
        if self._shared is None:
            return False
        try:
            return await self._shared.awaited(job)
        except StoreError:
            return True

    async def forgotten(self, delivery: Delivery) -> None:
        """There is nothing to be told any more: the job was forgotten before it ended. Never raises."""
        ended = replace(delivery, state="failed", reason="the job was forgotten before its end was told")
        try:
            await self._records.tried(ended, self._clock.wall_ns())
        except (GatewayError, StoreError) as error:
            self._log.error("webhook_not_kept", job=delivery.job, reason=str(error))

    async def page(
        self, limit: int, after: str = "", *, webhook: str = "", state: str = "", job: str = ""
    ) -> Sequence[Delivery]:
        """What the admin API lists, the newest first. Raises StoreError."""
        return await self._records.page(limit, after, webhook=webhook, state=state, job=job)

    def start(self) -> None:
        """Begin to send, now and for ever."""
        self._watching = self._tasks.spawn(self._watch(), "webhooks")
        self._tasks.spawn(self._age_out(), "webhooks-age-out")

    async def close(self, patience: float = 5.0) -> None:
        """Let tries that run end, ``patience`` seconds at most; what then is not delivered waits for the next start."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
        if running := [*self._sending.values()]:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def _watch(self) -> None:
        while True:
            self._news.clear()
            try:
                pause = await self._send_what_is_due() if self._receivers or self._shared is None else None
                if pause is None and self._shared is not None and self._receivers:
                    pause = LOOK_EVERY
            except (GatewayError, StoreError) as error:
                self._log.error("webhooks_not_read", reason=str(error))
                pause = LONGEST_REST
            await self._until_news(pause)

    async def _send_what_is_due(self) -> float | None:
        """Begin the tries that are due and find room. Returns the seconds until the next is due; None if only news can
        bring one.
        """
        full = [name for name, number in self._busy.items() if number >= MOST_AT_ONE]
        while len(self._sending) < MOST_AT_ONCE:
            found = await self._records.to_send(1, [*self._sending], full)
            if not found:
                return None
            seconds = (found[0].next_ns - self._clock.wall_ns()) / _NS
            if seconds > 0:
                return min(seconds, LONGEST_REST)
            self._begin(found[0])
            if self._busy[found[0].webhook] >= MOST_AT_ONE:
                full.append(found[0].webhook)
        return None  # one that ends makes room, and news

    def _begin(self, delivery: Delivery) -> None:
        self._busy[delivery.webhook] += 1
        task = self._tasks.spawn(self._try(delivery), "webhook")
        self._sending[delivery.id] = task

    async def _until_news(self, seconds: float | None) -> None:
        if seconds is None:
            await self._news.wait()
            return
        news = self._tasks.spawn(self._news.wait(), "webhooks-news")
        time = self._tasks.spawn(_returning(self._sleep(seconds)), "webhooks-rest")
        try:
            await asyncio.wait({news, time}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            time.cancel()

    async def _try(self, delivery: Delivery) -> None:
        """One try, and what it came to written down."""
        try:
            status, failure = await self._send(delivery)
            await self._records.tried(self._judged(delivery, status, failure), self._clock.wall_ns())
        except (GatewayError, StoreError) as error:
            self._log.error("webhook_not_kept", id=delivery.id, job=delivery.job, reason=str(error))
            await self._sleep(1.0)  # it is sent again, as it is not known that it was
        finally:
            del self._sending[delivery.id]
            self._busy[delivery.webhook] -= 1
            self._news.set()

    async def _send(self, delivery: Delivery) -> tuple[int, Failure | None]:
        """Its status, 0 without one, and what went wrong."""
        receiver = self._receivers.get(delivery.webhook)
        if receiver is None or self._client is None:
            return 0, Failure("the webhook is no longer in the configuration", final=True)
        seconds = self._clock.wall_ns() // _NS
        headers = signed_headers(receiver.key, delivery.id, seconds, delivery.body)
        status, rest = await self._client.post(receiver.url, delivery.body, headers)
        return status, failure_of(status, rest, seconds)

    def _judged(self, delivery: Delivery, status: int, failure: Failure | None) -> Delivery:
        tries = delivery.tries + 1
        subject = {"id": delivery.id, "webhook": delivery.webhook, "job": delivery.job, "tries": tries}
        if failure is None:
            self._log.info("webhook_sent", **subject)
            return replace(delivery, state="told", tries=tries, status=status, reason="")
        final = failure.final or tries > len(JOB_PAUSES)
        say = self._log.error if final else self._log.warning
        say("webhook_failed", reason=failure.trouble, final=final, **subject)
        if final:
            return replace(delivery, state="failed", tries=tries, status=status, reason=failure.trouble)
        pause = pause_before(tries, failure, self._randomness.random(), JOB_PAUSES)
        next_ns = self._clock.wall_ns() + int(pause * _NS)
        return replace(delivery, tries=tries, status=status, reason=failure.trouble, next_ns=next_ns)

    async def _age_out(self) -> None:
        while True:
            now_ns = self._clock.wall_ns()
            try:
                if self._leases is None or await self._leases.hold("webhooks-age-out", 3 * SWEEP_EVERY):
                    await self._records.sweep(now_ns - KEPT_NS, now_ns - LONGEST_WAIT_NS, MOST_KEPT)
            except (GatewayError, StoreError) as error:
                self._log.error("webhooks_not_aged_out", reason=str(error))
            await asyncio.sleep(SWEEP_EVERY)


async def _returning(work: Awaitable[object]) -> None:
    await work
