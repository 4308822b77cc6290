"""What an answer tells of its cost, before the books are closed, is what the books then hold."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing.prices import format_usd
from gateway.core.routing.health import Ticket
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import Outcome, Phase, Route, Target, Usage
from gateway.exchange.accounting import Account
from gateway.exchange.attempt import Attempt
from tests.core.pricing.prices import OPERATIONS, PRICES, USAGES

from .test_accounting import ALICE, BILLED, FIRST, HOST, OK, PIAPI, Asked, Driven, Mistake, Observers, Talk

LOST = st.sampled_from(
    [
        Outcome("cf_524", Phase.UNKNOWN, 524),
        Outcome("upstream_5xx", Phase.REJECTED, 500),
        Outcome("sse_cut_early", Phase.ANSWERED, 200),
        Outcome("connect_refused", Phase.UNSENT),
    ]
)
TARGETS = st.builds(Target, st.just(PIAPI), st.just("m"), OPERATIONS, st.none() | PRICES)
TALKS = st.builds(
    Talk,
    usage=st.none() | USAGES,
    estimated=USAGES,
    images=st.integers(0, 4),
    quality=st.sampled_from([None, "low", "high"]),
    size=st.sampled_from([None, "1024x1024", "1536x1024"]),
    stated_cost=st.none() | st.integers(0, 10**9),
)
PIECES = st.lists(st.tuples(st.lists(LOST, max_size=2), TARGETS, TALKS), min_size=1, max_size=3)


def opened(told: Observers) -> Account:
    account = Account(told.services, Asked(), Route("gpt-4o", (BILLED,)), ALICE, "req-1")
    account.reserved = True
    return account


def begin(account: Account, target: Target, talk: Talk, subrequest: int = 0) -> Attempt:
    attempt = cast("Attempt", Driven())
    plan = AttemptPlan(target, HOST, FIRST, True, 1, 0, False, Ticket(HOST, "gpt-4o", 0.0))
    account.begin(plan, cast("Any", talk), attempt, subrequest)
    return attempt


@given(PIECES)
def test_by_every_price_in_every_form_and_after_every_failure(pieces: list[Any]) -> None:
    async def story() -> None:
        told = Observers()
        account = opened(told)
        previews: list[str | None] = []
        for number, (lost, target, talk) in enumerate(pieces):
            for outcome in lost:
                account.end(begin(account, target, Talk(), number), outcome, ())
            running = begin(account, target, talk, number)
            previews.append(account.charge_of(number))  # a stream's last chunk leaves now
            account.end(running, OK, ())
        whole = account.charge()
        header = account.settle(200)
        [row] = told.settled
        if row.confidence == "unknown":
            assert (whole, header) == (None, None)
        else:
            assert whole == format_usd(row.charged)
            assert header == whole.encode()
        if len(pieces) == 1:
            assert previews == [whole]
        elif None not in previews:
            assert sum(nano(usd) for usd in previews if usd is not None) == row.charged

    asyncio.run(story())


def nano(usd: str) -> int:
    dollars, _, rest = usd.partition(".")
    return int(dollars) * 10**9 + int(rest.ljust(9, "0"))


async def test_of_several_pieces_each_tells_its_own() -> None:
    account = opened(Observers())
    for number, tokens in enumerate((1000, 3000)):
        begin(account, BILLED, Talk(Usage(tokens, 0, 0)), number)
    assert [account.charge_of(0), account.charge_of(1)] == ["0.001", "0.003"]


async def test_is_worked_out_once_for_the_answer_and_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Observers()
    account = opened(told)
    account.end(begin(account, BILLED, Talk()), OK, ())
    assert account.charge() == "0.00"
    monkeypatch.setattr("gateway.exchange.accounting.settle_charges", _fail)
    assert account.settle(200) == b"0.00"


async def test_that_fails_by_a_mistake_of_ours_leaves_the_row_unknown() -> None:
    told = Observers()
    account = opened(told)
    account.end(begin(account, BILLED, Talk(breaks=True)), OK, ())
    with pytest.raises(Mistake):
        account.charge()
    with pytest.raises(Mistake):
        account.settle(500)
    assert [(row.state, row.confidence, row.charged) for row in told.settled] == [("unknown", "unknown", 0)]


def _fail(*_: Any) -> Any:
    raise AssertionError("worked out twice")
