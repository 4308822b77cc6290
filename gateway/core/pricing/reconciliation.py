"""How an exchange of unknown outcome is booked once its upstream says what became of its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.core.pricing.prices import amount_due
from gateway.core.types import Confidence, OperationName, Price, Usage

_LEAST_CERTAIN_FIRST: tuple[Confidence, ...] = ("unknown", "estimated")


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """A task that has ended.

    ``images``: the images it made.
    ``stated``: nano-dollars the upstream named for it; None if it named none.
    ``price``, ``operation``: of the target that made it; a price that is None is unknown.
    ``usage``: what it took, where it is billed by tokens; None where its images count.
    """

    done: bool
    images: int = 0
    stated: int | None = None
    price: Price | None = None
    operation: OperationName = "task"
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """How the exchange is booked instead. Amounts are nano-dollars.

    ``reason``: an explanation for the operator.
    ``confidence``: of ``charged``; ``unknown`` if a task that was done has no known price.
    """

    state: Literal["settled", "released"]
    charged: int
    upstream_cost: int
    images: int
    reason: str
    confidence: Confidence = "measured"


def find(tasks: Sequence[TaskEnd | None], other_cost: int, most: int | None = None) -> Finding | None:
    """The new booking; None as long as a task has not ended (None among ``tasks``), or if there are no tasks.

    ``other_cost``: what attempts without a task are booked at; the gateway bears it, and it stays in doubt.
    ``most``: what the key may be charged at most, as budgets hold no more; None for no bound.

    What its tasks cost is charged to the key: it was ordered, and it can be fetched by the tasks' ids. A task that
    failed costs nothing.
    """
    ended = [task for task in tasks if task is not None]
    if not ended or len(ended) < len(tasks):
        return None
    done = [task for task in ended if task.done]
    if not done:
        return Finding("released", 0, other_cost, 0, f"{_tasks(len(ended))} failed")
    amounts = [_amount(task) for task in done]
    charged = sum(amount for amount in amounts if amount is not None)
    reason = f"{_tasks(len(done))} completed"
    if len(done) < len(ended):
        reason += f", {len(ended) - len(done)} failed"
    if None in amounts:
        reason += ", price unknown"
    sureness = {_confidence(task, amount) for task, amount in zip(done, amounts, strict=True)}
    confidence: Confidence = next((worst for worst in _LEAST_CERTAIN_FIRST if worst in sureness), "measured")
    cost, images = charged + other_cost, sum(task.images for task in done)
    if most is not None and charged > most:
        reason += ", above what was reserved"
        charged, confidence = most, "estimated"
    return Finding("settled", charged, cost, images, reason, confidence)


def _amount(task: TaskEnd) -> int | None:
    """What the task costs: what the upstream named, else the price of its images or tokens, as in every booking."""
    if task.stated is not None:
        return task.stated
    return amount_due(task.price, task.usage or Usage(images=task.images), operation=task.operation)


def _confidence(task: TaskEnd, amount: int | None) -> Confidence:
    if amount is None:
        return "unknown"
    if task.stated is not None:
        return "measured"
    if task.price is not None and task.price.estimated:
        return "estimated"
    return "measured" if task.usage is None else task.usage.confidence


def _tasks(number: int) -> str:
    return "task" if number == 1 else f"{number} tasks"
