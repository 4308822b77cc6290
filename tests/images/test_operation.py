"""An image order as the exchange runs it: the conversation for each target, what it may cost, and one answer of all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.types import OperationName, Usage
from gateway.images.operation import ImageOperation
from gateway.translate.images_to_chat import ImagesToChat
from gateway.translate.images_to_images import ImagesToImages
from gateway.translate.images_to_task import ImagesToTask
from gateway.wire.answer_cost import AnswerCost
from tests.core.images.flux_orders import wish

from .orders import CENT, CHAT, FLUX, HOST, IMAGES, Presenter, desk, target, tools


def ordered(request: ImagesRequest, presenter: Presenter | None = None) -> ImageOperation:
    presenter = presenter or Presenter()
    return desk().operation("/v1/images/generations", request, (FLUX,), cast("Any", presenter))


@pytest.mark.parametrize(
    ("operation", "kind"), [("task", ImagesToTask), ("images", ImagesToImages), ("chat", ImagesToChat)]
)
def test_each_operation_has_its_conversation_and_each_attempt_a_fresh_one(operation: OperationName, kind: type) -> None:
    part = ordered(wish()).parts[0]
    first, second = (part.converse_with(target(operation), HOST) for _ in range(2))
    assert (type(first), first is second) == (kind, False)
    assert operation in part.supports


class TestWhatItMayCost:
    @pytest.mark.parametrize(
        ("quality", "at", "cost"),
        [("low", IMAGES, CENT), ("high", IMAGES, 17 * CENT), (None, IMAGES, 17 * CENT), (None, CHAT, 2 * CENT)],
    )
    def test_is_the_price_of_what_was_asked_or_the_dearest(self, quality: str | None, at: Any, cost: int) -> None:
        part = ordered(wish(quality=quality, size="1024x1024")).parts[0]
        assert part.cost_bound(at, exact=False) == cost
        assert part.stake(at) == cost

    def test_is_for_the_piece_alone(self) -> None:
        made = ordered(wish(n=2))
        assert sum(part.cost_bound(FLUX, exact=True) or 0 for part in made.parts) == 4 * CENT


class TestTheWebhook:
    @pytest.mark.parametrize(("base", "secret"), [("", "s3cret"), ("https://gw.example", "")])
    def test_is_off_without_an_address_or_a_secret(self, base: str, secret: str) -> None:
        assert tools(webhook_base=base, webhook_secret=secret).webhook() is None

    def test_has_an_address_that_cannot_be_guessed_for_every_task(self) -> None:
        made = [tools(webhook_base="https://gw.example", webhook_secret="s3cret").webhook() for _ in range(2)]
        first, second = (one for one in made if one is not None)
        assert first.wakeup != second.wakeup
        assert len(first.wakeup) >= 43  # 256 bits
        assert first.endpoint == f"https://gw.example/webhooks/piapi/{first.wakeup}"
        assert first.wakeup not in repr(first)


PLAIN = ImageFacts()


class Served:
    """What is left of a conversation that served."""

    def __init__(self, name: str, usage: Usage | None = None, facts: ImageFacts = PLAIN) -> None:
        self.made_images = (MadeImage(f"https://img/{name}"),)
        self.usage = usage
        self.facts = facts


def unasked() -> str | None:
    raise AssertionError("nobody wants to know the cost")


class TestTheCost:
    def test_is_asked_for_once_and_told_where_answers_tell_it(self) -> None:
        for usd in ("0.02", None):
            presenter = Presenter(tells_cost=True)
            ordered(wish(), presenter).conclude(cast("Any", [Served("1"), Served("2")]), lambda usd=usd: usd)
            assert presenter.costs == [AnswerCost(usd)]

    def test_is_not_even_worked_out_where_they_do_not(self) -> None:
        presenter = Presenter()
        ordered(wish(), presenter).conclude(cast("Any", [Served("1")]), unasked)
        assert presenter.costs == [None]


class TestTheAnswerOfSeveralPieces:
    def test_has_all_images_in_their_order_and_all_usage_together(self) -> None:
        presenter = Presenter()
        served = [Served("1", Usage(5, 1, 100, images=1)), Served("2", Usage(7, 2, 200, images=1))]
        assert ordered(wish(), presenter).conclude(cast("Any", served), unasked) == b"answer"
        [(images, _, usage)] = presenter.concluded
        assert [image.url for image in images] == ["https://img/1", "https://img/2"]
        assert usage == Usage(12, 3, 300, images=2)

    def test_names_no_usage_as_soon_as_one_piece_has_none(self) -> None:
        presenter = Presenter()
        ordered(wish(), presenter).conclude(cast("Any", [Served("1", Usage(5, 1, 100)), Served("2")]), unasked)
        assert presenter.concluded[0][2] is None

    def test_tells_the_facts_that_hold_for_all_and_no_usage_object(self) -> None:
        presenter = Presenter()
        low = ImageFacts("1024x1024", "low", usage={"total_tokens": 5})
        served = [Served("1", facts=low), Served("2", facts=replace(low, quality="high"))]
        ordered(wish(), presenter).conclude(cast("Any", served), unasked)
        assert presenter.concluded[0][1] == ImageFacts(size="1024x1024")

    def test_of_one_piece_tells_everything(self) -> None:
        presenter = Presenter()
        facts = ImageFacts("1024x1024", "low", usage={"total_tokens": 5})
        ordered(wish(), presenter).conclude(cast("Any", [Served("1", facts=facts)]), unasked)
        assert presenter.concluded[0][1] == facts
