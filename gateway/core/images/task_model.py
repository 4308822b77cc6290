"""An order for images → the task of a model that is described as data (``TaskFacts``), checked before it is bought.

Order = f(facts, request). What the task's fields cannot take is a 400 that names the field and the nearest names; what
OpenAI's Images API has and the task has not (style, quality, …) is left out and named.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.flux_catalogue import InputRule
from gateway.core.images.flux_fields import (
    bad_type,
    bad_value,
    given_fields,
    missing_field,
    read_flag,
    read_image,
    read_number,
    read_text,
    read_words,
)
from gateway.core.images.task_facts import PIXELS_OF_A_MEGAPIXEL, FieldRule, TaskFacts, TaskPrice
from gateway.core.images.task_order import Picture, TaskOrder
from gateway.core.images.task_sizes import size_fields
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.core.types import Price, Target

Tasks = Mapping[str, TaskFacts]
"""Task type → its facts: the whole of a task model."""

VARIATION_PROMPT = "A variation of this image: the same subject and style, composed anew."

_FOR_ANY_TASK = ("task_type", "service_mode")
_SERVICE_MODES = ("public", "private")


def order_name(target: Target) -> str:
    """The name of a target's order among those of one request: PiAPI's models share names (``gemini``)."""
    return " ".join((target.model, *target.tasks))


def task_order(request: ImagesRequest, model: str, tasks: Tasks) -> TaskOrder:
    """The task for ``request``. ``model``: PiAPI's name. Raises ClientError 400 naming the parameter at fault."""
    given = given_fields(request.flux)
    task_type = choose_task_type(request, given, tasks)
    facts = tasks[task_type]
    _check_names(given, task_type, tasks)
    openai = _openai_fields(request)
    given |= {name: value for name, value in openai.items() if name in facts.fields and name not in given}
    inputs = _pictures(request, given, facts)
    inputs |= _prompt(request, given, facts)
    source = request.images[0] if request.images else None
    inputs |= size_fields(request.size, given, facts, source)
    for name, rule in facts.fields.items():
        if name in given and name not in inputs and name not in (*facts.pictures, facts.count):
            inputs[name] = _read(given[name], rule, name)
        if name not in inputs and rule.default is not None and name != facts.count:
            inputs[name] = rule.default
        if name not in inputs and rule.required:
            raise missing_field(name, f"'{task_type}' needs it.")
    _check_pixels(inputs, facts)
    width, height = inputs.get(facts.width), inputs.get(facts.height)
    return TaskOrder(
        model=model,
        task_type=task_type,
        input=inputs,
        config=_config(given),
        batch=_largest_batch(facts),
        size=f"{width}x{height}" if width and height else None,
        count=facts.count or "batch_size",
        results=facts.result,
        each=price_each(facts, inputs, source),
        note="ignored: prompt" if request.prompt and not facts.prompt else None,
    )


def choose_task_type(request: ImagesRequest, given: Mapping[str, Any], tasks: Tasks) -> str:
    """The client's own ``task_type``; else the first that takes pictures if any came, and needs none if not, and that
    has all the fields that came, if there is one. Raises ClientError 400 for a type that the model does not do.
    """
    asked = given.get("task_type")
    if asked is not None:
        if type(asked) is not str:
            raise bad_type("task_type", "a string")
        if asked not in tasks:
            near = get_close_matches(asked, tasks, n=3) or list(tasks)
            raise bad_value("task_type", f"'{shorten(asked)}' is not known here; there is: {', '.join(near)}")
        return asked
    with_pictures = bool(request.images) or any(name in given for facts in tasks.values() for name in facts.pictures)
    fitting = [
        name
        for name, facts in tasks.items()
        if (bool(facts.pictures) if with_pictures else not facts.works_on_pictures)
    ] or list(tasks)
    taking = (name for name in fitting if given.keys() <= {*tasks[name].fields, *_FOR_ANY_TASK})
    return next(taking, fitting[0])


def images_ordered(request: ImagesRequest, tasks: Tasks) -> int:
    """How many images the client orders: ``n``, or the task's own field for it.

    Raises ClientError 400 for a number out of bounds, or one that differs from an ``n`` above 1.
    """
    given = given_fields(request.flux)
    facts = tasks[choose_task_type(request, given, tasks)]
    if not facts.count or facts.count not in given:
        return request.n
    count = int(_read(given[facts.count], facts.fields[facts.count], facts.count))
    if request.n not in (1, count):
        raise bad_value(facts.count, f"'n' says {request.n}, and both mean the number of images")
    return count


def price_each(facts: TaskFacts, inputs: Mapping[str, Any], source: SourceImage | None = None) -> int | None:
    """Nano-dollars of one picture of the task, the dearest where the input does not tell; None if no price is known.

    ``source``: the picture that is worked on, where its bytes are known.
    """
    price = facts.price
    dearest = _dearest(price)
    if price.by:
        return price.values.get(str(inputs.get(price.by)), dearest)
    pixels = _pixels(facts, inputs, source)
    if pixels is None:
        return dearest
    megapixels = pixels / PIXELS_OF_A_MEGAPIXEL
    for most, amount in price.steps:
        if megapixels <= most:
            return amount
    if price.megapixel is not None:
        return math.ceil(megapixels) * price.megapixel
    return dearest


def dearest_price(tasks: Tasks) -> int | None:
    """Nano-dollars of the dearest picture of any of the types; None where one has no price."""
    prices = [_dearest(facts.price) for facts in tasks.values()]
    return None if None in prices else max((price for price in prices if price is not None), default=None)


def priced(target: Target, each: int | None) -> Target:
    """The target at the price of one order. ``each``: nano-dollars of a picture; None leaves the target's own."""
    if each is None:
        return target
    return replace(target, price=replace(target.price or Price(), image=each))


def _dearest(price: TaskPrice) -> int | None:
    known = (price.image, *price.values.values(), *(each for _, each in price.steps))
    return max((amount for amount in known if amount is not None), default=None)


def _pixels(facts: TaskFacts, inputs: Mapping[str, Any], source: SourceImage | None) -> int | None:
    """Pixels of the picture that comes; None where they cannot be told."""
    width, height = inputs.get(facts.width), inputs.get(facts.height)
    if type(width) is int and type(height) is int:
        return width * height
    if facts.scale and source is not None and source.width:
        times = inputs.get(facts.scale)
        return source.width * source.height * times * times if type(times) is int else None
    return None


def _check_names(given: Mapping[str, Any], task_type: str, tasks: Tasks) -> None:
    own = (*tasks[task_type].fields, *_FOR_ANY_TASK)
    for name in given:
        if name in own:
            continue
        takers = [other for other, facts in tasks.items() if name in facts.fields]
        if takers:
            raise bad_value(name, f"'{task_type}' does not take it; {', '.join(takers)} would")
        raise _unknown(name, own)


def _unknown(name: str, known: Collection[str]) -> ClientError:
    shown = shorten(name)
    near = get_close_matches(shown, known, n=3)
    advice = f"Near it: {', '.join(near)}." if near else f"There are: {', '.join(known)}."
    return invalid_request(f"Unknown parameter: '{shown}'. {advice}", param=shown, code="unknown_parameter")


def _openai_fields(request: ImagesRequest) -> dict[str, Any]:
    """What OpenAI's Images API has beside prompt, size and pictures, as far as the client gave it."""
    fields = {"quality": request.quality, **request.options}
    return {name: value for name, value in fields.items() if value is not None}


def _prompt(request: ImagesRequest, given: Mapping[str, Any], facts: TaskFacts) -> dict[str, Any]:
    if not facts.prompt:
        return {}
    text = request.prompt or given.get(facts.prompt)
    if not text and request.kind == "variation":
        text = VARIATION_PROMPT
    if not text and not facts.fields[facts.prompt].required:
        return {}
    return {facts.prompt: read_words(text or "", facts.prompt)}


def _pictures(request: ImagesRequest, given: Mapping[str, Any], facts: TaskFacts) -> dict[str, Any]:
    """The pictures in their fields: those the client put there itself, then the others in order."""
    if request.mask is not None:
        raise bad_value("mask", "this task takes no mask")
    left = [_written(image, place, facts) for place, image in enumerate(request.images)]
    found: dict[str, Any] = {}
    for name in facts.pictures:
        rule, own = facts.fields[name], given.get(name, [])
        placed: list[str | Picture] = [_link(one, facts, name) for one in (own if type(own) is list else [own])]
        room = max(0, rule.most - len(placed))
        placed, left = [*placed, *left[:room]], left[room:]
        if len(placed) > rule.most:
            raise bad_value(name, f"at most {rule.most} of them can be sent")
        if placed:
            found[name] = placed[0] if rule.kind == "image" else placed
        elif rule.required:
            raise missing_field("image" if name == facts.pictures[0] else name, "The task works on a picture.")
    if left:
        most = sum(facts.fields[name].most for name in facts.pictures)
        raise bad_value("image", f"this task works on at most {most} pictures" if most else "this task takes none")
    return found


def _written(image: SourceImage, place: int, facts: TaskFacts) -> str | Picture:
    if image.url is not None and not image.data:
        return _link(image.url, facts, "image")
    return Picture(place, "base64" if facts.form == "base64" else "url")


def _link(value: object, facts: TaskFacts, param: str) -> str:
    """A picture's text as the task's field has it."""
    text = read_image(value, param)
    if facts.form == "base64" or text[:4].lower() == "http":
        return text
    written = str(value).strip()
    return written if written[:5].lower() == "data:" else f"data:image/png;base64,{text}"


def _read(value: object, rule: FieldRule, param: str) -> Any:
    if rule.kind == "flag":
        return read_flag(value, param)
    if rule.kind in ("integer", "number"):
        number = read_number(
            value,
            InputRule("integer" if rule.kind == "integer" else "number", minimum=rule.minimum, maximum=rule.maximum),
            param,
        )
        if rule.choices and str(number) not in rule.choices:
            raise bad_value(param, f"it must be one of {', '.join(rule.choices)}")
        return number
    text = read_text(value, param)
    if rule.choices and text not in rule.choices:
        near = get_close_matches(text, rule.choices, n=3, cutoff=0.5)
        also = f"; near it: {', '.join(near)}" if near else ""
        raise bad_value(param, f"it must be one of {', '.join(rule.choices)}{also}")
    return text


def _check_pixels(inputs: Mapping[str, Any], facts: TaskFacts) -> None:
    width, height = inputs.get(facts.width), inputs.get(facts.height)
    if facts.max_pixels and type(width) is int and type(height) is int and width * height > facts.max_pixels:
        raise bad_value(facts.width, f"{width} x {height} is more than the {facts.max_pixels} pixels of this task")


def _largest_batch(facts: TaskFacts) -> int:
    rule = facts.fields.get(facts.count)
    return int(rule.maximum or 1) if rule is not None else 1


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    mode = given.get("service_mode")
    if mode is None:
        return {}
    if mode not in _SERVICE_MODES:
        raise bad_value("service_mode", f"it must be one of {', '.join(_SERVICE_MODES)}")
    return {"service_mode": mode}


def needs_no_words(tasks: Tasks, given: Mapping[str, Any]) -> bool:
    """Whether an order may be complete without a prompt: the task type that was asked for, or any, takes none."""
    asked = tasks.get(str(given.get("task_type")))
    return not asked.prompt if asked is not None else any(not facts.prompt for facts in tasks.values())
