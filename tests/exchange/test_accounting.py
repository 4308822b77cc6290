"""Every request goes once to the ledger, the metrics and the log, even if our own booking of it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.billing_terms import USUAL_TERMS, Terms
from gateway.core.exchange_record import AttemptRecord, BookedPrice, ExchangeRecord
from gateway.core.pricing.price_list import PriceList
from gateway.core.routing.health import Ticket
from gateway.core.routing.route_table import AttemptPlan, Failover
from gateway.core.types import Credential, Endpoint, Outcome, Phase, Price, Route, Target, Upstream, Usage, VirtualKey
from gateway.exchange.accounting import OUR_MISTAKE, Account
from gateway.exchange.attempt import Attempt
from gateway.exchange.services import Services
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_line import request_fields
from gateway.telemetry.series import LabelSpace

CHAT = "/v1/chat/completions"
HOST = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443)
FIRST = Credential("first", "the-key-itself")
PIAPI = Upstream("piapi", "piapi", (HOST,), (FIRST,))
BILLED = Target(PIAPI, "gpt-4o", price=Price(input=1_000_000_000, output=2_000_000_000))  # a dollar a million
IMAGE = Target(PIAPI, "gpt-4o-image", price=Price(image=20_000_000))
ALICE = VirtualKey("alice", team="growth")
OK = Outcome("ok", Phase.FORWARDED, 200)


class Mistake(Exception):
    """One of ours."""


@dataclass
class Observers:
    """Stands for the services; keeps what the ledger and the log are told. ``now``: seconds, moved by the tests."""

    now: float = 50.0
    settled: list[ExchangeRecord] = field(default_factory=list)
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    metrics: Metrics = field(
        default_factory=lambda: Metrics(
            "1",
            LabelSpace(
                routes=frozenset({CHAT}),
                models=frozenset({"gpt-4o"}),
                upstreams=frozenset({"piapi"}),
                endpoints=frozenset({HOST.url}),
                keys=frozenset({"alice"}),
                teams=frozenset({"growth"}),
            ),
        )
    )

    @property
    def services(self) -> Services:
        return cast("Services", self)

    @property
    def ledger(self) -> Observers:
        return self

    log = clock = snapshot = ledger
    prices = PriceList()

    def settle(self, settlement: ExchangeRecord) -> None:
        self.settled.append(settlement)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def request(self, record: ExchangeRecord) -> None:
        self.info("request", **request_fields(record))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int(self.now * 1e9)

    def new_id(self) -> str:
        return "exchange-1"

    def figure(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.metrics.render()[0].decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@dataclass
class Talk:
    """What is left of a conversation."""

    usage: Usage | None = None
    estimated: Usage = field(default_factory=Usage)
    images: int = 0
    delivered: int = 0
    breaks: bool = False
    quality: str | None = None
    size: str | None = None
    stated_cost: int | None = None
    task_id: str | None = None
    terms: Terms = USUAL_TERMS

    def estimate(self) -> Usage:
        if self.breaks:
            raise Mistake
        return self.estimated


@dataclass
class Driven:
    """What is left of an attempt."""

    sent: bool = True
    waited: float = 0.0
    bytes_out: int = 10
    bytes_in: int = 20


class Asked:
    route = CHAT


@pytest.fixture
def told() -> Observers:
    return Observers()


@pytest.fixture
async def account(told: Observers) -> Account:
    opened = Account(told.services, Asked(), Route("gpt-4o", (BILLED,)), ALICE, "req-1")
    opened.reserved = True
    return opened


def tried(
    account: Account,
    told: Observers,
    outcome: Outcome | None = OK,
    talk: Talk | None = None,
    *,
    target: Target = BILLED,
    driven: Driven | None = None,
    failovers: tuple[Failover, ...] = (),
) -> None:
    """One attempt of two seconds; without an outcome it never ended."""
    plan = AttemptPlan(target, HOST, FIRST, True, 1, 0, False, Ticket(HOST, "gpt-4o", 0.0))
    attempt = cast("Attempt", driven or Driven())
    account.begin(plan, cast("Any", talk or Talk()), attempt)
    told.now += 2
    if outcome is not None:
        account.end(attempt, outcome, failovers)


class TestARequestThatGoesWell:
    async def test_is_charged_by_its_usage_and_goes_to_ledger_metrics_and_log(
        self, account: Account, told: Observers
    ) -> None:
        account.first_content()
        tried(account, told, talk=Talk(Usage(1000, 400, 10)), driven=Driven(waited=1.5))
        assert account.settle(200) == b"0.00102"
        [settled] = told.settled
        assert settled == ExchangeRecord(
            "exchange-1",
            key="alice",
            team="growth",
            route=CHAT,
            model="gpt-4o",
            request_id="req-1",
            settled_ns=1_700_000_052_000_000_000,
            state="settled",
            upstream="piapi",
            endpoint=HOST.url,
            credential="first",
            attempts=[AttemptRecord("piapi", HOST.url, "first", "ok", 4, 1_020_000, "billed")],
            usage=Usage(1000, 400, 10),
            charged=1_020_000,
            upstream_cost=1_020_000,
            confidence="measured",
            status=200,
            booked=BookedPrice("piapi", "gpt-4o", '{"input":1,"output":2}'),
        )
        assert told.figure("gateway_requests_total", key="alice", status="200", upstream="piapi") == 1
        assert told.figure("gateway_cost_usd_total", key="alice", team="growth") == 0.00102
        assert told.figure("gateway_request_duration_seconds_sum") == 2
        assert told.figure("gateway_overhead_seconds_sum") == 0.5
        assert told.figure("gateway_time_to_first_token_seconds_count") == 1
        [(level, event, fields)] = told.lines
        assert (level, event, fields["cost_usd"], fields["outcome"]) == ("info", "request", "0.00102", "ok")
        assert "the-key-itself" not in repr(told.lines)

    async def test_is_settled_once(self, account: Account, told: Observers) -> None:
        tried(account, told, talk=Talk(Usage(1000, 0, 10)))
        assert [account.settle(200), account.settle(500)] == [b"0.00102"] * 2
        assert [settled.status for settled in told.settled] == [200]
        assert told.figure("gateway_requests_total") == 1
        assert account.tokens_used() == 1010

    async def test_says_in_its_headers_how_it_came_about(self, account: Account, told: Observers) -> None:
        assert dict(account.headers()) == {b"x-gateway-attempts": b"0"}
        tried(account, told, Outcome("upstream_5xx", Phase.UNKNOWN, 500))
        tried(account, told)
        assert dict(account.headers()) == {b"x-gateway-upstream": b"piapi", b"x-gateway-attempts": b"2"}


class TestAttempts:
    async def test_that_fail_are_counted_logged_and_kept(self, account: Account, told: Observers) -> None:
        change = Failover("piapi", "piapi", "upstream_5xx")
        tried(account, told, Outcome("upstream_5xx", Phase.REJECTED, 500, detail="status 500"), failovers=(change,))
        tried(account, told, talk=Talk(Usage(1000, 0, 10)))
        account.settle(200)
        [settled] = told.settled
        assert [(one.outcome, one.cost) for one in settled.attempts] == [("upstream_5xx", 0), ("ok", 1_020_000)]
        assert told.figure("gateway_upstream_attempts_total", outcome="upstream_5xx") == 1
        assert told.figure("gateway_failovers_total") == 1
        [(level, event, fields), _] = told.lines
        assert (level, event, fields["detail"], fields["attempt_ms"]) == ("warning", "attempt", "status 500", 2000)
        assert fields["upstream_key"] == "first"

    async def test_that_a_crash_of_ours_cut_short_are_charged_for_what_was_delivered(
        self, account: Account, told: Observers
    ) -> None:
        talk = Talk(estimated=Usage(1000, 0, 10, confidence="estimated"))
        tried(account, told, Outcome("internal_error", Phase.FORWARDED), talk)
        account.settle(500)
        [settled] = told.settled
        assert (settled.charged, settled.confidence, settled.status) == (1_020_000, "estimated", 500)

    async def test_nothing_sent_is_nothing_paid(self, account: Account, told: Observers) -> None:
        tried(account, told, Outcome("connect_refused", Phase.UNSENT), driven=Driven(sent=False))
        assert not account.sent
        account.settle(502)
        assert (told.settled[0].state, told.settled[0].charged) == ("released", 0)


class TestWithoutAnIntent:
    async def test_the_ledger_is_told_nothing_but_the_metrics_are(self, account: Account, told: Observers) -> None:
        account.reserved = False
        account.settle(503)
        assert told.settled == []
        assert told.figure("gateway_requests_total", status="503", upstream="other") == 1


class TestAMistakeOfOursWhileBooking:
    """The row must not stay open, and neither the metrics nor a second settling may be lost or doubled."""

    @pytest.fixture(params=["booking", "counting"])
    def broken(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Talk:
        """A conversation whose account cannot be made up, for either reason."""
        if request.param == "counting":
            return Talk(breaks=True)

        def book(*_: Any) -> Any:
            raise Mistake

        monkeypatch.setattr("gateway.exchange.accounting.settle_charges", book)
        return Talk()

    async def test_is_raised_after_the_row_was_settled_as_unknown(
        self, account: Account, told: Observers, broken: Talk
    ) -> None:
        tried(account, told, Outcome("upstream_5xx", Phase.UNKNOWN, 500))
        tried(account, told, OK, broken)
        with pytest.raises(Mistake):
            account.settle(200)
        [settled] = told.settled
        assert (settled.state, settled.confidence, settled.charged, settled.upstream_cost) == (
            "unknown",
            "unknown",
            0,
            0,
        )
        assert [(one.outcome, one.cost, one.reason) for one in settled.attempts] == [
            ("upstream_5xx", 0, "unknown"),
            ("ok", 0, "unknown"),
        ]

    async def test_is_counted_and_logged_all_the_same(self, account: Account, told: Observers, broken: Talk) -> None:
        tried(account, told, OK, broken)
        with pytest.raises(Mistake):
            account.settle(200)
        assert told.figure("gateway_requests_total", status="200", key="alice") == 1
        assert told.figure("gateway_request_duration_seconds_count") == 1
        assert told.figure("gateway_cost_usd_total") == 0
        assert told.lines[-1][2]["confidence"] == "unknown"

    async def test_settling_again_is_quiet_and_changes_nothing(
        self, account: Account, told: Observers, broken: Talk
    ) -> None:
        tried(account, told, OK, broken)
        with pytest.raises(Mistake):
            account.settle(200)
        account.settle(500)  # what the exchange does at its end in every case
        assert len(told.settled) == 1
        assert told.figure("gateway_requests_total") == 1
        assert account.tokens_used() == 0


async def test_an_attempt_that_never_ended_counts_as_our_mistake(account: Account, told: Observers) -> None:
    tried(account, told, None)
    account.settle(500)
    [record] = told.settled[0].attempts
    assert (record.outcome, record.phase) == (OUR_MISTAKE.slug, int(Phase.UNKNOWN))


async def test_an_intent_says_whether_it_may_cost_by_the_piece(told: Observers) -> None:
    for targets, paid in (((BILLED,), False), ((BILLED, IMAGE), True)):
        account = Account(told.services, Asked(), Route("gpt-4o", targets), ALICE, "req-1")
        intent = account.intent(7)
        assert (intent.paid, intent.id, intent.key, intent.team) == (paid, "exchange-1", "alice", "growth")
        assert (intent.at_ns, intent.reserved) == (7, 0)


async def test_what_is_handed_over_is_plain_and_holds_no_secret(account: Account, told: Observers) -> None:
    tried(account, told, Outcome("upstream_5xx", Phase.UNKNOWN, 500))
    tried(account, told, None, Talk(Usage(1000, 0, 10)))
    account.settle(500)
    [settled] = told.settled
    assert [(one.work, one.driver) for one in settled.attempts] == [(None, None)] * 2
    assert "the-key-itself" not in repr(settled)


async def test_attempts_side_by_side_end_in_any_order(account: Account, told: Observers) -> None:
    plan = AttemptPlan(BILLED, HOST, FIRST, True, 1, 0, False, Ticket(HOST, "gpt-4o", 0.0))
    first, second = cast("Attempt", Driven(waited=0.5)), cast("Attempt", Driven(waited=0.25))
    for number, attempt in enumerate((first, second)):
        account.begin(plan, cast("Any", Talk(Usage(1000, 0, 10))), attempt, number)
    assert account.sent
    account.end(first, OK, ())
    account.end(second, Outcome("upstream_5xx", Phase.REJECTED, 500), ())
    account.settle(200)
    assert [(one.outcome, one.waited) for one in told.settled[0].attempts] == [("ok", 0.5), ("upstream_5xx", 0.25)]


async def test_a_charge_told_early_is_what_is_booked_and_leaves_the_outcome_open(
    account: Account, told: Observers
) -> None:
    tried(account, told, None, Talk(Usage(1000, 0, 10)))
    assert account.charge_of(0) == "0.00102"
    assert account.record.attempts[0].outcome == OUR_MISTAKE.slug
