"""The metrics of answers that are kept for equal requests."""

from __future__ import annotations

from gateway.telemetry.series import Count, Family

_LABELS = ("key", "team", "model")


class CacheSeries:
    """``saved``: in nano-dollars."""

    def __init__(self) -> None:
        self.hits = Family("gateway_cache_hits_total", "Requests answered from the cache.", _LABELS, Count)
        self.misses = Family(
            "gateway_cache_misses_total", "Requests whose answer the cache might have held and did not.", _LABELS, Count
        )
        self.saved = Family(
            "gateway_cache_saved_usd_total",
            "What the answers had cost that were given again, in US dollars.",
            _LABELS,
            Count,
            nano=True,
        )
