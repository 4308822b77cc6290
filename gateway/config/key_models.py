"""The models a key may use, and its budgets for some of them, as the configuration file has them.

models: ["gpt-4o*", "flux-*"]              only these
models: {"gpt-4o*": 5/day}                 all models; a budget for some
models: ["flux-*", {"gpt-4o*": 5/day}]     only these; a budget for some
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.config import values
from gateway.core.types import Budget

KeyModel = str | tuple[str, Budget]
"""A pattern, or one with a budget."""


def key_models(value: object) -> list[KeyModel]:
    """A list, or a mapping, which is a list that begins with all models. Every error is placed at its entry.

    Raises ValueError.
    """
    faults: list[InitErrorDetails] = []
    if isinstance(value, dict):
        found: list[KeyModel] = ["*", *_budgets(value, (), faults)]
    elif isinstance(value, list):
        found = []
        for number, entry in enumerate(value):
            found += _entry(entry, number, faults)
    else:
        raise ValueError("expected a list of models, such as [gpt-4o*], or a mapping, such as {gpt-4o*: 5/day}")
    if not value:
        raise ValueError("expected at least one entry")
    patterns = [entry[0] for entry in found if isinstance(entry, tuple)]
    if len(set(patterns)) < len(patterns):
        raise ValueError("a model has two budgets; give it one")
    if faults:
        raise ValidationError.from_exception_data("models", faults)
    return found


def allowed_models(models: Sequence[KeyModel]) -> tuple[str, ...]:
    """The patterns of the models the key may use."""
    patterns = tuple(entry if isinstance(entry, str) else entry[0] for entry in models)
    return ("*",) if "*" in patterns else patterns


def model_budgets(models: Sequence[KeyModel]) -> tuple[tuple[str, Budget], ...]:
    """The budgets by model."""
    return tuple(entry for entry in models if isinstance(entry, tuple))


def _entry(entry: object, number: int, faults: list[InitErrorDetails]) -> list[KeyModel]:
    if isinstance(entry, dict):
        if len(entry) == 1:
            return _budgets(entry, (number,), faults)
        faults.append(_fault("expected one model and its budget, such as {gpt-4o*: 5/day}", (number,), entry))
        return []
    try:
        return [values.model_pattern(entry)]
    except ValueError as error:
        faults.append(_fault(str(error), (number,), entry))
        return []


def _budgets(mapping: dict[Any, Any], place: tuple[int | str, ...], faults: list[InitErrorDetails]) -> list[KeyModel]:
    found: list[KeyModel] = []
    for pattern, amount in mapping.items():
        try:
            found.append((values.model_pattern(pattern), values.budget(amount)))
        except ValueError as error:
            faults.append(_fault(str(error), (*place, str(pattern)), amount))
    return found


def _fault(message: str, place: tuple[int | str, ...], given: object) -> InitErrorDetails:
    kind = PydanticCustomError("value_error", "{error}", {"error": message})
    return InitErrorDetails(type=kind, loc=place, input=given)
