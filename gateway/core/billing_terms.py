"""What decides the price of an answer beside its counts: what was asked for, and what the answer says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Lifetime = Literal["usual", "hour", "12h"]
"""How long a provider keeps what it writes into its cache: minutes, unless the request asks for more."""

USUAL_TIERS = frozenset({"default", "standard", "standard_only", "on_demand"})
"""Names of the service tier that costs the price itself: OpenAI's, Anthropic's and Groq's."""

_NAMES_NONE = frozenset({"", "auto"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for that has a price of its own.

    ``tier``: the service tier; None if it names none.
    ``calls``: searches and other work not counted in tokens that it may cause at most.
    ``lifetime``: the longest for which anything it sends is to be kept in the provider's cache.
    ``characters``: of a text that is to be read aloud. ``milliseconds``: the longest that a recording can play.
    """

    tier: str | None = None
    calls: int = 0
    lifetime: Lifetime = "usual"
    characters: int = 0
    milliseconds: int = 0


NOTHING_ASKED = Asked()


@dataclass(slots=True, unsafe_hash=True)
class Terms:
    """On which terms an answer was sold. Made anew for each, so not frozen (decision 004), and never changed.

    ``asked_tier``, ``tier``: the service tier the request asked for, and the one the answer names; None for none.
    ``model``: the model the answer names; None if it names none.
    ``unpriced``: whether something was sold beside what the usage counts.
    """

    asked_tier: str | None = None
    tier: str | None = None
    model: str | None = None
    unpriced: bool = False


USUAL_TERMS = Terms()


def named_tier(tier: str | None) -> str | None:
    """A service tier's name in lower case; None for a word that leaves the choice to the provider."""
    if tier is None or tier in USUAL_TIERS:
        return tier
    word = tier.strip().lower()
    return None if word in _NAMES_NONE else word
