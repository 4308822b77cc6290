"""Orders for Flux: every rule that is checked before anything is bought, and what is sent."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.core.images import task_order
from gateway.core.images.flux import REDUX_PROMPT, flux_order, images_wanted
from gateway.core.images.flux_task_type import known_fields
from gateway.core.images.task_order import Picture, TaskWebhook, pictures_of, task_body

from .flux_orders import (
    ADVANCED,
    DEV,
    FACTS,
    IMAGE,
    LINK,
    MASK,
    PAINTED,
    SCHNELL,
    body_of,
    linked,
    order_of,
    refusal,
    wish,
)

HOOK = "https://gateway.example/hooks/1"


class TestPrompts:
    @pytest.mark.parametrize("kind", ["generation", "edit"])
    @pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
    def test_must_say_something(self, kind, prompt):
        error = refusal(wish(kind, prompt=prompt))
        assert (error.param, error.code) == ("prompt", "invalid_value")

    def test_passes_as_it_came(self):
        assert order_of(wish(prompt=" a  cat\n")).input["prompt"] == " a  cat\n"

    def test_a_variation_without_one_has_a_sentence_of_ours(self):
        assert order_of(wish("variation", prompt="")).input["prompt"] == REDUX_PROMPT

    def test_or_one_from_fluxs_own_fields(self):
        assert order_of(wish("variation", prompt="", flux={"prompt": "a cat"})).input["prompt"] == "a cat"
        assert refusal(wish("variation", prompt="", flux={"prompt": " "})).param == "prompt"

    def test_a_variation_by_another_task_needs_one(self):
        assert refusal(wish("variation", prompt="", flux={"task_type": "kontext"})).param == "prompt"


class TestImages:
    def test_a_file_travels_as_plain_base64_and_a_link_as_it_is(self):
        assert order_of(wish("edit")).input["image"] == base64.b64encode(IMAGE.data).decode()
        assert order_of(wish("edit", images=(LINK,))).input["image"] == LINK.url

    def test_with_a_mask_the_painted_image_goes(self):
        order = order_of(wish("edit", mask=MASK))
        assert (order.task_type, order.input["image"]) == ("fill-inpaint", PAINTED.as_base64())

    def test_and_never_the_bare_one(self):
        order = flux_order(wish("edit", mask=MASK), ADVANCED, FACTS)
        assert order.input["image"] == Picture(task_order.PAINTED)
        with pytest.raises(KeyError):
            task_body(order, 1, None, {Picture(0): "the bare one"})

    def test_one_at_a_time(self):
        error = refusal(wish("edit", images=(IMAGE, IMAGE)))
        assert (error.param, error.code) == ("image", "invalid_value")
        assert refusal(wish("edit", flux={"image": LINK.url})).param == "image"

    @pytest.mark.parametrize(
        ("text", "sent"),
        [
            ("https://images.example/a.png", "https://images.example/a.png"),
            (" http://images.example/a.png\n", "http://images.example/a.png"),
            ("data:image/png;base64,aGVsbG8=", "aGVsbG8="),
            ("data:image/svg+xml;charset=utf-8;base64,aGVsbG8=", "aGVsbG8="),
            ("aGVsbG8=", "aGVsbG8="),
        ],
    )
    def test_an_image_in_a_generation_is_worked_on(self, text, sent):
        order = order_of(wish(flux={"image": text}))
        assert (order.task_type, order.input["image"]) == ("kontext", sent)

    def test_a_data_url_among_the_images_is_base64_too(self):
        assert order_of(wish("edit", images=linked("data:image/png;base64,aGk="))).input["image"] == "aGk="

    @pytest.mark.parametrize(
        "text", ["", " ", 5, "/etc/passwd?", "file:///etc/passwd", "http://a b", "data:image/png,x!"]
    )
    def test_what_is_no_image(self, text):
        assert refusal(wish(flux={"image": text})).param == "image"

    @pytest.mark.parametrize("text", ["A" + " " * 500_000 + "!", "data:" * 100_000, "data:" + ";" * 500_000])
    def test_a_hostile_one_is_soon_refused(self, text):
        assert refusal(wish(flux={"image": text})).param == "image"

    def test_controlnet_takes_one_and_does_without(self):
        flux = {"control_net_settings": [{"control_type": "depth"}]}
        assert "image" not in order_of(wish(flux=flux)).input
        assert order_of(wish("edit", images=(LINK,), flux=flux)).input["image"] == LINK.url


class TestNumbers:
    @pytest.mark.parametrize("task", ["txt2img", "img2img", "txt2img-lora", "controlnet-lora"])
    @pytest.mark.parametrize(
        ("field", "good", "bad"),
        [("guidance_scale", (1.5, 5, "2.5"), (1.49, 5.01)), ("denoise", (0.001, 1), (0, 1.001, -0.1))],
    )
    def test_guidance_and_denoise(self, task, field, good, bad):
        extra = {
            "txt2img-lora": {"lora_settings": [{"lora_type": "art"}]},
            "controlnet-lora": {"control_net_settings": [{"control_type": "canny"}]},
        }.get(task, {})
        kind = "edit" if task == "img2img" else "generation"
        for value in good:
            order = order_of(wish(kind, flux={"task_type": task, **extra, field: value}))
            assert order.input[field] == float(value)
        for value in bad:
            error = refusal(wish(kind, flux={"task_type": task, **extra, field: value}))
            assert (error.param, error.code) == (field, "invalid_value")

    def test_steps_of_kontext_end_at_40(self):
        assert order_of(wish("edit", flux={"steps": 40})).input["steps"] == 40
        assert order_of(wish("edit", flux={"steps": 1})).input["steps"] == 1
        for steps in (0, 41, -1):
            assert refusal(wish("edit", flux={"steps": steps})).param == "steps"

    def test_steps_of_the_settings_tasks_have_no_documented_end(self):
        flux = {"lora_settings": [{"lora_type": "art"}], "steps": 50}
        assert order_of(wish(flux=flux)).input["steps"] == 50
        assert refusal(wish(flux={**flux, "steps": 0})).param == "steps"

    def test_kontexts_documented_defaults_are_sent(self):
        order = order_of(wish("edit", images=(LINK,)))
        assert order.input == {"prompt": "a bear", "image": LINK.url, "steps": 28, "seed": -1}

    def test_other_tasks_leave_defaults_to_piapi(self):
        order = order_of(wish("edit", images=(LINK,)), DEV)
        assert order.input == {"prompt": "a bear", "image": LINK.url}

    def test_a_negative_prompt_passes(self):
        assert order_of(wish(flux={"negative_prompt": "rain"})).input["negative_prompt"] == "rain"
        assert refusal(wish(flux={"negative_prompt": 5})).param == "negative_prompt"


class TestHowMany:
    @pytest.mark.parametrize(
        ("n", "batch_size", "wanted"), [(1, None, 1), (7, None, 7), (1, 3, 3), (3, 3, 3), (1, "4", 4), (1, 1, 1)]
    )
    def test_by_schnell(self, n, batch_size, wanted):
        request = wish(n=n, flux={"batch_size": batch_size})
        assert images_wanted(request, SCHNELL, FACTS) == wanted
        order = order_of(request, SCHNELL)
        assert (order.batch, "batch_size" in order.input) == (4, False)

    def test_an_edit_by_schnell_batches_as_well(self):
        assert order_of(wish("edit"), SCHNELL).batch == 4

    @pytest.mark.parametrize("model", [DEV, ADVANCED])
    def test_others_make_one_at_a_time(self, model):
        assert images_wanted(wish(n=4), model, FACTS) == 4
        assert order_of(wish(n=4), model).batch == 1
        error = refusal(wish(flux={"batch_size": 2}), model)
        assert (error.param, error.code) == ("batch_size", "invalid_value")
        assert "flux-schnell" in error.message

    def test_kontext_has_no_batches(self):
        assert order_of(wish("edit")).batch == 1

    @pytest.mark.parametrize(("n", "batch_size"), [(1, 0), (1, 5), (1, 1.5), (2, 3), (2, 1), (10, 4)])
    def test_what_cannot_be(self, n, batch_size):
        assert refusal(wish(n=n, flux={"batch_size": batch_size}), SCHNELL).param == "batch_size"


class TestBodies:
    def test_a_batch_is_named_only_if_there_is_one(self):
        request = wish(flux={"batch_size": 3})
        assert "batch_size" not in body_of(request, SCHNELL, n=1)["input"]
        assert body_of(request, SCHNELL, n=3)["input"]["batch_size"] == 3

    @pytest.mark.parametrize(("model", "n"), [(SCHNELL, 0), (SCHNELL, 5), (DEV, 2)])
    def test_a_task_makes_no_more_than_it_can(self, model, n):
        with pytest.raises(ValueError, match="images"):
            task_body(order_of(wish(), model), n, None)

    @pytest.mark.parametrize("mode", ["public", "private"])
    def test_the_service_mode_is_configuration(self, mode):
        request = wish(flux={"service_mode": mode})
        assert body_of(request)["config"] == {"service_mode": mode}
        assert body_of(request, hook=HOOK)["config"] == {
            "service_mode": mode,
            "webhook_config": {"endpoint": HOOK, "secret": ""},
        }

    @pytest.mark.parametrize("mode", ["", "secret", 1, ["public"]])
    def test_another_mode(self, mode):
        assert refusal(wish(flux={"service_mode": mode})).param == "service_mode"

    def test_an_order_can_be_used_again(self):
        order = order_of(wish(flux={"service_mode": "public"}), SCHNELL)
        first = task_body(order, 4, TaskWebhook(HOOK, "s3cret", "wakeup"))
        assert b"s3cret" in first
        assert orjson.loads(task_body(order, 1, None)).keys() == {"model", "task_type", "input", "config"}
        assert task_body(order, 4, TaskWebhook(HOOK, "s3cret", "wakeup")) == first

    def test_secrets_and_images_stay_out_of_logs(self):
        assert "s3cret" not in repr(TaskWebhook(HOOK, "s3cret", "wakeup"))
        assert IMAGE.as_base64() not in repr(order_of(wish("edit")))

    def test_what_openai_has_besides_is_of_no_matter(self):
        request = wish(quality="high", options={"background": "transparent", "style": "vivid"})
        assert order_of(request) == order_of(wish())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from(known_fields(FACTS)), JSON | st.sampled_from(tuple(FACTS.task_types)), max_size=4
)


@settings(max_examples=200)
@given(flux=FIELDS, kind=st.sampled_from(["generation", "edit", "variation"]), model=st.sampled_from(FACTS.models))
def test_any_fields_make_an_order_that_can_be_written_or_a_400(flux, kind, model):
    refused: ClientError | None = None
    try:
        order = flux_order(wish(kind, flux=flux), model, FACTS)
    except ClientError as error:
        refused = error
    if refused is not None:
        assert (refused.status, bool(refused.param)) == (400, True)
        return
    body = task_body(order, order.batch, None, dict.fromkeys(pictures_of(order), "a picture"))
    assert orjson.loads(body)["input"]["prompt"].strip()
