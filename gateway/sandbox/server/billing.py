"""The prices of the simulated providers, and what a sale costs by them: the gateway's ledger is held against it.

The sandbox bills what it delivered. Tokens: the whole prompt and the completion tokens sent, once a token was sent.
Images: an answer whose image was sent, or a whole answer without one. A task is billed when it is done, on the request
that created it. An answer that never came costs nothing, unless the scenario says ``bought=1``: then the provider did
the work, and bills it whole although it was not delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from gateway.sandbox.server.surcharges import MODERN, NONE, surcharges_of, tier_times
from gateway.sandbox.wire.answers import Role, Sale

NANO_PER_USD = 1_000_000_000
POINTS_PER_USD = 10_000_000  # consume 20000 is $0.002 (PiAPI's documentation and price page)

# USD per 1,000,000 tokens: input, cached input, output. PiAPI's page names no price for cached input.
_PIAPI: Mapping[str, tuple[str, str, str]] = {
    "gpt-4o": ("1.875", "1.875", "7.50"),
    "gpt-4o-mini": ("0.1125", "0.1125", "0.45"),
    "gpt-4.1": ("1.50", "1.50", "6.00"),
    "gpt-4.1-mini": ("0.30", "0.30", "1.20"),
    "gpt-4.1-nano": ("0.075", "0.075", "0.30"),
    "claude-3-7-sonnet-20250219": ("2.25", "2.25", "11.25"),
    "claude-sonnet-4-20250514": ("2.25", "2.25", "11.25"),
    "gpt-3.5-turbo-instruct": ("1.50", "1.50", "2.00"),
    "gpt-image-1": ("5.00", "1.25", "40.00"),
    "gpt-image-2": ("5.00", "1.25", "30.00"),
    "gpt-image-2.5-flare": ("3.75", "3.75", "22.50"),
    "gpt-image-2.5-sunburst": ("3.75", "3.75", "22.50"),
}
_BACKUP: Mapping[str, tuple[str, str, str]] = {
    "gpt-4o": ("2.50", "1.25", "10.00"),
    "gpt-4o-mini": ("0.15", "0.075", "0.60"),
    "gpt-4.1": ("2.00", "0.50", "8.00"),
    "gpt-4.1-mini": ("0.40", "0.10", "1.60"),
    "gpt-4.1-nano": ("0.10", "0.025", "0.40"),
    "claude-3-7-sonnet-20250219": ("3.00", "0.30", "15.00"),
    "claude-sonnet-4-20250514": ("3.00", "0.30", "15.00"),
    "gpt-3.5-turbo-instruct": ("1.50", "1.50", "2.00"),
    "gpt-image-1": ("5.00", "1.25", "40.00"),
    "gpt-image-2": ("5.00", "1.25", "30.00"),
    "gpt-image-2.5-flare": ("5.00", "1.25", "30.00"),
    "gpt-image-2.5-sunburst": ("5.00", "1.25", "30.00"),
    "gpt-image-2.6-flare": ("5.00", "1.25", "30.00"),
    "gpt-image-2.6-sunburst": ("5.00", "1.25", "30.00"),
}
# USD per 1,000,000 tokens of images sent in: of gpt-image-1, of later models, and of those PiAPI sells asynchronously.
_IMAGE_INPUT, _LATER_IMAGE_INPUT, _ASYNC_IMAGE_INPUT = "10.00", "8.00", "6.00"
# How many times the usual price a write to the cache costs that is kept so long.
_LIFETIMES = {"30m": Decimal(1), "1h": Decimal("1.6"), "12h": Decimal(2)}
# USD an answer.
_CHAT_IMAGE, _CHAT_NO_IMAGE = "0.02", "0.00066"


@dataclass(frozen=True, slots=True)
class BillLine:
    """One sale on the bill.

    ``amount``: nano-dollars, None for a model without a known price. ``whole``: delivered whole. ``request_id`` is the
    answer's ``x-request-id``; ``number`` is the request's place in ``Sandbox.requests``.
    """

    number: int
    request_id: str
    role: Role
    key: str = field(repr=False)
    model: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    images: int
    amount: int | None
    whole: bool


def token_prices(role: Role, model: str) -> tuple[str, str, str] | None:
    """Prices of input, cached input and output, or None. A dated snapshot costs what its model costs, and so does a
    name with its vendor's prefix.
    """
    model = model.rpartition("/")[2]
    table = {**MODERN, **_BACKUP} if role == "backup" else _PIAPI
    names = [name for name in table if model == name or model.startswith(f"{name}-20")]
    return table[max(names, key=len)] if names else None


def sale_amount(role: Role, sale: Sale, output_tokens: int, images: int) -> int | None:
    """Nano-dollars for what was delivered of a sale, rounded half up once."""
    if sale.flat:
        dollars = _flat(sale, images)
        return None if dollars is None else int(dollars * NANO_PER_USD)
    prices = token_prices(role, sale.model)
    if prices is None:
        return None
    fresh, cached, output, image_input = (Decimal(price) for price in (*prices, _image_input(role, sale.model)))
    extra = surcharges_of(sale.model) if role == "backup" else NONE
    text_tokens = sale.input_tokens - sale.image_tokens - sale.audio_tokens
    cached_images = max(0, sale.cached_tokens - text_tokens)  # of the cached tokens, text comes first
    fresh_tokens = text_tokens - (sale.cached_tokens - cached_images) - sale.written_tokens
    inputs = fresh_tokens * fresh + sale.cached_tokens * cached + (sale.image_tokens - cached_images) * image_input
    inputs += sale.audio_tokens * Decimal(extra.audio_input or prices[0])
    inputs += sale.written_tokens * Decimal(extra.write or prices[0]) * _LIFETIMES[sale.lifetime]
    spoken = min(sale.spoken_tokens, output_tokens)
    outputs = (output_tokens - spoken) * output + spoken * Decimal(extra.audio_output or prices[2])
    if extra.long is not None and sale.input_tokens > extra.long[0]:
        inputs, outputs = inputs * Decimal(extra.long[1]), outputs * Decimal(extra.long[2])
    nano = (inputs + outputs) * tier_times(extra, sale.tier) * (NANO_PER_USD // 1_000_000)
    total = nano + sale.calls * Decimal(extra.call) * NANO_PER_USD
    return int(total.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _image_input(role: Role, model: str) -> str:
    if not model.startswith("gpt-image-2"):
        return _IMAGE_INPUT
    return _ASYNC_IMAGE_INPUT if role != "backup" and model.startswith("gpt-image-2.5") else _LATER_IMAGE_INPUT


def _flat(sale: Sale, images: int) -> Decimal | None:
    if sale.nano is not None:
        return Decimal(sale.nano) / NANO_PER_USD
    if sale.points is not None:
        return Decimal(sale.points) / POINTS_PER_USD
    if sale.model.startswith("gpt-4o-image"):
        return Decimal(_CHAT_IMAGE if images else _CHAT_NO_IMAGE)
    return None
