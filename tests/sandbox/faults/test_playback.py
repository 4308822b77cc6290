"""The building blocks of scenarios."""

from __future__ import annotations

import math

from gateway.sandbox.faults.playback import pause_for


def test_below_zero_a_pause_lasts_for_ever() -> None:
    assert pause_for(-1).seconds == math.inf
    assert pause_for(2).seconds == 2
