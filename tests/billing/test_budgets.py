"""The budgets of a running gateway: loaded from the ledger, asked by requests, told to the log, metrics and webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any, cast

import pytest

from gateway.billing.budgets import LOOK_EVERY, BudgetService, BudgetSettings
from gateway.core.errors import ClientError, LimitError, ledger_unavailable
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets, Reservation
from gateway.core.pricing.charges import AttemptCost, Booking
from gateway.core.types import Budget, State, Usage, VirtualKey
from gateway.stores.base import Held
from gateway.telemetry.metrics import BudgetFigure, Metrics
from tests.exchange.fakes import Alerts, Books, Log
from tests.exchange.scripted import now, play
from tests.exchange.stage import CENT, figure, labels

ALICE = VirtualKey("alice", team="growth", budget=Budget(10 * CENT, "month"))
BOB = VirtualKey("bob", team="growth")
CAROL = VirtualKey("carol")
GROWTH = BudgetSettings({"growth": Budget(100 * CENT, "month")})
NOW = 1_700_000_000_000_000_000
"""14 November 2023."""

HOUR = 3600 * 10**9


class Calendar:
    """NOW, and what has passed since on the loop's clock if the test has a loop."""

    def monotonic(self) -> float:
        raise AssertionError("budgets go by the calendar")

    def wall_ns(self) -> int:
        try:
            return NOW + int(now() * 1e9)
        except RuntimeError:
            return NOW


class Office:
    """A budget service with fakes all around it. ``keys``: in force; may be changed."""

    def __init__(self, *keys: VirtualKey, settings: BudgetSettings = GROWTH) -> None:
        self.keys: Sequence[VirtualKey] = keys or (ALICE, BOB, CAROL)
        self.ledger, self.log, self.alerts = Books(), Log(), Alerts()
        self.metrics = Metrics("1", labels([], *self.keys))
        self.budgets = Budgets(UTC, NOW)
        self.service = BudgetService(
            self.budgets,
            settings,
            keys=lambda: self.keys,
            ledger=cast("Any", self.ledger),
            clock=Calendar(),
            log=cast("Any", self.log),
            metrics=self.metrics,
            alerts=self.alerts,
        )
        self.service.keys_changed()

    def reserve(self, amount: int | None, key: VirtualKey = ALICE, id: str = "one") -> Reservation:
        return self.service.reserve(id, key, "gpt-4o", amount, NOW)

    def used(self, name: str, kind: str = "key") -> tuple[int, int]:
        """What a key or a team was charged this month, and what it has reserved."""
        return self.budgets.used(cast("Any", (kind, name)), "month", NOW)


def booked(charged: int, *, state: State = "settled", at_stake: int = 0, in_doubt: int = 0) -> Booking:
    """A request's end. ``at_stake``: what its only attempt is booked at upstream."""
    return Booking(charged, Usage(), (AttemptCost(at_stake, "unknown"),), "measured", state, in_doubt)


class TestWhatTheLedgerKnowsAtTheStart:
    def test_counts_against_the_key_and_its_team(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.charged = {("alice", "growth"): 3 * CENT, ("bob", "growth"): CENT, ("carol", None): CENT}
            await office.service.load()
            assert office.used("alice") == (3 * CENT, 0)
            assert office.used("growth", "team") == (4 * CENT, 0)
            assert office.used("carol") == (CENT, 0)
            assert (office.log.lines, office.alerts.told) == ([], [])

        play(story)

    def test_may_leave_nothing_for_today(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.charged = {("alice", "growth"): 10 * CENT}
            await office.service.load()
            with pytest.raises(LimitError):
                office.service.limited(ALICE, "gpt-4o", NOW)

        play(story)

    def test_holds_what_is_in_doubt_for_the_rest_of_its_day(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.holds = [Held("lost", NOW - HOUR, "alice", "growth", 7 * CENT)]
            await office.service.load()
            assert office.used("alice") == (0, 7 * CENT)
            assert office.used("growth", "team") == (0, 7 * CENT)
            office.service.resolve("lost", 2 * CENT)
            assert office.used("alice") == (2 * CENT, 0)

        play(story)

    def test_is_needed(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.trouble = ledger_unavailable()
            with pytest.raises(type(office.ledger.trouble)):
                await office.service.load()

        play(story)


class TestARequest:
    def test_reserves_on_its_key_and_its_team_and_settles_at_what_it_cost(self) -> None:
        office = Office()
        reservation = office.reserve(4 * CENT)
        assert office.used("alice") == office.used("growth", "team") == (0, 4 * CENT)
        office.service.settle(reservation, booked(CENT))
        assert office.used("alice") == office.used("growth", "team") == (CENT, 0)

    def test_is_refused_when_it_may_cost_more_than_is_left(self) -> None:
        office = Office()
        office.reserve(4 * CENT)
        with pytest.raises(LimitError) as refused:
            office.reserve(7 * CENT)
        assert (refused.value.status, refused.value.code) == (429, "insufficient_quota")
        assert "this request may cost up to $0.07" in str(refused.value)
        assert office.log.of("budget_denied") == [{"key": "alice", "holder": "key/alice", "model": "gpt-4o"}]
        assert office.used("alice") == (0, 4 * CENT)

    def test_is_refused_on_its_teams_budget_and_reserves_nothing_on_its_own(self) -> None:
        office = Office(ALICE, settings=BudgetSettings({"growth": Budget(CENT, "month")}))
        with pytest.raises(LimitError, match="team 'growth'"):
            office.reserve(2 * CENT)
        assert office.used("alice") == (0, 0)
        assert office.log.of("budget_denied")[0]["holder"] == "team/growth"

    def test_of_unknown_price_is_refused_where_there_is_a_budget(self) -> None:
        office = Office()
        for key in (ALICE, BOB):  # Bob's is his team's
            with pytest.raises(ClientError) as refused:
                office.reserve(None, key)
            assert (refused.value.status, refused.value.code) == (403, "model_not_allowed")
        assert office.reserve(None, CAROL).amount == 0

    def test_of_unknown_price_is_let_in_if_the_operator_says_so(self) -> None:
        office = Office(settings=replace(GROWTH, allow_unpriced=True))
        assert office.reserve(None).amount == 0


class TestWhetherItMattersWhatARequestMayCost:
    def test_it_does_where_the_key_or_its_team_has_a_budget(self) -> None:
        office = Office()
        assert [office.service.limited(key, "gpt-4o", NOW) for key in (ALICE, BOB, CAROL)] == [True, True, False]

    def test_where_nothing_is_left_the_answer_is_a_refusal(self) -> None:
        office = Office()
        office.reserve(10 * CENT)
        with pytest.raises(LimitError) as refused:
            office.service.limited(ALICE, "gpt-4o", NOW)
        assert "may cost" not in str(refused.value)  # it was not counted yet
        assert len(office.log.of("budget_denied")) == 1

    def test_a_budget_of_nothing_is_for_what_costs_nothing(self) -> None:
        office = Office(replace(ALICE, budget=Budget(0, "month")))
        [key] = office.keys
        assert office.service.limited(key, "gpt-4o", NOW)
        assert office.reserve(0, key).amount == 0
        with pytest.raises(LimitError):
            office.reserve(1, key)


class TestToppingUp:
    def test_reserves_the_difference(self) -> None:
        office = Office()
        reservation = office.reserve(2 * CENT)
        assert office.service.top_up(reservation, 9 * CENT, NOW)
        assert office.used("alice") == (0, 9 * CENT)

    def test_is_refused_beyond_the_budget(self) -> None:
        office = Office()
        reservation = office.reserve(2 * CENT)
        assert not office.service.top_up(reservation, 11 * CENT, NOW)
        assert office.used("alice") == (0, 2 * CENT)

    @pytest.mark.parametrize(
        ("key", "allowed", "may"), [(ALICE, False, False), (ALICE, True, True), (CAROL, False, True)]
    )
    def test_to_an_unknown_price_is_for_those_without_a_budget(self, key: VirtualKey, allowed: bool, may: bool) -> None:
        office = Office(settings=replace(GROWTH, allow_unpriced=allowed))
        reservation = office.reserve(CENT, key)
        assert office.service.top_up(reservation, None, NOW) is may


class TestWhatIsInDoubt:
    """It is not charged, and stays reserved for a day from the request's intent."""

    def test_of_an_unknown_outcome_is_what_its_attempts_had_at_stake(self) -> None:
        office = Office()
        office.service.settle(office.reserve(4 * CENT), booked(0, state="unknown", at_stake=2 * CENT))
        assert office.used("alice") == (0, 2 * CENT)

    def test_is_never_more_than_was_reserved(self) -> None:
        office = Office()
        office.service.settle(office.reserve(4 * CENT), booked(0, state="unknown", at_stake=50 * CENT))
        assert office.used("alice") == (0, 4 * CENT)

    def test_of_one_piece_among_others_is_held_beside_what_is_charged(self) -> None:
        office = Office()
        office.service.settle(office.reserve(4 * CENT), booked(2 * CENT, in_doubt=2 * CENT))
        assert office.used("alice") == (2 * CENT, 2 * CENT)

    def test_is_charged_once_it_becomes_known(self) -> None:
        office = Office()
        office.service.settle(office.reserve(4 * CENT), booked(0, state="unknown", at_stake=4 * CENT))
        office.service.resolve("one", 3 * CENT)
        office.service.resolve("one", 3 * CENT)
        office.service.resolve("another", 3 * CENT)
        assert office.used("alice") == (3 * CENT, 0)

    def test_is_given_up_after_a_day_and_the_operator_is_told(self) -> None:
        async def story() -> None:
            office = Office()
            office.service.settle(office.reserve(4 * CENT), booked(0, state="unknown", at_stake=4 * CENT))
            watching = asyncio.get_running_loop().create_task(office.service.watch())
            await asyncio.sleep(UNKNOWN_HELD_NS / 1e9 - LOOK_EVERY)
            assert (office.used("alice"), office.log.lines) == ((0, 4 * CENT), [])
            await asyncio.sleep(2 * LOOK_EVERY)
            watching.cancel()
            assert office.used("alice") == (0, 0)
            [line] = office.log.of("hold_released")
            assert line["exchange"] == "one"
            assert line["holders"] == ["key/alice", "team/growth"]
            assert line["reserved_usd"] == "0.04"

        play(story)


class TestCrossings:
    def test_are_told_to_the_log_the_metrics_and_the_webhook_once(self) -> None:
        office = Office()
        for id in ("one", "two", "three"):
            office.service.settle(office.reserve(3 * CENT, id=id), booked(3 * CENT))
        assert office.alerts.told == [("key", "alice", 80)]
        [line] = office.log.of("budget_crossed")
        assert line == {
            "holder": "key/alice",
            "percent": 80,
            "budget_usd": "0.10",
            "period": "month",
            "used_usd": "0.09",
        }
        crossed = "gateway_budget_crossed_total"
        assert figure(office.metrics, crossed, key="alice", team="growth", percent="80") == 1

    def test_of_a_team_carry_no_key(self) -> None:
        office = Office(BOB)
        office.service.settle(office.reserve(90 * CENT, BOB), booked(100 * CENT))
        assert office.alerts.told == [("team", "growth", 80), ("team", "growth", 100)]
        assert figure(office.metrics, "gateway_budget_crossed_total", key="", team="growth") == 2

    def test_come_with_a_budget_that_is_lowered(self) -> None:
        office = Office()
        office.service.settle(office.reserve(5 * CENT), booked(5 * CENT))
        office.keys = (replace(ALICE, budget=Budget(6 * CENT, "month")), BOB)
        office.service.keys_changed()
        assert office.alerts.told == [("key", "alice", 80)]

    def test_come_when_an_outcome_becomes_known(self) -> None:
        office = Office()
        office.service.settle(office.reserve(9 * CENT), booked(0, state="unknown", at_stake=9 * CENT))
        assert office.alerts.told == []
        office.service.resolve("one", 9 * CENT)
        assert office.alerts.told == [("key", "alice", 80)]


class TestAnotherConfiguration:
    def test_takes_hold_at_once(self) -> None:
        office = Office()
        office.service.configure(BudgetSettings({}, allow_unpriced=True))
        assert not office.service.limited(BOB, "gpt-4o", NOW)
        assert office.reserve(None).amount == 0

    def test_finds_what_was_used_before_it(self) -> None:
        """A budget that is set later starts with what was really used."""
        office = Office(settings=BudgetSettings({}))
        office.service.settle(office.reserve(5 * CENT, BOB), booked(5 * CENT))
        office.service.configure(BudgetSettings({"growth": Budget(5 * CENT, "month")}))
        with pytest.raises(LimitError):
            office.service.limited(BOB, "gpt-4o", NOW)
        assert office.alerts.told == [("team", "growth", 80), ("team", "growth", 100)]


class TestWhatTheMetricsShow:
    def test_every_budget_and_what_was_charged_of_it(self) -> None:
        office = Office()
        office.service.settle(office.reserve(5 * CENT), booked(5 * CENT))
        office.reserve(CENT)
        assert list(office.service.figures().budgets) == [
            BudgetFigure("alice", "growth", 10 * CENT, 5 * CENT),
            BudgetFigure("", "growth", 100 * CENT, 5 * CENT),
        ]

    def test_no_budget_of_a_key_that_is_gone(self) -> None:
        office = Office()
        office.keys = (BOB,)
        assert [shown.key for shown in office.service.figures().budgets] == [""]

    @pytest.mark.parametrize("when", ["start", "later"])
    def test_the_month_by_the_ledger_for_every_key_from_zero(self, when: str) -> None:
        async def story() -> None:
            office = Office()
            charged = {("alice", "growth"): CENT, ("gone", None): 2 * CENT, ("gone too", None): 0}
            office.ledger.charged = charged if when == "start" else {}
            await office.service.load()
            if when == "later":
                office.ledger.charged = charged
                await looked(office.service.watch)
            assert sorted(office.service.figures().charged, key=str) == [
                ("alice", "growth", CENT),
                ("bob", "growth", 0),
                ("carol", None, 0),
                ("gone", None, 2 * CENT),
            ]

        play(story)

    def test_the_last_figures_while_the_ledger_cannot_be_read(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.charged = {("alice", "growth"): CENT}
            await office.service.load()
            office.ledger.trouble = ledger_unavailable()
            await looked(office.service.watch)
            assert ("alice", "growth", CENT) in office.service.figures().charged

        play(story)


async def looked(watch: Callable[[], Any]) -> None:
    """Let the service look at the ledger a few times."""
    watching = asyncio.get_running_loop().create_task(watch())
    await asyncio.sleep(3 * LOOK_EVERY)
    assert not watching.done()
    watching.cancel()
