"""Which targets make images, and how an order for several is cut."""

from __future__ import annotations

import pytest

from gateway.core.images.splitting import split_order, usable_targets
from gateway.core.images.task_order import TaskOrder
from gateway.core.types import Endpoint, Price, Target, Upstream

PIAPI = Upstream("piapi", "piapi", (Endpoint("https://api.example", "https", "api.example", 443),), ())
CHAT = Target(PIAPI, "gpt-4o-image", price=Price(image=10_000_000))
OPENAI = Upstream("backup", "openai", (Endpoint("https://api.other", "https", "api.other", 443),), ())
RELAY = Target(PIAPI, "gpt-image-1", "images")
IMAGES = Target(OPENAI, "gpt-image-1", "images")
FLUX = Target(PIAPI, "Qubico/flux1-schnell", "task")
ORDERS = {FLUX.model: TaskOrder(FLUX.model, "txt2img", {}, batch=4)}


def test_a_chat_makes_images_only_where_it_is_sold_by_the_image():
    talk = Target(PIAPI, "gpt-4o")
    assert usable_targets((CHAT, talk, IMAGES, FLUX)) == (CHAT, IMAGES, FLUX)


@pytest.mark.parametrize(
    ("total", "targets", "subrequests"),
    [
        (3, (IMAGES,), [3]),
        (3, (CHAT,), [1, 1, 1]),
        (10, (FLUX,), [4, 4, 2]),
        (4, (FLUX,), [4]),
        (3, (FLUX, IMAGES), [3]),
        (6, (IMAGES, FLUX), [4, 2]),
        (2, (FLUX, IMAGES, CHAT), [1, 1]),
        (2, (), [1, 1]),
        (3, (RELAY,), [1, 1, 1]),
        (2, (IMAGES, RELAY), [1, 1]),
        (1, (RELAY,), [1]),
    ],
)
def test_a_subrequest_is_no_more_than_every_target_could_bring_at_once(total, targets, subrequests):
    assert split_order(total, targets, ORDERS) == subrequests


@pytest.mark.parametrize("target", [IMAGES, RELAY, CHAT])
def test_what_is_streamed_brings_one_image(target):
    assert split_order(3, (target,), ORDERS, stream=True) == [1, 1, 1]


def test_a_task_is_not_streamed_upstream_whatever_the_client_wants():
    assert split_order(6, (FLUX,), ORDERS, stream=True) == [4, 2]
