"""The catalogue's list prices beside those of genai-prices.

The two may differ, as both lag behind the vendor's page by weeks: that is a report (``make prices``, or this file with
``-s``). But a row that says it is from just these data must be as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from gateway.config.catalogue import load_catalogue
from gateway.config.upstream_schema import ModelSection
from scripts import prices
from scripts.price_data import Listed, installed_version, listed_models

AS_OF = prices.shipped()["as_of"]


@pytest.fixture(scope="module")
def listed() -> Mapping[tuple[str, str], Listed]:
    return listed_models(date.fromisoformat(AS_OF))


def test_a_row_that_claims_to_be_from_these_data_is_as_they_are(listed: Mapping[tuple[str, str], Listed]) -> None:
    found = prices.differences(listed, AS_OF)
    print(f"\n{prices.report(listed, AS_OF)}")
    claimed = [one for one in found if one.claims]
    assert not claimed, prices.table(claimed)


def with_rows(monkeypatch: pytest.MonkeyPatch, models: dict[str, Any]) -> None:
    sections = {name: ModelSection.model_validate(model) for name, model in models.items()}
    monkeypatch.setattr(prices, "load_catalogue", lambda: replace(load_catalogue(), models=sections))


def row(price: dict[str, Any] | None, **settings: str) -> dict[str, Any]:
    return {"targets": [{"upstream": "backup", **({"price": price} if price else {}), **settings}]}


LUNA = {
    "input": Decimal("0.10"),
    "cached_input": Decimal("0.01"),
    "cache_write": Decimal("0.125"),
    "output": Decimal("0.50"),
    "call": Decimal("0.01"),
    "long": {"above": 272000, "input": 2, "output": Decimal("1.5")},
    "tiers": {"flex": Decimal("0.5"), "fast": 2, "priority": 2, "ultrafast": 6},
}


def told(listed: Mapping[tuple[str, str], Listed]) -> list[tuple[str, str, str, bool]]:
    return [(one.field, one.ours, one.theirs, one.claims) for one in prices.differences(listed, AS_OF)]


def test_a_row_as_the_data_have_it_is_no_difference(
    listed: Mapping[tuple[str, str], Listed], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(monkeypatch, {"gpt-6-luna": row(LUNA, source="genai-prices", as_of=AS_OF)})
    assert told(listed) == []


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("input", Decimal("0.2"), ("input", "0.2", "0.1")),
        ("cached_input", None, ("cached_input", "0.1", "0.01")),
        ("call", None, ("call", "-", "0.01")),
        ("long", None, ("long", "-", "above 272000, input 2, output 1.5")),
        ("tiers", {"flex": Decimal("0.5"), "fast": 2}, ("tiers.priority", "-", "2")),
    ],
)
def test_each_field_is_compared(
    listed: Mapping[tuple[str, str], Listed],
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: object,
    expected: tuple[str, str, str],
) -> None:
    with_rows(monkeypatch, {"gpt-6-luna": row({**LUNA, field: value}, source="list", as_of=AS_OF)})
    assert told(listed) == [(*expected, False)]


@pytest.mark.parametrize(
    ("source", "as_of", "claims"),
    [
        ("genai-prices", AS_OF, True),
        (f"list; genai-prices {installed_version()}", "2026-11-29", True),
        ("genai-prices", "2026-09-01", False),
        ("list", AS_OF, False),
    ],
)
def test_a_claim_is_the_same_source_and_day(
    listed: Mapping[tuple[str, str], Listed], monkeypatch: pytest.MonkeyPatch, source: str, as_of: str, claims: bool
) -> None:
    with_rows(monkeypatch, {"gpt-6-luna": row({**LUNA, "input": 7}, source=source, as_of=as_of)})
    assert told(listed) == [("input", "7", "0.1", claims)]


def test_a_model_that_the_data_do_not_know_can_not_be_claimed_to_be_from_them(
    listed: Mapping[tuple[str, str], Listed], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(monkeypatch, {"gpt-99": row(LUNA, source="genai-prices", as_of=AS_OF), "gpt-98": row(LUNA)})
    assert told(listed) == [("model", "gpt-99", "-", True)]


def test_a_reseller_and_a_task_have_prices_of_their_own(
    listed: Mapping[tuple[str, str], Listed], monkeypatch: pytest.MonkeyPatch
) -> None:
    resold = {"targets": [{"upstream": "piapi", "price": {"input": 9, "output": 9}}]}
    with_rows(monkeypatch, {"gpt-5.2": resold, "gpt-5.1": row({"image": 1}, operation="task")})
    assert told(listed) == []


def test_the_script_prints_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(monkeypatch, {"gpt-6-luna": row({**LUNA, "input": 7}, source="list", as_of="2026-11-22")})
    before = prices.PATH.read_bytes()
    assert prices.main([]) == 0
    shown = capsys.readouterr().out
    assert "gpt-6-luna  backup    input" in shown
    assert "gpt-6-sol: input 2" in shown  # one that the catalogue lacks
    assert prices.main(["--format", "markdown"]) == 0
    assert "| gpt-6-luna | backup | input | 7 | 0.1 |" in capsys.readouterr().out
    assert prices.main(["--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["theirs"] == "0.1"
    assert prices.PATH.read_bytes() == before


def test_it_writes_only_data_whose_day_is_known(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list_prices.json"
    monkeypatch.setattr(prices, "PATH", path)
    assert prices.main(["--write"]) == 2
    assert "--as-of" in capsys.readouterr().err
    assert not path.exists()
    assert prices.main(["--write", "--as-of", "2026-11-10"]) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["as_of"] == "2026-11-10"
