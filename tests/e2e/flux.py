"""Flux tasks as they are seen from outside: ordered with the official SDK, watched upstream, looked up in the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from openai.types import ImagesResponse

from gateway.sandbox.faults.selection import ScriptedScenario
from gateway.sandbox.wire.requests import RecordedRequest

from .harness import Rig, Row

TASKS = "/api/v1/task"
CREATE = "method=POST;path=/api/v1/task"
ASK = "method=GET;path=/api/v1/task"
"""For scenarios: the creation of tasks, and what is asked of them later."""

SCHNELL, DEV, ADVANCED = 2_000_000, 15_000_000, 20_000_000
"""Nano-dollars an image, by the price list."""

IMAGE = "a bear in the rain"


async def order(rig: Rig, model: str = "flux-dev", **fields: Any) -> ImagesResponse:
    """Ask for images; raises what the SDK raises."""
    answer: ImagesResponse = await rig.openai().images.generate(**{"model": model, "prompt": IMAGE, **fields})
    return answer


async def refused(rig: Rig, model: str = "flux-dev", **fields: Any) -> openai.APIStatusError:
    """Ask for images that will not come: the SDK's exception."""
    with pytest.raises(openai.APIStatusError) as caught:
        await order(rig, model, **fields)
    return caught.value


def links(answer: ImagesResponse) -> list[str]:
    return [image.url or "" for image in answer.data or ()]


def created(rig: Rig) -> list[RecordedRequest]:
    """The tasks that were ordered upstream, whatever became of them."""
    return [request for request in rig.sandbox.requests if (request.method, request.path) == ("POST", TASKS)]


def asked(rig: Rig) -> list[RecordedRequest]:
    """The questions that were asked of tasks."""
    return [request for request in rig.sandbox.requests if request.path.startswith(f"{TASKS}/")]


def hold(rig: Rig) -> ScriptedScenario:
    """From now on no question of a task is answered, so that all of them run until ``cancel`` is called."""
    return rig.sandbox.script(f"status;code=503;{ASK}", times=None)


async def check(
    rig: Rig,
    *,
    outcomes: Sequence[str] = ("ok",),
    charged: int = DEV,
    costs: Sequence[tuple[int, str]] = ((DEV, "billed"),),
    images: int = 1,
    state: str = "settled",
    confidence: str = "measured",
    status: int = 200,
    moved: Sequence[tuple[str, str]] = (),
    reads: int = 0,
) -> Row:
    """The one row in the books, and the metrics that tell the same.

    ``outcomes``, ``costs``: of the attempts; subrequests run side by side, so they may stand in any order. ``moved``:
    the upstreams that were gone on to, each with the reason. ``reads``: how often a client read a task by itself,
    which is counted as an attempt and costs nothing.
    """
    row = await rig.row()
    assert Counter(row.outcomes) == Counter(outcomes), row
    assert Counter(row.costs) == Counter(costs), row
    assert (row.charged, row.upstream_cost) == (charged, sum(cost for cost, _ in costs)), row
    assert (row.state, row.confidence, row.status, row.images) == (state, confidence, status, images), row
    figures = await rig.figures()
    attempts = "gateway_upstream_attempts_total"
    assert figures.total(attempts) == len(outcomes) + reads
    for slug, count in Counter([*outcomes, *["ok"] * reads]).items():
        assert figures.total(attempts, outcome=slug) == count
    assert figures.nano("gateway_cost_usd_total", key="alice", team="growth") == charged
    assert figures.total("gateway_images_total", key="alice", model=row.model) == images
    for reason in {reason for _, reason in costs}:
        lost = sum(cost for cost, why in costs if why == reason)
        assert figures.nano("gateway_upstream_cost_usd_total", model=row.model, reason=reason) == lost
    assert figures.total("gateway_failovers_total") == len(moved)
    for upstream, reason in moved:
        labels = {"model": row.model, "from": "piapi", "to": upstream, "reason": reason}
        assert figures.total("gateway_failovers_total", **labels) == moved.count((upstream, reason))
    return row
