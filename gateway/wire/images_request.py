"""The fields of ``/v1/images/generations``, ``/edits`` and ``/variations``, checked.

The fields are OpenAI's Images API's (openai-python 3.54, types/image_*_params.py) and Flux's own, as PiAPI's
documentation names them. As in chat, any other field is refused: no field may choose a host, a key, a header or a
callback. Flux's fields are passed on unchecked; core/images/flux.py knows what each task takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.types import MOST_IMAGES, ImageKind, ImagesRequest, SourceImage
from gateway.wire.field_checks import (
    Check,
    a_boolean,
    a_model_name,
    a_string,
    an_array,
    an_integer,
    an_object,
    missing,
    one_of,
    unknown,
    wrong_type,
    wrong_value,
)
from gateway.wire.form_data import FormFile
from gateway.wire.source_images import MAX_IMAGES, image_from_bytes, image_from_text, too_many_images

MAX_PROMPT = 32_000
"""Characters; OpenAI's bound for the gpt-image models."""

MAX_SIDE = 16_384
"""Pixels of one side in ``size``. What a model really makes is the model's choice."""

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_IMAGE_FILE = re.compile(r"image(\[[0-9]*\])?")
_KNOWN = "OpenAI's Images API and of PiAPI's Flux models"


def parse_images_request(kind: ImageKind, fields: Mapping[str, Any], files: Sequence[FormFile] = ()) -> ImagesRequest:
    """Check an order. Null stands for an absent field.

    ``fields``: a JSON body, or a form's fields as ``form_fields.unbracket`` reads them.

    Raises ClientError 400 with ``param`` naming the field and ``code`` one of ``missing_required_parameter``,
    ``invalid_type``, ``invalid_value``, ``unknown_parameter``, ``duplicate_key``.
    """
    for name, value in fields.items():
        check = _FIELDS.get(name)
        if check is None:
            raise unknown(name, _KNOWN)
        if value is not None:
            check(value, name)
    given = {name: value for name, value in fields.items() if value is not None}
    if "model" not in given:
        raise missing("model")
    stream = given.get("stream", False)
    partial_images = given.get("partial_images", 0)
    if partial_images and not stream:
        raise wrong_value("partial_images", "it is only allowed when 'stream' is true")
    return ImagesRequest(
        kind=kind,
        model=given["model"],
        prompt=_prompt_for(kind, given),
        n=given.get("n", 1),
        size=given.get("size"),
        quality=given.get("quality"),
        format=given.get("response_format"),
        stream=stream,
        partial_images=partial_images,
        images=_images(kind, given, files),
        mask=_mask(kind, given, files),
        options={name: given[name] for name in _OPTIONS if name in given},
        flux=_flux(given),
    )


def _prompt_for(kind: ImageKind, given: Mapping[str, Any]) -> str:
    prompt: str = given.get("prompt", "")
    if prompt.strip():
        return prompt
    if kind == "variation":
        return ""
    raise wrong_value("prompt", "it must not be empty") if "prompt" in given else missing("prompt")


def _images(kind: ImageKind, given: Mapping[str, Any], files: Sequence[FormFile]) -> tuple[SourceImage, ...]:
    """The files, then the images in ``image`` and ``images``, each in order."""
    sent = [file for file in files if file.name != "mask"]
    for file in sent:
        if _IMAGE_FILE.fullmatch(file.name) is None:
            raise _unknown_file(file.name)
    texts = [(text, param) for name in ("image", "images") for text, param in _texts(given.get(name, []), name)]
    count = len(sent) + len(texts)
    if count > MAX_IMAGES:
        raise too_many_images("image")
    if count == 0 and kind != "generation":
        raise missing("image")
    if count > 1 and kind == "variation":
        raise wrong_value("image", "a variation is made of one image")
    several = len(sent) > 1
    return (
        *(image_from_bytes(file.data, f"image[{place}]" if several else "image") for place, file in enumerate(sent)),
        *(image_from_text(text, param) for text, param in texts),
    )


def _mask(kind: ImageKind, given: Mapping[str, Any], files: Sequence[FormFile]) -> SourceImage | None:
    sent = [file for file in files if file.name == "mask"]
    texts = _texts(given.get("mask", []), "mask")
    if not sent and not texts:
        return None
    if kind != "edit":
        raise wrong_value("mask", "only an edit takes a mask; send it to /v1/images/edits")
    if len(sent) + len(texts) > 1:
        raise _twice("mask")
    return image_from_bytes(sent[0].data, "mask") if sent else image_from_text(*texts[0])


def _texts(value: Any, name: str) -> list[tuple[str, str]]:
    """The texts of one image or of a list, each with the path of its field. The values have been checked."""
    items = [(item, f"{name}[{place}]") for place, item in enumerate(value)] if type(value) is list else [(value, name)]
    return [(item, param) if type(item) is str else (item["image_url"], f"{param}.image_url") for item, param in items]


def _flux(given: Mapping[str, Any]) -> dict[str, Any]:
    """Flux's own fields. PiAPI has ``service_mode`` inside ``config``, beside settings that no client may choose."""
    flux = {name: given[name] for name in FLUX_FIELDS if name in given}
    mode = given.get("config", {}).get("service_mode")
    if mode is not None:
        if "service_mode" in flux:
            raise _twice("service_mode")
        flux["service_mode"] = mode
    return flux


def _twice(name: str) -> ClientError:
    return invalid_request(f"The request has '{name}' twice.", param=name, code="duplicate_key")


def _unknown_file(name: str) -> ClientError:
    shown = shorten(name)
    return invalid_request(
        f"Unknown file: '{shown}'. Images are sent as 'image' or 'image[]', a mask as 'mask'.",
        param=shown,
        code="unknown_parameter",
    )


def _prompt(value: Any, param: str) -> None:
    a_string(value, param)
    if len(value) > MAX_PROMPT:
        raise wrong_value(param, f"it must have at most {MAX_PROMPT} characters")


def _size(value: Any, param: str) -> None:
    a_string(value, param)
    match = _SIZE.fullmatch(value)
    if value != "auto" and (match is None or int(match[1]) > MAX_SIDE or int(match[2]) > MAX_SIDE):
        raise wrong_value(param, f"it must be 'auto' or WIDTHxHEIGHT with sides from 1 to {MAX_SIDE}")


def _image(value: Any, param: str) -> None:
    """Check a string, or OpenAI's object around one. Its other form, ``file_id``, names a file that is not here."""
    if type(value) is str:
        return
    if type(value) is not dict:
        raise wrong_type(param, "a string or an object", value)
    for name in value:
        if name != "image_url":
            raise unknown(f"{param}.{name}", _KNOWN)
    if value.get("image_url") is None:
        raise missing(f"{param}.image_url")
    a_string(value["image_url"], f"{param}.image_url")


def _one_image_field(value: Any, param: str) -> None:
    if type(value) is not list:
        _image(value, param)
        return
    if len(value) > MAX_IMAGES:
        raise too_many_images(param)
    for place, item in enumerate(value):
        _image(item, f"{param}[{place}]")


def _several_images_field(value: Any, param: str) -> None:
    an_array(value, param)
    _one_image_field(value, param)


def _config(value: Any, param: str) -> None:
    an_object(value, param)
    for name in value:
        if name != "service_mode":
            raise unknown(f"{param}.{name}", _KNOWN)


def _left_to_flux(value: Any, param: str) -> None:
    """Accept any value: whether it fits the task is checked in core/images/flux.py."""


_OPTIONS: dict[str, Check] = {
    "background": one_of("auto", "transparent", "opaque"),
    "input_fidelity": one_of("low", "high"),
    "moderation": one_of("auto", "low"),
    "output_compression": an_integer(0, 100),
    "output_format": one_of("png", "jpeg", "webp"),
    "safety_identifier": a_string,
    "style": one_of("vivid", "natural"),
    "user": a_string,
}

FLUX_FIELDS = (
    *("task_type", "negative_prompt", "denoise", "guidance_scale", "width", "height", "steps", "seed", "batch_size"),
    *("lora_settings", "control_net_settings", "custom_settings", "outpaint", "service_mode"),
)
"""Flux's own fields, as its task API and this gateway name them."""

_FIELDS: dict[str, Check] = {
    "image": _one_image_field,
    "images": _several_images_field,
    "mask": _image,
    "model": a_model_name,
    "n": an_integer(1, MOST_IMAGES),
    "partial_images": an_integer(0, 3),
    "prompt": _prompt,
    "quality": one_of("auto", "low", "medium", "high", "standard", "hd"),
    "response_format": one_of("url", "b64_json"),
    "size": _size,
    "stream": a_boolean,
    **_OPTIONS,
    **dict.fromkeys(FLUX_FIELDS, _left_to_flux),
    "config": _config,
}

IMAGES_PARAMETERS = frozenset(_FIELDS)
"""Every top-level field a client may send."""
