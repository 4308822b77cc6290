"""The most a request can cost, before it is sent: the amount a budget reserves.

Input counts as every byte of the request, or as the model's whole context window where something is not in its bytes
(wire/most_input.py); output up to the client's bound or the model's own, images at their highest price, tokens as the
dearest kind they may turn out to be, in the dearest tier the request may get. Routing may lead to any target, so the
most expensive one counts. What an upstream states beyond it (a task's own price, a tier that was not asked for) no key
with a budget is charged (charges.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.billing_terms import NOTHING_ASKED, Asked
from gateway.core.pricing.picture_tokens import SOURCE_TOKENS, most_picture_tokens
from gateway.core.pricing.prices import upper_bound
from gateway.core.pricing.unit_amounts import says_all
from gateway.core.types import PICTURES, Price, Target

DEFAULT_MAX_OUTPUT = 32_768
"""Tokens a model is assumed to write at most if its limit is not known. Set ``max_output`` where that is wrong."""

_ROUNDED_OFF = 500_000
"""Nano-dollars. The price list of gpt-image-1's images is rounded to a tenth of a cent, its tokens are not."""

_PREVIEW = 100
"""Output tokens of a partial image (https://platform.openai.com/docs/guides/image-generation, "Streaming")."""

_FAITHFUL_SOURCE = 7000
"""Input tokens of an image sent to gpt-image-1 in high fidelity, rounded up from 129 a tile and 6240 more
(https://platform.openai.com/docs/guides/images-vision, "Calculating costs")."""


@dataclass(slots=True)
class RequestedWork:
    """The parts of a request that decide what it can cost.

    ``input_tokens``: of a chat, or of an image order's prompt.
    ``output_tokens``: of all choices together (``most_output``).
    ``subrequests``: how many images each subrequest of the exchange brings; 1 for a chat that image targets may serve.
    ``sources``: images sent in, the mask among them.
    ``faithful``: whether the images sent in are read in high fidelity.
    ``previews``: partial images of each image.
    ``quality``, ``size``: of the images; None if left to the upstream.
    ``asked``: what it asks for beside tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    subrequests: Sequence[int] = (1,)
    sources: int = 0
    faithful: bool = False
    previews: int = 0
    quality: str | None = None
    size: str | None = None
    asked: Asked = NOTHING_ASKED


def most_output(asked: int | None, limit: int | None, choices: int = 1, beside: int = 0) -> int:
    """The most output tokens of a chat.

    ``asked``: the client's bound for each choice; None without one.
    ``limit``: what the model can write; None if that is not known.
    ``beside``: tokens of thinking that may come on top of the client's bound.
    """
    if asked is None:
        return choices * (DEFAULT_MAX_OUTPUT if limit is None else limit)
    each = asked + beside
    return choices * (each if limit is None else min(each, limit))


def cost_bound(targets: Sequence[Target], asked: RequestedWork) -> int | None:
    """Nano-dollars the request can cost at most; None if the price of any target is unknown.

    Each subrequest is served by one target, and paid for once.
    """
    if len(targets) == 1 and targets[0].operation == "chat":
        return _subrequest(targets[0], asked, 1) * len(asked.subrequests) if _is_priced(targets[0]) else None
    if not all(map(_is_priced, targets)):
        return None
    return sum(
        [max([_subrequest(target, asked, images) for target in targets], default=0) for images in asked.subrequests]
    )


def _is_priced(target: Target) -> bool:
    """Whether everything the target may bill has a price. Tokens need a price both for input and for output."""
    price = target.price
    if price is None:
        return False
    if target.operation != "chat" and target.operation not in PICTURES:
        return says_all(price, target.operation)
    if target.operation == "chat" and price.image is not None:
        return True
    if price.input is not None or price.output is not None:
        return price.input is not None and price.output is not None
    return target.operation != "chat" and (price.image is not None or bool(price.table))


def _subrequest(target: Target, asked: RequestedWork, images: int) -> int:
    """What one subrequest costs at most if ``target``, whose price is known, serves it."""
    price = target.price
    assert price is not None
    if target.operation not in PICTURES:
        return upper_bound(price, asked.input_tokens, asked.output_tokens, asked=asked.asked)
    listed = 0
    if price.image is not None or price.table:
        listed = upper_bound(price, 0, 0, images, operation=target.operation, quality=asked.quality, size=asked.size)
    return listed + _tokens_of_images(price, asked, images)


def _tokens_of_images(price: Price, asked: RequestedWork, images: int) -> int:
    """What an Images API that bills by tokens can add to its price list, or bill instead of one."""
    if price.output is None:
        return 0
    faithful = asked.faithful and not price.picture_tokens
    inputs = asked.input_tokens + asked.sources * (_FAITHFUL_SOURCE if faithful else SOURCE_TOKENS)
    each = 0 if price.table else most_picture_tokens(price.picture_tokens, asked.size)
    outputs = images * (asked.previews * _PREVIEW + each)
    return upper_bound(price, inputs, outputs, 0, operation="images") + (images * _ROUNDED_OFF if price.table else 0)
