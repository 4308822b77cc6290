"""The budgets of a virtual key as JSON has them: what may be set, checked; and what is shown of their use.

"budget": "50/month"                                     for all it uses
"model_budgets": {"gpt-4o*": "5/day", "flux-*": null}    for some models; null takes one away, others stay
"models": {"gpt-4o*": "5/day"}                           all models, with these budgets by model and no others
"models": ["flux-*", {"gpt-4o*": "5/day"}]               only these models, likewise
"alert": 80 or [50, 80]                                  percent
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from gateway.core.errors import shorten
from gateway.core.pricing.budgets import BudgetState
from gateway.core.pricing.calendar import iso_time
from gateway.core.pricing.percents import percents
from gateway.core.pricing.prices import format_usd, usd_number
from gateway.core.types import Budget, VirtualKey
from gateway.stores.key_records import KeySettings
from gateway.wire.field_checks import a_string, an_object, wrong_value

Parse = Callable[[object], Budget]
"""``50/month`` → Budget; raises ValueError with words."""


@dataclass(frozen=True, slots=True)
class ModelBudgetChange:
    """Budgets by model that are set, or with None taken away. ``anew``: those that are not named are taken away too."""

    budgets: tuple[tuple[str, Budget | None], ...] = ()
    anew: bool = False

    def applied(self, old: tuple[tuple[str, Budget], ...]) -> tuple[tuple[str, Budget], ...]:
        """The budgets by model after the change."""
        now = {**dict(() if self.anew else old), **dict(self.budgets)}
        return tuple((pattern, budget) for pattern, budget in now.items() if budget is not None)


NO_MODEL_BUDGETS = ModelBudgetChange(anew=True)


@dataclass(frozen=True, slots=True)
class Spending:
    """The budgets a key draws on; None where there is none, or where no gateway runs that counts them.

    ``models``: of its budgets by model, by pattern.
    """

    own: BudgetState | None
    team: BudgetState | None
    models: Mapping[str, BudgetState | None]


def merged(old: KeySettings, chosen: Mapping[str, Any]) -> KeySettings:
    """Settings with what was chosen in place of theirs. Raises ValueError, naming the field."""
    change = chosen.get("model_budgets")
    if isinstance(change, ModelBudgetChange):
        chosen = {**chosen, "model_budgets": change.applied(old.model_budgets)}
    return replace(old, **chosen)


def with_models_split(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Fields whose ``models`` are patterns only; the budgets that stood among them are ``model_budgets``.

    Returns also whether there were any. Raises ClientError 400.
    """
    models = fields.get("models")
    entries = [models] if isinstance(models, dict) else models if isinstance(models, list) else []
    budgets: dict[str, Any] = {}
    for entry in entries:
        if isinstance(entry, dict):
            if budgets.keys() & entry.keys():
                raise wrong_value("models", "a model has two budgets; give it one")
            budgets.update(entry)
    if not budgets:
        return fields, False
    if "model_budgets" in fields:
        raise wrong_value("model_budgets", "'models' has budgets as well; give them in one of the two")
    patterns = None
    if isinstance(models, list):
        patterns = [name for entry in models for name in (entry if isinstance(entry, dict) else [entry])]
    return {**fields, "models": patterns, "model_budgets": budgets}, True


def read_budget(value: Any, parse: Parse, param: str = "budget") -> Budget:
    """``50/month`` → Budget. Raises ClientError 400."""
    a_string(value, param)
    try:
        return parse(value)
    except ValueError as error:
        raise wrong_value(param, str(error)) from None


def read_model_budgets(value: Any, parse: Parse) -> ModelBudgetChange:
    """A mapping of patterns. Raises ClientError 400."""
    an_object(value, "model_budgets")
    found = []
    for pattern, amount in value.items():
        budget = None if amount is None else read_budget(amount, parse, f"model_budgets.{shorten(pattern)}")
        found.append((pattern, budget))
    return ModelBudgetChange(tuple(found))


def read_alert(value: Any) -> tuple[int, ...]:
    """Percentages. Raises ClientError 400."""
    try:
        return percents(value)
    except ValueError as error:
        raise wrong_value("alert", str(error)) from None


def budget_text(budget: Budget | None) -> str | None:
    """As it is written: ``50/month``, ``0.5/day``; exact."""
    return None if budget is None else f"{format_usd(budget.amount).rstrip('0').rstrip('.')}/{budget.period}"


def show_budgets(key: VirtualKey, spending: Spending) -> dict[str, Any]:
    """All budgets a key draws on, and what is used of them."""
    team = spending.team
    return {
        "budget": budget_text(key.budget),
        **{f"budget_{name}": value for name, value in _spent(spending.own).items()},
        "model_budgets": {
            pattern: {"budget": budget_text(budget), **_spent(spending.models.get(pattern))}
            for pattern, budget in key.model_budgets
        },
        "team_budget": None if team is None else {"budget": budget_text(team.limit), **_spent(team)},
        "alert": list(key.alert) or None,
    }


def _spent(state: BudgetState | None) -> dict[str, Any]:
    if state is None:
        return dict.fromkeys(("used_usd", "reserved_usd", "held_usd", "left_usd", "renews"))
    end_ns = state.period.end_ns
    return {
        "used_usd": usd_number(state.charged),
        "reserved_usd": usd_number(state.reserved),
        "held_usd": usd_number(state.held),
        "left_usd": usd_number(state.left),
        "renews": None if end_ns is None else iso_time(end_ns, UTC),
    }
