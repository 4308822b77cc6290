"""What became of an exchange, by its tasks: charged when they were done, released when they failed, else unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.pricing.reconciliation import Finding, TaskEnd, find
from gateway.core.types import NANO_PER_USD, Price, Usage

FLUX = Price(image=15_000_000)
FAILED = TaskEnd(done=False)
DONE = TaskEnd(done=True, images=1, stated=20_000_000, price=FLUX)


def test_a_task_that_is_done_is_charged_at_the_cost_it_names() -> None:
    assert find([DONE], 0) == Finding("settled", 20_000_000, 20_000_000, 1, "task completed")


def test_or_at_the_price_of_its_images() -> None:
    unnamed = TaskEnd(done=True, images=2, price=FLUX)
    assert find([unnamed], 0) == Finding("settled", 30_000_000, 30_000_000, 2, "task completed")


def test_without_either_it_is_settled_and_nobody_knows_what_it_costs() -> None:
    found = find([TaskEnd(done=True, images=1), DONE], 0)
    assert found == Finding("settled", 20_000_000, 20_000_000, 2, "2 tasks completed, price unknown", "unknown")


def test_several_tasks_are_added_up_and_those_that_failed_cost_nothing() -> None:
    found = find([DONE, FAILED, DONE], 0)
    assert found == Finding("settled", 40_000_000, 40_000_000, 2, "2 tasks completed, 1 failed")


def test_an_exchange_whose_tasks_all_failed_is_released() -> None:
    assert find([FAILED], 0) == Finding("released", 0, 0, 0, "task failed")
    assert find([FAILED, FAILED], 0) == Finding("released", 0, 0, 0, "2 tasks failed")


@pytest.mark.parametrize("ends", [[], [None], [DONE, None], [None, FAILED]])
def test_as_long_as_one_runs_nothing_is_known(ends: list[TaskEnd | None]) -> None:
    assert find(ends, 7) is None


@pytest.mark.parametrize(("end", "charged"), [(DONE, 20_000_000), (FAILED, 0)])
def test_what_attempts_without_a_task_may_have_cost_stays_ours(end: TaskEnd, charged: int) -> None:
    found = find([end], 7)
    assert found is not None
    assert (found.charged, found.upstream_cost) == (charged, charged + 7)


def test_a_bound_is_an_estimate_and_what_the_upstream_stated_is_none() -> None:
    bound = Usage(output_tokens=1_000_000, images=1, confidence="estimated")
    told = replace(bound, confidence="measured")
    by_tokens = Price(input=1, output=NANO_PER_USD)
    for task, confidence in (
        (TaskEnd(True, 1, price=by_tokens, operation="images_async", usage=bound), "estimated"),
        (
            TaskEnd(True, 1, price=by_tokens, operation="images_async", usage=told),
            "measured",
        ),
        (TaskEnd(True, 1, stated=5, price=Price(image=5, estimated=True)), "measured"),
        (TaskEnd(True, 1, price=Price(image=5, estimated=True)), "estimated"),
        (TaskEnd(True, 1, price=Price(image=0)), "measured"),
    ):
        found = find([task, FAILED], 0)
        assert found is not None
        assert found.confidence == confidence


def test_no_more_is_charged_than_was_reserved_and_the_cost_stays_as_it_was_stated() -> None:
    finding = find([TaskEnd(True, 1, stated=90)], 5, most=70)
    assert finding is not None
    assert (finding.charged, finding.upstream_cost, finding.confidence) == (70, 95, "estimated")
    assert find([TaskEnd(True, 1, stated=90)], 5, most=90) == find([TaskEnd(True, 1, stated=90)], 5)
