"""The lines that a refusal for want of a price tells are ones that the configuration takes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing.budget_errors import Unpriced
from gateway.core.pricing.price_lines import price_lines
from gateway.core.types import Price, Route, Target
from tests.core.builders import backup, upstream

NOVA = Route("gpt-7-nova", (Target(upstream(), "gpt-7-nova"), Target(backup(), "gpt-7-nova")))


def read(lines: str) -> Any:
    [(model, entry)] = yaml.safe_load(lines)["models"].items()
    return model, entry["targets"]


def test_two_lines_with_a_blank_for_each_amount() -> None:
    assert price_lines(NOVA) == (
        "models:\n  gpt-7-nova: {targets: [{upstream: piapi, price: {input: …, output: …}}, "
        "{upstream: backup, price: {input: …, output: …}}]}"
    )


def test_with_what_is_suggested() -> None:
    price = Price(input=2_500_000_000, cached_input=1_250_000_000, output=10_000_000_000)
    model, targets = read(price_lines(NOVA, lambda target: price if target.upstream.name == "backup" else None))
    assert model == "gpt-7-nova"
    assert targets == [
        {"upstream": "piapi", "price": {"input": "…", "output": "…"}},
        {"upstream": "backup", "price": {"input": 2.5, "output": 10.0, "cached_input": 1.25}},
    ]


def test_what_has_its_price_keeps_it_and_half_a_price_is_filled_up() -> None:
    route = Route(
        "mine",
        (
            Target(upstream(), "theirs", price=Price(input=1_000_000_000, output=2_000_000_000)),
            Target(backup(), "half", price=Price(input=1_000_000_000)),
        ),
    )
    assert read(price_lines(route)) == (
        "mine",
        [
            {"upstream": "piapi", "model": "theirs"},
            {"upstream": "backup", "model": "half", "price": {"input": 1.0, "output": "…"}},
        ],
    )


def test_of_pictures_by_the_picture() -> None:
    route = Route("painter", (Target(upstream(), "painter", "task"),))
    assert read(price_lines(route))[1] == [{"upstream": "piapi", "operation": "task", "price": {"image": "…"}}]


@pytest.mark.parametrize(
    "name", ["a:b", "1", "1e3", "true", "NULL", "~", "#x", "{x}", "a'b", 'a"b', "é", "-x", "@x", "off"]
)
def test_odd_names_are_quoted(name: str) -> None:
    assert read(price_lines(Route(name, (Target(upstream(), name),))))[0] == name


@given(st.text(st.characters(min_codepoint=0x21, exclude_categories=("C", "Z")), min_size=1, max_size=40))
def test_any_name_is_read_back_as_it_is(name: str) -> None:
    model, targets = read(price_lines(Route(name, (Target(upstream(), f"{name}x"),))))
    assert (model, targets[0]["model"]) == (name, f"{name}x")


def test_the_sentence_around_them() -> None:
    blank = Unpriced(("key", "alice")).error("gpt-7-nova", price_lines(NOVA))
    assert (blank.status, blank.code, blank.param) == (403, "model_not_allowed", "model")
    assert "the key 'alice'" in blank.message
    assert "US dollars per 1M tokens" in blank.message
    assert blank.message.endswith(f":\n{price_lines(NOVA)}"), "whoever copies the rest of the message has YAML"
    assert "allow_unpriced: true" in blank.message
    assert "for each …" in blank.message
    assert "…" not in Unpriced(("team", "t")).error("m", "models: {}").message
    assert "allow_unpriced" in Unpriced(("team", "t")).error("m").message
