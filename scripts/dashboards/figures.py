"""Numbers as a panel shows them, by Grafana's names of units. Pure."""

from __future__ import annotations

import math

_LARGE = ((1e9, " B"), (1e6, " M"), (1e3, " K"))
_SHORT = ((1.0, " s"), (1e-3, " ms"), (1e-6, " µs"))


def shown(value: float, unit: str) -> str:
    """``currencyUSD``, ``s``, ``percentunit``, ``reqps`` or ``short``. KeyError for another."""
    return "–" if not math.isfinite(value) else _UNITS[unit](value)


def _money(value: float) -> str:
    places = 2 if value == 0 or abs(value) >= 1 else 4
    return f"{'-' if value < 0 else ''}${abs(value):,.{places}f}"


def _seconds(value: float) -> str:
    size, name = next(((size, name) for size, name in _SHORT if abs(value) >= size), _SHORT[-1])
    return f"{value / size:.3g}{name}" if value else "0 s"


def _short(value: float) -> str:
    size, name = next(((size, name) for size, name in _LARGE if abs(value) >= size), (1.0, ""))
    return f"{value / size:.3g}{name}"


_UNITS = {
    "currencyUSD": _money,
    "s": _seconds,
    "percentunit": lambda value: f"{value * 100:.3g} %",
    "reqps": lambda value: f"{value:.3g}/s",
    "short": _short,
}
