"""What clients may ask of the image routes, as JSON and as forms."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import image_create_variation_params, image_edit_params, image_generate_params

from gateway.core.errors import ClientError
from gateway.core.images.types import MOST_IMAGES, STANDARD_SIZES, AttachedFile, SourceImage
from gateway.wire.form_data import FormFile, parse_form
from gateway.wire.form_fields import unbracket
from gateway.wire.images_request import IMAGES_PARAMETERS, MAX_PROMPT, WITHHELD, parse_images_request

from .forms import refused_with, sent_by_node_sdk, sent_by_python_sdk
from .test_image_bytes import drawn

CAT = {"model": "gpt-4o-image", "prompt": "a cat"}
PNG = drawn("png", 3, 2)
JPEG = drawn("jpeg", 4, 5)
URL = "https://example.com/a.png"
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
FROM_PNG = SourceImage(PNG, None, "image/png", 3, 2)
FROM_JPEG = SourceImage(JPEG, None, "image/jpeg", 4, 5)
FROM_URL = SourceImage(url=URL)


def file(name: str = "image", data: bytes = PNG) -> FormFile:
    return FormFile(name, "application/octet-stream", data)


def refusal(kind: Any, fields: dict[str, Any], *files: FormFile) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse_images_request(kind, fields, files)
    error = caught.value
    status = 404 if error.code == "file_not_found" else 400
    assert (error.status, error.type) == (status, "invalid_request_error")
    assert f"'{error.param}'" in error.message
    return error


def test_the_smallest_order_of_each_kind():
    request = parse_images_request("generation", CAT)
    assert (request.kind, request.model, request.prompt, request.n) == ("generation", "gpt-4o-image", "a cat", 1)
    assert (request.size, request.quality, request.format, request.stream) == (None, None, None, False)
    assert (request.partial_images, request.images, request.mask, request.options, request.flux) == (
        0,
        (),
        None,
        {},
        {},
    )
    assert parse_images_request("edit", CAT, [file()]).images == (FROM_PNG,)
    assert parse_images_request("variation", {"model": "flux-redux"}, [file()]).prompt == ""


def test_an_order_with_everything():
    options = {
        "background": "transparent",
        "input_fidelity": "high",
        "moderation": "low",
        "output_compression": 0,
        "output_format": "webp",
        "safety_identifier": "s",
        "style": "vivid",
        "user": "u",
    }
    flux = {
        "task_type": "kontext",
        "negative_prompt": "dogs",
        "denoise": 0.7,
        "guidance_scale": 3,
        "width": 512,
        "height": "as it came",
        "steps": 28,
        "seed": -1,
        "batch_size": 4,
        "lora_settings": [{"lora_type": "anime", "anything": [None]}],
        "control_net_settings": [],
        "custom_settings": {},
        "outpaint": {"left": 1},
        "service_mode": "public",
    }
    fields = {"n": 10, "size": "1024x1536", "quality": "hd", "response_format": "b64_json", "stream": True}
    body = {**CAT, **options, **flux, **fields, "partial_images": 3, "image": URL, "mask": {"image_url": DATA_URL}}
    request = parse_images_request("edit", body)
    assert (request.n, request.size, request.quality, request.format) == (10, "1024x1536", "hd", "b64_json")
    assert (request.stream, request.partial_images) == (True, 3)
    assert (request.images, request.mask) == ((FROM_URL,), FROM_PNG)
    assert request.options == options
    assert request.flux == flux
    unused = {"complexity", "svg", "markup", "frame_count", "frame_duration_ms"}
    assert set(body) == IMAGES_PARAMETERS - {"images", "config"} - unused - set(WITHHELD)


def test_null_stands_for_an_absent_field():
    nothing = dict.fromkeys(IMAGES_PARAMETERS)
    assert parse_images_request("generation", {**nothing, **CAT}) == parse_images_request("generation", CAT)


@pytest.mark.parametrize("kind", ["generation", "edit", "variation"])
def test_a_model_is_required(kind):
    for fields in ({"prompt": "x"}, {"prompt": "x", "model": None}):
        error = refusal(kind, fields, file())
        assert (error.code, error.param) == ("missing_required_parameter", "model")


@pytest.mark.parametrize("kind", ["generation", "edit"])
def test_a_prompt_is_required_and_must_say_something(kind):
    assert refusal(kind, {"model": "m"}, file()).code == "missing_required_parameter"
    for blank in ("", " \n\t\u3000"):
        error = refusal(kind, {"model": "m", "prompt": blank}, file())
        assert (error.code, error.param) == ("invalid_value", "prompt")


def test_a_variations_prompt_is_optional():
    assert parse_images_request("variation", {**CAT, "prompt": " "}, [file()]).prompt == ""
    assert parse_images_request("variation", CAT, [file()]).prompt == "a cat"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("model", 4, "invalid_type"),
        ("model", "", "invalid_value"),
        ("model", "a b", "invalid_value"),
        ("prompt", ["a"], "invalid_type"),
        ("prompt", "x" * (MAX_PROMPT + 1), "invalid_value"),
        ("n", 0, "invalid_value"),
        ("n", MOST_IMAGES + 1, "invalid_value"),
        ("n", "2", "invalid_type"),
        ("n", True, "invalid_type"),
        ("n", 1.0, "invalid_type"),
        ("size", 1024, "invalid_type"),
        ("size", "1024", "invalid_value"),
        ("size", "0x1024", "invalid_value"),
        ("size", "01x1", "invalid_value"),
        ("size", "16385x1", "invalid_value"),
        ("size", "1x16385", "invalid_value"),
        ("size", "١x١", "invalid_value"),
        ("quality", 1, "invalid_type"),
        ("response_format", "json", "invalid_value"),
        ("stream", "true", "invalid_type"),
        ("stream", 1, "invalid_type"),
        ("partial_images", -1, "invalid_value"),
        ("partial_images", 1, "invalid_value"),
        ("config", "public", "invalid_type"),
        ("image", 7, "invalid_type"),
        ("image", "no image", "invalid_value"),
        ("image", base64.b64encode(b"no image").decode(), "invalid_value"),
        ("image", "data:image/png;base64,A", "invalid_value"),
    ],
)
def test_a_field_that_is_wrong_is_named(name, value, code):
    error = refusal("generation", {**CAT, name: value})
    assert (error.code, error.param) == (code, name)


@pytest.mark.parametrize("size", [*STANDARD_SIZES, "auto", "1x1", "16384x16384"])
def test_sizes(size):
    assert parse_images_request("generation", {**CAT, "size": size}).size == size


def test_previews_need_a_stream():
    assert parse_images_request("generation", {**CAT, "stream": True, "partial_images": 2}).partial_images == 2
    assert parse_images_request("generation", {**CAT, "partial_images": 0}).partial_images == 0
    for stream in (False, None):
        assert refusal("generation", {**CAT, "stream": stream, "partial_images": 2}).param == "partial_images"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("1024*1024", "1024x1024"),
        ("1024X1536", "1024x1536"),
        ("1024×1024", "1024x1024"),
        (" 1536 x 1024 ", "1536x1024"),
        ("9:16", "9:16"),
        ("16/9", "16:9"),
        ("2.35:1", "2.35:1"),
        ("1k", "1K"),
        ("2K", "2K"),
        ("AUTO", "auto"),
        ("", None),
        (" ", None),
    ],
)
def test_sizes_as_people_write_them(given, read):
    assert parse_images_request("generation", {**CAT, "size": given}).size == read


def test_blank_text_stands_for_an_absent_field():
    blank = dict.fromkeys(("quality", "style", "response_format", "user", "background", "image", "n"), "")
    assert parse_images_request("generation", {**CAT, **blank}) == parse_images_request("generation", CAT)


@pytest.mark.parametrize("name", ["input", "extra_body", "extra_query", "messages", "Prompt", "image[]", "", "x" * 100])
def test_any_other_field_is_kept_for_who_may_know_it(name):
    request = parse_images_request("generation", {**CAT, name: 7})
    assert request.extras == {name: 7}
    assert parse_images_request("generation", {**CAT, name: None}).extras == {}


@pytest.mark.parametrize("name", ["webhook_config", "api_base", "base_url", "api_key", "models", "provider"])
def test_what_chooses_another_place_is_withheld(name):
    request = parse_images_request("generation", {**CAT, name: "https://elsewhere.example"})
    assert (request.extras, list(request.withheld)) == ({}, [name])


def test_other_files_are_kept_for_who_may_know_them():
    request = parse_images_request("edit", CAT, [file(), file("markup", JPEG)])
    assert request.images == (FROM_PNG,)
    assert request.attached == (AttachedFile("markup", "application/octet-stream", JPEG),)


def test_the_sdks_fields_are_known():
    theirs = {
        name
        for module, params in (
            (image_generate_params, ("ImageGenerateParamsBase", "ImageGenerateParamsStreaming")),
            (image_edit_params, ("ImageEditParamsBase", "ImageEditParamsStreaming")),
            (image_create_variation_params, ("ImageCreateVariationParams",)),
        )
        for cls in params
        for name in getattr(module, cls).__annotations__
    }
    assert {"prompt", "image", "mask", "partial_images", "input_fidelity"} <= theirs
    assert theirs <= IMAGES_PARAMETERS


@pytest.mark.parametrize(("config", "flux"), [({}, {}), ({"service_mode": "public"}, {"service_mode": "public"})])
def test_of_piapis_config_only_the_service_mode_may_be_chosen(config, flux):
    assert parse_images_request("generation", {**CAT, "config": config}).flux == flux
    error = refusal("generation", {**CAT, "config": {**config, "webhook_config": {"endpoint": URL}}})
    assert (error.code, error.param) == ("unknown_parameter", "config.webhook_config")


def test_the_service_mode_is_chosen_once():
    error = refusal("generation", {**CAT, "service_mode": "public", "config": {"service_mode": "private"}})
    assert (error.code, error.param) == ("duplicate_key", "service_mode")


@pytest.mark.parametrize(
    ("fields", "images"),
    [
        ({"image": URL}, (FROM_URL,)),
        ({"image": DATA_URL}, (FROM_PNG,)),
        ({"image": base64.b64encode(JPEG).decode()}, (FROM_JPEG,)),
        ({"image": [URL, {"image_url": DATA_URL}]}, (FROM_URL, FROM_PNG)),
        ({"image": {"image_url": URL}}, (FROM_URL,)),
        ({"images": [{"image_url": URL}, DATA_URL]}, (FROM_URL, FROM_PNG)),
        ({"images": [], "image": []}, ()),
        ({"images": [{"image_url": {"url": URL}}, {"b64_json": base64.b64encode(PNG).decode()}]}, (FROM_URL, FROM_PNG)),
        ({"images": URL}, (FROM_URL,)),
        ({"image": {"url": URL}}, (FROM_URL,)),
        ({"images": {"image_url": URL}}, (FROM_URL,)),
        ({"image": DATA_URL, "images": [URL]}, (FROM_PNG, FROM_URL)),
    ],
)
def test_images_in_json(fields, images):
    assert parse_images_request("generation", {**CAT, **fields}).images == images


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"image": [URL, 7]}, "invalid_type", "image[1]"),
        ({"image": [URL, [URL]]}, "invalid_type", "image[1]"),
        ({"image": [URL, None]}, "invalid_type", "image[1]"),
        ({"image": [URL, "x"]}, "invalid_value", "image[1]"),
        ({"images": [{"image_url": "x"}]}, "invalid_value", "images[0].image_url"),
        ({"images": [{}]}, "missing_required_parameter", "images[0].image_url"),
        ({"images": [{"file_id": "file-1"}]}, "file_not_found", "images[0].file_id"),
        ({"image": [URL] * 17}, "invalid_value", "image"),
        ({"images": [URL] * 17}, "invalid_value", "images"),
        ({"image": [URL] * 9, "images": [URL] * 8}, "invalid_value", "image"),
        ({"image": [URL], "mask": "x"}, "invalid_value", "mask"),
        ({"image": [URL], "mask": [URL]}, "invalid_type", "mask"),
        ({"image": [URL], "mask": {"image_url": "x"}}, "invalid_value", "mask.image_url"),
        ({}, "missing_required_parameter", "image"),
        ({"image": []}, "missing_required_parameter", "image"),
    ],
)
def test_images_that_are_wrong_are_named(fields, code, param):
    error = refusal("edit", {**CAT, **fields})
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize(
    "name", ["image", "image[]", "image[0]", "image[15]", "images", "images[]", "image_1", "image2"]
)
def test_files_may_be_named_in_every_way_the_sdks_name_them(name):
    request = parse_images_request("edit", CAT, [file(name), file("mask", JPEG), file(name, JPEG)])
    assert (request.images, request.mask) == ((FROM_PNG, FROM_JPEG), FROM_JPEG)


@pytest.mark.parametrize(
    ("files", "code", "param"),
    [
        ([file()] * 17, "invalid_value", "image"),
        ([file(data=b"")], "invalid_value", "image"),
        ([file(data=PNG), file(data=b"%PDF-1.4")], "invalid_value", "image[1]"),
        ([file(), file("mask", b"x")], "invalid_value", "mask"),
        ([file(), file("mask"), file("mask")], "duplicate_key", "mask"),
        ([file("mask")], "missing_required_parameter", "image"),
    ],
)
def test_files_that_are_wrong_are_named(files, code, param):
    error = refusal("edit", CAT, *files)
    assert (error.code, error.param) == (code, param)


def test_files_and_fields_together():
    assert parse_images_request("edit", {**CAT, "image": URL}, [file()]).images == (FROM_PNG, FROM_URL)
    assert refusal("edit", {**CAT, "mask": URL}, file(), file("mask")).code == "duplicate_key"
    assert refusal("edit", {**CAT, "image": URL}, *[file()] * 16).param == "image"


def test_a_variation_is_of_one_image_and_only_edits_have_masks():
    assert refusal("variation", {"model": "m"}).code == "missing_required_parameter"
    assert refusal("variation", {"model": "m"}, file(), file()).param == "image"
    for kind in ("variation", "generation"):
        assert refusal(kind, CAT, file(), file("mask")).param == "mask"


def test_prompts_and_images_are_not_shown_by_repr():
    assert "cat" not in repr(parse_images_request("edit", CAT, [file()]))
    assert "PNG" not in repr(parse_images_request("edit", CAT, [file()]))


def test_the_python_sdks_edit_from_its_bytes_to_the_order():
    extra = {"outpaint": {"left": 100}, "lora_settings": [{"lora_type": "anime", "lora_strength": 1}], "denoise": 0.5}
    form = parse_form(
        *sent_by_python_sdk("edit", **CAT, image=[PNG, JPEG], mask=PNG, n=2, size="1024x1024", extra_body=extra)
    )
    request = parse_images_request("edit", unbracket(form.fields), form.files)
    assert (request.images, request.mask) == ((FROM_PNG, FROM_JPEG), FROM_PNG)
    assert (request.n, request.size, request.flux) == (2, "1024x1024", extra)


def test_the_node_sdks_variation_from_its_bytes_to_the_order():
    form = parse_form(*sent_by_node_sdk("createVariation", {"model": "flux-redux", "n": 2}, {"image": PNG}))
    request = parse_images_request("variation", unbracket(form.fields), form.files)
    assert (request.kind, request.model, request.n, request.images) == ("variation", "flux-redux", 2, (FROM_PNG,))


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([URL, DATA_URL])
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["image_url", "x"]), inner)
)
_CODES = {"missing_required_parameter", "invalid_type", "invalid_value", "unknown_parameter", "duplicate_key"}


@given(
    st.sampled_from(["generation", "edit", "variation"]),
    st.dictionaries(st.sampled_from(sorted(IMAGES_PARAMETERS)), _VALUES, max_size=4),
    st.lists(st.builds(file, st.sampled_from(["image", "mask", "x"]), st.sampled_from([PNG, b"x"])), max_size=3),
)
def test_any_fields_give_an_order_or_a_clients_error(kind, fields, files):
    with refused_with(_CODES):
        request = parse_images_request(kind, {**CAT, **fields}, files)
        assert request.kind == kind
        assert set(request.flux) <= set(fields) | {"service_mode"}
