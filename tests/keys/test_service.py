"""Virtual keys shown and changed: what is refused, in which words, and that a key itself is told once."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

from gateway.config import budget, duration
from gateway.core.errors import ClientError, GatewayError, ledger_unavailable
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import BudgetState
from gateway.core.pricing.calendar import ALL_TIME
from gateway.core.types import Budget, VirtualKey
from gateway.keys.fields import KeyRules
from gateway.keys.hashing import PREFIX, Pepper
from gateway.keys.service import MOST_LISTED, KeyListing, KeyService
from gateway.stores.key_records import KeySettings, StoredKey

from .fakes import MemoryKeys

NOW = 1_700_000_000_000_000_000
HOUR = 3600 * 10**9
DOLLAR = 10**9
SECRET = b"pepper of thirty-two bytes......"
OF_FILE = VirtualKey("filed", team="growth", budget=Budget(5 * DOLLAR, "month"))


class Desk:
    """A service on keys in memory. ``applied``: how many changes went through the gateway's own hands."""

    def __init__(self, *file_keys: VirtualKey, teams: tuple[str, ...] = ()) -> None:
        self.records = MemoryKeys()
        self.rules = KeyRules(file_keys, frozenset(teams), UTC, budget, duration)
        self.applied = 0
        self.now_ns = NOW
        self.listing = KeyListing(
            self.records, rules=lambda: self.rules, wall_ns=lambda: self.now_ns, budget=self.spending
        )
        self.service = KeyService(
            self.listing,
            self.records,
            rules=lambda: self.rules,
            pepper=lambda: Pepper(SECRET),
            wall_ns=lambda: self.now_ns,
            apply=self.apply,
        )
        self.spent: dict[Holder, int] = {}

    def spending(self, holder: Holder) -> BudgetState | None:
        spent = self.spent.get(holder)
        return None if spent is None else BudgetState(holder, Budget(5 * DOLLAR, "total"), ALL_TIME, spent, DOLLAR)

    async def apply(self, work: Callable[[], Awaitable[StoredKey]]) -> StoredKey:
        self.applied += 1
        return await work()

    def keep(self, name: str, **changes: Any) -> None:
        """A key that is in the store."""
        key = StoredKey(name, b"d" * 32, KeySettings(), NOW - HOUR)
        self.records.keys[name] = replace(key, **changes)


async def refusal(work: Awaitable[Any]) -> tuple[int, str | None, str | None]:
    """Status, code and param of the error that it ends in."""
    with pytest.raises(GatewayError) as refused:
        await work
    error = refused.value
    return error.status, error.code, error.param


class TestCreating:
    async def test_tells_the_key_and_keeps_its_keyed_hash_alone(self) -> None:
        desk = Desk()
        shown = await desk.service.create({"name": "alice", "rpm": 60, "note": "for the app"})
        stored = desk.records.keys["alice"]
        key = shown["key"]
        assert key.startswith(PREFIX)
        assert stored.digest == hmac.digest(SECRET, hashlib.sha256(key.encode()).digest(), "sha256")
        assert desk.records.marks == [Pepper(SECRET).mark]
        assert (stored.settings.rpm, stored.settings.note, stored.created_at_ns) == (60, "for the app", NOW)
        assert (shown["name"], shown["rpm"], shown["state"], shown["source"]) == ("alice", 60, "active", "store")
        assert key not in repr(await desk.listing.show("alice"))
        assert desk.applied == 1

    async def test_gives_every_key_another_value(self) -> None:
        desk = Desk()
        keys = {(await desk.service.create({"name": name}))["key"] for name in ("a", "b", "c")}
        assert len(keys) == 3

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({}, "missing_required_parameter", "name"),
            ({"name": 7}, "invalid_type", "name"),
            ({"name": "."}, "invalid_value", "name"),
            ({"name": ".."}, "invalid_value", "name"),
            ({"name": "other"}, "invalid_value", "name"),
            ({"name": "alice", "rpm": 0}, None, "rpm"),
            ({"name": "alice", "colour": "red"}, "unknown_parameter", "colour"),
            ({"name": "alice", "digest": "00"}, "unknown_parameter", "digest"),
        ],
    )
    async def test_refuses_what_makes_no_sense(self, fields: dict[str, Any], code: str | None, param: str) -> None:
        desk = Desk()
        status, told, about = await refusal(desk.service.create(fields))
        assert (status, about) == (400, param)
        assert code in (None, told)
        assert (desk.records.keys, desk.applied) == ({}, 0)

    async def test_refuses_a_team_that_the_configuration_does_not_name(self) -> None:
        desk = Desk(teams=("growth",))
        assert (await refusal(desk.service.create({"name": "a", "team": "grwoth"})))[::2] == (400, "team")
        assert (await desk.service.create({"name": "a", "team": "growth"}))["team"] == "growth"

    async def test_refuses_a_name_that_is_taken(self) -> None:
        desk = Desk(OF_FILE)
        desk.keep("revoked", revoked_at_ns=NOW)
        for name in ("filed", "revoked"):
            assert await refusal(desk.service.create({"name": name})) == (409, "key_exists", "name")

    async def test_passes_on_that_the_store_cannot_be_written(self) -> None:
        desk = Desk()
        desk.records.trouble = ledger_unavailable()
        assert (await refusal(desk.service.create({"name": "alice"})))[:2] == (503, "ledger_unavailable")


class TestChanging:
    async def test_leaves_what_is_not_named_and_null_goes_back_to_the_default(self) -> None:
        desk = Desk()
        desk.keep("alice", settings=KeySettings(team="growth", rpm=60, tpm=1000))
        shown = await desk.service.change("alice", {"rpm": None, "budget": "50/month"})
        assert (shown["team"], shown["rpm"], shown["tpm"], shown["budget"]) == ("growth", None, 1000, "50/month")

    async def test_refuses_what_the_store_finds_wrong_in_words_about_the_field(self) -> None:
        desk = Desk()
        desk.keep("alice")

        async def update(name: str, change: object, *, audit: object) -> StoredKey:
            raise ValueError("models: expected names without blanks")

        desk.records.update = update  # type: ignore[method-assign,assignment]
        with pytest.raises(ClientError, match="expected names without blanks") as refused:
            await desk.service.change("alice", {"models": ["gpt-4o"]})
        assert (refused.value.status, refused.value.param) == (400, "models")


class TestRotating:
    async def test_gives_another_key_and_lets_the_old_one_work_for_a_day(self) -> None:
        desk = Desk()
        first = (await desk.service.create({"name": "alice"}))["key"]
        old = desk.records.keys["alice"].digest
        shown = await desk.service.rotate("alice", {})
        stored = desk.records.keys["alice"]
        assert shown["key"] != first
        assert stored.digest == Pepper(SECRET).digest(shown["key"].encode())
        assert (stored.old_digest, stored.old_until_ns) == (old, NOW + 24 * HOUR)

    async def test_takes_another_grace(self) -> None:
        desk = Desk()
        desk.keep("alice")
        await desk.service.rotate("alice", {"grace": "2h"})
        assert desk.records.keys["alice"].old_until_ns == NOW + 2 * HOUR

    @pytest.mark.parametrize("fields", [{"grace": "soon"}, {"grace": 5}, {"grade": "2h"}])
    async def test_refuses_a_grace_that_is_none(self, fields: dict[str, Any]) -> None:
        desk = Desk()
        desk.keep("alice")
        assert (await refusal(desk.service.rotate("alice", fields)))[0] == 400
        assert desk.records.keys["alice"].old_digest is None


class TestRevoking:
    async def test_is_for_good_and_a_second_time_changes_nothing(self) -> None:
        desk = Desk()
        desk.keep("alice")
        first = await desk.service.revoke("alice")
        desk.now_ns += HOUR
        assert await desk.service.revoke("alice") == first
        assert first["state"] == "revoked"
        for work in (desk.service.change("alice", {"rpm": 5}), desk.service.rotate("alice", {})):
            assert await refusal(work) == (409, "key_revoked", "name")


@pytest.mark.parametrize("name", ["filed", "nobody"])
async def test_what_is_not_the_stores_cannot_be_changed(name: str) -> None:
    desk = Desk(OF_FILE)
    wanted = (409, "key_in_file", "name") if name == "filed" else (404, "key_not_found", "name")
    service = desk.service
    for work in (service.change(name, {"rpm": 5}), service.rotate(name, {}), service.revoke(name)):
        assert await refusal(work) == wanted


class TestTheList:
    async def test_has_the_keys_of_the_file_and_of_the_store_in_one_order(self) -> None:
        desk = Desk(OF_FILE)
        for name in ("alice", "zoe"):
            desk.keep(name)
        page = await desk.listing.page()
        assert [(key["name"], key["source"]) for key in page["data"]] == [
            ("alice", "store"),
            ("filed", "file"),
            ("zoe", "store"),
        ]
        assert (page["object"], page["has_more"], page["last"]) == ("list", False, "zoe")

    async def test_is_read_page_by_page_without_gap_or_repetition(self) -> None:
        desk = Desk(*(VirtualKey(f"f{n}") for n in range(5)))
        for n in range(8):
            desk.keep(f"{'eg'[n % 2]}{n}")
        seen: list[str] = []
        after, more = "", True
        while more:
            page = await desk.listing.page(after, 3)
            seen += [key["name"] for key in page["data"]]
            after, more = page["last"], page["has_more"]
        assert seen == sorted(seen)
        assert len(seen) == 13

    @pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (10**9, MOST_LISTED)])
    async def test_has_pages_of_a_sensible_size(self, asked: int, given: int) -> None:
        desk = Desk()
        for n in range(MOST_LISTED + 1):
            desk.keep(f"key-{n:04}")
        page = await desk.listing.page(limit=asked)
        assert (len(page["data"]), page["has_more"]) == (given, True)

    async def test_of_nothing_is_empty(self) -> None:
        assert await Desk().listing.page() == {"object": "list", "data": [], "has_more": False, "last": None}

    async def test_leaves_revoked_keys_out_unless_asked(self) -> None:
        desk = Desk()
        desk.keep("gone", revoked_at_ns=NOW)
        assert (await desk.listing.page())["data"] == []
        assert [key["state"] for key in (await desk.listing.page(include_revoked=True))["data"]] == ["revoked"]

    async def test_shows_the_files_key_where_the_store_has_one_of_the_same_name(self) -> None:
        """The file's is in force."""
        desk = Desk(OF_FILE)
        desk.keep("filed")
        assert [key["source"] for key in (await desk.listing.page())["data"]] == ["file"]
        assert (await desk.listing.show("filed"))["source"] == "file"

    async def test_shows_what_is_used_of_the_keys_budget_and_its_teams(self) -> None:
        desk = Desk(OF_FILE)
        desk.keep("alice", settings=KeySettings(team="growth", budget=Budget(5 * DOLLAR, "total")))
        desk.spent = {("key", "alice"): DOLLAR, ("key", "filed"): 2 * DOLLAR, ("team", "growth"): 3 * DOLLAR}
        for name, used in (("alice", 1.0), ("filed", 2.0)):
            shown = await desk.listing.show(name)
            assert (shown["budget_used_usd"], shown["budget_reserved_usd"]) == (used, 1.0)
            assert shown["team_budget"]["used_usd"] == 3.0

    async def test_does_not_show_a_key_that_is_not_there(self) -> None:
        assert await refusal(Desk().listing.show("nobody")) == (404, "key_not_found", "name")
