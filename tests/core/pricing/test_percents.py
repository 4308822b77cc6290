"""The percentages at which a budget is told, as people write them."""

from __future__ import annotations

import pytest

from gateway.core.pricing.percents import percents


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (80, (80,)),
        ([80, 50, 80], (50, 80)),
        ("80", (80,)),
        ("50,80", (50, 80)),
        ("80 %, 100%", (80, 100)),
        (1, (1,)),
        (100, (100,)),
    ],
)
def test_taken(written: object, meant: tuple[int, ...]):
    assert percents(written) == meant


@pytest.mark.parametrize(
    "written", [0, 101, -5, 80.0, True, None, [], "", ",", "80,", "8o", "1e2", [50, "80"], {}, "²"]
)
def test_refused(written: object):
    with pytest.raises(ValueError, match="expected a percentage from 1 to 100"):
        percents(written)
