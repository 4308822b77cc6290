"""A task that is ready to be created at PiAPI's task API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A task, ready to be created.

    ``model``: PiAPI's name of it.
    ``input``, ``config``: as the task API takes them, without the number of images and the webhook.
    ``batch``: the most images one task makes; ``count``: the field of the input that says how many.
    ``size``: the ``WIDTHxHEIGHT`` asked for; None where PiAPI chooses.
    ``results``: where its images are, beside the usual places.
    ``each``: nano-dollars of one image; None where the target's own price says.
    ``note``: what the client is to be told in ``x-gateway-note``; None for nothing.
    """

    model: str
    task_type: str
    input: Mapping[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1
    size: str | None = None
    count: str = "batch_size"
    results: tuple[str, ...] = ()
    each: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TaskWebhook:
    """Where PiAPI reports the end of a task.

    ``endpoint``: a URL of the gateway's.
    ``secret``: what PiAPI sends along, so that the gateway can tell the report is genuine.
    ``wakeup``: the name under which the waiting conversation is woken.
    """

    endpoint: str = field(repr=False)
    secret: str = field(repr=False)
    wakeup: str = field(repr=False)


def task_body(order: TaskOrder, n: int, webhook: TaskWebhook | None) -> bytes:
    """The body of ``POST /api/v1/task`` for ``n`` images, at most ``order.batch``."""
    if not 1 <= n <= order.batch:
        raise ValueError(f"one such task makes 1 to {order.batch} images, not {n}")
    body: dict[str, Any] = {
        "model": order.model,
        "task_type": order.task_type,
        "input": {**order.input, order.count: n} if n > 1 else order.input,
    }
    config = dict(order.config)
    if webhook is not None:
        config["webhook_config"] = {"endpoint": webhook.endpoint, "secret": webhook.secret}
    if config:
        body["config"] = config
    return orjson.dumps(body)
