"""The life of a request, in virtual time: let in or refused, served or not, and what its budget holds meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import GatewayError, invalid_request, ledger_unavailable
from gateway.core.types import Outcome, Phase, VirtualKey
from gateway.exchange.exchange import ERROR_TIMEOUT
from gateway.translate.commands import Conversing, Emit, Sleep
from tests.exchange.scripted import (
    NEVER,
    SEND,
    Response,
    Talk,
    answered,
    emitting,
    fails,
    folding,
    in_turn,
    now,
    play,
    with_usage,
)
from tests.exchange.stage import (
    BACKUP,
    CENT,
    CHAT,
    CHAT_ELSEWHERE,
    LOST,
    REFUSED,
    THOUSAND,
    WITH_BUDGET,
    Client,
    Mistake,
    Stage,
    order,
    paid,
)


class TestARequestThatIsNotLetIn:
    """Nothing is bought, no row is written, and it counts in the metrics all the same."""

    @staticmethod
    def refused(stage: Stage, error: GatewayError | None, status: int, code: str) -> None:
        assert error is not None
        assert (error.status, error.code) == (status, code)
        assert stage.asked == []
        assert stage.ledger.settlements == []
        assert stage.figure("gateway_requests_total", status=str(status), key="alice") == 1
        assert stage.reserved() == 0

    def test_while_the_gateway_drains(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.services.gate.draining = True
            client = await stage.serve(order(folding))
            self.refused(stage, client.told, 503, "server_shutting_down")

        play(story)

    def test_while_too_much_is_in_flight(self) -> None:
        async def story() -> None:
            stage = Stage(in_flight=0)
            client = await stage.serve(order(folding))
            self.refused(stage, client.told, 503, "gateway_overloaded")

        play(story)

    def test_beyond_a_limit_of_its_key(self) -> None:
        async def story() -> None:
            stage = Stage(key=VirtualKey("alice", team="growth", tpm=100))
            client = await stage.serve(order(folding, tokens=101))
            self.refused(stage, client.told, 429, "rate_limit_exceeded")
            assert client.headers[b"x-ratelimit-remaining-tokens"] == b"100"

        play(story)

    def test_on_a_budget_that_cannot_pay_it(self) -> None:
        async def story() -> None:
            stage = Stage(key=WITH_BUDGET)
            client = await stage.serve(order(folding, bound=11 * CENT))
            self.refused(stage, client.told, 429, "insufficient_quota")
            assert stage.ledger.intents == []

        play(story)

    def test_at_a_price_that_is_not_known(self) -> None:
        async def story() -> None:
            stage = Stage(key=WITH_BUDGET)
            client = await stage.serve(order(folding, bound=None))
            self.refused(stage, client.told, 403, "model_not_allowed")

        play(story)

    def test_when_the_ledger_cannot_write_its_intent(self) -> None:
        async def story() -> None:
            stage = Stage(key=WITH_BUDGET)
            stage.ledger.trouble = ledger_unavailable()
            client = await stage.serve(order(folding, bound=CENT))
            self.refused(stage, client.told, 503, "ledger_unavailable")

        play(story)

    def test_when_preparing_it_shows_that_it_is_wrong(self) -> None:
        async def story() -> None:
            async def prepare() -> None:
                raise invalid_request("The mask does not fit.", param="mask", code="invalid_value")

            stage = Stage()
            client = await stage.serve(order(folding, preparing=prepare))
            self.refused(stage, client.told, 400, "invalid_value")
            assert stage.ledger.intents == []

        play(story)

    def test_when_its_client_leaves_while_it_is_prepared(self) -> None:
        async def story() -> None:
            async def prepare() -> None:
                stage.client.leave()

            stage = Stage()
            await stage.serve(order(folding, preparing=prepare))
            assert (stage.asked, stage.ledger.intents) == ([], [])
            assert stage.figure("gateway_requests_total", status="499") == 1

        play(story)


class TestARequestThatIsServed:
    def test_is_answered_whole_and_charged(self) -> None:
        async def story() -> None:
            stage = Stage(answered(b"hello", at=2))
            client = await stage.serve(order(with_usage(folding, THOUSAND)))
            assert (client.status, client.body, client.finished) == (200, b"hello", True)
            assert client.headers[b"content-type"] == b"application/json"
            assert client.headers[b"x-gateway-upstream"] == b"piapi"
            assert client.headers[b"x-gateway-attempts"] == b"1"
            assert client.headers[b"x-gateway-cost-usd"] == b"0.001"
            row = stage.ledger.row
            assert (row.state, row.charged, row.status) == ("settled", CENT // 10, 200)
            assert stage.figure("gateway_requests_total", status="200") == 1

        play(story)

    def test_its_intent_is_committed_before_anything_is_bought(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=2))
            stage.ledger.takes = 1
            serving = stage.start(order(folding))
            await asyncio.sleep(0.9)
            assert stage.asked == []
            await serving
            assert stage.asked == ["api.piapi.ai"]
            [intent] = stage.ledger.intents
            assert (intent.id, intent.key, intent.team, intent.pieces) == ("exchange-1", "alice", "growth", 1)
            assert stage.figure("gateway_ledger_wait_seconds_sum", phase="intent") >= 0

        play(story)

    def test_is_streamed_as_it_comes(self) -> None:
        async def story() -> None:
            stage = Stage(Response([(1, b"one "), (5, b"two")], end=6))
            client = await stage.serve(order(with_usage(emitting, THOUSAND), stream=True))
            assert client.got == [(1, b"one "), (5, b"two")]
            assert client.headers[b"content-type"].startswith(b"text/event-stream")
            assert client.finished
            assert stage.ledger.row.charged == CENT // 10

        play(story)

    def test_never_sees_the_hosts_that_failed_before(self) -> None:
        async def story() -> None:
            stage = Stage(REFUSED, REFUSED, answered())
            client = await stage.serve(order(with_usage(folding, THOUSAND)))
            assert stage.asked == ["api.piapi.ai", "proxy.piapi.ai", "api.openai.com"]
            assert (client.status, client.body) == (200, b"hello")
            assert client.headers[b"x-gateway-attempts"] == b"3"
            assert stage.ledger.outcomes == ["connect_refused", "connect_refused", "ok"]

        play(story)

    def test_is_told_the_error_when_nothing_is_left_to_try(self) -> None:
        async def story() -> None:
            stage = Stage(REFUSED, REFUSED, REFUSED)
            client = await stage.serve(order(folding))
            assert client.told is not None
            assert client.status == 502
            row = stage.ledger.row
            assert (row.state, row.charged, row.status) == ("released", 0, 502)

        play(story)

    def test_gives_its_place_back(self) -> None:
        """One of a key that may run one request at a time, then another."""

        async def story() -> None:
            stage = Stage(answered(at=1), answered(at=1), key=VirtualKey("alice", parallel=1))
            running = stage.start(order(folding))
            await asyncio.sleep(0.5)
            assert (await stage.serve_beside(order(folding))).status == 429
            await running
            third = await stage.serve(order(folding), Client())
            assert third.status == 200

        play(story)

    def test_counts_the_tokens_it_really_used_against_its_limit(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), key=VirtualKey("alice", tpm=2000))
            client = await stage.serve(order(with_usage(folding, THOUSAND), tokens=10))
            assert client.headers[b"x-ratelimit-remaining-tokens"] == b"1990"
            headers = dict(stage.services.limits.headers(stage.key, now()))
            assert headers[b"x-ratelimit-remaining-tokens"] == b"1000"

        play(story)


class TestSeveralSubrequests:
    """An order for several images: each is bought by itself, and all are one request."""

    def test_are_answered_together_in_their_order(self) -> None:
        async def story() -> None:
            stage = Stage(answered(b"slow", at=9), answered(b"quick", at=2), targets=[paid()])
            client = await stage.serve(order(folding, folding))
            assert (now(), client.body) == (9, b"slow,quick")
            assert len(stage.ledger.row.attempts) == 2
            assert stage.ledger.intents[0].pieces == 2

        play(story)

    def test_of_which_one_fails_are_still_an_answer(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=2), answered(b"came", at=3), targets=[paid()])
            client = await stage.serve(order(fails("rejected", status=400), folding))
            assert (client.status, client.body) == (200, b"came")
            assert sorted(stage.ledger.outcomes) == ["ok", "rejected"]

        play(story)

    def test_of_which_none_comes_are_the_error_that_must_not_be_repeated(self) -> None:
        """What may have been bought must not be bought again because another piece failed harmlessly."""

        async def story() -> None:
            stage = Stage(answered(), LOST, targets=[paid()])
            client = await stage.serve(order(fails("rejected", status=400), folding, bound=NEVER_AGAIN))
            assert client.told is not None
            assert client.told.code == "upstream_outcome_unknown"
            assert stage.ledger.row.state == "unknown"

        play(story)

    def test_lose_nothing_by_a_mistake_of_ours_in_one_of_them(self) -> None:
        async def story() -> None:
            def broken(talk: Talk) -> Conversing:
                yield SEND
                raise Mistake

            stage = Stage(answered(), answered(b"came", at=30), targets=[paid()])
            client = await stage.serve(order(broken, folding))
            assert (client.status, client.body) == (200, b"came")
            assert sorted(stage.ledger.outcomes) == ["internal_error", "ok"]
            assert [type(crash) for crash in stage.crashes] == [Mistake]

        play(story)

    def test_end_together_when_the_drain_time_is_over(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=100), answered(at=100), targets=[paid()])
            serving = stage.start(order(folding, folding))
            await asyncio.sleep(3)
            stage.shut_down()
            await serving
            assert (now(), stage.ledger.outcomes) == (3, ["drain_cut", "drain_cut"])
            assert stage.client.status == 503

        play(story)


NEVER_AGAIN = 100 * CENT
"""More than a request may cost that is bought again although it may have been bought before."""


class TestTheBudget:
    def test_holds_what_a_request_may_cost_until_it_has_ended(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=5), key=WITH_BUDGET)
            serving = stage.start(order(with_usage(folding, THOUSAND), bound=4 * CENT))
            await asyncio.sleep(1)
            assert (stage.reserved(), stage.ledger.intents[0].reserved) == (4 * CENT, 4 * CENT)
            await serving
            assert (stage.reserved(), stage.spent()) == (0, CENT // 10)

        play(story)

    def test_is_topped_up_before_a_dearer_upstream_is_asked(self) -> None:
        async def story() -> None:
            stage = Stage(REFUSED, REFUSED, answered(at=5), key=WITH_BUDGET)
            asked = order(with_usage(folding, THOUSAND), bound=4 * CENT)
            asked.parts[0].bounds = {"backup": 9 * CENT}
            serving = stage.start(asked)
            await asyncio.sleep(3)
            assert (stage.asked[-1], stage.reserved()) == ("api.openai.com", 9 * CENT)
            await serving
            assert (stage.client.status, stage.reserved()) == (200, 0)

        play(story)

    @pytest.mark.parametrize("bound", [11 * CENT, None], ids=["too dear", "unpriced"])
    def test_that_cannot_be_topped_up_leaves_the_dearer_upstream_alone(self, bound: int | None) -> None:
        async def story() -> None:
            stage = Stage(REFUSED, REFUSED, key=WITH_BUDGET)
            asked = order(folding, bound=4 * CENT)
            asked.parts[0].bounds = {"backup": bound}
            client = await stage.serve(asked)
            assert "api.openai.com" not in stage.asked
            assert (client.status, client.told and client.told.code) == (429, "insufficient_quota")
            assert stage.ledger.outcomes == ["connect_refused", "connect_refused"]
            assert (stage.reserved(), stage.spent()) == (0, 0)

        play(story)

    @pytest.mark.parametrize(
        ("first", "reserved"), [(4 * CENT, 8 * CENT), (CENT, 6 * CENT)], ids=["dearer as well", "cheaper"]
    )
    def test_of_several_pieces_is_topped_up_for_each_that_costs_more(self, first: int, reserved: int) -> None:
        """A piece that turns out cheaper elsewhere gives nothing back before the end."""

        async def story() -> None:
            dear = paid(at=BACKUP)
            stage = Stage(*[REFUSED] * 4, answered(at=5), answered(at=5), targets=[paid(), dear], key=WITH_BUDGET)
            asked = order(folding, folding, bound=2 * CENT)
            asked.parts[0].bounds, asked.parts[1].bounds = {"backup": first}, {"backup": 4 * CENT}
            serving = stage.start(asked)
            await asyncio.sleep(1)
            assert stage.ledger.intents[0].reserved == 4 * CENT
            assert stage.reserved() == reserved
            await serving
            assert stage.reserved() == 0

        play(story)

    def test_keeps_holding_what_may_have_been_bought(self) -> None:
        async def story() -> None:
            stage = Stage(LOST, targets=[paid()], key=WITH_BUDGET)
            client = await stage.serve(order(folding, bound=6 * CENT))
            assert client.status == 504
            assert stage.ledger.row.state == "unknown"
            assert (stage.reserved(), stage.spent()) == (2 * CENT, 0)

        play(story)


class TestAClientThatWaits:
    def test_is_sent_spaces_while_a_whole_answer_is_made(self) -> None:
        async def story() -> None:
            stage = Stage(answered(b"{}", at=12), heartbeat=5)
            client = await stage.serve(order(folding))
            assert client.got == [(5, b" "), (10, b" "), (12, b"{}")]
            assert client.status == 200

        play(story)

    def test_is_told_an_error_behind_the_spaces(self) -> None:
        async def story() -> None:
            stage = Stage(Response([], end=12), heartbeat=5)

            def refused(talk: Talk) -> Conversing:
                yield SEND
                yield Sleep(12)
                return Outcome("rejected", Phase.REJECTED, 400)

            client = await stage.serve(order(refused))
            assert client.status == 200
            assert client.body.startswith(b'  {"error"')
            assert stage.ledger.row.status == 400

        play(story)

    def test_has_five_seconds_to_take_its_error(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=1), targets=[CHAT, CHAT_ELSEWHERE])
            stage.client.takes = NEVER
            await stage.serve(order(fails("rejected", status=400)))
            assert (now(), stage.client.aborted) == (ERROR_TIMEOUT, True)
            assert stage.ledger.row.status == 400

        play(story)


def test_a_note_of_the_conversation_goes_with_its_answer() -> None:
    async def story() -> None:
        def downgraded(talk: Talk) -> Conversing:
            outcome = yield from folding(talk)
            talk.note = "downgraded"
            return outcome

        stage = Stage(answered())
        client = await stage.serve(order(downgraded))
        assert client.headers[b"x-gateway-note"] == b"downgraded"

    play(story)


def test_a_stream_that_breaks_after_content_is_not_begun_again_elsewhere() -> None:
    async def story() -> None:
        def breaking(talk: Talk) -> Conversing:
            yield SEND
            yield Emit(b"half")
            return Outcome("sse_cut_late", Phase.FORWARDED, 200)

        stage = Stage(answered(), answered())
        client = await stage.serve(order(in_turn(breaking, emitting), stream=True))
        assert (client.status, client.body) == (200, b"half")
        assert client.told is not None
        assert len(stage.asked) == 1

    play(story)
