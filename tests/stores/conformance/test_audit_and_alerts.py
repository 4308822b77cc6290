"""What every engine keeps of admins' acts and of budgets' alerts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.types import Budget
from gateway.stores.base import Store
from gateway.stores.key_records import KeyExists, KeySettings
from gateway.stores.records import AuditEntry, Correction, KnownAlerts, NotUnknown, StoredAlert

from .conftest import Reopen

NOW = 1_700_000_000_000_000_000
DAY = 24 * 3600 * 10**9
ALERT = StoredAlert("msg_1", NOW, ("key", "alice"), "80", Budget(5, "day"), NOW - 7, b'{"a": 1}')


def entry(act: str, at_ns: int = NOW, subject: str = "alice") -> AuditEntry:
    return AuditEntry(at_ns, "admin key", act, subject, "because", {"rpm": 7})


async def test_an_act_is_written_down_with_what_it_changed(store: Store, reopen: Reopen) -> None:
    mark = b"m" * 32
    await store.keys.create("alice", b"1" * 32, mark, KeySettings(), NOW, audit=entry("key.create"))
    with pytest.raises(KeyExists):
        await store.keys.create("alice", b"2" * 32, mark, KeySettings(), NOW, audit=entry("key.create", NOW + 1))
    await store.keys.update("alice", lambda old: replace(old, rpm=7), audit=entry("key.set", NOW + 2))
    with pytest.raises(ValueError, match="rpm"):
        await store.keys.update("alice", lambda old: replace(old, rpm=0), audit=entry("key.set", NOW + 3))
    await store.keys.rotate("alice", b"3" * 32, mark, NOW, NOW + DAY, audit=entry("key.rotate", NOW + 4))
    await store.keys.revoke("alice", NOW, audit=entry("key.revoke", NOW + 5))
    await store.keys.revoke("alice", NOW, audit=entry("key.revoke", NOW + 6))
    with pytest.raises(NotUnknown):
        await store.ledger.correct(Correction("x", NOW, "released", 0, 0, 0, "no"), entry("hold.release", NOW + 7))
    written = await (await reopen()).usage.audit(0)
    assert [(one.act, one.at_ns - NOW) for one in written] == [
        ("key.create", 0), ("key.set", 2), ("key.rotate", 4), ("key.revoke", 5),
    ]  # fmt: skip
    assert written[0] == entry("key.create")


async def test_entries_since_a_moment_oldest_first(store: Store) -> None:
    for number in range(3):
        name, digest = f"key{number}", bytes([number]) * 32
        act = entry("key.create", NOW + number, name)
        await store.keys.create(name, digest, b"m" * 32, KeySettings(), NOW, audit=act)
    assert [one.subject for one in await store.usage.audit(NOW + 1)] == ["key1", "key2"]
    assert await store.usage.audit(NOW + 3) == []


async def test_alerts_are_kept_until_they_are_told_and_after(store: Store, reopen: Reopen) -> None:
    assert await store.alerts.known() == KnownAlerts()
    await store.alerts.record(ALERT)
    await store.alerts.record(replace(ALERT, body=b"another"))
    refusal = replace(ALERT, id="msg_2", at_ns=NOW + 1, holder=("key", "alice", "gpt-*"), cause="used_up")
    await store.alerts.record(refusal)
    await store.alerts.end("msg_2", "told")
    again = await reopen()
    assert (await again.alerts.known()).alerts == (ALERT, replace(refusal, state="told"))
    await again.alerts.end("msg_1", "failed")
    assert [one.state for one in (await again.alerts.known()).alerts] == ["failed", "told"]


async def test_what_is_long_over_goes_but_what_is_pending_or_for_all_time(store: Store) -> None:
    for number, (period, state) in enumerate([("day", "told"), ("month", "pending"), ("total", "told")]):
        await store.alerts.record(
            replace(ALERT, id=str(number), budget=Budget(5, period), state=state)  # type: ignore[arg-type]
        )
    await store.alerts.record(replace(ALERT, id="new", at_ns=NOW + 100 * DAY))
    assert [one.id for one in (await store.alerts.known()).alerts] == ["1", "2", "new"]
