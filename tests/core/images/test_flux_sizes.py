"""Sizes: what is passed on, what is shrunk in its shape, what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.images.sizes import alike, largest_same_shape
from gateway.core.images.types import STANDARD_SIZES, SourceImage

from .flux_orders import DEV, FACTS, LINK, order_of, refusal, wish

MOST = 1_048_576
SHRUNK = {
    "256x256": (256, 256),
    "512x512": (512, 512),
    "1024x1024": (1024, 1024),
    "1536x1024": (1248, 832),
    "1024x1536": (832, 1248),
    "1792x1024": (1344, 768),
    "1024x1792": (768, 1344),
}


def asked(size=None, task="txt2img", **flux):
    request = wish(size=size, flux=flux) if task == "txt2img" else wish("edit", size=size, flux=flux)
    order = order_of(request)
    assert order.task_type == task
    return order.input.get("width"), order.input.get("height"), order.size


def edited(source, size=None, **flux):
    """The sides that Kontext is asked for, to edit an image of these sides."""
    image = SourceImage(data=b"an image", width=source[0], height=source[1])
    order = order_of(wish("edit", size=size, flux=flux, images=(image,)))
    assert (order.task_type, order.note) == ("kontext", None)
    return order.input["width"], order.input["height"]


def test_every_standard_size_is_known():
    assert SHRUNK.keys() == set(STANDARD_SIZES)


@pytest.mark.parametrize("task", ["txt2img", "kontext"])
@pytest.mark.parametrize("size", STANDARD_SIZES)
def test_standard_sizes_fit_or_are_shrunk_and_the_real_size_is_told(size, task):
    width, height = SHRUNK[size]
    assert asked(size, task) == (width, height, f"{width}x{height}")


@settings(max_examples=200)
@given(width=st.integers(1, 500), height=st.integers(1, 500), max_pixels=st.integers(64 * 500 * 500, 10**9))
def test_a_shrunk_size_keeps_its_shape_and_is_the_largest_that_fits(width, height, max_pixels):
    across, down = largest_same_shape(width, height, max_pixels)
    assert Fraction(across, down) == Fraction(width, height)
    assert across % 8 == down % 8 == 0
    assert across * down <= max_pixels
    shape = Fraction(width, height)
    next_down = next(side for side in range(down + 8, 2 * down + 8 * 500, 8) if (side * shape) % 8 == 0)
    assert next_down * next_down * shape > max_pixels


class TestTextToImage:
    @pytest.mark.parametrize("size", [None, "auto"])
    def test_auto_is_a_square(self, size):
        assert asked(size) == (1024, 1024, "1024x1024")

    def test_a_size_of_the_clients_own(self):
        assert asked("640x480") == (640, 480, "640x480")
        assert asked("2048x512") == (2048, 512, "2048x512")

    def test_sides_of_the_clients_own(self):
        assert asked(width=640, height=480) == (640, 480, "640x480")
        assert asked(width=512) == (512, 1024, "512x1024")
        assert asked(height=512) == (1024, 512, "1024x512")

    def test_they_may_come_beside_a_size_that_says_the_same(self):
        assert asked("640x480", width=640) == (640, 480, "640x480")
        assert asked("640x480", width=640, height=480) == (640, 480, "640x480")
        assert asked("auto", width=640, height=480) == (640, 480, "640x480")

    @pytest.mark.parametrize("flux", [{"width": 512}, {"height": 512}, {"width": 1024, "height": 1000}])
    def test_but_not_beside_one_that_says_something_else(self, flux):
        assert refusal(wish(size="1024x1024", flux=flux)).param == "size"

    @pytest.mark.parametrize(
        ("flux", "param"),
        [
            ({"width": 1024, "height": 1025}, "width"),
            ({"width": 1025}, "width"),
            ({"height": 1025}, "height"),
            ({"width": MOST + 1, "height": 1}, "width"),
        ],
    )
    def test_sides_that_are_too_large_together(self, flux, param):
        error = refusal(wish(flux=flux), DEV)
        assert (error.param, error.code) == (param, "invalid_value")
        assert "1048576" in error.message

    def test_sides_that_just_fit(self):
        assert asked(width=MOST, height=1)[:2] == (MOST, 1)

    def test_sides_are_never_shrunk_for_who_gives_them_knows_flux(self):
        assert refusal(wish(flux={"width": 1536, "height": 1024})).param == "width"

    @pytest.mark.parametrize("size", ["1025x1024", "1600x1200", "99999x99999"])
    def test_a_size_that_is_neither_standard_nor_fits(self, size):
        assert refusal(wish(size=size)).param == "size"

    @pytest.mark.parametrize("size", ["", "big", "1024", "0x512", "512x0", "-1x5", "1024X1024", "1024x1024 ", "٥x٥"])
    def test_what_is_no_size(self, size):
        assert refusal(wish(size=size)).param == "size"

    @pytest.mark.parametrize(("side", "code"), [(0, "invalid_value"), (1.5, "invalid_type"), ("wide", "invalid_type")])
    def test_what_is_no_side(self, side, code):
        error = refusal(wish(flux={"height": side}))
        assert (error.param, error.code) == ("height", code)


class TestKontext:
    @pytest.mark.parametrize("size", [None, "auto"])
    @pytest.mark.parametrize(
        ("source", "made"),
        [
            ((1024, 1024), (1024, 1024)),
            ((64, 48), (1152, 864)),
            ((1920, 1080), (1280, 720)),
            ((1080, 1920), (720, 1280)),
            ((4032, 3024), (1152, 864)),
            ((1023, 767), (1152, 864)),
            ((3000, 1001), (1728, 576)),
            ((400, 4000), (320, 3200)),
        ],
    )
    def test_what_is_edited_keeps_its_shape(self, size, source, made):
        assert edited(source, size=size) == made
        assert made[0] * made[1] <= FACTS.max_pixels
        assert made[0] % 16 == made[1] % 16 == 0
        assert alike(source, made)

    def test_also_where_only_one_side_is_given(self):
        assert edited((1600, 900), width=800) == (800, 448)
        assert edited((1600, 900), height=800) == (1424, 800)

    def test_or_a_resolution(self):
        assert edited((1600, 900), size="1K") == edited((1600, 900), size="2K") == (1280, 720)

    def test_the_shape_that_is_asked_for_comes_first(self):
        assert edited((1600, 900), size="9:16") == (720, 1280)
        assert edited((1600, 900), size="1024x1024") == (1024, 1024)

    @pytest.mark.parametrize("size", [None, "auto"])
    def test_of_a_linked_picture_it_is_not_known_and_the_client_is_told(self, size):
        order = order_of(wish("edit", size=size, images=(LINK,)))
        assert not {"width", "height"} & order.input.keys()
        assert (order.size, order.note) == (None, "size_left_to_upstream")

    def test_the_other_side_of_one_is_as_piapi_documents(self):
        order = order_of(wish("edit", flux={"width": 768}, images=(LINK,)))
        assert (order.input["width"], order.input["height"], order.note) == (768, 1024, None)

    def test_sides_have_no_documented_bound_here(self):
        assert asked(None, "kontext", width=1536, height=1024) == (1536, 1024, "1536x1024")
        assert asked(None, "kontext", width=768) == (768, 768, "768x768")

    def test_a_size_has_none_either_but_openais_own_become_what_flux_is_made_for(self):
        assert asked("1600x1200", "kontext") == (1600, 1200, "1600x1200")
        assert asked("1536x1024", "kontext") == (1248, 832, "1248x832")


class TestOtherTasks:
    EDITS = (
        {"denoise": 0.5},
        {"lora_settings": [{"lora_type": "art"}]},
        {"control_net_settings": [{"control_type": "canny"}]},
        {"outpaint": {"top": 8}},
        {"task_type": "fill-inpaint"},
        {"task_type": "redux-variation"},
    )

    @pytest.mark.parametrize("flux", EDITS)
    def test_take_no_size(self, flux):
        for size in ("512x512", "16:9", "2K"):
            error = refusal(wish("edit", size=size, flux=flux))
            assert (error.param, error.code) == ("size", "invalid_value")
        assert refusal(wish("edit", flux={**flux, "width": 512})).param == "width"

    @pytest.mark.parametrize("size", ["1024x1024", "1:1"])
    @pytest.mark.parametrize("flux", EDITS)
    def test_but_their_images_own(self, flux, size):
        order = order_of(wish("edit", size=size, flux={**flux, "width": 1024, "height": "1024"}))
        assert not {"width", "height"} & order.input.keys()
        assert refusal(wish("edit", size=size, flux=flux, images=(LINK,))).param == "size"

    @pytest.mark.parametrize("size", [None, "auto"])
    @pytest.mark.parametrize("flux", EDITS)
    def test_but_leave_it_to_piapi(self, flux, size):
        order = order_of(wish("edit", size=size, flux=flux))
        assert order.size is None
        assert not {"width", "height"} & order.input.keys()
