"""The output tokens of a simulated gpt-image picture.

gpt-image-1 has a table (OpenAI's image guide); later models have a formula with a factor for each quality
(community.openai.com thread 1382699, 2026-06-05). What 2.6 really takes for low and medium is not known; it is drawn at
2.5's factors here.
"""

from __future__ import annotations

from collections.abc import Mapping

# Tokens of a square and of an oblong picture.
_TABLE: Mapping[str, tuple[int, int]] = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
_FACTORS: Mapping[str, Mapping[str, int]] = {
    "gpt-image-2": {"low": 16, "medium": 48, "high": 96},
    "gpt-image-2.5": {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
    "gpt-image-2.6": {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
}


def gpt_image_tokens(model: str, quality: str, width: int, height: int) -> int:
    """Output tokens of one picture. An unknown quality counts as high."""
    family = "-".join(model.split("-")[:3])
    factors = _FACTORS.get(family)
    if factors is None:
        return _TABLE.get(quality, _TABLE["high"])[width != height]
    factor = factors.get(quality, factors["high"])
    short, long = sorted((width, height))
    steps = (2 * factor * short + long) // (2 * long)
    return -(-factor * steps * (2_000_000 + width * height) // 4_000_000)
