"""The facts about Flux on PiAPI: models, task types, their inputs, the LoRA and ControlNet names.

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
    """The rule for one input of a task. Bounds include their ends, except ``above``, which excludes its own value."""

    kind: InputKind
    required: bool = False
    default: Number | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    above: Number | None = None
    models: tuple[str, ...] = ()
    """The models that have this input; empty for all models of the task type."""


@dataclass(frozen=True, slots=True)
class TaskType:
    """A kind of Flux task.

    ``loras``, ``controls``: the fewest and the most of each that the task takes.
    """

    models: tuple[str, ...]
    inputs: Mapping[str, InputRule]
    loras: tuple[int, int] = (0, 0)
    controls: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class FluxFacts:
    """Everything the catalogue says about Flux.

    ``aliases``: a model name of the gateway's → the task type it stands for.
    ``max_pixels``: the largest width × height of a result.
    ``max_added_pixels``: the most pixels an outpaint may add in all.
    """

    models: tuple[str, ...] = ()
    task_types: Mapping[str, TaskType] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    loras: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    max_pixels: int = 0
    max_added_pixels: int = 0
