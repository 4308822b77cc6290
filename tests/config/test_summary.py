"""What the command line shows of a configuration, and what ``serve`` refuses."""

from __future__ import annotations

import json

import pytest

from gateway.config import describe_models, describe_price, load, unsupported, usd
from gateway.core.types import Price


def test_models_in_force_with_targets_in_order():
    rows = {row["model"]: row for row in describe_models(load(None, {"PIAPI_API_KEY": "one"}))}
    assert rows["gpt-4o"] == {
        "model": "gpt-4o",
        "state": "on",
        "plan": "Creator Plan or above",
        "notes": ["PiAPI: Creator Plan or above"],
        "targets": [
            {
                "upstream": "piapi",
                "model": "gpt-4o",
                "operation": "chat",
                "state": "on",
                "price": {"input": "1.875", "output": "7.5"},
            },
            {
                "upstream": "backup",
                "model": "gpt-4o",
                "operation": "chat",
                "state": "off",
                "price": {"input": "2.5", "cached_input": "1.25", "output": "10"},
            },
        ],
    }
    assert rows["gpt-4-gizmo-*"]["targets"][0]["price"] is None
    assert "one" not in json.dumps(list(rows.values())).split('"')


def test_without_keys_every_model_is_off():
    assert {row["state"] for row in describe_models(load(None, {}))} == {"off"}


def test_a_price_in_dollars():
    price = Price(input=0, image=20_000_000, table={"low": {"1024x1024": 11_000_000}}, minimum=5_000_000)
    assert describe_price(price) == {
        "input": "0",
        "image": "0.02",
        "table": {"low": {"1024x1024": "0.011"}},
        "minimum": "0.005",
    }


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (660_000, "0.00066"),
        (10**9, "1"),
        (10 * 10**9, "10"),
        (10**18 + 1, "1000000000.000000001"),
    ],
)
def test_dollars_are_exact(nano, text):
    assert usd(nano) == text


def test_what_is_accepted_but_cannot_be_served_yet(load_text):
    assert unsupported(load_text("")) == []
    config = load_text("{workers: 4, store: 'postgresql://u:hunter2@h/d', shared_state: 'redis://:hunter3@h:6379/0'}")
    sentences = unsupported(config)
    assert [sentence.partition(":")[0] for sentence in sentences] == ["workers", "store", "shared_state"]
    assert all(sentence.endswith(".") and "hunter" not in sentence for sentence in sentences)
    assert {"hunter2", "hunter3"} <= config.secrets
