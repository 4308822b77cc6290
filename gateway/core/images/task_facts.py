"""The facts about one task type of PiAPI's task API, as data: its fields, which of them take what, its price.

The built-in ones are in gateway/catalogue.yaml, each with its source; a configuration may add others, without code. An
order is made of them in gateway/core/images/task_model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FieldKind = Literal["text", "integer", "number", "flag", "image", "images"]
PictureForm = Literal["base64", "data_url"]

PIXELS_OF_A_MEGAPIXEL = 1_000_000
"""PiAPI does not say whether it counts 1,000,000 or 1,048,576; the smaller number makes the higher price."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """The rule for one field of a task's input.

    ``default``: what is sent where the client gives nothing; None leaves it to PiAPI.
    ``minimum``, ``maximum``: of a number, both included.
    ``choices``: the texts it may be; empty for any.
    ``most``: pictures of a field of the kind ``images``.
    """

    kind: FieldKind = "text"
    required: bool = False
    default: str | int | float | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[str, ...] = ()
    most: int = 1


@dataclass(frozen=True, slots=True)
class TaskPrice:
    """What one picture of a task costs, in nano-dollars.

    ``image``: the dearest one, and the price where nothing below says more; None if that is not known.
    ``by``, ``values``: a field of the input, and the price for each of its values.
    ``steps``: megapixels → the price of a picture of at most so many, in ascending order.
    ``megapixel``: a price for each megapixel begun.
    """

    image: int | None = None
    by: str = ""
    values: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[tuple[float, int], ...] = ()
    megapixel: int | None = None


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One task type.

    ``fields``: every field of its input.
    ``prompt``: the field that takes the prompt; empty for a task without one.
    ``pictures``: the fields that take the pictures to work on, in order.
    ``form``: how a picture that is sent as bytes is written into them.
    ``width``, ``height``: the fields that take a size in pixels; ``ratio``, ``resolution``: those that take its shape
        (``16:9``) and its scale (``2K``). Empty for what the task does not take.
    ``side``: pixels of both sides where the client names no size; 0 leaves the size to PiAPI.
    ``max_pixels``: the most that width × height may be; 0 for no bound that is known.
    ``scale``: the field by which a picture is enlarged.
    ``count``: the field that takes the number of pictures; empty where a task makes one.
    ``result``: paths within the task's ``data`` where pictures are (``output.image``), beside the usual places.
    """

    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    prompt: str = "prompt"
    pictures: tuple[str, ...] = ()
    form: PictureForm = "base64"
    width: str = ""
    height: str = ""
    ratio: str = ""
    resolution: str = ""
    side: int = 0
    max_pixels: int = 0
    scale: str = ""
    count: str = ""
    result: tuple[str, ...] = ()
    price: TaskPrice = TaskPrice()

    @property
    def works_on_pictures(self) -> bool:
        """Whether it cannot run without a picture."""
        return any(self.fields[name].required for name in self.pictures)
