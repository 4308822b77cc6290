"""A SQLite store with something of everything that a store can hold, made by the store itself."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

from gateway.core.routing.durations import LearnedDurations, OrderKind
from gateway.core.types import Budget
from gateway.keys.hashing import Pepper, new_key
from gateway.stores.base import Store
from gateway.stores.delivery_records import Delivery
from gateway.stores.engines import open_store
from gateway.stores.job_records import StoredJob, StoredResult
from gateway.stores.key_records import KeySettings
from gateway.stores.records import AttemptRecord, AuditEntry, Balance, BookedPrice, Correction, StoredAlert
from gateway.stores.response_records import KeptPlace, StoredResponse
from tests.stores.makers import StoppedClock, intent, nothing_pending, released, settlement, task

NOW = StoppedClock().wall_ns()
DAY = 24 * 3600 * 10**9
PEPPER = Pepper(b"p" * 32)
KEYS = ("alice", "bob", "carol")
PRICES = (None, BookedPrice("piapi", "gpt-4o", '{"input":1}'), BookedPrice("backup", "gpt-4o", "", "priority"))


async def furnish(path: Path, exchanges: int = 120) -> None:
    """Make the store and close it as a gateway does that ends well."""
    store = await open_store(f"sqlite:///{path}", StoppedClock())
    await _keys(store)
    await _books(store, exchanges)
    await _records(store)
    await store.close()


async def _keys(store: Store) -> None:
    settings = KeySettings(
        team="growth",
        models=("gpt-4o*", "flux-dev"),
        rpm=60,
        budget=Budget(50_000_000_000, "month"),
        model_budgets=(("gpt-4o*", Budget(5, "day")), ("a*", Budget(2**63 - 1, "week"))),
        alert=(50, 80),
        note="Größe\n'; DROP TABLE keys; --",
    )
    for name in (*KEYS, "dave"):
        entry = AuditEntry(NOW, "local user root", "key.create", name, details={"budget": "50/month"})
        await store.keys.create(name, PEPPER.digest(new_key().encode()), PEPPER.mark, settings, NOW, audit=entry)
    for number, until_ns in ((1, NOW + 90), (2, NOW + 50)):
        digest = PEPPER.digest(bytes([number]))
        await store.keys.rotate("alice", digest, PEPPER.mark, NOW + number, until_ns)
    await store.keys.revoke("dave", NOW + 3)
    await store.teams.remember({"growth": Budget(5, "week"), "free": None}, NOW)


async def _books(store: Store, exchanges: int) -> None:
    chance = random.Random(7)
    for number in range(exchanges):
        name = f"exchange-{number}"
        at_ns = NOW - chance.randrange(100 * DAY)
        changes: dict[str, Any] = {"key": chance.choice(KEYS), "model": chance.choice(("gpt-4o", "flux\0dev"))}
        await store.ledger.reserve(replace(intent(name, at_ns=at_ns, team=chance.choice((None, "growth"))), **changes))
        state = chance.choice(("settled", "settled", "settled", "released", "unknown"))
        cost = chance.randrange(10**9)
        attempt = AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok\0", 4, cost=cost)
        booked = {"charged": cost + 5, "upstream_cost": cost, "attempts": (attempt,), "price": chance.choice(PRICES)}
        if state == "unknown":
            await store.ledger.record_task(task(f"task-{number}", name))
        store.ledger.settle(released(name) if state == "released" else settlement(name, state=state, **booked))
        if state == "unknown" and number % 3:
            ends = ("settled", 7) if number % 3 == 1 else ("released", 0)
            await nothing_pending(store.ledger)
            await store.ledger.correct(Correction(name, NOW, ends[0], ends[1], 3, 1, "task completed", "backup"))  # type: ignore[arg-type]
    await nothing_pending(store.ledger)
    await store.ledger.prune(NOW - 60 * DAY, NOW)
    for number in range(4):
        await store.balances.record([Balance("piapi", "first", NOW - number * DAY, 10**12 - number)])


async def _records(store: Store) -> None:
    for number, state in enumerate(("pending", "told", "failed")):
        alert = StoredAlert(f"msg_{number}", NOW, ("key", "alice"), "80", Budget(5, "day"), number, b"{}", state)  # type: ignore[arg-type]
        await store.alerts.record(alert)
    await store.responses.keep(
        [
            StoredResponse("resp_1", "alice", NOW, None, b'{"id":"resp_1"}', b"[]", b"data: {}", ("msg_1", "msg_2")),
            StoredResponse("resp_2", "alice", NOW + 1, "resp_1", bytes(5_000), b"[1]", b"", ("msg_3",)),
        ]
    )
    await store.response_places.keep([KeptPlace("bob", "resp_9", ("backup", "second"), NOW)])
    small, large = StoredResult(200, b"[]", b"{}", None, 2), StoredResult(200, b"[]", None, "job_b.answer", 70_000)
    job = StoredJob("job_a", "alice", "growth", "/v1/images", "flux-dev", b"f" * 32, b"i" * 32, "e", "r", True, NOW)
    await store.jobs.keep(replace(job, state="completed", ended_ns=NOW, told=True, cost="0.02", error=b"{}"), small)
    await store.jobs.keep(replace(job, id="job_b", state="completed", ended_ns=NOW, left=True), large)
    await store.jobs.keep(replace(job, id="job_c", state="running", created_ns=NOW - 1, purchased=True))
    await store.deliveries.expect(Delivery("msg_a", "ops", "job_a", "alice", NOW))
    await store.deliveries.expect(Delivery("msg_c", "ops", "job_c", "alice", NOW))
    await store.deliveries.post("job_a", "job.completed", b"{}", NOW)
    learned = LearnedDurations()
    for number in range(20):
        learned.observe(OrderKind("piapi", "images", "gpt-image-1", "1024x1024", "high"), 60.0 + number, NOW / 1e9)
    await store.durations.keep(learned.changed(), learned.half_life)


async def told(store: Store, path: Path | None = None) -> dict[str, Any]:
    """Everything that a store tells, by what is asked."""
    by = ("key", "team", "model", "upstream", "day")
    usage = await store.usage.usage(since_ns=0, until_ns=2**62, by=by, time_zone=UTC)
    return {
        "keys": await store.keys.page(include_revoked=True),
        "active": await store.keys.active(NOW + 3),
        "mark": await store.keys.pepper_mark(),
        "teams": await store.teams.seen(),
        "usage": [(*(row.group[name] for name in by), row) for row in usage],
        "charged": await store.usage.charged_since(NOW - 40 * DAY),
        "held": await store.usage.held(NOW),
        "unknown": await store.ledger.unknown_exchanges(0),
        "task": await store.ledger.find_task("task-1"),
        "balances": await store.balances.periods(0, 2**62),
        "audit": await store.usage.audit(0),
        "alerts": (await store.alerts.known()).alerts,
        "chain": await store.responses.chain("alice", "resp_2", 1 << 20),
        "items": await store.responses.with_items("alice", ["msg_2", "msg_3"]),
        "places": await store.response_places.find("bob", ["resp_9"]),
        "jobs": await store.jobs.since(0),
        "results": [await store.jobs.result(id) for id in ("job_a", "job_b", "job_c")],
        "deliveries": await store.deliveries.page(99),
        "durations": await store.durations.all(),
    }
