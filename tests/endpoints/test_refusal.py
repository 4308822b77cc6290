"""Requests that end before an exchange begins still count, by what is known of them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import invalid_request
from gateway.endpoints.refusal import Refusal
from gateway.server.body import SenderGone
from tests.exchange.scripted import play
from tests.exchange.stage import PATH, Mistake, Stage

COUNTED = "gateway_requests_total"


def test_a_refusal_counts_by_route_status_key_and_model_and_is_raised_on() -> None:
    async def story() -> None:
        stage = Stage()
        with pytest.raises(type(invalid_request("no", param="n"))), Refusal(stage.services, PATH) as refusal:
            refusal.key, refusal.model = stage.key, "gpt-4o"
            await asyncio.sleep(3)
            raise invalid_request("no", param="n")
        assert stage.figure(COUNTED, route=PATH, status="400", key="alice", team="growth", model="gpt-4o") == 1
        assert stage.figure("gateway_request_duration_seconds_sum") == 3
        assert stage.figure("gateway_cost_usd_total") == 0

    play(story)


def test_a_model_that_no_route_has_is_not_a_label() -> None:
    """Clients choose the names: each would be a series of its own."""

    async def story() -> None:
        stage = Stage()
        refusal = Refusal(stage.services, PATH, model="no-such-model")
        refusal.count(404)
        assert stage.figure(COUNTED, status="404", model="other", key="other") == 1

    play(story)


def test_a_sender_that_left_in_the_middle_of_its_body_counts_as_499() -> None:
    async def story() -> None:
        stage = Stage()
        with pytest.raises(SenderGone), Refusal(stage.services, PATH):
            raise SenderGone
        assert stage.figure(COUNTED, status="499") == 1

    play(story)


def test_what_goes_on_to_an_exchange_is_counted_there() -> None:
    async def story() -> None:
        stage = Stage()
        with Refusal(stage.services, PATH):
            pass
        with pytest.raises(Mistake), Refusal(stage.services, PATH):
            raise Mistake  # ours: the dispatcher answers it
        assert stage.figure(COUNTED) == 0

    play(story)
