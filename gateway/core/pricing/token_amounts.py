"""What tokens and calls cost: usage × price, in integers, rounded half up once.

Input has kinds (text, images, audio) and states (fresh, cached, written to the cache). Providers say how much there is
of each, but not which kind was cached: what was cached or written is taken from the text first, which is the cheapest,
so that no dear token passes for a cheap one. What overlaps counts once, and no count falls below zero, whatever the
provider stated.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.types import FACTOR_UNIT, PICTURES, OperationName, Price, Usage

PER_MILLION = 1_000_000

FACTOR_OF_HOUR = 1600
FACTOR_OF_12H = 2000
"""Thousandths of ``cache_write`` that longer lives in the cache cost: at Anthropic 2 times the input for an hour where
1.25 is usual, at OpenAI 2.5 times for twelve hours where 1.25 is usual."""

_UNIT = PER_MILLION * FACTOR_UNIT**3
"""Prices are by the million; the lifetime's, the length's and the tier's factor are thousandths."""

_Part = tuple[int, int | None]
"""Tokens, and the price of a million of them in thousandths of nano-dollars; None if that is not known."""


def token_amount(price: Price, usage: Usage, tier: int = FACTOR_UNIT) -> int | None:
    """Nano-dollars for the tokens and calls; None if a price that is needed is not known.

    ``tier``: the factor of the service tier.

    Calls without a price are left out: ``all_priced`` tells.
    """
    inputs, outputs = _of_inputs(price, usage), _of_outputs(price, usage)
    if inputs is None or outputs is None:
        return None
    long = price.long if price.long is not None and usage.input_tokens > price.long.above else None
    of_inputs, of_outputs = (FACTOR_UNIT, FACTOR_UNIT) if long is None else (long.input, long.output)
    total = (inputs * of_inputs + outputs * of_outputs) * tier + usage.calls * (price.call or 0) * _UNIT
    return (total + _UNIT // 2) // _UNIT


def most_token_amount(price: Price, inputs: int, outputs: int, calls: int, *, writes: int, tier: int) -> int:
    """The most, in nano-dollars, that so many tokens and calls can come to, of any kind and in any state.

    ``writes``: the factor of what is written to the cache. ``tier``: of the service tier.
    """
    dearest_input = price.dearest_read * FACTOR_UNIT
    if price.cache_write is not None and price.cache_write * writes > dearest_input:
        dearest_input = price.cache_write * writes
    dearest_output = price.dearest_output * FACTOR_UNIT
    of_inputs = of_outputs = FACTOR_UNIT
    if price.long is not None and inputs > price.long.above:
        of_inputs, of_outputs = max(of_inputs, price.long.input), max(of_outputs, price.long.output)
    total = (inputs * dearest_input * of_inputs + outputs * dearest_output * of_outputs) * tier
    return -(-(total + calls * (price.call or 0) * _UNIT) // _UNIT)


def all_priced(price: Price, usage: Usage, operation: OperationName) -> bool:
    """Whether every part of the usage has a price of its own, so that the amount is no guess.

    Without a price of their own, cached tokens and those of images sent in count as input, which is what they cost at
    most. What is written to a cache, and what is heard or spoken, is dearer wherever it has a price; so are pictures
    that a chat makes. Where tokens are free, they are free in any form.
    """
    if usage.calls and price.call is None:
        return False
    if price.input == 0 and price.output == 0:
        return True
    return not (
        (usage.cache_write_tokens and price.cache_write is None)
        or (usage.audio_input_tokens and price.audio_input is None)
        or (usage.audio_output_tokens and price.audio_output is None)
        or (usage.image_output_tokens and price.image_output is None and operation not in PICTURES)
    )


def _sum(parts: Sequence[_Part]) -> int | None:
    total = 0
    for tokens, each in parts:
        if tokens:
            if each is None:
                return None
            total += tokens * each
    return total


def _of_inputs(price: Price, usage: Usage) -> int | None:
    special = usage.image_input_tokens or usage.audio_input_tokens
    if special or usage.cached_input_tokens or usage.cache_write_tokens:
        return _sum(_input_parts(price, usage))
    if not usage.input_tokens:
        return 0
    return None if price.input is None else usage.input_tokens * price.input * FACTOR_UNIT


def _of_outputs(price: Price, usage: Usage) -> int | None:
    if usage.image_output_tokens or usage.audio_output_tokens:
        return _sum(_output_parts(price, usage))
    if not usage.output_tokens:
        return 0
    return None if price.output is None else usage.output_tokens * price.output * FACTOR_UNIT


def _input_parts(price: Price, usage: Usage) -> Sequence[_Part]:
    total = usage.input_tokens
    images = min(usage.image_input_tokens, total)
    audio = min(usage.audio_input_tokens, total - images)
    cached = min(usage.cached_input_tokens, total)
    written = min(usage.cache_write_tokens, total - cached)
    for_12h = min(usage.cache_write_12h_tokens, written)
    for_hour = min(usage.cache_write_hour_tokens, written - for_12h)
    kinds = [
        (total - images - audio, _each(price.input)),
        (images, _each(price.image_input, price.input)),
        (audio, _each(price.audio_input, price.input)),
    ]
    parts: list[_Part] = []
    for taken, own in (
        (cached, _each(price.cached_input)),
        (for_12h, _each(price.cache_write, times=FACTOR_OF_12H)),
        (for_hour, _each(price.cache_write, times=FACTOR_OF_HOUR)),
        (written - for_12h - for_hour, _each(price.cache_write)),
    ):
        for place, (left, each) in enumerate(kinds):
            if tokens := min(taken, left):
                parts.append((tokens, each if own is None else own))
                kinds[place] = (left - tokens, each)
                taken -= tokens
    return parts + kinds


def _output_parts(price: Price, usage: Usage) -> Sequence[_Part]:
    total = usage.output_tokens
    images = min(usage.image_output_tokens, total)
    audio = min(usage.audio_output_tokens, total - images)
    return [
        (total - images - audio, _each(price.output)),
        (images, _each(price.image_output, price.output)),
        (audio, _each(price.audio_output, price.output)),
    ]


def _each(own: int | None, instead: int | None = None, *, times: int = FACTOR_UNIT) -> int | None:
    each = instead if own is None else own
    return None if each is None else each * times
