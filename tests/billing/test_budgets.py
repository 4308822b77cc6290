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
from gateway.core.exchange_record import Booking
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets, Reservation
from gateway.core.types import Budget, State, VirtualKey
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
    """NOW, and what has passed since on the loop's clock if the test has a loop. ``ahead``: nanoseconds that it goes
    wrong by.
    """

    def __init__(self) -> None:
        self.ahead = 0

    def monotonic(self) -> float:
        raise AssertionError("budgets go by the calendar")

    def wall_ns(self) -> int:
        try:
            return NOW + int(now() * 1e9) + self.ahead
        except RuntimeError:
            return NOW + self.ahead


class Office:
    """A budget service with fakes all around it. ``keys``: in force; may be changed."""

    def __init__(self, *keys: VirtualKey, settings: BudgetSettings = GROWTH) -> None:
        self.keys: Sequence[VirtualKey] = keys or (ALICE, BOB, CAROL)
        self.ledger, self.log, self.alerts, self.calendar = Books(), Log(), Alerts(), Calendar()
        self.metrics = Metrics("1", labels([], *self.keys))
        self.budgets = Budgets(UTC, NOW)
        self.service = BudgetService(
            self.budgets,
            settings,
            keys=self,
            ledger=cast("Any", self.ledger),
            clock=self.calendar,
            log=cast("Any", self.log),
            metrics=self.metrics,
            alerts=self.alerts,
        )
        self.service.keys_changed()

    def named(self, name: str) -> VirtualKey | None:
        return next((key for key in self.keys if key.name == name), None)

    def reserve(self, amount: int | None, key: VirtualKey = ALICE, id: str = "one") -> Reservation:
        return self.service.reserve(id, key, "gpt-4o", amount, NOW)

    def used(self, name: str, kind: str = "key") -> tuple[int, int]:
        """What a key or a team was charged this month, and what it has reserved."""
        return self.budgets.used(cast("Any", (kind, name)), "month", NOW)


def booked(charged: int, *, state: State = "settled", at_stake: int = 0, in_doubt: int = 0) -> Booking:
    """A request's end. ``at_stake``: what its only attempt is booked at upstream."""
    return Booking(charged=charged, upstream_cost=at_stake, confidence="measured", state=state, in_doubt=in_doubt)


class TestWhatTheLedgerKnowsAtTheStart:
    def test_counts_against_the_key_and_its_team(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.charged = {
                ("alice", "growth", "gpt-4o"): 3 * CENT,
                ("bob", "growth", "gpt-4o"): CENT,
                ("carol", None, "flux-dev"): CENT,
            }
            await office.service.load()
            assert office.used("alice") == (3 * CENT, 0)
            assert office.used("growth", "team") == (4 * CENT, 0)
            assert office.used("carol") == (CENT, 0)
            assert (office.log.lines, office.alerts.told) == ([], [])

        play(story)

    def test_may_leave_nothing_for_today(self) -> None:
        async def story() -> None:
            office = Office()
            office.ledger.charged = {("alice", "growth", "gpt-4o"): 10 * CENT}
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
        office.service.settle(office.reserve(4 * CENT), booked(4 * CENT))
        with pytest.raises(LimitError) as refused:
            office.reserve(7 * CENT)
        assert (refused.value.status, refused.value.code, refused.value.should_retry) == (
            429,
            "insufficient_quota",
            False,
        )
        assert "this request may cost up to $0.07" in str(refused.value)
        assert office.log.of("budget_denied") == [
            {"key": "alice", "holder": "key/alice", "model": "gpt-4o", "reason": "used_up"}
        ]
        assert office.used("alice") == (4 * CENT, 0)

    def test_may_come_back_if_only_running_requests_are_in_its_way(self) -> None:
        office = Office()
        office.reserve(4 * CENT)
        with pytest.raises(LimitError) as refused:
            office.reserve(7 * CENT)
        assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")
        assert refused.value.should_retry
        assert refused.value.retry_after
        assert office.log.of("budget_denied")[0]["reason"] == "reserved"
        assert office.used("alice") == (0, 4 * CENT)

    def test_may_not_come_back_while_what_is_in_doubt_is_in_its_way(self) -> None:
        """That may be for a day."""
        office = Office()
        office.service.settle(office.reserve(4 * CENT), booked(0, state="unknown", at_stake=4 * CENT))
        with pytest.raises(LimitError, match=r"0\.04 held for requests of unknown outcome") as refused:
            office.reserve(7 * CENT)
        assert refused.value.code == "insufficient_quota"
        assert not refused.value.should_retry

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
        office.service.settle(office.reserve(10 * CENT), booked(10 * CENT))
        with pytest.raises(LimitError) as refused:
            office.service.limited(ALICE, "gpt-4o", NOW)
        assert refused.value.code == "insufficient_quota"
        assert "may cost" not in str(refused.value)  # it was not counted yet
        assert len(office.log.of("budget_denied")) == 1

    def test_what_is_only_reserved_is_not_gone(self) -> None:
        office = Office()
        office.reserve(10 * CENT)
        assert office.service.limited(ALICE, "gpt-4o", NOW)

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

    def test_are_told_at_the_percentages_of_the_key_and_of_the_team(self) -> None:
        settings = replace(GROWTH, alerts={"growth": (5,)})
        office = Office(replace(ALICE, alert=(20, 50)), settings=settings)
        for id in ("one", "two", "three"):
            office.service.settle(office.reserve(3 * CENT, id=id), booked(3 * CENT))
        assert office.alerts.told == [("key", "alice", 20), ("key", "alice", 50), ("team", "growth", 5)]


class TestABudgetForSomeModels:
    """``models``: Alice's budgets for gpt-4o and what begins so, and for all pictures of Flux."""

    MODELS = (("gpt-4o*", Budget(5 * CENT, "week")), ("flux-*", Budget(CENT, "day")))
    KEY = replace(ALICE, model_budgets=MODELS)

    def test_is_for_no_other_model(self) -> None:
        office = Office(self.KEY)
        with pytest.raises(LimitError, match=r"The budget of the key 'alice' for 'gpt-4o\*' is \$0.05 a week"):
            office.reserve(6 * CENT, self.KEY)
        assert office.service.reserve("one", self.KEY, "dall-e-3", 6 * CENT, NOW).amount == 6 * CENT

    def test_stands_beside_that_of_the_key_and_of_the_team(self) -> None:
        office = Office(self.KEY)
        office.service.settle(office.reserve(4 * CENT, self.KEY), booked(4 * CENT))
        with pytest.raises(LimitError, match="for 'gpt-4o"):
            office.reserve(2 * CENT, self.KEY)
        assert office.used("alice") == office.used("growth", "team") == (4 * CENT, 0)
        assert office.log.of("budget_denied")[0]["holder"] == "key/alice/gpt-4o*"
        assert office.alerts.told == [("key", "gpt-4o*", 80)]

    def test_alone_makes_it_matter_what_a_request_may_cost(self) -> None:
        key = replace(CAROL, model_budgets=self.MODELS)
        office = Office(key)
        assert office.service.limited(key, "gpt-4o-mini", NOW)
        assert not office.service.limited(key, "o3", NOW)
        with pytest.raises(ClientError):
            office.service.reserve("one", key, "flux-new", None, NOW)
        assert office.service.reserve("two", key, "o3", None, NOW).amount == 0

    def test_is_started_from_the_ledger_by_model(self) -> None:
        async def story() -> None:
            office = Office(self.KEY)
            office.ledger.charged = {
                ("alice", "growth", "gpt-4o"): 2 * CENT,
                ("alice", None, "gpt-4o-mini"): CENT,
                ("alice", "growth", "o3"): CENT,
                ("bob", "growth", "gpt-4o"): CENT,
            }
            office.ledger.holds = [Held("lost", NOW - HOUR, "alice", "growth", CENT, "gpt-4o")]
            await office.service.load()
            state = office.budgets.state(("key", "alice", "gpt-4o*"), NOW)
            assert state is not None
            assert (state.charged, state.reserved, state.left) == (3 * CENT, CENT, CENT)
            office.service.resolve("lost", 2 * CENT)
            assert office.budgets.used(("key", "alice", "gpt-4o*"), "week", NOW) == (5 * CENT, 0)

        play(story)

    def test_is_a_figure_of_its_own(self) -> None:
        office = Office(self.KEY)
        office.service.settle(office.reserve(4 * CENT, self.KEY), booked(4 * CENT))
        assert list(office.service.figures().budgets.models) == [
            BudgetFigure("alice", "growth", 5 * CENT, 4 * CENT, "gpt-4o*"),
            BudgetFigure("alice", "growth", CENT, 0, "flux-*"),
        ]


class TestRefusals:
    REFUSED = "gateway_budget_refused_total"

    def refuse(self, office: Office, amount: int = 6 * CENT) -> None:
        with pytest.raises(LimitError):
            office.reserve(amount)

    def test_are_counted_each_and_from_zero(self) -> None:
        office = Office()
        assert self.REFUSED + '{key="bob",team="growth"} 0.0' in office.metrics.render()[0].decode()
        assert 'key="carol"' not in office.metrics.render()[0].decode()
        office.service.settle(office.reserve(10 * CENT), booked(10 * CENT))
        self.refuse(office)
        with pytest.raises(LimitError):
            office.service.limited(ALICE, "gpt-4o", NOW)
        assert figure(office.metrics, self.REFUSED, key="alice", team="growth") == 2

    def test_for_want_of_a_price_are_another_matter(self) -> None:
        office = Office()
        with pytest.raises(ClientError):
            office.reserve(None)
        assert figure(office.metrics, self.REFUSED) == 0
        assert office.alerts.refused == []

    def test_are_told_once_for_each_budget_period_and_reason(self) -> None:
        async def story() -> None:
            office = Office()
            office.service.settle(office.reserve(9 * CENT), booked(9 * CENT))
            for _ in range(3):
                self.refuse(office)
                self.refuse(office, 11 * CENT)
            assert [(one.holder, one.reason) for one in office.alerts.refused] == [
                (("key", "alice"), "used_up"),
                (("key", "alice"), "too_large"),
            ]
            assert figure(office.metrics, self.REFUSED, key="alice") == 6
            # Another budget is another matter, but not within the hour.
            office.keys = (replace(ALICE, budget=Budget(10 * CENT, "day")), BOB, CAROL)
            office.service.keys_changed()
            self.refuse(office)
            assert len(office.alerts.refused) == 2
            await asyncio.sleep(3600)
            self.refuse(office)
            self.refuse(office)
            assert len(office.alerts.refused) == 3

        play(story)

    def test_that_a_running_request_met_on_a_dearer_way_name_the_budget(self) -> None:
        office = Office()
        reservation = office.reserve(2 * CENT)
        assert not office.service.top_up(reservation, 11 * CENT, NOW)
        failed = LimitError(429, "insufficient_quota", "insufficient_quota", "What is left is not enough.")
        told = office.service.final_error(failed, reservation, ALICE, "gpt-4o")
        assert "budget of the key 'alice'" in str(told)
        assert figure(office.metrics, self.REFUSED, key="alice") == 1
        another = ClientError(400, "invalid_request_error", None, "Your mistake.")
        assert office.service.final_error(another, reservation, ALICE, "gpt-4o") is another


class TestAClockThatJumps:
    def test_finds_its_day_again_from_the_ledger_with_what_was_held(self) -> None:
        async def story() -> None:
            office = Office()
            lost = office.reserve(3 * CENT, id="lost")
            office.service.settle(lost, booked(0, state="unknown", at_stake=3 * CENT, in_doubt=3 * CENT))
            running = office.reserve(CENT, id="running")
            watching = asyncio.get_running_loop().create_task(office.service.watch())
            office.calendar.ahead = 400 * 24 * HOUR
            await asyncio.sleep(LOOK_EVERY + 1)
            assert [line["exchange"] for line in office.log.of("hold_released")] == ["lost"]
            office.ledger.charged = {("alice", "growth", "gpt-4o"): 2 * CENT}
            office.ledger.holds = [
                Held("lost", NOW, "alice", "growth", 3 * CENT, "gpt-4o"),
                Held("running", NOW, "alice", "growth", CENT, "gpt-4o", running=True),
                Held("another", NOW, "alice", "growth", CENT, "gpt-4o", running=True),
            ]
            office.calendar.ahead = 0
            office.ledger.trouble = ledger_unavailable()
            await asyncio.sleep(LOOK_EVERY + 1)
            assert office.used("alice") == (0, CENT), "as it was left, until the ledger can be read"
            office.ledger.trouble = None
            await asyncio.sleep(2 * LOOK_EVERY)
            assert office.used("alice") == (2 * CENT, 4 * CENT)
            assert len(office.log.of("clock_set_back")) == 2
            office.service.settle(running, booked(0))
            office.service.resolve("lost", CENT)
            assert office.used("alice") == (3 * CENT, 0)
            watching.cancel()

        play(story)

    def test_does_not_keep_a_refusal_from_being_told(self) -> None:
        office = Office()
        told = office.alerts.refused

        def refused() -> int:
            with pytest.raises(LimitError):
                office.service.reserve("x", ALICE, "gpt-4o", 11 * CENT, office.calendar.wall_ns())
            return len(told)

        office.calendar.ahead = 400 * 24 * HOUR
        assert refused() == 1
        office.calendar.ahead = 0
        assert (refused(), refused()) == (2, 2)


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
        shown = office.service.figures().budgets
        assert list(shown.keys) == [BudgetFigure("alice", "growth", 10 * CENT, 5 * CENT)]
        assert list(shown.teams) == [BudgetFigure("", "growth", 100 * CENT, 5 * CENT)]

    def test_no_budget_of_a_key_that_is_gone(self) -> None:
        office = Office()
        office.keys = (BOB,)
        assert list(office.service.figures().budgets.keys) == []
        assert [shown.team for shown in office.service.figures().budgets.teams] == ["growth"]

    def test_figures_are_made_while_they_are_gone_through(self) -> None:
        keys = [VirtualKey(f"key-{number}", budget=Budget(CENT, "month")) for number in range(5)]
        office = Office(*keys)
        asked: list[object] = []
        state = office.budgets.state
        office.budgets.state = lambda holder, now: asked.append(holder) or state(holder, now)  # type: ignore[method-assign]
        figures = iter(office.service.figures().budgets.keys)
        assert asked == []
        assert next(figures).key == "key-0"
        assert asked == [("key", "key-0")]


class TestOneKeyAmongTenThousand:
    """A change of one key leaves the others alone: with all of them looked at, everybody waited a quarter second."""

    def test_only_its_own_budgets_are_set(self) -> None:
        keys = [VirtualKey(f"key-{number}", budget=Budget(CENT, "month")) for number in range(10_000)]
        office = Office(*keys)
        del office.keys  # whoever asks for all of them fails
        more = replace(keys[7], budget=Budget(5 * CENT, "day"), model_budgets=(("gpt-4o*", Budget(CENT, "day")),))
        office.service.key_changed(more)
        state, of_model = (office.budgets.state(one, NOW) for one in (("key", "key-7"), ("key", "key-7", "gpt-4o*")))
        assert state is not None
        assert of_model is not None
        assert (state.limit, of_model.limit) == (Budget(5 * CENT, "day"), Budget(CENT, "day"))
        office.service.key_changed(replace(more, budget=None, model_budgets=()))
        assert office.budgets.state(("key", "key-7"), NOW) is None
        assert office.budgets.state(("key", "key-7", "gpt-4o*"), NOW) is None
        assert len(office.budgets.limited_holders()) == 9_999 + len(office.service._settings.teams)

    def test_it_comes_to_the_same_as_setting_all_of_them(self) -> None:
        one, all_of_them = Office(ALICE, BOB, CAROL), Office(ALICE, BOB, CAROL)
        for office in (one, all_of_them):
            office.service.settle(office.reserve(5 * CENT), booked(5 * CENT))
        lowered = replace(ALICE, budget=Budget(5 * CENT, "month"), model_budgets=(("gpt-4o", Budget(CENT, "week")),))
        for changed in (lowered, ALICE, replace(ALICE, budget=None), lowered):
            one.service.key_changed(changed)
            all_of_them.keys = (changed, BOB, CAROL)
            all_of_them.service.keys_changed()
            assert one.budgets.states(NOW) == all_of_them.budgets.states(NOW)
            assert one.alerts.told == all_of_them.alerts.told
        assert one.alerts.told

    @pytest.mark.parametrize("when", ["start", "later"])
    def test_the_month_by_the_ledger_for_every_key_from_zero(self, when: str) -> None:
        async def story() -> None:
            office = Office()
            charged = {
                ("alice", "growth", "gpt-4o"): CENT,
                ("gone", None, "gpt-4o"): CENT,
                ("gone", None, "flux-dev"): CENT,
                ("gone too", None, "gpt-4o"): 0,
            }
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
            office.ledger.charged = {("alice", "growth", "gpt-4o"): CENT}
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
