"""What the command line shows of a configuration, and what ``serve`` refuses."""

from __future__ import annotations

import json

import pytest

from gateway.config import describe_models, describe_price, load, usd
from gateway.core.types import Price
from tests.days import TODAY, in_days, noon_ns

NOW = noon_ns(TODAY)


def test_models_in_force_with_targets_in_order():
    rows = {row["model"]: row for row in describe_models(load(None, {"PIAPI_API_KEY": "one"}), NOW)}
    assert rows["gpt-4o"] == {
        "model": "gpt-4o",
        "state": "on",
        "plan": "Creator Plan or above",
        "aliases": [],
        "context": 128000,
        "max_output": 16_384,
        "notes": ["PiAPI: Creator Plan or above"],
        "targets": [
            {
                "upstream": "piapi",
                "model": "gpt-4o",
                "operation": "chat",
                "state": "on",
                "price": {"input": "1.875", "output": "7.5"},
                "source": "seed: LLM API | Basic Completions",
                "as_of": "mid-2025",
                "confidence": "medium",
                "shutdown": None,
                "successor": None,
            },
            {
                "upstream": "backup",
                "model": "gpt-4o",
                "operation": "chat",
                "state": "off",
                "price": {
                    "input": "2.5",
                    "cached_input": "1.25",
                    "output": "10",
                    "call": "0.01",
                    "tiers": {"fast": "1.7", "priority": "1.7"},
                },
                "source": "list; packages (tiers, web search); ends",
                "as_of": "2026-11-22",
                "confidence": "high",
                "shutdown": "2027-01-14",
                "successor": "gpt-6-luna",
            },
        ],
    }
    assert rows["gpt-4-gizmo-*"]["targets"][0]["price"] is None
    assert "one" not in json.dumps(list(rows.values())).split('"')


def test_without_keys_every_model_is_off():
    assert {row["state"] for row in describe_models(load(None, {}), NOW)} == {"off"}


KEYS = {"PIAPI_API_KEY": "one", "BACKUP_API_KEY": "two"}


def test_a_state_is_that_of_the_best_target():
    rows = {row["model"]: row for row in describe_models(load(None, KEYS), NOW)}
    assert [target["state"] for target in rows["gpt-4.1-nano"]["targets"]] == ["on", "ended"]
    assert rows["gpt-4.1-nano"]["state"] == "on"
    without_piapi = {row["model"]: row for row in describe_models(load(None, {"BACKUP_API_KEY": "two"}), NOW)}
    assert [target["state"] for target in without_piapi["gpt-4.1-nano"]["targets"]] == ["off", "ended"]
    assert without_piapi["gpt-4.1-nano"]["state"] == "ended"
    assert without_piapi["claude-opus-4-6"]["state"] == "off"


def test_a_price_that_is_built_in_says_where_it_is_from_and_ones_own_only_what_one_wrote(load_text):
    config = load_text(
        f"""
        models:
          gpt-4o:
            targets: [{{upstream: backup}}, {{upstream: piapi, price: {{input: 1, output: 2}}, shutdown: {in_days(9)}}}]
          ours: {{targets: [{{upstream: backup, model: gpt-4o, confidence: low}}]}}
        """,
        KEYS,
    )
    rows = {row["model"]: row["targets"] for row in describe_models(config, NOW)}
    built_in, own = rows["gpt-4o"]
    assert (built_in["source"], built_in["as_of"]) == ("list; packages (tiers, web search); ends", "2026-11-22")
    assert built_in["shutdown"] is None  # whoever writes the target says when it ends
    assert (own["source"], own["as_of"], own["confidence"]) == (None, None, None)
    assert own["shutdown"] == in_days(9)
    assert (rows["ours"][0]["as_of"], rows["ours"][0]["confidence"]) == ("2026-11-22", "low")
    assert [one.place for one in config.provenance["gpt-4o"]] == ["config.yaml:4", "config.yaml:4"]
    assert config.provenance["gpt-4.1"][0].place == ""


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


def test_the_password_of_every_engine_is_a_secret(load_text):
    config = load_text("{workers: 4, store: 'postgresql://u:hunter2@h/d', shared_state: 'redis://:hunter3@h:6379/0'}")
    assert {"hunter2", "hunter3"} <= config.secrets
