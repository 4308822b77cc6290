"""How a model's requests are served, as its entry in the configuration says: in which order, and whether from a cache.

Times are seconds, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Prefer = Literal["order", "cost", "speed"]
"""What targets are put in order by: as they are listed, by what a request can cost at most, by how long it takes."""

PREFERENCES: tuple[Prefer, ...] = ("order", "cost", "speed")


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How long whole answers are kept for equal requests, and in how many bytes.

    ``share``: who gets them: the virtual key that asked first, or all keys of its team.
    """

    ttl: float
    max: int
    share: Literal["key", "team"] = "key"


@dataclass(frozen=True, slots=True)
class RouteRules:
    """``prefer``: None for what holds for all models. ``cache``: None for none."""

    prefer: Prefer | None = None
    cache: CacheRules | None = None


USUAL = RouteRules()
