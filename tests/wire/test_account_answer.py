"""What is left on an account: exact where the points can be believed, in dollars where they cannot."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.account_answer import account_id, balance_nano

PER_USD = 10_000_000
DOLLAR = 1_000_000_000


def account(stated: Any = None, available: Any = None, remain: Any = None) -> dict[str, Any]:
    return {
        "equivalent_in_usd": stated,
        "credit_pack_info": {"available_credits": available},
        "wallet": {"point_remain": remain},
    }


@pytest.mark.parametrize(
    ("data", "nano"),
    [
        pytest.param(account(12.35, 123_456_789), 12_345_678_900, id="points that agree to the cent are exact"),
        pytest.param(account(12.34, 123_456_789, 5), 12_345_678_900, id="so they are beside dollars cut off"),
        pytest.param(account(12.35, None, 123_456_789), 12_345_678_900, id="older answers have the wallet alone"),
        pytest.param(account(12.35, 500, 123_456_789), 12_345_678_900, id="the wallet where the packs disagree"),
        pytest.param(account(12.35, 1_234_567, 1_234_567), 12_350_000_000, id="points of another unit lose"),
        pytest.param(account(12.3456789), 12_345_678_900, id="dollars alone, digit by digit"),
        pytest.param(account(None, 123_456_789), 12_345_678_900, id="packs alone"),
        pytest.param(account(None, None, 1), 100, id="the wallet alone"),
        pytest.param(account(0, 0, 0), 0, id="nothing left is an answer"),
        pytest.param(account(-0.5, -5_000_000), -DOLLAR // 2, id="a debt"),
        pytest.param(account(12), 12 * DOLLAR, id="whole dollars"),
        pytest.param(account(0.0000000005), 1, id="half a nano-dollar is rounded up"),
    ],
)
def test_a_balance(data: dict[str, Any], nano: int) -> None:
    assert balance_nano(data, PER_USD) == nano


def test_points_may_be_worth_something_else() -> None:
    assert balance_nano(account(None, 3), 7) == 428_571_429


@pytest.mark.parametrize("wrong", [None, "12.35", True, [1], {}, float("nan"), float("inf"), 1e30, -1e30, 10**40])
def test_what_is_no_plausible_number_says_nothing(wrong: Any) -> None:
    assert balance_nano(account(wrong, wrong, wrong), PER_USD) is None
    assert balance_nano(account(3.5, wrong, wrong), PER_USD) == 3_500_000_000


@pytest.mark.parametrize("data", [{}, {"credit_pack_info": None, "wallet": []}, {"credit_pack_info": "5", "wallet": 5}])
def test_an_account_may_say_nothing_at_all(data: dict[str, Any]) -> None:
    assert balance_nano(data, PER_USD) is None


@pytest.mark.parametrize(
    ("named", "id"), [(5, "5"), ("acc-5", "acc-5"), (0, "0"), ("", None), (None, None), (True, None), (1.5, None)]
)
def test_whose_account_it_is(named: Any, id: str | None) -> None:
    assert account_id({"id": named}) == id
    assert account_id({}) is None
