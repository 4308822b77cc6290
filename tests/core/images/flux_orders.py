"""Orders for Flux as tests write them down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.config import load_catalogue
from gateway.core.errors import ClientError
from gateway.core.images import task_order
from gateway.core.images.flux import flux_order
from gateway.core.images.flux_catalogue import FluxFacts
from gateway.core.images.task_order import Picture, TaskOrder, TaskWebhook, task_body
from gateway.core.images.types import ImagesRequest, SourceImage

FACTS: FluxFacts = load_catalogue().flux
SCHNELL, DEV, ADVANCED = "Qubico/flux1-schnell", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced"
IMAGE = SourceImage(data=b"an image", width=1024, height=1024)
MASK = SourceImage(data=b"a mask", width=1024, height=1024)
PAINTED = SourceImage(data=b"an image with white in it", width=1024, height=1024)
LINK = SourceImage(url="https://images.example/cat.png")


def wish(kind: Any = "generation", *, model: str = "flux", prompt: str = "a bear", **fields: Any) -> ImagesRequest:
    """A request. An edit and a variation have an image unless it is said otherwise."""
    if kind != "generation":
        fields.setdefault("images", (IMAGE,))
    return ImagesRequest(kind, model, prompt, **fields)


def order_of(request: ImagesRequest, upstream_model: str = ADVANCED) -> TaskOrder:
    """The order, with the pictures that are put in when it is sent."""
    order = flux_order(request, upstream_model, FACTS)
    images = {**dict(enumerate(request.images)), task_order.PAINTED: PAINTED}
    return replace(
        order,
        input={
            name: images[value.place].as_base64() if isinstance(value, Picture) else value
            for name, value in order.input.items()
        },
    )


def refusal(request: ImagesRequest, upstream_model: str = ADVANCED) -> ClientError:
    """The error that the order is refused with, always a 400."""
    with pytest.raises(ClientError) as caught:
        order_of(request, upstream_model)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    return caught.value


def linked(url: str) -> tuple[SourceImage]:
    return (SourceImage(url=url),)


def body_of(request: Any, model: str = ADVANCED, *, n: int = 1, hook: str | None = None) -> Any:
    """The JSON that goes upstream. PiAPI's examples have an empty secret."""
    webhook = None if hook is None else TaskWebhook(hook, "", "wakeup")
    return orjson.loads(task_body(order_of(request, model), n, webhook))
