"""Whether an answer is by the model that was asked, however a relay spells it; and what it costs if it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing.price_list import PriceList
from gateway.core.pricing.same_model import same_model
from gateway.core.types import Price, Route, Target
from tests.core.builders import backup, target, upstream

from .prices import BACKUP, GPT_4O, GPT_4O_IMAGE

MINI = Price(input=150_000_000, output=600_000_000)
SNAPSHOT = Price(input=5_000_000_000, output=15_000_000_000)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4.1", "gpt-4.1-2025-04-14"),
        ("gpt-4o", "openai/gpt-4o"),
        ("gpt-4o", "openai/GPT-4o-2024-11-20"),
        ("openai/gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-3.5-turbo", "gpt-35-turbo"),
        ("gpt-4", "gpt-4-0613"),
        ("claude-sonnet-4-6", "anthropic/claude-sonnet-4.6"),
        ("claude-sonnet-4", "claude-sonnet-4@20250514"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("claude-sonnet-4", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
        ("gemini-1.5-pro", "models/gemini-1.5-pro-002"),
        ("deepseek-r1", "deepseek/deepseek-r1-0528"),
        ("llama3", "llama3:latest"),
        ("mistral-large-latest", "mistral-large-2411"),
    ],
)
def test_the_same_model(asked: str, named: str) -> None:
    assert same_model(asked, named)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o", "chatgpt-4o-latest"),
        ("gpt-4", "gpt-4-32k"),
        ("gpt-4", "gpt-4-1106-preview"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13"),
        ("gpt-4o", "gpt-4.1"),
        ("gpt-6-sol", "gpt-6.2-sol"),
        ("deepseek-v3", "deepseek-v2"),
        ("gpt-4o", "gpt-4o:online"),
        ("gpt-5", "gpt-5-pro"),
        ("claude-sonnet-4", "claude-opus-4"),
    ],
)
def test_another_model(asked: str, named: str) -> None:
    assert not same_model(asked, named)
    assert not same_model(named, asked)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_is_itself_and_the_order_does_not_matter(one: str, other: str) -> None:
    assert same_model(one, one)
    assert same_model(one, other) == same_model(other, one)


class TestThePriceOfAnAnswer:
    def list_of(self, *targets: Target, aliases: tuple[str, ...] = ()) -> PriceList:
        return PriceList([Route(one.model, (one,), aliases=aliases) for one in targets])

    def test_by_the_model_that_was_asked_is_its_own(self) -> None:
        asked = target(backup(), "gpt-4o", price=BACKUP)
        prices = self.list_of(asked, target(backup(), "gpt-4o-mini", price=MINI))
        for named in (None, "", "gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "GPT-4o"):
            assert prices.of_answer(asked, named) == (BACKUP, True)

    def test_by_another_model_is_that_models(self) -> None:
        asked = target(backup(), "gpt-4o", price=BACKUP)
        prices = self.list_of(asked, target(backup(), "gpt-4o-mini", price=MINI), target(upstream(), "gpt-4.1"))
        for named in ("gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18"):
            assert prices.of_answer(asked, named) == (MINI, True)

    def test_of_one_model_sold_at_two_prices_is_that_of_the_target(self) -> None:
        """What an answer's name means is looked up once for both; the price is not."""
        dear, cheap = target(backup(), "gpt-4o", price=BACKUP), target(backup(), "gpt-4o", price=MINI)
        prices = self.list_of(dear)
        for _ in range(2):
            assert prices.of_answer(dear, "gpt-4o-2024-08-06") == (BACKUP, True)
            assert prices.of_answer(cheap, "gpt-4o-2024-08-06") == (MINI, True)
            assert prices.of_answer(cheap, "gpt-7-mystery") == (MINI, False)

    def test_by_a_model_without_a_price_at_the_same_upstream_is_a_guess(self) -> None:
        asked = target(backup(), "gpt-4o", price=BACKUP)
        prices = self.list_of(asked, target(upstream(), "gpt-4.1"), target(backup(), "gpt-5", price=None))
        for named in ("gpt-4.1", "gpt-5", "gpt-7-mystery"):
            assert prices.of_answer(asked, named) == (BACKUP, False)

    def test_by_a_snapshot_that_has_a_price_of_its_own_is_that(self) -> None:
        asked = target(backup(), "gpt-4o", price=BACKUP)
        prices = self.list_of(asked, target(backup(), "gpt-4o-2024-05-13", price=SNAPSHOT))
        assert prices.of_answer(asked, "gpt-4o-2024-05-13") == (SNAPSHOT, True)
        assert prices.of_answer(asked, "gpt-4o-2024-08-06") == (BACKUP, True)

    def test_by_an_alias_is_the_one_it_stands_for(self) -> None:
        asked = target(backup(), "gpt-5.6-sol", price=BACKUP)
        prices = self.list_of(asked, aliases=("gpt-5.6",))
        assert prices.of_answer(asked, "gpt-5.6") == (BACKUP, True)

    def test_by_a_pattern(self) -> None:
        asked = target(backup(), "gpt-4o", price=BACKUP)
        prices = self.list_of(asked, target(backup(), "gpt-4-gizmo-*", price=SNAPSHOT))
        assert prices.of_answer(asked, "gpt-4-gizmo-g-7") == (SNAPSHOT, True)

    def test_where_nothing_was_known_of_what_was_asked(self) -> None:
        asked = target(backup(), "someones-model", price=None)
        prices = self.list_of(target(backup(), "gpt-4o", price=BACKUP))
        assert prices.of_answer(asked, "gpt-4o-2024-08-06") == (BACKUP, True)
        assert prices.of_answer(asked, "someones-model-2026-01-01") == (None, True)

    def test_what_is_sold_by_the_piece_costs_what_was_ordered(self) -> None:
        asked = target(upstream(), "gpt-4o-image", price=GPT_4O_IMAGE)
        prices = self.list_of(asked, target(upstream(), "gpt-4o", price=GPT_4O))
        assert prices.of_answer(asked, "gpt-4o") == (GPT_4O_IMAGE, True)
