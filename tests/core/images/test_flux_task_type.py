"""Which task serves which order: every cell of the table, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.core.images.flux_task_type import choose_task, known_fields, short_name
from gateway.core.images.types import SourceImage

from .flux_orders import ADVANCED, DEV, FACTS, IMAGE, LINK, MASK, SCHNELL, wish

LORA = {"lora_settings": [{"lora_type": "mjv6"}]}
CONTROL = {"control_net_settings": [{"control_type": "depth"}]}
OUTPAINT = {"outpaint": {"left": 8}}
CUSTOM = {"custom_settings": [{"setting_type": "outpaint", "outpaint_left": 8}]}
DENOISE = {"denoise": 0.5}
EVERYBODY = (SCHNELL, DEV, ADVANCED)


def chosen(request: Any, upstream_model: str = ADVANCED) -> str:
    return choose_task(request, upstream_model, FACTS)


def refused(request: Any, upstream_model: str = ADVANCED) -> ClientError:
    with pytest.raises(ClientError) as caught:
        choose_task(request, upstream_model, FACTS)
    assert caught.value.status == 400
    return caught.value


class TestWhatCameDecides:
    @pytest.mark.parametrize("model", EVERYBODY)
    def test_a_prompt_alone(self, model):
        assert chosen(wish(), model) == "txt2img"

    @pytest.mark.parametrize(
        ("flux", "task_type"),
        [
            (LORA, "txt2img-lora"),
            (CONTROL, "controlnet-lora"),
            (LORA | CONTROL, "controlnet-lora"),
            (DENOISE, "txt2img"),
            ({"lora_settings": [], "control_net_settings": None}, "txt2img"),
        ],
    )
    def test_a_generation_with_settings(self, flux, task_type):
        assert chosen(wish(flux=flux)) == task_type

    @pytest.mark.parametrize(
        ("flux", "task_type"),
        [
            ({}, "kontext"),
            (DENOISE, "img2img"),
            (LORA, "img2img-lora"),
            (LORA | DENOISE, "img2img-lora"),
            (CONTROL, "controlnet-lora"),
            (CONTROL | LORA | DENOISE, "controlnet-lora"),
            (OUTPAINT, "fill-outpaint"),
            (CUSTOM, "fill-outpaint"),
        ],
    )
    def test_an_edit_and_a_generation_with_an_image_alike(self, flux, task_type):
        assert chosen(wish("edit", flux=flux)) == task_type
        assert chosen(wish(images=(LINK,), flux=flux)) == task_type
        assert chosen(wish(flux={**flux, "image": LINK.url})) == task_type

    def test_an_edit_with_a_mask(self):
        assert chosen(wish("edit", mask=MASK)) == "fill-inpaint"

    @pytest.mark.parametrize("flux", [{}, DENOISE])
    @pytest.mark.parametrize("model", [SCHNELL, DEV])
    def test_an_edit_by_the_plain_models(self, model, flux):
        assert chosen(wish("edit", flux=flux), model) == "img2img"

    def test_a_variation(self):
        assert chosen(wish("variation", prompt="")) == "redux-variation"


class TestTheNameDecides:
    @pytest.mark.parametrize(
        ("model", "flux", "task_type"),
        [
            ("flux-kontext", {}, "kontext"),
            ("flux-fill", {}, "fill-inpaint"),
            ("flux-outpaint", OUTPAINT, "fill-outpaint"),
            ("flux-redux", {}, "redux-variation"),
            ("flux-schnell", {}, "kontext"),  # no task's name: what came decides
        ],
    )
    def test_an_alias_stands_for_a_task(self, model, flux, task_type):
        assert chosen(wish("edit", model=model, flux=flux)) == task_type

    def test_a_variation_by_the_name_for_variations(self):
        assert chosen(wish("variation", model="flux-redux", prompt="")) == "redux-variation"

    def test_a_variation_is_one_whatever_the_name_stands_for(self):
        assert choose_task(wish("variation", model="flux-kontext", prompt=""), ADVANCED, FACTS) == "redux-variation"

    @pytest.mark.parametrize(
        ("flux", "param"),
        [(LORA, "lora_settings"), (CONTROL, "control_net_settings"), (OUTPAINT, "outpaint"), (DENOISE, "denoise")],
    )
    def test_what_does_not_fit_the_name_is_refused(self, flux, param):
        error = refused(wish("edit", model="flux-kontext", flux=flux))
        assert (error.param, error.code) == (param, "invalid_value")

    def test_nor_does_a_mask_fit_but_where_something_is_filled(self):
        error = refused(wish("edit", model="flux-kontext", mask=MASK))
        assert error.param == "mask"
        assert "'fill-inpaint' does" in error.message

    def test_a_name_configured_for_a_model_that_cannot(self):
        error = refused(wish("edit", model="flux-kontext"), SCHNELL)
        assert (error.param, error.code) == ("model", "invalid_value")


class TestTheClientDecides:
    @pytest.mark.parametrize("task_type", FACTS.task_types)
    def test_a_task_type_wins_over_name_and_hints(self, task_type):
        takes_image = "image" in FACTS.task_types[task_type].inputs
        request = wish(
            "edit" if takes_image else "generation",
            model="flux-redux",
            flux={"task_type": task_type, "service_mode": "public"},
        )
        assert chosen(request) == task_type

    @pytest.mark.parametrize(
        ("value", "code"), [("img2video", "invalid_value"), (3, "invalid_type"), ("", "invalid_value")]
    )
    def test_one_there_is_not(self, value, code):
        error = refused(wish(flux={"task_type": value}))
        assert (error.param, error.code) == ("task_type", code)

    def test_one_the_model_does_not_do(self):
        error = refused(wish("edit", flux={"task_type": "kontext"}), DEV)
        assert (error.param, error.code) == ("task_type", "invalid_value")
        assert "flux-dev-advanced" in error.message

    def test_also_for_a_variation(self):
        assert chosen(wish("variation", flux={"task_type": "img2img"}), SCHNELL) == "img2img"

    def test_an_image_where_none_is_taken(self):
        assert refused(wish("edit", flux={"task_type": "txt2img"})).param == "image"
        assert refused(wish(flux={"task_type": "txt2img", "image": LINK.url})).param == "image"

    def test_no_image_where_one_is_needed(self):
        error = refused(wish(flux={"task_type": "img2img"}))
        assert (error.param, error.code) == ("image", "missing_required_parameter")
        assert refused(wish(model="flux-kontext")).param == "image"


class TestWhatAModelCannotDo:
    @pytest.mark.parametrize("model", [SCHNELL, DEV])
    @pytest.mark.parametrize(
        ("request_", "param"),
        [
            (wish("edit", mask=MASK), "mask"),
            (wish("edit", flux=OUTPAINT), "outpaint"),
            (wish("edit", flux=CUSTOM), "custom_settings"),
            (wish("edit", flux=LORA), "lora_settings"),
            (wish("edit", flux=CONTROL), "control_net_settings"),
            (wish(flux=LORA), "lora_settings"),
            (wish(flux=CONTROL), "control_net_settings"),
            (wish("variation", prompt=""), "model"),
        ],
    )
    def test_the_parameter_that_asked_for_it_and_the_model_that_can_are_named(self, model, request_, param):
        error = refused(request_, model)
        assert (error.param, error.code) == (param, "invalid_value")
        assert "'flux-dev-advanced'" in error.message

    def test_a_model_that_is_not_known(self):
        assert refused(wish(), "Qubico/flux3").param == "model"


class TestFields:
    def test_a_field_there_is_not(self):
        error = refused(wish(flux={"guidance": 3}))
        assert (error.param, error.code) == ("guidance", "unknown_parameter")
        assert "guidance_scale" in error.message

    @pytest.mark.parametrize(
        ("flux", "field"),
        [({"steps": 20}, "steps"), ({"seed": 1}, "seed"), ({"outpaint": {"left": 1}}, "outpaint")],
    )
    def test_a_field_the_task_has_no_use_for(self, flux, field):
        error = refused(wish(flux=flux))
        assert (error.param, error.code) == (field, "invalid_value")
        assert "'txt2img' does not take it" in error.message

    def test_the_tasks_that_would_take_it_are_named(self):
        assert "kontext would" in refused(wish(flux={"seed": 1})).message

    def test_null_is_as_if_not_given(self):
        assert chosen(wish(flux={"steps": None, "anything": None})) == "txt2img"

    def test_the_fields_there_are(self):
        assert set(known_fields(FACTS)) == {
            *("prompt", "image", "negative_prompt", "denoise", "guidance_scale", "width", "height", "batch_size"),
            *("steps", "seed", "lora_settings", "control_net_settings", "custom_settings"),
            *("outpaint", "task_type", "service_mode"),
        }


class TestMasks:
    def test_a_mask_without_an_image(self):
        assert refused(wish(mask=MASK)).param == "mask"
        assert refused(wish(model="flux-fill", mask=MASK)).param == "image"

    @pytest.mark.parametrize(
        ("images", "mask", "param"),
        [
            ((LINK,), MASK, "image"),
            ((IMAGE,), LINK, "mask"),
            ((LINK,), LINK, "mask"),
            ((IMAGE,), SourceImage(), "mask"),
        ],
    )
    def test_links_cannot_be_painted(self, images, mask, param):
        error = refused(wish("edit", images=images, mask=mask))
        assert error.param == param
        assert "as files" in error.message

    def test_nor_an_image_among_fluxs_own_fields(self):
        request = replace(wish("edit", mask=MASK, flux={"image": LINK.url}), images=())
        assert refused(request).param == "image"


def test_short_names():
    assert [short_name(model) for model in FACTS.models] == ["flux-schnell", "flux-dev", "flux-dev-advanced"]
