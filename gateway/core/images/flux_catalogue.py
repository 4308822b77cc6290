"""What is known of Flux on PiAPI: models, task types, their inputs, the LoRA and ControlNet names. Facts only.

Source: PiAPI's documentation, as gateway/catalogue.yaml cites it item by item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Number = int | float
InputKind = Literal["text", "integer", "number", "image", "loras", "controls", "settings"]


@dataclass(frozen=True, slots=True)
class InputRule:
    """One input of a task. Bounds include their ends, except ``above``, which is not allowed itself."""

    kind: InputKind
    required: bool = False
    default: Number | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    above: Number | None = None
    models: tuple[str, ...] = ()
    """The models that obey it; empty for all of the task type's."""


@dataclass(frozen=True, slots=True)
class TaskType:
    """A kind of Flux task. ``loras`` and ``controls``: how many it takes, from and to."""

    models: tuple[str, ...]
    inputs: Mapping[str, InputRule]
    loras: tuple[int, int] = (0, 0)
    controls: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class FluxFacts:
    """``aliases``: a model name of ours → the task type it stands for. ``max_pixels``: width × height of a result;
    ``max_added_pixels``: what an outpaint may add in all.
    """

    models: tuple[str, ...] = ()
    task_types: Mapping[str, TaskType] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    loras: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    max_pixels: int = 0
    max_added_pixels: int = 0
