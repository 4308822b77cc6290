"""The choice of the Flux task type that serves an order for images.

The client's own ``task_type`` comes first, then the task that the model's name stands for (flux-kontext), then the
fields sent beside the prompt. A field that the chosen task does not use is refused by name: otherwise the client would
pay for a result that ignores it. Source: PiAPI's documentation, as gateway/catalogue.yaml cites it; the order of the
hints is the gateway's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway.core.errors import ClientError, shorten
from gateway.core.images.flux_catalogue import FluxFacts, TaskType
from gateway.core.images.flux_fields import bad_type, bad_value, given_fields, missing_field, unknown_field
from gateway.core.images.types import ImagesRequest, SourceImage

TEXT_TO_IMAGE = "txt2img"
KONTEXT = "kontext"
INPAINT = "fill-inpaint"
VARIATION = "redux-variation"

_HINTS_WITHOUT_IMAGE = (
    ("control_net_settings", "controlnet-lora"),
    ("lora_settings", "txt2img-lora"),
)
_HINTS_WITH_IMAGE = (
    ("mask", INPAINT),
    ("outpaint", "fill-outpaint"),
    ("custom_settings", "fill-outpaint"),
    ("control_net_settings", "controlnet-lora"),
    ("lora_settings", "img2img-lora"),
    ("denoise", "img2img"),
)
"""A field that was sent → the task that uses it; the first match decides."""

_AS_FILES = "with a mask, send the image and the mask as files, not as links, so that one can be laid on the other"
_FOR_ANY_TASK = ("task_type", "service_mode")
_SHORT_FOR = {"outpaint": "custom_settings"}
"""The gateway's own field → the input it becomes."""


def choose_task(request: ImagesRequest, upstream_model: str, facts: FluxFacts) -> str:
    """The task type for ``request`` on PiAPI's model ``upstream_model``.

    Raises ClientError 400 naming the parameter that cannot be met: a task the model does not do, an unknown task type
    or field, a field or an image the task does not use, a missing image, or a mask that cannot be painted because it or
    its image is only a link.
    """
    if upstream_model not in facts.models:
        raise bad_value("model", f"'{shorten(upstream_model)}' is not a Flux model that is known here")
    fields = given_fields(request.flux)
    known = known_fields(facts)
    for name in fields:
        if name not in known:
            raise unknown_field(name, known)
    task_type, asked_by = _wanted(request, fields, upstream_model, facts)
    task = facts.task_types[task_type]
    if upstream_model not in task.models:
        rule = f"'{task_type}' cannot be done by '{short_name(upstream_model)}', but by {_named(task.models)}"
        raise bad_value(asked_by, rule)
    _check_images(request, fields, task_type, task)
    source = sides_of(request.images[0] if request.images else None)
    for name, value in fields.items():
        if _SHORT_FOR.get(name, name) in (*task.inputs, *_FOR_ANY_TASK):
            continue
        if not is_sources_own(name, value, source):
            raise _useless(name, task_type, facts)
    return task_type


def sides_of(image: SourceImage | None) -> tuple[int, int] | None:
    """Width and height of an image sent in; None without one, and if they are not known (links)."""
    return (image.width, image.height) if image is not None and image.width and image.height else None


def is_sources_own(side: str, value: object, source: tuple[int, int] | None) -> bool:
    """Whether ``width`` or ``height``, whichever ``side`` names, is that of the image a task works on."""
    if source is None or side not in ("width", "height"):
        return False
    own = source[side == "height"]
    return value in (own, str(own))


def known_fields(facts: FluxFacts) -> tuple[str, ...]:
    """Every Flux field a client may send, for any of the tasks."""
    inputs = (name for task in facts.task_types.values() for name in task.inputs)
    return tuple(dict.fromkeys((*inputs, *_SHORT_FOR, *_FOR_ANY_TASK)))


def short_name(model: str) -> str:
    """PiAPI's name of a model in the catalogue's short form: Qubico/flux1-dev → flux-dev."""
    return model.rpartition("/")[2].replace("flux1-", "flux-")


def _wanted(
    request: ImagesRequest, fields: Mapping[str, object], upstream_model: str, facts: FluxFacts
) -> tuple[str, str]:
    """The task type, one of the catalogue's, and the parameter that asked for it."""
    explicit = fields.get("task_type")
    if explicit is not None:
        if not isinstance(explicit, str):
            raise bad_type("task_type", "a string")
        if explicit not in facts.task_types:
            raise bad_value("task_type", f"'{shorten(explicit)}' is not one of {', '.join(facts.task_types)}")
        return explicit, "task_type"
    if request.kind == "variation":
        return VARIATION, "model"
    alias = facts.aliases.get(request.model)
    if alias is not None:
        return alias, "model"
    with_image = request.kind == "edit" or bool(request.images) or "image" in fields
    came = {*fields, *(("mask",) if request.mask is not None else ())}
    for name, task_type in _HINTS_WITH_IMAGE if with_image else _HINTS_WITHOUT_IMAGE:
        if name in came:
            return task_type, name
    if not with_image:
        return TEXT_TO_IMAGE, "model"
    kontext = facts.task_types[KONTEXT]
    fits = upstream_model in kontext.models and all(name in (*kontext.inputs, *_FOR_ANY_TASK) for name in fields)
    return (KONTEXT if fits else "img2img"), "model"


def _check_images(request: ImagesRequest, fields: Mapping[str, object], task_type: str, task: TaskType) -> None:
    if request.mask is not None and task_type != INPAINT:
        raise bad_value("mask", f"'{task_type}' takes no mask; '{INPAINT}' does")
    rule = task.inputs.get("image")
    if rule is None:
        if request.images:
            raise bad_value("image", f"'{task_type}' takes no image")
    elif rule.required and not request.images and "image" not in fields:
        raise missing_field("image", f"'{task_type}' works on an image.")
    # A mask is painted into its image here, so the bytes of both are needed.
    if request.mask is not None and not request.mask.data:
        raise bad_value("mask", _AS_FILES)
    if request.mask is not None and not (request.images and request.images[0].data):
        raise bad_value("image", _AS_FILES)


def _useless(field: str, task_type: str, facts: FluxFacts) -> ClientError:
    takers = [name for name, task in facts.task_types.items() if _SHORT_FOR.get(field, field) in task.inputs]
    return bad_value(field, f"'{task_type}' does not take it; {', '.join(takers)} would")


def _named(models: Collection[str]) -> str:
    return " or ".join(f"'{short_name(model)}' ({model})" for model in models)
