"""What is done to the ledger: held against what PiAPI says is left on its accounts, and relieved of old rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, cast

import orjson
import pytest

from gateway.billing.ledger import KEPT_NS, LedgerService, would_prune
from gateway.core.defaults import USAGE_SINCE
from gateway.core.errors import GatewayError, TransportError, ledger_unavailable
from gateway.core.types import Credential, Dialect, Endpoint, Phase, Upstream
from gateway.stores.records import HOUR_NS, Balance, BalancePeriod, Pruned, Verification
from tests.exchange.scripted import Response, play
from tests.in_force import Settings

NOW = 1_795_337_221_123_456_789
"""22 November 2026, 08:47:01 UTC."""

DAY_NS = 24 * HOUR_NS
DOLLAR = 10**9
HOST = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443)


@dataclass
class Books:
    """A store with a ledger, balances and sums that keep what they are asked. ``known``: periods it can tell of."""

    known: list[BalancePeriod] = field(default_factory=list)
    trouble: GatewayError | None = None
    recorded: list[Balance] = field(default_factory=list)
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def ledger(self) -> Books:
        return self

    usage = balances = ledger

    async def record(self, snapshots: Sequence[Balance]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.recorded += snapshots

    async def periods(self, since_ns: int, until_ns: int) -> Sequence[BalancePeriod]:
        self.asked.append(("periods", since_ns, until_ns))
        return self.known

    async def prune(self, before_ns: int, now_ns: int) -> Pruned:
        self.asked.append(("prune", before_ns, now_ns))
        return Pruned(before_ns, settled=7, released=2)

    async def verify(self) -> Verification:
        return Verification(settled=5, released=1, unknown=2, open=0, problems=["request a has two ends"])

    async def prunable(self, before_ns: int) -> Pruned:
        self.asked.append(("prunable", before_ns, 0))
        return Pruned(before_ns, settled=7, released=2)


@dataclass
class Accounts:
    """PiAPI's account pages, by the key that asks. A key that is not here gets no answer."""

    dollars: dict[bytes, float]
    ids: dict[bytes, str] = field(default_factory=dict)

    async def request(
        self, endpoint: Endpoint, method: str, path: str, headers: Any, body: bytes, **_: Any
    ) -> Response:
        key = dict(headers)[b"x-api-key"]
        if key not in self.dollars:
            raise TransportError("connect_refused", Phase.UNSENT, "refused")
        page = {"data": {"id": self.ids.get(key), "equivalent_in_usd": self.dollars[key]}}
        return Response([(0, orjson.dumps(page))], end=0)


def upstream(name: str, *keys: str, dialect: Dialect = "piapi") -> Upstream:
    return Upstream(name, dialect, (HOST,), tuple(Credential(key, f"{key}-value") for key in keys))


def service(books: Books, accounts: Accounts, *upstreams: Upstream) -> LedgerService:
    return LedgerService(
        cast("Any", books),
        cast("Any", accounts),
        Settings(upstreams={upstream.name: upstream for upstream in upstreams}),
        wall_ns=lambda: NOW,
    )


class TestReconciling:
    def test_writes_down_what_every_account_of_piapi_says(self) -> None:
        async def story() -> None:
            books, accounts = Books(), Accounts({b"first-value": 12.5, b"second-value": 3})
            desk = service(books, accounts, upstream("piapi", "first", "second"), upstream("b", "x", dialect="openai"))
            shown = await desk.reconcile()
            assert books.recorded == [
                Balance("piapi", "first", NOW, 12_500_000_000),
                Balance("piapi", "second", NOW, 3 * DOLLAR),
            ]
            assert (shown["object"], shown["unanswered"]) == ("reconciliation", [])
            assert shown["at"].startswith("2026-11-22T08:47:01")
            assert [row["upstream_keys"] for row in shown["data"]] == [["first"], ["second"]]

        play(story)

    def test_names_the_keys_whose_account_told_nothing(self) -> None:
        async def story() -> None:
            books = Books()
            desk = service(books, Accounts({b"first-value": 12.5}), upstream("piapi", "first", "lost"))
            shown = await desk.reconcile()
            assert shown["unanswered"] == [{"upstream": "piapi", "upstream_key": "lost"}]
            assert [balance.credential for balance in books.recorded] == ["first"]

        play(story)

    def test_takes_two_keys_of_one_account_as_one_balance(self) -> None:
        async def story() -> None:
            keys = {b"first-value": 5.0, b"second-value": 5.0}
            accounts = Accounts(keys, ids=dict.fromkeys(keys, "account-1"))
            [row] = (await service(Books(), accounts, upstream("piapi", "first", "second")).reconcile())["data"]
            assert row["upstream_keys"] == ["first", "second"]

        play(story)

    def test_holds_what_was_drawn_against_what_is_owed(self) -> None:
        async def story() -> None:
            then, since = (
                Balance("piapi", "first", NOW - DAY_NS, 12 * DOLLAR),
                Balance("piapi", "first", NOW, 10 * DOLLAR),
            )
            books = Books(known=[BalancePeriod(then, since, owed=DOLLAR)])
            shown = await service(books, Accounts({b"first-value": 10}), upstream("piapi", "first")).reconcile()
            [row] = shown["data"]
            assert (row["drawn_usd"], row["owed_usd"], row["difference_usd"]) == (2.0, 1.0, 1.0)

        play(story)

    def test_looks_back_for_thirty_days_if_not_told_otherwise(self) -> None:
        async def story() -> None:
            books = Books()
            desk = service(books, Accounts({}))
            await desk.reconcile()
            await desk.reconcile("2d", "1d")
            assert USAGE_SINCE == "30d"
            [(_, default, _), (_, since, until)] = books.asked
            assert NOW - default == pytest.approx(30 * DAY_NS, abs=DAY_NS)
            assert until - since == pytest.approx(DAY_NS, abs=HOUR_NS)

        play(story)

    def test_records_nothing_for_a_moment_that_is_none(self) -> None:
        async def story() -> None:
            books = Books()
            with pytest.raises(ValueError, match="yesterweek"):
                await service(books, Accounts({}), upstream("piapi", "first")).reconcile("yesterweek")
            assert (books.recorded, books.asked) == ([], [])

        play(story)

    def test_tells_that_the_snapshots_cannot_be_written(self) -> None:
        async def story() -> None:
            books = Books(trouble=ledger_unavailable())
            with pytest.raises(GatewayError) as trouble:
                await service(books, Accounts({b"first-value": 1}), upstream("piapi", "first")).reconcile()
            assert trouble.value.code == "ledger_unavailable"

        play(story)


class TestPruning:
    def test_removes_what_came_in_before_the_moment(self) -> None:
        async def story() -> None:
            books = Books()
            shown = await service(books, Accounts({})).prune("2026-01-01", dry_run=False)
            [(_, before_ns, now_ns)] = books.asked
            assert (before_ns, now_ns) == (1_767_225_600 * 10**9, NOW)
            assert shown == {
                "object": "pruning",
                "dry_run": False,
                "before": "2026-01-01T00:00:00Z",
                "settled": 7,
                "released": 2,
            }

        play(story)

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_keeps_what_is_younger_than_three_days_even_if_more_is_asked(self, dry_run: bool) -> None:
        """An outcome may become known, and a task's images are asked for, for so long."""

        async def story() -> None:
            books = Books()
            await service(books, Accounts({})).prune("1h", dry_run=dry_run)
            [(_, before_ns, _)] = books.asked
            assert before_ns <= NOW - KEPT_NS < before_ns + HOUR_NS

        play(story)

    def test_as_a_dry_run_only_counts(self) -> None:
        async def story() -> None:
            books = Books()
            shown = await service(books, Accounts({})).prune("2026-01-01", dry_run=True)
            assert [name for name, *_ in books.asked] == ["prunable"]
            assert (shown["dry_run"], shown["settled"], shown["released"]) == (True, 7, 2)
            assert shown == await would_prune(cast("Any", books), "2026-01-01", NOW, UTC)

        play(story)

    def test_removes_nothing_for_a_moment_that_is_none(self) -> None:
        async def story() -> None:
            books = Books()
            for dry_run in (True, False):
                with pytest.raises(ValueError, match="long ago"):
                    await service(books, Accounts({})).prune("long ago", dry_run=dry_run)
            assert books.asked == []

        play(story)


async def test_checking_the_books_counts_the_exchanges_and_names_the_problems() -> None:
    shown = await service(Books(), Accounts({})).verify()
    assert shown == {
        "object": "verification",
        "settled": 5,
        "released": 1,
        "unknown": 2,
        "open": 0,
        "problems": ["request a has two ends"],
        "pruned": 0,
        "corrected": 0,
    }
