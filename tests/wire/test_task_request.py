"""What a client may write to PiAPI's task API, and what it is told otherwise."""

from __future__ import annotations

import pytest

from gateway.core.errors import ClientError
from gateway.wire.task_request import MOST_IN_A_BATCH, MOST_NAME, checked_task, images_of_task

TASK = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a bear"}}


def test_a_task_goes_on_as_it_was_written():
    assert checked_task(TASK) == TASK
    assert checked_task({**TASK, "model": "m" * MOST_NAME})["model"] == "m" * MOST_NAME


def test_the_configuration_keeps_its_service_mode_and_no_empty_callback():
    config = {"service_mode": "public", "webhook_config": {"endpoint": "", "secret": ""}}
    assert checked_task({**TASK, "config": config}) == {**TASK, "config": {"service_mode": "public"}}
    assert checked_task({**TASK, "config": None}) == TASK


@pytest.mark.parametrize(
    ("changed", "param", "code"),
    [
        ({"webhook": "https://elsewhere.example"}, "webhook", "unknown_parameter"),
        ({"x" * 500: 1}, "x" * 64, "unknown_parameter"),
        ({"model": ""}, "model", "invalid_value"),
        ({"model": "m" * (MOST_NAME + 1)}, "model", "invalid_value"),
        ({"model": "two words"}, "model", "invalid_value"),
        ({"model": "line\nbreak"}, "model", "invalid_value"),
        ({"task_type": None}, "task_type", "invalid_value"),
        ({"input": "a bear"}, "input", "invalid_value"),
        ({"config": []}, "config", "invalid_value"),
        ({"config": {"speed": 1}}, "config.speed", "unknown_parameter"),
        ({"config": {"webhook_config": {"endpoint": "https://inside"}}}, "config.webhook_config", "invalid_value"),
        ({"config": {"webhook_config": "https://inside"}}, "config.webhook_config", "invalid_value"),
    ],
)
def test_anything_else_is_refused_by_its_name(changed, param, code):
    with pytest.raises(ClientError) as refused:
        checked_task({**TASK, **changed})
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)


@pytest.mark.parametrize(("given", "images"), [({}, 1), ({"batch_size": 1}, 1), ({"batch_size": MOST_IN_A_BATCH}, 4)])
def test_a_task_makes_one_image_or_its_batch(given, images):
    assert images_of_task(given) == images


@pytest.mark.parametrize("batch", [0, -1, MOST_IN_A_BATCH + 1, True, "2", 2.0, None])
def test_no_other_batch_is_counted(batch):
    with pytest.raises(ClientError, match=r"input\.batch_size"):
        images_of_task({"batch_size": batch})
