"""Fakes of what stands around an exchange, which keep what they are told: client, ledger, log, alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.headers import Headers
from gateway.core.pricing.budget_errors import Exceeded
from gateway.core.pricing.budgets import Crossing
from gateway.server.client import Client as RealClient
from gateway.stores.base import Held, TaskRecord
from gateway.telemetry.redaction import Redactor
from gateway.telemetry.request_line import request_fields
from tests.exchange.scripted import now
from tests.heads import request_of


class Client(RealClient):
    """A client that writes down what it is sent, and when. ``takes``: the seconds it needs for each piece."""

    def __init__(self, takes: float = 0.0) -> None:
        super().__init__(request_of(), keep_alive=True)
        self.takes = takes
        self.aborted = False
        self.headers: dict[bytes, bytes] = {}
        self.got: list[tuple[float, bytes]] = []
        self.told: GatewayError | None = None

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.got)

    def leave(self, *, stalled: bool = False) -> None:
        """The connection breaks."""
        self.left(stalled=stalled)

    def abort(self) -> None:
        self.aborted = True

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        await super().respond(status, headers, body)
        await asyncio.sleep(self.takes)
        if not self.gone:
            self.got.append((now(), body))

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        self.told = error
        await self.respond(error.status, headers, b"")

    async def stream_error(self, error: GatewayError) -> None:
        assert self.started
        self.told = error
        await self.finish()

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(self.takes)
        await super().write(data)

    def write_now(self, data: bytes) -> bool:
        taken = super().write_now(data)
        if taken and not self.gone:
            self.got.append((now(), data))
        return taken

    def _begin(self, status: int, headers: Headers, framing: bytes, default: bytes) -> bytes:
        self.headers = {**({b"content-type": b"application/json"} if default else {}), **dict(headers)}
        return super()._begin(status, headers, framing, default)

    def _put(self, data: bytes, head: bytes = b"") -> None:
        super()._put(data, head)
        if not self.gone:
            self.got.append((now(), data))


@dataclass
class Books:
    """A ledger that keeps what it is handed. ``takes``: seconds until an intent is committed.

    ``trouble``, ``task_trouble``: why intents, or tasks, cannot be written down.
    """

    takes: float = 0.0
    trouble: GatewayError | None = None
    task_trouble: GatewayError | None = None
    intents: list[ExchangeRecord] = field(default_factory=list)
    settlements: list[ExchangeRecord] = field(default_factory=list)
    tasks: list[TaskRecord] = field(default_factory=list)
    charged: Mapping[tuple[str, str | None, str], int] = field(default_factory=dict)
    holds: list[Held] = field(default_factory=list)

    async def reserve(self, intent: ExchangeRecord) -> None:
        await asyncio.sleep(self.takes)
        if self.trouble is not None:
            raise self.trouble
        self.intents.append(intent)

    def settle(self, settlement: ExchangeRecord) -> None:
        self.settlements.append(settlement)

    async def record_task(self, record: TaskRecord) -> None:
        if self.task_trouble is not None:
            raise self.task_trouble
        self.tasks.append(record)

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        if self.trouble is not None:
            raise self.trouble
        return self.charged

    async def held(self, now_ns: int) -> list[Held]:
        return self.holds

    @property
    def row(self) -> ExchangeRecord:
        """The only settlement there is."""
        [settlement] = self.settlements
        return settlement

    @property
    def outcomes(self) -> list[str]:
        """How the row's attempts ended, in order."""
        return [attempt.outcome for attempt in self.row.attempts]


@dataclass
class Log:
    """Keeps its lines."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    redactor: Redactor = field(default_factory=Redactor)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    debug = warning = error = info

    def request(self, record: ExchangeRecord) -> None:
        self.info("request", **request_fields(record))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]


class Clock:
    """The loop's time, and a date to go with it."""

    def monotonic(self) -> float:
        return now()

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int(now() * 1e9)


@dataclass
class Alerts:
    """Keeps the crossings that would be sent to the webhook, by holder and percentage."""

    told: list[tuple[str, str, int]] = field(default_factory=list)
    refused: list[Exceeded] = field(default_factory=list)

    def configure(self, url: str, secret: str) -> None:
        raise AssertionError("no test here has a webhook")

    def tell(self, crossing: Crossing) -> None:
        self.told.append((crossing.holder[0], crossing.holder[-1], crossing.percent))

    def tell_refusal(self, refusal: Exceeded) -> None:
        self.refused.append(refusal)

    def keep_in(self, records: object) -> None:
        raise AssertionError("no test here has a store")

    def count_as_told(self, crossing: Crossing) -> None:
        raise AssertionError("no test here has alerts of an earlier process")

    async def restore(self) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing was opened."""
