"""The charges of a period by key, team and model, as sums for those who have budgets. Amounts are nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.pricing.budget_errors import Holder

Charges = Mapping[tuple[str, str | None, str], int]
"""Nano-dollars by key, team and model."""


def holders_of(key: str, team: str | None) -> tuple[Holder, ...]:
    """The holders whose budgets a request counts against: its key, and the key's team if it has one. Both by name."""
    return (("key", key),) if team is None else (("key", key), ("team", team))


def charged_by_holder(charged: Charges) -> dict[Holder, int]:
    """What each key and each team was charged."""
    sums: dict[Holder, int] = {}
    for (key, team, _), nano in charged.items():
        for holder in holders_of(key, team):
            sums[holder] = sums.get(holder, 0) + nano
    return sums


def charged_by_model(charged: Charges) -> dict[tuple[str, str], int]:
    """What each key was charged for each model."""
    sums: dict[tuple[str, str], int] = {}
    for (key, _, model), nano in charged.items():
        sums[key, model] = sums.get((key, model), 0) + nano
    return sums


def whole_amount(amount: int) -> int:
    """``amount``, checked to be a whole number of at least 0, as every charge must be."""
    if type(amount) is not int or amount < 0:
        raise ValueError("an amount of money must be a whole number of nano-dollars, not below zero")
    return amount
