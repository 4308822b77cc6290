"""LoRA, ControlNet and outpaint: what passes, and what is refused by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import ClientError
from gateway.core.images.flux import flux_order
from gateway.core.images.types import SourceImage

from .flux_orders import ADVANCED, FACTS, LINK, order_of, refusal, wish


def lora(**members):
    return wish(flux={"lora_settings": [{"lora_type": "mjv6", **members}]})


def control(**members):
    return wish(flux={"control_net_settings": [{"control_type": "depth", **members}]})


class TestLora:
    @pytest.mark.parametrize("name", FACTS.loras)
    def test_every_name_of_the_catalogue_passes(self, name):
        assert order_of(lora(lora_type=name)).input["lora_settings"] == [{"lora_type": name}]

    def test_all_members(self):
        members = {"lora_image": "https://images.example/style.png", "lora_strength": 0.8}
        assert order_of(lora(**members)).input["lora_settings"] == [{"lora_type": "mjv6", **members}]

    def test_a_form_has_only_text(self):
        assert order_of(lora(lora_strength="-0.5")).input["lora_settings"][0]["lora_strength"] == -0.5

    def test_an_unknown_name_is_refused_with_near_ones_and_the_line_that_lets_it_pass(self):
        error = refusal(lora(lora_type="Realisme"))
        assert (error.param, error.code) == ("lora_settings[0].lora_type", "invalid_value")
        assert "realism" in error.message
        assert "flux: {extra_loras: [Realisme]}" in error.message

    def test_with_all_names_where_none_is_near(self):
        assert all(name in refusal(lora(lora_type="qqqq")).message for name in FACTS.loras)

    def test_a_name_that_yaml_would_read_otherwise_is_quoted(self):
        assert 'extra_loras: ["a, b"]' in refusal(lora(lora_type="a, b")).message

    def test_the_line_does_let_it_pass(self):
        facts = replace(FACTS, loras=(*FACTS.loras, "new-lora"))
        order = flux_order(lora(lora_type="new-lora"), ADVANCED, facts)
        assert order.input["lora_settings"] == [{"lora_type": "new-lora"}]

    @pytest.mark.parametrize(
        ("settings", "param", "code"),
        [
            ("mjv6", "lora_settings", "invalid_type"),
            ({"lora_type": "mjv6"}, "lora_settings", "invalid_type"),
            ([{"lora_type": "mjv6"}, {"lora_type": "art"}], "lora_settings", "invalid_value"),
            (["mjv6"], "lora_settings[0]", "invalid_type"),
            ([{}], "lora_settings[0].lora_type", "missing_required_parameter"),
            ([{"lora_type": None}], "lora_settings[0].lora_type", "missing_required_parameter"),
            ([{"lora_type": 5}], "lora_settings[0].lora_type", "invalid_type"),
            ([{"lora_type": " "}], "lora_settings[0].lora_type", "invalid_value"),
            ([{"lora_type": "mjv6", "strength": 1}], "lora_settings[0].strength", "unknown_parameter"),
        ],
    )
    def test_what_is_no_setting(self, settings, param, code):
        error = refusal(wish(flux={"lora_settings": settings}))
        assert (error.param, error.code) == (param, code)

    @pytest.mark.parametrize("strength", ["strong", True, float("nan"), float("inf"), "1e999", "NaN", [1]])
    def test_a_strength_is_a_finite_number(self, strength):
        error = refusal(lora(lora_strength=strength))
        assert (error.param, error.code) == ("lora_settings[0].lora_strength", "invalid_type")

    @pytest.mark.parametrize("image", [5, "", "  "])
    def test_an_image_is_text(self, image):
        assert refusal(lora(lora_image=image)).param == "lora_settings[0].lora_image"

    @pytest.mark.parametrize("task_type", ["txt2img-lora", "img2img-lora"])
    def test_a_task_named_after_it_needs_it(self, task_type):
        request = wish("generation" if task_type == "txt2img-lora" else "edit", flux={"task_type": task_type})
        error = refusal(request)
        assert (error.param, error.code) == ("lora_settings", "missing_required_parameter")


class TestControlNet:
    @pytest.mark.parametrize("name", FACTS.controls)
    def test_every_name_of_the_catalogue_passes_and_is_enough(self, name):
        assert order_of(control(control_type=name)).input["control_net_settings"] == [{"control_type": name}]

    @pytest.mark.parametrize(("flag", "sent"), [(True, True), (False, False), ("true", True), ("false", False)])
    def test_all_members(self, flag, sent):
        members = {"control_image": "https://images.example/pose.png", "control_strength": 0.45}
        order = order_of(control(**members, return_preprocessed_image=flag))
        assert order.input["control_net_settings"] == [
            {"control_type": "depth", **members, "return_preprocessed_image": sent}
        ]

    def test_no_lora_is_fine_and_one_is_too(self):
        assert "lora_settings" not in order_of(control()).input
        request = control()
        both = replace(request, flux={**request.flux, "lora_settings": [{"lora_type": "art"}]})
        assert order_of(both).input["lora_settings"] == [{"lora_type": "art"}]

    def test_two_are_too_many(self):
        assert (
            refusal(wish(flux={"control_net_settings": [{"control_type": "depth"}] * 2})).param
            == "control_net_settings"
        )

    def test_none_is_too_few_for_its_task(self):
        assert refusal(wish(flux={"task_type": "controlnet-lora"})).param == "control_net_settings"

    def test_an_unknown_name(self):
        error = refusal(control(control_type="soft-edge"))
        assert error.param == "control_net_settings[0].control_type"
        assert "soft_edge" in error.message
        assert "flux: {extra_controls: [soft-edge]}" in error.message

    @pytest.mark.parametrize("flag", ["yes", 1, 0, "True"])
    def test_whether_to_return_the_preprocessed_image_is_yes_or_no(self, flag):
        error = refusal(control(return_preprocessed_image=flag))
        assert error.param == "control_net_settings[0].return_preprocessed_image"

    def test_an_unknown_member(self):
        assert refusal(control(image="x")).param == "control_net_settings[0].image"


def outpainted(sides, image=None):
    image = image or SourceImage(data=b"p", width=1024, height=1024)
    return wish("edit", images=(image,), flux={"outpaint": sides})


def custom(**members):
    return wish("edit", flux={"custom_settings": [{"setting_type": "outpaint", **members}]})


class TestOutpaint:
    def test_sides_become_piapis_setting(self):
        order = order_of(outpainted({"left": 1, "right": "2", "top": 3.0, "bottom": 4}))
        assert order.input["custom_settings"] == [
            {
                "setting_type": "outpaint",
                "outpaint_left": 1,
                "outpaint_right": 2,
                "outpaint_top": 3,
                "outpaint_bottom": 4,
            }
        ]

    def test_piapis_own_setting_passes_and_is_completed(self):
        own, ours = order_of(custom(outpaint_top=9)), order_of(outpainted({"top": 9}))
        assert own.input["custom_settings"] == ours.input["custom_settings"]

    def test_less_than_a_megapixel_may_be_added(self):
        # 1024 × (1024 + 1023) − 1024 × 1024 = 1,047,552; one more line is exactly 1024 × 1024, which is not less
        assert order_of(outpainted({"top": 1000, "bottom": 23})).task_type == "fill-outpaint"
        error = refusal(outpainted({"top": 1000, "bottom": 24}))
        assert (error.param, error.code) == ("outpaint", "invalid_value")
        assert "1048576" in error.message

    def test_corners_count(self):
        assert order_of(outpainted({"left": 424, "bottom": 424})).task_type == "fill-outpaint"
        assert refusal(outpainted({"left": 425, "bottom": 425})).param == "outpaint"

    def test_of_a_link_only_the_least_is_known(self):
        assert order_of(outpainted({"left": 1_048_575}, LINK)).task_type == "fill-outpaint"
        assert order_of(outpainted({"left": 1023, "bottom": 1023}, LINK)).task_type == "fill-outpaint"
        assert refusal(outpainted({"left": 1024, "bottom": 1023}, LINK)).param == "outpaint"
        assert refusal(outpainted({"left": 1_048_576}, LINK)).param == "outpaint"

    @pytest.mark.parametrize(
        ("sides", "param"),
        [
            ({}, "outpaint"),
            ({"left": 0, "right": 0, "top": 0, "bottom": 0}, "outpaint"),
            ({"left": None}, "outpaint"),
            ({"left": -1, "right": 9}, "outpaint.left"),
            ({"top": 1.5}, "outpaint.top"),
            ({"bottom": "much"}, "outpaint.bottom"),
            ({"up": 5}, "outpaint.up"),
            ("left", "outpaint"),
            ([5, 5, 5, 5], "outpaint"),
        ],
    )
    def test_what_adds_nothing_or_nonsense(self, sides, param):
        assert refusal(outpainted(sides)).param == param

    @pytest.mark.parametrize(
        ("settings", "param"),
        [
            ({}, "custom_settings"),
            (["outpaint"], "custom_settings[0]"),
            ([{"outpaint_left": 5}], "custom_settings[0].setting_type"),
            ([{"setting_type": "zoom"}], "custom_settings[0].setting_type"),
            ([{"setting_type": "outpaint", "left": 5}], "custom_settings[0].left"),
            ([{"setting_type": "outpaint", "outpaint_left": -5}], "custom_settings[0].outpaint_left"),
            ([{"setting_type": "outpaint"}], "custom_settings"),
            ([{"setting_type": "outpaint", "outpaint_top": 1024}], "custom_settings"),
            ([{"setting_type": "outpaint", "outpaint_top": 1}] * 2, "custom_settings"),
        ],
    )
    def test_piapis_own_setting_is_checked_the_same_way(self, settings, param):
        assert refusal(wish("edit", flux={"custom_settings": settings})).param == param

    def test_both_at_once(self):
        flux = {"outpaint": {"left": 5}, "custom_settings": [{"setting_type": "outpaint", "outpaint_left": 5}]}
        assert refusal(wish("edit", flux=flux)).param == "outpaint"

    def test_neither(self):
        error = refusal(wish("edit", model="flux-outpaint"))
        assert (error.param, error.code) == ("outpaint", "missing_required_parameter")


def test_the_catalogue_limits_hold_whatever_they_are():
    facts = replace(FACTS, max_added_pixels=10)
    assert flux_order(outpainted({"left": 10}, LINK), ADVANCED, facts).task_type == "fill-outpaint"
    with pytest.raises(ClientError):
        flux_order(outpainted({"left": 11}, LINK), ADVANCED, facts)
