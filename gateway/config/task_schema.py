"""The shape of the file's sections on task models: a model of PiAPI's task API as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.fields import Boolean, FieldDefault, FilledText, Money, Name, Number, Positive, Section, Text, whole


class TaskFieldSection(Section):
    """One field of a task's input. A field that is not listed is refused."""

    kind: Literal["text", "integer", "number", "flag", "image", "images"] = Field(
        default="text",
        description="What it holds; `image` is a picture (a link, a data URL or base64), `images` a list of them.",
        examples=["integer"],
    )
    required: Boolean = Field(default=False, description="Whether the task cannot run without it.", examples=["true"])
    default: FieldDefault | None = Field(
        default=None, description="What is sent if the client gives nothing. Left out: nothing is.", examples=["1K"]
    )
    minimum: Number | None = Field(default=None, description="The least a number may be.", examples=["64"])
    maximum: Number | None = Field(default=None, description="The most a number may be.", examples=["4096"])
    choices: list[FilledText] = Field(
        default=[], description="All it may be. Left out: anything.", examples=['["1K", "2K", "4K"]']
    )
    most: Annotated[int, whole(1, 16, unit="pictures")] = Field(
        default=1, description="The most pictures of a list.", examples=["14"]
    )


class TaskPriceSection(Section):
    """What one picture of a task costs. A task that says itself what it cost is charged that."""

    image: Money | None = Field(
        default=None,
        description="The dearest picture: the price where nothing below says more, and what a budget then reserves.",
        examples=["0.12"],
    )
    by: FilledText | None = Field(
        default=None, description="The field whose value decides the price.", examples=["resolution"]
    )
    values: dict[str, Money] = Field(
        default={}, description="The price by that value.", examples=["{1K: 0.06, 2K: 0.08, 4K: 0.12}"]
    )
    steps: dict[Positive, Money] = Field(
        default={},
        description="The price of a picture of at most so many megapixels.",
        examples=["{0.5: 0.002, 1: 0.004, 1.5: 0.006}"],
    )
    megapixel: Money | None = Field(default=None, description="The price of each megapixel begun.", examples=["0.001"])


class TaskTypeSection(Section):
    """One task type of a model: its fields, which of them take the prompt, the pictures and the size, its price."""

    fields: dict[Name, TaskFieldSection] = Field(description="Every field of the task's `input`.")
    prompt: Text = Field(
        default="prompt",
        description="The field that takes the prompt; empty for a task without one.",
        examples=["prompt"],
    )
    pictures: list[FilledText] = Field(
        default=[], description="The fields that take the pictures sent in, in order.", examples=["[image_urls]"]
    )
    form: Literal["base64", "data_url"] = Field(
        default="base64",
        description="How a picture that came as bytes is written into them.",
        examples=["data_url"],
    )
    width: Text = Field(default="", description="The field for the width in pixels, if any.", examples=["width"])
    height: Text = Field(default="", description="The field for the height in pixels, if any.", examples=["height"])
    ratio: Text = Field(
        default="", description="The field for the shape of the picture (`16:9`), if any.", examples=["aspect_ratio"]
    )
    resolution: Text = Field(default="", description="The field for its scale (`2K`), if any.", examples=["resolution"])
    side: Annotated[int, whole(0, 16_384, unit="pixels")] = Field(
        default=0,
        description="The width and height asked for where the client names no size; 0 leaves them to PiAPI.",
        examples=["1024"],
    )
    max_pixels: Annotated[int, whole(0, unit="pixels")] = Field(
        default=0, description="The most that width × height may be; 0 for no bound.", examples=["1048576"]
    )
    scale: Text = Field(default="", description="The field by which a picture is enlarged, if any.", examples=["scale"])
    count: Text = Field(
        default="",
        description="The field for the number of pictures, if any; without it each picture is a task of its own.",
        examples=["n"],
    )
    result: list[FilledText] = Field(
        default=[],
        description="Where in the task's `data` pictures are, beside the usual places.",
        examples=["[output.cover]"],
    )
    price: TaskPriceSection = Field(default=TaskPriceSection(), description="What one picture costs.")
