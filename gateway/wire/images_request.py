"""The fields of ``/v1/images/generations``, ``/edits`` and ``/variations``, checked.

Checked is what the gateway acts on: model, prompt, n, the images, the stream. The other fields of OpenAI's Images API
(openai-python 3.57, types/image_*_params.py) are an Images API's to judge, as are fields and files that no code here
knows; where the gateway makes the order itself, images/orders.py refuses the latter. Flux's fields are passed on
unchecked; core/images/flux.py knows what each task takes. No field chooses a host, a key, a header or a callback.

Blank text stands for an absent field, as null does: forms have no other way to leave one out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from gateway.core.errors import ClientError, invalid_request
from gateway.core.images.types import (
    MOST_IMAGES,
    OPENAI_OPTIONS,
    AttachedFile,
    ImageKind,
    ImagesRequest,
    SourceImage,
)
from gateway.core.types import STEERING_FIELDS
from gateway.wire.field_checks import (
    Check,
    a_boolean,
    a_model_name,
    a_string,
    an_integer,
    an_object,
    missing,
    one_of,
    unknown,
    wrong_value,
)
from gateway.wire.form_data import FormFile
from gateway.wire.image_size import read_size
from gateway.wire.source_images import MAX_IMAGES, image_from_bytes, image_from_text, image_text, too_many_images

MAX_PROMPT = 32_000
"""Characters; OpenAI's bound for the gpt-image models."""

_IMAGE_FILE = re.compile(r"(?:images?|input_image)(?:\[[0-9]*\])?|image_?[0-9]{1,2}")
_MASK_FILE = re.compile(r"mask(?:\[0?\])?")
_KNOWN = "OpenAI's Images API and of PiAPI's Flux models"

WITHHELD = (*STEERING_FIELDS, "webhook_config")
"""PiAPI's callback goes to no upstream under any configuration: it would be called on behalf of the gateway's own
key."""


def parse_images_request(
    kind: ImageKind, fields: Mapping[str, Any], files: Sequence[FormFile] = (), wordless: Container[str] = ()
) -> ImagesRequest:
    """Check an order. Null stands for an absent field.

    ``fields``: a JSON body, or a form's fields as ``form_fields.unbracket`` reads them.
    ``wordless``: the models that may be ordered without a prompt; whether the task needs one is checked with it.

    Raises ClientError 400 with ``param`` naming the field and ``code`` one of ``missing_required_parameter``,
    ``invalid_type``, ``invalid_value``, ``unknown_parameter``, ``duplicate_key``.
    """
    given = {name: value for name, value in fields.items() if not _is_absent(name, value)}
    for name, value in given.items():
        if (check := _FIELDS.get(name)) is not None:
            check(value, name)
    if "model" not in given:
        raise missing("model")
    stream = given.get("stream", False)
    partial_images = given.get("partial_images", 0)
    if partial_images and not stream:
        raise wrong_value("partial_images", "it is only allowed when 'stream' is true")
    return ImagesRequest(
        kind=kind,
        model=given["model"],
        prompt=_prompt_for(kind, given, wordless),
        n=given.get("n", 1),
        size=_size(given["size"], "size") if "size" in given else None,
        quality=given.get("quality"),
        format=given.get("response_format"),
        stream=stream,
        partial_images=partial_images,
        images=_images(kind, given, files),
        mask=_mask(kind, given, files),
        options={name: given[name] for name in OPENAI_OPTIONS if name in given},
        flux=_flux(given),
        extras={name: value for name, value in given.items() if name not in IMAGES_PARAMETERS},
        attached=tuple(
            AttachedFile(file.name, file.content_type, file.data)
            for file in files
            if _IMAGE_FILE.fullmatch(file.name) is None and _MASK_FILE.fullmatch(file.name) is None
        ),
        withheld={name: given[name] for name in WITHHELD if name in given},
    )


def _is_absent(name: str, value: Any) -> bool:
    return value is None or (type(value) is str and name not in _NEVER_BLANK and not value.strip())


def _prompt_for(kind: ImageKind, given: Mapping[str, Any], wordless: Container[str]) -> str:
    prompt: str = given.get("prompt", "")
    if prompt.strip():
        return prompt
    if kind == "variation" or given["model"] in wordless:
        return ""
    raise wrong_value("prompt", "it must not be empty") if "prompt" in given else missing("prompt")


def _images(kind: ImageKind, given: Mapping[str, Any], files: Sequence[FormFile]) -> tuple[SourceImage, ...]:
    """The files, then the images in ``image`` and ``images``, each in order."""
    sent = [file for file in files if _IMAGE_FILE.fullmatch(file.name) is not None]
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
    sent = [file for file in files if _MASK_FILE.fullmatch(file.name) is not None]
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
    return [image_text(item, param, _KNOWN) for item, param in items]


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


def _prompt(value: Any, param: str) -> None:
    a_string(value, param)
    if len(value) > MAX_PROMPT:
        raise wrong_value(param, f"it must have at most {MAX_PROMPT} characters")


def _size(value: Any, param: str) -> str | None:
    a_string(value, param)
    try:
        return read_size(value)
    except ValueError as error:
        raise wrong_value(param, str(error)) from None


def _image(value: Any, param: str) -> None:
    image_text(value, param, _KNOWN)


def _images_field(value: Any, param: str) -> None:
    if type(value) is not list:
        _image(value, param)
        return
    if len(value) > MAX_IMAGES:
        raise too_many_images(param)
    for place, item in enumerate(value):
        _image(item, f"{param}[{place}]")


def _config(value: Any, param: str) -> None:
    an_object(value, param)
    for name in value:
        if name != "service_mode":
            raise unknown(f"{param}.{name}", _KNOWN)


def _left_to_flux(value: Any, param: str) -> None:
    """Accept any value: whether it fits the task is checked in core/images/flux.py."""


FLUX_FIELDS = (
    *("task_type", "negative_prompt", "denoise", "guidance_scale", "width", "height", "steps", "seed", "batch_size"),
    *("lora_settings", "control_net_settings", "custom_settings", "outpaint", "service_mode"),
)
"""Flux's own fields, as its task API and this gateway name them."""

_FIELDS: dict[str, Check] = {
    "image": _images_field,
    "images": _images_field,
    "mask": _image,
    "model": a_model_name,
    "n": an_integer(1, MOST_IMAGES),
    "partial_images": an_integer(0),
    "prompt": _prompt,
    "quality": a_string,
    "response_format": one_of("url", "b64_json"),
    "size": a_string,
    "stream": a_boolean,
    **dict.fromkeys(FLUX_FIELDS, _left_to_flux),
    "config": _config,
}
_NEVER_BLANK = frozenset({"model", "prompt", *FLUX_FIELDS})
"""Fields that blank text says something in: PiAPI's own examples have an empty ``negative_prompt``."""

IMAGES_PARAMETERS = frozenset((*_FIELDS, *OPENAI_OPTIONS, *WITHHELD))
"""The top-level fields whose meaning is known."""
