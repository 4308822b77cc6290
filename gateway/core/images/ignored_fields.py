"""The fields of an order for images that the model which serves it cannot honour, to be named to the client.

A client sends OpenAI's fields to every model. What another model has no field for would otherwise be dropped in
silence: an order that is made here names it instead.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.images.gpt_image import is_gpt_image
from gateway.core.images.types import OPENAI_OPTIONS, ImagesRequest
from gateway.core.types import Target

SAID_IN_WORDS = ("transparent", "opaque")
"""The backgrounds that a model which is asked in words can be asked for."""

_NO_WISH = frozenset({"auto", "none"})
"""Values that leave the choice to the model."""

_RETIRED = frozenset({"style"})
"""What only DALL·E had; gpt-image refuses it (openai-python 3.57, types/image_generate_params.py)."""


def refused_by(model: str) -> Collection[str]:
    """Those of OpenAI's fields that a model of an Images API, as its upstream calls it, is known to refuse."""
    return _RETIRED if is_gpt_image(model) else ()


def ignored_fields(request: ImagesRequest, target: Target) -> tuple[str, ...]:
    """The names of what the client asked for and ``target`` will not do, in the order of OpenAI's documentation."""
    options, model = request.options, target.model
    if target.operation in ("images", "images_async"):
        lost = {name for name in options if name in refused_by(model)}
    else:
        lost = {name for name, value in options.items() if not _is_no_wish(value)}
        if request.quality is not None and not _is_no_wish(request.quality):
            lost.add("quality")
        if target.operation == "chat" and options.get("background") in SAID_IN_WORDS:
            lost.discard("background")
    lost -= {name for facts in target.tasks.values() for name in facts.fields}
    passed = target.upstream.pass_fields if target.operation == "images" else ()
    withheld = [name for name in request.withheld if name not in passed or name == "webhook_config"]
    return (*(name for name in ("style", "quality", *OPENAI_OPTIONS[1:]) if name in lost), *withheld)


def _is_no_wish(value: object) -> bool:
    return isinstance(value, str) and value in _NO_WISH
