"""An order for images → the Flux task for PiAPI. The whole order is checked before anything is bought.

Source: PiAPI's documentation, the pages that gateway/catalogue.yaml names. Fields the client leaves out are left to
PiAPI's own defaults, except the size of txt2img and the documented defaults of kontext, which are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.images.flux_catalogue import FluxFacts, InputRule
from gateway.core.images.flux_fields import bad_value, given_fields, read_image, read_number, read_text, read_words
from gateway.core.images.flux_settings import adapter_settings, outpaint_settings
from gateway.core.images.flux_sizes import task_size
from gateway.core.images.flux_task_type import KONTEXT, TEXT_TO_IMAGE, VARIATION, choose_task, short_name, sides_of
from gateway.core.images.task_order import PAINTED, Picture, TaskOrder
from gateway.core.images.types import ImagesRequest, SourceImage

REDUX_PROMPT = "A variation of this image: the same subject and style, composed anew."
"""The prompt for redux-variation, which requires one, where the client gives none."""

SHAPE_NOT_KNOWN = "size_left_to_upstream"
"""The note where Kontext cannot be told its picture's shape, since the picture is behind a link."""

_SERVICE_MODES = ("public", "private")


def flux_order(request: ImagesRequest, upstream_model: str, facts: FluxFacts) -> TaskOrder:
    """The task for ``request`` on PiAPI's model ``upstream_model``.

    Raises ClientError 400 naming the parameter that is wrong.
    """
    task_type = choose_task(request, upstream_model, facts)
    fields = given_fields(request.flux)
    task = facts.task_types[task_type]
    image = _only_image(request, fields)
    images_wanted(request, upstream_model, facts)
    source = sides_of(image)
    width, height = task_size(request.size, fields, task_type, facts, source)
    inputs: dict[str, Any] = {"prompt": _prompt(request, fields, task_type)}
    inputs |= _plain_inputs(fields, task_type, task.inputs)
    inputs |= {name: side for name, side in (("width", width), ("height", height)) if side is not None}
    inputs |= adapter_settings(fields, task_type, task, facts)
    if image is not None:
        inputs["image"] = _as_input(image, PAINTED if request.mask is not None else 0)
    if "custom_settings" in task.inputs:
        inputs["custom_settings"] = outpaint_settings(fields, *(source or (0, 0)), facts.max_added_pixels)
    return TaskOrder(
        model=upstream_model,
        task_type=task_type,
        input=inputs,
        config=_config(fields),
        batch=_largest_batch(task.inputs.get("batch_size"), upstream_model),
        size=f"{width}x{height}" if width is not None and height is not None else None,
        note=SHAPE_NOT_KNOWN if task_type == KONTEXT and (width is None or height is None) else None,
    )


def images_wanted(request: ImagesRequest, upstream_model: str, facts: FluxFacts) -> int:
    """How many images the client orders: ``n``, or Flux's own ``batch_size`` where the model has that field.

    An ``n`` of 1 cannot be told from the default, so ``batch_size`` overrides it.
    Raises ClientError 400 for a ``batch_size`` that is out of bounds, that the model does not have, or that differs
    from an ``n`` above 1.
    """
    value = given_fields(request.flux).get("batch_size")
    if value is None:
        return request.n
    rule = facts.task_types[TEXT_TO_IMAGE].inputs["batch_size"]
    if upstream_model not in rule.models:
        if value == 1:
            return request.n  # what every task makes
        able = ", ".join(map(short_name, rule.models))
        raise bad_value("batch_size", f"only {able} makes several images in one task; elsewhere say 'n'")
    batch = int(read_number(value, rule, "batch_size"))
    if request.n not in (1, batch):
        raise bad_value("batch_size", f"'n' says {request.n}, and both mean the number of images")
    return batch


def _plain_inputs(fields: Mapping[str, object], task_type: str, rules: Mapping[str, InputRule]) -> dict[str, Any]:
    """The inputs that are texts and numbers, except those handled elsewhere: prompt, sides and batch."""
    inputs: dict[str, Any] = {}
    for name, rule in rules.items():
        if name in ("prompt", "width", "height", "batch_size"):
            continue
        if rule.kind == "text" and name in fields:
            inputs[name] = read_text(fields[name], name)
        elif rule.kind in ("integer", "number") and name in fields:
            inputs[name] = read_number(fields[name], rule, name)
        elif task_type == KONTEXT and rule.default is not None:
            inputs[name] = rule.default
    return inputs


def _prompt(request: ImagesRequest, fields: Mapping[str, object], task_type: str) -> str:
    if not request.prompt and "prompt" in fields:
        return read_words(fields["prompt"], "prompt")
    if not request.prompt and task_type == VARIATION:
        return REDUX_PROMPT
    return read_words(request.prompt, "prompt")


def _only_image(request: ImagesRequest, fields: Mapping[str, object]) -> SourceImage | None:
    """The image to work on, from the request's images or from ``image`` among Flux's own fields."""
    images = list(request.images)
    if "image" in fields:
        images.append(SourceImage(url=read_image(fields["image"], "image")))
    if len(images) > 1:
        raise bad_value("image", "Flux works on one image only")
    return images[0] if images else None


def _as_input(image: SourceImage, place: int) -> Picture | str:
    return Picture(place) if image.url is None or image.data else read_image(image.url, "image")


def _config(fields: Mapping[str, object]) -> dict[str, Any]:
    mode = fields.get("service_mode")
    if mode is None:
        return {}
    if mode not in _SERVICE_MODES:
        raise bad_value("service_mode", f"it must be one of {', '.join(_SERVICE_MODES)}")
    return {"service_mode": mode}


def _largest_batch(rule: InputRule | None, upstream_model: str) -> int:
    if rule is None or upstream_model not in rule.models:
        return 1
    return int(rule.maximum or 1)
