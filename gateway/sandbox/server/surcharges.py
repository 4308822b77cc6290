"""What the simulated backup asks for beside plain tokens: writes to its cache, long prompts, tiers, sound, searches.

The figures are those of the providers' price pages as of 2026-11; which models have them is the sandbox's own choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Surcharges:
    """USD per 1,000,000 tokens, or a call. ``long``: tokens of input above which input and output cost so many times
    as much. ``tiers``: how many times all tokens cost. None for what costs as much as other tokens.
    """

    write: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    call: str = "0"
    long: tuple[int, str, str] | None = None
    tiers: Mapping[str, str] = field(default_factory=dict)


NONE = Surcharges()

_FAST = {"flex": "0.5", "fast": "2", "priority": "2"}
_LONG = (272_000, "2", "1.5")

MODERN: Mapping[str, tuple[str, str, str]] = {
    "gpt-6.2-sol": ("2.00", "0.10", "10.00"),
    "gpt-6-luna": ("0.10", "0.01", "0.50"),
    "gpt-audio": ("2.50", "2.50", "10.00"),
    "claude-sonnet-4-6": ("3.00", "0.30", "15.00"),
    "gemini-2.5-flash": ("0.30", "0.03", "2.50"),
}
"""USD per 1,000,000 tokens of input, cached input and output of models that have surcharges."""

_SURCHARGES: Mapping[str, Surcharges] = {
    "gpt-4o": Surcharges(tiers={"fast": "1.7", "priority": "1.7"}),
    "gpt-4.1": Surcharges(tiers={"fast": "1.75", "priority": "1.75"}),
    "gpt-4.1-mini": Surcharges(tiers={"fast": "1.75", "priority": "1.75"}),
    "gpt-6.2-sol": Surcharges("2.50", call="0.01", long=_LONG, tiers={**_FAST, "ultrafast": "6"}),
    "gpt-6-luna": Surcharges("0.125", call="0.01", long=_LONG, tiers=_FAST),
    "gpt-audio": Surcharges(audio_input="32.00", audio_output="64.00"),
    "claude-sonnet-4-6": Surcharges("3.75", call="0.01"),
    "gemini-2.5-flash": Surcharges(audio_input="1.00"),
}


def surcharges_of(model: str) -> Surcharges:
    """A dated snapshot costs what its model costs, and so does a name with its vendor's prefix."""
    model = model.rpartition("/")[2]
    names = [name for name in _SURCHARGES if model == name or model.startswith(f"{name}-20")]
    return _SURCHARGES[max(names, key=len)] if names else NONE


def tier_times(surcharges: Surcharges, tier: str) -> Decimal:
    """How many times all tokens cost; a tier the model does not have is none that the sandbox serves."""
    return Decimal(surcharges.tiers.get(tier, "1"))
