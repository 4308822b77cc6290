"""A task that is ready to be created at PiAPI's task API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from gateway.core import long_texts

PAINTED = -1
"""The ``place`` of a request's first picture with the mask painted into it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a task's input, as long as it is not sent: an order is checked and kept without its bytes.

    ``place``: among the request's images, or ``PAINTED``. ``form``: as base64 alone, or as a data URL.
    """

    place: int
    form: Literal["base64", "url"] = "base64"


PictureTexts = Mapping[Picture, str]
"""What stands in a task for each of its pictures."""


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A task, ready to be created.

    ``model``: PiAPI's name of it.
    ``input``, ``config``: as the task API takes them, without the number of images and the webhook; a ``Picture``
        stands for each image that the client sent as bytes, as a value or in a list.
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


def pictures_of(order: TaskOrder) -> Iterator[Picture]:
    """The pictures in a task's input."""
    for value in order.input.values():
        for one in value if type(value) is list else [value]:
            if type(one) is Picture:
                yield one


def task_body(
    order: TaskOrder, n: int, webhook: TaskWebhook | None, pictures: PictureTexts = MappingProxyType({})
) -> bytes:
    """The body of ``POST /api/v1/task`` for ``n`` images, at most ``order.batch``. ``pictures``: of the order, at
    least.
    """
    if not 1 <= n <= order.batch:
        raise ValueError(f"one such task makes 1 to {order.batch} images, not {n}")
    body: dict[str, Any] = {
        "model": order.model,
        "task_type": order.task_type,
        "input": {name: _with_texts(value, pictures) for name, value in order.input.items()},
    }
    if n > 1:
        body["input"][order.count] = n
    config = dict(order.config)
    if webhook is not None:
        config["webhook_config"] = {"endpoint": webhook.endpoint, "secret": webhook.secret}
    if config:
        body["config"] = config
    return long_texts.dumps(body)


def _with_texts(value: Any, pictures: PictureTexts) -> Any:
    if type(value) is list:
        return [_with_texts(one, pictures) for one in value]
    return pictures[value] if type(value) is Picture else value
