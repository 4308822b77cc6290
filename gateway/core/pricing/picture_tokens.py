"""The output tokens of one picture that is billed by tokens, by OpenAI's formula for gpt-image-2 and later.

    f: the factor of a quality        s = (2 · f · short + long) // (2 · long)
    tokens = ceil(f · s · (2,000,000 + width · height) / 4,000,000)

Source: community.openai.com thread 1382699 (2026-06-05); it reproduces usages that were reported. What a quality's
factor is differs from model to model (``Price.picture_tokens``); 96 is the dearest of all that are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.core.types import Price, Usage

DEAREST_FACTOR = 96

_LONGEST_SIDE = 3840
_MOST_OBLONG = 3
_FEWEST_PIXELS, _MOST_PIXELS = 655_360, 8_294_400
"""What a size may be at OpenAI: sides in steps of 16 pixels, at most so long, so oblong, and of so many pixels."""

DEAREST_SIZE = (2880, 2880)
"""The legal size with the most tokens, found by trying all: 23,719 of them at the dearest factor."""

_LARGEST_OF_1_X = 6240
"""Output tokens of the dearest picture of gpt-image-1 and 1.5 (https://platform.openai.com/docs/guides/image-generation,
"Cost and latency"): more than the formula has for that size."""

SOURCE_TOKENS = 1536
"""Input tokens of an image sent in, at most, of gpt-image-2 and later, and of gpt-image-1 in low fidelity; usages that
were reported have 352 to 1,450."""

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)


def picture_tokens(factor: int, width: int, height: int) -> int:
    """The formula. ``factor``: of the quality. ``width``, ``height``: pixels."""
    short, long = sorted((width, height))
    share = (2 * factor * short + long) // (2 * long)
    return -(-factor * share * (2_000_000 + width * height) // 4_000_000)


def most_picture_tokens(factors: Mapping[str, int], size: str | None) -> int:
    """The most output tokens of one picture at any quality.

    ``factors``: ``Price.picture_tokens``; empty for a model of which nothing is known, perhaps an old one.
    ``size``: ``WIDTHxHEIGHT``; ``auto``, None or another word for one that is not known.
    """
    factor = max(DEAREST_FACTOR, *factors.values()) if factors else DEAREST_FACTOR
    tokens = picture_tokens(factor, *_sides(size))
    return tokens if factors else max(tokens, _LARGEST_OF_1_X)


def bounded_picture_tokens(factors: Mapping[str, int], quality: str | None, size: str | None) -> int:
    """The output tokens of one picture of this quality and size, for a bill that was not told: never too few, as far as
    the model's factors hold. A quality that is not known counts as the dearest of the model's.
    """
    if not factors:
        return most_picture_tokens(factors, size)
    return picture_tokens(factors.get(quality or "") or max(factors.values()), *_sides(size))


def bounded_usage(
    price: Price | None, images: int, *, quality: str | None, size: str | None, prompt_bytes: int, sources: int
) -> Usage:
    """What ``images`` pictures took at most, where the upstream did not tell: marked as estimated.

    ``quality``, ``size``: as they were asked for; None for what was left to the upstream.
    ``prompt_bytes``: a token is at least one byte. ``sources``: pictures sent in, the mask among them.
    """
    each = bounded_picture_tokens(price.picture_tokens if price is not None else {}, quality, size)
    of_sources = sources * SOURCE_TOKENS
    return Usage(
        input_tokens=prompt_bytes + of_sources,
        output_tokens=images * each,
        images=images,
        confidence="estimated",
        image_input_tokens=of_sources,
        image_output_tokens=images * each,
    )


def _sides(size: str | None) -> tuple[int, int]:
    """The sides of a legal size; of any other, which an upstream may change, those of the dearest."""
    match = _SIZE.fullmatch(size or "")
    if match is None:
        return DEAREST_SIZE
    short, long = sorted((int(match[1]), int(match[2])))
    legal = (
        short % 16 == long % 16 == 0
        and long <= min(_LONGEST_SIDE, _MOST_OBLONG * short)
        and _FEWEST_PIXELS <= short * long <= _MOST_PIXELS
    )
    return (short, long) if legal else DEAREST_SIZE
