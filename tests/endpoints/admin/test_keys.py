"""Virtual keys over the admin listener: made, shown, changed, rotated, revoked; the key itself told once."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.budgets import budgets_of_keys
from gateway.config import budget, duration
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import Budgets, Reservation
from gateway.core.types import Budget, VirtualKey
from gateway.endpoints.admin.door import AdminDoor
from gateway.endpoints.admin.routes import AdminSource, admin_routes
from gateway.keys.fields import KeyRules
from gateway.keys.keyring import Keyring
from gateway.keys.service import KeyListing, KeyService
from gateway.server.dispatch import Dispatch
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.store import SQLiteStore, pepper_file
from tests.in_force import Settings
from tests.raw_client import Answer, RawClient

KEYS = "/admin/v1/keys"
ADMIN_KEY = "admin-0123456789abcdef"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
NOTHING_SET = {
    "source": "store",
    "state": "active",
    "team": None,
    "models": ["*"],
    "rpm": None,
    "tpm": None,
    "parallel": None,
    "budget": None,
    "budget_used_usd": None,
    "budget_reserved_usd": None,
    "budget_held_usd": None,
    "budget_left_usd": None,
    "budget_renews": None,
    "model_budgets": {},
    "team_budget": None,
    "alert": None,
    "expires": None,
    "note": "",
    "created": "2026-11-22T08:00:00Z",
    "revoked": None,
    "old_key_until": None,
    "older_keys_until": [],
}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def wall_ns(self) -> int:
        return int(self.now.timestamp()) * 1_000_000_000

    def monotonic(self) -> float:
        return 0.0


class Desk:
    """An admin listener with its books, and a client of it."""

    def __init__(self, ledger: SQLiteLedger, ring: Keyring, clock: Clock) -> None:
        self.ring = ring
        self.ledger = ledger
        self.clock = clock
        self.rules = KeyRules((), frozenset(), UTC, budget, duration)
        self.budgets = Budgets(UTC, clock.wall_ns())
        self.crashes: list[Exception] = []
        store = SQLiteStore(ledger)
        listing = KeyListing(
            store.keys,
            rules=lambda: self.rules,
            wall_ns=clock.wall_ns,
            budget=lambda holder: self.budgets.state(holder, clock.wall_ns()),
        )
        desk = KeyService(
            listing,
            store.keys,
            rules=lambda: self.rules,
            pepper=lambda: ring.pepper,
            wall_ns=clock.wall_ns,
            apply=ring.change,
        )
        self.app = Dispatch({}, admin_routes(_source(desk)), lambda _, crash: self.crashes.append(crash))
        self.client: RawClient
        self.connect: Any

    async def ask(self, method: str, path: str, fields: Any = None, *, key: str = ADMIN_KEY) -> Answer:
        body = b"" if fields is None else json.dumps(fields).encode()
        return await self.client.request(method, path, body, f"Authorization: Bearer {key}")

    async def done(self, method: str, path: str, fields: Any = None) -> Any:
        """The body of an answer that must be a 200 which nobody keeps."""
        answer = await self.ask(method, path, fields)
        assert answer.status == 200, answer.body
        assert answer.header("cache-control") == "no-store"
        return answer.json()

    async def refused(self, method: str, path: str, fields: Any = None) -> tuple[int, str | None, str | None]:
        answer = await self.ask(method, path, fields)
        error = answer.error()
        assert answer.header("x-should-retry") == "false"
        return answer.status, error["code"], error["param"]

    async def page(self, query: str = "") -> tuple[list[str], bool, str | None]:
        page = await self.done("GET", f"{KEYS}{query}")
        assert page["object"] == "list"
        return [key["name"] for key in page["data"]], page["has_more"], page["last"]

    def opens(self, key: str) -> str | None:
        found = self.ring.find(hashlib.sha256(key.encode()).digest())
        return None if found is None else found.name


def _source(desk: KeyService) -> AdminSource:
    async def nothing(*_: Any) -> list[Any]:
        return []

    return AdminSource(
        door=AdminDoor(Settings(admin_key=ADMIN_KEY), lambda _: "192.0.2.1", count(0.0, 60.0).__next__),
        open_metrics=lambda: False,
        metrics=lambda _: (iter(()), "text/plain"),
        usage=nothing,
        upstreams=nothing,  # type: ignore[arg-type]  # no test here asks for them
        keys=desk,
        ledger=None,  # type: ignore[arg-type]  # no test here asks for them
        reports=None,  # type: ignore[arg-type]  # no test here asks for them
        jobs=None,  # type: ignore[arg-type]  # no test here asks for them
        deliveries=None,  # type: ignore[arg-type]  # no test here asks for them
        reload=nothing,
    )


@pytest.fixture
async def desk(tmp_path: Path, serve: Any, connect: Any) -> AsyncIterator[Desk]:
    clock = Clock()
    ledger = await SQLiteLedger.open(tmp_path / "gateway.db", clock=clock)
    desk = Desk(ledger, await Keyring.open(SQLiteStore(ledger).keys, pepper_file(ledger.path), "", clock), clock)
    server = await serve(desk.app)
    desk.connect = partial(connect, server)
    desk.client = await desk.connect()
    yield desk
    await ledger.close()
    assert desk.crashes == []


async def test_a_key_is_told_when_it_is_made_and_never_again(desk: Desk) -> None:
    made = await desk.done("POST", KEYS, {"name": "alice"})
    key = made.pop("key")
    assert made == {"name": "alice", **NOTHING_SET}
    assert key.startswith("gw-")
    assert desk.opens(key) == "alice"
    later = [
        await desk.ask("GET", KEYS),
        await desk.ask("GET", f"{KEYS}/alice"),
        await desk.ask("PATCH", f"{KEYS}/alice", {"rpm": 5}),
        await desk.ask("DELETE", f"{KEYS}/alice"),
    ]
    digest = desk.ring.pepper.digest(key.encode())
    for answer in later:
        for secret in (key.encode(), key[-8:].encode(), digest.hex().encode(), hashlib.sha256(key.encode()).digest()):
            assert secret not in answer.body


async def test_settings_are_shown_as_they_were_written(desk: Desk) -> None:
    fields = {
        "team": "growth",
        "models": ["gpt-4o*", "flux-dev"],
        "budget": "0.5/day",
        "rpm": 60,
        "tpm": 200_000,
        "parallel": 8,
        "expires": "2026-12-31T12:00:00+01:00",
        "note": "of the growth team\nuntil the end of the year",
    }
    made = await desk.done("POST", KEYS, {"name": "alice", **fields})
    shown = {**NOTHING_SET, "name": "alice", **fields, "expires": "2026-12-31T11:00:00Z"}
    assert {**made, "key": None} == {**shown, "key": None}
    assert await desk.done("GET", f"{KEYS}/alice") == shown
    changed = await desk.done("PATCH", f"{KEYS}/alice", {"rpm": 90, "budget": "1234567.89/month"})
    assert changed == shown | {"rpm": 90, "budget": "1234567.89/month"}
    found = desk.ring.find(hashlib.sha256(made["key"].encode()).digest())
    assert found is not None
    assert (found.rpm, found.budget) == (90, Budget(1_234_567_890_000_000, "month"))
    unset = await desk.done("PATCH", f"{KEYS}/alice", dict.fromkeys(fields))
    assert unset == {"name": "alice", **NOTHING_SET}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", "2027-02-20T08:00:00Z"),
        ("12h", "2026-11-22T20:00:00Z"),
        ("2030-01-31", "2030-01-31T22:00:00Z"),
        ("2030-12-31", "2030-12-31T22:00:00Z"),
        ("2030-01-31Z", "2030-02-01T00:00:00Z"),
        ("2030-01-31+05:30", "2030-01-31T18:30:00Z"),
        ("2026-11-22", "2026-11-22T22:00:00Z"),
        ("2030-01-31T08:00", "2030-01-31T06:00:00Z"),
        ("2030-01-31T08:00Z", "2030-01-31T08:00:00Z"),
    ],
)
async def test_an_expiry_is_a_time_from_now_or_the_end_of_a_day_of_our_zone(desk: Desk, text: str, moment: str) -> None:
    desk.rules = KeyRules((), frozenset(), timezone(timedelta(hours=2)), budget, duration)
    made = await desk.done("POST", KEYS, {"name": "alice", "expires": text})
    assert made["expires"] == moment
    desk.clock.now = datetime.fromisoformat(moment) - timedelta(seconds=1)
    assert desk.opens(made["key"]) is not None
    desk.clock.now = datetime.fromisoformat(moment)
    assert desk.opens(made["key"]) is None
    assert (await desk.done("GET", f"{KEYS}/alice"))["state"] == "expired"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "name", "missing_required_parameter"),
    ({"name": None}, "name", "missing_required_parameter"),
    ({"name": 5}, "name", "invalid_type"),
    *(
        ({"name": name}, "name", "invalid_value")
        for name in ("", "a b", "a/b", "ä", "x" * 65, "..", "other", "anonymous")
    ),
    ({"name": "a", "colour": "red"}, "colour", "unknown_parameter"),
    ({"name": "a", "key": "gw-my-own"}, "key", "unknown_parameter"),
    ({"name": "a", "digest": "00"}, "digest", "unknown_parameter"),
    ({"name": "a", "team": 5}, "team", "invalid_type"),
    ({"name": "a", "team": "a team"}, "team", "invalid_value"),
    ({"name": "a", "models": "gpt-4o"}, "models", "invalid_type"),
    ({"name": "a", "models": ["gpt-4o", 5]}, "models[1]", "invalid_type"),
    ({"name": "a", "models": []}, "models", "invalid_value"),
    ({"name": "a", "models": ["*-mini"]}, "models", "invalid_value"),
    ({"name": "a", "models": ["m"] * 1001}, "models", "invalid_value"),
    ({"name": "a", "model_budgets": "5/day"}, "model_budgets", "invalid_type"),
    ({"name": "a", "model_budgets": {"gpt-4o": 5}}, "model_budgets.gpt-4o", "invalid_type"),
    ({"name": "a", "model_budgets": {"gpt-4o": "5"}}, "model_budgets.gpt-4o", "invalid_value"),
    ({"name": "a", "model_budgets": {"g*o": "5/day"}}, "model_budgets", "invalid_value"),
    ({"name": "a", "models": {"gpt-4o": "5/year"}}, "model_budgets.gpt-4o", "invalid_value"),
    ({"name": "a", "models": {"a": "5/day"}, "model_budgets": {}}, "model_budgets", "invalid_value"),
    ({"name": "a", "models": [{"a": "5/day"}, {"a": "6/day"}]}, "models", "invalid_value"),
    *(
        ({"name": "a", "alert": alert}, "alert", "invalid_value")
        for alert in (0, 101, "x", [], [50, "a"], True, 80.5, "")
    ),
    ({"name": "a", "budget": 50}, "budget", "invalid_type"),
    ({"name": "a", "budget": "50"}, "budget", "invalid_value"),
    ({"name": "a", "budget": "-1/day"}, "budget", "invalid_value"),
    ({"name": "a", "budget": "1/year"}, "budget", "invalid_value"),
    ({"name": "a", "budget": "1e99/day"}, "budget", "invalid_value"),
    *(
        ({"name": "a", limit: value}, limit, code)
        for limit in ("rpm", "tpm", "parallel")
        for value, code in ((0, "invalid_value"), (-1, "invalid_value"), (10**16, "invalid_value"))
    ),
    *(({"name": "a", "rpm": value}, "rpm", "invalid_type") for value in (True, 1.5, "60", [60])),
    ({"name": "a", "expires": 90}, "expires", "invalid_type"),
    *(
        ({"name": "a", "expires": text}, "expires", "invalid_value")
        for text in (
            "soon",
            "90",
            "0",
            "2020-01-01",
            "2026-11-21",
            "2030-02-30",
            "9999-12-31",
            "2500-01-01",
            "99999d",
            "0001-01-01T00:00+12:00",
        )
    ),
    ({"name": "a", "note": ["x"]}, "note", "invalid_type"),
    ({"name": "a", "note": "x" * 1001}, "note", "invalid_value"),
    ({"name": "a", "note": "\x1b[2J"}, "note", "invalid_value"),
]


async def test_what_makes_no_sense_is_refused_by_name_and_makes_nothing(desk: Desk) -> None:
    await desk.done("POST", KEYS, {"name": "old"})
    before = await desk.done("GET", f"{KEYS}/old")
    for fields, param, code in WRONG:
        assert await desk.refused("POST", KEYS, fields) == (400, code, param), fields
        if param != "name":
            change = {name: value for name, value in fields.items() if name != "name"}
            assert await desk.refused("PATCH", f"{KEYS}/old", change) == (400, code, param), fields
    assert await desk.refused("PATCH", f"{KEYS}/old", {"name": "new"}) == (400, "unknown_parameter", "name")
    assert (await desk.page())[0] == ["old"]
    assert await desk.done("GET", f"{KEYS}/old") == before


async def test_a_body_is_read_as_strictly_as_any_clients(desk: Desk) -> None:
    as_admin = f"Authorization: Bearer {ADMIN_KEY}"
    for body, code in (
        (b'{"name": "a", "rpm": 18446744073709551616}', "invalid_json"),
        (b'["a"]', "invalid_json"),
        (b"name=a", "invalid_json"),
        (b'{"name": "a", "rpm": NaN}', "invalid_json"),
    ):
        answer = await desk.client.request("POST", KEYS, body, as_admin)
        assert (answer.status, answer.error()["code"]) == (400, code)
    answer = await desk.client.request("POST", KEYS, b'{"note": "' + b"x" * 262_144 + b'"}', as_admin)
    assert answer.status == 413


async def test_a_body_may_be_compressed_and_is_limited_all_the_same(desk: Desk) -> None:
    head = f"Authorization: Bearer {ADMIN_KEY}", "Content-Encoding: gzip"
    answer = await desk.client.request("POST", KEYS, gzip.compress(b'{"name": "packed"}'), *head)
    assert (answer.status, answer.json()["name"]) == (200, "packed")
    answer = await desk.client.request("POST", KEYS, gzip.compress(b'{"note": "' + b"x" * 262_144 + b'"}'), *head)
    assert answer.status == 413


async def test_where_teams_are_named_a_key_belongs_to_one_of_them(desk: Desk) -> None:
    desk.rules = KeyRules((), frozenset({"growth", "core"}), UTC, budget, duration)
    answer = await desk.ask("POST", KEYS, {"name": "alice", "team": "grwoth"})
    assert (answer.status, answer.error()["param"]) == (400, "team")
    assert "only core, growth" in answer.error()["message"]
    assert (await desk.done("POST", KEYS, {"name": "alice", "team": "growth"}))["team"] == "growth"


async def test_names_are_given_once(desk: Desk) -> None:
    """The books know keys by name: another person's key must not inherit somebody's spending."""
    await desk.done("POST", KEYS, {"name": "alice"})
    assert await desk.refused("POST", KEYS, {"name": "alice"}) == (409, "key_exists", "name")
    await desk.done("DELETE", f"{KEYS}/alice")
    assert await desk.refused("POST", KEYS, {"name": "alice"}) == (409, "key_exists", "name")


async def test_what_is_not_there_is_404(desk: Desk) -> None:
    for name in ("nobody", "%00", "%ED%A0%80", "x" * 1000, "' OR 1=1 --".replace(" ", "%20")):
        for method, rest, fields in (
            ("GET", "", None),
            ("PATCH", "", {"rpm": 1}),
            ("DELETE", "", None),
            ("POST", "/rotate", {}),
        ):
            assert await desk.refused(method, f"{KEYS}/{name}{rest}", fields) == (404, "key_not_found", "name")


async def test_a_revoked_key_opens_nothing_and_stays_revoked(desk: Desk) -> None:
    made = await desk.done("POST", KEYS, {"name": "alice"})
    desk.clock.now += timedelta(hours=1)
    gone = await desk.done("DELETE", f"{KEYS}/alice")
    assert (gone["state"], gone["revoked"]) == ("revoked", "2026-11-22T09:00:00Z")
    assert desk.opens(made["key"]) is None
    desk.clock.now += timedelta(hours=1)
    assert await desk.done("DELETE", f"{KEYS}/alice") == gone, "a second time changes nothing"
    assert await desk.refused("PATCH", f"{KEYS}/alice", {"rpm": 1}) == (409, "key_revoked", "name")
    assert await desk.refused("POST", f"{KEYS}/alice/rotate") == (409, "key_revoked", "name")
    assert (await desk.page())[0] == []
    assert (await desk.page("?include_revoked=true"))[0] == ["alice"]
    assert await desk.done("GET", f"{KEYS}/alice") == gone


@pytest.mark.parametrize(
    ("fields", "grace"),
    [(None, 24 * 3600), ({}, 24 * 3600), ({"grace": None}, 24 * 3600), ({"grace": "90m"}, 5400), ({"grace": "0s"}, 0)],
)
async def test_a_rotated_key_works_on_for_its_grace(desk: Desk, fields: Any, grace: int) -> None:
    first = (await desk.done("POST", KEYS, {"name": "alice", "rpm": 7}))["key"]
    rotated = await desk.done("POST", f"{KEYS}/alice/rotate", fields)
    second, until = rotated.pop("key"), rotated["old_key_until"]
    assert rotated == {"name": "alice", **NOTHING_SET, "rpm": 7, "old_key_until": until}
    assert desk.opens(second) == "alice"
    assert desk.opens(first) == ("alice" if grace else None)
    assert until == ((NOW + timedelta(seconds=grace)).isoformat().replace("+00:00", "Z") if grace else None)
    desk.clock.now += timedelta(seconds=grace)
    assert (desk.opens(first), desk.opens(second)) == (None, "alice")
    assert (await desk.done("GET", f"{KEYS}/alice"))["old_key_until"] is None


async def test_a_second_rotation_keeps_what_the_first_promised(desk: Desk) -> None:
    keys = [(await desk.done("POST", KEYS, {"name": "alice"}))["key"]]
    keys += [(await desk.done("POST", f"{KEYS}/alice/rotate"))["key"] for _ in range(2)]
    assert [desk.opens(key) for key in keys] == ["alice"] * 3
    again = await desk.done("POST", f"{KEYS}/alice/rotate", {"grace": "0s"})
    assert (again["old_key_until"], again["older_keys_until"]) == (None, ["2026-11-23T08:00:00Z"] * 2)
    assert [desk.opens(key) for key in (*keys, again["key"])] == ["alice", "alice", None, "alice"]
    desk.clock.now += timedelta(days=1)
    assert [desk.opens(key) for key in (*keys, again["key"])] == [None, None, None, "alice"]
    assert (await desk.done("GET", f"{KEYS}/alice"))["older_keys_until"] == []


async def test_a_grace_that_makes_no_sense_leaves_the_key_as_it_is(desk: Desk) -> None:
    key = (await desk.done("POST", KEYS, {"name": "alice"}))["key"]
    for fields, code, param in (
        ({"grace": 5}, "invalid_type", "grace"),
        ({"grace": "a while"}, "invalid_value", "grace"),
        ({"grace": "-1h"}, "invalid_value", "grace"),
        ({"until": "1h"}, "unknown_parameter", "until"),
    ):
        assert await desk.refused("POST", f"{KEYS}/alice/rotate", fields) == (400, code, param)
    assert desk.opens(key) == "alice"
    assert (await desk.done("GET", f"{KEYS}/alice"))["old_key_until"] is None


async def test_keys_of_the_file_are_shown_and_cannot_be_changed(desk: Desk) -> None:
    await desk.done("POST", KEYS, {"name": "shadowed"})
    filed = (
        VirtualKey("file-key", b"d" * 32, "growth", rpm=3, budget=Budget(2_500_000_000, "day")),
        VirtualKey("shadowed"),
    )
    desk.rules = KeyRules(filed, frozenset(), UTC, budget, duration)
    desk.ring.configure(filed)
    shown = await desk.done("GET", f"{KEYS}/file-key")
    assert shown == {
        "name": "file-key",
        **NOTHING_SET,
        "source": "file",
        "team": "growth",
        "rpm": 3,
        "budget": "2.5/day",
        "created": None,
    }
    assert (await desk.done("GET", f"{KEYS}/shadowed"))["source"] == "file", "of two of a name, the file's is in force"
    for name in ("file-key", "shadowed"):
        for method, rest, fields in (("PATCH", "", {"rpm": 1}), ("DELETE", "", None), ("POST", "/rotate", {})):
            assert await desk.refused(method, f"{KEYS}/{name}{rest}", fields) == (409, "key_in_file", "name")
        assert await desk.refused("POST", KEYS, {"name": name}) == (409, "key_exists", "name")


async def test_pages_hold_every_key_once_in_the_order_of_names(desk: Desk) -> None:
    filed = tuple(VirtualKey(name) for name in ("d", "b", "f"))
    for name in ("c", "a", "e", "g", "b", "gone"):
        await desk.done("POST", KEYS, {"name": name})
    await desk.done("DELETE", f"{KEYS}/gone")
    desk.rules = KeyRules(filed, frozenset(), UTC, budget, duration)
    assert await desk.page() == (["a", "b", "c", "d", "e", "f", "g"], False, "g")
    for limit in range(1, 8):
        seen: list[str] = []
        names, more, last = await desk.page(f"?limit={limit}")
        while more:
            assert len(names) == limit
            seen += names
            names, more, last = await desk.page(f"?limit={limit}&after={last}")
        assert [*seen, *names] == ["a", "b", "c", "d", "e", "f", "g"]
    assert await desk.page("?limit=7") == (["a", "b", "c", "d", "e", "f", "g"], False, "g")
    assert await desk.page("?after=g") == ([], False, None)
    assert await desk.page("?after=c&limit=2") == (["d", "e"], True, "e")
    for query, param in (("limit=0", "limit"), ("limit=501", "limit"), ("limit=x", "limit"), ("limit=²", "limit")):
        assert await desk.refused("GET", f"{KEYS}?{query}".replace("²", "%C2%B2")) == (400, "invalid_value", param)
    assert await desk.refused("GET", f"{KEYS}?include_revoked=1") == (400, "invalid_value", "include_revoked")
    assert await desk.refused("GET", f"{KEYS}?page=2") == (400, "unknown_parameter", "page")


async def test_a_budget_is_shown_with_what_is_used_of_it(desk: Desk) -> None:
    now, spent = desk.clock.wall_ns(), 1_250_000_000
    limits: dict[Holder, Budget] = {
        ("key", "alice"): Budget(50_000_000_000, "month"),
        ("team", "growth"): Budget(2_000_000_000, "total"),
    }
    await desk.done("POST", KEYS, {"name": "alice", "team": "growth", "budget": "50/month"})
    desk.budgets.configure(limits, now)
    first = desk.budgets.reserve("1", list(limits), spent, now)
    desk.budgets.settle(first, spent)  # type: ignore[arg-type]
    desk.budgets.reserve("2", list(limits), 250_000_000, now)
    shown = await desk.done("GET", f"{KEYS}/alice")
    assert {name: value for name, value in shown.items() if "budget" in name} == {
        "budget": "50/month",
        "budget_used_usd": 1.25,
        "budget_reserved_usd": 0.25,
        "budget_held_usd": 0.0,
        "budget_left_usd": 48.5,
        "budget_renews": "2026-12-01T00:00:00Z",
        "model_budgets": {},
        "team_budget": {
            "budget": "2/total",
            "used_usd": 1.25,
            "reserved_usd": 0.25,
            "held_usd": 0.0,
            "left_usd": 0.5,
            "renews": None,
        },
    }
    assert (await desk.done("GET", KEYS))["data"] == [shown]


async def test_budgets_by_model_are_set_one_by_one_and_shown_with_what_is_used(desk: Desk) -> None:
    fields = {"budget": "20/week", "model_budgets": {"gpt-4o*": "5/day", "flux-*": "0.5/total"}, "alert": "50, 80%"}
    made = await desk.done("POST", KEYS, {"name": "alice", **fields})
    unused = {"used_usd": None, "reserved_usd": None, "held_usd": None, "left_usd": None, "renews": None}
    assert made["budget"] == "20/week"
    assert made["alert"] == [50, 80]
    assert made["models"] == ["*"]
    assert made["model_budgets"] == {
        "gpt-4o*": {"budget": "5/day", **unused},
        "flux-*": {"budget": "0.5/total", **unused},
    }
    now = desk.clock.wall_ns()
    desk.budgets.configure(budgets_of_keys(desk.ring.keys), now)
    running = desk.budgets.reserve("1", [("key", "alice")], 1_250_000_000, now, model="gpt-4o")
    assert isinstance(running, Reservation)
    changed = await desk.done(
        "PATCH", f"{KEYS}/alice", {"model_budgets": {"flux-*": None, "o3": "1/month"}, "alert": 90}
    )
    assert changed["alert"] == [90]
    assert list(changed["model_budgets"]) == ["gpt-4o*", "o3"]
    assert changed["model_budgets"]["gpt-4o*"] == {
        "budget": "5/day",
        "used_usd": 0,
        "reserved_usd": 1.25,
        "held_usd": 0.0,
        "left_usd": 3.75,
        "renews": "2026-11-23T00:00:00Z",
    }
    assert (await desk.done("GET", KEYS))["data"] == [await desk.done("GET", f"{KEYS}/alice")]
    assert list((await desk.done("PATCH", f"{KEYS}/alice", {"rpm": 1}))["model_budgets"]) == ["gpt-4o*", "o3"]
    gone = await desk.done("PATCH", f"{KEYS}/alice", {"model_budgets": None, "alert": None, "budget": None})
    assert (gone["model_budgets"], gone["alert"], gone["budget"]) == ({}, None, None)


async def test_models_may_carry_their_budgets_as_in_the_configuration_file(desk: Desk) -> None:
    made = await desk.done("POST", KEYS, {"name": "alice", "models": {"gpt-4o*": "5/day", "o3": "1/week"}})
    assert (made["models"], list(made["model_budgets"])) == (["*"], ["gpt-4o*", "o3"])
    listed = await desk.done("PATCH", f"{KEYS}/alice", {"models": ["flux-*", {"gpt-4o*": "2/day"}]})
    assert listed["models"] == ["flux-*", "gpt-4o*"]
    assert {model: one["budget"] for model, one in listed["model_budgets"].items()} == {"gpt-4o*": "2/day"}
    plain = await desk.done("PATCH", f"{KEYS}/alice", {"models": ["flux-*"]})
    assert list(plain["model_budgets"]) == ["gpt-4o*"], "what is not named stays"


async def test_every_route_asks_for_the_admin_key(desk: Desk) -> None:
    made = await desk.done("POST", KEYS, {"name": "alice"})
    for method, path in (
        ("GET", KEYS),
        ("POST", KEYS),
        ("GET", f"{KEYS}/alice"),
        ("PATCH", f"{KEYS}/alice"),
        ("DELETE", f"{KEYS}/alice"),
        ("POST", f"{KEYS}/alice/rotate"),
        ("GET", f"{KEYS}/nobody"),
    ):
        for key in ("", "wrong", made["key"]):
            answer = await desk.ask(method, path, key=key)
            assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
            assert await desk.client.closed() == b""
            desk.client = await desk.connect()
    assert desk.opens(made["key"]) == "alice"


async def test_a_wrong_method_is_told_which_are_right(desk: Desk) -> None:
    for method, path, allowed in (
        ("PUT", KEYS, {"GET", "HEAD", "POST"}),
        ("POST", f"{KEYS}/alice", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("GET", f"{KEYS}/alice/rotate", {"POST"}),
    ):
        answer = await desk.ask(method, path)
        assert (answer.status, set((answer.header("allow") or "").split(", "))) == (405, allowed)


async def test_a_store_that_cannot_be_used_is_told_and_nothing_is_promised(desk: Desk) -> None:
    await desk.done("POST", KEYS, {"name": "alice"})
    await desk.ledger.close()
    closed = await desk.ask("POST", KEYS, {"name": "bob"})
    assert (closed.status, closed.error()["code"]) == (503, "ledger_unavailable")
    assert "key" not in closed.json()
    desk.ledger.path.write_bytes(b"this is no database, whatever its name says" * 100)
    for path in (KEYS, f"{KEYS}/alice"):
        unreadable = await desk.ask("GET", path)
        assert (unreadable.status, unreadable.error()["code"]) == (503, "ledger_unavailable")
        assert "damaged" in unreadable.error()["message"]
