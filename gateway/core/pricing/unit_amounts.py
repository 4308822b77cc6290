"""What is billed by other units than tokens, alone or beside them: characters read aloud, seconds of a recording.

Amounts are whole nano-dollars, rounded half up once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.pricing.token_amounts import PER_MILLION, token_amount
from gateway.core.types import PICTURES, OperationName, Price, Usage

_PER_SECOND = 1000
"""Recordings are measured in milliseconds."""

_BY_TOKENS = ("input", "output")

_ENOUGH: Mapping[OperationName, Sequence[Sequence[str]]] = {
    "responses": (_BY_TOKENS,),
    "messages": (_BY_TOKENS,),
    "completions": (_BY_TOKENS,),
    "embeddings": (("input",),),
    "moderations": (("input",),),
    "speech": (("characters",), _BY_TOKENS),
    "transcriptions": (("seconds",), _BY_TOKENS),
    "translations": (("seconds",), _BY_TOKENS),
}
"""Operation → which fields of a price say together all that it can cost; the usual ones first."""


def usual_fields(operation: OperationName) -> Sequence[str]:
    """The fields by which an operation is usually priced."""
    if operation in _ENOUGH:
        return _ENOUGH[operation][0]
    return ("image",) if operation in PICTURES else _BY_TOKENS


def says_all(price: Price, operation: OperationName) -> bool:
    """Whether a price says all that relayed work can cost."""
    return any(all(getattr(price, name) is not None for name in names) for names in _ENOUGH.get(operation, ()))


def by_units(price: Price) -> bool:
    """Whether anything but tokens and images has a price."""
    return price.characters is not None or price.seconds is not None


def is_free(price: Price | None) -> bool:
    """Whether tokens are known to cost nothing, and nothing else has a price."""
    return price is not None and price.input == 0 and not (price.dearest_read or price.dearest_output or price.minimum)


def metered_amount(price: Price, usage: Usage, tier: int) -> int | None:
    """Nano-dollars for tokens, calls, characters and seconds; None if a price that is needed is not known.

    ``tier``: the factor of the service tier, which applies to tokens.
    """
    tokens = token_amount(price, usage, tier)
    units = _unit_amount(price, usage)
    return None if tokens is None or units is None else tokens + units


def most_unit_amount(price: Price, characters: int, milliseconds: int) -> int:
    """The most that so many characters and so much of a recording can come to."""
    spoken = -(-characters * (price.characters or 0) // PER_MILLION)
    return spoken - (-milliseconds * (price.seconds or 0) // _PER_SECOND)


def _unit_amount(price: Price, usage: Usage) -> int | None:
    """What has no price costs nothing beside tokens that have one, since it is the same work told twice."""
    if price.characters is None and price.seconds is None:
        counted = usage.input_tokens or usage.output_tokens
        return None if (usage.characters or usage.audio_milliseconds) and not counted else 0
    if (usage.characters and price.characters is None) or (usage.audio_milliseconds and price.seconds is None):
        return None
    spoken = (usage.characters * (price.characters or 0) + PER_MILLION // 2) // PER_MILLION
    return spoken + (usage.audio_milliseconds * (price.seconds or 0) + _PER_SECOND // 2) // _PER_SECOND
